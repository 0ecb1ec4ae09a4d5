"""qtsim runs and qtsim report over runs and sweeps: found, filtered, noted, compared, removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qtsim.data.store import Store
from qtsim.research.experiments import open_experiments
from tests.unit.cli.made_workspace import Run, assert_refused
from tests.unit.cli.test_cli_sweep import random_walk

BACKTEST = "backtest -s sma_cross -p BTCUSDT -i 1h --set costs.funding.source=off --fast --no-check"
SWEEP = "sweep -s sma_cross -p BTCUSDT -i 1h --set costs.funding.source=off --no-check exit.base_tp=1%,2%"


@pytest.fixture
def filled(empty: Run, tmp_path: Path) -> Run:
    """A workspace with two runs and a sweep."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", random_walk(), source="made for the test")
    for more in ("", "--set exit.base_tp=3% --profile tight"):
        assert empty(*BACKTEST.split(), *more.split()).code == 0
    assert empty(*SWEEP.split()).code == 0
    return empty


def names(qtsim: Run) -> tuple[list[str], list[str]]:
    """Names of runs and of sweeps, the latest first."""
    values = json.loads(qtsim("runs", "list", "--json").out)
    return [run["run"] for run in values["runs"]], [sweep["sweep"] for sweep in values["sweeps"]]


def test_runs_and_sweeps_are_listed(filled: Run) -> None:
    runs, sweeps = names(filled)
    assert (len(runs), len(sweeps)) == (2, 1)
    said = filled("runs", "list").out
    for name in (*runs, *sweeps):
        assert name in said
    assert "base_tp" in said
    assert "NOISE" in said


@pytest.mark.parametrize(
    ("words", "runs", "sweeps"),
    [
        ("--profile tight", 1, 0),
        ("-s sma_cross", 2, 1),
        ("-s ema_cross", 0, 0),
        ("-p BTC/USDT", 2, 1),
        ("-p ETHUSDT", 0, 0),
        ("--timerange 20200101-20200201", 0, 0),
        ("--timerange 20200101-", 2, 1),
        ("--tag good", 1, 1),
        ("--tag bad", 0, 0),
    ],
)
def test_filters(filled: Run, words: str, runs: int, sweeps: int) -> None:
    listed_runs, listed_sweeps = names(filled)
    filled("runs", "tag", listed_runs[0], "good", "btc")
    filled("runs", "tag", listed_sweeps[0], "good")
    found = json.loads(filled("runs", "list", "--json", *words.split()).out)
    assert (len(found["runs"]), len(found["sweeps"])) == (runs, sweeps)


def test_notes_and_tags_are_set_shown_and_removed(filled: Run) -> None:
    run = names(filled)[0][0]
    assert "wider stop" in filled("runs", "note", run, "wider", "stop").out
    assert "btc, good" in filled("runs", "tag", run, "good", "btc").out
    shown = filled("runs", "show", run).out
    assert "wider stop" in shown
    assert "btc, good" in shown
    assert filled("runs", "tag", run, "good", "--remove").out.strip().endswith(": btc")
    assert "no note" in filled("runs", "note", run).out
    (listed,) = [one for one in json.loads(filled("runs", "list", "--json").out)["runs"] if one["run"] == run]
    assert (listed["note"], listed["tags"]) == ("", ["btc"])


def test_a_run_is_resampled_on_demand(filled: Run) -> None:
    said = filled("runs", "show", "last", "--bootstrap", "200").out
    assert "200 sequences of" in said
    assert "Max Drawdown" in said
    values = json.loads(filled("runs", "show", "last", "--bootstrap", "200", "--json").out)
    assert [one["what"] for one in values["resampled"]] == ["days", "trades"]
    assert_refused(filled("runs", "show", "last", "--bootstrap", "5"), 2, "100 sequences")


def test_runs_are_compared_with_the_settings_that_differ(filled: Run) -> None:
    runs, _ = names(filled)
    said = filled("runs", "compare", *runs).out
    assert "Sharpe" in said
    assert "exit.base_tp" in said
    assert "profile" in said
    values = json.loads(filled("runs", "compare", *runs, "--json").out)
    assert sorted(values["differs"]["profile"].values()) == ["exitbrain-v35", "tight"]
    assert set(values["differs"]["profile"]) == set(values["metrics"]) == set(runs)
    assert "strategy" not in values["differs"]
    assert_refused(filled("runs", "compare", runs[0]), 2, "two or more")
    assert_refused(filled("runs", "compare", runs[0], "nope"), 2, "nope")


def test_runs_are_reported_side_by_side(filled: Run, tmp_path: Path) -> None:
    runs, _ = names(filled)
    assert filled("report", *runs, "-o", "both.html").code == 0
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    for name in runs:
        assert name in page
    assert "exit.base_tp" in page


def test_a_sweep_is_shown_and_reported(filled: Run, tmp_path: Path) -> None:
    _, (sweep,) = names(filled)
    assert " Verdict " in filled("runs", "show", sweep).out
    assert json.loads(filled("runs", "show", sweep, "--json").out)["sweep"] == sweep
    assert filled("report", sweep, "-o", "sweep.html").code == 0
    assert "Heat maps" in (tmp_path / "sweep.html").read_text(encoding="utf-8")


def test_a_removed_sweep_is_gone_and_its_trials_stay_counted(filled: Run, tmp_path: Path) -> None:
    _, (sweep,) = names(filled)
    assert f"removed {sweep}" in filled("runs", "rm", sweep).out
    assert names(filled)[1] == []
    with open_experiments(tmp_path) as store:
        assert store.trials("BTCUSDT 1h", "sma_cross").made == 4


def test_a_run_says_how_often_this_was_tried(filled: Run) -> None:
    answer = filled(*BACKTEST.split(), "--set", "exit.base_sl=1%", "--json", "--no-save")
    tried = json.loads(answer.out)["tried"]
    assert (tried["data_set"], tried["family"], tried["made"]) == ("BTCUSDT 1h", "sma_cross", 5)
    said = filled(*BACKTEST.split(), "--set", "exit.base_sl=1%", "--no-save").out
    assert "sma_cross on BTCUSDT 1h 5 times so far" in said


def test_a_run_does_not_fail_for_want_of_a_store(filled: Run, tmp_path: Path) -> None:
    (tmp_path / "experiments.sqlite").write_bytes(b"no store" * 1000)
    answer = filled(*BACKTEST.split(), "--no-save")
    assert answer.code == 0
    assert "not counted as a trial" in answer.err
