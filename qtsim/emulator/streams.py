"""Stream connections, their subscriptions and queues, and the listen key."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from qtsim.emulator.errors import ApiError

LISTEN_KEY_MS = 60 * 60_000
"""How long a listen key lives after it was made or extended."""
STREAMS_MAX = 1024
PUBLIC, MARKET, PRIVATE, UNROUTED = "public", "market", "private", "unrouted"
PUBLIC_STREAMS = ("bookTicker", "depth", "rpiDepth", "trade")
"""Kinds of streams that live under /public; all others live under /market."""
DISCONNECT = 1006
GOING_AWAY = 1001


class Message(NamedTuple):
    """A frame for a connection: a text, or a close with its code."""

    due_ms: int
    seq: int
    text: str | None
    close_code: int = 0


@dataclass
class Connection:
    """One socket of a client. `base` is the route it came by."""

    id: int
    path: str
    base: str
    combined: bool
    streams: set[str] = field(default_factory=set)
    listen_key: str = ""
    events: frozenset[str] | None = None
    queue: deque[Message] = field(default_factory=deque)
    closed: bool = False
    silent: bool = False
    sent: int = 0
    """Text frames queued since it opened, losses by faults not counted."""
    last_due: dict[str, int] = field(default_factory=dict)

    def carries(self, stream: str) -> bool:
        """Is it subscribed to a market stream, on the base where that stream lives?"""
        if stream not in self.streams or self.closed:
            return False
        return self.base == UNROUTED or self.base == (PUBLIC if is_public_stream(stream) else MARKET)


def is_public_stream(stream: str) -> bool:
    """Does a stream, such as `btcusdt@bookTicker` or `!bookTicker`, live under /public?"""
    kind = stream.split("@")[1] if "@" in stream else stream.removeprefix("!")
    return kind == "trade" or any(kind.startswith(name) for name in PUBLIC_STREAMS if name != "trade")


class Delivery(NamedTuple):
    """How a frame travels: copies of it, and how late; no copies: it is lost."""

    copies: int = 1
    delay_ms: int = 0
    keeps_order: bool = True
    disconnects: bool = False


Payload = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""An event, or several of one type."""
Post = Callable[[str, str], Delivery]
"""(base of the connection, event type) → how the frame travels; the fault plan's say."""


