"""A market told line by line: the points and closes of bars, as a feed tells them to a trader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.backtest import Prepared, prepare
from qtsim.app.inputs import add_instruments, gather_frames
from qtsim.app.paper import PaperVenue
from qtsim.config.layers import Resolved, resolve
from qtsim.core.costs import funding_amount_nb
from qtsim.core.records import Record, Records, span_dt
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.live.history import Bar, BarHistory, RegimeRules, SignalSource
from qtsim.live.tape import Tape
from qtsim.live.trader import Price, Timing, Trader
from qtsim.signals.loading import load_strategy
from qtsim.signals.regimes import LeaderRules
from qtsim.sim.paths import is_high_nearer_nb, segment_time_nb, unfold_bar_nb
from qtsim.trading.messages import FundingPayment
from qtsim.trading.session import Session

MINUTE = 60_000_000_000
SECOND = 1_000_000_000
START = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC

SETTINGS: dict[str, Any] = {
    "exit.monitoring": "points",
    "sim.end_of_data": "open",
    "governor.shutdown.operator_hours": "inf",
    "costs.funding.source": "default",
    "run.timeframe": "1m",
    "regime.timeframe": "5m",
    "exit.base_tp": 0.004,
    "exit.base_sl": 0.003,
    "strategy.fast": 3,
    "strategy.slow": 8,
}


def random_bars(seed: int, count: int, price: float, start: int = START) -> pd.DataFrame:
    """A random walk on the tick of 0.01, without gaps."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0.0, 0.0015, count)))
    first = np.concatenate([[price], close[:-1]])
    high = np.maximum(first, close) * (1.0 + np.abs(rng.normal(0.0, 0.0007, count)))
    low = np.minimum(first, close) * (1.0 - np.abs(rng.normal(0.0, 0.0007, count)))
    columns = {"open": first, "high": high, "low": low, "close": close, "volume": np.full(count, 1000.0)}
    index = pd.DatetimeIndex((start + MINUTE * np.arange(count)).view("M8[ns]"), name="time").tz_localize("UTC")
    return pd.DataFrame({name: np.round(values, 2) for name, values in columns.items()}, index=index)


def frames_of(symbols: list[str], count: int, seed: int = 1) -> dict[str, pd.DataFrame]:
    """Random bars by symbol."""
    return {symbol: random_bars(seed + k, count, 100.0 * (k + 1)) for k, symbol in enumerate(symbols)}


def resolved(symbols: list[str], **overrides: Any) -> Resolved:
    """Settings of a run on one-minute bars in `points` monitoring."""
    return resolve(environ={}, overrides={**SETTINGS, "run.symbols": symbols, **overrides})


def prepared_run(frames: dict[str, pd.DataFrame], settings: Resolved) -> Prepared:
    """What a backtest on the frames reads."""
    inputs = gather_frames(frames, settings.settings, timeframe="1m")
    add_instruments(inputs, settings.settings, {}, None, plain=False)
    strategy = load_strategy("ema_cross", settings.settings.strategy, [])
    return prepare(inputs, strategy, settings.settings, check=False)


def source_of(settings: Resolved, symbols: list[str], width: int = 1) -> SignalSource:
    """A signal source without history."""
    own = settings.settings
    leader = own.regime.leader
    rules = RegimeRules(own.regime.timeframe, "BTCUSDT", LeaderRules(leader.timeframe, leader.ema_bars, leader.band))
    strategy = load_strategy("ema_cross", own.strategy, [])
    return SignalSource(strategy, "1m", rules, {symbol: BarHistory() for symbol in symbols}, width)


def paper_trader(
    run: Prepared, settings: Resolved, symbols: list[str], tape: Tape | None = None, **more: Any
) -> Trader:
    """A trader with the simulated exchange."""
    width = int(slots_per_symbol_nb(run.params[0]))
    session = Session(
        run.market.instruments,
        run.params,
        float(settings.settings.account.balance),
        run.market.closes[:0],
        np.zeros(len(symbols) * width, span_dt),
        run.market.regime_ns,
    )
    venue = PaperVenue(session, MINUTE)
    session.connect(venue)
    timing = Timing(MINUTE, 3 * SECOND, 10 * SECOND)
    return Trader(session, venue, source_of(settings, symbols, width), timing, tape, **more)


Line = Callable[[Trader], None]


def lines(run: Prepared, symbols: list[str]) -> Iterator[Line]:
    """What a feed tells, in the order in which it happens: points, funding, closed bars."""
    market = run.market
    rows = {symbol: market.bars[market.bar_offsets[k] : market.bar_offsets[k + 1]] for k, symbol in enumerate(symbols)}
    count = len(next(iter(rows.values())))
    due = {
        symbol: list(market.funding[market.funding_offsets[k] : market.funding_offsets[k + 1]])
        for k, symbol in enumerate(symbols)
    }
    for number in range(count):
        start = int(next(iter(rows.values()))["ts_open"][number])
        if number == 0:
            yield lambda trader, ts=start: trader.begin(ts)
        paths = {symbol: _path(bars[number]) for symbol, bars in rows.items()}
        for segment in range(4):
            ts = start + MINUTE if segment == 3 else int(segment_time_nb(start, MINUTE, segment))
            prices: list[Price] = [(symbol, path[segment], path[segment]) for symbol, path in paths.items()]
            yield _points(ts, prices)
            if segment == 3:
                for symbol in symbols:
                    while due[symbol] and int(due[symbol][0]["ts"]) <= ts:
                        yield _funding(symbol, due[symbol].pop(0), paths[symbol][3])
        closed = {
            symbol: Bar(start, *(float(bars[number][name]) for name in ("open", "high", "low", "close", "volume")))
            for symbol, bars in rows.items()
        }
        yield lambda trader, at=start + MINUTE, closed=closed: trader.bars(at, closed, at)


def _path(bar: Record) -> list[float]:
    prices, marks = np.zeros(4), np.zeros(4)
    unfold_bar_nb(bar, bool(is_high_nearer_nb(bar)), False, prices, marks)
    return [float(price) for price in prices]


def _points(ts: int, prices: list[Price]) -> Line:
    def tell(trader: Trader) -> None:
        trader.points(ts, prices)
        trader.settle()

    return tell


def _funding(symbol: str, event: Record, mark: float) -> Line:
    def tell(trader: Trader) -> None:
        for i in trader.slots_of(symbol):
            position = trader.session.positions[i]
            if position["side"] != 0 and int(position["entry_ts"]) < int(event["ts"]):
                rate, price = float(event["rate"]), mark if np.isnan(event["mark"]) else float(event["mark"])
                amount = float(funding_amount_nb(float(position["side"]), float(position["qty"]), price, rate))
                trader.paid(FundingPayment(i, int(event["ts"]), rate, price, amount))

    return tell


class Kept:
    """A tape in memory."""

    def __init__(self) -> None:
        self.inputs: list[tuple[int, str, dict[str, Any]]] = []
        self.rows: list[tuple[int, str, Records]] = []

    def input(self, kind: str, body: Any) -> None:
        """Keep an input."""
        self.inputs.append((len(self.inputs) + 1, kind, body))

    def decision(self, kind: str, row: Records) -> None:
        """Keep a row."""
        self.rows.append((len(self.inputs), kind, row))

    def table(self, kind: str) -> Records:
        """All rows of a kind."""
        found = [row for _, own, row in self.rows if own == kind]
        return np.concatenate(found) if found else np.zeros(0)
