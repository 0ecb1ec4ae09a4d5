"""A request for an entry before the approval chain: what it is judged by, and the row that its refusal leaves."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.balancer import measure_correlation_nb, measure_crowd_nb
from qtsim.core.entry import judge_entry_nb
from qtsim.core.records import Record
from qtsim.sim.market import NO_CORRELATION, Book, Journal, Tape
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
