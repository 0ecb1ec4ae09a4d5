"""Look-ahead of several kinds is caught; honest strategies pass; the warm-up is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

import qtsim as qt
from qtsim.core.records import signal_dt
from qtsim.errors import StrategyError
from qtsim.signals.causality import check_strategy, first_difference, quick_check
from qtsim.signals.compute import compute_signals
from qtsim.signals.table import SignalTable, empty_rows
from tests.unit.signals.made_bars import made_bars, made_funding

FRAMES = {"BTCUSDT": made_bars(700), "ETHUSDT": made_bars(700, 1)}


def crosses(values: np.ndarray) -> qt.Signals:
    average = talib.SMA(values, 20)
    return qt.Signals(qt.crossed_above(values, average), qt.crossed_below(values, average))


class Honest(qt.Strategy):
    def signals(self, bars):
        return crosses(bars.close)


class ShiftBack(qt.Strategy):
    """The close of the next bar."""

    def signals(self, bars):
        close = bars.frame["close"]
        return qt.Signals(qt.crossed_above(close.shift(-1), 100), qt.crossed_below(close.shift(-1), 100))


class RareShiftBack(qt.Strategy):
    """A glance at the next bar that shows at a handful of bars only."""

    def signals(self, bars):
        change = bars.frame["close"].pct_change().shift(-1)
        return qt.Signals(change > 0.024)


class OnlyTheExitLeaks(qt.Strategy):
    def signals(self, bars):
        close = bars.frame["close"]
        return qt.Signals(qt.crossed_above(bars.close, talib.SMA(bars.close, 5)), exit_long=close.shift(-1) < 90)


class WholeFrameMean(qt.Strategy):
    def signals(self, bars):
        score = (bars.close - bars.close.mean()) / bars.close.std()
        return qt.Signals(score < -1, score > 1)


class WholeFrameRank(qt.Strategy):
    """Flags are honest, a number is not."""

    def signals(self, bars):
        rank = bars.frame["close"].rank(pct=True).to_numpy()
        return qt.Signals(np.zeros(len(bars), bool), confidence=rank)


class CentredWindow(qt.Strategy):
    def signals(self, bars):
        smooth = bars.frame["close"].rolling(9, center=True).mean().to_numpy()
        return crosses(smooth)


class UnfinishedBar(qt.Strategy):
    """The 4 h close, spread over its four hours."""

    def signals(self, bars):
        close = bars.frame["close"]
        coarse = close.resample("4h").last().reindex(close.index, method="ffill")
        return qt.Signals(coarse > close, coarse < close)


class LeaksInAnotherSymbol(qt.Strategy):
    uses = qt.uses(symbols=["ETHUSDT"])

    def signals(self, bars):
        leader = bars.of("ETHUSDT", lambda b: b.close / b.close.mean())
        return qt.Signals(leader > 1, leader < 0.8)


class LeaksInACoarserBar(qt.Strategy):
    def signals(self, bars):
        trend = bars.on("4h", lambda b: np.roll(b.close, -1))
        return qt.Signals(trend > bars.close, trend < bars.close)


class LastBarOnly(qt.Strategy):
    """True everywhere if the data ends high."""

    def signals(self, bars):
        return qt.Signals(np.full(len(bars), bars.close[-1] > bars.close[0]), tag="end")


class MarketRank(qt.Strategy):
    def market_signals(self, market):
        panel = market.panel("close")
        leaking = (panel / panel.iloc[-1]).max(axis=1)
        return {
            symbol: qt.Signals(np.asarray(leaking.reindex(market[symbol].frame.index)) > 1) for symbol in market.symbols
        }


LEAKS = [
    ShiftBack,
    RareShiftBack,
    OnlyTheExitLeaks,
    WholeFrameMean,
    WholeFrameRank,
    CentredWindow,
    UnfinishedBar,
    LeaksInAnotherSymbol,
    LeaksInACoarserBar,
    LastBarOnly,
    MarketRank,
]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_caught_by_the_quick_check(leak: type[qt.Strategy]) -> None:
    with pytest.raises(StrategyError, match=r"looks ahead on (BTC|ETH)USDT: for the bar 20\d\d-"):
        quick_check(leak(), FRAMES, "1h")


class HonestUntilFebruary(qt.Strategy):
    """Asks at every third bar of the year's first days, honestly, and with a glance at the next bar after them."""

    def signals(self, bars):
        close = bars.frame["close"]
        early = np.arange(len(bars)) < 600
        return qt.Signals((early & (np.arange(len(bars)) % 3 == 0)) | (~early & (close.shift(-1) > close)))


