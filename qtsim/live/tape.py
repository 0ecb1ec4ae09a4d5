"""What a session is told and what it decides, written down as it happens, so that it can be gone through again."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeAlias

import numpy as np

from qtsim.core.records import Records, signal_dt
from qtsim.trading.journal import KINDS

SIGNALS = "signals"
"""Kind of the rows that a strategy answered with, beside those that a session writes."""
ROWS = {**KINDS, SIGNALS: signal_dt}
SEVERAL = "several"
"""Kind of a row that holds several inputs."""
Input: TypeAlias = tuple[str, Mapping[str, Any]]
"""(kind, body)"""
LONG = 4096
"""Bytes from which an input is compressed: only the history that a session starts with is as long."""


class Tape(Protocol):
    """Where inputs and decisions go."""

    def input(self, kind: str, body: Mapping[str, Any]) -> None:
        """The session is about to be told this."""

    def decision(self, kind: str, row: Records) -> None:
        """The last input made it write this row."""


class NoTape:
    """Keeps nothing."""

    def input(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def decision(self, kind: str, row: Records) -> None:
        """Keep nothing."""


def to_bytes(body: Mapping[str, Any], long: int = LONG) -> bytes:
    """An input as bytes; floats come back as they were, NaN and infinities included. From `long` on compressed."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return text if len(text) < long else zlib.compress(text, 6)


def from_bytes(data: bytes) -> dict[str, Any]:
    """The inverse of `to_bytes`."""
    found: dict[str, Any] = json.loads(data if data.startswith(b"{") else zlib.decompress(data))
    return found


def packed(inputs: Sequence[Input]) -> tuple[str, bytes]:
    """Inputs on which nothing was decided as one row of a journal: (kind, body)."""
    if len(inputs) == 1:
        return inputs[0][0], to_bytes(inputs[0][1])
    return SEVERAL, to_bytes({"inputs": [[kind, body] for kind, body in inputs]}, long=0)


def unpacked(rows: Iterable[tuple[int, str, bytes]]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The inverse of `packed`: (number of the row, kind, body) of every input of a journal's rows."""
    for at, kind, data in rows:
        body = from_bytes(data)
        if kind != SEVERAL:
            yield at, kind, body
            continue
        for own, single in body["inputs"]:
            yield at, own, single


def names_of(row: Records) -> tuple[str, ...]:
    """The fields of a record."""
    return tuple(row.dtype.names or ())


def row_bytes(row: Records) -> bytes:
    """A row field by field: padding carries no information."""
    return b"".join(np.ascontiguousarray(row[name]).tobytes() for name in names_of(row))


def row_of(kind: str, data: bytes) -> Records:
    """The inverse of `row_bytes`. Shape (1,)."""
    row, at = np.zeros(1, ROWS[kind]), 0
    for name in names_of(row):
        size = row[name].nbytes
        row[name] = np.frombuffer(data[at : at + size], row[name].dtype).reshape(row[name].shape)
        at += size
    return row


def record_of(row: Records) -> dict[str, Any]:
    """A row's scalar fields as plain values, for an input."""
    return {name: row[name][0].item() for name in names_of(row)}


def filled(row: Records, values: Mapping[str, Any]) -> Records:
    """The inverse of `record_of`, into an empty row of shape (1,)."""
    for name, value in values.items():
        row[name] = value
    return row


def layout_of(rows: Records) -> str:
    """Names the fields of a record; another layout cannot be read into it."""
    return f"{_digest(rows.dtype)}:{len(rows)}"


@cache
def _digest(dtype: Any) -> str:
    return hashlib.sha256(repr(dtype.descr).encode()).hexdigest()[:16]
