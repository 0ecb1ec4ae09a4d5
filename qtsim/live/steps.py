"""An exchange that moves in lockstep: it waits until everything that it has told was handled, and so do we.

The emulator's handshake: it announces a step with how many texts each stream connection has been sent; once they have
been read and nothing is under way, the step is acknowledged.
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
        self.steps = 0

    async def run(self) -> None:
        """Until the market has ended."""
        async for text in self.socket.messages():
            step = json.loads(text)
            if step.get("kind") == "end":
                self.runner.end("the recorded market has ended")
                return
            self.runner.step_ns = max(self.runner.step_ns, int(step["ts"]))
            if not step["waits"]:
                continue
            await self._handle(step)
            self.steps += 1
            await self.socket.send(json.dumps({"ack": step["n"]}))

    async def _handle(self, step: dict[str, Any]) -> None:
        """Read what was sent, tell it, and wait until nothing is under way."""
        while not self._has_read(step["sent"]):
            await asyncio.sleep(POLL_S)
        self.runner.pump()
        while not self.runner.is_quiet:
            await asyncio.sleep(POLL_S)
            self.runner.pump()

    def _has_read(self, sent: list[list[Any]]) -> bool:
        told = {str(path): int(count) for path, count in sent}
        return all(link.read >= told.get(link.path, 0) for link in self.links if link.is_up.is_set())
