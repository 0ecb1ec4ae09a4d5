"""What kind of market it is, for all symbols and for one, and what follows for the size of an entry."""

from __future__ import annotations

from typing import Any, TypeAlias

from qtsim.core._jit import kernel
from qtsim.core.enums import LeaderRegime, Regime, Side
from qtsim.core.records import Record

Floats: TypeAlias = Any
Ints: TypeAlias = Any

TREND_ADX = 25.0
RANGE_ADX = 20.0
BREAKOUT_ATR = 1.5
"""ATR over its 20-day mean."""
BREAKOUT_VOLUME = 1.5
"""Volume over the mean of the previous 20 bars."""
CALM_ATR_RATIO = 1.0


@kernel
def classify_leader_nb(close: float, ema: float, band: float) -> int:
    """Global regime from a daily close of the leader against its EMA: beyond +band UPTREND, -band DOWNTREND."""
    if not (close > 0.0 and ema > 0.0):
        return LeaderRegime.UNKNOWN.value
    distance = close / ema - 1.0
    if distance >= band:
        return LeaderRegime.UPTREND.value
    if distance <= -band:
        return LeaderRegime.DOWNTREND.value
    return LeaderRegime.SIDEWAYS.value


@kernel
def is_ordered_trend_nb(fast: float, middle: float, slow: float, d_fast: float, d_middle: float, d_slow: float) -> bool:
    """Do three averages stand in order with all slopes in the same direction?"""
    rising = fast > middle and middle > slow and d_fast > 0.0 and d_middle > 0.0 and d_slow > 0.0
    falling = fast < middle and middle < slow and d_fast < 0.0 and d_middle < 0.0 and d_slow < 0.0
    return rising or falling


@kernel
def classify_symbol_nb(
    close: float,
    channel_high: float,
    channel_low: float,
    atr: float,
    atr_mean: float,
    atr_ratio: float,
    volume: float,
    volume_mean: float,
    adx: float,
    ema_20: float,
    ema_50: float,
    ema_200: float,
    slope_20: float,
    slope_50: float,
    slope_200: float,
) -> int:
    """Regime of a symbol at one close, first match wins: BREAKOUT, TRENDING, RANGING, else CHOPPY.

    channel: extremes of the previous 20 bars; atr_mean: over 20 days; volume_mean: of the previous 20 bars; slopes:
    differences over 5 bars. Anything missing (NaN): UNKNOWN.
    """
    known = close + channel_high + channel_low + atr + atr_mean + atr_ratio + volume + volume_mean + adx
    known += ema_20 + ema_50 + ema_200 + slope_20 + slope_50 + slope_200
    if known != known:
        return Regime.UNKNOWN.value
    leaves_channel = close > channel_high or close < channel_low
    if leaves_channel and atr > BREAKOUT_ATR * atr_mean and volume > BREAKOUT_VOLUME * volume_mean:
        return Regime.BREAKOUT.value
    if adx > TREND_ADX and is_ordered_trend_nb(ema_20, ema_50, ema_200, slope_20, slope_50, slope_200):
        return Regime.TRENDING.value
    if adx < RANGE_ADX and atr_ratio < CALM_ATR_RATIO:
        return Regime.RANGING.value
    return Regime.CHOPPY.value


@kernel
def classify_leader_closes_nb(close: Floats, ema: Floats, band: float, out: Ints) -> None:
    """Global regime at each daily close. Arrays of shape (n,)."""
    for k in range(len(out)):
        out[k] = classify_leader_nb(close[k], ema[k], band)


@kernel
def classify_symbol_closes_nb(inputs: Floats, out: Ints) -> None:
    """Regime at each close. inputs: float64 (n, 15), the arguments of `classify_symbol_nb` in their order."""
    for k in range(len(out)):
        out[k] = classify_symbol_nb(
            inputs[k, 0],
            inputs[k, 1],
            inputs[k, 2],
            inputs[k, 3],
            inputs[k, 4],
            inputs[k, 5],
            inputs[k, 6],
            inputs[k, 7],
            inputs[k, 8],
            inputs[k, 9],
            inputs[k, 10],
            inputs[k, 11],
            inputs[k, 12],
            inputs[k, 13],
            inputs[k, 14],
        )


@kernel
def regime_size_nb(regime: int, leader_regime: int, side: int, effects: Record) -> float:
    """Size factor of the symbol's and the global regime."""
    factor = 1.0
    if regime == Regime.CHOPPY:
        factor *= effects["effects_choppy_size"]
    if leader_regime == LeaderRegime.SIDEWAYS:
        factor *= effects["effects_sideways_size"]
    if leader_regime == LeaderRegime.UPTREND and side == Side.LONG:
        factor *= effects["effects_uptrend_size"]
    return factor
