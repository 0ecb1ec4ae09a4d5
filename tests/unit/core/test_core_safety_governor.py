"""The Safety Governor: each rule at, just below and just above its limit, what ends it, and combinations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import GovernorDecision, GovernorOrder, Health, Rule
from qtsim.core.records import (
    EVALUATIONS_MAX,
    NEVER,
    evaluation_dt,
    governor_dt,
    governor_row_dt,
    position_dt,
)
from qtsim.core.safety_governor import (
    due_order_nb,
    equity_an_hour_ago_nb,
    evaluate_governor_nb,
    fired_at_nb,
    governor_rule_nb,
    governor_size_nb,
    has_order_nb,
    note_losing_fill_nb,
    note_trade_nb,
    order_positions_nb,
    reach_open_nb,
    reduced_lots_nb,
    remember_evaluation_nb,
    reset_governor_nb,
)
from tests.generated import HOUR, START, params_of

DAY = 24 * HOUR
BALANCE = 10_000.0
PNL = {"w": 1.0, "l": -1.0, "e": 0.0}


class Governor:
    """A governor with its ring and the events it has raised, in words."""

    def __init__(self, **settings: Any) -> None:
        self.params = params_of({key.replace("__", "."): value for key, value in settings.items()})[0]
        self.state = np.zeros(1, governor_dt)
        reset_governor_nb(self.state[0])
        self.history = np.zeros(EVALUATIONS_MAX, evaluation_dt)
        self.rows = np.zeros(16, governor_row_dt)
        self.events: list[tuple[float, str, str]] = []
        self.evaluate(0.0, BALANCE)

    def _drain(self) -> None:
        for k in range(int(self.state["n_events"][0])):
            row = self.rows[k]
            name = GovernorDecision(int(row["decision"])).name
            self.events.append(((int(row["ts"]) - START) / HOUR, name, "fires" if row["begins"] else "ends"))
        self.state["n_events"] = 0

    def evaluate(self, hour: float, equity: float, *, at_boundary: bool = True) -> bool:
        """Evaluate the equity; True: everything is to be closed."""
        ts = START + int(hour * HOUR)
        fired = evaluate_governor_nb(self.state[0], self.history, self.rows, ts, equity, at_boundary, self.params)
        self._drain()
        return bool(fired)

    def losing_fill(self, hour: float, equity: float) -> None:
        """A losing fill that leaves this equity."""
        self.evaluate(hour, equity, at_boundary=False)
        ts = START + int(hour * HOUR)
        note_losing_fill_nb(self.state[0], self.history, self.rows, ts, equity, self.params)
        self._drain()

    def trade(self, hour: float, result: str) -> bool:
        """A closed trade, won (w), lost (l) or even (e); True: positions are to be reduced."""
        ts = START + int(hour * HOUR)
        fired = note_trade_nb(self.state[0], self.rows, ts, PNL[result], self.params)
        self._drain()
        return bool(fired)

    def rule(self, hour: float) -> str:
        """What stands against an entry then."""
        return Rule(governor_rule_nb(self.state[0], START + int(hour * HOUR))).name

    def figures(self, hour: float) -> tuple[float, float]:
        """(value, limit) of a denial then."""
        rule = governor_rule_nb(self.state[0], START + int(hour * HOUR))
        return fired_at_nb(self.state[0], rule, self.params)

    @property
    def size(self) -> float:
        return governor_size_nb(self.state[0], self.params)


# NO_NEW_TRADES -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("equity", "rule"), [(9_701.0, "NONE"), (9_700.0, "NONE"), (9_699.0, "NO_NEW_TRADES")])
def test_daily_drawdown_halts_until_the_next_utc_day(equity: float, rule: str) -> None:
    governor = Governor()
    governor.evaluate(5, equity)
    assert governor.rule(5) == rule
    governor.evaluate(20, BALANCE)
    assert governor.rule(20) == rule, "it latches: a recovery within the day changes nothing"
    governor.evaluate(24, equity)
    assert governor.rule(24) == "NONE"


def test_a_denial_shows_what_the_decision_compared_when_it_fired() -> None:
    governor = Governor()
    governor.evaluate(5, 9_600.0)
    governor.evaluate(6, 9_990.0)
    assert governor.figures(6) == (0.04, 0.03), "not the drawdown of now, which would allow the entry"
    for _ in range(6):
        governor.trade(7, "l")
    assert governor.figures(7) == (6.0, 5.0)
    governor.losing_fill(7, 9_790.2)
    assert governor.figures(7) == (pytest.approx(0.02), 0.005)
    governor.evaluate(7.5, 9_400.0)
    assert governor.figures(7.5) == (0.06, 0.05)


def test_a_denial_by_the_health_has_no_figures() -> None:
    governor = Governor()
    governor.state["health"] = Health.CRITICAL
    assert np.isnan(governor.figures(1)).all()
    governor.evaluate(5, 9_600.0)
    assert governor.figures(5) == (0.04, 0.03), "the drawdown has one, whichever began first"


def test_the_new_days_base_is_its_first_equity() -> None:
    governor = Governor()
    governor.evaluate(23, 9_800.0)
    governor.evaluate(24, 9_800.0)
    governor.evaluate(30, 9_510.0)
    assert governor.rule(30) == "NONE", "9,800 less 3 % is 9,506"
    governor.evaluate(31, 9_505.0)
    assert governor.rule(31) == "NO_NEW_TRADES"


def test_at_midnight_the_day_waits_for_the_boundary() -> None:
    """A loss at 00:00 is the old day's; the first evaluation after it rolls the day wherever it is."""
    governor = Governor(governor__shutdown__drawdown="inf")
    governor.evaluate(24, 9_690.0, at_boundary=False)
    assert governor.rule(24) == "NO_NEW_TRADES"
    governor.evaluate(24, 9_690.0)
    assert governor.rule(24) == "NONE"
    governor.evaluate(30, 9_300.0, at_boundary=False)
    assert governor.rule(30) == "NO_NEW_TRADES", "9,690 less 3 % is 9,399.30"
    governor.evaluate(48.5, 9_300.0, at_boundary=False)
    assert governor.rule(48.5) == "NONE"


