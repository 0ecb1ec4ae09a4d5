"""How a backtest teaches the agent of sizing model rl: every decision replayed under every other action.

A replay sees bars that the run has not reached. Nothing of it is used before the run has passed the replay's own exit.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.accounting import show_signal_nb
from qtsim.core.entry import judge_entry_nb, size_entry_nb
from qtsim.core.enums import FillAt, FundingInclusive, Gate, Monitoring, OwnTrade, Side
from qtsim.core.params import LESSONS_MAX, RL_ACTIONS
from qtsim.core.records import NEVER, Record
from qtsim.core.rl_sizing import (
    DEFAULT_ACTION,
    best_value_nb,
    choose_nb,
    entry_state_nb,
    reward_nb,
    update_nb,
)
from qtsim.sim.boundary import (
    act_on_own_close_nb,
    closed_signal_nb,
    end_data_nb,
    has_cycle_at_open_nb,
    is_expired_nb,
    obey_signal_nb,
    open_bar_nb,
)
from qtsim.sim.entries import enter_nb
from qtsim.sim.funding import charge_boundary_funding_nb, charge_due_funding_nb, opens_at_nb
from qtsim.sim.market import NO_BAR, Book, Journal, Tape
from qtsim.sim.paths import is_high_nearer_nb, unfold_bar_nb
from qtsim.sim.settle import settle_point_nb
from qtsim.sim.steps import charge_funding_nb
from qtsim.sim.walk import copy_symbol_nb, look_at_last_close_nb, walk_bars_nb

ENDLESS = np.iinfo(np.int64).max
"""Exit time of a replay that the data do not end."""


# One replay ----------------------------------------------------------------------------------------------------------


@kernel
def charge_entry_funding_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, params: Record) -> None:
    """`inclusive = both`: a position opened at a funding time is charged as well."""
    if params["costs"]["funding_inclusive"] != FundingInclusive.BOTH:
        return
    row = book.slots[i]["next_funding"] - 1
    if row < book.slots[i]["funding_first"] or tape.funding[row]["ts"] != ts:
        return
    if book.positions[i]["side"] != Side.NONE and book.positions[i]["entry_ts"] == ts:
        charge_funding_nb(tape, book, journal, i, row, book.points[i]["mark"])


@kernel
def replay_close_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, params: Record) -> None:
    """The symbol's bar ends at `ts`, as in steps 1 to 4 of the order of events."""
    end_data_nb(tape, book, journal, i, params)
    charge_boundary_funding_nb(tape, book, journal, i, i + 1, ts, False)
    if params["sim"]["fill_at"] == FillAt.CLOSE:
        act_on_own_close_nb(tape, book, i, ts, params)
        obey_signal_nb(tape, book, journal, i, params)
    book.slots[i]["bar"] = NO_BAR
    row = closed_signal_nb(tape, book, i, ts)
    while row != NO_BAR:
        book.slots[i]["next_signal"] = row + 1
        show_signal_nb(book.points[i], tape.signals[row], ts)
        book.slots[i]["pending"] = row
        row = closed_signal_nb(tape, book, i, ts)
    if params["sim"]["fill_at"] == FillAt.CLOSE:
        book.slots[i]["pending"] = NO_BAR


@kernel
def replay_open_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, params: Record) -> None:
    """The symbol's next bar opens at `ts`, as in steps 5 and 6 of the order of events."""
    open_bar_nb(tape, book, i, ts, params)
    settle_point_nb(tape, book, journal, ts, i, i + 1, has_cycle_at_open_nb(ts, params), params)
    pending = book.slots[i]["pending"]
    book.slots[i]["pending"] = NO_BAR
    book.slots[i]["acting"] = NO_BAR
    if pending != NO_BAR and not is_expired_nb(tape, pending, ts):
        book.slots[i]["acting"] = pending
    obey_signal_nb(tape, book, journal, i, params)


