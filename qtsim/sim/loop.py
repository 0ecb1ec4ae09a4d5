"""The compiled loop: from boundary to boundary in the order of events of the specification.

At one instant, each step over all symbols in name order before the next. Time is passed in; nothing is allocated.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import (
    equity_nb,
    initial_margin_nb,
    margin_used_nb,
    mark_to_market_nb,
    set_point_nb,
    show_signal_nb,
)
from qtsim.core.balancer import measure_correlation_nb, measure_crowd_nb, show_closes_nb
from qtsim.core.entry import plan_entry_nb
from qtsim.core.enums import (
    Action,
    EndOfData,
    FillAt,
    FundingInclusive,
    Gate,
    Monitoring,
    Reason,
    Rule,
    Side,
)
from qtsim.core.gates import judge_again_nb
from qtsim.core.records import Record, Records
from qtsim.core.signal_rules import ranks_before_nb, request_rule_nb, requested_side_nb, signal_exit_reason_nb
from qtsim.core.sizing import deny_unaffordable_nb
from qtsim.core.symbol_stats import clear_blacklist_nb
from qtsim.sim.market import (
    CURSOR,
    DECISIONS,
    DENIALS,
    EQUITIES,
    FILLS,
    GOVERNOR,
    NEXT_OUTAGE,
    NO_BAR,
    NO_CORRELATION,
    PENDING_AT_END,
    TRADES,
    Book,
    Journal,
    Tape,
)
from qtsim.sim.steps import (
    charge_funding_nb,
    enter_nb,
    evaluate_nb,
    exit_at_market_nb,
    is_observable_nb,
    write_decision_nb,
    write_denial_nb,
)
from qtsim.sim.walk import (
    charge_boundary_funding_nb,
    charge_due_funding_nb,
    choose_path_nb,
    next_funding_time_nb,
    settle_point_nb,
    walk_bars_nb,
)

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
    )


@kernel
def deny_request_nb(tape: Tape, book: Book, journal: Journal, i: int, row: int, ts: int, gate: int, rule: int) -> None:
    """Count a request that ends before the chain."""
    signal = tape.signals[row]
    write_denial_nb(
        journal,
        ts,
        i,
        requested_side_nb(signal),
        gate,
        rule,
        0.0,
        0.0,
        signal["confidence"],
        row - book.slots[i]["bars_first"],
    )


@kernel
def is_last_bar_nb(book: Book, i: int, row: int) -> bool:
    """Is this the symbol's last bar?"""
    return row == book.slots[i]["bars_end"] - 1


@kernel
def show_bar_nb(tape: Tape, book: Book, i: int, row: int) -> None:
    """What a bar's close makes known is in force from now on."""
    show_signal_nb(book.points[i], tape.signals[row], tape.bars[row]["ts_open"] + tape.timeframe_ns)


