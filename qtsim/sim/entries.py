"""Entry orders: sent, filled at once or in parts, ended; and what of the slot's orders arrives at the exchange."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import add_part_nb, available_nb, note_margin_use_nb, open_position_nb
from qtsim.core.enums import Action, Gate, Reason, Rule, Side
from qtsim.core.orders import (
    end_order_nb,
    has_entry_order_nb,
    has_exit_sent_nb,
    has_stop_due_nb,
    is_limit_nb,
    is_reached_nb,
    is_travelling_nb,
    land_exit_nb,
    limit_or_zero_nb,
    note_dropped_nb,
    note_filled_nb,
    note_placed_nb,
    place_order_nb,
    rest_stop_nb,
    send_entry_nb,
    stand_in_book_nb,
    take_part_nb,
    withhold_stop_nb,
)
from qtsim.core.records import NOT_YET, Record
from qtsim.core.rl_sizing import note_entry_nb
from qtsim.core.safety_governor import order_newcomer_nb, order_rule_nb
from qtsim.sim.asleep import show_sleepers_nb
from qtsim.sim.fills import (
    entry_lots_nb,
    fill_entry_nb,
    is_affordable_nb,
    keeps_order_nb,
    may_wait_nb,
    meets_order_nb,
    take_room_nb,
)
from qtsim.sim.latency import delay_nb
from qtsim.sim.market import ADVANCE, FILLS, NO_BAR, Book, Journal, Tape
from qtsim.sim.steps import bar_number_nb, exit_at_market_nb, note_share_nb, write_decision_nb, write_denial_nb


@kernel
def enter_nb(tape: Tape, book: Book, journal: Journal, i: int, row: int, params: Record) -> None:
    """Send the slot's plan as an entry order, and fill what the market gives of it at the current point.

    row: of its signal, counted from the symbol's first.
    """
    account = book.account[0]
    position = book.positions[i]
    place_order_nb(
        position,
        book.plans[i],
        account["next_trade_id"],
        row,
        book.points[i]["ts"],
        tape.timeframe_ns,
        tape.instruments[i],
        params["entry"],
    )
    account["next_trade_id"] += 1
    note_placed_nb(account, position)
    delay = delay_nb(account, position, i, params)
    if delay > 0:
        send_entry_nb(position, book.points[i]["ts"] + delay)
    else:
        work_order_nb(tape, book, journal, i, params)


@kernel
def work_order_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """Fill what this point gives of the slot's entry order; the rest waits, or is given up.

    A limit that is not reached stands in the book from now on.
    """
    position = book.positions[i]
    if not is_reached_nb(position, book.points[i]["price"]):
        stand_in_book_nb(position, False)
        return
    asked = position["order_lots"]
    lots = entry_lots_nb(position, book.points[i], tape.instruments[i], params["sim"])
    if lots < asked:
        note_share_nb(book.account[0], lots)
    if lots > 0:
        fill_part_nb(tape, book, journal, i, lots, params)
    if lots < asked and not may_wait_nb(params["sim"]):
        drop_order_nb(book, journal, i, book.points[i]["ts"], Rule.VOLUME_SHARE.value)
    stand_in_book_nb(position, True)


@kernel
def meet_order_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """Fill a limit entry that this point trades through, unless the governor has just forbidden entries."""
    position = book.positions[i]
    point = book.points[i]
    if not meets_order_nb(position, point, params["sim"]):
        return
    rule = order_rule_nb(position, book.governor[0], point["ts"], params)
    if rule == Rule.NONE and not keeps_order_nb(position, point, tape.instruments[i], params["costs"]):
        rule = Rule.NO_LIQUIDATION_ROOM.value
    if rule != Rule.NONE:
        drop_order_nb(book, journal, i, point["ts"], rule)
        return
    work_order_nb(tape, book, journal, i, params)


@kernel
def protect_nb(account: Record, position: Record, i: int, ts: int, blind: int, params: Record) -> None:
    """Send the hard stop of what was opened at `ts`; a program that does not run sends it when it runs again."""
    if position["hard_price"] != position["hard_price"]:
        return
    if blind == 1:
        withhold_stop_nb(position, NOT_YET)
        return
    delay = delay_nb(account, position, i, params)
    if delay > 0:
        withhold_stop_nb(position, ts + delay)


@kernel
def place_missing_stop_nb(account: Record, position: Record, i: int, ts: int, params: Record) -> bool:
    """A program that runs again at `ts` sends the hard stop of what was entered without it; does it stand now?"""
    if not has_stop_due_nb(position) or position["hard_at"] != NOT_YET:
        return False
    position["hard_at"] = ts + delay_nb(account, position, i, params)
    if position["hard_at"] > ts:
        return False
    rest_stop_nb(position)
    return True


@kernel
def arrive_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """What has reached the exchange by now: the hard stop stands, an exit fills what it finds, an entry works."""
    position = book.positions[i]
    point = book.points[i]
    if has_stop_due_nb(position) and position["hard_at"] <= point["ts"]:
        rest_stop_nb(position)
    if point["price"] != point["price"]:
        return
    if has_exit_sent_nb(position) and position["exit_at"] <= point["ts"]:
        lots = land_exit_nb(position)
        is_leg = position["exit_is_leg"] == 1
        exit_at_market_nb(tape, book, journal, i, position["exit_reason"], lots, is_leg, params)
    if is_travelling_nb(position) and position["order_at"] <= point["ts"]:
        position["order_travels"] = 0
        if is_limit_nb(position) or can_pay_nb(tape, book, i, params):
            work_order_nb(tape, book, journal, i, params)
        else:
            drop_order_nb(book, journal, i, point["ts"], Rule.INSUFFICIENT_MARGIN.value)


@kernel
def can_pay_nb(tape: Tape, book: Book, i: int, params: Record) -> bool:
    """Can the account pay for what is left of the slot's market entry, at the price of now?"""
    available = available_nb(book.account[0], book.positions, book.points, params)
    return is_affordable_nb(
        book.positions[i], book.plans[i], book.points[i], available, tape.instruments[i], params["costs"]
    )


