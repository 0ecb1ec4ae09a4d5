"""How often a decision fired, how long it lasted, what stood in the way of entries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.core.enums import Gate, GovernorDecision, Rule
from qtsim.results.reach import (
    HOUR_NS,
    Reach,
    Span,
    State,
    covered_ns,
    denied_by_gate,
    longest_gap_ns,
    reach_of,
    shutdown_headline,
)
from qtsim.results.tables import utc_times
from tests.unit.results.made_run import START, made_result

PAUSE, SHUT = GovernorDecision.PAUSE_1H, GovernorDecision.EMERGENCY_SHUTDOWN
HALT, DEFEND = GovernorDecision.NO_NEW_TRADES, GovernorDecision.DEFENSIVE_EXIT
Decisions = list[tuple[GovernorDecision, float, float | None, float]]


def reach(decisions: Decisions, **made: object) -> Reach:
    """Of a run of 100 hours."""
    return reach_of(made_result(n_bars=100, every=10_000, ranges=False, governor=decisions, **made))  # type: ignore[arg-type]


def state(found: Reach, decision: GovernorDecision) -> State:
    (own,) = (state for state in found.states if state.decision == decision.name)
    return own


def test_without_decisions_the_whole_period_is_normal() -> None:
    found = reach([])
    assert found.states == (State("ALLOW_NORMAL", 0, 100.0, 100.0, 1.0, 0),)
    assert (found.spans, found.shutdowns, found.shut_share) == ((), (), 0.0)


def test_each_decision_has_its_count_and_times() -> None:
    found = reach([(PAUSE, 10.0, 11.0, 0.006), (PAUSE, 20.0, 21.5, 0.007), (HALT, 30.0, 40.0, 0.031)])
    assert state(found, PAUSE) == State("PAUSE_1H", 2, 2.5, 1.5, 0.025, 0)
    assert state(found, HALT) == State("NO_NEW_TRADES", 1, 10.0, 10.0, 0.1, 0)
    assert state(found, GovernorDecision.ALLOW_NORMAL) == State("ALLOW_NORMAL", 0, 87.5, 60.0, 0.875, 0)
    assert [one.decision for one in found.states] == ["PAUSE_1H", "NO_NEW_TRADES", "ALLOW_NORMAL"]
    assert found.shut_share == 0.125


def test_decisions_at_the_same_time_count_once_in_the_share_without_entries() -> None:
    found = reach([(SHUT, 10.0, 34.0, 0.05), (HALT, 9.0, 24.0, 0.031), (PAUSE, 12.0, 13.0, 0.01)])
    assert found.shut_share == 0.25
    assert [span.decision for span in found.spans] == ["NO_NEW_TRADES", "EMERGENCY_SHUTDOWN", "PAUSE_1H"]


def test_what_has_not_ended_lasts_to_the_end_of_the_period() -> None:
    found = reach([(SHUT, 60.0, None, 0.0511)])
    assert found.shutdowns == (
        Span("EMERGENCY_SHUTDOWN", START + 60 * HOUR_NS, START + 100 * HOUR_NS, False, 1, 0.0511, 0.05, 9_900.0),
    )
    assert found.shut_share == 0.4


def test_a_decision_that_fires_while_it_is_in_force_ends_with_its_last_end() -> None:
    found = reach([(HALT, 10.0, 40.0, 0.031), (HALT, 20.0, 30.0, 1.0)])
    assert state(found, HALT) == State("NO_NEW_TRADES", 2, 30.0, 30.0, 0.3, 0)
    (span,) = found.spans
    assert (span.fired, span.value) == (2, 0.031)


def test_signals_denied_by_the_governor_stand_with_their_decision() -> None:
    denied = {(Gate.GOVERNOR, Rule.PAUSE_1H): 4, (Gate.GOVERNOR, Rule.NO_NEW_TRADES): 2}
    found = reach([(PAUSE, 10.0, 11.0, 0.006)], denied=denied)
    assert state(found, PAUSE).denied == 4
    assert state(found, HALT) == State("NO_NEW_TRADES", 0, 0.0, 0.0, 0.0, 2), "a denial without an event"


def test_denials_come_by_gate_in_the_order_of_the_chain() -> None:
    denied = {
        (Gate.EXCHANGE, Rule.MIN_NOTIONAL): 1,
        (Gate.GOVERNOR, Rule.PAUSE_1H): 2,
        (Gate.ORCHESTRATOR, Rule.CHOPPY_CONFIDENCE): 3,
        (Gate.ORCHESTRATOR, Rule.UPTREND_SHORT): 5,
        (Gate.CONFIDENCE, Rule.LOW_CONFIDENCE): 1,
        (Gate.SIGNAL, Rule.SIDE_HELD): 9,
    }
    result = made_result(n_bars=100, every=10_000, ranges=False, denied=denied)
    assert [(one.gate, one.rule, one.count) for one in denied_by_gate(result.denials)] == [
        ("confidence", "confidence", 1),
        ("orchestrator", "short in an UPTREND", 5),
        ("orchestrator", "CHOPPY", 3),
        ("governor", "PAUSE_1H", 2),
        ("exchange", "below the minimum notional", 1),
    ]


stretches = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 30)), max_size=12)


@given(stretches)
def test_the_union_is_that_of_every_single_hour(pairs: list[tuple[int, int]]) -> None:
    spans = [Span("PAUSE_1H", begin, min(begin + length, 100), True, 1, 0.0, 0.0, 0.0) for begin, length in pairs]
    hours = [any(span.begin_ns <= hour < span.end_ns for span in spans) for hour in range(100)]
    assert covered_ns(spans) == sum(hours)
    free = "".join("x" if covered else "." for covered in hours).split("x")
    gaps = [0, *map(len, free)]
    assert longest_gap_ns(spans, 0, 100) == max(gaps)


def shut_while_open(exits: list[tuple[float, str]], n_open: int = 0) -> str:
    """The headline of a shutdown at hour 50 with trades entered at hour 40 (hour and reason of exit), others open."""
    result = made_result(n_bars=100, every=10_000, ranges=False, governor=[(SHUT, 50.0, 74.0, 0.06)])
    times = {"entry_time": utc_times(START + np.full(len(exits), 40 * HOUR_NS))}
    times["exit_time"] = utc_times(START + np.array([int(hour * HOUR_NS) for hour, _ in exits], dtype=np.int64))
    result.trades = pd.DataFrame({**times, "exit_reason": [reason for _, reason in exits]})
    result.positions = pd.DataFrame({"entry_time": utc_times(START + np.full(n_open, 40 * HOUR_NS))})
    (span,) = reach_of(result).shutdowns
    return shutdown_headline(result, span).split("(limit 5 %), ")[1].split(";")[0]


@pytest.mark.parametrize(
    ("exits", "n_open", "text"),
    [
        ([], 0, "no position was open"),
        ([(45.0, "stop"), (50.0, "stop")], 0, "no position was open"),  # the stop that fired it
        ([(50.0, "governor"), (50.3, "governor")], 0, "everything was closed"),
        ([(50.0, "governor"), (69.0, "governor")], 0, "everything was closed, the last at 2024-01-03 21:00"),
        ([], 1, "of the open positions 0 closed by it, 1 still open at the end"),
        (
            [(50.0, "governor"), (51.0, "hard_stop")],
            2,
            "of the open positions 1 closed by it, 1 ended by another exit, 2 still open at the end",
        ),
    ],
)
def test_the_headline_says_what_became_of_the_open_positions(
    exits: list[tuple[float, str]], n_open: int, text: str
) -> None:
    assert shut_while_open(exits, n_open) == text


@pytest.mark.parametrize("decision", [SHUT, PAUSE, DEFEND, HALT])
def test_an_end_without_a_beginning_is_no_span(decision: GovernorDecision) -> None:
    result = made_result(n_bars=100, every=10_000, ranges=False, governor=[(decision, 5.0, 6.0, 0.05)])
    result.governor = result.governor.iloc[1:].reset_index(drop=True)
    assert reach_of(result).spans == ()
