"""Figures as the page carries them: few digits, few points, nothing that JSON does not know."""

from __future__ import annotations

from typing import Any

import numpy as np

SECOND_NS = 1_000_000_000
MAX_CURVE = 3_000
"""Points of a drawn curve."""


def thin(ts: np.ndarray, values: np.ndarray, limit: int = MAX_CURVE) -> np.ndarray:
    """Indexes of the points that a drawn curve needs: first, lowest, highest and last of each of `limit / 4` parts."""
    if ts.size <= limit:
        return np.arange(ts.size)
    edges = np.linspace(0, ts.size, limit // 4 + 1).astype(np.int64)
    starts, ends = edges[:-1], edges[1:]
    kept = [starts, ends - 1]
    for begin, end in zip(starts, ends, strict=True):
        part = values[begin:end]
        kept.append(np.array([begin + int(part.argmin()), begin + int(part.argmax())]))
    return np.unique(np.concatenate(kept))


def printed(values: Any, decimals: int) -> list[float | None]:
    """Figures rounded to what the page prints of them; NaN and infinities are None."""
    return [printed_one(float(value), decimals) for value in values]


def printed_one(value: float, decimals: int) -> float | None:
    if not np.isfinite(value):
        return None
    rounded = round(value, decimals) + 0.0  # no -0.0
    return int(rounded) if rounded.is_integer() else rounded


def compact(values: Any, digits: int = 8) -> list[float | None]:
    """Floats with so many significant digits; NaN and infinities are None."""
    array = np.asarray(values, dtype=np.float64)
    return [short(value, digits) for value in array.tolist()]


def short(value: float, digits: int = 8) -> float | None:
    if not np.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short
