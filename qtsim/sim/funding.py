"""Funding on the path of a run: when it is due, at which mark, and who is charged."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.sim.market import NO_BAR, Book, Journal, Tape
from qtsim.sim.steps import charge_funding_nb


@kernel
def opens_at_nb(tape: Tape, book: Book, i: int, ts: int) -> bool:
    """Does the symbol's next bar open at `ts`, or is its next trade then?"""
    row = book.slots[i]["next_bar"]
    if row >= book.slots[i]["bars_end"]:
        return False
    opens = tape.trade_times[row] if tape.path_ns == 0 else tape.bars[row]["ts_open"]
    return opens == ts


@kernel
def next_funding_time_nb(tape: Tape, book: Book, first: int, last: int, end: int) -> int:
    """Time of the earliest funding event before `end` not charged yet; `end` where there is none."""
    earliest = end
    i = book.awake[first]
    while i < last:
        row = book.slots[i]["next_funding"]
        if row < book.slots[i]["funding_end"]:
            earliest = min(earliest, tape.funding[row]["ts"])
        i = book.awake[i + 1]
    return earliest


@kernel
def charge_slot_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int) -> None:
    """Charge one slot every funding event at or before `ts`, on the last mark known, if it was open before."""
    while book.slots[i]["next_funding"] < book.slots[i]["funding_end"]:
        row = book.slots[i]["next_funding"]
        if tape.funding[row]["ts"] > ts:
            return
        if book.positions[i]["entry_ts"] < tape.funding[row]["ts"]:
            charge_funding_nb(tape, book, journal, i, row, book.points[i]["mark"])
        book.slots[i]["next_funding"] += 1


@kernel
def charge_due_funding_nb(tape: Tape, book: Book, journal: Journal, first: int, last: int, ts: int) -> None:
    """Charge every funding event at or before `ts`, in name order, to what was open before."""
    i = book.awake[first]
    while i < last:
        charge_slot_nb(tape, book, journal, i, ts)
        i = book.awake[i + 1]


@kernel
def mark_funding_price_nb(tape: Tape, book: Book, i: int, ts: int) -> None:
    """At a boundary the mark of a funding is the mark bar's open where there is mark history."""
    if book.slots[i]["has_mark"] == 1 and opens_at_nb(tape, book, i, ts):
        row = book.slots[i]["next_bar"]
        mark = tape.trade_marks[row] if tape.path_ns == 0 else tape.bars[row]["mark_open"]
        if mark == mark:
            book.points[i]["mark"] = mark


@kernel
def charge_at_boundary_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, in_bars: bool) -> None:
    """Charge one slot what is due at boundary `ts`."""
    row = book.slots[i]["next_funding"]
    if row >= book.slots[i]["funding_end"] or tape.funding[row]["ts"] > ts:
        return
    if in_bars and book.slots[i]["bar"] == NO_BAR:
        return
    kept = book.points[i]["mark"]
    mark_funding_price_nb(tape, book, i, ts)
    charge_slot_nb(tape, book, journal, i, ts)
    book.points[i]["mark"] = kept


@kernel
def charge_boundary_funding_nb(
    tape: Tape, book: Book, journal: Journal, first: int, last: int, ts: int, in_bars: bool
) -> None:
    """Charge funding due at boundary `ts` to the open positions of symbols [first, last).

    in_bars: only symbols whose bar ends now; one in a gap has no last point that funding could precede.
    """
    i = book.awake[first]
    while i < last:
        charge_at_boundary_nb(tape, book, journal, i, ts, in_bars)
        i = book.awake[i + 1]
