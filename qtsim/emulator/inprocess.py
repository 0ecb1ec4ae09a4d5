"""The exchange behind an unmodified ccxt client without sockets: REST by its `fetch`, streams by its connections.

Recipe, with ccxt's async or pro client::

    import ccxt.pro
    from qtsim.emulator.inprocess import InProcess, Transport
    from qtsim.emulator.virtual import run_virtual

    class Client(InProcess, ccxt.pro.binanceusdm): ...

    async def main():
        transport = Transport(exchange)                  # virtual time; inside the running VirtualLoop
        client = Client(transport.config())              # keys, no throttle, no calls of the spot wallet
        client.transport = transport
        await client.load_markets()
        market = asyncio.ensure_future(play(exchange, events))
        ...
        await client.close()

    run_virtual(main(), start_ms=...)

`InProcess` overrides three things: `fetch` (the network), `client` (the sockets of `watch_*`) and `milliseconds` (the
wall clock). Signing, parsing, error mapping and everything else stay ccxt's own. URLs are kept, so errors map as on the
real host. A client without ccxt uses `Transport.send` and `Transport.open` directly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from qtsim.emulator.exchange import Exchange, Response
from qtsim.emulator.serving import Clock, RequestLostError, Server
from qtsim.emulator.streams import Connection, Message
from qtsim.emulator.virtual import VirtualClock

TEXT, PONG, CLOSE = 1, 10, 8
"""Types of WebSocket messages, as aiohttp numbers them."""


class Frame:
    """A WebSocket message as ccxt's client reads it."""

    __slots__ = ("data", "type")

    def __init__(self, kind: int, data: Any) -> None:
        self.type = kind
        self.data = data


