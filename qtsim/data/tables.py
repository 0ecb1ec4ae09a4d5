"""Market data files of any common format, read into pandas tables as they are."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from qtsim.data.atomic import not_allowed
from qtsim.errors import DataError

EXTENSIONS = (".csv", ".csv.gz", ".txt", ".parquet", ".pq", ".feather", ".ftr", ".json", ".json.gz", ".zip")

KLINE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
"""Binance's candles; files without a header have the first 5, 6 or all of these."""

_FUNDING_COLUMNS = ("calc_time", "funding_interval_hours", "last_funding_rate")
_STARTS_WITH_NUMBER = re.compile(r"^\s*\"?[-+]?\d")


def extension(path: Path) -> str:
    """Return a file's extension in lower case, the double ones (`.json.gz`) whole; empty when it is not readable."""
    name = path.name.lower()
    return max((end for end in EXTENSIONS if name.endswith(end)), key=len, default="")


def stem(path: Path) -> str:
    """Return a file's name without its extension."""
    end = extension(path)
    return path.name[: len(path.name) - len(end)] if end else path.stem


def read_table(path: Path) -> pd.DataFrame:
    """Read one CSV, Parquet, Feather, JSON or zipped CSV file.

    CSV may have a header or not, commas, semicolons or tabs, and lines of text before the header. JSON is a list of
    candles (freqtrade, exchange answers), a list of objects, or what pandas writes.

    Raises
    ------
    DataError
        The file is damaged, of another format, or holds no table; it is named.
    """
    end = extension(path)
    try:
        if end in (".parquet", ".pq"):
            return _from_arrow(pq.read_table(path))
        if end in (".feather", ".ftr"):
            return _from_arrow(pyarrow.feather.read_table(path, memory_map=False))
        if end == ".zip":
            return _from_csv(_unzip(path), path)
        raw = path.read_bytes()
        if end.endswith(".gz"):
            raw = gzip.decompress(raw)
        if end.startswith(".json"):
            return _from_json(raw, path)
        if end:
            return _from_csv(raw, path)
    except DataError:
        raise
    except PermissionError as error:
        raise not_allowed(path) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, pa.ArrowException, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read: {reason}; it is damaged or not a {end} file") from error
    raise DataError(f"{path}: files like this are not read; known are {', '.join(EXTENSIONS)}")


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(date_as_object=False)
    return frame


def _unzip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} CSV files; exactly one is expected")
        return archive.read(names[0])


def _from_csv(raw: bytes, path: Path) -> pd.DataFrame:
    lines = raw.decode("utf-8-sig").splitlines()
    if not any(line.strip() for line in lines):
        raise DataError(f"{path} is empty")
    counts = {separator: sum(line.count(separator) for line in lines[:5]) for separator in (",", ";", "\t")}
    separator = max(counts, key=lambda key: counts[key])
    # some providers put a line with their address before the header
    skip = next((i for i, line in enumerate(lines[:5]) if separator in line), 0)
    names = None
    if _STARTS_WITH_NUMBER.match(lines[skip]):
        names = _names(lines[skip].count(separator) + 1, path)
    table = pyarrow.csv.read_csv(
        io.BytesIO(raw),
        read_options=pyarrow.csv.ReadOptions(skip_rows=skip, column_names=names, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
    )
    return _from_arrow(table)


def _names(width: int, path: Path) -> list[str]:
    """Column names of a file without a header, by the number of its columns."""
    if width == len(_FUNDING_COLUMNS):
        return list(_FUNDING_COLUMNS)
    if width == 2:
        return ["time", "value"]
    if width in (5, 6, len(KLINE_COLUMNS)):
        return list(KLINE_COLUMNS[:width])
    raise DataError(f"{path} has {width} columns and no header; put a first line with their names before them")


def _from_json(raw: bytes, path: Path) -> pd.DataFrame:
    content = json.loads(raw)
    if isinstance(content, list) and content:
        if all(isinstance(row, list) for row in content):
            return pd.DataFrame(content, columns=_names(max(len(row) for row in content), path))
        if all(isinstance(row, dict) for row in content):
            return pd.DataFrame(content)
    if isinstance(content, dict):
        if {"columns", "data"} <= content.keys():
            return pd.DataFrame(content["data"], columns=content["columns"], index=content.get("index"))
        values = list(content.values())
        if values and all(isinstance(value, dict) for value in values):
            return pd.DataFrame(content)
        if values and all(isinstance(value, list) for value in values):
            return pd.DataFrame(content)
    raise DataError(f"{path} holds no table; expected a list of candles [time, open, high, low, close, volume]")
