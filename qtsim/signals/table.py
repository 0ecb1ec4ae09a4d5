"""What a strategy answers: requests per closed bar, from arrays, from a DataFrame, or from a ready table."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qtsim.core.records import Records, signal_dt
from qtsim.data.frames import plain_name, table_times
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts
from qtsim.errors import DataError, StrategyError, UsageError
from qtsim.signals.strategy import Strategy

if TYPE_CHECKING:
    import pandas as pd

    from qtsim.signals.bars import Bars

Array: TypeAlias = npt.NDArray[Any]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]

FLAGS = ("long", "short", "exit_long", "exit_short")
NUMBERS = ("confidence", "tp", "sl", "trail", "divergence", "funding_delta")
RATIOS = ("tp", "sl", "trail")
_FLAG_TEXTS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}

FREQTRADE = {"enter_long": "long", "enter_short": "short", "enter_tag": "tag"}
"""freqtrade's names of columns → ours; its exit_long and exit_short are ours already."""


class RowError(StrategyError):
    """A value of one row is wrong; `row` counts from 0, so that the time can be added where it is known."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class TagTable:
    """Every tag of a run, each with one index, in the order of first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._index: dict[str, int] = {}

    def index(self, text: str) -> int:
        """Return a tag's index, a new one at its first use."""
        if text not in self._index:
            self._index[text] = len(self.texts)
            self.texts.append(text)
        return self._index[text]


