"""Is the installation sound? And compile everything ahead of the first run."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.account import access_of, examine_account, run
from qtsim.app.api import backtest, open_store
from qtsim.app.credentials import read_credentials
from qtsim.app.workspace import find_workspace, settings_of
from qtsim.core._jit import CACHE_FOLDER, is_warm
from qtsim.errors import QtsimError
from qtsim.results.run_folder import check_writable
from qtsim.signals.table import SignalTable

LIBRARIES = ("numpy", "numba", "pandas", "pyarrow", "TA-Lib", "pydantic-settings", "typer", "rich", "plotly")
EXTRAS = {
    "ml": ("torch", "xgboost", "lightgbm"),
    "live": ("ccxt", "apprise"),
    "bus": ("redis",),
    "web": ("fastapi", "uvicorn"),
    "sweep": ("optuna", "dask", "arch"),
    "vectorbt": ("vectorbt",),
}
"""Modules that tell whether an extra is there."""
LOW_DISK_GB = 1.0


@dataclass(frozen=True)
class Check:
    """One finding: ok, note or FAIL; each failure says its remedy."""

    state: str
    what: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Fields by name."""
        return asdict(self)


def examine() -> list[Check]:
    """Everything that can be wrong before the first backtest."""
    checks = [_python(), *(_library(name) for name in LIBRARIES), _compiled(), *_workspace()]
    for extra, modules in EXTRAS.items():
        there = [importlib.util.find_spec(module) is not None for module in modules]
        text = "installed" if all(there) else f'not installed; pip install "qtsim[{extra}]"'
        checks.append(Check("ok" if all(there) else "note", f"extra {extra}", text))
    return [*checks, *_account()]


def _account() -> list[Check]:
    """With a key: what it may do, the clock, modes, orphaned orders and unprotected positions."""
    try:
        if not read_credentials().are_there:
            return [Check("note", "account", "no key is set; BINANCE_API_KEY and BINANCE_API_SECRET let it be checked")]
        workspace = find_workspace()
        access = access_of(workspace, settings_of(workspace).settings)
        return [Check(*found) for found in run(examine_account(access))]
    except QtsimError as error:
        return [Check("FAIL", "account", str(error))]


def _python() -> Check:
    good = sys.version_info >= (3, 11)
    return Check("ok" if good else "FAIL", "python", platform.python_version() + ("" if good else "; 3.11 is needed"))


def _library(name: str) -> Check:
    try:
        return Check("ok", name, version(name))
    except PackageNotFoundError:
        return Check("FAIL", name, "missing; install qtsim again with pip")


def _compiled() -> Check:
    if not os.access(CACHE_FOLDER, os.W_OK):
        return Check(
            "FAIL", "compiled code", f"{CACHE_FOLDER} is not writable; set QTSIM_CACHE_DIR to a folder that is"
        )
    state = "ready" if is_warm() else "not there yet: the first run compiles, or qtsim warmup"
    return Check("ok" if is_warm() else "note", "compiled code", f"{state} ({CACHE_FOLDER})")


def _workspace() -> list[Check]:
    workspace = find_workspace()
    checks: list[Check] = []
    try:
        check_writable(workspace.runs)
        free = shutil.disk_usage(workspace.runs).free / 1e9
        state = "ok" if free > LOW_DISK_GB else "FAIL"
        checks.append(Check(state, "workspace", f"{workspace.root}, {free:,.0f} GB free"))
        resolved = settings_of(workspace)
        checks.append(Check("ok", "settings", f"profile {resolved.profile}, {resolved.n_overrides} overrides"))
        store = open_store(workspace, resolved)
        series = store.list()
        text = (
            f"{len(series)} series of {len(store.symbols())} symbols"
            if series
            else "empty; qtsim data download, or qtsim data import PATH"
        )
        checks.append(Check("ok" if series else "note", "data", f"{store.folder}: {text}"))
    except QtsimError as error:
        checks.append(Check("FAIL", "workspace", str(error)))
    return checks


def compile_all() -> float:
    """Run a tiny market through both drivers, so that every kernel is compiled and on disk. Returns seconds."""
    clock = time.perf_counter()
    index = pd.date_range("2024-01-01", periods=60, freq="h", tz="UTC", name="time").as_unit("ns")
    price = 100.0 + 3.0 * np.sin(np.arange(60) / 4.0)
    frame = pd.DataFrame(
        {"open": price, "high": price + 1.0, "low": price - 1.0, "close": price, "volume": 1.0}, index=index
    )
    table = SignalTable(pd.DataFrame({"long": np.arange(60) % 7 == 0}, index=index))
    settings: dict[str, Any] = {"sizing.model": "notional", "costs.funding.source": "default"}
    backtest(table, {"BTCUSDT": frame}, settings=settings, funding="default", mark="off", verify=True, check=False)
    return time.perf_counter() - clock
