"""What freqtrade published: 501 trades with their funding to the last digit, and candle tables where the rules agree.

Skipped where the recorded data is absent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.core.enums import Reason
from qtsim.core.records import bar_dt, funding_dt
from qtsim.sim.market import SymbolInput, build_market
from qtsim.sim.run import first_difference
from tests.generated import Case, empty_signals, instrument, params_of
from tests.scenarios.candles import CLEAN, play, symbol

QUARTER = 900_000_000_000
REPLAYED: dict[str, Any] = {
    **CLEAN,
    "costs.fees.taker": 0.0002,
    "costs.fees.maker": 0.0002,
    "costs.funding.inclusive": "both",
    "exit.policy": "bracket",
    "exit.bracket.tp": "inf",
    "exit.bracket.sl": "inf",
    "leverage.fixed": 2.0,
}


# Published trades ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def meanrev(shared_data: Path) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The trades, and funding rows with the mark price they were charged on (the mark candle's open)."""
    folder = shared_data / "peer_freqtrade_meanrev_1000pepe_15m"
    trades = json.loads((folder / "case.json").read_text(encoding="utf-8"))["trades"]
    rates = pd.read_parquet(folder / "1000PEPEUSDT_funding.parquet").set_index("timestamp")
    marks = pd.read_parquet(folder / "1000PEPEUSDT_mark_8h.parquet").set_index("timestamp")
    funding = rates.assign(mark=marks["open"]).dropna()
    return trades, funding


def replay_of(trade: dict[str, Any], funding: pd.DataFrame) -> Case:
    """The trade as a market: flat at its entry price until it closes, at the open of its last bar.

    A trade that opened and closed in one candle ends at that candle's close.
    """
    opened, closed = (pd.Timestamp(trade[name]).as_unit("ns").value for name in ("open_date", "close_date"))
    times = np.arange(opened - QUARTER, max(closed, opened) + QUARTER, QUARTER)
    bars = np.zeros(len(times), bar_dt)
    bars["ts_open"], bars["volume"] = times, 1.0
    for name in ("open", "high", "low", "close"):
        bars[name] = trade["open_rate"]
    last = bars[-1]
    within_one = closed == opened
    for name in ("close",) if within_one else ("open", "high", "low", "close"):
        last[name] = trade["close_rate"]
    last["high"], last["low"] = max(last["open"], last["close"]), min(last["open"], last["close"])
    for name in ("open", "high", "low", "close"):
        bars[f"mark_{name}"] = bars[name]
    signals = empty_signals(len(times))
    signals["short" if trade["is_short"] else "long"][0] = 1
    due = funding[
        (funding.index >= pd.Timestamp(times[0], tz="UTC")) & (funding.index <= pd.Timestamp(closed, tz="UTC"))
    ]
    events = np.zeros(len(due), funding_dt)
    events["ts"], events["rate"], events["mark"] = due.index.as_unit("ns").asi8, due["funding_rate"], due["mark"]
    rules = instrument(tick=(0.0, 0.0), lot=(1, 1), min_qty=1.0)
    params = params_of({**REPLAYED, "sim.end_of_data": "close" if within_one else "last_open"})
    params["sizing"]["fixed_qty"] = trade["amount"]
    item = SymbolInput("AAA", bars, signals, events, rules, has_mark=False)
    return Case(build_market([item], QUARTER), params, ["AAA"], 1e9, [item])


def test_published_trades_replayed_with_their_funding(meanrev: tuple[list[dict[str, Any]], pd.DataFrame]) -> None:
    """501 trades, longs and shorts, each to 1e-8 of its published profit; every tenth through both drivers."""
    trades, funding = meanrev
    assert len(trades) == 501
    funded = 0
    for k, trade in enumerate(trades):
        case = replay_of(trade, funding)
        run = case.compiled()
        (row,) = run.trades
        assert float(row["pnl"]) == pytest.approx(trade["profit_abs"], abs=1e-8), k
        assert float(row["qty"]) == trade["amount"]
        funded += len(run.funding)
        if k % 10 == 0:
            assert first_difference(run, case.reference()) is None
    assert funded > 50, "funding really was charged"


# Candle tables -------------------------------------------------------------------------------------------------------

AGREEING = ("tc0", "tc2", "tc4", "tc6", "tc14", "tc26", "tc28", "tc30")
"""A fixed stop, a fixed target or none, exit signals; the stop counts first where a candle reaches both."""
DIFFERING = {
    "tc8": "a trail moves at a candle's high and acts from the next candle on; ours acts on the path of the same one",
    "tc10": "as tc8",
    "tc12": "a trail's own rules for the candle that activates it",
    "tc16": "a target that falls with time (minimal ROI)",
    "tc18": "a target that falls with time",
    "tc20": "a target that falls with time",
    "tc22": "trail and target at once, by that engine's precedence",
    "tc24": "a target that falls with time, with a trail",
    "tc32": "as tc8",
    "tc34": "a trail from the entry on within the entry candle, by that engine's assumption on its order",
    "tc36": "as tc34, with a custom stop",
    "tc38": "as tc36",
    "tc40": "an entry at a price of the strategy's own",
    "tc42": "an entry at a price of the strategy's own",
    "tc44": "an exit at a price of the strategy's own",
    "tc46": "an exit at a price of the strategy's own, timing out",
    "tc48": "an entry order that is moved",
    "tc50": "an entry order that is cancelled",
    "tc52": "an entry order that is moved",
}


@pytest.fixture(scope="module")
def tables(shared_data: Path) -> dict[str, Any]:
    text = (shared_data / "freqtrade_detail_cases" / "cases_even.json").read_text(encoding="utf-8")
    cases: dict[str, Any] = json.loads(text)["cases"]
    return cases


def test_every_table_is_either_played_or_explained(tables: dict[str, Any]) -> None:
    assert set(tables) == set(AGREEING) | set(DIFFERING)


@pytest.mark.parametrize("name", AGREEING)
def test_candle_table(tables: dict[str, Any], name: str) -> None:
    """Exit candle, kind of exit and profit as published (to the three decimals they are given with)."""
    case = tables[name]
    rows = case["data"]
    item = symbol(
        [tuple(row[1:5]) for row in rows],
        long=[k for k, row in enumerate(rows) if row[6]],
        exit_long=[k for k, row in enumerate(rows) if row[7]],
        short=[k for k, row in enumerate(rows) if len(row) > 8 and row[8]],
        exit_short=[k for k, row in enumerate(rows) if len(row) > 9 and row[9]],
    )
    target = case["roi"]["0"]
    story = play(
        item,
        exit__policy="bracket",
        exit__bracket__sl=-case["stop_loss"],
        exit__bracket__tp="inf" if target >= 1 else target,
        sim__path="adverse",
        leverage__fixed=case.get("leverage", 1.0),
    )
    published = case["trades"]
    assert len(story.journals.trades) == len(published)
    for trade, expected in zip(story.journals.trades, published, strict=True):
        assert (int(trade["entry_bar"]), int(trade["exit_bar"])) == (expected["open_tick"], expected["close_tick"])
        kind = {"EXIT_SIGNAL": Reason.SIGNAL, "STOP_LOSS": Reason.STOP, "ROI": Reason.TP1}
        assert trade["exit_reason"] == kind[expected["exit_reason"].split(".")[1]]
    stated = case["profit_perc"]
    profit = 0.002 * 5.0 if stated == "0.002 * 5.0" else float(stated)
    assert float(story.journals.trades["roe"].sum()) == pytest.approx(profit, abs=5e-4)
