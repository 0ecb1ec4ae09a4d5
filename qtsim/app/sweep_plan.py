"""Plan a sweep: which cells, on which markets, with which parameters; nothing is simulated yet."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.app.backtest import Prepared, prepare, qtsim_version
from qtsim.app.inputs import RunInputs, add_strategy_needs, passports
from qtsim.app.sweep_subjects import (
    Gather,
    Places,
    Subject,
    describe,
    gather_subjects,
    merged,
    read_subject_axis,
    subject_axes,
)
from qtsim.app.sweep_trades import TradeFiles, refuse_values
from qtsim.app.trades import StoredTrades
from qtsim.config.kinds import Count, Whole
from qtsim.config.layers import COMMAND_LINE, Resolved, read_value
from qtsim.config.settings import NOT_IN_DIGEST, Settings, flatten, keys, settings_digest
from qtsim.core._jit import DIGEST
from qtsim.data.store import Store
from qtsim.data.timeframes import parse_timerange
from qtsim.errors import SettingError, UsageError
from qtsim.research.engine import Group, Job, TrialMarket
from qtsim.research.metrics import read_aim
from qtsim.research.parameters import TrialParams, is_parameter, plan_params, settings_of_trial
from qtsim.research.space import SUBJECT_AXES, SYMBOLS, Axis, Space, read_axis
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
NOT_SWEPT = {
    "run.strategy": "parameters, copies and the count of trials are those of one strategy; make a sweep for each one",
    "run.profile": "it is what all other settings start from; vary the settings in which profiles differ",
    "run.timerange": "nobody who trades can choose it, and the best of several periods proves nothing; --holdout keeps "
    "one from the search, qtsim walkforward tests on one after the other",
    "run.seed": "nobody who trades can choose a draw, and the best of several is luck",
    "sim.mode": "how well the path is known is no choice of who trades, and the most flattering would win; compare "
    "single runs",
    "sim.diagnostics.": "trials have none",
    "data.": "it says where data are and how they are read, for all trials alike",
    "account.max_capital": "no backtest reads it",
    "live.": "no backtest reads it",
    "bus.": "no backtest reads it",
}
"""Settings, or the beginnings of some, that are no axis, and why."""
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
    subjects: dict[Places, Subject]
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
    allowed: dict[Places, Allowed]

    def groups_of(self, cells: np.ndarray) -> list[Group]:
        """Some cells by market, without those that the strategy or the settings refuse."""
        return _groups(self.space, cells, self.strategy, self.subjects, self.allowed, each=self.options.each)[0]

    def market_values(self, group: Group) -> dict[str, Any]:
        """The values of a group that make its market."""
        return {
            axis.path: axis.values[place]
            for axis, place in zip(self.space.axes, group.at, strict=True)
            if not is_parameter(axis.path)
        }

    def subject_of(self, places: Sequence[int]) -> Subject:
        """The data of a cell, or of a group, by the places of its values."""
        return self.subjects[_subject_places(self.space, places)]

    def inputs_of(self, values: Mapping[str, Any]) -> RunInputs:
        """The data of a cell by its values, for another run."""
        axes = [self.space.axes[k] for k in subject_axes(self.space)]
        return fresh_inputs(self.subjects[tuple(axis.values.index(values[axis.path]) for axis in axes)].inputs)

    def make_market(self, group: Group) -> TrialMarket:
        """Ask the strategy and build the market of a group."""
        values = self.market_values(group)
        if values == self.base_values and group.symbol == ALL_SYMBOLS:
            return replace(self.base, trades=self.trade_files.of(self.base_trades))
        inputs = fresh_inputs(self.subject_of(group.at).inputs, None if group.symbol == ALL_SYMBOLS else group.symbol)
        settings, strategy = settings_and_strategy(self.resolved, self.strategy, values)
        add_strategy_needs(inputs, strategy, self.store, settings)
        prepared = prepare(inputs, strategy, settings, check=False)
        draws = _draws(settings, len(prepared.market.signals))
        return TrialMarket(prepared.market, draws, self.trade_files.of(prepared.trades))


@dataclass(frozen=True)
class Allowed:
    """The parameters of a subject's trials, and those of its combinations of values that the settings refuse."""

    params: TrialParams | None  # None: all of them
    refused: Mapping[tuple[int, ...], str] = field(default_factory=dict)  # places on the parameters' axes → why
    reason: str = ""  # why all of them are

    def refusal(self, places: tuple[int, ...]) -> str:
        """Why a combination is left out; empty where it is not."""
        return self.reason or self.refused.get(places, "")


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
    resolved: Resolved, strategy: Strategy, gather: Gather, store: Store | None, options: SweepOptions, scratch: Path
) -> Plan:
    """Everything that can be wrong about a sweep before it runs. scratch: where trades may lie while it does.

    Errors: UsageError, SettingError, StrategyError, DataError.
    """
    settings = resolved.settings
    metric = read_aim(options.metric)
    space = Space(tuple(_axis(path, given, strategy) for path, given in _grids(options).items()))
    for name, count in (("random", options.random), ("optuna", options.optuna)):
        if count is not None and count < 1:
            raise UsageError(f"--{name} {count}: 1 trial or more")
    wanted = min(options.random or options.optuna or space.size, space.size)
    _refuse_many(wanted, options)
    if options.each and SYMBOLS in space.paths:
        raise UsageError(f"--each takes every symbol of -p alone already; leave it out, or {SYMBOLS}")
    cells = space.draw(min(wanted, FIRST_LOOKS) if options.optuna else wanted, settings.run.seed)
    of_subjects = _one_of_each_subject(space) if options.optuna else cells
    subjects = gather_subjects(
        resolved, strategy, gather, store, space, of_subjects, options.instruments, each=options.each
    )
    several = next(iter(subjects.values())).inputs.symbols
    if options.each and len(several) < 2:
        raise UsageError("--each is for several symbols; name them with -p, or leave it out")
    symbols = len(several) if options.each else 1
    _refuse_many(wanted * symbols, options)
    for subject in subjects.values():
        refuse_values(subject.resolved, space, subject.inputs)
    allowed = _allowed(subjects, space)
    groups, left_out = _groups(space, cells, strategy, subjects, allowed, each=options.each)
    if not groups:
        raise UsageError(f"no combination is allowed: {next(iter(left_out))}")
    first = groups[0]
    values = {path: value for path, value in space.values(int(first.cells[0])).items() if not is_parameter(path)}
    first_subject = subjects[_subject_places(space, first.at)]
    prepared, draws, warnings = _prepare_first(first_subject, resolved, strategy, store, values, check=options.check)
    info = _info(resolved, strategy, options, space, list(subjects.values()), first_subject, prepared)
    info = replace(
        info,
        metric=metric,
        warnings=list(dict.fromkeys([*info.warnings, *warnings])),
        planned=wanted * symbols if options.optuna else sum(len(group.cells) for group in groups),
        left_out={} if options.optuna else left_out,
    )
    hypotheses = _hypotheses(info, settings, cells)
    identity = hashlib.sha256(f"{hypotheses} {info.core_digest} {info.strategy_digest}".encode()).hexdigest()
    params = {one.inputs.timeframe_ns: allowed[places].params for places, one in subjects.items()}
    return Plan(
        resolved=resolved,
        strategy=strategy,
        subjects=subjects,
        store=store,
        options=options,
        space=space,
        job=Job(space, {length: own for length, own in params.items() if own is not None}),
        groups=groups,
        info=replace(info, identity=identity, trial_source=f"sweep {hypotheses}"),
        base=TrialMarket(prepared.market, draws),
        base_values=values,
        base_trades=prepared.trades,
        trade_files=TradeFiles(scratch),
        allowed=allowed,
    )


