"""hftbacktest: a strategy that takes the market each minute, on trades alone. Argument: file of the trades."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    GTC,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit
from serving import serve

SEEN = EXCH_EVENT | LOCAL_EVENT


def events_of(data: dict[str, np.ndarray]) -> np.ndarray:
    """One best bid and ask that never run out, then the trades."""
    rows = np.zeros(len(data["time"]) + 2, event_dtype)
    rows["ev"][:2] = [DEPTH_SNAPSHOT_EVENT | SEEN | side for side in (BUY_EVENT, SELL_EVENT)]
    rows["px"][:2] = data["price"][0] - 0.1, data["price"][0] + 0.1
    rows["qty"][:2] = 1e9
    rows["exch_ts"][:2] = rows["local_ts"][:2] = data["time"][0]
    rows["ev"][2:] = np.where(data["sells"], SELL_EVENT, BUY_EVENT) | TRADE_EVENT | SEEN
    rows["px"][2:], rows["qty"][2:] = data["price"], data["qty"]
    rows["exch_ts"][2:] = rows["local_ts"][2:] = data["time"]
    return rows


@njit
def take(hbt: Any, every: int) -> int:
    """Every ten seconds a look; at every sixth an order, in turn to buy and to sell."""
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


def main() -> None:
    """Load, warm up, serve."""
    with np.load(sys.argv[1]) as found:
        data = {name: found[name] for name in found.files}

    def once(rows: np.ndarray) -> dict[str, Any]:
        asset = BacktestAsset().data(rows).linear_asset(1.0).constant_order_latency(0, 0)
        asset = asset.risk_adverse_queue_model().no_partial_fill_exchange()
        asset = asset.trading_value_fee_model(0.0002, 0.0005).tick_size(0.1).lot_size(0.001)
        hbt = HashMapMarketDepthBacktest([asset])
        steps = int(take(hbt, 10_000_000_000))
        hbt.close()
        return {"looks": steps, "orders": steps // 6}

    rows = events_of(data)
    once(rows[:10_000])
    serve(lambda: once(rows), version=importlib.metadata.version("hftbacktest"))


if __name__ == "__main__":
    main()
