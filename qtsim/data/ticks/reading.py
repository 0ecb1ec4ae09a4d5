"""Trades and quotes out of files, a part at a time: no file has to fit into memory."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from qtsim.data.atomic import not_allowed
from qtsim.data.frames import Times, as_floats, parse_times
from qtsim.data.symbols import normalize_symbol
from qtsim.data.tables import extension
from qtsim.data.ticks.arrays import TRADES, Chunk, Columns, Flags
from qtsim.data.ticks.layouts import COUNTED, Layout, layout_of, missing_of, names_without_header, require_layout
from qtsim.data.ticks.recording import is_recording, read_recording
from qtsim.errors import DataError, UsageError

CHUNK_ROWS = 1 << 19
"""Rows that are read at once: some tens of megabytes."""
EXTENSIONS = (".gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
"""Files that may hold a recorded stream, beside all those that hold tables."""

_HEAD = 1 << 16
_ROW_BYTES = 64  # of a line of text, about
_SMALLEST_BLOCK = 1 << 10
_CONVERSION = re.compile(r"In CSV column #(\d+): .*invalid value '(.*)'", re.DOTALL)
_TRUE, _FALSE = ("true", "t", "1", "1.0"), ("false", "f", "0", "0.0")
_SELL, _BUY = ("sell", "s", "ask", "-1", "-1.0"), ("buy", "b", "bid", "1", "1.0", "+1")


@dataclass(frozen=True)
class TickFile:
    """A file that was recognised: where its columns are and how to read it."""

    path: Path
    form: str
    """`csv`, `parquet`, `feather` or `recording`."""
    layout: Layout | None = None
    """None for a recording, whose every line says what it is."""
    delimiter: str = ","
    skip: int = 0
    """Lines of text before the header or the first row."""
    names: tuple[str, ...] = ()
    """Column names of a file without a header."""
    types: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`trades` or `quotes`; empty for a recording, which may hold both."""
        return self.layout.kind if self.layout else ""


def tick_extension(path: Path) -> str:
    """Return the extension of a file that may hold ticks, empty for any other."""
    name = path.name.lower()
    other = max((end for end in EXTENSIONS if name.endswith(end)), key=len, default="")
    return max(extension(path), other, key=len)


def look(path: Path, kind: str = "") -> TickFile | None:
    """Recognise a file with trades or quotes by its first lines or its schema; None where it holds neither.

    Parameters
    ----------
    path : Path
        CSV, also as `.gz` or `.zip`, Parquet, Feather, or a recorded stream.
    kind : str
        `trades` or `quotes` where that was said or the file's name says so: what is missing then is an error.

    Raises
    ------
    DataError
        The file cannot be read, or is not of the kind that it is said to be.
    """
    with _readable(path):
        end = tick_extension(path)
        if end in (".parquet", ".pq"):
            return _look_at_schema(path, "parquet", pq.read_schema(path), kind)
        if end in (".feather", ".ftr"):
            with pa.ipc.open_file(path) as reader:
                return _look_at_schema(path, "feather", reader.schema, kind)
        if end == ".zip" and _csv_member(path) is None:
            if not kind:
                return None
            raise DataError(f"{path}: exactly one CSV file is expected in it")
        if not end or (end.startswith(".json") and end not in EXTENSIONS and not kind):
            return None
        return _look_at_text(path, kind)


