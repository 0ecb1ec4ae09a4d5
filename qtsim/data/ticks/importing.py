"""Import of one file of trades or quotes: read in parts, kept by day, merged day by day into the store."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from qtsim.data.ticks.arrays import QUOTES, Chunk, Columns, join_columns, take_rows
from qtsim.data.ticks.checks import CROSSED, RECEIVED, UNSORTED, Place, describe_found, order_rows, sift_rows
from qtsim.data.ticks.reading import CHUNK_ROWS, TickFile, read_chunks
from qtsim.data.ticks.store import DayMerge, DayPart, TickStore
from qtsim.data.timeframes import DAY, format_ts
from qtsim.errors import DataError

HELD_ROWS = 4 * CHUNK_ROWS
"""Rows in memory above which those read so far are put on the disk until the file has been read."""
CROSSED_LIMIT = 0.5
"""Share of crossed quotes in a file above which bid and ask are taken to be swapped."""

Series: TypeAlias = tuple[str, str]
"""Kind and symbol."""


@dataclass
class TickImport:
    """What became of the rows of one kind and symbol of a file."""

    kind: str
    symbol: str
    numbering: str
    merges: list[DayMerge] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    """Rows that were kept."""
    start: int = 0
    end: int = 0
    left_out: int = 0
    """Messages of a recording that are neither trades nor quotes."""

    @property
    def added(self) -> int:
        """Rows that were not in the store."""
        return sum(merge.added for merge in self.merges)

    @property
    def unchanged(self) -> int:
        """Rows that were in the store."""
        return sum(merge.unchanged for merge in self.merges)

    @property
    def unsorted(self) -> int:
        """Rows that were out of order."""
        return self.found[UNSORTED]

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that were left out, by reason."""
        return {reason: count for reason, count in self.found.items() if reason not in (UNSORTED, RECEIVED)}

    def describe(self) -> str:
        """Say what else is worth knowing: what was left out or put in order, and how many days there are."""
        parts = [f"{len(self.merges)} days" if len(self.merges) > 1 else "", describe_found(self.found)]
        parts.append(f"{self.left_out:,} other messages left out" if self.left_out else "")
        return "; ".join(part for part in parts if part)