class Signals:
    """Requests per closed bar. 0, false and NaN ask for nothing; true stands for that bar only.

    Parameters
    ----------
    long, short : array of bool, or one value for all bars, optional
        Ask for an entry. Both true at one bar: neither, counted.
    exit_long, exit_short : array of bool, optional
        Ask to close.
    side : array of -1, 0, 1, optional
        Shorthand for `long` and `short`.
    confidence : array or number in [0, 1], optional
        NaN: none stated for that bar.
    tag : str or array of str, optional
        Kept with the trade.
    tp, sl, trail : array or number, optional
        Ratios of the entry price above 0 and below 1: 0.02 is 2 %. NaN: none.
    divergence, funding_delta : array or number, optional
        Inputs of the leverage model and the levels.

    Raises
    ------
    StrategyError
        Arrays of different lengths, a value that is no flag, a confidence outside [0, 1], a ratio given as per cent;
        the first row is named.
    """

    __slots__ = ("_fields", "_tag", "length")

    def __init__(
        self,
        long: Any = None,
        short: Any = None,
        exit_long: Any = None,
        exit_short: Any = None,
        *,
        side: Any = None,
        confidence: Any = None,
        tag: Any = None,
        tp: Any = None,
        sl: Any = None,
        trail: Any = None,
        divergence: Any = None,
        funding_delta: Any = None,
    ) -> None:
        if side is not None:
            if long is not None or short is not None:
                raise StrategyError(
                    "Signals: side is shorthand for long and short; give either side, or long and short"
                )
            sides = _sides(side)
            long, short = sides == 1, sides == -1
        flags = dict(zip(FLAGS, (long, short, exit_long, exit_short), strict=True))
        numbers = dict(zip(NUMBERS, (confidence, tp, sl, trail, divergence, funding_delta), strict=True))
        self._fields: dict[str, Array] = {
            name: _flag(name, value) for name, value in flags.items() if value is not None
        }
        self._fields |= {name: _number(name, value) for name, value in numbers.items() if value is not None}
        self._tag = _tags(tag)
        shapes = {name: array.shape for name, array in self._fields.items() if array.ndim}
        if isinstance(self._tag, np.ndarray):
            shapes["tag"] = self._tag.shape
        lengths = {name: shape[0] for name, shape in shapes.items()}
        if len(set(lengths.values())) > 1:
            raise StrategyError(
                "Signals: arrays of different lengths: " + ", ".join(f"{name} {n}" for name, n in lengths.items())
            )
        self.length: int | None = next(iter(lengths.values()), None)
        """Rows; None where every value is one for all bars."""

    @classmethod
    def from_target(cls, side: Any, **others: Any) -> Signals:
        """Make signals of a target position: 1 long, -1 short, 0 flat; NaN asks for nothing.

        At each bar the target's entry is asked for and every other position's exit.
        """
        target = _sides(side)
        known = ~np.isnan(target)
        return cls(target == 1, target == -1, known & (target != 1), known & (target != -1), **others)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Signals:
        """Make signals of a DataFrame's columns, ours or freqtrade's; other columns are ignored.

        Raises
        ------
        StrategyError
            No column that asks for anything, or one given under two names.
        """
        taken: dict[str, Any] = {}
        for column in frame.columns:
            name = FREQTRADE.get(str(column), str(column))
            if name in FLAGS or name in NUMBERS or name in ("side", "tag"):
                if name in taken:
                    raise StrategyError(f"the table has {name} twice: as {name} and under freqtrade's name for it")
                taken[name] = _column_values(frame[column])
        if not any(name in taken for name in (*FLAGS, "side")):
            have = ", ".join(str(column) for column in frame.columns) or "none"
            raise StrategyError(
                f"the table has no column long, short, side, exit_long, exit_short, enter_long or enter_short; "
                f"its columns: {have}"
            )
        return cls(**taken)

    @property
    def long(self) -> Flags:
        """Entry requests for longs as given: before rows with both sides are dropped."""
        return self._flag_rows("long")

    @property
    def short(self) -> Flags:
        """Entry requests for shorts as given."""
        return self._flag_rows("short")

    @property
    def exit_long(self) -> Flags:
        """Requests to close a long."""
        return self._flag_rows("exit_long")

    @property
    def exit_short(self) -> Flags:
        """Requests to close a short."""
        return self._flag_rows("exit_short")

    def _flag_rows(self, name: str) -> Flags:
        value = self._fields.get(name, np.zeros((), np.bool_))
        return np.broadcast_to(value, (self.length or 0,)) if value.ndim == 0 else value

    @property
    def states_confidence(self) -> bool:
        """Whether any bar has a confidence."""
        return "confidence" in self._fields and bool(np.isfinite(self._fields["confidence"]).any())

    def to_rows(self, n_bars: int, tags: TagTable, newest: int | None = None) -> tuple[Records, int]:
        """Return (rows, both_sides): `signal_dt` rows of shape (n_bars,) without the market's columns, and the number
        of bars that asked for both sides. newest: rows of the last so many bars only, the same as they are among all.

        Raises
        ------
        StrategyError
            Another number of rows than bars.
        """
        if self.length is not None and self.length != n_bars:
            raise StrategyError(f"the signals have {self.length} rows for {n_bars} bars; one row per bar is needed")
        first = 0 if newest is None else max(0, n_bars - newest)
        rows = empty_rows(n_bars - first)
        for name, value in self._fields.items():
            rows[name] = value[first:] if value.ndim else value
        flags = {name: self._of_all(name, n_bars) for name in FLAGS}
        both = flags["long"] & flags["short"]
        rows["long"][both[first:]] = 0
        rows["short"][both[first:]] = 0
        asks = (flags["long"] ^ both) | (flags["short"] ^ both) | flags["exit_long"] | flags["exit_short"]
        if isinstance(self._tag, str):
            if asks.any():
                rows["tag"][asks[first:]] = tags.index(self._tag)
        elif self._tag is not None:
            for row in np.flatnonzero(asks):
                if self._tag[row] is not None:
                    number = tags.index(self._tag[row])  # in the order of all bars, whichever rows are wanted
                    if row >= first:
                        rows["tag"][row - first] = number
        return rows, int(both.sum())

    def _of_all(self, name: str, n_bars: int) -> Flags:
        """A flag of each of `n_bars` bars."""
        value = self._fields.get(name)
        return np.zeros(n_bars, np.bool_) if value is None else np.broadcast_to(value != 0, (n_bars,))


def empty_rows(n_bars: int) -> Records:
    """Return `signal_dt` rows that ask for nothing and know nothing of the market."""
    rows = np.zeros(n_bars, signal_dt)
    rows["tag"] = -1
    for name in (*NUMBERS, "atr", "atr_pct", "leader_24h"):
        rows[name] = np.nan
    rows["atr_ratio"] = 1.0
    rows["symbol_risk"] = 1.0
    return rows


