"""Every shipped strategy on the generated sample market: it trades, it is causal, and its extremes run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.data.sample import sample_store
from qtsim.signals.causality import check_strategy, quick_check
from qtsim.signals.compute import SignalSet, compute_signals
from qtsim.signals.loading import list_strategies, load_strategy, shipped_folder

NAMES = (
    "donchian_breakout",
    "ema_cross",
    "funding_carry",
    "rsi_reversal",
    "sma_cross",
    "squeeze",
    "trend_pullback",
)
SYMBOLS = ("BTCUSDT", "ETHUSDT")
YEAR = 8760


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One year of two symbols of the sample: arguments of `compute_signals`."""
    store = sample_store(tmp_path_factory.mktemp("sample"))
    frames = {symbol: store.read_bars(symbol, "1h").iloc[:YEAR] for symbol in SYMBOLS}
    return {"frames": frames, "timeframe": "1h", "funding_frames": {s: store.read_funding(s) for s in SYMBOLS}}


def requests(answer: SignalSet, name: str) -> int:
    return int(np.count_nonzero(answer.rows[name]))


def test_these_are_shipped() -> None:
    assert tuple(entry.name for entry in list_strategies() if entry.origin == "shipped") == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_for_both_sides_now_and_then(name: str, market: dict[str, Any]) -> None:
    out = compute_signals(load_strategy(name), leader="BTCUSDT", **market)
    for side in ("long", "short"):
        asked = sum(requests(answer, side) for answer in out.values())
        assert 3 <= asked <= len(SYMBOLS) * YEAR // 20, side
    for answer in out.values():
        assert answer.both_sides == 0
        asks = (answer.rows["long"] | answer.rows["short"]) != 0
        confidence = answer.rows["confidence"][asks]
        assert np.isnan(confidence).all() or np.all((confidence > 0.2) & (confidence <= 1.0))
        assert (answer.rows["tag"][asks] >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_look_ahead(name: str, market: dict[str, Any]) -> None:
    assert quick_check(load_strategy(name), **market).text == "none at 5 cuts"


@pytest.mark.parametrize("name", NAMES)
def test_a_live_window_repeats_it(name: str, market: dict[str, Any]) -> None:
    report = check_strategy(load_strategy(name), points=40, **market)
    assert report.warmup is not None
    assert report.warmup <= 3000
    assert report.points_at_edges >= 10


@pytest.mark.parametrize("name", NAMES)
def test_the_bounds_of_its_parameters_run(name: str, market: dict[str, Any]) -> None:
    strategy = load_strategy(name)
    short = {**market, "frames": {symbol: frame.iloc[:1500] for symbol, frame in market["frames"].items()}}
    for spec in strategy.parameter_specs():
        assert spec.help
        for bound in (spec.low, spec.high):
            assert bound is not None
            changed = type(strategy)(**{**strategy.params(), spec.name: bound})
            if changed.is_valid():
                compute_signals(changed, **short)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_page_of_documented_source(name: str) -> None:
    text = (shipped_folder() / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 80
    assert "import qtsim as qt" in text
    assert ast.get_docstring(ast.parse(text))
    assert load_strategy(name).summary().endswith(".")


def test_short_histories_ask_for_nothing(market: dict[str, Any]) -> None:
    few = {**market, "frames": {symbol: frame.iloc[:3] for symbol, frame in market["frames"].items()}}
    for name in NAMES:
        for answer in compute_signals(load_strategy(name), **few).values():
            assert not answer.rows["long"].any()
            assert not answer.rows["short"].any()


def test_the_textbook_cross_trades_goog_as_published(shared_data: Path) -> None:
    """66 trades and 51,422.99 from 10,000: whole units, full balance, no costs, next open, closed at the last open."""
    goog = pd.read_csv(shared_data / "backtesting_py" / "GOOG.csv")
    rows = compute_signals(load_strategy("sma_cross"), {"GOOG": goog}, "1d")["GOOG"].rows
    opens = goog["Open"].to_numpy()
    cash, units, entry, trades = 10_000.0, 0, 0.0, 0
    for row in np.flatnonzero((rows["long"] | rows["short"])[:-1]):
        price = opens[row + 1]
        cash, trades = cash + units * (price - entry), trades + (units != 0)
        units, entry = int(cash // price) * (1 if rows["long"][row] else -1), price
    cash, trades = cash + units * (opens[-1] - entry), trades + (units != 0)
    assert (trades, round(cash, 2)) == (66, 51_422.99)


@pytest.mark.parametrize("name", NAMES)
def test_on_recorded_data(name: str, shared_data: Path) -> None:
    frames = {"BTCUSDT": pd.read_parquet(shared_data / "ohlcv_1h" / "BTCUSDT.parquet")}
    funding = {"BTCUSDT": pd.read_parquet(shared_data / "funding" / "BTCUSDT.parquet")}
    out = compute_signals(load_strategy(name), frames, "1h", funding_frames=funding)["BTCUSDT"]
    years = len(out.rows) / YEAR
    for side in ("long", "short"):
        assert 5 < requests(out, side) / years < 400, side
    assert quick_check(load_strategy(name), frames, "1h", signals={"BTCUSDT": out}, funding_frames=funding).cuts == 5
