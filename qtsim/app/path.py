"""The path that prices take through a run: its own bars, or finer ones inside them (detail mode)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from qtsim.core.records import Records, bar_dt
from qtsim.data.frames import Times, times_of
from qtsim.sim.paths import SEGMENTS

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class DetailCover:
    """Which of a symbol's bars have detail."""

    bars: int
    have: Times  # opens of those with at least one finer bar, ns
    whole: Times  # of those with all of them
    rows: int  # finer bars in them
    cut: Times  # of those without any that are cut into pieces, since another symbol has finer bars there

    @property
    def covered(self) -> int:
        """Bars with at least one finer bar."""
        return len(self.have)

    @property
    def partly(self) -> int:
        """Of those, the bars that lack some, which stay gaps."""
        return len(self.have) - len(self.whole)

    @property
    def unfolded(self) -> int:
        """Bars without any finer bar: their own path stands in."""
        return self.bars - self.covered


def refined_opens(opens: Sequence[Times], timeframe: int, details: Sequence[pd.DataFrame]) -> Times:
    """Opens of the coarse bars that any symbol has finer bars of, ascending.

    opens: of each symbol's coarse bars; details: each symbol's canonical finer bars, maybe none.
    """
    refined = [np.zeros(0, dtype=np.int64)]
    for own, detail in zip(opens, details, strict=True):
        if len(own) and len(detail):
            times = times_of(detail)
            at = np.maximum(np.searchsorted(own, times, side="right") - 1, 0)
            inside = (times >= own[at]) & (times < own[at] + timeframe)
            refined.append(own[at[inside]])
    return np.unique(np.concatenate(refined))


def detail_rows(
    bars: Records,
    timeframe: int,
    detail: pd.DataFrame,
    length: int,
    mark: pd.DataFrame | None,
    refined: Times | None = None,
) -> tuple[Records, DetailCover]:
    """The path of coarse bars: bars of `length` ns where it is refined, and the coarse bars themselves elsewhere.

    Parameters
    ----------
    bars : bar_dt, shape (n,)
        Coarse bars with their mark prices.
    timeframe, length : int
        Lengths of coarse and finer bars, ns; `length` divides `timeframe`.
    detail : DataFrame
        Canonical finer bars. A refined coarse bar without any is cut out of its own nearest path; where some are
        missing the path has a gap.
    mark : DataFrame or None
        Finer mark bars; where there are none the coarse ones are followed, see `add_mark_between`.
    refined : array of int64 or None
        Opens of the coarse bars that are to be refined, ns, see `refined_opens`; None: all of them.
    """
    if refined is None:
        return _refined_rows(bars, timeframe, detail, length, mark)
    inside = np.isin(bars["ts_open"], refined)
    rows, cover = _refined_rows(bars[inside], timeframe, detail, length, mark)
    whole = bars[~inside]
    whole["length"] = timeframe
    joined = np.concatenate([rows, whole])
    return joined[np.argsort(joined["ts_open"], kind="stable")], replace(cover, bars=len(bars))


def _refined_rows(
    bars: Records, timeframe: int, detail: pd.DataFrame, length: int, mark: pd.DataFrame | None
) -> tuple[Records, DetailCover]:
    """All coarse bars in bars of `length` ns."""
    pieces = timeframe // length
    grid = (bars["ts_open"][:, None] + length * np.arange(pieces)).ravel()
    at, found = _rows_at(detail, grid)
    covered: np.ndarray = np.any(found.reshape(-1, pieces), axis=1)
    rows = np.zeros(len(grid), bar_dt)
    rows["ts_open"] = grid
    rows["length"] = length
    rows["half_spread"] = np.nan
    for name in (*PRICES, "volume"):
        rows[name][found] = detail[name].to_numpy(dtype=np.float64)[at[found]]
    for k in range(pieces):
        _cut_out(rows[k::pieces], bars, k, pieces, ~covered)
    kept = found | np.repeat(~covered, pieces)
    add_mark_between(rows, bars, pieces, np.repeat(covered, pieces))
    if mark is not None:
        at, known = _rows_at(mark, grid)
        for name in PRICES:
            rows[f"mark_{name}"][known] = mark[name].to_numpy(dtype=np.float64)[at[known]]
    opens = bars["ts_open"].astype(np.int64)
    whole = found.reshape(-1, pieces).all(axis=1)
    return rows[kept], DetailCover(len(bars), opens[covered], opens[whole], int(found.sum()), opens[~covered])


