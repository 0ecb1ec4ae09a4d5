"""Trades as points of a path, in columns: a run reads one or two of them and leaves the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class PathTrades(NamedTuple):
    """Trades as points of a path, all columns of shape (trades,)."""

    time: Ints  # ns, ascending for each symbol
    price: Floats
    mark: Floats  # the price where there is no mark history
    qty: Floats
    half_spread: Floats  # half the quoted spread / mid price; NaN without quotes

    @property
    def rows(self) -> int:
        """How many trades there are."""
        return len(self.time)

    def where(self, chosen: slice | npt.NDArray[np.bool_]) -> PathTrades:
        """Those that a slice or a mask chooses."""
        return PathTrades(
            self.time[chosen], self.price[chosen], self.mark[chosen], self.qty[chosen], self.half_spread[chosen]
        )


def path_trades(
    time: npt.ArrayLike, price: npt.ArrayLike, qty: npt.ArrayLike, mark: npt.ArrayLike, half_spread: npt.ArrayLike
) -> PathTrades:
    """Trades from columns of any kind of number."""
    floats = [np.ascontiguousarray(column, np.float64) for column in (price, mark, qty, half_spread)]
    return PathTrades(np.ascontiguousarray(time, np.int64), *floats)


def no_trades() -> PathTrades:
    """Of a path of bars, and of a day without any."""
    return path_trades([], [], [], [], [])


def joined(parts: Sequence[PathTrades]) -> PathTrades:
    """The trades of several parts, one behind the other; of one part itself."""
    if len(parts) == 1:
        return parts[0]
    return PathTrades(*map(np.concatenate, zip(*parts, strict=True))) if parts else no_trades()
