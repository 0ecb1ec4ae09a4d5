"""What a stored series lacks, as spans of time, and which archives may hold it. Pure functions over int64 ns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from qtsim.data.download.archive import Archive, daily, monthly, months_between
from qtsim.data.frames import Times
from qtsim.data.funding import LONGEST_INTERVAL, TOLERANCE, find_holes
from qtsim.data.timeframes import DAY, grid_anchor_ns

Span: TypeAlias = tuple[int, int]
"""[start, end), ns."""


def missing_bars(times: Times, step: int, start: int, end: int) -> list[Span]:
    """Return the spans of bars that open in [start, end) and are not there; a span ends where the next bar there opens.

    Parameters
    ----------
    times : array of int64
        Opens of the bars there are, ascending. Bars longer than a day count from the first of them.
    step : int
        Length of a bar.
    """
    anchor = int(times[0]) if len(times) else grid_anchor_ns(step)
    first = anchor - (anchor - start) // step * step
    wanted: Times = np.arange(first, end, step, dtype=np.int64)
    if len(times):
        at = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
        wanted = wanted[times[at] != wanted]
    if not len(wanted):
        return []
    breaks = np.flatnonzero(np.diff(wanted) != step) + 1
    return [(int(part[0]), int(part[-1]) + step) for part in np.split(wanted, breaks)]


def missing_events(times: Times, start: int, end: int) -> list[Span]:
    """Return the spans of [start, end) in which funding events are missing: before the first, in holes, after the last.

    A span begins after the event before it and ends at the one after it. How often a symbol pays changes with time:
    what is missing at the end is judged by the last interval, holes by the intervals beside them.
    """
    inside = times[(times >= start) & (times < end)]
    if not len(inside):
        return [(start, end)] if end > start else []
    spans: list[Span] = []
    if int(inside[0]) - start > LONGEST_INTERVAL + TOLERANCE:
        spans.append((start, int(inside[0])))
    spans += [(int(inside[i]) + 1, int(inside[i + 1])) for i in np.flatnonzero(find_holes(inside))]
    interval = min(int(inside[-1] - inside[-2]), LONGEST_INTERVAL) if len(inside) > 1 else LONGEST_INTERVAL
    if int(inside[-1]) + interval < end:
        spans.append((int(inside[-1]) + 1, end))
    return spans


def monthly_archives(kind: str, symbol: str, timeframe: str, spans: Iterable[Span], now: int) -> list[Archive]:
    """Return the archives of the months that have ended and that spans touch, oldest first."""
    starts = sorted({month for start, end in spans for month in months_between(start, end)})
    found = [monthly(kind, symbol, timeframe, month) for month in starts]
    return [archive for archive in found if archive.end <= now]


def daily_archives(kind: str, symbol: str, timeframe: str, spans: Iterable[Span], now: int) -> list[Archive]:
    """Return the archives of the days that have ended and that spans touch, oldest first."""
    days = sorted({day for start, end in spans for day in range(start // DAY * DAY, end, DAY)})
    return [daily(kind, symbol, timeframe, day) for day in days if day + DAY <= now]


def without(spans: Sequence[Span], taken: Iterable[Span]) -> list[Span]:
    """Return spans less every part that lies in one of `taken`."""
    left = list(spans)
    for start, end in taken:
        left = [
            part
            for a, b in left
            for part in (((a, b),) if end <= a or start >= b else ((a, min(start, b)), (max(end, a), b)))
            if part[0] < part[1]
        ]
    return left


def union(spans: Iterable[Span]) -> list[Span]:
    """Return spans with those that touch or overlap as one, ascending."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def joined(spans: Sequence[Span], length: int) -> list[Span]:
    """Return spans with neighbours joined as long as a joined one is at most `length` ns: one question for many."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and end - out[-1][0] <= length:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out
