"""An exchange that moves in lockstep: it waits until everything that it has told was handled, and so do we.

The emulator's handshake: it announces a step with how many texts each stream connection has been sent; once they have
been read and nothing is under way but requests, the step is acknowledged with how many of those are unanswered. From
then until the next announcement nothing is told: what comes meanwhile may be only a part of the next step.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from qtsim.live.binance.streams import Link, connect_aiohttp
from qtsim.live.runner import Runner

POLL_S = 0.0005


async def open_steps(base: str) -> Any | None:
    """The handshake's connection; None where the exchange moves by itself."""
    try:
        return await connect_aiohttp(f"{base}/lockstep")
    except OSError:
        return None


class Follower:
    """Acknowledges steps for a runner, from the first to the last."""

    def __init__(self, socket: Any, runner: Runner, links: list[Link]) -> None:
        self.socket = socket
        self.runner = runner
        self.links = links

    async def run(self) -> None:
        """Until the market has ended."""
        async for text in self.socket.messages():
            step = json.loads(text)
            if step.get("kind") == "end":
                self.runner.end("the recorded market has ended")
                return
            self.runner.step_ns = max(self.runner.step_ns, int(step["ts"]))
            await self._handle(step)
            unanswered = self.runner.exchange.client.unanswered
            await self.socket.send(json.dumps({"ack": step["n"], "unanswered": unanswered}))

    async def _handle(self, step: dict[str, Any]) -> None:
        """Read what was sent, tell it, and wait until nothing can follow from it any more but from answers."""
        while not self._has_read(step["sent"]):
            await asyncio.sleep(POLL_S)
        self.runner.pump()
        while not self.runner.waits_for_answers:
            await asyncio.sleep(POLL_S)
            self.runner.pump()

    def _has_read(self, sent: list[list[Any]]) -> bool:
        told = {str(path): int(count) for path, count in sent}
        return all(link.read >= told.get(link.path, 0) for link in self.links if link.is_up.is_set())
