"""Monte-Carlo: what a run's returns and trades would have given in another order, by the stationary bootstrap.

Source: Politis and Romano, The Stationary Bootstrap, Journal of the American Statistical Association 89 (1994).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qtsim.errors import UsageError
from qtsim.results.result import Result
from qtsim.results.summary import Line

QUANTILES = (0.05, 0.5, 0.95)
CHUNK_CELLS = 4_000_000
"""Draws × observations held in memory at a time."""


@dataclass(frozen=True)
class Resampled:
    """What resampled sequences came to. Quantiles at `QUANTILES`; ratios of the starting balance."""

    what: str  # days or trades
    observations: int
    draws: int
    block: int
    total_return: tuple[float, ...]
    max_drawdown: tuple[float, ...]
    share_lost: float  # sequences that lost

    @property
    def text(self) -> str:
        """In one line."""
        low, middle, high = (f"{100.0 * x:+.2f}" for x in self.total_return)
        deep, usual, shallow = (f"{100.0 * x:.2f}" for x in self.max_drawdown)
        lost = f"{100.0 * self.share_lost:.0f} % lost"
        return (
            f"{self.draws:,} sequences of {self.observations:,} {self.what} in blocks of {self.block}: Total Return "
            f"{middle} % [{low}, {high}], Max Drawdown {usual} % [{deep}, {shallow}], {lost}"
        )

    @property
    def line(self) -> Line:
        """As a line of the first screen."""
        return Line("Resampled", self.text)


def stationary_places(count: int, block: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Places of `draws` resampled sequences of `count` observations, shape (draws, count), int64.

    Blocks have a geometric length with mean `block` and wrap around the end.
    """
    begins = rng.random((draws, count)) < 1.0 / block
    begins[:, 0] = True
    starts = rng.integers(0, count, (draws, count))
    since = np.arange(count) - np.maximum.accumulate(np.where(begins, np.arange(count), 0), axis=1)
    first = np.take_along_axis(starts, np.arange(count) - since, axis=1)
    places: np.ndarray = (first + since) % count
    return places


def resample_run(result: Result, *, draws: int = 2_000, block: int = 10, seed: int = 0) -> list[Resampled]:
    """Resample a run's daily returns, which compound, and its trades, whose results add up on the starting balance.

    block: mean length of a block, in days or trades. Errors: UsageError for numbers that make no sense.
    """
    if draws < 100:
        raise UsageError(f"--bootstrap {draws}: quantiles need 100 sequences or more")
    if block < 1:
        raise UsageError(f"--block {block}: 1 or more")
    start = result.totals.initial_balance
    daily = result.daily_returns.to_numpy(dtype=np.float64)
    trades = result.trades["pnl"].to_numpy(dtype=np.float64) / start
    found: list[Resampled] = []
    for what, values, compound in (("days", daily, True), ("trades", trades, False)):
        if len(values) >= 2:
            found.append(_resampled(what, values, compound, draws, block, np.random.default_rng([seed, len(found)])))
    return found


def _resampled(
    what: str, values: np.ndarray, compound: bool, draws: int, block: int, rng: np.random.Generator
) -> Resampled:
    size = max(1, CHUNK_CELLS // len(values))
    ends, worst = [], []
    for begin in range(0, draws, size):
        sequences = values[stationary_places(len(values), float(block), min(size, draws - begin), rng)]
        growth = np.cumprod(1.0 + sequences, axis=1) if compound else 1.0 + np.cumsum(sequences, axis=1)
        high = np.maximum.accumulate(np.maximum(growth, 1.0), axis=1)
        ends.append(growth[:, -1] - 1.0)
        worst.append((growth / high - 1.0).min(axis=1))
    total, deepest = np.concatenate(ends), np.concatenate(worst)
    return Resampled(
        what,
        len(values),
        draws,
        block,
        tuple(float(x) for x in np.quantile(total, QUANTILES)),
        tuple(float(x) for x in np.quantile(deepest, QUANTILES)),
        float((total < 0.0).mean()),
    )
