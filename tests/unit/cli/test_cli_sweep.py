"""qtsim sweep: what it prints and keeps, and what remains when it is killed, interrupted, or the disk is full."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.data.store import Store
from qtsim.research.folder import list_sweeps
from qtsim.research.trials import HEADER, read_trials, trial_dt
from tests.unit.cli.made_workspace import Answer, Run, assert_refused

SWEEP = "sweep -s sma_cross -p BTCUSDT -i 1h --set leverage.model=fixed --set costs.funding.source=off --no-check"
ALONE = ("--fast", "--no-check", "--no-save", "--json")
GRIDS = "exit.base_tp=1%,2%,3% exit.base_sl=0.5%,1%"
Spawn = Callable[..., "subprocess.Popen[str]"]


def random_walk(n: int = 600, seed: int = 1) -> pd.DataFrame:
    """Hourly bars on which averages cross now and then."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.008, n)))
    opened = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="time").as_unit("ns")
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": 10.0}
    return pd.DataFrame(columns, index=index)


@pytest.fixture
def walking(empty: Run, tmp_path: Path) -> Run:
    """A workspace with a random walk of BTCUSDT and ETHUSDT."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", random_walk(), source="made for the test")
    Store(tmp_path / "data").write_bars("ETHUSDT", "1h", random_walk(seed=2), source="made for the test")
    return empty


def asked(text: str, grids: str = GRIDS) -> list[str]:
    return [*SWEEP.split(), *text.split(), *grids.split()]


def test_the_first_screen_says_what_was_tried_and_what_it_proves(walking: Run, tmp_path: Path) -> None:
    answer = walking(*asked(""))
    assert answer.code == 0, answer.said
    for label in ("Trials", "Heat map", "Peak", "Recommended", "Range", "Tried", "Evidence", "Verdict"):
        assert f" {label} " in answer.out
    assert "6 of 6 (3 base_tp 1 % to 3 % × 2 base_sl 0.5 % to 1 %)" in answer.out
    assert "next: qtsim backtest -s sma_cross -p BTCUSDT -i 1h --set " in answer.out
    (entry,) = list_sweeps(tmp_path)
    assert sorted(path.name for path in entry.path.iterdir()) == [
        "conclusion.json",
        "report.html",
        "sweep.json",
        "trials.rows",
    ]
    assert (entry.made, entry.verdict) == (6, "NOISE")


def test_the_next_step_is_the_backtest_of_the_recommended_trial(walking: Run) -> None:
    said = walking(*asked(""))
    (step,) = [line for line in said.out.splitlines() if line.startswith(" next: ")]
    words = shlex.split(step.removeprefix(" next: qtsim "))
    alone = json.loads(walking(*words, "--fast", "--no-check", "--no-save", "--json").out)
    best = json.loads(walking(*asked("--json")).out)["recommended"]
    for name in ("Total Return", "Sharpe", "Trades"):
        assert alone["metrics"][name] == pytest.approx(best["metrics"][name], rel=1e-9)


def test_json_has_every_trial_and_the_verdict(walking: Run) -> None:
    answer = walking(*asked("--json"))
    values = json.loads(answer.out)
    assert values["schema"] == 1
    assert len(values["rows"]) == values["planned"] == values["trials"] == 6
    assert values["rows"][0]["exit.base_tp"] == 0.01
    assert values["verdict"]["word"] in ("ROBUST", "FRAGILE", "NOISE")
    assert values["recommended"]["values"].keys() == {"exit.base_tp", "exit.base_sl"}


def test_grids_are_arguments_or_options(walking: Run) -> None:
    answer = walking(*SWEEP.split(), "--grid", "exit.base_tp=1%,2%", "exit.base_sl=1%", "--no-save", "--json")
    assert json.loads(answer.out)["planned"] == 2


def test_the_same_command_makes_nothing_twice(walking: Run, tmp_path: Path) -> None:
    walking(*asked(""))
    again = json.loads(walking(*asked("--json")).out)
    assert (again["made_now"], again["trials"]) == (0, 6)
    assert len(list_sweeps(tmp_path)) == 1


def test_a_guided_search(walking: Run) -> None:
    pytest.importorskip("optuna")
    answer = walking(*asked("--optuna 8", "exit.base_tp=0.5%:5%:x20 exit.base_sl=0.3%:1.2%:x20"))
    assert answer.code == 0, answer.said
    assert "optuna 8" in answer.out
    assert " Verdict " in answer.out


def test_each_symbol_alone(walking: Run) -> None:
    answer = walking(*asked("-p BTCUSDT,ETHUSDT --each"))
    assert answer.code == 0, answer.said
    assert "BTCUSDT and 1 more 1h, each alone" in answer.out
    assert "12 of 12" in answer.out
    assert "made money; Sharpe: " in answer.out


def test_the_holdout_is_opened_on_the_record(walking: Run, tmp_path: Path) -> None:
    swept = walking(*asked("--holdout 20240120-"))
    assert "holdout 20240120- not looked at" in swept.out
    assert "qtsim sweep --open-holdout" in swept.out
    (entry,) = list_sweeps(tmp_path)
    assert entry.info is not None
    assert entry.info.end_ns < pd.Timestamp("2024-01-20", tz="UTC").value
    first = json.loads(walking("sweep", "--open-holdout", "last", "--json").out)
    second = walking("sweep", "--open-holdout", entry.name)
    assert first["opened"] == 1
    assert "2 times" in second.out
    assert "in the search" in second.out
    backtest = "backtest -s sma_cross --set leverage.model=fixed --set costs.funding.source=off --timerange 20240120- "
    sets = " ".join(f"--set {path}={value}" for path, value in first["values"].items())
    alone = json.loads(walking(*f"{backtest} {sets} --fast --no-check --no-save --json".split()).out)
    assert alone["digest"] == first["digest"]


def test_a_holdout_of_a_sweep_without_one_is_refused(walking: Run) -> None:
    walking(*asked(""))
    assert_refused(walking("sweep", "--open-holdout", "last"), 2, "has no holdout", "--holdout 20250101-")
    assert_refused(walking("sweep", "--open-holdout", "nope"), 2, "no sweep 'nope'", "the latest are")


def test_timeframes_and_symbols_are_swept(walking: Run, tmp_path: Path) -> None:
    """The next step and the holdout are those of the timeframe and symbols that are recommended."""
    words = "sweep -s sma_cross --set leverage.model=fixed --set costs.funding.source=off --no-check"
    grids = "run.timeframe=4h,1h run.symbols=ETHUSDT,BTCUSDT+ETHUSDT exit.base_tp=1%,3%"
    answer = walking(*words.split(), *grids.split(), "--holdout", "20240120-")
    assert answer.code == 0, answer.said
    assert "2 timeframe 1h to 4h × 2 symbols ETHUSDT to BTCUSDT+ETHUSDT × 2 base_tp 1 % to 3 %" in answer.out
    (entry,) = list_sweeps(tmp_path)
    assert entry.info is not None
    assert entry.info.data_sets == [
        "ETHUSDT 1h", "BTCUSDT,ETHUSDT 1h", "ETHUSDT 4h", "BTCUSDT,ETHUSDT 4h"
    ]  # fmt: skip
    best = json.loads(walking(*words.split(), *grids.split(), "--holdout", "20240120-", "--json").out)["recommended"]
    symbols, timeframe = ",".join(best["values"]["run.symbols"]), best["values"]["run.timeframe"]
    (step,) = [line for line in answer.out.splitlines() if line.startswith(" next: ")]
    assert f"-p {symbols} -i {timeframe} --timerange" in step
    assert "run." not in step
    alone = json.loads(walking(*shlex.split(step.removeprefix(" next: qtsim ")), *ALONE).out)
    assert alone["metrics"]["Final Equity"] == best["metrics"]["Final Equity"]
    opened = json.loads(walking("sweep", "--open-holdout", "last", "--json").out)
    held = f"backtest -s sma_cross -p {symbols} -i {timeframe} --timerange 20240120- --set leverage.model=fixed"
    tp = f"--set costs.funding.source=off --set exit.base_tp={best['values']['exit.base_tp']}"
    assert json.loads(walking(*held.split(), *tp.split(), *ALONE).out)["digest"] == opened["digest"]
    listed = json.loads(walking("runs", "list", "-p", "BTCUSDT", "--json").out)["sweeps"]
    assert [(one["timeframe"], one["symbols"]) for one in listed] == [("1h, 4h", ["BTCUSDT", "ETHUSDT"])]


def test_a_varied_timeframe_takes_the_place_of_the_usual_one(empty: Run, tmp_path: Path) -> None:
    """There are no bars of an hour, which is what a run without -i asks for."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "4h", random_walk().iloc[::4], source="made for the test")
    words = "sweep -s sma_cross -p BTCUSDT --set costs.funding.source=off --no-check --no-save"
    answer = empty(*words.split(), "run.timeframe=4h,8h", "exit.base_tp=1%", "--json")
    assert answer.code == 0, answer.said
    assert json.loads(answer.out)["trials"] == 2


