"""Bars for these tests: a small random market that is always consistent."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qtsim.data.frames import make_frame
from qtsim.data.timeframes import parse_time, timeframe_ns

START = parse_time("2024-01-01")


def made_bars(n: int, timeframe: str = "1h", start: int = START, seed: int = 0, mark: bool = False) -> pd.DataFrame:
    """Canonical bars without faults, n rows from `start`."""
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, n))), 2)
    open_ = np.concatenate(([100.0], close[:-1]))[:n]
    columns = {
        "open": open_,
        "high": np.round(np.maximum(open_, close) + rng.uniform(0.0, 0.5, n), 2),
        "low": np.round(np.minimum(open_, close) - rng.uniform(0.0, 0.5, n), 2),
        "close": close,
    }
    if not mark:
        columns["volume"] = np.round(rng.uniform(1.0, 50.0, n), 3)
    return make_frame(start + np.arange(n, dtype=np.int64) * timeframe_ns(timeframe), columns)
