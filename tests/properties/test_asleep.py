"""Slots sleep while nothing happens at them: others are visited, and the same bytes come out as when all are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import GovernorDecision, Reason
from qtsim.sim.catch_up import catch_up_all_nb
from qtsim.sim.market import CURSOR
from qtsim.sim.run import CompiledRun, first_difference, run_reference
from qtsim.sim.skip_bars import fall_asleep_nb
from tests.generated import HOUR, NAMES, START, Case, case_of
from tests.properties.test_skip_bars import calm_case, run_of
from tests.scenarios.candles import CLEAN, Row, play, symbol

RELAXED = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
ROOMY: dict[str, Any] = {
    "limits.positions.total": "inf",
    "limits.positions.long": "inf",
    "limits.positions.short": "inf",
    "limits.exposure.max": 90.0,
    "limits.sector_share": 0.9,
    "limits.correlation.max": "inf",
    "entry.confidence.min": 0.2,
}
"""Room for a position in each symbol."""


def crowded_case(seed: int, *, most_bars: int = 300, **fixed: Any) -> Case:
    """An account of many symbols, most of which are quiet at any time."""
    return calm_case(seed, most_bars=most_bars, fewest=3, most=len(NAMES), **(ROOMY if seed % 2 else {}), **fixed)


@RELAXED
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_same_bytes_come_out_of_many_symbols(seed: int, diagnose: bool) -> None:
    case = crowded_case(seed)
    skipped, plain = run_of(case, skips=True, diagnose=diagnose), run_of(case, skips=False, diagnose=diagnose)
    assert first_difference(skipped, plain) is None


def test_the_governor_acts_while_some_sleep() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        case = crowded_case(seed, most_bars=200)
        skipped = run_of(case, skips=True)
        difference = first_difference(skipped, run_of(case, skips=False))
        assert difference is None, f"seed {seed}: {difference}"
        seen.update(GovernorDecision(int(row["decision"])).name for row in skipped.governor if row["begins"])
        inside = skipped.fills[skipped.fills["ts"] % HOUR != 0]
        seen.update(f"{Reason(int(code)).name} inside a bar" for code in inside["reason"])
    for what in ("EMERGENCY_SHUTDOWN", "DEFENSIVE_EXIT", "PAUSE_1H", "GOVERNOR inside a bar", "STOP inside a bar"):
        assert seen[what] > 5, f"{what}: {seen}"


@pytest.mark.parametrize("seed", range(10))
def test_the_plain_session_agrees(seed: int) -> None:
    case = crowded_case(seed, most_bars=120)
    reference = run_reference(case.market, case.params, case.balance, case.symbols, diagnose=True, draws=case.draws)
    assert first_difference(run_of(case, skips=True), reference) is None


def asleep_at(run: CompiledRun) -> tuple[int, int]:
    """(slots that would sleep at the boundary where a run stands, slots); the run stays as it is."""
    b = int(run.book.counters[CURSOR])
    if b + 1 >= len(run.market.boundaries):
        return 0, len(run.book.sleeps)
    fall_asleep_nb(run.tape, run.book, b, run.params[0])
    asleep = int(run.book.sleeps["asleep"].sum())
    catch_up_all_nb(run.tape, run.book, b, run.params[0])
    return asleep, len(run.book.sleeps)


def test_some_sleep_while_others_are_visited() -> None:
    """Stopped anywhere: where not all sleep, at least half of the slots do, and the run goes on to the same bytes."""
    asleep = slots = 0
    for seed in range(1, 61, 2):
        case = crowded_case(seed, most_bars=200)
        run = CompiledRun.start(case.market, case.params, case.balance, diagnose=True, draws=case.draws)
        rng = np.random.default_rng(seed)
        while not run.is_done:
            run.advance(int(run.book.counters[CURSOR]) + int(rng.integers(1, 9)))
            some, all_of_them = asleep_at(run)
            if 0 < some < all_of_them:
                asleep += some
                slots += all_of_them
        assert first_difference(run.journals(case.symbols), run_of(case, skips=True)) is None
    assert slots > 1_000
    assert asleep > 0.5 * slots


FLAT: Row = (100, 100, 100, 100)
GATED: dict[str, Any] = {
    "gates__enabled": True,
    "exit__policy": "bracket",
    "exit__bracket__tp": "inf",
    "exit__bracket__sl": 0.012,
    "limits__exposure__max": "inf",
    "limits__sector_share": "inf",
    "limits__correlation__max": "inf",
    "governor__hourly__loss": "inf",
    "governor__streak__losses": 1,
}


@pytest.mark.parametrize(
    ("stopped_in", "rows", "obeyed"),
    [
        ("the first third", (100, 102, 98.5, 100), 1 / 3),
        ("the second third", (100, 100.2, 98.5, 99), 2 / 3),
    ],
)
def test_an_order_of_the_governor_reaches_one_who_sleeps_at_his_next_point(
    stopped_in: str, rows: Row, obeyed: float
) -> None:
    """BBB's second stop in a row fires DEFENSIVE_EXIT inside the bar of hour 7; AAA, asleep before, sells half."""
    losing = symbol([FLAT, (100, 100, 98.5, 100), *[FLAT] * 4, FLAT, rows, *[FLAT] * 3], name="BBB", long=[0, 6])
    held = symbol([FLAT] * 11, name="AAA", long=[0], sl=0.1)
    story = play(held, losing, **GATED)
    mine = [row for row in story.journals.fills if row["symbol"] == 0]
    assert [float(row["qty"]) for row in mine[:2]] == [1.0, 0.5]
    assert (int(mine[1]["ts"]) - START) / HOUR == pytest.approx(7 + obeyed), stopped_in


def test_who_holds_sleeps_while_another_trades() -> None:
    """AAA is open and quiet in every bar but its first; BBB is stopped in every second bar."""
    rows = [FLAT, *[(100, 100, 98.5, 100), FLAT] * 6]
    held = symbol([FLAT] * 13, name="AAA", long=[0], sl=0.1)
    losing = symbol(rows, name="BBB", long=list(range(0, 12, 2)))
    chosen = {name.replace("__", "."): value for name, value in GATED.items()}
    case = case_of([held, losing], {**CLEAN, **chosen, "gates.enabled": False}, 1_000_000.0)
    run = CompiledRun.start(case.market, case.params, case.balance)
    run.advance(5)
    fall_asleep_nb(run.tape, run.book, 5, run.params[0])
    assert run.book.sleeps["asleep"].tolist() == [1, 0]
    assert run.book.awake.tolist() == [1, 1, 2]
    assert run.book.sleeps[0]["wakes"] > START + 8 * HOUR
