"""How a bar becomes price points: open, first extreme, second extreme, close, at 0, 1/3, 2/3 and 1 of its time."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.records import Record, Records

SEGMENTS = 3


@kernel
def is_high_nearer_nb(bar: Record) -> bool:
    """Is the high nearer to the open than the low? Equal: no, low first."""
    return bar["high"] - bar["open"] < bar["open"] - bar["low"]


@kernel
def unfold_bar_nb(bar: Record, high_first: bool, has_mark: bool, prices: Records, marks: Records) -> None:
    """Write the four points of last price and mark; both run through their extremes in the same order.

    prices, marks: float64[4]. Without mark history the mark is the last price.
    """
    prices[0] = bar["open"]
    prices[3] = bar["close"]
    if high_first:
        prices[1] = bar["high"]
        prices[2] = bar["low"]
    else:
        prices[1] = bar["low"]
        prices[2] = bar["high"]
    if not has_mark:
        for k in range(4):
            marks[k] = prices[k]
        return
    marks[0] = bar["mark_open"]
    marks[3] = bar["mark_close"]
    if high_first:
        marks[1] = bar["mark_high"]
        marks[2] = bar["mark_low"]
    else:
        marks[1] = bar["mark_low"]
        marks[2] = bar["mark_high"]


@kernel
def segment_time_nb(ts_open: int, timeframe_ns: int, k: int) -> int:
    """Time of path point k (0 to 3), ns, rounded down."""
    return ts_open + timeframe_ns * k // SEGMENTS


@kernel
def on_segment_nb(start: float, end: float, share: float) -> float:
    """Price at a share (0 to 1) of a linear segment."""
    if share >= 1.0:
        return end
    return start + (end - start) * share


@kernel
def crossing_nb(start: float, end: float, level: float) -> float:
    """Share of the segment at which the price reaches `level`; the caller knows that it does."""
    if end == start:
        return 1.0
    return (level - start) / (end - start)


@kernel
def check_interval_nb(params: Record) -> int:
    """Time between two cycles by the clock, ns."""
    return int(params["exit"]["check_interval_s"] * 1e9)


@kernel
def next_multiple_nb(ts: int, interval_ns: int) -> int:
    """First multiple of the interval since 00:00 UTC strictly after `ts`; it starts anew each midnight."""
    day = 86_400_000_000_000
    midnight = ts // day * day
    after = midnight + ((ts - midnight) // interval_ns + 1) * interval_ns
    return min(after, midnight + day)
