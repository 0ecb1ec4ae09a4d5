"""Account and trading endpoints."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from qtsim.emulator.accounts import BOTH, Position
from qtsim.emulator.algo_order import CANCELED as ALGO_CANCELED
from qtsim.emulator.algo_order import EXPIRED as ALGO_EXPIRED
from qtsim.emulator.algo_order import AlgoOrder
from qtsim.emulator.algo_orders import AlgoService
from qtsim.emulator.decimals import ZERO, padded, shown
from qtsim.emulator.errors import ApiError, invalid, missing
from qtsim.emulator.filters import check_band, check_notional, check_price, check_qty
from qtsim.emulator.matching import Matching
from qtsim.emulator.orders import (
    CANCELED,
    EXPIRED,
    LIMIT,
    MARKET,
    Order,
    Params,
    flag,
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
from qtsim.emulator.payloads import (
    account_event,
    algo_answer,
    income_row,
    max_notional,
    money,
    order_answer,
    position_risk,
    user_trade,
)
from qtsim.emulator.state import State

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
UNFILLED_KEPT_MS = 3 * DAY_MS
"""Cancelled and expired orders without a fill are found for so long."""
BATCH_MAX = 5
SUCCESS = {"code": 200, "msg": "success"}
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}


class PrivateApi:
    """Everything that needs a key. history_ms: how far back trades and income reach."""

    def __init__(self, state: State, matching: Matching, algos: AlgoService, history_ms: int) -> None:
        self.state = state
        self.matching = matching
        self.algos = algos
        self.history_ms = history_ms
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
        symbol = self._symbol(params)
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
        self.cancel_orders_of(self._symbol(params))
        return dict(ALL_CANCELLED)

    def cancel_orders_of(self, symbol: str) -> int:
        """Cancel a symbol's regular orders; how many."""
        mine = [order for order in self.state.open_orders.values() if order.symbol == symbol]
        for order in mine:
            self.matching.cancel(order)
        return len(mine)

    def open_orders(self, params: Params) -> Any:
        """Regular orders that rest; conditional ones are not among them."""
        symbol = self._optional_symbol(params)
        return [
            self._answer(order)
            for order in self.state.open_orders.values()
            if symbol in (None, order.symbol) and not self._lags(order.created_ms, listed=True)
        ]

    def all_orders(self, params: Params) -> Any:
        """Regular orders of a symbol, old to new."""
        symbol = self._symbol(params)
        rows = [
            order for order in self.state.orders.values() if order.symbol == symbol and not self._is_archived(order)
        ]
        first = whole(params, "orderId")
        if first is not None:
            rows = [order for order in rows if order.id >= first]
        return [self._answer(order) for order in self._page(rows, params, lambda order: order.created_ms, 500)]

    def new_batch(self, params: Params) -> Any:
        """Up to five regular orders; each has its own answer."""
        return [self._one_of_batch(self.new_order, item) for item in self._batch(params)]

    def cancel_batch(self, params: Params) -> Any:
        """Cancel by list of ids or of client ids."""
        symbol = self._symbol(params)
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
        symbol, countdown = self._symbol(params), whole(params, "countdownTime")
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
        self.cancel_algos_of(self._symbol(params))
        return dict(ALL_CANCELLED)

    def cancel_algos_of(self, symbol: str) -> int:
        """Cancel a symbol's waiting conditional orders; how many."""
        mine = [a for a in self.state.open_algos.values() if a.symbol == symbol and a.status == "NEW"]
        for algo in mine:
            self.algos.cancel(algo)
        return len(mine)

    def open_algos(self, params: Params) -> Any:
        """Conditional orders that wait, those that are stuck in TRIGGERING among them."""
        symbol = self._optional_symbol(params)
        return [
            self._algo_answer(algo)
            for algo in self.state.open_algos.values()
            if symbol in (None, algo.symbol) and not self._lags(algo.created_ms, listed=True)
        ]

    def all_algos(self, params: Params) -> Any:
        """Conditional orders of a symbol, old to new."""
        symbol = self._symbol(params)
        rows = [a for a in self.state.algos.values() if a.symbol == symbol and not self._is_archived_algo(a)]
        first = whole(params, "algoId")
        if first is not None:
            rows = [algo for algo in rows if algo.id >= first]
        return [self._algo_answer(algo) for algo in self._page(rows, params, lambda algo: algo.created_ms, 500)]

    # the account -----------------------------------------------------------------------------------------------------

    def account(self, params: Params) -> Any:
        """Wallet, margins and positions; versions 2 and 3 together."""
        state, account = self.state, self.state.account
        marks = state.marks()
        unrealized = account.unrealized(marks)
        open_positions = list(account.open_positions())
        position_margin = sum((account.initial_margin(p, marks[p.symbol]) for p in open_positions), ZERO)
        order_margin = state.order_margin()
        maintenance = sum((account.maintenance(p, marks[p.symbol]) for p in open_positions), ZERO)
        totals = {
            "walletBalance": money(account.wallet),
            "unrealizedProfit": money(unrealized),
            "marginBalance": money(account.wallet + unrealized),
            "maintMargin": shown(maintenance),
            "initialMargin": shown(position_margin + order_margin),
            "positionInitialMargin": shown(position_margin),
            "openOrderInitialMargin": shown(order_margin),
            "crossWalletBalance": shown(account.cross_wallet),
            "crossUnPnl": shown(account.unrealized(marks, cross_only=True)),
            "availableBalance": shown(state.available()),
            "maxWithdrawAmount": shown(state.available()),
        }
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": False,
            "updateTime": account.updated_ms,
            "multiAssetsMargin": account.multi_assets,
            "tradeGroupId": -1,
            "totalInitialMargin": totals["initialMargin"],
            "totalMaintMargin": totals["maintMargin"],
            "totalWalletBalance": totals["walletBalance"],
            "totalUnrealizedProfit": totals["unrealizedProfit"],
            "totalMarginBalance": totals["marginBalance"],
            "totalPositionInitialMargin": totals["positionInitialMargin"],
            "totalOpenOrderInitialMargin": totals["openOrderInitialMargin"],
            "totalCrossWalletBalance": totals["crossWalletBalance"],
            "totalCrossUnPnl": totals["crossUnPnl"],
            "availableBalance": totals["availableBalance"],
            "maxWithdrawAmount": totals["maxWithdrawAmount"],
            "assets": [
                {
                    "asset": account.asset,
                    **totals,
                    "marginAvailable": True,
                    "updateTime": account.updated_ms,
                }
            ],
            "positions": [self._account_position(position) for position in open_positions],
        }

    def _account_position(self, position: Position) -> dict[str, Any]:
        row = position_risk(self.state, position)
        return {**row, "unrealizedProfit": row["unRealizedProfit"], "maxNotional": row["maxNotionalValue"]}

    def balance(self, params: Params) -> Any:
        """The wallet."""
        account, marks = self.state.account, self.state.marks()
        return [
            {
                "accountAlias": "emulator",
                "asset": account.asset,
                "balance": money(account.wallet),
                "crossWalletBalance": shown(account.cross_wallet),
                "crossUnPnl": shown(account.unrealized(marks, cross_only=True)),
                "availableBalance": shown(self.state.available()),
                "maxWithdrawAmount": shown(self.state.available()),
                "marginAvailable": True,
                "updateTime": account.updated_ms,
            }
        ]

    def position_risk_v2(self, params: Params) -> Any:
        """A row for every symbol and side, flat ones too."""
        return self._risk(params, every=True)

    def position_risk_v3(self, params: Params) -> Any:
        """Rows of symbols with a position or with orders."""
        return self._risk(params, every=False)

    def _risk(self, params: Params, *, every: bool) -> Any:
        state, symbol = self.state, self._optional_symbol(params)
        waiting = {order.symbol for order in self._waiting()}
        rows = []
        for name in state.rules:
            if symbol not in (None, name):
                continue
            for side in state.account.sides():
                position = state.account.position(name, side)
                if every or position.qty or name in waiting:
                    rows.append(position_risk(state, position))
        return rows

    def symbol_config(self, params: Params) -> Any:
        """Leverage and margin type by symbol."""
        symbol, account = self._optional_symbol(params), self.state.account
        return [
            {
                "symbol": name,
                "marginType": "ISOLATED" if account.settings_of(name).isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": account.settings_of(name).leverage,
                "maxNotionalValue": max_notional(account, name),
            }
            for name in self.state.rules
            if symbol in (None, name)
        ]

    def account_config(self, params: Params) -> Any:
        """The account's modes."""
        account = self.state.account
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": False,
            "dualSidePosition": account.hedge,
            "updateTime": account.updated_ms,
            "multiAssetsMargin": account.multi_assets,
            "tradeGroupId": -1,
        }

    def commission_rate(self, params: Params) -> Any:
        """Maker and taker fee."""
        rule = self.state.fill_rule
        return {
            "symbol": self._symbol(params),
            "makerCommissionRate": f"{rule.maker:.6f}",
            "takerCommissionRate": f"{rule.taker:.6f}",
            "rpiCommissionRate": "0.000000",
        }

    def fee_burn(self, params: Params) -> Any:
        """Fees are never paid in BNB here."""
        return {"feeBurn": False}

    # settings --------------------------------------------------------------------------------------------------------

    def position_mode(self, params: Params) -> Any:
        """Hedge mode?"""
        return {"dualSidePosition": self.state.account.hedge}

    def set_position_mode(self, params: Params) -> Any:
        """Refused while anything is open."""
        needed(params, "dualSidePosition")
        hedge, account = flag(params, "dualSidePosition"), self.state.account
        if hedge == account.hedge:
            raise ApiError(-4059)
        if self.state.open_orders or self.state.open_algos:
            raise ApiError(-4067)
        if any(account.open_positions()):
            raise ApiError(-4068)
        account.hedge = hedge
        return dict(SUCCESS)

    def multi_assets(self, params: Params) -> Any:
        """Multi-assets mode?"""
        return {"multiAssetsMargin": self.state.account.multi_assets}

    def set_multi_assets(self, params: Params) -> Any:
        """Kept and told; there is one asset."""
        needed(params, "multiAssetsMargin")
        wanted, account = flag(params, "multiAssetsMargin"), self.state.account
        if wanted == account.multi_assets:
            raise ApiError(-4171)
        account.multi_assets = wanted
        self._tell_config({"ai": {"j": wanted}})
        return dict(SUCCESS)

    def set_leverage(self, params: Params) -> Any:
        """Between 1 and the first bracket's; not lower while an isolated position is open."""
        symbol, leverage = self._symbol(params), whole(params, "leverage")
        if leverage is None:
            raise missing("leverage")
        account, rules = self.state.account, self.state.rules[symbol]
        settings = account.settings_of(symbol)
        if not 1 <= leverage <= rules.max_leverage:
            raise ApiError(-4028, msg=f"Leverage {leverage} is not valid")
        held = list(account.open_positions(symbol))
        if leverage < settings.leverage and any(position.isolated for position in held):
            raise ApiError(-4161)
        for position in held:
            if float(abs(position.qty) * self.state.mark(symbol)) > rules.largest_notional(leverage):
                raise ApiError(-2027)
        changed = leverage != settings.leverage
        settings.leverage = leverage
        if changed:
            self._tell_config({"ac": {"s": symbol, "l": leverage}})
        return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": max_notional(account, symbol)}

    def set_margin_type(self, params: Params) -> Any:
        """ISOLATED or CROSSED; refused while the symbol has orders or a position."""
        symbol, kind = self._symbol(params), needed(params, "marginType")
        if kind not in ("ISOLATED", "CROSSED"):
            raise invalid("marginType")
        isolated, account = kind == "ISOLATED", self.state.account
        if account.settings_of(symbol).isolated == isolated:
            raise ApiError(-4046)
        if isolated and account.multi_assets:
            raise ApiError(-4168)
        if any(order.symbol == symbol for order in self._waiting()):
            raise ApiError(-4047)
        if any(account.open_positions(symbol)):
            raise ApiError(-4048)
        account.settings_of(symbol).isolated = isolated
        for side in (BOTH, "LONG", "SHORT"):
            account.position(symbol, side).isolated = isolated
        return dict(SUCCESS)

    def set_position_margin(self, params: Params) -> Any:
        """Move money into (1) or out of (2) an isolated position."""
        state, account = self.state, self.state.account
        symbol, kind, amount = self._symbol(params), whole(params, "type"), needed_number(params, "amount")
        if kind not in (1, 2):
            raise invalid("type")
        if amount <= 0:
            raise invalid("amount")
        position = account.position(symbol, read_position_side(params, account.hedge))
        if not position.qty or not position.isolated:
            raise ApiError(-4054)
        if kind == 1 and amount > state.available():
            raise ApiError(-4050)
        if kind == 2:
            mark = state.mark(symbol)
            spare = (
                position.isolated_wallet + min(ZERO, position.unrealized(mark)) - account.initial_margin(position, mark)
            )
            if amount > spare:
                raise ApiError(-4051)
        position.isolated_wallet += amount if kind == 1 else -amount
        state.streams.private(account_event(state, "MARGIN_TRANSFER", [position]), state.wall_ms)
        return {"amount": float(amount), "code": 200, "msg": "Successfully modify position margin.", "type": kind}

    def _tell_config(self, body: dict[str, Any]) -> None:
        now = self.state.now_ms
        self.state.streams.private({"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, **body}, self.state.wall_ms)

    # history ---------------------------------------------------------------------------------------------------------

    def user_trades(self, params: Params) -> Any:
        """Fills of a symbol: by time at most a week at once, or from an id on."""
        symbol, limit = self._symbol(params), read_limit(params, 500, 1000)
        order_id, first = whole(params, "orderId"), whole(params, "fromId")
        oldest = self.state.now_ms - self.history_ms
        rows = [t for t in self.state.trades if t.order.symbol == symbol and t.ts_ms >= oldest]
        if order_id is not None:
            rows = [trade for trade in rows if trade.order.id == order_id]
        if first is not None:
            return [user_trade(trade) for trade in rows if trade.id >= first][:limit]
        return [user_trade(trade) for trade in self._window(rows, params, limit)]

    def income(self, params: Params) -> Any:
        """Changes of the wallet, old to new; without a start those of the last week."""
        symbol, kind = self._optional_symbol(params), params.get("incomeType")
        oldest = self.state.now_ms - self.history_ms
        rows = [
            row
            for row in self.state.income
            if row.ts_ms >= oldest and symbol in (None, row.symbol) and kind in (None, "", row.kind)
        ]
        chosen = self._window(rows, params, read_limit(params, 100, 1000), whole_range=True)
        return [income_row(row, self.state.account.asset) for row in chosen]

    def _window(self, rows: Any, params: Params, limit: int, *, whole_range: bool = False) -> Any:
        start, end = whole(params, "startTime"), whole(params, "endTime")
        now = self.state.now_ms
        if start is None:
            begin = (now if end is None else end) - WEEK_MS
            return [row for row in rows if begin <= row.ts_ms <= (now if end is None else end)][-limit:]
        last = start + WEEK_MS if end is None and not whole_range else now if end is None else end
        return [row for row in rows if start <= row.ts_ms <= last][:limit]

    @staticmethod
    def _page(rows: Any, params: Params, time_of: Any, most: int) -> Any:
        start, end = whole(params, "startTime"), whole(params, "endTime")
        limit = read_limit(params, most, 1000)
        chosen = [
            row for row in rows if (start is None or time_of(row) >= start) and (end is None or time_of(row) <= end)
        ]
        return chosen[:limit] if start is not None else chosen[-limit:]

    def _waiting(self) -> list[Order | AlgoOrder]:
        """Open orders of both kinds."""
        return [*self.state.open_orders.values(), *self.state.open_algos.values()]

    # looking up ------------------------------------------------------------------------------------------------------

    def _symbol(self, params: Params) -> str:
        symbol = needed(params, "symbol")
        if symbol not in self.state.rules:
            raise ApiError(-1121)
        return symbol

    def _optional_symbol(self, params: Params) -> str | None:
        return self._symbol(params) if params.get("symbol") else None

    def _find_order(self, params: Params, *, lagging: bool = True) -> Order:
        symbol, order_id = self._symbol(params), whole(params, "orderId")
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
