"""The metrics of simulator.md, from equity and from closed trades, in plain numpy.

Ratios that need a rate of time are annualised with 365 days: the market never closes. They use one return per UTC day,
from the equity at the day's end; the first and the last day may be partial. What cannot be computed is NaN, never a
warning; the one infinity is a Profit Factor (and Payoff) where there are wins and no loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qtsim.results.tables import drawdowns, time_weighted, times_ns

DAYS_PER_YEAR = 365.0
ROOT_OF_YEAR = math.sqrt(DAYS_PER_YEAR)
DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
TAIL = 0.05
"""Share of the worst days that VaR and CVaR look at."""
NO_DISPERSION = 1e-14
"""Standard deviations below this share of the largest value are rounding, not risk."""

NAN = float("nan")


@dataclass(frozen=True)
class Totals:
    """Money of a whole run in quote currency; what the wallet adds up from.

    wallet = initial_balance + transfers + price_pnl - fees - liquidation_fees + funding,
    equity = wallet + unrealized_pnl; slippage is contained in the prices and so in price_pnl.
    """

    initial_balance: float
    wallet: float
    equity: float
    price_pnl: float
    fees: float
    slippage: float
    funding: float
    liquidation_fees: float
    liquidations: int
    max_margin_use: float = NAN  # largest margin in use / equity, at boundaries and after entries
    transfers: float = 0.0  # deposits less withdrawals during the run
    min_margin_ratio: float = math.inf  # cross: smallest margin balance / maintenance margins - 1 at a point
    share_bound: int = 0  # times that the share of a bar's volume gave an order less than it asked for
    parts: int = 0  # fills that it cut short
    delayed: int = 0  # orders that took time to reach the exchange
    delay_ns: int = 0  # in all
    limits_placed: int = 0  # limit entries; what is neither filled, timed out nor cancelled stands at the end
    limits_filled: int = 0  # at least in part
    limits_timed_out: int = 0
    limits_cancelled: int = 0

    @property
    def net(self) -> float:
        """What the account gained, open positions at mark; transfers are no gain."""
        return self.equity - self.initial_balance - self.transfers

    @property
    def unrealized_pnl(self) -> float:
        """PnL of what is still open at the end."""
        return self.equity - self.wallet


def compute_metrics(
    totals: Totals,
    equity: pd.DataFrame,
    trades: pd.DataFrame,
    fills: pd.DataFrame,
    positions: pd.DataFrame,
    transfers: pd.DataFrame,
    *,
    buy_and_hold: float = NAN,
) -> dict[str, float]:
    """Every metric by the name people search for. Frames as in `qtsim.results.tables`.

    Returns, drawdowns, rates and exposures are decimals; Expectancy, Fees, Slippage, Funding and the like are quote
    currency; Avg Hold hours; durations days. `buy_and_hold`: the return of holding, passed through.
    """
    start = totals.initial_balance
    ts = times_ns(pd.DatetimeIndex(equity.index))
    marks = equity["growth"].to_numpy(dtype=np.float64)
    _, daily = daily_equity(ts, marks, start)
    returns = daily_returns(daily, start)
    max_drawdown = float(drawdowns(marks, start).min()) if marks.size else NAN
    annual = cagr(returns)
    metrics = {
        "Total Return": total_return(totals, equity),
        "CAGR": annual,
        "Sharpe": sharpe(returns),
        "Sortino": sortino(returns),
        "Calmar": calmar(annual, max_drawdown),
        "Max Drawdown": max_drawdown,
        "Max Drawdown Duration": drawdown_duration(ts, marks, start),
        "Volatility": volatility(returns),
        "VaR": value_at_risk(returns),
        "CVaR": conditional_value_at_risk(returns),
        "Ulcer": ulcer(daily, start),
        "Omega": omega(returns),
        "Buy and Hold": buy_and_hold,
    }
    metrics.update(_trade_metrics(trades))
    metrics["Exposure Time"] = exposure_time(ts, trades, positions)
    metrics.update(_account_metrics(totals, equity, trades, fills, positions))
    metrics.update(_closed_trade_metrics(ts, trades, transfers, start))
    return metrics


def total_return(totals: Totals, equity: pd.DataFrame) -> float:
    """Net profit over the starting balance; with transfers the time-weighted return, which they do not change."""
    marks, growth = equity["equity"].to_numpy(), equity["growth"].to_numpy()
    if bool((marks == growth).all()):
        return totals.net / totals.initial_balance
    if marks[-1] <= 0.0 or growth[-1] <= 0.0:
        return max(float(growth[-1]), 0.0) / totals.initial_balance - 1.0
    return float(totals.equity * (growth[-1] / marks[-1])) / totals.initial_balance - 1.0


def daily_equity(ts: np.ndarray, equity: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Equity at the end of each UTC day: (day ends int64 ns, values), both shape (days,).

    A mark at 00:00 belongs to the day it ends. Days without a mark keep the last one. The first mark is where the
    account starts, with `start`, and is no day of its own.
    """
    if ts.size < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    days = (ts - 1) // DAY_NS
    first = int(ts[0] // DAY_NS)
    ends = np.arange(first, int(days[-1]) + 1, dtype=np.int64)
    at = np.searchsorted(days, ends, side="right") - 1
    values = np.where(at > 0, equity[np.maximum(at, 0)], start)
    return (ends + 1) * DAY_NS, values.astype(np.float64)


def daily_returns(daily: np.ndarray, start: float) -> np.ndarray:
    """Returns from one day's end to the next, the first from `start`; 0 once nothing is left."""
    before = np.concatenate([[start], daily[:-1]]) if daily.size else daily
    alive = before > 0.0
    safe = np.where(alive, before, 1.0)
    result: np.ndarray = np.where(alive, np.maximum(daily, 0.0) / safe - 1.0, 0.0)
    return result


def cagr(returns: np.ndarray) -> float:
    """Compound growth per 365 days of daily returns."""
    if returns.size == 0:
        return NAN
    growth = float(np.prod(1.0 + returns))
    exponent = DAYS_PER_YEAR / returns.size
    if growth <= 0.0:
        return -1.0
    if np.log(growth) * exponent > 700.0:  # beyond what a float holds: a day or two, annualised
        return NAN
    return float(growth**exponent) - 1.0


def volatility(returns: np.ndarray) -> float:
    """Annualised standard deviation (n - 1)."""
    return float(np.std(returns, ddof=1)) * ROOT_OF_YEAR if returns.size > 1 else NAN


def sharpe(returns: np.ndarray) -> float:
    """Annualised mean over standard deviation (n - 1), risk-free rate 0."""
    if returns.size < 2 or not _is_dispersed(returns):
        return NAN
    return float(np.mean(returns) / np.std(returns, ddof=1)) * ROOT_OF_YEAR


def sortino(returns: np.ndarray) -> float:
    """Annualised mean over the root mean square of the negative returns."""
    if returns.size < 2 or not bool((returns < 0.0).any()):
        return NAN
    downside = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
    return _ratio(float(np.mean(returns)) * ROOT_OF_YEAR, downside)


def calmar(annual: float, max_drawdown: float) -> float:
    """CAGR over the size of the maximum drawdown."""
    return annual / -max_drawdown if max_drawdown < 0.0 else NAN


def omega(returns: np.ndarray) -> float:
    """Sum of gains over sum of losses of daily returns."""
    if returns.size < 2:
        return NAN
    return _ratio(float(np.sum(np.maximum(returns, 0.0))), float(np.sum(np.maximum(-returns, 0.0))))


def value_at_risk(returns: np.ndarray) -> float:
    """The daily return that 5 % of the days fall below (linear between days)."""
    return float(np.percentile(returns, 100.0 * TAIL)) if returns.size else NAN


def conditional_value_at_risk(returns: np.ndarray) -> float:
    """Mean of the worst 5 % of daily returns, at least one."""
    if returns.size == 0:
        return NAN
    worst = int((returns.size - 1) * TAIL) + 1
    return float(np.mean(np.sort(returns)[:worst]))


def ulcer(daily: np.ndarray, start: float) -> float:
    """Root mean square of the daily drawdowns."""
    return float(np.sqrt(np.mean(drawdowns(daily, start) ** 2))) if daily.size else NAN


def drawdown_duration(ts: np.ndarray, equity: np.ndarray, start: float) -> float:
    """Longest time from a high until equity is there again, or until the end; days."""
    if ts.size < 2:
        return NAN
    at_high = drawdowns(equity, start) >= 0.0
    at_high[0] = True  # the account starts at its high
    turns = np.flatnonzero(at_high)
    if not at_high[-1]:
        turns = np.append(turns, ts.size - 1)  # never regained: until the end
    below = (np.diff(turns) > 1) | ~at_high[turns[1:]]  # between two highs at neighbouring marks nothing was lost
    return float(np.max(np.diff(ts[turns])[below], initial=0)) / DAY_NS


def profit_factor(pnl: np.ndarray) -> float:
    """Sum of wins over sum of losses; inf where there is no loss."""
    wins, losses = float(pnl[pnl > 0.0].sum()), float(-pnl[pnl < 0.0].sum())
    if losses > 0.0:
        return _ratio(wins, losses)
    return float("inf") if wins > 0.0 else NAN


def payoff(pnl: np.ndarray) -> float:
    """Mean win over mean loss; inf where there is no loss."""
    wins, losses = pnl[pnl > 0.0], -pnl[pnl < 0.0]
    if wins.size and losses.size:
        return _ratio(float(wins.mean()), float(losses.mean()))
    return float("inf") if wins.size else NAN


def sqn(pnl: np.ndarray) -> float:
    """System quality number: root of the number of trades x mean PnL / standard deviation (n - 1)."""
    if pnl.size < 2 or not _is_dispersed(pnl):
        return NAN
    return float(np.sqrt(pnl.size) * pnl.mean() / pnl.std(ddof=1))


def longest_streak(hits: np.ndarray) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def exposure_time(ts: np.ndarray, trades: pd.DataFrame, positions: pd.DataFrame) -> float:
    """Share of the period during which at least one position was open."""
    if ts.size < 2 or ts[-1] <= ts[0]:
        return NAN
    begins = np.concatenate([times_ns(trades["entry_time"]), times_ns(positions["entry_time"])])
    ends = np.concatenate([times_ns(trades["exit_time"]), np.full(len(positions), ts[-1])])
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], ends[order]
    if begins.size == 0:
        return 0.0
    covered_until = np.maximum.accumulate(ends)
    from_ts = np.maximum(begins[1:], covered_until[:-1])
    covered = int(ends[0] - begins[0]) + int(np.maximum(ends[1:] - from_ts, 0).sum())
    return covered / int(ts[-1] - ts[0])


