"""Bar evaluations per second of a sweep over targets and stops, qtsim beside vectorbt and backtesting.py, on all cores.

    python benchmarks/sweep.py [--quick] [--runs N] [--json FILE] [--bars 100000]

Trials × bars, for the crosses of EMA 12 and 26 with opposite ones ignored (the default), for a cross about every 1,000
bars, and reversing at each cross. qtsim runs whole, with gates and governor on; the shutdown is off, and nothing else
of the governor is reached, so that each trial trades to the end. The time is that of making the trials, their metrics
included; `with planning` is the whole call, and the processor's time is of the whole call too. `qtsim ExitBrain` varies
exit.base_tp by exit.base_sl, `qtsim bracket` the one target and stop that the peers have. vectorbt runs in chunks of 50
columns, which is its fastest, and in one broadcast; backtesting.py by `optimize`, at the fewest trials.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from markets import generate, rare, save
from measuring import Program, Row, alternate, interpreter, options, peer, report, sizes_of
from speed import BRACKET, BRAIN

from qtsim.research.engine import cores

TRIALS = (100, 1_000, 10_000)
QUICK = (16, 50, 100)
RUNS = 3
CHUNK = 50
TPS, SLS = (0.005, 0.05), (0.003, 0.012)
WORKS = {
    "sweep, default": ("ignore", False),
    "sweep, rare signals": ("ignore", True),
    "sweep, reversing": ("reverse", False),
}
NO_SHUTDOWN = {"governor.shutdown.drawdown": "inf", "leverage.model": "fixed"}
AGAINST = dict.fromkeys(WORKS, "vectorbt rust, chunks")


def shape_of(trials: int) -> tuple[int, int]:
    """Targets by stops, as nearly square as the number of trials allows."""
    stops = next(n for n in range(math.isqrt(trials), 0, -1) if trials % n == 0)
    return trials // stops, stops


def qtsim(name: str, file: Path, paths: tuple[str, str], shape: tuple[int, int], settings: dict[str, Any]) -> Program:
    """A sweep over two paths of settings."""
    axes = zip(paths, (TPS, SLS), shape, strict=True)
    grid = {path: np.linspace(low, high, count).tolist() for path, (low, high), count in axes}
    text = json.dumps({"grid": grid, "settings": settings | NO_SHUTDOWN, "jobs": cores()})
    return Program(name, interpreter(), "qtsim_sweep.py", str(file), text)


def vectorbt(name: str, file: Path, shape: tuple[int, int], opposite: str, columns: int, **more: Any) -> list[Program]:
    """The same trials in vectorbt; none where it is not there."""
    python = peer("vectorbt")
    if python is None:
        return []
    given = {"engine": "rust", "opposite": opposite, "columns": columns, "jobs": cores() if columns == CHUNK else 1}
    # a command line has no room for ten thousand trials; the runner pairs every target with every stop
    tps, sls = np.linspace(*TPS, shape[0]).tolist(), np.linspace(*SLS, shape[1]).tolist()
    text = json.dumps(given | {"tps": tps, "sls": sls})
    return [Program(name, python, "vectorbt_sweep.py", str(file), text, **more)]


def backtesting(file: Path, shape: tuple[int, int]) -> list[Program]:
    """The same trials in backtesting.py; none where it is not there."""
    python = peer("backtesting")
    if python is None:
        return []
    tps, sls = np.linspace(*TPS, shape[0]).tolist(), np.linspace(*SLS, shape[1]).tolist()
    text = json.dumps({"tps": tps, "sls": sls, "jobs": cores()})
    return [Program("backtesting optimize", python, "backtesting_bars.py", str(file), text, most=1)]


def measure(given: argparse.Namespace) -> list[Row]:
    """Every work at every number of trials."""
    rows: list[Row] = []
    sizes = sizes_of(given, TRIALS, QUICK)
    whole = generate(given.bars)
    for trials, shape in zip(sizes, map(shape_of, sizes), strict=True):
        for work, (opposite, is_rare) in WORKS.items():
            own = {"exit.on_opposite_signal": opposite}
            with tempfile.TemporaryDirectory() as folder:
                file = save(rare(whole) if is_rare else whole, Path(folder) / "market.npz")
                found = [
                    qtsim("qtsim ExitBrain", file, ("exit.base_tp", "exit.base_sl"), shape, BRAIN | own),
                    qtsim("qtsim bracket", file, ("exit.bracket.tp", "exit.bracket.sl"), shape, BRACKET | own),
                    *vectorbt("vectorbt rust, chunks", file, shape, opposite, CHUNK),
                ]
                if trials == 1_000 and work == "sweep, default":
                    found += vectorbt("vectorbt rust, one broadcast", file, shape, opposite, trials, most=1)
                if trials == min(sizes) and opposite == "ignore":
                    found += backtesting(file, shape)
                rounds = given.runs or (1 if trials > 1_000 else RUNS)
                rows += alternate(found, rounds, work, trials, trials * given.bars)
    return rows


def main() -> None:
    """Measure and print."""
    parser = options("Bar evaluations per second of a sweep, qtsim beside its peers.")
    parser.add_argument("--bars", type=int, default=100_000, metavar="N")
    given = parser.parse_args()
    report(measure(given), AGAINST, given)


if __name__ == "__main__":
    main()
