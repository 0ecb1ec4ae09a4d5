"""The exchange's JSON read into this program's words. Unknown keys are ignored; an unknown event is None."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from qtsim.live.history import Bar
from qtsim.live.orders import (
    AlgoUpdate,
    BarClosed,
    ConfigChanged,
    KeyExpired,
    LastPrice,
    MarketEvent,
    MarkPrice,
    OrderState,
    OrderUpdate,
    PositionTold,
    UserEvent,
    WalletUpdate,
)
from qtsim.live.snapshot import Execution, Held, Resting

MS = 1_000_000
Json = Mapping[str, Any]


def market_event(message: Json) -> MarketEvent | None:
    """A frame of the market streams, combined or not."""
    body = message.get("data", message)
    kind = body.get("e")
    if kind == "aggTrade":
        return LastPrice(str(body["s"]), int(body["T"]) * MS, float(body["p"]))
    if kind == "markPriceUpdate":
        return MarkPrice(str(body["s"]), int(body["E"]) * MS, float(body["p"]))
    if kind == "kline" and body["k"]["x"]:
        k = body["k"]
        prices = (float(k[name]) for name in ("o", "h", "l", "c", "v"))
        return BarClosed(str(body["s"]), (int(k["T"]) + 1) * MS, Bar(int(k["t"]) * MS, *prices))
    return None


def user_event(message: Json) -> UserEvent | None:
    """A frame of the user stream."""
    body = message.get("data", message)
    kind = body.get("e")
    if kind == "ORDER_TRADE_UPDATE":
        return _order_update(body)
    if kind == "ALGO_UPDATE":
        o = body["o"]
        state = OrderState(
            str(o["s"]), str(o["caid"]), int(o["aid"]), str(o["X"]), is_algo=True, child_id=int(o.get("ai") or 0)
        )
        return AlgoUpdate(state, int(body["T"]) * MS, str(o.get("rm", "")))
    if kind == "ACCOUNT_UPDATE":
        a = body["a"]
        balance = next((one for one in a.get("B", []) if one.get("a") == "USDT"), None)
        wallet, change = (float(balance["wb"]), float(balance.get("bc", 0))) if balance else (float("nan"), 0.0)
        symbol, position_side = _only_position(a)
        return WalletUpdate(
            str(a["m"]),
            int(body["T"]) * MS,
            wallet,
            change,
            str(a.get("S", "") or symbol),
            position_side,
            tuple(position_told(row) for row in a.get("P", [])),
        )
    if kind == "listenKeyExpired":
        return KeyExpired()
    if kind == "ACCOUNT_CONFIG_UPDATE":
        own = body.get("ac") or {}
        return ConfigChanged(str(own or body.get("ai") or ""), str(own.get("s", "")), int(own.get("l", 0)))
    return None


def position_told(row: Json) -> PositionTold:
    """A position of an ACCOUNT_UPDATE."""
    return PositionTold(str(row["s"]), str(row.get("ps", "BOTH")), str(row["pa"]), float(row.get("ep") or "nan"))


def _only_position(account: Json) -> tuple[str, str]:
    """Symbol and side of the position that an update is about; empty where it shows none, or several."""
    rows = account.get("P", [])
    return (str(rows[0]["s"]), str(rows[0].get("ps", ""))) if len(rows) == 1 else ("", "")


def _order_update(body: Json) -> OrderUpdate:
    o = body["o"]
    ts = int(o.get("T", body["T"])) * MS
    state = OrderState(str(o["s"]), str(o["c"]), int(o["i"]), str(o["X"]), str(o["z"]))
    execution = None
    if Decimal(str(o.get("l", "0"))) > 0 and o["x"] in ("TRADE", "CALCULATED"):
        execution = Execution(
            str(o["s"]),
            int(o["t"]),
            ts,
            str(o["c"]),
            int(o["i"]),
            str(o["S"]),
            str(o.get("ps", "BOTH")),
            str(o["l"]),
            str(o["L"]),
            str(o.get("n") or "0"),
            str(o.get("N") or "USDT"),
            str(o.get("rp", "0")),
            bool(o.get("m", False)),
        )
    return OrderUpdate(state, ts, execution, str(o.get("ap", "0")))


def order_state(row: Json) -> OrderState:
    """A regular order of an answer or a query."""
    executed = str(row.get("executedQty", row.get("cumQty", "0")))
    return OrderState(str(row["symbol"]), str(row["clientOrderId"]), int(row["orderId"]), str(row["status"]), executed)


def algo_state(row: Json) -> OrderState:
    """A conditional order of an answer or a query."""
    child = int(row.get("actualOrderId") or 0)
    return OrderState(
        str(row["symbol"]),
        str(row["clientAlgoId"]),
        int(row["algoId"]),
        str(row["algoStatus"]),
        is_algo=True,
        child_id=child,
    )


def resting_order(row: Json) -> Resting:
    """A row of openOrders."""
    return Resting(
        str(row["symbol"]),
        str(row["clientOrderId"]),
        int(row["orderId"]),
        str(row["side"]),
        str(row.get("positionSide", "BOTH")),
        is_algo=False,
        status=str(row["status"]),
        close_position=_flag(row.get("closePosition")),
        updated=int(row.get("updateTime", 0)),
        price=float(row.get("price") or "nan") or float("nan"),
    )


def resting_algo(row: Json) -> Resting:
    """A row of openAlgoOrders."""
    return Resting(
        str(row["symbol"]),
        str(row["clientAlgoId"]),
        int(row["algoId"]),
        str(row["side"]),
        str(row.get("positionSide", "BOTH")),
        is_algo=True,
        status=str(row["algoStatus"]),
        close_position=_flag(row.get("closePosition")),
        trigger=float(row.get("triggerPrice") or "nan"),
        updated=int(row.get("updateTime", 0)),
    )


def held_position(row: Json, lot: Decimal) -> Held:
    """A row of positionRisk."""
    return Held(
        str(row["symbol"]),
        str(row.get("positionSide", "BOTH")),
        int((Decimal(str(row["positionAmt"])) / lot).to_integral_value()),
        float(row["entryPrice"]),
        float(row.get("markPrice") or "nan"),
        float(row.get("leverage") or "nan"),
        float(row.get("isolatedWallet") or "nan"),
    )


def user_trade(row: Json) -> Execution:
    """A row of userTrades; it does not say whose the order is."""
    return Execution(
        str(row["symbol"]),
        int(row["id"]),
        int(row["time"]) * MS,
        "",
        int(row["orderId"]),
        str(row["side"]),
        str(row.get("positionSide", "BOTH")),
        str(row["qty"]),
        str(row["price"]),
        str(row.get("commission", "0")),
        str(row.get("commissionAsset", "USDT")),
        str(row.get("realizedPnl", "0")),
        bool(row.get("maker", False)),
    )


def kline(row: Any) -> Bar:
    """A row of klines."""
    return Bar(int(row[0]) * MS, *(float(value) for value in row[1:6]))


def _flag(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
