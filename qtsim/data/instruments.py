"""Instruments: ticks, lots, minimums, maintenance brackets and liquidation fee of each symbol, with date and source.

The shipped table has the symbols whose maintenance brackets are known. A download writes the exchange's current rules
of its symbols into a table of the user's own beside the data, which counts before the shipped one. Any other symbol
needs its rules from the user: `--instrument SYMBOL:tick=0.001,lot=1,min_qty=1,min_notional=5`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from qtsim.core.records import BRACKETS_MAX, Records, instrument_dt
from qtsim.data.atomic import write_atomically
from qtsim.data.symbols import normalize_symbol
from qtsim.errors import DataError, UsageError

PLAIN_LOT = Decimal("1e-8")
USER_TABLE = "instruments.json"
"""The user's own table, in the venue's folder of a store."""
_USER_FORMAT = 1
_TABLES = {"binance-usdm": "binance_usdm_instruments.json", "synthetic": "binance_usdm_instruments.json"}


class Bracket(NamedTuple):
    """Margin rules up to a notional."""

    cap: float
    """Highest notional, inclusive, quote currency."""
    rate: float
    """Maintenance margin rate."""
    amount: float
    """Maintenance amount: maintenance margin = notional × rate − amount."""
    leverage: float
    """Highest initial leverage."""


PLAIN_BRACKET = Bracket(float("inf"), 0.004, 0.0, 125.0)
"""Without limits, as the first bracket of BTCUSDT."""
CAUTIOUS_BRACKET = Bracket(float("inf"), 0.015, 0.0, 50.0)
"""For symbols that only the user knows: the most cautious first bracket of the shipped table."""


AMOUNT_TOLERANCE = 1e-6
"""Published amounts are rounded to cents; relative."""


@dataclass(frozen=True)
class Instrument:
    """Trading rules of one symbol. Quantities are base currency, money quote currency, ratios decimals."""

    symbol: str
    tick: Decimal | None
    """Price step; None: prices are continuous."""
    lot: Decimal
    """Quantity step."""
    min_qty: Decimal
    max_qty: float
    """Of one market order; inf where unknown."""
    min_notional: float
    liquidation_fee: float
    brackets: tuple[Bracket, ...]
    """By rising cap."""
    bracket_date: str
    """Day on which the brackets were in force, ISO; empty where they are assumed."""
    source: str
    assumed: tuple[str, ...] = ()
    """Fields that are assumptions rather than stated figures."""

    def __post_init__(self) -> None:
        """Raise UsageError where the brackets are none, out of order, or leave a hole."""
        _check_brackets(self.symbol, self.brackets)

    @property
    def continuous(self) -> bool:
        """Whether prices have no step."""
        return self.tick is None

    @property
    def max_leverage(self) -> float:
        """Highest leverage of the first bracket."""
        return self.brackets[0].leverage


def _check_brackets(symbol: str, brackets: Sequence[Bracket]) -> None:
    """Caps and rates rise, leverages do not, and maintenance margin is continuous where one bracket meets the next.

    The deduction of a bracket follows from the one before: amount + cap · (rate - rate before).
    """
    if not brackets:
        raise UsageError(f"{symbol}: it has no brackets; give at least one (cap, rate, amount, leverage)")
    for k in range(1, len(brackets)):
        before, now = brackets[k - 1], brackets[k]
        where = f"{symbol}: bracket {k + 1}"
        if not now.cap > before.cap:
            raise UsageError(f"{where} has the cap {now.cap:,.0f}, not above {before.cap:,.0f} of the one before")
        if now.rate < before.rate or now.leverage > before.leverage:
            raise UsageError(
                f"{where} has the rate {now.rate:g} and leverage {now.leverage:g}x after {before.rate:g} and "
                f"{before.leverage:g}x; rates must not fall and leverage must not rise with the notional"
            )
        amount = before.amount + before.cap * (now.rate - before.rate)
        if abs(now.amount - amount) > AMOUNT_TOLERANCE * max(1.0, amount):
            raise UsageError(
                f"{where} has the amount {now.amount:,.2f}; {amount:,.2f} would continue the bracket before it"
            )


def load_instruments(venue: str = "binance-usdm", folder: Path | None = None) -> Mapping[str, Instrument]:
    """Return the rules of a venue's symbols, in name order; the synthetic venue has those of the real one.

    Parameters
    ----------
    venue : str
    folder : Path, optional
        The venue's folder in a store: the user's own table there, if there is one, counts before the shipped table.

    Raises
    ------
    UsageError
        There is no table of this venue.
    DataError
        The user's table is damaged.
    """
    shipped = _shipped(venue)
    if folder is None:
        return shipped
    own = read_user_instruments(folder)
    return MappingProxyType(dict(sorted({**shipped, **own}.items()))) if own else shipped


@cache
def _shipped(venue: str) -> Mapping[str, Instrument]:
    name = _TABLES.get(venue)
    if name is None:
        raise UsageError(f"venue {venue!r} has no instrument table; there are {', '.join(sorted(_TABLES))}")
    content = json.loads(files("qtsim.data").joinpath(name).read_text(encoding="utf-8"))
    table = {
        symbol: _from_entry(
            symbol,
            entry,
            bracket_date=content["bracket_date"],
            source=f"shipped table, brackets of {content['bracket_date']}",
        )
        for symbol, entry in sorted(content["instruments"].items())
    }
    return MappingProxyType(table)


def _from_entry(symbol: str, entry: Mapping[str, Any], *, bracket_date: str, source: str) -> Instrument:
    """The instrument of a table's entry; null is without limit."""
    return Instrument(
        symbol=symbol,
        tick=Decimal(entry["tick"]),
        lot=Decimal(entry["lot"]),
        min_qty=Decimal(entry["min_qty"]),
        max_qty=_or_inf(entry["max_qty"]),
        min_notional=float(entry["min_notional"]),
        liquidation_fee=float(entry["liquidation_fee"]),
        brackets=tuple(Bracket(*map(_or_inf, row)) for row in entry["brackets"]),
        bracket_date=bracket_date,
        source=source,
        assumed=tuple(entry["assumed"]),
    )


