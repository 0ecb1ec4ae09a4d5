"""vectorbt: `Portfolio.from_signals` over bars.

Arguments: market file, options as JSON (engine, opposite, tp, sl), and perhaps a file for the trades of one run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import vectorbt as vbt
from serving import serve


def rows_of(trades: Any) -> np.ndarray:
    """Entry bar, exit bar, side of each trade, as an engine counts that fills a signal at the next open.

    Here a signal is filled at its own close, whose price is that of the next open: an entry, and an exit by reversal.
    """
    entry, leave = trades["entry_idx"].to_numpy() + 1, trades["exit_idx"].to_numpy().copy()
    leave[:-1] += entry[1:] == leave[:-1] + 1
    return np.column_stack([entry, leave, 1 - 2 * trades["direction"]])


def main() -> None:
    """Load, warm up, serve."""
    with np.load(sys.argv[1]) as found:
        market = {name: found[name] for name in found.files}
    given = json.loads(sys.argv[2])

    def once(bars: dict[str, np.ndarray]) -> Any:
        return vbt.Portfolio.from_signals(
            bars["close"],
            entries=bars["entries"],
            short_entries=bars["shorts"],
            open=bars["open"],
            high=bars["high"],
            low=bars["low"],
            tp_stop=given["tp"],
            sl_stop=given["sl"],
            stop_entry_price="fillprice",
            size=0.01,
            init_cash=1e6,
            fees=0.0005,
            slippage=0.0002,
            freq="1min",
            upon_opposite_entry=given["opposite"],
            engine=given["engine"],  # one that is not there, or cannot do it, is an error and not the other one
        )

    once({name: values[:1000] for name, values in market.items()})
    if len(sys.argv) > 3:
        np.save(sys.argv[3], rows_of(once(market).trades.records))

    def run() -> dict[str, Any]:
        return {"orders": len(once(market).orders.records)}

    serve(run, version=vbt.__version__)


if __name__ == "__main__":
    main()
