"""A gap between a live session and its backtest is split without anything left over, and each part into its bucket."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.research.attribution import Book, Denied, Evidence, Parts, Trip, attribute

BAR = 60_000_000_000
T = 1_000 * BAR
TRIP = Trip(
    symbol="BTCUSDT",
    side="short",
    entry_ts=T,
    exit_ts=T + 5 * BAR,
    qty=2.0,
    entry_price=100.0,
    entry_ref=100.0,
    exit_price=98.0,
    exit_ref=98.0,
    price_pnl=4.0,
    fees=0.2,
    funding=0.0,
    pnl=3.8,
    exit_reason="tp1",
    decided=((T + 5 * BAR, "tp1"),),
)


def changed(trip: Trip = TRIP, **values: object) -> Trip:
    """A trade with other figures, whose PnL follows from them."""
    other = replace(trip, **values)  # type: ignore[arg-type]
    price_pnl = other.qty * other.sign * (other.exit_price - other.entry_price)
    return replace(other, price_pnl=price_pnl, pnl=price_pnl - other.fees + other.funding)


def parts(
    live: list[Trip], backtest: list[Trip], evidence: Evidence | None = None, **books: dict[str, object]
) -> dict[str, float]:
    """Parts of a gap that are not nothing. books: more of the two sides."""
    found = attribute(
        Book("live", live, **books.get("live", {})),  # type: ignore[arg-type]
        Book("backtest", backtest, **books.get("backtest", {})),  # type: ignore[arg-type]
        evidence or Evidence(),
        BAR,
    )
    assert found.parts.total == pytest.approx(found.live - found.backtest)
    return {name: round(part, 9) for name, part in found.parts.to_dict().items() if abs(part) > 1e-9}


def test_equal_trades_leave_no_gap() -> None:
    assert parts([TRIP], [TRIP]) == {}


def test_a_worse_fill_at_the_same_price_of_decision_is_fill_price() -> None:
    assert parts([changed(entry_price=99.9, exit_price=98.1)], [TRIP]) == {"fill_price": -0.4}


def test_an_exit_that_was_decided_later_is_timing() -> None:
    later = changed(exit_price=98.5, exit_ref=98.5, exit_ts=T + 6 * BAR, decided=((T + 6 * BAR, "tp1"),))
    assert parts([later], [TRIP]) == {"timing": -1.0}


def test_an_exit_for_another_reason_is_timing() -> None:
    other = changed(exit_price=98.5, exit_ref=98.5, exit_reason="trail", decided=((T + 5 * BAR, "trail"),))
    assert parts([other], [TRIP]) == {"timing": -1.0}


def test_another_price_at_the_same_instant_is_data() -> None:
    assert parts([changed(exit_price=98.5, exit_ref=98.5)], [TRIP]) == {"data": -1.0}
    assert parts([changed(entry_price=99.5, entry_ref=99.5)], [TRIP]) == {"data": -1.0}


def test_an_entry_at_another_point_of_the_same_bar_is_timing() -> None:
    late = changed(entry_ts=T + BAR // 2, entry_price=99.5, entry_ref=99.5)
    assert parts([late], [TRIP]) == {"timing": -1.0}


def test_an_entry_in_the_next_bar_is_timing() -> None:
    late = changed(entry_ts=T + BAR, entry_price=99.5, entry_ref=99.5)
    assert parts([late], [TRIP]) == {"timing": -1.0}


def test_a_hard_stop_at_another_price_is_fill_price() -> None:
    hard = {"exit_reason": "hard_stop", "decided": ((T + 5 * BAR, "hard_stop"),)}
    one = changed(exit_price=101.0, exit_ref=101.0, **hard)
    other = changed(exit_price=101.5, exit_ref=101.5, **hard)
    assert parts([other], [one]) == {"fill_price": -1.0}


def test_fees_funding_and_size_are_apart() -> None:
    assert parts([changed(fees=0.5)], [TRIP]) == {"fees": -0.3}
    assert parts([changed(funding=-0.25)], [TRIP]) == {"funding": -0.25}
    assert parts([changed(qty=1.5)], [TRIP]) == {"size": -1.0}


ASKED = Evidence(asked={("BTCUSDT", T): frozenset({"short"})})
UNASKED = Evidence(asked={("BTCUSDT", T): frozenset()})


@pytest.mark.parametrize(
    ("evidence", "live", "bucket", "why"),
    [
        (ASKED, {"denied": [Denied("BTCUSDT", "short", T, "-2019 Margin is insufficient.")]}, "rejects", "-2019"),
        (ASKED, {"denied": [Denied("BTCUSDT", "short", T, "side already held")]}, "timing", "side already held"),
        (ASKED, {"ran": [(T + BAR, T + 9 * BAR)]}, "timing", "not running"),
        (ASKED, {"open_entries": [("BTCUSDT", "short", T + 1)]}, "timing", "still open"),
        (UNASKED, {}, "signal", "asked for no such entry"),
        (replace(UNASKED, same_strategy=False), {}, "signal", "source"),
        (replace(UNASKED, revised={"BTCUSDT": T - 3 * BAR}), {}, "data", "bars differ from"),
        (replace(UNASKED, revised={"BTCUSDT": T + BAR}), {}, "signal", "asked for no such entry"),
        (Evidence(), {}, "data", "never saw its bar"),
        (ASKED, {}, "remainder", "no trace"),
    ],
)
def test_a_trade_that_live_has_not_goes_where_its_cause_is(
    evidence: Evidence, live: dict[str, object], bucket: str, why: str
) -> None:
    found = attribute(Book("live", [], **live), Book("backtest", [TRIP]), evidence, BAR)  # type: ignore[arg-type]
    (line,) = found.lines
    assert line.parts == Parts(**{bucket: -3.8})
    assert why in line.why


@pytest.mark.parametrize(
    ("evidence", "backtest", "bucket"),
    [
        (ASKED, {"denied": [Denied("BTCUSDT", "short", T, "positions in total")]}, "rejects"),
        (ASKED, {"denied": [Denied("BTCUSDT", "short", T, "opposite ignored")]}, "timing"),
        (ASKED, {"denied": [Denied("BTCUSDT", "long", T, "positions in total")]}, "signal"),
        (ASKED, {"ran": [(T + BAR, T + 9 * BAR)]}, "timing"),
        (replace(ASKED, revised={"BTCUSDT": T - BAR}), {}, "data"),
        (UNASKED, {}, "remainder"),
    ],
)
def test_a_trade_that_only_live_has_goes_where_its_cause_is(
    evidence: Evidence, backtest: dict[str, object], bucket: str
) -> None:
    found = attribute(Book("live", [TRIP]), Book("backtest", [], **backtest), evidence, BAR)  # type: ignore[arg-type]
    assert found.lines[0].parts == Parts(**{bucket: 3.8})


def test_trades_of_one_bar_are_paired_before_those_of_neighbours() -> None:
    early, late = replace(TRIP, entry_ts=T + 1), replace(TRIP, entry_ts=T + BAR + 1)
    found = attribute(Book("live", [late, early]), Book("backtest", [late, TRIP]), Evidence(), BAR)
    assert [(line.live, line.backtest) for line in found.lines] == [(early, TRIP), (late, late)]


def test_the_other_side_or_symbol_makes_no_pair() -> None:
    found = attribute(Book("live", [replace(TRIP, side="long")]), Book("backtest", [TRIP]), Evidence(), BAR)
    assert found.pairs == 0


PRICES = st.floats(1.0, 1e5)


@given(st.lists(st.tuples(PRICES, PRICES, PRICES, PRICES, st.floats(0.001, 1e3), st.integers(0, 3)), max_size=6))
def test_the_parts_always_add_up_to_the_gap(rows: list[tuple[float, float, float, float, float, int]]) -> None:
    trips = [
        changed(entry_price=a, entry_ref=b, exit_price=c, exit_ref=d, qty=qty, entry_ts=T + bar * BAR)
        for a, b, c, d, qty, bar in rows
    ]
    half = len(trips) // 2
    found = attribute(Book("live", trips[:half]), Book("backtest", trips[half:]), Evidence(), BAR)
    scale = max((abs(trip.pnl) for trip in trips), default=1.0)
    assert found.parts.total == pytest.approx(found.live - found.backtest, abs=1e-9 * max(1.0, scale))
    assert sum((line.live is not None) + (line.backtest is not None) for line in found.lines) == len(trips)
