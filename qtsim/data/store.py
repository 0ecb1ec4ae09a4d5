"""The store: one Parquet file per series, each written whole or not at all.

    <root>/<venue>/bars/BTCUSDT/1h.parquet        mark/BTCUSDT/1h.parquet
    <root>/<venue>/funding/BTCUSDT.parquet        column/BTCUSDT/NAME.parquet, column/_all/NAME.parquet

A file's schema metadata holds where its rows came from and the fingerprint of its values. The fingerprint depends on
the values alone: neither on the time of import nor on how the file was written.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qtsim.data.atomic import locked, not_allowed, write_atomically
from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import (
    BAR_COLUMNS,
    FUNDING_COLUMNS,
    MARK_COLUMNS,
    Floats,
    as_bars,
    as_column,
    as_funding,
    make_frame,
    times_of,
)
from qtsim.data.quality import check_bars, check_events
from qtsim.data.resample import divides, resample_bars
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts, normalize_timeframe, timeframe_name, timeframe_ns
from qtsim.errors import DataError, UsageError

KINDS = ("bars", "mark", "funding", "column")
ALL_SYMBOLS = "_all"
"""Folder of columns that belong to no symbol."""
SYNTHETIC_VENUE = "synthetic"
RESERVED_COLUMNS = {"funding_rate": "funding", "mark_close": "mark"}
"""Columns that strategies read from series of another kind."""

_FORMAT = 1
_META = b"qtsim"
_COLUMN_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,63}$")


@dataclass(frozen=True)
class SeriesKey:
    """Name of one series. `timeframe` is empty for funding and columns, `name` is empty but for columns."""

    kind: str
    symbol: str
    timeframe: str = ""
    name: str = ""

    def __str__(self) -> str:
        """Say it as a person would: `BTCUSDT 1h mark bars`."""
        if self.kind == "column":
            return f"column {self.name}" + ("" if self.symbol == ALL_SYMBOLS else f" of {self.symbol}")
        kind = {"bars": "bars", "mark": "mark bars", "funding": "funding"}[self.kind]
        return " ".join(part for part in (self.symbol, self.timeframe, kind) if part)


@dataclass(frozen=True)
class StoredSeries:
    """What the store knows of one series without reading its rows. Times are int64 ns UTC of the first and last row."""

    key: SeriesKey
    start: int
    end: int
    rows: int
    sources: tuple[str, ...]
    fingerprint: str
    path: Path

    @property
    def kind(self) -> str:
        """`bars`, `mark`, `funding` or `column`."""
        return self.key.kind

    @property
    def symbol(self) -> str:
        """The symbol; `_all` for a column of no symbol."""
        return self.key.symbol

    @property
    def timeframe(self) -> str:
        """`1h`; empty for funding and columns."""
        return self.key.timeframe

    @property
    def name(self) -> str:
        """A column's name, else empty."""
        return self.key.name

    @property
    def source(self) -> str:
        """Where the rows came from, in one line."""
        more = f" and {len(self.sources) - 3} more" if len(self.sources) > 3 else ""
        return ", ".join(self.sources[:3]) + more


SeriesList: TypeAlias = list[StoredSeries]


@dataclass(frozen=True)
class MergeReport:
    """What a merge did to a series: rows new, rows whose values changed, rows that were already so, rows now.

    `first_changed` is the time of the first changed row, `largest_change` the largest change of a value as a share of
    what it was; 0 where none changed.
    """

    added: int
    changed: int
    unchanged: int
    rows: int
    first_changed: int = field(default=0, compare=False)
    largest_change: float = field(default=0.0, compare=False)

    def describe_change(self) -> str:
        """Say how far the changed rows are from what was there: `by up to 0.3 %, the first at 2024-01-01 00:00 UTC`."""
        size = f"by up to {100 * self.largest_change:.3g} %" if np.isfinite(self.largest_change) else "from 0"
        return f"{size}, the first at {format_ts(self.first_changed)}" if self.changed else ""


