"""Where the exchange keeps its public archives: one zip per symbol, kind and month or day, one checksum beside each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from qtsim.data.timeframes import DAY, SECOND, normalize_timeframe, timeframe_ns
from qtsim.errors import UsageError

VENUE_URL = "https://data.binance.vision"
FOLDERS = {"bars": "klines", "mark": "markPriceKlines", "funding": "fundingRate", "trades": "aggTrades"}
"""The exchange's name of each kind."""
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
"""Lengths of the exchange's bars. Months have no fixed length; seconds exist on its spot market only."""
FIRST_NS = int(datetime(2019, 12, 31, tzinfo=UTC).timestamp()) * SECOND
"""The first day of any archive."""

_ROOT = "data/futures/um"


@dataclass(frozen=True)
class Archive:
    """One zip file. `start` and `end` bound its rows, int64 ns UTC, the end exclusive."""

    kind: str
    symbol: str
    timeframe: str
    """Empty for kinds without bars."""
    start: int
    end: int
    is_monthly: bool

    @property
    def label(self) -> str:
        """Its month or day: `2024-01`, `2024-01-31`."""
        return _moment(self.start).strftime("%Y-%m" if self.is_monthly else "%Y-%m-%d")

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.symbol}-{self.timeframe or FOLDERS[self.kind]}-{self.label}.zip"

    @property
    def path(self) -> str:
        """The file's path below the archive's address."""
        often = "monthly" if self.is_monthly else "daily"
        parts = (_ROOT, often, FOLDERS[self.kind], self.symbol, self.timeframe, self.name)
        return "/".join(part for part in parts if part)


def monthly(kind: str, symbol: str, timeframe: str, month_ns: int) -> Archive:
    """Return the archive of the month that holds a time."""
    start = month_start(month_ns)
    return Archive(kind, symbol, timeframe, start, next_month(start), is_monthly=True)


def daily(kind: str, symbol: str, timeframe: str, day_ns: int) -> Archive:
    """Return the archive of the day that holds a time."""
    start = day_ns // DAY * DAY
    return Archive(kind, symbol, timeframe, start, start + DAY, is_monthly=False)


def month_start(ts: int) -> int:
    """Return the first instant of a time's month, ns."""
    return _ns(_moment(ts).replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def next_month(ts: int) -> int:
    """Return the first instant of the month after a time's, ns."""
    return _ns((_moment(month_start(ts)) + timedelta(days=32)).replace(day=1))


def months_between(start: int, end: int) -> Iterator[int]:
    """Yield the starts of the months that [start, end) touches, ns."""
    month = month_start(start)
    while month < end:
        yield month
        month = next_month(month)


def check_interval(timeframe: str, flag: str = "--timeframe") -> str:
    """Return a timeframe under the exchange's name.

    Raises
    ------
    UsageError
        The exchange has no bars of this length; those it has are named, and the one to resample from.
    """
    name = normalize_timeframe(timeframe)
    if name in INTERVALS:
        return name
    length = timeframe_ns(name)
    finer = [one for one in INTERVALS if length % timeframe_ns(one) == 0 and timeframe_ns(one) < length]
    hint = f"; {name} bars are made of stored {finer[-1]} bars: {flag} {finer[-1]}" if finer else ""
    raise UsageError(f"{flag} {timeframe}: the exchange has {', '.join(INTERVALS)}{hint}")


def _moment(ts: int) -> datetime:
    return datetime.fromtimestamp(ts // SECOND, UTC)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND
