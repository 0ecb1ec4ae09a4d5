"""One backtest from settings to Result: ask the strategy, run, run again for the range and the optimism meter."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.ablation import add_ablation, changes_market
from qtsim.app.compose import Driver, compiled_driver, reference_driver
from qtsim.app.injections import Outage, Transfer, outage_rows, refused_texts, transfer_rows
from qtsim.app.inputs import (
    RunInputs,
    add_instruments,
    add_strategy_needs,
    bar_rows,
    fingerprints,
    funding_rows,
    instrument_fields,
    leader_symbol,
    passports,
    path_rows,
    refined_bars,
)
from qtsim.app.optimism import relaxed
from qtsim.app.path import DetailCover
from qtsim.app.trades import StoredTrades, days_without_quotes, refuse_with_trades, refuse_without_quotes
from qtsim.app.volume_share import share_texts
from qtsim.config.check import check_settings
from qtsim.config.layers import Resolved
from qtsim.config.params import to_params
from qtsim.config.settings import Settings, flatten
from qtsim.core._jit import DIGEST
from qtsim.core.enums import PathModel
from qtsim.core.params import RL_STATES
from qtsim.core.records import Records
from qtsim.core.rl_sizing import DEFAULT_ACTION
from qtsim.data.frames import times_of
from qtsim.data.instruments import load_instruments, to_record
from qtsim.data.sectors import sector_numbers
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts, timeframe_name
from qtsim.errors import QtsimError, UsageError
from qtsim.results.agents import Agent, load_agent, training_draws
from qtsim.results.ambiguity import with_untried
from qtsim.results.result import Result, RunInfo
from qtsim.results.signals import newest_signals
from qtsim.results.tables import times_ns
from qtsim.signals.causality import quick_check
from qtsim.signals.compute import SignalSet, compute_signals
from qtsim.signals.loading import strategy_fingerprint
from qtsim.signals.market_columns import describe_market
from qtsim.signals.regimes import LeaderRules
from qtsim.signals.strategy import Strategy
from qtsim.signals.table import SignalTable
from qtsim.sim.journals import Journals
from qtsim.sim.market import Market, SymbolInput, build_market
from qtsim.sim.run import first_difference

OPTIMISM_LIMIT = 2_000_000
"""Symbol-bars up to which `sim.diagnostics.optimism = auto` runs the optimism meter."""
Stage = Callable[[str, int, int], None]
"""Called with (what is being done, done, all)."""


@dataclass(frozen=True)
class EarlierRun:
    """The run that this one repeats."""

    run_id: str
    ambiguous: pd.DataFrame | None  # its ambiguous bars; None: it is of a version that did not list them


@dataclass(frozen=True)
class BacktestOptions:
    """What a caller may add to the settings."""

    verify: bool = False
    fast: bool = False
    check: bool = True
    ablate: bool = False
    instruments: Mapping[str, Any] = field(default_factory=dict)
    outages: Sequence[Outage] = ()
    transfers: Sequence[Transfer] = ()
    agent: str | Path | None = None  # sizing model rl: a saved agent to evaluate; None: the run trains a new one
    before: EarlierRun | None = None


@dataclass
class Prepared:
    """A run that is ready to be driven, any number of times."""

    market: Market
    params: Records
    signals: dict[str, SignalSet]
    causality: str
    funding: str
    mark: str
    bars: dict[str, Records]  # bar_dt by symbol: the bars that the strategy saw
    detail: str = ""  # how much of them has finer bars; empty: not asked for
    covers: dict[str, DetailCover] = field(default_factory=dict)  # which of them, by symbol, in detail mode
    trades: StoredTrades | None = None  # the path, with sim.mode = ticks


def run_backtest(
    resolved: Resolved,
    strategy: Strategy,
    inputs: RunInputs,
    *,
    store: Store | None = None,
    options: BacktestOptions | None = None,
    stage: Stage | None = None,
) -> Result:
    """Backtest `strategy` on `inputs` under `resolved` settings.

    Errors: StrategyError, DataError, UsageError name what is wrong; nothing is written.
    """
    options = options or BacktestOptions()
    tell = stage or (lambda what, done, total: None)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    settings = resolved.settings
    refuse_without_quotes(settings)
    saved = _saved_agent(settings, options)
    add_strategy_needs(inputs, strategy, store, settings)
    add_instruments(inputs, settings, options.instruments, store, plain=resolved.profile == "plain")
    prepared = prepare(
        inputs,
        strategy,
        settings,
        check=options.check,
        outages=options.outages,
        transfers=options.transfers,
        tell=tell,
    )
    if inputs.ticks is not None:
        refuse_with_trades(settings, trains=settings.sizing.model == "rl" and saved is None)
    symbols = list(inputs.symbols)
    balance = float(settings.account.balance)
    draws = None
    if settings.sizing.model == "rl" and saved is None:
        draws = training_draws(settings.run.seed, len(prepared.market.signals))

    def drive(driver: Driver, what: str, market: Market, params: Records, *, diagnose: bool) -> Journals:
        tell(what, 0, 1)
        return driver(
            market,
            params,
            balance,
            symbols,
            diagnose=diagnose,
            agent=None if saved is None else saved.record,
            draws=draws,
            progress=lambda done, total: tell(what, done, total),
            trades=None if prepared.trades is None else prepared.trades.chunks(),
        )

    journals = drive(compiled_driver, "simulating", prepared.market, prepared.params, diagnose=True)
    verified: bool | None = None
    if options.verify:
        twin = drive(reference_driver, "verifying", prepared.market, prepared.params, diagnose=True)
        difference = first_difference(journals, twin)
        if difference is not None:
            raise QtsimError(f"verification failed: the two drivers differ, {difference}; please report this run")
        verified = True

    if settings.sizing.model == "rl":
        inputs.warnings.append(_agent_words(journals, settings, saved))
    measures_optimism = not options.fast and _wants_optimism(settings, inputs)
    info = _describe(resolved, strategy, inputs, prepared, journals, started, options.instruments)
    info = replace(
        info,
        agent="" if saved is None else saved.digest,
        outages=[list(outage) for outage in options.outages],
        transfers=[list(transfer) for transfer in options.transfers],
        settled=_settled(options.before, inputs, prepared.covers),
    )
    frames = _report_frames(inputs, prepared)

    def rerun(market: Market, params: Records, what: str) -> Result:
        other = drive(compiled_driver, what, market, params, diagnose=False)
        return Result.from_journals(other, info, frames)

    def rerun_with(what: str, changed: Settings) -> Result:
        market = prepared.market
        if changes_market(settings, changed):
            market = _prepared_again(inputs, strategy, changed, store, options).market
        return rerun(market, to_params(changed, inputs.timeframe_ns), what)

    ranges: dict[str, dict[str, float]] = {}
    if settings.sim.diagnostics.range and not options.fast and prepared.trades is None:
        for path in PathModel:
            params = prepared.params.copy()
            params["sim"]["path"] = path
            ranges[path.name.lower()] = rerun(prepared.market, params, f"{path.name.lower()} path").metrics
    optimism: dict[str, float] = {}
    if measures_optimism:
        for name, market, params in relaxed(prepared.market, prepared.params, settings):
            optimism[name] = rerun(market, params, name).metrics["Total Return"]
    agent = saved
    if agent is None and settings.sizing.model == "rl":
        agent = Agent(journals.agent, settings.run.seed, info.settings)
    result = Result.from_journals(
        journals, info, frames, ranges=ranges, optimism=optimism, verified=verified, agent=agent
    )
    result.ambiguous = with_untried(result, {symbol: cover.cut for symbol, cover in prepared.covers.items()})
    result.signals = newest_signals({symbol: own.rows for symbol, own in prepared.signals.items()}, info.tags)
    if options.ablate:
        add_ablation(result, settings, rerun_with)
    result.info = replace(info, elapsed_s=round(time.perf_counter() - clock, 3))
    return result


def prepare(
    inputs: RunInputs,
    strategy: Strategy,
    settings: Settings,
    *,
    check: bool = True,
    outages: Sequence[Outage] = (),
    transfers: Sequence[Transfer] = (),
    tell: Stage | None = None,
) -> Prepared:
    """Ask the strategy about every bar and join everything that a driver reads."""
    report = tell or (lambda what, done, total: None)
    sent = transfer_rows(transfers, inputs.start_ns, inputs.end_ns)
    report("signals", 0, 1)
    leader = leader_symbol(settings)
    rules = settings.regime.leader
    signals = compute_signals(
        strategy,
        inputs.frames(),
        inputs.timeframe,
        regime_timeframe=settings.regime.timeframe,
        leader=leader,
        leader_rules=LeaderRules(rules.timeframe, rules.ema_bars, rules.band),
        mark_frames=inputs.mark_frames(),
        funding_frames=inputs.funding_frames(),
        column_frames=inputs.columns,
        other_frames=inputs.others,
    )
    causality = "not checked"
    if check:
        report("checking for look-ahead", 0, 1)
        causality = quick_check(
            strategy,
            inputs.frames(),
            inputs.timeframe,
            signals=signals,
            traded_from={symbol: int(times_of(item.traded)[0]) for symbol, item in inputs.symbols.items()},
            mark_frames=inputs.mark_frames(),
            funding_frames=inputs.funding_frames(),
            column_frames=inputs.columns,
            other_frames=inputs.others,
        ).text
    arrays: list[SymbolInput] = []
    sectors = sector_numbers(list(inputs.symbols), inputs.sectors)
    funding_kinds: set[str] = set()
    marked: list[bool] = []
    seen: dict[str, Records] = {}
    covers: dict[str, DetailCover] = {}
    refined = refined_bars(inputs)
    for symbol, item in inputs.symbols.items():
        bars, has_mark = bar_rows(item, settings, inputs.warnings)
        funding, kind = funding_rows(item, settings, inputs.timeframe_ns, inputs.warnings)
        funding_kinds.add(kind)
        marked.append(has_mark)
        assert item.instrument is not None
        instrument = to_record(item.instrument)
        instrument["sector"] = sectors[symbol]
        own = signals[symbol]
        seen[symbol] = bars
        tick, lot = float(item.instrument.tick or 0.0), float(item.instrument.lot)
        path, cover = path_rows(item, bars, inputs, refined, tick, lot)
        if cover is not None:
            covers[symbol] = cover
        rows = own.rows[item.first :]
        describe_market(rows, bars, inputs.timeframe_ns)
        if inputs.ticks is not None and settings.costs.slippage.model == "spread":
            first, last = inputs.trade_spans[symbol]
            lacking = days_without_quotes(inputs.ticks, symbol, first, last + 1)
            if lacking:
                inputs.warnings.append(
                    f"{symbol}: no quotes on {lacking:,} of its days; the last spread known stands in"
                )
        arrays.append(SymbolInput(symbol, path, rows, funding, instrument, has_mark, own.closes))
    if isinstance(strategy, SignalTable):
        inputs.warnings += strategy.remarks
    both = sum(found.both_sides for found in signals.values())
    if both:
        inputs.warnings.append(f"{both:,} bars asked for both sides at once; neither was used")
    market = build_market(
        arrays,
        inputs.timeframe_ns,
        path_ns=inputs.detail_ns or None,
        regime_ns=next(iter(signals.values())).regime_ns,
        outages=outage_rows(outages, inputs.start_ns, inputs.end_ns),
        transfers=sent,
    )
    return Prepared(
        market=market,
        params=to_params(settings, inputs.timeframe_ns),
        signals=signals,
        causality=causality,
        funding=" and ".join(sorted(funding_kinds, reverse=True)),
        mark="history" if all(marked) else "history for some" if any(marked) else "off",
        bars=seen,
        trades=_trades_of(inputs, market, seen),
        detail=_detail_words(inputs, list(covers.values())),
        covers=covers,
    )


def _prepared_again(
    inputs: RunInputs, strategy: Strategy, settings: Settings, store: Store | None, options: BacktestOptions
) -> Prepared:
    """The same data under other settings; what it would warn of, the run itself has warned of."""
    own = replace(inputs, others=dict(inputs.others), columns=dict(inputs.columns), warnings=[])
    add_strategy_needs(own, strategy, store, settings)
    return prepare(own, strategy, settings, check=False, outages=options.outages, transfers=options.transfers)


def _trades_of(inputs: RunInputs, market: Market, bars: dict[str, Records]) -> StoredTrades | None:
    """The trades of the run, where they are its path."""
    if inputs.ticks is None:
        return None
    lasts = {symbol: last for symbol, (_, last) in inputs.trade_spans.items()}
    first = min(first for first, _ in inputs.trade_spans.values())
    return StoredTrades(inputs.ticks, list(bars), first, max(lasts.values()) + 1, market, bars, lasts)


def _detail_words(inputs: RunInputs, covers: Sequence[DetailCover]) -> str:
    """1m for 740 of 17,520 bars: how many of all symbols' bars have finer ones; or that trades are the path."""
    if inputs.ticks is not None:
        first = min(first for first, _ in inputs.trade_spans.values())
        last = max(last for _, last in inputs.trade_spans.values())
        return f"trades from {format_ts(first, short=True)} to {format_ts(last)}"
    if not covers:
        return ""
    covered, bars = (sum(counts) for counts in zip(*((cover.covered, cover.bars) for cover in covers), strict=True))
    shown = "all" if covered == bars else f"{covered:,} of {bars:,}"
    return f"{timeframe_name(inputs.detail_ns)} for {shown} bars"


