"""What each part of the engine is worth to a run: the parts and the settings that switch them off, each off in turn.

`PARTS` is the one list of what can be switched off, and by which settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from qtsim.config.kinds import show
from qtsim.config.params import field_paths
from qtsim.config.settings import WINDOW_TOP, Settings, build, flatten, nest
from qtsim.errors import SettingError
from qtsim.results.ablation import INTERRUPTED, AblationRow, ablation_frame
from qtsim.results.reach import denied_by_gate
from qtsim.results.result import Result

INF = math.inf
EXIT, GATES, LIMITS, GOVERNOR = "exit engine", "gates", "limits", "governor"
Off: TypeAlias = Mapping[str, Any]
Need: TypeAlias = tuple[str, tuple[Any, ...]]
Rerun: TypeAlias = Callable[[str, Settings], Result]
"""Called with (what is being done, settings of a run without a part)."""

BRAIN: Need = ("exit.policy", ("exit_brain",))
LEGACY: Need = ("exit.policy", ("legacy",))
LOCK: Need = ("exit.policy", ("profit_lock",))
BRACKET: Need = ("exit.policy", ("bracket",))
PLANNED: Need = ("exit.policy", ("exit_brain", "profit_lock"))
NOT_BRACKET: Need = ("exit.policy", ("exit_brain", "legacy", "profit_lock"))
BRAIN_OR_LEGACY: Need = ("exit.policy", ("exit_brain", "legacy"))
ADAPTIVE: Need = ("exit.levels.adaptive", (True,))
GATED: Need = ("gates.enabled", (True,))

EXPOSURE_TOP = 150.0
"""The largest `limits.exposure.max`; at the highest leverage of all no account can exceed it."""
ROE_TOP = 10.0
"""The farthest return on margin at which `profit_lock` can be told to act."""
LOCK_STAYS = f"the same at {100 * ROE_TOP:,.0f} % of the margin"
HARD_STAYS = "a hard stop at its share of the distance to liquidation"


def _without_exposure_limit(settings: Settings) -> Off:
    """The sector's limit is a share of this one: its share shrinks, so that its amount stays."""
    limits = settings.limits
    if limits.exposure.max == INF:
        return {}
    share = limits.sector_share * limits.exposure.max / EXPOSURE_TOP
    return {"limits.exposure.max": EXPOSURE_TOP, "limits.sector_share": share}


@dataclass(frozen=True)
class Part:
    """One part that can be switched off.

    `off`: the settings that do so, or what gives them for the settings of a run. `needs`: the values under which the
    part acts at all. `stays`: what of it no setting switches off. `slots`: positions that must fit at one time for it
    to act. `leader`: it acts on the leader's regime.
    """

    name: str
    group: str
    off: Off | Callable[[Settings], Off]
    needs: tuple[Need, ...] = ()
    stays: str = ""
    slots: int = 1
    leader: bool = False

    def off_for(self, settings: Settings) -> Off:
        """The settings that switch the part off in a run with `settings`."""
        return self.off(settings) if callable(self.off) else self.off

    def why_idle(self, settings: Settings, slots: int, leader_known: bool) -> str:
        """Why the part does not act in such a run; empty where it may."""
        flat = flatten(settings)
        for path, values in self.needs:
            if flat[path] not in values:
                return f"{path} is {show(flat[path])}"
        if self.leader and not leader_known:
            return "no data of the leader"
        if slots < self.slots:
            return f"acts from {self.slots} positions at one time, of which this run can have {slots}"
        return ""


