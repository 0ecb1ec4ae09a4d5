"""Turns a session's commands into orders, follows each to its end, and hands what it was filled with back, once.

Every intent is on the disk before its request leaves. An outcome that is not known is asked for until it is; only an
order that is proven dead is given up. The first execution of an entry places the hard stop, whatever else is under way.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from qtsim.core.enums import FillKind, Reason, Side
from qtsim.core.floats import steps_value_nb
from qtsim.core.records import Records, fill_row_dt, plan_dt
from qtsim.live.desk import CancelEntry, CancelStop, Command
from qtsim.live.gateway import Gateway, State
from qtsim.live.ids import ClientId, is_ours, parse_client_id
from qtsim.live.journal import Intent, Journal, JournalFullError
from qtsim.live.kinds import Module, OrderKind, kind_of
from qtsim.live.latency import Arrivals, Durations, when_leaving
from qtsim.live.orders import (
    DONE,
    LIVE,
    UNKNOWN,
    AlgoUpdate,
    Charge,
    Exchange,
    OrderRequest,
    OrderState,
    OrderUpdate,
    PositionTold,
    QueryFailedError,
    Recall,
    Reply,
    Tracked,
)
from qtsim.live.outcomes import Outcome, Remedy
from qtsim.live.reconcile import signed_lots
from qtsim.live.recovery import default_trigger
from qtsim.live.snapshot import Execution, Held, Key, Resting
from qtsim.live.tape import row_bytes
from qtsim.live.tasks import end_tasks
from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, OrderEnd, StopIntent
from qtsim.trading.session import Session

MS = 1_000_000

ASK_AGAIN_S = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses between questions about an unknown outcome; the last repeats."""
FENCE_MS = 5_000
"""Beyond recvWindow: after this much more of the exchange's time a request that is not known will never arrive."""
RETRY_S = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Pauses before a protective order is sent again that the exchange was too busy for."""
TRADES_WAIT_S = 1.0
"""How long the stream may take to tell the executions of an order that has ended, before they are asked for."""
UNTOLD_S = 0.25
"""How long an execution may be told after the position that it has made."""
CLOSING_S = 0.25
ENTRY_AGE_MS = 3_000
"""Older than this an entry is not sent once more: the price that it was decided at has gone."""
STOP_ANSWERS = 3
"""So many times a stop may not be found before another is sent: two that close the position do no harm."""
BUSY_S = 2.0
"""Between two tries to rest a stop, once the quick ones have been refused for load."""
BUSY_TRIES = 4
"""Of those before the position is closed at market instead."""
STOP_REFUSALS = 2
"""So many times a stop may be refused for one that is said to be there, before the position is closed at market."""
LIQUIDATION = "autoclose-"
OTHER_CLOSES = ("adl_autoclose", "settlement_autoclose-")

GOOD_TILL_LEAST_MS, GOOD_TILL_MS = 605_000, 660_000
"""The exchange takes no order that ends by itself within ten minutes; one that should ends after eleven."""
News = Fill | OrderEnd | Charge | Recall | tuple[int, float]
"""For the trader: fills, ends, costs of others' trades, limits to withdraw, and (slot, price) where a stop rests."""
Mark = tuple[str, str, dict[str, Any]]
"""(kind, ref, body) of the event that is written when news is told: until then a restart tells it again."""
DONE_EVENT, TOLD_EVENT = "done", "told"
Note = Callable[[str, str, dict[str, Any]], None]
"""(event name, symbol, fields): for the log and the alerts."""


