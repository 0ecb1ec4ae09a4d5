"""What the market does to the exchange: price points, closed bars, funding; and what is known of each symbol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from qtsim.emulator.decimals import ZERO, exact

MS = 1_000_000
"""Nanoseconds in a millisecond."""
MINUTE_MS = 60_000
INTERVALS_MS: dict[str, int] = {
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * 60 * MINUTE_MS for n in (1, 2, 4, 6, 8, 12)},
    **{f"{n}d": n * 24 * 60 * MINUTE_MS for n in (1, 3)},
    "1w": 7 * 24 * 60 * MINUTE_MS,
}
"""Kline intervals that the exchange names and that are whole milliseconds."""
MONDAY_MS = 4 * 24 * 60 * MINUTE_MS
"""Weekly bars begin on Mondays; 1970-01-01 was a Thursday."""


@dataclass(frozen=True, slots=True)
class Point:
    """One symbol's new last price and mark price."""

    symbol: str
    price: Decimal
    mark: Decimal
    qty: Decimal = ZERO
    """Traded since the point before, base currency; no trade is shown where it is 0."""
    buyer_is_maker: bool = False


@dataclass(frozen=True)
class Points:
    """All symbols whose price changes at one instant; they change together, then the exchange acts on them."""

    ts_ns: int
    points: tuple[Point, ...]


class Bar(NamedTuple):
    """A closed bar. Prices and volume are floats, as the store has them."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class BarsClosed:
    """Bars of the base interval that end at one instant, and their mark bars where there are any."""

    ts_ns: int
    bars: tuple[tuple[str, Bar], ...]
    marks: tuple[tuple[str, Bar], ...] = ()


@dataclass(frozen=True)
class FundingDue:
    """A funding payment of one symbol; without a recorded mark price the current one counts."""

    ts_ns: int
    symbol: str
    rate: Decimal
    mark: Decimal | None = None
    next_ms: int = 0


MarketEvent: TypeAlias = Points | BarsClosed | FundingDue


class FundingRow(NamedTuple):
    """A payment that has been made."""

    time_ms: int
    rate: Decimal
    mark: Decimal


class TradeRow(NamedTuple):
    """A public trade."""

    id: int
    time_ms: int
    price: Decimal
    qty: Decimal
    buyer_is_maker: bool


def bar_start(ms: int, interval_ms: int) -> int:
    """Open time of the bar of this length that holds the instant."""
    anchor = MONDAY_MS if interval_ms == INTERVALS_MS["1w"] else 0
    return (ms - anchor) // interval_ms * interval_ms + anchor


def joined(open_ms: int, rows: Sequence[Bar]) -> Bar:
    """One bar of several that follow one another."""
    return Bar(
        open_ms,
        rows[0].open,
        max(row.high for row in rows),
        min(row.low for row in rows),
        rows[-1].close,
        sum(row.volume for row in rows),
    )


@dataclass
class BarSeries:
    """Bars of one symbol in the base interval, the last of them perhaps still open; coarser ones are made of them."""

    base_ms: int
    rows: list[Bar] = field(default_factory=list)
    open_bar: Bar | None = None

    def show_price(self, ts_ms: int, price: float, qty: float) -> None:
        """A price of the bar that is open at this time. At the very end of a bar it is still that bar's."""
        bar = self.open_bar
        if bar is None:
            if self.rows and ts_ms < self.rows[-1].open_ms + self.base_ms:
                return  # the bar is closed already; the next one opens with its own first price
            bar = Bar(bar_start(ts_ms, self.base_ms), price, price, price, price, 0.0)
        self.open_bar = Bar(bar.open_ms, bar.open, max(bar.high, price), min(bar.low, price), price, bar.volume + qty)

    def close(self, bar: Bar) -> None:
        """The bar as it was recorded replaces what was seen of it."""
        self.rows.append(bar)
        self.open_bar = None

    def window(self, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int) -> list[Bar]:
        """Bars that open in [start, end], ascending: the first `limit` with a start, else the last."""
        # so many base rows make at least so many bars; gaps make it more
        needed = limit * max(1, interval_ms // self.base_ms)
        last = MUCH_LATER if end_ms is None else bar_start(end_ms, interval_ms) + interval_ms - 1
        if start_ms is not None:
            first = bar_start(start_ms + interval_ms - 1, interval_ms)
            begin = _position(self.rows, first)
            end = min(_position(self.rows, last + 1), begin + needed)
        else:
            first = -MUCH_LATER
            end = _position(self.rows, last + 1)
            begin = max(0, end - needed - interval_ms // self.base_ms)  # the first of them may be cut
        rows = self.rows[begin:end]
        if self.open_bar is not None and end == len(self.rows) and first <= self.open_bar.open_ms <= last:
            rows.append(self.open_bar)
        found = self._joined(rows, interval_ms)
        return found[:limit] if start_ms is not None else found[-limit:]

    def latest(self, interval_ms: int) -> Bar | None:
        """The newest bar of an interval, closed or not."""
        found = self.window(interval_ms, None, None, 1)
        return found[-1] if found else None

    def _joined(self, rows: list[Bar], interval_ms: int) -> list[Bar]:
        if interval_ms == self.base_ms:
            return rows
        groups: dict[int, list[Bar]] = {}
        for row in rows:
            groups.setdefault(bar_start(row.open_ms, interval_ms), []).append(row)
        return [joined(start, members) for start, members in groups.items()]


MUCH_LATER = 1 << 60
"""Later than any time in milliseconds."""


def _position(rows: Sequence[Bar], ms: int) -> int:
    """Row of the first bar that opens at `ms` or later."""
    lo, hi = 0, len(rows)
    while lo < hi:
        middle = (lo + hi) // 2
        if rows[middle].open_ms < ms:
            lo = middle + 1
        else:
            hi = middle
    return lo


TRADES_KEPT = 1000
"""Public trades that can be asked for."""


@dataclass
class SymbolMarket:
    """What is known of one symbol."""

    symbol: str
    bars: BarSeries
    marks: BarSeries
    price: Decimal | None = None
    mark: Decimal | None = None
    ts_ms: int = 0
    funding: list[FundingRow] = field(default_factory=list)
    next_funding_ms: int = 0
    trades: list[TradeRow] = field(default_factory=list)
    next_trade: int = 1

    def show(self, ts_ms: int, point: Point) -> TradeRow | None:
        """Take over a point; the public trade that it shows, if there is one."""
        self.price, self.mark, self.ts_ms = point.price, point.mark, ts_ms
        self.bars.show_price(ts_ms, float(point.price), float(point.qty))
        self.marks.show_price(ts_ms, float(point.mark), 0.0)
        if not point.qty:
            return None
        trade = TradeRow(self.next_trade, ts_ms, point.price, point.qty, point.buyer_is_maker)
        self.next_trade += 1
        self.trades.append(trade)
        if len(self.trades) > 2 * TRADES_KEPT:
            del self.trades[:-TRADES_KEPT]
        return trade

    @property
    def last_rate(self) -> Decimal:
        """Rate of the last payment; no estimate of the next is made."""
        return self.funding[-1].rate if self.funding else ZERO


def load_bars(series: BarSeries, bars: Iterable[Bar]) -> None:
    """Add closed history before the first event."""
    series.rows.extend(bars)


def bar_volumes(volume: float, lot: Decimal, parts: int = 4) -> list[Decimal]:
    """A bar's volume over its points in whole lots; the last takes the remainder, none is below 0."""
    whole = exact(float(volume))
    share = whole / parts // lot * lot
    return [*[share] * (parts - 1), max(ZERO, whole - share * (parts - 1))]
