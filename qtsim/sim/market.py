"""What a run reads and keeps: the market as arrays, the book of the account, the journals, the path being walked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qtsim.core.records import (
    EVALUATIONS_MAX,
    NEVER,
    UNBOUND,
    Records,
    account_dt,
    agent_dt,
    bar_dt,
    close_dt,
    crowd_dt,
    decision_row_dt,
    denial_row_dt,
    doubt_row_dt,
    equity_row_dt,
    evaluation_dt,
    exit_decision_dt,
    fill_row_dt,
    funding_dt,
    funding_row_dt,
    governor_dt,
    governor_row_dt,
    instrument_dt,
    outage_dt,
    plan_dt,
    point_dt,
    position_dt,
    pupil_dt,
    signal_dt,
    span_dt,
    symbol_stats_dt,
    trade_row_dt,
    transfer_dt,
)
from qtsim.core.safety_governor import reset_governor_nb
from qtsim.core.slots import other_slot_nb, slot_side_nb
from qtsim.core.symbol_stats import reset_stats_nb
from qtsim.sim.index import Index, build_index
from qtsim.sim.path_trades import PathTrades, no_trades
from qtsim.sim.rows import doubled
from qtsim.sim.trade_index import TradeIndex, no_trade_index

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.int8]

HOLDS, NAN_POINTS, AMBIGUOUS_BARS, CYCLES, PENDING_AT_END, NO_CORRELATION, CURSOR, NEXT_OUTAGE, NEXT_TRANSFER = range(9)
NEXT_CALL, ASLEEP, ROUSES, PLACE_TS = range(9, 13)
COUNTERS = ("holds", "nan_points", "ambiguous_bars", "cycles", "pending_at_end", "no_correlation")
"""Those of the counters that a run tells. The others are where it stands: the next boundary, outage, transfer and
request, how many slots are asleep, 1 where all are to be roused, and the time of the place where the rest stand."""
TRADES, FILLS, DECISIONS, DENIALS, FUNDINGS, EQUITIES, GOVERNOR, DOUBTS, REFUSALS, ADVANCE = range(10)
NO_BAR = -1
EVENTS_MAX = 16
"""More events than the governor can raise between two moments at which they are written down."""

slot_dt = np.dtype(
    [
        # whose positions it holds
        ("symbol", "i8"),
        ("side", "i8"),  # BOTH, or in hedge mode LONG or SHORT
        ("other", "i8"),  # slot of the symbol's other side; NO_SLOT
        # where the symbol's rows lie
        ("bars_first", "i8"),
        ("bars_end", "i8"),
        ("ends", "i8"),  # 1: its last bar is among them
        ("signals_first", "i8"),
        ("signals_end", "i8"),
        ("funding_first", "i8"),
        ("funding_end", "i8"),
        ("has_mark", "i8"),  # 1: mark history
        # where the run stands
        ("bar", "i8"),  # row of the path's bar being walked; NO_BAR in a gap
        ("next_bar", "i8"),  # row of the path's next bar to open
        ("next_signal", "i8"),  # row of the next signal to become known
        ("next_ask", "i8"),  # place in the index of the next request that may have to be refused
        ("next_funding", "i8"),
        ("pending", "i8"),  # row of the signal that waits for a price; NO_BAR none
        ("acting", "i8"),  # row of the signal that acts at this instant; NO_BAR none
        ("held", "i8"),  # side when that signal was decided
        ("candidate", "i8"),  # 1: planned and approved at this instant
        ("last_exit_bar", "i8"),  # number of the signals' bar in which it last became flat; NO_BAR never
        # the path of the bar being walked
        ("prices", "f8", (4,)),
        ("marks", "f8", (4,)),
        ("share", "f8"),  # of the segment, walked so far
        ("next_cycle", "i8"),  # interval monitoring: time of the next cycle, ns
        # how far a trail can be followed over quiet bars, and where that leaves it
        ("trailed_bars", "i8"),
        ("trailed_peak", "f8"),
        ("trailed_stop", "f8"),
        # what has been found by looking ahead, and what it holds for: the trade and its triggers
        ("calm_until", "i8"),  # boundary at which an open position may meet one; NEVER: not looked
        ("calm_trade", "i8"),
        ("calm_by", "i8"),  # 2: a crash matters, 1: a turn of the regime
        ("calm_last_below", "f8"),
        ("calm_last_above", "f8"),
        ("calm_mark_below", "f8"),
        ("calm_mark_above", "f8"),
        ("is_new", "i8"),  # 1: opened at the point that is being settled
        ("looked", "i8"),  # 1: a cycle has held since the last fill and the last close of a signal's bar
        ("event_share", "f8"),
        ("event_price", "f8"),
        ("event_mark", "f8"),
    ],
    align=True,
)
"""Where one symbol, or in hedge mode one side of it, stands in the run."""

sleep_dt = np.dtype(
    [
        ("asleep", "i8"),  # 1: its boundaries are quiet and have not been visited
        ("since", "i8"),  # place of the first of them: what the book says of the slot was so before it
        ("since_ts", "i8"),  # its time, ns
        ("step", "i8"),  # between two of them, ns
        ("wakes", "i8"),  # time, ns: at the first boundary from then on it has to be awake
        ("offset", "i8"),  # its bar that opens at boundary b is row b + offset; GAP: none opens
        ("refused", "i8"),  # 1: it sleeps because all that it asks for is refused while nothing is open
        # of its position what the account is valued by, side by side in memory
        ("side", "i8"),
        ("has_mark", "i8"),
        ("qty", "f8"),
        ("entry_price", "f8"),
        ("margin", "f8"),
    ],
    align=True,
)
"""A slot at which nothing happens is left behind, and fetched when something may; see `asleep.py`."""
GAP = -(2**62)

piece_dt = np.dtype(
    [
        # the band in which nothing happens
        ("last_below", "f8"),
        ("last_above", "f8"),
        ("mark_below", "f8"),
        ("mark_above", "f8"),
        ("passed", "i8"),  # 1: trades have been passed over since its point was shown
        # of the piece of the path that is being looked at
        ("at", "i8"),  # row of the first trade that has not been taken in
        ("end", "i8"),  # row behind its last trade
        ("low", "f8"),
        ("high", "f8"),
        ("mark_low", "f8"),
        ("mark_high", "f8"),
    ],
    align=True,
)
"""Trades as the path: what has to be reached for anything to happen to a slot, and what a piece of it reaches."""
SEGMENT, SHARE, SHOWN = range(3)


refusal_dt = np.dtype(
    [
        ("at", "i8"),  # how many rows of denials come before
        ("first", "i8"),  # of the index's calls
        ("end", "i8"),
        ("side", "i8"),  # of the position that stands against them
    ],
    align=True,
)
"""Requests refused one after another for one reason: they meet an open position. Written out they are denials."""


class Market(NamedTuple):
    """Everything a run reads. Rows of one symbol are contiguous; offsets have one more entry than symbols."""

    boundaries: Ints  # open and close of every bar of the path, ascending, ns
    bars: Records  # bar_dt: the path
    bar_offsets: Ints
    signals: Records  # signal_dt, one row per bar that the strategy saw
    signal_offsets: Ints
    funding: Records  # funding_dt
    funding_offsets: Ints
    instruments: Records  # instrument_dt, one per symbol
    has_mark: Ints  # 1: mark history
    timeframe_ns: int  # of the signals' bars
    path_ns: int  # of the path's bars that state no length of their own; 0: the path is trades
    closes: Records  # close_dt: bars of regime.timeframe
    close_offsets: Ints
    outages: Records  # outage_dt, ascending
    regime_ns: int
    transfers: Records  # transfer_dt, by time: what is asked for
    marked: Flags  # 1: a boundary at which equity is marked and the governor judges it
    ends: Ints  # 1: the symbol's last bar is among these
    bar_index: Index
    trades: PathTrades  # the path in place of bars
    trade_index: TradeIndex


class Tape(NamedTuple):
    """What kernels read of a market; where a slot's rows lie is in the slot."""

    boundaries: Ints
    bars: Records
    signals: Records
    funding: Records
    instruments: Records  # one per slot
    timeframe_ns: int
    path_ns: int
    closes: Records
    outages: Records
    regime_ns: int
    marked: Flags
    # the market's index
    blocks: Floats
    marks: Floats
    weather: Floats
    requests: npt.NDArray[np.int32]
    asks: Records
    calls: Records
    even_bars: npt.NDArray[np.int32]
    even_boundaries: npt.NDArray[np.int32]
    # its trades, and their index
    trade_times: Ints
    trade_prices: Floats
    trade_marks: Floats
    trade_qty: Floats
    trade_spreads: Floats
    block_heads: Ints
    block_prices: Floats
    next_marked: Ints


