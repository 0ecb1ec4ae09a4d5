"""The only functions that change quantity, legs and cash: fills, funding, the end of a trade, marking to market."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import ExitPolicy, HarvestBasis, MarginMode, Reason, Working
from qtsim.core.floats import steps_value_nb
from qtsim.core.guards import clear_guard_prices_nb, set_guard_prices_nb
from qtsim.core.harvest import set_leg_lots_nb, share_out_rest_nb
from qtsim.core.margin import liquidation_price_nb
from qtsim.core.orders import end_order_nb, reserved_nb
from qtsim.core.params import LEGS_MAX, TARGETS, WINDOW_MAX
from qtsim.core.records import NEVER, NO_ACTION, Record, Records
from qtsim.core.sizing import min_lots_nb
from qtsim.core.stops import (
    clear_engine_prices_nb,
    ratchet_stop_nb,
    set_engine_prices_nb,
    set_stop_prices_nb,
    set_target_prices_nb,
)
from qtsim.core.trailing import better_price_nb


@kernel
def set_point_nb(point: Record, ts: int, price: float, mark: float) -> None:
    """Show a symbol's new price. Where last price or mark is missing nothing can be judged: price NaN, the mark stays.

    Equity so holds the last mark known.
    """
    point["ts"] = ts
    if price != price or mark != mark:
        point["price"] = np.nan
        return
    point["price"] = price
    point["mark"] = mark


@kernel
def show_signal_nb(point: Record, signal: Record, ts: int) -> None:
    """What a bar's close at `ts` has made known is in force from now on."""
    point["known_ts"] = ts
    point["atr"] = signal["atr"]
    point["volatility_factor"] = signal["volatility_factor"]
    point["thinness"] = signal["thinness"]
    point["regime"] = signal["regime"]
    point["leader_24h"] = signal["leader_24h"]
    point["divergence"] = signal["divergence"]
    point["funding_delta"] = signal["funding_delta"]
    point["funding_rate"] = signal["funding_rate"]


@kernel
def unrealized_pnl_nb(position: Record, mark: float) -> float:
    """side · qty · (mark - entry), quote; 0 when flat."""
    if position["side"] == 0:
        return 0.0
    return position["side"] * position["qty"] * (mark - position["entry_price"])


@kernel
def trade_equity_nb(position: Record, mark: float) -> float:
    """What a trade has brought so far, realized and unrealized, net of its costs; also right after it has ended.

    Free of the wallet, so that comparing two outcomes of one trade does not depend on the rest of the account.
    """
    net = position["price_pnl"] - position["fees"] - position["liq_fee"] + position["funding"]
    return net + unrealized_pnl_nb(position, mark)


@kernel
def equity_nb(account: Record, positions: Records, points: Records) -> float:
    """Wallet and unrealized PnL at the points' marks, summed in symbol order."""
    equity = account["wallet"]
    for i in range(len(positions)):
        if positions[i]["side"] != 0:
            equity += unrealized_pnl_nb(positions[i], points[i]["mark"])
    return equity


@kernel
def margin_used_nb(positions: Records) -> float:
    """Margins in use, summed in symbol order: isolated ones, or with cross the initial margins of what is open."""
    total = 0.0
    for i in range(len(positions)):
        if positions[i]["side"] != 0:
            total += positions[i]["margin"]
    return total


@kernel
def available_nb(account: Record, positions: Records, points: Records, params: Record) -> float:
    """What can back new positions: wallet less margins in use and reserved; cross adds unrealized PnL at mark."""
    funds = account["wallet"]
    if params["account"]["mode_margin"] == MarginMode.CROSS:
        funds = equity_nb(account, positions, points)
    return funds - margin_used_nb(positions) - reserved_nb(positions, params["costs"])


@kernel
def initial_margin_nb(positions: Records) -> float:
    """Initial margins of what is still open, free of funding, summed in symbol order."""
    total = 0.0
    for i in range(len(positions)):
        if positions[i]["side"] != 0:
            total += positions[i]["init_margin"] * positions[i]["lots"] / positions[i]["init_lots"]
    return total


@kernel
def note_share_of_equity_nb(account: Record, margin: float, equity: float) -> None:
    """Remember the largest share of equity that margins bound."""
    if equity > 0.0:
        account["max_margin_use"] = max(account["max_margin_use"], margin / equity)


@kernel
def note_margin_use_nb(account: Record, positions: Records, points: Records) -> None:
    """Remember the share of equity that margins bind now, if it is the largest."""
    note_share_of_equity_nb(account, margin_used_nb(positions), equity_nb(account, positions, points))


