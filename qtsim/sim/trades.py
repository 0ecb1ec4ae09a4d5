"""Trades as a path: one point per trade, fed to a run in chunks so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qtsim.core.records import Records, bar_dt
from qtsim.sim.market import NO_BAR, Book, Ints, Market


@dataclass(frozen=True)
class TradeChunk:
    """The trades of all symbols in one stretch of time. Rows of one symbol are contiguous, in the market's order."""

    boundaries: Ints  # every trade's time and every open and close of the signals' bars, ascending; see `join_chunk`
    marked: Ints  # 1: the first boundary at an open or close of the signals' bars
    rows: Records  # bar_dt: a trade is a bar without length
    offsets: Ints  # one more than symbols
    ends: Ints  # 1: the symbol has no trade in a later chunk
    is_last: bool

    @property
    def own(self) -> int:
        """Boundaries that belong to this chunk: all but the horizon, which the next one begins with."""
        return len(self.boundaries) - (0 if self.is_last else 1)


def trade_rows(
    time: np.ndarray, price: np.ndarray, qty: np.ndarray, mark: np.ndarray, half_spread: np.ndarray
) -> Records:
    """Trades as rows of a path: bar_dt, all four prices those of the trade.

    time: int64 ns, ascending; mark: NaN nowhere, the price where there is no history; half_spread: ratio, NaN unknown.
    """
    rows = np.zeros(len(time), bar_dt)
    rows["ts_open"] = time
    rows["volume"] = qty
    rows["half_spread"] = half_spread
    for name in ("open", "high", "low", "close"):
        rows[name] = price
        rows[f"mark_{name}"] = mark
    return rows


def signal_times(market: Market) -> Ints:
    """Opens and closes of the signals' bars of all symbols, ascending."""
    closes = market.signals["ts_close"]
    return np.unique(np.concatenate([closes, closes - market.timeframe_ns]))


def join_chunk(parts: Sequence[Records], grid: Ints, ends: Sequence[bool], *, horizon: int | None) -> TradeChunk:
    """Join the trades of each symbol in one stretch of time.

    parts: bar_dt by symbol, in the market's order; grid: opens and closes of the signals' bars in the stretch;
    ends: whether no later chunk has trades of a symbol; horizon: where the next chunk begins, an open or close of the
    signals' bars; None for the last one.
    Several trades of one symbol at one instant are boundaries one after another, in their order; the grid marks the
    first of an instant. The horizon is a boundary too: it is waited for, and belongs to the next chunk.
    """
    times = [np.stack([part["ts_open"], _place_within(part["ts_open"])]) for part in parts]
    times.append(np.stack([grid, np.zeros_like(grid)]))
    if horizon is not None:
        times.append(np.array([[horizon], [0]], dtype=np.int64))
    both = _distinct(np.concatenate(times, axis=1))
    marked = ((both[1] == 0) & np.isin(both[0], grid)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    rows = np.concatenate(parts) if len(parts) else np.zeros(0, bar_dt)
    return TradeChunk(
        np.ascontiguousarray(both[0]), marked, rows, offsets, np.array(ends, dtype=np.int64), horizon is None
    )


def _distinct(pairs: Ints) -> Ints:
    """The distinct columns of (time, place), ascending."""
    ordered = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    new = np.ones(ordered.shape[1], dtype=bool)
    new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return ordered[:, new]


def _place_within(times: Ints) -> Ints:
    """0 for the first of equal times, 1 for the second, and so on."""
    if not len(times):
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[True], times[1:] != times[:-1]])
    first = np.maximum.accumulate(np.where(starts, np.arange(len(times)), 0))
    return np.arange(len(times)) - first


def with_chunk(market: Market, chunk: TradeChunk) -> Market:
    """The market whose path is this chunk."""
    return market._replace(
        boundaries=chunk.boundaries,
        marked=chunk.marked,
        bars=chunk.rows,
        bar_offsets=chunk.offsets,
        ends=chunk.ends,
        path_ns=0,
    )


def turn_to_chunk(book: Book, market: Market, width: int) -> None:
    """Let a book that has done one chunk begin the next."""
    slots = book.slots
    at_end = (slots["bar"] >= slots["bars_end"] - 1) & (slots["bar"] != NO_BAR) & (slots["ends"] == 1)
    slots["bars_first"] = slots["next_bar"] = np.repeat(market.bar_offsets[:-1], width)
    slots["bars_end"] = np.repeat(market.bar_offsets[1:], width)
    slots["ends"] = np.repeat(market.ends, width)
    # a symbol whose last trade the chunk before had still ends with it, at the next boundary
    slots["bar"] = np.where(at_end, slots["bars_end"], NO_BAR)


TradeFeed = Iterator[TradeChunk]
"""Chunks in order of time, each given once."""
