"""The policies legacy and profit_lock, and replanning, as candle tables in the compiled loop and the session.

Entry at 100 at the open of the second row. profit_lock at 10x: a return on margin of 1 % is 0.1 of price.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.generated import instrument
from tests.scenarios.candles import Row, Story, mirrored, play, symbol

FLAT: Row = (100, 100, 100, 100)
Exits = list[tuple[str, float, float]]


def told(rows: list[Row], settings: dict[str, Any], side: int, **columns: Any) -> tuple[Story, Exits]:
    """The story, and (reason, price, quantity) of every exit, prices turned back for a short."""
    table = [FLAT, *rows] if side > 0 else mirrored([FLAT, *rows])
    entry = {"long": [0]} if side > 0 else {"short": [0]}
    story = play(symbol(table, **entry, **columns), **settings)
    exits = [(reason, price if side > 0 else round(200 - price, 6), qty) for reason, price, qty in story.fills[1:]]
    return story, exits


# legacy --------------------------------------------------------------------------------------------------------------

LEGACY: dict[str, Any] = {"exit__policy": "legacy", "exit__stops__ratchet__fee_buffer": False}
NO_TRAIL: dict[str, Any] = {**LEGACY, "exit__legacy__trail_activate": "inf", "exit__legacy__breakeven": "inf"}
MATH: dict[str, Any] = {**NO_TRAIL, "exit__legacy__levels": "math"}
OLD: dict[str, Any] = {**NO_TRAIL, "exit__legacy__stale_hours": 3.0}
LOW: Row = (98, 98, 98, 98)

# (id, rows, settings, columns, exits)
LEGACY_TABLES: list[tuple[str, list[Row], dict[str, Any], dict[str, Any], Exits]] = [
    ("stop_at_its_price", [(100, 100, 97, 98)], LEGACY, {}, [("stop", 97, 1)]),
    ("stop_missed_by_a_tick", [(100, 100, 97.01, 98)], LEGACY, {}, [("end_of_data", 98, 1)]),
    ("half_then_the_target", [(100, 107, 100, 107)], NO_TRAIL, {}, [("tp1", 104, 0.5), ("tp2", 106, 0.5)]),
    ("half_missed_by_a_tick", [(100, 103.99, 100, 103)], NO_TRAIL, {}, [("end_of_data", 103, 1)]),
    ("half_at_its_price", [(100, 104, 100, 103)], NO_TRAIL, {}, [("tp1", 104, 0.5), ("end_of_data", 103, 0.5)]),
    (
        "target_missed_by_a_tick",
        [(100, 105.99, 100, 105)],
        NO_TRAIL,
        {},
        [("tp1", 104, 0.5), ("end_of_data", 105, 0.5)],
    ),
    (
        "no_ratchet_after_the_half",
        [(100, 104, 100, 104), (104, 104, 96.9, 97)],
        NO_TRAIL,
        {},
        [("tp1", 104, 0.5), ("stop", 97, 0.5)],
    ),
    (
        "a_half_beyond_the_target_is_left_out",
        [(100, 107, 100, 107)],
        {**NO_TRAIL, "exit__legacy__half_close": 0.06},
        {},
        [("tp1", 106, 1)],
    ),
    ("breakeven_at_its_price", [(100, 101, 99, 99)], LEGACY, {}, [("breakeven", 100, 1)]),
    ("breakeven_missed_by_a_tick", [(100, 100.99, 99, 99)], LEGACY, {}, [("end_of_data", 99, 1)]),
    (
        "trail_at_its_activation",
        [(100, 102, 100, 102), (102, 102, 101, 101)],
        LEGACY,
        {"atr": 0.5},
        [("trail", 101.5, 1)],
    ),
    (
        "trail_missed_by_a_tick",
        [(100, 101.99, 100, 101.99), (101.99, 101.99, 100.5, 101)],
        LEGACY,
        {"atr": 0.5},
        [("end_of_data", 101, 1)],
    ),
    (
        "trail_of_the_style",
        [(100, 103, 100, 103), (103, 103, 101, 101)],
        {**LEGACY, "exit__stops__trail__style": "loose"},
        {"atr": 1.0},
        [("trail", 101.5, 1)],
    ),
    (
        "a_regime_changes_nothing",
        [(100, 103, 100, 103), (103, 103, 101.5, 101.5)],
        LEGACY,
        {"atr": 1.0, "regime": 1},
        [("trail", 102, 1)],
    ),
    ("stale_at_its_age_and_loss", [(100, 100, 98, 98), LOW, LOW, LOW], OLD, {}, [("stale", 98, 1)]),
    (
        "stale_loss_missed_by_a_tick",
        [(100, 100, 98.01, 98.01), *[(98.01, 98.01, 98.01, 98.01)] * 3],
        OLD,
        {},
        [("end_of_data", 98.01, 1)],
    ),
    ("not_stale_yet", [(100, 100, 98, 98), LOW], OLD, {}, [("end_of_data", 98, 1)]),
    (
        "no_crash_guard",
        [FLAT, (100, 100, 98, 98)],
        NO_TRAIL,
        {"volatility_factor": 5.0, "leader_24h": -0.5},
        [("end_of_data", 98, 1)],
    ),
    (
        "loss_guard_stands",
        [FLAT, (100, 100, 98, 98)],
        {**NO_TRAIL, "exit__guard__loss__max": 0.02},
        {},
        [("loss_guard", 98, 1)],
    ),
    (
        "math_levels_of_an_atr_of_one_per_cent",
        [(100, 104, 100, 104)],
        MATH,
        {"atr_pct": 0.01},
        [("tp1", 103, 1)],
    ),
    ("math_stop_of_an_atr_of_one_per_cent", [(100, 100, 98, 98)], MATH, {"atr_pct": 0.01}, [("stop", 98.5, 1)]),
    (
        "math_levels_with_the_half_before_the_target",
        [(100, 107, 100, 107)],
        MATH,
        {"atr_pct": 0.02},
        [("tp1", 104, 0.5), ("tp2", 106, 0.5)],
    ),
    ("a_signals_own_levels", [(100, 103, 100, 103)], LEGACY, {"tp": 0.03, "sl": 0.01}, [("tp1", 103, 1)]),
    ("a_signals_own_stop", [(100, 100, 98, 98)], LEGACY, {"tp": 0.03, "sl": 0.01}, [("stop", 99, 1)]),
    (
        "a_signals_own_trail",
        [(100, 102, 100, 102), (102, 102, 101, 101.5)],
        LEGACY,
        {"trail": 0.001},
        [("trail", 101.9, 1)],
    ),
]


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize(
    ("rows", "settings", "columns", "exits"), [t[1:] for t in LEGACY_TABLES], ids=[t[0] for t in LEGACY_TABLES]
)
def test_legacy(rows: list[Row], settings: dict[str, Any], columns: dict[str, Any], exits: Exits, side: int) -> None:
    if side < 0 and "trail" in columns:
        exits = [("trail", 101.91, 1)]  # 98 · 1.001 = 98.098, on the tighter tick 98.09
    assert told(rows, settings, side, **columns)[1] == exits


def test_legacy_hard_stop_stands_at_four_per_cent() -> None:
    story, exits = told([FLAT, (95, 96, 94, 95)], LEGACY, 1)
    assert exits == [("hard_stop", 95, 1)]
    assert story.journals.trades["hard_price"][0] == 96
    assert told([FLAT, (96.5, 97, 96.01, 96.5)], LEGACY, 1)[1] == [("stop", 96.5, 1)]


def test_legacy_breakeven_pays_for_the_round_trip() -> None:
    settings = {**LEGACY, "exit__stops__ratchet__fee_buffer": True, "costs__fees__taker": 0.001}
    story, exits = told([(100, 101.5, 100, 101), (101, 101, 99, 99)], settings, 1)
    assert exits == [("breakeven", 100.2, 1)]
    assert story.pnl == [pytest.approx(0.2 - 0.1 - 0.1002)]


def test_legacy_math_needs_an_atr() -> None:
    story = play(symbol([FLAT, FLAT, FLAT], long=[0], atr_pct=0.0), **MATH)
    assert story.denials == ["no_atr"]


# profit_lock ---------------------------------------------------------------------------------------------------------

LOCK: dict[str, Any] = {
    "exit__policy": "profit_lock",
    "leverage__fixed": 10.0,
    "exit__base_sl": 0.012,
}


def rise(to: float, back: float) -> list[Row]:
    """A bar that rises to `to`, and one that falls to `back`."""
    return [(100, to, 100, to), (to, to, back, back)]


FIRST, SECOND = ("tp1", 100.8, 0.25), ("tp2", 101.5, 0.187)
THIRD, FOURTH, FIFTH = ("tp3", 102.5, 0.169), ("tp4", 103.5, 0.118), ("tp5", 105, 0.055)

# (id, rows, exits)
LOCK_TABLES: list[tuple[str, list[Row], Exits]] = [
    ("initial_stop_at_its_price", [(100, 100, 98.8, 99)], [("stop", 98.8, 1)]),
    ("initial_stop_missed_by_a_tick", [(100, 100, 98.81, 99)], [("end_of_data", 99, 1)]),
    ("breakeven_at_a_peak_of_five", rise(100.5, 99), [("breakeven", 100, 1)]),
    ("breakeven_below_a_peak_of_five", rise(100.49, 99), [("end_of_data", 99, 1)]),
    ("breakeven_above_a_peak_of_five", rise(100.51, 99), [("breakeven", 100, 1)]),
    ("first_leg_at_eight", rise(100.8, 100.5), [FIRST, ("end_of_data", 100.5, 0.75)]),
    ("first_leg_below_eight", rise(100.79, 100.5), [("end_of_data", 100.5, 1)]),
    ("no_rung_below_a_peak_of_ten", rise(100.99, 99), [FIRST, ("breakeven", 100, 0.75)]),
    ("first_rung_at_a_peak_of_ten", rise(101, 99), [FIRST, ("trail", 100.2, 0.75)]),
    ("first_rung_follows_the_peak", rise(101.4, 99), [FIRST, ("trail", 100.28, 0.75)]),
    ("second_leg_at_fifteen", rise(101.5, 99), [FIRST, SECOND, ("trail", 100.3, 0.563)]),
    ("second_rung_below_a_peak_of_twenty", rise(101.99, 99), [FIRST, SECOND, ("trail", 100.4, 0.563)]),
    ("second_rung_at_a_peak_of_twenty", rise(102, 99), [FIRST, SECOND, ("trail", 100.8, 0.563)]),
    ("third_leg_at_twenty_five", rise(102.5, 99), [FIRST, SECOND, THIRD, ("trail", 101, 0.394)]),
    ("third_rung_at_a_peak_of_thirty_five", rise(103.5, 99), [FIRST, SECOND, THIRD, FOURTH, ("trail", 102.1, 0.276)]),
    ("third_rung_below_a_peak_of_thirty_five", rise(103.49, 99), [FIRST, SECOND, THIRD, ("trail", 101.4, 0.394)]),
    (
        "fifth_leg_at_fifty",
        rise(105, 99),
        [FIRST, SECOND, THIRD, FOURTH, FIFTH, ("trail", 103, 0.221)],
    ),
    (
        "fourth_rung_at_a_peak_of_sixty",
        rise(106, 99),
        [FIRST, SECOND, THIRD, FOURTH, FIFTH, ("trail", 104.2, 0.221)],
    ),
    (
        "fourth_rung_below_a_peak_of_sixty",
        rise(105.99, 99),
        [FIRST, SECOND, THIRD, FOURTH, FIFTH, ("trail", 103.6, 0.221)],
    ),
    (
        "legs_jumped_are_legs_at_one_price",
        [FLAT, (103, 103, 103, 103)],
        [("tp1", 103, 0.25), ("tp2", 103, 0.187), ("tp3", 103, 0.169), ("end_of_data", 103, 0.394)],
    ),
    (
        "a_leg_acts_once",
        [*rise(100.8, 100.4), (100.4, 100.9, 100.4, 100.9)],
        [FIRST, ("end_of_data", 100.9, 0.75)],
    ),
]


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize(("rows", "exits"), [t[1:] for t in LOCK_TABLES], ids=[t[0] for t in LOCK_TABLES])
def test_profit_lock(rows: list[Row], exits: Exits, side: int) -> None:
    assert told(rows, LOCK, side)[1] == exits


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
def test_profit_locks_breakeven_is_net_of_all_costs(side: int) -> None:
    """What is left after the fees of both fills and the slippage of the exit is nothing; a tick more, on the tick."""
    costs = {"costs__fees__taker": 0.0005, "costs__slippage__bps": 2.0}
    fine = instrument(tick=(0, 0), lot=(1, 1000))
    table = [FLAT, (100, 101, 100, 101), (101, 101, 99, 99)]
    rows = table if side > 0 else mirrored(table)
    entry = {"long": [0]} if side > 0 else {"short": [0]}
    settings = {**LOCK, **costs, "exit__profit_lock__legs": "[[5.0, 0.5]]"}
    story = play(symbol(rows, rules=fine, **entry), **settings)
    assert story.reasons == ["breakeven"]
    assert story.journals.trades["pnl"][0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
def test_profit_locks_legs_are_returns_on_margin_after_costs(side: int) -> None:
    """One leg of all at 8 %: the whole trade's net return on margin is 8 %, and 2 % where the ladder closes it."""
    costs = {"costs__fees__taker": 0.0005, "costs__slippage__bps": 2.0}
    fine = instrument(tick=(0, 0), lot=(1, 1000))
    entry = {"long": [0]} if side > 0 else {"short": [0]}

    def roe_of(table: list[Row], legs: str) -> tuple[str, float]:
        rows = table if side > 0 else mirrored(table)
        settings = {**LOCK, **costs, "exit__profit_lock__legs": legs}
        trade = play(symbol(rows, rules=fine, **entry), **settings)
        return trade.reasons[0], float(trade.journals.trades["roe"][0])

    assert roe_of([FLAT, *rise(102, 99)], "[[0.08, 1.0]]") == ("tp1", pytest.approx(0.08, abs=1e-12))
    peak = 100.02 if side > 0 else 99.98
    top = (
        peak * (1 + 0.0005 * side + side * 0.0125) / ((1 - 0.0005 * side) * (1 - 0.0002 * side))
    )  # the price at which ROE is 12.5 %
    top = top if side > 0 else 200 - top
    reason, roe = roe_of([FLAT, *rise(top, 99)], "[[5.0, 0.5]]")
    assert (reason, roe) == ("trail", pytest.approx(0.2 * 0.125, abs=1e-9))


