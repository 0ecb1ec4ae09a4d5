from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.frames import make_frame, times_of
from qtsim.data.quality import QualityReport, check_bars, check_events
from qtsim.data.timeframes import DAY, HOUR, MINUTE, WEEK
from qtsim.errors import DataError, UsageError
from tests.unit.data.made_bars import START, made_bars

BARS = made_bars(10)


def changed(row: int, **values: float) -> pd.DataFrame:
    frame = BARS.copy()
    for name, value in values.items():
        frame.iloc[row, frame.columns.get_loc(name)] = value
    return frame


def at(rows: list[int], shift: int = 0) -> pd.DataFrame:
    """Bars with these rows in this order, the last one shifted by some ns."""
    frame = BARS.iloc[rows]
    times = times_of(frame).copy()
    times[-1] += shift
    return make_frame(times, {name: frame[name].to_numpy() for name in frame.columns})


def test_clean_bars_come_back_as_they_are() -> None:
    frame, report = check_bars(BARS, HOUR, symbol="X")
    assert frame is BARS
    assert (report.rows, report.start, report.end) == (10, START, START + 9 * HOUR)
    assert (report.gaps, report.duplicates, report.dropped, report.zero_volume) == ((), 0, 0, 0)
    assert report.describe_gaps() == "no gaps"
    assert report.describe_dropped() == ""


