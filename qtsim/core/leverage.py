"""How many times its margin a position may be: fixed, simple, ilf2, kelly, then the cap and the floor."""

from __future__ import annotations

import math

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import Gate, LeverageModel, PlanFlag, Rule
from qtsim.core.floats import clamp_nb
from qtsim.core.params import WINDOW_MAX
from qtsim.core.records import Record
from qtsim.core.rl_sizing import action_leverage_nb

FULL_PNL_TREND = 0.30
"""Mean return on margin that counts as a full trend (p = 1)."""
NO_WINS_KELLY = -1.0


@kernel
def mean_of_last_nb(account: Record, field_is_roe: bool, n: int) -> float:
    """Mean of the last `n` closed trades' returns, fewer where fewer exist, 0 where none, summed oldest first.

    `field_is_roe`: return on initial margin, else on entry notional.
    """
    closed = account["closed_trades"]
    count = min(n, closed)
    if count <= 0:
        return 0.0
    total = 0.0
    for k in range(closed - count, closed):
        if field_is_roe:
            total += account["trade_roe"][k % WINDOW_MAX]
        else:
            total += account["trade_ret"][k % WINDOW_MAX]
    return total / count


@kernel
def kelly_fraction_nb(account: Record, lev: Record, plan: Record) -> float:
    """f* = w - (1 - w) / r, from the priors until `kelly_prior_trades` trades have closed, then from the window.

    w is wins / trades, r the mean net return of wins over the mean absolute one of losses. Without a loss f* = w,
    without a win f* is -1.
    """
    closed = account["closed_trades"]
    w = lev["kelly_prior_win_rate"]
    r = lev["kelly_prior_reward_risk"]
    if closed >= lev["kelly_prior_trades"] and closed > 0:
        count = min(lev["kelly_window"], closed)
        wins = 0
        losses = 0
        won = 0.0
        lost = 0.0
        for k in range(closed - count, closed):
            ret = account["trade_ret"][k % WINDOW_MAX]
            if ret > 0.0:
                wins += 1
                won += ret
            elif ret < 0.0:
                losses += 1
                lost -= ret
        w = wins / count
        if losses == 0 or lost == 0.0:
            r = np.inf
        elif wins == 0:
            r = 0.0
        else:
            r = (won / wins) / (lost / losses)
    plan["leverage_factors"][0] = w
    plan["leverage_factors"][1] = r
    if r == np.inf:
        f = w
    elif r <= 0.0:
        f = NO_WINS_KELLY
    else:
        f = w - (1.0 - w) / r
    plan["leverage_factors"][2] = f
    return f


@kernel
def kelly_leverage_nb(account: Record, lev: Record, plan: Record) -> float:
    """clamp(multiplier · f*, 1, max); f* <= 0 gives 1, flagged, and never denies."""
    f = kelly_fraction_nb(account, lev, plan)
    if f <= 0.0:
        plan["flags"] |= PlanFlag.KELLY_NEGATIVE.value
        return 1.0
    return clamp_nb(lev["kelly_multiplier"] * f, 1.0, lev["kelly_max"])


@kernel
def simple_leverage_nb(confidence: float, volatility: float, lev: Record) -> float:
    """base · confidence / v within [min, max]; a market without movement (v = 0) gets the maximum."""
    if volatility <= 0.0:
        return lev["simple_max"]
    return clamp_nb(lev["simple_base"] * confidence / volatility, lev["simple_min"], lev["simple_max"])


@kernel
def ilf2_leverage_nb(
    plan: Record,
    confidence: float,
    volatility: float,
    pnl_trend: float,
    symbol_risk: float,
    margin_utilisation: float,
    divergence: float,
    funding_rate: float,
    lev: Record,
) -> float:
    """Intelligent Leverage Formula v2: the raw product of seven factors, each input clamped first."""
    c = clamp_nb(confidence, 0.0, 1.0)
    v = clamp_nb(volatility, 0.0, 3.0)
    p = clamp_nb(pnl_trend, -1.0, 1.0)
    r = clamp_nb(symbol_risk, 0.5, 1.5)
    m = clamp_nb(margin_utilisation, 0.0, 1.0)
    d = clamp_nb(divergence, 0.0, 1.0)
    f = clamp_nb(funding_rate, -0.05, 0.05)
    factors = plan["leverage_factors"]
    factors[0] = lev["ilf2_min"] + c * (lev["ilf2_max"] - lev["ilf2_min"])
    factors[1] = max(0.2, 1.5 - v)
    factors[2] = 1.0 + 0.25 * p
    factors[3] = 1.0 / r
    factors[4] = max(0.3, 1.0 - m)
    factors[5] = max(0.5, 1.0 - d)
    factors[6] = max(0.5, 1.0 - abs(10.0 * f))
    product = lev["ilf2_safety"]
    for k in range(7):
        product *= factors[k]
    return product


@kernel
def set_leverage_nb(
    plan: Record,
    account: Record,
    confidence: float,
    atr_ratio: float,
    avg_pnl: float,
    symbol_risk: float,
    margin_utilisation: float,
    divergence: float,
    funding_rate: float,
    params: Record,
) -> None:
    """Model → cap (`limits.per_trade.leverage`) → floor(x + 1e-9), at least 1. Writes plan.leverage or a denial.

    The action of sizing model rl stands in the place of the model.
    """
    lev = params["leverage"]
    model = lev["model"]
    volatility = clamp_nb(atr_ratio, 0.0, 3.0)
    if plan["has_action"] == 1:
        raw = action_leverage_nb(plan["rl_action"])
    elif model == LeverageModel.FIXED:
        raw = lev["fixed"]
    elif model == LeverageModel.SIMPLE:
        raw = simple_leverage_nb(confidence, volatility, lev)
    elif model == LeverageModel.KELLY:
        raw = kelly_leverage_nb(account, lev, plan)
    else:
        product = ilf2_leverage_nb(
            plan,
            confidence,
            volatility,
            avg_pnl / FULL_PNL_TREND,
            symbol_risk,
            margin_utilisation,
            divergence,
            funding_rate,
            lev,
        )
        if product < 1.0:
            plan["gate"] = Gate.LEVERAGE.value
            plan["rule"] = Rule.LEVERAGE_BELOW_ONE.value
            plan["value"] = product
            plan["limit"] = 1.0
            return
        raw = clamp_nb(product, lev["ilf2_min"], lev["ilf2_max"])
        if raw != product:
            plan["flags"] |= PlanFlag.LEVERAGE_CLAMPED.value
    plan["raw_leverage"] = raw
    cap = params["limits"]["per_trade_leverage"]
    if raw > cap:
        raw = cap
        plan["flags"] |= PlanFlag.LEVERAGE_CAPPED.value
    plan["leverage"] = max(1.0, math.floor(raw + 1e-9))
