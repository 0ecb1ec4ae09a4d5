"""Passing over bars in which nothing can happen. The plain steps of the session are the reference, byte for byte.

A bar is quiet where no request, funding, outage, transfer or change of the governor is due, every open position's
prices stay strictly inside its nearest triggers, and every other symbol is flat. What quiet bars change: the equity at
their boundaries, what the governor remembers, the point that each symbol shows, the extremes that a position has seen,
the count of cycles that held, and a denial for each request that an open position refuses.

First the number of boundaries is bounded by everything that is due at a known time, then by the prices, then by the
equity; only then is anything but the equity's rows written. A bar visited in vain is harmless.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core._prefetch import ask_for
from qtsim.core.accounting import equity_nb, margin_used_nb, observe_nb, set_point_nb, show_signal_nb
from qtsim.core.enums import (
    EndOfData,
    ExitPolicy,
    FillAt,
    FundingInclusive,
    Gate,
    MarginMode,
    Monitoring,
    OnOppositeSignal,
    PriceKind,
    Reason,
    Replan,
    Rule,
    Side,
    TrailMode,
)
from qtsim.core.exit_brain import nearest_triggers_nb, turns_choppy_nb
from qtsim.core.guards import is_crash_nb, is_stale_nb
from qtsim.core.orders import is_working_nb
from qtsim.core.records import NEVER, Record, Records
from qtsim.core.safety_governor import DAY_NS, LOOK_BACK_NS, governor_rule_nb, has_order_nb, remember_evaluation_nb
from qtsim.core.signal_rules import request_rule_nb
from qtsim.core.slots import NO_SLOT
from qtsim.core.stops import is_tighter_nb, tighter_tick_nb
from qtsim.core.symbol_stats import later_nb
from qtsim.core.trailing import better_price_nb, trail_price_nb
from qtsim.sim.boundary import is_expired_nb
from qtsim.sim.curve import (
    HELD,
    NO_ROW,
    STRETCHES,
    Curve,
    has_curve_room_nb,
    mark_held_nb,
)
from qtsim.sim.fills import room_lots_nb
from qtsim.sim.index import (
    BLOCK,
    ENTRY,
    EXIT_LONG,
    EXIT_SHORT,
    HIGH,
    HIGHEST_CLOSE,
    LEADER_24H,
    LOW,
    LOWEST_CLOSE,
    MARK_HIGH,
    MARK_LOW,
    TURNS_CHOPPY,
    VOLATILITY,
    Index,
)
from qtsim.sim.market import (
    CYCLES,
    DENIALS,
    HOLDS,
    NEXT_OUTAGE,
    NEXT_TRANSFER,
    NO_BAR,
    Book,
    Floats,
    Journal,
    Tape,
)
from qtsim.sim.paths import SEGMENTS
from qtsim.sim.requests import deny_plan_nb, judge_request_nb
from qtsim.sim.steps import write_denial_nb
from qtsim.sim.walk import any_open_nb

MOST = 1024
"""Boundaries passed over at once: what is looked at ahead of an event is looked at again after it."""
NEVER_DUE = np.iinfo(np.int64).max
SECOND_NS = 1_000_000_000
SAFETY = 1e-9
"""Relative distance from a limit of the governor at which the plain steps judge; far above rounding."""


@kernel
def skips_bars_nb(tape: Tape, book: Book, params: Record) -> bool:
    """Does this run watch prices along the path, next-open fills, each position backed alone, and is it running?"""
    if tape.path_ns < SECOND_NS or params["exit"]["monitoring"] != Monitoring.CONTINUOUS:
        return False
    if params["sim"]["fill_at"] == FillAt.CLOSE or book.governor[0]["blind"] == 1:
        return False
    if params["gates"]["enabled"] == 1 and book.governor[0]["started"] == 0:
        return False
    is_cross = params["account"]["mode_margin"] == MarginMode.CROSS
    return not (is_cross and any_open_nb(book.positions, 0, len(book.positions)))


@kernel
def count_before_nb(start: int, step: int, until: int) -> int:
    """How many of start, start + step, ... lie before `until`."""
    if until <= start:
        return 0
    return (until - start - 1) // step + 1


@kernel
def count_closed_before_nb(start: int, step: int, until: int) -> int:
    """How many bars from `start` on have closed before `until`."""
    if until <= start:
        return 0
    return (until - start - 1) // step


@kernel
def due_time_nb(tape: Tape, book: Book, params: Record) -> int:
    """Time of the next thing that is due whatever prices do: outage, transfer, and what the governor's clock ends."""
    due = NEVER_DUE
    if book.counters[NEXT_OUTAGE] < len(tape.outages):
        due = min(due, tape.outages[book.counters[NEXT_OUTAGE]]["ts"])
    if book.counters[NEXT_TRANSFER] < len(book.transfers):
        due = min(due, book.transfers[book.counters[NEXT_TRANSFER]]["due"])
    if params["gates"]["enabled"] == 0:
        return due
    governor = book.governor[0]
    due = min(due, (governor["day"] + 1) * DAY_NS)
    for name in (governor["paused_until"], governor["defensive_until"], governor["resume_at"]):
        if name != NEVER:
            due = min(due, name)
    for i in range(len(book.stats)):
        since = book.stats[i]["blacklisted_at"]
        if since != NEVER:
            due = min(due, later_nb(since, params["governor"]["shutdown_operator_hours"]))
    return due


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
def bound_by_funding_nb(funding: Records, slot: Record, ts: int, step: int, m: int, params: Record) -> int:
    """Bars until the open position is charged; where both ends count, the one whose close is its time is not among."""
    row = slot["next_funding"]
    if row >= slot["funding_end"]:
        return m
    due = funding[row]["ts"]
    if params["costs"]["funding_inclusive"] != FundingInclusive.BOTH:
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
def bound_by_refusal_nb(book: Book, i: int, ts: int, step: int, m: int, params: Record) -> int:
    """Boundaries at which every request of the flat slot is refused, with nothing open on the account; 0: none is."""
    if book.slots[i]["other"] != NO_SLOT or any_open_nb(book.positions, 0, len(book.positions)):
        return 0
    until = refused_until_nb(book.stats[book.slots[i]["symbol"]], book.governor[0], ts, params)
    return min(m, count_before_nb(ts, step, until))


