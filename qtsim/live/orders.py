"""Requests to the exchange, what it answers, what its streams tell, and an order as this program follows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from qtsim.core.enums import Reason
from qtsim.errors import QtsimError
from qtsim.live.history import Bar
from qtsim.live.kinds import Module, OrderKind
from qtsim.live.outcomes import Outcome, Remedy
from qtsim.live.reconcile import OVER
from qtsim.live.snapshot import Execution, Resting, Snapshot


class QueryFailedError(QtsimError):
    """A question was not answered. It says nothing about what was asked for."""


@dataclass(frozen=True)
class OrderRequest:
    """An order as it leaves: decimal strings, no rounding left to do."""

    client_id: str
    kind: OrderKind
    symbol: str
    side: str  # BUY, SELL
    position_side: str  # BOTH, LONG, SHORT
    qty: str = ""  # empty: closePosition
    reduce_only: bool = False
    trigger: str = ""
    limit: str = ""
    working_type: str = "MARK_PRICE"
    good_till: int = 0  # ms; when a limit order ends by itself

    @property
    def is_algo(self) -> bool:
        """Does it go to the conditional order service?"""
        return bool(self.trigger)

    @property
    def is_limit(self) -> bool:
        """Is it an ordinary order with a limit, which may stand in the book?"""
        return bool(self.limit) and not self.is_algo

    @property
    def only_reduces(self) -> bool:
        """Can it never open a position?"""
        closes_side = (self.position_side == "LONG" and self.side == "SELL") or (
            self.position_side == "SHORT" and self.side == "BUY"
        )
        return self.reduce_only or not self.qty or closes_side


@dataclass(frozen=True)
class OrderState:
    """An order as the exchange describes it, in an answer or a query."""

    symbol: str
    client_id: str
    order_id: int
    status: str
    executed: str = "0"
    is_algo: bool = False
    child_id: int = 0  # of a conditional order that has triggered

    @property
    def is_over(self) -> bool:
        """Can nothing more of it be executed? A triggered conditional order has become an ordinary one."""
        return self.status in OVER


@dataclass(frozen=True)
class Reply:
    """What has become of a request that changes something."""

    outcome: Outcome
    remedy: Remedy
    text: str
    state: OrderState | None = None
    wait_s: float = 0.0  # of a ban: nothing can be sent for so long


# what streams tell ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderUpdate:
    """An order changed, and perhaps was executed."""

    state: OrderState
    ts: int
    execution: Execution | None = None
    average: str = "0"


@dataclass(frozen=True)
class AlgoUpdate:
    """A conditional order changed."""

    state: OrderState
    ts: int
    why: str = ""


@dataclass(frozen=True)
class PositionTold:
    """A position as an account's update tells it: quantity below 0 is a short."""

    symbol: str
    position_side: str
    qty: str
    entry_price: float


@dataclass(frozen=True)
class WalletUpdate:
    """Money or positions moved. reason: ORDER, FUNDING_FEE, DEPOSIT, …; change: of the wallet but by trading."""

    reason: str
    ts: int
    wallet: float
    change: float
    symbol: str = ""
    position_side: str = ""  # of the one position that it is about; empty where it is not told
    positions: tuple[PositionTold, ...] = ()


@dataclass(frozen=True)
class KeyExpired:
    """The user stream's key has ended: it tells nothing more."""


@dataclass(frozen=True)
class ConfigChanged:
    """A mode was changed on the exchange, or the leverage of a symbol."""

    text: str
    symbol: str = ""
    leverage: int = 0


@dataclass(frozen=True)
class Recall:
    """A slot's limit entry may not go on standing: somebody else trades there."""

    slot: int


UserEvent = OrderUpdate | AlgoUpdate | WalletUpdate | KeyExpired | ConfigChanged


@dataclass(frozen=True)
class LastPrice:
    """A trade's price."""

    symbol: str
    ts: int
    price: float


@dataclass(frozen=True)
class MarkPrice:
    """The mark price."""

    symbol: str
    ts: int
    mark: float


@dataclass(frozen=True)
class BarClosed:
    """A bar has closed."""

    symbol: str
    close: int
    bar: Bar


