"""Endpoints of orders: regular ones and, in a world of their own, conditional ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import unquote

from qtsim.emulator.algo_order import CANCELED as ALGO_CANCELED
from qtsim.emulator.algo_order import EXPIRED as ALGO_EXPIRED
from qtsim.emulator.algo_order import AlgoOrder
from qtsim.emulator.algo_orders import AlgoService
from qtsim.emulator.decimals import ZERO, padded
from qtsim.emulator.errors import ApiError, invalid, missing
from qtsim.emulator.filters import check_band, check_notional, check_price, check_qty, check_status
from qtsim.emulator.matching import Matching
from qtsim.emulator.orders import (
    CANCELED,
    EXPIRED,
    LIMIT,
    MARKET,
    Order,
    Params,
    needed,
    needed_number,
    read_buys,
    read_client_id,
    read_limit,
    read_position_side,
    read_reduce_only,
    read_stp,
    read_time_in_force,
    read_type,
    whole,
)
from qtsim.emulator.payloads import algo_answer, order_answer
from qtsim.emulator.state import State, known_symbol, optional_symbol

UNFILLED_KEPT_MS = 3 * 86_400_000
"""Cancelled and expired orders without a fill are found for so long."""
BATCH_MAX = 5
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}


Row = TypeVar("Row", Order, AlgoOrder)


def page(rows: Sequence[Row], params: Params) -> list[Row]:
    """Of rows in the order of their making those in [startTime, endTime]: the first with a start, else the last.

    Raises ApiError.
    """
    start, end = whole(params, "startTime"), whole(params, "endTime")
    limit = read_limit(params, 500, 1000)
    chosen = [
        row for row in rows if (start is None or row.created_ms >= start) and (end is None or row.created_ms <= end)
    ]
    return chosen[:limit] if start is not None else chosen[-limit:]


class OrderApi:
    """Places, changes, queries and cancels orders."""

    def __init__(self, state: State, matching: Matching, algos: AlgoService) -> None:
        self.state = state
        self.matching = matching
        self.algos = algos
        self.countdowns: dict[str, int] = {}
        self.market_share = 1.0
        """Share of a market order that fills; the fault `partial` sets it for one request."""

    # regular orders --------------------------------------------------------------------------------------------------

    def new_order(self, params: Params) -> Any:
        """Place LIMIT or MARKET."""
        order = self._read_order(params)
        self.matching.place(order, share=self.market_share)
        return self._answer(order)

    def test_order(self, params: Params) -> Any:
        """Validate without placing."""
        self._read_order(params)
        return {}

    def _read_order(self, params: Params, source: str = "user") -> Order:
        state, hedge = self.state, self.state.account.hedge
        symbol = known_symbol(self.state, params)
        kind = read_type(params)
        buys, position_side = read_buys(params), read_position_side(params, hedge)
        reduce_only = read_reduce_only(params, hedge)
        rules, market = state.rules[symbol], kind == MARKET
        client_id = read_client_id(params, "newClientOrderId")
        if client_id in {order.client_id for order in state.open_orders.values()}:
            raise ApiError(-4116)
        qty = needed_number(params, "quantity")
        check_qty(rules, qty, market=market)
        price, time_in_force = ZERO, "GTC"
        if kind == LIMIT:
            price = needed_number(params, "price")
            check_price(rules, price)
            check_band(rules, buys, price, state.mark(symbol))
            time_in_force = read_time_in_force(params)
        elif params.get("price"):
            raise ApiError(-1106, msg="Parameter 'price' sent when not required.")
        order = Order(
            id=state.next_order,
            client_id=client_id or state.own_id("emulator-"),
            symbol=symbol,
            buys=buys,
            position_side=position_side,
            type=kind,
            time_in_force=time_in_force,
            qty=qty,
            price=price,
            reduce_only=reduce_only,
            created_ms=state.now_ms,
            updated_ms=state.now_ms,
            stp=read_stp(params),
            good_till_ms=self._good_till(params, time_in_force),
            source=source,
        )
        reference = price if kind == LIMIT else state.price(symbol)
        check_notional(rules, qty * reference, reduces=order.only_reduces)
        check_status(rules, reduces=order.only_reduces)
        state.next_order += 1
        return order

    def _good_till(self, params: Params, time_in_force: str) -> int:
        if time_in_force != "GTD":
            return 0
        until = whole(params, "goodTillDate")
        if until is None:
            raise missing("goodTillDate")
        if until <= self.state.now_ms:
            raise invalid("goodTillDate")
        return until

    def amend_order(self, params: Params) -> Any:
        """Change a resting limit order."""
        order = self._find_order(params)
        if not order.is_open:
            raise ApiError(-2013)
        rules = self.state.rules[order.symbol]
        qty, price = needed_number(params, "quantity"), needed_number(params, "price")
        check_qty(rules, qty, market=False)
        check_price(rules, price)
        self.matching.amend(order, qty, price)
        return self._answer(order)

    def query_order(self, params: Params) -> Any:
        """One order of any status, by id or client id."""
        return self._answer(self._find_order(params))

    def query_open_order(self, params: Params) -> Any:
        """One order, if it still rests."""
        order = self._find_order(params)
        if not order.is_open:
            raise ApiError(-2013)
        return self._answer(order)

    def cancel_order(self, params: Params) -> Any:
        """Take back an order that rests."""
        try:
            order = self._find_order(params, lagging=False)
        except ApiError as error:
            raise ApiError(-2011) if error.code == -2013 else error from None
        if not order.is_open:
            raise ApiError(-2011)
        self.matching.cancel(order)
        return self._answer(order)

    def cancel_all(self, params: Params) -> Any:
        """Take back all regular orders of a symbol; conditional ones stay."""
        self.cancel_orders_of(known_symbol(self.state, params))
        return dict(ALL_CANCELLED)

    def cancel_orders_of(self, symbol: str) -> int:
        """Cancel a symbol's regular orders; how many."""
        mine = [order for order in self.state.open_orders.values() if order.symbol == symbol]
        for order in mine:
            self.matching.cancel(order)
        return len(mine)

    def open_orders(self, params: Params) -> Any:
        """Regular orders that rest; conditional ones are not among them."""
        symbol = optional_symbol(self.state, params)
        return [
            self._answer(order)
            for order in self.state.open_orders.values()
            if symbol in (None, order.symbol) and not self._lags(order.created_ms, listed=True)
        ]

    def all_orders(self, params: Params) -> Any:
        """Regular orders of a symbol, old to new."""
        symbol = known_symbol(self.state, params)
        rows = [
            order for order in self.state.orders.values() if order.symbol == symbol and not self._is_archived(order)
        ]
        first = whole(params, "orderId")
        if first is not None:
            rows = [order for order in rows if order.id >= first]
        return [self._answer(order) for order in page(rows, params)]

    def new_batch(self, params: Params) -> Any:
        """Up to five regular orders; each has its own answer."""
        return [self._one_of_batch(self.new_order, item) for item in self._batch(params)]

    def cancel_batch(self, params: Params) -> Any:
        """Cancel by list of ids or of client ids."""
        symbol = known_symbol(self.state, params)
        name, key = "orderIdList", "orderId"
        if params.get("origClientOrderIdList"):
            name, key = "origClientOrderIdList", "origClientOrderId"
        items = [{"symbol": symbol, key: str(value)} for value in self._list(params, name)]
        return [self._one_of_batch(self.cancel_order, item) for item in items]

    def _batch(self, params: Params) -> list[dict[str, str]]:
        items = self._list(params, "batchOrders")
        if not all(isinstance(item, dict) for item in items):
            raise invalid("batchOrders")
        return [
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in item.items()}
            for item in items
        ]

    @staticmethod
    def _list(params: Params, name: str) -> list[Any]:
        text = needed(params, name)
        try:
            items = json.loads(text if text.startswith("[") else unquote(text))
        except ValueError:
            raise invalid(name) from None
        if not isinstance(items, list) or not items or len(items) > BATCH_MAX:
            raise invalid(name)
        return items

    @staticmethod
    def _one_of_batch(endpoint: Any, item: Params) -> Any:
        try:
            return endpoint(item)
        except ApiError as error:
            return {"code": error.code, "msg": error.msg}

    def countdown_cancel(self, params: Params) -> Any:
        """Cancel a symbol's regular orders after a time on the wall unless it is set anew; 0 ends it.

        Conditional orders stay: the documentation does not say that they go, so nothing may rely on it.
        """
        symbol, countdown = known_symbol(self.state, params), whole(params, "countdownTime")
        if countdown is None:
            raise missing("countdownTime")
        if countdown:
            self.countdowns[symbol] = self.state.wall_ms + countdown
        else:
            self.countdowns.pop(symbol, None)
        return {"symbol": symbol, "countdownTime": str(countdown)}

    def cancel_counted_down(self) -> None:
        """Cancel where a countdown has ended."""
        for symbol, due in list(self.countdowns.items()):
            if due <= self.state.wall_ms:
                del self.countdowns[symbol]
                self.cancel_orders_of(symbol)

    # conditional orders ----------------------------------------------------------------------------------------------

    def new_algo(self, params: Params) -> Any:
        """Place a conditional order."""
        return self._algo_answer(self.algos.place(params), queried=False)

    def query_algo(self, params: Params) -> Any:
        """One conditional order of any status."""
        return self._algo_answer(self._find_algo(params))

    def cancel_algo(self, params: Params) -> Any:
        """Take back a conditional order that waits."""
        try:
            algo = self._find_algo(params, lagging=False)
        except ApiError as error:
            raise ApiError(-2011) if error.code == -2013 else error from None
        self.algos.cancel(algo)
        return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}

    def cancel_all_algos(self, params: Params) -> Any:
        """Take back all conditional orders of a symbol."""
        self.cancel_algos_of(known_symbol(self.state, params))
        return dict(ALL_CANCELLED)

    def cancel_algos_of(self, symbol: str) -> int:
        """Cancel a symbol's waiting conditional orders; how many."""
        mine = [a for a in self.state.open_algos.values() if a.symbol == symbol and a.status == "NEW"]
        for algo in mine:
            self.algos.cancel(algo)
        return len(mine)

    def open_algos(self, params: Params) -> Any:
        """Conditional orders that wait, those that are stuck in TRIGGERING among them."""
        symbol = optional_symbol(self.state, params)
        return [
            self._algo_answer(algo)
            for algo in self.state.open_algos.values()
            if symbol in (None, algo.symbol) and not self._lags(algo.created_ms, listed=True)
        ]

    def all_algos(self, params: Params) -> Any:
        """Conditional orders of a symbol, old to new."""
        symbol = known_symbol(self.state, params)
        rows = [a for a in self.state.algos.values() if a.symbol == symbol and not self._is_archived_algo(a)]
        first = whole(params, "algoId")
        if first is not None:
            rows = [algo for algo in rows if algo.id >= first]
        return [self._algo_answer(algo) for algo in page(rows, params)]

    # looking up ------------------------------------------------------------------------------------------------------

    def _find_order(self, params: Params, *, lagging: bool = True) -> Order:
        symbol, order_id = known_symbol(self.state, params), whole(params, "orderId")
        client_id = params.get("origClientOrderId", "")
        if order_id is None and not client_id:
            raise missing("orderId")
        if order_id is None:
            order_id = self.state.order_ids.get(client_id, 0)
        order = self.state.orders.get(order_id)
        if order is None or order.symbol != symbol or self._is_archived(order):
            raise ApiError(-2013)
        if lagging and self._lags(order.created_ms):
            raise ApiError(-2013)
        return order

    def _find_algo(self, params: Params, *, lagging: bool = True) -> AlgoOrder:
        algo_id, client_id = whole(params, "algoId"), params.get("clientAlgoId", "")
        if algo_id is None and not client_id:
            raise missing("algoId")
        if algo_id is None:
            algo_id = self.state.algo_ids.get(client_id, 0)
        algo = self.state.algos.get(algo_id)
        if algo is None or self._is_archived_algo(algo) or (lagging and self._lags(algo.created_ms)):
            raise ApiError(-2013)
        return algo

    def _lags(self, created_ms: int, *, listed: bool = False) -> bool:
        plan = self.state.faults.plan
        return (plan.lists_lag or not listed) and self.state.now_ms < created_ms + plan.query_lag_ms

    def _is_archived(self, order: Order) -> bool:
        gone = order.status in (CANCELED, EXPIRED) and not order.executed
        return gone and self.state.now_ms - order.updated_ms > UNFILLED_KEPT_MS

    def _is_archived_algo(self, algo: AlgoOrder) -> bool:
        gone = algo.status in (ALGO_CANCELED, ALGO_EXPIRED)
        return gone and self.state.now_ms - algo.updated_ms > UNFILLED_KEPT_MS

    def _answer(self, order: Order) -> dict[str, Any]:
        return order_answer(order, self.state.rules[order.symbol])

    def _algo_answer(self, algo: AlgoOrder, *, queried: bool = True) -> dict[str, Any]:
        child = self.state.orders.get(algo.child_id)
        return algo_answer(algo, self.state.rules[algo.symbol], child, queried=queried)

    # from outside ----------------------------------------------------------------------------------------------------

    def foreign_trade(self, symbol: str, qty: Decimal, position_side: str) -> Order:
        """Somebody else's market order on the account. Raises ApiError."""
        params = {
            "symbol": symbol,
            "side": "BUY" if qty > 0 else "SELL",
            "type": MARKET,
            "quantity": padded(abs(qty), self.state.rules[symbol].step),
            "positionSide": position_side,
            "newClientOrderId": self.state.own_id("web_"),
        }
        order = self._read_order(params, source="foreign")
        self.matching.place(order)
        return order
