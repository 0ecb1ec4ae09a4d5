"""The prices of a position's stops and targets, and how harvested legs ratchet the internal stop."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.costs import BPS
from qtsim.core.enums import ExitPolicy, PlanFlag, RatchetPreset, Reason, TrailMode
from qtsim.core.floats import ceil_to_step_nb, floor_to_step_nb, round_to_step_nb
from qtsim.core.params import LADDER_MAX, LEGS_MAX
from qtsim.core.profit_lock import planned_roe_ratio_nb
from qtsim.core.records import Record

LOCK_AFTER_TP1 = 0.25
LOCK_AFTER_TP2 = 0.75
"""Shares of the first target's distance that preset `lock` secures."""
CONTINUOUS_TICK = 1e-8
"""Share of the entry price that keeps targets apart where prices have no tick."""


@kernel
def tighter_tick_nb(price: float, side: float, instrument: Record) -> float:
    """A stop's price on the tick that loses less: up for a long, down for a short."""
    if side > 0:
        return ceil_to_step_nb(price, instrument["tick_num"], instrument["tick_den"])
    return floor_to_step_nb(price, instrument["tick_num"], instrument["tick_den"])


@kernel
def ratio_price_nb(entry_price: float, side: float, ratio: float) -> float:
    """Price `ratio` in the position's favour (negative: against it); NaN where it is infinite or not positive."""
    if ratio == np.inf or ratio == -np.inf:
        return np.nan
    price = entry_price * (1.0 + side * ratio)
    if price > 0.0:
        return price
    return np.nan


@kernel
def stop_tick_price_nb(entry_price: float, side: float, sl: float, hard: float, instrument: Record) -> float:
    """The internal stop on its tick: the tighter one, and at least one tick inside the hard stop's."""
    stop = tighter_tick_nb(ratio_price_nb(entry_price, side, -sl), side, instrument)
    hard_price = tighter_tick_nb(ratio_price_nb(entry_price, side, -hard), side, instrument)
    if instrument["tick_den"] > 0.0 and side * (stop - hard_price) <= 0.0:
        tick = instrument["tick_num"] / instrument["tick_den"]
        return round_to_step_nb(hard_price + side * tick, instrument["tick_num"], instrument["tick_den"])
    return stop


@kernel
def stop_distance_nb(entry_price: float, side: float, sl: float, hard: float, instrument: Record) -> float:
    """Distance of the internal stop on its tick, a ratio of the entry price; at most `sl`, on coarse ticks even 0."""
    stop = stop_tick_price_nb(entry_price, side, sl, hard, instrument)
    if instrument["tick_den"] == 0.0 or stop != stop:
        return sl
    return min(sl, side * (entry_price - stop) / entry_price)


@kernel
def is_tighter_nb(candidate: float, stop_price: float, side: float) -> bool:
    """Does `candidate` loosen nothing and tighten something? A missing stop is the loosest."""
    if candidate != candidate:
        return False
    if stop_price != stop_price:
        return True
    return side * (candidate - stop_price) > 0.0


@kernel
def place_targets_nb(position: Record, plan: Record, first: int, instrument: Record, out: Record) -> int:
    """Write the prices of the legs from `first` on into out.tp_price; returns LEGS_PUSHED or NONE.

    On the nearest tick, beyond the entry and at least one tick apart; a collapsed leg is pushed outward.
    """
    side = float(position["side"])
    num = instrument["tick_num"]
    den = instrument["tick_den"]
    flags = PlanFlag.NONE.value
    apart = num / den if den > 0.0 else CONTINUOUS_TICK * position["entry_price"]
    previous = tighter_tick_nb(position["entry_price"], -side, instrument)  # the last tick not beyond the entry
    for k in range(first):
        if out["tp_price"][k] > 0.0:
            previous = out["tp_price"][k]
    for k in range(first, plan["n_legs"]):
        out["tp_price"][k] = np.nan
        price = round_to_step_nb(ratio_price_nb(position["entry_price"], side, plan["tp"][k]), num, den)
        if side * (price - previous) <= 0.0:
            price = round_to_step_nb(previous + side * apart, num, den)
            flags = PlanFlag.LEGS_PUSHED.value
        if price > 0.0:
            out["tp_price"][k] = price
            previous = price
    return flags


@kernel
def set_target_prices_nb(position: Record, plan: Record, instrument: Record) -> None:
    """The prices of all legs of a plan, from the real entry price."""
    for k in range(LEGS_MAX):
        position["tp_price"][k] = np.nan
    position["flags"] |= place_targets_nb(position, plan, 0, instrument, position)
    position["tp1_distance"] = abs(position["tp_price"][0] - position["entry_price"])


@kernel
def breakeven_ratio_nb(plan: Record, params: Record) -> float:
    """Where a breakeven puts the stop, a ratio beyond the entry price.

    With the fee buffer a plain breakeven's round trip on top; under profit_lock where the return on margin is 0.
    """
    if params["exit"]["policy"] == ExitPolicy.PROFIT_LOCK:
        return planned_roe_ratio_nb(0.0, plan, params)
    if params["stops"]["ratchet_fee_buffer"] == 1:
        return 2.0 * params["costs"]["fees_taker"] + plan["slippage"]
    return 0.0


