"""How large an entry is: the sizing model, then the clips; and what the exchange would refuse."""

from __future__ import annotations

import math

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.costs import fee_nb
from qtsim.core.enums import CappedBy, Gate, PlanFlag, Rule, SizingModel
from qtsim.core.floats import floor_steps_nb, steps_value_nb
from qtsim.core.margin import bracket_index_nb
from qtsim.core.records import Record
from qtsim.core.rl_sizing import action_size_nb

MAX_LOTS = 2.0**53
"""Beyond this a float no longer counts single lots."""
AFFORD_TOLERANCE = 1e-9
"""Relative room for rounding when the whole balance is the margin."""


@kernel
def deny_nb(plan: Record, gate: int, rule: int, value: float, limit: float) -> None:
    """Write a verdict into the plan."""
    plan["gate"] = gate
    plan["rule"] = rule
    plan["value"] = value
    plan["limit"] = limit


@kernel
def clipped_qty_nb(
    plan: Record, notional: float, factor: float, balance: float, price: float, instrument: Record, params: Record
) -> float:
    """Quantity of the model's `notional` times `factor` after the clips, which are recorded in plan.capped_by."""
    limits = params["limits"]
    leverage = plan["leverage"]
    notional = notional * factor
    if notional / leverage > limits["per_trade_margin"] * balance:
        notional = limits["per_trade_margin"] * balance * leverage
        plan["capped_by"] = CappedBy.LIMIT_MARGIN.value
    if notional > limits["per_trade_notional"]:
        notional = limits["per_trade_notional"]
        plan["capped_by"] = CappedBy.LIMIT_NOTIONAL.value
    qty = max(0.0, notional / price)
    if params["sizing"]["model"] == SizingModel.FIXED_QTY and plan["capped_by"] == CappedBy.NONE:
        qty = params["sizing"]["fixed_qty"] * factor
    if qty > instrument["max_qty"]:
        qty = instrument["max_qty"]
        plan["capped_by"] = CappedBy.MARKET_MAX.value
    return qty


@kernel
def lift_to_minimum_nb(
    plan: Record, lots: int, notional: float, balance: float, price: float, instrument: Record, params: Record
) -> int:
    """Lots of a size that is reduced until trades have closed: at least what the exchange takes.

    Otherwise no trade could ever close and end the reduction. A size that would be too small without it stays so.
    """
    least = min_entry_lots_nb(price, instrument)
    if lots >= least:
        return lots
    capped_by = plan["capped_by"]
    most = clipped_qty_nb(plan, notional, plan["unreduced_factor"], balance, price, instrument, params)
    plan["capped_by"] = capped_by
    if floor_steps_nb(most, instrument["lot_num"], instrument["lot_den"]) < least:
        return lots
    plan["flags"] |= PlanFlag.SIZE_MINIMUM.value
    return least


