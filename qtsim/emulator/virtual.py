"""Virtual time: an event loop that never waits, and a market that moves on it.

When nothing is left to run, the loop's clock jumps to the next timer. Hours of a program that sleeps pass in
milliseconds, in the same order every time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from qtsim.emulator.exchange import Exchange
from qtsim.emulator.market import MS, MarketEvent

T = TypeVar("T")


FILES_EVERY = 64
"""While there is work, files are looked at in every so many turns of the loop: in virtual time there are hardly any."""


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: a wait for the next timer moves the loop's clock instead. Ready files are seen all the same."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if timeout == 0 and self._turns % FILES_EVERY:
            return []
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("virtual time stands still: everything waits for something that nothing will do")
        self._loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose time starts at `start_ms` and jumps from timer to timer."""

    def __init__(self, start_ms: int = 0) -> None:
        self._virtual_ns = start_ms * MS
        super().__init__(_JumpingSelector(self))
        # the loop compares timers with this; sums of floats would drift from whole nanoseconds
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._virtual_ns / 1e9

    def jump(self, seconds: float) -> None:
        """Move the clock to the next timer."""
        self._virtual_ns += max(1, round(seconds * 1e9))

    def now_ms(self) -> int:
        """Milliseconds of virtual time."""
        return (self._virtual_ns + MS // 2) // MS

    def has_work(self) -> bool:
        """Is anything left to run at this instant, beside the caller?"""
        ready: Any = self._ready  # type: ignore[attr-defined]
        due = (timer for timer in self._scheduled[:1] if not timer.cancelled())  # type: ignore[attr-defined]
        return bool(ready) or any(timer.when() <= self.time() for timer in due)


def run_virtual(main: Coroutine[Any, Any, T], *, start_ms: int = 0) -> T:
    """Run a coroutine to its end in virtual time. Make its objects inside it: they belong to its loop."""
    loop = VirtualLoop(start_ms)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        _end_tasks(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _end_tasks(loop: VirtualLoop) -> None:
    tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


class VirtualClock:
    """The running `VirtualLoop` as the clock of a server. skew_ms: how far the client's wall lies behind."""

    def __init__(self, skew_ms: int = 0) -> None:
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Virtual time."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.now_ms()

    def wall_ms(self) -> int:
        """The same: there is one time."""
        return self.now_ms()

    def client_ms(self) -> int:
        """What a client's own clock shows."""
        return self.now_ms() - self.skew_ms

    async def sleep(self, ms: int) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(ms / 1000)

    latency = sleep


async def play(exchange: Exchange, events: Iterable[MarketEvent]) -> None:
    """Let the market move in virtual time, each event at its own time.

    The next event comes when nothing is left to run: clients have done all that they do at this instant.
    """
    clock = VirtualClock()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    for event in events:
        await asyncio.sleep(max(0.0, event.ts_ns / 1e9 - loop.time()))
        exchange.advance(event, max(clock.wall_ms(), event.ts_ns // MS))
        await asyncio.sleep(0)
        while loop.has_work():
            await asyncio.sleep(0)
