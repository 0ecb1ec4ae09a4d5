"""Sizing model rl: states and actions, the choice, the update, and problems whose answer is known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from qtsim.core._jit import kernel
from qtsim.core.enums import Regime, TrailStyle
from qtsim.core.params import RL_ACTIONS, RL_STATES
from qtsim.core.records import Records, account_dt, crowd_dt
from qtsim.core.rl_sizing import (
    ALL_LOST,
    ALL_WON,
    DEFAULT_ACTION,
    LEVERAGES,
    NEUTRAL,
    SIZES,
    action_leverage_nb,
    action_size_nb,
    action_trail_nb,
    best_value_nb,
    choose_nb,
    confidence_band_nb,
    exposure_quarter_nb,
    exposure_share_nb,
    greedy_nb,
    rate_nb,
    recent_nb,
    regime_group_nb,
    reward_nb,
    state_nb,
    stop_scale_nb,
    target_scale_nb,
    update_nb,
)
from tests.generated import params_of

ALPHA, GAMMA, EPSILON, MIN_VISITS = 0.15, 0.95, 0.10, 30
NO_DRAWS = np.zeros((0, 2))


def tables(states: int = RL_STATES, actions: int = RL_ACTIONS) -> tuple[Records, Records]:
    return np.zeros((states, actions)), np.zeros((states, actions), dtype=np.int64)


# States and actions --------------------------------------------------------------------------------------------------


def test_states_and_actions_have_the_documented_numbers() -> None:
    assert (RL_STATES, RL_ACTIONS) == (108, 48)
    regimes, confidences, shares, kinds = (Regime.TRENDING, Regime.RANGING, Regime.CHOPPY), (0.3, 0.6, 0.9), 4, 3
    found = [
        state_nb(regime, confidence, share / 4, recent)
        for regime, confidence, share, recent in itertools.product(regimes, confidences, range(shares), range(kinds))
    ]
    assert found == list(range(108))


@pytest.mark.parametrize(
    ("regime", "group"),
    [(Regime.TRENDING, 0), (Regime.BREAKOUT, 0), (Regime.RANGING, 1), (Regime.CHOPPY, 2), (Regime.UNKNOWN, 2)],
)
def test_regime_groups(regime: Regime, group: int) -> None:
    """TRENDING stands with BREAKOUT, UNKNOWN with CHOPPY."""
    assert regime_group_nb(regime) == group


@pytest.mark.parametrize(
    ("confidence", "band"),
    [(0.0, 0), (math.nextafter(0.5, 0), 0), (0.5, 1), (math.nextafter(0.7, 0), 1), (0.7, 2), (1.0, 2)],
)
def test_confidence_bands(confidence: float, band: int) -> None:
    assert confidence_band_nb(confidence) == band


@pytest.mark.parametrize(
    ("share", "quarter"),
    [(0.0, 0), (math.nextafter(0.25, 0), 0), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 3), (7.0, 3)],
)
def test_exposure_quarters(share: float, quarter: int) -> None:
    assert exposure_quarter_nb(share) == quarter


@pytest.mark.parametrize(
    ("overrides", "share"),
    [
        ({}, 0.2),
        ({"limits.exposure.basis": "margin"}, 0.04),
        ({"limits.exposure.gross": 4_000.0}, 0.75),
        ({"limits.exposure.gross": 40_000.0}, 0.2),
        ({"limits.exposure.max": "inf"}, 0.0),
        ({"limits.exposure.max": "inf", "limits.exposure.gross": 6_000.0}, 0.5),
    ],
)
def test_exposure_is_a_share_of_the_limit_that_is_nearer(overrides: dict[str, Any], share: float) -> None:
    """3,000 of notional and 600 of margin are open on a balance of 10,000."""
    crowd = np.zeros(1, crowd_dt)
    crowd["notional"], crowd["initial_margin"] = 3_000.0, 600.0
    assert exposure_share_nb(crowd[0], 10_000.0, params_of(overrides)[0]["limits"]) == pytest.approx(share)


@pytest.mark.parametrize(
    ("returns", "recent"),
    [
        ([], NEUTRAL),
        ([0.1, 0.1], NEUTRAL),
        ([0.1, 0.1, 0.1], ALL_WON),
        ([-0.1, 0.1, 0.1, 0.1], ALL_WON),
        ([0.1, 0.1, -0.1], NEUTRAL),
        ([-0.1, -0.1, -0.1], ALL_LOST),
        ([-0.1, -0.1, 0.0], NEUTRAL),
        ([0.0, 0.0, 0.0], NEUTRAL),
        ([0.1] * 300 + [-0.1] * 3, ALL_LOST),
    ],
)
def test_recent_trades(returns: list[float], recent: int) -> None:
    account = np.zeros(1, account_dt)
    for value in returns:
        slot = int(account["closed_trades"][0]) % account["trade_ret"].shape[1]
        account["trade_ret"][0, slot] = value
        account["closed_trades"] += 1
    assert recent_nb(account[0]) == recent


def test_every_action_is_a_size_a_leverage_and_a_style() -> None:
    styles = {
        (1.25, 0.8): TrailStyle.AGGRESSIVE,
        (1.0, 1.0): TrailStyle.BALANCED,
        (0.8, 1.2): TrailStyle.LOOSE,
    }
    found = [
        (action_size_nb(a), action_leverage_nb(a), (target_scale_nb(a), stop_scale_nb(a))) for a in range(RL_ACTIONS)
    ]
    assert found == list(itertools.product((0.5, 0.75, 1.0, 1.25), (1.0, 2.0, 3.0, 5.0), styles))
    assert (SIZES, LEVERAGES) == ((0.5, 0.75, 1.0, 1.25), (1.0, 2.0, 3.0, 5.0))
    assert all(action_trail_nb(a) == styles[found[a][2]] for a in range(RL_ACTIONS))
    assert found[DEFAULT_ACTION] == (1.0, 3.0, (1.0, 1.0))


# The choice and the update -------------------------------------------------------------------------------------------


def test_reward_is_the_growth_of_equity_and_sees_the_size() -> None:
    assert reward_nb(100.0, 10_000.0) == pytest.approx(0.995033)
    assert reward_nb(-100.0, 10_000.0) == pytest.approx(-1.005034)
    assert reward_nb(200.0, 10_000.0) > reward_nb(100.0, 10_000.0)
    assert reward_nb(-20_000.0, 10_000.0) == pytest.approx(100 * math.log(1e-9)), "all of it and more"
    assert reward_nb(1.0, 0.0) == 0.0


def test_learning_rate_is_capped_and_decays_with_visits() -> None:
    assert rate_nb(0, ALPHA, GAMMA) == rate_nb(113, ALPHA, GAMMA) == ALPHA
    assert rate_nb(114, ALPHA, GAMMA) == pytest.approx(1 / 6.7)
    assert rate_nb(10_000, ALPHA, GAMMA) == pytest.approx(1 / 501)
    assert rate_nb(9, 1.0, 0.0) == pytest.approx(0.1), "without discounting the plain mean"


def test_below_the_visits_the_default_is_taken() -> None:
    """The default action until it has its 30 visits; after that a better one that has its own."""
    q, visits = tables(2, 3)
    q[0] = 0.0, 5.0, 1.0
    assert greedy_nb(q, visits, 0, 0, 30) == 0
    visits[0] = 29, 40, 40
    assert greedy_nb(q, visits, 0, 0, 30) == 0
    visits[0] = 30, 29, 40
    assert greedy_nb(q, visits, 0, 0, 30) == 2
    visits[0] = 30, 30, 40
    assert greedy_nb(q, visits, 0, 0, 30) == 1
    q[0] = 5.0, 5.0, 5.0
    assert greedy_nb(q, visits, 0, 2, 30) == 2, "equal is not better"
    q[0] = 5.0, 5.0, 1.0
    assert greedy_nb(q, visits, 0, 2, 30) == 0, "of equals the first"


def test_draws_are_indexed_by_the_decisions_number() -> None:
    q, visits = tables(1, 4)
    draws = np.array([[0.05, 0.99], [0.10, 0.99], [0.0999, 0.5], [0.0, 1.0]])
    chosen = [choose_nb(q, visits, 0, 1, draws, k, EPSILON, MIN_VISITS) for k in range(6)]
    assert chosen == [3, 1, 2, 3, 1, 1], "explored, not, explored, explored; beyond the draws never"
    again = [choose_nb(q, visits, 0, 1, draws, k, EPSILON, MIN_VISITS) for k in (5, 2, 0, 1)]
    assert again == [1, 2, 3, 1], "the number alone decides, not the order of the calls"
    assert choose_nb(q, visits, 0, 1, draws, 0, 0.0, MIN_VISITS) == 1, "no chance in live and evaluation"


def test_update() -> None:
    q, visits = tables(2, 2)
    q[1] = 2.0, 4.0
    assert best_value_nb(q, 1) == 4.0
    update_nb(q, visits, 0, 1, 1.0, best_value_nb(q, 1), ALPHA, GAMMA)
    assert q[0].tolist() == [0.0, pytest.approx(0.15 * (1.0 + 0.95 * 4.0))]
    assert visits.tolist() == [[0, 1], [0, 0]]


# Problems whose answer is known --------------------------------------------------------------------------------------


@kernel
def train_nb(
    q: Records, visits: Records, rewards: Records, cumulative: Records, uniforms: Records, alpha: float, gamma: float
) -> None:
    """Visit every state and action once per row of `uniforms`, with the next state drawn from `cumulative`."""
    n_states, n_actions = q.shape
    for sweep in range(uniforms.shape[0]):
        for state in range(n_states):
            for action in range(n_actions):
                drawn = uniforms[sweep, state * n_actions + action]
                following = 0
                while following < n_states - 1 and drawn >= cumulative[state, action, following]:
                    following += 1
                value = best_value_nb(q, following)
                update_nb(q, visits, state, action, rewards[state, action], value, alpha, gamma)


def value_iteration(rewards: Records, chances: Records, gamma: float) -> Records:
    q = np.zeros_like(rewards)
    while True:
        following = rewards + gamma * chances @ q.max(axis=1)
        if np.abs(following - q).max() < 1e-12:
            return following
        q = following


def test_equals_value_iteration_on_a_random_problem() -> None:
    rng = np.random.default_rng(20)
    rewards = rng.uniform(-1, 1, (20, 4))
    chances = rng.dirichlet(np.ones(20), (20, 4))
    q, visits = tables(20, 4)
    for _ in range(20):
        train_nb(q, visits, rewards, chances.cumsum(axis=2), rng.random((50_000, 80)), ALPHA, GAMMA)
    wanted = value_iteration(rewards, chances, GAMMA)
    assert np.abs(q - wanted).max() < 1e-2
    assert (q.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert (visits == 1_000_000).all()


def agent_in_a_chain(seed: int, decisions: int = 30_000) -> tuple[Records, Records]:
    """On its own policy: 3 places in a row; action 1 goes right, 0 goes left and pays 0.1; the last place pays 1."""
    draws = np.random.default_rng(seed).random((decisions, 2))
    q, visits = tables(3, 2)
    place = 0
    for k in range(decisions):
        action = choose_nb(q, visits, place, 0, draws, k, EPSILON, MIN_VISITS)
        following = min(place + 1, 2) if action == 1 else max(place - 1, 0)
        reward = (1.0 if following == 2 else 0.0) if action == 1 else 0.1
        update_nb(q, visits, place, action, reward, best_value_nb(q, following), ALPHA, GAMMA)
        place = following
    return q, visits


def test_finds_the_optimum_of_a_small_problem_on_its_own_policy() -> None:
    """Going left pays at once, going right only at the end: the default is left, the optimum right everywhere."""
    q, visits = agent_in_a_chain(1)
    assert [greedy_nb(q, visits, place, 0, MIN_VISITS) for place in range(3)] == [1] * 3
    assert q[2, 1] == pytest.approx(1 / (1 - GAMMA), rel=0.01)


def test_the_same_seed_gives_the_same_tables_and_another_seed_others() -> None:
    (q, visits), (same_q, same_visits), (other_q, _) = (agent_in_a_chain(seed, 2_000) for seed in (1, 1, 2))
    assert q.tobytes() == same_q.tobytes()
    assert visits.tobytes() == same_visits.tobytes()
    assert q.tobytes() != other_q.tobytes()


@pytest.mark.parametrize("kind", ["won", "lost", "random"])
def test_rewards_that_no_action_changes_leave_it_at_the_default(kind: str) -> None:
    """Every signal teaches every action the same reward: none gets better than the default, not even by chance."""
    rng = np.random.default_rng(3)
    q, visits = tables()
    state = int(rng.integers(RL_STATES))
    chosen: set[int] = set()
    for _ in range(3_000):
        following = int(rng.integers(6))
        value = best_value_nb(q, following)
        reward = {"won": 1.0, "lost": -1.0, "random": float(rng.normal())}[kind]
        for action in range(RL_ACTIONS):
            update_nb(q, visits, state, action, reward, value, ALPHA, GAMMA)
        state = following
        chosen.add(choose_nb(q, visits, state, DEFAULT_ACTION, NO_DRAWS, 0, EPSILON, MIN_VISITS))
    assert chosen == {DEFAULT_ACTION}
    assert visits.min(axis=1).max() > 10 * MIN_VISITS