PARTS: tuple[Part, ...] = (
    # levels
    Part("adaptive levels", EXIT, {"exit.levels.adaptive": False}, (PLANNED,)),
    Part(
        "volatility in the levels",
        EXIT,
        {"exit.levels.tp.volatility_scale": 0.0, "exit.levels.sl.volatility_scale": 0.0},
        (PLANNED, ADAPTIVE),
    ),
    Part("funding in the targets", EXIT, {"exit.levels.tp.funding_scale": 0.0}, (BRAIN, ADAPTIVE)),
    Part("divergence in the stop", EXIT, {"exit.levels.sl.divergence_scale": 0.0}, (PLANNED, ADAPTIVE)),
    Part(
        "feedback of recent trades",
        EXIT,
        {f"exit.levels.feedback.{name}": 0.0 for name in ("loss", "gain", "low_confidence")},
        (PLANNED, ADAPTIVE),
    ),
    Part("levels by regime", EXIT, {"regime.effects.adjust_levels": False}, (PLANNED,)),
    Part(
        "clamps of the levels",
        EXIT,
        {"exit.levels.tp.min": 0.0, "exit.levels.sl.min": 0.0, "exit.levels.sl.max": 0.9},
        (PLANNED,),
    ),
    Part(
        "safety of the plan",
        EXIT,
        {
            "exit.levels.sl_safety.max_liquidation_share": 1.0,
            "exit.levels.sl_safety.max_hard_share": 1.0,
            "exit.levels.sl_safety.max_margin_loss": INF,
            "exit.levels.sl_safety.min_distance": 0.0,
        },
        (NOT_BRACKET,),
        stays="a stop nearer than 1.5 × the round trip is denied",
    ),
    Part("replanning", EXIT, {"exit.replan": "entry"}, (BRAIN,)),
    # targets
    Part(
        "harvesting",
        EXIT,
        {"exit.harvest.scheme.by": "static", "exit.harvest.scheme.static": (0.0, 0.0, 1.0)},
        (BRAIN,),
        stays="the third target closes all; the ratchet acts at the first two",
    ),
    Part("runner", EXIT, {"exit.harvest.basis": "initial"}, (BRAIN,)),
    Part("half close of legacy", EXIT, {"exit.legacy.half_close": INF}, (LEGACY,)),
    Part("legs of profit_lock", EXIT, {"exit.profit_lock.legs": ((ROE_TOP, 1.0),)}, (LOCK,), stays=LOCK_STAYS),
    Part("target of bracket", EXIT, {"exit.bracket.tp": INF}, (BRACKET,), stays="a signal's own target"),
    # the internal stop
    Part("stop of bracket", EXIT, {"exit.bracket.sl": INF}, (BRACKET,), stays="a signal's own stop"),
    Part("ratchet", EXIT, {"exit.stops.ratchet.preset": "off"}, (BRAIN,)),
    Part("fee buffer of the breakeven", EXIT, {"exit.stops.ratchet.fee_buffer": False}, (BRAIN_OR_LEGACY,)),
    Part("breakeven", EXIT, {"exit.stops.breakeven.activate": INF}, (BRAIN,)),
    Part("breakeven of legacy", EXIT, {"exit.legacy.breakeven": INF}, (LEGACY,)),
    Part("breakeven of profit_lock", EXIT, {"exit.profit_lock.breakeven": ROE_TOP}, (LOCK,), stays=LOCK_STAYS),
    Part("trail", EXIT, {"exit.stops.trail.mode": "off"}, (BRAIN,), stays="a signal's own trail"),
    Part("trail of legacy", EXIT, {"exit.legacy.trail_activate": INF}, (LEGACY,)),
    Part("ladder of profit_lock", EXIT, {"exit.profit_lock.ladder": ((ROE_TOP, 0.2),)}, (LOCK,), stays=LOCK_STAYS),
    Part(
        "pause of the trail in high volatility", EXIT, {"exit.stops.trail.suspend_volatility": INF}, (BRAIN_OR_LEGACY,)
    ),
    Part("tightening on CHOPPY", EXIT, {"exit.stops.trail.choppy": math.inf}, (BRAIN,)),
    # hard stop and guards
    Part("hard stop's own distance", EXIT, {"exit.stops.hard.distance": 0.9}, (PLANNED,), stays=HARD_STAYS),
    Part("hard stop's own distance of legacy", EXIT, {"exit.legacy.hard": 0.9}, (LEGACY,), stays=HARD_STAYS),
    Part("loss guard", EXIT, {"exit.guard.loss.max": INF}, (NOT_BRACKET,)),
    Part("margin emergency", EXIT, {"exit.guard.loss.emergency_margin": INF}, (NOT_BRACKET,)),
    Part("stale guard", EXIT, {"exit.guard.stale.hours": INF}, (PLANNED,)),
    Part("stale guard of legacy", EXIT, {"exit.legacy.stale_hours": INF}, (LEGACY,)),
    Part(
        "crash guard",
        EXIT,
        {"exit.guard.stale.crash_volatility": INF, "exit.guard.stale.crash_leader_24h": -1.0},
        (PLANNED,),
    ),
    Part("exits on opposite signals", EXIT, {"exit.on_opposite_signal": "ignore"}),
    # gates
    Part("all gates and the governor", GATES, {"gates.enabled": False}),
    Part("cooldown", GATES, {"entry.cooldown_bars": 0}),
    Part("confidence filter", GATES, {"entry.confidence.min": 0.0}, (GATED,)),
    Part("minimum in TRENDING and UNKNOWN", GATES, {"orchestrator.min_confidence.trending": 0.0}, (GATED,)),
    Part("minimum in BREAKOUT", GATES, {"orchestrator.min_confidence.breakout": 0.0}, (GATED,)),
    Part("minimum in RANGING", GATES, {"orchestrator.min_confidence.ranging": 0.0}, (GATED,)),
    Part("minimum in CHOPPY", GATES, {"orchestrator.min_confidence.choppy": 0.0}, (GATED,)),
    Part(
        "modes DEFENSIVE and CRITICAL",
        GATES,
        {
            "orchestrator.defensive.daily_drawdown": INF,
            "orchestrator.defensive.losing_streak": INF,
            "orchestrator.critical.daily_drawdown": INF,
            # a DEGRADED health is DEFENSIVE all the same
            "orchestrator.defensive.min_confidence": 0.0,
            "orchestrator.defensive.size": 1.0,
        },
        (GATED,),
        stays="a DEGRADED health trails aggressively",
    ),
    Part(
        "mode CRITICAL",
        GATES,
        {"orchestrator.critical.daily_drawdown": INF},
        (GATED,),
        stays="DEFENSIVE in its place",
    ),
    Part(
        "global regime",
        GATES,
        {
            # a band so wide that there is no DOWNTREND; what is left, SIDEWAYS and UPTREND, changes nothing
            "regime.leader.band": 1.0,
            "regime.effects.sideways_size": 1.0,
            "regime.effects.sideways_confidence": 0.0,
            "regime.effects.uptrend_size": 1.0,
            "regime.effects.uptrend_short_confidence": 0.0,
        },
        (GATED,),
        leader=True,
    ),
    Part("size in CHOPPY", GATES, {"regime.effects.choppy_size": 1.0}, (GATED,)),
    Part(
        "symbol performance",
        GATES,
        {
            "orchestrator.symbol.min_trades": WINDOW_TOP,
            "orchestrator.symbol.min_win_rate": 0.0,
            "orchestrator.symbol.disable_losses": INF,
            "orchestrator.symbol.blacklist_losses": INF,
        },
        (GATED,),
        stays=f"a symbol's size factor from {WINDOW_TOP} closed trades on",
    ),
    # limits
    Part("position limits", LIMITS, {f"limits.positions.{name}": INF for name in ("total", "long", "short")}, (GATED,)),
    Part("sector limit", LIMITS, {"limits.sector_share": INF}, (GATED,), slots=4),
    Part("correlation limit", LIMITS, {"limits.correlation.max": INF}, (GATED,), slots=2),
    Part("exposure limit", LIMITS, _without_exposure_limit, (GATED,)),
    Part("gross exposure limit", LIMITS, {"limits.exposure.gross": INF}, (GATED,)),
    Part("balance limits", LIMITS, {"limits.balance.min": 0.0, "limits.balance.buffer": 1.0}, (GATED,)),
    Part("leverage cap", LIMITS, {"limits.per_trade.leverage": INF}),
    Part("margin per trade", LIMITS, {"limits.per_trade.margin": INF}),
    Part("notional per trade", LIMITS, {"limits.per_trade.notional": INF}),
    # governor
    Part("NO_NEW_TRADES", GOVERNOR, {"governor.daily_drawdown": INF}, (GATED,), stays="a CRITICAL health"),
    Part("PAUSE_1H", GOVERNOR, {"governor.hourly.loss": INF}, (GATED,)),
    Part("DEFENSIVE_EXIT", GOVERNOR, {"governor.streak.losses": INF}, (GATED,)),
    Part("EMERGENCY_SHUTDOWN", GOVERNOR, {"governor.shutdown.drawdown": INF}, (GATED,)),
)
"""Every part that settings can switch off."""


