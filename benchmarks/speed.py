"""Bars per second of one backtest, qtsim beside vectorbt, in one run and as a ratio.

    python benchmarks/speed.py [--bars 1000000] [--vectorbt PYTHON]

Three sets of signals: the crosses of EMA 12 and 26 with opposite ones ignored, the same reversing at each cross, and
one cross of thirty. qtsim runs whole: decisions, denials, fills, trades, governor, equity; the equity is kept short, so
a second figure has it written out for every boundary. vectorbt (an optional companion) runs `Portfolio.from_signals` on
the same bars with the same signals, target and stop, and gives orders; PYTHON is the interpreter of an environment that
has it, this one by default. Times are the best of several runs after a warm-up.
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
RUNS = 5
TP, SL = 0.02, 0.012
RARE = 30

VECTORBT = """
import json, sys, time
import numpy as np, vectorbt as vbt
data = np.load(sys.argv[1])
def run():
    started = time.perf_counter()
    portfolio = vbt.Portfolio.from_signals(
        data["close"], entries=data["entries"], short_entries=data["shorts"], open=data["open"], high=data["high"],
        low=data["low"], tp_stop=0.02, sl_stop=0.012, fees=0.0005, slippage=0.0002, freq="1min",
        upon_opposite_entry=sys.argv[3])
    orders = len(portfolio.orders.records)
    return time.perf_counter() - started, orders
run()
best = min(run() for _ in range(int(sys.argv[2])))
print(json.dumps({"seconds": best[0], "orders": best[1], "version": vbt.__version__}))
"""


def generate(n: int) -> dict[str, np.ndarray]:
    """A minute market and its EMA 12/26 crosses."""
    import talib

    rng = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.0008, n)))
    opening = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opening, close) * (1 + np.abs(rng.normal(0, 0.0004, n)))
    low = np.minimum(opening, close) * (1 - np.abs(rng.normal(0, 0.0004, n)))
    above = talib.EMA(close, 12) > talib.EMA(close, 26)
    before = np.concatenate([[above[0]], above[:-1]])
    return {
        "open": opening,
        "high": high,
        "low": low,
        "close": close,
        "entries": above & ~before,
        "shorts": ~above & before,
    }


def rare(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same market with one cross of `RARE`."""
    kept = data["entries"] | data["shorts"]
    kept[np.flatnonzero(kept)[np.arange(int(kept.sum())) % RARE != 0]] = False
    return {**data, "entries": data["entries"] & kept, "shorts": data["shorts"] & kept}


def time_qtsim(data: dict[str, np.ndarray], overrides: dict[str, Any]) -> tuple[float, float, int]:
    """Best seconds of a whole compiled run, of one with its equity written out, and the fills."""
    from qtsim.config.layers import resolve
    from qtsim.config.params import to_params
    from qtsim.core.records import bar_dt, funding_dt, signal_dt
    from qtsim.data.instruments import load_instruments, to_record
    from qtsim.sim.market import SymbolInput, build_market
    from qtsim.sim.run import run_compiled

    n = len(data["close"])
    bars, signals = np.zeros(n, bar_dt), np.zeros(n, signal_dt)
    bars["ts_open"] = 1_704_067_200_000_000_000 + MINUTE * np.arange(n)
    for name in ("open", "high", "low", "close"):
        bars[name] = bars[f"mark_{name}"] = data[name]
    for name in ("confidence", "tp", "sl", "trail", "divergence", "funding_delta"):
        signals[name] = np.nan
    signals["tag"], signals["atr_ratio"], signals["symbol_risk"] = -1, 1.0, 1.0
    signals["atr"], signals["atr_pct"] = 0.005 * data["close"], 0.005
    signals["long"], signals["short"] = data["entries"], data["shorts"]
    rules = to_record(load_instruments()["BTCUSDT"])
    item = SymbolInput("BTCUSDT", bars, signals, np.zeros(0, funding_dt), rules, has_mark=False)
    params = to_params(resolve(environ={}, overrides=overrides).settings, MINUTE)
    market = build_market([item], MINUTE)
    run_compiled(market, params, 10_000.0, ["BTCUSDT"])
    best, written, fills = float("inf"), float("inf"), 0
    for _ in range(RUNS):
        started = time.perf_counter()
        run = run_compiled(market, params, 10_000.0, ["BTCUSDT"])
        best = min(best, time.perf_counter() - started)
        fills = len(run.fills)
        assert len(run.equity) == n + 1
        written = min(written, time.perf_counter() - started)
    return best, written, fills


def time_vectorbt(data: dict[str, np.ndarray], python: str, opposite: str) -> dict[str, Any] | None:
    """The same in vectorbt; None where that interpreter does not have it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "market.npz"
        np.savez(file, **data)
        command = [python, "-c", VECTORBT, str(file), str(RUNS), opposite]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print("vectorbt: not measured;", (done.stderr.strip().splitlines() or ["no answer"])[-1])
        return None
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Bars per second of qtsim beside vectorbt.")
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--vectorbt", default=sys.executable, metavar="PYTHON")
    given = parser.parse_args()
    data = generate(given.bars)
    print(f"{given.bars:,} bars, best of {RUNS}, {platform.machine()}, Python {platform.python_version()}")
    bracket = {"exit.policy": "bracket", "exit.bracket.tp": TP, "exit.bracket.sl": SL}
    brain = {"exit.base_tp": TP, "exit.base_sl": SL}
    reversing = {"exit.on_opposite_signal": "reverse"}
    cases = (
        ("each cross, opposite ignored", data, "ignore", (("bracket", bracket), ("whole ExitBrain", brain))),
        ("reversing at each cross", data, "reverse", (("bracket", bracket | reversing),)),
        (f"one cross of {RARE}", rare(data), "ignore", (("bracket", bracket), ("whole ExitBrain", brain))),
    )
    for title, market, opposite, runs in cases:
        print(title)
        peer = time_vectorbt(market, given.vectorbt, opposite)
        if peer is not None:
            rate = given.bars / peer["seconds"] / 1e6
            name = "vectorbt " + peer["version"] + " from_signals"
            print(f"  {name:<38} {rate:8.2f} M bars/s  {peer['orders']:,} orders")
        for name, overrides in runs:
            seconds, written, fills = time_qtsim(market, overrides)
            for what, taken in ((name, seconds), (f"{name}, equity written out", written)):
                ratio = f"{peer['seconds'] / taken:6.2f} × vectorbt" if peer is not None else ""
                print(f"  {'qtsim ' + what:<38} {given.bars / taken / 1e6:8.2f} M bars/s  {fills:,} fills  {ratio}")


if __name__ == "__main__":
    main()
