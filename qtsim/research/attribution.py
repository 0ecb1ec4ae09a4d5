"""Why a live session earned another amount than its backtest: trades paired, the gap split, nothing left out.

Of a pair, with q quantity, s side (1 long, -1 short), r the price that the order was decided at, p the average price of
its fills, E entry and X exit, L live and B backtest:

    price PnL = q · s · (p_X - p_E)
    fill price: q_B · s · Δ((p_X - r_X) - (p_E - r_E))       Δ is live less backtest
    timing or data: q_B · s · Δ(r_X) and -q_B · s · Δ(r_E)   data where both decided at the same instant, or where
                                                             bars of the symbol had differed before
    size: (q_L - q_B) · s · (p_X - p_E)_L
    fees, funding: their differences

and the remainder is what these leave of Δ PnL: rounding. Both trades of a pair belong to one symbol and side and were
entered in the same bar, or in neighbouring ones. The PnL of a trade that only one side has goes as a whole into the
bucket that says why: the other side's order was rejected or denied, its signal was another one, its bars were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from qtsim.data.timeframes import format_ts

MS = 1_000_000
FOLLOWING_RULES = frozenset(("side already held", "opposite ignored", "expired"))
"""Denials that follow from something having happened earlier or later: timing."""
RESTING = frozenset(("hard_stop", "backup_stop", "liquidation"))
"""Exits that the exchange decides on: the price that they were decided at is that of the fill."""


@dataclass(frozen=True)
class Trip:
    """A closed trade, as either side knows it. Times ns UTC, money quote currency; fees ≥ 0, funding received > 0.

    `entry_ref`, `exit_ref`: prices that its orders were decided at, weighted by quantity. `decided`: instants and
    reasons of its exits.
    """

    symbol: str
    side: str
    entry_ts: int
    exit_ts: int
    qty: float
    entry_price: float
    entry_ref: float
    exit_price: float
    exit_ref: float
    price_pnl: float
    fees: float
    funding: float
    pnl: float
    exit_reason: str
    decided: tuple[tuple[int, str], ...] = ()

    @property
    def sign(self) -> int:
        """1 long, -1 short."""
        return 1 if self.side == "long" else -1


@dataclass(frozen=True)
class Denied:
    """A signal that became no position: `rule` says why; an order that the exchange refused has its words."""

    symbol: str
    side: str
    ts: int
    rule: str


@dataclass(frozen=True)
class Book:
    """What one side did: closed trades, entries that are still open, signals that it denied, and when it ran (ns)."""

    name: str
    trips: Sequence[Trip]
    denied: Sequence[Denied] = ()
    open_entries: Sequence[tuple[str, str, int]] = ()
    """(symbol, side, entry time)"""
    ran: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Evidence:
    """What tells a signal that differed from data that did."""

    asked: Mapping[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    """(symbol, close of its bar) → the sides that the live session's strategy asked for; a bar that it never saw is
    missing."""
    revised: Mapping[str, int] = field(default_factory=dict)
    """Symbol → open of the first bar that live was another one than in the backtest."""
    same_strategy: bool = True


@dataclass(frozen=True)
class Parts:
    """Parts of a gap, quote currency: what live earned more."""

    data: float = 0.0
    signal: float = 0.0
    timing: float = 0.0
    fill_price: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    rejects: float = 0.0
    size: float = 0.0
    remainder: float = 0.0

    def __add__(self, other: Parts) -> Parts:
        return Parts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def total(self) -> float:
        """Their sum."""
        return math.fsum(getattr(self, one.name) for one in fields(self))

    def to_dict(self) -> dict[str, float]:
        """By name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True)
