"""What quiet boundaries leave behind at a slot that has slept through them, at once, to the byte as the plain steps."""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.accounting import observe_nb, set_point_nb, show_signal_nb
from qtsim.core.enums import PriceKind, Reason, Side
from qtsim.core.records import Record, Records
from qtsim.core.stops import is_tighter_nb, tighter_tick_nb
from qtsim.core.trailing import better_price_nb, trail_price_nb
from qtsim.sim.asleep import note_awake_nb
from qtsim.sim.fills import room_lots_nb
from qtsim.sim.index import BLOCK, ENTRY, HIGH, LOW, MARK_HIGH, MARK_LOW
from qtsim.sim.market import ASLEEP, CYCLES, HOLDS, NO_BAR, ROUSES, Book, Floats, Ints, Tape
from qtsim.sim.paths import SEGMENTS


@kernel
def signals_by_nb(signals: Records, first: int, end: int, ts: int, timeframe_ns: int) -> int:
    """First row of [first, end) that closes after `ts`, or end: where it lies if none is missing, else searched for."""
    if first >= end or signals[first]["ts_close"] > ts:
        return first
    row = min(first + (ts - signals[first]["ts_close"]) // timeframe_ns, end - 1)
    if signals[row]["ts_close"] <= ts and (row + 1 == end or signals[row + 1]["ts_close"] > ts):
        return row + 1
    low = first
    high = end
    while high - low > 1:
        middle = (low + high) // 2
        if signals[middle]["ts_close"] <= ts:
            low = middle
        else:
            high = middle
    return low + 1


@kernel
def count_before_nb(start: int, step: int, until: int) -> int:
    """How many of start, start + step, ... lie before `until`."""
    if until <= start:
        return 0
    return (until - start - 1) // step + 1


@kernel
def is_walking_nb(bars: Records, slot: Record, ts: int) -> bool:
    """Does a bar of the slot's symbol open at `ts`?"""
    return slot["next_bar"] < slot["bars_end"] and bars[slot["next_bar"]]["ts_open"] == ts


@kernel
def next_ask_nb(tape: Tape, slot: Record) -> int:
    """Place in the index of the slot's next request; it may be another symbol's where there is none left."""
    row = slot["next_signal"]
    if row >= slot["signals_end"]:
        return len(tape.asks) - 1
    if slot["next_ask"] == NO_BAR:
        slot["next_ask"] = tape.requests[row, ENTRY]
    while tape.asks[slot["next_ask"]]["row"] < row:
        slot["next_ask"] += 1
    return slot["next_ask"]


@kernel
def follow_trail_nb(
    bars: Records,
    signals: Records,
    slot: Record,
    position: Record,
    point: Record,
    instrument: Record,
    ts: int,
    step: int,
    m: int,
    params: Record,
) -> None:
    """Follow an active trail over at most m bars, as long as none can reach the stop that it leaves behind.

    Then the order of a bar's extremes does not matter: the peak at its end is the best of both, the stop is that
    peak's, and no price of the bar meets even this one. Writes trailed_bars, trailed_peak, trailed_stop.
    """
    side = float(position["side"])
    on_mark = params["exit"]["trigger_price"] == PriceKind.MARK and slot["has_mark"] == 1
    suspend = params["stops"]["trail_suspend_volatility"]
    atr = point["atr"]
    volatility = point["volatility_factor"]
    known = slot["next_signal"]
    end = slot["signals_end"]
    peak = position["peak"]
    stop = position["stop_price"]
    slot["trailed_bars"] = m
    for k in range(m):
        moved = False
        while known < end and signals[known]["ts_close"] <= ts + k * step:
            moved = moved or atr != signals[known]["atr"] or volatility != signals[known]["volatility_factor"]
            atr = signals[known]["atr"]
            volatility = signals[known]["volatility_factor"]
            known += 1
        bar = bars[slot["next_bar"] + k]
        highest = max(max(bar["open"], bar["high"]), bar["close"])
        lowest = min(min(bar["open"], bar["low"]), bar["close"])
        best = better_price_nb(peak, highest if side > 0.0 else lowest, side)
        next_stop = stop
        if (moved or best != peak or k == 0) and volatility < suspend:
            candidate = tighter_tick_nb(trail_price_nb(position, best, atr, params["exit"]), side, instrument)
            if is_tighter_nb(candidate, stop, side):
                next_stop = candidate
        worst = lowest if side > 0.0 else highest
        if on_mark:
            mark_highest = max(max(bar["mark_open"], bar["mark_high"]), bar["mark_close"])
            mark_lowest = min(min(bar["mark_open"], bar["mark_low"]), bar["mark_close"])
            worst = mark_lowest if side > 0.0 else mark_highest
        if not side * (worst - next_stop) > 0.0:
            slot["trailed_bars"] = k
            break
        peak = best
        stop = next_stop
    slot["trailed_peak"] = peak
    slot["trailed_stop"] = stop


@kernel
def observe_rows_nb(bars: Records, blocks: Floats, first: int, end: int, position: Record, has_mark: bool) -> None:
    """Remember the extremes of the bars in rows [first, end)."""
    low = mark_low = np.inf
    high = mark_high = -np.inf
    row = first
    while row < end:
        if row % BLOCK == 0 and row + BLOCK <= end:
            block = blocks[row // BLOCK]
            low = min(low, block[LOW])
            high = max(high, block[HIGH])
            mark_low = min(mark_low, block[MARK_LOW])
            mark_high = max(mark_high, block[MARK_HIGH])
            row += BLOCK
            continue
        bar = bars[row]
        low = min(low, min(min(bar["open"], bar["low"]), bar["close"]))
        high = max(high, max(max(bar["open"], bar["high"]), bar["close"]))
        mark_low = min(mark_low, min(min(bar["mark_open"], bar["mark_low"]), bar["mark_close"]))
        mark_high = max(mark_high, max(max(bar["mark_open"], bar["mark_high"]), bar["mark_close"]))
        row += 1
    if has_mark:
        observe_nb(position, low, mark_low)
        observe_nb(position, high, mark_high)
    else:
        observe_nb(position, low, low)
        observe_nb(position, high, high)


@kernel
def shown_at_nb(ts: int, step: int, ts_close: int) -> int:
    """The boundary, from `ts` on, at which a signal that closes at `ts_close` becomes known."""
    return ts + count_before_nb(ts, step, ts_close) * step


@kernel
def pass_funding_nb(tape: Tape, slot: Record, ts: int) -> None:
    """Pass over the funding events at or before `ts`: nothing is open that they could be charged to."""
    while slot["next_funding"] < slot["funding_end"] and tape.funding[slot["next_funding"]]["ts"] <= ts:
        slot["next_funding"] += 1


@kernel
def pass_slot_nb(
    tape: Tape,
    slot: Record,
    position: Record,
    point: Record,
    instrument: Record,
    counters: Ints,
    ts: int,
    close: int,
    step: int,
    m: int,
    params: Record,
) -> None:
    """Leave one symbol as m quiet boundaries from `ts` on leave it, `step` apart, before the next one at `close`."""
    is_open = position["side"] != Side.NONE
    slot["looked"] = 0
    slot["acting"] = NO_BAR
    slot["next_ask"] = next_ask_nb(tape, slot)
    pass_funding_nb(tape, slot, close - 1)
    if not is_walking_nb(tape.bars, slot, ts):
        return
    if is_open and position["trail_active"] == 1:
        if slot["trailed_bars"] != m:
            follow_trail_nb(tape.bars, tape.signals, slot, position, point, instrument, ts, step, m, params)
        position["peak"] = slot["trailed_peak"]
        if slot["trailed_stop"] != position["stop_price"]:
            position["stop_price"] = slot["trailed_stop"]
            position["stop_reason"] = Reason.TRAIL.value
    first = slot["next_bar"]
    last = first + m - 1
    slot["bar"] = last
    slot["next_bar"] = last + 1
    slot["share"] = 1.0
    row = slot["next_signal"]
    known = signals_by_nb(tape.signals, row, slot["signals_end"], close - step, tape.timeframe_ns)
    slot["next_signal"] = known
    if known > row:
        show_signal_nb(point, tape.signals[known - 1], shown_at_nb(ts, step, tape.signals[known - 1]["ts_close"]))
    bar = tape.bars[last]
    point["half_spread"] = bar["half_spread"]
    point["room"] = room_lots_nb(bar["volume"], instrument, params["sim"])
    set_point_nb(point, close, bar["close"], bar["mark_close"] if slot["has_mark"] == 1 else bar["close"])
    if is_open:
        slot["looked"] = 1
        position["seen_regime"] = point["regime"]
        counters[CYCLES] += m * (SEGMENTS + 1)
        counters[HOLDS] += m * (SEGMENTS + 1)
        observe_rows_nb(tape.bars, tape.blocks, first, last + 1, position, slot["has_mark"] == 1)


@kernel
def catch_up_nb(tape: Tape, book: Book, i: int, b: int, params: Record) -> None:
    """Wake a slot before boundary `b`: all that it has slept through was quiet. Which are awake is noted later."""
    sleep = book.sleeps[i]
    since = sleep["since"]
    sleep["asleep"] = 0
    sleep["refused"] = 0
    if since < b:
        pass_slot_nb(
            tape,
            book.slots[i],
            book.positions[i],
            book.points[i],
            tape.instruments[i],
            book.counters,
            sleep["since_ts"],
            tape.boundaries[b],
            sleep["step"],
            b - since,
            params,
        )


@kernel
def catch_up_all_nb(tape: Tape, book: Book, b: int, params: Record) -> None:
    """Wake every slot before boundary `b`."""
    book.counters[ROUSES] = 0
    if book.counters[ASLEEP] == 0:
        return
    for i in range(len(book.sleeps)):
        if book.sleeps[i]["asleep"] == 1:
            catch_up_nb(tape, book, i, b, params)
    note_awake_nb(book)
