"""The reference backtest: the plain session and SimBroker, one event at a time, in the specification's order.

Slow and obvious. The compiled loop must equal it byte for byte; `qtsim backtest --verify` shows that it does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qtsim.core.accounting import trade_equity_nb
from qtsim.core.cross_margin import is_account_liquidated_nb
from qtsim.core.enums import (
    EndOfData,
    FillAt,
    FundingInclusive,
    Monitoring,
    PathModel,
    Reason,
    Rule,
    SizingModel,
)
from qtsim.core.exit_brain import exchange_band_nb
from qtsim.core.exit_policies import is_replan_due_nb
from qtsim.core.guards import is_stale_nb
from qtsim.core.orders import is_working_nb, next_arrival_nb, waits_unfilled_nb
from qtsim.core.records import Record, Records
from qtsim.core.safety_governor import has_order_nb
from qtsim.core.slots import slots_per_symbol_nb
from qtsim.sim.broker import SimBroker
from qtsim.sim.fills import order_band_nb, room_lots_nb
from qtsim.sim.market import Floats, Market, new_agent, new_book, new_journal, new_spans, no_draws, tape_of
from qtsim.sim.paths import (
    SEGMENTS,
    crossing_nb,
    is_high_nearer_nb,
    next_multiple_nb,
    on_segment_nb,
    segment_time_nb,
    unfold_bar_nb,
)
from qtsim.sim.teaching import replay_nb
from qtsim.sim.trades import TradeChunk, with_chunk
from qtsim.sim.walk import exit_state_nb, order_may_act_nb
from qtsim.trading.learner import Learner, Request
from qtsim.trading.session import Session

DAY_NS = 86_400_000_000_000
ExitState = tuple[float, float, float, float, float, float, float, float]
EXCHANGE_RANK, ARRIVAL_RANK, CYCLE_RANK = range(3)
"""Order of events at one time."""


@dataclass
class BarPath:
    """The path of the bar that a slot's symbol is in."""

    row: int
    prices: Records
    marks: Records
    share: float = 0.0
    next_cycle: int = 0


@dataclass(frozen=True)
class Event:
    """Something that happens on the way to the next point; sorts by time, then exchange before cycle, then name."""

    ts: int
    rank: int
    slot: int
    share: float
    price: float
    mark: float

    def key(self) -> tuple[int, int, int]:
        """Order of events."""
        return (self.ts, self.rank, self.slot)


class FirstPoint(NamedTuple):
    """The open of a bar, or a trade."""

    ts: int
    price: float
    mark: float
    qty: float  # of the whole bar
    half_spread: float


