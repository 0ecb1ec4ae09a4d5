"""The broker of a session that trades on an exchange: intents go out, and what has become of them comes in later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qtsim.core.accounting import available_nb
from qtsim.core.orders import (
    has_entry_order_nb,
    note_filled_nb,
    note_placed_nb,
    place_order_nb,
    stand_in_book_nb,
    take_part_nb,
)
from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, FundingPayment, OrderEnd, StopIntent, Transfer
from qtsim.trading.session import Session


@dataclass(frozen=True)
class CancelStop:
    """The position is flat: whatever of ours rests for it has nothing to do any more."""

    slot: int


@dataclass(frozen=True)
class CancelEntry:
    """The slot's limit entry may not go on standing."""

    slot: int


Command = EntryIntent | ExitIntent | StopIntent | CancelStop | CancelEntry


def opened_at(ts: int, timeframe_ns: int) -> int:
    """The open of the bar that `ts` lies in, ns."""
    return ts - ts % timeframe_ns if timeframe_ns else ts


class Desk:
    """Fills nothing itself: hands commands to `send`, and gives the session what the inbox holds.

    A limit entry is kept in the position's record, as the simulated exchange keeps it: what of it is still to come,
    until when it stands, and what it reserves.
    """

    def __init__(self, session: Session, send: Callable[[Command], None], timeframe_ns: int = 0) -> None:
        """timeframe_ns: length of the signals' bars, in which limit entries time out."""
        self.session = session
        self.send = send
        self.timeframe_ns = timeframe_ns
        self.standing: set[int] = set()
        """Slots whose limit entry can still be filled, and has not been called back."""
        self._fills: list[Fill] = []
        self._ends: list[OrderEnd] = []
        self._funding: list[FundingPayment] = []
        self._transfers: list[Transfer] = []

    # the session's side ----------------------------------------------------------------------------------------------

    def submit(self, intent: EntryIntent | ExitIntent) -> None:
        """Send an order."""
        if isinstance(intent, EntryIntent) and not np.isnan(intent.plan["limit_price"]):
            self._keep(intent)
        self.send(intent)

    def _keep(self, intent: EntryIntent) -> None:
        session, i = self.session, intent.slot
        place_order_nb(
            session.positions[i],
            intent.plan,
            intent.trade_id,
            intent.bar,
            opened_at(int(session.points[i]["ts"]), self.timeframe_ns),
            self.timeframe_ns,
            session.instruments[i],
            session.params["entry"],
        )
        note_placed_nb(session.account[0], session.positions[i])
        self.standing.add(i)

    def take_up(self) -> None:
        """The session's state is that of an earlier program: its limit entries may stand."""
        self.standing = {i for i, one in enumerate(self.session.positions) if has_entry_order_nb(one)}

    def cancel_entry(self, slot: int) -> bool:
        """Call a limit entry back; how it ended is told by the exchange."""
        if slot not in self.standing:
            return False
        self.standing.discard(slot)
        self.send(CancelEntry(slot))
        return True

    def place_stop(self, intent: StopIntent) -> None:
        """Rest the hard stop."""
        self.send(intent)

    def cancel_stop(self, slot: int) -> None:
        """Clear what rests for a flat position."""
        self.send(CancelStop(slot))

    def fills(self) -> list[Fill]:
        """Fills since the last call."""
        drained, self._fills = self._fills, []
        return drained

    def ends(self) -> list[OrderEnd]:
        """Orders of which nothing more is waited for since the last call."""
        drained, self._ends = self._ends, []
        return drained

    def funding(self) -> list[FundingPayment]:
        """Funding payments since the last call."""
        drained, self._funding = self._funding, []
        return drained

    def transfers(self) -> list[Transfer]:
        """Deposits and withdrawals since the last call."""
        drained, self._transfers = self._transfers, []
        return drained

    def available(self) -> float:
        """Wallet less margins in use, of the capital that the program may use; cross adds unrealized PnL."""
        session = self.session
        return available_nb(session.account[0], session.positions, session.points, session.params)

    # the exchange's side ---------------------------------------------------------------------------------------------

    def filled(self, fill: Fill) -> None:
        """An order was filled, or the exchange closed something."""
        if fill.is_entry:
            self._take_part(fill)
            self._count_anew(fill)
        self._fills.append(fill)

    def _take_part(self, fill: Fill) -> None:
        """What of a limit entry has been filled is not waited for any more."""
        session, i = self.session, fill.slot
        position = session.positions[i]
        if not has_entry_order_nb(position) or position["order_id"] != fill.record["trade_id"][0]:
            return
        note_filled_nb(session.account[0], position)
        take_part_nb(position, session.plans[i], int(fill.record["lots"][0]))
        if not has_entry_order_nb(position):
            self.standing.discard(i)

    def _count_anew(self, fill: Fill) -> None:
        """A part that is filled once the position of the parts before it has been closed is a trade of its own."""
        position, account = self.session.positions[fill.slot], self.session.account
        is_closed = position["side"] == 0 and position["init_lots"] > 0
        if is_closed and position["trade_id"] == fill.record["trade_id"][0]:
            fill.record["trade_id"] = account["next_trade_id"]
            account["next_trade_id"] += 1

    def ended(self, end: OrderEnd) -> None:
        """Nothing more of an order is waited for."""
        position = self.session.positions[end.slot]
        if end.stands and has_entry_order_nb(position):
            stand_in_book_nb(position, bool(position["order_filled"] > 0))
        elif end.is_entry and not end.stands:
            self.standing.discard(end.slot)
        self._ends.append(end)

    def paid(self, payment: FundingPayment) -> None:
        """Funding was charged."""
        self._funding.append(payment)

    def moved(self, transfer: Transfer) -> None:
        """Money came or went."""
        self._transfers.append(transfer)

    def settle(self, slots: list[int]) -> None:
        """The exchange acts on its own; what it does is told by its streams."""
