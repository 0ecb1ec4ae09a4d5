"""Trades per second of a run on trades, qtsim beside hftbacktest.

    python benchmarks/ticks.py [--quick] [--runs N] [--json FILE]

qtsim runs whole: a bracket that is entered again at each minute, fills, trades, gates, governor, equity; with
`interval` an exit cycle each ten seconds of the market (the default on trades), with `points` one at every trade.
hftbacktest feeds the same trades to a strategy that looks each ten seconds and takes the market each minute.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from markets import START, Columns, save
from measuring import Program, Row, alternate, interpreter, options, peer, report, sizes_of

SIZES = (1_000_000, 3_000_000, 10_000_000)
QUICK = (20_000, 50_000, 100_000)
RUNS = 3
WORK = "trades"
AGAINST = {WORK: "hftbacktest, trades only"}


def generate(n: int) -> Columns:
    """Trades of a walk on ticks of 0.1, ten a second."""
    rng = np.random.default_rng(7)
    times = START + np.cumsum(rng.integers(1, 200_000_000, n))
    price = np.round(60_000.0 * np.exp(np.cumsum(rng.normal(0, 0.00002, n))), 1)
    return {"time": times, "price": price, "qty": np.full(n, 0.01), "sells": rng.random(n) < 0.5}


def measure(given: argparse.Namespace) -> list[Row]:
    """Every size."""
    rows: list[Row] = []
    for size in sizes_of(given, SIZES, QUICK):
        with tempfile.TemporaryDirectory() as folder:
            file = save(generate(size), Path(folder) / "trades.npz")
            names = ("interval", "points")
            found = [Program(f"qtsim {name}", interpreter(), "qtsim_trades.py", str(file), name) for name in names]
            python = peer("hftbacktest")
            if python is not None:
                found.append(Program(AGAINST[WORK], python, "hftbacktest_trades.py", str(file)))
            rows += alternate(found, given.runs or RUNS, WORK, size, size)
    return rows


def main() -> None:
    """Measure and print."""
    given = options("Trades per second of a run on trades, qtsim beside hftbacktest.").parse_args()
    report(measure(given), AGAINST, given)


if __name__ == "__main__":
    main()
