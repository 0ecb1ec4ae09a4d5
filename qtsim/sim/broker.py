"""The simulated exchange behind the broker protocol: market orders fill at the last price of the current point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from qtsim.core.accounting import available_nb, equity_nb
from qtsim.core.costs import funding_amount_nb
from qtsim.core.cross_margin import is_account_liquidated_nb, least_pnl_nb, note_margin_ratio_nb
from qtsim.core.enums import MarginMode, Reason, Rule
from qtsim.core.orders import (
    has_entry_order_nb,
    has_exit_sent_nb,
    has_stop_due_nb,
    is_limit_nb,
    is_reached_nb,
    is_travelling_nb,
    land_exit_nb,
    note_filled_nb,
    note_placed_nb,
    place_order_nb,
    rest_stop_nb,
    send_entry_nb,
    send_exit_nb,
    stand_in_book_nb,
    take_part_nb,
    withhold_stop_nb,
)
from qtsim.core.records import NOT_YET, Record, Records, fill_row_dt, position_dt, transfer_dt
from qtsim.core.slots import other_slot_nb
from qtsim.core.transfers import judge_transfer_nb
from qtsim.sim.entries import place_missing_stop_nb
from qtsim.sim.fills import (
    entry_lots_nb,
    exchange_event_nb,
    fill_cross_liquidation_nb,
    fill_entry_nb,
    fill_exit_nb,
    fill_liquidation_nb,
    is_affordable_nb,
    keeps_order_nb,
    leg_lots_now_nb,
    may_wait_nb,
    meets_order_nb,
    take_room_nb,
)
from qtsim.sim.latency import delay_nb
from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, FundingPayment, OrderEnd, StopIntent, Transfer
from qtsim.trading.session import Session


class SimBroker:
    """Fills at once, or after `sim.latency_ms`. Reads the session's positions as the exchange's own book."""

    def __init__(self, session: Session, timeframe_ns: int = 0) -> None:
        """timeframe_ns: length of the signals' bars, in which limit entries time out."""
        self.session = session
        self.timeframe_ns = timeframe_ns
        n = len(session.instruments)
        self.stops: npt.NDArray[np.float64] = np.full(n, np.nan)
        self._fills: list[Fill] = []
        self._taken: list[OrderEnd] = []
        self._funding: list[FundingPayment] = []
        self._transfers: list[Transfer] = []

    # the protocol ----------------------------------------------------------------------------------------------------

    def submit(self, intent: EntryIntent | ExitIntent) -> None:
        """Fill a market order at the current point, or of an entry or a leg what the bar's volume allows.

        With latency the order is on its way first, see `arrive`.
        """
        i, session = intent.slot, self.session
        is_entry = isinstance(intent, EntryIntent)
        self._taken.append(OrderEnd(i, is_entry, "what is not filled yet is in the position", stands=is_entry))
        if isinstance(intent, EntryIntent):
            place_order_nb(
                session.positions[i],
                intent.plan,
                intent.trade_id,
                intent.bar,
                self.sent_at(i),
                self.timeframe_ns,
                session.instruments[i],
                session.params["entry"],
            )
            note_placed_nb(session.account[0], session.positions[i])
            delay = self._delay(i)
            if delay > 0:
                send_entry_nb(session.positions[i], int(session.points[i]["ts"]) + delay)
            else:
                self._work_order(i)
            return
        delay = 0 if intent.reason == Reason.END_OF_DATA else self._delay(i)
        if delay > 0:
            at = int(session.points[i]["ts"]) + delay
            send_exit_nb(session.positions[i], intent.lots, intent.reason, int(intent.is_leg), at)
        else:
            self._fill_exit(intent)

    def _fill_exit(self, intent: ExitIntent) -> None:
        i, session = intent.slot, self.session
        lots, is_done = intent.lots, True
        if intent.is_leg:
            lots = int(leg_lots_now_nb(intent.lots, session.points[i]))
            if lots < intent.lots:
                is_done = not may_wait_nb(self._sim)
                self._note_share(lots)
            if lots == 0:
                session.leave_leg(i, waits=not is_done)
                return
        record = np.zeros(1, fill_row_dt)
        fill_exit_nb(
            record[0],
            session.positions[i],
            session.points[i],
            session.symbol_of(i),
            intent.reason,
            lots,
            int(session.bar_index[i]),
            session.instruments[i],
            session.params,
        )
        self._report(Fill(i, record, is_entry=False, is_leg=intent.is_leg and is_done))
        if not is_done:
            session.leave_leg(i, waits=True)

    def sent_at(self, i: int) -> int:
        """From when a limit entry's time is counted, ns."""
        return int(self.session.points[i]["ts"])

    def cancel_entry(self, slot: int) -> bool:
        """Cancelling takes no time: what the session has ended is gone."""
        return False

    def place_stop(self, intent: StopIntent) -> None:
        """Rest the hard stop. It is never refused here, so a backup stop beside it has nothing to do.

        A program that does not run places it when it runs again.
        """
        position = self.session.positions[intent.slot]
        if self.session.is_blind:
            withhold_stop_nb(position, NOT_YET)
            return
        delay = self._delay(intent.slot)
        if delay > 0:
            withhold_stop_nb(position, int(self.session.points[intent.slot]["ts"]) + delay)
            return
        self.stops[intent.slot] = intent.trigger_price

    def cancel_stop(self, slot: int) -> None:
        """Remove the hard stop."""
        self.stops[slot] = np.nan

    def fills(self) -> list[Fill]:
        """Executions since the last call."""
        drained, self._fills = self._fills, []
        return drained

    def ends(self) -> list[OrderEnd]:
        """Every order sent since the last call: what is not filled yet stands in the position's record."""
        drained, self._taken = self._taken, []
        return drained

    def funding(self) -> list[FundingPayment]:
        """Funding payments since the last call."""
        drained, self._funding = self._funding, []
        return drained

    def transfers(self) -> list[Transfer]:
        """Deposits and withdrawals since the last call."""
        drained, self._transfers = self._transfers, []
        return drained

    def available(self) -> float:
        """Wallet less margins in use; cross adds unrealized PnL."""
        session = self.session
        return available_nb(session.account[0], session.positions, session.points, session.params)

    # entry orders ----------------------------------------------------------------------------------------------------

    @property
    def _sim(self) -> Record:
        return self.session.params["sim"]

    def _report(self, fill: Fill) -> None:
        """Tell the session of a fill; it takes from the volume that the bar leaves to later orders."""
        i = fill.slot
        take_room_nb(self.session.points, i, other_slot_nb(i, self.session.width), int(fill.record[0]["lots"]))
        self._fills.append(fill)

    def _note_share(self, lots: int) -> None:
        self.session.account["share_bound"] += 1
        self.session.account["parts"] += int(lots > 0)

    def _work_order(self, i: int) -> None:
        """Fill what this point gives of the slot's entry order; the rest waits, or is given up."""
        session = self.session
        position, point, instrument = session.positions[i], session.points[i], session.instruments[i]
        if not is_reached_nb(position, float(point["price"])):
            stand_in_book_nb(position, False)
            return
        asked = int(position["order_lots"])
        lots = int(entry_lots_nb(position, point, instrument, self._sim))
        if lots < asked:
            self._note_share(lots)
        if lots > 0:
            record = np.zeros(1, fill_row_dt)
            fill_entry_nb(
                record[0],
                session.plans[i],
                position,
                point,
                lots,
                session.symbol_of(i),
                int(session.bar_index[i]),
                instrument,
                session.params,
            )
            note_filled_nb(session.account[0], position)
            take_part_nb(position, session.plans[i], lots)
            self._report(Fill(i, record, is_entry=True, is_leg=False))
            session.collect()
        if lots < asked and not may_wait_nb(self._sim):
            session.drop_order(i, Rule.VOLUME_SHARE, int(point["ts"]))
        stand_in_book_nb(position, True)

    def meet_order(self, i: int) -> None:
        """Fill a limit entry that this point trades through, unless the governor forbids it."""
        session, position = self.session, self.session.positions[i]
        if np.isnan(session.points[i]["price"]) or not meets_order_nb(position, session.points[i], self._sim):
            return
        ts = int(session.points[i]["ts"])
        rule = session.order_rule(i, ts)
        if rule == Rule.NONE and not keeps_order_nb(
            position, session.points[i], session.instruments[i], session.params["costs"]
        ):
            rule = Rule.NO_LIQUIDATION_ROOM
        if rule != Rule.NONE:
            session.drop_order(i, rule, ts)
        else:
            self._work_order(i)

    def place_missing_stops(self, ts: int) -> None:
        """A program that runs again sends the hard stops of what was entered without it."""
        for i, position in enumerate(self.session.positions):
            if place_missing_stop_nb(self.session.account[0], position, i, ts, self.session.params):
                self.stops[i] = position["hard_price"]

    def arrive(self, i: int) -> None:
        """What has reached the exchange by now: the hard stop stands, an exit fills what it finds, an entry works."""
        session, position, point = self.session, self.session.positions[i], self.session.points[i]
        ts = int(point["ts"])
        if has_stop_due_nb(position) and position["hard_at"] <= ts:
            rest_stop_nb(position)
            self.stops[i] = position["hard_price"]
        if np.isnan(point["price"]):
            return
        if has_exit_sent_nb(position) and position["exit_at"] <= ts:
            lots, reason = int(land_exit_nb(position)), int(position["exit_reason"])
            is_leg = bool(position["exit_is_leg"] == 1)
            self._fill_exit(ExitIntent(i, int(position["trade_id"]), reason, lots, is_leg))
            session.collect()
        if is_travelling_nb(position) and position["order_at"] <= ts:
            position["order_travels"] = 0
            costs = session.params["costs"]
            if is_limit_nb(position) or is_affordable_nb(
                position, session.plans[i], point, self.available(), session.instruments[i], costs
            ):
                self._work_order(i)
            else:
                session.drop_order(i, Rule.INSUFFICIENT_MARGIN, ts)

    def meet_orders(self, i: int) -> bool:
        """Orders arrive, and a limit that stands is met; is a position new?"""
        was_open = self.session.is_open(i)
        self.arrive(i)
        self.meet_order(i)
        return self.session.is_open(i) and not was_open

    def _delay(self, i: int) -> int:
        """ns until the exchange has the slot's next order."""
        session = self.session
        return int(delay_nb(session.account[0], session.positions[i], i, session.params))

    def continue_orders(self, slots: Iterable[int]) -> None:
        """The rest of market entries goes on at the opens of `slots`, while the account can still pay for it."""
        session = self.session
        for i in slots:
            position, point = session.positions[i], session.points[i]
            if not has_entry_order_nb(position) or is_limit_nb(position) or np.isnan(point["price"]):
                continue
            if is_travelling_nb(position):
                continue
            instrument, costs = session.instruments[i], session.params["costs"]
            if not keeps_order_nb(position, point, instrument, costs):
                session.drop_order(i, Rule.NO_LIQUIDATION_ROOM, int(point["ts"]))
            elif is_affordable_nb(position, session.plans[i], point, self.available(), instrument, costs):
                self._work_order(i)
            else:
                session.drop_order(i, Rule.INSUFFICIENT_MARGIN, int(point["ts"]))

    # the exchange's own doing ----------------------------------------------------------------------------------------

    def exchange_view(self, i: int) -> Records:
        """The position as the exchange sees it: with the stop that really rests there. position_dt[1]"""
        view = np.zeros(1, position_dt)
        view[0] = self.session.positions[i]
        view["hard_price"] = self.stops[i]
        return view

    def act(self, i: int, wanted: Reason) -> None:
        """Liquidate or trigger the hard stop at the current point, if that is what the point does."""
        if not self.session.can_judge(i):
            return
        self.session.remember_extremes(i)
        view = self.exchange_view(i)
        point = self.session.points[i]
        if exchange_event_nb(view[0], point, self.session.params) != wanted:
            return
        if wanted == Reason.HARD_STOP:
            lots = int(self.session.positions[i]["lots"])
            trade_id = int(self.session.positions[i]["trade_id"])
            self._fill_exit(ExitIntent(i, trade_id, Reason.HARD_STOP, lots, is_leg=False))
        else:
            record = np.zeros(1, fill_row_dt)
            bar = int(self.session.bar_index[i])
            symbol = self.session.symbol_of(i)
            fill_liquidation_nb(record[0], view[0], point, symbol, bar, self.session.instruments[i])
            self._report(Fill(i, record, is_entry=False, is_leg=False))
        self.session.collect()

    @property
    def is_cross(self) -> bool:
        """Does the whole account back every position?"""
        return bool(self.session.params["account"]["mode_margin"] == MarginMode.CROSS)

    def judge_margin(self, slots: Iterable[int]) -> None:
        """Cross margin: take over what `slots` hold where the account no longer covers its maintenance margins."""
        session = self.session
        state = (session.account[0], session.positions, session.points)
        if not self.is_cross:
            return
        note_margin_ratio_nb(*state, session.instruments)
        if not is_account_liquidated_nb(*state, session.instruments):
            return
        for i in slots:
            point = session.points[i]
            if not session.is_open(i) or np.isnan(point["price"]):
                continue
            session.remember_extremes(i)
            record = np.zeros(1, fill_row_dt)
            fill_cross_liquidation_nb(
                record[0],
                session.positions[i],
                point,
                session.symbol_of(i),
                int(session.bar_index[i]),
                equity_nb(*state),
                least_pnl_nb(*state, i),
                session.instruments[i],
            )
            self._report(Fill(i, record, is_entry=False, is_leg=False))
            session.collect()

    def transfer(self, asked: Record, ts: int) -> None:
        """Deposit or withdraw at `ts`, or refuse to. asked: transfer_dt row"""
        session = self.session
        record = np.zeros(1, transfer_dt)
        record[0] = asked
        judge_transfer_nb(record[0], session.account[0], session.positions, session.points, ts, session.params)
        self._transfers.append(Transfer(record))
        session.collect_transfers()

    def charge(self, i: int, ts: int, rate: float, event_mark: float, mark: float) -> None:
        """Charge a funding event to the open position on the event's mark, else on `mark`."""
        position = self.session.positions[i]
        if position["side"] == 0:
            return
        price = mark if np.isnan(event_mark) else event_mark
        amount = funding_amount_nb(float(position["side"]), float(position["qty"]), price, rate)
        self._funding.append(FundingPayment(i, ts, rate, price, amount))
        self.session.collect_funding()
