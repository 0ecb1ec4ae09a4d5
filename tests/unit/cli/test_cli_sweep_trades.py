"""qtsim sweep on stored trades: its next step, its holdout, and what remains when it is killed."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qtsim.data.store import Store
from qtsim.data.ticks import DayTicks, TickStore
from qtsim.research.trade_file import PREFIX
from qtsim.research.trials import HEADER, read_trials, trial_dt
from tests.unit.app.test_trades import DAY, START, made_trades
from tests.unit.cli.made_workspace import Run
from tests.unit.cli.test_cli_sweep import wait_for_trials

SWEEP = "sweep -s sma_cross -p BTCUSDT -i 15m --no-check --set sim.mode=ticks --set leverage.model=fixed"
GRIDS = "strategy.fast=5 strategy.slow=20 exit.base_tp=0.4%,1%,2% exit.base_sl=0.3%,0.6%"
MANY = "strategy.fast=5 strategy.slow=20 exit.base_tp=0.4%:2%:x20 exit.base_sl=0.3%:0.9%:x20"
ALONE = ("--fast", "--no-check", "--no-save", "--json")


@pytest.fixture
def trading(empty: Run, tmp_path: Path) -> Run:
    """A workspace with six days of trades of BTCUSDT."""
    ticks = TickStore.beside(Store(tmp_path / "data"))
    for day in range(6):
        ticks.write_trades_day("BTCUSDT", START + day * DAY, made_trades(day, day), source="made for the test")
    return empty


def test_the_next_step_is_the_backtest_of_the_recommended_trial(trading: Run) -> None:
    said = trading(*SWEEP.split(), *GRIDS.split())
    assert said.code == 0, said.said
    assert " · path: trades\n" in said.out
    assert "joining the trades" in said.err
    (step,) = [line for line in said.out.splitlines() if line.startswith(" next: ")]
    alone = json.loads(trading(*shlex.split(step.removeprefix(" next: qtsim ")), *ALONE).out)
    best = json.loads(trading(*SWEEP.split(), *GRIDS.split(), "--json").out)["recommended"]["metrics"]
    assert best["Trades"] > 3
    for name in ("Total Return", "Sharpe", "Max Drawdown", "Exposure Time", "Funding"):
        assert alone["metrics"][name] == pytest.approx(best[name], rel=1e-9)
    for name in ("Trades", "Fees", "Final Equity"):
        assert alone["metrics"][name] == best[name]


def test_the_holdout_is_opened_on_its_own_trades(trading: Run) -> None:
    trading(*SWEEP.split(), *GRIDS.split(), "--holdout", "20240811-")
    opened = json.loads(trading("sweep", "--open-holdout", "last", "--json").out)
    words = (
        "backtest -s sma_cross -p BTCUSDT -i 15m --set sim.mode=ticks --set leverage.model=fixed --timerange 20240811-"
    )
    sets = " ".join(f"--set {path}={value}" for path, value in opened["values"].items())
    assert json.loads(trading(*words.split(), *sets.split(), *ALONE).out)["digest"] == opened["digest"]


def test_a_killed_sweep_goes_on_and_its_trades_are_removed(
    trading: Run, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    process = spawn(*SWEEP.split(), *MANY.split(), "-j", "1")
    file = wait_for_trials(process, tmp_path, 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = read_trials(file)
    assert 5 <= len(before) < 400
    assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1
    answer = json.loads(trading(*SWEEP.split(), *MANY.split(), "--json").out)
    assert (answer["trials"], answer["made_now"]) == (400, 400 - len(before))
    after = read_trials(file)
    assert after[np.isin(after["cell"], before["cell"])].tobytes() == before.tobytes()
    assert file.stat().st_size == HEADER + 400 * trial_dt.itemsize
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_ctrl_c_while_trades_are_joined_leaves_nothing(
    trading: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_day = TickStore.read_day

    def interrupted(self: TickStore, symbol: str, day: int, **more: bool) -> DayTicks:
        if day == START + 4 * DAY and more.get("quotes", True):
            raise KeyboardInterrupt
        return read_day(self, symbol, day, **more)

    monkeypatch.setattr(TickStore, "read_day", interrupted)
    answer = trading(*SWEEP.split(), *GRIDS.split())
    assert answer.code == 1
    assert "interrupted after 0 of 6 trials" in answer.err
    assert "Traceback" not in answer.said
    assert not list(tmp_path.glob(f"{PREFIX}*"))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert json.loads(trading(*SWEEP.split(), *GRIDS.split(), "--json").out)["made_now"] == 6
