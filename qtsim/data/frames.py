"""Canonical frames of market data, and the way to them from any pandas table that people have.

A canonical frame has a `DatetimeIndex` named `time` in nanoseconds UTC and float64 columns:

- bars: `open high low close volume`, index = the bar's open;
- mark bars: `open high low close`;
- funding: `funding_rate`, `mark_price` (NaN where not recorded), index = the time of payment;
- column: one column, index = the time at which the value became known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from qtsim.data.timeframes import SECOND
from qtsim.errors import DataError

Times: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
MARK_COLUMNS = ("open", "high", "low", "close")
FUNDING_COLUMNS = ("funding_rate", "mark_price")

TIME_NAMES = (
    "open_time",
    "opentime",
    "timestamp",
    "time",
    "date",
    "datetime",
    "date_time",
    "funding_time",
    "fundingtime",
    "calc_time",
    "unix",
    "ts",
    "t",
    "unnamed:_0",
    "",
    "index",
)
"""Names of a time column, best first, after `plain_name`."""

_ALIASES = {
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "v", "vol", "base_volume"),
}
_SYMBOL_NAMES = ("symbol", "pair", "ticker", "coin", "instrument")
_RATE_NAMES = ("funding_rate", "fundingrate", "last_funding_rate", "lastfundingrate", "rate")
_MARK_NAMES = ("mark_price", "markprice", "mark")


def plain_name(name: object) -> str:
    """Return a column name in lower case with `_` for spaces and hyphens."""
    return re.sub(r"[\s\-]+", "_", str(name).strip().lower())


def make_frame(times: Times, columns: dict[str, Floats]) -> pd.DataFrame:
    """Build a canonical frame from int64 ns UTC and float64 arrays of the same length."""
    index = pd.DatetimeIndex(times.view("M8[ns]"), name="time").tz_localize("UTC")
    return pd.DataFrame(columns, index=index)


def times_of(frame: pd.DataFrame) -> Times:
    """Return a frame's `DatetimeIndex` as int64 ns UTC, whatever its unit; naive times are UTC."""
    return _index_ns(pd.DatetimeIndex(frame.index))