def buy_and_hold_equity(bars: Mapping[str, pd.DataFrame], start: float) -> pd.Series[float]:
    """Equity of holding, 1x and without costs: equal shares of `start`, each bought at its symbol's first open.

    One value per UTC day, by the day's end; before a symbol's first bar its share is cash.
    """
    shares = {}
    for symbol, frame in bars.items():
        if len(frame) == 0:
            continue
        days = pd.DatetimeIndex(frame.index).floor("1D") + pd.Timedelta(days=1)
        closes = pd.Series(frame["close"].to_numpy(dtype=np.float64), index=days).groupby(level=0).last()
        shares[symbol] = closes / float(frame["open"].iloc[0])
    if not shares:
        return pd.Series(dtype=np.float64)
    held = pd.DataFrame(shares).sort_index().ffill().fillna(1.0)
    result: pd.Series[float] = held.mean(axis=1) * start
    return result


def _trade_metrics(trades: pd.DataFrame) -> dict[str, float]:
    """What closed trades say; `pnl` net of all costs."""
    pnl = trades["pnl"].to_numpy(dtype=np.float64)
    ret = trades["ret"].to_numpy(dtype=np.float64)
    held = (times_ns(trades["exit_time"]) - times_ns(trades["entry_time"])) / HOUR_NS
    r_multiple = trades["r_multiple"].to_numpy(dtype=np.float64)
    return {
        "Trades": float(pnl.size),
        "Win Rate": _mean(pnl > 0.0),
        "Profit Factor": profit_factor(pnl),
        "Expectancy": _mean(pnl),
        "Payoff": payoff(pnl),
        "SQN": sqn(pnl),
        "Best Trade": float(ret.max()) if ret.size else NAN,
        "Worst Trade": float(ret.min()) if ret.size else NAN,
        "Avg Trade": _mean(ret),
        "Avg Hold": _mean(held),
        "Avg R": _mean(r_multiple[np.isfinite(r_multiple)]),
        "Avg Cost R": _mean(_costs_in_r(trades)),
        "Long Trades": float((trades["side"] == "long").sum()),
        "Short Trades": float((trades["side"] == "short").sum()),
        "Max Consecutive Wins": float(longest_streak(pnl > 0.0)),
        "Max Consecutive Losses": float(longest_streak(pnl < 0.0)),
    }


