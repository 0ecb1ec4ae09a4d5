"""The tick store: one Parquet file per symbol and UTC day, trades and quotes apart, each written whole or not at all.

    <root>/<venue>/trades/BTCUSDT/2024-08-08.parquet        quotes/BTCUSDT/2024-08-08.parquet

Rows are kept as the exchange told them, in the order of its ids. Times are put right on reading: one that goes back by
some milliseconds is raised to the latest before it. The file's bytes depend on its rows, their sources and what was
left out, neither on the time of import nor on how it was read.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qtsim.data.atomic import Write, locked, not_allowed, write_together
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.ticks.arrays import (
    DTYPES,
    QUOTES,
    TRADES,
    Columns,
    DayTicks,
    Quotes,
    TickDay,
    Trades,
    as_quotes,
    as_trades,
    join_columns,
    no_columns,
    take_rows,
)
from qtsim.data.ticks.bars import bars_of_trades, join_bars
from qtsim.data.ticks.checks import Place, core_ids, merge_day, order_rows, sift_rows
from qtsim.data.ticks.layouts import require_layout
from qtsim.data.ticks.reading import table_chunk, table_of
from qtsim.data.timeframes import DAY, format_ts, parse_time
from qtsim.errors import DataError, UsageError

KINDS = (TRADES, QUOTES)
DayLike: TypeAlias = Any
"""Any time that `parse_time` understands and that is a midnight: `2024-08-08`, a date, int64 ns."""

_FORMAT = 1
_META = b"qtsim"


@dataclass(frozen=True)
class StoredDay:
    """What the store knows of one day without reading its rows. Times are int64 ns UTC."""

    kind: str
    symbol: str
    day: int
    numbering: str
    """What the ids count: `aggregate` trades, `single` trades, `update`, or `counted` where none were recorded."""
    rows: int
    start: int
    end: int
    first_id: int
    last_id: int
    core: tuple[int, int] | None
    """Smallest and largest id but for the day's first and last second."""
    sources: tuple[str, ...]
    found: Mapping[str, int]
    """Rows that were left out or put in order on import, by reason."""
    fingerprint: str
    path: Path


@dataclass(frozen=True)
class DayPart:
    """Ordered rows of one file and day, ready to be merged."""

    kind: str
    symbol: str
    day: int
    numbering: str
    columns: Columns
    found: Mapping[str, int]


@dataclass(frozen=True)
class DayMerge:
    """What merging did to one day."""

    kind: str
    symbol: str
    day: int
    added: int
    unchanged: int