@kernel
def leave_alone_nb(book: Book, i: int) -> None:
    """Take all other positions out of a replay's book: with cross margin they would back it, or fall with it."""
    for j in range(len(book.positions)):
        if j != i:
            book.positions[j]["side"] = Side.NONE.value


@kernel
def follow_nb(tape: Tape, book: Book, journal: Journal, i: int, ts: int, params: Record) -> int:
    """Follow the position that symbol `i` has just opened at `ts` to its end, alone, on the nearest path.

    Returns the time of its last fill, or ENDLESS where the data end first.
    """
    slot = book.slots[i]
    now = ts
    if params["sim"]["fill_at"] == FillAt.CLOSE:
        slot["bar"] = NO_BAR
        slot["pending"] = NO_BAR
        # what has closed by now has acted
        row = closed_signal_nb(tape, book, i, now)
        while row != NO_BAR:
            slot["next_signal"] = row + 1
            row = closed_signal_nb(tape, book, i, now)
        if opens_at_nb(tape, book, i, now):
            replay_open_nb(tape, book, journal, i, now, params)
    charge_entry_funding_nb(tape, book, journal, i, now, params)
    while book.positions[i]["side"] != Side.NONE:
        if slot["bar"] != NO_BAR:
            bar = tape.bars[slot["bar"]]
            unfold_bar_nb(bar, is_high_nearer_nb(bar), slot["has_mark"] == 1, slot["prices"], slot["marks"])
            close = now + bar["length"]
            walk_bars_nb(tape, book, journal, now, close, i, i + 1, params)
            now = close
            if params["exit"]["monitoring"] == Monitoring.INTERVAL:
                look_at_last_close_nb(tape, book, journal, now, i, i + 1, params)
            replay_close_nb(tape, book, journal, i, now, params)
        else:
            row = slot["next_bar"]
            if row >= slot["bars_end"]:
                return ENDLESS
            if tape.bars[row]["ts_open"] > now:
                # a gap: funding on the last mark, up to the open
                now = tape.bars[row]["ts_open"]
                charge_due_funding_nb(tape, book, journal, i, i + 1, now - 1)
                charge_boundary_funding_nb(tape, book, journal, i, i + 1, now, False)
            replay_open_nb(tape, book, journal, i, now, params)
    return journal.fills[0]["ts"]


@kernel
def replay_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    i: int,
    side: int,
    row: int,
    action: int,
    ts: int,
    equity: float,
    margin_used: float,
    available: float,
    crowd: Record,
    governor: Record,
    stats: Record,
    params: Record,
) -> tuple[int, float]:
    """Plan the request of signal `row` under `action` and follow it on the symbol's own path: (exit time, reward).

    book: a copy of the symbol as it stands at the entry; journal: one that keeps nothing. A refused entry ends at
    once with reward 0.
    """
    plan = book.plans[i]
    signal = tape.signals[row]
    judge_entry_nb(plan, side, signal, equity, ts, crowd, governor, stats, params)
    plan["has_action"] = 1
    plan["rl_action"] = action
    if plan["gate"] == Gate.NONE:
        size_entry_nb(
            plan,
            book.account[0],
            signal,
            book.points[i],
            equity,
            margin_used,
            available,
            crowd,
            tape.instruments[i],
            params,
        )
    if plan["gate"] != Gate.NONE:
        return ts, 0.0
    enter_nb(tape, book, journal, i, row - book.slots[i]["signals_first"], params)
    exit_ts = follow_nb(tape, book, journal, i, ts, params)
    if exit_ts == ENDLESS:
        return exit_ts, 0.0
    return exit_ts, reward_nb(journal.trades[0]["pnl"], equity)


# Learning in the compiled loop ---------------------------------------------------------------------------------------


@kernel
def latest_known_nb(ts: int, params: Record) -> int:
    """Latest exit time that a decision at `ts` may know: with `fill_at = close` the open at `ts` is yet to come."""
    if params["sim"]["fill_at"] == FillAt.CLOSE:
        return ts - 1
    return ts


