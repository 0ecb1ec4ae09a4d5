"""What one live price point costs in Python, with the position of its symbol open and nothing to do.

    python benchmarks/live_point.py [--quick] [--runs N] [--json FILE]

By number of symbols, each with a position: through the trader (exchange side, exit cycle, governor, and all that live
trading does but the tape and the network), through the session alone, and the one compiled call that decides about
the position. The rate is in million points a second: 0.2 is 5 µs a point.
"""

from __future__ import annotations

import argparse

from measuring import Program, Row, alternate, interpreter, options, report, sizes_of

SYMBOLS = (1, 5, 20)
POINTS = 20_000
RUNS = 5
NAMES = {"qtsim trader": "trader", "qtsim session": "session", "qtsim compiled decision": "call"}
WORK = "live point"


def measure(given: argparse.Namespace) -> list[Row]:
    """Every number of symbols."""
    rows: list[Row] = []
    points = 1_000 if given.quick else POINTS
    for symbols in sizes_of(given, SYMBOLS, SYMBOLS):
        found = [
            Program(name, interpreter(), "qtsim_points.py", str(symbols), str(points), what)
            for name, what in NAMES.items()
        ]
        rows += alternate(found, given.runs or RUNS, WORK, symbols, points)
    for row in rows:
        row.counted["ns of the processor a point"] = round(1e9 * row.cpu_s / row.units)
    return rows


def main() -> None:
    """Measure and print."""
    given = options("What one live price point costs in Python.").parse_args()
    report(measure(given), {}, given)


if __name__ == "__main__":
    main()
