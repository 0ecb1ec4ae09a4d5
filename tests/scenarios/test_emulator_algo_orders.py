"""Life cycles of conditional orders at the emulated exchange, as tables, in one-way and hedge mode."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from qtsim.emulator import FaultPlan
from tests.emulator_desk import Desk

LONG, SHORT = "LONG", "SHORT"


def opened(side: str = "BUY", *, hedge: bool = False, qty: str = "0.02", **changes: Any) -> Desk:
    """A desk with one position and an empty stream. Hedge: on the side that the order opens."""
    desk = Desk(hedge=hedge, **changes)
    more = {"positionSide": LONG if side == "BUY" else SHORT} if hedge else {}
    assert desk.order(side, qty, **more).status == 200
    desk.events()
    return desk


# What triggers: (side of the position, type, trigger, working type, (last, mark) just before, (last, mark) at it)
TRIGGERS = {
    "long stop, last": ("BUY", "STOP_MARKET", 49_000, "CONTRACT_PRICE", (49_000.1, 48_000), (49_000, 50_000)),
    "long stop, mark": ("BUY", "STOP_MARKET", 49_000, "MARK_PRICE", (48_000, 49_000.1), (50_000, 49_000)),
    "long target, last": ("BUY", "TAKE_PROFIT_MARKET", 51_000, "CONTRACT_PRICE", (50_999.9, 52_000), (51_000, 50_000)),
    "long target, mark": ("BUY", "TAKE_PROFIT_MARKET", 51_000, "MARK_PRICE", (52_000, 50_999.9), (50_000, 51_000)),
    "short stop, last": ("SELL", "STOP_MARKET", 51_000, "CONTRACT_PRICE", (50_999.9, 52_000), (51_000, 50_000)),
    "short stop, mark": ("SELL", "STOP_MARKET", 51_000, "MARK_PRICE", (52_000, 50_999.9), (50_000, 51_000)),
    "short target, last": (
        "SELL",
        "TAKE_PROFIT_MARKET",
        49_000,
        "CONTRACT_PRICE",
        (49_000.1, 48_000),
        (49_000, 50_000),
    ),
}


@pytest.mark.parametrize("hedge", [False, True], ids=["one-way", "hedge"])
@pytest.mark.parametrize("case", TRIGGERS.values(), ids=TRIGGERS)
def test_closes_all_at_the_last_price_when_its_own_price_is_reached(case: Any, hedge: bool) -> None:
    side, kind, trigger, working, before, after = case
    desk = opened(side, hedge=hedge)
    closing = "SELL" if side == "BUY" else "BUY"
    position_side = (LONG if side == "BUY" else SHORT) if hedge else "BOTH"
    more = {"positionSide": position_side} if hedge else {}
    answer = desk.algo(
        closing, kind, triggerPrice=trigger, closePosition="true", workingType=working, clientAlgoId="x", **more
    )
    assert (answer.status, answer.body["algoStatus"], answer.body["closePosition"]) == (200, "NEW", True)

    desk.move(*before)
    assert desk.query_algo("x")["algoStatus"] == "NEW"
    desk.events()
    desk.move(*after)

    assert desk.qty(position_side) == 0
    assert desk.told() == [
        "ALGO TRIGGERING",
        "ORDER NEW",
        "ORDER TRADE FILLED",
        "ACCOUNT ORDER",
        "ALGO TRIGGERED",
        "ALGO FINISHED",
    ]
    found = desk.query_algo("x")
    assert found["algoStatus"] == "FINISHED"
    child = desk.send("GET", "order", symbol="BTCUSDT", orderId=found["actualOrderId"]).body
    assert (child["clientOrderId"], child["status"]) == ("x", "FILLED")
    assert (child["origType"], child["type"]) == (kind, "MARKET")
    assert Decimal(child["avgPrice"]) == Decimal(str(after[0]))
    assert child["orderId"] != found["algoId"]


# What is refused at once: (hedge, parameters, code)
REFUSED: dict[str, tuple[bool, dict[str, Any], int]] = {
    "stop already reached": (False, {"triggerPrice": 50_000, "closePosition": "true"}, -2021),
    "quantity with closePosition": (False, {"triggerPrice": 49_000, "closePosition": "true", "quantity": 1}, -4137),
    "reduceOnly with closePosition": (
        False,
        {"triggerPrice": 49_000, "closePosition": "true", "reduceOnly": "true"},
        -1106,
    ),
    "reduceOnly in hedge mode": (
        True,
        {"triggerPrice": 49_000, "quantity": 0.01, "reduceOnly": "true", "positionSide": LONG},
        -1106,
    ),
    "no position side in hedge mode": (True, {"triggerPrice": 49_000, "closePosition": "true"}, -4061),
    "position side in one-way mode": (
        False,
        {"triggerPrice": 49_000, "closePosition": "true", "positionSide": LONG},
        -4061,
    ),
    "closePosition of the side that it would enlarge": (
        True,
        {"triggerPrice": 49_000, "closePosition": "true", "positionSide": SHORT},
        -1128,
    ),
    "no trigger": (False, {"closePosition": "true"}, -1102),
    "no quantity": (False, {"triggerPrice": 49_000}, -1102),
    "trigger off the tick": (False, {"triggerPrice": "49000.05", "closePosition": "true"}, -4014),
    "quantity off the step": (False, {"triggerPrice": 49_000, "quantity": "0.0105"}, -1111),
    "client id too long": (False, {"triggerPrice": 49_000, "closePosition": "true", "clientAlgoId": "x" * 37}, -4015),
    "unknown working type": (False, {"triggerPrice": 49_000, "quantity": 0.01, "workingType": "LAST"}, -1130),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refuses_what_the_exchange_refuses(case: tuple[bool, dict[str, Any], int]) -> None:
    hedge, params, code = case
    desk = opened(hedge=hedge)
    answer = desk.algo("SELL", **params)
    assert (answer.status, answer.code) == (400, code)
    assert desk.told() == []


def test_close_position_needs_a_position_and_stands_once_per_direction() -> None:
    desk = Desk()
    assert desk.algo("SELL", triggerPrice=49_000, closePosition="true").code == -4509
    desk.order("BUY", "0.02")
    assert desk.algo("BUY", triggerPrice=51_000, closePosition="true").code == -4509  # it would not close a long
    assert desk.algo("SELL", triggerPrice=49_000, closePosition="true").status == 200
    assert desk.algo("SELL", triggerPrice=48_000, closePosition="true").code == -4130
    assert desk.algo("SELL", "TAKE_PROFIT_MARKET", triggerPrice=51_000, closePosition="true").status == 200


def test_close_position_adapts_to_the_size_and_expires_with_the_position() -> None:
    desk = opened()
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="hard")
    desk.order("BUY", "0.03")
    desk.move(48_900)
    assert desk.qty() == 0
    assert [row["qty"] for row in desk.send("GET", "userTrades", symbol="BTCUSDT").body] == ["0.02", "0.03", "0.05"]

    desk.order("BUY", "0.02")
    desk.algo("SELL", triggerPrice=48_000, closePosition="true", clientAlgoId="hard2")
    desk.events()
    desk.order("SELL", "0.02", reduceOnly="true")
    assert desk.told()[-1] == "ALGO EXPIRED"
    assert desk.query_algo("hard2")["algoStatus"] == "EXPIRED"


def test_a_quantity_stop_closes_no_more_than_is_open() -> None:
    desk = opened(qty="0.02")
    desk.algo("SELL", triggerPrice=49_000, quantity="0.02", reduceOnly="true", clientAlgoId="b")
    desk.order("SELL", "0.015", reduceOnly="true")
    desk.move(48_990)
    assert desk.qty() == 0
    child = desk.send("GET", "order", symbol="BTCUSDT", origClientOrderId="b").body
    assert (child["executedQty"], child["status"]) == ("0.005", "EXPIRED")


def test_a_reducing_stop_that_finds_nothing_open_expires() -> None:
    desk = opened()
    desk.algo("SELL", triggerPrice=49_000, quantity="0.02", reduceOnly="true", clientAlgoId="b")
    desk.order("SELL", "0.02", reduceOnly="true")
    desk.events()
    desk.move(48_990)
    assert desk.told() == ["ALGO TRIGGERING", "ALGO EXPIRED"]
    assert desk.qty() == 0


def test_a_stop_entry_without_margin_is_rejected_when_it_triggers() -> None:
    desk = Desk(balance=100.0)
    assert desk.algo("BUY", triggerPrice=51_000, quantity="1", clientAlgoId="entry").status == 200
    desk.move(51_000)
    assert desk.told()[1:] == ["ALGO TRIGGERING", "ALGO REJECTED"]
    assert desk.qty() == 0


def test_a_hedge_stop_for_more_than_is_open_is_rejected() -> None:
    desk = opened(hedge=True)
    desk.algo("SELL", triggerPrice=49_000, quantity="0.03", positionSide=LONG, clientAlgoId="b")
    desk.move(48_990)
    assert desk.query_algo("b")["algoStatus"] == "REJECTED"
    assert desk.qty(LONG) == Decimal("0.02")


def test_a_stop_limit_becomes_a_limit_order_that_may_rest() -> None:
    desk = opened()
    desk.algo("SELL", "STOP", triggerPrice=49_000, price=48_950, quantity="0.02", reduceOnly="true", clientAlgoId="b")
    desk.move(48_900)  # below its limit price: it rests
    assert [row["origType"] for row in desk.send("GET", "openOrders").body] == ["STOP"]
    assert desk.query_algo("b")["algoStatus"] == "FINISHED"
    desk.move(48_951)
    assert desk.qty() == 0
    assert desk.send("GET", "userTrades", symbol="BTCUSDT").body[-1]["price"] == "48950"


def test_a_trail_waits_for_its_activation_and_follows_the_extreme() -> None:
    desk = opened()
    desk.algo(
        "SELL",
        "TRAILING_STOP_MARKET",
        quantity="0.02",
        reduceOnly="true",
        activatePrice=51_000,
        callbackRate=1,
        clientAlgoId="trail",
    )
    for price in (49_000, 50_900, 51_000, 52_000, 51_481):
        desk.move(price)
        assert desk.qty() == Decimal("0.02"), price
    desk.move(51_480)  # 52,000 less 1 %
    assert desk.qty() == 0


def test_a_trail_activated_on_the_wrong_side_is_refused() -> None:
    desk = opened()
    params = {"quantity": "0.02", "reduceOnly": "true", "callbackRate": 1}
    assert desk.algo("SELL", "TRAILING_STOP_MARKET", activatePrice=49_000, **params).code == -2021
    assert desk.algo("SELL", "TRAILING_STOP_MARKET", callbackRate=11, quantity="0.02").code == -1130


def test_price_protection_holds_while_mark_and_last_are_torn_apart() -> None:
    desk = opened()
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", workingType="MARK_PRICE", priceProtect="TRUE")
    desk.move(50_000, 47_000)  # more than 5 % apart
    assert desk.qty() == Decimal("0.02")
    desk.move(48_000, 47_000)
    assert desk.qty() == 0


def test_a_stuck_trigger_leaves_the_position_bare_and_cannot_be_cancelled() -> None:
    desk = opened(plan=FaultPlan(stuck_triggers=(1,)))
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="hard")
    desk.move(48_900)
    assert desk.query_algo("hard")["algoStatus"] == "TRIGGERING"
    assert desk.qty() == Decimal("0.02")
    assert desk.send("DELETE", "algoOrder", clientAlgoId="hard").code == -2011
    assert [row["algoStatus"] for row in desk.send("GET", "openAlgoOrders").body] == ["TRIGGERING"]


def test_both_order_worlds_are_apart() -> None:
    desk = opened()
    algo = desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="hard").body
    limit = desk.limit("SELL", "0.02", 51_000, reduceOnly="true", newClientOrderId="leg").body
    assert [row["orderId"] for row in desk.send("GET", "openOrders", symbol="BTCUSDT").body] == [limit["orderId"]]
    assert [row["algoId"] for row in desk.send("GET", "openAlgoOrders", symbol="BTCUSDT").body] == [algo["algoId"]]
    assert desk.send("GET", "order", symbol="BTCUSDT", orderId=algo["algoId"]).code == -2013
    assert desk.send("DELETE", "allOpenOrders", symbol="BTCUSDT").body["code"] == 200
    assert desk.query_algo("hard")["algoStatus"] == "NEW"
    cancelled = desk.send("DELETE", "algoOrder", algoId=algo["algoId"]).body
    assert (cancelled["code"], cancelled["msg"]) == ("200", "success")
    assert desk.told()[-1] == "ALGO CANCELED"


def test_conditional_types_are_refused_on_the_old_endpoint() -> None:
    desk = opened()
    answer = desk.order("SELL", "0.02", type="STOP_MARKET", stopPrice=49_000)
    assert (answer.status, answer.code) == (400, -4120)


def test_no_more_than_two_hundred_wait() -> None:
    desk = opened(orders_10s=0, orders_1m=0)
    for k in range(200):
        assert desk.algo("SELL", triggerPrice=40_000 + k, quantity="0.001", reduceOnly="true").status == 200
    assert desk.algo("SELL", triggerPrice=40_000, quantity="0.001", reduceOnly="true").code == -4045


def test_a_waiting_client_id_is_taken_and_free_again_afterwards() -> None:
    desk = opened()
    first = {"triggerPrice": 49_000, "quantity": "0.01", "reduceOnly": "true", "clientAlgoId": "b"}
    assert desk.algo("SELL", **first).status == 200
    assert desk.algo("SELL", **first).code == -4116
    desk.send("DELETE", "algoOrder", clientAlgoId="b")
    assert desk.algo("SELL", **first).status == 200


def test_a_cancelled_order_is_forgotten_after_three_days() -> None:
    desk = opened()
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="hard")
    desk.send("DELETE", "algoOrder", clientAlgoId="hard")
    assert desk.query_algo("hard")["algoStatus"] == "CANCELED"
    desk.wait(3 * 86_400_000 + 1)
    assert desk.query_algo("hard")["code"] == -2013