def test_volatility_does_not_suspend_the_ladder() -> None:
    assert told(rise(101, 99), LOCK, 1, volatility_factor=4.0)[1][-1] == ("trail", 100.2, 0.75)


def test_a_ladders_start_is_a_decision_and_its_moves_are_state() -> None:
    story, _ = told([(100, 101, 100, 101), (101, 102, 101, 102), (102, 102, 99, 99)], LOCK, 1)
    assert story.decisions == [
        ("INIT_NEW_POSITION", "entry"),
        ("MOVE_SL", "breakeven"),
        ("PARTIAL_CLOSE", "tp1"),
        ("MOVE_SL", "trail"),
        ("PARTIAL_CLOSE", "tp2"),
        ("FULL_EXIT_NOW", "trail"),
    ]


def test_a_signals_trail_takes_the_ladders_place() -> None:
    settings = {**LOCK, "exit__stops__trail__activate": 0.01}
    assert told(rise(102, 99), settings, 1, trail=0.005)[1][-1] == ("trail", 101.49, 0.563)


def test_a_single_lot_goes_with_the_last_leg() -> None:
    coarse = instrument(tick=(1, 100), lot=(1, 1), min_qty=1)
    story = play(symbol([FLAT, (100, 105, 100, 105), (105, 105, 105, 105)], long=[0], rules=coarse), **LOCK)
    assert story.fills[1:] == [("tp5", 105, 1.0)]
    assert story.journals.trades["legs_hit"][0] == 5


