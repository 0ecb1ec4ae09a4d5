"""When the engine looks: continuous, points, interval; and what each sees of the same candles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.candles import Row, mirrored, play, symbol

FLAT: Row = (100, 100, 100, 100)
STATIC: dict[str, Any] = {"exit__harvest__scheme__by": "static", "exit__stops__ratchet__fee_buffer": False}
FAR_HARD_STOP: dict[str, Any] = {"exit__stops__hard__distance": 0.05}
NO_EXIT_BRAIN: dict[str, Any] = {"exit__policy": "bracket", "exit__bracket__tp": "inf", "exit__bracket__sl": 0.5}
PERCENT_TRAIL: dict[str, Any] = {
    "exit__base_tp": 0.1,
    "exit__stops__trail__mode": "percent",
    "exit__stops__trail__distance": 0.01,
    "exit__stops__trail__activate": 0.02,
}


def interval(seconds: float) -> dict[str, Any]:
    return {"exit__monitoring": "interval", "exit__check_interval_s": seconds}


# (id, rows after the first, settings, expected fills after the entry, expected hours of those fills)
TABLES: list[tuple[str, list[Row], dict[str, Any], list[tuple[str, float, float]], list[float]]] = [
    (
        "continuous_cuts_a_segment_at_each_trigger",
        # 100, 100 after 20 min, 107 after 40: the levels are reached at 2, 4 and 6 sevenths of the second segment
        [(100, 107, 100, 107)],
        STATIC,
        [("tp1", 102, 0.25), ("tp2", 104, 0.187), ("tp3", 106, 0.281), ("end_of_data", 107, 0.282)],
        [1 + (1 + 2 / 7) / 3, 1 + (1 + 4 / 7) / 3, 1 + (1 + 6 / 7) / 3, 2.0],
    ),
    (
        "continuous_ratchet_holds_for_the_rest_of_the_segment_and_the_bar",
        [(100, 102.5, 100, 99.5)],
        STATIC,
        [("tp1", 102, 0.25), ("ratchet", 100, 0.75)],
        [1 + (1 + 2 / 2.5) / 3, 1 + (2 + 2.5 / 3) / 3],
    ),
    (
        "continuous_trail_moves_at_the_end_of_a_rise_and_acts_on_the_same_bar",
        # low 99.9 first, then the peak of 105, whose trail of 1 % stands at 103.95 when the price falls to 103
        [(100, 105, 99.9, 103)],
        PERCENT_TRAIL,
        [("trail", 103.95, 1.0)],
        [1 + (2 + 1.05 / 2) / 3],
    ),
    (
        "continuous_trigger_already_met_fires_at_the_start_of_the_segment",
        # slippage of 50 bps puts the entry at 100.50 and its stop of 0.2 % at 100.30, above the path
        [FLAT],
        {"exit__policy": "bracket", "exit__bracket__sl": 0.002, "costs__slippage__bps": 50.0},
        [("stop", 99.5, 1.0)],
        [1.0],
    ),
    (
        "points_see_a_trigger_already_met_at_the_next_point",
        [FLAT],
        {
            "exit__policy": "bracket",
            "exit__bracket__sl": 0.002,
            "costs__slippage__bps": 50.0,
            "exit__monitoring": "points",
        },
        [("stop", 99.5, 1.0)],
        [1 + 1 / 3],
    ),
    (
        "points_repeat_cycles_until_nothing_is_left_to_do",
        [(100, 107, 100, 107)],
        {**STATIC, "exit__monitoring": "points"},
        [("tp1", 107, 0.25), ("tp2", 107, 0.187), ("tp3", 107, 0.281), ("end_of_data", 107, 0.282)],
        [1 + 2 / 3, 1 + 2 / 3, 1 + 2 / 3, 2.0],
    ),
    (
        "points_trail_follows_the_points",
        [(100, 105, 99.9, 103)],
        {**PERCENT_TRAIL, "exit__monitoring": "points"},
        [("trail", 103, 1.0)],
        [2.0],
    ),
    (
        "points_liquidate_at_the_point",
        # 85 is past the liquidation price of 90.36 and past the margin: settled where the loss equals the margin
        [(100, 100, 85, 86)],
        {**NO_EXIT_BRAIN, "leverage__fixed": 10.0, "exit__monitoring": "points"},
        [("liquidation", 90.0, 1.0)],
        [1 + 2 / 3],
    ),
    (
        "interval_fills_one_leg_per_cycle",
        # half past: 103.5 on the way up; then 107 after 40 and 50 minutes
        [(100, 107, 100, 107)],
        {**STATIC, **interval(600)},
        [("tp1", 103.5, 0.25), ("tp2", 107, 0.187), ("tp3", 107, 0.281), ("end_of_data", 107, 0.282)],
        [1.5, 1 + 2 / 3, 1 + 5 / 6, 2.0],
    ),
    (
        "interval_looks_at_the_open_not_at_the_close_before_it",
        [(100, 100.5, 98.5, 98.5), (98.6, 98.6, 98.6, 98.6)],
        {**FAR_HARD_STOP, **interval(3600)},
        [("stop", 98.6, 1.0)],
        [2.0],
    ),
    (
        "interval_does_not_look_at_an_open_between_its_times",
        # every 90 minutes: at 01:30 the price is 99.35; the open of 02:00 stands below the stop, 03:00 is the next look
        [(100, 100, 98.7, 98.7), (98.7, 98.7, 98.2, 98.2), (98.3, 98.3, 98.3, 98.3)],
        {**FAR_HARD_STOP, **interval(5400)},
        [("stop", 98.3, 1.0)],
        [3.0],
    ),
    (
        "interval_liquidation_acts_along_the_path",
        [(100, 100, 90, 90)],
        {**NO_EXIT_BRAIN, "leverage__fixed": 10.0, **interval(3600)},
        [("liquidation", 90.361446, 1.0)],
        [1 + (1 + 9.638554 / 10) / 3],
    ),
    (
        "interval_exchange_stop_does_not_wait_for_a_jump_to_be_looked_at",
        [FLAT, (97, 97, 97, 97), (97, 97, 97, 97)],
        interval(7200 * 2),
        [("hard_stop", 97, 1.0)],
        [2.0],
    ),
]


@pytest.mark.parametrize(
    ("rows", "settings", "expected", "hours"), [t[1:] for t in TABLES], ids=[table[0] for table in TABLES]
)
def test_long(
    rows: list[Row], settings: dict[str, Any], expected: list[tuple[str, float, float]], hours: list[float]
) -> None:
    story = play(symbol([FLAT, *rows], long=[0]), **settings)
    assert story.fills[1:] == expected
    assert story.hours[1:] == pytest.approx(hours, abs=2e-6)


SYMMETRIC = [t for t in TABLES if "trail" not in t[0] and "liquidat" not in t[0] and "already_met" not in t[0]]
"""A percentage trail, a maintenance rate and slippage in per cent are not mirror images."""


@pytest.mark.parametrize(
    ("rows", "settings", "expected", "hours"), [t[1:] for t in SYMMETRIC], ids=[table[0] for table in SYMMETRIC]
)
def test_short_is_the_mirror_image(
    rows: list[Row], settings: dict[str, Any], expected: list[tuple[str, float, float]], hours: list[float]
) -> None:
    """Prices around the entry; the low still comes first where both extremes are equally near, so nothing ties here."""
    story = play(symbol(mirrored([FLAT, *rows]), short=[0]), **settings)
    assert story.fills[1:] == [(why, round(200 - price, 6), qty) for why, price, qty in expected]
    assert story.hours[1:] == pytest.approx(hours, abs=2e-6)


def test_short_percent_trail_follows_the_low() -> None:
    """Mirror of the trail on one bar: low 95, 1 % above it is 95.95."""
    story = play(symbol([FLAT, (100, 100.1, 95, 97)], short=[0]), **PERCENT_TRAIL)
    assert story.fills[1:] == [("trail", 95.95, 1.0)]


def test_short_liquidation_on_the_path() -> None:
    """10x, maintenance 0.4 %: (10 + 100) / (0.004 + 1) = 109.561753."""
    story = play(symbol([FLAT, (100, 112, 100, 112)], short=[0]), **NO_EXIT_BRAIN, leverage__fixed=10.0)
    assert story.fills[1:] == [("liquidation", 109.561753, 1.0)]
    assert story.pnl == [pytest.approx(-10.0)]


# A cycle at the close ------------------------------------------------------------------------------------------------


def test_interval_looks_at_a_close_that_no_bar_follows() -> None:
    """Hours 2 and 4: a gap follows the one, the end of data the other. Where a bar follows, its open is looked at."""
    rows: list[Row] = [FLAT, (100, 100, 98.5, 98.5), (90, 90, 90, 90)]
    before_a_gap = play(symbol(rows, at=[0, 1, 8], long=[0]), **interval(3600), **FAR_HARD_STOP)
    assert before_a_gap.fills[-1] == ("stop", 98.5, 1.0)
    assert before_a_gap.hours[-1] == 2.0
    at_the_end = play(symbol(rows[:2], long=[0]), **interval(3600), **FAR_HARD_STOP)
    assert (at_the_end.fills[-1], at_the_end.hours[-1]) == (("stop", 98.5, 1.0), 2.0)
    followed = play(symbol(rows, long=[0]), **interval(3600), exit__stops__hard__distance=0.5)
    assert (followed.fills[-1], followed.hours[-1]) == (("stop", 90.0, 1.0), 2.0)