def read_user_instruments(folder: Path) -> dict[str, Instrument]:
    """Return the user's own table of a venue's folder in a store; empty where there is none.

    Raises
    ------
    DataError
        It cannot be read; the file is named.
    """
    path = folder / USER_TABLE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        content = json.loads(text)
        if content["format"] != _USER_FORMAT:
            raise ValueError(f"format {content['format']} is of another version")
        return {
            str(symbol): _from_entry(symbol, entry, bracket_date=entry["bracket_date"], source=entry["source"])
            for symbol, entry in content["instruments"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, UsageError) as error:
        raise DataError(
            f"{path} cannot be used ({error}); delete it: the shipped table counts then, and a download writes it again"
        ) from error


def write_user_instruments(folder: Path, venue: str, fresh: Mapping[str, Instrument]) -> None:
    """Put instruments into the user's own table; the others in it stay.

    Raises
    ------
    DataError
        The table there is damaged, or the folder cannot be written.
    """
    table = {**read_user_instruments(folder), **fresh}
    content = {
        "format": _USER_FORMAT,
        "venue": venue,
        "instruments": {
            symbol: {
                "tick": None if one.tick is None else f"{one.tick:f}",
                "lot": f"{one.lot:f}",
                "min_qty": f"{one.min_qty:f}",
                "max_qty": _or_null(one.max_qty),
                "min_notional": one.min_notional,
                "liquidation_fee": one.liquidation_fee,
                "brackets": [[_or_null(value) for value in bracket] for bracket in one.brackets],
                "bracket_date": one.bracket_date,
                "source": one.source,
                "assumed": list(one.assumed),
            }
            for symbol, one in sorted(table.items())
        },
    }
    text = json.dumps(content, indent=1)
    write_atomically(folder / USER_TABLE, lambda path: path.write_text(text, encoding="utf-8"))


def _or_inf(value: Any) -> float:
    return float("inf") if value is None else float(value)


def _or_null(value: float) -> float | None:
    return value if isfinite(value) else None


def instrument_sources(venue: str = "binance-usdm") -> dict[str, str]:
    """Return where the figures of the shipped table come from, by field."""
    load_instruments(venue)
    content = json.loads(files("qtsim.data").joinpath(_TABLES[venue]).read_text(encoding="utf-8"))
    return {str(field): str(text) for field, text in content["sources"].items()}


def parse_instrument(text: str, table: Mapping[str, Instrument] | None = None) -> Instrument:
    """Read `SYMBOL:tick=0.1,lot=0.001,min_qty=0.001,min_notional=50`.

    Fields: tick (0: continuous), lot, min_qty, max_qty, min_notional, liquidation_fee, maintenance_rate, max_leverage.
    Those not named keep the table's values. A symbol that the table lacks needs tick and lot; min_qty is then the
    lot, min_notional 0, max_qty without limit, liquidation fee 0.015, and one bracket of rate 0.015 up to 50x.

    Raises
    ------
    UsageError
        Not of this form, an unknown field, or a value out of range.
    """
    symbol, colon, rest = text.rpartition(":")
    if not colon or "=" not in rest:
        raise UsageError(
            f"instrument {text!r} is not understood; "
            "write it as BTCUSDT:tick=0.1,lot=0.001,min_qty=0.001,min_notional=50"
        )
    fields: dict[str, Any] = {}
    for part in rest.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise UsageError(f"instrument {text!r}: {part!r} is not understood; write NAME=VALUE")
        if name in fields:
            raise UsageError(f"instrument {text!r}: {name} is given twice")
        fields[name] = value
    return override_instrument(symbol, fields, table)


def override_instrument(
    symbol: str, fields: Mapping[str, Any], table: Mapping[str, Instrument] | None = None
) -> Instrument:
    """Return a symbol's instrument with some fields replaced; `parse_instrument` says which and what the others are.

    Parameters
    ----------
    symbol : str
    fields : mapping
        Values as numbers, Decimals or text.
    table : mapping, optional
        Where other fields come from; the shipped one of binance-usdm by default.

    Raises
    ------
    UsageError
        An unknown field, a value out of range, or an unknown symbol without tick and lot.
    """
    name = normalize_symbol(symbol)
    known = _FIELDS
    for field in fields:
        if field not in known:
            near = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"instrument {name}: no field {field!r}; {hint}fields are {', '.join(known)}")
    values = {field: _number(name, field, value) for field, value in fields.items()}
    base = (load_instruments() if table is None else table).get(name)
    if base is None:
        for field in ("tick", "lot"):
            if field not in values:
                raise UsageError(f"instrument {name} is not in the table, so its {field} is needed: {name}:{field}=…")
        base = replace(_plain(name), liquidation_fee=0.015, brackets=(CAUTIOUS_BRACKET,), min_qty=values["lot"])
    elif "lot" in values and "min_qty" not in values:
        base = replace(base, min_qty=max(base.min_qty, values["lot"]))
    changes: dict[str, Any] = {}
    for field, value in values.items():
        if field == "tick":
            changes["tick"] = value or None
        elif field in ("lot", "min_qty"):
            changes[field] = value
        elif field in ("max_qty", "min_notional", "liquidation_fee"):
            changes[field] = float(value)
    if "maintenance_rate" in values or "max_leverage" in values:
        rate = float(values.get("maintenance_rate", Decimal(str(base.brackets[0].rate))))
        leverage = float(values.get("max_leverage", Decimal(str(base.brackets[0].leverage))))
        changes |= {"brackets": (Bracket(float("inf"), rate, 0.0, leverage),), "bracket_date": ""}
    given = ", ".join(f"{field} {fields[field]}" for field in fields)
    return replace(base, source=f"{base.source}; given: {given}", **changes)


