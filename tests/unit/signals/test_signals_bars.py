"""What is visible at each bar's close."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

import qtsim as qt
from qtsim.data.timeframes import timeframe_ns
from qtsim.errors import DataError, StrategyError
from qtsim.signals.bars import Sources, last_known
from tests.unit.signals.made_bars import HOUR, START, made_bars, made_funding, without


def view(frame: pd.DataFrame, **others: object) -> qt.Bars:
    return qt.Bars.from_frame(frame, "BTCUSDT", "1h", **others)


def naive_on(frame: pd.DataFrame, timeframe: str, step: int = HOUR) -> np.ndarray:
    """Close of the last whole coarse bar that ended at or before each bar's close, one bar after the other."""
    length = timeframe_ns(timeframe)
    opens = frame.index.as_unit("ns").asi8
    result = np.full(len(frame), np.nan)
    for row, opened in enumerate(opens):
        end = (opened + step) // length * length
        while end > opens[0]:
            members = [k for k in range(len(opens)) if end - length <= opens[k] < end]
            if len(members) == length // step:
                result[row] = frame["close"].iloc[members[-1]]
                break
            end -= length
    return result


def test_arrays_are_the_frame_and_read_only() -> None:
    frame = made_bars(50)
    bars = view(frame)
    assert len(bars) == 50
    assert bars.symbol == "BTCUSDT"
    assert bars.timeframe == "1h"
    assert bars.time.dtype == np.dtype("M8[ns]")
    assert bars.time[0] == np.datetime64("2024-01-01T00:00")
    for name in ("open", "high", "low", "close", "volume"):
        array = getattr(bars, name)
        assert np.array_equal(array, frame[name].to_numpy())
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    with pytest.raises(AttributeError):
        bars.close = 1


def test_frame_is_a_copy() -> None:
    frame = made_bars(20)
    bars = view(frame)
    copy = bars.frame
    pd.testing.assert_frame_equal(copy, frame)
    copy.iloc[0, 0] = -1.0
    assert bars.open[0] == frame["open"].iloc[0]
    assert frame["open"].iloc[0] != -1.0


def test_the_users_frame_may_change_afterwards() -> None:
    frame = made_bars(20)
    bars = view(frame)
    before = bars.close.copy()
    frame.loc[:, "close"] = 1.0
    assert np.array_equal(bars.close, before)


def test_an_unfinished_four_hour_bar_never_shows() -> None:
    bars = view(made_bars(12))
    seen = bars.on("4h", lambda b: b.close)
    assert np.isnan(seen[:3]).all()
    assert (seen[3:7] == bars.close[3]).all()
    assert (seen[7:11] == bars.close[7]).all()
    assert seen[11] == bars.close[11]


def test_a_tuple_of_results_and_their_types() -> None:
    bars = view(made_bars(9))
    up, count, value = bars.on("4h", lambda b: (b.close > 0, np.arange(len(b)), b.close))
    assert up.dtype == np.bool_
    assert up.tolist() == [False] * 3 + [True] * 6
    assert np.array_equal(count[3:], [0, 0, 0, 0, 1, 1])
    assert np.isnan(value[0])
    up[0] = True  # results belong to the strategy


def test_pandas_results_are_taken() -> None:
    bars = view(made_bars(9))
    assert np.array_equal(bars.on("4h", lambda b: b.frame["close"]), bars.on("4h", lambda b: b.close), equal_nan=True)


@given(
    n_bars=st.integers(1, 60),
    offset=st.integers(0, 30),
    timeframe=st.sampled_from(["1h", "2h", "4h", "6h", "1d"]),
    gaps=st.lists(st.integers(0, 60), max_size=6),
)
def test_on_is_the_slow_twin(n_bars: int, offset: int, timeframe: str, gaps: list[int]) -> None:
    frame = without(made_bars(n_bars, start=START + offset * HOUR), gaps)
    if not len(frame):
        return
    seen = view(frame).on(timeframe, lambda b: b.close)
    assert np.array_equal(seen, naive_on(frame, timeframe), equal_nan=True)


