"""Which spans are missing, and which archives may hold them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.download import archive, plan
from qtsim.data.download.archive import check_interval, daily, monthly
from qtsim.data.timeframes import DAY, HOUR, MINUTE, WEEK, parse_time
from qtsim.errors import UsageError


def hours(*opens: int) -> np.ndarray:
    return np.array(opens, dtype=np.int64) * HOUR


def in_hours(spans: list[plan.Span]) -> list[tuple[float, float]]:
    return [(start / HOUR, end / HOUR) for start, end in spans]


# Layout ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "timeframe", "path"),
    [
        ("bars", "1h", "monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-02.zip"),
        ("mark", "15m", "monthly/markPriceKlines/BTCUSDT/15m/BTCUSDT-15m-2024-02.zip"),
        ("funding", "", "monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-02.zip"),
    ],
)
def test_paths_are_the_exchanges(kind: str, timeframe: str, path: str) -> None:
    made = monthly(kind, "BTCUSDT", timeframe, parse_time("2024-02-29 13:00"))
    assert made.path == f"data/futures/um/{path}"
    assert (made.start, made.end) == (parse_time("2024-02-01"), parse_time("2024-03-01"))


def test_days_have_paths_of_their_own() -> None:
    made = daily("trades", "ETHUSDT", "", parse_time("2024-02-29 13:00"))
    assert made.path == "data/futures/um/daily/aggTrades/ETHUSDT/ETHUSDT-aggTrades-2024-02-29.zip"
    assert made.end - made.start == DAY


@pytest.mark.parametrize("name", ["1m", "60m", "1h", "7d", "3d"])
def test_lengths_that_the_exchange_has(name: str) -> None:
    assert check_interval(name) in archive.INTERVALS


@pytest.mark.parametrize(
    ("name", "says"), [("10m", "--timeframe 5m"), ("1s", "--timeframe 1s: the exchange has 1m"), ("2d", "1d")]
)
def test_lengths_that_it_does_not_have(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_interval(name)


# Missing bars ---------------------------------------------------------------------------------------------------------


def test_missing_bars() -> None:
    assert in_hours(plan.missing_bars(hours(3, 4, 7), HOUR, 0, 10 * HOUR)) == [(0, 3), (5, 7), (8, 10)]
    assert in_hours(plan.missing_bars(hours(), HOUR, 30 * MINUTE, 3 * HOUR)) == [(1, 3)]
    assert plan.missing_bars(hours(0, 1, 2), HOUR, 0, 3 * HOUR) == []
    assert plan.missing_bars(hours(), HOUR, 5 * HOUR, 5 * HOUR) == []


def test_weeks_are_counted_from_mondays() -> None:
    monday = parse_time("2024-01-01")
    assert plan.missing_bars(hours(), WEEK, monday - DAY, monday + 8 * DAY) == [(monday, monday + 2 * WEEK)]


@given(st.sets(st.integers(0, 60)), st.integers(0, 60), st.integers(0, 60))
def test_what_is_there_and_what_is_missing_make_the_whole(there: set[int], start: int, end: int) -> None:
    times = hours(*sorted(there))
    spans = plan.missing_bars(times, HOUR, start * HOUR, end * HOUR)
    missing = {opening // HOUR for a, b in spans for opening in range(a, b, HOUR)}
    assert missing == set(range(start, end)) - there
    assert all(before[1] < after[0] for before, after in pairwise(spans)), "apart and in order"


# Missing events -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [1, 4, 8])
def test_a_complete_history_of_payments_lacks_nothing(interval: int) -> None:
    times = hours(*range(0, 240, interval))
    assert plan.missing_events(times, 0, 240 * HOUR) == []


def test_missing_payments() -> None:
    times = hours(16, 24, 48, 56)
    assert in_hours(plan.missing_events(times, 0, 60 * HOUR))[0] == (0, 16)
    holes = plan.missing_events(times, 10 * HOUR, 100 * HOUR)
    assert holes == [(24 * HOUR + 1, 48 * HOUR), (56 * HOUR + 1, 100 * HOUR)]
    assert plan.missing_events(hours(), 0, HOUR) == [(0, HOUR)]


def test_a_change_of_the_interval_is_no_hole() -> None:
    assert plan.missing_events(hours(*range(0, 80, 8), *range(80, 120, 4)), 0, 120 * HOUR) == []


# Archives for spans ---------------------------------------------------------------------------------------------------


def test_only_periods_that_have_ended_have_archives() -> None:
    now = parse_time("2024-03-15 06:00")
    spans = [(parse_time("2024-01-20"), now)]
    assert [a.label for a in plan.monthly_archives("bars", "X", "1h", spans, now)] == ["2024-01", "2024-02"]
    days = plan.daily_archives("bars", "X", "1h", [(parse_time("2024-03-13 23:00"), now)], now)
    assert [a.label for a in days] == ["2024-03-13", "2024-03-14"]


def test_spans_less_others_and_joined() -> None:
    assert plan.without([(0, 10), (20, 30)], [(2, 3), (9, 25)]) == [(0, 2), (3, 9), (25, 30)]
    assert plan.without([(0, 10)], [(0, 10)]) == []
    assert plan.joined([(0, 1), (4, 5), (9, 20)], 6) == [(0, 5), (9, 20)]