def _rows_at(frame: pd.DataFrame, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of the frame at each time, and whether there is one."""
    if not len(frame):
        return np.zeros(len(times), dtype=np.int64), np.zeros(len(times), dtype=bool)
    own = times_of(frame)
    at = np.minimum(np.searchsorted(own, times), len(own) - 1)
    return at, own[at] == times


def _cut_out(rows: Records, bars: Records, k: int, pieces: int, wanted: np.ndarray) -> None:
    """Piece `k` of the coarse bars' own path, extreme nearer to the open first; for last price and mark alike."""
    high_first = bars["high"] - bars["open"] < bars["open"] - bars["low"]
    for prefix in ("", "mark_"):
        high, low = bars[f"{prefix}high"], bars[f"{prefix}low"]
        first, second = np.where(high_first, high, low), np.where(high_first, low, high)
        points = np.stack([bars[f"{prefix}open"], first, second, bars[f"{prefix}close"]])
        start, end = _on_path(points, k, pieces), _on_path(points, k + 1, pieces)
        reached = [start, end]
        # an extreme inside the piece belongs to it; on its edge it is one of the two ends
        reached += [points[j] for j in (1, 2) if k * SEGMENTS < j * pieces < (k + 1) * SEGMENTS]
        values = {"open": start, "high": np.maximum.reduce(reached), "low": np.minimum.reduce(reached), "close": end}
        for name, value in values.items():
            rows[f"{prefix}{name}"][wanted] = value[wanted]
    rows["volume"][wanted] = bars["volume"][wanted] / pieces


def _on_path(points: np.ndarray, k: int, pieces: int) -> np.ndarray:
    """Price of each bar's path at the share k / pieces of its time. points: shape (4, bars)."""
    segment = min(k * SEGMENTS // pieces, SEGMENTS - 1)
    share = (k * SEGMENTS - segment * pieces) / pieces
    start, end = points[segment], points[segment + 1]
    price: np.ndarray = np.where(share >= 1.0, end, start + (end - start) * share)
    return price


def add_mark_between(rows: Records, bars: Records, pieces: int, wanted: np.ndarray) -> None:
    """The mark inside coarse mark bars: last price and the distance of the two, linear from open to close of each.

    It is held between the coarse bar's lowest and highest mark, which are known. Where the coarse mark is the last
    price so is the finer one.
    """
    share = np.tile(np.arange(pieces) / pieces, len(bars))[wanted]
    coarse = {name: np.repeat(bars[name], pieces)[wanted] for name in bars.dtype.names if name != "ts_open"}
    from_open = coarse["mark_open"] - coarse["open"]
    drift = (coarse["mark_close"] - coarse["close"]) - from_open
    for name in PRICES:
        when = {"open": share, "close": share + 1.0 / pieces}.get(name, share + 0.5 / pieces)
        price = rows[name][wanted] + from_open + drift * when
        price = np.clip(price, coarse["mark_low"], coarse["mark_high"])
        is_last = (coarse["mark_low"] == coarse["low"]) & (coarse["mark_high"] == coarse["high"])
        is_last &= (from_open == 0.0) & (drift == 0.0)
        rows[f"mark_{name}"][wanted] = np.where(is_last, rows[name][wanted], price)
    ends = [rows[f"mark_{name}"] for name in ("open", "close")]
    rows["mark_high"] = np.maximum.reduce([rows["mark_high"], *ends])
    rows["mark_low"] = np.minimum.reduce([rows["mark_low"], *ends])
