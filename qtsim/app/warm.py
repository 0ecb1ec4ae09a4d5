"""One trade in memory before trading begins, so that the first real decision finds everything compiled and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qtsim.app.paper import PaperVenue
from qtsim.core.records import Records, close_dt, span_dt
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.live.history import Bar, BarHistory, Known, SignalSource
from qtsim.live.trader import Timing, Trader
from qtsim.trading.session import Session

SECOND = 1_000_000_000
WAY = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.06, 0.03, 0.0, -0.05, -0.1)
"""Of the price from the entry on: through the targets, and back through every stop."""


@dataclass
class _Asks:
    """The signals of now, with an entry in every symbol."""

    source: SignalSource
    side: str

    @property
    def bars(self) -> dict[str, BarHistory]:
        return self.source.bars

    def add(self, symbol: str, bar: Bar) -> None:
        """Keep nothing."""

    def ask(self, symbols: Sequence[str]) -> Known:
        """What the strategy says, and an entry."""
        known = self.source.ask(symbols)
        for row in known.signals.values():
            row["long"], row["short"], row["confidence"] = self.side == "long", self.side == "short", 1.0
        return known


def rehearse(records: Records, params: Records, balance: float, source: SignalSource, timing: Timing) -> int:
    """Trade both sides once in a session of its own; nothing of it is sent or written. Returns how many trades closed.

    records: instrument_dt, one per symbol of the source, in name order; params: params_dt[1]; balance: quote currency.
    Symbols without a bar are left out of what happens; a source without any bar rehearses nothing.
    """
    newest = {symbol: bars.newest for symbol, bars in source.bars.items()}
    known = {symbol: bar for symbol, bar in newest.items() if bar is not None}
    if len(known) < len(newest):
        return 0
    return sum(_trade(records, params, balance, source, timing, known, side) for side in ("long", "short"))


def _trade(
    records: Records,
    params: Records,
    balance: float,
    source: SignalSource,
    timing: Timing,
    newest: Mapping[str, Bar],
    side: str,
) -> int:
    width = int(slots_per_symbol_nb(params[0]))
    spans = np.zeros(len(records) * width, span_dt)
    session = Session(records, params, balance, np.zeros(0, close_dt), spans, timing.timeframe)
    venue = PaperVenue(session)
    session.connect(venue)
    closed: list[Records] = []
    trader = Trader(
        session,
        venue,
        _Asks(source, side),  # type: ignore[arg-type]  # it asks nothing else of a source
        timing,
        on_rows=lambda kind, row: closed.append(row) if kind == "trades" else None,
    )
    close = max(bar.ts_open for bar in newest.values()) + timing.timeframe
    trader.marks({symbol: bar.close for symbol, bar in newest.items()})
    trader.begin(close)
    trader.bars(close, newest, close)
    direction = 1.0 if side == "long" else -1.0
    for k, move in enumerate(WAY):
        factor = 1.0 + direction * move
        prices = [(symbol, bar.close * factor, bar.close * factor) for symbol, bar in sorted(newest.items())]
        trader.points(close + (k + 1) * SECOND, prices)
        trader.settle()
        trader.clock(close + (k + 1) * SECOND)
        for i in range(len(session.positions)):
            if session.is_open(i):
                session.stop_of(i, session.plans[i], float(session.positions[i]["entry_price"]))
    return len(closed)