# PAUSE_1H ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("equity", "rule"), [(9_951.0, "NONE"), (9_950.0, "PAUSE_1H"), (9_949.0, "PAUSE_1H")])
def test_a_losing_fill_half_a_per_cent_below_an_hour_ago_pauses(equity: float, rule: str) -> None:
    governor = Governor()
    governor.losing_fill(1, equity)
    assert governor.rule(1.0) == rule
    assert governor.rule(1.999) == rule
    assert governor.rule(2.0) == "NONE", "one hour later it is over, also within a bar"


def test_a_lasting_loss_does_not_pause_without_a_losing_fill() -> None:
    governor = Governor()
    governor.evaluate(1, 9_900.0)
    assert governor.rule(1) == "NONE"


def test_the_reference_is_the_last_evaluation_at_or_before_one_hour_ago() -> None:
    governor = Governor()
    governor.evaluate(1.0, 10_100.0)
    governor.evaluate(1.5, 9_900.0)
    governor.losing_fill(1.99, 9_960.0)
    assert governor.rule(1.99) == "NONE", "against 10,000 of hour 0: 0.4 %"
    governor.losing_fill(2.0, 9_960.0)
    assert governor.rule(2.0) == "PAUSE_1H", "against 10,100 of hour 1: 1.4 %"


def test_within_the_first_hour_there_is_nothing_to_compare_with() -> None:
    governor = Governor()
    governor.losing_fill(0.5, 9_000.0 + 600.0)
    assert governor.rule(0.5) != "PAUSE_1H"


def test_a_loss_during_the_pause_does_not_prolong_it_and_one_after_rearms() -> None:
    governor = Governor()
    governor.losing_fill(1.0, 9_940.0)
    governor.losing_fill(1.5, 9_900.0)
    assert governor.rule(2.0) == "NONE"
    governor.losing_fill(2.1, 9_880.0)
    assert governor.rule(2.1) == "PAUSE_1H", "against 9,940 of hour 1"
    governor.evaluate(3.1, 9_880.0)
    assert governor.events == [
        (1.0, "PAUSE_1H", "fires"),
        (2.0, "PAUSE_1H", "ends"),
        (2.1, "PAUSE_1H", "fires"),
        (3.1, "PAUSE_1H", "ends"),
    ]


def test_the_ring_keeps_the_last_hour_and_one_before() -> None:
    governor = Governor()
    for minute in range(1, 600):
        governor.evaluate(minute / 60, 10_000.0 + minute)
    kept = int(governor.state["history_end"][0] - governor.state["history_first"][0])
    assert kept == 61
    ts = START + int(599 / 60 * HOUR)
    assert equity_an_hour_ago_nb(governor.state[0], governor.history, ts) == 10_000.0 + 539


@pytest.mark.parametrize("every_s", [10.0, 1.0, 0.9, 0.25])
def test_a_pause_fires_however_often_the_equity_is_evaluated(every_s: float) -> None:
    governor = Governor()
    for k in range(1, int(3_700 / every_s)):
        remember_evaluation_nb(governor.state[0], governor.history, START + int(k * every_s * 1e9), BALANCE)
    governor.losing_fill(3_700 / 3_600, 9_940.0)
    assert governor.rule(3_700 / 3_600) == "PAUSE_1H"


