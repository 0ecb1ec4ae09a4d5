"""Trades in memory before trading begins: what an order would be now, and everything compiled and loaded for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qtsim.app.paper import PaperVenue
from qtsim.core.costs import BPS
from qtsim.core.enums import RULE_TEXT, OrderType, Rule
from qtsim.core.records import Record, Records, close_dt, span_dt
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.live.history import Bar, BarHistory, Known, SignalSource
from qtsim.live.trader import Timing, Trader
from qtsim.trading.session import Session

SECOND = 1_000_000_000
WAY = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.06, 0.03, 0.0, -0.05, -0.1)
"""Of the entry price, after the entry: through the targets, and back through every stop."""
DOUBLINGS = 34
"""The smallest balance is looked for from 1 to 2³³ quote currency."""
THROUGH = 0.001
"""Ratio by which the price passes a limit entry, so that it is filled."""
PRECISION = 0.001
LONG, SHORT = 1, -1


@dataclass(frozen=True)
class TypicalOrder:
    """An entry at the last close, as the settings size and plan it at a balance. Quantities base currency.

    `legs`: what each target closes, 0 where it is too small; `rest`: what stays after the last. Prices are NaN where
    there is none. `why_not`: the rule that denies it, and then nothing else is known.
    """

    symbol: str
    qty: float = 0.0
    price: float = math.nan
    leverage: float = math.nan
    legs: tuple[float, ...] = ()
    rest: float = 0.0
    targets: tuple[float, ...] = ()
    stop: float = math.nan
    hard_stop: float = math.nan
    liquidation: float = math.nan
    why_not: str = ""

    @property
    def is_whole(self) -> bool:
        """Is there an order, and does every one of its targets close something?"""
        return self.qty > 0 and all(leg > 0 for leg in self.legs)


@dataclass
class _Asks:
    """The signals of now, with an entry in every symbol."""

    bars: dict[str, BarHistory]
    known: Known
    side: int

    def add(self, symbol: str, bar: Bar) -> None:
        """Keep nothing."""

    def ask(self, symbols: Sequence[str]) -> Known:
        """What the strategy says, and an entry."""
        rows = {symbol: self.known.signals[symbol].copy() for symbol in symbols}
        for row in rows.values():
            row["long"], row["short"], row["confidence"] = self.side == LONG, self.side == SHORT, 1.0
        return self.known._replace(signals=rows)


@dataclass
class Rehearsal:
    """Sessions in memory, of the symbols, settings and history of a real one; nothing of them is sent or written.

    records: instrument_dt, one per symbol of the source, in name order; params: params_dt[1].
    """

    records: Records
    params: Records
    source: SignalSource
    timing: Timing
    rows: dict[str, list[Record]] = field(default_factory=dict)  # of the last entry, by kind

    def __post_init__(self) -> None:
        """Ask the strategy once, where every symbol has a bar."""
        newest = {symbol: bars.newest for symbol, bars in self.source.bars.items()}
        self.newest: Mapping[str, Bar] = {symbol: bar for symbol, bar in newest.items() if bar is not None}
        self.is_possible = len(self.newest) == len(newest) > 0
        if self.is_possible:
            self.close = max(bar.ts_open for bar in self.newest.values()) + self.timing.timeframe
            self.known = self.source.ask(list(self.source.bars))

    def enter(self, side: int, balance: float, symbols: Sequence[str]) -> Trader:
        """A session of some symbols that has asked for an entry of `side` in each, at the last closes."""
        names = list(self.source.bars)
        records = self.records[[names.index(symbol) for symbol in symbols]]
        closes = np.zeros(0, close_dt)
        spans = np.zeros(len(symbols) * int(slots_per_symbol_nb(self.params[0])), span_dt)
        session = Session(records, self.params, balance, closes, spans, self.timing.timeframe)
        venue = PaperVenue(session, self.timing.timeframe)
        session.connect(venue)
        self.rows = {}
        trader = Trader(
            session,
            venue,
            _Asks(  # type: ignore[arg-type]  # nothing else is asked of it
                {symbol: self.source.bars[symbol] for symbol in symbols},
                self.known._replace(closes=closes, spans=spans),
                side,
            ),
            self.timing,
            on_rows=lambda kind, row: self.rows.setdefault(kind, []).append(row[0]),
        )
        trader.marks({symbol: self.newest[symbol].close for symbol in symbols})
        trader.begin(self.close)
        trader.bars(self.close, {symbol: self.newest[symbol] for symbol in symbols}, self.close)
        self.show(trader, 0, 1.0)
        entry = self.params["entry"][0]
        if entry["order_type"] == OrderType.LIMIT:
            self.show(trader, 0, (1.0 - side * float(entry["order_limit_offset_bps"]) * BPS) * (1.0 - side * THROUGH))
        return trader

    def show(self, trader: Trader, k: int, factor: float) -> None:
        """The k-th second after the close: prices are `factor` times the last."""
        now = self.close + (k + 1) * SECOND
        shown = [(symbol, self.newest[symbol].close * factor) for symbol in trader.symbols]
        prices = [(symbol, price, price) for symbol, price in shown]
        trader.points(now, prices)
        trader.settle()
        trader.clock(now)

    def trade(self, balance: float) -> int:
        """Trade both sides in all symbols to their end: every kernel that a decision needs is loaded then.

        Returns how many trades closed.
        """
        closed = 0
        for side in (LONG, SHORT) if self.is_possible else ():
            trader = self.enter(side, balance, list(self.newest))
            session = trader.session
            for i in range(len(session.positions)):
                if session.is_open(i):
                    session.stop_of(i, session.plans[i], float(session.positions[i]["entry_price"]))
            for k, move in enumerate(WAY, 1):
                self.show(trader, k, 1.0 + side * move)
            closed += len(self.rows.get("trades", []))
            self.turn(side, balance)
        return closed

    def turn(self, side: int, balance: float) -> None:
        """Enter, and ask for the other side at the next close."""
        trader = self.enter(side, balance, list(self.newest))
        trader.source.side = -side  # type: ignore[attr-defined]
        later = self.close + self.timing.timeframe
        bars = {
            symbol: bar._replace(ts_open=bar.ts_open + self.timing.timeframe) for symbol, bar in self.newest.items()
        }
        trader.bars(later, bars, later)
        self.show(trader, self.timing.timeframe // SECOND, 1.0)

    def typical(self, symbol: str, balance: float) -> TypicalOrder:
        """What a long entry of a symbol alone would be at a balance, quote currency."""
        trader = self.enter(LONG, balance, [symbol])
        i = trader.slots_of(symbol)[0]
        position = trader.session.positions[i]
        if position["side"] == 0:
            denials = self.rows.get("denials", [])
            rule = RULE_TEXT[Rule(int(denials[-1]["rule"]))] if denials else "no order"
            value = f" ({denials[-1]['value']:g}, limit {denials[-1]['limit']:g})" if denials else ""
            return TypicalOrder(symbol, why_not=f"{rule}{value}")
        lot = float(position["qty"]) / float(position["lots"])
        count = int(position["n_legs"])
        ends = [0, *position["tp_lots"][:count].tolist()]
        return TypicalOrder(
            symbol,
            float(position["qty"]),
            float(position["entry_price"]),
            float(position["leverage"]),
            tuple((after - before) * lot for before, after in itertools.pairwise(ends)),
            (int(position["lots"]) - ends[-1]) * lot,
            tuple(float(price) for price in position["tp_price"][:count]),
            float(position["stop_price"]),
            float(position["hard_price"]),
            float(position["liq_price"]),
        )

    def least_balance(self, symbol: str) -> float:
        """The smallest balance at which every leg of a symbol's order exists, to a thousandth; inf: none does."""
        high = next((2.0**k for k in range(DOUBLINGS) if self.typical(symbol, 2.0**k).is_whole), math.inf)
        if math.isinf(high):
            return high
        low = high / 2.0
        while high / low > 1.0 + PRECISION:
            middle = math.sqrt(low * high)
            if self.typical(symbol, middle).is_whole:
                high = middle
            else:
                low = middle
        return high
