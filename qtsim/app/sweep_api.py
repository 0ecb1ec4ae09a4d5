"""Sweeps and walk-forwards from Python: what a notebook calls. It builds the same objects as the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from qtsim.app.api import Asked, OneOrMore, gather_asked, gather_inputs
from qtsim.app.inputs import RunInputs
from qtsim.app.sweep import run_sweep
from qtsim.app.sweep_plan import SweepOptions, search_period
from qtsim.app.sweep_results import open_sweep
from qtsim.app.sweep_subjects import Gather, first_values
from qtsim.app.walkforward import run_walkforward
from qtsim.app.workspace import Workspace, find_workspace, settings_of
from qtsim.config.layers import Resolved
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.errors import UsageError
from qtsim.research.space import SYMBOLS, TIMEFRAME
from qtsim.research.space import grid as spaced
from qtsim.research.sweep import Sweep
from qtsim.research.walkforward import WalkForward
from qtsim.signals.loading import load_strategy


def sweep(
    strategy: Any,
    data: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    *,
    grid: Mapping[str, str | Sequence[Any]],
    symbols: OneOrMore | None = None,
    timeframe: str | None = None,
    timerange: str | None = None,
    detail: str | Mapping[str, pd.DataFrame] | None = None,
    funding: str | pd.DataFrame | Mapping[str, pd.DataFrame] = "auto",
    mark: str | pd.DataFrame | Mapping[str, pd.DataFrame] = "auto",
    profile: str | None = None,
    settings: Mapping[str, Any] | None = None,
    instruments: Mapping[str, Any] | None = None,
    random: int | None = None,
    optuna: int | None = None,
    each: bool = False,
    holdout: str = "",
    metric: str = "Sharpe",
    many: bool = False,
    engine: str = "local",
    scheduler: str = "",
    jobs: int | None = None,
    check: bool = True,
    save: bool = False,
) -> Sweep:
    """Run many trials over a grid and return a Sweep.

    strategy, data, symbols to instruments: as for `backtest`. grid: path of a setting, or `strategy.NAME`, → its
    values: a list, `grid(lo, hi, count)`, or text as on the command line; a value of `run.symbols` is a symbol, several
    with + between, or a list. random: draw so many cells of the grid.
    optuna: let Optuna propose so many. each: each symbol alone. holdout: a period that the search does not see,
    "20250101-". metric: what to look for. many: more than 20,000 trials are meant. engine: "local" or "dask", with
    `scheduler` the address of one. jobs: threads, or processes of a local cluster. save: keep the trials in the
    workspace; the same sweep goes on where it was left. After Ctrl-C the sweep has the trials so far. Errors:
    UsageError, DataError, StrategyError, QtsimError.
    """
    _require_grid(grid)
    asked = Asked(data, symbols, timeframe, timerange, detail, funding, mark, profile, settings, instruments)
    if holdout:
        whole = timerange
        if whole is None:
            resolved = settings_of(find_workspace(), profile=profile, overrides=settings)
            whole = str(resolved.settings.run.timerange)
        asked = replace(asked, timerange=search_period(whole, holdout))
    workspace, resolved, store, gather = _open_asked(asked, grid)
    outcome = run_sweep(
        resolved,
        load_strategy(strategy, resolved.settings.strategy, [workspace.strategies]),
        gather,
        workspace,
        store=store,
        options=SweepOptions(
            grids=grid,
            random=random,
            optuna=optuna,
            each=each,
            holdout=holdout,
            metric=metric,
            many=many,
            engine=engine,
            scheduler=scheduler,
            jobs=jobs,
            check=check,
            instruments=instruments or {},
        ),
        save=save,
    )
    return outcome.sweep


def walkforward(
    strategy: Any,
    data: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    *,
    grid: Mapping[str, str | Sequence[Any]],
    train: str,
    test: str,
    anchored: bool = False,
    symbols: OneOrMore | None = None,
    timeframe: str | None = None,
    timerange: str | None = None,
    detail: str | Mapping[str, pd.DataFrame] | None = None,
    funding: str | pd.DataFrame | Mapping[str, pd.DataFrame] = "auto",
    mark: str | pd.DataFrame | Mapping[str, pd.DataFrame] = "auto",
    profile: str | None = None,
    settings: Mapping[str, Any] | None = None,
    instruments: Mapping[str, Any] | None = None,
    random: int | None = None,
    optuna: int | None = None,
    metric: str = "Sharpe",
    many: bool = False,
    jobs: int | None = None,
    check: bool = True,
    save: bool = False,
) -> WalkForward:
    """Search on a window, test what it recommends on the next, go on by the length of a test; return the chained tests.

    train, test: lengths in whole days, such as "365d". anchored: every search begins at the start of the data. save:
    keep the searches in the workspace; the same walk-forward goes on where it was left. All else as for `sweep`, and
    the periods are cut out of `data`, so that indicators see the bars before each. After Ctrl-C the result has the
    tests so far. Errors: UsageError, DataError, StrategyError, QtsimError.
    """
    _require_grid(grid)
    asked = Asked(data, symbols, timeframe, timerange, detail, funding, mark, profile, settings, instruments)
    workspace, resolved, store, gather = _open_asked(asked, grid)
    return run_walkforward(
        resolved,
        load_strategy(strategy, resolved.settings.strategy, [workspace.strategies]),
        gather,
        workspace,
        store=store,
        options=SweepOptions(
            grids=grid,
            random=random,
            optuna=optuna,
            metric=metric,
            many=many,
            jobs=jobs,
            check=check,
            instruments=instruments or {},
        ),
        train=train,
        test=test,
        anchored=anchored,
        save=save,
    )


def _open_asked(asked: Asked, grid: Mapping[str, Any]) -> tuple[Workspace, Resolved, Store, Gather]:
    """Workspace, settings and store of what was asked, and what reads its data in a period, of symbols, of a timeframe.

    Errors: UsageError, SettingError, DataError.
    """
    first = first_values(grid)
    if asked.data is not None and TIMEFRAME in first:
        raise UsageError(f"{TIMEFRAME} does not vary over frames, which have one; leave data out to read the store's")
    settings = asked.settings
    if first and isinstance(settings, Mapping | None):
        # the axes take the place of what is said once
        settings = {**(settings or {}), **first}
        asked = replace(
            asked,
            settings=settings,
            timeframe=None if TIMEFRAME in first else asked.timeframe,
            symbols=None if SYMBOLS in first else asked.symbols,
        )

    def part(own: Resolved) -> Asked:
        return _of_symbols(asked, own.settings.run.symbols) if SYMBOLS in first else asked

    workspace = find_workspace()
    base = settings_of(workspace, profile=asked.profile, overrides=first)
    workspace, resolved, store, inputs = gather_asked(part(base))

    def gather(own: Resolved) -> RunInputs:
        return inputs if own.settings == resolved.settings else gather_inputs(part(own), own, store)[1]

    return workspace, resolved, store, gather


def _of_symbols(asked: Asked, symbols: Sequence[str]) -> Asked:
    """What was asked, of some of its frames. Errors: UsageError for a symbol that has none."""
    if asked.data is None:
        return asked
    if not isinstance(asked.data, Mapping):
        raise UsageError(f"{SYMBOLS} varies over a dict of frames by symbol; this is one frame")
    there = {normalize_symbol(name): name for name in asked.data}
    wanted = list(there) if list(symbols) == ["all"] else list(symbols)
    lacking = next((symbol for symbol in wanted if symbol not in there), None)
    if lacking is not None:
        raise UsageError(f"{SYMBOLS}: there is no frame of {lacking}; there are {', '.join(sorted(there))}")

    def some(given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: frame for name, frame in given.items() if normalize_symbol(name) in wanted}

    return replace(
        asked,
        data=some(asked.data),
        funding=some(asked.funding),
        mark=some(asked.mark),
        detail=some(asked.detail),
    )


def _require_grid(grid: object) -> None:
    if not isinstance(grid, Mapping):
        raise UsageError(f"grid is a {type(grid).__name__}; a dict of path → values is needed")


def grid(low: float, high: float, count: int, *, log: bool = False) -> list[float]:
    """`count` values from `low` to `high`, both among them: evenly spaced, or with `log` by a constant ratio.

    Errors: UsageError where that is no range.
    """
    return spaced(low, high, count, log=log)


def load_sweep(name: str = "last") -> Sweep:
    """A kept sweep: an id, a unique prefix, a path, or "last". Errors: UsageError, DataError."""
    return open_sweep(find_workspace(), name)


__all__ = ["grid", "load_sweep", "sweep", "walkforward"]