class ReferenceBacktest:
    """Drives a Session with a SimBroker over a Market. `i` is a slot of the session."""

    def __init__(
        self,
        market: Market,
        params: Records,
        balance: float,
        *,
        diagnose: bool = False,
        agent: Records | None = None,
        draws: Floats | None = None,
    ) -> None:
        self.market = market
        self.params: Record = params[0]
        self.diagnose = diagnose
        width = slots_per_symbol_nb(params[0])
        self.n = len(market.instruments) * width
        self.sides_of_symbol = [list(range(k, k + width)) for k in range(0, self.n, width)]
        self.bars_first, self.bars_end = (
            [int(x) for x in np.repeat(ends, width)] for ends in (market.bar_offsets[:-1], market.bar_offsets[1:])
        )
        self.funding_first, self.funding_end = (
            [int(x) for x in np.repeat(ends, width)]
            for ends in (market.funding_offsets[:-1], market.funding_offsets[1:])
        )
        self.ends = [bool(x) for x in np.repeat(market.ends, width)]
        self.has_mark = [bool(x) for x in np.repeat(market.has_mark, width)]
        spans = new_spans(market, width)
        self.agent = new_agent() if agent is None else agent.copy()
        learner = None
        if self.params["sizing"]["model"] == SizingModel.RL:
            learner = Learner(
                self.agent,
                no_draws() if draws is None else draws,
                self.n,
                params,
                teacher=self._replay,
                instant_is_known=self.params["sim"]["fill_at"] != FillAt.CLOSE,
            )
        instruments, closes = market.instruments, market.closes
        self.session = Session(instruments, params, balance, closes, spans, market.regime_ns, learner=learner)
        self.tape = tape_of(market, width)
        self.trial_journal = new_journal(market, 1, keep=False, width=width)
        self.next_outage = 0
        self.next_transfer = 0
        self.broker = SimBroker(self.session, market.timeframe_ns)
        self.session.connect(self.broker)
        self.paths: dict[int, BarPath] = {}
        self.next_bar = list(self.bars_first)
        self.signals_first, self.signals_end = (
            [int(x) for x in np.repeat(ends, width)] for ends in (market.signal_offsets[:-1], market.signal_offsets[1:])
        )
        self.next_signal = list(self.signals_first)
        self.session.bar_index[:] = 0
        start = int(market.boundaries[0]) if len(market.boundaries) else 0
        self.next_funding = [
            next(
                (row for row in self._funding_rows(i) if int(market.funding[row]["ts"]) >= start),
                self.funding_end[i],
            )
            for i in range(self.n)
        ]
        self.pending: dict[int, int] = {}
        self.pending_at_end = 0
        self.monitoring = Monitoring(int(self.params["exit"]["monitoring"]))
        self.interval_ns = int(float(self.params["exit"]["check_interval_s"]) * 1e9)
        self.end_of_data = EndOfData(int(self.params["sim"]["end_of_data"]))
        self.fill_at = FillAt(int(self.params["sim"]["fill_at"]))
        self.path_model = PathModel(int(self.params["sim"]["path"]))
        self.both_ends = self.params["costs"]["funding_inclusive"] == FundingInclusive.BOTH

    # the order of events ---------------------------------------------------------------------------------------------

    def run(self, start: int = 0, stop: int | None = None) -> None:
        """Run boundaries [start, stop); all by default."""
        boundaries = [int(ts) for ts in self.market.boundaries]
        end = len(boundaries) if stop is None else min(stop, len(boundaries))
        for b in range(start, end):
            ts = boundaries[b]
            self._end_data()  # 1, its last point was settled by the walk
            self._charge_boundary_funding(range(self.n), ts)  # 2
            self._obey_outages(ts)
            if self.market.marked[b] == 1:
                self._move_money(ts)
                self.session.mark(ts)  # 3
                self.session.judge_account(ts)
            self.session.show_closes(ts)  # 4
            if self.fill_at == FillAt.CLOSE:
                self._act_at_close(ts)
            self._close_bars(ts)
            self._open_bars(ts)  # 5
            self._expire_signals(ts)
            is_last = b + 1 == len(boundaries) or boundaries[b + 1] > ts or self.monitoring != Monitoring.INTERVAL
            looks = self._looks_at(ts) and is_last
            self._settle(sorted(self.paths), ts, cycles=looks)
            if self._evaluates_at_open(looks=looks):
                self.session.evaluate(ts)
            self._act_on_signals(ts)  # 6 and 7
            is_first = b == 0 or boundaries[b - 1] < ts
            if self.both_ends and is_first:  # of several trades of one instant entries are made at the first
                self._charge_entries(ts)
            if b + 1 == len(boundaries) and self.fill_at == FillAt.CLOSE:
                self.session.mark(ts, again=True)  # nothing follows that would show what was done at the last close
            if b + 1 < len(boundaries):
                self._walk(ts, boundaries[b + 1])
        if end == len(boundaries):
            self.pending_at_end = sum(
                self.session.request(i, self.market.signals[row]) != 0 for i, row in self.pending.items()
            )
            self.pending_at_end += sum(bool(waits_unfilled_nb(position)) for position in self.session.positions)

    def feed(self, chunk: TradeChunk) -> None:
        """Run the trades of a chunk, up to where the next one begins."""
        at_end = [i for i, path in self.paths.items() if self._is_last(i, path.row)]
        self.market = with_chunk(self.market, chunk)
        width = self.session.width
        self.bars_first, self.bars_end = (
            [int(x) for x in np.repeat(ends, width)] for ends in (chunk.offsets[:-1], chunk.offsets[1:])
        )
        self.next_bar = list(self.bars_first)
        self.ends = [bool(x) for x in np.repeat(chunk.ends, width)]
        # a symbol whose last trade the chunk before had still ends with it, at the next boundary
        self.paths = {i: BarPath(self.bars_end[i], np.zeros(4), np.zeros(4)) for i in at_end}
        self.run(0, len(chunk.boundaries) - (0 if chunk.is_last else 1))

    def _move_money(self, ts: int) -> None:
        transfers = self.market.transfers
        while self.next_transfer < len(transfers) and transfers[self.next_transfer]["due"] <= ts:
            self.broker.transfer(transfers[self.next_transfer], ts)
            self.next_transfer += 1

    def _obey_outages(self, ts: int) -> None:
        outages = self.market.outages
        while self.next_outage < len(outages) and outages[self.next_outage]["ts"] <= ts:
            outage = outages[self.next_outage]
            self.session.set_health(int(outage["health"]), blind=bool(outage["blind"]))
            self.next_outage += 1
            if not self.session.is_blind:
                self.broker.place_missing_stops(ts)

    def _end_data(self) -> None:
        if self.end_of_data != EndOfData.CLOSE:
            return
        for i in sorted(self.paths):
            if self._is_last(i, self.paths[i].row) and self.session.can_judge(i):
                self.session.close_position(i, Reason.END_OF_DATA)

    def _charge_boundary_funding(self, symbols: Iterable[int], ts: int) -> None:
        for i in symbols:
            mark = float(self.session.points[i]["mark"])
            if self.has_mark[i] and self._opens_at(i, ts):
                opened = self._first(self.next_bar[i]).mark
                mark = mark if math.isnan(opened) else opened
            self._charge_due(i, ts, mark)

    def _act_at_close(self, ts: int) -> None:
        closed = {i: known[0] for i in self.paths if (known := self._closed_signals(i, ts))}
        for i, row in closed.items():
            self.session.close_bar(i, self.market.signals[row], ts)
        may_last = self.end_of_data == EndOfData.OPEN
        rows = {i: row for i, row in closed.items() if may_last or not self._is_last(i, self.paths[i].row)}
        self._decide(rows, ts)

    def _close_bars(self, ts: int) -> None:
        closed = set(self.paths)
        self.paths.clear()
        for i in range(self.n):
            ends = self._has_ended(i) and self.end_of_data != EndOfData.OPEN
            self.session.judge_order(i, has_ended=ends, ts=ts)
            for row in self._closed_signals(i, ts):
                self._drop_pending(i, Rule.EXPIRED, ts)
                self.session.close_bar(i, self.market.signals[row], ts)
                self.next_signal[i] += 1
                self.session.bar_index[i] += 1
                self.pending[i] = row
            if ends:
                self._drop_pending(i, Rule.END_OF_DATA, ts)
            if self.fill_at == FillAt.CLOSE:
                # it has acted at its bar's own close, or there was no price at that time
                if i in closed:
                    self.pending.pop(i, None)
                self._drop_pending(i, Rule.EXPIRED, ts)

    def _closed_signals(self, i: int, ts: int) -> list[int]:
        """Rows of the signals, not yet known, whose bars have closed by `ts`."""
        rows = range(self.next_signal[i], self.signals_end[i])
        return list(itertools.takewhile(lambda row: self.market.signals[row]["ts_close"] <= ts, rows))

    def _drop_pending(self, i: int, rule: Rule, ts: int) -> None:
        """Give up the signal that waits for a price, and count what it asked for."""
        if i not in self.pending:
            return
        row = self.pending.pop(i)
        signal = self.market.signals[row]
        if self.session.request(i, signal) != 0:
            self.session.deny_request(i, self._relative(i, row), signal, rule, ts)

    def _open_bars(self, ts: int) -> None:
        for i in range(self.n):
            row = self.next_bar[i]
            if not self._opens_at(i, ts):
                continue
            self.next_bar[i] += 1
            self.paths[i] = BarPath(row, np.zeros(4), np.zeros(4))
            first = self._first(row)
            mark = first.mark if self.has_mark[i] else first.price
            room = room_lots_nb(first.qty, self.session.instruments[i], self.params["sim"])
            self.session.open_bar(i, ts, first.price, mark, first.half_spread, int(room))

    def _expire_signals(self, ts: int) -> None:
        for i in sorted(set(self.pending) & set(self.paths)):
            if ts - int(self.market.signals[self.pending[i]]["ts_close"]) > self.market.timeframe_ns:
                self._drop_pending(i, Rule.EXPIRED, ts)

    def _act_on_signals(self, ts: int) -> None:
        rows = {i: self.pending.pop(i) for i in sorted(set(self.pending) & set(self.paths))}
        self._decide(rows, ts)

    def _decide(self, rows: dict[int, int], ts: int) -> None:
        ending: list[int] = []
        if self.end_of_data == EndOfData.LAST_OPEN:
            ending = [i for i in sorted(self.paths) if self._is_last(i, self.paths[i].row)]
        signals = {i: (self._relative(i, row), self.market.signals[row]) for i, row in rows.items()}
        if self.session.is_blind:
            for i, (bar, signal) in sorted(signals.items()):
                if self.session.request(i, signal) != 0:
                    self.session.deny_request(i, bar, signal, Rule.NOT_RUNNING, ts)
            self.session.obey_signals({}, ending, ts)  # the data end all the same
            return
        held = self.session.obey_signals(signals, ending, ts)
        self.broker.continue_orders(sorted(self.paths))
        for i in [i for i in signals if i not in ending and self._waits_for_exit(i, signals[i][1])]:
            self.pending[i] = rows[i]
            del signals[i]
        self.session.enter_on_signals(signals, held, ending, ts)

    def _waits_for_exit(self, i: int, signal: Record) -> bool:
        """Does a request wait for the fill that makes its slot free?"""
        return self.session.request(i, signal) != 0 and self.session.waits_for_exit(i)

    def _charge_entries(self, ts: int) -> None:
        for i in range(self.n):
            row = self.next_funding[i] - 1
            if row < self.funding_first[i] or int(self.market.funding[row]["ts"]) != ts:
                continue
            if self.session.is_open(i) and int(self.session.positions[i]["entry_ts"]) == ts:
                self._charge(i, row, float(self.session.points[i]["mark"]))

    def _replay(self, request: Request, action: int) -> tuple[int, float]:
        """(exit time, reward) of a request under another action, in a book of its own."""
        i, session = request.symbol, self.session
        book = new_book(self.market, 0.0, self.session.width)
        book.account[0] = session.account[0]
        book.points[i] = session.points[i]
        book.slots[i]["bar"] = self.paths[i].row
        book.slots[i]["next_bar"] = self.next_bar[i]
        book.slots[i]["next_signal"] = self.next_signal[i]
        book.slots[i]["next_funding"] = self.next_funding[i]
        return replay_nb(
            self.tape,
            book,
            self.trial_journal,
            i,
            request.side,
            self.signals_first[i] + request.bar,
            action,
            request.ts,
            request.equity,
            request.margin_used,
            request.available,
            session.crowd[0],
            session.governor[0],
            session.stats[session.symbol_of(i)],
            self.params,
        )

    # the path --------------------------------------------------------------------------------------------------------

    def _wait_for_trade(self, ts: int, next_ts: int) -> None:
        """Between two trades: funding at its time, and the cycles that the clock asks for, at the last prices."""
        by_clock = self.monitoring == Monitoring.INTERVAL and not self.session.is_blind
        now = ts
        while True:
            due = min((t for i in range(self.n) for t in self._funding_times(i, next_ts)), default=next_ts)
            is_open = any(self.session.is_open(i) for i in range(self.n))
            cycle = int(next_multiple_nb(now, self.interval_ns)) if by_clock and is_open else next_ts
            if min(due, cycle) >= next_ts:
                return
            if due <= cycle:
                self._charge_all(range(self.n), due)
            if cycle <= due:
                now = cycle
                for i in range(self.n):
                    if self.session.is_open(i):
                        point = self.session.points[i]
                        self.session.observe(i, now, float(point["price"]), float(point["mark"]))
                        self.session.run_cycles(i, once=True)
                self.session.evaluate(now)

    def _walk(self, ts: int, next_ts: int) -> None:
        if self.market.path_ns == 0:
            self._wait_for_trade(ts, next_ts)
            return
        if not self.paths:
            for due in sorted({t for i in range(self.n) for t in self._funding_times(i, next_ts)}):
                self._charge_all(range(self.n), due)
            return
        for slots in self.sides_of_symbol:
            if slots[0] in self.paths:
                self._choose_path(slots, ts, next_ts)
        self._walk_bars(range(self.n), ts, next_ts)

    def _choose_path(self, slots: list[int], ts: int, close: int) -> None:
        """One order of the extremes for all slots of a symbol."""
        high_first = bool(is_high_nearer_nb(self.market.bars[self.paths[slots[0]].row]))
        asks = self.path_model != PathModel.NEAREST or self.diagnose
        if asks and any(self._bar_may_act(i, close) for i in slots):
            low, low_states = self._try_path(slots, False, ts, close)
            high, high_states = self._try_path(slots, True, ts, close)
            doubted = [i for i in slots if low_states[i] != high_states[i]]
            self.session.positions["path_doubt"][doubted] = 1
            if doubted:
                self._doubt_bar(slots[0])
            if self.path_model == PathModel.ADVERSE:
                high_first = high < low
            elif self.path_model == PathModel.FAVOURABLE:
                high_first = high > low
        elif self.path_model != PathModel.NEAREST:
            high_first = False
        self._unfold(slots, high_first)

    def _doubt_bar(self, i: int) -> None:
        """Note that the order of the extremes of a symbol's bar matters."""
        self.session.counts["ambiguous_bars"] += 1
        bar, row = self.market.bars[self.paths[i].row], self.session.journal.new("doubts")
        row["ts"], row["length"], row["symbol"] = bar["ts_open"], bar["length"], self.session.symbol_of(i)
        self.session.journal.keep("doubts", row)

    def _bar_may_act(self, i: int, close: int) -> bool:
        position = self.session.positions[i]
        if order_may_act_nb(position, self.market.bars[self.paths[i].row], close):
            return True
        if not self.session.is_open(i):
            return False
        if position["trail_active"] == 1 or is_stale_nb(position, close) or self._funding_times(i, close):
            return True
        if has_order_nb(position) or self._account_may_fall(i):
            return True
        if is_replan_due_nb(position, self.session.points[i], self.params):
            return True
        bar = self.market.bars[self.paths[i].row]
        last_below, last_above, mark_below, mark_above = self.session.nearest_triggers(i)
        if bar["low"] <= last_below or bar["high"] >= last_above:
            return True
        prefix = "mark_" if self.has_mark[i] else ""
        return bool(bar[prefix + "low"] <= mark_below or bar[prefix + "high"] >= mark_above)

    def _account_may_fall(self, i: int) -> bool:
        """Cross margin: could the account be liquidated at an extreme of this bar, all else as at the open?"""
        if not self.broker.is_cross:
            return False
        session, bar = self.session, self.market.bars[self.paths[i].row]
        prefix = "mark_" if self.has_mark[i] else ""
        for name in ("low", "high"):
            points = session.points.copy()
            points[i]["mark"] = bar[prefix + name]
            if is_account_liquidated_nb(session.account[0], session.positions, points, session.instruments):
                return True
        return False

    def _try_path(self, slots: list[int], high_first: bool, ts: int, close: int) -> tuple[float, dict[int, ExitState]]:
        """Equity of the open trades and exit states at the close in one order; everything is put back afterwards."""
        kept = self._snapshot()
        held = [i for i in slots if self.session.is_open(i)]
        waiting = [i for i in slots if i not in held and waits_unfilled_nb(self.session.positions[i])]
        self.session.is_trial = True
        self._unfold(slots, high_first)
        self._walk_bars(slots, ts, close)
        self.session.is_trial = False
        positions, points = self.session.positions, self.session.points
        held = sorted([*held, *(i for i in waiting if positions[i]["order_filled"] > 0)])
        equity = sum((trade_equity_nb(positions[i], float(points[i]["mark"])) for i in held), start=0.0)
        states = {i: exit_state_nb(positions[i]) for i in slots}
        self._restore(kept)
        return equity, states

    def _snapshot(self) -> dict[str, Any]:
        session = self.session
        return {
            "arrays": [array.copy() for array in self._arrays()],
            "journal": session.journal.lengths(),
            "counts": session.counts.copy(),
            "next_funding": list(self.next_funding),
            "paths": {i: (path.share, path.next_cycle) for i, path in self.paths.items()},
        }

    def _restore(self, kept: dict[str, Any]) -> None:
        for array, copy in zip(self._arrays(), kept["arrays"], strict=True):
            array[:] = copy
        self.session.journal.cut(kept["journal"])
        self.session.counts = kept["counts"]
        self.next_funding = kept["next_funding"]
        for i, (share, next_cycle) in kept["paths"].items():
            self.paths[i].share = share
            self.paths[i].next_cycle = next_cycle

    def _arrays(self) -> list[Records]:
        session = self.session
        return [
            session.account,
            session.positions,
            session.points,
            session.last_exit_bar,
            self.broker.stops,
        ]

    def _unfold(self, slots: list[int], high_first: bool) -> None:
        for i in slots:
            path = self.paths[i]
            unfold_bar_nb(self.market.bars[path.row], high_first, self.has_mark[i], path.prices, path.marks)

    def _walk_bars(self, symbols: Any, ts: int, close: int) -> None:
        length = close - ts
        for i in symbols:
            if i in self.paths:
                self.paths[i].next_cycle = next_multiple_nb(ts, self.interval_ns)
        for segment in range(SEGMENTS):
            start, end = segment_time_nb(ts, length, segment), segment_time_nb(ts, length, segment + 1)
            self._walk_segment(list(symbols), segment, start, end, close)

    def _walk_segment(self, symbols: list[int], segment: int, start: int, end: int, close: int) -> None:
        walking = [i for i in symbols if i in self.paths]
        for i in walking:
            self.paths[i].share = 0.0
        stops = sorted({t for i in symbols for t in self._funding_times(i, close) if t <= end} | {end})
        for horizon in stops:
            if self.monitoring != Monitoring.POINTS:
                while event := self._next_event(walking, segment, start, end, horizon, close):
                    self._fire(event, walking, segment)
            share = (horizon - start) / (end - start)
            for i in walking:
                self._stand_at(i, segment, share, horizon)
            if horizon == close and self.both_ends:
                self._charge_boundary_funding(walking, close)  # before what the last point closes
            if horizon == end:
                self._settle(walking, end, cycles=self.monitoring != Monitoring.INTERVAL)
                if self.monitoring == Monitoring.POINTS:
                    self.session.evaluate(end)
                # whether a bar follows is not known yet where the order of this one is chosen
                if self.monitoring == Monitoring.INTERVAL and end == close and not self.session.is_trial:
                    self._look_at_last_close(walking, close)
            if horizon < close:
                self._charge_all(symbols, horizon)

    def _look_at_last_close(self, walking: list[int], close: int) -> None:
        """An interval cycle due at the close of a bar that no other follows at once."""
        for i in walking:
            if self.paths[i].next_cycle == close and not self._opens_at(i, close):
                self.session.run_cycles(i, once=True)

    def _stand_at(self, i: int, segment: int, share: float, ts: int) -> None:
        path = self.paths[i]
        path.share = share
        price = on_segment_nb(float(path.prices[segment]), float(path.prices[segment + 1]), share)
        mark = on_segment_nb(float(path.marks[segment]), float(path.marks[segment + 1]), share)
        self.session.observe(i, ts, price, mark)

    def _next_event(
        self, walking: list[int], segment: int, start: int, end: int, horizon: int, close: int
    ) -> Event | None:
        events: list[Event] = []
        waits_for_funding = horizon == close and self.both_ends
        for i in walking:
            if not self._is_active(i):
                continue
            trigger = self._next_trigger(i, segment, start, end)
            is_reached = trigger is not None and trigger.share <= (horizon - start) / (end - start)
            if trigger is not None and is_reached and not (waits_for_funding and trigger.share == 1.0):
                events.append(trigger)
            arrival = self._arrival(i, segment, start, end)
            if arrival is not None and arrival.ts <= horizon:
                events.append(arrival)
            cycle = self.paths[i].next_cycle
            has_cycles = self.monitoring == Monitoring.INTERVAL and not self.session.is_blind
            has_cycles &= self.session.is_open(i)
            if has_cycles and cycle <= horizon and cycle < close:
                share = (cycle - start) / (end - start)
                path = self.paths[i]
                price = on_segment_nb(float(path.prices[segment]), float(path.prices[segment + 1]), share)
                mark = on_segment_nb(float(path.marks[segment]), float(path.marks[segment + 1]), share)
                events.append(Event(cycle, CYCLE_RANK, i, share, price, mark))
        return min(events, key=Event.key, default=None)

    def _arrival(self, i: int, segment: int, start: int, end: int) -> Event | None:
        """The next order of the slot to reach the exchange on this segment, where there is a price for it to meet."""
        ts = int(next_arrival_nb(self.session.positions[i]))
        path = self.paths[i]
        p0, p1 = float(path.prices[segment]), float(path.prices[segment + 1])
        m0, m1 = float(path.marks[segment]), float(path.marks[segment + 1])
        if not start < ts < end or math.isnan(p1) or math.isnan(m1) or math.isnan(self.session.points[i]["price"]):
            return None
        share = (ts - start) / (end - start)
        return Event(ts, ARRIVAL_RANK, i, share, on_segment_nb(p0, p1, share), on_segment_nb(m0, m1, share))

    def _next_trigger(self, i: int, segment: int, start: int, end: int) -> Event | None:
        """The first trigger that the rest of the segment reaches; one already met fires where the walk stands."""
        path = self.paths[i]
        price, mark = float(self.session.points[i]["price"]), float(self.session.points[i]["mark"])
        last_below, last_above, mark_below, mark_above = self._band(i)
        if math.isnan(price) or math.isnan(mark):
            return None
        if price <= last_below or price >= last_above or mark <= mark_below or mark >= mark_above:
            ts = start + math.floor((end - start) * path.share)
            return Event(ts, EXCHANGE_RANK, i, path.share, price, mark)
        p0, p1 = float(path.prices[segment]), float(path.prices[segment + 1])
        m0, m1 = float(path.marks[segment]), float(path.marks[segment + 1])
        if math.isnan(p1) or math.isnan(m1):
            return None
        on_last = [(crossing_nb(p0, p1, level), level) for level in _reached(p1, last_below, last_above)]
        on_mark = [(crossing_nb(m0, m1, level), level) for level in _reached(m1, mark_below, mark_above)]
        if not on_last and not on_mark:
            return None
        first = min(share for share, _ in on_last + on_mark)
        share = max(first, path.share)
        ts = start + math.floor((end - start) * share)
        if not self.has_mark[i]:
            level = (on_last if on_last and on_last[0][0] == first else on_mark)[0][1]
            return Event(ts, EXCHANGE_RANK, i, share, level, level)
        price = on_last[0][1] if on_last and on_last[0][0] <= share else on_segment_nb(p0, p1, share)
        mark = on_mark[0][1] if on_mark and on_mark[0][0] <= share else on_segment_nb(m0, m1, share)
        return Event(ts, EXCHANGE_RANK, i, share, price, mark)

    def _is_active(self, i: int) -> bool:
        """Is anything open, or does an order stand?"""
        return self.session.is_open(i) or bool(is_working_nb(self.session.positions[i]))

    def _band(self, i: int) -> tuple[float, float, float, float]:
        """What acts along the path: triggers of what is open, and of a limit entry that stands in the book."""
        below, above = order_band_nb(self.session.positions[i], self.session.points[i], self.params["sim"])
        if not self.session.is_open(i):
            return below, above, -math.inf, math.inf
        last_below, last_above, mark_below, mark_above = self._position_band(i)
        return max(last_below, below), min(last_above, above), mark_below, mark_above

    def _position_band(self, i: int) -> tuple[float, float, float, float]:
        if self.monitoring == Monitoring.CONTINUOUS and not self.session.is_blind:
            return self.session.nearest_triggers(i)
        return exchange_band_nb(self.broker.exchange_view(i)[0], self.params)

    def _fire(self, event: Event, walking: list[int], segment: int) -> None:
        i = event.slot
        path = self.paths[i]
        path.share = event.share
        self.session.observe(i, event.ts, event.price, event.mark)
        if self.broker.is_cross or event.rank == CYCLE_RANK:
            for other in walking:
                if other != i:
                    self._stand_at(other, segment, event.share, event.ts)
        if event.rank == ARRIVAL_RANK:
            if self.session.can_judge(i):
                self.session.remember_extremes(i)
            was_open = self.session.is_open(i)
            self.broker.arrive(i)
            if not was_open:
                self._begin_cycles(i, event.ts)
            return
        if event.rank == CYCLE_RANK:
            path.next_cycle = next_multiple_nb(event.ts, self.interval_ns)
            if self.session.can_judge(i):
                self.session.remember_extremes(i)
            self.broker.judge_margin(walking)
            self.session.run_cycles(i, once=True)
            self.session.evaluate(event.ts)
            return
        self.broker.act(i, Reason.LIQUIDATION)
        self.broker.judge_margin(walking)
        self.broker.act(i, Reason.HARD_STOP)
        was_open = self.session.is_open(i)
        self.broker.meet_order(i)
        if not was_open:
            self._begin_cycles(i, event.ts)
        if self.monitoring == Monitoring.CONTINUOUS and was_open:
            self.session.run_cycles(i, once=False)

    def _begin_cycles(self, i: int, ts: int) -> None:
        """Of a position opened at `ts` inside a bar the clock's first cycle is the next one."""
        self.paths[i].next_cycle = next_multiple_nb(ts, self.interval_ns)

    def _settle(self, symbols: list[int], ts: int, *, cycles: bool) -> None:
        """One point: liquidation of all symbols, then exchange stops of all, then exit cycles of all."""
        for i in symbols:
            self.broker.act(i, Reason.LIQUIDATION)
        self.broker.judge_margin(symbols)
        for i in symbols:
            self.broker.act(i, Reason.HARD_STOP)
        opened = [i for i in symbols if self.broker.meet_orders(i)]
        for i in opened:
            self._begin_cycles(i, ts)
        if cycles:
            once = self.monitoring == Monitoring.INTERVAL
            for i in range(self.n) if once and self.market.path_ns == 0 else symbols:
                if i in opened:
                    continue  # its first cycle is at the next point
                if i not in self.paths and self.session.is_open(i):
                    # between trades the last one's price stands, now
                    point = self.session.points[i]
                    self.session.observe(i, ts, float(point["price"]), float(point["mark"]))
                self.session.run_cycles(i, once=once)

    def _evaluates_at_open(self, *, looks: bool) -> bool:
        if self.monitoring == Monitoring.INTERVAL and self.market.path_ns == 0:
            return looks
        return self.monitoring != Monitoring.CONTINUOUS

    def _looks_at(self, ts: int) -> bool:
        return self.monitoring != Monitoring.INTERVAL or (ts % DAY_NS) % self.interval_ns == 0

    # funding and rows ------------------------------------------------------------------------------------------------

    def _funding_rows(self, i: int) -> range:
        return range(self.funding_first[i], self.funding_end[i])

    def _funding_times(self, i: int, before: int) -> list[int]:
        times: list[int] = []
        for row in range(self.next_funding[i], self.funding_end[i]):
            ts = int(self.market.funding[row]["ts"])
            if ts >= before:
                break
            times.append(ts)
        return times

    def _charge_all(self, symbols: Any, ts: int) -> None:
        for i in symbols:
            self._charge_due(i, ts, float(self.session.points[i]["mark"]))

    def _charge_due(self, i: int, ts: int, mark: float) -> None:
        while self.next_funding[i] < self.funding_end[i]:
            row = self.next_funding[i]
            if int(self.market.funding[row]["ts"]) > ts:
                return
            if int(self.session.positions[i]["entry_ts"]) < int(self.market.funding[row]["ts"]):
                self._charge(i, row, mark)
            self.next_funding[i] += 1

    def _charge(self, i: int, row: int, mark: float) -> None:
        event = self.market.funding[row]
        self.broker.charge(i, int(event["ts"]), float(event["rate"]), float(event["mark"]), mark)

    def _has_bar(self, i: int, row: int) -> bool:
        return row < self.bars_end[i]

    def _opens_at(self, i: int, ts: int) -> bool:
        """Does the symbol's next bar open at `ts`?"""
        row = self.next_bar[i]
        return self._has_bar(i, row) and self._first(row).ts == ts

    def _first(self, row: int) -> FirstPoint:
        """What the path shows first at a row of its bars or trades."""
        if self.market.path_ns > 0:
            bar = self.market.bars[row]
            names = ("open", "mark_open", "volume", "half_spread")
            return FirstPoint(int(bar["ts_open"]), *(float(bar[name]) for name in names))
        return FirstPoint(*(column[row].item() for column in self.market.trades))

    def _is_last(self, i: int, row: int) -> bool:
        return row >= self.bars_end[i] - 1 and bool(self.ends[i])

    def _has_ended(self, i: int) -> bool:
        """Has the symbol's last bar opened already?"""
        return self.next_bar[i] >= self.bars_end[i] and self.ends[i]

    def _relative(self, i: int, row: int) -> int:
        return row - self.signals_first[i]


def _reached(end: float, below: float, above: float) -> list[float]:
    """The level that a segment ending at `end` reaches, if any."""
    if end <= below:
        return [below]
    if end >= above:
        return [above]
    return []
