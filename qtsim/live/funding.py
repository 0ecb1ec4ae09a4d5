"""Whose a funding payment is: in hedge mode both sides of a symbol may be open, and each pays or is paid."""

from __future__ import annotations

import math
from collections.abc import Mapping


def shares_of(change: float, quantities: Mapping[int, float], price: float, rate: float) -> dict[int, float]:
    """What each open slot of a symbol gets of a payment whose side was not told.

    Parameters
    ----------
    change : float
        What the wallet was changed by, quote currency.
    quantities : mapping
        Slot → signed quantity, base currency: above 0 long.
    price, rate : float
        Mark price and rate of the payment; NaN where they are not known.

    Returns
    -------
    dict
        Slot → its share; the shares add up to `change`. A slot that has no part in it is missing.
    """
    if len(quantities) == 1:
        return dict.fromkeys(quantities, change)
    expected = {slot: -qty * price * rate for slot, qty in quantities.items()}
    if any(math.isnan(amount) for amount in expected.values()):
        return {slot: change / len(quantities) for slot in quantities}
    net = sum(expected.values())
    nearest = min(expected, key=lambda slot: (abs(change - expected[slot]), slot))
    if abs(change - expected[nearest]) <= abs(change - net):
        return {nearest: change}
    rest = (change - net) / len(expected)
    return {slot: amount + rest for slot, amount in expected.items()}
