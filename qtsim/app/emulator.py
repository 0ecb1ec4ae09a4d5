"""The emulator: stored bars or trades as its market, the exchange set up by the settings, and serving it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.api import chosen_symbols, open_store, wants_sample
from qtsim.app.inputs import RunInputs, SymbolData, add_instruments, bar_rows, funding_rows, gather_store
from qtsim.app.trades import marks_at
from qtsim.app.workspace import Workspace
from qtsim.config.layers import Resolved
from qtsim.config.settings import Settings
from qtsim.core.records import Records
from qtsim.data.frames import times_of
from qtsim.data.funding import funding_events
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.ticks.arrays import merge_by_time
from qtsim.data.timeframes import format_ts, parse_timerange
from qtsim.emulator.clocks import RunningClock, StepClock
from qtsim.emulator.decimals import exact
from qtsim.emulator.exchange import DEFAULT_KEY, Exchange, Rules
from qtsim.emulator.faults import FaultPlan, read_plan
from qtsim.emulator.feed import SymbolFeed, closed_bar, walk_bars, walk_trades
from qtsim.emulator.feed import funding_rows as funding_history
from qtsim.emulator.lockstep import Lockstep
from qtsim.emulator.market import INTERVALS_MS, MS, Bar, BarsClosed, FundingDue, MarketEvent, Point, Points
from qtsim.emulator.pricing import FillRule
from qtsim.emulator.serving import Server
from qtsim.emulator.sockets import SocketSkin, require_aiohttp, run_market
from qtsim.errors import UsageError

HISTORY_BARS = 50_000
"""Bars before the start that klines can answer with, per symbol."""
WARM_UP_BARS = 1_500
"""Without a start of the period so many bars are history, at most half of them."""
LOG_LINES = 1_000
"""Of the exchange's own log that are kept."""
HISTORY_KEPT = 20_000
"""Ended orders, fills and changes of the wallet that are kept, so that a rehearsal of days stays small."""
FASTEST = 100_000.0


