"""Data of a live session: bars are added at the end, and whatever they do not change is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qtsim.data.resample import resample_arrays
from qtsim.data.timeframes import grid_anchor_ns
from qtsim.signals.bars import Floats, Series, Sources, Times

if TYPE_CHECKING:
    import pandas as pd


class GrowingSources(Sources):
    """Sources whose bars of the run's timeframe grow.

    Coarser bars are made again only when one more of them may be whole, and what is computed of a series is computed
    once; so a close costs what the strategy costs, whatever the length of the history.
    """

    def __init__(self, timeframe: str, other_frames: Mapping[Any, pd.DataFrame] | None = None) -> None:
        super().__init__({}, timeframe, other_frames=other_frames)
        self._over: dict[tuple[str, int], int] = {}  # coarse bars that were over when a series was made
        self._fine: dict[tuple[str, int], tuple[str, int]] = {}  # what a series is made of

    def grow(self, symbol: str, time: Times, fields: Mapping[str, Floats], *, traded: bool) -> None:
        """Take a symbol's bars, longer than before. time, fields: read-only, in the order of time."""
        key = (symbol, self.length)
        self._given[key] = self._made[key] = Series(symbol, self.length, time, fields)
        if traded and symbol not in self.symbols:
            self.symbols = sorted((*self.symbols, symbol))

    def publish(self, name: str, symbol: str, known: Times, values: Floats) -> None:
        """Take a column, longer than before. known: when each value became known, ns, ascending."""
        self._columns[name, symbol] = (known, values)

    def series(self, symbol: str, length: int) -> Series:
        """As `Sources.series`."""
        key = (symbol, length)
        if key in self._given:
            return self._given[key]
        if key not in self._fine:
            self._fine[key] = (symbol, self.finer(symbol, length).length)
        fine = self._given[self._fine[key]]
        over = (int(fine.known[-1]) - grid_anchor_ns(length)) // length if len(fine.known) else 0
        if key not in self._over:
            self._made[key] = self._resample(symbol, length)
        elif self._over[key] != over:
            self._made[key] = _longer(self._made[key], fine, self._over[key])
        self._over[key] = over
        return self._made[key]


def _longer(made: Series, fine: Series, over: int) -> Series:
    """Coarse bars with those that have become whole since `over` of them were over: no finer bar comes before that."""
    first = int(np.searchsorted(fine.time, grid_anchor_ns(made.length) + over * made.length))
    if first == len(fine.time):
        return made
    newest = {name: values[first:] for name, values in fine.fields.items()}
    opens, more = resample_arrays(fine.time[first:], newest, fine.length, made.length)
    time = np.concatenate([made.time, opens])
    fields = {name: np.concatenate([values, more[name]]) for name, values in made.fields.items()}
    for array in (time, *fields.values()):
        array.flags.writeable = False
    return Series(made.symbol, made.length, time, fields)
