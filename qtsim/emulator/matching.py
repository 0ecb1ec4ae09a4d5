"""Matching: a market order fills at the last price of the current point, a limit order where the price trades through.

A fill moves position, wallet, trades and income together and tells the user stream: there is no other way to a fill.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from qtsim.emulator import oracle
from qtsim.emulator.accounts import BOTH, LONG, Position
from qtsim.emulator.decimals import ZERO, divided, floor_to, plain
from qtsim.emulator.errors import ApiError
from qtsim.emulator.filters import MAX_ORDERS
from qtsim.emulator.orders import CANCELED, EXPIRED, FILLED, LIMIT, MARKET, PARTIALLY_FILLED, Order
from qtsim.emulator.payloads import account_event, order_event
from qtsim.emulator.state import State, Trade


class Matching:
    """Places, fills, cancels regular orders."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.on_flat: Callable[[Position], None] = lambda position: None
        """Told of a position that has just closed; the algo service ends what closed with it."""

    # placing ---------------------------------------------------------------------------------------------------------

    def place(self, order: Order, *, share: float = 1.0) -> None:
        """Accept an order and match it at once. share: of a market order that the market can fill.

        Raises ApiError where it is refused; nothing has changed then.
        """
        self._check_position(order)
        if order.type == LIMIT:
            self._check_takes(order)
        self._check_margin(order)
        state = self.state
        state.orders[order.id] = state.open_orders[order.id] = order
        state.order_ids[order.client_id] = order.id
        self._tell(order, "NEW")
        if order.type == MARKET:
            self._fill_market(order, share)
        elif self._crosses(order):
            self._execute(order, self._fillable(order), self._taken_price(order), maker=False)
        self._end_what_may_not_rest(order)

    def cancel(self, order: Order, reason: str = "0") -> None:
        """Take an open order back."""
        self._end(order, CANCELED, reason)

    def amend(self, order: Order, qty: Decimal, price: Decimal) -> None:
        """Change a resting limit order; below what is executed it ends. Raises ApiError."""
        if qty == order.qty and price == order.price:
            raise ApiError(-5027)
        before = (order.qty, order.price)
        order.qty, order.price = qty, price
        try:
            self.state.open_orders.pop(order.id)
            self._check_margin(order)
        except ApiError:
            order.qty, order.price = before
            raise
        finally:
            self.state.open_orders[order.id] = order
        order.updated_ms = self.state.now_ms
        self._tell(order, "AMENDMENT")
        if order.rest <= 0:
            self._end(order, CANCELED)
        elif self._crosses(order):
            self._execute(order, self._fillable(order), self._taken_price(order), maker=False)

    def match_resting(self) -> None:
        """Fill resting orders that the last price has traded through; touched is not filled."""
        for order in list(self.state.open_orders.values()):
            is_priced = self.state.markets[order.symbol].price is not None
            if order.is_open and is_priced and self._crosses(order):
                self.fill_resting(order, order.rest)

    def fill_resting(self, order: Order, qty: Decimal) -> None:
        """Fill a resting order in whole or in part at its own price."""
        if order.only_reduces:
            qty = min(qty, self._open_against(order))
            if not qty:
                self._end(order, EXPIRED, "8")
                return
        self._execute(order, qty, order.price, maker=True)

    def expire_due(self) -> None:
        """End resting orders whose good-till date has passed."""
        for order in list(self.state.open_orders.values()):
            if order.good_till_ms and order.good_till_ms <= self.state.now_ms:
                self._end(order, EXPIRED)

    def settle_at(self, order: Order, price: Decimal) -> Trade:
        """Fill an order of the exchange itself, a liquidation, at a given price and without commission."""
        self.state.orders[order.id] = self.state.open_orders[order.id] = order
        self.state.order_ids[order.client_id] = order.id
        return self._execute(order, order.qty, price, maker=False, charged=False)

    # rules -----------------------------------------------------------------------------------------------------------

    def _open_against(self, order: Order) -> Decimal:
        """Quantity that the order could close."""
        qty = self.state.account.position(order.symbol, order.position_side).qty
        return abs(qty) if (qty > 0) != order.buys and qty else ZERO

    def _opens(self, order: Order) -> Decimal:
        """Quantity by which the order would enlarge the position."""
        return ZERO if order.only_reduces else max(ZERO, order.rest - self._open_against(order))

    def _check_position(self, order: Order) -> None:
        against = self._open_against(order)
        if order.position_side != BOTH and order.closes_side() and order.qty > against:
            raise ApiError(-2022)
        if (order.reduce_only or order.close_position) and not against:
            raise ApiError(-2022)
        if len(self.state.open_orders) >= MAX_ORDERS:
            raise ApiError(-2025)

    def _check_takes(self, order: Order) -> None:
        crosses = self._crosses(order)
        if order.time_in_force == "GTX" and crosses:
            raise ApiError(-5022)
        if order.time_in_force == "FOK" and not crosses:
            raise ApiError(-5021)

    def _check_margin(self, order: Order) -> None:
        opened = self._opens(order)
        if not opened:
            return
        state = self.state
        if state.liquidating:
            raise ApiError(-2023)
        settings = state.account.settings_of(order.symbol)
        price = order.price if order.type == LIMIT else state.price(order.symbol)
        notional = opened * price
        held = abs(state.account.position(order.symbol, order.position_side).qty) * state.mark(order.symbol)
        if float(held + notional) > state.rules[order.symbol].largest_notional(settings.leverage):
            raise ApiError(-2027)
        # what the order closes first gives its margin back; the exchange asks for the opening part alone
        if divided(notional, Decimal(settings.leverage)) > state.available():
            raise ApiError(-2019)

    def _crosses(self, order: Order) -> bool:
        """Is the last price a tick beyond the limit? Touched is not filled."""
        last, tick = self.state.price(order.symbol), self.state.rules[order.symbol].tick
        return last <= order.price - tick if order.buys else last >= order.price + tick

    def _end_what_may_not_rest(self, order: Order) -> None:
        if order.is_open and (order.type == MARKET or order.time_in_force in ("IOC", "FOK")):
            self._end(order, EXPIRED)

    # fills -----------------------------------------------------------------------------------------------------------

    def _fillable(self, order: Order) -> Decimal:
        return min(order.rest, self._open_against(order)) if order.only_reduces else order.rest

    def _taken_price(self, order: Order) -> Decimal:
        rules = self.state.rules[order.symbol]
        price = self.state.fill_rule.market_price(self.state.price(order.symbol), order.buys, rules.tick)
        if order.type != LIMIT:
            return price
        return min(price, order.price) if order.buys else max(price, order.price)

    def _fill_market(self, order: Order, share: float) -> None:
        qty = self._fillable(order)
        if share < 1.0:
            step = self.state.rules[order.symbol].step
            qty = max(step, floor_to(qty * Decimal(str(share)), step))
        if qty:
            self._execute(order, qty, self._taken_price(order), maker=False)

    def _execute(self, order: Order, qty: Decimal, price: Decimal, *, maker: bool, charged: bool = True) -> Trade:
        state, account = self.state, self.state.account
        position = account.position(order.symbol, order.position_side)
        booked = account.book(position, order.buys, qty, price, state.now_ms)
        fee = state.fill_rule.fee(qty, price, maker=maker) if charged else ZERO
        account.pay(-fee, state.now_ms)
        order.executed += qty
        order.quote += qty * price
        order.realized += booked.realized
        order.updated_ms = state.now_ms
        order.status = FILLED if order.rest == 0 else PARTIALLY_FILLED
        if not order.is_open:
            state.open_orders.pop(order.id, None)
        trade = Trade(state.next_trade, order, qty, price, fee, booked.realized, maker, state.now_ms)
        state.next_trade += 1
        state.trades.append(trade)
        state.add_income(order.symbol, "COMMISSION", -fee, str(trade.id), str(trade.id))
        state.add_income(order.symbol, "REALIZED_PNL", booked.realized, str(trade.id), str(trade.id))
        state.note(
            oracle.FILL,
            order_id=order.id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            position_side=order.position_side,
            trade_id=trade.id,
            qty=plain(qty),
            price=plain(price),
            closed=plain(booked.closed),
            opened=plain(booked.opened),
            source=order.source,
        )
        self.note_position(position)
        self._tell(order, "TRADE" if charged else "CALCULATED", trade)
        state.streams.private(account_event(state, "ORDER", [position]), state.wall_ms)
        if not position.qty:
            self.on_flat(position)
        return trade

    def note_position(self, position: Position) -> None:
        """Write the size of a position into the log."""
        self.state.note(oracle.POSITION, symbol=position.symbol, position_side=position.side, qty=plain(position.qty))

    def _end(self, order: Order, status: str, reason: str = "0") -> None:
        order.status, order.updated_ms, order.expire_reason = status, self.state.now_ms, reason
        self.state.open_orders.pop(order.id, None)
        self._tell(order, status if status in (CANCELED, EXPIRED) else "EXPIRED")

    def _tell(self, order: Order, execution: str, trade: Trade | None = None) -> None:
        state = self.state
        state.note(
            oracle.ORDER,
            order_id=order.id,
            client_id=order.client_id,
            symbol=order.symbol,
            status=order.status,
            execution=execution,
            source=order.source,
        )
        state.streams.private(order_event(order, execution, state.now_ms, trade), state.wall_ms)


def closing_side(position: Position) -> bool:
    """Does a BUY close it?"""
    return position.qty < 0 if position.side == BOTH else position.side != LONG
