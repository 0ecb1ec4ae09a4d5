"""Who fills the orders in a backtest: the reference price lies on the path, slippage and fee come on top."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.costs import fee_nb, slippage_ratio_nb, slipped_price_nb
from qtsim.core.enums import FillKind, PriceKind, Reason, Side, Unfilled
from qtsim.core.floats import floor_steps_nb, steps_value_nb
from qtsim.core.margin import liquidation_price_nb
from qtsim.core.orders import has_stop_due_nb, is_reached_nb, makes_nb, order_reserve_nb, rests_nb
from qtsim.core.records import UNBOUND, Record, Records
from qtsim.core.sizing import AFFORD_TOLERANCE, MAX_LOTS, min_entry_lots_nb
from qtsim.core.slots import NO_SLOT


@kernel
def exchange_event_nb(position: Record, point: Record, params: Record) -> int:
    """What the exchange does at this point: LIQUIDATION before HARD_STOP, on touch, or NONE."""
    side = position["side"]
    mark = point["mark"]
    if side * (mark - position["liq_price"]) <= 0.0:
        return Reason.LIQUIDATION.value
    watched = mark if params["stops"]["hard_working_type"] == PriceKind.MARK else point["price"]
    if side * (watched - position["hard_price"]) <= 0.0:
        return Reason.HARD_STOP.value
    return Reason.NONE.value


@kernel
def start_liquidation_nb(
    fill: Record, position: Record, point: Record, symbol: int, bar: int, instrument: Record
) -> None:
    """What the liquidations of both margin modes have in common: all that is open, no fee of a market order."""
    start_fill_nb(
        fill,
        point["ts"],
        symbol,
        position["side"],
        position["trade_id"],
        Reason.LIQUIDATION.value,
        position["lots"],
        bar,
        instrument,
    )
    fill["kind"] = FillKind.LIQUIDATION.value
    fill["path_dependent"] = position["path_doubt"]
    fill["fee"] = 0.0
    fill["slippage"] = 0.0
    fill["stop_price"] = position["stop_price"]


@kernel
def start_fill_nb(
    fill: Record, ts: int, symbol: int, side: int, trade_id: int, reason: int, lots: int, bar: int, instrument: Record
) -> None:
    """What every fill has in common."""
    fill["ts"] = ts
    fill["symbol"] = symbol
    fill["side"] = side
    fill["trade_id"] = trade_id
    fill["reason"] = reason
    fill["lots"] = lots
    fill["qty"] = steps_value_nb(lots, instrument["lot_num"], instrument["lot_den"])
    fill["bar"] = bar
    fill["liq_fee"] = 0.0
    fill["pnl"] = 0.0
    fill["path_dependent"] = 0
    fill["is_maker"] = 0


@kernel
def set_price_nb(fill: Record, ref_price: float, price: float, fee_rate: float) -> None:
    """Price of a fill, its fee, and what lies between the path's price and its own."""
    fill["ref_price"] = ref_price
    fill["price"] = price
    fill["fee"] = fee_nb(fill["qty"] * price, fee_rate)
    fill["slippage"] = fill["qty"] * abs(price - ref_price)


@kernel
def price_market_fill_nb(fill: Record, point: Record, order_side: float, notional: float, costs: Record) -> None:
    """Taker fill of a market order around the point's last price."""
    ref_price = point["price"]
    ratio = slippage_ratio_nb(notional, point, costs)
    price = slipped_price_nb(ref_price, order_side, ratio)
    set_price_nb(fill, ref_price, price, costs["fees_taker"])


