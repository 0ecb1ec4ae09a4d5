"""Trades of all symbols in one order of time, and in blocks, so that quiet ones can be passed over together.

Built once per chunk in one pass; `skip_trades.py` reads it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qtsim.core._jit import kernel
from qtsim.sim.path_trades import PathTrades

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]

TRADE_BLOCK = 64
"""Boundaries per block."""
LOW, HIGH, MARK_LOW, MARK_HIGH = range(4)
NO_TIME = 2**62


class TradeIndex(NamedTuple):
    """Blocks of the boundaries of a path of trades. Empty on bars, which have an index of their own."""

    block_heads: Ints  # (blocks + 1, symbols): row of each symbol's first trade at or after the block's first boundary
    block_prices: Floats  # (blocks, symbols, 4): lowest and highest price and mark of the symbol's trades in it;
    # inf and -inf without a trade, NaN where one lacks a price
    next_marked: Ints  # (blocks,): first boundary from the block's first on that is marked; all of them: none is

    def of(self, boundaries: int) -> TradeIndex:
        """What was used of it for so many boundaries."""
        blocks = -(-boundaries // TRADE_BLOCK)
        return TradeIndex(self.block_heads[: blocks + 1], self.block_prices[:blocks], self.next_marked[:blocks])


def no_trade_index() -> TradeIndex:
    """Of a path of bars."""
    return TradeIndex(np.zeros((0, 0), np.int64), np.zeros((0, 0, 4)), np.zeros(0, np.int64))


def new_trade_index(boundaries: int, symbols: int) -> TradeIndex:
    """Room for the index of so many boundaries."""
    blocks = -(-boundaries // TRADE_BLOCK)
    return TradeIndex(
        np.empty((blocks + 1, symbols), np.int64),
        np.empty((blocks, symbols, 4)),
        np.empty(blocks, np.int64),
    )


@kernel
def open_block_nb(index: TradeIndex, k: int, heads: Ints) -> None:
    """Begin block k: no trade of it has been seen."""
    for i in range(len(heads)):
        index.block_heads[k, i] = heads[i]
        index.block_prices[k, i, LOW] = index.block_prices[k, i, MARK_LOW] = np.inf
        index.block_prices[k, i, HIGH] = index.block_prices[k, i, MARK_HIGH] = -np.inf


@kernel
def lower_nb(best: float, price: float) -> float:
    """The lower of two prices; NaN once one was."""
    return best if best != best or price >= best else price


@kernel
def higher_nb(best: float, price: float) -> float:
    """The higher of two prices; NaN once one was."""
    return best if best != best or price <= best else price


@kernel
def widen_block_nb(index: TradeIndex, k: int, i: int, price: float, mark: float) -> None:
    """Take a trade of symbol i into block k."""
    prices = index.block_prices
    prices[k, i, LOW] = lower_nb(prices[k, i, LOW], price)
    prices[k, i, HIGH] = higher_nb(prices[k, i, HIGH], price)
    prices[k, i, MARK_LOW] = lower_nb(prices[k, i, MARK_LOW], mark)
    prices[k, i, MARK_HIGH] = higher_nb(prices[k, i, MARK_HIGH], mark)


@kernel
def first_symbol_nb(times: Ints, heads: Ints, offsets: Ints) -> int:
    """The symbol that trades next, of several the first by name; -1: no trade is left."""
    first = -1
    for i in range(len(heads)):
        if heads[i] < offsets[i + 1] and (first < 0 or times[heads[i]] < times[heads[first]]):
            first = i
    return first


@kernel
def next_of_others_nb(times: Ints, heads: Ints, offsets: Ints, own: int) -> int:
    """Time of the next trade of any symbol but `own`; NO_TIME: there is none."""
    ts = NO_TIME
    for i in range(len(heads)):
        if i != own and heads[i] < offsets[i + 1]:
            ts = min(ts, times[heads[i]])
    return ts


@kernel
def take_run_nb(
    trades: PathTrades,
    heads: Ints,
    i: int,
    end: int,
    until: int,
    b: int,
    boundaries: Ints,
    marked: Flags,
    index: TradeIndex,
) -> int:
    """Give each trade of symbol i before `until` a boundary of its own, from `b` on; the first boundary left."""
    prices = index.block_prices
    row = heads[i]
    while row < end and trades.time[row] < until:
        k = b // TRADE_BLOCK
        if b % TRADE_BLOCK == 0:
            heads[i] = row
            open_block_nb(index, k, heads)
        stop = min(end, row + (k + 1) * TRADE_BLOCK - b)
        low, high = prices[k, i, LOW], prices[k, i, HIGH]
        mark_low, mark_high = prices[k, i, MARK_LOW], prices[k, i, MARK_HIGH]
        while row < stop and trades.time[row] < until:
            boundaries[b] = trades.time[row]
            marked[b] = 0
            low = lower_nb(low, trades.price[row])
            high = higher_nb(high, trades.price[row])
            mark_low = lower_nb(mark_low, trades.mark[row])
            mark_high = higher_nb(mark_high, trades.mark[row])
            row += 1
            b += 1
        prices[k, i, LOW], prices[k, i, HIGH] = low, high
        prices[k, i, MARK_LOW], prices[k, i, MARK_HIGH] = mark_low, mark_high
    heads[i] = row
    return b


@kernel
def take_trades_nb(trades: PathTrades, heads: Ints, offsets: Ints, ts: int, index: TradeIndex, k: int) -> bool:
    """Take one trade at `ts` of each symbol that has one; has any symbol another at the same instant?"""
    more = False
    for i in range(len(heads)):
        row = heads[i]
        if row < offsets[i + 1] and trades.time[row] == ts:
            widen_block_nb(index, k, i, trades.price[row], trades.mark[row])
            heads[i] = row + 1
            more |= row + 1 < offsets[i + 1] and trades.time[row + 1] == ts
    return more


@kernel
def merge_trades_nb(
    trades: PathTrades,
    offsets: Ints,
    grid: Ints,
    horizon: int,
    heads: Ints,
    boundaries: Ints,
    marked: Flags,
    index: TradeIndex,
) -> int:
    """Write every instant at which anything is, ascending, as often as a symbol trades at it; how many there are.

    trades, offsets: by symbol, in the market's order; grid: ascending; horizon: NO_TIME for none. heads, of shape
    (symbols,): the next row of each. boundaries and marked have room for all.
    """
    for i in range(len(heads)):
        heads[i] = offsets[i]
    b = 0
    g = 0
    while True:
        due = min(horizon, grid[g]) if g < len(grid) else horizon
        i = first_symbol_nb(trades.time, heads, offsets)
        ts = due if i < 0 else min(due, trades.time[heads[i]])
        if ts == NO_TIME:
            break
        if i >= 0:
            # as long as no other symbol trades and nothing else is due, each is an instant by itself
            until = min(due, next_of_others_nb(trades.time, heads, offsets, i))
            if ts < until:
                b = take_run_nb(trades, heads, i, offsets[i + 1], until, b, boundaries, marked, index)
                continue
        is_marked = g < len(grid) and grid[g] == ts
        g += int(is_marked)
        if ts == horizon:
            horizon = NO_TIME
        more = True
        while more:
            k = b // TRADE_BLOCK
            if b % TRADE_BLOCK == 0:
                open_block_nb(index, k, heads)
            boundaries[b] = ts
            marked[b] = int(is_marked)
            is_marked = False
            more = take_trades_nb(trades, heads, offsets, ts, index, k)
            b += 1
    blocks = -(-b // TRADE_BLOCK)
    for i in range(len(heads)):
        index.block_heads[blocks, i] = heads[i]
    note_marked_nb(marked, b, index.next_marked)
    return b


@kernel
def note_marked_nb(marked: Flags, n: int, next_marked: Ints) -> None:
    """Write where the next marked boundary is, from the first one of each block on."""
    nearest = n
    for b in range(n - 1, -1, -1):
        if marked[b] == 1:
            nearest = b
        if b % TRADE_BLOCK == 0:
            next_marked[b // TRADE_BLOCK] = nearest