def instrument_for(
    symbol: str, table: Mapping[str, Instrument], overrides: Mapping[str, Instrument], plain: bool = False
) -> Instrument:
    """Return the rules of one symbol: the override, else the table's; `plain` knows no rules but overrides.

    Raises
    ------
    UsageError
        The symbol is in neither and the run is not `plain`.
    """
    name = normalize_symbol(symbol)
    if name in overrides:
        return overrides[name]
    if plain:
        return _plain(name)
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.85)
    nearest = difflib.get_close_matches(name, table, n=3, cutoff=0.0)
    hint = f"did you mean {near[0]}? " if near else f"the nearest are {', '.join(nearest)}; " if nearest else ""
    raise UsageError(
        f"{name} is not in the instrument table ({len(table)} symbols); {hint}give its rules: "
        f"--instrument {name}:tick=0.001,lot=1,min_qty=1,min_notional=5"
    )


def to_record(instrument: Instrument) -> Records:
    """Return the kernels' record of an instrument, shape (1,): steps as exact ratios of integers.

    Raises
    ------
    UsageError
        More brackets than a record holds.
    """
    if len(instrument.brackets) > BRACKETS_MAX:
        raise UsageError(
            f"{instrument.symbol} has {len(instrument.brackets)} brackets; at most {BRACKETS_MAX} are read"
        )
    record = np.zeros(1, dtype=instrument_dt)
    row = record[0]
    if instrument.tick is not None:
        row["tick_num"], row["tick_den"] = instrument.tick.as_integer_ratio()
    row["lot_num"], row["lot_den"] = instrument.lot.as_integer_ratio()
    row["min_qty"] = float(instrument.min_qty)
    row["max_qty"] = instrument.max_qty
    row["min_notional"] = instrument.min_notional
    row["liquidation_fee"] = instrument.liquidation_fee
    row["n_brackets"] = len(instrument.brackets)
    # rows past the last bracket repeat it, so that reading one too far changes nothing
    padded: Sequence[Bracket] = instrument.brackets + instrument.brackets[-1:] * BRACKETS_MAX
    for i in range(BRACKETS_MAX):
        row["bracket_cap"][i] = padded[i].cap
        row["bracket_rate"][i] = padded[i].rate
        row["bracket_amount"][i] = padded[i].amount
        row["bracket_leverage"][i] = padded[i].leverage
    return record


