"""Who fills the orders in a backtest: the reference price lies on the path, slippage and fee come on top."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.costs import fee_nb, slippage_ratio_nb, slipped_price_nb
from qtsim.core.enums import FillKind, PriceKind, Reason
from qtsim.core.floats import steps_value_nb
from qtsim.core.records import Record


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


@kernel
def price_market_fill_nb(fill: Record, point: Record, order_side: float, notional: float, costs: Record) -> None:
    """Taker fill of a market order around the point's last price."""
    ref_price = point["price"]
    ratio = slippage_ratio_nb(notional, point, costs)
    price = slipped_price_nb(ref_price, order_side, ratio)
    fill["ref_price"] = ref_price
    fill["price"] = price
    fill["fee"] = fee_nb(fill["qty"] * price, costs["fees_taker"])
    fill["slippage"] = fill["qty"] * abs(price - ref_price)


@kernel
def fill_entry_nb(
    fill: Record, plan: Record, point: Record, symbol: int, trade_id: int, bar: int, instrument: Record, params: Record
) -> None:
    """Fill a market entry of the plan at the point's last price."""
    start_fill_nb(fill, point["ts"], symbol, plan["side"], trade_id, Reason.ENTRY.value, plan["lots"], bar, instrument)
    fill["kind"] = FillKind.ENTRY.value
    price_market_fill_nb(fill, point, float(plan["side"]), plan["notional"], params["costs"])


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
