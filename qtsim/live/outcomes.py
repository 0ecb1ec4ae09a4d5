"""What an answer of the exchange says about an order: ACK, REJECTED or UNKNOWN. One table; what it lacks is UNKNOWN.

A rejection is definite: the order does not exist and never will. UNKNOWN is never treated as failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Outcome(Enum):
    """What has become of a request that changes something."""

    ACK = "ack"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Remedy(Enum):
    """What helps, beside taking note."""

    NONE = "none"
    WAIT = "wait"  # the limiter or the exchange's load: later
    RESYNC = "resync"  # the clock, then once more
    HALT = "halt"  # the key is not good: a person
    VERIFY = "verify"  # read position and orders again
    CLOSE = "close"  # a stop that cannot rest: close at market
    REDUCE = "reduce"  # no more entries, exits go on
    REVIEW = "review"  # a fault of this program or of its filters: no more entries of the symbol


class Answer(NamedTuple):
    """What came back: HTTP status (0: nothing came), the exchange's code (0: none), its text."""

    http: int
    code: int = 0
    text: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table; None and "" match anything. `text` is looked for without regard to case."""

    outcome: Outcome
    remedy: Remedy
    http: int | None = None
    code: int | None = None
    text: str = ""

    def matches(self, answer: Answer) -> bool:
        """Does the line speak of this answer?"""
        return (
            self.http in (None, answer.http)
            and self.code in (None, answer.code)
            and self.text.lower() in answer.text.lower()
        )


NOT_SENT = "not sent"
"""Text of an answer that stands for a connection which could not be opened: the request never left."""
NO_ID = "no order id"
"""Text of an answer that stands for a success without an order in it."""

_R, _U = Outcome.REJECTED, Outcome.UNKNOWN


def _rejected(remedy: Remedy, *codes: int) -> tuple[Row, ...]:
    return tuple(Row(_R, remedy, code=code) for code in codes)


TABLE: tuple[Row, ...] = (
    # never left, or stopped before the exchange
    Row(_R, Remedy.WAIT, http=0, text=NOT_SENT),
    Row(_R, Remedy.WAIT, http=429),
    Row(_R, Remedy.WAIT, http=418),
    Row(_R, Remedy.WAIT, http=403, code=0),
    # 503 has four faces
    Row(_R, Remedy.WAIT, http=503, code=-1008),
    Row(_U, Remedy.VERIFY, http=503, text="unknown error"),
    Row(_R, Remedy.WAIT, http=503, text="service unavailable"),
    Row(_R, Remedy.WAIT, http=503, text="unable to process"),
    # may have been executed
    Row(_U, Remedy.VERIFY, http=0),
    Row(_U, Remedy.VERIFY, http=408),
    Row(_U, Remedy.VERIFY, http=504),
    Row(_U, Remedy.VERIFY, code=-1000),
    Row(_U, Remedy.VERIFY, code=-1001),
    Row(_U, Remedy.VERIFY, code=-1006),
    Row(_U, Remedy.VERIFY, code=-1007),
    Row(_U, Remedy.VERIFY, code=-4116),  # our id lives: an earlier attempt arrived
    # busy
    *_rejected(Remedy.WAIT, -1003, -1008, -1015),
    # clock and key
    *_rejected(Remedy.RESYNC, -1021, -5028),
    *_rejected(Remedy.HALT, -1002, -1022, -2014, -2015, -4109),
    # what the request says
    *_rejected(
        Remedy.REVIEW, -1013, -1100, -1101, -1102, -1103, -1106, -1111, -1115, -1116, -1117, -1121, -1128, -1130
    ),
    *_rejected(
        Remedy.REVIEW, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4015, -4023, -4028, -4120, -4137, -4140, -4141
    ),
    *_rejected(Remedy.NONE, -4016, -4024, -4131, -4164),
    # what the account says
    *_rejected(Remedy.NONE, -2010, -2018, -2019, -2025, -2027, -2028, -4045),
    *_rejected(Remedy.VERIFY, -2011, -2013, -2022, -2023, -4061, -4117, -4118, -4130, -4509),
    *_rejected(Remedy.CLOSE, -2021, -4142),
    *_rejected(Remedy.REDUCE, -4047, -4048, -4067, -4068, -4161, -4192, -4400, -4411, -4531),
)
"""First match counts; what no line speaks of is UNKNOWN."""


def classify(answer: Answer) -> tuple[Outcome, Remedy]:
    """What an answer says about the order that was asked for."""
    for row in TABLE:
        if row.matches(answer):
            return row.outcome, row.remedy
    if answer.http == 200 and answer.code >= 0 and answer.text != NO_ID:
        return Outcome.ACK, Remedy.NONE
    return Outcome.UNKNOWN, Remedy.VERIFY
