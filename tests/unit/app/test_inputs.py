"""What a run reads when history is missing, and the order in which symbols are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.app.inputs import RunInputs, add_instruments, gather_frames, set_detail
from qtsim.config.layers import resolve
from qtsim.config.settings import Settings
from qtsim.data.instruments import load_instruments, write_user_instruments
from qtsim.data.store import Store
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


def test_the_users_own_instrument_table_counts_and_is_kept_with_the_run(tmp_path: Path) -> None:
    shipped = load_instruments()["BTCUSDT"]
    own = replace(shipped, min_notional=123.0, source="exchangeInfo of 2026-01-01")
    unknown = replace(own, symbol="NEWUSDT", bracket_date="", assumed=("brackets",))
    store = Store(tmp_path)
    write_user_instruments(store.folder, store.venue, {"BTCUSDT": own, "NEWUSDT": unknown})
    settings = Settings()
    inputs = gather_frames({"BTCUSDT": frame(1), "NEWUSDT": frame(2)}, settings, timeframe="1h")
    add_instruments(inputs, settings, {}, store, plain=False)
    assert inputs.symbols["BTCUSDT"].instrument == own
    told = [text for text in inputs.warnings if "maintenance brackets are not known" in text]
    assert [text.split(":")[0] for text in told] == ["NEWUSDT"]
    add_instruments(inputs, settings, {"BTCUSDT": {"min_notional": 5}}, store, plain=False)
    changed = inputs.symbols["BTCUSDT"].instrument
    assert changed is not None
    assert changed.min_notional == 5
    add_instruments(inputs, settings, {"NEWUSDT": unknown}, None, plain=False)
    assert inputs.symbols["BTCUSDT"].instrument == shipped


def test_a_finer_timeframe_is_named_that_is_finer() -> None:
    settings = resolve(overrides={"data.detail_timeframe": "1m", "sim.mode": "detail"}).settings
    with pytest.raises(UsageError, match=r"1m bars do not consist of 1m bars; name a shorter .* such as 1s"):
        set_detail(RunInputs("1m", 60_000_000_000, {}), {}, settings)
    with pytest.raises(UsageError, match="1s bars do not consist of 1m bars; leave --detail out"):
        set_detail(RunInputs("1s", 1_000_000_000, {}), {}, settings)