# exit.replan = bar ---------------------------------------------------------------------------------------------------

BAR: dict[str, Any] = {
    "exit__replan": "bar",
    "exit__levels__adaptive": True,
    "exit__base_tp": 0.02,
    "exit__base_sl": 0.005,
    "exit__stops__ratchet__preset": "off",
    "exit__harvest__scheme__by": "static",
    "leverage__fixed": 1.0,
}
LSF = 0.590616  # of 1x: targets 2.381, 2.991 and 3.895 %, the stop 0.664 %


def with_volatility(rows: list[Row], volatility: list[float], **settings: Any) -> Story:
    item = symbol(rows, long=[0])
    item.signals["volatility_factor"] = volatility
    return play(item, **{**BAR, **settings})


def test_a_bar_that_changes_nothing_is_no_decision() -> None:
    story = with_volatility([FLAT] * 4, [0.0] * 4)
    assert [action for action, _ in story.decisions] == ["INIT_NEW_POSITION", "FULL_EXIT_NOW"]


def test_targets_follow_the_row_of_the_bar_that_closed() -> None:
    """At volatility_factor 0.5 targets are 1.2 times as far: TP1 2.857 % instead of 2.381 %."""
    rows = [FLAT, FLAT, (100, 102.8, 100, 102.8), (102.8, 102.8, 102.8, 102.8)]
    moved = with_volatility(rows, [0.0, 0.5, 0.5, 0.5])
    assert moved.decisions == [
        ("INIT_NEW_POSITION", "entry"),
        ("UPDATE_TP_LIMITS", "replan"),
        ("FULL_EXIT_NOW", "end_of_data"),
    ]
    assert [float(x) for x in moved.journals.trades["tp_price"][0]] == [102.86, 103.59, 104.67]
    kept = with_volatility(rows, [0.0, 0.5, 0.5, 0.5], exit__replan="entry")
    assert kept.fills[1][:2] == ("tp1", 102.38)


