"""Does a live session survive what can go wrong? Random scenes of faults in virtual time, thousands of them.

    python -m benchmarks.faults [--seeds 2000] [--first 0] [--twice 50]

Each seed is twelve minutes of market with disturbances (tests/fault_scenes.py). Prints how often each kind of fault
struck in each phase of the session, how long positions were without a stop, how long it took until program and exchange
agreed again, and every seed that failed with the fewest disturbances that make it fail. Every `--twice`-th seed is
played twice and must send the same requests. Ctrl-C ends early and shows what was found. Exit code 1 where a seed
failed, or, from 2,000 seeds on, where a kind never struck in a phase in which it can.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault_scenes import KINDS, NEVER_THERE, PHASES, Outcome, Scene, minimal, play_scene, scene_of

MEMORY = Path("/dev/shm")
"""Files that live in memory need no disk: nothing here asks what a disk keeps."""
WHOLE = 2_000
"""From so many seeds on every cell must have been struck."""


def played(scene: Scene) -> Outcome:
    """A scene in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="qtsim-faults-") as folder:
        return play_scene(scene, Path(folder))


def quantile(values: list[int], share: float) -> int:
    """The smallest value that so many are not above; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0


def spread(name: str, values: list[int]) -> str:
    """Median, 99th percentile and highest, in words."""
    figures = (quantile(values, 0.5), quantile(values, 0.99), max(values, default=0))
    return f"{name}: p50 {figures[0]:,} ms, p99 {figures[1]:,} ms, max {figures[2]:,} ms"


def table(struck: Counter[tuple[str, str]]) -> Iterable[str]:
    """Kinds down, phases across; a dash where a kind cannot strike."""
    yield f"{'':22s}" + "".join(f"{phase:>12s}" for phase in PHASES)
    for kind in KINDS:
        cells = ["–" if (kind, phase) in NEVER_THERE else f"{struck[kind, phase]:,}" for phase in PHASES]
        yield f"{kind:22s}" + "".join(f"{cell:>12s}" for cell in cells)


@dataclass
class Findings:
    """What all scenes came to."""

    seeds: int = 0
    failed: int = 0
    openings: int = 0
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    in_sight: list[int] = field(default_factory=list)
    converged: list[int] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count a scene."""
        self.seeds += 1
        self.failed += bool(outcome.failure)
        self.openings += outcome.openings
        self.struck += outcome.struck
        self.lengths += outcome.unprotected_ms
        self.in_sight += outcome.in_sight_ms
        self.converged += [outcome.converged_ms] if outcome.converged_ms is not None else []

    def lines(self) -> Iterable[str]:
        """The table and the figures."""
        yield from table(self.struck)
        yield (
            f"{self.seeds:,} seeds, {sum(self.struck.values()):,} disturbances, {self.openings:,} openings, "
            f"{self.failed} failed"
        )
        protected = [0] * (self.openings - len(self.lengths))
        yield spread("without a stop", [*protected, *self.lengths])
        yield spread("without a stop, in sight of the program", [*protected, *self.in_sight])
        yield spread("until program and exchange agreed", self.converged)


def main() -> int:
    """Play the seeds. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=WHOLE)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--twice", type=int, default=50)
    wanted = parser.parse_args()
    logging.getLogger("qtsim.live").propagate = False

    found = Findings()
    began = time.process_time()
    try:
        for seed in range(wanted.first, wanted.first + wanted.seeds):
            outcome = played(scene_of(seed))
            is_twice = wanted.twice and seed % wanted.twice == 0 and not outcome.failure
            if is_twice and played(scene_of(seed)).log != outcome.log:
                outcome.failure = "I15: the same seed sent other requests the second time"
            found.add(outcome)
            if outcome.failure:
                print(f"FAILED {minimal(outcome.scene, played)}\n  {outcome.failure}", flush=True)
    except KeyboardInterrupt:
        print("ended early")
    for line in found.lines():
        print(line)
    print(f"{(time.process_time() - began) / max(1, found.seeds):.2f} s of processor per seed")
    missing = [f"{kind} while {phase}" for kind in KINDS for phase in PHASES if is_missing(found.struck, kind, phase)]
    is_whole = found.seeds >= WHOLE
    if missing and is_whole:
        print("never struck: " + ", ".join(missing))
    return int(found.failed > 0 or (is_whole and bool(missing)))


def is_missing(struck: Counter[tuple[str, str]], kind: str, phase: str) -> bool:
    """Can this kind strike in this phase, and never has?"""
    return (kind, phase) not in NEVER_THERE and not struck[kind, phase]


if __name__ == "__main__":
    sys.exit(main())
