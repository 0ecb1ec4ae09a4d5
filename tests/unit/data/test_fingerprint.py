from __future__ import annotations

import hashlib
import struct

import numpy as np

from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import make_frame
from qtsim.data.timeframes import HOUR
from tests.unit.data.made_bars import START, made_bars


def test_equal_values_have_equal_fingerprints_however_they_are_held() -> None:
    bars = made_bars(50)
    same = bars.iloc[::-1].iloc[::-1].copy()
    same.index = same.index.as_unit("us").rename("when")
    same.attrs = {"source": "elsewhere"}
    assert fingerprint(same) == fingerprint(bars)


def test_every_value_time_and_name_counts() -> None:
    bars = made_bars(50)
    other = bars.copy()
    other.iloc[17, 3] = np.nextafter(other.iloc[17, 3], 1e9)
    shifted = made_bars(50, start=START + HOUR)
    assert (
        len({fingerprint(frame) for frame in (bars, other, shifted, bars.iloc[:-1], bars.rename(columns=str.upper))})
        == 5
    )


def test_one_nan_and_one_zero() -> None:
    odd_nan = np.array([0x7FF8_0000_0000_0001], dtype=np.uint64).view(np.float64)
    times = np.array([START], dtype=np.int64)
    assert fingerprint(make_frame(times, {"a": odd_nan})) == fingerprint(make_frame(times, {"a": np.array([np.nan])}))
    assert fingerprint(make_frame(times, {"a": np.array([-0.0])})) == fingerprint(
        make_frame(times, {"a": np.array([0.0])})
    )


def test_it_is_the_hash_of_names_times_and_values_in_this_order() -> None:
    times = np.array([START, START + HOUR], dtype=np.int64)
    frame = make_frame(times, {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])})
    content = b"a,b" + struct.pack("<2q", START, START + HOUR) + struct.pack("<4d", 1.0, 2.0, 3.0, 4.0)
    assert fingerprint(frame) == hashlib.sha256(content).hexdigest()
