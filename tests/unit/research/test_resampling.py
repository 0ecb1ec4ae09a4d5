"""The stationary bootstrap: blocks of the right length, sums that add up, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest

import qtsim as qt
from qtsim.errors import UsageError
from qtsim.research.resampling import resample_run, stationary_places


def test_places_run_on_inside_blocks_and_wrap_around() -> None:
    places = stationary_places(50, 8.0, 400, np.random.default_rng(1))
    assert places.shape == (400, 50)
    assert places.min() >= 0
    assert places.max() < 50
    runs_on = (places[:, 1:] - places[:, :-1]) % 50 == 1
    assert runs_on.mean() == pytest.approx(1.0 - 1.0 / 8.0 + 1.0 / 8.0 / 50.0, abs=0.01)


def test_blocks_of_one_are_independent_draws() -> None:
    places = stationary_places(40, 1.0, 500, np.random.default_rng(2))
    assert np.bincount(places.ravel(), minlength=40).std() < 60.0
    assert ((places[:, 1:] - places[:, :-1]) % 40 == 1).mean() == pytest.approx(1.0 / 40.0, abs=0.01)


def test_a_run_is_resampled_by_days_and_by_trades() -> None:
    bars = qt.load_bars("BTCUSDT", "1h", "2024-01-01", "2024-04-01", sample=True)
    result = qt.backtest("sma_cross", {"BTCUSDT": bars}, funding="off", fast=True, check=False)
    days, trades = resample_run(result, draws=500, seed=3)
    assert (days.what, trades.what) == ("days", "trades")
    assert trades.observations == len(result.trades)
    for one in (days, trades):
        low, middle, high = one.total_return
        assert low < middle < high
        assert max(one.max_drawdown) <= 0.0
        assert 0.0 <= one.share_lost <= 1.0
    assert days.total_return[0] < result.metrics["Total Return"] < days.total_return[2]
    assert resample_run(result, draws=500, seed=3) == [days, trades]
    assert "500 sequences of" in days.text
    with pytest.raises(UsageError, match="100 sequences"):
        resample_run(result, draws=5)
    with pytest.raises(UsageError, match="--block 0"):
        resample_run(result, block=0)
