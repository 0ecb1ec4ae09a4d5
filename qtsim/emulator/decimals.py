"""Exact money: decimals under one context wide enough that sums and products never round.

Division alone rounds, to 34 digits.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)
"""Used by every entry point of the exchange."""
ZERO = Decimal(0)
QUOTIENT = Context(prec=34, rounding=ROUND_HALF_EVEN)
"""Digits of a quotient: shares of a cost, average prices, margins."""
SHOWN = Decimal("1e-8")


def exact(value: float | int | str | Decimal) -> Decimal:
    """The decimal that a number is written as: the shortest text of a float, so that it comes back as the same float.

    Raises
    ------
    ValueError
        The text is no finite number.
    """
    if isinstance(value, float):
        value = repr(value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def plain(value: Decimal) -> str:
    """Without exponent and trailing zeros: `0.001`, `50000`, `0`."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def padded(value: Decimal, step: Decimal) -> str:
    """With as many places as `step` has, more where the value has more: `0.010` at a step of 0.001."""
    text = plain(value)
    places = max(0, -int(step.normalize().as_tuple().exponent))
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}" if places else text


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Is it a whole number of steps?"""
    return value % step == 0


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest whole number of steps not above a value of 0 or more."""
    return value - value % step


def to_tick(value: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """The next tick above or below, or the value itself where it is on one."""
    return (value / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick


def divided(value: Decimal, by: Decimal) -> Decimal:
    """A quotient to 34 digits; exact where it ends before."""
    return QUOTIENT.divide(value, by)


def shown(value: Decimal) -> str:
    """A derived figure to 8 places: margins, what is available."""
    return format(value.quantize(SHOWN), "f")
