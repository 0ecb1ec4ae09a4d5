"""Bars and trades as market events, in the simulator's order at every instant.

A bar unfolds into the simulator's four points at 0, 1/3, 2/3 and 1 of its time, the extreme nearer to the open first.
At one instant come: the last points of bars that end, funding, the closed bars, the first points of bars that begin.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from qtsim.core.records import Records
from qtsim.emulator.decimals import exact
from qtsim.emulator.market import MS, Bar, BarsClosed, FundingDue, FundingRow, MarketEvent, Point, Points, bar_volumes
from qtsim.sim.paths import is_high_nearer_nb, on_segment_nb, segment_time_nb, unfold_bar_nb

ON_PATH, FUNDING, CLOSED, FIRST = range(4)
"""What comes first at one instant: a bar's later points, payments, closed bars, then first points and trades."""


@dataclass
class SymbolFeed:
    """What happens to one symbol."""

    symbol: str
    bars: Records
    """bar_dt, ascending; prices of mark too."""
    lot: Decimal
    has_mark: bool = False
    funding: Records | None = None
    """funding_dt, ascending."""
    previous: Decimal | None = field(default=None, compare=False)

    def payments(self, base_ns: int = 0) -> Iterator[FundingDue]:
        """Its funding, each with the time of the next.

        base_ns: length of the bars; a payment whose mark was not recorded is then made on the mark of the path at its
        time, at a bar's open on the mark that it opens with, as in the simulator. 0: on the mark that was shown last.
        """
        events = self.funding if self.funding is not None else ()
        times = [int(event["ts"]) for event in events]
        for k, event in enumerate(events):
            recorded = float(event["mark"])
            if np.isnan(recorded) and base_ns:
                recorded = self._mark_at(times[k], base_ns)
            mark = None if np.isnan(recorded) else exact(recorded)
            later = times[k + 1] // MS if k + 1 < len(times) else 0
            yield FundingDue(times[k], self.symbol, exact(float(event["rate"])), mark, later)

    def _mark_at(self, ts: int, base_ns: int) -> float:
        """Mark of the path at a time; NaN where it is what was shown last."""
        row = int(np.searchsorted(self.bars["ts_open"], ts, side="right")) - 1
        opened = int(self.bars["ts_open"][row]) if row >= 0 else ts + 1
        points = [int(segment_time_nb(opened, base_ns, k)) for k in range(4)]
        if ts == opened and self.has_mark:
            return float(self.bars["mark_open"][row])
        if not points[0] < ts < points[3] or ts in points:
            return float("nan")
        _, marks = unfolded(self, self.bars[row])
        k = sum(ts > point for point in points) - 1
        share = (ts - points[k]) / (points[k + 1] - points[k])
        return float(on_segment_nb(float(marks[k]), float(marks[k + 1]), share))


Floats = npt.NDArray[np.float64]


def unfolded(feed: SymbolFeed, bar: Records) -> tuple[Floats, Floats]:
    """Last prices and marks of a bar's four points."""
    prices, marks = np.zeros(4), np.zeros(4)
    unfold_bar_nb(bar, bool(is_high_nearer_nb(bar)), feed.has_mark, prices, marks)
    return prices, marks


def walk_bars(feeds: Sequence[SymbolFeed], base_ns: int) -> Iterator[MarketEvent]:
    """Events of bars of one length that lie on one grid, and funding, ascending.

    feeds: in any order; at one instant symbols come in name order.
    """
    ordered = sorted(feeds, key=lambda feed: feed.symbol)
    starts = np.unique(np.concatenate([feed.bars["ts_open"] for feed in ordered])) if ordered else np.zeros(0, "i8")
    rows = {feed.symbol: {int(ts): k for k, ts in enumerate(feed.bars["ts_open"])} for feed in ordered}
    paths = (event for ts in starts for event in _bars_at(ordered, rows, int(ts), base_ns))
    payments = [((due.ts_ns, FUNDING, due) for due in feed.payments(base_ns)) for feed in ordered]
    merged = heapq.merge(paths, *payments, key=lambda item: (item[0], item[1]))
    return (event for _, _, event in merged)


Ranked = tuple[int, int, MarketEvent]


def _bars_at(feeds: Sequence[SymbolFeed], rows: dict[str, dict[int, int]], ts: int, base_ns: int) -> Iterator[Ranked]:
    """All that the bars which open at `ts` do until they close."""
    opened = [(feed, feed.bars[rows[feed.symbol][ts]]) for feed in feeds if ts in rows[feed.symbol]]
    paths = [_points(feed, bar) for feed, bar in opened]
    for k in range(4):
        at = int(segment_time_nb(ts, base_ns, k))
        yield at, ON_PATH if k else FIRST, Points(at, tuple(path[k] for path in paths))
    end = ts + base_ns
    bars = tuple((feed.symbol, closed_bar(bar)) for feed, bar in opened)
    marks = tuple((feed.symbol, closed_bar(bar, "mark_")) for feed, bar in opened if feed.has_mark)
    yield end, CLOSED, BarsClosed(end, bars, marks)


def _points(feed: SymbolFeed, bar: Records) -> list[Point]:
    prices, marks = unfolded(feed, bar)
    found = []
    for price, mark, qty in zip(prices, marks, bar_volumes(float(bar["volume"]), feed.lot), strict=True):
        last = exact(float(price))
        fell = feed.previous is not None and last < feed.previous
        feed.previous = last
        found.append(Point(feed.symbol, last, exact(float(mark)), max(qty, feed.lot), fell))
    return found


def closed_bar(bar: Records, prefix: str = "") -> Bar:
    """A row of bar_dt as the exchange keeps it; prefix `mark_`: its mark prices, without volume."""
    opened, high, low, close = (float(bar[f"{prefix}{name}"]) for name in ("open", "high", "low", "close"))
    return Bar(int(bar["ts_open"]) // MS, opened, high, low, close, 0.0 if prefix else float(bar["volume"]))


def closed_bars(rows: Records, prefix: str = "") -> list[Bar]:
    """Rows of bar_dt as history."""
    return [closed_bar(bar, prefix) for bar in rows]


def funding_rows(events: Records) -> list[FundingRow]:
    """Payments made before the start, as history; without a recorded mark price it is 0."""
    return [
        FundingRow(
            int(event["ts"]) // MS,
            exact(float(event["rate"])),
            exact(0.0 if np.isnan(event["mark"]) else float(event["mark"])),
        )
        for event in events
    ]


def walk_trades(
    points: Iterable[Points], bars: Iterable[BarsClosed], payments: Iterable[FundingDue]
) -> Iterator[MarketEvent]:
    """Single trades, the bars that they make, and funding, each ascending, in the order of time.

    A trade at the very time at which a bar ends belongs to the next bar.
    """
    ranked: tuple[Iterable[Ranked], ...] = (
        ((event.ts_ns, FIRST, event) for event in points),
        ((event.ts_ns, CLOSED, event) for event in bars),
        ((event.ts_ns, FUNDING, event) for event in payments),
    )
    return (event for _, _, event in heapq.merge(*ranked, key=lambda item: (item[0], item[1])))
