"""`qtsim live`: everything that is checked before the first order, in the specification's order, then the session."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import json
import logging
import math
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.app.api import open_store
from qtsim.app.credentials import read_credentials
from qtsim.app.inputs import instrument_fields, leader_symbol
from qtsim.app.paper import PaperVenue
from qtsim.app.repeat import NOT_COMPARED, Repeated
from qtsim.app.warm import Rehearsal
from qtsim.app.workspace import Workspace
from qtsim.config.check import check_settings
from qtsim.config.layers import Resolved
from qtsim.config.params import to_params
from qtsim.config.settings import Settings, flatten
from qtsim.core._jit import DIGEST
from qtsim.core.enums import Monitoring
from qtsim.core.orders import has_entry_order_nb
from qtsim.core.records import Records, close_dt, span_dt
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.data.atomic import write_atomically
from qtsim.data.download.rules import instrument_of, with_brackets
from qtsim.data.frames import times_of
from qtsim.data.instruments import Instrument, load_instruments, to_record
from qtsim.data.sectors import sector_numbers
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts, timeframe_ns
from qtsim.errors import QtsimError, UsageError
from qtsim.live.binance.client import Client, open_client
from qtsim.live.binance.exchange import BannedError, BinanceExchange, QuestionRefusedError
from qtsim.live.binance.hosts import Hosts, hosts_of
from qtsim.live.binance.streams import Connect, Streams, connect_aiohttp, stream_names
from qtsim.live.commands import take_commands
from qtsim.live.cursors import read_cursors, write_cursors
from qtsim.live.dealer import TOLD_EVENT, Dealer, row_of
from qtsim.live.desk import Desk
from qtsim.live.gateway import Gateway
from qtsim.live.guardian import write_triggers
from qtsim.live.history import Bar, BarHistory, RegimeRules, SignalSource
from qtsim.live.ids import session_tag
from qtsim.live.journal import Journal, JournalDamagedError, open_journal, put_aside
from qtsim.live.lock import Lock, holder, take_lock
from qtsim.live.log import RECOVERED, EventLog
from qtsim.live.modes import Mode, lowered
from qtsim.live.notify import Notifier, open_apprise
from qtsim.live.orders import QueryFailedError
from qtsim.live.outcomes import Remedy, classify
from qtsim.live.permissions import danger_of
from qtsim.live.pnl import PnlTracker
from qtsim.live.precision import Filters, filters_of
from qtsim.live.reconcile import Rules, signed_lots
from qtsim.live.recorder import LARGE, SMALL, Recorder, restore
from qtsim.live.redaction import Redactor, Secret
from qtsim.live.runner import MS, Rule, Runner
from qtsim.live.steps import Follower, open_steps
from qtsim.live.tasks import end_tasks
from qtsim.live.trader import Timing, Trader
from qtsim.live.weights import Budget
from qtsim.results.run_folder import check_writable
from qtsim.results.signals import KEPT, compare_signals, newest_signals
from qtsim.signals.loading import load_strategy, strategy_fingerprint
from qtsim.signals.regimes import LeaderRules
from qtsim.signals.strategy import Strategy
from qtsim.trading.messages import OrderEnd
from qtsim.trading.session import Session

SECOND = 1_000_000_000
RECV_WINDOW_MS = 2_000
WARM_UP_BARS = 1_500
"""Bars asked for of a symbol of which the store has none."""
UNREACHABLE_S = (1.0, 2.0, 5.0)
"""Between two tries to reach the exchange; the last repeats. What is held there may be without a stop meanwhile."""
JOURNAL = "journal.sqlite"
STATUS = "status.json"
PROTECTION = "protection.json"
HASH_LENGTH = 12
OF_SIGNALS, SHORT_HASH = "+", 6
"""A confirmation of signals that differ follows that of the settings."""
RECONCILE_TRIES = 5
STATUS_S = 1.0
OFTEN = (700, 10, 10)
"""Thresholds at which garbage is looked for while a session trades: each look is short."""
ENDED_BY_A_PERSON = "a person ended it"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What `qtsim live` is asked for beside settings."""

    mode: str = ""
    endpoint: str = ""
    confirm: str = ""
    no_alerts: bool = False
    repeated: Repeated | None = None
    guardian: bool = True


@dataclass(frozen=True)
class World:
    """What reaches outside, so that tests can give another: environment, transport, sockets, clock."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    mixins: tuple[type, ...] = ()
    client_values: Mapping[str, Any] = field(default_factory=dict)
    connect: Connect = connect_aiohttp
    steps: Callable[[str], Awaitable[Any]] = open_steps
    wall_ns: Callable[[], int] = time.time_ns
    ask: Callable[[str], str] | None = None  # a question to a person on a terminal
    by_events: bool | None = None  # is the market's time that of its events? None: on the loopback


@dataclass
class Plan:
    """A session that has passed every check that needs no network."""

    workspace: Workspace
    resolved: Resolved
    strategy: Strategy
    mode: Mode
    hosts: Hosts
    symbols: list[str]
    folder: Path
    digest: str
    lines: list[str]
    wanted: Wanted

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.resolved.settings


def state_folder(workspace: Workspace, session: str) -> Path:
    """Where a session's lock, journal and status lie."""
    return workspace.root / "live" / session


# checks without a network --------------------------------------------------------------------------------------------


def plan_live(workspace: Workspace, resolved: Resolved, wanted: Wanted, world: World) -> Plan:
    """Everything that can be wrong before anything is sent.

    Raises
    ------
    UsageError
        A mode that is locked, settings that live trading cannot follow, a confirmation that is missing or of others.
    """
    settings = resolved.settings
    asked = Mode(wanted.mode or settings.live.mode)
    mode, lowering = lowered(asked, world.environ)
    lines = [f"mode {mode}: lowered from {asked}, {one}" for one in lowering]
    if any(one.variable == "EXIT_EXECUTOR_MODE" for one in lowering):
        lines.append("no orders are sent at all: positions on the account are UNPROTECTED by this program")
    strategy = load_strategy(settings.run.strategy, settings.strategy, [workspace.strategies])
    symbols = [normalize_symbol(symbol) for symbol in settings.run.symbols]
    refuse_unplayable(settings, strategy, symbols, mode)
    symbols = sorted(symbols)
    endpoint = wanted.endpoint or settings.live.endpoint
    hosts = hosts_of(endpoint, demo=mode is Mode.TESTNET)
    digest = settings_digest(resolved, strategy, symbols, endpoint)
    if wanted.repeated is not None:
        lines += _differences(wanted.repeated, resolved, strategy)
        lines += _what_it_came_to(wanted.repeated)
    findings = check_settings(settings)
    lines += [f"check: {finding.text}" for finding in findings[:8]]
    if mode is Mode.LIVE:
        _confirm(digest, wanted, world, [line for line in lines if line.startswith("differs")])
    if mode is Mode.LIVE and not settings.live.notify.urls_file and not wanted.no_alerts:
        raise UsageError(
            "--mode live without alerts: name a file of apprise addresses in live.notify.urls_file, or say --no-alerts"
        )
    folder = state_folder(workspace, settings.live.session)
    check_writable(folder.parent)
    return Plan(workspace, resolved, strategy, mode, hosts, symbols, folder, digest, lines, wanted)


