"""The broker of a session that trades on an exchange: intents go out, and what has become of them comes in later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qtsim.core.accounting import available_nb
from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, FundingPayment, OrderEnd, StopIntent, Transfer
from qtsim.trading.session import Session


@dataclass(frozen=True)
class CancelStop:
    """The position is flat: whatever of ours rests for it has nothing to do any more."""

    slot: int


Command = EntryIntent | ExitIntent | StopIntent | CancelStop


class Desk:
    """Fills nothing itself: hands commands to `send`, and gives the session what the inbox holds."""

    def __init__(self, session: Session, send: Callable[[Command], None]) -> None:
        self.session = session
        self.send = send
        self._fills: list[Fill] = []
        self._ends: list[OrderEnd] = []
        self._funding: list[FundingPayment] = []
        self._transfers: list[Transfer] = []

    # the session's side ----------------------------------------------------------------------------------------------

    def submit(self, intent: EntryIntent | ExitIntent) -> None:
        """Send a market order."""
        self.send(intent)

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
        """Orders that ended unfilled since the last call."""
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
        self._fills.append(fill)

    def ended(self, end: OrderEnd) -> None:
        """An order ended unfilled."""
        self._ends.append(end)

    def paid(self, payment: FundingPayment) -> None:
        """Funding was charged."""
        self._funding.append(payment)

    def moved(self, transfer: Transfer) -> None:
        """Money came or went."""
        self._transfers.append(transfer)

    def settle(self, slots: list[int]) -> None:
        """The exchange acts on its own; what it does is told by its streams."""
