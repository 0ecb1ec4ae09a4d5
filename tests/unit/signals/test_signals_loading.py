"""Strategies by name, file, class, instance, package."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pandas as pd
import pytest

import qtsim as qt
from qtsim.errors import StrategyError, UsageError
from qtsim.signals import loading
from qtsim.signals.compute import compute_signals
from qtsim.signals.loading import (
    list_strategies,
    load_strategy,
    shipped_folder,
    strategy_fingerprint,
    strategy_template,
)
from tests.unit.signals.made_bars import made_bars

ONE = """
import qtsim as qt

class {name}(qt.Strategy):
    "One."
    fast: int = qt.param(3, low=1, high=9)

    def signals(self, bars):
        return qt.Signals(bars.close > 0)
"""


def put(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_shipped_strategy_by_name() -> None:
    strategy = load_strategy("ema_cross", {"fast": 10})
    assert (strategy.name, strategy.params()["fast"]) == ("ema_cross", 10)
    assert strategy.source == shipped_folder() / "ema_cross.py"
    assert type(load_strategy("EmaCross")).__name__ == "EmaCross"
    assert load_strategy("ema-cross").name == "ema_cross"
    assert load_strategy("ema_cross:EmaCross").name == "ema_cross"


def test_the_workspace_goes_before_the_shipped(tmp_path: Path) -> None:
    path = put(tmp_path, ONE.format(name="Own"), "ema_cross.py")
    strategy = load_strategy("ema_cross", search=[tmp_path / "absent", tmp_path])
    assert type(strategy).__name__ == "Own"
    assert strategy.source == path
    listed = {entry.name: entry for entry in list_strategies([tmp_path])}
    assert listed["ema_cross"].origin == "workspace"
    assert listed["sma_cross"].origin == "shipped"


@pytest.mark.parametrize("spec", ["{path}", "{path}:First", "~/mine.py"])
def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = put(tmp_path, ONE.format(name="First"))
    strategy = load_strategy(spec.format(path=path), {"fast": 5})
    assert (type(strategy).__name__, strategy.name, strategy.params()) == ("First", "mine", {"fast": 5})
    assert not (tmp_path / "__pycache__").exists()
    assert load_strategy(path).params() == {"fast": 3}


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    path = put(tmp_path, ONE.format(name="First"))
    before = load_strategy(path)
    put(tmp_path, ONE.format(name="First").replace("qt.param(3", "qt.param(4"))
    after = load_strategy(path)
    assert (before.params()["fast"], after.params()["fast"]) == (3, 4)
    assert strategy_fingerprint(before) == strategy_fingerprint(after) != ""


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    put(tmp_path, "LENGTH = 7\n", "own_features_of_mine.py")
    path = put(tmp_path, "from own_features_of_mine import LENGTH\n" + ONE.format(name="First"))
    assert load_strategy(path).params()["fast"] == 3


def test_a_class_and_an_instance() -> None:
    class Own(qt.Strategy):
        fast: int = qt.param(3)

        def signals(self, bars):
            return qt.Signals(bars.close > 0)

    assert load_strategy(Own, {"fast": 4}).params() == {"fast": 4}
    instance = Own(fast=5)
    assert load_strategy(instance) is instance
    assert load_strategy(instance, {"fast": 6}).params() == {"fast": 6}
    assert instance.fast == 5
    assert strategy_fingerprint(instance) != ""


def test_a_table_as_dataframe() -> None:
    frame = pd.DataFrame({"long": [1]}, index=pd.DatetimeIndex(["2024-01-01 01:00"]))
    out = compute_signals(load_strategy(frame), {"BTCUSDT": made_bars(3)}, "1h")
    assert out["BTCUSDT"].rows["long"].tolist() == [0, 1, 0]
    with pytest.raises(UsageError, match="no parameter 'fast'"):
        load_strategy(frame, {"fast": 3})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import qtsim as qt\nx = (1\n", ["line 2", "SyntaxError", "never closed"]),
        ("import qtsim as qt\n\nx = 1 / 0\n", ["line 3: x = 1 / 0", "ZeroDivisionError"]),
        ("import no_such_module_here\n", ["line 1", "ModuleNotFoundError", "install it"]),
        ("raise SystemExit(3)\n", ["line 1", "SystemExit"]),
        ("import qtsim as qt\n", ["defines no class that derives from qtsim.Strategy"]),
        ("import qtsim as qt\nclass A(qt.Strategy):\n    pass\n", ["A defines neither signals(self, bars)"]),
        (ONE.format(name="A") + ONE.format(name="B"), ["several strategies", "mine.py:A, mine.py:B"]),
        (ONE.format(name="A").replace("low=1", "low=5"), ["line 4", "fast = 3 is out of bounds"]),
        (ONE.format(name="A").replace('    "One."', "    def __init__(self): 1 / 0"), ["__init__ raises", "ZeroDiv"]),
        ("x = '\0'\n", ["mine.py"]),
    ],
)
def test_a_wrong_file_says_where_and_why(tmp_path: Path, text: str, words: list[str]) -> None:
    path = put(tmp_path, text)
    with pytest.raises(StrategyError) as caught:
        load_strategy(path)
    for word in ["mine", *words]:
        assert word in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_base_class_in_the_file_is_no_choice(tmp_path: Path) -> None:
    path = put(tmp_path, ONE.format(name="Base") + "\nclass Leaf(Base):\n    fast = 5\n")
    assert type(load_strategy(path)).__name__ == "Leaf"
    assert load_strategy(f"{path}:Base").params() == {"fast": 3}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ema_cros", ["'ema_cros' is unknown", "did you mean ema_cross", "sma_cross"]),
        ("nothing_like_it", ["is unknown. There are", "donchian_breakout"]),
        ("", ["unknown"]),
        ("no/such/file.py", ["does not exist"]),
        ("ema_cross:Other", ["no strategy class Other; it has EmaCross"]),
        (3, ["int is no strategy"]),
        (dict, ["dict is no strategy"]),
    ],
)
def test_what_is_no_strategy(spec: object, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_strategy(spec)
    for word in words:
        assert word in str(caught.value)


def test_the_nearest_file_of_the_folder_is_named(tmp_path: Path) -> None:
    put(tmp_path, ONE.format(name="A"))
    with pytest.raises(UsageError, match=r"did you mean .*mine\.py"):
        load_strategy(tmp_path / "mien.py")


def test_parameters_are_checked_under_the_files_name() -> None:
    with pytest.raises(UsageError, match=r"^ema_cross: parameter fast = 1 is out of bounds"):
        load_strategy("ema_cross", {"fast": 1})
    with pytest.raises(UsageError, match=r"^ema_cross has no parameter 'fsat'; did you mean fast\?"):
        load_strategy("ema_cross", {"fsat": 1})
    with pytest.raises(UsageError, match="do not fit together"):
        load_strategy("ema_cross", {"fast": 50, "slow": 20})


class _Point:
    """An installed package's entry point."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name, self.value, self.loaded = name, f"package:{name}", loaded
        self.dist = type("Dist", (), {"name": "more-strategies"})()

    def load(self) -> object:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Packed(qt.Strategy):
        def signals(self, bars):
            return qt.Signals(bars.close > 0)

    points = [_Point("packed", Packed), _Point("broken", ImportError("gone")), _Point("odd", 3)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    assert load_strategy("packed").name == "packed"
    assert {entry.name: entry.origin for entry in list_strategies()}["packed"] == "package more-strategies"
    with pytest.raises(StrategyError, match=r"broken of package more-strategies cannot be loaded: ImportError: gone"):
        load_strategy("broken")
    with pytest.raises(StrategyError, match=r"is no qtsim.Strategy class"):
        load_strategy("odd")


def test_the_wheels_copy_is_found_where_there_is_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "qtsim"
    (package / "_strategies").mkdir(parents=True)
    put(package / "_strategies", ONE.format(name="EmaCross"), "ema_cross.py")
    # A folder of that name that belongs to someone else.
    (tmp_path / "site-packages" / "strategies").mkdir()
    monkeypatch.setattr(loading, "_PACKAGE_FOLDER", package)
    assert shipped_folder() == package / "_strategies"
    assert load_strategy("ema_cross").source == package / "_strategies" / "ema_cross.py"


def test_a_new_strategy_runs_as_it_is(tmp_path: Path) -> None:
    path = put(tmp_path, strategy_template("My Idea"), "my_idea.py")
    out = compute_signals(load_strategy(path), {"BTCUSDT": made_bars(300)}, "1h")
    assert out["BTCUSDT"].rows["long"].any()
    assert out["BTCUSDT"].tags == ["my_idea"]
    with pytest.raises(UsageError, match="no file name"):
        strategy_template("1/2")


def test_a_place_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_file", deny)
        with pytest.raises(StrategyError, match=r"mine\.py cannot be read: permission denied; give yourself the right"):
            load_strategy(str(tmp_path / "mine.py"))
    monkeypatch.setattr(Path, "is_dir", deny)
    with pytest.raises(StrategyError, match="permission denied"):
        load_strategy("ema_cross", search=[tmp_path])