@kernel
def fill_entry_nb(
    fill: Record,
    plan: Record,
    position: Record,
    point: Record,
    lots: int,
    symbol: int,
    bar: int,
    instrument: Record,
    params: Record,
) -> None:
    """Fill `lots` of the slot's entry order: at the point's price, no worse than its limit, or as a maker at that."""
    side = plan["side"]
    start_fill_nb(fill, point["ts"], symbol, side, position["order_id"], Reason.ENTRY.value, lots, bar, instrument)
    fill["kind"] = FillKind.ENTRY.value
    if makes_nb(position):
        fill["is_maker"] = 1
        set_price_nb(fill, position["order_price"], position["order_price"], params["costs"]["fees_maker"])
        return
    notional = plan["notional"] if lots == plan["lots"] else fill["qty"] * point["price"]
    price_market_fill_nb(fill, point, float(side), notional, params["costs"])
    if side * (fill["price"] - position["order_price"]) > 0.0:
        set_price_nb(fill, fill["ref_price"], position["order_price"], params["costs"]["fees_taker"])


@kernel
def fill_exit_nb(
    fill: Record,
    position: Record,
    point: Record,
    symbol: int,
    reason: int,
    lots: int,
    bar: int,
    instrument: Record,
    params: Record,
) -> None:
    """Fill a reduce-only market order, or a triggered exchange stop, at the last price of this instant."""
    start_fill_nb(fill, point["ts"], symbol, position["side"], position["trade_id"], reason, lots, bar, instrument)
    fill["kind"] = FillKind.EXIT.value
    fill["path_dependent"] = position["path_doubt"]
    notional = fill["qty"] * point["price"]
    price_market_fill_nb(fill, point, -float(position["side"]), notional, params["costs"])
    fill["stop_price"] = position["stop_price"]


@kernel
def fill_liquidation_nb(
    fill: Record, position: Record, point: Record, symbol: int, bar: int, instrument: Record
) -> None:
    """Settle a liquidation at mark. Loss and fee together never exceed the isolated margin.

    Where the loss at mark alone would, the position is settled at the price at which it equals the margin.
    """
    start_liquidation_nb(fill, position, point, symbol, bar, instrument)
    side = float(position["side"])
    qty = fill["qty"]
    price = point["mark"]
    loss = side * qty * (position["entry_price"] - price)
    if loss >= position["margin"]:
        price = position["entry_price"] - side * position["margin"] / qty
        fill["liq_fee"] = 0.0
    else:
        fee = fee_nb(qty * price, instrument["liquidation_fee"])
        fill["liq_fee"] = min(fee, position["margin"] - loss)
    fill["ref_price"] = price
    fill["price"] = price


@kernel
def fill_cross_liquidation_nb(
    fill: Record,
    position: Record,
    point: Record,
    symbol: int,
    bar: int,
    margin_balance: float,
    least_pnl: float,
    instrument: Record,
) -> None:
    """Settle one position of a liquidated cross account at mark. The account never loses more than it has.

    margin_balance: wallet and unrealized PnL of all that is still open; the fee is no more than that. least_pnl: of
    this position; where its PnL at mark is lower, it is settled at the price of `least_pnl`, without a fee.
    """
    start_liquidation_nb(fill, position, point, symbol, bar, instrument)
    side = float(position["side"])
    qty = fill["qty"]
    price = point["mark"]
    if side * qty * (price - position["entry_price"]) < least_pnl:
        price = position["entry_price"] + side * least_pnl / qty
        fill["liq_fee"] = 0.0
    else:
        fill["liq_fee"] = min(fee_nb(qty * price, instrument["liquidation_fee"]), max(0.0, margin_balance))
    fill["ref_price"] = price
    fill["price"] = price


# How much of an order a bar fills -------------------------------------------------------------------------------------


@kernel
def room_lots_nb(volume: float, instrument: Record, sim: Record) -> int:
    """Whole lots that orders may take of a bar, or a trade, of `volume`; UNBOUND where no share is set."""
    share = sim["volume_max_share"]
    if share == np.inf:
        return UNBOUND
    qty = share * volume
    if not qty > 0.0:
        return 0
    if qty * instrument["lot_den"] / instrument["lot_num"] > MAX_LOTS:
        return UNBOUND
    return floor_steps_nb(qty, instrument["lot_num"], instrument["lot_den"])


