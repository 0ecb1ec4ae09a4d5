"""The file of a sweep's trades: the same chunks as often as is wanted, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qtsim.errors import QtsimError
from qtsim.research.trade_file import (
    NotHere,
    TradeFile,
    open_trades,
    receive_trades,
    write_trades,
)
from qtsim.sim.path_trades import path_trades
from qtsim.sim.trades import TradeChunk, join_chunk

HOUR = 3_600_000_000_000


def chunks(seed: int = 1, trades: int = 50) -> Iterator[TradeChunk]:
    """Three chunks of two symbols, the second chunk without a trade."""
    rng = np.random.default_rng(seed)
    for k, count in enumerate((trades, 0, 7)):
        start = 4 * k * HOUR
        parts = []
        for _ in range(2):
            times = np.sort(start + rng.integers(0, 4 * HOUR, count))
            price = rng.uniform(90.0, 110.0, count)
            parts.append(path_trades(times, price, np.ones(count), price, np.full(count, 0.01)))
        grid = start + np.arange(4) * HOUR
        yield join_chunk(parts, grid, [k == 2, k == 2], horizon=None if k == 2 else start + 4 * HOUR)


def assert_chunks(file: TradeFile) -> None:
    told = list(file)
    assert len(told) == 3
    for mine, theirs in zip(told, chunks(), strict=True):
        names = ("boundaries", "marked", "offsets", "ends")
        pairs = [(getattr(mine, name), getattr(theirs, name), name) for name in names]
        pairs += list(zip(mine.index, theirs.index, mine.index._fields, strict=True))
        pairs += list(zip(mine.trades, theirs.trades, mine.trades._fields, strict=True))
        for one, other, name in pairs:
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            assert one.tobytes() == other.tobytes(), name
            assert one.flags.aligned
            assert one.flags.writeable, "compiled code knows no array that it may not write to"
        assert mine.is_last == theirs.is_last


def columns_of(chunk: TradeChunk) -> bytes:
    """The trades of a chunk as bytes."""
    return b"".join(column.tobytes() for column in chunk.trades)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_chunks_come_back_as_they_were_as_often_as_is_wanted(tmp_path: Path) -> None:
    file = write_trades(tmp_path, chunks())
    assert file.trades == 114
    assert [chunk.own for chunk in file] == [len(chunk.boundaries) - (not chunk.is_last) for chunk in chunks()]
    assert_chunks(file)
    assert_chunks(file)


def test_trades_are_not_copied(tmp_path: Path) -> None:
    file = write_trades(tmp_path, chunks())
    first, again = next(iter(file)), next(iter(file))
    assert np.shares_memory(first.trades.price, again.trades.price)
    assert np.shares_memory(first.trades.price, file.data)


def test_the_file_is_gone_once_nobody_needs_it(tmp_path: Path) -> None:
    file = write_trades(tmp_path, chunks())
    assert left(tmp_path) == [file.path.name]
    chunk = next(iter(file))
    del file
    assert left(tmp_path) == []
    assert chunk.trades.rows == 100, "what has been handed out stays readable"
    assert chunk.trades.price.sum() > 0.0


def opened_elsewhere(path: Path, token: bytes, places: tuple) -> bytes:  # type: ignore[type-arg]
    return columns_of(next(iter(open_trades(path, token, places))))


def test_another_process_of_the_machine_sees_the_same_file(tmp_path: Path) -> None:
    file = write_trades(tmp_path, chunks())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seen = pool.apply(opened_elsewhere, (file.path, file.token, file.places))
    assert seen == columns_of(next(chunks()))


def test_a_file_that_is_elsewhere_is_sent(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    file = write_trades(here, chunks())
    with pytest.raises(NotHere):
        open_trades(there / file.path.name, file.token, file.places)
    with pytest.raises(NotHere):
        open_trades(file.path, b"another file of that name", file.places)
    assert_chunks(receive_trades(there, file.packed(), file.places))


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.unit.research.test_trade_file import chunks\n"
        "from qtsim.research.trade_file import write_trades\n"
        "file = write_trades(Path(sys.argv[1]), chunks()); print(file.path.name, flush=True); time.sleep(60)"
    )
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    with process.stdout:
        name = process.stdout.readline().strip()
    mine = write_trades(tmp_path, chunks())
    assert left(tmp_path) == sorted([name, mine.path.name])
    process.send_signal(signal.SIGKILL)
    process.wait()
    other = write_trades(tmp_path, chunks())
    assert left(tmp_path) == sorted([mine.path.name, other.path.name])


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(QtsimError, match=r"cannot write the trades of a sweep.*File too large.*50 bytes") as told:
            write_trades(tmp_path, chunks(trades=500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(tmp_path) in str(told.value)
    assert left(tmp_path) == []


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[TradeChunk]:
        yield next(chunks())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_trades(tmp_path, broken())
    assert left(tmp_path) == []
