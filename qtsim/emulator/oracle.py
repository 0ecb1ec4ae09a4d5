"""What the exchange saw, in order, and what tests ask of it: exits only reduce, no request in a ban, time unprotected.

Only the exchange knows the truth about its positions, so these checks read its own log and nothing that a client says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

REQUEST, ANSWER, ORDER, FILL, ALGO, POSITION = "request", "answer", "order", "fill", "algo", "position"
FUNDING, LIQUIDATION, STREAM = "funding", "liquidation", "stream"


@dataclass(frozen=True)
class Entry:
    """One line of the log. Times are ms of the market's clock and of the wall."""

    seq: int
    ts_ms: int
    wall_ms: int
    kind: str
    data: Mapping[str, Any]


@dataclass
class Log:
    """Requests and effects, in the order in which they happened. limit: how many lines are kept; None all."""

    limit: int | None = None
    entries: deque[Entry] = field(init=False)
    _next: int = 1

    def __post_init__(self) -> None:
        self.entries = deque(maxlen=self.limit)

    def add(self, kind: str, ts_ms: int, wall_ms: int, **data: Any) -> None:
        """Write a line."""
        self.entries.append(Entry(self._next, ts_ms, wall_ms, kind, data))
        self._next += 1

    def of(self, *kinds: str) -> Iterator[Entry]:
        """Lines of some kinds."""
        return (entry for entry in self.entries if entry.kind in kinds)

    def text(self) -> str:
        """The whole log, a line each: equal for equal runs."""
        return "\n".join(
            f"{entry.seq} {entry.ts_ms} {entry.wall_ms} {entry.kind} "
            + " ".join(f"{name}={entry.data[name]}" for name in entry.data)
            for entry in self.entries
        )


@dataclass(frozen=True)
class Unprotected:
    """A span of the market's clock in which a position had no covering stop."""

    symbol: str
    position_side: str
    start_ms: int
    end_ms: int

    @property
    def ms(self) -> int:
        """Its length."""
        return self.end_ms - self.start_ms


def requests_in_bans(log: Log) -> list[Entry]:
    """Requests that arrived while the address was banned: there should be none but the first, which learns of it."""
    return [entry for entry in log.of(REQUEST) if entry.data["banned"]]


def exits_that_opened(log: Log, is_exit: Callable[[str], bool]) -> list[Entry]:
    """Fills of orders whose client id says that they are exits, which opened or enlarged a position."""
    return [entry for entry in log.of(FILL) if is_exit(entry.data["client_id"]) and entry.data["opened"] != "0"]


def repeated_entries(log: Log, decision_of: Callable[[str], str | None]) -> dict[str, list[str]]:
    """Decisions that several orders filled: decision → their client ids. decision_of: None for orders of no entry."""
    filled: dict[str, list[str]] = {}
    for entry in log.of(FILL):
        name = entry.data["client_id"]
        decision = decision_of(name)
        if decision is not None and name not in filled.setdefault(decision, []):
            filled[decision].append(name)
    return {decision: names for decision, names in filled.items() if len(names) > 1}


def requests_without_intent(log: Log, intended: Iterable[str]) -> list[Entry]:
    """New orders whose client id is not among those written down before."""
    known = set(intended)
    return [
        entry
        for entry in log.of(REQUEST)
        if entry.data["endpoint"] in ("POST order", "POST algoOrder") and entry.data["client_id"] not in known
    ]


def unprotected(log: Log, end_ms: int) -> list[Unprotected]:
    """Spans in which something was open without a live stop that covers all of it, by symbol and position side.

    A stop covers with closePosition, or with its quantity, summed over all that would reduce. Stops that are TRIGGERING
    cover nothing. Spans of length 0, a stop placed at the instant of the fill, are left out.
    """
    sizes: dict[tuple[str, str], float] = {}
    stops: dict[int, tuple[str, str, str, float]] = {}  # algo id → symbol, position side, side, quantity
    since: dict[tuple[str, str], int] = {}
    found: list[Unprotected] = []
    for entry in log.of(POSITION, ALGO):
        data = entry.data
        if entry.kind == POSITION:
            sizes[data["symbol"], data["position_side"]] = float(data["qty"])
        elif data["type"] in ("STOP", "STOP_MARKET", "TRAILING_STOP_MARKET"):
            if data["status"] == "NEW":
                qty = float("inf") if data["close_position"] else float(data["qty"]) if data["reduces"] else 0.0
                stops[data["algo_id"]] = (data["symbol"], data["position_side"], data["side"], qty)
            else:
                stops.pop(data["algo_id"], None)
        for key, size in sizes.items():
            bare = size != 0.0 and not _covers(stops.values(), key, size)
            if bare:
                since.setdefault(key, entry.ts_ms)
            elif key in since:
                found.append(Unprotected(*key, since.pop(key), entry.ts_ms))
    found.extend(Unprotected(*key, start, end_ms) for key, start in since.items())
    return [span for span in found if span.ms > 0]


def _covers(stops: Iterable[tuple[str, str, str, float]], key: tuple[str, str], size: float) -> bool:
    closing = "SELL" if size > 0.0 else "BUY"
    covered = sum(qty for symbol, side, order_side, qty in stops if (symbol, side) == key and order_side == closing)
    return covered >= abs(size) * (1.0 - 1e-12)
