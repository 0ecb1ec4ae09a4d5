"""The session between what it is told and what it decides: no I/O, no clock, the same inputs give the same decisions.

Told by a feed: price points, closed bars, fills, payments, the time, the program's health, an operator. The order of
events is that of the simulator: at one instant the exchange acts, then the exit cycles, then the governor, then entries
on the signals of the bars that have closed. An order that is under way makes its slot wait, and entries wait for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from qtsim.core.accounting import equity_nb
from qtsim.core.enums import GovernorOrder, Health, Monitoring, Reason, Rule
from qtsim.core.orders import has_entry_order_nb
from qtsim.core.records import NEVER, Record, Records, fill_row_dt, transfer_dt
from qtsim.core.safety_governor import order_positions_nb
from qtsim.live.history import Bar, SignalSource
from qtsim.live.tape import SIGNALS, NoTape, Tape, filled, record_of
from qtsim.trading.journal import KINDS
from qtsim.trading.messages import Fill, FundingPayment, OrderEnd, Transfer
from qtsim.trading.session import Session

Price = tuple[str, float, float]
"""(symbol, last price, mark price)"""


class Venue(Protocol):
    """What a trader needs of whoever fills the orders, beside the broker's verbs."""

    def settle(self, slots: list[int]) -> None:
        """Act on the new points of these slots before the program does: liquidations, resting stops."""

    def filled(self, fill: Fill) -> None:
        """Hand in a fill."""

    def ended(self, end: OrderEnd) -> None:
        """Hand in the end of an unfilled order."""

    def paid(self, payment: FundingPayment) -> None:
        """Hand in a funding payment."""

    def moved(self, transfer: Transfer) -> None:
        """Hand in a deposit or withdrawal."""


@dataclass(frozen=True)
class Timing:
    """Lengths in ns: of bars, of the wait for the closes of all symbols, between two cycles by the clock."""

    timeframe: int
    wait_bars: int
    check_interval: int


@dataclass
class Pending:
    """A signal that waits for the first price after its bar's close."""

    bar: int
    row: Record
    closed: int


@dataclass
class Closing:
    """Bars of one instant, as far as they have come."""

    bars: dict[str, Bar] = field(default_factory=dict)
    since: int = NEVER  # when the first of them came