BAD: list[tuple[str, str, int, list[str]]] = [
    ("unknown_setting", "exit.base_tpp=1%,2%", 2, ["exit.base_tpp", "did you mean exit.base_tp"]),
    ("unknown_parameter", "strategy.fsat=1,2", 2, ["fsat", "did you mean fast"]),
    ("reversed", "exit.base_tp=5%:1%:x5", 2, ["exit.base_tp", "reversed"]),
    ("empty", "exit.base_tp=1%:1%:x5", 2, ["empty"]),
    ("step_too_wide", "exit.base_tp=1%:2%:5%", 2, ["wider than the range", "1%:2%:x10"]),
    ("no_grid", "exit.base_tp", 2, ["KEY=a,b,c"]),
    ("twice", "exit.base_tp=1% exit.base_tp=2%", 2, ["exit.base_tp is given twice"]),
    ("too_many", "exit.base_tp=0.1%:20%:x200 exit.base_sl=0.1%:10%:x200", 2, ["40,000", "--yes"]),
    (
        "no_scheduler",
        "--engine dask --scheduler tcp://127.0.0.1:9 exit.base_tp=1%,2%",
        2,
        ["tcp://127.0.0.1:9", "dask scheduler"],
    ),
    ("period", "run.timerange=2023,2024", 2, ["run.timerange is no axis", "--holdout", "qtsim walkforward"]),
    ("no_such_bars", "run.timeframe=1m,1h exit.base_tp=1%", 2, ["BTCUSDT", "1m"]),
    ("ticks", "--set sim.mode=ticks exit.base_tp=1%,2%", 1, ["no trades"]),
]


