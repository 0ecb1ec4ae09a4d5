"""Passing over trades at which nothing can happen. The plain steps of the session are the reference, byte for byte.

The path is looked at in pieces: blocks of the index of trades (`trade_index.py`), or what of one lies before something
that is due. A piece is quiet where no signal waits for a price, neither a mark of the signals' bars nor funding, an
outage, the end of an order or of one of the governor's states is due, every open position's prices stay strictly
inside its nearest triggers, and the equity stays above what the governor acts on. One that is not is halved, down to
the instant at which something may happen. What quiet trades change: the points that symbols show, the extremes that
positions have seen, the counts of cycles that held, and what the governor remembers of the equity.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.accounting import observe_nb, unrealized_pnl_nb
from qtsim.core.enums import MarginMode, Monitoring, Rule, Side, Working
from qtsim.core.exit_brain import exchange_band_nb, nearest_triggers_nb
from qtsim.core.orders import is_working_nb, rests_nb
from qtsim.core.records import EVALUATIONS_MAX, Record, Records
from qtsim.core.safety_governor import (
    KEPT_APART_NS,
    forbids_new_trades_nb,
    has_order_nb,
    order_rule_nb,
    remember_evaluation_nb,
)
from qtsim.sim.boundary import show_trade_nb
from qtsim.sim.due import NEVER_DUE, equity_floor_nb, governor_due_nb
from qtsim.sim.funding import next_funding_time_nb
from qtsim.sim.market import CYCLES, HOLDS, NEXT_OUTAGE, NO_BAR, Book, Floats, Ints, Tape
from qtsim.sim.paths import check_interval_nb, next_multiple_nb
from qtsim.sim.settle import any_open_nb
from qtsim.sim.trade_index import (
    HIGH,
    LOW,
    MARK_HIGH,
    MARK_LOW,
    TRADE_BLOCK,
    higher_nb,
    lower_nb,
)


@kernel
def sees_trades_nb(book: Book, params: Record) -> bool:
    """Does the program have a cycle at every trade? Not by the clock, and not while it does not run."""
    return params["exit"]["monitoring"] != Monitoring.INTERVAL and book.governor[0]["blind"] == 0


@kernel
def sees_clock_nb(book: Book, params: Record) -> bool:
    """Does the program have its cycles by the clock, at the last prices?"""
    return params["exit"]["monitoring"] == Monitoring.INTERVAL and book.governor[0]["blind"] == 0


@kernel
def is_evaluated_nb(book: Book, params: Record) -> bool:
    """Does the governor evaluate the equity at trades, or by the clock between them?"""
    if params["gates"]["enabled"] == 0 or book.governor[0]["blind"] == 1:
        return False
    return params["exit"]["monitoring"] != Monitoring.CONTINUOUS


@kernel
def only_watches_equity_nb(governor: Record) -> bool:
    """Would an evaluation do no more than compare the equity: not the first, and the health judged already?"""
    return governor["started"] == 1 and governor["no_new_trades"] == int(forbids_new_trades_nb(governor))


@kernel
def is_busy_nb(book: Book, i: int, ts: int, params: Record) -> bool:
    """Does a signal wait for a trade, do the data end here, or may a trade do more than meet a trigger?"""
    slot = book.slots[i]
    ends_here = slot["ends"] == 1 and slot["bar"] != NO_BAR and slot["bar"] >= slot["bars_end"] - 1
    if slot["pending"] != NO_BAR or ends_here:
        return True
    position = book.positions[i]
    if is_working_nb(position) and (position["working"] != Working.ENTRY or not rests_nb(position)):
        return True
    if rests_nb(position) and order_rule_nb(position, book.governor[0], ts, params) != Rule.NONE:
        return True
    if position["side"] == Side.NONE:
        return False
    if position["leg_waits"] == 1:
        return True
    if params["account"]["mode_margin"] == MarginMode.CROSS or has_order_nb(position):
        return True
    return sees_trades_nb(book, params) and not only_compares_nb(book, i)


@kernel
def only_compares_nb(book: Book, i: int) -> bool:
    """Would a cycle of the open position do nothing but compare prices with its triggers?

    A stop that a leg without a fill has moved is still to be told of.
    """
    position = book.positions[i]
    return book.slots[i]["looked"] == 1 and position["stop_moved"] == 0 and position["trail_active"] == 0


@kernel
def has_quiet_cycles_nb(book: Book, params: Record) -> bool:
    """By the clock: would the cycles of all that is open do nothing but compare prices with triggers?"""
    if not sees_clock_nb(book, params):
        return False
    for i in range(len(book.slots)):
        if book.positions[i]["side"] != Side.NONE and not only_compares_nb(book, i):
            return False
    return True


@kernel
def quiet_until_nb(tape: Tape, book: Book, b: int, params: Record) -> int:
    """Time before which only prices can make anything happen from boundary `b` on. -1: something can at once."""
    until = next_funding_time_nb(tape, book, 0, len(book.slots), NEVER_DUE)
    if book.counters[NEXT_OUTAGE] < len(tape.outages):
        until = min(until, tape.outages[book.counters[NEXT_OUTAGE]]["ts"])
    evaluated = is_evaluated_nb(book, params)
    if evaluated:
        if not only_watches_equity_nb(book.governor[0]):
            return -1
        until = min(until, governor_due_nb(book.governor[0]))
    for i in range(len(book.slots)):
        if is_busy_nb(book, i, tape.boundaries[b], params):
            return -1
        position = book.positions[i]
        if rests_nb(position):
            until = min(until, position["order_until"])
        may_age = position["side"] != Side.NONE and book.governor[0]["blind"] == 0
        has_age = may_age and position["stale_price"] == position["stale_price"]
        if has_age and position["stale_ts"] > book.points[i]["ts"]:
            # its age counts from its own symbol's next trade or cycle, and the band is that of its last one
            until = min(until, position["stale_ts"])
    return until


@kernel
def next_cycle_nb(tape: Tape, b: int, params: Record) -> int:
    """Time of the clock's first cycle that has not been before the trade at boundary `b`."""
    return next_multiple_nb(tape.boundaries[b] - 1, check_interval_nb(params))


