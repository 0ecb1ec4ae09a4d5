"""Random scenes of faults in virtual time: what goes wrong when is drawn by a seed, and what must hold is checked.

A scene is a market of twelve minutes, a live session that trades it often, and a few disturbances. Each waits for
a phase of the session (flat, entering, open, trailing, exiting, recovering) and strikes in it. From the seed everything
follows: the market, the delays of the network, the disturbances, and so every request and fill.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from qtsim.app import live
from qtsim.app.live import JOURNAL, Opened, close_session
from qtsim.core.enums import TrailMode
from qtsim.core.orders import has_entry_order_nb
from qtsim.emulator import FaultPlan, Point, Points
from qtsim.emulator.errors import ApiError
from qtsim.emulator.faults import FRAME_KINDS, REQUEST_KINDS, WRITES, Faults, RequestFault, made_fault
from qtsim.emulator.inprocess import Transport
from qtsim.emulator.streams import PRIVATE, Delivery
from qtsim.emulator.virtual import VirtualClock
from qtsim.errors import QtsimError
from qtsim.live.gateway import State
from qtsim.live.ids import parse_client_id
from qtsim.live.journal import Journal, open_journal
from tests.live_virtual import (
    SYMBOLS,
    Crash,
    CrashedError,
    Stage,
    fragile_journal,
    in_virtual_time,
    intents_in,
    kill,
    make_stage,
    play_through,
)

FLAT, ENTERING, OPEN, TRAILING, EXITING, RECOVERING = "flat", "entering", "open", "trailing", "exiting", "recovering"
STANDING = "standing"
"""A limit entry stands in the book, or is being called back."""
STARTING = "starting"
"""For the first time: nothing strikes yet."""
PHASES = (FLAT, ENTERING, STANDING, OPEN, TRAILING, EXITING, RECOVERING)
FRAMES = tuple(kind for kind in FRAME_KINDS if kind != "disconnect")
HANDS = (
    "hand_closes",
    "hand_halves",
    "hand_adds",
    "hand_reverses",
    "hand_opens",
    "hand_cancels_stops",
    "hand_leverage",
)
WORLD = (
    *("disconnect", "silence_account", "silence_market", "listen_key_expired", "outage", "clock_skew"),
    *("stuck_trigger", "jump"),
)
BOOK = ("limit_part", "limit_whole", "hand_cancels_entry")
"""What can befall an order in the book: it is filled in part or whole between two prices, or cancelled by a hand."""
CRASHES = ("crash", "crash_journal_torn", "crash_journal_older")
KINDS = (*REQUEST_KINDS, *FRAMES, *WORLD, *HANDS, *BOOK, *CRASHES)
HELD = ("hand_closes", "hand_halves", "hand_adds", "hand_reverses", "hand_cancels_stops", "stuck_trigger", "jump")
"""A hand can only close or change what is there; a stop is triggered where there is one."""
NEVER_THERE = frozenset(
    [(kind, FLAT) for kind in HELD]
    # an order is refused where one is sent, and that is an entry, the stop of one, or an exit
    + [("reject", phase) for phase in (FLAT, OPEN, TRAILING)]
    # a market order fills in part while it enters or leaves
    + [("partial", phase) for phase in (FLAT, STANDING, OPEN, TRAILING, RECOVERING)]
    + [(kind, phase) for kind in BOOK for phase in PHASES if phase != STANDING]
)
"""Kinds that cannot strike in a phase."""

BARS, WARM_UP = 12, 120
MARKS_NS = 10_000_000_000
STRIKES_UNTIL_S = 7 * 60.0
LOOK_S = 0.5
RESTART_S = 5.0
"""A supervisor's pause before it starts the program again."""
CONVERGED_S = 60.0
"""After the last disturbance has passed."""
PROTECTED_MS = 10_000
CRASHED_MS = 30_000
"""From a crash on; nothing but the restarted program looks after positions."""
STUCK_MS = 5_000
"""For so long a stop may be triggering before it counts as none; a look finds it."""
LEVERAGE_MAX = 10
"""limits.per_trade.leverage"""
UNTOLD_MS = 33_000
"""What no stream tells is booked by a comparison, of which there is one every 30 s. It is protected within the 10 s."""
REJECTS = (-1111, -2010, -2018, -2019, -2021, -2022, -4047, -4118, -4120, -4130, -4164, -4509)
SETTINGS: dict[str, Any] = {
    "strategy.fast": 2,
    "strategy.slow": 5,
    "strategy.adx_min": 0,
    "exit.stops.trail.activate": 0.0008,
}


LIMITS: dict[str, Any] = {
    "entry.order.type": "limit",
    "entry.order.limit_offset_bps": 6.0,
    "entry.order.timeout_bars": 2,
}


