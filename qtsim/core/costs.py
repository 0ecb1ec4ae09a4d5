"""What a trade costs: fees, slippage, funding, and the estimate that sizing, safety and the report use."""

from __future__ import annotations

import math

from qtsim.core._jit import kernel
from qtsim.core.enums import SlippageModel
from qtsim.core.records import Record

BPS = 1e-4
FUNDING_INTERVAL_HOURS = 8.0
WORST_IMPACT = 0.5
"""Slippage that the model `impact` does not exceed: beyond it the formula says nothing."""
VOLATILE = 1.0
"""volatility_factor from which the slippage model `size` adds `volatile_bps`."""


@kernel
def slippage_ratio_nb(notional: float, market: Record, costs: Record) -> float:
    """Slippage of one market fill as a ratio of its price. market: the point, what is known there.

    fixed: `bps`. size: `bps` up to `large_notional`, `large_bps` above, plus `volatile_bps` while
    volatility_factor >= 1. spread: half the quoted spread. impact: `bps` and impact · ATR % · sqrt(value / value of the
    bar), at most half the price; `bps` alone where nothing was traded.
    """
    model = costs["slippage_model"]
    if model == SlippageModel.FIXED:
        return costs["slippage_bps"] * BPS
    if model == SlippageModel.SPREAD:
        return market["half_spread"]
    if model == SlippageModel.IMPACT:
        thinness = market["thinness"]
        if thinness != thinness:
            return costs["slippage_bps"] * BPS
        ratio = costs["slippage_bps"] * BPS + costs["slippage_impact"] * thinness * math.sqrt(notional)
        return min(ratio, WORST_IMPACT)
    bps = costs["slippage_bps"]
    if notional > costs["slippage_large_notional"]:
        bps = costs["slippage_large_bps"]
    if market["volatility_factor"] >= VOLATILE:
        bps += costs["slippage_volatile_bps"]
    return bps * BPS


@kernel
def slipped_price_nb(ref_price: float, order_side: float, ratio: float) -> float:
    """Price of a market fill: a buy (order_side +1) pays more than the path, a sell (-1) gets less."""
    return ref_price * (1.0 + order_side * ratio)


@kernel
def fee_nb(notional: float, rate: float) -> float:
    """price · qty · rate of one fill, quote currency."""
    return notional * rate


@kernel
def round_trip_ratio_nb(notional: float, market: Record, costs: Record) -> float:
    """Fees and slippage of entering and leaving at market, as a ratio of the notional."""
    return 2.0 * costs["fees_taker"] + 2.0 * slippage_ratio_nb(notional, market, costs)


@kernel
def funding_amount_nb(side: float, qty: float, mark_price: float, rate: float) -> float:
    """Received positive: a long pays a positive rate, on the mark value."""
    return -side * rate * mark_price * qty


@kernel
def estimate_cost_nb(
    notional: float, holding_hours: float, funding_rate: float, market: Record, costs: Record
) -> float:
    """Expected cost of a round trip in quote currency: fees, slippage, and funding at `funding_rate` per 8 h."""
    funding = notional * funding_rate * holding_hours / FUNDING_INTERVAL_HOURS
    return notional * round_trip_ratio_nb(notional, market, costs) + funding
