from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.frames import make_frame, times_of
from qtsim.data.resample import divides, resample_bars
from qtsim.data.timeframes import DAY, HOUR, MINUTE, WEEK, parse_time
from qtsim.errors import UsageError
from tests.unit.data.made_bars import START, made_bars


def resample_slowly(frame: pd.DataFrame, fine: int, coarse: int) -> pd.DataFrame:
    """The rule, bar by bar: every finer bar must be there."""
    monday = parse_time("2024-01-01")
    rows: dict[int, dict[int, Any]] = {}
    for ts, row in zip(times_of(frame).tolist(), frame.to_dict("records"), strict=True):
        start = monday + (ts - monday) // coarse * coarse if coarse == WEEK else ts // coarse * coarse
        rows.setdefault(start, {})[ts] = row
    times: list[int] = []
    out: list[list[float]] = []
    for start, parts in rows.items():
        wanted = list(range(start, start + coarse, fine))
        if list(parts) != wanted:
            continue
        bars = list(parts.values())
        times.append(start)
        values = [bars[0]["open"], max(b["high"] for b in bars), min(b["low"] for b in bars), bars[-1]["close"]]
        if "volume" in frame.columns:
            values.append(sum(b["volume"] for b in bars))
        out.append(values)
    table = np.array(out, dtype=np.float64).reshape(len(times), len(frame.columns))
    return make_frame(np.array(times, dtype=np.int64), {name: table[:, i] for i, name in enumerate(frame.columns)})


@given(
    n=st.integers(1, 300),
    first=st.integers(0, 2000),
    missing=st.sets(st.integers(0, 299), max_size=6),
    pair=st.sampled_from(
        [(MINUTE, 15 * MINUTE), (MINUTE, HOUR), (HOUR, 4 * HOUR), (HOUR, DAY), (4 * HOUR, WEEK), (HOUR, WEEK)]
    ),
    mark=st.booleans(),
)
def test_fast_and_slow_agree(n: int, first: int, missing: set[int], pair: tuple[int, int], mark: bool) -> None:
    fine, coarse = pair
    name = {MINUTE: "1m", HOUR: "1h", 4 * HOUR: "4h"}[fine]
    frame = made_bars(n, name, start=START + first * fine, seed=n, mark=mark)
    frame = frame[[i not in missing for i in range(n)]]
    pd.testing.assert_frame_equal(resample_bars(frame, fine, coarse), resample_slowly(frame, fine, coarse), rtol=1e-12)


@given(cut=st.integers(1, 199))
def test_what_comes_later_never_changes_a_bar(cut: int) -> None:
    frame = made_bars(200)
    whole = resample_bars(frame, HOUR, 4 * HOUR)
    early = resample_bars(frame.iloc[:cut], HOUR, 4 * HOUR)
    pd.testing.assert_frame_equal(early, whole.iloc[: len(early)])
    # a bar is there as soon as it is over
    assert len(early) == cut // 4


def test_weeks_begin_on_mondays() -> None:
    weeks = resample_bars(made_bars(30, "1d", start=parse_time("2024-01-03")), DAY, WEEK)
    assert [stamp.day_name() for stamp in weeks.index] == ["Monday"] * len(weeks)
    assert times_of(weeks)[0] == parse_time("2024-01-08")


@pytest.mark.parametrize(
    ("fine", "coarse", "answer"),
    [
        (MINUTE, HOUR, True),
        (HOUR, HOUR, True),
        (HOUR, MINUTE, False),
        (4 * HOUR, 6 * HOUR, False),
        (2 * DAY, WEEK, False),
        (DAY, WEEK, True),
    ],
)
def test_divides(fine: int, coarse: int, answer: bool) -> None:
    assert divides(fine, coarse) is answer


def test_what_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="6h bars cannot be made of 4h bars"):
        resample_bars(made_bars(10, "4h"), 4 * HOUR, 6 * HOUR)


def test_too_few_rows_make_no_bar() -> None:
    assert len(resample_bars(made_bars(59, "1m"), MINUTE, HOUR)) == 0
