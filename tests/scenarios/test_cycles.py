"""What one cycle decides and journals: one decision each, what it carries, and whose reason an exit has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scenarios.candles import Row, play, symbol

FLAT: Row = (100, 100, 100, 100)
STATIC: dict[str, Any] = {"exit__harvest__scheme__by": "static", "exit__stops__ratchet__fee_buffer": False}
OPEN_END: dict[str, Any] = {"sim__end_of_data": "open"}
ENTERED = ("INIT_NEW_POSITION", "entry")


def at(price: float) -> Row:
    return (price, price, price, price)


def percent_trail(distance: float, activate: float = 0.02) -> dict[str, Any]:
    return {
        "exit__stops__trail__mode": "percent",
        "exit__stops__trail__distance": distance,
        "exit__stops__trail__activate": activate,
    }


# (id, rows after the first, settings, decisions after the entry, the stop after each)
DECISIONS: list[tuple[str, list[Row], dict[str, Any], list[tuple[str, str]], list[float]]] = [
    (
        "a_ratchet_stands_alone_where_nothing_follows",
        [(100, 102, 100, 102)],
        STATIC,
        [("PARTIAL_CLOSE", "tp1"), ("MOVE_SL", "ratchet")],
        [98.8, 100.0],
    ),
    (
        "the_next_leg_carries_the_ratchet_of_the_one_before",
        [FLAT, at(107)],
        STATIC,
        [("PARTIAL_CLOSE", "tp1"), ("PARTIAL_CLOSE", "tp2"), ("PARTIAL_CLOSE", "tp3"), ("MOVE_SL", "ratchet")],
        [98.8, 100.0, 102.0, 104.0],
    ),
    (
        "breakeven_and_leg_at_one_point_are_one_decision",
        [(100, 102, 100, 102)],
        {**STATIC, "exit__stops__breakeven__activate": 0.02},
        [("PARTIAL_CLOSE", "tp1")],
        [100.0],
    ),
    (
        "breakeven_stands_alone_before_the_leg",
        [(100, 101, 100, 101)],
        {**STATIC, "exit__stops__breakeven__activate": 0.01},
        [("MOVE_SL", "breakeven")],
        [100.0],
    ),
    (
        "of_a_trail_only_its_start_is_a_decision",
        [(100, 103, 100, 103), (103, 105, 103, 105), (105, 107, 105, 107)],
        {"exit__base_tp": 0.1, **percent_trail(0.01)},
        [("MOVE_SL", "trail")],
        [100.98],
    ),
    (
        "each_exit_carries_the_stop_it_had",
        [(100, 103, 100, 103), (103, 105, 103, 105), (105, 105, 101, 101)],
        {"exit__base_tp": 0.1, **percent_trail(0.01)},
        [("MOVE_SL", "trail"), ("FULL_EXIT_NOW", "trail")],
        [100.98, 103.95],
    ),
    (
        "a_trail_that_starts_beyond_the_landing_price_is_the_exit_itself",
        # ATR 0 would hold; a trail tighter than a tick stands at the price that starts it
        [(100, 102, 100, 102)],
        {"exit__base_tp": 0.1, **percent_trail(1e-6)},
        [("FULL_EXIT_NOW", "trail")],
        [102.0],
    ),
    (
        "a_leg_that_closes_all_is_a_full_exit",
        [(100, 103, 100, 103)],
        {"exit__policy": "bracket"},
        [("FULL_EXIT_NOW", "tp1")],
        [98.5],
    ),
    (
        "holding_is_not_journalled",
        [(100, 101, 99, 100), (100, 101, 99, 100)],
        STATIC,
        [],
        [],
    ),
]


AT_BOTH = [
    (f"{table[0]}-{monitoring}", monitoring, *table[1:])
    for table in DECISIONS
    for monitoring in ("continuous", "points")
    if monitoring == "continuous" or not any(reason == "trail" for _, reason in table[3])
]
"""Prices stand on the levels at the points, so that both tell one story; a trail moves between points as well."""


@pytest.mark.parametrize(
    ("monitoring", "rows", "settings", "decisions", "stops"), [t[1:] for t in AT_BOTH], ids=[t[0] for t in AT_BOTH]
)
def test_decisions(
    monitoring: str, rows: list[Row], settings: dict[str, Any], decisions: list[tuple[str, str]], stops: list[float]
) -> None:
    story = play(symbol([FLAT, *rows], long=[0]), **OPEN_END, exit__monitoring=monitoring, **settings)
    assert story.decisions == [ENTERED, *decisions]
    assert story.stops[1:] == stops


def test_every_cycle_is_a_decision_or_a_hold() -> None:
    rows = [FLAT, (100, 107, 100, 107), (107, 107, 103, 103)]
    counts = (story := play(symbol(rows, long=[0]), **STATIC)).journals.counts
    assert counts["holds"] > 0
    assert counts["cycles"] == counts["holds"] + len(story.decisions) - 1, "all but the entry came out of a cycle"


# (id, rows after the first, settings, reason of the trade)
REASONS: list[tuple[str, list[Row], dict[str, Any], str]] = [
    ("the_trail_passed_the_ratchet", [(100, 102, 100, 102), at(100.5)], {**STATIC, **percent_trail(0.01)}, "trail"),
    (
        "the_ratchet_stands_above_the_trail",
        [(100, 102, 100, 102), at(99.5)],
        {**STATIC, **percent_trail(0.05)},
        "ratchet",
    ),
    (
        "breakeven_before_the_ratchet",
        [(100, 102, 100, 102), at(99.5)],
        {**STATIC, "exit__stops__breakeven__activate": 0.01},
        "breakeven",
    ),
    (
        "a_wide_trail_never_loosens_the_stop",
        [(100, 102, 100, 102), at(98.7)],
        {"exit__base_tp": 0.1, **percent_trail(0.05)},
        "stop",
    ),
    ("the_last_leg_names_the_trade", [(100, 107, 100, 107)], {**STATIC, "exit__harvest__basis": "initial"}, "tp3"),
]


@pytest.mark.parametrize(("rows", "settings", "reason"), [t[1:] for t in REASONS], ids=[t[0] for t in REASONS])
def test_exit_reason_is_whatever_last_moved_the_stop(rows: list[Row], settings: dict[str, Any], reason: str) -> None:
    assert play(symbol([FLAT, *rows], long=[0]), **settings).reasons == [reason]


def test_breakeven_covers_the_round_trip_too() -> None:
    """entry · (1 + 2 · 0.05 % + 2 bps), on the tighter tick; the entry itself slipped to 100.02."""
    story = play(
        symbol([FLAT, (100, 101.5, 100, 101.5)], long=[0]),
        **OPEN_END,
        exit__stops__breakeven__activate=0.01,
        costs__fees__taker=0.0005,
        costs__slippage__bps=2.0,
    )
    assert story.stops[-1] == 100.15, "100.02 · 1.0012 = 100.140024, up to the next tick"


# Trail ---------------------------------------------------------------------------------------------------------------

ATR_TRAIL: dict[str, Any] = {"exit__stops__trail__mode": "atr", "exit__base_tp": 0.3}


@pytest.mark.parametrize(("style", "stop"), [("aggressive", 104.5), ("balanced", 104.0), ("loose", 103.5)])
def test_styles_trail_at_their_multiple_of_atr(style: str, stop: float) -> None:
    rows = [FLAT, (100, 105, 100, 105), (105, 105, 102, 102)]
    story = play(symbol(rows, long=[0], atr=1.0), **ATR_TRAIL, exit__stops__trail__style=style)
    assert story.fills[-1] == ("trail", stop, 1.0)
    short = play(
        symbol([FLAT, (100, 100, 95, 95), (95, 98, 95, 98)], short=[0], atr=1.0),
        **ATR_TRAIL,
        exit__stops__trail__style=style,
    )
    assert short.fills[-1] == ("trail", 200 - stop, 1.0)


def test_a_suspended_trail_keeps_the_peak_and_resumes_from_it() -> None:
    """While volatility_factor is 3 the stop is held; once it is calm the stop follows the recorded peak of 105."""
    rows = [FLAT, (100, 102, 100, 102), (102, 105, 102, 105), at(104.5), (104.5, 104.5, 103, 103)]
    factor = np.array([0.0, 3.0, 2.99, 0.0, 0.0])
    story = play(symbol(rows, long=[0], atr=1.0, volatility_factor=factor), **ATR_TRAIL)
    assert story.fills[-1] == ("trail", 104.0, 1.0)
    held = play(symbol(rows, long=[0], atr=1.0, volatility_factor=np.array([0.0, 3, 3, 3, 3])), **ATR_TRAIL)
    assert held.reasons == ["end_of_data"], "the stop still stands where it was before the storm, at 101"


def test_the_peak_counts_from_the_activation() -> None:
    """A price below the activation is no peak, even the best so far."""
    rows = [FLAT, (100, 101.9, 100, 101.9), (101.9, 101.9, 101, 101)]
    story = play(symbol(rows, long=[0], atr=0.1), **ATR_TRAIL)
    assert story.reasons == ["end_of_data"]
    assert np.isnan(story.journals.trades["peak"][0])


def test_a_signals_trail_switches_to_percent() -> None:
    rows = [FLAT, (100, 105, 100, 105), (105, 105, 100, 100)]
    story = play(symbol(rows, long=[0], trail=0.02, atr=1.0), **ATR_TRAIL)
    assert story.fills[-1] == ("trail", 102.9, 1.0)


# Signals that bring their own levels ---------------------------------------------------------------------------------


def test_a_signals_target_replaces_base_tp() -> None:
    story = play(symbol([FLAT, (100, 103, 100, 103)], long=[0], tp=0.01), **STATIC, **OPEN_END)
    assert [fill[:2] for fill in story.fills[1:]] == [("tp1", 101.0), ("tp2", 102.0), ("tp3", 103.0)]


def test_a_signals_stop_is_still_kept_inside_the_hard_stop() -> None:
    """5 % asked for: clamped to sl_max 2 %, then to 0.9 of the hard stop's 2 %."""
    story = play(symbol([FLAT, (100, 100, 98.1, 98.1)], long=[0], sl=0.05))
    assert story.fills[-1] == ("stop", 98.2, 1.0)


