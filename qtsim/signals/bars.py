"""What a strategy sees: read-only bars, and other series aligned to what was known at each bar's close.

`Sources` holds the data of a run. A `Bars` is a view of it between two instants: bars that opened before the first or
closed after the second do not exist in it, in any series. So the past of a run, or a live window, is a `Bars` with
other limits, and what holds for the one holds for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from qtsim.data.frames import as_bars, as_column, as_funding, make_frame, times_of
from qtsim.data.resample import divides, resample_bars
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import normalize_timeframe, timeframe_name, timeframe_ns
from qtsim.errors import DataError, StrategyError, UsageError
from qtsim.signals.strategy import Uses

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Times: TypeAlias = npt.NDArray[np.int64]
Array: TypeAlias = npt.NDArray[Any]
Kept = TypeVar("Kept")

START_OF_TIME = np.iinfo(np.int64).min
END_OF_TIME = np.iinfo(np.int64).max

FIELDS = ("open", "high", "low", "close", "volume")


class Series:
    """Bars of one symbol and timeframe as read-only arrays, sorted by time.

    `time` is the bar's open in int64 ns UTC, `length` the bar's length in ns.
    """

    def __init__(self, symbol: str, length: int, time: Times, fields: Mapping[str, Floats]) -> None:
        """time, fields: read-only, in the order of time; they are not copied."""
        self.symbol = symbol
        self.length = length
        self.timeframe = timeframe_name(length)
        self.time = time
        self.fields = fields
        self.known = _locked_new(time + length)
        self._kept: dict[str, Any] = {}

    @classmethod
    def of_frame(cls, symbol: str, length: int, frame: pd.DataFrame) -> Series:
        """Make a series of canonical bars. Raises DataError where they are not in the order of time."""
        time = _locked(times_of(frame))
        if len(time) > 1 and not bool((np.diff(time) > 0).all()):
            row = int(np.argmax(np.diff(time) <= 0)) + 1
            wanted = timeframe_name(length)
            raise DataError(f"{symbol} {wanted}: row {row} ({frame.index[row]}) is not after the row before it")
        return cls(symbol, length, time, {name: _locked(frame[name].to_numpy(np.float64)) for name in FIELDS})

    @property
    def frame(self) -> pd.DataFrame:
        """Canonical bars."""
        return make_frame(self.time, dict(self.fields))

    def keep(self, name: str, compute: Callable[[Series], Kept]) -> Kept:
        """What is computed of these bars alone, once."""
        if name not in self._kept:
            self._kept[name] = compute(self)
        found: Kept = self._kept[name]
        return found

    def rows_between(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return [first, stop) of the bars that opened at or after `start_ns` and closed at or before `end_ns`."""
        first = int(np.searchsorted(self.time, start_ns, side="left"))
        stop = int(np.searchsorted(self.known, end_ns, side="right"))
        return first, max(first, stop)