@given(cut=st.integers(1, 120), timeframe=st.sampled_from(["4h", "1d"]), gaps=st.lists(st.integers(0, 119), max_size=8))
def test_the_past_of_an_alignment_does_not_change(cut: int, timeframe: str, gaps: list[int]) -> None:
    frame = without(made_bars(120), gaps)
    other = made_bars(200, seed=3, start=START - 20 * HOUR)
    uses = qt.uses(symbols=["ETHUSDT"])

    def ask(bars: qt.Bars) -> tuple[np.ndarray, ...]:
        return (
            bars.on(timeframe, lambda b: talib.EMA(b.close, 3)),
            bars.of("ETHUSDT", lambda b: talib.EMA(b.close, 3)),
            bars.of("ETHUSDT", lambda b: b.on(timeframe, lambda c: c.close)),
            bars.on(timeframe, lambda b: b.of("ETHUSDT", lambda c: c.close)),
        )

    whole = ask(view(frame, uses=uses, other_frames={"ETHUSDT": other}))
    part = ask(view(frame.iloc[:cut], uses=uses, other_frames={"ETHUSDT": other}))
    for first, second in zip(whole, part, strict=True):
        assert np.array_equal(first[: len(second)], second, equal_nan=True)


def test_another_symbol_is_seen_as_of_each_close() -> None:
    frame = made_bars(10)
    other = without(made_bars(8, seed=1, start=START + 2 * HOUR), [3])
    bars = view(frame, uses=qt.uses(symbols=["ETHUSDT"]), other_frames={"ETHUSDT": other})
    seen = bars.of("ETH/USDT", lambda b: b.close)
    close = other["close"].to_numpy()
    expected = [np.nan, np.nan, close[0], close[1], close[2], close[2], *close[3:7]]
    assert np.array_equal(seen, expected, equal_nan=True)
    nested = bars.of("ETHUSDT", lambda b: b.on("4h", lambda c: c.close))
    assert np.isnan(nested).all()  # a bar of its 04:00 is missing, and 08:00 is not over


def test_nested_calls_keep_the_time_of_the_bar() -> None:
    frame, other = made_bars(48), made_bars(48, seed=1)
    bars = view(frame, uses=qt.uses(symbols=["ETHUSDT"]), other_frames={"ETHUSDT": other})
    inner = bars.of("ETHUSDT", lambda b: b.on("4h", lambda c: c.close))
    outer = bars.on("4h", lambda b: b.of("ETHUSDT", lambda c: c.close))
    direct = view(other).on("4h", lambda b: b.close)
    assert np.array_equal(inner, direct, equal_nan=True)
    assert np.array_equal(outer, direct, equal_nan=True)


def test_no_series_goes_beyond_the_last_close() -> None:
    other = made_bars(100, seed=1)
    bars = view(made_bars(10), uses=qt.uses(symbols=["ETHUSDT"]), other_frames={"ETHUSDT": other})
    lengths: list[int] = []
    bars.of("ETHUSDT", lambda b: lengths.append(len(b)) or b.close)
    bars.on("4h", lambda b: lengths.append(len(b)) or b.close)
    assert lengths == [10, 2]


def test_a_column_is_known_from_its_time_on() -> None:
    bars = view(made_bars(20), uses=qt.uses(columns=["funding_rate", "mood"]), funding=made_funding(3))
    rate = made_funding(3)["funding_rate"].to_numpy()
    seen = bars.column("funding_rate")
    assert (seen[:7] == rate[0]).all()  # paid at 00:00, before the first close
    assert seen[7] == rate[1]  # paid at 08:00, the close of the 07:00 bar
    assert seen[6] == rate[0]
    assert seen[15] == rate[2]


def test_mark_close_is_known_at_the_mark_bars_close() -> None:
    mark = made_bars(20, seed=5).drop(columns="volume")
    bars = view(made_bars(20), uses=qt.uses(columns=["mark_close"]), mark=mark)
    assert np.array_equal(bars.column("mark_close"), mark["close"].to_numpy())


