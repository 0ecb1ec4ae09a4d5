"""Stored trades as the path of a run: what the period has, their marks and quoted spreads, day by day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from qtsim.config.settings import Settings
from qtsim.core.records import Records
from qtsim.data.ticks import Quotes, TickStore, Trades
from qtsim.data.timeframes import format_ts
from qtsim.errors import DataError, UsageError
from qtsim.sim.market import Ints, Market
from qtsim.sim.path_trades import PathTrades, joined, no_trades, path_trades
from qtsim.sim.trades import TradeChunk, join_chunk, signal_times

DAY = 86_400_000_000_000


def refuse_without_quotes(settings: Settings) -> None:
    """Errors: UsageError for a slippage by the quoted spread where no quotes are read: on bars."""
    if settings.costs.slippage.model == "spread" and settings.sim.mode != "ticks":
        raise UsageError(
            f"costs.slippage.model = spread needs quotes, and with sim.mode = {settings.sim.mode} there are none; "
            "set sim.mode = ticks, or choose fixed, size or impact"
        )


def refuse_with_trades(settings: Settings, *, trains: bool) -> None:
    """Errors: UsageError for what has no meaning where trades are the path. trains: sizing model rl learns."""
    if settings.sim.fill_at != "next_open":
        raise UsageError(
            f"sim.fill_at = {settings.sim.fill_at}: with sim.mode = ticks a signal is filled at the first trade after "
            "its close; leave it at next_open"
        )
    if settings.sim.path != "nearest":
        raise UsageError(
            f"sim.path = {settings.sim.path}: trades have one order, so with sim.mode = ticks leave it at nearest"
        )
    if trains:
        raise UsageError(
            'sizing.model = "rl" is trained on bars; with sim.mode = ticks give a trained agent: --agent FILE'
        )


def traded_span(store: TickStore, symbol: str, start: int | None, end: int | None) -> tuple[int, int]:
    """Times of a symbol's first and last stored trade in [start, end), ns.

    Errors: DataError where there is none.
    """
    days = store.days_between(symbol, start, end)
    first = last = None
    for day in days:
        first = _edge(store, symbol, day, start, end, 0)
        if first is not None:
            break
    for day in reversed(days):
        last = _edge(store, symbol, day, start, end, -1)
        if last is not None:
            break
    if first is None or last is None:
        there = store.days(symbol)
        have = f"; there are trades from {format_ts(there[0])} on" if there else ""
        raise DataError(
            f"{symbol}: no trades in the period{have}; import them with qtsim data import PATH or download them with "
            "qtsim data download --trades"
        )
    return first, last


def _edge(store: TickStore, symbol: str, day: int, start: int | None, end: int | None, which: int) -> int | None:
    times = _within(store.read_day(symbol, day, quotes=False).trades, start, end).time
    return int(times[which]) if len(times) else None


def _within(trades: Trades, start: int | None, end: int | None) -> Trades:
    low = 0 if start is None else int(np.searchsorted(trades.time, start, side="left"))
    high = len(trades.time) if end is None else int(np.searchsorted(trades.time, end, side="left"))
    return Trades(
        trades.time[low:high],
        trades.price[low:high],
        trades.qty[low:high],
        trades.id[low:high],
        trades.is_buyer_maker[low:high],
    )


@dataclass
class StoredTrades:
    """The trades of a run; `chunks` reads them anew each time, one day in memory at a time."""

    store: TickStore
    symbols: Sequence[str]
    start: int  # ns
    end: int  # ns, exclusive
    market: Market
    bars: dict[str, Records]  # bar_dt by symbol: the signals' bars with their mark prices
    lasts: dict[str, int] = field(default_factory=dict)  # time of each symbol's last trade

    def chunks(self) -> Iterator[TradeChunk]:
        """The trades in stretches of about a UTC day that begin at opens or closes of the signals' bars."""
        grid = signal_times(self.market)
        edges = self._edges(grid)
        waiting = {symbol: [] for symbol in self.symbols}  # type: dict[str, list[PathTrades]]
        # before the first quote its spread stands in
        quoted = {symbol: first_spread(self.store, symbol, self.start, self.end) for symbol in self.symbols}
        k = 0
        for day in range(self.start // DAY * DAY, self.end, DAY):
            for symbol in self.symbols:
                waiting[symbol].append(self._trades_of_day(symbol, day, quoted))
            while k + 1 < len(edges) and edges[k + 1] <= day + DAY:
                yield self._chunk(waiting, grid, edges[k], edges[k + 1])
                k += 1
        yield self._chunk(waiting, grid, edges[k], None)

    def _edges(self, grid: Ints) -> list[int]:
        """Where chunks begin: at or after each midnight that is followed by something."""
        days = np.arange(self.start // DAY * DAY + DAY, self.end, DAY)
        places = np.searchsorted(grid, days, side="left")
        return [int(grid[0]), *sorted({int(grid[at]) for at in places if 0 < at < len(grid)})]

    def _chunk(self, waiting: dict[str, list[PathTrades]], grid: Ints, start: int, end: int | None) -> TradeChunk:
        parts: list[PathTrades] = []
        for symbol in self.symbols:
            trades = joined(waiting[symbol])
            at = trades.rows if end is None else int(np.searchsorted(trades.time, end, side="left"))
            parts.append(trades.where(slice(at)))
            waiting[symbol] = [trades.where(slice(at, None))]
        within = grid[(grid >= start) & (grid < (end if end is not None else grid[-1] + 1))]
        ends = [end is None or self.lasts[symbol] < end for symbol in self.symbols]
        return join_chunk(parts, within, ends, horizon=end)

    def _trades_of_day(self, symbol: str, day: int, quoted: dict[str, float]) -> PathTrades:
        """One day's trades of a symbol as points of a path. quoted: the last spread known, by symbol."""
        if day not in self.store.days(symbol):
            if self.store.has(symbol, day, "quotes"):
                self._remember_spread(symbol, self.store.read_day(symbol, day).quotes, quoted)
            return no_trades()
        ticks = self.store.read_day(symbol, day)
        trades = _within(ticks.trades, self.start, self.end)
        spread = half_spreads(trades.time, ticks.quotes, quoted[symbol])
        self._remember_spread(symbol, ticks.quotes, quoted)
        marks = marks_at(trades.time, trades.price, self.bars[symbol], self.market.timeframe_ns)
        return path_trades(trades.time, trades.price, trades.qty, marks, spread)

    @staticmethod
    def _remember_spread(symbol: str, quotes: Quotes, quoted: dict[str, float]) -> None:
        """The last spread of a day is in force until the next quote."""
        if quotes.rows:
            quoted[symbol] = float(_half(quotes)[-1])


def first_spread(store: TickStore, symbol: str, start: int, end: int) -> float:
    """Half the spread of the first quote of the period; NaN without quotes."""
    for day in store.days_between(symbol, start, end, "quotes"):
        quotes = store.read_day(symbol, day).quotes
        if quotes.rows:
            return float(_half(quotes)[0])
    return float("nan")


def days_without_quotes(store: TickStore, symbol: str, start: int, end: int) -> int:
    """Days of the period that have trades and no quotes."""
    return len(set(store.days_between(symbol, start, end)) - set(store.days_between(symbol, start, end, "quotes")))


def half_spreads(times: Ints, quotes: Quotes, before: float) -> np.ndarray:
    """Half the quoted spread over the mid price in force at each time.

    before: what was in force earlier; where that is NaN the first quote stands in.
    """
    if not quotes.rows:
        return np.full(len(times), before)
    half = _half(quotes)
    at = np.searchsorted(quotes.time, times, side="right") - 1
    earlier = half[0] if np.isnan(before) else before
    found: np.ndarray = np.where(at >= 0, half[np.maximum(at, 0)], earlier)
    return found


def _half(quotes: Quotes) -> np.ndarray:
    result: np.ndarray = (quotes.ask - quotes.bid) / (quotes.ask + quotes.bid)
    return result


def marks_at(times: Ints, prices: np.ndarray, bars: Records, timeframe: int) -> np.ndarray:
    """The mark at each trade: its price and the distance of mark and last price, linear from open to close of a bar.

    It is held between the bar's lowest and highest mark. bars: bar_dt; outside them the mark is the price.
    """
    if not len(bars):
        return prices
    at = np.searchsorted(bars["ts_open"], times, side="right") - 1
    inside = (at >= 0) & (times - bars["ts_open"][np.maximum(at, 0)] < timeframe)
    bar = bars[np.maximum(at, 0)]
    share = (times - bar["ts_open"]) / timeframe
    from_open = bar["mark_open"] - bar["open"]
    distance = from_open + (bar["mark_close"] - bar["close"] - from_open) * share
    has_mark = np.zeros(len(bar), dtype=bool)
    for name in ("open", "high", "low", "close"):
        has_mark |= bar[f"mark_{name}"] != bar[name]
    marks: np.ndarray = np.where(
        inside & has_mark, np.clip(prices + distance, bar["mark_low"], bar["mark_high"]), prices
    )
    return marks
