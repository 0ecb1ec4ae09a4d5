"""Funding events as the kernels read them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qtsim.core.records import Records, funding_dt
from qtsim.data.frames import Times, times_of
from qtsim.data.store import Store
from qtsim.data.timeframes import HOUR


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
