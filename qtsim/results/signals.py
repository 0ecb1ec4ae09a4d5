"""The newest signals of a run, kept so that a live session can tell whether it would have been answered the same.

A frame of signals has a row per symbol and bar: `symbol`, `time` (the bar's close, UTC), what the strategy asked for
(`tag` as text) and what the market looked like, under the names of `signal_dt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qtsim.core.records import Records, signal_dt
from qtsim.results.tables import utc_times

KEPT = 500
"""Bars of each symbol, the last of the run."""
VALUES = tuple(name for name in signal_dt.names or () if name not in ("ts_close", "tag"))
COLUMNS = ("symbol", "time", "tag", *VALUES)
EMPTY_SIGNALS = pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})


@dataclass(frozen=True)
class Compared:
    """How signals of two sources agree, over the bars that both have. `first`: the first difference in words."""

    bars: int
    differ: int
    first: str = ""


def newest_signals(rows: Mapping[str, Records], tags: Sequence[str], count: int = KEPT) -> pd.DataFrame:
    """The last `count` signals of each symbol. rows: signal_dt by symbol; tags: the texts that their `tag` counts.

    Rows of history before the run, which have no `ts_close`, are left out.
    """
    closed = {symbol: own[own["ts_close"] > 0][-count:] for symbol, own in rows.items()}
    parts = [_frame_of(symbol, own, tags) for symbol, own in closed.items() if len(own)]
    return pd.concat(parts, ignore_index=True) if parts else EMPTY_SIGNALS.copy()


def _frame_of(symbol: str, rows: Records, tags: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": symbol,
            "time": utc_times(np.ascontiguousarray(rows["ts_close"])),
            "tag": [tags[number] if number >= 0 else "" for number in rows["tag"].tolist()],
            **{name: np.ascontiguousarray(rows[name]) for name in VALUES},
        }
    )


def compare_signals(one: pd.DataFrame, other: pd.DataFrame) -> Compared:
    """Hold the bars that both frames have against each other: every value, to the bit."""
    both = one.merge(other, on=["symbol", "time"], suffixes=("", "_other"))
    wrong = np.zeros(len(both), dtype=bool)
    first = ""
    for name in ("tag", *VALUES):
        mine, theirs = both[name], both[f"{name}_other"]
        differs = ~((mine == theirs) | (mine.isna() & theirs.isna())).to_numpy(dtype=bool)
        if differs.any() and (not first or differs.argmax() < wrong.argmax()):
            k = int(differs.argmax())
            place = f"{both['symbol'].iloc[k]} at {both['time'].iloc[k]:%Y-%m-%d %H:%M}"
            first = f"{place}: {name} is {mine.tolist()[k]!r}, was {theirs.tolist()[k]!r}"
        wrong |= differs
    return Compared(len(both), int(wrong.sum()), first)
