"""Circuit breakers on the account. Rules fire on an event and latch; effects of all active rules add up.

The driver evaluates the equity (at boundaries, and after each closing fill), tells of closed trades and losing fills,
and empties the events after each call.
"""

from __future__ import annotations

import math

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import GovernorDecision, GovernorOrder, Health, Rule, Side
from qtsim.core.floats import STEP_TOLERANCE
from qtsim.core.orders import is_limit_nb, travels_at_market_nb
from qtsim.core.records import EVALUATIONS_MAX, NEVER, Record, Records
from qtsim.core.symbol_stats import later_nb

DAY_NS = 86_400_000_000_000
LOOK_BACK_NS = 3_600_000_000_000
"""PAUSE_1H compares with the last evaluation at or before one hour ago."""
KEPT_APART_NS = 1_000_000_000
"""Least time between evaluations that are kept, so that an hour of them fits the ring however often they come."""


@kernel
def lost_share_nb(before: float, now: float) -> float:
    """1 - now / before, so computed that a loss of exactly 3 % is 0.03; 0 where there was nothing."""
    if before <= 0.0:
        return 0.0
    return (before - now) / before


@kernel
def note_event_nb(
    governor: Record, events: Records, ts: int, decision: int, begins: bool, value: float, limit: float
) -> None:
    """Write down that a decision fires or ends, in order of time among what has not been journalled yet."""
    place = governor["n_events"]
    while place > 0 and events[place - 1]["ts"] > ts:
        events[place] = events[place - 1]
        place -= 1
    row = events[place]
    row["ts"] = ts
    row["decision"] = decision
    row["begins"] = 1 if begins else 0
    row["value"] = value
    row["limit"] = limit
    row["equity"] = governor["equity"]
    governor["n_events"] += 1


@kernel
def reset_governor_nb(governor: Record) -> None:
    """A governor before its first evaluation."""
    governor["started"] = 0
    governor["losing_streak"] = 0
    governor["streak_day"] = 0
    governor["paused_until"] = NEVER
    governor["defensive_until"] = NEVER
    governor["half_size"] = 0
    governor["halted"] = 0
    governor["no_new_trades"] = 0
    governor["resume_at"] = NEVER
    governor["shutdowns"] = 0
    governor["health"] = Health.HEALTHY.value
    governor["blind"] = 0
    governor["history_first"] = 0
    governor["history_end"] = 0
    governor["n_events"] = 0


@kernel
def keep_evaluation_nb(governor: Record, history: Records, ts: int, equity: float) -> None:
    """Append an evaluation to the ring; one at the time of the last replaces it, one soon after it is left out."""
    end = governor["history_end"]
    if end > governor["history_first"]:
        last = history[(end - 1) % EVALUATIONS_MAX]
        if ts == last["ts"]:
            last["equity"] = equity
        if ts - last["ts"] < KEPT_APART_NS:
            return
    history[end % EVALUATIONS_MAX]["ts"] = ts
    history[end % EVALUATIONS_MAX]["equity"] = equity
    governor["history_end"] = end + 1


@kernel
def remember_evaluation_nb(governor: Record, history: Records, ts: int, equity: float) -> None:
    """Keep an evaluation, and forget what is not needed any more: all but those of the last hour and the one before.

    What is kept for one hour ago is so the last evaluation at or before it, or one less than KEPT_APART_NS older.
    """
    keep_evaluation_nb(governor, history, ts, equity)
    while governor["history_first"] + 1 < governor["history_end"]:
        if history[(governor["history_first"] + 1) % EVALUATIONS_MAX]["ts"] > ts - LOOK_BACK_NS:
            return
        governor["history_first"] += 1


@kernel
def equity_an_hour_ago_nb(governor: Record, history: Records, ts: int) -> float:
    """The last evaluation kept of those at or before one hour ago; NaN where there is none."""
    if governor["history_first"] == governor["history_end"]:
        return np.nan
    row = history[governor["history_first"] % EVALUATIONS_MAX]
    if row["ts"] > ts - LOOK_BACK_NS:
        return np.nan
    return row["equity"]