def refuse_unplayable(settings: Settings, strategy: Strategy, symbols: Sequence[str], mode: Mode) -> None:
    """Raise UsageError for what a live session cannot do."""
    if symbols == ["ALL"] or "all" in settings.run.symbols:
        raise UsageError("run.symbols = all: name the symbols that are traded, -p BTCUSDT,ETHUSDT")
    unreadable = [name for name in strategy.uses.columns if name != "funding_rate"]
    if unreadable:
        raise UsageError(f"{strategy.name} uses {unreadable[0]}: live it can read bars and funding_rate only")
    if settings.sizing.model == "rl":
        raise UsageError("sizing.model = rl is not available live; choose math, notional, fixed_risk or fraction")
    if settings.costs.slippage.model == "spread":
        raise UsageError("costs.slippage.model = spread: quotes are not read live; choose fixed, size or impact")
    latency = settings.sim.latency_ms
    if mode is Mode.PAPER and max(latency.decision, latency.order, latency.jitter) > 0.0:
        raise UsageError("sim.latency_ms: the simulated fills of mode paper come at once; set its three values to 0")
    if mode is Mode.PAPER and settings.sim.volume.max_share < math.inf:
        raise UsageError("sim.volume.max_share: mode paper knows no volume of the bar it fills in; set it to inf")


def settings_digest(resolved: Resolved, strategy: Strategy, symbols: Sequence[str], endpoint: str) -> str:
    """What a person confirms: settings, strategy, symbols, host and engine, in twelve characters."""
    values = {path: value for path, value in flatten(resolved.settings).items() if path not in ("live.mode",)}
    content = json.dumps(
        [sorted(values.items()), strategy_fingerprint(strategy), sorted(symbols), endpoint, DIGEST], default=str
    )
    return hashlib.sha256(content.encode()).hexdigest()[:HASH_LENGTH]


def _confirm(digest: str, wanted: Wanted, world: World, differences: Sequence[str]) -> None:
    """A person has seen these settings, and how they differ from the run that they come from."""
    seen = "".join(f"{line}\n" for line in differences)
    if wanted.confirm:
        if wanted.confirm.partition(OF_SIGNALS)[0] != digest:
            raise UsageError(f"{seen}--confirm {wanted.confirm}: these settings are {digest}; look at them once more")
        return
    if world.ask is None:
        raise UsageError(f"{seen}--mode live needs a confirmation: --confirm {digest}")
    if world.ask(f"{seen}type {digest} to trade with real money").strip() != digest:
        raise UsageError("not confirmed; nothing was sent")


def refuse_other_signals(plan: Plan, source: SignalSource, world: World, tell: Tell) -> None:
    """Hold the signals of the last closed bars against those of the run that the session comes from.

    Raises
    ------
    UsageError
        They differ, mode is live, and nobody has confirmed it.
    """
    repeated = plan.wanted.repeated
    if repeated is None:
        return
    if repeated.signals is None:
        tell(f"signals: {repeated.run_id} kept none, so they are not compared; run it again with this version")
        return
    found = compare_signals(newest_signals(*source.recent(KEPT)), repeated.signals)
    if not found.bars:
        tell(f"signals: none of the last {KEPT} closed bars is among the last of {repeated.run_id}; nothing to compare")
        return
    if not found.differ:
        tell(f"signals: the same as {repeated.run_id}'s on {found.bars:,} bars")
        return
    text = f"signals: {found.differ:,} of {found.bars:,} bars differ from {repeated.run_id}'s; first {found.first}"
    tell(text)
    if plan.mode is not Mode.LIVE:
        return
    key = f"{plan.digest}{OF_SIGNALS}{hashlib.sha256(text.encode()).hexdigest()[:SHORT_HASH]}"
    if plan.wanted.confirm == key:
        return
    if world.ask is None or plan.wanted.confirm:
        raise UsageError(f"{text}; data or strategy are not what was tested: to trade all the same, --confirm {key}")
    if world.ask(f"{text}\ntype {key} to trade all the same").strip() != key:
        raise UsageError("not confirmed; nothing was sent")


FREE = ("live.", "account.", "run.timerange", "run.profile")
"""Settings in which a live session may differ from the run that it comes from."""


def _differences(repeated: Repeated, resolved: Resolved, strategy: Strategy) -> list[str]:
    """What is not as it was in the run."""
    before, lines = repeated.info, []
    for path, value in sorted(flatten(resolved.settings).items()):
        known = before.settings.get(path)
        if path.startswith((*FREE, *NOT_COMPARED)) or _plain(value) == _plain(known):
            continue
        lines.append(f"differs from {repeated.run_id}: {path} = {value} (was {known})")
    if strategy_fingerprint(strategy) != before.strategy_digest:
        lines.append(f"differs from {repeated.run_id}: the strategy's source")
    if before.core_digest != DIGEST:
        lines.append(f"differs from {repeated.run_id}: the engine (qtsim {before.version})")
    same = [] if lines else [f"the same strategy, settings and engine as {repeated.run_id}"]
    return [*same, *lines]


def _what_it_came_to(repeated: Repeated) -> list[str]:
    """What the run said, after costs."""
    totals = repeated.totals
    if totals is None or not totals.initial_balance > 0.0:
        return []
    gained = totals.equity - totals.initial_balance - totals.transfers
    return [
        f"{repeated.run_id} came to {gained:+,.2f} on {totals.initial_balance:,.2f} "
        f"({gained / totals.initial_balance:+.1%}) after costs: fees {totals.fees:,.2f}, "
        f"slippage {totals.slippage:,.2f}, funding {totals.funding:+,.2f}"
    ]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


