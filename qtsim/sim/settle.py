"""One point of the path: each step over all symbols that are awake before the next."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import set_point_nb
from qtsim.core.enums import MarginMode, Monitoring, Reason, Side, Working
from qtsim.core.orders import is_working_nb
from qtsim.core.records import Record, Records
from qtsim.sim.entries import arrive_nb, meet_order_nb
from qtsim.sim.market import NO_BAR, Book, Journal, Tape
from qtsim.sim.paths import check_interval_nb, next_multiple_nb, on_segment_nb
from qtsim.sim.steps import (
    act_for_exchange_nb,
    check_account_nb,
    decide_cycle_nb,
    is_observable_nb,
    meets_exchange_nb,
    obey_decision_nb,
    run_cycles_nb,
)


@kernel
def stand_at_nb(slot: Record, point: Record, segment: int, share: float, ts: int) -> None:
    """Move a symbol's observation to a share of the segment."""
    slot["share"] = share
    price = on_segment_nb(slot["prices"][segment], slot["prices"][segment + 1], share)
    mark = on_segment_nb(slot["marks"][segment], slot["marks"][segment + 1], share)
    set_point_nb(point, ts, price, mark)


@kernel
def begin_cycles_nb(slot: Record, ts: int, params: Record) -> None:
    """Of a position opened at `ts` inside a bar the clock's first cycle is the next one."""
    slot["next_cycle"] = next_multiple_nb(ts, check_interval_nb(params))


@kernel
def is_active_nb(position: Record) -> bool:
    """Is anything open, or does an order stand?"""
    return position["side"] != Side.NONE or is_working_nb(position)


@kernel
def any_open_nb(positions: Records) -> bool:
    """Does any slot hold a position?"""
    for i in range(len(positions)):
        if positions[i]["side"] != Side.NONE:
            return True
    return False


@kernel
def any_active_nb(book: Book, first: int, last: int) -> bool:
    """Does any slot of [first, last) that is awake hold a position or an order?"""
    i = book.awake[first]
    while i < last:
        if is_active_nb(book.positions[i]):
            return True
        i = book.awake[i + 1]
    return False


@kernel
def any_working_nb(book: Book, first: int, last: int) -> bool:
    """Does any slot of [first, last) that is awake have an order that stands or travels?"""
    working = 0
    i = book.awake[first]
    while i < last:
        working |= book.positions[i]["working"]
        i = book.awake[i + 1]
    return working != Working.NONE


@kernel
def meet_orders_at_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """Of one slot, orders arrive, and one that stands is met. A position so opened has no cycle here."""
    book.slots[i]["is_new"] = 0
    if not is_working_nb(book.positions[i]) or book.slots[i]["bar"] == NO_BAR:
        return
    was_open = book.positions[i]["side"] != Side.NONE
    price = book.points[i]["price"]
    arrive_nb(tape, book, journal, i, params)
    if price == price:
        meet_order_nb(tape, book, journal, i, params)
    if not was_open and book.positions[i]["side"] != Side.NONE:
        book.slots[i]["is_new"] = 1
        begin_cycles_nb(book.slots[i], book.points[i]["ts"], params)


@kernel
def meet_orders_nb(tape: Tape, book: Book, journal: Journal, first: int, last: int, params: Record) -> None:
    """At one point, orders arrive, and those that stand are met."""
    i = book.awake[first]
    while i < last:
        meet_orders_at_nb(tape, book, journal, i, params)
        i = book.awake[i + 1]


@kernel
def ask_exchange_nb(
    tape: Tape, book: Book, journal: Journal, first: int, last: int, wanted: int, params: Record
) -> None:
    """At one point, let the exchange do `wanted` (LIQUIDATION or HARD_STOP) wherever it would."""
    i = book.awake[first]
    while i < last:
        if book.slots[i]["bar"] != NO_BAR and meets_exchange_nb(
            book.positions[i], book.points[i], book.counters, wanted, params
        ):
            act_for_exchange_nb(tape, book, journal, i, wanted, params)
        i = book.awake[i + 1]


@kernel
def look_at_point_nb(
    tape: Tape, book: Book, journal: Journal, i: int, ts: int, meets: bool, once: bool, params: Record
) -> None:
    """The exit cycles of one slot at one point."""
    if book.slots[i]["bar"] == NO_BAR and not (once and tape.path_ns == 0):
        return
    position = book.positions[i]
    point = book.points[i]
    if book.slots[i]["bar"] == NO_BAR and position["side"] != Side.NONE:
        # between trades the last one's price stands, now
        set_point_nb(point, ts, point["price"], point["mark"])
    if meets and book.slots[i]["is_new"] == 1:
        return
    if not is_observable_nb(position, point, book.counters):
        return
    if decide_cycle_nb(position, point, tape.instruments[i], book.decision[0], book.counters, params):
        obey_decision_nb(tape, book, journal, i, params)
        if not once:
            run_cycles_nb(tape, book, journal, i, False, params)
    else:
        book.slots[i]["looked"] = 1


@kernel
def settle_point_nb(
    tape: Tape, book: Book, journal: Journal, ts: int, first: int, last: int, cycles: bool, params: Record
) -> None:
    """At one point, each step over all symbols before the next: liquidation, exchange stops, exit cycles."""
    if not any_active_nb(book, first, last):
        return
    ask_exchange_nb(tape, book, journal, first, last, Reason.LIQUIDATION.value, params)
    if params["account"]["mode_margin"] == MarginMode.CROSS:
        check_account_nb(tape, book, journal, first, last, params)
    ask_exchange_nb(tape, book, journal, first, last, Reason.HARD_STOP.value, params)
    meets = any_working_nb(book, first, last)
    if meets:
        meet_orders_nb(tape, book, journal, first, last, params)
    if not cycles or book.governor[0]["blind"] == 1:
        return
    once = params["exit"]["monitoring"] == Monitoring.INTERVAL
    i = book.awake[first]
    while i < last:
        look_at_point_nb(tape, book, journal, i, ts, meets, once, params)
        i = book.awake[i + 1]
