"""Making the trials: on the cores of this machine.

Compiled runs hold no interpreter lock, so threads share one market and run side by side. One thread prepares the next
market while the others run trials of the one before, so at most a few markets are in memory.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qtsim.core.records import Records
from qtsim.research.parameters import TrialParams
from qtsim.research.space import Space
from qtsim.research.trade_file import TradeFile
from qtsim.research.trials import TrialSink, sealed, trial_dt
from qtsim.sim.market import Floats, Market
from qtsim.sim.trials import Interrupted, TrialRunner, measure_dt

FLUSH_SECONDS = 0.5
"""What a lost machine may cost; a killed process costs less."""
BATCH_SECONDS = 0.05
"""About how long a thread works before it hands over what it has finished."""
BATCH_MOST = 256
AHEAD = 2
"""Markets that are ready at a time, the one in use among them."""


@dataclass(frozen=True)
class TrialMarket:
    """A prepared market, the uniforms of an agent that learns (sizing model rl), and the trades that are its path."""

    market: Market
    draws: Floats | None = None
    trades: TradeFile | None = None  # None: the market's bars are the path

    def runner(self) -> TrialRunner:
        """Runs trials of it in one thread."""
        return TrialRunner(self.market, self.draws, self.trades)


@dataclass(frozen=True)
class Group:
    """Trials of one market: the same signals, other parameters."""

    at: tuple[int, ...]  # a place on every axis; those of the market's axes count
    symbol: int  # traded alone; ALL_SYMBOLS
    cells: np.ndarray  # int64


@dataclass(frozen=True)
class Job:
    """Everything that the trials of a sweep share."""

    space: Space
    params: Mapping[int, TrialParams]  # by the length of the signals' bars, ns


MakeMarket = Callable[[Group], TrialMarket]
"""Prepares the market of a group."""
Told = Callable[[int], None]
"""Called with the number of trials finished so far, several times a second."""


def run_cells(
    runner: TrialRunner, job: Job, symbol: int, cells: Sequence[int] | np.ndarray, ends: Callable[[], bool] | None
) -> Records:
    """Run some cells on one market. Returns their sealed rows, trial_dt; fewer where `ends` says so on the way."""
    rows = np.zeros(len(cells), trial_dt)
    out = np.zeros(1, measure_dt)
    places = job.space.indices(cells)
    records = job.params[runner.market.timeframe_ns]
    done = 0
    for k, cell in enumerate(cells):
        params, balance = records.of(places[k])
        try:
            runner.run(params, balance, out, ends)
        except Interrupted:
            break
        rows[k]["cell"], rows[k]["symbol"] = cell, symbol
        rows["measures"][k] = out[0]
        done += 1
    return sealed(rows[:done])


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_local(
    groups: Sequence[Group], make_market: MakeMarket, job: Job, sink: TrialSink, told: Told, *, jobs: int | None = None
) -> None:
    """Run every trial on this machine's cores and put its row into `sink`.

    After a KeyboardInterrupt, or an error, what was finished is in the sink. jobs: threads.
    """
    pool = _Pool(groups, make_market, job)
    count = max(1, jobs or cores())
    threads = [threading.Thread(target=pool.prepare, daemon=True)]
    threads += [threading.Thread(target=pool.work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        _collect(pool, threads, sink, told)
    finally:
        pool.stop()
        for thread in threads:
            thread.join()
        pool.drain(sink)
    if pool.error is not None:
        raise pool.error


def _collect(pool: _Pool, threads: Sequence[threading.Thread], sink: TrialSink, told: Told) -> None:
    """Hand rows to the sink until all threads have ended."""
    done, flushed = 0, time.monotonic()
    while any(thread.is_alive() for thread in threads):
        try:
            rows = pool.finished.get(timeout=0.1)
        except queue.Empty:
            continue
        sink.append(rows)
        done += len(rows)
        now = time.monotonic()
        if now - flushed > FLUSH_SECONDS:
            sink.flush()
            flushed = now
        told(done)


class _Pool:
    """What the threads of one sweep share."""

    def __init__(self, groups: Sequence[Group], make_market: MakeMarket, job: Job) -> None:
        self.finished: queue.SimpleQueue[Records] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self._groups, self._make_market, self._job = groups, make_market, job
        self._changed = threading.Condition()
        self._ready: deque[_Open] = deque()
        self._is_last = False
        self._is_stopped = False

    def stop(self) -> None:
        """Let every thread end soon."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def drain(self, sink: TrialSink) -> None:
        """Hand over what was finished last."""
        while not self.finished.empty():
            sink.append(self.finished.get())
        sink.flush()

    def prepare(self) -> None:
        """Prepare one market after the other, a little ahead of the work."""
        try:
            for group in self._groups:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_stopped or len(self._ready) < AHEAD)
                    if self._is_stopped:
                        return
                opened = _Open(group, self._make_market(group))
                with self._changed:
                    self._ready.append(opened)
                    self._changed.notify_all()
        except BaseException as error:
            self.error = self.error or error  # told once the markets that are ready have been run
        with self._changed:
            self._is_last = True
            self._changed.notify_all()

    def work(self) -> None:
        """Run trials until there are no more."""
        try:
            runner, seconds = None, BATCH_SECONDS
            while True:
                taken = self._take(max(1, min(BATCH_MOST, int(BATCH_SECONDS / seconds))))
                if taken is None:
                    return
                opened, cells = taken
                if runner is None or runner.market is not opened.market.market:
                    runner = opened.market.runner()
                began = time.perf_counter()
                rows = run_cells(runner, self._job, opened.group.symbol, cells, lambda: self._is_stopped)
                seconds = max(1e-6, (time.perf_counter() - began) / max(1, len(rows)))
                if len(rows):
                    self.finished.put(rows)
        except BaseException as error:
            self._fail(error)

    def _take(self, count: int) -> tuple[_Open, np.ndarray] | None:
        """The next cells; None where there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._is_last or bool(self._ready))
            if self._is_stopped or not self._ready:
                return None
            opened = self._ready[0]
            cells = opened.group.cells[opened.next : opened.next + count]
            opened.next += len(cells)
            if opened.next >= len(opened.group.cells):
                self._ready.popleft()
                self._changed.notify_all()
            return opened, cells

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self.error = self.error or error
            self._is_stopped = True
            self._changed.notify_all()


@dataclass
class _Open:
    """A group whose market is ready, and how far its cells have been handed out."""

    group: Group
    market: TrialMarket
    next: int = 0
