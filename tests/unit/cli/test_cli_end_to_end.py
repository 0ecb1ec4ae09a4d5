"""What goes wrong for users: each a clear error with its exit code, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

HEADER = "date,open,high,low,close,volume\n"


def made_rows(n: int = 300) -> list[str]:
    """Hourly bars as CSV lines, around 100, rising and falling."""
    times = pd.date_range("2024-01-01", periods=n, freq="h")
    price = 100 + 5 * np.sin(np.arange(n) / 9.0)
    return [
        f"{ts:%Y-%m-%d %H:%M:%S},{p:.2f},{p + 1:.2f},{p - 1:.2f},{p + 0.2:.2f},10\n"
        for ts, p in zip(times, price, strict=True)
    ]


@pytest.fixture
def qtsim(tmp_path: Path) -> Run:
    """Run the command line in a workspace of its own."""
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")

    def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qtsim.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "QTSIM_HOME": str(tmp_path / "home"), **environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def imported(qtsim: Run, tmp_path: Path) -> Run:
    """A workspace with 300 hourly bars of BTCUSDT."""
    (tmp_path / "btc.csv").write_text(HEADER + "".join(made_rows()), encoding="utf-8")
    done = qtsim("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h")
    assert done.returncode == 0, done.stderr
    return qtsim


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"


BAD_REQUESTS: list[tuple[str, list[str], list[str]]] = [
    ("unknown_strategy", ["backtest", "-s", "ema_cros"], ["ema_cros", "ema_cross"]),
    ("unknown_symbol", ["backtest", "-p", "NOPEUSDT"], ["NOPEUSDT", "data import"]),
    ("unknown_profile", ["backtest", "--profile", "tigth"], ["tigth", "tight"]),
    ("unknown_setting", ["backtest", "--set", "exit.base_tpp=0.02"], ["exit.base_tpp", "exit.base_tp"]),
    ("unknown_parameter", ["backtest", "--set", "strategy.fsat=3"], ["fsat", "fast"]),
    ("ratio_as_per_cent", ["backtest", "--set", "exit.base_tp=2"], ["200 %", "0.02", "2%"]),
    ("timerange_outside", ["backtest", "--timerange", "20200101-20200201"], ["20200101", "2024-01-01"]),
    ("timerange_unreadable", ["backtest", "--timerange", "yesterday"], ["yesterday"]),
    ("fractions", ["backtest", "--set", "exit.harvest.scheme.static=[0.5,0.5,0.5]"], ["1.5", "exit.harvest"]),
    ("not_built", ["backtest", "--set", "bus.url=redis://x"], ["bus.url", "not available"]),
    ("detail_that_does_not_fit", ["backtest", "--detail", "7m"], ["data.detail_timeframe", "do not consist of"]),
    ("unknown_command", ["backtset"], ["backtset"]),
    ("later_command", ["models"], ["not in this version"]),
    ("unknown_flag", ["backtest", "--stratgy", "x"], ["--stratgy"]),
    ("unknown_run", ["runs", "show", "nope"], ["no runs"]),
    ("bad_instrument", ["backtest", "--instrument", "BTCUSDT:tik=1"], ["tik"]),
    ("set_without_value", ["backtest", "--set", "exit.base_tp"], ["exit.base_tp"]),
    ("unknown_key_explained", ["config", "explain", "exit.base_pt"], ["exit.base_tp"]),
]


@pytest.mark.parametrize(("words", "expected"), [c[1:] for c in BAD_REQUESTS], ids=[c[0] for c in BAD_REQUESTS])
def test_wrong_usage_is_exit_code_two(imported: Run, tmp_path: Path, words: list[str], expected: list[str]) -> None:
    assert_refused(imported(*words), 2, *expected)
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


def spoiled(kind: str) -> list[str]:
    rows = made_rows()
    if kind == "unsorted":
        rows[5], rows[6] = rows[6], rows[5]
    elif kind == "duplicate":
        rows.insert(6, rows[5])
    else:
        ts, _, _, _, close, volume = rows[5].strip().split(",")
        values = {"nan": ("nan", "101", "99"), "negative": ("-100", "101", "99"), "inconsistent": ("100", "98", "99")}
        opening, high, low = values[kind]
        rows[5] = f"{ts},{opening},{high},{low},{close},{volume}\n"
    return rows


@pytest.mark.parametrize("kind", ["unsorted", "duplicate", "nan", "negative", "inconsistent"])
def test_bad_rows_are_named(qtsim: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "btc.csv").write_text(HEADER + "".join(spoiled(kind)), encoding="utf-8")
    done = qtsim("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h")
    assert_refused(done, 1, "row", "2024-01-01")
    assert "nothing is stored" in qtsim("data", "list").stdout
    dropped = qtsim("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h", "--set", "data.on_bad_rows=drop")
    assert dropped.returncode == 0, dropped.stderr


def test_gaps_are_reported_and_simulated(qtsim: Run, tmp_path: Path) -> None:
    rows = made_rows()
    (tmp_path / "btc.csv").write_text(HEADER + "".join(rows[:100] + rows[120:]), encoding="utf-8")
    assert "20" in qtsim("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h").stdout
    done = qtsim("backtest", "--no-save", "--fast")
    assert done.returncode == 0, done.stderr
    assert "20 missing" in done.stdout


def test_no_trades_says_why(imported: Run) -> None:
    done = imported("backtest", "--set", "strategy.adx_min=60", "--no-save")
    assert_refused(done, 1, "error: no trades")
    assert "Verdict" in done.stdout


STRATEGY = """
import numpy as np
import qtsim as qt

