"""The only door to the exchange: who may send what, in which state, and how often who did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from qtsim.live.kinds import OWNED, Module, OrderKind
from qtsim.live.orders import OrderRequest
from qtsim.live.precision import Filters


class State(IntEnum):
    """How much the program may do; the higher, the less."""

    RUN = 0
    NO_ENTRY = 1
    EXIT_ONLY = 2
    HALT = 3


@dataclass
class Gateway:
    """Validates every order. A refusal is a sentence; empty: it may leave.

    `sends`: False in shadow mode, where everything is decided and nothing leaves. `reasons`: why entries are off, by
    who says so; they are on again once nobody does.
    """

    filters: dict[str, Filters]
    sends: bool = True
    reasons: dict[str, tuple[State, str]] = field(default_factory=dict)
    symbols_closed: dict[str, str] = field(default_factory=dict)  # symbols without entries, and why
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def state(self) -> State:
        """The gravest of the reasons."""
        return max((state for state, _ in self.reasons.values()), default=State.RUN)

    @property
    def why(self) -> str:
        """All reasons in words."""
        return "; ".join(text for _, text in self.reasons.values())

    def hold(self, who: str, state: State, why: str) -> bool:
        """Somebody wants less to be done. Whether that is news."""
        known = self.reasons.get(who)
        self.reasons[who] = (state, why)
        return known != (state, why)

    def free(self, who: str) -> bool:
        """Somebody's reason has gone. Whether there was one."""
        return self.reasons.pop(who, None) is not None

    def refusal(self, module: Module, request: OrderRequest, price: float) -> str:
        """Why an order may not leave; counted. price: last known, for the least notional."""
        why = self._why_not(module, request, price)
        counter = self.refused if why else self.sent
        counter[str(module), str(request.kind)] += 1
        return why

    def _why_not(self, module: Module, request: OrderRequest, price: float) -> str:
        if request.kind not in OWNED[module]:
            return f"{module} does not own {request.kind} orders"
        if request.kind.is_exit and not request.only_reduces:
            return f"an exit ({request.kind}) must reduce"
        if request.reduce_only and request.position_side != "BOTH":
            return "reduceOnly and positionSide exclude each other"
        if self.state >= State.HALT:
            return f"halted: {self.why}"
        if request.kind is OrderKind.ENTRY:
            if self.state >= State.NO_ENTRY:
                return f"no entries: {self.why}"
            if request.symbol in self.symbols_closed:
                return f"no entries in {request.symbol}: {self.symbols_closed[request.symbol]}"
        if not self.sends:
            return "shadow: nothing is sent"
        if request.symbol not in self.filters:
            return f"{request.symbol} is not traded here"
        return ""

    def counts(self) -> dict[str, int]:
        """`module kind` → orders sent, and refused ones with their own name."""
        found = {f"{module} {kind}": count for (module, kind), count in sorted(self.sent.items())}
        return found | {f"{module} {kind} refused": count for (module, kind), count in sorted(self.refused.items())}
