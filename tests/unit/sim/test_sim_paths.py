"""How a bar becomes four points, and the times of cycles."""

from __future__ import annotations

import numpy as np
import pytest

from qtsim.core.records import bar_dt
from qtsim.sim.paths import (
    crossing_nb,
    is_high_nearer_nb,
    next_multiple_nb,
    on_segment_nb,
    segment_time_nb,
    unfold_bar_nb,
)

HOUR = 3_600_000_000_000
DAY = 24 * HOUR


def bar_of(*prices: float, marks: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)) -> np.void:
    bar = np.zeros(1, bar_dt)
    for name, price, mark in zip(("open", "high", "low", "close"), prices, marks, strict=True):
        bar[name], bar[f"mark_{name}"] = price, mark
    row: np.void = bar[0]
    return row


@pytest.mark.parametrize(
    ("high", "low", "nearer"),
    [(101.0, 98.0, True), (102.0, 99.0, False), (101.0, 99.0, False), (100.0, 99.0, True), (100.0, 100.0, False)],
    ids=["high", "low", "tie_is_low", "open_is_high", "flat"],
)
def test_the_extreme_nearer_to_the_open_comes_first(high: float, low: float, nearer: bool) -> None:
    assert bool(is_high_nearer_nb(bar_of(100.0, high, low, 100.0))) == nearer


@pytest.mark.parametrize("high_first", [True, False])
@pytest.mark.parametrize("has_mark", [True, False])
def test_the_mark_unfolds_in_the_order_of_the_last_price(high_first: bool, has_mark: bool) -> None:
    prices, marks = np.zeros(4), np.zeros(4)
    bar = bar_of(100.0, 105.0, 99.0, 103.0, marks=(10.0, 11.0, 8.0, 9.0))
    unfold_bar_nb(bar, high_first, has_mark, prices, marks)
    assert list(prices) == ([100, 105, 99, 103] if high_first else [100, 99, 105, 103])
    expected = [10, 11, 8, 9] if high_first else [10, 8, 11, 9]
    assert list(marks) == (expected if has_mark else list(prices))


def test_points_stand_at_thirds_rounded_down() -> None:
    assert [segment_time_nb(5, 10, k) for k in range(4)] == [5, 8, 11, 15]
    assert [segment_time_nb(0, HOUR, k) for k in range(4)] == [0, HOUR // 3, 2 * HOUR // 3, HOUR]


def test_a_segment_is_linear_and_ends_exactly() -> None:
    assert on_segment_nb(100.0, 103.0, 0.0) == 100.0
    assert on_segment_nb(100.0, 103.0, 0.5) == 101.5
    assert on_segment_nb(0.1, 0.3, 1.0) == 0.3, "0.1 + (0.3 - 0.1) is 0.30000000000000004"
    assert crossing_nb(100.0, 103.0, 101.5) == 0.5
    assert crossing_nb(103.0, 100.0, 100.0) == 1.0
    assert crossing_nb(100.0, 100.0, 100.0) == 1.0, "no division by zero"


def test_cycles_stand_at_multiples_since_midnight() -> None:
    assert next_multiple_nb(0, HOUR) == HOUR
    assert next_multiple_nb(HOUR, HOUR) == 2 * HOUR, "strictly after"
    assert next_multiple_nb(HOUR - 1, HOUR) == HOUR
    assert next_multiple_nb(21 * HOUR, 7 * HOUR) == DAY, "28:00 does not exist; midnight does"
    assert next_multiple_nb(DAY, 7 * HOUR) == DAY + 7 * HOUR, "it starts anew"