class Store:
    """Market data of one venue under a folder.

    Several processes may read and write at once: files are replaced whole, and writers take turns.

    Parameters
    ----------
    root : Path
        The data folder; made when something is written.
    venue : str
        Name of the folder below it.
    """

    def __init__(self, root: Path | str, venue: str = "binance-usdm") -> None:
        """Name the folder; nothing is read or made yet."""
        self.root = Path(root)
        self.venue = venue

    def __repr__(self) -> str:
        """Show folder and venue."""
        return f"Store({str(self.root)!r}, venue={self.venue!r})"

    @property
    def folder(self) -> Path:
        """Where this venue's series lie."""
        return self.root / self.venue

    @property
    def is_synthetic(self) -> bool:
        """Whether the data is generated rather than recorded."""
        return self.venue == SYNTHETIC_VENUE

    # Writing ----------------------------------------------------------------------------------------------------------

    def write_bars(self, symbol: str, timeframe: str, frame: pd.DataFrame, *, kind: str = "bars", source: str) -> None:
        """Replace a series of bars or mark bars; the rows are checked.

        Raises
        ------
        DataError
            A bad row, or the folder cannot be written.
        """
        key, clean = self._checked_bars(symbol, timeframe, frame, kind)
        with locked(self.folder):
            self._write(key, clean, (source,))

    def merge_bars(
        self, symbol: str, timeframe: str, frame: pd.DataFrame, *, kind: str = "bars", source: str
    ) -> MergeReport:
        """Add rows to a series of bars or mark bars; where a time is there already the new row wins and is counted.

        Merging the same rows again changes nothing, the file included.
        """
        key, clean = self._checked_bars(symbol, timeframe, frame, kind)
        return self._merge(key, clean, source)

    def write_funding(self, symbol: str, frame: pd.DataFrame, *, source: str) -> None:
        """Replace a symbol's funding history."""
        key, clean = self._checked_funding(symbol, frame)
        with locked(self.folder):
            self._write(key, clean, (source,))

    def merge_funding(self, symbol: str, frame: pd.DataFrame, *, source: str) -> MergeReport:
        """Add events to a symbol's funding history; where a time is there already the new rate wins and is counted."""
        key, clean = self._checked_funding(symbol, frame)
        return self._merge(key, clean, source)

    def write_column(
        self, name: str, frame: pd.DataFrame | pd.Series[Any], *, symbol: str | None = None, source: str
    ) -> None:
        """Replace an external series; its index is the time at which each value became known."""
        key, clean = self._checked_column(name, frame, symbol)
        with locked(self.folder):
            self._write(key, clean, (source,))

    def merge_column(
        self, name: str, frame: pd.DataFrame | pd.Series[Any], *, symbol: str | None = None, source: str
    ) -> MergeReport:
        """Add values to an external series; where a time is there already the new value wins and is counted."""
        key, clean = self._checked_column(name, frame, symbol)
        return self._merge(key, clean, source)

    def merge_parts(self, key: SeriesKey, parts: Sequence[tuple[pd.DataFrame, str]]) -> list[MergeReport]:
        """Merge several checked canonical frames with their sources into one series, in order, and write once.

        Returns
        -------
        list of MergeReport
            One per part. Where all parts together leave the series as it was, each says that nothing changed.
        """
        with locked(self.folder):
            old = self._read(key) if _is_there(self._path(key)) else None
            stored = self._describe(self._path(key)) if old is not None else None
            merged = old
            sources = list(stored.sources) if stored else []
            reports = []
            for frame, source in parts:
                merged, report = merge_rows(merged, frame)
                reports.append(report)
                if source not in sources:
                    sources.append(source)
            if merged is None:
                return reports
            if stored is not None and fingerprint(merged) == stored.fingerprint:
                return [MergeReport(0, 0, len(frame), len(merged)) for frame, _ in parts]
            self._write(key, merged, tuple(sources))
            return reports

    # Reading ----------------------------------------------------------------------------------------------------------

    def read_bars(
        self,
        symbol: str,
        timeframe: str,
        start_ns: int | None = None,
        end_ns: int | None = None,
        kind: str = "bars",
    ) -> pd.DataFrame:
        """Return canonical bars that open in [start_ns, end_ns).

        Where the timeframe is absent and a finer one divides it, bars are made of the coarsest such one; `find` tells
        beforehand, and the frame's `attrs["resampled_from"]` afterwards. `attrs` also has `source`.

        Raises
        ------
        UsageError
            No such symbol or timeframe, or nothing in the range; the message says what there is.
        DataError
            The file is damaged.
        """
        stored = self.find(symbol, timeframe, kind)
        if stored is None:
            raise UsageError(self._absent(normalize_symbol(symbol), normalize_timeframe(timeframe), kind))
        frame = self._read(stored.key)
        wanted = normalize_timeframe(timeframe)
        resampled = stored.timeframe != wanted
        if resampled:
            frame = resample_bars(frame, timeframe_ns(stored.timeframe), timeframe_ns(wanted))
        whole = frame
        frame = _slice(frame, start_ns, end_ns)
        if not len(frame):
            raise UsageError(self._outside(stored, whole, start_ns, end_ns))
        frame.attrs = {"source": stored.source, "resampled_from": stored.timeframe if resampled else ""}
        return frame

    def read_funding(self, symbol: str, start_ns: int | None = None, end_ns: int | None = None) -> pd.DataFrame:
        """Return funding events in [start_ns, end_ns), none if there are none in it.

        Raises
        ------
        UsageError
            No funding history of this symbol.
        DataError
            The file is damaged.
        """
        key = SeriesKey("funding", normalize_symbol(symbol))
        if not _is_there(self._path(key)):
            raise UsageError(f"no funding of {key.symbol} in {self.folder}{self._remedy()}")
        return _slice(self._read(key), start_ns, end_ns)

    def read_column(self, name: str, symbol: str | None = None) -> pd.DataFrame:
        """Return an external series: the symbol's own, else the one that belongs to no symbol.

        Raises
        ------
        UsageError
            No such column; the message names those that there are.
        DataError
            The file is damaged.
        """
        keys = [self._column_key(name, symbol), self._column_key(name, None)]
        for key in keys:
            if _is_there(self._path(key)):
                return self._read(key)
        have = sorted({entry.name for entry in self.survey()[0] if entry.kind == "column"})
        known = f"there are {', '.join(have)}" if have else "there are none"
        raise UsageError(
            f"no {keys[0]} in {self.folder}: {known}; import it with qtsim data import FILE --column {name}"
        )

    def has(self, symbol: str | None, timeframe: str = "", kind: str = "bars", name: str = "") -> bool:
        """Tell whether exactly this series is stored; nothing is resampled and the file is not opened."""
        if kind == "column":
            return _is_there(self._path(self._column_key(name, symbol)))
        if symbol is None:
            return False
        wanted = normalize_timeframe(timeframe) if kind in ("bars", "mark") else ""
        return _is_there(self._path(SeriesKey(kind, normalize_symbol(symbol), wanted)))

    def timeframes(self, symbol: str, kind: str = "bars") -> list[str]:
        """Return the stored timeframes of a symbol's bars or mark bars, the shortest first; no file is opened."""
        folder = self._path(SeriesKey(kind, normalize_symbol(symbol), "1h")).parent
        return [timeframe_name(length) for length in sorted(_by_timeframe(folder))]

    def find(self, symbol: str, timeframe: str, kind: str = "bars") -> StoredSeries | None:
        """Return the stored series that `read_bars` would use: the timeframe itself, else the coarsest that divides it.

        Raises
        ------
        DataError
            The file is damaged.
        """
        wanted = normalize_timeframe(timeframe)
        folder = self.folder / kind / normalize_symbol(symbol)
        if _is_there(folder / f"{wanted}.parquet"):
            return self._describe(folder / f"{wanted}.parquet")
        finer = [
            (length, path) for length, path in _by_timeframe(folder).items() if divides(length, timeframe_ns(wanted))
        ]
        return self._describe(max(finer)[1]) if finer else None

    def list(self) -> SeriesList:
        """Return what is stored, by kind, symbol and timeframe; rows are not read.

        Raises
        ------
        DataError
            A file is damaged; `survey` lists the others all the same.
        """
        entries, damaged = self.survey()
        if damaged:
            raise DataError(next(iter(damaged.values())))
        return entries

    def survey(self) -> tuple[SeriesList, dict[Path, str]]:
        """Return what is stored, as `list` does, and what is wrong with each file that cannot be used."""
        entries: SeriesList = []
        damaged: dict[Path, str] = {}
        for path in [path for kind in KINDS for path in _parquet_files(self.folder / kind)]:
            try:
                entries.append(self._describe(path))
            except DataError as error:
                damaged[path] = str(error)
        order = {kind: i for i, kind in enumerate(KINDS)}
        entries.sort(
            key=lambda entry: (
                order[entry.kind],
                entry.symbol,
                timeframe_ns(entry.timeframe) if entry.timeframe else 0,
                entry.name,
            )
        )
        return entries, damaged

    def symbols(self, kind: str = "bars") -> Sequence[str]:
        """Names of the symbols that have series of a kind, sorted."""
        folder = self.folder / kind
        if kind == "funding":
            return sorted(path.stem for path in _parquet_files(folder))
        return sorted({path.parent.name for path in _parquet_files(folder) if path.parent != folder} - {ALL_SYMBOLS})

    def entry(self, symbol: str | None, timeframe: str = "", kind: str = "bars", name: str = "") -> StoredSeries:
        """Return what is known of exactly this stored series without reading its rows.

        Raises
        ------
        UsageError
            Not stored.
        DataError
            The file is damaged.
        """
        if kind == "column":
            key = self._column_key(name, symbol)
        else:
            wanted = normalize_timeframe(timeframe) if kind in ("bars", "mark") else ""
            key = SeriesKey(kind, normalize_symbol(symbol or ""), wanted)
        path = self._path(key)
        if not _is_there(path):
            raise UsageError(f"no {key} in {self.folder}{self._remedy()}")
        return self._describe(path)

    def fingerprint(self, symbol: str | None, timeframe: str = "", kind: str = "bars", name: str = "") -> str:
        """Return the SHA-256 of a stored series' values, hex; errors as for `entry`."""
        return self.entry(symbol, timeframe, kind, name).fingerprint

    def verify(self, entry: StoredSeries) -> pd.DataFrame:
        """Read a series whole and compare its values with the fingerprint written beside them.

        Raises
        ------
        DataError
            The file is damaged, or its values are not those that were written.
        """
        frame = self._read(entry.key)
        if fingerprint(frame) != entry.fingerprint:
            raise self._damaged(entry.path, "its values are not those that were written")
        return frame

    # Inside -----------------------------------------------------------------------------------------------------------

    def _path(self, key: SeriesKey) -> Path:
        if key.kind == "funding":
            return self.folder / "funding" / f"{key.symbol}.parquet"
        return self.folder / key.kind / key.symbol / f"{key.name or key.timeframe}.parquet"

    def _checked_bars(
        self, symbol: str, timeframe: str, frame: pd.DataFrame, kind: str
    ) -> tuple[SeriesKey, pd.DataFrame]:
        if kind not in ("bars", "mark"):
            raise UsageError(f"kind {kind!r} has no bars; use bars or mark")
        key = SeriesKey(kind, normalize_symbol(symbol), normalize_timeframe(timeframe))
        bars = as_bars(frame, key.symbol, kind=kind)
        return key, check_bars(bars, timeframe_ns(timeframe), symbol=key.symbol)[0]

    def _checked_funding(self, symbol: str, frame: pd.DataFrame) -> tuple[SeriesKey, pd.DataFrame]:
        key = SeriesKey("funding", normalize_symbol(symbol))
        return key, check_events(as_funding(frame, key.symbol), what=str(key), optional=("mark_price",))[0]

    def _checked_column(
        self, name: str, frame: pd.DataFrame | pd.Series[Any], symbol: str | None
    ) -> tuple[SeriesKey, pd.DataFrame]:
        refuse_reserved_name(name)
        key = self._column_key(name, symbol)
        return key, check_events(as_column(frame, name), what=str(key))[0]

    def _column_key(self, name: str, symbol: str | None) -> SeriesKey:
        check_column_name(name)
        return SeriesKey("column", ALL_SYMBOLS if symbol is None else normalize_symbol(symbol), name=name)

    def _merge(self, key: SeriesKey, frame: pd.DataFrame, source: str) -> MergeReport:
        return self.merge_parts(key, [(frame, source)])[0]

    def _write(self, key: SeriesKey, frame: pd.DataFrame, sources: Sequence[str]) -> None:
        times = times_of(frame)
        meta = {
            "format": _FORMAT,
            "kind": key.kind,
            "symbol": key.symbol,
            "timeframe": key.timeframe,
            "name": key.name,
            "sources": list(sources),
            "rows": len(frame),
            "start": int(times[0]),
            "end": int(times[-1]),
            "sha256": fingerprint(frame),
            "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        arrays = [pa.array(times, type=pa.timestamp("ns", tz="UTC"))]
        arrays += [pa.array(frame[column].to_numpy()) for column in frame.columns]
        table = pa.table(arrays, names=["time", *(str(column) for column in frame.columns)])
        table = table.replace_schema_metadata({_META: json.dumps(meta).encode()})

        def write(path: Path) -> None:
            # page checksums: a flipped bit is an error when reading, not a wrong price
            pq.write_table(table, path, compression="zstd", write_page_checksum=True)

        write_atomically(self._path(key), write)

    def _read(self, key: SeriesKey) -> pd.DataFrame:
        path = self._path(key)
        entry = self._describe(path)
        wanted = {"bars": BAR_COLUMNS, "mark": MARK_COLUMNS, "funding": FUNDING_COLUMNS}.get(key.kind, (key.name,))
        try:
            table = pq.read_table(path, columns=["time", *wanted], page_checksum_verification=True)
            times = table.column("time").cast(pa.int64()).to_numpy()
            columns = {name: np.array(table.column(name).to_numpy(), dtype=np.float64) for name in wanted}
        except PermissionError as error:
            raise not_allowed(path) from error
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise self._damaged(path, str(error)) from error
        if len(times) != entry.rows or not len(times) or int(times[0]) != entry.start or int(times[-1]) != entry.end:
            raise self._damaged(path, f"{entry.rows} rows were written, {len(times)} others are there")
        return make_frame(np.array(times, dtype=np.int64), columns)

    def _describe(self, path: Path) -> StoredSeries:
        try:
            raw = (pq.read_schema(path).metadata or {}).get(_META)
        except PermissionError as error:
            raise not_allowed(path) from error
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(path, str(error)) from error
        if raw is None:
            raise DataError(f"{path} was not written by qtsim; move it elsewhere and import it: qtsim data import FILE")
        try:
            meta = json.loads(raw)
            if meta["format"] != _FORMAT:
                raise DataError(
                    f"{path} was written by another version of qtsim (format {meta['format']}); import again"
                )
            key = SeriesKey(meta["kind"], meta["symbol"], meta["timeframe"], meta["name"])
            if self._path(key) != path:
                raise DataError(f"{path} holds {key}, which its name denies; move it away and import it under its name")
            return StoredSeries(
                key=key,
                start=int(meta["start"]),
                end=int(meta["end"]),
                rows=int(meta["rows"]),
                sources=tuple(str(source) for source in meta["sources"]),
                fingerprint=str(meta["sha256"]),
                path=path,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(path, f"its metadata cannot be read ({error})") from error

    def _damaged(self, path: Path, why: str) -> DataError:
        remedy = "the sample is made again" if self.is_synthetic else "import its data again"
        where = self.root if self.is_synthetic else path
        reason = why.splitlines()[0] if why else "it cannot be read"
        return DataError(f"damaged store file {path}: {reason}; delete {where} and {remedy}")

    def _remedy(self) -> str:
        return "" if self.is_synthetic else "; get it with qtsim data download, or import files: qtsim data import PATH"

    def _absent(self, symbol: str, timeframe: str, kind: str) -> str:
        """Say what there is instead of a series that is not there."""
        series = SeriesKey(kind, symbol, timeframe)
        lengths = _by_timeframe(self.folder / kind / symbol)
        if lengths:
            have = ", ".join(lengths[length].stem for length in sorted(lengths))
            return f"no {series} in {self.folder}: {symbol} is there with {have}; finer ones do not divide {timeframe}"
        symbols = self.symbols(kind)
        if not symbols:
            return f"no {series} in {self.folder}: there are none of any symbol{self._remedy()}"
        near = difflib.get_close_matches(symbol, symbols, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}? " if near else ""
        shown = ", ".join(symbols[:12]) + (f" and {len(symbols) - 12} more" if len(symbols) > 12 else "")
        return f"no {series} in {self.folder}: {hint}there are {shown}{self._remedy()}"

    def _outside(self, stored: StoredSeries, whole: pd.DataFrame, start_ns: int | None, end_ns: int | None) -> str:
        start = "the beginning" if start_ns is None else format_ts(start_ns)
        end = "the end" if end_ns is None else format_ts(end_ns)
        if len(whole):
            times = times_of(whole)
            have = f"they open from {format_ts(int(times[0]))} to {format_ts(int(times[-1]))}"
        else:
            have = "too few to make one whole bar"
        return f"no {stored.key} from {start} to {end}: {have}"


def merge_rows(old: pd.DataFrame | None, new: pd.DataFrame) -> tuple[pd.DataFrame, MergeReport]:
    """Merge two canonical frames, sorted and without duplicates; at equal times the new row wins.

    A NaN (a mark price that was not recorded) never replaces a number.
    """
    if old is None or not len(old):
        return new, MergeReport(added=len(new), changed=0, unchanged=0, rows=len(new))
    old_times, new_times = times_of(old), times_of(new)
    at = np.searchsorted(old_times, new_times)
    shared = at < len(old_times)
    shared[shared] = old_times[at[shared]] == new_times[shared]
    rows = at[shared]
    added = int((~shared).sum())
    order = np.argsort(np.concatenate((old_times, new_times[~shared])), kind="stable")
    differs = np.zeros(len(rows), dtype=bool)
    largest = 0.0
    columns = {}
    for name in old.columns:
        before = old[name].to_numpy()
        given = new[name].to_numpy()
        kept = before[rows]
        wins = np.where(np.isnan(given[shared]), kept, given[shared])
        other = ~((wins == kept) | (np.isnan(wins) & np.isnan(kept)))
        differs |= other
        largest = max(largest, _largest_change(kept[other], wins[other]))
        after = before.copy()
        after[rows] = wins
        columns[str(name)] = np.concatenate((after, given[~shared]))[order]
    changed = int(differs.sum())
    first = int(new_times[shared][differs][0]) if changed else 0
    report = MergeReport(added, changed, len(rows) - changed, len(old_times) + added, first, largest)
    if not added and not changed:
        return old, report
    return make_frame(np.concatenate((old_times, new_times[~shared]))[order], columns), report


def _largest_change(before: Floats, after: Floats) -> float:
    """The largest change as a share of what was there; inf from 0, 0 where nothing was recorded before."""
    known = ~np.isnan(before)
    if not known.any():
        return 0.0
    change, size = np.abs(after[known] - before[known]), np.abs(before[known])
    with np.errstate(over="ignore"):  # from next to nothing is inf as well
        return float(np.divide(change, size, out=np.full(len(size), np.inf), where=size > 0).max())


def check_column_name(name: str) -> None:
    """Refuse a column name that strategies could not use.

    Raises
    ------
    UsageError
        Not a plain name.
    """
    if not _COLUMN_NAME.match(name):
        raise UsageError(f"column name {name!r} is not a plain name; use letters, digits and _, a letter first")


def refuse_reserved_name(name: str) -> None:
    """Refuse to write a column under a name that already means another kind of series.

    Raises
    ------
    UsageError
        The kind to import it as is named.
    """
    if name in RESERVED_COLUMNS:
        raise UsageError(
            f"column {name} is made of the {RESERVED_COLUMNS[name]} series: import that with "
            f"--kind {RESERVED_COLUMNS[name]}, or give the column another name"
        )


def _slice(frame: pd.DataFrame, start_ns: int | None, end_ns: int | None) -> pd.DataFrame:
    times = times_of(frame)
    first = 0 if start_ns is None else int(np.searchsorted(times, start_ns))
    last = len(times) if end_ns is None else int(np.searchsorted(times, end_ns))
    return frame if first == 0 and last == len(times) else frame.iloc[first : max(first, last)]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError as error:
        raise not_allowed(path) from error


def _parquet_files(folder: Path) -> Sequence[Path]:
    """Stored files of a folder and its subfolders; temporary files begin with a dot."""
    found = [*folder.glob("*.parquet"), *folder.glob("*/*.parquet")]
    return sorted(path for path in found if not path.name.startswith("."))


def _by_timeframe(folder: Path) -> dict[int, Path]:
    """Stored bars of one symbol by the bars' length in ns; files with other names are not the store's own."""
    found = {}
    for path in folder.glob("*.parquet"):
        with contextlib.suppress(UsageError):
            found[timeframe_ns(path.stem)] = path
    return found
