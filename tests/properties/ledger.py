"""An independent book-keeper: replays fills and funding in the order of events and knows the account at every step.

It reads what a run journalled and the market's bars, and uses nothing of the engine's own accounting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qtsim.core.enums import FillAt, FillKind, FundingInclusive, MarginMode, OrderType, PositionMode, Reason
from qtsim.core.records import Records
from qtsim.sim.journals import Journals
from tests.properties.markets import Case

FUNDED_BOTH, AT_CLOSE, FUNDED, MARKED, AT_OPEN, FUNDED_ENTRY, AFTER_ENTRY, MARKED_LAST = range(8)
"""Phases of one instant: funding that counts both ends, the last points of ending bars, funding, equity, the open
point with signals and entries, funding of fresh entries where both ends count, exits at the start of the path of
what has just been entered."""
SIGNALLED = (Reason.ENTRY, Reason.SIGNAL, Reason.REVERSE)


@dataclass
class Holding:
    """One open position."""

    symbol: int
    side: int
    lots: int
    qty: float
    entry_price: float
    margin: float
    settled: int = -1
    """Time of the last fill or funding payment."""
    is_doubtful: bool = False
    """A partial close and a payment fell on one nanosecond; which came first decides how much margin is left."""


@dataclass
class Ledger:
    """Cash and holdings."""

    wallet: float
    leverage: dict[int, float]
    is_cross: bool = False
    is_hedge: bool = False
    open: dict[int, Holding] = field(default_factory=dict)

    def apply_fill(self, fill: Any) -> None:
        """Book one execution; exits only reduce."""
        trade = int(fill["trade_id"])
        self.wallet -= float(fill["fee"]) + float(fill["liq_fee"])
        if fill["kind"] == FillKind.ENTRY:
            if trade in self.open:
                self._add_part(fill)
                return
            beside = [held.side for held in self.open.values() if held.symbol == fill["symbol"]]
            allowed = [-fill["side"]] if self.is_hedge else []
            assert not set(beside) - set(allowed), "one position per symbol, in hedge mode per symbol and side"
            margin = float(fill["qty"]) * float(fill["price"]) / self.leverage[trade]
            self.open[trade] = Holding(
                int(fill["symbol"]),
                int(fill["side"]),
                int(fill["lots"]),
                float(fill["qty"]),
                float(fill["price"]),
                margin,
            )
            return
        held = self.open[trade]
        assert held.side == fill["side"]
        assert 0 < fill["lots"] <= held.lots, "an exit closes something, and no more than is open"
        self.wallet += held.side * float(fill["qty"]) * (float(fill["price"]) - held.entry_price)
        left = held.lots - int(fill["lots"])
        held.is_doubtful |= held.settled == int(fill["ts"])
        held.settled = int(fill["ts"])
        held.margin *= left / held.lots
        held.qty *= left / held.lots
        held.lots = left
        if left == 0:
            del self.open[trade]

    def _add_part(self, fill: Any) -> None:
        """A further part of an entry: the entry price is the volume-weighted one."""
        held = self.open[int(fill["trade_id"])]
        assert held.side == fill["side"]
        qty, price = float(fill["qty"]), float(fill["price"])
        held.margin += qty * price / self.leverage[int(fill["trade_id"])]
        held.entry_price = (held.entry_price * held.qty + price * qty) / (held.qty + qty)
        held.qty += qty
        held.lots += int(fill["lots"])
        held.is_doubtful |= held.settled == int(fill["ts"])
        held.settled = int(fill["ts"])

    def apply_funding(self, row: Any, *, is_crowded: bool) -> None:
        """Book one payment: wallet and isolated margin alike; a cross margin stays. is_crowded: a fill at that time."""
        held = self.open[int(row["trade_id"])]
        expected = -held.side * float(row["rate"]) * float(row["mark"]) * held.qty
        assert np.isclose(row["amount"], expected, rtol=1e-9, atol=1e-12) or is_crowded
        self.wallet += float(row["amount"])
        if not self.is_cross:
            held.margin += float(row["amount"])
        held.is_doubtful |= held.settled == int(row["ts"])
        held.settled = int(row["ts"])

    def unrealized(self, marks: np.ndarray) -> float:
        """Of all holdings at the symbols' marks."""
        return sum(h.side * h.qty * (float(marks[h.symbol]) - h.entry_price) for h in self.open.values())

    def margin(self) -> float:
        """Margin in use."""
        return sum(held.margin for held in self.open.values())


