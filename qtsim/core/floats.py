"""Steps and comparisons of floating-point prices and quantities.

A step is a ratio of two integers, `num / den`, so that `n` steps are `n * num / den`, correctly rounded: 1/10 of a
tick count is exact where `n * 0.1` is not. `den = 0` means continuous: no rounding.
"""

from __future__ import annotations

import math

from qtsim.core._jit import kernel

STEP_TOLERANCE = 1e-7
"""A value within this share of a step of a whole number of steps counts as that number: 30000.1 / 0.1 is 300001."""
ULP = 4.5e-16


@kernel
def clamp_nb(value: float, low: float, high: float) -> float:
    """`value` within [low, high]; low wins where the two cross."""
    return max(low, min(high, value))


@kernel
def floor_steps_nb(value: float, num: float, den: float) -> int:
    """Whole steps in `value`, never more than `value` holds but for a rounding error."""
    steps = value * den / num
    return math.floor(steps + STEP_TOLERANCE + ULP * abs(steps))


@kernel
def steps_value_nb(steps: float, num: float, den: float) -> float:
    """The value of a number of steps."""
    return steps * num / den


@kernel
def round_to_step_nb(value: float, num: float, den: float) -> float:
    """Nearest multiple of the step, halves up."""
    if den == 0.0 or value != value:
        return value
    return math.floor(value * den / num + 0.5) * num / den


@kernel
def floor_to_step_nb(value: float, num: float, den: float) -> float:
    """Highest multiple of the step not above `value`, within STEP_TOLERANCE."""
    if den == 0.0 or value != value:
        return value
    steps = value * den / num
    return math.floor(steps + STEP_TOLERANCE + ULP * abs(steps)) * num / den


@kernel
def ceil_to_step_nb(value: float, num: float, den: float) -> float:
    """Lowest multiple of the step not below `value`, within STEP_TOLERANCE."""
    if den == 0.0 or value != value:
        return value
    steps = value * den / num
    return math.ceil(steps - STEP_TOLERANCE - ULP * abs(steps)) * num / den
