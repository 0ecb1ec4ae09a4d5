"""What is installed is what was tested: pinned versions, and a wheel with everything that an installed qtsim needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = {"torch", "xgboost", "lightgbm", "vectorbt", "ccxt", "fastapi"}


def normal(requirement: str) -> str:
    """Name of a requirement, as package indexes spell it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", row) for row in rows), "exact versions only, and nothing else"
    names = [row.split("==")[0] for row in rows]
    assert len(set(names)) == len(names), "a package is pinned twice"
    return dict(row.split("==") for row in rows)


def test_everything_that_is_asked_for_is_pinned() -> None:
    asked = {normal(r) for r in PROJECT["dependencies"]}
    for extra, requirements in PROJECT["optional-dependencies"].items():
        if extra != "all":
            asked |= {normal(r) for r in requirements}
    assert asked <= set(pins()), f"not in constraints.txt: {sorted(asked - set(pins()))}"


def test_torch_is_the_one_that_was_tested() -> None:
    assert pins()["torch"] == "2.13.0"


def test_the_core_installs_nothing_heavy() -> None:
    assert not {normal(r) for r in PROJECT["dependencies"]} & HEAVY


def test_the_changelog_knows_the_version() -> None:
    entries = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert PROJECT["version"] in entries


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the sources, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("qtsim", "strategies"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), "."],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    with zipfile.ZipFile(next(folder.glob("qtsim-*.whl"))) as wheel:
        return set(wheel.namelist())


def test_the_wheel_has_the_shipped_strategies(wheel_names: set[str]) -> None:
    shipped = {f"qtsim/_strategies/{path.name}" for path in (ROOT / "strategies").glob("*.py")}
    assert shipped
    assert shipped <= wheel_names


def test_the_wheel_has_every_file_of_the_package(wheel_names: set[str]) -> None:
    files = {path for path in (ROOT / "qtsim").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    missing = {str(path.relative_to(ROOT)) for path in files} - wheel_names
    assert not missing, f"not in the wheel; see package-data in pyproject.toml: {sorted(missing)}"


def test_the_wheel_has_nothing_else(wheel_names: set[str]) -> None:
    foreign = {name for name in wheel_names if not re.match(r"qtsim(?:-[\w.]+\.dist-info)?/", name)}
    assert not foreign
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("licenses/")[2] for name in wheel_names}