@dataclass(frozen=True)
class Plan:
    """Which parts a run can be made without, with the settings of each such run, and why the others are left out."""

    runs: tuple[tuple[Part, Settings], ...]
    left_out: dict[str, str]


def settings_without(part: Part, settings: Settings) -> Settings:
    """The settings with one part off. Errors: SettingError where they contradict the others."""
    return build(nest(flatten(settings) | dict(part.off_for(settings))))


def plan_ablation(settings: Settings, *, slots: int, leader_known: bool) -> Plan:
    """What to run. `slots`: positions that the run can have at one time."""
    runs: list[tuple[Part, Settings]] = []
    left_out: dict[str, str] = {}
    for part in PARTS:
        reason = part.why_idle(settings, slots, leader_known)
        if not reason:
            try:
                changed = settings_without(part, settings)
            except SettingError as error:
                reason = " ".join(str(error).split())
            else:
                if flatten(changed) != flatten(settings):
                    runs.append((part, changed))
                    continue
                reason = "off in this run"
        left_out[part.name] = reason
    return Plan(tuple(runs), left_out)


def changes_market(before: Settings, after: Settings) -> bool:
    """Whether anything differs that is in no parameter of a kernel: signals, regimes and bars have to be made anew."""
    read_by_kernels = set(field_paths().values())
    old = flatten(before)
    return any(value != old[path] and path not in read_by_kernels for path, value in flatten(after).items())


