"""The exchange's current rules of symbols, into a dated instrument table of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from qtsim.data.instruments import CAUTIOUS_BRACKET, Bracket, Instrument
from qtsim.errors import DataError, QtsimError

COMPARED = ("tick", "lot", "min_qty", "max_qty", "min_notional", "liquidation_fee")
PERPETUALS = ("PERPETUAL", "TRADIFI_PERPETUAL")
BRACKETS = "brackets"


def perpetuals(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the exchange's entries of perpetual contracts by symbol."""
    return {str(entry["symbol"]): entry for entry in entries if entry.get("contractType") in PERPETUALS}


def instrument_of(entry: Mapping[str, Any], known: Instrument | None, day: str) -> Instrument:
    """Return a symbol's rules as the exchange states them, with the brackets that are known already.

    Parameters
    ----------
    entry : mapping
        From `exchangeInfo`.
    known : Instrument, optional
        Where brackets come from; without one a cautious bracket is assumed and named as assumed.
    day : str
        Today, ISO.

    Raises
    ------
    DataError
        The entry lacks a rule.
    """
    symbol = str(entry.get("symbol"))
    try:
        filters = {str(one["filterType"]): one for one in entry["filters"]}
        tick = _step(filters["PRICE_FILTER"]["tickSize"])
        lot = _step(filters["LOT_SIZE"]["stepSize"])
        min_qty = _step(filters["LOT_SIZE"]["minQty"])
        max_qty = float(filters["MARKET_LOT_SIZE"]["maxQty"])
        min_notional = float(filters["MIN_NOTIONAL"]["notional"])
        liquidation_fee = float(entry["liquidationFee"])
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise DataError(f"{symbol}: the exchange's rules cannot be read: {error!r}") from error
    return Instrument(
        symbol=symbol,
        tick=tick,
        lot=lot,
        min_qty=min_qty,
        max_qty=max_qty,
        min_notional=min_notional,
        liquidation_fee=liquidation_fee,
        brackets=known.brackets if known else (CAUTIOUS_BRACKET,),
        bracket_date=known.bracket_date if known else "",
        source=_source(day, known.bracket_date if known else ""),
        assumed=((BRACKETS,) if known is None or BRACKETS in known.assumed else ()),
    )


def with_brackets(instrument: Instrument, rows: Sequence[Mapping[str, Any]], day: str) -> Instrument:
    """Return an instrument with the brackets that the exchange states.

    Raises
    ------
    DataError
        They cannot be read or contradict each other.
    """
    try:
        brackets = tuple(
            Bracket(
                cap=float(row["notionalCap"]),
                rate=float(row["maintMarginRatio"]),
                amount=float(row["cum"]),
                leverage=float(row["initialLeverage"]),
            )
            for row in sorted(rows, key=lambda row: float(row["notionalCap"]))
        )
        return replace(instrument, brackets=brackets, bracket_date=day, source=_source(day, day), assumed=())
    except (KeyError, TypeError, ValueError, QtsimError) as error:
        raise DataError(f"{instrument.symbol}: the exchange's brackets cannot be used: {error}") from error


def changes(before: Instrument | None, after: Instrument) -> str:
    """Say what differs from what was known; empty where nothing does."""
    if before is None:
        return "new"
    parts = [
        f"{name} {_show(getattr(before, name))} → {_show(getattr(after, name))}"
        for name in COMPARED
        if getattr(before, name) != getattr(after, name)
    ]
    if before.brackets != after.brackets:
        parts.append(f"brackets of {before.bracket_date or 'no date'} → {after.bracket_date}")
    return ", ".join(parts)


def _source(day: str, bracket_date: str) -> str:
    return f"exchangeInfo of {day}, " + (f"brackets of {bracket_date}" if bracket_date else "brackets assumed")


def _step(value: Any) -> Decimal:
    """A step without trailing zeros: 0.10 is 0.1."""
    step = Decimal(str(value)).normalize()
    return step.quantize(Decimal(1)) if step == step.to_integral_value() else step


def _show(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else "none" if value is None else f"{value:g}"
