"""What happens to one symbol at one point: exchange, exit cycle, fills, funding. The loop puts these in order."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import (
    apply_funding_nb,
    close_trade_nb,
    equity_nb,
    hit_leg_nb,
    observe_nb,
    reduce_position_nb,
    wait_for_volume_nb,
)
from qtsim.core.costs import funding_amount_nb
from qtsim.core.cross_margin import is_account_liquidated_nb, least_pnl_nb, note_margin_ratio_nb
from qtsim.core.enums import Action, GovernorOrder, MarginMode, Reason, Side
from qtsim.core.exit_brain import apply_decision_nb, decide_exit_nb
from qtsim.core.orders import send_exit_nb
from qtsim.core.records import Record
from qtsim.core.rl_sizing import note_reward_nb
from qtsim.core.safety_governor import (
    DAY_NS,
    begin_streak_day_nb,
    evaluate_governor_nb,
    note_losing_fill_nb,
    note_trade_nb,
    order_positions_nb,
)
from qtsim.core.symbol_stats import note_symbol_trade_nb
from qtsim.sim.asleep import show_sleepers_nb
from qtsim.sim.fills import (
    exchange_event_nb,
    fill_cross_liquidation_nb,
    fill_exit_nb,
    fill_liquidation_nb,
    leg_lots_now_nb,
    may_wait_nb,
    take_room_nb,
)
from qtsim.sim.latency import delay_nb
from qtsim.sim.market import (
    ADVANCE,
    CYCLES,
    DECISIONS,
    DENIALS,
    FILLS,
    FUNDINGS,
    GOVERNOR,
    HOLDS,
    NAN_POINTS,
    NO_BAR,
    ROUSES,
    TRADES,
    Book,
    Ints,
    Journal,
    Tape,
)


@kernel
def bar_number_nb(book: Book, i: int) -> int:
    """Number of the signals' bar that is being walked, counted from the symbol's first: how many have closed."""
    return book.slots[i]["next_signal"] - book.slots[i]["signals_first"]


@kernel
def write_decision_nb(journal: Journal, symbol: int, position: Record, point: Record, decision: Record) -> None:
    """Journal a decision that is not HOLD_CURRENT."""
    row = journal.decisions[journal.counts[DECISIONS]]
    row["ts"] = point["ts"]
    row["symbol"] = symbol
    row["side"] = position["side"]
    row["trade_id"] = position["trade_id"]
    row["action"] = decision["action"]
    row["reason"] = decision["reason"]
    row["leg"] = decision["leg"]
    row["stop_reason"] = decision["stop_reason"]
    row["lots"] = decision["lots"]
    row["price"] = point["price"]
    row["mark"] = point["mark"]
    row["stop_price"] = decision["stop_price"]
    row["peak"] = decision["peak"]
    journal.counts[DECISIONS] += journal.counts[ADVANCE]


@kernel
def write_denial_nb(
    journal: Journal,
    ts: int,
    symbol: int,
    side: int,
    gate: int,
    rule: int,
    value: float,
    limit: float,
    confidence: float,
    bar: int,
) -> None:
    """Journal a request that did not become an entry."""
    row = journal.denials[journal.counts[DENIALS]]
    row["ts"] = ts
    row["symbol"] = symbol
    row["side"] = side
    row["gate"] = gate
    row["rule"] = rule
    row["value"] = value
    row["limit"] = limit
    row["confidence"] = confidence
    row["bar"] = bar
    journal.counts[DENIALS] += journal.counts[ADVANCE]


@kernel
def write_events_nb(book: Book, journal: Journal) -> None:
    """Journal what the governor has fired and ended since the last time."""
    governor = book.governor[0]
    for k in range(governor["n_events"]):
        journal.governor[journal.counts[GOVERNOR]] = book.events[k]
        journal.counts[GOVERNOR] += 1
    governor["n_events"] = 0


@kernel
def order_all_nb(book: Book, order: int, ts: int) -> None:
    """Ask every open position to close or to be reduced; slots that sleep are roused before their next point."""
    order_positions_nb(book.positions, order, ts)
    book.counters[ROUSES] = 1


@kernel
def is_judged_nb(book: Book, journal: Journal, params: Record) -> bool:
    """Does the governor look at the account: gates on, the program running, and this the run itself?"""
    return journal.counts[ADVANCE] == 1 and params["gates"]["enabled"] == 1 and book.governor[0]["blind"] == 0


@kernel
def judge_equity_nb(book: Book, journal: Journal, ts: int, equity: float, at_boundary: bool, params: Record) -> None:
    """Let the governor evaluate an equity; a shutdown closes everything at the next points."""
    if not is_judged_nb(book, journal, params):
        return
    if evaluate_governor_nb(book.governor[0], book.history, book.events, ts, equity, at_boundary, params):
        order_all_nb(book, GovernorOrder.CLOSE.value, ts)
    write_events_nb(book, journal)


@kernel
def evaluate_nb(tape: Tape, book: Book, journal: Journal, ts: int, params: Record) -> None:
    """Let the governor evaluate the equity where the symbols stand."""
    if not is_judged_nb(book, journal, params):
        return
    show_sleepers_nb(tape, book, params)
    equity = equity_nb(book.account[0], book.positions, book.points)
    judge_equity_nb(book, journal, ts, equity, False, params)


@kernel
def tell_governor_nb(
    tape: Tape,
    book: Book,
    journal: Journal,
    i: int,
    ts: int,
    lost: bool,
    is_flat: bool,
    pnl: float,
    params: Record,
) -> None:
    """After a closing fill: equity, a losing fill, and the trade's net PnL once it is flat, in this order."""
    governor = book.governor[0]
    evaluate_nb(tape, book, journal, ts, params)
    if lost and governor["blind"] == 0:
        note_losing_fill_nb(governor, book.history, book.events, ts, governor["equity"], params)
    if is_flat:
        if governor["blind"] == 1:
            begin_streak_day_nb(governor, ts // DAY_NS)
        if note_trade_nb(governor, book.events, ts, pnl, params):
            order_all_nb(book, GovernorOrder.REDUCE.value, ts)
        note_symbol_trade_nb(book.stats[book.slots[i]["symbol"]], ts, pnl, params["orchestrator"])
    write_events_nb(book, journal)


@kernel
def finish_exit_nb(tape: Tape, book: Book, journal: Journal, i: int, bar: int, is_leg: bool, params: Record) -> None:
    """Apply the exit that stands in the next fill row: cash, quantity, legs; and the trade, once flat."""
    book.slots[i]["looked"] = 0
    position = book.positions[i]
    instrument = tape.instruments[i]
    fill = journal.fills[journal.counts[FILLS]]
    take_room_nb(book.points, i, book.slots[i]["other"], fill["lots"])
    reduce_position_nb(book.account[0], position, fill, instrument, params)
    if is_leg:
        hit_leg_nb(position, instrument, params)
    is_flat = position["lots"] == 0
    pnl = 0.0
    if is_flat:
        trade = journal.trades[journal.counts[TRADES]]
        close_trade_nb(book.account[0], position, fill, position["symbol"], bar, trade)
        pnl = trade["pnl"]
        journal.counts[TRADES] += journal.counts[ADVANCE]
        book.slots[i]["last_exit_bar"] = bar
        if journal.counts[ADVANCE] == 1:
            note_reward_nb(book.pupils[i], pnl)
    lost = fill["pnl"] - fill["fee"] - fill["liq_fee"] < 0.0
    ts = fill["ts"]
    journal.counts[FILLS] += journal.counts[ADVANCE]
    if journal.counts[ADVANCE] == 1 and params["gates"]["enabled"] == 1:
        tell_governor_nb(tape, book, journal, i, ts, lost, is_flat, pnl, params)


@kernel
def note_share_nb(account: Record, lots: int) -> None:
    """Count that the share of a bar's volume gave an order only `lots`, less than it asked for."""
    account["share_bound"] += 1
    if lots > 0:
        account["parts"] += 1


@kernel
def exit_at_market_nb(
    tape: Tape, book: Book, journal: Journal, i: int, reason: int, lots: int, is_leg: bool, params: Record
) -> None:
    """Close `lots` at the symbol's current point; of a leg what the share of the bar's volume allows.

    The rest of a leg waits for the next bar, or is given up: then the leg counts as hit with what it got.
    """
    position = book.positions[i]
    is_done = True
    if is_leg:
        asked = lots
        lots = leg_lots_now_nb(asked, book.points[i])
        if lots < asked:
            is_done = not may_wait_nb(params["sim"])
            note_share_nb(book.account[0], lots)
        if lots == 0:
            leave_leg_nb(position, tape.instruments[i], is_done, params)
            return
    fill = journal.fills[journal.counts[FILLS]]
    bar = bar_number_nb(book, i)
    fill_exit_nb(
        fill, position, book.points[i], book.slots[i]["symbol"], reason, lots, bar, tape.instruments[i], params
    )
    finish_exit_nb(tape, book, journal, i, bar, is_leg and is_done, params)
    if not is_done:
        wait_for_volume_nb(position)


@kernel
def leave_nb(
    tape: Tape, book: Book, journal: Journal, i: int, reason: int, lots: int, is_leg: bool, params: Record
) -> None:
    """Send an exit of `lots`: it fills at once, or where the price is once the exchange has it."""
    position = book.positions[i]
    delay = delay_nb(book.account[0], position, i, params)
    if delay > 0:
        send_exit_nb(position, lots, reason, int(is_leg), book.points[i]["ts"] + delay)
    else:
        exit_at_market_nb(tape, book, journal, i, reason, lots, is_leg, params)


@kernel
def leave_leg_nb(position: Record, instrument: Record, is_done: bool, params: Record) -> None:
    """A leg for which the bar has no volume left: it is hit without a fill, or waits for the next bar."""
    if is_done:
        hit_leg_nb(position, instrument, params)
    else:
        wait_for_volume_nb(position)


@kernel
def liquidate_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """The exchange takes the position over at mark."""
    fill = journal.fills[journal.counts[FILLS]]
    bar = bar_number_nb(book, i)
    fill_liquidation_nb(fill, book.positions[i], book.points[i], book.slots[i]["symbol"], bar, tape.instruments[i])
    finish_exit_nb(tape, book, journal, i, bar, False, params)


@kernel
def liquidate_in_account_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """The exchange takes over one position of a liquidated cross account."""
    observe_nb(book.positions[i], book.points[i]["price"], book.points[i]["mark"])
    fill = journal.fills[journal.counts[FILLS]]
    fill_cross_liquidation_nb(
        fill,
        book.positions[i],
        book.points[i],
        book.slots[i]["symbol"],
        bar_number_nb(book, i),
        equity_nb(book.account[0], book.positions, book.points),
        least_pnl_nb(book.account[0], book.positions, book.points, i),
        tape.instruments[i],
    )
    finish_exit_nb(tape, book, journal, i, fill["bar"], False, params)


@kernel
def check_account_nb(tape: Tape, book: Book, journal: Journal, first: int, last: int, params: Record) -> None:
    """Cross margin: close all of symbols [first, last) where the account no longer covers its maintenance margins.

    Everything open counts; what has no price now is closed by a later point at which the account is still short.
    """
    if params["account"]["mode_margin"] != MarginMode.CROSS:
        return
    account = book.account[0]
    note_margin_ratio_nb(account, book.positions, book.points, tape.instruments)
    if not is_account_liquidated_nb(account, book.positions, book.points, tape.instruments):
        return
    for i in range(first, last):
        price = book.points[i]["price"]
        if book.slots[i]["bar"] != NO_BAR and book.positions[i]["side"] != Side.NONE and price == price:
            liquidate_in_account_nb(tape, book, journal, i, params)


# What runs at every point takes records, not the whole book: passing that costs more than what is done at most points.


@kernel
def is_observable_nb(position: Record, point: Record, counters: Ints) -> bool:
    """Is there a position and a price to judge it by? A NaN price is counted and skipped."""
    if position["side"] == Side.NONE:
        return False
    if point["price"] != point["price"] or point["mark"] != point["mark"]:
        counters[NAN_POINTS] += 1
        return False
    return True


@kernel
def meets_exchange_nb(position: Record, point: Record, counters: Ints, wanted: int, params: Record) -> bool:
    """Remember the extremes of an open position; does the exchange do `wanted` (LIQUIDATION or HARD_STOP) here?"""
    if not is_observable_nb(position, point, counters):
        return False
    observe_nb(position, point["price"], point["mark"])
    return exchange_event_nb(position, point, params) == wanted


@kernel
def act_for_exchange_nb(tape: Tape, book: Book, journal: Journal, i: int, event: int, params: Record) -> None:
    """The exchange liquidates the position or triggers its hard stop."""
    if event == Reason.LIQUIDATION:
        liquidate_nb(tape, book, journal, i, params)
    else:
        exit_at_market_nb(tape, book, journal, i, Reason.HARD_STOP.value, book.positions[i]["lots"], False, params)


@kernel
def check_exchange_nb(tape: Tape, book: Book, journal: Journal, i: int, wanted: int, params: Record) -> None:
    """Let the exchange act if what it would do at this point is `wanted`."""
    if meets_exchange_nb(book.positions[i], book.points[i], book.counters, wanted, params):
        act_for_exchange_nb(tape, book, journal, i, wanted, params)


@kernel
def decide_cycle_nb(
    position: Record, point: Record, instrument: Record, decision: Record, counters: Ints, params: Record
) -> bool:
    """One exit cycle: decide, and obey where that is HOLD_CURRENT. Returns whether anything else came out."""
    decide_exit_nb(position, point, instrument, params, decision)
    counters[CYCLES] += 1
    if decision["action"] != Action.HOLD_CURRENT:
        return True
    counters[HOLDS] += 1
    apply_decision_nb(position, decision)
    return False


@kernel
def obey_decision_nb(tape: Tape, book: Book, journal: Journal, i: int, params: Record) -> None:
    """Journal and obey a decision that is not HOLD_CURRENT, and be filled."""
    position = book.positions[i]
    decision = book.decision[0]
    action = decision["action"]
    write_decision_nb(journal, book.slots[i]["symbol"], position, book.points[i], decision)
    apply_decision_nb(position, decision)
    if action == Action.FULL_EXIT_NOW:
        leave_nb(tape, book, journal, i, decision["reason"], decision["lots"], decision["leg"] > 0, params)
    elif action == Action.PARTIAL_CLOSE:
        if decision["lots"] == 0:
            hit_leg_nb(position, tape.instruments[i], params)
        else:
            is_leg = decision["leg"] > 0
            leave_nb(tape, book, journal, i, decision["reason"], decision["lots"], is_leg, params)


@kernel
def run_cycles_nb(tape: Tape, book: Book, journal: Journal, i: int, once: bool, params: Record) -> None:
    """Cycles at one point: one, or repeated until HOLD_CURRENT or flat; none while the program does not run."""
    if book.governor[0]["blind"] == 1:
        return
    while is_observable_nb(book.positions[i], book.points[i], book.counters):
        acted = decide_cycle_nb(
            book.positions[i], book.points[i], tape.instruments[i], book.decision[0], book.counters, params
        )
        if acted:
            obey_decision_nb(tape, book, journal, i, params)
        else:
            book.slots[i]["looked"] = 1
        if once or not acted:
            return


@kernel
def charge_funding_nb(tape: Tape, book: Book, journal: Journal, i: int, row: int, mark: float) -> None:
    """Charge one funding event to an open position, on the event's own mark or else on `mark`."""
    position = book.positions[i]
    if position["side"] == Side.NONE:
        return
    event = tape.funding[row]
    if event["mark"] == event["mark"]:
        mark = event["mark"]
    amount = funding_amount_nb(float(position["side"]), position["qty"], mark, event["rate"])
    apply_funding_nb(book.account[0], position, amount, tape.instruments[i])
    out = journal.funding[journal.counts[FUNDINGS]]
    out["ts"] = event["ts"]
    out["symbol"] = book.slots[i]["symbol"]
    out["side"] = position["side"]
    out["trade_id"] = position["trade_id"]
    out["rate"] = event["rate"]
    out["mark"] = mark
    out["amount"] = amount
    journal.counts[FUNDINGS] += journal.counts[ADVANCE]