class Book(NamedTuple):
    """Everything a run changes."""

    account: Records  # account_dt[1]
    positions: Records  # position_dt, one per slot
    plans: Records  # plan_dt
    points: Records  # point_dt: the last observation of each slot's symbol
    slots: Records  # slot_dt
    decision: Records  # exit_decision_dt[1]
    governor: Records  # governor_dt[1]
    history: Records  # evaluation_dt, a ring
    events: Records  # governor_row_dt: of the last call
    stats: Records  # symbol_stats_dt, one per symbol
    spans: Records  # span_dt, one per slot
    crowd: Records  # crowd_dt[1]
    agent: Records  # agent_dt[1]
    pupils: Records  # pupil_dt, one per symbol
    draws: Floats  # uniforms in [0, 1), two per decision of the agent
    transfers: Records  # transfer_dt: those before NEXT_TRANSFER have been decided
    counters: Ints  # COUNTERS, then where the run stands
    sleeps: Records  # sleep_dt, one per slot
    pieces: Records  # piece_dt, one per slot
    awake: Ints  # (slots + 1,): the first slot from this one on that is awake, or the number of slots
    place: Floats  # where those awake stand: SEGMENT, SHARE; 1: those asleep have been SHOWN there


class Journal(NamedTuple):
    """What a run writes down. `counts` are rows used; its last entry is 1, or 0 where nothing is to be kept."""

    trades: Records
    fills: Records
    decisions: Records
    denials: Records
    funding: Records
    equity: Records
    governor: Records
    doubts: Records
    refusals: Records  # refusal_dt: denials kept short
    counts: Ints


