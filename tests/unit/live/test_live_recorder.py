"""Inputs on which nothing is decided are written together, and come back one by one."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qtsim.core.records import equity_row_dt
from qtsim.live.journal import Journal, open_journal
from qtsim.live.recorder import LARGE, SMALL, Recorder
from qtsim.live.tape import SEVERAL, unpacked

POINTS = {"ts": 1_700_000_000_000_000_000, "prices": [["BTCUSDT", 0.1 + 0.2, float("inf")]]}


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    found = open_journal(tmp_path / "journal.sqlite")
    found.take_lease(0, "test")
    yield found
    found.close()


def tell(recorder: Recorder, *kinds: str) -> None:
    for kind in kinds:
        recorder.input(kind, POINTS if kind == "points" else {"now": 3})


def kinds_of(journal: Journal) -> list[tuple[str, list[str]]]:
    """Kinds of the rows, and of the inputs in each."""
    rows = list(journal.inputs(1))
    return [(row[1], [kind for _, kind, _ in unpacked([row])]) for row in rows]


def test_quiet_inputs_wait_and_are_one_row(journal: Journal) -> None:
    recorder = Recorder(journal)
    tell(recorder, "points", "settle", "clock", "points", "settle")
    assert kinds_of(journal) == []
    recorder.commit()
    assert kinds_of(journal) == [(SEVERAL, ["points", "settle", "clock", "points", "settle"])]
    assert [body for _, kind, body in unpacked(journal.inputs(1)) if kind == "points"] == [POINTS, POINTS]
    assert recorder.inputs == 5


def test_what_is_decided_on_has_a_row_of_its_own_that_the_decision_names(journal: Journal) -> None:
    recorder = Recorder(journal)
    tell(recorder, "points", "settle", "points", "settle")
    recorder.decision("equity", np.zeros(1, equity_row_dt))
    recorder.decision("equity", np.zeros(1, equity_row_dt))
    tell(recorder, "clock")
    recorder.commit()
    assert kinds_of(journal) == [
        (SEVERAL, ["points", "settle", "points"]),
        ("settle", ["settle"]),
        ("clock", ["clock"]),
    ]
    assert [at for at, _, _ in journal.decisions(1)] == [2, 2]


def test_other_inputs_are_written_at_once_after_those_before_them(journal: Journal) -> None:
    recorder = Recorder(journal)
    tell(recorder, "points", "bars", "rates")
    assert kinds_of(journal) == [("points", ["points"]), ("bars", ["bars"]), ("rates", ["rates"])]
    assert recorder.at == 3


def test_a_minute_of_prices_takes_a_fraction_of_its_text(journal: Journal) -> None:
    recorder = Recorder(journal)
    for second in range(60):
        recorder.input("points", {"ts": second * 10**9, "prices": [["BTCUSDT", 50_000.0 + second, 50_000.0]]})
        recorder.input("settle", {})
    recorder.commit()
    (row,) = journal.inputs(1)
    text = sum(len(str(body)) for _, _, body in unpacked([row]))
    assert len(row[2]) < text / 4


class Arrays:
    """As much of a session as is saved."""

    def __init__(self) -> None:
        for name in (*SMALL, *LARGE):
            setattr(self, name, np.zeros(1))


def test_an_order_does_not_wait_for_the_large_state_and_the_next_commit_writes_it(journal: Journal) -> None:
    recorder, arrays = Recorder(journal), Arrays()
    recorder.session = arrays  # type: ignore[assignment]
    tell(recorder, "bars")
    recorder.save()
    assert sorted(journal.last_states()) == sorted(SMALL)
    arrays.history[0] = 2.0  # type: ignore[attr-defined]
    recorder.commit()
    _, data = journal.last_states()["history"]
    assert np.frombuffer(zlib.decompress(data)).tolist() == [2.0]


def test_the_large_state_is_written_after_bars_only(journal: Journal) -> None:
    recorder, arrays = Recorder(journal), Arrays()
    recorder.session = arrays  # type: ignore[assignment]
    tell(recorder, "bars")
    recorder.commit()
    arrays.history[0] = arrays.account[0] = 2.0  # type: ignore[attr-defined]
    tell(recorder, "clock")
    recorder.commit()
    states = {name: np.frombuffer(zlib.decompress(data)).tolist() for name, (_, data) in journal.last_states().items()}
    assert (states["history"], states["account"]) == ([0.0], [2.0])