# the session ---------------------------------------------------------------------------------------------------------


@dataclass
class Opened:
    """Everything of a session that has to be closed again."""

    runner: Runner
    client: Client
    journal: Journal
    lock: Lock
    follower: Follower | None = None
    notifier: Notifier | None = None


async def run_live(plan: Plan, world: World, tell: Tell) -> str:
    """Run a session to its end. Returns why it ended.

    Raises
    ------
    QtsimError
        It could not start, or has ended by itself: health was critical for too long.
    UsageError
        What a start does not help against: settings, keys, another program on the account.
    """
    redactor = Redactor()
    _log_to(plan.folder, redactor)
    for line in plan.lines:
        tell(line)
    with _stop_signals(tell) as person:
        person.opening = asyncio.ensure_future(open_session(plan, world, tell, redactor))
        try:
            opened = await person.opening
        except asyncio.CancelledError:
            if not person.has_asked:
                raise
            tell("ended before trading began; what rests on the exchange stays")
            return ENDED_BY_A_PERSON
        person.runner = opened.runner
        if person.has_asked:
            opened.runner.end(ENDED_BY_A_PERSON)
        return await _trade(plan, opened, tell)


async def _trade(plan: Plan, opened: Opened, tell: Tell) -> str:
    """From the opened session to its end. Returns why it ended."""
    runner = opened.runner
    tasks: list[asyncio.Task[Any]] = []
    thresholds = gc.get_threshold()
    try:
        with _guardian_of(plan, runner, opened.journal, tell):
            _rehearse(plan, runner, tell)
            gc.collect()
            gc.freeze()  # what is there now stays: looking through it again and again would stop the program
            gc.set_threshold(*OFTEN)
            if opened.notifier is not None:
                tasks.append(asyncio.ensure_future(opened.notifier.run()))
            if opened.follower is not None:
                tasks.append(asyncio.ensure_future(opened.follower.run()))
            tasks.append(asyncio.ensure_future(_show_status(plan, runner)))
            await runner.run()
            await runner.wind_down()
            write_status(plan, runner)
            for line in farewell(runner):
                tell(line)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        await close_session(opened, tasks)
    if runner.error is not None:
        raise runner.error
    return runner.why


def _rehearse(plan: Plan, runner: Runner, tell: Tell) -> None:
    """Say what a typical order would be, and load every kernel: the first real order should not wait for that."""
    trader = runner.trader
    records = trader.session.instruments[:: trader.session.width]
    rehearsal = Rehearsal(records, live_params(plan.settings), trader.source, trader.timing)
    rehearsal.trade(trader.equity)
    runner.dealer.external_fill(0, 1, 1.0, 0)  # loads what a fill of the exchange needs beside it
    for line in order_lines(rehearsal, plan.symbols, trader.equity):
        tell(line)


def order_lines(rehearsal: Rehearsal, symbols: Sequence[str], equity: float) -> list[str]:
    """Per symbol the typical order at this equity: size, legs, prices, and the balance at which all legs exist."""
    if not rehearsal.is_possible:
        return ["orders: not every symbol has a closed bar, so a typical one cannot be told"]
    lines = []
    for symbol in symbols:
        one, least = rehearsal.typical(symbol, equity), rehearsal.least_balance(symbol)
        needs = f"all legs exist from a balance of {least:,.2f}" if math.isfinite(least) else "at no balance all legs"
        if one.why_not:
            lines.append(f"{symbol}: no order at this equity: {one.why_not} · {needs}")
            continue
        legs = " ".join(f"{leg:g}" for leg in one.legs) or "none"
        targets = " ".join(f"{price:g}" for price in one.targets) or "none"
        lines.append(
            f"{symbol}: a long now: {one.qty:g} ({one.qty * one.price:,.2f}) at {one.price:g}, {one.leverage:g}x"
            f" · legs {legs}, rest {one.rest:g} · targets {targets} · stop {one.stop:g}"
            f" · hard stop {one.hard_stop:g} · liquidation {one.liquidation:g} · {needs}"
        )
    return lines


@contextlib.contextmanager
def _guardian_of(plan: Plan, runner: Runner, journal: Journal, tell: Tell) -> Iterator[None]:
    """The guardian beside a session that sends orders; in lockstep there is nothing that it could be late for."""
    if not plan.mode.sends or runner.rule.by_steps:
        yield
        return
    from qtsim.app.guardian import guardian_process, write_config

    config = {
        "hosts": asdict(plan.hosts),
        "symbols": plan.symbols,
        "session": plan.settings.live.session,
        "epoch": journal.epoch,
        "every_s": plan.settings.live.wait_s.guardian,
        "max_loss": plan.settings.exit.stops.hard.distance,
    }
    write_config(plan.folder, config)
    if not plan.wanted.guardian:
        tell("guardian: none is started; qtsim guardian runs one beside this program")
        yield
        return
    with guardian_process(plan.folder) as process:
        tell(f"guardian: process {process.pid} looks every {plan.settings.live.wait_s.guardian:g} s")
        yield


async def close_session(opened: Opened, tasks: Sequence[asyncio.Task[Any]] = ()) -> None:
    """Close what was opened, in the other order."""
    if opened.notifier is not None:
        await opened.notifier.flush(5.0)
    await end_tasks(tasks)
    if opened.follower is not None:
        await opened.follower.socket.close()
    await opened.client.close()
    with contextlib.suppress(QtsimError):
        opened.journal.close()
    opened.lock.release()