@dataclass(frozen=True)
class Step:
    """One thing that happened. `ledger` is the state before it and changes with the replay."""

    ts: int
    phase: int
    row: Any
    ledger: Ledger


def replay(case: Case, run: Journals) -> Iterator[Step]:
    """Yield each fill, funding payment and equity mark in order, before it is booked.

    Raises AssertionError where the journal of fills is not in the order of events.
    """
    phased = []
    entries = {int(row["trade_id"]): row for row in run.fills[::-1] if row["kind"] == FillKind.ENTRY}
    for k, fill in enumerate(run.fills):
        phased.append((int(fill["ts"]), _phase(case, fill, entries[int(fill["trade_id"])]), 0, k, fill))
    both_ends = case.params["costs"]["funding_inclusive"][0] == FundingInclusive.BOTH
    boundaries = set(case.market.boundaries.tolist())
    crowded = {(int(row["ts"]), int(row["trade_id"])) for row in run.fills}
    for k, row in enumerate(run.funding):
        phase = FUNDED
        if int(entries[int(row["trade_id"])]["ts"]) == int(row["ts"]):
            phase = FUNDED_ENTRY
        elif both_ends and int(row["ts"]) in boundaries:
            phase = FUNDED_BOTH
        phased.append((int(row["ts"]), phase, 1, k, row))
    fills_at_close = case.params["sim"]["fill_at"][0] == FillAt.CLOSE
    for k, row in enumerate(run.equity):
        is_last = k + 1 == len(case.market.boundaries)
        phased.append((int(row["ts"]), MARKED_LAST if fills_at_close and is_last else MARKED, 2, k, row))
    phased.sort(key=lambda item: item[:4])
    order = [k for _, _, kind, k, _ in phased if kind == 0]
    is_cross = case.params["account"]["mode_margin"][0] == MarginMode.CROSS
    is_hedge = case.params["account"]["mode_position"][0] == PositionMode.HEDGE
    ledger = Ledger(case.balance, leverages(run), is_cross, is_hedge)
    seen = [k for _, _, kind, k, _ in phased if kind == 0]
    assert seen == sorted(order), "fills are journalled in the order of events"
    for ts, phase, kind, _, row in phased:
        yield Step(ts, MARKED if phase == MARKED_LAST else phase, row, ledger)
        if kind == 0:
            ledger.apply_fill(row)
        elif kind == 1:
            ledger.apply_funding(row, is_crowded=(ts, int(row["trade_id"])) in crowded)


def _phase(case: Case, fill: Any, entry: Any) -> int:
    """Before or after equity is marked? What belongs to the bar that ends now comes before, but for signals."""
    if fill["kind"] != FillKind.ENTRY and (fill["ts"], fill["bar"]) == (entry["ts"], entry["bar"]):
        return AFTER_ENTRY  # a stop that rounding to a coarse tick left at the entry itself
    bar = case.market.bars[case.market.bar_offsets[int(fill["symbol"])] + int(fill["bar"])]
    if int(fill["ts"]) == int(bar["ts_open"]):
        return AT_OPEN
    is_signalled = case.params["sim"]["fill_at"][0] == FillAt.CLOSE and int(fill["reason"]) in SIGNALLED
    if fill["kind"] == FillKind.ENTRY and case.params["entry"]["order_type"][0] == OrderType.LIMIT:
        is_signalled = False  # a limit at or beyond its signal's close waits for the path
    return AT_OPEN if is_signalled else AT_CLOSE


def leverages(run: Journals) -> dict[int, float]:
    """Leverage by trade, closed or still open."""
    held = run.positions[run.positions["side"] != 0]
    return {int(row["trade_id"]): float(row["leverage"]) for rows in (run.trades, held) for row in rows}


def marks_before(case: Case, ts: int, *, with_open: bool = False) -> np.ndarray:
    """The last mark of each symbol known at a boundary: the close of the last bar that ended, NaN before any.

    with_open: bars that open at this instant already show their first mark.
    """
    marks = np.full(len(case.symbols), np.nan)
    for i, item in enumerate(case.inputs):
        bars = item.bars
        prefix = "mark_" if item.has_mark else ""
        ended = int(np.searchsorted(bars["ts_open"] + case.market.timeframe_ns, ts, side="right"))
        if ended:
            marks[i] = bars[f"{prefix}close"][ended - 1]
        if with_open and ended < len(bars) and bars["ts_open"][ended] == ts:
            marks[i] = bars[f"{prefix}open"][ended]
    return marks


def rows_of(rows: Records, trade: int) -> Records:
    """Rows of one trade."""
    return rows[rows["trade_id"] == trade]
