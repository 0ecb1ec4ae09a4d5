"""Runs and sweeps that are kept: found by name, filtered, compared, removed, reported."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from qtsim.app.sweep_results import open_sweep
from qtsim.app.workspace import Workspace
from qtsim.config.kinds import show
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import parse_timerange
from qtsim.errors import QtsimError, UsageError
from qtsim.research.experiments import FILE, open_experiments
from qtsim.research.folder import MANIFEST as SWEEP_MANIFEST
from qtsim.research.folder import SweepEntry, find_sweep, list_sweeps, remove_sweep
from qtsim.research.metrics import show_metric
from qtsim.research.words import value_text
from qtsim.results.result import Result
from qtsim.results.run_folder import (
    RunEntry,
    find_run,
    list_runs,
    load_run,
    read_manifest,
    remove_run,
    verify_run,
)

COMPARED = (
    "Total Return", "CAGR", "Sharpe", "Sortino", "Calmar", "Max Drawdown", "Volatility", "Profit Factor", "Win Rate",
    "Expectancy", "SQN", "Trades", "Avg Trade", "Avg Hold", "Exposure Time", "Fees", "Slippage", "Funding",
    "Liquidations", "Net Profit",
)  # fmt: skip
"""Metrics that stand side by side."""
NOT_COMPARED = (
    "data.dir",
    "sim.diagnostics.",
    "strategy.",
    "run.strategy",
    "run.symbols",
    "run.timeframe",
    "run.profile",
)
"""Settings that say nothing, or what stands above already."""


@dataclass(frozen=True)
class Remarks:
    """Notes and tags by name of a run or sweep."""

    by_name: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def note(self, name: str) -> str:
        """The note; empty where there is none."""
        return self.by_name.get(name, ("", ()))[0]

    def tags(self, name: str) -> tuple[str, ...]:
        """The tags, in name order."""
        return self.by_name.get(name, ("", ()))[1]

    def of(self, name: str) -> dict[str, Any]:
        """Note and tags as a program may read them."""
        return {"note": self.note(name), "tags": list(self.tags(name))}


def workspace_remarks(workspace: Workspace) -> Remarks:
    """All notes and tags of a workspace; none where nobody has made a store yet. Errors: DataError, QtsimError."""
    if not (workspace.root / FILE).exists():
        return Remarks()
    with open_experiments(workspace.root) as experiments:
        return Remarks(experiments.remarks())


def saved_runs(workspace: Workspace) -> list[RunEntry]:
    """All run folders, the latest last."""
    return list_runs(workspace.runs)


def saved_sweeps(workspace: Workspace) -> list[SweepEntry]:
    """All folders of sweeps, the latest last."""
    return list_sweeps(workspace.root)


@dataclass(frozen=True)
class Filter:
    """Which runs and sweeps to list; empty fields take all."""

    strategy: str = ""
    symbol: str = ""
    profile: str = ""
    tag: str = ""
    since_ns: int | None = None
    until_ns: int | None = None

    @classmethod
    def read(
        cls,
        *,
        strategy: str | None,
        symbol: str | None,
        profile: str | None,
        tag: str | None,
        timerange: str | None,
    ) -> Filter:
        """A filter from the command line. Errors: UsageError."""
        since, until = parse_timerange(timerange or "")
        named = normalize_symbol(symbol) if symbol else ""
        return cls(strategy or "", named, profile or "", tag or "", since, until)

    @property
    def is_open(self) -> bool:
        """Whether it takes everything."""
        return self == Filter()

    def takes_run(self, entry: RunEntry, remarks: Remarks) -> bool:
        """Whether a run is listed."""
        about = (entry.strategy, entry.symbols, entry.profile, entry.started_at)
        return self._takes(*about, remarks.tags(entry.run_id))

    def takes_sweep(self, entry: SweepEntry, remarks: Remarks) -> bool:
        """Whether a sweep is listed."""
        info = entry.info
        if info is None:
            return self.is_open
        return self._takes(info.strategy, info.symbols, info.profile, info.started_at, remarks.tags(entry.name))

    def _takes(self, strategy: str, symbols: Sequence[str], profile: str, started_at: str, tags: Sequence[str]) -> bool:
        return (
            (not self.strategy or strategy == self.strategy)
            and (not self.symbol or self.symbol in symbols)
            and (not self.profile or profile == self.profile)
            and (not self.tag or self.tag in tags)
            and self._is_in_period(started_at)
        )

    def _is_in_period(self, started_at: str) -> bool:
        if self.since_ns is None and self.until_ns is None:
            return True
        try:
            began = int(datetime.fromisoformat(started_at).timestamp()) * 1_000_000_000
        except ValueError:
            return False
        return (self.since_ns is None or began >= self.since_ns) and (self.until_ns is None or began < self.until_ns)


@dataclass(frozen=True)
class Saved:
    """The folder of a run or of a sweep."""

    path: Path
    is_sweep: bool


def find_saved(workspace: Workspace, reference: str) -> Saved:
    """A run, or else a sweep, by id, unique prefix or path; "last" is the last run. Errors: UsageError."""
    if (Path(reference) / SWEEP_MANIFEST).exists():
        return Saved(Path(reference), is_sweep=True)
    try:
        return Saved(find_run(workspace.runs, reference), is_sweep=False)
    except UsageError:
        sweep = find_sweep(workspace.root, reference)
        if sweep is None:
            raise
        return Saved(sweep, is_sweep=True)


def remove_saved(workspace: Workspace, reference: str) -> str:
    """Delete a run or a sweep. Returns its name. Errors: UsageError, DataError."""
    saved = find_saved(workspace, reference)
    if saved.is_sweep:
        remove_sweep(saved.path)
    else:
        if saved.path.resolve().parent != workspace.runs.resolve():
            read_manifest(saved.path)  # elsewhere, a manifest.json alone does not make a folder a run
        remove_run(saved.path)
    if (workspace.root / FILE).exists():
        # a store that cannot be read lists nothing
        with contextlib.suppress(QtsimError), open_experiments(workspace.root) as experiments:
            experiments.remove(saved.path.name)
    return saved.path.name


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    names: tuple[str, ...]
    results: tuple[Result, ...]
    differing: dict[str, tuple[str, ...]]  # what differs → its value in each run

    def metric_rows(self) -> list[tuple[str, ...]]:
        """A row per metric."""
        return [
            (name, *(show_metric(name, float(result.metrics.get(name, float("nan")))) for result in self.results))
            for name in COMPARED
        ]

    def difference_rows(self) -> list[tuple[str, ...]]:
        """A row per thing that differs."""
        return [(name, *values) for name, values in self.differing.items()]

    def to_dict(self) -> dict[str, Any]:
        """What a program may read."""
        return {
            "runs": list(self.names),
            "metrics": {name: dict(result.metrics) for name, result in zip(self.names, self.results, strict=True)},
            "differs": {what: dict(zip(self.names, values, strict=True)) for what, values in self.differing.items()},
        }


def compare_runs(workspace: Workspace, references: Sequence[str]) -> Comparison:
    """Several runs side by side. Errors: UsageError where they are fewer than two, DataError where one is damaged."""
    paths = list(dict.fromkeys(find_run(workspace.runs, reference) for reference in references))
    if len(paths) < 2:
        raise UsageError("name two or more different runs; qtsim runs list shows them")
    results = tuple(load_run(path) for path in paths)
    return Comparison(tuple(path.name for path in paths), results, _differences(results))


def _differences(results: Sequence[Result]) -> dict[str, tuple[str, ...]]:
    """Settings, strategies, data and engines that are not the same in all runs."""
    rows: dict[str, list[str]] = {
        "strategy": [result.info.strategy for result in results],
        "strategy code": [result.info.strategy_digest[:8] for result in results],
        "symbols": [", ".join(result.info.symbols) for result in results],
        "timeframe": [result.info.timeframe for result in results],
        "bars": [f"{sum(result.info.bars.values()):,}" for result in results],
        "profile": [result.info.profile for result in results],
        "engine": [f"{result.info.version} {result.info.core_digest[:8]}" for result in results],
    }
    for name in dict.fromkeys(name for result in results for name in result.info.params):
        rows[f"strategy.{name}"] = [show(result.info.params.get(name)) for result in results]
    for path in dict.fromkeys(path for result in results for path in result.info.settings):
        if not path.startswith(NOT_COMPARED):
            rows[path] = [_setting_text(path, result.info.settings) for result in results]
    for name in dict.fromkeys(name for result in results for name in result.info.fingerprints):
        rows[f"data {name}"] = [result.info.fingerprints.get(name, "none")[:8] for result in results]
    return {name: tuple(values) for name, values in rows.items() if len(set(values)) > 1}


def _setting_text(path: str, settings: Mapping[str, Any]) -> str:
    return value_text(path, settings[path]) if path in settings else "none"


def write_report_of(workspace: Workspace, references: Sequence[str], output: Path | None) -> Path:
    """The report of a run or sweep, or of runs side by side. Returns its path. Errors: UsageError, DataError."""
    if len(references) > 1:
        found = compare_runs(workspace, references)
        from qtsim.report.comparison import write_comparison  # draws with plotly

        return write_comparison(
            found.results, found.metric_rows(), found.difference_rows(), output or Path("compare.html")
        )
    saved = find_saved(workspace, references[0])
    target = output or saved.path / "report.html"
    if saved.is_sweep:
        if output is not None or not target.exists():
            open_sweep(workspace, str(saved.path)).report(target)
        return target
    verify_run(saved.path)
    if output is not None or not target.exists():
        load_run(saved.path).report(target)
    return target
