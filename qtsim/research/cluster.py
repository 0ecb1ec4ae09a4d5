"""Making the trials: on the workers of a Dask cluster, on this machine or on many.

The market is prepared here, once per group, and sent to each worker; a worker runs its trials with the same code as
this machine does, so that the rows are the same bytes. A worker that dies is missed by nobody: what it had not handed
over is made again by the others, or by itself once it is back.
"""

from __future__ import annotations

import importlib
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from qtsim.core._jit import DIGEST
from qtsim.core.records import (
    bar_dt,
    close_dt,
    funding_dt,
    instrument_dt,
    outage_dt,
    signal_dt,
    transfer_dt,
)
from qtsim.errors import QtsimError, UsageError
from qtsim.research.engine import FLUSH_SECONDS, Group, Job, MakeMarket, Told, TrialMarket, cores, run_cells
from qtsim.research.trade_file import NotHere, TradeFile, open_trades, receive_trades
from qtsim.research.trials import TrialSink, trial_dt
from qtsim.research.warming import run_smallest_trial
from qtsim.sim.index import Index
from qtsim.sim.market import Market

ANSWER_SECONDS = 10
"""How long a scheduler may take to answer, and a cluster to have a worker."""
TASKS_PER_CORE = 4
"""Tasks under way per thread of the cluster: enough that no worker waits."""
BATCH_SECONDS = 1.0
"""About how long one task is to take."""
BATCH_MOST = 2_000
TRIES = 5
"""Times that a task is handed out before its failure counts."""
DTYPES = {
    "bars": bar_dt,
    "signals": signal_dt,
    "funding": funding_dt,
    "instruments": instrument_dt,
    "closes": close_dt,
    "outages": outage_dt,
    "transfers": transfer_dt,
}
"""Fields of a market that are records. Kernels know them by these dtype objects, which do not survive a journey."""

Packed = dict[str, Any]
"""A market on its way: records as bytes."""

_runners = threading.local()


def pack_market(market: TrialMarket, *, with_trades: bool = False) -> Packed:
    """A market as plain values. Trades are named by their file; with_trades: and sent along, compressed."""
    values: Packed = market.market._asdict()
    for name in DTYPES:
        values[name] = values[name].tobytes()
    packed: Packed = {"market": values, "draws": market.draws, "trades": None}
    if market.trades is not None:
        file = market.trades
        sent = file.packed() if with_trades else None
        packed["trades"] = {"path": file.path, "token": file.token, "places": file.places, "sent": sent}
    return packed


def unpack_market(packed: Packed) -> TrialMarket:
    """The inverse of `pack_market`. Raises NotHere where trades are neither on this machine nor sent along."""
    values = dict(packed["market"])
    for name, dtype in DTYPES.items():
        values[name] = np.frombuffer(bytearray(values[name]), dtype)
    for name in ("boundaries", "bar_offsets", "signal_offsets", "funding_offsets", "has_mark", "close_offsets"):
        values[name] = np.array(values[name], dtype=np.int64)
    for name in ("marked", "ends"):
        values[name] = np.array(values[name], dtype=np.int64)
    values["bar_index"] = Index(*map(np.array, values["bar_index"]))  # what has arrived may be read only
    return TrialMarket(Market(**values), packed["draws"], _unpack_trades(packed["trades"]))


def _unpack_trades(packed: Packed | None) -> TradeFile | None:
    """The file of the machine that sent it, or one of our own, which markets with other signals use again."""
    if packed is None:
        return None
    if getattr(_runners, "trades_token", None) == packed["token"]:
        return cast(TradeFile, _runners.trades)
    try:
        file = open_trades(packed["path"], packed["token"], packed["places"])
    except NotHere:
        if packed["sent"] is None:
            raise
        file = receive_trades(Path(tempfile.gettempdir()), packed["sent"], packed["places"])
    _runners.trades, _runners.trades_token = file, packed["token"]
    return file


def run_task(packed: Packed, key: str, job: Job, symbol: int, cells: np.ndarray) -> tuple[bytes, float]:
    """One task of a worker: the rows of some cells, as bytes, and the seconds that they took."""
    if getattr(_runners, "key", None) != key:
        _runners.runner, _runners.key = unpack_market(packed).runner(), key
    began = time.perf_counter()
    rows = run_cells(_runners.runner, job, symbol, cells, None)
    return rows.tobytes(), time.perf_counter() - began


def kernels_digest() -> str:
    """The digest of the sources that this process compiles."""
    return DIGEST


def run_dask(
    groups: Sequence[Group],
    make_market: MakeMarket,
    job: Job,
    sink: TrialSink,
    told: Told,
    *,
    scheduler: str = "",
    workers: int | None = None,
) -> None:
    """Run every trial on a Dask cluster and put its row into `sink`.

    scheduler: address; empty: a cluster of `workers` processes on this machine. After a KeyboardInterrupt, or an error,
    what was finished is in the sink. Errors: QtsimError without Dask, or where a worker runs another version;
    UsageError where no scheduler answers.
    """
    with _client(scheduler, workers) as client:
        _register(client)
        progress = _Progress(sink, told)
        try:
            for group in groups:
                _run_group(client, group, make_market(group), job, progress)
        finally:
            sink.flush()


