"""The equity at every boundary, kept short: over a stretch of quiet bars what is held does not change, only its mark.

A stretch is one row, and one for each position held over it; written out, it is the rows that marking to market at each
of its boundaries would have written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qtsim.core._jit import kernel
from qtsim.core.records import Record, Records, equity_row_dt
from qtsim.sim.rows import doubled

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STRETCHES, HELD = range(2)
NO_ROW = -1
FIRST_STRETCHES = 256

stretch_dt = np.dtype(
    [
        ("ts", "i8"),  # of its first boundary
        ("step", "i8"),  # between two of them, ns
        ("n", "i8"),  # boundaries
        ("wallet", "f8"),
        ("margin", "f8"),  # in use
        ("held_first", "i8"),  # rows of what is held
        ("held_end", "i8"),
    ],
    align=True,
)
held_dt = np.dtype(
    [
        ("side", "i8"),
        ("qty", "f8"),
        ("entry_price", "f8"),
        ("mark", "f8"),  # at the first boundary
        ("bar", "i8"),  # row of the bar that opens there; NO_ROW: its symbol is in a gap, and the mark stands
    ],
    align=True,
)


class Curve(NamedTuple):
    """Stretches of quiet bars as a run has written them."""

    stretches: Records  # stretch_dt
    held: Records  # held_dt
    scratch: Floats  # equity at the boundaries of the stretch that is being looked at
    counts: Ints  # rows used of stretches and held


def new_curve(most: int, slots: int) -> Curve:
    """An empty curve. most: boundaries of the longest stretch; slots: positions that can be held at once."""
    return Curve(
        stretches=np.zeros(FIRST_STRETCHES, stretch_dt),
        held=np.zeros(FIRST_STRETCHES + slots, held_dt),
        scratch=np.zeros(most),
        counts=np.zeros(2, dtype=np.int64),
    )


def longer_curve(curve: Curve) -> Curve:
    """The same curve with twice the room."""
    return curve._replace(stretches=doubled(curve.stretches), held=doubled(curve.held))


@kernel
def has_curve_room_nb(curve: Curve, slots: int) -> bool:
    """Does one more stretch fit?"""
    return curve.counts[STRETCHES] < len(curve.stretches) and curve.counts[HELD] + slots <= len(curve.held)


@kernel
def mark_held_nb(equity: Floats, first: int, n: int, held: Record, marks: Floats) -> None:
    """Add one position's unrealized PnL to the equity at boundaries [first, n) of a stretch."""
    signed = held["side"] * held["qty"]
    entry = held["entry_price"]
    if held["bar"] == NO_ROW:
        unrealized = signed * (held["mark"] - entry)
        for k in range(first, n):
            equity[k] += unrealized
        return
    if first == 0:
        equity[0] += signed * (held["mark"] - entry)
    row = held["bar"] - 1
    for k in range(max(first, 1), n):
        equity[k] += signed * (marks[row + k] - entry)


@kernel
def write_out_nb(out: Records, at: int, stretch: Record, held: Records, marks: Floats) -> None:
    """Write the rows of one stretch: every sum over the positions in their order, as in marking to market."""
    n = stretch["n"]
    for k in range(n):
        row = out[at + k]
        row["ts"] = stretch["ts"] + k * stretch["step"]
        row["equity"] = stretch["wallet"]
        row["wallet"] = stretch["wallet"]
        row["unrealized_pnl"] = 0.0
        row["margin"] = stretch["margin"]
        row["notional"] = 0.0
        row["positions"] = stretch["held_end"] - stretch["held_first"]
    for h in range(stretch["held_first"], stretch["held_end"]):
        qty = held[h]["qty"]
        signed = held[h]["side"] * qty
        entry = held[h]["entry_price"]
        bar = held[h]["bar"]
        mark = held[h]["mark"]
        for k in range(n):
            row = out[at + k]
            unrealized = signed * (mark - entry)
            row["equity"] += unrealized
            row["unrealized_pnl"] += unrealized
            row["notional"] += qty * mark
            if bar != NO_ROW:
                mark = marks[bar + k]


@kernel
def write_whole_nb(out: Records, rows: Records, n_rows: int, curve: Curve, marks: Floats) -> None:
    """Merge the rows of boundaries that were visited with those of the stretches, by time."""
    at = 0
    visited = 0
    for s in range(curve.counts[STRETCHES]):
        stretch = curve.stretches[s]
        while visited < n_rows and rows[visited]["ts"] < stretch["ts"]:
            out[at] = rows[visited]
            visited += 1
            at += 1
        write_out_nb(out, at, stretch, curve.held, marks)
        at += stretch["n"]
    while visited < n_rows:
        out[at] = rows[visited]
        visited += 1
        at += 1


@dataclass(frozen=True)
class WholeCurve:
    """One row per boundary."""

    whole: Records  # equity_row_dt

    def rows(self) -> Records:
        """equity_row_dt, one row per boundary of the timeline."""
        return self.whole


@dataclass(frozen=True)
class ShortCurve:
    """Rows of the boundaries that were visited, and the stretches between them."""

    visited: Records  # equity_row_dt
    stretches: Records  # stretch_dt
    held: Records  # held_dt
    marks: Floats  # mark at each bar's close

    def rows(self) -> Records:
        """equity_row_dt, one row per boundary of the timeline."""
        if not len(self.stretches):
            return self.visited
        out = np.empty(len(self.visited) + int(self.stretches["n"].sum()), equity_row_dt)
        counts = np.array([len(self.stretches), len(self.held)], dtype=np.int64)
        curve = Curve(self.stretches, self.held, np.zeros(0), counts)
        write_whole_nb(out, self.visited, len(self.visited), curve, self.marks)
        return out
