"""qtsim sweep on a Dask cluster: workers that die and come back, rows that are the same bytes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qtsim.data.store import Store
from qtsim.research.folder import list_sweeps
from qtsim.research.trials import read_trials
from tests.unit.cli.made_workspace import Run
from tests.unit.cli.test_cli_sweep import asked, random_walk, wait_for_trials

pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[3]
GRIDS = "exit.base_tp=0.5%:5%:x20 exit.base_sl=0.3%:1.2%:x20"
Spawn = Callable[..., "subprocess.Popen[str]"]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def walking(empty: Run, tmp_path: Path) -> Run:
    """A workspace with a walk on which a sweep takes some seconds."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", random_walk(8_000), source="made for the test")
    return empty


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `dask WORDS` as a process of its own; what still runs at the end is stopped."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(kind: str, *words: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{kind}-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def scheduler(start: Start) -> str:
    """Address of a scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"tcp://127.0.0.1:{port}"
        time.sleep(0.1)
    raise AssertionError("the scheduler does not listen")


def worker(start: Start, address: str) -> subprocess.Popen[bytes]:
    return start("worker", address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--no-nanny")


def test_rows_of_two_workers_are_those_of_this_machine_though_one_dies(
    walking: Run, tmp_path: Path, spawn: Spawn, start: Start, scheduler: str
) -> None:
    first, _ = worker(start, scheduler), worker(start, scheduler)
    sweep = spawn(*asked(f"--engine dask --scheduler {scheduler}", GRIDS), PYTHONPATH=str(ROOT))
    wait_for_trials(sweep, tmp_path, 5)
    os.killpg(first.pid, signal.SIGKILL)
    worker(start, scheduler)  # it comes back
    out, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, err
    assert "400 of 400" in out
    (entry,) = list_sweeps(tmp_path)
    by_dask = read_trials(entry.path / "trials.rows").tobytes()
    walking("runs", "rm", entry.name)
    assert json.loads(walking(*asked("--json", GRIDS)).out)["made_now"] == 400
    (entry,) = list_sweeps(tmp_path)
    assert read_trials(entry.path / "trials.rows").tobytes() == by_dask


def test_a_scheduler_without_workers_is_told(walking: Run, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtsim.research import cluster

    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 2)
    answer = walking(*asked(f"--engine dask --scheduler {scheduler}", "exit.base_tp=1%,2%"))
    assert answer.code == 2
    assert "has no workers" in answer.err
    assert f"dask worker {scheduler}" in answer.err
