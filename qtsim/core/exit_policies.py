"""What each exit policy puts into an entry's plan: levels, legs, stops, trail."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import ExitPolicy, Gate, PlanFlag, Rule, TrailMode, TrailStyle
from qtsim.core.harvest import set_fractions_nb
from qtsim.core.levels import apply_safety_nb, set_levels_nb
from qtsim.core.records import Record
from qtsim.core.sizing import deny_nb


@kernel
def or_default_nb(value: float, default: float) -> float:
    """`value`, or `default` where it is NaN (not stated)."""
    if value != value:
        return default
    return value


@kernel
def trail_multiple_nb(style: int, stops: Record) -> float:
    """× ATR of a trailing style."""
    if style == TrailStyle.AGGRESSIVE:
        return stops["trail_aggressive"]
    if style == TrailStyle.LOOSE:
        return stops["trail_loose"]
    return stops["trail_balanced"]


@kernel
def plan_bracket_nb(plan: Record, signal: Record, params: Record) -> None:
    """One target and one stop at fixed ratios, either may be absent; no clamps, no safety, no hard stop, no guards."""
    if signal["trail"] == signal["trail"]:
        deny_nb(plan, Gate.PLAN.value, Rule.BRACKET_TRAIL.value, signal["trail"], 0.0)
        return
    tp = or_default_nb(signal["tp"], params["exit"]["bracket_tp"])
    plan["tp"][0] = tp
    plan["tp"][1] = np.inf
    plan["tp"][2] = np.inf
    plan["sl"] = or_default_nb(signal["sl"], params["exit"]["bracket_sl"])
    plan["hard"] = np.inf
    plan["fractions"][0] = 1.0
    plan["fractions"][1] = 0.0
    plan["fractions"][2] = 0.0
    plan["n_legs"] = 1 if tp < np.inf else 0
    plan["trail_mode"] = TrailMode.OFF.value


@kernel
def plan_exit_brain_nb(plan: Record, signal: Record, avg_pnl: float, instrument: Record, params: Record) -> None:
    """Adaptive levels, harvest legs, trail, and the safety of the first bracket."""
    stops = params["stops"]
    base_tp = or_default_nb(signal["tp"], params["exit"]["base_tp"])
    base_sl = or_default_nb(signal["sl"], params["exit"]["base_sl"])
    if signal["tp"] == signal["tp"]:
        plan["flags"] |= PlanFlag.SIGNAL_TP.value
    if signal["sl"] == signal["sl"]:
        plan["flags"] |= PlanFlag.SIGNAL_SL.value
    funding_delta = or_default_nb(signal["funding_delta"], plan["side"] * signal["funding_rate"])
    divergence = or_default_nb(signal["divergence"], 0.0)
    set_levels_nb(
        plan, base_tp, base_sl, signal["volatility_factor"], funding_delta, divergence, avg_pnl, params["levels"]
    )
    plan["n_legs"] = 3
    set_fractions_nb(plan, params["harvest"])
    plan["trail_mode"] = stops["trail_mode"]
    plan["trail_multiple"] = trail_multiple_nb(stops["trail_style"], stops)
    plan["trail_distance"] = stops["trail_distance"]
    if signal["trail"] == signal["trail"]:
        plan["trail_mode"] = TrailMode.PERCENT.value
        plan["trail_distance"] = signal["trail"]
        plan["flags"] |= PlanFlag.SIGNAL_TRAIL.value
    plan["hard"] = stops["hard_distance"]
    apply_safety_nb(plan, instrument["bracket_rate"][0], instrument["bracket_amount"][0], 0.0, params)


@kernel
def plan_exits_nb(plan: Record, signal: Record, avg_pnl: float, instrument: Record, params: Record) -> None:
    """Levels and legs of the policy in force."""
    if params["exit"]["policy"] == ExitPolicy.BRACKET:
        plan_bracket_nb(plan, signal, params)
    else:
        plan_exit_brain_nb(plan, signal, avg_pnl, instrument, params)