class Sources:
    """All data that strategies may read in one run.

    Parameters
    ----------
    timeframe : str
        The run's timeframe, of `frames` and `mark_frames`.
    frames : mapping of symbol to DataFrame
        Bars of the traded symbols; any OHLCV table that `as_bars` understands.
    other_frames : mapping of symbol, or of (symbol, timeframe), to DataFrame, optional
        More bars: of symbols that are read but not traded, of finer timeframes, or a coarser timeframe's own history
        (used in preference to resampling). A plain symbol means the run's timeframe.
    mark_frames, funding_frames : mapping of symbol to DataFrame, optional
        Mark bars of the run's timeframe; funding events.
    column_frames : mapping of name to DataFrame, Series, or a mapping of symbol (None: all symbols) to either
        Imported series; the index is the time at which a value became known.
    """

    def __init__(
        self,
        frames: Mapping[str, pd.DataFrame],
        timeframe: str,
        *,
        other_frames: Mapping[Any, pd.DataFrame] | None = None,
        mark_frames: Mapping[str, pd.DataFrame] | None = None,
        funding_frames: Mapping[str, pd.DataFrame] | None = None,
        column_frames: Mapping[str, Any] | None = None,
    ) -> None:
        self.timeframe = normalize_timeframe(timeframe)
        self.length = timeframe_ns(timeframe)
        self._given: dict[tuple[str, int], Series] = {}
        for key, frame in (other_frames or {}).items():
            symbol, length = (key[0], timeframe_ns(key[1])) if isinstance(key, tuple) else (key, self.length)
            self._give(symbol, length, frame)
        for symbol, frame in frames.items():
            self._give(symbol, self.length, frame)
        self.symbols = sorted(normalize_symbol(symbol) for symbol in frames)
        self._made: dict[tuple[str, int], Series] = dict(self._given)
        self._columns: dict[tuple[str, str | None], tuple[Times, Floats]] = {}
        for symbol, frame in (funding_frames or {}).items():
            if frame is not None:
                funding = as_funding(frame, symbol)
                self._add_column("funding_rate", symbol, funding[["funding_rate"]], 0)
        for symbol, frame in (mark_frames or {}).items():
            if frame is not None:
                mark = as_bars(frame, symbol, kind="mark")
                self._add_column("mark_close", symbol, mark[["close"]], self.length)
        for name, given in (column_frames or {}).items():
            by_symbol = given if isinstance(given, Mapping) else {None: given}
            for symbol, frame in by_symbol.items():
                self._add_column(name, symbol, as_column(frame, name), 0)

    def _give(self, symbol: str, length: int, frame: pd.DataFrame) -> None:
        symbol = normalize_symbol(symbol)
        self._given[symbol, length] = Series.of_frame(symbol, length, as_bars(frame, symbol))

    def _add_column(self, name: str, symbol: str | None, frame: pd.DataFrame, delay_ns: int) -> None:
        known = times_of(frame) + delay_ns
        if len(known) > 1 and not bool((np.diff(known) >= 0).all()):
            row = int(np.argmax(np.diff(known) < 0)) + 1
            raise DataError(f"column {name}: row {row} ({frame.index[row]}) is before the row above it; sort by time")
        key = (name, None if symbol is None else normalize_symbol(symbol))
        self._columns[key] = (_locked(known), _locked(frame.iloc[:, 0].to_numpy(np.float64)))

    def has_bars(self, symbol: str) -> bool:
        """Tell whether there are bars of a symbol."""
        return any(known == symbol for known, _ in self._given)

    def can_make(self, symbol: str, length: int) -> bool:
        """Tell whether bars of a symbol and length in ns are there or can be made of finer ones."""
        return any(known == symbol and (own == length or divides(own, length)) for known, own in self._given)

    def series(self, symbol: str, length: int) -> Series:
        """Return bars of a symbol and length in ns: as given, else made of the coarsest given ones that divide it.

        Raises
        ------
        StrategyError
            No bars of the symbol, or none that are fine enough.
        """
        made = self._made.get((symbol, length))
        if made is None:
            made = self._made[symbol, length] = self._resample(symbol, length)
        return made

    def _resample(self, symbol: str, length: int) -> Series:
        fine = self.finer(symbol, length)
        return Series.of_frame(symbol, length, resample_bars(fine.frame, fine.length, length))

    def finer(self, symbol: str, length: int) -> Series:
        """The bars that a symbol's bars of `length` ns are made of. Raises StrategyError where there are none."""
        lengths = sorted(known for name, known in self._given if name == symbol)
        wanted = timeframe_name(length)
        if not lengths:
            raise StrategyError(
                f"there are no bars of {symbol}: get them (qtsim data download, or qtsim data import), or take it "
                "out of uses"
            )
        fitting = [known for known in lengths if known < length and divides(known, length)]
        if not fitting:
            have = ", ".join(timeframe_name(known) for known in lengths)
            raise StrategyError(
                f"{wanted} bars of {symbol} cannot be made of its {have} bars; "
                f"ask for a whole multiple of {timeframe_name(lengths[0])}, or run on a timeframe that divides {wanted}"
            )
        return self._given[symbol, fitting[-1]]

    def column(self, name: str, symbol: str) -> tuple[Times, Floats] | None:
        """Return (known, values) of a column: the symbol's own, else the one for all symbols; None where neither is."""
        return self._columns.get((name, symbol)) or self._columns.get((name, None))


