"""The exchange: requests in, answers out; market events in, stream frames out. No I/O, no clock, no chance of its own.

Two clocks are told to it. `now_ms` is the market's: times of orders, trades, funding, klines. `wall_ms` is the client's
own pace: signatures, weights, bans, listen keys, countdowns. In virtual time both are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from qtsim.data.instruments import Instrument
from qtsim.emulator import oracle
from qtsim.emulator.account_api import AccountApi
from qtsim.emulator.accounts import Account, SymbolSettings
from qtsim.emulator.algo_orders import AlgoService
from qtsim.emulator.auth import ApiKey, check_signed, key_of
from qtsim.emulator.decimals import EXACT, exact
from qtsim.emulator.errors import ApiError
from qtsim.emulator.faults import FaultPlan, Faults, ForeignAction, RequestFault, since
from qtsim.emulator.filters import SymbolRules
from qtsim.emulator.funding import charge_funding
from qtsim.emulator.limits import FIRST_BAN_MS, ORDER_ENDPOINTS, Limiter, weight_of
from qtsim.emulator.liquidation import Liquidator
from qtsim.emulator.market import (
    INTERVALS_MS,
    MS,
    Bar,
    BarsClosed,
    BarSeries,
    FundingRow,
    MarketEvent,
    Points,
    SymbolMarket,
    TradeRow,
    load_bars,
)
from qtsim.emulator.market_streams import MarketStreams
from qtsim.emulator.matching import Matching
from qtsim.emulator.order_api import OrderApi
from qtsim.emulator.pricing import FillRule
from qtsim.emulator.public_api import PublicApi
from qtsim.emulator.state import State
from qtsim.emulator.streams import DISCONNECT, Connection, Streams

NONE, KEY, SIGNED = "none", "key", "signed"
DEFAULT_KEY = ApiKey("emulator-key", "emulator-secret")
Endpoint = Callable[[Mapping[str, str]], Any]


class Route(NamedTuple):
    """An endpoint and who may use it."""

    security: str
    endpoint: Endpoint
    trades: bool = False


@dataclass(frozen=True)
class Response:
    """An answer: HTTP status, headers and the body as text."""

    status: int
    headers: Mapping[str, str]
    body: str

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Rules:
    """How an exchange is set up. Money is quote currency, fees are ratios."""

    instruments: tuple[Instrument, ...]
    balance: float = 10_000.0
    fill: FillRule = field(default_factory=FillRule)
    base_interval: str = "1m"
    """Length of the bars that the market sends; klines of whole multiples are served."""
    hedge: bool = False
    isolated: bool = False
    leverage: int = 20
    """Of every symbol, at most the symbol's highest."""
    keys: tuple[ApiKey, ...] = (DEFAULT_KEY,)
    weight_limit: int = 2400
    """Request weight per minute; 0: none."""
    orders_10s: int = 300
    orders_1m: int = 1200
    history_ms: int = 90 * 86_400_000
    """How far back fills and income can be asked for."""
    unrouted_streams: bool = True
    """Paths without /public, /market or /private deliver too. On the exchange they have been silent since 2026-04."""
    log_limit: int | None = None
    """Lines of the oracle's log that are kept; None: all."""
    kept: int | None = None
    """Ended orders, fills and changes of the wallet that are kept at least; None: all."""


