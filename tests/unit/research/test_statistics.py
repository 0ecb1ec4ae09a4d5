"""How much of a best result is luck: known values, and markets in which the answer is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from qtsim.research.statistics import (
    deflated_sharpe,
    effective_trials,
    expected_best_sharpe,
    on_common_days,
    overfitting_probability,
    superior_ability,
)


def test_deflated_sharpe_of_the_published_example() -> None:
    # Bailey and López de Prado (2014), section "A numerical example": 2.5 a year, 1,250 days of 250 a year, skewness
    # -3, kurtosis 10, 100 trials with variance 1/2 a year: DSR about 0.90. Here a year has 365 days, hence the factors.
    factor = math.sqrt(365.0 / 250.0)
    found = deflated_sharpe(2.5 * factor, 1250, -3.0, 10.0, 100, 0.5 * factor * factor)
    assert found == pytest.approx(0.9004, abs=5e-4)


def test_one_trial_is_not_deflated() -> None:
    assert expected_best_sharpe(1, 1.0) == 0.0
    assert deflated_sharpe(0.0, 1000, 0.0, 3.0, 1, 0.0) == pytest.approx(0.5)


def test_more_trials_deflate_more() -> None:
    values = [deflated_sharpe(1.5, 1000, 0.0, 3.0, n, 0.25) for n in (1, 10, 100, 1000)]
    assert values == sorted(values, reverse=True)


def test_the_expected_best_is_near_that_of_a_simulation() -> None:
    rng = np.random.default_rng(1)
    best = rng.standard_normal((4000, 50)).max(axis=1).mean()
    assert expected_best_sharpe(50, 1.0) == pytest.approx(best, abs=0.05)


def test_an_unknown_sharpe_gives_an_unknown_probability() -> None:
    assert math.isnan(deflated_sharpe(math.nan, 1000, math.nan, math.nan, 5, 1.0))
    assert math.isnan(deflated_sharpe(1.0, 1, 0.0, 3.0, 5, 1.0))


def test_equal_trials_amount_to_one_and_independent_ones_to_all() -> None:
    rng = np.random.default_rng(2)
    one = rng.standard_normal(64)
    assert effective_trials(np.tile(one, (30, 1))) == pytest.approx(1.0)
    assert effective_trials(rng.standard_normal((30, 4000))) == pytest.approx(30.0, rel=0.05)
    assert effective_trials(one[None, :]) == 1.0


def blocks(returns: np.ndarray, count: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, shape (trials, days), as sums and squares by block."""
    days = returns.shape[1]
    owner = np.arange(days) * count // days
    sums = np.stack([returns[:, owner == k].sum(axis=1) for k in range(count)], axis=1)
    squares = np.stack([(returns[:, owner == k] ** 2).sum(axis=1) for k in range(count)], axis=1)
    return sums, squares, np.bincount(owner, minlength=count)


def overfitting_by_hand(returns: np.ndarray, groups: int = 16) -> float:
    """CSCV as the paper words it, on the daily returns themselves."""
    days = returns.shape[1]
    owner = (np.arange(days) * 64 // days) * groups // 64
    low = ways = 0
    for chosen in itertools.combinations(range(groups), groups // 2):
        inside = np.isin(owner, chosen)
        first = returns[:, inside].mean(axis=1) / returns[:, inside].std(axis=1)
        second = returns[:, ~inside].mean(axis=1) / returns[:, ~inside].std(axis=1)
        best = int(np.argmax(first))
        rank = (second < second[best]).sum() + 0.5 * ((second == second[best]).sum() + 1)
        low += rank / (len(returns) + 1) <= 0.5
        ways += 1
    return low / ways


def test_overfitting_is_that_of_the_paper_on_daily_returns() -> None:
    returns = np.random.default_rng(3).standard_normal((7, 320)) * 0.01
    assert overfitting_probability(*blocks(returns)) == pytest.approx(overfitting_by_hand(returns))


def test_noise_overfits_and_skill_does_not() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((60, 640)) * 0.01
    skilled = noise.copy()
    skilled[5] += 0.004
    assert overfitting_probability(*blocks(noise)) > 0.3
    assert overfitting_probability(*blocks(skilled)) < 0.05


def test_too_little_for_cross_validation_is_unknown() -> None:
    assert math.isnan(overfitting_probability(*blocks(np.ones((1, 640)))))
    assert math.isnan(overfitting_probability(*blocks(np.ones((5, 3)))))


def test_superior_ability_tells_skill_from_noise() -> None:
    pytest.importorskip("arch")
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((600, 20)) * 0.01
    skilled = noise.copy()
    skilled[:, 3] += 0.002
    assert superior_ability(noise, 1).consistent > 0.05
    assert superior_ability(skilled, 1).consistent < 0.05
    assert superior_ability(skilled, 1) == superior_ability(skilled, 1)


def test_trials_that_never_move_are_not_tested() -> None:
    pytest.importorskip("arch")
    assert superior_ability(np.zeros((600, 3)), 1).trials == 0


def test_returns_stand_on_their_days() -> None:
    """Trial 0 has one account; trial 1 two, of which the second begins a day later and ends two days later."""
    parts = [
        (0, 10, np.array([0.1, 0.2])),
        (1, 9, np.array([0.4, 0.2])),
        (1, 10, np.array([0.6, -0.2, 0.3])),
    ]
    found = on_common_days(parts, 2)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.1, 0.2, 0.0])
    np.testing.assert_allclose(found[:, 1], [0.4, 0.4, -0.2, 0.3])


def test_returns_of_one_account_are_left_as_they_are() -> None:
    returns = np.random.default_rng(1).normal(0.0, 0.01, (50, 3))
    found = on_common_days([(k, 100, returns[:, k]) for k in range(3)], 3)
    assert found.tobytes() == returns.tobytes()