def is_canonical(frame: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Tell whether a frame already is canonical with exactly these columns."""
    index = frame.index
    return (
        isinstance(index, pd.DatetimeIndex)
        and index.name == "time"
        and str(index.dtype) == "datetime64[ns, UTC]"
        and tuple(frame.columns) == tuple(columns)
        and all(dtype == np.float64 for dtype in frame.dtypes)
    )


def as_bars(frame: pd.DataFrame, symbol: str, *, kind: str = "bars") -> pd.DataFrame:
    """Return any pandas OHLCV table as canonical bars; the rows keep their order and are not judged.

    Parameters
    ----------
    frame : DataFrame
        Time as index or as a column named `timestamp`, `time`, `date`, `datetime`, `open_time` or the like; columns
        open, high, low, close, volume in any case. Times: datetimes (naive = UTC), ISO text, or Unix s, ms, us, ns.
    symbol : str
        Named in errors.
    kind : str
        `bars`, or `mark`, which has no volume.

    Raises
    ------
    DataError
        No time, a column missing, or a value that is not a number or a time; the row is named.
    """
    wanted = MARK_COLUMNS if kind == "mark" else BAR_COLUMNS
    if is_canonical(frame, wanted):
        return frame
    table = _flat_columns(frame)
    _refuse_several_symbols(table, symbol)
    times = table_times(table, symbol)
    columns = {}
    for name in wanted:
        source = _find(table, _ALIASES[name])
        if source is None:
            have = ", ".join(str(column) for column in frame.columns)
            raise DataError(f"{symbol}: no column {name}; the table has {have or 'no columns'}")
        columns[name] = as_floats(table[source], symbol, name)
    return make_frame(times, columns)


def as_funding(frame: pd.DataFrame, symbol: str, *, rate_in_open: bool = False) -> pd.DataFrame:
    """Return any table of funding events as a canonical funding frame.

    Times within one second of a whole minute are rounded to it: the exchange stamps payments some milliseconds late,
    and the payment belongs to the minute.

    Parameters
    ----------
    frame : DataFrame
        Time as for `as_bars`; the rate in `funding_rate`, `fundingRate`, `last_funding_rate` or `rate`; optionally
        `mark_price` or `markPrice`.
    symbol : str
        Named in errors.
    rate_in_open : bool
        The rate is in column `open`, as in freqtrade's files.

    Raises
    ------
    DataError
        No time, no rate, or a value that is not a number or a time.
    """
    if is_canonical(frame, FUNDING_COLUMNS):
        return frame
    table = _flat_columns(frame)
    _refuse_several_symbols(table, symbol)
    times = round_to_minute(table_times(table, symbol))
    rate = _find(table, _RATE_NAMES)
    if rate is None and rate_in_open:
        rate = _find(table, _ALIASES["open"])
    if rate is None:
        have = ", ".join(str(column) for column in frame.columns)
        raise DataError(f"{symbol}: no column funding_rate; the table has {have or 'no columns'}")
    mark = _find(table, _MARK_NAMES)
    marks = np.full(len(table), np.nan) if mark is None else as_floats(table[mark], symbol, "mark_price")
    return make_frame(times, {"funding_rate": as_floats(table[rate], symbol, "funding_rate"), "mark_price": marks})


def as_column(frame: pd.DataFrame | pd.Series[Any], name: str) -> pd.DataFrame:
    """Return a series of values as a canonical frame with the one column `name`.

    Parameters
    ----------
    frame : DataFrame or Series
        Index or time column: the time at which each value became known. A frame has a column `name`, or exactly one
        column besides the time.
    name : str
        Name of the result's column.

    Raises
    ------
    DataError
        No time, no such column, or a value that is not a number or a time.
    """
    table = _flat_columns(frame.to_frame(name) if isinstance(frame, pd.Series) else frame)
    times = table_times(table, name)
    time_column = _time_column(table)
    values = [column for column in table.columns if column != time_column]
    if plain_name(name) in values:
        source = plain_name(name)
    elif len(values) == 1:
        source = values[0]
    else:
        have = ", ".join(str(column) for column in frame.columns)
        raise DataError(f"column {name}: the table has {have}; name one of them {name}, or give one value column only")
    return make_frame(times, {name: as_floats(table[source], name, name)})


def table_times(table: pd.DataFrame, what: str) -> Times:
    """Return the times of a table with plain names as int64 ns UTC, from its index or its time column.

    Raises
    ------
    DataError
        No index or column holds times.
    """
    if isinstance(table.index, pd.DatetimeIndex):
        return parse_times(table.index, what)
    if isinstance(table.index, pd.PeriodIndex):
        return parse_times(table.index.to_timestamp(), what)
    column = _time_column(table)
    if column is not None:
        return parse_times(table[column], what)
    # an index that counts rows from 0 or 1 is none of times
    if len(table.index) and not (isinstance(table.index, pd.RangeIndex) and table.index[0] < 10**8):
        return parse_times(table.index, what)
    have = ", ".join(str(name) for name in table.columns)
    raise DataError(f"{what}: no time found; the table has {have or 'no columns'}: name one of them timestamp or date")


def parse_times(values: pd.Index[Any] | pd.Series[Any], what: str, *, first: int = 1) -> Times:
    """Return times of any common form as int64 ns UTC; the unit of numbers is found by their size, row by row.

    Parameters
    ----------
    values : Index or Series
        Datetimes (naive = UTC), ISO text, dates as 20240131, or Unix seconds, milliseconds, microseconds, nanoseconds.
    what : str
        Named in errors.
    first : int
        Number of the first row, for errors: 1, but for a later part of a longer table.

    Raises
    ------
    DataError
        A value that is no time; its row is named.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        index = pd.DatetimeIndex(values)
        _refuse(np.asarray(index.isna()), values, what, "is no time", first)
        return _index_ns(index)
    if values.dtype.kind in "iuf":
        return _unix_ns(np.asarray(values), values, what, first)
    texts = pd.Series(np.asarray(values, dtype=object))
    numbers = pd.to_numeric(texts, errors="coerce")
    if len(texts) and not bool(numbers.isna().any()):
        return _unix_ns(np.asarray(numbers), values, what, first)
    texts = texts.astype(str).str.replace(r"\s*UTC$", "", regex=True)
    parsed = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    why = "is no time; write 2024-01-31 09:30:00 or Unix milliseconds"
    _refuse(np.asarray(parsed.isna()), values, what, why, first)
    return _index_ns(pd.DatetimeIndex(parsed))


def as_floats(values: pd.Series[Any], what: str, column: str, *, first: int = 1) -> Floats:
    """Return a column as float64; numbers written as text are understood.

    Raises
    ------
    DataError
        A value that is not a number; its row is named, counted from `first`.
    """
    if values.dtype.kind in "iuf":
        return np.ascontiguousarray(values.to_numpy(dtype=np.float64))
    numbers = np.ascontiguousarray(pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))
    given = ~np.asarray(values.isna()) & (np.asarray(values.astype(str).str.strip().str.lower()) != "nan")
    _refuse(np.isnan(numbers) & given, values, f"{what}, column {column}", "is not a number", first)
    return numbers


