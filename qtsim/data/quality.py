"""Whether bars, funding and columns can be simulated: bad rows are errors, gaps are facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from qtsim.data.frames import Floats, Times, make_frame, times_of
from qtsim.data.timeframes import DAY, SECOND, format_ts, timeframe_name
from qtsim.errors import DataError, UsageError

OUTLIER_MULTIPLE = 40.0
"""A bar that leaves the close before it by more than this many median moves is an outlier."""
OUTLIER_FLOOR = 0.02
"""Smaller moves, as ratios, are never outliers, however quiet the market."""

Mask: TypeAlias = npt.NDArray[np.bool_]
Gap: TypeAlias = tuple[int, int, int]
"""Start (open of the first missing bar, ns), end (open of the next bar there is, ns), bars missing."""


@dataclass(frozen=True)
class QualityReport:
    """What a check found. Times are int64 ns UTC, bars' opens; 0 where there are no rows."""

    rows: int
    start: int
    end: int
    gaps: tuple[Gap, ...] = ()
    duplicates: int = 0
    unsorted: int = 0
    zero_volume: int = 0
    outliers: int = 0
    outlier_times: tuple[int, ...] = ()
    dropped: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    """Rows dropped by reason."""

    @property
    def missing(self) -> int:
        """Bars missing in all gaps together."""
        return sum(gap[2] for gap in self.gaps)

    def describe_gaps(self) -> str:
        """Say in a few words how many gaps there are and which is the longest."""
        if not self.gaps:
            return "no gaps"
        start, _, count = max(self.gaps, key=lambda gap: gap[2])
        if len(self.gaps) == 1:
            return f"1 gap, {_bars(count)} missing at {format_ts(start)}"
        return f"{len(self.gaps)} gaps, {_bars(self.missing)} missing, most ({count}) at {format_ts(start)}"

    def describe_dropped(self) -> str:
        """Say which rows were dropped and why; empty when none was."""
        parts = [f"{count} {reason}" for reason, count in self.bad.items() if count]
        text = f"{_rows(self.dropped)} dropped ({', '.join(parts)})" if self.dropped else ""
        if self.unsorted:
            text += f"{'; ' if text else ''}{_rows(self.unsorted)} out of order: the rows have been sorted"
        return text


def check_bars(
    frame: pd.DataFrame, timeframe_ns: int, *, symbol: str, on_bad_rows: str = "error"
) -> tuple[pd.DataFrame, QualityReport]:
    """Check canonical bars or mark bars and describe them.

    Bad rows: out of order, duplicate, off the timeframe's grid, NaN, infinite, zero or negative prices, negative
    volume, a high below or a low above the bar's other prices. With `on_bad_rows = "error"` the first is an error that
    names row and value; with `"drop"` bad rows are dropped and counted, rows out of order are sorted, and of
    duplicates the last one stays. Gaps are never errors: they are listed, and simulated as gaps.

    Parameters
    ----------
    frame : DataFrame
        Canonical columns open, high, low, close and, for bars, volume.
    timeframe_ns : int
        Length of a bar, ns.
    symbol : str
        Named in errors.
    on_bad_rows : str
        `error` or `drop`.

    Returns
    -------
    frame : DataFrame
        Clean and sorted; the same object where nothing had to change.
    report : QualityReport

    Raises
    ------
    DataError
        A bad row (under `error`), or no rows.
    UsageError
        `on_bad_rows` is neither word.
    """
    _check_word(on_bad_rows)
    what = f"{symbol} {timeframe_name(timeframe_ns)}"
    times = times_of(frame)
    prices = {name: frame[name].to_numpy() for name in ("open", "high", "low", "close")}
    volume = frame["volume"].to_numpy() if "volume" in frame.columns else None
    if len(times) and _is_clean(times, timeframe_ns, prices, volume):
        return frame, _describe(times, timeframe_ns, prices, volume)
    if not len(times):
        raise DataError(f"{what}: no rows")
    # From here on something is wrong: find out what, at leisure.
    masks = _bad_masks(times, timeframe_ns, prices, volume)
    if on_bad_rows == "error":
        _raise_first(what, times, timeframe_ns, prices, volume, masks)
    keep, bad, duplicates, unsorted = _sift(times, masks)
    if not len(keep):
        raise DataError(f"{what}: every one of the {len(times)} rows is bad: {_counts(bad)}")
    columns: dict[str, Floats] = {str(name): frame[name].to_numpy()[keep] for name in frame.columns}
    clean = make_frame(times[keep], columns)
    report = _describe(
        times[keep],
        timeframe_ns,
        columns,
        columns.get("volume"),
        duplicates=duplicates,
        unsorted=unsorted,
        dropped=len(times) - len(keep),
        bad=bad,
    )
    return clean, report