@kernel
def close_bars_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 4: bars that ended become visible; their signals become pending."""
    sim = params["sim"]
    for i in range(len(book.slots)):
        row = book.slots[i]["bar"]
        if row == NO_BAR:
            continue
        book.slots[i]["bar"] = NO_BAR
        show_bar_nb(tape, book, i, row)
        book.slots[i]["pending"] = row
        if is_last_bar_nb(book, i, row) and sim["end_of_data"] != EndOfData.OPEN:
            if requested_side_nb(tape.signals[row]) != 0:
                deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.END_OF_DATA.value)
            book.slots[i]["pending"] = NO_BAR


@kernel
def expire_signals_nb(tape: Tape, book: Book, journal: Journal, ts: int) -> None:
    """A signal expires whose first price point comes more than one bar after its close."""
    for i in range(len(book.slots)):
        row = book.slots[i]["pending"]
        if row == NO_BAR or book.slots[i]["bar"] == NO_BAR:
            continue
        if ts - (tape.bars[row]["ts_open"] + tape.timeframe_ns) > tape.timeframe_ns:
            if requested_side_nb(tape.signals[row]) != 0:
                deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.EXPIRED.value)
            book.slots[i]["pending"] = NO_BAR


@kernel
def open_bars_nb(tape: Tape, book: Book, ts: int) -> None:
    """Bars that open now show their first point."""
    for i in range(len(book.slots)):
        row = book.slots[i]["next_bar"]
        if row >= book.slots[i]["bars_end"] or tape.bars[row]["ts_open"] != ts:
            continue
        book.slots[i]["bar"] = row
        book.slots[i]["next_bar"] = row + 1
        price = tape.bars[row]["open"]
        mark = tape.bars[row]["mark_open"] if book.slots[i]["has_mark"] == 1 else price
        set_point_nb(book.points[i], ts, price, mark)


@kernel
def has_cycle_at_open_nb(ts: int, params: Record) -> bool:
    """Does the program look at this open? With `interval` only at multiples of the interval since 00:00 UTC."""
    if params["exit"]["monitoring"] != Monitoring.INTERVAL:
        return True
    since_midnight = ts % 86_400_000_000_000
    return since_midnight % int(params["exit"]["check_interval_s"] * 1e9) == 0


@kernel
def close_by_signal_nb(tape: Tape, book: Book, journal: Journal, i: int, reason: int, params: Record) -> None:
    """Journal and fill an exit that the exit engine did not ask for: signal, reversal, end of data."""
    position = book.positions[i]
    decision = book.decision[0]
    decision["action"] = Action.FULL_EXIT_NOW.value
    decision["reason"] = reason
    decision["leg"] = 0
    decision["lots"] = position["lots"]
    decision["stop_price"] = position["stop_price"]
    decision["stop_reason"] = position["stop_reason"]
    decision["peak"] = position["peak"]
    write_decision_nb(journal, i, position, book.points[i], decision)
    exit_at_market_nb(tape, book, journal, i, reason, position["lots"], False, params)


@kernel
def obey_signals_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 6: signal exits and the closing half of reversals. `held` keeps the side before."""
    sim = params["sim"]
    for i in range(len(book.slots)):
        position = book.positions[i]
        book.slots[i]["held"] = position["side"]
        if book.slots[i]["bar"] == NO_BAR or position["side"] == Side.NONE:
            continue
        reason = Reason.NONE.value
        if sim["end_of_data"] == EndOfData.LAST_OPEN and is_last_bar_nb(book, i, book.slots[i]["bar"]):
            reason = Reason.END_OF_DATA.value
        elif book.slots[i]["acting"] != NO_BAR:
            reason = signal_exit_reason_nb(
                position, tape.signals[book.slots[i]["acting"]], params["exit"]["on_opposite_signal"]
            )
        if reason != Reason.NONE and is_observable_nb(book, i):
            close_by_signal_nb(tape, book, journal, i, reason, params)


