"""The Python surface: what a notebook calls. It builds the same objects as the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.backtest import BacktestOptions, Stage, run_backtest
from qtsim.app.experiments import Tried, count_run
from qtsim.app.injections import Outage, Transfer
from qtsim.app.inputs import (
    RunInputs,
    add_stored_history,
    gather_frames,
    gather_store,
    infer_timeframe,
    set_detail,
)
from qtsim.app.workspace import Workspace, find_workspace, settings_of
from qtsim.config.layers import Resolved, resolve
from qtsim.config.params import to_params
from qtsim.core.entry import reset_plan_nb
from qtsim.core.enums import RULE_TEXT, Gate, PlanFlag, Rule, TrailMode
from qtsim.core.harvest import set_fractions_nb
from qtsim.core.levels import apply_safety_nb, deny_near_stop_nb, set_levels_nb
from qtsim.core.margin import bracket_liquidation_price_nb
from qtsim.core.params import TARGETS
from qtsim.core.records import plan_dt, signal_dt
from qtsim.data.frames import as_bars
from qtsim.data.sample import sample_store
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.ticks.sample import sample_ticks
from qtsim.data.timeframes import parse_timerange
from qtsim.errors import UsageError
from qtsim.results.result import Result
from qtsim.results.run_folder import check_writable, find_run, save_run
from qtsim.results.run_folder import load_run as read_run
from qtsim.signals.loading import load_strategy
from qtsim.signals.strategy import Strategy

OneOrMore = str | Sequence[str]


def open_store(workspace: Workspace, resolved: Resolved, *, sample: bool = False) -> Store:
    """The workspace's store, or the sample market's, made on first use; its day of trades where a run wants trades."""
    root = workspace.data(resolved.settings.data.dir)
    if sample:
        store = sample_store(root)
        if resolved.settings.sim.mode == "ticks":
            sample_ticks(store)
        return store
    return Store(root, resolved.settings.data.venue)


def wants_sample(resolved: Resolved, store: Store) -> bool:
    """Nothing was asked for and nothing is there: the sample market is what a first run gets."""
    return resolved.sources.get("run.symbols") == "default" and not store.symbols()


def chosen_symbols(resolved: Resolved, store: Store) -> list[str]:
    """The run's symbols; `all` is all in the store that have the timeframe."""
    named = list(resolved.settings.run.symbols)
    if named != ["all"]:
        return named
    found = [s for s in store.symbols() if store.find(s, resolved.settings.run.timeframe) is not None]
    if not found:
        raise UsageError(
            f"symbols all: the store {store.folder} has no {resolved.settings.run.timeframe} bars; "
            "see qtsim data list, qtsim data download, qtsim data import"
        )
    return found


