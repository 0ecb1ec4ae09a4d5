"""Kernels of cross margin: maintenance of the account, what is left of it, how a liquidation is settled."""

from __future__ import annotations

import numpy as np
import pytest

from qtsim.core.accounting import available_nb
from qtsim.core.cross_margin import (
    account_maintenance_nb,
    count_positions_nb,
    is_account_liquidated_nb,
    least_pnl_nb,
    note_margin_ratio_nb,
)
from qtsim.core.margin import maintenance_margin_nb
from qtsim.core.records import Records, account_dt, fill_row_dt, point_dt, position_dt
from qtsim.sim.fills import fill_cross_liquidation_nb
from tests.generated import instrument, params_of

RULES = np.concatenate([instrument()] * 3)
"""0.4 % up to 20,000; above 1 % less 120."""


def state(wallet: float, *held: tuple[int, float, float, float]) -> tuple[Records, Records, Records]:
    """account, positions, points. held: side, quantity, entry, mark of each symbol."""
    account, positions, points = np.zeros(1, account_dt), np.zeros(3, position_dt), np.zeros(3, point_dt)
    account["wallet"], account["min_margin_ratio"] = wallet, np.inf
    points["price"] = points["mark"] = np.nan
    for k, (side, qty, entry, mark) in enumerate(held):
        positions[k]["side"], positions[k]["qty"], positions[k]["entry_price"] = side, qty, entry
        positions[k]["lots"], positions[k]["is_cross"] = round(qty * 1000), 1
        positions[k]["margin"] = qty * entry / 10
        points[k]["price"] = points[k]["mark"] = mark
    return account, positions, points


@pytest.mark.parametrize(("notional", "margin"), [(0, 0), (1_000, 4), (20_000, 80), (20_001, 80.01), (30_000, 180)])
def test_maintenance_is_continuous_from_bracket_to_bracket(notional: float, margin: float) -> None:
    assert maintenance_margin_nb(float(notional), RULES[0]) == pytest.approx(margin)


def test_maintenance_of_an_account_sums_what_is_open_at_mark() -> None:
    account, positions, points = state(0.0, (1, 2.0, 100.0, 90.0), (0, 0.0, 0.0, 0.0), (-1, 1.0, 100.0, 110.0))
    assert account_maintenance_nb(positions, points, RULES) == pytest.approx(0.004 * (180 + 110))
    assert count_positions_nb(positions) == 2
    assert account["wallet"] == 0


@pytest.mark.parametrize(("wallet", "expected"), [(10.3, True), (10.36, True), (10.4, False), (-1.0, True)])
def test_an_account_is_liquidated_at_its_maintenance_margin(wallet: float, expected: bool) -> None:
    """A long of one at 100, mark 90: 10 lost, 0.36 needed."""
    account, positions, points = state(wallet, (1, 1.0, 100.0, 90.0))
    assert bool(is_account_liquidated_nb(account[0], positions, points, RULES)) is expected


def test_an_account_without_positions_is_never_liquidated() -> None:
    account, positions, points = state(-5.0)
    assert not is_account_liquidated_nb(account[0], positions, points, RULES)
    note_margin_ratio_nb(account[0], positions, points, RULES)
    assert account["min_margin_ratio"][0] == np.inf


def test_the_smallest_ratio_is_remembered() -> None:
    account, positions, points = state(11.0, (1, 1.0, 100.0, 90.0))
    note_margin_ratio_nb(account[0], positions, points, RULES)
    assert account["min_margin_ratio"][0] == pytest.approx(1 / 0.36 - 1)
    points["mark"][0] = 100.0
    note_margin_ratio_nb(account[0], positions, points, RULES)
    assert account["min_margin_ratio"][0] == pytest.approx(1 / 0.36 - 1)


def test_available_counts_open_profit_and_loss_with_cross_only() -> None:
    account, positions, points = state(50.0, (1, 1.0, 100.0, 90.0), (-1, 1.0, 100.0, 97.0))
    cross, isolated = params_of({"account.mode.margin": "cross"}), params_of({})
    assert available_nb(account[0], positions, points, isolated[0]) == 50 - 20
    assert available_nb(account[0], positions, points, cross[0]) == 50 - 10 + 3 - 20


@pytest.mark.parametrize(
    ("wallet", "floor"),
    [(20.0, -23.0), (0.0, -3.0), (-2.0, -1.0), (-5.0, 2.0)],
)
def test_a_position_can_lose_the_wallet_and_the_profit_of_the_others(wallet: float, floor: float) -> None:
    """The other long's loss of 10 waits for its own settlement; the short's profit of 3 pays."""
    held = [(1, 1.0, 100.0, 60.0), (1, 1.0, 100.0, 90.0), (-1, 1.0, 100.0, 97.0)]
    account, positions, points = state(wallet, *held)
    assert least_pnl_nb(account[0], positions, points, 0) == floor


@pytest.mark.parametrize(
    ("side", "mark", "balance", "least", "price", "fee"),
    [
        (1, 90.0, 50.0, -60.0, 90.0, 1.125),  # the whole fee
        (1, 90.0, 0.5, -10.5, 90.0, 0.5),  # what is left of it
        (1, 90.0, 0.0, -10.0, 90.0, 0.0),
        (1, 90.0, -2.0, -8.0, 92.0, 0.0),  # where 8 are lost
        (1, 90.0, -12.0, 2.0, 102.0, 0.0),  # a debt of the wallet is paid first
        (-1, 110.0, -2.0, -8.0, 108.0, 0.0),
        (-1, 90.0, 5.0, -20.0, 90.0, 1.125),  # a winner
    ],
)
def test_settlement(side: int, mark: float, balance: float, least: float, price: float, fee: float) -> None:
    _, positions, points = state(0.0, (side, 1.0, 100.0, mark))
    fill = np.zeros(1, fill_row_dt)
    fill_cross_liquidation_nb(fill[0], positions[0], points[0], 0, 7, balance, least, RULES[0])
    assert (float(fill["price"][0]), float(fill["liq_fee"][0])) == (price, fee)
    assert (int(fill["lots"][0]), float(fill["fee"][0]), float(fill["slippage"][0])) == (1000, 0.0, 0.0)