@kernel
def learn_nb(book: Book, i: int, next_state: int, known: int, params: Record) -> None:
    """Learn what has become known of the symbol's signals, the next state being that of its next approved one."""
    agent = book.agent[0]
    pupil = book.pupils[i]
    q = agent["q"]
    visits = agent["visits"]
    alpha = params["sizing"]["rl_alpha"]
    gamma = params["sizing"]["rl_gamma"]
    value = best_value_nb(q, next_state)
    for k in range(max(0, pupil["decisions"] - LESSONS_MAX), pupil["decisions"]):
        slot = k % LESSONS_MAX
        for action in range(RL_ACTIONS):
            exit_ts = pupil["exit_ts"][slot, action]
            if exit_ts != NEVER and exit_ts <= known:
                update_nb(q, visits, pupil["state"][slot], action, pupil["reward"][slot, action], value, alpha, gamma)
                pupil["exit_ts"][slot, action] = NEVER
    if pupil["own"] == OwnTrade.KNOWN:
        update_nb(q, visits, pupil["own_state"], pupil["own_action"], pupil["own_reward"], value, alpha, gamma)
        pupil["own"] = OwnTrade.NONE.value


@kernel
def decide_nb(book: Book, i: int, ts: int, equity: float, params: Record) -> None:
    """Let the agent learn, if it does, and choose the action of the symbol's plan, which the gates have let through."""
    agent = book.agent[0]
    pupil = book.pupils[i]
    plan = book.plans[i]
    sizing = params["sizing"]
    state = entry_state_nb(plan, book.account[0], book.crowd[0], equity, params)
    epsilon = 0.0
    if agent["learns"] == 1:
        epsilon = sizing["rl_epsilon"]
        learn_nb(book, i, state, latest_known_nb(ts, params), params)
    action = choose_nb(
        agent["q"],
        agent["visits"],
        state,
        DEFAULT_ACTION,
        book.draws,
        agent["decisions"],
        epsilon,
        sizing["rl_min_visits"],
    )
    agent["decisions"] += 1
    plan["has_action"] = 1
    plan["rl_state"] = state
    plan["rl_action"] = action
    if agent["learns"] == 0:
        return
    # until it is entered, and where it never is, the action has brought nothing
    pupil["own"] = OwnTrade.KNOWN.value
    pupil["own_state"] = state
    pupil["own_action"] = action
    pupil["own_reward"] = 0.0
    pupil["own_equity"] = equity


@kernel
def teach_nb(
    tape: Tape,
    book: Book,
    trial_book: Book,
    trial_journal: Journal,
    i: int,
    side: int,
    row: int,
    ts: int,
    equity: float,
    margin_used: float,
    available: float,
    params: Record,
) -> None:
    """Replay the symbol's request under every action but the one taken; what comes out waits for its exit time."""
    agent = book.agent[0]
    if agent["learns"] == 0:
        return
    pupil = book.pupils[i]
    slot = pupil["decisions"] % LESSONS_MAX
    if pupil["decisions"] >= LESSONS_MAX:
        for action in range(RL_ACTIONS):
            if pupil["exit_ts"][slot, action] != NEVER:
                agent["forgotten"] += 1
    pupil["decisions"] += 1
    pupil["state"][slot] = book.plans[i]["rl_state"]
    for action in range(RL_ACTIONS):
        pupil["exit_ts"][slot, action] = NEVER
        if action == book.plans[i]["rl_action"]:
            continue
        copy_symbol_nb(book, trial_book, i, i + 1, params)
        leave_alone_nb(trial_book, i)
        exit_ts, reward = replay_nb(
            tape,
            trial_book,
            trial_journal,
            i,
            side,
            row,
            action,
            ts,
            equity,
            margin_used,
            available,
            book.crowd[0],
            book.governor[0],
            book.stats[book.slots[i]["symbol"]],
            params,
        )
        pupil["exit_ts"][slot, action] = exit_ts
        pupil["reward"][slot, action] = reward
