"""Plan a sweep: which cells, on which markets, with which parameters; nothing is simulated yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.app.backtest import prepare, qtsim_version
from qtsim.app.inputs import (
    RunInputs,
    add_instruments,
    add_strategy_needs,
    fingerprints,
    instrument_fields,
    passports,
)
from qtsim.app.sweep_trades import TradeFiles, refuse_values
from qtsim.app.trades import StoredTrades
from qtsim.config.kinds import Count, Whole
from qtsim.config.layers import COMMAND_LINE, Resolved, read_value
from qtsim.config.settings import NOT_IN_DIGEST, Settings, build, flatten, keys, nest, settings_digest
from qtsim.core._jit import DIGEST
from qtsim.data.frames import times_of
from qtsim.data.store import Store
from qtsim.data.timeframes import parse_timerange
from qtsim.errors import UsageError
from qtsim.research.engine import Group, Job, TrialMarket
from qtsim.research.experiments import data_set_of
from qtsim.research.metrics import read_aim
from qtsim.research.parameters import is_parameter, plan_params, settings_of_trial
from qtsim.research.space import Axis, Space, read_axis
from qtsim.research.sweep import SweepInfo
from qtsim.research.trials import ALL_SYMBOLS
from qtsim.results.agents import training_draws
from qtsim.results.plain_json import encode
from qtsim.signals.loading import load_strategy, strategy_fingerprint
from qtsim.signals.strategy import Strategy, read_params
from qtsim.signals.table import SignalTable

UNASKED_MOST = 20_000
"""Trials beyond which a sweep wants to be asked for (--yes)."""
FIRST_LOOKS = 100
"""Cells of a guided search that are looked at for whether any is allowed."""
STRATEGY = "strategy."
NOT_SWEPT = ("run.", "data.", "live.", "bus.", "sim.diagnostics.", "sim.mode", "account.max_capital")
"""What a sweep is about, or nothing that a backtest reads."""
SWEPT_ALL_THE_SAME = ("data.mark_price",)


@dataclass(frozen=True)
class SweepOptions:
    """What a caller adds to the settings of a sweep."""

    grids: Mapping[str, Any]  # path → grid, as text or values
    random: int | None = None
    optuna: int | None = None
    each: bool = False
    holdout: str = ""
    metric: str = "Sharpe"
    many: bool = False  # more than UNASKED_MOST trials are meant
    jobs: int | None = None
    engine: str = "local"
    scheduler: str = ""
    check: bool = True
    instruments: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """A sweep that is ready to be run."""

    resolved: Resolved
    strategy: Strategy
    inputs: RunInputs
    store: Store | None
    options: SweepOptions
    space: Space
    job: Job
    groups: list[Group]
    info: SweepInfo
    base: TrialMarket  # the market of the first group, of all symbols
    base_values: dict[str, Any]
    base_trades: StoredTrades | None
    trade_files: TradeFiles
    refused: Mapping[tuple[int, ...], str] = field(default_factory=dict)  # places on the parameters' axes → why

    def groups_of(self, cells: np.ndarray) -> list[Group]:
        """Some cells by market, without those that the strategy or the settings refuse."""
        symbols = len(self.inputs.symbols) if self.options.each else 1
        return _groups(self.space, cells, self.strategy, self.resolved, self.job.params.axes, self.refused, symbols)[0]

    def market_values(self, group: Group) -> dict[str, Any]:
        """The values of a group that make its market."""
        return {
            axis.path: axis.values[place]
            for axis, place in zip(self.space.axes, group.at, strict=True)
            if not is_parameter(axis.path)
        }

    def make_market(self, group: Group) -> TrialMarket:
        """Ask the strategy and build the market of a group."""
        values = self.market_values(group)
        if values == self.base_values and group.symbol == ALL_SYMBOLS:
            return replace(self.base, trades=self.trade_files.of(self.base_trades))
        inputs = fresh_inputs(self.inputs, None if group.symbol == ALL_SYMBOLS else group.symbol)
        settings, strategy = settings_and_strategy(self.resolved, self.strategy, values)
        add_strategy_needs(inputs, strategy, self.store, settings)
        prepared = prepare(inputs, strategy, settings, check=False)
        draws = _draws(settings, len(prepared.market.signals))
        return TrialMarket(prepared.market, draws, self.trade_files.of(prepared.trades))


def search_period(timerange: str, holdout: str) -> str:
    """The timerange of a search that leaves the holdout alone. Errors: UsageError where nothing is left."""
    if not holdout:
        return timerange
    start, end = parse_timerange(timerange)
    first, _ = parse_timerange(holdout)
    if first is None:
        raise UsageError(f"--holdout {holdout}: it begins somewhere, for instance 20250101-")
    if (start is not None and first <= start) or (end is not None and first >= end):
        raise UsageError(
            f"--holdout {holdout} begins outside the period {timerange or 'of the data'}, so that nothing would be "
            "searched or held out; choose a day inside it"
        )
    return f"{_moment(start)}-{_moment(first)}"


def holdout_period(timerange: str, holdout: str) -> str:
    """The part of the period that was held out."""
    _, end = parse_timerange(timerange)
    first, last = parse_timerange(holdout)
    ends = [x for x in (end, last) if x is not None]
    return f"{_moment(first)}-{_moment(min(ends) if ends else None)}"


def _moment(ts: int | None) -> str:
    return "" if ts is None else datetime.fromtimestamp(ts // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M")


def with_values(resolved: Resolved, values: Mapping[str, Any]) -> Resolved:
    """The same settings with some values changed on the command line."""
    flat = flatten(resolved.settings) | dict(values)
    changed = sum(not path.startswith(("run.", STRATEGY)) for path in values)
    return replace(
        resolved,
        settings=build(nest(flat)),
        sources=resolved.sources | dict.fromkeys(values, COMMAND_LINE),
        n_overrides=resolved.n_overrides + changed,
    )


def settings_and_strategy(
    resolved: Resolved, strategy: Strategy, values: Mapping[str, Any]
) -> tuple[Settings, Strategy]:
    """Settings and strategy of one cell. Errors: SettingError, UsageError where its values do not fit together."""
    own = {path.removeprefix(STRATEGY): value for path, value in values.items() if path.startswith(STRATEGY)}
    rest = {path: value for path, value in values.items() if not path.startswith(STRATEGY)}
    settings = settings_of_trial(resolved, rest) if rest else resolved.settings
    return settings, load_strategy(strategy, own) if own else strategy


def fresh_inputs(inputs: RunInputs, symbol: int | None = None) -> RunInputs:
    """The same data for another run, of one symbol alone where it is named by its place."""
    symbols = dict(inputs.symbols)
    if symbol is not None:
        name = list(symbols)[symbol]
        symbols = {name: symbols[name]}
    return replace(
        inputs,
        symbols=symbols,
        others=dict(inputs.others),
        columns=dict(inputs.columns),
        warnings=[],
        trade_spans={name: span for name, span in inputs.trade_spans.items() if name in symbols},
    )


def plan_sweep(
    resolved: Resolved, strategy: Strategy, inputs: RunInputs, store: Store | None, options: SweepOptions, scratch: Path
) -> Plan:
    """Everything that can be wrong about a sweep before it runs. scratch: where trades may lie while it does.

    Errors: UsageError, SettingError, StrategyError.
    """
    settings = resolved.settings
    metric = read_aim(options.metric)
    if options.each and len(inputs.symbols) < 2:
        raise UsageError("--each is for several symbols; name them with -p, or leave it out")
    space = Space(tuple(_axis(path, given, strategy) for path, given in _grids(options).items()))
    for name, count in (("random", options.random), ("optuna", options.optuna)):
        if count is not None and count < 1:
            raise UsageError(f"--{name} {count}: 1 trial or more")
    wanted = min(options.random or options.optuna or space.size, space.size)
    symbols = len(inputs.symbols) if options.each else 1
    if wanted * symbols > UNASKED_MOST and not options.many:
        raise UsageError(
            f"{wanted * symbols:,} trials are more than {UNASKED_MOST:,}: confirm them with --yes, take fewer values, "
            "or draw some with --random 1000"
        )
    refuse_values(resolved, space, inputs)
    cells = space.draw(min(wanted, FIRST_LOOKS) if options.optuna else wanted, settings.run.seed)
    planned = plan_params(resolved, space, inputs.timeframe_ns)
    groups, left_out = _groups(space, cells, strategy, resolved, planned.params.axes, planned.refused, symbols)
    if not groups:
        raise UsageError(f"no combination is allowed: {next(iter(left_out))}")
    add_strategy_needs(inputs, strategy, store, settings)
    add_instruments(inputs, settings, options.instruments, store, plain=resolved.profile == "plain")
    first = groups[0]
    values = {path: value for path, value in space.values(int(first.cells[0])).items() if not is_parameter(path)}
    base_settings, base_strategy = settings_and_strategy(resolved, strategy, values)
    own = fresh_inputs(inputs)
    add_strategy_needs(own, base_strategy, store, base_settings)
    prepared = prepare(own, base_strategy, base_settings, check=options.check)
    base = TrialMarket(prepared.market, _draws(base_settings, len(prepared.market.signals)))
    job = Job(space, planned.params)
    info = SweepInfo(
        name="",
        version=qtsim_version(),
        strategy=strategy.name,
        symbols=list(inputs.symbols),
        timeframe=inputs.timeframe,
        timeframe_ns=inputs.timeframe_ns,
        start_ns=inputs.start_ns,
        end_ns=inputs.end_ns - inputs.timeframe_ns,
        bars={symbol: len(item.traded) for symbol, item in inputs.symbols.items()},
        gaps={symbol: _gaps(times_of(item.traded), inputs.timeframe_ns) for symbol, item in inputs.symbols.items()},
        axes=[{"path": axis.path, "values": list(axis.values)} for axis in space.axes],
        planned=wanted * symbols if options.optuna else sum(len(group.cells) for group in groups),
        metric=metric,
        strategy_file=_file_of(strategy),
        search=_search_words(options, space),
        each=options.each,
        holdout=options.holdout,
        left_out={} if options.optuna else left_out,
        profile=resolved.profile,
        settings={path: _lists(value) for path, value in flatten(settings).items()},
        setting_sources=dict(resolved.sources),
        params=dict(strategy.params()),
        headlines=list(resolved.headlines),
        fingerprints=fingerprints(inputs),
        passport=passports(inputs, prepared.covers),
        instruments={
            symbol: instrument_fields(item.instrument)
            for symbol, item in inputs.symbols.items()
            if item.instrument is not None
        },
        from_store=inputs.from_store,
        data_set=data_set_of(list(inputs.symbols), inputs.timeframe, synthetic=_is_synthetic(inputs)),
        path="trades" if inputs.ticks is not None else prepared.detail,
        funding=prepared.funding,
        mark=prepared.mark,
        causality=prepared.causality,
        warnings=list(dict.fromkeys([*inputs.warnings, *own.warnings])),
        core_digest=DIGEST,
        strategy_digest=strategy_fingerprint(strategy),
        seed=settings.run.seed,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    hypotheses = _hypotheses(info, settings, cells)
    identity = hashlib.sha256(f"{hypotheses} {info.core_digest} {info.strategy_digest}".encode()).hexdigest()
    info = replace(info, identity=identity, trial_source=f"sweep {hypotheses}")
    return Plan(
        resolved=resolved,
        strategy=strategy,
        inputs=inputs,
        store=store,
        options=options,
        space=space,
        job=job,
        groups=groups,
        info=info,
        base=base,
        base_values=values,
        base_trades=prepared.trades,
        trade_files=TradeFiles(scratch),
        refused=planned.refused,
    )


def _grids(options: SweepOptions) -> Mapping[str, Any]:
    if not options.grids:
        raise UsageError(
            "nothing to vary: name a setting or a parameter of the strategy with its values, for instance "
            "exit.base_tp=0.5%:5%:x10 or strategy.fast=8,12,16"
        )
    if options.random is not None and options.optuna is not None:
        raise UsageError("--random and --optuna are two kinds of search: choose one")
    return options.grids


def _axis(path: str, given: Any, strategy: Strategy) -> Axis:
    """One axis, each of its values read as a setting or as the strategy's parameter."""
    if path.startswith(STRATEGY):
        name = path.removeprefix(STRATEGY)
        default = strategy.params().get(name)

        def read_parameter(_: str, value: Any) -> Any:
            parsed = read_value(path, value, COMMAND_LINE, from_text=True)
            return read_params(type(strategy), {name: parsed})[name]

        read_params(type(strategy), {name: default})  # an unknown name names the nearest
        return read_axis(path, given, read_parameter, whole=isinstance(default, int) and not isinstance(default, bool))
    if path in keys() and path.startswith(NOT_SWEPT) and path not in SWEPT_ALL_THE_SAME:
        raise UsageError(f"{path} is not varied in a sweep; set it for the whole sweep: --set {path}=VALUE")

    def read_setting(_: str, value: Any) -> Any:
        return read_value(path, value, COMMAND_LINE, from_text=True)

    if path not in keys():
        read_setting(path, "0")  # an unknown name names the nearest
    return read_axis(path, given, read_setting, whole=isinstance(keys()[path].kind, Whole | Count))


