"""Trades per second of a run on trades, qtsim beside hftbacktest, in one run and as a ratio.

    python benchmarks/ticks.py [--trades 2000000] [--hftbacktest PYTHON]

qtsim runs whole: a bracket re-entered at every bar, exit cycles at every trade, fills, trades and equity. hftbacktest
feeds the same trades to a strategy that takes the market at the same rate; PYTHON is the interpreter of an environment
that has it (`pip install hftbacktest`). Times are the best of several runs after a warm-up.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

MINUTE = 60_000_000_000
START = 1_704_067_200_000_000_000
RUNS = 3

HFTBACKTEST = """
import json, sys, time
import numpy as np
from numba import njit
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest, MARKET, GTC
from hftbacktest import BUY_EVENT, SELL_EVENT, TRADE_EVENT, EXCH_EVENT, LOCAL_EVENT, DEPTH_SNAPSHOT_EVENT
from hftbacktest.types import event_dtype
data = np.load(sys.argv[1])
n = len(data["time"])
rows = np.zeros(n + 2, event_dtype)
rows["ev"][:2] = [DEPTH_SNAPSHOT_EVENT | EXCH_EVENT | LOCAL_EVENT | side for side in (BUY_EVENT, SELL_EVENT)]
rows["px"][:2] = data["price"][0] - 0.1, data["price"][0] + 0.1
rows["qty"][:2] = 1e9
rows["exch_ts"][:2] = rows["local_ts"][:2] = data["time"][0]
rows["ev"][2:] = np.where(data["sells"], SELL_EVENT, BUY_EVENT) | TRADE_EVENT | EXCH_EVENT | LOCAL_EVENT
rows["px"][2:], rows["qty"][2:] = data["price"], data["qty"]
rows["exch_ts"][2:] = rows["local_ts"][2:] = data["time"]

@njit
def take(hbt, every):
    steps, side = 0, 1
    while hbt.elapse(every) == 0:
        steps += 1
        hbt.clear_inactive_orders(0)
        if steps % 6 == 0:
            if side > 0:
                hbt.submit_buy_order(0, steps, 1e6, 0.001, GTC, MARKET, False)
            else:
                hbt.submit_sell_order(0, steps, 0.0, 0.001, GTC, MARKET, False)
            side = -side
    return steps

def run():
    asset = (BacktestAsset().data(rows).linear_asset(1.0).constant_order_latency(0, 0).risk_adverse_queue_model()
             .no_partial_fill_exchange().trading_value_fee_model(0.0002, 0.0005).tick_size(0.1).lot_size(0.001))
    hbt = HashMapMarketDepthBacktest([asset])
    started = time.perf_counter()
    steps = take(hbt, 10_000_000_000)
    seconds = time.perf_counter() - started
    hbt.close()
    return seconds, steps

run()
best = min(run() for _ in range(int(sys.argv[2])))
import importlib.metadata
print(json.dumps({"seconds": best[0], "steps": best[1], "version": importlib.metadata.version("hftbacktest")}))
"""


def generate(n: int) -> dict[str, np.ndarray]:
    """Trades of a walk on ticks of 0.1, ten a second."""
    rng = np.random.default_rng(7)
    time_ns = START + np.cumsum(rng.integers(1, 200_000_000, n))
    price = np.round(60_000.0 * np.exp(np.cumsum(rng.normal(0, 0.00002, n))), 1)
    return {"time": time_ns, "price": price, "qty": np.full(n, 0.01), "sells": rng.random(n) < 0.5}


def time_qtsim(data: dict[str, np.ndarray], monitoring: str) -> tuple[float, int]:
    """Best seconds of a whole compiled run, and its fills."""
    from qtsim.config.layers import resolve
    from qtsim.config.params import to_params
    from qtsim.core.records import bar_dt, funding_dt, signal_dt
    from qtsim.data.instruments import load_instruments, to_record
    from qtsim.sim.market import SymbolInput, build_market
    from qtsim.sim.run import run_compiled
    from qtsim.sim.trades import join_chunk, signal_times, trade_rows

    first, last = int(data["time"][0]) // MINUTE, int(data["time"][-1]) // MINUTE
    n = last - first + 1
    bars, signals = np.zeros(n, bar_dt), np.zeros(n, signal_dt)
    bars["ts_open"] = MINUTE * (first + np.arange(n))
    for name in ("open", "high", "low", "close"):
        bars[name] = bars[f"mark_{name}"] = 60_000.0
    for name in ("confidence", "tp", "sl", "trail", "divergence", "funding_delta", "thinness"):
        signals[name] = np.nan
    signals["tag"], signals["atr_ratio"], signals["symbol_risk"], signals["long"] = -1, 1.0, 1.0, 1
    rules = to_record(load_instruments()["BTCUSDT"])
    item = SymbolInput("BTCUSDT", bars, signals, np.zeros(0, funding_dt), rules, has_mark=False)
    overrides: dict[str, Any] = {
        "exit.policy": "bracket",
        "exit.bracket.tp": 0.002,
        "exit.bracket.sl": 0.002,
        "exit.monitoring": monitoring,
        "sizing.model": "fixed_qty",
    }
    params = to_params(resolve(environ={}, overrides=overrides).settings, MINUTE)
    market = build_market([item], MINUTE)
    nothing = np.full(len(data["time"]), np.nan)
    rows = trade_rows(data["time"], data["price"], data["qty"], data["price"], nothing)
    best, fills = float("inf"), 0
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        chunk = join_chunk([rows], signal_times(market), [True], horizon=None)
        fills = len(run_compiled(market, params, 10_000.0, ["BTCUSDT"], trades=[chunk]).fills)
        best = min(best, time.perf_counter() - started)
    return best, fills


def time_hftbacktest(data: dict[str, np.ndarray], python: str) -> dict[str, Any] | None:
    """The same trades in hftbacktest; None where that interpreter does not have it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trades.npz"
        np.savez(file, **data)
        command = [python, "-c", HFTBACKTEST, str(file), str(RUNS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print("hftbacktest: not measured;", (done.stderr.strip().splitlines() or ["no answer"])[-1])
        return None
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Trades per second of qtsim beside hftbacktest.")
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--hftbacktest", default=sys.executable, metavar="PYTHON")
    given = parser.parse_args()
    data = generate(given.trades)
    peer = time_hftbacktest(data, given.hftbacktest)
    print(f"{given.trades:,} trades, best of {RUNS}, {platform.machine()}, Python {platform.python_version()}")
    if peer is not None:
        rate, name = given.trades / peer["seconds"] / 1e6, f"hftbacktest {peer['version']} trades only"
        print(f"{name:<38} {rate:8.2f} M trades/s  {peer['steps']:,} steps")
    for monitoring in ("interval", "points"):
        seconds, fills = time_qtsim(data, monitoring)
        rate = given.trades / seconds / 1e6
        ratio = f"{peer['seconds'] / seconds:6.2f} × hftbacktest" if peer is not None else ""
        print(f"{'qtsim bracket, ' + monitoring:<38} {rate:8.2f} M trades/s  {fills:,} fills  {ratio}", flush=True)


if __name__ == "__main__":
    main()