def load_bars(
    symbols: OneOrMore,
    timeframe: str = "1h",
    start: str | None = None,
    end: str | None = None,
    *,
    sample: bool = False,
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """Bars from the store, index = open time (UTC), columns open high low close volume. A list gives a dict.

    sample: read the generated sample market instead (SYNTHETIC). Errors: UsageError says what there is.
    """
    workspace = find_workspace()
    store = open_store(workspace, settings_of(workspace), sample=sample)
    start_ns, end_ns = parse_timerange(f"{start or ''}:{end or ''}") if start or end else (None, None)
    wanted = [normalize_symbol(name) for name in _names(symbols)]
    frames = {symbol: store.read_bars(symbol, timeframe, start_ns, end_ns) for symbol in wanted}
    return next(iter(frames.values())) if isinstance(symbols, str) else frames


def backtest(
    strategy: Any,
    data: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    *,
    symbols: OneOrMore | None = None,
    timeframe: str | None = None,
    timerange: str | None = None,
    detail: str | Mapping[str, pd.DataFrame] | None = None,
    funding: str | pd.DataFrame | Mapping[str, pd.DataFrame] = "auto",
    mark: str | pd.DataFrame | Mapping[str, pd.DataFrame] = "auto",
    profile: str | None = None,
    settings: Mapping[str, Any] | None = None,
    instruments: Mapping[str, Any] | None = None,
    save: bool = False,
    verify: bool = False,
    fast: bool = False,
    check: bool = True,
    ablate: bool = False,
    outages: Sequence[Outage] = (),
    transfers: Sequence[Transfer] = (),
    agent: str | Path | None = None,
) -> Result:
    """Backtest a strategy and return a Result.

    strategy: a name, a path, a class, an instance, or a ready signal table. data: a frame, a dict of frames by symbol,
    or None for the store. funding, mark: "auto" (history from the store, else the default rate / the last price, with a
    warning), "off", or frames by symbol. settings: path → value, as with `--set`. instruments: symbol → Instrument, or
    fields such as {"tick": 0.1, "lot": 0.001}. save: write a run folder. ablate: run again without each part of the
    exit engine, each gate and each governor rule, see `Result.ablation`. detail: finer bars for the path inside each
    bar, a timeframe of the store or frames by symbol. outages: (from, to, what) in UTC: the program is "degraded",
    "critical" or "blind", which is not running; blind may have no end. transfers: (time UTC, quote currency), above 0 a
    deposit, below 0 a withdrawal. agent: a file that an earlier run left, for sizing model rl to evaluate; without one
    the run trains a new agent. Errors: UsageError, DataError, StrategyError.

    A frame that is cut to the period has no bars before it, so indicators start empty there; a run on the store with
    that `timerange` sees the bars before it. For the same result give the longer frame and a `timerange`.
    """
    asked = Asked(data, symbols, timeframe, timerange, detail, funding, mark, profile, settings, instruments)
    workspace, resolved, store, inputs = gather_asked(asked)
    loaded = load_strategy(strategy, resolved.settings.strategy, [workspace.strategies])
    return finish_backtest(
        resolved,
        loaded,
        inputs,
        workspace,
        store=store,
        options=BacktestOptions(
            verify=verify,
            fast=fast,
            check=check,
            ablate=ablate,
            instruments=instruments or {},
            outages=outages,
            transfers=transfers,
            agent=agent,
        ),
        save=save,
    )


@dataclass(frozen=True)
class Asked:
    """What a notebook asks a run to be about; see `backtest`."""

    data: pd.DataFrame | Mapping[str, pd.DataFrame] | None
    symbols: OneOrMore | None
    timeframe: str | None
    timerange: str | None
    detail: str | Mapping[str, pd.DataFrame] | None
    funding: str | pd.DataFrame | Mapping[str, pd.DataFrame]
    mark: str | pd.DataFrame | Mapping[str, pd.DataFrame]
    profile: str | None
    settings: Mapping[str, Any] | None
    instruments: Mapping[str, Any] | None


def gather_asked(asked: Asked) -> tuple[Workspace, Resolved, Store, RunInputs]:
    """Settings, store and data of what was asked. Errors: UsageError, SettingError, DataError."""
    workspace = find_workspace()
    for what, fields in (("settings", asked.settings), ("instruments", asked.instruments)):
        if not isinstance(fields, Mapping | None):
            raise UsageError(f"{what} is a {type(fields).__name__}; a dict is needed")
    overrides = dict(asked.settings or {})
    if asked.symbols is not None:
        overrides["run.symbols"] = _names(asked.symbols)
    if asked.timerange is not None:
        overrides["run.timerange"] = asked.timerange
    if asked.timeframe is not None:
        overrides["run.timeframe"] = asked.timeframe
    if asked.detail is not None:
        overrides["sim.mode"] = "detail"
        overrides["data.detail_timeframe"] = _detail_timeframe(asked.detail)
    if isinstance(asked.funding, str) and asked.funding != "auto":
        overrides["costs.funding.source"] = asked.funding
    if isinstance(asked.mark, str) and asked.mark != "auto":
        overrides["data.mark_price"] = asked.mark
    resolved = settings_of(workspace, profile=asked.profile, overrides=overrides)
    store, inputs = gather_inputs(asked, resolved, open_store(workspace, resolved))
    return workspace, resolved, store, inputs


def gather_inputs(asked: Asked, resolved: Resolved, store: Store) -> tuple[Store, RunInputs]:
    """The data of what was asked in the period of some settings, and the store in use. Errors: UsageError, DataError.

    The store is the sample market's where nothing was asked for and nothing is there.
    """
    if asked.data is None:
        for what, given in (("mark", asked.mark), ("funding", asked.funding)):
            if not isinstance(given, str):
                raise UsageError(f"{what} frames go with bars: give data too, or {what}='auto' for the store's")
        if wants_sample(resolved, store):
            store = open_store(find_workspace(), resolved, sample=True)
        inputs = gather_store(store, resolved.settings, chosen_symbols(resolved, store))
        if not isinstance(asked.detail, str | None):
            raise UsageError("detail frames go with bars: give data too, or name the store's timeframe: detail='1m'")
    else:
        frames = _frames_of(asked.data, resolved)
        inputs = gather_frames(
            frames,
            resolved.settings,
            timeframe=asked.timeframe,
            mark=_given("mark", asked.mark, frames),
            funding=_given("funding", asked.funding, frames),
        )
        if _are_synthetic(inputs):
            store = open_store(find_workspace(), resolved, sample=True)
        if not isinstance(asked.detail, str | None):
            set_detail(inputs, _given("detail", asked.detail, frames) or {}, resolved.settings)
        add_stored_history(inputs, store, resolved.settings)
    return store, inputs


def finish_backtest(
    resolved: Resolved,
    strategy: Strategy,
    inputs: RunInputs,
    workspace: Workspace,
    *,
    store: Store | None,
    options: BacktestOptions,
    save: bool,
    stage: Stage | None = None,
    on_tried: Callable[[Tried | str], None] | None = None,
) -> Result:
    """Run, count the trial, and save the run folder with its report where asked to.

    on_tried: called with how often this has been tried, or with why that is not known.
    """
    if save:
        check_writable(workspace.runs)
    result = run_backtest(resolved, strategy, inputs, store=store, options=options, stage=stage)
    if save:
        if stage is not None:
            stage("report", 0, 1)

        def add_report(folder: Path) -> None:
            result.report(folder / "report.html")

        save_run(result, workspace.runs, finish=add_report)
    tried = count_run(workspace, result)
    if on_tried is not None:
        on_tried(tried)
    return result


def _names(symbols: Any) -> list[str]:
    """One symbol or several, in the given order."""
    names = [symbols] if isinstance(symbols, str) else symbols
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"symbols = {symbols!r}: give a symbol, 'BTCUSDT', or a list of symbols")
    return list(names)


