"""Binance behind the dealer's protocol: requests with three outcomes, questions that fail loudly, both order worlds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from qtsim.errors import QtsimError
from qtsim.live.binance.client import Client, RefusedError
from qtsim.live.binance.parse import (
    MS,
    algo_state,
    held_position,
    kline,
    order_state,
    resting_algo,
    resting_order,
    user_trade,
)
from qtsim.live.history import Bar
from qtsim.live.orders import OrderRequest, OrderState, QueryFailedError, Reply
from qtsim.live.outcomes import NO_ID, Answer, Outcome, Remedy, classify
from qtsim.live.snapshot import Execution, Held, Key, Resting, Snapshot
from qtsim.live.weights import Budget

NO_SUCH_ORDER = (-2013, -2011)
UNCHANGED = (-4046, -4059, -4171)
"""The mode asked for is in force already."""
BARS_PER_PAGE = 1500
TRADES_PER_PAGE = 1000
ORDER_WEIGHTS = 1
ALL_OPEN_WEIGHT = 40
"""Of a question for the open orders of the whole account; for those of one symbol it is 1."""


@dataclass(frozen=True)
class AccountConfig:
    """Modes of the account."""

    hedge: bool
    multi_assets: bool


@dataclass(frozen=True)
class SymbolConfig:
    """Modes of a symbol."""

    leverage: int
    isolated: bool


@dataclass
class BinanceExchange:
    """One account of Binance USDⓈ-M Futures."""

    client: Client
    budget: Budget
    lots: Mapping[str, Decimal] = field(default_factory=dict)
    offset_ms: int = 0  # this machine's clock less the exchange's
    round_trip_ms: float = 0.0
    requests: int = 0
    failures: int = 0

    # the clock -------------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The exchange's clock, as far as it is known."""
        return self.client.local_ms() - self.offset_ms

    async def sync_clock(self) -> int:
        """Measure the difference of the clocks. Returns it, ms."""
        before = self.client.local_ms()
        server = int((await self.ask("fapiPublicGetTime", weight=1))["serverTime"])
        after = self.client.local_ms()
        self.round_trip_ms = float(after - before)
        self.offset_ms = (before + after) // 2 - server
        self.client.set_time_difference(self.offset_ms)
        return self.offset_ms

    # requests that change something -----------------------------------------------------------------------------------

    async def place(self, request: OrderRequest) -> Reply:
        """Send an order to the world where it belongs."""
        params: dict[str, Any] = {"symbol": request.symbol, "side": request.side}
        if request.position_side != "BOTH":
            params["positionSide"] = request.position_side
        if request.qty:
            params["quantity"] = request.qty
        if request.reduce_only:
            params["reduceOnly"] = "true"
        if not request.is_algo:
            params |= {"type": "MARKET", "newClientOrderId": request.client_id, "newOrderRespType": "RESULT"}
            if request.is_limit:
                params |= {"type": "LIMIT", "price": request.limit}
                params |= {"timeInForce": "GTD", "goodTillDate": request.good_till}
            return await self._change("fapiPrivatePostOrder", params, order_state, protective=request.kind.is_exit)
        params |= {
            "algoType": "CONDITIONAL",
            "type": "STOP" if request.limit else "STOP_MARKET",
            "triggerPrice": request.trigger,
            "workingType": request.working_type,
            "clientAlgoId": request.client_id,
        }
        if not request.qty:
            params["closePosition"] = "true"
        if request.limit:
            params |= {"price": request.limit, "timeInForce": "GTC"}
        return await self._change("fapiPrivatePostAlgoOrder", params, algo_state, protective=True)

    async def cancel(self, order: Resting) -> Reply:
        """Cancel an order of either world."""
        if order.is_algo:
            params: dict[str, Any] = {"symbol": order.symbol}
            params |= {"algoId": order.order_id} if order.order_id else {"clientAlgoId": order.client_id}
            return await self._change("fapiPrivateDeleteAlgoOrder", params, None, protective=True)
        params = {"symbol": order.symbol}
        params |= {"orderId": order.order_id} if order.order_id else {"origClientOrderId": order.client_id}
        return await self._change("fapiPrivateDeleteOrder", params, None, protective=True)

    async def set_leverage(self, symbol: str, leverage: int) -> Reply:
        """Set a symbol's leverage."""
        return await self._change("fapiPrivatePostLeverage", {"symbol": symbol, "leverage": leverage}, None)

    async def set_isolated(self, symbol: str, isolated: bool) -> Reply:
        """Set a symbol's margin type."""
        params = {"symbol": symbol, "marginType": "ISOLATED" if isolated else "CROSSED"}
        return await self._change("fapiPrivatePostMarginType", params, None)

    async def set_hedge(self, hedge: bool) -> Reply:
        """Set the account's position mode."""
        return await self._change(
            "fapiPrivatePostPositionSideDual", {"dualSidePosition": "true" if hedge else "false"}, None
        )

    async def _change(self, method: str, params: dict[str, Any], read: Any, *, protective: bool = False) -> Reply:
        """Send, and say in three values what has become of it."""
        wait = self.budget.wait_s(ORDER_WEIGHTS, self.now_ms(), protective=protective)
        if wait > 0:
            if self.budget.is_banned(self.now_ms()):
                return Reply(Outcome.REJECTED, Remedy.WAIT, f"not sent: no requests for {wait:.0f} s", wait_s=wait)
            await asyncio.sleep(wait)
        self.requests += 1
        try:
            row = await self.client.call(method, params)
        except RefusedError as error:
            self._note_limits(error)
            self.failures += 1
            if error.answer.code in UNCHANGED:
                return Reply(Outcome.ACK, Remedy.NONE, error.answer.text)
            outcome, remedy = classify(error.answer)
            if remedy is Remedy.RESYNC:
                await self._resync()
            return Reply(outcome, remedy, _text(error.answer))
        self._note_limits(None)
        if read is None:
            return Reply(Outcome.ACK, Remedy.NONE, "")
        try:
            state = read(row)
        except (KeyError, TypeError, ValueError):
            outcome, remedy = classify(Answer(200, 0, NO_ID))
            return Reply(outcome, remedy, "the answer has no order in it")
        return Reply(Outcome.ACK, Remedy.NONE, "", state)

    async def _resync(self) -> None:
        try:
            await self.sync_clock()
        except QueryFailedError:
            self.failures += 1

    # questions -------------------------------------------------------------------------------------------------------

    async def ask(self, method: str, params: dict[str, Any] | None = None, *, weight: int = 1) -> Any:
        """One question. Raises QueryFailedError where it is not answered."""
        wait = self.budget.wait_s(weight, self.now_ms())
        if wait > 0:
            if self.budget.is_banned(self.now_ms()):
                raise BannedError(wait)
            await asyncio.sleep(wait)
        self.requests += 1
        try:
            found = await self.client.call(method, params)
        except RefusedError as error:
            self._note_limits(error)
            self.failures += 1
            if classify(error.answer)[1] is Remedy.RESYNC and method != "fapiPublicGetTime":
                await self._resync()
            raise QuestionRefusedError(error.answer) from None
        self._note_limits(None)
        return found

    async def find(self, symbol: str, client_id: str, *, is_algo: bool) -> OrderState | None:
        """An order by its client id; None only where the exchange says that there is none."""
        try:
            if is_algo:
                params = {"symbol": symbol, "clientAlgoId": client_id}
                return algo_state(await self.ask("fapiPrivateGetAlgoOrder", params))
            params = {"symbol": symbol, "origClientOrderId": client_id}
            return order_state(await self.ask("fapiPrivateGetOrder", params))
        except QuestionRefusedError as error:
            if error.answer.code in NO_SUCH_ORDER:
                return None
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise QueryFailedError(f"order {client_id}: the answer cannot be read: {error!r}") from None

    async def client_id_of(self, symbol: str, order_id: int) -> str:
        """Whose an order is."""
        try:
            row = await self.ask("fapiPrivateGetOrder", {"symbol": symbol, "orderId": order_id})
            return str(row["clientOrderId"])
        except QuestionRefusedError as error:
            if error.answer.code in NO_SUCH_ORDER:
                return ""
            raise

    async def executions_of(self, symbol: str, order_id: int) -> list[Execution]:
        """The trades of one order."""
        rows = await self.ask("fapiPrivateGetUserTrades", {"symbol": symbol, "orderId": order_id}, weight=5)
        return [user_trade(row) for row in rows]

    async def trades_after(self, symbol: str, trade_id: int) -> list[Execution]:
        """A symbol's trades with higher ids, oldest first."""
        found: list[Execution] = []
        while True:
            params = {"symbol": symbol, "fromId": trade_id + 1, "limit": TRADES_PER_PAGE}
            rows = await self.ask("fapiPrivateGetUserTrades", params, weight=5)
            found += [user_trade(row) for row in rows]
            if len(rows) < TRADES_PER_PAGE:
                return found
            trade_id = found[-1].exchange_id

    async def last_trade_id(self, symbol: str) -> int:
        """Id of a symbol's newest trade; 0 where there is none."""
        rows = await self.ask("fapiPrivateGetUserTrades", {"symbol": symbol, "limit": 1}, weight=5)
        return max((int(row["id"]) for row in rows), default=0)

    async def snapshot(self, symbols: list[str], since: dict[str, int], *, whole: bool = True) -> Snapshot:
        """One round of questions: both worlds of orders, positions, balance, and trades after the ids in `since`.

        whole: the orders of the whole account, else those of `symbols` alone, which for a few of them costs far less.
        """
        ts = self.now_ms() * MS
        try:
            rows = await self.ask("fapiPrivateV3GetPositionRisk", weight=5)
            account = await self.ask("fapiPrivateV3GetAccount", weight=5)
            among = None if whole else symbols
            orders = [resting_order(row) for row in await self._open("fapiPrivateGetOpenOrders", among)]
            algos = [resting_algo(row) for row in await self._open("fapiPrivateGetOpenAlgoOrders", among)]
            executions: list[Execution] = []
            for symbol in symbols:
                executions += await self.trades_after(symbol, since.get(symbol, 0))
            positions: dict[Key, Held] = {}
            for row in rows:
                if str(row["symbol"]) in symbols:
                    held = held_position(row, self.lots[str(row["symbol"])])
                    positions[held.key] = held
            usdt: Mapping[str, Any] = next((one for one in account["assets"] if one["asset"] == "USDT"), {})
            return Snapshot(
                ts,
                positions,
                (*orders, *algos),
                tuple(executions),
                float(usdt.get("walletBalance", "nan")),
                float(usdt.get("availableBalance", "nan")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise QueryFailedError(f"the exchange's answer cannot be read: {error!r}") from None

    async def protection(self, symbols: list[str]) -> tuple[dict[Key, Held], tuple[Resting, ...]]:
        """Positions, and the conditional orders of the symbols that are held; nothing else."""
        try:
            rows = await self.ask("fapiPrivateV3GetPositionRisk", weight=5)
            held = [held_position(row, self.lots[str(row["symbol"])]) for row in rows if str(row["symbol"]) in symbols]
            stops = await self._open("fapiPrivateGetOpenAlgoOrders", sorted({one.symbol for one in held if one.lots}))
            return {one.key: one for one in held}, tuple(resting_algo(row) for row in stops)
        except (KeyError, TypeError, ValueError) as error:
            raise QueryFailedError(f"the exchange's answer cannot be read: {error!r}") from None

    async def _open(self, method: str, symbols: list[str] | None) -> list[Mapping[str, Any]]:
        """Open orders of some symbols, one question each as long as that weighs less than one of all; None: of all."""
        if symbols is None or len(symbols) >= ALL_OPEN_WEIGHT:
            return list(await self.ask(method, weight=ALL_OPEN_WEIGHT))
        return [row for symbol in symbols for row in await self.ask(method, {"symbol": symbol})]

    async def exchange_info(self) -> dict[str, Mapping[str, Any]]:
        """The exchange's entry of every symbol."""
        rows = (await self.ask("fapiPublicGetExchangeInfo"))["symbols"]
        return {str(row["symbol"]): row for row in rows}

    async def brackets(self) -> dict[str, list[Mapping[str, Any]]]:
        """Leverage brackets by symbol."""
        rows = await self.ask("fapiPrivateGetLeverageBracket")
        return {str(row["symbol"]): list(row["brackets"]) for row in rows}

    async def account_config(self) -> AccountConfig:
        """Modes of the account."""
        row = await self.ask("fapiPrivateGetAccountConfig", weight=5)
        return AccountConfig(bool(row["dualSidePosition"]), bool(row.get("multiAssetsMargin", False)))

    async def symbol_configs(self) -> dict[str, SymbolConfig]:
        """Modes of every symbol."""
        rows = await self.ask("fapiPrivateGetSymbolConfig", weight=5)
        return {
            str(row["symbol"]): SymbolConfig(int(row["leverage"]), str(row["marginType"]).upper().startswith("ISO"))
            for row in rows
        }

    async def permissions(self) -> dict[str, Any] | None:
        """What the key may do; None where the host has no such service."""
        try:
            return dict(await self.ask("sapiGetAccountApiRestrictions"))
        except QuestionRefusedError as error:
            if error.answer.http == 404:
                return None
            raise

    async def bars(self, symbol: str, timeframe: str, start: int, end: int, *, mark: bool = False) -> list[Bar]:
        """Bars that open in [start, end), ns; the one that is still open may be among them."""
        found: list[Bar] = []
        method = "fapiPublicGetMarkPriceKlines" if mark else "fapiPublicGetKlines"
        while start < end:
            params = {
                "symbol": symbol,
                "interval": timeframe,
                "startTime": -(-start // MS),
                "endTime": (end - 1) // MS,
                "limit": BARS_PER_PAGE,
            }
            rows = await self.ask(method, params, weight=10)
            found += [kline(row) for row in rows]
            if len(rows) < BARS_PER_PAGE:
                break
            start = found[-1].ts_open + 1
        return found

    async def funding_rates(self, symbol: str, start: int) -> list[tuple[int, float, float]]:
        """(ts, rate, mark) of a symbol's funding from `start` on, ns; mark NaN where it is not told."""
        params = {"symbol": symbol, "startTime": -(-start // MS), "limit": 1000}
        rows = await self.ask("fapiPublicGetFundingRate", params, weight=0)
        found = []
        for row in rows:
            mark = float(row.get("markPrice") or "nan")
            found.append((int(row["fundingTime"]) * MS, float(row["fundingRate"]), mark if mark else float("nan")))
        return found

    # the user stream's key -------------------------------------------------------------------------------------------

    async def open_listen_key(self) -> str:
        """A listen key, extended where there is one."""
        return str((await self.ask("fapiPrivatePostListenKey"))["listenKey"])

    async def extend_listen_key(self) -> None:
        """Extend it. Raises QuestionRefusedError with code -1125 where it has gone."""
        await self.ask("fapiPrivatePutListenKey")

    def _note_limits(self, error: RefusedError | None) -> None:
        headers = error.headers if error is not None and error.headers else self.client.headers
        self.budget.note(headers, self.now_ms())
        if error is not None and error.answer.http in (418, 429):
            self.budget.note_ban(error.answer.http, error.answer.text, headers, self.now_ms())


class BannedError(QueryFailedError):
    """A question that was not asked, because the exchange has asked for silence. wait_s: for so long."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"no requests for {wait_s:.0f} s: the exchange has asked for it")
        self.wait_s = wait_s


class QuestionRefusedError(QueryFailedError):
    """A question that the exchange did not answer, with what it said instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(_text(answer))
        self.answer = answer


def _text(answer: Answer) -> str:
    where = f"HTTP {answer.http}" if answer.http else "no answer"
    code = f" {answer.code}" if answer.code else ""
    return f"{where}{code}: {answer.text}" if answer.text else f"{where}{code}"


class UnreachableError(QtsimError):
    """The exchange does not answer."""