_FIELDS = (
    *("tick", "lot", "min_qty", "max_qty", "min_notional"),
    *("liquidation_fee", "maintenance_rate", "max_leverage"),
)


def _plain(symbol: str) -> Instrument:
    """Continuous prices, lots of 1e-8, no minimums, one bracket."""
    return Instrument(
        symbol=symbol,
        tick=None,
        lot=PLAIN_LOT,
        min_qty=Decimal(0),
        max_qty=float("inf"),
        min_notional=0.0,
        liquidation_fee=0.0,
        brackets=(PLAIN_BRACKET,),
        bracket_date="",
        source="assumed",
        assumed=_FIELDS,
    )


def _number(symbol: str, field: str, value: Any) -> Decimal:
    """Return a field's value, exact, or say what would be right."""
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise UsageError(f"instrument {symbol}: {field} = {value!r} is not a number") from None
    positive = field in ("lot", "max_qty", "maintenance_rate", "max_leverage")
    highest = {"max_qty": "inf", "liquidation_fee": "0.5", "maintenance_rate": "0.5", "max_leverage": "1000"}
    most = Decimal(highest.get(field, "1e15"))
    if number.is_nan() or number < 0 or (positive and number == 0) or number > most:
        low = "above 0" if positive else "0 or more"
        raise UsageError(f"instrument {symbol}: {field} = {value} is out of range; it is {low} and at most {most:f}")
    if field in ("tick", "lot") and max(number.as_integer_ratio()) > 2**53:
        raise UsageError(f"instrument {symbol}: {field} = {value} has too many digits")
    return number