class SignalTable(Strategy):
    """A ready table of signals, run like a strategy: `--strategy signals.parquet`.

    Parameters
    ----------
    frame : DataFrame
        Index or time column = bar open (naive = UTC); the columns of `Signals` or freqtrade's; optional `symbol` or
        `pair`. Bars without a row ask for nothing.
    name : str
        Shown in the run.
    source : Path, optional
        The file it came from.

    Raises
    ------
    StrategyError
        No time, no flags, a time twice, or a wrong value.
    """

    def __init__(self, frame: pd.DataFrame, name: str = "table", source: Path | None = None) -> None:
        super().__init__()
        self.name = name
        self.source = source
        plain = frame.rename(columns=plain_name)
        self.remarks = [f"signal table {name}: {text}" for text in _near_names(plain)]
        """What is odd about the table and no error."""
        try:
            times = table_times(plain, name)
        except DataError as error:
            raise StrategyError(f"signal table {error}") from None
        if len(times) == 0:
            raise StrategyError(f"signal table {name} has no rows")
        self._parts: dict[str | None, tuple[npt.NDArray[np.int64], pd.DataFrame]] = {}
        symbols = next((plain[column] for column in ("symbol", "pair") if column in plain.columns), None)
        if symbols is None:
            self._add_part(None, times, plain, np.arange(len(times)))
        else:
            try:
                names = np.array([normalize_symbol(str(symbol)) for symbol in symbols], dtype=object)
            except UsageError as error:
                raise StrategyError(f"signal table {name}: {error}") from None
            for symbol in sorted(set(names)):
                mine = names == symbol
                self._add_part(str(symbol), times[mine], plain[mine], np.flatnonzero(mine))

    def _add_part(
        self, symbol: str | None, times: npt.NDArray[np.int64], table: pd.DataFrame, rows: npt.NDArray[np.int64]
    ) -> None:
        """Keep one symbol's rows in order of time; `rows` are their numbers in the whole table."""
        order = np.argsort(times, kind="stable")
        times = times[order]
        twice = np.flatnonzero(np.diff(times) == 0)
        of_symbol = f" of {symbol}" if symbol else ""
        if len(twice):
            raise StrategyError(f"signal table {self.name}: two rows{of_symbol} at {format_ts(int(times[twice[0]]))}")
        table = table.iloc[order]
        try:
            Signals.from_frame(table)
        except RowError as error:
            text = str(error).replace(f"at row {error.row};", f"at row {rows[order][error.row]};")
            raise StrategyError(f"signal table {self.name}: {text} ({format_ts(int(times[error.row]))})") from None
        except StrategyError as error:
            raise StrategyError(f"signal table {self.name}: {error}") from None
        self._parts[symbol] = (times, table)

    @property
    def symbols(self) -> list[str]:
        """The symbols it has rows of; empty where its rows hold for any symbol."""
        return [symbol for symbol in self._parts if symbol is not None]

    def fingerprint(self) -> str:
        """Return sha256 of the table's rows."""
        import pandas as pd

        digest = hashlib.sha256()
        for symbol, (times, table) in self._parts.items():
            digest.update(f"{symbol} {list(table.columns)}".encode())
            digest.update(times.tobytes())
            digest.update(pd.util.hash_pandas_object(table.astype(str), index=False).to_numpy().tobytes())
        return digest.hexdigest()

    def signals(self, bars: Bars) -> Signals:
        """Match the table's rows to bars by time; rows before the first and after the last bar are left out.

        Raises
        ------
        StrategyError
            No row of this symbol or time span, or a row between the first and the last bar that matches no bar.
        """
        import pandas as pd

        part = self._parts.get(bars.symbol, self._parts.get(None))
        if part is None:
            raise StrategyError(f"the table has no rows of {bars.symbol}; it has {', '.join(self.symbols)}")
        times, table = part
        opens = bars.time.view(np.int64)
        if not len(opens):
            return Signals(np.zeros(0, np.bool_))
        inside = (times >= opens[0]) & (times <= opens[-1])
        row = np.minimum(np.searchsorted(opens, times), len(opens) - 1)
        lost = inside & (opens[row] != times)
        if lost.any():
            first = int(times[np.argmax(lost)])
            raise StrategyError(
                f"the table's row at {format_ts(first)} matches no {bars.timeframe} bar of {bars.symbol} "
                f"({int(lost.sum())} such rows); times are the bars' opens in UTC"
            )
        if not inside.any():
            raise StrategyError(
                f"no row of the table lies within the bars: it spans {format_ts(int(times[0]))} to "
                f"{format_ts(int(times[-1]))}, the bars of {bars.symbol} {format_ts(int(opens[0]))} to "
                f"{format_ts(int(opens[-1]))}"
            )
        placed = table[inside].set_axis(pd.RangeIndex(int(inside.sum())), axis=0).astype(object)
        where = np.full(len(opens), -1)
        where[row[inside]] = np.arange(int(inside.sum()))
        return Signals.from_frame(placed.reindex(where))


