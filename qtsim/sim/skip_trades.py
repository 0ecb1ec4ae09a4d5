"""Passing over trades at which nothing can happen. The plain steps of the session are the reference, byte for byte.

A trade is quiet where no signal waits for a price, no boundary of the signals' bars, funding, outage or cycle by the
clock is due, and every open position's prices stay strictly inside its nearest triggers. What it changes is the point
that the symbol shows, the extremes that a position has seen, and the count of cycles that held.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.accounting import observe_nb
from qtsim.core.enums import MarginMode, Monitoring, Rule, Side, Working
from qtsim.core.exit_brain import nearest_triggers_nb
from qtsim.core.orders import is_working_nb, rests_nb
from qtsim.core.records import Record
from qtsim.core.safety_governor import has_order_nb, order_rule_nb, reach_open_nb
from qtsim.sim.fills import room_lots_nb
from qtsim.sim.funding import next_funding_time_nb
from qtsim.sim.market import CYCLES, HOLDS, NEXT_OUTAGE, NO_BAR, Book, Tape
from qtsim.sim.paths import next_multiple_nb
from qtsim.sim.walk import watched_band_nb

NEVER_DUE = np.iinfo(np.int64).max


@kernel
def sees_trades_nb(book: Book, params: Record) -> bool:
    """Does the program have a cycle at every trade? Not by the clock, and not while it does not run."""
    return params["exit"]["monitoring"] != Monitoring.INTERVAL and book.governor[0]["blind"] == 0


@kernel
def is_busy_nb(book: Book, i: int, ts: int, params: Record) -> bool:
    """Does a signal wait for a trade, do the data end here, or may a cycle do more than meet a trigger?"""
    slot = book.slots[i]
    ends_here = slot["ends"] == 1 and slot["bar"] != NO_BAR and slot["bar"] >= slot["bars_end"] - 1
    if slot["pending"] != NO_BAR or ends_here:
        return True
    position = book.positions[i]
    if is_working_nb(position) and (position["working"] != Working.ENTRY or not rests_nb(position)):
        return True
    if rests_nb(position) and order_rule_nb(position, book.governor[0], ts, params) != Rule.NONE:
        return True
    if position["side"] == Side.NONE:
        return False
    if position["leg_waits"] == 1:
        return True
    if params["account"]["mode_margin"] == MarginMode.CROSS or has_order_nb(position):
        return True
    return sees_trades_nb(book, params) and (book.slots[i]["looked"] == 0 or position["trail_active"] == 1)


@kernel
def quiet_until_nb(tape: Tape, book: Book, ts: int, params: Record) -> int:
    """Time before which only prices can make anything happen; ts: until when all is done. -1: something can at once."""
    by_clock = params["exit"]["monitoring"] == Monitoring.INTERVAL
    blind = book.governor[0]["blind"] == 1
    if params["exit"]["monitoring"] == Monitoring.POINTS and params["gates"]["enabled"] == 1 and not blind:
        return -1  # the governor evaluates at every point
    until = next_funding_time_nb(tape, book, 0, len(book.slots), NEVER_DUE)
    if book.counters[NEXT_OUTAGE] < len(tape.outages):
        until = min(until, tape.outages[book.counters[NEXT_OUTAGE]]["ts"])
    # a trade at the instant of a cycle is evaluated, whether anything is open or not
    cycles = by_clock and params["gates"]["enabled"] == 1
    for i in range(len(book.slots)):
        if is_busy_nb(book, i, ts, params):
            return -1
        position = book.positions[i]
        if rests_nb(position):
            until = min(until, position["order_until"])
        if position["side"] == Side.NONE:
            continue
        if by_clock:
            cycles = True
        elif position["stale_price"] == position["stale_price"] and position["stale_ts"] > book.points[i]["ts"]:
            # its age counts from its own symbol's next trade, and the band is that of its last one
            until = min(until, position["stale_ts"])
    if cycles:
        until = min(until, next_multiple_nb(ts, int(params["exit"]["check_interval_s"] * 1e9)))
    return until


@kernel
def set_bands_nb(book: Book, params: Record) -> None:
    """Write the nearest triggers of every open position into its slot."""
    for i in range(len(book.slots)):
        slot = book.slots[i]
        slot["last_below"] = slot["mark_below"] = -np.inf
        slot["last_above"] = slot["mark_above"] = np.inf
        if book.positions[i]["side"] != Side.NONE:
            if sees_trades_nb(book, params):
                band = nearest_triggers_nb(book.positions[i], book.points[i], params)
            else:
                band = watched_band_nb(book.positions[i], book.points[i], 1, params)
            slot["last_below"], slot["last_above"], slot["mark_below"], slot["mark_above"] = band
        if rests_nb(book.positions[i]):
            trigger = book.positions[i]["order_trigger"]
            if book.positions[i]["order_side"] > 0:
                slot["last_below"] = max(slot["last_below"], trigger)
            else:
                slot["last_above"] = min(slot["last_above"], trigger)


@kernel
def skip_trades_nb(tape: Tape, book: Book, b: int, stop_at: int, params: Record) -> int:
    """Pass over quiet trades from boundary `b` on; the first boundary that is not quiet, at most `stop_at`."""
    if b == 0 or b >= stop_at or tape.marked[b] == 1:
        return b
    # of several trades of one instant the last is the one that a cycle by the clock sees
    done = tape.boundaries[b - 1] - (1 if tape.boundaries[b - 1] == tape.boundaries[b] else 0)
    until = quiet_until_nb(tape, book, done, params)
    if tape.boundaries[b] >= until:
        return b
    set_bands_nb(book, params)
    n = len(book.slots)
    slots = book.slots
    bars = tape.bars
    counted = 1 if sees_trades_nb(book, params) else 0
    while b < stop_at:
        ts = tape.boundaries[b]
        if tape.marked[b] == 1 or ts >= until:
            return b
        for i in range(n):
            row = slots[i]["next_bar"]
            if row >= slots[i]["bars_end"] or bars[row]["ts_open"] != ts:
                continue
            price = bars[row]["open"]
            mark = bars[row]["mark_open"]
            inside = slots[i]["last_below"] < price < slots[i]["last_above"]
            inside = inside and slots[i]["mark_below"] < mark < slots[i]["mark_above"]
            if not inside or row >= slots[i]["bars_end"] - 1:
                return b
        for i in range(n):
            slots[i]["bar"] = NO_BAR
            row = slots[i]["next_bar"]
            if row >= slots[i]["bars_end"] or bars[row]["ts_open"] != ts:
                continue
            slots[i]["bar"] = row
            slots[i]["next_bar"] = row + 1
            point = book.points[i]
            point["ts"] = ts
            point["price"] = bars[row]["open"]
            point["mark"] = bars[row]["mark_open"] if slots[i]["has_mark"] == 1 else bars[row]["open"]
            point["half_spread"] = bars[row]["half_spread"]
            point["room"] = room_lots_nb(bars[row]["volume"], tape.instruments[i], params["sim"])
            reach_open_nb(book.positions[i], ts)
            if book.positions[i]["side"] != Side.NONE:
                observe_nb(book.positions[i], point["price"], point["mark"])
                book.counters[CYCLES] += counted
                book.counters[HOLDS] += counted
        b += 1
    return b