@kernel
def backup_price_nb(position: Record, instrument: Record, stops: Record) -> float:
    """Limit of the backup stop: `limit_offset_bps` beyond the hard stop, on the tick that loses more; NaN none."""
    if stops["backup_enabled"] == 0:
        return np.nan
    side = float(position["side"])
    price = position["hard_price"] * (1.0 - side * stops["backup_limit_offset_bps"] * BPS)
    return tighter_tick_nb(price, -side, instrument)


@kernel
def set_stop_prices_nb(position: Record, plan: Record, instrument: Record, params: Record) -> None:
    """Internal stop, hard stop with its backup, and where breakeven puts the stop, from the real entry price."""
    side = float(position["side"])
    entry = position["entry_price"]
    position["stop_price"] = stop_tick_price_nb(entry, side, plan["sl"], plan["hard"], instrument)
    position["init_stop_price"] = position["stop_price"]
    position["stop_reason"] = Reason.STOP.value
    position["stop_moved"] = 0
    position["hard_price"] = tighter_tick_nb(ratio_price_nb(entry, side, -plan["hard"]), side, instrument)
    position["backup_price"] = backup_price_nb(position, instrument, params["stops"])
    breakeven = ratio_price_nb(entry, side, breakeven_ratio_nb(plan, params))
    position["breakeven_price"] = tighter_tick_nb(breakeven, side, instrument)


@kernel
def breakeven_activation_nb(plan: Record, params: Record) -> float:
    """Profit, a ratio of the entry price, at which the stop goes to breakeven; inf never."""
    if params["exit"]["policy"] == ExitPolicy.LEGACY:
        return params["exit"]["legacy_breakeven"]
    if params["exit"]["policy"] == ExitPolicy.PROFIT_LOCK:
        return planned_roe_ratio_nb(params["exit"]["profit_lock_breakeven"], plan, params)
    return params["stops"]["breakeven_activate"]


@kernel
def trail_activation_nb(plan: Record, params: Record) -> float:
    """Profit, a ratio of the entry price, at which the trail starts, or the ladder's first rung is reached."""
    if plan["trail_mode"] == TrailMode.LADDER:
        return planned_roe_ratio_nb(params["exit"]["profit_lock_ladder"][0, 0], plan, params)
    if params["exit"]["policy"] == ExitPolicy.LEGACY:
        return params["exit"]["legacy_trail_activate"]
    return params["stops"]["trail_activate"]


@kernel
def set_ladder_prices_nb(position: Record, plan: Record, params: Record) -> None:
    """profit_lock: where its return on margin is 0, and where each rung of the ladder begins."""
    side = float(position["side"])
    entry = position["entry_price"]
    position["net_price"] = ratio_price_nb(entry, side, planned_roe_ratio_nb(0.0, plan, params))
    for k in range(LADDER_MAX):
        rung = planned_roe_ratio_nb(params["exit"]["profit_lock_ladder"][k, 0], plan, params)
        position["rung_price"][k] = ratio_price_nb(entry, side, rung)


@kernel
def clear_engine_prices_nb(position: Record) -> None:
    """Nothing but fixed levels is watched."""
    position["breakeven_activate_price"] = np.nan
    position["trail_activate_price"] = np.nan
    position["trail_mode"] = TrailMode.OFF.value
    position["net_price"] = np.nan
    for k in range(LADDER_MAX):
        position["rung_price"][k] = np.nan


@kernel
def set_engine_prices_nb(position: Record, plan: Record, params: Record) -> None:
    """What only the exit engine watches: breakeven and trail activation, the ladder."""
    side = float(position["side"])
    entry = position["entry_price"]
    position["breakeven_activate_price"] = ratio_price_nb(entry, side, breakeven_activation_nb(plan, params))
    position["trail_mode"] = plan["trail_mode"]
    position["trail_multiple"] = plan["trail_multiple"]
    position["trail_distance"] = plan["trail_distance"]
    position["trail_activate_price"] = np.nan
    if plan["trail_mode"] != TrailMode.OFF:
        position["trail_activate_price"] = ratio_price_nb(entry, side, trail_activation_nb(plan, params))
    if plan["trail_mode"] == TrailMode.LADDER:
        set_ladder_prices_nb(position, plan, params)


@kernel
def ratchet_price_nb(position: Record, legs_hit: int, instrument: Record, stops: Record) -> float:
    """Where the ratchet wants the stop after `legs_hit` legs; NaN: nowhere.

    breakeven: entry (with the fee buffer), the TP1 price, the TP2 price. lock: entry + 0.25 and + 0.75 of the first
    target's distance, then the TP2 price.
    """
    preset = stops["ratchet_preset"]
    if preset == RatchetPreset.OFF or legs_hit <= 0:
        return np.nan
    if legs_hit >= 3:
        return position["tp_price"][1]
    side = float(position["side"])
    if preset == RatchetPreset.BREAKEVEN:
        if legs_hit == 1:
            return position["breakeven_price"]
        return position["tp_price"][0]
    share = LOCK_AFTER_TP1 if legs_hit == 1 else LOCK_AFTER_TP2
    return tighter_tick_nb(position["entry_price"] + side * share * position["tp1_distance"], side, instrument)


@kernel
def ratchet_stop_nb(position: Record, instrument: Record, stops: Record) -> None:
    """Tighten the internal stop after a leg; it never loosens."""
    candidate = ratchet_price_nb(position, position["next_leg"], instrument, stops)
    if is_tighter_nb(candidate, position["stop_price"], float(position["side"])):
        position["stop_price"] = candidate
        position["stop_reason"] = Reason.RATCHET.value
        position["stop_moved"] = 1
