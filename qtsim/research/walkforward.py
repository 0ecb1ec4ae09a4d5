"""Walk-forward: windows to search on, windows to test on, and the chained result of the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qtsim.data.timeframes import format_ts
from qtsim.errors import UsageError
from qtsim.research.metrics import show_metric
from qtsim.research.words import cell_text
from qtsim.results.metrics import cagr, calmar, sharpe, sortino, volatility
from qtsim.results.summary import Line, Summary
from qtsim.results.tables import drawdowns

DAY_NS = 86_400_000_000_000
DAYS_PER_YEAR = 365.0
WINDOWS_MOST = 1_000


@dataclass(frozen=True)
class Window:
    """One step: search in [train_start, train_end), test in [train_end, test_end). int64 ns UTC."""

    train_start: int
    train_end: int
    test_end: int

    @property
    def text(self) -> str:
        """2023-01-01 to 2024-01-01, then to 2024-04-01"""
        return (
            f"{format_ts(self.train_start, short=True)} to {format_ts(self.train_end, short=True)}, then to "
            f"{format_ts(self.test_end, short=True)}"
        )


def windows_of(start: int, end: int, train_ns: int, test_ns: int, *, anchored: bool) -> list[Window]:
    """Windows that follow each other by the length of a test, the last one cut at the end of the data.

    anchored: every search begins at the start. Errors: UsageError where not one test fits.
    """
    first = -(-start // DAY_NS) * DAY_NS
    for name, length in (("train", train_ns), ("test", test_ns)):
        if length < DAY_NS or length % DAY_NS:
            raise UsageError(f"--{name}: whole days are needed, such as 365d or 13w")
    found = []
    split = first + train_ns
    while split + DAY_NS <= end:
        found.append(Window(first if anchored else split - train_ns, split, min(split + test_ns, end)))
        split += test_ns
        if len(found) > WINDOWS_MOST:
            raise UsageError(f"more than {WINDOWS_MOST:,} windows; choose a longer --test")
    if not found:
        days = (end - first) // DAY_NS
        raise UsageError(
            f"the period has {days:,} days, and the first search alone takes {train_ns // DAY_NS:,}; "
            "shorten --train or take a longer period"
        )
    return found


@dataclass(frozen=True)
class Step:
    """What one window gave: the recommended values of its search, and their test. None: nothing to recommend."""

    window: Window
    chosen: Mapping[str, Any] | None
    searched: Mapping[str, float]  # metrics of the recommended trial in the search
    tested: Mapping[str, float]
    returns: pd.Series[float]  # daily, of the test


class WalkForward:
    """The chained tests of a walk-forward. What the searches showed is no result and is not part of it."""

    def __init__(self, title: str, metric: str, steps: Sequence[Step], trials: int, *, planned: int) -> None:
        self.title, self.metric, self.steps, self.trials, self.planned = title, metric, list(steps), trials, planned

    @property
    def is_complete(self) -> bool:
        """Whether every window has been tested."""
        return len(self.steps) == self.planned

    @property
    def daily_returns(self) -> pd.Series[float]:
        """Daily returns of all tests, one after another."""
        parts = [step.returns for step in self.steps if len(step.returns)]
        return pd.concat(parts) if parts else pd.Series(dtype=np.float64)

    @property
    def equity(self) -> pd.Series[float]:
        """Growth of 1 over all tests, by day."""
        return (1.0 + self.daily_returns).cumprod()

    @property
    def metrics(self) -> dict[str, float]:
        """Of the chained tests, from daily equity."""
        returns = self.daily_returns.to_numpy(dtype=np.float64)
        growth = self.equity.to_numpy(dtype=np.float64)
        worst = float(drawdowns(growth, 1.0).min()) if growth.size else float("nan")
        annual = cagr(returns)
        return {
            "Total Return": float(growth[-1]) - 1.0 if growth.size else float("nan"),
            "CAGR": annual,
            "Sharpe": sharpe(returns),
            "Sortino": sortino(returns),
            "Calmar": calmar(annual, worst),
            "Max Drawdown": worst,
            "Volatility": volatility(returns),
            "Trades": float(sum(step.tested.get("Trades", 0.0) for step in self.steps)),
        }

    @property
    def won(self) -> int:
        """Tests that gained."""
        return sum(step.tested.get("Total Return", 0.0) > 0.0 for step in self.steps)

    @property
    def efficiency(self) -> float:
        """Mean CAGR of the tests over the mean of what the searches showed; NaN where those showed no gain."""
        searched = [step.searched.get("CAGR", float("nan")) for step in self.steps]
        known = [x for x in searched if np.isfinite(x)]
        mean = float(np.mean(known)) if known else float("nan")
        return self.metrics["CAGR"] / mean if mean > 0.0 else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """One row per window: its times, the values it chose, the metric in search and test, return and trades."""
        rows = []
        for step in self.steps:
            window = step.window
            row: dict[str, Any] = {
                "train_start": pd.Timestamp(window.train_start, tz="UTC"),
                "train_end": pd.Timestamp(window.train_end, tz="UTC"),
                "test_end": pd.Timestamp(window.test_end, tz="UTC"),
            }
            row |= dict(step.chosen or {})
            row[f"{self.metric} in search"] = step.searched.get(self.metric, float("nan"))
            row[self.metric] = step.tested.get(self.metric, float("nan"))
            row["Total Return"] = step.tested.get("Total Return", float("nan"))
            row["Trades"] = step.tested.get("Trades", 0.0)
            rows.append(row)
        return pd.DataFrame(rows)

    def summary(self) -> Summary:
        """The first screen; prints as text."""
        return Summary(tuple(self._lines()))

    def _lines(self) -> list[Line]:
        metrics = self.metrics
        names = ("Total Return", "CAGR", "Sharpe", "Max Drawdown", "Calmar", "Trades")
        lines = [Line("", f"{self.title} · walk-forward, {len(self.steps)} of {self.planned} windows")]
        lines += [Line("Window", self._step_text(step)) for step in self.steps]
        lines.append(Line("Tests", " · ".join(f"{name} {show_metric(name, metrics[name])}" for name in names)))
        efficiency = self.efficiency
        kept = "" if np.isnan(efficiency) else f"; {100.0 * efficiency:.0f} % of the searches' CAGR was kept"
        won = f"{self.won} of {len(self.steps)} tests gained"
        lines.append(Line("Verdict", f"{won}{kept}; {self.trials:,} trials in the searches"))
        return lines

    def _step_text(self, step: Step) -> str:
        """One window: what its search chose, and what became of it."""
        if step.chosen is None:
            return f"{step.window.text}: nothing to recommend"
        searched = show_metric(self.metric, step.searched.get(self.metric, float("nan")))
        tested = show_metric(self.metric, step.tested.get(self.metric, float("nan")))
        gained = show_metric("Total Return", step.tested.get("Total Return", 0.0))
        chosen = cell_text(step.chosen)
        return f"{step.window.text}: {chosen}; {self.metric} {searched} in search, {tested} in test, {gained}"
