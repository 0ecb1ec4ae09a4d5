"""Results that other engines published, on their data and ours. Skipped where the recorded data is absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qtsim as qt
from tests.scenarios.candles import play, symbol


@pytest.fixture(scope="module")
def published(shared_data: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((shared_data / "peer_cases_small.json").read_text(encoding="utf-8"))
    return values


def test_isolated_liquidation_prices(published: dict[str, Any]) -> None:
    cases = published["freqtrade_isolated_liquidation"]["cases"]
    assert len(cases) == 8
    for case in cases:
        price = qt.liquidation_price(
            "short" if case["is_short"] else "long",
            case["amount"],
            case["open_rate"],
            case["open_rate"] * case["amount"] / case["leverage"],
            0.01,
            0.01,
        )
        assert price == pytest.approx(case["expected_liq"], abs=1e-9)


def test_profit_table(published: dict[str, Any]) -> None:
    """36 rows: amount 30 at 2.0, fees at both ends, funding as an amount; each a trade through both drivers.

    Where the closing fee differs from the opening one, its difference is added to the engine's single taker rate.
    """
    table = published["freqtrade_calc_profit"]["cases"]
    assert len(table) == 36
    for row in table:
        side, close = ("short" if row["is_short"] else "long"), row["close_rate"]
        rows = [(2.0,) * 4, (2.0,) * 4, (close,) * 4]
        settings: dict[str, Any] = {
            "exit__policy": "bracket",
            "exit__bracket__tp": "inf",
            "exit__bracket__sl": "inf",
            "sizing__fixed_qty": 30.0,
            "costs__fees__taker": 0.0025,
            "leverage__fixed": float(row["lev"]),
        }
        funding = (
            [(1.5, (-1 if side == "long" else 1) * row["funding_fees"] / (30 * 2.0))] if row["funding_fees"] else []
        )
        request: dict[str, Any] = {side: [0]}
        story = play(symbol(rows, funding=funding, **request), **settings)
        trade = story.journals.trades[0]
        extra_fee = (row["fee_close"] - 0.0025) * close * 30
        assert float(trade["pnl"]) - extra_fee == pytest.approx(row["profit"], abs=2e-6)


def test_sma_cross_on_goog(shared_data: Path) -> None:
    """66 trades and 51,422.99 from 10,000: whole units, full balance, no costs, next opens, last close at an open.

    The bars are daily of a market with weekends; qtsim's never close, so a signal would expire over a weekend. The
    bars are relabelled onto consecutive days.
    """
    frame = pd.read_csv(shared_data / "backtesting_py" / "GOOG.csv", index_col=0, parse_dates=True)
    frame.index = pd.date_range("2004-01-01", periods=len(frame), freq="D", tz="UTC")
    result = qt.backtest(
        "sma_cross",
        {"GOOG": frame},
        timeframe="1d",
        profile="plain",
        funding="off",
        settings={
            "exit.on_opposite_signal": "reverse",
            "sizing.model": "fraction",
            "sizing.fraction": 1.0,
            "exit.bracket.tp": "inf",
            "exit.bracket.sl": "inf",
            "costs.fees.taker": 0.0,
            "costs.fees.maker": 0.0,
            "sim.end_of_data": "last_open",
        },
        instruments={"GOOG": {"lot": 1, "tick": 0}},
        verify=True,
    )
    assert len(result.trades) == 66
    assert result.totals.equity == pytest.approx(51_422.98999999996, rel=1e-9)
    assert 100 * result.metrics["Win Rate"] == pytest.approx(46.96969696969697)
    assert 100 * result.metrics["Max Drawdown"] == pytest.approx(-47.98012705007589)
    assert 100 * result.metrics["Best Trade"] == pytest.approx(53.59595229490424)
    assert 100 * result.metrics["Worst Trade"] == pytest.approx(-18.39887353835481)


def test_account_balance_after_a_round_trip(published: dict[str, Any]) -> None:
    """A taker's round trip of ten units: balances after opening and after closing."""
    case = published["nautilus_issue_2632"]
    (buy, sell) = case["fills"]
    rows = [(buy["price"],) * 4, (buy["price"],) * 4, (sell["price"],) * 4]
    story = play(
        symbol(rows, long=[0]),
        balance=float(case["start_usdt"]),
        exit__policy="bracket",
        exit__bracket__tp="inf",
        exit__bracket__sl="inf",
        sizing__fixed_qty=10.0,
        costs__fees__taker=case["taker_fee"],
        leverage__fixed=10.0,
    )
    assert float(story.journals.fills[0]["wallet"]) == pytest.approx(case["balance_after_open"], abs=1e-6)
    assert float(story.journals.fills[-1]["wallet"]) == pytest.approx(case["balance_final"], abs=1e-6)


