"""Compare what this program believes with the exchange, as one pure function: `diff(local, snapshot) → events`.

The exchange wins for quantity. Executions by their id explain a difference; what they leave unexplained is adjusted
only when two looks in a row find the same. After the events are applied, a second comparison finds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from qtsim.live.ids import parse_client_id
from qtsim.live.kinds import OrderKind
from qtsim.live.snapshot import Execution, Held, Key, Local, Resting, Snapshot

STUCK_MS = 5_000
"""A stop that has been triggering for longer protects nothing."""
OVER = frozenset(("TRIGGERED", "FINISHED", "CANCELED", "REJECTED", "EXPIRED", "FILLED", "EXPIRED_IN_MATCH"))


@dataclass(frozen=True)
class MissedTrade:
    """An execution that no stream told of."""

    execution: Execution


@dataclass(frozen=True)
class Disputed:
    """Quantities differ and no execution explains it: look again before acting."""

    key: Key
    lots: int


@dataclass(frozen=True)
class Adjusted:
    """Quantities differ for the second time: the exchange's counts from now on. `price`: what it is booked at."""

    key: Key
    before: int
    after: int
    price: float


@dataclass(frozen=True)
class StopMissing:
    """A position without a covering stop on the exchange."""

    held: Held


@dataclass(frozen=True)
class Stray:
    """An order of ours that has nothing to do any more, or a stop beside the one that counts: cancel it."""

    order: Resting


@dataclass(frozen=True)
class Gone:
    """An order that was believed to live and does not rest: ask for it by its id."""

    client_id: str


@dataclass(frozen=True)
class Settled:
    """An order of unknown outcome rests on the exchange: it has arrived."""

    order: Resting


@dataclass(frozen=True)
class ForeignEpoch:
    """An order of this session from an epoch that is newer than ours: another program trades this account."""

    order: Resting


Event = MissedTrade | Disputed | Adjusted | StopMissing | Stray | Gone | Settled | ForeignEpoch


@dataclass(frozen=True)
class Rules:
    """How to compare: the session's tag and epoch, lots per symbol, and what else is cancelled."""

    tag: str
    epoch: int
    lot: Mapping[str, Decimal]
    symbols: frozenset[str]
    cleanup_foreign: bool = False


def diff(local: Local, snapshot: Snapshot, rules: Rules) -> list[Event]:
    """What differs, in the order in which it is to be dealt with."""
    events: list[Event] = []
    events += foreign_epochs(snapshot, rules)
    missed = missed_trades(local, snapshot, rules)
    events += missed
    events += quantities(local, missed, snapshot, rules)
    events += orders_between(local, snapshot, rules)
    events += missing_stops(local, snapshot, rules)
    # what the events above leave open, not what was believed before them
    events += strays(applied(local, events, rules), snapshot, rules)
    return events


def foreign_epochs(snapshot: Snapshot, rules: Rules) -> list[ForeignEpoch]:
    """Orders of this session that a later program sent."""
    found = []
    for order in snapshot.orders:
        parsed = parse_client_id(order.client_id)
        if parsed is not None and parsed.tag == rules.tag and parsed.epoch > rules.epoch:
            found.append(ForeignEpoch(order))
    return found


def missed_trades(local: Local, snapshot: Snapshot, rules: Rules) -> list[MissedTrade]:
    """Executions of the traded symbols that are not booked, oldest first."""
    fresh = [
        trade
        for trade in {(one.symbol, one.exchange_id): one for one in snapshot.executions}.values()
        if trade.symbol in rules.symbols and (trade.symbol, trade.exchange_id) not in local.trades
    ]
    return [MissedTrade(trade) for trade in sorted(fresh, key=lambda one: (one.ts, one.symbol, one.exchange_id))]


def signed_lots(execution: Execution, lot: Decimal) -> int:
    """What an execution adds to its position: below 0 sells."""
    lots = int((Decimal(execution.qty) / lot).to_integral_value())
    return lots if execution.side == "BUY" else -lots


def quantities(local: Local, missed: list[MissedTrade], snapshot: Snapshot, rules: Rules) -> list[Disputed | Adjusted]:
    """Where lots differ after the missed executions are counted."""
    believed = dict(local.lots)
    for event in missed:
        one = event.execution
        key = (one.symbol, one.position_side)
        believed[key] = believed.get(key, 0) + signed_lots(one, rules.lot[one.symbol])
    found: list[Disputed | Adjusted] = []
    for key in sorted(set(believed) | set(snapshot.positions)):
        if key[0] not in rules.symbols:
            continue
        held = snapshot.positions.get(key)
        lots = held.lots if held else 0
        before = believed.get(key, 0)
        if lots == before:
            continue
        if local.disputed.get(key) == lots and key in local.disputed:
            price = held.entry_price if held and not before else (held.mark if held else float("nan"))
            found.append(Adjusted(key, before, lots, price))
        else:
            found.append(Disputed(key, lots))
    return found


