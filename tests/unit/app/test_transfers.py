"""Deposits and withdrawals as a caller asks for them: read, refused in words, told, repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qtsim as qt
from qtsim.app.injections import read_outages, read_transfers, refused_texts, transfer_rows
from qtsim.errors import UsageError
from qtsim.results.run_folder import load_run
from qtsim.results.tables import time_weighted
from tests.generated import HOUR, START

DAY = 24 * HOUR


def test_transfers_are_sorted_by_time_and_keep_their_order_within_one() -> None:
    rows = transfer_rows([("2024-01-03", 1.0), ("2024-01-02T12:00", -2.0), ("2024-01-03", -3)], START, START + 9 * DAY)
    assert list(rows["amount"]) == [-2.0, 1.0, -3.0]
    assert list((rows["due"] - START) / HOUR) == [36.0, 48.0, 48.0]


@pytest.mark.parametrize(
    ("transfers", "text"),
    [
        ([("2024-02-30", 1.0)], "2024-02-30"),
        ([("soon", 1.0)], "'soon' is not understood"),
        ([("2023-12-31", 1.0)], "lies outside the run, 2024-01-01 00:00 UTC to 2024-01-10"),
        ([("2024-01-11", 1.0)], "lies outside the run"),
        ([("2024-01-02", 0.0)], "amount 0.0 must be a number"),
        ([("2024-01-02", float("nan"))], "amount nan must be a number"),
        ([("2024-01-02", "500")], "amount '500' must be a number"),
        ([("2024-01-02", True)], "amount True must be a number"),
        ([("2024-01-02",)], "give a time and an amount"),
    ],
)
def test_a_wrong_transfer_is_refused(transfers: list[Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        transfer_rows(transfers, START, START + 9 * DAY)


def test_the_command_lines_words() -> None:
    assert read_transfers(["2024-03-01=500", "2024-03-01T12:00=-1_000.5"]) == (
        ("2024-03-01", 500.0),
        ("2024-03-01T12:00", -1000.5),
    )
    assert read_outages(["2024-08-05, 2024-08-06, critical"]) == (("2024-08-05", "2024-08-06", "critical"),)


@pytest.mark.parametrize("text", ["2024-03-01", "=500", "2024-03-01=much"])
def test_a_wrong_word_of_the_command_line(text: str) -> None:
    with pytest.raises(UsageError, match="--transfer"):
        read_transfers([text])


def test_a_wrong_outage_of_the_command_line() -> None:
    with pytest.raises(UsageError, match="2024-08-05,2024-08-06,critical"):
        read_outages(["2024-08-05"])


def test_transfers_that_the_data_ended_before_are_told() -> None:
    made = transfer_rows([("2024-01-02", 1.0), ("2024-01-03", 1.0)], START, START + 9 * DAY)
    made["moved"] = 1.0
    assert refused_texts(made, 2) == []
    assert refused_texts(made[:1], 2) == ["1 of 2 transfers were due after the last price and not made"]


@pytest.fixture(scope="module")
def run() -> qt.Result:
    bars = qt.load_bars("BTCUSDT", "1h", sample=True)
    transfers = [("2024-06-01", 5_000.0), ("2024-09-01", -1e6), ("2024-10-01T00:30", -2_000.0)]
    return qt.backtest("ema_cross", {"BTCUSDT": bars}, transfers=transfers, fast=True, check=False)


def test_a_run_tells_of_its_transfers(run: qt.Result) -> None:
    assert list(run.transfers["moved"]) == [5_000.0, 0.0, -2_000.0]
    assert "wallet 10,000 USDT, +5,000 and -2,000 in 3 transfers (1 refused)" in str(run.summary())
    assert any("withdrawal of 1,000,000.00 at 2024-09-01 00:00 UTC refused" in text for text in run.warnings)


def test_money_adds_up(run: qt.Result) -> None:
    totals = run.totals
    assert totals.transfers == run.metrics["Transfers"] == 3_000.0
    assert totals.equity == pytest.approx(10_000.0 + 3_000.0 + run.metrics["Net Profit"], abs=1e-6)


def test_the_figure_compares_holding_with_equity_free_of_transfers(run: qt.Result) -> None:
    lines = {trace.name: trace for trace in run.plot().data}
    shown = lines["equity without deposits and withdrawals"]
    np.testing.assert_array_equal(np.asarray(shown.y), run.equity["growth"])


def test_returns_are_free_of_transfers() -> None:
    """Moved while nothing is open: sizes are shares of equity, and lots are fine, so every return is as without."""
    bars = {"BTCUSDT": qt.load_bars("BTCUSDT", "1h", sample=True)}
    fine = {"BTCUSDT": {"tick": 0.1, "lot": 1e-8, "min_qty": 1e-8, "min_notional": 5.0}}
    without = qt.backtest("ema_cross", bars, instruments=fine, fast=True, check=False)
    flat = without.equity.index[without.equity["positions"] == 0]
    transfers = [(str(flat[len(flat) // 3])[:16], 5_000.0), (str(flat[len(flat) // 2])[:16], -6_000.0)]
    run = qt.backtest("ema_cross", bars, instruments=fine, transfers=transfers, fast=True, check=False)
    for name in ("Total Return", "Max Drawdown", "Volatility", "Sharpe", "Closed Return"):
        assert run.metrics[name] == pytest.approx(without.metrics[name], rel=1e-5), name
    assert run.metrics["Net Profit"] != pytest.approx(without.metrics["Net Profit"], rel=0.02)
    assert len(run.trades) == len(without.trades)


WEIGHTED = {
    "half is withdrawn": ([100, 110, 55, 66], [0, 0, -55, 0], [100, 110, 110, 132]),
    "before anything": ([150, 165], [50, 0], [100, 110]),
    "all is withdrawn": ([100, 110, 0, 0], [0, 0, -110, 0], [100, 110, 110, 110]),
    "all is withdrawn, and some comes again": ([100, 110, 0, 50, 55], [0, 0, -110, 50, 0], [100, 110, 110, 110, 121]),
    "all is lost, and some comes": ([100, 0, 50, 55], [0, 0, 50, 0], [100, 0, 0, 0]),
    "more than all is lost, and some comes": ([100, -10, 50, 55], [0, 0, 60, 0], [100, -10, -10, -10]),
}


@pytest.mark.parametrize("case", WEIGHTED)
def test_a_balance_without_what_was_moved(case: str) -> None:
    balance, moved, expected = (np.array(row, dtype=np.float64) for row in WEIGHTED[case])
    np.testing.assert_allclose(time_weighted(balance, moved), expected)


def test_a_withdrawal_of_everything_is_no_loss() -> None:
    bars = {"BTCUSDT": qt.load_bars("BTCUSDT", "1h", "2024-01-01", "2024-01-11", sample=True)}
    bars["BTCUSDT"] = bars["BTCUSDT"].iloc[:200]
    when = str(bars["BTCUSDT"].index[100])[:16]
    idle = {"entry.confidence.min": 1.0, "entry.confidence.default": 0.5}
    run = qt.backtest("ema_cross", bars, settings=idle, transfers=[(when, -10_000.0)], fast=True, check=False)
    assert not len(run.fills)
    assert run.totals.equity == 0.0
    names = ("Total Return", "Max Drawdown", "CAGR", "Net Profit")
    assert [run.metrics[name] for name in names] == [0.0, 0.0, 0.0, 0.0]


def test_a_saved_run_keeps_them(run: qt.Result, tmp_path: Path) -> None:
    loaded = load_run(run.save(tmp_path))
    assert loaded.transfers.equals(run.transfers)
    assert loaded.info.transfers == [["2024-06-01", 5_000.0], ["2024-09-01", -1e6], ["2024-10-01T00:30", -2_000.0]]
    page = loaded.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "withdrawal, refused" in page
