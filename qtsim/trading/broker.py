"""The broker protocol: who fills the orders, in a backtest and live alike.

Contract, held by one suite of tests for every broker:

- `submit` may fill at once, later, in parts, or not at all; it never raises for a business outcome.
- Each order sent has exactly one end: a fill, reported by `fills` once nothing more of it can be filled, or, where
  nothing was filled, an entry of `ends`. Until then the slot is busy and nothing more is decided for it.
- Fills come in the order they happened, each exactly once; those of the exchange's own doing (a hard stop, a
  liquidation, a hand) come unasked.
- A limit entry that is not filled at once stands in the book: an entry of `ends` with `stands` frees its slot, fills
  come unasked, one for each execution, and another entry of `ends` says that nothing more of it can be filled. Whether
  it may go on standing is decided by the session; `cancel_entry` calls it back.
- `place_stop` rests at most one closing stop per position; it disappears with the position.
- `funding` reports each payment exactly once, `transfers` each deposit and withdrawal.
"""

from __future__ import annotations

from typing import Protocol

from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, FundingPayment, OrderEnd, StopIntent, Transfer


class Broker(Protocol):
    """Nine verbs between the session and whoever fills its orders."""

    def submit(self, intent: EntryIntent | ExitIntent) -> None:
        """Send an order: at market, or an entry whose plan has a limit at that."""

    def cancel_entry(self, slot: int) -> bool:
        """Call the slot's limit entry back; False where none stands that could still be filled."""

    def place_stop(self, intent: StopIntent) -> None:
        """Rest the hard stop of a position on the exchange."""

    def cancel_stop(self, slot: int) -> None:
        """Remove the position's resting stop, if there is one."""

    def fills(self) -> list[Fill]:
        """Executions since the last call, in order."""

    def ends(self) -> list[OrderEnd]:
        """Orders of which nothing more is waited for since the last call, in order."""

    def funding(self) -> list[FundingPayment]:
        """Funding payments since the last call, in order."""

    def transfers(self) -> list[Transfer]:
        """Deposits and withdrawals since the last call, in order; also those that the exchange refused."""

    def available(self) -> float:
        """Quote currency that can back new positions."""
