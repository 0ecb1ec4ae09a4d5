"""The algo service: conditional orders that wait for a price and then become regular orders.

NEW → TRIGGERING → TRIGGERED → FINISHED; CANCELED by the user; EXPIRED by the exchange when there is nothing left to
close; REJECTED where the order that it became is refused. Margin is looked at when it triggers, not before.
"""

from __future__ import annotations

from decimal import Decimal

from qtsim.emulator import oracle
from qtsim.emulator.accounts import BOTH, LONG, SHORT, Position
from qtsim.emulator.algo_order import (
    CANCELED,
    CLOSING_TYPES,
    CONTRACT_PRICE,
    EXPIRED,
    FINISHED,
    LIMIT_TYPES,
    MARK_PRICE,
    NEW,
    REJECTED,
    TRAILING,
    TRIGGERED,
    TRIGGERING,
    AlgoOrder,
)
from qtsim.emulator.decimals import ZERO, plain
from qtsim.emulator.errors import ApiError, invalid, not_required
from qtsim.emulator.filters import CONDITIONAL_TYPES, check_price, check_qty
from qtsim.emulator.matching import Matching, closing_side
from qtsim.emulator.orders import (
    Order,
    Params,
    flag,
    needed,
    needed_number,
    number,
    read_buys,
    read_client_id,
    read_position_side,
    read_reduce_only,
    read_stp,
    read_time_in_force,
    whole,
)
from qtsim.emulator.payloads import algo_event
from qtsim.emulator.state import State

ALGO_ORDERS_MAX = 200
"""Open conditional orders of an account over all symbols."""


