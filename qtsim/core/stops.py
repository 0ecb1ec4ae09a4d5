"""The prices of a position's stops and targets, and how harvested legs ratchet the internal stop."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import LossBasis, PlanFlag, RatchetPreset, Reason
from qtsim.core.floats import ceil_to_step_nb, floor_to_step_nb, round_to_step_nb
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
def set_target_prices_nb(position: Record, plan: Record, instrument: Record) -> None:
    """Targets on the nearest tick, beyond the entry and at least one tick apart; a collapsed leg is pushed outward."""
    side = float(position["side"])
    num = instrument["tick_num"]
    den = instrument["tick_den"]
    for k in range(3):
        position["tp_price"][k] = np.nan
    apart = num / den if den > 0.0 else CONTINUOUS_TICK * position["entry_price"]
    previous = tighter_tick_nb(position["entry_price"], -side, instrument)  # the last tick not beyond the entry
    for k in range(plan["n_legs"]):
        price = round_to_step_nb(ratio_price_nb(position["entry_price"], side, plan["tp"][k]), num, den)
        if side * (price - previous) <= 0.0:
            price = round_to_step_nb(previous + side * apart, num, den)
            position["flags"] |= PlanFlag.LEGS_PUSHED.value
        if price > 0.0:
            position["tp_price"][k] = price
            previous = price


@kernel
def set_stop_prices_nb(position: Record, plan: Record, instrument: Record, params: Record) -> None:
    """Internal stop, hard stop, breakeven, activations and the loss guard's price, from the real entry price."""
    side = float(position["side"])
    entry = position["entry_price"]
    stops = params["stops"]
    position["stop_price"] = stop_tick_price_nb(entry, side, plan["sl"], plan["hard"], instrument)
    position["init_stop_price"] = position["stop_price"]
    position["stop_reason"] = Reason.STOP.value
    position["stop_moved"] = 0
    position["hard_price"] = tighter_tick_nb(ratio_price_nb(entry, side, -plan["hard"]), side, instrument)
    buffer = 0.0
    if stops["ratchet_fee_buffer"] == 1:
        buffer = 2.0 * params["costs"]["fees_taker"] + plan["slippage"]
    position["breakeven_price"] = tighter_tick_nb(ratio_price_nb(entry, side, buffer), side, instrument)


@kernel
def set_engine_prices_nb(position: Record, plan: Record, params: Record) -> None:
    """What only the exit engine watches: breakeven and trail activation, the loss guard."""
    side = float(position["side"])
    entry = position["entry_price"]
    stops = params["stops"]
    guard = params["guard"]
    position["breakeven_activate_price"] = ratio_price_nb(entry, side, stops["breakeven_activate"])
    position["trail_mode"] = plan["trail_mode"]
    position["trail_multiple"] = plan["trail_multiple"]
    position["trail_distance"] = plan["trail_distance"]
    position["trail_activate_price"] = np.nan
    if plan["trail_mode"] != 0:
        position["trail_activate_price"] = ratio_price_nb(entry, side, stops["trail_activate"])
    share = guard["loss_max"]
    if guard["loss_basis"] == LossBasis.MARGIN:
        share = share / position["leverage"]
    position["loss_price"] = ratio_price_nb(entry, side, -share)


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
