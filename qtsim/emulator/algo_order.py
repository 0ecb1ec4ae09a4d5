"""A conditional order as the algo service keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from qtsim.emulator.accounts import LONG, SHORT
from qtsim.emulator.decimals import ZERO

NEW, TRIGGERING, TRIGGERED, FINISHED = "NEW", "TRIGGERING", "TRIGGERED", "FINISHED"
CANCELED, REJECTED, EXPIRED = "CANCELED", "REJECTED", "EXPIRED"
OPEN_ALGO_STATUSES = (NEW, TRIGGERING)
TRAILING = "TRAILING_STOP_MARKET"
CLOSING_TYPES = ("STOP_MARKET", "TAKE_PROFIT_MARKET")
"""Types that closePosition is for."""
LIMIT_TYPES = ("STOP", "TAKE_PROFIT")
MARK_PRICE, CONTRACT_PRICE = "MARK_PRICE", "CONTRACT_PRICE"


@dataclass
class AlgoOrder:
    """A conditional order; it becomes a regular one when its trigger is reached."""

    id: int
    client_id: str
    symbol: str
    buys: bool
    position_side: str
    type: str
    qty: Decimal
    price: Decimal
    trigger_price: Decimal
    working_type: str
    close_position: bool
    reduce_only: bool
    price_protect: bool
    time_in_force: str
    stp: str
    good_till_ms: int
    created_ms: int
    updated_ms: int
    status: str = NEW
    activate_price: Decimal = ZERO
    callback_rate: Decimal = ZERO
    activated: bool = False
    extreme: Decimal = ZERO
    """Highest price since activation of a selling trail, lowest of a buying one."""
    trigger_ms: int = 0
    child_id: int = 0
    reason: str = ""

    @property
    def side(self) -> str:
        """BUY or SELL."""
        return "BUY" if self.buys else "SELL"

    @property
    def is_open(self) -> bool:
        """Does it still wait?"""
        return self.status in OPEN_ALGO_STATUSES

    @property
    def only_reduces(self) -> bool:
        """Can it never open a position?"""
        closes_side = (self.position_side == LONG and not self.buys) or (self.position_side == SHORT and self.buys)
        return self.reduce_only or self.close_position or closes_side

    @property
    def child_type(self) -> str:
        """Type of the order that it becomes."""
        return "LIMIT" if self.type in LIMIT_TYPES else "MARKET"

    def is_reached(self, price: Decimal) -> bool:
        """Does a price trigger it? Stops trigger on their adverse side, take profits on the other.

        A trailing stop first waits for its activation price, then for a move back of its rate from the extreme.
        """
        if self.type == TRAILING:
            return self._trails_to(price)
        rises = self.buys == self.type.startswith("STOP")
        return price >= self.trigger_price if rises else price <= self.trigger_price

    def _trails_to(self, price: Decimal) -> bool:
        if not self.activated:
            waits = self.activate_price and (price > self.activate_price if self.buys else price < self.activate_price)
            if waits:
                return False
            self.activated, self.extreme = True, price
        self.extreme = min(self.extreme, price) if self.buys else max(self.extreme, price)
        away = self.callback_rate / 100
        return price >= self.extreme * (1 + away) if self.buys else price <= self.extreme * (1 - away)