@kernel
def note_end_nb(governor: Record, events: Records, ts: int, decision: int) -> None:
    """Write down that a decision has ended, at the time when it did and not at the evaluation that notices it."""
    note_event_nb(governor, events, ts, decision, False, 0.0, 0.0)


@kernel
def end_states_nb(governor: Record, events: Records, ts: int, equity: float) -> None:
    """End what has run out: the pause, DEFENSIVE_EXIT's hours, a shutdown that the operator ends with a new base."""
    if governor["paused_until"] != NEVER and ts >= governor["paused_until"]:
        note_end_nb(governor, events, governor["paused_until"], GovernorDecision.PAUSE_1H.value)
        governor["paused_until"] = NEVER
    if governor["defensive_until"] != NEVER and ts >= governor["defensive_until"]:
        note_end_nb(governor, events, governor["defensive_until"], GovernorDecision.DEFENSIVE_EXIT.value)
        governor["defensive_until"] = NEVER
    if governor["resume_at"] != NEVER and ts >= governor["resume_at"]:
        note_end_nb(governor, events, governor["resume_at"], GovernorDecision.EMERGENCY_SHUTDOWN.value)
        governor["resume_at"] = NEVER
        governor["base_equity"] = equity


@kernel
def begin_streak_day_nb(governor: Record, day: int) -> None:
    """The losing streak starts anew with a UTC day, unless it counts that day's trades already.

    It does where the exchange closed some while the program did not run: they count on the day of their own time.
    """
    if day != governor["streak_day"]:
        governor["losing_streak"] = 0
        governor["streak_day"] = day


@kernel
def roll_day_nb(governor: Record, events: Records, ts: int, equity: float) -> None:
    """A new UTC day: its equity is the drawdown's base, the losing streak starts anew, the drawdown halts no more."""
    day = ts // DAY_NS
    if day == governor["day"]:
        return
    if governor["halted"] == 1:
        governor["halted"] = 0
        if not forbids_new_trades_nb(governor):
            governor["no_new_trades"] = 0
            note_end_nb(governor, events, (governor["day"] + 1) * DAY_NS, GovernorDecision.NO_NEW_TRADES.value)
    governor["day"] = day
    governor["day_equity"] = equity
    begin_streak_day_nb(governor, day)


@kernel
def forbids_new_trades_nb(governor: Record) -> bool:
    """Does the day's drawdown or the program's health stand against every entry?"""
    return governor["halted"] == 1 or governor["health"] == Health.CRITICAL


@kernel
def judge_new_trades_nb(governor: Record, events: Records, ts: int, equity: float, most_drawdown: float) -> None:
    """NO_NEW_TRADES: fires once where the first of its two causes begins, ends where neither holds any more.

    By the health it compares nothing: value and limit are NaN.
    """
    decision = GovernorDecision.NO_NEW_TRADES.value
    drawdown = lost_share_nb(governor["day_equity"], equity)
    if governor["halted"] == 0 and drawdown > most_drawdown:
        governor["halted"] = 1
        governor["halted_by"] = drawdown
    forbids = 1 if forbids_new_trades_nb(governor) else 0
    if forbids == governor["no_new_trades"]:
        return
    governor["no_new_trades"] = forbids
    if forbids == 0:
        note_end_nb(governor, events, ts, decision)
    elif governor["halted"] == 1:
        note_event_nb(governor, events, ts, decision, True, drawdown, most_drawdown)
    else:
        note_event_nb(governor, events, ts, decision, True, np.nan, np.nan)


@kernel
def may_roll_day_nb(ts: int, at_boundary: bool) -> bool:
    """At 00:00 itself the day waits for the boundary: the last points of the old day and its funding come first."""
    return at_boundary or ts % DAY_NS != 0


