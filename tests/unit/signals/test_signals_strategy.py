"""Parameters of strategies."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qtsim as qt
from qtsim.errors import StrategyError, UsageError
from qtsim.signals.strategy import is_complete, is_cross_sectional, require_valid, snake_case


class Crossing(qt.Strategy):
    """Cross of averages.

    More words.
    """

    fast: int = qt.param(12, low=5, high=50, help="bars")
    ratio: float = qt.param(0.5, low=0)
    loud: bool = qt.param(False)
    kind: str = qt.param("ema", choices=["ema", "sma"])

    def is_valid(self):
        return self.fast != 13

    def signals(self, bars):
        return qt.Signals(bars.close > 0)


def test_defaults_and_given_values() -> None:
    assert Crossing().params() == {"fast": 12, "ratio": 0.5, "loud": False, "kind": "ema"}
    given = Crossing(fast=5, ratio=1, loud=True, kind="sma")
    assert given.params() == {"fast": 5, "ratio": 1.0, "loud": True, "kind": "sma"}
    assert isinstance(given.ratio, float)
    assert Crossing.fast == 12
    assert repr(given) == "Crossing(fast=5, ratio=1.0, loud=True, kind='sma')"


def test_text_of_a_command_line_is_read_as_the_parameters_kind() -> None:
    assert Crossing(fast="20", ratio="0.25", loud="true").params()["fast"] == 20
    assert Crossing(fast=20.0).fast == 20
    assert Crossing(loud="no").loud is False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fast": 4}, ["fast = 4", "5 to 50", "default is 12"]),
        ({"fast": 51}, ["fast = 51", "5 to 50"]),
        ({"fast": 12.5}, ["12.5", "whole number"]),
        ({"fast": True}, ["True", "whole number"]),
        ({"fast": "many"}, ["'many'", "whole number"]),
        ({"fast": None}, ["None", "whole number"]),
        ({"ratio": -0.1}, ["ratio = -0.1", "at least 0"]),
        ({"ratio": float("nan")}, ["nan", "number"]),
        ({"ratio": float("inf")}, ["inf", "number"]),
        ({"loud": 2}, ["loud = 2", "true or false"]),
        ({"kind": "wma"}, ["kind = 'wma'", "one of ema, sma"]),
        ({"kind": 3}, ["kind = 3", "text"]),
        ({"fsat": 9}, ["no parameter 'fsat'", "did you mean fast?", "fast, ratio, loud, kind"]),
        ({"zzz": 9}, ["no parameter 'zzz'. It has fast"]),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        Crossing(**given)
    for word in ["crossing", *words]:
        assert word in str(caught.value)


def test_specs_for_the_command_line() -> None:
    specs = {spec.name: spec for spec in Crossing.parameter_specs()}
    assert list(specs) == ["fast", "ratio", "loud", "kind"]
    assert (specs["fast"].kind, specs["fast"].default, specs["fast"].low, specs["fast"].high) == (int, 12, 5, 50)
    assert specs["fast"].help == "bars"
    assert Crossing.summary() == "Cross of averages."
    assert Crossing.name == "crossing"


def test_a_subclass_inherits_and_may_state_another_default() -> None:
    class Slower(Crossing):
        fast = 30
        extra: int = qt.param(3)

    assert Slower().params() == {"fast": 30, "ratio": 0.5, "loud": False, "kind": "ema", "extra": 3}
    assert Crossing().fast == 12
    with pytest.raises(StrategyError, match="fast = 99 is out of bounds"):

        class TooSlow(Crossing):
            fast = 99


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(StrategyError, match=r"default.*|out of bounds"):

        class OutOfBounds(qt.Strategy):
            fast: int = qt.param(1, low=5)

    with pytest.raises(StrategyError, match="int, float, bool or str, not list"):

        class NotAKind(qt.Strategy):
            fast: list = qt.param([1])

    with pytest.raises(StrategyError, match="low = 9 is above high = 3"):

        class Upside(qt.Strategy):
            fast: int = qt.param(5, low=9, high=3)

    with pytest.raises(StrategyError, match="cannot be called params"):

        class Taken(qt.Strategy):
            params: int = qt.param(5)


def test_a_missing_annotation_takes_the_defaults_kind() -> None:
    class Plain(qt.Strategy):
        fast = qt.param(12)

    assert Plain(fast="7").fast == 7


def test_parameters_that_do_not_fit_are_refused_before_a_run() -> None:
    strategy = Crossing(fast=13)
    assert not strategy.is_valid()
    with pytest.raises(UsageError, match=r"crossing: .*fast = 13"):
        require_valid(strategy)


def test_an_is_valid_that_raises_is_named() -> None:
    class Broken(qt.Strategy):
        fast: int = qt.param(12)

        def is_valid(self):
            return self.fast < self.slow

    with pytest.raises(StrategyError, match=r"broken: is_valid raises AttributeError: .*slow.*\(parameters: fast = 12"):
        require_valid(Broken())


def test_uses_must_be_made_by_uses() -> None:
    with pytest.raises(StrategyError, match=r"Plain: uses = \('ETHUSDT',\) must be made by qt.uses: uses = qt.uses"):

        class Plain(qt.Strategy):
            uses = ("ETHUSDT",)


def test_uses_reads_symbols_as_people_write_them() -> None:
    assert qt.uses(symbols=["BTC/USDT:USDT"], columns=["funding_rate"]).symbols == ("BTCUSDT",)
    with pytest.raises(StrategyError, match="takes lists"):
        qt.uses(symbols="BTCUSDT")


def test_what_kind_of_strategy_a_class_is() -> None:
    class Ranks(qt.Strategy):
        def market_signals(self, market):
            return {}

    assert is_cross_sectional(Ranks)
    assert is_complete(Ranks)
    assert is_complete(Crossing)
    assert not is_cross_sectional(Crossing())
    assert not is_complete(qt.Strategy)


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("EmaCross", "ema_cross"),
        ("RSIReversal", "rsi_reversal"),
        ("ema_cross", "ema_cross"),
        ("Ema2Cross", "ema2_cross"),
    ],
)
def test_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_the_package_is_imported_without_its_libraries() -> None:
    code = (
        "import sys, qtsim; assert not {'pandas', 'numba', 'numpy', 'talib'} & set(sys.modules); "
        "qtsim.Strategy, qtsim.param, qtsim.uses; assert not {'pandas', 'numba', 'talib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_public_name_leads_somewhere() -> None:
    for name in qt.__all__:
        assert getattr(qt, name) is not None
        assert name in dir(qt)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = qt.nothing_here