def round_to_minute(times: Times) -> Times:
    """Round int64 ns that are less than one second from a whole minute to it; others stay."""
    minute = 60 * SECOND
    offset = times % minute
    rounded = np.where(offset < SECOND, times - offset, times)
    return np.where(offset > minute - SECOND, times - offset + minute, rounded).astype(np.int64)


def _flat_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy a table with plain column names; of two levels of names (yfinance) keep the one that says open and close."""
    columns: Sequence[object] = list(frame.columns)
    if isinstance(frame.columns, pd.MultiIndex):
        for level in range(frame.columns.nlevels):
            names = [plain_name(name) for name in frame.columns.get_level_values(level)]
            if "close" in names and len(set(names)) == len(names):
                columns = names
                break
        else:
            raise DataError("the table holds several symbols side by side; give one table per symbol")
    table = frame.copy(deep=False)
    table.columns = pd.Index([plain_name(name) for name in columns])
    if table.columns.has_duplicates:
        twice = str(table.columns[table.columns.duplicated()][0])
        raise DataError(f"column {twice} occurs twice in the table (names are compared without case)")
    return table


def _refuse_several_symbols(table: pd.DataFrame, symbol: str) -> None:
    """Refuse a long table in which a column says whose row each one is, where there are several."""
    column = _find(table, _SYMBOL_NAMES)
    if column is None:
        return
    found = sorted({str(value) for value in table[column].dropna().unique()})
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise DataError(f"{symbol}: column {column} names several symbols ({shown}); give one table per symbol")


def _find(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _time_column(table: pd.DataFrame) -> str | None:
    return _find(table, TIME_NAMES)


def _index_ns(index: pd.DatetimeIndex) -> Times:
    # as_unit first: pandas 3 keeps microseconds by default, and asi8 would be 1,000 times too small
    naive = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    return np.asarray(naive.as_unit("ns").asi8, dtype=np.int64)


def _unix_ns(numbers: npt.NDArray[Any], values: Any, what: str, first: int) -> Times:
    if numbers.dtype.kind == "f":
        _refuse(~np.isfinite(numbers), values, what, "is no time", first)
    size = np.abs(numbers)
    as_date = (size >= 19_000_101) & (size <= 21_001_231)
    _refuse((size < 10**8) & ~as_date, values, what, "is no time; expected Unix s, ms, us or ns, or a date", first)
    if bool(as_date.any()):
        parsed = pd.to_datetime(pd.Series(numbers).astype("int64").astype(str), format="%Y%m%d", errors="coerce")
        _refuse(np.asarray(parsed.isna()), values, what, "is no date; expected 20240131", first)
        return _index_ns(pd.DatetimeIndex(parsed))
    scale = np.select([size < 10**11, size < 10**14, size < 10**17], [SECOND, 1_000_000, 1_000], 1).astype(np.int64)
    whole = np.floor(numbers).astype(np.int64)
    times: Times = whole * scale
    if numbers.dtype.kind == "f":
        # parts of a unit to the microsecond: more than that a float does not hold
        times += np.round((numbers - whole) * (scale // 1_000)).astype(np.int64) * 1_000
    return times


def _refuse(bad: npt.NDArray[np.bool_], values: Any, what: str, why: str, first: int) -> None:
    if bool(bad.any()):
        row = int(np.argmax(bad))
        value = values.iloc[row] if isinstance(values, pd.Series) else values[row]
        shown = value.item() if isinstance(value, np.generic) else value
        raise DataError(f"{what}, row {row + first}: {shown!r} {why}")
