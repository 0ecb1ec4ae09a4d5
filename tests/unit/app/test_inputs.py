"""What a run reads when history is missing, and the order in which symbols are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.errors import DataError, UsageError


def frame(seed: int, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    start = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="time")
    high, low = np.maximum(start, close) * 1.004, np.minimum(start, close) * 0.996
    return pd.DataFrame({"open": start, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


SMALL = {"strategy.adx_min": 0.0}


def test_missing_funding_history_is_charged_at_the_default_rate_with_a_warning() -> None:
    result = qt.backtest("ema_cross", {"BTCUSDT": frame(1)}, settings=SMALL, fast=True)
    assert result.info.funding == "default"
    assert any("no funding history" in text for text in result.warnings)
    assert len(result.funding)
    off = qt.backtest("ema_cross", {"BTCUSDT": frame(1)}, settings=SMALL, funding="off", fast=True)
    assert len(off.funding) == 0


def test_without_mark_bars_the_last_price_stands_in() -> None:
    result = qt.backtest("ema_cross", {"BTCUSDT": frame(1)}, settings=SMALL, fast=True)
    assert result.info.mark == "off"
    assert "last price stands in" in str(result.summary())
    with pytest.raises(DataError, match="mark_price = required"):
        qt.backtest("ema_cross", {"BTCUSDT": frame(1)}, settings=SMALL, mark="required")


def test_the_order_of_symbols_changes_nothing() -> None:
    frames = {"BTCUSDT": frame(1), "ETHUSDT": frame(2), "SOLUSDT": frame(3)}
    forward = qt.backtest("ema_cross", frames, settings=SMALL, fast=True)
    backward = qt.backtest("ema_cross", dict(reversed(frames.items())), settings=SMALL, fast=True)
    assert len(forward.trades) > 10
    assert forward.digest == backward.digest


def test_the_same_run_gives_the_same_bytes(tmp_path: object) -> None:
    first = qt.backtest("ema_cross", {"BTCUSDT": frame(1)}, settings=SMALL)
    second = qt.backtest("ema_cross", {"BTCUSDT": frame(1)}, settings=SMALL)
    assert first.digest == second.digest
    assert first.metrics == pytest.approx(second.metrics, nan_ok=True, rel=0, abs=0)


def test_buy_and_hold_is_the_price_alone() -> None:
    bars = frame(1)
    result = qt.backtest("ema_cross", {"BTCUSDT": bars}, settings=SMALL, fast=True)
    expected = bars["close"].iloc[-1] / bars["open"].iloc[0] - 1
    assert result.metrics["Buy and Hold"] == pytest.approx(expected, rel=1e-9)


def test_one_frame_needs_one_symbol() -> None:
    with pytest.raises(UsageError, match="one frame is one symbol"):
        qt.backtest("ema_cross", frame(1), symbols=["BTCUSDT", "ETHUSDT"])
