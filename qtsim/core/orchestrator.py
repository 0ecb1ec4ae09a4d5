"""The first gate after the confidence filter: mode, regimes, minimum confidence, symbol performance."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.enums import Gate, Health, LeaderRegime, Mode, Regime, Rule, Side
from qtsim.core.records import NEVER, Record
from qtsim.core.safety_governor import lost_share_nb
from qtsim.core.sizing import deny_nb
from qtsim.core.symbol_stats import is_disabled_nb

NORMAL_MIN_CONFIDENCE = 0.20
"""Minimum of mode NORMAL; a regime's may be lower and then does not bind."""
DRAWDOWN_STEP, DRAWDOWN_STEP_FROM = 0.20, 0.02
"""Added to the minimum confidence while the daily drawdown exceeds this."""
STREAK_STEP = 0.15
"""Added while the losing streak exceeds `defensive_losing_streak`."""


@kernel
def daily_drawdown_nb(governor: Record, equity: float) -> float:
    """max(0, 1 - equity / equity at 00:00 UTC)."""
    return max(0.0, lost_share_nb(governor["day_equity"], equity))


@kernel
def mode_nb(drawdown: float, losing_streak: int, health: int, orchestrator: Record) -> int:
    """NORMAL, DEFENSIVE or CRITICAL."""
    if drawdown > orchestrator["critical_daily_drawdown"]:
        return Mode.CRITICAL.value
    if drawdown > orchestrator["defensive_daily_drawdown"]:
        return Mode.DEFENSIVE.value
    if losing_streak > orchestrator["defensive_losing_streak"] or health == Health.DEGRADED:
        return Mode.DEFENSIVE.value
    return Mode.NORMAL.value


@kernel
def regime_minimum_nb(regime: int, orchestrator: Record) -> float:
    """Least confidence that a symbol's regime asks for; UNKNOWN asks for what TRENDING does."""
    if regime == Regime.BREAKOUT:
        return orchestrator["min_confidence_breakout"]
    if regime == Regime.RANGING:
        return orchestrator["min_confidence_ranging"]
    if regime == Regime.CHOPPY:
        return orchestrator["min_confidence_choppy"]
    return orchestrator["min_confidence_trending"]


@kernel
def mode_minimum_nb(mode: int, orchestrator: Record) -> float:
    """Least confidence that the mode asks for."""
    if mode == Mode.CRITICAL:
        return orchestrator["critical_min_confidence"]
    if mode == Mode.DEFENSIVE:
        return orchestrator["defensive_min_confidence"]
    return NORMAL_MIN_CONFIDENCE


@kernel
def min_confidence_nb(
    mode: int, regime: int, leader_regime: int, drawdown: float, losing_streak: int, params: Record
) -> float:
    """min(max, the larger of mode's and regime's minimum, plus a step for each thing that goes badly)."""
    orchestrator = params["orchestrator"]
    least = max(mode_minimum_nb(mode, orchestrator), regime_minimum_nb(regime, orchestrator))
    if drawdown > DRAWDOWN_STEP_FROM:
        least += DRAWDOWN_STEP
    if losing_streak > orchestrator["defensive_losing_streak"]:
        least += STREAK_STEP
    if leader_regime == LeaderRegime.SIDEWAYS:
        least += params["regime"]["effects_sideways_confidence"]
    return min(orchestrator["min_confidence_max"], least)


@kernel
def mode_size_nb(mode: int, orchestrator: Record) -> float:
    """Size factor of the mode."""
    if mode == Mode.CRITICAL:
        return orchestrator["critical_size"]
    if mode == Mode.DEFENSIVE:
        return orchestrator["defensive_size"]
    return 1.0


@kernel
def deny_by_orchestrator_nb(
    plan: Record, ts: int, drawdown: float, crowd: Record, governor: Record, stats: Record, params: Record
) -> None:
    """Daily drawdown, CHOPPY, open positions, the symbol's state, shorts in an UPTREND, minimum confidence."""
    gate = Gate.ORCHESTRATOR.value
    orchestrator = params["orchestrator"]
    effects = params["regime"]
    confidence = plan["confidence"]
    choppy = orchestrator["min_confidence_choppy"]
    most_drawdown = params["governor"]["daily_drawdown"]
    least = min_confidence_nb(
        plan["mode"], plan["regime"], plan["leader_regime"], drawdown, governor["losing_streak"], params
    )
    if drawdown > most_drawdown:
        deny_nb(plan, gate, Rule.DAILY_DRAWDOWN.value, drawdown, most_drawdown)
    elif plan["regime"] == Regime.CHOPPY and confidence < choppy:
        deny_nb(plan, gate, Rule.CHOPPY_CONFIDENCE.value, confidence, choppy)
    elif crowd["positions"] >= params["limits"]["positions_total"]:
        deny_nb(plan, gate, Rule.POSITIONS_TOTAL.value, float(crowd["positions"]), params["limits"]["positions_total"])
    elif stats["blacklisted_at"] != NEVER:
        deny_nb(
            plan,
            gate,
            Rule.SYMBOL_BLACKLISTED.value,
            float(stats["losing_streak"]),
            orchestrator["symbol_blacklist_losses"],
        )
    elif is_disabled_nb(stats, ts):
        deny_nb(
            plan,
            gate,
            Rule.SYMBOL_DISABLED.value,
            stats["disabled_value"],
            stats["disabled_limit"],
        )
    elif (
        plan["leader_regime"] == LeaderRegime.UPTREND
        and plan["side"] == Side.SHORT
        and confidence <= effects["effects_uptrend_short_confidence"]
    ):
        deny_nb(plan, gate, Rule.UPTREND_SHORT.value, confidence, effects["effects_uptrend_short_confidence"])
    elif confidence < least:
        deny_nb(plan, gate, Rule.MIN_CONFIDENCE.value, confidence, least)
