"""From a signal to the plan of an entry: leverage, levels, size, and what would refuse it, in this order."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.costs import round_trip_ratio_nb, slippage_ratio_nb, slipped_price_nb
from qtsim.core.enums import ExitPolicy, Gate, Mode, OrderType, PlanFlag, Rule, SlippageModel
from qtsim.core.exit_policies import or_default_nb, plan_exits_nb, price_legs_nb
from qtsim.core.gates import judge_signal_nb, judge_size_nb
from qtsim.core.levels import apply_safety_nb, deny_near_stop_nb
from qtsim.core.leverage import mean_of_last_nb, set_leverage_nb
from qtsim.core.margin import bracket_index_nb
from qtsim.core.orders import limit_price_nb, through_price_nb
from qtsim.core.params import LEGS_MAX
from qtsim.core.records import Record
from qtsim.core.sizing import deny_by_exchange_nb, deny_nb, deny_unaffordable_nb, set_size_nb
from qtsim.core.stops import stop_distance_nb


@kernel
def reset_plan_nb(plan: Record, side: int, signal: Record, params: Record) -> None:
    """An empty, approved plan of `side` with the signal's confidence, or the default one, flagged."""
    plan["side"] = side
    plan["gate"] = Gate.NONE.value
    plan["rule"] = 0
    plan["value"] = 0.0
    plan["limit"] = 0.0
    plan["flags"] = 0
    plan["capped_by"] = 0
    plan["lots"] = 0
    plan["notional"] = 0.0
    plan["margin"] = 0.0
    plan["expected_profit"] = np.nan
    plan["expected_loss"] = np.nan
    plan["leverage"] = 1.0
    plan["raw_leverage"] = 1.0
    plan["lsf"] = np.nan
    plan["sl"] = np.inf
    plan["hard"] = np.inf
    plan["liq_distance"] = np.nan
    plan["n_legs"] = 0
    plan["trail_mode"] = 0
    plan["trail_multiple"] = 0.0
    plan["trail_distance"] = 0.0
    plan["limit_price"] = np.nan
    plan["round_trip"] = 0.0
    plan["slippage"] = 0.0
    plan["tag"] = signal["tag"]
    plan["regime"] = signal["regime"]
    plan["leader_regime"] = signal["leader_regime"]
    plan["mode"] = Mode.NORMAL.value
    plan["size_factor"] = 1.0
    plan["uncompared"] = 0
    plan["unreduced_factor"] = 1.0
    plan["has_action"] = 0
    plan["rl_state"] = 0
    plan["rl_action"] = 0
    for k in range(7):
        plan["leverage_factors"][k] = 0.0
    plan["base_tp"] = np.nan
    plan["base_sl"] = np.nan
    plan["avg_pnl"] = np.nan
    for k in range(LEGS_MAX):
        plan["tp"][k] = np.inf
        plan["fractions"][k] = 0.0
    if signal["confidence"] != signal["confidence"]:
        plan["confidence"] = params["entry"]["confidence_default"]
        plan["flags"] |= PlanFlag.DEFAULT_CONFIDENCE.value
    else:
        plan["confidence"] = signal["confidence"]


@kernel
def judge_entry_nb(
    plan: Record,
    side: int,
    signal: Record,
    equity: float,
    ts: int,
    crowd: Record,
    governor: Record,
    stats: Record,
    params: Record,
) -> None:
    """Start a plan of `side` and pass it through the gates before sizing; plan.gate NONE means approved so far."""
    reset_plan_nb(plan, side, signal, params)
    # confidence filter, Orchestrator, Portfolio Balancer, Safety Governor
    judge_signal_nb(plan, ts, equity, crowd, governor, stats, params)


@kernel
def order_price_nb(plan: Record, price: float, slip: float, instrument: Record) -> float:
    """Price at which the plan's order is expected to fill: the path's with slippage, no worse than its limit.

    A limit that the path has not traded through is what its order waits for.
    """
    side = plan["side"]
    limit = plan["limit_price"]
    slipped = slipped_price_nb(price, float(side), slip)
    if limit != limit:
        return slipped
    if side * (price - through_price_nb(limit, side, instrument)) > 0.0 or side * (slipped - limit) > 0.0:
        return limit
    return slipped


