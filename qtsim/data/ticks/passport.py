"""The data passport of trades and quotes, and what is stored of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from qtsim.data.symbols import normalize_symbol
from qtsim.data.ticks.arrays import TRADES
from qtsim.data.ticks.checks import CROSSED, DUPLICATE, RECEIVED, UNSORTED, missing_ids, steps_back
from qtsim.data.ticks.store import StoredDay, TickStore, day_text, fingerprint_days
from qtsim.data.timeframes import DAY, format_ts
from qtsim.errors import DataError

Stage: TypeAlias = Callable[[str, int, int], object]
"""Called with (what is being done, done, all)."""
_NAMED_SOURCES = 3


@dataclass(frozen=True)
class TickSeries:
    """What is stored of one symbol's trades or quotes. Times are int64 ns UTC."""

    kind: str
    symbol: str
    days: int
    rows: int
    start: int
    end: int
    source: str


@dataclass
class _Totals:
    """What the days of a series have together."""

    rows: int = 0
    missing: int = 0
    gaps: int = 0
    longest: int = 0
    back: int = 0
    furthest: int = 0


def survey_ticks(store: TickStore) -> tuple[list[TickSeries], dict[Path, str]]:
    """Return what is stored by kind and symbol, and what is wrong with each file that cannot be used."""
    entries, damaged = store.survey()
    series: dict[tuple[str, str], list[StoredDay]] = {}
    for entry in entries:
        series.setdefault((entry.kind, entry.symbol), []).append(entry)
    return [_series_of(days) for days in series.values()], damaged


def ticks_passport(
    store: TickStore,
    symbol: str,
    kind: str = TRADES,
    start_ns: int | None = None,
    end_ns: int | None = None,
    stage: Stage = lambda what, done, total: None,
) -> tuple[dict[str, Any] | None, list[str]]:
    """Verify and describe a symbol's stored days that touch [start_ns, end_ns). One day at a time is in memory.

    Returns
    -------
    passport : dict or None
        Plain values, fit for JSON; None where no day is stored in the range, or none is sound.
    problems : list of str
        What is wrong with each damaged day; the passport is of the others.
    """
    name = normalize_symbol(symbol)
    days = store.days_between(name, start_ns, end_ns, kind)
    totals = _Totals()
    sound: list[StoredDay] = []
    problems: list[str] = []
    for done, day in enumerate(days):
        stage(f"reading {name} {kind} of {day_text(day)}", done, len(days))
        try:
            entry = store.entry(name, day, kind)
            _add_day(totals, entry, store.verify(entry), sound[-1] if sound else None)
        except DataError as error:
            problems.append(str(error))
        else:
            sound.append(entry)
    if not sound:
        return None, problems
    missing = store.missing_days(name, start_ns, end_ns, kind)
    return _passport(sound, totals, missing), problems


def recorded_passport(
    store: TickStore, symbol: str, kind: str = TRADES, start_ns: int | None = None, end_ns: int | None = None
) -> dict[str, Any] | None:
    """Describe a symbol's stored days that touch [start_ns, end_ns) by what was recorded when they were stored.

    No row is read, so what only the rows tell is left out: missing ids, and times that go back. None where no day is
    stored in the range.

    Raises
    ------
    DataError
        A damaged file.
    """
    name = normalize_symbol(symbol)
    days = store.entries(name, start_ns, end_ns, kind)
    if not days:
        return None
    return _recorded(days, store.missing_days(name, start_ns, end_ns, kind))


def _add_day(totals: _Totals, entry: StoredDay, columns: Any, before: StoredDay | None) -> None:
    """Count one day's missing ids, from the day before on, and times that go back."""
    totals.rows += entry.rows
    back, furthest = steps_back(columns["time"])
    totals.back += back
    totals.furthest = max(totals.furthest, furthest)
    if entry.kind != TRADES:
        return
    missing, gaps, longest = missing_ids(columns["id"], _last_id_before(entry, before))
    totals.missing += missing
    totals.gaps += gaps
    totals.longest = max(totals.longest, longest)


def _last_id_before(entry: StoredDay, before: StoredDay | None) -> int | None:
    """The last id of the day before; None where that day is missing, and its ids with it."""
    if before is None or before.day + DAY != entry.day or before.numbering != entry.numbering:
        return None
    # around midnight two trades may be filed in each other's day
    return before.last_id if before.last_id < entry.first_id else None


def _ranges(days: Sequence[int]) -> list[str]:
    """Days as `2024-08-09`, and several in a row as `2024-08-09 to 2024-08-11 (3 days)`."""
    found: list[tuple[int, int]] = []
    for day in days:
        if found and found[-1][1] + DAY == day:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return [
        day_text(first)
        if first == last
        else f"{day_text(first)} to {day_text(last)} ({(last - first) // DAY + 1:,} days)"
        for first, last in found
    ]


def _passport(days: Sequence[StoredDay], totals: _Totals, missing: Sequence[int]) -> dict[str, Any]:
    """What was recorded and what the rows tell."""
    passport = _recorded(days, missing)
    if days[0].kind == TRADES:
        passport |= {"missing_ids": totals.missing, "id_gaps": totals.gaps, "longest_id_gap": totals.longest}
    return passport | {"times_back": totals.back, "furthest_back_ms": totals.furthest / 1e6}


def _recorded(days: Sequence[StoredDay], missing: Sequence[int]) -> dict[str, Any]:
    """What the store knows of days without reading them."""
    found: Counter[str] = Counter()
    for day in days:
        found.update(day.found)
    series = _series_of(days)
    passport: dict[str, Any] = {
        "symbol": series.symbol,
        "kind": series.kind,
        "timeframe": "",
        "source": series.source,
        "fingerprint": fingerprint_days(days),
        "rows": series.rows,
        "days": len(days),
        "start": format_ts(series.start),
        "end": format_ts(series.end),
        "missing": len(missing),
        "missing_days": _ranges(missing),
        "ids": ", ".join(sorted({day.numbering for day in days})),
    }
    if series.kind != TRADES:
        passport["crossed"] = found[CROSSED]
    counted = (CROSSED, DUPLICATE, UNSORTED, RECEIVED)
    dropped = {reason: n for reason, n in sorted(found.items()) if n and reason not in counted}
    return passport | {
        "duplicates": found[DUPLICATE],
        "unsorted": found[UNSORTED],
        "dropped": sum(dropped.values()),
        "dropped_because": dropped,
        "times_of_receipt": found[RECEIVED],
    }


def _series_of(days: Sequence[StoredDay]) -> TickSeries:
    sources = list(dict.fromkeys(source for day in days for source in day.sources))
    more = f" and {len(sources) - _NAMED_SOURCES} more" if len(sources) > _NAMED_SOURCES else ""
    return TickSeries(
        days[0].kind,
        days[0].symbol,
        len(days),
        sum(day.rows for day in days),
        min(day.start for day in days),
        max(day.end for day in days),
        ", ".join(sources[:_NAMED_SOURCES]) + more,
    )