async def open_session(plan: Plan, world: World, tell: Tell, redactor: Redactor) -> Opened:
    """The start-up sequence. On return everything is recovered and protected, and trading may begin."""
    settings = plan.settings
    lock = take_lock(plan.folder, settings.live.session)
    journal: Journal | None = None
    client: Client | None = None
    try:
        journal = open_or_put_aside(plan.folder / JOURNAL, world, tell)
        epoch = journal.take_lease(world.wall_ns(), holder())
        client = _client_of(plan, world, redactor)
        exchange = BinanceExchange(client, Budget())
        opened = await _open(plan, world, tell, redactor, lock, journal, client, exchange)
        tell(f"session {settings.live.session}, epoch {epoch}; state in {plan.folder}")
        return opened
    except BaseException as error:
        if client is not None:
            await client.close()
        if journal is not None:
            with contextlib.suppress(QtsimError):
                journal.close()
        lock.release()
        if isinstance(error, QuestionRefusedError) and classify(error.answer)[1] is Remedy.HALT:
            raise UsageError(
                f"the exchange refuses the key ({error}): look at BINANCE_API_KEY and BINANCE_API_SECRET, at what the "
                "key may do (futures), and at the address that it is restricted to; nothing was sent"
            ) from None
        raise


def open_or_put_aside(path: Path, world: World, tell: Tell) -> Journal:
    """The session's journal; a damaged one is put aside, and what it knew is read from the exchange."""
    try:
        return open_journal(path)
    except JournalDamagedError as error:
        kept = put_aside(path, world.wall_ns() // SECOND)
        tell(f"{error}; it was put aside as {kept.name}: quantities come from the exchange, its history is lost")
        return open_journal(path)


def _client_of(plan: Plan, world: World, redactor: Redactor) -> Client:
    key, secret = Secret(""), Secret("")
    if plan.mode.reads_account:
        found = read_credentials(world.environ)
        if not found.are_there:
            raise UsageError(
                f"--mode {plan.mode} needs a key: set BINANCE_API_KEY and BINANCE_API_SECRET, or BINANCE_API_KEY_FILE "
                "and BINANCE_API_SECRET_FILE"
            )
        key, secret = Secret(found.key), Secret(found.secret)
        redactor.add(key)
        redactor.add(secret)
    return open_client(
        plan.hosts, key, secret, recv_window_ms=RECV_WINDOW_MS, mixins=world.mixins, **world.client_values
    )


async def _open(
    plan: Plan,
    world: World,
    tell: Tell,
    redactor: Redactor,
    lock: Lock,
    journal: Journal,
    client: Client,
    exchange: BinanceExchange,
) -> Opened:
    settings = plan.settings
    offset = await _reach(exchange, tell)
    tell(f"clock {offset:+,d} ms from the exchange's, answers in {exchange.round_trip_ms:.0f} ms")
    if plan.mode.reads_account:
        await refuse_dangerous_key(exchange, plan, tell)
    filters, instruments = await _rules_of(plan, exchange, tell)
    exchange.lots = {symbol: one.lot for symbol, one in instruments.items()}
    steps = await world.steps(plan.hosts.streams) if plan.hosts.is_loopback else None
    gateway = Gateway(filters, sends=plan.mode.sends)
    if plan.mode.reads_account:
        await set_modes(plan, exchange, gateway, tell)
    params = live_params(settings)
    wallet = await _wallet_of(plan, exchange)
    balance = min(wallet, settings.account.max_capital)
    width = int(slots_per_symbol_nb(params[0]))
    session = Session(
        _records(plan, instruments),
        params,
        balance,
        np.zeros(0, close_dt),
        np.zeros(len(plan.symbols) * width, span_dt),
        timeframe_ns(settings.run.timeframe),
    )
    source = await load_history(plan, exchange, width, tell)
    refuse_other_signals(plan, source, world, tell)
    recorder = Recorder(journal)
    recorder.session = session
    notifier = _notifier_of(plan, redactor)
    log = EventLog(plan.symbols, _alerts_to(tell, notifier))
    pnl = PnlTracker(plan.symbols)

    def note(name: str, symbol: str, fields: dict[str, Any]) -> None:
        log.write(name, symbol, fields)
        if name == "JOURNAL_FULL":
            log.alert("health", str(fields["why"]))

    tag = session_tag(settings.live.session)
    dealer = Dealer(
        session,
        plan.symbols,
        dict(exchange.lots),
        exchange,
        gateway,
        journal,
        tag,
        recv_window_ms=RECV_WINDOW_MS,
        hedge=width == 2,
        working_type="MARK_PRICE" if settings.exit.stops.hard.working_type == "mark" else "CONTRACT_PRICE",
        save=recorder.save,
        note=note,
    )
    venue: Any
    if plan.mode is Mode.PAPER:
        venue = PaperVenue(session, timeframe_ns(settings.run.timeframe))
    else:
        venue = Desk(session, dealer.send, timeframe_ns(settings.run.timeframe))
    session.connect(venue)
    had_state = restore(session, journal.last_states())
    if isinstance(venue, Desk):
        venue.take_up()

    def on_row(kind: str, row: Records) -> None:
        log.row(kind, row)
        if kind == "trades":
            pnl.close(row)

    trader = Trader(session, venue, source, timing_of(settings), recorder, on_rows=on_row)
    if had_state:
        trader.last_closed = int(source.bars[plan.symbols[0]].last_open or 0) + timeframe_ns(settings.run.timeframe)
    record_start(plan, recorder, trader, instruments, had_state)
    runner = Runner(
        trader,
        dealer,
        gateway,
        exchange,
        recorder,
        log,
        pnl,
        Rule(
            settings.run.timeframe,
            timeframe_ns(settings.run.timeframe),
            settings.live.wait_s.reconcile,
            settings.live.max_age.bar_intervals,
            settings.live.max_age.clock_skew_ms,
            settings.account.max_capital,
            settings.live.cleanup_foreign,
            settings.live.on_stop == "flatten",
            plan.mode.reads_account,
            by_events=plan.hosts.is_loopback if world.by_events is None else world.by_events,
            by_steps=steps is not None,
        ),
        Rules(
            tag,
            journal.epoch,
            exchange.lots,
            frozenset(plan.symbols),
            settings.live.cleanup_foreign,
        ),
        plan.folder,
        measure=lambda: load_of(plan.folder),
    )
    log.now_ns = runner.now_ns
    runner.step_ns = await _market_time(exchange, plan.symbols[0])
    for symbol, history in {**source.bars, **source.other_bars}.items():
        if (newest := history.newest) is not None:
            runner.newest[symbol] = newest
    runner.prices.mark_is_last = False
    streams = Streams(
        plan.hosts.streams,
        exchange,
        world.connect,
        on_market=runner.hear_market,
        on_user=runner.hear_user,
        on_state=runner.link_changed,
        learn=lambda listen_key: redactor.add(Secret(listen_key)),
    )
    runner.streams = streams
    streams.start(
        stream_names([*source.bars, *source.other_bars], settings.run.timeframe), account=plan.mode.reads_account
    )
    try:
        await asyncio.wait_for(streams.market.is_up.wait(), 30.0)
        trader.marks(await _marks_of(exchange, plan.symbols))
        if plan.mode.reads_account:
            await asyncio.wait_for(streams.user.is_up.wait(), 30.0)
            await recover(runner, journal, had_state, tell)
    except TimeoutError:
        await runner.abandon()
        raise QtsimError(f"the streams of {plan.hosts.streams} cannot be opened within 30 s") from None
    except BaseException:
        await runner.abandon()
        raise
    for command in take_commands(plan.folder):
        runner.obey(command)
    trader.begin(max(runner.now_ns(), runner.step_ns))
    runner.pump()
    runner.commit()
    for line in start_lines(plan, runner, instruments):
        tell(line)
    follower = None
    if steps is not None:
        follower = Follower(steps, runner, [streams.market, streams.user])
    return Opened(runner, client, journal, lock, follower, notifier)


async def _reach(exchange: BinanceExchange, tell: Tell) -> int:
    """Wait for the exchange, without a crash loop and without trading."""
    k, said = 0, ""
    while True:
        pause = UNREACHABLE_S[min(k, len(UNREACHABLE_S) - 1)]
        try:
            return await exchange.sync_clock()
        except BannedError as error:
            reason, pause = str(error), error.wait_s
        except QuestionRefusedError as error:
            if error.answer.http in (401, 403, 451):
                raise QtsimError(f"the exchange does not serve this place: {error}") from None
            reason = str(error)
        except QueryFailedError as error:
            reason = str(error)
        text = f"the exchange does not answer ({reason}); trying again in {pause:g} s"
        if text != said:
            tell(text)
        said = text
        await asyncio.sleep(pause)
        k += 1


async def refuse_dangerous_key(exchange: BinanceExchange, plan: Plan, tell: Tell) -> None:
    """A key that could move money out is refused. Raises UsageError."""
    if not plan.hosts.wallet:
        tell("key: its permissions cannot be read at demo trading")
        return
    found = await exchange.permissions()
    if found is None:
        if not plan.hosts.is_loopback:
            raise UsageError("the key's permissions cannot be read; nothing is sent with it")
        return
    if danger := danger_of(found):
        raise UsageError(danger)
    if found.get("enableFutures") is False and plan.mode.sends:
        raise UsageError("the key may not trade futures (enableFutures is off)")
    if found.get("ipRestrict") is False:
        tell("key: it works from any address; restrict it to this machine's")


async def _rules_of(
    plan: Plan, exchange: BinanceExchange, tell: Tell
) -> tuple[dict[str, Filters], dict[str, Instrument]]:
    """Filters and rules of the host that is traded on; brackets where a key lets them be read."""
    info = await exchange.exchange_info()
    table = load_instruments(plan.settings.data.venue, None)
    brackets = await exchange.brackets() if plan.mode.reads_account else {}
    day = datetime.now(UTC).date().isoformat()
    filters: dict[str, Filters] = {}
    instruments: dict[str, Instrument] = {}
    for symbol in plan.symbols:
        if symbol not in info:
            raise UsageError(f"{symbol} is not traded at {plan.hosts.rest}")
        filters[symbol] = filters_of(info[symbol])
        found = instrument_of(info[symbol], table.get(symbol), day)
        instruments[symbol] = with_brackets(found, brackets[symbol], day) if symbol in brackets else found
        if not filters[symbol].is_trading:
            tell(f"{symbol} is {filters[symbol].status}: exits only")
    return filters, instruments


async def set_modes(plan: Plan, exchange: BinanceExchange, gateway: Gateway, tell: Tell) -> None:
    """Position mode and margin type as the settings want them: set where flat, refused where positions are open."""
    settings = plan.settings
    config = await exchange.account_config()
    wants_hedge = settings.account.mode.position == "hedge"
    if config.multi_assets:
        raise UsageError("the account is in multi-assets mode, which is not supported; switch it off at the exchange")
    open_symbols = {held.symbol for held in (await exchange.snapshot(plan.symbols, {})).positions.values() if held.lots}
    if config.hedge != wants_hedge:
        has = "hedge" if config.hedge else "one-way"
        if open_symbols or not plan.mode.sends:
            raise UsageError(
                f"account.mode.position = {settings.account.mode.position}: the account is in {has} mode"
                + (f" and holds {', '.join(sorted(open_symbols))}; close that first" if open_symbols else "")
            )
        reply = await exchange.set_hedge(wants_hedge)
        if reply.text:
            raise QtsimError(f"the position mode cannot be set: {reply.text}")
        tell(f"position mode set to {settings.account.mode.position}")
    configs = await exchange.symbol_configs()
    wants_isolated = settings.account.mode.margin == "isolated"
    for symbol in plan.symbols:
        own = configs.get(symbol)
        if own is None or own.isolated == wants_isolated:
            continue
        if symbol in open_symbols or not plan.mode.sends:
            gateway.symbols_closed[symbol] = f"its margin type is not {settings.account.mode.margin}"
            tell(f"{symbol}: margin type is not {settings.account.mode.margin}; exits only")
            continue
        reply = await exchange.set_isolated(symbol, wants_isolated)
        if reply.outcome.value != "ack":
            gateway.symbols_closed[symbol] = f"margin type: {reply.text}"
            tell(f"{symbol}: the margin type cannot be set ({reply.text}); exits only")


def live_params(settings: Settings) -> Records:
    """Parameter records as a live session needs them: only a person ends a shutdown, cycles come at points."""
    params = to_params(settings, timeframe_ns(settings.run.timeframe))
    params["governor"]["shutdown_operator_hours"] = np.inf
    if settings.exit.monitoring != "interval":
        params["exit"]["monitoring"] = Monitoring.POINTS
    return params


def timing_of(settings: Settings) -> Timing:
    """Waits and lengths of a session, ns."""
    return Timing(
        timeframe_ns(settings.run.timeframe),
        int(settings.live.wait_s.bars * SECOND),
        max(1, int(settings.exit.check_interval_s * SECOND)),
    )


async def _wallet_of(plan: Plan, exchange: BinanceExchange) -> float:
    if not plan.mode.reads_account:
        return float(plan.settings.account.balance)
    wallet = (await exchange.snapshot([], {})).wallet
    if not math.isfinite(wallet):
        raise QtsimError("the account holds no USDT; transfer some to the futures wallet")
    return wallet


def _records(plan: Plan, instruments: Mapping[str, Instrument]) -> Records:
    sectors = sector_numbers(plan.symbols, {})
    rows = []
    for symbol in plan.symbols:
        row = to_record(instruments[symbol])
        row["sector"] = sectors[symbol]
        rows.append(row)
    return np.concatenate(rows)


async def _marks_of(exchange: BinanceExchange, symbols: Sequence[str]) -> dict[str, float]:
    """The mark price of each symbol, as far as the exchange has one."""
    rows = {
        row["symbol"]: float(row["markPrice"]) for row in await exchange.ask("fapiPublicGetPremiumIndex", weight=10)
    }
    return {symbol: rows[symbol] for symbol in symbols if rows.get(symbol, 0.0) > 0.0}


async def _market_time(exchange: BinanceExchange, symbol: str) -> int:
    row = await exchange.ask("fapiPublicGetPremiumIndex", {"symbol": symbol})
    return int(row["time"]) * MS


# history -------------------------------------------------------------------------------------------------------------


async def load_history(plan: Plan, exchange: BinanceExchange, width: int, tell: Tell) -> SignalSource:
    """Closed bars of the store, and after them of the exchange; likewise funding rates."""
    settings = plan.settings
    store = open_store(plan.workspace, plan.resolved)
    step = timeframe_ns(settings.run.timeframe)
    now = await _market_time(exchange, plan.symbols[0])
    leader = leader_symbol(settings)
    readers = dict.fromkeys([*plan.strategy.uses.symbols, leader])
    others = [symbol for symbol in map(normalize_symbol, readers) if symbol not in plan.symbols]
    bars: dict[str, BarHistory] = {}
    for symbol in [*plan.symbols, *others]:
        if symbol in others and store.find(symbol, settings.run.timeframe) is None:
            continue
        bars[symbol] = await _history_of(plan, exchange, store, symbol, step, now, tell)
    leader_rules = settings.regime.leader
    source = SignalSource(
        plan.strategy,
        settings.run.timeframe,
        RegimeRules(
            settings.regime.timeframe,
            leader,
            LeaderRules(leader_rules.timeframe, leader_rules.ema_bars, leader_rules.band),
        ),
        {symbol: bars[symbol] for symbol in plan.symbols},
        width,
        other_bars={symbol: bars[symbol] for symbol in others if symbol in bars},
    )
    for symbol in plan.symbols:
        for ts, rate in await _rates_of(exchange, store, symbol, now):
            source.publish(symbol, ts, rate)
    return source


async def _history_of(
    plan: Plan, exchange: BinanceExchange, store: Store, symbol: str, step: int, now: int, tell: Tell
) -> BarHistory:
    timeframe = plan.settings.run.timeframe
    history = BarHistory()
    if store.find(symbol, timeframe) is not None:
        frame = store.read_bars(symbol, timeframe)
        frame = frame.iloc[: int(np.searchsorted(times_of(frame), now - step, side="right"))]
        history = BarHistory.of_frame(frame)
    stored = len(history)
    last = history.last_open
    start = now - WARM_UP_BARS * step if last is None else last
    found = [bar for bar in await exchange.bars(symbol, timeframe, start, now) if bar.ts_open + step <= now]
    if last is not None and found and found[0].ts_open == last:
        known = history.at(last)
        if known is not None and not _is_same(known, found[0]):
            tell(f"{symbol}: the stored bar of {format_ts(last)} is not the exchange's; download the data again")
        found = found[1:]
    if found and last is not None and found[0].ts_open != last + step:
        tell(f"{symbol}: no bars between {format_ts(last)} and {format_ts(found[0].ts_open)}")
    for bar in found:
        history.append(bar)
    tell(f"{symbol}: {len(history):,} bars, {stored:,} of the store and {len(found):,} of the exchange")
    return history


def _is_same(one: Bar, other: Bar) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(one[1:5], other[1:5], strict=True))


