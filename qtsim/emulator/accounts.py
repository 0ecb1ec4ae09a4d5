"""The account: wallet, positions, margins, and the only function that a fill changes them by.

A position keeps the exact cost of what is open instead of a rounded entry price, so that wallet + unrealised PnL always
equals what all fills paid and received: a close takes its share of the cost out and books the rest as PnL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from qtsim.emulator.decimals import ZERO, divided, exact
from qtsim.emulator.filters import SymbolRules

BOTH, LONG, SHORT = "BOTH", "LONG", "SHORT"


@dataclass
class Position:
    """One symbol's position, in hedge mode one side of it."""

    symbol: str
    side: str
    qty: Decimal = ZERO
    """Base currency, below 0 short."""
    cost: Decimal = ZERO
    """Sum of quantity · price of what is open, signed as the quantity."""
    isolated: bool = False
    isolated_wallet: Decimal = ZERO
    realized: Decimal = ZERO
    updated_ms: int = 0

    @property
    def entry_price(self) -> Decimal:
        """Average entry price; 0 when flat."""
        return divided(self.cost, self.qty) if self.qty else ZERO

    def unrealized(self, mark: Decimal) -> Decimal:
        """PnL at a mark price, quote."""
        return self.qty * mark - self.cost


@dataclass
class SymbolSettings:
    """What the user has set for one symbol."""

    leverage: int = 20
    isolated: bool = False


class Booked(NamedTuple):
    """What a fill did to a position."""

    realized: Decimal
    closed: Decimal
    """Quantity taken off the position, 0 or more."""
    opened: Decimal
    """Quantity added to it, or opened on the other side after it was flat."""