def usual_spacing(times: Times) -> int:
    """Return the most frequent distance between neighbouring times in ns, whatever their order; 0 for one time."""
    steps, counts = np.unique(np.diff(np.unique(times)), return_counts=True)
    return int(steps[np.argmax(counts)]) if len(steps) else 0


def check_spacing(times: Times, timeframe_ns: int, what: str) -> None:
    """Refuse a timeframe that the rows deny: all of them further apart, or most of them closer.

    Rows that are closer would be off the grid, and dropping them would leave bars of another length.

    Raises
    ------
    DataError
        What was said and what the rows show are named.
    """
    steps = np.diff(np.unique(times))
    if len(steps) > 1 and int(steps.min()) > timeframe_ns:
        said, apart = timeframe_name(timeframe_ns), _length(usual_spacing(times))
        raise DataError(
            f"{what}: said to be {said}, but no two rows are closer than {_length(int(steps.min()))}; "
            f"say what they are (timeframe {apart}), or give {said} bars"
        )
    check_not_finer(times, timeframe_ns, what)


def check_not_finer(times: Times, timeframe_ns: int, what: str) -> None:
    """Refuse rows most of which are closer together than their timeframe says; errors as in `check_spacing`."""
    step = usual_spacing(times)
    if not 0 < step < timeframe_ns:
        return
    said, apart = timeframe_name(timeframe_ns), _length(step)
    raise DataError(
        f"{what}: said to be {said}, but its rows are {apart} apart, and most are not the open of a {said} bar; "
        f"say what they are (timeframe {apart}), or give {said} bars"
    )


def check_events(
    frame: pd.DataFrame, *, what: str, on_bad_rows: str = "error", optional: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, QualityReport]:
    """Check a canonical funding or column frame: sorted, no time twice, every value a finite number.

    Parameters
    ----------
    frame : DataFrame
        Canonical frame.
    what : str
        Named in errors: `BTCUSDT funding`.
    on_bad_rows : str
        `error` or `drop`, as in `check_bars`.
    optional : tuple of str
        Columns in which NaN means "not recorded".

    Raises
    ------
    DataError
        A bad row (under `error`), or no rows.
    UsageError
        `on_bad_rows` is neither word.
    """
    _check_word(on_bad_rows)
    times = times_of(frame)
    if not len(times):
        raise DataError(f"{what}: no rows")
    values: dict[str, Floats] = {str(name): frame[name].to_numpy() for name in frame.columns}
    masks: dict[str, Mask] = {}
    for name, column in values.items():
        masks[f"{name} not a finite number"] = np.isinf(column) if name in optional else ~np.isfinite(column)
    masks |= _order_masks(times)
    if not any(bool(mask.any()) for mask in masks.values()):
        return frame, QualityReport(rows=len(times), start=int(times[0]), end=int(times[-1]))
    if on_bad_rows == "error":
        row, reason = _first(masks)
        place = f"{what}, row {row + 1} ({format_ts(int(times[row]))})"
        if reason in ("duplicate", "out of order"):
            raise DataError(f"{place}: {_order_text(times, row, reason)}{REMEDY}")
        name = reason.removesuffix(" not a finite number")
        raise DataError(f"{place}: {name} is {values[name][row]:g}, a finite number is needed{REMEDY}")
    keep, bad, duplicates, unsorted = _sift(times, masks)
    if not len(keep):
        raise DataError(f"{what}: every one of the {len(times)} rows is bad: {_counts(bad)}")
    clean = make_frame(times[keep], {name: column[keep] for name, column in values.items()})
    report = QualityReport(
        rows=len(keep),
        start=int(times[keep[0]]),
        end=int(times[keep[-1]]),
        duplicates=duplicates,
        unsorted=unsorted,
        dropped=len(times) - len(keep),
        bad=bad,
    )
    return clean, report


