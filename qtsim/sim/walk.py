"""Walking the path of a bar: which event comes next, and which order of the extremes is taken."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.accounting import observe_nb, set_point_nb, trade_equity_nb
from qtsim.core.cross_margin import is_account_liquidated_nb
from qtsim.core.enums import FundingInclusive, MarginMode, Monitoring, PathModel, Reason, Side
from qtsim.core.exit_brain import exchange_band_nb, nearest_triggers_nb
from qtsim.core.exit_policies import is_replan_due_nb
from qtsim.core.guards import is_stale_nb
from qtsim.core.orders import has_exit_sent_nb, is_in_reach_nb, is_working_nb, next_arrival_nb, waits_unfilled_nb
from qtsim.core.records import Record
from qtsim.core.safety_governor import has_order_nb
from qtsim.sim.asleep import stand_together_nb
from qtsim.sim.entries import arrive_nb, meet_order_nb
from qtsim.sim.fills import order_band_nb
from qtsim.sim.funding import charge_boundary_funding_nb, charge_due_funding_nb, next_funding_time_nb, opens_at_nb
from qtsim.sim.market import (
    ADVANCE,
    AMBIGUOUS_BARS,
    CYCLES,
    DOUBTS,
    HOLDS,
    NO_BAR,
    ROUSES,
    Book,
    Ints,
    Journal,
    Tape,
)
from qtsim.sim.paths import (
    SEGMENTS,
    check_interval_nb,
    crossing_nb,
    is_high_nearer_nb,
    next_multiple_nb,
    on_segment_nb,
    segment_time_nb,
    unfold_bar_nb,
)
from qtsim.sim.rouse import rouse_nb
from qtsim.sim.settle import any_active_nb, begin_cycles_nb, is_active_nb, settle_point_nb, stand_at_nb
from qtsim.sim.steps import (
    check_account_nb,
    check_exchange_nb,
    evaluate_nb,
    is_observable_nb,
    run_cycles_nb,
)

NO_EVENT = 2.0
"""Share of a segment that is never reached."""
BEFORE_END = 1.0 - 2.0**-53
"""Largest share of a segment that is not its end."""
EXCHANGE_RANK = 0
ARRIVAL_RANK = 1
CYCLE_RANK = 2


@kernel
def watched_band_nb(position: Record, point: Record, blind: int, params: Record) -> tuple[float, float, float, float]:
    """Triggers that act along the path: of what is open, and of a limit entry that stands in the book."""
    if not is_working_nb(position):
        return position_band_nb(position, point, blind, params)
    order_below, order_above = order_band_nb(position, point, params["sim"])
    if position["side"] == Side.NONE:
        return order_below, order_above, -np.inf, np.inf
    last_below, last_above, mark_below, mark_above = position_band_nb(position, point, blind, params)
    return max(last_below, order_below), min(last_above, order_above), mark_below, mark_above


@kernel
def position_band_nb(position: Record, point: Record, blind: int, params: Record) -> tuple[float, float, float, float]:
    """Triggers of an open position: all, or with `interval`, and while the program is blind, the exchange's."""
    if params["exit"]["monitoring"] == Monitoring.CONTINUOUS and blind == 0:
        return nearest_triggers_nb(position, point, params)
    return exchange_band_nb(position, params)