class Streams:
    """All connections of the exchange. Queues are filled here and emptied by a skin."""

    def __init__(self, deliver: Post, *, unrouted: bool = True) -> None:
        """unrouted: do paths without /public, /market or /private deliver? On the exchange they no longer do."""
        self.connections: dict[int, Connection] = {}
        self.deliver = deliver
        self.unrouted = unrouted
        self.listen_key = ""
        self.listen_until_ms = 0
        self.listeners: list[Callable[[Connection], None]] = []
        """Told of every frame that is queued: the skins, which carry it on."""
        self._next_connection = 1
        self._next_seq = 1
        self._next_key = 1

    # connections -----------------------------------------------------------------------------------------------------

    def connect(self, target: str, now_ms: int) -> Connection | None:
        """Open a connection on a path with query, such as `/market/ws/0` or `/private/ws?listenKey=…`.

        None where there is no such path. An unknown listen key connects and hears nothing, as on the exchange.
        """
        parts = urlsplit(target)
        segments = [segment for segment in parts.path.split("/") if segment]
        base = segments.pop(0) if segments and segments[0] in (PUBLIC, MARKET, PRIVATE) else UNROUTED
        if not segments or segments[0] not in ("ws", "stream"):
            return None
        query = parse_qs(parts.query)
        connection = Connection(self._next_connection, parts.path, base, combined=segments[0] == "stream")
        self._next_connection += 1
        names = [*segments[1:], *(name for text in query.get("streams", []) for name in text.split("/"))]
        for name in names:
            if self.listen_key and name == self.listen_key:
                connection.listen_key = name
            elif "@" in name or name.startswith("!"):
                connection.streams.add(name)
        if "listenKey" in query:
            connection.listen_key = query["listenKey"][0]
        if "events" in query:
            connection.events = frozenset(query["events"][0].split("/"))
        self.connections[connection.id] = connection
        return connection

    def receive(self, connection: Connection, text: str, now_ms: int) -> None:
        """A client's frame: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS."""
        try:
            frame = json.loads(text)
            method, number = frame["method"], frame.get("id")
        except (ValueError, KeyError, TypeError):
            self._answer(connection, {"error": {"code": 2, "msg": "Invalid request: malformed frame"}}, now_ms)
            return
        params = [str(name) for name in frame.get("params") or []]
        result: Any = None
        if method == "SUBSCRIBE":
            if len(connection.streams | set(params)) > STREAMS_MAX:
                self._answer(connection, {"error": {"code": 4, "msg": "Too many streams"}, "id": number}, now_ms)
                return
            connection.streams |= set(params)
            if self.listen_key in params:
                connection.listen_key = self.listen_key
        elif method == "UNSUBSCRIBE":
            connection.streams -= set(params)
        elif method == "LIST_SUBSCRIPTIONS":
            result = sorted(connection.streams)
        else:
            self._answer(connection, {"error": {"code": 2, "msg": "Invalid request: unknown method"}}, now_ms)
            return
        self._answer(connection, {"result": result, "id": number}, now_ms)

    def close(self, connection: Connection, code: int = DISCONNECT, now_ms: int = 0) -> None:
        """End a connection from the exchange's side; what is queued still goes out before."""
        if not connection.closed:
            connection.closed = True
            self._queue(connection, None, now_ms, close_code=code)

    def forget(self, connection: Connection) -> None:
        """The client has gone."""
        connection.closed = True
        self.connections.pop(connection.id, None)

    def close_all(self, now_ms: int, code: int = GOING_AWAY) -> None:
        """End every connection."""
        for connection in list(self.connections.values()):
            self.close(connection, code, now_ms)

    def take(self, connection: Connection, now_ms: int) -> list[Message]:
        """Frames that are due, in the order in which they arrive."""
        due = sorted(message for message in connection.queue if message.due_ms <= now_ms)
        if due:
            connection.queue = deque(message for message in connection.queue if message.due_ms > now_ms)
        return due

    def next_due_ms(self, connection: Connection) -> int | None:
        """When the next queued frame is due."""
        return min((message.due_ms for message in connection.queue), default=None)

    @property
    def queued(self) -> int:
        """Frames queued so far, on all connections."""
        return self._next_seq - 1

    # sending ---------------------------------------------------------------------------------------------------------

    def market(self, stream: str, payload: Payload, now_ms: int) -> None:
        """Send to everyone subscribed to a stream."""
        for connection in list(self.connections.values()):
            if connection.carries(stream) and (self.unrouted or connection.base != UNROUTED):
                self._send(connection, stream, payload, now_ms)

    def has_subscribers(self) -> bool:
        """Is anyone subscribed to any market stream?"""
        return any(connection.streams for connection in self.connections.values())

    def wants(self, stream: str) -> bool:
        """Is anyone subscribed?"""
        return any(connection.carries(stream) for connection in self.connections.values())

    def kline_intervals(self, symbol: str) -> list[str]:
        """Intervals of the kline streams of a symbol that someone hears, in order."""
        prefix = f"{symbol.lower()}@kline_"
        found = {
            name.removeprefix(prefix)
            for connection in self.connections.values()
            for name in connection.streams
            if name.startswith(prefix)
        }
        return sorted(found)

    def private(self, payload: Mapping[str, Any], now_ms: int) -> None:
        """Send to the user streams."""
        if not self.listen_key:
            return
        for connection in list(self.connections.values()):
            hears = connection.events is None or payload["e"] in connection.events
            if connection.listen_key == self.listen_key and hears and not connection.closed:
                self._send(connection, self.listen_key, payload, now_ms)

    def _send(self, connection: Connection, stream: str, payload: Payload, now_ms: int) -> None:
        kind = str((payload if isinstance(payload, Mapping) else payload[0])["e"])
        delivery = self.deliver(connection.base if connection.listen_key == "" else PRIVATE, kind)
        if delivery.disconnects:
            self.close(connection, DISCONNECT, now_ms)
            return
        if connection.silent:
            return
        body: Payload = {"stream": stream, "data": payload} if connection.combined else payload
        due = now_ms + delivery.delay_ms
        if delivery.keeps_order:
            due = max(due, connection.last_due.get(kind, 0))
            connection.last_due[kind] = due
        text = json.dumps(body, separators=(",", ":"))
        for _ in range(delivery.copies):
            self._queue(connection, text, due)

    def _answer(self, connection: Connection, payload: Mapping[str, Any], now_ms: int) -> None:
        self._queue(connection, json.dumps(payload, separators=(",", ":")), now_ms)

    def _queue(self, connection: Connection, text: str | None, due_ms: int, *, close_code: int = 0) -> None:
        connection.queue.append(Message(due_ms, self._next_seq, text, close_code))
        self._next_seq += 1
        if text is not None:
            connection.sent += 1
        for listener in self.listeners:
            listener(connection)

    # the listen key --------------------------------------------------------------------------------------------------

    def open_listen_key(self, now_ms: int) -> str:
        """The account's key, made where there is none, extended where there is one."""
        if not self.listen_key:
            self.listen_key = f"emulatorlistenkey{self._next_key:047d}"
            self._next_key += 1
        self.listen_until_ms = now_ms + LISTEN_KEY_MS
        return self.listen_key

    def extend_listen_key(self, now_ms: int) -> str:
        """Raises ApiError -1125 where there is none."""
        if not self.listen_key:
            raise ApiError(-1125)
        return self.open_listen_key(now_ms)

    def drop_listen_key(self) -> None:
        """Close the key; its connections hear nothing more."""
        self.listen_key = ""

    def expire_listen_key(self, event_ms: int, now_ms: int) -> None:
        """Tell the user streams that their key has ended, and end it."""
        if self.listen_key:
            self.private({"e": "listenKeyExpired", "E": event_ms, "listenKey": self.listen_key}, now_ms)
            self.drop_listen_key()
