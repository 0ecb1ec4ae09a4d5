"""Small made markets for the tests of signals: frames, and the obvious way to align two series."""

from __future__ import annotations

import numpy as np
import pandas as pd

HOUR = 3_600_000_000_000
START = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC, a Monday


def made_bars(n_bars: int = 400, seed: int = 0, start: int = START, step: int = HOUR) -> pd.DataFrame:
    """A random walk with drifts that change, so that averages cross."""
    random = np.random.default_rng(seed)
    drift = 0.003 * np.sin(np.arange(n_bars) / (15 + seed))
    close = 100 * np.exp(np.cumsum(drift + 0.01 * random.standard_normal(n_bars)))
    open_ = np.concatenate(([100.0], close[:-1]))
    spread = 1 + 0.005 * random.random((2, n_bars))
    frame = {
        "open": open_,
        "high": np.maximum(open_, close) * spread[0],
        "low": np.minimum(open_, close) / spread[1],
        "close": close,
        "volume": 1000 * random.random(n_bars) + 1,
    }
    times = start + step * np.arange(n_bars)
    return pd.DataFrame(frame, index=pd.DatetimeIndex(times.view("M8[ns]"), name="time").tz_localize("UTC"))


def made_funding(n_events: int = 60, seed: int = 0) -> pd.DataFrame:
    """One event every 8 hours from the start on."""
    random = np.random.default_rng(seed)
    times = START + 8 * HOUR * np.arange(n_events)
    index = pd.DatetimeIndex(times.view("M8[ns]"), name="time").tz_localize("UTC")
    return pd.DataFrame({"funding_rate": 1e-4 * random.standard_normal(n_events), "mark_price": np.nan}, index=index)


def without(frame: pd.DataFrame, rows: list[int]) -> pd.DataFrame:
    """A frame with a gap."""
    return frame.drop(frame.index[[row for row in rows if row < len(frame)]])
