"""Paper trading: the simulated exchange behind the live session, moved by the real market's prices."""

from __future__ import annotations

from qtsim.core.enums import Reason
from qtsim.live.desk import opened_at
from qtsim.sim.broker import SimBroker
from qtsim.trading.messages import Fill, FundingPayment, OrderEnd, Transfer


class PaperVenue(SimBroker):
    """Fills at once at the last price; at each point liquidations, resting stops and limits act before the program."""

    def settle(self, slots: list[int]) -> None:
        """The exchange's own doing at the new points, each over all symbols: liquidation, stops, limit entries."""
        for i in slots:
            self.act(i, Reason.LIQUIDATION)
        self.judge_margin(slots)
        for i in slots:
            self.act(i, Reason.HARD_STOP)
        for i in slots:
            self.meet_order(i)

    def sent_at(self, i: int) -> int:
        """The open of the bar in which an entry is made: prices come when they come, and bars end on their grid."""
        return opened_at(super().sent_at(i), self.timeframe_ns)

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
