"""Regular orders at the emulated exchange: rules, matching, answers, events."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from qtsim.emulator import FillRule
from tests.emulator_desk import Desk

REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "unknown symbol": ({"symbol": "XYZUSDT"}, -1121),
    "no side": ({"side": ""}, -1102),
    "a side that there is not": ({"side": "HOLD"}, -1117),
    "a type that there is not": ({"type": "ICEBERG"}, -1116),
    "no quantity": ({"quantity": ""}, -1102),
    "quantity 0": ({"quantity": 0}, -4003),
    "below the smallest quantity": ({"quantity": "0.0001"}, -4004),
    "above the largest market quantity": ({"quantity": 121}, -4005),
    "off the step": ({"quantity": "0.0015"}, -1111),
    "no number": ({"quantity": "much"}, -1100),
    "a number below 0": ({"quantity": "-0.01"}, -1100),
    "an exponent": ({"quantity": "1e-02"}, -1100),
    "below the smallest notional": ({"quantity": "0.001", "type": "LIMIT", "price": 49_000}, -1102),
    "notional": ({"quantity": "0.001", "type": "LIMIT", "price": 49_000, "timeInForce": "GTC"}, -4164),
    "price off the tick": ({"type": "LIMIT", "price": "49000.05", "timeInForce": "GTC"}, -4014),
    "price 0": ({"type": "LIMIT", "price": 0, "timeInForce": "GTC"}, -4013),
    "price above the band": ({"type": "LIMIT", "price": 52_501, "timeInForce": "GTC"}, -4016),
    "price below the band": ({"side": "SELL", "type": "LIMIT", "price": 47_499, "timeInForce": "GTC"}, -4024),
    "a price of a market order": ({"price": 49_000}, -1106),
    "a time in force that there is not": ({"type": "LIMIT", "price": 49_000, "timeInForce": "DAY"}, -1115),
    "good till a past date": (
        {"type": "LIMIT", "price": 49_000, "timeInForce": "GTD", "goodTillDate": 1_600_000_000_000},
        -1130,
    ),
    "client id with a blank": ({"newClientOrderId": "a b"}, -4015),
    "client id of 37 characters": ({"newClientOrderId": "x" * 37}, -4015),
    "position side in one-way mode": ({"positionSide": "LONG"}, -4061),
    "reduceOnly while flat": ({"reduceOnly": "true"}, -2022),
    "more than the margin": ({"quantity": 10}, -2019),
    "conditional": ({"type": "TAKE_PROFIT"}, -4120),
    "stp mode": ({"selfTradePreventionMode": "BOTH"}, -1130),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_refused_order_leaves_no_trace(case: tuple[dict[str, Any], int]) -> None:
    params, code = case
    desk = Desk()
    answer = desk.order(**{"side": "BUY", "qty": "0.01", **params})
    assert (answer.status, answer.code) == (400, code)
    assert desk.told() == []
    assert desk.send("GET", "allOrders", symbol="BTCUSDT").body == []
    assert desk.wallet == 10_000


def test_a_market_order_fills_at_the_last_price_and_pays_the_taker_fee() -> None:
    desk = Desk()
    answer = desk.order("BUY", "0.01", newClientOrderId="qt-1").body
    assert (answer["status"], answer["clientOrderId"], answer["executedQty"], answer["cumQuote"]) == (
        "FILLED",
        "qt-1",
        "0.010",
        "500.00000000",
    )
    assert Decimal(answer["avgPrice"]) == 50_000
    assert desk.wallet == Decimal("9999.75")
    new, trade, account = desk.events()
    assert (new["o"]["x"], new["o"]["X"], new["o"]["z"]) == ("NEW", "NEW", "0")
    assert (trade["o"]["x"], trade["o"]["L"], trade["o"]["n"], trade["o"]["N"]) == ("TRADE", "50000", "0.25", "USDT")
    assert (account["a"]["B"][0]["wb"], account["a"]["P"][0]["pa"]) == ("9999.75000000", "0.01")
    assert desk.send("GET", "userTrades", symbol="BTCUSDT").body[0]["commission"] == "0.25"


def test_slippage_goes_against_the_order_exactly_as_in_the_simulator() -> None:
    desk = Desk(price="50000.1", fill=FillRule(slippage_bps=2.0))
    bought = float(desk.order("BUY", "0.01").body["avgPrice"])
    assert bought == 50_000.1 * (1.0 + 1.0 * (2.0 * 1e-4))
    commission = desk.send("GET", "userTrades", symbol="BTCUSDT").body[0]["commission"]
    assert float(commission) == 0.01 * bought * 0.0005
    sold = float(desk.order("SELL", "0.01").body["avgPrice"])
    assert sold == 50_000.1 * (1.0 - 1.0 * (2.0 * 1e-4))


def test_fills_may_be_held_to_the_tick() -> None:
    desk = Desk(price="50000.1", fill=FillRule(slippage_bps=2.0, on_tick=True))
    assert Decimal(desk.order("BUY", "0.01").body["avgPrice"]) == Decimal("50010.2")
    assert Decimal(desk.order("SELL", "0.01").body["avgPrice"]) == Decimal("49990.0")


# (side, limit price, time in force) → status at once; last price 50,000
ARRIVALS = {
    "buy below rests": ("BUY", 49_900, "GTC", "NEW"),
    "buy at the last price rests": ("BUY", 50_000, "GTC", "NEW"),
    "buy above takes": ("BUY", "50000.1", "GTC", "FILLED"),
    "sell above rests": ("SELL", 50_100, "GTC", "NEW"),
    "sell below takes": ("SELL", 49_900, "GTC", "FILLED"),
    "immediate or cancel": ("BUY", 49_900, "IOC", "EXPIRED"),
    "immediate takes": ("BUY", 50_100, "IOC", "FILLED"),
    "fill or kill takes": ("BUY", 50_100, "FOK", "FILLED"),
    "post only rests": ("BUY", 49_900, "GTX", "NEW"),
}


@pytest.mark.parametrize("case", ARRIVALS.values(), ids=ARRIVALS)
def test_a_limit_order_on_arrival(case: tuple[str, int, str, str]) -> None:
    side, price, time_in_force, status = case
    desk = Desk()
    answer = desk.limit(side, "0.01", price, timeInForce=time_in_force)
    assert desk.send("GET", "order", symbol="BTCUSDT", orderId=answer.body["orderId"]).body["status"] == status
    if status == "FILLED":
        assert Decimal(answer.body["avgPrice"]) == 50_000


def test_post_only_and_fill_or_kill_are_refused_where_they_cannot_be_what_they_are() -> None:
    desk = Desk()
    assert desk.limit("BUY", "0.01", 50_001, timeInForce="GTX").code == -5022
    assert desk.limit("BUY", "0.01", 49_999, timeInForce="FOK").code == -5021
    assert desk.send("GET", "allOrders", symbol="BTCUSDT").body == []


def test_a_resting_order_fills_when_traded_through_and_not_when_touched() -> None:
    desk = Desk()
    desk.limit("BUY", "0.01", 49_900, newClientOrderId="rest")
    desk.move("49900")
    assert desk.qty() == 0
    desk.move("49899.9")
    trade = desk.send("GET", "userTrades", symbol="BTCUSDT").body[0]
    assert (trade["price"], trade["maker"], trade["commission"]) == ("49900", True, "0.0998")


def test_a_resting_order_can_fill_in_parts() -> None:
    desk = Desk()
    order = desk.limit("BUY", "0.03", 49_900).body["orderId"]
    desk.control.fill_resting(order, "0.01")
    assert desk.told() == ["ORDER NEW", "ORDER TRADE PARTIALLY_FILLED", "ACCOUNT ORDER"]
    cancelled = desk.send("DELETE", "order", symbol="BTCUSDT", orderId=order).body
    assert (cancelled["status"], cancelled["executedQty"]) == ("CANCELED", "0.010")
    assert desk.qty() == Decimal("0.01")


def test_a_dated_order_expires() -> None:
    desk = Desk()
    desk.limit("BUY", "0.01", 49_900, timeInForce="GTD", goodTillDate=desk.now_ms + 30_000)
    desk.move(50_000)
    assert len(desk.send("GET", "openOrders").body) == 1
    desk.move(50_000)
    assert desk.send("GET", "openOrders").body == []
    assert desk.told()[-1] == "ORDER EXPIRED"


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    desk = Desk()
    desk.limit("BUY", "0.01", 49_900, newClientOrderId="a")
    assert desk.limit("BUY", "0.01", 49_800, newClientOrderId="a").code == -4116
    desk.order("BUY", "0.01", newClientOrderId="b")
    assert desk.order("BUY", "0.01", newClientOrderId="b").status == 200  # filled twice: the trap of blind resending
    assert desk.qty() == Decimal("0.02")


def test_an_order_against_the_position_closes_and_then_opens_the_other_side() -> None:
    desk = Desk()
    desk.order("BUY", "0.02")
    desk.move(51_000)
    desk.order("SELL", "0.03")
    assert desk.qty() == Decimal("-0.01")
    trade = desk.send("GET", "userTrades", symbol="BTCUSDT").body[-1]
    assert trade["realizedPnl"] == "20.00000000"
    risk = desk.send("GET", "/fapi/v3/positionRisk").body[0]
    assert (risk["positionAmt"], risk["entryPrice"]) == ("-0.010", "51000")


def test_reduce_only_never_flips() -> None:
    desk = Desk()
    desk.order("BUY", "0.02")
    answer = desk.order("SELL", "0.05", reduceOnly="true").body
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.020")
    assert desk.qty() == 0


def test_hedge_sides_are_apart_and_closing_more_than_is_open_is_refused() -> None:
    desk = Desk(hedge=True)
    desk.order("BUY", "0.02", positionSide="LONG")
    desk.order("SELL", "0.01", positionSide="SHORT")
    assert (desk.qty("LONG"), desk.qty("SHORT")) == (Decimal("0.02"), Decimal("-0.01"))
    assert desk.order("SELL", "0.03", positionSide="LONG").code == -2022
    assert desk.order("SELL", "0.01", positionSide="LONG", reduceOnly="true").code == -1106
    assert desk.order("SELL", "0.01").code == -4061
    assert desk.order("SELL", "0.02", positionSide="LONG").status == 200
    assert [row["positionSide"] for row in desk.send("GET", "/fapi/v3/positionRisk").body] == ["SHORT"]


def test_amending_changes_price_and_quantity_of_a_resting_order() -> None:
    desk = Desk()
    order = desk.limit("BUY", "0.01", 49_000).body["orderId"]
    same = {"symbol": "BTCUSDT", "orderId": order, "side": "BUY"}
    assert desk.send("PUT", "order", **same, quantity="0.01", price=49_000).code == -5027
    changed = desk.send("PUT", "order", **same, quantity="0.02", price=49_100).body
    assert (changed["origQty"], changed["price"]) == ("0.020", "49100.0")
    assert desk.told() == ["ORDER NEW", "ORDER AMENDMENT NEW"]
    assert desk.send("PUT", "order", **same, quantity="100", price=49_100).code == -2019
    assert desk.send("GET", "order", symbol="BTCUSDT", orderId=order).body["origQty"] == "0.020"


def test_a_batch_answers_each_order_by_itself() -> None:
    desk = Desk()
    good = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.01", "timeInForce": "GTC"}
    orders = [{**good, "price": "49000"}, {**good, "price": "49000.05"}]
    first, second = desk.send("POST", "batchOrders", batchOrders=json.dumps(orders)).body
    assert (first["status"], second["code"]) == ("NEW", -4014)
    assert desk.send("POST", "batchOrders", batchOrders=json.dumps(orders * 3)).code == -1130
    ids = json.dumps([first["orderId"], 77])
    done = desk.send("DELETE", "batchOrders", symbol="BTCUSDT", orderIdList=ids).body
    assert (done[0]["status"], done[1]["code"]) == ("CANCELED", -2011)


def test_cancelling_what_does_not_rest_is_refused() -> None:
    desk = Desk()
    filled = desk.order("BUY", "0.01").body["orderId"]
    assert desk.send("DELETE", "order", symbol="BTCUSDT", orderId=filled).code == -2011
    assert desk.send("DELETE", "order", symbol="BTCUSDT", orderId=77).code == -2011
    assert desk.send("DELETE", "order", symbol="BTCUSDT").code == -1102
    assert desk.send("GET", "order", symbol="BTCUSDT", orderId=77).code == -2013
    assert desk.send("GET", "openOrder", symbol="BTCUSDT", orderId=filled).code == -2013


def test_a_countdown_cancels_regular_orders_alone_unless_it_is_set_anew() -> None:
    desk = Desk()
    desk.order("BUY", "0.01")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true")
    desk.limit("BUY", "0.01", 49_000)
    desk.send("POST", "countdownCancelAll", symbol="BTCUSDT", countdownTime=5_000)
    desk.wait(4_000)
    desk.send("POST", "countdownCancelAll", symbol="BTCUSDT", countdownTime=5_000)
    desk.wait(4_000)
    assert len(desk.send("GET", "openOrders").body) == 1
    desk.wait(1_000)
    assert desk.send("GET", "openOrders").body == []
    assert len(desk.send("GET", "openAlgoOrders").body) == 1


def test_open_orders_hold_margin_back() -> None:
    desk = Desk(balance=1_000.0)  # 20x
    assert desk.limit("BUY", "0.3", 49_000).status == 200
    assert desk.send("GET", "/fapi/v3/account").body["availableBalance"] == "265.00000000"
    assert desk.order("BUY", "0.2").code == -2019


def test_histories_are_windows() -> None:
    desk = Desk()
    for _ in range(3):
        desk.order("BUY", "0.002")
        desk.move(50_000)
    trades = desk.send("GET", "userTrades", symbol="BTCUSDT").body
    assert [row["id"] for row in trades] == [1, 2, 3]
    assert [row["id"] for row in desk.send("GET", "userTrades", symbol="BTCUSDT", fromId=2).body] == [2, 3]
    assert [row["id"] for row in desk.send("GET", "userTrades", symbol="BTCUSDT", limit=1).body] == [3]
    second = trades[1]["time"]
    assert [row["id"] for row in desk.send("GET", "userTrades", symbol="BTCUSDT", startTime=second).body] == [2, 3]
    assert len(desk.send("GET", "allOrders", symbol="BTCUSDT", endTime=second).body) == 2
    desk.wait(8 * 86_400_000)
    assert desk.send("GET", "userTrades", symbol="BTCUSDT").body == []  # the last week is what is answered
    assert len(desk.send("GET", "userTrades", symbol="BTCUSDT", startTime=trades[0]["time"]).body) == 3
    desk.wait(90 * 86_400_000)
    assert desk.send("GET", "userTrades", symbol="BTCUSDT", fromId=1).body == []


def test_a_test_order_is_judged_and_not_placed() -> None:
    desk = Desk()
    assert desk.send("POST", "order/test", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=1).body == {}
    assert (
        desk.send("POST", "order/test", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.00015").code == -4004
    )
    assert desk.qty() == 0


def test_history_may_be_kept_short_without_touching_what_is_open() -> None:
    desk = Desk(kept=5, orders_10s=0, orders_1m=0)
    resting = desk.limit("BUY", "0.01", 49_000, newClientOrderId="rest").body["orderId"]
    for k in range(40):
        desk.order("BUY" if k % 2 else "SELL", "0.002", newClientOrderId=f"m{k}")
    desk.wait(1)
    state = desk.exchange.state
    assert 5 <= len(state.trades) <= 10
    assert 5 <= len(state.income) <= 10
    assert len(state.orders) <= 11
    assert desk.send("GET", "order", symbol="BTCUSDT", origClientOrderId="rest").body["orderId"] == resting
    assert desk.send("GET", "order", symbol="BTCUSDT", origClientOrderId="m39").body["status"] == "FILLED"
    assert desk.send("GET", "order", symbol="BTCUSDT", origClientOrderId="m0").code == -2013
    assert desk.qty() == 0
