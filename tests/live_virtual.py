"""A live session in virtual time: the emulated exchange in process, a fault plan, crashes, and what must hold after."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from qtsim.app.emulator import Wanted as EmulatorWanted
from qtsim.app.emulator import prepare_emulator
from qtsim.app.live import Opened, Plan, World, close_session, open_session
from qtsim.app.workspace import Workspace
from qtsim.config.layers import Resolved
from qtsim.emulator import Control, Exchange, FaultPlan
from qtsim.emulator.inprocess import InProcess, Transport
from qtsim.emulator.market import MS, MarketEvent, Points
from qtsim.emulator.oracle import (
    Unprotected,
    exits_that_opened,
    repeated_entries,
    requests_in_bans,
    requests_without_intent,
    unprotected,
)
from qtsim.emulator.virtual import VirtualClock, play, run_virtual
from qtsim.live.ids import parse_client_id
from qtsim.live.journal import Journal
from qtsim.live.redaction import Redactor
from qtsim.live.runner import Runner
from qtsim.live.tasks import end_tasks
from tests.live_rehearsal import ENVIRON, make_workspace, plan_of, resolved_of
from tests.unit.live.lines import frames_of

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
ENDPOINT = "http://127.0.0.1:9"
MARKS_NS = 5_000_000_000


class CrashedError(Exception):
    """The process is gone: nothing that it does arrives any more."""


@dataclass
class Crash:
    """Ends the program at the n-th point at which it touches the journal or the exchange; 0: never."""

    at: int = 0
    points: int = 0
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    names: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        """One point. Raises CrashedError at the n-th and at every one after it."""
        if self.happened.is_set():
            raise CrashedError(name)
        self.points += 1
        self.names.append(name)
        if self.points == self.at:
            self.happened.set()
            raise CrashedError(name)


def fragile_transport(transport: Transport, crash: Crash) -> None:
    """Each request is two crash points: before it leaves, and when its answer comes."""
    send = transport.send

    async def stepped(url: str, method: str, headers: Any, body: Any) -> Any:
        if method != "GET":
            crash.step(f"before {method}")
        answer = await send(url, method, headers, body)
        if method != "GET":
            crash.step(f"after {method}")
        elif crash.happened.is_set():
            raise CrashedError(url)
        return answer

    transport.send = stepped  # type: ignore[method-assign]


def fragile_journal(journal: Journal, crash: Crash) -> None:
    """Each write that waits for the disk is two crash points: before it and after it."""
    for name in ("write_intent", "commit"):
        whole = getattr(journal, name)

        def stepped(*args: Any, whole: Callable[..., Any] = whole, name: str = name) -> Any:
            crash.step(f"before {name}")
            result = whole(*args)
            crash.step(f"after {name}")
            return result

        setattr(journal, name, stepped)


@dataclass
class Stage:
    """One exchange with its market; sessions come and go."""

    workspace: Workspace
    resolved: Resolved
    exchange: Exchange
    events: list[MarketEvent]
    told: list[str] = field(default_factory=list)
    decimals: dict[str, Decimal] = field(default_factory=dict)
    opened: list[Opened] = field(default_factory=list)

    @property
    def control(self) -> Control:
        """What tests do to the exchange, now."""
        with contextlib.suppress(RuntimeError):
            now = VirtualClock().now_ms()
            self.exchange.tick(now, now)
        return Control(self.exchange)

    def world(self, transport: Transport) -> World:
        """In process, in virtual time."""

        async def no_steps(base: str) -> None:
            return None

        async def connect(url: str) -> Any:
            return await transport.open(url)

        return World(
            environ=ENVIRON,
            mixins=(InProcess,),
            client_values={"transport": transport},
            connect=connect,
            steps=no_steps,
            wall_ns=lambda: transport.clock.wall_ms() * MS,
            by_events=False,
        )

    def plan(self, world: World) -> Plan:
        """The session's plan."""
        return plan_of(self.workspace, self.resolved, ENDPOINT, world)

    async def open(self, crash: Crash | None = None) -> tuple[Opened, asyncio.Task[None]]:
        """Start a session; it trades until it is closed."""
        transport = Transport(self.exchange)
        if crash is not None:
            fragile_transport(transport, crash)
        world = self.world(transport)
        opened = await open_session(self.plan(world), world, self.told.append, Redactor())
        self.opened.append(opened)
        opened.runner.measure = dict  # how busy this machine is has nothing to do with it
        opened.journal._db.execute("PRAGMA synchronous = OFF")  # the disk's part is tested elsewhere
        if crash is not None:
            fragile_journal(opened.journal, crash)
        return opened, asyncio.ensure_future(opened.runner.run())

    async def close(self, opened: Opened, running: asyncio.Task[None]) -> None:
        """End a session in order."""
        opened.runner.end("the test has ended")
        await running
        await opened.runner.wind_down()
        await close_session(opened)

    # what must hold ---------------------------------------------------------------------------------------------------

    def unprotected(self) -> list[Unprotected]:
        """Spans in which a position had no covering stop."""
        return unprotected(self.exchange.log, self.exchange.now_ms)

    def check(
        self, runner: Runner, *, longest_ms: int = 10_000, lost_intents: Sequence[str] = (), banned: bool = False
    ) -> None:
        """Exits only reduce, no entry twice, the same books, nothing naked, no request in a ban.

        lost_intents: client ids that a journal held which is no more. banned: were there bans, of which a request that
        was under way, or the first of a program started anew, could not know?
        """
        log = self.exchange.log
        assert not exits_that_opened(log, _is_exit)
        assert not repeated_entries(log, _decision_of)
        assert banned or not requests_in_bans(log)
        intended = [*lost_intents]
        intended += [client_id for path in runner.folder.glob("journal.sqlite*") for client_id in intents_in(path)]
        assert not [entry for entry in requests_without_intent(log, intended) if _is_ours(entry.data["client_id"])]
        spans = [span for span in self.unprotected() if span.ms > longest_ms]
        assert not spans, spans
        held = {(p.symbol, p.side): p.qty for p in self.exchange.state.account.open_positions()}
        session = runner.trader.session
        mine = {}
        for slot in range(len(session.positions)):
            position = session.positions[slot]
            if position["side"] != 0:
                key = runner.dealer.key_of(slot)
                mine[key] = int(position["side"] * position["lots"]) * runner.dealer.lots[key[0]]
        assert mine == held
        # a trigger that got stuck stays in the exchange's list, and protects nothing
        algos = [algo for algo in self.exchange.state.open_algos.values() if algo.status == "NEW"]
        assert {algo.symbol for algo in algos} == {symbol for symbol, _ in held}
        assert len(algos) == len(held)
        gap = float(self.exchange.state.account.wallet) - float(session.account["wallet"][0])
        assert abs(gap) < 1e-6, gap


