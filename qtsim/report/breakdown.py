"""The run taken apart: by symbol, by kind of cost, by regime, and how much margin it used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qtsim.core.enums import RULE_TEXT, LeaderRegime, Regime, Rule
from qtsim.core.params import RECENT_TRADES
from qtsim.core.symbol_stats import FAIR_RATE, GOOD_RATE, GOOD_SIZE, POOR_SIZE, WATCHED_SIZE
from qtsim.report.thinning import SECOND_NS, compact, printed, printed_one, thin
from qtsim.results.reach import HOUR_NS, hours_text, period
from qtsim.results.result import Result
from qtsim.results.summary import entered, gates_are_on
from qtsim.results.tables import times_ns

TOTAL = "all"
SYMBOL_RULES = {
    "orchestrator.symbol.min_trades": 20,
    "orchestrator.symbol.min_win_rate": 0.35,
    "orchestrator.symbol.disable_losses": 10,
    "orchestrator.symbol.disable_hours": 48.0,
    "orchestrator.symbol.blacklist_losses": 20,
    "governor.shutdown.operator_hours": 24.0,
}
"""Settings that judge a symbol, with the values that stand in for a run that does not have them."""
MAX_POINTS = 5_000
"""Trades whose distance to liquidation is drawn, the nearest first."""


def symbol_table(result: Result) -> dict[str, Any]:
    """Per symbol: trades, wins, result, losing streaks, signals denied for its performance, and how it stood at the end
    of the run."""
    rows = [
        _symbol_row(result, symbol, result.trades[result.trades["symbol"] == symbol]) for symbol in result.info.symbols
    ]
    if len(rows) > 1:
        rows.append(_symbol_row(result, TOTAL, result.trades))
    return {"rows": rows, "judged": gates_are_on(result)}


def _symbol_row(result: Result, symbol: str, trades: pd.DataFrame) -> dict[str, Any]:
    own = result.denials if symbol == TOTAL else result.denials[result.denials["symbol"] == symbol]
    lost = trades["pnl"].to_numpy() < 0.0
    return {
        "symbol": symbol,
        **_record(trades),
        "signals": len(own) + int(_entries(result, symbol)),
        "streak": longest_streak(lost),
        "disabled": int((own["rule"] == RULE_TEXT[Rule.SYMBOL_DISABLED]).sum()),
        "blacklisted": int((own["rule"] == RULE_TEXT[Rule.SYMBOL_BLACKLISTED]).sum()),
        "state": "" if symbol == TOTAL or not gates_are_on(result) else performance_text(result, trades),
    }


def _entries(result: Result, symbol: str) -> int:
    fills = result.fills
    return entered(fills if symbol == TOTAL else fills[fills["symbol"] == symbol])


def _record(trades: pd.DataFrame) -> dict[str, Any]:
    """Trades, wins, win rate in per cent, result and mean R."""
    wins = int((trades["pnl"] > 0.0).sum())
    mean_r = float(trades["r_multiple"].mean()) if trades["r_multiple"].notna().any() else float("nan")
    return {
        "trades": len(trades),
        "wins": wins,
        "win_rate": printed_one(100.0 * wins / len(trades), 1) if len(trades) else None,
        "pnl": printed_one(float(trades["pnl"].sum()), 2),
        "r": printed_one(mean_r, 2),
    }


def longest_streak(hits: np.ndarray) -> int:
    """The longest run of True."""
    longest = length = 0
    for hit in hits:
        length = length + 1 if hit else 0
        longest = max(longest, length)
    return longest


def performance_text(result: Result, trades: pd.DataFrame) -> str:
    """How a symbol's performance stood at the end, from its own trades: off, watched, or the size it would get."""
    rules = {**SYMBOL_RULES, **result.info.settings}
    off_hours = float(rules["orchestrator.symbol.disable_hours"])
    pnl = trades["pnl"].to_numpy()
    won, lost = pnl > 0.0, pnl < 0.0
    losing = lost.size if lost.all() else int(np.argmin(lost[::-1]))
    since_last = (period(result)[1] - int(times_ns(trades["exit_time"])[-1])) / HOUR_NS if won.size else 0.0
    blacklisted = losing >= float(rules["orchestrator.symbol.blacklist_losses"])
    if blacklisted and since_last < float(rules["governor.shutdown.operator_hours"]):
        return f"blacklisted after {losing} losses in a row"
    if losing >= float(rules["orchestrator.symbol.disable_losses"]) and since_last < off_hours:
        return f"off after {losing} losses in a row, for {hours_text(off_hours - since_last)} more"
    if won.size < int(rules["orchestrator.symbol.min_trades"]):
        return f"fewer than {rules['orchestrator.symbol.min_trades']} trades: not judged"
    rate = float(won[-RECENT_TRADES:].mean())
    told = f"{100.0 * rate:.0f} % of the last {min(won.size, RECENT_TRADES)} won"
    if rate < float(rules["orchestrator.symbol.min_win_rate"]):
        return f"watch list, size × {WATCHED_SIZE:g}: {told}"
    factor = GOOD_SIZE if rate > GOOD_RATE else POOR_SIZE if rate < FAIR_RATE else 1.0
    return f"size × {factor:g}: {told}"