async def _rates_of(exchange: BinanceExchange, store: Store, symbol: str, now: int) -> list[tuple[int, float]]:
    rates: list[tuple[int, float]] = []
    if store.has(symbol, kind="funding"):
        events = store.read_funding(symbol, None, now + 1)
        rates = list(zip(times_of(events).tolist(), events["funding_rate"].tolist(), strict=True))
    start = rates[-1][0] + 1 if rates else now - 30 * 86_400 * SECOND
    rates += [(ts, rate) for ts, rate, _ in await exchange.funding_rates(symbol, start) if ts <= now]
    return rates


def record_start(
    plan: Plan, recorder: Recorder, trader: Trader, instruments: Mapping[str, Instrument], had_state: bool
) -> None:
    """What a replay needs before the first input: settings, rules, history, and the state that was taken up."""
    session, source = trader.session, trader.source
    body = {
        "settings": {path: _plain(value) for path, value in flatten(plan.settings).items()},
        "profile": plan.resolved.profile,
        "symbols": plan.symbols,
        "instruments": {symbol: instrument_fields(one) for symbol, one in instruments.items()},
        "mode": str(plan.mode),
        "strategy": strategy_fingerprint(plan.strategy),
        "engine": DIGEST,
        "balance": float(session.account["initial_balance"][0]),
        "restored": had_state,
        "last_closed": trader.last_closed,
        "states": {name: getattr(session, name).tobytes().hex() for name in (*SMALL, *LARGE)},
        "bars": {symbol: history.rows.tobytes().hex() for symbol, history in source.bars.items()},
        "others": {symbol: history.rows.tobytes().hex() for symbol, history in source.other_bars.items()},
        "funding": {symbol: rows for symbol, rows in source.funding.items()},
    }
    recorder.input("start", body)


