"""Sweeps that are kept: opened again, run again, and as a program may read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from qtsim.app.command import Opened, gather_opened, open_run
from qtsim.app.experiments import others_of
from qtsim.app.inputs import instrument_from_fields
from qtsim.app.sweep import cell_runner
from qtsim.app.sweep_plan import SweepOptions
from qtsim.app.workspace import Workspace
from qtsim.errors import QtsimError, UsageError
from qtsim.research.experiments import open_experiments
from qtsim.research.folder import find_sweep, list_sweeps, load_rows, read_conclusion, read_info
from qtsim.research.space import SUBJECT_AXES
from qtsim.research.sweep import Sweep, SweepInfo
from qtsim.results.result import Result

NOT_REPEATED = ("run.profile", "data.dir")
JSON_TRIALS = 1_000
"""Trials that the JSON answer lists; the best ones of more."""


def open_sweep(workspace: Workspace, reference: str) -> Sweep:
    """A kept sweep: an id, a unique prefix, a path, or "last". Errors: UsageError, DataError."""
    folder = find_sweep(workspace.root, reference)
    if folder is None:
        known = ", ".join(one.name for one in list_sweeps(workspace.root)[-5:][::-1])
        raise UsageError(f"no sweep {reference!r}; {f'the latest are {known}' if known else 'there are none yet'}")
    info = read_info(folder)

    def run(values: Mapping[str, Any]) -> Result:
        return run_again(workspace, info, values)

    with open_experiments(workspace.root) as experiments:
        others = others_of(experiments, info)
    return Sweep(info, load_rows(folder), others=others, run_cell=run, path=folder, verdict=read_conclusion(folder))


def open_again(
    workspace: Workspace, info: SweepInfo, values: Mapping[str, Any], timerange: str | None = None
) -> Opened:
    """What a cell of a sweep was about, opened again, on another period where one is named.

    Errors: UsageError where its market was given as frames, which nobody keeps.
    """
    if not info.from_store:
        raise UsageError(f"sweep {info.name} was made on frames of a notebook, which are not kept")
    overrides = {
        path: value
        for path, value in info.settings.items()
        if path not in NOT_REPEATED
        and info.setting_sources.get(path, "default") not in ("default", f"profile {info.profile}")
    }
    if not info.strategy_file:
        raise UsageError(f"the strategy of sweep {info.name} has no file that it could be loaded from again")
    overrides["run.strategy"] = info.strategy_file
    overrides["run.symbols"] = list(info.symbols)
    overrides["run.timeframe"] = info.timeframe
    overrides |= {path: values[path] for path in SUBJECT_AXES if path in values}
    overrides |= {f"strategy.{name}": value for name, value in info.params.items()}
    if timerange is not None:
        overrides["run.timerange"] = timerange
    return open_run(workspace, profile=info.profile, files=(), overrides=overrides, sample=info.is_synthetic)


def run_again(workspace: Workspace, info: SweepInfo, values: Mapping[str, Any], timerange: str | None = None) -> Result:
    """Backtest one cell of a kept sweep in full, on its own period or another. Errors: UsageError, DataError."""
    opened = open_again(workspace, info, values, timerange)
    try:
        rules = {symbol: instrument_from_fields(fields) for symbol, fields in info.instruments.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise QtsimError(f"the instruments of sweep {info.name} cannot be understood ({error})") from None
    options = SweepOptions(grids={}, instruments=rules)
    inputs = gather_opened(opened)
    return cell_runner(opened.resolved, opened.strategy, lambda _: inputs, opened.store, options)(values)


def sweep_as_dict(sweep: Sweep, workspace: Workspace) -> dict[str, Any]:
    """What a program may read of a sweep."""
    info, best = sweep.info, sweep.recommended
    verdict = sweep.verdict if sweep.is_complete else None
    frame = sweep.to_frame()
    if len(frame) > JSON_TRIALS:
        ascending = info.metric in ("Max Drawdown Duration", "Volatility", "Ulcer")
        frame = frame.sort_values(info.metric, ascending=ascending, kind="stable").head(JSON_TRIALS)
    return {
        "sweep": info.name or None,
        "path": str(sweep.path) if sweep.path else None,
        "workspace": str(workspace.root),
        "strategy": info.strategy,
        "symbols": info.symbols,
        "timeframe": info.timeframe,
        "axes": info.axes,
        "search": info.search,
        "each": info.each,
        "holdout": info.holdout or None,
        "metric": info.metric,
        "planned": info.planned,
        "trials": sweep.trials,
        "made_now": sweep.made_now,
        "left_out": info.left_out,
        "copies": {
            "trials": int((~sweep.original).sum()),
            "reasons": [asdict(copy) for copy in sweep.copies],
        },
        "peak": None if sweep.peak is None else _trial(sweep, sweep.peak),
        "recommended": None
        if best is None
        else {
            **_trial(sweep, best.cell),
            "ranges": {path: list(ends) for path, ends in best.ranges.items()},
            "neighbourhood_mean": best.neighbourhood_mean,
            "worst_neighbour": best.worst_neighbour,
            "on_the_edge_of": list(best.edges),
        },
        "verdict": None
        if verdict is None
        else {"word": verdict.word, "reasons": list(verdict.reasons), "evidence": asdict(verdict.evidence)},
        "rows": [{"cell": int(cell), **row} for cell, row in zip(frame.index, frame.to_dict("records"), strict=True)],
        "warnings": info.warnings,
    }


def _trial(sweep: Sweep, cell: int) -> dict[str, Any]:
    return {"cell": cell, "values": sweep.space.values(cell), "metrics": sweep.metrics_of(cell)}