class Exchange:
    """One exchange with one account.

    Parameters
    ----------
    rules : Rules
    plan : FaultPlan, optional
        What goes wrong.
    now_ms : int
        Where the market's clock stands before the first event.
    history : mapping, optional
        Closed bars by symbol from before the first event, ascending.
    mark_history : mapping, optional
        Mark bars likewise; without them the mark was the last price.
    funding_history : mapping, optional
        Payments by symbol from before the first event, ascending.
    """

    def __init__(
        self,
        rules: Rules,
        plan: FaultPlan | None = None,
        *,
        now_ms: int = 0,
        history: Mapping[str, Iterable[Bar]] | None = None,
        mark_history: Mapping[str, Iterable[Bar]] | None = None,
        funding_history: Mapping[str, Iterable[FundingRow]] | None = None,
    ) -> None:
        self.rules = rules
        self.faults = Faults(plan or FaultPlan())
        symbol_rules = {item.symbol: SymbolRules.of(item) for item in sorted(rules.instruments, key=_name)}
        self.keys = {key.key: key for key in rules.keys}
        self.limiter = Limiter(rules.weight_limit, rules.orders_10s, rules.orders_1m)
        self.streams = Streams(self.faults.of_frame, unrouted=rules.unrouted_streams)
        account = Account(symbol_rules, exact(rules.balance), hedge=rules.hedge, updated_ms=max(1, now_ms))
        for symbol, item in symbol_rules.items():
            account.settings[symbol] = SymbolSettings(min(rules.leverage, item.max_leverage), rules.isolated)
        self.state = State(
            rules=symbol_rules,
            fill_rule=rules.fill,
            account=account,
            markets={symbol: self._new_market(symbol) for symbol in symbol_rules},
            streams=self.streams,
            faults=self.faults,
            log=oracle.Log(rules.log_limit),
            now_ms=now_ms,
            wall_ms=now_ms,
            kept=rules.kept,
        )
        self._load(history or {}, mark_history or {}, funding_history or {})
        self.matching = Matching(self.state)
        self.algos = AlgoService(self.state, self.matching)
        self.liquidator = Liquidator(self.state, self.matching)
        self.public = PublicApi(self.state, self.limiter)
        self.orders = OrderApi(self.state, self.matching, self.algos)
        self.account = AccountApi(self.state, rules.history_ms)
        self.market_streams = MarketStreams(self.state, self.public)
        self._routes = self._make_routes()
        foreign = self.faults.plan.foreign
        self._foreign = sorted(((since(one.at_ms, now_ms), one) for one in foreign), key=lambda item: item[0])
        self.start_wall(now_ms)
        self._was_out = False
        self._caller = next(iter(self.keys.values()))
        self.down = False
        """Set by tests: the exchange answers nobody."""

    @property
    def log(self) -> oracle.Log:
        """Every request and effect."""
        return self.state.log

    @property
    def now_ms(self) -> int:
        """The market's clock."""
        return self.state.now_ms

    def _new_market(self, symbol: str) -> SymbolMarket:
        base = INTERVALS_MS[self.rules.base_interval]
        return SymbolMarket(symbol, BarSeries(base), BarSeries(base))

    def _load(
        self,
        history: Mapping[str, Iterable[Bar]],
        marks: Mapping[str, Iterable[Bar]],
        funding: Mapping[str, Iterable[FundingRow]],
    ) -> None:
        for symbol, market in self.state.markets.items():
            load_bars(market.bars, history.get(symbol, ()))
            load_bars(market.marks, marks.get(symbol, market.bars.rows))
            market.funding.extend(funding.get(symbol, ()))
            if market.bars.rows:
                market.price = exact(market.bars.rows[-1].close)
                market.mark = exact(market.marks.rows[-1].close) if market.marks.rows else market.price

    def start_wall(self, wall_ms: int) -> None:
        """The wall's clock begins here; without this it begins with the market's."""
        self.state.wall_ms = self._began_wall_ms = wall_ms
        self._key_expiries = sorted(since(ms, wall_ms) for ms in self.faults.plan.listen_key_expires_ms)

    # the market ------------------------------------------------------------------------------------------------------

    def advance(self, event: MarketEvent, wall_ms: int | None = None) -> None:
        """Let the market move. Events come in the order of time.

        At one instant all prices change first; then, over all symbols in name order, the exchange liquidates, triggers
        conditional orders and fills resting ones.
        """
        with localcontext(EXACT):
            self._set_clocks(event.ts_ns // MS, wall_ms)
            if isinstance(event, Points):
                self._show(event)
            elif isinstance(event, BarsClosed):
                self._close_bars(event)
            else:
                charge_funding(self.state, event)
            self._act_on_time()

    def tick(self, wall_ms: int, now_ms: int | None = None) -> None:
        """Let time pass without a market event: countdowns, listen keys, outages, what others do."""
        with localcontext(EXACT):
            self._set_clocks(self.state.now_ms if now_ms is None else now_ms, wall_ms)
            self._act_on_time()

    def repeat_marks(self, wall_ms: int, now_ms: int) -> None:
        """Tell every mark price once more, as the exchange does each second in which nothing is traded."""
        with localcontext(EXACT):
            self._set_clocks(now_ms, wall_ms)
            if self.state.streams.has_subscribers():
                self.market_streams.marks(self.state.marks())

    def _set_clocks(self, now_ms: int, wall_ms: int | None) -> None:
        state = self.state
        state.now_ms = max(state.now_ms, now_ms)
        state.wall_ms = max(state.wall_ms, state.now_ms if wall_ms is None else wall_ms)

    def _show(self, event: Points) -> None:
        state = self.state
        trades: list[tuple[str, TradeRow | None]] = [
            (point.symbol, state.markets[point.symbol].show(event.ts_ns // MS, point)) for point in event.points
        ]
        self.market_streams.points(trades)
        symbols = tuple(point.symbol for point in event.points)
        self.liquidator.judge(symbols)
        self.algos.trigger_reached(symbols)
        self.matching.expire_due()
        self.matching.match_resting()
        self.algos.expire_due()

    def _close_bars(self, event: BarsClosed) -> None:
        state = self.state
        for symbol, bar in event.bars:
            state.markets[symbol].bars.close(bar)
        marked = dict(event.marks)
        for symbol, bar in event.bars:
            state.markets[symbol].marks.close(marked.get(symbol, bar._replace(volume=0.0)))
        self.market_streams.closed_bars([symbol for symbol, _ in event.bars], event.ts_ns // MS)

    def _act_on_time(self) -> None:
        state = self.state
        state.forget_oldest()
        self.orders.cancel_counted_down()
        if self.streams.listen_key and state.wall_ms >= self.streams.listen_until_ms:
            self.streams.expire_listen_key(state.now_ms, state.wall_ms)
        while self._key_expiries and self._key_expiries[0] <= state.wall_ms:
            self._key_expiries.pop(0)
            self.streams.expire_listen_key(state.now_ms, state.wall_ms)
        is_out = self.is_out(state.wall_ms)
        if is_out and not self._was_out:
            self.streams.close_all(state.wall_ms, DISCONNECT)
        self._was_out = is_out
        while self._foreign and self._foreign[0][0] <= state.now_ms:
            self.act_as_foreign(self._foreign.pop(0)[1])

    def act_as_foreign(self, action: ForeignAction) -> None:
        """Do what somebody else does on the account; what is refused has no effect."""
        with localcontext(EXACT):
            if action.what == "cancel":
                self.orders.cancel_orders_of(action.symbol)
            elif action.what == "cancel_algos":
                self.orders.cancel_algos_of(action.symbol)
            else:
                try:
                    self.orders.foreign_trade(action.symbol, exact(action.qty), action.position_side)
                except ApiError as error:
                    self.state.note(oracle.ORDER, symbol=action.symbol, source="foreign", refused=error.code)

    # requests --------------------------------------------------------------------------------------------------------

    def is_out(self, wall_ms: int) -> bool:
        """Does the exchange answer nobody at this time?"""
        return self.down or self.faults.is_out(wall_ms, self._began_wall_ms)

    def fault_of(self, method: str, path: str) -> RequestFault | None:
        """What the plan does to the next request; asked once per request, before it is executed."""
        return self.faults.of_request(method, endpoint_name(path))

    def request(
        self,
        method: str,
        path: str,
        params: str | Mapping[str, str],
        headers: Mapping[str, str],
        now_ms: int | None = None,
        *,
        wall_ms: int | None = None,
        fault: RequestFault | None = None,
    ) -> Response:
        """Answer one request.

        Parameters
        ----------
        method, path : str
            `POST`, `/fapi/v1/order`.
        params : str or mapping
            As they were sent, query or body, `symbol=BTCUSDT&…`: the signature is over this very text.
        headers : mapping
            Names in any case.
        now_ms, wall_ms : int, optional
            The clocks; without them they stand.
        fault : RequestFault, optional
            As `fault_of` gave it. `request` itself obeys those that change the answer; waiting and losing are the
            skin's.
        """
        text = params if isinstance(params, str) else urlencode(params)
        values = dict(parse_qsl(text, keep_blank_values=True))
        with localcontext(EXACT):
            self._set_clocks(self.state.now_ms if now_ms is None else now_ms, wall_ms)
            self._act_on_time()
            return self._answer(method, path, text, values, headers, fault)

    def _answer(
        self,
        method: str,
        path: str,
        text: str,
        values: dict[str, str],
        headers: Mapping[str, str],
        fault: RequestFault | None,
    ) -> Response:
        wall_ms, name = self.state.wall_ms, endpoint_name(path)
        self._note_request(method, name, values)
        if fault is not None and fault.kind == "overloaded_503" and _only_reduces(values):
            fault = None
        try:
            body = self._serve(method, path, text, values, headers, fault)
            status = 200
        except ApiError as error:
            status, body = error.status, {"code": error.code, "msg": error.msg}
        if fault is not None and fault.replaces:
            status, encoded = fault.status, fault.body
        else:
            encoded = _damaged(json.dumps(body, separators=(",", ":")), fault)
        self.state.note(oracle.ANSWER, endpoint=f"{method} {name}", status=status, code=_code(body))
        told = self.limiter.headers(wall_ms, orders=(method, name) in ORDER_ENDPOINTS)
        kind = "text/html" if encoded.startswith("<") else "application/json"
        found = {"content-type": kind, **told}
        if status in (418, 429):
            found["retry-after"] = str(self.limiter.retry_after_s(wall_ms))
        return Response(status, found, encoded)

    def _serve(
        self,
        method: str,
        path: str,
        text: str,
        values: dict[str, str],
        headers: Mapping[str, str],
        fault: RequestFault | None,
    ) -> Any:
        wall_ms, name = self.state.wall_ms, endpoint_name(path)
        if fault is not None and fault.kind == "http_418" and not self.limiter.is_banned(wall_ms):
            self.limiter.ban(wall_ms + FIRST_BAN_MS)
        self.limiter.admit(weight_of(method, name, values), wall_ms)
        if fault is not None and not fault.executes:
            raise ApiError(fault.code) if fault.code else ApiError(-1000)
        route = self._routes.get((method, _route_name(path)))
        if route is None:
            raise ApiError(-5000, msg=f"Path {path}, Method {method} is invalid", status=404)
        if route.security != NONE:
            self._caller = key = key_of(self.keys, headers)
            if route.security == SIGNED:
                check_signed(key, text, values, wall_ms)
            if route.trades and not key.can_trade:
                raise ApiError(-2015)
        if (method, name) in ORDER_ENDPOINTS:
            self.limiter.admit_orders(_order_count(name, values), wall_ms)
        self.orders.market_share = fault.share if fault is not None else 1.0
        return route.endpoint(values)

    def _note_request(self, method: str, name: str, values: Mapping[str, str]) -> None:
        self.state.note(
            oracle.REQUEST,
            endpoint=f"{method} {name}",
            symbol=values.get("symbol", ""),
            client_id=values.get("newClientOrderId") or values.get("clientAlgoId") or "",
            banned=self.limiter.is_banned(self.state.wall_ms),
        )

    # routes ----------------------------------------------------------------------------------------------------------

    def _make_routes(self) -> dict[tuple[str, str], Route]:
        public, orders, account = self.public, self.orders, self.account
        routes = {
            ("GET", "ping"): Route(NONE, public.ping),
            ("GET", "time"): Route(NONE, public.time),
            ("GET", "exchangeInfo"): Route(NONE, public.exchange_info),
            ("GET", "klines"): Route(NONE, public.klines),
            ("GET", "markPriceKlines"): Route(NONE, public.mark_klines),
            ("GET", "indexPriceKlines"): Route(NONE, public.mark_klines),
            ("GET", "premiumIndex"): Route(NONE, public.premium_index),
            ("GET", "fundingRate"): Route(NONE, public.funding_rate),
            ("GET", "fundingInfo"): Route(NONE, public.funding_info),
            ("GET", "aggTrades"): Route(NONE, public.agg_trades),
            ("GET", "depth"): Route(NONE, public.depth),
            ("GET", "ticker/price"): Route(NONE, public.ticker_price),
            ("GET", "ticker/bookTicker"): Route(NONE, public.ticker_book),
            ("GET", "ticker/24hr"): Route(NONE, public.ticker_24h),
            ("GET", "leverageBracket"): Route(SIGNED, public.brackets),
            ("POST", "listenKey"): Route(KEY, self._open_listen_key),
            ("PUT", "listenKey"): Route(KEY, self._extend_listen_key),
            ("DELETE", "listenKey"): Route(KEY, self._drop_listen_key),
            ("GET", "/sapi/v1/account/apiRestrictions"): Route(SIGNED, self._key_permissions),
            ("GET", "/sapi/v1/capital/config/getall"): Route(SIGNED, lambda params: []),
            ("GET", "/sapi/v1/margin/allPairs"): Route(KEY, lambda params: []),
        }
        signed: dict[tuple[str, str], Endpoint] = {
            ("GET", "account"): account.account,
            ("GET", "balance"): account.balance,
            ("GET", "symbolConfig"): account.symbol_config,
            ("GET", "accountConfig"): account.account_config,
            ("GET", "commissionRate"): account.commission_rate,
            ("GET", "feeBurn"): account.fee_burn,
            ("GET", "positionSide/dual"): account.position_mode,
            ("GET", "multiAssetsMargin"): account.multi_assets,
            ("GET", "order"): orders.query_order,
            ("GET", "openOrder"): orders.query_open_order,
            ("GET", "openOrders"): orders.open_orders,
            ("GET", "allOrders"): orders.all_orders,
            ("GET", "algoOrder"): orders.query_algo,
            ("GET", "openAlgoOrders"): orders.open_algos,
            ("GET", "allAlgoOrders"): orders.all_algos,
            ("GET", "userTrades"): account.user_trades,
            ("GET", "income"): account.income,
            ("GET", "/fapi/v3/positionRisk"): account.position_risk_v3,
            ("GET", "positionRisk"): account.position_risk_v2,
        }
        trading: dict[tuple[str, str], Endpoint] = {
            ("POST", "positionSide/dual"): account.set_position_mode,
            ("POST", "multiAssetsMargin"): account.set_multi_assets,
            ("POST", "leverage"): account.set_leverage,
            ("POST", "marginType"): account.set_margin_type,
            ("POST", "positionMargin"): account.set_position_margin,
            ("POST", "order"): orders.new_order,
            ("POST", "order/test"): orders.test_order,
            ("PUT", "order"): orders.amend_order,
            ("DELETE", "order"): orders.cancel_order,
            ("POST", "batchOrders"): orders.new_batch,
            ("DELETE", "batchOrders"): orders.cancel_batch,
            ("DELETE", "allOpenOrders"): orders.cancel_all,
            ("POST", "countdownCancelAll"): orders.countdown_cancel,
            ("POST", "algoOrder"): orders.new_algo,
            ("DELETE", "algoOrder"): orders.cancel_algo,
            ("DELETE", "algoOpenOrders"): orders.cancel_all_algos,
        }
        routes |= {name: Route(SIGNED, endpoint) for name, endpoint in signed.items()}
        routes |= {name: Route(SIGNED, endpoint, trades=True) for name, endpoint in trading.items()}
        return routes

    def _open_listen_key(self, params: Mapping[str, str]) -> Any:
        return {"listenKey": self.streams.open_listen_key(self.state.wall_ms)}

    def _extend_listen_key(self, params: Mapping[str, str]) -> Any:
        return {"listenKey": self.streams.extend_listen_key(self.state.wall_ms)}

    def _drop_listen_key(self, params: Mapping[str, str]) -> Any:
        self.streams.drop_listen_key()
        return {}

    def _key_permissions(self, params: Mapping[str, str]) -> Any:
        key = self._caller
        return {
            "ipRestrict": key.restricts_ip,
            "createTime": 1_600_000_000_000,
            "enableReading": True,
            "enableWithdrawals": key.can_withdraw,
            "enableInternalTransfer": key.can_withdraw,
            "permitsUniversalTransfer": key.can_withdraw,
            "enableMargin": False,
            "enableVanillaOptions": False,
            "enableFutures": key.can_trade,
            "enableSpotAndMarginTrading": False,
        }

    # streams ---------------------------------------------------------------------------------------------------------

    def connect(self, target: str, wall_ms: int | None = None) -> Connection | None:
        """Open a stream connection by path and query; None where there is no such path or nobody answers."""
        self.tick(self.state.wall_ms if wall_ms is None else wall_ms)
        if self.is_out(self.state.wall_ms):
            return None
        connection = self.streams.connect(target, self.state.wall_ms)
        if connection is not None:
            self.state.note(oracle.STREAM, path=connection.path)
        return connection

    def receive(self, connection: Connection, text: str) -> None:
        """A client's frame on a connection."""
        self.streams.receive(connection, text, self.state.wall_ms)

    # identities for tests --------------------------------------------------------------------------------------------

    def equity(self) -> Decimal:
        """Wallet and unrealised PnL at mark."""
        with localcontext(EXACT):
            return self.state.account.wallet + self.state.account.unrealized(self.state.marks())


def endpoint_name(path: str) -> str:
    """`/fapi/v3/positionRisk` → `positionRisk`, `/sapi/v1/account/apiRestrictions` → `account/apiRestrictions`."""
    parts = path.split("/", 3)
    return parts[3] if len(parts) == 4 and parts[1] in ("fapi", "sapi") else path


def _route_name(path: str) -> str:
    """Versions of an endpoint are one route, but of positionRisk; other services keep their path."""
    return endpoint_name(path) if path.startswith("/fapi/") and path != "/fapi/v3/positionRisk" else path


def _name(instrument: Instrument) -> str:
    return instrument.symbol


def _only_reduces(values: Mapping[str, str]) -> bool:
    closes_side = (values.get("side"), values.get("positionSide")) in (("SELL", "LONG"), ("BUY", "SHORT"))
    return values.get("reduceOnly") == "true" or values.get("closePosition") == "true" or closes_side


def _order_count(name: str, values: Mapping[str, str]) -> int:
    """How many new orders a request holds; of a list that is none the endpoint complains."""
    if name != "batchOrders":
        return 1
    try:
        items = json.loads(values.get("batchOrders", ""))
    except ValueError:
        return 1
    return len(items) if isinstance(items, list) else 1


def _code(body: Any) -> int:
    code = body.get("code", 0) if isinstance(body, dict) else 0
    return code if isinstance(code, int) else 0


def _damaged(text: str, fault: RequestFault | None) -> str:
    if fault is not None and fault.kind == "garbled":
        return text[: len(text) // 2]
    return "" if fault is not None and fault.kind == "empty" else text
