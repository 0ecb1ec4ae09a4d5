"""Kinds of settings: how a value is read, which values are sane, and how it is shown.

A kind turns what people write (a TOML value, text of the command line or of the environment, a Python value) into the
one stored form, or raises ValueError with what is wrong and what would be right. The message leaves out the key, which
the caller knows.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

SUM_TOLERANCE = 1e-9
"""How far a row of fractions may be from 1: room for binary rounding, not for a forgotten per cent."""

_PERCENT = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*%")
_TIMEFRAME = re.compile(r"[1-9]\d*[smhdwM]")
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


def show(value: object) -> str:
    """The value as it would stand in a TOML file; `inf` for no limit."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not isinstance(value, int):
        return repr(float(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        for raw, written in (("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
            escaped = escaped.replace(raw, written)
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {show(item)}" for name, item in value.items()) + " }"
    return str(value)


def percent(value: float) -> str:
    """A ratio for people: 0.125 is `12.5 %`; `inf` stays."""
    return "inf" if math.isinf(value) else f"{float(f'{value * 100:.5g}'):.10g} %"


def plain_number(value: float) -> str:
    """A number without needless digits: 10.0 is `10`, 0.5 is `0.5`."""
    return f"{float(f'{value:.6g}'):.10g}"


def read_toml_value(text: str) -> object:
    """`text` as a TOML value, a bare word as a string.

    `true`, `12`, `0.5`, `[1, 2]`, `{ a = 1 }` and quoted strings are what TOML says; dates and anything that TOML does
    not understand (`ema_cross`, `2%`, `2024-01-01`) stay text.
    """
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    if set(value) == {"value"} and isinstance(value["value"], (bool, int, float, str, list, dict)):
        return value["value"]
    return text


@dataclass(frozen=True)
class Kind:
    """What one setting means. `text` is its one-line description, `env` the predecessor's variable."""

    text: str
    unit: str = ""
    env: str = ""

    name = "value"

    def coerce(self, value: object) -> Any:
        """The stored form of `value`; ValueError says what is wrong."""
        raise NotImplementedError

    def from_text(self, text: str) -> object:
        """What `coerce` is to be given for `text` of the command line or the environment."""
        return read_toml_value(text.strip())

    def allowed(self) -> str:
        """The sane values in words."""
        return ""

    def json_schema(self) -> dict[str, Any]:
        """JSON schema of the value as it may stand in a file."""
        return {}


def _to_float(value: object) -> float:
    """`value` as a float; strings only where they are numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, Real)):
        raise ValueError(f"a number is expected, not {_kind_word(value)}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError("a number is expected") from None
    if math.isnan(number):
        raise ValueError("nan is not a number to work with")
    return number


def _kind_word(value: object) -> str:
    """What `value` is, in words of TOML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a switch"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, Mapping):
        return "a table"
    return "a number" if isinstance(value, Real) else type(value).__name__


@dataclass(frozen=True)
class Number(Kind):
    """A real number in `[low, high]`; with `above`, low itself is excluded; `infinite` allows inf as no limit."""

    low: float = 0.0
    high: float = math.inf
    above: bool = False
    infinite: bool = False
    optional: bool = False

    name = "number"

    def coerce(self, value: object) -> float | None:
        """The number as float."""
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value.strip().endswith("%"):
            raise ValueError("this is not a ratio; write the number without %")
        number = _to_float(value)
        if not self.is_sane(number):
            raise ValueError(self.allowed())
        return number

    def from_text(self, text: str) -> object:
        """Text of a number, with or without quotes, is read by `coerce`."""
        return _unquote(text)

    def is_sane(self, number: float) -> bool:
        """True inside the range."""
        if math.isinf(number):
            return number > 0 and self.infinite
        return (number > self.low if self.above else number >= self.low) and number <= self.high

    def _end(self, number: float) -> str:
        return plain_number(number)

    def allowed(self) -> str:
        """The range in words."""
        start = f"above {self._end(self.low)}" if self.above else f"{self._end(self.low)}"
        if math.isinf(self.high):
            words = f"must be {start}" if self.above else f"must be {start} or more"
        elif self.above:
            words = f"must be {start}, at most {self._end(self.high)}"
        else:
            words = f"must be {start} to {self._end(self.high)}"
        return f"{words}, or inf" if self.infinite else words

    def json_schema(self) -> dict[str, Any]:
        """Number, or "inf" where that is allowed; TOML's own inf is a number, so no maximum is stated then."""
        number: dict[str, Any] = {"type": "number", "exclusiveMinimum" if self.above else "minimum": self.low}
        if not math.isinf(self.high) and not self.infinite:
            number["maximum"] = self.high
        options = [number, *self._text_schemas()]
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _text_schemas(self) -> list[dict[str, Any]]:
        return [{"const": "inf"}] if self.infinite else []


@dataclass(frozen=True)
class Ratio(Number):
    """A share: 0.02 and "2%" are the same. Outside its sane range it is refused with the likely meaning."""

    high: float = 1.0
    unit: str = "ratio"

    name = "ratio"

    def coerce(self, value: object) -> float | None:
        """The ratio as a decimal."""
        if value is None and self.optional:
            return None
        if isinstance(value, str):
            match = _PERCENT.fullmatch(value.strip())
            if match:
                number = float(Decimal(match.group(1)) / 100)
                if not self.is_sane(number):
                    raise ValueError(f"{percent(number)}; {self.allowed()}")
                return number
        try:
            number = _to_float(value)
        except ValueError as error:
            raise ValueError(f'{error}: a ratio such as 0.02 or "2%"') from None
        if self.is_sane(number):
            return number
        if not math.isinf(number) and number and self.is_sane(number / 100):
            meant = float(Decimal(repr(number)) / 100)
            raise ValueError(f'{percent(number)}; did you mean {meant!r} or "{plain_number(number)}%"?')
        raise ValueError(f"{percent(number)}; {self.allowed()}")

    def _end(self, number: float) -> str:
        return f"{plain_number(number)} ({percent(number)})" if number else "0"

    def _text_schemas(self) -> list[dict[str, Any]]:
        return [*super()._text_schemas(), {"type": "string", "pattern": r"^[+-]?[0-9.]+ ?%$"}]


@dataclass(frozen=True)
class PerCent(Kind):
    """Text of a variable that the predecessor kept in per cent; read into a ratio by `of`."""

    of: Ratio = Ratio("")

    def coerce(self, value: object) -> float | None:
        """12.5 and "12.5%" are both 0.125; inf stays inf."""
        text = str(value).strip().removesuffix("%").strip()
        try:
            ratio = float(Decimal(text) / 100)
        except InvalidOperation:
            raise ValueError("a number of per cent is expected") from None
        if not self.of.is_sane(ratio):
            raise ValueError(f"{percent(ratio)}; this variable is in per cent, 12.5 is 12.5 %; {self.of.allowed()}")
        return self.of.coerce(ratio)


@dataclass(frozen=True)
class Whole(Number):
    """An integer in `[low, high]`."""

    name = "integer"

    def coerce(self, value: object) -> int | None:
        """The integer; 5.0 counts as 5."""
        if isinstance(value, str) and value.strip().endswith("%"):
            raise ValueError("this is not a ratio; write the number without %")
        number = _to_float(value)
        if not self.is_sane(number):
            raise ValueError(self.allowed())
        if not number.is_integer():
            raise ValueError("a whole number is expected")
        return int(number)

    def json_schema(self) -> dict[str, Any]:
        """Integer."""
        schema = super().json_schema()
        schema["type"] = "integer"
        return schema


@dataclass(frozen=True)
class Count(Number):
    """A number of things, 0 or more; inf where there is no limit."""

    infinite: bool = True

    name = "count"

    def coerce(self, value: object) -> int | float | None:
        """The count as int, or inf."""
        number = super().coerce(value)
        if number is None or math.isinf(number):
            return number
        if not number.is_integer():
            raise ValueError("a whole number is expected")
        return int(number)


@dataclass(frozen=True)
class Switch(Kind):
    """true or false."""

    name = "switch"

    def coerce(self, value: object) -> bool:
        """The switch as bool."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
            return value.strip().lower() in _TRUE
        raise ValueError("must be true or false")

    def from_text(self, text: str) -> object:
        """Text of a switch, with or without quotes, is read by `coerce`."""
        return _unquote(text)

    def allowed(self) -> str:
        """The two values."""
        return "true or false"

    def json_schema(self) -> dict[str, Any]:
        """Boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few names; `aliases` are other spellings that people use."""

    options: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    name = "choice"

    def coerce(self, value: object) -> str:
        """The option's own name."""
        word = ("true" if value else "false") if isinstance(value, bool) else value
        if isinstance(word, str):
            word = word.strip()
            for candidate in (word, word.lower()):
                if candidate in self.options:
                    return candidate
                for alias, option in self.aliases:
                    if candidate == alias:
                        return option
        raise ValueError(self.allowed())

    def from_text(self, text: str) -> object:
        """A name, with or without quotes."""
        return _unquote(text)

    def allowed(self) -> str:
        """The options in words."""
        if len(self.options) == 1:
            return f'must be "{self.options[0]}"'
        return "must be one of " + ", ".join(f'"{option}"' for option in self.options)

    def json_schema(self) -> dict[str, Any]:
        """The options and their other spellings."""
        return {"enum": [*self.options, *(alias for alias, _ in self.aliases)]}


def _unquote(text: str) -> str:
    """`text` without the quotes of a TOML string, if it has them."""
    stripped = text.strip()
    if stripped[:1] in ('"', "'"):
        value = read_toml_value(stripped)
        return value if isinstance(value, str) else stripped
    return stripped


@dataclass(frozen=True)
class Text(Kind):
    """Free text; `needed` refuses the empty one."""

    needed: bool = False

    name = "text"

    def coerce(self, value: object) -> str:
        """The text itself."""
        if not isinstance(value, str):
            raise ValueError(f"text is expected, not {_kind_word(value)}; put it in quotes")
        if self.needed and not value.strip():
            raise ValueError("must not be empty")
        return value

    def from_text(self, text: str) -> object:
        """The text, with or without quotes."""
        return _unquote(text)

    def json_schema(self) -> dict[str, Any]:
        """String."""
        return {"type": "string", "minLength": 1} if self.needed else {"type": "string"}


@dataclass(frozen=True)
class Timeframe(Text):
    """Length of a bar: a number and one of s m h d w M; the empty text where `needed` is false."""

    name = "timeframe"

    def coerce(self, value: object) -> str:
        """The timeframe as written."""
        text = super().coerce(value).strip()
        if (text or self.needed) and not _TIMEFRAME.fullmatch(text):
            raise ValueError("not a timeframe; write for instance 1m, 15m, 1h, 4h or 1d")
        return text

    def allowed(self) -> str:
        """Examples."""
        return "1m, 15m, 1h, 4h, 1d and the like" + ("" if self.needed else ", or empty")


@dataclass(frozen=True)
class Names(Kind):
    """A list of names; one name, or several with commas between, is understood too."""

    needed: bool = False

    name = "names"

    def coerce(self, value: object) -> tuple[str, ...]:
        """The names as a tuple, in the order given."""
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise ValueError('a list of names is expected, such as ["BTCUSDT", "ETHUSDT"]')
        names = tuple(item.strip() for item in items if item.strip())
        if self.needed and not names:
            raise ValueError("must not be empty")
        return names

    def from_text(self, text: str) -> object:
        """A TOML list, or names with commas between."""
        return read_toml_value(text.strip())

    def json_schema(self) -> dict[str, Any]:
        """List of strings or one string."""
        return {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}


def _list_from_text(text: str) -> object:
    """A TOML list; commas without the brackets are understood."""
    value = read_toml_value(text.strip())
    if isinstance(value, str):
        bracketed = read_toml_value(f"[{text.strip()}]")
        return bracketed if isinstance(bracketed, list) else value
    return value


@dataclass(frozen=True)
class Numbers(Kind):
    """A list of exactly `length` numbers of kind `item`; `ascending` strictly; `whole` means their sum is 1."""

    item: Number = Number("")
    length: int = 3
    ascending: bool = False
    whole: bool = False

    name = "numbers"

    def coerce(self, value: object) -> tuple[float, ...]:
        """The numbers as a tuple of floats."""
        if not isinstance(value, (list, tuple)) or len(value) != self.length:
            raise ValueError(f"a list of {self.length} numbers is expected")
        numbers: list[float] = []
        for position, one in enumerate(value, start=1):
            try:
                numbers.append(float(self.item.coerce(one) or 0.0))
            except ValueError as error:
                raise ValueError(f"number {position}, {show(one)}: {error}") from None
        if self.ascending and any(later <= earlier for earlier, later in pairwise(numbers)):
            raise ValueError("must ascend, each number above the one before")
        if self.whole and abs(sum(numbers) - 1.0) > SUM_TOLERANCE:
            raise ValueError(f"the fractions add up to {plain_number(sum(numbers))}; they must add up to 1")
        return tuple(numbers)

    def from_text(self, text: str) -> object:
        """A TOML list, brackets optional."""
        return _list_from_text(text)

    def allowed(self) -> str:
        """Length and range in words."""
        words = f"{self.length} numbers, each {self.item.allowed().removeprefix('must be ')}"
        return words + ("; ascending" if self.ascending else "") + ("; they add up to 1" if self.whole else "")

    def json_schema(self) -> dict[str, Any]:
        """Array of fixed length."""
        return {
            "type": "array",
            "items": self.item.json_schema(),
            "minItems": self.length,
            "maxItems": self.length,
        }


@dataclass(frozen=True)
class Rows(Kind):
    """A list of rows: a bound that ascends from row to row, then numbers of kind `item`.

    `width` is the length of a row. With `whole` the numbers after the bound add up to 1; with `to_inf` the last bound
    is inf, so that every value has its row; with `steady` the number after the bound never falls.
    """

    bound: Number = Number("")
    item: Number = Number("")
    width: int = 2
    most: int = 64
    whole: bool = False
    to_inf: bool = False
    steady: bool = False

    name = "rows"

    def coerce(self, value: object) -> tuple[tuple[float, ...], ...]:
        """The rows as a tuple of tuples of floats."""
        if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= self.most:
            raise ValueError(f"a list of 1 to {self.most} rows of {self.width} numbers is expected")
        rows: list[tuple[float, ...]] = []
        for number, row in enumerate(value, start=1):
            if not isinstance(row, (list, tuple)) or len(row) != self.width:
                raise ValueError(f"row {number}, {show(row)}: {self.width} numbers are expected")
            try:
                cells = [self.bound.coerce(row[0]), *(self.item.coerce(one) for one in row[1:])]
            except ValueError as error:
                raise ValueError(f"row {number}, {show(row)}: {error}") from None
            read = tuple(float(cell or 0.0) for cell in cells)
            if rows and read[0] <= rows[-1][0]:
                before = plain_number(rows[-1][0])
                raise ValueError(f"row {number}, {show(row)}: its bound must be above the {before} of the row before")
            if rows and self.steady and read[1] < rows[-1][1]:
                raise ValueError(
                    f"row {number}, {show(row)}: less than the {plain_number(rows[-1][1])} of the row before"
                )
            if self.whole and abs(sum(read[1:]) - 1.0) > SUM_TOLERANCE:
                total = plain_number(sum(read[1:]))
                raise ValueError(f"row {number}, {show(row)}: its fractions add up to {total}; they must add up to 1")
            rows.append(read)
        if self.to_inf and not math.isinf(rows[-1][0]):
            raise ValueError(
                f"row {len(rows)}, {show(rows[-1])}: the last bound must be inf, so that every value has a row"
            )
        return tuple(rows)

    def from_text(self, text: str) -> object:
        """A TOML list of lists."""
        return _list_from_text(text)

    def allowed(self) -> str:
        """The shape in words."""
        words = f"1 to {self.most} rows of {self.width} numbers, first numbers ascending"
        return words + (" to inf" if self.to_inf else "") + ("; the others of a row add up to 1" if self.whole else "")

    def json_schema(self) -> dict[str, Any]:
        """Array of arrays."""
        cell = {"anyOf": [{"type": "number"}, {"type": "string"}]}
        row = {"type": "array", "items": cell, "minItems": self.width, "maxItems": self.width}
        return {"type": "array", "items": row, "minItems": 1, "maxItems": self.most}
