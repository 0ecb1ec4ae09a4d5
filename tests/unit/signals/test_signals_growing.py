"""Signals bar by bar on data that grow are, to the byte, those that all bars at once are answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.data.frames import make_frame
from qtsim.data.timeframes import MINUTE
from qtsim.live.history import Bar, BarHistory, RegimeRules, SignalSource
from qtsim.signals.compute import compute_signals
from qtsim.signals.market_columns import describe_market
from qtsim.signals.regimes import LeaderRules
from qtsim.signals.strategy import Strategy
from tests.unit.live.lines import frames_of

SYMBOLS = ["AAAUSDT", "BTCUSDT"]
RULES = RegimeRules("5m", "BTCUSDT", LeaderRules("15m", 4, 0.001))
START, COUNT = 200, 320


class Crosses(qt.Strategy):
    """Tags of two kinds, numbers on some bars, a coarser timeframe and the funding rate."""

    uses = qt.uses(columns=["funding_rate"])

    def signals(self, bars: qt.Bars) -> qt.Signals:
        mean = bars.on("10m", lambda coarse: coarse.close)
        rising = np.concatenate([[False], bars.close[1:] > bars.close[:-1]])
        return qt.Signals(
            long=rising & (bars.close > mean),
            short=~rising & (bars.close < mean),
            exit_long=~rising,
            confidence=np.where(np.nan_to_num(bars.column("funding_rate")) > 0, 0.75, np.nan),
            tag=np.where(rising, "up", "down"),
        )


class Ranked(qt.Strategy):
    """Answers for one symbol only."""

    def market_signals(self, market: qt.Market) -> Mapping[str, qt.Signals]:
        bars = market["BTCUSDT"]
        return {"BTCUSDT": qt.Signals(long=bars.close > bars.open, short=bars.close > bars.open)}


def bars_of(frame: pd.DataFrame) -> list[Bar]:
    return [Bar(index.value, *map(float, row)) for index, row in zip(frame.index, frame.to_numpy(), strict=True)]


@pytest.mark.parametrize("gap", [range(0), range(240, 247)])
@pytest.mark.parametrize("strategy", [Crosses(), Ranked()])
def test_the_newest_row_is_that_of_the_whole_history(strategy: Strategy, gap: range) -> None:
    whole = {symbol: frame.drop(frame.index[list(gap)]) for symbol, frame in frames_of(SYMBOLS, COUNT, 3).items()}
    histories = {symbol: BarHistory.of_frame(frame.iloc[:START]) for symbol, frame in whole.items()}
    source = SignalSource(strategy, "1m", RULES, histories, 1)
    first = int(whole["AAAUSDT"].index[0].value)
    rates = [(first + k * 50 * MINUTE, 1e-4 * (k % 3 - 1)) for k in range(7)]
    published: dict[str, Any] = {}
    seen = set()
    for stop in range(START + 1, len(whole["AAAUSDT"]) + 1):
        for symbol, frame in whole.items():
            source.add(symbol, bars_of(frame.iloc[stop - 1 : stop])[0])
        now = source.bars["AAAUSDT"].last_open or 0
        for ts, rate in rates:
            if ts <= now:
                source.publish("AAAUSDT", ts, rate)
                source.publish("BTCUSDT", ts, rate)
        known = [(ts, rate) for ts, rate in rates if ts <= now]
        times, values = np.array([ts for ts, _ in known]), np.array([rate for _, rate in known])
        published = {symbol: make_frame(times, {"funding_rate": values}) for symbol in SYMBOLS}

        answered = source.ask(SYMBOLS)

        at_once = compute_signals(
            strategy,
            {symbol: frame.iloc[:stop] for symbol, frame in whole.items()},
            "1m",
            regime_timeframe=RULES.timeframe,
            leader=RULES.leader,
            leader_rules=RULES.leader_rules,
            funding_frames=published,
        )
        for symbol in SYMBOLS:
            row = at_once[symbol].rows[-1:].copy()
            describe_market(row, source.bars[symbol].rows[-1:], MINUTE)
            assert answered.signals[symbol].tobytes() == row.tobytes(), (symbol, stop)
            seen.add((bool(row["long"][0]), int(row["leader_regime"][0])))
        assert answered.closes.tobytes() == np.concatenate([at_once[name].closes for name in SYMBOLS]).tobytes()
    if isinstance(strategy, Crosses):
        assert {True, False} == {long for long, _ in seen}
    assert len({regime for _, regime in seen}) > 1


def test_what_was_handed_out_stays_and_cannot_be_written() -> None:
    history = BarHistory()
    for minute in range(1100):  # beyond the first room
        history.append(Bar(minute * MINUTE, 1.0, 2.0, 0.5, float(minute), 1.0))
        if minute == 10:
            early = history.fields["close"]
    assert early.tolist() == [float(minute) for minute in range(11)]
    assert history.fields["close"][-1] == 1099.0
    for array in (early, history.time):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
