"""The turtles' rule: a new extreme of many bars starts a trade, the opposite extreme of fewer ends it."""

import numpy as np
import talib

import qtsim as qt


class DonchianBreakout(qt.Strategy):
    """Enter when the close leaves the channel of the last `entry` bars, with the trend of the `trend` average.

    The channel ends at the bar before, so a close can be outside of it. Positions end where the close leaves the
    shorter channel of `leave` bars on the other side. Confidence grows with the volume behind the breakout.
    """

    entry: int = qt.param(48, low=5, high=500, help="bars of the channel whose break is an entry")
    leave: int = qt.param(24, low=2, high=250, help="bars of the channel whose break is an exit")
    trend: int = qt.param(200, low=20, high=1000, help="bars of the EMA that longs must be above and shorts below")

    def is_valid(self):
        return self.leave <= self.entry

    def signals(self, bars: qt.Bars) -> qt.Signals:
        high, low = self.channel(bars, self.entry)
        exit_high, exit_low = self.channel(bars, self.leave)
        average = talib.EMA(bars.close, self.trend)
        volume = bars.volume / talib.SMA(bars.volume, self.entry)
        return qt.Signals(
            long=qt.crossed_above(bars.close, high) & (bars.close > average),
            short=qt.crossed_below(bars.close, low) & (bars.close < average),
            exit_long=bars.close < exit_low,
            exit_short=bars.close > exit_high,
            # Usual volume 0.5, three times as much or more 0.9.
            confidence=np.clip(0.5 + 0.2 * (np.nan_to_num(volume, nan=1.0, posinf=1.0) - 1), 0.4, 0.9),
            tag="breakout",
        )

    def channel(self, bars, n):
        """Highest high and lowest low of the `n` bars before each bar."""
        high, low = talib.MAX(bars.high, n), talib.MIN(bars.low, n)
        return shifted(high), shifted(low)


def shifted(values):
    """The value of the bar before; NaN at the first."""
    before = np.full(len(values), np.nan)
    before[1:] = values[:-1]
    return before