REMEDY = '; correct the row, or have such rows dropped and counted: data.on_bad_rows = "drop"'


def _check_word(on_bad_rows: str) -> None:
    if on_bad_rows not in ("error", "drop"):
        raise UsageError(f"data.on_bad_rows = {on_bad_rows!r} is not known; use error or drop")


def _is_clean(times: Times, step: int, prices: Mapping[str, Floats], volume: Floats | None) -> bool:
    """Decide with few passes whether any row is bad; comparisons with NaN are false."""
    open_, high, low, close = prices["open"], prices["high"], prices["low"], prices["close"]
    ok = (
        bool((np.diff(times) > 0).all())
        and not bool(_off_grid(times, step).any())
        and bool((low > 0).all())
        and bool((low <= open_).all())
        and bool((low <= close).all())
        and bool((open_ <= high).all())
        and bool((close <= high).all())
        and bool(np.isfinite(high).all())
    )
    if ok and volume is not None:
        ok = bool((volume >= 0).all()) and bool(np.isfinite(volume).all())
    return ok


def _off_grid(times: Times, step: int) -> Mask:
    """Rows off the grid. Up to a day the grid is the clock's; longer bars count from the first row's midnight."""
    if step <= DAY:
        return np.asarray(times % step != 0)
    return np.asarray(((times - times[0]) % step != 0) | (times % DAY != 0))


def _order_masks(times: Times) -> dict[str, Mask]:
    later_before = np.concatenate(([False], times[1:] < np.maximum.accumulate(times)[:-1]))
    _, first_of = np.unique(times, return_index=True)
    again = np.ones(len(times), dtype=bool)
    again[first_of] = False
    return {"duplicate": again, "out of order": later_before & ~again}


def _bad_masks(times: Times, step: int, prices: Mapping[str, Floats], volume: Floats | None) -> dict[str, Mask]:
    masks: dict[str, Mask] = {}
    stacked = np.stack([prices[name] for name in ("open", "high", "low", "close")])
    masks["NaN"] = np.asarray(np.isnan(stacked).any(axis=0))
    masks["infinite"] = np.asarray(np.isinf(stacked).any(axis=0))
    masks["zero or negative"] = np.asarray((stacked <= 0).any(axis=0))
    masks["high below"] = (stacked[1] < np.maximum(stacked[0], stacked[3])) | (stacked[1] < stacked[2])
    masks["low above"] = stacked[2] > np.minimum(stacked[0], stacked[3])
    if volume is not None:
        masks["NaN"] |= np.isnan(volume)
        masks["infinite"] |= np.isinf(volume)
        masks["negative volume"] = volume < 0
    masks["off the grid"] = _off_grid(times, step)
    return masks | _order_masks(times)


def _first(masks: Mapping[str, Mask]) -> tuple[int, str]:
    """Return the first bad row and the first reason that holds there."""
    rows = {reason: int(np.argmax(mask)) for reason, mask in masks.items() if bool(mask.any())}
    row = min(rows.values())
    return row, next(reason for reason, at in rows.items() if at == row)


