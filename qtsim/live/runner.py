"""Runs one session against an exchange: everything that waits, and nothing that decides.

What streams tell is queued and told to the trader in batches: prices, then the exchange's doing, then cycles, then
payments and closed bars. Comparisons with the exchange, health, commands of a person and the clock have tasks of their
own and go through the same queue.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from qtsim.core.enums import Health, Reason
from qtsim.core.orders import has_entry_order_nb
from qtsim.data.timeframes import format_ts
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.live.binance.exchange import BinanceExchange, QuestionRefusedError
from qtsim.live.binance.streams import Streams
from qtsim.live.commands import Command, take_commands
from qtsim.live.dealer import Dealer
from qtsim.live.feed import Prices, Verdict, judge_bar, missing_opens
from qtsim.live.funding import shares_of
from qtsim.live.gateway import Gateway, State
from qtsim.live.health import CRITICAL_IN_A_ROW, Measured, examine, health_of
from qtsim.live.history import Bar
from qtsim.live.journal import JournalFullError
from qtsim.live.kinds import Module
from qtsim.live.log import RECOVERED, EventLog
from qtsim.live.orders import (
    AlgoUpdate,
    BarClosed,
    Charge,
    ConfigChanged,
    KeyExpired,
    LastPrice,
    MarketEvent,
    MarkPrice,
    OrderUpdate,
    QueryFailedError,
    Recall,
    UserEvent,
    WalletUpdate,
)
from qtsim.live.outcomes import Remedy, classify
from qtsim.live.permissions import danger_of
from qtsim.live.pnl import PnlTracker
from qtsim.live.precision import Filters, filters_of
from qtsim.live.reconcile import (
    Adjusted,
    Disputed,
    Event,
    ForeignEpoch,
    Gone,
    MissedTrade,
    Rules,
    Settled,
    StopMissing,
    Stray,
    covers,
    diff,
)
from qtsim.live.recorder import Recorder
from qtsim.live.recovery import default_trigger, rebuilt, recovered_text
from qtsim.live.snapshot import Held, Key, Local, Resting, Snapshot
from qtsim.live.tasks import end_tasks
from qtsim.live.trader import Trader
from qtsim.trading.messages import Fill, FundingPayment, OrderEnd

MS, SECOND, MINUTE, HOUR = 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000
STABLE_TRIES = 5
BETWEEN_LOOKS_S = 0.5
AGAIN_S = 2.0
"""Until the second look at a difference that nothing explains."""
UNREAD_S = (1.0, 2.0, 4.0, 8.0)
"""Until the account is read once more that could not be read; the last repeats."""
DATA_AGE_MAX_S = 15.0
HEALTH_EVERY_S = 30.0
TICK_S = 1.0
STALL_S = 5.0
"""A tick so late means that this program, or its machine, stood still."""
HELD_S = 5.0
"""For so long limit entries go on standing though no entry may be made: a stream that is opened again takes less."""
LOOK_EVERY_S = 5.0
"""Between two looks at positions and their stops, which cost 5 of the weight and 1 per symbol held."""
RULES_EVERY_S = 3600.0
ENDING_S = 10.0
FLATTEN_TRIES = 3
FLATTENED = "the program ends and leaves nothing open"
MOVED = frozenset(("DEPOSIT", "WITHDRAW", "ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW"))
WALLET_NOISE = 1e-6
"""Quote currency; below it two wallets are the same."""
COMMIT_SOON_S = 0.2
COMMIT_LATEST_S = 1.0
"""What needs no order may be lost with the process for so long: the exchange, or the next price, tells it again."""
IDLE_S = 0.05
UNTRADED = 1e-9
SETTLED_NS = 10 * MINUTE
"""A trade so old that a comparison has found is not asked for again: none with a lower id comes after it."""
REMEMBERED_NS = HOUR
"""How long an ended order is remembered, so that what the exchange tells late of it is its own."""
Queued: TypeAlias = MarketEvent | UserEvent | Callable[[], None]


@dataclass(frozen=True)
class Rule:
    """What the runner needs of the settings. Lengths in ns and s as named."""

    timeframe: str
    timeframe_ns: int
    reconcile_s: float
    bar_age_max: float
    clock_skew_max_ms: float
    max_capital: float
    cleanup_foreign: bool
    flatten_on_stop: bool
    reads_account: bool
    by_events: bool = False  # a recorded market: its time is that of its events
    by_steps: bool = False  # it moves in lockstep with this program


@dataclass
class Account:
    """What is known of the exchange's account beside positions."""

    wallet: float = math.nan
    available: float = math.nan
    unused: float = 0.0  # wallet that `account.max_capital` keeps out of use


