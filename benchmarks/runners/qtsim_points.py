"""qtsim: live price points of open positions, in Python. Arguments: number of symbols, points, what is measured.

`trader`: what live trading does with a point (the trader, its simulated exchange, the session, the governor);
`session`: the session alone; `call`: the one compiled call that decides about a position.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from serving import serve

from qtsim.app.paper import PaperVenue
from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.params import params_dt
from qtsim.core.records import close_dt, instrument_dt, span_dt
from qtsim.data.instruments import load_instruments, to_record
from qtsim.live.history import BarHistory, RegimeRules, SignalSource
from qtsim.live.trader import Timing, Trader
from qtsim.signals.loading import load_strategy
from qtsim.signals.regimes import LeaderRules
from qtsim.signals.table import empty_rows
from qtsim.trading.points import judge_slot_nb
from qtsim.trading.session import Session

MINUTE = 60_000_000_000
SECOND = 1_000_000_000
START = 1_704_067_200_000_000_000
STEP = 100_000_000  # between two points
PRICE = 60_000.0
SETTINGS = {
    "exit.monitoring": "points",
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 0.01,
    "account.balance": 1_000_000.0,
    "limits.positions.total": "inf",
    "limits.positions.long": "inf",
    "limits.sector_share": "inf",
}


def trader_of(symbols: list[str]) -> Trader:
    """A trader with an open position in every symbol."""
    settings = resolve(environ={}, overrides={**SETTINGS, "run.symbols": symbols}).settings
    instruments = np.zeros(len(symbols), instrument_dt)
    instruments[:] = to_record(load_instruments()["BTCUSDT"])
    params, spans = to_params(settings, MINUTE), np.zeros(len(symbols), span_dt)
    session = Session(instruments, params, float(settings.account.balance), np.zeros(0, close_dt), spans, 60 * MINUTE)
    venue = PaperVenue(session)
    session.connect(venue)
    strategy = load_strategy("ema_cross", settings.strategy, [])
    rules = RegimeRules(settings.regime.timeframe, "BTCUSDT", LeaderRules("1d", 200, 0.1))
    source = SignalSource(strategy, "1m", rules, {symbol: BarHistory() for symbol in symbols}, 1)
    trader = Trader(session, venue, source, Timing(MINUTE, 3 * SECOND, 10 * SECOND))
    trader.begin(START)
    signal = empty_rows(1)
    signal["long"], signal["atr"], signal["atr_pct"] = 1, 0.005 * PRICE, 0.005
    signal["atr_ratio"], signal["symbol_risk"] = 1.0, 1.0
    trader.points(START + 1, [(symbol, PRICE, PRICE) for symbol in symbols])
    trader.settle()
    for i in range(len(symbols)):
        session.close_bar(i, signal[0], START + 1)
    session.decide_on_signals({i: (0, signal[0]) for i in range(len(symbols))}, [], [], START + 1)
    return trader


def steps_of(trader: Trader, prices: list[float], what: str) -> Callable[[int], None]:
    """One instant of all symbols."""
    session, symbols = trader.session, trader.symbols

    def tell_trader(k: int) -> None:
        price = prices[k % len(prices)]
        trader.points(START + STEP * (k + 1), [(symbol, price, price) for symbol in symbols])
        trader.settle()

    def tell_session(k: int) -> None:
        ts, price = START + STEP * (k + 1), prices[k % len(prices)]
        for i in range(len(symbols)):
            session.observe(i, ts, price, price)
            session.remember_extremes(i)
            session.run_cycles(i, once=False)
        session.evaluate(ts)

    def call(k: int) -> None:
        for i in range(len(symbols)):
            judge_slot_nb(session.positions, session.points, session.instruments, params, session.decision, i)

    params = np.zeros(1, params_dt)
    params[0] = session.params
    return {"trader": tell_trader, "session": tell_session, "call": call}[what]


def main() -> None:
    """Build, warm up, serve."""
    count, points, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    trader = trader_of([f"S{k:02d}USDT" for k in range(count)])
    rng = np.random.default_rng(7)
    prices = np.round(PRICE + rng.normal(0, 20, 1000), 1).tolist()  # inside stop and first target: nothing happens
    step = steps_of(trader, prices, what)
    told = 0

    def tell(number: int) -> None:
        nonlocal told
        for k in range(told, told + number // count):
            step(k)
        told += number // count

    def run() -> dict[str, Any]:
        tell(points)
        return {"open": int((trader.session.positions["side"] != 0).sum())}

    tell(10 * count)
    serve(run)


if __name__ == "__main__":
    main()
