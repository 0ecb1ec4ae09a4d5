"""What goes wrong on purpose: each fault by its effect, the same for the same seed."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from qtsim.emulator import Exchange, FaultPlan, Response, Scripted
from qtsim.emulator.auth import sign
from qtsim.emulator.faults import KINDS, REQUEST_KINDS, Faults, ForeignAction, read_plan
from qtsim.emulator.oracle import requests_in_bans
from qtsim.emulator.serving import RequestLostError, Server
from qtsim.emulator.virtual import VirtualClock, run_virtual
from qtsim.errors import UsageError
from tests.emulator_desk import START_MS, Desk, points_at, rules

Ask = Callable[..., Awaitable[Response]]


def served(plan: FaultPlan, main: Callable[[Exchange, Ask], Awaitable[Any]], *, latency_ms: int = 0) -> Any:
    """Run against an exchange with this plan, in virtual time. `ask(method, endpoint, **params)` signs."""

    async def run() -> Any:
        exchange = Exchange(rules(), plan, now_ms=START_MS)
        exchange.advance(points_at(START_MS, {"BTCUSDT": "50000", "ETHUSDT": "2500"}))
        clock = VirtualClock()
        server = Server(exchange, clock, latency_ms=latency_ms)

        async def ask(method: str, endpoint: str, **params: Any) -> Response:
            text = urlencode({"timestamp": clock.now_ms(), **params})
            text = f"{text}&signature={sign('emulator-secret', text)}"
            return await server.serve(method, f"/fapi/v1/{endpoint}", text, {"X-MBX-APIKEY": "emulator-key"})

        return await main(exchange, ask)

    return run_virtual(run(), start_ms=START_MS)


BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}

# fault → (HTTP status, code in the body or its beginning, was the order executed?)
OUTCOMES: dict[str, tuple[dict[str, Any], int, Any, bool]] = {
    "http_429": ({}, 429, -1003, False),
    "http_418": ({}, 418, -1003, False),
    "503 A executed": ({"kind": "unknown_503", "executes": True}, 503, -1000, True),
    "503 A not executed": ({"kind": "unknown_503", "executes": False}, 503, -1000, False),
    "unavailable_503": ({}, 503, "Service Unavailable.", False),
    "overloaded_503": ({}, 503, -1008, False),
    "internal_503": ({}, 503, -1001, False),
    "-1007 executed": ({"kind": "timeout_1007", "executes": True}, 408, -1007, True),
    "-1007 not executed": ({"kind": "timeout_1007", "executes": False}, 408, -1007, False),
    "bus_1006": ({"executes": True}, 400, -1006, True),
    "http_408": ({"executes": True}, 408, "Request Timeout", True),
    "timestamp_1021": ({}, 400, -1021, False),
    "html": ({"executes": True}, 502, "<html>", True),
    "garbled": ({}, 200, '{"orderId"', True),
    "empty": ({}, 200, "", True),
    "reject": ({"code": -2019}, 400, -2019, False),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_what_the_client_is_told_and_what_was_done(name: str) -> None:
    more, status, told, executed = OUTCOMES[name]
    fault = Scripted(**{"endpoint": "POST order", "nth": 1, "kind": name, **more})

    async def main(exchange: Exchange, ask: Ask) -> tuple[Response, int]:
        answer = await ask("POST", "order", **BUY)
        return answer, len(exchange.state.trades)

    answer, fills = served(FaultPlan(script=(fault,)), main)
    assert answer.status == status
    if isinstance(told, int):
        assert json.loads(answer.body)["code"] == told
    else:
        assert answer.body.startswith(told)
        assert bool(answer.body) == bool(told)
    assert fills == int(executed)


@pytest.mark.parametrize(("kind", "fills"), [("drop_before", 0), ("drop_after", 1)])
def test_lost_requests_and_lost_answers(kind: str, fills: int) -> None:
    async def main(exchange: Exchange, ask: Ask) -> int:
        with pytest.raises(RequestLostError):
            await ask("POST", "order", **BUY)
        return len(exchange.state.trades)

    assert served(FaultPlan(script=(Scripted("POST order", 1, kind),)), main) == fills


def test_a_late_request_is_executed_late_or_refused_by_its_window() -> None:
    async def main(exchange: Exchange, ask: Ask) -> list[Any]:
        first = await ask("POST", "order", **BUY)
        second = await ask("POST", "order", **BUY, recvWindow=1000)
        return [first.json()["updateTime"] - START_MS, second.json()["code"], len(exchange.state.trades)]

    plan = FaultPlan(script=(Scripted("POST order", 1, "late", hold_ms=3000, times=2),))
    assert served(plan, main) == [3000, -1021, 1]


def test_a_slow_answer_is_executed_at_once() -> None:
    async def main(exchange: Exchange, ask: Ask) -> list[int]:
        task = asyncio.ensure_future(ask("POST", "order", **BUY))
        await asyncio.sleep(0.1)
        done = len(exchange.state.trades)
        await task
        return [done, VirtualClock().now_ms() - START_MS]

    assert served(FaultPlan(script=(Scripted("POST order", 1, "slow", hold_ms=3000),)), main) == [1, 3000]


def test_latency_holds_orders_back_and_queries_not() -> None:
    async def main(exchange: Exchange, ask: Ask) -> list[int]:
        await ask("GET", "openOrders")
        before = VirtualClock().now_ms() - START_MS
        order = (await ask("POST", "order", **BUY)).json()
        return [before, order["updateTime"] - START_MS]

    assert served(FaultPlan(), main, latency_ms=250) == [0, 250]


def test_latency_may_be_drawn_for_each_order() -> None:
    async def main(exchange: Exchange, ask: Ask) -> list[int]:
        orders = [(await ask("POST", "order", **BUY)).json() for _ in range(8)]
        times = [START_MS, *(order["updateTime"] for order in orders)]
        return [after - before for before, after in itertools.pairwise(times)]

    plan = FaultPlan(seed=2, latency_ms=(100, 400))
    took = served(plan, main)
    assert took == served(plan, main)
    assert len(set(took)) > 4
    assert all(100 <= ms <= 400 for ms in took)


def test_reduce_only_orders_pass_an_overloaded_exchange() -> None:
    async def main(exchange: Exchange, ask: Ask) -> list[int]:
        await ask("POST", "order", **BUY)
        refused = await ask("POST", "order", **BUY)
        passed = await ask("POST", "order", **{**BUY, "side": "SELL"}, reduceOnly="true")
        return [refused.status, passed.status]

    plan = FaultPlan(script=(Scripted("POST order", 2, "overloaded_503", times=0),))
    assert served(plan, main) == [503, 200]


def test_an_order_filled_in_part_expires_with_the_rest() -> None:
    async def main(exchange: Exchange, ask: Ask) -> dict[str, Any]:
        return (await ask("POST", "order", **BUY)).json()

    order = served(FaultPlan(script=(Scripted("POST order", 1, "partial", share=0.35),)), main)
    assert (order["status"], order["executedQty"], order["origQty"]) == ("EXPIRED", "0.003", "0.010")


def test_an_outage_answers_nobody_and_cuts_streams_while_stops_still_act() -> None:
    desk = Desk(FaultPlan(outages=((START_MS + 30_000, START_MS + 90_000),)))
    desk.order("BUY", "0.01")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true")
    assert desk.stream is not None
    desk.events()
    desk.move(49_900)
    assert not desk.stream.closed
    desk.move(48_900)
    assert desk.stream.closed
    assert desk.qty() == 0
    assert desk.exchange.is_out(desk.now_ms)
    assert desk.exchange.connect("/market/ws") is None
    assert not desk.exchange.is_out(START_MS + 90_000)


def test_new_orders_are_not_found_for_a_while() -> None:
    desk = Desk(FaultPlan(query_lag_ms=30_000))
    desk.order("BUY", "0.01", newClientOrderId="a")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="b")
    assert desk.send("GET", "order", symbol="BTCUSDT", origClientOrderId="a").code == -2013
    assert desk.send("GET", "algoOrder", clientAlgoId="b").code == -2013
    assert len(desk.send("GET", "openAlgoOrders").body) == 1
    desk.control.set_query_lag(30_000, lists=True)
    assert desk.send("GET", "openAlgoOrders").body == []
    desk.wait(30_000)
    assert desk.send("GET", "order", symbol="BTCUSDT", origClientOrderId="a").body["status"] == "FILLED"


def test_others_trade_and_cancel_at_their_time() -> None:
    actions = (
        ForeignAction(START_MS + 20_000, "trade", "BTCUSDT", "-0.004"),
        ForeignAction(START_MS + 40_000, "cancel_algos", "BTCUSDT"),
        ForeignAction(START_MS + 60_000, "trade", "BTCUSDT", "-9"),
    )
    desk = Desk(FaultPlan(foreign=actions))
    desk.order("BUY", "0.01")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="hard")
    desk.move(50_000)
    assert str(desk.qty()) == "0.006"
    assert desk.query_algo("hard")["algoStatus"] == "NEW"
    desk.move(50_000)
    assert desk.query_algo("hard")["algoStatus"] == "CANCELED"
    desk.move(50_000)  # refused for want of margin: nothing happens
    assert str(desk.qty()) == "0.006"
    assert desk.send("GET", "allOrders", symbol="BTCUSDT").body[-1]["clientOrderId"].startswith("web_")


def test_frames_are_lost_doubled_delayed_reordered_and_connections_cut() -> None:
    def told(**rates: float) -> list[str]:
        desk = Desk(FaultPlan(seed=1, rates=rates))
        for _ in range(4):
            desk.order("BUY", "0.002")
        desk.now_ms += 60_000
        return desk.told()

    plain = told()
    assert len(plain) == 12
    assert told(event_drop=1.0) == []
    assert told(event_duplicate=1.0) == [text for text in plain for _ in range(2)]
    delayed = told(event_delay=0.5)
    assert sorted(delayed) == sorted(plain)
    orders = [text for text in plain if text.startswith("ORDER")]
    assert [text for text in delayed if text.startswith("ORDER")] == orders  # in order within a type
    assert [text for text in told(event_reorder=0.5) if text.startswith("ORDER")] != orders
    desk = Desk(FaultPlan(rates={"disconnect": 1.0}))
    desk.order("BUY", "0.002")
    assert desk.stream is not None
    assert desk.stream.closed


def test_the_same_seed_does_the_same_and_another_seed_something_else() -> None:
    rates = {kind: 0.1 for kind in REQUEST_KINDS if kind not in ("reject", "partial")}

    def drawn(seed: int) -> list[Any]:
        faults = Faults(FaultPlan(seed=seed, rates=rates))
        return [faults.of_request("POST", "order") for _ in range(200)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert {fault.kind for fault in drawn(1) if fault} == set(rates)


def test_dropping_one_kind_leaves_the_others_where_they_were() -> None:
    def where(**rates: float) -> list[int]:
        faults = Faults(FaultPlan(seed=5, rates=rates))
        found = [faults.of_request("POST", "order") for _ in range(300)]
        return [k for k, fault in enumerate(found) if fault and fault.kind == "http_429"]

    assert where(http_429=0.1) == where(http_429=0.1, slow=0.3) or set(where(http_429=0.1, slow=0.3)) < set(
        where(http_429=0.1)
    )
    assert where(http_429=0.1)


def test_rates_spare_reads_and_end() -> None:
    faults = Faults(FaultPlan(rates={"http_429": 1.0}, until_request=3))
    assert faults.of_request("GET", "openOrders") is None
    assert [bool(faults.of_request("POST", "order")) for _ in range(3)] == [True, True, False]


def test_a_ban_is_seen_by_the_oracle() -> None:
    desk = Desk()
    desk.control.ban(60_000)
    assert desk.order("BUY", "0.01").status == 418
    assert [entry.data["endpoint"] for entry in requests_in_bans(desk.exchange.log)] == ["POST order"]
    desk.wait(60_000)
    assert desk.order("BUY", "0.01").status == 200


def test_one_more_fault_can_be_scripted_at_any_time() -> None:
    desk = Desk()
    for _ in range(3):
        desk.exchange.fault_of("POST", "/fapi/v1/order")
    desk.control.add_fault(Scripted("POST order", 2, "reject"))
    found = [desk.exchange.fault_of("POST", "/fapi/v1/order") for _ in range(3)]
    assert [fault.kind if fault else None for fault in found] == [None, "reject", None]


def test_plans_are_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        "seed = 3\nquery_lag_ms = 500\nstuck_triggers = [2]\noutages = [[1, 2]]\n"
        'rates = { drop_after = 0.1 }\n[[script]]\nendpoint = "POST order"\nnth = 2\nkind = "garbled"\n'
        '[[foreign]]\nat_ms = 5\nwhat = "trade"\nsymbol = "BTCUSDT"\nqty = "0.1"\n'
    )
    plan = read_plan(file, seed=9)
    assert plan == FaultPlan(
        seed=9,
        rates={"drop_after": 0.1},
        query_lag_ms=500,
        stuck_triggers=(2,),
        outages=((1, 2),),
        script=(Scripted("POST order", 2, "garbled"),),
        foreign=(ForeignAction(5, "trade", "BTCUSDT", "0.1"),),
    )


BAD_PLANS = {
    "sed = 1": "no field 'sed'",
    "rates = { drop = 0.1 }": "fault rate 'drop'",
    "rates = { slow = 2 }": "it is a probability",
    "rates = { reject = 0.5 }": "reject and partial are scripted",
    "[[script]]\nnth = 1": "endpoint",
    '[[script]]\nendpoint = "POST order"\nnth = 1\nkind = "x"': "fault 'x'",
    '[[foreign]]\nat_ms = 1\nwhat = "shout"\nsymbol = "B"': "foreign action 'shout'",
    "latency_ms = [5, 2]": "lowest first",
    "seed = ": "neither TOML nor JSON",
}


@pytest.mark.parametrize("text", BAD_PLANS)
def test_a_wrong_plan_says_where_and_what(text: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=BAD_PLANS[text]) as caught:
        read_plan(file)
    assert "plan.toml" in str(caught.value)


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the fault plan"):
        read_plan(tmp_path / "none.toml")


def test_every_kind_has_a_test_here() -> None:
    tested = {fault[0].get("kind", name) for name, fault in OUTCOMES.items()}
    tested |= {"drop_before", "drop_after", "late", "slow", "partial", "stuck_trigger"}
    tested |= {"event_drop", "event_duplicate", "event_delay", "event_reorder", "disconnect"}
    assert tested == set(KINDS)


def test_small_times_count_from_the_start() -> None:
    plan = FaultPlan(
        foreign=(ForeignAction(20_000, "trade", "BTCUSDT", "0.01"),),
        outages=((50_000, 70_000),),
        listen_key_expires_ms=(10_000,),
    )
    desk = Desk(plan)
    desk.move(50_000)
    assert float(desk.qty()) == 0.01
    assert desk.told()[0] == "listenKeyExpired"
    assert [desk.exchange.is_out(START_MS + ms) for ms in (49_999, 50_000, 70_000)] == [False, True, False]


def test_the_wall_has_a_start_of_its_own() -> None:
    """Data may be older or younger than the present."""
    for wall_ms in (START_MS - 10**11, START_MS + 10**11):
        desk = Desk(FaultPlan(outages=((0, 1000),)))
        desk.exchange.start_wall(wall_ms)
        assert (
            desk.exchange.request("GET", "/fapi/v1/time", "", {}, wall_ms=wall_ms + 5).json()["serverTime"]
            == wall_ms + 5
        )
        assert desk.exchange.is_out(wall_ms + 999)
        assert not desk.exchange.is_out(START_MS + 2000)
