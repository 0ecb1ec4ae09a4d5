"""A rehearsal: a store with bars, a backtest on it, a live session against the emulator that plays the same bars."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.api import finish_backtest, open_store
from qtsim.app.backtest import BacktestOptions, prepare
from qtsim.app.emulator import Wanted as EmulatorWanted
from qtsim.app.emulator import prepare_emulator
from qtsim.app.inputs import add_instruments, add_strategy_needs, gather_store
from qtsim.app.live import JOURNAL, Plan, Wanted, World, plan_live, run_live, settings_digest
from qtsim.app.workspace import Workspace, settings_of
from qtsim.config.layers import Resolved
from qtsim.core.records import Records
from qtsim.emulator.clocks import StepClock
from qtsim.emulator.exchange import DEFAULT_KEY, Exchange
from qtsim.emulator.faults import FaultPlan
from qtsim.emulator.lockstep import Lockstep
from qtsim.emulator.market import MS
from qtsim.emulator.serving import Server
from qtsim.emulator.sockets import SocketSkin
from qtsim.live.journal import open_journal
from qtsim.live.tape import row_of
from qtsim.results.result import Result
from qtsim.signals.loading import load_strategy
from qtsim.sim.journals import Journals
from qtsim.sim.run import run_compiled

ENVIRON = {"BINANCE_API_KEY": DEFAULT_KEY.key, "BINANCE_API_SECRET": DEFAULT_KEY.secret}
SETTINGS: dict[str, Any] = {
    "exit.monitoring": "points",
    "sim.end_of_data": "open",
    "governor.shutdown.operator_hours": "inf",
    "run.timeframe": "1m",
    "regime.timeframe": "5m",
    "regime.leader.timeframe": "5m",
    "regime.leader.ema_bars": 20,
    "costs.slippage.bps": 0.0,
    "exit.base_tp": 0.004,
    "exit.base_sl": 0.003,
    "strategy.fast": 3,
    "strategy.slow": 8,
    "leverage.model": "fixed",
    "leverage.fixed": 3.0,
}


def make_workspace(
    root: Path, frames: Mapping[str, pd.DataFrame], funding: Mapping[str, pd.DataFrame] | None = None
) -> Workspace:
    """A workspace whose store has these one-minute bars."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "qtsim.toml").write_text("")
    workspace = Workspace(root)
    store = open_store(workspace, settings_of(workspace))
    for symbol, frame in frames.items():
        store.write_bars(symbol, "1m", frame, source="test")
    for symbol, events in (funding or {}).items():
        store.write_funding(symbol, events, source="test")
    return workspace


def resolved_of(workspace: Workspace, symbols: list[str], timerange: str, **overrides: Any) -> Resolved:
    """Settings of a run and of the session that follows it."""
    return settings_of(
        workspace,
        overrides={**SETTINGS, "run.symbols": symbols, "run.timerange": timerange, **overrides},
    )


def backtest_of(workspace: Workspace, resolved: Resolved) -> Result:
    """The backtest of a rehearsal's period."""
    store = open_store(workspace, resolved)
    inputs = gather_store(store, resolved.settings, list(resolved.settings.run.symbols))
    strategy = load_strategy(resolved.settings.run.strategy, resolved.settings.strategy, [])
    return finish_backtest(
        resolved,
        strategy,
        inputs,
        workspace,
        store=store,
        options=BacktestOptions(fast=True, check=False),
        save=False,
    )


def journals_of(workspace: Workspace, resolved: Resolved) -> Journals:
    """The rows that the compiled backtest of a rehearsal's period writes."""
    store = open_store(workspace, resolved)
    inputs = gather_store(store, resolved.settings, list(resolved.settings.run.symbols))
    strategy = load_strategy(resolved.settings.run.strategy, resolved.settings.strategy, [])
    add_strategy_needs(inputs, strategy, store, resolved.settings)
    add_instruments(inputs, resolved.settings, {}, store, plain=False)
    prepared = prepare(inputs, strategy, resolved.settings, check=False)
    balance = float(resolved.settings.account.balance)
    return run_compiled(prepared.market, prepared.params, balance, list(inputs.symbols))


def rows_of(folder: Path, epoch: int = 1) -> dict[str, Records]:
    """The rows that a live session wrote, by kind."""
    journal = open_journal(folder / JOURNAL, read_only=True)
    parts: dict[str, list[Records]] = {}
    for _, kind, body in journal.decisions(epoch):
        parts.setdefault(kind, []).append(row_of(kind, body))
    journal.close()
    return {kind: np.concatenate(rows) for kind, rows in parts.items()}


@dataclass
class Played:
    """What a live session left behind."""

    plan: Plan
    exchange: Exchange
    why: str
    told: list[str] = field(default_factory=list)


def plan_of(workspace: Workspace, resolved: Resolved, endpoint: str, world: World, mode: str = "live") -> Plan:
    """The session's plan, confirmed."""
    strategy = load_strategy(resolved.settings.run.strategy, resolved.settings.strategy, [])
    symbols = sorted(resolved.settings.run.symbols)
    digest = settings_digest(resolved, strategy, symbols, endpoint)
    wanted = Wanted(mode=mode, endpoint=endpoint, confirm=digest, no_alerts=True, guardian=False)
    return plan_live(workspace, resolved, wanted, world)


def play_in_lockstep(
    workspace: Workspace,
    resolved: Resolved,
    *,
    mode: str = "live",
    latency_ms: int = 0,
    faults: FaultPlan | None = None,
    environ: Any = None,
) -> Played:
    """A live session over sockets, against an emulator that waits for it."""

    async def both() -> Played:
        rehearsal = prepare_emulator(workspace, resolved, EmulatorWanted(lockstep=True, port=0, latency_ms=latency_ms))
        exchange = rehearsal.exchange
        exchange.faults.plan = faults or exchange.faults.plan
        clock = StepClock(rehearsal.start_ns // MS)
        server = Server(exchange, clock, latency_ms=latency_ms)
        skin = SocketSkin(exchange, server, Lockstep(exchange, server, clock, rehearsal.events))
        port = await skin.start(port=0)
        market = asyncio.ensure_future(skin.lockstep.run())
        told: list[str] = []
        world = World(environ=ENVIRON if environ is None else environ)
        try:
            plan = plan_of(workspace, resolved, f"http://127.0.0.1:{port}", world, mode)
            why = await run_live(plan, world, told.append)
        finally:
            market.cancel()
            await asyncio.gather(market, return_exceptions=True)
            await skin.stop()
        return Played(plan, exchange, why, told)

    return asyncio.run(both())
