"""What one slot does at a boundary of its bars: end of data, what has closed, the open point, what its signal asks."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import set_point_nb, show_signal_nb
from qtsim.core.enums import Action, EndOfData, FillAt, Gate, Monitoring, Reason, Rule, Side
from qtsim.core.orders import asks_otherwise_nb, has_entry_order_nb, leaves_whole_nb, travels_at_market_nb
from qtsim.core.records import Record
from qtsim.core.safety_governor import order_rule_nb, reach_open_nb
from qtsim.core.signal_rules import signal_exit_reason_nb
from qtsim.core.slots import own_request_nb
from qtsim.sim.entries import drop_order_nb
from qtsim.sim.fills import room_lots_nb
from qtsim.sim.funding import opens_at_nb
from qtsim.sim.market import NO_BAR, Book, Journal, Tape
from qtsim.sim.paths import check_interval_nb
from qtsim.sim.steps import exit_at_market_nb, is_observable_nb, leave_nb, write_decision_nb, write_denial_nb


@kernel
def is_last_bar_nb(book: Book, i: int, row: int) -> bool:
    """Is this the symbol's last bar?"""
    return row >= book.slots[i]["bars_end"] - 1 and book.slots[i]["ends"] == 1


@kernel
def has_ended_nb(book: Book, i: int) -> bool:
    """Has the symbol's last bar opened already?"""
    return book.slots[i]["next_bar"] >= book.slots[i]["bars_end"] and book.slots[i]["ends"] == 1


@kernel
def closed_signal_nb(tape: Tape, book: Book, i: int, ts: int) -> int:
    """Row of the next signal if its bar has closed by `ts`, else NO_BAR."""
    row = book.slots[i]["next_signal"]
    if row < book.slots[i]["signals_end"] and tape.signals[row]["ts_close"] <= ts:
        return row
    return NO_BAR


@kernel
def show_trade_nb(tape: Tape, book: Book, i: int, row: int, params: Record) -> None:
    """Show a trade of the slot's symbol."""
    ts = tape.trade_times[row]
    price = tape.trade_prices[row]
    point = book.points[i]
    set_point_nb(point, ts, price, tape.trade_marks[row] if book.slots[i]["has_mark"] == 1 else price)
    point["half_spread"] = tape.trade_spreads[row]
    point["room"] = room_lots_nb(tape.trade_qty[row], tape.instruments[i], params["sim"])
    reach_open_nb(book.positions[i], ts)


@kernel
def open_bar_nb(tape: Tape, book: Book, i: int, ts: int, params: Record) -> None:
    """Show the first point of the symbol's next bar if it opens now."""
    if not opens_at_nb(tape, book, i, ts):
        return
    row = book.slots[i]["next_bar"]
    book.slots[i]["bar"] = row
    book.slots[i]["next_bar"] = row + 1
    if tape.path_ns == 0:
        show_trade_nb(tape, book, i, row, params)
        return
    bar = tape.bars[row]
    mark = bar["mark_open"] if book.slots[i]["has_mark"] == 1 else bar["open"]
    set_point_nb(book.points[i], ts, bar["open"], mark)
    book.points[i]["half_spread"] = bar["half_spread"]
    book.points[i]["room"] = room_lots_nb(bar["volume"], tape.instruments[i], params["sim"])
    reach_open_nb(book.positions[i], ts)


@kernel
def is_expired_nb(tape: Tape, row: int, ts: int) -> bool:
    """Has signal `row` waited for its first price point for more than one bar?"""
    return ts - tape.signals[row]["ts_close"] > tape.timeframe_ns


@kernel
def has_cycle_at_open_nb(ts: int, params: Record) -> bool:
    """Does the program look at this open? With `interval` only at multiples of the interval since 00:00 UTC."""
    if params["exit"]["monitoring"] != Monitoring.INTERVAL:
        return True
    since_midnight = ts % 86_400_000_000_000
    return since_midnight % check_interval_nb(params) == 0


@kernel
def close_by_signal_nb(tape: Tape, book: Book, journal: Journal, i: int, reason: int, params: Record) -> None:
    """Journal and fill an exit that the exit engine did not ask for: signal, reversal, end of data."""
    position = book.positions[i]
    decision = book.decision[0]
    decision["action"] = Action.FULL_EXIT_NOW.value
    decision["reason"] = reason
    decision["leg"] = 0
    decision["lots"] = position["lots"]
    decision["stop_price"] = position["stop_price"]
    decision["stop_reason"] = position["stop_reason"]
    decision["peak"] = position["peak"]
    write_decision_nb(journal, book.slots[i]["symbol"], position, book.points[i], decision)
    if reason == Reason.END_OF_DATA:
        exit_at_market_nb(tape, book, journal, i, reason, position["lots"], False, params)
    else:
        leave_nb(tape, book, journal, i, reason, position["lots"], False, params)


@kernel
def obey_signal_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """Close the symbol's position where its signal, a reversal or its last bar asks for it."""
    position = book.positions[i]
    if book.slots[i]["bar"] == NO_BAR or position["side"] == Side.NONE:
        return
    reason = Reason.NONE.value
    if params["sim"]["end_of_data"] == EndOfData.LAST_OPEN and is_last_bar_nb(book, i, book.slots[i]["bar"]):
        reason = Reason.END_OF_DATA.value
    elif book.slots[i]["acting"] != NO_BAR:
        reason = signal_exit_reason_nb(
            position, tape.signals[book.slots[i]["acting"]], params["exit"]["on_opposite_signal"]
        )
        if leaves_whole_nb(position):
            return
    if reason != Reason.NONE and is_observable_nb(book.positions[i], book.points[i], book.counters):
        close_by_signal_nb(tape, book, journal, i, reason, params)


