"""A pool of threads for waiting on the network, which an interruption ends at once.

The threads are daemons: a thread that waits for a silent server never keeps the program from ending. What it leaves
behind is a half-written temporary file, which the next run removes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from qtsim.data.download.fetch import StoppedError
from qtsim.errors import DataError

J = TypeVar("J")
R = TypeVar("R")
POLL_S = 0.1
"""How often a waiting thread looks whether it should stop."""


class Outcome(Generic[R]):
    """What became of one job: a value, or the error that a user can read."""

    def __init__(self, value: R | None, error: BaseException | None) -> None:
        """One of the two."""
        self._value = value
        self.error = error

    @property
    def value(self) -> R:
        """The job's result."""
        assert self.error is None
        return self._value  # type: ignore[return-value]


def run_jobs(
    jobs: Sequence[J], work: Callable[[J], R], *, threads: int, stop: threading.Event
) -> Iterator[tuple[J, Outcome[R]]]:
    """Yield every job with what became of it, in the order in which they finish.

    Errors of data are outcomes; any other error, and an interruption of the caller, stops all threads and is raised.
    """
    waiting: queue.SimpleQueue[J] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    # bounded: results that nobody has taken yet are whole frames
    done: queue.Queue[tuple[J, Outcome[R]]] = queue.Queue(maxsize=2 * threads)

    def hand_over(job: J, outcome: Outcome[R]) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                done.put((job, outcome), timeout=POLL_S)
                return

    def loop() -> None:
        while not stop.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                outcome = Outcome(work(job), None)
            except StoppedError:
                return
            except BaseException as error:
                outcome = Outcome(None, error)
            hand_over(job, outcome)

    for number in range(min(threads, len(jobs))):
        threading.Thread(target=loop, name=f"download-{number}", daemon=True).start()
    try:
        for _ in jobs:
            while True:
                try:
                    job, outcome = done.get(timeout=POLL_S)
                    break
                except queue.Empty:
                    continue
            if outcome.error is not None and not isinstance(outcome.error, DataError):
                raise outcome.error
            yield job, outcome
    except BaseException:
        stop.set()
        raise
