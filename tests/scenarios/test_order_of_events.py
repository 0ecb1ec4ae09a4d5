"""Signals, the order of events at one instant, ties, funding times and gaps, as candle tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scenarios.candles import Row, play, symbol

FLAT: Row = (100, 100, 100, 100)
UP: Row = (100, 101, 100, 101)


def test_a_signal_fills_at_the_next_open() -> None:
    story = play(symbol([FLAT, (101, 101, 101, 101), FLAT], long=[0]))
    assert story.fills[0] == ("entry", 101, 1.0)
    assert story.hours[0] == 1.0


def test_fill_at_close_takes_the_signals_own_close() -> None:
    story = play(symbol([(100, 100.4, 100, 100.4), (101, 101, 101, 101), FLAT], long=[0]), sim__fill_at="close")
    assert story.fills[0] == ("entry", 100.4, 1.0)
    assert story.hours[0] == 1.0


@pytest.mark.parametrize(
    ("at", "expected"), [([0, 2, 3], ["entry", "end_of_data"]), ([0, 3, 4], [])], ids=["one", "two"]
)
def test_a_signal_expires_more_than_one_bar_after_its_close(at: list[int], expected: list[str]) -> None:
    """One missing bar: the next open is exactly one bar late and still in time; two: it has expired."""
    story = play(symbol([FLAT, FLAT, FLAT], at=at, long=[0]))
    assert [reason for reason, _, _ in story.fills] == expected
    assert story.denials == ([] if expected else ["expired"])


def test_nothing_is_watched_in_a_gap() -> None:
    """The low of the missing hours does not exist; the first price after the gap decides."""
    story = play(symbol([FLAT, FLAT, (97, 97, 97, 97)], at=[0, 1, 5], long=[0]))
    assert story.fills[-1] == ("hard_stop", 97, 1.0)
    assert story.hours[-1] == 5.0
    equity = story.journals.equity
    assert list(equity["equity"][-3:-1]) == [1_000_000.0, 1_000_000.0], "equity holds the last mark over the gap"


def test_a_signal_on_the_last_bar_is_counted_not_lost() -> None:
    assert play(symbol([FLAT, FLAT], long=[1])).denials == ["end_of_data"]


def test_a_signal_for_the_side_already_held_is_ignored_and_counted() -> None:
    assert play(symbol([FLAT, FLAT, FLAT], long=[0, 1])).denials == ["side_held"]


OPPOSITE: list[tuple[str, list[str], list[str]]] = [
    ("ignore", ["entry", "end_of_data"], ["opposite_ignored"]),
    ("close", ["entry", "signal"], ["opposite_closed"]),
    ("reverse", ["entry", "reverse", "entry", "end_of_data"], []),
]


@pytest.mark.parametrize(("mode", "fills", "denials"), OPPOSITE, ids=[mode for mode, _, _ in OPPOSITE])
def test_an_opposite_signal(mode: str, fills: list[str], denials: list[str]) -> None:
    story = play(symbol([FLAT, UP, UP, UP], long=[0], short=[1]), exit__on_opposite_signal=mode)
    assert [reason for reason, _, _ in story.fills] == fills
    assert story.denials == denials


def test_an_opposite_signal_while_legs_are_open() -> None:
    rows = [FLAT, (100, 102.5, 100, 102.5), (102.5, 102.5, 102.5, 102.5), FLAT]
    settings: dict[str, Any] = {"exit__on_opposite_signal": "reverse", "exit__harvest__scheme__by": "static"}
    story = play(symbol(rows, long=[0], short=[1]), **settings)
    assert story.fills[:4] == [("entry", 100, 1.0), ("tp1", 102, 0.25), ("reverse", 102.5, 0.75), ("entry", 102.5, 1.0)]


def test_a_reversal_is_booked_before_the_entry_is_sized() -> None:
    rows = [FLAT, (100, 150, 100, 150), (150, 150, 150, 150), (150, 150, 150, 150)]
    settings: dict[str, Any] = {
        "exit__policy": "bracket",
        "exit__bracket__tp": "inf",
        "exit__bracket__sl": "inf",
        "exit__on_opposite_signal": "reverse",
        "sizing__model": "fraction",
        "sizing__fraction": 1.0,
    }
    story = play(symbol(rows, long=[0], short=[1]), balance=1_000.0, **settings)
    assert story.fills[0] == ("entry", 100, 10.0)
    assert story.fills[2] == ("entry", 150, 10.0), "1,500 after the close buys ten again"


def test_an_exit_signal_closes_at_the_next_open() -> None:
    story = play(symbol([FLAT, UP, (101, 101, 101, 101)], long=[0], exit_long=[1]))
    assert story.fills[-1] == ("signal", 101, 1.0)


def test_cooldown_counts_bars_after_the_exit() -> None:
    rows = [FLAT, FLAT, FLAT, FLAT, FLAT, FLAT]
    story = play(symbol(rows, long=[0, 2, 3, 4], exit_long=[1]), entry__cooldown_bars=2)
    assert story.denials == ["cooldown", "cooldown"]
    assert [hour for hour, fill in zip(story.hours, story.fills, strict=True) if fill[0] == "entry"] == [1.0, 5.0]


def test_a_position_opened_at_a_funding_time_is_not_charged() -> None:
    story = play(symbol([FLAT, FLAT, FLAT], long=[0], funding=[(1, 0.01), (2, 0.01)]))
    assert [round(float(f["amount"]), 9) for f in story.journals.funding] == [-1.0]


def test_inclusive_both_charges_the_opening_too() -> None:
    story = play(symbol([FLAT, FLAT, FLAT], long=[0], funding=[(1, 0.01), (2, 0.01)]), costs__funding__inclusive="both")
    assert [round(float(f["amount"]), 9) for f in story.journals.funding] == [-1.0, -1.0]


def test_a_position_closed_at_the_last_point_pays_no_funding() -> None:
    """Step 1 before step 2: the trail reached at the close of the bar comes before the funding of the same instant."""
    settings: dict[str, Any] = {
        "exit__base_tp": 0.1,
        "exit__stops__trail__mode": "percent",
        "exit__stops__trail__distance": 0.01,
        "exit__stops__trail__activate": 0.02,
    }
    rows = [FLAT, (100, 105, 99.9, 103.95), FLAT]
    story = play(symbol(rows, long=[0], funding=[(2, 0.01)]), **settings)
    assert story.reasons == ["trail"]
    assert story.hours[-1] == 2.0
    assert len(story.journals.funding) == 0


def test_funding_comes_before_the_open_jump() -> None:
    """Step 2 before step 5: still open at the funding time, then stopped by the gap of the same instant."""
    story = play(symbol([FLAT, FLAT, (98.5, 98.5, 98.5, 98.5)], long=[0], funding=[(2, 0.01)]))
    assert story.reasons == ["stop"]
    assert len(story.journals.funding) == 1


def test_funding_inside_a_bar_is_charged_on_the_path() -> None:
    """At half past, on the way from 100 to 103: 101.5 of mark value."""
    rows = [FLAT, (100, 103, 100, 103), (103, 103, 103, 103)]
    story = play(symbol(rows, long=[0], funding=[(1.5, 0.01)]), exit__base_tp=0.2)
    assert float(story.journals.funding[0]["mark"]) == pytest.approx(101.5)


def test_equity_is_marked_before_the_open_jump() -> None:
    story = play(symbol([FLAT, UP, (95, 95, 95, 95)], long=[0]))
    at = {int(row["ts"]): float(row["equity"]) for row in story.journals.equity}
    assert list(at.values())[2] == 1_000_001.0, "the close, not the open that follows at the same instant"


def test_a_stop_at_the_open_comes_before_the_signal_exit() -> None:
    rows = [FLAT, FLAT, (98.5, 98.5, 98.5, 98.5), FLAT]
    assert play(symbol(rows, long=[0], exit_long=[1])).reasons == ["stop"]


def test_entry_after_a_stop_at_the_same_open() -> None:
    rows = [FLAT, FLAT, (98.5, 98.5, 98.5, 98.5), (98.5, 98.5, 98.5, 98.5)]
    story = play(symbol(rows, long=[0, 1]))
    assert [reason for reason, _, _ in story.fills] == ["entry", "stop", "entry", "end_of_data"]
    assert story.denials == [], "flat again after the stop, the standing request is honoured"


def test_a_new_positions_first_cycle_is_at_the_next_point() -> None:
    """The open that fills the entry judges nothing, even where slippage has left it behind the stop."""
    settings: dict[str, Any] = {"exit__policy": "bracket", "exit__monitoring": "points", "costs__slippage__bps": 50.0}
    story = play(symbol([FLAT, FLAT, FLAT], long=[0], sl=0.004), **settings)
    assert story.reasons == ["stop"]
    assert story.hours[1] > story.hours[0]


def test_stop_before_leg_at_one_point() -> None:
    """Both at one point: a stop ratcheted above the landing price, and a leg below it."""
    settings: dict[str, Any] = {
        "exit__harvest__scheme__by": "static",
        "exit__stops__trail__mode": "percent",
        "exit__stops__trail__distance": 1e-6,
        "exit__stops__trail__activate": 0.001,
        "exit__monitoring": "points",
    }
    story = play(symbol([FLAT, (100, 103, 100, 103), (102.5, 102.5, 102.5, 102.5)], long=[0]), **settings)
    assert story.fills[-1][0] == "trail"


def test_larger_notional_first_when_money_is_short() -> None:
    rows = [FLAT, FLAT, FLAT]
    settings: dict[str, Any] = {"sizing__model": "notional", "sizing__notional": 700.0}
    low = symbol(rows, name="AAA", long=[0], confidence=0.5)
    high = symbol(rows, name="BBB", long=[0], confidence=1.0)
    story = play(low, high, balance=1_000.0, **settings)
    assert [int(f["symbol"]) for f in story.journals.fills if f["kind"] == 0] == [1]
    assert story.denials == ["insufficient_margin"]


def test_equal_candidates_enter_in_name_order() -> None:
    rows = [FLAT, FLAT, FLAT]
    settings: dict[str, Any] = {"sizing__model": "notional", "sizing__notional": 700.0}
    story = play(symbol(rows, name="AAA", long=[0]), symbol(rows, name="BBB", long=[0]), balance=1_000.0, **settings)
    assert [int(f["symbol"]) for f in story.journals.fills if f["kind"] == 0] == [0]


def test_events_of_two_symbols_merge_by_time() -> None:
    """BBB falls faster and reaches its stop first, although AAA comes first by name."""
    slow = symbol([FLAT, (100, 100, 98.7, 98.7)], name="AAA", long=[0])
    fast = symbol([FLAT, (100, 100, 98.1, 98.1)], name="BBB", long=[0])
    story = play(slow, fast)
    exits = story.journals.fills[2:]
    assert list(exits["symbol"]) == [1, 0]
    assert exits["ts"][0] < exits["ts"][1]


def test_a_symbol_may_start_late_and_end_early() -> None:
    rows = [FLAT] * 6
    story = play(symbol(rows, name="AAA", long=[0]), symbol(rows[:3], name="BBB", at=[2, 3, 4], long=[0]))
    trades = story.journals.trades
    assert list(trades["symbol"]) == [1, 0]
    assert list((trades["exit_ts"] - trades["entry_ts"]) // 3_600_000_000_000) == [2, 5]


def test_both_sides_at_once_is_neither() -> None:
    assert play(symbol([FLAT, FLAT, FLAT], long=[0], short=[0])).fills == []


def test_a_nan_price_is_skipped_and_counted() -> None:
    rows = [FLAT, FLAT, (np.nan, np.nan, np.nan, np.nan), (95, 95, 95, 95)]
    story = play(symbol(rows, long=[0]))
    assert story.fills[-1] == ("hard_stop", 95, 1.0)
    assert story.journals.counts["nan_points"] > 0
