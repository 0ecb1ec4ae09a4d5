"""What a set of settings implies: rules that cannot fire, limits that bind first, costs that are too high.

Everything here is arithmetic on the settings, at every whole leverage that a run can use (after a run: that it used).
Numbers are those with all modifiers (funding, volatility, divergence, feedback) at rest; where a modifier could make a
finding untrue, the finding says so. Each names its key and shows its arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from qtsim.config.kinds import plain_number, show
from qtsim.config.settings import Settings, flatten, keys

COST_SHARE_TOP = 0.10
"""Share of the first target that a round trip may cost before it is reported."""
COST_ROOM = 1.5
"""A final stop must be at least this many round trips away, else the entry is denied."""
DEFAULT_MAINTENANCE_RATE = 0.004
"""Maintenance rate of the first bracket of the largest symbols."""
VOLATILITY_FACTOR_TOP = 5.0
"""The largest volatility_factor there is."""
FUNDING_DELTA_TOP = 0.1
"""The largest funding_delta there is."""
AT_REST = " with modifiers at rest"

DENIED = "denied"
UNREACHABLE = "unreachable"
BINDS = "binds"
COSTS = "costs"
UNREAD = "unread"
ORDER = (DENIED, UNREACHABLE, BINDS, COSTS, UNREAD)
"""Kinds of findings, the gravest first."""


def percent(value: float) -> str:
    """A ratio in per cent to four digits, enough to follow the arithmetic: 0.0181614 is `1.816 %`."""
    return "inf" if math.isinf(value) else f"{float(f'{value * 100:.4g}'):.10g} %"


@dataclass(frozen=True)
class Finding:
    """`kind`: one of `ORDER`. `key`: the setting it is about. `text`: the sentence with its arithmetic."""

    kind: str
    key: str
    text: str


class Span(NamedTuple):
    """Leverages that a run can use, as whole numbers: the lowest, the first (kelly before any trade), the highest."""

    low: int
    first: int
    high: int


class Levels(NamedTuple):
    """Distances of a plan without modifiers, as ratios of the entry price; `raw_sl` is before clamps and safety."""

    leverage: int
    targets: tuple[float, float, float]
    raw_targets: tuple[float, float, float]
    raw_sl: float
    sl: float
    hard: float
    liquidation: float


def check_settings(
    settings: Settings, maintenance_rates: Mapping[str, float] | None = None, leverages: Iterable[int] = ()
) -> list[Finding]:
    """Findings about `settings`, the gravest kind first.

    `maintenance_rates`: symbol → maintenance rate of its first bracket; the highest one is used, 0.4 % where none is
    given. `leverages`: those that the entries of a run had; without any, all that the settings allow. Never raises for
    settings that are valid.
    """
    rate = max(maintenance_rates.values(), default=DEFAULT_MAINTENANCE_RATE) if maintenance_rates else None
    run = _Check(settings, DEFAULT_MAINTENANCE_RATE if rate is None else rate, sorted(set(leverages)))
    findings = run.all()
    return sorted(findings, key=lambda finding: ORDER.index(finding.kind))


def leverage_span(settings: Settings) -> Span:
    """The whole leverages that the model and the cap allow."""
    leverage, cap = settings.leverage, settings.limits.per_trade.leverage

    def whole(value: float) -> int:
        return max(1, math.floor(min(value, cap) + 1e-9))

    if settings.sizing.model == "rl":
        return Span(whole(1.0), whole(3.0), whole(5.0))
    if leverage.model == "fixed":
        fixed = whole(leverage.fixed)
        return Span(fixed, fixed, fixed)
    if leverage.model == "simple":
        simple = leverage.simple
        first = min(max(simple.base * settings.entry.confidence.default, simple.min), simple.max)
        return Span(whole(simple.min), whole(first), whole(simple.max))
    if leverage.model == "ilf2":
        return Span(whole(leverage.ilf2.min), whole(leverage.ilf2.min), whole(leverage.ilf2.max))
    kelly = leverage.kelly
    fraction = kelly.prior_win_rate - (1.0 - kelly.prior_win_rate) / kelly.prior_reward_risk
    first = min(max(kelly.multiplier * fraction, 1.0), kelly.max)
    return Span(1, whole(first), whole(kelly.max))


def plan_levels(settings: Settings, leverage: int, maintenance_rate: float = DEFAULT_MAINTENANCE_RATE) -> Levels:
    """Targets, stop, hard stop and liquidation distance of a long's plan with all modifiers at rest."""
    levels, base_tp, base_sl = settings.exit.levels, settings.exit.base_tp, settings.exit.base_sl
    lsf = 1.0 / (1.0 + levels.lsf_sensitivity * math.log(leverage + 1.0))
    if levels.adaptive:
        raw = [
            base_tp * (step + weight * lsf)
            for step, weight in zip(levels.tp.progression, levels.tp.lsf_weights, strict=True)
        ]
        if levels.sl.model == "adaptive":
            raw_sl = base_sl * (1.0 + levels.sl.leverage_factor * (1.0 - lsf))
        else:
            raw_sl = base_sl * (1.0 - settings.entry.confidence.default / 4.0)
    else:
        raw = [base_tp * k for k in (1, 2, 3)]
        raw_sl = base_sl
    liquidation = (1.0 / leverage - maintenance_rate) / (1.0 - maintenance_rate)
    safety = levels.sl_safety
    hard = min(settings.exit.stops.hard.distance, safety.max_liquidation_share * liquidation)
    sl = min(max(raw_sl, levels.sl.min), levels.sl.max)
    sl = min(sl, safety.max_hard_share * hard, safety.max_margin_loss / leverage)
    return Levels(
        leverage,
        (max(raw[0], levels.tp.min), max(raw[1], levels.tp.min), max(raw[2], levels.tp.min)),
        (raw[0], raw[1], raw[2]),
        raw_sl,
        sl,
        hard,
        liquidation,
    )


