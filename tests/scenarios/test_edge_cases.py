"""Edge cases that must be right: gaps, missing prices, ticks, lots, costs, margin, funding, the end of data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import PlanFlag
from tests.generated import instrument
from tests.scenarios.candles import Row, play, symbol

FLAT: Row = (100, 100, 100, 100)
STATIC: dict[str, Any] = {"exit__harvest__scheme__by": "static", "exit__stops__ratchet__fee_buffer": False}
OPEN_END: dict[str, Any] = {"sim__end_of_data": "open"}
NO_LEVELS: dict[str, Any] = {"exit__policy": "bracket", "exit__bracket__tp": "inf", "exit__bracket__sl": "inf"}
NAN: Row = (np.nan, np.nan, np.nan, np.nan)


def at(price: float) -> Row:
    return (price, price, price, price)


# Prices on and off the ticks -----------------------------------------------------------------------------------------


def test_worked_example_without_lots_closes_seven_point_two_thousandths() -> None:
    """0.1 at 100,000, 20x: with lots of 1e-8 the third leg is 0.0072."""
    k = 100_000.0
    rules = instrument(tick=(1, 100), lot=(1, 100_000_000), min_qty=1e-8)
    settings: dict[str, Any] = {"leverage__fixed": 20.0, "exit__levels__adaptive": True, "sizing__fixed_qty": 0.1}
    rows = [at(k), (k, 104_000, k, 104_000)]
    story = play(symbol(rows, long=[0], rules=rules), **settings, **OPEN_END)
    assert story.fills[1:] == [("tp1", 101_694.50, 0.04), ("tp2", 102_647.25, 0.024), ("tp3", 103_723.62, 0.0072)]
    assert float(story.journals.positions["qty"][0]) == 0.0288


@pytest.mark.parametrize("monitoring", ["continuous", "points"])
def test_a_decimal_price_exactly_on_a_level_triggers(monitoring: str) -> None:
    """1.234 · 1.02 = 1.25868, nearest tick 1.259; a candle that says 1.259 is there, one of 1.258 is not."""
    rules = instrument(tick=(1, 1000), min_qty=0.001)
    settings: dict[str, Any] = {**STATIC, **OPEN_END, "sizing__fixed_qty": 100.0, "exit__monitoring": monitoring}
    there = play(symbol([at(1.234), (1.234, 1.259, 1.234, 1.25)], long=[0], rules=rules), **settings)
    assert there.fills[1] == ("tp1", 1.259, 25.0)
    short_of_it = play(symbol([at(1.234), (1.234, 1.258, 1.234, 1.25)], long=[0], rules=rules), **settings)
    assert len(short_of_it.fills) == 1


def test_stops_round_to_the_tighter_tick_and_targets_to_the_nearer() -> None:
    """Tick 0.5, entry 100.2: stop 98.9976 up to 99, targets 102.204, 104.208, 106.212 to 102, 104, 106."""
    rules = instrument(tick=(1, 2))
    story = play(symbol([at(100.2), (100.2, 107, 100.2, 107)], long=[0], rules=rules), **STATIC, **OPEN_END)
    assert story.stops[0] == 99.0
    assert [price for _, price, _ in story.fills[1:]] == [102.0, 104.0, 106.0]
    short = play(symbol([at(100.2), (100.2, 100.2, 93, 93)], short=[0], rules=rules), **STATIC, **OPEN_END)
    assert short.stops[0] == 101.0, "101.4024 down to 101"
    assert [price for _, price, _ in short.fills[1:]] == [98.0, 96.0, 94.0], "98.196, 96.192, 94.188"


def test_collapsed_legs_are_pushed_a_tick_apart() -> None:
    """Tick 1: 100.6, 101.2 and 101.8 would be 101, 101 and 102."""
    settings: dict[str, Any] = {**STATIC, **OPEN_END, "exit__base_tp": 0.006}
    story = play(symbol([FLAT, (100, 104, 100, 104)], long=[0], rules=instrument(tick=(1, 1))), **settings)
    assert [price for _, price, _ in story.fills[1:]] == [101.0, 102.0, 103.0]
    assert int(story.journals.positions["flags"][0]) & PlanFlag.LEGS_PUSHED
    short = play(symbol([FLAT, (100, 100, 96, 96)], short=[0], rules=instrument(tick=(1, 1))), **settings)
    assert [price for _, price, _ in short.fills[1:]] == [99.0, 98.0, 97.0]


# Gaps, missing prices, the end ---------------------------------------------------------------------------------------


def test_the_low_before_an_entry_at_the_close_cannot_stop_it() -> None:
    story = play(symbol([(100, 100, 90, 100), FLAT, FLAT], long=[0]), sim__fill_at="close")
    assert story.reasons == ["end_of_data"]
    assert story.hours[0] == 1.0


def test_a_missing_mark_protects_nothing_and_triggers_nothing() -> None:
    """The last price is below the stop, but without a mark the point is skipped; the next one counts."""
    rows = [FLAT, FLAT, at(98.5), at(98.6)]
    story = play(symbol(rows, long=[0], marks=[FLAT, FLAT, NAN, FLAT]))
    assert story.fills[-1] == ("stop", 98.6, 1.0)
    assert story.hours[-1] == 3.0
    assert story.journals.counts["nan_points"] > 0


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_a_missing_price_triggers_nothing_in_any_monitoring(monitoring: str) -> None:
    story = play(symbol([FLAT, FLAT, NAN, at(95)], long=[0]), exit__monitoring=monitoring)
    assert story.fills[-1] == ("hard_stop", 95, 1.0)
    assert story.hours[-1] == 3.0


def test_a_gap_ends_at_the_first_price_however_far() -> None:
    story = play(symbol([FLAT, FLAT, at(107)], at=[0, 1, 9], long=[0]), **STATIC)
    assert [fill[:2] for fill in story.fills[1:4]] == [("tp1", 107), ("tp2", 107), ("tp3", 107)]
    assert story.hours[1:4] == [9.0, 9.0, 9.0]


def test_funding_is_charged_inside_a_gap_on_the_last_mark() -> None:
    story = play(symbol([FLAT, (100, 101, 100, 101), at(101)], at=[0, 1, 6], long=[0], funding=[(4.5, 0.01)]))
    assert story.paid == [-1.01]


def test_a_position_that_survives_the_data_stays_open_and_marked() -> None:
    story = play(symbol([FLAT, (100, 101, 100, 101)], long=[0]), **OPEN_END, costs__fees__taker=0.0005)
    assert story.reasons == []
    assert story.decisions == [("INIT_NEW_POSITION", "entry")]
    position, account = story.journals.positions[0], story.journals.account[0]
    assert (int(position["side"]), int(position["lots"])) == (1, 1000)
    assert float(account["wallet"]) == 1_000_000.0 - 0.05
    assert story.equity[-1] == 1_000_000.95


def test_a_request_at_the_end_that_still_waits_is_counted() -> None:
    story = play(symbol([FLAT, FLAT], long=[1]), **OPEN_END)
    assert story.journals.counts["pending_at_end"] == 1
    assert story.denials == []


def test_no_entry_on_the_bar_that_ends_at_its_open() -> None:
    story = play(symbol([FLAT, FLAT, FLAT], long=[1]), sim__end_of_data="last_open")
    assert story.fills == []
    assert story.denials == ["end_of_data"]


# Costs ---------------------------------------------------------------------------------------------------------------


def test_slippage_is_against_us_at_both_ends() -> None:
    """10 bps: in at 100.10, stop 98.8988 → 98.90, out at 98.8011; the fee is 0.05 % of each."""
    costs: dict[str, Any] = {"costs__slippage__bps": 10.0, "costs__fees__taker": 0.0005}
    story = play(symbol([FLAT, (100, 100, 98.5, 98.5)], long=[0]), **costs)
    assert story.fills == [("entry", 100.1, 1.0), ("stop", 98.8011, 1.0)]
    assert story.pnl == [pytest.approx(98.8011 - 100.1 - 0.0005 * (100.1 + 98.8011), abs=1e-6)]
    short = play(symbol([FLAT, (100, 101.5, 100, 101.5)], short=[0]), **costs)
    assert short.fills == [("entry", 99.9, 1.0), ("stop", 101.19109, 1.0)], "99.9 · 1.012 = 101.0988 → 101.09"
    assert short.pnl == [pytest.approx(99.9 - 101.19109 - 0.0005 * (99.9 + 101.19109), abs=1e-6)]


@pytest.mark.parametrize(
    ("qty", "factor", "bps"),
    [(1.0, 0.0, 2.0), (101.0, 0.0, 5.0), (1.0, 0.99, 2.0), (1.0, 1.0, 4.0), (101.0, 1.0, 7.0)],
    ids=["small", "large", "nearly_volatile", "volatile", "large_and_volatile"],
)
def test_slippage_by_size(qty: float, factor: float, bps: float) -> None:
    """2 bps to 10,000, 5 above, 2 more where volatility is at least twice the usual."""
    settings: dict[str, Any] = {"costs__slippage__model": "size", "costs__slippage__bps": 2.0, "sizing__fixed_qty": qty}
    story = play(symbol([FLAT, FLAT, FLAT], long=[0], volatility_factor=factor), **NO_LEVELS, **settings)
    assert story.fills[0][1] == pytest.approx(100 * (1 + bps * 1e-4))
    assert story.fills[1][1] == pytest.approx(100 * (1 - bps * 1e-4))


# Margin, liquidation, funding ----------------------------------------------------------------------------------------

TEN_TIMES: dict[str, Any] = {**NO_LEVELS, "leverage__fixed": 10.0}


def test_a_partial_close_releases_margin_in_proportion() -> None:
    story = play(symbol([FLAT, (100, 102, 100, 102)], long=[0]), **STATIC, **OPEN_END, leverage__fixed=10.0)
    assert list(story.journals.equity["margin"]) == [0.0, 0.0, 7.5]
    position = story.journals.positions[0]
    assert float(position["liq_price"]) == pytest.approx((7.5 - 75) / (0.75 * 0.004 - 0.75)), (
        "the rest keeps its leverage"
    )


def test_funding_moves_the_margin_and_the_liquidation_price() -> None:
    """10x long: 90.361446 at first; 2 of 10 paid as funding, (8 - 100) / (0.004 - 1) = 92.369478."""
    rows = [FLAT, FLAT, (100, 100, 85, 85)]
    story = play(symbol(rows, long=[0], funding=[(2, 0.02)]), **TEN_TIMES)
    assert story.fills[-1] == ("liquidation", 92.369478, 1.0)
    assert story.pnl == [pytest.approx(-10.0)], "margin and funding together: what was put in"
    received = play(symbol(rows, long=[0], funding=[(2, -0.02)]), **TEN_TIMES)
    assert received.fills[-1] == ("liquidation", pytest.approx((12 - 100) / (0.004 - 1), abs=1e-6), 1.0)


def test_liquidation_watches_the_mark_and_settles_there() -> None:
    """The last price stays at 95; the mark falls to 90: liquidated at the mark of the touch."""
    rows = [FLAT, (100, 100, 95, 95)]
    story = play(symbol(rows, long=[0], marks=[FLAT, (100, 100, 90, 90)]), **TEN_TIMES)
    assert story.fills[-1] == ("liquidation", 90.361446, 1.0)
    unharmed = play(symbol([FLAT, (100, 100, 89, 95)], long=[0], marks=[FLAT, (100, 100, 95, 95)]), **TEN_TIMES)
    assert unharmed.reasons == ["end_of_data"]


def test_a_liquidation_fee_that_fits_into_the_margin_is_charged_whole() -> None:
    """Maintenance 4 %, fee 1.25 %: 90 / 0.96 = 93.75; loss 6.25 and fee 1.171875 leave 2.578125 of the margin."""
    rules = instrument(tick=(1, 100), rate=0.04)
    story = play(symbol([FLAT, (100, 100, 85, 85)], long=[0], rules=rules), **TEN_TIMES)
    assert story.fills[-1] == ("liquidation", 93.75, 1.0)
    assert story.pnl == [pytest.approx(-6.25 - 0.0125 * 93.75)]


def test_other_positions_are_untouched_by_a_liquidation() -> None:
    a = symbol([FLAT, (100, 100, 85, 85)], name="AAA", long=[0])
    b = symbol([FLAT, FLAT], name="BBB", long=[0])
    story = play(a, b, **TEN_TIMES, balance=25.0)
    assert story.reasons == ["liquidation", "end_of_data"]
    assert story.pnl == [pytest.approx(-10.0), 0.0]


def test_a_short_receives_a_positive_rate() -> None:
    assert play(symbol([FLAT] * 3, short=[0], funding=[(2, 0.01)])).paid == [1.0]


def test_funding_value_is_the_rows_mark_then_the_mark_bars_open_then_the_path() -> None:
    rows = [FLAT, FLAT, FLAT]
    marks = [FLAT, (100, 100, 99, 99), (99.5, 99.5, 99.5, 99.5)]
    assert play(symbol(rows, long=[0], marks=marks, funding=[(2, 0.01, 101.0)])).paid == [-1.01]
    assert play(symbol(rows, long=[0], marks=marks, funding=[(2, 0.01)])).paid == [-0.995]
    assert play(symbol([FLAT, (100, 101, 100, 101), at(101)], long=[0], funding=[(2, 0.01)])).paid == [-1.01]


def test_inclusive_both_charges_a_position_that_ends_at_that_instant() -> None:
    table: dict[str, Any] = {"rows": [FLAT, FLAT], "long": [0], "funding": [(2, 0.01)]}
    assert play(symbol(**table), costs__funding__inclusive="both").paid == [-1.0]
    assert play(symbol(**table), costs__funding__inclusive="open").paid == []


def test_funding_is_paid_on_what_is_still_open() -> None:
    story = play(symbol([FLAT, (100, 102, 100, 102), at(102)], long=[0], funding=[(2, 0.01)]), **STATIC)
    assert story.paid == [pytest.approx(-0.01 * 102 * 0.75)]


# Missing prices outside the exit cycle -------------------------------------------------------------------------------


def test_no_entry_at_a_missing_price() -> None:
    story = play(symbol([FLAT, NAN, FLAT, FLAT], long=[0]))
    assert story.fills == []
    assert story.denials == ["no_price"]
    assert not np.isnan(story.journals.equity["equity"]).any()


def test_equity_holds_the_last_mark_while_a_price_is_missing() -> None:
    story = play(symbol([FLAT, (100, 101, 100, 101), NAN, at(102)], long=[0]), **NO_LEVELS, **OPEN_END)
    assert story.equity == [1_000_000, 1_000_000, 1_000_001, 1_000_001, 1_000_002]


def test_a_signal_exit_waits_for_no_missing_price() -> None:
    story = play(symbol([FLAT, FLAT, NAN, FLAT], long=[0], exit_long=[1]), **NO_LEVELS)
    assert story.reasons == ["end_of_data"], "the request stood for its bar only"
    assert story.journals.counts["nan_points"] > 0


def test_a_position_whose_last_close_is_missing_stays_open() -> None:
    story = play(symbol([FLAT, (100, 101, 100, 101), NAN], long=[0]), **NO_LEVELS)
    assert story.reasons == []
    assert story.equity[-1] == 1_000_001


# Coarse ticks --------------------------------------------------------------------------------------------------------


def test_a_tick_stays_between_internal_and_hard_stop() -> None:
    """Tick 0.5, entry 100.2: a stop of 1.8 % and a hard stop of 2 % would both stand at 98.5."""
    settings: dict[str, Any] = {**STATIC, **OPEN_END, "exit__base_sl": 0.018}
    for side, prices in (("long", (99.0, 98.5)), ("short", (101.5, 102.0))):
        story = play(symbol([at(100.2), at(100.2)], rules=instrument(tick=(1, 2)), **{side: [0]}), **settings)
        held = story.journals.positions[0]
        assert (float(held["stop_price"]), float(held["hard_price"])) == prices


def test_a_first_target_on_the_entrys_tick_is_pushed_beyond_it() -> None:
    """Tick 1, entry 100.2: 0.3 % would round to 100, behind the entry."""
    settings: dict[str, Any] = {**STATIC, **OPEN_END, "exit__base_tp": 0.003, "exit__stops__hard__distance": 0.05}
    for side, targets in (("long", [101.0, 102.0, 103.0]), ("short", [100.0, 99.0, 98.0])):
        story = play(symbol([at(100.2), at(100.2)], rules=instrument(tick=(1, 1)), **{side: [0]}), **settings)
        held = story.journals.positions[0]
        assert list(held["tp_price"][:3]) == targets
        assert int(held["flags"]) & PlanFlag.LEGS_PUSHED


def test_a_stop_that_a_coarse_tick_puts_at_the_entry_is_denied() -> None:
    story = play(symbol([FLAT, FLAT], long=[0], rules=instrument(tick=(1, 1))), exit__base_sl=0.004)
    assert story.denials == ["stop_too_near"]


# What a trade and an account remember --------------------------------------------------------------------------------


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_the_worst_price_includes_that_of_the_exit(monitoring: str) -> None:
    """A stop at 98.8 on the way from 100 to 97: each kind of monitoring closes elsewhere, none below its mae."""
    settings: dict[str, Any] = {**STATIC, "exit__stops__hard__distance": 0.5, "exit__check_interval_s": 300.0}
    story = play(symbol([FLAT, (100, 100, 97, 98)], long=[0]), exit__monitoring=monitoring, **settings)
    trade = story.journals.trades[0]
    assert float(trade["mae"]) == pytest.approx(float(trade["exit_price"]) / 100 - 1)


def test_the_stop_of_a_trade_is_the_one_in_force_when_it_closed() -> None:
    """The last leg moves no stop: nothing is left that it could protect."""
    settings: dict[str, Any] = {"exit__policy": "bracket", "exit__bracket__tp": 0.02, "exit__bracket__sl": 0.015}
    story = play(symbol([FLAT, (100, 103, 100, 103)], long=[0]), **settings)
    assert story.reasons == ["tp1"]
    assert float(story.journals.trades["stop_price"][0]) == 98.5


def test_margin_use_counts_a_trade_that_lives_within_one_bar() -> None:
    story = play(symbol([FLAT, (100, 104, 100, 104)], long=[0]), balance=1_000.0, exit__policy="bracket")
    assert list(story.journals.equity["margin"]) == [0.0, 0.0, 0.0]
    assert float(story.journals.account["max_margin_use"][0]) == 0.1


def test_the_last_mark_includes_what_was_done_at_the_last_close() -> None:
    settings: dict[str, Any] = {**NO_LEVELS, **OPEN_END, "sim__fill_at": "close", "costs__fees__taker": 0.001}
    story = play(symbol([FLAT, FLAT], long=[1]), **settings)
    assert story.equity[-1] == 1_000_000 - 0.1
    assert float(story.journals.account["wallet"][0]) == 1_000_000 - 0.1


def test_more_lots_than_floats_can_count_are_denied() -> None:
    """100,000 at 1e-6 are 1e11 units, 1e19 lots of 1e-8."""
    rules = instrument(tick=(0, 0), lot=(1, 100_000_000), min_qty=1e-8)
    settings: dict[str, Any] = {**NO_LEVELS, "sizing__model": "fraction", "sizing__fraction": 1.0}
    story = play(symbol([at(1e-6), at(1e-6)], long=[0], rules=rules), balance=100_000.0, **settings)
    assert story.denials == ["too_many_lots"]


def test_funding_that_counts_both_ends_takes_the_mark_bars_open() -> None:
    """Due at hour 2, where the path's mark ends at 100 and the next mark bar opens at 110."""
    marks: list[Row] = [FLAT, FLAT, at(110)]
    settings: dict[str, Any] = {**NO_LEVELS, **OPEN_END, "costs__funding__inclusive": "both"}
    story = play(symbol([FLAT, FLAT, FLAT], marks=marks, long=[0], funding=[(2, 0.01)]), **settings)
    assert story.paid == [-1.1]


