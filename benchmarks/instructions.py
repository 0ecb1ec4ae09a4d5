"""Instructions per bar of one backtest, counted by valgrind's callgrind, qtsim beside vectorbt's Rust engine.

    python benchmarks/instructions.py [--quick] [--sizes 20000] [--json FILE]

A count does not depend on how busy a machine is. Each program runs twice under callgrind, with few runs of its work and
with more; the difference is what the runs took, and what it took to get ready falls out. callgrind knows no AVX-512, so
the kernels are compiled for a processor without it (NUMBA_CPU_NAME), in a folder of their own; what the processor does
with an instruction, and how long it waits for memory, a count does not tell. Needs valgrind; a minute or two each.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markets import Columns, generate, rare, save
from measuring import RUNNERS, interpreter, options, peer, sizes_of
from speed import BRACKET, BRAIN, SL, TP, WORKS

SIZES = (100_000,)
QUICK = (10_000,)
FEW, MORE = 2, 8
PROCESSOR = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}


def commands(market: Path, opposite: str) -> dict[str, list[str]]:
    """Every program that is counted, and how it is started."""
    own = {"exit.on_opposite_signal": opposite}
    ours = [interpreter(), str(RUNNERS / "qtsim_bars.py"), str(market)]
    found = {
        "qtsim bracket": [*ours, json.dumps(BRACKET | own)],
        "qtsim ExitBrain": [*ours, json.dumps(BRAIN | own)],
    }
    vectorbt = peer("vectorbt")
    if vectorbt:
        text = json.dumps({"tp": TP, "sl": SL, "opposite": opposite, "engine": "rust"})
        found["vectorbt rust"] = [vectorbt, str(RUNNERS / "vectorbt_bars.py"), str(market), text]
    return found


def run(command: list[str], runs: int, environ: dict[str, str]) -> str:
    """Run a command for so many lines of input; what it writes to stderr."""
    lines = "\n" * runs
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return done.stderr


def count(command: list[str], runs: int, environ: dict[str, str]) -> int:
    """Instructions of a program from its start to the end of so many runs."""
    told = run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command], runs, environ)
    found = re.search(r"Collected : (\d+)", told)
    if found is None:
        raise RuntimeError(f"callgrind told no count: {told[-2000:]}")
    return int(found.group(1))


def per_bar(command: list[str], bars: int, environ: dict[str, str]) -> float:
    """Instructions of one run per bar."""
    run(command, 1, environ)  # compiled and kept before callgrind makes it fifty times slower
    few = count(command, FEW, environ)
    return (count(command, MORE, environ) - few) / (MORE - FEW) / bars


def measure(given: argparse.Namespace) -> list[dict[str, object]]:
    """Every work at every size."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        environ = PROCESSOR | {"QTSIM_CACHE_DIR": f"{folder}/kernels", "NUMBA_CACHE_DIR": f"{folder}/numba"}
        for size in sizes_of(given, SIZES, QUICK):
            whole = generate(size)
            for work, (opposite, is_rare) in WORKS.items():
                market: Columns = rare(whole) if is_rare else whole
                file = save(market, Path(folder) / "market.npz")
                for name, command in commands(file, opposite).items():
                    found = per_bar(command, size, environ)
                    rows.append({"work": work, "size": size, "program": name, "instructions_per_bar": found})
                    print(f"{work:<30} {size:>9,} {name:<16} {found:>9.1f} instructions per bar", flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    given = options("Instructions per bar of one backtest, qtsim beside vectorbt.").parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("instructions: valgrind is not installed; `apt install valgrind`, or run it on another machine")
    rows = measure(given)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