class Bars:
    """Closed bars of one symbol, and the way to every other series as it was known at each bar's close.

    `open high low close volume` are read-only float64 arrays, `time` is the bars' open as read-only datetime64[ns],
    UTC; all of shape (n_bars,).
    """

    __slots__ = ("_end", "_home", "_rows", "_series", "_sources", "_start", "_uses")

    def __init__(
        self,
        sources: Sources,
        series: Series,
        uses: Uses,
        start_ns: int = START_OF_TIME,
        end_ns: int = END_OF_TIME,
        home: str | None = None,
    ) -> None:
        first, stop = series.rows_between(start_ns, end_ns)
        self._sources = sources
        self._series = series
        self._uses = uses
        self._rows = slice(first, stop)
        self._home = home or series.symbol
        # What is known is what is known at the last bar's close: other series end there too.
        self._start = start_ns
        self._end = end_ns if home is not None else min(end_ns, int(series.known[stop - 1]) if stop > first else end_ns)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        symbol: str,
        timeframe: str,
        *,
        uses: Uses | None = None,
        other_frames: Mapping[Any, pd.DataFrame] | None = None,
        mark: pd.DataFrame | None = None,
        funding: pd.DataFrame | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> Bars:
        """Make bars of a pandas table, for notebooks and tests: `EmaCross().signals(Bars.from_frame(df, ...))`."""
        symbol = normalize_symbol(symbol)
        sources = Sources(
            {symbol: frame},
            timeframe,
            other_frames=other_frames,
            mark_frames=None if mark is None else {symbol: mark},
            funding_frames=None if funding is None else {symbol: funding},
            column_frames=columns,
        )
        return cls(sources, sources.series(symbol, sources.length), uses or Uses())

    @property
    def symbol(self) -> str:
        """The exchange's spelling, `BTCUSDT`."""
        return self._series.symbol

    @property
    def timeframe(self) -> str:
        """`1h`."""
        return self._series.timeframe

    @property
    def open(self) -> Floats:
        """First prices."""
        return self._series.fields["open"][self._rows]

    @property
    def high(self) -> Floats:
        """Highest prices."""
        return self._series.fields["high"][self._rows]

    @property
    def low(self) -> Floats:
        """Lowest prices."""
        return self._series.fields["low"][self._rows]

    @property
    def close(self) -> Floats:
        """Last prices."""
        return self._series.fields["close"][self._rows]

    @property
    def volume(self) -> Floats:
        """Base currency traded."""
        return self._series.fields["volume"][self._rows]

    @property
    def time(self) -> npt.NDArray[np.datetime64]:
        """Bar opens, UTC."""
        return self._series.time[self._rows].view("M8[ns]")

    @property
    def close_ns(self) -> Times:
        """Bar closes, int64 ns UTC: when a bar becomes known."""
        return self._series.known[self._rows]

    @property
    def frame(self) -> pd.DataFrame:
        """A copy as DataFrame: index time (bar open, UTC), columns open high low close volume."""
        opens = np.array(self._series.time[self._rows])
        return make_frame(opens, {name: np.array(self._series.fields[name][self._rows]) for name in FIELDS})

    def __len__(self) -> int:
        return self._rows.stop - self._rows.start

    def __repr__(self) -> str:
        span = f", {self.time[0]} to {self.time[-1]}" if len(self) else ""
        return f"Bars({self.symbol} {self.timeframe}, {len(self)} bars{span})"

    def on(self, timeframe: str, function: Callable[[Bars], Any]) -> Any:
        """Compute on this symbol's bars of another timeframe; return the last value known at each bar's close.

        An unfinished bar never shows: with 1 h bars, `on("4h", f)` changes at the closes of 03:00, 07:00, ... only.

        Parameters
        ----------
        timeframe : str
            `4h`; a whole multiple of a timeframe that there is data of.
        function : callable
            Takes the other bars, returns one value per bar, or a tuple of several such arrays.

        Returns
        -------
        ndarray of shape (n_bars,), or a tuple of them
            Before the first value known: NaN; False where the function returns booleans.

        Raises
        ------
        StrategyError
            No data that fine, or a result of the wrong length.
        """
        try:
            length = timeframe_ns(timeframe)
        except UsageError as error:
            raise StrategyError(f"on({timeframe!r}, ...): {error}") from None
        other = self._view(self._sources.series(self.symbol, length))
        return self._aligned(other, function, f'on("{timeframe}", ...)')

    def of(self, symbol: str, function: Callable[[Bars], Any]) -> Any:
        """Compute on another symbol's bars of this timeframe; return the last value known at each bar's close.

        As `on`; the symbol must be named in `uses`.
        """
        wanted = normalize_symbol(symbol)
        if wanted not in self._uses.symbols and wanted not in (self._home, self.symbol):
            named = ", ".join(f'"{name}"' for name in (*self._uses.symbols, wanted))
            raise StrategyError(f"{wanted} is read, and uses does not name it; state uses = qt.uses(symbols=[{named}])")
        other = self._view(self._sources.series(wanted, self._series.length))
        return self._aligned(other, function, f'of("{symbol}", ...)')

    def column(self, name: str) -> Floats:
        """Return the last value known at each bar's close of `funding_rate`, `mark_close` or an imported series.

        The name must stand in `uses`. NaN before the first value.
        """
        if name not in self._uses.columns:
            named = ", ".join(f'"{column}"' for column in (*self._uses.columns, name))
            raise StrategyError(
                f"column {name} is read, and uses does not name it; state uses = qt.uses(columns=[{named}])"
            )
        found = self._sources.column(name, self.symbol)
        if found is None:
            raise StrategyError(f"there is no {name} of {self.symbol}: {column_remedy(name)}")
        known, values = found
        return last_known(known, values, self.close_ns)

    def _view(self, series: Series) -> Bars:
        return Bars(self._sources, series, self._uses, self._start, self._end, self._home)

    def _aligned(self, other: Bars, function: Callable[[Bars], Any], what: str) -> Any:
        result = function(other)
        if isinstance(result, tuple):
            return tuple(self._align_one(other, value, what) for value in result)
        return self._align_one(other, result, what)

    def _align_one(self, other: Bars, value: Any, what: str) -> Array:
        values = np.asarray(value)
        if values.shape != (len(other),):
            got = "no value" if value is None else f"{values.shape[0]} values" if values.ndim == 1 else "no plain array"
            raise StrategyError(
                f"{what}: the function returned {got} for {len(other)} bars of {other.symbol} {other.timeframe}; "
                "it must return one value per bar, or a tuple of such arrays"
            )
        return last_known(other.close_ns, values, self.close_ns)