@dataclass(frozen=True)
class Strike:
    """One disturbance: its kind, the phase that it waits for, how many chances it lets pass, and its own seed."""

    kind: str
    phase: str
    skip: int = 0
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind} while {self.phase} (skip {self.skip}, seed {self.seed})"


@dataclass(frozen=True)
class Scene:
    """A market's seed, the delays of orders, a limit, and what goes wrong."""

    seed: int
    market: int
    latency_ms: tuple[int, int]
    positions: int
    """Most that may be open at one time."""
    strikes: tuple[Strike, ...]
    limits: bool = False
    """Are entries limit orders?"""

    def __str__(self) -> str:
        strikes = "; ".join(map(str, self.strikes))
        kind = "limits" if self.limits else "market"
        return f"seed {self.seed} ({kind} {self.market}, latency {self.latency_ms}): {strikes}"


def scene_of(seed: int) -> Scene:
    """The scene of a seed. Every kind and phase comes up as often as any other."""
    rng = random.Random(f"scene {seed}")
    cells = [(kind, phase) for kind in KINDS for phase in PHASES if (kind, phase) not in NEVER_THERE]
    first = cells[seed * 7919 % len(cells)]
    chosen = [first, *(rng.choice(cells) for _ in range(rng.choice((0, 0, 1, 1, 2, 3))))]
    strikes = [Strike(kind, phase, rng.choice((0, 0, 1, 2)), rng.randrange(10**6)) for kind, phase in chosen]
    companions = [strike for cell in chosen for strike in companions_of(*cell, rng)]
    latency = rng.choice(((0, 0), (10, 80), (20, 400)))
    positions, market = rng.choice((1, 15, 15)), rng.randrange(40)
    limits = rng.random() < 0.5 or any(strike.phase == STANDING for strike in strikes)
    return Scene(seed, market, latency, positions, (*companions, *strikes), limits)


def companions_of(kind: str, phase: str, rng: random.Random) -> list[Strike]:
    """What has to happen for a strike to meet anything: a crash before a recovery, a hand before the news of it."""
    found = []
    if phase == RECOVERING:
        found.append(Strike("crash", rng.choice((OPEN, TRAILING, ENTERING, EXITING)), rng.choice((0, 1, 2))))
    if kind in HELD and phase == STANDING:
        found.append(Strike("limit_part", phase, 0, rng.randrange(10**6)))
    if kind in FRAMES and phase not in (ENTERING, EXITING):
        hands = {FLAT: ("hand_leverage", "hand_opens"), STANDING: ("hand_leverage", "hand_opens", *BOOK)}.get(
            phase, HANDS
        )
        found.append(Strike(rng.choice(hands), phase, 0, rng.randrange(10**6)))
    if kind == "reject" and phase == RECOVERING:
        found.append(Strike("hand_cancels_stops", phase))
    return found


# the one who disturbs -------------------------------------------------------------------------------------------------


class MeddledFaults(Faults):
    """The exchange's faults, with the saboteur's on top."""

    def __init__(self, plan: FaultPlan, saboteur: Saboteur) -> None:
        super().__init__(plan)
        self.saboteur = saboteur

    def of_request(self, method: str, endpoint: str) -> RequestFault | None:
        """The saboteur's fault, where it is this request's turn."""
        drawn = super().of_request(method, endpoint)
        return self.saboteur.at_request(method, endpoint) or drawn

    def of_frame(self, base: str, kind: str) -> Delivery:
        """How the saboteur lets a frame travel."""
        self.frames += 1
        return self.saboteur.at_frame(base)


class PhasedCrash(Crash):
    """Ends the program where the saboteur says so."""

    def __init__(self, saboteur: Saboteur) -> None:
        super().__init__()
        self.saboteur = saboteur

    def step(self, name: str) -> None:
        """One point. Raises CrashedError once the saboteur has struck."""
        if not self.happened.is_set() and self.saboteur.at_step():
            self.happened.set()
        if self.happened.is_set():
            raise CrashedError(name)


