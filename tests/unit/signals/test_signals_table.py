"""What strategies answer: flags, numbers, tags, tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qtsim as qt
from qtsim.errors import StrategyError
from qtsim.signals.compute import compute_signals
from qtsim.signals.loading import load_strategy
from qtsim.signals.table import SignalTable, TagTable
from tests.unit.signals.made_bars import made_bars

NAN = float("nan")


def rows_of(signals: qt.Signals, n_bars: int = 4) -> np.ndarray:
    return signals.to_rows(n_bars, TagTable())[0]


@pytest.mark.parametrize(
    ("long", "short", "kept", "both"),
    [
        ([0, 1, 0, 1], [0, 0, 1, 1], [(0, 0), (1, 0), (0, 1), (0, 0)], 1),
        ([NAN, 1.0, NAN, 0.0], [1.0, NAN, 0.0, 0.0], [(0, 1), (1, 0), (0, 0), (0, 0)], 0),
        ([True, True, None, False], None, [(1, 0), (1, 0), (0, 0), (0, 0)], 0),
    ],
)
def test_truth_table_of_entries(long: object, short: object, kept: list[tuple[int, int]], both: int) -> None:
    rows, both_sides = qt.Signals(np.array(long), None if short is None else np.array(short)).to_rows(4, TagTable())
    assert [(int(row["long"]), int(row["short"])) for row in rows] == kept
    assert both_sides == both


def test_both_sides_leave_the_exits() -> None:
    yes = np.array([True, False])
    rows, both_sides = qt.Signals(yes, yes, exit_long=yes).to_rows(2, TagTable())
    assert both_sides == 1
    assert rows["exit_long"].tolist() == [1, 0]
    assert rows["long"].tolist() == [0, 0]


def test_what_is_not_given_is_nothing() -> None:
    rows = rows_of(qt.Signals(np.array([1, 0, 0, 0])))
    assert rows["tag"].tolist() == [-1] * 4
    for name in ("confidence", "tp", "sl", "trail", "divergence", "funding_delta"):
        assert np.isnan(rows[name]).all()
    assert not qt.Signals(np.array([1])).states_confidence
    assert not qt.Signals(np.array([1]), confidence=np.array([NAN])).states_confidence


def test_side_is_shorthand_for_the_first_two() -> None:
    rows = rows_of(qt.Signals(side=np.array([1, 0, -1, NAN])))
    assert rows["long"].tolist() == [1, 0, 0, 0]
    assert rows["short"].tolist() == [0, 0, 1, 0]
    with pytest.raises(StrategyError, match="side is shorthand"):
        qt.Signals(np.array([1]), side=np.array([1]))


def test_target_position() -> None:
    rows = rows_of(qt.Signals.from_target(np.array([1, 0, -1, NAN]), tag="t"))
    assert rows["long"].tolist() == [1, 0, 0, 0]
    assert rows["short"].tolist() == [0, 0, 1, 0]
    assert rows["exit_long"].tolist() == [0, 1, 1, 0]
    assert rows["exit_short"].tolist() == [1, 1, 0, 0]
    assert rows["tag"].tolist() == [0, 0, 0, -1]


def test_scalars_hold_for_every_bar() -> None:
    rows = rows_of(qt.Signals(np.array([1, 0, 0, 1]), confidence=0.7, tp=0.02, tag="dip"))
    assert (rows["confidence"] == 0.7).all()
    assert (rows["tp"] == 0.02).all()
    assert rows["tag"].tolist() == [0, -1, -1, 0]


def test_tags_are_one_table() -> None:
    tags = TagTable()
    first, _ = qt.Signals(np.array([1, 1, 1]), tag=np.array(["a", None, "b"], object)).to_rows(3, tags)
    second, _ = qt.Signals(np.array([1, 0, 1]), tag=["b", "c", "d"]).to_rows(3, tags)
    assert first["tag"].tolist() == [0, -1, 1]
    assert second["tag"].tolist() == [1, -1, 2]
    assert tags.texts == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"long": [0.0, 0.3]}, ["long is 0.3 at row 1", "true, false, 0, 1 or NaN"]),
        ({"long": [0, 2]}, ["long is 2 at row 1"]),
        ({"long": ["yes", "no"]}, ["long is", "yes"]),
        ({"long": [[1], [0]]}, ["shape (2, 1)"]),
        ({"long": {"a": 1}}, ["long is a dict"]),
        ({"long": lambda: 1}, ["long is a function"]),
        ({"side": [1, -2]}, ["side is -2 at row 1"]),
        ({"side": 1}, ["side is one number"]),
        ({"long": [1, 0], "short": [1, 0, 0]}, ["different lengths", "long 2", "short 3"]),
        ({"long": [1, 0], "tag": ["a"]}, ["different lengths", "tag 1"]),
        ({"long": [1, 0], "confidence": [0.5, 1.2]}, ["confidence is 1.2 at row 1", "between 0 and 1"]),
        ({"long": [1, 0], "confidence": -0.1}, ["confidence is -0.1", "between 0 and 1"]),
        ({"long": [1, 0], "tp": [0.02, 2.0]}, ["tp is 2 at row 1", "2 % is 0.02"]),
        ({"long": [1, 0], "sl": [0.0, 0.01]}, ["sl is 0 at row 0", "2 % is 0.02"]),
        ({"long": [1, 0], "trail": [-0.02, 0.01]}, ["trail is -0.02 at row 0"]),
        ({"long": [1, 0], "divergence": [np.inf, 0]}, ["divergence is inf at row 0", "finite"]),
        ({"long": [1, 0], "funding_delta": ["a", "b"]}, ["funding_delta", "number"]),
        ({"long": [1, 0], "tag": [1, 2]}, ["tag is 1 at row 0", "text"]),
        ({"long": [1, 0], "tag": 7}, ["tag is 7"]),
        ({"long": [1, 0], "confidence": np.array([object(), 1])}, ["confidence is", "row 0"]),
    ],
)
def test_a_wrong_value_names_its_row(given: dict[str, object], words: list[str]) -> None:
    with pytest.raises(StrategyError) as caught:
        qt.Signals(**given)
    for word in words:
        assert word in str(caught.value)


def test_rows_and_bars_must_agree() -> None:
    with pytest.raises(StrategyError, match="3 rows for 4 bars"):
        qt.Signals(np.zeros(3, bool)).to_rows(4, TagTable())


def test_pandas_is_taken_with_its_own_missing_values() -> None:
    flags = pd.Series([True, None, False, pd.NA], dtype="boolean")
    signals = qt.Signals(flags, confidence=pd.Series([0.5, None, 0.7, 0.8]), tag=pd.Series(["a", None, NAN, "b"]))
    rows = rows_of(signals)
    assert rows["long"].tolist() == [1, 0, 0, 0]
    assert np.isnan(rows["confidence"][1])
    assert rows["tag"].tolist() == [0, -1, -1, -1]
    assert signals.long.tolist() == [True, False, False, False]
    assert signals.exit_short.tolist() == [False] * 4


def test_freqtrades_columns() -> None:
    frame = made_bars(4)
    frame["enter_long"] = [1, NAN, 0, 1]
    frame["enter_short"] = [0, 1, 0, 0]
    frame["exit_long"] = [0, 0, 1, 0]
    frame["enter_tag"] = ["ema", None, "", "rsi"]
    frame["rsi"] = 50.0
    tags = TagTable()
    rows, _ = qt.Signals.from_frame(frame).to_rows(4, tags)
    assert rows["long"].tolist() == [1, 0, 0, 1]
    assert rows["short"].tolist() == [0, 1, 0, 0]
    assert rows["exit_long"].tolist() == [0, 0, 1, 0]
    assert [tags.texts[tag] if tag >= 0 else None for tag in rows["tag"]] == ["ema", None, None, "rsi"]


def test_a_frame_without_flags_says_what_it_has() -> None:
    with pytest.raises(StrategyError, match=r"no column long.*its columns: buy, close"):
        qt.Signals.from_frame(pd.DataFrame({"buy": [1], "close": [2.0]}))
    with pytest.raises(StrategyError, match="long twice"):
        qt.Signals.from_frame(pd.DataFrame({"long": [1], "enter_long": [1]}))


values = st.lists(st.one_of(st.floats(-3, 3), st.just(NAN)), min_size=1, max_size=30)


@given(first=values, second=st.one_of(values, st.floats(-3, 3)))
def test_crossings_are_the_slow_twin(first: list[float], second: list[float] | float) -> None:
    other = second if isinstance(second, list) else [second] * len(first)
    n = min(len(first), len(other))
    first, other = first[:n], other[:n]
    given_other = other if isinstance(second, list) else second
    above, below = qt.crossed_above(first, given_other), qt.crossed_below(np.array(first), given_other)
    for row in range(n):
        pairs = (first[row - 1], other[row - 1], first[row], other[row])
        known = row > 0 and not np.isnan(pairs).any()
        assert above[row] == (known and pairs[0] <= pairs[1] and pairs[2] > pairs[3])
        assert below[row] == (known and pairs[0] >= pairs[1] and pairs[2] < pairs[3])
    assert np.array_equal(qt.crossed_above(given_other, first), qt.crossed_below(first, given_other))


def test_crossings_of_what_cannot_cross() -> None:
    with pytest.raises(StrategyError, match="3 and 2 values"):
        qt.crossed_above([1, 2, 3], [1, 2])
    with pytest.raises(StrategyError, match="a series"):
        qt.crossed_above(1.0, 2.0)
    with pytest.raises(StrategyError, match="compare numbers"):
        qt.crossed_below(["a"], 1)


# Ready tables ---------------------------------------------------------------------------------------------------------


def table(times: list[str], **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"time": times, **columns})


def test_a_table_is_matched_by_time() -> None:
    made = table(["2024-01-01 05:00", "2024-01-01 02:00"], long=[1, 0], short=[0, 1], sl=[0.01, NAN], tag=["a", "b"])
    out = compute_signals(SignalTable(made), {"BTCUSDT": made_bars(8)}, "1h")["BTCUSDT"]
    assert out.rows["long"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert out.rows["short"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert out.rows["sl"][5] == 0.01
    assert np.isnan(out.rows["sl"]).sum() == 7
    assert [out.tags[out.rows["tag"][row]] for row in (2, 5)] == ["b", "a"]


def test_a_table_of_several_symbols() -> None:
    made = table(["2024-01-01 01:00", "2024-01-01 02:00"], symbol=["BTC/USDT", "ETHUSDT"], enter_long=[1, 1])
    frames = {"BTCUSDT": made_bars(4), "ETHUSDT": made_bars(4, 1)}
    out = compute_signals(SignalTable(made), frames, "1h")
    assert out["BTCUSDT"].rows["long"].tolist() == [0, 1, 0, 0]
    assert out["ETHUSDT"].rows["long"].tolist() == [0, 0, 1, 0]
    with pytest.raises(StrategyError, match="no rows of SOLUSDT; it has BTCUSDT, ETHUSDT"):
        compute_signals(SignalTable(made), {"SOLUSDT": made_bars(4)}, "1h")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ready{suffix}"
    made = pd.DataFrame({"long": [True, False]}, index=pd.DatetimeIndex(["2024-01-01 01:00", "2024-01-01 02:00"]))
    made.index.name = "date"
    if suffix == ".csv":
        made.to_csv(path)
    else:
        made.to_parquet(path)
    strategy = load_strategy(str(path))
    assert strategy.name == "ready"
    out = compute_signals(strategy, {"BTCUSDT": made_bars(4)}, "1h")["BTCUSDT"]
    assert out.rows["long"].tolist() == [0, 1, 0, 0]
    again = load_strategy(str(path))
    assert isinstance(again, SignalTable)
    assert isinstance(strategy, SignalTable)
    assert again.fingerprint() == strategy.fingerprint()


def test_rows_outside_the_bars_are_left_out() -> None:
    made = table(["2023-12-31 23:00", "2024-01-01 02:00", "2024-06-01"], long=[1, 1, 1])
    out = compute_signals(SignalTable(made), {"BTCUSDT": made_bars(4)}, "1h")["BTCUSDT"]
    assert out.rows["long"].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (table(["2024-01-01 02:30"], long=[1]), "the table's row at 2024-01-01 02:30 UTC matches no 1h bar"),
        (table(["2025-01-01"], long=[1]), "no row of the table lies within the bars"),
        (table(["2024-01-01 01:00"] * 2, long=[1, 0]), "two rows at 2024-01-01 01:00 UTC"),
        (table(["2024-01-01 01:00"], long=[1], tp=[2.0]), "tp is 2 at row 0; a ratio"),
        (table(["2024-01-01 01:00"], close=[1.0]), "no column long"),
        (pd.DataFrame({"long": [1]}), "time"),
        (table([], long=[]), "no rows"),
        (table(["2024-01-01 01:00"], long=[1], symbol=["??"]), "'??'"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(made: pd.DataFrame, words: str) -> None:
    with pytest.raises(StrategyError) as caught:
        compute_signals(SignalTable(made), {"BTCUSDT": made_bars(4)}, "1h")
    assert words in str(caught.value)
    assert "table" in str(caught.value)


def test_flags_of_a_file_with_a_wrong_one_in_it(tmp_path: Path) -> None:
    path = tmp_path / "flags.csv"
    times = [f"2024-01-01 0{hour}:00" for hour in range(6)]
    good = ["True", "False", "true", "false", "1", "0"]
    path.write_text("time,long\n" + "".join(f"{time},{flag}\n" for time, flag in zip(times, good, strict=True)))
    rows = compute_signals(load_strategy(str(path)), {"BTCUSDT": made_bars(6)}, "1h")["BTCUSDT"].rows
    assert rows["long"].tolist() == [1, 0, 1, 0, 1, 0]
    wrong = [*good[:3], "maybe", *good[4:]]
    lines = [f"{time},{flag}\n" for time, flag in zip(times, wrong, strict=True)]
    path.write_text("time,long\n" + "".join(lines))
    with pytest.raises(StrategyError, match=r"long is 'maybe' at row 3; true, false.* \(2024-01-01 03:00 UTC\)"):
        load_strategy(str(path))
    path.write_text("time,long\n" + "".join(reversed(lines)))
    with pytest.raises(StrategyError, match=r"long is 'maybe' at row 2; .* \(2024-01-01 03:00 UTC\)"):
        load_strategy(str(path))


def test_a_damaged_table_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(StrategyError, match=r"broken.parquet cannot be read"):
        load_strategy(str(path))
    with pytest.raises(StrategyError, match="does not exist"):
        load_strategy(str(tmp_path / "absent.csv"))