def _costs_in_r(trades: pd.DataFrame) -> np.ndarray:
    """Fees, slippage and paid funding of each trade over its planned risk; trades without a planned stop left out."""
    risk = (trades["planned_stop"] * trades["notional"]).to_numpy(dtype=np.float64)
    cost = (trades["fees"] + trades["slippage"] - trades["funding"]).to_numpy(dtype=np.float64)
    known = np.isfinite(risk) & (risk > 0.0)
    result: np.ndarray = cost[known] / risk[known]
    return result


def _account_metrics(
    totals: Totals, equity: pd.DataFrame, trades: pd.DataFrame, fills: pd.DataFrame, positions: pd.DataFrame
) -> dict[str, float]:
    """Costs, turnover and how near the account came to its limits."""
    ts = times_ns(pd.DatetimeIndex(equity.index))
    marks = equity["equity"].to_numpy(dtype=np.float64)
    traded = float((fills["qty"] * fills["price"]).sum())
    distances = np.concatenate([trades["min_liq_distance"].to_numpy(), positions["min_liq_distance"].to_numpy()])
    distances = distances[np.isfinite(distances.astype(np.float64))]
    return {
        "Turnover": _ratio(traded, mean_over_time(ts, marks)) if marks.size else NAN,
        "Fees": totals.fees + totals.liquidation_fees,
        "Slippage": totals.slippage,
        "Funding": totals.funding,
        "Liquidations": float(totals.liquidations),
        "Min Distance to Liquidation": float(distances.min()) if distances.size else NAN,
        "Max Margin Use": totals.max_margin_use,
        "Min Margin Ratio": totals.min_margin_ratio if math.isfinite(totals.min_margin_ratio) else NAN,
        "Final Equity": totals.equity,
        "Net Profit": totals.net,
        "Transfers": totals.transfers,
    }


