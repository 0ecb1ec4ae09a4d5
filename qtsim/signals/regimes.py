"""Market regimes as columns of the signal table: the leader's, on its daily closes, and each symbol's own.

Computed on closed bars of their own timeframes; each row shows what was known at its bar's close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qtsim.core.enums import LeaderRegime, Regime
from qtsim.core.records import Records, close_dt
from qtsim.core.regime import classify_leader_closes_nb, classify_symbol_closes_nb
from qtsim.data.timeframes import DAY, timeframe_ns
from qtsim.signals.bars import Series, Sources, last_known
from qtsim.signals.market_columns import ATR_BARS, MEAN_DAYS, atr_columns

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

CHANNEL_BARS = 20
SLOPE_BARS = 5
EMA_BARS = (20, 50, 200)
STALE_BARS = 2
"""Bars of `regime.leader.timeframe` after whose length without a new one the global regime is UNKNOWN."""


@dataclass(frozen=True)
class LeaderRules:
    """How the global regime is found: `regime.leader`."""

    timeframe: str = "1d"
    ema_bars: int = 200
    band: float = 0.10


def fill_regime_columns(
    rows: Records, sources: Sources, symbol: str, length: int, leader: str | None, rules: LeaderRules
) -> None:
    """Fill `regime`, `leader_regime` and `leader_24h` of a symbol's rows.

    Parameters
    ----------
    rows : signal_dt array of shape (n,)
        One row per bar of the symbol, or per bar of its newest; changed in place.
    length : int
        Length of the regime's bars, ns, from `regime_length`.
    leader : str or None
        Without a leader, or without bars of it, the global regime is UNKNOWN and its return over 24 h NaN.
    """
    known = sources.series(symbol, sources.length).known
    at = known[len(known) - len(rows) :]
    series = sources.series(symbol, length)
    rows["regime"] = _known_codes(series.known, symbol_regimes(series), at, Regime.UNKNOWN)
    rows["leader_regime"] = LeaderRegime.UNKNOWN
    rows["leader_24h"] = np.nan
    if leader is None:
        return
    if sources.can_make(leader, timeframe_ns(rules.timeframe)):
        leading = sources.series(leader, timeframe_ns(rules.timeframe))
        codes = _known_codes(leading.known, leader_regimes(leading, rules), at, LeaderRegime.UNKNOWN)
        codes[~(age_ns(leading.known, at) < STALE_BARS * leading.length)] = LeaderRegime.UNKNOWN
        rows["leader_regime"] = codes
    if sources.can_make(leader, length):
        rows["leader_24h"] = leader_returns(sources.series(leader, length), at)


def leader_regimes(series: Series, rules: LeaderRules) -> Ints:
    """Return LeaderRegime per bar of the leader's series; UNKNOWN until the EMA has its bars. Computed once."""
    return series.keep(f"leader regime {rules.ema_bars} {rules.band!r}", lambda own: _compute_leader(own, rules))


def _compute_leader(series: Series, rules: LeaderRules) -> Ints:
    import talib

    close = series.fields["close"]
    codes = np.zeros(len(close), dtype=np.int64)
    if len(close):
        classify_leader_closes_nb(close, talib.EMA(close, rules.ema_bars), float(rules.band), codes)
    return codes


def leader_returns(series: Series, at: Ints) -> Floats:
    """Return the leader's return over 24 h as known at each instant `at`, ns.

    From its last close to the close exactly 24 h earlier. NaN where one of the two is missing, as with bars longer
    than a day, and where the last close is a day old or older.
    """
    known = series.known
    result: Floats = last_known(known, series.keep("returns over 24 h", _compute_day_returns), at)
    result[~(age_ns(known, at) < DAY)] = np.nan
    return result


def _compute_day_returns(series: Series) -> Floats:
    close, known = series.fields["close"], series.known
    returns: Floats = np.full(len(close), np.nan)
    earlier = np.searchsorted(known, known - DAY)
    found = (earlier < len(known)) & (known[np.minimum(earlier, len(known) - 1)] == known - DAY)
    before = close[earlier[found]]
    returns[found] = (close[found] - before) / before
    return returns


def age_ns(known: Ints, at: Ints) -> Floats:
    """How long ago at each instant the last bar closed, ns; NaN before the first."""
    return np.asarray(at - last_known(known, known, at), dtype=np.float64)


def symbol_regimes(series: Series) -> Ints:
    """Return Regime per bar of a series; UNKNOWN until every average has its bars. Computed once."""
    return series.keep("regimes", _compute_regimes)


def _compute_regimes(series: Series) -> Ints:
    import talib

    close, high, low = (series.fields[name] for name in ("close", "high", "low"))
    codes = np.zeros(len(close), dtype=np.int64)
    if not len(close):
        return codes
    volume = series.fields["volume"]
    atr, _, ratio = atr_columns(series)
    n_mean = max(int(MEAN_DAYS * DAY // series.length), 1)
    averages = [talib.EMA(close, bars) for bars in EMA_BARS]
    inputs = np.column_stack(
        [
            close,
            _before(_rolling(high, CHANNEL_BARS).max().to_numpy()),
            _before(_rolling(low, CHANNEL_BARS).min().to_numpy()),
            atr,
            _rolling(atr, n_mean).mean().to_numpy(),
            ratio,
            volume,
            _before(_rolling(volume, CHANNEL_BARS).mean().to_numpy()),
            talib.ADX(high, low, close, ATR_BARS),
            *averages,
            *(_slope(average) for average in averages),
        ]
    )
    classify_symbol_closes_nb(inputs, codes)
    return codes


def closes_of(sources: Sources, symbol: str, length: int) -> Records:
    """Return the log returns of a symbol's bars of `length` ns, close_dt; NaN where the bar before is missing."""
    return sources.series(symbol, length).keep("closes", _compute_closes)


def _compute_closes(series: Series) -> Records:
    closes = np.zeros(len(series.known), close_dt)
    closes["ts"] = series.known
    closes["log_return"] = np.nan
    follows = np.diff(series.time) == series.length
    closes["log_return"][1:][follows] = np.diff(np.log(series.fields["close"]))[follows]
    return closes


def _rolling(values: Floats, bars: int) -> Any:
    import pandas as pd

    return pd.Series(values).rolling(bars)


def _before(values: Floats) -> Floats:
    """The value of the bar before; NaN for the first."""
    return np.concatenate([[np.nan], values[:-1]])


def _slope(average: Floats) -> Floats:
    """Difference over SLOPE_BARS bars; NaN before there are as many."""
    slope: Floats = np.full(len(average), np.nan)
    slope[SLOPE_BARS:] = average[SLOPE_BARS:] - average[:-SLOPE_BARS]
    return slope


def _known_codes(known: Ints, codes: Ints, at: Ints, missing: int) -> Ints:
    values = last_known(known, codes.astype(np.float64), at)
    result: Ints = np.where(np.isnan(values), missing, values).astype(np.int64)
    return result
