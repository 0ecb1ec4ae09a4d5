"""The simulated exchange behind the broker protocol: market orders fill at the last price of the current point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from qtsim.core.accounting import available_nb, equity_nb
from qtsim.core.costs import funding_amount_nb
from qtsim.core.cross_margin import is_account_liquidated_nb, least_pnl_nb, note_margin_ratio_nb
from qtsim.core.enums import MarginMode, Reason
from qtsim.core.records import Record, Records, fill_row_dt, position_dt, transfer_dt
from qtsim.core.transfers import judge_transfer_nb
from qtsim.sim.fills import (
    exchange_event_nb,
    fill_cross_liquidation_nb,
    fill_entry_nb,
    fill_exit_nb,
    fill_liquidation_nb,
)
from qtsim.trading.messages import EntryIntent, ExitIntent, Fill, FundingPayment, StopIntent, Transfer
from qtsim.trading.session import Session


class SimBroker:
    """Fills at once, without latency. Reads the session's positions as the exchange's own book."""

    def __init__(self, session: Session) -> None:
        self.session = session
        n = len(session.instruments)
        self.stops: npt.NDArray[np.float64] = np.full(n, np.nan)
        self._fills: list[Fill] = []
        self._funding: list[FundingPayment] = []
        self._transfers: list[Transfer] = []

    # the protocol ----------------------------------------------------------------------------------------------------

    def submit(self, intent: EntryIntent | ExitIntent) -> None:
        """Fill a market order at the current point."""
        i = intent.slot
        session = self.session
        record = np.zeros(1, fill_row_dt)
        bar = int(session.bar_index[i])
        if isinstance(intent, EntryIntent):
            fill_entry_nb(
                record[0],
                intent.plan,
                session.points[i],
                session.symbol_of(i),
                intent.trade_id,
                bar,
                session.instruments[i],
                session.params,
            )
            self._fills.append(Fill(i, record, is_entry=True, is_leg=False))
            return
        fill_exit_nb(
            record[0],
            session.positions[i],
            session.points[i],
            session.symbol_of(i),
            intent.reason,
            intent.lots,
            bar,
            session.instruments[i],
            session.params,
        )
        self._fills.append(Fill(i, record, is_entry=False, is_leg=intent.is_leg))

    def place_stop(self, intent: StopIntent) -> None:
        """Rest the hard stop. It is never refused here, so a backup stop beside it has nothing to do."""
        self.stops[intent.slot] = intent.trigger_price

    def cancel_stop(self, slot: int) -> None:
        """Remove the hard stop."""
        self.stops[slot] = np.nan

    def fills(self) -> list[Fill]:
        """Executions since the last call."""
        drained, self._fills = self._fills, []
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
            self.submit(ExitIntent(i, trade_id, Reason.HARD_STOP, lots, is_leg=False))
        else:
            record = np.zeros(1, fill_row_dt)
            bar = int(self.session.bar_index[i])
            symbol = self.session.symbol_of(i)
            fill_liquidation_nb(record[0], view[0], point, symbol, bar, self.session.instruments[i])
            self._fills.append(Fill(i, record, is_entry=False, is_leg=False))
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
            self._fills.append(Fill(i, record, is_entry=False, is_leg=False))
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