@kernel
def find_event_nb(slot: Record, position: Record, point: Record, segment: int, blind: int, params: Record) -> None:
    """Write the next trigger that the rest of the segment reaches: event_share, event_price, event_mark.

    A trigger already met fires where the walk stands. The trigger's own price is exact; the other series is linear.
    Where either price is missing nothing can be judged, so nothing may be announced: it would be announced for ever.
    """
    last_below, last_above, mark_below, mark_above = watched_band_nb(position, point, blind, params)
    price = point["price"]
    mark = point["mark"]
    slot["event_share"] = NO_EVENT
    if price != price or mark != mark:
        return
    if price <= last_below or price >= last_above or mark <= mark_below or mark >= mark_above:
        slot["event_share"] = slot["share"]
        slot["event_price"] = price
        slot["event_mark"] = mark
        return
    start = slot["prices"][segment]
    end = slot["prices"][segment + 1]
    mark_start = slot["marks"][segment]
    mark_end = slot["marks"][segment + 1]
    if end != end or mark_end != mark_end:
        return
    on_last = NO_EVENT
    level = 0.0
    if end <= last_below:
        level = last_below
        on_last = crossing_nb(start, end, level)
    elif end >= last_above:
        level = last_above
        on_last = crossing_nb(start, end, level)
    on_mark = NO_EVENT
    mark_level = 0.0
    if mark_end <= mark_below:
        mark_level = mark_below
        on_mark = crossing_nb(mark_start, mark_end, mark_level)
    elif mark_end >= mark_above:
        mark_level = mark_above
        on_mark = crossing_nb(mark_start, mark_end, mark_level)
    share = min(on_last, on_mark)
    if share == NO_EVENT:
        return
    share = max(share, slot["share"])
    slot["event_share"] = share
    if slot["has_mark"] == 0:
        hit = level if on_last <= on_mark else mark_level
        slot["event_price"] = hit
        slot["event_mark"] = hit
        return
    slot["event_price"] = level if on_last <= share else on_segment_nb(start, end, share)
    slot["event_mark"] = mark_level if on_mark <= share else on_segment_nb(mark_start, mark_end, share)


@kernel
def advance_together_nb(book: Book, chosen: int, segment: int, share: float, ts: int, first: int, last: int) -> None:
    """The others of [first, last) stand at the share at which one symbol has its cycle, or with cross margin an event.

    The account is judged there: as of one instant, not of one cycle earlier for those whose turn is yet to come.
    """
    i = book.awake[first]
    while i < last:
        if i != chosen and book.slots[i]["bar"] != NO_BAR:
            stand_at_nb(book.slots[i], book.points[i], segment, share, ts)
        i = book.awake[i + 1]


@kernel
def event_time_nb(start: int, length: int, share: float) -> int:
    """Time of a share of the segment, ns, rounded down."""
    return start + int(np.floor(length * share))


@kernel
def reach_nb(start: int, end: int, horizon: int, close: int, params: Record) -> float:
    """Share of the segment up to which events may fire now.

    Where funding counts both ends, what stands exactly at the bar's close waits for the funding due there.
    """
    if horizon == close and params["costs"]["funding_inclusive"] == FundingInclusive.BOTH:
        return BEFORE_END
    return (horizon - start) / (end - start)


@kernel
def may_arrive_nb(slot: Record, point: Record, segment: int) -> bool:
    """Is there a price on this segment for an order to meet?"""
    price = slot["prices"][segment + 1] + slot["marks"][segment + 1] + point["price"]
    return price == price


