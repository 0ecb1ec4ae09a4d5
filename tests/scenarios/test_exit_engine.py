"""The exit engine as candle tables: entry at the open of the second row, then what the rows do to the trade."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.generated import instrument
from tests.scenarios.candles import Row, mirrored, play, symbol

FLAT: Row = (100, 100, 100, 100)
STATIC: dict[str, Any] = {"exit__harvest__scheme__by": "static", "exit__stops__ratchet__fee_buffer": False}
WIDE: dict[str, Any] = {"exit__levels__sl__max": 0.5, "exit__stops__hard__distance": 0.3}

# (id, rows after the first, settings, expected fills after the entry)
TABLES: list[tuple[str, list[Row], dict[str, Any], list[tuple[str, float, float]]]] = [
    ("stop_on_the_path_fills_at_its_price", [(100, 100.5, 98, 99)], {}, [("stop", 98.8, 1.0)]),
    ("stop_touched_exactly_triggers", [(100, 100, 98.8, 99)], {}, [("stop", 98.8, 1.0)]),
    ("stop_missed_by_a_tick_holds", [(100, 100, 98.81, 99)], {}, [("end_of_data", 99, 1.0)]),
    ("gap_through_stop_fills_at_open", [FLAT, (95, 96, 94, 95)], {}, [("hard_stop", 95, 1.0)]),
    (
        "gap_between_stop_and_hard_stop_is_the_internal_stop",
        [FLAT, (98.5, 99, 98.4, 98.5)],
        {},
        [("stop", 98.5, 1.0)],
    ),
    ("leg_touched_exactly_triggers", [(100, 102, 100, 101)], STATIC, [("tp1", 102, 0.25), ("end_of_data", 101, 0.75)]),
    ("leg_missed_by_a_tick_holds", [(100, 101.99, 100, 101)], STATIC, [("end_of_data", 101, 1.0)]),
    (
        "three_legs_in_one_rise",
        [(100, 107, 100, 107)],
        STATIC,
        [("tp1", 102, 0.25), ("tp2", 104, 0.187), ("tp3", 106, 0.281), ("end_of_data", 107, 0.282)],
    ),
    (
        "three_legs_jumped_are_three_fills_at_one_price",
        [FLAT, (107, 107, 107, 107)],
        STATIC,
        [("tp1", 107, 0.25), ("tp2", 107, 0.187), ("tp3", 107, 0.281), ("end_of_data", 107, 0.282)],
    ),
    (
        "ratchet_to_breakeven_after_tp1",
        [(100, 102.5, 100, 102.4), (102.4, 102.4, 99, 99)],
        STATIC,
        [("tp1", 102, 0.25), ("ratchet", 100, 0.75)],
    ),
    (
        "ratchet_to_tp1_after_tp2",
        [(100, 104.5, 100, 104.4), (104.4, 104.4, 101, 101)],
        STATIC,
        [("tp1", 102, 0.25), ("tp2", 104, 0.187), ("ratchet", 102, 0.563)],
    ),
    (
        "ratchet_to_tp2_after_tp3",
        [(100, 106.5, 100, 106.4), (106.4, 106.4, 103, 103)],
        STATIC,
        [("tp1", 102, 0.25), ("tp2", 104, 0.187), ("tp3", 106, 0.281), ("ratchet", 104, 0.282)],
    ),
    (
        "ratchet_lock_keeps_a_quarter",
        [(100, 102.5, 100, 102.4), (102.4, 102.4, 99, 99)],
        {**STATIC, "exit__stops__ratchet__preset": "lock"},
        [("tp1", 102, 0.25), ("ratchet", 100.5, 0.75)],
    ),
    (
        "ratchet_off_leaves_the_stop",
        [(100, 102.5, 100, 102.4), (102.4, 102.4, 98, 98)],
        {**STATIC, "exit__stops__ratchet__preset": "off"},
        [("tp1", 102, 0.25), ("stop", 98.8, 0.75)],
    ),
    (
        "harvest_initial_closes_the_rest_at_tp3",
        [(100, 107, 100, 107)],
        {**STATIC, "exit__harvest__basis": "initial"},
        [("tp1", 102, 0.25), ("tp2", 104, 0.25), ("tp3", 106, 0.5)],
    ),
    ("entry_and_exit_on_one_bar", [(100, 100.2, 97, 97.5)], {}, [("stop", 98.8, 1.0)]),
    (
        "nearest_extreme_first_the_low",
        [(100, 103, 98.5, 100)],
        STATIC,
        [("stop", 98.8, 1.0)],
    ),
    (
        "nearest_extreme_first_the_high",
        [(100, 102, 97, 97)],
        {**STATIC, **WIDE, "exit__base_sl": 0.025},
        [("tp1", 102, 0.25), ("ratchet", 100, 0.75)],
    ),
    ("equal_extremes_take_the_low_first", [(100, 102, 98, 100)], STATIC, [("stop", 98.8, 1.0)]),
    ("adverse_path_takes_the_low", [(100, 102, 98.5, 101)], {**STATIC, "sim__path": "adverse"}, [("stop", 98.8, 1.0)]),
    (
        "favourable_path_takes_the_high",
        [(100, 102, 98.5, 101)],
        {**STATIC, "sim__path": "favourable"},
        [("tp1", 102, 0.25), ("ratchet", 100, 0.75)],
    ),
    (
        "breakeven_at_activation",
        [(100, 101.2, 100, 101.1), (101.1, 101.1, 99, 99)],
        {"exit__stops__breakeven__activate": 0.01, "exit__stops__ratchet__fee_buffer": False},
        [("breakeven", 100, 1.0)],
    ),
    (
        "percent_trail_follows_the_peak",
        [(100, 103, 100, 103), (103, 103, 99, 99)],
        {
            "exit__stops__trail__mode": "percent",
            "exit__stops__trail__distance": 0.01,
            "exit__base_tp": 0.1,
            "exit__stops__trail__activate": 0.02,
        },
        [("trail", 101.97, 1.0)],
    ),
    (
        "trail_waits_for_its_activation",
        [(100, 101.9, 100, 101.9), (101.9, 101.9, 98, 98)],
        {"exit__stops__trail__mode": "percent", "exit__stops__trail__distance": 0.001, "exit__base_tp": 0.1},
        [("stop", 98.8, 1.0)],
    ),
    (
        "points_see_the_low_not_the_level",
        [(100, 100.5, 98.5, 99)],
        {"exit__monitoring": "points"},
        [("stop", 98.5, 1.0)],
    ),
    (
        "points_hard_stop_fills_at_the_point",
        [(100, 100.5, 97, 99)],
        {"exit__monitoring": "points"},
        [("hard_stop", 97, 1.0)],
    ),
    (
        "interval_sees_the_path_at_its_times",
        # open 100, high 100.5 at 20 min, low 97.0 at 40 min: at 30 min the price is 98.75, below the stop of 98.8
        [(100, 100.5, 97, 99)],
        {"exit__monitoring": "interval", "exit__check_interval_s": 1800.0, "exit__stops__hard__distance": 0.05},
        [("stop", 98.75, 1.0)],
    ),
    (
        "interval_exchange_stop_acts_while_the_program_sleeps",
        [(100, 100.5, 97, 99)],
        {"exit__monitoring": "interval", "exit__check_interval_s": 3600.0},
        [("hard_stop", 98, 1.0)],
    ),
    (
        "bracket_closes_all_at_its_target",
        [(100, 104, 100, 104)],
        {"exit__policy": "bracket"},
        [("tp1", 103, 1.0)],
    ),
    (
        "bracket_stop_has_no_hard_stop_behind_it",
        [FLAT, (90, 91, 89, 90)],
        {"exit__policy": "bracket"},
        [("stop", 90, 1.0)],
    ),
    (
        "bracket_without_levels_only_ends_with_the_data",
        [(100, 150, 60, 90)],
        {"exit__policy": "bracket", "exit__bracket__tp": "inf", "exit__bracket__sl": "inf"},
        [("end_of_data", 90, 1.0)],
    ),
    (
        "end_of_data_at_the_last_open",
        [FLAT, (101, 101.5, 100.9, 101.2)],
        {"sim__end_of_data": "last_open"},
        [("end_of_data", 101, 1.0)],
    ),
    ("end_of_data_left_open", [FLAT, (101, 101.5, 100.9, 101.2)], {"sim__end_of_data": "open"}, []),
]


@pytest.mark.parametrize(("rows", "settings", "expected"), [t[1:] for t in TABLES], ids=[t[0] for t in TABLES])
def test_long(rows: list[Row], settings: dict[str, Any], expected: list[tuple[str, float, float]]) -> None:
    story = play(symbol([FLAT, *rows], long=[0]), **settings)
    assert story.fills == [("entry", 100, 1.0), *expected]


MIRRORED = [t for t in TABLES if t[0] not in ("equal_extremes_take_the_low_first",)]
"""Upside down the low-first rule for equal extremes favours the short; everything else mirrors."""


@pytest.mark.parametrize(("rows", "settings", "expected"), [t[1:] for t in MIRRORED], ids=[t[0] for t in MIRRORED])
def test_short_is_the_mirror_image(
    rows: list[Row], settings: dict[str, Any], expected: list[tuple[str, float, float]]
) -> None:
    """Prices are mirrored around the entry; a percentage trail is not symmetric and is checked for its reason alone."""
    story = play(symbol(mirrored([FLAT, *rows]), short=[0]), **settings)
    if any(reason == "trail" for reason, _, _ in expected):
        assert [reason for reason, _, _ in story.fills] == ["entry", *[reason for reason, _, _ in expected]]
        return
    assert story.fills == [("entry", 100, 1.0), *[(why, round(200 - price, 6), qty) for why, price, qty in expected]]


# Worked examples -----------------------------------------------------------------------------------------------------


def test_worked_example_of_harvesting_with_the_lock_preset() -> None:
    """1 BTC at 100,000, static scheme: closes, stops and money to the digit."""
    rules = instrument(tick=(1, 10), lot=(1, 100_000))
    k = 100_000.0
    rows = [(k, k, k, k), (k, 107_000, k, 107_000), (107_000, 107_000, 107_000, 107_000)]
    settings: dict[str, Any] = {**STATIC, "exit__stops__ratchet__preset": "lock", "sim__end_of_data": "open"}
    story = play(symbol(rows, long=[0], rules=rules), **settings)
    assert story.fills[1:] == [("tp1", 102_000, 0.25), ("tp2", 104_000, 0.1875), ("tp3", 106_000, 0.28125)]
    pnl = [float(f["pnl"]) for f in story.journals.fills[1:]]
    assert pnl == [500.0, 750.0, 1687.5]
    assert sum(int(p["lots"]) for p in story.journals.positions) == 28_125
    assert story.decisions[-1] == ("MOVE_SL", "ratchet")
    assert sorted({s for s in story.stops if s > 100_000}) == [100_500.0, 101_500.0, 104_000.0]


def test_worked_example_of_harvesting_at_twenty_times() -> None:
    """0.1 BTC at 100,000, 20x, base_tp 0.02, tick 0.01: adaptive targets and whole lots."""
    k = 100_000.0
    rules = instrument(tick=(1, 100), lot=(1, 1000))
    settings: dict[str, Any] = {
        "leverage__fixed": 20.0,
        "exit__levels__adaptive": True,
        "sizing__fixed_qty": 0.1,
        "sim__end_of_data": "open",
    }
    story = play(symbol([(k, k, k, k), (k, 104_000, k, 104_000)], long=[0], rules=rules), **settings)
    assert story.fills[1:] == [("tp1", 101_694.50, 0.04), ("tp2", 102_647.25, 0.024), ("tp3", 103_723.62, 0.007)]
    assert int(story.journals.positions[0]["lots"]) == 29


def test_worked_example_of_the_atr_trail() -> None:
    """Entry 90,000, ATR 1,800: at 91,800 the stop is 90,000, at 94,000 it is 92,200; exit there."""
    k = 90_000.0
    rows = [(k, k, k, k), (k, 91_800, k, 91_800), (91_800, 94_000, 91_800, 94_000), (94_000, 94_000, 91_000, 91_000)]
    settings: dict[str, Any] = {"exit__stops__trail__mode": "atr", "exit__base_tp": 0.3}
    story = play(symbol(rows, long=[0], atr=1_800.0, rules=instrument(tick=(1, 10))), **settings)
    assert ("MOVE_SL", "trail") in story.decisions
    assert story.stops[story.decisions.index(("MOVE_SL", "trail"))] == 90_000
    assert story.fills[-1] == ("trail", 92_200, 1.0)
    assert float(story.journals.trades[0]["ret"]) == pytest.approx(0.0244, abs=5e-5)


# Rules one by one ----------------------------------------------------------------------------------------------------


def test_a_trail_that_starts_at_a_leg_is_one_decision() -> None:
    settings: dict[str, Any] = {
        **STATIC,
        "exit__stops__trail__mode": "percent",
        "exit__stops__trail__distance": 0.01,
        "exit__stops__trail__activate": 0.02,
        "sim__end_of_data": "open",
    }
    story = play(symbol([FLAT, (100, 102, 100, 102)], long=[0]), **settings)
    assert story.decisions == [("INIT_NEW_POSITION", "entry"), ("PARTIAL_CLOSE", "tp1")]
    assert story.stops[1] == 100.98


@pytest.mark.parametrize("atr", [0.0, float("nan")], ids=["zero", "nan"])
def test_a_zero_or_nan_atr_moves_no_trail(atr: float) -> None:
    rows = [FLAT, (100, 105, 100, 105), (105, 105, 98, 98)]
    settings: dict[str, Any] = {"exit__stops__trail__mode": "atr", "exit__base_tp": 0.3}
    assert play(symbol(rows, long=[0], atr=atr), **settings).reasons == ["stop"]


def test_a_volatile_market_holds_the_trail_and_keeps_the_peak() -> None:
    rows = [FLAT, (100, 105, 100, 105), (105, 105, 98, 98)]
    settings: dict[str, Any] = {"exit__stops__trail__mode": "atr", "exit__base_tp": 0.3}
    settings["exit__guard__stale__crash_volatility"] = "inf"
    story = play(symbol(rows, long=[0], atr=1.0, volatility_factor=3.0), **settings)
    assert story.reasons == ["stop"]
    assert float(story.journals.trades[0]["peak"]) == 105


def test_a_shrinking_atr_moves_the_stop_at_the_next_open() -> None:
    rows = [FLAT, (100, 105, 100, 105), (105, 105, 104.9, 105), (105, 105, 104.2, 104.2)]
    atr = np.array([3.0, 3.0, 0.5, 0.5])
    settings: dict[str, Any] = {"exit__stops__trail__mode": "atr", "exit__base_tp": 0.3}
    story = play(symbol(rows, long=[0], atr=atr), **settings)
    assert story.fills[-1] == ("trail", 104.5, 1.0)


def test_fee_buffer_covers_the_round_trip() -> None:
    settings: dict[str, Any] = {
        "exit__harvest__scheme__by": "static",
        "costs__fees__taker": 0.0005,
        "costs__slippage__bps": 2.0,
        "sim__end_of_data": "open",
    }
    story = play(symbol([FLAT, (100, 103, 100, 103)], long=[0], rules=instrument(tick=(1, 10_000))), **settings)
    entry = 100 * 1.0002
    assert story.stops[-1] == pytest.approx(entry * (1 + 2 * 0.0005 + 0.0002), abs=1e-4)


def test_lots_so_coarse_that_all_legs_are_zero_close_with_the_last() -> None:
    rules = instrument(tick=(1, 100), lot=(1, 1), min_qty=1)
    story = play(symbol([FLAT, (100, 107, 100, 107)], long=[0], rules=rules), **STATIC)
    assert story.fills == [("entry", 100, 1.0), ("tp3", 106, 1.0)]
    legs = [decision for decision in story.decisions[1:] if decision[0] != "MOVE_SL"]
    assert legs == [("PARTIAL_CLOSE", "tp1"), ("PARTIAL_CLOSE", "tp2"), ("FULL_EXIT_NOW", "tp3")]
    assert story.stops[-1] == 102, "a leg of zero lots counts as hit: the ratchet has acted"


def test_a_zero_lot_leg_comes_with_the_next() -> None:
    rules = instrument(tick=(1, 100), lot=(1, 1), min_qty=1)
    settings: dict[str, Any] = {**STATIC, "sizing__fixed_qty": 3.0, "sim__end_of_data": "open"}
    story = play(symbol([FLAT, (100, 105, 100, 105)], long=[0], rules=rules), **settings)
    assert story.fills[1:] == [("tp2", 104, 1.0)], "floor(3 × 0.25) is 0, floor(3 × 0.4375) is 1"


def test_a_remainder_below_the_minimum_is_closed_with_the_leg() -> None:
    rules = instrument(tick=(1, 100), lot=(1, 1), min_qty=4)
    settings: dict[str, Any] = {**STATIC, "sizing__fixed_qty": 4.0}
    story = play(symbol([FLAT, (100, 107, 100, 107)], long=[0], rules=rules), **settings)
    assert story.fills == [("entry", 100, 4.0), ("tp1", 102, 4.0)]


def test_loss_guard_acts_where_the_stop_is_missing() -> None:
    settings: dict[str, Any] = {**WIDE, "exit__base_sl": 0.25, "exit__guard__loss__max": 0.05}
    story = play(symbol([FLAT, (100, 100, 94, 94)], long=[0]), **settings)
    assert story.fills[-1] == ("loss_guard", 95, 1.0)


def test_loss_guard_on_margin_is_nearer_with_leverage() -> None:
    settings: dict[str, Any] = {
        **WIDE,
        "exit__base_sl": 0.15,
        "exit__guard__loss__basis": "margin",
        "leverage__fixed": 5.0,
        "exit__guard__loss__max": 0.125,
    }
    story = play(symbol([FLAT, (100, 100, 97, 97)], long=[0]), **settings)
    assert story.fills[-1] == ("loss_guard", 97.5, 1.0)


def test_guard_before_stop_at_one_landing_price() -> None:
    settings: dict[str, Any] = {"exit__guard__loss__max": 0.015, "exit__stops__hard__distance": 0.05}
    story = play(symbol([FLAT, FLAT, (98, 98, 98, 98)], long=[0]), **settings)
    assert story.fills[-1] == ("loss_guard", 98, 1.0)


def test_hard_stop_acts_on_the_mark_and_fills_at_the_last_price() -> None:
    marks = [FLAT, (100, 100, 97, 97)]
    story = play(symbol([FLAT, (100, 100, 99.4, 99.4)], long=[0], marks=marks))
    reason, price, _ = story.fills[-1]
    assert reason == "hard_stop"
    assert 99.4 < price < 100, "the last price of the instant at which the mark touched 98"
    assert price == pytest.approx(100 - 0.6 * (2 / 3), abs=1e-6)


def test_hard_stop_on_the_last_price_ignores_the_mark() -> None:
    marks = [FLAT, (100, 100, 97, 97)]
    story = play(
        symbol([FLAT, (100, 100, 99.4, 99.4)], long=[0], marks=marks),
        exit__stops__hard__working_type="last",
        exit__guard__loss__max="inf",
    )
    assert story.reasons == ["end_of_data"]


def test_internal_stop_on_the_mark_fills_at_the_last_price() -> None:
    marks = [FLAT, (100, 100, 98.5, 98.5)]
    story = play(symbol([FLAT, (100, 100, 99.4, 99.4)], long=[0], marks=marks), exit__trigger_price="mark")
    reason, price, _ = story.fills[-1]
    assert (reason, price) == ("stop", pytest.approx(100 - 0.6 * (1.2 / 1.5), abs=1e-6))


def test_internal_and_hard_stop_at_one_point_is_the_hard_stop() -> None:
    story = play(symbol([FLAT, FLAT, (97, 97, 97, 97)], long=[0]))
    assert story.fills[-1] == ("hard_stop", 97, 1.0)


LIQUIDATED: dict[str, Any] = {
    "leverage__fixed": 10.0,
    "exit__policy": "bracket",
    "exit__bracket__sl": 0.5,
    "exit__bracket__tp": "inf",
}


def test_liquidation_on_the_path() -> None:
    """10x, maintenance 0.4 %: (10 - 100) / (0.004 - 1) = 90.3614; the fee takes what is left of the margin."""
    story = play(symbol([FLAT, (100, 100, 85, 86)], long=[0]), **LIQUIDATED)
    assert story.fills[-1] == ("liquidation", pytest.approx(90.361446), 1.0)
    trade = story.journals.trades[0]
    assert float(trade["pnl"]) == pytest.approx(-10.0), "the isolated margin and no more"
    assert float(trade["liq_fee"]) == pytest.approx(10 - (100 - 90.361446), abs=1e-5)


def test_a_jump_past_stop_and_liquidation_is_a_liquidation() -> None:
    story = play(symbol([FLAT, FLAT, (40, 41, 39, 40)], long=[0]), **LIQUIDATED)
    reason, price, _ = story.fills[-1]
    assert (reason, price) == ("liquidation", 90.0), "settled where the loss equals the margin"
    assert story.pnl == [-10.0]


def test_two_symbols_reach_their_stops_at_one_instant() -> None:
    rows = [FLAT, (100, 100, 98, 98)]
    story = play(symbol(rows, name="AAA", long=[0]), symbol(rows, name="BBB", long=[0]))
    exits = story.journals.fills[2:]
    assert list(exits["symbol"]) == [0, 1]
    assert exits["ts"][0] == exits["ts"][1]


def test_funding_turns_a_winner_into_a_loser() -> None:
    rows = [FLAT, (100, 101, 100, 101), (101, 101, 101, 101)]
    story = play(symbol(rows, long=[0], funding=[(2, 0.02)]))
    trade = story.journals.trades[0]
    assert float(trade["price_pnl"]) > 0 > float(trade["pnl"])
    assert float(trade["funding"]) == pytest.approx(-0.02 * 101)