@pytest.mark.parametrize(
    ("gaps_s", "late_ns"),
    [
        ((1.0, 7.0, 600.0, 4_000.0), 0),
        ((0.0, 0.1, 0.4, 0.9, 1.0, 3.0, 2_000.0), 1_000_000_000),
        ((0.3,), 1_000_000_000),
    ],
    ids=["never_twice_a_second", "often_and_seldom", "always_often"],
)
def test_the_ring_agrees_with_a_list_of_all_evaluations(gaps_s: tuple[float, ...], late_ns: int) -> None:
    """The one kept is at or before one hour ago, and less than a second older than the last such; numbered equities."""
    rng = np.random.default_rng(5)
    steps = (1e9 * rng.choice(gaps_s, 15_000)).astype(np.int64)
    times = START + np.cumsum(steps)
    state, history = np.zeros(1, governor_dt), np.zeros(EVALUATIONS_MAX, evaluation_dt)
    reset_governor_nb(state[0])
    for k, ts in enumerate(times):
        remember_evaluation_nb(state[0], history, int(ts), float(k))
        last = int(np.searchsorted(times[: k + 1], ts - HOUR, side="right")) - 1
        found = equity_an_hour_ago_nb(state[0], history, int(ts))
        if last < 0:
            assert np.isnan(found)
        else:
            assert 0 <= times[last] - times[int(found)] < max(late_ns, 1)
            assert late_ns > 0 or int(found) == last
        assert state["history_end"][0] - state["history_first"][0] <= HOUR // 1_000_000_000 + 1


# DEFENSIVE_EXIT ------------------------------------------------------------------------------------------------------


def test_more_than_five_losses_reduce_and_stop_entries_for_four_hours() -> None:
    governor = Governor()
    assert [governor.trade(k / 10, "l") for k in range(6)] == [False] * 5 + [True]
    assert governor.rule(0.5) == "DEFENSIVE_EXIT"
    assert governor.rule(4.499) == "DEFENSIVE_EXIT"
    assert governor.rule(4.5) == "NONE"
    governor.evaluate(4.5, BALANCE)
    assert governor.size == 0.5
    governor.trade(5, "w")
    assert governor.size == 1.0


def test_a_win_after_a_losing_streak_ends_it_and_the_next_win_gives_the_size_back() -> None:
    governor = Governor()
    for k in range(6):
        governor.trade(k / 10, "l")
    governor.trade(1, "w")
    assert governor.rule(1) == "NONE"
    assert governor.size == 0.5
    governor.trade(2, "w")
    assert governor.size == 1.0
    assert governor.events == [(0.5, "DEFENSIVE_EXIT", "fires"), (1.0, "DEFENSIVE_EXIT", "ends")]


def test_the_next_loss_after_four_hours_fires_again() -> None:
    governor = Governor()
    for k in range(6):
        governor.trade(k / 10, "l")
    assert not governor.trade(2, "l"), "active: it does not fire anew"
    governor.evaluate(5, BALANCE)
    assert governor.trade(6, "l")


# (id, trades, losing streak, how often DEFENSIVE_EXIT has fired, size after it)
EVEN: list[tuple[str, str, int, int, float]] = [
    ("it_is_no_loss", "llllle", 0, 0, 1.0),
    ("losses_before_and_after_it_are_not_in_a_row", "lllelll", 3, 0, 1.0),
    ("it_is_no_win_that_would_end_the_decision", "lllllle", 0, 1, 0.5),
    ("nor_one_that_gives_the_size_back", "llllllwe", 0, 1, 0.5),
]


@pytest.mark.parametrize(("trades", "streak", "fired", "size"), [c[1:] for c in EVEN], ids=[c[0] for c in EVEN])
def test_a_trade_that_nets_nothing(trades: str, streak: int, fired: int, size: float) -> None:
    governor = Governor()
    for k, result in enumerate(trades):
        governor.trade(k / 10, result)
    assert governor.state["losing_streak"][0] == streak
    assert [event[2] for event in governor.events].count("fires") == fired
    assert (governor.rule(1) == "DEFENSIVE_EXIT") is (fired == 1 and "w" not in trades)
    assert governor.size == size


def test_the_streak_starts_anew_with_the_utc_day() -> None:
    governor = Governor()
    for k in range(5):
        governor.trade(23 + k / 10, "l")
    governor.evaluate(24, BALANCE)
    assert not governor.trade(24.5, "l")
    assert governor.state["losing_streak"][0] == 1


# EMERGENCY_SHUTDOWN --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("equity", "fires"), [(9_501.0, False), (9_500.0, True), (9_499.0, True)])
def test_five_per_cent_below_the_base_closes_everything(equity: float, fires: bool) -> None:
    governor = Governor()
    assert governor.evaluate(30, equity) == fires
    assert governor.rule(30) == ("EMERGENCY_SHUTDOWN" if fires else "NONE")


