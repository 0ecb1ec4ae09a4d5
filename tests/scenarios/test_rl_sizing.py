"""Sizing model rl in both drivers: what the action changes, what is learnt from it, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qtsim.core.entry import judge_entry_nb, size_entry_nb
from qtsim.core.enums import CappedBy, Gate, PlanFlag, Regime, TrailStyle
from qtsim.core.params import RL_ACTIONS
from qtsim.core.records import NO_ACTION, Records, account_dt, crowd_dt, plan_dt
from qtsim.core.rl_sizing import (
    AGGRESSIVE,
    ALL_WON,
    BALANCED,
    CONSERVATIVE,
    DEFAULT_ACTION,
    LEVERAGES,
    NEUTRAL,
    SIZES,
    STYLES,
    action_leverage_nb,
    action_size_nb,
    state_nb,
)
from qtsim.results.agents import training_draws
from qtsim.sim.market import SymbolInput, build_market, new_agent, new_governor, new_stats, no_draws
from qtsim.sim.reference import ReferenceBacktest
from qtsim.sim.run import CompiledRun, first_difference, run_compiled, run_reference
from qtsim.trading.learner import Request
from tests.generated import HOUR, Case, case_of, cases, empty_signals, instrument, params_of, point_of
from tests.scenarios.candles import CLEAN, symbol

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
RL: dict[str, Any] = {**CLEAN, "sizing.model": "rl", "sizing.rl.min_visits": 5, "limits.per_trade.margin": 0.15}
ENDLESS = np.iinfo(np.int64).max


def action_of(size: float, leverage: float, style: int = BALANCED) -> int:
    return (SIZES.index(size) * len(LEVERAGES) + LEVERAGES.index(leverage)) * STYLES + style


# What the action changes ---------------------------------------------------------------------------------------------


def plan_under(action: int | None, overrides: dict[str, Any] | None = None, **signal: float) -> Any:
    """The plan of a long at 100 with an equity of 10,000 and an ATR of 2 %."""
    rows = empty_signals(1)
    rows["atr_pct"], rows["atr"] = 0.02, 2.0
    for name, value in signal.items():
        rows[name] = value
    plan, account, crowd = np.zeros(1, plan_dt), np.zeros(1, account_dt), np.zeros(1, crowd_dt)
    params = params_of({**RL, "exit.stops.trail.mode": "atr", **(overrides or {})})[0]
    around = (crowd[0], new_governor()[0], new_stats(1)[0])
    judge_entry_nb(plan[0], 1, rows[0], 10_000.0, 0, *around, params)
    if action is not None:
        plan["has_action"], plan["rl_action"] = 1, action
    rules = instrument(lot=(1, 100_000_000))
    size_entry_nb(
        plan[0], account[0], rows[0], point_of(100.0, rows)[0], 10_000.0, 0.0, 10_000.0, crowd[0], rules[0], params
    )
    assert plan["gate"][0] == Gate.NONE
    return plan[0]


@pytest.mark.parametrize("action", range(RL_ACTIONS))
def test_the_action_replaces_the_leverage_model_and_scales_the_size_of_math(action: int) -> None:
    """2 % of 10,000 over a stop of 3 %: 6,667; a tenth of the balance as margin at most; the action's share of that."""
    plan = plan_under(action)
    leverage = action_leverage_nb(action)
    assert plan["leverage"] == leverage
    size = action_size_nb(action) * min(200.0 / 0.03, 1_000.0 * leverage)
    assert plan["notional"] == pytest.approx(size)
    assert plan["expected_loss"] == pytest.approx(size * 0.03)
    assert plan["capped_by"] == CappedBy.SIZING_MARGIN * (leverage < 20 / 3)


def test_cap_of_leverage_and_limit_of_the_trade_stand_above_the_action() -> None:
    plan = plan_under(action_of(1.25, 5.0), {"limits.per_trade.leverage": 2.0, "limits.per_trade.margin": 0.11})
    assert (plan["leverage"], plan["raw_leverage"]) == (2.0, 5.0)
    assert plan["flags"] & PlanFlag.LEVERAGE_CAPPED
    assert (plan["notional"], plan["capped_by"]) == (pytest.approx(2_200.0), CappedBy.LIMIT_MARGIN)


@pytest.mark.parametrize(
    ("style", "tp", "sl", "trail"),
    [
        (AGGRESSIVE, 0.025, 0.0096, TrailStyle.AGGRESSIVE),
        (BALANCED, 0.02, 0.012, TrailStyle.BALANCED),
        (CONSERVATIVE, 0.016, 0.0144, TrailStyle.LOOSE),
    ],
)
def test_the_style_scales_base_levels_and_the_trail(style: int, tp: float, sl: float, trail: TrailStyle) -> None:
    multiples = {TrailStyle.AGGRESSIVE: 0.5, TrailStyle.BALANCED: 1.0, TrailStyle.LOOSE: 1.5}
    plan = plan_under(action_of(1.0, 3.0, style), {"exit.stops.trail.style": "loose"})
    assert (plan["base_tp"], plan["base_sl"]) == (pytest.approx(tp), pytest.approx(sl))
    assert plan["trail_multiple"] == multiples[trail]
    in_a_trend = plan_under(action_of(1.0, 3.0, style), regime=1)
    assert in_a_trend["trail_multiple"] == 0.5, "the regime's style comes first"


