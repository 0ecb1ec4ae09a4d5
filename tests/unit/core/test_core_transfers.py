"""Deposits and withdrawals: what the exchange lets go, and what they leave as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import GovernorDecision, MarginMode
from qtsim.core.records import (
    EVALUATIONS_MAX,
    account_dt,
    evaluation_dt,
    governor_dt,
    governor_row_dt,
    point_dt,
    position_dt,
    transfer_dt,
)
from qtsim.core.safety_governor import evaluate_governor_nb, note_losing_fill_nb, reset_governor_nb
from qtsim.core.transfers import book_transfer_nb, judge_transfer_nb, withdrawable_nb
from tests.generated import HOUR, START, params_of

WALLET = 10_000.0


class Account:
    """A wallet, one long position of 10 at 100 with a margin of 200, and a governor."""

    def __init__(self, *, cross: bool = False, mark: float = 100.0, lots: int = 10) -> None:
        self.params = params_of({"account.mode.margin": "cross" if cross else "isolated"})
        assert self.params["account"]["mode_margin"][0] == (MarginMode.CROSS if cross else MarginMode.ISOLATED)
        self.account = np.zeros(1, account_dt)
        self.account["wallet"] = WALLET
        self.positions = np.zeros(1, position_dt)
        if lots:
            self.positions["side"], self.positions["qty"], self.positions["lots"] = 1, lots, lots
            self.positions["entry_price"], self.positions["margin"] = 100.0, 200.0
        self.points = np.zeros(1, point_dt)
        self.points["mark"] = mark
        self.governor = np.zeros(1, governor_dt)
        reset_governor_nb(self.governor[0])
        self.history = np.zeros(EVALUATIONS_MAX, evaluation_dt)
        self.events = np.zeros(16, governor_row_dt)

    def withdrawable(self) -> float:
        return float(withdrawable_nb(self.account[0], self.positions, self.points, self.params[0]))

    def transfer(self, amount: float, ts: int = START) -> Any:
        row = np.zeros(1, transfer_dt)
        row["amount"] = amount
        judge_transfer_nb(row[0], self.account[0], self.positions, self.points, ts, self.params[0])
        book_transfer_nb(row[0], self.account[0], self.positions, self.points, self.governor[0], self.history)
        return row[0]

    def evaluate(self, ts: int, equity: float) -> list[int]:
        """Decisions that fire when the account has come to `equity`."""
        self.account["wallet"] = equity
        evaluate_governor_nb(self.governor[0], self.history, self.events, ts, equity, True, self.params[0])
        return self.fired()

    def losing_fill(self, ts: int) -> list[int]:
        equity = float(self.governor["equity"][0])
        note_losing_fill_nb(self.governor[0], self.history, self.events, ts, equity, self.params[0])
        return self.fired()

    def fired(self) -> list[int]:
        rows = self.events[: int(self.governor["n_events"][0])]
        self.governor["n_events"] = 0
        return [int(row["decision"]) for row in rows if row["begins"]]


WITHDRAWABLE = {
    "isolated, flat": (Account(lots=0), 10_000.0),
    "isolated, the margin stays": (Account(), 9_800.0),
    "isolated, an unrealized loss is covered by the margin": (Account(mark=90.0), 9_800.0),
    "isolated, an unrealized profit is not in the wallet": (Account(mark=110.0), 9_800.0),
    "cross, an unrealized loss needs its part of the wallet": (Account(cross=True, mark=90.0), 9_700.0),
    "cross, an unrealized profit cannot be withdrawn": (Account(cross=True, mark=110.0), 9_800.0),
    "cross, nothing is left": (Account(cross=True, mark=-1_000.0), 0.0),
}


@pytest.mark.parametrize("case", WITHDRAWABLE)
def test_what_can_be_withdrawn(case: str) -> None:
    account, expected = WITHDRAWABLE[case]
    assert account.withdrawable() == expected


@pytest.mark.parametrize(
    ("amount", "moved"),
    [(500.0, 500.0), (-9_799.99, -9_799.99), (-9_800.0, -9_800.0), (-9_800.01, 0.0), (-50_000.0, 0.0)],
)
def test_a_withdrawal_is_made_whole_or_refused_whole(amount: float, moved: float) -> None:
    account = Account()
    row = account.transfer(amount, START + HOUR)
    assert (row["moved"], row["withdrawable"], row["ts"]) == (moved, 9_800.0, START + HOUR)
    assert account.account["wallet"][0] == row["wallet"] == WALLET + moved
    assert account.account["transfers"][0] == moved


@pytest.mark.parametrize("amount", [1e6, 1.0, -1.0, -9_000.0, -9_600.0 + 1e-6])
def test_a_transfer_is_no_loss_to_any_rule(amount: float) -> None:
    """4 % below the session's base and 2.9 % below the day's: nothing fires, whatever is moved."""
    account = Account(lots=0)
    assert account.evaluate(START, 10_000.0) == []
    account.governor["day_equity"] = 9_886.0
    assert account.evaluate(START + HOUR, 9_600.0) == []
    account.transfer(amount, START + 2 * HOUR)
    assert account.evaluate(START + 2 * HOUR, float(account.account["wallet"][0])) == []
    assert account.losing_fill(START + 2 * HOUR - 1) == [], "the evaluation of an hour ago is shifted too"


def test_a_deposit_hides_no_loss() -> None:
    """4 % lost, as much deposited as there is, 1.05 % of that lost: 5.008 % below the shifted base."""
    account = Account(lots=0)
    account.evaluate(START, 10_000.0)
    account.governor["halted"] = account.governor["no_new_trades"] = 1  # of the day's drawdown, which is not asked here
    account.evaluate(START + HOUR, 9_600.0)
    account.transfer(9_600.0, START + 2 * HOUR)
    assert account.governor["base_equity"][0] == 20_000.0
    assert account.evaluate(START + 3 * HOUR, 19_200.0 * 0.99) == []
    assert account.evaluate(START + 4 * HOUR, 18_998.4) == [GovernorDecision.EMERGENCY_SHUTDOWN]


def test_a_withdrawal_starts_no_pause_and_the_loss_after_it_does() -> None:
    account = Account(lots=0)
    account.evaluate(START, 10_000.0)
    account.transfer(-5_000.0, START + HOUR)
    account.evaluate(START + HOUR, 4_976.0)
    assert account.losing_fill(START + HOUR) == [], "0.48 % of what stayed"
    account.evaluate(START + HOUR + 1, 4_975.0)
    assert account.losing_fill(START + HOUR + 1) == [GovernorDecision.PAUSE_1H], "0.50 %"


def test_money_put_into_an_empty_account_is_its_base() -> None:
    account = Account(lots=0)
    account.account["wallet"] = 0.0
    account.evaluate(START, 0.0)
    account.transfer(1_000.0)
    assert account.governor["base_equity"][0] == account.governor["day_equity"][0] == 1_000.0
