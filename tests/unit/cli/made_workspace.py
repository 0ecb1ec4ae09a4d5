"""Market data for a workspace, and what a command answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

HEADER = "date,open,high,low,close,volume\n"


@dataclass(frozen=True)
class Answer:
    """What a command left behind: its exit code and what it said on both streams."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All of it."""
        return self.out + self.err


Run = Callable[..., Answer]


def made_rows(n: int = 300) -> list[str]:
    """Hourly bars as CSV lines, around 100, rising and falling."""
    times = pd.date_range("2024-01-01", periods=n, freq="h")
    price = 100 + 5 * np.sin(np.arange(n) / 9.0)
    return [
        f"{ts:%Y-%m-%d %H:%M:%S},{p:.2f},{p + 1:.2f},{p - 1:.2f},{p + 0.2:.2f},10\n"
        for ts, p in zip(times, price, strict=True)
    ]


def made_bars(n: int = 300) -> pd.DataFrame:
    """The same bars as a canonical frame."""
    price = np.round(100 + 5 * np.sin(np.arange(n) / 9.0), 2)
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="time").as_unit("ns")
    columns = {"open": price, "high": price + 1, "low": price - 1, "close": price + 0.2, "volume": 10.0}
    return pd.DataFrame(columns, index=index)


def assert_refused(answer: Answer, code: int, *words: str) -> None:
    """The command failed with this code, said these words, and showed no traceback."""
    assert answer.code == code, answer.said
    assert "Traceback" not in answer.said
    for word in words:
        assert word in answer.err, f"{word!r} is not in: {answer.err}"
