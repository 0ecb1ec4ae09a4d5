"""What a caller makes happen during a backtest: outages of the program, deposits and withdrawals."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from qtsim.core.enums import Health
from qtsim.core.records import Records, outage_dt, transfer_dt
from qtsim.data.timeframes import format_ts, parse_time
from qtsim.errors import UsageError

Outage = tuple[str, str, str]
"""(from, to, degraded, critical or blind), UTC; blind: the program does not run, and without `to` never again."""
Transfer = tuple[str, float]
"""(time UTC, quote currency): a deposit is positive, a withdrawal negative."""


BLIND = "blind"
OUTAGES = {"degraded": Health.DEGRADED, "critical": Health.CRITICAL, BLIND: Health.HEALTHY}
"""Health while it lasts; a program that does not run has none that matters."""


def outage_rows(outages: Sequence[Outage], first: int | None = None, last: int | None = None) -> Records:
    """The program's state over time, outage_dt: from each outage's start until its end, then HEALTHY and running.

    first, last: the run's first and last instant, ns, where they are known. Errors: UsageError names an outage that is
    not understood, ends before it starts, overlaps another, or lies outside the run, where it would do nothing.
    """
    rows: list[tuple[int, Health, bool]] = []
    last_end: int | None = 0
    for start, end, what in sorted(outages):
        named = f"outage {start or '(no start)'} to {end or '(no end)'}"
        kind = what.lower()
        if kind not in OUTAGES:
            *others, final = OUTAGES
            raise UsageError(f"{named}: {what!r} must be {', '.join(others)} or {final}")
        if not start or (not end and kind != BLIND):
            raise UsageError(f"{named}: it must have a start and an end; only blind may have no end")
        begins, ends = _time_of(start, named), _time_of(end, named) if end else None
        if ends is not None and begins >= ends:
            raise UsageError(f"{named}: its end is not after its start")
        if last_end is None or begins < last_end:
            raise UsageError(f"{named} overlaps the one before it")
        if (last is not None and begins > last) or (first is not None and ends is not None and ends <= first):
            period = " to ".join(format_ts(ts) for ts in (first, last) if ts is not None)
            raise UsageError(f"{named} lies outside the run, {period}")
        rows.append((begins, OUTAGES[kind], kind == BLIND))
        if ends is not None:
            rows.append((ends, Health.HEALTHY, False))
        last_end = ends
    table = np.zeros(len(rows), outage_dt)
    for row, (ts, health, blind) in zip(table, rows, strict=True):
        row["ts"], row["health"], row["blind"] = ts, health, blind
    return table


def _time_of(text: Any, named: str) -> int:
    """One point in time of what is named. Errors: UsageError names it."""
    try:
        if isinstance(text, str) and re.fullmatch(r"(?:19|20|21)\d\d", text.strip()):
            return parse_time(f"{text.strip()}-01-01")
        return parse_time(text)
    except UsageError as error:
        raise UsageError(f"{named}: {error}") from None


def transfer_rows(transfers: Sequence[Transfer], first: int, last: int) -> Records:
    """Deposits and withdrawals by time, transfer_dt; those of one instant in the order given.

    first, last: the run's first and last instant, ns. Errors: UsageError names a transfer whose time or amount is not
    understood, moves nothing, or lies outside the run, where it would silently do nothing.
    """
    rows = [(_due(transfer, first, last), _amount(transfer)) for transfer in transfers]
    table = np.zeros(len(rows), transfer_dt)
    for row, (due, amount) in zip(table, sorted(rows, key=lambda item: item[0]), strict=True):
        row["due"], row["amount"] = due, amount
    return table


def _due(transfer: Transfer, first: int, last: int) -> int:
    if not isinstance(transfer, (tuple, list)) or len(transfer) != 2:
        raise UsageError(f'transfer {transfer!r} is not understood; give a time and an amount: ("2024-03-01", -500.0)')
    due = _time_of(transfer[0], f"transfer at {transfer[0]}")
    if not first <= due <= last:
        raise UsageError(
            f"transfer at {format_ts(due)} lies outside the run, {format_ts(first)} to {format_ts(last)}; "
            "what the account starts with is account.balance"
        )
    return due


def _amount(transfer: Transfer) -> float:
    when, amount = transfer
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not math.isfinite(amount) or amount == 0:
        raise UsageError(
            f"transfer at {when}: amount {amount!r} must be a number of quote currency, above 0 a deposit, "
            "below 0 a withdrawal"
        )
    return float(amount)


def refused_texts(transfers: Records, asked: int) -> list[str]:
    """A sentence about each withdrawal that the exchange refused, and about transfers that the data ended before.

    transfers: transfer_dt, as the run left them; asked: how many there should be.
    """
    late = asked - len(transfers)
    missed = [f"{late:,} of {asked:,} transfers were due after the last price and not made"] if late > 0 else []
    return missed + [
        f"withdrawal of {-row['amount']:,.2f} at {format_ts(int(row['ts']))} refused: only {row['withdrawable']:,.2f} "
        "backed no position"
        for row in transfers
        if row["moved"] == 0.0
    ]


def read_transfers(texts: Sequence[str]) -> tuple[Transfer, ...]:
    """TIME=AMOUNT, as on the command line. Errors: UsageError."""
    return tuple(_read_transfer(text) for text in texts)


def _read_transfer(text: str) -> Transfer:
    when, sign, amount = text.rpartition("=")
    if not sign or not when.strip():
        raise UsageError(f"--transfer {text!r} is not understood; write it as 2024-03-01=500 or 2024-03-01T12:00=-500")
    try:
        return when.strip(), float(amount.replace("_", ""))
    except ValueError:
        raise UsageError(f"--transfer {text!r}: {amount!r} is not an amount; write it as {when}=-500") from None


def read_outages(texts: Sequence[str]) -> tuple[Outage, ...]:
    """FROM,TO,WHAT, as on the command line. Errors: UsageError."""
    parts = [tuple(part.strip() for part in text.split(",")) for text in texts]
    for text, found in zip(texts, parts, strict=True):
        if len(found) != 3:
            raise UsageError(f"--outage {text!r} is not understood; write it as 2024-08-05,2024-08-06,critical")
    return tuple((start, end, health) for start, end, health in parts)
