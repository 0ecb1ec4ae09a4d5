"""Frames as interfaces describe them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qtsim.core.enums import Gate, GovernorDecision, PlanFlag, Reason, Rule
from qtsim.core.records import denial_row_dt
from qtsim.results.result import Result
from qtsim.results.tables import (
    EMPTY_GOVERNOR,
    EQUITY_COLUMNS,
    FILL_COLUMNS,
    GOVERNOR_COLUMNS,
    TRADE_COLUMNS,
    build_frames,
    flag_text,
)
from tests.unit.results.made_run import START, MadeRun, empty_result, made_info, made_result

FRAMES = ("trades", "fills", "orders", "decisions", "denials", "funding", "equity", "positions", "governor")


@pytest.fixture(scope="module")
def result() -> Result:
    return made_result(symbols=("ETHUSDT", "BTCUSDT"), governor=[(GovernorDecision.PAUSE_1H, 5.0, 6.0, 0.006)])


def test_columns_come_in_the_documented_order(result: Result) -> None:
    assert tuple(result.trades.columns[: len(TRADE_COLUMNS)]) == TRADE_COLUMNS
    assert tuple(result.fills.columns[: len(FILL_COLUMNS)]) == FILL_COLUMNS
    assert tuple(result.equity.columns[: len(EQUITY_COLUMNS)]) == EQUITY_COLUMNS
    assert result.equity.index.name == "time"


@pytest.mark.parametrize("name", FRAMES)
def test_times_are_utc_nanoseconds_and_texts_are_strings_also_when_empty(result: Result, name: str) -> None:
    full, empty = getattr(result, name), getattr(empty_result(), name)
    assert dict(full.dtypes) == dict(empty.dtypes)
    for frame in (full.reset_index(), empty.reset_index()):
        times = [column for column in frame if "time" in str(column)]
        assert all(str(frame[column].dtype) == "datetime64[ns, UTC]" for column in times)


def test_every_trade_adds_up(result: Result) -> None:
    trades, fills = result.trades, result.fills
    assert np.allclose(trades["pnl"], trades["price_pnl"] - trades["fees"] + trades["funding"])
    assert set(trades["side"]) == {"long", "short"}
    assert (trades[["fees", "slippage"]] >= 0).all(axis=None)
    by_trade = fills.groupby("trade_id")
    own = trades.set_index("trade_id").sort_index()
    assert np.allclose(by_trade["fee"].sum(), own["fees"])
    assert np.allclose(by_trade["pnl"].sum(), own["price_pnl"])
    exits = fills[fills["kind"] != "entry"]
    assert np.allclose(exits.groupby("trade_id")["qty"].sum(), own["qty"])
    value = (exits["qty"] * exits["price"]).groupby(exits["trade_id"]).sum()
    assert np.allclose(value / own["qty"], own["exit_price"])
    assert (own["bars_held"] >= 0).all()


def test_liquidation_fees_are_part_of_fees() -> None:
    run = MadeRun(("BTCUSDT",), 400, seed=3, every=12, timeframe_ns=3_600_000_000_000, keep_open=False)
    journals = run.play()
    journals.trades["liq_fee"][0] = 5.0
    journals.trades["pnl"][0] -= 5.0
    frame = build_frames(journals, ["a", "b"]).trades
    assert frame["liquidation_fee"][0] == 5.0
    assert frame["pnl"][0] == pytest.approx(frame["price_pnl"][0] - frame["fees"][0] + frame["funding"][0])


def test_equity_is_wallet_and_unrealized_and_drawdown_counts_the_start_as_a_high(result: Result) -> None:
    equity = result.equity
    assert np.allclose(equity["equity"], equity["wallet"] + equity["unrealized_pnl"])
    highs = equity["equity"].cummax().clip(lower=10_000.0)
    assert np.allclose(equity["drawdown"], equity["equity"] / highs - 1.0)


def test_decisions_state_the_quantity_they_close(result: Result) -> None:
    legs = result.decisions[result.decisions["action"] == "PARTIAL_CLOSE"]
    fills = result.fills[result.fills["reason"].isin(["tp1", "tp2", "tp3"])]
    key = ["trade_id", "reason"]
    both = legs.merge(fills, on=key, suffixes=("", "_fill"))
    assert len(both) == len(legs) > 5
    assert np.allclose(both["qty"], both["qty_fill"])


def test_orders_are_every_market_fill_one_hard_stop_per_trade_and_refusals() -> None:
    run = MadeRun(("BTCUSDT",), 905, seed=3, every=12, timeframe_ns=3_600_000_000_000, keep_open=True)
    journals = run.play()
    refused = np.zeros(1, denial_row_dt)
    refused["ts"], refused["side"], refused["gate"], refused["rule"] = START + 1, -1, Gate.EXCHANGE, Rule.MIN_NOTIONAL
    journals.trades["exit_reason"][0] = Reason.HARD_STOP
    last_exit = np.flatnonzero(journals.fills["trade_id"] == journals.trades["trade_id"][0])[-1]
    journals.fills["reason"][last_exit] = Reason.HARD_STOP
    journals.trades["exit_reason"][1] = Reason.LIQUIDATION
    frames = build_frames(
        type(journals)(**{**vars(journals), "denials": np.concatenate([journals.denials, refused])}), ["a", "b"]
    )
    orders = frames.orders
    stops = orders[orders["type"] == "STOP_MARKET"]
    assert len(stops) == len(frames.trades) + len(frames.positions)
    assert stops["status"].value_counts().to_dict() == {
        "CANCELED": len(frames.trades) - 2,
        "FILLED": 1,
        "EXPIRED": 1,
        "NEW": len(frames.positions),
    }
    assert stops["qty"].isna().all()
    filled = stops[stops["status"] == "FILLED"].iloc[0]
    assert filled["price"] == pytest.approx(journals.fills["price"][last_exit])
    assert filled["filled_qty"] == pytest.approx(journals.fills["qty"][last_exit])
    assert len(orders[orders["status"] == "REJECTED"]) == 1
    assert orders[orders["status"] == "REJECTED"].iloc[0]["order_side"] == "SELL"
    market = orders[(orders["type"] == "MARKET") & (orders["status"] == "FILLED")]
    assert len(market) == len(frames.fills) - 1
    opening = market[~market["reduce_only"]]
    assert ((opening["side"] == "long") == (opening["order_side"] == "BUY")).all()
    closing = market[market["reduce_only"]]
    assert ((closing["side"] == "long") == (closing["order_side"] == "SELL")).all()
    assert orders["time"].is_monotonic_increasing
    assert orders.loc[orders["status"] == "NEW", "done_time"].isna().all()


def test_positions_still_open_are_listed_and_count_in_the_money() -> None:
    result = made_result(n_bars=905, keep_open=True)
    assert len(result.positions) == 1
    assert result.totals.equity == pytest.approx(result.totals.wallet + result.equity["unrealized_pnl"].iloc[-1])
    assert result.metrics["Net Profit"] == pytest.approx(result.totals.equity - 10_000.0)


def test_the_digest_is_of_decisions_fills_and_equity() -> None:
    first, again = made_result(n_bars=300), made_result(n_bars=300)
    assert first.digest == again.digest
    run = MadeRun(("BTCUSDT",), 300, seed=3, every=12, timeframe_ns=3_600_000_000_000, keep_open=False)
    journals = run.play()
    journals.equity["equity"][5] = np.nextafter(journals.equity["equity"][5], 0.0)
    assert Result.from_journals(journals, made_info(("BTCUSDT",), 300), run.bars).digest != first.digest


def test_the_digest_is_of_the_governor_too() -> None:
    def digest(hour: float) -> str:
        return made_result(n_bars=300, governor=[(GovernorDecision.PAUSE_1H, hour, 9.0, 0.006)]).digest

    assert digest(5.0) == digest(5.0) != digest(6.0)
    assert digest(5.0) != made_result(n_bars=300).digest


def test_decisions_of_the_governor_fire_and_end(result: Result) -> None:
    governor = result.governor
    assert tuple(governor.columns) == GOVERNOR_COLUMNS
    assert governor["decision"].tolist() == ["PAUSE_1H", "PAUSE_1H"]
    assert governor["event"].tolist() == ["fires", "ends"]
    assert governor["time"].astype(str).tolist() == ["2024-01-01 05:00:00+00:00", "2024-01-01 06:00:00+00:00"]
    assert governor["value"][0] == 0.006
    assert governor["limit"][0] == 0.005
    assert governor[["value", "limit"]].loc[1].isna().all()
    assert (governor["equity"] == 9_900.0).all()
    assert dict(governor.dtypes) == dict(EMPTY_GOVERNOR.dtypes)


def test_trades_name_the_regimes_and_the_mode_at_entry(result: Result) -> None:
    trades = result.trades
    assert set(trades["regime"]) == {"TRENDING", "BREAKOUT", "RANGING", "CHOPPY"}
    assert set(trades["leader_regime"]) == {"UPTREND", "DOWNTREND", "SIDEWAYS"}
    assert set(trades["mode"]) == {"NORMAL", "DEFENSIVE"}


def test_flags_are_named() -> None:
    assert flag_text(PlanFlag.SL_MIN | PlanFlag.SL_HARD_SHARE) == "sl_min, sl_hard_share"
    assert flag_text(0) == ""


def test_tags_are_texts_and_none_is_empty(result: Result) -> None:
    assert {"", "cross up"} < set(result.trades["tag"])
    assert pd.api.types.is_string_dtype(result.trades["tag"])
