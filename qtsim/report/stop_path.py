"""Where a trade's stop stood at every moment.

Decisions are journalled, a trail's moves are not: they are state. So the path is recomputed here from the bars, the
ATR that was in force, and the decisions, which are points it is known to pass through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TrailRule:
    """How a trail keeps its distance: `multiple` x ATR, or `distance` as a ratio of the peak."""

    mode: str  # off, atr, percent
    multiple: float
    distance: float
    suspend_volatility: float

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> TrailRule:
        """The rule in force; entries may have another (a signal's own trail)."""
        path = "exit.stops.trail"
        style = settings.get(f"{path}.style", "balanced")
        mode = settings.get(f"{path}.mode", "atr")
        policy = settings.get("exit.policy", "exit_brain")
        if policy == "legacy":
            mode = "atr"
        elif policy != "exit_brain":
            mode = "off"  # profit_lock: the stop is drawn where decisions and the end show it
        return cls(
            mode=str(mode),
            multiple=float(settings.get(f"{path}.{style}", 1.0)),
            distance=float(settings.get(f"{path}.distance", 0.02)),
            suspend_volatility=float(settings.get(f"{path}.suspend_volatility", 3.0)),
        )


@dataclass(frozen=True)
class TradeBars:
    """The bars of one trade, from the entry's to the exit's: arrays of equal length, times int64 ns.

    `atr` and `volatility_factor` are those known when the bar opened.
    """

    closes_at: np.ndarray
    high: np.ndarray
    low: np.ndarray
    atr: np.ndarray
    volatility_factor: np.ndarray


def stop_path(
    side: int,
    known: list[tuple[int, float]],
    end_ts: int,
    last_stop: float,
    trail_from: tuple[int, float] | None,
    rule: TrailRule,
    bars: TradeBars,
    *,
    reached: bool = True,
) -> list[tuple[int, float]]:
    """Steps (time ns, stop from then on), the last at `end_ts`.

    `known`: (time, stop) of entry and decisions in order; NaN where there is none. `last_stop`: the stop when the trade
    ended; where it was `reached`, it may have moved within the last bar. `trail_from`: (time, peak) at which the trail
    started, None where it never did.
    """
    points = [(ts, stop) for ts, stop in known if np.isfinite(stop)]
    if trail_from is not None and rule.mode != "off":
        points.extend(_trail_moves(side, trail_from, end_ts, rule, bars))
        points.sort(key=lambda point: point[0])
    steps: list[tuple[int, float]] = []
    for ts, stop in points:
        # a stop only tightens, and never beyond where it was seen at the end
        inner = side * min(side * stop, side * last_stop) if np.isfinite(last_stop) else stop
        if not steps or side * (inner - steps[-1][1]) > 0.0:
            steps.append((ts, inner))
    if not steps:
        return []
    if reached and np.isfinite(last_stop) and last_stop != steps[-1][1]:
        steps.append((end_ts, last_stop))
    return [*steps, (end_ts, steps[-1][1])]


def _trail_moves(
    side: int, trail_from: tuple[int, float], end_ts: int, rule: TrailRule, bars: TradeBars
) -> list[tuple[int, float]]:
    """The trailing stop at the close of each bar after it started; the bar of the exit is cut off."""
    start_ts, peak = trail_from
    moves = []
    for i in range(len(bars.closes_at)):
        if bars.closes_at[i] <= start_ts or bars.closes_at[i] > end_ts:
            continue
        peak = side * max(side * peak, side * float(bars.high[i] if side > 0 else bars.low[i]))
        held = bars.volatility_factor[i] >= rule.suspend_volatility
        distance = peak * rule.distance if rule.mode == "percent" else rule.multiple * float(bars.atr[i])
        if not held and np.isfinite(distance) and distance > 0.0:
            moves.append((int(bars.closes_at[i]), peak - side * distance))
    return moves
