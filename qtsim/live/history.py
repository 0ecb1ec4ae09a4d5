"""Closed bars as they come, and the strategy's signals on all of them: what a backtest computes at once, bar by bar."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from qtsim.core.records import Records, bar_dt, close_dt, span_dt
from qtsim.data.frames import times_of
from qtsim.data.timeframes import timeframe_ns
from qtsim.signals.compute import SignalSet, answer_sources
from qtsim.signals.growing import GrowingSources
from qtsim.signals.market_columns import describe_market
from qtsim.signals.regimes import LeaderRules
from qtsim.signals.strategy import Strategy

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Times: TypeAlias = npt.NDArray[np.int64]

FIELDS = ("open", "high", "low", "close", "volume")
FIRST_ROOM = 1024
_NO_CLOSES = np.zeros(0, close_dt)


class Bar(NamedTuple):
    """One closed bar; `ts_open` int64 ns UTC, prices quote currency, volume base currency."""

    ts_open: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BarHistory:
    """The closed bars of one symbol, oldest first; arrays that grow."""

    def __init__(self, bars: Records | None = None) -> None:
        """bars: bar_dt, in the order of time."""
        self._count = 0
        self._room = 0
        self._time: Times = np.zeros(0, np.int64)
        self._fields: dict[str, Floats] = {name: np.zeros(0) for name in FIELDS}
        if bars is not None:
            self._add(bars["ts_open"], {name: bars[name] for name in FIELDS})

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> BarHistory:
        """History from canonical bars."""
        history = cls()
        history._add(times_of(frame), {name: frame[name].to_numpy() for name in FIELDS})
        return history

    def _add(self, time: Any, fields: Mapping[str, Any]) -> None:
        """Write behind the last bar. What was handed out is a view of the arrays, and stays as it is."""
        first, stop = self._count, self._count + len(time)
        if stop > self._room:
            self._room = max(FIRST_ROOM, 2 * stop)
            self._time = _larger(self._time, self._room)
            self._fields = {name: _larger(values, self._room) for name, values in self._fields.items()}
        for array, values in ((self._time, time), *((self._fields[name], fields[name]) for name in FIELDS)):
            array.flags.writeable = True
            array[first:stop] = values
            array.flags.writeable = False
        self._count = stop

    def __len__(self) -> int:
        return self._count

    @property
    def time(self) -> Times:
        """Opens, int64 ns UTC; a read-only view."""
        return self._time[: self._count]

    @property
    def fields(self) -> dict[str, Floats]:
        """Prices and volume by name; read-only views."""
        return {name: values[: self._count] for name, values in self._fields.items()}

    @property
    def rows(self) -> Records:
        """All bars, bar_dt."""
        return self.newest_rows(self._count)

    def newest_rows(self, count: int) -> Records:
        """The last bars, bar_dt."""
        first = max(0, self._count - count)
        rows = np.zeros(self._count - first, bar_dt)
        rows["ts_open"] = self._time[first : self._count]
        for name in FIELDS:
            rows[name] = self._fields[name][first : self._count]
        return rows

    @property
    def last_open(self) -> int | None:
        """Open of the newest bar, ns."""
        return int(self._time[self._count - 1]) if self._count else None

    @property
    def newest(self) -> Bar | None:
        """The newest bar."""
        return None if self.last_open is None else self.at(self.last_open)

    def append(self, bar: Bar) -> None:
        """Add the next bar. Raises ValueError where it is not later than the last."""
        last = self.last_open
        if last is not None and bar.ts_open <= last:
            raise ValueError(f"bar of {bar.ts_open} comes after one of {last}")
        self._add([bar.ts_open], {name: [getattr(bar, name)] for name in FIELDS})

    def at(self, ts_open: int) -> Bar | None:
        """The bar that opened at an instant."""
        k = int(np.searchsorted(self.time, ts_open))
        if k == self._count or int(self._time[k]) != ts_open:
            return None
        return Bar(int(self._time[k]), *(float(self._fields[name][k]) for name in FIELDS))


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
    _sources: GrowingSources | None = field(default=None, init=False)
    _taken: dict[str, int] = field(default_factory=dict, init=False)  # bars that the sources have
    _rates_taken: dict[str, int] = field(default_factory=dict, init=False)
    _joined: tuple[list[Records], Records, Records] | None = field(default=None, init=False)  # parts, closes, spans

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
        answers = self._answers(1)
        signals: dict[str, Records] = {}
        for symbol in symbols:
            signals[symbol] = rows = answers[symbol].rows
            describe_market(rows, self.bars[symbol].newest_rows(1), timeframe_ns(self.timeframe))
        closes, spans = self._closes({symbol: answer.closes for symbol, answer in answers.items()})
        return Known(signals, closes, spans, next(iter(answers.values())).regime_ns)

    def recent(self, count: int) -> tuple[dict[str, Records], list[str]]:
        """The signals of each symbol's last bars, as they were at their closes, and the texts that their tags count."""
        answers = self._answers(count)
        for symbol, answer in answers.items():
            bars = self.bars[symbol].newest_rows(len(answer.rows))
            describe_market(answer.rows, bars, timeframe_ns(self.timeframe))
        tags = next((answer.tags for answer in answers.values()), [])
        return {symbol: answer.rows for symbol, answer in answers.items()}, tags

    def _answers(self, newest: int) -> dict[str, SignalSet]:
        return answer_sources(
            self.strategy,
            self._grown(),
            regime_timeframe=self.rules.timeframe,
            leader=self.rules.leader,
            leader_rules=self.rules.leader_rules,
            newest=newest,
        )

    def _grown(self) -> GrowingSources:
        """What the strategy reads, with everything that has come."""
        if self._sources is None:
            self._sources = GrowingSources(self.timeframe, self.others)
        for histories, traded in ((self.other_bars, False), (self.bars, True)):
            for symbol, history in histories.items():
                if len(history) > self._taken.get(symbol, 0):
                    self._sources.grow(symbol, history.time, history.fields, traded=traded)
                    self._taken[symbol] = len(history)
        for symbol, rows in self.funding.items():
            if symbol in self.bars and len(rows) > self._rates_taken.get(symbol, 0):
                known = np.array([ts for ts, _ in rows], dtype=np.int64)
                rates = np.array([rate for _, rate in rows], dtype=np.float64)
                self._sources.publish("funding_rate", symbol, known, rates)
                self._rates_taken[symbol] = len(rows)
        return self._sources

    def _closes(self, closes: Mapping[str, Records]) -> tuple[Records, Records]:
        """All symbols' closes in one array, and where each slot's lie; joined again only where there are new ones."""
        parts = [closes.get(symbol, _NO_CLOSES) for symbol in self.bars]
        if self._joined is None or not all(map(operator.is_, parts, self._joined[0])):
            self._joined = (parts, *_join(parts, self.width))
        _, joined, spans = self._joined
        return joined, spans.copy()  # the session notes in them what it has seen


def _join(parts: Sequence[Records], width: int) -> tuple[Records, Records]:
    """close_dt of all parts, and span_dt of each slot, `width` of them per part."""
    ends = np.cumsum([0, *(len(part) for part in parts)])
    spans = np.zeros(len(parts) * width, span_dt)
    spans["first"] = spans["known"] = np.repeat(ends[:-1], width)
    spans["end"] = np.repeat(ends[1:], width)
    joined = np.zeros(int(ends[-1]), close_dt)
    for part, first in zip(parts, ends[:-1], strict=True):
        joined[first : first + len(part)] = part
    return joined, spans


def _larger(array: Any, room: int) -> Any:
    """A copy with room for more."""
    larger = np.zeros(room, array.dtype)
    larger[: len(array)] = array
    return larger