@kernel
def plan_candidates_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 7, first pass: every request alone on the state after step 6, through the approval chain."""
    account = book.account[0]
    equity = equity_nb(account, book.positions, book.points)
    available = account["wallet"] - margin_used_nb(book.positions)
    initial_margin = initial_margin_nb(book.positions)
    for i in range(len(book.slots)):
        book.slots[i]["candidate"] = 0
        row = book.slots[i]["acting"]
        if row == NO_BAR or book.slots[i]["bar"] == NO_BAR:
            continue
        signal = tape.signals[row]
        request = requested_side_nb(signal)
        if request == 0:
            continue
        if params["sim"]["end_of_data"] == EndOfData.LAST_OPEN and is_last_bar_nb(book, i, book.slots[i]["bar"]):
            deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.END_OF_DATA.value)
            continue
        since_exit = -1
        if book.slots[i]["last_exit_bar"] != NO_BAR:
            since_exit = book.slots[i]["bar"] - book.slots[i]["bars_first"] - book.slots[i]["last_exit_bar"]
        rule = request_rule_nb(request, book.slots[i]["held"], book.positions[i]["side"], since_exit, params)
        if rule != Rule.NONE:
            deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, rule)
            continue
        if book.points[i]["price"] != book.points[i]["price"]:
            deny_request_nb(tape, book, journal, i, row, ts, Gate.SIGNAL.value, Rule.NO_PRICE.value)
            continue
        plan = book.plans[i]
        measure_candidate_nb(tape, book, i, request, ts, params)
        plan_entry_nb(
            plan,
            account,
            request,
            signal,
            book.points[i]["price"],
            equity,
            initial_margin,
            available,
            ts,
            book.crowd[0],
            book.governor[0],
            book.stats[i],
            tape.instruments[i],
            params,
        )
        if plan["gate"] == Gate.NONE:
            book.slots[i]["candidate"] = 1
        else:
            deny_plan_nb(book, journal, plan, i, row, ts)


@kernel
def measure_candidate_nb(tape: Tape, book: Book, i: int, side: int, ts: int, params: Record) -> None:
    """What is open beside the candidate, and how alike it is."""
    measure_crowd_nb(book.crowd[0], book.positions, book.points, tape.instruments, i)
    if params["gates"]["enabled"] == 0:
        return
    book.counters[NO_CORRELATION] += measure_correlation_nb(
        book.crowd[0],
        book.positions,
        tape.closes,
        book.spans,
        i,
        side,
        ts,
        tape.regime_ns,
        params["limits"],
    )


@kernel
def deny_plan_nb(book: Book, journal: Journal, plan: Record, i: int, row: int, ts: int) -> None:
    """Journal the verdict that a plan carries."""
    write_denial_nb(
        journal,
        ts,
        i,
        plan["side"],
        plan["gate"],
        plan["rule"],
        plan["value"],
        plan["limit"],
        plan["confidence"],
        row - book.slots[i]["bars_first"],
    )


@kernel
def enter_candidates_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 7, second pass: candidates in rank order, every cumulative limit re-checked after each fill."""
    balance = equity_nb(book.account[0], book.positions, book.points)
    while True:
        best = -1
        for i in range(len(book.slots)):
            if book.slots[i]["candidate"] == 1 and (best < 0 or ranks_before_nb(book.plans[i], book.plans[best])):
                best = i
        if best < 0:
            return
        book.slots[best]["candidate"] = 0
        plan = book.plans[best]
        available = book.account[0]["wallet"] - margin_used_nb(book.positions)
        measure_candidate_nb(tape, book, best, plan["side"], ts, params)
        judge_again_nb(plan, book.crowd[0], balance, available, params)
        if plan["gate"] == Gate.NONE:
            deny_unaffordable_nb(plan, available, params)
        if plan["gate"] == Gate.NONE:
            enter_nb(tape, book, journal, best, params)
        else:
            deny_plan_nb(book, journal, plan, best, book.slots[best]["acting"], ts)


@kernel
def charge_entry_funding_nb(tape: Tape, book: Book, journal: Journal, ts: int) -> None:
    """`inclusive = both`: a position opened at a funding time is charged as well."""
    for i in range(len(book.slots)):
        row = book.slots[i]["next_funding"] - 1
        if row < book.slots[i]["funding_first"] or tape.funding[row]["ts"] != ts:
            continue
        if book.positions[i]["side"] != Side.NONE and book.positions[i]["entry_ts"] == ts:
            charge_funding_nb(tape, book, journal, i, row, book.points[i]["mark"])


@kernel
def act_on_signals_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Steps 6 and 7 at the points that the symbols show now."""
    obey_signals_nb(tape, book, journal, ts, params)
    plan_candidates_nb(tape, book, journal, ts, params)
    enter_candidates_nb(tape, book, journal, ts, params)


@kernel
def act_at_close_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """`fill_at = close`: signals of the bars that end now act at their own close, before the next open."""
    for i in range(len(book.slots)):
        row = book.slots[i]["bar"]
        book.slots[i]["acting"] = row
        if row != NO_BAR:
            show_bar_nb(tape, book, i, row)
        if params["sim"]["end_of_data"] == EndOfData.OPEN or book.slots[i]["acting"] == NO_BAR:
            continue
        if is_last_bar_nb(book, i, book.slots[i]["acting"]):
            book.slots[i]["acting"] = NO_BAR
    act_on_signals_nb(tape, book, journal, ts, params)


@kernel
def judge_account_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Step 3 for gates and governor: health, the operator's clearing of symbols, the evaluation of the equity."""
    if params["gates"]["enabled"] == 0:
        return
    while book.counters[NEXT_OUTAGE] < len(tape.outages) and tape.outages[book.counters[NEXT_OUTAGE]]["ts"] <= ts:
        book.governor[0]["health"] = tape.outages[book.counters[NEXT_OUTAGE]]["health"]
        book.counters[NEXT_OUTAGE] += 1
    for i in range(len(book.stats)):
        clear_blacklist_nb(book.stats[i], ts, params["governor"]["shutdown_operator_hours"])
    evaluate_nb(book, journal, ts, params)


