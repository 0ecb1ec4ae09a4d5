"""How long nothing can happen at a slot: then it may sleep.

A boundary is quiet for a slot where no request of it may be granted, no funding is due to it, and an open position's
prices stay strictly inside its nearest triggers until the next one. Every bound is cautious: a boundary visited in vain
is harmless. What happens to the whole account, outages, transfers, the governor, is looked at in `skip_bars.py`.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import (
    EndOfData,
    ExitPolicy,
    FundingInclusive,
    OnOppositeSignal,
    Replan,
    Rule,
    Side,
    TrailMode,
)
from qtsim.core.exit_brain import nearest_triggers_nb, turns_choppy_nb
from qtsim.core.guards import is_crash_nb, is_stale_nb
from qtsim.core.orders import is_working_nb
from qtsim.core.records import NEVER, Record, Records
from qtsim.core.safety_governor import governor_rule_nb, has_order_nb
from qtsim.core.slots import NO_SLOT
from qtsim.sim.boundary import is_expired_nb
from qtsim.sim.catch_up import count_before_nb, follow_trail_nb, is_walking_nb, next_ask_nb, signals_by_nb
from qtsim.sim.due import NEVER_DUE
from qtsim.sim.index import (
    BLOCK,
    EXIT_LONG,
    EXIT_SHORT,
    HIGH,
    LEADER_24H,
    LOW,
    MARK_HIGH,
    MARK_LOW,
    TURNS_CHOPPY,
    TWIN,
    VOLATILITY,
)
from qtsim.sim.market import NO_BAR, Book, Floats, Tape
from qtsim.sim.settle import is_active_nb

MOST = 1024
"""Boundaries looked ahead at once: what is looked at beyond an event is looked at again after it."""


@kernel
def count_closed_before_nb(start: int, step: int, until: int) -> int:
    """How many bars from `start` on have closed before `until`."""
    if until <= start:
        return 0
    return (until - start - 1) // step


@kernel
def is_calm_nb(slot: Record, position: Record, point: Record, params: Record) -> bool:
    """Would a cycle of the open position do nothing but compare prices with triggers, and follow a trail?"""
    if slot["looked"] == 0 or has_order_nb(position) or position["leg_waits"] == 1:
        return False
    if position["trail_active"] == 1 and position["trail_mode"] == TrailMode.LADDER:
        return False
    if params["exit"]["replan"] == Replan.BAR and params["exit"]["policy"] == ExitPolicy.EXIT_BRAIN:
        return False
    return point["price"] == point["price"]


@kernel
def bound_by_funding_nb(tape: Tape, book: Book, i: int, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries until the open position is charged; where both ends count, the bar that closes then is not among them.

    Where nothing is open funding still parts the bar in which it is due, for all symbols.
    """
    slot = book.slots[i]
    row = slot["next_funding"]
    is_open = book.positions[i]["side"] != Side.NONE
    if row >= slot["funding_end"] or (not is_open and len(book.slots) == 1):
        return m
    due = tape.funding[row]["ts"]
    if not is_open or params["costs"]["funding_inclusive"] != FundingInclusive.BOTH:
        due += 1
    return min(m, count_closed_before_nb(ts, step, due))


@kernel
def refused_until_nb(stats: Record, governor: Record, ts: int, params: Record) -> int:
    """Until when every entry on the symbol is refused, whatever is asked and at what price; `ts`: it may not be.

    What ends before that time by a clock of its own is due then anyway.
    """
    if params["gates"]["enabled"] == 0:
        return ts
    if stats["blacklisted_at"] != NEVER or governor_rule_nb(governor, ts) != Rule.NONE:
        return NEVER_DUE
    return max(ts, stats["disabled_until"]) if stats["disabled_until"] != NEVER else ts


@kernel
def is_account_idle_nb(positions: Records) -> bool:
    """Is nothing open, and no order on its way or standing?"""
    for i in range(len(positions)):
        if is_active_nb(positions[i]):
            return False
    return True


