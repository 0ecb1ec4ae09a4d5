"""Everything the exchange knows, in one place; the parts of the exchange work on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from qtsim.emulator.accounts import Account
from qtsim.emulator.algo_order import AlgoOrder
from qtsim.emulator.decimals import ZERO, divided
from qtsim.emulator.errors import ApiError
from qtsim.emulator.faults import Faults
from qtsim.emulator.filters import SymbolRules
from qtsim.emulator.market import SymbolMarket
from qtsim.emulator.oracle import Log
from qtsim.emulator.orders import Order, Params, needed
from qtsim.emulator.pricing import FillRule
from qtsim.emulator.streams import Streams


@dataclass
class Trade:
    """One fill of the account."""

    id: int
    order: Order
    qty: Decimal
    price: Decimal
    commission: Decimal
    realized: Decimal
    maker: bool
    ts_ms: int


@dataclass
class Income:
    """One change of the wallet."""

    tran_id: int
    symbol: str
    kind: str
    amount: Decimal
    ts_ms: int
    info: str
    trade_id: str = ""


@dataclass
class State:
    """The exchange's books. `now_ms` is the market's clock, `wall_ms` that of signatures, limits and sessions."""

    rules: dict[str, SymbolRules]
    fill_rule: FillRule
    account: Account
    markets: dict[str, SymbolMarket]
    streams: Streams
    faults: Faults
    log: Log
    now_ms: int = 0
    wall_ms: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    algos: dict[int, AlgoOrder] = field(default_factory=dict)
    open_orders: dict[int, Order] = field(default_factory=dict)
    open_algos: dict[int, AlgoOrder] = field(default_factory=dict)
    order_ids: dict[str, int] = field(default_factory=dict)
    """Client id → the newest order of that id."""
    algo_ids: dict[str, int] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    income: list[Income] = field(default_factory=list)
    next_order: int = 8_000_000_001
    next_algo: int = 1_000_000_000_000_001
    next_trade: int = 1
    next_tran: int = 1
    next_own_id: int = 1
    liquidating: bool = False
    kept: int | None = None
    """How many ended orders, fills and changes of the wallet are kept at least; None: all."""

    def market(self, symbol: str) -> SymbolMarket:
        """Raises ApiError -1121 for an unknown symbol, -1000 before its first price."""
        if symbol not in self.markets:
            raise ApiError(-1121)
        market = self.markets[symbol]
        if market.price is None or market.mark is None:
            raise ApiError(-1000, msg=f"{symbol} has no price yet.", status=503)
        return market

    def price(self, symbol: str) -> Decimal:
        """Last price of a symbol that has one."""
        price = self.market(symbol).price
        assert price is not None
        return price

    def mark(self, symbol: str) -> Decimal:
        """Mark price of a symbol that has one."""
        mark = self.market(symbol).mark
        assert mark is not None
        return mark

    def marks(self) -> dict[str, Decimal]:
        """Mark prices of all symbols that have one."""
        return {symbol: market.mark for symbol, market in self.markets.items() if market.mark is not None}

    def own_id(self, prefix: str) -> str:
        """A client id for an order that came without one."""
        self.next_own_id += 1
        return f"{prefix}{self.next_own_id - 1:016d}"

    def add_income(self, symbol: str, kind: str, amount: Decimal, info: str, trade_id: str = "") -> None:
        """Write a change of the wallet down; of 0 there is none."""
        if amount:
            self.income.append(Income(self.next_tran, symbol, kind, amount, self.now_ms, info, trade_id))
            self.next_tran += 1

    def forget_oldest(self) -> None:
        """Drop history beyond what is kept, now and then."""
        if self.kept is None:
            return
        for rows in (self.trades, self.income):
            if len(rows) > 2 * self.kept:
                del rows[: -self.kept]
        for held in (self.orders, self.algos):
            if len(held) > 2 * self.kept:
                ended = [key for key, order in held.items() if not order.is_open]
                for key in ended[: -self.kept]:
                    del held[key]
        if len(self.order_ids) > 2 * self.kept:
            self.order_ids = {name: key for name, key in self.order_ids.items() if key in self.orders}
        if len(self.algo_ids) > 2 * self.kept:
            self.algo_ids = {name: key for name, key in self.algo_ids.items() if key in self.algos}

    def note(self, kind: str, **data: Any) -> None:
        """Write a line of the log."""
        self.log.add(kind, self.now_ms, self.wall_ms, **data)

    def order_margin(self) -> Decimal:
        """Margin that resting orders hold back: of those that may open, at their limit price."""
        total = ZERO
        for order in self.open_orders.values():
            if not order.only_reduces:
                leverage = Decimal(self.account.settings_of(order.symbol).leverage)
                total += divided(order.rest * order.price, leverage)
        return total

    def available(self) -> Decimal:
        """What can back new positions and orders."""
        return self.account.available(self.marks(), self.order_margin())


def known_symbol(state: State, params: Params) -> str:
    """The mandatory symbol of a request. Raises ApiError."""
    symbol = needed(params, "symbol")
    if symbol not in state.rules:
        raise ApiError(-1121)
    return symbol


def optional_symbol(state: State, params: Params) -> str | None:
    """The symbol of a request; None where it names none. Raises ApiError."""
    return known_symbol(state, params) if params.get("symbol") else None
