"""Adaptive levels: where the targets and the stop stand, in ratios of the entry price, and what keeps them safe."""

from __future__ import annotations

import math

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import Gate, PlanFlag, Regime, Rule, StopModel
from qtsim.core.floats import clamp_nb
from qtsim.core.margin import liquidation_distance_nb
from qtsim.core.records import Record

FUNDING_DELTA_MAX = 0.1
RANGING_STOP, BREAKOUT_STOP = 1.25, 1.5
TRENDING_REWARD, RANGING_REWARD = 2.5, 1.5
COST_ROOM = 1.5
"""A final stop at or below this multiple of the round-trip cost is over-leveraged."""


@kernel
def lsf_nb(leverage: float, sensitivity: float) -> float:
    """Leverage scaling factor: 1 / (1 + s·ln(L + 1)), L at least 1."""
    return 1.0 / (1.0 + sensitivity * math.log(max(leverage, 1.0) + 1.0))


@kernel
def feedback_nb(avg_pnl: float, confidence: float, levels: Record) -> float:
    """How recent results and low confidence scale targets and stop alike."""
    adjust = 1.0
    if avg_pnl < 0.0:
        adjust += levels["feedback_loss"]
    if avg_pnl > levels["feedback_gain_above"]:
        adjust += levels["feedback_gain"]
    if confidence < levels["feedback_low_confidence_below"]:
        adjust += levels["feedback_low_confidence"]
    return clamp_nb(adjust, levels["feedback_min"], levels["feedback_max"])


@kernel
def regime_stop_nb(regime: int) -> float:
    """Factor on the stop where levels follow the regime."""
    if regime == Regime.RANGING:
        return RANGING_STOP
    if regime == Regime.BREAKOUT:
        return BREAKOUT_STOP
    return 1.0


@kernel
def regime_reward_nb(regime: int) -> float:
    """base_tp over the stop where levels follow the regime; 0: base_tp stays."""
    if regime == Regime.TRENDING:
        return TRENDING_REWARD
    if regime == Regime.RANGING:
        return RANGING_REWARD
    return 0.0


@kernel
def stop_ratio_nb(
    plan: Record,
    base_sl: float,
    lsf: float,
    volatility_factor: float,
    divergence: float,
    levels: Record,
) -> float:
    """The stop with the modifiers of leverage and market, before feedback and clamps."""
    if levels["adaptive"] == 0:
        return base_sl
    if levels["sl_model"] == StopModel.CONFIDENCE:
        sl = base_sl * (1.0 - plan["confidence"] / 4.0)
    else:
        sl = base_sl * (1.0 + levels["sl_leverage_factor"] * (1.0 - lsf))
    widen = 1.0
    widen += levels["sl_divergence_scale"] * clamp_nb(divergence, 0.0, 1.0)
    widen += levels["sl_volatility_scale"] * volatility_factor
    return sl * widen


@kernel
def set_levels_nb(
    plan: Record,
    base_tp: float,
    base_sl: float,
    volatility_factor: float,
    funding_delta: float,
    divergence: float,
    avg_pnl: float,
    by_regime: bool,
    levels: Record,
) -> None:
    """Targets and stop of plan.leverage and plan.confidence, with every modifier and clamp, before safety.

    `levels.adaptive = 0`: tp_k = k·base_tp, sl = base_sl, unmodified; the clamps hold all the same. by_regime
    (`regime.effects.adjust_levels`): RANGING and BREAKOUT widen the stop, TRENDING and RANGING set base_tp by it, where
    the signal brings no target of its own.
    """
    lsf = lsf_nb(plan["leverage"], levels["lsf_sensitivity"])
    plan["lsf"] = lsf
    if by_regime:
        base_sl *= regime_stop_nb(plan["regime"])
    sl = stop_ratio_nb(plan, base_sl, lsf, volatility_factor, divergence, levels)
    reward = regime_reward_nb(plan["regime"])
    if by_regime and reward > 0.0 and plan["flags"] & PlanFlag.SIGNAL_TP.value == 0:
        # of the stop before feedback, which scales both once: their ratio stays
        base_tp = reward * sl
    if levels["adaptive"] == 0:
        plan["sl"] = sl
        for k in range(3):
            plan["tp"][k] = (k + 1) * base_tp
    else:
        delta = clamp_nb(funding_delta, -FUNDING_DELTA_MAX, FUNDING_DELTA_MAX)
        calm = 1.0 + levels["tp_volatility_scale"] * volatility_factor
        adjust = feedback_nb(avg_pnl, plan["confidence"], levels)
        plan["sl"] = sl * adjust
        for k in range(3):
            reach = levels["tp_progression"][k] + levels["tp_lsf_weights"][k] * lsf
            plan["tp"][k] = base_tp * reach * (1.0 + levels["tp_funding_scale"] * delta) * calm * adjust
    for k in range(3):
        if plan["tp"][k] < levels["tp_min"]:
            plan["tp"][k] = levels["tp_min"]
            plan["flags"] |= PlanFlag.TP_MIN.value
    if plan["sl"] < levels["sl_min"]:
        plan["sl"] = levels["sl_min"]
        plan["flags"] |= PlanFlag.SL_MIN.value
    elif plan["sl"] > levels["sl_max"]:
        plan["sl"] = levels["sl_max"]
        plan["flags"] |= PlanFlag.SL_MAX.value


@kernel
def apply_safety_nb(
    plan: Record, maintenance_rate: float, maintenance_amount: float, notional: float, params: Record
) -> None:
    """Internal stop, hard stop and liquidation stand in this order with room between them; levels only tighten.

    Called at planning (notional 0, first bracket) and again after sizing with the bracket of the notional.
    """
    levels = params["levels"]
    side = float(plan["side"])
    d = liquidation_distance_nb(side, plan["leverage"], maintenance_rate, maintenance_amount, notional)
    plan["liq_distance"] = d
    if d <= 0.0:
        plan["gate"] = Gate.PLAN.value
        plan["rule"] = Rule.NO_LIQUIDATION_ROOM.value
        plan["value"] = d
        plan["limit"] = 0.0
        return
    room = levels["sl_safety_max_liquidation_share"] * d
    if room < plan["hard"]:
        plan["hard"] = room
        plan["flags"] |= PlanFlag.HARD_LIQUIDATION_SHARE.value
    inside = levels["sl_safety_max_hard_share"] * plan["hard"]
    if inside < plan["sl"]:
        plan["sl"] = inside
        plan["flags"] |= PlanFlag.SL_HARD_SHARE.value
    if levels["sl_safety_max_margin_loss"] < np.inf:
        affordable = levels["sl_safety_max_margin_loss"] / plan["leverage"]
        if affordable < plan["sl"]:
            plan["sl"] = affordable
            plan["flags"] |= PlanFlag.SL_MARGIN_LOSS.value


@kernel
def deny_near_stop_nb(plan: Record, distance: float, round_trip: float, levels: Record) -> None:
    """A final stop at or below max(min_distance, 1.5 × round trip) is denied; never opened and then closed.

    distance: of the final stop, on its tick where the instrument has ticks; ratio of the entry price.
    """
    limit = max(levels["sl_safety_min_distance"], COST_ROOM * round_trip)
    if distance <= limit:
        plan["gate"] = Gate.PLAN.value
        plan["rule"] = Rule.STOP_TOO_NEAR.value
        plan["value"] = distance
        plan["limit"] = limit