def test_the_stop_only_tightens() -> None:
    """A wilder row would loosen the stop: it stays. A calmer one than at entry tightens it, as stop."""
    wilder = with_volatility([FLAT] * 4, [0.0, 2.0, 2.0, 2.0])
    assert wilder.stops[0] == wilder.stops[1] == 99.34
    calmer = with_volatility([FLAT, FLAT, FLAT, (100, 100, 99, 99)], [2.0, 0.0, 0.0, 0.0])
    assert calmer.stops[:2] == [99.08, 99.34]
    assert calmer.decisions[1] == ("UPDATE_TP_LIMITS", "replan")
    assert calmer.fills[1][:2] == ("stop", 99.34)


def test_triggered_legs_stay_triggered() -> None:
    rows = [FLAT, (100, 102.5, 100, 102.5), (102.5, 102.5, 102, 102), (102, 102.9, 102, 102.9)]
    story = with_volatility(rows, [0.0, 0.5, 0.5, 0.5])
    assert story.fills[1] == ("tp1", 102.38, 0.25)
    assert story.reasons == ["end_of_data"]
    assert [float(x) for x in story.journals.trades["tp_price"][0]] == [102.38, 103.59, 104.67]


def test_a_target_that_comes_nearer_than_the_price_acts_at_once() -> None:
    """2.857 % at entry, 2.381 % at the next open, where the price stands at 2.5 %; the leg carries the replan."""
    rows = [FLAT, (100, 102.5, 100, 102.5), (102.5, 102.5, 102.5, 102.5), (102.5, 102.5, 102.5, 102.5)]
    story = with_volatility(rows, [0.5, 0.0, 0.0, 0.0])
    assert story.fills[1] == ("tp1", 102.5, 0.25)
    assert story.hours[1] == 2.0
    assert ("UPDATE_TP_LIMITS", "replan") not in story.decisions


