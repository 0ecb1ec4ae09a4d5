"""Orders as the exchange keeps them, and how a request becomes one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from qtsim.emulator.accounts import BOTH, LONG, SHORT
from qtsim.emulator.decimals import ZERO, divided
from qtsim.emulator.errors import ApiError, illegal, invalid, missing, not_required
from qtsim.emulator.filters import CONDITIONAL_TYPES, ORDER_TYPES, TIMES_IN_FORCE

Params = Mapping[str, str]

NEW, PARTIALLY_FILLED, FILLED = "NEW", "PARTIALLY_FILLED", "FILLED"
CANCELED, REJECTED, EXPIRED = "CANCELED", "REJECTED", "EXPIRED"
OPEN_STATUSES = (NEW, PARTIALLY_FILLED)
MARKET, LIMIT = "MARKET", "LIMIT"
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_NUMBER = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
_WHOLE = re.compile(r"^[0-9]{1,20}$")
_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")


@dataclass
class Order:
    """A regular order. Prices and quantities in quote and base currency, times in ms."""

    id: int
    client_id: str
    symbol: str
    buys: bool
    position_side: str
    type: str
    time_in_force: str
    qty: Decimal
    price: Decimal
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: str = NEW
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    original_type: str = ""
    stop_price: Decimal = ZERO
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    stp: str = "EXPIRE_MAKER"
    good_till_ms: int = 0
    algo_id: int = 0
    realized: Decimal = ZERO
    source: str = "user"
    """user, foreign, algo or liquidation: who wanted it."""
    expire_reason: str = "0"

    @property
    def side(self) -> str:
        """BUY or SELL."""
        return "BUY" if self.buys else "SELL"

    @property
    def is_open(self) -> bool:
        """Does it still rest?"""
        return self.status in OPEN_STATUSES

    @property
    def rest(self) -> Decimal:
        """Quantity not executed."""
        return self.qty - self.executed

    @property
    def average_price(self) -> Decimal:
        """Of what was executed; 0 before."""
        return divided(self.quote, self.executed) if self.executed else ZERO

    def closes_side(self) -> bool:
        """In hedge mode: does it reduce its position side?"""
        return (self.position_side == LONG and not self.buys) or (self.position_side == SHORT and self.buys)

    @property
    def only_reduces(self) -> bool:
        """Can it never open a position? reduceOnly, closePosition, or against its side in hedge mode."""
        return self.reduce_only or self.close_position or self.closes_side()


def flag(params: Params, name: str) -> bool:
    """A boolean parameter; absent is false. Raises ApiError."""
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise invalid(name)
    return text == "true"


def number(params: Params, name: str) -> Decimal | None:
    """A decimal parameter, None where it is absent: digits with at most one point, no sign, no exponent.

    Raises ApiError.
    """
    text = params.get(name, "")
    if not text:
        return None
    if not _NUMBER.match(text):
        raise illegal(name, _NUMBER.pattern)
    return Decimal(text)


def whole(params: Params, name: str) -> int | None:
    """An integer parameter, None where it is absent. Raises ApiError."""
    text = params.get(name, "")
    if not text:
        return None
    if not _WHOLE.match(text):
        raise illegal(name, _WHOLE.pattern)
    return int(text)


def read_limit(params: Params, default: int, most: int) -> int:
    """How many rows are asked for, at most `most`. Raises ApiError."""
    limit = whole(params, "limit")
    if limit is None:
        return default
    if limit < 1:
        raise invalid("limit")
    return min(limit, most)


def needed(params: Params, name: str) -> str:
    """A mandatory text parameter. Raises ApiError."""
    text = params.get(name, "")
    if not text:
        raise missing(name)
    return text


def needed_number(params: Params, name: str) -> Decimal:
    """A mandatory decimal parameter. Raises ApiError."""
    value = number(params, name)
    if value is None:
        raise missing(name)
    return value


def read_buys(params: Params) -> bool:
    """Is the side BUY? Raises ApiError."""
    side = needed(params, "side")
    if side not in ("BUY", "SELL"):
        raise ApiError(-1117)
    return side == "BUY"


def read_position_side(params: Params, hedge: bool) -> str:
    """BOTH in one-way mode, LONG or SHORT in hedge mode. Raises ApiError."""
    side = params.get("positionSide", BOTH)
    if side not in (BOTH, LONG, SHORT):
        raise invalid("positionSide")
    if (side == BOTH) == hedge:
        raise ApiError(-4061)
    return side


def read_reduce_only(params: Params, hedge: bool) -> bool:
    """In hedge mode the parameter has no place. Raises ApiError."""
    if hedge and "reduceOnly" in params:
        raise not_required("reduceonly")
    return flag(params, "reduceOnly")


def read_client_id(params: Params, name: str) -> str:
    """A caller's own id, or empty. Raises ApiError."""
    text = params.get(name, "")
    if text and not _CLIENT_ID.match(text):
        raise ApiError(-4015)
    return text


def read_type(params: Params) -> str:
    """LIMIT or MARKET; conditional types have their own service. Raises ApiError."""
    kind = needed(params, "type")
    if kind in CONDITIONAL_TYPES:
        raise ApiError(-4120)
    if kind not in ORDER_TYPES:
        raise ApiError(-1116)
    return kind


def read_time_in_force(params: Params, *, default: str = "") -> str:
    """Raises ApiError."""
    text = params.get("timeInForce", default)
    if not text:
        raise missing("timeInForce")
    if text not in TIMES_IN_FORCE:
        raise ApiError(-1115)
    return text


def read_stp(params: Params) -> str:
    """Self-trade prevention mode. Raises ApiError."""
    mode = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
    if mode not in STP_MODES:
        raise invalid("selfTradePreventionMode")
    return mode
