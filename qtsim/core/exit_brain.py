"""One exit cycle in the order of the specification, and the triggers nearest to the price.

`decide_exit_nb` writes a decision and changes nothing else; `apply_decision_nb` moves what lives in the program. Fills
are applied in `accounting.py`.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import Action, GovernorOrder, PriceKind, Reason, Regime, TrailMode
from qtsim.core.exit_policies import is_replan_due_nb, replan_nb
from qtsim.core.guards import guard_price_nb, guard_reason_nb
from qtsim.core.orders import has_exit_sent_nb
from qtsim.core.params import LEGS_MAX
from qtsim.core.records import NEVER, Record
from qtsim.core.safety_governor import due_order_nb, reduced_lots_nb
from qtsim.core.sizing import min_lots_nb
from qtsim.core.stops import is_tighter_nb, tighter_tick_nb
from qtsim.core.trailing import better_price_nb, trail_price_nb, trail_starts_nb


@kernel
def exit_whole_nb(position: Record, reason: int, out: Record) -> None:
    """Decide to close everything that is open."""
    out["action"] = Action.FULL_EXIT_NOW.value
    out["reason"] = reason
    out["lots"] = position["lots"]


@kernel
def update_stop_nb(position: Record, point: Record, instrument: Record, params: Record, out: Record) -> bool:
    """Decision update: reported ratchet, breakeven, regime, trail. Returns whether the move is a decision of its own.

    Only here is a regime seen, so that no cycle that ends earlier swallows its change. Of a trail only its start is a
    decision; its moves are state.
    """
    side = float(position["side"])
    price = point["price"]
    stops = params["stops"]
    reportable = position["stop_moved"] == 1
    if reportable:
        out["reason"] = position["stop_reason"]

    if position["breakeven_done"] == 0 and side * (price - position["breakeven_activate_price"]) >= 0.0:
        out["breakeven_done"] = 1
        if is_tighter_nb(position["breakeven_price"], out["stop_price"], side):
            out["stop_price"] = position["breakeven_price"]
            out["stop_reason"] = Reason.BREAKEVEN.value
            out["reason"] = Reason.BREAKEVEN.value
            reportable = True

    if (
        position["regime_done"] == 0
        and stops["trail_choppy"] < np.inf
        and point["atr"] > 0.0
        and turns_choppy_nb(position["seen_regime"], point["regime"])
    ):
        out["regime_done"] = 1
        candidate = tighter_tick_nb(price - side * stops["trail_choppy"] * point["atr"], side, instrument)
        if is_tighter_nb(candidate, out["stop_price"], side):
            out["stop_price"] = candidate
            out["stop_reason"] = Reason.REGIME.value
            out["reason"] = Reason.REGIME.value
            reportable = True
    out["seen_regime"] = point["regime"]

    if trail_starts_nb(position, price):
        out["trail_active"] = 1
        out["peak"] = price
        out["reason"] = Reason.TRAIL.value
        reportable = True
    if out["trail_active"] == 1:
        out["peak"] = better_price_nb(out["peak"], price, side)
        if may_trail_nb(position, point, stops):
            candidate = trail_price_nb(position, out["peak"], point["atr"], params["exit"])
            candidate = tighter_tick_nb(candidate, side, instrument)
            if is_tighter_nb(candidate, out["stop_price"], side):
                out["stop_price"] = candidate
                out["stop_reason"] = Reason.TRAIL.value
    return reportable


@kernel
def may_trail_nb(position: Record, point: Record, stops: Record) -> bool:
    """Volatility holds a trail's stop; what profit_lock's ladder has locked is locked at any volatility."""
    return position["trail_mode"] == TrailMode.LADDER or point["volatility_factor"] < stops["trail_suspend_volatility"]


@kernel
def turns_choppy_nb(seen: int, now: int) -> bool:
    """Has the symbol's regime changed from TRENDING to CHOPPY?"""
    return seen == Regime.TRENDING and now == Regime.CHOPPY


@kernel
def reduce_nb(position: Record, point: Record, instrument: Record, params: Record, out: Record) -> None:
    """What DEFENSIVE_EXIT wants of a position that no guard and no stop closes.

    A share is closed at market, the internal stop moves to a share of its distance from the price. What would stay
    below the exchange's minimum goes too; a share that is too small to send moves the stop alone.
    """
    rules = params["governor"]
    side = float(position["side"])
    price = point["price"]
    candidate = price - rules["streak_stop"] * (price - out["stop_price"])
    candidate = tighter_tick_nb(candidate, side, instrument)
    out["reason"] = Reason.GOVERNOR.value
    if is_tighter_nb(candidate, out["stop_price"], side):
        out["stop_price"] = candidate
        out["stop_reason"] = Reason.GOVERNOR.value
    least = max(min_lots_nb(instrument), 1)
    lots = reduced_lots_nb(position["lots"], rules["streak_reduce"])
    if lots >= least and position["lots"] - lots < least:
        exit_whole_nb(position, Reason.GOVERNOR.value, out)
    elif lots >= least:
        out["action"] = Action.PARTIAL_CLOSE.value
        out["lots"] = lots
    else:
        out["action"] = Action.MOVE_SL.value