def test_a_replanned_stop_beyond_the_price_acts_at_once() -> None:
    rows = [FLAT, (100, 100, 99.2, 99.2), (99.2, 99.2, 99.2, 99.2), FLAT]
    story = with_volatility(rows, [2.0, 0.0, 0.0, 0.0])
    assert story.fills[1][:2] == ("stop", 99.2)
    assert story.hours[1] == 2.0


def test_funding_and_divergence_of_the_bar_move_levels() -> None:
    item = symbol([FLAT] * 4, long=[0])
    item.signals["funding_delta"] = [0.0, 0.1, 0.1, 0.1]
    item.signals["divergence"] = [0.5, 0.0, 0.0, 0.0]
    story = play(item, **BAR)
    assert story.stops[:2] == [99.21, 99.34], "0.664 % · 1.2, then without divergence"
    assert float(story.journals.trades["tp_price"][0, 0]) == 102.57, "2.381 % · 1.08"


def test_an_interval_replans_at_its_first_cycle_after_the_close() -> None:
    story = with_volatility(
        [FLAT] * 5, [0.0, 0.5, 0.5, 0.5, 0.5], exit__monitoring="interval", exit__check_interval_s=10_800.0
    )
    assert [action for action, _ in story.decisions] == ["INIT_NEW_POSITION", "UPDATE_TP_LIMITS", "FULL_EXIT_NOW"]
    assert int(story.journals.decisions["ts"][1] - story.journals.decisions["ts"][0]) == 2 * 3_600_000_000_000


@pytest.mark.parametrize("policy", ["bracket", "legacy", "profit_lock"])
def test_only_exit_brain_replans(policy: str) -> None:
    story = with_volatility([FLAT] * 4, [0.0, 0.5, 0.5, 0.5], exit__policy=policy)
    assert "UPDATE_TP_LIMITS" not in [action for action, _ in story.decisions]