@dataclass(frozen=True)
class Wanted:
    """What the emulator is asked for beside settings."""

    host: str = "127.0.0.1"
    port: int = 8787
    speed: float = 1.0
    lockstep: bool = False
    latency_ms: int = 0
    faults: Path | None = None
    seed: int | None = None
    on_tick: bool = False
    exit_at_end: bool = False
    instruments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError for what contradicts itself or is out of range."""
        if self.lockstep and self.speed != 1.0:
            raise UsageError("--lockstep and --speed contradict each other: in lockstep the client sets the pace")
        if not 0.0 < self.speed <= FASTEST:
            raise UsageError(f"--speed {self.speed:g} is out of range; it is above 0 and at most {FASTEST:g}")
        if self.latency_ms < 0:
            raise UsageError(f"--latency {self.latency_ms} is below 0; it is in milliseconds of the market's time")
        if not 0 <= self.port < 65536:
            raise UsageError(f"--port {self.port} is out of range; it is 0 to 65535, and 0 takes a free one")


@dataclass
class Rehearsal:
    """An exchange and the market that it will see."""

    exchange: Exchange
    events: Iterator[MarketEvent]
    start_ns: int
    end_ns: int
    timeframe: str
    is_synthetic: bool
    warnings: list[str]

    @property
    def symbols(self) -> list[str]:
        """Symbols, in name order."""
        return list(self.exchange.state.rules)


def prepare_emulator(workspace: Workspace, resolved: Resolved, wanted: Wanted, *, sample: bool = False) -> Rehearsal:
    """Read the data of the settings' symbols, timeframe and period, and set the exchange up.

    Raises
    ------
    UsageError
        Settings that the emulator cannot follow; no such data; a fault plan that is none.
    DataError
        Data are missing or damaged.
    """
    settings = resolved.settings
    refuse_unplayable(settings)
    plan = read_plan(wanted.faults, wanted.seed) if wanted.faults else FaultPlan(seed=wanted.seed or 0)
    store = _pick_store(workspace, resolved, sample=sample)
    inputs = gather_store(store, settings, chosen_symbols(resolved, store))
    add_instruments(inputs, settings, wanted.instruments, store, plain=False)
    if parse_timerange(settings.run.timerange)[0] is None:
        _keep_warm_up(inputs)
    rows = {symbol: bar_rows(item, settings, inputs.warnings) for symbol, item in inputs.symbols.items()}
    payments = {
        symbol: funding_rows(item, settings, inputs.timeframe_ns, inputs.warnings)[0]
        for symbol, item in inputs.symbols.items()
    }
    exchange = Exchange(
        exchange_rules(inputs, settings, on_tick=wanted.on_tick),
        plan,
        now_ms=inputs.start_ns // MS,
        history={symbol: frame_bars(_before(item, item.history)) for symbol, item in inputs.symbols.items()},
        mark_history={
            symbol: frame_bars(_before(item, item.mark))
            for symbol, item in inputs.symbols.items()
            if item.mark is not None and len(_before(item, item.mark))
        },
        funding_history={
            symbol: funding_history(funding_events(_before(item, item.funding), symbol))
            for symbol, item in inputs.symbols.items()
            if item.funding is not None
        },
    )
    for symbol, events in payments.items():
        if len(events):
            exchange.state.markets[symbol].next_funding_ms = int(events["ts"][0]) // MS
    market = _trade_events(inputs, rows, payments) if inputs.ticks else _bar_events(inputs, rows, payments)
    return Rehearsal(
        exchange, market, inputs.start_ns, inputs.end_ns, inputs.timeframe, store.is_synthetic, inputs.warnings
    )


def refuse_unplayable(settings: Settings) -> None:
    """Raise UsageError for settings whose market or costs the emulator cannot show."""
    if settings.costs.slippage.model != "fixed":
        raise UsageError(
            f"costs.slippage.model = {settings.costs.slippage.model}: the emulator fills with a fixed slippage; "
            "--set costs.slippage.model=fixed"
        )
    if settings.sim.mode == "detail":
        raise UsageError(
            "sim.mode = detail: the emulator plays one length of bars; name the finer one: -i 1m, and "
            "--set sim.mode=bars"
        )
    if settings.sim.path != "nearest":
        raise UsageError(
            f"sim.path = {settings.sim.path}: the emulator's bars go to the nearer extreme first; "
            "--set sim.path=nearest"
        )


def exchange_rules(inputs: RunInputs, settings: Settings, *, on_tick: bool = False) -> Rules:
    """The exchange as the settings describe account and costs."""
    if inputs.timeframe not in INTERVALS_MS:
        raise UsageError(
            f"run.timeframe = {inputs.timeframe}: the exchange has no klines of this length; there are "
            f"{', '.join(INTERVALS_MS)}"
        )
    maker, taker = settings.costs.fees.rates()
    instruments = [item.instrument for item in inputs.symbols.values()]
    return Rules(
        instruments=tuple(item for item in instruments if item is not None),
        balance=settings.account.balance,
        fill=FillRule(maker, taker, settings.costs.slippage.bps, on_tick=on_tick),
        base_interval=inputs.timeframe,
        hedge=settings.account.mode.position == "hedge",
        isolated=settings.account.mode.margin == "isolated",
        log_limit=LOG_LINES,
        kept=HISTORY_KEPT,
    )


def frame_bars(frame: pd.DataFrame) -> list[Bar]:
    """A frame of bars or mark bars as the exchange keeps them."""
    times = (times_of(frame) // MS).tolist()
    volume = frame["volume"].tolist() if "volume" in frame.columns else [0.0] * len(frame)
    prices = (frame[name].tolist() for name in ("open", "high", "low", "close"))
    return [Bar(*row) for row in zip(times, *prices, volume, strict=True)]


def _pick_store(workspace: Workspace, resolved: Resolved, *, sample: bool) -> Store:
    store = open_store(workspace, resolved, sample=sample)
    if not sample and wants_sample(resolved, store):
        return open_store(workspace, resolved, sample=True)
    return store


def _keep_warm_up(inputs: RunInputs) -> None:
    for item in inputs.symbols.values():
        item.first = max(item.first, min(WARM_UP_BARS, len(item.history) // 2))


def _before(item: SymbolData, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame from before the symbol's first traded bar, as many as are kept."""
    start = int(times_of(item.traded)[0])
    end = int(np.searchsorted(times_of(frame), start, side="left"))
    return frame.iloc[max(0, end - HISTORY_BARS) : end]


Rows = Mapping[str, tuple[Records, bool]]


def _bar_events(inputs: RunInputs, rows: Rows, payments: Mapping[str, Records]) -> Iterator[MarketEvent]:
    feeds = [
        SymbolFeed(symbol, bars, _lot(inputs, symbol), has_mark, payments[symbol])
        for symbol, (bars, has_mark) in rows.items()
    ]
    return walk_bars(feeds, inputs.timeframe_ns)


def _trade_events(inputs: RunInputs, rows: Rows, payments: Mapping[str, Records]) -> Iterator[MarketEvent]:
    assert inputs.ticks is not None
    return walk_trades(
        _trades(inputs, inputs.ticks, rows),
        _closed(inputs, rows),
        _funding(payments),
    )


def _trades(inputs: RunInputs, ticks: TickStore, rows: Rows) -> Iterator[Points]:
    names = list(inputs.symbols)
    for day in ticks.stream(names, inputs.start_ns, inputs.end_ns):
        marks = {
            symbol: marks_at(one.trades.time, one.trades.price, rows[symbol][0], inputs.timeframe_ns)
            for symbol, one in day.ticks.items()
        }
        present = list(day.ticks)
        owners, places = merge_by_time({symbol: day.ticks[symbol].trades.time for symbol in present})
        for owner, k in zip(owners.tolist(), places.tolist(), strict=True):
            symbol = present[owner]
            trades = day.ticks[symbol].trades
            point = Point(
                symbol,
                exact(float(trades.price[k])),
                exact(float(marks[symbol][k])),
                exact(float(trades.qty[k])),
                bool(trades.is_buyer_maker[k]),
            )
            yield Points(int(trades.time[k]), (point,))


