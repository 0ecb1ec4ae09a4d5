"""The compiled loop: from boundary to boundary in the order of events of the specification.

At one instant, each step over all symbols in name order before the next. Time is passed in; nothing is allocated.
"""

from __future__ import annotations

from qtsim.core._by_reference import by_reference
from qtsim.core._jit import kernel
from qtsim.core.accounting import (
    available_nb,
    equity_nb,
    initial_margin_nb,
    mark_to_market_nb,
    set_point_nb,
)
from qtsim.core.balancer import show_closes_nb
from qtsim.core.entry import size_entry_nb
from qtsim.core.enums import (
    EndOfData,
    FillAt,
    Gate,
    Monitoring,
    PathModel,
    Rule,
    Side,
    SizingModel,
)
from qtsim.core.gates import judge_again_nb
from qtsim.core.orders import has_entry_order_nb, is_reversing_nb, waits_unfilled_nb
from qtsim.core.records import Record, Records
from qtsim.core.signal_rules import ranks_before_nb, request_rule_nb
from qtsim.core.sizing import deny_unaffordable_nb
from qtsim.core.slots import NO_SLOT, held_before_nb, own_request_nb
from qtsim.core.symbol_stats import clear_blacklist_nb
from qtsim.core.transfers import book_transfer_nb, judge_transfer_nb
from qtsim.sim.asleep import BEFORE_BOUNDARY, mark_account_nb, show_sleepers_nb, stand_together_nb
from qtsim.sim.boundary import (
    act_on_own_close_nb,
    cancel_by_signal_nb,
    close_bar_nb,
    deny_request_nb,
    end_data_nb,
    expire_signal_nb,
    has_cycle_at_open_nb,
    hear_signal_nb,
    is_last_bar_nb,
    obey_signal_nb,
    open_bar_nb,
)
from qtsim.sim.curve import Curve, has_curve_room_nb
from qtsim.sim.entries import continue_order_nb, enter_nb, place_missing_stop_nb
from qtsim.sim.funding import charge_boundary_funding_nb, charge_due_funding_nb, next_funding_time_nb
from qtsim.sim.market import (
    CURSOR,
    DECISIONS,
    DENIALS,
    DOUBTS,
    EQUITIES,
    FILLS,
    GOVERNOR,
    NEXT_OUTAGE,
    NEXT_TRANSFER,
    NO_BAR,
    NO_CORRELATION,
    PENDING_AT_END,
    REFUSALS,
    ROUSES,
    TRADES,
    Book,
    Journal,
    Tape,
)
from qtsim.sim.paths import check_interval_nb, is_high_nearer_nb, next_multiple_nb
from qtsim.sim.requests import deny_plan_nb, judge_request_nb, measure_candidate_nb, refuse_calls_nb
from qtsim.sim.rouse import rouse_nb
from qtsim.sim.settle import any_active_nb, any_open_nb, settle_point_nb
from qtsim.sim.skip_bars import pass_quiet_bars_nb
from qtsim.sim.skip_trades import skip_trades_nb
from qtsim.sim.steps import bar_number_nb, evaluate_nb, judge_equity_nb, run_cycles_nb
from qtsim.sim.teaching import charge_entry_funding_nb, decide_nb, teach_nb
from qtsim.sim.walk import choose_path_nb, unfold_slots_nb, walk_bars_nb

ROOM_PER_SYMBOL = 48
"""More rows than one symbol can write into any journal between two boundaries."""
DONE, PAUSED, JOURNAL_FULL = range(3)


@kernel
def has_room_nb(journal: Journal, n_symbols: int) -> bool:
    """Can every symbol write what one step can need?"""
    room = ROOM_PER_SYMBOL * n_symbols
    return (
        journal.counts[TRADES] + room <= len(journal.trades)
        and journal.counts[FILLS] + room <= len(journal.fills)
        and journal.counts[DECISIONS] + room <= len(journal.decisions)
        and journal.counts[DENIALS] + room <= len(journal.denials)
        and journal.counts[GOVERNOR] + room <= len(journal.governor)
        and journal.counts[DOUBTS] + room <= len(journal.doubts)
        and journal.counts[REFUSALS] < len(journal.refusals)
        and journal.counts[EQUITIES] < len(journal.equity)
    )