@kernel
def mark_to_market_nb(account: Record, positions: Records, points: Records, ts: int, out: Record) -> None:
    """Write the account at a boundary into an equity row; sums as in `equity_nb` and `margin_used_nb`, in one pass."""
    equity = account["wallet"]
    unrealized = 0.0
    margin = 0.0
    notional = 0.0
    count = 0
    for i in range(len(positions)):
        position = positions[i]
        if position["side"] != 0:
            pnl = unrealized_pnl_nb(position, points[i]["mark"])
            equity += pnl
            unrealized += pnl
            margin += position["margin"]
            notional += position["qty"] * points[i]["mark"]
            count += 1
    out["ts"] = ts
    out["equity"] = equity
    out["wallet"] = account["wallet"]
    out["unrealized_pnl"] = unrealized
    out["margin"] = margin
    out["notional"] = notional
    out["positions"] = count
    note_share_of_equity_nb(account, margin, equity)


@kernel
def observe_nb(position: Record, price: float, mark: float) -> None:
    """Remember the best and worst price since entry and the smallest distance to liquidation seen at a point.

    The distance is so computed that it is monotone in the mark in floating point too: of several marks the extreme
    ones are enough.
    """
    side = float(position["side"])
    position["best_price"] = better_price_nb(position["best_price"], price, side)
    position["worst_price"] = better_price_nb(position["worst_price"], price, -side)
    if position["liq_price"] == position["liq_price"] and mark > 0.0:
        distance = side * (1.0 - position["liq_price"] / mark)
        position["min_liq_distance"] = min(position["min_liq_distance"], distance)


@kernel
def refresh_liquidation_nb(position: Record, instrument: Record) -> None:
    """Liquidation price of what is open now; none with cross margin, where the whole account is judged."""
    if position["is_cross"] == 1:
        position["liq_price"] = np.nan
        return
    position["liq_price"] = liquidation_price_nb(
        float(position["side"]), position["qty"], position["entry_price"], position["margin"], instrument
    )


@kernel
def open_position_nb(
    account: Record, position: Record, plan: Record, fill: Record, bar: int, instrument: Record, params: Record
) -> None:
    """Apply an entry's fill: quantity, margin, and every level from the real entry price."""
    side = plan["side"]
    position["side"] = side
    position["symbol"] = fill["symbol"]
    position["trade_id"] = fill["trade_id"]
    position["lots"] = fill["lots"]
    position["init_lots"] = fill["lots"]
    position["qty"] = fill["qty"]
    position["init_qty"] = fill["qty"]
    position["entry_price"] = fill["price"]
    position["entry_ref_price"] = fill["ref_price"]
    position["entry_ts"] = fill["ts"]
    position["entry_bar"] = bar
    position["leverage"] = plan["leverage"]
    position["notional"] = fill["qty"] * fill["price"]
    position["margin"] = position["notional"] / plan["leverage"]
    position["init_margin"] = position["margin"]
    position["is_cross"] = params["account"]["mode_margin"]
    position["confidence"] = plan["confidence"]
    position["tag"] = plan["tag"]
    position["flags"] = plan["flags"]
    position["capped_by"] = plan["capped_by"]
    position["lsf"] = plan["lsf"]
    position["planned_stop"] = plan["sl"]
    position["n_legs"] = plan["n_legs"]
    position["next_leg"] = 0
    position["legs_hit"] = 0
    position["breakeven_done"] = 0
    position["trail_active"] = 0
    position["peak"] = np.nan
    # the fill's own price is the best so far, the path's the worst: between them lies the slippage
    position["best_price"] = fill["price"]
    position["worst_price"] = fill["ref_price"]
    position["min_liq_distance"] = np.inf
    position["exit_value"] = 0.0
    position["price_pnl"] = 0.0
    position["fees"] = fill["fee"]
    position["slippage"] = fill["slippage"]
    position["funding"] = 0.0
    position["liq_fee"] = 0.0
    position["entry_regime"] = plan["regime"]
    position["entry_leader_regime"] = plan["leader_regime"]
    position["entry_mode"] = plan["mode"]
    position["rl_state"] = plan["rl_state"] if plan["has_action"] == 1 else NO_ACTION
    position["rl_action"] = plan["rl_action"] if plan["has_action"] == 1 else NO_ACTION
    position["seen_regime"] = plan["regime"]
    position["regime_done"] = 0 if params["exit"]["policy"] == ExitPolicy.EXIT_BRAIN else 1
    position["reduce_after"] = NEVER
    position["close_after"] = NEVER
    position["defensive_done"] = 0
    position["base_tp"] = plan["base_tp"]
    position["base_sl"] = plan["base_sl"]
    position["avg_pnl"] = plan["avg_pnl"]
    position["plan_ts"] = fill["ts"]
    position["path_dependent"] = 0
    position["leg_waits"] = 0
    set_stop_prices_nb(position, plan, instrument, params)
    set_target_prices_nb(position, plan, instrument)
    clear_engine_prices_nb(position)
    clear_guard_prices_nb(position)
    policy = params["exit"]["policy"]
    if policy != ExitPolicy.BRACKET:
        set_engine_prices_nb(position, plan, params)
        set_guard_prices_nb(position, params)
    basis = params["harvest"]["basis"] if policy == ExitPolicy.EXIT_BRAIN else HarvestBasis.REMAINING.value
    for k in range(LEGS_MAX):
        position["fractions"][k] = plan["fractions"][k]
    set_leg_lots_nb(position, 0, basis, min_lots_nb(instrument))
    refresh_liquidation_nb(position, instrument)
    position["init_liq_price"] = position["liq_price"]
    account["wallet"] -= fill["fee"]
    account["fees"] += fill["fee"]
    account["slippage"] += fill["slippage"]
    fill["stop_price"] = position["stop_price"]
    fill["wallet"] = account["wallet"]


