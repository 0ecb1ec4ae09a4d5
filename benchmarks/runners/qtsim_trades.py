"""qtsim: a bracket entered again at each minute, on trades. Arguments: file of the trades, exit.monitoring."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from serving import serve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from markets import MINUTE, Columns, head, load, to_rows

from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.records import funding_dt
from qtsim.data.instruments import load_instruments, to_record
from qtsim.sim.market import Market, SymbolInput, build_market
from qtsim.sim.path_trades import PathTrades, path_trades
from qtsim.sim.run import run_compiled
from qtsim.sim.trades import join_chunk, signal_times

SYMBOL = "BTCUSDT"
SETTINGS = {
    "exit.policy": "bracket",
    "exit.bracket.tp": 0.002,
    "exit.bracket.sl": 0.002,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 0.01,
    "account.balance": 1_000_000.0,
    "orchestrator.symbol.min_win_rate": 0.0,
    "orchestrator.symbol.disable_losses": "inf",
    "orchestrator.symbol.blacklist_losses": "inf",
    "governor.streak.losses": "inf",
}


def build(trades: Columns) -> Market:
    """The minute bars under the trades, with a request to buy at each."""
    first, last = int(trades["time"][0]) // MINUTE, int(trades["time"][-1]) // MINUTE
    n = last - first + 1
    flat = np.full(n, 60_000.0)
    columns = dict.fromkeys(("open", "high", "low", "close"), flat)
    bars, signals = to_rows({**columns, "entries": np.ones(n, np.bool_), "shorts": np.zeros(n, np.bool_)})
    bars["ts_open"] = MINUTE * (first + np.arange(n))
    rules = to_record(load_instruments()[SYMBOL])
    return build_market([SymbolInput(SYMBOL, bars, signals, np.zeros(0, funding_dt), rules, has_mark=False)], MINUTE)


def main() -> None:
    """Load, warm up, serve."""
    trades = load(sys.argv[1])
    settings = resolve(environ={}, overrides={**SETTINGS, "exit.monitoring": sys.argv[2]}).settings
    params, balance = to_params(settings, MINUTE), float(settings.account.balance)

    def once(market: Market, given: PathTrades) -> dict[str, Any]:
        chunk = join_chunk([given], signal_times(market), [True], horizon=None)
        return {"fills": len(run_compiled(market, params, balance, [SYMBOL], trades=[chunk]).fills)}

    def trades_of(data: Columns) -> PathTrades:
        nothing = np.full(len(data["time"]), np.nan)
        return path_trades(data["time"], data["price"], data["qty"], data["price"], nothing)

    small = head(trades, 10_000)
    once(build(small), trades_of(small))
    market, given = build(trades), trades_of(trades)
    serve(lambda: once(market, given))


if __name__ == "__main__":
    main()