@kernel
def fire_next_event_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    segment: int,
    start: int,
    end: int,
    horizon: int,
    close: int,
    first: int,
    last: int,
    params: Record,
) -> bool:
    """Fire the earliest event of symbols [first, last) up to `horizon`; ties: exchange, arrival, cycle, then name."""
    length = end - start
    reach = reach_nb(start, end, horizon, close, params)
    chosen = -1
    chosen_ts = 0
    chosen_rank = 0
    by_interval = params["exit"]["monitoring"] == Monitoring.INTERVAL
    has_cycles = by_interval and book.governor[0]["blind"] == 0
    i = book.awake[first]
    while i < last:
        is_active = book.slots[i]["bar"] != NO_BAR and is_active_nb(book.positions[i])
        if is_active:
            find_event_nb(book.slots[i], book.positions[i], book.points[i], segment, book.governor[0]["blind"], params)
        if is_active and book.slots[i]["event_share"] <= reach:
            ts = event_time_nb(start, length, book.slots[i]["event_share"])
            if chosen < 0 or ts < chosen_ts or (ts == chosen_ts and chosen_rank > EXCHANGE_RANK):
                chosen = i
                chosen_ts = ts
                chosen_rank = EXCHANGE_RANK
        if is_active and is_working_nb(book.positions[i]) and may_arrive_nb(book.slots[i], book.points[i], segment):
            ts = next_arrival_nb(book.positions[i])
            earlier = chosen < 0 or ts < chosen_ts or (ts == chosen_ts and chosen_rank > ARRIVAL_RANK)
            if start < ts < end and ts <= horizon and earlier:
                chosen = i
                chosen_ts = ts
                chosen_rank = ARRIVAL_RANK
        is_open = is_active and book.positions[i]["side"] != Side.NONE
        if has_cycles and is_open and book.slots[i]["next_cycle"] <= horizon and book.slots[i]["next_cycle"] < close:
            ts = book.slots[i]["next_cycle"]
            if chosen < 0 or ts < chosen_ts:
                chosen = i
                chosen_ts = ts
                chosen_rank = CYCLE_RANK
        i = book.awake[i + 1]
    if chosen < 0:
        return False
    i = chosen
    if chosen_rank == ARRIVAL_RANK:
        share = (chosen_ts - start) / length
        stand_at_nb(book.slots[i], book.points[i], segment, share, chosen_ts)
        if params["account"]["mode_margin"] == MarginMode.CROSS:
            advance_together_nb(book, i, segment, share, chosen_ts, first, last)
        if is_observable_nb(book.positions[i], book.points[i], book.counters):
            observe_nb(book.positions[i], book.points[i]["price"], book.points[i]["mark"])
        was_open = book.positions[i]["side"] != Side.NONE
        arrive_nb(tape, book, journal, i, params)
        if not was_open:
            begin_cycles_nb(book.slots[i], chosen_ts, params)
        return True
    if chosen_rank == CYCLE_RANK:
        share = (chosen_ts - start) / length
        stand_at_nb(book.slots[i], book.points[i], segment, share, chosen_ts)
        advance_together_nb(book, i, segment, share, chosen_ts, first, last)
        book.slots[i]["next_cycle"] = next_multiple_nb(chosen_ts, check_interval_nb(params))
        if is_observable_nb(book.positions[i], book.points[i], book.counters):
            observe_nb(book.positions[i], book.points[i]["price"], book.points[i]["mark"])
        check_account_nb(tape, book, journal, first, last, params)
        run_cycles_nb(tape, book, journal, i, True, params)
        evaluate_nb(tape, book, journal, chosen_ts, params)
        return True
    book.slots[i]["share"] = book.slots[i]["event_share"]
    set_point_nb(book.points[i], chosen_ts, book.slots[i]["event_price"], book.slots[i]["event_mark"])
    if params["account"]["mode_margin"] == MarginMode.CROSS:
        advance_together_nb(book, i, segment, book.slots[i]["event_share"], chosen_ts, first, last)
    check_exchange_nb(tape, book, journal, i, Reason.LIQUIDATION.value, params)
    check_account_nb(tape, book, journal, first, last, params)
    check_exchange_nb(tape, book, journal, i, Reason.HARD_STOP.value, params)
    was_open = book.positions[i]["side"] != Side.NONE
    if is_working_nb(book.positions[i]):
        meet_order_nb(tape, book, journal, i, params)
    if not was_open:
        begin_cycles_nb(book.slots[i], chosen_ts, params)
    if not by_interval and was_open:
        run_cycles_nb(tape, book, journal, i, False, params)
    return True


@kernel
def look_at_last_close_nb(
    tape: Tape, book: Book, journal: Journal, close: int, first: int, last: int, params: Record
) -> None:
    """An interval cycle due at the close of a bar that no other follows at once; else the next open is looked at."""
    i = book.awake[first]
    while i < last:
        is_due = book.slots[i]["bar"] != NO_BAR and book.slots[i]["next_cycle"] == close
        if is_due and not opens_at_nb(tape, book, i, close):
            run_cycles_nb(tape, book, journal, i, True, params)
        i = book.awake[i + 1]


@kernel
def walk_segment_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    segment: int,
    start: int,
    end: int,
    close: int,
    first: int,
    last: int,
    params: Record,
) -> None:
    """Walk one segment of the bars of symbols [first, last), with the funding that falls into it."""
    i = book.awake[first]
    while i < last:
        book.slots[i]["share"] = 0.0
        i = book.awake[i + 1]
    monitoring = params["exit"]["monitoring"]
    while True:
        due = next_funding_time_nb(tape, book, first, last, close)
        horizon = min(end, due)
        if monitoring != Monitoring.POINTS and any_active_nb(book, first, last):
            while fire_next_event_nb(tape, book, journal, segment, start, end, horizon, close, first, last, params):
                pass
        if book.counters[ROUSES] == 1:
            rouse_nb(tape, book, journal, params)
        share = (horizon - start) / (end - start)
        stand_together_nb(book, float(segment), share, horizon)
        i = book.awake[first]
        while i < last:
            if book.slots[i]["bar"] != NO_BAR:
                stand_at_nb(book.slots[i], book.points[i], segment, share, horizon)
            i = book.awake[i + 1]
        if horizon == close and params["costs"]["funding_inclusive"] == FundingInclusive.BOTH:
            # both ends count: before what the last point closes
            charge_boundary_funding_nb(tape, book, journal, first, last, close, True)
        if horizon == end:
            settle_point_nb(tape, book, journal, end, first, last, monitoring != Monitoring.INTERVAL, params)
            if monitoring == Monitoring.POINTS:
                evaluate_nb(tape, book, journal, end, params)
            # whether a bar follows is not known yet where the order of this one is chosen
            is_real = journal.counts[ADVANCE] == 1
            if monitoring == Monitoring.INTERVAL and end == close and is_real:
                look_at_last_close_nb(tape, book, journal, close, first, last, params)
        if due == horizon and due < close:
            charge_due_funding_nb(tape, book, journal, first, last, due)
        if horizon == end:
            return


