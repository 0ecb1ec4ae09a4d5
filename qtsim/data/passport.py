"""The data passport: what a result stands on, series by series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import times_of
from qtsim.data.funding import funding_intervals
from qtsim.data.instruments import Instrument
from qtsim.data.quality import QualityReport, check_bars
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts, normalize_timeframe, timeframe_ns

Passport: TypeAlias = dict[str, Any]
"""Plain values, fit for JSON. Times are text, UTC; ratios decimals."""


def bars_passport(
    symbol: str,
    timeframe: str,
    bars: pd.DataFrame,
    *,
    kind: str = "bars",
    source: str,
    quality: QualityReport | None = None,
    mark: pd.DataFrame | None = None,
    instrument: Instrument | None = None,
) -> Passport:
    """Describe bars or mark bars.

    Parameters
    ----------
    symbol, timeframe : str
    bars : DataFrame
        Canonical and clean.
    kind : str
        `bars` or `mark`.
    source : str
        Where the rows came from.
    quality : QualityReport, optional
        Of these bars, from their import or load; made here where absent.
    mark : DataFrame, optional
        Mark bars of the same timeframe, to state how far mark and last closed from one another.
    instrument : Instrument, optional
        To state the date of its maintenance brackets.
    """
    report = quality or check_bars(bars, timeframe_ns(timeframe), symbol=symbol)[1]
    passport: Passport = {
        "symbol": symbol,
        "kind": kind,
        "timeframe": normalize_timeframe(timeframe),
        "source": source,
        "fingerprint": fingerprint(bars),
        "rows": report.rows,
        "start": format_ts(report.start),
        "end": format_ts(report.end),
        "gaps": len(report.gaps),
        "missing": report.missing,
        "longest_gap": report.describe_gaps(),
        "duplicates": report.duplicates,
        "dropped": report.dropped,
        "outliers": report.outliers,
        "outlier_times": [format_ts(ts) for ts in report.outlier_times],
    }
    if kind == "bars":
        passport["zero_volume"] = report.zero_volume
        passport |= _divergence(bars, mark)
        passport["brackets_date"] = instrument.bracket_date if instrument else ""
    return passport


def funding_passport(symbol: str, funding: pd.DataFrame, *, source: str) -> Passport:
    """Describe a canonical funding frame; an empty one has rows 0 and no times."""
    times = times_of(funding)
    rates = funding["funding_rate"].to_numpy()
    return {
        "symbol": symbol,
        "kind": "funding",
        "timeframe": "",
        "source": source,
        "fingerprint": fingerprint(funding),
        "rows": len(times),
        "start": format_ts(int(times[0])) if len(times) else "",
        "end": format_ts(int(times[-1])) if len(times) else "",
        "intervals_hours": {str(hours): count for hours, count in funding_intervals(times).items()},
        "mean_rate": float(rates.mean()) if len(rates) else 0.0,
        "mark_price_recorded": int(funding["mark_price"].notna().sum()) if "mark_price" in funding else 0,
    }


def data_passport(
    store: Store,
    symbols: Sequence[str],
    timeframe: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    instruments: Mapping[str, Instrument] | None = None,
) -> list[Passport]:
    """Describe all that a run on the store's data reads: each symbol's bars, mark bars and funding, if there are any.

    Raises
    ------
    UsageError
        A symbol without bars in the range.
    DataError
        A damaged file.
    """
    passports = []
    for symbol in sorted(map(normalize_symbol, symbols)):
        bars = store.read_bars(symbol, timeframe, start_ns, end_ns)
        mark = None
        if store.find(symbol, timeframe, "mark") is not None:
            whole = store.read_bars(symbol, timeframe, kind="mark")
            inside = (times_of(whole) >= times_of(bars)[0]) & (times_of(whole) <= times_of(bars)[-1])
            mark = whole[inside]
            mark.attrs = whole.attrs
        instrument = (instruments or {}).get(symbol)
        passports.append(
            bars_passport(symbol, timeframe, bars, source=source_of_bars(bars), mark=mark, instrument=instrument)
        )
        if mark is not None and len(mark):
            passports.append(bars_passport(symbol, timeframe, mark, kind="mark", source=source_of_bars(mark)))
        if store.has(symbol, kind="funding"):
            events = store.read_funding(symbol, start_ns, end_ns)
            source = store.entry(symbol, kind="funding").source
            passports.append(funding_passport(symbol, events, source=source))
    return passports


def source_of_bars(frame: pd.DataFrame) -> str:
    """Where bars that a store gave came from, and what they were made of."""
    made_of = frame.attrs.get("resampled_from")
    return f"{frame.attrs['source']}{f', made of {made_of} bars' if made_of else ''}"


def _divergence(bars: pd.DataFrame, mark: pd.DataFrame | None) -> Passport:
    """Largest distance of mark from last at a bar's close, as a ratio of last; None without mark prices."""
    none: Passport = {"mark_divergence": None, "mark_divergence_time": "", "mark_rows": 0}
    if mark is None:
        return none
    _, rows, mark_rows = np.intersect1d(times_of(bars), times_of(mark), assume_unique=True, return_indices=True)
    if not len(rows):
        return none
    distance = np.abs(mark["close"].to_numpy()[mark_rows] / bars["close"].to_numpy()[rows] - 1.0)
    worst = int(np.argmax(distance))
    return {
        "mark_divergence": float(distance[worst]),
        "mark_divergence_time": format_ts(int(times_of(bars)[rows[worst]])),
        "mark_rows": len(rows),
    }
