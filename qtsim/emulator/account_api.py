"""Endpoints of the account: wallet and positions, settings, fills and income."""

from __future__ import annotations

from typing import Any

from qtsim.emulator.accounts import BOTH, Position
from qtsim.emulator.algo_order import AlgoOrder
from qtsim.emulator.decimals import ZERO, shown
from qtsim.emulator.errors import ApiError, invalid, missing
from qtsim.emulator.orders import (
    Order,
    Params,
    flag,
    needed,
    needed_number,
    read_limit,
    read_position_side,
    whole,
)
from qtsim.emulator.payloads import (
    account_event,
    income_row,
    max_notional,
    money,
    position_risk,
    user_trade,
)
from qtsim.emulator.state import State, known_symbol, optional_symbol

WEEK_MS = 7 * 86_400_000
SUCCESS = {"code": 200, "msg": "success"}


class AccountApi:
    """Tells of the account and changes its settings. history_ms: how far back fills and income reach."""

    def __init__(self, state: State, history_ms: int) -> None:
        self.state = state
        self.history_ms = history_ms

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
        state, symbol = self.state, optional_symbol(self.state, params)
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
        symbol, account = optional_symbol(self.state, params), self.state.account
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
            "symbol": known_symbol(self.state, params),
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
        symbol, leverage = known_symbol(self.state, params), whole(params, "leverage")
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
        symbol, kind = known_symbol(self.state, params), needed(params, "marginType")
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
        symbol, kind, amount = known_symbol(self.state, params), whole(params, "type"), needed_number(params, "amount")
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
        symbol, limit = known_symbol(self.state, params), read_limit(params, 500, 1000)
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
        symbol, kind = optional_symbol(self.state, params), params.get("incomeType")
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

    def _waiting(self) -> list[Order | AlgoOrder]:
        """Open orders of both kinds."""
        return [*self.state.open_orders.values(), *self.state.open_algos.values()]
