"""Detail mode's path: finer bars where there are any, else the coarse bar's own path in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.app.path import PRICES, detail_rows
from qtsim.core.records import Records, bar_dt
from qtsim.sim.paths import on_segment_nb, unfold_bar_nb

MINUTE = 60_000_000_000
HOUR = 60 * MINUTE
START = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC
EMPTY = pd.DataFrame(
    {name: np.empty(0) for name in (*PRICES, "volume")}, index=pd.DatetimeIndex(np.empty(0, "datetime64[ns]"), tz="UTC")
)


def coarse(*bars: tuple[float, float, float, float], mark: float = 0.0) -> Records:
    """(open, high, low, close) of hours; mark: last price and this."""
    rows = np.zeros(len(bars), bar_dt)
    rows["ts_open"] = START + HOUR * np.arange(len(bars))
    for k, name in enumerate(PRICES):
        rows[name] = [bar[k] for bar in bars]
        rows[f"mark_{name}"] = rows[name] + mark
    rows["volume"] = 60.0
    return rows


def minutes(prices: list[tuple[float, float, float, float]], first: int = 0) -> pd.DataFrame:
    """Minute bars from minute `first` of the start on."""
    index = pd.DatetimeIndex(START + MINUTE * (first + np.arange(len(prices)))).tz_localize("UTC")
    frame = pd.DataFrame(prices, columns=list(PRICES), index=index)
    return frame.assign(volume=1.0)


def test_finer_bars_are_the_path() -> None:
    detail = minutes([(100.0, 101.0, 99.0, 100.5)] * 60)
    rows, cover = detail_rows(coarse((100, 101, 99, 100.5)), HOUR, detail, MINUTE, None)
    assert (cover.bars, cover.covered, cover.partly, cover.unfolded) == (1, 1, 0, 0)
    assert list(rows["ts_open"]) == [START + MINUTE * k for k in range(60)]
    assert (rows["high"] == 101.0).all()
    assert (rows["volume"] == 1.0).all()


def test_missing_finer_bars_stay_gaps() -> None:
    detail = minutes([(100.0, 101.0, 99.0, 100.5)] * 57, first=3)
    rows, cover = detail_rows(coarse((100, 101, 99, 100.5)), HOUR, detail, MINUTE, None)
    assert (cover.covered, cover.partly) == (1, 1)
    assert rows["ts_open"][0] == START + 3 * MINUTE
    assert len(rows) == 57


def test_a_bar_without_any_is_cut_out_of_its_own_path() -> None:
    """Both extremes are as near, so low first: 100 → 97 by minute 20, → 103 by minute 40, → 101 by minute 60."""
    rows, cover = detail_rows(coarse((100, 103, 97, 101)), HOUR, EMPTY, MINUTE, None)
    assert (cover.covered, cover.unfolded) == (0, 1)
    assert [float(rows["open"][k]) for k in (0, 20, 40)] == [100.0, 97.0, 103.0]
    assert rows["close"][-1] == 101.0
    assert rows["high"].max() == 103.0
    assert rows["low"].min() == 97.0
    assert (rows["open"][1:] == rows["close"][:-1]).all(), "one piece begins where the one before it ended"
    assert rows["volume"].sum() == pytest.approx(60.0)


price = st.floats(1.0, 1_000.0)


@st.composite
def bars(draw: st.DrawFn) -> tuple[float, float, float, float]:
    opening, close = draw(price), draw(price)
    return opening, max(opening, close) + draw(price), min(opening, close) * draw(st.floats(0.1, 1.0)), close


@given(st.lists(bars(), min_size=1, max_size=4), st.sampled_from([1, 4, 5, 12, 60]))
def test_the_pieces_hold_the_bars_own_path(candles: list[tuple[float, float, float, float]], pieces: int) -> None:
    """The twin walks the four points; every piece's ends lie on it, and its range is that of the path inside it."""
    whole = coarse(*candles)
    rows, _ = detail_rows(whole, HOUR, EMPTY, HOUR // pieces, None) if pieces > 1 else (whole, None)
    for k, bar in enumerate(whole):
        own = rows[k * pieces : (k + 1) * pieces]
        prices, marks = np.zeros(4), np.zeros(4)
        unfold_bar_nb(bar, bool(bar["high"] - bar["open"] < bar["open"] - bar["low"]), False, prices, marks)
        for j, piece in enumerate(own):
            if pieces == 1:
                continue
            assert piece["open"] == pytest.approx(twin(prices, j / pieces), rel=1e-9)
            assert piece["close"] == pytest.approx(twin(prices, (j + 1) / pieces), rel=1e-9)
            assert piece["low"] <= min(piece["open"], piece["close"])
            assert piece["high"] >= max(piece["open"], piece["close"])
        assert own["high"].max() == bar["high"]
        assert own["low"].min() == bar["low"]
        assert own["open"][0] == bar["open"]
        assert own["close"][-1] == bar["close"]


def twin(prices: Any, share: float) -> float:
    """Price of the path at a share of the bar."""
    segment = min(int(share * 3 + 1e-12), 2)
    return float(on_segment_nb(prices[segment], prices[segment + 1], share * 3 - segment))


def test_the_mark_keeps_its_distance_inside_a_bar() -> None:
    detail = minutes([(100.0 + k, 101.0 + k, 99.0 + k, 100.0 + k) for k in range(60)])
    rows, _ = detail_rows(coarse((100, 160, 99, 159), mark=0.5), HOUR, detail, MINUTE, None)
    np.testing.assert_allclose(rows["mark_open"], rows["open"] + 0.5)
    assert rows["mark_high"].max() <= 160.5
    same, _ = detail_rows(coarse((100, 160, 99, 159)), HOUR, detail, MINUTE, None)
    for name in PRICES:
        assert (same[f"mark_{name}"] == same[name]).all(), "without mark history it is the last price"


def test_finer_mark_bars_are_taken_where_there_are_any() -> None:
    detail = minutes([(100.0, 101.0, 99.0, 100.0)] * 60)
    mark = minutes([(99.0, 99.5, 98.5, 99.0)] * 10)
    rows, _ = detail_rows(coarse((100, 101, 99, 100)), HOUR, detail, MINUTE, mark)
    assert (rows["mark_low"][:10] == 98.5).all()
    assert (rows["mark_low"][10:] == 99.0).all()
