"""The identity of a series: what it says, not how its file was written."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from qtsim.data.frames import times_of


def fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256, hex, over a canonical frame's values: column names, times as int64 ns, columns as float64.

    Every NaN counts as the same NaN, and -0.0 as 0.0, so that equal values have equal fingerprints.
    """
    digest = hashlib.sha256(",".join(str(column) for column in frame.columns).encode())
    digest.update(times_of(frame).astype("<i8").tobytes())
    for column in frame.columns:
        values = frame[column].to_numpy(dtype="<f8") + 0.0
        values[np.isnan(values)] = np.nan
        digest.update(values.tobytes())
    return digest.hexdigest()
