"""What each exit policy puts into an entry's plan: levels, legs, stops, trail; and how exit_brain plans again."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import (
    ExitPolicy,
    Gate,
    LegacyLevels,
    Mode,
    PlanFlag,
    Reason,
    Regime,
    Replan,
    Rule,
    TrailMode,
    TrailStyle,
)
from qtsim.core.harvest import set_fractions_nb
from qtsim.core.levels import apply_safety_nb, set_levels_nb
from qtsim.core.params import LEGS_MAX, TARGETS
from qtsim.core.profit_lock import planned_roe_ratio_nb
from qtsim.core.records import Record
from qtsim.core.rl_sizing import action_trail_nb, stop_scale_nb, target_scale_nb
from qtsim.core.sizing import deny_nb
from qtsim.core.stops import is_tighter_nb, place_targets_nb, ratio_price_nb, tighter_tick_nb


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
def own_trail_style_nb(plan: Record, stops: Record) -> int:
    """The setting's trailing style, or that of the action of sizing model rl."""
    if plan["has_action"] == 1:
        return action_trail_nb(plan["rl_action"])
    return stops["trail_style"]


@kernel
def trail_style_nb(mode: int, regime: int, own_style: int) -> int:
    """Style at entry, kept: DEFENSIVE, CRITICAL or TRENDING aggressive, BREAKOUT loose, else the own one."""
    if mode != Mode.NORMAL or regime == Regime.TRENDING:
        return TrailStyle.AGGRESSIVE.value
    if regime == Regime.BREAKOUT:
        return TrailStyle.LOOSE.value
    return own_style


@kernel
def add_leg_nb(plan: Record, distance: float, fraction: float) -> None:
    """One more leg: a ratio of the entry price, and the share of what remains that it closes."""
    k = plan["n_legs"]
    plan["tp"][k] = distance
    plan["fractions"][k] = fraction
    plan["n_legs"] = k + 1


@kernel
def note_signal_levels_nb(plan: Record, signal: Record) -> None:
    """Flag target and stop that come with the signal."""
    if signal["tp"] == signal["tp"]:
        plan["flags"] |= PlanFlag.SIGNAL_TP.value
    if signal["sl"] == signal["sl"]:
        plan["flags"] |= PlanFlag.SIGNAL_SL.value


@kernel
def trail_by_signal_nb(plan: Record, signal: Record) -> None:
    """A signal's `trail` switches the trade to a percent trail of that distance."""
    if signal["trail"] == signal["trail"]:
        plan["trail_mode"] = TrailMode.PERCENT.value
        plan["trail_distance"] = signal["trail"]
        plan["flags"] |= PlanFlag.SIGNAL_TRAIL.value


@kernel
def plan_bracket_nb(plan: Record, signal: Record, params: Record) -> None:
    """One target and one stop at fixed ratios, either may be absent; no clamps, no safety, no hard stop, no guards."""
    if signal["trail"] == signal["trail"]:
        deny_nb(plan, Gate.PLAN.value, Rule.BRACKET_TRAIL.value, signal["trail"], 0.0)
        return
    tp = or_default_nb(signal["tp"], params["exit"]["bracket_tp"])
    plan["sl"] = or_default_nb(signal["sl"], params["exit"]["bracket_sl"])
    plan["hard"] = np.inf
    plan["trail_mode"] = TrailMode.OFF.value
    if tp < np.inf:
        add_leg_nb(plan, tp, 1.0)


@kernel
def plan_levels_nb(plan: Record, signal: Record, avg_pnl: float, params: Record) -> None:
    """Adaptive levels, from the settings' base or the signal's own, and what they were planned from.

    The action of sizing model rl scales the settings' base; what a signal asks for stands.
    """
    base_tp = params["exit"]["base_tp"]
    base_sl = params["exit"]["base_sl"]
    if plan["has_action"] == 1:
        base_tp *= target_scale_nb(plan["rl_action"])
        base_sl *= stop_scale_nb(plan["rl_action"])
    plan["base_tp"] = or_default_nb(signal["tp"], base_tp)
    plan["base_sl"] = or_default_nb(signal["sl"], base_sl)
    plan["avg_pnl"] = avg_pnl
    set_levels_nb(
        plan,
        plan["base_tp"],
        plan["base_sl"],
        signal["volatility_factor"],
        or_default_nb(signal["funding_delta"], plan["side"] * signal["funding_rate"]),
        or_default_nb(signal["divergence"], 0.0),
        avg_pnl,
        params["regime"]["effects_adjust_levels"] == 1,
        params["levels"],
    )


@kernel
def plan_exit_brain_nb(plan: Record, signal: Record, avg_pnl: float, instrument: Record, params: Record) -> None:
    """Adaptive levels, harvest legs, trail, and the safety of the first bracket."""
    stops = params["stops"]
    note_signal_levels_nb(plan, signal)
    plan_levels_nb(plan, signal, avg_pnl, params)
    plan["n_legs"] = TARGETS
    set_fractions_nb(plan, params["harvest"])
    plan["trail_mode"] = stops["trail_mode"]
    style = trail_style_nb(plan["mode"], plan["regime"], own_trail_style_nb(plan, stops))
    plan["trail_multiple"] = trail_multiple_nb(style, stops)
    plan["trail_distance"] = stops["trail_distance"]
    trail_by_signal_nb(plan, signal)
    plan["hard"] = stops["hard_distance"]
    apply_safety_nb(plan, instrument["bracket_rate"][0], instrument["bracket_amount"][0], 0.0, params)


