"""qtsim: `qtsim.sweep` over a grid of settings. Arguments: market file, options as JSON: grid, settings, jobs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from serving import serve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from markets import MINUTE, PRICES, START, load

import qtsim as qt
from qtsim.research.warming import run_smallest_trial


def main() -> None:
    """Load, warm up, serve."""
    market, given = load(sys.argv[1]), json.loads(sys.argv[2])
    n = len(market["close"])
    times = pd.DatetimeIndex((START + MINUTE * np.arange(n)).view("M8[ns]"), name="time").tz_localize("UTC")
    bars = pd.DataFrame({name: market[name] for name in PRICES} | {"volume": 1000.0}, index=times)
    longs, shorts = market["entries"], market["shorts"]

    class Crosses(qt.Strategy):
        """The market's own crosses."""

        def signals(self, bars: Any) -> Any:
            return qt.Signals(long=longs, short=shorts)

    def run() -> dict[str, Any]:
        began = time.perf_counter()
        found = qt.sweep(
            Crosses,
            {"BTCUSDT": bars},
            grid=given["grid"],
            timeframe="1m",
            settings=given["settings"],
            jobs=given["jobs"],
            many=True,
            check=False,
            funding="off",
            mark="off",
        )
        whole = time.perf_counter() - began
        trades = int(found.values_of("Trades").sum())
        return {"seconds": found.elapsed_s, "trades": trades, "ms with planning": round(1000 * whole)}

    run_smallest_trial()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["QTSIM_HOME"] = folder  # the experiment store of the sweeps goes there
        os.chdir(folder)
        serve(run)


if __name__ == "__main__":
    main()
