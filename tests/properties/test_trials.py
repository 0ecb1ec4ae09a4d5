"""A trial's row says what a whole run says: its measures are the metrics, its digest stands for the fills."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.records import transfer_dt
from qtsim.research.metrics import NAMES
from qtsim.research.trade_file import write_trades
from qtsim.results.metrics import compute_metrics, daily_equity
from qtsim.results.result import account_totals
from qtsim.results.tables import build_frames
from qtsim.sim import trials
from qtsim.sim.journals import Journals
from qtsim.sim.measure import mix_words_nb
from qtsim.sim.trials import SEEDS, TrialRunner, day_rows_of, measure_dt
from tests.generated import Case, case_of_seed, cases
from tests.properties.test_trades import TradeCase, trade_cases

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
NOT_OF_A_RUN = ("Skew", "Kurtosis", "Days", "Denials", "Shutdowns")
"""Measures that a run's metrics do not name."""


def measured(runner: TrialRunner, case: Case) -> np.ndarray:
    out = np.zeros(1, measure_dt)
    runner.run(case.params, case.balance, out)
    return out


def metrics_of(journals: Journals) -> dict[str, float]:
    frames = build_frames(journals, [])
    totals = account_totals(journals)
    return compute_metrics(totals, frames.equity, frames.trades, frames.fills, frames.positions, frames.transfers)


def assert_same(row: np.ndarray, journals: Journals) -> None:
    metrics = metrics_of(journals)
    for field, name in NAMES.items():
        if name in NOT_OF_A_RUN:
            continue
        mine, theirs = float(row[field][0]), metrics[name]
        same = mine == theirs or (math.isnan(mine) and math.isnan(theirs))
        assert same or math.isclose(mine, theirs, rel_tol=1e-7, abs_tol=1e-11), f"{name}: {mine!r} against {theirs!r}"
    assert row["denials"][0] == len(journals.denials)
    for gate in range(row["denied"].shape[1]):
        assert row["denied"][0, gate] == (journals.denials["gate"] == gate).sum()


@RELAXED
@given(cases())
def test_measures_are_the_metrics_of_the_run(case: Case) -> None:
    assert_same(measured(TrialRunner(case.market, case.draws), case), case.compiled(diagnose=False))


@RELAXED
@given(cases(), st.floats(20.0, 50_000.0))
def test_a_runner_that_is_used_again_forgets_the_trial_before(case: Case, balance: float) -> None:
    runner = TrialRunner(case.market, case.draws)
    first = measured(runner, case)
    runner.run(case.params, balance, np.zeros(1, measure_dt))
    again = measured(runner, case)
    assert first.tobytes() == again.tobytes()


@RELAXED
@given(cases(), st.sampled_from([0.5, 1.0, 1.5]))
def test_digests_are_equal_where_fills_and_decisions_are(case: Case, factor: float) -> None:
    runner = TrialRunner(case.market, case.draws)
    one = measured(runner, case)
    params = case.params.copy()
    params["exit"]["base_sl"] *= factor
    other = np.zeros(1, measure_dt)
    runner.run(params, case.balance, other)
    first = case.compiled(diagnose=False)
    second = Case(case.market, params, case.symbols, case.balance).compiled(diagnose=False)
    same = first.fills.tobytes() == second.fills.tobytes() and first.decisions.tobytes() == second.decisions.tobytes()
    assert (one["digest"].tobytes() == other["digest"].tobytes()) == same


@RELAXED
@given(cases())
def test_days_end_where_the_metrics_say(case: Case) -> None:
    ts = case.market.boundaries
    marks = np.arange(1.0, len(ts) + 1.0)
    _, daily = daily_equity(ts, marks, 0.5)
    rows = day_rows_of(case.market)
    assert np.where(rows > 0, marks[rows], 0.5).tolist() == daily.tolist()


def test_returns_are_summed_up_by_block() -> None:
    case = case_of_seed(3)
    runner = TrialRunner(case.market, case.draws)
    row = measured(runner, case)
    assert math.isclose(float(row["block_sum"].sum()), float(runner.returns.sum()), rel_tol=1e-5, abs_tol=1e-9)
    assert math.isclose(
        float(row["block_squares"].sum()), float((runner.returns**2).sum()), rel_tol=1e-5, abs_tol=1e-12
    )


def digest_of(journals: Journals) -> np.ndarray:
    digest = np.array(SEEDS, np.uint64)
    with np.errstate(over="ignore"):
        for rows in (journals.fills, journals.decisions):
            words = np.ascontiguousarray(rows).view(np.uint64)
            mix_words_nb(words, len(words), digest)
    return digest


@RELAXED
@given(trade_cases(), st.sampled_from([1, 3, 50_000]), st.booleans())
def test_a_trial_on_trades_is_the_run_on_them(drawn: tuple[TradeCase, list[int]], stride: int, again: bool) -> None:
    """From a file, whatever the chunks, at any stride, and when the runner has run another trial before."""
    told, cuts = drawn
    untouched = told.case.market._replace(transfers=np.zeros(0, transfer_dt))
    told = TradeCase(replace(told.case, market=untouched), told.parts)
    case = told.case
    with tempfile.TemporaryDirectory() as folder, patch.object(trials, "STRIDE", stride):
        runner = TrialRunner(case.market, trades=write_trades(Path(folder), told.chunks(cuts)))
        if again:
            runner.run(case.params, 77.0, np.zeros(1, measure_dt))
        row = measured(runner, case)
    run = told.compiled()
    assert_same(row, run)
    assert row["digest"].tobytes() == digest_of(run).tobytes()