@kernel
def plan_legacy_nb(plan: Record, signal: Record, instrument: Record, params: Record) -> None:
    """One target, one stop, half closed on the way, an ATR trail; safety of §2, no clamps.

    levels = math: the stop is that of sizing model math, the target its reward. The half is a leg before the target;
    one that would not lie before it is left out. A signal's `tp` and `sl` replace target and stop.
    """
    exits = params["exit"]
    stops = params["stops"]
    tp = exits["legacy_tp"]
    sl = exits["legacy_sl"]
    if exits["legacy_levels"] == LegacyLevels.MATH:
        if not signal["atr_pct"] > 0.0:
            deny_nb(plan, Gate.PLAN.value, Rule.NO_ATR.value, signal["atr_pct"], 0.0)
            return
        sl = params["sizing"]["math_stop_atr"] * signal["atr_pct"]
        tp = params["sizing"]["math_reward_risk"] * sl
    note_signal_levels_nb(plan, signal)
    tp = or_default_nb(signal["tp"], tp)
    plan["sl"] = or_default_nb(signal["sl"], sl)
    if exits["legacy_half_close"] < tp:
        add_leg_nb(plan, exits["legacy_half_close"], 0.5)
    add_leg_nb(plan, tp, 1.0)
    plan["trail_mode"] = TrailMode.ATR.value
    plan["trail_multiple"] = trail_multiple_nb(own_trail_style_nb(plan, stops), stops)
    trail_by_signal_nb(plan, signal)
    plan["hard"] = exits["legacy_hard"]
    apply_safety_nb(plan, instrument["bracket_rate"][0], instrument["bracket_amount"][0], 0.0, params)


@kernel
def plan_profit_lock_nb(plan: Record, signal: Record, avg_pnl: float, instrument: Record, params: Record) -> None:
    """The stop of §2 with its safety; legs and ladder by return on margin, priced once the size is known.

    A signal's `sl` replaces base_sl; its `trail` replaces the ladder; its `tp` has nothing to replace.
    """
    if signal["sl"] == signal["sl"]:
        plan["flags"] |= PlanFlag.SIGNAL_SL.value
    plan_levels_nb(plan, signal, avg_pnl, params)
    legs = params["exit"]["profit_lock_legs"]
    for k in range(LEGS_MAX):
        if legs[k, 0] < np.inf:
            add_leg_nb(plan, np.inf, legs[k, 1])
    plan["trail_mode"] = TrailMode.LADDER.value
    trail_by_signal_nb(plan, signal)
    plan["hard"] = params["stops"]["hard_distance"]
    apply_safety_nb(plan, instrument["bracket_rate"][0], instrument["bracket_amount"][0], 0.0, params)


@kernel
def price_legs_nb(plan: Record, params: Record) -> None:
    """profit_lock: the distances at which its legs' returns on margin are reached, with the costs of this size."""
    if params["exit"]["policy"] != ExitPolicy.PROFIT_LOCK:
        return
    for k in range(LEGS_MAX):
        plan["tp"][k] = planned_roe_ratio_nb(params["exit"]["profit_lock_legs"][k, 0], plan, params)


@kernel
def plan_exits_nb(plan: Record, signal: Record, avg_pnl: float, instrument: Record, params: Record) -> None:
    """Levels and legs of the policy in force."""
    policy = params["exit"]["policy"]
    if policy == ExitPolicy.BRACKET:
        plan_bracket_nb(plan, signal, params)
    elif policy == ExitPolicy.LEGACY:
        plan_legacy_nb(plan, signal, instrument, params)
    elif policy == ExitPolicy.PROFIT_LOCK:
        plan_profit_lock_nb(plan, signal, avg_pnl, instrument, params)
    else:
        plan_exit_brain_nb(plan, signal, avg_pnl, instrument, params)


@kernel
def is_replan_due_nb(position: Record, point: Record, params: Record) -> bool:
    """Has a bar closed since the levels were planned, with `exit.replan = bar`? Only exit_brain plans again."""
    exits = params["exit"]
    if exits["replan"] != Replan.BAR or exits["policy"] != ExitPolicy.EXIT_BRAIN:
        return False
    return point["known_ts"] > position["plan_ts"]


@kernel
def replan_nb(position: Record, point: Record, instrument: Record, params: Record, out: Record) -> bool:
    """Plan untriggered targets and the stop again on the row of the bar that closed last; did anything change?

    Volatility, funding, divergence and regime are that row's. Leverage, confidence, base levels and the feedback of
    recent results stay those of the entry, and so do lots and the hard stop. The stop only tightens.
    """
    out["plan_ts"] = point["known_ts"]
    side = float(position["side"])
    plan = out["plan"]
    plan["side"] = position["side"]
    plan["leverage"] = position["leverage"]
    plan["confidence"] = position["confidence"]
    plan["regime"] = point["regime"]
    plan["flags"] = position["flags"]
    plan["n_legs"] = position["n_legs"]
    set_levels_nb(
        plan,
        position["base_tp"],
        position["base_sl"],
        point["volatility_factor"],
        or_default_nb(point["funding_delta"], side * point["funding_rate"]),
        or_default_nb(point["divergence"], 0.0),
        position["avg_pnl"],
        params["regime"]["effects_adjust_levels"] == 1,
        params["levels"],
    )
    place_targets_nb(position, plan, position["next_leg"], instrument, out)
    changed = False
    for k in range(position["next_leg"], position["n_legs"]):
        if out["tp_price"][k] != position["tp_price"][k]:
            changed = True
    stop = tighter_tick_nb(ratio_price_nb(position["entry_price"], side, -plan["sl"]), side, instrument)
    if is_tighter_nb(stop, out["stop_price"], side):
        out["stop_price"] = stop
        out["stop_reason"] = Reason.STOP.value
        changed = True
    return changed
