"""backtesting.py: market orders with a target and a stop over bars.

Arguments: market file, options as JSON: tp, sl, or with lists of them, `tps` and `sls`, a sweep by `optimize` on `jobs`
processes.
"""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import resource
import sys
import warnings
from typing import Any

import backtesting
import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from serving import serve


class Bracket(Strategy):
    """Enters at the next open where it is flat; an opposite signal is ignored."""

    tp = 0.02
    sl = 0.012

    def init(self) -> None:
        """Nothing to prepare: the signals are columns of the data."""

    def next(self) -> None:
        """One bar."""
        if self.position or not (self.data.Enter[-1] or self.data.Short[-1]):
            return
        price = self.data.Close[-1]
        if self.data.Enter[-1]:
            self.buy(size=1, tp=price * (1 + self.tp), sl=price * (1 - self.sl))
        else:
            self.sell(size=1, tp=price * (1 - self.tp), sl=price * (1 + self.sl))


def backtest_of(file: str) -> Backtest:
    """The market of a file, ready to run."""
    with np.load(file) as found:
        columns = {name.capitalize(): found[name] for name in ("open", "high", "low", "close")}
        columns |= {"Enter": found["entries"], "Short": found["shorts"]}
    index = pd.date_range("2024-01-01", periods=len(columns["Close"]), freq="1min")
    return Backtest(
        pd.DataFrame(columns, index=index), Bracket, cash=1e9, commission=0.0005, spread=0.0002, finalize_trades=True
    )


def used_by_children() -> float:
    """Seconds of the processor, of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Load and serve."""
    warnings.simplefilter("ignore")
    given, backtest = json.loads(sys.argv[2]), backtest_of(sys.argv[1])

    def run() -> dict[str, Any]:
        return {"trades": int(backtest.run(tp=given["tp"], sl=given["sl"])["# Trades"])}

    def sweep() -> dict[str, Any]:
        before = used_by_children()
        with multiprocessing.Pool(given["jobs"]) as pool:
            backtesting.Pool = lambda *_, **__: pool
            _, found = backtest.optimize(tp=given["tps"], sl=given["sls"], maximize="# Trades", return_heatmap=True)
        pool.join()
        return {"trials": len(found), "trades": int(found.sum()), "cpu_s": used_by_children() - before}

    serve(sweep if "tps" in given else run, version=importlib.metadata.version("backtesting"))


if __name__ == "__main__":
    main()