class AlgoService:
    """Places, triggers, cancels conditional orders."""

    def __init__(self, state: State, matching: Matching) -> None:
        self.state = state
        self.matching = matching
        matching.on_flat = self.expire_closing

    # placing ---------------------------------------------------------------------------------------------------------

    def place(self, params: Params) -> AlgoOrder:
        """Take a new conditional order. Raises ApiError."""
        state = self.state
        algo = self._read(params)
        if len(state.open_algos) >= ALGO_ORDERS_MAX:
            raise ApiError(-4045)
        if algo.client_id in {other.client_id for other in state.open_algos.values()}:
            raise ApiError(-4116)
        if algo.close_position:
            self._check_closing(algo)
        self._refuse_immediate(algo)
        state.next_algo += 1
        state.algos[algo.id] = state.open_algos[algo.id] = algo
        state.algo_ids[algo.client_id] = algo.id
        self._tell(algo)
        return algo

    def _read(self, params: Params) -> AlgoOrder:
        state, hedge = self.state, self.state.account.hedge
        if needed(params, "algoType") != "CONDITIONAL":
            raise invalid("algoType")
        symbol = needed(params, "symbol")
        if symbol not in state.rules:
            raise ApiError(-1121)
        rules = state.rules[symbol]
        kind = needed(params, "type")
        if kind not in CONDITIONAL_TYPES:
            raise ApiError(-1116)
        closes = flag(params, "closePosition")
        qty = ZERO
        if closes:
            self._check_closing_params(params, kind, hedge)
        else:
            qty = needed_number(params, "quantity")
            check_qty(rules, qty, market=kind not in LIMIT_TYPES)
        price = needed_number(params, "price") if kind in LIMIT_TYPES else ZERO
        if price:
            check_price(rules, price)
        working = params.get("workingType", CONTRACT_PRICE)
        if working not in (MARK_PRICE, CONTRACT_PRICE):
            raise invalid("workingType")
        algo = AlgoOrder(
            id=state.next_algo,
            client_id=read_client_id(params, "clientAlgoId") or state.own_id("algo-"),
            symbol=symbol,
            buys=read_buys(params),
            position_side=read_position_side(params, hedge),
            type=kind,
            qty=qty,
            price=price,
            trigger_price=ZERO,
            working_type=working,
            close_position=closes,
            reduce_only=False if closes else read_reduce_only(params, hedge),
            price_protect=flag({key: value.lower() for key, value in params.items()}, "priceProtect"),
            time_in_force=read_time_in_force(params, default="GTC"),
            stp=read_stp(params),
            good_till_ms=whole(params, "goodTillDate") or 0,
            created_ms=state.now_ms,
            updated_ms=state.now_ms,
        )
        if kind == TRAILING:
            self._read_trail(algo, params)
        else:
            algo.trigger_price = needed_number(params, "triggerPrice")
            check_price(rules, algo.trigger_price)
        return algo

    def _read_trail(self, algo: AlgoOrder, params: Params) -> None:
        if params.get("triggerPrice"):
            raise ApiError(-2021)
        algo.callback_rate = needed_number(params, "callbackRate")
        if not Decimal("0.1") <= algo.callback_rate <= 10:
            raise invalid("callbackRate")
        algo.activate_price = number(params, "activatePrice") or ZERO
        if algo.activate_price:
            check_price(self.state.rules[algo.symbol], algo.activate_price)

    @staticmethod
    def _check_closing_params(params: Params, kind: str, hedge: bool) -> None:
        if kind not in CLOSING_TYPES:
            raise not_required("closePosition")
        if params.get("quantity"):
            raise ApiError(-4137)
        if "reduceOnly" in params:
            raise not_required("reduceonly")
        if hedge and (params.get("side"), params.get("positionSide")) in (("BUY", LONG), ("SELL", SHORT)):
            raise ApiError(-1128)

    def _check_closing(self, algo: AlgoOrder) -> None:
        """closePosition needs a position, and there is one of them per direction and kind at most."""
        if not self._position_to_close(algo).qty:
            raise ApiError(-4509)
        kind = algo.type.startswith("STOP")
        for other in self.state.open_algos.values():
            same = (other.symbol, other.position_side, other.buys) == (algo.symbol, algo.position_side, algo.buys)
            if same and other.close_position and other.type.startswith("STOP") == kind:
                raise ApiError(-4130)

    def _refuse_immediate(self, algo: AlgoOrder) -> None:
        price = self._watched(algo)
        if algo.type == TRAILING:
            wrong = algo.activate_price and (
                algo.activate_price >= price if algo.buys else algo.activate_price <= price
            )
            if wrong:
                raise ApiError(-2021)
            return
        if algo.is_reached(price):
            raise ApiError(-2021)

    # the market moves ------------------------------------------------------------------------------------------------

    def trigger_reached(self, symbols: tuple[str, ...]) -> None:
        """Trigger what the new prices of these symbols have reached, by symbol, then in the order of placing."""
        moved = set(symbols)
        for algo in sorted(self.state.open_algos.values(), key=lambda algo: (algo.symbol, algo.id)):
            if algo.symbol in moved and algo.status == NEW and algo.is_reached(self._watched(algo)):
                if algo.price_protect and self._is_torn(algo):
                    continue
                self._trigger(algo)

    def expire_due(self) -> None:
        """End orders whose good-till date has passed."""
        for algo in list(self.state.open_algos.values()):
            if algo.good_till_ms and algo.good_till_ms <= self.state.now_ms:
                self._end(algo, EXPIRED, "good till date has passed")

    def expire_closing(self, position: Position) -> None:
        """A position has closed: its closePosition orders end, unless they are being triggered."""
        for algo in list(self.state.open_algos.values()):
            mine = (algo.symbol, algo.position_side) == (position.symbol, position.side)
            if mine and algo.close_position and algo.status == NEW:
                self._end(algo, EXPIRED, "position is closed")

    def cancel(self, algo: AlgoOrder) -> None:
        """Take a waiting order back. Raises ApiError -2011 once it triggers or has ended."""
        if algo.status != NEW:
            raise ApiError(-2011)
        self._end(algo, CANCELED)

    def _watched(self, algo: AlgoOrder) -> Decimal:
        state = self.state
        return state.mark(algo.symbol) if algo.working_type == MARK_PRICE else state.price(algo.symbol)

    def _is_torn(self, algo: AlgoOrder) -> bool:
        """Are mark and last price further apart than the symbol's trigger protection allows?"""
        state = self.state
        mark = state.mark(algo.symbol)
        return abs(state.price(algo.symbol) - mark) > mark * state.rules[algo.symbol].trigger_protect

    def _position_to_close(self, algo: AlgoOrder) -> Position:
        """The position that a reducing order is for; a flat one where it is open the other way."""
        position = self.state.account.position(algo.symbol, algo.position_side)
        return position if position.qty and closing_side(position) == algo.buys else Position(algo.symbol, BOTH)

    def _trigger(self, algo: AlgoOrder) -> None:
        state = self.state
        algo.trigger_ms = algo.updated_ms = state.now_ms
        algo.status = TRIGGERING
        self._tell(algo)
        if state.faults.sticks():
            return
        open_qty = abs(self._position_to_close(algo).qty)
        if (algo.close_position or algo.reduce_only) and not open_qty:
            self._end(algo, EXPIRED, "there is no position to reduce")
            return
        qty = open_qty if algo.close_position else algo.qty
        child = self._child(algo, qty)
        state.open_algos.pop(algo.id)
        try:
            self.matching.place(child)
        except ApiError as error:
            algo.child_id = 0
            self._end(algo, REJECTED, error.msg)
            return
        # the child's events come first, as seen in production
        algo.status = TRIGGERED
        self._tell(algo)
        algo.status = FINISHED
        self._tell(algo)

    def _child(self, algo: AlgoOrder, qty: Decimal) -> Order:
        state = self.state
        algo.child_id = state.next_order
        state.next_order += 1
        return Order(
            id=algo.child_id,
            client_id=algo.client_id,
            symbol=algo.symbol,
            buys=algo.buys,
            position_side=algo.position_side,
            type=algo.child_type,
            time_in_force=algo.time_in_force,
            qty=qty,
            price=algo.price,
            reduce_only=algo.reduce_only or (algo.close_position and algo.position_side == BOTH),
            created_ms=state.now_ms,
            updated_ms=state.now_ms,
            original_type=algo.type,
            stop_price=algo.trigger_price,
            close_position=algo.close_position,
            working_type=algo.working_type,
            price_protect=algo.price_protect,
            stp=algo.stp,
            algo_id=algo.id,
            source="algo",
        )

    def _end(self, algo: AlgoOrder, status: str, reason: str = "") -> None:
        algo.status, algo.reason, algo.updated_ms = status, reason, self.state.now_ms
        self.state.open_algos.pop(algo.id, None)
        self._tell(algo)

    def _tell(self, algo: AlgoOrder) -> None:
        state = self.state
        state.note(
            oracle.ALGO,
            algo_id=algo.id,
            client_id=algo.client_id,
            symbol=algo.symbol,
            position_side=algo.position_side,
            side=algo.side,
            type=algo.type,
            status=algo.status,
            qty=plain(algo.qty),
            close_position=algo.close_position,
            reduces=algo.only_reduces,
            child_id=algo.child_id,
        )
        state.streams.private(algo_event(algo, state.orders.get(algo.child_id), state.now_ms), state.wall_ms)