def no_closes() -> Records:
    """No bars of the regime's timeframe: correlations are then unknown."""
    return np.zeros(0, close_dt)


@dataclass(frozen=True)
class SymbolInput:
    """One symbol's arrays: bars of the path, signals, funding events, instrument, closes of the regime's bars.

    Where the path's bars are those of the signals both have the same rows; else each signal has its `ts_close`.
    """

    symbol: str
    bars: Records
    signals: Records
    funding: Records
    instrument: Records
    has_mark: bool
    closes: Records = field(default_factory=no_closes)


def build_market(
    inputs: list[SymbolInput],
    timeframe_ns: int,
    *,
    path_ns: int | None = None,
    regime_ns: int | None = None,
    outages: Records | None = None,
    transfers: Records | None = None,
) -> Market:
    """Join the symbols, already in name order, into one market.

    The bars of the path lie on one grid: none opens or closes inside another, of any symbol.

    path_ns: length of the path's bars that state none, where they are finer than the timeframe.
    regime_ns: length of the bars behind `closes`, the timeframe's by default. outages: outage_dt, ascending.
    transfers: transfer_dt, by `due`; due and amount are read.
    """
    if [item.symbol for item in inputs] != sorted(item.symbol for item in inputs):
        raise ValueError("symbols must be in name order")
    length = path_ns or timeframe_ns
    bars = _join([item.bars for item in inputs], bar_dt)
    bars["length"][bars["length"] == 0] = length
    opens = bars["ts_open"].astype(np.int64)
    boundaries = _boundaries(opens, opens + bars["length"])
    signals = _join([item.signals for item in inputs], signal_dt)
    if path_ns is None:
        signals["ts_close"] = opens + timeframe_ns
    bar_offsets = _offsets([len(item.bars) for item in inputs])
    signal_offsets = _offsets([len(item.signals) for item in inputs])
    has_mark = np.array([int(item.has_mark) for item in inputs], dtype=np.int64)
    return Market(
        boundaries=boundaries,
        bars=bars,
        bar_offsets=bar_offsets,
        signals=signals,
        signal_offsets=signal_offsets,
        funding=_join([item.funding for item in inputs], funding_dt),
        funding_offsets=_offsets([len(item.funding) for item in inputs]),
        instruments=_join([item.instrument for item in inputs], instrument_dt),
        has_mark=has_mark,
        timeframe_ns=timeframe_ns,
        path_ns=length,
        closes=_join([item.closes for item in inputs], close_dt),
        close_offsets=_offsets([len(item.closes) for item in inputs]),
        outages=np.zeros(0, outage_dt) if outages is None else outages,
        regime_ns=regime_ns or timeframe_ns,
        transfers=np.zeros(0, transfer_dt) if transfers is None else transfers,
        marked=np.ones(len(boundaries), dtype=np.int8),
        ends=np.ones(len(inputs), dtype=np.int64),
        bar_index=build_index(boundaries, bars, signals, bar_offsets, signal_offsets, has_mark),
        trades=no_trades(),
        trade_index=no_trade_index(),
    )


