"""Guards as candle tables: each rule at, just below and just above its limit, in the compiled loop and the session.

Entry at 100 at the open of the second row (hour 1). The planned stop is 8 %, so that half of it, 4 %, is far from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scenarios.candles import Row, Story, mirrored, play, symbol

FLAT: Row = (100, 100, 100, 100)
WIDE: dict[str, Any] = {
    "exit__base_sl": 0.08,
    "exit__base_tp": 0.2,
    "exit__levels__sl__max": 0.5,
    "exit__stops__hard__distance": 0.3,
    "exit__stops__ratchet__preset": "off",
}
CALM: dict[str, Any] = {"leader_24h": np.nan}


def told(rows: list[Row], settings: dict[str, Any], side: int, **columns: Any) -> tuple[Story, list[tuple[str, float]]]:
    """The story, and reason and price of every exit, prices turned back for a short."""
    table = [FLAT, *rows] if side > 0 else mirrored([FLAT, *rows])
    entry = {"long": [0]} if side > 0 else {"short": [0]}
    story = play(symbol(table, **entry, **{**CALM, **columns}), **{**WIDE, **settings})
    exits = [(reason, price if side > 0 else round(200 - price, 6)) for reason, price, _ in story.fills[1:]]
    return story, exits


def dip(low: float) -> list[Row]:
    """A quiet bar, then one that falls to `low` and comes back."""
    return [FLAT, (100, 100, low, 100), FLAT]


# (id, rows, settings, columns, exits)
GUARDS: list[tuple[str, list[Row], dict[str, Any], dict[str, Any], list[tuple[str, float]]]] = [
    ("loss_at_its_limit", dip(97), {"exit__guard__loss__max": 0.03}, {}, [("loss_guard", 97)]),
    ("loss_above_its_limit", dip(96), {"exit__guard__loss__max": 0.03}, {}, [("loss_guard", 97)]),
    ("loss_below_its_limit", dip(97.01), {"exit__guard__loss__max": 0.03}, {}, [("end_of_data", 100)]),
    (
        "loss_on_margin_at_its_limit",
        dip(98),
        {"exit__guard__loss__max": 0.04, "exit__guard__loss__basis": "margin", "leverage__fixed": 2.0},
        {},
        [("loss_guard", 98)],
    ),
    (
        "emergency_at_its_limit",
        dip(97.5),
        {"exit__guard__loss__emergency_margin": 0.05, "leverage__fixed": 2.0},
        {},
        [("margin_emergency", 97.5)],
    ),
    (
        "emergency_below_its_limit",
        dip(97.51),
        {"exit__guard__loss__emergency_margin": 0.05, "leverage__fixed": 2.0},
        {},
        [("end_of_data", 100)],
    ),
    (
        "emergency_above_its_limit_is_met_on_the_path",
        dip(97),
        {"exit__guard__loss__emergency_margin": 0.05, "leverage__fixed": 2.0},
        {},
        [("margin_emergency", 97.5)],
    ),
    ("emergency_is_off_by_default", dip(94), {"exit__guard__loss__max": "inf"}, {}, [("end_of_data", 100)]),
    (
        "loss_guard_comes_before_the_emergency",
        dip(95),
        {"exit__guard__loss__emergency_margin": 0.05, "exit__guard__loss__max": 0.05},
        {},
        [("loss_guard", 95)],
    ),
    ("crash_at_its_limits", dip(96), {}, {"volatility_factor": 3.0}, [("crash", 96)]),
    ("crash_loss_above_its_limit_is_met_on_the_path", dip(95), {}, {"volatility_factor": 3.0}, [("crash", 96)]),
    ("crash_loss_below_its_limit", dip(96.01), {}, {"volatility_factor": 3.0}, [("end_of_data", 100)]),
    ("crash_volatility_below_its_limit", dip(95), {}, {"volatility_factor": 2.999}, [("end_of_data", 100)]),
    ("crash_volatility_above_its_limit", dip(95), {}, {"volatility_factor": 3.001}, [("crash", 96)]),
    ("crash_leader_at_its_limit", dip(95), {}, {"leader_24h": -0.10}, [("crash", 96)]),
    ("crash_leader_lost_more", dip(95), {}, {"leader_24h": -0.11}, [("crash", 96)]),
    ("crash_leader_lost_less", dip(95), {}, {"leader_24h": -0.099}, [("end_of_data", 100)]),
    ("crash_leader_unknown", dip(95), {}, {"leader_24h": np.nan}, [("end_of_data", 100)]),
    (
        "crash_share_of_the_stop",
        dip(95),
        {"exit__guard__stale__stop_share": 0.25},
        {"volatility_factor": 3.0},
        [("crash", 98)],
    ),
    (
        "crash_off_by_settings",
        dip(95),
        {"exit__guard__stale__crash_volatility": "inf"},
        {"volatility_factor": 5.0},
        [("end_of_data", 100)],
    ),
    (
        "crash_in_a_gap_fills_at_the_open",
        [FLAT, (95, 95, 95, 95)],
        {},
        {"volatility_factor": 3.0},
        [("crash", 95)],
    ),
]


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize(("rows", "settings", "columns", "exits"), [g[1:] for g in GUARDS], ids=[g[0] for g in GUARDS])
def test_guards(
    rows: list[Row], settings: dict[str, Any], columns: dict[str, Any], exits: list[tuple[str, float]], side: int
) -> None:
    assert told(rows, settings, side, **columns)[1] == exits


OLD: dict[str, Any] = {"exit__guard__stale__hours": 4.0}
LOW: Row = (96, 96, 96, 96)
BEFORE: Row = (100, 100, 96, 96)

# (id, rows after the entry's first one, settings, exits, hour of the exit); the position is 4 hours old at hour 5
STALE: list[tuple[str, list[Row], dict[str, Any], list[tuple[str, float]], float]] = [
    ("at_its_age_and_loss", [BEFORE, LOW, LOW, LOW, LOW], OLD, [("stale", 96)], 5.0),
    ("loss_below_its_limit", [BEFORE, *[(96.01, 96.01, 96.01, 96.01)] * 4], OLD, [("end_of_data", 96.01)], 6.0),
    ("loss_above_its_limit", [BEFORE, *[(95.99, 95.99, 95.99, 95.99)] * 4], OLD, [("stale", 95.99)], 5.0),
    ("younger", [BEFORE, LOW, LOW], OLD, [("end_of_data", 96)], 4.0),
    (
        "age_between_two_points_acts_at_the_next",
        [BEFORE, LOW, LOW, LOW, LOW, LOW],
        {"exit__guard__stale__hours": 3.9},
        [("stale", 96)],
        5.0,
    ),
    (
        "age_is_reached_at_a_point_of_the_path",
        [BEFORE, LOW, LOW, LOW, LOW, LOW],
        {"exit__guard__stale__hours": 11 / 3},
        [("stale", 96)],
        1 + 11 / 3,
    ),
    (
        "old_and_then_the_loss_on_the_path",
        [FLAT, FLAT, FLAT, FLAT, (100, 100, 94, 94), FLAT],
        OLD,
        [("stale", 96)],
        5 + 1 / 3 + 4 / 6 / 3,
    ),
    ("never", [BEFORE, LOW, LOW, LOW, LOW], {"exit__guard__stale__hours": "inf"}, [("end_of_data", 96)], 6.0),
    (
        "share_of_the_stop",
        [FLAT, FLAT, FLAT, FLAT, (98, 98, 98, 98)],
        {**OLD, "exit__guard__stale__stop_share": 0.25},
        [("stale", 98)],
        5.0,
    ),
]


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize(("rows", "settings", "exits", "hour"), [s[1:] for s in STALE], ids=[s[0] for s in STALE])
def test_stale(
    rows: list[Row], settings: dict[str, Any], exits: list[tuple[str, float]], hour: float, side: int
) -> None:
    story, found = told(rows, settings, side)
    assert found == exits
    assert story.hours[-1] == pytest.approx(hour, abs=1e-6)


@pytest.mark.parametrize(
    ("monitoring", "interval", "hour"), [("points", 10.0, 5.0), ("interval", 7200.0, 6.0), ("interval", 1800.0, 5.0)]
)
def test_stale_acts_at_a_cycle(monitoring: str, interval: float, hour: float) -> None:
    settings = {**OLD, "exit__monitoring": monitoring, "exit__check_interval_s": interval}
    story, found = told([BEFORE, LOW, LOW, LOW, LOW, LOW, LOW], settings, 1)
    assert found == [("stale", 96)]
    assert story.hours[-1] == hour


def test_guards_watch_the_mark() -> None:
    rows = [FLAT, FLAT, FLAT, FLAT]
    marks = [FLAT, FLAT, (100, 100, 95, 100), FLAT]
    settings = {**WIDE, "exit__guard__loss__max": 0.03}
    story = play(symbol(rows, long=[0], marks=marks), **settings)
    assert story.fills[1][:2] == ("loss_guard", 100.0)
    crash = play(symbol(rows, long=[0], marks=marks, volatility_factor=3.0), **WIDE)
    assert crash.fills[1][:2] == ("crash", 100.0)


def test_a_crash_is_known_at_the_close_of_its_bar() -> None:
    """The bar whose row shows the crash ends at hour 3: it acts at the open there, not inside that bar."""
    rows = [FLAT, FLAT, (100, 100, 95, 95.5), (95.5, 96, 95, 95.5)]
    item = symbol(rows, long=[0])
    item.signals["volatility_factor"][2] = 3.0
    story = play(item, **WIDE)
    assert story.fills[1][:2] == ("crash", 95.5)
    assert story.hours[1] == 3.0


def test_a_bracket_has_no_guards() -> None:
    rows = [FLAT, FLAT, (100, 100, 80, 80), (80, 80, 80, 80)]
    settings = {"exit__policy": "bracket", "exit__bracket__sl": "inf", "exit__bracket__tp": "inf"}
    guards = {
        "exit__guard__loss__max": 0.02,
        "exit__guard__loss__emergency_margin": 0.1,
        "exit__guard__stale__hours": 1,
    }
    story = play(symbol(rows, long=[0], volatility_factor=5.0), **settings, **guards)
    assert story.reasons == ["end_of_data"]
