"""Market streams: klines, trades, mark price, best bid and ask of every change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qtsim.emulator.decimals import exact, padded, plain
from qtsim.emulator.market import INTERVALS_MS, Bar, TradeRow, bar_start
from qtsim.emulator.payloads import money
from qtsim.emulator.public_api import PublicApi
from qtsim.emulator.state import State
from qtsim.emulator.streams import Payload

DAY_FIELDS = {
    **{"p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "c": "lastPrice", "Q": "lastQty"},
    **{"o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume"},
    **{"O": "openTime", "C": "closeTime", "F": "firstId", "L": "lastId", "n": "count"},
}
MINI_FIELDS = ("c", "o", "h", "l", "v", "q")


class MarketStreams:
    """Sends what has changed to whoever has subscribed to it."""

    def __init__(self, state: State, public: PublicApi) -> None:
        self.state = state
        self.public = public

    def points(self, trades: Iterable[tuple[str, TradeRow | None]]) -> None:
        """New prices: mark price first, then trade, quote, and the bars that are still open."""
        if not self.state.streams.has_subscribers():
            return
        moved = list(trades)
        self.marks([symbol for symbol, _ in moved])
        for symbol, trade in moved:
            if trade is not None:
                self._trade(symbol, trade)
            self._quote(symbol)
            self._day(symbol)
            for interval in self.state.streams.kline_intervals(symbol):
                self._open_bar(symbol, interval)

    def marks(self, symbols: Iterable[str]) -> None:
        """Mark prices, as every second tells them."""
        rows = [self._mark(symbol) for symbol in symbols]
        for row in rows:
            name = row["s"].lower()
            self._send(f"{name}@markPrice", row)
            self._send(f"{name}@markPrice@1s", row)
        for stream in ("!markPrice@arr", "!markPrice@arr@1s"):
            self._send(stream, rows)

    def closed_bars(self, symbols: Iterable[str], end_ms: int) -> None:
        """Bars that have ended at this time, of every interval that someone hears."""
        state = self.state
        for symbol in symbols:
            series = state.markets[symbol].bars
            for interval in state.streams.kline_intervals(symbol):
                length = INTERVALS_MS.get(interval, 0)
                if length and length % series.base_ms == 0 and end_ms == bar_start(end_ms, length):
                    start = end_ms - length
                    for bar in series.window(length, start, start, 1):
                        self._kline(symbol, interval, bar, closed=True)

    def _open_bar(self, symbol: str, interval: str) -> None:
        series = self.state.markets[symbol].bars
        length = INTERVALS_MS.get(interval, 0)
        if length and length % series.base_ms == 0:
            bar = series.latest(length)
            if bar is not None:
                self._kline(symbol, interval, bar, closed=False)

    def _send(self, stream: str, payload: Payload) -> None:
        self.state.streams.market(stream, payload, self.state.wall_ms)

    def _mark(self, symbol: str) -> dict[str, Any]:
        market, now = self.state.markets[symbol], self.state.now_ms
        mark = money(self.state.mark(symbol))
        return {
            "e": "markPriceUpdate",
            "E": now,
            "s": symbol,
            "p": mark,
            "ap": mark,
            "i": mark,
            "P": mark,
            "r": plain(market.last_rate),
            "T": market.next_funding_ms,
            "st": 1,
        }

    def _trade(self, symbol: str, trade: TradeRow) -> None:
        now, name = self.state.now_ms, symbol.lower()
        common = {
            "E": now,
            "s": symbol,
            "p": plain(trade.price),
            "q": plain(trade.qty),
            "T": trade.time_ms,
            "m": trade.buyer_is_maker,
        }
        aggregate = {"e": "aggTrade", **common, "a": trade.id, "nq": plain(trade.qty), "f": trade.id, "l": trade.id}
        self._send(f"{name}@aggTrade", aggregate)
        self._send(f"{name}@trade", {"e": "trade", **common, "t": trade.id, "X": "MARKET"})

    def _quote(self, symbol: str) -> None:
        streams = (f"{symbol.lower()}@bookTicker", "!bookTicker")
        if not any(self.state.streams.wants(stream) for stream in streams):
            return
        market, now = self.state.markets[symbol], self.state.now_ms
        bid, ask, size = self.public.quote(market)
        row = {
            "e": "bookTicker",
            "u": market.next_trade,
            "E": now,
            "T": now,
            "s": symbol,
            "b": plain(bid),
            "B": plain(size),
            "a": plain(ask),
            "A": plain(size),
        }
        for stream in streams:
            self._send(stream, row)

    def _day(self, symbol: str) -> None:
        full, mini = f"{symbol.lower()}@ticker", f"{symbol.lower()}@miniTicker"
        if not self.state.streams.wants(full) and not self.state.streams.wants(mini):
            return
        row = self.public.day_ticker(self.state.markets[symbol])
        body = {short: row[name] for short, name in DAY_FIELDS.items()}
        common = {"E": self.state.now_ms, "s": symbol}
        self._send(full, {"e": "24hrTicker", **common, **body})
        self._send(mini, {"e": "24hrMiniTicker", **common, **{name: body[name] for name in MINI_FIELDS}})

    def _kline(self, symbol: str, interval: str, bar: Bar, *, closed: bool) -> None:
        step = self.state.rules[symbol].tick
        opened, high, low, close = (padded(exact(value), step) for value in bar[1:5])
        body = {
            "t": bar.open_ms,
            "T": bar.open_ms + INTERVALS_MS[interval] - 1,
            "s": symbol,
            "i": interval,
            "f": 0,
            "L": 0,
            "o": opened,
            "c": close,
            "h": high,
            "l": low,
            "v": plain(exact(bar.volume)),
            "n": 0,
            "x": closed,
            "q": plain(exact(bar.volume) * exact(bar.close)),
            "V": "0",
            "Q": "0",
            "B": "0",
        }
        row = {"e": "kline", "E": self.state.now_ms, "s": symbol, "k": body}
        self._send(f"{symbol.lower()}@kline_{interval}", row)