BAD: dict[str, tuple[Callable[[], pd.DataFrame], str, str]] = {
    "nan": (lambda: changed(3, close=np.nan), r"X 1h, row 4 \(2024-01-01 03:00 UTC\): close is NaN", "NaN"),
    "nan_volume": (lambda: changed(3, volume=np.nan), "row 4 .*volume is NaN", "NaN"),
    "infinite": (lambda: changed(3, high=np.inf), "row 4 .*high is infinite", "infinite"),
    "zero": (lambda: changed(0, low=0.0), "row 1 .*low is 0; a price is above 0", "zero or negative"),
    "negative": (lambda: changed(0, low=-2.5), "row 1 .*low is -2.5; a price is above 0", "zero or negative"),
    "high_below_open": (lambda: changed(3, high=50.0), "row 4 .*high 50 is below open", "high below"),
    "low_above_close": (lambda: changed(3, low=500.0), "row 4 .*high .* is below low 500", "high below"),
    "low_above_open": (
        lambda: changed(3, low=BARS["open"].iloc[3] + 0.001, high=200.0),
        "low .* is above open",
        "low above",
    ),
    "negative_volume": (lambda: changed(9, volume=-1.0), "row 10 .*volume is -1; it is 0 or more", "negative volume"),
    "duplicate": (lambda: at([0, 1, 2, 2]), "row 4 .*occurs twice, first in row 3", "duplicate"),
    "unsorted": (lambda: at([0, 2, 1, 3]), "row 3 .*earlier than 2024-01-01 02:00 UTC in a row before", ""),
    "off_the_grid": (lambda: at([0, 1, 2], MINUTE), "row 3 .*02:01 UTC.*not the open of a 1h bar", "off the grid"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_with_its_value_or_dropped_and_counted(case: str) -> None:
    make, says, reason = BAD[case]
    with pytest.raises(DataError, match=says):
        check_bars(make(), HOUR, symbol="X")
    frame, report = check_bars(make(), HOUR, symbol="X", on_bad_rows="drop")
    assert check_bars(frame, HOUR, symbol="X")[0] is frame
    if case == "unsorted":
        assert (report.dropped, report.unsorted) == (0, 1)
        assert "have been sorted" in report.describe_dropped()
    else:
        assert report.dropped == 1
        assert report.bad == {reason: 1}
        assert reason in report.describe_dropped()


def test_the_first_bad_row_is_the_one_named() -> None:
    frame = changed(7, close=np.nan)
    frame.iloc[2, 1] = 1.0
    with pytest.raises(DataError, match=r"row 3 .*high 1 is below"):
        check_bars(frame, HOUR, symbol="X")


def test_of_duplicates_the_last_stays() -> None:
    frame = pd.concat([BARS, changed(4, volume=777.0).iloc[[4]]])
    kept, report = check_bars(frame, HOUR, symbol="X", on_bad_rows="drop")
    assert kept["volume"].iloc[4] == 777.0
    assert (len(kept), report.duplicates, report.dropped) == (10, 1, 1)


def test_gaps_are_facts_not_errors() -> None:
    frame, report = check_bars(BARS.drop(BARS.index[[2, 3, 7]]), HOUR, symbol="X")
    assert len(frame) == 7
    assert report.gaps == ((START + 2 * HOUR, START + 4 * HOUR, 2), (START + 7 * HOUR, START + 8 * HOUR, 1))
    assert report.missing == 3
    assert report.describe_gaps() == "2 gaps, 3 bars missing, most (2) at 2024-01-01 02:00 UTC"
    one = check_bars(BARS.drop(BARS.index[[2]]), HOUR, symbol="X")[1]
    assert one.describe_gaps() == "1 gap, 1 bar missing at 2024-01-01 02:00 UTC"


def test_weeks_may_begin_on_any_day_and_days_at_midnight_only() -> None:
    weeks = made_bars(5, "1w", start=START + 3 * DAY)
    assert check_bars(weeks, WEEK, symbol="X")[1].gaps == ()
    with pytest.raises(DataError, match="not the open of a 1d bar"):
        check_bars(made_bars(5, "1d", start=START + HOUR), DAY, symbol="X")


def test_zero_volume_and_outliers_are_counted() -> None:
    frame = made_bars(500)
    frame.iloc[100, 4] = 0.0
    frame.iloc[200, 1] *= 1.5
    frame.iloc[300, 2] *= 0.5
    report = check_bars(frame, HOUR, symbol="X")[1]
    assert report.zero_volume == 1
    assert report.outlier_times == (START + 200 * HOUR, START + 300 * HOUR)
    assert report.outliers == 2


def test_no_rows_and_only_bad_rows_are_errors() -> None:
    with pytest.raises(DataError, match="X 1h: no rows"):
        check_bars(BARS.iloc[:0], HOUR, symbol="X")
    with pytest.raises(DataError, match="every one of the 10 rows is bad: 10 NaN"):
        check_bars(BARS.assign(open=np.nan), HOUR, symbol="X", on_bad_rows="drop")
    with pytest.raises(UsageError, match="use error or drop"):
        check_bars(BARS, HOUR, symbol="X", on_bad_rows="ignore")


@given(st.permutations(range(10)), st.lists(st.integers(0, 9), max_size=4))
def test_dropping_gives_the_clean_rows_back_whatever_the_order(order: list[int], again: list[int]) -> None:
    frame, report = check_bars(BARS.iloc[[*order, *again]], HOUR, symbol="X", on_bad_rows="drop")
    pd.testing.assert_frame_equal(frame, BARS)
    assert report.duplicates == report.dropped == len(again)


def test_events_are_sorted_unique_and_finite() -> None:
    nan = float("nan")
    times = START + np.arange(3, dtype=np.int64) * 8 * HOUR
    good = make_frame(times, {"funding_rate": np.array([0.1, 0.2, 0.3]), "mark_price": np.full(3, nan)})
    assert check_events(good, what="X funding", optional=("mark_price",))[0] is good
    with pytest.raises(DataError, match=r"X funding, row 1 .*mark_price is nan, a finite number is needed"):
        check_events(good, what="X funding")
    frame, report = check_events(good.iloc[[0, 2, 2, 1]], what="X", on_bad_rows="drop", optional=("mark_price",))
    pd.testing.assert_frame_equal(frame, good)
    assert (report.dropped, report.duplicates, report.unsorted) == (1, 1, 1)
    with pytest.raises(DataError, match=r"row 3 .*occurs twice, first in row 2"):
        check_events(good.iloc[[0, 2, 2, 1]], what="X", optional=("mark_price",))
    with pytest.raises(DataError, match="no rows"):
        check_events(good.iloc[:0], what="X")


def test_one_row_is_one_row() -> None:
    one = QualityReport(rows=3, start=0, end=0, dropped=1, bad={"NaN": 1}, unsorted=1)
    assert one.describe_dropped() == "1 row dropped (1 NaN); 1 row out of order: the rows have been sorted"
    two = QualityReport(rows=3, start=0, end=0, dropped=2, bad={"NaN": 2})
    assert two.describe_dropped() == "2 rows dropped (2 NaN)"
