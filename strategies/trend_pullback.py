"""Dips of a trend that a higher timeframe, the leader and the funding rate agree with."""

import numpy as np
import talib

import qtsim as qt


class TrendPullback(qt.Strategy):
    """Buy dips of a 4 h uptrend while BTC agrees and longs are not crowded; mirrored for shorts.

    An example of everything a strategy can read: another timeframe, another symbol, and a column, each as it was known
    at the bar's close. Positions end when the 4 h trend turns.
    """

    fast: int = qt.param(12, low=5, high=50, help="4 h bars of the fast average")
    slow: int = qt.param(48, low=20, high=200, help="4 h bars of the slow average")
    dip: float = qt.param(40.0, low=20, high=50, help="RSI(14) that a dip falls below and recovers above")
    uses = qt.uses(symbols=["BTCUSDT"], columns=["funding_rate"])

    def is_valid(self):
        return self.fast < self.slow

    def crowding(self, bars):
        """What longs pay per funding event; 0 where unknown."""
        return np.nan_to_num(bars.column("funding_rate"))

    def signals(self, bars: qt.Bars) -> qt.Signals:
        rsi = talib.RSI(bars.close, 14)
        trend = bars.on("4h", lambda b: talib.EMA(b.close, self.fast) - talib.EMA(b.close, self.slow))
        leader = bars.of("BTCUSDT", lambda b: b.close / talib.EMA(b.close, 200) - 1)
        long = (trend > 0) & (leader > 0) & (self.crowding(bars) < 0.0005) & qt.crossed_above(rsi, self.dip)
        short = (trend < 0) & (leader < 0) & qt.crossed_above(100 - rsi, self.dip)
        return qt.Signals(
            long,
            short,
            exit_long=trend < 0,
            exit_short=trend > 0,
            confidence=np.clip(0.5 + 5 * np.nan_to_num(abs(leader)), 0.5, 0.9),
            tag="pullback",
        )
