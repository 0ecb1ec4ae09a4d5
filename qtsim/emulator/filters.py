"""The trading rules of a symbol, as exchangeInfo tells them and as orders are held to them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from qtsim.data.instruments import Bracket, Instrument
from qtsim.emulator.decimals import ZERO, exact, is_multiple, plain
from qtsim.emulator.errors import ApiError

QUOTES = ("USDT", "USDC", "FDUSD", "BUSD")
MAX_ORDERS = 200
ORDER_TYPES = (
    *("LIMIT", "MARKET", "STOP", "STOP_MARKET"),
    *("TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"),
)
CONDITIONAL_TYPES = ORDER_TYPES[2:]
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
UNBOUNDED_QTY = Decimal(1_000_000_000)
"""Shown where no largest quantity is known."""
CONTINUOUS_TICK = Decimal("0.00000001")


@dataclass(frozen=True)
class SymbolRules:
    """Steps, limits and margin brackets of one symbol."""

    symbol: str
    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    price_band: Decimal
    """Limit prices lie within mark · (1 ± this)."""
    trigger_protect: Decimal
    liquidation_fee: float
    brackets: tuple[Bracket, ...]
    status: str = "TRADING"

    @classmethod
    def of(cls, instrument: Instrument) -> SymbolRules:
        """The rules of an instrument of the table."""
        finite = instrument.max_qty != float("inf")
        market_max = exact(instrument.max_qty) if finite else UNBOUNDED_QTY
        return cls(
            symbol=instrument.symbol,
            tick=instrument.tick or CONTINUOUS_TICK,
            step=instrument.lot,
            min_qty=max(instrument.min_qty, instrument.lot),
            max_qty=market_max * 10 if finite else UNBOUNDED_QTY,
            market_max_qty=market_max,
            min_notional=exact(instrument.min_notional),
            price_band=Decimal("0.05"),
            trigger_protect=Decimal("0.05"),
            liquidation_fee=instrument.liquidation_fee,
            brackets=instrument.brackets,
        )

    @property
    def quote(self) -> str:
        """Asset of price and margin."""
        return next((quote for quote in QUOTES if self.symbol.endswith(quote)), "USDT")

    @property
    def base(self) -> str:
        """Asset of the quantity."""
        return self.symbol.removesuffix(self.quote)

    @property
    def max_leverage(self) -> int:
        """Of the first bracket."""
        return int(self.brackets[0].leverage)

    def bracket_of(self, notional: Decimal) -> Bracket:
        """The bracket that holds a notional, caps inclusive; the last one above all caps."""
        value = float(notional)
        return next((bracket for bracket in self.brackets[:-1] if value <= bracket.cap), self.brackets[-1])

    def maintenance(self, notional: Decimal) -> Decimal:
        """notional · rate - amount of the bracket that holds it, quote."""
        bracket = self.bracket_of(notional)
        return notional * exact(bracket.rate) - exact(bracket.amount)

    def largest_notional(self, leverage: int) -> float:
        """Highest cap whose bracket allows the leverage; inf where the last bracket does."""
        allowed = [bracket.cap for bracket in self.brackets if leverage <= bracket.leverage]
        return max(allowed, default=0.0)


def check_qty(rules: SymbolRules, qty: Decimal, *, market: bool) -> None:
    """LOT_SIZE and MARKET_LOT_SIZE. Raises ApiError."""
    if qty <= 0:
        raise ApiError(-4003)
    if qty < rules.min_qty:
        raise ApiError(-4004)
    if qty > (rules.market_max_qty if market else rules.max_qty):
        raise ApiError(-4005)
    if not is_multiple(qty, rules.step):
        raise ApiError(-1111)


def check_price(rules: SymbolRules, price: Decimal) -> None:
    """PRICE_FILTER, of a price and of a trigger price alike. Raises ApiError."""
    if price <= 0:
        raise ApiError(-4013)
    if not is_multiple(price, rules.tick):
        raise ApiError(-4014)


def check_band(rules: SymbolRules, buys: bool, price: Decimal, mark: Decimal) -> None:
    """PERCENT_PRICE of a limit order: a buy not above, a sell not below the band around the mark. Raises ApiError."""
    cap, floor = mark * (1 + rules.price_band), mark * (1 - rules.price_band)
    if buys and price > cap:
        raise ApiError(-4016, msg=f"Limit price can't be higher than {plain(cap)}.")
    if not buys and price < floor:
        raise ApiError(-4024, msg=f"Limit price can't be lower than {plain(floor)}.")


def check_notional(rules: SymbolRules, notional: Decimal, *, reduces: bool) -> None:
    """MIN_NOTIONAL; orders that only reduce are free of it. Raises ApiError."""
    if not reduces and notional < rules.min_notional:
        raise ApiError(-4164, plain(rules.min_notional))


def check_status(rules: SymbolRules, *, reduces: bool) -> None:
    """A symbol that is not traded any more can only be left. Raises ApiError."""
    if not reduces and rules.status != "TRADING":
        raise ApiError(-4140)


def exchange_info(rules: SymbolRules) -> dict[str, Any]:
    """The symbol's entry of exchangeInfo."""
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1567965300000,
        "status": rules.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base,
        "quoteAsset": rules.quote,
        "marginAsset": rules.quote,
        "pricePrecision": _places(rules.tick),
        "quantityPrecision": _places(rules.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": plain(rules.trigger_protect),
        "liquidationFee": f"{rules.liquidation_fee:.6f}",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": plain(rules.tick),
                "maxPrice": "4529764",
                "tickSize": plain(rules.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": plain(rules.min_qty),
                "maxQty": plain(rules.max_qty),
                "stepSize": plain(rules.step),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": plain(rules.min_qty),
                "maxQty": plain(rules.market_max_qty),
                "stepSize": plain(rules.step),
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": MAX_ORDERS},
            {"filterType": "MIN_NOTIONAL", "notional": plain(rules.min_notional)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": plain(1 + rules.price_band),
                "multiplierDown": plain(1 - rules.price_band),
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": list(ORDER_TYPES),
        "timeInForce": list(TIMES_IN_FORCE),
        "permissionSets": [],
    }


def leverage_brackets(rules: SymbolRules) -> dict[str, Any]:
    """The symbol's entry of leverageBracket."""
    rows, floor = [], ZERO
    for k, bracket in enumerate(rules.brackets):
        cap = 10**15 if bracket.cap == float("inf") else bracket.cap
        rows.append(
            {
                "bracket": k + 1,
                "initialLeverage": int(bracket.leverage),
                "notionalCap": int(cap),
                "notionalFloor": int(floor),
                "maintMarginRatio": bracket.rate,
                "cum": bracket.amount,
            }
        )
        floor = exact(float(cap))
    return {"symbol": rules.symbol, "notionalCoef": 1.0, "brackets": rows}


def _places(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))