@kernel
def leg_lots_nb(position: Record, leg: int, instrument: Record) -> int:
    """Lots that a leg closes: what it was planned to have closed by now, less what is closed already.

    The governor's half can leave less of it than the exchange takes: then it is a leg of zero lots, as in planning.
    What would stay after the leg is what was planned to stay.
    """
    lots = max(position["tp_lots"][leg] - (position["init_lots"] - position["lots"]), 0)
    if lots < min_lots_nb(instrument) and lots < position["lots"]:
        return 0
    return lots


@kernel
def decide_exit_nb(position: Record, point: Record, instrument: Record, params: Record, out: Record) -> None:
    """One cycle: shutdown → guards → decision update → internal stop → governor's half → take profit → hold.

    While an exit is on its way to the exchange nothing is decided. Of the legs the first untriggered one. A stop
    triggers at price <= stop, a leg at price >= target (long), inclusive; both at one point: the stop.
    """
    out["action"] = Action.HOLD_CURRENT.value
    out["reason"] = Reason.NONE.value
    out["leg"] = 0
    out["lots"] = 0
    out["stop_price"] = position["stop_price"]
    out["stop_reason"] = position["stop_reason"]
    out["trail_active"] = position["trail_active"]
    out["peak"] = position["peak"]
    out["breakeven_done"] = position["breakeven_done"]
    out["regime_done"] = position["regime_done"]
    out["seen_regime"] = position["seen_regime"]
    out["plan_ts"] = position["plan_ts"]
    for k in range(LEGS_MAX):
        out["tp_price"][k] = position["tp_price"][k]
    price = point["price"]
    mark = point["mark"]
    if price != price or mark != mark or has_exit_sent_nb(position):
        return
    side = float(position["side"])

    # EMERGENCY_SHUTDOWN: closed anyway, so the reason is the order's
    order = due_order_nb(position, point["ts"])
    if order == GovernorOrder.CLOSE:
        exit_whole_nb(position, Reason.GOVERNOR.value, out)
        return

    # guards, before anything else
    fired = guard_reason_nb(position, point, params["guard"])
    if fired != Reason.NONE:
        exit_whole_nb(position, fired, out)
        return

    # decision update
    moved = update_stop_nb(position, point, instrument, params, out)
    replanned = False
    if is_replan_due_nb(position, point, params):
        replanned = replan_nb(position, point, instrument, params, out)

    # internal stop
    watched = mark if params["exit"]["trigger_price"] == PriceKind.MARK else price
    if side * (watched - out["stop_price"]) <= 0.0:
        exit_whole_nb(position, out["stop_reason"], out)
        return

    # DEFENSIVE_EXIT: what a guard or the stop closes is not halved first
    if order == GovernorOrder.REDUCE:
        reduce_nb(position, point, instrument, params, out)
        return

    # take profits, one leg
    leg = position["next_leg"]
    has_leg = leg < position["n_legs"] and position["leg_waits"] == 0
    if has_leg and side * (price - out["tp_price"][leg]) >= 0.0:
        lots = leg_lots_nb(position, leg, instrument)
        out["leg"] = leg + 1
        out["reason"] = Reason.TP1.value + leg
        if lots >= position["lots"]:
            exit_whole_nb(position, Reason.TP1.value + leg, out)
            return
        out["action"] = Action.PARTIAL_CLOSE.value
        out["lots"] = lots
        return

    if replanned:
        out["action"] = Action.UPDATE_TP_LIMITS.value
        out["reason"] = Reason.REPLAN.value
    elif moved:
        out["action"] = Action.MOVE_SL.value


