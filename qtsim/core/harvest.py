"""Harvesting: which share of a position each target closes, in whole lots, without dust."""

from __future__ import annotations

import math

from qtsim.core._jit import kernel
from qtsim.core.enums import HarvestBasis, HarvestBy
from qtsim.core.floats import STEP_TOLERANCE, ULP
from qtsim.core.params import HARVEST_TIERS_MAX
from qtsim.core.records import Record


@kernel
def set_fractions_nb(plan: Record, harvest: Record) -> None:
    """Fractions of the three legs: by the leverage's tier (its upper end inclusive), or static."""
    if harvest["scheme_by"] == HarvestBy.STATIC:
        for k in range(3):
            plan["fractions"][k] = harvest["scheme_static"][k]
        return
    row = HARVEST_TIERS_MAX - 1
    for tier in range(HARVEST_TIERS_MAX):
        if plan["leverage"] <= harvest["scheme_tiers"][tier, 0]:
            row = tier
            break
    for k in range(3):
        plan["fractions"][k] = harvest["scheme_tiers"][row, k + 1]


@kernel
def floor_share_nb(lots: int, share: float) -> int:
    """Whole lots in a share of `lots`."""
    exact = lots * share
    return math.floor(exact + STEP_TOLERANCE + ULP * exact)


@kernel
def set_leg_lots_nb(position: Record, first: int, basis: int, min_lots: int) -> None:
    """Lots closed once leg k has filled, cumulative: position.tp_lots, of the legs from `first` on.

    They share out the quantity Q that is open. basis (HarvestBasis) remaining: floor(Q·(1 - Π(1 - f))), a runner stays;
    initial: floor(Q·Σf), the last leg closes the rest. If nothing has closed by the last leg it closes all; if what
    would stay is below one lot or `min_lots`, the leg closes everything. A leg that the exchange would refuse as too
    small is one of zero lots: its quantity comes with the next leg.
    """
    lots = position["lots"]
    done = position["init_lots"] - lots
    least = max(min_lots, 1)
    before = done
    last = position["n_legs"] - 1
    kept = 1.0
    summed = 0.0
    for k in range(first, position["n_legs"]):
        kept *= 1.0 - position["fractions"][k]
        summed += position["fractions"][k]
        if basis == HarvestBasis.REMAINING:
            closed = done + floor_share_nb(lots, 1.0 - kept)
        elif k == last:
            closed = done + lots
        else:
            closed = done + floor_share_nb(lots, summed)
        if (k == last and closed == 0) or done + lots - closed < least:
            closed = done + lots
        if closed - before < least:
            closed = before
        position["tp_lots"][k] = closed
        before = closed


@kernel
def is_zero_leg_nb(position: Record, leg: int) -> bool:
    """Was the leg planned to send nothing, because its quantity comes with a later one?"""
    if leg == 0:
        return position["tp_lots"][0] == 0
    return position["tp_lots"][leg] == position["tp_lots"][leg - 1]


@kernel
def share_out_rest_nb(position: Record, min_lots: int) -> None:
    """After the governor's half: legs of what remains close their shares of what it has left.

    The quantity of legs of zero lots just before the next one is still to come, so they count with it.
    """
    first = position["next_leg"]
    while first > 0 and is_zero_leg_nb(position, first - 1):
        first -= 1
    set_leg_lots_nb(position, first, HarvestBasis.REMAINING.value, min_lots)
