"""Funding: on the mark value of what is open, at the event's own mark where it was recorded."""

from __future__ import annotations

from qtsim.emulator import oracle
from qtsim.emulator.decimals import plain
from qtsim.emulator.market import MS, FundingDue, FundingRow
from qtsim.emulator.payloads import account_event
from qtsim.emulator.state import State


def charge_funding(state: State, due: FundingDue) -> None:
    """Book a payment for the symbol's open positions and write it into its history."""
    market = state.markets[due.symbol]
    market.next_funding_ms = due.next_ms
    mark = due.mark if due.mark is not None else market.mark
    if mark is None:
        return
    market.funding.append(FundingRow(due.ts_ns // MS, due.rate, mark))
    for position in state.account.open_positions(due.symbol):
        amount = state.fill_rule.funding(position.qty, mark, due.rate)
        state.account.pay(amount, state.now_ms, position)
        state.add_income(due.symbol, "FUNDING_FEE", amount, "FUNDING_FEE")
        state.note(oracle.FUNDING, symbol=due.symbol, position_side=position.side, amount=plain(amount))
        shown = [position] if position.isolated else []
        event = account_event(state, "FUNDING_FEE", shown, amount, due.symbol)
        state.streams.private(event, state.wall_ms)