class Trader:
    """Drives a session. Every public verb but the questions is an input, and is written to the tape first."""

    def __init__(
        self,
        session: Session,
        venue: Venue,
        signals: SignalSource,
        timing: Timing,
        tape: Tape | None = None,
        *,
        on_rows: Callable[[str, Records], None] | None = None,
    ) -> None:
        """on_rows: told of each row that the session writes, after the tape."""
        self.session = session
        self.venue = venue
        self.source = signals
        self.timing = timing
        self.tape: Tape = tape or NoTape()
        self.on_rows = on_rows or (lambda kind, row: None)
        self.symbols = list(signals.bars)
        self.now = NEVER
        self.closing: dict[int, Closing] = {}
        self.pending: dict[int, Pending] = {}
        self.shown: list[int] = []  # slots whose points have not been settled yet
        self.fresh: set[str] = set()  # symbols that have shown a price since their last close
        self.instant = NEVER  # whose governor evaluation is due
        self.waiting_since = NEVER  # entries wait for orders
        self.last_closed = NEVER
        self.last_cycle = NEVER
        self.skipped: list[tuple[int, str]] = []  # (close, symbol): bars that came too late to act on
        if np.all(session.bar_index < 0):
            session.bar_index[:] = 0

    # questions -------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Is no order under way, and nothing waiting for one?"""
        session = self.session
        return not session.waits_for_orders and session.signalled is None and session.ranking is None

    @property
    def equity(self) -> float:
        """Wallet and unrealized PnL of the capital in use."""
        session = self.session
        return float(equity_nb(session.account[0], session.positions, session.points))

    def slots_of(self, symbol: str) -> range:
        """The slots of a symbol."""
        width = self.session.width
        first = self.symbols.index(symbol) * width
        return range(first, first + width)

    # inputs ----------------------------------------------------------------------------------------------------------

    def begin(self, ts: int) -> None:
        """Trading starts: the governor's first look at the equity, where there has been none."""
        self.tape.input("begin", {"ts": ts})
        self.now = max(self.now, ts)
        self.session.mark(ts)
        self.session.judge_account(ts)
        self._judge_orders(ts)
        self._flush()

    def marks(self, marks: Mapping[str, float]) -> None:
        """Mark prices at the start: open positions have a value before the first point, and are not judged by it."""
        self.tape.input("marks", {"marks": dict(marks)})
        for symbol, mark in marks.items():
            for i in self.slots_of(symbol):
                self.session.points[i]["mark"] = mark

    def points(self, ts: int, prices: Sequence[Price]) -> None:
        """Prices of one instant, ns. They count for decisions once `settle` is called."""
        self.tape.input("points", {"ts": ts, "prices": [list(price) for price in prices]})
        self._finish_instant()
        self.now = max(self.now, ts)
        for symbol, price, mark in prices:
            for i in self.slots_of(symbol):
                if symbol in self.fresh:
                    self.session.observe(i, ts, price, mark)
                else:
                    self.session.open_bar(i, ts, price, mark, np.nan)
                if self.session.is_open(i) and not np.isnan(self.session.points[i]["price"]):
                    self.session.remember_extremes(i)
            self.fresh.add(symbol)
        self.shown = [i for symbol, _, _ in sorted(prices) for i in self.slots_of(symbol)]
        self.instant = ts
        self._flush()

    def settle(self) -> None:
        """All that belongs to the last points has been told: the exchange's doing, exit cycles, governor, entries."""
        self.tape.input("settle", {})
        shown, self.shown = self.shown, []
        self.venue.settle(shown)
        if Monitoring(int(self.session.params["exit"]["monitoring"])) != Monitoring.INTERVAL:
            for i in shown:
                if int(self.session.positions[i]["entry_ts"]) < self.instant or not self.session.is_open(i):
                    self.session.run_cycles(i, once=False)  # else a limit has just opened it: from the next point on
        self._go_on()
        self._flush()

    def bars(self, close: int, bars: Mapping[str, Bar], now: int) -> None:
        """Bars that closed at `close`; they act together once all symbols' have come, or the wait is over."""
        self.tape.input("bars", {"close": close, "now": now, "bars": {name: list(bar) for name, bar in bars.items()}})
        self.now = max(self.now, now)
        for symbol, bar in sorted(bars.items()):
            if close <= self.last_closed or symbol not in self.symbols:
                self.source.add(symbol, bar)
                if symbol in self.symbols:
                    self.skipped.append((close, symbol))
                continue
            closing = self.closing.setdefault(close, Closing(since=now))
            closing.bars[symbol] = bar
        self._close_what_is_whole()
        self._flush()

    def rates(self, symbol: str, ts: int, rate: float) -> None:
        """A funding rate was published."""
        self.tape.input("rates", {"symbol": symbol, "ts": ts, "rate": rate})
        self.source.publish(symbol, ts, rate)

    def clock(self, now: int) -> None:
        """The time, ns: what has been waited for too long is given up, and cycles are due by it."""
        self.tape.input("clock", {"now": now})
        self.now = max(self.now, now)
        self._close_what_is_whole()
        self._judge_orders(self.now, patience=self.timing.wait_bars)
        self._cycle_by_the_clock()
        self._go_on()
        self._flush()

    def executed(self, fill: Fill) -> None:
        """An order was filled, or the exchange closed something on its own."""
        self.tape.input(
            "fill",
            {
                "slot": fill.slot,
                "record": record_of(fill.record),
                "entry": fill.is_entry,
                "leg": fill.is_leg,
                "ends": fill.ends_order,
            },
        )
        self.venue.filled(fill)
        self.session.collect()
        if not self.shown:  # else what follows comes with `settle`
            if not fill.is_entry:
                self.session.run_cycles(fill.slot, once=False)
            self._go_on()
        self._flush()

    def ended(self, end: OrderEnd) -> None:
        """Nothing more of an order is waited for: it has ended, or stands in the book."""
        body = {"slot": end.slot, "entry": end.is_entry, "why": end.why}
        self.tape.input("end", {**body, "stands": end.stands, "frees": end.frees_slot, "ts": end.ts})
        self.venue.ended(end)
        self.session.collect()
        if not self.shown:
            self._go_on()
        self._flush()

    def withdraw(self, ts: int, slot: int) -> None:
        """A limit entry may not go on standing, for a reason outside the session."""
        self.tape.input("withdraw", {"ts": ts, "slot": slot})
        if has_entry_order_nb(self.session.positions[slot]):
            self.session.drop_order(slot, Rule.ORDER_ENDED, ts)
        self._flush()

    def paid(self, payment: FundingPayment) -> None:
        """Funding was charged to an open position."""
        body = {"slot": payment.slot, "ts": payment.ts, "rate": payment.rate, "mark": payment.mark}
        self.tape.input("funding", {**body, "amount": payment.amount})
        self.venue.paid(payment)
        self.session.collect_funding()
        self._flush()

    def moved(self, ts: int, amount: float, withdrawable: float = 0.0) -> None:
        """Money came (above 0) or went, or more of it, or less, may be used; never profit or loss."""
        self.tape.input("transfer", {"ts": ts, "amount": amount, "withdrawable": withdrawable})
        row = np.zeros(1, transfer_dt)
        row["due"] = row["ts"] = ts
        row["amount"] = row["moved"] = amount
        row["withdrawable"] = withdrawable
        self.venue.moved(Transfer(row))
        self.session.collect_transfers()
        self._flush()

    def health(self, health: Health) -> None:
        """The program's health: CRITICAL stops entries, nothing stops exits."""
        self.tape.input("health", {"health": int(health)})
        self.session.set_health(int(health))
        self._flush()

    def stop_moved(self, slot: int, price: float) -> None:
        """The hard stop of a position rests at this price; NaN: none rests."""
        self.tape.input("stop", {"slot": slot, "price": price})
        if self.session.is_open(slot):
            self.session.positions[slot]["hard_price"] = price

    def resume(self, ts: int, symbol: str = "") -> None:
        """A person clears a shutdown and a pause, or a symbol's blacklist and disabling; a shutdown re-bases."""
        self.tape.input("resume", {"ts": ts, "symbol": symbol})
        session = self.session
        if symbol:
            stats = session.stats[self.symbols.index(symbol)]
            stats["blacklisted_at"] = stats["disabled_until"] = NEVER
            stats["losing_streak"] = 0
            return
        governor = session.governor[0]
        if governor["resume_at"] != NEVER:
            governor["resume_at"] = ts
        if governor["paused_until"] != NEVER:
            governor["paused_until"] = ts
        session.evaluate(ts)
        self._flush()

    def close_all(self, ts: int) -> None:
        """A person wants everything closed, at the next point of each symbol."""
        self.tape.input("close_all", {"ts": ts})
        for i in range(len(self.session.positions)):
            if self.session.can_judge(i) and not self.session.busy[i]:
                self.session.close_position(i, Reason.GOVERNOR)
        order_positions_nb(self.session.positions, GovernorOrder.CLOSE.value, ts - 1)
        self._flush()

    def adopt(self, slot: int, position: Mapping[str, Any]) -> None:
        """A position that the exchange holds and this session does not know: state rebuilt by `recovery`."""
        self.tape.input("adopt", {"slot": slot, "position": dict(position)})
        row = self.session.positions[slot : slot + 1]
        for name, value in position.items():
            row[name] = value
        self._flush()

    # what follows from them ------------------------------------------------------------------------------------------

    def _close_what_is_whole(self) -> None:
        for close in sorted(self.closing):
            closing = self.closing[close]
            is_whole = len(closing.bars) == len(self.symbols)
            if not is_whole and self.now - closing.since <= self.timing.wait_bars:
                return  # a later close waits for the earlier one
            del self.closing[close]
            self._close(close, closing.bars)

    def _close(self, close: int, bars: Mapping[str, Bar]) -> None:
        """Steps 3 and 4: equity marked and judged, then what the bars show becomes known."""
        session = self.session
        self.last_closed = close
        self._finish_instant()
        session.mark(close)
        session.judge_account(close)
        for symbol, bar in bars.items():
            self.source.add(symbol, bar)
        known = self.source.ask(sorted(bars))
        session.closes, session.spans, session.regime_ns = known.closes, known.spans, known.regime_ns
        session.show_closes(close)
        for _, answer in sorted(known.signals.items()):
            self.tape.decision(SIGNALS, answer)
        for i in range(len(session.positions)):
            session.judge_order(i, has_ended=False, ts=close)
            symbol = self.symbols[session.symbol_of(i)]
            if symbol not in bars:
                continue
            self._drop_pending(i, Rule.EXPIRED, close)
            row = known.signals[symbol][0]
            session.close_bar(i, row, close)
            self.pending[i] = Pending(int(session.bar_index[i]), row, close)
            session.bar_index[i] += 1
        self.fresh -= set(bars)

    def _drop_pending(self, i: int, rule: Rule, ts: int) -> None:
        waiting = self.pending.pop(i, None)
        if waiting is not None and self.session.request(i, waiting.row) != 0:
            self.session.deny_request(i, waiting.bar, waiting.row, rule, ts)

    def _go_on(self) -> None:
        """What waited for orders, then the governor, then the signals whose symbols have all shown a price."""
        session = self.session
        session.go_on()
        if not self.is_idle:
            self._give_up_waiting()
            return
        self.waiting_since = NEVER
        self._finish_instant()
        self._act_on_signals()

    def _give_up_waiting(self) -> None:
        if self.session.signalled is None and self.session.ranking is None:
            return
        if self.waiting_since == NEVER:
            self.waiting_since = self.now
        if self.now - self.waiting_since > self.timing.wait_bars:
            self.session.give_up(Rule.EXPIRED, self.now)
            self.waiting_since = NEVER

    def _finish_instant(self) -> None:
        if self.instant != NEVER:
            self.session.evaluate(self.instant)
            self._judge_orders(self.instant)
            self.instant = NEVER

    def _judge_orders(self, ts: int, *, patience: int = 0) -> None:
        """End the limit entries that may not go on. patience: ns that the bar with which one times out may be late."""
        for i in np.flatnonzero(self.session.positions["working"]):
            until = int(self.session.positions[i]["order_until"])
            if not ts - patience < until <= ts:
                self.session.judge_order(int(i), has_ended=False, ts=ts)

    def _act_on_signals(self) -> None:
        if not self.pending:
            return
        symbols = {self.symbols[self.session.symbol_of(i)] for i in self.pending}
        waited = self.now - max(waiting.closed for waiting in self.pending.values())
        if not symbols <= self.fresh and waited <= self.timing.wait_bars:
            return
        for i in sorted(self.pending):
            if self.now - self.pending[i].closed > self.timing.timeframe:
                self._drop_pending(i, Rule.EXPIRED, self.now)
        ready = [i for i in sorted(self.pending) if self.symbols[self.session.symbol_of(i)] in self.fresh]
        if not ready:
            return
        waiting = {i: self.pending.pop(i) for i in ready}
        self.session.decide_on_signals({i: (one.bar, one.row) for i, one in waiting.items()}, [], [], self.now)
        if not self.is_idle:
            self.waiting_since = self.now

    def _cycle_by_the_clock(self) -> None:
        """A cycle of every open position at each multiple of the check interval, at the last price."""
        interval = self.timing.check_interval
        if self.now // interval == self.last_cycle // interval:
            return
        self.last_cycle = self.now
        session = self.session
        by_interval = Monitoring(int(session.params["exit"]["monitoring"])) == Monitoring.INTERVAL
        for i in range(len(session.positions)):
            if not session.is_open(i) or np.isnan(session.points[i]["price"]):
                continue
            point = session.points[i]
            if int(point["ts"]) >= self.now:
                continue  # judged at this price already
            session.observe(i, self.now, float(point["price"]), float(point["mark"]))
            session.run_cycles(i, once=by_interval)
        session.evaluate(self.now)

    def _flush(self) -> None:
        """Hand on what the session wrote, and forget it."""
        if not any(self.session.journal.rows.values()):
            return
        for kind, rows in self.session.journal.rows.items():
            for row in rows:
                self.tape.decision(kind, row)
                self.on_rows(kind, row)
        self.session.journal.cut(dict.fromkeys(KINDS, 0))


def fill_of(body: Mapping[str, Any]) -> Fill:
    """The fill of an input of a tape."""
    record = filled(np.zeros(1, fill_row_dt), body["record"])
    return Fill(body["slot"], record, body["entry"], body["leg"], body["ends"])
