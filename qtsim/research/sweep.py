"""A sweep: its trials as a table, its copies, plateau and verdict."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qtsim.core.records import Records
from qtsim.errors import QtsimError, UsageError
from qtsim.research.copies import CopyRange, digest_keys, explain_copies, groups_of, originals
from qtsim.research.experiments import TrialCount, count_of
from qtsim.research.metrics import FIELDS, NAMES, read_metric, sign_of
from qtsim.research.plateau import Plateau, find_plateau
from qtsim.research.space import SUBJECT_AXES, Axis, Space
from qtsim.research.statistics import (
    PBO_MOST,
    SPA_MOST,
    Superiority,
    deflated_sharpe,
    effective_trials,
    has_arch,
    overfitting_probability,
    superior_ability,
)
from qtsim.research.verdict import FOLDS, NOTHING, Evidence, Verdict, judge
from qtsim.results.result import Result
from qtsim.results.summary import Summary
from qtsim.sim.measure import BLOCKS, DAY_NS

NAMED = 3
"""Data sets that are named; more are counted."""
NOT_TRADED = Evidence(0, 0, 0.0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, 0, math.nan, (), 0)


@dataclass(frozen=True)
class SweepInfo:
    """What was asked for, on what, under which assumptions: plain values only, so that it is JSON."""

    name: str  # of its folder; empty where it is not kept
    version: str
    strategy: str
    symbols: list[str]
    timeframe: str
    timeframe_ns: int
    start_ns: int  # open of the first bar
    end_ns: int  # open of the last bar of the search
    bars: dict[str, int]
    gaps: dict[str, int]
    axes: list[dict[str, Any]]  # path and values
    planned: int  # trials
    metric: str
    strategy_file: str = ""  # FILE:Class; empty for a class that has no file
    search: str = "grid"  # grid, random N, optuna N
    each: bool = False
    holdout: str = ""
    left_out: dict[str, int] = field(default_factory=dict)  # why cells have no trial → how many
    profile: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    setting_sources: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)  # of the strategy, those that do not vary
    headlines: list[str] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)
    passport: dict[str, dict[str, Any]] = field(default_factory=dict)
    instruments: dict[str, dict[str, Any]] = field(default_factory=dict)
    from_store: bool = False
    data_set: str = ""
    subjects: list[dict[str, Any]] = field(default_factory=list)  # of each timeframe and symbols, where they vary
    identity: str = ""
    trial_source: str = ""  # under which its trials are counted; the same for every version of the engine
    path: str = ""  # what it is made of, in words; empty: the bars themselves
    funding: str = ""
    mark: str = ""
    causality: str = "not checked"
    warnings: list[str] = field(default_factory=list)
    core_digest: str = ""
    strategy_digest: str = ""
    seed: int = 0
    quote: str = "USDT"
    started_at: str = ""

    @property
    def is_synthetic(self) -> bool:
        """Whether the market was generated."""
        return self.data_set.endswith("SYNTHETIC")

    @property
    def space(self) -> Space:
        """The grid of the sweep."""
        return Space(tuple(Axis(axis["path"], tuple(map(_as_value, axis["values"]))) for axis in self.axes))

    @property
    def data_sets(self) -> list[str]:
        """What trials are counted under, each once."""
        return list(dict.fromkeys(str(one["data_set"]) for one in self.subjects)) or [self.data_set]

    @property
    def data_set_text(self) -> str:
        """The same for people: a few by name."""
        names = self.data_sets
        return ", ".join(names) if len(names) <= NAMED else f"{names[0]} and {len(names) - 1} more data sets"

    def source_of(self, data_set: str) -> str:
        """Under which name the trials on one data set are counted."""
        return f"{self.trial_source} {data_set}" if self.subjects else self.trial_source

    def subjects_of(self, cells: np.ndarray, space: Space) -> np.ndarray:
        """Place in `subjects` of each cell's, int64; 0 where there is one. space: that of the sweep."""
        axes = [k for k, axis in enumerate(space.axes) if axis.path in SUBJECT_AXES]
        if not axes:
            return np.zeros(len(cells), dtype=np.int64)
        place = {tuple(one["places"]): k for k, one in enumerate(self.subjects)}
        at = space.indices(cells)[:, axes].tolist()
        return np.array([place[tuple(row)] for row in at], dtype=np.int64)

    def data_sets_of(self, cells: np.ndarray, space: Space) -> np.ndarray:
        """Place in `data_sets` of each cell's, int64. space: that of the sweep."""
        names = self.data_sets
        own = np.array([names.index(one["data_set"]) for one in self.subjects] or [0], dtype=np.int64)
        found: np.ndarray = own[self.subjects_of(cells, space)]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SweepInfo:
        """The inverse of `to_dict`; fields of a newer version are left out."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class Recommended:
    """The trial in the middle of the plateau."""

    cell: int
    values: dict[str, Any]
    ranges: dict[str, tuple[object, object]]  # first and last value of the plateau
    metrics: dict[str, float]
    neighbourhood_mean: float  # of the sweep's metric
    worst_neighbour: float
    edges: tuple[str, ...]  # on whose first or last value it lies


RunCell = Callable[[Mapping[str, Any]], Result]
"""Backtests one cell in full."""
DailyReturns = Callable[[np.ndarray], np.ndarray]
"""Cells → their daily returns, shape (days, cells); with each symbol alone the mean over symbols."""


class Sweep:
    """The finished trials of a sweep. Rows of arrays are cells, in the order of their numbers.

    With `--each` a cell has one trial per symbol: metrics are the median over symbols.
    """

    def __init__(
        self,
        info: SweepInfo,
        rows: Records,
        *,
        others: TrialCount | None = None,
        run_cell: RunCell | None = None,
        daily_returns: DailyReturns | None = None,
        path: Path | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.info = info
        self.space = info.space
        self.path = path
        self.elapsed_s = math.nan  # that making the trials took
        self.made_now = 0
        self.is_interrupted: bool | None = None  # None: it was opened again
        self._others = others or TrialCount()
        self._run_cell, self._daily_returns = run_cell, daily_returns
        self._verdict = verdict
        self._table = _by_cell(rows, len(info.symbols) if info.each else 1)
        self.cells = self._table["cell"][:, 0].copy()

    # --- the trials --------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> int:
        """Finished trials; with `--each` one per cell and symbol."""
        return int(self._table.size)

    @property
    def is_complete(self) -> bool:
        """Whether the search has ended: every planned trial has been made, or it proposed nothing new."""
        if self._verdict is not None:
            return True
        ended = self.info.search.startswith("optuna") and self.is_interrupted is False
        return ended or self.trials >= self.info.planned

    def values_of(self, metric: str, *, how: str = "median") -> np.ndarray:
        """A metric of every cell, float64; over symbols the median, or the worst of them (how = "worst")."""
        name = read_metric(metric)
        found = np.asarray(self._table["measures"][FIELDS[name]], dtype=np.float64)
        if found.shape[1] == 1:
            return found[:, 0].copy()
        known = np.isfinite(found).any(axis=1)
        out = np.full(len(found), np.nan)
        if how == "worst":
            out[known] = sign_of(name) * np.nanmin(sign_of(name) * found[known], axis=1)
        else:
            out[known] = np.nanmedian(found[known], axis=1)
        return out

    def by_symbol(self, cell: int) -> pd.DataFrame:
        """One cell's metrics, a row per symbol; of one account, one row."""
        row = self._row_of(cell)
        names = self.info.symbols if self.info.each else [",".join(self.symbols_of(cell))]
        values = {name: self._table["measures"][field][row] for field, name in NAMES.items()}
        return pd.DataFrame(values, index=pd.Index(names, name="symbol"))

    def symbols_of(self, cell: int) -> list[str]:
        """The symbols that a cell trades."""
        info = self.info
        return info.subjects[self._subject(cell)]["symbols"] if info.subjects else info.symbols

    def timeframe_of(self, cell: int) -> str:
        """The bars that a cell's strategy sees."""
        info = self.info
        return info.subjects[self._subject(cell)]["timeframe"] if info.subjects else info.timeframe

    def _subject(self, cell: int) -> int:
        return int(self.info.subjects_of(np.array([cell], dtype=np.int64), self.space)[0])

    def to_frame(self) -> pd.DataFrame:
        """One row per trial: the axes' values, metrics, `copy_of` (the cell that it equals, -1 where it is the first).

        The index is the cell's number; with `--each` there is a column `symbol`.
        """
        at = self.space.indices(self.cells)
        width = self._table.shape[1]
        columns: dict[str, Any] = {}
        if self.info.each:
            columns["symbol"] = np.tile(np.array(self.info.symbols, dtype=object), len(self.cells))
        for k, axis in enumerate(self.space.axes):
            places = np.repeat(at[:, k], width).tolist()
            own = [*axis.values]  # noqa: PD011
            columns[axis.path] = pd.Series([own[place] for place in places]).to_numpy()
        measures = self._table["measures"]
        columns |= {name: measures[field].reshape(-1).copy() for field, name in NAMES.items()}
        columns["copy_of"] = np.repeat(self.copy_of, width)
        return pd.DataFrame(columns, index=pd.Index(np.repeat(self.cells, width), name="cell"))

    # --- copies ------------------------------------------------------------------------------------------------------

    @cached_property
    def group(self) -> np.ndarray:
        """Number of the group of equal trials that each cell belongs to."""
        if not len(self.cells):
            return np.zeros(0, np.int64)
        return groups_of(digest_keys(self._table["measures"]["digest"].reshape(len(self.cells), -1)))

    @cached_property
    def original(self) -> np.ndarray:
        """Which cells count: one of each group of equal trials."""
        return originals(self.space, self.cells, self.group)

    @cached_property
    def copy_of(self) -> np.ndarray:
        """The cell that each cell is a copy of; -1 where it counts itself."""
        stands_for = np.full(int(self.group.max(initial=-1)) + 1, -1, dtype=np.int64)
        stands_for[self.group[self.original]] = self.cells[self.original]
        return np.where(self.original, -1, stands_for[self.group])

    @cached_property
    def copies(self) -> list[CopyRange]:
        """Why trials are equal, by axis."""
        measures = self._table["measures"]
        flags = np.bitwise_and.reduce(measures["flags_all"], axis=1) if len(self.cells) else np.zeros(0, np.int64)
        traded = (measures["trades"] > 0).all(axis=1)
        return explain_copies(self.space, self.cells, self.group, flags, traded)

    # --- plateau and verdict -----------------------------------------------------------------------------------------

    def plateau_of(self, metric: str) -> Plateau | None:
        """The plateau by one metric; None where no trial has it."""
        name = read_metric(metric)
        return find_plateau(self.space, self.cells, sign_of(name) * self.values_of(name), self.original)

    @cached_property
    def plateau(self) -> Plateau | None:
        """The plateau by the sweep's own metric."""
        return self.plateau_of(self.info.metric)

    @cached_property
    def recommended(self) -> Recommended | None:
        """The plateau's centre; None where no trial has a value."""
        plateau = self.plateau
        if plateau is None:
            return None
        row, sign = plateau.centre, sign_of(self.info.metric)
        return Recommended(
            cell=int(self.cells[row]),
            values=self.space.values(int(self.cells[row])),
            ranges=plateau.range_of(self.space, self.cells),
            metrics=self.metrics_of(int(self.cells[row])),
            neighbourhood_mean=sign * float(plateau.mean[row]),
            worst_neighbour=sign * float(plateau.worst[row]),
            edges=tuple(plateau.edges(self.space, self.cells)),
        )

    @property
    def peak(self) -> int | None:
        """The cell with the best value of the metric."""
        return None if self.plateau is None else int(self.cells[self.plateau.peak])

    def metrics_of(self, cell: int) -> dict[str, float]:
        """Every metric of one cell, by name."""
        row = self._row_of(cell)
        return {name: float(self.values_of(name)[row]) for name in FIELDS}

    @property
    def verdict(self) -> Verdict:
        """What the sweep proves. Computed on first use: some trials are made again for their daily returns."""
        if self._verdict is None:
            self._verdict = self._judge()
        return self._verdict

    @property
    def trial_count(self) -> TrialCount:
        """This sweep's trials for the experiment store."""
        sharpes = np.nan_to_num(self.values_of("Sharpe")[self.original])
        return TrialCount(self.trials, len(sharpes), float(sharpes.sum()), float((sharpes * sharpes).sum()))

    @property
    def trial_counts(self) -> dict[str, TrialCount]:
        """The same by data set; trials that are equal on one of them count there once."""
        names, owner = self.info.data_sets, self.info.data_sets_of(self.cells, self.space)
        sharpes = np.nan_to_num(self.values_of("Sharpe"))
        found: dict[str, TrialCount] = {}
        for k, name in enumerate(names):
            mine = np.flatnonzero(owner == k)
            first = mine[np.unique(self.group[mine], return_index=True)[1]] if len(mine) else mine
            found[name] = count_of(len(mine) * self._table.shape[1], sharpes[first].tolist())
        return found

    @cached_property
    def is_aligned(self) -> bool:
        """Whether all trials cover the same days, as those of one market do; then stretches of them can be compared."""
        if not self.info.subjects:
            return True
        begins = {int(one["start_ns"]) // DAY_NS for one in self.info.subjects}
        days = self.values_of("Days")
        return len(begins) == 1 and len(np.unique(days[np.isfinite(days)])) == 1

    def _judge(self) -> Verdict:
        plateau = self.plateau
        returned = self.values_of("Total Return")
        if plateau is None:
            return Verdict(NOTHING, ("no trial has a value of the metric",), NOT_TRADED)
        sums, squares, days = self._blocks()
        counted = np.flatnonzero(self.original)
        not_computed: dict[str, str] = {}
        independent = effective_trials(sums[counted]) if self.is_aligned else float(len(counted))
        own, ever = self.trial_count, self._others
        total = own.beside(ever)
        hurdle = independent + ever.different
        chosen = _spread_out(counted, plateau.peak, PBO_MOST)
        overfitting = math.nan
        if self.is_aligned:
            overfitting = overfitting_probability(sums[chosen], squares[chosen], days)
        else:
            not_computed["probability of overfitting"] = "the trials cover different days"
        if math.isnan(overfitting) and self.is_aligned:
            not_computed["probability of overfitting"] = "it needs two different trials and four stretches of days"
        superiority = self._superiority(counted, not_computed)
        worst = find_plateau(self.space, self.cells, returned, self.original)
        folds = sums[plateau.centre].reshape(FOLDS, -1).sum(axis=1)
        return judge(
            Evidence(
                trials=self.trials,
                different=own.different,
                independent=independent,
                ever=total.made,
                total_return=float(returned[plateau.centre]),
                deflated_sharpe=self._deflated(plateau.centre, hurdle, total.sharpe_variance),
                peak_deflated_sharpe=self._deflated(plateau.peak, hurdle, total.sharpe_variance),
                overfitting=overfitting,
                superiority=superiority.consistent,
                superiority_trials=superiority.trials,
                worst_neighbour=math.nan if worst is None else float(worst.worst[plateau.centre]),
                folds=tuple(float(x) for x in folds),
                members=len(plateau.members),
                not_computed=not_computed,
            )
        )

    def _deflated(self, row: int, trials: float, variance: float) -> float:
        sharpe, skew, kurtosis, days = (
            float(self.values_of(name)[row]) for name in ("Sharpe", "Skew", "Kurtosis", "Days")
        )
        return deflated_sharpe(sharpe, int(days), skew, kurtosis, trials, variance)

    def _blocks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Daily returns and their squares by block, shape (cells, blocks), and days (or observations) of each block.

        With `--each` the returns are the mean over symbols, and a block is one observation.
        """
        sums = self._table["measures"]["block_sum"].astype(np.float64).mean(axis=1)
        length = int(np.nanmax(self.values_of("Days"))) if len(self.cells) else 0
        days = np.bincount(np.arange(length) * BLOCKS // max(length, 1), minlength=BLOCKS)
        if self.info.each:
            return sums, sums * sums, np.minimum(days, 1)
        return sums, self._table["measures"]["block_squares"][:, 0].astype(np.float64), days

    def _superiority(self, counted: np.ndarray, not_computed: dict[str, str]) -> Superiority:
        """The test over the best trials, which are made again for their daily returns.

        With `--each` a trial is an account of equal size for each symbol: all of a day's returns are drawn together, so
        that what symbols have in common stays.
        """
        none = Superiority(math.nan, math.nan, math.nan, 0)
        name = "test for superior ability"
        if self._daily_returns is None:
            not_computed[name] = "the market is not at hand"
            return none
        if not has_arch():
            not_computed[name] = 'it needs arch: pip install "qtsim[sweep]"'
            return none
        sharpes = np.nan_to_num(self.values_of("Sharpe")[counted], nan=-np.inf)
        best = counted[np.argsort(-sharpes, kind="stable")[:SPA_MOST]]
        found = superior_ability(self._daily_returns(np.sort(self.cells[best])), self.info.seed)
        if math.isnan(found.consistent):
            not_computed[name] = "too few days, or no trial that moves"
        return found

    # --- what people do with it --------------------------------------------------------------------------------------

    def run(self, row: Any) -> Result:
        """Backtest one trial in full. row: a cell's number, a row of `to_frame()`, or path → value.

        Errors: UsageError for a cell that is not of this sweep, QtsimError where its data are not at hand.
        """
        if self._run_cell is None:
            raise QtsimError("the data of this sweep are not at hand")
        return self._run_cell(self._values_of_row(row))

    def heatmap(self, x: str | None = None, y: str | None = None, metric: str | None = None, **options: Any) -> Any:
        """A plotly Figure: a metric over two axes, copies hatched, plateau and peak marked."""
        return _report().heatmap_figure(self, x, y, metric, **options)

    def slices(self, metric: str | None = None) -> Any:
        """A plotly Figure: the metric along each axis through the recommended trial."""
        return _report().slices_figure(self, metric)

    def parallel(self, metric: str | None = None) -> Any:
        """A plotly Figure of parallel coordinates: the axes, the metric, a line per trial."""
        return _report().parallel_figure(self, metric)

    def report(self, path: str | Path) -> Path:
        """Write the report, one HTML file that works offline. Errors: DataError where it cannot be written."""
        written: Path = _report().write_sweep_report(self, Path(path))
        return written

    def summary(self) -> Summary:
        """The first screen; prints as text."""
        from qtsim.research.summary import summarize_sweep  # it is about sweeps, so it imports this module

        return summarize_sweep(self)

    def __repr__(self) -> str:
        return f"<Sweep {self.info.strategy} {','.join(self.info.symbols)}, {self.trials:,} trials>"

    def _row_of(self, cell: int) -> int:
        row = int(np.searchsorted(self.cells, cell))
        if row >= len(self.cells) or self.cells[row] != cell:
            raise UsageError(f"the sweep has no trial {cell}; their numbers are the index of to_frame()")
        return row

    def _values_of_row(self, row: Any) -> dict[str, Any]:
        if isinstance(row, int | np.integer):
            self._row_of(int(row))
            return self.space.values(int(row))
        paths = self.space.paths
        if isinstance(row, Recommended):
            return dict(row.values)
        if not hasattr(row, "__getitem__") or not all(path in row for path in paths):
            raise UsageError(f"{row!r} is no trial: give a cell's number, a row of to_frame(), or {', '.join(paths)}")
        return {path: _as_value(row[path]) for path in paths}


def _by_cell(rows: Records, width: int) -> Records:
    """Rows of complete cells, shape (cells, width). rows: trial_dt by cell and symbol."""
    if width == 1:
        return rows.reshape(-1, 1)
    cells, count = np.unique(rows["cell"], return_counts=True)
    whole = np.isin(rows["cell"], cells[count == width])
    return rows[whole].reshape(-1, width)


def _spread_out(rows: np.ndarray, best: int, most: int) -> np.ndarray:
    """At most `most` of the rows, evenly spaced, the best one among them."""
    if len(rows) <= most:
        return rows
    kept = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    return np.unique(np.append(kept, best))


def _as_value(value: Any) -> Any:
    """A value as settings know it: tuples for lists, Python's own numbers."""
    if isinstance(value, list | tuple):
        return tuple(map(_as_value, value))
    return value.item() if isinstance(value, np.generic) else value


def _report() -> Any:
    """The report package. It stands above research, so it is found by name, when it is asked for."""
    return importlib.import_module("qtsim.report.sweeps")
