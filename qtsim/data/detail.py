"""Whether finer bars tell the same as the coarse bars that they lie in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from qtsim.data.frames import Floats, Times, make_frame, times_of
from qtsim.data.quality import usual_spacing
from qtsim.data.resample import divides
from qtsim.data.timeframes import format_ts, grid_anchor_ns, timeframe_name
from qtsim.errors import UsageError

ROUNDING = 1e-9
"""Differences of this ratio are those of adding up floats."""
_FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Contradictions:
    """Coarse bars that their finer bars deny, and those that finer bars do not cover."""

    differing: pd.DataFrame
    """One row per coarse bar and field, by time: `field`, `coarse`, `detail`, `difference` (detail − coarse)."""
    incomplete: pd.DataFrame
    """One row per coarse bar that lacks finer bars, by time: `have` and `missing` (numbers of finer bars)."""
    compared: int
    """Coarse bars that have all their finer bars."""
    uncovered: int
    """Finer bars that lie in no coarse bar."""
    coarse_ns: int
    detail_ns: int

    @property
    def is_empty(self) -> bool:
        """Whether every coarse bar is covered and none is denied."""
        return not len(self.differing) and not len(self.incomplete)

    def describe(self) -> str:
        """Say in one line how many there are, which is the first, and by how much it differs."""
        coarse, detail = timeframe_name(self.coarse_ns), timeframe_name(self.detail_ns)
        parts = []
        if len(self.differing):
            first = self.differing.iloc[0]
            bars = self.differing.index.nunique()
            parts.append(
                f"{bars:,} of {self.compared:,} {coarse} bars contradict their {detail} bars, the first at "
                f"{format_ts(int(times_of(self.differing)[0]))}: {first['field']} {first['coarse']:.12g}, "
                f"{first['detail']:.12g} in detail ({first['difference']:+.6g})"
            )
        if len(self.incomplete):
            first = self.incomplete.iloc[0]
            parts.append(
                f"{len(self.incomplete):,} {coarse} bars lack {detail} bars, the first at "
                f"{format_ts(int(times_of(self.incomplete)[0]))} ({first['missing']} of "
                f"{first['missing'] + first['have']})"
            )
        return "; ".join(parts) or f"all {self.compared:,} {coarse} bars agree with their {detail} bars"


def contradictions(
    coarse: pd.DataFrame,
    detail: pd.DataFrame,
    *,
    coarse_ns: int | None = None,
    detail_ns: int | None = None,
    tick: float = 0.0,
    lot: float = 0.0,
) -> Contradictions:
    """Compare coarse bars with what their finer bars make together.

    Parameters
    ----------
    coarse, detail : DataFrame
        Canonical bars or mark bars, sorted. Finer bars outside all coarse bars are counted only.
    coarse_ns, detail_ns : int, optional
        Lengths; the usual spacing of the rows where left out.
    tick : float
        A price contradicts where it differs by more than this.
    lot : float
        A volume contradicts where it differs by more than this.

    Raises
    ------
    UsageError
        Coarse bars do not consist of whole finer ones, or there are too few rows to tell their lengths.
    """
    coarse_ns, detail_ns = coarse_ns or usual_spacing(times_of(coarse)), detail_ns or usual_spacing(times_of(detail))
    if not coarse_ns or not detail_ns:
        raise UsageError("the lengths of the bars cannot be told from so few rows; give coarse_ns and detail_ns")
    if coarse_ns == detail_ns or not divides(detail_ns, coarse_ns):
        raise UsageError(f"{timeframe_name(coarse_ns)} bars do not consist of {timeframe_name(detail_ns)} bars")
    opens = times_of(coarse)
    made_times, counts, made = _aggregate(detail, coarse_ns)
    _, at, row = np.intersect1d(opens, made_times, assume_unique=True, return_indices=True)
    have = np.zeros(len(opens), dtype=np.int64)
    have[at] = counts[row]
    expected = coarse_ns // detail_ns
    whole = have[at] == expected
    lacking = have < expected
    return Contradictions(
        differing=_differing(coarse, at[whole], {name: values[row[whole]] for name, values in made.items()}, tick, lot),
        incomplete=_incomplete(opens[lacking], have[lacking], expected),
        compared=int(whole.sum()),
        uncovered=int(counts.sum() - counts[row].sum()),
        coarse_ns=coarse_ns,
        detail_ns=detail_ns,
    )


def _aggregate(detail: pd.DataFrame, coarse_ns: int) -> tuple[Times, Times, dict[str, Floats]]:
    """Open times, numbers of finer bars, and values of the coarse bars that finer bars make, whole or not."""
    anchor = grid_anchor_ns(coarse_ns)
    group = (times_of(detail) - anchor) // coarse_ns
    if not len(group):
        return group, group, {}
    first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    last = np.concatenate((first[1:], [len(group)])) - 1
    made = {
        "open": detail["open"].to_numpy()[first],
        "high": np.maximum.reduceat(detail["high"].to_numpy(), first),
        "low": np.minimum.reduceat(detail["low"].to_numpy(), first),
        "close": detail["close"].to_numpy()[last],
    }
    if "volume" in detail.columns:
        made["volume"] = np.add.reduceat(detail["volume"].to_numpy(), first)
    return group[first] * coarse_ns + anchor, (last - first + 1).astype(np.int64), made


def _differing(coarse: pd.DataFrame, rows: Times, made: dict[str, Floats], tick: float, lot: float) -> pd.DataFrame:
    """Rows of `Contradictions.differing`."""
    fields = [name for name in _FIELDS if name in made and name in coarse.columns]
    times = times_of(coarse)[rows]
    parts = []
    for order, name in enumerate(fields):
        given = coarse[name].to_numpy()[rows]
        step = lot if name == "volume" else tick
        # prices are decimals in floats: what differs by one tick may seem to differ by a little more
        allowed = step + ROUNDING * np.maximum(np.abs(given), np.abs(made[name]))
        apart = np.flatnonzero(np.abs(made[name] - given) > allowed)
        parts.append(
            pd.DataFrame(
                {
                    "at": times[apart],
                    "order": order,
                    "field": name,
                    "coarse": given[apart],
                    "detail": made[name][apart],
                    "difference": made[name][apart] - given[apart],
                }
            )
        )
    columns = ["field", "coarse", "detail", "difference"]
    found = pd.concat(parts) if parts else pd.DataFrame(columns=["at", "order", *columns])
    found = found.sort_values(["at", "order"], ignore_index=True)
    index = make_frame(found["at"].to_numpy(dtype=np.int64), {}).index
    return found[columns].set_axis(index)


def _incomplete(times: Times, have: Times, expected: int) -> pd.DataFrame:
    """Rows of `Contradictions.incomplete`."""
    index = make_frame(times, {}).index
    return pd.DataFrame({"have": have, "missing": expected - have}, index=index)