# recovery ------------------------------------------------------------------------------------------------------------


async def recover(runner: Runner, journal: Journal, had_state: bool, tell: Tell) -> None:
    """Orders whose end is not known, what was traded meanwhile, positions, stops: until two looks agree."""
    dealer, session = runner.dealer, runner.trader.session
    await _set_cursors(runner, journal)
    for slot in range(len(session.positions)):
        position = session.positions[slot]
        dealer.book[dealer.key_of(slot)] = int(position["side"] * position["lots"])
    configs = await runner.exchange.symbol_configs()
    dealer.leverages = {symbol: own.leverage for symbol, own in configs.items()}
    done = {ref for _, _, ref, _ in journal.events("done")}
    told = {ref for _, _, ref, _ in journal.events("told")}
    dealer.restore(journal.intents(), done, journal.fills(), told)
    for order in dealer.live_orders():
        for execution in order.executions.values() if not order.is_limit else ():
            key = (execution.symbol, execution.position_side)
            dealer.book[key] = dealer.book.get(key, 0) + _signed(runner, execution)
    runner.is_open = True
    known = {i for i in range(len(session.positions)) if session.is_open(i)}
    for tried in range(RECONCILE_TRIES):
        if not await runner.reconcile(whole=tried == 0):
            raise QtsimError(f"the account cannot be read: {runner.gateway.why}")
        runner.pump()
        await _settle(runner)
        if not runner.disputed and not dealer.wants_reconcile:
            break
        dealer.wants_reconcile = False
    await _match_entries(runner)
    for slot in range(len(session.positions)):
        if not session.is_open(slot):
            continue
        text = runner.recovered(slot)
        tell(text + ("" if slot in known else "; its state is rebuilt from the exchange"))
        symbol = runner.trader.symbols[session.symbol_of(slot)]
        runner.log.write(RECOVERED, symbol, {"text": text})