def new_governor() -> Records:
    """A governor before its first evaluation, shape (1,)."""
    governor = np.zeros(1, governor_dt)
    reset_governor_nb(governor[0])
    return governor


def new_stats(n: int) -> Records:
    """Symbols before their first trade, shape (n,)."""
    stats = np.zeros(n, symbol_stats_dt)
    for row in stats:
        reset_stats_nb(row)
    return stats


def new_spans(market: Market, width: int = 1) -> Records:
    """Where the closes of each slot's symbol lie; none is known yet. width: slots per symbol."""
    spans = np.zeros(len(market.instruments) * width, span_dt)
    spans["first"] = spans["known"] = np.repeat(market.close_offsets[:-1], width)
    spans["end"] = np.repeat(market.close_offsets[1:], width)
    return spans


def new_agent(*, learns: bool = True) -> Records:
    """An agent of sizing model rl that knows nothing yet, shape (1,)."""
    agent = np.zeros(1, agent_dt)
    agent["learns"] = int(learns)
    return agent


def new_pupils(n: int) -> Records:
    """Symbols before their first decision, shape (n,)."""
    pupils = np.zeros(n, pupil_dt)
    pupils["exit_ts"] = NEVER
    return pupils


def no_draws() -> Floats:
    """No uniforms: the agent never explores."""
    return np.zeros((0, 2))


def new_book(
    market: Market, balance: float, width: int = 1, agent: Records | None = None, draws: Floats | None = None
) -> Book:
    """A flat account of `balance` before the first boundary of `market`. width: slots per symbol.

    agent: agent_dt[1], copied; one that knows nothing and learns by default. draws: uniforms, two per decision.
    """
    n = len(market.instruments) * width
    account = np.zeros(1, account_dt)
    account["wallet"] = balance
    account["initial_balance"] = balance
    account["min_margin_ratio"] = np.inf
    points = np.zeros(n, point_dt)
    points["price"] = np.nan
    points["mark"] = np.nan
    points["atr"] = np.nan
    points["leader_24h"] = np.nan
    points["thinness"] = np.nan
    points["half_spread"] = np.nan
    points["room"] = UNBOUND
    slots = np.zeros(n, slot_dt)
    for i in range(n):
        slots[i]["symbol"], slots[i]["side"] = i // width, slot_side_nb(i, width)
        slots[i]["other"] = other_slot_nb(i, width)
    slots["bars_first"] = slots["next_bar"] = np.repeat(market.bar_offsets[:-1], width)
    slots["bars_end"] = np.repeat(market.bar_offsets[1:], width)
    slots["ends"] = np.repeat(market.ends, width)
    slots["signals_first"] = slots["next_signal"] = np.repeat(market.signal_offsets[:-1], width)
    slots["signals_end"] = np.repeat(market.signal_offsets[1:], width)
    slots["funding_first"] = slots["next_funding"] = np.repeat(market.funding_offsets[:-1], width)
    slots["funding_end"] = np.repeat(market.funding_offsets[1:], width)
    slots["has_mark"] = np.repeat(market.has_mark, width)
    for name in ("bar", "pending", "acting", "last_exit_bar", "next_ask"):
        slots[name] = NO_BAR
    slots["calm_until"] = NEVER
    if len(market.boundaries):
        for i in range(n):
            rows = market.funding["ts"][slots[i]["funding_first"] : slots[i]["funding_end"]]
            slots["next_funding"][i] += int(np.searchsorted(rows, market.boundaries[0], side="left"))
    return Book(
        account=account,
        positions=np.zeros(n, position_dt),
        plans=np.zeros(n, plan_dt),
        points=points,
        slots=slots,
        decision=np.zeros(1, exit_decision_dt),
        governor=new_governor(),
        history=np.zeros(EVALUATIONS_MAX, evaluation_dt),
        events=np.zeros(EVENTS_MAX, governor_row_dt),
        stats=new_stats(len(market.instruments)),
        spans=new_spans(market, width),
        crowd=np.zeros(1, crowd_dt),
        agent=new_agent() if agent is None else agent.copy(),
        pupils=new_pupils(n),
        draws=no_draws() if draws is None else draws,
        transfers=market.transfers.copy(),
        counters=np.zeros(PLACE_TS + 1, dtype=np.int64),
        sleeps=np.zeros(n, sleep_dt),
        pieces=np.zeros(n, piece_dt),
        awake=np.arange(n + 1),
        place=np.zeros(3),
    )


