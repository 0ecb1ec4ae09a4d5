"""The JSON of orders, positions and user stream events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from qtsim.emulator.accounts import Account, Position
from qtsim.emulator.algo_order import TRAILING, AlgoOrder
from qtsim.emulator.decimals import ZERO, padded, plain, shown
from qtsim.emulator.filters import SymbolRules
from qtsim.emulator.orders import Order
from qtsim.emulator.state import Income, State, Trade

MONEY_STEP = Decimal("1e-8")


def money(value: Decimal) -> str:
    """With at least 8 places, as the exchange writes money."""
    return padded(value, MONEY_STEP)


def order_answer(order: Order, rules: SymbolRules) -> dict[str, Any]:
    """Answer to a new, queried, cancelled or listed order."""
    return {
        "orderId": order.id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": padded(order.price, rules.tick),
        "avgPrice": padded(order.average_price, rules.tick),
        "origQty": padded(order.qty, rules.step),
        "executedQty": padded(order.executed, rules.step),
        "cumQty": padded(order.executed, rules.step),
        "cumQuote": money(order.quote),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": plain(order.stop_price),
        "workingType": order.working_type,
        "priceProtect": order.price_protect,
        "origType": order.original_type or order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "pair": order.symbol,
        "cumBase": "0",
    }


def order_event(order: Order, execution: str, now_ms: int, trade: Trade | None = None) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE. execution: NEW, CANCELED, CALCULATED, EXPIRED, TRADE or AMENDMENT."""
    body = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": plain(order.qty),
        "p": plain(order.price),
        "ap": plain(order.average_price),
        "sp": plain(order.stop_price),
        "x": execution,
        "X": order.status,
        "i": order.id,
        "l": plain(trade.qty) if trade else "0",
        "z": plain(order.executed),
        "L": plain(trade.price) if trade else "0",
        "T": now_ms,
        "t": trade.id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.original_type or order.type,
        "ps": order.position_side,
        "cp": order.close_position,
        "pP": order.price_protect,
        "si": 0,
        "ss": 0,
        "rp": plain(trade.realized) if trade else "0",
        "V": order.stp,
        "pm": "NONE",
        "gtd": order.good_till_ms,
        "er": order.expire_reason,
    }
    if trade:
        body |= {"N": "USDT", "n": plain(trade.commission)}
    return {"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": now_ms, "o": body}


def account_event(
    state: State, reason: str, positions: list[Position], change: Decimal = ZERO, symbol: str = ""
) -> dict[str, Any]:
    """ACCOUNT_UPDATE with the wallet and the positions that changed. change: of the wallet but PnL and commission."""
    account, now_ms = state.account, state.now_ms
    body: dict[str, Any] = {
        "m": reason,
        "B": [
            {
                "a": account.asset,
                "wb": money(account.wallet),
                "cw": shown(account.cross_wallet),
                "bc": plain(change),
            }
        ],
        "P": [
            {
                "s": p.symbol,
                "pa": plain(p.qty),
                "ep": plain(p.entry_price),
                "bep": plain(p.entry_price),
                "cr": plain(p.realized),
                "up": money(p.unrealized(state.mark(p.symbol))),
                "mt": "isolated" if p.isolated else "cross",
                "iw": shown(p.isolated_wallet),
                "ps": p.side,
                "ma": account.asset,
            }
            for p in positions
        ],
    }
    if symbol:
        body["S"] = symbol
    return {"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": body}