def _settled(before: EarlierRun | None, inputs: RunInputs, covers: Mapping[str, DetailCover]) -> dict[str, Any]:
    """How many of an earlier run's ambiguous bars have all their finer bars here; empty where nothing was asked."""
    if before is None or before.ambiguous is None or not covers:
        return {}
    same = before.ambiguous[before.ambiguous["timeframe"] == inputs.timeframe]
    own = same[same["symbol"].isin(list(covers))]
    whole = {
        symbol: np.isin(times_ns(bars["time"]), covers[str(symbol)].whole) for symbol, bars in own.groupby("symbol")
    }
    return {"run": before.run_id, "bars": len(own), "settled": int(sum(found.sum() for found in whole.values()))}


def _saved_agent(settings: Settings, options: BacktestOptions) -> Agent | None:
    """The agent to evaluate. Errors: UsageError where nothing asks for one, DataError where it cannot be read."""
    if options.agent is None:
        return None
    if settings.sizing.model != "rl":
        raise UsageError(
            f'an agent is for sizing.model = "rl", not for "{settings.sizing.model}"; set it, or leave the agent out'
        )
    return load_agent(options.agent)


def _agent_words(journals: Journals, settings: Settings, saved: Agent | None) -> str:
    """What the agent of sizing model rl did in this run, in one sentence."""
    agent = journals.agent[0]
    known = int((agent["visits"][:, DEFAULT_ACTION] >= settings.sizing.rl.min_visits).sum())
    deed = "trained in this run" if saved is None else "evaluated, learning nothing"
    return (
        f"sizing.model rl: an agent {deed}; {int(agent['decisions']):,} decisions so far, and in {known} of "
        f"{RL_STATES} states it has the {settings.sizing.rl.min_visits} visits (sizing.rl.min_visits) below which it "
        "takes the default action"
    )


