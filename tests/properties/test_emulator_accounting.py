"""Money at the emulated exchange adds up exactly, whatever is traded: wallet, PnL, margins, positions, protection."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.emulator import FaultPlan, FillRule
from qtsim.emulator.decimals import EXACT
from qtsim.emulator.oracle import FILL, POSITION, unprotected
from tests.emulator_desk import Desk

PRICES = st.sampled_from([48_000, 49_000.1, 49_990, 50_000, 50_010.5, 51_000, 52_345.6])
QTYS = st.sampled_from(["0.002", "0.01", "0.037", "0.2", "1.111"])
SIDES = st.sampled_from(["BUY", "SELL"])
POSITION_SIDES = st.sampled_from(["LONG", "SHORT"])
STEPS = st.one_of(
    st.tuples(st.just("order"), SIDES, QTYS, POSITION_SIDES, st.booleans()),
    st.tuples(st.just("limit"), SIDES, QTYS, POSITION_SIDES, PRICES),
    st.tuples(st.just("stop"), SIDES, QTYS, POSITION_SIDES, PRICES),
    st.tuples(st.just("close_all"), SIDES, st.just("0"), POSITION_SIDES, PRICES),
    st.tuples(st.just("move"), PRICES, PRICES),
    st.tuples(st.just("fund"), st.sampled_from(["0.0001", "-0.00037", "0.003"])),
    st.tuples(st.just("deposit"), st.sampled_from(["12.34", "-5"])),
    st.tuples(st.just("cancel")),
)


def take(desk: Desk, step: tuple[Any, ...], hedge: bool) -> None:
    """Do one step; refusals are answers too."""
    what = step[0]
    if what == "move":
        desk.move(step[1], step[2])
    elif what == "fund":
        desk.fund(step[1])
    elif what == "deposit":
        desk.control.deposit(step[1])
    elif what == "cancel":
        desk.send("DELETE", "allOpenOrders", symbol="BTCUSDT")
        desk.send("DELETE", "algoOpenOrders", symbol="BTCUSDT")
    else:
        side, qty, position_side, more = step[1:]
        sides = {"positionSide": position_side} if hedge else {}
        if what == "order":
            desk.order(side, qty, **sides, **({"reduceOnly": "true"} if more and not hedge else {}))
        elif what == "limit":
            desk.limit(side, qty, more, **sides)
        elif what == "stop":
            desk.algo(side, quantity=qty, triggerPrice=more, workingType="MARK_PRICE", **sides)
        else:
            desk.algo(side, closePosition="true", triggerPrice=more, **sides)


def check_books(desk: Desk) -> None:
    """Everything that must add up, exactly."""
    state, account = desk.exchange.state, desk.exchange.state.account
    with localcontext(EXACT):
        # every cent that came in or went out is income, and income is the wallet
        assert account.wallet == 10_000 + sum(row.amount for row in state.income)
        # what all fills paid and received, and what is open at mark, is the equity
        cash = sum((-t.qty if t.order.buys else t.qty) * t.price - t.commission for t in state.trades)
        other = sum(row.amount for row in state.income if row.kind in ("FUNDING_FEE", "TRANSFER", "INSURANCE_CLEAR"))
        worth = sum(p.qty * state.mark(p.symbol) for p in account.open_positions())
        difference = 10_000 + cash + other + worth - (account.wallet + account.unrealized(state.marks()))
        assert abs(difference) < Decimal("1e-24")
        for (symbol, side), position in account.positions.items():
            signed = (
                trade.qty if trade.order.buys else -trade.qty
                for trade in state.trades
                if (trade.order.symbol, trade.order.position_side) == (symbol, side)
            )
            assert position.qty == sum(signed)
            assert position.isolated_wallet == 0 or position.isolated
            if not position.qty:
                assert (position.cost, position.isolated_wallet) == (0, 0)
        assert account.cross_wallet + account.isolated_wallets == account.wallet
    for order in state.orders.values():
        fills = [trade for trade in state.trades if trade.order.id == order.id]
        assert order.executed == sum(trade.qty for trade in fills)
        assert order.executed <= order.qty
    assert set(state.open_orders) == {order.id for order in state.orders.values() if order.is_open}
    assert set(state.open_algos) == {algo.id for algo in state.algos.values() if algo.is_open}


def check_reductions(desk: Desk) -> None:
    """An order that may only reduce has opened nothing."""
    orders = desk.exchange.state.orders
    for entry in desk.exchange.log.of(FILL):
        if orders[entry.data["order_id"]].only_reduces:
            assert entry.data["opened"] == "0"


@pytest.mark.parametrize("isolated", [False, True], ids=["cross", "isolated"])
@pytest.mark.parametrize("hedge", [False, True], ids=["one-way", "hedge"])
@given(steps=st.lists(STEPS, max_size=25), slippage=st.sampled_from([0.0, 2.0]))
def test_the_books_balance_after_every_step(hedge: bool, isolated: bool, steps: list[Any], slippage: float) -> None:
    desk = Desk(hedge=hedge, isolated=isolated, fill=FillRule(slippage_bps=slippage), orders_10s=0, orders_1m=0)
    for step in steps:
        take(desk, step, hedge)
        check_books(desk)
    check_reductions(desk)


@pytest.mark.parametrize("hedge", [False, True], ids=["one-way", "hedge"])
@given(steps=st.lists(STEPS, max_size=25))
def test_answers_and_events_tell_the_truth(hedge: bool, steps: list[Any]) -> None:
    """A client that only adds up events knows positions and wallet."""
    desk = Desk(hedge=hedge, orders_10s=0, orders_1m=0)
    sizes: dict[str, Decimal] = {}
    fills: dict[str, Decimal] = {}
    wallet = "10000.00000000"
    for step in steps:
        take(desk, step, hedge)
        for event in desk.events():
            if event["e"] == "ACCOUNT_UPDATE":
                sizes |= {row["ps"]: Decimal(row["pa"]) for row in event["a"]["P"]}
                wallet = event["a"]["B"][0]["wb"]
            elif event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["t"]:
                signed = Decimal(event["o"]["l"]) * (1 if event["o"]["S"] == "BUY" else -1)
                fills[event["o"]["ps"]] = fills.get(event["o"]["ps"], Decimal(0)) + signed
        for side in desk.exchange.state.account.sides():
            assert sizes.get(side, 0) == fills.get(side, 0) == desk.qty(side)
        assert Decimal(wallet) == desk.wallet
    risk = {row["positionSide"]: row["positionAmt"] for row in desk.send("GET", "/fapi/v2/positionRisk").body[::-1]}
    for side in desk.exchange.state.account.sides():
        assert Decimal(risk[side]) == desk.qty(side)


RATES = {"event_drop": 0.1, "event_duplicate": 0.1, "event_reorder": 0.2, "stuck_trigger": 0.2}


@given(steps=st.lists(STEPS, max_size=20), seed=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_bytes(steps: list[Any], seed: int) -> None:
    def played() -> tuple[str, str]:
        desk = Desk(FaultPlan(seed=seed, rates=RATES), orders_10s=0, orders_1m=0)
        for step in steps:
            take(desk, step, hedge=False)
        desk.now_ms += 60_000
        return desk.exchange.log.text(), json.dumps(desk.events())

    assert played() == played()


@given(steps=st.lists(STEPS, max_size=25))
def test_time_unprotected_is_what_a_slow_look_finds(steps: list[Any]) -> None:
    """The oracle's sweep over its log against a look at the exchange itself at each instant."""
    desk = Desk(orders_10s=0, orders_1m=0)
    bare_ms = 0
    for step in steps:
        before, was_bare = desk.now_ms, is_bare(desk)
        take(desk, step, hedge=False)
        bare_ms += (desk.now_ms - before) * was_bare
    spans = unprotected(desk.exchange.log, desk.now_ms)
    assert sum(span.ms for span in spans) == bare_ms
    assert all(entry.ts_ms <= desk.now_ms for entry in desk.exchange.log.of(POSITION))