@kernel
def end_bars_nb(tape: Tape, book: Book, journal: Journal, params: Record) -> None:
    """Step 1: the last point of bars that end now was settled by the walk; their symbols may end with them."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        end_data_nb(tape, book, journal, i, params)
        i = book.awake[i + 1]


@kernel
def close_bars_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 4: bars that ended become visible; their signals become pending. Entry orders end that may not go on."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        close_bar_nb(tape, book, journal, i, ts, params)
        i = book.awake[i + 1]


@kernel
def open_bars_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 5: bars that open now show their first point, and signals expire for which it comes too late."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        open_bar_nb(tape, book, i, ts, params)
        i = book.awake[i + 1]
    i = book.awake[0]
    while i < n:
        expire_signal_nb(tape, book, journal, i, ts)
        i = book.awake[i + 1]
    stand_together_nb(book, 0.0, 0.0, ts)


@kernel
def hear_signals_nb(book: Book) -> None:
    """Signals whose symbols have a price act now."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        hear_signal_nb(book, i)
        i = book.awake[i + 1]


@kernel
def obey_signals_nb(tape: Tape, book: Book, journal: Journal, params: Record) -> None:
    """Step 6: signal exits and the closing half of reversals; entry orders end that a signal asks to leave.

    `held` keeps the side before.
    """
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        book.slots[i]["held"] = book.positions[i]["side"]
        if has_entry_order_nb(book.positions[i]):
            cancel_by_signal_nb(tape, book, journal, i, params)
        obey_signal_nb(tape, book, journal, i, params)
        i = book.awake[i + 1]


@kernel
def side_met_nb(book: Book, i: int) -> int:
    """The side that a request of the slot meets: its own, or the other one where that has just been closed."""
    held = book.slots[i]["held"]
    other = book.slots[i]["other"]
    if other == NO_SLOT:
        return held
    return held_before_nb(held, book.slots[other]["held"], book.positions[other]["side"])


@kernel
def is_leaving_first_nb(book: Book, i: int) -> bool:
    """Is the position that a request of the slot reverses still on its way out? The request waits for its fill."""
    other = book.slots[i]["other"]
    return is_reversing_nb(book.positions[i]) or (other != NO_SLOT and is_reversing_nb(book.positions[other]))


@kernel
def asks_for_entry_nb(tape: Tape, book: Book) -> bool:
    """Does a signal that acts now ask for a side?"""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        row = book.slots[i]["acting"]
        if row != NO_BAR and own_request_nb(book.slots[i]["side"], tape.signals[row]) != 0:
            return True
        i = book.awake[i + 1]
    return False


@kernel
def plan_candidate_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    trial_book: Book,
    trial_journal: Journal,
    i: int,
    equity: float,
    available: float,
    initial_margin: float,
    ts: int,
    params: Record,
) -> None:
    """Take one slot's request through the approval chain, alone: it becomes a candidate, or is denied."""
    book.slots[i]["candidate"] = 0
    row = book.slots[i]["acting"]
    if row == NO_BAR or book.slots[i]["bar"] == NO_BAR:
        return
    signal = tape.signals[row]
    request = own_request_nb(book.slots[i]["side"], signal)
    if request == 0:
        return
    if params["sim"]["end_of_data"] == EndOfData.LAST_OPEN and is_last_bar_nb(book, i, book.slots[i]["bar"]):
        deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.END_OF_DATA.value)
        return
    if is_leaving_first_nb(book, i):
        book.slots[i]["pending"] = row
        return
    since_exit = -1
    if book.slots[i]["last_exit_bar"] != NO_BAR:
        since_exit = bar_number_nb(book, i) - book.slots[i]["last_exit_bar"]
    rule = request_rule_nb(request, side_met_nb(book, i), book.positions[i]["side"], since_exit, params)
    if rule == Rule.NONE and has_entry_order_nb(book.positions[i]):
        rule = Rule.ORDER_STANDS.value
    if rule != Rule.NONE:
        deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, rule)
        return
    if book.points[i]["price"] != book.points[i]["price"]:
        deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.NO_PRICE.value)
        return
    plan = book.plans[i]
    judge_request_nb(tape, book, i, row, request, equity, ts, params)
    if plan["gate"] == Gate.NONE:
        if params["sizing"]["model"] == SizingModel.RL:
            decide_nb(book, i, ts, equity, params)
        size_entry_nb(
            plan,
            book.account[0],
            signal,
            book.points[i],
            equity,
            initial_margin,
            available,
            book.crowd[0],
            tape.instruments[i],
            params,
        )
        if params["sizing"]["model"] == SizingModel.RL:
            teach_nb(
                tape,
                book,
                trial_book,
                trial_journal,
                i,
                request,
                row,
                ts,
                equity,
                initial_margin,
                available,
                params,
            )
    if plan["gate"] == Gate.NONE:
        book.slots[i]["candidate"] = 1
    else:
        deny_plan_nb(book, journal, plan, i, row, ts)


