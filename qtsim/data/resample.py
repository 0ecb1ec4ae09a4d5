"""Bars of a coarser timeframe from finer ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from qtsim.data.frames import Floats, Times, make_frame, times_of
from qtsim.data.timeframes import grid_anchor_ns, timeframe_name
from qtsim.errors import UsageError


def divides(fine_ns: int, coarse_ns: int) -> bool:
    """Tell whether bars of `coarse_ns` consist of whole bars of `fine_ns`."""
    aligned = (grid_anchor_ns(coarse_ns) - grid_anchor_ns(fine_ns)) % fine_ns == 0
    return coarse_ns % fine_ns == 0 and aligned


def resample_bars(frame: pd.DataFrame, fine_ns: int, coarse_ns: int) -> pd.DataFrame:
    """Return coarser bars, each made of all its finer bars.

    A coarse bar of which a finer one is missing is left out: at the ends it is not over, and in a gap nobody knows its
    extremes. So no bar shows anything that was not known at its close, and a gap stays a gap.

    Parameters
    ----------
    frame : DataFrame
        Canonical bars or mark bars of `fine_ns`, sorted, on the grid.
    fine_ns, coarse_ns : int
        Lengths, ns.

    Raises
    ------
    UsageError
        The coarse length is not a whole number of fine ones.
    """
    if not divides(fine_ns, coarse_ns):
        raise UsageError(f"{timeframe_name(coarse_ns)} bars cannot be made of {timeframe_name(fine_ns)} bars")
    if fine_ns == coarse_ns or not len(frame):
        return frame
    fields = {str(name): frame[name].to_numpy() for name in frame.columns}
    return make_frame(*resample_arrays(times_of(frame), fields, fine_ns, coarse_ns))


def resample_arrays(
    times: Times, fields: Mapping[str, Floats], fine_ns: int, coarse_ns: int
) -> tuple[Times, dict[str, Floats]]:
    """As `resample_bars`, of arrays of at least one bar. Returns opens, int64 ns, and the columns by name."""
    anchor = grid_anchor_ns(coarse_ns)
    group = (times - anchor) // coarse_ns
    first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    last = np.concatenate((first[1:], [len(times)])) - 1
    whole = last - first + 1 == coarse_ns // fine_ns
    columns = {
        "open": fields["open"][first],
        "high": np.maximum.reduceat(fields["high"], first),
        "low": np.minimum.reduceat(fields["low"], first),
        "close": fields["close"][last],
    }
    if "volume" in fields:
        columns["volume"] = np.add.reduceat(fields["volume"], first)
    opens = (group[first] * coarse_ns + anchor)[whole]
    return opens, {name: np.ascontiguousarray(values[whole]) for name, values in columns.items()}