@kernel
def is_quiet_bar_nb(
    slot: Record, position: Record, point: Record, bar: Record, close: int, blind: int, params: Record
) -> bool:
    """Can nothing happen to an open position in this bar but cycles that hold? Its prices stay inside all triggers."""
    if slot["looked"] == 0 or position["trail_active"] == 1 or blind == 1 or is_working_nb(position):
        return False
    if is_stale_nb(position, close) or has_order_nb(position):
        return False
    if bar["close"] != bar["close"] or bar["mark_close"] != bar["mark_close"]:
        return False
    last_below, last_above, mark_below, mark_above = nearest_triggers_nb(position, point, params)
    inside = bar["low"] > last_below and bar["high"] < last_above
    if slot["has_mark"] == 1:
        return inside and bar["mark_low"] > mark_below and bar["mark_high"] < mark_above
    return inside and bar["low"] > mark_below and bar["high"] < mark_above


@kernel
def may_pass_slot_nb(tape: Tape, book: Book, i: int, close: int, params: Record) -> bool:
    """May the slot's bar be passed over: no funding due inside, nothing that the bar could do to it?"""
    slot = book.slots[i]
    row = slot["next_funding"]
    if row < slot["funding_end"] and tape.funding[row]["ts"] <= close:
        return False
    if slot["bar"] == NO_BAR or not is_active_nb(book.positions[i]):
        return True
    bar = tape.bars[slot["bar"]]
    if book.positions[i]["side"] == Side.NONE:
        return not is_in_reach_nb(book.positions[i], bar) and next_arrival_nb(book.positions[i]) > close
    return is_quiet_bar_nb(slot, book.positions[i], book.points[i], bar, close, book.governor[0]["blind"], params)


@kernel
def may_pass_nb(tape: Tape, book: Book, close: int, first: int, last: int, params: Record) -> bool:
    """May the bars of slots [first, last) be passed over: watched along the path, isolated margins, all quiet?"""
    if params["exit"]["monitoring"] != Monitoring.CONTINUOUS or params["account"]["mode_margin"] == MarginMode.CROSS:
        return False
    i = book.awake[first]
    while i < last:
        if not may_pass_slot_nb(tape, book, i, close, params):
            return False
        i = book.awake[i + 1]
    return True


@kernel
def pass_bar_nb(slot: Record, position: Record, point: Record, close: int, counters: Ints) -> None:
    """What a quiet bar leaves behind: its close, the extremes seen at its points, and the cycles that held there."""
    if position["side"] != Side.NONE:
        for k in range(1, SEGMENTS + 1):
            observe_nb(position, slot["prices"][k], slot["marks"][k])
        counters[CYCLES] += SEGMENTS
        counters[HOLDS] += SEGMENTS
    slot["share"] = 1.0
    set_point_nb(point, close, slot["prices"][SEGMENTS], slot["marks"][SEGMENTS])


@kernel
def walk_bars_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    ts_open: int,
    close: int,
    first: int,
    last: int,
    params: Record,
) -> None:
    """Walk the bars of symbols [first, last) that opened at `ts_open`, to their close."""
    if may_pass_nb(tape, book, close, first, last, params):
        i = book.awake[first]
        while i < last:
            if book.slots[i]["bar"] != NO_BAR:
                pass_bar_nb(book.slots[i], book.positions[i], book.points[i], close, book.counters)
            i = book.awake[i + 1]
        return
    interval_ns = check_interval_nb(params)
    i = book.awake[first]
    while i < last:
        # a cycle at the close is the next open's, where there is one
        book.slots[i]["next_cycle"] = next_multiple_nb(ts_open, interval_ns)
        i = book.awake[i + 1]
    for segment in range(SEGMENTS):
        start = segment_time_nb(ts_open, close - ts_open, segment)
        end = segment_time_nb(ts_open, close - ts_open, segment + 1)
        walk_segment_nb(tape, book, journal, segment, start, end, close, first, last, params)


