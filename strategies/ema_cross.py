"""Exponential moving averages that cross while the market trends."""

import talib

import qtsim as qt


class EmaCross(qt.Strategy):
    """Enter when the fast EMA crosses the slow one and ADX says that there is a trend.

    The most common trend-following rule, and the one that suffers most from sideways markets, where the averages
    cross back and forth. ADX measures the strength of a trend whatever its direction; crosses below `adx_min` are
    passed over. `adx_min = 0` takes every cross. Exits are left to the exit engine.
    """

    fast: int = qt.param(12, low=2, high=100, help="bars of the fast average")
    slow: int = qt.param(26, low=5, high=400, help="bars of the slow average")
    adx_min: float = qt.param(20.0, low=0, high=60, help="least ADX(14) at the cross; 0 takes every cross")

    def is_valid(self):
        return self.fast < self.slow

    def signals(self, bars: qt.Bars) -> qt.Signals:
        fast = talib.EMA(bars.close, self.fast)
        slow = talib.EMA(bars.close, self.slow)
        trending = talib.ADX(bars.high, bars.low, bars.close, 14) >= self.adx_min
        return qt.Signals(
            long=qt.crossed_above(fast, slow) & trending,
            short=qt.crossed_below(fast, slow) & trending,
            tag="ema_cross",
        )