class Mine(qt.Strategy):
    def signals(self, bars):
        {body}
"""
BAD_STRATEGIES = {
    "raises": ("raise ValueError('boom')", ["boom", "mine.py", "line"]),
    "wrong_shape": ("return qt.Signals(long=np.ones(3, bool))", ["3", "300"]),
    "looks_ahead": (
        "return qt.Signals(side=np.sign(np.append(bars.close[1:], np.nan) - bars.close))",
        ["mine", "2024"],
    ),
    "uses_unnamed": ("x = bars.column('funding_rate'); return qt.Signals(long=x > 0)", ["funding_rate", "uses"]),
}


@pytest.mark.parametrize(("body", "expected"), BAD_STRATEGIES.values(), ids=list(BAD_STRATEGIES))
def test_a_strategy_that_cannot_be_trusted(imported: Run, tmp_path: Path, body: str, expected: list[str]) -> None:
    (tmp_path / "mine.py").write_text(STRATEGY.format(body=body), encoding="utf-8")
    assert_refused(imported("backtest", "-s", "mine.py"), 1, *expected)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_strategy_file_that_is_no_python(imported: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def (:\n", encoding="utf-8")
    assert_refused(imported("backtest", "-s", "mine.py"), 1, "mine.py", "line 1")


def test_unwritable_folder_is_found_before_the_run(imported: Run, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file stands where the folder would be", encoding="utf-8")
    assert_refused(imported("backtest"), 1, "runs", "cannot write")


def test_a_damaged_store_file(imported: Run, tmp_path: Path) -> None:
    (file,) = (tmp_path / "data").rglob("1h.parquet")
    file.write_bytes(file.read_bytes()[:200])
    assert_refused(imported("backtest"), 1, "1h.parquet")
    assert_refused(imported("data", "check"), 1, "1h.parquet")


def test_a_damaged_run_folder(imported: Run, tmp_path: Path) -> None:
    assert imported("backtest", "--fast").returncode == 0
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "trades.parquet").write_bytes(b"nothing")
    assert_refused(imported("runs", "show", "last"), 1, "trades.parquet")
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    done = imported("runs", "list")
    assert done.returncode == 0
    assert "damaged" in done.stdout


def test_two_runs_at_once_get_folders_of_their_own(imported: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qtsim.cli", "backtest", "--fast"]
    environ = {**os.environ, "QTSIM_HOME": str(tmp_path / "home")}
    both = [subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    folders = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(folders) == 2
    assert not [name for name in folders if name.startswith(".")]


def test_interrupting_leaves_nothing_behind(imported: Run, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        STRATEGY.format(body="import time; print('started', flush=True); time.sleep(60)"), encoding="utf-8"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "qtsim.cli", "backtest", "-s", "slow.py"],
        cwd=tmp_path,
        env={**os.environ, "QTSIM_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "runs").iterdir())


def test_the_main_job(imported: Run, tmp_path: Path) -> None:
    """Backtest, look at it again, repeat it: the same digest; verified by the reference driver."""
    done = imported("backtest", "-s", "sma_cross", "--set", "strategy.fast=3", "--set", "strategy.slow=8", "--verify")
    assert done.returncode == 0, done.stderr
    assert "byte for byte" in done.stdout
    assert "workspace" in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "report.html").stat().st_size > 1_000_000
    first = json.loads(imported("runs", "show", "last", "--json").stdout)
    again = json.loads(imported("backtest", "--from", "last", "--json", "--no-save").stdout)
    assert again["schema"] == 1
    assert again["digest"] == first["digest"]
    assert imported("report", "last", "-o", "out.html").returncode == 0
    assert (tmp_path / "out.html").read_bytes() == (folder / "report.html").read_bytes()
    assert imported("runs", "rm", folder.name).returncode == 0
    assert not folder.exists()


def test_import_is_idempotent(imported: Run) -> None:
    assert "nothing new" in imported("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h").stdout


def test_small_commands_answer(imported: Run, tmp_path: Path) -> None:
    for words in (
        ["config", "show"],
        ["config", "check"],
        ["config", "explain", "exit.levels.sl.max"],
        ["config", "schema"],
        ["strategies", "list"],
        ["strategies", "show", "ema_cross"],
        ["strategies", "new", "my_idea"],
        ["data", "list"],
        ["data", "check"],
        ["data", "instruments", "BTCUSDT"],
        ["levels", "--leverage", "20", "--json"],
        ["doctor"],
        ["runs", "list"],
        ["init", "elsewhere"],
    ):
        done = imported(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        assert done.stdout.strip()
    assert imported("check", "-s", "my_idea").returncode == 0
    assert_refused(imported("init", "elsewhere"), 2, "exists already")
