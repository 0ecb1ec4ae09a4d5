"""What one run wrote down: the output of every driver and the input of the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from qtsim.core.records import Records, agent_dt, doubt_row_dt, governor_row_dt, transfer_dt
from qtsim.sim.curve import ShortCurve, WholeCurve


@dataclass(frozen=True)
class Journals:
    """Structured arrays of one run, each in the order things happened.

    `symbol` fields index `symbols`, which is in name order. Times are int64 nanoseconds UTC.
    """

    symbols: list[str]
    timeframe_ns: int
    trades: Records  # trade_row_dt: closed trades, in the order they ended
    fills: Records  # fill_row_dt
    decisions: Records  # decision_row_dt, without HOLD_CURRENT
    denials: Records  # denial_row_dt: one row per signal that did not become an entry
    funding: Records  # funding_row_dt
    curve: WholeCurve | ShortCurve  # the equity at every boundary
    positions: Records  # position_dt, one row per slot (symbol, in hedge mode and side): what is still open at the end
    account: Records  # account_dt, shape (1,)
    governor: Records = field(default_factory=lambda: np.zeros(0, governor_row_dt))  # its decisions, fired and ended
    transfers: Records = field(default_factory=lambda: np.zeros(0, transfer_dt))  # those that were due
    doubts: Records = field(default_factory=lambda: np.zeros(0, doubt_row_dt))  # ambiguous bars, by time
    agent: Records = field(default_factory=lambda: np.zeros(0, agent_dt))  # of sizing model rl, as the run left it
    counts: dict[str, int] = field(default_factory=dict)  # signals, holds, nan_points, ...

    @cached_property
    def equity(self) -> Records:
        """equity_row_dt: one row per boundary of the timeline, written out when first asked for."""
        return self.curve.rows()
