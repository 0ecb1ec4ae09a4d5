"""Positions that a restart finds: from the journal where it knows them, else rebuilt from the exchange.

A rebuilt position has the exchange's entry price, never the current price, and levels planned from it as an entry's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qtsim.core.accounting import open_position_nb
from qtsim.core.entry import reset_plan_nb
from qtsim.core.enums import FillKind, Gate, Reason, TrailMode
from qtsim.core.exit_policies import plan_exits_nb, price_legs_nb
from qtsim.core.floats import steps_value_nb
from qtsim.core.leverage import mean_of_last_nb
from qtsim.core.records import Records, fill_row_dt, plan_dt, position_dt, signal_dt
from qtsim.live.snapshot import Held
from qtsim.trading.session import Session

FALLBACK_STOP = 0.02
"""Ratio of the entry price at which the hard stop of a position goes whose levels cannot be planned."""


def recovered_text(symbol: str, side: int, qty: float, price: float) -> str:
    """As the predecessor logged it: Recovered XRPUSDT: SHORT 67.1 @ 2.2211"""
    return f"Recovered {symbol}: {'LONG' if side > 0 else 'SHORT'} {qty:.12g} @ {price:.12g}"


def signal_of_point(session: Session, slot: int) -> Records:
    """What is known of the market, as the signal that would have asked for the position. signal_dt[1]"""
    row = np.zeros(1, signal_dt)
    for name in ("confidence", "tp", "sl", "trail"):
        row[name] = np.nan
    point = session.points[slot]
    for name in ("volatility_factor", "regime", "divergence", "funding_delta", "funding_rate"):
        row[name] = point[name]
    row["atr_ratio"] = row["symbol_risk"] = 1.0
    row["tag"] = -1
    if math.isnan(float(row["volatility_factor"][0])):
        row["volatility_factor"] = 0.0
    return row


def plan_for(session: Session, slot: int, side: int, leverage: float) -> Records:
    """Levels, legs and stops of a position that is there already. plan_dt[1]"""
    plan, signal = np.zeros(1, plan_dt), signal_of_point(session, slot)
    reset_plan_nb(plan[0], side, signal[0], session.params)
    plan["leverage"] = plan["raw_leverage"] = leverage
    avg_pnl = mean_of_last_nb(session.account[0], True, session.params["levels"]["feedback_trades"])
    plan_exits_nb(plan[0], signal[0], avg_pnl, session.instruments[slot], session.params)
    price_legs_nb(plan[0], session.params)
    if plan["gate"][0] != Gate.NONE:
        plan["gate"], plan["rule"] = Gate.NONE, 0
        plan["hard"] = FALLBACK_STOP
        plan["sl"] = 0.9 * FALLBACK_STOP
        plan["n_legs"] = 0
        plan["trail_mode"] = TrailMode.OFF
    return plan


def rebuilt(session: Session, slot: int, held: Held, ts: int) -> dict[str, Any]:
    """The state of a position that the exchange holds, as fields of position_dt. The account is not touched.

    Raises
    ------
    ValueError
        The exchange states no entry price: nothing is managed without one.
    """
    if not (math.isfinite(held.entry_price) and held.entry_price > 0):
        raise ValueError(f"{held.symbol}: the exchange states no entry price")
    side, lots = (1 if held.lots > 0 else -1), abs(held.lots)
    instrument = session.instruments[slot]
    leverage = held.leverage if math.isfinite(held.leverage) and held.leverage >= 1 else 1.0
    plan = plan_for(session, slot, side, leverage)
    fill = np.zeros(1, fill_row_dt)
    fill["ts"], fill["symbol"], fill["side"] = ts, session.symbol_of(slot), side
    fill["trade_id"] = session.account["next_trade_id"][0]
    fill["kind"], fill["reason"], fill["lots"] = FillKind.ENTRY, Reason.ENTRY, lots
    fill["qty"] = steps_value_nb(lots, instrument["lot_num"], instrument["lot_den"])
    fill["price"] = fill["ref_price"] = held.entry_price
    position = np.zeros(1, position_dt)
    bar = int(session.bar_index[slot])
    open_position_nb(session.account.copy()[0], position[0], plan[0], fill[0], bar, instrument, session.params)
    if math.isfinite(held.isolated_margin) and held.isolated_margin > 0 and position["is_cross"][0] == 0:
        position["margin"] = held.isolated_margin
    return {name: position[name][0].tolist() for name in position.dtype.names or ()}


def default_trigger(session: Session, slot: int, held: Held) -> float:
    """Where the hard stop of a position goes: where the session says, else as an entry of it would have had it."""
    position = session.positions[slot]
    side = 1 if held.lots > 0 else -1
    if position["side"] == side and side * (held.entry_price - position["hard_price"]) > 0:  # False for NaN
        return float(position["hard_price"])
    plan = plan_for(session, slot, side, held.leverage if held.leverage >= 1 else 1.0)
    intent = session.stop_of(slot, plan[0], held.entry_price)
    if intent is not None:
        return intent.trigger_price
    return held.entry_price * (1.0 - side * FALLBACK_STOP)