class _Check:
    """One look at one set of settings."""

    def __init__(self, settings: Settings, maintenance_rate: float, used: list[int]) -> None:
        self.settings = settings
        self.rate = maintenance_rate
        self.span = leverage_span(settings)
        self.flat = flatten(settings)
        if used:
            first = self.span.first if self.span.first in used else used[0]
            self.span = Span(used[0], first, used[-1])
        self.plans = {
            leverage: plan_levels(settings, leverage, maintenance_rate)
            for leverage in used or range(self.span.low, self.span.high + 1)
        }
        self.round_trip = settings.costs.round_trip()
        self.findings: list[Finding] = []

    def all(self) -> list[Finding]:
        policy = self.settings.exit.policy
        if policy in ("exit_brain", "profit_lock"):
            self._stop_is_too_near()
            self._guard_behind_hard_stop()
            self._stop_is_clamped()
            self._hard_stop_is_pulled_in()
        if policy == "exit_brain":
            self._targets()
            self._trail()
            self._breakeven()
        elif policy == "bracket":
            self._bracket()
        elif policy == "profit_lock":
            self._lock_costs()
        if policy != "bracket":
            self._margin_emergency()
            self._backup_stop()
        self._target_costs()
        self._leverage()
        self._size()
        self._unread()
        return self.findings

    # --- Words -------------------------------------------------------------------------------------------------------

    def _add(self, kind: str, key: str, text: str) -> None:
        self.findings.append(Finding(kind, key, text))

    def _where(self, holds: Callable[[Levels], bool]) -> list[int]:
        """Leverages of the run at which `holds`."""
        return [leverage for leverage, plan in self.plans.items() if holds(plan)]

    def _at(self, found: list[int]) -> str:
        """Leverages in words; empty where it is all of the run's."""
        if len(found) == 1:
            return f"at {found[0]}x"
        return f"at {found[0]}x to {found[-1]}x"

    def _example(self, found: list[int]) -> Levels:
        """The plan that stands for several leverages: that of the first entry where it is among them."""
        return self.plans[self.span.first if self.span.first in found else found[0]]

    def _changed(self, key: str) -> bool:
        return bool(self.flat[key] != keys()[key].default)

    # --- Stops and guards --------------------------------------------------------------------------------------------

    def _stop_is_too_near(self) -> None:
        safety = self.settings.exit.levels.sl_safety
        needed = max(safety.min_distance, COST_ROOM * self.round_trip)
        found = self._where(lambda plan: plan.liquidation <= 0 or plan.sl <= needed)
        if not found:
            return
        plan = self._example(found)
        always = all(self.plans[x].liquidation <= 0 or self._widest_stop(self.plans[x]) <= needed for x in found)
        if plan.liquidation <= 0:
            self._add(
                DENIED,
                "limits.per_trade.leverage",
                f"every entry is denied {self._at(found)}: a maintenance rate of {percent(self.rate)} leaves no room "
                f"before liquidation at {plan.leverage}x",
            )
            return
        rule = (
            f"exit.levels.sl_safety.min_distance {percent(safety.min_distance)}"
            if safety.min_distance >= COST_ROOM * self.round_trip
            else f"1.5 × round-trip costs {percent(self.round_trip)} = {percent(needed)}"
        )
        self._add(
            DENIED,
            "exit.base_sl",
            f"every entry{'' if always else AT_REST} is denied {self._at(found)}: the final stop is "
            f"{percent(plan.sl)} at {plan.leverage}x, not beyond {rule}",
        )

    def _widest_stop(self, plan: Levels) -> float:
        """The plan's stop where divergence, volatility and feedback all widen it as far as they can."""
        levels = self.settings.exit.levels
        raw = plan.raw_sl
        if levels.adaptive:
            raw *= 1.0 + levels.sl.divergence_scale + levels.sl.volatility_scale * VOLATILITY_FACTOR_TOP
            raw *= levels.feedback.max
        safety = levels.sl_safety
        stop = min(max(raw, levels.sl.min), levels.sl.max)
        return min(stop, safety.max_hard_share * plan.hard, safety.max_margin_loss / plan.leverage)

    def _widest_target(self, plan: Levels, k: int) -> float:
        """Target k (0 to 2) where funding, volatility and feedback all push it as far out as they can."""
        levels = self.settings.exit.levels
        if not levels.adaptive:
            return plan.targets[k]
        reach = (1.0 + levels.tp.funding_scale * FUNDING_DELTA_TOP) * levels.feedback.max
        return plan.targets[k] * reach * (1.0 + levels.tp.volatility_scale * VOLATILITY_FACTOR_TOP)

    def _guard_behind_hard_stop(self) -> None:
        loss = self.settings.exit.guard.loss
        if math.isinf(loss.max) or self.settings.exit.stops.hard.working_type != "mark":
            return  # the guard watches the mark; a hard stop on the last price does not stand before it

        def distance(plan: Levels) -> float:
            return loss.max if loss.basis == "notional" else loss.max / plan.leverage

        found = self._where(lambda plan: distance(plan) >= plan.hard)
        if not found:
            return
        plan = self._example(found)
        stated = f"{percent(loss.max)}"
        if loss.basis == "margin":
            stated = f"{percent(loss.max)} of margin, {percent(distance(plan))} of price at {plan.leverage}x"
        where = "" if len(found) == len(self.plans) else f" {self._at(found)}"
        own = f"{percent(plan.hard)}" + (
            f" at {plan.leverage}x" if plan.hard < self.settings.exit.stops.hard.distance else ""
        )
        self._add(
            UNREACHABLE,
            "exit.guard.loss.max",
            f"cannot fire while the hard stop stands{where}: exit.guard.loss.max ({stated}), beyond its {own}",
        )

    def _final_stop(self, plan: Levels) -> float:
        """The internal stop of the policy with modifiers at rest; inf where a market's ATR sets it."""
        if self.settings.exit.policy != "legacy":
            return plan.sl
        legacy, safety = self.settings.exit.legacy, self.settings.exit.levels.sl_safety
        if legacy.levels == "math":
            return math.inf
        stop = min(legacy.sl, safety.max_hard_share * self._hard_stop(plan))
        return min(stop, safety.max_margin_loss / plan.leverage)

    def _hard_stop(self, plan: Levels) -> float:
        if self.settings.exit.policy != "legacy":
            return plan.hard
        share = self.settings.exit.levels.sl_safety.max_liquidation_share
        return min(self.settings.exit.legacy.hard, share * plan.liquidation)

    def _margin_emergency(self) -> None:
        """A limit inside leverage × (stop + round trip) fires before the stop; one behind the hard stop never."""
        limit = self.settings.exit.guard.loss.emergency_margin
        if math.isinf(limit):
            return
        key = "exit.guard.loss.emergency_margin"
        found = self._where(lambda plan: limit < plan.leverage * (self._final_stop(plan) + self.round_trip) < math.inf)
        if found:
            plan = self._example(found)
            stop = self._final_stop(plan)
            self._add(
                BINDS,
                key,
                f"{key} ({percent(limit)}) fires before the stop and inside the costs {self._at(found)}{AT_REST}: "
                f"{plan.leverage} × (stop {percent(stop)} + round-trip costs {percent(self.round_trip)}) = "
                f"{percent(plan.leverage * (stop + self.round_trip))} of margin",
            )
        if self.settings.exit.stops.hard.working_type != "mark":
            return
        found = self._where(lambda plan: limit / plan.leverage >= self._hard_stop(plan))
        if found:
            plan = self._example(found)
            self._add(
                UNREACHABLE,
                key,
                f"cannot fire while the hard stop stands {self._at(found)}: {key} ({percent(limit)} of margin, "
                f"{percent(limit / plan.leverage)} of price at {plan.leverage}x), beyond its "
                f"{percent(self._hard_stop(plan))}",
            )

    def _backup_stop(self) -> None:
        if self.settings.exit.stops.backup.enabled:
            self._add(
                UNREACHABLE,
                "exit.stops.backup.enabled",
                "cannot fire in a backtest: exit.stops.backup.enabled rests a second stop at the hard stop's trigger, "
                "and the simulated exchange never refuses the first",
            )

    def _lock_costs(self) -> None:
        """Returns on margin are net of costs; here is how much of what a leg must earn goes into them."""
        first = self.settings.exit.profit_lock.legs[0][0]
        found = self._where(lambda plan: self.round_trip * plan.leverage > COST_SHARE_TOP * first)
        if found:
            plan = self._example(found)
            self._add(
                COSTS,
                "exit.profit_lock.legs",
                f"costs are {percent(self.round_trip * plan.leverage)} of margin {self._at(found)}, beside the "
                f"{percent(first)} that the first leg earns after them: {plan.leverage} × round trip "
                f"{percent(self.round_trip)}",
            )

    def _stop_is_clamped(self) -> None:
        levels, base = self.settings.exit.levels, self.settings.exit.base_sl
        safety = levels.sl_safety
        bounds: tuple[tuple[str, Callable[[Levels], float], Callable[[Levels], str]], ...] = (
            ("exit.levels.sl.max", lambda _: levels.sl.max, lambda _: percent(levels.sl.max)),
            (
                "exit.levels.sl_safety.max_hard_share",
                lambda plan: safety.max_hard_share * plan.hard,
                lambda plan: (
                    f"{plain_number(safety.max_hard_share)} × hard stop {percent(plan.hard)} = "
                    f"{percent(safety.max_hard_share * plan.hard)}"
                ),
            ),
            (
                "exit.levels.sl_safety.max_margin_loss",
                lambda plan: safety.max_margin_loss / plan.leverage,
                lambda plan: (
                    f"{percent(safety.max_margin_loss)} of margin / {plan.leverage} = "
                    f"{percent(safety.max_margin_loss / plan.leverage)}"
                ),
            ),
        )
        for key, bound, words in bounds:
            others = [other for name, other, _ in bounds if name != key]
            found = self._where(
                lambda plan, bound=bound, others=others: (  # type: ignore[misc]
                    plan.raw_sl > bound(plan) and all(bound(plan) <= other(plan) for other in others)
                )
            )
            if not found:
                continue
            plan = self._example(found)
            per_base = plan.raw_sl / base
            self._add(
                BINDS,
                key,
                f"{key} sets the stop {self._at(found)}{AT_REST}, not exit.base_sl: {percent(base)} × {per_base:.4g} = "
                f"{percent(plan.raw_sl)} at {plan.leverage}x, held to {words(plan)}; every base_sl from "
                f"{percent(bound(plan) / per_base)} on is the same there",
            )
        if self._where(lambda plan: plan.raw_sl < levels.sl.min):
            found = self._where(lambda plan: plan.raw_sl < levels.sl.min)
            plan = self._example(found)
            self._add(
                BINDS,
                "exit.levels.sl.min",
                f"exit.levels.sl.min sets the stop {self._at(found)}{AT_REST}, not exit.base_sl: {percent(base)} gives "
                f"{percent(plan.raw_sl)} at {plan.leverage}x, lifted to {percent(levels.sl.min)}",
            )
        tightest = max(safety.max_hard_share * plan.hard for plan in self.plans.values())
        if levels.sl.max > tightest and self._changed("exit.levels.sl.max"):
            self._add(
                UNREACHABLE,
                "exit.levels.sl.max",
                f"cannot bind: exit.levels.sl.max ({percent(levels.sl.max)}), the stop is held to "
                f"{plain_number(safety.max_hard_share)} × hard stop = {percent(tightest)} at most",
            )

    def _hard_stop_is_pulled_in(self) -> None:
        stated = self.settings.exit.stops.hard.distance
        share = self.settings.exit.levels.sl_safety.max_liquidation_share
        found = self._where(lambda plan: 0 < plan.hard < stated)
        if not found:
            return
        plan = self.plans[found[-1]]
        self._add(
            BINDS,
            "exit.levels.sl_safety.max_liquidation_share",
            f"exit.levels.sl_safety.max_liquidation_share sets the hard stop {self._at(found)}, not "
            f"exit.stops.hard.distance ({percent(stated)}): "
            f"{plain_number(share)} × liquidation distance {percent(plan.liquidation)} = {percent(plan.hard)} "
            f"at {plan.leverage}x with a maintenance rate of {percent(self.rate)}",
        )

    # --- Targets, trail, breakeven -----------------------------------------------------------------------------------

    def _targets(self) -> None:
        least = self.settings.exit.levels.tp.min
        found = self._where(lambda plan: plan.raw_targets[0] < least)
        if found:
            plan = self._example(found)
            self._add(
                BINDS,
                "exit.levels.tp.min",
                f"exit.levels.tp.min sets the first target {self._at(found)}{AT_REST}, not exit.base_tp: "
                f"{percent(plan.raw_targets[0])} at {plan.leverage}x, lifted to {percent(least)}",
            )
        collapsed = self._where(lambda plan: plan.targets[0] >= plan.targets[1] or plan.targets[1] >= plan.targets[2])
        if collapsed:
            plan = self._example(collapsed)
            shown = ", ".join(percent(target) for target in plan.targets)
            self._add(
                BINDS,
                "exit.levels.tp.progression",
                f"targets collapse {self._at(collapsed)}{AT_REST}: {shown} at {plan.leverage}x; they are pushed one "
                "tick apart",
            )

    def _trail(self) -> None:
        trail = self.settings.exit.stops.trail
        if trail.mode == "off":
            return
        key = "exit.stops.trail.activate"
        if math.isinf(trail.activate):
            self._add(
                UNREACHABLE,
                key,
                f"the trail cannot start: {key} is inf, while exit.stops.trail.mode is {show(trail.mode)}",
            )
        else:
            found = self._where(lambda plan: trail.activate > plan.targets[2])
            if found:
                plan = self._example(found)
                always = all(trail.activate > self._widest_target(self.plans[x], 2) for x in found)
                where = f"{self._at(found)}{'' if always else AT_REST}"
                shown = f"{key} ({percent(trail.activate)}), beyond TP3 {percent(plan.targets[2])} at {plan.leverage}x"
                if self._closes_all():
                    self._add(UNREACHABLE, key, f"the trail cannot start {where}: {shown}, which closes the rest")
                else:
                    self._add(BINDS, key, f"the trail follows the runner alone {where}: {shown}")
        if VOLATILITY_FACTOR_TOP < trail.suspend_volatility < math.inf:
            self._add(
                UNREACHABLE,
                "exit.stops.trail.suspend_volatility",
                f"cannot act: exit.stops.trail.suspend_volatility ({plain_number(trail.suspend_volatility)}), "
                f"volatility_factor is never above {plain_number(VOLATILITY_FACTOR_TOP)}",
            )

    def _closes_all(self) -> bool:
        """True where no runner stays after the third target."""
        return self.settings.exit.harvest.basis == "initial"

    def _breakeven(self) -> None:
        activate = self.settings.exit.stops.breakeven.activate
        if math.isinf(activate):
            return
        key = "exit.stops.breakeven.activate"
        index = {"breakeven": 0, "lock": 0}.get(self.settings.exit.stops.ratchet.preset)
        if index is not None:
            found = self._where(lambda plan: activate >= plan.targets[index])
            if found:
                plan = self._example(found)
                always = all(activate >= self._widest_target(self.plans[x], index) for x in found)
                self._add(
                    UNREACHABLE,
                    key,
                    f"breakeven cannot move the stop {self._at(found)}{'' if always else AT_REST}: {key} "
                    f"({percent(activate)}), the ratchet has moved it at "
                    f"TP1 {percent(plan.targets[0])} at {plan.leverage}x",
                )
        if activate <= self.round_trip:
            self._add(
                COSTS,
                key,
                f"{key} ({percent(activate)}) lies inside the round-trip costs of {percent(self.round_trip)}: "
                "the stop would stand beyond the price",
            )

    # --- Bracket -----------------------------------------------------------------------------------------------------

    def _bracket(self) -> None:
        stop = self.settings.exit.bracket.sl
        if math.isinf(stop):
            return
        found = self._where(lambda plan: stop >= plan.liquidation)
        if found:
            plan = self._example(found)
            self._add(
                UNREACHABLE,
                "exit.bracket.sl",
                f"cannot fire before liquidation {self._at(found)}: exit.bracket.sl ({percent(stop)}), beyond its "
                f"{percent(plan.liquidation)} at {plan.leverage}x with a maintenance rate of {percent(self.rate)}",
            )

    # --- Costs -------------------------------------------------------------------------------------------------------

    def _target_costs(self) -> None:
        taker = self.settings.costs.fees.rates()[1]
        bps = self.settings.costs.slippage.bps
        sum_words = f"2 × (taker {percent(taker)} + slippage {plain_number(bps)} bps) = {percent(self.round_trip)}"
        if self.settings.exit.policy == "bracket":
            target = self.settings.exit.bracket.tp
            if not math.isinf(target) and self.round_trip > COST_SHARE_TOP * target:
                self._add(
                    COSTS,
                    "exit.bracket.tp",
                    f"costs are {percent(self.round_trip / target)} of the target: {sum_words} of {percent(target)}",
                )
            return
        if self.settings.exit.policy != "exit_brain":
            return
        found = self._where(lambda plan: self.round_trip > COST_SHARE_TOP * plan.targets[0])
        if found:
            plan = self._example(found)
            self._add(
                COSTS,
                "exit.base_tp",
                f"costs are {percent(self.round_trip / plan.targets[0])} of the first target {self._at(found)}: "
                f"{sum_words} of {percent(plan.targets[0])} at {plan.leverage}x, "
                f"{percent(self.round_trip * plan.leverage)} of margin",
            )

    # --- Leverage and size -------------------------------------------------------------------------------------------

    def _leverage(self) -> None:
        leverage, cap = self.settings.leverage, self.settings.limits.per_trade.leverage
        by_agent = self.settings.sizing.model == "rl"
        key, stated = {
            "rl": ("the highest leverage of sizing.model rl", 5.0),
            "fixed": ("leverage.fixed", leverage.fixed),
            "simple": ("leverage.simple.max", leverage.simple.max),
            "ilf2": ("leverage.ilf2.max", leverage.ilf2.max),
            "kelly": ("leverage.kelly.max", leverage.kelly.max),
        }["rl" if by_agent else leverage.model]
        if stated > cap:
            self._add(
                BINDS,
                "limits.per_trade.leverage",
                f"limits.per_trade.leverage caps leverage at {plain_number(cap)}x: {key} is {plain_number(stated)}",
            )
        if not float(stated).is_integer() and stated <= cap:
            self._add(
                BINDS, key, f"leverage is rounded down: {key} = {plain_number(stated)} gives {math.floor(stated)}x"
            )

    def _size(self) -> None:
        sizing, limit = self.settings.sizing, self.settings.limits.per_trade
        first, balance = self.span.first, self.settings.account.balance
        if sizing.model in ("math", "rl"):
            own = sizing.math
            below = own.risk / (own.stop_atr * first * min(own.max_margin, limit.margin))
            name, cap = (
                ("sizing.math.max_margin", own.max_margin)
                if own.max_margin <= limit.margin
                else ("limits.per_trade.margin", limit.margin)
            )
            self._add(
                BINDS,
                name,
                f"{name} sets the size wherever ATR is below {percent(below)} at {first}x: {percent(own.risk)} / "
                f"({plain_number(own.stop_atr)} × ATR) / {first} exceeds {percent(cap)} of balance",
            )
            if (
                limit.margin > own.max_margin
                and self._changed("limits.per_trade.margin")
                and not math.isinf(limit.margin)
            ):
                self._add(
                    UNREACHABLE,
                    "limits.per_trade.margin",
                    f"cannot bind: limits.per_trade.margin ({percent(limit.margin)}), sizing.math.max_margin "
                    f"{percent(own.max_margin)} comes first",
                )
        elif sizing.model == "fraction" and sizing.fraction > limit.margin:
            self._add(
                BINDS,
                "limits.per_trade.margin",
                f"limits.per_trade.margin sets the size: sizing.fraction {percent(sizing.fraction)} exceeds its "
                f"{percent(limit.margin)}",
            )
        elif sizing.model == "notional":
            if sizing.notional > limit.notional:
                self._add(
                    BINDS,
                    "limits.per_trade.notional",
                    f"limits.per_trade.notional sets the size: sizing.notional {sizing.notional:,.0f} exceeds its "
                    f"{limit.notional:,.0f}",
                )
            elif sizing.notional / first > limit.margin * balance:
                self._add(
                    BINDS,
                    "limits.per_trade.margin",
                    f"limits.per_trade.margin sets the size: sizing.notional {sizing.notional:,.0f} / {first} exceeds "
                    f"{percent(limit.margin)} of {balance:,.0f}",
                )
        elif sizing.model == "fixed_risk":
            self._fixed_risk()

    def _fixed_risk(self) -> None:
        sizing, limit, first = self.settings.sizing, self.settings.limits.per_trade, self.span.first
        bracket = self.settings.exit.policy == "bracket"
        stop = self.settings.exit.bracket.sl if bracket else self._final_stop(self.plans[first])
        if math.isinf(stop) and not bracket:
            return
        if math.isinf(stop):
            self._add(
                DENIED,
                "exit.bracket.sl",
                "no size can be found: sizing.model fixed_risk needs a stop, and exit.bracket.sl is inf",
            )
            return
        margin = sizing.fixed_risk / (stop + self.round_trip) / first
        if margin > limit.margin:
            self._add(
                BINDS,
                "limits.per_trade.margin",
                f"limits.per_trade.margin sets the size at {first}x: {percent(sizing.fixed_risk)} / (stop "
                f"{percent(stop)} + costs "
                f"{percent(self.round_trip)}) / {first} = {percent(margin)} exceeds {percent(limit.margin)} of balance",
            )

    # --- Settings that the chosen models do not read -----------------------------------------------------------------

    def _unread(self) -> None:
        """Name changed settings that belong to a model or mode other than the chosen one."""
        exit_settings = self.settings.exit
        policy = exit_settings.policy
        brain = policy == "exit_brain"
        planned = policy in ("exit_brain", "profit_lock")
        style = exit_settings.stops.trail.style
        backup = exit_settings.stops.backup.enabled
        by_agent = self.settings.sizing.model == "rl"
        also_read = {exit_settings.legacy.levels if policy == "legacy" else "", "math" if by_agent else ""}
        trail = exit_settings.stops.trail.mode

        def has_style(name: str) -> bool:
            return by_agent or style == name

        rules: tuple[tuple[str, bool, str], ...] = (
            ("leverage", not by_agent, "sizing.model"),
            ("exit.stops.trail.style", not by_agent, "sizing.model"),
            *(
                (f"leverage.{name}", by_agent or self.settings.leverage.model == name, "leverage.model")
                for name in ("fixed", "simple", "ilf2", "kelly")
            ),
            *(
                (f"sizing.{name}", self.settings.sizing.model == name or name in also_read, "sizing.model")
                for name in ("math", "notional", "fixed_risk", "fraction", "fixed_qty", "rl")
            ),
            *((f"exit.{name}", policy == name, "exit.policy") for name in ("bracket", "legacy", "profit_lock")),
            *(
                (name, brain, "exit.policy")
                for name in (
                    "exit.base_tp",
                    "exit.replan",
                    "exit.levels.tp",
                    "exit.harvest",
                    "exit.stops.ratchet.preset",
                    "exit.stops.breakeven",
                    "exit.stops.trail.mode",
                    "exit.stops.trail.distance",
                    "exit.stops.trail.choppy",
                )
            ),
            *(
                (name, planned, "exit.policy")
                for name in (
                    "exit.base_sl",
                    "exit.levels.adaptive",
                    "exit.levels.lsf_sensitivity",
                    "exit.levels.sl",
                    "exit.levels.feedback",
                    "exit.stops.hard.distance",
                    "exit.stops.trail.activate",
                    "exit.guard.stale",
                )
            ),
            *(
                (name, policy in ("exit_brain", "legacy"), "exit.policy")
                for name in (
                    "exit.stops.ratchet.fee_buffer",
                    "exit.stops.trail.style",
                    "exit.stops.trail.suspend_volatility",
                )
            ),
            *(
                (name, policy != "bracket", "exit.policy")
                for name in (
                    "exit.levels.sl_safety",
                    "exit.stops.hard.working_type",
                    "exit.stops.backup",
                    "exit.guard.loss",
                )
            ),
            *(
                (f"exit.stops.trail.{name}", trail == "atr" and has_style(name), "exit.stops.trail.mode, style")
                if brain
                else (f"exit.stops.trail.{name}", policy == "legacy" and has_style(name), "exit.policy")
                for name in ("aggressive", "balanced", "loose")
            ),
            ("exit.stops.backup.limit_offset_bps", policy == "bracket" or backup, "exit.stops.backup.enabled"),
            ("exit.stops.trail.distance", not brain or trail == "percent", "exit.stops.trail.mode"),
            ("exit.stops.trail.activate", not brain or trail != "off", "exit.stops.trail.mode"),
            (
                "exit.harvest.scheme.tiers",
                not brain or exit_settings.harvest.scheme.by == "leverage",
                "exit.harvest.scheme.by",
            ),
            (
                "exit.harvest.scheme.static",
                not brain or exit_settings.harvest.scheme.by == "static",
                "exit.harvest.scheme.by",
            ),
            ("exit.levels.sl.leverage_factor", not planned or self._adaptive_stop(), "exit.levels.adaptive, sl.model"),
            *(
                (f"exit.levels.{name}", not reads or exit_settings.levels.adaptive, "exit.levels.adaptive")
                for name, reads in (
                    ("lsf_sensitivity", planned),
                    ("tp.progression", brain),
                    ("tp.lsf_weights", brain),
                    ("sl.model", planned),
                )
            ),
            ("exit.check_interval_s", exit_settings.monitoring == "interval", "exit.monitoring"),
            *(
                (f"costs.slippage.{name}", self.settings.costs.slippage.model == "size", "costs.slippage.model")
                for name in ("large_notional", "large_bps", "volatile_bps")
            ),
            *(
                (f"entry.order.{name}", self.settings.entry.order.type == "limit", "entry.order.type")
                for name in ("limit_offset_bps", "timeout_bars")
            ),
            ("sim.volume.unfilled", math.isfinite(self.settings.sim.volume.max_share), "sim.volume.max_share"),
            ("costs.funding.default_rate", self.settings.costs.funding.source != "off", "costs.funding.source"),
        )
        for name, is_read, by in rules:
            if is_read:
                continue
            for key in self.flat:
                if (key == name or key.startswith(f"{name}.")) and key in keys() and self._changed(key):
                    chosen = self._value_of(by)
                    self._add(UNREAD, key, f"has no effect: {key} = {show(self.flat[key])}, while {by} is {chosen}")

    def _adaptive_stop(self) -> bool:
        levels = self.settings.exit.levels
        return levels.adaptive and levels.sl.model == "adaptive"

    def _value_of(self, names: str) -> str:
        """The value of the key that `names` starts with, and of its siblings after commas."""
        first, *more = names.split(", ")
        stem = first.rpartition(".")[0]
        values: list[Any] = [self.flat[first], *(self.flat[f"{stem}.{name}"] for name in more)]
        return ", ".join(show(value) for value in values)
