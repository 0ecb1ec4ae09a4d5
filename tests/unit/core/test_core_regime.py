"""Regimes: each condition at, just below and just above its limit; first match wins; history first."""

from __future__ import annotations

import math

import pytest

from qtsim.core.enums import LeaderRegime, Regime
from qtsim.core.regime import classify_leader_nb, classify_symbol_nb

CALM = {
    "close": 100.0,
    "channel_high": 105.0,
    "channel_low": 95.0,
    "atr": 1.0,
    "atr_mean": 1.0,
    "atr_ratio": 1.0,
    "volume": 10.0,
    "volume_mean": 10.0,
    "adx": 22.0,
    "ema_20": 100.0,
    "ema_50": 101.0,
    "ema_200": 100.0,
    "slope_20": 0.1,
    "slope_50": 0.1,
    "slope_200": 0.1,
}
"""Nothing in particular: CHOPPY."""
UP = {"ema_20": 103.0, "ema_50": 102.0, "ema_200": 101.0, "adx": 25.1}
DOWN = {"ema_20": 99.0, "ema_50": 100.0, "ema_200": 101.0, "adx": 25.1}
FALLING = {"slope_20": -0.1, "slope_50": -0.1, "slope_200": -0.1}
BREAKING = {"close": 105.1, "atr": 1.51, "volume": 15.1}

# (id, changes, regime)
TABLE: list[tuple[str, dict[str, float], Regime]] = [
    ("nothing_in_particular", {}, Regime.CHOPPY),
    ("breakout_up", BREAKING, Regime.BREAKOUT),
    ("breakout_down", {**BREAKING, "close": 94.9}, Regime.BREAKOUT),
    ("close_on_the_channel", {**BREAKING, "close": 105.0}, Regime.CHOPPY),
    ("breakout_with_atr_at_its_limit", {**BREAKING, "atr": 1.5}, Regime.CHOPPY),
    ("breakout_with_volume_at_its_limit", {**BREAKING, "volume": 15.0}, Regime.CHOPPY),
    ("breakout_before_trend", {**BREAKING, **UP}, Regime.BREAKOUT),
    ("trend_up", UP, Regime.TRENDING),
    ("trend_down", {**DOWN, **FALLING}, Regime.TRENDING),
    ("adx_at_its_limit", {**UP, "adx": 25.0}, Regime.CHOPPY),
    ("averages_out_of_order", {**UP, "ema_200": 102.5}, Regime.CHOPPY),
    ("one_slope_against_it", {**UP, "slope_200": -0.1}, Regime.CHOPPY),
    ("a_slope_of_zero", {**UP, "slope_50": 0.0}, Regime.CHOPPY),
    ("falling_slopes_under_rising_averages", {**UP, **FALLING}, Regime.CHOPPY),
    ("ranging", {"adx": 19.9, "atr_ratio": 0.99}, Regime.RANGING),
    ("ranging_adx_at_its_limit", {"adx": 20.0, "atr_ratio": 0.99}, Regime.CHOPPY),
    ("ranging_ratio_at_its_limit", {"adx": 19.9, "atr_ratio": 1.0}, Regime.CHOPPY),
    *((f"no_{name}", {name: math.nan}, Regime.UNKNOWN) for name in CALM),
]


@pytest.mark.parametrize(("changes", "regime"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_symbol_regime(changes: dict[str, float], regime: Regime) -> None:
    assert classify_symbol_nb(*{**CALM, **changes}.values()) == regime


@pytest.mark.parametrize(
    ("close", "regime"),
    [
        (110.1, LeaderRegime.UPTREND),
        (109.9, LeaderRegime.SIDEWAYS),
        (100.0, LeaderRegime.SIDEWAYS),
        (90.1, LeaderRegime.SIDEWAYS),
        (89.9, LeaderRegime.DOWNTREND),
        (math.nan, LeaderRegime.UNKNOWN),
    ],
)
def test_global_regime(close: float, regime: LeaderRegime) -> None:
    assert classify_leader_nb(close, 100.0, 0.10) == regime
    assert classify_leader_nb(close, math.nan, 0.10) == LeaderRegime.UNKNOWN


def test_at_its_band_the_global_regime_acts() -> None:
    """A limit stated in words: 64 against 32 is exactly +100 %."""
    assert classify_leader_nb(64.0, 32.0, 1.0) == LeaderRegime.UPTREND
    assert classify_leader_nb(16.0, 32.0, 0.5) == LeaderRegime.DOWNTREND