@pytest.mark.parametrize(("grids", "code", "words"), [pytest.param(*one[1:], id=one[0]) for one in BAD])
def test_a_bad_request_is_refused(walking: Run, tmp_path: Path, grids: str, code: int, words: list[str]) -> None:
    if "dask" in grids:
        pytest.importorskip("distributed")
    answer = walking(*SWEEP.split(), *grids.split())
    assert_refused(answer, code, *words)
    assert not [entry for entry in list_sweeps(tmp_path) if entry.made]


def test_a_store_of_a_newer_version_is_refused(walking: Run, tmp_path: Path) -> None:
    walking(*asked(""))
    store = sqlite3.connect(tmp_path / "experiments.sqlite")
    store.execute("PRAGMA user_version = 99")
    store.commit()
    store.close()
    assert_refused(walking(*asked("")), 1, "newer version", "schema 99", "upgrade qtsim")
    assert_refused(walking("runs", "list"), 1, "newer version")


# What happens to a process. ------------------------------------------------------------------------------------------

MANY = "exit.base_tp=0.5%:5%:x20 exit.base_sl=0.3%:1.2%:x20"


def wait_for_trials(process: subprocess.Popen[str], folder: Path, count: int) -> Path:
    """Wait until so many trials are in the file of the sweep that a process runs."""
    for _ in range(6000):
        for path in folder.glob("sweeps/*/trials.rows"):
            if path.stat().st_size >= HEADER + count * trial_dt.itemsize:
                return path
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no trials were made")


@pytest.fixture
def slow_walk(walking: Run, tmp_path: Path) -> Path:
    """A workspace in which a sweep takes some seconds."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", random_walk(8_000), source="made for the test")
    return tmp_path


def test_killed_sweeps_lose_nothing_and_make_nothing_twice(slow_walk: Path, spawn: Spawn, walking: Run) -> None:
    process = spawn(*asked("", MANY), "-j", "1")
    file = wait_for_trials(process, slow_walk, 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = read_trials(file)
    assert 10 <= len(before) < 400
    short = json.loads(walking(*asked("--json", MANY)).out)
    after = read_trials(file)
    assert len(after) == short["trials"] == 400
    assert short["made_now"] == 400 - len(before)
    kept = after[np.isin(after["cell"], before["cell"])]
    assert kept.tobytes() == before.tobytes()
    assert file.stat().st_size == HEADER + 400 * trial_dt.itemsize


def test_ctrl_c_leaves_a_partial_result_and_says_how_to_go_on(slow_walk: Path, spawn: Spawn) -> None:
    process = spawn(*asked("", MANY), "-j", "1")
    file = wait_for_trials(process, slow_walk, 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "interrupted after" in err
    assert "the same command goes on from there" in err
    assert " Recommended " in out
    assert " Verdict " not in out
    assert 10 <= len(read_trials(file)) < 400


def test_a_full_disk_is_a_clear_error_and_nothing_is_torn(slow_walk: Path, walking: Run) -> None:
    limit = 200_000

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "qtsim.cli", *asked("", MANY)],
        cwd=slow_walk,
        env={**os.environ, "QTSIM_HOME": str(slow_walk / "home")},
        capture_output=True,
        text=True,
        preexec_fn=bound,
        check=False,
    )
    assert_refused(Answer(done.returncode, done.stdout, done.stderr), 1, "cannot write", "File too large", "make room")
    (entry,) = list_sweeps(slow_walk)
    rows = read_trials(entry.path / "trials.rows")
    assert len(rows) > 100
    assert (entry.path / "trials.rows").stat().st_size == HEADER + len(rows) * trial_dt.itemsize
    again = json.loads(walking(*asked("--json", MANY)).out)
    assert (again["trials"], again["made_now"]) == (400, 400 - len(rows))