@dataclass
class Saboteur:
    """Strikes when a strike's phase has come, and remembers what it blinded whom for how long."""

    stage: Stage
    waiting: list[Strike]
    opened: Opened | None = None
    transport: Transport | None = None
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    blind: list[tuple[int, int]] = field(default_factory=list)
    """Spans, ms, in which a program cannot know or do what it should: outages, bans, silence, death."""
    calm_ms: int = 0
    """When the effect of everything so far has passed."""
    starts: int = 0
    is_amid: bool = False
    """Has a hand traded while an order was under way? Costs of what it added are then known to the exchange alone."""
    damage: str = ""
    older: Path | None = None
    _passed: Counter[Strike] = field(default_factory=Counter)
    _frames_left: dict[str, int] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def now_ms(self) -> int:
        """Virtual time."""
        return VirtualClock().now_ms()

    def phase(self) -> str:
        """What the session is doing now."""
        opened = self.opened
        if opened is None or not opened.runner.is_trading:
            return RECOVERING if self.starts > 1 else STARTING
        runner = opened.runner
        orders = runner.dealer.live_orders()
        if any(order.kind.is_exit and not order.kind.rests for order in orders):
            return EXITING
        if any(
            (order.is_entry and not order.stood) or (order.kind.rests and order.status == "sent") for order in orders
        ):
            return ENTERING
        if any(order.stood for order in orders):
            return STANDING
        positions = [p for p in runner.trader.session.positions if p["side"] != 0]
        if any(p["trail_active"] and p["trail_mode"] != TrailMode.OFF for p in positions):
            return TRAILING
        return OPEN if positions or any(True for _ in self.stage.exchange.state.account.open_positions()) else FLAT

    def _take(self, kinds: tuple[str, ...], may: Callable[[Strike], bool] = lambda strike: True) -> Strike | None:
        """The strike of these kinds whose turn it is now."""
        if not self.waiting:
            return None
        phase = self.phase()
        for strike in self.waiting:
            if strike.kind not in kinds or strike.phase != phase or not may(strike):
                continue
            self._passed[strike] += 1
            if self._passed[strike] <= strike.skip:
                continue
            self.waiting.remove(strike)
            self.struck[strike.kind, phase] += 1
            return strike
        return None

    def passes(self, ms: int, *, blinds: bool = False) -> None:
        """Something has an effect for so long."""
        now = self.now_ms
        self.calm_ms = max(self.calm_ms, now + ms)
        if blinds:
            self.blind.append((now, now + ms))

    # requests, frames, crash points ----------------------------------------------------------------------------------

    def at_request(self, method: str, endpoint: str) -> RequestFault | None:
        """The fault of this request. Those that only orders can have wait for an order."""
        places = method in WRITES and endpoint in ("order", "algoOrder")

        def may(strike: Strike) -> bool:
            if strike.kind == "partial":
                return method == "POST" and endpoint == "order"
            if strike.phase in (ENTERING, STANDING, EXITING) or strike.kind == "reject":
                return places
            return True

        if self.phase() in (ENTERING, EXITING, RECOVERING):
            asyncio.get_running_loop().call_soon(self.strike_now)  # no look would fall into these
        strike = self._take(REQUEST_KINDS, may)
        if strike is None:
            return None
        rng = random.Random(strike.seed)
        fault = made_fault(
            strike.kind, rng.randint(500, 8000), rng.random() < 0.5, rng.choice(REJECTS), rng.choice((0.3, 0.5, 0.8))
        )
        if strike.kind == "http_418":
            self.passes(120_000, blinds=True)
        elif strike.kind == "http_429":
            self.passes(60_000)
        else:
            self.passes(fault.hold_ms + fault.answer_delay_ms, blinds=True)
            self.passes(10_000)
        return fault

    def at_frame(self, base: str) -> Delivery:
        """How a frame of the account's stream travels: a strike disturbs a few in a row."""
        delivery = Delivery()
        if base != PRIVATE:
            return delivery
        strike = self._take(FRAMES)
        if strike is not None:
            rng = random.Random(strike.seed)
            self._frames_left[strike.kind] = rng.randint(1, 6)
            self.passes(UNTOLD_MS)
        for kind, left in list(self._frames_left.items()):
            if left <= 0:
                continue
            self._frames_left[kind] = left - 1
            delay = random.Random(f"{kind} {left} {self.stage.exchange.faults.frames}").randint(50, 3000)
            if kind == "event_drop":
                delivery = delivery._replace(copies=0)
            elif kind == "event_duplicate":
                delivery = delivery._replace(copies=delivery.copies * 2)
            else:
                delivery = delivery._replace(delay_ms=delay, keeps_order=kind != "event_reorder")
        return delivery

    def at_step(self) -> bool:
        """Does the program die at this point?"""
        strike = self._take(CRASHES)
        if strike is None:
            return False
        self.damage = strike.kind.removeprefix("crash").removeprefix("_")
        self._damage_seed = strike.seed
        self.passes(CRASHED_MS, blinds=True)
        return True

    # the rest ---------------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look for phases that have come, until all that is to happen has happened."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.strike_now()

    def strike_now(self) -> None:
        """Do what a hand or the world does in this phase."""
        strike = self._take((*HANDS, *WORLD, *BOOK), self._is_possible)
        if strike is not None:
            self.passes(10_000)
            getattr(self, f"_{strike.kind}")(random.Random(strike.seed))

    def _is_possible(self, strike: Strike) -> bool:
        held = any(True for _ in self.stage.exchange.state.account.open_positions())
        stands = bool(self.stage.exchange.state.open_orders)
        return (held or strike.kind not in HELD) and (stands or strike.kind not in BOOK)

    def _trade(self, rng: random.Random, share: str) -> None:
        held = list(self.stage.exchange.state.account.open_positions())
        position = rng.choice(held)
        step = Decimal("0.001")
        qty = (position.qty * Decimal(share) // step) * step
        self._note_hand()
        with contextlib.suppress(ApiError):
            self.stage.control.trade(position.symbol, str(qty))

    def _note_hand(self) -> None:
        self.is_amid = self.is_amid or self.phase() in (ENTERING, STANDING, EXITING, RECOVERING)

    def _hand_closes(self, rng: random.Random) -> None:
        self._trade(rng, "-1")

    def _hand_halves(self, rng: random.Random) -> None:
        self._trade(rng, "-0.5")

    def _hand_adds(self, rng: random.Random) -> None:
        self._trade(rng, "0.5")

    def _hand_reverses(self, rng: random.Random) -> None:
        self._trade(rng, "-2")

    def _hand_opens(self, rng: random.Random) -> None:
        self._note_hand()
        with contextlib.suppress(ApiError):
            self.stage.control.trade(rng.choice(SYMBOLS), rng.choice(("1", "-1")))

    def _hand_cancels_stops(self, rng: random.Random) -> None:
        for symbol in SYMBOLS:
            self.stage.control.cancel_algos(symbol)

    def _hand_leverage(self, rng: random.Random) -> None:
        exchange = self.stage.exchange
        for symbol in SYMBOLS:
            with contextlib.suppress(ApiError):
                exchange.account.set_leverage({"symbol": symbol, "leverage": str(rng.choice((2, 5, 10)))})

    def _limit_part(self, rng: random.Random) -> None:
        self._fill_resting(rng, rng.choice((Decimal("0.2"), Decimal("0.5"))))

    def _limit_whole(self, rng: random.Random) -> None:
        self._fill_resting(rng, Decimal(1))

    def _fill_resting(self, rng: random.Random, share: Decimal) -> None:
        order = rng.choice(list(self.stage.exchange.state.open_orders.values()))
        step = Decimal("0.001")
        qty = max(step, (order.rest * share // step) * step)
        self.stage.control.fill_resting(order.id, str(qty))

    def _hand_cancels_entry(self, rng: random.Random) -> None:
        self.stage.control.cancel_orders(rng.choice(list(self.stage.exchange.state.open_orders.values())).symbol)

    def _disconnect(self, rng: random.Random) -> None:
        self.stage.control.disconnect(rng.choice(("private", "market", "")))

    def _silence_account(self, rng: random.Random) -> None:
        self._silence("private", rng)

    def _silence_market(self, rng: random.Random) -> None:
        self._silence("market", rng)

    def _silence(self, part: str, rng: random.Random) -> None:
        ms = rng.randint(5_000, 60_000)
        self.stage.control.silence(part=part)
        self.passes(ms + UNTOLD_MS)
        self._later(ms, lambda: self.stage.control.silence(False, part))

    def _listen_key_expired(self, rng: random.Random) -> None:
        self.stage.control.expire_listen_key()

    def _outage(self, rng: random.Random) -> None:
        ms = rng.randint(2_000, 60_000)
        self.stage.control.set_down()
        self.passes(ms + 10_000, blinds=True)
        self._later(ms, lambda: self.stage.control.set_down(False))

    def _clock_skew(self, rng: random.Random) -> None:
        transport = self.transport
        if transport is None or not isinstance(transport.clock, VirtualClock):
            return
        clock, ms = transport.clock, rng.randint(5_000, 60_000)
        clock.skew_ms = rng.choice((-3_000, 3_000))
        self.passes(ms + 40_000)

        def right() -> None:
            clock.skew_ms = 0

        self._later(ms, right)

    def _stuck_trigger(self, rng: random.Random) -> None:
        self.stage.control.stick_next_trigger()
        self._jump(rng)
        self.passes(STUCK_MS, blinds=True)
        self.passes(UNTOLD_MS)

    def _jump(self, rng: random.Random) -> None:
        """The price jumps through the hard stop of a position, and comes back with the next point."""
        exchange = self.stage.exchange
        algos = [algo for algo in exchange.state.open_algos.values() if algo.status == "NEW"]
        if not algos:
            return
        algo = rng.choice(algos)
        factor = Decimal("0.998") if algo.side == "SELL" else Decimal("1.002")
        price = (algo.trigger_price * factor).quantize(Decimal("0.01"))
        exchange.advance(Points(exchange.now_ms * 1_000_000, (Point(algo.symbol, price, price, Decimal(1)),)))

    def _later(self, ms: int, work: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(ms / 1000)
            work()

        task = asyncio.ensure_future(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # the journal of a dead program ------------------------------------------------------------------------------------

    def keep_older(self, path: Path) -> None:
        """Keep a copy of the journal, as a backup program may."""
        if self.older is not None or not any(strike.kind == "crash_journal_older" for strike in self.waiting):
            return
        self.older = path.with_name("older.copy")
        with contextlib.closing(sqlite3.connect(path)) as db, contextlib.closing(sqlite3.connect(self.older)) as copy:
            db.backup(copy)

    def damage_journal(self, path: Path) -> list[str]:
        """What befalls the dead program's journal. Returns client ids of intents that were lost with it."""
        damage, self.damage = self.damage, ""
        if not damage:
            return []
        lost = intents_in(path)
        if damage == "journal_torn":
            rng = random.Random(self._damage_seed)
            content = bytearray(path.read_bytes())
            at = rng.randrange(max(1, len(content)) // 64) * 64
            content[at : at + 64] = rng.randbytes(64)
            path.write_bytes(bytes(content if rng.random() < 0.5 else content[:at]))
        elif self.older is not None:
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            shutil.copyfile(self.older, path)
        return lost


# the scene ------------------------------------------------------------------------------------------------------------


class Trespass(AssertionError):
    """An invariant does not hold."""


@dataclass
class Outcome:
    """What a scene came to."""

    scene: Scene
    struck: Counter[tuple[str, str]]
    """(kind, phase) → how often."""
    openings: int
    """Fills that opened a position or added to one."""
    unprotected_ms: list[int]
    """Length of each span in which a position had no covering stop."""
    in_sight_ms: list[int]
    """The same without what the program could not know or do: outages, bans, silence, its own death."""
    converged_ms: int | None
    """From the end of the last disturbance until program and exchange agreed; None: they never did."""
    log: str
    failure: str = ""


@dataclass
class Watch:
    """What the exchange's door sees: durable intents, one attempt at a time, one writer, no request in a known ban."""

    saboteur: Saboteur
    journal: Path
    epoch: int = 0
    banned_until: int = 0
    told_ms: int = 0
    """When it was; what leaves at that very instant was under way."""
    under_way: dict[str, str] = field(default_factory=dict)
    refused: dict[str, bool] = field(default_factory=dict)
    """Client id → was its last attempt refused for its timestamp? Such a request may be sent again."""
    broken: list[str] = field(default_factory=list)

    def guard(self, transport: Transport) -> None:
        """Stand before a transport."""
        send = transport.send
        self.banned_until = 0

        async def watched(url: str, method: str, headers: Any, body: Any) -> Any:
            now = self.saboteur.now_ms
            if self.told_ms < now < self.banned_until:
                self.broken.append(f"I11: {method} {url.split('?')[0]} in a ban that was told")
            client_id, symbol = _order_of(method, url, body)
            if client_id:
                self._before(client_id, symbol)
            try:
                answer = await send(url, method, headers, body)
            except BaseException:
                if client_id:
                    self.refused[client_id] = False
                raise
            finally:
                if client_id:
                    self.under_way.pop(client_id, None)
            if answer.status == 418 and self.saboteur.now_ms >= self.banned_until:
                self.told_ms = self.saboteur.now_ms
                self.banned_until = max(self.banned_until, self.saboteur.stage.exchange.limiter.banned_until_ms)
            if client_id:
                self.refused[client_id] = '"code":-1021' in answer.body.replace(" ", "")
            return answer

        transport.send = watched  # type: ignore[method-assign]

    def _before(self, client_id: str, symbol: str) -> None:
        parsed = parse_client_id(client_id)
        if parsed is None:
            self.broken.append(f"I12: an order without an id of ours: {client_id}")
            return
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as db:
            if not db.execute("SELECT 1 FROM intents WHERE client_id = ?", (client_id,)).fetchone():
                self.broken.append(f"I6: {client_id} leaves without an intent on the disk")
        if parsed.epoch < self.epoch:
            self.broken.append(f"I9: {client_id} of an older program, after one of epoch {self.epoch}")
        self.epoch = max(self.epoch, parsed.epoch)
        if parsed.kind.is_exit:
            return
        leverage = self.saboteur.stage.exchange.state.account.settings[symbol].leverage
        if leverage > LEVERAGE_MAX:
            self.broken.append(f"I10: entry {client_id} at {leverage}x")
        if not self.refused.get(client_id, True):
            self.broken.append(f"I7: entry {client_id} was sent again though its outcome was not known")
        others = [own for own, place in self.under_way.items() if place == symbol and own != client_id]
        if others:
            self.broken.append(f"I7: entry {client_id} left while {others[0]} was under way")
        self.under_way[client_id] = symbol


def _order_of(method: str, url: str, body: Any) -> tuple[str, str]:
    """(client id, symbol) of a request for a new order; empty of any other."""
    if method != "POST" or not url.split("?")[0].endswith(("/order", "/algoOrder")):
        return "", ""
    text = f"{url.partition('?')[2]}&{body or ''}"
    values = dict(pair.split("=", 1) for pair in text.split("&") if "=" in pair)
    return values.get("newClientOrderId") or values.get("clientAlgoId") or "", values.get("symbol", "")


def _durable(journal: Journal, crash: Crash) -> None:
    """A dead program's journal is closed without what it had not committed."""
    close = journal.close

    def closed() -> None:
        if crash.happened.is_set():
            journal._db.rollback()
            journal._db.close()
        else:
            close()

    journal.close = closed  # type: ignore[method-assign]
    fragile_journal(journal, crash)


@contextlib.contextmanager
def _mortal(crash: Crash) -> Iterator[None]:
    """The program that is opened inside may die while it starts, too."""
    whole = live.open_or_put_aside

    def opened(*args: Any) -> Journal:
        journal = whole(*args)
        journal._db.execute("PRAGMA synchronous = OFF")  # the disk's part is tested elsewhere
        _durable(journal, crash)
        return journal

    with mock.patch.object(live, "open_or_put_aside", opened):
        yield


@dataclass
class Play:
    """A scene on its stage."""

    scene: Scene
    stage: Stage
    saboteur: Saboteur
    watch: Watch
    lost: list[str] = field(default_factory=list)
    converged_ms: int | None = None
    trespass: str = ""

    async def run(self) -> Any:
        """The market to its end; the program is started again whenever it has died or ended. Returns the runner."""
        stage, saboteur = self.stage, self.saboteur
        began = saboteur.now_ms
        market = asyncio.ensure_future(play_through(stage, rest_s=20.0))
        strikes = asyncio.ensure_future(saboteur.watch())
        looks = asyncio.ensure_future(self._look(began))
        opened: Opened | None = None
        running: asyncio.Task[None] | None = None
        while True:
            crash = PhasedCrash(saboteur)
            died = asyncio.ensure_future(crash.happened.wait())
            try:
                opened, running = await self._open(crash)
                await asyncio.wait({market, died, running}, return_when=asyncio.FIRST_COMPLETED)
            except (QtsimError, CrashedError) as error:
                opened = None
                if not crash.happened.is_set():
                    stage.told.append(f"start refused: {error}")
            died.cancel()
            saboteur.opened = None
            if market.done() and opened is not None and not crash.happened.is_set():
                break
            await self._bury(opened, running, crash)
            self.lost += saboteur.damage_journal(self.watch.journal)
            await asyncio.sleep(RESTART_S)
        strikes.cancel()
        saboteur.opened = opened
        if not looks.done():
            await looks
        assert running is not None
        if not running.done():
            opened.runner.end("the scene has ended")
            await running
        await opened.runner.wind_down()
        await close_session(opened)
        return opened.runner

    async def _open(self, crash: Crash) -> tuple[Opened, asyncio.Task[None]]:
        stage, saboteur = self.stage, self.saboteur
        transport = Transport(stage.exchange)
        saboteur.transport = transport
        saboteur.starts += 1
        self.watch.guard(transport)
        _fragile(transport, crash)
        world = stage.world(transport)
        from qtsim.app.live import open_session
        from qtsim.live.redaction import Redactor

        with _mortal(crash):
            opened = await open_session(stage.plan(world), world, stage.told.append, Redactor())
        stage.opened.append(opened)
        opened.runner.measure = dict  # how busy this machine is has nothing to do with it
        saboteur.opened = opened
        saboteur.keep_older(self.watch.journal)
        return opened, asyncio.ensure_future(opened.runner.run())

    async def _bury(self, opened: Opened | None, running: asyncio.Task[None] | None, crash: Crash) -> None:
        if opened is None:
            return
        assert running is not None
        if crash.happened.is_set():
            await kill(opened, running)
            return
        self.stage.told.append(f"ended by itself: {opened.runner.why}")
        with contextlib.suppress(QtsimError):
            await running
            await opened.runner.wind_down()
        await close_session(opened)

    async def _look(self, began_ms: int) -> None:
        """After the last disturbance has passed: how long until the program and the exchange agree?"""
        saboteur = self.saboteur
        await asyncio.sleep(STRIKES_UNTIL_S)
        saboteur.waiting.clear()
        while saboteur.now_ms < saboteur.calm_ms:
            await asyncio.sleep(1.0)
        start = saboteur.now_ms
        why = "no look"
        while saboteur.now_ms - start <= CONVERGED_S * 1000:
            await asyncio.sleep(1.0)
            opened = saboteur.opened
            if opened is None or not opened.runner.is_trading:
                why = "the program is not running"
                continue
            why = differences(self.stage, opened.runner)
            if not why:
                self.converged_ms = saboteur.now_ms - start
                return
        self.trespass = f"I4: not converged {CONVERGED_S:.0f} s after the last disturbance: {why}"


def _fragile(transport: Transport, crash: Crash) -> None:
    """Each request that changes something is two crash points; nothing that a dead program does arrives."""
    send = transport.send

    async def stepped(url: str, method: str, headers: Any, body: Any) -> Any:
        if crash.happened.is_set():
            raise CrashedError(url)
        if method != "GET":
            crash.step(f"before {method}")
        answer = await send(url, method, headers, body)
        if method != "GET":
            crash.step(f"after {method}")
        elif crash.happened.is_set():
            raise CrashedError(url)
        return answer

    transport.send = stepped  # type: ignore[method-assign]


def differences(stage: Stage, runner: Any) -> str:
    """What the program and the exchange do not agree on; empty where they do."""
    held = {(p.symbol, p.side): p.qty for p in stage.exchange.state.account.open_positions()}
    session, mine = runner.trader.session, {}
    for slot in range(len(session.positions)):
        position = session.positions[slot]
        if position["side"] != 0:
            key = runner.dealer.key_of(slot)
            mine[key] = int(position["side"] * position["lots"]) * runner.dealer.lots[key[0]]
    if mine != held:
        return f"positions {mine} here, {held} on the exchange"
    stops = sorted(algo.symbol for algo in stage.exchange.state.open_algos.values() if algo.status == "NEW")
    if stops != sorted(symbol for symbol, _ in held):
        return f"stops of {stops} for positions of {sorted(held)}"
    standing = sorted(order.symbol for order in stage.exchange.state.open_orders.values())
    entries = [k for k, position in enumerate(session.positions) if has_entry_order_nb(position)]
    if standing != sorted(runner.dealer.key_of(slot)[0] for slot in entries):
        return f"entries stand in {standing}, and {entries} here"
    gap = float(stage.exchange.state.account.wallet) - float(session.account["wallet"][0])
    if abs(gap) > 1e-6:
        return f"the wallets differ by {gap}"
    if runner.gateway.state is State.RUN:
        return ""
    named = set(runner.gateway.reasons) - {"stopping", "account"}  # what a person has to look at is stated and stays
    return f"{runner.gateway.state.name}: {runner.gateway.why}" if named else ""


def in_sight_ms(saboteur: Saboteur, start: int, end: int) -> int:
    """A span without what of it nobody could know or do anything about."""
    seen, at = 0, start
    for since, until in sorted(saboteur.blind):
        seen += max(0, min(end, since) - at)
        at = max(at, min(end, until))
    return seen + max(0, end - at)


def trespasses(play: Play, runner: Any) -> list[str]:
    """Every invariant that does not hold at the end."""
    stage, saboteur = play.stage, play.saboteur
    found = [*play.watch.broken, *([play.trespass] if play.trespass else [])]
    for span in stage.unprotected():
        seen = in_sight_ms(saboteur, span.start_ms, span.end_ms)
        if seen > PROTECTED_MS:
            found.append(f"I1: {span.symbol} was without a stop for {span.ms} ms, {seen} of them in sight")
    with _named(found, "end"):
        stage.check(runner, longest_ms=10**9, lost_intents=play.lost, banned=True)
    found += repeated_decisions(stage, runner.folder)
    found += journal_faults(play, runner.folder)
    found += beyond_limits(stage, play.scene.positions)
    limiter = stage.exchange.limiter
    if stage.exchange.state.open_orders:
        found.append(f"entries stand after the end: {sorted(stage.exchange.state.open_orders)}")
    if limiter._refused:
        found.append(f"I11: {limiter._refused} requests beyond the weight per minute")
    return found


@contextlib.contextmanager
def _named(found: list[str], name: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        text = str(error).strip().splitlines()
        found.append(f"{name}: {' '.join(line.strip() for line in text)[:600]}")


def repeated_decisions(stage: Stage, folder: Path) -> list[str]:
    """Entries of one symbol that were decided in one bar and both filled."""
    decided: dict[str, int] = {}
    for path in folder.glob("journal.sqlite*"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
            decided |= dict(db.execute("SELECT client_id, ts FROM intents WHERE kind = 'entry'"))
    by_bar: dict[tuple[str, int], set[str]] = {}
    for entry in stage.exchange.log.of("fill"):
        name = entry.data["client_id"]
        if name in decided:
            by_bar.setdefault((entry.data["symbol"], decided[name] // 60_000_000_000), set()).add(name)
    return [
        f"I2: {symbol} entered twice in one bar: {sorted(names)}"
        for (symbol, _), names in by_bar.items()
        if len(names) > 1
    ]


def beyond_limits(stage: Stage, most: int) -> list[str]:
    """I10: entries that opened a position while as many as may be were open by entries of ours."""
    found = []
    mine: set[str] = set()
    for entry in stage.exchange.log.of("fill", "position"):
        symbol = entry.data["symbol"]
        if entry.kind == "position":
            if float(entry.data["qty"]) == 0.0:
                mine.discard(symbol)
            continue
        parsed = parse_client_id(entry.data["client_id"])
        if parsed is None or parsed.kind.is_exit or entry.data["opened"] == "0":
            continue
        if len(mine - {symbol}) >= most:
            found.append(f"I10: {symbol} was opened beside {sorted(mine)}; {most} positions are allowed")
        mine.add(symbol)
    return found


def journal_faults(play: Play, folder: Path) -> list[str]:
    """I5: every trade of the account is booked once, and nothing is booked that nobody paid."""
    journal = open_journal(folder / JOURNAL, read_only=True)
    fills, ledger = journal.fills(), journal.ledger()
    journal.close()
    found = []
    traded = {(trade.order.symbol, trade.id): trade for trade in play.stage.exchange.state.trades}
    booked = Counter((row["symbol"], row["exchange_id"]) for row in fills)
    if twice := [place for place, count in booked.items() if count > 1]:
        found.append(f"I5: booked twice: {twice}")
    if missing := sorted(set(traded) - set(booked)):
        found.append(f"I5: not booked: {missing}")
    for row in fills:
        trade = traded.get((row["symbol"], row["exchange_id"]))
        if trade is None or Decimal(row["qty"]) != trade.qty or Decimal(row["price"]) != trade.price:
            found.append(f"I5: {row['symbol']} {row['exchange_id']} is not as it was traded")
    adjusted = [row for row in ledger if row["kind"] == "ADJUST"]
    if adjusted and not (play.saboteur.is_amid or play.lost):
        found.append(f"I5: the wallet was adjusted by {[row['amount'] for row in adjusted]}")
    return found


def play_scene(scene: Scene, root: Path) -> Outcome:
    """Play a scene in an empty folder."""
    plan = FaultPlan(seed=scene.seed, latency_ms=scene.latency_ms)
    settings = {**SETTINGS, "limits.positions.total": scene.positions, **(LIMITS if scene.limits else {})}
    stage = make_stage(root, bars=BARS, warm_up=WARM_UP, seed=scene.market, plan=plan, marks_ns=MARKS_NS, **settings)
    exchange = stage.exchange
    exchange.limiter.weight_limit = 2400
    saboteur = Saboteur(stage, list(scene.strikes))
    meddled = MeddledFaults(exchange.faults.plan, saboteur)
    exchange.faults = exchange.state.faults = meddled
    exchange.streams.deliver = meddled.of_frame
    play = Play(scene, stage, saboteur, Watch(saboteur, stage.workspace.root / "live" / "main" / JOURNAL))
    failure = ""
    try:
        runner = in_virtual_time(stage, play.run)
        failure = "; ".join(trespasses(play, runner))
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    spans = stage.unprotected()
    return Outcome(
        scene,
        saboteur.struck,
        sum(entry.data["opened"] != "0" for entry in exchange.log.of("fill")),
        [span.ms for span in spans],
        [in_sight_ms(saboteur, span.start_ms, span.end_ms) for span in spans],
        play.converged_ms,
        exchange.log.text(),
        failure,
    )


def minimal(scene: Scene, play: Callable[[Scene], Outcome]) -> Scene:
    """The scene without the strikes that its failure does not need."""
    strikes = list(scene.strikes)
    for strike in list(strikes):
        fewer = [one for one in strikes if one is not strike]
        if play(replace(scene, strikes=tuple(fewer))).failure:
            strikes = fewer
    return replace(scene, strikes=tuple(strikes))
