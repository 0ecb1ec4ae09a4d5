"""What the session and a broker say to each other. Frozen: a message is a fact once it is sent.

`slot` is the session's number of a symbol's position, in hedge mode of one side of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from qtsim.core.records import Record, Records


@dataclass(frozen=True)
class EntryIntent:
    """Open a position as the approved plan says: at market, or where it has one at its limit."""

    slot: int
    trade_id: int
    plan: Record  # plan_dt row
    bar: int = -1  # row of its signal


@dataclass(frozen=True)
class ExitIntent:
    """Close lots of an open position at market, reduce-only."""

    slot: int
    trade_id: int
    reason: int
    lots: int
    is_leg: bool


@dataclass(frozen=True)
class StopIntent:
    """Rest a stop on the exchange that closes the whole position.

    backup_limit: where there is one, beside it a reduce-only STOP with the same trigger and this limit price.
    """

    slot: int
    trade_id: int
    trigger_price: float
    backup_limit: float | None = None


@dataclass(frozen=True)
class Fill:
    """What one order has been filled with, confirmed. Only a fill changes quantity, legs and cash.

    An order that is filled in parts is one fill, at its volume-weighted price, once nothing more of it can be filled.
    """

    slot: int
    record: Records  # fill_row_dt[1]
    is_entry: bool
    is_leg: bool
    ends_order: bool = (
        True  # False: the exchange's own doing, or that of a hand; an order of ours may still be under way
    )


@dataclass(frozen=True)
class OrderEnd:
    """Nothing more of an order is waited for.

    It ended without an execution: rejected, expired, or proven never to have arrived. Or it is a limit entry, which
    has two: one where it begins to stand in the book (`stands`), and one once nothing more of it can be filled.
    """

    slot: int
    is_entry: bool
    why: str
    stands: bool = False  # it lives on, its slot is free, and what it is filled with comes unasked
    frees_slot: bool = True  # False: of an order that stood in the book, so that its slot has been free before
    ts: int = 0  # ns; 0: not told


@dataclass(frozen=True)
class FundingPayment:
    """Funding charged by the exchange to an open position; received positive."""

    slot: int
    ts: int
    rate: float
    mark: float
    amount: float


@dataclass(frozen=True)
class Transfer:
    """A deposit or withdrawal as the exchange decided it."""

    record: Records  # transfer_dt[1]
