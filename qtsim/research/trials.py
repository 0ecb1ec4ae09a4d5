"""The finished trials of a sweep: rows of fixed size, appended to a file and read back.

The file is a header and rows, each with its own checksum. A process that dies leaves at most one torn row at the end,
which is cut off when the file is opened again; a row that is in the file is never made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from qtsim.core.records import Records
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.sim.measure import measure_dt

trial_dt = np.dtype(
    [
        ("cell", "i8"),
        ("symbol", "i4"),  # index of the symbol that was traded alone; ALL_SYMBOLS
        ("check", "u4"),  # CRC-32 of the row with 0 here
        ("measures", measure_dt),
    ],
    align=True,
)
"""One finished trial."""
ALL_SYMBOLS = -1
"""One account for all symbols."""
MAGIC = b"qtsim trials 1\n\0"
HEADER = 64
"""Bytes: MAGIC, the length of a row, and what the rows belong to."""


def sealed(rows: Records) -> Records:
    """The rows with their checksums set. rows: trial_dt."""
    rows["check"] = 0
    for k in range(len(rows)):
        rows["check"][k] = zlib.crc32(rows[k].tobytes())
    return rows


def _is_whole(row: Records) -> bool:
    copy = row.copy()
    copy["check"] = 0
    return zlib.crc32(copy.tobytes()) == int(row["check"])


class TrialSink(Protocol):
    """Where finished trials go."""

    def append(self, rows: Records) -> None:
        """Take sealed rows, trial_dt."""

    def flush(self) -> None:
        """Make what was appended durable."""

    def rows(self) -> Records:
        """All rows so far, trial_dt, by cell and symbol."""


class TrialsInMemory:
    """Trials that nobody wants to keep."""

    def __init__(self) -> None:
        self._parts: list[Records] = []

    def append(self, rows: Records) -> None:
        """Take rows."""
        self._parts.append(rows.copy())

    def flush(self) -> None:
        """Nothing is kept."""

    def rows(self) -> Records:
        """All rows, by cell and symbol."""
        return in_order(np.concatenate([*self._parts, np.zeros(0, trial_dt)]))


class TrialFile:
    """The trials of one sweep on disk; one process writes them at a time."""

    def __init__(self, path: Path, belongs_to: bytes) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock()
            self._size = self._open(belongs_to)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{self.path.parent.name} is being run by another process; wait for it or stop it"
            ) from None

    def _open(self, belongs_to: bytes) -> int:
        """Bytes of the file that are whole; what lies behind them is cut off."""
        header = _header(belongs_to)
        found = os.pread(self._descriptor, HEADER, 0)
        if len(found) < HEADER:
            os.ftruncate(self._descriptor, 0)
            self._write(header, 0)
            return HEADER
        if found != header:
            raise DataError(f"{self.path} belongs to another sweep or version of qtsim; remove its folder")
        size = HEADER + count_whole(self.path) * trial_dt.itemsize
        os.ftruncate(self._descriptor, size)
        return size

    def append(self, rows: Records) -> None:
        """Write sealed rows behind the others. Errors: QtsimError where the disk takes no more; nothing is torn."""
        self._size = self._write(rows.tobytes(), self._size)

    def _write(self, data: bytes, at: int) -> int:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], at + done)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, at)
            raise QtsimError(
                f"cannot write the trials to {self.path}: {error.strerror}; those before are kept: make room and run "
                "the same command again"
            ) from error
        return at + len(data)

    def flush(self) -> None:
        """Make what was appended durable."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise QtsimError(f"cannot write the trials to {self.path}: {error.strerror}") from error

    def rows(self) -> Records:
        """All rows, by cell and symbol."""
        return read_trials(self.path)

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def open_trials(path: Path, belongs_to: bytes) -> Iterator[TrialFile]:
    """The file of a sweep's trials, locked while it is used."""
    trials = TrialFile(path, belongs_to)
    try:
        yield trials
    finally:
        trials.close()


def _header(belongs_to: bytes) -> bytes:
    return (MAGIC + trial_dt.itemsize.to_bytes(8, "little") + belongs_to[:32]).ljust(HEADER, b"\0")


def count_whole(path: Path) -> int:
    """Rows of a file up to the first that is torn or damaged."""
    rows = _mapped(path)
    for k in range(len(rows)):
        if not _is_whole(rows[k]):
            return k
    return len(rows)


def read_trials(path: Path) -> Records:
    """The whole rows of a file, trial_dt, by cell and symbol. Errors: DataError where it is no such file."""
    if not path.exists():
        return np.zeros(0, trial_dt)
    with path.open("rb") as stream:
        header = stream.read(HEADER)
    if header and (header[: len(MAGIC)] != MAGIC or header[: len(MAGIC) + 8] != _header(b"")[: len(MAGIC) + 8]):
        raise DataError(f"{path} was written by another version of qtsim, or is no file of trials")
    return in_order(_mapped(path)[: count_whole(path)])


def _mapped(path: Path) -> Records:
    count = max(os.path.getsize(path) - HEADER, 0) // trial_dt.itemsize
    if count == 0:
        return np.zeros(0, trial_dt)
    return np.memmap(path, trial_dt, "r", HEADER, (count,)).view(np.ndarray)


def in_order(rows: Records) -> Records:
    """Rows by cell and symbol, each once."""
    order = np.lexsort((rows["symbol"], rows["cell"]))
    cells, symbols = rows["cell"][order], rows["symbol"][order]
    again = np.zeros(len(rows), dtype=bool)
    again[1:] = (cells[1:] == cells[:-1]) & (symbols[1:] == symbols[:-1])
    return rows[order[~again]]


def done_of(rows: Records) -> set[tuple[int, int]]:
    """(cell, symbol) of the finished trials."""
    return set(zip(rows["cell"].tolist(), rows["symbol"].tolist(), strict=True))
