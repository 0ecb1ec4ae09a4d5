"""qtsim: one account, many symbols. Arguments: number of symbols, bars of each, settings as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from serving import serve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from markets import MINUTE, generate, to_rows

from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.records import funding_dt
from qtsim.data.instruments import load_instruments, to_record
from qtsim.sim.market import Market, SymbolInput, build_market
from qtsim.sim.run import run_compiled

WARM_BARS = 1000


def build(symbols: int, n: int) -> Market:
    """Markets of their own, with the trading rules of one symbol, in name order."""
    rules = to_record(load_instruments()["BTCUSDT"])
    inputs = []
    for k in range(symbols):
        bars, signals = to_rows(generate(n, seed=7 + k))
        inputs.append(SymbolInput(f"S{k:02d}USDT", bars, signals, np.zeros(0, funding_dt), rules, has_mark=False))
    return build_market(inputs, MINUTE)


def main() -> None:
    """Build, warm up, serve."""
    symbols, n, overrides = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    settings = resolve(environ={}, overrides=overrides).settings
    params, balance = to_params(settings, MINUTE), float(settings.account.balance)
    names = [f"S{k:02d}USDT" for k in range(symbols)]

    def once(market: Market) -> dict[str, Any]:
        journals = run_compiled(market, params, balance, names)
        return {"fills": len(journals.fills), "denials": len(journals.denials), "events": len(journals.governor)}

    once(build(symbols, WARM_BARS))
    market = build(symbols, n)
    serve(lambda: once(market))


if __name__ == "__main__":
    main()