def _prepare_first(
    subject: Subject,
    resolved: Resolved,
    strategy: Strategy,
    store: Store | None,
    values: Mapping[str, Any],
    *,
    check: bool,
) -> tuple[Prepared, Any, list[str]]:
    """The market of the first group, of all its symbols, its uniforms, and what it warns of."""
    settings, own = settings_and_strategy(resolved, strategy, values)
    inputs = fresh_inputs(subject.inputs)
    add_strategy_needs(inputs, own, store, settings)
    prepared = prepare(inputs, own, settings, check=check)
    return prepared, _draws(settings, len(prepared.market.signals)), inputs.warnings


def _info(
    resolved: Resolved,
    strategy: Strategy,
    options: SweepOptions,
    space: Space,
    subjects: Sequence[Subject],
    first: Subject,
    prepared: Prepared,
) -> SweepInfo:
    """What was asked for, on what, under which assumptions. prepared: the first subject's market."""
    about = describe(subjects)
    settings = resolved.settings
    return SweepInfo(
        name="",
        version=qtsim_version(),
        strategy=strategy.name,
        symbols=about.symbols,
        timeframe=about.timeframe,
        timeframe_ns=first.inputs.timeframe_ns,
        start_ns=about.start_ns,
        end_ns=about.end_ns,
        bars=about.bars,
        gaps=about.gaps,
        axes=[{"path": axis.path, "values": _lists(axis.values)} for axis in space.axes],
        planned=0,
        metric="",
        strategy_file=_file_of(strategy),
        search=_search_words(options, space),
        each=options.each,
        holdout=options.holdout,
        profile=resolved.profile,
        settings={path: _lists(value) for path, value in flatten(settings).items()},
        setting_sources=dict(resolved.sources),
        params=dict(strategy.params()),
        headlines=list(resolved.headlines),
        fingerprints=about.fingerprints,
        passport=merged([(one, passports(one.inputs, prepared.covers if one is first else {})) for one in subjects]),
        instruments=about.instruments,
        from_store=first.inputs.from_store,
        data_set=about.data_set,
        subjects=[one.to_dict() for one in subjects] if subject_axes(space) else [],
        path="trades" if first.inputs.ticks is not None else prepared.detail,
        funding=prepared.funding,
        mark=prepared.mark,
        causality=prepared.causality,
        warnings=about.warnings,
        core_digest=DIGEST,
        strategy_digest=strategy_fingerprint(strategy),
        seed=settings.run.seed,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _refuse_many(trials: int, options: SweepOptions) -> None:
    if trials > UNASKED_MOST and not options.many:
        raise UsageError(
            f"{trials:,} trials are more than {UNASKED_MOST:,}: confirm them with --yes, take fewer values, "
            "or draw some with --random 1000"
        )


def _one_of_each_subject(space: Space) -> np.ndarray:
    """A cell of every combination of the axes that have other data at each value."""
    axes = subject_axes(space)
    places = np.array(list(itertools.product(*(range(space.shape[k]) for k in axes))), dtype=np.int64)
    at = np.zeros((len(places), len(space.axes)), dtype=np.int64)
    at[:, axes] = places
    return space.cells(at)


def _subject_places(space: Space, places: Sequence[int]) -> Places:
    """A cell's places on the axes that have other data at each value."""
    return tuple(int(places[k]) for k in subject_axes(space))


def _allowed(subjects: Mapping[Places, Subject], space: Space) -> dict[Places, Allowed]:
    """The parameters of each subject. Errors: SettingError where there is one, and all its values are refused."""
    found: dict[Places, Allowed] = {}
    by_length: dict[int, Allowed] = {}
    for places, subject in subjects.items():
        length = subject.inputs.timeframe_ns
        if length not in by_length:
            try:
                planned = plan_params(subject.resolved, space, length)
                by_length[length] = Allowed(planned.params, planned.refused)
            except SettingError as error:
                if len(subjects) == 1:
                    raise
                by_length[length] = Allowed(None, reason=" ".join(str(error).split()))
        found[places] = by_length[length]
    return found


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
    if path in SUBJECT_AXES:
        return read_subject_axis(path, given)
    why = next((reason for start, reason in NOT_SWEPT.items() if path in keys() and path.startswith(start)), "")
    if why and path not in SWEPT_ALL_THE_SAME:
        raise UsageError(f"{path} is no axis of a sweep: {why}. One value for all trials: --set {path}=VALUE")

    def read_setting(_: str, value: Any) -> Any:
        return read_value(path, value, COMMAND_LINE, from_text=True)

    if path not in keys():
        read_setting(path, "0")  # an unknown name names the nearest
    return read_axis(path, given, read_setting, whole=isinstance(keys()[path].kind, Whole | Count))


def _groups(
    space: Space,
    cells: np.ndarray,
    strategy: Strategy,
    subjects: Mapping[Places, Subject],
    allowed: Mapping[Places, Allowed],
    *,
    each: bool,
) -> tuple[list[Group], dict[str, int]]:
    """The cells by market, those left out that the strategy or the settings refuse, with the reasons."""
    left_out: dict[str, int] = {}
    parameter_axes = [k for k, axis in enumerate(space.axes) if is_parameter(axis.path)]
    market_axes = [k for k in range(len(space.axes)) if k not in parameter_axes]
    at = space.indices(cells)
    kinds, owner = np.unique(at[:, market_axes], axis=0, return_inverse=True)
    groups: list[Group] = []
    for k, places in enumerate(kinds):
        mine = owner.reshape(-1) == k
        whole = np.zeros(len(space.axes), dtype=np.int64)
        whole[market_axes] = places
        key = _subject_places(space, whole.tolist())
        own = _without_refused(cells[mine], at[mine][:, parameter_axes], allowed[key], left_out)
        if not len(own):
            continue
        values = {space.axes[j].path: space.axes[j].values[whole[j]] for j in market_axes}
        reason = _misfit(subjects[key].resolved, strategy, values)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + len(own)
            continue
        names = range(len(subjects[key].inputs.symbols)) if each else (ALL_SYMBOLS,)
        groups += [Group(tuple(int(x) for x in whole), symbol, own) for symbol in names]
    return groups, left_out


def _without_refused(cells: np.ndarray, places: np.ndarray, allowed: Allowed, left_out: dict[str, int]) -> np.ndarray:
    """The cells that the settings allow; the reasons why others are not are counted. places: of their parameters."""
    if not allowed.reason and not allowed.refused:
        return cells
    reasons = [allowed.refusal(tuple(row)) for row in places.tolist()]
    for reason in filter(None, reasons):
        left_out[reason] = left_out.get(reason, 0) + 1
    kept: np.ndarray = cells[np.array([not reason for reason in reasons])]
    return kept


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


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
