"""qtsim: one run over bars. Arguments: market file, settings as JSON, and perhaps a file for the trades of one run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from serving import serve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from markets import MINUTE, Columns, head, load, to_rows

from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.enums import FillKind
from qtsim.core.records import funding_dt
from qtsim.data.instruments import load_instruments, to_record
from qtsim.sim.journals import Journals
from qtsim.sim.market import Market, SymbolInput, build_market
from qtsim.sim.run import run_compiled

WARM_BARS = 1000
SYMBOL = "BTCUSDT"


def build(market: Columns) -> Market:
    """The market of one symbol as the simulator wants it."""
    bars, signals = to_rows(market)
    rules = to_record(load_instruments()[SYMBOL])
    return build_market([SymbolInput(SYMBOL, bars, signals, np.zeros(0, funding_dt), rules, has_mark=False)], MINUTE)


def main() -> None:
    """Load, warm up, serve."""
    market, overrides = load(sys.argv[1]), json.loads(sys.argv[2])
    settings = resolve(environ={}, overrides=overrides).settings
    params, balance = to_params(settings, MINUTE), float(settings.account.balance)

    def once(prepared: Market) -> Journals:
        return run_compiled(prepared, params, balance, [SYMBOL])

    once(build(head(market, WARM_BARS)))
    prepared = build(market)
    if len(sys.argv) > 3:
        trades = once(prepared).trades
        np.save(sys.argv[3], np.column_stack([trades[name] for name in ("entry_bar", "exit_bar", "side")]))

    def run() -> dict[str, Any]:
        journals = once(prepared)
        return {"entries": int((journals.fills["kind"] == FillKind.ENTRY).sum()), "fills": len(journals.fills)}

    serve(run)


if __name__ == "__main__":
    main()