class TickStore:
    """Trades and quotes of one venue, in the folder of its bars.

    Several processes may read and write at once: files are replaced whole, and writers take turns.

    Parameters
    ----------
    root : Path or str
        The data folder; made when something is written.
    venue : str
        Name of the folder below it.
    """

    def __init__(self, root: Path | str, venue: str = "binance-usdm") -> None:
        """Name the folder; nothing is read or made yet."""
        self.root = Path(root)
        self.venue = venue

    @classmethod
    def beside(cls, store: Store) -> TickStore:
        """Return the ticks in the folder of a store of bars."""
        return cls(store.root, store.venue)

    def __repr__(self) -> str:
        """Show folder and venue."""
        return f"TickStore({str(self.root)!r}, venue={self.venue!r})"

    @property
    def folder(self) -> Path:
        """Where this venue's series lie."""
        return self.root / self.venue

    # Writing ----------------------------------------------------------------------------------------------------------

    def write_trades_day(self, symbol: str, day: DayLike, frame: pd.DataFrame, *, source: str = "") -> None:
        """Replace a day's trades.

        Parameters
        ----------
        symbol : str
        day : str, date or int
            The UTC day; rows of another one are an error.
        frame : DataFrame
            Columns of Binance's `aggTrades` or `trades`, or of similar names: price, qty, time, an id, and
            `is_buyer_maker` or `taker_side`.
        source : str
            Where the rows came from.

        Raises
        ------
        DataError
            A column is missing, a bad row, or the folder cannot be written.
        """
        self._replace(self._part(TRADES, symbol, day, frame), source)

    def write_quotes_day(self, symbol: str, day: DayLike, frame: pd.DataFrame, *, source: str = "") -> None:
        """Replace a day's quotes: bid, bid_qty, ask, ask_qty, time, and `update_id` if there is one; errors as above.

        Quotes whose bid is not below their ask are left out and counted.
        """
        self._replace(self._part(QUOTES, symbol, day, frame), source)

    def merge_trades_day(self, symbol: str, day: DayLike, frame: pd.DataFrame, *, source: str = "") -> DayMerge:
        """Add trades to a day. Those that are there are left as they are; other values under their id are an error."""
        return self.merge_parts([self._part(TRADES, symbol, day, frame)], source)[0]

    def merge_quotes_day(self, symbol: str, day: DayLike, frame: pd.DataFrame, *, source: str = "") -> DayMerge:
        """Add quotes to a day; as `merge_trades_day`."""
        return self.merge_parts([self._part(QUOTES, symbol, day, frame)], source)[0]

    def merge_parts(self, parts: Iterable[DayPart], source: str, what: str = "") -> list[DayMerge]:
        """Merge rows of several days, each day at most once, and write all that changed or none.

        Parameters
        ----------
        parts : iterable of DayPart
            Taken one after the other, so that one day at a time is in memory.
        source : str
            Where the rows came from.
        what : str
            The file, named in errors; the source where empty.

        Raises
        ------
        DataError
            Rows that contradict what is stored, ids that do not rise from day to day, or the folder cannot be written.
        """
        merges: list[DayMerge] = []
        written: dict[tuple[str, str], dict[int, StoredDay]] = {}

        def files() -> Iterator[tuple[Path, Write]]:
            for part in parts:
                merge, entry, columns = self._merged(part, source, what or source)
                merges.append(merge)
                written.setdefault((part.kind, part.symbol), {})[part.day] = entry
                if merge.added:
                    yield entry.path, _writer(entry, columns)
            for days in written.values():
                self._check_neighbours(days, what or source)

        with locked(self.folder):
            write_together(files())
        return merges

    # Reading ----------------------------------------------------------------------------------------------------------

    def symbols(self, kind: str = TRADES) -> Sequence[str]:
        """Names of the symbols that have days of a kind, sorted."""
        return sorted({path.parent.name for path in self._files(kind)})

    def days(self, symbol: str, kind: str = TRADES) -> list[int]:
        """Days that are stored, as int64 ns of their midnight UTC, in order."""
        folder = self.folder / kind / normalize_symbol(symbol)
        return sorted(day for day in map(_day_of, _parquet_files(folder)) if day is not None)

    def has(self, symbol: str, day: DayLike, kind: str = TRADES) -> bool:
        """Tell whether a day is stored."""
        return _is_there(self._path(kind, normalize_symbol(symbol), day_ns(day)))

    def missing_days(
        self, symbol: str, start_ns: int | None = None, end_ns: int | None = None, kind: str = TRADES
    ) -> list[int]:
        """Days without a file in [start_ns, end_ns); open ends are those of the stored days."""
        have = self.days(symbol, kind)
        if not have and (start_ns is None or end_ns is None):
            return []
        first = have[0] if start_ns is None else start_ns // DAY * DAY
        end = have[-1] + DAY if end_ns is None else end_ns
        return sorted(set(range(first, end, DAY)) - set(have))

    def entry(self, symbol: str, day: DayLike, kind: str = TRADES) -> StoredDay:
        """Return what is known of a stored day without reading its rows.

        Raises
        ------
        UsageError
            Not stored; what is there is named.
        DataError
            The file is damaged.
        """
        name, midnight = normalize_symbol(symbol), day_ns(day)
        if not self.has(name, midnight, kind):
            raise UsageError(self._absent(name, kind, f" on {day_text(midnight)}"))
        return self._describe(self._path(kind, name, midnight))

    def days_between(
        self, symbol: str, start_ns: int | None = None, end_ns: int | None = None, kind: str = TRADES
    ) -> list[int]:
        """Stored days that touch [start_ns, end_ns), in order; none if there are none."""
        return [
            day
            for day in self.days(symbol, kind)
            if (start_ns is None or day + DAY > start_ns) and (end_ns is None or day < end_ns)
        ]

    def entries(
        self, symbol: str, start_ns: int | None = None, end_ns: int | None = None, kind: str = TRADES
    ) -> list[StoredDay]:
        """Describe the stored days that touch [start_ns, end_ns), in order; none if there are none."""
        name = normalize_symbol(symbol)
        days = self.days_between(name, start_ns, end_ns, kind)
        return [self._describe(self._path(kind, name, day)) for day in days]

    def survey(self) -> tuple[list[StoredDay], dict[Path, str]]:
        """Describe every stored day, by kind, symbol and day, and say what is wrong with files that cannot be used."""
        found: list[StoredDay] = []
        damaged: dict[Path, str] = {}
        for path in [path for kind in KINDS for path in self._files(kind)]:
            try:
                found.append(self._describe(path))
            except DataError as error:
                damaged[path] = str(error)
        return found, damaged

    def read_day(self, symbol: str, day: DayLike, *, quotes: bool = True) -> DayTicks:
        """Return one day's trades and quotes; either is empty where there are none of it.

        Raises
        ------
        UsageError
            Neither is stored.
        DataError
            A file is damaged.
        """
        name, midnight = normalize_symbol(symbol), day_ns(day)
        found = {kind: self.has(name, midnight, kind) for kind in KINDS}
        if not any(found.values()):
            raise UsageError(self._absent(name, TRADES, f" on {day_text(midnight)}"))
        return self._read_ticks(name, midnight, found[TRADES], found[QUOTES] and quotes)

    def read_trades(self, symbol: str, start_ns: int | None = None, end_ns: int | None = None) -> Trades:
        """Return the trades in [start_ns, end_ns) as one; for a few days. `stream` needs the memory of one day only.

        Raises
        ------
        UsageError
            No trades in the range.
        DataError
            A file is damaged.
        """
        name = normalize_symbol(symbol)
        parts = [day.ticks[name].trades._asdict() for day in self.stream([name], start_ns, end_ns)]
        return as_trades(join_columns(parts))

    def stream(
        self, symbols: Sequence[str], start_ns: int | None = None, end_ns: int | None = None, *, quotes: bool = False
    ) -> Iterator[TickDay]:
        """Yield the ticks of [start_ns, end_ns) day by day; one day is in memory at a time.

        A day lists the symbols that have trades on it, in order of names; a day without any is passed over.
        `merge_by_time` puts a day's trades in one order.

        Parameters
        ----------
        symbols : sequence of str
        start_ns, end_ns : int, optional
            UTC; open ends are those of the data.
        quotes : bool
            Read best bid and ask as well.

        Raises
        ------
        UsageError
            A symbol without trades in the range; raised at once, before the first day.
        DataError
            A file is damaged.
        """
        chosen = {name: self.days_between(name, start_ns, end_ns) for name in sorted(map(normalize_symbol, symbols))}
        for name, days in chosen.items():
            if not days:
                raise UsageError(self._absent(name, TRADES, range_text(start_ns, end_ns)))
        quoted = {name: set(self.days(name, QUOTES)) if quotes else set() for name in chosen}
        return self._stream(chosen, quoted, start_ns, end_ns)

    def bars(self, symbol: str, timeframe: str, start_ns: int | None = None, end_ns: int | None = None) -> pd.DataFrame:
        """Return bars made of the trades in [start_ns, end_ns), in the format of `Store.read_bars`.

        An interval without a trade has no bar. The first and the last bar hold what trades there are: where the data
        begins or ends inside them they are not the exchange's bars.

        Raises
        ------
        UsageError
            No trades in the range, or no such timeframe.
        DataError
            A file is damaged.
        """
        name = normalize_symbol(symbol)
        days = self.stream([name], start_ns, end_ns)
        return join_bars([bars_of_trades(day.ticks[name].trades, timeframe) for day in days])

    def fingerprint(
        self, symbol: str, start_ns: int | None = None, end_ns: int | None = None, kind: str = TRADES
    ) -> str:
        """Return one SHA-256, hex, of all stored days that touch [start_ns, end_ns); rows are not read."""
        return fingerprint_days(self.entries(symbol, start_ns, end_ns, kind))

    def verify(self, entry: StoredDay) -> Columns:
        """Read a day as it was told and compare its values with the fingerprint written beside them.

        Raises
        ------
        DataError
            The file is damaged, or its values are not those that were written.
        """
        columns = self._read(entry.kind, entry.symbol, entry.day)
        if _fingerprint(columns) != entry.fingerprint:
            raise _damaged(entry.path, "its values are not those that were written")
        return columns

    # Inside -----------------------------------------------------------------------------------------------------------

    def _part(self, kind: str, symbol: str, day: DayLike, frame: pd.DataFrame) -> DayPart:
        name, midnight = normalize_symbol(symbol), day_ns(day)
        what = f"{name} {kind} of {day_text(midnight)}"
        table = table_of(frame)
        try:
            layout = require_layout(table.column_names, kind)
        except DataError as error:
            raise DataError(f"{what}: {error}") from error
        chunk = table_chunk(table, layout, what)
        columns, found = sift_rows(kind, chunk.columns, what)
        other = (columns["time"] < midnight) | (columns["time"] >= midnight + DAY)
        if other.any():
            row = int(np.argmax(other))
            raise DataError(f"{what}, row {row + 1}: {format_ts(int(columns['time'][row]))} is of another day")
        columns, sorted_ = order_rows(layout.numbering, columns, Place(what))
        return DayPart(kind, name, midnight, layout.numbering, columns, found + sorted_)

    def _replace(self, part: DayPart, source: str) -> None:
        if not len(part.columns["time"]):
            raise DataError(f"{part.symbol} {part.kind} of {day_text(part.day)}: no rows")
        columns, _ = merge_day(part.numbering, None, part.columns, Place(source or "the given rows"))
        path = self._path(part.kind, part.symbol, part.day)
        entry = _describe_columns(part, columns, (source,) if source else (), part.found, path)
        with locked(self.folder):
            write_together([(path, _writer(entry, columns))])

    def _merged(self, part: DayPart, source: str, what: str) -> tuple[DayMerge, StoredDay, Columns]:
        """Merge a part with its stored day. Returns what changed, and the day as it will be."""
        path = self._path(part.kind, part.symbol, part.day)
        before = self._describe(path) if _is_there(path) else None
        stored = self._read(part.kind, part.symbol, part.day) if before else None
        if before and before.numbering != part.numbering:
            raise DataError(
                f"{what}: {part.symbol} {part.kind} of {day_text(part.day)} are stored with {before.numbering} ids, "
                f"and these have {part.numbering} ids: the same trades, told twice. Keep the stored ones, or delete "
                f"{path} and import again"
            )
        columns, added = merge_day(part.numbering, stored, part.columns, Place(what, str(path)))
        merge = DayMerge(part.kind, part.symbol, part.day, added, len(part.columns["time"]) - added)
        if before and not added:
            return merge, before, columns
        sources = before.sources if before else ()
        sources = sources if source in sources or not source else (*sources, source)
        found = Counter(before.found if before else {}) + Counter(part.found)
        return merge, _describe_columns(part, columns, sources, found, path), columns

    def _check_neighbours(self, fresh: Mapping[int, StoredDay], what: str) -> None:
        """Refuse ids that do not rise from day to day: two markets in one folder, or wrong times."""
        entry = next(iter(fresh.values()))
        days = sorted({*self.days(entry.symbol, entry.kind), *fresh})
        for before, after in itertools.pairwise(days):
            if before not in fresh and after not in fresh:
                continue
            pair = [
                fresh[day] if day in fresh else self._describe(self._path(entry.kind, entry.symbol, day))
                for day in (before, after)
            ]
            if pair[0].numbering != pair[1].numbering or not (pair[0].core and pair[1].core):
                continue
            if pair[0].core[1] >= pair[1].core[0]:
                raise DataError(
                    f"{what}: {entry.symbol} {entry.kind} have id {pair[0].core[1]} on {day_text(before)} and id "
                    f"{pair[1].core[0]} on {day_text(after)}; ids and days of one market rise together: are these two "
                    "markets, or is a time wrong?"
                )

    def _stream(
        self,
        chosen: Mapping[str, Sequence[int]],
        quoted: Mapping[str, set[int]],
        start_ns: int | None,
        end_ns: int | None,
    ) -> Iterator[TickDay]:
        for day in sorted({day for days in chosen.values() for day in days}):
            ticks = {
                name: _clip(self._read_ticks(name, day, True, day in quoted[name]), start_ns, end_ns)
                for name, days in chosen.items()
                if day in days
            }
            yield TickDay(day, ticks)

    def _read_ticks(self, name: str, day: int, trades: bool, quotes: bool) -> DayTicks:
        of_trades = self._read(TRADES, name, day) if trades else no_columns(TRADES)
        of_quotes = self._read(QUOTES, name, day) if quotes else no_columns(QUOTES)
        return DayTicks(as_trades(_forward(of_trades)), as_quotes(_forward(of_quotes)))

    def _path(self, kind: str, symbol: str, day: int) -> Path:
        return self.folder / kind / symbol / f"{day_text(day)}.parquet"

    def _files(self, kind: str) -> list[Path]:
        folder = self.folder / kind
        return [path for inner in sorted(folder.glob("*")) if inner.is_dir() for path in _parquet_files(inner)]

    def _read(self, kind: str, symbol: str, day: int) -> Columns:
        """The day's rows as they were told."""
        path = self._path(kind, symbol, day)
        entry = self._describe(path)
        try:
            table = pq.read_table(path, columns=list(DTYPES[kind]), page_checksum_verification=True)
            columns = {name: _values(table.column(name), dtype) for name, dtype in DTYPES[kind].items()}
        except PermissionError as error:
            raise not_allowed(path) from error
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if len(columns["time"]) != entry.rows:
            raise _damaged(path, f"{entry.rows} rows were written, {len(columns['time'])} are there")
        return columns

    def _describe(self, path: Path) -> StoredDay:
        try:
            raw = (pq.read_schema(path).metadata or {}).get(_META)
        except PermissionError as error:
            raise not_allowed(path) from error
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, str(error)) from error
        if raw is None:
            raise DataError(f"{path} was not written by qtsim; move it elsewhere and import it: qtsim data import FILE")
        try:
            meta = json.loads(raw)
            if meta["format"] != _FORMAT:
                raise DataError(
                    f"{path} was written by another version of qtsim (format {meta['format']}); import again"
                )
            entry = StoredDay(
                kind=str(meta["kind"]),
                symbol=str(meta["symbol"]),
                day=parse_time(meta["day"]),
                numbering=str(meta["numbering"]),
                rows=int(meta["rows"]),
                start=int(meta["start"]),
                end=int(meta["end"]),
                first_id=int(meta["first_id"]),
                last_id=int(meta["last_id"]),
                core=None if meta["core"] is None else (int(meta["core"][0]), int(meta["core"][1])),
                sources=tuple(str(source) for source in meta["sources"]),
                found={str(reason): int(count) for reason, count in meta["found"].items()},
                fingerprint=str(meta["sha256"]),
                path=path,
            )
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise _damaged(path, f"its metadata cannot be read ({error})") from error
        if self._path(entry.kind, entry.symbol, entry.day) != path:
            what = f"{entry.symbol} {entry.kind} of {day_text(entry.day)}"
            raise DataError(f"{path} holds {what}, which its name denies; move it away and import it under its name")
        return entry

    @staticmethod
    def _remedy(kind: str) -> str:
        files = f"qtsim data import PATH reads files of {kind}"
        return f"qtsim data download --trades gets trades, {files}" if kind == TRADES else files

    def _absent(self, symbol: str, kind: str, when: str) -> str:
        """Say what there is instead of days that are not there."""
        days = self.days(symbol, kind)
        if days:
            have = f"there are {len(days)} days from {day_text(days[0])} to {day_text(days[-1])}"
        else:
            others = self.symbols(kind)
            have = f"there are {kind} of {', '.join(others[:12])}" if others else f"there are no {kind} of any symbol"
        return f"no {kind} of {symbol}{when} in {self.folder}: {have}; {self._remedy(kind)}"


