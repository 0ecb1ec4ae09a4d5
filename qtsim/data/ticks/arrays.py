"""Trades and quotes as arrays, in the exchange's order. Times are int64 ns UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from qtsim.data.frames import Floats, Times

Flags: TypeAlias = npt.NDArray[np.bool_]
Columns: TypeAlias = dict[str, npt.NDArray[Any]]
"""Arrays of equal length by name: the columns of `Trades` or `Quotes`, while they are read and merged also `row`."""

TRADES, QUOTES = "trades", "quotes"


@dataclass(frozen=True)
class Chunk:
    """A part of a file: rows of one kind and symbol."""

    kind: str
    numbering: str
    symbol: str
    """As the rows name it; empty where they name none."""
    columns: Columns
    """Those of the kind, and `row`."""
    received: int = 0
    """Rows whose time is that of their receipt."""
    left_out: int = 0
    """Messages before and among them that are neither trades nor quotes."""


class Trades(NamedTuple):
    """Single or aggregate trades of one symbol, in the order of their ids; times never go back."""

    time: Times
    price: Floats
    qty: Floats  # base units
    id: Times  # the exchange's own
    is_buyer_maker: Flags  # the seller took: the trade happened at the bid

    @property
    def rows(self) -> int:
        """Number of trades."""
        return len(self.time)


class Quotes(NamedTuple):
    """Best bid and ask of one symbol, in the order of their updates; times never go back."""

    time: Times
    bid: Floats
    bid_qty: Floats
    ask: Floats
    ask_qty: Floats
    id: Times  # the exchange's update id, or a running number where none was recorded

    @property
    def rows(self) -> int:
        """Number of quotes."""
        return len(self.time)


class DayTicks(NamedTuple):
    """What one symbol did on one UTC day. Either may be empty."""

    trades: Trades
    quotes: Quotes


class TickDay(NamedTuple):
    """One UTC day of several symbols."""

    day: int  # midnight, ns
    ticks: dict[str, DayTicks]  # by symbol, in the order of names


DTYPES: Mapping[str, Mapping[str, str]] = {
    TRADES: {"time": "i8", "price": "f8", "qty": "f8", "id": "i8", "is_buyer_maker": "?"},
    QUOTES: {"time": "i8", "bid": "f8", "bid_qty": "f8", "ask": "f8", "ask_qty": "f8", "id": "i8"},
}
"""Columns of each kind, in the order in which they are stored."""


def no_columns(kind: str) -> Columns:
    """Return columns of a kind without rows."""
    return {name: np.zeros(0, dtype=dtype) for name, dtype in DTYPES[kind].items()}


def as_trades(columns: Columns) -> Trades:
    """Name the columns of trades."""
    return Trades(**{name: columns[name] for name in DTYPES[TRADES]})


def as_quotes(columns: Columns) -> Quotes:
    """Name the columns of quotes."""
    return Quotes(**{name: columns[name] for name in DTYPES[QUOTES]})


def take_rows(columns: Columns, rows: Any) -> Columns:
    """Return the rows that a slice, a mask or an index array picks."""
    return {name: values[rows] for name, values in columns.items()}


def join_columns(parts: Sequence[Columns]) -> Columns:
    """Put parts with the same columns one after another."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def merge_by_time(times: Mapping[str, Times]) -> tuple[Times, Times]:
    """Order the ticks of several symbols by time; at equal times by the symbol's name, then in their own order.

    Parameters
    ----------
    times : mapping
        Times of each symbol, none of which goes back.

    Returns
    -------
    symbol, row : int64 arrays
        For each tick in order: the place of its symbol among the sorted names, and its row there.
    """
    names = sorted(times)
    lengths = [len(times[name]) for name in names]
    symbol = np.repeat(np.arange(len(names), dtype=np.int64), lengths)
    row = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths] or [np.zeros(0, dtype=np.int64)])
    together = np.concatenate([times[name] for name in names] or [np.zeros(0, dtype=np.int64)])
    order = np.argsort(together, kind="stable")
    return symbol[order], row[order]
