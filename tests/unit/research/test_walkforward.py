"""Windows follow each other without overlap of tests, and only tests are chained."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from qtsim.errors import UsageError
from qtsim.research.walkforward import DAY_NS, Step, WalkForward, Window, windows_of

START = pd.Timestamp("2023-01-01", tz="UTC").value


def test_tests_follow_each_other_and_each_search_ends_where_its_test_begins() -> None:
    windows = windows_of(START, START + 100 * DAY_NS, 30 * DAY_NS, 20 * DAY_NS, anchored=False)
    assert [w.train_end - w.train_start for w in windows] == [30 * DAY_NS] * 4
    assert windows[0].train_end == START + 30 * DAY_NS
    for before, after in itertools.pairwise(windows):
        assert after.train_end == before.test_end
    assert windows[-1].test_end == START + 100 * DAY_NS  # cut at the end of the data


def test_anchored_searches_all_begin_at_the_start() -> None:
    windows = windows_of(START, START + 100 * DAY_NS, 30 * DAY_NS, 20 * DAY_NS, anchored=True)
    assert {w.train_start for w in windows} == {START}
    assert [w.train_end for w in windows] == sorted({w.train_end for w in windows})


def test_windows_begin_at_midnight() -> None:
    windows = windows_of(START + DAY_NS // 2, START + 100 * DAY_NS, 30 * DAY_NS, 20 * DAY_NS, anchored=False)
    assert windows[0].train_start == START + DAY_NS


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (200 * DAY_NS, 20 * DAY_NS, "100 days"),
        (30 * DAY_NS, DAY_NS // 24, "--test: whole days"),
        (DAY_NS // 2, 20 * DAY_NS, "--train: whole days"),
    ],
)
def test_bad_lengths_are_refused(train: int, test: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        windows_of(START, START + 100 * DAY_NS, train, test, anchored=False)


def step(number: int, returns: list[float]) -> Step:
    first = START + number * 10 * DAY_NS
    index = pd.date_range(pd.Timestamp(first, tz="UTC"), periods=len(returns), freq="D")
    total = float(np.prod(1.0 + np.array(returns))) - 1.0
    tested = {"Total Return": total, "Trades": 3.0, "Sharpe": 0.5}
    return Step(
        Window(first - DAY_NS, first, first + 10 * DAY_NS),
        {"exit.base_tp": 0.01},
        {"CAGR": 1.0, "Sharpe": 2.0},
        tested,
        pd.Series(returns, index=index),
    )


def test_the_chain_is_the_product_of_the_tests() -> None:
    found = WalkForward("x", "Sharpe", [step(0, [0.1, -0.05]), step(1, [-0.2, 0.3])], 12, planned=2)
    assert found.metrics["Total Return"] == pytest.approx(1.1 * 0.95 * 0.8 * 1.3 - 1.0)
    assert found.metrics["Max Drawdown"] == pytest.approx(0.95 * 0.8 - 1.0)
    assert found.metrics["Trades"] == 6.0
    assert found.won == 2
    assert found.is_complete
    assert found.efficiency == pytest.approx(found.metrics["CAGR"])
    assert "2 of 2 tests gained" in str(found.summary())
    assert found.to_frame()["Sharpe in search"].tolist() == [2.0, 2.0]


def test_a_chain_without_tests_has_no_result() -> None:
    found = WalkForward("x", "Sharpe", [], 0, planned=3)
    assert math.isnan(found.metrics["Total Return"])
    assert not found.is_complete
