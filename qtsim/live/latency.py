"""How long things take, measured on the monotonic clock: for a person to read, never for a decision."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar

KEPT = 4096
"""Newest durations that quantiles are taken from."""
IDLE_S = 0.001
"""A message that is read so soon after a batch may have waited for the end of it."""

_on_leaving: ContextVar[Callable[[], None] | None] = ContextVar("on_leaving", default=None)


class Durations:
    """Durations of one kind, ms: all are counted, quantiles are those of the newest `KEPT`."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._newest: deque[float] = deque(maxlen=KEPT)
        self._told: dict[str, float] = {"count": 0}

    def add(self, ms: float) -> None:
        """One more."""
        self.count += 1
        self.longest = max(self.longest, ms)
        self._newest.append(ms)

    def summary(self) -> dict[str, float]:
        """`count`, `p50`, `p99`, `max`, ms; nothing but the count where there is none."""
        if self._told["count"] != self.count:
            ordered = sorted(self._newest)
            median, late = (ordered[math.ceil(share * (len(ordered) - 1))] for share in (0.50, 0.99))
            self._told = {"count": self.count, "p50": median, "p99": late, "max": self.longest}
        return self._told


class Arrivals:
    """When what is being worked on arrived, s of `clock`.

    While the program works on a batch it reads nothing, so a message that is read right after one counts from the
    start of that batch: before it everything that had come was read. Where that batch followed another at once, and
    nothing was read between the two, it counts from the start of the other. So what is measured is never less than
    what was.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.oldest = math.nan  # of the messages that wait for the next batch
        self.of_batch = math.nan  # of the messages of the batch at work; NaN where it holds none
        self._busy_from = -math.inf
        self._unread_from = -math.inf  # what came since may not have been read before the last batch
        self._busy_until = -math.inf

    def hear(self) -> None:
        """A message of the market was read."""
        if math.isnan(self.oldest):
            now = self.clock()
            self.oldest = self._unread_from if now - self._busy_until < IDLE_S else now

    def begin(self) -> None:
        """The work on a batch begins."""
        now = self.clock()
        has_read = not math.isnan(self.oldest)
        self._unread_from = self._busy_from if not has_read and now - self._busy_until < IDLE_S else now
        self._busy_from = now
        self.of_batch, self.oldest = self.oldest, math.nan

    def end(self) -> None:
        """The work on a batch is done."""
        self._busy_until = self.clock()
        self.of_batch = math.nan

    def age_ms(self, since: float) -> float:
        """How long ago that was, ms."""
        return (self.clock() - since) * 1e3


def when_leaving(note: Callable[[], None] | None) -> None:
    """Call `note` once, when the next request of this task leaves."""
    _on_leaving.set(note)


def leaves() -> None:
    """A request is signed and about to be handed to the transport."""
    note = _on_leaving.get()
    if note is not None:
        _on_leaving.set(None)
        note()