@kernel
def set_bands_nb(book: Book, has_cycles: bool, params: Record) -> None:
    """Write what has to be reached for anything to happen to each slot. has_cycles: also by the clock."""
    sees_all = has_cycles or sees_trades_nb(book, params)
    for i in range(len(book.slots)):
        piece = book.pieces[i]
        piece["passed"] = 0
        piece["last_below"] = piece["mark_below"] = -np.inf
        piece["last_above"] = piece["mark_above"] = np.inf
        position = book.positions[i]
        if position["side"] != Side.NONE:
            if sees_all:
                band = nearest_triggers_nb(position, book.points[i], params)
            else:
                band = exchange_band_nb(position, params)
            piece["last_below"], piece["last_above"], piece["mark_below"], piece["mark_above"] = band
        if rests_nb(position):
            trigger = position["order_trigger"]
            if position["order_side"] > 0:
                piece["last_below"] = max(piece["last_below"], trigger)
            else:
                piece["last_above"] = min(piece["last_above"], trigger)


@kernel
def first_at_nb(times: Ints, first: int, end: int, ts: int) -> int:
    """First place of [first, end) at or after `ts`, of ascending times; or end.

    Looked for from where it would be if the times were evenly spread.
    """
    if first >= end or times[first] >= ts:
        return first
    last = times[end - 1]
    if last < ts:
        return end
    share = (ts - times[first]) / (last - times[first])
    place = first + int((end - 1 - first) * share)
    while times[place] < ts:
        place += 1
    while times[place - 1] >= ts:
        place -= 1
    return place


@kernel
def next_at_nb(times: Ints, first: int, end: int, ts: int) -> int:
    """The same, looked for one by one: it is near."""
    while first < end and times[first] < ts:
        first += 1
    return first


