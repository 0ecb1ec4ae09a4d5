"""Bringing every slot that sleeps to where the others stand: something has just happened to all of them.

An order of the governor to close or to reduce reaches each position at its first point after it, in the same bar.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.records import NEVER, Record
from qtsim.sim.asleep import BEFORE_BOUNDARY, note_awake_nb, quiet_order_nb
from qtsim.sim.boundary import close_bar_nb, hear_signal_nb, open_bar_nb
from qtsim.sim.catch_up import catch_up_nb, pass_funding_nb
from qtsim.sim.market import ASLEEP, CURSOR, NO_BAR, PLACE_TS, ROUSES, SEGMENT, SHARE, Book, Journal, Tape
from qtsim.sim.paths import segment_time_nb, unfold_bar_nb
from qtsim.sim.settle import settle_point_nb, stand_at_nb


@kernel
def walk_quietly_nb(tape: Tape, book: Book, journal: Journal, i: int, b: int, params: Record) -> None:
    """Let a slot that has caught up before boundary `b` do what it would have done since, of which nothing came."""
    slot = book.slots[i]
    ts = tape.boundaries[b]
    slot["looked"] = 0
    pass_funding_nb(tape, slot, ts)
    close_bar_nb(tape, book, journal, i, ts, params)
    open_bar_nb(tape, book, i, ts, params)
    settle_point_nb(tape, book, journal, ts, i, i + 1, True, params)
    hear_signal_nb(book, i)
    slot["acting"] = NO_BAR  # what its signal asked for has been refused
    if slot["bar"] == NO_BAR:
        return
    bar = tape.bars[slot["bar"]]
    unfold_bar_nb(bar, quiet_order_nb(bar, params), slot["has_mark"] == 1, slot["prices"], slot["marks"])
    slot["share"] = 0.0
    segment = int(book.place[SEGMENT])
    share = book.place[SHARE]
    for k in range(segment + 1):
        is_last = k == segment
        end = segment_time_nb(ts, tape.boundaries[b + 1] - ts, k + 1)
        if not is_last or share == 1.0:
            stand_at_nb(slot, book.points[i], k, 1.0, end)
            settle_point_nb(tape, book, journal, end, i, i + 1, True, params)
        elif share > 0.0:
            stand_at_nb(slot, book.points[i], k, share, book.counters[PLACE_TS])


@kernel
def rouse_nb(tape: Tape, book: Book, journal: Journal, params: Record) -> None:
    """Wake every slot where the others stand, in the boundary that is being visited or the bar after it."""
    book.counters[ROUSES] = 0
    if book.counters[ASLEEP] == 0:
        return
    b = book.counters[CURSOR]
    for i in range(len(book.sleeps)):
        if book.sleeps[i]["asleep"] == 0:
            continue
        catch_up_nb(tape, book, i, b, params)
        book.awake[i] = i
        if book.place[SEGMENT] == BEFORE_BOUNDARY:
            pass_funding_nb(tape, book.slots[i], tape.boundaries[b])
            continue
        # what has just been ordered was not yet on the way here
        reduce_after = book.positions[i]["reduce_after"]
        close_after = book.positions[i]["close_after"]
        book.positions[i]["reduce_after"] = NEVER
        book.positions[i]["close_after"] = NEVER
        walk_quietly_nb(tape, book, journal, i, b, params)
        book.positions[i]["reduce_after"] = reduce_after
        book.positions[i]["close_after"] = close_after
    note_awake_nb(book)
