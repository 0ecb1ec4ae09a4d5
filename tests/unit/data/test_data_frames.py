from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.frames import as_bars, as_column, as_funding, is_canonical, parse_times, round_to_minute, times_of
from qtsim.data.timeframes import MINUTE, SECOND
from qtsim.errors import DataError
from tests.unit.data.made_bars import START, made_bars

BARS = made_bars(5)
STAMPS = pd.date_range("2024-01-01", periods=5, freq="h", tz="UTC")


def with_times(times: object, name: str) -> pd.DataFrame:
    table = BARS.reset_index(drop=True)
    table.insert(0, name, times)
    return table


FORMS: dict[str, Callable[[], pd.DataFrame]] = {
    "canonical": lambda: BARS,
    "freqtrade": lambda: with_times(STAMPS.as_unit("ms"), "date"),
    "naive_is_utc": lambda: with_times(STAMPS.tz_localize(None), "datetime"),
    "another_zone": lambda: with_times(STAMPS.tz_convert("Asia/Tokyo"), "timestamp"),
    "microsecond_index": lambda: BARS.set_index(STAMPS.as_unit("us")),
    "unnamed_naive_index": lambda: BARS.set_index(STAMPS.tz_localize(None).rename(None)),
    "capitals": lambda: BARS.rename(columns=str.capitalize),
    "seconds": lambda: with_times(STAMPS.as_unit("s").asi8, "time"),
    "milliseconds": lambda: with_times(STAMPS.as_unit("ms").asi8, "open_time"),
    "float_milliseconds": lambda: with_times(STAMPS.as_unit("ms").asi8.astype(float), "timestamp"),
    "microseconds": lambda: with_times(STAMPS.as_unit("us").asi8, "Open time"),
    "nanoseconds": lambda: with_times(STAMPS.as_unit("ns").asi8, "ts"),
    "number_texts": lambda: with_times([str(ms) for ms in STAMPS.as_unit("ms").asi8], "t"),
    "iso": lambda: with_times([stamp.isoformat() for stamp in STAMPS], "date"),
    "iso_naive": lambda: with_times(STAMPS.strftime("%Y-%m-%d %H:%M:%S"), "Date"),
    "with_utc": lambda: with_times(STAMPS.strftime("%Y-%m-%d %H:%M:%S UTC"), "Date"),
    "integer_index": lambda: BARS.set_index(pd.Index(STAMPS.as_unit("ms").asi8)),
    "text_index": lambda: BARS.set_index(pd.Index(STAMPS.strftime("%Y-%m-%d %H:%M"))),
    "short_names": lambda: BARS.rename(columns={"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}),
    "values_as_text": lambda: BARS.astype(str),
    "more_columns": lambda: BARS.assign(quote_volume=1.0, trades=3),
    "two_levels": lambda: pd.concat({"GOOG": BARS}, axis=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_same_bars(form: str) -> None:
    bars = as_bars(FORMS[form](), "X")
    assert is_canonical(bars, ("open", "high", "low", "close", "volume"))
    pd.testing.assert_frame_equal(bars, BARS)


def test_the_given_table_is_left_as_it_was() -> None:
    table = with_times(STAMPS, "Date")
    before = table.copy()
    as_bars(table, "X")
    pd.testing.assert_frame_equal(table, before)


def test_dates_as_numbers_are_dates() -> None:
    assert parse_times(pd.Series([20240101, 20240102]), "X").tolist() == [START, START + 86_400 * SECOND]


def test_one_file_may_change_its_unit() -> None:
    times = parse_times(pd.Series([START // 1_000_000, START // 1_000 + 60_000_000]), "X")
    assert times.tolist() == [START, START + MINUTE]


@given(st.integers(100_000_000, 4_000_000_000), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_the_unit_of_a_number_is_found_by_its_size(seconds: int, per_second: int) -> None:
    assert parse_times(pd.Series([seconds * per_second]), "X").tolist() == [seconds * SECOND]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: BARS.drop(columns="volume"), "X: no column volume"),
        (lambda: BARS.reset_index(drop=True), "X: no time found"),
        (lambda: with_times([1, 2, 3, 4, 5], "time"), "X, row 1: .*is no time"),
        (lambda: with_times(["2024-01-01", "01/02/2024", "", "", ""], "date"), "X, row 2: '01/02/2024' is no time"),
        (lambda: with_times([STAMPS[0], *[pd.NaT] * 4], "date"), "X, row 2: NaT is no time"),
        (lambda: BARS.astype({"close": object}).assign(close=[1, 2, "three", 4, 5]), "column close, row 3: 'three'"),
        (lambda: BARS.assign(Open=1.0), "column open occurs twice"),
    ],
)
def test_what_cannot_be_bars_names_the_place(change: Callable[[], pd.DataFrame], says: str) -> None:
    with pytest.raises(DataError, match=says):
        as_bars(change(), "X")


def test_two_symbols_side_by_side_are_refused() -> None:
    with pytest.raises(DataError, match="one table per symbol"):
        as_bars(pd.concat({"A": BARS, "B": BARS}, axis=1), "X")


@pytest.mark.parametrize("name", ["funding_rate", "fundingRate", "last_funding_rate"])
def test_funding_is_found_under_every_name(name: str) -> None:
    table = pd.DataFrame({"fundingTime": [START // 10**6, START // 10**6 + 28_800_005], name: ["0.0001", "-0.0002"]})
    funding = as_funding(table, "X")
    assert funding["funding_rate"].tolist() == [0.0001, -0.0002]
    assert funding["mark_price"].isna().all()
    assert times_of(funding)[1] - times_of(funding)[0] == 8 * 3600 * SECOND


def test_funding_reads_the_open_column_only_where_told() -> None:
    table = with_times(STAMPS, "date")
    assert as_funding(table, "X", rate_in_open=True)["funding_rate"].tolist() == BARS["open"].tolist()
    with pytest.raises(DataError, match="no column funding_rate"):
        as_funding(table, "X")


@given(st.integers(0, 10**6), st.integers(-70 * SECOND, 70 * SECOND))
def test_jitter_below_a_second_goes_to_the_minute_and_nothing_else_moves(minute: int, offset: int) -> None:
    given_time = (minute + 2) * MINUTE + offset
    rounded = int(round_to_minute(np.array([given_time], dtype=np.int64))[0])
    nearest = round(given_time / MINUTE) * MINUTE
    assert rounded == (nearest if abs(given_time - nearest) < SECOND else given_time)


def test_a_column_is_found_by_name_or_because_it_is_alone() -> None:
    alone = pd.DataFrame({"time": STAMPS, "value": range(5)})
    pd.testing.assert_frame_equal(as_column(alone, "mood"), as_column(pd.Series(range(5), index=STAMPS), "mood"))
    named = alone.assign(Mood=7.0)
    assert as_column(named, "mood")["mood"].tolist() == [7.0] * 5
    with pytest.raises(DataError, match="one value column only"):
        as_column(alone.assign(other=1), "mood")
