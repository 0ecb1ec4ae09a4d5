"""Recorded streams: one message of the exchange per line, with or without the time of its receipt before it.

1723161255088176367 {"stream":"btcusdt@trade","data":{"e":"trade","T":1723161256322,"s":"BTCUSDT", ...}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from qtsim.data.frames import Floats, parse_times
from qtsim.data.ticks.arrays import DTYPES, QUOTES, TRADES, Chunk, Columns
from qtsim.data.ticks.layouts import AGGREGATE, SINGLE, UPDATE
from qtsim.errors import DataError

_MESSAGE = re.compile(r'^\s*(?:\d{10,20}\s+)?\{.*"(?:stream|e)"\s*:\s*"')
_NAMES = {
    "trade": (TRADES, SINGLE, {"id": "t", "price": "p", "qty": "q", "is_buyer_maker": "m"}),
    "aggTrade": (TRADES, AGGREGATE, {"id": "a", "price": "p", "qty": "q", "is_buyer_maker": "m"}),
    "bookTicker": (QUOTES, UPDATE, {"id": "u", "bid": "b", "bid_qty": "B", "ask": "a", "ask_qty": "A"}),
}
_NO_TRADE = "NA"
"""Order type of a message that tells of no trade: its price and quantity are 0."""


def is_recording(line: str) -> bool:
    """Tell whether a line is a recorded message."""
    return bool(_MESSAGE.match(line))


def read_recording(lines: Iterable[bytes], what: str, chunk_rows: int) -> Iterator[Chunk]:
    """Read trades, aggregate trades and best quotes out of recorded messages; order books and the rest are left out.

    Raises
    ------
    DataError
        A line that is no message, or a message that lacks a field; its line is named.
    """
    rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    left_out = held = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, row = _row(line, what, number)
        if not name:
            left_out += 1
            continue
        rows.setdefault((name, row[0]), []).append(row)
        held += 1
        if held >= chunk_rows:
            yield from _chunks(rows, what, left_out)
            rows, left_out, held = {}, 0, 0
    yield from _chunks(rows, what, left_out)


def _row(line: bytes, what: str, number: int) -> tuple[str, tuple[Any, ...]]:
    """Name of the event, and symbol, line, time, whether that is of the receipt, and values; no name: left out."""
    stamp, space, body = line.strip().partition(b" ")
    if not (space and stamp.isdigit()):
        stamp, body = b"", line
    try:
        message = json.loads(body)
        data = message.get("data", message)
        name = str(data.get("e") or str(message.get("stream", "")).rpartition("@")[2])
        if name not in _NAMES or data.get("X") == _NO_TRADE:
            return "", ()
        time = data.get("T") or data.get("E")
        values = tuple(data[key] for key in _NAMES[name][2].values())
        return name, (str(data["s"]).upper(), number, int(time or stamp), not time, *values)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else "it is no whole message of a stream"
        shown = line[:60].decode("utf-8", errors="replace").strip()
        raise DataError(f"{what}, row {number}: {lacks}: {shown!r}") from error


def _chunks(rows: dict[tuple[str, str], list[tuple[Any, ...]]], what: str, left_out: int) -> Iterator[Chunk]:
    for (name, symbol), found in rows.items():
        kind, numbering, keys = _NAMES[name]
        table = pd.DataFrame(found, columns=["symbol", "row", "time", "received", *keys])
        columns: Columns = {"row": table["row"].to_numpy(np.int64)}
        columns["time"] = parse_times(table["time"], what)
        for ours, dtype in DTYPES[kind].items():
            if ours == "time":
                continue
            if dtype == "f8":
                columns[ours] = _numbers(table, ours, keys[ours], what)
            else:
                columns[ours] = table[ours].to_numpy(dtype=dtype)
        yield Chunk(kind, numbering, symbol, columns, int(table["received"].sum()), left_out)
        left_out = 0
    if not rows and left_out:
        yield Chunk("", "", "", {}, left_out=left_out)


def _numbers(table: pd.DataFrame, column: str, key: str, what: str) -> Floats:
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    if bool(np.isnan(numbers).any()):
        row = int(np.argmax(np.isnan(numbers)))
        raise DataError(f"{what}, row {table['row'].iloc[row]}: {key} is {table[column].iloc[row]!r}, not a number")
    return numbers
