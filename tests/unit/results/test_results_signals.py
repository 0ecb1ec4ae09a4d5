"""The newest signals of a run: kept with it, and held against another source of the same bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.core.records import Records
from qtsim.results.run_folder import load_run, read_manifest, read_signals, save_run
from qtsim.results.signals import EMPTY_SIGNALS, compare_signals, newest_signals
from qtsim.signals.table import empty_rows
from tests.unit.results.made_run import made_result

MINUTE = 60_000_000_000


def rows_of(count: int, first: int = 0) -> Records:
    """Signals of minutes, longs on even ones, with tags on some."""
    rows = empty_rows(count)
    rows["ts_close"] = (first + 1 + np.arange(count)) * MINUTE
    rows["long"] = (first + np.arange(count)) % 2 == 0
    rows["tag"] = np.where(rows["long"] == 1, 0, -1)
    rows["close"] = 100.0 + first + np.arange(count)
    return rows


def test_the_last_bars_are_kept_with_their_tags_as_text() -> None:
    frame = newest_signals({"BTCUSDT": rows_of(8), "ETHUSDT": rows_of(3)}, ["up"], count=5)
    assert frame["symbol"].tolist() == ["BTCUSDT"] * 5 + ["ETHUSDT"] * 3
    assert frame["tag"].tolist()[:5] == ["", "up", "", "up", ""]
    assert frame["close"].tolist()[:5] == [103.0, 104.0, 105.0, 106.0, 107.0]


def test_only_bars_that_both_have_are_compared_and_nothing_is_equal_to_nothing() -> None:
    mine = newest_signals({"BTCUSDT": rows_of(8), "ETHUSDT": rows_of(8)}, ["up"])
    theirs = newest_signals({"BTCUSDT": rows_of(8, first=5)}, ["up"])
    assert compare_signals(mine, theirs) == compare_signals(theirs, mine)
    found = compare_signals(mine, theirs)
    assert (found.bars, found.differ, found.first) == (3, 0, "")
    assert compare_signals(mine, EMPTY_SIGNALS).bars == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("short", 1, "BTCUSDT at 1970-01-01 00:04: short is 1, was 0"),
        ("confidence", 0.5, "BTCUSDT at 1970-01-01 00:04: confidence is 0.5, was nan"),
        ("close", np.nextafter(103.0, 0.0), "close is 102.99999999999999, was 103.0"),
        ("tag", 1, "tag is 'down', was ''"),
    ],
)
def test_the_first_difference_is_named(name: str, value: float, words: str) -> None:
    other = rows_of(8)
    other[name][[3, 6]] = value
    found = compare_signals(
        newest_signals({"BTCUSDT": other}, ["up", "down"]), newest_signals({"BTCUSDT": rows_of(8)}, ["up"])
    )
    assert (found.bars, found.differ) == (8, 2)
    assert words in found.first


def test_a_run_folder_keeps_them(tmp_path: Path) -> None:
    result = made_result()
    result.signals = newest_signals({"BTCUSDT": rows_of(4)}, ["up"])
    folder = save_run(result, tmp_path)
    pd.testing.assert_frame_equal(load_run(folder).signals, result.signals)
    manifest = read_manifest(folder)
    found = read_signals(folder, manifest)
    assert found is not None
    assert compare_signals(found, result.signals).differ == 0
    del manifest["files"]["signals.parquet"]
    assert read_signals(folder, manifest) is None