@contextmanager
def _client(scheduler: str, workers: int | None) -> Iterator[Any]:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise QtsimError('--engine dask needs Dask: pip install "qtsim[sweep]"') from error
    with _settings():
        if not scheduler:
            with distributed.LocalCluster(
                n_workers=workers or cores(), threads_per_worker=1, processes=True, dashboard_address=None,
                silence_logs=50,
            ) as cluster, distributed.Client(cluster) as client:  # fmt: skip
                yield client
            return
        try:
            client = distributed.Client(scheduler, timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise UsageError(
                f"no scheduler answers at {scheduler} ({reason}); start one with dask scheduler, or leave --scheduler "
                "out for a cluster on this machine"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=ANSWER_SECONDS)
            except TimeoutError as error:
                raise UsageError(
                    f"the scheduler at {scheduler} has no workers; start some with dask worker {scheduler}"
                ) from error
            yield client


@contextmanager
def _settings() -> Iterator[None]:
    """Dask's own settings for a sweep: no restarts of the scheduler's patience, no dashboard."""
    dask = importlib.import_module("dask")
    with dask.config.set({"distributed.scheduler.allowed-failures": TRIES, "distributed.comm.timeouts.connect": "10s"}):
        yield


def _register(client: Any) -> None:
    """Warm every worker once, those that come later too, and refuse workers of another version."""
    distributed = importlib.import_module("distributed")

    class Warming(distributed.WorkerPlugin):  # type: ignore[misc, name-defined]
        """Loads the compiled code when a worker starts."""

        name = "qtsim"

        def setup(self, worker: Any) -> None:
            """Called once per worker."""
            run_smallest_trial()

    try:
        client.register_plugin(Warming())
    except ImportError as error:
        raise QtsimError(f"the workers cannot import qtsim: {error}; install the same version there") from error
    digests = client.run(kernels_digest)
    other = next((worker for worker, digest in digests.items() if digest != DIGEST), None)
    if other is not None:
        raise QtsimError(f"the worker {other} runs another version of qtsim; install the same one on every machine")


class _Progress:
    """Hands rows to the sink, and tells."""

    def __init__(self, sink: TrialSink, told: Told) -> None:
        self.sink, self._told = sink, told
        self.done, self._flushed = 0, time.monotonic()

    def take(self, data: bytes) -> int:
        """Take the rows of one task. Returns their number."""
        rows = np.frombuffer(bytearray(data), trial_dt)
        self.sink.append(rows)
        self.done += len(rows)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.sink.flush()
            self._flushed = time.monotonic()
        self._told(self.done)
        return len(rows)


def _run_group(client: Any, group: Group, market: TrialMarket, job: Job, progress: _Progress) -> None:
    """All trials of one market, a bounded number of tasks at a time."""
    distributed = importlib.import_module("distributed")
    packed, key, sends_trades = pack_market(market), secrets.token_hex(8), False
    sent = _send(client, packed)
    batch = _Batches(group.cells)
    tasks: dict[Any, tuple[np.ndarray, int]] = {}

    def hand_out(cells: np.ndarray, tries: int) -> None:
        future = client.submit(run_task, sent, key, job, group.symbol, cells, pure=False, retries=TRIES)
        tasks[future] = (cells, tries)
        following.add(future)

    following = distributed.as_completed()
    room = max(1, sum(client.nthreads().values())) * TASKS_PER_CORE
    while len(tasks) < room and (cells := batch.next()) is not None:
        hand_out(cells, 1)
    try:
        for future in following:
            cells, tries = tasks.pop(future)
            try:
                data, seconds = future.result()
            except (KeyboardInterrupt, QtsimError):
                raise
            except NotHere:
                # a worker on another machine: from now on the trades go along
                if not sends_trades:
                    packed, sends_trades = pack_market(market, with_trades=True), True
                    sent = _send(client, packed)
                hand_out(cells, tries)
                continue
            except Exception as error:
                # a worker died with the market or the task: send the market again, hand the task out again
                if tries >= TRIES:
                    raise QtsimError(f"a Dask worker failed {tries} times on the same trials: {error}") from error
                client.wait_for_workers(1)
                sent = _send(client, packed)
                hand_out(cells, tries + 1)
                continue
            batch.measure(progress.take(data), seconds)
            future.release()
            if (cells_next := batch.next()) is not None:
                hand_out(cells_next, 1)
    finally:
        client.cancel(list(tasks))


def _send(client: Any, packed: Packed) -> Any:
    """The future of a market on every worker, under a name of its own: parts of a bare dict would be named by its keys,
    as those of the market before it were."""
    return client.scatter([packed], broadcast=True, hash=False)[0]


class _Batches:
    """Cuts cells into batches of about a second each."""

    def __init__(self, cells: np.ndarray) -> None:
        self._cells, self._at, self._size = cells, 0, 1

    def next(self) -> np.ndarray | None:
        """The next batch; None where there are no more."""
        if self._at >= len(self._cells):
            return None
        batch = self._cells[self._at : self._at + self._size]
        self._at += len(batch)
        return batch

    def measure(self, trials: int, seconds: float) -> None:
        """Learn how long trials take."""
        if trials:
            self._size = max(1, min(BATCH_MOST, int(BATCH_SECONDS * trials / max(seconds, 1e-6))))
