"""The entry order of a slot while it is not filled: how much of it is still to come, and what it reserves until then.

It is kept in the position's record, of which it becomes part as it is filled.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.costs import BPS, fee_nb
from qtsim.core.enums import OrderType, Reason, Rule, Side, Working
from qtsim.core.floats import ceil_to_step_nb, floor_to_step_nb, round_to_step_nb
from qtsim.core.records import NOT_YET, Record, Records

CONTINUOUS_TICK = 1e-8
"""Share of a limit by which the price must pass it where prices have no tick."""


@kernel
def is_working_nb(position: Record) -> bool:
    """Is an order of the slot on its way to the exchange, or does one stand there that is not filled whole?"""
    return position["working"] != Working.NONE


@kernel
def has_entry_order_nb(position: Record) -> bool:
    """Is there an entry order that is not filled whole?"""
    return position["working"] & Working.ENTRY.value != 0


@kernel
def limit_price_nb(close: float, side: int, instrument: Record, entry: Record) -> float:
    """Limit of an entry: `limit_offset_bps` better than the signal's close, on the better tick; NaN at market."""
    if entry["order_type"] == OrderType.MARKET:
        return np.nan
    price = close * (1.0 - side * entry["order_limit_offset_bps"] * BPS)
    if side > 0:
        return floor_to_step_nb(price, instrument["tick_num"], instrument["tick_den"])
    return ceil_to_step_nb(price, instrument["tick_num"], instrument["tick_den"])


@kernel
def through_price_nb(limit: float, side: int, instrument: Record) -> float:
    """The first price beyond a limit: one tick better. A price at the limit touches it and fills nothing."""
    num = instrument["tick_num"]
    den = instrument["tick_den"]
    if den == 0.0:
        return limit * (1.0 - side * CONTINUOUS_TICK)
    return round_to_step_nb(limit - side * num / den, num, den)


@kernel
def is_limit_nb(position: Record) -> bool:
    """Is the entry order one with a limit?"""
    return position["order_price"] == position["order_price"]


@kernel
def limit_or_zero_nb(position: Record) -> float:
    """The entry order's limit; 0 at market."""
    return position["order_price"] if is_limit_nb(position) else 0.0


@kernel
def is_reached_nb(position: Record, price: float) -> bool:
    """Does a price fill the entry order? A market order at any price, a limit only beyond it."""
    return not is_limit_nb(position) or position["order_side"] * (price - position["order_trigger"]) <= 0.0


@kernel
def rests_nb(position: Record) -> bool:
    """Does a limit entry stand in the exchange's book?"""
    return has_entry_order_nb(position) and is_limit_nb(position) and position["order_rests"] == 1


@kernel
def makes_nb(position: Record) -> bool:
    """Does the limit entry fill as a maker, at its own price? Not one that was through when it was placed."""
    return rests_nb(position) and position["order_takes"] == 0


@kernel
def stand_in_book_nb(position: Record, was_reached: bool) -> None:
    """After its first look at the market a limit entry stands in the book, with what is left of it."""
    if was_reached and position["order_rests"] == 0:
        position["order_takes"] = 1
    position["order_rests"] = 1


@kernel
def is_in_reach_nb(position: Record, bar: Record) -> bool:
    """Does a bar trade through the limit entry that stands in the book?"""
    if not rests_nb(position):
        return False
    if position["order_side"] > 0:
        return bar["low"] <= position["order_trigger"]
    return bar["high"] >= position["order_trigger"]


@kernel
def place_order_nb(
    position: Record,
    plan: Record,
    trade_id: int,
    row: int,
    ts: int,
    timeframe_ns: int,
    instrument: Record,
    entry: Record,
) -> None:
    """An entry order for the whole plan, sent at `ts`. row: of its signal; timeframe_ns: of the signals' bars."""
    position["working"] |= Working.ENTRY.value
    position["path_doubt"] = 0
    position["order_price"] = plan["limit_price"]
    position["order_trigger"] = through_price_nb(plan["limit_price"], plan["side"], instrument)
    position["order_travels"] = 0
    position["order_rests"] = 0
    position["order_takes"] = 0
    position["order_until"] = NOT_YET
    if is_limit_nb(position):
        position["order_until"] = ts + entry["order_timeout_bars"] * timeframe_ns
    position["order_side"] = plan["side"]
    position["order_id"] = trade_id
    position["order_bar"] = row
    position["order_lots"] = plan["lots"]
    position["order_filled"] = 0
    position["order_notional"] = plan["notional"]
    position["order_margin"] = plan["margin"]


@kernel
def take_part_nb(position: Record, plan: Record, lots: int) -> None:
    """`lots` of the order have been filled: the rest reserves its share of the plan; nothing left ends the order."""
    position["order_filled"] += lots
    position["order_lots"] -= lots
    if position["order_lots"] == 0:
        end_order_nb(position)
        return
    left = position["order_lots"] / plan["lots"]
    position["order_notional"] = plan["notional"] * left
    position["order_margin"] = plan["margin"] * left


@kernel
def end_order_nb(position: Record) -> None:
    """Nothing more of the entry order will be filled; it reserves nothing."""
    if not has_entry_order_nb(position):
        return
    position["working"] ^= Working.ENTRY.value
    position["order_lots"] = 0
    position["order_notional"] = 0.0
    position["order_margin"] = 0.0


