from __future__ import annotations

from pathlib import Path

import numpy as np

from qtsim.core.records import funding_dt
from qtsim.data.frames import make_frame
from qtsim.data.funding import (
    Hole,
    default_funding_events,
    find_holes,
    funding_events,
    funding_intervals,
    missing_funding_events,
)
from qtsim.data.store import Store
from qtsim.data.timeframes import HOUR
from tests.unit.data.made_bars import START

TIMES = START + np.arange(6, dtype=np.int64) * 8 * HOUR
FRAME = make_frame(
    TIMES, {"funding_rate": np.arange(6) / 1e4, "mark_price": np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0])}
)


def test_events_of_a_range_end_exclusively() -> None:
    events = funding_events(FRAME, "X", START + 8 * HOUR, START + 24 * HOUR)
    assert events.dtype is funding_dt
    assert events["ts"].tolist() == TIMES[1:3].tolist()
    assert events["rate"].tolist() == [0.0001, 0.0002]
    assert events["mark"][0] == 2.0
    assert np.isnan(events["mark"][1])
    assert len(funding_events(FRAME, "X")) == 6
    assert len(funding_events(FRAME, "X", START + 99 * HOUR, START)) == 0
    assert np.isnan(funding_events(FRAME.drop(columns="mark_price"), "X")["mark"]).all()


def test_a_store_without_history_gives_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert funding_events(store, "X").shape == (0,)
    store.write_funding("X", FRAME, source="a")
    assert funding_events(store, "X").tobytes() == funding_events(FRAME, "X").tobytes()


def test_default_events_are_every_eight_hours_of_the_clock() -> None:
    events = default_funding_events(START + 1, START + 24 * HOUR, 0.0003)
    assert events["ts"].tolist() == [START + 8 * HOUR, START + 16 * HOUR]
    assert events["rate"].tolist() == [0.0003, 0.0003]
    assert default_funding_events(START, START + 1, 0.0001)["ts"].tolist() == [START]


def test_intervals_are_counted() -> None:
    assert funding_intervals(TIMES) == {8: 5}
    assert funding_intervals(np.concatenate((TIMES, TIMES[-1:] + 4 * HOUR))) == {8: 5, 4: 1}
    assert funding_intervals(TIMES[:1]) == {}


def at(*hours: float) -> np.ndarray:
    return START + (np.array(hours) * HOUR).astype(np.int64)


def missing(times: np.ndarray, end: float) -> list[int]:
    events, _ = missing_funding_events(times, START, int(at(end)[0]) + 1, 0.0001)
    return ((events["ts"] - START) // HOUR).tolist()


def test_default_events_stand_in_for_missing_ones_once_each() -> None:
    assert missing(at(0, 8, 16, 24), 24) == []
    assert missing(at(0, 8, 16), 32) == [24, 32], "the first event after the end counts"
    assert missing(at(16, 24), 24) == [0, 8]
    assert missing(at(0, 8, 32, 40), 40) == [16, 24]
    assert missing(at(0, 8, 32, 56, 64), 64) == [16, 24, 40, 48], "one event alone between two holes"
    assert missing(at(0, 24), 24) == [8, 16]
    assert missing(at(16), 24) == [0, 8, 24]
    assert missing(at(0, 8.01, 16, 24.02), 32) == [32], "a payment recorded late is that payment"


def test_shorter_intervals_and_their_changes() -> None:
    assert missing(at(0, 4, 8, 12, 16, 20), 24) == [24]
    assert missing(at(0, 4, 8, 12, 16), 24) == [24]
    assert missing(at(0, 4, 16, 20, 24), 24) == [8], "12 h is not of the default's grid"
    assert missing(at(0, 4, 8, 16, 24, 32), 32) == [], "a change to 8 h is no hole"
    assert missing(at(0, 8, 16, 20, 24, 28), 28) == []
    assert find_holes(at(0, 4, 12, 16, 20)).tolist() == [False, True, False, False]
    assert missing(at(4, 12, 28, 36), 36) == [0, 24], "payments off the default's grid: one for the one that is missing"


def test_holes_are_described() -> None:
    _, holes = missing_funding_events(at(0, 8, 32, 40, 80), START, int(at(90)[0]), 0.0001)
    assert holes == [Hole(*at(8, 32).tolist(), 2), Hole(*at(40, 80).tolist(), 4)]
