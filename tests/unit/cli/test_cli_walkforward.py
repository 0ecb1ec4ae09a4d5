"""qtsim walkforward: each test is the backtest of what its search recommended, on data that the search has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from qtsim.data.store import Store
from tests.unit.cli.made_workspace import Run, assert_refused
from tests.unit.cli.test_cli_sweep import random_walk

ASKED = (
    "walkforward -s sma_cross -p BTCUSDT -i 1h --set costs.funding.source=off --no-check --train 20d --test 10d "
    "exit.base_tp=1%,2%,3% strategy.fast=5,10"
)


@pytest.fixture
def walking(empty: Run, tmp_path: Path) -> Run:
    """A workspace with 60 days of a random walk."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", random_walk(60 * 24), source="made for the test")
    return empty


def test_each_test_is_the_backtest_of_its_search(walking: Run) -> None:
    said = walking(*ASKED.split())
    assert said.code == 0, said.said
    assert "4 of 4 windows" in said.out
    values = json.loads(walking(*ASKED.split(), "--json").out)
    assert len(values["windows"]) == 4
    assert values["trials"] == 24
    first = values["windows"][0]
    chosen = f"--set exit.base_tp={first['exit.base_tp']} --set strategy.fast={first['strategy.fast']}"
    alone = walking(
        *[
            "backtest",
            "-s",
            "sma_cross",
            "-p",
            "BTCUSDT",
            "-i",
            "1h",
            "--set",
            "costs.funding.source=off",
            "--no-check",
            "--no-save",
            "--fast",
        ],
        *["--timerange", "20240121-20240131", "--json"],
        *chosen.split(),
    )
    assert json.loads(alone.out)["metrics"]["Total Return"] == pytest.approx(first["Total Return"], rel=1e-12)
    growth = 1.0
    for window in values["windows"]:
        growth *= 1.0 + window["Total Return"]
    assert values["metrics"]["Total Return"] == pytest.approx(growth - 1.0, rel=1e-9)


def test_what_comes_later_changes_no_earlier_window(walking: Run, tmp_path: Path) -> None:
    before = json.loads(walking(*ASKED.split(), "--json").out)["windows"]
    bars = random_walk(60 * 24)
    late = bars.index >= pd.Timestamp("2024-02-10", tz="UTC")
    bars.loc[late, ["open", "high", "low", "close"]] *= 2.0
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", bars, source="made for the test")
    after = json.loads(walking(*ASKED.split(), "--json").out)["windows"]
    assert after[:2] == before[:2]
    assert after[3] != before[3]


def test_a_walkforward_that_cannot_be_is_refused(walking: Run) -> None:
    assert_refused(walking(*ASKED.replace("20d", "100d").split()), 2, "60 days", "--train")
    assert_refused(walking(*ASKED.replace("10d", "1h").split()), 2, "--test", "whole days")
    assert_refused(walking(*ASKED.replace("10d", "soon").split()), 2, "soon")
