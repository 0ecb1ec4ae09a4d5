"""Trailing stop: starts at a profit, follows the best price at a distance, only ever tightens."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import TrailMode
from qtsim.core.profit_lock import locked_price_nb
from qtsim.core.records import Record


@kernel
def trail_starts_nb(position: Record, price: float) -> bool:
    """Has the price reached the activation of a trail that is not active yet?"""
    if position["trail_mode"] == TrailMode.OFF or position["trail_active"] == 1:
        return False
    return position["side"] * (price - position["trail_activate_price"]) >= 0.0


@kernel
def trail_price_nb(position: Record, peak: float, atr: float, exits: Record) -> float:
    """peak - m·ATR of a long, peak·(1 - distance), or what the ladder locks; NaN: the trail does not move.

    It does not where ATR is zero or unknown.
    """
    side = float(position["side"])
    if position["trail_mode"] == TrailMode.LADDER:
        return locked_price_nb(position, peak, exits)
    if position["trail_mode"] == TrailMode.PERCENT:
        return peak * (1.0 - side * position["trail_distance"])
    if not atr > 0.0:
        return np.nan
    return peak - side * position["trail_multiple"] * atr


@kernel
def better_price_nb(peak: float, price: float, side: float) -> float:
    """The better of two prices for a position of `side`."""
    if side > 0:
        return max(peak, price)
    return min(peak, price)