def test_the_operator_resumes_with_a_new_base_and_a_second_shutdown_counts_from_it() -> None:
    governor = Governor()
    assert governor.evaluate(30, 9_400.0)
    assert not governor.evaluate(31, 9_300.0), "it has fired already"
    assert governor.rule(53.9) == "EMERGENCY_SHUTDOWN"
    assert not governor.evaluate(54, 9_300.0)
    assert governor.rule(54) == "NONE"
    assert governor.state["base_equity"][0] == 9_300.0
    assert not governor.evaluate(60, 8_836.0)
    assert governor.evaluate(61, 8_835.0), "5 % below 9,300"
    assert int(governor.state["shutdowns"][0]) == 2


def test_an_operator_who_never_comes() -> None:
    governor = Governor(governor__shutdown__operator_hours="inf")
    assert governor.evaluate(1, 9_000.0)
    governor.evaluate(1_000_000, 20_000.0)
    assert governor.rule(1_000_000) == "EMERGENCY_SHUTDOWN"


# Two at once ---------------------------------------------------------------------------------------------------------


def test_two_rules_at_once_are_both_active_and_the_graver_is_reported() -> None:
    governor = Governor()
    governor.losing_fill(2, 9_600.0)
    assert governor.rule(2) == "PAUSE_1H"
    assert governor.rule(3) == "NO_NEW_TRADES", "the pause is over, the day is not"
    assert [event[1] for event in governor.events] == ["NO_NEW_TRADES", "PAUSE_1H"]


def test_limits_of_infinity_are_off() -> None:
    off = {
        "governor__daily_drawdown": "inf",
        "governor__hourly__loss": "inf",
        "governor__streak__losses": "inf",
        "governor__shutdown__drawdown": "inf",
    }
    governor = Governor(**off)
    for k in range(30):
        assert not governor.trade(1 + k / 10, "l")
    governor.losing_fill(5, 1.0)
    assert governor.rule(5) == "NONE"
    assert governor.events == []


def test_states_that_ended_unseen_end_at_their_own_times_and_in_order() -> None:
    """At hour 1 everything fires; nothing is evaluated before the third day."""
    governor = Governor(governor__streak__losses=1, governor__shutdown__operator_hours=30.0)
    governor.trade(0.5, "l")
    governor.losing_fill(1, 9_000.0)
    governor.trade(1, "l")
    governor.events.clear()
    governor.evaluate(60, 9_000.0)
    assert governor.events == [
        (2.0, "PAUSE_1H", "ends"),
        (5.0, "DEFENSIVE_EXIT", "ends"),
        (24.0, "NO_NEW_TRADES", "ends"),
        (31.0, "EMERGENCY_SHUTDOWN", "ends"),
    ]


# Orders to positions -------------------------------------------------------------------------------------------------


def test_a_position_is_reduced_once_and_closing_outranks_it() -> None:
    positions = np.zeros(3, position_dt)
    positions["side"] = [1, 0, -1]
    positions["reduce_after"] = positions["close_after"] = NEVER
    order_positions_nb(positions, GovernorOrder.REDUCE.value, 5)
    assert [due_order_nb(row, 6) for row in positions] == [
        GovernorOrder.REDUCE,
        GovernorOrder.NONE,
        GovernorOrder.REDUCE,
    ]
    positions["reduce_after"] = NEVER
    order_positions_nb(positions, GovernorOrder.REDUCE.value, 7)
    assert not any(has_order_nb(row) for row in positions), "once per position"
    order_positions_nb(positions, GovernorOrder.CLOSE.value, 8)
    assert [due_order_nb(row, 9) for row in positions] == [GovernorOrder.CLOSE, GovernorOrder.NONE, GovernorOrder.CLOSE]


def test_an_order_is_obeyed_after_its_own_time_or_at_the_open_that_follows_a_close() -> None:
    position = np.zeros(1, position_dt)
    position["side"] = 1
    position["reduce_after"] = position["close_after"] = NEVER
    order_positions_nb(position, GovernorOrder.REDUCE.value, 5)
    order_positions_nb(position, GovernorOrder.CLOSE.value, 8)
    assert due_order_nb(position[0], 5) == GovernorOrder.NONE
    assert due_order_nb(position[0], 8) == GovernorOrder.REDUCE, "the close ordered at 8 does not undo what was due"
    assert due_order_nb(position[0], 9) == GovernorOrder.CLOSE
    reach_open_nb(position[0], 8)
    assert due_order_nb(position[0], 8) == GovernorOrder.CLOSE


@pytest.mark.parametrize(("lots", "half"), [(1, 0), (2, 1), (3, 1), (10, 5)])
def test_half_of_the_lots(lots: int, half: int) -> None:
    assert reduced_lots_nb(lots, 0.5) == half
    assert NEVER == -1
