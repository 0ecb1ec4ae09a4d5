"""A desk at the emulated exchange: signed requests, a market that moves on command, and the user stream's events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

from qtsim.data.instruments import load_instruments
from qtsim.emulator import BarsClosed, Control, Exchange, FaultPlan, FundingDue, Point, Points, Rules
from qtsim.emulator.auth import sign
from qtsim.emulator.market import MS, Bar

START_MS = 1_700_000_040_000
"""A whole minute."""
STEP_MS = 20_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Answer(NamedTuple):
    """HTTP status and decoded body."""

    status: int
    body: Any

    @property
    def code(self) -> int:
        """The exchange's error code; 0 where it is none."""
        return int(self.body.get("code", 0)) if isinstance(self.body, dict) else 0


def rules(**changes: Any) -> Rules:
    """BTCUSDT and ETHUSDT without limits on weights, unless changed."""
    table = load_instruments()
    defaults = {"instruments": tuple(table[symbol] for symbol in SYMBOLS), "weight_limit": 0}
    return Rules(**{**defaults, **changes})


def points_at(ms: int, prices: Mapping[str, str | float], marks: Mapping[str, str | float] | None = None) -> Points:
    """One instant; the mark is the last price unless given."""
    shown = {**prices, **(marks or {})}
    points = (
        Point(symbol, Decimal(str(price)), Decimal(str(shown[symbol])), Decimal(1)) for symbol, price in prices.items()
    )
    return Points(ms * MS, tuple(sorted(points, key=lambda point: point.symbol)))


class Desk:
    """One account at one exchange, with an open user stream."""

    def __init__(self, plan: FaultPlan | None = None, *, price: str = "50000", **changes: Any) -> None:
        self.exchange = Exchange(rules(**changes), plan, now_ms=START_MS)
        self.control = Control(self.exchange)
        self.now_ms = START_MS
        self.exchange.advance(points_at(START_MS, {"BTCUSDT": price, "ETHUSDT": "2500"}))
        self.key = next(iter(self.exchange.keys.values()))
        listen_key = self.exchange.streams.open_listen_key(START_MS)
        self.stream = self.exchange.connect(f"/private/ws?listenKey={listen_key}")

    # the market ------------------------------------------------------------------------------------------------------

    def move(self, price: str | float, mark: str | float | None = None, *, symbol: str = "BTCUSDT") -> None:
        """The next point of a symbol, 20 s later."""
        self.now_ms += STEP_MS
        marks = {} if mark is None else {symbol: mark}
        self.exchange.advance(points_at(self.now_ms, {symbol: price}, marks))

    def fund(self, rate: str, mark: str | None = None, *, symbol: str = "BTCUSDT") -> None:
        """A funding payment now."""
        price = None if mark is None else Decimal(mark)
        self.exchange.advance(FundingDue(self.now_ms * MS, symbol, Decimal(rate), price))

    def close_bar(self, *values: float, symbol: str = "BTCUSDT") -> None:
        """End the bar of the last minute: open, high, low, close, volume."""
        opened = self.now_ms // 60_000 * 60_000 - 60_000
        self.exchange.advance(BarsClosed((opened + 60_000) * MS, ((symbol, Bar(opened, *values)),)))

    def wait(self, ms: int) -> None:
        """Let time pass without a price."""
        self.now_ms += ms
        self.exchange.tick(self.now_ms, self.now_ms)

    # requests --------------------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, *, fault: Any = None, **params: Any) -> Answer:
        """A signed request, such as `send("POST", "order", symbol=…)`."""
        values = {"timestamp": self.now_ms, **{name: str(value) for name, value in params.items()}}
        text = urlencode(values)
        full = path if path.startswith("/") else f"/fapi/v1/{path}"
        signed = f"{text}&signature={sign(self.key.secret, text)}"
        found = self.exchange.request(method, full, signed, {"X-MBX-APIKEY": self.key.key}, self.now_ms, fault=fault)
        return Answer(found.status, json.loads(found.body) if found.body.startswith(("{", "[")) else found.body)

    def order(self, side: str, qty: str | float, *, symbol: str = "BTCUSDT", **more: Any) -> Answer:
        """A market order; `type`, `price` and so on may be given."""
        return self.send("POST", "order", **{"symbol": symbol, "side": side, "type": "MARKET", "quantity": qty, **more})

    def limit(self, side: str, qty: str | float, price: str | float, **more: Any) -> Answer:
        """A limit order, good till cancelled unless given."""
        return self.order(side, qty, **{"type": "LIMIT", "price": price, "timeInForce": "GTC", **more})

    def algo(self, side: str, kind: str = "STOP_MARKET", *, symbol: str = "BTCUSDT", **more: Any) -> Answer:
        """A conditional order."""
        return self.send(
            "POST", "algoOrder", **{"algoType": "CONDITIONAL", "symbol": symbol, "side": side, "type": kind, **more}
        )

    def query_algo(self, client_id: str) -> dict[str, Any]:
        """A conditional order by its client id."""
        return self.send("GET", "algoOrder", clientAlgoId=client_id).body

    # truth -----------------------------------------------------------------------------------------------------------

    def qty(self, side: str = "BOTH", symbol: str = "BTCUSDT") -> Decimal:
        """Signed size of a position."""
        return self.exchange.state.account.position(symbol, side).qty

    @property
    def wallet(self) -> Decimal:
        """Wallet balance."""
        return self.exchange.state.account.wallet

    def events(self) -> list[dict[str, Any]]:
        """What the user stream has brought since the last call, in order of arrival."""
        assert self.stream is not None
        found = self.exchange.streams.take(self.stream, self.now_ms)
        return [json.loads(message.text) for message in found if message.text is not None]

    def told(self) -> list[str]:
        """The same, short: `ORDER NEW`, `ORDER TRADE FILLED`, `ALGO TRIGGERED`, `ACCOUNT ORDER`."""
        return [_short(event) for event in self.events()]


def _short(event: dict[str, Any]) -> str:
    kind = event["e"]
    if kind == "ORDER_TRADE_UPDATE":
        execution, status = event["o"]["x"], event["o"]["X"]
        return f"ORDER {execution}" + (f" {status}" if status != execution else "")
    if kind == "ALGO_UPDATE":
        return f"ALGO {event['o']['X']}"
    return f"ACCOUNT {event['a']['m']}" if kind == "ACCOUNT_UPDATE" else kind