class Line:
    """A pair, or a trade of one side alone, with its part of the gap. `why`: of a trade that is alone."""

    live: Trip | None
    backtest: Trip | None
    parts: Parts
    why: str = ""

    @property
    def gap(self) -> float:
        """What live earned more."""
        live, backtest = self.live, self.backtest
        return (live.pnl if live else 0.0) - (backtest.pnl if backtest else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        trip = self.live or self.backtest
        assert trip is not None
        return {
            "symbol": trip.symbol,
            "side": trip.side,
            "entry": format_ts(trip.entry_ts),
            "live_pnl": self.live.pnl if self.live else None,
            "backtest_pnl": self.backtest.pnl if self.backtest else None,
            "gap": self.gap,
            "why": self.why,
            "parts": self.parts.to_dict(),
        }


@dataclass(frozen=True)
class Attribution:
    """The gap of a session and all that makes it up."""

    lines: tuple[Line, ...]

    @property
    def live(self) -> float:
        """PnL of the live session's closed trades."""
        return math.fsum(line.live.pnl for line in self.lines if line.live)

    @property
    def backtest(self) -> float:
        """PnL of the backtest's closed trades."""
        return math.fsum(line.backtest.pnl for line in self.lines if line.backtest)

    @property
    def parts(self) -> Parts:
        """All lines' parts together."""
        total = Parts()
        for line in self.lines:
            total = total + line.parts
        return total

    @property
    def pairs(self) -> int:
        """How many trades both sides have."""
        return sum(line.live is not None and line.backtest is not None for line in self.lines)


def attribute(live: Book, backtest: Book, evidence: Evidence, timeframe: int) -> Attribution:
    """Pair trades and split the gap. timeframe: of the bars that both traded, ns."""
    pairs, alone_live, alone_backtest = paired(live.trips, backtest.trips, timeframe)
    lines = [Line(one, other, parts_of(one, other, evidence.revised.get(one.symbol))) for one, other in pairs]
    for trip in alone_live:
        bucket, why = why_extra(trip, backtest, evidence, timeframe)
        lines.append(Line(trip, None, Parts(**{bucket: trip.pnl}), why))
    for trip in alone_backtest:
        bucket, why = why_missing(trip, live, evidence, timeframe)
        lines.append(Line(None, trip, Parts(**{bucket: -trip.pnl}), why))
    return Attribution(tuple(sorted(lines, key=_entry_of)))


def _entry_of(line: Line) -> tuple[int, str, str]:
    trip = line.live or line.backtest
    assert trip is not None
    return trip.entry_ts, trip.symbol, trip.side


def paired(
    live: Sequence[Trip], backtest: Sequence[Trip], timeframe: int
) -> tuple[list[tuple[Trip, Trip]], list[Trip], list[Trip]]:
    """Trades of one symbol and side that were entered in the same bar, then those of neighbouring bars; the rest."""
    pairs: list[tuple[Trip, Trip]] = []
    left, right = sorted(live, key=lambda trip: trip.entry_ts), sorted(backtest, key=lambda trip: trip.entry_ts)
    for distance in (0, 1):
        for one in list(left):
            fitting = [
                other
                for other in right
                if (other.symbol, other.side) == (one.symbol, one.side)
                and abs(other.entry_ts // timeframe - one.entry_ts // timeframe) <= distance
            ]
            if fitting:
                other = min(fitting, key=lambda trip: (abs(trip.entry_ts - one.entry_ts), trip.entry_ts))
                pairs.append((one, other))
                left.remove(one)
                right.remove(other)
    return pairs, left, right


def parts_of(live: Trip, backtest: Trip, revised: int | None = None) -> Parts:
    """Parts of a pair's gap. revised: open of the first bar that was another one; what was decided later is data."""
    sign, qty = backtest.sign, backtest.qty
    entry_ref = -qty * sign * (live.entry_ref - backtest.entry_ref)
    exit_ref = qty * sign * (live.exit_ref - backtest.exit_ref)
    slipped_live = (live.exit_price - live.exit_ref) - (live.entry_price - live.entry_ref)
    slipped_backtest = (backtest.exit_price - backtest.exit_ref) - (backtest.entry_price - backtest.entry_ref)
    found = {"data": 0.0, "timing": 0.0}
    is_same_entry = abs(live.entry_ts - backtest.entry_ts) <= MS
    is_revised = revised is not None and revised < max(live.exit_ts, backtest.exit_ts)
    found["data" if is_same_entry or is_revised else "timing"] += entry_ref
    fill_price = qty * sign * (slipped_live - slipped_backtest)
    if is_same_exit(live, backtest):
        if live.exit_reason in RESTING:
            fill_price += exit_ref
        else:
            found["data"] += exit_ref
    else:
        found["data" if is_revised else "timing"] += exit_ref
    parts = Parts(
        **found,
        fill_price=fill_price,
        fees=backtest.fees - live.fees,
        funding=live.funding - backtest.funding,
        size=(live.qty - qty) * sign * (live.exit_price - live.entry_price),
    )
    return parts + Parts(remainder=live.pnl - backtest.pnl - parts.total)


def is_same_exit(live: Trip, backtest: Trip) -> bool:
    """Did both decide on their exits at the same instants, for the same reasons?"""
    if len(live.decided) != len(backtest.decided) or live.exit_reason != backtest.exit_reason:
        return False
    return all(
        one[1] == other[1] and abs(one[0] - other[0]) <= MS
        for one, other in zip(live.decided, backtest.decided, strict=True)
    )


def why_missing(trip: Trip, live: Book, evidence: Evidence, timeframe: int) -> tuple[str, str]:
    """(bucket, words) for a trade of the backtest that the live session has not."""
    close = trip.entry_ts // timeframe * timeframe
    if live.ran and not any(start <= trip.entry_ts <= end for start, end in live.ran):
        return "timing", "the session was not running"
    if found := _denial(trip, live.denied, timeframe):
        return _bucket_of(found), f"live: {found.rule}"
    if _is_open(trip, live, timeframe):
        return "timing", "still open live"
    asked = _asked(trip, evidence, timeframe)
    if asked is None:
        return "data", "the session never saw its bar"
    if trip.side not in asked:
        return _signal_or_data(trip, evidence, close, "live asked for no such entry")
    return "remainder", "no trace of it live"


def why_extra(trip: Trip, backtest: Book, evidence: Evidence, timeframe: int) -> tuple[str, str]:
    """(bucket, words) for a trade of the live session that the backtest has not."""
    close = trip.entry_ts // timeframe * timeframe
    if backtest.ran and not any(start <= trip.entry_ts <= end for start, end in backtest.ran):
        return "timing", "beyond the backtest's period"
    if found := _denial(trip, backtest.denied, timeframe):
        return _bucket_of(found), f"backtest: {found.rule}"
    if _is_open(trip, backtest, timeframe):
        return "timing", "still open in the backtest"
    asked = _asked(trip, evidence, timeframe)
    if asked is not None and trip.side not in asked:
        return "remainder", "no signal of the session asked for it"
    return _signal_or_data(trip, evidence, close, "the backtest asked for no such entry")


def _asked(trip: Trip, evidence: Evidence, timeframe: int) -> frozenset[str] | None:
    """Sides that the session asked for at the close before an entry, or at the one before: orders take their time."""
    close = trip.entry_ts // timeframe * timeframe
    known = [evidence.asked.get((trip.symbol, ts)) for ts in (close, close - timeframe)]
    return None if known[0] is None else frozenset().union(*(sides for sides in known if sides is not None))


def _signal_or_data(trip: Trip, evidence: Evidence, close: int, words: str) -> tuple[str, str]:
    revised = evidence.revised.get(trip.symbol)
    if revised is not None and revised < close:
        return "data", f"{words}; bars differ from {format_ts(revised)} on"
    if not evidence.same_strategy:
        return "signal", f"{words}; the strategy's source is another one"
    return "signal", words


def _denial(trip: Trip, denied: Iterable[Denied], timeframe: int) -> Denied | None:
    """The last denial of this trade's signal: in the bar of its entry or the one before, for orders take their time."""
    close = trip.entry_ts // timeframe * timeframe
    fitting = [
        one
        for one in denied
        if (one.symbol, one.side) == (trip.symbol, trip.side) and close - timeframe <= one.ts <= close + timeframe
    ]
    return max(fitting, key=lambda one: one.ts, default=None)


def _bucket_of(denied: Denied) -> str:
    return "timing" if denied.rule in FOLLOWING_RULES else "rejects"


def _is_open(trip: Trip, book: Book, timeframe: int) -> bool:
    return any(
        (symbol, side) == (trip.symbol, trip.side) and abs(ts // timeframe - trip.entry_ts // timeframe) <= 1
        for symbol, side, ts in book.open_entries
    )
