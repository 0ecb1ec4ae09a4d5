"""The trades of a market, ready to be run along, in one file that is mapped into memory.

Reading and joining stored trades takes longer than a trial does, so it is done once. What is mapped is not copied:
threads, and processes of this machine, look at the same pages, and the system takes back those that it needs elsewhere.
Memory grows neither with the number of trials nor with that of workers.

The file is locked by the process that wrote it, and removed when nobody needs it any more. One that a killed process
left is removed by the next that writes one in the same folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import secrets
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from qtsim.errors import QtsimError
from qtsim.sim.path_trades import PathTrades
from qtsim.sim.trade_index import TRADE_BLOCK, TradeIndex
from qtsim.sim.trades import TradeChunk

PREFIX, SUFFIX = ".trades-", ".map"
LINE = 64
"""Bytes; every array begins at a multiple of it."""
COLUMNS = len(PathTrades._fields)
TRADE_BYTES = 8 * COLUMNS + 10
"""Of each trade: its columns, its instant, whether it is marked, and of one or two symbols its part of the index."""


Bytes = bytes | memoryview


class NotHere(Exception):
    """The file is on another machine, or gone."""


@dataclass(frozen=True)
class Place:
    """Where a chunk lies: its first byte, and how many boundaries and trades it has. One array follows another."""

    at: int
    boundaries: int
    trades: int
    offsets: tuple[int, ...]
    ends: tuple[int, ...]
    is_last: bool

    @property
    def shapes(self) -> tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]:
        """Type and shape of the arrays of the chunk: boundaries, marked, its trades', its index'."""
        whole, number = np.dtype(np.int64), np.dtype(np.float64)
        symbols, blocks = len(self.ends), -(-self.boundaries // TRADE_BLOCK)
        return (
            (whole, (self.boundaries,)),
            (np.dtype(np.int8), (self.boundaries,)),
            (whole, (self.trades,)),
            *[(number, (self.trades,))] * (COLUMNS - 1),
            (whole, (blocks + 1, symbols)),
            (number, (blocks, symbols, 4)),
            (whole, (blocks,)),
        )

    @property
    def end(self) -> int:
        """The byte behind the chunk."""
        return self.at + sum(_lines(_size(dtype, shape)) for dtype, shape in self.shapes)


@dataclass(frozen=True, eq=False)
class TradeFile:
    """Chunks of trades on disk; gone through as often as is wanted, by several threads at a time."""

    path: Path
    token: bytes  # the file's first bytes: another file of that name is another
    places: tuple[Place, ...]
    data: np.ndarray  # uint8, mapped; what is written to it stays in this process

    def __iter__(self) -> Iterator[TradeChunk]:
        """The chunks in order of time, without copying a trade."""
        for place in self.places:
            boundaries, marked, *columns = self._arrays(place)
            yield TradeChunk(
                boundaries,
                marked,
                PathTrades(*columns[:COLUMNS]),
                np.array(place.offsets, dtype=np.int64),
                np.array(place.ends, dtype=np.int64),
                place.is_last,
                TradeIndex(*columns[COLUMNS:]),
            )

    def _arrays(self, place: Place) -> Iterator[np.ndarray]:
        at = place.at
        for dtype, shape in place.shapes:
            size = _size(dtype, shape)
            yield self.data[at : at + size].view(dtype).reshape(shape)
            at += _lines(size)

    @property
    def trades(self) -> int:
        """Number of trades."""
        return sum(place.trades for place in self.places)

    def packed(self) -> list[bytes]:
        """The chunks compressed, for a machine that cannot see the file."""
        return [zlib.compress(self.data[place.at : place.end].data, 1) for place in self.places]


def write_trades(folder: Path, chunks: Iterable[TradeChunk]) -> TradeFile:
    """Write chunks into a new file in `folder`, one chunk in memory at a time.

    Errors: QtsimError where the folder takes no more.
    """
    _remove_left(folder)
    places: list[Place] = []

    def pieces() -> Iterator[Bytes]:
        at = LINE
        for chunk in chunks:
            place = Place(
                at,
                len(chunk.boundaries),
                chunk.trades.rows,
                tuple(chunk.offsets.tolist()),
                tuple(chunk.ends.tolist()),
                chunk.is_last,
            )
            places.append(place)
            for array in (chunk.boundaries, chunk.marked, *chunk.trades, *chunk.index):
                yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
                yield _filling(array.nbytes)
            at = place.end

    return _written(folder, pieces(), places)


def receive_trades(folder: Path, packed: Sequence[bytes], places: Sequence[Place]) -> TradeFile:
    """The file of another machine, written anew on this one. packed: see `TradeFile.packed`."""
    _remove_left(folder)
    return _written(folder, map(zlib.decompress, packed), places)


def open_trades(path: Path, token: bytes, places: Sequence[Place]) -> TradeFile:
    """A file of this machine that another process has written. Raises NotHere where this process cannot see it."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(token)) != token:
                raise NotHere(str(path))
            return TradeFile(path, token, tuple(places), _mapped(stream, path))
    except OSError as error:
        raise NotHere(str(path)) from error


def _written(folder: Path, pieces: Iterable[Bytes], places: Sequence[Place]) -> TradeFile:
    """A new file of these pieces behind its token; `places` may fill while they are taken."""
    token = secrets.token_bytes(16)
    descriptor, name = -1, ""
    try:
        descriptor, name = tempfile.mkstemp(SUFFIX, PREFIX, folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.fdopen(os.dup(descriptor), "r+b") as stream:
            stream.write(token + _filling(len(token)))
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            file = TradeFile(Path(name), token, tuple(places), _mapped(stream, Path(name)))
    except BaseException as error:
        _remove(descriptor, name)
        if isinstance(error, OSError):
            raise QtsimError(
                f"cannot write the trades of a sweep to {folder}: {error.strerror or error}; they need about "
                f"{TRADE_BYTES} bytes for each trade of the period while it runs: "
                "make room, or shorten it"
            ) from error
        raise
    weakref.finalize(file, _remove, descriptor, name)
    return file


def _mapped(stream: IO[bytes], path: Path) -> np.ndarray:
    """The whole file as bytes. Compiled code knows one kind of array, which may be written to."""
    size = os.fstat(stream.fileno()).st_size
    return np.memmap(path, np.uint8, "c", 0, (size,)).view(np.ndarray)


def _remove(descriptor: int, name: str) -> None:
    if name:
        with contextlib.suppress(OSError):
            os.unlink(name)
    if descriptor >= 0:
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    """Remove files that no living process holds."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _filling(size: int) -> bytes:
    """What fills the last line of so many bytes."""
    return bytes(_lines(size) - size)


def _size(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Bytes of an array."""
    return dtype.itemsize * math.prod(shape)


def _lines(size: int) -> int:
    """A size as a whole number of lines."""
    return -(-size // LINE) * LINE
