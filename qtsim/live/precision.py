"""Prices and quantities as the exchange takes them: whole ticks and steps, as plain decimal strings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from qtsim.errors import DataError


@dataclass(frozen=True)
class Filters:
    """A symbol's filters, read from the host that is traded on. Quantities base currency, money quote currency."""

    symbol: str
    tick: Decimal
    step: Decimal
    market_step: Decimal
    min_qty: Decimal
    max_qty: Decimal  # of one market order
    min_notional: Decimal
    status: str = "TRADING"
    limit_max_qty: Decimal = Decimal("Infinity")  # of one limit order

    @property
    def is_trading(self) -> bool:
        """May positions be opened?"""
        return self.status == "TRADING"

    def nearest_price(self, price: float) -> str:
        """The nearest tick, halves up."""
        return self._price(price, ROUND_HALF_UP)

    def floor_price(self, price: float) -> str:
        """The highest tick not above."""
        return self._price(price, ROUND_FLOOR)

    def ceil_price(self, price: float) -> str:
        """The lowest tick not below."""
        return self._price(price, ROUND_CEILING)

    def quantity(self, lots: int, lot: Decimal, *, at_market: bool = True) -> str:
        """`lots` of `lot` each, floored to the step of market orders, or of limit ones; never more than asked for.

        Raises
        ------
        ValueError
            Less than one step, or less than nothing.
        """
        wanted = Decimal(lots) * lot
        step = max(self.step, self.market_step) if at_market else self.step
        steps = (wanted / step).to_integral_value(ROUND_FLOOR)
        if lots <= 0 or steps <= 0:
            raise ValueError(f"{self.symbol}: a quantity of {wanted:f} is less than one step of {step:f}")
        return plain(steps * step)

    def refusal(self, lots: int, lot: Decimal, price: float, *, reduces: bool, at_market: bool = True) -> str:
        """Why the exchange would refuse an order of this quantity; empty where it would not."""
        qty = Decimal(lots) * lot
        most, name = (self.max_qty, "market maximum") if at_market else (self.limit_max_qty, "maximum")
        if qty > most:
            return f"quantity {plain(qty)} is above the {name} {plain(most)}"
        if reduces:
            return ""
        if not self.is_trading:
            return f"{self.symbol} is {self.status}: no entries"
        if qty < self.min_qty:
            return f"quantity {plain(qty)} is below the minimum {plain(self.min_qty)}"
        if qty * Decimal(repr(price)) < self.min_notional:
            return f"notional {float(qty) * price:g} is below the minimum {plain(self.min_notional)}"
        return ""

    def _price(self, price: float, rounding: str) -> str:
        # repr gives the shortest decimal that is the float: 0.1 + 0.2 is not a tick beyond 0.3
        ticks = Decimal(repr(float(price))) / self.tick
        near = ticks.to_integral_value(ROUND_HALF_UP)
        if abs(ticks - near) < _TICK_NOISE:
            return plain(near * self.tick)
        return plain(ticks.to_integral_value(rounding) * self.tick)


_TICK_NOISE = Decimal("1e-6")
"""Share of a tick that is a floating-point error."""


def plain(value: Decimal) -> str:
    """A decimal without exponent and trailing zeros: 1E+1 is 10, 0.10 is 0.1."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def filters_of(entry: Mapping[str, Any]) -> Filters:
    """Read a symbol's filters from its entry of exchangeInfo.

    Raises
    ------
    DataError
        A filter is missing or no number.
    """
    symbol = str(entry.get("symbol"))
    try:
        rules = {str(one["filterType"]): one for one in entry["filters"]}
        return Filters(
            symbol,
            tick=_positive(rules["PRICE_FILTER"]["tickSize"]),
            step=_positive(rules["LOT_SIZE"]["stepSize"]),
            market_step=_positive(rules["MARKET_LOT_SIZE"]["stepSize"]),
            min_qty=_positive(rules["LOT_SIZE"]["minQty"]),
            max_qty=_positive(rules["MARKET_LOT_SIZE"]["maxQty"]),
            min_notional=Decimal(str(rules["MIN_NOTIONAL"]["notional"])),
            status=str(entry.get("status", "TRADING")),
            limit_max_qty=_positive(rules["LOT_SIZE"]["maxQty"]),
        )
    except (KeyError, TypeError, InvalidOperation, ValueError) as error:
        raise DataError(f"{symbol}: the exchange's filters cannot be read: {error!r}") from error


def _positive(value: Any) -> Decimal:
    number = Decimal(str(value))
    if not number > 0:
        raise ValueError(f"{value} is not positive")
    return number