def is_bare(desk: Desk) -> bool:
    """Is there a position whose size no waiting stop covers?"""
    size = desk.qty()
    stops = [
        algo
        for algo in desk.exchange.state.open_algos.values()
        if algo.status == "NEW" and algo.buys == (size < 0) and algo.type.startswith("STOP")
    ]
    covered = sum(algo.qty for algo in stops if algo.only_reduces)
    return size != 0 and not any(algo.close_position for algo in stops) and covered < abs(size)


ENDPOINTS = st.sampled_from(
    [
        *(f"POST {name}" for name in ("order", "algoOrder", "batchOrders", "leverage", "marginType", "positionMargin")),
        *(f"POST {name}" for name in ("positionSide/dual", "multiAssetsMargin", "countdownCancelAll", "order/test")),
        *(f"DELETE {name}" for name in ("order", "algoOrder", "allOpenOrders", "algoOpenOrders", "batchOrders")),
        *(
            f"GET {name}"
            for name in ("order", "algoOrder", "openOrders", "allOrders", "allAlgoOrders", "openAlgoOrders")
        ),
        *(f"GET {name}" for name in ("userTrades", "income", "klines", "markPriceKlines", "aggTrades", "fundingRate")),
        *(
            f"GET {name}"
            for name in ("account", "positionRisk", "depth", "ticker/24hr", "premiumIndex", "leverageBracket")
        ),
        *("PUT order", "PUT listenKey", "GET openOrder", "GET commissionRate", "GET symbolConfig"),
    ]
)
WORDS = st.sampled_from(
    [
        *("BTCUSDT", "XYZUSDT", "BUY", "SELL", "LONG", "BOTH", "MARKET", "LIMIT", "STOP", "STOP_MARKET", "GTC", "GTX"),
        *("TRAILING_STOP_MARKET", "CONDITIONAL", "MARK_PRICE", "ISOLATED", "true", "false", "1m", "1w", "REALIZED_PNL"),
        *(
            "0",
            "1",
            "2",
            "-1",
            "0.01",
            "0.002",
            "49000",
            "51000.1",
            "1e5",
            "NaN",
            "1_0",
            "9" * 19,
            "[]",
            '[{"symbol":1}]',
        ),
        *('["x"]', "[1,2]", "{", "", "é", "8000000001", "1000000000000001", "1700000040000"),
    ]
)
NAMES = (
    *("symbol", "side", "type", "quantity", "price", "timeInForce", "positionSide", "reduceOnly", "closePosition"),
    *("triggerPrice", "algoType", "workingType", "callbackRate", "activatePrice", "orderId", "algoId", "clientAlgoId"),
    *("newClientOrderId", "origClientOrderId", "leverage", "marginType", "amount", "dualSidePosition", "limit"),
    *("multiAssetsMargin", "countdownTime", "batchOrders", "orderIdList", "startTime", "endTime", "interval", "fromId"),
    *("incomeType", "goodTillDate", "priceProtect"),
)


@given(
    requests=st.lists(
        st.tuples(ENDPOINTS, st.dictionaries(st.sampled_from(NAMES), WORDS, max_size=9), st.booleans()), max_size=12
    )
)
def test_no_request_whatever_it_says_breaks_the_exchange(requests: list[Any]) -> None:
    desk = Desk(orders_10s=0, orders_1m=0)
    plausible = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01", "interval": "1m"}
    for endpoint, params, filled in requests:
        method, path = endpoint.split()
        answer = desk.send(method, path, **{**(plausible if filled else {}), **params})
        assert answer.status in (200, 400, 401, 404)
        assert answer.status == 200 or answer.code < 0
        check_books(desk)
    desk.move(48_000)
    check_books(desk)