@kernel
def plan_candidates_nb(
    tape: Tape, book: Book, journal: Journal, trial_book: Book, trial_journal: Journal, ts: int, params: Record
) -> None:
    """Step 7: entry orders go on; then the first pass: every request alone, through the approval chain."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        if has_entry_order_nb(book.positions[i]):
            continue_order_nb(tape, book, journal, i, params)
        i = book.awake[i + 1]
    b = book.counters[CURSOR]
    if asks_for_entry_nb(tape, book):
        show_closes_nb(tape.closes, book.spans, ts)
        show_sleepers_nb(tape, book, params)
        equity = equity_nb(book.account[0], book.positions, book.points)
        available = available_nb(book.account[0], book.positions, book.points, params)
        initial_margin = initial_margin_nb(book.positions)
        i = book.awake[0]
        while i < n:
            refuse_calls_nb(tape, book, journal, b, i, params)
            plan_candidate_nb(
                tape,
                book,
                journal,
                trial_book,
                trial_journal,
                i,
                equity,
                available,
                initial_margin,
                ts,
                params,
            )
            i = book.awake[i + 1]
    refuse_calls_nb(tape, book, journal, b, n, params)


@kernel
def best_candidate_nb(book: Book) -> int:
    """The candidate that ranks first; NO_SLOT where none is left."""
    n = len(book.slots)
    best = NO_SLOT
    i = book.awake[0]
    while i < n:
        if book.slots[i]["candidate"] == 1 and (best == NO_SLOT or ranks_before_nb(book.plans[i], book.plans[best])):
            best = i
        i = book.awake[i + 1]
    return best


@kernel
def enter_candidates_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 7, second pass: candidates in rank order, every cumulative limit re-checked after each fill."""
    best = best_candidate_nb(book)
    if best == NO_SLOT:
        return
    balance = equity_nb(book.account[0], book.positions, book.points)
    while best != NO_SLOT:
        book.slots[best]["candidate"] = 0
        plan = book.plans[best]
        available = available_nb(book.account[0], book.positions, book.points, params)
        measure_candidate_nb(tape, book, best, plan["side"], ts, params)
        judge_again_nb(plan, book.crowd[0], balance, available, params)
        if plan["gate"] == Gate.NONE:
            deny_unaffordable_nb(plan, available, params)
        if plan["gate"] == Gate.NONE:
            book.counters[NO_CORRELATION] += plan["uncompared"]
            row = book.slots[best]["acting"] - book.slots[best]["signals_first"]
            enter_nb(tape, book, journal, best, row, params)
        else:
            deny_plan_nb(book, journal, plan, best, book.slots[best]["acting"], ts)
        best = best_candidate_nb(book)


@kernel
def miss_signals_nb(tape: Tape, book: Book, journal: Journal, ts: int) -> None:
    """A program that does not run obeys no signal; what they asked for is counted."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        row = book.slots[i]["acting"]
        if row != NO_BAR and own_request_nb(book.slots[i]["side"], tape.signals[row]) != 0:
            deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.NOT_RUNNING.value)
        book.slots[i]["acting"] = NO_BAR
        i = book.awake[i + 1]


@kernel
def act_on_signals_nb(
    tape: Tape, book: Book, journal: Journal, trial_book: Book, trial_journal: Journal, ts: int, params: Record
) -> None:
    """Steps 6 and 7 at the points that the symbols show now."""
    if book.governor[0]["blind"] == 1:
        # the data end all the same
        miss_signals_nb(tape, book, journal, ts)
        obey_signals_nb(tape, book, journal, params)
        return
    obey_signals_nb(tape, book, journal, params)
    plan_candidates_nb(tape, book, journal, trial_book, trial_journal, ts, params)
    enter_candidates_nb(tape, book, journal, ts, params)


@kernel
def act_at_close_nb(
    tape: Tape, book: Book, journal: Journal, trial_book: Book, trial_journal: Journal, ts: int, params: Record
) -> None:
    """`fill_at = close`: signals of the bars that end now act at their own close, before the next open."""
    for i in range(len(book.slots)):
        act_on_own_close_nb(tape, book, i, ts, params)
    act_on_signals_nb(tape, book, journal, trial_book, trial_journal, ts, params)


@kernel
def move_money_nb(tape: Tape, book: Book, ts: int, params: Record) -> None:
    """Between steps 2 and 3: deposits and withdrawals that are due."""
    while book.counters[NEXT_TRANSFER] < len(book.transfers):
        transfer = book.transfers[book.counters[NEXT_TRANSFER]]
        if transfer["due"] > ts:
            return
        show_sleepers_nb(tape, book, params)
        judge_transfer_nb(transfer, book.account[0], book.positions, book.points, ts, params)
        book_transfer_nb(transfer, book.account[0], book.positions, book.points, book.governor[0], book.history)
        book.counters[NEXT_TRANSFER] += 1


@kernel
def judge_account_nb(book: Book, journal: Journal, ts: int, equity: float, params: Record) -> None:
    """Step 3 for gates and governor: the operator's clearing of symbols, the evaluation of the equity."""
    if params["gates"]["enabled"] == 0:
        return
    for i in range(len(book.stats)):
        clear_blacklist_nb(book.stats[i], ts, params["governor"]["shutdown_operator_hours"])
    judge_equity_nb(book, journal, ts, equity, True, params)


