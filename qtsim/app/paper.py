"""Paper trading: the simulated exchange behind the live session, moved by the real market's prices."""

from __future__ import annotations

from qtsim.core.enums import Reason
from qtsim.sim.broker import SimBroker
from qtsim.trading.messages import Fill, FundingPayment, OrderEnd, Transfer


class PaperVenue(SimBroker):
    """Fills at once at the last price; at each point liquidations and resting stops act before the program does."""

    def settle(self, slots: list[int]) -> None:
        """The exchange's own doing at the new points: liquidation of all symbols, then exchange stops of all."""
        for i in slots:
            self.act(i, Reason.LIQUIDATION)
        self.judge_margin(slots)
        for i in slots:
            self.act(i, Reason.HARD_STOP)

    def filled(self, fill: Fill) -> None:
        """A fill from outside, such as one that a position was recovered with."""
        self._fills.append(fill)

    def ended(self, end: OrderEnd) -> None:
        """No order ends unfilled here."""

    def paid(self, payment: FundingPayment) -> None:
        """A payment that the market's funding rate asks for."""
        self._funding.append(payment)

    def moved(self, transfer: Transfer) -> None:
        """Money that came or went."""
        self._transfers.append(transfer)