def _wants_optimism(settings: Settings, inputs: RunInputs) -> bool:
    """Whether to run the optimism meter; where `auto` does not, the run says so."""
    wanted = settings.sim.diagnostics.optimism
    if wanted != "auto":
        return wanted == "on"
    size = sum(len(item.traded) for item in inputs.symbols.values())
    if size > OPTIMISM_LIMIT:
        inputs.warnings.append(
            f"without the optimism meter: {size:,} bars are more than {OPTIMISM_LIMIT:,}; "
            'sim.diagnostics.optimism = "on" runs it'
        )
    return size <= OPTIMISM_LIMIT


def _report_frames(inputs: RunInputs, prepared: Prepared) -> dict[str, pd.DataFrame]:
    """Bars with mark prices and market columns, for the pictures."""
    frames: dict[str, pd.DataFrame] = {}
    for i, (symbol, item) in enumerate(inputs.symbols.items()):
        frame = item.traded.copy()
        first, last = prepared.market.signal_offsets[i], prepared.market.signal_offsets[i + 1]
        if prepared.market.has_mark[i]:
            for name in ("open", "high", "low", "close"):
                frame[f"mark_{name}"] = prepared.bars[symbol][f"mark_{name}"]
        for name in ("atr", "volatility_factor"):
            frame[name] = prepared.market.signals[name][first:last]
        frames[symbol] = frame
    return frames


