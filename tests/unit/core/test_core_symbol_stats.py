"""How a symbol has been doing: size by win rate, disabling, probation, blacklist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.records import NEVER, symbol_stats_dt
from qtsim.core.symbol_stats import (
    clear_blacklist_nb,
    is_disabled_nb,
    note_symbol_trade_nb,
    reset_stats_nb,
    symbol_size_nb,
    win_rate_nb,
)
from tests.generated import HOUR, START, params_of

RULES = params_of({})["orchestrator"][0]
PNL = {"w": 1.0, "l": -1.0, "e": 0.0}


def after(results: str, rules: Any = RULES) -> Any:
    """Statistics after trades an hour apart: w won, l lost, e even."""
    stats = np.zeros(1, symbol_stats_dt)
    reset_stats_nb(stats[0])
    for k, result in enumerate(results):
        note_symbol_trade_nb(stats[0], START + k * HOUR, PNL[result], rules)
    return stats[0]


def last(results: str) -> int:
    return START + (len(results) - 1) * HOUR


@pytest.mark.parametrize(("wins", "factor"), [(12, 1.10), (11, 1.0), (9, 1.0), (8, 0.70), (7, 0.70), (6, 0.5 * 0.5)])
def test_size_by_win_rate_of_twenty(wins: int, factor: float) -> None:
    """0.60, 0.55, 0.45, 0.40, 0.35; below 0.35 the watch list's half, and the half of the probation just begun."""
    results = "".join("w" if (k + 1) * wins // 20 > k * wins // 20 else "l" for k in range(20))
    stats = after(results)
    assert win_rate_nb(stats) == wins / 20
    assert symbol_size_nb(stats, RULES) == pytest.approx(factor)


def test_before_twenty_trades_the_rate_sets_no_size() -> None:
    assert symbol_size_nb(after("l" * 9), RULES) == 1.0
    assert symbol_size_nb(after(""), RULES) == 1.0
    assert np.isnan(win_rate_nb(after("")))


def test_disabled_for_forty_eight_hours_then_half_size_for_five_trades() -> None:
    stats = after("ww" + "lw" * 4 + "ll" + "l" * 6 + "w" + "l")
    assert win_rate_nb(stats) == pytest.approx(7 / 20)
    ts = START + 100 * HOUR
    note_symbol_trade_nb(stats, ts, -1.0, RULES)  # the first win leaves the window: 6 of 20
    assert is_disabled_nb(stats, ts + 48 * HOUR - 1)
    assert not is_disabled_nb(stats, ts + 48 * HOUR)
    assert (stats["disabled_value"], stats["disabled_limit"]) == (0.30, 0.35), "the win rate did it"
    assert symbol_size_nb(stats, RULES) == pytest.approx(0.5 * 0.5), "watch list and probation"
    for k in range(5):
        assert stats["probation_left"] == 5 - k
        note_symbol_trade_nb(stats, ts + (50 + k) * HOUR, 1.0, RULES)
    assert stats["probation_left"] == 0


def test_no_new_crossing_does_not_disable_again() -> None:
    stats = after("lw" * 4 + "l" * 9 + "w" + "l" * 2)
    first = int(stats["disabled_until"])
    assert first != NEVER
    note_symbol_trade_nb(stats, START + 90 * HOUR, -1.0, RULES)
    assert int(stats["disabled_until"]) == first


def test_ten_losses_in_a_row_disable_and_each_one_after() -> None:
    assert not is_disabled_nb(after("l" * 9), last("l" * 9))
    ten = after("l" * 10)
    assert int(ten["disabled_until"]) == last("l" * 10) + 48 * HOUR
    assert (ten["disabled_value"], ten["disabled_limit"]) == (10.0, 10.0)
    assert int(after("l" * 11)["disabled_until"]) == last("l" * 11) + 48 * HOUR
    assert not is_disabled_nb(after("l" * 9 + "w" + "l"), last("l" * 11)), "a win starts the count anew"


def test_a_trade_that_nets_nothing_is_neither_won_nor_lost() -> None:
    even = after("l" * 9 + "e")
    assert not is_disabled_nb(even, last("l" * 10)), "no tenth loss in a row"
    assert (even["losing_streak"], even["closed"], even["wins"]) == (0, 10, 0)
    assert win_rate_nb(after("we")) == 0.5


def test_twenty_losses_blacklist_until_somebody_clears_it() -> None:
    assert after("l" * 19)["blacklisted_at"] == NEVER
    stats = after("l" * 20)
    at = last("l" * 20)
    assert stats["blacklisted_at"] == at
    clear_blacklist_nb(stats, at + 24 * HOUR - 1, 24.0)
    assert stats["blacklisted_at"] == at
    clear_blacklist_nb(stats, at + 24 * HOUR, 24.0)
    assert (stats["blacklisted_at"], stats["losing_streak"]) == (NEVER, 0)
    assert is_disabled_nb(stats, at + 48 * HOUR - 1), "the twentieth loss disables as the ones before it did"
    assert not is_disabled_nb(stats, at + 48 * HOUR)


def test_an_operator_who_never_comes_clears_nothing() -> None:
    stats = after("l" * 20)
    clear_blacklist_nb(stats, START + 10_000_000 * HOUR // 10, float("inf"))
    assert stats["blacklisted_at"] != NEVER
