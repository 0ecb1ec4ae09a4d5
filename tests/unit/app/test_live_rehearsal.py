"""What a session says about its orders before it trades: sized, planned and rounded by the core, in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qtsim.app.live import live_params, order_lines, timing_of
from qtsim.app.warm import Rehearsal, TypicalOrder
from qtsim.data.instruments import load_instruments, to_record
from qtsim.live.history import BarHistory
from tests.unit.live.lines import frames_of, resolved, source_of

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
NOTIONAL = {"sizing.model": "notional", "sizing.notional": 600.0, "leverage.model": "fixed", "leverage.fixed": 3.0}


def rehearsal(*, bars: int = 300, **overrides: Any) -> Rehearsal:
    """Two symbols at prices near 100 and 200, with the instruments' real steps."""
    settings = resolved(SYMBOLS, **{**NOTIONAL, **overrides})
    source = source_of(settings, SYMBOLS)
    source.bars = {name: BarHistory.of_frame(frame) for name, frame in frames_of(SYMBOLS, bars, 3).items() if bars}
    table = load_instruments()
    records = np.concatenate([to_record(table[symbol]) for symbol in SYMBOLS])
    return Rehearsal(records, live_params(settings.settings), source, timing_of(settings.settings))


def test_both_sides_of_every_symbol_are_traded_to_their_end() -> None:
    assert rehearsal().trade(10_000.0) == 4


def test_legs_and_rest_are_the_order_and_prices_stand_in_order() -> None:
    one = rehearsal().typical("BTCUSDT", 10_000.0)
    assert one.qty * one.price == pytest.approx(600.0, rel=0.01)
    assert len(one.legs) == len(one.targets) == 3
    assert sum(one.legs) + one.rest == pytest.approx(one.qty)
    prices = [one.liquidation, one.hard_stop, one.stop, one.price, *one.targets]
    assert prices == sorted(prices)
    assert all(round(leg / 0.001) == pytest.approx(leg / 0.001) for leg in one.legs)


def test_the_least_balance_has_all_legs_and_a_little_less_has_not() -> None:
    rehearsed = rehearsal(**{"sizing.model": "fraction", "sizing.fraction": 0.05})
    least = rehearsed.least_balance("BTCUSDT")
    assert rehearsed.typical("BTCUSDT", least).is_whole
    assert not rehearsed.typical("BTCUSDT", least * 0.99).is_whole


def test_where_no_balance_gives_an_order_that_is_said_with_the_rule() -> None:
    rehearsed = rehearsal(**{"entry.confidence.min": 0.5, "exit.levels.sl_safety.min_distance": 0.15})
    assert math.isinf(rehearsed.least_balance("BTCUSDT"))
    (line, _) = order_lines(rehearsed, SYMBOLS, 10_000.0)
    assert line.startswith("BTCUSDT: no order at this equity: ")
    assert line.endswith("at no balance all legs")
    assert "limit 0.15" in line


def test_the_lines_name_everything() -> None:
    (line, _) = order_lines(rehearsal(), SYMBOLS, 10_000.0)
    for word in ("BTCUSDT: a long now: ", "3x", "legs ", "rest ", "targets ", "stop ", "hard stop ", "liquidation "):
        assert word in line
    assert "all legs exist from a balance of " in line


def test_without_bars_nothing_is_rehearsed() -> None:
    nothing = rehearsal(bars=0)
    nothing.source.bars = {symbol: BarHistory() for symbol in SYMBOLS}
    again = Rehearsal(nothing.records, nothing.params, nothing.source, nothing.timing)
    assert again.trade(10_000.0) == 0
    assert "cannot be told" in order_lines(again, SYMBOLS, 10_000.0)[0]


@pytest.mark.parametrize(("legs", "whole"), [((1.0, 1.0), True), ((1.0, 0.0), False), ((), True)])
def test_an_order_is_whole_where_every_leg_closes_something(legs: tuple[float, ...], whole: bool) -> None:
    assert TypicalOrder("BTCUSDT", qty=2.0, legs=legs).is_whole is whole
    assert not TypicalOrder("BTCUSDT", why_not="a rule").is_whole
