"""Run every benchmark beside its peers and write one page of results.

    python benchmarks/all.py [--quick] [--runs N] [--out FOLDER] [--only speed,sweep]

Runs speed, sweep, ticks, portfolio, startup and live_point one after the other. Their rows are kept in the folder, by
default build/benchmarks, as NAME.json; results.md there is made of all that the folder has: first every target with
what was measured and whether it was met, then the rows. So one benchmark can be run again alone. docs/benchmarks.md
takes over both tables. Peers: python benchmarks/environments.py.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measuring import HERE, Row, interpreter, peer_of, slopes, table

NAMES = ("speed", "sweep", "ticks", "portfolio", "startup", "live_point")


@dataclass(frozen=True)
class Target:
    """What a figure should be. kind: ratio (to the peer), rate (M/s), seconds, us (µs a point), mb (MB)."""

    text: str
    work: str
    size: int
    program: str
    kind: str
    wanted: float

    @property
    def benchmark(self) -> str:
        """Where the figure comes from."""
        starts = {"single run": "speed", "sweep": "sweep", "trades": "ticks", "portfolio": "portfolio"}
        starts |= {"start-up": "startup", "live point": "live_point"}
        return next(name for start, name in starts.items() if self.work.startswith(start))


MILLION, THOUSAND, YEAR = 1_000_000, 1_000, 8_760
TARGETS = (
    Target("opposite ignored", "single run, opposite ignored", MILLION, "qtsim bracket", "ratio", 10.0),
    Target("opposite ignored, ExitBrain", "single run, opposite ignored", MILLION, "qtsim ExitBrain", "ratio", 10.0),
    Target("reversing at each cross", "single run, reversing", MILLION, "qtsim bracket", "ratio", 5.0),
    Target("signals about every 1,000 bars", "single run, rare signals", MILLION, "qtsim bracket", "ratio", 20.0),
    Target("sweep 1,000 × 100k", "sweep, default", THOUSAND, "qtsim ExitBrain", "ratio", 50.0),
    Target("sweep, rare signals", "sweep, rare signals", THOUSAND, "qtsim ExitBrain", "ratio", 100.0),
    Target("sweep, reversing", "sweep, reversing", THOUSAND, "qtsim ExitBrain", "ratio", 10.0),
    Target("sweep, memory", "sweep, default", THOUSAND, "qtsim ExitBrain", "mb", 300.0),
    Target("sweep of 10,000, memory", "sweep, default", 10_000, "qtsim ExitBrain", "mb", 300.0),
    Target("ticks, interval", "trades", 3_000_000, "qtsim interval", "ratio", 10.0),
    Target("ticks, points", "trades", 3_000_000, "qtsim points", "ratio", 10.0),
    Target("portfolio, 20 × 1M", "portfolio", 20, "qtsim, small sizes", "rate", 100.0),
    Target("portfolio, 20 × 1M, defaults", "portfolio", 20, "qtsim, defaults", "rate", 100.0),
    Target("live point, session included", "live point", 1, "qtsim session", "us", 5.0),
    Target("live point, one compiled call", "live point", 1, "qtsim compiled decision", "us", 1.0),
    Target("qtsim --help", "start-up: --help", 1, "qtsim --help", "seconds", 0.4),
    Target("warm qtsim backtest, a year", "start-up: warm backtest", YEAR, "qtsim backtest", "seconds", 2.5),
    Target("the first run, compiling", "start-up: empty cache", YEAR, "qtsim backtest", "seconds", 40.0),
)
AT_LEAST = ("ratio", "rate")
UNITS = {"ratio": "×", "rate": "M/s", "seconds": "s", "us": "µs", "mb": "MB above data"}


def figures(target: Target, row: Row, rows: list[Row], against: dict[str, str]) -> tuple[float, float]:
    """What a target is about, by the clock and by the processor's time; NaN where the peer was not measured."""
    other = peer_of(row, rows, against)
    times = (row.best_s, row.cpu_s)
    if target.kind == "ratio":
        peers = (math.nan, math.nan) if other is None else (other.best_s, other.cpu_s)
        clock, cpu = (theirs / ours for theirs, ours in zip(peers, times, strict=True))
    elif target.kind == "mb":
        clock = cpu = max(row.above_mb, 1.0)
    else:
        of = {"rate": lambda s: row.units / s / 1e6, "us": lambda s: 1e6 * s / row.units, "seconds": float}
        clock, cpu = map(of[target.kind], times)
    return clock, cpu


def targets_table(rows: list[Row], against: dict[str, str]) -> list[str]:
    """Every target: wanted, measured, how far by the processor's time, the command."""
    lines = [
        "| target | wanted | by the clock | by processor | of the target | command |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for target in TARGETS:
        key = (target.work, target.size, target.program)
        row = next((row for row in rows if (row.work, row.size, row.program) == key), None)
        clock, cpu = (math.nan, math.nan) if row is None else figures(target, row, rows, against)
        more = target.kind in AT_LEAST
        reached = cpu / target.wanted if more else target.wanted / cpu
        share = "not measured" if math.isnan(cpu) else "met" if reached >= 1.0 else f"{reached:.0%}"
        wanted = f"{'≥' if more else '≤'} {target.wanted:g} {UNITS[target.kind]}"
        command = f"`python benchmarks/{target.benchmark}.py`"
        lines.append(f"| {target.text} | {wanted} | {_text(clock)} | {_text(cpu)} | {share} | {command} |")
    return lines


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"


def run_benchmark(name: str, given: argparse.Namespace) -> None:
    """One benchmark in a process of its own, which writes its rows; where it fails those of before stay."""
    command = [interpreter(), str(HERE / f"{name}.py"), "--json", str(given.out / f"{name}.json")]
    command += ["--runs", str(given.runs), *(["--quick"] if given.quick else [])]
    print(f"{name} …", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        print(f"{name}: ended with code {code}", file=sys.stderr)


def write_page(folder: Path) -> Path:
    """The page of all rows that the folder has. Returns its path."""
    rows: list[Row] = []
    against: dict[str, str] = {}
    machines: list[str] = []
    for file in (folder / f"{name}.json" for name in NAMES):
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            rows += [Row(**row) for row in found["rows"]]
            against |= found["against"]
            machines.append(found["machine"])
    page = [*dict.fromkeys(machines), "", *targets_table(rows, against), "", *table(rows, against), "", *slopes(rows)]
    target = folder / "results.md"
    target.write_text("\n".join(page) + "\n", encoding="utf-8")
    return target


def main() -> None:
    """Run, and write the page."""
    parser = argparse.ArgumentParser(description="Run every benchmark and write one page of results.")
    parser.add_argument("--quick", action="store_true", help="small sizes, few runs: does it work?")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="runs of each program at each size")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), metavar="FOLDER")
    parser.add_argument("--only", default=",".join(NAMES), metavar="NAMES", help="which of them; empty: the page alone")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"{unknown[0]} is no benchmark: choose of {', '.join(NAMES)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        run_benchmark(name, given)
    print(f"\nwritten: {write_page(given.out)}")


if __name__ == "__main__":
    main()
