"""The guardian: a second, small program that only looks whether every position has a stop on the exchange.

Two looks in a row without one, and it places one; where none can rest it closes at market. It can add protection or
reduce, and nothing else: no order kind that opens belongs to it.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from qtsim.data.atomic import write_atomically
from qtsim.live.binance.exchange import BinanceExchange
from qtsim.live.gateway import Gateway
from qtsim.live.ids import ClientId
from qtsim.live.journal import Intent, Journal
from qtsim.live.kinds import Module, OrderKind
from qtsim.live.orders import OrderRequest, QueryFailedError, Reply
from qtsim.live.outcomes import Outcome, Remedy
from qtsim.live.reconcile import covers
from qtsim.live.snapshot import Held, Key, Resting

LOOKS = 2
"""In a row without a covering stop before it acts."""
NUMBERS = 0x80000000
"""Its client ids are numbered from here on, beside those of the program that it guards."""
MS = 1_000_000
Note = Callable[[str, str, dict[str, Any]], None]


class Guardian:
    """Looks at positions and stops of one account, for the symbols of one session."""

    def __init__(
        self,
        exchange: BinanceExchange,
        gateway: Gateway,
        journal: Journal,
        tag: str,
        epoch: int,
        lots: Mapping[str, Decimal],
        triggers: Callable[[], Mapping[Key, float]],
        max_loss: float,
        note: Note,
    ) -> None:
        """triggers: where the session wants the stops; max_loss: ratio of the entry price where it does not say."""
        self.exchange = exchange
        self.gateway = gateway
        self.journal = journal
        self.tag = tag
        self.epoch = epoch
        self.lots = lots
        self.triggers = triggers
        self.max_loss = max_loss
        self.note = note
        self.bare: Counter[Key] = Counter()
        self.placed = 0
        self.closed = 0

    async def look(self) -> list[Held]:
        """One look. Returns the positions that it acted on; a question without an answer is no look."""
        try:
            positions, stops = await self.exchange.protection(list(self.lots))
        except QueryFailedError as error:
            self.note("GUARDIAN_BLIND", "", {"why": str(error)})
            return []
        acted = []
        for key, held in sorted(positions.items()):
            if not held.lots or self._is_covered(held, stops):
                del self.bare[key]
                continue
            self.bare[key] += 1
            if self.bare[key] >= LOOKS:
                acted.append(held)
                await self._protect(held)
        return acted

    async def run(
        self,
        every_s: float,
        is_wanted: Callable[[], bool],
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        """Look as long as it is wanted."""
        while is_wanted():
            await self.look()
            await sleep(every_s)

    def _is_covered(self, held: Held, stops: tuple[Resting, ...]) -> bool:
        return any(covers(order, held, self.exchange.now_ms()) for order in stops)

    async def _protect(self, held: Held) -> None:
        side = 1 if held.lots > 0 else -1
        wanted = self.triggers().get(held.key, math.nan)
        trigger = held.entry_price * (1.0 - side * self.max_loss) if math.isnan(wanted) else wanted
        filters = self.gateway.filters[held.symbol]
        text = filters.ceil_price(trigger) if side > 0 else filters.floor_price(trigger)
        reply = await self._send(held, OrderKind.HARD_SL, trigger=text)
        if reply is None:
            return
        self.note(
            "GUARDIAN_STOP", held.symbol, {"trigger": trigger, "outcome": reply.outcome.value, "text": reply.text}
        )
        if reply.outcome is Outcome.ACK:
            self.placed += 1
            del self.bare[held.key]
        elif reply.remedy is Remedy.CLOSE:
            await self._close(held)

    async def _close(self, held: Held) -> None:
        reply = await self._send(held, OrderKind.LOSS_GUARD)
        if reply is not None:
            self.closed += int(reply.outcome is Outcome.ACK)
            self.note("GUARDIAN_CLOSE", held.symbol, {"outcome": reply.outcome.value, "text": reply.text})

    async def _send(self, held: Held, kind: OrderKind, *, trigger: str = "") -> Reply | None:
        number = self.journal.next_intent
        client_id = str(ClientId(self.tag, self.epoch, NUMBERS + number, kind))
        one_way = held.position_side == "BOTH"
        request = OrderRequest(
            client_id,
            kind,
            held.symbol,
            "SELL" if held.lots > 0 else "BUY",
            held.position_side,
            qty="" if trigger else self.gateway.filters[held.symbol].quantity(abs(held.lots), self.lots[held.symbol]),
            reduce_only=one_way and not trigger,
            trigger=trigger,
        )
        why = self.gateway.refusal(Module.GUARDIAN, request, held.mark)
        if why:
            self.note("GUARDIAN_REFUSED", held.symbol, {"why": why})
            return None
        body = {name: value for name, value in vars(request).items() if value not in ("", None)}
        self.journal.intend(
            Intent(
                number,
                self.epoch,
                self.exchange.now_ms() * MS,
                client_id,
                str(Module.GUARDIAN),
                str(kind),
                held.symbol,
                -1,
                -1,
                0,
                abs(held.lots),
                body,
                {},
            )
        )
        return await self.exchange.place(request)


def write_triggers(path: Path, triggers: Mapping[Key, float]) -> None:
    """Tell the guardian where the stops belong."""
    text = json.dumps({"/".join(key): price for key, price in sorted(triggers.items())})
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def read_triggers(path: Path) -> dict[Key, float]:
    """Where the stops belong; empty where nothing is told, or what is told cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found: dict[Key, float] = {}
        for name, price in content.items():
            symbol, _, side = str(name).partition("/")
            found[symbol, side] = float(price)
        return found
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