@kernel
def evaluate_governor_nb(
    governor: Record, history: Records, events: Records, ts: int, equity: float, at_boundary: bool, params: Record
) -> bool:
    """Evaluate the equity. Returns whether EMERGENCY_SHUTDOWN has just fired: everything is to be closed.

    at_boundary: it is the evaluation of a boundary, after the funding due there.
    """
    rules = params["governor"]
    governor["equity"] = equity
    if governor["started"] == 0:
        governor["started"] = 1
        governor["day"] = ts // DAY_NS
        governor["streak_day"] = ts // DAY_NS
        governor["day_equity"] = equity
        governor["base_equity"] = equity
    end_states_nb(governor, events, ts, equity)
    if may_roll_day_nb(ts, at_boundary):
        roll_day_nb(governor, events, ts, equity)
    remember_evaluation_nb(governor, history, ts, equity)
    judge_new_trades_nb(governor, events, ts, equity, rules["daily_drawdown"])
    if governor["resume_at"] == NEVER:
        lost = lost_share_nb(governor["base_equity"], equity)
        if lost >= rules["shutdown_drawdown"]:
            governor["resume_at"] = later_nb(ts, rules["shutdown_operator_hours"])
            governor["shut_by"] = lost
            governor["shutdowns"] += 1
            note_event_nb(
                governor, events, ts, GovernorDecision.EMERGENCY_SHUTDOWN.value, True, lost, rules["shutdown_drawdown"]
            )
            return True
    return False


@kernel
def note_losing_fill_nb(
    governor: Record, history: Records, events: Records, ts: int, equity: float, params: Record
) -> None:
    """PAUSE_1H: a losing fill with the equity a share below that of an hour ago. During a pause it changes nothing."""
    rules = params["governor"]
    if governor["paused_until"] != NEVER and ts < governor["paused_until"]:
        return
    before = equity_an_hour_ago_nb(governor, history, ts)
    if not before > 0.0:
        return
    lost = lost_share_nb(before, equity)
    if lost >= rules["hourly_loss"]:
        governor["paused_until"] = later_nb(ts, rules["hourly_pause_hours"])
        governor["paused_by"] = lost
        note_event_nb(governor, events, ts, GovernorDecision.PAUSE_1H.value, True, lost, rules["hourly_loss"])


@kernel
def note_trade_nb(governor: Record, events: Records, ts: int, pnl: float, params: Record) -> bool:
    """Count a closed trade. Returns whether DEFENSIVE_EXIT has just fired: open positions are to be reduced.

    It fires where a loss makes the losing streak exceed `streak_losses`, and ends with a win or after `streak_hours`;
    then entries are smaller until the next win. pnl: net of costs; one of 0 ends the streak and is no win.
    """
    rules = params["governor"]
    is_active = governor["defensive_until"] != NEVER and ts < governor["defensive_until"]
    if pnl > 0.0 and is_active:
        governor["defensive_until"] = NEVER
        note_end_nb(governor, events, ts, GovernorDecision.DEFENSIVE_EXIT.value)
    elif pnl > 0.0:
        governor["half_size"] = 0
    if pnl >= 0.0:
        governor["losing_streak"] = 0
        return False
    governor["losing_streak"] += 1
    if is_active or not governor["losing_streak"] > rules["streak_losses"]:
        return False
    governor["defensive_until"] = later_nb(ts, rules["streak_hours"])
    governor["half_size"] = 1
    streak = float(governor["losing_streak"])
    governor["defensive_by"] = streak
    note_event_nb(governor, events, ts, GovernorDecision.DEFENSIVE_EXIT.value, True, streak, rules["streak_losses"])
    return True


@kernel
def governor_rule_nb(governor: Record, ts: int) -> int:
    """The rule that stands against an entry now, that of the gravest active decision; NONE: none does."""
    if governor["resume_at"] != NEVER and ts < governor["resume_at"]:
        return Rule.EMERGENCY_SHUTDOWN.value
    if governor["paused_until"] != NEVER and ts < governor["paused_until"]:
        return Rule.PAUSE_1H.value
    if governor["defensive_until"] != NEVER and ts < governor["defensive_until"]:
        return Rule.DEFENSIVE_EXIT.value
    if forbids_new_trades_nb(governor):
        return Rule.NO_NEW_TRADES.value
    return Rule.NONE.value