def algo_answer(algo: AlgoOrder, rules: SymbolRules, child: Order | None, *, queried: bool) -> dict[str, Any]:
    """Answer to a new, queried or listed conditional order."""
    trailing = algo.type == TRAILING
    found: dict[str, Any] = {
        "algoId": algo.id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": algo.position_side,
        "timeInForce": algo.time_in_force,
        "quantity": padded(algo.qty, rules.step),
        "algoStatus": algo.status,
        "triggerPrice": plain(algo.trigger_price),
        "price": plain(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.stp,
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "activatePrice": plain(algo.activate_price) if trailing else "",
        "callbackRate": plain(algo.callback_rate) if trailing else "",
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": algo.good_till_ms,
    }
    if not queried:
        return found
    found |= {
        "actualOrderId": str(algo.child_id) if algo.child_id else "",
        "actualPrice": padded(child.average_price, Decimal("0.00001")) if child else "0.00000",
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
    }
    if child:
        found |= {"actualType": child.type, "actualQty": plain(child.executed)}
    if trailing:
        found["isActivated"] = algo.activated
    return found


def algo_event(algo: AlgoOrder, child: Order | None, now_ms: int) -> dict[str, Any]:
    """ALGO_UPDATE."""
    body: dict[str, Any] = {
        "caid": algo.client_id,
        "aid": algo.id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": algo.symbol,
        "S": algo.side,
        "ps": algo.position_side,
        "f": algo.time_in_force,
        "q": plain(algo.qty),
        "X": algo.status,
        "ai": str(algo.child_id) if algo.child_id else "",
        "ap": plain(child.average_price) if child else "0",
        "aq": plain(child.executed) if child else "0",
        "act": algo.child_type if algo.child_id else "",
        "tp": plain(algo.trigger_price),
        "p": plain(algo.price),
        "V": algo.stp,
        "wt": algo.working_type,
        "pm": "NONE",
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.trigger_ms,
        "gtd": algo.good_till_ms,
    }
    if algo.reason:
        body["rm"] = algo.reason
    if algo.type == TRAILING:
        body |= {"ia": algo.activated, "AP": plain(algo.activate_price), "cr": plain(algo.callback_rate)}
    return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def margin_call(state: State, positions: list[Position]) -> dict[str, Any]:
    """MARGIN_CALL."""
    account = state.account
    return {
        "e": "MARGIN_CALL",
        "E": state.now_ms,
        "cw": shown(account.cross_wallet),
        "p": [
            {
                "s": p.symbol,
                "ps": p.side,
                "pa": plain(p.qty),
                "mt": "ISOLATED" if p.isolated else "CROSSED",
                "iw": shown(p.isolated_wallet),
                "mp": plain(state.mark(p.symbol)),
                "up": money(p.unrealized(state.mark(p.symbol))),
                "mm": shown(account.maintenance(p, state.mark(p.symbol))),
            }
            for p in positions
        ],
    }


def position_risk(state: State, position: Position) -> dict[str, Any]:
    """One row of positionRisk; version 2 and 3 together."""
    account, symbol = state.account, position.symbol
    mark = state.mark(symbol) if state.markets[symbol].mark is not None else ZERO
    settings = account.settings_of(symbol)
    notional = position.qty * mark
    isolated = position.isolated if position.qty else settings.isolated
    initial = account.initial_margin(position, mark)
    return {
        "symbol": symbol,
        "positionSide": position.side,
        "positionAmt": padded(position.qty, account.rules[symbol].step),
        "entryPrice": plain(position.entry_price),
        "breakEvenPrice": plain(position.entry_price),
        "markPrice": money(mark),
        "unRealizedProfit": money(position.unrealized(mark)),
        "liquidationPrice": shown(account.liquidation_price(position, state.marks())),
        "isolatedMargin": shown(position.isolated_wallet + position.unrealized(mark) if isolated else ZERO),
        "notional": shown(notional),
        "marginAsset": account.asset,
        "isolatedWallet": shown(position.isolated_wallet),
        "isolated": isolated,
        "initialMargin": shown(initial),
        "maintMargin": shown(account.maintenance(position, mark) if position.qty else ZERO),
        "positionInitialMargin": shown(initial),
        "openOrderInitialMargin": shown(ZERO),
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
        "leverage": str(settings.leverage),
        "marginType": "isolated" if isolated else "cross",
        "maxNotionalValue": _largest(account, symbol),
        "updateTime": position.updated_ms,
    }


def _largest(account: Account, symbol: str) -> str:
    value = account.rules[symbol].largest_notional(account.settings_of(symbol).leverage)
    return "1000000000000000" if value == float("inf") else f"{value:.0f}"


def max_notional(account: Account, symbol: str) -> str:
    """Largest notional at the symbol's leverage, as text."""
    return _largest(account, symbol)


def user_trade(trade: Trade) -> dict[str, Any]:
    """One row of userTrades."""
    order = trade.order
    return {
        "symbol": order.symbol,
        "id": trade.id,
        "orderId": order.id,
        "side": order.side,
        "price": plain(trade.price),
        "qty": plain(trade.qty),
        "realizedPnl": money(trade.realized),
        "quoteQty": plain(trade.qty * trade.price),
        "commission": plain(trade.commission),
        "commissionAsset": "USDT",
        "time": trade.ts_ms,
        "positionSide": order.position_side,
        "buyer": order.buys,
        "maker": trade.maker,
    }


def income_row(row: Income, asset: str) -> dict[str, Any]:
    """One row of income."""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": money(row.amount),
        "asset": asset,
        "time": row.ts_ms,
        "info": row.info,
        "tranId": row.tran_id,
        "tradeId": row.trade_id,
    }
