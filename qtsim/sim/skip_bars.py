"""Passing over boundaries at which nothing can happen. The plain steps are the reference, byte for byte.

Slots that are quiet fall asleep (`quiet.py`). While all sleep, boundaries are passed over in stretches: bounded by what
is due to the whole account at a known time, by the first slot that has to wake, then by the equity, far enough above
what the governor acts on. What quiet boundaries change of the account: the equity at each, what the governor remembers,
and a denial for each request that nothing can come of. What they change of a slot it catches up with when it wakes.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core._prefetch import ask_for
from qtsim.core.enums import FillAt, MarginMode, Monitoring, Side
from qtsim.core.records import Record, Records
from qtsim.core.safety_governor import LOOK_BACK_NS, remember_evaluation_nb
from qtsim.core.slots import NO_SLOT
from qtsim.sim.asleep import mark_before_nb, note_awake_nb
from qtsim.sim.catch_up import catch_up_all_nb, catch_up_nb, count_before_nb, is_walking_nb
from qtsim.sim.curve import (
    HELD,
    NO_ROW,
    STRETCHES,
    Curve,
    has_curve_room_nb,
    mark_held_nb,
)
from qtsim.sim.due import NEVER_DUE, due_time_nb, equity_floor_nb
from qtsim.sim.index import BLOCK, HIGHEST_CLOSE, LOWEST_CLOSE
from qtsim.sim.market import (
    ASLEEP,
    DENIALS,
    GAP,
    REFUSALS,
    ROUSES,
    Book,
    Floats,
    Journal,
    Tape,
)
from qtsim.sim.quiet import is_account_idle_nb, quiet_boundaries_nb
from qtsim.sim.requests import refuse_asleep_nb
from qtsim.sim.settle import any_open_nb

SECOND_NS = 1_000_000_000
LINE = 8
"""Numbers in one line of a processor's cache."""


@kernel
def skips_bars_nb(tape: Tape, book: Book, params: Record) -> bool:
    """Does this run watch prices along the path, next-open fills, each position backed alone, and is it running?"""
    if tape.path_ns < SECOND_NS or params["exit"]["monitoring"] != Monitoring.CONTINUOUS:
        return False
    if params["sim"]["fill_at"] == FillAt.CLOSE or book.governor[0]["blind"] == 1:
        return False
    if params["gates"]["enabled"] == 1 and book.governor[0]["started"] == 0:
        return False
    is_cross = params["account"]["mode_margin"] == MarginMode.CROSS
    return not (is_cross and any_open_nb(book.positions))


@kernel
def begin_stretch_nb(curve: Curve, tape: Tape, book: Book, b: int, n: int) -> None:
    """Write down, still uncounted, what is held over the stretch of n boundaries from `b` on. All slots sleep."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    at = curve.counts[HELD]
    stretch["ts"] = tape.boundaries[b]
    stretch["step"] = tape.boundaries[b + 1] - tape.boundaries[b]
    stretch["n"] = n
    stretch["wallet"] = book.account[0]["wallet"]
    stretch["margin"] = 0.0
    stretch["held_first"] = at
    for i in range(len(book.sleeps)):
        sleep = book.sleeps[i]
        if sleep["side"] == Side.NONE:
            continue
        held = curve.held[at]
        held["side"] = sleep["side"]
        held["qty"] = sleep["qty"]
        held["entry_price"] = sleep["entry_price"]
        held["bar"] = NO_ROW if sleep["offset"] == GAP else b + sleep["offset"]
        held["mark"] = mark_before_nb(tape, book, i, b)
        ask_for(tape.marks, b + sleep["offset"] + n + LINE)
        stretch["margin"] += sleep["margin"]
        at += 1
    stretch["held_end"] = at


@kernel
def worst_close_nb(blocks: Floats, marks: Floats, held: Record, n: int) -> float:
    """The worst mark for a held position at the n boundaries of a stretch; NaN where it has none at the first."""
    worst = held["mark"]
    if held["bar"] == NO_ROW or worst != worst:
        return worst
    is_long = held["side"] == Side.LONG
    column = LOWEST_CLOSE if is_long else HIGHEST_CLOSE
    row = held["bar"]
    end = row + n - 1
    while row < end:
        if row % BLOCK == 0 and row + BLOCK <= end:
            close = blocks[row // BLOCK, column]
            row += BLOCK
        else:
            close = marks[row]
            row += 1
        worst = min(worst, close) if is_long else max(worst, close)
    return worst


@kernel
def worst_equity_nb(curve: Curve, blocks: Floats, marks: Floats) -> float:
    """No equity of the begun stretch is lower; with at most one position it is one of them.

    Profit and loss and their sum are monotone in each mark, in floating point too.
    """
    stretch = curve.stretches[curve.counts[STRETCHES]]
    equity = stretch["wallet"]
    for h in range(stretch["held_first"], stretch["held_end"]):
        held = curve.held[h]
        equity += held["side"] * held["qty"] * (worst_close_nb(blocks, marks, held, stretch["n"]) - held["entry_price"])
    return equity


@kernel
def mark_stretch_nb(curve: Curve, marks: Floats, first: int, n: int) -> None:
    """Write the equity at boundaries [first, n) of the begun stretch."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    for k in range(first, n):
        curve.scratch[k] = stretch["wallet"]
    for h in range(stretch["held_first"], stretch["held_end"]):
        mark_held_nb(curve.scratch, first, n, curve.held[h], marks)