class _Held:
    """Rows of a file by series and day: in memory, and on the disk beside the store where they are many."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._parts: dict[tuple[Series, int], list[Columns]] = {}
        self._rows = 0
        self._spill: Path | None = None
        self._names: dict[tuple[Series, int], list[str]] = {}

    def add(self, series: Series, columns: Columns) -> None:
        """Take rows of any days."""
        if not len(columns["time"]):
            return
        days = columns["time"] // DAY * DAY
        if bool((days[1:] < days[:-1]).any()):
            order = np.argsort(days, kind="stable")
            columns, days = take_rows(columns, order), days[order]
        found, edges = np.unique(days, return_index=True)
        for day, first, last in zip(found, edges, [*edges[1:], len(days)], strict=True):
            part = take_rows(columns, slice(int(first), int(last)))
            self._parts.setdefault((series, int(day)), []).append(part)
        self._rows += len(days)
        if self._rows > self._limit:
            self._put_away()

    def days(self, series: Series) -> list[int]:
        """Days of which there are rows, in order."""
        return sorted({day for of, day in (*self._parts, *self._names) if of == series})

    def take(self, series: Series, day: int) -> Columns:
        """Return the rows of one day in the order of the file."""
        key = (series, day)
        return join_columns([*self._put_away_parts(key), *self._parts.get(key, [])])

    def close(self) -> None:
        """Remove what was put on the disk."""
        if self._spill is not None:
            shutil.rmtree(self._spill, ignore_errors=True)

    def _put_away(self) -> None:
        try:
            if self._spill is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._spill = Path(tempfile.mkdtemp(prefix=".import-", dir=self._folder))
            for key, parts in self._parts.items():
                columns = join_columns(parts)
                self._names.setdefault(key, list(columns))
                path = self._spill / f"{list(self._names).index(key)}"
                with path.open("ab") as handle:
                    for values in columns.values():
                        np.save(handle, values)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"cannot write to {self._folder}: {reason}; make room, or make it writable") from error
        self._parts, self._rows = {}, 0

    def _put_away_parts(self, key: tuple[Series, int]) -> Iterator[Columns]:
        if key not in self._names or self._spill is None:
            return
        path = self._spill / f"{list(self._names).index(key)}"
        with path.open("rb") as handle:
            size = path.stat().st_size
            while handle.tell() < size:
                yield {name: np.load(handle) for name in self._names[key]}


def import_ticks(
    store: TickStore,
    file: TickFile,
    *,
    symbol: str = "",
    source: str,
    on_bad_rows: str = "error",
    period: tuple[int, int] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    held_rows: int = HELD_ROWS,
) -> list[TickImport]:
    """Import a recognised file: all of it or, where anything is wrong, nothing.

    Importing the same again changes nothing. A day that two files share is merged. The stored bytes do not depend on
    `chunk_rows` and `held_rows`.

    Parameters
    ----------
    store : TickStore
    file : TickFile
        From `look`.
    symbol : str
        Of a table; a recording says its symbols itself, and one that differs is then an error.
    source : str
        Recorded as where the rows came from.
    on_bad_rows : str
        `error` or `drop`: what becomes of prices and quantities that are not above 0.
    period : tuple of int, optional
        Start and end in which every row must lie, int64 ns UTC, the end exclusive.
    chunk_rows : int
        Rows read at once.
    held_rows : int
        Rows held in memory; more are put on the disk until the file has been read.

    Returns
    -------
    list of TickImport
        One per kind and symbol, by name.

    Raises
    ------
    DataError
        A bad row, rows that contradict each other or the store, or no rows; file, row and value are named.
    """
    held = _Held(store.folder, held_rows)
    try:
        imports = _read_file(file, held, symbol, on_bad_rows, chunk_rows, period)
        for merge in store.merge_parts(_parts(held, imports, str(file.path)), source, str(file.path)):
            imports[merge.kind, merge.symbol].merges.append(merge)
    finally:
        held.close()
    return [imports[series] for series in sorted(imports)]


def _read_file(
    file: TickFile, held: _Held, symbol: str, on_bad_rows: str, chunk_rows: int, period: tuple[int, int] | None
) -> dict[Series, TickImport]:
    """Read, check row by row, and hold every part of a file."""
    imports: dict[Series, TickImport] = {}
    left_out = 0
    for chunk in read_chunks(file, chunk_rows):
        left_out += chunk.left_out
        if not chunk.kind:
            continue
        name = _symbol_of(chunk, symbol, file.path)
        series = (chunk.kind, name)
        result = imports.setdefault(series, TickImport(chunk.kind, name, chunk.numbering))
        if result.numbering != chunk.numbering:
            raise DataError(f"{file.path} holds single and aggregate trades of {name}: the same trades, told twice")
        _refuse_outside(chunk, period, file.path)
        columns, found = sift_rows(chunk.kind, chunk.columns, str(file.path), on_bad_rows)
        found[RECEIVED] += chunk.received
        result.found += found
        _count(result, columns)
        held.add(series, columns)
    for _, result in sorted(imports.items()):
        result.left_out, left_out = left_out, 0
        _refuse_empty(result, file.path)
    if not imports:
        raise DataError(f"{file.path}: no rows")
    return imports


def _symbol_of(chunk: Chunk, symbol: str, path: Path) -> str:
    """The symbol that was said or named by the file, and that the rows do not deny."""
    if not symbol and not chunk.symbol:
        raise DataError(f"{path}: cannot tell the symbol from the name; say it: -p BTCUSDT")
    if symbol and chunk.symbol and symbol != chunk.symbol:
        raise DataError(f"{path}: its rows are of {chunk.symbol}, not of {symbol}; say -p {chunk.symbol}")
    return symbol or chunk.symbol


def _refuse_outside(chunk: Chunk, period: tuple[int, int] | None, path: Path) -> None:
    if period is None:
        return
    start, end = period
    times = chunk.columns["time"]
    outside = (times < start) | (times >= end)
    if outside.any():
        at = int(np.argmax(outside))
        raise DataError(
            f"{path}, row {chunk.columns['row'][at]} is of {format_ts(int(times[at]))}, which is not from "
            f"{format_ts(start)} to {format_ts(end)}"
        )


def _count(result: TickImport, columns: Columns) -> None:
    times = columns["time"]
    if not len(times):
        return
    first, last = int(times.min()), int(times.max())
    result.start = min(result.start, first) if result.rows else first
    result.end = max(result.end, last)
    result.rows += len(times)


def _refuse_empty(result: TickImport, path: Path) -> None:
    crossed = result.found[CROSSED]
    if result.kind == QUOTES and crossed > CROSSED_LIMIT * (crossed + result.rows):
        raise DataError(
            f"{path}: in {crossed:,} of {crossed + result.rows:,} quotes the bid is not below the ask; "
            "are the two swapped?"
        )
    if not result.rows:
        raise DataError(f"{path}: no rows of {result.symbol} {result.kind} are left: {describe_found(result.found)}")


def _parts(held: _Held, imports: dict[Series, TickImport], what: str) -> Iterator[DayPart]:
    """One day after the other; what was found in single rows is counted with the first day of its series."""
    for series, result in sorted(imports.items()):
        before: Counter[str] = Counter(result.found)
        for day in held.days(series):
            columns, found = order_rows(result.numbering, held.take(series, day), Place(what))
            result.found += found
            yield DayPart(series[0], series[1], day, result.numbering, columns, before + found)
            before = Counter()
