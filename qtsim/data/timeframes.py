"""Timeframes, points in time and time ranges as people write them, to int64 nanoseconds UTC and back."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from qtsim.errors import UsageError

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

WEEK_ANCHOR = 4 * DAY
"""1970-01-05, the first Monday: the exchange's weeks start on Mondays, the epoch was a Thursday."""

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_TIMEFRAME = re.compile(r"^(\d{1,6})\s*(s|m|min|h|H|d|D|w|W)$")

_POINT = (
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?(?:Z|\+00:00)?"  # ISO
    r"|\d{8}(?:T\d{4}(?:\d{2})?)?"  # 20240131, 20240131T0930, 20240131T093015
    r"|\d{13}|\d{10}"  # Unix milliseconds, seconds
)
_YEAR = r"(?:19|20|21)\d\d"
_RANGE = re.compile(rf"^({_POINT}|{_YEAR})?\s*(?:-|:|\.\.|/)\s*({_POINT}|{_YEAR})?$")
_ONE_POINT = re.compile(rf"^(?:{_POINT})$")
_ONE_END = re.compile(rf"^(?:{_POINT}|{_YEAR})$")


def timeframe_ns(timeframe: str) -> int:
    """Length of a timeframe such as `1m`, `15m`, `1h`, `4h`, `1d`, `1w`, nanoseconds.

    Raises
    ------
    UsageError
        Not a timeframe, or one without a fixed length (`1M`, a month).
    """
    match = _TIMEFRAME.match(timeframe.strip())
    if match is None or int(match[1]) == 0:
        hint = "; a month has no fixed length" if timeframe.strip().endswith("M") else ""
        raise UsageError(f"timeframe {timeframe!r} is not understood{hint}; write it as 1m, 15m, 1h, 4h, 1d or 1w")
    return int(match[1]) * _UNITS[match[2][0].lower()]


def timeframe_name(length_ns: int) -> str:
    """Shortest name of a length in nanoseconds: 3,600 s is `1h`, never `60m`.

    Raises
    ------
    UsageError
        Not a whole, positive number of seconds.
    """
    if length_ns > 0:
        for unit in "wdhms":
            if length_ns % _UNITS[unit] == 0:
                return f"{length_ns // _UNITS[unit]}{unit}"
    raise UsageError(f"{length_ns / SECOND:g} s is not a timeframe: whole seconds are needed")


def normalize_timeframe(timeframe: str) -> str:
    """Return the one name of a timeframe: `60m`, `1H` and `1h` are `1h`."""
    return timeframe_name(timeframe_ns(timeframe))


def grid_anchor_ns(length_ns: int) -> int:
    """Time from which bars of this length are counted, ns: the epoch; its first Monday for whole weeks."""
    return WEEK_ANCHOR if length_ns % WEEK == 0 else 0


def parse_time(value: Any) -> int:
    """Return one point in time as int64 ns UTC.

    Parameters
    ----------
    value : str, int, datetime, date or pandas.Timestamp
        Text: `20240131`, `20240131T0930`, ISO `2024-01-31 09:30`, Unix seconds or milliseconds. Times without a zone
        are UTC. An int is nanoseconds UTC unless it is as small as Unix seconds or milliseconds.

    Raises
    ------
    UsageError
        Not a time.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _ONE_POINT.match(text):
            raise UsageError(
                f"time {value!r} is not understood; write it as 2024-01-31, 20240131 or 20240131T0930 (UTC)"
            )
        return _point_ns(text, value)
    if isinstance(value, datetime | date | pd.Timestamp):
        if pd.isna(value):
            raise UsageError("time NaT is not a time")
        stamp = pd.Timestamp(value)
        stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
        return int(stamp.as_unit("ns").value)
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise UsageError(f"time {value!r} is not understood; write it as 2024-01-31 (UTC)") from None
    return number * unix_scale(number)


def unix_scale(number: int) -> int:
    """Nanoseconds per unit of a Unix time, found by its size: seconds, milliseconds, microseconds or nanoseconds.

    The limits leave no doubt between 1973 and 5138.
    """
    size = abs(number)
    if size < 10**11:
        return SECOND
    if size < 10**14:
        return 1_000_000
    return 1_000 if size < 10**17 else 1


def parse_timerange(text: str) -> tuple[int | None, int | None]:
    """Return (start, end) of a time range in int64 ns UTC; the end is exclusive, None is an open end.

    Understood: `20230101-20250630`, `20240101-`, `-20240601`, `20240131T0930-20240201`, Unix seconds or milliseconds
    `1700000000-`, ISO `2023-01-01:2024-01-01`, years `2023-2024`, `2023-`. Empty text is everything.

    Raises
    ------
    UsageError
        Not a time range, a date that does not exist, or an end that is not after its start.
    """
    if not text.strip():
        return None, None
    match = _RANGE.match(text.strip())
    if match is None:
        hint = f"; an open end is {text.strip()}-" if _ONE_END.match(text.strip()) else ""
        raise UsageError(
            f"timerange {text!r} is not understood{hint}; write it as 20230101-20250630, 20240101-, 2024-, "
            "20240131T0930-20240201 or 2023-01-01:2024-01-01 (UTC, end exclusive)"
        )
    start = None if match[1] is None else _point_ns(match[1], text)
    end = None if match[2] is None else _point_ns(match[2], text)
    if start is not None and end is not None and end <= start:
        raise UsageError(f"timerange {text!r}: the end {format_ts(end)} is not after the start {format_ts(start)}")
    return start, end


def format_ts(ts: int, *, short: bool = False) -> str:
    """Write int64 ns UTC as `2025-06-29 23:00 UTC`; seconds and parts of them appear where they are not zero.

    With `short`, `UTC` is left out, and at midnight the time of day too: `2025-06-29`.
    """
    seconds, rest = divmod(int(ts), SECOND)
    moment = datetime.fromtimestamp(seconds, UTC)
    if short and rest == 0 and seconds % 86_400 == 0:
        return moment.strftime("%Y-%m-%d")
    text = moment.strftime("%Y-%m-%d %H:%M")
    if rest or moment.second:
        text += moment.strftime(":%S")
    if rest:
        text += f".{rest:09d}".rstrip("0")
    return text if short else f"{text} UTC"


def _point_ns(text: str, whole: str) -> int:
    """Return one matched end of a range in ns; `whole` is what the user wrote."""
    if text.isdigit() and len(text) in (10, 13):
        return int(text) * (SECOND if len(text) == 10 else 1_000_000)
    if len(text) == 4:
        text = f"{text}0101"
    compact = text.replace("-", "").replace(":", "").replace(" ", "T").replace("Z", "").replace("+0000", "")
    form = {8: "%Y%m%d", 13: "%Y%m%dT%H%M", 15: "%Y%m%dT%H%M%S"}[len(compact)]
    try:
        moment = datetime.strptime(compact, form).replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"{text!r} in {whole!r} is not a date that exists; write it as 20240131") from None
    return int(moment.timestamp()) * SECOND