@kernel
def plan_entry_nb(
    plan: Record,
    account: Record,
    side: int,
    signal: Record,
    point: Record,
    equity: float,
    margin_used: float,
    available: float,
    ts: int,
    crowd: Record,
    governor: Record,
    stats: Record,
    instrument: Record,
    params: Record,
) -> None:
    """Gate and plan an entry of `side` at the point's price, alone on the given state; plan.gate NONE means approved.

    equity, margin_used (initial margins of what is open), available: quote currency. With sizing model rl the agent
    chooses between the two halves, and its callers call them one by one.
    """
    judge_entry_nb(plan, side, signal, equity, ts, crowd, governor, stats, params)
    if plan["gate"] == Gate.NONE:
        size_entry_nb(plan, account, signal, point, equity, margin_used, available, crowd, instrument, params)


@kernel
def size_entry_nb(
    plan: Record,
    account: Record,
    signal: Record,
    point: Record,
    equity: float,
    margin_used: float,
    available: float,
    crowd: Record,
    instrument: Record,
    params: Record,
) -> None:
    """Leverage, levels and size of a plan that the gates before sizing let through; an action of sizing model rl acts.

    The size is computed at the highest price that the order can get (path price with slippage, or its limit), so that
    a limit that binds is not exceeded by the fill.
    """
    side = plan["side"]
    plan["limit_price"] = limit_price_nb(signal["close"], side, instrument, params["entry"])
    if params["entry"]["order_type"] == OrderType.LIMIT and not plan["limit_price"] > 0.0:
        deny_nb(plan, Gate.ORDER.value, Rule.NO_PRICE.value, plan["limit_price"], 0.0)
        return
    avg_pnl = mean_of_last_nb(account, True, params["levels"]["feedback_trades"])
    utilisation = margin_used / equity if equity > 0.0 else 1.0

    # 1. leverage
    set_leverage_nb(
        plan,
        account,
        plan["confidence"],
        signal["atr_ratio"],
        avg_pnl,
        signal["symbol_risk"],
        utilisation,
        or_default_nb(signal["divergence"], 0.0),
        signal["funding_rate"],
        params,
    )
    if plan["gate"] != Gate.NONE:
        return

    # 2. plan
    plan_exits_nb(plan, signal, avg_pnl, instrument, params)
    if plan["gate"] != Gate.NONE:
        return

    # 3. size
    plan["round_trip"] = round_trip_ratio_nb(0.0, point, params["costs"])
    by_impact = params["costs"]["slippage_model"] == SlippageModel.IMPACT
    largest = np.inf if side > 0 and not by_impact else 0.0
    slip = slippage_ratio_nb(largest, point, params["costs"])
    price = order_price_nb(plan, point["price"], slip, instrument)
    set_size_nb(plan, equity, signal["atr_pct"], price, instrument, params)
    if plan["gate"] != Gate.NONE:
        return
    if by_impact:
        # impact has no dearest size: the size that it does not move, and then the size at the price to which that moves
        slip = slippage_ratio_nb(plan["notional"], point, params["costs"])
        price = order_price_nb(plan, point["price"], slip, instrument)
        set_size_nb(plan, equity, signal["atr_pct"], price, instrument, params)
        if plan["gate"] != Gate.NONE:
            return

    # 4. safety again, with the bracket of the notional; costs of the notional
    plan["slippage"] = slippage_ratio_nb(plan["notional"], point, params["costs"])
    plan["round_trip"] = round_trip_ratio_nb(plan["notional"], point, params["costs"])
    price_legs_nb(plan, params)
    if params["exit"]["policy"] != ExitPolicy.BRACKET:
        k = bracket_index_nb(plan["notional"], instrument)
        flags = plan["flags"]
        hard = plan["hard"]
        stop = plan["sl"]
        apply_safety_nb(plan, instrument["bracket_rate"][k], instrument["bracket_amount"][k], plan["notional"], params)
        if plan["hard"] < hard or plan["sl"] < stop:
            plan["flags"] = flags | plan["flags"] | PlanFlag.BRACKET_TIGHTENED.value
        if plan["gate"] != Gate.NONE:
            return
        distance = stop_distance_nb(price, float(side), plan["sl"], plan["hard"], instrument)
        deny_near_stop_nb(plan, distance, plan["round_trip"], params["levels"])
        if plan["gate"] != Gate.NONE:
            return

    # 5. the sector's share, the Risk Guard, what the exchange would refuse
    judge_size_nb(plan, crowd, equity, available, params)
    if plan["gate"] == Gate.NONE:
        deny_by_exchange_nb(plan, instrument)
    if plan["gate"] == Gate.NONE:
        deny_unaffordable_nb(plan, available, params)
