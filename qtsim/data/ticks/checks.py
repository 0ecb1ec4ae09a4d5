"""Whether trades and quotes can be simulated: what is wrong with single rows, with their order, and with copies.

The exchange's ids say in which order things happened, so rows are put in that order, whatever the order in the file.
Nothing else is ever changed: a row is kept as it is, dropped and counted, or an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qtsim.data.frames import Floats, Times
from qtsim.data.quality import REMEDY
from qtsim.data.ticks.arrays import QUOTES, TRADES, Columns, Flags, join_columns, take_rows
from qtsim.data.ticks.layouts import COUNTED
from qtsim.data.timeframes import SECOND, format_ts
from qtsim.errors import DataError, UsageError

STEP_BACK_LIMIT = SECOND
"""A later trade may be stamped so much earlier than one before it: the exchange's machines differ by milliseconds."""
CROSSED, DUPLICATE, UNSORTED, RECEIVED = "crossed", "duplicate", "unsorted", "received"

_PRICES = {TRADES: ("price",), QUOTES: ("bid", "ask")}
_QTYS = {TRADES: ("qty",), QUOTES: ("bid_qty", "ask_qty")}


@dataclass(frozen=True)
class Place:
    """Where rows come from, for errors."""

    what: str
    """The file."""
    stored: str = ""
    """The stored file that they are merged with."""

    def row(self, number: int) -> str:
        """Name one row; 0 is one that is stored."""
        return f"row {number}" if number else f"{self.stored or 'the store'}"


def sift_rows(kind: str, columns: Columns, what: str, on_bad_rows: str = "error") -> tuple[Columns, Counter[str]]:
    """Check every row by itself, and leave out crossed quotes.

    Bad rows: a price or quantity that is not a finite number above 0. `error` names the first, `drop` drops and counts
    them. A quote whose bid is not below its ask is always left out and counted: no order can be filled at it, and the
    one before it holds until the next.

    Parameters
    ----------
    kind : str
        `trades` or `quotes`.
    columns : Columns
        With `row`.
    what : str
        Named in errors: the file.
    on_bad_rows : str
        `error` or `drop`.

    Returns
    -------
    columns : Columns
    found : Counter
        Rows left out by reason.

    Raises
    ------
    DataError
        A bad row under `error`.
    UsageError
        `on_bad_rows` is neither word.
    """
    if on_bad_rows not in ("error", "drop"):
        raise UsageError(f"data.on_bad_rows = {on_bad_rows!r} is not known; use error or drop")
    found: Counter[str] = Counter()
    names = (*_PRICES[kind], *_QTYS[kind])
    bad = {name: ~_is_positive(columns[name]) for name in names}
    any_bad = np.logical_or.reduce(list(bad.values()))
    if any_bad.any():
        if on_bad_rows == "error":
            raise DataError(f"{what}, {_first_bad(kind, columns, bad)}{REMEDY}")
        for name in names:
            found[f"{name} not above 0"] += int(bad[name].sum())
            bad = {other: mask & ~bad[name] for other, mask in bad.items()}
        columns = take_rows(columns, ~any_bad)
    if kind == QUOTES:
        crossed = columns["bid"] >= columns["ask"]
        if crossed.any():
            found[CROSSED] = int(crossed.sum())
            columns = take_rows(columns, ~crossed)
    return columns, +found


def order_rows(numbering: str, columns: Columns, place: Place) -> tuple[Columns, Counter[str]]:
    """Put the rows of one file and day into the exchange's order, and drop copies.

    Rows with ids are ordered by them; quotes without ids by time, where equal times keep the file's order and get a
    running number as id. A row that another repeats in every value is dropped and counted.

    Raises
    ------
    DataError
        Two rows with one id and different values; both are named.
    """
    found: Counter[str] = Counter()
    by_time = numbering == COUNTED
    key = columns["time"] if by_time else columns["id"]
    found[UNSORTED] = int((key[1:] < np.maximum.accumulate(key)[:-1]).sum())
    if found[UNSORTED]:
        columns = take_rows(columns, np.argsort(key, kind="stable"))
    again = _equals_previous(columns, ignore=("id", "row") if by_time else ("row",))
    if by_time:
        found[DUPLICATE] = int(again.sum())
        columns = take_rows(columns, ~again) if again.any() else columns
        return columns | {"id": _number_instants(columns["time"])}, +found
    columns, dropped = _drop_copies(columns, again, numbering, place)
    found[DUPLICATE] = dropped
    return columns, +found


def merge_day(numbering: str, stored: Columns | None, fresh: Columns, place: Place) -> tuple[Columns, int]:
    """Merge ordered rows into those that are stored of the same day.

    Returns
    -------
    columns : Columns
        All rows in order, with `row` 0 for those that were stored.
    added : int
        Rows that were not stored.

    Raises
    ------
    DataError
        A row that contradicts a stored one, or a time that goes back further than clocks can differ.
    """
    if stored is None:
        check_steps_back(fresh, place)
        return fresh, len(fresh["time"])
    both = join_columns([stored | {"row": np.zeros(len(stored["time"]), dtype=np.int64)}, fresh])
    keys = (both["id"], both["time"]) if numbering == COUNTED else (both["id"],)
    both = take_rows(both, np.lexsort(keys))
    both, _ = _drop_copies(both, _equals_previous(both, ignore=("row",)), numbering, place)
    check_steps_back(both, place)
    return both, len(both["time"]) - len(stored["time"])