def test_levels_that_a_signal_brings_are_not_scaled() -> None:
    plan = plan_under(action_of(1.0, 3.0, AGGRESSIVE), tp=0.03, sl=0.01)
    assert (plan["base_tp"], plan["base_sl"]) == (0.03, 0.01)


def test_without_an_action_rl_is_math() -> None:
    plan, math = plan_under(None), plan_under(None, {"sizing.model": "math"})
    assert (plan["notional"], plan["leverage"]) == (math["notional"], math["leverage"])


# What is learnt ------------------------------------------------------------------------------------------------------


def repeated(move: float, times: int) -> SymbolInput:
    """A request at every third close; the price then moves by `move` and comes back while nothing is open."""
    there = 100.0 * (1.0 + move)
    high, low = max(100.0, there), min(100.0, there)
    rows = [(100.0, 100.0, 100.0, 100.0), (100.0, high, low, there), (there, high, low, 100.0)] * times
    asked = list(range(0, 3 * times, 3))
    return symbol(rows, long=asked, atr=2.0, atr_pct=0.02, confidence=0.8)


def both(case: Case, agent: Records | None = None, draws: Any = None) -> Any:
    draws = no_draws() if draws is None else draws
    args = (case.market, case.params, case.balance, case.symbols)
    compiled = run_compiled(*args, agent=agent, draws=draws)
    assert first_difference(compiled, run_reference(*args, agent=agent, draws=draws)) is None
    return compiled


@pytest.mark.parametrize(("move", "size", "leverage"), [(0.03, 1.25, 5.0), (-0.03, 0.5, 1.0)], ids=["wins", "losses"])
def test_it_learns_to_bet_more_on_what_wins_and_less_on_what_loses(move: float, size: float, leverage: float) -> None:
    """Every trade meets its target, or its stop. A margin of a tenth binds, so that more leverage is a larger trade."""
    overrides = {**RL, "exit.policy": "bracket", "exit.bracket.tp": 0.02, "exit.bracket.sl": 0.02}
    run = both(case_of([repeated(move, 20)], overrides))
    first, last = run.trades[0], run.trades[-1]
    assert (first["leverage"], last["leverage"]) == (3.0, leverage)
    margin = {1.25: 0.125, 0.5: 0.05}[size]
    equity = run.account["wallet"][0] - last["pnl"]
    assert last["margin"] / equity == pytest.approx(margin, rel=1e-2)
    state = int(np.argmax(run.agent["visits"][0].min(axis=1)))
    assert int(np.argmax(run.agent["q"][0, state])) // STYLES == action_of(size, leverage, 0) // STYLES
    assert run.agent["decisions"][0] == 20


def test_below_its_visits_it_takes_the_default() -> None:
    overrides = {**RL, "exit.policy": "bracket", "exit.bracket.tp": 0.02, "sizing.rl.min_visits": 30}
    run = both(case_of([repeated(0.03, 20)], overrides))
    assert set(run.trades["leverage"]) == {3.0}


def test_a_trade_says_in_which_state_which_action_was_taken() -> None:
    run = both(case_of([repeated(0.03, 4)], {**RL, "exit.policy": "bracket", "exit.bracket.tp": 0.02}))
    confident = state_nb(int(Regime.UNKNOWN), 0.8, 0.0, NEUTRAL)
    assert list(run.trades["rl_action"]) == [DEFAULT_ACTION] * 4
    assert list(run.trades["rl_state"]) == [confident] * 3 + [confident - NEUTRAL + ALL_WON]
    other = both(case_of([repeated(0.03, 4)], {**RL, "sizing.model": "math"}))
    assert set(other.trades["rl_action"]) == set(other.trades["rl_state"]) == {NO_ACTION}


def test_every_action_is_learnt_at_the_next_approved_signal() -> None:
    """One request teaches nothing until the next: then each of the 48 actions has one visit, and so on."""
    for times in (1, 2, 3):
        run = both(case_of([repeated(0.03, times)], {**RL, "exit.policy": "bracket", "exit.bracket.tp": 0.02}))
        assert run.agent["visits"].sum() == RL_ACTIONS * (times - 1)
        assert set(run.agent["visits"][0].sum(axis=0)) == {times - 1}


