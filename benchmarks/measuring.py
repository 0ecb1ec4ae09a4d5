"""Measure programs side by side: in turn, each in a process of its own, with its memory, and print them as ratios."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
RUNNERS = HERE / "runners"
MEASURED = ("seconds", "cpu_s", "peak_mb")
PEERS_DIR = "BENCHMARK_PEERS_DIR"


@dataclass
class Row:
    """One program at one size."""

    work: str
    size: int
    program: str
    units: float  # of work in a run: bars, trials × bars, trades
    best_s: float
    median_s: float
    cpu_s: float  # of the processor, of the best run
    peak_mb: float
    above_mb: float  # above what was resident before the first run, the data included
    counted: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Million units a second, of the best run."""
        return self.units / self.best_s / 1e6


class Program:
    """A program of `runners/` in a process of its own; see `runners/serving.py`."""

    def __init__(self, name: str, python: str, runner: str, *arguments: str, most: int = 1000) -> None:
        """most: the rounds that it takes part in, where it is slow."""
        self.name = name
        self.most = most
        command = [python, str(RUNNERS / runner), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._hear()

    def run(self) -> dict[str, Any]:
        """One run."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._hear()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        sys.exit(f"{self.name}: its process ended with code {self._process.wait()} before it had answered")


def alternate(programs: Sequence[Program], rounds: int, work: str, size: int, units: float) -> list[Row]:
    """Run the programs in turn, `rounds` times, and end them. Each row has what the last run counted."""
    answers: dict[str, list[dict[str, Any]]] = {program.name: [] for program in programs}
    for turn in range(rounds):
        for program in programs:
            if turn < program.most:
                answers[program.name].append(program.run())
    rows = []
    for program in programs:
        program.close()
        found = answers[program.name]
        seconds = [float(one["seconds"]) for one in found]
        cpu_s = min(float(one["cpu_s"]) for one in found)
        peak = max(float(one["peak_mb"]) for one in found)
        counted = {key: value for key, value in found[-1].items() if key not in MEASURED}
        own = float(program.about.get("units", units))
        above = peak - float(program.about["start_mb"])
        rows.append(Row(work, size, program.name, own, min(seconds), median(seconds), cpu_s, peak, above, counted))
    return rows


def slope(rows: Sequence[Row]) -> float:
    """The exponent of the processor's time in the size, by least squares on logarithms: 1 is linear."""
    if len(rows) < 2:
        return math.nan
    xs, ys = [math.log(row.size) for row in rows], [math.log(row.cpu_s) for row in rows]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def peer(name: str) -> str | None:
    """The interpreter of a peer's environment (made by `environments.py`); None where there is none."""
    python = Path(os.environ.get(PEERS_DIR, HERE / ".peers")) / name / "bin" / "python"
    return str(python) if python.exists() else None


def interpreter() -> str:
    """This interpreter, in which qtsim is measured."""
    return sys.executable


def machine() -> str:
    """The machine and the versions, without a name or a path."""
    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        named = [line.split(":")[1] for line in cpu.read_text(encoding="utf-8").splitlines() if "model name" in line]
        model = named[0].strip() if named else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba"))
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {versions}"


def options(text: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help="small sizes, few runs: does it work?")
    parser.add_argument("--sizes", type=_sizes, metavar="N,N", help="other sizes than the usual three")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="runs of each program at each size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def sizes_of(given: argparse.Namespace, usual: tuple[int, ...], quick: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes to measure."""
    chosen: tuple[int, ...] = given.sizes or (quick if given.quick else usual)
    return chosen


HEADER = (
    "work",
    "size",
    "program",
    "rate, M/s",
    "ratio",
    "ratio, processor",
    "best s",
    "median s",
    "processor s",
    "peak MB",
    "above data MB",
    "counted",
)


def table(rows: Sequence[Row], against: Mapping[str, str]) -> list[str]:
    """The rows as a Markdown table. The ratios are to the work's peer at that size, which `against` names."""
    lines = [_line(HEADER), _line(["---"] * len(HEADER))]
    for row in rows:
        cells = [row.work, f"{row.size:,}", row.program, f"{row.rate:.3g}", *ratios_of(row, rows, against)]
        cells += [f"{row.best_s:.4g}", f"{row.median_s:.4g}", f"{row.cpu_s:.4g}", f"{row.peak_mb:.0f}"]
        cells += [f"{row.above_mb:.0f}", ", ".join(f"{value:,} {name}" for name, value in row.counted.items())]
        lines.append(_line(cells))
    return lines


def peer_of(row: Row, rows: Sequence[Row], against: Mapping[str, str]) -> Row | None:
    """The peer's row of the same work and size; None for the peer itself, and where it was not measured."""
    name = against.get(row.work)
    found = [one for one in rows if (one.work, one.size, one.program) == (row.work, row.size, name)]
    return found[0] if found and row.program != name else None


def ratios_of(row: Row, rows: Sequence[Row], against: Mapping[str, str]) -> tuple[str, str]:
    """How many times as fast as the peer: by the clock, and by the processor's time. Empty without a peer."""
    other = peer_of(row, rows, against)
    if other is None:
        return "", ""
    return f"{other.best_s / row.best_s:.2f}", f"{other.cpu_s / row.cpu_s:.2f}"


def slopes(rows: Sequence[Row]) -> list[str]:
    """A line for each work and program of qtsim: how its cost grows with the size."""
    lines = []
    for work, program in dict.fromkeys((row.work, row.program) for row in rows if row.program.startswith("qtsim")):
        own = [row for row in rows if (row.work, row.program) == (work, program)]
        if len(own) > 1:
            sizes = " to ".join(f"{row.size:,}" for row in (own[0], own[-1]))
            lines.append(f"{work}, {program}: cost grows as size^{slope(own):.2f} from {sizes}")
    return lines


def report(rows: Sequence[Row], against: Mapping[str, str], given: argparse.Namespace) -> None:
    """Print the table and the slopes; write the rows where the caller wants them."""
    print("\n".join([f"{machine()}", "", *table(rows, against), "", *slopes(rows)]))
    if given.json is not None:
        found = {"machine": machine(), "rows": [asdict(row) for row in rows], "against": dict(against)}
        given.json.write_text(json.dumps(found), encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
