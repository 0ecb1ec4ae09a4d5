"""Asking strategies: rows, errors that name the line, cross-sectional strategies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

import qtsim as qt
from qtsim.core.records import signal_dt
from qtsim.errors import StrategyError, UsageError
from qtsim.signals.compute import compute_signals
from qtsim.signals.loading import load_strategy
from tests.unit.signals.made_bars import made_bars, made_funding

FRAMES = {"ETHUSDT": made_bars(60, 1), "BTCUSDT": made_bars(80)}


class Cross(qt.Strategy):
    def signals(self, bars):
        fast, slow = talib.SMA(bars.close, 3), talib.SMA(bars.close, 8)
        return qt.Signals(qt.crossed_above(fast, slow), qt.crossed_below(fast, slow), confidence=0.6, tag="cross")


def test_one_row_per_bar_in_name_order() -> None:
    out = compute_signals(Cross(), FRAMES, "1h")
    assert list(out) == ["BTCUSDT", "ETHUSDT"]
    assert [len(answer.rows) for answer in out.values()] == [80, 60]
    assert all(answer.rows.dtype is signal_dt for answer in out.values())
    assert all(answer.states_confidence for answer in out.values())
    assert out["BTCUSDT"].tags is out["ETHUSDT"].tags
    assert out["BTCUSDT"].tags == ["cross"]
    close = FRAMES["BTCUSDT"]["close"].to_numpy()
    fast, slow = talib.SMA(close, 3), talib.SMA(close, 8)
    assert np.array_equal(out["BTCUSDT"].rows["long"] == 1, qt.crossed_above(fast, slow))


def test_the_order_of_symbols_changes_nothing() -> None:
    turned = dict(reversed(FRAMES.items()))
    first, second = compute_signals(Cross(), FRAMES, "1h"), compute_signals(Cross(), turned, "1h")
    assert list(first) == list(second)
    for symbol, answer in first.items():
        assert answer.rows.tobytes() == second[symbol].rows.tobytes()


def test_a_dataframe_is_taken() -> None:
    class Freqtrade(qt.Strategy):
        def signals(self, bars):
            frame = bars.frame
            frame.loc[frame["close"] > frame["close"].shift(1), ["enter_long", "enter_tag"]] = (1, "up")
            return frame

    with np.errstate(all="raise"):
        out = compute_signals(Freqtrade(), {"BTCUSDT": FRAMES["BTCUSDT"]}, "1h")["BTCUSDT"]
    close = FRAMES["BTCUSDT"]["close"].to_numpy()
    assert out.rows["long"].tolist() == [0, *(np.diff(close) > 0).astype(int).tolist()]
    assert out.tags == ["up"]


def write(tmp_path: Path, body: str, head: str = "") -> Path:
    path = tmp_path / "mine.py"
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    path.write_text(
        f"import numpy as np\nimport qtsim as qt\n\nclass Mine(qt.Strategy):\n{head}"
        f"    def signals(self, bars):\n{indented}"
    )
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = 1\nreturn 1 / 0", ["line 7: return 1 / 0", "ZeroDivisionError"]),
        ("return bars.clsoe", ["line 6", "AttributeError", "open high low close volume"]),
        ("bars.close[0] = 1.0", ["line 6: bars.close[0] = 1.0", "read-only", "bars.close.copy()"]),
        ("bars.close = 1.0", ["line 6", "AttributeError", "read-only"]),
        ("bars.close.sort()", ["line 6", "read-only", "copy"]),
        ("return bars.on('4h', lambda b: b.close[0])", ["line 6", "returned no plain array"]),
        ("return bars.on('4h', lambda b: b.nothing)", ["line 6", "nothing"]),
        ("return bars.of('ETHUSDT', lambda b: b.close)", ["line 6", "uses does not name it"]),
        ("return None", ["must return qt.Signals", "NoneType"]),
        ("return bars.close > 0", ["must return qt.Signals", "ndarray"]),
        ("return qt.Signals(bars.close[1:] > 0)", ["79 rows for 80 bars"]),
        ("return qt.Signals(bars.close)", ["line 6", "true, false", "bar 2024-01-01 00:00 UTC"]),
        (
            "tp = np.full(80, np.nan)\ntp[3] = 2.0\nreturn qt.Signals(bars.close > 0, tp=tp)",
            ["line 8", "tp is 2 at row 3", "0.02", "bar 2024-01-01 03:00 UTC"],
        ),
        ("return qt.Signals(longs=bars.close > 0)", ["line 6", "TypeError", "longs"]),
        ("return bars.frame", ["no column long"]),
        (
            "f = bars.frame\nf['long'] = 1\nreturn f.iloc[::-1]",
            ["row 0 of the returned DataFrame is 2024-01-04 07:00 UTC", "2024-01-01 00:00 UTC"],
        ),
        ("f = bars.frame\nf['long'] = 1\nreturn f.dropna().iloc[1:]", ["79 rows for 80 bars"]),
        ("raise NotImplementedError", ["NotImplementedError", "override signals"]),
    ],
)
def test_a_strategy_that_fails_is_named_with_its_line(tmp_path: Path, body: str, words: list[str]) -> None:
    strategy = load_strategy(write(tmp_path, body))
    with pytest.raises(StrategyError) as caught:
        compute_signals(strategy, {"BTCUSDT": FRAMES["BTCUSDT"]}, "1h")
    for word in ["mine on BTCUSDT", *words]:
        assert word in str(caught.value)


def test_what_is_named_in_uses_must_be_there(tmp_path: Path) -> None:
    symbols = load_strategy(write(tmp_path, "return qt.Signals(False)", "    uses = qt.uses(symbols=['SOLUSDT'])\n"))
    with pytest.raises(StrategyError, match="mine uses SOLUSDT, and there are no bars of it"):
        compute_signals(symbols, FRAMES, "1h")
    columns = load_strategy(write(tmp_path, "return qt.Signals(False)", "    uses = qt.uses(columns=['mood'])\n"))
    with pytest.raises(StrategyError, match=r"mine uses mood, and there is none of BTCUSDT.*--column mood"):
        compute_signals(columns, FRAMES, "1h")
    assert compute_signals(columns, FRAMES, "1h", column_frames={"mood": made_funding(3)["funding_rate"]})


def test_parameters_that_do_not_fit_are_refused() -> None:
    class Picky(Cross):
        fast: int = qt.param(3)

        def is_valid(self):
            return self.fast < 3

    with pytest.raises(UsageError, match="fast = 3"):
        compute_signals(Picky(), FRAMES, "1h")


class Strongest(qt.Strategy):
    """Long the best of the last day, short the worst."""

    def market_signals(self, market):
        rate = market.panel(lambda b: talib.ROC(b.close, 24))
        best, worst = rate.eq(rate.max(axis=1), axis=0), rate.eq(rate.min(axis=1), axis=0)
        longs, shorts = market.split(best), market.split(worst)
        return {symbol: qt.Signals(longs[symbol], shorts[symbol]) for symbol in market.symbols}


def test_a_cross_sectional_strategy_sees_all_symbols() -> None:
    out = compute_signals(Strongest(), FRAMES, "1h")
    rates = {symbol: talib.ROC(frame["close"].to_numpy(), 24) for symbol, frame in FRAMES.items()}
    for row in range(24, 60):
        first = rates["BTCUSDT"][row] > rates["ETHUSDT"][row]
        assert bool(out["BTCUSDT"].rows["long"][row]) == first
        assert bool(out["ETHUSDT"].rows["short"][row]) == first
    # Best and worst at once where it is alone: neither, counted.
    assert not out["BTCUSDT"].rows["long"][60:].any()
    assert out["BTCUSDT"].both_sides == 20


def test_market_bars_and_panels() -> None:
    seen = {}

    class Looks(qt.Strategy):
        def market_signals(self, market):
            seen["symbols"] = market.symbols
            seen["panel"] = market.panel("close")
            seen["bars"] = market["BTC/USDT"]
            return {"ETHUSDT": qt.Signals(market["ETHUSDT"].close > 0)}

    out = compute_signals(Looks(), FRAMES, "1h")
    assert seen["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert isinstance(seen["panel"], pd.DataFrame)
    assert seen["panel"].shape == (80, 2)
    assert seen["panel"]["ETHUSDT"].isna().sum() == 20
    assert len(seen["bars"]) == 80
    assert not out["BTCUSDT"].rows["long"].any()
    assert out["ETHUSDT"].rows["long"].all()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda market: None, "must return a dict"),
        (lambda market: {"SOLUSDT": qt.Signals(False)}, "answers for SOLUSDT"),
        (lambda market: {"BTCUSDT": qt.Signals(np.zeros(3, bool))}, "on BTCUSDT: the signals have 3 rows for 80 bars"),
        (lambda market: market["SOLUSDT"], "SOLUSDT is not among the run's symbols"),
    ],
)
def test_a_wrong_market_answer(answer: object, words: str) -> None:
    class Wrong(qt.Strategy):
        def market_signals(self, market):
            return answer(market)

    with pytest.raises(StrategyError, match="wrong") as caught:
        compute_signals(Wrong(), FRAMES, "1h")
    assert words in str(caught.value)


def test_numeric_warnings_of_unknown_values_do_not_stop_a_strategy() -> None:
    class Divides(qt.Strategy):
        def signals(self, bars):
            return qt.Signals(np.zeros(len(bars)) / np.zeros(len(bars)) > 0)

    assert not compute_signals(Divides(), FRAMES, "1h")["BTCUSDT"].rows["long"].any()


def test_a_strategy_that_ends_the_program_is_named() -> None:
    class Quits(qt.Strategy):
        def signals(self, bars):
            raise SystemExit(3)

    with pytest.raises(StrategyError, match=r"quits on BTCUSDT \(.*line \d+.*\): SystemExit: 3; a strategy may not"):
        compute_signals(Quits(), FRAMES, "1h")

    class QuitsAtOnce(qt.Strategy):
        def __init__(self, **params):
            raise SystemExit(3)

        def signals(self, bars):
            return qt.Signals()

    with pytest.raises(StrategyError, match="__init__ raises SystemExit: 3"):
        load_strategy(QuitsAtOnce)
