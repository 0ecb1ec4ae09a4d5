"""What comes from the market, judged before anybody trades on it; and how prices are told to the session."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from qtsim.live.history import Bar
from qtsim.live.orders import LastPrice, MarkPrice
from qtsim.live.trader import Price

SPIKE = 10.0
"""A price this many times another is no price."""


class Verdict(Enum):
    """What a closed bar is, seen after the ones before it."""

    GOOD = "good"
    DUPLICATE = "duplicate"
    REVISED = "revised"  # the same bar with other figures
    GAP = "gap"  # bars before it are missing
    LATE = "late"  # older than the last
    BAD = "bad"  # no bar: not finite, not positive, high below low, off the grid


def judge_bar(bar: Bar, last: Bar | None, timeframe: int) -> Verdict:
    """What a bar is after `last`, the newest one known. timeframe: ns."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(math.isfinite(price) and price > 0 for price in prices) or not (
        math.isfinite(bar.volume) and bar.volume >= 0
    ):
        return Verdict.BAD
    if bar.high < max(bar.open, bar.close, bar.low) or bar.low > min(bar.open, bar.close):
        return Verdict.BAD
    if bar.ts_open % timeframe:
        return Verdict.BAD
    if last is None:
        return Verdict.GOOD
    if bar.close > SPIKE * last.close or last.close > SPIKE * bar.close:
        return Verdict.BAD
    if bar.ts_open == last.ts_open:
        return Verdict.DUPLICATE if bar == last else Verdict.REVISED
    if bar.ts_open < last.ts_open:
        return Verdict.LATE
    return Verdict.GOOD if bar.ts_open == last.ts_open + timeframe else Verdict.GAP


@dataclass
class Prices:
    """Trades and mark prices as they come, turned into instants: all symbols' prices of one moment together."""

    symbols: frozenset[str]
    mark_is_last: bool = False  # there is no mark price: the last price stands in
    last: dict[str, float] = field(default_factory=dict)
    mark: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    newest: int = -1
    _traded: dict[str, float] = field(default_factory=dict)
    _moved: set[str] = field(default_factory=set)
    _ts: int = -1

    def take(self, event: LastPrice | MarkPrice) -> list[tuple[int, list[Price]]]:
        """Add a price. Returns instants that are complete: another trade of a symbol begins the next."""
        if event.symbol not in self.symbols:
            return []
        value = event.price if isinstance(event, LastPrice) else event.mark
        known = (self.last if isinstance(event, LastPrice) else self.mark).get(event.symbol)
        if not math.isfinite(value) or value <= 0 or (known and (value > SPIKE * known or known > SPIKE * value)):
            self.refused += 1
            return []
        if event.ts < self._ts and isinstance(event, MarkPrice):
            return []  # an older mark than what is known
        done: list[tuple[int, list[Price]]] = []
        if isinstance(event, LastPrice):
            if self._traded.get(event.symbol, value) != value:
                done = self.rest()
            self._traded[event.symbol] = value
            self.last[event.symbol] = value
        else:
            self.mark[event.symbol] = value
        self._moved.add(event.symbol)
        self._ts = max(self._ts, event.ts)
        self.newest = max(self.newest, event.ts)
        return done

    def rest(self) -> list[tuple[int, list[Price]]]:
        """The instant that is being collected; none where nothing has moved, or nothing has a whole price."""
        prices = [self._price(symbol) for symbol in sorted(self._moved) if symbol in self.last]
        whole = [price for price in prices if not math.isnan(price[2])]
        ts = self._ts
        self._traded, self._moved = {}, set()
        return [(ts, whole)] if whole else []

    def _price(self, symbol: str) -> Price:
        last = self.last[symbol]
        return symbol, last, last if self.mark_is_last else self.mark.get(symbol, math.nan)


def missing_opens(last: int | None, bar: Bar, timeframe: int) -> Iterable[int]:
    """Opens of the bars between the last one known and `bar`."""
    return range(last + timeframe, bar.ts_open, timeframe) if last is not None else ()