@kernel
def take_room_nb(points: Records, i: int, other: int, lots: int) -> None:
    """What slot `i` fills its symbol's later orders of this bar do not get. other: slot of the symbol's other side."""
    if points[i]["room"] == UNBOUND:
        return
    points[i]["room"] = max(points[i]["room"] - lots, 0)
    if other != NO_SLOT:
        points[other]["room"] = points[i]["room"]


@kernel
def entry_lots_nb(position: Record, point: Record, instrument: Record, sim: Record) -> int:
    """Lots of the entry order that this bar fills.

    With `unfilled = cancel` a first part that the exchange would refuse as an entry of its own does not happen.
    """
    lots = min(position["order_lots"], point["room"])
    if lots == position["order_lots"] or sim["volume_unfilled"] == Unfilled.WAIT or position["order_filled"] > 0:
        return lots
    return lots if lots >= min_entry_lots_nb(point["price"], instrument) else 0


@kernel
def watches_order_nb(position: Record, point: Record, sim: Record) -> bool:
    """Can the path fill a limit entry that stands in the book? Not while it waits for another bar's volume."""
    return rests_nb(position) and (point["room"] > 0 or not may_wait_nb(sim))


@kernel
def meets_order_nb(position: Record, point: Record, sim: Record) -> bool:
    """Does this point fill a limit entry that stands in the book, or give up its rest?"""
    return watches_order_nb(position, point, sim) and is_reached_nb(position, point["price"])


@kernel
def order_band_nb(position: Record, point: Record, sim: Record) -> tuple[float, float]:
    """Last prices (below, above) at which a standing limit entry is traded through; ∓inf where none is."""
    if not watches_order_nb(position, point, sim):
        return -np.inf, np.inf
    if position["order_side"] > 0:
        return position["order_trigger"], np.inf
    return -np.inf, position["order_trigger"]


@kernel
def leg_lots_now_nb(lots: int, point: Record) -> int:
    """Of the `lots` of a leg those that this bar fills."""
    return min(lots, point["room"])


@kernel
def may_wait_nb(sim: Record) -> bool:
    """Does what a bar's volume leaves over wait for the next bar's?"""
    return sim["volume_unfilled"] == Unfilled.WAIT


@kernel
def needed_margin_nb(position: Record, plan: Record, point: Record, instrument: Record, costs: Record) -> float:
    """Margin and fee of what is still to be filled, at the price of now."""
    qty = steps_value_nb(position["order_lots"], instrument["lot_num"], instrument["lot_den"])
    notional = qty * point["price"]
    return notional / plan["leverage"] + fee_nb(notional, costs["fees_taker"])


@kernel
def is_affordable_nb(
    position: Record, plan: Record, point: Record, available: float, instrument: Record, costs: Record
) -> bool:
    """Can the account still pay for what is to be filled? available: without what the order itself reserves."""
    needed = needed_margin_nb(position, plan, point, instrument, costs)
    return needed <= (available + order_reserve_nb(position, costs)) * (1.0 + AFFORD_TOLERANCE)


@kernel
def keeps_order_nb(position: Record, point: Record, instrument: Record, costs: Record) -> bool:
    """Does the hard stop still stand before liquidation once all that is to be filled has been, at the price of now?

    A price that has run away moves the average entry, and liquidation with it, but not the stop of the first part.
    """
    if position["side"] == Side.NONE or position["is_cross"] == 1:
        return True
    hard = position["hard_due_price"] if has_stop_due_nb(position) else position["hard_price"]
    if hard != hard:
        return True
    side = float(position["side"])
    more = steps_value_nb(position["order_lots"], instrument["lot_num"], instrument["lot_den"])
    price = slipped_price_nb(point["price"], side, slippage_ratio_nb(more * point["price"], point, costs))
    if makes_nb(position):
        price = position["order_price"]
    qty = position["qty"] + more
    entry = (position["notional"] + more * price) / qty
    margin = position["margin"] + more * price / position["leverage"]
    liquidation = liquidation_price_nb(side, qty, entry, margin, instrument)
    return not side * (hard - liquidation) <= 0.0
