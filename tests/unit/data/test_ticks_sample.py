"""The generated tick day tells what the sample's bars tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.data.detail import contradictions
from qtsim.data.sample import SAMPLE_SOURCE
from qtsim.data.store import SYNTHETIC_VENUE, Store
from qtsim.data.ticks import TickStore
from qtsim.data.ticks.sample import SAMPLE_TICKS_DAY, generate_ticks, sample_ticks
from qtsim.data.timeframes import HOUR, MINUTE
from tests.unit.data.made_bars import made_bars


def made_day() -> pd.DataFrame:
    """A day of minutes with ticks of 0.1 and lots of 0.001, as the sample has them."""
    bars = made_bars(1440, "1m", start=SAMPLE_TICKS_DAY)
    prices = bars[["open", "high", "low", "close"]].round(1)
    prices["high"] = prices.max(axis=1)
    prices["low"] = prices.min(axis=1)
    return prices.assign(volume=bars["volume"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path, SYNTHETIC_VENUE)
    store.write_bars("BTCUSDT", "1m", made_day(), source=SAMPLE_SOURCE)
    return store


def test_trades_make_the_bars_of_the_sample(store: Store) -> None:
    made = sample_ticks(store)
    assert made == ("BTCUSDT", "2025-12-31", 28_800, 28_800)
    ticks = TickStore.beside(store)
    pd.testing.assert_frame_equal(ticks.bars("BTCUSDT", "1m"), store.read_bars("BTCUSDT", "1m"), rtol=1e-12)
    assert contradictions(store.read_bars("BTCUSDT", "1h"), ticks.bars("BTCUSDT", "1m")).is_empty
    assert contradictions(ticks.bars("BTCUSDT", "1h"), ticks.bars("BTCUSDT", "1m"), coarse_ns=HOUR, detail_ns=MINUTE)
    assert ticks.entry("BTCUSDT", SAMPLE_TICKS_DAY).sources[0].startswith("SYNTHETIC")


def test_every_trade_happens_at_the_quote_before_it(store: Store) -> None:
    sample_ticks(store)
    trades, quotes = TickStore.beside(store).read_day("BTCUSDT", SAMPLE_TICKS_DAY)
    np.testing.assert_array_equal(trades.price, np.where(trades.is_buyer_maker, quotes.bid, quotes.ask))
    assert (quotes.time <= trades.time).all()


def test_it_is_made_once_and_the_same_every_time(store: Store) -> None:
    sample_ticks(store)
    path = TickStore.beside(store).entry("BTCUSDT", SAMPLE_TICKS_DAY).path
    before = path.stat().st_mtime_ns
    sample_ticks(store)
    assert path.stat().st_mtime_ns == before
    for one, other in zip(generate_ticks(made_day()), generate_ticks(made_day()), strict=True):
        pd.testing.assert_frame_equal(one, other)
