"""Bars of the emulated market: windows, longer intervals, gaps; and the decimals that everything is counted in."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.emulator.decimals import divided, exact, floor_to, padded, plain, to_tick
from qtsim.emulator.market import INTERVALS_MS, MINUTE_MS, Bar, BarSeries, bar_start, bar_volumes

DAY_MS = 1440 * MINUTE_MS


def series(minutes: list[int], base: int = MINUTE_MS) -> BarSeries:
    """Bars that open at these minutes; each bar's numbers follow from its own."""
    rows = [Bar(m * base, m + 0.5, m + 0.9, m + 0.1, m + 0.6, 2.0) for m in minutes]
    return BarSeries(base, rows)


def slow_window(found: BarSeries, interval: int, start: int | None, end: int | None, limit: int) -> list[Bar]:
    """Make every bar of the interval, then choose."""
    groups: dict[int, list[Bar]] = {}
    for row in [*found.rows, *([found.open_bar] if found.open_bar else [])]:
        groups.setdefault(bar_start(row.open_ms, interval), []).append(row)
    bars = [
        Bar(
            opened,
            rows[0].open,
            max(row.high for row in rows),
            min(row.low for row in rows),
            rows[-1].close,
            sum(row.volume for row in rows),
        )
        for opened, rows in groups.items()
    ]
    chosen = [bar for bar in bars if (start is None or bar.open_ms >= start) and (end is None or bar.open_ms <= end)]
    return chosen[:limit] if start is not None else chosen[-limit:]


@given(
    minutes=st.lists(st.integers(0, 60), min_size=0, max_size=50, unique=True).map(sorted),
    is_open=st.booleans(),
    interval=st.sampled_from(["1m", "3m", "15m", "1h"]),
    start=st.none() | st.integers(-2, 65),
    end=st.none() | st.integers(-2, 65),
    limit=st.integers(1, 30),
)
def test_windows_are_what_the_slow_way_finds(
    minutes: list[int], is_open: bool, interval: str, start: int | None, end: int | None, limit: int
) -> None:
    found = series(minutes)
    if is_open:
        last = minutes[-1] + 1 if minutes else 0
        found.show_price(last * MINUTE_MS + 1, 5.0, 1.0)
    first = None if start is None else start * MINUTE_MS - 7_000
    until = None if end is None else end * MINUTE_MS + 7_000
    length = INTERVALS_MS[interval]
    assert found.window(length, first, until, limit) == slow_window(found, length, first, until, limit)


def test_a_price_at_the_very_end_belongs_to_the_bar_that_ends() -> None:
    found = BarSeries(MINUTE_MS)
    for ms, price in ((0, 10.0), (20_000, 12.0), (40_000, 9.0), (60_000, 11.0)):
        found.show_price(ms, price, 1.0)
    assert found.open_bar == Bar(0, 10.0, 12.0, 9.0, 11.0, 4.0)
    found.close(Bar(0, 10.0, 12.0, 9.0, 11.0, 4.5))
    found.show_price(60_000, 11.5, 1.0)
    assert found.rows == [Bar(0, 10.0, 12.0, 9.0, 11.0, 4.5)]
    assert found.open_bar == Bar(60_000, 11.5, 11.5, 11.5, 11.5, 1.0)


def test_weeks_begin_on_mondays() -> None:
    assert bar_start(4 * DAY_MS, INTERVALS_MS["1w"]) == 4 * DAY_MS  # 1970-01-05
    assert bar_start(4 * DAY_MS - 1, INTERVALS_MS["1w"]) == -3 * DAY_MS


@given(volume=st.floats(0, 1e9), lot=st.sampled_from(["1", "0.001", "5"]))
def test_a_bars_volume_is_shared_out_in_lots(volume: float, lot: str) -> None:
    parts = bar_volumes(volume, Decimal(lot))
    assert sum(parts) == exact(volume)
    assert all(part % Decimal(lot) == 0 for part in parts[:3])
    assert min(parts) >= 0


@given(value=st.floats(-1e12, 1e12))
def test_decimals_of_floats_come_back_as_the_same_floats(value: float) -> None:
    assert float(plain(exact(value))) == value
    assert float(padded(exact(value), Decimal("0.01"))) == value


def test_how_numbers_are_written() -> None:
    assert [plain(Decimal(text)) for text in ("0.0100", "1E+3", "-0.50", "0E-8")] == ["0.01", "1000", "-0.5", "0"]
    assert [padded(Decimal("0.01"), Decimal(step)) for step in ("0.001", "1", "0.1")] == ["0.010", "0.01", "0.01"]
    assert padded(Decimal(3), Decimal("1E+1")) == "3"
    assert floor_to(Decimal("0.0199"), Decimal("0.001")) == Decimal("0.019")
    assert to_tick(Decimal("1.01"), Decimal("0.5"), up=True) == Decimal("1.5")
    assert to_tick(Decimal("1.01"), Decimal("0.5"), up=False) == Decimal("1.0")
    assert divided(Decimal(1), Decimal(3)) == Decimal("0." + "3" * 34)
    for text in ("x", "NaN", "inf"):
        with pytest.raises(ValueError, match="number"):
            exact(text)