def mean_over_time(ts: np.ndarray, values: np.ndarray) -> float:
    """Mean of what stands from each time (ns) to the next: with detail for some bars the marks are not evenly spaced.

    The last value stands for no time; a single one is its own mean.
    """
    spans = np.diff(ts)
    return float(np.average(values[:-1], weights=spans)) if spans.sum() > 0 else float(values[-1])


def _closed_trade_metrics(
    ts: np.ndarray, trades: pd.DataFrame, transfers: pd.DataFrame, start: float
) -> dict[str, float]:
    """The same ratios when a trade counts only once it is closed: open losses do not show here."""
    names = ("Closed Return", "Closed Sharpe", "Closed Sortino", "Closed Calmar", "Closed Max Drawdown")
    if ts.size < 2 or len(trades) == 0:
        return dict.fromkeys(names, NAN)
    booked_at = np.concatenate([times_ns(trades["exit_time"]), times_ns(transfers["time"])])
    order = np.argsort(booked_at, kind="stable")
    closed_at = booked_at[order]
    moved = np.concatenate([np.zeros(len(trades)), transfers["moved"].to_numpy(dtype=np.float64)])[order]
    pnl = np.concatenate([trades["pnl"].to_numpy(dtype=np.float64), np.zeros(len(transfers))])[order]
    balance = time_weighted(start + np.cumsum(pnl + moved), moved)
    marks = np.concatenate([[start], balance, balance[-1:]])
    times = np.concatenate([ts[:1], closed_at, np.maximum(ts[-1:], closed_at[-1:])])
    _, daily = daily_equity(times, marks, start)
    returns = daily_returns(daily, start)
    max_drawdown = float(drawdowns(marks, start).min())
    values = (
        float(balance[-1]) / start - 1.0,
        sharpe(returns),
        sortino(returns),
        calmar(cagr(returns), max_drawdown),
        max_drawdown,
    )
    return dict(zip(names, values, strict=True))


def _is_dispersed(values: np.ndarray) -> bool:
    return float(np.std(values, ddof=1)) > NO_DISPERSION * max(float(np.abs(values).max()), 1e-300)


def _ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator; NaN where the quotient says nothing (denominator 0 or vanishing)."""
    if denominator <= 0.0:
        return NAN
    with np.errstate(over="ignore"):
        value = float(np.float64(numerator) / np.float64(denominator))
    return value if np.isfinite(value) else NAN


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else NAN
