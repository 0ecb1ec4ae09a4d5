"""Streams: one connection for the market, one for the account, each opened again for ever, each watched for silence.

The listen key is kept alive by a task of ours; a key that has gone is replaced, and the connection with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from qtsim.live.binance.client import EXTRA, ExtraMissingError
from qtsim.live.binance.exchange import BinanceExchange
from qtsim.live.binance.parse import market_event, user_event
from qtsim.live.orders import KeyExpired, MarketEvent, QueryFailedError, UserEvent
from qtsim.live.tasks import end_tasks

KEEP_ALIVE_S = 30 * 60.0
LIFETIME_S = 23 * 3600.0
"""The exchange ends a connection after 24 hours; ours ends it before."""
SILENCE_S = 15.0
"""The market's streams tell a mark price every second."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
PING_S = 20.0
UNFINISHED = '"x":false'
"""In the text of a bar that is still open: nobody trades on it, so it is not read."""
AT_ONCE = 50
"""Texts that are read before others have a turn."""
CONNECT_S = 10.0
"""Until a connection is given up that is accepted and not answered."""


class TextSocket(Protocol):
    """An open connection: its texts, until it ends."""

    def messages(self) -> AsyncIterator[str]:
        """Texts in order; ends with the connection."""

    async def close(self) -> Any:
        """End it."""


Connect = Callable[[str], Awaitable[TextSocket]]


class AioSocket:
    """A WebSocket of aiohttp. It answers the exchange's pings and sends its own."""

    def __init__(self, session: Any, socket: Any) -> None:
        self._session = session
        self._socket = socket

    async def messages(self) -> AsyncIterator[str]:
        """Texts until it closes."""
        async for message in self._socket:
            if isinstance(message.data, str):
                yield message.data

    async def send(self, text: str) -> None:
        """Send a text."""
        await self._socket.send_str(text)

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()
        await self._session.close()


async def connect_aiohttp(url: str) -> AioSocket:
    """Open a WebSocket. Raises OSError where it cannot be opened."""
    try:
        import aiohttp
    except ImportError as error:
        raise ExtraMissingError(f"live trading needs aiohttp: {EXTRA}") from error
    session = aiohttp.ClientSession()
    try:
        socket = await session.ws_connect(url, heartbeat=PING_S, max_msg_size=0)
    except (aiohttp.ClientError, TimeoutError) as error:
        await session.close()
        raise OSError(type(error).__name__) from None
    except BaseException:
        await session.close()
        raise
    return AioSocket(session, socket)


class Link:
    """One stream connection: what it has told, and whether it is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_up = asyncio.Event()
        self.path = ""
        self.read = 0  # texts since it was opened
        self.opened = 0
        self.heard_s = 0.0  # of the loop's clock: the last text
        self.on_read: Callable[[], None] = lambda: None


class Streams:
    """Both connections of a session. Events go to two callbacks; every opening and loss is told."""

    def __init__(
        self,
        base: str,
        exchange: BinanceExchange,
        connect: Connect,
        *,
        on_market: Callable[[MarketEvent], None],
        on_user: Callable[[UserEvent], None],
        on_state: Callable[[str, bool], None],
        learn: Callable[[str], None] = lambda key: None,
    ) -> None:
        """base: ws address without a path. learn: told each listen key, which is a secret."""
        self.base = base
        self.exchange = exchange
        self.connect = connect
        self.on_market = on_market
        self.on_user = on_user
        self.on_state = on_state
        self.learn = learn
        self.market = Link("market")
        self.user = Link("user")
        self._tasks: list[asyncio.Task[None]] = []
        self._key = ""
        self._sockets: dict[str, TextSocket] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}

    def start(self, names: list[str], *, account: bool) -> None:
        """Open the market's stream, and the account's where there is one."""
        path = f"/market/stream?streams={'/'.join(names)}"
        self._tasks.append(asyncio.ensure_future(self._run(self.market, lambda: _ready(path), self._hear_market)))
        if account:
            self._tasks.append(asyncio.ensure_future(self._run(self.user, self._user_path, self._hear_user)))
            self._tasks.append(asyncio.ensure_future(self._keep_alive()))

    async def stop(self) -> None:
        """Close everything."""
        await end_tasks(self._tasks)
        for socket in list(self._sockets.values()):
            await socket.close()

    def reopen(self, name: str) -> None:
        """End a connection that seems dead; it opens again by itself."""
        listening = self._listening.get(name)
        if listening is not None:
            listening.cancel()

    async def _user_path(self) -> str:
        self._key = await self.exchange.open_listen_key()
        self.learn(self._key)
        return f"/private/ws/{self._key}"

    async def _run(self, link: Link, path_of: Callable[[], Awaitable[str]], hear: Callable[[str], None]) -> None:
        failures = 0
        while True:
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
            try:
                path = await path_of()
                socket = await asyncio.wait_for(self.connect(self.base + path), CONNECT_S)
            except (QueryFailedError, OSError):
                continue
            self._sockets[link.name] = socket
            link.path, link.read = path.partition("?")[0], 0
            link.opened += 1
            link.is_up.set()
            self.on_state(link.name, True)
            listening = asyncio.ensure_future(self._listen(link, socket, hear))
            self._listening[link.name] = listening
            try:
                await asyncio.wait({listening})
                failures = 0
            finally:
                listening.cancel()
                link.is_up.clear()
                self._sockets.pop(link.name, None)
                await socket.close()
            self.on_state(link.name, False)

    async def _listen(self, link: Link, socket: TextSocket, hear: Callable[[str], None]) -> None:
        """Until it closes, falls silent, or has lived long enough."""
        loop = asyncio.get_running_loop()
        end = loop.time() + LIFETIME_S
        link.heard_s = loop.time()
        watching = asyncio.ensure_future(self._watch(link))
        try:
            async for text in socket.messages():
                link.heard_s = loop.time()
                hear(text)
                link.read += 1
                link.on_read()
                if link.read % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if link.heard_s >= end:
                    return
        except OSError:
            return
        finally:
            watching.cancel()

    async def _watch(self, link: Link) -> None:
        """End a market connection that has fallen silent."""
        loop = asyncio.get_running_loop()
        while link.name == "market":
            left = link.heard_s + SILENCE_S - loop.time()
            if left <= 0:
                self.reopen(link.name)
                return
            await asyncio.sleep(left)

    def _hear_market(self, text: str) -> None:
        if UNFINISHED in text:
            return
        event = market_event(_object(text))
        if event is not None:
            self.on_market(event)

    def _hear_user(self, text: str) -> None:
        event = user_event(_object(text))
        if event is None:
            return
        self.on_user(event)
        if isinstance(event, KeyExpired):
            self._listening["user"].cancel()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            try:
                await self.exchange.extend_listen_key()
            except QueryFailedError:
                self.reopen("user")


async def _ready(path: str) -> str:
    return path


def _object(text: str) -> dict[str, Any]:
    """A frame's JSON object; empty where it is none: a garbled frame tells nothing."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def stream_names(symbols: list[str], timeframe: str) -> list[str]:
    """What is subscribed: trades, mark prices, bars."""
    kinds = ("aggTrade", "markPrice@1s", f"kline_{timeframe}")
    return [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in kinds]
