"""Passing over quiet bars changes nothing: the same bytes come out as when every point is visited."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import Reason, Rule
from qtsim.core.records import outage_dt
from qtsim.sim.curve import ShortCurve
from qtsim.sim.index import BLOCK
from qtsim.sim.journals import Journals
from qtsim.sim.market import CURSOR, SymbolInput, build_market
from qtsim.sim.quiet import MOST
from qtsim.sim.run import CompiledRun, first_difference, run_compiled, run_reference
from tests.generated import (
    COARSE,
    FILLS,
    HOUR,
    KNOBS,
    MODES,
    SETTINGS,
    START,
    Case,
    case_of,
    drawn,
    make_inputs,
    partly_refined,
    with_coarse_signals,
    with_volumes,
)

RELAXED = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
CALM: dict[str, list[Any]] = {
    **KNOBS,
    "volatility": [0.0001, 0.0004, 0.001],
    "mark": [0, 0, 0.0001],
    "signal_rate": [0.002, 0.02, 0.1],
    "funding_hours": [8, 24],
}
WATCHED = {"exit.monitoring": "continuous", "sim.fill_at": "next_open"}


def calm_case(seed: int, *, most_bars: int = 700, fewest: int = 1, most: int = 3, **fixed: Any) -> Case:
    """A market that moves little between rare signals, so that most of it is quiet. fewest, most: symbols."""
    rng = np.random.default_rng([seed, 11])
    knobs = drawn(rng, CALM)
    chosen = {**drawn(rng, SETTINGS | MODES), **WATCHED, **fixed}
    fills = np.random.default_rng([seed, 13])
    if chosen["sizing.model"] != "rl" and fills.random() < 0.4:
        chosen |= {**drawn(fills, FILLS), **fixed}
    inputs = make_inputs(seed, int(rng.integers(fewest, most + 1)), int(rng.integers(60, most_bars)), knobs)
    if fills.random() < 0.3:
        inputs = with_volumes(inputs, fills)
    for item in inputs:
        # regimes and the leader change seldom, or no bar is quiet while anything is open
        item.signals["regime"] = np.repeat(rng.integers(0, 5, len(item.signals) // 90 + 1), 90)[: len(item.signals)]
        item.signals["leader_24h"] = np.where(rng.random(len(item.signals)) < 0.01, -0.2, 0.01)
        item.signals["atr"] = np.repeat(item.signals["atr"][::7], 7)[: len(item.signals)]
    case = case_of(inputs, chosen)
    if rng.random() < 0.3:
        case = case.with_transfers(rng)
    if rng.random() < 0.3:
        case = case.with_outages(rng)
    if fills.random() < 0.4:
        case = partly_refined(case, int(fills.integers(2**16)))
    return case.with_latency(fills) if fills.random() < 0.2 else case


def run_of(case: Case, *, skips: bool, diagnose: bool = True) -> Journals:
    return run_compiled(
        case.market, case.params, case.balance, case.symbols, diagnose=diagnose, draws=case.draws, skips=skips
    )


def passed_over(run: Journals) -> int:
    """Boundaries that were passed over."""
    assert isinstance(run.curve, ShortCurve)
    return int(run.curve.stretches["n"].sum())


@RELAXED
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_same_bytes_come_out(seed: int, diagnose: bool) -> None:
    case = calm_case(seed)
    skipped, plain = run_of(case, skips=True, diagnose=diagnose), run_of(case, skips=False, diagnose=diagnose)
    assert passed_over(plain) == 0
    assert first_difference(skipped, plain) is None


def test_much_is_passed_over_and_much_happens_between() -> None:
    seen: Counter[str] = Counter()
    for seed in range(250):
        case = calm_case(seed)
        skipped = run_of(case, skips=True)
        difference = first_difference(skipped, run_of(case, skips=False))
        assert difference is None, f"seed {seed}: {difference}"
        seen["passed over"] += passed_over(skipped)
        seen["boundaries"] += len(case.market.boundaries)
        seen["with a position"] += int(
            (skipped.curve.stretches["held_end"] > skipped.curve.stretches["held_first"]).sum()
        )
        seen.update(f"exit {Reason(int(code)).name}" for code in skipped.trades["exit_reason"])
        seen.update(f"deny {Rule(int(code)).name}" for code in skipped.denials["rule"])
        seen["governor"] += len(skipped.governor)
        seen["longest"] = max(seen["longest"], int(skipped.curve.stretches["n"].max(initial=0)))
    assert seen["passed over"] > 0.5 * seen["boundaries"]
    assert seen["with a position"] > 1000
    assert seen["longest"] > 4 * BLOCK
    assert seen["governor"] > 50
    for what in ("exit TRAIL", "exit STOP", "exit STALE", "exit TP1", "deny SIDE_HELD", "deny OPPOSITE_IGNORED"):
        assert seen[what] > 5, f"{what}: {seen}"


@pytest.mark.parametrize("seed", range(12))
def test_the_plain_session_agrees(seed: int) -> None:
    case = calm_case(seed, most_bars=250)
    reference = run_reference(case.market, case.params, case.balance, case.symbols, diagnose=True, draws=case.draws)
    assert first_difference(run_of(case, skips=True), reference) is None


@pytest.mark.parametrize("seed", range(40))
def test_a_run_that_is_stopped_anywhere_goes_on_as_if_it_had_not_been(seed: int) -> None:
    case = calm_case(seed)
    run = CompiledRun.start(case.market, case.params, case.balance, diagnose=True, draws=case.draws)
    rng = np.random.default_rng(seed)
    while not run.is_done:
        run.advance(int(run.book.counters[CURSOR]) + int(rng.integers(1, 90)))
    assert first_difference(run.journals(case.symbols), run_of(case, skips=True)) is None


def test_a_stretch_longer_than_one_step_is_passed_over_in_several() -> None:
    inputs = make_inputs(3, 1, 3 * MOST, {**drawn(np.random.default_rng(0), CALM), "signal_rate": 0.0, "gaps": False})
    case = case_of(inputs, WATCHED)
    skipped = run_of(case, skips=True)
    assert first_difference(skipped, run_of(case, skips=False)) is None
    assert passed_over(skipped) > 2.8 * MOST


def test_an_outage_ends_a_stretch_at_its_hour() -> None:
    inputs = make_inputs(3, 1, 100, {**drawn(np.random.default_rng(0), CALM), "signal_rate": 0.0, "gaps": False})
    case = case_of(inputs, WATCHED)
    outages = np.zeros(1, outage_dt)
    outages["ts"], outages["blind"] = START + 40 * HOUR, 1
    skipped = run_of(replace(case, market=case.market._replace(outages=outages)), skips=True)
    ends = skipped.curve.stretches["ts"] + skipped.curve.stretches["n"] * HOUR
    assert START + 40 * HOUR in ends
    assert not (skipped.curve.stretches["ts"] > START + 40 * HOUR).any()


REFUSING = {
    **WATCHED,
    "gates.enabled": True,
    "orchestrator.symbol.disable_losses": 2,
    "orchestrator.symbol.disable_hours": 240.0,
    "entry.confidence.min": 0.2,
}
"""A symbol that loses twice is switched off for long, and asks all the same."""


def asking_inputs(seed: int, n_bars: int, **knobs: Any) -> list[SymbolInput]:
    """One symbol without gaps that moves enough to lose, and asks at every other bar."""
    chosen = {"volatility": 0.008, "signal_rate": 0.4, "gaps": False, "late": {}, "own_levels": 0.0}
    whole = {
        **drawn(np.random.default_rng(seed), KNOBS),
        **chosen,
        "lot": (1, 1000),
        "min_lots": 1,
        "min_notional": 5.0,
    }
    return make_inputs(seed, 1, n_bars, {**whole, **knobs})


def refusals_passed_over(case: Case, rule: Rule) -> int:
    """Requests that `rule` refused in stretches that were passed over; both ways of running agree on all."""
    skipped, plain = run_of(case, skips=True), run_of(case, skips=False)
    assert first_difference(skipped, plain) is None
    visited = set(skipped.curve.visited["ts"].tolist())
    rows = skipped.denials[skipped.denials["rule"] == rule.value]
    return sum(int(ts) not in visited for ts in rows["ts"])


@pytest.mark.parametrize("seed", range(4))
def test_requests_of_a_symbol_that_is_switched_off_are_refused_without_a_visit(seed: int) -> None:
    assert refusals_passed_over(case_of(asking_inputs(seed, 300), REFUSING), Rule.SYMBOL_DISABLED) > 20


@pytest.mark.parametrize("missing", ["open", "mark_open"])
def test_a_request_at_an_open_without_a_price_has_no_price(missing: str) -> None:
    inputs = asking_inputs(1, 300, mark=0.001)
    inputs[0].bars[missing][np.random.default_rng(1).random(300) < 0.2] = np.nan
    assert refusals_passed_over(case_of(inputs, REFUSING), Rule.NO_PRICE) > 3


def test_a_request_that_has_expired_in_a_gap_is_not_judged() -> None:
    inputs = asking_inputs(2, 400)
    case = with_coarse_signals(case_of(inputs, REFUSING))
    hours = (case.inputs[0].bars["ts_open"] - START) // HOUR
    rows = (case.inputs[0].signals["ts_close"] - START) // HOUR
    torn = replace(
        case.inputs[0],
        bars=case.inputs[0].bars[~np.isin(hours % 40, range(15, 22))],
        signals=case.inputs[0].signals[rows % 40 != 20],
    )
    market = build_market([torn], COARSE, path_ns=HOUR)
    case = replace(case, market=market, inputs=[torn])
    refusals_passed_over(case, Rule.SYMBOL_DISABLED)
    assert (run_of(case, skips=True).denials["rule"] == Rule.EXPIRED.value).sum() > 3


def test_bars_from_the_first_second_that_there_is() -> None:
    inputs = [
        replace(item, bars=item.bars.copy(), signals=item.signals.copy(), funding=item.funding[:0])
        for item in asking_inputs(3, 100)
    ]
    for item in inputs:
        item.bars["ts_open"] -= START
    case = case_of(inputs, {**REFUSING, "gates.enabled": False})
    assert first_difference(run_of(case, skips=True), run_of(case, skips=False)) is None


@pytest.mark.parametrize("seed", range(4))
def test_two_signals_that_become_known_at_once_in_the_middle_of_a_stretch(seed: int) -> None:
    """Some closes come half an hour late, at the next boundary but together with another's: the earlier one expires."""
    case = with_coarse_signals(case_of(asking_inputs(seed, 400), REFUSING))
    signals = case.inputs[0].signals.copy()
    late = np.flatnonzero(np.random.default_rng(seed).random(len(signals) - 1) < 0.2)
    signals["ts_close"][late] = signals["ts_close"][late + 1] - HOUR // 2
    inputs = [replace(case.inputs[0], signals=signals)]
    case = replace(case, market=build_market(inputs, COARSE, path_ns=HOUR), inputs=inputs)
    skipped, plain = run_of(case, skips=True), run_of(case, skips=False)
    assert first_difference(skipped, plain) is None
    assert passed_over(skipped) > 100
    expired = skipped.denials["ts"][skipped.denials["rule"] == Rule.EXPIRED.value]
    assert len(expired) > 3