def tape_of(market: Market, width: int = 1) -> Tape:
    """The part of a market that kernels read. width: slots per symbol."""
    return Tape(
        market.boundaries,
        market.bars,
        market.signals,
        market.funding,
        np.repeat(market.instruments, width),
        market.timeframe_ns,
        market.path_ns,
        market.closes,
        market.outages,
        market.regime_ns,
        market.marked,
        *market.bar_index,
        *market.trades,
        *market.trade_index,
    )


def new_journal(market: Market, rows: int, *, keep: bool = True, width: int = 1) -> Journal:
    """Empty journals with room for `rows` trades and boundaries, and all funding that there can be."""
    return Journal(
        trades=np.zeros(rows, trade_row_dt),
        fills=np.zeros(4 * rows, fill_row_dt),
        decisions=np.zeros(8 * rows, decision_row_dt),
        denials=np.zeros(4 * rows, denial_row_dt),
        funding=np.zeros(2 * width * len(market.funding) + 8 if keep else 1, funding_row_dt),
        equity=np.zeros(rows if keep else 1, equity_row_dt),
        governor=np.zeros(rows, governor_row_dt),
        doubts=np.zeros(rows, doubt_row_dt),
        refusals=np.zeros(rows, refusal_dt),
        counts=np.array([0] * ADVANCE + [int(keep)], dtype=np.int64),
    )


def grown(journal: Journal, room: int) -> Journal:
    """The same journals, each with twice the rows until `room` more fit. Funding has all it can need."""
    tables = {
        "trades": TRADES,
        "fills": FILLS,
        "decisions": DECISIONS,
        "denials": DENIALS,
        "governor": GOVERNOR,
        "doubts": DOUBTS,
        "refusals": REFUSALS,
    }
    larger = {}
    for name, count in tables.items():
        rows = getattr(journal, name)
        while journal.counts[count] + room > len(rows):
            rows = doubled(rows)
        larger[name] = rows
    if journal.counts[EQUITIES] >= len(journal.equity):
        larger["equity"] = doubled(journal.equity)
    return journal._replace(**larger)


def _boundaries(opens: Ints, closes: Ints) -> Ints:
    """Opens and closes, ascending. Errors: ValueError where one lies inside a bar."""
    boundaries, place = np.unique(np.concatenate([opens, closes]), return_inverse=True)
    first, last = np.split(place, 2)
    if (last - first != 1).any():
        raise ValueError("bars of all symbols must lie on one grid of the path")
    return boundaries


def _offsets(lengths: list[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _join(parts: list[Records], dtype: np.dtype[np.void]) -> Records:
    joined = np.zeros(sum(len(part) for part in parts), dtype)
    at = 0
    for part in parts:
        joined[at : at + len(part)] = part
        at += len(part)
    return joined
