"""The guided search: proposals are cells, answers guide it, and a journal keeps both."""

from __future__ import annotations

from pathlib import Path

import pytest

from qtsim.errors import DataError
from qtsim.research.guided import CellStudy
from qtsim.research.space import Axis, Space

pytest.importorskip("optuna")

SPACE = Space((Axis("a", tuple(float(k) for k in range(40))), Axis("b", tuple(float(k) for k in range(40)))))


def hill(cell: int) -> float:
    """Best at (30, 10)."""
    at = SPACE.values(cell)
    return -((float(at["a"]) - 30.0) ** 2) - (float(at["b"]) - 10.0) ** 2


def test_it_finds_the_hill_with_few_trials() -> None:
    study = CellStudy(SPACE, seed=1)
    found = []
    while study.finished < 150:
        for number, cell in study.ask(5):
            study.tell(number, hill(cell))
            found.append(hill(cell))
    assert max(found) >= -8.0
    assert sum(found[100:]) > sum(found[:50])


def test_the_same_seed_proposes_the_same_cells() -> None:
    first, second = (CellStudy(SPACE, seed=3).ask(10) for _ in range(2))
    assert first == second


def test_a_journal_keeps_answers_and_what_was_left_behind(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    study = CellStudy(SPACE, 1, journal)
    asked = study.ask(3)
    study.tell(asked[0][0], hill(asked[0][1]))
    study.tell(asked[1][0], None)
    again = CellStudy(SPACE, 1, journal)
    assert again.finished == 2
    assert again.unanswered() == [asked[2]]


def test_choices_are_proposed_too() -> None:
    space = Space((Axis("a", ("x", "y", "z")),))
    cells = {cell for _, cell in CellStudy(space, 1).ask(30)}
    assert cells == {0, 1, 2}


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(b"\xff\xfe no journal\n" * 5)
    with pytest.raises(DataError, match=r"optuna\.journal"):
        CellStudy(SPACE, 1, journal)