def _frames_of(data: Any, resolved: Resolved) -> dict[str, pd.DataFrame]:
    """The bars by symbol; one frame is the one symbol that the caller or a settings file names."""
    if not isinstance(data, pd.DataFrame):
        return _by_symbol("data", data)
    named = list(resolved.settings.run.symbols)
    if len(named) != 1 or named == ["all"] or resolved.sources["run.symbols"] == "default":
        raise UsageError("one frame is one symbol: name it, symbols='BTCUSDT', or give a dict of frames")
    return {normalize_symbol(named[0]): data}


def _by_symbol(what: str, given: Any) -> dict[str, pd.DataFrame]:
    """A mapping of symbol to frame with the symbols in the exchange's spelling."""
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} is a {type(given).__name__}; give a frame or a dict of frames by symbol")
    frames: dict[str, pd.DataFrame] = {}
    for name, frame in given.items():
        if not isinstance(name, str):
            raise UsageError(f"{what}: {name!r} is no symbol; write it as 'BTCUSDT'")
        symbol = normalize_symbol(name)
        if symbol in frames:
            raise UsageError(f"{what} has {symbol} twice: {name!r} is another spelling of it")
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(f"{what} of {name} is a {type(frame).__name__}; a pandas DataFrame is needed")
        frames[symbol] = frame
    return frames


def _detail_timeframe(detail: Any) -> str:
    """The timeframe of the finer bars: named, or that of the frames given."""
    if isinstance(detail, str):
        return detail
    frames = [detail] if isinstance(detail, pd.DataFrame) else list(_by_symbol("detail", detail).values())
    if not frames:
        raise UsageError("detail has no frames; give finer bars by symbol, or name the store's timeframe: detail='1m'")
    return infer_timeframe(as_bars(frames[0], "detail"), "detail")


def _given(what: str, value: Any, frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame] | None:
    """The mark or funding frames that were given, None where a word was; one frame is the run's one symbol's."""
    if isinstance(value, str):
        return None
    if value is None:
        raise UsageError(f"{what} is None; give 'auto', 'off', a frame, or a dict of frames by symbol")
    if not isinstance(value, pd.DataFrame):
        return _by_symbol(what, value)
    if len(frames) != 1:
        raise UsageError(f"one {what} frame is one symbol's: give a dict of frames by symbol")
    return dict.fromkeys(frames, value)


def _are_synthetic(inputs: RunInputs) -> bool:
    """Whether the bars are the sample market's; what else the run reads then comes from there too."""
    made = {symbol for symbol, item in inputs.symbols.items() if item.source.startswith("SYNTHETIC")}
    recorded = set(inputs.symbols) - made
    if made and recorded:
        raise UsageError(
            f"{min(made)} is SYNTHETIC and {min(recorded)} is not: one run reads one market; take either the sample's "
            "bars or recorded ones for all symbols"
        )
    return bool(made)