def _describe(
    resolved: Resolved,
    strategy: Strategy,
    inputs: RunInputs,
    prepared: Prepared,
    journals: Journals,
    started: datetime,
    given: Iterable[str],
) -> RunInfo:
    settings = resolved.settings
    items = list(inputs.symbols.values())
    rates = {item.symbol: item.instrument.brackets[0].rate for item in items if item.instrument is not None}
    maker, taker = settings.costs.fees.rates()
    warnings = list(dict.fromkeys(inputs.warnings)) + refused_texts(journals.transfers, len(prepared.market.transfers))
    warnings += share_texts(journals.fills, prepared.bars, settings.sim.volume.warn_share)
    states = any(found.states_confidence for found in prepared.signals.values())
    if not states and _uses_confidence(settings):
        warnings.append(
            f"{strategy.name} states no confidence; {settings.entry.confidence.default:g} is used "
            "(entry.confidence.default) where sizing or leverage asks for one"
        )
    prints = fingerprints(inputs)
    # rules that another machine, or this one after the next download, does not have; plain reads no table
    shipped = load_instruments(settings.data.venue)
    own = {i.symbol for i in items if resolved.profile != "plain" and i.instrument != shipped.get(i.symbol)}
    return RunInfo(
        version=qtsim_version(),
        strategy=strategy.name,
        symbols=list(inputs.symbols),
        timeframe=inputs.timeframe,
        timeframe_ns=inputs.timeframe_ns,
        start_ns=inputs.start_ns,
        end_ns=inputs.end_ns - inputs.timeframe_ns,
        params=dict(strategy.params()),
        bars={item.symbol: len(item.traded) for item in items},
        gaps={item.symbol: _missing(item.traded, inputs.timeframe_ns) for item in items},
        profile=resolved.profile,
        n_overrides=resolved.n_overrides,
        headlines=list(resolved.headlines),
        settings=_plain(flatten(settings)),
        setting_sources=dict(resolved.sources),
        sources={item.symbol: item.source for item in items},
        fingerprints=prints,
        from_store=inputs.from_store,
        instruments={
            item.symbol: instrument_fields(item.instrument)
            for item in items
            if item.instrument is not None and item.symbol in {*map(normalize_symbol, given), *own}
        },
        passport=passports(inputs, prepared.covers),
        bracket_date=next((i.instrument.bracket_date for i in items if i.instrument and i.instrument.bracket_date), ""),
        funding=prepared.funding,
        mark=prepared.mark,
        detail=prepared.detail,
        leader_known=any(bool(own.rows["leader_regime"].any()) for own in prepared.signals.values()),
        causality=prepared.causality,
        taker=taker,
        maker=maker,
        findings=[finding.text for finding in check_settings(settings, rates, _leverages(journals))],
        warnings=warnings,
        tags=next((list(found.tags) for found in prepared.signals.values()), []),
        counts=journals.counts,
        core_digest=DIGEST,
        strategy_digest=strategy_fingerprint(strategy),
        seed=settings.run.seed,
        versions={name: _version(name) for name in ("numpy", "numba", "pandas")}
        | {"python": platform.python_version()},
        started_at=started.isoformat(timespec="seconds"),
    )


def _leverages(journals: Journals) -> list[int]:
    """Leverages that entries had."""
    held = journals.positions[journals.positions["side"] != 0]
    return [int(x) for rows in (journals.trades, held) for x in np.unique(rows["leverage"])]


def _uses_confidence(settings: Settings) -> bool:
    return (
        settings.leverage.model in ("simple", "ilf2")
        or settings.sizing.model == "notional"
        or settings.exit.levels.sl.model == "confidence"
    )


def _missing(frame: pd.DataFrame, timeframe: int) -> int:
    times = times_of(frame)
    return int((times[-1] - times[0]) // timeframe + 1 - len(times))


def _plain(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a file: lists for tuples, however deep."""
    return {path: _lists(value) for path, value in flat.items()}


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def qtsim_version() -> str:
    """Version of the installed package."""
    return _version("qtsim")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "0.1.0" if name == "qtsim" else ""