def fingerprint_days(days: Iterable[StoredDay]) -> str:
    """One SHA-256, hex, of several days."""
    digest = hashlib.sha256()
    for day in days:
        digest.update(f"{day_text(day.day)} {day.fingerprint}\n".encode())
    return digest.hexdigest()


def day_ns(day: DayLike) -> int:
    """Return the midnight of a UTC day, int64 ns.

    Raises
    ------
    UsageError
        Not a day.
    """
    ts = parse_time(day)
    if ts % DAY:
        raise UsageError(f"day {day!r} is not a UTC day; write it as 2024-08-08")
    return ts


def day_text(day: int) -> str:
    """Write a day as its file is named: `2024-08-08`."""
    return datetime.fromtimestamp(day // 1_000_000_000, UTC).strftime("%Y-%m-%d")


def _day_of(path: Path) -> int | None:
    """The day that a file's name tells; None where it is none of the store's own."""
    try:
        return day_ns(path.stem) if len(path.stem) == 10 else None
    except UsageError:
        return None


def _parquet_files(folder: Path) -> list[Path]:
    """Stored files; temporary ones begin with a dot."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError as error:
        raise not_allowed(path) from error


def range_text(start_ns: int | None, end_ns: int | None) -> str:
    """Write a range after a noun: ` from the beginning to 2024-08-09 00:00 UTC`; empty where both ends are open."""
    if start_ns is None and end_ns is None:
        return ""
    start = "the beginning" if start_ns is None else format_ts(start_ns)
    return f" from {start} to {'the end' if end_ns is None else format_ts(end_ns)}"


def _values(column: Any, dtype: str) -> Any:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return np.array(column.to_numpy(), dtype=dtype)


def _forward(columns: Columns) -> Columns:
    """Raise times that go back to the latest before them: the ids say what happened first."""
    times = columns["time"]
    return columns | {"time": np.maximum.accumulate(times)} if len(times) else columns


def _clip(ticks: DayTicks, start_ns: int | None, end_ns: int | None) -> DayTicks:
    return DayTicks(
        as_trades(_between(ticks.trades, start_ns, end_ns)), as_quotes(_between(ticks.quotes, start_ns, end_ns))
    )


def _between(ticks: Trades | Quotes, start_ns: int | None, end_ns: int | None) -> Columns:
    first = 0 if start_ns is None else int(np.searchsorted(ticks.time, start_ns))
    last = ticks.rows if end_ns is None else int(np.searchsorted(ticks.time, end_ns))
    return take_rows(ticks._asdict(), slice(first, max(first, last)))


def _describe_columns(
    part: DayPart, columns: Columns, sources: tuple[str, ...], found: Mapping[str, int], path: Path
) -> StoredDay:
    ids, times = columns["id"], columns["time"]
    return StoredDay(
        kind=part.kind,
        symbol=part.symbol,
        day=part.day,
        numbering=part.numbering,
        rows=len(times),
        start=int(times.min()),
        end=int(times.max()),
        first_id=int(ids[0]),
        last_id=int(ids[-1]),
        core=None if part.numbering == "counted" else core_ids(columns, part.day, part.day + DAY),
        sources=sources,
        found=dict(sorted(found.items())),
        fingerprint=_fingerprint(columns, part.kind),
        path=path,
    )


def _writer(entry: StoredDay, columns: Columns) -> Write:
    meta = {
        "format": _FORMAT,
        "kind": entry.kind,
        "symbol": entry.symbol,
        "day": day_text(entry.day),
        "numbering": entry.numbering,
        "rows": entry.rows,
        "start": entry.start,
        "end": entry.end,
        "first_id": entry.first_id,
        "last_id": entry.last_id,
        "core": entry.core,
        "sources": list(entry.sources),
        "found": dict(entry.found),
        "sha256": entry.fingerprint,
    }
    names = list(DTYPES[entry.kind])
    arrays = [pa.array(columns[name], type=pa.timestamp("ns", tz="UTC") if name == "time" else None) for name in names]
    table = pa.table(arrays, names=names).replace_schema_metadata({_META: json.dumps(meta).encode()})

    def write(path: Path) -> None:
        # times and ids rise by little: as differences they take a third. Page checksums: a flipped bit is an error
        rising = {"time": "DELTA_BINARY_PACKED", "id": "DELTA_BINARY_PACKED"}
        repeating = [name for name in names if DTYPES[entry.kind][name] == "f8"]
        pq.write_table(
            table,
            path,
            compression="zstd",
            use_dictionary=repeating,
            column_encoding=rising,
            write_page_checksum=True,
        )

    return write


def _fingerprint(columns: Columns, kind: str = "") -> str:
    """SHA-256, hex, over names and values."""
    names = [name for name in (DTYPES[kind] if kind else columns) if name != "row"]
    digest = hashlib.sha256(",".join(names).encode())
    for name in names:
        values = columns[name]
        digest.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _damaged(path: Path, why: str) -> DataError:
    reason = why.splitlines()[0] if why else "it cannot be read"
    return DataError(f"damaged store file {path}: {reason}; delete it and import its data again")
