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
LOW, HIGH, MARK_LOW, MARK_HIGH, LOWEST_CLOSE, HIGHEST_CLOSE = range(6)
VOLATILITY, LEADER_24H, TURNS_CHOPPY = range(3)
ENTRY, EXIT_LONG, EXIT_SHORT, TWIN = range(4)
BLOCK_WIDTH = 8
"""Numbers per block of bars: one line of a processor's cache."""
NO_ASK = 2**62
"""Row of the entry that ends the list of requests."""

ask_dt = np.dtype([("row", "i8"), ("ts_close", "i8")], align=True)
"""A signal that asks for a side: its row, and when it becomes known."""

call_dt = np.dtype(
    [("boundary", "i8"), ("symbol", "i8"), ("row", "i8"), ("side", "i8"), ("confidence", "f8")], align=True
)
"""The same of any symbol: the place of the boundary at which it is heard, whose it is, what a denial tells of it."""


class Index(NamedTuple):
    """Blocks of a market's bars and signals, and what is looked up row by row."""

    blocks: npt.NDArray[
        np.float64
    ]  # (blocks, 8): lowest and highest last price and mark, lowest and highest mark at a close; NaN where one lacks
    marks: npt.NDArray[np.float64]  # (bars,): mark at the close
    weather: npt.NDArray[
        np.float64
    ]  # (blocks, 3): highest volatility, lowest leader_24h, 1: turns from TRENDING to CHOPPY
    requests: npt.NDArray[
        np.int32
    ]  # (signals, 4): from this row on the first of `asks`; the first row that asks for an exit, or the end; the first
    # that becomes known together with the next one, or the end
    asks: Records  # ask_dt: every row that asks for a side, ascending, then one of NO_ASK
    calls: Records  # call_dt: the same by boundary, then by symbol; then one of NO_ASK
    even_bars: npt.NDArray[np.int32]  # (bars,): how many from this one on are followed after as long as the first
    even_boundaries: npt.NDArray[np.int32]  # (boundaries,): steps from this one on that are as long as the first


def no_index() -> Index:
    """Of a path of trades, which is passed over in another way."""
    none = np.zeros(0, dtype=np.int32)
    asks = np.zeros(0, ask_dt)
    calls = np.zeros(1, call_dt)
    calls["boundary"] = NO_ASK
    return Index(np.zeros((0, BLOCK_WIDTH)), np.zeros(0), np.zeros((0, 3)), none.reshape(0, 4), asks, calls, none, none)


def build_index(
    boundaries: npt.NDArray[np.int64],
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
    asks = _asks(signals)
    return Index(
        _blocks(bars, marks),
        marks,
        _weather(signals),
        _requests(signals, boundaries, signal_offsets),
        asks,
        _calls(asks[:-1], signals, boundaries, signal_offsets),
        _even_bars(bars, bar_offsets),
        _even_steps(boundaries),
    )


def _starts(n: int) -> npt.NDArray[np.int64]:
    return np.arange(0, n, BLOCK, dtype=np.int64)


def _blocks(bars: Records, marks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    blocks = np.zeros((-(-len(bars) // BLOCK), BLOCK_WIDTH))
    if len(bars) == 0:
        return blocks
    starts = _starts(len(bars))
    for prefix, low, high in (("", LOW, HIGH), ("mark_", MARK_LOW, MARK_HIGH)):
        points = [np.ascontiguousarray(bars[prefix + name]) for name in ("open", "high", "low", "close")]
        blocks[:, low] = np.minimum.reduceat(np.minimum.reduce(points), starts)
        blocks[:, high] = np.maximum.reduceat(np.maximum.reduce(points), starts)
    blocks[:, LOWEST_CLOSE] = np.minimum.reduceat(marks, starts)
    blocks[:, HIGHEST_CLOSE] = np.maximum.reduceat(marks, starts)
    return blocks


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


def _requests(
    signals: Records, boundaries: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    requests = np.zeros((len(signals), 4), dtype=np.int32)
    asks = _asks_for_side(signals)
    requests[:, ENTRY] = np.cumsum(asks) - asks
    heard = np.searchsorted(boundaries, signals["ts_close"], side="left")
    twins = np.append(heard[1:] == heard[:-1], False) if len(heard) else np.zeros(0, dtype=np.bool_)
    found = {EXIT_LONG: signals["exit_long"] == 1, EXIT_SHORT: signals["exit_short"] == 1, TWIN: twins}
    for column, rows in found.items():
        for first, end in itertools.pairwise(offsets):
            own = np.where(rows[first:end], np.arange(first, end, dtype=np.int32), np.int32(end))
            requests[first:end, column] = np.minimum.accumulate(own[::-1])[::-1]
    return requests


def _asks_for_side(signals: Records) -> npt.NDArray[np.bool_]:
    asks: npt.NDArray[np.bool_] = signals["long"] != signals["short"]
    return asks


def _asks(signals: Records) -> Records:
    rows = np.flatnonzero(_asks_for_side(signals))
    asks = np.zeros(len(rows) + 1, ask_dt)
    asks["row"][:-1] = rows
    asks["ts_close"][:-1] = signals["ts_close"][rows]
    asks["row"][-1] = NO_ASK
    return asks


def _calls(
    asks: Records, signals: Records, boundaries: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> Records:
    calls = np.zeros(len(asks) + 1, call_dt)
    heard = np.searchsorted(boundaries, asks["ts_close"], side="left")
    symbols = np.searchsorted(offsets, asks["row"], side="right") - 1
    order = np.lexsort((symbols, heard)) if len(offsets) > 2 else np.arange(len(asks))
    rows = asks["row"][order]
    calls["boundary"][:-1] = heard[order]
    calls["symbol"][:-1] = symbols[order]
    calls["row"][:-1] = rows
    calls["side"][:-1] = signals["long"][rows].astype(np.int64) - signals["short"][rows]
    calls["confidence"][:-1] = signals["confidence"][rows]
    calls["boundary"][-1] = NO_ASK
    return calls


def _even_steps(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """At each time: how many steps from it on are as long as the first of them."""
    steps = np.zeros(len(times), dtype=np.int32)
    if len(times) < 2:
        return steps
    lengths = np.diff(times)
    changes = np.append(np.flatnonzero(np.diff(lengths)) + 1, len(lengths))
    at = np.arange(len(lengths))
    steps[:-1] = changes[np.searchsorted(changes, at, side="right")] - at
    return steps


def _even_bars(bars: Records, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    even = np.zeros(len(bars), dtype=np.int32)
    for first, end in itertools.pairwise(offsets):
        even[first:end] = _even_steps(bars["ts_open"][first:end])
    return even
