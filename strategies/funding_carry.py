"""Get paid for holding what the crowd does not want."""

import numpy as np
import talib

import qtsim as qt


class FundingCarry(qt.Strategy):
    """Stand against a crowded side once the price has turned: shorts where longs pay much, longs where shorts pay.

    Funding is paid every few hours by the crowded side to the other. The mean of the last payments says which side is
    crowded; it is compared with its own usual size, because what is much differs from year to year. A crowd can stay
    for weeks, so the entry waits for the price to cross its average against it. The trade ends when the payments are
    ordinary again. Confidence grows with the size of the payments.
    """

    window: int = qt.param(24, low=8, high=168, help="bars over which payments are averaged")
    usual: int = qt.param(720, low=100, high=5000, help="bars that say what is usual")
    extreme: float = qt.param(1.5, low=0.5, high=5, help="standard deviations from usual that make a crowd")
    trend: int = qt.param(48, low=10, high=400, help="bars of the EMA that the price must cross")
    uses = qt.uses(columns=["funding_rate"])

    def is_valid(self):
        return self.window < self.usual

    def signals(self, bars: qt.Bars) -> qt.Signals:
        funding = np.nan_to_num(bars.column("funding_rate"))
        paid = talib.SMA(funding, self.window)
        spread = talib.STDDEV(funding, self.usual)
        crowd = (paid - talib.SMA(funding, self.usual)) / np.where(spread > 0, spread, np.nan)
        average = talib.EMA(bars.close, self.trend)
        return qt.Signals(
            # The side taken must be the one that is paid, not merely the one that pays less than usual.
            long=(crowd < -self.extreme) & (paid < 0) & qt.crossed_above(bars.close, average),
            short=(crowd > self.extreme) & (paid > 0) & qt.crossed_below(bars.close, average),
            exit_long=crowd > 0,
            exit_short=crowd < 0,
            confidence=np.clip(0.4 + 0.1 * np.nan_to_num(np.abs(crowd)), 0.4, 0.9),
            tag="carry",
        )
