"""Bars that may be traded on and those that may not; prices told as instants."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.live.feed import Prices, Verdict, judge_bar
from qtsim.live.history import Bar, BarHistory
from qtsim.live.orders import LastPrice, MarkPrice

MINUTE = 60_000_000_000
LAST = Bar(10 * MINUTE, 100.0, 101.0, 99.0, 100.5, 5.0)
NEXT = LAST._replace(ts_open=11 * MINUTE)


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [
        (NEXT, Verdict.GOOD),
        (LAST, Verdict.DUPLICATE),
        (LAST._replace(close=100.6), Verdict.REVISED),
        (LAST._replace(ts_open=13 * MINUTE), Verdict.GAP),
        (LAST._replace(ts_open=9 * MINUTE), Verdict.LATE),
        (NEXT._replace(close=math.nan), Verdict.BAD),
        (NEXT._replace(low=0.0), Verdict.BAD),
        (NEXT._replace(high=math.inf), Verdict.BAD),
        (NEXT._replace(high=99.5), Verdict.BAD),
        (NEXT._replace(low=100.2), Verdict.BAD),
        (NEXT._replace(volume=-1.0), Verdict.BAD),
        (NEXT._replace(ts_open=11 * MINUTE + 1), Verdict.BAD),
        (Bar(11 * MINUTE, 1005.0, 1010.0, 1000.0, 1006.0, 1.0), Verdict.BAD),
    ],
)
def test_a_bar_is_judged_after_the_ones_before_it(bar: Bar, verdict: Verdict) -> None:
    assert judge_bar(bar, LAST, MINUTE) is verdict


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=5, max_size=5), st.integers(0, 30))
def test_whatever_comes_only_a_bar_that_follows_is_good(values: list[float], minute: int) -> None:
    bar = Bar(minute * MINUTE, *values)
    if judge_bar(bar, LAST, MINUTE) is Verdict.GOOD:
        assert bar.ts_open == LAST.ts_open + MINUTE
        assert all(math.isfinite(value) for value in values)
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


def prices_of(*events: LastPrice | MarkPrice) -> list[tuple[int, list[tuple[str, float, float]]]]:
    prices = Prices(frozenset({"AAA", "BBB"}))
    found = [instant for event in events for instant in prices.take(event)]
    return found + prices.rest()


def test_prices_of_all_symbols_are_one_instant() -> None:
    told = prices_of(
        LastPrice("BBB", 5, 20.0), MarkPrice("BBB", 5, 20.1), LastPrice("AAA", 5, 10.0), MarkPrice("AAA", 5, 10.1)
    )
    assert told == [(5, [("AAA", 10.0, 10.1), ("BBB", 20.0, 20.1)])]


def test_another_trade_of_a_symbol_begins_the_next_instant() -> None:
    told = prices_of(
        MarkPrice("AAA", 1, 10.0), LastPrice("AAA", 1, 10.0), LastPrice("AAA", 2, 10.0), LastPrice("AAA", 3, 9.0)
    )
    assert told == [(2, [("AAA", 10.0, 10.0)]), (3, [("AAA", 9.0, 10.0)])]


def test_what_is_no_price_is_refused_and_nothing_is_told_without_both_prices() -> None:
    assert prices_of(LastPrice("AAA", 1, 10.0)) == []
    assert prices_of(LastPrice("ZZZ", 1, 10.0), MarkPrice("ZZZ", 1, 10.0)) == []
    prices = Prices(frozenset({"AAA"}))
    for value in (math.nan, math.inf, 0.0, -1.0):
        assert prices.take(LastPrice("AAA", 1, value)) == []
    prices.take(LastPrice("AAA", 1, 10.0))
    prices.take(LastPrice("AAA", 2, 1000.0))
    assert prices.refused == 5
    assert prices.last["AAA"] == 10.0


def test_history_grows_and_refuses_what_is_not_later() -> None:
    history = BarHistory()
    for minute in range(3000):
        history.append(LAST._replace(ts_open=minute * MINUTE))
    assert len(history) == 3000
    assert history.newest == LAST._replace(ts_open=2999 * MINUTE)
    assert history.at(7 * MINUTE) == LAST._replace(ts_open=7 * MINUTE)
    assert history.at(7) is None
    with pytest.raises(ValueError, match="comes after"):
        history.append(LAST)
    assert len(history) == len(history.rows) == len(history.time) == 3000