def test_an_imported_column_of_a_symbol_goes_before_the_one_for_all() -> None:
    index = made_bars(3).index
    everyone, own = pd.Series([1.0, 2.0, 3.0], index), pd.Series([7.0, 8.0, 9.0], index)
    uses = qt.uses(symbols=["ETHUSDT"], columns=["mood"])
    columns = {"mood": {None: everyone, "BTCUSDT": own}}
    bars = view(made_bars(4), uses=uses, columns=columns, other_frames={"ETHUSDT": made_bars(4, 1)})
    assert bars.column("mood").tolist() == [8.0, 9.0, 9.0, 9.0]
    assert bars.of("ETHUSDT", lambda b: b.column("mood")).tolist() == [2.0, 3.0, 3.0, 3.0]
    assert bars.on("2h", lambda b: b.column("mood"))[1:].tolist() == [9.0, 9.0, 9.0]
    assert view(made_bars(4), uses=uses, columns={"mood": everyone}).column("mood")[0] == 2.0


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda b: b.of("SOLUSDT", lambda c: c.close), 'uses = qt.uses(symbols=["ETHUSDT", "SOLUSDT"])'),
        (lambda b: b.column("mood"), 'uses = qt.uses(columns=["funding_rate", "mood"])'),
        (lambda b: b.column("funding_rate"), "get its funding history"),
        (lambda b: b.of("ETHUSDT", lambda c: c.close), "there are no bars of ETHUSDT"),
        (lambda b: b.on("15m", lambda c: c.close), "15m bars of BTCUSDT cannot be made of its 1h bars"),
        (lambda b: b.on("90m", lambda c: c.close), "cannot be made"),
        (lambda b: b.on("often", lambda c: c.close), "'often' is not understood"),
        (lambda b: b.on("4h", lambda c: c.close[1:]), "returned 4 values for 5 bars"),
        (lambda b: b.on("4h", lambda c: (c.close, c.close[1:])), "returned 4 values for 5 bars"),
        (lambda b: b.on("4h", lambda c: None), "returned no value"),
        (lambda b: b.on("4h", lambda c: 1.0), "returned no plain array"),
        (lambda b: b.on("4h", lambda c: c.frame), "returned no plain array"),
    ],
)
def test_what_cannot_be_had_says_what_would_help(ask: object, words: str) -> None:
    bars = view(made_bars(20), uses=qt.uses(symbols=["ETHUSDT"], columns=["funding_rate"]))
    with pytest.raises(StrategyError) as caught:
        ask(bars)
    assert words in str(caught.value)


def test_the_own_symbol_needs_no_naming() -> None:
    bars = view(made_bars(8))
    assert np.array_equal(bars.of("BTCUSDT", lambda b: b.close), bars.close)


def test_a_coarser_history_of_its_own_is_preferred() -> None:
    daily = made_bars(100, seed=2, start=START - 90 * 24 * HOUR, step=24 * HOUR)
    bars = view(made_bars(30), other_frames={("BTCUSDT", "1d"): daily})
    average = bars.on("1d", lambda b: talib.SMA(b.close, 50))
    assert not np.isnan(average).any()


def test_finer_bars_may_be_given() -> None:
    minutes = made_bars(240, step=HOUR // 60)
    bars = view(made_bars(4), other_frames={("BTCUSDT", "1m"): minutes})
    seen = bars.on("15m", lambda b: b.close)
    assert seen.tolist() == minutes["close"].to_numpy()[[59, 119, 179, 239]].tolist()


def test_bars_out_of_order_are_refused() -> None:
    frame = made_bars(5).iloc[[0, 2, 1, 3, 4]]
    with pytest.raises(DataError, match="row 2"):
        view(frame)
    column = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0], frame.index)
    with pytest.raises(DataError, match="column mood: row 2"):
        Sources({"BTCUSDT": made_bars(5)}, "1h", column_frames={"mood": column})


@given(
    known=st.lists(st.integers(0, 30), max_size=12).map(sorted),
    at=st.lists(st.integers(-3, 35), max_size=12).map(sorted),
)
def test_last_known_is_the_slow_twin(known: list[int], at: list[int]) -> None:
    values = np.arange(len(known), dtype=np.float64)
    seen = last_known(np.array(known, np.int64), values, np.array(at, np.int64))
    for instant, value in zip(at, seen, strict=True):
        before = [row for row, time in enumerate(known) if time <= instant]
        assert value == before[-1] if before else np.isnan(value)
