"""Trades as a path: one point per trade, fed to a run in chunks so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qtsim.sim.market import NO_BAR, Book, Flags, Ints, Market
from qtsim.sim.path_trades import PathTrades, joined
from qtsim.sim.trade_index import NO_TIME, TradeIndex, merge_trades_nb, new_trade_index


@dataclass(frozen=True)
class TradeChunk:
    """The trades of all symbols in one stretch of time. Rows of one symbol are contiguous, in the market's order."""

    boundaries: Ints  # every trade's time and every open and close of the signals' bars, ascending; see `join_chunk`
    marked: Flags  # 1: the first boundary at an open or close of the signals' bars
    trades: PathTrades  # by symbol
    offsets: Ints  # one more than symbols
    ends: Ints  # 1: the symbol has no trade in a later chunk
    is_last: bool
    index: TradeIndex

    @property
    def own(self) -> int:
        """Boundaries that belong to this chunk: all but the horizon, which the next one begins with."""
        return len(self.boundaries) - (0 if self.is_last else 1)


def signal_times(market: Market) -> Ints:
    """Opens and closes of the signals' bars of all symbols, ascending."""
    closes = market.signals["ts_close"]
    return np.unique(np.concatenate([closes, closes - market.timeframe_ns]))


def join_chunk(parts: Sequence[PathTrades], grid: Ints, ends: Sequence[bool], *, horizon: int | None) -> TradeChunk:
    """Join the trades of each symbol in one stretch of time.

    parts: by symbol, in the market's order; grid: opens and closes of the signals' bars in the stretch;
    ends: whether no later chunk has trades of a symbol; horizon: where the next chunk begins, an open or close of the
    signals' bars; None for the last one.
    Several trades of one symbol at one instant are boundaries one after another, in their order; the grid marks the
    first of an instant. The horizon is a boundary too: it is waited for, and belongs to the next chunk.
    """
    offsets = np.concatenate([[0], np.cumsum([part.rows for part in parts])]).astype(np.int64)
    trades = joined(parts)
    most = trades.rows + len(grid) + 1
    boundaries, marked = np.empty(most, np.int64), np.empty(most, np.int8)
    index = new_trade_index(most, len(parts))
    until = NO_TIME if horizon is None else horizon
    n = merge_trades_nb(trades, offsets, grid, until, np.empty(len(parts), np.int64), boundaries, marked, index)
    return TradeChunk(
        boundaries[:n], marked[:n], trades, offsets, np.array(ends, dtype=np.int64), horizon is None, index.of(n)
    )


def with_chunk(market: Market, chunk: TradeChunk) -> Market:
    """The market whose path is this chunk."""
    return market._replace(
        boundaries=chunk.boundaries,
        marked=chunk.marked,
        trades=chunk.trades,
        bar_offsets=chunk.offsets,
        ends=chunk.ends,
        path_ns=0,
        trade_index=chunk.index,
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