def _closed(inputs: RunInputs, rows: Rows) -> Iterator[BarsClosed]:
    ends: dict[int, list[tuple[str, int]]] = {}
    for symbol, (bars, _) in rows.items():
        for k, ts in enumerate(bars["ts_open"].tolist()):
            ends.setdefault(ts + inputs.timeframe_ns, []).append((symbol, k))
    for ts in sorted(ends):
        bars = tuple((symbol, closed_bar(rows[symbol][0][k])) for symbol, k in ends[ts])
        marks = tuple((symbol, closed_bar(rows[symbol][0][k], "mark_")) for symbol, k in ends[ts] if rows[symbol][1])
        yield BarsClosed(ts, bars, marks)


def _funding(payments: Mapping[str, Records]) -> Iterable[FundingDue]:
    feeds = [SymbolFeed(symbol, np.zeros(0), exact(1), False, events) for symbol, events in payments.items()]
    found = [event for feed in feeds for event in feed.payments()]
    return sorted(found, key=lambda event: event.ts_ns)


def _lot(inputs: RunInputs, symbol: str) -> Any:
    instrument = inputs.symbols[symbol].instrument
    assert instrument is not None
    return instrument.lot


# serving -------------------------------------------------------------------------------------------------------------

Tell = Callable[[str], None]


def serve_emulator(rehearsal: Rehearsal, wanted: Wanted, tell: Tell, report: Callable[[dict[str, Any]], None]) -> None:
    """Serve until the data end (where asked), SIGINT or SIGTERM.

    tell: for a line of the screen. report: for what is there to know once it listens: URLs, keys, symbols, period.
    """
    require_aiohttp()
    asyncio.run(_serve(rehearsal, wanted, tell, report))


async def _serve(rehearsal: Rehearsal, wanted: Wanted, tell: Tell, report: Callable[[dict[str, Any]], None]) -> None:
    exchange, start_ms = rehearsal.exchange, rehearsal.start_ns // MS
    market: asyncio.Future[None]
    if wanted.lockstep:
        steps = StepClock(start_ms)
        server = Server(exchange, steps, latency_ms=wanted.latency_ms)
        lockstep = Lockstep(exchange, server, steps, rehearsal.events)
        skin = SocketSkin(exchange, server, lockstep)
        port = await skin.start(wanted.host, wanted.port)
        market = asyncio.ensure_future(lockstep.run())
    else:
        clock = RunningClock(start_ms, wanted.speed)
        skin = SocketSkin(exchange, Server(exchange, clock, latency_ms=wanted.latency_ms))
        port = await skin.start(wanted.host, wanted.port)
        market = asyncio.ensure_future(run_market(exchange, rehearsal.events, clock))
    stop = asyncio.ensure_future(_stop_asked())
    try:
        report(_described(rehearsal, wanted, port))
        done, _ = await asyncio.wait((market, stop), return_when=asyncio.FIRST_COMPLETED)
        if market in done:
            await market
            tell(f"the data ended {format_ts(rehearsal.end_ns)}")
            if not wanted.exit_at_end:
                tell("still answering; Ctrl-C ends it")
                await stop
    finally:
        for task in (market, stop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await skin.stop()
    tell(_summary_text(skin.control.summary()))


async def _stop_asked() -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _described(rehearsal: Rehearsal, wanted: Wanted, port: int) -> dict[str, Any]:
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    return {
        "rest": f"http://{host}:{port}",
        "streams": [f"ws://{host}:{port}/{base}/ws" for base in ("public", "market", "private")],
        "lockstep": f"ws://{host}:{port}/lockstep" if wanted.lockstep else None,
        "control": f"http://{host}:{port}/emulator/control",
        "key": DEFAULT_KEY.key,
        "secret": DEFAULT_KEY.secret,
        "symbols": rehearsal.symbols,
        "timeframe": rehearsal.timeframe,
        "start": format_ts(rehearsal.start_ns),
        "end": format_ts(rehearsal.end_ns),
        "synthetic": rehearsal.is_synthetic,
        "pace": "lockstep" if wanted.lockstep else f"{wanted.speed:g} times real time",
        "wallet": float(rehearsal.exchange.state.account.wallet),
        "warnings": rehearsal.warnings,
    }


def _summary_text(summary: Mapping[str, Any]) -> str:
    faults = ", ".join(f"{name} {count}" for name, count in summary["injected"].items())
    return (
        f"ended at {format_ts(summary['now'] * MS)}: {summary['requests']:,} requests, {summary['trades']:,} fills, "
        f"wallet {float(summary['wallet']):,.2f}, equity {float(summary['equity']):,.2f}"
        + (f"; faults: {faults}" if faults else "")
    )
