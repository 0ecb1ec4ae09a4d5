"""What the market looks like at each bar's close: qtsim's own columns, the same for every strategy.

Every ATR is Wilder's over 14 bars, of the last closed bar of `regime.timeframe` (the run's own where that is coarser).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qtsim.core.records import Records
from qtsim.data.resample import divides
from qtsim.data.timeframes import DAY, timeframe_name, timeframe_ns
from qtsim.errors import UsageError
from qtsim.signals.bars import Series, Sources, last_known

Floats: TypeAlias = npt.NDArray[np.float64]

ATR_BARS = 14
MEAN_DAYS = 20
VOLATILITY_MAX = 5.0
RISK_RANGE = (0.5, 1.5)


def regime_length(sources: Sources, regime_timeframe: str) -> int:
    """Return the length in ns of the bars that the columns are computed on: the coarser of regime's and the run's.

    Raises
    ------
    UsageError
        The regime's timeframe is no whole multiple of the run's.
    """
    length = timeframe_ns(regime_timeframe)
    if length <= sources.length:
        return sources.length
    if not divides(sources.length, length):
        raise UsageError(
            f"regime.timeframe {regime_timeframe} is no whole multiple of the run's {sources.timeframe}; "
            f"set regime.timeframe to {timeframe_name(sources.length)} or a multiple of it"
        )
    return length


def fill_market_columns(rows: Records, sources: Sources, symbol: str, length: int, leader: str | None) -> None:
    """Fill `atr`, `atr_pct`, `atr_ratio`, `volatility_factor`, `symbol_risk` and `funding_rate` of a symbol's rows.

    Parameters
    ----------
    rows : signal_dt array of shape (n,)
        One row per bar of the symbol, or per bar of its newest; changed in place.
    sources : Sources
    symbol : str
    length : int
        Length of the regime's bars, ns, from `regime_length`.
    leader : str or None
        Symbol that `symbol_risk` compares with; None, or one without bars: 1 everywhere.
    """
    known = sources.series(symbol, sources.length).known
    at = known[len(known) - len(rows) :]
    series = sources.series(symbol, length)
    atr, atr_pct, atr_ratio = atr_columns(series)
    rows["atr"] = last_known(series.known, atr, at)
    rows["atr_pct"] = last_known(series.known, atr_pct, at)
    ratio = last_known(series.known, atr_ratio, at)
    rows["atr_ratio"] = np.where(np.isnan(ratio), 1.0, ratio)
    rows["volatility_factor"] = np.clip(rows["atr_ratio"] - 1.0, 0.0, VOLATILITY_MAX)
    rows["symbol_risk"] = 1.0
    if leader is not None and leader != symbol and sources.can_make(leader, length):
        leading = sources.series(leader, length)
        rows["symbol_risk"] = symbol_risk(rows["atr_pct"], last_known(leading.known, atr_columns(leading)[1], at))
    funding = sources.column("funding_rate", symbol)
    if funding is not None:
        rate = last_known(funding[0], funding[1], at)
        rows["funding_rate"] = np.where(np.isnan(rate), 0.0, rate)


def describe_market(signals: Records, bars: Records, timeframe: int) -> None:
    """Complete the signals of bars: when each becomes known, and how thin its market is (model impact).

    signals: signal_dt; bars: bar_dt of the same rows.
    """
    signals["ts_close"] = bars["ts_open"] + timeframe
    value = bars["volume"] * bars["close"]
    signals["close"] = bars["close"]
    signals["thinness"] = np.nan
    traded = value > 0.0
    signals["thinness"][traded] = signals["atr_pct"][traded] / np.sqrt(value[traded])


def atr_columns(series: Series) -> tuple[Floats, Floats, Floats]:
    """Return (atr, atr_pct, atr_ratio) per bar of a series; computed once.

    `atr` in quote currency, NaN for the first 14 bars; `atr_pct` = atr / close; `atr_ratio` = atr_pct / its mean over
    the bars of 20 days, this one included, 1 until there are as many.
    """
    return series.keep("atr", _compute_atr)


def _compute_atr(series: Series) -> tuple[Floats, Floats, Floats]:
    import pandas as pd
    import talib

    close = series.fields["close"]
    if not len(close):
        nothing: Floats = np.zeros(0)
        return nothing, nothing, nothing
    atr: Floats = talib.ATR(series.fields["high"], series.fields["low"], close, ATR_BARS)
    atr_pct = atr / close
    n_mean = max(int(MEAN_DAYS * DAY // series.length), 1)
    mean = pd.Series(atr_pct).rolling(n_mean).mean().to_numpy()
    known = mean > 0  # NaN: less than 20 days; 0: prices that never moved
    ratio = np.ones(len(close))
    ratio[known] = atr_pct[known] / mean[known]
    return atr, atr_pct, ratio


def symbol_risk(atr_pct: Floats, leader_atr_pct: Floats) -> Floats:
    """Return clamp(atr_pct / the leader's, 0.5, 1.5); 1 where either is unknown or the leader's is 0."""
    known = (leader_atr_pct > 0) & ~np.isnan(atr_pct)
    risk: Floats = np.ones(len(atr_pct))
    risk[known] = np.clip(atr_pct[known] / leader_atr_pct[known], *RISK_RANGE)
    return risk
