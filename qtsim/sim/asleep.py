"""Slots that are left behind while nothing happens at them, and where they would stand had they been visited.

In an account of many symbols something happens at almost every boundary, but at few of its slots. A slot goes to sleep
where its next boundaries are quiet (`skip_bars.py`), and the steps of the order of events pass it by. Its position is
as it was; what the others need of it, the mark for the equity, is looked up where they stand. It wakes at the first
boundary at which something may happen to it (`catch_up.py`), or where it is roused because somebody else has made
something happen to all (`rouse.py`). A visit then costs what those awake cost.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import note_share_of_equity_nb
from qtsim.core.enums import PathModel, Side
from qtsim.core.records import Record
from qtsim.sim.market import ASLEEP, CURSOR, GAP, PLACE_TS, SEGMENT, SHARE, SHOWN, Book, Tape
from qtsim.sim.paths import is_high_nearer_nb, on_segment_nb

BEFORE_BOUNDARY = -1.0
"""Segment of the place where the last bars have ended, and the next ones have not opened."""


@kernel
def note_awake_nb(book: Book) -> None:
    """After slots have fallen asleep or woken: which is the next one awake, from each slot on."""
    n = len(book.sleeps)
    asleep = 0
    first = n
    for k in range(n):
        i = n - 1 - k
        if book.sleeps[i]["asleep"] == 0:
            first = i
        else:
            asleep += 1
        book.awake[i] = first
    book.counters[ASLEEP] = asleep


@kernel
def stand_together_nb(book: Book, segment: float, share: float, ts: int) -> None:
    """All that are awake stand at a share of a segment of their bars, at `ts`; those asleep are not shown there yet."""
    book.place[SEGMENT] = segment
    book.place[SHARE] = share
    book.place[SHOWN] = 0.0
    book.counters[PLACE_TS] = ts


@kernel
def quiet_order_nb(bar: Record, params: Record) -> bool:
    """Is the high of a quiet bar taken first? Its order is no matter, and then adverse and favourable take the low."""
    return params["sim"]["path"] == PathModel.NEAREST and is_high_nearer_nb(bar)


@kernel
def path_mark_nb(bar: Record, k: int, high_first: bool, has_mark: bool) -> float:
    """Mark at path point k of a bar: what unfolding it would write there."""
    if k == 0:
        return bar["mark_open"] if has_mark else bar["open"]
    if k == 3:
        return bar["mark_close"] if has_mark else bar["close"]
    if (k == 1) == high_first:
        return bar["mark_high"] if has_mark else bar["high"]
    return bar["mark_low"] if has_mark else bar["low"]


@kernel
def mark_before_nb(tape: Tape, book: Book, i: int, b: int) -> float:
    """Mark of a symbol whose slot sleeps, before boundary `b`: at the close of its last bar."""
    sleep = book.sleeps[i]
    if sleep["offset"] == GAP or sleep["since"] == b:
        return book.points[i]["mark"]
    return tape.marks[b + sleep["offset"] - 1]


@kernel
def mark_at_place_nb(tape: Tape, book: Book, i: int, params: Record) -> float:
    """Mark of a symbol whose slot sleeps, where the others stand."""
    sleep = book.sleeps[i]
    b = book.counters[CURSOR]
    if book.place[SEGMENT] == BEFORE_BOUNDARY or sleep["offset"] == GAP:
        return mark_before_nb(tape, book, i, b)
    segment = int(book.place[SEGMENT])
    bar = tape.bars[b + sleep["offset"]]
    has_mark = sleep["has_mark"] == 1
    high_first = quiet_order_nb(bar, params)
    start = path_mark_nb(bar, segment, high_first, has_mark)
    return on_segment_nb(start, path_mark_nb(bar, segment + 1, high_first, has_mark), book.place[SHARE])


@kernel
def show_sleepers_nb(tape: Tape, book: Book, params: Record) -> None:
    """Before the account is valued: the marks of positions whose slots sleep, where the others stand."""
    if book.counters[ASLEEP] == 0 or book.place[SHOWN] == 1.0:
        return
    for i in range(len(book.sleeps)):
        if book.sleeps[i]["asleep"] == 1 and book.sleeps[i]["side"] != Side.NONE:
            book.points[i]["mark"] = mark_at_place_nb(tape, book, i, params)
    book.place[SHOWN] = 1.0


@kernel
def mark_account_nb(tape: Tape, book: Book, b: int, out: Record) -> None:
    """Step 3: `mark_to_market_nb` before boundary `b`, without touching slots that sleep."""
    account = book.account[0]
    equity = account["wallet"]
    unrealized = 0.0
    margin = 0.0
    notional = 0.0
    count = 0
    for i in range(len(book.sleeps)):
        sleep = book.sleeps[i]
        if sleep["asleep"] == 1:
            side = sleep["side"]
            qty = sleep["qty"]
            entry_price = sleep["entry_price"]
            bound = sleep["margin"]
        else:
            position = book.positions[i]
            side = position["side"]
            qty = position["qty"]
            entry_price = position["entry_price"]
            bound = position["margin"]
        if side == Side.NONE:
            continue
        mark = mark_before_nb(tape, book, i, b) if sleep["asleep"] == 1 else book.points[i]["mark"]
        pnl = side * qty * (mark - entry_price)
        equity += pnl
        unrealized += pnl
        margin += bound
        notional += qty * mark
        count += 1
    out["ts"] = tape.boundaries[b]
    out["equity"] = equity
    out["wallet"] = account["wallet"]
    out["unrealized_pnl"] = unrealized
    out["margin"] = margin
    out["notional"] = notional
    out["positions"] = count
    note_share_of_equity_nb(account, margin, equity)
