"""Trials: one market run again and again with other parameters, each leaving one row of fixed size.

A `TrialRunner` owns what one thread needs, and uses it again for each trial, so that memory does not grow with their
number. Denials are counted and not kept; the other journals are as long as the longest trial needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from qtsim.core.records import Records
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.sim.curve import Curve, has_curve_room_nb, longer_curve, new_curve
from qtsim.sim.loop import JOURNAL_FULL, ROOM_PER_SYMBOL, run_nb
from qtsim.sim.market import (
    ADVANCE,
    CURSOR,
    DECISIONS,
    DENIALS,
    FILLS,
    REFUSALS,
    TRADES,
    Book,
    Floats,
    Ints,
    Journal,
    Market,
    Tape,
    grown,
    new_book,
    new_journal,
    tape_of,
)
from qtsim.sim.measure import BLOCKS, DAY_NS, MEASURES, TAIL, measure_dt, measure_run_nb, tally_denials_nb
from qtsim.sim.quiet import MOST
from qtsim.sim.trades import TradeChunk, turn_to_chunk, with_chunk

STRIDE = 50_000
"""Boundaries between two looks at whether the sweep is to end."""
FIRST_ROWS = 256
SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344)
"""Where the two lanes of a digest start: any two numbers do."""


class Interrupted(Exception):
    """The sweep is to end before the trial has."""


def day_rows_of(market: Market) -> Ints:
    """Row of the equity at the end of each UTC day; 0: the account still stands at its start.

    A mark at 00:00 belongs to the day it ends; a day without one keeps the last. As `qtsim.results.metrics`.
    """
    ts = market.boundaries[market.marked == 1]
    if len(ts) < 2:
        return np.zeros(0, np.int64)
    days = (ts - 1) // DAY_NS
    wanted = np.arange(int(ts[0] // DAY_NS), int(days[-1]) + 1, dtype=np.int64)
    return np.maximum(np.searchsorted(days, wanted, side="right") - 1, 0).astype(np.int64)


def new_rows(count: int) -> Records:
    """Rows of trials that have not been measured, measure_dt of shape (count,)."""
    rows = np.zeros(count, measure_dt)
    for name in MEASURES:
        rows[name] = np.nan
    rows["denials"] = 0.0
    rows["digest"] = np.array(SEEDS, np.uint64)
    return rows


@dataclass
class _Scratch:
    """What a run writes into, for one number of slots per symbol."""

    width: int
    fresh: Book
    book: Book
    journal: Journal
    curve: Curve
    path_book: Book
    path_journal: Journal


class TrialRunner:
    """Runs trials of one market in one thread.

    draws: uniforms for an agent that learns (sizing model rl), the same for every trial. trades: the path, in place of
    the market's bars; gone through once per trial.
    """

    def __init__(self, market: Market, draws: Floats | None = None, trades: Iterable[TradeChunk] | None = None) -> None:
        self.market = market
        self.draws = draws
        self.trades = trades
        self.day_rows = day_rows_of(market)
        days = len(self.day_rows)
        self.returns = np.zeros(days)
        self._equity = np.zeros(len(market.boundaries) + 1)
        self._worst = np.zeros(min(int(max(days - 1, 0) * TAIL) + 2, max(days, 1)))
        self._scratch: dict[int, _Scratch] = {}

    def run(self, params: Records, balance: float, out: Records, ends: Callable[[], bool] | None = None) -> None:
        """Run one trial and measure it; afterwards `returns` holds its daily returns.

        params: params_dt[1]; balance: starting wallet; out: measure_dt[1], written. Raises Interrupted where `ends`
        says so on the way.
        """
        scratch = self._reset(int(slots_per_symbol_nb(params[0])), balance)
        out[:] = new_rows(1)
        if self.trades is None:
            tape = tape_of(self.market, scratch.width)
            self._advance(scratch, tape, len(self.market.boundaries), params, out, ends)
        else:
            self._follow(scratch, self.trades, params, out, ends)
        self._measure(scratch, out)

    def _follow(
        self,
        scratch: _Scratch,
        trades: Iterable[TradeChunk],
        params: Records,
        out: Records,
        ends: Callable[[], bool] | None,
    ) -> None:
        """Run along the trades, chunk by chunk. Equity is marked at the market's own boundaries all the same."""
        for chunk in trades:
            market = with_chunk(self.market, chunk)
            turn_to_chunk(scratch.book, market, scratch.width)
            scratch.book.counters[CURSOR] = 0
            self._advance(scratch, tape_of(market, scratch.width), chunk.own, params, out, ends)

    def _advance(
        self,
        scratch: _Scratch,
        tape: Tape,
        end: int,
        params: Records,
        out: Records,
        ends: Callable[[], bool] | None,
    ) -> None:
        """Run up to boundary `end` (exclusive) of the tape."""
        while int(scratch.book.counters[CURSOR]) < end:
            status = run_nb(
                tape,
                scratch.book,
                scratch.journal,
                scratch.curve,
                scratch.path_book,
                scratch.path_journal,
                params,
                False,
                True,
                min(int(scratch.book.counters[CURSOR]) + STRIDE, end),
            )
            if status == JOURNAL_FULL:
                self._make_room(scratch, out)
            elif ends is not None and ends():
                raise Interrupted

    def _measure(self, scratch: _Scratch, out: Records) -> None:
        journal, counts = scratch.journal, scratch.journal.counts
        out["shutdowns"] = scratch.book.governor["shutdowns"]
        with np.errstate(over="ignore"):  # interpreted, the digest's multiplication tells of its overflow
            measure_run_nb(
                journal,
                scratch.curve,
                _words(journal.fills, int(counts[FILLS])),
                _words(journal.decisions, int(counts[DECISIONS])),
                scratch.book.account[0],
                scratch.book.positions,
                self.market.boundaries,
                self.market.bar_index.marks,
                self.day_rows,
                self._equity,
                self.returns,
                self._worst,
                out[0],
            )

    def _reset(self, width: int, balance: float) -> _Scratch:
        """Everything as before the first boundary."""
        scratch = self._scratch.get(width)
        if scratch is None:
            scratch = self._scratch[width] = self._new_scratch(width)
        for mine, fresh in zip(scratch.book, scratch.fresh, strict=True):
            if mine is not fresh:
                mine[...] = fresh
        scratch.book.account["wallet"] = balance
        scratch.book.account["initial_balance"] = balance
        counts = scratch.journal.counts
        for name, kind in (("trades", TRADES), ("fills", FILLS), ("decisions", DECISIONS)):
            _words(getattr(scratch.journal, name), int(counts[kind]))[...] = 0
        counts[:ADVANCE] = 0
        scratch.curve.counts[:] = 0
        return scratch

    def _new_scratch(self, width: int) -> _Scratch:
        room = ROOM_PER_SYMBOL * len(self.market.instruments) * width
        return _Scratch(
            width,
            new_book(self.market, 0.0, width, draws=self.draws),
            new_book(self.market, 0.0, width, draws=self.draws),
            new_journal(self.market, FIRST_ROWS + room, width=width),
            new_curve(MOST, len(self.market.instruments) * width),
            new_book(self.market, 0.0, width),
            new_journal(self.market, 1, keep=False),
        )

    def _make_room(self, scratch: _Scratch, out: Records) -> None:
        """Count the denials; lengthen what else is nearly full."""
        slots = len(scratch.book.slots)
        counts = scratch.journal.counts
        is_full = counts[DENIALS] + ROOM_PER_SYMBOL * slots > len(scratch.journal.denials)
        if is_full or counts[REFUSALS] + ROOM_PER_SYMBOL * slots > len(scratch.journal.refusals):
            tally_denials_nb(scratch.journal, out[0])
        scratch.journal = grown(scratch.journal, ROOM_PER_SYMBOL * slots)
        if not has_curve_room_nb(scratch.curve, slots):
            scratch.curve = longer_curve(scratch.curve)


def _words(rows: Records, count: int) -> Records:
    """The first `count` rows as 64-bit words, without a copy."""
    return rows[:count].view(np.uint64)


__all__ = ["BLOCKS", "Interrupted", "TrialRunner", "day_rows_of", "measure_dt", "new_rows"]
