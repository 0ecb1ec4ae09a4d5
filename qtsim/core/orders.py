"""The entry order of a slot while it is not filled: how much of it is still to come, and what it reserves until then.

It is kept in the position's record, of which it becomes part as it is filled.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.costs import fee_nb
from qtsim.core.enums import Side, Working
from qtsim.core.records import Record, Records


@kernel
def is_working_nb(position: Record) -> bool:
    """Is an order of the slot on its way to the exchange, or does one stand there that is not filled whole?"""
    return position["working"] != Working.NONE


@kernel
def has_entry_order_nb(position: Record) -> bool:
    """Is there an entry order that is not filled whole?"""
    return position["working"] & Working.ENTRY.value != 0


@kernel
def place_order_nb(position: Record, plan: Record, trade_id: int, row: int) -> None:
    """An entry order for the whole plan. row: of its signal."""
    position["working"] |= Working.ENTRY.value
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
def asks_otherwise_nb(position: Record, signal: Record) -> bool:
    """Does a signal ask for the other side of an entry order, or to leave its own?"""
    side = position["order_side"]
    asks_exit = signal["exit_long"] if side > 0 else signal["exit_short"]
    return side * (signal["long"] - signal["short"]) < 0 or asks_exit == 1