def read_chunks(file: TickFile, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Read a recognised file part by part; rows keep their order and are not judged.

    Every part has a column `row`: the number of each row in the file, from 1; for a recording, of its line.

    Raises
    ------
    DataError
        The file is damaged, or a value is not a number, a time or a flag; file, row and value are named.
    """
    with _readable(file.path):
        if file.form == "recording":
            with _text(file.path) as stream:
                yield from read_recording(stream, str(file.path), chunk_rows)
            return
        layout = file.layout
        assert layout is not None
        first = 1
        for batch in _batches(file, layout, chunk_rows):
            for start in range(0, batch.num_rows, chunk_rows):
                part = batch.slice(start, chunk_rows)
                yield table_chunk(part, layout, str(file.path), first)
                first += part.num_rows


def table_chunk(table: Any, layout: Layout, what: str, first: int = 1) -> Chunk:
    """Return the rows of an Arrow table or batch as columns.

    Parameters
    ----------
    table : pyarrow.Table or RecordBatch
    layout : Layout
    what : str
        Named in errors: the file.
    first : int
        Number of the first row.

    Raises
    ------
    DataError
        A value that is not a number, a time or a flag.
    """
    times, received = _times(table, layout, what, first)
    columns: Columns = {"time": times}
    for ours, theirs in layout.fields.items():
        columns[ours] = as_floats(table.column(theirs).to_pandas(), what, theirs, first=first)
    columns["id"] = _ids(table, layout, what, first)
    if layout.kind == TRADES:
        columns["is_buyer_maker"] = _maker_flags(table, layout, what, first)
    columns["row"] = np.arange(first, first + len(times), dtype=np.int64)
    symbol = _one_symbol(table, layout, what) if layout.symbol else ""
    return Chunk(layout.kind, layout.numbering, symbol, columns, received=received)


def table_of(frame: pd.DataFrame) -> pa.Table:
    """Return a pandas table with its named index as an Arrow table."""
    if frame.index.name is not None and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    return pa.Table.from_pandas(frame, preserve_index=False)


# Recognition ---------------------------------------------------------------------------------------------------------


def _look_at_schema(path: Path, form: str, schema: Any, kind: str) -> TickFile | None:
    names = [str(name) for name in schema.names]
    layout = require_layout(names, kind) if kind else layout_of(names)
    return TickFile(path, form, _numbered(layout, schema)) if layout else None


def _numbered(layout: Layout, schema: Any) -> Layout:
    """A file of another tick store says what its ids count, which their name does not."""
    try:
        numbering = str(json.loads((schema.metadata or {})[b"qtsim"])["numbering"])
    except (KeyError, ValueError, TypeError):
        return layout
    return replace(layout, numbering=numbering, id="" if numbering == COUNTED else "id")


def _look_at_text(path: Path, kind: str) -> TickFile | None:
    with _text(path) as stream:
        head = stream.read(_HEAD)
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    if kind and not head.strip():
        raise DataError(f"{path} is empty")
    if len(head) == _HEAD:
        lines = lines[:-1]  # cut short
    if any(is_recording(line) for line in lines[:5]):
        return TickFile(path, "recording")
    counts = {separator: sum(line.count(separator) for line in lines[:5]) for separator in (",", ";", "\t")}
    delimiter = max(counts, key=lambda key: counts[key])
    # some providers put a line with their address before the header
    skip = next((i for i, line in enumerate(lines[:5]) if delimiter in line), None)
    if skip is None:
        _refuse_as(kind, [])
        return None
    row = _cells(lines[skip], delimiter)
    without = names_without_header(row)
    names = without or tuple(row)
    layout = layout_of(names)
    if layout is None or (kind and layout.kind != kind):
        _refuse_as(kind, names)
        return None
    below = lines[skip + (0 if without else 1) :]
    sample = dict(zip(names, _cells(below[0], delimiter), strict=False)) if below else {}
    return TickFile(path, "csv", layout, delimiter, skip, without, _column_types(layout, sample))


def _refuse_as(kind: str, names: Sequence[str]) -> None:
    """Say what a file lacks that is said to be of a kind; one of which nothing is said may be something else."""
    if kind:
        raise DataError(f"not {kind}: {missing_of(kind, names)}")


def _cells(line: str, delimiter: str) -> list[str]:
    return [text.strip().strip('"') for text in line.split(delimiter)]


def _column_types(layout: Layout, sample: dict[str, str]) -> dict[str, Any]:
    """Types of CSV columns, from what they mean and the first row: what pyarrow would guess depends on the part."""
    types: dict[str, Any] = {name: pa.float64() for name in layout.fields.values()}
    for name in (*layout.times, layout.id):
        if name:
            types[name] = _number_type(sample.get(name, ""))
    if layout.maker:
        is_flag = sample.get(layout.maker, "").lower() in ("true", "false")
        types[layout.maker] = pa.bool_() if is_flag else pa.string()
    for name in (layout.taker, layout.symbol):
        if name:
            types[name] = pa.string()
    return types


def _number_type(text: str) -> Any:
    if re.fullmatch(r"\d+", text):
        return pa.int64()
    return pa.float64() if re.fullmatch(r"\d+\.\d*", text) else pa.string()


# Files ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in words why a file cannot be read."""
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise not_allowed(path) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, pa.ArrowException, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        end = tick_extension(path)
        raise DataError(f"{path} cannot be read: {reason}; it is damaged or not a {end} file") from error


@contextmanager
def _text(path: Path) -> Iterator[IO[bytes]]:
    """Open a text file, unpacked."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive, archive.open(str(_csv_member(path))) as packed:
            yield packed
    elif path.name.lower().endswith(".gz"):
        with gzip.open(path, "rb") as unpacked:
            yield cast(IO[bytes], unpacked)
    else:
        with path.open("rb") as plain:
            yield plain


def _csv_member(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".csv", ".txt"))]
    return names[0] if len(names) == 1 else None


def _batches(file: TickFile, layout: Layout, chunk_rows: int) -> Iterator[Any]:
    if file.form == "parquet":
        with pq.ParquetFile(file.path) as parquet:
            yield from parquet.iter_batches(batch_size=chunk_rows, columns=list(layout.wanted))
    elif file.form == "feather":
        with pa.ipc.open_file(file.path) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number).select(list(layout.wanted))
    else:
        yield from _csv_batches(file, layout, chunk_rows)


def _csv_batches(file: TickFile, layout: Layout, chunk_rows: int) -> Iterator[Any]:
    """Parse blocks of whole lines one by one, so that a column has the same type in each and rows can be counted."""
    size = max(_ROW_BYTES * chunk_rows, _SMALLEST_BLOCK)
    first = 1
    with _text(file.path) as stream:
        for _ in range(file.skip):
            stream.readline()
        names = list(file.names) or _cells(stream.readline().decode("utf-8-sig"), file.delimiter)
        for block in _blocks(stream, size):
            try:
                table = pyarrow.csv.read_csv(
                    pa.BufferReader(block),
                    read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False),
                    parse_options=pyarrow.csv.ParseOptions(delimiter=file.delimiter),
                    convert_options=pyarrow.csv.ConvertOptions(
                        column_types=file.types, include_columns=list(layout.wanted), strings_can_be_null=True
                    ),
                )
            except pa.ArrowInvalid as error:
                raise _csv_error(file, names, first, str(error)) from error
            first += table.num_rows
            yield table.combine_chunks()


def _blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Cut a stream into blocks of whole lines; empty ones are left out."""
    rest = stream.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
    while block := stream.read(size):
        cut = block.rfind(b"\n") + 1
        whole, rest = (rest + block[:cut], block[cut:]) if cut else (b"", rest + block)
        if whole.strip():
            yield whole
    if rest.strip():
        yield rest


def _csv_error(file: TickFile, names: Sequence[str], first: int, text: str) -> DataError:
    """Name file, row, column and value of what pyarrow could not read."""
    row = re.search(r"Row #(\d+)", text)
    place = f", row {first + int(row[1]) - 1}" if row else ""
    found = _CONVERSION.search(text)
    if found is not None:
        name = names[int(found[1])]
        kind = "is neither true nor false" if file.types[name] == pa.bool_() else "is not a number"
        return DataError(f"{file.path}, column {name}{place}: {found[2]!r} {kind}")
    reason = re.sub(r"^CSV parse error: (Row #\d+: )?", "", (text.splitlines() or [""])[0])
    return DataError(f"{file.path}{place} cannot be read: {reason}; correct the line")


# Values --------------------------------------------------------------------------------------------------------------


def _times(table: Any, layout: Layout, what: str, first: int) -> tuple[Times, int]:
    """Times of the rows, and how many of them are the recorder's. A time of 0 means that the exchange told none."""
    values: Any = None
    received = 0
    for name in layout.times:
        column = table.column(name)
        if not pa.types.is_integer(column.type):
            if values is None:
                return parse_times(column.to_pandas(), f"{what}, column {name}", first=first), 0
            continue
        given = np.asarray(pc.fill_null(column, 0)).astype(np.int64)
        absent = np.ones(len(given), dtype=bool) if values is None else values == 0
        received += int((absent & (given != 0)).sum()) if name == layout.receipt else 0
        values = given if values is None else np.where(absent, given, values)
        if values.all():
            break
    place = f"{what}, column {layout.times[0]}"
    if not values.all():
        raise DataError(f"{place}, row {int(np.argmin(values != 0)) + first}: no time is given")
    return parse_times(pd.Series(values), place, first=first), received


def _ids(table: Any, layout: Layout, what: str, first: int) -> Times:
    if not layout.id:
        return np.zeros(table.num_rows, dtype=np.int64)
    column = table.column(layout.id)
    if pa.types.is_integer(column.type) and column.null_count == 0:
        return np.ascontiguousarray(np.asarray(column), dtype=np.int64)
    numbers = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse_cells(~np.isfinite(numbers), column, what, layout.id, first, "is no id: a whole number is needed")
    return np.asarray(numbers, dtype=np.float64).astype(np.int64)


def _maker_flags(table: Any, layout: Layout, what: str, first: int) -> Flags:
    """Whether the buyer was the maker, from that flag or from the taker's side."""
    name = layout.maker or layout.taker
    column = table.column(name)
    if pa.types.is_boolean(column.type) and layout.maker and column.null_count == 0:
        return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column, dtype=bool)
    texts = column.to_pandas().astype(str).str.strip().str.lower()
    yes, no = (_TRUE, _FALSE) if layout.maker else (_SELL, _BUY)
    flags = np.asarray(texts.isin(yes), dtype=bool)
    known = flags | np.asarray(texts.isin(no), dtype=bool)
    words = "true or false" if layout.maker else "buy or sell, 1 or -1"
    _refuse_cells(~known, column, what, name, first, f"is not understood; expected {words}")
    return flags


def _refuse_cells(bad: Flags, column: Any, what: str, name: str, first: int, why: str) -> None:
    if bool(bad.any()):
        row = int(np.argmax(bad))
        raise DataError(f"{what}, column {name}, row {row + first}: {column[row].as_py()!r} {why}")


def _one_symbol(table: Any, layout: Layout, what: str) -> str:
    """The symbol that every row names."""
    found = sorted(str(value) for value in pc.unique(table.column(layout.symbol)).to_pylist() if value is not None)
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise DataError(f"{what}: column {layout.symbol} names several symbols ({shown}); give one file per symbol")
    try:
        return normalize_symbol(found[0]) if found else ""
    except UsageError:
        return ""