def cost_table(result: Result) -> list[dict[str, Any]]:
    """Per symbol what trading it cost, open positions included; the last row is all of them, as in Money."""
    rows = [_cost_row(result, symbol) for symbol in result.info.symbols]
    totals = result.totals
    if len(rows) > 1:
        rows.append(
            {
                "symbol": TOTAL,
                "fees": round(totals.fees, 2),
                "slippage": round(totals.slippage, 2),
                "funding": round(totals.funding, 2),
                "liquidation": round(totals.liquidation_fees, 2),
                "liquidations": totals.liquidations,
                "turnover": round(float((result.fills["qty"] * result.fills["price"]).sum()), 0),
            }
        )
    for row in rows:
        row["cost"] = round(row["fees"] + row["slippage"] - row["funding"] + row["liquidation"], 2)
    return rows


def _cost_row(result: Result, symbol: str) -> dict[str, Any]:
    fills = result.fills[result.fills["symbol"] == symbol]
    payments = result.funding[result.funding["symbol"] == symbol]
    liquidation = float(fills["liquidation_fee"].sum())
    return {
        "symbol": symbol,
        "fees": round(float(fills["fee"].sum()) - liquidation, 2),
        "slippage": round(float(fills["slippage"].sum()), 2),
        "funding": round(float(payments["amount"].sum()), 2),
        "liquidation": round(liquidation, 2),
        "liquidations": int((fills["kind"] == "liquidation").sum()),
        "turnover": round(float((fills["qty"] * fills["price"]).sum()), 0),
    }


def regime_table(result: Result) -> dict[str, Any]:
    """Trades by the regimes at entry: a row per symbol regime, a column per regime of the leader, each with a total.
    Regimes in which nothing was traded are left out; without trades, and in runs that did not record regimes, it is
    empty."""
    trades = result.trades
    rows = [regime.name for regime in Regime if (trades["regime"] == regime.name).any()]
    columns = [regime.name for regime in LeaderRegime if (trades["leader_regime"] == regime.name).any()]
    if not rows or not columns:
        return {"rows": [], "columns": [], "cells": []}
    cells = [[_record(_in_regimes(trades, row, column)) for column in (*columns, TOTAL)] for row in (*rows, TOTAL)]
    return {"rows": [*rows, TOTAL], "columns": [*columns, TOTAL], "cells": cells}


def _in_regimes(trades: pd.DataFrame, regime: str, leader_regime: str) -> pd.DataFrame:
    chosen = np.ones(len(trades), dtype=bool)
    if regime != TOTAL:
        chosen &= (trades["regime"] == regime).to_numpy()
    if leader_regime != TOTAL:
        chosen &= (trades["leader_regime"] == leader_regime).to_numpy()
    return trades[chosen]


def margin_curve(result: Result) -> dict[str, Any]:
    """Margin in use over equity at every boundary, in per cent, and how near liquidation each trade came."""
    equity = result.equity
    ts = times_ns(pd.DatetimeIndex(equity.index))
    used = 100.0 * equity["margin"].to_numpy() / np.maximum(equity["equity"].to_numpy(), 1e-9)
    kept = thin(ts, used)
    distance = result.trades["min_liq_distance"].to_numpy(dtype=np.float64)
    known = np.flatnonzero(np.isfinite(distance) & result.trades["liq_price"].notna().to_numpy())
    nearest = np.sort(known[np.argsort(distance[known], kind="stable")[:MAX_POINTS]])
    exits = times_ns(result.trades["exit_time"])
    return {
        "t": (ts[kept] // SECOND_NS).tolist(),
        "used": compact(used[kept], 5),
        "max": printed_one(100.0 * result.totals.max_margin_use, 2),
        "rows": nearest.tolist(),
        "exit": (exits[nearest] // SECOND_NS).tolist(),
        "distance": printed(100.0 * distance[nearest], 2),
        "nearest": printed_one(100.0 * float(distance[known].min()), 2) if known.size else None,
        "liquidations": result.totals.liquidations,
    }
