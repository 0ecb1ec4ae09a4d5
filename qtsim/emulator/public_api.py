"""Market data endpoints: anyone may ask."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from qtsim.emulator.decimals import ZERO, exact, padded, plain
from qtsim.emulator.errors import ApiError, invalid
from qtsim.emulator.filters import exchange_info, leverage_brackets
from qtsim.emulator.limits import Limiter
from qtsim.emulator.market import INTERVALS_MS, Bar, SymbolMarket
from qtsim.emulator.orders import Params, needed, read_limit, whole
from qtsim.emulator.payloads import money
from qtsim.emulator.state import State

KLINES_MAX = 1500
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
DAY_MS = 86_400_000
FUNDING_CAP = "0.03000000"


class PublicApi:
    """Answers from what the market has shown so far."""

    def __init__(self, state: State, limiter: Limiter) -> None:
        self.state = state
        self.limiter = limiter

    def ping(self, params: Params) -> Any:
        """{}"""
        return {}

    def time(self, params: Params) -> Any:
        """The clock that signatures are checked on: the wall's."""
        return {"serverTime": self.state.wall_ms}

    def exchange_info(self, params: Params) -> Any:
        """All symbols; a `symbol` is ignored, as on the exchange."""
        limits = self.limiter
        return {
            "timezone": "UTC",
            "serverTime": self.state.wall_ms,
            "futuresType": "U_MARGINED",
            "rateLimits": [
                _limit("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_limit),
                _limit("ORDERS", "MINUTE", 1, limits.orders_1m),
                _limit("ORDERS", "SECOND", 10, limits.orders_10s),
            ],
            "exchangeFilters": [],
            "assets": [{"asset": self.state.account.asset, "marginAvailable": True, "autoAssetExchange": "0"}],
            "symbols": [exchange_info(rules) for rules in self.state.rules.values()],
        }

    def klines(self, params: Params) -> Any:
        """Bars of the last price; the last row may be the open bar."""
        market = self._market(params)
        step = self.state.rules[market.symbol].tick
        return [self._kline(bar, step, interval) for bar, interval in self._bars(params, market, marks=False)]

    def mark_klines(self, params: Params) -> Any:
        """Bars of the mark price, without volume."""
        market = self._market(params)
        return [
            self._kline(bar._replace(volume=0.0), Decimal("1e-8"), interval)
            for bar, interval in self._bars(params, market, marks=True)
        ]

    def _bars(self, params: Params, market: SymbolMarket, *, marks: bool) -> list[tuple[Bar, int]]:
        interval = needed(params, "interval")
        series = market.marks if marks else market.bars
        length = INTERVALS_MS.get(interval)
        if length is None or length % series.base_ms:
            raise ApiError(-1120)
        limit = read_limit(params, 500, KLINES_MAX + 1)
        if limit > KLINES_MAX:
            raise invalid("limit")
        found = series.window(length, whole(params, "startTime"), whole(params, "endTime"), limit)
        return [(bar, length) for bar in found]

    def _kline(self, bar: Bar, step: Decimal, interval_ms: int) -> list[Any]:
        prices = [padded(exact(value), step) for value in bar[1:5]]
        quote = plain(exact(bar.volume) * exact(bar.close))
        volume = plain(exact(bar.volume))
        close_ms = bar.open_ms + interval_ms - 1
        return [bar.open_ms, *prices, volume, close_ms, quote, 0, "0", "0", "0"]

    def premium_index(self, params: Params) -> Any:
        """Mark price and funding; the rate is that of the last payment."""
        return self._each(params, self._premium)

    def _premium(self, market: SymbolMarket) -> dict[str, Any]:
        mark = money(self.state.mark(market.symbol))
        return {
            "symbol": market.symbol,
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": padded(market.last_rate, Decimal("1e-8")),
            "interestRate": "0.00010000",
            "nextFundingTime": market.next_funding_ms,
            "time": self.state.now_ms,
        }

    def funding_rate(self, params: Params) -> Any:
        """Payments made, ascending; without `startTime` the last ones."""
        symbols = [self._market(params).symbol] if params.get("symbol") else list(self.state.markets)
        start, end = whole(params, "startTime"), whole(params, "endTime")
        limit = read_limit(params, 100, 1000)
        rows = [
            {
                "symbol": symbol,
                "fundingTime": row.time_ms,
                "fundingRate": padded(row.rate, Decimal("1e-8")),
                "markPrice": money(row.mark),
                "rateType": "Regular",
            }
            for symbol in symbols
            for row in self.state.markets[symbol].funding
            if (start is None or row.time_ms >= start) and (end is None or row.time_ms <= end)
        ]
        rows.sort(key=lambda row: (row["fundingTime"], row["symbol"]))
        return rows[:limit] if start is not None else rows[-limit:]

    def funding_info(self, params: Params) -> Any:
        """Intervals: 8 h unless the history is denser."""
        return [
            {
                "symbol": symbol,
                "adjustedFundingRateCap": FUNDING_CAP,
                "adjustedFundingRateFloor": f"-{FUNDING_CAP}",
                "fundingIntervalHours": _funding_hours(market),
                "disclaimer": False,
                "updateTime": None,
            }
            for symbol, market in self.state.markets.items()
        ]

    def agg_trades(self, params: Params) -> Any:
        """The last trades shown."""
        market = self._market(params)
        start, end, first = whole(params, "startTime"), whole(params, "endTime"), whole(params, "fromId")
        limit = read_limit(params, 500, 1000)
        rows = [
            row
            for row in market.trades
            if (start is None or row.time_ms >= start)
            and (end is None or row.time_ms <= end)
            and (first is None or row.id >= first)
        ]
        chosen = rows[:limit] if start is not None or first is not None else rows[-limit:]
        return [
            {
                "a": row.id,
                "p": plain(row.price),
                "q": plain(row.qty),
                "nq": plain(row.qty),
                "f": row.id,
                "l": row.id,
                "T": row.time_ms,
                "m": row.buyer_is_maker,
            }
            for row in chosen
        ]

    def depth(self, params: Params) -> Any:
        """One level on each side: the last price as bid, a tick above it as ask."""
        market = self._market(params)
        limit = read_limit(params, 500, 1 << 30)
        if limit not in DEPTHS:
            raise ApiError(-4021, msg=f"{limit} is not valid depth limit")
        bid, ask, size = self.quote(market)
        return {
            "lastUpdateId": market.next_trade,
            "E": self.state.now_ms,
            "T": self.state.now_ms,
            "bids": [[plain(bid), plain(size)]],
            "asks": [[plain(ask), plain(size)]],
        }

    def quote(self, market: SymbolMarket) -> tuple[Decimal, Decimal, Decimal]:
        """Bid, ask and the size of both: synthetic."""
        rules = self.state.rules[market.symbol]
        price = self.state.price(market.symbol)
        return price, price + rules.tick, min(rules.market_max_qty, rules.min_qty * 10_000)

    def ticker_price(self, params: Params) -> Any:
        """Last price."""
        return self._each(
            params,
            lambda market: {
                "symbol": market.symbol,
                "price": plain(self.state.price(market.symbol)),
                "time": market.ts_ms,
            },
        )

    def ticker_book(self, params: Params) -> Any:
        """Best bid and ask."""
        return self._each(params, self._book)

    def _book(self, market: SymbolMarket) -> dict[str, Any]:
        bid, ask, size = self.quote(market)
        return {
            "symbol": market.symbol,
            "bidPrice": plain(bid),
            "bidQty": plain(size),
            "askPrice": plain(ask),
            "askQty": plain(size),
            "time": market.ts_ms,
            "lastUpdateId": market.next_trade,
        }

    def ticker_24h(self, params: Params) -> Any:
        """What the last 24 hours' bars say."""
        return self._each(params, self.day_ticker)

    def day_ticker(self, market: SymbolMarket) -> dict[str, Any]:
        """24 h statistics of one symbol."""
        now, price = self.state.now_ms, self.state.price(market.symbol)
        rows = market.bars.window(market.bars.base_ms, now - DAY_MS, now, DAY_MS // market.bars.base_ms)
        first = exact(rows[0].open) if rows else price
        volume = sum((exact(row.volume) for row in rows), ZERO)
        quote = sum((exact(row.volume) * exact(row.close) for row in rows), ZERO)
        return {
            "symbol": market.symbol,
            "priceChange": plain(price - first),
            "priceChangePercent": f"{100 * (price / first - 1):.3f}",
            "weightedAvgPrice": f"{quote / volume:.8f}" if volume else plain(price),
            "lastPrice": plain(price),
            "lastQty": plain(market.trades[-1].qty) if market.trades else "0",
            "openPrice": plain(first),
            "highPrice": plain(exact(max((row.high for row in rows), default=float(price)))),
            "lowPrice": plain(exact(min((row.low for row in rows), default=float(price)))),
            "volume": plain(volume),
            "quoteVolume": plain(quote),
            "openTime": now - DAY_MS,
            "closeTime": now,
            "firstId": market.trades[0].id if market.trades else 0,
            "lastId": market.next_trade - 1,
            "count": market.next_trade - 1,
        }

    def brackets(self, params: Params) -> Any:
        """Leverage brackets; one object's list where a symbol is named."""
        if params.get("symbol"):
            return [leverage_brackets(self.state.rules[self._market(params, priced=False).symbol])]
        return [leverage_brackets(rules) for rules in self.state.rules.values()]

    def _each(self, params: Params, row: Any) -> Any:
        if params.get("symbol"):
            return row(self._market(params))
        return [row(market) for market in self.state.markets.values() if market.price is not None]

    def _market(self, params: Params, *, priced: bool = True) -> SymbolMarket:
        symbol = needed(params, "symbol")
        if symbol not in self.state.markets:
            raise ApiError(-1121)
        return self.state.market(symbol) if priced else self.state.markets[symbol]


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _funding_hours(market: SymbolMarket) -> int:
    times = [row.time_ms for row in market.funding[-2:]]
    return round((times[1] - times[0]) / 3_600_000) if len(times) == 2 else 8
