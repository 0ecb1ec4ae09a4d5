"""The exchange behind HTTP and WebSocket on the loopback.

Paths: everything of the REST API; streams at `/public/ws`, `/market/ws`, `/private/ws`, the same with `/stream`, and
the older `/ws` and `/stream`; the handshake of `lockstep` at `/lockstep`; and, beside the API, `POST /emulator/control`
with one command as JSON and `GET /emulator/summary`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qtsim.emulator.clocks import RunningClock
from qtsim.emulator.control import Control
from qtsim.emulator.exchange import Exchange
from qtsim.emulator.lockstep import Follower, Lockstep
from qtsim.emulator.market import MS, MarketEvent
from qtsim.emulator.serving import RequestLostError, Server
from qtsim.emulator.streams import DISCONNECT, Connection
from qtsim.errors import QtsimError, UsageError

if TYPE_CHECKING:
    from aiohttp import web

TICK_S = 0.05
"""How often time passes for countdowns, listen keys and outages."""
MARKS_S = 1.0
"""How often mark prices are told while nothing is traded, seconds of the wall."""
CONTROL_PATH = "/emulator/"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")


def require_aiohttp() -> None:
    """Raise UsageError where the library of the socket skin is missing."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise UsageError(
            "qtsim emulator needs aiohttp, which comes with the extra `live`: pip install 'qtsim[live]'"
        ) from None


class SocketSkin:
    """Serves one exchange. Start it, let the market move, stop it."""

    def __init__(self, exchange: Exchange, server: Server, lockstep: Lockstep | None = None) -> None:
        self.exchange = exchange
        self.server = server
        self.control = Control(exchange)
        self.lockstep = lockstep
        self.port = 0
        self._wakes: dict[int, asyncio.Event] = {}
        self._runner: Any = None
        self._ticker: asyncio.Task[None] | None = None
        exchange.streams.listeners.append(self._wake)

    # life ------------------------------------------------------------------------------------------------------------

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port that was bound.

        Raises
        ------
        UsageError
            The host is not on the loopback, or aiohttp is missing.
        QtsimError
            The port is taken.
        """
        if not _is_loopback(host):
            raise UsageError(f"--host {host}: the emulator listens on the loopback only; use 127.0.0.1")
        require_aiohttp()
        from aiohttp import web

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise QtsimError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with --port"
            ) from None
        self.exchange.start_wall(self.server.clock.wall_ms())
        self.port = int(self._runner.addresses[0][1])
        self._ticker = asyncio.ensure_future(self._tick())
        return self.port

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        self.exchange.streams.close_all(self.server.clock.wall_ms())
        await asyncio.sleep(0)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tick(self) -> None:
        while True:
            clock = self.server.clock
            self.exchange.tick(clock.wall_ms(), clock.now_ms())
            await asyncio.sleep(TICK_S)

    def _wake(self, connection: Connection) -> None:
        event = self._wakes.get(connection.id)
        if event is not None:
            event.set()

    # requests --------------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if request.path == "/lockstep":
                return await self._follow(request)
            return await self._stream(request)
        if request.path.startswith(CONTROL_PATH):
            return await self._obey(request)
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        body = (await request.read()).decode("utf-8", errors="replace")
        params = "&".join(text for text in (request.rel_url.raw_query_string, body) if text)
        try:
            found = await self.server.serve(request.method, request.path, params, request.headers)
        except RequestLostError:
            _abort(request)
            return web.Response(status=500)
        headers = dict(found.headers)
        kind = headers.pop("content-type", "application/json")
        return web.Response(status=found.status, text=found.body, headers=headers, content_type=kind)

    async def _obey(self, request: web.Request) -> web.StreamResponse:
        """The control path: for programs on this machine alone, never for a page in a browser."""
        from aiohttp import web

        host = request.host.rsplit(":", 1)[0]
        if host not in LOOPBACK_NAMES or "Origin" in request.headers:
            return web.json_response({"error": "the control path answers programs on this machine only"}, status=403)
        if request.method == "GET" and request.path == f"{CONTROL_PATH}summary":
            return web.json_response(self.control.summary())
        if request.method != "POST" or request.path != f"{CONTROL_PATH}control":
            return web.json_response({"error": f"no {request.method} {request.path}"}, status=404)
        try:
            command = json.loads(await request.read())
            if not isinstance(command, dict):
                raise UsageError('a command is a JSON object such as {"do": "summary"}')
            return web.json_response({"result": self.control.obey(command)})
        except (ValueError, UsageError) as error:
            return web.json_response({"error": str(error)}, status=400)

    # streams ---------------------------------------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import WSMsgType, web

        connection = self.exchange.connect(request.path_qs, self.server.clock.wall_ms())
        if connection is None:
            return web.Response(status=404, text="no such stream path")
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        self._wakes[connection.id] = asyncio.Event()
        writer = asyncio.ensure_future(self._write(connection, socket, request))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self.exchange.receive(connection, message.data)
                elif message.type == WSMsgType.PING and not connection.silent:
                    await socket.pong(message.data)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
            self.exchange.streams.forget(connection)
            del self._wakes[connection.id]
        return socket

    async def _write(self, connection: Connection, socket: web.WebSocketResponse, request: web.Request) -> None:
        wake, streams = self._wakes[connection.id], self.exchange.streams
        while True:
            wake.clear()
            for message in streams.take(connection, self.server.clock.wall_ms()):
                if message.text is not None:
                    await socket.send_str(message.text)
                elif message.close_code == DISCONNECT:
                    _abort(request)
                    return
                else:
                    await socket.close(code=message.close_code)
                    return
            due = streams.next_due_ms(connection)
            delay = None if due is None else max(0, due - self.server.clock.wall_ms()) / 1000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), delay)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import WSMsgType, web

        if self.lockstep is None:
            return web.Response(status=404, text="the emulator does not run in lockstep; start it with --lockstep")
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        follower = Follower(socket.send_str)
        self.lockstep.join(follower)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self.lockstep.hear(follower, message.data)
        finally:
            self.lockstep.leave(follower)
        return socket


async def run_market(exchange: Exchange, events: Iterable[MarketEvent], clock: RunningClock) -> None:
    """Let the market move with the clock; events that are late follow at once, and each second tells the marks."""
    clock.start()
    for event in events:
        while clock.left_s(event.ts_ns // MS) > MARKS_S:
            await asyncio.sleep(MARKS_S)
            exchange.repeat_marks(clock.wall_ms(), clock.now_ms())
        await clock.wait_until(event.ts_ns // MS)
        exchange.advance(event, clock.wall_ms())
        await asyncio.sleep(0)


def _abort(request: Any) -> None:
    """Cut the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
