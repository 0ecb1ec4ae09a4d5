"""Bars per second of one backtest, qtsim beside vectorbt, backtesting.py and nautilus_trader.

    python benchmarks/speed.py [--quick] [--runs N] [--json FILE]

Three sets of signals: the crosses of EMA 12 and 26 with opposite ones ignored (the default), the same reversing at each
cross, and a cross about every 1,000 bars; target 2 %, stop 1.2 %, fee 0.05 %, slippage 2 bps. qtsim runs whole:
decisions, denials, fills, trades, gates, governor, equity. `qtsim bracket` has one target and one stop, like the peers,
and the same trades: the quantity is fixed and so small that no gate or governor rule denies one, and symbols are not
switched off; at the smallest size each trade's bars and side are compared with vectorbt's. `qtsim ExitBrain` is the
default engine with three targets, ratchet, hard stop and loss guard, kept from switching off the same way.

Peers run in environments of their own (benchmarks/environments.py); those that are not there are left out. The slow
ones run at the smallest size.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from markets import Columns, generate, rare, save
from measuring import Program, Row, alternate, interpreter, options, peer, report, sizes_of

SIZES = (100_000, 1_000_000, 5_000_000)
QUICK = (10_000, 30_000, 100_000)
RUNS = 5
TP, SL = 0.02, 0.012
WORKS = {
    "single run, opposite ignored": ("ignore", False),
    "single run, reversing": ("reverse", False),
    "single run, rare signals": ("ignore", True),
}
AGAINST = dict.fromkeys(WORKS, "vectorbt rust")

NEVER_OFF = {
    "orchestrator.symbol.min_win_rate": 0.0,
    "orchestrator.symbol.disable_losses": "inf",
    "orchestrator.symbol.blacklist_losses": "inf",
    "governor.streak.losses": "inf",
    "account.balance": 1_000_000.0,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 0.01,
}
BRACKET = NEVER_OFF | {
    "exit.policy": "bracket",
    "exit.bracket.tp": TP,
    "exit.bracket.sl": SL,
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
}
BRAIN = NEVER_OFF | {"exit.base_tp": TP, "exit.base_sl": SL}


def programs(market: Path, opposite: str, trades: Path | None, *, slow: bool) -> list[Program]:
    """Every program that can do the work. trades: a folder for the trades of those that are compared."""
    options = {"tp": TP, "sl": SL, "opposite": opposite}
    own = {"exit.on_opposite_signal": opposite}
    keep = [[str(trades / name)] if trades else [] for name in ("qtsim.npy", "vectorbt.npy")]
    here = interpreter()
    found = [
        Program("qtsim bracket", here, "qtsim_bars.py", str(market), json.dumps(BRACKET | own), *keep[0]),
        Program("qtsim ExitBrain", here, "qtsim_bars.py", str(market), json.dumps(BRAIN | own)),
    ]
    vectorbt = peer("vectorbt")
    for engine, kept in (("rust", keep[1]), ("numba", [])) if vectorbt else ():
        text = json.dumps(options | {"engine": engine})
        found.append(Program(f"vectorbt {engine}", vectorbt, "vectorbt_bars.py", str(market), text, *kept))
    for name in ("backtesting", "nautilus") if slow and opposite == "ignore" else ():
        python = peer(name)
        if python is not None:
            found.append(Program(name, python, f"{name}_bars.py", str(market), json.dumps(options)))
    return found


def compare_trades(folder: Path, work: str) -> str:
    """How many trades of qtsim and of vectorbt have the same bars and side."""
    files = [folder / name for name in ("qtsim.npy", "vectorbt.npy")]
    if not all(file.exists() for file in files):
        return f"{work}: trades not compared, vectorbt is not there"
    ours, theirs = ({tuple(row) for row in np.load(file).tolist()} for file in files)
    both = len(ours & theirs)
    alone = f"{len(ours) - both:,} of qtsim alone, {len(theirs) - both:,} of vectorbt alone"
    return f"{work}: {both:,} trades alike, {alone}"


def measure(given: argparse.Namespace) -> list[Row]:
    """Every work at every size."""
    rows: list[Row] = []
    sizes = sizes_of(given, SIZES, QUICK)
    for size in sizes:
        whole = generate(size)
        for work, (opposite, is_rare) in WORKS.items():
            market: Columns = rare(whole) if is_rare else whole
            with tempfile.TemporaryDirectory() as folder:
                file = save(market, Path(folder) / "market.npz")
                smallest = size == sizes[0]
                found = programs(file, opposite, Path(folder) if smallest else None, slow=smallest)
                rows += alternate(found, given.runs or RUNS, work, size, size)
                if smallest:
                    print(compare_trades(Path(folder), work), flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    given = options("Bars per second of one backtest, qtsim beside its peers.").parse_args()
    report(measure(given), AGAINST, given)


if __name__ == "__main__":
    main()
