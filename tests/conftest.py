"""What every test may rely on: Hypothesis profiles, an environment without a user's settings, and the shared data."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Compiling a kernel takes seconds and happens inside the first example, so no example has a deadline.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile(
    "ci", deadline=None, max_examples=100, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

KEPT_VARIABLES = {"QTSIM_CACHE_DIR"}
PREDECESSOR_VARIABLES = (
    "EXIT_BRAIN_PROFILE",
    "EXIT_BRAIN_CHECK_INTERVAL_SEC",
    "EXIT_MODE",
    "BASE_TP_PCT",
    "BASE_SL_PCT",
    "ADAPTIVE_LEVERAGE_ENABLED",
    "TP_MIN",
    "SL_CLAMP_MIN",
    "SL_CLAMP_MAX",
    "DYNAMIC_TP_PROFILE",
    "RATCHET_SL_ENABLED",
    "MAX_LOSS_PCT_HARD_SL",
    "MAX_UNREALIZED_LOSS_PCT",
)


def pytest_configure(config: pytest.Config) -> None:
    """Hide the user's settings, and give the whole run one data folder of its own, removed at the end."""
    for name in list(os.environ):
        if (name.startswith(("QTSIM_", "QT_")) and name not in KEPT_VARIABLES) or name in PREDECESSOR_VARIABLES:
            del os.environ[name]
    if not hasattr(config, "workerinput"):  # parallel workers inherit the folder
        folder = tempfile.mkdtemp(prefix="qtsim-tests-")
        os.environ["XDG_DATA_HOME"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder with pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of recorded market data and published results, beside the checkout; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("recorded market data is not beside this checkout (../shared/data)")
    return folder
