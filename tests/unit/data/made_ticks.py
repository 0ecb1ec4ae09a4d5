"""Trades and quotes for these tests: a small random market, and the ways in which people keep it."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from qtsim.data.timeframes import parse_time

DAY_TEXT = "2024-03-05"
START = parse_time(DAY_TEXT) + 9 * 3_600_000_000_000


def made_trades(
    n: int = 500, start: int = START, step_ms: int = 700, seed: int = 0, first_id: int = 1000
) -> pd.DataFrame:
    """Columns time (ns), price, qty, id, is_buyer_maker; several trades may share a millisecond."""
    rng = np.random.default_rng(seed)
    times = start + np.cumsum(rng.integers(0, 2 * step_ms, n)) * 1_000_000
    return pd.DataFrame(
        {
            "time": times,
            "price": np.round(60_000 + np.cumsum(rng.normal(0.0, 2.0, n)), 1),
            "qty": rng.integers(1, 900, n) / 1000.0,
            "id": first_id + np.arange(n),
            "is_buyer_maker": rng.random(n) < 0.5,
        }
    )


def made_quotes(n: int = 500, start: int = START, seed: int = 0) -> pd.DataFrame:
    """Columns time (ns), bid, bid_qty, ask, ask_qty, update_id."""
    trades = made_trades(n, start, seed=seed)
    bid = trades["price"].to_numpy()
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "time": trades["time"],
            "bid": bid,
            "bid_qty": rng.integers(1, 900, n) / 1000.0,
            "ask": np.round(bid + 0.1, 1),
            "ask_qty": rng.integers(1, 900, n) / 1000.0,
            "update_id": 7_000 + 3 * np.arange(n),
        }
    )


def agg_trades(trades: pd.DataFrame, unit: int = 1_000_000) -> pd.DataFrame:
    """Binance's columns; times in ms, or in another unit of `unit` ns."""
    return pd.DataFrame(
        {
            "agg_trade_id": trades["id"],
            "price": trades["price"],
            "quantity": trades["qty"],
            "first_trade_id": trades["id"] * 2,
            "last_trade_id": trades["id"] * 2 + 1,
            "transact_time": trades["time"] // unit,
            "is_buyer_maker": trades["is_buyer_maker"].map({True: "true", False: "false"}),
        }
    )


def single_trades(trades: pd.DataFrame, unit: int = 1_000_000) -> pd.DataFrame:
    """Binance's columns of the `trades` archive."""
    return pd.DataFrame(
        {
            "id": trades["id"],
            "price": trades["price"],
            "qty": trades["qty"],
            "quote_qty": trades["price"] * trades["qty"],
            "time": trades["time"] // unit,
            "is_buyer_maker": trades["is_buyer_maker"].map({True: "true", False: "false"}),
        }
    )


def book_ticker(quotes: pd.DataFrame, unit: int = 1_000_000) -> pd.DataFrame:
    """Binance's columns of the `bookTicker` archive."""
    return pd.DataFrame(
        {
            "update_id": quotes["update_id"],
            "best_bid_price": quotes["bid"],
            "best_bid_qty": quotes["bid_qty"],
            "best_ask_price": quotes["ask"],
            "best_ask_qty": quotes["ask_qty"],
            "transaction_time": quotes["time"] // unit,
            "event_time": quotes["time"] // unit + 2,
        }
    )


def nautilus_trades(trades: pd.DataFrame) -> pd.DataFrame:
    """Times as datetimes, the flag as text, the symbol in a column of its own."""
    return pd.DataFrame(
        {
            "timestamp": pd.to_datetime(trades["time"], utc=True),
            "symbol": "BTC/USDT",
            "trade_id": trades["id"],
            "price": trades["price"],
            "quantity": trades["qty"],
            "buyer_maker": trades["is_buyer_maker"].astype(str),
        }
    )


def taker_trades(trades: pd.DataFrame) -> pd.DataFrame:
    """The taker's side instead of the flag, with several times of which the exchange's own counts."""
    return pd.DataFrame(
        {
            "recv_ns": trades["time"] + 5_000_000,
            "trade_ms": trades["time"] // 1_000_000,
            "event_ms": trades["time"] // 1_000_000 + 1,
            "trade_id": trades["id"],
            "price": trades["price"],
            "qty": trades["qty"],
            "taker_side": np.where(trades["is_buyer_maker"], -1, 1),
        }
    )


def zipped(path: Path, text: str) -> None:
    """Write a zip with one CSV."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.stem + ".csv", text)


def gzipped(path: Path, text: str) -> None:
    """Write text packed by gzip."""
    path.write_bytes(gzip.compress(text.encode()))


TRADE_FILES: dict[str, Callable[[Path, pd.DataFrame], object]] = {
    "BTCUSDT-aggTrades-2024-03-05.csv": lambda p, t: agg_trades(t).to_csv(p, index=False),
    "BTCUSDT-aggTrades-2024-03.csv": lambda p, t: agg_trades(t).to_csv(p, index=False, header=False),
    "BTCUSDT-aggTrades-2024-03-05.zip": lambda p, t: zipped(p, agg_trades(t).to_csv(index=False)),
    "BTCUSDT-aggTrades-us.csv.gz": lambda p, t: gzipped(p, agg_trades(t, 1_000).to_csv(index=False)),
    "BTCUSDT-aggTrades-ns.csv": lambda p, t: agg_trades(t, 1).to_csv(p, index=False, header=False),
    "BTCUSDT-aggTrades.parquet": lambda p, t: agg_trades(t).to_parquet(p, row_group_size=97),
    "btcusdt_perp_agg.csv": lambda p, t: agg_trades(t).to_csv(p, index=False, sep=";"),
    "BTCUSDT-trades-2024-03-05.csv": lambda p, t: single_trades(t).to_csv(p, index=False),
    "BTCUSDT-trades-2024-03.zip": lambda p, t: zipped(p, single_trades(t).to_csv(index=False, header=False)),
    "btcusdt-trades.parquet": lambda p, t: nautilus_trades(t).to_parquet(p),
    "btcusdt_ticks.feather": lambda p, t: taker_trades(t).to_feather(p),
    "btcusdt_iso.csv": lambda p, t: nautilus_trades(t).to_csv(p, index=False),
}
