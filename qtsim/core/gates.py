"""The approval chain between a signal and an entry order, in its order. Exits never pass it.

confidence filter → Orchestrator → Portfolio Balancer → Safety Governor → leverage, plan, sizing → Risk Guard
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.balancer import deny_by_balancer_nb, deny_by_sector_nb
from qtsim.core.enums import Gate, Rule
from qtsim.core.orchestrator import daily_drawdown_nb, deny_by_orchestrator_nb, mode_nb, mode_size_nb
from qtsim.core.records import Record
from qtsim.core.regime import regime_size_nb
from qtsim.core.risk_guard import deny_by_risk_guard_nb
from qtsim.core.safety_governor import fired_at_nb, governor_rule_nb, governor_size_nb
from qtsim.core.sizing import deny_nb
from qtsim.core.symbol_stats import symbol_size_nb


@kernel
def judge_signal_nb(
    plan: Record, ts: int, equity: float, crowd: Record, governor: Record, stats: Record, params: Record
) -> None:
    """The gates before sizing. Writes the first verdict against, or the Orchestrator's mode and the size factor."""
    if params["gates"]["enabled"] == 0:
        return
    least = params["entry"]["confidence_min"]
    if plan["confidence"] < least:
        deny_nb(plan, Gate.CONFIDENCE.value, Rule.LOW_CONFIDENCE.value, plan["confidence"], least)
        return
    drawdown = daily_drawdown_nb(governor, equity)
    plan["mode"] = mode_nb(drawdown, governor["losing_streak"], governor["health"], params["orchestrator"])
    deny_by_orchestrator_nb(plan, ts, drawdown, crowd, governor, stats, params)
    if plan["gate"] != Gate.NONE:
        return
    deny_by_balancer_nb(plan, crowd, params["limits"])
    if plan["gate"] != Gate.NONE:
        return
    rule = governor_rule_nb(governor, ts)
    if rule != Rule.NONE:
        value, limit = fired_at_nb(governor, rule, params)
        deny_nb(plan, Gate.GOVERNOR.value, rule, value, limit)
        return
    factor = regime_size_nb(plan["regime"], plan["leader_regime"], plan["side"], params["regime"])
    symbol = symbol_size_nb(stats, params["orchestrator"])
    mode = mode_size_nb(plan["mode"], params["orchestrator"])
    plan["size_factor"] = factor * symbol * mode * governor_size_nb(governor, params)
    # the size that symbol performance, probation and the governor reduce, each until trades have closed
    plan["unreduced_factor"] = factor * max(symbol, 1.0) * mode


@kernel
def judge_size_nb(plan: Record, crowd: Record, balance: float, available: float, params: Record) -> None:
    """The gates after sizing: the sector's share, then the Risk Guard."""
    if params["gates"]["enabled"] == 0:
        return
    deny_by_sector_nb(plan, crowd, balance, params["limits"])
    if plan["gate"] == Gate.NONE:
        deny_by_risk_guard_nb(plan, crowd, balance, available, params["limits"])


@kernel
def judge_again_nb(plan: Record, crowd: Record, balance: float, available: float, params: Record) -> None:
    """Second pass: every cumulative limit with what has been entered at this instant."""
    if params["gates"]["enabled"] == 0:
        return
    deny_by_balancer_nb(plan, crowd, params["limits"])
    if plan["gate"] == Gate.NONE:
        judge_size_nb(plan, crowd, balance, available, params)
