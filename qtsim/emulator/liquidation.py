"""Liquidation at mark price: of an isolated position by its own margin, of a cross account by all of it.

The settlement is the simulator's: at mark, and never for more than the margin that backs the position (isolated) or
than the account has (cross); where the loss alone would take it all, at the price that takes exactly all, without fee.
"""

from __future__ import annotations

from decimal import Decimal

from qtsim.emulator import oracle
from qtsim.emulator.accounts import Position
from qtsim.emulator.decimals import ZERO, divided, plain
from qtsim.emulator.matching import Matching
from qtsim.emulator.orders import LIMIT, Order
from qtsim.emulator.payloads import account_event, margin_call
from qtsim.emulator.state import State

MARGIN_CALL_RATIO = Decimal("0.8")
"""Maintenance margin over margin balance from which the user is warned."""


class Liquidator:
    """Judges margins after every change of mark prices."""

    def __init__(self, state: State, matching: Matching) -> None:
        self.state = state
        self.matching = matching
        self._warned: set[tuple[str, str]] = set()

    def judge(self, symbols: tuple[str, ...]) -> None:
        """Liquidate what its margin no longer covers, in the order of symbol and side."""
        account, marks = self.state.account, self.state.marks()
        moved = set(symbols)
        for position in list(account.open_positions()):
            if position.isolated and position.symbol in moved:
                self._judge_isolated(position, marks[position.symbol])
        self._judge_cross()

    def _judge_isolated(self, position: Position, mark: Decimal) -> None:
        maintenance = self.state.account.maintenance(position, mark)
        balance = position.isolated_wallet + position.unrealized(mark)
        if balance <= maintenance:
            self._liquidate(position, room=position.isolated_wallet, balance=balance)
        else:
            self._warn([position], maintenance, balance)

    def _judge_cross(self) -> None:
        account, marks = self.state.account, self.state.marks()
        cross = [position for position in account.open_positions() if not position.isolated]
        if not cross:
            return
        maintenance = account.cross_maintenance(marks)
        balance = account.cross_wallet + account.unrealized(marks, cross_only=True)
        if balance > maintenance:
            self._warn(cross, maintenance, balance)
            return
        self.state.liquidating = True
        for position in cross:
            mark = marks[position.symbol]
            others = (p.unrealized(marks[p.symbol]) for p in cross if p is not position and p.qty)
            room = account.cross_wallet + sum((max(ZERO, pnl) for pnl in others), ZERO)
            balance = account.cross_wallet + account.unrealized(marks, cross_only=True)
            self._liquidate(position, room=max(ZERO, room), balance=max(ZERO, balance), mark=mark)
        self.state.liquidating = False

    def _liquidate(self, position: Position, *, room: Decimal, balance: Decimal, mark: Decimal | None = None) -> None:
        """room: the most that the position can lose. balance: what is left for the fee after settling at mark."""
        state = self.state
        symbol, qty = position.symbol, abs(position.qty)
        price = state.mark(symbol) if mark is None else mark
        fee = ZERO
        if -position.unrealized(price) >= room:
            price = divided(position.cost - room, position.qty)
        else:
            rate = state.rules[symbol].liquidation_fee
            fee = min(state.fill_rule.liquidation_fee(qty, price, rate), max(ZERO, balance))
        self._cancel_orders(position)
        order = self._order(position, price)
        state.note(oracle.LIQUIDATION, symbol=symbol, position_side=position.side, price=plain(price), fee=plain(fee))
        self.matching.settle_at(order, price)
        if fee:
            state.account.pay(-fee, state.now_ms)
            state.add_income(symbol, "INSURANCE_CLEAR", -fee, "liquidation clearance")
            state.streams.private(account_event(state, "INSURANCE_CLEAR", [], -fee), state.wall_ms)
        self._warned.discard((symbol, position.side))

    def _cancel_orders(self, position: Position) -> None:
        for order in list(self.state.open_orders.values()):
            if order.symbol == position.symbol:
                self.matching.cancel(order)

    def _order(self, position: Position, price: Decimal) -> Order:
        state = self.state
        order_id = state.next_order
        state.next_order += 1
        return Order(
            id=order_id,
            client_id=f"autoclose-{state.now_ms}{order_id}",
            symbol=position.symbol,
            buys=position.qty < 0,
            position_side=position.side,
            type=LIMIT,
            time_in_force="IOC",
            qty=abs(position.qty),
            price=price,
            reduce_only=False,
            created_ms=state.now_ms,
            updated_ms=state.now_ms,
            source="liquidation",
        )

    def _warn(self, positions: list[Position], maintenance: Decimal, balance: Decimal) -> None:
        """MARGIN_CALL once when maintenance reaches 80 % of the margin balance, again after it was below."""
        keys = {(position.symbol, position.side) for position in positions}
        if maintenance < MARGIN_CALL_RATIO * balance:
            self._warned -= keys
        elif not keys <= self._warned:
            self._warned |= keys
            self.state.streams.private(margin_call(self.state, positions), self.state.wall_ms)
