"""At what price and fee an order fills: the simulator's rule, written as exact decimals."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from qtsim.emulator.decimals import exact, to_tick

BPS = 1e-4


@dataclass(frozen=True)
class FillRule:
    """Slippage and fees of fills.

    Prices and fees are computed in binary floating point exactly as the simulator's kernels compute them (`costs.py`:
    price · (1 ± bps), price · qty · rate) and then written as decimals, so that a client that reads them back gets the
    simulator's very numbers.
    """

    maker: float = 0.0002
    """Fee of a resting limit order, ratio of notional."""
    taker: float = 0.0005
    """Fee of every other fill, ratio of notional."""
    slippage_bps: float = 0.0
    """Of market orders and triggered stops, against the order."""
    on_tick: bool = False
    """Round the slipped price to the tick, against the order; the simulator does not."""

    def market_price(self, last: Decimal, buys: bool, tick: Decimal) -> Decimal:
        """Price of a market fill around the last price."""
        if not self.slippage_bps:
            return last
        slipped = float(last) * (1.0 + (1.0 if buys else -1.0) * (self.slippage_bps * BPS))
        price = exact(slipped)
        return to_tick(price, tick, up=buys) if self.on_tick else price

    def fee(self, qty: Decimal, price: Decimal, *, maker: bool) -> Decimal:
        """Commission of one fill, quote currency."""
        return exact(float(qty) * float(price) * (self.maker if maker else self.taker))

    def liquidation_fee(self, qty: Decimal, price: Decimal, rate: float) -> Decimal:
        """Liquidation clearance fee, quote currency."""
        return exact(float(qty) * float(price) * rate)

    def funding(self, qty: Decimal, mark: Decimal, rate: Decimal) -> Decimal:
        """Funding of a signed quantity, received positive: a long pays a positive rate on the mark value."""
        side = 1.0 if qty > 0 else -1.0
        return exact(-side * float(rate) * float(mark) * float(abs(qty)))