@kernel
def set_size_nb(plan: Record, balance: float, atr_pct: float, price: float, instrument: Record, params: Record) -> None:
    """Notional, lots and margin of the plan at `price` (the expected fill), or a denial.

    balance: equity in quote. atr_pct: ATR / close. Clips are recorded in plan.capped_by.
    """
    sizing = params["sizing"]
    model = sizing["model"]
    leverage = plan["leverage"]
    plan["expected_profit"] = np.nan
    plan["expected_loss"] = np.nan

    # the model
    if model == SizingModel.MATH or model == SizingModel.RL:
        if not atr_pct > 0.0:
            deny_nb(plan, Gate.SIZING.value, Rule.NO_ATR.value, atr_pct, 0.0)
            return
        stop = sizing["math_stop_atr"] * atr_pct
        notional = sizing["math_risk"] * balance / stop
        if notional / leverage > sizing["math_max_margin"] * balance:
            notional = sizing["math_max_margin"] * balance * leverage
            plan["capped_by"] = CappedBy.SIZING_MARGIN.value
        if plan["has_action"] == 1:
            notional *= action_size_nb(plan["rl_action"])
    elif model == SizingModel.NOTIONAL:
        notional = sizing["notional"] * plan["confidence"]
    elif model == SizingModel.FIXED_RISK:
        if plan["sl"] == np.inf:
            deny_nb(plan, Gate.SIZING.value, Rule.NO_STOP.value, plan["sl"], 0.0)
            return
        notional = sizing["fixed_risk"] * balance / (plan["sl"] + plan["round_trip"])
    elif model == SizingModel.FRACTION:
        notional = sizing["fraction"] * balance * leverage
    else:
        notional = sizing["fixed_qty"] * price

    # the factors of regimes, symbol performance, mode and governor; then the clips
    qty = clipped_qty_nb(plan, notional, plan["size_factor"], balance, price, instrument, params)

    # whole lots
    if qty * instrument["lot_den"] / instrument["lot_num"] > MAX_LOTS:
        most = MAX_LOTS * instrument["lot_num"] / instrument["lot_den"]
        deny_nb(plan, Gate.SIZING.value, Rule.TOO_MANY_LOTS.value, qty, most)
        return
    lots = floor_steps_nb(qty, instrument["lot_num"], instrument["lot_den"])
    if plan["size_factor"] < plan["unreduced_factor"]:
        lots = lift_to_minimum_nb(plan, lots, notional, balance, price, instrument, params)
    plan["lots"] = lots
    plan["notional"] = steps_value_nb(lots, instrument["lot_num"], instrument["lot_den"]) * price
    plan["margin"] = plan["notional"] / leverage
    if lots <= 0:
        deny_nb(
            plan,
            Gate.SIZING.value,
            Rule.ZERO_LOTS.value,
            qty,
            steps_value_nb(1.0, instrument["lot_num"], instrument["lot_den"]),
        )
        return
    if model == SizingModel.MATH or model == SizingModel.RL:
        stop = sizing["math_stop_atr"] * atr_pct
        plan["expected_loss"] = plan["notional"] * stop
        plan["expected_profit"] = plan["notional"] * stop * sizing["math_reward_risk"]


@kernel
def deny_by_exchange_nb(plan: Record, instrument: Record) -> None:
    """What the exchange's filters and brackets would reject."""
    qty = steps_value_nb(plan["lots"], instrument["lot_num"], instrument["lot_den"])
    if qty < instrument["min_qty"]:
        deny_nb(plan, Gate.EXCHANGE.value, Rule.MIN_QTY.value, qty, instrument["min_qty"])
    elif plan["notional"] < instrument["min_notional"]:
        deny_nb(plan, Gate.EXCHANGE.value, Rule.MIN_NOTIONAL.value, plan["notional"], instrument["min_notional"])
    else:
        allowed = instrument["bracket_leverage"][bracket_index_nb(plan["notional"], instrument)]
        if plan["leverage"] > allowed:
            deny_nb(plan, Gate.EXCHANGE.value, Rule.BRACKET_LEVERAGE.value, plan["leverage"], allowed)


@kernel
def deny_unaffordable_nb(plan: Record, available: float, params: Record) -> None:
    """The exchange rejects an order whose initial margin and fee exceed what is available."""
    needed = plan["margin"] + fee_nb(plan["notional"], params["costs"]["fees_taker"])
    if needed > available * (1.0 + AFFORD_TOLERANCE):
        deny_nb(plan, Gate.EXCHANGE.value, Rule.INSUFFICIENT_MARGIN.value, needed, available)


@kernel
def min_lots_nb(instrument: Record) -> int:
    """Lots of the smallest order the exchange accepts, rounded up. Reduce-only orders have no minimum notional."""
    return math.ceil(instrument["min_qty"] * instrument["lot_den"] / instrument["lot_num"] - 1e-7)


@kernel
def min_entry_lots_nb(price: float, instrument: Record) -> int:
    """Lots of the smallest entry the exchange accepts at `price`: one lot, its minimum quantity, minimum notional."""
    num, den = instrument["lot_num"], instrument["lot_den"]
    lots = max(min_lots_nb(instrument), 1)
    by_notional = math.floor(instrument["min_notional"] / price * den / num)
    if steps_value_nb(by_notional, num, den) * price < instrument["min_notional"]:
        by_notional += 1
    return max(lots, by_notional)