@kernel
def block_end_nb(b: int, boundaries: int) -> int:
    """The boundary behind the block of `b`."""
    return min((b // TRADE_BLOCK + 1) * TRADE_BLOCK, boundaries)


@kernel
def whole_instant_nb(times: Ints, b: int, e: int) -> int:
    """The last place in [b, e] that does not part trades of one instant."""
    while b < e < len(times) and times[e] == times[e - 1]:
        e -= 1
    return e


@kernel
def piece_end_nb(tape: Tape, b: int, stop_at: int, until: int) -> int:
    """End of the piece that begins at boundary `b`: that of its block, or before what is due, or b where it is at once.

    Inside a block it does not part trades of one instant.
    """
    e = block_end_nb(b, len(tape.boundaries))
    k = max(b, tape.next_marked[b // TRADE_BLOCK])
    while k < e and tape.marked[k] == 0:
        k += 1
    end = min(min(e, k), stop_at)
    if end > b and tape.boundaries[end - 1] >= until:
        end = first_at_nb(tape.boundaries, b, end, until)
    return end if end == e else whole_instant_nb(tape.boundaries, b, end)


@kernel
def look_at_trades_nb(prices: Floats, marks: Floats, piece: Record) -> None:
    """Write the extremes of the trades of a piece, one by one."""
    piece["low"] = piece["mark_low"] = np.inf
    piece["high"] = piece["mark_high"] = -np.inf
    for row in range(piece["at"], piece["end"]):
        piece["low"] = lower_nb(piece["low"], prices[row])
        piece["high"] = higher_nb(piece["high"], prices[row])
        piece["mark_low"] = lower_nb(piece["mark_low"], marks[row])
        piece["mark_high"] = higher_nb(piece["mark_high"], marks[row])


@kernel
def look_at_piece_nb(tape: Tape, book: Book, i: int, b: int, e: int) -> None:
    """Write which trades of the slot's symbol a piece [b, e) of boundaries has, and their extremes."""
    slot = book.slots[i]
    piece = book.pieces[i]
    symbol = slot["symbol"]
    k = b // TRADE_BLOCK
    piece["at"] = slot["next_bar"]
    piece["end"] = tape.block_heads[k + 1, symbol]
    is_end = e == block_end_nb(b, len(tape.boundaries))
    if not is_end:
        piece["end"] = first_at_nb(tape.trade_times, piece["at"], piece["end"], tape.boundaries[e])
    if is_end and b % TRADE_BLOCK == 0:
        piece["low"] = tape.block_prices[k, symbol, LOW]
        piece["high"] = tape.block_prices[k, symbol, HIGH]
        piece["mark_low"] = tape.block_prices[k, symbol, MARK_LOW]
        piece["mark_high"] = tape.block_prices[k, symbol, MARK_HIGH]
    else:
        look_at_trades_nb(tape.trade_prices, tape.trade_marks, piece)
    if slot["has_mark"] == 0:
        piece["mark_low"], piece["mark_high"] = piece["low"], piece["high"]


@kernel
def trades_throughout_nb(slot: Record, piece: Record, b: int, e: int) -> bool:
    """Does the slot's symbol trade at every boundary of a piece [b, e)?"""
    return piece["end"] - slot["next_bar"] == e - b


@kernel
def price_before_nb(tape: Tape, book: Book, i: int) -> float:
    """The symbol's last price before the piece."""
    if book.pieces[i]["passed"] == 0:
        return book.points[i]["price"]
    return tape.trade_prices[book.slots[i]["next_bar"] - 1]


@kernel
def mark_before_nb(tape: Tape, book: Book, i: int) -> float:
    """The symbol's last mark before the piece."""
    if book.pieces[i]["passed"] == 0:
        return book.points[i]["mark"]
    row = book.slots[i]["next_bar"] - 1
    return tape.trade_marks[row] if book.slots[i]["has_mark"] == 1 else tape.trade_prices[row]


@kernel
def is_inside_nb(piece: Record, low: float, high: float, mark_low: float, mark_high: float) -> bool:
    """Do prices stay strictly inside the slot's band?"""
    inside = low > piece["last_below"] and high < piece["last_above"]
    return inside and mark_low > piece["mark_below"] and mark_high < piece["mark_above"]


@kernel
def stays_inside_nb(tape: Tape, book: Book, i: int, b: int, e: int, has_cycles: bool) -> bool:
    """Do the trades of a piece [b, e) stay inside the slot's band? With cycles by the clock also the price before them.

    The symbol's last trade is never quiet.
    """
    piece = book.pieces[i]
    slot = book.slots[i]
    is_seen = has_cycles and book.positions[i]["side"] != Side.NONE
    if is_seen and not trades_throughout_nb(slot, piece, b, e):
        price = price_before_nb(tape, book, i)
        mark = mark_before_nb(tape, book, i)
        if not is_inside_nb(piece, price, price, mark, mark):
            return False
    if slot["next_bar"] == piece["end"]:
        return True
    if piece["end"] >= slot["bars_end"]:
        return False
    return is_inside_nb(piece, piece["low"], piece["high"], piece["mark_low"], piece["mark_high"])


@kernel
def worst_mark_nb(tape: Tape, book: Book, i: int, b: int, e: int) -> float:
    """The mark of an open position, of those in a piece [b, e), at which it is worth least."""
    piece = book.pieces[i]
    is_long = book.positions[i]["side"] == Side.LONG
    worst = piece["mark_low"] if is_long else piece["mark_high"]
    if trades_throughout_nb(book.slots[i], piece, b, e):
        return worst
    before = mark_before_nb(tape, book, i)
    return min(worst, before) if is_long else max(worst, before)


@kernel
def worst_equity_nb(tape: Tape, book: Book, b: int, e: int) -> float:
    """No equity after a boundary of a piece [b, e) is lower.

    Profit and loss and their sum are monotone in each mark, in floating point too.
    """
    equity = book.account[0]["wallet"]
    for i in range(len(book.slots)):
        if book.positions[i]["side"] != Side.NONE:
            equity += unrealized_pnl_nb(book.positions[i], worst_mark_nb(tape, book, i, b, e))
    return equity


@kernel
def is_quiet_piece_nb(tape: Tape, book: Book, b: int, e: int, has_cycles: bool, floor: float) -> bool:
    """Can nothing happen at boundaries [b, e)?"""
    for i in range(len(book.slots)):
        look_at_piece_nb(tape, book, i, b, e)
        if not stays_inside_nb(tape, book, i, b, e, has_cycles):
            return False
    return floor == -np.inf or worst_equity_nb(tape, book, b, e) > floor


@kernel
def quiet_piece_nb(tape: Tape, book: Book, b: int, e: int, has_cycles: bool, floor: float) -> int:
    """End of a quiet piece that begins at boundary `b`, at most `e`: halved until it is one; b: there is none."""
    while e > b and not is_quiet_piece_nb(tape, book, b, e, has_cycles, floor):
        e = whole_instant_nb(tape.boundaries, b, b + (e - b) // 2)
    return e


@kernel
def trades_after_nb(tape: Tape, slot: Record, piece: Record, b: int, e: int, place: int) -> int:
    """Row behind the trades that a slot's symbol has at boundaries [b, place] of a piece [b, e).

    `place` is the last one of its instant, or that of the piece.
    """
    if trades_throughout_nb(slot, piece, b, e):
        return slot["next_bar"] + place + 1 - b
    if place == e - 1:
        return piece["end"]
    return first_at_nb(tape.trade_times, piece["at"], piece["end"], tape.boundaries[place] + 1)


@kernel
def equity_after_nb(tape: Tape, book: Book, b: int, e: int, place: int) -> float:
    """Equity after boundaries [b, place] of a piece [b, e); b - 1: before it.

    Takes their trades in: of several calls for one piece the places ascend.
    """
    equity = book.account[0]["wallet"]
    for i in range(len(book.slots)):
        position = book.positions[i]
        if position["side"] == Side.NONE:
            continue
        piece = book.pieces[i]
        slot = book.slots[i]
        if place >= b:
            piece["at"] = trades_after_nb(tape, slot, piece, b, e, place)
        if piece["at"] > slot["next_bar"]:
            row = piece["at"] - 1
            mark = tape.trade_marks[row] if slot["has_mark"] == 1 else tape.trade_prices[row]
        else:
            mark = mark_before_nb(tape, book, i)
        equity += unrealized_pnl_nb(position, mark)
    return equity


@kernel
def last_kept_nb(governor: Record, history: Records) -> int:
    """Time of the last evaluation that was kept; -KEPT_APART_NS where none is."""
    if governor["history_end"] == governor["history_first"]:
        return -KEPT_APART_NS
    return history[(governor["history_end"] - 1) % EVALUATIONS_MAX]["ts"]


@kernel
def remember_trades_nb(tape: Tape, book: Book, b: int, e: int) -> None:
    """What the governor keeps of evaluations at each boundary of a quiet piece [b, e)."""
    governor = book.governor[0]
    times = tape.boundaries
    k = b
    while k < e:
        last = last_kept_nb(governor, book.history)
        if times[k] != last:
            k = next_at_nb(times, k, e, last + KEPT_APART_NS)
        if k >= e:
            break
        while k + 1 < e and times[k + 1] == times[k]:
            k += 1
        equity = equity_after_nb(tape, book, b, e, k)
        remember_evaluation_nb(governor, book.history, times[k], equity)
        k += 1
    equity = equity_after_nb(tape, book, b, e, e - 1)
    remember_evaluation_nb(governor, book.history, times[e - 1], equity)
    governor["equity"] = equity


@kernel
def count_holds_nb(book: Book, i: int, n: int) -> None:
    """Count n cycles of a slot that held, where anything is open."""
    if book.positions[i]["side"] != Side.NONE:
        book.counters[CYCLES] += n
        book.counters[HOLDS] += n


@kernel
def pass_cycles_nb(
    tape: Tape, book: Book, b: int, e: int, cycle: int, interval_ns: int, evaluated: bool, is_open: bool
) -> int:
    """The clock's cycles from `cycle` on until the trade before boundary `e`; the time of the first one left.

    Of several trades of one instant the last belongs to the cycle at it. Where nothing is open only trades at the very
    instant of a cycle make the governor look.
    """
    times = tape.boundaries
    last = times[e - 1]
    if e < len(times) and times[e] == last:
        last -= 1
    while cycle <= last:
        place = first_at_nb(times, b, e, cycle + 1) - 1
        if is_open or (place >= b and times[place] == cycle):
            if evaluated:
                equity = equity_after_nb(tape, book, b, e, place)
                remember_evaluation_nb(book.governor[0], book.history, cycle, equity)
                book.governor[0]["equity"] = equity
            for i in range(len(book.slots)):
                count_holds_nb(book, i, 1)
                if book.positions[i]["side"] != Side.NONE:
                    book.points[i]["ts"] = cycle
        cycle = next_multiple_nb(cycle, interval_ns)
    return cycle


@kernel
def pass_trades_nb(book: Book, i: int) -> None:
    """Move a slot behind the trades of a quiet piece: a position has seen their extremes."""
    slot = book.slots[i]
    piece = book.pieces[i]
    if piece["end"] == slot["next_bar"]:
        return
    slot["next_bar"] = piece["end"]
    piece["passed"] = 1
    if book.positions[i]["side"] != Side.NONE:
        observe_nb(book.positions[i], piece["low"], piece["mark_low"])
        observe_nb(book.positions[i], piece["high"], piece["mark_high"])


@kernel
def show_last_nb(tape: Tape, book: Book, i: int, params: Record) -> None:
    """Let a slot show the last trade that it has passed. None is a bar that its next boundary would end."""
    book.slots[i]["bar"] = NO_BAR
    if book.pieces[i]["passed"] == 0:
        return
    seen = book.points[i]["ts"]
    show_trade_nb(tape, book, i, book.slots[i]["next_bar"] - 1, params)
    book.points[i]["ts"] = max(book.points[i]["ts"], seen)


@kernel
def pass_pieces_nb(
    tape: Tape, book: Book, b: int, stop_at: int, until: int, has_cycles: bool, evaluated: bool, params: Record
) -> int:
    """Pass over quiet pieces from boundary `b` on, before `until`. has_cycles: with the clock's cycles in them."""
    set_bands_nb(book, has_cycles, params)
    sees_all = sees_trades_nb(book, params)
    is_open = any_open_nb(book.positions)
    interval_ns = check_interval_nb(params)
    cycle = next_cycle_nb(tape, b, params)
    floor = equity_floor_nb(book.governor[0], params) if evaluated else -np.inf
    first = b
    while b < stop_at and tape.marked[b] == 0 and tape.boundaries[b] < until:
        e = quiet_piece_nb(tape, book, b, piece_end_nb(tape, b, stop_at, until), has_cycles and is_open, floor)
        if e == b:
            break
        if has_cycles:
            cycle = pass_cycles_nb(tape, book, b, e, cycle, interval_ns, evaluated, is_open)
        elif evaluated and sees_all:
            remember_trades_nb(tape, book, b, e)
        for i in range(len(book.slots)):
            if sees_all:
                count_holds_nb(book, i, book.pieces[i]["end"] - book.slots[i]["next_bar"])
            pass_trades_nb(book, i)
        b = e
    if b > first:
        for i in range(len(book.slots)):
            show_last_nb(tape, book, i, params)
    return b


@kernel
def skip_trades_nb(tape: Tape, book: Book, b: int, stop_at: int, params: Record) -> int:
    """Pass over quiet trades from boundary `b` on; the first boundary that is not quiet, at most `stop_at`.

    All that was due before the trade at `b` is done; what is due between the last trade passed and the next is not.
    By the clock a price beyond a trigger of the program is quiet until the next cycle.
    """
    if b == 0 or b >= stop_at or tape.marked[b] == 1:
        return b
    until = quiet_until_nb(tape, book, b, params)
    if tape.boundaries[b] >= until:
        return b
    evaluated = is_evaluated_nb(book, params)
    if not sees_clock_nb(book, params) or not (evaluated or any_open_nb(book.positions)):
        return pass_pieces_nb(tape, book, b, stop_at, until, False, evaluated, params)
    if has_quiet_cycles_nb(book, params):
        reached = pass_pieces_nb(tape, book, b, stop_at, until, True, evaluated, params)
        if reached > b:
            return reached
    return pass_pieces_nb(tape, book, b, stop_at, min(until, next_cycle_nb(tape, b, params)), False, evaluated, params)