def check_steps_back(columns: Columns, place: Place) -> None:
    """Refuse rows in the order of their ids whose times go back by more than clocks differ.

    Raises
    ------
    DataError
        Both rows and times are named.
    """
    times = columns["time"]
    back = np.maximum.accumulate(times) - times if len(times) else times
    if not len(times) or int(back.max()) <= STEP_BACK_LIMIT:
        return
    row = int(np.argmax(back > STEP_BACK_LIMIT))
    before = int(np.argmax(times[:row]))
    ids, numbers = columns["id"], columns["row"]
    late, early = (f"id {ids[at]} is of {format_ts(int(times[at]))}" for at in (before, row))
    raise DataError(
        f"{place.what}, {place.row(int(numbers[row]))}: {early}, but {late} and comes before it "
        f"({place.row(int(numbers[before]))}), {back[row] / SECOND:g} s later; ids and times of one market rise "
        "together: are these two markets, or is a time wrong?"
    )


def steps_back(times: Times) -> tuple[int, int]:
    """Count rows that are stamped earlier than one before them. Returns also the largest such step, ns."""
    if not len(times):
        return 0, 0
    back = np.maximum.accumulate(times) - times
    return int((back > 0).sum()), int(back.max())


def missing_ids(ids: Times, before: int | None = None) -> tuple[int, int, int]:
    """Count ids that rising ids pass over: missing ids, gaps, the longest gap.

    Parameters
    ----------
    ids : int64 array
    before : int, optional
        The last id of the day before.
    """
    if before is not None:
        ids = np.concatenate((np.array([before], dtype=np.int64), ids))
    steps = np.diff(ids) - 1
    steps = steps[steps > 0]
    return int(steps.sum()), len(steps), int(steps.max()) if len(steps) else 0


def core_ids(columns: Columns, day: int, day_end: int) -> tuple[int, int] | None:
    """Smallest and largest id of a day but for its first and last second, in which clocks may name the other day."""
    times = columns["time"]
    inside = (times >= day + STEP_BACK_LIMIT) & (times < day_end - STEP_BACK_LIMIT)
    ids = columns["id"][inside]
    return (int(ids.min()), int(ids.max())) if len(ids) else None


def describe_found(found: Mapping[str, int]) -> str:
    """Say what a check left out or put in order; empty where nothing."""
    words = {
        CROSSED: "crossed quotes left out",
        DUPLICATE: "copies dropped",
        UNSORTED: "rows out of order: put in the order of their ids",
        RECEIVED: "rows by the time of their receipt, as the exchange's is not recorded",
    }
    parts = [f"{count:,} {words.get(reason, f'rows dropped: {reason}')}" for reason, count in found.items() if count]
    return "; ".join(parts)


def _is_positive(values: Floats) -> Flags:
    return np.asarray((values > 0) & (values < np.inf), dtype=bool)


def _first_bad(kind: str, columns: Columns, bad: Mapping[str, Flags]) -> str:
    at = {name: int(np.argmax(mask)) for name, mask in bad.items() if mask.any()}
    row = min(at.values())
    name = next(name for name, first in at.items() if first == row)
    noun = "price" if name in _PRICES[kind] else "quantity"
    when = format_ts(int(columns["time"][row]))
    return f"row {columns['row'][row]} ({when}): {name} is {columns[name][row]:.12g}; a {noun} is a number above 0"


def _equals_previous(columns: Columns, ignore: tuple[str, ...]) -> Flags:
    """Rows that repeat the row before them."""
    rows = len(columns["time"])
    same = np.ones(rows, dtype=bool)
    same[:1] = False
    for name, values in columns.items():
        if name not in ignore:
            same[1:] &= values[1:] == values[:-1]
    return same


def _drop_copies(columns: Columns, again: Flags, numbering: str, place: Place) -> tuple[Columns, int]:
    """Drop rows that repeat the one before; refuse rows with the same id and other values."""
    ids = columns["id"]
    clash = np.zeros(len(ids), dtype=bool)
    clash[1:] = (ids[1:] == ids[:-1]) & ~again[1:]
    if numbering == COUNTED:
        clash[1:] &= columns["time"][1:] == columns["time"][:-1]
    if clash.any():
        raise DataError(_clash_text(columns, int(np.argmax(clash)), numbering, place))
    count = int(again.sum())
    return (take_rows(columns, ~again), count) if count else (columns, 0)


def _clash_text(columns: Columns, row: int, numbering: str, place: Place) -> str:
    name = next(name for name in columns if name not in ("row", "id") and columns[name][row] != columns[name][row - 1])
    mine, other = int(columns["row"][row]), int(columns["row"][row - 1])
    values = (columns[name][row], columns[name][row - 1])
    here, there = (format_ts(int(value)) if name == "time" else f"{value:.12g}" for value in values)
    which = f"time {format_ts(int(columns['time'][row]))}" if numbering == COUNTED else f"id {columns['id'][row]}"
    remedy = (
        "remove the wrong one"
        if other
        else "where the stored one is wrong, delete that file and import again; two markets need two data folders"
    )
    return f"{place.what}, row {mine}: {which} has {name} {here}, and {there} in {place.row(other)}; {remedy}"


def _number_instants(times: Times) -> Times:
    """Count the rows of each instant from 0; times are sorted."""
    index = np.arange(len(times), dtype=np.int64)
    starts = np.concatenate(([True], times[1:] != times[:-1])) if len(times) else np.zeros(0, dtype=bool)
    return index - np.maximum.accumulate(np.where(starts, index, 0))
