"""Policy profit_lock: between return on margin (ROE) and price, so that every trigger is a price.

ROE = (price PnL - paid and expected closing costs) / initial margin, here of one unit of the position: with entry
price e, taker fee t, slippage s and leverage L, closed from the path's price p at p' = p·(1 - side·s),

    ROE(p) = L / e · (side·(p' - e) - t·e - t·p')

Partial closes and funding leave it as it is: all units of a position have the same ROE. The slippage of the entry is in
its price. ROE is linear in p and 0 at the net breakeven price b, so a share q of the ROE at a price p is that of
b + q·(p - b).
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.params import LADDER_MAX
from qtsim.core.records import Record


@kernel
def roe_ratio_nb(roe: float, side: float, leverage: float, taker: float, slippage: float) -> float:
    """Distance in the position's favour, a ratio of the entry price, at which ROE is `roe`; inf where that is inf.

    ROE(p) = roe solved for p / e: (1 + side·(t + roe / L)) / ((1 - side·t)·(1 - side·s)).
    """
    if roe == np.inf:
        return np.inf
    price = (1.0 + side * (taker + roe / leverage)) / ((1.0 - side * taker) * (1.0 - side * slippage))
    return side * (price - 1.0)


@kernel
def planned_roe_ratio_nb(roe: float, plan: Record, params: Record) -> float:
    """The same with a plan's side, leverage and costs."""
    return roe_ratio_nb(roe, float(plan["side"]), plan["leverage"], params["costs"]["fees_taker"], plan["slippage"])


@kernel
def locked_share_nb(position: Record, peak: float, exits: Record) -> float:
    """Share of the peak's ROE that the ladder locks: of the highest rung that the peak has reached; NaN: none."""
    share = np.nan
    for k in range(LADDER_MAX):
        if position["side"] * (peak - position["rung_price"][k]) >= 0.0:
            share = exits["profit_lock_ladder"][k, 1]
    return share


@kernel
def locked_price_nb(position: Record, peak: float, exits: Record) -> float:
    """Price at which the locked share of the peak's ROE is left; NaN: nothing is locked."""
    net = position["net_price"]
    return net + locked_share_nb(position, peak, exits) * (peak - net)
