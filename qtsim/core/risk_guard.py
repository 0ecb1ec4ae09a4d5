"""The last gate before an entry: what the account can carry."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.enums import ExposureBasis, Gate, Rule
from qtsim.core.records import Record
from qtsim.core.sizing import deny_nb

ROUNDING = 1.0 + 1e-12
"""A limit that binds the size is met exactly but for rounding."""


@kernel
def deny_by_risk_guard_nb(plan: Record, crowd: Record, balance: float, available: float, limits: Record) -> None:
    """Available balance, least balance, total exposure, gross exposure. Leverage and size of the trade are clipped."""
    gate = Gate.RISK_GUARD.value
    needed = limits["balance_buffer"] * plan["margin"]
    exposure = crowd["notional"] + plan["notional"]
    counted = exposure
    if limits["exposure_basis"] == ExposureBasis.MARGIN:
        counted = crowd["initial_margin"] + plan["margin"]
    most = limits["exposure_max"] * balance
    if available * ROUNDING < needed:
        deny_nb(plan, gate, Rule.BALANCE_BUFFER.value, available, needed)
    elif balance < limits["balance_min"]:
        deny_nb(plan, gate, Rule.BALANCE_MIN.value, balance, limits["balance_min"])
    elif counted > most * ROUNDING:
        deny_nb(plan, gate, Rule.EXPOSURE_MAX.value, counted, most)
    elif exposure > limits["exposure_gross"] * ROUNDING:
        deny_nb(plan, gate, Rule.EXPOSURE_GROSS.value, exposure, limits["exposure_gross"])