class Market:
    """All symbols of a run at once, for strategies that compare them.

    `market[symbol]` are that symbol's `Bars`; symbols start, pause and end at different times.
    """

    def __init__(self, sources: Sources, uses: Uses, start_ns: int = START_OF_TIME, end_ns: int = END_OF_TIME) -> None:
        self.timeframe = sources.timeframe
        self._bars = {
            symbol: Bars(sources, sources.series(symbol, sources.length), uses, start_ns, end_ns)
            for symbol in sources.symbols
        }

    @property
    def symbols(self) -> list[str]:
        """The symbols in name order."""
        return list(self._bars)

    def __getitem__(self, symbol: str) -> Bars:
        bars = self._bars.get(normalize_symbol(symbol))
        if bars is None:
            raise StrategyError(f"{symbol} is not among the run's symbols: {', '.join(self._bars)}")
        return bars

    def __iter__(self) -> Iterator[str]:
        return iter(self._bars)

    def __len__(self) -> int:
        return len(self._bars)

    def panel(self, value: str | Callable[[Bars], Any]) -> pd.DataFrame:
        """Return a table of times × symbols: a field's name (`close`), or a function of `Bars` with a value per bar.

        Rows are all bar opens of any symbol (UTC); NaN where a symbol has no bar.
        """
        import pandas as pd

        columns = {}
        for symbol, bars in self._bars.items():
            values = getattr(bars, value) if isinstance(value, str) else np.asarray(value(bars))
            columns[symbol] = pd.Series(values, index=bars.frame.index, name=symbol)
        return pd.DataFrame(columns).sort_index()

    def split(self, panel: pd.DataFrame) -> dict[str, Array]:
        """Return each symbol's own rows of a table made by `panel`, one value per bar of the symbol."""
        return {
            symbol: panel[symbol].reindex(bars.frame.index).to_numpy()
            for symbol, bars in self._bars.items()
            if symbol in panel.columns
        }


def last_known(known: Times, values: Array, at: Times) -> Array:
    """Return for each instant the value with the latest `known` time at or before it.

    Parameters
    ----------
    known : int64 array of shape (n,)
        When each value became known, ascending, ns.
    values : array of shape (n,)
    at : int64 array of shape (m,)
        Instants, ns.

    Returns
    -------
    array of shape (m,)
        Before the first value: NaN (whole numbers become floats), False for booleans, None for objects.
    """
    if len(at) == 1 and len(known) and at[0] >= known[-1] and values.dtype == np.float64:
        return values[-1:].copy()  # a live session asks about now
    row = np.searchsorted(known, at, side="right") - 1
    if values.dtype == np.bool_:
        missing: Any = False
    elif values.dtype == np.object_:
        missing = None
    elif values.dtype.kind in "Mm":
        missing = np.array("NaT", values.dtype)
    else:
        values = values.astype(np.float64, copy=False)
        missing = np.nan
    aligned: Array = np.full(len(at), missing, values.dtype)
    there = row >= 0
    aligned[there] = values[row[there]]
    return aligned


def column_remedy(name: str) -> str:
    """How to come by a column that is missing."""
    if name == "funding_rate":
        return "get its funding history (qtsim data download, or qtsim data import), or choose symbols that have one"
    if name == "mark_close":
        return "get its mark price bars (qtsim data download, or qtsim data import), or choose symbols that have them"
    return f"import it: qtsim data import FILE --column {name}"


def _locked(values: Array) -> Array:
    """Return a read-only view that cannot be made writeable again."""
    return _locked_new(np.array(values))


def _locked_new(base: Array) -> Array:
    """As `_locked`, of an array that nobody else has."""
    base.flags.writeable = False
    return base[:]