def _raise_first(
    what: str,
    times: Times,
    step: int,
    prices: Mapping[str, Floats],
    volume: Floats | None,
    masks: Mapping[str, Mask],
) -> None:
    row, reason = _first(masks)
    values = {name: float(column[row]) for name, column in prices.items()}
    if volume is not None:
        values["volume"] = float(volume[row])
    if reason in ("duplicate", "out of order"):
        text = _order_text(times, row, reason)
    elif reason == "NaN":
        text = f"{_pick(values, np.isnan)} is NaN"
    elif reason == "infinite":
        text = f"{_pick(values, np.isinf)} is infinite"
    elif reason == "zero or negative":
        name = next(name for name, value in values.items() if value <= 0)
        text = f"{name} is {values[name]:.12g}; a price is above 0"
    elif reason == "high below":
        name = next(name for name in ("open", "close", "low") if values["high"] < values[name])
        text = f"high {values['high']:.12g} is below {name} {values[name]:.12g}"
    elif reason == "low above":
        name = next(name for name in ("open", "close") if values["low"] > values[name])
        text = f"low {values['low']:.12g} is above {name} {values[name]:.12g}"
    elif reason == "negative volume":
        text = f"volume is {values['volume']:.12g}; it is 0 or more"
    else:
        text = f"the time is not the open of a {timeframe_name(step)} bar"
    raise DataError(f"{what}, row {row + 1} ({format_ts(int(times[row]))}): {text}{REMEDY}")


def _pick(values: Mapping[str, float], test: np.ufunc) -> str:
    return next(name for name, value in values.items() if test(value))


def _order_text(times: Times, row: int, reason: str) -> str:
    if reason == "duplicate":
        before = int(np.flatnonzero(times[:row] == times[row])[0])
        return f"the time occurs twice, first in row {before + 1}"
    return f"the time is earlier than {format_ts(int(times[:row].max()))} in a row before: rows must be sorted by time"


def _sift(times: Times, masks: Mapping[str, Mask]) -> tuple[npt.NDArray[np.int64], dict[str, int], int, int]:
    """Return rows to keep in order of time, dropped rows by reason, duplicates, rows that were out of order."""
    good = np.ones(len(times), dtype=bool)
    bad: dict[str, int] = {}
    for reason, mask in masks.items():
        if reason not in ("duplicate", "out of order"):
            bad[reason] = int((mask & good).sum())
            good &= ~mask
    rows = np.flatnonzero(good).astype(np.int64)
    unsorted = int((masks["out of order"] & good).sum())
    rows = rows[np.argsort(times[rows], kind="stable")]
    ordered = times[rows]
    last = np.concatenate((ordered[1:] != ordered[:-1], [True])) if len(rows) else np.zeros(0, dtype=bool)
    duplicates = int(len(rows) - last.sum())
    bad["duplicate"] = duplicates
    return rows[last], {reason: count for reason, count in bad.items() if count}, duplicates, unsorted


def _describe(
    times: Times,
    step: int,
    prices: Mapping[str, Floats],
    volume: Floats | None,
    *,
    duplicates: int = 0,
    unsorted: int = 0,
    dropped: int = 0,
    bad: Mapping[str, int] | None = None,
) -> QualityReport:
    spacing = np.diff(times)
    at = np.flatnonzero(spacing != step)
    gaps = tuple((int(times[i]) + step, int(times[i + 1]), int(spacing[i] // step) - 1) for i in at)
    outliers = _outliers(prices)
    return QualityReport(
        rows=len(times),
        start=int(times[0]),
        end=int(times[-1]),
        gaps=gaps,
        duplicates=duplicates,
        unsorted=unsorted,
        zero_volume=0 if volume is None else int((volume == 0).sum()),
        outliers=len(outliers),
        outlier_times=tuple(int(times[i]) for i in outliers[:20]),
        dropped=dropped,
        bad=dict(bad or {}),
    )


def _outliers(prices: Mapping[str, Floats]) -> npt.NDArray[np.int64]:
    """Rows whose high or low is further from the close before than any plausible move of this series."""
    before = prices["close"][:-1]
    if len(before) < 2:
        return np.zeros(0, dtype=np.int64)
    median = float(np.median(np.abs(prices["close"][1:] / before - 1.0)))
    limit = max(OUTLIER_MULTIPLE * median, OUTLIER_FLOOR)
    wild = (prices["high"][1:] > before * (1.0 + limit)) | (prices["low"][1:] * (1.0 + limit) < before)
    return np.asarray(np.flatnonzero(wild) + 1, dtype=np.int64)


def _bars(count: int) -> str:
    return f"{count:,} bar" if count == 1 else f"{count:,} bars"


def _length(step: int) -> str:
    return timeframe_name(step) if step % SECOND == 0 else f"{step / SECOND:g} s"


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _counts(bad: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in bad.items())
