"""The tree tells the truth: layers, forbidden imports, the public surface, and a command line that starts quickly."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

PUBLIC = {
    "Bars",
    "Signals",
    "Strategy",
    "backtest",
    "crossed_above",
    "levels",
    "liquidation_price",
    "load_bars",
    "param",
    "uses",
}
"""What users are promised; the package may offer more."""

HEAVY = ("numba", "pandas", "plotly", "pyarrow", "talib", "numpy")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_import_contracts_hold() -> None:
    done = run_python("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_is_in_a_layer() -> None:
    contract = next(c for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    named = {name.strip() for layer in contract["layers"] for name in layer.replace(";", "|").split("|")}
    packages = {f"qtsim.{folder.parent.name}" for folder in (ROOT / "qtsim").glob("*/__init__.py")}
    assert packages <= named, f"not in the layers contract: {sorted(packages - named)}"


def test_public_names_can_be_imported() -> None:
    import qtsim

    assert list(qtsim.__all__) == sorted(set(qtsim.__all__)), "__all__ is sorted and without repetition"
    missing = [name for name in qtsim.__all__ if not hasattr(qtsim, name)]
    assert not missing, f"in __all__ but not in qtsim: {missing}"
    assert set(qtsim.__all__) >= PUBLIC, f"promised and missing: {sorted(PUBLIC - set(qtsim.__all__))}"


def test_public_names_are_documented() -> None:
    import qtsim

    assert qtsim.__doc__
    bare = [name for name in PUBLIC if not (getattr(qtsim, name).__doc__ or "").strip()]
    assert not bare, f"without a docstring: {sorted(bare)}"


def test_help_loads_nothing_heavy() -> None:
    done = run_python(
        "import sys\n"
        "sys.argv = ['qtsim', '--help']\n"
        "from qtsim.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", f"loaded by qtsim --help: {done.stderr}"
    assert "backtest" in done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = run_python(f"import sys, qtsim; print([n for n in {HEAVY!r} if n in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