def _groups(
    space: Space,
    cells: np.ndarray,
    strategy: Strategy,
    resolved: Resolved,
    parameter_axes: list[int],
    refused: Mapping[tuple[int, ...], str],
    symbols: int,
) -> tuple[list[Group], dict[str, int]]:
    """The cells by market, those left out that the strategy or the settings refuse, with the reasons."""
    left_out: dict[str, int] = {}
    at = space.indices(cells)
    if refused:
        allowed = np.array([tuple(row) not in refused for row in at[:, parameter_axes].tolist()])
        for row in at[~allowed][:, parameter_axes].tolist():
            left_out[refused[tuple(row)]] = left_out.get(refused[tuple(row)], 0) + 1
        cells, at = cells[allowed], at[allowed]
    market_axes = [k for k in range(len(space.axes)) if k not in parameter_axes]
    kinds, owner = np.unique(at[:, market_axes], axis=0, return_inverse=True)
    groups: list[Group] = []
    for k, places in enumerate(kinds):
        own = cells[owner.reshape(-1) == k]
        whole = np.zeros(len(space.axes), dtype=np.int64)
        whole[market_axes] = places
        values = {space.axes[j].path: space.axes[j].values[whole[j]] for j in market_axes}
        reason = _misfit(resolved, strategy, values)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + len(own)
            continue
        names = range(symbols) if symbols > 1 else (ALL_SYMBOLS,)
        groups += [Group(tuple(int(x) for x in whole), symbol, own) for symbol in names]
    return groups, left_out