@kernel
def fill_part_nb(tape: Tape, book: Book, journal: Journal, i: int, lots: int, params: Record) -> None:
    """Fill `lots` of the slot's entry order at its current point.

    With the first part the position is open and its hard stop stands; its first cycle is at the next point.
    """
    book.slots[i]["looked"] = 0
    account = book.account[0]
    plan = book.plans[i]
    point = book.points[i]
    position = book.positions[i]
    instrument = tape.instruments[i]
    bar = bar_number_nb(book, i)
    fill = journal.fills[journal.counts[FILLS]]
    fill_entry_nb(fill, plan, position, point, lots, book.slots[i]["symbol"], bar, instrument, params)
    take_room_nb(book.points, i, book.slots[i]["other"], lots)
    note_filled_nb(account, position)
    show_sleepers_nb(tape, book, params)
    take_part_nb(position, plan, lots)
    if position["side"] != Side.NONE:
        add_part_nb(account, position, fill, instrument, params)
        note_margin_use_nb(account, book.positions, book.points)
        journal.counts[FILLS] += journal.counts[ADVANCE]
        return
    open_position_nb(account, position, plan, fill, bar, instrument, params)
    protect_nb(account, position, i, point["ts"], book.governor[0]["blind"], params)
    order_newcomer_nb(position, book.governor[0], point["ts"], params)
    note_margin_use_nb(account, book.positions, book.points)
    if journal.counts[ADVANCE] == 1:
        note_entry_nb(book.pupils[i], plan)
    journal.counts[FILLS] += journal.counts[ADVANCE]
    decision = book.decision[0]
    decision["action"] = Action.INIT_NEW_POSITION.value
    decision["reason"] = Reason.ENTRY.value
    decision["leg"] = 0
    decision["lots"] = position["lots"]
    decision["stop_price"] = position["stop_price"]
    decision["stop_reason"] = position["stop_reason"]
    decision["peak"] = position["peak"]
    write_decision_nb(journal, book.slots[i]["symbol"], position, point, decision)


@kernel
def drop_order_nb(book: Book, journal: Journal, i: int, ts: int, rule: int) -> None:
    """End the slot's entry order; where nothing of it has been filled its signal is denied."""
    position = book.positions[i]
    if position["order_filled"] == 0:
        plan = book.plans[i]
        write_denial_nb(
            journal,
            ts,
            book.slots[i]["symbol"],
            plan["side"],
            Gate.ORDER.value,
            rule,
            0.0,
            limit_or_zero_nb(position),
            plan["confidence"],
            position["order_bar"],
        )
    note_dropped_nb(book.account[0], position, rule)
    end_order_nb(position)


@kernel
def continue_order_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """The rest of a market entry goes on at an open, while the account can still pay for it.

    And while the hard stop of the first part would stand before the liquidation of the whole.
    """
    position = book.positions[i]
    point = book.points[i]
    if is_limit_nb(position) or is_travelling_nb(position):
        return
    if book.slots[i]["bar"] == NO_BAR or not has_entry_order_nb(position) or point["price"] != point["price"]:
        return
    if not keeps_order_nb(position, point, tape.instruments[i], params["costs"]):
        drop_order_nb(book, journal, i, point["ts"], Rule.NO_LIQUIDATION_ROOM.value)
        return
    if can_pay_nb(tape, book, i, params):
        work_order_nb(tape, book, journal, i, params)
    else:
        drop_order_nb(book, journal, i, point["ts"], Rule.INSUFFICIENT_MARGIN.value)