@kernel
def copy_symbol_nb(source: Book, target: Book, first: int, last: int, params: Record) -> None:
    """Copy what walking one symbol's bar can change.

    With cross margin, and where an order that arrives has to be paid for, also what else uses the account.
    first, last: the symbol's slots.
    """
    target.account[0] = source.account[0]
    target.governor[0] = source.governor[0]
    asks = params["account"]["mode_margin"] == MarginMode.CROSS
    for i in range(first, last):
        asks = asks or is_working_nb(source.positions[i])
    if asks:
        for j in range(len(source.positions)):
            target.positions[j] = source.positions[j]
            target.points[j] = source.points[j]
    for i in range(first, last):
        target.positions[i] = source.positions[i]
        target.points[i] = source.points[i]
        target.slots[i] = source.slots[i]
        if is_working_nb(source.positions[i]):
            target.plans[i] = source.plans[i]


@kernel
def try_order_nb(
    tape: Tape,
    book: Book,
    trial_book: Book,
    trial_journal: Journal,
    first: int,
    last: int,
    high_first: bool,
    ts_open: int,
    close: int,
    params: Record,
) -> float:
    """Walk a copy of the symbol's bar in the given order, all else as at the open.

    Returns the part of the equity at the close that its trades make; the copy's state stays in the trial book.
    """
    copy_symbol_nb(book, trial_book, first, last, params)
    unfold_slots_nb(tape, trial_book, first, last, high_first)
    walk_bars_nb(tape, trial_book, trial_journal, ts_open, close, first, last, params)
    equity = 0.0
    for i in range(first, last):
        if book.positions[i]["side"] != Side.NONE or has_opened_nb(book.positions[i], trial_book.positions[i]):
            equity += trade_equity_nb(trial_book.positions[i], trial_book.points[i]["mark"])
    return equity


@kernel
def has_opened_nb(before: Record, after: Record) -> bool:
    """Has an entry order that stood before opened a position since? It may have closed again."""
    return before["side"] == Side.NONE and waits_unfilled_nb(before) and after["order_filled"] > 0


@kernel
def unfold_slots_nb(tape: Tape, book: Book, first: int, last: int, high_first: bool) -> None:
    """Unfold the bar of one symbol for its slots [first, last)."""
    for i in range(first, last):
        slot = book.slots[i]
        unfold_bar_nb(tape.bars[slot["bar"]], high_first, slot["has_mark"] == 1, slot["prices"], slot["marks"])


@kernel
def zero_if_none_nb(price: float) -> float:
    """A price, or 0 where there is none, so that two missing ones are equal."""
    if price != price:
        return 0.0
    return price


@kernel
def exit_state_nb(position: Record) -> tuple[float, float, float, float, float, float, float, float]:
    """What exits have brought so far and what decides later ones. Equal: the order of the extremes was no matter.

    Funding inside the bar is left out: it moves money with the order, but no exit.
    """
    if position["side"] == Side.NONE:
        return position["exit_value"], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    return (
        position["exit_value"],
        float(position["lots"]),
        float(position["next_leg"]),
        float(position["breakeven_done"]),
        zero_if_none_nb(position["stop_price"]),
        zero_if_none_nb(position["peak"]),
        position["entry_price"],
        float(position["exit_at"]) if has_exit_sent_nb(position) else 0.0,
    )


@kernel
def account_may_fall_nb(tape: Tape, book: Book, i: int, params: Record) -> bool:
    """Cross margin: could the account be liquidated at an extreme of the symbol's bar, all else as at the open?

    Margin balance less maintenance is concave in one mark, so its lowest value is at one of the extremes.
    """
    if params["account"]["mode_margin"] != MarginMode.CROSS:
        return False
    bar = tape.bars[book.slots[i]["bar"]]
    kept = book.points[i]["mark"]
    has_mark = book.slots[i]["has_mark"] == 1
    book.points[i]["mark"] = bar["mark_low"] if has_mark else bar["low"]
    falls = is_account_liquidated_nb(book.account[0], book.positions, book.points, tape.instruments)
    book.points[i]["mark"] = bar["mark_high"] if has_mark else bar["high"]
    falls = falls or is_account_liquidated_nb(book.account[0], book.positions, book.points, tape.instruments)
    book.points[i]["mark"] = kept
    return falls