@dataclass
class Account:
    """One account in one margin asset."""

    rules: Mapping[str, SymbolRules]
    wallet: Decimal
    asset: str = "USDT"
    hedge: bool = False
    multi_assets: bool = False
    settings: dict[str, SymbolSettings] = field(default_factory=dict)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    updated_ms: int = 0

    def settings_of(self, symbol: str) -> SymbolSettings:
        """The symbol's settings; the exchange's defaults until something is set."""
        if symbol not in self.settings:
            self.settings[symbol] = SymbolSettings(leverage=min(20, self.rules[symbol].max_leverage))
        return self.settings[symbol]

    def position(self, symbol: str, side: str) -> Position:
        """The position of a symbol and side, flat where nothing is open."""
        key = (symbol, side)
        if key not in self.positions:
            self.positions[key] = Position(symbol, side, isolated=self.settings_of(symbol).isolated)
        return self.positions[key]

    def open_positions(self, symbol: str | None = None) -> Iterator[Position]:
        """What is open, in the order of symbol and side."""
        for key in sorted(self.positions):
            position = self.positions[key]
            if position.qty and symbol in (None, position.symbol):
                yield position

    def sides(self) -> tuple[str, ...]:
        """Position sides of the mode."""
        return (LONG, SHORT) if self.hedge else (BOTH,)

    # margins ---------------------------------------------------------------------------------------------------------

    @property
    def isolated_wallets(self) -> Decimal:
        """Margins set aside for isolated positions."""
        return sum((p.isolated_wallet for p in self.positions.values() if p.isolated), ZERO)

    @property
    def cross_wallet(self) -> Decimal:
        """What of the wallet backs cross positions."""
        return self.wallet - self.isolated_wallets

    def unrealized(self, marks: Mapping[str, Decimal], *, cross_only: bool = False) -> Decimal:
        """PnL of what is open at the marks."""
        return sum(
            (p.unrealized(marks[p.symbol]) for p in self.open_positions() if not (cross_only and p.isolated)), ZERO
        )

    def initial_margin(self, position: Position, mark: Decimal) -> Decimal:
        """|qty| · mark / leverage."""
        leverage = self.settings_of(position.symbol).leverage
        return divided(abs(position.qty) * mark, Decimal(leverage))

    def maintenance(self, position: Position, mark: Decimal) -> Decimal:
        """Maintenance margin at mark."""
        return self.rules[position.symbol].maintenance(abs(position.qty) * mark)

    def cross_maintenance(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Maintenance margins of the cross positions."""
        return sum((self.maintenance(p, marks[p.symbol]) for p in self.open_positions() if not p.isolated), ZERO)

    def available(self, marks: Mapping[str, Decimal], order_margin: Decimal = ZERO) -> Decimal:
        """What can back new positions: cross wallet and cross PnL less the margins of cross positions and orders."""
        used = sum(
            (self.initial_margin(p, marks[p.symbol]) for p in self.open_positions() if not p.isolated), order_margin
        )
        return max(ZERO, self.cross_wallet + self.unrealized(marks, cross_only=True) - used)

    def liquidation_price(self, position: Position, marks: Mapping[str, Decimal]) -> Decimal:
        """LP = (WB - TMM + UPNL + cum - side·Q·EP) / (Q·MMR - side·Q), bracket by the notional at LP; 0: none.

        Isolated: WB is the position's own wallet. Cross: the cross wallet, less the maintenance margins and with the
        PnL of the other contracts. Of a hedged symbol the other side counts among the others at the current mark.
        """
        if not position.qty:
            return ZERO
        wallet = position.isolated_wallet
        if not position.isolated:
            wallet = self.cross_wallet
            for other in self.open_positions():
                if other is not position and not other.isolated:
                    mark = marks[other.symbol]
                    wallet += other.unrealized(mark) - self.maintenance(other, mark)
        qty = abs(position.qty)
        brackets = self.rules[position.symbol].brackets
        for bracket in brackets:
            slope = qty * exact(bracket.rate) - position.qty
            price = divided(wallet + exact(bracket.amount) - position.cost, slope) if slope else ZERO
            if bracket is brackets[-1] or abs(price) * qty <= exact(bracket.cap):
                return max(ZERO, price)
        return ZERO

    # fills -----------------------------------------------------------------------------------------------------------

    def book(self, position: Position, buys: bool, qty: Decimal, price: Decimal, ts_ms: int) -> Booked:
        """Apply one fill to a position and the wallet; fees are charged apart.

        A fill against the position closes first; what is left over opens the other side, in one-way mode.
        """
        signed = qty if buys else -qty
        closed = min(qty, abs(position.qty)) if position.qty * signed < 0 else ZERO
        realized = ZERO
        if closed:
            realized = self._close(position, closed, price)
        opened = qty - closed
        if opened:
            self._open(position, opened if buys else -opened, price)
        self.wallet += realized
        position.realized += realized
        position.updated_ms = self.updated_ms = ts_ms
        return Booked(realized, closed, opened)

    def _close(self, position: Position, qty: Decimal, price: Decimal) -> Decimal:
        whole = abs(position.qty)
        is_all = qty == whole
        cost = position.cost if is_all else divided(position.cost * qty, whole)
        margin = position.isolated_wallet if is_all else divided(position.isolated_wallet * qty, whole)
        signed = qty if position.qty > 0 else -qty
        position.qty -= signed
        position.cost -= cost
        position.isolated_wallet -= margin
        return signed * price - cost

    def _open(self, position: Position, signed: Decimal, price: Decimal) -> None:
        settings = self.settings_of(position.symbol)
        if not position.qty:
            position.isolated = settings.isolated
            position.realized = ZERO
        position.qty += signed
        position.cost += signed * price
        if position.isolated:
            position.isolated_wallet += divided(abs(signed) * price, Decimal(settings.leverage))

    def pay(self, amount: Decimal, ts_ms: int, position: Position | None = None) -> None:
        """Move the wallet by fees, funding or transfers; with a position an isolated margin moves along."""
        self.wallet += amount
        self.updated_ms = ts_ms
        if position is not None and position.isolated:
            position.isolated_wallet += amount