@kernel
def bound_by_refusal_nb(book: Book, i: int, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries at which every request of the flat slot is refused, as long as nothing is open; 0: none is."""
    if book.slots[i]["other"] != NO_SLOT:
        return 0
    until = refused_until_nb(book.stats[book.slots[i]["symbol"]], book.governor[0], ts, params)
    if until <= ts or not is_account_idle_nb(book.positions):
        return 0
    return min(m, count_before_nb(ts, step, until))


@kernel
def bound_by_asks_nb(tape: Tape, slot: Record, ts: int, step: int, m: int) -> int:
    """Boundaries before the slot's next request."""
    ask = tape.asks[next_ask_nb(tape, slot)]
    if ask["row"] >= slot["signals_end"]:
        return m
    return min(m, count_before_nb(ts, step, ask["ts_close"]))


@kernel
def bound_by_exits_nb(
    signals: Records, requests: np.ndarray, slot: Record, position: Record, ts: int, step: int, m: int
) -> int:
    """Boundaries before the first signal that asks to leave the open position."""
    row = slot["next_signal"]
    if row >= slot["signals_end"]:
        return m
    leaves = requests[row, EXIT_LONG if position["side"] == Side.LONG else EXIT_SHORT]
    if leaves >= slot["signals_end"]:
        return m
    return min(m, count_before_nb(ts, step, signals[leaves]["ts_close"]))


@kernel
def bound_by_weather_nb(
    signals: Records,
    weather: Floats,
    slot: Record,
    position: Record,
    by_crash: bool,
    by_regime: bool,
    timeframe_ns: int,
    ts: int,
    step: int,
    m: int,
    guard: Record,
) -> int:
    """Boundaries before a crash begins, or the regime turns CHOPPY before a stop is tightened.

    A crash that lasts is no storm: its guard is among the triggers already.
    """
    if m == 0 or (not by_crash and not by_regime):
        return m
    first = slot["next_signal"]
    end = signals_by_nb(signals, first, slot["signals_end"], ts + (m - 1) * step, timeframe_ns)
    storm = first_storm_nb(signals, weather, first, end, position, by_crash, by_regime, guard)
    if storm == end:
        return m
    return min(m, count_before_nb(ts, step, signals[storm]["ts_close"]))


@kernel
def first_storm_nb(
    signals: Records,
    weather: Floats,
    first: int,
    end: int,
    position: Record,
    by_crash: bool,
    by_regime: bool,
    guard: Record,
) -> int:
    """First row of [first, end) at which a crash begins, or the regime turns CHOPPY, each where asked for; or end."""
    row = first
    while row < end:
        if row % BLOCK == 0 and row + BLOCK <= end:
            block = weather[row // BLOCK]
            crash = (
                block[VOLATILITY] >= guard["stale_crash_volatility"]
                or block[LEADER_24H] <= guard["stale_crash_leader_24h"]
            )
            if not (by_crash and crash) and not (by_regime and block[TURNS_CHOPPY] > 0.0):
                row += BLOCK
                continue
        if by_crash and is_crash_nb(signals[row], guard):
            return row
        if by_regime:
            seen = position["seen_regime"] if row == first else signals[row - 1]["regime"]
            if turns_choppy_nb(seen, signals[row]["regime"]):
                return row
        row += 1
    return end


@kernel
def first_touch_nb(
    bars: Records,
    blocks: Floats,
    first: int,
    end: int,
    has_mark: bool,
    last_below: float,
    last_above: float,
    mark_below: float,
    mark_above: float,
) -> int:
    """First row of [first, end) that has a price outside the triggers, or lacks one; or end."""
    if not has_mark:
        last_below = max(last_below, mark_below)
        last_above = min(last_above, mark_above)
    row = first
    while row < end:
        if row % BLOCK == 0 and row + BLOCK <= end:
            block = blocks[row // BLOCK]
            inside = block[LOW] > last_below and block[HIGH] < last_above
            if has_mark:
                inside = inside and block[MARK_LOW] > mark_below and block[MARK_HIGH] < mark_above
            if inside:
                row += BLOCK
                continue
        bar = bars[row]
        inside = bar["low"] > last_below and bar["high"] < last_above
        inside = inside and last_below < bar["open"] < last_above and last_below < bar["close"] < last_above
        if has_mark:
            inside = inside and bar["mark_low"] > mark_below and bar["mark_high"] < mark_above
            inside = inside and mark_below < bar["mark_open"] < mark_above
            inside = inside and mark_below < bar["mark_close"] < mark_above
        if not inside:
            return row
        row += 1
    return end


@kernel
def even_rows_nb(tape: Tape, slot: Record, ts: int, step: int) -> int:
    """How many of the slot's bars from `ts` on, without its last, are `step` long and followed at once by the next.

    The first is that long by itself: no boundary lies inside a bar.
    """
    row = slot["next_bar"]
    left = slot["bars_end"] - 1 - row
    if left < 2 or tape.bars[row + 1]["ts_open"] - ts != step:
        return min(left, 1)
    return min(left, tape.even_bars[row])


@kernel
def bound_by_twins_nb(signals: Records, requests: np.ndarray, slot: Record, ts: int, step: int, m: int) -> int:
    """Boundaries before two signals become known at once, as after a gap: the earlier one then expires."""
    row = slot["next_signal"]
    if row >= slot["signals_end"]:
        return m
    twin = requests[row, TWIN]
    if twin >= slot["signals_end"]:
        return m
    return min(m, count_before_nb(ts, step, signals[twin]["ts_close"]))


@kernel
def is_known_calm_nb(
    slot: Record,
    position: Record,
    by_crash: bool,
    by_regime: bool,
    last_below: float,
    last_above: float,
    mark_below: float,
    mark_above: float,
) -> bool:
    """Does what was found about the slot still hold: the same position, inside the same triggers?"""
    return (
        slot["calm_trade"] == position["trade_id"]
        and slot["calm_by"] == 2 * by_crash + by_regime
        and slot["calm_last_below"] == last_below
        and slot["calm_last_above"] == last_above
        and slot["calm_mark_below"] == mark_below
        and slot["calm_mark_above"] == mark_above
    )


@kernel
def find_calm_nb(
    tape: Tape,
    slot: Record,
    position: Record,
    by_crash: bool,
    by_regime: bool,
    last_below: float,
    last_above: float,
    mark_below: float,
    mark_above: float,
    ts: int,
    step: int,
    most: int,
    guard: Record,
) -> None:
    """Look at most `most` bars ahead for a trigger that may be met, weather that turns, a signal that asks to leave.

    What is found is kept, with what it holds for: in an account of many symbols each bar is so looked at once.
    """
    row = slot["next_bar"]
    m = min(most, even_rows_nb(tape, slot, ts, step))
    has_mark = slot["has_mark"] == 1
    end = row + m
    m = first_touch_nb(tape.bars, tape.blocks, row, end, has_mark, last_below, last_above, mark_below, mark_above) - row
    m = bound_by_weather_nb(
        tape.signals, tape.weather, slot, position, by_crash, by_regime, tape.timeframe_ns, ts, step, m, guard
    )
    m = bound_by_exits_nb(tape.signals, tape.requests, slot, position, ts, step, m)
    slot["calm_until"] = ts + m * step
    slot["calm_trade"] = position["trade_id"]
    slot["calm_by"] = 2 * by_crash + by_regime
    slot["calm_last_below"] = last_below
    slot["calm_last_above"] = last_above
    slot["calm_mark_below"] = mark_below
    slot["calm_mark_above"] = mark_above


@kernel
def bound_in_gap_nb(tape: Tape, slot: Record, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries of a symbol without a bar before its bars or its signals go on."""
    row = slot["next_bar"]
    if slot["bar"] != NO_BAR:
        return 0
    if row < slot["bars_end"]:
        m = min(m, count_before_nb(ts, step, tape.bars[row]["ts_open"]))
    elif slot["pending"] != NO_BAR and params["sim"]["end_of_data"] != EndOfData.OPEN:
        return 0
    if slot["next_signal"] < slot["signals_end"]:
        m = min(m, count_before_nb(ts, step, tape.signals[slot["next_signal"]]["ts_close"]))
    return m


@kernel
def bound_flat_nb(tape: Tape, book: Book, i: int, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries of a flat slot before it asks for anything that may be granted."""
    slot = book.slots[i]
    if slot["next_signal"] < slot["signals_end"] and is_expired_nb(tape, slot["next_signal"], ts):
        return 0
    refused = bound_by_refusal_nb(book, i, ts, step, m, params)
    book.sleeps[i]["refused"] = int(refused > 0)
    return refused if refused > 0 else bound_by_asks_nb(tape, slot, ts, step, m)


@kernel
def bound_open_nb(tape: Tape, book: Book, i: int, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries of an open position before a cycle does more than compare, or prices may meet a trigger."""
    slot = book.slots[i]
    position = book.positions[i]
    if slot["other"] != NO_SLOT or params["exit"]["on_opposite_signal"] != OnOppositeSignal.IGNORE:
        m = bound_by_asks_nb(tape, slot, ts, step, m)
    if not is_calm_nb(slot, position, book.points[i], params):
        return 0
    if position["stale_price"] == position["stale_price"] and not is_stale_nb(position, book.points[i]["ts"]):
        m = min(m, count_closed_before_nb(ts, step, position["stale_ts"]))
    if m == 0:
        return 0
    return bound_by_prices_nb(tape, book, i, ts, step, m, params)


@kernel
def bound_by_prices_nb(tape: Tape, book: Book, i: int, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries, at most m, before an open position may meet a trigger, or is to leave."""
    slot = book.slots[i]
    position = book.positions[i]
    point = book.points[i]
    guard = params["guard"]
    last_below, last_above, mark_below, mark_above = nearest_triggers_nb(position, point, params)
    by_crash = position["crash_price"] == position["crash_price"] and not is_crash_nb(point, guard)
    by_regime = position["regime_done"] == 0 and params["stops"]["trail_choppy"] < np.inf
    is_known = slot["calm_until"] > ts and is_known_calm_nb(
        slot, position, by_crash, by_regime, last_below, last_above, mark_below, mark_above
    )
    if not is_known:
        find_calm_nb(
            tape,
            slot,
            position,
            by_crash,
            by_regime,
            last_below,
            last_above,
            mark_below,
            mark_above,
            ts,
            step,
            MOST,
            guard,
        )
    m = min(m, count_before_nb(ts, step, slot["calm_until"]))
    if position["trail_active"] == 1 and m > 0:
        # the band holds the stop as it is now; the one that trails is tighter
        follow_trail_nb(tape.bars, tape.signals, slot, position, point, tape.instruments[i], ts, step, m, params)
        m = slot["trailed_bars"]
    return m


@kernel
def quiet_boundaries_nb(tape: Tape, book: Book, i: int, b: int, params: Record) -> int:
    """How many boundaries from `b` on are quiet for a slot, whatever the others do, the governor's orders left aside.

    They are as far apart as the first two; where finer bars are mixed in, bars of one length at a time are quiet.
    """
    ts = tape.boundaries[b]
    step = tape.boundaries[b + 1] - ts
    slot = book.slots[i]
    book.sleeps[i]["refused"] = 0
    if is_working_nb(book.positions[i]):
        return 0
    m = bound_by_funding_nb(tape, book, i, ts, step, tape.even_boundaries[b], params)
    if not is_walking_nb(tape.bars, slot, ts):
        return bound_in_gap_nb(tape, slot, ts, step, m, params)
    if m == 0 or slot["pending"] != NO_BAR:
        return 0
    m = min(m, even_rows_nb(tape, slot, ts, step))
    m = bound_by_twins_nb(tape.signals, tape.requests, slot, ts, step, m)
    if m == 0:
        return 0
    if book.positions[i]["side"] == Side.NONE:
        return bound_flat_nb(tape, book, i, ts, step, m, params)
    return bound_open_nb(tape, book, i, ts, step, m, params)