def test_funding_that_counts_both_ends_precedes_an_exit_at_the_close() -> None:
    settings: dict[str, Any] = {"exit__policy": "bracket", "costs__funding__inclusive": "both"}
    story = play(symbol([FLAT, (100, 103, 100, 103), at(103)], long=[0], funding=[(2, 0.01)]), **settings)
    assert story.reasons == ["tp1"]
    assert (story.hours[-1], story.paid) == (pytest.approx(1 + 2 / 3, abs=1e-6), []), "on the way, before the funding"
    late = play(symbol([FLAT, (100, 100, 100, 103), at(103)], long=[0], funding=[(2, 0.01)]), **settings)
    assert (late.reasons, late.hours[-1], late.paid) == (["tp1"], 2.0, [-1.03])


# Levels, stops and guards later in a trade ---------------------------------------------------------------------------


def test_levels_follow_neither_later_volatility_nor_later_funding() -> None:
    """`replan = "entry"`: set once, on the first fill."""
    asked = symbol([FLAT, FLAT, (100, 107, 100, 107)], long=[0])
    asked.signals["volatility_factor"][1:], asked.signals["funding_rate"][1:] = 2.0, 0.01
    settings: dict[str, Any] = {"exit__levels__adaptive": True, "leverage__fixed": 3.0}
    calm = play(symbol([FLAT, FLAT, (100, 107, 100, 107)], long=[0]), **settings, **OPEN_END)
    assert play(asked, **settings, **OPEN_END).fills == calm.fills