@kernel
def end_data_nb(tape: Tape, book: Book, journal: Journal, params: Record) -> None:
    """A symbol whose last bar ends now closes at its last close (`end_of_data = close`)."""
    if params["sim"]["end_of_data"] != EndOfData.CLOSE:
        return
    for i in range(len(book.slots)):
        if book.slots[i]["bar"] == NO_BAR or not is_last_bar_nb(book, i, book.slots[i]["bar"]):
            continue
        if is_observable_nb(book, i):
            close_by_signal_nb(tape, book, journal, i, Reason.END_OF_DATA.value, params)


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
    open_bars = 0
    for i in range(n):
        if book.slots[i]["bar"] != NO_BAR:
            open_bars += 1
            choose_path_nb(tape, book, trial_book, trial_journal, i, ts, diagnose, params)
    if open_bars > 0:
        walk_bars_nb(tape, book, journal, ts, 0, n, params)
    else:
        due = next_funding_time_nb(tape, book, 0, n, next_ts)
        while due < next_ts:
            charge_due_funding_nb(tape, book, journal, 0, n, due)
            due = next_funding_time_nb(tape, book, 0, n, next_ts)


@kernel
def run_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    trial_book: Book,
    trial_journal: Journal,
    params_rows: Records,
    diagnose: bool,
    stop_at: int,
) -> int:
    """Run from the book's cursor to boundary `stop_at` or the end. Returns DONE, PAUSED or JOURNAL_FULL.

    params_rows: params_dt[1]. Resumable: call again with the same book.
    """
    params = params_rows[0]
    n = len(book.slots)
    end = len(tape.boundaries)
    at_close = params["sim"]["fill_at"] == FillAt.CLOSE
    while book.counters[CURSOR] < end:
        b = book.counters[CURSOR]
        if b >= stop_at:
            return PAUSED
        if not has_room_nb(journal, n):
            return JOURNAL_FULL
        ts = tape.boundaries[b]

        # 1. the last point of bars that end now was settled by the walk; their symbols may end with them
        end_data_nb(tape, book, journal, params)
        # 2. funding due
        charge_boundary_funding_nb(tape, book, journal, 0, n, ts, False)
        # 3. equity marked, UTC day rolled, governor
        mark_to_market_nb(book.account[0], book.positions, book.points, ts, journal.equity[journal.counts[EQUITIES]])
        journal.counts[EQUITIES] += 1
        judge_account_nb(tape, book, journal, ts, params)
        # 4. closed bars, regimes and statistics become visible, and their signals pending
        show_closes_nb(tape.closes, book.spans, ts)
        if at_close:
            act_at_close_nb(tape, book, journal, ts, params)
        close_bars_nb(tape, book, journal, ts, params)
        if at_close:
            for i in range(n):
                book.slots[i]["pending"] = NO_BAR
        # 5. the open point
        open_bars_nb(tape, book, ts)
        expire_signals_nb(tape, book, journal, ts)
        settle_point_nb(tape, book, journal, 0, n, has_cycle_at_open_nb(ts, params), params)
        if params["exit"]["monitoring"] != Monitoring.CONTINUOUS:
            evaluate_nb(book, journal, ts, params)
        # 6. signal exits, 7. pending entries
        for i in range(n):
            book.slots[i]["acting"] = NO_BAR
            if book.slots[i]["bar"] != NO_BAR:
                book.slots[i]["acting"] = book.slots[i]["pending"]
                book.slots[i]["pending"] = NO_BAR
        act_on_signals_nb(tape, book, journal, ts, params)
        if params["costs"]["funding_inclusive"] == FundingInclusive.BOTH:
            charge_entry_funding_nb(tape, book, journal, ts)
        if b + 1 == end and at_close:
            # nothing follows that would show what was done at the last close
            mark_to_market_nb(
                book.account[0], book.positions, book.points, ts, journal.equity[journal.counts[EQUITIES] - 1]
            )
        # the path to the next boundary
        if b + 1 < end:
            walk_to_next_nb(
                tape,
                book,
                journal,
                trial_book,
                trial_journal,
                ts,
                tape.boundaries[b + 1],
                diagnose,
                params,
            )
        book.counters[CURSOR] = b + 1
    book.counters[PENDING_AT_END] = 0
    for i in range(n):
        if book.slots[i]["pending"] != NO_BAR and requested_side_nb(tape.signals[book.slots[i]["pending"]]) != 0:
            book.counters[PENDING_AT_END] += 1
    return DONE