@kernel
def next_ask_nb(index: Index, slot: Record) -> int:
    """Place in the index of the slot's next request; it may be another symbol's where there is none left."""
    row = slot["next_signal"]
    if row >= slot["signals_end"]:
        return len(index.asks) - 1
    if slot["next_ask"] == NO_ROW:
        slot["next_ask"] = index.requests[row, ENTRY]
    while index.asks[slot["next_ask"]]["row"] < row:
        slot["next_ask"] += 1
    return slot["next_ask"]


@kernel
def bound_by_asks_nb(index: Index, slot: Record, ts: int, step: int, m: int) -> int:
    """Boundaries before the slot's next request."""
    ask = index.asks[next_ask_nb(index, slot)]
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
    spans: Floats,
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
            block = spans[row // BLOCK]
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
def even_rows_nb(tape: Tape, index: Index, slot: Record, ts: int, step: int) -> int:
    """How many of the slot's bars from `ts` on, without its last, are `step` long and followed at once by the next.

    The first is that long by itself: no boundary lies inside a bar.
    """
    row = slot["next_bar"]
    left = slot["bars_end"] - 1 - row
    if left < 2 or tape.bars[row + 1]["ts_open"] - ts != step:
        return min(left, 1)
    return min(left, index.even_bars[row])


@kernel
def knows_two_signals_nb(signals: Records, slot: Record, ts: int) -> bool:
    """Do two signals become known at `ts`, as after a gap?"""
    row = slot["next_signal"]
    return row + 1 < slot["signals_end"] and signals[row + 1]["ts_close"] <= ts


@kernel
def bound_by_time_nb(tape: Tape, index: Index, book: Book, b: int, m: int, params: Record) -> int:
    """Boundaries from `b` on, at most m, before anything is due or a symbol's bars begin, pause or end.

    They are as far apart as the first two; where finer bars are mixed in, bars of one length at a time are quiet.
    """
    ts = tape.boundaries[b]
    step = tape.boundaries[b + 1] - ts
    m = min(m, count_before_nb(ts, step, due_time_nb(tape, book, params)))
    m = min(m, index.even_boundaries[b])
    for i in range(len(book.slots)):
        if m == 0:
            return 0
        slot = book.slots[i]
        position = book.positions[i]
        row = slot["next_bar"]
        if is_working_nb(position):
            return 0
        if position["side"] != Side.NONE:
            m = bound_by_funding_nb(tape.funding, slot, ts, step, m, params)
        if row >= slot["bars_end"] or tape.bars[row]["ts_open"] != ts:
            if slot["bar"] != NO_BAR:
                return 0
            if row < slot["bars_end"]:
                m = min(m, count_before_nb(ts, step, tape.bars[row]["ts_open"]))
            elif slot["pending"] != NO_BAR and params["sim"]["end_of_data"] != EndOfData.OPEN:
                return 0
            if slot["next_signal"] < slot["signals_end"]:
                m = min(m, count_before_nb(ts, step, tape.signals[slot["next_signal"]]["ts_close"]))
            continue
        if slot["pending"] != NO_BAR:
            return 0
        m = min(m, even_rows_nb(tape, index, slot, ts, step))
        if knows_two_signals_nb(tape.signals, slot, ts):
            return 0
        if position["side"] == Side.NONE:
            if slot["next_signal"] < slot["signals_end"] and is_expired_nb(tape, slot["next_signal"], ts):
                return 0
            refused = bound_by_refusal_nb(book, i, ts, step, m, params)
            m = refused if refused > 0 else bound_by_asks_nb(index, slot, ts, step, m)
            continue
        if slot["other"] != NO_SLOT or params["exit"]["on_opposite_signal"] != OnOppositeSignal.IGNORE:
            m = bound_by_asks_nb(index, slot, ts, step, m)
        if not is_calm_nb(slot, position, book.points[i], params):
            return 0
        if position["stale_price"] == position["stale_price"] and not is_stale_nb(position, book.points[i]["ts"]):
            m = min(m, count_closed_before_nb(ts, step, position["stale_ts"]))
    return m


@kernel
def is_walking_nb(bars: Records, slot: Record, ts: int) -> bool:
    """Does a bar of the slot's symbol open at `ts`?"""
    return slot["next_bar"] < slot["bars_end"] and bars[slot["next_bar"]]["ts_open"] == ts


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
    index: Index,
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
    m = min(most, even_rows_nb(tape, index, slot, ts, step))
    has_mark = slot["has_mark"] == 1
    end = row + m
    m = first_touch_nb(tape.bars, index.spans, row, end, has_mark, last_below, last_above, mark_below, mark_above) - row
    m = bound_by_weather_nb(
        tape.signals, index.weather, slot, position, by_crash, by_regime, tape.timeframe_ns, ts, step, m, guard
    )
    m = bound_by_exits_nb(tape.signals, index.requests, slot, position, ts, step, m)
    slot["calm_until"] = ts + m * step
    slot["calm_trade"] = position["trade_id"]
    slot["calm_by"] = 2 * by_crash + by_regime
    slot["calm_last_below"] = last_below
    slot["calm_last_above"] = last_above
    slot["calm_mark_below"] = mark_below
    slot["calm_mark_above"] = mark_above


@kernel
def bound_by_prices_nb(tape: Tape, index: Index, book: Book, b: int, m: int, params: Record) -> int:
    """Boundaries from `b` on, at most m, before an open position may meet a trigger, or is to leave."""
    ts = tape.boundaries[b]
    step = tape.boundaries[b + 1] - ts
    guard = params["guard"]
    for i in range(len(book.slots)):
        slot = book.slots[i]
        position = book.positions[i]
        if m == 0 or position["side"] == Side.NONE or not is_walking_nb(tape.bars, slot, ts):
            continue
        point = book.points[i]
        last_below, last_above, mark_below, mark_above = nearest_triggers_nb(position, point, params)
        by_crash = position["crash_price"] == position["crash_price"] and not is_crash_nb(point, guard)
        by_regime = position["regime_done"] == 0 and params["stops"]["trail_choppy"] < np.inf
        is_known = slot["calm_until"] > ts and is_known_calm_nb(
            slot, position, by_crash, by_regime, last_below, last_above, mark_below, mark_above
        )
        if not is_known:
            trails = position["trail_active"] == 1
            find_calm_nb(
                tape,
                index,
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
                m if trails else MOST,  # what trails is another band at the next bar
                guard,
            )
        m = min(m, count_before_nb(ts, step, slot["calm_until"]))
        if position["trail_active"] == 1 and m > 0:
            # the band holds the stop as it is now; the one that trails is tighter
            follow_trail_nb(tape.bars, tape.signals, slot, position, point, tape.instruments[i], ts, step, m, params)
            m = slot["trailed_bars"]
    return m


@kernel
def floor_nb(before: float, limit: float) -> float:
    """Equity above which a loss of `limit` since `before` has certainly not been made."""
    if before <= 0.0:
        return np.inf if limit <= 0.0 else -np.inf
    if limit == np.inf:
        return -np.inf
    return before * (1.0 - limit) + before * SAFETY


@kernel
def equity_floor_nb(governor: Record, params: Record) -> float:
    """Equity above which the governor does nothing; at least 0."""
    floor = 0.0
    if params["gates"]["enabled"] == 0:
        return floor
    if governor["halted"] == 0:
        floor = max(floor, floor_nb(governor["day_equity"], params["governor"]["daily_drawdown"]))
    if governor["resume_at"] == NEVER:
        floor = max(floor, floor_nb(governor["base_equity"], params["governor"]["shutdown_drawdown"]))
    return floor


@kernel
def begin_stretch_nb(curve: Curve, tape: Tape, book: Book, ts: int, step: int, margin: float, n: int) -> None:
    """Write down, still uncounted, what is held over the stretch of n boundaries from `ts` on."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    at = curve.counts[HELD]
    stretch["ts"] = ts
    stretch["step"] = step
    stretch["n"] = n
    stretch["wallet"] = book.account[0]["wallet"]
    stretch["margin"] = margin
    stretch["held_first"] = at
    for i in range(len(book.positions)):
        position = book.positions[i]
        if position["side"] == Side.NONE:
            continue
        held = curve.held[at]
        held["side"] = position["side"]
        held["qty"] = position["qty"]
        held["entry_price"] = position["entry_price"]
        held["mark"] = book.points[i]["mark"]
        held["bar"] = book.slots[i]["next_bar"] if is_walking_nb(tape.bars, book.slots[i], ts) else NO_ROW
        at += 1
    stretch["held_end"] = at


@kernel
def worst_close_nb(spans: Floats, marks: Floats, held: Record, n: int) -> float:
    """The worst mark for a held position at the n boundaries of a stretch; NaN where it has none at the first."""
    worst = held["mark"]
    if held["bar"] == NO_ROW or worst != worst:
        return worst
    is_long = held["side"] == Side.LONG
    column = LOWEST_CLOSE if is_long else HIGHEST_CLOSE
    row = held["bar"]
    end = row + n - 1
    while row < end:
        if row % BLOCK == 0 and row + BLOCK <= end:
            close = spans[row // BLOCK, column]
            row += BLOCK
        else:
            close = marks[row]
            row += 1
        worst = min(worst, close) if is_long else max(worst, close)
    return worst


@kernel
def worst_equity_nb(curve: Curve, spans: Floats, marks: Floats) -> float:
    """No equity of the begun stretch is lower; with at most one position it is one of them.

    Profit and loss and their sum are monotone in each mark, in floating point too.
    """
    stretch = curve.stretches[curve.counts[STRETCHES]]
    equity = stretch["wallet"]
    for h in range(stretch["held_first"], stretch["held_end"]):
        held = curve.held[h]
        equity += held["side"] * held["qty"] * (worst_close_nb(spans, marks, held, stretch["n"]) - held["entry_price"])
    return equity


@kernel
def mark_stretch_nb(curve: Curve, marks: Floats, first: int, n: int) -> None:
    """Write the equity at boundaries [first, n) of the begun stretch."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    for k in range(first, n):
        curve.scratch[k] = stretch["wallet"]
    for h in range(stretch["held_first"], stretch["held_end"]):
        mark_held_nb(curve.scratch, first, n, curve.held[h], marks)


@kernel
def bound_by_equity_nb(curve: Curve, marks: Floats, floor: float) -> tuple[int, float]:
    """(boundaries of the begun stretch before the equity is at `floor` or below, the lowest equity at them)."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    equity = curve.scratch
    n = stretch["n"]
    mark_stretch_nb(curve, marks, 0, n)
    lowest = np.inf
    for k in range(n):
        if not equity[k] > floor:
            return k, lowest
        lowest = min(lowest, equity[k])
    return n, lowest


@kernel
def end_stretch_nb(curve: Curve, n: int) -> None:
    """Count the begun stretch, n boundaries long."""
    stretch = curve.stretches[curve.counts[STRETCHES]]
    stretch["n"] = n
    curve.counts[HELD] = stretch["held_end"]
    curve.counts[STRETCHES] += 1


@kernel
def first_remembered_nb(step: int, n: int) -> int:
    """The first of n evaluations, `step` apart, that is still known at the last one."""
    return max(n - 1 - LOOK_BACK_NS // step, 0)


@kernel
def remember_nb(governor: Record, history: Records, equity: Floats, ts: int, step: int, n: int) -> None:
    """Keep the evaluations of the last hour of n boundaries from `ts` on, and the one before it."""
    for k in range(first_remembered_nb(step, n), n):
        remember_evaluation_nb(governor, history, ts + k * step, equity[k])
    governor["equity"] = equity[n - 1]


@kernel
def observe_rows_nb(bars: Records, spans: Floats, first: int, end: int, position: Record, has_mark: bool) -> None:
    """Remember the extremes of the bars in rows [first, end)."""
    low = mark_low = np.inf
    high = mark_high = -np.inf
    row = first
    while row < end:
        if row % BLOCK == 0 and row + BLOCK <= end:
            block = spans[row // BLOCK]
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
def pass_slot_nb(
    tape: Tape,
    index: Index,
    slot: Record,
    position: Record,
    point: Record,
    instrument: Record,
    counters: np.ndarray,
    ts: int,
    step: int,
    m: int,
    params: Record,
) -> None:
    """Leave one symbol as m quiet bars from `ts` on leave it."""
    close = ts + m * step
    is_open = position["side"] != Side.NONE
    slot["looked"] = 0
    slot["acting"] = NO_BAR
    slot["next_ask"] = next_ask_nb(index, slot)
    while slot["next_funding"] < slot["funding_end"] and tape.funding[slot["next_funding"]]["ts"] < close:
        slot["next_funding"] += 1
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
        observe_rows_nb(tape.bars, index.spans, first, last + 1, position, slot["has_mark"] == 1)


@kernel
def has_open_price_nb(bars: Records, slot: Record, ts: int, last_ts: int, step: int) -> bool:
    """Are there prices at the open at boundary `ts`, of a slot whose last quiet bar opened at `last_ts`?"""
    bar = bars[slot["bar"] - (last_ts - ts) // step]
    return bar["open"] == bar["open"] and (slot["has_mark"] == 0 or bar["mark_open"] == bar["mark_open"])


@kernel
def refuse_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    i: int,
    ask: Record,
    ts: int,
    last_ts: int,
    step: int,
    params: Record,
) -> None:
    """Write down the refusal of what a signal asks of the slot at `ts`; its last quiet bar opened at `last_ts`."""
    slot = book.slots[i]
    side = book.positions[i]["side"]
    since_exit = -1
    if slot["last_exit_bar"] != NO_BAR:
        since_exit = ask["row"] + 1 - slot["signals_first"] - slot["last_exit_bar"]
    rule = request_rule_nb(ask["side"], side, side, since_exit, params)
    if rule == Rule.NONE and not has_open_price_nb(tape.bars, slot, ts, last_ts, step):
        rule = Rule.NO_PRICE.value
    if rule == Rule.NONE:
        equity = equity_nb(book.account[0], book.positions, book.points)
        judge_request_nb(tape, book, i, ask["row"], ask["side"], equity, ts, params)
        deny_plan_nb(book, journal, book.plans[i], i, ask["row"], ts)
        return
    write_denial_nb(
        journal,
        ts,
        slot["symbol"],
        ask["side"],
        Gate.SIGNAL.value,
        rule,
        0.0,
        0.0,
        ask["confidence"],
        ask["row"] - slot["signals_first"],
    )


@kernel
def refuse_requests_nb(
    tape: Tape, index: Index, book: Book, journal: Journal, ts: int, step: int, m: int, params: Record
) -> None:
    """Write down every request of m quiet boundaries from `ts` on, by time, then in symbol order: none can be met."""
    last_ts = ts + (m - 1) * step
    while True:
        chosen = NO_SLOT
        earliest = NEVER_DUE
        for i in range(len(book.slots)):
            ask = index.asks[book.slots[i]["next_ask"]]
            if ask["row"] >= book.slots[i]["next_signal"]:
                continue
            shown = shown_at_nb(ts, step, ask["ts_close"])
            if shown < earliest:
                earliest = shown
                chosen = i
        if chosen == NO_SLOT:
            return
        ask = index.asks[book.slots[chosen]["next_ask"]]
        book.slots[chosen]["next_ask"] += 1
        refuse_nb(tape, book, journal, chosen, ask, earliest, last_ts, step, params)


@kernel
def ask_for_rows_nb(tape: Tape, book: Book, b: int, ts: int, m: int) -> None:
    """Begin to read what the end of m quiet boundaries from `b` on, and the boundary after them, will need."""
    ask_for(tape.boundaries, b + m)
    ask_for(tape.marked, b + m)
    for i in range(len(book.slots)):
        slot = book.slots[i]
        if is_walking_nb(tape.bars, slot, ts):
            ask_for(tape.bars, slot["next_bar"] + m - 1)
            ask_for(tape.bars, slot["next_bar"] + m)
            # where signals are those of the path's bars; elsewhere it is a row asked for in vain
            ask_for(tape.signals, slot["next_signal"] + m - 1)
            ask_for(tape.signals, slot["next_signal"] + m)


@kernel
def pass_quiet_bars_nb(
    tape: Tape, index: Index, book: Book, journal: Journal, curve: Curve, b: int, stop_at: int, params: Record
) -> int:
    """Pass over quiet bars from boundary `b` on; the first boundary that is not quiet, at most `stop_at`."""
    n = len(book.slots)
    if not skips_bars_nb(tape, book, params) or not has_curve_room_nb(curve, n):
        return b
    m = min(min(stop_at, len(tape.boundaries) - 1) - b, len(curve.scratch))
    m = min(m, (len(journal.denials) - journal.counts[DENIALS]) // n)
    if m <= 0:
        return b
    m = bound_by_time_nb(tape, index, book, b, m, params)
    if m > 0:
        m = bound_by_prices_nb(tape, index, book, b, m, params)
    if m <= 0:
        return b
    ts = tape.boundaries[b]
    step = tape.boundaries[b + 1] - ts
    ask_for_rows_nb(tape, book, b, ts, m)
    account = book.account[0]
    governor = book.governor[0]
    margin = margin_used_nb(book.positions)
    begin_stretch_nb(curve, tape, book, ts, step, margin, m)
    floor = equity_floor_nb(governor, params)
    lowest = worst_equity_nb(curve, index.spans, index.marks)
    if not lowest > floor or (n > 1 and margin / lowest > account["max_margin_use"]):
        m, lowest = bound_by_equity_nb(curve, index.marks, floor)
    if m == 0:
        return b
    account["max_margin_use"] = max(account["max_margin_use"], margin / lowest)
    if params["gates"]["enabled"] == 1:
        mark_stretch_nb(curve, index.marks, first_remembered_nb(step, m), m)
        remember_nb(governor, book.history, curve.scratch, ts, step, m)
    end_stretch_nb(curve, m)
    for i in range(n):
        pass_slot_nb(
            tape,
            index,
            book.slots[i],
            book.positions[i],
            book.points[i],
            tape.instruments[i],
            book.counters,
            ts,
            step,
            m,
            params,
        )
    refuse_requests_nb(tape, index, book, journal, ts, step, m, params)
    return b + m
