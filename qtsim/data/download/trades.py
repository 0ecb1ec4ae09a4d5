"""Single trades: one archive per day, handed on file by file to whatever stores them.

`TradeImporter` reads a verified archive and gives one day's frame to a function. Without such a function archives stay
in the cache, verified, and are taken from there once there is one.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from qtsim.data.download.archive import Archive
from qtsim.data.timeframes import DAY, format_ts, unix_scale
from qtsim.errors import DataError

TRADE_COLUMNS = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
)
"""The exchange's columns; files without a header have these."""

WriteDay: TypeAlias = Callable[[str, int, pd.DataFrame], object]
"""Stores the trades of one symbol and day (its midnight, int64 ns UTC); called again, it replaces the day."""
StoreTrades: TypeAlias = Callable[[Archive, Path], int | None]
"""Stores a verified archive and returns its rows; None where nothing can: the file stays where it is."""


def keep_trades(archive: Archive, path: Path) -> int | None:
    """Leave an archive in the cache: there is no store for it."""
    del archive, path
    return None


class TradeImporter:
    """Reads archives of trades and hands each day to `write_day`."""

    def __init__(self, write_day: WriteDay) -> None:
        """Nothing is read yet."""
        self._write_day = write_day

    def __call__(self, archive: Archive, path: Path) -> int | None:
        """Read one archive, store its day and return the number of trades; errors as in `read_trades`."""
        frame = read_trades(archive, path)
        self._write_day(archive.symbol, archive.start, frame)
        return len(frame)


def read_trades(archive: Archive, path: Path) -> pd.DataFrame:
    """Return an archive's trades in the order of their ids.

    Returns
    -------
    DataFrame
        time (int64 ns UTC), price, qty (float64), id (int64), is_buyer_maker (bool).

    Raises
    ------
    DataError
        Not a zip with one CSV of trades, or trades of another day.
    """
    try:
        with zipfile.ZipFile(path) as zipped:
            names = [name for name in zipped.namelist() if name.lower().endswith(".csv")]
            if len(names) != 1:
                raise DataError(f"{path.name} holds {len(names)} CSV files; exactly one is expected")
            raw = zipped.read(names[0])
        has_header = not raw[:1].isdigit()
        names_given = None if has_header else list(TRADE_COLUMNS)
        options = pyarrow.csv.ReadOptions(column_names=names_given, use_threads=False)
        convert = pyarrow.csv.ConvertOptions(true_values=["true", "True"], false_values=["false", "False"])
        table = pyarrow.csv.read_csv(io.BytesIO(raw), read_options=options, convert_options=convert)
        ids = table.column("agg_trade_id").cast(pa.int64()).to_numpy()
        times = table.column("transact_time").cast(pa.int64()).to_numpy()
        columns = {
            "time": times * (unix_scale(int(times[0])) if len(times) else 1),
            "price": table.column("price").cast(pa.float64()).to_numpy(),
            "qty": table.column("quantity").cast(pa.float64()).to_numpy(),
            "id": ids,
            "is_buyer_maker": table.column("is_buyer_maker").cast(pa.bool_()).to_numpy(zero_copy_only=False),
        }
    except DataError:
        raise
    except (OSError, KeyError, ValueError, pa.ArrowException, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name} cannot be read as trades: {(str(error).splitlines() or ['?'])[0]}") from error
    frame = pd.DataFrame(columns)
    if len(ids) and bool((np.diff(ids) < 0).any()):
        frame = frame.sort_values("id", kind="stable", ignore_index=True)
    outside = (columns["time"] < archive.start) | (columns["time"] >= archive.start + DAY)
    if outside.any():
        stray = int(columns["time"][int(np.argmax(outside))])
        raise DataError(f"{path.name}: a trade is of {format_ts(stray)}, which is not in {archive.label}")
    return frame