def intents_in(path: Path) -> list[str]:
    """Client ids of a journal's intents, of one that was put aside too; none of what is no journal."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as db:
            return [row[0] for row in db.execute("SELECT client_id FROM intents")]
    except sqlite3.Error:
        return []


def _is_ours(client_id: str) -> bool:
    parsed = parse_client_id(client_id)
    return parsed is not None and parsed.epoch < 9


def _is_exit(client_id: str) -> bool:
    parsed = parse_client_id(client_id)
    return parsed is not None and parsed.kind.is_exit


def _decision_of(client_id: str) -> str | None:
    """An entry's decision; each decision has one intent, whatever the attempt."""
    parsed = parse_client_id(client_id)
    return None if parsed is None or parsed.kind.is_exit else f"{parsed.epoch}/{parsed.number}"


def make_stage(
    root: Path,
    *,
    bars: int = 25,
    warm_up: int = 120,
    seed: int = 6,
    plan: FaultPlan | None = None,
    marks_ns: int = MARKS_NS,
    **overrides: Any,
) -> Stage:
    """Random bars of two symbols, the exchange that plays them, the settings of a session that trades often."""
    workspace = make_workspace(root / "ws", frames_of(SYMBOLS, warm_up + bars, seed))
    period = f"2024-01-01T{warm_up // 60:02d}:{warm_up % 60:02d}:00:"
    resolved = resolved_of(workspace, SYMBOLS, period, **{"costs.funding.source": "off", **overrides})
    rehearsal = prepare_emulator(workspace, resolved, EmulatorWanted(port=0))
    exchange = rehearsal.exchange
    exchange.log.entries = deque(exchange.log.entries)  # all of it is kept
    exchange.limiter.weight_limit = 0
    if plan is not None:
        exchange.faults.plan = plan
    return Stage(workspace, resolved, exchange, list(with_marks(rehearsal.events, marks_ns)))


def with_marks(events: Iterable[MarketEvent], every_ns: int = MARKS_NS) -> Iterator[MarketEvent]:
    """Between the points of a bar the mark price is told again and again, as an exchange does."""
    last: Points | None = None
    for event in events:
        while last is not None and event.ts_ns - last.ts_ns > every_ns:
            points = tuple(replace(point, qty=Decimal(0)) for point in last.points)
            last = Points(last.ts_ns + every_ns, points)
            yield last
        yield event
        last = event if isinstance(event, Points) else last


def in_virtual_time(stage: Stage, story: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a story from the first price on. Sessions that it leaves open, having failed, let go of their files."""
    try:
        return run_virtual(story(), start_ms=stage.events[0].ts_ns // MS)
    finally:
        for opened in stage.opened:
            opened.journal._db.close()
            opened.lock.release()


async def play_through(stage: Stage, events: Iterable[MarketEvent] | None = None, *, rest_s: float = 90.0) -> None:
    """The market to its end, and some time after it; marks go on, as an exchange's do."""
    await play(stage.exchange, stage.events if events is None else events)
    await asyncio.sleep(rest_s)


async def whole_session(stage: Stage, **more: Any) -> Runner:
    """One session over the whole market."""
    opened, running = await stage.open()
    await play_through(stage, **more)
    await stage.close(opened, running)
    return opened.runner


async def kill(opened: Opened, running: asyncio.Task[None]) -> None:
    """What a killed process leaves: committed rows, orders on the exchange, nothing else."""
    runner = opened.runner
    await end_tasks([running, *runner._tasks, *runner.dealer._tasks])
    assert runner.streams is not None
    await runner.streams.stop()
    opened.journal._db.rollback()
    opened.journal._db.close()
    with contextlib.suppress(Exception):
        await opened.client.close()
    opened.lock.release()
