"""Closed bars as they come, and the strategy's signals on all of them: what a backtest computes at once, bar by bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from qtsim.core.records import Records, bar_dt, close_dt, span_dt
from qtsim.data.frames import make_frame, times_of
from qtsim.data.timeframes import timeframe_ns
from qtsim.signals.compute import compute_signals
from qtsim.signals.market_columns import describe_market
from qtsim.signals.regimes import LeaderRules
from qtsim.signals.strategy import Strategy

FIELDS = ("open", "high", "low", "close", "volume")
FIRST_ROOM = 1024


class Bar(NamedTuple):
    """One closed bar; `ts_open` int64 ns UTC, prices quote currency, volume base currency."""

    ts_open: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BarHistory:
    """The closed bars of one symbol, oldest first; one array that grows."""

    def __init__(self, bars: Records | None = None) -> None:
        given = np.zeros(0, bar_dt) if bars is None else bars
        self._rows = np.zeros(max(FIRST_ROOM, 2 * len(given)), bar_dt)
        self._rows[: len(given)] = given
        self._count = len(given)

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> BarHistory:
        """History from canonical bars."""
        rows = np.zeros(len(frame), bar_dt)
        rows["ts_open"] = times_of(frame)
        for name in FIELDS:
            rows[name] = frame[name].to_numpy()
        return cls(rows)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Records:
        """All bars, bar_dt."""
        return self._rows[: self._count]

    @property
    def last_open(self) -> int | None:
        """Open of the newest bar, ns."""
        return int(self._rows["ts_open"][self._count - 1]) if self._count else None

    @property
    def newest(self) -> Bar | None:
        """The newest bar."""
        return None if self.last_open is None else self.at(self.last_open)

    def append(self, bar: Bar) -> None:
        """Add the next bar. Raises ValueError where it is not later than the last."""
        last = self.last_open
        if last is not None and bar.ts_open <= last:
            raise ValueError(f"bar of {bar.ts_open} comes after one of {last}")
        if self._count == len(self._rows):
            larger = np.zeros(2 * len(self._rows), bar_dt)
            larger[: self._count] = self._rows
            self._rows = larger
        row = self._rows[self._count]
        for name, value in bar._asdict().items():
            row[name] = value
        self._count += 1

    def at(self, ts_open: int) -> Bar | None:
        """The bar that opened at an instant."""
        k = int(np.searchsorted(self.rows["ts_open"], ts_open))
        if k == self._count or int(self._rows["ts_open"][k]) != ts_open:
            return None
        row = self._rows[k]
        return Bar(int(row["ts_open"]), *(float(row[name]) for name in FIELDS))

    def frame(self) -> pd.DataFrame:
        """Canonical bars."""
        rows = self.rows
        times = np.ascontiguousarray(rows["ts_open"], dtype=np.int64)
        return make_frame(times, {name: np.ascontiguousarray(rows[name], dtype=np.float64) for name in FIELDS})


@dataclass(frozen=True)
class RegimeRules:
    """On which bars regimes and ATR are computed, and who leads: `regime.*` of the settings."""

    timeframe: str
    leader: str
    leader_rules: LeaderRules


class Known(NamedTuple):
    """What is known at a close: a signal per symbol, and the closes of the regime's bars with where each slot's lie."""

    signals: dict[str, Records]  # signal_dt row
    closes: Records
    spans: Records
    regime_ns: int


@dataclass
class SignalSource:
    """Asks a strategy about everything that has closed."""

    strategy: Strategy
    timeframe: str
    rules: RegimeRules
    bars: dict[str, BarHistory]  # traded symbols, in name order
    width: int  # slots per symbol
    others: dict[Any, pd.DataFrame] = field(default_factory=dict)
    other_bars: dict[str, BarHistory] = field(default_factory=dict)  # symbols that are read and not traded
    funding: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # (ts, rate) as published

    def add(self, symbol: str, bar: Bar) -> None:
        """A bar has closed."""
        (self.bars if symbol in self.bars else self.other_bars)[symbol].append(bar)

    def publish(self, symbol: str, ts: int, rate: float) -> bool:
        """A funding rate was published; False where it is known already."""
        rows = self.funding.setdefault(symbol, [])
        if rows and rows[-1][0] >= ts:
            return False
        rows.append((ts, rate))
        return True

    def ask(self, symbols: Sequence[str]) -> Known:
        """The signals of the last bar of `symbols`. Errors: StrategyError."""
        frames = {symbol: history.frame() for symbol, history in self.bars.items() if len(history)}
        answers = compute_signals(
            self.strategy,
            frames,
            self.timeframe,
            regime_timeframe=self.rules.timeframe,
            leader=self.rules.leader,
            leader_rules=self.rules.leader_rules,
            funding_frames=self._funding_frames(frames),
            other_frames={**self.others, **{name: one.frame() for name, one in self.other_bars.items()}},
        )
        signals: dict[str, Records] = {}
        for symbol in symbols:
            rows = answers[symbol].rows[-1:].copy()
            describe_market(rows, self.bars[symbol].rows[-1:], timeframe_ns(self.timeframe))
            signals[symbol] = rows
        closes, spans = self._closes({symbol: answer.closes for symbol, answer in answers.items()})
        return Known(signals, closes, spans, next(iter(answers.values())).regime_ns)

    def _closes(self, closes: Mapping[str, Records]) -> tuple[Records, Records]:
        parts = [closes.get(symbol, np.zeros(0, close_dt)) for symbol in self.bars]
        ends = np.cumsum([0, *(len(part) for part in parts)])
        spans = np.zeros(len(parts) * self.width, span_dt)
        spans["first"] = spans["known"] = np.repeat(ends[:-1], self.width)
        spans["end"] = np.repeat(ends[1:], self.width)
        joined = np.zeros(int(ends[-1]), close_dt)
        for part, first in zip(parts, ends[:-1], strict=True):
            joined[first : first + len(part)] = part
        return joined, spans

    def _funding_frames(self, frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        found = {}
        for symbol, rows in self.funding.items():
            if symbol in frames and rows:
                times = np.array([ts for ts, _ in rows], dtype=np.int64)
                rates = np.array([rate for _, rate in rows], dtype=np.float64)
                found[symbol] = make_frame(times, {"funding_rate": rates})
        return found
