"""Make the environments of the peers, one each: vectorbt, backtesting, nautilus, hftbacktest.

    python benchmarks/environments.py [NAME ...] [--python python3.11]

They lie in benchmarks/.peers, or in the folder that BENCHMARK_PEERS_DIR names. Peers have licences of their own and
are no part of qtsim; the benchmarks run them in processes of their own and leave out those that are not there. An
environment that is there is kept: delete its folder to make it anew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from measuring import HERE, PEERS_DIR

PEERS = {
    "vectorbt": ("vectorbt[rust]==1.2.0",),
    "backtesting": ("backtesting==0.6.6",),
    "nautilus": ("nautilus_trader==1.221.0",),
    "hftbacktest": ("hftbacktest==2.4.4",),
}


def make(name: str, python: str, root: Path) -> bool:
    """Make one environment; whether it is there afterwards."""
    folder = root / name
    if (folder / ".made").exists():
        print(f"{name}: is there")
        return True
    print(f"{name}: {' '.join(PEERS[name])}", flush=True)
    steps = (
        [python, "-m", "venv", str(folder)],
        [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name]],
    )
    for step in steps:
        if subprocess.run(step, check=False).returncode != 0:
            print(f"{name}: not made; {' '.join(step)} failed", file=sys.stderr)
            return False
    (folder / ".made").touch()
    return True


def main() -> None:
    """Make those that are asked for."""
    parser = argparse.ArgumentParser(description="Make the environments of the peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PEERS)}; all of them without")
    parser.add_argument("--python", default=sys.executable, help="the Python that they get")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in PEERS]
    if unknown:
        parser.error(f"{unknown[0]} is no peer: choose of {', '.join(PEERS)}")
    root = Path(os.environ.get(PEERS_DIR, HERE / ".peers"))
    made = [make(name, given.python, root) for name in given.names or PEERS]
    sys.exit(0 if all(made) else 1)


if __name__ == "__main__":
    main()
