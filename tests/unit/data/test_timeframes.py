from __future__ import annotations

from datetime import UTC, date, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.timeframes import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    WEEK,
    format_ts,
    normalize_timeframe,
    parse_time,
    parse_timerange,
    timeframe_name,
    timeframe_ns,
)
from qtsim.errors import UsageError

JAN_2023 = 1_672_531_200 * SECOND
JAN_2024 = 1_704_067_200 * SECOND


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1s", SECOND),
        ("1m", MINUTE),
        ("15m", 15 * MINUTE),
        ("1h", HOUR),
        ("4H", 4 * HOUR),
        ("1d", DAY),
        ("1W", WEEK),
        ("5min", 5 * MINUTE),
    ],
)
def test_lengths(text: str, length: int) -> None:
    assert timeframe_ns(text) == length


@pytest.mark.parametrize("text", ["", "h", "0m", "1M", "1y", "-1h", "1.5h", "60"])
def test_what_is_no_timeframe_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="15m, 1h"):
        timeframe_ns(text)


def test_a_month_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="a month has no fixed length"):
        timeframe_ns("1M")


def test_one_length_has_one_name() -> None:
    assert normalize_timeframe("60m") == normalize_timeframe("1H") == "1h"
    assert normalize_timeframe("7d") == "1w"
    with pytest.raises(UsageError):
        timeframe_name(SECOND // 2)


@given(st.integers(1, 999), st.sampled_from("smhdw"))
def test_names_and_lengths_agree(count: int, unit: str) -> None:
    length = timeframe_ns(f"{count}{unit}")
    assert timeframe_ns(timeframe_name(length)) == length
    assert timeframe_name(timeframe_ns(timeframe_name(length))) == timeframe_name(length)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, None)),
        ("20230101-20240101", (JAN_2023, JAN_2024)),
        ("20230101-", (JAN_2023, None)),
        ("2023-", (JAN_2023, None)),
        ("2023-2024", (JAN_2023, JAN_2024)),
        ("2023-20240101", (JAN_2023, JAN_2024)),
        ("-2024", (None, JAN_2024)),
        ("-20240101", (None, JAN_2024)),
        ("20230101T0930-20240101", (JAN_2023 + 9 * HOUR + 30 * MINUTE, JAN_2024)),
        ("20230101T093015-", (JAN_2023 + 9 * HOUR + 30 * MINUTE + 15 * SECOND, None)),
        ("1672531200-1704067200", (JAN_2023, JAN_2024)),
        ("1672531200000-", (JAN_2023, None)),
        ("2023-01-01:2024-01-01", (JAN_2023, JAN_2024)),
        ("2023-01-01-2024-01-01", (JAN_2023, JAN_2024)),
        ("2023-01-01T00:00:2024-01-01T00:00", (JAN_2023, JAN_2024)),
        ("2023-01-01 00:00:00..2024-01-01", (JAN_2023, JAN_2024)),
        ("2023-01-01T00:00:00Z - 2024-01-01", (JAN_2023, JAN_2024)),
        ("2023-01-01:", (JAN_2023, None)),
        ("2023-01-01-", (JAN_2023, None)),
        (":2024-01-01", (None, JAN_2024)),
    ],
)
def test_timeranges(text: str, expected: tuple[int | None, int | None]) -> None:
    assert parse_timerange(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("20230101", "20230101-"),
        ("2023", "an open end is 2023-"),
        ("2023-13", "20230101-20250630"),
        ("yesterday-", "20230101-20250630"),
        ("20230231-", "not a date that exists"),
        ("20231301-", "not a date that exists"),
        ("20240101-20230101", "is not after"),
        ("20240101-20240101", "is not after"),
    ],
)
def test_wrong_timeranges_say_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_timerange(text)


moments = st.integers(100_000_000, 4_000_000_000)  # Unix seconds, 1973 to 2096


@given(moments, moments, st.sampled_from(["compact", "iso", "seconds", "milliseconds"]))
def test_every_way_to_write_a_range_reads_the_same(first: int, second: int, form: str) -> None:
    start, end = sorted((first, second + 1))
    if start == end:
        end += 1

    def write(seconds: int) -> str:
        moment = datetime.fromtimestamp(seconds, UTC)
        if form == "compact":
            return moment.strftime("%Y%m%dT%H%M%S")
        if form == "iso":
            return moment.strftime("%Y-%m-%dT%H:%M:%S")
        return f"{seconds:010d}" if form == "seconds" else f"{seconds * 1000:013d}"

    # Unix milliseconds have 13 digits only since 2001
    if form == "milliseconds":
        start, end = max(start, 1_000_000_000), max(end, 1_000_000_001)
    separator = ":" if form == "iso" else "-"
    assert parse_timerange(write(start) + separator + write(end)) == (start * SECOND, end * SECOND)
    assert parse_timerange(write(start) + separator) == (start * SECOND, None)
    assert parse_timerange(separator + write(end)) == (None, end * SECOND)


@pytest.mark.parametrize(
    "value",
    [
        "20240101",
        "2024-01-01",
        "2024-01-01 00:00",
        "1704067200",
        1_704_067_200,
        1_704_067_200_000,
        JAN_2024,
        date(2024, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-01-01 01:00", tz="Europe/Berlin"),
    ],
)
def test_one_point_in_time(value: object) -> None:
    assert parse_time(value) == JAN_2024


@pytest.mark.parametrize("value", ["", "soon", "2024-13-01", None, pd.NaT])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        parse_time(value)


def test_times_are_written_as_short_as_they_are() -> None:
    assert format_ts(JAN_2024) == "2024-01-01 00:00 UTC"
    assert format_ts(JAN_2024, short=True) == "2024-01-01"
    assert format_ts(JAN_2024 + HOUR, short=True) == "2024-01-01 01:00"
    assert format_ts(JAN_2024 + SECOND) == "2024-01-01 00:00:01 UTC"
    assert format_ts(JAN_2024 + 5_000_000) == "2024-01-01 00:00:00.005 UTC"
    assert format_ts(-SECOND) == "1969-12-31 23:59:59 UTC"