def test_a_replay_that_does_not_end_is_forgotten_in_time() -> None:
    """At 3x and 5x the first trade is liquidated; at 1x and 2x it would wait for ever, as 24 lessons do."""
    crash = [(100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 60.0, 60.0), (60.0, 60.0, 60.0, 60.0)]
    up = [(60.0, 60.0, 60.0, 60.0), (60.0, 62.0, 60.0, 62.0), (62.0, 62.0, 60.0, 60.0)]
    for times, forgotten in ((63, 0), (64, 24)):
        rows = crash + up * times
        asset = symbol(rows, long=list(range(0, len(rows), 3)), atr=2.0, atr_pct=0.02, confidence=0.8)
        overrides = {**RL, "exit.policy": "bracket", "exit.bracket.tp": 0.03, "exit.bracket.sl": "inf"}
        run = both(case_of([asset], {**overrides, "sizing.rl.min_visits": 1_000}))
        assert run.agent["decisions"][0] == times + 1
        assert run.agent["forgotten"][0] == forgotten


def test_evaluation_learns_nothing_and_explores_nothing() -> None:
    case = case_of([repeated(0.03, 20)], {**RL, "sizing.rl.epsilon": 1.0})
    draws = training_draws(1, 20)
    trained = both(case, draws=draws)
    assert len(set(trained.trades["leverage"])) > 1, "in training every action was drawn"
    agent = trained.agent.copy()
    agent["learns"] = 0
    run = both(case, agent, draws)
    for name in ("q", "visits"):
        assert run.agent[name].tobytes() == agent[name].tobytes()
    assert run.fills.tobytes() == both(case, agent, training_draws(2, 20)).fills.tobytes()
    assert run.fills.tobytes() != trained.fills.tobytes()
    assert trained.agent["learns"][0] == 1, "the agent that was given is not changed"


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    case = case_of([repeated(0.03, 20)], {**RL, "sizing.rl.epsilon": 0.5})
    first, same, other = (both(case, draws=training_draws(seed, 20)) for seed in (1, 1, 2))
    assert first.fills.tobytes() == same.fills.tobytes()
    assert first.agent.tobytes() == same.agent.tobytes()
    assert first.fills.tobytes() != other.fills.tobytes()


# When it is learnt, and that a replay is what would have happened ----------------------------------------------------


class Watched(ReferenceBacktest):
    """A reference run that also replays the action taken, and remembers what came of both."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.market, case.params, case.balance, draws=case.draws)
        self.replayed: list[tuple[int, float]] = []
        self.happened: list[tuple[int, float]] = []
        learner = self.session.learner
        assert learner is not None
        teach, note_entry, note_trade = learner.teach, learner.note_entry, learner.note_trade

        def watch_teach(request: Request, plan: Any) -> None:
            teach(request, plan)
            assert learner.teacher is not None
            self.replayed.append(learner.teacher(request, int(plan["rl_action"])))
            self.happened.append((request.ts, 0.0))

        def watch_entry(i: int) -> None:
            note_entry(i)
            self.happened[-1] = (ENDLESS, 0.0)

        def watch_trade(i: int, ts: int, net: float) -> None:
            note_trade(i, ts, net)
            own = learner.pupils[i].own
            assert own is not None
            self.happened[-1] = (ts, own.reward)

        learner.teach, learner.note_entry, learner.note_trade = watch_teach, watch_entry, watch_trade  # type: ignore[method-assign]


@RELAXED
@given(
    cases(
        max_symbols=1,
        **{
            "sizing.model": "rl",
            "gates.enabled": False,
            "sim.path": "nearest",
            "limits.per_trade.margin": 0.15,
            "account.mode.position": "one_way",
        },
    )
)
def test_a_replay_of_the_action_taken_is_the_trade_that_happened(case: Case) -> None:
    """Alone on the account, without governor, on the nearest path: the same end and the same reward, to the bit."""
    run = Watched(case)
    run.run()
    assert run.replayed == run.happened


@RELAXED
@given(cases(**{"sizing.model": "rl", "sim.end_of_data": "open"}), st.integers(5, 60))
def test_an_outcome_is_learnt_only_after_its_own_exit(case: Case, keep: int) -> None:
    """Bars are taken away from a time on: until then the agent has learnt, and decided, the same to the bit."""
    cut = int(case.market.boundaries[0]) + keep * HOUR
    inputs = [
        SymbolInput(item.symbol, item.bars[rows], item.signals[rows], item.funding, item.instrument, item.has_mark)
        for item in case.inputs
        if (rows := item.bars["ts_open"] < cut) is not None
    ]
    assume(all(len(item.bars) for item in inputs))
    short = build_market(inputs, HOUR)
    whole = build_market([_without_closes(item) for item in case.inputs], HOUR)
    stop = len(short.boundaries) - 1
    assert (whole.boundaries[:stop] == short.boundaries[:stop]).all()
    agents = []
    for market in (whole, short):
        run = CompiledRun.start(market, case.params, case.balance, draws=case.draws)
        run.advance(stop)
        agents.append(run.book.agent)
    assert agents[0].tobytes() == agents[1].tobytes()


def _without_closes(item: SymbolInput) -> SymbolInput:
    return SymbolInput(item.symbol, item.bars, item.signals, item.funding, item.instrument, item.has_mark)


def test_a_new_agent_is_at_its_default_everywhere() -> None:
    agent = new_agent()
    assert not agent["q"].any()
    assert not agent["visits"].any()
    assert action_of(1.0, 3.0) == DEFAULT_ACTION