@kernel
def waits_unfilled_nb(position: Record) -> bool:
    """Is there an entry order of which nothing has been filled?"""
    return has_entry_order_nb(position) and position["order_filled"] == 0


@kernel
def order_reserve_nb(position: Record, costs: Record) -> float:
    """Margin and fee that an entry order will still take, quote."""
    return position["order_margin"] + fee_nb(position["order_notional"], costs["fees_taker"])


@kernel
def reserved_nb(positions: Records, costs: Record) -> float:
    """What all entry orders will still take, summed in symbol order."""
    total = 0.0
    for i in range(len(positions)):
        if has_entry_order_nb(positions[i]):
            total += order_reserve_nb(positions[i], costs)
    return total


@kernel
def committed_side_nb(position: Record) -> int:
    """The side that is open, or that an entry order will open; NONE."""
    if position["side"] != Side.NONE or not has_entry_order_nb(position):
        return position["side"]
    return position["order_side"]


@kernel
def note_placed_nb(account: Record, position: Record) -> None:
    """Count a limit entry."""
    if is_limit_nb(position):
        account["limits_placed"] += 1


@kernel
def note_filled_nb(account: Record, position: Record) -> None:
    """Count a limit entry of which the first part is filled."""
    if is_limit_nb(position) and position["order_filled"] == 0:
        account["limits_filled"] += 1


@kernel
def note_dropped_nb(account: Record, position: Record, rule: int) -> None:
    """Count a limit entry that ends without a fill."""
    if not is_limit_nb(position) or position["order_filled"] > 0:
        return
    if rule == Rule.ORDER_TIMED_OUT:
        account["limits_timed_out"] += 1
    else:
        account["limits_cancelled"] += 1


@kernel
def is_travelling_nb(position: Record) -> bool:
    """Is the entry order on its way to the exchange?"""
    return has_entry_order_nb(position) and position["order_travels"] == 1


@kernel
def travels_at_market_nb(position: Record) -> bool:
    """Is a market entry on its way? Nothing calls it back."""
    return is_travelling_nb(position) and not is_limit_nb(position)


@kernel
def send_entry_nb(position: Record, at: int) -> None:
    """The entry order reaches the exchange at `at`, ns."""
    position["order_travels"] = 1
    position["order_at"] = at


@kernel
def send_exit_nb(position: Record, lots: int, reason: int, is_leg: int, at: int) -> None:
    """An exit of `lots` reaches the exchange at `at`, ns; it takes the place of a leg on its way.

    An entry that is still being filled ends.
    """
    end_order_nb(position)
    position["working"] |= Working.EXIT.value
    position["exit_lots"] = lots
    position["exit_reason"] = reason
    position["exit_is_leg"] = is_leg
    position["exit_at"] = at


@kernel
def has_exit_sent_nb(position: Record) -> bool:
    """Is an exit on its way to the exchange?"""
    return position["working"] & Working.EXIT.value != 0


@kernel
def leaves_whole_nb(position: Record) -> bool:
    """Is an exit of all that is open on its way?"""
    return has_exit_sent_nb(position) and position["exit_lots"] >= position["lots"]


@kernel
def is_reversing_nb(position: Record) -> bool:
    """Is the closing half of a reversal on its way? The other half waits for its fill."""
    return has_exit_sent_nb(position) and position["exit_reason"] == Reason.REVERSE


@kernel
def land_exit_nb(position: Record) -> int:
    """The exit has reached the exchange: lots that it finds open there. Reduce-only: no more than there are."""
    position["working"] ^= Working.EXIT.value
    return min(position["exit_lots"], position["lots"])


@kernel
def next_arrival_nb(position: Record) -> int:
    """When the next of the slot's orders reaches the exchange, ns; NOT_YET where none is on its way."""
    at = NOT_YET
    if has_exit_sent_nb(position):
        at = min(at, position["exit_at"])
    if has_stop_due_nb(position):
        at = min(at, position["hard_at"])
    if is_travelling_nb(position):
        at = min(at, position["order_at"])
    return at


@kernel
def withhold_stop_nb(position: Record, at: int) -> None:
    """The hard stop is not placed yet: it stands at the exchange from `at` on, NOT_YET where nobody knows when."""
    if position["hard_price"] != position["hard_price"]:
        return
    position["hard_due_price"] = position["hard_price"]
    position["hard_price"] = np.nan
    position["hard_at"] = at
    position["working"] |= Working.STOP.value


@kernel
def has_stop_due_nb(position: Record) -> bool:
    """Is there a hard stop that is not placed yet?"""
    return position["working"] & Working.STOP.value != 0


@kernel
def rest_stop_nb(position: Record) -> None:
    """The hard stop stands at the exchange from now on."""
    position["hard_price"] = position["hard_due_price"]
    position["working"] ^= Working.STOP.value


@kernel
def asks_otherwise_nb(position: Record, signal: Record) -> bool:
    """Does a signal ask for the other side of an entry order, or to leave its own?"""
    side = position["order_side"]
    asks_exit = signal["exit_long"] if side > 0 else signal["exit_short"]
    return side * (signal["long"] - signal["short"]) < 0 or asks_exit == 1