@pytest.mark.vectorbt
@pytest.mark.parametrize("name", ["BTCUSDT", "ETHUSDT", "XRPUSDT"])
def test_plain_brackets_equal_vectorbt(shared_data: Path, name: str) -> None:
    """Target, stop and next-open fills, fill by fill, where both engines can express the trade.

    vectorbt takes one order per bar and column and looks at a bar's whole range from its open on; compared are runs
    whose entries stand on the bar's open and whose exits follow on a later bar, the stop counting first.
    """
    vbt = pytest.importorskip("vectorbt")
    import numpy as np
    import talib

    frame = pd.read_parquet(shared_data / "ohlcv_1h" / f"{name}.parquet").set_index("timestamp")["2023":"2024"]
    close = frame["close"].to_numpy(dtype=float)
    gap = talib.EMA(close, 12) - talib.EMA(close, 26)
    entries = np.zeros(len(frame), dtype=bool)
    entries[1:] = (gap[1:] > 0) & (gap[:-1] <= 0)
    table = pd.DataFrame({"long": entries}, index=frame.index)
    settings = {
        "exit.bracket.tp": 0.03,
        "exit.bracket.sl": 0.015,
        "sizing.model": "fixed_qty",
        "sizing.fixed_qty": 1.0,
        "costs.fees.taker": 0.0,
        "costs.fees.maker": 0.0,
        "sim.path": "adverse",
        "account.balance": 1e9,
    }
    ours = qt.backtest(
        table, {name: frame}, timeframe="1h", profile="plain", funding="off", mark="off", settings=settings, check=False
    ).fills
    ours = ours[ours["reason"] != "end_of_data"]  # vectorbt leaves the last position open
    delayed = np.roll(entries, 1)
    delayed[0] = False
    portfolio = vbt.Portfolio.from_signals(
        frame["close"],
        entries=pd.Series(delayed, frame.index),
        price=frame["open"],
        open=frame["open"],
        high=frame["high"],
        low=frame["low"],
        tp_stop=0.03,
        sl_stop=0.015,
        stop_entry_price="fillprice",
        size=1.0,
        init_cash=1e9,
        accumulate=False,
    )
    theirs = portfolio.orders.records
    opens = {ts: k for k, ts in enumerate(frame.index.as_unit("ns").asi8)}
    bar_of = (ours["time"].astype("datetime64[ns, UTC]").astype("int64") // 3_600_000_000_000) * 3_600_000_000_000
    mine = [(opens[int(ts)], round(float(price), 6)) for ts, price in zip(bar_of, ours["price"], strict=True)]
    other = [(int(row), round(float(price), 6)) for row, price in zip(theirs["idx"], theirs["price"], strict=True)]
    assert _compare_trades(list(zip(mine[::2], mine[1::2], strict=False)), _trades_of(other)) > 20


Order = tuple[int, float]
"""Bar and price of a fill."""


def _trades_of(orders: list[Order]) -> dict[int, tuple[Order, Order]]:
    """Closed trades by the bar of their entry."""
    return {entry[0]: (entry, leave) for entry, leave in zip(orders[::2], orders[1::2], strict=False)}


def _compare_trades(ours: list[tuple[Order, Order]], theirs: dict[int, tuple[Order, Order]]) -> int:
    """How many trades both engines made; each must be equal in entry and exit, bar and price.

    A trade that ends on the bar of its entry is not expressible in vectorbt, which holds it longer. What we enter and
    they do not must fall into such a longer trade of theirs.
    """
    equal = 0
    for entry, leave in ours:
        if entry[0] not in theirs:
            assert any(first[0] < entry[0] <= last[0] for first, last in theirs.values()), f"they miss {entry}"
        elif entry[0] == leave[0]:
            assert theirs[entry[0]][0] == entry
        else:
            assert theirs[entry[0]] == (entry, leave)
            equal += 1
    return equal
