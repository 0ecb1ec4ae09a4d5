"""Run a market through one of the two drivers, and compare what they wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from qtsim.core.enums import SizingModel
from qtsim.core.records import Records
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.sim.curve import (
    HELD,
    STRETCHES,
    Curve,
    ShortCurve,
    WholeCurve,
    has_curve_room_nb,
    longer_curve,
    new_curve,
)
from qtsim.sim.journals import Journals
from qtsim.sim.loop import DONE, JOURNAL_FULL, ROOM_PER_SYMBOL, run_nb
from qtsim.sim.market import (
    COUNTERS,
    CURSOR,
    DECISIONS,
    DOUBTS,
    EQUITIES,
    FILLS,
    FUNDINGS,
    GOVERNOR,
    NEXT_TRANSFER,
    TRADES,
    Book,
    Floats,
    Journal,
    Market,
    Tape,
    grown,
    new_book,
    new_journal,
    tape_of,
)
from qtsim.sim.quiet import MOST
from qtsim.sim.reference import ReferenceBacktest
from qtsim.sim.requests import denials_of
from qtsim.sim.rows import copied
from qtsim.sim.trades import TradeChunk, turn_to_chunk, with_chunk

Progress = Callable[[int, int], None]
"""Called with (boundaries done, boundaries in all); of trades with (chunks done, 0)."""
CHUNK = 100_000
"""Boundaries between two progress reports; Ctrl-C is obeyed there. A call costs about as much as a hundred of them."""
PLAIN_CHUNK = 200
"""The same of the plain session."""
FIRST_ROWS = 512
JOURNALLED = ("trades", "fills", "decisions", "denials", "funding", "equity", "governor", "transfers", "doubts")
COMPARED = (*JOURNALLED, "positions", "account", "agent")


@dataclass
class CompiledRun:
    """A compiled run that can be paused: its book and journals carry everything over."""

    market: Market
    params: Records
    book: Book
    journal: Journal
    curve: Curve
    diagnose: bool = False
    skips: bool = True
    tape: Tape = field(init=False)
    trial_book: Book = field(init=False)  # in which both orders of a bar are tried
    trial_journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        width = slots_per_symbol_nb(self.params[0])
        self.tape = tape_of(self.market, width)
        self.trial_book = new_book(self.market, 0.0, width)
        self.trial_journal = new_journal(self.market, 1, keep=False)

    @classmethod
    def start(
        cls,
        market: Market,
        params: Records,
        balance: float,
        *,
        diagnose: bool = False,
        agent: Records | None = None,
        draws: Floats | None = None,
        skips: bool = True,
    ) -> CompiledRun:
        """A run that stands before the first boundary."""
        width = slots_per_symbol_nb(params[0])
        n = len(market.instruments) * width
        journal = new_journal(market, FIRST_ROWS + ROOM_PER_SYMBOL * n, width=width)
        book = new_book(market, balance, width, agent, draws)
        return cls(market, params, book, journal, new_curve(MOST, n), diagnose, skips)

    def advance(self, stop_at: int) -> None:
        """Run up to boundary `stop_at` (exclusive), or the end."""
        while True:
            status = run_nb(
                self.tape,
                self.book,
                self.journal,
                self.curve,
                self.trial_book,
                self.trial_journal,
                self.params,
                self.diagnose,
                self.skips,
                stop_at,
            )
            if status != JOURNAL_FULL:
                return
            self.journal = grown(self.journal, ROOM_PER_SYMBOL * len(self.book.slots))
            if not has_curve_room_nb(self.curve, len(self.book.slots)):
                self.curve = longer_curve(self.curve)

    def feed(self, chunk: TradeChunk) -> None:
        """Run the trades of a chunk, up to where the next one begins."""
        self.market = with_chunk(self.market, chunk)
        width = slots_per_symbol_nb(self.params[0])
        turn_to_chunk(self.book, self.market, width)
        self.tape = tape_of(self.market, width)
        self.trial_book = new_book(self.market, 0.0, width)
        self.book.counters[CURSOR] = 0
        self.advance(len(chunk.boundaries) - (0 if chunk.is_last else 1))

    @property
    def is_done(self) -> bool:
        """Has the last boundary been processed?"""
        return int(self.book.counters[CURSOR]) >= len(self.market.boundaries)

    def journals(self, symbols: list[str]) -> Journals:
        """What the run has written so far."""
        journal, counts = self.journal, self.journal.counts
        counters = {name: int(value) for name, value in zip(COUNTERS, self.book.counters, strict=False)}
        return Journals(
            symbols=symbols,
            timeframe_ns=self.market.timeframe_ns,
            trades=copied(journal.trades[: counts[TRADES]]),
            fills=copied(journal.fills[: counts[FILLS]]),
            decisions=copied(journal.decisions[: counts[DECISIONS]]),
            denials=denials_of(journal, self.market.bar_index.calls, self.market.boundaries, self.params),
            funding=copied(journal.funding[: counts[FUNDINGS]]),
            curve=ShortCurve(
                visited=copied(journal.equity[: counts[EQUITIES]]),
                stretches=copied(self.curve.stretches[: self.curve.counts[STRETCHES]]),
                held=copied(self.curve.held[: self.curve.counts[HELD]]),
                marks=self.market.bar_index.marks,
            ),
            governor=copied(journal.governor[: counts[GOVERNOR]]),
            doubts=copied(journal.doubts[: counts[DOUBTS]]),
            transfers=self.book.transfers[: self.book.counters[NEXT_TRANSFER]].copy(),
            positions=self.book.positions.copy(),
            account=self.book.account.copy(),
            agent=_agent_of(self.params, self.book.agent),
            counts=counters,
        )


def run_compiled(
    market: Market,
    params: Records,
    balance: float,
    symbols: list[str],
    *,
    diagnose: bool = False,
    agent: Records | None = None,
    draws: Floats | None = None,
    progress: Progress | None = None,
    trades: Iterable[TradeChunk] | None = None,
    skips: bool = True,
) -> Journals:
    """Run the compiled loop over the whole market.

    params: params_dt[1]; balance: starting wallet in quote; diagnose: flag exits that depend on the bar's path.
    agent: agent_dt[1] for sizing model rl, copied; None: one that knows nothing and learns. draws: uniforms in [0, 1),
    two per decision of the agent; beyond them, and without, it does not explore. trades: the path, in place of bars.
    skips: pass over what is quiet; without it every point is visited, and the same bytes come out.
    """
    run = CompiledRun.start(market, params, balance, diagnose=diagnose, agent=agent, draws=draws, skips=skips)
    if trades is not None:
        for done, chunk in enumerate(trades):
            run.feed(chunk)
            if progress is not None:
                progress(done + 1, 0)
        return run.journals(symbols)
    total = len(market.boundaries)
    while not run.is_done:
        run.advance(int(run.book.counters[CURSOR]) + CHUNK)
        if progress is not None:
            progress(int(run.book.counters[CURSOR]), total)
    return run.journals(symbols)


def run_reference(
    market: Market,
    params: Records,
    balance: float,
    symbols: list[str],
    *,
    diagnose: bool = False,
    agent: Records | None = None,
    draws: Floats | None = None,
    progress: Progress | None = None,
    trades: Iterable[TradeChunk] | None = None,
) -> Journals:
    """Run the plain session with SimBroker over the whole market; the slow, obvious twin of `run_compiled`."""
    reference = ReferenceBacktest(market, params, balance, diagnose=diagnose, agent=agent, draws=draws)
    if trades is not None:
        for done, chunk in enumerate(trades):
            reference.feed(chunk)
            if progress is not None:
                progress(done + 1, 0)
    total = len(market.boundaries) if trades is None else 0
    for start in range(0, total, PLAIN_CHUNK):
        reference.run(start, start + PLAIN_CHUNK)
        if progress is not None:
            progress(min(start + PLAIN_CHUNK, total), total)
    session = reference.session
    counters = {name: int(session.counts[name]) for name in COUNTERS}
    counters["pending_at_end"] = reference.pending_at_end
    tables = {kind: session.journal.table(kind) for kind in JOURNALLED if kind != "equity"}
    return Journals(
        symbols=symbols,
        timeframe_ns=market.timeframe_ns,
        positions=session.positions.copy(),
        account=session.account.copy(),
        agent=_agent_of(params, reference.agent),
        counts=counters,
        curve=WholeCurve(session.journal.table("equity")),
        **tables,
    )


def _agent_of(params: Records, agent: Records) -> Records:
    """A copy of the agent; none where another sizing model was chosen."""
    return agent[: int(params["sizing"]["model"][0] == SizingModel.RL)].copy()


def first_difference(left: Journals, right: Journals) -> str | None:
    """None where two runs are equal byte for byte; else the first row and field that differ, in words.

    Bytes are compared field by field: padding between fields carries no information.
    """
    for name in COMPARED:
        a, b = getattr(left, name), getattr(right, name)
        if name == "positions":
            # a flat slot keeps leftovers of its last trade; only what is open counts
            a, b = a[a["side"] != 0], b[b["side"] != 0]
        if len(a) != len(b):
            return f"{name}: {len(a)} rows against {len(b)}"
        for column in a.dtype.names:
            if a[column].tobytes() != b[column].tobytes():
                row = next(k for k in range(len(a)) if a[column][k].tobytes() != b[column][k].tobytes())
                return f"{name} row {row}, {column}: {a[column][row]!r} against {b[column][row]!r}"
    if left.counts != right.counts:
        return f"counts: {left.counts} against {right.counts}"
    return None


__all__ = ["DONE", "CompiledRun", "Progress", "first_difference", "run_compiled", "run_reference"]