def test_a_bracket_takes_a_signals_levels_and_refuses_its_trail() -> None:
    bracket: dict[str, Any] = {"exit__policy": "bracket"}
    rows = [FLAT, (100, 100, 94, 94)]
    assert play(symbol(rows, long=[0], sl=0.05), **bracket).fills[-1] == ("stop", 95.0, 1.0)
    assert play(symbol([FLAT, (100, 109, 100, 109)], long=[0], tp=0.08), **bracket).fills[-1] == ("tp1", 108.0, 1.0)
    assert play(symbol(rows, long=[0], trail=0.05), **bracket).denials == ["bracket_trail"]


# Leverage and what it does to a trade --------------------------------------------------------------------------------


def test_leverage_one_with_adaptive_levels() -> None:
    """LSF 0.590616: targets 2.381232, 2.990616, 3.895308 %, stop 1.593008 %; nothing can liquidate a long at 1x."""
    rows = [FLAT, (100, 104, 100, 104)]
    story = play(symbol(rows, long=[0]), **OPEN_END, exit__levels__adaptive=True)
    assert story.stops[0] == 98.41, "98.406992 on the tighter tick"
    assert story.fills[1:] == [("tp1", 102.38, 0.3), ("tp2", 102.99, 0.21), ("tp3", 103.9, 0.196)]
    assert np.isnan(story.journals.positions["liq_price"][0])


@pytest.mark.parametrize(
    ("leverage", "closed"),
    [(10.0, [0.3, 0.21, 0.196]), (11.0, [0.4, 0.24, 0.072]), (31.0, [0.5, 0.15, 0.07])],
    ids=["10x", "11x", "31x"],
)
def test_fractions_follow_the_leverage(leverage: float, closed: list[float]) -> None:
    story = play(symbol([FLAT, (100, 107, 100, 107)], long=[0]), **OPEN_END, leverage__fixed=leverage)
    assert [qty for _, _, qty in story.fills[1:]] == closed