class Dealer:
    """Orders of one account. Its tasks run in the loop that it is used in; `busy` counts them."""

    def __init__(
        self,
        session: Session,
        symbols: list[str],
        lots: dict[str, Decimal],
        exchange: Exchange,
        gateway: Gateway,
        journal: Journal,
        tag: str,
        *,
        recv_window_ms: int,
        hedge: bool,
        working_type: str = "MARK_PRICE",
        save: Callable[[], None] = lambda: None,
        note: Note = lambda name, symbol, fields: None,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        """lots: step of one lot by symbol; save: writes the session's state into the open transaction."""
        self.session = session
        self.symbols = symbols
        self.lots = lots
        self.exchange = exchange
        self.gateway = gateway
        self.journal = journal
        self.tag = tag
        self.recv_window_ms = recv_window_ms
        self.hedge = hedge
        self.working_type = working_type
        self.save = save
        self.note = note
        self.sleep = sleep
        self.orders: dict[str, Tracked] = {}  # by client id; ended ones until they are forgotten
        self.by_order_id: dict[tuple[str, int], str] = {}
        self.book: dict[Key, int] = {}  # signed lots that the executions add up to
        self.trades: set[tuple[str, int]] = set()  # booked, after those of `booked_up_to`
        self.booked_up_to: dict[str, int] = {}  # symbol → id up to which all trades are booked
        self.booked = 0  # trades since the start; it only grows
        self.executed_at: dict[Key, int] = {}  # ns: of the newest execution that is booked
        self.told_at: dict[Key, int] = {}  # ns: of the newest update of the account that shows the position
        self.leverages: dict[str, int] = {}
        self.stops: dict[int, str] = {}  # slot → client id of its hard stop
        self.stops_asked: set[Key] = set()
        self.stop_refusals: Counter[int] = Counter()  # slot → in a row
        self.emergencies: set[int] = set()  # slots that are being closed because no stop can rest
        self.out: list[tuple[News, Mark | None]] = []  # for the trader
        self.on_out: Callable[[], None] = lambda: None
        self.wants_reconcile = False
        self.wants_rules = False
        self.in_review: set[str] = set()  # symbols closed since the exchange did not understand an order of theirs
        self.unprotected_since: dict[int, int] = {}
        self.unprotected = Durations()  # how long positions were without a stop, from the first execution
        self.arrivals = Arrivals()
        self.latency = Durations()  # from a price to the first request of the order that was decided on it
        self.disk = Durations()  # of it, until the orders were on the disk
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: list[tuple[Tracked, Coroutine[Any, Any, None], float]] = []  # written, not committed

    # questions -------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """What is not done: orders about to leave, requests under way, outcomes being asked for."""
        return len(self._tasks) + len(self._ready)

    def key_of(self, slot: int) -> Key:
        """A slot's place on the exchange."""
        symbol = self.symbols[self.session.symbol_of(slot)]
        if not self.hedge:
            return symbol, "BOTH"
        return symbol, "LONG" if slot % 2 == 0 else "SHORT"

    def slot_of(self, key: Key) -> int | None:
        """The slot of a place on the exchange; None for a symbol that is not traded."""
        symbol, position_side = key
        if symbol not in self.symbols:
            return None
        first = self.symbols.index(symbol) * self.session.width
        return first + 1 if position_side == "SHORT" and self.hedge else first

    def is_booked(self, symbol: str, trade_id: int) -> bool:
        """Is this trade of the exchange known?"""
        return trade_id <= self.booked_up_to.get(symbol, 0) or (symbol, trade_id) in self.trades

    def live_orders(self) -> list[Tracked]:
        """Orders that have not ended."""
        return [order for order in self.orders.values() if not order.has_ended]

    def entry_of(self, slot: int) -> Tracked | None:
        """A slot's entry that can still be filled."""
        return next((order for order in self.live_orders() if order.is_entry and order.slot == slot), None)

    # commands of the session -----------------------------------------------------------------------------------------

    def send(self, command: Command) -> None:
        """Obey a command. Never waits; what becomes of it comes out of `out`."""
        if isinstance(command, EntryIntent):
            self._enter(command)
        elif isinstance(command, ExitIntent):
            self._exit(command)
        elif isinstance(command, StopIntent):
            self._rest_stop(command.slot, command.trade_id, command.trigger_price, command.backup_limit)
        elif isinstance(command, CancelEntry):
            self.recall(command.slot)
        else:
            self._clean_up(command)

    def _enter(self, intent: EntryIntent) -> None:
        plan = np.zeros(1, plan_dt)
        plan[0] = intent.plan
        side = int(plan["side"][0])
        order = self._new(
            OrderKind.ENTRY,
            Module.ENTRIES,
            intent.slot,
            intent.trade_id,
            side,
            int(plan["lots"][0]),
            Reason.ENTRY,
            opens=True,
        )
        order.plan = plan
        if not math.isnan(plan["limit_price"][0]):
            self._set_limit(order, float(plan["limit_price"][0]))
        self._leave(order, self._send_entry(order, max(1, int(plan["leverage"][0]))))

    def _set_limit(self, order: Tracked, limit: float) -> None:
        """Give an entry its limit, and the time at which the exchange ends it though this program may be gone."""
        filters, position = self.gateway.filters[order.symbol], self.session.positions[order.slot]
        now_ms, until_ms = int(self.session.points[order.slot]["ts"]) // MS, int(position["order_until"]) // MS
        good_till = until_ms if until_ms - now_ms >= GOOD_TILL_LEAST_MS else now_ms + GOOD_TILL_MS
        try:
            qty = filters.quantity(order.lots, self.lots[order.symbol], at_market=False)
        except ValueError:
            qty = ""
        text = filters.nearest_price(limit)
        order.request = replace(order.request, qty=qty, limit=text, good_till=good_till // 1000 * 1000)

    def _exit(self, intent: ExitIntent) -> None:
        reason = Reason(intent.reason)
        side = int(self.session.positions[intent.slot]["side"])
        order = self._new(
            kind_of(reason), Module.EXIT_ENGINE, intent.slot, intent.trade_id, side, intent.lots, reason, opens=False
        )
        order.is_leg = intent.is_leg
        self._leave(order, self._send_exit(order))

    def close_at_market(self, slot: int, lots: int, side: int, why: str, module: Module = Module.PROTECTION) -> None:
        """Close a position that no stop protects, or that a person wants closed. side: of the position."""
        if slot in self.emergencies:
            return
        self.emergencies.add(slot)
        kind = OrderKind.FLATTEN if module is Module.OPERATOR else OrderKind.LOSS_GUARD
        trade_id = int(self.session.positions[slot]["trade_id"])
        reason = Reason.EXTERNAL if module is Module.OPERATOR else Reason.HARD_STOP
        order = self._new(kind, module, slot, trade_id, side, lots, reason, opens=False)
        order.asked_by_session = False
        self.note("EXIT_SL_ORDER", order.symbol, {"why": why, "emergency": True, "lots": lots})
        self._leave(order, self._send_exit(order))

    def _new(
        self,
        kind: OrderKind,
        module: Module,
        slot: int,
        trade_id: int,
        side: int,
        lots: int,
        reason: Reason,
        *,
        opens: bool,
    ) -> Tracked:
        symbol, position_side = self.key_of(slot)
        number = self.journal.next_intent
        client_id = str(ClientId(self.tag, self.journal.epoch, number, kind))
        buys = (side > 0) == opens
        try:
            qty = self.gateway.filters[symbol].quantity(lots, self.lots[symbol])
        except ValueError:
            qty = ""
        request = OrderRequest(
            client_id,
            kind,
            symbol,
            "BUY" if buys else "SELL",
            position_side,
            qty=qty,
            reduce_only=not opens and not self.hedge,
            working_type=self.working_type,
        )
        price = float(self.session.points[slot]["price"])
        return Tracked(client_id, kind, module, symbol, slot, trade_id, side, lots, reason, price, request)

    def _leave(self, order: Tracked, work: Coroutine[Any, Any, None]) -> None:
        """Check an order and write it down; it goes with `let_go`, once that is on the disk."""
        try:
            why = self._why_not(order) or self._write(order)
        except BaseException:
            work.close()  # it has never begun
            raise
        if why:
            work.close()
            self.note("REFUSED", order.symbol, {"kind": str(order.kind), "module": str(order.module), "why": why})
            self.emergencies.discard(order.slot)
            self._end(order, why, journalled=False)
            return
        self.orders[order.client_id] = order
        self._ready.append((order, work, self.arrivals.of_batch))
        if len(self._ready) == 1:
            asyncio.get_running_loop().call_soon(self._let_go_unasked)

    def let_go(self) -> None:
        """Commit the orders that have been written, all at once, and let them go. Without a disk only exits go."""
        ready, self._ready = self._ready, []
        left: list[Tracked] = []
        if not ready:
            return
        try:
            why = self._commit_intents()
        except BaseException:
            for _, work, _ in ready:
                work.close()  # it has never begun
            raise
        for order, work, heard in ready:
            if why and order.is_entry:
                work.close()
                self.note("REFUSED", order.symbol, {"kind": str(order.kind), "id": order.client_id, "why": why})
                self._end(order, why, journalled=False)
            else:
                self._spawn(self._timed(work, heard))
                left.append(order)
        asyncio.get_running_loop().call_soon(self._note_orders, left)  # after all of them

    def _note_orders(self, orders: list[Tracked]) -> None:
        for order in orders:
            self.note(
                "ORDER",
                order.symbol,
                {"kind": str(order.kind), "module": str(order.module), "id": order.client_id, "lots": order.lots},
            )

    def _let_go_unasked(self) -> None:
        try:
            self.let_go()
        except Exception as error:
            self._fail(error)

    def _commit_intents(self) -> str:
        """Why the disk does not take them; empty where it has."""
        began = self.arrivals.clock()
        try:
            self.save()
            self.journal.commit()
        except JournalFullError as error:
            self._disk_fails(error)
            return str(error)
        self.disk.add(self.arrivals.age_ms(began))
        return ""

    def _disk_fails(self, error: JournalFullError) -> None:
        if self.gateway.hold("journal", State.EXIT_ONLY, str(error)):
            self.note("JOURNAL_FULL", "", {"why": str(error)})

    async def _timed(self, work: Coroutine[Any, Any, None], heard: float) -> None:
        """Note how long after the price it was decided on an order's first request leaves. heard: NaN: on none."""
        on_price = not math.isnan(heard)
        when_leaving((lambda: self.latency.add(self.arrivals.age_ms(heard))) if on_price else None)
        await work

    def _why_not(self, order: Tracked) -> str:
        """Why an order may not go; empty where it may."""
        why = self.gateway.refusal(order.module, order.request, order.ref_price)
        if not why and not order.request.qty and not order.request.is_algo:
            why = f"{order.lots} lots are less than one step"
        if not why and order.is_entry:
            limit = order.request.limit
            why = self.gateway.filters[order.symbol].refusal(
                order.lots,
                self.lots[order.symbol],
                float(limit) if limit else order.ref_price,
                reduces=False,
                at_market=not limit,
            )
        if not why and order.is_entry and self.entry_of(order.slot) is not None:
            why = "an earlier entry of this position may still be filled"
        return why

    def _write(self, order: Tracked) -> str:
        """Write the intent. A protective order may go without a disk."""
        context: dict[str, Any] = {
            "ref": order.ref_price,
            "side": order.side,
            "leg": order.is_leg,
            "asked": order.asked_by_session,
            "trigger": None if math.isnan(order.trigger_price) else order.trigger_price,
        }
        if order.plan is not None:
            context["plan"] = row_bytes(order.plan).hex()
        intent = Intent(
            self.journal.next_intent,
            self.journal.epoch,
            self.exchange.now_ms() * MS,
            order.client_id,
            str(order.module),
            str(order.kind),
            order.symbol,
            order.slot,
            order.trade_id,
            int(order.reason),
            order.lots,
            {name: value for name, value in vars(order.request).items() if value not in ("", None)},
            context,
        )
        try:
            self.journal.write_intent(intent)
        except JournalFullError as error:
            self._disk_fails(error)
            self.journal.skip_intent()
            return str(error) if order.is_entry else ""
        return ""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self.on_out()

    def _fail(self, error: BaseException) -> None:
        """Something is wrong with this program: exits only, and what the account holds is looked up."""
        why = f"{type(error).__name__}: {error}"
        self.gateway.hold("program", State.EXIT_ONLY, why)
        self.note("ERROR", "", {"why": why})
        self.wants_reconcile = True

    async def stop(self) -> None:
        """Give up what is still being asked for. Orders on the exchange stay."""
        self.let_go()
        await end_tasks(list(self._tasks))

    # requests --------------------------------------------------------------------------------------------------------

    async def _send_entry(self, order: Tracked, leverage: int) -> None:
        if self.leverages.get(order.symbol) != leverage:
            before = self.leverages.pop(order.symbol, None)
            self.leverages[order.symbol] = leverage  # the stream tells the change before the answer comes
            reply = await self.exchange.set_leverage(order.symbol, leverage)
            if reply.outcome is not Outcome.ACK:
                del self.leverages[order.symbol]
                self._end(order, f"leverage {leverage}x (before: {before}x): {reply.text}")
                return
        asked_ms = self.exchange.now_ms()
        reply = await self._place(order)
        is_fresh = self.exchange.now_ms() - asked_ms <= ENTRY_AGE_MS
        if reply.outcome is Outcome.REJECTED and reply.remedy is Remedy.RESYNC and is_fresh:
            reply = await self._place(order)
        await self._follow(order, reply)

    async def _send_exit(self, order: Tracked) -> None:
        """A refusal for load or clock is definite, so the same order may go again."""
        reply = await self._place(order)
        for pause in RETRY_S:
            if reply.outcome is not Outcome.REJECTED or reply.remedy not in (Remedy.WAIT, Remedy.RESYNC):
                break
            if reply.remedy is Remedy.WAIT:
                await self.sleep(pause)
            reply = await self._place(order)
        await self._follow(order, reply)

    async def _place(self, order: Tracked) -> Reply:
        order.sent_ms = self.exchange.now_ms()
        order.tries += 1
        return await self.exchange.place(order.request)

    async def _follow(self, order: Tracked, reply: Reply) -> None:
        """What an answer means for an order of the ordinary world."""
        if order.has_ended:
            return
        if reply.outcome is Outcome.ACK and reply.state is not None:
            self._note_reply(order, reply)
            order.status = LIVE
            self._see(order, reply.state)
            self._stand(order)
            await self._complete(order)
        elif reply.outcome is Outcome.REJECTED:
            self._rejected(order, reply)
        else:
            order.status = UNKNOWN
            self._note_reply(order, reply)
            await self._resolve(order)

    def _note_reply(self, order: Tracked, reply: Reply) -> None:
        body = {"outcome": reply.outcome.value, "text": reply.text, "try": order.tries}
        self.journal.event(
            self.exchange.now_ms() * MS, "reply", f"{order.client_id}/{order.tries}/{reply.outcome.value}", body
        )

    def _rejected(self, order: Tracked, reply: Reply) -> None:
        self._note_reply(order, reply)
        self.note("REJECTED", order.symbol, {"kind": str(order.kind), "id": order.client_id, "why": reply.text})
        if reply.remedy is Remedy.HALT:
            self.gateway.hold("key", State.HALT, reply.text)
        elif reply.remedy is Remedy.REDUCE:
            self.gateway.hold("account", State.EXIT_ONLY, reply.text)
        elif reply.remedy is Remedy.REVIEW:
            self._review(order.symbol, reply.text)
        if reply.remedy is Remedy.VERIFY or not order.is_entry:
            self.wants_reconcile = True
        self._end(order, reply.text)

    def _review(self, symbol: str, why: str) -> None:
        """The exchange does not understand an order: no entries until its rules have been read and are others."""
        self.gateway.symbols_closed[symbol] = why
        self.in_review.add(symbol)
        self.wants_rules = True

    async def _complete(self, order: Tracked) -> None:
        """An order that has ended: wait for the stream to tell its executions, then ask for them."""
        waited = 0.0
        while not order.has_ended and order.is_over and not order.is_whole:
            await self.sleep(0.05)
            waited += 0.05
            if waited >= TRADES_WAIT_S:
                await self._ask_for_trades(order)
        self._finish(order)

    async def _ask_for_trades(self, order: Tracked) -> None:
        try:
            found = await self.exchange.executions_of(order.symbol, order.child_id or order.order_id)
        except QueryFailedError:
            await self.sleep(1.0)
            return
        for execution in found:
            self.execute(replace(execution, client_id=order.client_id))

    async def _resolve(self, order: Tracked) -> None:
        """Ask for an order until it is found, or can never arrive any more."""
        self.note("UNKNOWN", order.symbol, {"kind": str(order.kind), "id": order.client_id})
        self.wants_reconcile = True
        k = 0
        while order.is_unknown:
            await self.sleep(ASK_AGAIN_S[min(k, len(ASK_AGAIN_S) - 1)])
            k += 1
            if order.is_unknown and await self._is_dead(order):
                self.note("NEVER_ARRIVED", order.symbol, {"id": order.client_id})
                self._end(order, "it never arrived")
                if order.kind is OrderKind.HARD_SL and self.book.get(self.key_of(order.slot)):
                    self._rest_stop(order.slot, order.trade_id, order.trigger_price, None, side=order.side)
        if order.has_ended:
            return
        if order.kind.rests:
            await self._resolve_stop(order)
        else:
            self._stand(order)
            await self._complete(order)

    async def _is_dead(self, order: Tracked) -> bool:
        """Ask once. Takes over what is found; True where the order is not there and never will be."""
        asked_ms = self.exchange.now_ms()
        try:
            state = await self.exchange.find(order.symbol, order.client_id, is_algo=order.request.is_algo)
        except QueryFailedError:
            return False
        if state is None:
            order.not_found += 1
            if order.kind is OrderKind.HARD_SL and order.not_found >= STOP_ANSWERS:
                return not order.executions
            return not order.executions and asked_ms > order.sent_ms + self.recv_window_ms + FENCE_MS
        if order.is_unknown:
            order.status = LIVE
        self._see(order, state)
        if order.kind.rests and state.is_over and not order.child_id:
            self._end(order, state.status.lower())
        return False

    # limit entries ---------------------------------------------------------------------------------------------------

    def _stand(self, order: Tracked) -> None:
        """A limit entry stands in the book: its slot waits no more, and what fills it comes unasked."""
        if not order.is_limit or order.stood or order.is_over or order.has_ended:
            return
        order.stood = True
        self._give(OrderEnd(order.slot, True, "it stands in the book", stands=True, frees_slot=order.holds_slot))
        order.holds_slot = False
        if order.recalled:
            self._spawn(self._call_back(order))

    def recall(self, slot: int) -> None:
        """Cancel a slot's limit entry, as soon as it is known to stand; what was filled meanwhile counts."""
        order = self.entry_of(slot)
        if order is None or not order.is_limit or order.recalled:
            return
        order.recalled = True
        self.note("RECALLED", order.symbol, {"id": order.client_id, "limit": order.request.limit})
        if order.stood:
            self._spawn(self._call_back(order))

    async def _call_back(self, order: Tracked) -> None:
        """Cancel until the exchange says that the order is over, and how much of it was filled."""
        resting = Resting(order.symbol, order.client_id, order.order_id, "", "", is_algo=False)
        k = lost = 0
        while not order.is_over and not order.has_ended and self.gateway.state < State.HALT:
            reply = await self.exchange.cancel(resting)
            body = {"outcome": reply.outcome.value, "text": reply.text}
            ref = f"{order.client_id}/cancel/{k}"
            self.journal.event(self.exchange.now_ms() * MS, "cancel", ref, body)
            lost += int(await self._is_unknown_to_all(order))
            if lost >= STOP_ANSWERS:
                order.is_over = True
            if not order.is_over:
                await self.sleep(max(ASK_AGAIN_S[min(k, len(ASK_AGAIN_S) - 1)], reply.wait_s))
            k += 1
        await self._complete(order)

    async def _is_unknown_to_all(self, order: Tracked) -> bool:
        """Ask for an order that has been cancelled. Takes over what is found; True where the exchange knows none."""
        try:
            state = await self.exchange.find(order.symbol, order.client_id, is_algo=False)
        except QueryFailedError:
            return False
        if state is not None:
            self._see(order, state)
        return state is None

    def _give_part(self, order: Tracked, execution: Execution) -> None:
        """One execution of a limit entry."""
        mark: Mark = (TOLD_EVENT, f"{execution.symbol}/{execution.exchange_id}", {})
        position = self.session.positions[order.slot]
        if int(position["side"]) * order.side < 0:  # somebody else holds the other side: it is that which it closes
            lots = min(abs(signed_lots(execution, self.lots[order.symbol])), int(position["lots"]))
            price, fee = float(execution.price), float(execution.fee)
            self._give(self.external_fill(order.slot, lots, price, execution.ts, fee=fee), mark)
            self.wants_reconcile = True
            return
        self._give(self._fill_of(order, [execution]), mark)

    async def _resolve_stop(self, order: Tracked) -> None:
        """A stop that was found: it rests, or it has become an ordinary order."""
        if not order.child_id:
            self._stop_rests(order)
            return
        while not order.has_ended and not order.is_over:
            try:
                child = await self.exchange.find(order.symbol, order.client_id, is_algo=False)
            except QueryFailedError:
                child = None
            if child is not None:
                self._see(order, child)
            if not order.is_over:
                await self.sleep(ASK_AGAIN_S[-1])
        await self._complete(order)

    # what the exchange tells -----------------------------------------------------------------------------------------

    def on_order(self, update: OrderUpdate) -> None:
        """An order changed: of ours, or anybody's."""
        if update.execution is not None:
            self.execute(update.execution)
        order = self._tracked(update.state.symbol, update.state.client_id, update.state.order_id)
        if order is None:
            return
        if order.kind.rests:  # the ordinary order that a stop has become
            order.child_id = update.state.order_id
        if order.status == UNKNOWN:
            order.status = LIVE
        if update.state.is_over and not order.ended_ns:
            order.ended_ns = update.ts
        self._see(order, update.state)
        if order.is_whole:
            self._finish(order)
        elif order.is_over:
            self._spawn(self._complete(order))

    def on_algo(self, update: AlgoUpdate) -> None:
        """A conditional order changed."""
        order = self.orders.get(update.state.client_id)
        if order is None:
            return
        state = update.state
        order.child_id = state.child_id or order.child_id
        if state.status == "NEW":
            if order.status == UNKNOWN:
                order.status = LIVE
                self._stop_rests(order)
        elif state.status in ("REJECTED", "EXPIRED", "CANCELED") and not order.child_id:
            was_the_stop = self.stops.get(order.slot) == order.client_id
            self._end(order, f"{state.status.lower()}: {update.why}")
            if was_the_stop and self.book.get(self.key_of(order.slot)):
                self._spawn(self._replace_stop(order, f"its stop was {state.status.lower()} {update.why}".strip()))

    def execute(self, execution: Execution) -> None:
        """Book a trade of the account, once; the first one of an entry is protected at once."""
        place = (execution.symbol, execution.exchange_id)
        if self.is_booked(*place) or execution.symbol not in self.symbols:
            return
        self.trades.add(place)
        self.booked += 1
        order = self._tracked(execution.symbol, execution.client_id, execution.order_id)
        client_id = order.client_id if order else execution.client_id
        self.journal.fill(row_of(replace(execution, client_id=client_id)))
        key = (execution.symbol, execution.position_side)
        self.book[key] = self.book.get(key, 0) + signed_lots(execution, self.lots[execution.symbol])
        self.executed_at[key] = max(self.executed_at.get(key, 0), execution.ts)
        if order is None:
            self._foreign(execution)
            return
        order.executions[execution.exchange_id] = execution
        if order.is_entry and (len(order.executions) == 1 or order.is_limit):
            self._protect(order, float(execution.price))
        if order.is_limit:
            self._give_part(order, execution)
        if order.is_whole:
            self._finish(order)

    def _tracked(self, symbol: str, client_id: str, order_id: int) -> Tracked | None:
        found = self.orders.get(client_id) or self.orders.get(self.by_order_id.get((symbol, order_id), ""))
        if found is not None and order_id and not found.kind.rests:
            found.order_id = order_id
            self.by_order_id[symbol, order_id] = found.client_id
        return found

    def _see(self, order: Tracked, state: OrderState) -> None:
        """Take over what a state tells; it never goes back."""
        if state.is_algo:
            order.order_id = state.order_id
            order.child_id = state.child_id or order.child_id
            if order.child_id:
                self.by_order_id[order.symbol, order.child_id] = order.client_id
            return
        if not order.kind.rests:
            order.order_id = state.order_id
        self.by_order_id[order.symbol, state.order_id] = order.client_id
        order.claimed = max(order.claimed, Decimal(state.executed))
        order.is_over = order.is_over or state.is_over

    # ends ------------------------------------------------------------------------------------------------------------

    def _finish(self, order: Tracked) -> None:
        """An order has ended and all of it is known: one fill, or an end."""
        if order.has_ended or not order.is_whole:
            return
        if not order.executions or order.is_limit:
            self._end(order, "filled" if order.booked == Decimal(order.request.qty or 0) else "expired unfilled")
            return
        self._note_end(order)
        self.emergencies.discard(order.slot)
        if order.kind.rests and self.stops.get(order.slot) == order.client_id:
            del self.stops[order.slot]
        mark: Mark = (DONE_EVENT, order.client_id, {"executed": str(order.booked)})
        self._give(self._fill_of(order, list(order.executions.values())), mark)
        self._resize_backup(order.slot)

    def _end(self, order: Tracked, why: str, *, journalled: bool = True) -> None:
        """An order ended without an execution."""
        if order.has_ended:
            return
        self._note_end(order)
        mark = (DONE_EVENT, order.client_id, {"why": why}) if journalled else None
        if order.kind is OrderKind.HARD_SL:
            if self.stops.get(order.slot, order.client_id) == order.client_id:  # else another is under way in its place
                self.stops_asked.discard(self.key_of(order.slot))
                self.stops.pop(order.slot, None)
        elif not order.kind.rests:
            if not order.is_entry:
                self.emergencies.discard(order.slot)
            if order.asked_by_session:
                end = OrderEnd(order.slot, order.is_entry, why, frees_slot=order.holds_slot, ts=order.ended_ns)
                self._give(end, mark)
                return
        self._note_mark(mark)
        self.on_out()

    def _note_end(self, order: Tracked) -> None:
        order.status = DONE
        order.ended_ms = self.exchange.now_ms()

    def forget(self, before_ms: int, booked_up_to: Mapping[str, int]) -> None:
        """Drop what nothing can refer to any more: orders that ended before an instant, and trades.

        booked_up_to: by symbol the id up to which the exchange's trades have been compared; they stay known as booked.
        """
        for symbol, trade_id in booked_up_to.items():
            self.booked_up_to[symbol] = max(trade_id, self.booked_up_to.get(symbol, 0))
        self.trades = {place for place in self.trades if place[1] > self.booked_up_to.get(place[0], 0)}
        for order in list(self.orders.values()):
            if order.has_ended and order.ended_ms < before_ms:
                del self.orders[order.client_id]
        self.by_order_id = {place: owner for place, owner in self.by_order_id.items() if owner in self.orders}

    def _give(self, item: News, mark: Mark | None = None) -> None:
        self.out.append((item, mark))
        self.on_out()

    def next_news(self) -> News:
        """The oldest of what the trader is to be told now. What it changes is committed with the note that it was."""
        item, mark = self.out.pop(0)
        if isinstance(item, Fill) and not item.is_entry and mark is not None and mark[0] == DONE_EVENT:
            item = self._within_the_position(item, self.orders[mark[1]])
        if isinstance(item, Charge):
            self.journal.book(item.ts, item.kind, item.ref, item.symbol, repr(item.amount), item.asset)
        self._note_mark(mark)
        return item

    def _within_the_position(self, fill: Fill, order: Tracked) -> Fill | OrderEnd:
        """An exit that closed more than the session holds: the rest is what somebody else had opened or added.

        Its result is the account's, and no profit or loss of ours.
        """
        position, record = self.session.positions[fill.slot], fill.record
        lots = int(record["lots"][0])
        held = int(position["lots"]) if int(position["side"]) == order.side else 0
        if lots <= held:
            return fill
        self.wants_reconcile = True
        result = float(sum((Decimal(one.realized) - Decimal(one.fee) for one in order.executions.values()), Decimal(0)))
        told: Fill | OrderEnd = OrderEnd(
            fill.slot, False, "it closed what somebody else held", frees_slot=fill.ends_order
        )
        if held:
            told, share = fill, held / lots
            for name in ("qty", "fee", "slippage"):
                record[name] *= share
            record["lots"] = held
            own = order.side * float(record["qty"][0]) * (float(record["price"][0]) - float(position["entry_price"]))
            result -= own - float(record["fee"][0])
        ref = f"{order.client_id}/rest"
        self.out.insert(0, (Charge(int(record["ts"][0]), order.symbol, ref, result, "USDT", kind="REALIZED_PNL"), None))
        return told

    def _note_mark(self, mark: Mark | None) -> None:
        if mark is not None:
            self.journal.event(self.exchange.now_ms() * MS, *mark)

    def _fill_of(self, order: Tracked, executions: list[Execution]) -> Fill:
        """What executions of an order come to, as the session's row of a fill."""
        session, slot = self.session, order.slot
        record = np.zeros(1, fill_row_dt)
        instrument = session.instruments[slot]
        booked = sum((Decimal(one.qty) for one in executions), Decimal(0))
        quote = sum((Decimal(one.qty) * Decimal(one.price) for one in executions), Decimal(0))
        lots = int((booked / self.lots[order.symbol]).to_integral_value())
        prices = {one.price for one in executions}
        price = float(next(iter(prices))) if len(prices) == 1 else float(quote / booked)
        made = order.is_limit and all(one.is_maker for one in executions)
        is_own_price = math.isnan(order.ref_price) or order.kind.rests or made
        record["ts"] = max(one.ts for one in executions)
        record["symbol"] = session.symbol_of(slot)
        record["side"] = order.side
        record["trade_id"] = order.trade_id
        record["kind"] = FillKind.ENTRY if order.is_entry else FillKind.EXIT
        record["reason"] = order.reason
        record["lots"] = lots
        record["qty"] = steps_value_nb(lots, instrument["lot_num"], instrument["lot_den"])
        record["is_maker"] = int(made)
        record["ref_price"] = price if is_own_price else order.ref_price
        record["price"] = price
        record["fee"] = float(sum((Decimal(one.fee) for one in executions), Decimal(0)))
        record["slippage"] = record["qty"] * abs(price - record["ref_price"])
        record["bar"] = session.bar_index[slot]
        if not order.is_entry:
            record["stop_price"] = session.positions[slot]["stop_price"]
        ends_order = order.asked_by_session and not order.kind.rests and not order.is_limit
        return Fill(slot, record, order.is_entry, order.is_leg, ends_order)

    def _foreign(self, execution: Execution) -> None:
        """A trade that no order of ours made: a hand, a liquidation, another program."""
        slot = self.slot_of((execution.symbol, execution.position_side))
        if slot is None:
            return
        told: Mark = (TOLD_EVENT, f"{execution.symbol}/{execution.exchange_id}", {})
        position = self.session.positions[slot]
        if (entry := self.entry_of(slot)) is not None and entry.is_limit:
            self._give(Recall(slot))
        lots = abs(signed_lots(execution, self.lots[execution.symbol]))
        side = Side.LONG if execution.side == "BUY" else Side.SHORT
        by_exchange = execution.client_id.startswith((LIQUIDATION, *OTHER_CLOSES))
        self.note(
            "EXTERNAL", execution.symbol, {"side": execution.side, "qty": execution.qty, "id": execution.client_id}
        )
        if position["side"] == 0 or int(position["side"]) == side:
            cost = -float(execution.fee)
            charge = Charge(execution.ts, execution.symbol, told[1], cost, execution.fee_asset)
            self._give(charge, told)
            self.cover(self._held_now(slot, float(execution.price)))
            self._resize_backup(slot)
            self.wants_reconcile = True  # it opens or adds: the exchange's quantity is adopted
            return
        closing = min(lots, int(position["lots"]))
        parsed = parse_client_id(execution.client_id)
        reason = Reason.LIQUIDATION if execution.client_id.startswith(LIQUIDATION) else Reason.EXTERNAL
        if parsed is not None and parsed.tag == self.tag and parsed.kind.rests:
            reason = Reason.HARD_STOP  # the guardian's
        fill = self.external_fill(slot, closing, float(execution.price), execution.ts, reason, float(execution.fee))
        self._give(fill, told)
        self._resize_backup(slot)
        if by_exchange or lots > closing:
            self.cover(self._held_now(slot, float(execution.price)))
            self.wants_reconcile = True

    def _held_now(self, slot: int, price: float) -> Held:
        """What the executions of a slot add up to, as a position at this price."""
        key = self.key_of(slot)
        return Held(*key, self.book.get(key, 0), price)

    def cover(self, held: Held) -> None:
        """A position whose side no stop of ours covers gets one at once: the account may not be readable.

        Of one that an entry of ours has opened, which nobody has told yet, it is the entry's own.
        """
        slot = self.slot_of(held.key)
        if slot is None or not held.lots or slot in self.emergencies or not self.gateway.sends:
            return
        stop = self.orders.get(self.stops.get(slot, ""))
        if stop is not None and stop.side * held.lots > 0:
            return
        entry = self.entry_of(slot)
        if entry is not None and entry.side * held.lots > 0:
            self._protect(entry, held.entry_price)
            return
        self.protect_held(held, default_trigger(self.session, slot, held))

    def on_position(self, told: PositionTold, ts: int) -> None:
        """The account's update shows a position; where it is not what our executions add up to, one is missing."""
        key = (told.symbol, told.position_side)
        if told.symbol not in self.symbols or ts < max(self.told_at.get(key, 0), self.executed_at.get(key, 0)):
            return
        self.told_at[key] = ts
        held = Held(*key, int((Decimal(told.qty) / self.lots[told.symbol]).to_integral_value()), told.entry_price)
        if held.lots != self.book.get(key, 0):
            self._spawn(self._await_execution(held, ts))

    async def _await_execution(self, held: Held, ts: int) -> None:
        """The execution behind a position may be told after it. What stays untold is covered and asked for."""
        await self.sleep(UNTOLD_S)
        if self.told_at[held.key] != ts or held.lots == self.book.get(held.key, 0):
            return
        self.note("UNTOLD", held.symbol, {"lots": held.lots, "booked": self.book.get(held.key, 0)})
        self.cover(held)
        self.wants_reconcile = True

    def external_fill(
        self, slot: int, lots: int, price: float, ts: int, reason: Reason = Reason.EXTERNAL, fee: float = 0.0
    ) -> Fill:
        """A part of a position that somebody else closed."""
        session = self.session
        record = np.zeros(1, fill_row_dt)
        instrument, position = session.instruments[slot], session.positions[slot]
        record["ts"], record["symbol"], record["side"] = ts, session.symbol_of(slot), position["side"]
        record["trade_id"], record["reason"], record["lots"] = position["trade_id"], reason, lots
        record["kind"] = FillKind.LIQUIDATION if reason == Reason.LIQUIDATION else FillKind.EXIT
        record["qty"] = steps_value_nb(lots, instrument["lot_num"], instrument["lot_den"])
        record["price"] = record["ref_price"] = price
        record["fee"] = fee
        record["bar"] = session.bar_index[slot]
        record["stop_price"] = position["stop_price"]
        if reason == Reason.LIQUIDATION:
            record["liq_fee"] = record["qty"] * price * instrument["liquidation_fee"]
        return Fill(slot, record, is_entry=False, is_leg=False, ends_order=False)

    # stops -----------------------------------------------------------------------------------------------------------

    def _protect(self, entry: Tracked, price: float) -> None:
        """Place the hard stop of an entry's first execution; it closes whatever comes after too."""
        self.unprotected_since.setdefault(entry.slot, self.exchange.now_ms())
        intent = self.session.stop_of(entry.slot, entry.plan[0], price)
        if intent is None:
            self.unprotected_since.pop(entry.slot, None)
            return
        self._rest_stop(entry.slot, entry.trade_id, intent.trigger_price, intent.backup_limit, side=entry.side)

    def _rest_stop(
        self, slot: int, trade_id: int, trigger: float, backup_limit: float | None, *, side: int | None = None
    ) -> None:
        """One hard stop per position: where one rests or is under way, that one stays."""
        held = self.orders.get(self.stops.get(slot, ""))
        direction = int(self.session.positions[slot]["side"]) if side is None else side
        if held is not None and not held.has_ended and held.side * direction < 0:
            del self.stops[slot]  # of a position that has been turned round
            self._spawn(self._cancel_tracked(held))
            held = None
        if held is not None and not held.has_ended:
            if held.status == LIVE:
                self.unprotected_since.pop(slot, None)
                if not math.isnan(held.trigger_price) and held.trigger_price != trigger:
                    self._give((slot, held.trigger_price))
            return
        self._place_stop(OrderKind.HARD_SL, slot, trade_id, direction, trigger)
        if backup_limit is not None:
            self._place_stop(OrderKind.BACKUP_SL, slot, trade_id, direction, trigger, backup_limit)

    def _place_stop(
        self,
        kind: OrderKind,
        slot: int,
        trade_id: int,
        side: int,
        trigger: float,
        limit: float | None = None,
        *,
        replaces: str = "",
    ) -> None:
        symbol, _ = self.key_of(slot)
        lots = abs(self.book.get(self.key_of(slot), 0)) or int(self.session.positions[slot]["lots"])
        order = self._new(kind, Module.PROTECTION, slot, trade_id, side, max(lots, 1), Reason.HARD_STOP, opens=False)
        order.asked_by_session = False
        order.replaces = replaces
        filters = self.gateway.filters[symbol]
        # on the tick that loses less
        text = filters.ceil_price(trigger) if side > 0 else filters.floor_price(trigger)
        order.trigger_price = float(text)
        if kind is OrderKind.HARD_SL:
            order.request = replace(order.request, qty="", reduce_only=False, trigger=text)
            self.stops[slot] = order.client_id
            self.stops_asked.add(self.key_of(slot))
        else:
            order.reason = Reason.BACKUP_STOP
            order.request = replace(order.request, trigger=text, limit=filters.nearest_price(limit or trigger))
        self._leave(order, self._send_stop(order))

    async def _send_stop(self, order: Tracked) -> None:
        reply = await self._place(order)
        for pause in (*RETRY_S[:2], *(BUSY_S,) * BUSY_TRIES):
            if reply.outcome is not Outcome.REJECTED or reply.remedy not in (Remedy.WAIT, Remedy.RESYNC):
                break
            if reply.remedy is Remedy.WAIT:
                await self.sleep(max(pause, reply.wait_s))  # the end of a ban: it is the first to go then
            if order.has_ended:
                return
            reply = await self._place(order)
        if order.has_ended:
            return
        self._note_reply(order, reply)
        if reply.outcome is Outcome.ACK and reply.state is not None:
            order.status = LIVE
            self._see(order, reply.state)
            self._stop_rests(order)
        elif reply.outcome is Outcome.REJECTED:
            self._stop_refused(order, reply)
        else:
            order.status = UNKNOWN
            await self._resolve(order)

    def _stop_rests(self, order: Tracked) -> None:
        if order.has_ended:
            return
        if order.kind is OrderKind.BACKUP_SL:
            old = self.orders.get(order.replaces)
            if old is not None and not old.has_ended:
                self._spawn(self._cancel_tracked(old))
            self._resize_backup(order.slot)
            return
        since = self.unprotected_since.pop(order.slot, None)
        if since is not None:
            self.unprotected.add(self.exchange.now_ms() - since)
        self.stop_refusals.pop(order.slot, None)
        self.stops_asked.discard(self.key_of(order.slot))
        self._give((order.slot, order.trigger_price))

    def _resize_backup(self, slot: int) -> None:
        """The backup's quantity is the position's: another is placed, and the old one cancelled once that rests.

        One is under way at a time. Where the other is refused, the old one stays; the hard stop is never touched.
        """
        backups = [o for o in self.live_orders() if o.slot == slot and o.kind is OrderKind.BACKUP_SL and not o.child_id]
        replaced = {order.replaces for order in backups}
        standing = [order for order in backups if order.client_id not in replaced]
        lots = abs(self.book.get(self.key_of(slot), 0))
        if not lots or len(standing) != 1 or standing[0].status != LIVE or standing[0].lots == lots:
            return
        old = standing[0]
        limit = float(old.request.limit)
        self._place_stop(
            OrderKind.BACKUP_SL, slot, old.trade_id, old.side, old.trigger_price, limit, replaces=old.client_id
        )

    def _stop_refused(self, order: Tracked, reply: Reply) -> None:
        """A stop that cannot rest: another one is there, the position is gone, or it is closed at market."""
        self.note("STOP_REFUSED", order.symbol, {"kind": str(order.kind), "why": reply.text})
        self._end(order, reply.text)
        if order.kind is not OrderKind.HARD_SL:
            return
        if reply.remedy is Remedy.VERIFY:
            self.stop_refusals[order.slot] += 1
            self.wants_reconcile = True
            return
        if reply.remedy is Remedy.HALT:
            self.gateway.hold("key", State.HALT, reply.text)
            return
        why = f"its stop was refused: {reply.text}"
        if reply.remedy is Remedy.REVIEW:
            self._review(order.symbol, why)
        self._close_for_want_of_a_stop(order.slot, order.side, why)

    def _close_for_want_of_a_stop(self, slot: int, side: int, why: str) -> None:
        """No stop can rest: the position is closed at market, and its symbol takes no more entries."""
        key = self.key_of(slot)
        self.gateway.symbols_closed[key[0]] = why
        if (entry := self.entry_of(slot)) is not None and entry.is_limit:
            self._give(Recall(slot))
        if lots := abs(self.book.get(key, 0)):
            self.close_at_market(slot, lots, side, why)

    async def _replace_stop(self, order: Tracked, why: str) -> None:
        """A resting stop has gone: where the position has not gone with it, another takes its place."""
        self.unprotected_since.setdefault(order.slot, self.exchange.now_ms())
        await self.sleep(CLOSING_S)  # the trade that closed the position may be told after the end of its stop
        if not self.book.get(self.key_of(order.slot)) or order.slot in self.stops:
            if order.slot not in self.stops:
                self.unprotected_since.pop(order.slot, None)
            return
        self.note("UNPROTECTED", order.symbol, {"why": why})
        self.wants_reconcile = True
        self._rest_stop(order.slot, order.trade_id, order.trigger_price, None, side=order.side)

    def protect_held(self, held: Held, trigger: float) -> None:
        """Place a missing hard stop of a position that a comparison has found without one."""
        slot = self.slot_of(held.key)
        if slot is None:
            return
        stuck = self.orders.get(self.stops.pop(slot, ""))
        if stuck is not None and not stuck.has_ended:
            self._spawn(self._cancel(Resting(stuck.symbol, stuck.client_id, stuck.order_id, "", "", True)))
        self.unprotected_since.setdefault(slot, self.exchange.now_ms())
        side = 1 if held.lots > 0 else -1
        if self.stop_refusals[slot] >= STOP_REFUSALS:
            # one that is stuck while it triggers keeps its place, and protects nothing
            self._close_for_want_of_a_stop(slot, side, "its stop was refused for another, and none is there")
            return
        self._rest_stop(slot, int(self.session.positions[slot]["trade_id"]), trigger, None, side=side)

    def _clean_up(self, command: CancelStop) -> None:
        """The position is flat: all of ours that rests for it goes, in both worlds.

        Where the account still holds some of it, which somebody else has added, the stop stays.
        """
        if self.book.get(self.key_of(command.slot)):
            self.wants_reconcile = True
            return
        self.stops_asked.discard(self.key_of(command.slot))
        self.stop_refusals.pop(command.slot, None)
        self.unprotected_since.pop(command.slot, None)
        self.stops.pop(command.slot, None)
        for order in self.live_orders():
            if order.slot == command.slot and order.kind.rests and not order.child_id:
                self._spawn(self._cancel_tracked(order))

    async def _cancel_tracked(self, order: Tracked) -> None:
        await self._cancel(Resting(order.symbol, order.client_id, order.order_id, "", "", True))

    async def _cancel(self, resting: Resting) -> None:
        """Cancel until the exchange has said that it is gone."""
        for pause in (*RETRY_S, None):
            reply = await self.exchange.cancel(resting)
            body = {"outcome": reply.outcome.value, "text": reply.text}
            ref = f"{resting.client_id or resting.order_id}/cancel/{pause}"
            self.journal.event(self.exchange.now_ms() * MS, "cancel", ref, body)
            is_final = reply.outcome is Outcome.ACK or reply.remedy not in (Remedy.WAIT, Remedy.RESYNC, Remedy.VERIFY)
            if is_final or pause is None or "-2011" in reply.text:
                break
            await self.sleep(pause)
        order = self.orders.get(resting.client_id)
        if order is not None and not order.child_id:
            self._end(order, "cancelled")

    def cancel_stray(self, resting: Resting) -> None:
        """Cancel an order that has nothing to do any more."""
        self.note("CLEAN_UP", resting.symbol, {"id": resting.client_id, "ours": is_ours(resting.client_id, self.tag)})
        self._spawn(self._cancel(resting))

    def ask_about(self, client_id: str) -> None:
        """An order that was believed to rest does not: find out what has become of it."""
        order = self.orders.get(client_id)
        if order is None or order.has_ended or order.child_id:
            return
        order.status = UNKNOWN
        order.sent_ms = min(order.sent_ms, self.exchange.now_ms() - self.recv_window_ms - FENCE_MS - 1)
        self._spawn(self._resolve(order))

    def settled(self, resting: Resting) -> None:
        """An order of unknown outcome rests."""
        order = self.orders.get(resting.client_id)
        if order is not None and order.is_unknown:
            order.status = LIVE
            order.order_id = resting.order_id

    # after a restart -------------------------------------------------------------------------------------------------

    def restore(self, intents: list[Intent], done: set[str], fills: list[dict[str, Any]], told: set[str]) -> None:
        """Take up orders that the journal does not know the end of, and what they were filled with so far.

        told: `SYMBOL/trade id` of others' trades that the session knows of; it is told of those that it does not.
        """
        by_client: dict[str, dict[int, Execution]] = {}
        for row in fills:
            execution = execution_of(row)
            self.trades.add((execution.symbol, execution.exchange_id))
            by_client.setdefault(execution.client_id, {})[execution.exchange_id] = execution
        for intent in intents:
            if intent.client_id in done or intent.symbol not in self.symbols:
                continue
            order = tracked_of(intent)
            order.executions = by_client.get(intent.client_id, {})
            order.status = UNKNOWN
            self.orders[intent.client_id] = order
            if order.kind is OrderKind.HARD_SL:
                self.stops[order.slot] = order.client_id
            elif order.is_limit:
                order.holds_slot = False
                self._tell_again(order, told)
            elif order.asked_by_session and not order.kind.rests:
                self.session.busy[order.slot] = True
            self._spawn(self._resolve(order))
        ours = {intent.client_id for intent in intents}
        for execution in map(execution_of, fills):
            place = f"{execution.symbol}/{execution.exchange_id}"
            if execution.client_id in ours or place in told or execution.symbol not in self.symbols:
                continue
            key = (execution.symbol, execution.position_side)
            self.book[key] = self.book.get(key, 0) + signed_lots(execution, self.lots[execution.symbol])
            self._foreign(execution)

    def _tell_again(self, order: Tracked, told: set[str]) -> None:
        """Of a limit entry's executions those that the session does not know of."""
        key = self.key_of(order.slot)
        for execution in order.executions.values():
            if f"{execution.symbol}/{execution.exchange_id}" not in told:
                self.book[key] = self.book.get(key, 0) + signed_lots(execution, self.lots[execution.symbol])
                self._give_part(order, execution)


def row_of(execution: Execution) -> dict[str, Any]:
    """An execution as the journal keeps it."""
    row = dict(vars(execution))
    row["maker"] = int(row.pop("is_maker"))
    return row


def execution_of(row: dict[str, Any]) -> Execution:
    """An execution as the journal keeps it."""
    names = ("symbol", "exchange_id", "ts", "client_id", "order_id", "side", "position_side", "qty", "price", "fee")
    values = {name: row[name] for name in (*names, "fee_asset", "realized")}
    return Execution(**values, is_maker=bool(row["maker"]))


def tracked_of(intent: Intent) -> Tracked:
    """An order from its intent."""
    context = intent.context
    request = OrderRequest(**{**intent.request, "kind": OrderKind(intent.kind)})
    order = Tracked(
        intent.client_id,
        OrderKind(intent.kind),
        Module(intent.module),
        intent.symbol,
        intent.slot,
        intent.trade_id,
        int(context["side"]),
        intent.lots,
        Reason(intent.reason),
        float(context["ref"]) if context["ref"] is not None else math.nan,
        request,
        is_leg=bool(context["leg"]),
        sent_ms=intent.ts // MS,
        asked_by_session=bool(context["asked"]),
    )
    if context.get("trigger") is not None:
        order.trigger_price = float(context["trigger"])
    if "plan" in context:
        order.plan = plan_of(bytes.fromhex(context["plan"]))
    return order


def plan_of(data: bytes) -> Records:
    """A plan from its bytes. Shape (1,)."""
    row, at = np.zeros(1, plan_dt), 0
    for name in row.dtype.names or ():
        size = row[name].nbytes
        row[name] = np.frombuffer(data[at : at + size], row[name].dtype).reshape(row[name].shape)
        at += size
    return row