def test_the_quick_check_cuts_inside_the_traded_period() -> None:
    frame = made_bars(700)
    rows: list[int] = []

    class Watched(HonestUntilFebruary):
        def signals(self, bars):
            rows.append(len(bars) - 1)
            return super().signals(bars)

    start = int(frame.index[620].value)
    with pytest.raises(StrategyError, match="looks ahead on BTCUSDT"):
        quick_check(HonestUntilFebruary(), {"BTCUSDT": frame}, "1h", traded_from={"BTCUSDT": start})
    assert quick_check(Honest(), {"BTCUSDT": frame}, "1h", traded_from={"BTCUSDT": start}).text == "none at 5 cuts"
    with pytest.raises(StrategyError):
        quick_check(Watched(), {"BTCUSDT": frame}, "1h", traded_from={"BTCUSDT": start})
    assert all(row >= 620 for row in rows)
    last = int(frame.index[-1].value)
    assert quick_check(Honest(), {"BTCUSDT": frame}, "1h", traded_from={"BTCUSDT": last}).cuts == 0


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_caught_by_the_full_check(leak: type[qt.Strategy]) -> None:
    with pytest.raises(StrategyError, match="looks ahead"):
        check_strategy(leak(), FRAMES, "1h", points=40)


def test_the_message_names_time_field_and_both_values() -> None:
    frame = made_bars(100)
    with pytest.raises(StrategyError) as caught:
        quick_check(WholeFrameRank(), {"BTCUSDT": frame}, "1h", cuts=1)
    rank = frame["close"].rank(pct=True).iloc[0]
    short = frame["close"].iloc[:50].rank(pct=True).iloc[0]
    text = str(caught.value)
    assert "whole_frame_rank looks ahead on BTCUSDT: for the bar 2024-01-01 00:00 UTC confidence is" in text
    assert f"{rank:.12g} with the whole data" in text
    assert f"{short:.12g} without" in text
    assert "shift(-1)" in text


class EverythingHonest(qt.Strategy):
    """Every way to read another series."""

    uses = qt.uses(symbols=["ETHUSDT"], columns=["funding_rate", "mood"])

    def signals(self, bars):
        trend = bars.on("4h", lambda b: b.close - talib.SMA(b.close, 4))
        leader = bars.of("ETHUSDT", lambda b: b.on("2h", lambda c: c.close / talib.SMA(c.close, 5) - 1))
        crowd = np.nan_to_num(bars.column("funding_rate")) + np.nan_to_num(bars.column("mood"))
        long = (trend > 0) & (leader > 0)
        return qt.Signals(long, (trend < 0) & (crowd > 0), confidence=np.clip(0.5 + np.nan_to_num(leader), 0, 1))


def honest_data() -> dict[str, object]:
    mood = pd.Series(np.linspace(-1e-4, 1e-4, 40), made_funding(40).index)
    return {
        "funding_frames": {symbol: made_funding(80) for symbol in FRAMES},
        "column_frames": {"mood": {None: mood}},
    }


def test_an_honest_strategy_passes_both() -> None:
    assert quick_check(Honest(), FRAMES, "1h").text == "none at 5 cuts"
    report = check_strategy(Honest(), FRAMES, "1h")
    assert report.warmup == 21
    assert report.points == 200
    assert report.points_at_edges >= 80
    assert report.bars == 1400
    text = "\n".join(report.lines())
    assert "look-ahead: none" in text
    assert "warm-up: 21 bars (not declared)" in text
    assert "equal to vectorised at 200 consecutive bars" in text


def test_every_way_to_read_another_series_passes_both() -> None:
    data = honest_data()
    signals = compute_signals(EverythingHonest(), FRAMES, "1h", **data)
    verdict = quick_check(EverythingHonest(), FRAMES, "1h", signals=signals, **data)
    assert verdict.text == "none at 5 cuts"
    report = check_strategy(EverythingHonest(), FRAMES, "1h", points=100, **data)
    # Four whole 4 h bars, and up to three hours before and after them.
    assert report.warmup is not None
    assert 16 < report.warmup <= 22


def test_a_recursive_average_needs_a_window_of_some_lengths() -> None:
    class Recursive(qt.Strategy):
        def signals(self, bars):
            average = talib.EMA(bars.close, 10)
            return qt.Signals(bars.close > average, confidence=np.clip(np.nan_to_num(bars.close / average - 0.5), 0, 1))

    report = check_strategy(Recursive(), FRAMES, "1h")
    assert report.warmup is not None
    assert 80 < report.warmup < 160  # (9/11)^n < 1e-9 at n = 104


def test_a_declared_warmup_that_is_long_enough() -> None:
    class Enough(Honest):
        warmup = 21

    report = check_strategy(Enough(), FRAMES, "1h")
    assert (report.warmup, report.declared) == (21, 21)


def test_a_declared_warmup_that_is_too_short() -> None:
    class TooShort(Honest):
        warmup = 20

    with pytest.raises(StrategyError, match=r"declares warmup = 20, and the shortest .* has 21 bars: for the bar 20"):
        check_strategy(TooShort(), FRAMES, "1h")