@kernel
def place_missing_stops_nb(book: Book, ts: int, params: Record) -> None:
    """A program that runs again sends the hard stops of what was entered without it."""
    for i in range(len(book.slots)):
        place_missing_stop_nb(book.account[0], book.positions[i], i, ts, params)


@kernel
def obey_outages_nb(tape: Tape, book: Book, ts: int, params: Record) -> None:
    """The program's health as it is injected, and whether it runs at all."""
    while book.counters[NEXT_OUTAGE] < len(tape.outages) and tape.outages[book.counters[NEXT_OUTAGE]]["ts"] <= ts:
        book.governor[0]["health"] = tape.outages[book.counters[NEXT_OUTAGE]]["health"]
        book.governor[0]["blind"] = tape.outages[book.counters[NEXT_OUTAGE]]["blind"]
        book.counters[NEXT_OUTAGE] += 1
        if book.governor[0]["blind"] == 0:
            place_missing_stops_nb(book, ts, params)


@kernel
def forget_looks_nb(book: Book) -> None:
    """Of a bar that opens now no cycle has held yet."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        book.slots[i]["looked"] = 0
        i = book.awake[i + 1]


@kernel
def charge_entries_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Funding due at the instant of an entry."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        charge_entry_funding_nb(tape, book, journal, i, ts, params)
        i = book.awake[i + 1]


@kernel
def needs_no_walk_nb(tape: Tape, book: Book, params: Record) -> bool:
    """Is nothing open or asked for, on bars at whose points nobody looks? Funding is caught up at the boundary."""
    if tape.path_ns == 0 or params["exit"]["monitoring"] == Monitoring.POINTS:
        return False
    return not any_active_nb(book, 0, len(book.slots))


@kernel
def close_flat_bars_nb(tape: Tape, book: Book, close: int) -> None:
    """Show the last point of every bar that opened now."""
    n = len(book.slots)
    i = book.awake[0]
    while i < n:
        slot = book.slots[i]
        if slot["bar"] != NO_BAR:
            bar = tape.bars[slot["bar"]]
            slot["share"] = 1.0
            mark = bar["mark_close"] if slot["has_mark"] == 1 else bar["close"]
            set_point_nb(book.points[i], close, bar["close"], mark)
        i = book.awake[i + 1]


@kernel
def choose_paths_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    trial_book: Book,
    trial_journal: Journal,
    ts: int,
    next_ts: int,
    diagnose: bool,
    params: Record,
) -> int:
    """Unfold every bar that opened now; how many there are."""
    n = len(book.slots)
    by_nearest = params["sim"]["path"] == PathModel.NEAREST and not diagnose
    open_bars = 0
    i = book.awake[0]
    while i < n:
        opened = book.slots[i]["bar"] != NO_BAR
        open_bars += int(opened)
        if opened and book.slots[i]["side"] != Side.SHORT:
            # in hedge mode both sides of a symbol walk one path
            last = i + 1 if book.slots[i]["other"] == NO_SLOT else i + 2
            if by_nearest:
                unfold_slots_nb(tape, book, i, last, is_high_nearer_nb(tape.bars[book.slots[i]["bar"]]))
            else:
                choose_path_nb(tape, book, journal, trial_book, trial_journal, i, last, ts, next_ts, diagnose, params)
        i = book.awake[i + 1]
    return open_bars


@kernel
def walk_to_next_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    trial_book: Book,
    trial_journal: Journal,
    ts: int,
    next_ts: int,
    diagnose: bool,
    params: Record,
) -> None:
    """Walk every bar that opened now to its close, or, in a gap of all symbols, only charge funding."""
    n = len(book.slots)
    if tape.path_ns == 0:
        wait_for_trade_nb(tape, book, journal, ts, next_ts, params)
        return
    open_bars = choose_paths_nb(tape, book, journal, trial_book, trial_journal, ts, next_ts, diagnose, params)
    if open_bars > 0:
        walk_bars_nb(tape, book, journal, ts, next_ts, 0, n, params)
    else:
        due = next_funding_time_nb(tape, book, 0, n, next_ts)
        while due < next_ts:
            charge_due_funding_nb(tape, book, journal, 0, n, due)
            due = next_funding_time_nb(tape, book, 0, n, next_ts)


@kernel
def is_last_at_instant_nb(tape: Tape, b: int, params: Record) -> bool:
    """Among several trades of one instant a cycle by the clock sees the last; each is a point of its own otherwise."""
    if params["exit"]["monitoring"] != Monitoring.INTERVAL or b + 1 == len(tape.boundaries):
        return True
    return tape.boundaries[b + 1] > tape.boundaries[b]


@kernel
def evaluates_at_open_nb(tape: Tape, looks: bool, params: Record) -> bool:
    """Is the equity evaluated at this open or trade: `points` at each, `interval` at the cycles and opens of bars?"""
    monitoring = params["exit"]["monitoring"]
    if monitoring == Monitoring.INTERVAL and tape.path_ns == 0:
        return looks
    return monitoring != Monitoring.CONTINUOUS


@kernel
def wait_for_trade_nb(tape: Tape, book: Book, journal: Journal, ts: int, next_ts: int, params: Record) -> None:
    """Between two trades: funding at its time, and with `interval` the cycles that the clock asks for, once each.

    They see the last trade's price. A position opened at this instant is first looked at later.
    """
    n = len(book.slots)
    interval_ns = check_interval_nb(params)
    by_interval = params["exit"]["monitoring"] == Monitoring.INTERVAL
    now = ts
    while True:
        due = next_funding_time_nb(tape, book, 0, n, next_ts)
        cycle = next_ts
        if by_interval and book.governor[0]["blind"] == 0 and any_open_nb(book.positions):
            cycle = next_multiple_nb(now, interval_ns)
        if min(due, cycle) >= next_ts:
            return
        if due <= cycle:
            charge_due_funding_nb(tape, book, journal, 0, n, due)
        if cycle <= due:
            now = cycle
            look_nb(tape, book, journal, now, params)


@kernel
def pass_quiet_trades_nb(tape: Tape, book: Book, journal: Journal, b: int, stop_at: int, params: Record) -> int:
    """Pass over trades from boundary `b` on at which nothing can happen, with the cycles between them."""
    while has_room_nb(journal, len(book.slots)):
        reached = skip_trades_nb(tape, book, b, stop_at, params)
        if reached == b:
            return b
        if reached < len(tape.boundaries):
            wait_for_trade_nb(tape, book, journal, tape.boundaries[reached - 1], tape.boundaries[reached], params)
        b = reached
    return b


@kernel
def look_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """One cycle of every open position by the clock, at the last prices."""
    for i in range(len(book.slots)):
        if book.positions[i]["side"] != Side.NONE:
            set_point_nb(book.points[i], ts, book.points[i]["price"], book.points[i]["mark"])
            run_cycles_nb(tape, book, journal, i, True, params)
    evaluate_nb(tape, book, journal, ts, params)


@kernel
def pass_quiet_nb(tape: Tape, book: Book, journal: Journal, curve: Curve, b: int, stop_at: int, params: Record) -> int:
    """The first boundary from `b` on at which anything may happen; the quiet ones before it are done."""
    if tape.path_ns == 0:
        return pass_quiet_trades_nb(tape, book, journal, b, stop_at, params)
    return pass_quiet_bars_nb(tape, book, journal, curve, b, stop_at, params)


@kernel
def run_to_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    curve: Curve,
    trial_book: Book,
    trial_journal: Journal,
    params: Record,
    diagnose: bool,
    skips: bool,
    stop_at: int,
) -> int:
    """What `run_nb` does, with everything at hand by its address."""
    n = len(book.slots)
    end = len(tape.boundaries)
    at_close = params["sim"]["fill_at"] == FillAt.CLOSE
    while book.counters[CURSOR] < end:
        b = book.counters[CURSOR]
        if skips:
            b = pass_quiet_nb(tape, book, journal, curve, b, min(stop_at, end), params)
            book.counters[CURSOR] = b
            if b >= end:
                break
        if b >= stop_at:
            return PAUSED
        if not has_room_nb(journal, n) or not has_curve_room_nb(curve, n):
            return JOURNAL_FULL
        ts = tape.boundaries[b]
        stand_together_nb(book, BEFORE_BOUNDARY, 0.0, ts)

        # 1. bars that end now, and symbols with them
        end_bars_nb(tape, book, journal, params)
        # 2. funding due
        charge_boundary_funding_nb(tape, book, journal, 0, n, ts, False)
        obey_outages_nb(tape, book, ts, params)
        if tape.marked[b] == 1:
            forget_looks_nb(book)
            move_money_nb(tape, book, ts, params)
            # 3. equity marked, UTC day rolled, governor
            row = journal.equity[journal.counts[EQUITIES]]
            mark_account_nb(tape, book, b, row)
            journal.counts[EQUITIES] += 1
            judge_account_nb(book, journal, ts, row["equity"], params)
        if book.counters[ROUSES] == 1:
            rouse_nb(tape, book, journal, params)
        # 4. closed bars, regimes and statistics become visible, and their signals pending
        if at_close:
            act_at_close_nb(tape, book, journal, trial_book, trial_journal, ts, params)
        close_bars_nb(tape, book, journal, ts, params)
        # 5. the open point
        open_bars_nb(tape, book, journal, ts, params)
        looks = has_cycle_at_open_nb(ts, params) and is_last_at_instant_nb(tape, b, params)
        settle_point_nb(tape, book, journal, ts, 0, n, looks, params)
        if evaluates_at_open_nb(tape, looks, params):
            evaluate_nb(tape, book, journal, ts, params)
        # 6. signal exits, 7. pending entries
        hear_signals_nb(book)
        act_on_signals_nb(tape, book, journal, trial_book, trial_journal, ts, params)
        if b == 0 or tape.boundaries[b - 1] < ts:
            # entries are made at the first of several trades of one instant, and charged once
            charge_entries_nb(tape, book, journal, ts, params)
        if b + 1 == end and at_close:
            # nothing follows that would show what was done at the last close
            mark_to_market_nb(
                book.account[0], book.positions, book.points, ts, journal.equity[journal.counts[EQUITIES] - 1]
            )
        # the path to the next boundary
        if b + 1 < end:
            if book.counters[ROUSES] == 1:
                rouse_nb(tape, book, journal, params)
            if needs_no_walk_nb(tape, book, params):
                close_flat_bars_nb(tape, book, tape.boundaries[b + 1])
            else:
                next_ts = tape.boundaries[b + 1]
                walk_to_next_nb(tape, book, journal, trial_book, trial_journal, ts, next_ts, diagnose, params)
        book.counters[CURSOR] = b + 1
    book.counters[PENDING_AT_END] = 0
    for i in range(n):
        row = book.slots[i]["pending"]
        if row != NO_BAR and own_request_nb(book.slots[i]["side"], tape.signals[row]) != 0:
            book.counters[PENDING_AT_END] += 1
        if waits_unfilled_nb(book.positions[i]):
            book.counters[PENDING_AT_END] += 1
    return DONE


@kernel
def run_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    curve: Curve,
    trial_book: Book,
    trial_journal: Journal,
    params_rows: Records,
    diagnose: bool,
    skips: bool,
    stop_at: int,
) -> int:
    """Run from the book's cursor to boundary `stop_at` or the end. Returns DONE, PAUSED or JOURNAL_FULL.

    params_rows: params_dt[1]. skips: pass over what is quiet; the same bytes come out either way. Resumable: call
    again with the same book.
    """
    return run_to_nb(
        by_reference(tape),
        by_reference(book),
        by_reference(journal),
        by_reference(curve),
        by_reference(trial_book),
        by_reference(trial_journal),
        params_rows[0],
        diagnose,
        skips,
        stop_at,
    )
