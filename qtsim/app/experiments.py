"""What becomes of a run in the experiment store: it is counted as a trial, and listed where it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qtsim.app.workspace import Workspace
from qtsim.errors import QtsimError
from qtsim.research.experiments import (
    RUN,
    Entry,
    Experiments,
    TrialCount,
    count_of,
    data_set_of,
    open_experiments,
)
from qtsim.research.statistics import deflated_sharpe
from qtsim.research.sweep import SweepInfo
from qtsim.results.result import Result, RunInfo


@dataclass(frozen=True)
class Tried:
    """How often a strategy family has been tried on a run's data set, and what that leaves of its Sharpe ratio."""

    family: str
    data_set: str
    made: int
    different: int
    deflated_sharpe: float

    @property
    def text(self) -> str:
        """In one line."""
        times = "once" if self.made == 1 else f"{self.made:,} times"
        shown = "not known" if math.isnan(self.deflated_sharpe) else f"{self.deflated_sharpe:.2f}"
        different = "" if self.different == self.made else f", {self.different:,} of them different"
        return (
            f"{self.family} on {self.data_set} {times} so far{different} · deflated Sharpe {shown}: the probability "
            "that this result is more than the luck of so many trials"
        )

    def to_dict(self) -> dict[str, Any]:
        """What a program may read."""
        return {
            "family": self.family,
            "data_set": self.data_set,
            "made": self.made,
            "different": self.different,
            "deflated_sharpe": self.deflated_sharpe,
        }


def count_run(workspace: Workspace, result: Result) -> Tried | str:
    """Count a run as a trial, and list it where it was saved. A store that cannot be used gives the reason instead."""
    try:
        with open_experiments(workspace.root) as experiments:
            info = result.info
            data_set = _data_set(info)
            sharpe = result.metrics.get("Sharpe", math.nan)
            experiments.count(f"run {result.digest}", data_set, info.strategy, count_of(1, [sharpe]))
            if result.run_id:
                experiments.record(entry_of(result.run_id, info, result.digest, result.metrics))
            return _tried(experiments, result, data_set)
    except QtsimError as error:
        return str(error)


def tried_of(workspace: Workspace, result: Result) -> Tried | str:
    """The same of a saved run, as of now, without counting it again."""
    try:
        with open_experiments(workspace.root) as experiments:
            return _tried(experiments, result, _data_set(result.info))
    except QtsimError as error:
        return str(error)


def others_of(experiments: Experiments, info: SweepInfo) -> TrialCount:
    """Trials of a sweep's family on its data sets that it has not made itself."""
    total = TrialCount()
    for data_set in info.data_sets:
        every = experiments.trials(data_set, info.strategy)
        total = total.beside(every.without(experiments.trials(data_set, info.strategy, info.source_of(data_set))))
    return total


def entry_of(name: str, info: RunInfo, digest: str, metrics: Mapping[str, float]) -> Entry:
    """A run as the store lists it."""
    return Entry(
        id=name,
        kind=RUN,
        started_at=info.started_at,
        strategy=info.strategy,
        symbols=tuple(info.symbols),
        timeframe=info.timeframe,
        profile=info.profile,
        data_set=_data_set(info),
        digest=digest,
        settings=info.settings,
        passport=info.passport,
        metrics=metrics,
    )


def _data_set(info: RunInfo) -> str:
    return data_set_of(info.symbols, info.timeframe, synthetic=info.is_synthetic)


def _tried(experiments: Experiments, result: Result, data_set: str) -> Tried:
    family = result.info.strategy
    count = experiments.trials(data_set, family)
    returns = result.daily_returns.to_numpy(dtype=np.float64)
    skew, kurtosis = _shape(returns)
    probability = deflated_sharpe(
        result.metrics.get("Sharpe", math.nan), returns.size, skew, kurtosis, count.different, count.sharpe_variance
    )
    return Tried(family, data_set, count.made, count.different, probability)


def _shape(returns: np.ndarray) -> tuple[float, float]:
    """Skewness and kurtosis (normal: 3) of daily returns; NaN where they do not move."""
    if returns.size < 2:
        return math.nan, math.nan
    off = returns - returns.mean()
    variance = float(np.mean(off**2))
    if variance <= 0.0:
        return math.nan, math.nan
    return float(np.mean(off**3)) / variance**1.5, float(np.mean(off**4)) / variance**2