@kernel
def bound_by_equity_nb(curve: Curve, marks: Floats, floor: float) -> tuple[int, float]:
    """(boundaries of the begun stretch before the equity is at `floor` or below, the lowest equity at them)."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    equity = curve.scratch
    n = stretch["n"]
    mark_stretch_nb(curve, marks, 0, n)
    lowest = np.inf
    for k in range(n):
        if not equity[k] > floor:
            return k, lowest
        lowest = min(lowest, equity[k])
    return n, lowest


@kernel
def end_stretch_nb(curve: Curve, n: int) -> None:
    """Count the begun stretch, n boundaries long."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    stretch["n"] = n
    curve.counts[HELD] = stretch["held_end"]
    curve.counts[STRETCHES] += 1


@kernel
def first_remembered_nb(step: int, n: int) -> int:
    """The first of n evaluations, `step` apart, that is still known at the last one."""
    return max(n - 1 - LOOK_BACK_NS // step, 0)


@kernel
def remember_nb(governor: Record, history: Records, equity: Floats, ts: int, step: int, n: int) -> None:
    """Keep the evaluations of the last hour of n boundaries from `ts` on, and the one before it."""
    for k in range(first_remembered_nb(step, n), n):
        remember_evaluation_nb(governor, history, ts + k * step, equity[k])
    governor["equity"] = equity[n - 1]


@kernel
def lay_down_nb(tape: Tape, book: Book, i: int, b: int, quiet: int) -> None:
    """Let a slot sleep from boundary `b` on, over `quiet` of them."""
    sleep = book.sleeps[i]
    ts = tape.boundaries[b]
    sleep["asleep"] = 1
    sleep["since"] = b
    sleep["since_ts"] = ts
    sleep["step"] = tape.boundaries[b + 1] - ts
    sleep["wakes"] = ts + quiet * sleep["step"]
    position = book.positions[i]
    sleep["side"] = position["side"]
    sleep["qty"] = position["qty"]
    sleep["entry_price"] = position["entry_price"]
    sleep["margin"] = position["margin"]
    sleep["has_mark"] = book.slots[i]["has_mark"]
    sleep["offset"] = GAP
    if is_walking_nb(tape.bars, book.slots[i], ts):
        sleep["offset"] = book.slots[i]["next_bar"] - b


@kernel
def fall_asleep_nb(tape: Tape, book: Book, b: int, params: Record) -> None:
    """Let every slot sleep that is quiet from boundary `b` on; in hedge mode both sides of a symbol, or none."""
    n = len(book.slots)
    changed = False
    i = book.awake[0]
    while i < n:
        last = i if book.slots[i]["other"] == NO_SLOT else i + 1
        quiet = quiet_boundaries_nb(tape, book, i, b, params)
        if last > i and quiet > 0:
            quiet = min(quiet, quiet_boundaries_nb(tape, book, last, b, params))
        if quiet > 0:
            changed = True
            for k in range(i, last + 1):
                lay_down_nb(tape, book, k, b, quiet)
        i = book.awake[last + 1]
    if changed:
        note_awake_nb(book)


@kernel
def wake_due_nb(tape: Tape, book: Book, b: int, params: Record) -> None:
    """Wake the slots at which something may happen from boundary `b` on."""
    ts = tape.boundaries[b]
    changed = False
    for i in range(len(book.sleeps)):
        sleep = book.sleeps[i]
        if sleep["asleep"] == 0:
            continue
        if sleep["wakes"] <= ts or (sleep["refused"] == 1 and not is_account_idle_nb(book.positions)):
            catch_up_nb(tape, book, i, b, params)
            changed = True
        elif sleep["offset"] != GAP and sleep["side"] != Side.NONE:
            # its mark will be asked for with the next fill
            ask_for(tape.bars, b + sleep["offset"])
    if changed:
        note_awake_nb(book)


@kernel
def next_wake_nb(sleeps: Records) -> int:
    """Time at which the first of the slots that sleep has to be awake."""
    wakes = NEVER_DUE
    for i in range(len(sleeps)):
        if sleeps[i]["asleep"] == 1:
            wakes = min(wakes, sleeps[i]["wakes"])
    return wakes


@kernel
def ask_for_rows_nb(tape: Tape, book: Book, b: int, ts: int) -> None:
    """Begin to read what slots that wake at boundary `b`, at `ts`, will need."""
    ask_for(tape.boundaries, b)
    ask_for(tape.marked, b)
    for i in range(len(book.sleeps)):
        sleep = book.sleeps[i]
        if sleep["wakes"] <= ts and sleep["offset"] != GAP:
            ask_for(tape.bars, b + sleep["offset"] - 1)
            ask_for(tape.bars, b + sleep["offset"])
            # where signals are those of the path's bars; elsewhere it is a row asked for in vain
            row = book.slots[i]["next_signal"] + b - sleep["since"]
            ask_for(tape.signals, row - 1)
            ask_for(tape.signals, row)


@kernel
def pass_stretch_nb(tape: Tape, book: Book, journal: Journal, curve: Curve, b: int, m: int, params: Record) -> int:
    """Pass over at most m boundaries from `b` on while all slots sleep; how many, as the equity allows."""
    n = len(book.slots)
    ts = tape.boundaries[b]
    step = tape.boundaries[b + 1] - ts
    ask_for_rows_nb(tape, book, b + m, ts + m * step)
    account = book.account[0]
    governor = book.governor[0]
    begin_stretch_nb(curve, tape, book, b, m)
    margin = curve.stretches[curve.counts[STRETCHES]]["margin"]
    floor = equity_floor_nb(governor, params)
    lowest = worst_equity_nb(curve, tape.blocks, tape.marks)
    if not lowest > floor or (n > 1 and margin / lowest > account["max_margin_use"]):
        m, lowest = bound_by_equity_nb(curve, tape.marks, floor)
    if m == 0:
        return 0
    account["max_margin_use"] = max(account["max_margin_use"], margin / lowest)
    if params["gates"]["enabled"] == 1:
        mark_stretch_nb(curve, tape.marks, first_remembered_nb(step, m), m)
        remember_nb(governor, book.history, curve.scratch, ts, step, m)
    end_stretch_nb(curve, m)
    refuse_asleep_nb(tape, book, journal, b + m, params)
    return m


@kernel
def room_for_nb(tape: Tape, book: Book, journal: Journal, curve: Curve, b: int, stop_at: int) -> int:
    """How many boundaries from `b` on there is room for in one stretch, before `stop_at` and the last one."""
    n = len(book.slots)
    if not has_curve_room_nb(curve, n) or journal.counts[REFUSALS] == len(journal.refusals):
        return 0
    m = min(min(stop_at, len(tape.boundaries) - 1) - b, len(curve.scratch))
    m = min(m, (len(journal.denials) - journal.counts[DENIALS]) // n)
    return min(m, tape.even_boundaries[b])


@kernel
def pass_quiet_bars_nb(
    tape: Tape, book: Book, journal: Journal, curve: Curve, b: int, stop_at: int, params: Record
) -> int:
    """Let slots sleep, and pass over boundaries from `b` on while all do; the first one, at most `stop_at`, to visit.

    There those are awake at which something may happen. Before `stop_at`, the last boundary and what concerns the
    whole account all are.
    """
    if book.counters[ROUSES] == 1 or not skips_bars_nb(tape, book, params):
        catch_up_all_nb(tape, book, b, params)
    last = min(stop_at, len(tape.boundaries) - 1)
    if b < last and skips_bars_nb(tape, book, params):
        fall_asleep_nb(tape, book, b, params)
    due = due_time_nb(tape, book, params)
    until = min(due, next_wake_nb(book.sleeps))
    while book.counters[ASLEEP] == len(book.slots) and b < last and tape.boundaries[b] < until:
        ts = tape.boundaries[b]
        m = room_for_nb(tape, book, journal, curve, b, stop_at)
        m = min(m, count_before_nb(ts, tape.boundaries[b + 1] - ts, until))
        passed = pass_stretch_nb(tape, book, journal, curve, b, m, params) if m > 0 else 0
        if passed == 0:
            break
        b += passed
    if b >= last or tape.boundaries[b] >= due:
        catch_up_all_nb(tape, book, b, params)
    else:
        wake_due_nb(tape, book, b, params)
    return b
