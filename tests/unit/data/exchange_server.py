"""A small exchange on the loopback: archives with checksums, the public REST interface, and faults on request."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pandas as pd

from qtsim.data.download.fetch import asked_pause_s
from qtsim.data.download.rest import Rest, RestRefusedError, TryAgainError
from qtsim.data.frames import make_frame, times_of
from qtsim.data.timeframes import DAY, HOUR, parse_time, timeframe_ns

ARCHIVE = re.compile(
    r"^/data/futures/um/(?P<often>monthly|daily)/(?P<folder>\w+)/(?P<symbol>\w+)/(?:(?P<tf>\w+)/)?"
    r"(?P<name>(?P=symbol)-\w+-(?P<label>\d{4}-\d\d(?:-\d\d)?)\.zip)(?P<sum>\.CHECKSUM)?$"
)
KLINES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
HEADERS = {
    "klines": KLINES,
    "markPriceKlines": KLINES,
    "fundingRate": "calc_time,funding_interval_hours,last_funding_rate",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
}
HEADER_SINCE = "2022-06"
"""Archives from this month on have a header, older ones have none."""

RULES = {
    "symbol": "BTCUSDT",
    "contractType": "PERPETUAL",
    "liquidationFee": "0.012500",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "55"},
    ],
}
BRACKETS = [
    {"bracket": 2, "initialLeverage": 100, "notionalCap": 800000, "maintMarginRatio": 0.005, "cum": 300.0},
    {"bracket": 1, "initialLeverage": 125, "notionalCap": 300000, "maintMarginRatio": 0.004, "cum": 0.0},
]


def hourly(start: str, end: str, *, seed: int = 1, volume: bool = True) -> pd.DataFrame:
    """Hourly bars around 20,000, the same on every machine."""
    times = np.arange(parse_time(start), parse_time(end), HOUR, dtype=np.int64)
    rng = np.random.default_rng(seed)
    close = np.round(20_000 * np.exp(np.cumsum(rng.normal(0, 0.003, len(times)))), 2)
    open_ = np.concatenate(([20_000.0], close[:-1]))
    columns = {
        "open": open_,
        "high": np.round(np.maximum(open_, close) + 5.25, 2),
        "low": np.round(np.minimum(open_, close) - 5.25, 2),
        "close": close,
    }
    if volume:
        columns["volume"] = np.round(rng.uniform(1, 50, len(times)), 3)
    return make_frame(times, columns)


def payments(start: str, end: str, hours: int = 8) -> pd.DataFrame:
    """Funding events every so many hours."""
    times = np.arange(parse_time(start), parse_time(end), hours * HOUR, dtype=np.int64)
    rates = np.round(np.random.default_rng(hours).normal(1e-4, 5e-5, len(times)), 8)
    return make_frame(times, {"funding_rate": rates, "mark_price": np.full(len(times), 20_000.5)})


@dataclass
class Exchange:
    """What the server has, how it misbehaves, and what it was asked."""

    now: int
    """The exchange's clock, ns: bars that close later are open, archives of later periods do not exist."""
    bars: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    mark: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    funding: dict[str, pd.DataFrame] = field(default_factory=dict)
    trades: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Columns time (ns), price, qty, id, is_buyer_maker."""
    absent: set[str] = field(default_factory=set)
    """Names of archives that do not exist: `BTCUSDT-1h-2023-02.zip`."""
    holes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By archive: rows in this span are not in it."""
    replaced: dict[str, bytes] = field(default_factory=dict)
    """By archive: other bytes than those of its rows, with their own checksum."""
    microseconds: set[str] = field(default_factory=set)
    """Archives whose times are in microseconds."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """By archive or REST endpoint: what goes wrong with each next request, in order; the last entry `*` repeats."""
    delay_s: float = 0.0
    rest: bool = True
    delisted: set[str] = field(default_factory=set)
    """Symbols that archives have and REST does not."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by archive (`….zip`, `….zip.CHECKSUM`) or REST endpoint."""
    paths: Counter[str] = field(default_factory=Counter)
    """Requests by path."""
    queries: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """REST requests in order."""
    rules: list[Mapping[str, Any]] = field(default_factory=lambda: [RULES])
    url: str = ""

    def content(self, match: re.Match[str]) -> bytes | None:
        """A zip, the same bytes every time; None where it does not exist."""
        name, folder, symbol, label = match["name"], match["folder"], match["symbol"], match["label"]
        start = parse_time(label if len(label) == 10 else f"{label}-01")
        end = start + DAY if len(label) == 10 else parse_time(str(np.datetime64(label) + 1) + "-01")
        if name in self.absent or end > self.now or (folder == "fundingRate" and match["often"] == "daily"):
            return None
        if name in self.replaced:
            return self.replaced[name]
        rows = self._rows(folder, symbol, match["tf"] or "", start, end, name)
        if not rows:
            return None
        text = io.StringIO()
        if label >= HEADER_SINCE:
            text.write(HEADERS[folder] + "\n")
        csv.writer(text, lineterminator="\n").writerows(rows)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name.replace(".zip", ".csv")), text.getvalue())
        return out.getvalue()

    def _rows(self, folder: str, symbol: str, timeframe: str, start: int, end: int, name: str) -> list[list[Any]]:
        unit = 1_000 if name in self.microseconds else 1_000_000
        hole = self.holes.get(name, (0, 0))

        def keep(times: np.ndarray) -> np.ndarray:
            return (times >= start) & (times < end) & ~((times >= hole[0]) & (times < hole[1]))

        if folder in ("klines", "markPriceKlines"):
            frame = (self.bars if folder == "klines" else self.mark).get((symbol, timeframe))
            if frame is None:
                return []
            return _klines(frame[keep(times_of(frame))], timeframe_ns(timeframe), unit)
        if folder == "fundingRate" and symbol in self.funding:
            frame = self.funding[symbol]
            frame = frame[keep(times_of(frame))]
            times = times_of(frame) // unit + 3  # stamped a little late
            return [[int(t), 8, repr(float(r))] for t, r in zip(times, frame["funding_rate"], strict=True)]
        if folder == "aggTrades" and symbol in self.trades:
            frame = self.trades[symbol]
            frame = frame[keep(frame["time"].to_numpy())]
            return [
                [i, p, q, 2 * i, 2 * i, t // unit, str(m).lower()]
                for t, p, q, i, m in frame[["time", "price", "qty", "id", "is_buyer_maker"]].itertuples(index=False)
            ]
        return []

    def answer(self, endpoint: str, query: Mapping[str, str]) -> tuple[int, Any]:
        """Status and JSON of a REST request."""
        first, last = int(query.get("startTime", 0)) * 1_000_000, int(query.get("endTime", 2**43)) * 1_000_000
        last = min(last, self.now)
        limit = int(query.get("limit", 500))
        if endpoint == "time":
            return 200, {"serverTime": self.now // 1_000_000}
        if endpoint == "exchangeInfo":
            return 200, {"symbols": self.rules}
        if endpoint == "leverageBracket":
            return 200, [{"symbol": "BTCUSDT", "brackets": BRACKETS}]
        if endpoint in ("klines", "markPriceKlines"):
            if limit > 1500:
                return 400, {"code": -1130, "msg": "Data sent for parameter 'limit' is not valid."}
            frame = (self.bars if endpoint == "klines" else self.mark).get((query["symbol"], query["interval"]))
            if frame is None or query["symbol"] in self.delisted:
                return 400, {"code": -1121, "msg": "Invalid symbol."}
            times = times_of(frame)
            found = frame[(times >= first) & (times <= last)].iloc[:limit]
            return 200, [
                [row[0], *map(str, row[1:6]), *row[6:]] for row in _klines(found, timeframe_ns(query["interval"]))
            ]
        if endpoint == "fundingRate":
            frame = self.funding.get(query["symbol"], payments("2020-01-01", "2020-01-01"))
            times = times_of(frame)
            chosen = (times >= first) & (times <= last)
            return 200, [
                {
                    "symbol": query["symbol"],
                    "fundingTime": int(t // 1_000_000) + 5,
                    "fundingRate": repr(float(rate)),
                    "markPrice": repr(float(price)),
                }
                for t, (rate, price) in zip(times[chosen], frame[chosen].to_numpy(), strict=True)
            ][:limit]
        return 404, {"code": -5000, "msg": "Path not found"}

    def fault(self, name: str) -> str:
        """What goes wrong with this request; empty: nothing."""
        waiting = self.faults.get(name, [])
        if not waiting:
            return ""
        return waiting[0] if waiting[1:] == ["*"] else waiting.pop(0)


def _klines(frame: pd.DataFrame, step: int, unit: int = 1_000_000) -> list[list[Any]]:
    opens = times_of(frame)
    volume = frame["volume"].to_numpy() if "volume" in frame else np.zeros(len(frame))
    prices = frame[["open", "high", "low", "close"]].to_numpy()
    return [
        [int(t) // unit, *map(float, p), float(v), (int(t) + step) // unit - 1, 0.0, 7, 0.0, 0.0, 0]
        for t, p, v in zip(opens, prices, volume, strict=True)
    ]


def with_rest(exchange: Exchange, tries: int = 3) -> Callable[[], AbstractContextManager[Rest]]:
    """The REST interface over plain HTTP, so that most tests do not need ccxt."""

    def call(endpoint: str, params: Mapping[str, Any]) -> Any:
        try:
            with urllib.request.urlopen(f"{exchange.url}/fapi/v1/{endpoint}?{urlencode(params)}", timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (429, 503):
                    pause = asked_pause_s(error.headers.get("Retry-After"))
                    raise TryAgainError(str(error.code), pause_s=pause, is_refusal=True) from error
                raise RestRefusedError(f"{endpoint}: {error.read().decode()}") from error
        except OSError as error:
            raise TryAgainError("no connection") from error

    @contextmanager
    def opened() -> Iterator[Rest]:
        yield Rest(call, urlsplit(exchange.url).netloc, tries=tries)

    return opened


@contextmanager
def serving(exchange: Exchange) -> Iterator[Exchange]:
    """Serve an exchange on a free port of 127.0.0.1; its `url` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            match = ARCHIVE.match(parts.path)
            name = (match["name"] + (match["sum"] or "")) if match else parts.path.rpartition("/")[2]
            exchange.asked[name] += 1
            exchange.paths[parts.path] += 1
            time.sleep(exchange.delay_s)
            fault = exchange.fault(name)
            if fault == "disconnect":
                self.close_connection = True
                return
            if fault.startswith("silent"):
                time.sleep(float(fault.split()[1]))
                self.close_connection = True
                return
            if fault[:3].isdigit():  # "429 1": the status, and the seconds of Retry-After
                status, _, wait = fault.partition(" ")
                self._send(int(status), b"busy", {"Retry-After": wait} if wait else {})
                return
            if match:
                content = exchange.content(match)
                if content is None:
                    self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
                elif match["sum"]:
                    digest = "0" * 64 if fault == "wrong" else hashlib.sha256(content).hexdigest()
                    self._send(200, f"{digest}  {match['name']}\n".encode())
                else:
                    self._send(200, content, cut=len(content) // 2 if fault == "truncated" else 0)
                return
            if parts.path.startswith("/fapi/") and exchange.rest:
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                exchange.queries.append((name, query))
                status, values = exchange.answer(name, query)
                self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json"})
                return
            self._send(404, b"nothing here")

        def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None, cut: int = 0) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            try:
                self.wfile.write(content[: len(content) - cut])
            except OSError:  # the client has gone
                self.close_connection = True
            if cut:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    exchange.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
