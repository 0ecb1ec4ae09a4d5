"""What a sweep varies: axes of values, and the cells of the grid that they span.

A cell is one combination of values; its number counts them in the order of the axes, the last one fastest. A random
search draws cells of the same grid, so that every search knows which of its trials are neighbours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from qtsim.config.kinds import show
from qtsim.data.timeframes import timeframe_ns
from qtsim.errors import UsageError

LINEAR, LOG, STEPS, CHOICE = "linear", "log", "steps", "choice"
TIMEFRAME, SYMBOLS = "run.timeframe", "run.symbols"
SUBJECT_AXES = (TIMEFRAME, SYMBOLS)
"""Axes whose values are other data."""
DIGITS = 12
"""Significant digits of a computed value."""
FORMS = "write KEY=a,b,c or KEY=lo:hi:step or KEY=lo:hi:x20 or KEY=lo:hi:log20"
RANGE = re.compile(r"\s*([^:,\[\]\"']+?)\s*:\s*([^:,\[\]\"']+?)\s*(?::\s*([^:,\[\]\"']+?)\s*)?")
MOST_VALUES = 1_000_000
"""Of one axis."""

ReadValue = Callable[[str, Any], Any]
"""Called with (path, text or value); the stored form of the value. Raises UsageError."""


@dataclass(frozen=True)
class Axis:
    """One parameter and its values, ascending where they are numbers or timeframes."""

    path: str
    values: tuple[Any, ...]

    @property
    def scale(self) -> str:
        """linear or log for numbers, by how they are spaced; steps for timeframes; choice for what has no order."""
        numbers = self.values
        if _are_timeframes(numbers):
            return STEPS
        if not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in numbers):
            return CHOICE
        if len(numbers) > 2 and numbers[0] > 0.0:
            steps = np.diff(np.asarray(numbers, dtype=np.float64))
            ratios = np.diff(np.log(np.asarray(numbers, dtype=np.float64)))
            if np.ptp(ratios) < 1e-6 * ratios.max() and np.ptp(steps) > 1e-6 * steps.max():
                return LOG
        return LINEAR

    def places(self) -> np.ndarray:
        """Where the values lie between 0 (the first) and 1 (the last), shape (values,); steps and choices count."""
        count = len(self.values)
        if self.scale in (STEPS, CHOICE) or count < 2:
            return np.arange(count) / max(count - 1, 1)
        numbers = np.asarray(self.values, dtype=np.float64)
        if self.scale == LOG:
            numbers = np.log(numbers)
        placed: np.ndarray = (numbers - numbers[0]) / (numbers[-1] - numbers[0])
        return placed


@dataclass(frozen=True)
class Space:
    """The grid of all combinations of the axes' values."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the axes."""
        return tuple(axis.path for axis in self.axes)

    def indices(self, cells: Sequence[int] | np.ndarray) -> np.ndarray:
        """Which value of each axis the cells have, shape (cells, axes), int64."""
        left = np.asarray(cells, dtype=np.int64)
        out = np.empty((len(left), len(self.axes)), dtype=np.int64)
        for k in range(len(self.axes) - 1, -1, -1):
            left, out[:, k] = np.divmod(left, len(self.axes[k].values))
        return out

    def cells(self, indices: np.ndarray) -> np.ndarray:
        """The inverse of `indices`: numbers of cells, int64."""
        numbers = np.zeros(len(indices), dtype=np.int64)
        for k, axis in enumerate(self.axes):
            numbers = numbers * len(axis.values) + indices[:, k]
        return numbers

    def values(self, cell: int) -> dict[str, Any]:
        """Path → value of one cell."""
        at = self.indices([cell])[0]
        return {axis.path: axis.values[k] for axis, k in zip(self.axes, at, strict=True)}

    def draw(self, count: int, seed: int) -> np.ndarray:
        """`count` different cells at random, ascending; all of them where there are no more. int64."""
        if count >= self.size:
            return np.arange(self.size, dtype=np.int64)
        rng = np.random.default_rng(seed)
        if self.size <= 50_000_000:
            return np.sort(rng.permutation(self.size)[:count]).astype(np.int64)
        drawn: np.ndarray = np.unique(rng.integers(0, self.size, count, dtype=np.int64))
        while len(drawn) < count:
            more = rng.integers(0, self.size, count - len(drawn), dtype=np.int64)
            drawn = np.unique(np.concatenate([drawn, more]))
        return drawn


def grid(low: float, high: float, count: int, *, log: bool = False) -> list[float]:
    """`count` values from `low` to `high`, both among them: evenly spaced, or with `log` by a constant ratio.

    Errors: UsageError where that is no range.
    """
    what = f"grid({low!r}, {high!r}, {count!r})"
    numbers = (low, high)
    if not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in numbers):
        raise UsageError(f"{what}: low and high are numbers")
    if isinstance(count, bool) or not isinstance(count, int):
        raise UsageError(f"{what}: the number of values is a whole number")
    return [float(x) for x in _spaced(Decimal(repr(low)), Decimal(repr(high)), count, log, what)]