def _near_names(table: pd.DataFrame) -> list[str]:
    """Columns that are not read and whose names are nearly those of columns that are."""
    known = {name for name in (*FLAGS, *NUMBERS, "side", "tag", *FREQTRADE) if len(name) > 2}
    remarks = []
    for column in map(str, table.columns):
        near = difflib.get_close_matches(column, sorted(known - set(table.columns)), n=1, cutoff=0.8)
        if near and column not in known:
            remarks.append(f"column {column} is not read; did you mean {near[0]}?")
    return remarks


def read_table(path: Path) -> pd.DataFrame:
    """Read a signal table from .parquet or .csv.

    Raises
    ------
    StrategyError
        Not there, or not readable.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path)
    except FileNotFoundError:
        raise StrategyError(f"signal table {path} does not exist") from None
    except Exception as error:  # pandas and pyarrow raise many kinds for damaged files
        reason = str(error).strip().splitlines()
        raise StrategyError(f"signal table {path} cannot be read: {reason[0] if reason else error!r}") from None


def as_signals(result: Any, bars: Bars) -> Signals:
    """Return what a strategy returned as `Signals`; a DataFrame's times must be the bars'.

    Raises
    ------
    StrategyError
        Another type, or a table at other times.
    """
    import pandas as pd

    if isinstance(result, Signals):
        return result
    if not isinstance(result, pd.DataFrame):
        raise StrategyError(
            f"signals must return qt.Signals or a DataFrame with its columns, not {type(result).__name__}"
        )
    if len(result) == len(bars):
        times = _times_of_result(result)
        if times is not None and not np.array_equal(times, bars.time.view(np.int64)):
            row = int(np.argmax(times != bars.time.view(np.int64)))
            raise StrategyError(
                f"row {row} of the returned DataFrame is {format_ts(int(times[row]))}, the bar is "
                f"{format_ts(int(bars.time.view(np.int64)[row]))}; it must have one row per bar, in order"
            )
    return Signals.from_frame(result)


def crossed_above(series: Any, other: Any) -> Flags:
    """Tell at which bars `series` is above `other` after it was not above at the bar before.

    `other` is a series or a number. NaN at either bar is false; so is the first bar.
    """
    first, second = _pair(series, other)
    crossed = np.zeros(first.shape, np.bool_)
    crossed[1:] = (first[1:] > second[1:]) & (first[:-1] <= second[:-1])
    return crossed


def crossed_below(series: Any, other: Any) -> Flags:
    """Tell at which bars `series` is below `other` after it was not below at the bar before; as `crossed_above`."""
    first, second = _pair(series, other)
    return crossed_above(second, first)


def _pair(series: Any, other: Any) -> tuple[Floats, Floats]:
    try:
        first, second = np.asarray(series, np.float64), np.asarray(other, np.float64)
    except (TypeError, ValueError):
        raise StrategyError("crossed_above and crossed_below compare numbers") from None
    if first.ndim > 1 or second.ndim > 1 or max(first.ndim, second.ndim) == 0:
        raise StrategyError("crossed_above and crossed_below take a series, and a series or a number")
    if first.ndim and second.ndim and len(first) != len(second):
        raise StrategyError(f"crossed_above and crossed_below: series of {len(first)} and {len(second)} values")
    first, second = np.broadcast_arrays(first, second)
    return first, second


def _column_values(column: pd.Series[Any]) -> Array:
    """A table's column as a NumPy array; missing values of pandas' own types become None."""
    if column.dtype.kind in "biuf":  # NumPy's and pandas' nullable numbers
        values: Array = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return values
    return np.array([None if value != value or value is None else value for value in column.astype(object)], object)


def _times_of_result(frame: pd.DataFrame) -> npt.NDArray[np.int64] | None:
    """The times of a returned DataFrame where it states any: its index, or freqtrade's `date`."""
    import pandas as pd

    if isinstance(frame.index, pd.DatetimeIndex):
        return table_times(frame, "signals")
    if "date" in frame.columns and frame["date"].dtype.kind == "M":
        return table_times(frame[["date"]], "signals")
    return None


