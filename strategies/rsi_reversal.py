"""Buy what fell too far and turns, sell what rose too far and turns."""

import numpy as np
import talib

import qtsim as qt


class RsiReversal(qt.Strategy):
    """Enter when RSI returns from its extreme, unless the market runs away in one direction.

    The entry waits for the turn: RSI must come back through the level, not merely be beyond it. A strong trend
    (ADX above `adx_max`) keeps RSI extreme for long, and fading it is how mean reversion goes broke; such signals are
    passed over. Positions end when RSI reaches the middle. Confidence grows with the depth of the extreme.
    """

    period: int = qt.param(14, low=2, high=50, help="bars of the RSI")
    oversold: float = qt.param(30.0, low=5, high=45, help="long when RSI crosses above it")
    overbought: float = qt.param(70.0, low=55, high=95, help="short when RSI crosses below it")
    middle: float = qt.param(50.0, low=40, high=60, help="either side ends where RSI reaches it")
    adx_max: float = qt.param(35.0, low=10, high=100, help="no entry where ADX(14) is above")
    memory: int = qt.param(6, low=2, high=24, help="bars in which the extreme is looked for")

    def signals(self, bars: qt.Bars) -> qt.Signals:
        rsi = talib.RSI(bars.close, self.period)
        calm = talib.ADX(bars.high, bars.low, bars.close, 14) <= self.adx_max
        # How far RSI went beyond its level, as a share of what was left: 0 to 1.
        deep = (self.oversold - talib.MIN(rsi, self.memory)) / self.oversold
        tall = (talib.MAX(rsi, self.memory) - self.overbought) / (100 - self.overbought)
        depth = np.clip(np.nan_to_num(np.fmax(deep, tall)), 0, 1)
        return qt.Signals(
            long=qt.crossed_above(rsi, self.oversold) & calm,
            short=qt.crossed_below(rsi, self.overbought) & calm,
            exit_long=rsi >= self.middle,
            exit_short=rsi <= self.middle,
            confidence=0.5 + 0.4 * depth,
            tag="rsi_reversal",
        )