def read_axis(path: str, given: Any, read: ReadValue, *, whole: bool = False) -> Axis:
    """The axis that a grid means: text of the command line, or values. whole: its values are whole numbers.

    Errors: UsageError names the axis, what is wrong with it, and what would be right.
    """
    if isinstance(given, str):
        raw = _values_of_text(path, given.strip())
    elif isinstance(given, Sequence | np.ndarray):
        raw = [item.item() if isinstance(item, np.generic) else item for item in given]
    else:
        raw = [given]
    if not raw:
        raise UsageError(f"{path}: no values; {FORMS}")
    if whole and isinstance(given, str) and RANGE.fullmatch(given.strip()):
        # a range of whole numbers may have fewer of them than were asked for
        raw = list(dict.fromkeys(round(x) if isinstance(x, float) else x for x in raw))
    first: dict[Any, Any] = {}
    for value in (read(path, one) for one in raw):
        if _key(value) in first:
            raise UsageError(f"{path}: {show(value)} is given twice")
        first[_key(value)] = value
    axis = Axis(path, tuple(first.values()))
    if axis.scale == CHOICE:
        return axis
    return Axis(path, tuple(sorted(axis.values, key=timeframe_ns if axis.scale == STEPS else None)))


def _are_timeframes(values: Sequence[Any]) -> bool:
    """Whether all values are lengths of bars, which have an order though they are no numbers."""
    try:
        return all(isinstance(value, str) and timeframe_ns(value) > 0 for value in values)
    except UsageError:
        return False


def split_grid(text: str) -> tuple[str, str]:
    """Path and grid of KEY=GRID. Errors: UsageError."""
    path, equals, given = text.partition("=")
    if not equals or not path.strip() or not given.strip():
        raise UsageError(f"{text}: {FORMS}")
    return path.strip(), given.strip()


def _key(value: Any) -> Any:
    return tuple(map(_key, value)) if isinstance(value, list | tuple) else value


def _values_of_text(path: str, text: str) -> list[Any]:
    """The values that a text lists or spans."""
    match = RANGE.fullmatch(text)
    if match is None:
        return _split_list(text)
    low_text, high_text, third = match.groups()
    low, high = _number(low_text), _number(high_text)
    if low is None or high is None:
        return _split_list(text)
    what = f"{path}={text}"
    if third is None:
        raise UsageError(f"{what}: how many values? write {low_text}:{high_text}:x10, or a step in place of x10")
    counted = re.fullmatch(r"(x|log)\s*(\d+)", third)
    if counted:
        return _spaced(low, high, int(counted[2]), counted[1] == "log", what)
    step = _number(third)
    if step is None:
        raise UsageError(f"{what}: {third} is neither a step nor a number of values such as x10 or log10")
    return _stepped(low, high, step, what, f"{low_text}:{high_text}")


def _number(text: str) -> Decimal | None:
    """A number, 2% being 0.02."""
    bare = text.strip()
    try:
        number = Decimal(bare.removesuffix("%").strip())
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    return number / 100 if bare.endswith("%") else number


def _refuse_order(low: Decimal, high: Decimal, what: str) -> None:
    if low > high:
        raise UsageError(f"{what}: the range is reversed, {low} is above {high}; write the lower end first")
    if low == high:
        raise UsageError(f"{what}: the range is empty, both ends are {low}; give one value, or two different ends")


def _stepped(low: Decimal, high: Decimal, step: Decimal, what: str, ends: str) -> list[Any]:
    _refuse_order(low, high, what)
    if step <= 0:
        raise UsageError(f"{what}: the step {step} must be above 0")
    if step > high - low:
        raise UsageError(
            f"{what}: the step {step} is wider than the range, which is {high - low} wide; for a number of values "
            f"write {ends}:x10"
        )
    count = int((high - low) / step) + 1
    if count > MOST_VALUES:
        raise UsageError(f"{what}: {count:,} values; at most {MOST_VALUES:,} are allowed on one axis")
    return [_plain(low + k * step) for k in range(count)]


def _spaced(low: Decimal, high: Decimal, count: int, log: bool, what: str) -> list[Any]:
    _refuse_order(low, high, what)
    if count < 2:
        raise UsageError(f"{what}: {count} values do not span a range; two or more do")
    if count > MOST_VALUES:
        raise UsageError(f"{what}: {count:,} values; at most {MOST_VALUES:,} are allowed on one axis")
    if log and low <= 0:
        raise UsageError(f"{what}: a range by constant ratio begins above 0, not at {low}")
    shares = [Decimal(k) / (count - 1) for k in range(count)]
    if log:
        ratio = (high / low).ln()
        inner = [low * (ratio * share).exp() for share in shares[1:-1]]
    else:
        inner = [low + (high - low) * share for share in shares[1:-1]]
    return [_plain(low), *(_plain(x) for x in inner), _plain(high)]


def _plain(number: Decimal) -> Any:
    """A number of a grid as people would write it: whole numbers as int, else a float of DIGITS digits."""
    rounded = float(f"{number:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _split_list(text: str) -> list[str]:
    """Parts between commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for k, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in "]})":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:k])
            start = k + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]