def add_ablation(result: Result, settings: Settings, rerun: Rerun) -> None:
    """Run without each part in turn, and add the table to the result. After a Ctrl-C the parts so far remain."""
    hedge = settings.account.mode.position == "hedge"
    slots = len(result.info.symbols) * (2 if hedge else 1)
    plan = plan_ablation(settings, slots=slots, leader_known=result.info.leader_known)
    rows: list[AblationRow] = []
    left_out = dict(plan.left_out)
    total = len(plan.runs)
    try:
        # the run once more: its fills are flagged for dependence on the path, those of the runs beside it are not
        unflagged = rerun("with every part", settings).digest
        for number, (part, changed) in enumerate(plan.runs, start=1):
            without = rerun(f"without {part.name} ({number} of {total})", changed)
            rows.append(_row(part, without, result, is_same=without.digest == unflagged))
    except KeyboardInterrupt:
        left_out |= {part.name: INTERRUPTED for part, _ in plan.runs[len(rows) :]}
        result.warnings.append(f"the ablation was interrupted after {len(rows)} of {total} parts")
    result.ablation = ablation_frame(rows)
    result.ablation_left_out = left_out


def _row(part: Part, without: Result, result: Result, *, is_same: bool) -> AblationRow:
    """One run without a part, beside the run itself."""
    total, drawdown = (without.metrics[name] for name in ("Total Return", "Max Drawdown"))
    return AblationRow(
        part=part.name,
        group=part.group,
        total_return=total,
        return_change_pp=100.0 * (total - result.metrics["Total Return"]),
        max_drawdown=drawdown,
        drawdown_change_pp=100.0 * (drawdown - result.metrics["Max Drawdown"]),
        trades=len(without.trades),
        denials=sum(one.count for one in denied_by_gate(without.denials)),
        same=is_same,
        stays=part.stays,
    )
