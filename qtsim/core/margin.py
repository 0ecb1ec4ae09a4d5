"""Maintenance brackets, and the price at which the exchange liquidates an isolated position."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.records import Record


@kernel
def bracket_index_nb(notional: float, instrument: Record) -> int:
    """Bracket that holds `notional` (caps inclusive); the last one above all caps."""
    n = instrument["n_brackets"]
    for k in range(n - 1):
        if notional <= instrument["bracket_cap"][k]:
            return k
    return n - 1


@kernel
def maintenance_margin_nb(notional: float, instrument: Record) -> float:
    """notional · rate - amount of the bracket that holds it; notional at mark, quote."""
    k = bracket_index_nb(notional, instrument)
    return notional * instrument["bracket_rate"][k] - instrument["bracket_amount"][k]


@kernel
def bracket_liquidation_price_nb(
    side: float, qty: float, entry_price: float, wallet: float, maintenance_rate: float, maintenance_amount: float
) -> float:
    """LP = (WB + cum - side·Q·EP) / (Q·MMR - side·Q), isolated, for one bracket (Binance's published formula).

    side ±1, qty > 0 in base currency, wallet is the isolated margin in quote. Not positive: cannot be liquidated.
    """
    denominator = qty * maintenance_rate - side * qty
    if denominator == 0.0:
        return np.nan
    return (wallet + maintenance_amount - side * qty * entry_price) / denominator


@kernel
def liquidation_price_nb(side: float, qty: float, entry_price: float, wallet: float, instrument: Record) -> float:
    """Liquidation price with the bracket of the notional at that very price; NaN where none is positive.

    Walks the brackets from the lowest; the first whose own price lies inside it stands. Exposure at the
    liquidation price can fall between two brackets by rounding: then the higher bracket's price stands.
    """
    if qty <= 0.0:
        return np.nan
    n = instrument["n_brackets"]
    price = np.nan
    for k in range(n):
        price = bracket_liquidation_price_nb(
            side, qty, entry_price, wallet, instrument["bracket_rate"][k], instrument["bracket_amount"][k]
        )
        if k == n - 1 or abs(price) * qty <= instrument["bracket_cap"][k]:
            break
    if price > 0.0:
        return price
    return np.nan


@kernel
def liquidation_distance_nb(
    side: float, leverage: float, maintenance_rate: float, maintenance_amount: float, notional: float
) -> float:
    """d = (1/L - mmr + cum/notional) / (1 - mmr) of a long, over (1 + mmr) of a short; ratio of the entry price.

    notional 0 at planning, when the size is not known yet: the first bracket, whose cum is 0.
    """
    share = 0.0
    if notional > 0.0:
        share = maintenance_amount / notional
    return (1.0 / leverage - maintenance_rate + share) / (1.0 - side * maintenance_rate)