def test_legs_of_a_trade_at_thirty_times() -> None:
    """Harvest 0.4 / 0.4 / 0.2 of what remains; targets 1.651062, 2.62553 and 3.712766 %."""
    settings: dict[str, Any] = {"exit__levels__adaptive": True, "leverage__fixed": 30.0}
    story = play(symbol([FLAT, (100, 105, 100, 105)], long=[0]), **settings, **OPEN_END)
    assert story.fills[1:] == [("tp1", 101.65, 0.4), ("tp2", 102.63, 0.24), ("tp3", 103.71, 0.072)]


def test_the_hard_stop_stays_where_the_entry_put_it() -> None:
    """Leg and ratchet move the internal stop to 100; the mark alone then falls to the hard stop of 98."""
    marks: list[Row] = [FLAT, (100, 102.5, 100, 102.5), (102.5, 102.5, 97, 97)]
    rows: list[Row] = [FLAT, (100, 102.5, 100, 102.5), (102.5, 102.5, 101, 101)]
    story = play(symbol(rows, marks=marks, long=[0]), **STATIC)
    assert [fill[0] for fill in story.fills[1:]] == ["tp1", "hard_stop"]
    assert story.fills[-1][1] == pytest.approx(102.5 - 1.5 * (4.5 / 5.5), abs=1e-6), "the mark touches 98 there"