class Socket:
    """An open stream connection: what a client may do with it, in process."""

    _conn = None  # ccxt looks for the buffer of a real socket here

    def __init__(self, transport: Transport, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection
        self._ready: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self.closed = False

    @property
    def path(self) -> str:
        """Path that it was opened on."""
        return self._connection.path

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    async def receive(self) -> Frame:
        """The next message, when it is due."""
        while True:
            self._take_due()
            if self._ready:
                frame = self._ready.popleft()
                self.closed = self.closed or frame.type == CLOSE
                return frame
            self._wake.clear()
            due = self._transport.exchange.streams.next_due_ms(self._connection)
            delay = None if due is None else max(0, due - self._transport.clock.wall_ms()) / 1000
            try:
                await asyncio.wait_for(self._wake.wait(), delay)
            except TimeoutError:
                continue

    def _take_due(self) -> None:
        due: list[Message] = self._transport.exchange.streams.take(self._connection, self._transport.clock.wall_ms())
        self._ready.extend(Frame(CLOSE, m.close_code) if m.text is None else Frame(TEXT, m.text) for m in due)

    async def send_str(self, text: str) -> None:
        """Send a text message."""
        self._transport.exchange.receive(self._connection, text)

    async def ping(self, message: bytes = b"") -> None:
        """Answered at once, unless the connection has fallen silent."""
        if not self._connection.silent:
            self._ready.append(Frame(PONG, message))
            self.wake()

    async def pong(self, message: bytes = b"") -> None:
        """Nothing to do: the exchange does not ping in process."""

    async def close(self, code: int = 1000) -> bool:
        """Leave."""
        self.closed = True
        self._transport.exchange.streams.forget(self._connection)
        self._transport.sockets.pop(self._connection.id, None)
        return True

    async def messages(self) -> AsyncIterator[str]:
        """Texts until it closes, for clients that are not ccxt's."""
        while True:
            frame = await self.receive()
            if frame.type == CLOSE:
                return
            if frame.type == TEXT:
                yield frame.data


class Transport:
    """Carries requests and streams of one client to an exchange; several clients have one each.

    Parameters
    ----------
    exchange : Exchange
    clock : Clock, optional
        `VirtualClock` unless given; `VirtualClock(skew_ms=…)` for a client whose clock is wrong.
    latency_ms : int
        Market time that an order takes to arrive.
    """

    def __init__(self, exchange: Exchange, clock: Clock | None = None, *, latency_ms: int = 0) -> None:
        self.exchange = exchange
        self.clock = clock or VirtualClock()
        self.server = Server(exchange, self.clock, latency_ms=latency_ms)
        self.sockets: dict[int, Socket] = {}
        exchange.streams.listeners.append(self._wake)

    def _wake(self, connection: Connection) -> None:
        socket = self.sockets.get(connection.id)
        if socket is not None:
            socket.wake()

    def config(self, **more: Any) -> dict[str, Any]:
        """Configuration of a ccxt client: the first key, no throttle, nothing but futures."""
        key = next(iter(self.exchange.keys.values()))
        options = {
            "fetchCurrencies": False,
            "fetchMargins": False,
            "fetchOpenOrders": {"warnWithoutSymbol": False},
        }
        return {"apiKey": key.key, "secret": key.secret, "enableRateLimit": False, "options": options, **more}

    def client_ms(self) -> int:
        """The client's own clock."""
        clock = self.clock
        return clock.client_ms() if isinstance(clock, VirtualClock) else clock.wall_ms()

    async def send(self, url: str, method: str, headers: Mapping[str, str] | None, body: str | None) -> Response:
        """Send one request. Raises RequestLostError where no answer comes."""
        parts = urlsplit(url)
        params = "&".join(text for text in (parts.query, body or "") if text)
        await asyncio.sleep(0)
        return await self.server.serve(method, parts.path, params, headers or {})

    async def open(self, url: str) -> Socket:
        """Open a stream connection. Raises ConnectionRefusedError where there is none."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = self.exchange.connect(target, self.clock.wall_ms())
        if connection is None:
            raise ConnectionRefusedError(f"nothing answers at {parts.path}")
        socket = Socket(self, connection)
        self.sockets[connection.id] = socket
        return socket


class InProcess:
    """Mix in before a ccxt client: its network becomes a `Transport`. See the recipe above."""

    transport: Transport

    async def fetch(self: Any, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """One request, as ccxt's own `fetch`: decoded JSON, or the exception that ccxt maps the answer to."""
        sent = self.prepare_request_headers(headers)
        self.last_request_headers = sent
        details = f"{self.id} {method} {url.split('?')[0]}"
        try:
            answer = await asyncio.wait_for(self.transport.send(url, method, sent, body), self.timeout / 1000)
        except TimeoutError as error:
            raise self.httpExceptions["408"](details) from error
        except RequestLostError as error:
            raise self.httpExceptions["500"](f"{details} {error}") from error
        reason = HTTPStatus(answer.status).phrase if answer.status in _KNOWN else ""
        received = dict(answer.headers)
        text = self.on_rest_response(answer.status, reason, url, method, received, answer.body, sent, body)
        decoded = self.parse_json(text)
        self.last_http_response, self.last_response_headers = text, received
        self.last_json_response = decoded
        self.handle_errors(answer.status, reason, url, method, received, text, decoded, sent, body)
        self.handle_http_status_code(answer.status, reason, url, method, text)
        return text if decoded is None else decoded

    def client(self: Any, url: str) -> Any:
        """The stream client of a URL; it connects through the transport."""
        found = super().client(url)  # type: ignore[misc]
        if not isinstance(found.create_connection, _Opener):
            found.create_connection = _Opener(self.transport, url)
        return found

    def milliseconds(self) -> int:
        """The client's clock: nonces, timestamps, expiries."""
        return self.transport.client_ms()


class _Opener:
    """Stands in for the connection that a stream client would make."""

    def __init__(self, transport: Transport, url: str) -> None:
        self.transport = transport
        self.url = url

    async def __call__(self, session: Any) -> Socket:
        return await self.transport.open(self.url)


_KNOWN = {status.value for status in HTTPStatus}
