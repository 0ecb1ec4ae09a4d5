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
from qtsim.core.records import EVALUATIONS_MAX, NEVER, Record, Records
from qtsim.core.symbol_stats import later_nb

DAY_NS = 86_400_000_000_000
LOOK_BACK_NS = 3_600_000_000_000
"""PAUSE_1H compares with the last evaluation at or before one hour ago."""


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
    """Write down that a decision fires or ends."""
    row = events[governor["n_events"]]
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
    governor["paused_until"] = NEVER
    governor["defensive_until"] = NEVER
    governor["half_size"] = 0
    governor["halted"] = 0
    governor["resume_at"] = NEVER
    governor["shutdowns"] = 0
    governor["health"] = Health.HEALTHY.value
    governor["history_first"] = 0
    governor["history_end"] = 0
    governor["n_events"] = 0


@kernel
def remember_evaluation_nb(governor: Record, history: Records, ts: int, equity: float) -> None:
    """Append an evaluation to the ring; one at the time of the last replaces it; forget what is not needed any more.

    Kept are the evaluations of the last hour and the one before them.
    """
    end = governor["history_end"]
    if end > governor["history_first"] and history[(end - 1) % EVALUATIONS_MAX]["ts"] == ts:
        history[(end - 1) % EVALUATIONS_MAX]["equity"] = equity
        return
    history[end % EVALUATIONS_MAX]["ts"] = ts
    history[end % EVALUATIONS_MAX]["equity"] = equity
    governor["history_end"] = end + 1
    if end + 1 - governor["history_first"] > EVALUATIONS_MAX:
        governor["history_first"] += 1
    while governor["history_first"] + 1 < governor["history_end"]:
        if history[(governor["history_first"] + 1) % EVALUATIONS_MAX]["ts"] > ts - LOOK_BACK_NS:
            return
        governor["history_first"] += 1


@kernel
def equity_an_hour_ago_nb(governor: Record, history: Records, ts: int) -> float:
    """The last evaluation at or before one hour ago; NaN where there is none."""
    if governor["history_first"] == governor["history_end"]:
        return np.nan
    row = history[governor["history_first"] % EVALUATIONS_MAX]
    if row["ts"] > ts - LOOK_BACK_NS:
        return np.nan
    return row["equity"]


@kernel
def end_states_nb(governor: Record, events: Records, ts: int, equity: float, params: Record) -> None:
    """End what has run out: the pause, DEFENSIVE_EXIT's hours, a shutdown that the operator ends with a new base."""
    if governor["paused_until"] != NEVER and ts >= governor["paused_until"]:
        governor["paused_until"] = NEVER
        note_event_nb(governor, events, ts, GovernorDecision.PAUSE_1H.value, False, 0.0, 0.0)
    if governor["defensive_until"] != NEVER and ts >= governor["defensive_until"]:
        governor["defensive_until"] = NEVER
        note_event_nb(governor, events, ts, GovernorDecision.DEFENSIVE_EXIT.value, False, 0.0, 0.0)
    if governor["resume_at"] != NEVER and ts >= governor["resume_at"]:
        governor["resume_at"] = NEVER
        governor["base_equity"] = equity
        note_event_nb(governor, events, ts, GovernorDecision.EMERGENCY_SHUTDOWN.value, False, 0.0, 0.0)


@kernel
def roll_day_nb(governor: Record, events: Records, ts: int, equity: float) -> None:
    """A new UTC day: its equity is the drawdown's base, the losing streak starts anew, NO_NEW_TRADES ends."""
    day = ts // DAY_NS
    if day == governor["day"]:
        return
    governor["day"] = day
    governor["day_equity"] = equity
    governor["losing_streak"] = 0
    if governor["halted"] == 1:
        governor["halted"] = 0
        note_event_nb(governor, events, ts, GovernorDecision.NO_NEW_TRADES.value, False, 0.0, 0.0)


@kernel
def evaluate_governor_nb(
    governor: Record, history: Records, events: Records, ts: int, equity: float, params: Record
) -> bool:
    """Evaluate the equity. Returns whether EMERGENCY_SHUTDOWN has just fired: everything is to be closed."""
    rules = params["governor"]
    governor["equity"] = equity
    if governor["started"] == 0:
        governor["started"] = 1
        governor["day"] = ts // DAY_NS
        governor["day_equity"] = equity
        governor["base_equity"] = equity
    end_states_nb(governor, events, ts, equity, params)
    roll_day_nb(governor, events, ts, equity)
    remember_evaluation_nb(governor, history, ts, equity)
    if governor["halted"] == 0:
        drawdown = lost_share_nb(governor["day_equity"], equity)
        if drawdown > rules["daily_drawdown"]:
            governor["halted"] = 1
            note_event_nb(
                governor, events, ts, GovernorDecision.NO_NEW_TRADES.value, True, drawdown, rules["daily_drawdown"]
            )
    if governor["resume_at"] == NEVER:
        lost = lost_share_nb(governor["base_equity"], equity)
        if lost >= rules["shutdown_drawdown"]:
            governor["resume_at"] = later_nb(ts, rules["shutdown_operator_hours"])
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
        note_event_nb(governor, events, ts, GovernorDecision.PAUSE_1H.value, True, lost, rules["hourly_loss"])


@kernel
def note_trade_nb(governor: Record, events: Records, ts: int, won: bool, params: Record) -> bool:
    """Count a closed trade. Returns whether DEFENSIVE_EXIT has just fired: open positions are to be reduced.

    It fires where a loss makes the losing streak exceed `streak_losses`, and ends with a win or after `streak_hours`;
    then entries are smaller until the next win.
    """
    rules = params["governor"]
    is_active = governor["defensive_until"] != NEVER and ts < governor["defensive_until"]
    if won:
        governor["losing_streak"] = 0
        if is_active:
            governor["defensive_until"] = NEVER
            note_event_nb(governor, events, ts, GovernorDecision.DEFENSIVE_EXIT.value, False, 0.0, 0.0)
        else:
            governor["half_size"] = 0
        return False
    governor["losing_streak"] += 1
    if is_active or not governor["losing_streak"] > rules["streak_losses"]:
        return False
    governor["defensive_until"] = later_nb(ts, rules["streak_hours"])
    governor["half_size"] = 1
    streak = float(governor["losing_streak"])
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
    if governor["halted"] == 1 or governor["health"] == Health.CRITICAL:
        return Rule.NO_NEW_TRADES.value
    return Rule.NONE.value


@kernel
def governor_size_nb(governor: Record, params: Record) -> float:
    """Size factor: `streak_size_after` between DEFENSIVE_EXIT and the next win."""
    if governor["half_size"] == 1:
        return params["governor"]["streak_size_after"]
    return 1.0


@kernel
def order_positions_nb(positions: Records, order: int) -> None:
    """Ask every open position to close, or to be reduced where it has not been yet, at its next point."""
    for i in range(len(positions)):
        position = positions[i]
        if position["side"] == Side.NONE:
            continue
        if order == GovernorOrder.CLOSE:
            position["governor_order"] = order
        elif position["defensive_done"] == 0:
            position["defensive_done"] = 1
            position["governor_order"] = max(position["governor_order"], order)


@kernel
def reduced_lots_nb(lots: int, share: float) -> int:
    """Whole lots in the share of a position that DEFENSIVE_EXIT closes."""
    return math.floor(lots * share + STEP_TOLERANCE)
