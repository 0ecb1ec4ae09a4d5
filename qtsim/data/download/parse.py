"""From a verified archive to a checked frame. Header or none, milliseconds or microseconds: found by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from qtsim.data.download.archive import Archive
from qtsim.data.frames import as_bars, as_funding, times_of
from qtsim.data.quality import check_bars, check_events, check_not_finer
from qtsim.data.tables import read_table
from qtsim.data.timeframes import MINUTE, format_ts, timeframe_ns
from qtsim.errors import DataError

JITTER = MINUTE
"""Funding is stamped some milliseconds around its time, at a month's edges too."""


def parse_archive(archive: Archive, path: Path, on_bad_rows: str = "error") -> pd.DataFrame:
    """Return the canonical frame of an archive of bars, mark bars or funding; no rows where it holds none.

    Raises
    ------
    DataError
        The file is no zip with one CSV, a row is bad, or rows lie outside the archive's month or day.
    """
    table = read_table(path)
    if archive.kind == "funding":
        frame = as_funding(table, archive.symbol)
    else:
        frame = as_bars(table, archive.symbol, kind=archive.kind)
    if not len(frame):
        return frame
    times = times_of(frame)
    outside = (times < archive.start - JITTER) | (times >= archive.end + JITTER)
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(f"row {row + 1} is of {format_ts(int(times[row]))}, which is not in {archive.label}")
    if archive.kind == "funding":
        what = f"{archive.symbol} funding"
        return check_events(frame, what=what, on_bad_rows=on_bad_rows, optional=("mark_price",))[0]
    check_not_finer(times, timeframe_ns(archive.timeframe), archive.symbol)
    return check_bars(frame, timeframe_ns(archive.timeframe), symbol=archive.symbol, on_bad_rows=on_bad_rows)[0]