@dataclass(frozen=True)
class Levels:
    """What the level engine plans; ratios of the entry price. Fields are those of `qtsim levels --json`."""

    leverage: float
    lsf: float
    tp1: float
    tp2: float
    tp3: float
    sl: float
    hard_stop: float
    liquidation_distance: float
    harvest: tuple[float, float, float]
    flags: tuple[str, ...]
    denied: str


def levels(
    leverage: float,
    base_tp: float | None = None,
    base_sl: float | None = None,
    volatility_factor: float = 0.0,
    funding_delta: float = 0.0,
    divergence: float = 0.0,
    confidence: float = 1.0,
    avg_pnl_20: float = 0.0,
    maintenance_rate: float = 0.004,
    *,
    side: str = "long",
    profile: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Levels:
    """Targets, stop, hard stop and harvest fractions of a trade, by the same kernels that plan every entry.

    Errors: UsageError for a leverage below 1 or an unknown side; SettingError for settings.
    """
    if not leverage >= 1:
        raise UsageError(f"leverage {leverage}: must be 1 or more")
    if side not in ("long", "short"):
        raise UsageError(f"side {side!r}: must be long or short")
    overrides = dict(settings or {})
    if base_tp is not None:
        overrides["exit.base_tp"] = base_tp
    if base_sl is not None:
        overrides["exit.base_sl"] = base_sl
    resolved = resolve(profile=profile, environ={}, overrides=overrides)
    params = to_params(resolved.settings, 3_600_000_000_000)[0]
    plan, signal = np.zeros(1, plan_dt), np.zeros(1, signal_dt)
    signal["confidence"] = confidence
    reset_plan_nb(plan[0], 1 if side == "long" else -1, signal[0], params)
    plan["leverage"] = leverage
    set_levels_nb(
        plan[0],
        float(resolved.settings.exit.base_tp),
        float(resolved.settings.exit.base_sl),
        float(volatility_factor),
        float(funding_delta),
        float(divergence),
        float(avg_pnl_20),
        False,
        params["levels"],
    )
    plan["n_legs"] = 3
    set_fractions_nb(plan[0], params["harvest"])
    plan["trail_mode"] = TrailMode.ATR
    plan["hard"] = params["stops"]["hard_distance"]
    apply_safety_nb(plan[0], float(maintenance_rate), 0.0, 0.0, params)
    if plan["gate"][0] == Gate.NONE:
        deny_near_stop_nb(plan[0], float(plan["sl"][0]), float(resolved.settings.costs.round_trip()), params["levels"])
    return _levels_of(plan[0])


def _levels_of(plan: Any) -> Levels:
    flags = int(plan["flags"])
    tp1, tp2, tp3 = (float(x) for x in plan["tp"][:TARGETS])
    f1, f2, f3 = (float(x) for x in plan["fractions"][:TARGETS])
    return Levels(
        leverage=float(plan["leverage"]),
        lsf=float(plan["lsf"]),
        tp1=tp1,
        tp2=tp2,
        tp3=tp3,
        sl=float(plan["sl"]),
        hard_stop=float(plan["hard"]),
        liquidation_distance=float(plan["liq_distance"]),
        harvest=(f1, f2, f3),
        flags=tuple(flag.name for flag in PlanFlag if flag and flags & flag),
        denied=RULE_TEXT[Rule(int(plan["rule"]))],
    )


def liquidation_price(
    side: str,
    qty: float,
    entry_price: float,
    wallet: float,
    maintenance_rate: float,
    maintenance_amount: float = 0.0,
) -> float:
    """Isolated liquidation price of one bracket; 0 where the position cannot be liquidated.

    side "long" or "short"; qty base currency, wallet the isolated margin in quote.
    """
    if side not in ("long", "short"):
        raise UsageError(f"side {side!r}: must be long or short")
    if not qty > 0 or not entry_price > 0:
        raise UsageError(f"qty {qty} and entry_price {entry_price}: must be positive")
    sign = 1.0 if side == "long" else -1.0
    price = bracket_liquidation_price_nb(
        sign, float(qty), float(entry_price), float(wallet), float(maintenance_rate), float(maintenance_amount)
    )
    return max(0.0, float(price))


def load_run(run: str | Path = "last") -> Result:
    """A saved run: an id, a unique prefix, a path, or "last"."""
    return read_run(find_run(find_workspace().runs, str(run)))


__all__ = ["backtest", "levels", "liquidation_price", "load_bars", "load_run"]
