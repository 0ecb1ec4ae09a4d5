"""Simple moving averages that cross: the textbook example, for comparisons with other tools."""

import talib

import qtsim as qt


class SmaCross(qt.Strategy):
    """Go long when the fast SMA crosses above the slow one, short when below; each cross ends the other side.

    Nothing else: no filter, no confidence. Under the profile `plain` it does what the same ten lines do elsewhere.
    """

    fast: int = qt.param(10, low=2, high=200, help="bars of the fast average")
    slow: int = qt.param(30, low=3, high=500, help="bars of the slow average")

    def is_valid(self):
        return self.fast < self.slow

    def signals(self, bars: qt.Bars) -> qt.Signals:
        fast = talib.SMA(bars.close, self.fast)
        slow = talib.SMA(bars.close, self.slow)
        up = qt.crossed_above(fast, slow)
        down = qt.crossed_below(fast, slow)
        return qt.Signals(up, down, exit_long=down, exit_short=up, tag="sma_cross")
