"""Clocks of the socket skin: the market's time against the wall's, running or in steps."""

from __future__ import annotations

import asyncio
import time


class RunningClock:
    """The market's time runs with the wall, `speed` times as fast, once it is started."""

    def __init__(self, start_ms: int, speed: float = 1.0) -> None:
        self.start_ms = start_ms
        self.speed = speed
        self._began_ns: int | None = None

    def start(self) -> None:
        """Let the market's time run from now on."""
        self._began_ns = time.monotonic_ns()

    def now_ms(self) -> int:
        """The market's clock."""
        if self._began_ns is None:
            return self.start_ms
        return self.start_ms + int((time.monotonic_ns() - self._began_ns) * self.speed) // 1_000_000

    def wall_ms(self) -> int:
        """Milliseconds UTC."""
        return time.time_ns() // 1_000_000

    async def sleep(self, ms: int) -> None:
        """Wait on the wall."""
        await asyncio.sleep(ms / 1000)

    async def latency(self, ms: int) -> None:
        """Wait on the market's clock."""
        await asyncio.sleep(ms / 1000 / self.speed)

    def left_s(self, ms: int) -> float:
        """Seconds of the wall until the market's clock shows this time."""
        return (ms - self.now_ms()) / 1000 / self.speed

    async def wait_until(self, ms: int) -> None:
        """Until the market's clock shows this time."""
        while (left := self.left_s(ms)) > 0:
            await asyncio.sleep(min(left, 0.25))


class StepClock:
    """The market's time stands until somebody moves it. Orders with latency wait for a step that passes their time."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        """The market's clock."""
        return self._now_ms

    def wall_ms(self) -> int:
        """Milliseconds UTC."""
        return time.time_ns() // 1_000_000

    @property
    def travelling(self) -> int:
        """How many orders are on their way."""
        return sum(not future.done() for _, future in self._waiting)

    def move(self, now_ms: int) -> None:
        """Step; what has waited for this time goes on."""
        self._now_ms = max(self._now_ms, now_ms)
        due = [future for until, future in self._waiting if until <= self._now_ms]
        self._waiting = [item for item in self._waiting if item[0] > self._now_ms]
        for future in due:
            if not future.done():
                future.set_result(None)

    async def sleep(self, ms: int) -> None:
        """Wait on the wall."""
        await asyncio.sleep(ms / 1000)

    async def latency(self, ms: int) -> None:
        """Wait for a step to the time at which the order arrives."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((self._now_ms + ms, future))
        await future
