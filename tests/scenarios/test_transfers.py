"""Deposits and withdrawals in a run: when they act, and what they change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.records import Records, transfer_dt
from qtsim.results.tables import build_frames
from qtsim.sim.journals import Journals
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, Case, case_of, cases
from tests.scenarios.candles import Row, symbol

FLAT: Row = (100, 100, 100, 100)
PLAIN = {
    "exit.policy": "bracket",
    "exit.bracket.tp": 0.02,
    "exit.bracket.sl": 0.02,
    "sizing.model": "fraction",
    "sizing.fraction": 0.10,
    "leverage.model": "fixed",
    "leverage.fixed": 2.0,
    "costs.slippage.bps": 0.0,
    "gates.enabled": False,
}


def moved(*transfers: tuple[float, float]) -> Records:
    """(hours after the start, amount)"""
    rows = np.zeros(len(transfers), transfer_dt)
    for row, (hours, amount) in zip(rows, transfers, strict=True):
        row["due"], row["amount"] = START + int(hours * HOUR), amount
    return rows


def play(case: Case, *transfers: tuple[float, float]) -> Journals:
    """Both drivers, with these transfers."""
    with_money = replace(case, market=case.market._replace(transfers=moved(*transfers)))
    journals = with_money.compiled()
    assert first_difference(journals, with_money.reference()) is None
    return journals


def held(**more: Any) -> Case:
    """Flat candles; a long from the open of bar 2 on, another signal at bar 5."""
    return case_of([symbol([FLAT] * 8, long=[1], exit_long=[4])], {**PLAIN, **more}, 10_000.0)


@pytest.mark.parametrize(
    ("case", "hours", "expected"),
    [
        ("at a boundary it acts there", 3.0, 3),
        ("between two it acts at the next", 2.01, 3),
        ("before the first signal it is in its size", 1.0, 1),
        ("at the start it is there from the first mark on", 0.0, 0),
        ("at the end it is in the last mark", 8.0, 8),
    ],
)
def test_a_transfer_acts_at_the_first_boundary_at_or_after_its_time(case: str, hours: float, expected: int) -> None:
    run, without = play(held(), (hours, 1_000.0)), play(held())
    assert (run.transfers["ts"] - START) // HOUR == [expected]
    rows = (run.equity["ts"] - START) // HOUR
    np.testing.assert_allclose(run.equity["wallet"][rows < expected], without.equity["wallet"][rows < expected])
    assert run.equity["wallet"][rows == expected] == without.equity["wallet"][rows == expected] + 1_000.0
    margin = 1_100.0 if hours <= 2.0 else 1_000.0
    assert run.fills["qty"][0] * run.fills["price"][0] == pytest.approx(2.0 * margin, rel=1e-3), case


def test_transfers_of_one_instant_act_in_the_order_given() -> None:
    run = play(held(), (3.0, -9_500.0), (3.0, 1_000.0), (3.0, -9_500.0))
    assert list(run.transfers["moved"]) == [0.0, 1_000.0, -9_500.0], "1,000 of 10,000 back the position"


def test_a_withdrawal_leaves_room_for_what_stays() -> None:
    """The next trade is sized by the smaller account; returns are free of the withdrawal."""
    case = case_of([symbol([FLAT] * 10, long=[1, 6], exit_long=[3])], PLAIN, 10_000.0)
    run = play(case, (5.0, -6_000.0))
    sizes = run.fills["qty"][run.fills["kind"] == 0]
    assert sizes[1] / sizes[0] == pytest.approx(0.4, rel=2e-3)
    equity = build_frames(run, []).equity
    assert equity["drawdown"].min() > -0.001, "fees alone"
    assert equity["equity"].min() < 5_000.0


def twin_growth(start: float, equity: pd.Series, transfers: dict[int, float]) -> list[float]:
    """Compound returns step by step, each on what was there after the last transfer."""
    growth, before, now = [], start, start
    for ts, value in zip(equity.index.as_unit("ns").asi8, equity, strict=True):
        money = transfers.get(int(ts), 0.0)
        now *= (value - money) / before
        before = value
        growth.append(now)
    return growth


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(transfers=True), st.integers(0, 2**32 - 1))
def test_growth_is_the_compound_of_returns_between_transfers(case: Case, seed: int) -> None:
    run = case.with_transfers(np.random.default_rng(seed)).compiled()
    if (run.equity["equity"] <= 1.0).any():
        return  # a return on nothing says nothing
    frames = build_frames(run, [])
    sums: dict[int, float] = {}
    for row in run.transfers:
        sums[int(row["ts"])] = sums.get(int(row["ts"]), 0.0) + float(row["moved"])
    expected = twin_growth(case.balance, frames.equity["equity"], sums)
    np.testing.assert_allclose(frames.equity["growth"], expected, rtol=1e-9)