@kernel
def add_part_nb(account: Record, position: Record, fill: Record, instrument: Record, params: Record) -> None:
    """Apply a further part of an entry: quantity, margin, the volume-weighted entry price, the legs' lots.

    Levels stay where the first part put them. No leg has been hit: the first one ends the entry.
    """
    qty = position["qty"] + fill["qty"]
    notional = fill["qty"] * fill["price"]
    position["entry_price"] = (position["notional"] + notional) / qty
    position["entry_ref_price"] = (
        position["entry_ref_price"] * position["qty"] + fill["ref_price"] * fill["qty"]
    ) / qty
    position["lots"] += fill["lots"]
    position["init_lots"] = position["lots"]
    position["qty"] = steps_value_nb(position["lots"], instrument["lot_num"], instrument["lot_den"])
    position["init_qty"] = position["qty"]
    side = float(position["side"])
    position["best_price"] = better_price_nb(position["best_price"], position["entry_price"], side)
    position["worst_price"] = better_price_nb(position["worst_price"], position["entry_price"], -side)
    position["notional"] += notional
    position["margin"] += notional / position["leverage"]
    position["init_margin"] += notional / position["leverage"]
    position["fees"] += fill["fee"]
    position["slippage"] += fill["slippage"]
    by_policy = params["exit"]["policy"] == ExitPolicy.EXIT_BRAIN
    basis = params["harvest"]["basis"] if by_policy else HarvestBasis.REMAINING.value
    set_leg_lots_nb(position, 0, basis, min_lots_nb(instrument))
    refresh_liquidation_nb(position, instrument)
    position["init_liq_price"] = position["liq_price"]
    account["wallet"] -= fill["fee"]
    account["fees"] += fill["fee"]
    account["slippage"] += fill["slippage"]
    fill["stop_price"] = position["stop_price"]
    fill["wallet"] = account["wallet"]


@kernel
def reduce_position_nb(account: Record, position: Record, fill: Record, instrument: Record, params: Record) -> None:
    """Apply an exit's fill: realize its price PnL, pay its costs, release margin in proportion.

    After the governor's half profit_lock's legs are of what remains; those of the others have closed it already. An
    entry that is still being filled ends.
    """
    end_order_nb(position)
    pnl = position["side"] * fill["qty"] * (fill["price"] - position["entry_price"])
    fill["pnl"] = pnl
    account["wallet"] += pnl - fill["fee"] - fill["liq_fee"]
    account["price_pnl"] += pnl
    account["fees"] += fill["fee"]
    account["slippage"] += fill["slippage"]
    account["liq_fees"] += fill["liq_fee"]
    position["price_pnl"] += pnl
    position["fees"] += fill["fee"]
    position["slippage"] += fill["slippage"]
    position["liq_fee"] += fill["liq_fee"]
    position["exit_value"] += fill["qty"] * fill["price"]
    remaining = position["lots"] - fill["lots"]
    position["margin"] = position["margin"] * remaining / position["lots"]
    position["lots"] = remaining
    position["qty"] = steps_value_nb(remaining, instrument["lot_num"], instrument["lot_den"])
    position["path_dependent"] += fill["path_dependent"]
    if remaining > 0:
        refresh_liquidation_nb(position, instrument)
        if fill["reason"] == Reason.GOVERNOR and params["exit"]["policy"] == ExitPolicy.PROFIT_LOCK:
            share_out_rest_nb(position, min_lots_nb(instrument))
    fill["wallet"] = account["wallet"]