def orders_between(local: Local, snapshot: Snapshot, rules: Rules) -> list[Gone | Settled]:
    """Orders that should rest and do not, and orders of unknown outcome that do."""
    resting = {order.client_id: order for order in snapshot.orders if order.status not in OVER}
    gone = [Gone(client_id) for client_id in sorted(local.live - local.unresolved) if client_id not in resting]
    settled = [Settled(resting[client_id]) for client_id in sorted(local.unresolved) if client_id in resting]
    return [*gone, *settled]


def covers(order: Resting, held: Held, now_ms: int) -> bool:
    """Does an order protect a position: a stop of the other side that closes all of it and is not stuck?"""
    closing = "SELL" if held.lots > 0 else "BUY"
    if not (order.is_algo and order.close_position) or order.symbol != held.symbol or order.side != closing:
        return False
    if order.position_side not in (held.position_side, "BOTH"):
        return False
    if order.status == "TRIGGERING":
        return now_ms - order.updated <= STUCK_MS
    return order.status == "NEW"


def missing_stops(local: Local, snapshot: Snapshot, rules: Rules) -> list[StopMissing]:
    """Open positions of the traded symbols that no stop of the exchange covers, and for which none is under way."""
    now_ms = snapshot.ts // 1_000_000
    return [
        StopMissing(held)
        for key, held in sorted(snapshot.positions.items())
        if held.lots
        and held.symbol in rules.symbols
        and key not in local.stops_asked
        and not any(covers(order, held, now_ms) for order in snapshot.orders)
    ]


def strays(local: Local, snapshot: Snapshot, rules: Rules) -> list[Stray]:
    """Orders that protect or close what is not there: ours, and others' only where the settings say so.

    An order that is believed to be under way is left alone: its entry may be about to be filled. So is an entry that
    this program has sent; one that it does not know, of an earlier program, goes whatever is held.
    """
    found = []
    for order in snapshot.orders:
        if order.symbol not in rules.symbols or order.status in OVER or order.order_id in local.cancels_asked:
            continue
        if order.client_id in local.entries:
            continue
        parsed = parse_client_id(order.client_id)
        ours = parsed is not None and parsed.tag == rules.tag
        if not ours and not rules.cleanup_foreign:
            continue
        flat = not any(
            held.lots
            for key, held in snapshot.positions.items()
            if key[0] == order.symbol and (key[1] == order.position_side or "BOTH" in (key[1], order.position_side))
        )
        believed = any(
            lots
            for key, lots in local.lots.items()
            if key[0] == order.symbol and (key[1] == order.position_side or "BOTH" in (key[1], order.position_side))
        )
        forgotten = ours and parsed is not None and parsed.kind is OrderKind.ENTRY and parsed.epoch <= rules.epoch
        serves_nothing = (flat and not believed) or forgotten or closes_the_other_side(order, local, snapshot)
        if serves_nothing and order.client_id not in local.unresolved:
            found.append(Stray(order))
    return found


def closes_the_other_side(order: Resting, local: Local, snapshot: Snapshot) -> bool:
    """Is it the stop of a position that has been turned round since, and of which nobody doubts the new side?"""
    key = (order.symbol, "BOTH")
    held = snapshot.positions.get(key)
    if not (order.is_algo and order.close_position) or order.position_side != "BOTH" or held is None or not held.lots:
        return False
    agreed = held.lots * local.lots.get(key, 0) > 0
    return agreed and order.side == ("BUY" if held.lots > 0 else "SELL")


def applied(local: Local, events: list[Event], rules: Rules) -> Local:
    """What this program believes after it has dealt with events, or sent what they ask for."""
    lots, disputed = dict(local.lots), {}
    trades, live, unresolved = set(local.trades), set(local.live), set(local.unresolved)
    stops, cancels = set(local.stops_asked), set(local.cancels_asked)
    for event in events:
        if isinstance(event, MissedTrade):
            one = event.execution
            key = (one.symbol, one.position_side)
            lots[key] = lots.get(key, 0) + signed_lots(one, rules.lot[one.symbol])
            trades.add((one.symbol, one.exchange_id))
        elif isinstance(event, Disputed):
            disputed[event.key] = event.lots
        elif isinstance(event, Adjusted):
            lots[event.key] = event.after
        elif isinstance(event, StopMissing):
            stops.add(event.held.key)
        elif isinstance(event, Stray):
            cancels.add(event.order.order_id)
            live.discard(event.order.client_id)
        elif isinstance(event, Gone):
            live.discard(event.client_id)
        elif isinstance(event, Settled):
            unresolved.discard(event.order.client_id)
            live.add(event.order.client_id)
    return replace(
        local,
        lots=lots,
        trades=frozenset(trades),
        live=frozenset(live),
        unresolved=frozenset(unresolved),
        stops_asked=frozenset(stops),
        cancels_asked=frozenset(cancels),
        disputed=disputed,
    )