@kernel
def order_rule_nb(position: Record, governor: Record, ts: int, params: Record) -> int:
    """The rule that ends an entry order which is not filled whole; NONE: it may go on.

    Its time, and what forbids entries. A program that does not run cancels nothing: a limit goes on standing at the
    exchange; but nobody sends the rest of a market order. One on its way is not called back.
    """
    if travels_at_market_nb(position):
        return Rule.NONE.value
    if governor["blind"] == 1:
        return Rule.NONE.value if is_limit_nb(position) else Rule.NOT_RUNNING.value
    if ts >= position["order_until"]:
        return Rule.ORDER_TIMED_OUT.value
    if params["gates"]["enabled"] == 0:
        return Rule.NONE.value
    return governor_rule_nb(governor, ts)


@kernel
def fired_at_nb(governor: Record, rule: int, params: Record) -> tuple[float, float]:
    """(value, limit) that the decision behind a rule compared when it fired; NaN for the health, which is no figure."""
    rules = params["governor"]
    if rule == Rule.EMERGENCY_SHUTDOWN:
        return governor["shut_by"], rules["shutdown_drawdown"]
    if rule == Rule.PAUSE_1H:
        return governor["paused_by"], rules["hourly_loss"]
    if rule == Rule.DEFENSIVE_EXIT:
        return governor["defensive_by"], rules["streak_losses"]
    if governor["halted"] == 1:
        return governor["halted_by"], rules["daily_drawdown"]
    return np.nan, np.nan


@kernel
def governor_size_nb(governor: Record, params: Record) -> float:
    """Size factor: `streak_size_after` between DEFENSIVE_EXIT and the next win."""
    if governor["half_size"] == 1:
        return params["governor"]["streak_size_after"]
    return 1.0


@kernel
def order_positions_nb(positions: Records, order: int, ts: int) -> None:
    """Ask every open position to close, or to be reduced where it has not been yet, at its first point after `ts`."""
    for i in range(len(positions)):
        position = positions[i]
        if position["side"] == Side.NONE:
            continue
        if order == GovernorOrder.CLOSE:
            position["close_after"] = ts
        elif position["defensive_done"] == 0:
            position["defensive_done"] = 1
            position["reduce_after"] = ts


@kernel
def order_newcomer_nb(position: Record, governor: Record, ts: int, params: Record) -> None:
    """A shutdown also closes what an order opens at `ts` that was on its way when it fired."""
    if params["gates"]["enabled"] == 1 and governor_rule_nb(governor, ts) == Rule.EMERGENCY_SHUTDOWN:
        position["close_after"] = ts


@kernel
def reach_open_nb(position: Record, ts: int) -> None:
    """An open is a later point than the close at the same time: what was ordered until now is due at it.

    A leg that waits for volume finds that of a new bar.
    """
    position["leg_waits"] = 0
    position["reduce_after"] = min(position["reduce_after"], ts - 1)
    position["close_after"] = min(position["close_after"], ts - 1)


@kernel
def has_order_nb(position: Record) -> bool:
    """Has the governor ordered anything that the position has not obeyed yet?"""
    return position["reduce_after"] != NEVER or position["close_after"] != NEVER


@kernel
def due_order_nb(position: Record, ts: int) -> int:
    """What the governor wants of the position at a point at `ts`; not at that of the order, whatever its name."""
    if position["close_after"] != NEVER and ts > position["close_after"]:
        return GovernorOrder.CLOSE.value
    if position["reduce_after"] != NEVER and ts > position["reduce_after"]:
        return GovernorOrder.REDUCE.value
    return GovernorOrder.NONE.value


@kernel
def reduced_lots_nb(lots: int, share: float) -> int:
    """Whole lots in the share of a position that DEFENSIVE_EXIT closes."""
    return math.floor(lots * share + STEP_TOLERANCE)
