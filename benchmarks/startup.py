"""What starting costs: whole processes, from the command line to the prompt.

    python benchmarks/startup.py [--quick] [--runs N] [--json FILE]

`qtsim --help`; a warm `qtsim backtest` on a month, a year and five years of 1 h bars, report and run folder included;
and the first command of a new installation: `qtsim warmup` and `qtsim backtest` on a year, each in an empty cache, so
that they compile (not with --quick). On a busy machine the processor's time is the better measure. The rate, in million
processes or bars a second, means nothing here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from markets import PRICES, START, generate
from measuring import Row, interpreter, options, report, sizes_of

HOUR = 3_600_000_000_000
SIZES = (730, 8_760, 43_800)  # a month, a year, five years
YEAR = 8_760
RUNS = 5
HELP, WARM, COLD = "start-up: --help", "start-up: warm backtest", "start-up: empty cache"


def make_workspace(folder: Path, n: int) -> None:
    """A workspace with `n` generated hourly bars."""
    market = generate(n)
    times = pd.DatetimeIndex((START + HOUR * np.arange(n)).view("M8[ns]"), name="time").tz_localize("UTC")
    columns = {name: market[name] for name in PRICES} | {"volume": 1000.0}
    pd.DataFrame(columns, index=times).reset_index().to_csv(folder / "bars.csv", index=False)
    (folder / "qtsim.toml").touch()
    run_process(["data", "import", "bars.csv", "-p", "BTCUSDT", "-i", "1h"], folder, {})


def run_process(arguments: list[str], folder: Path, more: dict[str, str]) -> tuple[float, float, float]:
    """Run qtsim; seconds by the clock, of the processor, and peak memory in MB. Its modules' bytecode is kept."""
    nothing = os.open(os.devnull, os.O_RDWR)
    command = [interpreter(), "-m", "qtsim.cli", *arguments]
    began = time.perf_counter()
    child = os.posix_spawn(
        "/usr/bin/env",
        ["env", "-C", str(folder), *command],
        os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | more,
        file_actions=[(os.POSIX_SPAWN_DUP2, nothing, stream) for stream in (0, 1, 2)],
    )
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    os.close(nothing)
    if status != 0:
        sys.exit(f"qtsim {' '.join(arguments)} ended with code {os.waitstatus_to_exitcode(status)}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0 / 1e6


def row_of(work: str, size: int, name: str, runs: list[tuple[float, float, float]]) -> Row:
    """Several runs of one command as a row."""
    seconds = [one[0] for one in runs]
    peak, cpu_s = max(one[2] for one in runs), min(one[1] for one in runs)
    return Row(work, size, name, size, min(seconds), median(seconds), cpu_s, peak, peak)


def measure(given: argparse.Namespace) -> list[Row]:
    """Every command."""
    runs = given.runs or RUNS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sizes = sizes_of(given, SIZES, SIZES)
        make_workspace(folder, max(YEAR, *sizes))

        def backtest(bars: int) -> list[str]:
            end = pd.Timestamp(START + HOUR * bars, unit="ns").strftime("%Y%m%d")
            return ["backtest", "-s", "ema_cross", "-p", "BTCUSDT", "-i", "1h", "--timerange", f"20240101-{end}"]

        rows = [row_of(HELP, 1, "qtsim --help", [run_process(["--help"], folder, {}) for _ in range(runs)])]
        for bars in sizes:
            run_process(backtest(bars), folder, {})
            found = [run_process(backtest(bars), folder, {}) for _ in range(runs)]
            rows.append(row_of(WARM, bars, "qtsim backtest", found))
        commands = {"qtsim warmup": ["warmup"], "qtsim backtest": backtest(YEAR)}
        for name, arguments in commands.items() if not given.quick else ():
            with tempfile.TemporaryDirectory() as cache:
                found = [run_process(arguments, folder, {"QTSIM_CACHE_DIR": cache})]
                rows.append(row_of(COLD, YEAR, name, found))
    return rows


def main() -> None:
    """Measure and print."""
    given = options("What starting costs.").parse_args()
    report(measure(given), {}, given)


if __name__ == "__main__":
    main()
