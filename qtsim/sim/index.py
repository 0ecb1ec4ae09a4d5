"""What lets quiet bars be passed over in blocks: built once per market, read by `skip_bars.py`.

A block may say that something could happen where nothing does, at a block's edge between two symbols for instance; it
never says that nothing can where something does.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qtsim.core.enums import Regime
from qtsim.core.records import Records

BLOCK = 16
"""Rows per block."""
LOW, HIGH, MARK_LOW, MARK_HIGH = range(4)
VOLATILITY, LEADER_24H, TURNS_CHOPPY = range(3)
ENTRY, EXIT_LONG, EXIT_SHORT = range(3)


class Index(NamedTuple):
    """Blocks of a market's bars and signals, and what is looked up row by row."""

    spans: npt.NDArray[np.float64]  # (blocks, 4): lowest and highest last price and mark; NaN where one is missing
    marks: npt.NDArray[np.float64]  # (bars,): mark at the close
    weather: npt.NDArray[
        np.float64
    ]  # (blocks, 3): highest volatility, lowest leader_24h, 1: turns from TRENDING to CHOPPY
    requests: npt.NDArray[
        np.int32
    ]  # (signals, 3): first row from this one on that asks for a side, an exit; or the end


def no_index() -> Index:
    """Of a path of trades, which is passed over in another way."""
    return Index(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))


def build_index(
    bars: Records,
    signals: Records,
    bar_offsets: npt.NDArray[np.int64],
    signal_offsets: npt.NDArray[np.int64],
    has_mark: npt.NDArray[np.int64],
) -> Index:
    """The index of a market; rows of one symbol are contiguous, offsets have one more entry than symbols."""
    marks = bars["close"].copy()
    for i, recorded in enumerate(has_mark):
        if recorded:
            rows = slice(bar_offsets[i], bar_offsets[i + 1])
            marks[rows] = bars["mark_close"][rows]
    return Index(_spans(bars), marks, _weather(signals), _requests(signals, signal_offsets))


def _starts(n: int) -> npt.NDArray[np.int64]:
    return np.arange(0, n, BLOCK, dtype=np.int64)


def _spans(bars: Records) -> npt.NDArray[np.float64]:
    spans = np.zeros((-(-len(bars) // BLOCK), 4))
    if len(bars) == 0:
        return spans
    starts = _starts(len(bars))
    for prefix, low, high in (("", LOW, HIGH), ("mark_", MARK_LOW, MARK_HIGH)):
        points = [np.ascontiguousarray(bars[prefix + name]) for name in ("open", "high", "low", "close")]
        spans[:, low] = np.minimum.reduceat(np.minimum.reduce(points), starts)
        spans[:, high] = np.maximum.reduceat(np.maximum.reduce(points), starts)
    return spans


def _weather(signals: Records) -> npt.NDArray[np.float64]:
    weather = np.zeros((-(-len(signals) // BLOCK), 3))
    if len(signals) == 0:
        return weather
    starts = _starts(len(signals))
    regime = signals["regime"]
    turns = np.zeros(len(signals))
    turns[1:] = (regime[1:] == Regime.CHOPPY.value) & (regime[:-1] == Regime.TRENDING.value)
    weather[:, VOLATILITY] = np.fmax.reduceat(np.ascontiguousarray(signals["volatility_factor"]), starts)
    weather[:, LEADER_24H] = np.fmin.reduceat(np.ascontiguousarray(signals["leader_24h"]), starts)
    weather[:, TURNS_CHOPPY] = np.maximum.reduceat(turns, starts)
    return weather


def _requests(signals: Records, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    requests = np.zeros((len(signals), 3), dtype=np.int32)
    asks = {
        ENTRY: signals["long"] != signals["short"],
        EXIT_LONG: signals["exit_long"] == 1,
        EXIT_SHORT: signals["exit_short"] == 1,
    }
    for column, rows in asks.items():
        for first, end in itertools.pairwise(offsets):
            own = np.where(rows[first:end], np.arange(first, end, dtype=np.int32), np.int32(end))
            requests[first:end, column] = np.minimum.accumulate(own[::-1])[::-1]
    return requests
