"""Five minutes of recorded trades and quotes: the run on trades beside the run on one-second bars made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qtsim as qt
from qtsim.data.importer import import_path
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore

SETTINGS = {
    "exit.policy": "bracket",
    "exit.bracket.tp": 0.0003,
    "exit.bracket.sl": 0.0003,
    "exit.monitoring": "points",
    "account.mode.position": "hedge",
    "gates.enabled": False,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 0.01,
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
    "limits.per_trade.margin": "inf",
}
"""Three basis points either way; both sides are entered again as soon as they are flat."""


class BothSides(qt.Strategy):
    """Long on even seconds, short on odd ones; a side that is held ignores it."""

    def signals(self, bars: qt.Bars) -> qt.Signals:
        even = np.arange(len(bars.close)) % 2 == 0
        return qt.Signals(long=even, short=~even)


@pytest.fixture
def ticks(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TickStore:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    store = Store(tmp_path / "data")
    for kind in ("trades", "bookticker"):
        import_path(store, shared_data / "ticks" / f"btcusdt_perp_20240808_{kind}.parquet", symbol="BTCUSDT")
    return TickStore.beside(store)


def test_a_run_on_trades_beside_one_on_their_seconds(ticks: TickStore) -> None:
    seconds = ticks.bars("BTCUSDT", "1s")
    spread = {"sim.mode": "ticks", "costs.slippage.model": "spread"}
    tick_run = qt.backtest(
        BothSides, symbols="BTCUSDT", timeframe="1s", settings={**SETTINGS, **spread}, check=False, verify=True
    )
    bar_run = qt.backtest(
        BothSides,
        {"BTCUSDT": seconds},
        timeframe="1s",
        settings={**SETTINGS, "costs.slippage.bps": 0.0},
        check=False,
        funding="off",
        fast=True,
    )
    assert tick_run.verified
    exits = tick_run.fills[tick_run.fills["kind"] != "entry"]
    assert len(exits) >= 30

    # every fill is at a recorded trade, half a recorded spread away from it
    trades = ticks.read_trades("BTCUSDT")
    quotes = ticks.read_day("BTCUSDT", int(trades.time[0]) // 86_400_000_000_000 * 86_400_000_000_000).quotes
    recorded = set(zip(trades.time.tolist(), trades.price.tolist(), strict=True))
    for fill in tick_run.fills.itertuples():
        at = int(np.searchsorted(quotes.time, fill.time.value, side="right")) - 1
        half = (quotes.ask[at] - quotes.bid[at]) / (quotes.ask[at] + quotes.bid[at])
        buys = (fill.side == "long") == (fill.kind == "entry")
        assert (fill.time.value, round(fill.price / (1.0 + half if buys else 1.0 - half), 1)) in recorded

    # both see the same exits; on bars a stop or target fills at the extreme of its second, so that a stop costs more
    # and a target brings more than on the trades
    kept = ["side", "exit_reason"]
    by_time = [run.trades.sort_values(["entry_time", "side"])[kept].to_numpy().tolist() for run in (tick_run, bar_run)]
    assert by_time[0] == by_time[1]
    for reason, sign in (("stop", -1.0), ("tp1", 1.0)):
        on_trades, on_seconds = (mean_move(run, reason) for run in (tick_run, bar_run))
        assert sign * on_seconds > sign * on_trades, reason


def mean_move(run: qt.Result, reason: str) -> float:
    """Mean move from entry to exit, in the trade's favour, of the trades that ended so."""
    trades = run.trades[run.trades["exit_reason"] == reason]
    side = np.where(trades["side"] == "long", 1.0, -1.0)
    return float((side * (trades["exit_price"] / trades["entry_price"] - 1.0)).mean())