@dataclass
class Runner:
    """One session at work."""

    trader: Trader
    dealer: Dealer
    gateway: Gateway
    exchange: BinanceExchange
    recorder: Recorder
    log: EventLog
    pnl: PnlTracker
    rule: Rule
    rules: Rules
    folder: Any  # Path of the state
    streams: Streams | None = None
    measure: Callable[[], dict[str, float]] = dict  # load of the machine
    account: Account = field(default_factory=Account)
    queue: deque[Queued] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    closes_at_end: bool = False  # beside live.on_stop: a person wants everything closed
    error: QtsimError | None = None  # that it ends with, where nobody has asked it to end
    is_open: bool = False  # outcomes of orders are told
    is_trading: bool = False  # prices and bars are told
    step_ns: int = -1
    prices: Prices = field(init=False)
    newest: dict[str, Bar] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    disputed: dict[Key, int] = field(default_factory=dict)
    health: Health = Health.HEALTHY
    critical: int = 0
    snapshots: int = 0
    pumps: int = 0
    triggers_told: dict[Key, float] | None = None  # to the guardian

    def __post_init__(self) -> None:
        """Take the dealer's news into the queue."""
        self.prices = Prices(frozenset(self.trader.symbols))
        self.dealer.on_out = self.wake.set
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reconciling = asyncio.Lock()
        self._known_bars: deque[tuple[int, dict[str, Bar]]] = deque()
        self._rates_at = 0
        self._connections: dict[str, int] = {}
        self._heard_s = 0.0  # of the loop's clock: the last price
        self._pumped_s = 0.0
        self._unwritten_since_s = 0.0
        self._commit_timer: asyncio.TimerHandle | None = None
        self._wallet_gap = 0.0
        self._unread = 0  # comparisons in a row that the exchange did not answer
        self._held_since_s = math.inf  # of the loop's clock: since when no entry may be made
        self._amiss: set[tuple[Key, int]] = set()  # what the last look at positions and stops has found
        self._rereads = False  # is one of them about to be tried again?

    # time ------------------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """The market's time: the exchange's clock, or where the market is a recorded one, that of its events."""
        if self.rule.by_events:
            return max(self.step_ns, self.prices.newest)
        return self.exchange.now_ms() * MS

    # the queue -------------------------------------------------------------------------------------------------------

    def hear_market(self, event: MarketEvent) -> None:
        """A frame of the market."""
        self.dealer.arrivals.hear()
        self.queue.append(event)
        self.wake.set()

    def hear_user(self, event: UserEvent) -> None:
        """A frame of the account."""
        self.queue.append(event)
        self.wake.set()

    def later(self, work: Callable[[], None]) -> None:
        """Do something between two batches."""
        self.queue.append(work)
        self.wake.set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a task that the session's end waits for."""
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(f"{type(error).__name__}: {error}")
        self.wake.set()

    @property
    def is_quiet(self) -> bool:
        """Nothing queued, nothing under way."""
        return not self.queue and not self.dealer.out and not self._under_way

    @property
    def waits_for_answers(self) -> bool:
        """Nothing queued, and nothing under way but requests that the exchange has to answer, if any."""
        return not self.queue and not self.dealer.out and self._under_way <= self.exchange.client.unanswered

    @property
    def _under_way(self) -> int:
        return self.dealer.busy + len(self._tasks)

    def pump(self) -> None:
        """Tell the trader everything that has come."""
        self.pumps += 1
        self.dealer.arrivals.begin()
        try:
            self._tell_all()
            if self.dealer.wants_reconcile and self.is_trading:
                self.dealer.wants_reconcile = False
                self.spawn(self.reconcile())
            if self.dealer.wants_rules and self.is_trading:
                self.dealer.wants_rules = False
                self.spawn(self.learn_rules())
            self.dealer.let_go()
            self._commit_soon()
        finally:
            self.dealer.arrivals.end()

    def _tell_all(self) -> None:
        while self.queue or (self.dealer.out and self.is_open):
            batch = list(self.queue)
            self.queue.clear()
            for part in _in_parts(batch):
                self._tell(part)

    def _tell(self, batch: list[Queued]) -> None:
        self._tell_prices([event for event in batch if isinstance(event, (LastPrice, MarkPrice))])
        for event in batch:
            if isinstance(event, (OrderUpdate, AlgoUpdate, WalletUpdate, KeyExpired, ConfigChanged)):
                self._tell_account(event)
        self._tell_outcomes()
        if self.trader.shown:
            self.trader.settle()
            self._tell_outcomes()
        for event in batch:
            if isinstance(event, BarClosed):
                self._take_bar(event)
            elif callable(event):
                event()
        self._tell_outcomes()

    def _commit_soon(self) -> None:
        """Orders leave with what led to them on the disk. Everything else waits until nothing is being told."""
        loop = asyncio.get_running_loop()
        self._pumped_s = loop.time()
        if self._commit_timer is None:
            self._unwritten_since_s = self._pumped_s
            self._commit_timer = loop.call_later(COMMIT_SOON_S, self._commit_when_idle)

    def _commit_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._pumped_s < IDLE_S and now - self._unwritten_since_s < COMMIT_LATEST_S:
            self._commit_timer = loop.call_later(IDLE_S, self._commit_when_idle)
        else:
            try:
                self.commit()
            except Exception as error:
                # no task waits for what a timer calls
                self.fail(f"{type(error).__name__}: {error}")

    def commit(self) -> None:
        """Everything that has been told and decided, to the disk."""
        if self._commit_timer is not None:
            self._commit_timer.cancel()
            self._commit_timer = None
        try:
            self.recorder.commit()
        except JournalFullError as error:
            if self.gateway.hold("journal", State.EXIT_ONLY, str(error)):
                self.log.write("JOURNAL_FULL", "", {"why": str(error)})
                self.log.alert("health", str(error))

    def _tell_prices(self, events: list[LastPrice | MarkPrice]) -> None:
        instants = [instant for event in events for instant in self.prices.take(event)]
        if events:
            instants += self.prices.rest()
            self._heard_s = asyncio.get_running_loop().time()
        for k, (ts, prices) in enumerate(instants):
            if not self.is_trading:
                continue
            if k and self.trader.shown:
                self.trader.settle()
                self._tell_outcomes()
            self.trader.points(ts, prices)

    def _tell_outcomes(self) -> None:
        """Fills, ends, costs and resting stops, as the dealer has found them."""
        while self.dealer.out and self.is_open:
            item = self.dealer.next_news()
            if isinstance(item, Fill):
                self.trader.executed(item)
            elif isinstance(item, OrderEnd):
                self.trader.ended(item)
            elif isinstance(item, Charge):
                self.trader.moved(item.ts, item.amount)
            elif isinstance(item, Recall):
                self.withdraw(item.slot)
            else:
                self.trader.stop_moved(*item)

    def _tell_account(self, event: UserEvent) -> None:
        if isinstance(event, OrderUpdate):
            self.dealer.on_order(event)
        elif isinstance(event, AlgoUpdate):
            self.dealer.on_algo(event)
        elif isinstance(event, WalletUpdate):
            self._wallet_moved(event)
        elif isinstance(event, ConfigChanged):
            if event.symbol and self.dealer.leverages.get(event.symbol) == event.leverage:
                return  # our own doing
            self.log.write("CONFIG_CHANGED", "", {"what": event.text})
            self.dealer.leverages.clear()
            self.dealer.wants_reconcile = True
        else:
            self.log.write("LISTEN_KEY_EXPIRED")
            self.gateway.hold("stream", State.NO_ENTRY, "the account's stream has ended")

    def _wallet_moved(self, event: WalletUpdate) -> None:
        if not math.isnan(event.wallet):
            self.account.wallet = event.wallet
        for told in event.positions:
            self.dealer.on_position(told, event.ts)
        if event.reason == "FUNDING_FEE":
            self.spawn(self._book_funding(event))
        elif event.reason in MOVED and event.change:
            self.recorder.journal.book(event.ts, event.reason, str(event.ts), "", repr(event.change), "USDT")
            self.trader.moved(event.ts, event.change)
            self._bound_capital(event.ts)

    async def _book_funding(self, event: WalletUpdate) -> None:
        """Funding was charged: its rate and mark are asked for, its amount is what the exchange has told."""
        rate, mark, ts = math.nan, math.nan, event.ts
        try:
            rows = await self.exchange.funding_rates(event.symbol, event.ts - HOUR) if event.symbol else []
            near = [row for row in rows if row[0] <= event.ts + 60 * SECOND]
            if near:
                ts, rate, mark = near[-1]
        except QueryFailedError as error:
            self.log.write("FUNDING_RATE_UNKNOWN", event.symbol, {"why": str(error)})
        self.later(lambda: self._pay(event, min(ts, event.ts), rate, mark))

    def _pay(self, event: WalletUpdate, ts: int, rate: float, mark: float) -> None:
        if event.symbol not in self.trader.symbols:
            return
        ref = f"{event.symbol}/{event.ts // MINUTE}/{event.position_side or repr(event.change)}"
        if not self.recorder.journal.book(event.ts, "FUNDING_FEE", ref, event.symbol, repr(event.change), "USDT"):
            return
        session = self.trader.session
        slot = self.dealer.slot_of((event.symbol, event.position_side)) if event.position_side else None
        slots = [slot] if slot is not None else list(self.trader.slots_of(event.symbol))
        quantities = {
            i: float(session.positions[i]["side"] * session.positions[i]["qty"]) for i in slots if session.is_open(i)
        }
        if not quantities:
            return
        price = mark if not math.isnan(mark) else float(session.points[slots[0]]["mark"])
        for i, amount in shares_of(event.change, quantities, price, rate).items():
            self.trader.paid(FundingPayment(i, ts, rate, price, amount))

    # bars ------------------------------------------------------------------------------------------------------------

    def _take_bar(self, event: BarClosed) -> None:
        if event.symbol not in self.newest and event.symbol not in self.trader.symbols:
            return
        last = self.newest.get(event.symbol)
        verdict = judge_bar(event.bar, last, self.rule.timeframe_ns)
        if verdict is Verdict.GOOD:
            self.newest[event.symbol] = event.bar
            self._have_bar(event.close, {event.symbol: event.bar})
        elif verdict is Verdict.GAP and last is not None:
            missing = list(missing_opens(last.ts_open, event.bar, self.rule.timeframe_ns))
            self.log.write("GAP", event.symbol, {"bars": len(missing), "from": format_ts(missing[0])})
            self.spawn(self._fill_gap(event, last.ts_open))
        elif verdict is not Verdict.DUPLICATE:
            self.log.write("BAR_REFUSED", event.symbol, {"verdict": verdict.value, "open": event.bar.ts_open})

    async def _fill_gap(self, event: BarClosed, last_open: int) -> None:
        """Ask for the bars that no stream told; the one that was told follows them."""
        try:
            step = self.rule.timeframe_ns
            bars = await self.exchange.bars(event.symbol, self.rule.timeframe, last_open + 1, event.bar.ts_open)
        except QueryFailedError as error:
            self.log.write("GAP_REMAINS", event.symbol, {"why": str(error)})
            return

        def tell() -> None:
            for bar in [*bars, event.bar]:
                last = self.newest.get(event.symbol)
                if last is not None and bar.ts_open <= last.ts_open:
                    continue
                self.newest[event.symbol] = bar
                self._have_bar(bar.ts_open + step, {event.symbol: bar})

        self.later(tell)

    def _have_bar(self, close: int, bars: dict[str, Bar]) -> None:
        """Tell a bar, once the funding rates of its hour are known."""
        if close % HOUR == 0 and close > self._rates_at:
            self._rates_at = close
            self._known_bars.append((close, bars))
            self.spawn(self._learn_rates())
            return
        if self._known_bars:
            self._known_bars.append((close, bars))
            return
        if self.is_trading:
            self.trader.bars(close, bars, self.now_ns())

    async def _learn_rates(self) -> None:
        found: list[tuple[str, int, float]] = []
        for symbol in self.trader.symbols:
            known = self.trader.source.funding.get(symbol, [])
            start = known[-1][0] + 1 if known else self.now_ns() - 24 * HOUR
            try:
                found += [(symbol, ts, rate) for ts, rate, _ in await self.exchange.funding_rates(symbol, start)]
            except QueryFailedError as error:
                self.log.write("FUNDING_RATE_UNKNOWN", symbol, {"why": str(error)})

        def tell() -> None:
            for symbol, ts, rate in found:
                self.trader.rates(symbol, ts, rate)
            waiting, self._known_bars = self._known_bars, deque()
            for close, bars in waiting:
                self.trader.bars(close, bars, self.now_ns())

        self.later(tell)

    # comparing with the exchange --------------------------------------------------------------------------------------

    async def look(self, *, whole: bool = False) -> Snapshot:
        """The exchange's truth, read until two rounds agree. whole: orders of all symbols. Raises QueryFailedError."""
        found = await self.exchange.snapshot(self.trader.symbols, self.cursors, whole=whole)
        for _ in range(STABLE_TRIES):
            again = await self.exchange.snapshot(self.trader.symbols, self.cursors, whole=whole)
            if again.is_like(found):
                return again
            found = again
            await asyncio.sleep(BETWEEN_LOOKS_S)
        return found

    def local(self) -> Local:
        """What this program believes."""
        orders = self.dealer.live_orders()
        resting = [order for order in orders if order.waits and order.status == "live" and not order.child_id]
        return Local(
            dict(self.dealer.book),
            frozenset(self.dealer.trades),
            frozenset(order.client_id for order in resting),
            frozenset(order.client_id for order in orders if order.is_unknown),
            frozenset(order.client_id for order in orders if order.is_entry),
            frozenset(self.dealer.stops_asked),
            frozenset(),
            dict(self.disputed),
        )

    async def reconcile(self, *, whole: bool = False) -> bool:
        """One comparison, and what follows from it. False where the exchange did not answer.

        whole: with the orders of symbols that are not traded here, among which another program's may be.
        """
        if not self.rule.reads_account:
            return True
        async with self._reconciling:
            try:
                snapshot = await self.look(whole=whole)
                events = diff(self.local(), snapshot, self.rules)
                owners = await self._owners(events)
            except QueryFailedError as error:
                self._account_unknown(error)
                return False
        self._unread = 0
        self.snapshots += 1
        self.account.wallet, self.account.available = snapshot.wallet, snapshot.available
        self.later(lambda: self._apply(snapshot, events, owners))
        return True

    def _account_unknown(self, error: QueryFailedError) -> None:
        """A question about the account failed: no entries; where the key itself is refused nothing is sent at all."""
        refused = isinstance(error, QuestionRefusedError) and classify(error.answer)[1] is Remedy.HALT
        why = f"the account cannot be read: {error}"
        if self.gateway.hold("reconcile", State.HALT if refused else State.NO_ENTRY, why) and refused:
            self.log.write("KEY_REFUSED", "", {"why": str(error)})
            self.log.alert("health", f"{why}; nothing is sent any more, hard stops stay on the exchange")
        if not refused:
            self._read_again()

    async def _owners(self, events: list[Event]) -> dict[tuple[str, int], str]:
        """Whose the orders of missed trades are: trades do not say."""
        found: dict[tuple[str, int], str] = {}
        for event in events:
            if not isinstance(event, MissedTrade):
                continue
            place = (event.execution.symbol, event.execution.order_id)
            if place not in found and place not in self.dealer.by_order_id:
                found[place] = await self.exchange.client_id_of(*place)
        return found

    def _apply(self, snapshot: Snapshot, events: list[Event], owners: dict[tuple[str, int], str]) -> None:
        disputed: dict[Key, int] = {}
        under_way = {self.dealer.key_of(o.slot) for o in self.dealer.live_orders() if not o.waits}
        for event in events:
            if isinstance(event, MissedTrade):
                one = event.execution
                client_id = owners.get((one.symbol, one.order_id), "")
                self.log.write("MISSED_TRADE", one.symbol, {"id": one.exchange_id, "qty": one.qty, "price": one.price})
                self.dealer.execute(replace(one, client_id=client_id))
            elif isinstance(event, Disputed):
                disputed[event.key] = event.lots
            elif isinstance(event, Adjusted):
                if event.key in under_way | self._half_told() or self._withdraw_from(event.key):
                    disputed[event.key] = event.after
                else:
                    self._tell_outcomes()
                    self._adopt(event, snapshot)
            elif isinstance(event, StopMissing):
                if event.held.key not in under_way and self.gateway.sends:
                    self._protect(event)
            elif isinstance(event, Stray):
                if event.order.symbol in self.trader.symbols and self.gateway.sends:
                    self.dealer.cancel_stray(event.order)
            elif isinstance(event, Gone):
                self.dealer.ask_about(event.client_id)
            elif isinstance(event, Settled):
                self.dealer.settled(event.order)
            elif isinstance(event, ForeignEpoch):
                self.gateway.hold("epoch", State.HALT, f"a newer program trades this account ({event.order.client_id})")
                self.end(self.gateway.why, UsageError(f"{self.gateway.why}; one of the two has to stay ended"))
        self._tell_outcomes()
        self._adopt_what_differs(snapshot, under_way | set(disputed) | self._half_told())
        self.disputed = disputed
        self.gateway.free("reconcile")
        if disputed:
            self.gateway.hold("dispute", State.NO_ENTRY, f"quantities differ: {', '.join(f'{k[0]}' for k in disputed)}")
            self.spawn(self._look_again())
        else:
            self.gateway.free("dispute")
        self._compare_wallet(snapshot)
        self._bound_capital(snapshot.ts)
        self._put_behind(snapshot)

    def _put_behind(self, snapshot: Snapshot) -> None:
        """What is long over, and has been compared, is neither asked for nor remembered any more."""
        for one in snapshot.executions:
            if one.ts <= snapshot.ts - SETTLED_NS and self.dealer.is_booked(one.symbol, one.exchange_id):
                self.cursors[one.symbol] = max(self.cursors.get(one.symbol, 0), one.exchange_id)
        self.dealer.forget((snapshot.ts - REMEMBERED_NS) // MS, self.cursors)

    def withdraw(self, slot: int) -> None:
        """End a slot's limit entry, if it has one; where that stands at the exchange it is cancelled there."""
        if has_entry_order_nb(self.trader.session.positions[slot]):
            self.trader.withdraw(self.now_ns(), slot)

    def withdraw_all(self) -> None:
        """End every limit entry."""
        for slot in range(len(self.trader.session.positions)):
            self.withdraw(slot)

    def _withdraw_from(self, key: Key) -> bool:
        """Is there a limit entry where somebody else trades? It goes before what is there is taken over."""
        slot = self.dealer.slot_of(key)
        if slot is None or self.dealer.entry_of(slot) is None:
            return False
        self.withdraw(slot)
        return True

    def _half_told(self) -> set[Key]:
        """Positions of orders whose executions are booked, and whose fill the session is still to be told."""
        orders = self.dealer.live_orders()
        return {self.dealer.key_of(order.slot) for order in orders if order.executions and not order.is_limit}

    def _adopt_what_differs(self, snapshot: Snapshot, unsure: set[Key]) -> None:
        """Where exchange and executions agree, and the session does not: somebody else has traded."""
        session = self.trader.session
        for slot in range(len(session.positions)):
            key = self.dealer.key_of(slot)
            held = snapshot.positions.get(key)
            lots = held.lots if held is not None else 0
            mine = int(session.positions[slot]["side"] * session.positions[slot]["lots"])
            if key in unsure or session.busy[slot] or lots == mine or lots != self.dealer.book.get(key, 0):
                continue
            if self._withdraw_from(key):
                self.dealer.wants_reconcile = True
                continue
            price = held.mark if held is not None else math.nan
            self._adopt(Adjusted(key, mine, lots, price), snapshot)

    def _compare_wallet(self, snapshot: Snapshot) -> None:
        """What neither fills nor payments explain, in two looks in a row, is money that came or went."""
        mine = float(self.trader.session.account["wallet"][0]) + self.account.unused
        gap = snapshot.wallet - mine
        if math.isnan(gap) or abs(gap) <= WALLET_NOISE or self._money_moves():
            self._wallet_gap = 0.0
            return
        if abs(gap - self._wallet_gap) > WALLET_NOISE:
            self._wallet_gap = gap
            return
        self._wallet_gap = 0.0
        self.log.write("WALLET_ADJUSTED", "", {"by": gap, "exchange": snapshot.wallet, "mine": mine})
        self.recorder.journal.book(snapshot.ts, "ADJUST", str(snapshot.ts), "", repr(gap), "USDT")
        self.trader.moved(snapshot.ts, gap)

    def _money_moves(self) -> bool:
        """Is anything under way that has changed one of the wallets, or will? A cancel does not."""
        orders = self.dealer.live_orders()
        trades = any((order.executions and not order.is_limit) or not order.waits for order in orders)
        return trades or bool(self.queue or self.dealer.out or self._tasks) or not self.trader.is_idle

    def _read_again(self) -> None:
        """What a comparison was wanted for does not wait for the next one by the clock."""
        if self._rereads or not self.is_trading or self.stopping.is_set():
            return
        self._rereads = True
        pause = UNREAD_S[min(self._unread, len(UNREAD_S) - 1)]
        self._unread += 1
        self.spawn(self._look_again(pause))

    async def _look_again(self, pause_s: float = AGAIN_S) -> None:
        await asyncio.sleep(pause_s)
        self._rereads = False
        await self.reconcile()

    def _protect(self, event: StopMissing) -> None:
        slot = self.dealer.slot_of(event.held.key)
        if slot is None:
            return
        trigger = default_trigger(self.trader.session, slot, event.held)
        self.log.write("UNPROTECTED", event.held.symbol, {"lots": event.held.lots, "stop": trigger})
        self.log.alert("unprotected", f"{event.held.symbol} has no stop on the exchange; one is placed at {trigger:g}")
        self.dealer.protect_held(event.held, trigger)

    def _adopt(self, event: Adjusted, snapshot: Snapshot) -> None:
        """The exchange's quantity counts from now on."""
        session, slot = self.trader.session, self.dealer.slot_of(event.key)
        if slot is None:
            return
        self.dealer.book[event.key] = event.after
        position = session.positions[slot]
        mine = int(position["side"] * position["lots"])
        held = snapshot.positions.get(event.key)
        if event.after == mine:
            return
        self.recorder.journal.event(
            snapshot.ts, "adjust", f"{event.key}/{snapshot.ts}", {"before": mine, "after": event.after}
        )
        self.log.write("ADJUSTED", event.key[0], {"before": mine, "after": event.after})
        self.log.alert("unprotected", f"{event.key[0]}: the exchange holds {event.after} lots, this program {mine}")
        if mine and (event.after * mine <= 0 or abs(event.after) < abs(mine)):
            left = abs(event.after) if event.after * mine > 0 else 0
            price = float(session.points[slot]["price"])
            price = price if not math.isnan(price) else float(position["entry_price"])
            fill = self.dealer.external_fill(slot, abs(mine) - left, price, snapshot.ts, Reason.EXTERNAL)
            self.trader.executed(fill)
            mine = left if event.after > 0 else -left
        if held is not None and event.after != mine:
            self.take_over(slot, held, snapshot.ts)

    def take_over(self, slot: int, held: Any, ts: int) -> None:
        """Manage a position that the exchange holds and the session does not know, or knows smaller."""
        session = self.trader.session
        try:
            state = rebuilt(session, slot, held, ts)
        except ValueError as error:
            self.gateway.symbols_closed[held.symbol] = str(error)
            self.log.alert("unprotected", str(error))
            return
        self.trader.adopt(slot, state)
        self.log.write(RECOVERED, held.symbol, {"text": self.recovered(slot)})

    def recovered(self, slot: int) -> str:
        """What was recovered, as the predecessor logged it."""
        position = self.trader.session.positions[slot]
        symbol = self.trader.symbols[self.trader.session.symbol_of(slot)]
        return recovered_text(symbol, int(position["side"]), float(position["qty"]), float(position["entry_price"]))

    def _bound_capital(self, ts: int) -> None:
        """What exceeds `account.max_capital` is kept out of use, as a withdrawal would be."""
        excess = self.trader.equity - self.rule.max_capital
        if math.isfinite(excess) and excess > 0:
            self.account.unused += excess
            self.trader.moved(ts, -excess)

    # tasks -----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Trade until something ends it."""
        self.is_trading = True
        loops = (
            *(self._pump_always(), self._tick(), self._compare(), self._look_at_protection()),
            *(self._watch(), self._look_at_rules()),
        )
        tasks = [asyncio.ensure_future(work) for work in loops]
        try:
            await self.stopping.wait()
        finally:
            await end_tasks(tasks)

    async def _pump_always(self) -> None:
        while True:
            await self.wake.wait()
            if self.rule.by_steps:
                self.wake.clear()
                continue  # the follower of the steps pumps
            await asyncio.sleep(0)  # what else has arrived at this moment belongs to the same batch
            self.wake.clear()
            try:
                self.pump()
            except Exception as error:
                self.fail(f"{type(error).__name__}: {error}")
                raise

    async def _tick(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(TICK_S)
            if not self.rule.by_steps:
                self.note_stall(clock() - before - TICK_S)
            for command in take_commands(self.folder):
                self.obey(command)
            if not self.rule.by_steps:
                self.later(lambda: self.trader.clock(self.now_ns()))
            self.hold_if_stale()
            self.withdraw_if_held()

    def note_stall(self, seconds: float) -> None:
        """This program did nothing for so long: what it knows is old, so entries wait for a comparison."""
        if seconds < STALL_S:
            return
        text = f"this program stood still for {seconds:.1f} s"
        self.log.write("STALLED", "", {"s": seconds})
        self.log.alert("health", text)
        if self.rule.reads_account:
            self.gateway.hold("reconcile", State.NO_ENTRY, f"{text}; the account is read first")
            self.spawn(self.reconcile())

    async def _look_at_rules(self) -> None:
        while True:
            await asyncio.sleep(RULES_EVERY_S)
            if not self.rule.by_steps:
                await self.learn_rules()

    async def learn_rules(self) -> None:
        """Filters and status of the symbols, and what the key may do, as they are now."""
        try:
            info = await self.exchange.exchange_info()
            permissions = await self.exchange.permissions() if self.rule.reads_account else None
        except QueryFailedError as error:
            self.log.write("RULES_UNKNOWN", "", {"why": str(error)})
            return
        self.later(lambda: self._take_rules(info, danger_of(permissions or {})))

    def _take_rules(self, info: Mapping[str, Mapping[str, Any]], danger: str) -> None:
        if danger and self.gateway.hold("key", State.HALT, danger):
            self.log.write("KEY_REFUSED", "", {"why": danger})
            self.log.alert("health", f"{danger}; nothing is sent any more, hard stops stay on the exchange")
        for symbol in self.trader.symbols:
            known = self.gateway.filters[symbol]
            try:
                now = filters_of(info[symbol]) if symbol in info else replace(known, status="DELISTED")
            except DataError as error:
                self.log.write("RULES_UNKNOWN", symbol, {"why": str(error)})
                continue
            if now == known:
                continue
            self.gateway.filters[symbol] = now
            if symbol in self.dealer.in_review:
                self.dealer.in_review.discard(symbol)
                self.gateway.symbols_closed.pop(symbol, None)
            text = f"the exchange's rules have changed: {_what_differs(known, now)}"
            self.log.write("RULES_CHANGED", symbol, {"what": text})
            self.log.alert("health", f"{symbol}: {text}" + ("" if now.is_trading else "; exits only"))

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(self.rule.reconcile_s)
            if not self.rule.by_steps:
                await self.reconcile(whole=True)

    async def _look_at_protection(self) -> None:
        """What no stream tells is seen by these looks: something held that has no stop, or that is not booked."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self.rule.reads_account or self.rule.by_steps:
                continue
            booked = self.dealer.booked
            try:
                positions, stops = await self.exchange.protection(self.trader.symbols)
            except QueryFailedError:
                continue  # what stands in the way is found, and told, by the comparison
            self.later(lambda found=(booked, positions, stops): self._judge_protection(*found))  # type: ignore[misc]

    def _judge_protection(self, booked: int, positions: Mapping[Key, Held], stops: tuple[Resting, ...]) -> None:
        """Cover what is bare, and compare everything where something is amiss that was not so at the last look.

        booked: executions at the time of the question; where more have come the answer is old.
        """
        if booked != self.dealer.booked:
            return
        amiss: set[tuple[Key, int]] = set()
        under_way = {self.dealer.key_of(o.slot) for o in self.dealer.live_orders() if not o.waits}
        for key in sorted(set(positions) | set(self.dealer.book)):
            held = positions.get(key)
            lots, is_bare = 0, False
            if held is not None and held.lots:
                lots = held.lots
                is_bare = not any(covers(stop, held, self.exchange.now_ms()) for stop in stops)
                if is_bare:
                    self.dealer.cover(held)
            if key not in under_way | self.dealer.stops_asked and (is_bare or lots != self.dealer.book.get(key, 0)):
                amiss.add((key, lots))
        if amiss - self._amiss:
            self.log.write("AMISS", "", {"positions": [f"{key[0]} {lots}" for key, lots in sorted(amiss)]})
            self.spawn(self.reconcile())
        self._amiss = amiss

    async def _watch(self) -> None:
        before, failed = self.exchange.requests, self.exchange.failures
        while True:
            await asyncio.sleep(HEALTH_EVERY_S)
            if self.rule.by_steps:
                continue
            reachable = True
            try:
                await self.exchange.sync_clock()
            except QueryFailedError:
                reachable = False
            requests = max(1, self.exchange.requests - before)
            seen = self._measured(reachable, (self.exchange.failures - failed) / requests, self.measure())
            before, failed = self.exchange.requests, self.exchange.failures
            self.later(lambda seen=seen: self._judge(seen))  # type: ignore[misc]

    def _measured(self, reachable: bool, error_share: float, load: dict[str, float] | None = None) -> Measured:
        now = self.now_ns()
        ages = [(now - bar.ts_open - self.rule.timeframe_ns) / self.rule.timeframe_ns for bar in self.newest.values()]
        return Measured(
            reachable,
            self.exchange.round_trip_ms,
            self.exchange.round_trip_ms,
            error_share,
            self.trader.equity,
            float(self.exchange.offset_ms),
            asyncio.get_running_loop().time() - self._heard_s if self.prices.newest > 0 else math.inf,
            DATA_AGE_MAX_S,
            not self.rule.reads_account or (self.streams is not None and self.streams.user.is_up.is_set()),
            max(ages, default=0.0),
            self.rule.bar_age_max,
            self.rule.clock_skew_max_ms,
            **(load or {}),
        )

    def _judge(self, seen: Measured) -> None:
        findings = examine(seen)
        health = health_of(findings)
        if health != self.health:
            text = "; ".join(finding.text for finding in findings) or "all is well again"
            self.log.write("HEALTH", "", {"health": health.name, "why": text})
            self.log.alert("health", f"{health.name}: {text}")
            self.trader.health(health)
        self.health = health
        self.critical = self.critical + 1 if health is Health.CRITICAL else 0
        if self.critical >= CRITICAL_IN_A_ROW:
            why = "health was critical three times in a row; hard stops stay on the exchange"
            self.end(why, QtsimError(why))

    def hold_if_stale(self) -> None:
        """Entries stop at once where data are old, the clock is off, or the account's stream is down."""
        if self.rule.by_steps or not self.is_trading:
            return
        seen = self._measured(True, 0.0)
        found = [one for one in examine(seen) if one.what in ("data", "clock", "stream")]
        if found:
            why = "; ".join(one.text for one in found)
            if "data" not in self.gateway.reasons:
                self.log.write("NO_ENTRY", "", {"why": why})
            self.gateway.hold("data", State.NO_ENTRY, why)
        elif self.gateway.free("data"):
            self.log.write("ENTRIES_AGAIN")

    def withdraw_if_held(self) -> None:
        """A limit entry that stands would be an entry: where none may be made for some seconds, it goes."""
        if self.rule.by_steps or not self.is_trading:
            return
        now, gateway = asyncio.get_running_loop().time(), self.gateway
        self._held_since_s = min(self._held_since_s, now) if gateway.state != State.RUN else math.inf
        if now - self._held_since_s >= HELD_S:
            self.later(self.withdraw_all)
        for symbol in gateway.symbols_closed:
            for slot in self.trader.slots_of(symbol) if symbol in self.trader.symbols else ():
                self.later(lambda slot=slot: self.withdraw(slot))  # type: ignore[misc]

    def link_changed(self, name: str, is_up: bool) -> None:
        """A stream was opened or lost."""
        self.log.write("STREAM", "", {"name": name, "up": is_up})
        if not is_up:
            if name == "user":
                self.gateway.hold("stream", State.NO_ENTRY, "the account's stream is down")
            return
        self._connections[name] = self._connections.get(name, 0) + 1
        if name == "user":
            self.gateway.free("stream")
        if self.is_trading and self._connections[name] > 1:
            self.spawn(self._after_reconnect(name))

    async def _after_reconnect(self, name: str) -> None:
        """What was told while nobody listened is asked for."""
        if name == "user":
            await self.reconcile()
            return
        end = self.now_ns()
        for symbol, last in sorted(self.newest.items()):
            try:
                bars = await self.exchange.bars(symbol, self.rule.timeframe, last.ts_open + 1, end)
            except QueryFailedError:
                continue
            step = self.rule.timeframe_ns
            for bar in bars:
                if bar.ts_open + step <= end:
                    self.hear_market(BarClosed(symbol, bar.ts_open + step, bar))

    # a person --------------------------------------------------------------------------------------------------------

    def obey(self, command: Command) -> None:
        """A command from another program of the same user."""
        self.log.write("COMMAND", command.symbol, {"do": command.do})
        if command.do == "resume":
            self.later(lambda: self.trader.resume(self.now_ns(), command.symbol))
        elif command.do == "kill":
            self.gateway.hold("kill", State.NO_ENTRY, "killed by a person")
            if command.flatten:
                self.closes_at_end = True
                self.later(lambda: self.flatten("killed by a person"))
            self.later(lambda: self.end("killed by a person"))
        elif command.do == "flatten":
            self.later(lambda: self.flatten(command.symbol or "a person", command.symbol))

    def flatten(self, why: str, symbol: str = "") -> None:
        """Close what is open at market, of one symbol or all, and withdraw what would open it again."""
        session = self.trader.session
        for slot in range(len(session.positions)):
            key = self.dealer.key_of(slot)
            position = session.positions[slot]
            if symbol and key[0] != symbol:
                continue
            self.withdraw(slot)
            if position["side"] == 0:
                continue
            self.dealer.close_at_market(slot, int(position["lots"]), int(position["side"]), why, Module.OPERATOR)

    def fail(self, text: str) -> None:
        """Something is wrong with this program: exits only, and a person is told."""
        self.log.write("ERROR", "", {"why": text})
        self.log.alert("health", text)
        self.gateway.hold("program", State.EXIT_ONLY, text)

    def end(self, why: str, error: QtsimError | None = None) -> None:
        """End in good order: no entries from now on, hard stops stay. error: where that is a failure."""
        if not self.why:
            self.why, self.error = why, error
        self.gateway.hold("stopping", State.NO_ENTRY, why)
        self.later(self.withdraw_all)
        self.stopping.set()

    async def abandon(self) -> None:
        """End what a start has begun that goes no further. What rests on the exchange stays."""
        await end_tasks(list(self._tasks))
        await self.dealer.stop()
        if self.streams is not None:
            await self.streams.stop()
        self.commit()

    async def wind_down(self) -> None:
        """Wait for what is under way, close positions where the settings say so, and write the last state."""
        tries = FLATTEN_TRIES if self.closes_at_end or self.rule.flatten_on_stop else 0
        if tries:
            self.flatten(FLATTENED)
        end = asyncio.get_running_loop().time() + ENDING_S
        while asyncio.get_running_loop().time() < end:
            self.pump()
            if self.is_quiet:
                if tries == 0 or not self.trader.session.positions["side"].any():
                    break
                tries -= 1  # an entry was filled while it was being withdrawn, or an exit was refused
                self.flatten(FLATTENED)
            await asyncio.sleep(0.05)
        await end_tasks(list(self._tasks))
        await self.dealer.stop()
        if self.streams is not None:
            await self.streams.stop()
        self.pump()
        self.commit()


def _in_parts(batch: list[Queued]) -> Iterator[list[Queued]]:
    """Prices that came after a closed bar are told after it."""
    part: list[Queued] = []
    has_closed = False
    for event in batch:
        if has_closed and isinstance(event, (LastPrice, MarkPrice)):
            yield part
            part, has_closed = [], False
        part.append(event)
        has_closed = has_closed or isinstance(event, BarClosed)
    yield part


def _what_differs(before: Filters, after: Filters) -> str:
    old, new = vars(before), vars(after)
    return ", ".join(f"{name} {old[name]} → {new[name]}" for name in old if old[name] != new[name])
