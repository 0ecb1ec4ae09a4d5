"""Generated markets: the same for qtsim and for its peers, handed over as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from qtsim.core.records import bar_dt, signal_dt

Columns = dict[str, npt.NDArray[np.generic]]

MINUTE = 60_000_000_000
START = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC
PRICES = ("open", "high", "low", "close")
RARE_BARS = 1000


def generate(n: int, seed: int = 7) -> Columns:
    """A minute market on ticks of 0.1 and its EMA 12/26 crosses: `entries` up, `shorts` down."""
    import talib

    rng = np.random.default_rng(seed)
    close = np.round(60_000.0 * np.exp(np.cumsum(rng.normal(0, 0.0008, n))), 1)
    opening = np.concatenate([[60_000.0], close[:-1]])
    high = np.round(np.maximum(opening, close) * (1 + np.abs(rng.normal(0, 0.0004, n))), 1)
    low = np.round(np.minimum(opening, close) * (1 - np.abs(rng.normal(0, 0.0004, n))), 1)
    above = talib.EMA(close, 12) > talib.EMA(close, 26)
    before = np.concatenate([[above[0]], above[:-1]])
    prices = {"open": opening, "high": high, "low": low, "close": close}
    return prices | {"entries": above & ~before, "shorts": ~above & before}


def rare(market: Columns) -> Columns:
    """The same market with a cross about every `RARE_BARS` bars."""
    crosses = np.flatnonzero(market["entries"] | market["shorts"])
    step = max(1, round(RARE_BARS * len(crosses) / len(market["close"])))
    kept = np.zeros(len(market["close"]), dtype=np.bool_)
    kept[crosses[::step]] = True
    return {**market, "entries": market["entries"] & kept, "shorts": market["shorts"] & kept}


def save(market: Columns, file: Path) -> Path:
    """Write a market for other processes."""
    np.savez(file, **market)
    return file


def load(file: str) -> Columns:
    """Read a market."""
    with np.load(file) as found:
        return {name: found[name] for name in found.files}


def head(market: Columns, n: int) -> Columns:
    """The first bars of a market."""
    return {name: values[:n] for name, values in market.items()}


def to_rows(market: Columns) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Bars (bar_dt) and signals (signal_dt) as the simulator reads them; an ATR of half a per cent throughout."""
    n = len(market["close"])
    bars, signals = np.zeros(n, bar_dt), np.zeros(n, signal_dt)
    bars["ts_open"] = START + MINUTE * np.arange(n)
    for name in PRICES:
        bars[name] = bars[f"mark_{name}"] = market[name]
    for name in ("confidence", "tp", "sl", "trail", "divergence", "funding_delta", "thinness"):
        signals[name] = np.nan
    signals["tag"], signals["atr_ratio"], signals["symbol_risk"] = -1, 1.0, 1.0
    signals["atr"], signals["atr_pct"] = 0.005 * market["close"], 0.005
    signals["long"], signals["short"] = market["entries"], market["shorts"]
    return bars, signals
