"""Metrics against empyrical-reloaded with 365 days, and against plain definitions."""

from __future__ import annotations

import itertools
import math

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qtsim.results import metrics as m
from qtsim.results.tables import drawdowns, utc_times
from tests.unit.results.made_run import START, empty_result, made_result

DAY = m.DAY_NS
daily = st.lists(st.floats(-0.2, 0.25).map(lambda value: round(value, 5)), min_size=2, max_size=120).map(np.array)
amounts = st.lists(st.floats(-500, 500).map(lambda value: round(value, 2)), min_size=1, max_size=60).map(np.array)


def same(found: float, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(found)
    return found == pytest.approx(expected, rel=1e-9, abs=1e-12)


# What empyrical computes too ------------------------------------------------------------------------------------------


@given(returns=daily)
def test_rates_agree_with_empyrical_at_365_days(returns: np.ndarray) -> None:
    assume(np.std(returns) > 1e-6)
    with np.errstate(over="ignore"):
        annual = empyrical.cagr(returns, annualization=365)
    assume(abs(annual) < 1e200)
    assert same(m.cagr(returns), annual)
    assert same(m.volatility(returns), empyrical.annual_volatility(returns, annualization=365))
    assert same(m.sharpe(returns), empyrical.sharpe_ratio(returns, annualization=365))
    if (returns < 0).any():
        assert same(m.sortino(returns), empyrical.sortino_ratio(returns, annualization=365))
    assert same(m.omega(returns), empyrical.omega_ratio(returns, annualization=365))
    assert same(m.value_at_risk(returns), empyrical.value_at_risk(returns))
    assert same(m.conditional_value_at_risk(returns), empyrical.conditional_value_at_risk(returns))


@given(returns=daily)
def test_drawdown_and_calmar_agree_with_empyrical(returns: np.ndarray) -> None:
    equity = 1000.0 * np.cumprod(1.0 + returns)
    deepest = float(drawdowns(equity, 1000.0).min())
    assume(deepest == 0.0 or deepest < -1e-9)
    assert same(deepest, empyrical.max_drawdown(returns))
    with np.errstate(over="ignore"):
        expected = empyrical.calmar_ratio(returns, annualization=365)
    assume(math.isnan(expected) or abs(expected) < 1e200)
    if deepest < 0.0:
        assert same(m.calmar(m.cagr(returns), deepest), expected)


def test_a_whole_run_agrees_with_empyrical_on_its_daily_returns() -> None:
    result = made_result(n_bars=1200)
    returns = result.daily_returns
    assert len(returns) == 50
    expected = {
        "CAGR": empyrical.cagr(returns, annualization=365),
        "Sharpe": empyrical.sharpe_ratio(returns, annualization=365),
        "Sortino": empyrical.sortino_ratio(returns, annualization=365),
        "Volatility": empyrical.annual_volatility(returns, annualization=365),
        "Omega": empyrical.omega_ratio(returns, annualization=365),
        "VaR": empyrical.value_at_risk(returns),
        "CVaR": empyrical.conditional_value_at_risk(returns),
        "Max Drawdown": empyrical.max_drawdown(result.equity["equity"].pct_change().dropna()),
        "Total Return": empyrical.cum_returns_final(returns),
    }
    assert {name: result.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert result.metrics["Calmar"] == pytest.approx(expected["CAGR"] / -expected["Max Drawdown"])
    assert result.metrics["Max Drawdown"] == result.equity["drawdown"].min()


# Daily equity ---------------------------------------------------------------------------------------------------------


def test_a_mark_at_midnight_belongs_to_the_day_it_ends() -> None:
    ts = START + np.array([0, DAY // 2, DAY, DAY + 1, 2 * DAY])
    ends, values = m.daily_equity(ts, np.array([100.0, 101.0, 102.0, 103.0, 104.0]), 100.0)
    assert ends.tolist() == [START + DAY, START + 2 * DAY]
    assert values.tolist() == [102.0, 104.0]


def test_a_day_without_marks_keeps_the_last_equity() -> None:
    ts = START + np.array([0, DAY, 4 * DAY])
    _, values = m.daily_equity(ts, np.array([100.0, 110.0, 90.0]), 100.0)
    assert values.tolist() == [110.0, 110.0, 110.0, 90.0]


def test_partial_first_and_last_days_count_as_days() -> None:
    ts = START + np.array([6, 12, 30, 33]) * m.HOUR_NS
    ends, values = m.daily_equity(ts, np.array([100.0, 101.0, 102.0, 103.0]), 100.0)
    assert ends.tolist() == [START + DAY, START + 2 * DAY]
    assert values.tolist() == [101.0, 103.0]


def test_an_account_that_is_gone_returns_nothing_more() -> None:
    assert m.daily_returns(np.array([50.0, -5.0, 20.0]), 100.0).tolist() == [-0.5, -1.0, 0.0]


# Against plain definitions --------------------------------------------------------------------------------------------


@given(pnl=amounts)
def test_trade_figures_follow_their_definitions(pnl: np.ndarray) -> None:
    wins, losses = [p for p in pnl if p > 0], [-p for p in pnl if p < 0]
    if losses:
        assert same(m.profit_factor(pnl), sum(wins) / sum(losses))
    elif wins:
        assert m.profit_factor(pnl) == math.inf
        assert m.payoff(pnl) == math.inf
    else:
        assert math.isnan(m.profit_factor(pnl))
    if wins and losses:
        assert same(m.payoff(pnl), (sum(wins) / len(wins)) / (sum(losses) / len(losses)))
    mean = sum(pnl) / len(pnl)
    if len(pnl) > 1:
        spread = math.sqrt(sum((p - mean) ** 2 for p in pnl) / (len(pnl) - 1))
        if spread > 1e-6:
            assert m.sqn(pnl) == pytest.approx(math.sqrt(len(pnl)) * mean / spread, rel=1e-9, abs=1e-9)
    streaks = [len(list(run)) for won, run in itertools.groupby(pnl > 0) if won]
    assert m.longest_streak(pnl > 0) == max(streaks, default=0)


@given(returns=daily)
def test_ulcer_is_the_root_mean_square_of_drawdowns(returns: np.ndarray) -> None:
    equity = 500.0 * np.cumprod(1.0 + returns)
    high, squares = 500.0, []
    for value in equity:
        high = max(high, value)
        squares.append((value / high - 1.0) ** 2)
    assert m.ulcer(equity, 500.0) == pytest.approx(math.sqrt(sum(squares) / len(squares)), abs=1e-12)


@given(st.lists(st.integers(80, 120), min_size=2, max_size=40))
def test_drawdown_duration_is_the_longest_stretch_below_a_high(values: list[int]) -> None:
    equity = np.array([100.0, *values])
    ts = START + np.arange(equity.size) * DAY
    high, since, longest = equity[0], 0, 0
    for i, value in enumerate(equity):
        if value >= high:
            if i - since > 1:
                longest = max(longest, i - since)
            high, since = value, i
        else:
            longest = max(longest, i - since) if i == equity.size - 1 else longest
    assert m.drawdown_duration(ts, equity, 100.0) == longest


def test_exposure_counts_overlapping_positions_once() -> None:
    hours = START + np.arange(11) * m.HOUR_NS
    trades = pd.DataFrame({"entry_time": utc_times(hours[[1, 2, 6]]), "exit_time": utc_times(hours[[4, 3, 7]])})
    still_open = pd.DataFrame({"entry_time": utc_times(hours[[9]])})
    assert m.exposure_time(hours, trades, still_open) == pytest.approx(0.5)  # 1 to 4, 6 to 7, 9 to 10 of ten hours


def mean_equity(equity: pd.Series[float]) -> float:
    """The value of each mark stands until the next one, so a mark twice as long counts twice."""
    seconds = equity.index.to_series().diff().dt.total_seconds().to_numpy()[1:]
    return float((equity.to_numpy()[:-1] * seconds).sum() / seconds.sum())


def test_the_mean_of_marks_that_are_not_evenly_spaced() -> None:
    """10 stands for an hour, 40 for two."""
    ts = START + np.array([0, 1, 3]) * m.HOUR_NS
    assert m.mean_over_time(ts, np.array([10.0, 40.0, 7.0])) == 30.0
    assert m.mean_over_time(ts[:1], np.array([10.0])) == 10.0


def test_money_figures_are_the_sums_of_the_frames() -> None:
    result = made_result(symbols=("BTCUSDT", "ETHUSDT"))
    metrics, trades, fills = result.metrics, result.trades, result.fills
    risk = trades["planned_stop"] * trades["notional"]
    expected = {
        "Trades": len(trades),
        "Win Rate": (trades["pnl"] > 0).mean(),
        "Expectancy": trades["pnl"].mean(),
        "Avg Trade": trades["ret"].mean(),
        "Best Trade": trades["ret"].max(),
        "Worst Trade": trades["ret"].min(),
        "Avg Hold": (trades["exit_time"] - trades["entry_time"]).dt.total_seconds().mean() / 3600,
        "Avg R": trades["r_multiple"].mean(),
        "Avg Cost R": ((trades["fees"] + trades["slippage"] - trades["funding"]) / risk).mean(),
        "Fees": fills["fee"].sum(),
        "Slippage": fills["slippage"].sum(),
        "Funding": result.funding["amount"].sum(),
        "Turnover": (fills["qty"] * fills["price"]).sum() / mean_equity(result.equity["equity"]),
        "Max Margin Use": (result.equity["margin"] / result.equity["equity"]).max(),
        "Min Distance to Liquidation": trades["min_liq_distance"].min(),
        "Net Profit": trades["pnl"].sum(),
        "Total Return": trades["pnl"].sum() / 10_000.0,
        "Closed Return": trades["pnl"].sum() / 10_000.0,
        "Liquidations": 0.0,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_buy_and_hold_shares_the_capital_equally_from_each_first_open() -> None:
    index = utc_times(START + np.arange(4) * DAY)
    first = pd.DataFrame({"open": [10.0, 11.0, 12.0, 13.0], "close": [11.0, 12.0, 13.0, 20.0]}, index=index)
    late = pd.DataFrame({"open": [100.0, 90.0], "close": [90.0, 50.0]}, index=index[2:])
    held = m.buy_and_hold_equity({"A": first, "B": late}, 1000.0)
    assert held.tolist() == pytest.approx([1050.0, 1100.0, 500 * 1.3 + 450.0, 1250.0])


def test_nothing_traded_gives_nan_and_no_warning() -> None:
    metrics = empty_result().metrics
    unknown = (
        "Sharpe",
        "Sortino",
        "Calmar",
        "Omega",
        "Win Rate",
        "Profit Factor",
        "Payoff",
        "SQN",
        "Avg R",
        "Avg Hold",
    )
    assert all(math.isnan(metrics[name]) for name in unknown)
    assert metrics["Total Return"] == metrics["Max Drawdown"] == metrics["Exposure Time"] == 0.0
    assert not any(math.isinf(value) for value in metrics.values())


@pytest.mark.parametrize("returns", [np.empty(0), np.array([0.01]), np.zeros(5), np.full(5, 0.01), np.full(3, 9e9)])
def test_degenerate_returns_give_no_infinity(returns: np.ndarray) -> None:
    figures = (m.cagr, m.volatility, m.sharpe, m.sortino, m.omega, m.value_at_risk, m.conditional_value_at_risk)
    assert not any(math.isinf(figure(returns)) for figure in figures)
    assert math.isnan(m.sharpe(returns))
