"""The mode-neutral trading session: observations in, decisions by the core, intents to a broker, fills applied.

The same class serves the reference backtest, paper and live trading. It knows neither bars' paths nor exchanges; it
never asks which mode it runs in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qtsim.core.accounting import (
    add_part_nb,
    apply_funding_nb,
    close_trade_nb,
    equity_nb,
    hit_leg_nb,
    initial_margin_nb,
    mark_to_market_nb,
    note_margin_use_nb,
    open_position_nb,
    reduce_position_nb,
    show_signal_nb,
    wait_for_volume_nb,
)
from qtsim.core.balancer import measure_correlation_nb, measure_crowd_nb, show_closes_nb
from qtsim.core.entry import judge_entry_nb, plan_entry_nb, size_entry_nb
from qtsim.core.enums import Action, Gate, GovernorOrder, Reason, Rule
from qtsim.core.exit_brain import apply_decision_nb, nearest_triggers_nb
from qtsim.core.gates import judge_again_nb
from qtsim.core.orders import (
    asks_otherwise_nb,
    end_order_nb,
    has_entry_order_nb,
    is_reversing_nb,
    leaves_whole_nb,
    limit_or_zero_nb,
    note_dropped_nb,
    travels_at_market_nb,
)
from qtsim.core.records import (
    EVALUATIONS_MAX,
    UNBOUND,
    Record,
    Records,
    account_dt,
    crowd_dt,
    evaluation_dt,
    exit_decision_dt,
    governor_dt,
    governor_row_dt,
    plan_dt,
    point_dt,
    position_dt,
    symbol_stats_dt,
)
from qtsim.core.safety_governor import (
    DAY_NS,
    begin_streak_day_nb,
    note_losing_fill_nb,
    note_trade_nb,
    order_newcomer_nb,
    order_positions_nb,
    order_rule_nb,
    reach_open_nb,
    reset_governor_nb,
)
from qtsim.core.signal_rules import ranks_before_nb, request_rule_nb, signal_exit_reason_nb
from qtsim.core.sizing import deny_unaffordable_nb
from qtsim.core.slots import NO_SLOT, held_before_nb, other_slot_nb, own_request_nb, slot_side_nb, slots_per_symbol_nb
from qtsim.core.stops import set_stop_prices_nb
from qtsim.core.symbol_stats import clear_blacklist_nb, note_symbol_trade_nb, reset_stats_nb
from qtsim.core.transfers import book_transfer_nb
from qtsim.trading.broker import Broker
from qtsim.trading.journal import SessionJournal
from qtsim.trading.learner import Learner, Request
from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, OrderEnd, StopIntent
from qtsim.trading.points import FLAT, UNPRICED, evaluate_account_nb, judge_slot_nb, remember_extremes_nb, see_point_nb

EVENTS_MAX = 16
"""More events than the governor can raise between two moments at which they are written down."""


@dataclass(frozen=True)
class Signalled:
    """Signals whose exits have been sent; the entries wait until those are confirmed."""

    signals: dict[int, tuple[int, Record]]
    held: dict[int, int]
    no_entry: Sequence[int]
    ts: int


@dataclass
class Ranking:
    """Candidates of one instant that have not been sent yet, by slot: the bar of the signal."""

    candidates: dict[int, int]
    balance: float
    ts: int


class Session:
    """One account, several symbols in name order, one broker.

    Positions are kept in slots, `i` throughout: one per symbol, or in hedge mode one per symbol and side.
    """

    def __init__(
        self,
        instruments: Records,
        params: Records,
        balance: float,
        closes: Records,
        spans: Records,
        regime_ns: int,
        *,
        learner: Learner | None = None,
    ) -> None:
        """instruments: instrument_dt, one per symbol; params: params_dt[1]; balance: starting wallet, quote.

        closes: close_dt, the bars of regime.timeframe of all symbols; spans: span_dt, where each slot's lie;
        regime_ns: their length; learner: the agent, where sizing model rl is chosen.
        """
        self.width = slots_per_symbol_nb(params[0])
        n = len(instruments) * self.width
        self.closes = closes
        self.spans = spans
        self.regime_ns = regime_ns
        self.governor = np.zeros(1, governor_dt)
        reset_governor_nb(self.governor[0])
        self.history = np.zeros(EVALUATIONS_MAX, evaluation_dt)
        self.events = np.zeros(EVENTS_MAX, governor_row_dt)
        self.stats = np.zeros(len(instruments), symbol_stats_dt)
        for row in self.stats:
            reset_stats_nb(row)
        self.crowd = np.zeros(1, crowd_dt)
        self.is_trial = False
        self.learner = learner
        self.instruments = np.repeat(instruments, self.width)
        self.params: Record = params[0]
        self._params = params  # as kernels take it that are called at every point
        self.has_gates = bool(params["gates"]["enabled"][0] == 1)  # gates and governor are on
        self.account = np.zeros(1, account_dt)
        self.account["wallet"] = balance
        self.account["initial_balance"] = balance
        self.account["min_margin_ratio"] = np.inf
        self.positions = np.zeros(n, position_dt)
        self.plans = np.zeros(n, plan_dt)
        self.points = np.zeros(n, point_dt)
        for field in ("price", "mark", "atr", "leader_24h", "thinness", "half_spread"):
            self.points[field] = np.nan
        self.points["room"] = UNBOUND
        self.bar_index: npt.NDArray[np.int64] = np.full(n, -1, dtype=np.int64)
        self.last_exit_bar: npt.NDArray[np.int64] = np.full(n, -1, dtype=np.int64)
        self.busy: npt.NDArray[np.bool_] = np.zeros(n, dtype=np.bool_)
        self.recalled: npt.NDArray[np.bool_] = np.zeros(n, dtype=np.bool_)
        """Slots whose limit entry has been called back, until the broker says that nothing more of it can be filled."""
        self.signalled: Signalled | None = None
        self.ranking: Ranking | None = None
        self.decision = np.zeros(1, exit_decision_dt)
        self.journal = SessionJournal()
        self.counts: Counter[str] = Counter()
        self.broker: Broker

    def connect(self, broker: Broker) -> None:
        """Choose who fills the orders, once, at composition."""
        self.broker = broker

    def symbol_of(self, i: int) -> int:
        """Index of a slot's symbol."""
        return i // self.width

    def request(self, i: int, signal: Record) -> int:
        """The side that a signal asks of a slot; 0 none."""
        return own_request_nb(slot_side_nb(i, self.width), signal)

    # observations ----------------------------------------------------------------------------------------------------

    def observe(self, i: int, ts: int, price: float, mark: float) -> None:
        """A price point of symbol `i`."""
        see_point_nb(self.points, i, ts, price, mark)

    def open_bar(self, i: int, ts: int, price: float, mark: float, half_spread: float, room: int = UNBOUND) -> None:
        """The first price point of a bar of symbol `i`, or a trade.

        half_spread: ratio; NaN without quotes. room: lots of it that orders may take.
        """
        self.observe(i, ts, price, mark)
        self.points[i]["half_spread"] = half_spread
        self.points[i]["room"] = room
        reach_open_nb(self.positions[i], ts)

    def close_bar(self, i: int, signal: Record, ts: int) -> None:
        """A bar ended at `ts`: what its close makes known is in force from the next point on."""
        show_signal_nb(self.points[i], signal, ts)

    def show_closes(self, ts: int) -> None:
        """Bars of the regime's timeframe that have closed by `ts` are known from now on."""
        show_closes_nb(self.closes, self.spans, ts)

    def is_open(self, i: int) -> bool:
        """Does symbol `i` hold a position?"""
        return bool(self.positions[i]["side"] != 0)

    def can_judge(self, i: int) -> bool:
        """Is there a position, and a price to judge it by? NaN prices are counted and skipped."""
        if not self.is_open(i):
            return False
        if np.isnan(self.points[i]["price"]) or np.isnan(self.points[i]["mark"]):
            self.counts["nan_points"] += 1
            return False
        return True

    def remember_extremes(self, i: int) -> None:
        """Best and worst price, distance to liquidation."""
        remember_extremes_nb(self.positions, self.points, i)

    def nearest_triggers(self, i: int) -> tuple[float, float, float, float]:
        """(last below, last above, mark below, mark above) of the open position."""
        return nearest_triggers_nb(self.positions[i], self.points[i], self.params)

    @property
    def waits_for_orders(self) -> bool:
        """Is an order under way, or has a limit entry been called back that could still be filled?"""
        return bool(self.busy.any() or self.recalled.any())

    # the Safety Governor ---------------------------------------------------------------------------------------------

    def set_health(self, health: int, *, blind: bool = False) -> None:
        """The program's health changed: it acts at once, its event is written with the next evaluation.

        blind: the program does not run; nothing is decided until it does again, and the exchange goes on.
        """
        self.governor["health"] = health
        self.governor["blind"] = int(blind)

    @property
    def is_blind(self) -> bool:
        """Does the program not run?"""
        return bool(self.governor[0]["blind"] == 1)

    def judge_account(self, ts: int) -> None:
        """At a boundary: the operator's clearing of symbols, then the evaluation of the equity."""
        if not self.has_gates:
            return
        for row in self.stats:
            clear_blacklist_nb(row, ts, float(self.params["governor"]["shutdown_operator_hours"]))
        self.evaluate(ts, at_boundary=True)

    def evaluate(self, ts: int, *, at_boundary: bool = False) -> None:
        """Let the governor evaluate the equity; a shutdown closes everything at the next points."""
        if self.is_trial or not self.has_gates or self.is_blind:
            return
        around = (self.account, self.positions, self.points, self.governor, self.history, self.events)
        if evaluate_account_nb(*around, ts, at_boundary, self._params):
            order_positions_nb(self.positions, GovernorOrder.CLOSE.value, ts)
        self._write_events()

    def _tell_governor(self, i: int, ts: int, *, lost: bool, is_flat: bool, pnl: float) -> None:
        """After a closing fill: equity, a losing fill, and the trade's net PnL once it is flat."""
        if self.is_trial or not self.has_gates:
            return
        governor = self.governor[0]
        self.evaluate(ts)
        if lost and not self.is_blind:
            note_losing_fill_nb(governor, self.history, self.events, ts, float(governor["equity"]), self.params)
        if is_flat:
            if self.is_blind:
                begin_streak_day_nb(governor, ts // DAY_NS)
            if note_trade_nb(governor, self.events, ts, pnl, self.params):
                order_positions_nb(self.positions, GovernorOrder.REDUCE.value, ts)
            note_symbol_trade_nb(self.stats[self.symbol_of(i)], ts, pnl, self.params["orchestrator"])
        self._write_events()

    def _write_events(self) -> None:
        count = int(self.governor[0]["n_events"])
        if count == 0:
            return
        for k in range(count):
            self.journal.keep("governor", self.events[k : k + 1])
        self.governor["n_events"] = 0

    # exit cycles -----------------------------------------------------------------------------------------------------

    def run_cycles(self, i: int, *, once: bool) -> None:
        """Cycles at the current point: one, or until HOLD_CURRENT, flat or an order that is not filled yet.

        None while the program does not run.
        """
        if self.is_blind:
            return
        while not self.busy[i]:
            action = judge_slot_nb(self.positions, self.points, self.instruments, self._params, self.decision, i)
            if action == FLAT:
                return
            if action == UNPRICED:
                self.counts["nan_points"] += 1
                return
            self.counts["cycles"] += 1
            if action == Action.HOLD_CURRENT:
                self.counts["holds"] += 1
                return
            self._obey(i, action)
            if once:
                return

    def _obey(self, i: int, action: int) -> None:
        """Write down a decision that is not HOLD_CURRENT, and carry it out."""
        position, decision = self.positions[i], self.decision[0]
        self._write_decision(i)
        apply_decision_nb(position, decision)
        is_leg = int(decision["leg"]) > 0
        if action == Action.PARTIAL_CLOSE and decision["lots"] == 0:
            hit_leg_nb(position, self.instruments[i], self.params)
            self._recall(i)
        elif action in (Action.PARTIAL_CLOSE, Action.FULL_EXIT_NOW):
            self._submit_exit(i, int(decision["reason"]), int(decision["lots"]), is_leg)

    def close_position(self, i: int, reason: int) -> None:
        """Close what is open for a reason outside the exit engine: a signal, a reversal, the end of data."""
        self._fill_in_decision(i, Action.FULL_EXIT_NOW, reason)
        self._write_decision(i)
        self._submit_exit(i, reason, int(self.positions[i]["lots"]), False)

    def _submit_exit(self, i: int, reason: int, lots: int, is_leg: bool) -> None:
        trade_id = int(self.positions[i]["trade_id"])
        self.busy[i] = True
        self.broker.submit(ExitIntent(i, trade_id, reason, lots, is_leg))
        self.collect()

    # signals and entries ---------------------------------------------------------------------------------------------

    def decide_on_signals(
        self, signals: dict[int, tuple[int, Record]], last_open: Sequence[int], no_entry: Sequence[int], ts: int
    ) -> None:
        """Signal exits, then entries. signals: slot → (bar index of the signal, its row).

        last_open: slots to close now because their data end; no_entry: slots that may not enter any more.
        """
        held = self.obey_signals(signals, last_open, ts)
        self.enter_on_signals(signals, held, no_entry, ts)

    def obey_signals(self, signals: dict[int, tuple[int, Record]], last_open: Sequence[int], ts: int) -> dict[int, int]:
        """Exits that signals or the end of the data ask for, and entry orders that end with them.

        Returns the side that each slot held before.
        """
        held = {i: int(self.positions[i]["side"]) for i in range(len(self.positions))}
        for i in sorted(set(last_open) | set(signals)):
            self._cancel_by_signal(i, signals, last_open)
            if held[i] == 0:
                continue
            reason = int(Reason.END_OF_DATA)
            if i not in last_open:
                on_opposite = int(self.params["exit"]["on_opposite_signal"])
                reason = signal_exit_reason_nb(self.positions[i], signals[i][1], on_opposite)
                if leaves_whole_nb(self.positions[i]):
                    continue  # all of it is on its way out
            if reason != Reason.NONE and not self.busy[i] and self.can_judge(i):
                self.close_position(i, reason)
        return held

    def waits_for_exit(self, i: int) -> bool:
        """Is the position that a request of the slot reverses still on its way out? The request waits for its fill."""
        other = other_slot_nb(i, self.width)
        slots = [i] if other == NO_SLOT else [i, other]
        return any(is_reversing_nb(self.positions[k]) for k in slots)

    def enter_on_signals(
        self, signals: dict[int, tuple[int, Record]], held: dict[int, int], no_entry: Sequence[int], ts: int
    ) -> None:
        """Pass every request through the approval chain and send what it lets through. held: sides before exits."""
        self.signalled = Signalled(signals, held, no_entry, ts)
        self.go_on()

    def go_on(self) -> None:
        """Plan and send what waits for orders that are under way; nothing while there are any."""
        if self.signalled is not None and not self.waits_for_orders:
            waiting, self.signalled = self.signalled, None
            candidates = self._plan_candidates(waiting.signals, waiting.held, waiting.no_entry, waiting.ts)
            balance = equity_nb(self.account[0], self.positions, self.points)
            self.ranking = Ranking(candidates, balance, waiting.ts)
        if self.ranking is not None:
            self._enter_candidates(self.ranking)

    def give_up(self, rule: Rule, ts: int) -> None:
        """Deny what waits for orders that take too long."""
        if self.signalled is not None:
            for i, (bar, signal) in sorted(self.signalled.signals.items()):
                if self.request(i, signal) != 0:
                    self.deny_request(i, bar, signal, rule, ts)
        if self.ranking is not None:
            for i, bar in sorted(self.ranking.candidates.items()):
                plan = self.plans[i]
                plan["gate"], plan["rule"], plan["value"], plan["limit"] = Gate.SIGNAL, rule, 0.0, 0.0
                self._deny_plan(i, bar, ts)
        self.signalled = self.ranking = None

    def judge_order(self, i: int, *, has_ended: bool, ts: int) -> None:
        """End the slot's entry order where it may not go on. has_ended: its symbol's data have."""
        if not has_entry_order_nb(self.positions[i]):
            return
        rule = Rule.END_OF_DATA if has_ended else Rule(self.order_rule(i, ts))
        if rule != Rule.NONE:
            self.drop_order(i, rule, ts)

    def order_rule(self, i: int, ts: int) -> int:
        """The rule that ends the slot's entry order; NONE: it may go on."""
        return order_rule_nb(self.positions[i], self.governor[0], ts, self.params)

    def _cancel_by_signal(self, i: int, signals: dict[int, tuple[int, Record]], last_open: Sequence[int]) -> None:
        position, ts = self.positions[i], int(self.points[i]["ts"])
        if not has_entry_order_nb(position):
            return
        if i in last_open:
            self.drop_order(i, Rule.END_OF_DATA, ts)
        elif not travels_at_market_nb(position) and asks_otherwise_nb(position, signals[i][1]):
            self.drop_order(i, Rule.ORDER_CANCELLED, ts)

    def drop_order(self, i: int, rule: int, ts: int) -> None:
        """End the slot's entry order; where nothing of it has been filled its signal is denied."""
        position = self.positions[i]
        if position["order_filled"] == 0:
            row = self.journal.new("denials")
            row["ts"] = ts
            row["symbol"] = self.symbol_of(i)
            row["side"] = self.plans[i]["side"]
            row["gate"] = Gate.ORDER
            row["rule"] = rule
            row["limit"] = limit_or_zero_nb(position)
            row["confidence"] = self.plans[i]["confidence"]
            row["bar"] = position["order_bar"]
            self.journal.keep("denials", row)
        note_dropped_nb(self.account[0], position, rule)
        end_order_nb(position)
        self._recall(i)

    def _recall(self, i: int) -> None:
        """The slot's entry order has ended here; where it stands in a book it is called back."""
        if not has_entry_order_nb(self.positions[i]) and self.broker.cancel_entry(i):
            self.recalled[i] = True

    def _note_end(self, end: OrderEnd) -> None:
        """Nothing more of a limit entry can be filled: what the session still waits for of it ends too."""
        i = end.slot
        self.recalled[i] = False
        if has_entry_order_nb(self.positions[i]):
            ts = max(end.ts, int(self.points[i]["ts"]))
            rule = Rule(self.order_rule(i, ts))
            self.drop_order(i, Rule.ORDER_ENDED if rule == Rule.NONE else rule, ts)

    def leave_leg(self, i: int, *, waits: bool) -> None:
        """The market has nothing left for a leg now: it is tried again at the next open, or hit with what it got."""
        if waits:
            wait_for_volume_nb(self.positions[i])
        else:
            hit_leg_nb(self.positions[i], self.instruments[i], self.params)

    def _plan_candidates(
        self, signals: dict[int, tuple[int, Record]], held: dict[int, int], no_entry: Sequence[int], ts: int
    ) -> dict[int, int]:
        equity = equity_nb(self.account[0], self.positions, self.points)
        initial_margin = initial_margin_nb(self.positions)
        available = self.broker.available()
        candidates: dict[int, int] = {}
        for i in sorted(signals):
            bar, signal = signals[i]
            request = self.request(i, signal)
            if request == 0:
                continue
            if i in no_entry:
                self.deny_request(i, bar, signal, Rule.END_OF_DATA, ts)
                continue
            since_exit = -1 if self.last_exit_bar[i] < 0 else int(self.bar_index[i] - self.last_exit_bar[i])
            rule = request_rule_nb(
                request, self._side_met(i, held), int(self.positions[i]["side"]), since_exit, self.params
            )
            if rule == Rule.NONE and has_entry_order_nb(self.positions[i]):
                rule = Rule.ORDER_STANDS
            if rule != Rule.NONE:
                self.deny_request(i, bar, signal, rule, ts)
                continue
            if np.isnan(self.points[i]["price"]):
                self.deny_request(i, bar, signal, Rule.NO_PRICE, ts)
                continue
            self._measure(i, request, ts)
            self._plan(Request(i, request, bar, ts, equity, initial_margin, available), signal)
            if self.plans[i]["gate"] == Gate.NONE:
                candidates[i] = bar
            else:
                self._deny_plan(i, bar, ts)
        return candidates

    def _side_met(self, i: int, held: dict[int, int]) -> int:
        """The side that a request of the slot meets: its own, or the other one where that has just been closed."""
        other = other_slot_nb(i, self.width)
        if other == NO_SLOT:
            return held[i]
        return held_before_nb(held[i], held[other], int(self.positions[other]["side"]))

    def _plan(self, request: Request, signal: Record) -> None:
        i, plan = request.symbol, self.plans[request.symbol]
        point = self.points[i]
        money = (request.equity, request.margin_used, request.available)
        around = (self.crowd[0], self.governor[0], self.stats[self.symbol_of(i)])
        account, instrument = self.account[0], self.instruments[i]
        if self.learner is None:
            side, ts = request.side, request.ts
            plan_entry_nb(plan, account, side, signal, point, *money, ts, *around, instrument, self.params)
            return
        judge_entry_nb(plan, request.side, signal, request.equity, request.ts, *around, self.params)
        if plan["gate"] == Gate.NONE:
            self.learner.decide(i, request.ts, plan, account, self.crowd[0], request.equity)
            size_entry_nb(plan, account, signal, point, *money, self.crowd[0], instrument, self.params)
            self.learner.teach(request, plan)

    def _measure(self, i: int, side: int, ts: int) -> None:
        """What is open beside the candidate, and how alike it is."""
        measure_crowd_nb(self.crowd[0], self.positions, self.points, self.instruments, i)
        if not self.has_gates:
            return
        measure_correlation_nb(
            self.crowd[0],
            self.positions,
            self.closes,
            self.spans,
            i,
            side,
            ts,
            self.regime_ns,
            self.params["limits"],
        )

    def _enter_candidates(self, ranking: Ranking) -> None:
        """In rank order, each judged on the account that the one before has left."""
        candidates, ts = ranking.candidates, ranking.ts
        while candidates and not self.waits_for_orders:
            waiting = sorted(candidates)
            best = waiting[0]
            for i in waiting[1:]:
                if ranks_before_nb(self.plans[i], self.plans[best]):
                    best = i
            bar = candidates.pop(best)
            plan, available = self.plans[best], self.broker.available()
            self._measure(best, int(plan["side"]), ts)
            judge_again_nb(plan, self.crowd[0], ranking.balance, available, self.params)
            if plan["gate"] == Gate.NONE:
                deny_unaffordable_nb(plan, available, self.params)
            if plan["gate"] == Gate.NONE:
                self.counts["no_correlation"] += int(plan["uncompared"])
                trade_id = int(self.account[0]["next_trade_id"])
                self.account[0]["next_trade_id"] += 1
                self.busy[best] = True
                self.broker.submit(EntryIntent(best, trade_id, self.plans[best], bar))
                self.collect()
            else:
                self._deny_plan(best, bar, ts)
        if not candidates:
            self.ranking = None

    # fills and funding -----------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Apply what the broker confirmed, and free the slots whose orders have ended."""
        for fill in self.broker.fills():
            self.busy[fill.slot] &= not fill.ends_order
            if fill.is_entry:
                self._apply_entry(fill)
            else:
                self._apply_exit(fill)
        for end in self.broker.ends():
            self.busy[end.slot] &= not end.frees_slot
            if end.is_entry and not end.stands:
                self._note_end(end)

    def _apply_entry(self, fill: Fill) -> None:
        i, record = fill.slot, fill.record
        position = self.positions[i]
        if self.is_open(i):
            add_part_nb(self.account[0], position, record[0], self.instruments[i], self.params)
            note_margin_use_nb(self.account[0], self.positions, self.points)
            self.journal.keep("fills", record)
            return
        open_position_nb(
            self.account[0],
            position,
            self.plans[i],
            record[0],
            int(self.bar_index[i]),
            self.instruments[i],
            self.params,
        )
        order_newcomer_nb(position, self.governor[0], int(record[0]["ts"]), self.params)
        note_margin_use_nb(self.account[0], self.positions, self.points)
        if self.learner is not None:
            self.learner.note_entry(i)
        self.journal.keep("fills", record)
        if not np.isnan(position["hard_price"]):
            limit = None if np.isnan(position["backup_price"]) else float(position["backup_price"])
            self.broker.place_stop(StopIntent(i, int(position["trade_id"]), float(position["hard_price"]), limit))
        self._fill_in_decision(i, Action.INIT_NEW_POSITION, Reason.ENTRY)
        self._write_decision(i)

    def _apply_exit(self, fill: Fill) -> None:
        i, record = fill.slot, fill.record
        position = self.positions[i]
        reduce_position_nb(self.account[0], position, record[0], self.instruments[i], self.params)
        if fill.is_leg:
            hit_leg_nb(position, self.instruments[i], self.params)
        self._recall(i)
        is_flat, pnl = bool(position["lots"] == 0), 0.0
        if is_flat:
            bar = int(record[0]["bar"])
            trade = self.journal.new("trades")
            close_trade_nb(self.account[0], position, record[0], self.symbol_of(i), bar, trade[0])
            self.journal.keep("trades", trade)
            pnl = float(trade["pnl"][0])
            self.last_exit_bar[i] = bar
            self.broker.cancel_stop(i)
            if self.learner is not None and not self.is_trial:
                self.learner.note_trade(i, int(record["ts"][0]), pnl)
        self.journal.keep("fills", record)
        lost = bool(record["pnl"][0] - record["fee"][0] - record["liq_fee"][0] < 0.0)
        self._tell_governor(i, int(record["ts"][0]), lost=lost, is_flat=is_flat, pnl=pnl)

    def stop_of(self, i: int, plan: Record, price: float) -> StopIntent | None:
        """The exchange stop of a position that was entered at `price`; None where the plan has none."""
        position = np.zeros(1, position_dt)[0]
        position["side"], position["entry_price"] = plan["side"], price
        set_stop_prices_nb(position, plan, self.instruments[i], self.params)
        if np.isnan(position["hard_price"]):
            return None
        limit = None if np.isnan(position["backup_price"]) else float(position["backup_price"])
        return StopIntent(i, int(self.positions[i]["trade_id"]), float(position["hard_price"]), limit)

    def collect_funding(self) -> None:
        """Book the funding payments that the broker reports."""
        for payment in self.broker.funding():
            position = self.positions[payment.slot]
            apply_funding_nb(self.account[0], position, payment.amount, self.instruments[payment.slot])
            row = self.journal.new("funding")
            row["ts"] = payment.ts
            row["symbol"] = self.symbol_of(payment.slot)
            row["side"] = position["side"]
            row["trade_id"] = position["trade_id"]
            row["rate"] = payment.rate
            row["mark"] = payment.mark
            row["amount"] = payment.amount
            self.journal.keep("funding", row)

    def collect_transfers(self) -> None:
        """Book the deposits and withdrawals that the broker reports."""
        for transfer in self.broker.transfers():
            row = transfer.record
            book_transfer_nb(row[0], self.account[0], self.positions, self.points, self.governor[0], self.history)
            self.journal.keep("transfers", row)

    def mark(self, ts: int, *, again: bool = False) -> None:
        """Mark the account at a boundary; `again`: in place of the last mark."""
        if again:
            self.journal.drop_last("equity")
        row = self.journal.new("equity")
        mark_to_market_nb(self.account[0], self.positions, self.points, ts, row[0])
        self.journal.keep("equity", row)

    # writing down ----------------------------------------------------------------------------------------------------

    def deny_request(self, i: int, bar: int, signal: Record, rule: int, ts: int) -> None:
        """Count a request that ends before the chain."""
        row = self.journal.new("denials")
        row["ts"] = ts
        row["symbol"] = self.symbol_of(i)
        row["side"] = self.request(i, signal)
        row["gate"] = Gate.SIGNAL
        row["rule"] = rule
        row["confidence"] = signal["confidence"]
        row["bar"] = bar
        self.journal.keep("denials", row)

    def _deny_plan(self, i: int, bar: int, ts: int) -> None:
        row = self.journal.new("denials")
        plan = self.plans[i]
        self.counts["no_correlation"] += int(plan["uncompared"])
        row["ts"] = ts
        row["symbol"] = self.symbol_of(i)
        row["bar"] = bar
        for field in ("side", "gate", "rule", "value", "limit", "confidence"):
            row[field] = plan[field]
        self.journal.keep("denials", row)

    def _fill_in_decision(self, i: int, action: Action, reason: int) -> None:
        position, decision = self.positions[i], self.decision[0]
        decision["action"] = action
        decision["reason"] = reason
        decision["leg"] = 0
        decision["lots"] = position["lots"]
        decision["stop_price"] = position["stop_price"]
        decision["stop_reason"] = position["stop_reason"]
        decision["peak"] = position["peak"]

    def _write_decision(self, i: int) -> None:
        row = self.journal.new("decisions")
        position, point, decision = self.positions[i], self.points[i], self.decision[0]
        row["ts"] = point["ts"]
        row["symbol"] = self.symbol_of(i)
        row["side"] = position["side"]
        row["trade_id"] = position["trade_id"]
        row["price"] = point["price"]
        row["mark"] = point["mark"]
        for field in ("action", "reason", "leg", "stop_reason", "lots", "stop_price", "peak"):
            row[field] = decision[field]
        self.journal.keep("decisions", row)
