"""Symbol-bars per second of one account over many symbols, gates and governor on, on one core.

    python benchmarks/portfolio.py [--quick] [--runs N] [--json FILE] [--bars 1000000]

5, 10 and 20 symbols of one-minute bars, EMA 12/26 crosses, ExitBrain. `small sizes`: a fixed quantity that no limit
denies, so that all symbols trade to the end. `defaults`: the default profile as it is, whose gates deny, whose governor
pauses and shuts down, and whose losing symbols are switched off. No peer has such an account; nothing is compared.
"""

from __future__ import annotations

import argparse
import json

from measuring import Program, Row, alternate, interpreter, options, report, sizes_of
from speed import BRAIN

SYMBOLS = (5, 10, 20)
QUICK = (2, 3, 5)
RUNS = 3
WORK = "portfolio"
ROOM = {"limits.positions.long": "inf", "limits.positions.short": "inf", "limits.positions.total": "inf"}
CASES = {"qtsim, small sizes": BRAIN | ROOM, "qtsim, defaults": {}}


def measure(given: argparse.Namespace) -> list[Row]:
    """Every number of symbols."""
    rows: list[Row] = []
    bars = 5_000 if given.quick else given.bars
    for symbols in sizes_of(given, SYMBOLS, QUICK):
        for name, settings in CASES.items():
            arguments = (str(symbols), str(bars), json.dumps(settings))
            program = Program(name, interpreter(), "qtsim_portfolio.py", *arguments)
            rows += alternate([program], given.runs or RUNS, WORK, symbols, symbols * bars)
    return rows


def main() -> None:
    """Measure and print."""
    parser = options("Symbol-bars per second of one account over many symbols.")
    parser.add_argument("--bars", type=int, default=1_000_000, metavar="N")
    given = parser.parse_args()
    report(measure(given), {}, given)


if __name__ == "__main__":
    main()