@kernel
def judge_order_nb(book: Book, journal: Journal, i: int, ts: int, params: Record) -> None:
    """End the slot's entry order where the data end, the program does not run, or the governor forbids entries."""
    rule = order_rule_nb(book.positions[i], book.governor[0], ts, params)
    if has_ended_nb(book, i) and params["sim"]["end_of_data"] != EndOfData.OPEN:
        rule = Rule.END_OF_DATA.value
    if rule != Rule.NONE:
        drop_order_nb(book, journal, i, ts, rule)


@kernel
def deny_request_nb(tape: Tape, book: Book, journal: Journal, i: int, row: int, ts: int, gate: int, rule: int) -> None:
    """Count a request that ends before the chain."""
    signal = tape.signals[row]
    write_denial_nb(
        journal,
        ts,
        book.slots[i]["symbol"],
        own_request_nb(book.slots[i]["side"], signal),
        gate,
        rule,
        0.0,
        0.0,
        signal["confidence"],
        row - book.slots[i]["signals_first"],
    )


@kernel
def drop_pending_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, rule: int) -> None:
    """Give up the signal that waits for a price, and count what it asked for."""
    row = book.slots[i]["pending"]
    if row != NO_BAR and own_request_nb(book.slots[i]["side"], tape.signals[row]) != 0:
        deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, rule)
    book.slots[i]["pending"] = NO_BAR


@kernel
def close_bar_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, params: Record) -> None:
    """Of one slot, the bar that ended becomes visible; its signal becomes pending. An entry order ends that may not go
    on."""
    has_closed = book.slots[i]["bar"] != NO_BAR
    book.slots[i]["bar"] = NO_BAR
    if has_entry_order_nb(book.positions[i]):
        judge_order_nb(book, journal, i, ts, params)
    row = closed_signal_nb(tape, book, i, ts)
    while row != NO_BAR:
        drop_pending_nb(tape, book, journal, i, ts, Rule.EXPIRED.value)
        book.slots[i]["next_signal"] = row + 1
        show_signal_nb(book.points[i], tape.signals[row], ts)
        book.slots[i]["pending"] = row
        row = closed_signal_nb(tape, book, i, ts)
    if has_ended_nb(book, i) and params["sim"]["end_of_data"] != EndOfData.OPEN:
        drop_pending_nb(tape, book, journal, i, ts, Rule.END_OF_DATA.value)
    if params["sim"]["fill_at"] == FillAt.CLOSE:
        # it has acted at its bar's own close, or there was no price at that time
        if has_closed:
            book.slots[i]["pending"] = NO_BAR
        drop_pending_nb(tape, book, journal, i, ts, Rule.EXPIRED.value)


@kernel
def expire_signal_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int) -> None:
    """A signal expires whose first price point comes more than one bar after its close."""
    row = book.slots[i]["pending"]
    if row == NO_BAR or book.slots[i]["bar"] == NO_BAR:
        return
    if is_expired_nb(tape, row, ts):
        drop_pending_nb(tape, book, journal, i, ts, Rule.EXPIRED.value)


@kernel
def hear_signal_nb(book: Book, i: int) -> None:
    """The signal that waited for a price acts now, where there is one."""
    book.slots[i]["acting"] = NO_BAR
    if book.slots[i]["bar"] != NO_BAR:
        book.slots[i]["acting"] = book.slots[i]["pending"]
        book.slots[i]["pending"] = NO_BAR


@kernel
def cancel_by_signal_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """End the slot's entry order where its signal asks otherwise, or its last bar opens with `last_open`.

    A market order on its way is not called back.
    """
    travels = travels_at_market_nb(book.positions[i])
    row = book.slots[i]["acting"]
    bar = book.slots[i]["bar"]
    ts = book.points[i]["ts"]
    if bar != NO_BAR and params["sim"]["end_of_data"] == EndOfData.LAST_OPEN and is_last_bar_nb(book, i, bar):
        drop_order_nb(book, journal, i, ts, Rule.END_OF_DATA.value)
    elif row != NO_BAR and not travels and asks_otherwise_nb(book.positions[i], tape.signals[row]):
        drop_order_nb(book, journal, i, ts, Rule.ORDER_CANCELLED.value)


@kernel
def end_data_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """Close at the last close where the symbol's last bar ends now (`end_of_data = close`)."""
    if params["sim"]["end_of_data"] != EndOfData.CLOSE:
        return
    if book.slots[i]["bar"] == NO_BAR or not is_last_bar_nb(book, i, book.slots[i]["bar"]):
        return
    if is_observable_nb(book.positions[i], book.points[i], book.counters):
        close_by_signal_nb(tape, book, journal, i, Reason.END_OF_DATA.value, params)


@kernel
def act_on_own_close_nb(tape: Tape, book: Book, i: int, ts: int, params: Record) -> None:
    """`fill_at = close`: the signal of the bar that ends now acts at its own close, unless the data end with it."""
    row = closed_signal_nb(tape, book, i, ts)
    if book.slots[i]["bar"] == NO_BAR:
        row = NO_BAR
    book.slots[i]["acting"] = row
    if row == NO_BAR:
        return
    show_signal_nb(book.points[i], tape.signals[row], ts)
    if params["sim"]["end_of_data"] != EndOfData.OPEN and is_last_bar_nb(book, i, book.slots[i]["bar"]):
        book.slots[i]["acting"] = NO_BAR