@pytest.mark.parametrize("declared", [0, 2.5, True, "20"])
def test_a_declared_warmup_that_is_no_number_of_bars(declared: object) -> None:
    strategy = Honest()
    strategy.warmup = declared  # type: ignore[misc]
    with pytest.raises(StrategyError, match="is not a number of bars"):
        check_strategy(strategy, FRAMES, "1h")


class SinceTheStart(qt.Strategy):
    """Depends on where the data starts: honest, but a live window would not repeat it."""

    warmup = None

    def signals(self, bars):
        level = np.cumsum(bars.close) / np.arange(1, len(bars) + 1)
        return qt.Signals(bars.close > level, confidence=np.clip(level / bars.close / 2, 0, 1))


def test_signals_that_depend_on_the_start_have_no_warmup() -> None:
    report = check_strategy(SinceTheStart(), FRAMES, "1h", points=40)
    assert report.warmup is None
    assert any("no window up to 350 bars" in line for line in report.lines())

    class Declares(SinceTheStart):
        warmup = 50

    with pytest.raises(StrategyError, match="declares warmup = 50, and no window up to 350 bars is enough"):
        check_strategy(Declares(), FRAMES, "1h", points=40)


def test_random_signals_are_not_called_look_ahead() -> None:
    class Random(qt.Strategy):
        def signals(self, bars):
            return qt.Signals(np.random.default_rng().random(len(bars)) > 0.5)

    for check in (quick_check, check_strategy):
        with pytest.raises(StrategyError, match=r"gives other signals for the same bars .* when asked again"):
            check(Random(), FRAMES, "1h")


def test_a_strategy_that_cannot_run_on_few_bars_has_a_warmup_still() -> None:
    class NeedsFifty(qt.Strategy):
        def signals(self, bars):
            bars.close[49]
            return crosses(bars.close)

    assert check_strategy(NeedsFifty(), {"BTCUSDT": FRAMES["BTCUSDT"]}, "1h", points=50).warmup == 50


def test_a_cross_sectional_strategy() -> None:
    class Strongest(qt.Strategy):
        def market_signals(self, market):
            rate = market.panel(lambda b: talib.ROC(b.close, 12))
            longs = market.split(rate.eq(rate.max(axis=1), axis=0))
            return {symbol: qt.Signals(longs[symbol]) for symbol in market.symbols}

    assert quick_check(Strongest(), FRAMES, "1h").text == "none at 5 cuts"
    report = check_strategy(Strongest(), FRAMES, "1h", points=60)
    assert report.warmup == 13


def test_a_strategy_that_asks_for_nothing_proves_little() -> None:
    class Silent(qt.Strategy):
        def signals(self, bars):
            return qt.Signals(np.zeros(len(bars), bool))

    report = check_strategy(Silent(), FRAMES, "1h", points=20)
    assert report.warmup == 1
    assert any("proves little" in line for line in report.lines())


def test_short_data() -> None:
    assert quick_check(Honest(), {"BTCUSDT": made_bars(1)}, "1h").text == "not checked, too few bars"
    assert quick_check(Honest(), {"BTCUSDT": made_bars(3)}, "1h").cuts == 2
    assert check_strategy(Honest(), {"BTCUSDT": made_bars(2)}, "1h").points == 2


def test_a_ready_table_has_no_code_to_check(tmp_path: Path) -> None:
    table = SignalTable(pd.DataFrame({"time": ["2024-01-01 01:00"], "long": [1]}))
    assert quick_check(table, FRAMES, "1h").text.startswith("not checked")
    with pytest.raises(StrategyError, match="ready table"):
        check_strategy(table, FRAMES, "1h")


def test_progress_is_told() -> None:
    seen: list[tuple[str, int, int]] = []
    check_strategy(Honest(), FRAMES, "1h", points=20, progress=lambda *step: seen.append(step))
    assert {stage for stage, _, _ in seen} == {"past without the future", "warm-up", "bar by bar"}
    assert ("past without the future", 20, 20) in seen


@pytest.mark.parametrize(
    ("field", "value", "differs"),
    [
        ("long", 1, True),
        ("tag", 0, True),
        ("confidence", 0.5, True),
        ("tp", 0.01 + 5e-10, False),
        ("tp", 0.01 + 2e-9, True),
        ("tp", np.nan, True),
        ("atr", 5.0, False),
    ],
)
def test_what_counts_as_a_difference(field: str, value: float, differs: bool) -> None:
    first, second = empty_rows(3), empty_rows(3)
    assert first.dtype is signal_dt
    first["tp"] = second["tp"] = 0.01
    second[field][1] = value
    assert first_difference(first, second) == ((1, field) if differs else (-1, ""))