def _misfit(resolved: Resolved, strategy: Strategy, values: Mapping[str, Any]) -> str:
    """Why a combination of the market's values is not allowed; empty where it is."""
    try:
        settings_and_strategy(resolved, strategy, values)
    except UsageError as error:
        return " ".join(str(error).split("(is_valid)")[0].split()).rstrip(":")
    return ""


def _draws(settings: Settings, signals: int) -> Any:
    return training_draws(settings.run.seed, signals) if settings.sizing.model == "rl" else None


def _hypotheses(info: SweepInfo, settings: Settings, cells: np.ndarray) -> str:
    """sha256 of what is tried on what. With the same code it is the same sweep, which goes on where it was left."""
    swept = {axis["path"] for axis in info.axes}
    parts = {
        "settings": settings_digest(settings, leave_out=(*NOT_IN_DIGEST, *swept)),
        "strategy": [info.strategy, encode(info.params)],
        "axes": encode(info.axes),
        "cells": hashlib.sha256(np.ascontiguousarray(cells).tobytes()).hexdigest(),
        "search": info.search,
        "each": info.each,
        "data": sorted(info.fingerprints.items()),
        "period": [info.start_ns, info.end_ns, info.timeframe],
        "instruments": encode(info.instruments),
        "holdout": info.holdout,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _search_words(options: SweepOptions, space: Space) -> str:
    if options.optuna is not None:
        return f"optuna {options.optuna}"
    if options.random is not None:
        return f"random {min(options.random, space.size)}"
    return "grid"


def _file_of(strategy: Strategy) -> str:
    """FILE:Class, or the file of a ready table; empty where there is none."""
    if strategy.source is None:
        return ""
    return str(strategy.source) if isinstance(strategy, SignalTable) else f"{strategy.source}:{type(strategy).__name__}"


def _gaps(times: np.ndarray, timeframe: int) -> int:
    return int((times[-1] - times[0]) // timeframe + 1 - len(times))


def _is_synthetic(inputs: RunInputs) -> bool:
    return any(item.source.startswith("SYNTHETIC") for item in inputs.symbols.values())


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
