"""A tiny language for candle tables: rows of prices, requests at rows, and what must happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qtsim.core.enums import Action, Reason, Rule
from qtsim.core.records import Records, bar_dt, funding_dt
from qtsim.sim.journals import Journals
from qtsim.sim.market import SymbolInput
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, case_of, empty_signals, instrument

Row = tuple[float, ...]
CLEAN: dict[str, Any] = {
    "costs.slippage.bps": 0.0,
    "costs.fees.taker": 0.0,
    "costs.fees.maker": 0.0,
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 1.0,
    "limits.per_trade.margin": "inf",
    "limits.per_trade.leverage": 125.0,
    "exit.levels.adaptive": False,
    "exit.stops.trail.mode": "off",
    "gates.enabled": False,
}
"""No gates, no costs, one unit, fixed levels: 2, 4, 6 % targets and a 1.2 % stop."""


@dataclass(frozen=True)
class Story:
    """What a run of a candle table did, in words that a test can compare."""

    journals: Journals

    @property
    def fills(self) -> list[tuple[str, float, float]]:
        """(reason, price, quantity) of each fill."""
        return [
            (Reason(int(f["reason"])).name.lower(), round(float(f["price"]), 6), round(float(f["qty"]), 8))
            for f in self.journals.fills
        ]

    @property
    def reasons(self) -> list[str]:
        """Exit reason of each trade."""
        return [Reason(int(t["exit_reason"])).name.lower() for t in self.journals.trades]

    @property
    def decisions(self) -> list[tuple[str, str]]:
        """(action, reason) of each decision."""
        return [(Action(int(d["action"])).name, Reason(int(d["reason"])).name.lower()) for d in self.journals.decisions]

    @property
    def stops(self) -> list[float]:
        """Internal stop after each decision."""
        return [round(float(d["stop_price"]), 6) for d in self.journals.decisions]

    @property
    def denials(self) -> list[str]:
        """Rules that ended requests."""
        return [Rule(int(d["rule"])).name.lower() for d in self.journals.denials]

    @property
    def hours(self) -> list[float]:
        """Time of each fill, in bars since the first open."""
        return [round(float(int(f["ts"]) - START) / HOUR, 6) for f in self.journals.fills]

    @property
    def who(self) -> list[int]:
        """Symbol of each fill, 0 for the first by name."""
        return [int(f["symbol"]) for f in self.journals.fills]

    @property
    def equity(self) -> list[float]:
        """Account at each boundary."""
        return [round(float(row["equity"]), 6) for row in self.journals.equity]

    @property
    def paid(self) -> list[float]:
        """Amount of each funding, received positive."""
        return [round(float(row["amount"]), 9) for row in self.journals.funding]

    @property
    def pnl(self) -> list[float]:
        """Net PnL of each trade."""
        return [round(float(t["pnl"]), 6) for t in self.journals.trades]


def symbol(
    rows: Sequence[Row],
    *,
    name: str = "AAA",
    at: Sequence[int] | None = None,
    marks: Sequence[Row] | None = None,
    funding: Sequence[tuple[float, ...]] = (),
    rules: Records | None = None,
    volumes: Sequence[float] | None = None,
    **requests: Any,
) -> SymbolInput:
    """One symbol. rows: (open, high, low, close); at: hour of each row, for gaps; funding: (hour, rate[, mark]).

    volumes: of each row, 1 by default.

    requests: long=[0], short=…, exit_long=…: rows whose close asks; atr=, volatility_factor=, tp=, sl=, trail=,
    confidence=: a value for every row.
    """
    bars = np.zeros(len(rows), bar_dt)
    for k, field in enumerate(("open", "high", "low", "close")):
        bars[field] = [row[k] for row in rows]
        bars[f"mark_{field}"] = [row[k] for row in (marks or rows)]
    bars["volume"] = 1.0 if volumes is None else volumes
    bars["ts_open"] = START + HOUR * np.array(at if at is not None else range(len(rows)))
    signals = empty_signals(len(rows))
    signals["close"] = bars["close"]
    for field, value in requests.items():
        if isinstance(value, list):
            signals[field][value] = 1
        else:
            signals[field] = value
    events = np.zeros(len(funding), funding_dt)
    for k, (hour, rate, *mark) in enumerate(funding):
        events[k] = (START + int(hour * HOUR), rate, mark[0] if mark else np.nan)
    record = rules if rules is not None else instrument(tick=(1, 100), lot=(1, 1000))
    return SymbolInput(name, bars, signals, events, record, marks is not None)


def play(*symbols: SymbolInput, balance: float = 1_000_000.0, **overrides: Any) -> Story:
    """Run both drivers, insist that they agree, and return the story. Settings: `exit__base_tp=0.02`."""
    settings = {**CLEAN, **{key.replace("__", "."): value for key, value in overrides.items()}}
    case = case_of(list(symbols), settings, balance)
    compiled, reference = case.compiled(), case.reference()
    difference = first_difference(compiled, reference)
    assert difference is None, difference
    return Story(compiled)


def mirrored(rows: Sequence[Row], around: float = 100.0) -> list[Row]:
    """The same table upside down: highs become lows."""
    return [(2 * around - o, 2 * around - low, 2 * around - high, 2 * around - c) for o, high, low, c in rows]
