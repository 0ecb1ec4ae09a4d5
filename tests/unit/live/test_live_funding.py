"""Whose a funding payment is."""

from __future__ import annotations

import math

import pytest

from qtsim.live.funding import shares_of

LONG, SHORT = 4, 5


def test_one_side_alone_gets_all() -> None:
    assert shares_of(-0.3, {LONG: 2.0}, 100.0, math.nan) == {LONG: -0.3}


def test_a_payment_of_the_size_of_one_side_is_that_sides() -> None:
    quantities = {LONG: 3.0, SHORT: -2.9}
    assert shares_of(-0.3, quantities, 100.0, 0.001) == {LONG: -0.3}
    assert shares_of(0.29, quantities, 100.0, 0.001) == {SHORT: 0.29}


def test_one_payment_for_both_is_split_by_what_each_owes() -> None:
    shares = shares_of(-0.011, {LONG: 3.0, SHORT: -2.9}, 100.0, 0.001)
    assert shares[LONG] == pytest.approx(-0.3, abs=1e-3)
    assert shares[SHORT] == pytest.approx(0.29, abs=1e-3)
    assert sum(shares.values()) == pytest.approx(-0.011)


def test_without_a_rate_the_sum_is_right_at_least() -> None:
    assert sum(shares_of(-0.3, {LONG: 3.0, SHORT: -2.9}, 100.0, math.nan).values()) == pytest.approx(-0.3)
