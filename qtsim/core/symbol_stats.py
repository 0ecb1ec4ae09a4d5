"""How one symbol has been doing: win rate over its last 20 trades, disabling, probation, blacklist."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.params import RECENT_TRADES
from qtsim.core.records import NEVER, Record

HOUR_NS = 3_600_000_000_000.0
FOREVER = 2**63 - 1
GOOD_RATE, FAIR_RATE = 0.55, 0.45
GOOD_SIZE, POOR_SIZE, WATCHED_SIZE = 1.10, 0.70, 0.50
PROBATION_SIZE = 0.50


@kernel
def reset_stats_nb(stats: Record) -> None:
    """A symbol before its first trade."""
    stats["disabled_until"] = NEVER
    stats["blacklisted_at"] = NEVER


@kernel
def later_nb(ts: int, hours: float) -> int:
    """`hours` after `ts`; the end of time where they are infinite."""
    if hours >= 2.0e6:
        return FOREVER
    return ts + int(hours * HOUR_NS)


@kernel
def win_rate_nb(stats: Record) -> float:
    """Share of wins in the last 20 closed trades, fewer where fewer exist; NaN without any."""
    count = min(stats["closed"], RECENT_TRADES)
    if count == 0:
        return np.nan
    wins = 0
    for k in range(count):
        wins += stats["won"][k]
    return wins / count


@kernel
def disable_nb(stats: Record, ts: int, value: float, limit: float, orchestrator: Record) -> None:
    """Turn the symbol off for `symbol_disable_hours` from now, and keep what did so."""
    stats["disabled_until"] = later_nb(ts, orchestrator["symbol_disable_hours"])
    stats["disabled_value"] = value
    stats["disabled_limit"] = limit


@kernel
def note_symbol_trade_nb(stats: Record, ts: int, pnl: float, orchestrator: Record) -> None:
    """Count a closed trade of the symbol, and disable or blacklist it where the rules say so.

    pnl: net of costs; a trade of 0 is neither won nor lost, and ends a losing streak.

    From `symbol_min_trades` trades on, each fall of the win rate below the minimum disables for `symbol_disable_hours`
    and puts the next `symbol_probation_trades` trades on probation. The loss that makes `symbol_disable_losses` in a
    row, and each one after it, disables; the one that makes `symbol_blacklist_losses` blacklists.
    """
    won = 1 if pnl > 0.0 else 0
    stats["won"][stats["closed"] % RECENT_TRADES] = won
    stats["closed"] += 1
    stats["wins"] += won
    stats["losing_streak"] = stats["losing_streak"] + 1 if pnl < 0.0 else 0
    if stats["probation_left"] > 0:
        stats["probation_left"] -= 1
    if stats["closed"] >= orchestrator["symbol_min_trades"]:
        rate = win_rate_nb(stats)
        least = orchestrator["symbol_min_win_rate"]
        is_poor = 1 if rate < least else 0
        if is_poor == 1 and stats["is_poor"] == 0:
            disable_nb(stats, ts, rate, least, orchestrator)
            stats["probation_left"] = int(orchestrator["symbol_probation_trades"])
        stats["is_poor"] = is_poor
    if pnl >= 0.0:
        return
    if stats["losing_streak"] >= orchestrator["symbol_disable_losses"]:
        disable_nb(stats, ts, float(stats["losing_streak"]), orchestrator["symbol_disable_losses"], orchestrator)
    if stats["losing_streak"] >= orchestrator["symbol_blacklist_losses"] and stats["blacklisted_at"] == NEVER:
        stats["blacklisted_at"] = ts


@kernel
def clear_blacklist_nb(stats: Record, ts: int, operator_hours: float) -> None:
    """A backtest's operator clears a blacklisted symbol after `operator_hours`, and with it its losing streak."""
    if stats["blacklisted_at"] != NEVER and ts >= later_nb(stats["blacklisted_at"], operator_hours):
        stats["blacklisted_at"] = NEVER
        stats["losing_streak"] = 0


@kernel
def is_disabled_nb(stats: Record, ts: int) -> bool:
    """Is the symbol off at this time?"""
    return stats["disabled_until"] != NEVER and ts < stats["disabled_until"]


@kernel
def symbol_size_nb(stats: Record, orchestrator: Record) -> float:
    """Size factor of the symbol's win rate, from `symbol_min_trades` trades on, and of its probation."""
    factor = 1.0
    if stats["closed"] >= orchestrator["symbol_min_trades"] and stats["closed"] > 0:
        rate = win_rate_nb(stats)
        if rate > GOOD_RATE:
            factor = GOOD_SIZE
        elif rate < orchestrator["symbol_min_win_rate"]:
            factor = WATCHED_SIZE
        elif rate < FAIR_RATE:
            factor = POOR_SIZE
    if stats["probation_left"] > 0:
        factor *= PROBATION_SIZE
    return factor
