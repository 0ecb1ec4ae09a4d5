"""Trading resumes after every state of governor and gates that is meant to end, whatever confidence a strategy has."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import GATE_TEXT, Gate, GovernorDecision, Rule
from qtsim.sim.market import SymbolInput
from tests.generated import HOUR, Case, case_of, empty_signals, instrument, random_symbol
from tests.properties.markets import RELAXED

DAYS = 30
LONGEST = 75
"""Hours: a symbol's 48 hours off may begin just before the rest of a bad day does; then there is a way in."""
KNOBS = {
    "volatility": 0.01,
    "mark": 0,
    "late": {},
    "signal_rate": 0.5,
    "own_levels": 0.0,
    "gaps": False,
    "funding_hours": 8,
    "tick": (1, 10),
    "lot": (1, 1000),
    "min_lots": 1,
    "rate": 0.004,
}
OURS = {Gate.CONFIDENCE, Gate.ORCHESTRATOR, Gate.BALANCER, Gate.GOVERNOR, Gate.RISK_GUARD}


def asking_market(seed: int, confidence: float, drift: float, *, coarse: bool = False) -> Case:
    """One symbol that asks for a long at every close; `drift`: how the market treats it.

    coarse: each entry is one lot, so that every factor below 1 leaves less than can be sent.
    """
    rng = np.random.default_rng(seed)
    item = random_symbol(rng, "AAA", 24 * DAYS, KNOBS)
    n = len(item.bars)
    factor = np.exp(drift * np.arange(n))
    bars = item.bars.copy()
    for name in ("open", "high", "low", "close", "mark_open", "mark_high", "mark_low", "mark_close"):
        bars[name] = np.maximum(np.round(bars[name] * factor, 1), 1.0)
    bars["high"] = np.maximum(bars["high"], np.maximum(bars["open"], bars["close"]))
    bars["low"] = np.minimum(bars["low"], np.minimum(bars["open"], bars["close"]))
    signals = empty_signals(n)
    signals["long"], signals["confidence"] = 1, confidence
    signals["atr"], signals["atr_pct"] = 1.0, 0.01
    settings = {"gates.enabled": True, "exit.base_sl": 0.004, "exit.base_tp": 0.01}
    rules = instrument()
    if coarse:
        settings |= {"sizing.model": "fixed_qty", "sizing.fixed_qty": 1.0}
        rules = instrument(lot=(1, 1), min_qty=1.0, min_notional=0.0)
    asked = SymbolInput("AAA", bars, signals, item.funding, rules, has_mark=False)
    return case_of([asked], settings)


@RELAXED
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.2, 1.0).map(lambda value: round(value, 2)),
    st.sampled_from([-0.002, -0.0005, 0.0, 0.0005]),
    st.booleans(),
)
def test_no_request_is_denied_for_longer_than_the_states_last(
    seed: int, confidence: float, drift: float, coarse: bool
) -> None:
    case = asking_market(seed, confidence, drift, coarse=coarse)
    # a lot that costs more than the margin of one trade may be, at 1x after many losses, is shut out by no state
    assume(not coarse or case.market.bars["high"].max() < 0.1 * case.balance)
    run = case.compiled(diagnose=False)
    shut = np.isin(run.denials["gate"], [int(gate) for gate in OURS]) | (run.denials["rule"] == Rule.ZERO_LOTS)
    open_way = np.concatenate([run.fills["ts"][run.fills["kind"] == 0], run.denials["ts"][~shut]])
    boundaries = case.market.boundaries
    times = np.sort(np.concatenate([open_way, boundaries[:1], boundaries[-1:]]))
    assert np.diff(times).max() <= LONGEST * HOUR
    assert set(GATE_TEXT) >= OURS


@settings(RELAXED, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.sampled_from([-0.004, -0.001, 0.0]))
def test_every_decision_ends_when_it_says(seed: int, drift: float) -> None:
    """Pause 1 h, defensive exit 4 h, no new trades at the UTC day, shutdown 24 h; noted at the next evaluation."""
    case = asking_market(seed, 1.0, drift)
    run = case.compiled(diagnose=False)
    hours = {
        GovernorDecision.PAUSE_1H: 1,
        GovernorDecision.DEFENSIVE_EXIT: 4,
        GovernorDecision.NO_NEW_TRADES: 24,
        GovernorDecision.EMERGENCY_SHUTDOWN: 24,
    }
    end = int(case.market.boundaries[-1])
    for decision, longest in hours.items():
        rows = run.governor[run.governor["decision"] == decision]
        assert list(rows["begins"]) == [1, 0] * (len(rows) // 2) + [1] * (len(rows) % 2), "fires and ends in turn"
        for fired, ended in zip(rows[::2]["ts"], [*rows[1::2]["ts"], end + 48 * HOUR], strict=False):
            if fired + (longest + 1) * HOUR <= end:
                assert ended - fired <= (longest + 1) * HOUR
            if decision == GovernorDecision.NO_NEW_TRADES and ended <= end:
                assert ended % (24 * HOUR) == 0
