"""Detail bars that contradict the coarse bars they lie in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.detail import contradictions
from qtsim.data.frames import as_bars, times_of
from qtsim.data.resample import resample_bars
from qtsim.data.timeframes import HOUR, MINUTE
from qtsim.errors import UsageError
from tests.unit.data.made_bars import made_bars

DETAIL = made_bars(600, "1m")
COARSE = resample_bars(DETAIL, MINUTE, HOUR)


def test_bars_made_of_their_detail_do_not_contradict_it() -> None:
    found = contradictions(COARSE, DETAIL)
    assert found.is_empty
    assert (found.compared, found.uncovered) == (10, 0)
    assert found.describe() == "all 10 1h bars agree with their 1m bars"


def test_each_field_is_named_with_its_difference() -> None:
    coarse = COARSE.copy()
    coarse.iloc[3, coarse.columns.get_loc("high")] += 0.25
    coarse.iloc[3, coarse.columns.get_loc("volume")] -= 2.0
    coarse.iloc[7, coarse.columns.get_loc("close")] -= 0.01
    found = contradictions(coarse, DETAIL, tick=0.01, lot=0.001)
    assert found.differing["field"].tolist() == ["high", "volume"]
    assert found.differing["difference"].tolist() == pytest.approx([-0.25, 2.0])
    assert set(found.differing.index) == {COARSE.index[3]}
    assert found.describe().startswith(
        "1 of 10 1h bars contradict their 1m bars, the first at 2024-01-01 03:00 UTC: high "
    )
    assert "in detail (-0.25)" in found.describe()
    assert contradictions(coarse, DETAIL, tick=0.001).differing["field"].tolist() == ["high", "volume", "close"]


def test_coarse_bars_without_all_their_detail_are_listed_and_not_compared() -> None:
    detail = DETAIL.drop(DETAIL.index[[70, 71, *range(180, 240)]])
    coarse = COARSE.copy()
    coarse.iloc[1] += 5.0
    found = contradictions(coarse, detail)
    assert found.incomplete["have"].tolist() == [58, 0]
    assert found.incomplete["missing"].tolist() == [2, 60]
    assert list(found.incomplete.index) == [COARSE.index[1], COARSE.index[3]]
    assert (len(found.differing), found.compared) == (0, 8)
    assert found.describe() == "2 1h bars lack 1m bars, the first at 2024-01-01 01:00 UTC (2 of 60)"


def test_detail_outside_all_coarse_bars_is_counted() -> None:
    found = contradictions(COARSE.drop(COARSE.index[4]), DETAIL)
    assert (found.uncovered, found.compared, found.is_empty) == (60, 9, True)


def test_lengths_must_fit() -> None:
    with pytest.raises(UsageError, match="1h bars do not consist of 7m bars"):
        contradictions(COARSE, made_bars(20, "7m"))
    with pytest.raises(UsageError, match="1h bars do not consist of 1h bars"):
        contradictions(COARSE, COARSE)
    with pytest.raises(UsageError, match="give coarse_ns and detail_ns"):
        contradictions(COARSE[:1], DETAIL)
    assert contradictions(COARSE[:1], DETAIL[:0], coarse_ns=HOUR, detail_ns=MINUTE).incomplete["missing"].tolist() == [
        60
    ]


def slow(coarse: pd.DataFrame, detail: pd.DataFrame, tick: float) -> tuple[set[tuple[int, str]], dict[int, int]]:
    """The obvious twin: bar by bar."""
    differing, missing = set(), {}
    for start in times_of(coarse):
        inside = detail[(times_of(detail) >= start) & (times_of(detail) < start + HOUR)]
        if len(inside) < 12:
            missing[int(start)] = 12 - len(inside)
            continue
        bar = coarse.iloc[int(np.flatnonzero(times_of(coarse) == start)[0])]
        made = {
            "open": inside["open"].iloc[0],
            "high": inside["high"].max(),
            "low": inside["low"].min(),
            "close": inside["close"].iloc[-1],
            "volume": inside["volume"].sum(),
        }
        for name, value in made.items():
            if abs(value - bar[name]) > (tick if name != "volume" else 0.0) + 1e-9 * max(abs(value), abs(bar[name])):
                differing.add((int(start), name))
    return differing, missing


@given(
    gone=st.sets(st.integers(0, 119), max_size=6),
    no_coarse=st.sets(st.integers(0, 9), max_size=3),
    changes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.sampled_from([-0.5, 0.1, 0.3])), max_size=5),
)
def test_the_slow_twin_finds_the_same(
    gone: set[int], no_coarse: set[int], changes: list[tuple[int, int, float]]
) -> None:
    whole = made_bars(120, "5m")
    coarse = resample_bars(whole, 5 * MINUTE, HOUR)
    for row, column, change in changes:
        coarse.iloc[row, column] += change
    coarse = coarse.drop(coarse.index[sorted(no_coarse)])
    detail = whole.drop(whole.index[sorted(gone)])
    found = contradictions(coarse, detail, coarse_ns=HOUR, detail_ns=5 * MINUTE, tick=0.2)
    told = set(zip(times_of(found.differing).tolist(), found.differing["field"], strict=True))
    missing = dict(zip(times_of(found.incomplete).tolist(), found.incomplete["missing"], strict=True))
    assert (told, missing) == slow(coarse, detail, 0.2)


def test_recorded_minutes_agree_with_recorded_hours(shared_data: Path) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        frames = [
            as_bars(pd.read_parquet(shared_data / folder / f"{symbol}.parquet"), symbol)
            for folder in ("ohlcv_1h", "ohlcv_1m")
        ]
        first, last = times_of(frames[1])[[0, -1]]
        inside = (times_of(frames[0]) >= first) & (times_of(frames[0]) <= last - HOUR)
        found = contradictions(frames[0][inside], frames[1], tick=0.1, lot=0.001)
        assert found.is_empty, found.describe()
        assert found.compared > 1000