MarketEvent = LastPrice | MarkPrice | BarClosed


# the exchange ---------------------------------------------------------------------------------------------------------


class Exchange(Protocol):
    """What a dealer needs of an exchange. Questions raise QueryFailedError; requests answer in three values."""

    async def place(self, request: OrderRequest) -> Reply:
        """Send an order."""

    async def cancel(self, order: Resting) -> Reply:
        """Cancel an order of either world."""

    async def find(self, symbol: str, client_id: str, *, is_algo: bool) -> OrderState | None:
        """An order by its client id; None where the exchange knows none."""

    async def executions_of(self, symbol: str, order_id: int) -> list[Execution]:
        """The trades of one order."""

    async def client_id_of(self, symbol: str, order_id: int) -> str:
        """Whose an order is; empty where the exchange does not know it."""

    async def set_leverage(self, symbol: str, leverage: int) -> Reply:
        """Set a symbol's leverage."""

    async def snapshot(self, symbols: list[str], since: dict[str, int], *, whole: bool = True) -> Snapshot:
        """Positions, open orders of both worlds, balance, and the trades after the ids in `since`."""

    def now_ms(self) -> int:
        """The exchange's clock."""


@dataclass(frozen=True)
class Charge:
    """What a trade of somebody else has cost the account, or brought it; no profit or loss of ours."""

    ts: int
    symbol: str
    ref: str
    amount: float
    asset: str
    kind: str = "COMMISSION"


# an order of ours -----------------------------------------------------------------------------------------------------

SENT, LIVE, UNKNOWN, DONE = "sent", "live", "unknown", "done"


@dataclass
class Tracked:
    """An order of ours, from its intent to its end. Lots are positive."""

    client_id: str
    kind: OrderKind
    module: Module
    symbol: str
    slot: int
    trade_id: int
    side: int  # of the position: 1 long, -1 short
    lots: int
    reason: Reason
    ref_price: float
    request: OrderRequest
    is_leg: bool = False
    plan: Any = None  # plan_dt row of an entry
    sent_ms: int = 0
    status: str = SENT
    order_id: int = 0
    child_id: int = 0
    claimed: Decimal = Decimal(0)  # executed quantity as states tell it
    is_over: bool = False
    executions: dict[int, Execution] = field(default_factory=dict)
    tries: int = 0
    not_found: int = 0  # answers to questions about it that knew nothing of it
    asked_by_session: bool = True  # its slot waits for it
    trigger_price: float = float("nan")
    ended_ms: int = 0  # when it has ended
    replaces: str = ""  # client id of the stop that goes once this one rests
    stood: bool = False  # has it been told that a limit entry stands in the book?
    holds_slot: bool = True  # does its slot still wait for it?
    recalled: bool = False  # is a limit entry being cancelled, or will be once it is known to stand?
    ended_ns: int = 0  # when it ended, by the exchange's clock; 0: not told

    @property
    def is_entry(self) -> bool:
        """Does it open a position?"""
        return self.kind is OrderKind.ENTRY

    @property
    def is_limit(self) -> bool:
        """Is it an entry with a limit? Each execution of it is told as it comes."""
        return self.is_entry and self.request.is_limit

    @property
    def waits(self) -> bool:
        """Does it wait at the exchange, for its trigger or in the book, and nothing is to be done about it?"""
        return self.kind.rests or (self.stood and self.status == LIVE and not self.recalled and not self.is_over)

    @property
    def booked(self) -> Decimal:
        """Quantity of its executions that are known."""
        return sum((Decimal(one.qty) for one in self.executions.values()), Decimal(0))

    @property
    def is_unknown(self) -> bool:
        """Is its outcome still being asked for?"""
        return self.status == UNKNOWN

    @property
    def has_ended(self) -> bool:
        """Has its fill, or that there is none, been handed on?"""
        return self.status == DONE

    @property
    def is_whole(self) -> bool:
        """Has it ended, and is every execution of it known?"""
        return self.is_over and self.booked >= self.claimed


Sleep = Callable[[float], Any]