@kernel
def apply_decision_nb(position: Record, decision: Record) -> None:
    """Move what lives in the program: stop, peak, activations, targets. Quantity and cash wait for the fill."""
    position["stop_price"] = decision["stop_price"]
    position["stop_reason"] = decision["stop_reason"]
    position["trail_active"] = decision["trail_active"]
    position["peak"] = decision["peak"]
    position["breakeven_done"] = decision["breakeven_done"]
    position["regime_done"] = decision["regime_done"]
    position["seen_regime"] = decision["seen_regime"]
    position["stop_moved"] = 0
    if decision["plan_ts"] != position["plan_ts"]:
        position["plan_ts"] = decision["plan_ts"]
        for k in range(LEGS_MAX):
            position["tp_price"][k] = decision["tp_price"][k]
        if position["next_leg"] == 0:
            position["tp1_distance"] = abs(position["tp_price"][0] - position["entry_price"])
    if decision["reason"] == Reason.GOVERNOR:
        position["reduce_after"] = NEVER
        if decision["action"] == Action.FULL_EXIT_NOW:
            position["close_after"] = NEVER


@kernel
def nearer_below_nb(level: float, best: float) -> float:
    """The higher of two levels below the price; NaN is none."""
    if level != level:
        return best
    return max(level, best)


@kernel
def nearer_above_nb(level: float, best: float) -> float:
    """The lower of two levels above the price; NaN is none."""
    if level != level:
        return best
    return min(level, best)


@kernel
def exchange_triggers_nb(position: Record, params: Record) -> tuple[float, float]:
    """Adverse prices at which the exchange acts: (on last, on mark), the nearer of hard stop and liquidation.

    ∓inf where none. For a long the highest below, for a short the lowest above.
    """
    on_mark = position["liq_price"]
    on_last = np.nan
    if params["stops"]["hard_working_type"] == PriceKind.MARK:
        if position["side"] > 0:
            on_mark = nearer_below_nb(position["hard_price"], nearer_below_nb(on_mark, -np.inf))
        else:
            on_mark = nearer_above_nb(position["hard_price"], nearer_above_nb(on_mark, np.inf))
    else:
        on_last = position["hard_price"]
    if position["side"] > 0:
        return nearer_below_nb(on_last, -np.inf), nearer_below_nb(on_mark, -np.inf)
    return nearer_above_nb(on_last, np.inf), nearer_above_nb(on_mark, np.inf)


@kernel
def exchange_band_nb(position: Record, params: Record) -> tuple[float, float, float, float]:
    """(last below, last above, mark below, mark above) of what the exchange does alone."""
    on_last, on_mark = exchange_triggers_nb(position, params)
    if position["side"] > 0:
        return on_last, np.inf, on_mark, np.inf
    return -np.inf, on_last, -np.inf, on_mark


@kernel
def favourable_trigger_nb(position: Record) -> float:
    """Nearest last price in the position's favour at which a cycle acts: next leg, breakeven or trail activation."""
    target = np.nan
    if position["next_leg"] < position["n_legs"] and position["leg_waits"] == 0:
        target = position["tp_price"][position["next_leg"]]
    start = np.nan
    if position["trail_mode"] != TrailMode.OFF and position["trail_active"] == 0:
        start = position["trail_activate_price"]
    breakeven = np.nan
    if position["breakeven_done"] == 0:
        breakeven = position["breakeven_activate_price"]
    if position["side"] > 0:
        return nearer_above_nb(target, nearer_above_nb(start, nearer_above_nb(breakeven, np.inf)))
    return nearer_below_nb(target, nearer_below_nb(start, nearer_below_nb(breakeven, -np.inf)))


@kernel
def nearest_triggers_nb(position: Record, point: Record, params: Record) -> tuple[float, float, float, float]:
    """(last below, last above, mark below, mark above): nothing happens while both prices stay strictly inside.

    point: what is known of age and crash. -inf and inf where there is none. Used to cut the path, to skip quiet bars,
    and to show what comes next.
    """
    if has_exit_sent_nb(position):
        return exchange_band_nb(position, params)
    adverse_last, adverse_mark = exchange_triggers_nb(position, params)
    stop_on_mark = params["exit"]["trigger_price"] == PriceKind.MARK
    favourable = favourable_trigger_nb(position)
    guard = guard_price_nb(position, point, params["guard"])
    if position["side"] > 0:
        adverse_mark = nearer_below_nb(guard, adverse_mark)
        if stop_on_mark:
            adverse_mark = nearer_below_nb(position["stop_price"], adverse_mark)
        else:
            adverse_last = nearer_below_nb(position["stop_price"], adverse_last)
        return adverse_last, favourable, adverse_mark, np.inf
    adverse_mark = nearer_above_nb(guard, adverse_mark)
    if stop_on_mark:
        adverse_mark = nearer_above_nb(position["stop_price"], adverse_mark)
    else:
        adverse_last = nearer_above_nb(position["stop_price"], adverse_last)
    return favourable, adverse_last, -np.inf, adverse_mark
