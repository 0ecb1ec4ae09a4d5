"""A request for an entry before the approval chain: what it is judged by, and the row that its refusal leaves.

A slot sleeps through requests that nothing can come of. They are refused here, in their place among the others.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import equity_nb
from qtsim.core.balancer import measure_correlation_nb, measure_crowd_nb
from qtsim.core.entry import judge_entry_nb
from qtsim.core.enums import Gate, Rule
from qtsim.core.records import Record, Records
from qtsim.core.signal_rules import request_rule_nb
from qtsim.core.slots import NO_SLOT
from qtsim.sim.market import NEXT_CALL, NO_BAR, NO_CORRELATION, Book, Journal, Tape
from qtsim.sim.steps import write_denial_nb


@kernel
def measure_candidate_nb(tape: Tape, book: Book, i: int, side: int, ts: int, params: Record) -> None:
    """What is open beside the candidate, and how alike it is."""
    measure_crowd_nb(book.crowd[0], book.positions, book.points, tape.instruments, i)
    if params["gates"]["enabled"] == 0:
        return
    measure_correlation_nb(
        book.crowd[0],
        book.positions,
        tape.closes,
        book.spans,
        i,
        side,
        ts,
        tape.regime_ns,
        params["limits"],
    )


@kernel
def deny_plan_nb(book: Book, journal: Journal, plan: Record, i: int, row: int, ts: int) -> None:
    """Journal the verdict that a plan carries."""
    book.counters[NO_CORRELATION] += plan["uncompared"]
    write_denial_nb(
        journal,
        ts,
        book.slots[i]["symbol"],
        plan["side"],
        plan["gate"],
        plan["rule"],
        plan["value"],
        plan["limit"],
        plan["confidence"],
        row - book.slots[i]["signals_first"],
    )


@kernel
def judge_request_nb(
    tape: Tape, book: Book, i: int, row: int, side: int, equity: float, ts: int, params: Record
) -> None:
    """Start the slot's plan of `side` on signal `row`, and pass it through the gates before sizing."""
    measure_candidate_nb(tape, book, i, side, ts, params)
    stats = book.stats[book.slots[i]["symbol"]]
    judge_entry_nb(book.plans[i], side, tape.signals[row], equity, ts, book.crowd[0], book.governor[0], stats, params)


@kernel
def has_open_price_nb(bars: Records, row: int, has_mark: bool) -> bool:
    """Are there prices at a bar's open?"""
    bar = bars[row]
    return bar["open"] == bar["open"] and (not has_mark or bar["mark_open"] == bar["mark_open"])


@kernel
def refuse_nb(tape: Tape, book: Book, journal: Journal, call: Record, params: Record) -> None:
    """Write down the refusal of what a signal asks of a slot that sleeps through the boundary."""
    i = call["symbol"]
    b = call["boundary"]
    slot = book.slots[i]
    ts = tape.boundaries[b]
    side = book.positions[i]["side"]
    since_exit = -1
    if slot["last_exit_bar"] != NO_BAR:
        since_exit = call["row"] + 1 - slot["signals_first"] - slot["last_exit_bar"]
    rule = request_rule_nb(call["side"], side, side, since_exit, params)
    if rule == Rule.NONE and not has_open_price_nb(tape.bars, b + book.sleeps[i]["offset"], slot["has_mark"] == 1):
        rule = Rule.NO_PRICE.value
    if rule == Rule.NONE:
        equity = equity_nb(book.account[0], book.positions, book.points)
        judge_request_nb(tape, book, i, call["row"], call["side"], equity, ts, params)
        deny_plan_nb(book, journal, book.plans[i], i, call["row"], ts)
        return
    write_denial_nb(
        journal,
        ts,
        slot["symbol"],
        call["side"],
        Gate.SIGNAL.value,
        rule,
        0.0,
        0.0,
        call["confidence"],
        call["row"] - slot["signals_first"],
    )


@kernel
def refuse_calls_nb(tape: Tape, book: Book, journal: Journal, b: int, before: int, params: Record) -> None:
    """Refuse what is asked of slots that sleep, by boundary, then symbol: up to `b`, there of symbols before `before`.

    What is asked of slots awake is planned in its place. In hedge mode every request wakes its slots.
    """
    if book.slots[0]["other"] != NO_SLOT:
        return
    while True:
        call = tape.calls[book.counters[NEXT_CALL]]
        if call["boundary"] > b or (call["boundary"] == b and call["symbol"] >= before):
            return
        book.counters[NEXT_CALL] += 1
        sleep = book.sleeps[call["symbol"]]
        if sleep["asleep"] == 1 and sleep["since"] <= call["boundary"]:
            refuse_nb(tape, book, journal, call, params)
