"""Funding events as the kernels read them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from qtsim.core.records import Records, funding_dt
from qtsim.data.frames import Times, times_of
from qtsim.data.store import Store
from qtsim.data.timeframes import HOUR, MINUTE

LONGEST_INTERVAL = 8 * HOUR
"""No perpetual is charged less often."""
TOLERANCE = 5 * MINUTE
"""How late a payment may be recorded."""
HOLE_RATIO = 1.5
"""A distance of more than this many times both intervals beside it is a hole."""


class Hole(NamedTuple):
    """A part of a funding history without events: from one event to the next, ns, and the default events between."""

    start: int
    end: int
    events: int


def funding_events(
    source: Store | pd.DataFrame, symbol: str, start_ns: int | None = None, end_ns: int | None = None
) -> Records:
    """Return the funding events of one symbol in [start_ns, end_ns) as an array of `funding_dt`, in order of time.

    Parameters
    ----------
    source : Store or DataFrame
        A store, or a canonical funding frame.
    symbol : str
    start_ns, end_ns : int, optional
        int64 ns UTC; None is an open end.

    Returns
    -------
    ndarray of funding_dt, shape (n,)
        `mark` is NaN where the price was not recorded. Without any history in a store: shape (0,).
    """
    if isinstance(source, Store):
        if not source.has(symbol, kind="funding"):
            return np.zeros(0, dtype=funding_dt)
        source = source.read_funding(symbol)
    times = times_of(source)
    first = 0 if start_ns is None else int(np.searchsorted(times, start_ns))
    last = len(times) if end_ns is None else int(np.searchsorted(times, end_ns))
    events = np.zeros(max(last - first, 0), dtype=funding_dt)
    events["ts"] = times[first:last]
    events["rate"] = source["funding_rate"].to_numpy()[first:last]
    events["mark"] = source["mark_price"].to_numpy()[first:last] if "mark_price" in source.columns else np.nan
    return events


def default_funding_events(start_ns: int, end_ns: int, rate: float) -> Records:
    """Return events of one rate every 8 hours from 00:00 UTC in [start_ns, end_ns), for symbols without history."""
    step = 8 * HOUR
    times: Times = np.arange(-(-start_ns // step) * step, end_ns, step, dtype=np.int64)
    events = np.zeros(len(times), dtype=funding_dt)
    events["ts"] = times
    events["rate"] = rate
    events["mark"] = np.nan
    return events


def funding_intervals(times: Times) -> dict[int, int]:
    """Return how often each distance between funding events occurs: {hours: count}, most frequent first."""
    hours, counts = np.unique(np.round(np.diff(times) / HOUR).astype(np.int64), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {int(hours[i]): int(counts[i]) for i in order}


def find_holes(times: Times) -> npt.NDArray[np.bool_]:
    """Tell of each distance between neighbouring events whether events are missing in it, shape (n - 1,).

    They are where it is longer than the longest interval there is, and where it stands out from both beside it, as one
    of 8 hours does among hours of 4. A change from one interval to another is no hole.
    """
    distances = np.diff(times)
    holes = np.asarray(distances > LONGEST_INTERVAL + TOLERANCE)
    if len(distances) > 2:
        beside = np.maximum(distances[:-2], distances[2:])
        holes[1:-1] |= distances[1:-1] > HOLE_RATIO * beside
    return holes


def missing_funding_events(times: Times, start_ns: int, end_ns: int, rate: float) -> tuple[Records, list[Hole]]:
    """Return the default events in [start_ns, end_ns) that stand in for what a history lacks, and where it lacks them.

    An event of the default rate stands in from one interval after the last event before it, so that no payment is made
    twice, and until the next event. Parts of the period before the first and after the last event are no holes, but
    their events are returned too.

    Parameters
    ----------
    times : array of int64
        Times of the history's events, ns UTC, ascending, at least one.
    rate : float
        Per 8 hours.
    """
    default = default_funding_events(start_ns, end_ns, rate)
    distances, holes = np.diff(times), find_holes(times)
    due = times + _intervals(distances, holes) - TOLERANCE  # of the event after each one, at the earliest
    ends = np.append(np.where(holes, times[1:] - TOLERANCE, times[:-1]), np.iinfo(np.int64).max)
    last = np.searchsorted(times, default["ts"] + TOLERANCE, side="right") - 1
    inside = (default["ts"] >= due[last]) & (default["ts"] < ends[last])
    missing = default[np.where(last < 0, True, inside)]
    found = [
        Hole(int(times[i]), int(times[i + 1]), int(((missing["ts"] > times[i]) & (missing["ts"] < times[i + 1])).sum()))
        for i in np.flatnonzero(holes)
    ]
    return missing, [hole for hole in found if hole.events]


def _intervals(distances: Times, holes: npt.NDArray[np.bool_]) -> Times:
    """The interval in force after each event: the last distance before it that is no hole, else the next one."""
    known = np.flatnonzero(~holes)
    if not len(known):
        return np.full(len(distances) + 1, LONGEST_INTERVAL, dtype=np.int64)
    before = np.searchsorted(known, np.arange(len(distances) + 1)) - 1
    return np.asarray(np.minimum(distances[known[np.maximum(before, 0)]], LONGEST_INTERVAL), dtype=np.int64)