@kernel
def order_may_act_nb(position: Record, bar: Record, close: int) -> bool:
    """Can an order of the slot be filled in this bar: a limit that stands, or what reaches the exchange in it?"""
    return is_in_reach_nb(position, bar) or next_arrival_nb(position) <= close


@kernel
def bar_may_act_nb(tape: Tape, book: Book, i: int, close: int, params: Record) -> bool:
    """Can this bar reach a trigger, move a trail, make the position stale, plan it again, be charged funding, or is the
    governor's order to be obeyed in it?"""
    position = book.positions[i]
    if position["trail_active"] == 1 or is_stale_nb(position, close) or has_order_nb(position):
        return True
    if is_replan_due_nb(position, book.points[i], params):
        return True
    if next_funding_time_nb(tape, book, i, i + 1, close) < close or account_may_fall_nb(tape, book, i, params):
        return True
    bar = tape.bars[book.slots[i]["bar"]]
    last_below, last_above, mark_below, mark_above = nearest_triggers_nb(position, book.points[i], params)
    if bar["low"] <= last_below or bar["high"] >= last_above:
        return True
    if book.slots[i]["has_mark"] == 1:
        return bar["mark_low"] <= mark_below or bar["mark_high"] >= mark_above
    return bar["low"] <= mark_below or bar["high"] >= mark_above


@kernel
def doubt_bar_nb(tape: Tape, book: Book, journal: Journal, i: int) -> None:
    """Note that the order of the extremes of a symbol's bar matters."""
    book.counters[AMBIGUOUS_BARS] += 1
    bar = tape.bars[book.slots[i]["bar"]]
    row = journal.doubts[journal.counts[DOUBTS]]
    row["ts"] = bar["ts_open"]
    row["length"] = bar["length"]
    row["symbol"] = book.slots[i]["symbol"]
    journal.counts[DOUBTS] += 1


@kernel
def choose_path_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    trial_book: Book,
    trial_journal: Journal,
    first: int,
    last: int,
    ts_open: int,
    close: int,
    diagnose: bool,
    params: Record,
) -> None:
    """Unfold a symbol's bar in the order that `sim.path` asks for; note on its trades whether the order matters.

    first, last: the symbol's slots. adverse takes the order that leaves the lower equity at the close, favourable the
    higher; ties low first. From a bar on whose order changes what a trade is left with, every exit of that trade
    depends on the path.
    """
    path = params["sim"]["path"]
    high_first = is_high_nearer_nb(tape.bars[book.slots[first]["bar"]])
    matters = False
    if path != PathModel.NEAREST or diagnose:
        for i in range(first, last):
            if order_may_act_nb(book.positions[i], tape.bars[book.slots[i]["bar"]], close):
                matters = True
            if book.positions[i]["side"] != Side.NONE and bar_may_act_nb(tape, book, i, close, params):
                matters = True
    if matters:
        low = try_order_nb(tape, book, trial_book, trial_journal, first, last, False, ts_open, close, params)
        low_first = exit_state_nb(trial_book.positions[first])
        low_last = exit_state_nb(trial_book.positions[last - 1])
        high = try_order_nb(tape, book, trial_book, trial_journal, first, last, True, ts_open, close, params)
        differs_first = low_first != exit_state_nb(trial_book.positions[first])
        differs_last = low_last != exit_state_nb(trial_book.positions[last - 1])
        if differs_first:
            book.positions[first]["path_doubt"] = 1
        if differs_last:
            book.positions[last - 1]["path_doubt"] = 1
        if differs_first or differs_last:
            doubt_bar_nb(tape, book, journal, first)
        if path == PathModel.ADVERSE:
            high_first = high < low
        elif path == PathModel.FAVOURABLE:
            high_first = high > low
    elif path != PathModel.NEAREST:
        high_first = False
    unfold_slots_nb(tape, book, first, last, high_first)
