"""A request for an entry before the approval chain: what it is judged by, and the row that its refusal leaves.

A slot sleeps through requests that nothing can come of. They are refused here, in their place among the others; those
that one open position stands against are kept short, and written out with the journals.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.accounting import equity_nb
from qtsim.core.balancer import measure_correlation_nb, measure_crowd_nb
from qtsim.core.entry import judge_entry_nb
from qtsim.core.enums import Gate, Rule, Side
from qtsim.core.records import Record, Records, denial_row_dt
from qtsim.core.signal_rules import request_rule_nb
from qtsim.core.slots import NO_SLOT
from qtsim.sim.market import DENIALS, NEXT_CALL, NO_BAR, NO_CORRELATION, REFUSALS, Book, Ints, Journal, Tape
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


@kernel
def note_refusals_nb(tape: Tape, book: Book, journal: Journal, b: int) -> None:
    """Write down, in one row, that all that is asked before boundary `b` meets the open position of the only slot."""
    first = book.counters[NEXT_CALL]
    end = first
    while tape.calls[end]["boundary"] < b:
        end += 1
    if end == first:
        return
    book.counters[NEXT_CALL] = end
    side = book.sleeps[0]["side"]
    at = journal.counts[DENIALS]
    n = journal.counts[REFUSALS]
    if n > 0:
        last = journal.refusals[n - 1]
        if last["at"] == at and last["end"] == first and last["side"] == side:
            last["end"] = end
            return
    row = journal.refusals[n]
    row["at"] = at
    row["first"] = first
    row["end"] = end
    row["side"] = side
    journal.counts[REFUSALS] = n + 1


@kernel
def refuse_asleep_nb(tape: Tape, book: Book, journal: Journal, b: int, params: Record) -> None:
    """Refuse what was asked before boundary `b`, up to which all slots have slept."""
    if len(book.slots) == 1 and book.sleeps[0]["side"] != Side.NONE:
        note_refusals_nb(tape, book, journal, b)
    else:
        refuse_calls_nb(tape, book, journal, b, 0, params)


@kernel
def write_refusal_nb(out: Records, at: int, refusal: Record, calls: Records, boundaries: Ints, params: Record) -> int:
    """Write the denials that a row of refusals stands for from row `at` on; the row behind them."""
    side = refusal["side"]
    for k in range(refusal["first"], refusal["end"]):
        call = calls[k]
        row = out[at]
        row["ts"] = boundaries[call["boundary"]]
        row["symbol"] = call["symbol"]
        row["side"] = call["side"]
        row["gate"] = Gate.SIGNAL.value
        row["rule"] = request_rule_nb(call["side"], side, side, -1, params)
        row["value"] = 0.0
        row["limit"] = 0.0
        row["confidence"] = call["confidence"]
        row["bar"] = call["row"]  # the account has one symbol
        at += 1
    return at


@kernel
def write_denials_nb(out: Records, journal: Journal, calls: Records, boundaries: Ints, params_rows: Records) -> None:
    """Write all denials in their order, those kept short among them."""
    at = 0
    done = 0
    for r in range(journal.counts[REFUSALS]):
        refusal = journal.refusals[r]
        while done < refusal["at"]:
            out[at] = journal.denials[done]
            done += 1
            at += 1
        at = write_refusal_nb(out, at, refusal, calls, boundaries, params_rows[0])
    while done < journal.counts[DENIALS]:
        out[at] = journal.denials[done]
        done += 1
        at += 1


def denials_of(journal: Journal, calls: Records, boundaries: Ints, params: Records) -> Records:
    """denial_row_dt: one row for each request that did not become an entry, in the order in which they were asked.

    params: params_dt[1] of the run.
    """
    refusals = journal.refusals[: journal.counts[REFUSALS]]
    short = int((refusals["end"] - refusals["first"]).sum())
    out = np.empty(int(journal.counts[DENIALS]) + short, denial_row_dt)
    write_denials_nb(out, journal, calls, boundaries, params)
    return out
