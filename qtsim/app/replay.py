"""`qtsim replay SESSION`: a recorded session's inputs through the same core again, every decision compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qtsim.app.inputs import instrument_from_fields, leader_symbol
from qtsim.app.live import JOURNAL, live_params, state_folder, timing_of
from qtsim.app.paper import PaperVenue
from qtsim.app.workspace import Workspace
from qtsim.config.layers import resolve
from qtsim.config.settings import Settings
from qtsim.core._jit import DIGEST
from qtsim.core.records import bar_dt, close_dt, span_dt
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.data.instruments import to_record
from qtsim.data.sectors import sector_numbers
from qtsim.data.timeframes import timeframe_ns
from qtsim.errors import DataError, UsageError
from qtsim.live.desk import Command, Desk
from qtsim.live.history import BarHistory, RegimeRules, SignalSource
from qtsim.live.journal import open_journal
from qtsim.live.modes import Mode
from qtsim.live.recorder import LARGE, SMALL
from qtsim.live.replay import Comparer, Difference, replay
from qtsim.live.tape import unpacked
from qtsim.live.trader import Trader
from qtsim.signals.loading import load_strategy, strategy_fingerprint
from qtsim.signals.regimes import LeaderRules
from qtsim.trading.session import Session


@dataclass(frozen=True)
class Replayed:
    """What a replay of one epoch found."""

    epoch: int
    inputs: int
    decisions: int
    difference: Difference | None
    remarks: tuple[str, ...] = ()


def replay_session(workspace: Workspace, session: str, epoch: int | None = None) -> list[Replayed]:
    """Go through a session's epochs, or one of them; each begins with the state that its start took up.

    Raises
    ------
    UsageError
        No session of this name has run here, or it has no such epoch.
    DataError
        The journal is damaged, or an epoch's start cannot be read.
    """
    journal = open_journal(state_folder(workspace, session) / JOURNAL, read_only=True)
    epochs = [number for number, _, _ in journal.epochs()]
    if epoch is not None and epoch not in epochs:
        raise UsageError(f"session {session} has no epoch {epoch}; it has {', '.join(map(str, epochs)) or 'none'}")
    found = []
    for number in epochs if epoch is None else [epoch]:
        inputs = list(unpacked(journal.inputs(number)))
        if not inputs or inputs[0][1] != "start":
            found.append(Replayed(number, 0, 0, None, ("it ended before it started",)))
            continue
        decisions = list(journal.decisions(number))
        comparer = Comparer(decisions)
        start = inputs[0][2]
        trader, remarks = trader_of(workspace, start, comparer)
        count, difference = replay(trader, inputs[1:], comparer)
        found.append(Replayed(number, count, len(decisions), difference, tuple(remarks)))
    journal.close()
    return found


def trader_of(workspace: Workspace, start: Mapping[str, Any], comparer: Comparer) -> tuple[Trader, list[str]]:
    """A trader as a session's start describes it."""
    try:
        settings = _settings_of(start)
        symbols = list(start["symbols"])
        instruments = [to_record(instrument_from_fields(start["instruments"][symbol])) for symbol in symbols]
        sectors = sector_numbers(symbols, {})
        for symbol, row in zip(symbols, instruments, strict=True):
            row["sector"] = sectors[symbol]
        params = live_params(settings)
        width = int(slots_per_symbol_nb(params[0]))
        session = Session(
            np.concatenate(instruments),
            params,
            float(start["balance"]),
            np.zeros(0, close_dt),
            np.zeros(len(symbols) * width, span_dt),
            timeframe_ns(settings.run.timeframe),
        )
        bar_ns = timeframe_ns(settings.run.timeframe)
        is_paper = Mode(start["mode"]) is Mode.PAPER
        venue: Any = PaperVenue(session, bar_ns) if is_paper else Desk(session, _swallow, bar_ns)
        session.connect(venue)
        for name in (*SMALL, *LARGE):
            rows = getattr(session, name)
            rows[:] = np.frombuffer(bytes.fromhex(start["states"][name]), rows.dtype).reshape(rows.shape)
        if isinstance(venue, Desk):
            venue.take_up()
        strategy = load_strategy(settings.run.strategy, settings.strategy, [workspace.strategies])
        rules = settings.regime
        source = SignalSource(
            strategy,
            settings.run.timeframe,
            RegimeRules(
                rules.timeframe,
                leader_symbol(settings),
                LeaderRules(rules.leader.timeframe, rules.leader.ema_bars, rules.leader.band),
            ),
            {symbol: _history(start["bars"][symbol]) for symbol in symbols},
            width,
            other_bars={symbol: _history(text) for symbol, text in start["others"].items()},
            funding={
                symbol: [(int(ts), float(rate)) for ts, rate in rows] for symbol, rows in start["funding"].items()
            },
        )
    except (KeyError, ValueError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"the session's start cannot be read: {error!r}") from error
    trader = Trader(session, venue, source, timing_of(settings), comparer)
    trader.last_closed = int(start["last_closed"])
    remarks = []
    if start["engine"] != DIGEST:
        remarks.append("the engine is another one than the session ran with")
    if start["strategy"] != strategy_fingerprint(strategy):
        remarks.append("the strategy's source is another one than the session ran with")
    return trader, remarks


def _settings_of(start: Mapping[str, Any]) -> Settings:
    profile = str(start["profile"])
    overrides = {path: value for path, value in start["settings"].items() if path != "run.profile"}
    return resolve(profile=profile, environ={}, overrides=overrides, available_only=False).settings


def _history(text: str) -> BarHistory:
    return BarHistory(np.frombuffer(bytes.fromhex(text), bar_dt).copy())


def _swallow(command: Command) -> None:
    """Orders of a replay go nowhere; what became of them is among the inputs."""
