"""Go through a recorded session again: the same inputs into the same session, every decision compared by its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qtsim.core.enums import Health
from qtsim.core.records import Records
from qtsim.live.history import Bar
from qtsim.live.tape import names_of, row_bytes, row_of
from qtsim.live.trader import Trader, fill_of
from qtsim.trading.messages import FundingPayment, OrderEnd


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same, with both states in words."""

    at: int
    input_kind: str
    what: str
    recorded: str
    again: str

    def __str__(self) -> str:
        return (
            f"input {self.at} ({self.input_kind}): {self.what}\n  recorded: {self.recorded}\n  replayed: {self.again}"
        )


class Comparer:
    """The tape of a replay: holds each row that is written against the next one that was recorded."""

    def __init__(self, recorded: Iterable[tuple[int, str, bytes]]) -> None:
        self.rows: dict[int, list[tuple[str, bytes]]] = {}
        for at, kind, body in recorded:
            self.rows.setdefault(at, []).append((kind, body))
        self.written: list[tuple[str, bytes]] = []

    def input(self, kind: str, body: Mapping[str, Any]) -> None:
        """It is what the replay just told."""

    def decision(self, kind: str, row: Records) -> None:
        """A row that the replay wrote."""
        self.written.append((kind, row_bytes(row)))

    def compare(self, at: int, input_kind: str) -> Difference | None:
        """Compare what one input made the session write, and begin the next."""
        wanted, got = self.rows.pop(at, []), self.written
        self.written = []
        for k in range(max(len(wanted), len(got))):
            if k >= len(got):
                return Difference(at, input_kind, "the replay decides less", _words(*wanted[k]), "nothing")
            if k >= len(wanted):
                return Difference(at, input_kind, "the replay decides more", "nothing", _words(*got[k]))
            if wanted[k] != got[k]:
                what = f"{wanted[k][0]} differ" if wanted[k][0] == got[k][0] else "another kind of row"
                return Difference(at, input_kind, what, _words(*wanted[k]), _words(*got[k]))
        return None


def replay(
    trader: Trader, inputs: Iterable[tuple[int, str, dict[str, Any]]], comparer: Comparer
) -> tuple[int, Difference | None]:
    """Feed inputs to a trader whose tape is `comparer`. Returns (inputs gone through, the first difference)."""
    count = 0
    for at, kind, body in inputs:
        VERBS[kind](trader, body)
        count += 1
        difference = comparer.compare(at, kind)
        if difference is not None:
            return count, difference
    return count, None


def _words(kind: str, body: bytes) -> str:
    row = row_of(kind, body)
    shown = ", ".join(f"{name}={row[name][0].item()!r}" for name in names_of(row) if row[name].ndim == 1)
    return f"{kind}: {shown}"


Verb = Callable[[Trader, dict[str, Any]], None]


def _bars(trader: Trader, body: dict[str, Any]) -> None:
    trader.bars(body["close"], {name: Bar(*values) for name, values in body["bars"].items()}, body["now"])


def _end_of(body: Mapping[str, Any]) -> OrderEnd:
    stood = {"stands": bool(body.get("stands", False)), "frees_slot": bool(body.get("frees", True))}
    return OrderEnd(body["slot"], body["entry"], body["why"], **stood, ts=int(body.get("ts", 0)))


VERBS: dict[str, Verb] = {
    "begin": lambda trader, b: trader.begin(b["ts"]),
    "marks": lambda trader, b: trader.marks(b["marks"]),
    "points": lambda trader, b: trader.points(b["ts"], [(s, p, m) for s, p, m in b["prices"]]),
    "settle": lambda trader, b: trader.settle(),
    "bars": _bars,
    "rates": lambda trader, b: trader.rates(b["symbol"], b["ts"], b["rate"]),
    "clock": lambda trader, b: trader.clock(b["now"]),
    "fill": lambda trader, b: trader.executed(fill_of(b)),
    "end": lambda trader, b: trader.ended(_end_of(b)),
    "withdraw": lambda trader, b: trader.withdraw(b["ts"], b["slot"]),
    "funding": lambda trader, b: trader.paid(FundingPayment(b["slot"], b["ts"], b["rate"], b["mark"], b["amount"])),
    "transfer": lambda trader, b: trader.moved(b["ts"], b["amount"], b["withdrawable"]),
    "health": lambda trader, b: trader.health(Health(b["health"])),
    "stop": lambda trader, b: trader.stop_moved(b["slot"], b["price"]),
    "resume": lambda trader, b: trader.resume(b["ts"], b["symbol"]),
    "close_all": lambda trader, b: trader.close_all(b["ts"]),
    "adopt": lambda trader, b: trader.adopt(b["slot"], b["position"]),
}
"""Every kind of input and the trader's verb that takes it."""
