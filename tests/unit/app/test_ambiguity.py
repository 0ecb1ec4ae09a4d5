"""From a coarse run to one without doubt: its ambiguous bars get finer ones, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.data.frames import times_of
from qtsim.data.resample import resample_bars
from qtsim.results.ambiguity import ORDER, UNTRIED, coarser_than
from qtsim.results.result import Result

MINUTE = 60_000_000_000
HOUR = 60 * MINUTE
BRACKET = {
    "exit.policy": "bracket",
    "exit.bracket.tp": 0.01,
    "exit.bracket.sl": 0.01,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 1.0,
    "gates.enabled": False,
    "costs.funding.source": "off",
    "sim.diagnostics.optimism": "off",
}
ROUNDS = 8


def minutes(seed: int, days: int = 8) -> pd.DataFrame:
    """Minute bars of a walk that crosses a bracket of 1 % within hours."""
    n = days * 24 * 60
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.0015, n))), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    index = pd.date_range("2024-01-01", periods=n, freq="min", tz="UTC", name="time").as_unit("ns")
    columns = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    return pd.DataFrame({**columns, "volume": 1.0}, index=index)


def hours(fine: pd.DataFrame) -> pd.DataFrame:
    return resample_bars(fine, MINUTE, HOUR)


def run(fine: Mapping[str, pd.DataFrame], detail: Mapping[str, pd.DataFrame] | None, **settings: Any) -> Result:
    """Every second hour asks for a long, the others for a short."""
    coarse = {symbol: hours(frame) for symbol, frame in fine.items()}
    index = next(iter(coarse.values())).index
    signals = pd.DataFrame({"long": np.arange(len(index)) % 2 == 0, "short": np.arange(len(index)) % 2 == 1}, index)
    return qt.backtest(signals, coarse, detail=detail, mark="off", check=False, settings={**BRACKET, **settings})


def of_bars(fine: pd.DataFrame, symbol: str, ambiguous: pd.DataFrame) -> pd.DataFrame:
    """The minutes of the symbol's ambiguous hours."""
    opens = times_of(pd.DataFrame(index=pd.DatetimeIndex(ambiguous["time"][ambiguous["symbol"] == symbol])))
    return fine[np.isin(times_of(fine) // HOUR * HOUR, opens)]


def rounds(fine: Mapping[str, pd.DataFrame]) -> list[Result]:
    """The coarse run, and after it runs in which every bar that was ambiguous so far has its minutes."""
    results = [run(fine, None)]
    known = {symbol: frame.iloc[:0] for symbol, frame in fine.items()}
    while len(left := coarser_than(results[-1].ambiguous, "1m")) and len(results) < ROUNDS:
        for symbol, frame in fine.items():
            known[symbol] = pd.concat([known[symbol], of_bars(frame, symbol, left)]).sort_index()
        results.append(run(fine, {symbol: frame for symbol, frame in known.items() if len(frame)}))
    return results


def outcome(result: Result) -> pd.DataFrame:
    """Trades by symbol and time; within its hour an exit has another minute than on the bar's own path."""
    trades = result.trades.sort_values(["symbol", "entry_time"], ignore_index=True)
    return trades[["symbol", "side", "entry_time", "entry_price", "exit_price", "exit_reason", "exit_bar"]]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_few_rounds_leave_no_bar_in_doubt_and_the_trades_of_full_detail(seed: int) -> None:
    """Of fixed levels: only bars that hold both are ambiguous, so where those have minutes nothing else can differ."""
    fine = {"BTCUSDT": minutes(seed), "ETHUSDT": minutes(seed + 100)}
    results = rounds(fine)
    assert 1 < len(results) < ROUNDS, "there was doubt, and it ended"
    whole = run(fine, fine)
    pd.testing.assert_frame_equal(outcome(results[-1]), outcome(whole))
    assert not len(coarser_than(whole.ambiguous, "1m"))


def test_a_bar_that_another_symbols_minutes_cut_counts_while_it_is_held() -> None:
    """ETHUSDT has no minutes: where BTCUSDT has some, its hours are walked in pieces and no order is tried."""
    fine = {"BTCUSDT": minutes(1), "ETHUSDT": minutes(101)}
    coarse = run(fine, None)
    assert set(coarse.ambiguous["why"]) == {ORDER}
    some = fine["BTCUSDT"].iloc[: 3 * 24 * 60]
    result = run(fine, {"BTCUSDT": some})
    untried = result.ambiguous[result.ambiguous["why"] == UNTRIED]
    assert len(untried)
    assert set(untried["symbol"]) == {"ETHUSDT"}
    assert (untried["time"] < some.index[-1]).all()
    tried = result.ambiguous[result.ambiguous["why"] == ORDER]
    assert (tried["time"] > some.index[-1]).all(), "what lies in the pieces stands for its bar"


def test_hours_without_minutes_are_walked_as_on_bars() -> None:
    """Detail of one hour in which nothing is open changes no figure of the run."""
    fine = {"BTCUSDT": minutes(1)}
    coarse = run(fine, None, **{"sim.diagnostics.range": True})
    first = fine["BTCUSDT"].iloc[:60]
    result = run(fine, {"BTCUSDT": first}, **{"sim.diagnostics.range": True})
    assert result.info.detail == f"1m for 1 of {8 * 24} bars"
    pd.testing.assert_frame_equal(result.trades, coarse.trades)
    pd.testing.assert_frame_equal(pd.DataFrame(result.ranges), pd.DataFrame(coarse.ranges))
    pd.testing.assert_frame_equal(result.ambiguous, coarse.ambiguous)
