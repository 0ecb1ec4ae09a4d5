"""One exit cycle in the order of the specification, and the triggers nearest to the price.

`decide_exit_nb` writes a decision and changes nothing else; `apply_decision_nb` moves what lives in the program. Fills
are applied in `accounting.py`.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import Action, PriceKind, Reason, TrailMode
from qtsim.core.guards import loss_guard_fires_nb
from qtsim.core.records import Record
from qtsim.core.stops import is_tighter_nb, tighter_tick_nb
from qtsim.core.trailing import better_price_nb, trail_price_nb, trail_starts_nb


@kernel
def exit_whole_nb(position: Record, reason: int, out: Record) -> None:
    """Decide to close everything that is open."""
    out["action"] = Action.FULL_EXIT_NOW.value
    out["reason"] = reason
    out["lots"] = position["lots"]


@kernel
def update_stop_nb(position: Record, point: Record, instrument: Record, stops: Record, out: Record) -> bool:
    """Decision update: reported ratchet, breakeven, trail. Returns whether the move is a decision of its own.

    Of a trail only its start is a decision; its moves are state.
    """
    side = float(position["side"])
    price = point["price"]
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

    if trail_starts_nb(position, price):
        out["trail_active"] = 1
        out["peak"] = price
        out["reason"] = Reason.TRAIL.value
        reportable = True
    if out["trail_active"] == 1:
        out["peak"] = better_price_nb(out["peak"], price, side)
        if point["volatility_factor"] < stops["trail_suspend_volatility"]:
            candidate = trail_price_nb(position, out["peak"], point["atr"])
            candidate = tighter_tick_nb(candidate, side, instrument)
            if is_tighter_nb(candidate, out["stop_price"], side):
                out["stop_price"] = candidate
                out["stop_reason"] = Reason.TRAIL.value
    return reportable


@kernel
def decide_exit_nb(position: Record, point: Record, instrument: Record, params: Record, out: Record) -> None:
    """One cycle: loss guard → decision update → internal stop → take profit (first untriggered leg) → hold.

    A stop triggers at price <= stop, a leg at price >= target (long), inclusive; both at one point: the stop.
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
    price = point["price"]
    mark = point["mark"]
    if price != price or mark != mark:
        return
    side = float(position["side"])

    # guards, before anything else
    if loss_guard_fires_nb(position, mark):
        exit_whole_nb(position, Reason.LOSS_GUARD.value, out)
        return

    # decision update
    moved = update_stop_nb(position, point, instrument, params["stops"], out)

    # internal stop
    watched = mark if params["exit"]["trigger_price"] == PriceKind.MARK else price
    if side * (watched - out["stop_price"]) <= 0.0:
        exit_whole_nb(position, out["stop_reason"], out)
        return

    # take profits, one leg
    leg = position["next_leg"]
    if leg < position["n_legs"] and side * (price - position["tp_price"][leg]) >= 0.0:
        lots = position["tp_lots"][leg] - (position["init_lots"] - position["lots"])
        out["leg"] = leg + 1
        out["reason"] = Reason.TP1.value + leg
        if lots >= position["lots"]:
            exit_whole_nb(position, Reason.TP1.value + leg, out)
            return
        out["action"] = Action.PARTIAL_CLOSE.value
        out["lots"] = max(lots, 0)
        return

    if moved:
        out["action"] = Action.MOVE_SL.value


@kernel
def apply_decision_nb(position: Record, decision: Record) -> None:
    """Move what lives in the program: internal stop, peak, activations. Quantity and cash wait for the fill."""
    position["stop_price"] = decision["stop_price"]
    position["stop_reason"] = decision["stop_reason"]
    position["trail_active"] = decision["trail_active"]
    position["peak"] = decision["peak"]
    position["breakeven_done"] = decision["breakeven_done"]
    position["stop_moved"] = 0


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
def favourable_trigger_nb(position: Record) -> float:
    """Nearest last price in the position's favour at which a cycle acts: next leg, breakeven or trail activation."""
    target = np.nan
    if position["next_leg"] < position["n_legs"]:
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
def nearest_triggers_nb(position: Record, params: Record) -> tuple[float, float, float, float]:
    """(last below, last above, mark below, mark above): nothing happens while both prices stay strictly inside.

    -inf and inf where there is none. Used to cut the path, to skip quiet bars, and to show what comes next.
    """
    adverse_last, adverse_mark = exchange_triggers_nb(position, params)
    stop_on_mark = params["exit"]["trigger_price"] == PriceKind.MARK
    favourable = favourable_trigger_nb(position)
    if position["side"] > 0:
        adverse_mark = nearer_below_nb(position["loss_price"], adverse_mark)
        if stop_on_mark:
            adverse_mark = nearer_below_nb(position["stop_price"], adverse_mark)
        else:
            adverse_last = nearer_below_nb(position["stop_price"], adverse_last)
        return adverse_last, favourable, adverse_mark, np.inf
    adverse_mark = nearer_above_nb(position["loss_price"], adverse_mark)
    if stop_on_mark:
        adverse_mark = nearer_above_nb(position["stop_price"], adverse_mark)
    else:
        adverse_last = nearer_above_nb(position["stop_price"], adverse_last)
    return favourable, adverse_last, -np.inf, adverse_mark
