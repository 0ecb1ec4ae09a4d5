"""Whether the best of many trials is more than the luck of having made many.

Sources: Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40 (2014); Bailey,
Borwein, López de Prado and Zhu, The Probability of Backtest Overfitting, Journal of Computational Finance (2015);
Hansen, A Test for Superior Predictive Ability, Journal of Business and Economic Statistics 23 (2005).
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from qtsim.errors import QtsimError

EULER = 0.5772156649015329
DAYS_PER_YEAR = 365.0
GROUPS = 16
"""Stretches of time that CSCV parts into two halves in every way: 12,870 ways."""
PBO_MOST = 2_000
"""Trials that CSCV looks at; of more, evenly spaced ones with the best among them."""
SPA_MOST = 200
"""Trials that the test for superior ability looks at: the best ones, which are what its maximum is made of."""
CHUNK = 512
NORMAL = NormalDist()


def expected_best_sharpe(trials: float, variance: float) -> float:
    """What the best Sharpe ratio of `trials` independent ones without skill is expected to be.

    variance: of the Sharpe ratios across trials, in the unit (per day, per year) squared of the answer.
    """
    if trials <= 1.0 or not variance > 0.0:
        return 0.0
    first = NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER) * first + EULER * second)


def deflated_sharpe(sharpe: float, days: int, skew: float, kurtosis: float, trials: float, variance: float) -> float:
    """Probability that the true Sharpe ratio is above what the best of `trials` without skill would show.

    sharpe: annualised, as in the metrics; variance: of the annualised Sharpe ratios across trials; skew and kurtosis
    (normal: 3) of the daily returns. With one trial it is the probabilistic Sharpe ratio against 0. NaN where unknown.
    """
    daily = sharpe / math.sqrt(DAYS_PER_YEAR)
    hurdle = expected_best_sharpe(trials, variance / DAYS_PER_YEAR)
    spread = 1.0 - skew * daily + (kurtosis - 1.0) / 4.0 * daily * daily
    if days < 2 or not spread > 0.0:
        return math.nan
    return NORMAL.cdf((daily - hurdle) * math.sqrt(days - 1.0) / math.sqrt(spread))


def effective_trials(sums: np.ndarray) -> float:
    """How many independent trials the given ones amount to: r + (1 - r) n, r being their mean correlation.

    sums: returns summed over stretches of time, shape (trials, stretches). r below 0 counts as 0.
    """
    count = len(sums)
    if count < 2:
        return float(count)
    off = sums - sums.mean(axis=1, keepdims=True)
    norms = np.sqrt((off * off).sum(axis=1))
    alive = norms > 1e-12 * max(float(norms.max()), 1e-300)
    if alive.sum() < 2:
        return float(count)
    units = off[alive] / norms[alive, None]
    n = len(units)
    total = units.sum(axis=0)
    mean = (float(total @ total) - n) / (n * (n - 1))
    mean = min(max(mean, 0.0), 1.0)
    return mean + (1.0 - mean) * count


def overfitting_probability(sums: np.ndarray, squares: np.ndarray, days: np.ndarray) -> float:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation, with the Sharpe ratio.

    For every way to choose half of the stretches: the trial that is best on them, and its rank on the others. The share
    of ways in which that rank is in the lower half. NaN with fewer than two trials or four stretches.

    sums, squares: daily returns and their squares summed by stretch, shape (trials, stretches); days: of each stretch.
    """
    used = np.flatnonzero(days > 0)
    groups = min(GROUPS, len(used) - len(used) % 2)
    if len(sums) < 2 or groups < 4:
        return math.nan
    owner = np.arange(len(used)) * groups // len(used)
    sums, squares, days = (_joined(x[..., used], owner, groups) for x in (sums, squares, days.astype(np.float64)))
    ways = np.array(list(itertools.combinations(range(groups), groups // 2)))
    chosen = np.zeros((len(ways), groups))
    chosen[np.arange(len(ways))[:, None], ways] = 1.0
    low = 0
    for start in range(0, len(chosen), CHUNK):
        inside = chosen[start : start + CHUNK]
        best = np.argmax(_sharpes(inside, sums, squares, days), axis=1)
        outside = _sharpes(1.0 - inside, sums, squares, days)
        own = outside[np.arange(len(best)), best][:, None]
        rank = (outside < own).sum(axis=1) + 0.5 * ((outside == own).sum(axis=1) + 1.0)
        low += int((rank / (len(sums) + 1.0) <= 0.5).sum())
    return low / len(chosen)


def _joined(values: np.ndarray, owner: np.ndarray, groups: int) -> np.ndarray:
    """Stretches summed into `groups` of neighbours; the last axis is time."""
    out = np.zeros((*values.shape[:-1], groups))
    for k in range(groups):
        out[..., k] = values[..., owner == k].sum(axis=-1)
    return out


def _sharpes(chosen: np.ndarray, sums: np.ndarray, squares: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Sharpe ratio per day of each trial over the chosen stretches, shape (ways, trials); 0 without dispersion."""
    count = (chosen @ days)[:, None]
    mean = chosen @ sums.T / count
    variance = np.maximum(chosen @ squares.T / count - mean * mean, 0.0)
    deviation = np.sqrt(variance)
    alive = deviation > 1e-12
    return np.where(alive, mean / np.where(alive, deviation, 1.0), 0.0)


def on_common_days(parts: Sequence[tuple[int, int, np.ndarray]], trials: int) -> np.ndarray:
    """Daily returns of trials on the days that any of them has, shape (days, trials).

    parts: (trial, its first UTC day counted from 1970, returns by day). On a day that a trial lacks its account holds
    cash, which returns 0. Several parts of one trial are accounts of equal size: their mean, over those that have the
    day.
    """
    begin = min(first for _, first, _ in parts)
    end = max(first + len(returns) for _, first, returns in parts)
    total, accounts = np.zeros((end - begin, trials)), np.zeros((end - begin, trials))
    for trial, first, returns in parts:
        own = slice(first - begin, first - begin + len(returns))
        total[own, trial] += returns
        accounts[own, trial] += 1.0
    return total / np.maximum(accounts, 1.0)


@dataclass(frozen=True)
class Superiority:
    """Hansen's test against doing nothing: p-values of the lower, consistent and upper kind."""

    lower: float
    consistent: float
    upper: float
    trials: int


def has_arch() -> bool:
    """Whether the library of the test is installed."""
    return importlib.util.find_spec("arch") is not None


def superior_ability(returns: np.ndarray, seed: int, *, draws: int = 1000, block: int = 10) -> Superiority:
    """Test for superior predictive ability: is the best of these trials better than holding cash?

    returns: daily, shape (days, trials). The stationary bootstrap draws `draws` samples of blocks of `block` days on
    average. Errors: QtsimError where the library `arch` is not installed.
    """
    if not has_arch():
        raise QtsimError('the test for superior ability needs arch: pip install "qtsim[sweep]"')
    spread = returns.std(axis=0)
    alive = returns[:, spread > 1e-12]
    if alive.shape[1] == 0 or len(alive) < 2 * block:
        return Superiority(math.nan, math.nan, math.nan, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own dependencies
        bootstrap = importlib.import_module("arch.bootstrap")
        test = bootstrap.SPA(np.zeros(len(alive)), -alive, block_size=block, reps=draws, seed=seed)
        test.compute()
        values = test.pvalues
    return Superiority(float(values["lower"]), float(values["consistent"]), float(values["upper"]), alive.shape[1])
