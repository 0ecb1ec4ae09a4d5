"""Ticks: trades and quotes, their store, import, checks, and bars made of them."""

from qtsim.data.ticks.arrays import DayTicks, Quotes, TickDay, Trades, merge_by_time
from qtsim.data.ticks.bars import bars_of_trades
from qtsim.data.ticks.store import DayMerge, StoredDay, TickStore

__all__ = [
    "DayMerge",
    "DayTicks",
    "Quotes",
    "StoredDay",
    "TickDay",
    "TickStore",
    "Trades",
    "bars_of_trades",
    "merge_by_time",
]
