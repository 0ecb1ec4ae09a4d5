"""vectorbt: `Portfolio.from_signals` of many targets and stops, in chunks of columns on processes of their own.

Arguments: market file, options as JSON: engine, opposite, tps and sls (every one with every other), columns (of a
chunk), jobs.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import vectorbt as vbt
from serving import forget_peak, memory_mb, serve

market: dict[str, np.ndarray] = {}
given: dict[str, Any] = {}


def trials_of(options: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Target and stop of each trial."""
    tps, sls = np.meshgrid(options["tps"], options["sls"], indexing="ij")
    return tps.ravel().tolist(), sls.ravel().tolist()


def prepare(file: str, options: dict[str, Any]) -> None:
    """Load the market in a process of the pool, and warm up."""
    with np.load(file) as found:
        market.update({name: found[name].reshape(-1, 1) for name in found.files})  # a column; trials are the others
    given.update(options | dict(zip(("tps", "sls"), trials_of(options), strict=True)))
    portfolio({name: values[:1000] for name, values in market.items()}, slice(0, 2))


def portfolio(bars: dict[str, np.ndarray], columns: slice) -> Any:
    """Some trials at once."""
    return vbt.Portfolio.from_signals(
        bars["close"],
        entries=bars["entries"],
        short_entries=bars["shorts"],
        open=bars["open"],
        high=bars["high"],
        low=bars["low"],
        tp_stop=np.array([given["tps"][columns]]),
        sl_stop=np.array([given["sls"][columns]]),
        stop_entry_price="fillprice",
        size=0.01,
        init_cash=1e6,
        fees=0.0005,
        slippage=0.0002,
        freq="1min",
        upon_opposite_entry=given["opposite"],
        engine=given["engine"],
    )


def rest(_: int) -> float:
    """Memory of a process of the pool before the first chunk, MB."""
    forget_peak()
    return memory_mb("VmRSS")


def chunk(first: int) -> tuple[int, float, float]:
    """Orders of a chunk, seconds of the processor, and this process' peak of memory so far, MB."""
    busy = time.process_time()
    orders = len(portfolio(market, slice(first, first + given["columns"])).orders.records)
    return orders, time.process_time() - busy, memory_mb("VmHWM")


def main() -> None:
    """Start the processes, serve."""
    file, options = sys.argv[1], json.loads(sys.argv[2])
    firsts = range(0, len(options["tps"]) * len(options["sls"]), options["columns"])
    jobs = options["jobs"]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, prepare, (file, options)) as pool:
        start_mb = max(pool.map(rest, range(4 * jobs))) * jobs

        def run() -> dict[str, Any]:
            orders, cpu_s, peaks = zip(*pool.map(chunk, firsts), strict=True)
            return {"orders": sum(orders), "cpu_s": sum(cpu_s), "peak_mb": max(peaks) * jobs}

        serve(run, version=vbt.__version__, start_mb=start_mb)


if __name__ == "__main__":
    main()
