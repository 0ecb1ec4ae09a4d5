"""The exchange's truth as it was read: positions, orders of both worlds, executions, balance. And ours, to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[str, str]
"""(symbol, position side): BOTH in one-way mode, LONG or SHORT in hedge mode."""


@dataclass(frozen=True)
class Held:
    """A position on the exchange. `lots` is signed: below 0 a short."""

    symbol: str
    position_side: str
    lots: int
    entry_price: float
    mark: float = float("nan")
    leverage: float = float("nan")
    isolated_margin: float = float("nan")

    @property
    def key(self) -> Key:
        """Its place."""
        return self.symbol, self.position_side


@dataclass(frozen=True)
class Resting:
    """An open order, of either world. `is_algo`: of the conditional order service."""

    symbol: str
    client_id: str
    order_id: int
    side: str
    position_side: str
    is_algo: bool
    status: str = "NEW"
    close_position: bool = False
    trigger: float = float("nan")
    updated: int = 0  # ms
    price: float = float("nan")  # of a limit order


@dataclass(frozen=True)
class Execution:
    """One trade of the exchange. Quantities and money are decimal strings, as the exchange states them."""

    symbol: str
    exchange_id: int
    ts: int  # ns
    client_id: str  # empty where the answer does not say
    order_id: int
    side: str
    position_side: str
    qty: str
    price: str
    fee: str = "0"
    fee_asset: str = "USDT"
    realized: str = "0"
    is_maker: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What one round of queries found. A query that failed makes no snapshot: nothing is ever flat by failing."""

    ts: int
    positions: Mapping[Key, Held]
    orders: tuple[Resting, ...]
    executions: tuple[Execution, ...] = ()
    wallet: float = float("nan")
    available: float = float("nan")

    def is_like(self, other: Snapshot) -> bool:
        """Do two rounds agree on what is held and what rests?"""
        mine = {key: held.lots for key, held in self.positions.items() if held.lots}
        theirs = {key: held.lots for key, held in other.positions.items() if held.lots}
        return mine == theirs and {o.order_id for o in self.orders} == {o.order_id for o in other.orders}


@dataclass(frozen=True)
class Local:
    """What this program believes. Quantities are signed lots of what its executions add up to."""

    lots: Mapping[Key, int]
    trades: frozenset[tuple[str, int]] = frozenset()
    live: frozenset[str] = frozenset()  # client ids that are believed to rest or to be under way
    unresolved: frozenset[str] = frozenset()  # client ids whose outcome is not known
    entries: frozenset[str] = frozenset()  # client ids of entries that have not ended
    stops_asked: frozenset[Key] = frozenset()  # positions whose missing stop is being placed
    cancels_asked: frozenset[int] = frozenset()  # order ids that are being cancelled
    disputed: Mapping[Key, int] = field(default_factory=dict)  # lots of the exchange that a first look found
