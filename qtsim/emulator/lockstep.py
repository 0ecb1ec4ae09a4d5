"""Lockstep: the market moves only when every client has handled the last event and waits for nothing but the market.

The handshake, on a WebSocket at `/lockstep`::

    exchange → {"e":"step","n":0,"kind":"start","T":1700000000000,"ts":…,"sent":[]}
    client   → {"ack":0}                     once it has started and subscribed
    exchange → {"e":"step","n":1,"kind":"points","T":…,"ts":<ns>,
                "points":[{"s":"BTCUSDT","p":"50000.1","m":"50001.2"}],
                "sent":[["/market/ws/0",12],["/private/ws",3]]}
    client   → {"ack":1}
    …
    exchange → {"e":"step","n":9,"kind":"end",…}

`kind` is start, points, bars, funding or end, which is not acknowledged. `sent` has, for every open stream connection
in the order of opening, its path and how many text messages it has been sent since it opened. A client handles a step
when it has read that many from each, not before: a price and the fills that it brings come by two connections. Once it
has nothing left to do it acknowledges, and does nothing until the next announcement. Where its requests have caused
more messages, the same step is announced again with new counts, until an acknowledgement finds nothing new. Signatures,
weights and listen keys go by the wall; all times in messages are the market's.

An order that travels (latency) is answered at a later step. A client that waits for nothing but answers acknowledges
with how many are missing, `{"ack":1,"unanswered":2}`; the market moves once all of those are to orders that travel, and
else announces the step again. A client that holds its acknowledgement back until then waits for ever.
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
        self.unanswered = 0  # requests of its own, when it last acknowledged
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
            frame = json.loads(text)
            number, unanswered = frame["ack"], frame.get("unanswered", 0)
        except (ValueError, KeyError, TypeError):
            return
        if isinstance(number, int) and isinstance(unanswered, int):
            follower.acknowledged, follower.unanswered = number, unanswered
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
        await self._announce({"kind": "end", "ts": self.clock.now_ms() * MS})

    async def _agree(self, step: dict[str, Any]) -> None:
        """Announce a step until it is acknowledged, has caused nothing more, and leaves only orders that travel."""
        while True:
            await self._settle()
            told, asked = self.exchange.streams.queued, self.server.arrived
            rounds = {id(follower): follower.rounds for follower in self.followers}
            await self._announce(step)
            await self._wait_for_acks(rounds)
            await self._settle()
            if self.exchange.streams.queued == told and self._only_travels(asked):
                return

    def _only_travels(self, asked: int) -> bool:
        """Is every request that clients have no answer to an order that travels? asked: requests before they said so.

        Where one has come since, the count may be of another that was answered meanwhile.
        """
        unanswered = sum(follower.unanswered for follower in self.followers)
        return not unanswered or (unanswered <= self.clock.travelling and self.server.arrived == asked)

    async def _settle(self) -> None:
        """Let requests that have arrived come to their end, or to where they wait for a step."""
        await asyncio.sleep(0)
        while self.server.in_flight > self.clock.travelling:
            await asyncio.sleep(POLL_S)

    async def _wait_for_acks(self, rounds: dict[int, int]) -> None:
        while not self.followers or any(
            follower.acknowledged != self.steps or follower.rounds <= rounds.get(id(follower), 0)
            for follower in self.followers
        ):
            self._changed.clear()
            joined = [follower for follower in self.followers if id(follower) not in rounds]
            if joined:  # they have not heard of this step yet
                rounds.update({id(follower): follower.rounds for follower in joined})
                await self._announce(self._last, to=joined)
            await self._changed.wait()

    async def _announce(self, step: dict[str, Any], *, to: list[Follower] | None = None) -> None:
        self._last = step
        frame = {
            "e": "step",
            "n": self.steps,
            "T": step["ts"] // MS,
            **step,
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