@kernel
def hit_leg_nb(position: Record, instrument: Record, params: Record) -> None:
    """Count the next leg as hit, with or without a fill; exit_brain's ratchet acts on what stays open.

    An entry that is still being filled ends.
    """
    end_order_nb(position)
    position["leg_waits"] = 0
    position["next_leg"] += 1
    position["legs_hit"] += 1
    if position["lots"] > 0 and params["exit"]["policy"] == ExitPolicy.EXIT_BRAIN:
        ratchet_stop_nb(position, instrument, params["stops"])


@kernel
def wait_for_volume_nb(position: Record) -> None:
    """The next leg found too little volume: it is tried again at the next open. An entry still being filled ends."""
    end_order_nb(position)
    position["leg_waits"] = 1


@kernel
def apply_funding_nb(account: Record, position: Record, amount: float, instrument: Record) -> None:
    """Book a funding payment (received positive): the wallet moves, and an isolated margin with it."""
    account["wallet"] += amount
    account["funding"] += amount
    position["funding"] += amount
    if position["is_cross"] == 0:
        position["margin"] += amount
    refresh_liquidation_nb(position, instrument)


@kernel
def close_trade_nb(account: Record, position: Record, fill: Record, symbol: int, bar: int, out: Record) -> None:
    """Write the finished trade, remember its returns, and make the position flat."""
    entry = position["entry_price"]
    net = position["price_pnl"] - position["fees"] - position["liq_fee"] + position["funding"]
    out["trade_id"] = position["trade_id"]
    out["symbol"] = symbol
    out["side"] = position["side"]
    out["entry_ts"] = position["entry_ts"]
    out["exit_ts"] = fill["ts"]
    out["entry_bar"] = position["entry_bar"]
    out["exit_bar"] = bar
    out["entry_price"] = entry
    out["exit_price"] = position["exit_value"] / position["init_qty"]
    out["qty"] = position["init_qty"]
    out["lots"] = position["init_lots"]
    out["leverage"] = position["leverage"]
    out["notional"] = position["notional"]
    out["margin"] = position["init_margin"]
    out["pnl"] = net
    out["price_pnl"] = position["price_pnl"]
    out["ret"] = net / position["notional"]
    out["roe"] = net / position["init_margin"]
    out["fees"] = position["fees"]
    out["slippage"] = position["slippage"]
    out["funding"] = position["funding"]
    out["liq_fee"] = position["liq_fee"]
    out["exit_reason"] = fill["reason"]
    out["tag"] = position["tag"]
    out["r_multiple"] = np.nan
    if position["planned_stop"] < np.inf:
        out["r_multiple"] = net / (position["notional"] * position["planned_stop"])
    side = float(position["side"])
    out["mae"] = side * (position["worst_price"] / entry - 1.0)
    out["mfe"] = side * (position["best_price"] / entry - 1.0)
    out["confidence"] = position["confidence"]
    out["planned_stop"] = position["planned_stop"]
    out["init_stop_price"] = position["init_stop_price"]
    out["hard_price"] = position["hard_price"]
    out["backup_price"] = position["backup_price"]
    out["liq_price"] = position["init_liq_price"]
    for k in range(TARGETS):
        out["tp_price"][k] = position["tp_price"][k]
    out["legs_hit"] = position["legs_hit"]
    out["flags"] = position["flags"]
    out["capped_by"] = position["capped_by"]
    out["path_dependent"] = position["path_dependent"]
    out["min_liq_distance"] = position["min_liq_distance"]
    out["lsf"] = position["lsf"]
    out["stop_price"] = position["stop_price"]
    out["peak"] = position["peak"]
    out["regime"] = position["entry_regime"]
    out["leader_regime"] = position["entry_leader_regime"]
    out["mode"] = position["entry_mode"]
    out["rl_state"] = position["rl_state"]
    out["rl_action"] = position["rl_action"]
    slot = account["closed_trades"] % WINDOW_MAX
    account["trade_ret"][slot] = out["ret"]
    account["trade_roe"][slot] = out["roe"]
    account["closed_trades"] += 1
    position["working"] = Working.NONE.value
    position["side"] = 0