def _as_array(name: str, value: Any) -> Array:
    """A scalar or one-dimensional array of anything."""
    if hasattr(value, "to_numpy"):  # pandas, without importing it
        if getattr(value, "ndim", 1) != 1:
            raise StrategyError(f"Signals: {name} is a table; one column is needed")
        value = _column_values(value) if hasattr(value, "astype") else value.to_numpy()
    if isinstance(value, Mapping) or callable(value):
        raise StrategyError(f"Signals: {name} is a {type(value).__name__}; an array with one value per bar is needed")
    try:
        array = np.asarray(value)
    except ValueError:
        raise StrategyError(f"Signals: {name} is ragged; an array with one value per bar is needed") from None
    if array.ndim > 1:
        raise StrategyError(f"Signals: {name} has shape {array.shape}; one value per bar is needed")
    return array


def _floats(name: str, value: Any, wanted: str) -> Floats:
    array = _as_array(name, value)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    if array.dtype.kind == "O":
        objects = array.reshape(-1)
        values = np.full(len(objects), np.nan)
        for row, item in enumerate(objects):
            if item is None or item != item:
                continue
            if isinstance(item, str) or not isinstance(item, int | float | np.number | np.bool_):
                raise RowError(f"Signals: {name} is {item!r} at row {row}; {wanted} is needed", row)
            values[row] = float(item)
        return values.reshape(array.shape)
    shown = array.reshape(-1)[0] if array.size else array.dtype
    raise StrategyError(f"Signals: {name} is {shown!r}; {wanted} is needed")


def _flag(name: str, value: Any) -> Flags:
    array = _as_array(name, value)
    if array.dtype == np.bool_:
        return array
    values = _floats(name, _without_flag_texts(array), "true, false, 0, 1 or NaN")
    wrong = np.atleast_1d((values != 0) & (values != 1) & ~np.isnan(values))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise RowError(
            f"Signals: {name} is {np.atleast_1d(values)[row]:g} at row {row}; true, false, 0, 1 or NaN is needed", row
        )
    flags: Flags = values == 1
    return flags


def _without_flag_texts(array: Array) -> Array:
    """Flags as a CSV file has them in a column that holds anything else too: `True` and `0` are text there."""
    if array.dtype.kind not in "OU":
        return array
    objects = array.astype(object).reshape(-1)
    read = [_FLAG_TEXTS.get(item.strip().lower(), item) if isinstance(item, str) else item for item in objects]
    return np.array([*read, None], dtype=object)[:-1].reshape(array.shape)


def _sides(value: Any) -> Floats:
    sides = _floats("side", value, "-1, 0, 1 or NaN")
    if sides.ndim == 0:
        raise StrategyError("Signals: side is one number; an array with one value per bar is needed")
    wrong = ~np.isnan(sides) & (sides != 0) & (np.abs(sides) != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise RowError(f"Signals: side is {sides[row]:g} at row {row}; -1, 0, 1 or NaN is needed", row)
    return sides


def _number(name: str, value: Any) -> Floats:
    values = _floats(name, value, "a number or NaN")
    flat = np.atleast_1d(values)
    wrong = np.isinf(flat)
    needed = "a finite number or NaN is needed"
    if name == "confidence":
        wrong |= (flat < 0) | (flat > 1)
        needed = "it lies between 0 and 1"
    elif name in RATIOS:
        wrong |= (flat <= 0) | (flat >= 1)
        needed = "a ratio above 0 and below 1 is needed: 2 % is 0.02"
    if wrong.any():
        row = int(np.argmax(wrong))
        raise RowError(f"Signals: {name} is {flat[row]:g} at row {row}; {needed}", row)
    return values


def _tags(value: Any) -> str | npt.NDArray[np.object_] | None:
    """One text for all rows, or an object array of text and None."""
    if value is None or isinstance(value, str):
        return value or None
    items = _as_array("tag", value).astype(object)
    if items.ndim == 0:
        raise StrategyError(f"Signals: tag is {value!r}; text, or one text per bar, is needed")
    texts = np.full(len(items), None, dtype=object)
    for row, item in enumerate(items):
        if item is None or item != item or item == "":
            continue
        if not isinstance(item, str):
            raise RowError(f"Signals: tag is {item!r} at row {row}; text is needed", row)
        texts[row] = item
    return texts
