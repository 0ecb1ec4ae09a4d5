"""Quiet markets get loud: trade the first bar after Bollinger bands leave the Keltner channel."""

import numpy as np
import talib

import qtsim as qt


class Squeeze(qt.Strategy):
    """Wait until the Bollinger bands lie inside the Keltner channel; enter in the direction of momentum on release.

    Bollinger bands measure volatility by the deviation of closes, Keltner's by the true range. Where the former are
    the narrower, closes go nowhere within wide bars: a squeeze. Its end is the entry, in the direction in which the
    price stands from its middle; momentum that turns ends the trade. Confidence grows with the length of the squeeze.
    """

    period: int = qt.param(20, low=10, high=100, help="bars of both channels")
    deviations: float = qt.param(2.0, low=1, high=4, help="half width of the Bollinger bands, standard deviations")
    ranges: float = qt.param(1.5, low=0.5, high=4, help="half width of the Keltner channel, ATRs")
    least: int = qt.param(6, low=1, high=100, help="bars that a squeeze must have lasted")

    def signals(self, bars: qt.Bars) -> qt.Signals:
        upper, middle, lower = talib.BBANDS(bars.close, self.period, self.deviations, self.deviations)
        atr = talib.ATR(bars.high, bars.low, bars.close, self.period)
        narrow = (upper - lower) < 2 * self.ranges * atr
        lasted = run_length(narrow)
        before = np.concatenate(([0], lasted[:-1]))
        released = ~narrow & (before >= self.least)
        # Distance from the middle of the range and of the average, smoothed by a regression.
        centre = (talib.MAX(bars.high, self.period) + talib.MIN(bars.low, self.period)) / 2
        momentum = talib.LINEARREG(bars.close - (centre + middle) / 2, self.period)
        return qt.Signals(
            long=released & (momentum > 0),
            short=released & (momentum < 0),
            exit_long=qt.crossed_below(momentum, 0.0),
            exit_short=qt.crossed_above(momentum, 0.0),
            confidence=np.clip(0.5 + 0.01 * before, 0.5, 0.9),
            tag="squeeze",
        )


def run_length(flags):
    """Number of bars for which `flags` has been true without a break, this one included; 0 where it is false."""
    count = np.arange(1, len(flags) + 1)
    broken = np.maximum.accumulate(np.where(flags, 0, count))
    return count - broken
