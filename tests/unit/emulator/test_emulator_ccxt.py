"""The unmodified ccxt client, in process and in virtual time: unified calls, streams, error classes, whole hours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qtsim.emulator import Control, Exchange, FaultPlan, Scripted
from qtsim.emulator.inprocess import Transport
from qtsim.emulator.oracle import REQUEST
from qtsim.emulator.virtual import VirtualClock, play, run_virtual
from tests.emulator_ccxt import BTC, Watching, in_process
from tests.emulator_desk import START_MS, points_at

ccxt = pytest.importorskip("ccxt", reason="needs the extra live")

# unified call → (endpoints asked, what must hold of the answer)
CALLS: dict[str, tuple[Any, list[str], Any]] = {
    "fetch_balance": (lambda c: c.fetch_balance(), ["GET account"], lambda a: a["USDT"]["total"] == 10_000),
    "fetch_positions": (
        lambda c: c.fetch_positions(),
        ["GET leverageBracket", "GET positionRisk"],
        lambda a: a == [],
    ),
    "market order": (
        lambda c: c.create_order(BTC, "market", "buy", 0.0105, None, {"clientOrderId": "qt-1"}),
        ["POST order"],
        lambda a: (a["status"], a["filled"], a["average"], a["clientOrderId"]) == ("closed", 0.01, 50_000, "qt-1"),
    ),
    "limit order": (
        lambda c: c.create_order(BTC, "limit", "buy", 0.01, 49_000.06),
        ["POST order"],
        lambda a: (a["status"], a["price"]) == ("open", 49_000.1),
    ),
    "post only": (
        lambda c: c.create_order(BTC, "limit", "buy", 0.01, 49_000, {"postOnly": True}),
        ["POST order"],
        lambda a: a["timeInForce"] == "PO",
    ),
    "stop entry": (
        lambda c: c.create_order(BTC, "market", "buy", 0.01, None, {"triggerPrice": 51_000}),
        ["POST algoOrder"],
        lambda a: (a["status"], a["triggerPrice"], a["type"]) == ("open", 51_000, "market"),
    ),
    "trail": (
        lambda c: c.create_order(
            BTC, "market", "buy", 0.01, None, {"trailingPercent": 1, "trailingTriggerPrice": 49_000}
        ),
        ["POST algoOrder"],
        lambda a: a["status"] == "open",
    ),
    "fetch_open_orders": (lambda c: c.fetch_open_orders(), ["GET openOrders"], lambda a: a == []),
    "fetch_open_orders, conditional": (
        lambda c: c.fetch_open_orders(BTC, None, None, {"trigger": True}),
        ["GET openAlgoOrders"],
        lambda a: a == [],
    ),
    "cancel_all_orders": (lambda c: c.cancel_all_orders(BTC), ["DELETE allOpenOrders"], lambda a: len(a) == 1),
    "cancel_all_orders, conditional": (
        lambda c: c.cancel_all_orders(BTC, {"trigger": True}),
        ["DELETE algoOpenOrders"],
        lambda a: len(a) == 1,
    ),
    "set_leverage": (lambda c: c.set_leverage(7, BTC), ["POST leverage"], lambda a: a["leverage"] == 7),
    "set_margin_mode": (
        lambda c: c.set_margin_mode("isolated", BTC),
        ["POST marginType"],
        lambda a: a["msg"] == "success",
    ),
    "fetch_position_mode": (lambda c: c.fetch_position_mode(), ["GET positionSide/dual"], lambda a: not a["hedged"]),
    "set_position_mode": (
        lambda c: c.set_position_mode(True),
        ["POST positionSide/dual"],
        lambda a: a["msg"] == "success",
    ),
    "fetch_leverages": (
        lambda c: c.fetch_leverages(),
        ["GET leverageBracket", "GET symbolConfig"],
        lambda a: a[BTC]["longLeverage"] == 20,
    ),
    "fetch_leverage_tiers": (
        lambda c: c.fetch_leverage_tiers([BTC]),
        ["GET leverageBracket"],
        lambda a: a[BTC][0]["maintenanceMarginRate"] == 0.004,
    ),
    "fetch_trading_fee": (lambda c: c.fetch_trading_fee(BTC), ["GET commissionRate"], lambda a: a["taker"] == 0.0005),
    "fetch_my_trades": (lambda c: c.fetch_my_trades(BTC), ["GET userTrades"], lambda a: a == []),
    "fetch_ledger": (lambda c: c.fetch_ledger("USDT"), ["GET income"], lambda a: a == []),
    "fetch_ticker": (lambda c: c.fetch_ticker(BTC), ["GET ticker/24hr"], lambda a: a["last"] == 50_000),
    "fetch_tickers": (lambda c: c.fetch_tickers(), ["GET ticker/24hr"], lambda a: len(a) == 2),
    "fetch_order_book": (
        lambda c: c.fetch_order_book(BTC, 5),
        ["GET depth"],
        lambda a: (a["bids"][0][0], a["asks"][0][0]) == (50_000, 50_000.1),
    ),
    "fetch_trades": (lambda c: c.fetch_trades(BTC), ["GET aggTrades"], lambda a: a[-1]["price"] == 50_000),
    "fetch_ohlcv": (lambda c: c.fetch_ohlcv(BTC, "1m"), ["GET klines"], lambda a: a[-1][0] == START_MS),
    "fetch_ohlcv, mark": (
        lambda c: c.fetch_ohlcv(BTC, "1m", None, None, {"price": "mark"}),
        ["GET markPriceKlines"],
        lambda a: a[-1][4] == 50_000,
    ),
    "fetch_funding_rate": (
        lambda c: c.fetch_funding_rate(BTC),
        ["GET premiumIndex"],
        lambda a: a["markPrice"] == 50_000,
    ),
    "fetch_funding_rate_history": (
        lambda c: c.fetch_funding_rate_history(BTC),
        ["GET fundingRate"],
        lambda a: a == [],
    ),
    "fetch_time": (lambda c: c.fetch_time(), ["GET time"], lambda a: a == START_MS),
    "key permissions": (
        lambda c: c.sapi_get_account_apirestrictions(),
        ["GET account/apiRestrictions"],
        lambda a: a["enableWithdrawals"] is False,
    ),
    "countdown": (
        lambda c: c.fapiprivate_post_countdowncancelall({"symbol": "BTCUSDT", "countdownTime": 1000}),
        ["POST countdownCancelAll"],
        lambda a: a["countdownTime"] == "1000",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_unified_calls(name: str) -> None:
    call, endpoints, holds = CALLS[name]

    async def main(client: Any, exchange: Exchange) -> Any:
        exchange.log.entries.clear()
        return await call(client)

    answer, exchange = in_process(main)
    assert [entry.data["endpoint"] for entry in exchange.log.of(REQUEST)] == endpoints
    assert holds(answer), answer


@pytest.mark.parametrize("hedge", [False, True], ids=["one-way", "hedge"])
def test_a_position_with_its_stop_from_entry_to_exit(hedge: bool) -> None:
    async def main(client: Any, exchange: Exchange) -> dict[str, Any]:
        seen = {
            name: Watching(client, name)
            for name in ("watch_orders", "watch_my_trades", "watch_positions", "watch_balance")
        }
        await asyncio.sleep(1)
        more = {"hedged": True} if hedge else {}
        await client.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "entry", **more})
        side = {"positionSide": "LONG"} if hedge else {}
        stop = await client.create_order(
            *(BTC, "market", "sell", None, None),
            {
                "stopLossPrice": 49_000,
                "closePosition": True,
                "workingType": "MARK_PRICE",
                "clientOrderId": "sl",
                **side,
            },
        )
        (position,) = await client.fetch_positions()
        resting = await client.fetch_open_orders(BTC, None, None, {"trigger": True})
        await play(exchange, [points_at(START_MS + 20_000, {"BTCUSDT": 48_950})])
        await asyncio.sleep(1)
        fired = await client.fetch_order(None, BTC, {"trigger": True, "clientOrderId": "sl"})
        for watching in seen.values():
            await watching.end()
        return {
            "position": position,
            "resting": [order["id"] for order in resting],
            "stop": stop,
            "fired": fired,
            "left": await client.fetch_positions(),
            **{name: watching.found for name, watching in seen.items()},
        }

    found, _ = in_process(main, hedge=hedge)
    assert (found["position"]["contracts"], found["position"]["entryPrice"]) == (0.01, 50_000)
    assert found["position"]["side"] == "long"
    assert found["resting"] == [found["stop"]["id"]]
    assert (found["fired"]["status"], found["fired"]["filled"]) == ("closed", 0)  # it says nothing about the fill
    assert found["left"] == []
    assert [trade["price"] for trade in found["watch_my_trades"]] == [50_000, 48_950]
    assert [
        (order["clientOrderId"], order["status"]) for order in found["watch_orders"] if order["status"] != "open"
    ] == [
        ("entry", "closed"),
        ("sl", "closed"),
        ("sl", "closed"),
        ("sl", "closed"),
    ]
    assert [position["contracts"] for position in found["watch_positions"]] == [0.01, 0]


def test_market_streams() -> None:
    async def main(client: Any, exchange: Exchange) -> dict[str, Any]:
        seen = {
            name: Watching(client, name, *params)
            for name, params in {
                "watch_ohlcv": (BTC, "1m"),
                "watch_trades": (BTC,),
                "watch_mark_price": (BTC,),
                "watch_bids_asks": ([BTC],),
                "watch_ticker": (BTC,),
            }.items()
        }
        await asyncio.sleep(1)
        await play(exchange, [points_at(START_MS + 20_000, {"BTCUSDT": 50_100}, {"BTCUSDT": 50_090})])
        await asyncio.sleep(1)
        for watching in seen.values():
            await watching.end()
        return {name: watching.found for name, watching in seen.items()}

    found, _ = in_process(main)
    assert found["watch_mark_price"][0]["markPrice"] == 50_090
    assert found["watch_trades"][0]["price"] == 50_100
    assert found["watch_bids_asks"][0][BTC]["ask"] == 50_100.1
    assert found["watch_ticker"][0]["last"] == 50_100
    assert found["watch_ohlcv"] != []


# fault → class that ccxt makes of it (the URLs are the exchange's own, so futures codes map)
CLASSES: dict[str, tuple[dict[str, Any], str]] = {
    "reject -2019": ({"kind": "reject", "code": -2019}, "InsufficientFunds"),
    "reject -2021": ({"kind": "reject", "code": -2021}, "OrderImmediatelyFillable"),
    "reject -2022": ({"kind": "reject", "code": -2022}, "InvalidOrder"),
    "reject -4116": ({"kind": "reject", "code": -4116}, "InvalidOrder"),
    "reject -2013": ({"kind": "reject", "code": -2013}, "OrderNotFound"),
    "timestamp_1021": ({}, "InvalidNonce"),
    "http_429": ({}, "DDoSProtection"),
    "http_418": ({}, "DDoSProtection"),
    "unknown_503": ({}, "OperationFailed"),
    "unavailable_503": ({}, "ExchangeNotAvailable"),
    "overloaded_503": ({}, "OperationFailed"),
    "timeout_1007": ({}, "RequestTimeout"),
    "bus_1006": ({}, "OperationFailed"),
    "http_408": ({}, "RequestTimeout"),
    "html": ({}, "ExchangeNotAvailable"),
    "drop_before": ({}, "ExchangeNotAvailable"),
    "drop_after": ({}, "ExchangeNotAvailable"),
    "late beyond the client's patience": ({"kind": "late", "hold_ms": 20_000}, "RequestTimeout"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_error_classes(name: str) -> None:
    more, wanted = CLASSES[name]
    fault = Scripted(**{"endpoint": "POST order", "nth": 1, "kind": name, **more})

    async def main(client: Any, exchange: Exchange) -> type:
        with pytest.raises(ccxt.BaseError) as caught:
            await client.create_order(BTC, "market", "buy", 0.01)
        return caught.type

    found, _ = in_process(main, FaultPlan(script=(fault,)))
    assert found is getattr(ccxt, wanted)


def test_an_empty_answer_is_an_order_full_of_nothing() -> None:
    async def main(client: Any, exchange: Exchange) -> Any:
        return await client.create_order(BTC, "market", "buy", 0.01)

    order, exchange = in_process(main, FaultPlan(script=(Scripted("POST order", 1, "empty"),)))
    assert (order["id"], order["status"]) == (None, None)
    assert len(exchange.state.trades) == 1


def test_a_cut_connection_ends_the_watch_and_the_next_call_connects_again() -> None:
    async def main(client: Any, exchange: Exchange) -> Any:
        first = Watching(client, "watch_orders")
        await asyncio.sleep(1)
        Control(exchange).disconnect("/private")
        await asyncio.sleep(1)
        again = Watching(client, "watch_orders")
        await asyncio.sleep(5)
        await client.create_order(BTC, "market", "buy", 0.01)
        await asyncio.sleep(1)
        await again.end()
        return first.error, again.found

    (error, found), _ = in_process(main)
    assert isinstance(error, ccxt.NetworkError)
    assert [order["status"] for order in found] == ["open", "closed"]


def test_ccxt_does_not_notice_that_its_listen_key_has_expired() -> None:
    async def main(client: Any, exchange: Exchange) -> Any:
        watching = Watching(client, "watch_orders")
        await asyncio.sleep(1)
        Control(exchange).expire_listen_key()
        await client.create_order(BTC, "market", "buy", 0.01)
        await asyncio.sleep(60)
        await watching.end()
        return watching.found, watching.error

    (found, error), _ = in_process(main)
    assert (found, error) == ([], None)


def test_hours_pass_in_no_time_and_a_keepalive_holds_the_key() -> None:
    async def main(client: Any, exchange: Exchange) -> Any:
        watching = Watching(client, "watch_orders")
        await asyncio.sleep(1)
        for _ in range(10):
            await asyncio.sleep(1800)
            await client.fapiPrivatePutListenKey()
        await client.create_order(BTC, "market", "buy", 0.01)
        await asyncio.sleep(1)
        await watching.end()
        return [order["id"] for order in watching.found], VirtualClock().now_ms() - START_MS

    (orders, passed), exchange = in_process(main)
    assert set(orders) == {str(order) for order in exchange.state.orders}
    assert passed > 5 * 3_600_000


def test_two_runs_write_the_same_log() -> None:
    events = [points_at(START_MS + 20_000 * k, {"BTCUSDT": 50_000 + 37 * (k % 5)}) for k in range(1, 30)]
    rates = {"drop_after": 0.1, "unknown_503": 0.1, "slow": 0.1, "event_drop": 0.1, "event_reorder": 0.2}

    async def main(client: Any, exchange: Exchange) -> int:
        watching = Watching(client, "watch_orders")
        market = asyncio.ensure_future(play(exchange, events))
        failed = 0
        for k in range(20):
            await asyncio.sleep(25)
            try:
                params = {"clientOrderId": f"q-{k}"}
                await client.create_order(BTC, "market", "buy" if k % 2 else "sell", 0.01, None, params)
            except Exception:
                failed += 1
        await market
        await watching.end()
        return failed

    def played() -> tuple[int, str]:
        failed, exchange = in_process(main, FaultPlan(seed=4, rates=rates))
        return failed, exchange.log.text()

    first = played()
    assert first[0] > 0
    assert first == played()


def test_several_clients_share_one_exchange_each_with_its_own_clock() -> None:
    async def main(client: Any, exchange: Exchange) -> Any:
        other = type(client)(client.transport.config())
        other.transport = Transport(exchange, VirtualClock(skew_ms=-3000))  # its clock is ahead
        try:
            watching = [Watching(client, "watch_orders")]
            await asyncio.sleep(1)
            with pytest.raises(ccxt.InvalidNonce):
                await other.fetch_balance()
            await other.load_time_difference()
            watching.append(Watching(other, "watch_orders"))
            await asyncio.sleep(1)
            await other.create_order(BTC, "market", "buy", 0.01)
            await asyncio.sleep(1)
            for one in watching:
                await one.end()
            return [[order["status"] for order in one.found] for one in watching]
        finally:
            await other.close()

    heard, _ = in_process(main)
    assert heard == [["open", "closed"], ["open", "closed"]]


def test_virtual_time_that_stands_still_says_so() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="virtual time stands still"):
        run_virtual(forever())