async def _match_entries(runner: Runner) -> None:
    """Limit entries: what the session has ended is cancelled, and what the account does not know ends here."""
    dealer, session = runner.dealer, runner.trader.session
    for slot, position in enumerate(session.positions):
        order, is_kept = dealer.entry_of(slot), bool(has_entry_order_nb(position))
        if order is not None and not (is_kept and int(position["order_id"]) == order.trade_id):
            dealer.recall(slot)
        if is_kept and order is None:
            runner.trader.ended(OrderEnd(slot, True, "nothing of it stands after the restart", frees_slot=False))
    await _settle(runner)


def _signed(runner: Runner, execution: Any) -> int:
    return signed_lots(execution, runner.dealer.lots[execution.symbol])


async def _settle(runner: Runner, seconds: float = 20.0) -> None:
    """Wait for what is under way: stops that are being placed, outcomes that are asked for."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end and (runner.dealer.busy or runner.queue or runner.dealer.out):
        await asyncio.sleep(0.02)
        runner.pump()


async def _set_cursors(runner: Runner, journal: Journal) -> None:
    """From which trade on the account's trades are read: at the first start the newest there is.

    Where the journal is another than at the first start, the trades since then are read back into it. They are
    history: what they came to is in the wallet and the positions that the exchange tells.
    """
    known = {ref: int(body["id"]) for _, _, ref, body in journal.events("cursor")}
    kept = read_cursors(runner.folder)
    first = dict(kept)
    for symbol in runner.trader.symbols:
        if symbol not in known:
            known[symbol] = await runner.exchange.last_trade_id(symbol)
            if first.setdefault(symbol, known[symbol]) < known[symbol]:
                await _read_history(runner, journal, symbol, first[symbol], known[symbol])
            journal.event(runner.exchange.now_ms() * MS, "cursor", symbol, {"id": known[symbol]})
        booked = journal.known_trades(symbol)
        # reading from the cursor on finds what was missed between two that are booked, too
        runner.cursors[symbol] = known[symbol] if not booked else min(known[symbol], max(booked))
    if first != kept:
        write_cursors(runner.folder, first)
    journal.commit()


async def _read_history(runner: Runner, journal: Journal, symbol: str, after: int, until: int) -> None:
    """Book a symbol's trades with ids in (after, until], of which the session is told nothing any more."""
    for execution in await runner.exchange.trades_after(symbol, after):
        if execution.exchange_id <= until and journal.fill(row_of(execution)):
            journal.event(execution.ts, TOLD_EVENT, f"{symbol}/{execution.exchange_id}", {})


# what the operator sees ----------------------------------------------------------------------------------------------


def start_lines(plan: Plan, runner: Runner, instruments: Mapping[str, Instrument]) -> list[str]:
    """What a person should know before the first entry."""
    settings, session = plan.settings, runner.trader.session
    governor = session.governor[0]
    equity = runner.trader.equity
    base = float(governor["base_equity"]) or equity
    cap = settings.account.max_capital
    lines = [
        f"account {runner.account.wallet if plan.mode.reads_account else equity:,.2f} USDT, equity in use {equity:,.2f}"
        + (f", at most {cap:,.2f} (account.max_capital)" if math.isfinite(cap) else ""),
        f"governor: shutdown at {base * (1 - settings.governor.shutdown.drawdown):,.2f}, no new trades below "
        f"{float(governor['day_equity'] or equity) * (1 - settings.governor.daily_drawdown):,.2f} today"
        if settings.gates.enabled
        else "governor: off, and every gate with it (gates.enabled = false)",
        f"limits: {settings.limits.positions.total:g} positions, {settings.limits.per_trade.leverage:g}x, "
        f"margin per trade {settings.limits.per_trade.margin:.0%}",
    ]
    if runner.gateway.symbols_closed:
        lines += [f"{symbol}: no entries ({why})" for symbol, why in sorted(runner.gateway.symbols_closed.items())]
    alerts = settings.live.notify.urls_file or "none"
    lines.append(f"alerts: {alerts}")
    lines.append("stop: Ctrl-C ends in order, twice at once; qtsim kill --flatten closes everything from anywhere")
    return lines


def farewell(runner: Runner) -> list[str]:
    """What stays behind: each open position, its hard stop, and the command that closes it."""
    lines = [f"ended: {runner.why}"]
    session = runner.trader.session
    for slot in range(len(session.positions)):
        position = session.positions[slot]
        if position["side"] == 0:
            continue
        symbol = runner.dealer.key_of(slot)[0]
        stop = float(position["hard_price"])
        shown = "NO hard stop" if math.isnan(stop) else f"hard stop {stop:g} on the exchange"
        side = "LONG" if position["side"] > 0 else "SHORT"
        lines.append(
            f"open: {symbol} {side} {float(position['qty']):g} @ {float(position['entry_price']):g}, {shown}; "
            "qtsim kill --flatten closes it"
        )
    return lines


