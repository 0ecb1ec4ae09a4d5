"""What concerns the whole account: what is due at a known time, and above which equity the governor does nothing."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.records import NEVER, Record
from qtsim.core.safety_governor import DAY_NS
from qtsim.core.symbol_stats import later_nb
from qtsim.sim.market import NEXT_OUTAGE, NEXT_TRANSFER, Book, Tape

NEVER_DUE = np.iinfo(np.int64).max
SAFETY = 1e-9
"""Relative distance from a limit of the governor at which the plain steps judge; far above rounding."""


@kernel
def governor_due_nb(governor: Record) -> int:
    """Time at which an evaluation does more than compare the equity: a new day, or the end of one of the states."""
    due = (governor["day"] + 1) * DAY_NS
    for ends in (governor["paused_until"], governor["defensive_until"], governor["resume_at"]):
        if ends != NEVER:
            due = min(due, ends)
    return due


@kernel
def due_time_nb(tape: Tape, book: Book, params: Record) -> int:
    """Time of the next thing that is due whatever prices do: outage, transfer, and what the governor's clock ends."""
    due = NEVER_DUE
    if book.counters[NEXT_OUTAGE] < len(tape.outages):
        due = min(due, tape.outages[book.counters[NEXT_OUTAGE]]["ts"])
    if book.counters[NEXT_TRANSFER] < len(book.transfers):
        due = min(due, book.transfers[book.counters[NEXT_TRANSFER]]["due"])
    if params["gates"]["enabled"] == 0:
        return due
    due = min(due, governor_due_nb(book.governor[0]))
    for i in range(len(book.stats)):
        since = book.stats[i]["blacklisted_at"]
        if since != NEVER:
            due = min(due, later_nb(since, params["governor"]["shutdown_operator_hours"]))
    return due


@kernel
def floor_nb(before: float, limit: float) -> float:
    """Equity above which a loss of `limit` since `before` has certainly not been made."""
    if before <= 0.0:
        return np.inf if limit <= 0.0 else -np.inf
    if limit == np.inf:
        return -np.inf
    return before * (1.0 - limit) + before * SAFETY


@kernel
def equity_floor_nb(governor: Record, params: Record) -> float:
    """Equity above which the governor does nothing; at least 0."""
    floor = 0.0
    if params["gates"]["enabled"] == 0:
        return floor
    if governor["halted"] == 0:
        floor = max(floor, floor_nb(governor["day_equity"], params["governor"]["daily_drawdown"]))
    if governor["resume_at"] == NEVER:
        floor = max(floor, floor_nb(governor["base_equity"], params["governor"]["shutdown_drawdown"]))
    return floor