def test_the_loss_guard_measures_the_price_also_after_a_leg() -> None:
    """What is left has lost 5 % of its own entry notional at 95, whatever the leg has earned."""
    settings: dict[str, Any] = {
        **STATIC,
        "exit__base_sl": 0.25,
        "exit__levels__sl__max": 0.5,
        "exit__stops__hard__distance": 0.3,
        "exit__stops__ratchet__preset": "off",
        "exit__guard__loss__max": 0.05,
    }
    story = play(symbol([FLAT, (100, 102.5, 100, 102.5), (102.5, 102.5, 90, 90)], long=[0]), **settings)
    assert story.fills[1:] == [("tp1", 102, 0.25), ("loss_guard", 95, 0.75)]


def test_the_loss_guard_acts_on_the_mark_behind_a_hard_stop_on_the_last_price() -> None:
    marks: list[Row] = [FLAT, (100, 100, 85, 85)]
    story = play(symbol([FLAT, (100, 100, 99.4, 99.4)], marks=marks, long=[0]), exit__stops__hard__working_type="last")
    assert story.fills[-1] == ("loss_guard", pytest.approx(100 - 0.6 * (12.5 / 15), abs=1e-6), 1.0)


# Signals that meet a position ----------------------------------------------------------------------------------------


def test_exit_short_closes_shorts_alone() -> None:
    assert play(symbol([FLAT, FLAT, FLAT, FLAT], short=[0], exit_short=[1])).reasons == ["signal"]
    assert play(symbol([FLAT, FLAT, FLAT, FLAT], long=[0], exit_short=[1])).reasons == ["end_of_data"]


def test_an_exit_and_a_request_for_the_same_side_close_and_do_not_reenter() -> None:
    story = play(symbol([FLAT, FLAT, FLAT, FLAT], long=[0, 1], exit_long=[1]))
    assert story.reasons == ["signal"]
    assert story.denials == ["side_held"]


def test_a_reversal_within_the_cooldown_closes_and_enters_nothing() -> None:
    settings: dict[str, Any] = {"exit__on_opposite_signal": "reverse", "entry__cooldown_bars": 1}
    story = play(symbol([FLAT, FLAT, FLAT, FLAT], long=[0], short=[1]), **settings)
    assert story.reasons == ["reverse"]
    assert story.denials == ["cooldown"]


def test_a_reversal_whose_entry_is_denied_still_closes() -> None:
    """The short's own stop is behind its costs."""
    asked = symbol([FLAT, FLAT, FLAT, FLAT], long=[0], short=[1])
    asked.signals["sl"][1] = 0.0016
    story = play(asked, exit__on_opposite_signal="reverse")
    assert story.reasons == ["reverse"]
    assert story.denials == ["stop_too_near"]
