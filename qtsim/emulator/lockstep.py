"""Lockstep: the market moves only when every client has handled the last event and has nothing on its way.

The handshake, on a WebSocket at `/lockstep`::

    exchange → {"e":"step","n":0,"kind":"start","T":1700000000000,"ts":…,"waits":true,"sent":[]}
    client   → {"ack":0}                     once it has started and subscribed
    exchange → {"e":"step","n":1,"kind":"points","T":…,"ts":<ns>,"waits":true,
                "points":[{"s":"BTCUSDT","p":"50000.1","m":"50001.2"}],
                "sent":[["/market/ws/0",12],["/private/ws",3]]}
    client   → {"ack":1}
    …
    exchange → {"e":"step","n":9,"kind":"end",…}

`kind` is start, points, bars, funding or end. `sent` has, for every open stream connection in the order of opening, its
path and how many text messages it has been sent since it opened: a client has handled the step when it has read that
many from each and none of its requests is unanswered. It then acknowledges. Where its requests have caused more
messages, the same step is announced again with new counts, until an acknowledgement finds nothing new. Signatures,
weights and listen keys go by the wall; all times in messages are the market's.

While orders travel (latency), steps are announced with `"waits":false` and no acknowledgement is awaited.
Several clients, a program and its guardian, must all acknowledge; one that leaves is no longer waited for, and without
any the market stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from qtsim.emulator.clocks import StepClock
from qtsim.emulator.decimals import plain
from qtsim.emulator.exchange import Exchange
from qtsim.emulator.market import MS, BarsClosed, MarketEvent, Points
from qtsim.emulator.serving import Server

POLL_S = 0.0005
"""How long to wait for requests that are being answered."""
Send = Callable[[str], Awaitable[None]]


class Follower:
    """One client of the handshake."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.acknowledged = -1
        self.rounds = 0


class Lockstep:
    """Moves an exchange step by step."""

    def __init__(self, exchange: Exchange, server: Server, clock: StepClock, events: Iterable[MarketEvent]) -> None:
        self.exchange = exchange
        self.server = server
        self.clock = clock
        self.events = events
        self.followers: list[Follower] = []
        self.steps = 0
        self._changed = asyncio.Event()
        self._last: dict[str, Any] = {}

    # clients ---------------------------------------------------------------------------------------------------------

    def join(self, follower: Follower) -> None:
        """A client takes part from the next announcement on."""
        self.followers.append(follower)
        self._changed.set()

    def leave(self, follower: Follower) -> None:
        """A client is no longer waited for."""
        if follower in self.followers:
            self.followers.remove(follower)
        self._changed.set()

    def hear(self, follower: Follower, text: str) -> None:
        """A client's frame; anything but an acknowledgement is ignored."""
        try:
            number = json.loads(text)["ack"]
        except (ValueError, KeyError, TypeError):
            return
        if isinstance(number, int):
            follower.acknowledged = number
            follower.rounds += 1
            self._changed.set()

    # steps -----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play all events, then announce the end."""
        await self._agree({"kind": "start", "ts": self.clock.now_ms() * MS})
        for event in self.events:
            self.steps += 1
            self.exchange.advance(event, self.clock.wall_ms())
            self.clock.move(event.ts_ns // MS)
            await self._agree(_described(event))
        self.steps += 1
        await self._announce({"kind": "end", "ts": self.clock.now_ms() * MS}, waits=False)

    async def _agree(self, step: dict[str, Any]) -> None:
        """Announce a step until it is acknowledged and has caused nothing more, or an order is on its way."""
        while True:
            await self._settle()
            if self.clock.is_awaited:
                await self._announce(step, waits=False)
                return
            before = self.exchange.streams.queued
            rounds = {id(follower): follower.rounds for follower in self.followers}
            await self._announce(step, waits=True)
            await self._wait_for_acks(rounds)
            await self._settle()
            if self.exchange.streams.queued == before and not self.clock.is_awaited:
                return

    async def _settle(self) -> None:
        """Let requests that are being answered come to their end, or to where they wait for a step."""
        await asyncio.sleep(0)
        while self.server.in_flight and not self.clock.is_awaited:
            await asyncio.sleep(POLL_S)

    async def _wait_for_acks(self, rounds: dict[int, int]) -> None:
        while not self.followers or any(
            follower.acknowledged != self.steps or follower.rounds <= rounds.get(id(follower), 0)
            for follower in self.followers
        ):
            if self.clock.is_awaited:
                return
            self._changed.clear()
            joined = [follower for follower in self.followers if id(follower) not in rounds]
            if joined:  # they have not heard of this step yet
                rounds.update({id(follower): follower.rounds for follower in joined})
                await self._announce(self._last, waits=True, to=joined)
            try:
                await asyncio.wait_for(self._changed.wait(), 0.05 if self.followers else None)
            except TimeoutError:
                continue

    async def _announce(self, step: dict[str, Any], *, waits: bool, to: list[Follower] | None = None) -> None:
        self._last = step
        frame = {
            "e": "step",
            "n": self.steps,
            "T": step["ts"] // MS,
            **step,
            "waits": waits,
            "sent": [[connection.path, connection.sent] for connection in self._open_connections()],
        }
        text = json.dumps(frame, separators=(",", ":"))
        for follower in list(self.followers if to is None else to):
            try:
                await follower.send(text)
            except (ConnectionError, RuntimeError):
                self.leave(follower)

    def _open_connections(self) -> list[Any]:
        return [c for c in self.exchange.streams.connections.values() if not c.closed]


def _described(event: MarketEvent) -> dict[str, Any]:
    if isinstance(event, Points):
        points = [{"s": point.symbol, "p": plain(point.price), "m": plain(point.mark)} for point in event.points]
        return {"kind": "points", "ts": event.ts_ns, "points": points}
    if isinstance(event, BarsClosed):
        return {"kind": "bars", "ts": event.ts_ns, "symbols": [symbol for symbol, _ in event.bars]}
    return {"kind": "funding", "ts": event.ts_ns, "symbols": [event.symbol]}
