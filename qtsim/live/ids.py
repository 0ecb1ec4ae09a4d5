"""Client order ids: deterministic, unique for ever, and telling whose they are.

`q{session}-{epoch}-{number}-{kind}-{attempt}`, all hexadecimal but the kind: at most 36 characters of those that the
exchange takes. The epoch is the lease's, so that a second writer is seen on the account itself; the number is that of
the journal's intent; a further attempt exists only after the former is proven dead.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from qtsim.live.kinds import OrderKind

EXCHANGE_PATTERN = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
"""What the exchange takes as newClientOrderId and clientAlgoId."""
_OURS = re.compile(
    r"q(?P<tag>[0-9a-f]{6})-(?P<epoch>[0-9a-f]{4,6})-(?P<number>[0-9a-f]{8})-(?P<kind>[a-z0-9]{2})-(?P<attempt>[0-9a-f])"
)
EPOCH_MAX, NUMBER_MAX, ATTEMPT_MAX = 0xFFFFFF, 0xFFFFFFFF, 0xF


@dataclass(frozen=True)
class ClientId:
    """A client order id in its parts."""

    tag: str
    epoch: int
    number: int
    kind: OrderKind
    attempt: int = 0

    def __str__(self) -> str:
        return f"q{self.tag}-{self.epoch:04x}-{self.number:08x}-{self.kind.code}-{self.attempt:x}"

    def __post_init__(self) -> None:
        """Raise ValueError for a part that has no room."""
        for name, value, most in (
            ("epoch", self.epoch, EPOCH_MAX),
            ("number", self.number, NUMBER_MAX),
            ("attempt", self.attempt, ATTEMPT_MAX),
        ):
            if not 0 <= value <= most:
                raise ValueError(f"{name} {value} does not fit into a client order id; at most {most}")


def session_tag(session: str) -> str:
    """Six hexadecimal digits that name a session in client ids."""
    return hashlib.sha256(session.encode()).hexdigest()[:6]


def parse_client_id(text: str) -> ClientId | None:
    """The parts of an id that this program made; None for anybody else's."""
    found = _OURS.fullmatch(text or "")
    kind = OrderKind.of_code(found["kind"]) if found else None
    if found is None or kind is None:
        return None
    return ClientId(found["tag"], int(found["epoch"], 16), int(found["number"], 16), kind, int(found["attempt"], 16))


def is_ours(text: str, tag: str) -> bool:
    """Was the order sent by a session of this tag, whichever its epoch?"""
    parsed = parse_client_id(text)
    return parsed is not None and parsed.tag == tag
