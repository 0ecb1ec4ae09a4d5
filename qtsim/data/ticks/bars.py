"""Bars made of trades, so that signals can be computed from ticks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qtsim.data.frames import BAR_COLUMNS, Floats, Times, make_frame, times_of
from qtsim.data.ticks.arrays import Trades
from qtsim.data.timeframes import grid_anchor_ns, timeframe_ns


def bars_of_trades(trades: Trades, timeframe: str) -> pd.DataFrame:
    """Return open, high, low, close and volume of each interval in which there was a trade.

    An interval without a trade has no bar; where the exchange lists one, it repeats the last close with volume 0. No
    bar is judged to be whole: the first and the last hold what trades are given.

    Parameters
    ----------
    trades : Trades
        Times never go back.
    timeframe : str
        `1s`, `1m`, `1h`, …

    Returns
    -------
    DataFrame
        Canonical bars, as `load_bars` gives them: index `time`, the bar's open, UTC.

    Raises
    ------
    UsageError
        Not a timeframe.
    """
    length = timeframe_ns(timeframe)
    anchor = grid_anchor_ns(length)
    group = (trades.time - anchor) // length
    if not len(group):
        return make_frame(np.zeros(0, dtype=np.int64), {name: np.zeros(0) for name in BAR_COLUMNS})
    first = _starts(group)
    last = np.concatenate((first[1:], [len(group)])) - 1
    columns = {
        "open": trades.price[first],
        "high": np.maximum.reduceat(trades.price, first),
        "low": np.minimum.reduceat(trades.price, first),
        "close": trades.price[last],
        "volume": np.add.reduceat(trades.qty, first),
    }
    return make_frame(group[first] * length + anchor, columns)


def join_bars(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put bars of successive trades in one frame; a bar that two parts share is made of both."""
    times = np.concatenate([times_of(part) for part in parts])
    columns: dict[str, Floats] = {
        name: np.concatenate([part[name].to_numpy() for part in parts]) for name in BAR_COLUMNS
    }
    if not len(times):
        return parts[0]
    first = _starts(times)
    last = np.concatenate((first[1:], [len(times)])) - 1
    joined = {
        "open": columns["open"][first],
        "high": np.maximum.reduceat(columns["high"], first),
        "low": np.minimum.reduceat(columns["low"], first),
        "close": columns["close"][last],
        "volume": np.add.reduceat(columns["volume"], first),
    }
    return make_frame(times[first], joined)


def _starts(group: Times) -> Times:
    """Rows at which a new group begins."""
    return np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1]))).astype(np.int64)