def status_of(plan: Plan, runner: Runner) -> dict[str, Any]:
    """The session as a program or a person reads it."""
    session = runner.trader.session
    runner.pnl.value(session)
    positions = []
    for slot in range(len(session.positions)):
        position = session.positions[slot]
        if position["side"] == 0:
            continue
        point = session.points[slot]
        symbol = runner.dealer.key_of(slot)[0]
        positions.append(
            {
                "symbol": symbol,
                "side": "LONG" if position["side"] > 0 else "SHORT",
                "qty": float(position["qty"]),
                "entry_price": float(position["entry_price"]),
                "price": float(point["price"]),
                "mark": float(point["mark"]),
                "leverage": float(position["leverage"]),
                "stop": float(position["stop_price"]),
                "hard_stop": float(position["hard_price"]),
                "targets": [float(x) for x in position["tp_price"] if x == x],
                "legs_hit": int(position["legs_hit"]),
                "liquidation": float(position["liq_price"]),
                "unrealized": runner.pnl.by_symbol[symbol].unrealized,
                "busy": bool(session.busy[slot]),
            }
        )
    entries = [
        {
            "symbol": runner.dealer.key_of(slot)[0],
            "side": "LONG" if position["order_side"] > 0 else "SHORT",
            "lots": int(position["order_lots"]),
            "filled": int(position["order_filled"]),
            "limit": float(position["order_price"]),
            "until": int(position["order_until"]) // MS,
        }
        for slot, position in enumerate(session.positions)
        if has_entry_order_nb(position)
    ]
    governor = session.governor[0]
    return {
        "session": plan.settings.live.session,
        "mode": str(plan.mode),
        "updated": runner.now_ns() // MS,
        "state": runner.gateway.state.name,
        "why": runner.gateway.why,
        "health": runner.health.name,
        "equity": runner.trader.equity,
        "wallet": float(session.account["wallet"][0]),
        "base_equity": float(governor["base_equity"]),
        "day_equity": float(governor["day_equity"]),
        "losing_streak": int(governor["losing_streak"]),
        "positions": positions,
        "entries": entries,
        "orders": runner.gateway.counts(),
        "pnl": {
            symbol: {"realized": own.realized, "trades": own.trades, "reward": own.reward}
            for symbol, own in runner.pnl.by_symbol.items()
        },
        "latency_ms": runner.dealer.latency.summary(),
        "disk_ms": runner.dealer.disk.summary(),
        "unprotected_ms": runner.dealer.unprotected.summary(),
        "requests": runner.exchange.requests,
    }


def write_status(plan: Plan, runner: Runner) -> None:
    """Write the status where `qtsim status` and the guardian find it; where there is no room, it stays as it was."""
    session = runner.trader.session
    triggers = {
        runner.dealer.key_of(slot): float(session.positions[slot]["hard_price"])
        for slot in range(len(session.positions))
        if session.positions[slot]["side"] != 0 and not math.isnan(session.positions[slot]["hard_price"])
    }
    text = json.dumps(status_of(plan, runner))
    with contextlib.suppress(QtsimError):
        write_atomically(plan.folder / STATUS, lambda path: path.write_text(text, encoding="utf-8"), durable=False)
        if triggers != runner.triggers_told:
            write_triggers(plan.folder / PROTECTION, triggers)
            runner.triggers_told = triggers


async def _show_status(plan: Plan, runner: Runner) -> None:
    while True:
        write_status(plan, runner)
        await asyncio.sleep(STATUS_S)


@dataclass
class Person:
    """Who ends a session by a signal, and what there is to end: the way to the exchange, or the session."""

    tell: Tell
    opening: asyncio.Future[Opened] | None = None
    runner: Runner | None = None
    has_asked: bool = False

    def ask(self) -> None:
        """The first time in order, the second time at once."""
        if self.has_asked:
            os._exit(1)
        self.has_asked = True
        self.tell("ending in order: no more entries; once more ends at once, hard stops stay")
        if self.runner is not None:
            self.runner.end(ENDED_BY_A_PERSON)
        elif self.opening is not None:
            self.opening.cancel()


@contextlib.contextmanager
def _stop_signals(tell: Tell) -> Iterator[Person]:
    """The first SIGINT or SIGTERM ends in order, the second at once; hard stops stay either way."""
    loop, person = asyncio.get_running_loop(), Person(tell)
    numbers = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in numbers:
            loop.add_signal_handler(number, person.ask)
    try:
        yield person
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in numbers:
                loop.remove_signal_handler(number)


def load_of(folder: Path) -> dict[str, float]:
    """How busy the machine is, as far as it tells."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, AttributeError):
        found["cpu_share"] = min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(folder)
        found["disk_free_share"] = usage.free / usage.total
    with contextlib.suppress(OSError, ValueError, KeyError):
        rows = dict(line.split(":")[:2] for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (float(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        found["memory_share"] = 1.0 - free / total
    return found


def _notifier_of(plan: Plan, redactor: Redactor) -> Notifier | None:
    settings = plan.settings
    if not settings.live.notify.urls_file or plan.wanted.no_alerts:
        return None
    send = open_apprise(Path(settings.live.notify.urls_file).expanduser())
    return Notifier(settings.live.session, settings.live.notify.events, send, redactor)


def _alerts_to(tell: Tell, notifier: Notifier | None) -> Callable[[str, str], None]:
    """Alerts go to the terminal, and to whoever the settings name."""

    def alert(event: str, text: str) -> None:
        tell(f"{event}: {text}")
        if notifier is not None:
            notifier.alert(event, text)

    return alert


class _EventFile(logging.FileHandler):
    """A log that a full disk does not fill the terminal with errors about: that the disk is full is alerted."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""


def _log_to(folder: Path, redactor: Redactor) -> None:
    """Events go to a file of the state folder, without any secret."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    logger = logging.getLogger("qtsim.live")
    for known in list(logger.handlers):
        logger.removeHandler(known)
        known.close()
    out = _EventFile(folder / "events.jsonl", encoding="utf-8")
    out.setFormatter(logging.Formatter("%(message)s"))
    out.addFilter(redactor)
    logger.addHandler(out)
    logger.setLevel(logging.INFO)
    logger.propagate = False


__all__ = ["Plan", "Wanted", "World", "plan_live", "run_live", "state_folder"]
