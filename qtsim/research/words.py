"""Values, axes and clamps of a sweep in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtsim.config.check import leverage_span, plan_levels
from qtsim.config.kinds import Ratio, percent, plain_number, show
from qtsim.config.settings import build, keys, nest
from qtsim.errors import SettingError
from qtsim.research.copies import CopyRange
from qtsim.research.space import SYMBOLS

BISECTIONS = 40
STOP_AXIS = "exit.base_sl"


def value_text(path: str, value: Any) -> str:
    """A value of an axis: 1.25 % for ratios, BTCUSDT+ETHUSDT for symbols, plain numbers and words else."""
    if path == SYMBOLS:
        return "+".join(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return show(value).strip('"')
    key = keys().get(path)
    if key is not None and isinstance(key.kind, Ratio):
        return percent(float(value))
    return plain_number(float(value))


def short_path(path: str) -> str:
    """base_sl of exit.base_sl."""
    return path.rpartition(".")[2]


def cell_text(values: Mapping[str, Any]) -> str:
    """base_tp 2 %, base_sl 0.8 %"""
    return ", ".join(f"{short_path(path)} {value_text(path, value)}" for path, value in values.items())


def range_text(path: str, low: object, high: object) -> str:
    """base_tp 1.2 % to 3 %"""
    if low == high:
        return f"{short_path(path)} {value_text(path, low)}"
    return f"{short_path(path)} {value_text(path, low)} to {value_text(path, high)}"


def copy_text(copy: CopyRange, settings: Mapping[str, Any]) -> str:
    """Why trials along one axis are equal: the clamp, its value, and from where on it acts."""
    what = f"{range_text(copy.path, copy.low, copy.high)} ({copy.copies:,})"
    if not copy.setting:
        return f"{what}: {copy.words}"
    clamp = f"{copy.setting} = {value_text(copy.setting, settings[copy.setting])}"
    return f"{what}: {copy.words} acts in every trade ({clamp}){stop_bound_text(copy, settings)}"


def stop_bound_text(copy: CopyRange, settings: Mapping[str, Any]) -> str:
    """From which value on the stop's clamp hides the axis, at the run's one leverage and feedback 1; else nothing."""
    if copy.path != STOP_AXIS:
        return ""
    try:
        built = build(nest(settings))
    except SettingError:
        return ""
    span = leverage_span(built)
    if span.low != span.high:
        return ""

    def stop_of(value: float) -> float:
        return plan_levels(
            built.model_copy(update={"exit": built.exit.model_copy(update={"base_sl": value})}), span.low
        ).sl

    low, high = 1e-6, float(str(copy.high))
    most = stop_of(high)
    if stop_of(low) == most:
        return ""
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if stop_of(middle) < most:
            low = middle
        else:
            high = middle
    hard = plan_levels(built, span.low).hard
    return (
        f"; at {span.low}x and feedback 1 a stop is at most {percent(most)} (hard stop {percent(hard)}), so that every "
        f"{short_path(copy.path)} above {percent(round(high, 6))} is the same"
    )
