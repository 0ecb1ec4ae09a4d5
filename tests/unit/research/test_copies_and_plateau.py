"""Copies are counted once and named; the plateau is where all neighbours are good, not where one trial is."""

from __future__ import annotations

import numpy as np
import pytest

from qtsim.core.enums import PlanFlag
from qtsim.research.copies import digest_keys, explain_copies, groups_of, originals
from qtsim.research.plateau import find_plateau
from qtsim.research.space import Axis, Space

TP = Axis("exit.base_tp", (0.01, 0.02, 0.03))
SL = Axis("exit.base_sl", (0.004, 0.008, 0.012, 0.016, 0.02))
SPACE = Space((TP, SL))
CELLS = np.arange(SPACE.size)


def clamped_groups(first: int) -> np.ndarray:
    """Groups of a grid in which every base_sl from place `first` on is the same."""
    at = SPACE.indices(CELLS)
    return at[:, 0] * 100 + np.minimum(at[:, 1], first)


def test_trials_of_one_digest_are_one_group() -> None:
    digests = np.array([[1, 2], [3, 4], [1, 2], [1, 4]], np.uint64)
    group = groups_of(digest_keys(digests))
    assert group[0] == group[2]
    assert len(set(group.tolist())) == 3


def test_the_edge_of_the_copies_stands_for_them() -> None:
    group = groups_of(clamped_groups(2))
    kept = CELLS[originals(SPACE, CELLS, group)]
    assert SPACE.indices(kept)[:, 1].tolist() == [0, 1, 2] * 3


def test_copies_at_the_low_end_are_stood_for_by_their_upper_edge() -> None:
    at = SPACE.indices(CELLS)
    group = groups_of(at[:, 0] * 100 + np.maximum(at[:, 1], 2))
    kept = CELLS[originals(SPACE, CELLS, group)]
    assert SPACE.indices(kept)[:, 1].tolist() == [2, 3, 4] * 3


def test_a_clamp_that_acted_on_every_trade_is_named() -> None:
    flags = np.where(
        SPACE.indices(CELLS)[:, 1] >= 2, int(PlanFlag.SL_HARD_SHARE | PlanFlag.SL_MAX | PlanFlag.TP_MIN), 0
    )
    (copy,) = explain_copies(SPACE, CELLS, groups_of(clamped_groups(2)), flags, np.ones(len(CELLS), bool))
    assert (copy.path, copy.low, copy.high, copy.copies) == ("exit.base_sl", 0.012, 0.02, 6)
    assert copy.setting == "exit.levels.sl_safety.max_hard_share"


def test_a_clamp_of_targets_does_not_explain_equal_stops() -> None:
    flags = np.full(len(CELLS), int(PlanFlag.TP_MIN))
    (copy,) = explain_copies(SPACE, CELLS, groups_of(clamped_groups(2)), flags, np.ones(len(CELLS), bool))
    assert (copy.setting, copy.words) == ("", "no trade reached what differs")


def test_an_axis_that_changes_nothing_is_told() -> None:
    group = groups_of(SPACE.indices(CELLS)[:, 0])
    (copy,) = explain_copies(SPACE, CELLS, group, np.zeros(len(CELLS), np.int64), np.ones(len(CELLS), bool))
    assert (copy.path, copy.words) == ("exit.base_sl", "it changes nothing in this run")


def test_trials_without_trades_are_equal_for_want_of_them() -> None:
    group = np.zeros(len(CELLS), np.int64)
    found = explain_copies(SPACE, CELLS, group, np.zeros(len(CELLS), np.int64), np.zeros(len(CELLS), bool))
    assert {copy.words for copy in found} == {"nothing was traded"}


WIDE = Space((Axis("a", tuple(float(k) for k in range(9))), Axis("b", tuple(float(k) for k in range(9)))))
WIDE_CELLS = np.arange(WIDE.size)


def hill_and_spike() -> np.ndarray:
    """A broad hill of height 1 around (6, 6), and one lucky trial of height 3 at (1, 1)."""
    at = WIDE.indices(WIDE_CELLS)
    values = np.exp(-((at[:, 0] - 6) ** 2 + (at[:, 1] - 6) ** 2) / 6.0)
    values[1 * 9 + 1] = 3.0
    values[[0, 1, 2, 9, 11, 18, 19, 20]] = -2.0
    return values


def test_the_middle_of_the_hill_is_recommended_and_not_the_spike() -> None:
    values = hill_and_spike()
    plateau = find_plateau(WIDE, WIDE_CELLS, values, np.ones(len(values), bool))
    assert plateau is not None
    assert WIDE.values(int(WIDE_CELLS[plateau.peak])) == {"a": 1.0, "b": 1.0}
    assert WIDE.values(int(WIDE_CELLS[plateau.centre])) == {"a": 6.0, "b": 6.0}
    low, high = plateau.range_of(WIDE, WIDE_CELLS)["a"]
    assert 3.0 <= float(str(low)) <= 5.0
    assert float(str(high)) == 8.0
    assert plateau.edges(WIDE, WIDE_CELLS) == []


def test_neighbourhoods_are_the_next_cells() -> None:
    values = np.arange(81.0)
    plateau = find_plateau(WIDE, WIDE_CELLS, values, np.ones(81, bool))
    assert plateau is not None
    assert plateau.counts.reshape(9, 9)[0, 0] == 4
    assert plateau.counts.reshape(9, 9)[4, 4] == 9
    assert plateau.mean.reshape(9, 9)[4, 4] == values.reshape(9, 9)[3:6, 3:6].mean()
    assert plateau.worst.reshape(9, 9)[4, 4] == values.reshape(9, 9)[3, 3]


def test_copies_and_unknown_values_are_in_no_neighbourhood() -> None:
    values = np.ones(81)
    values[41] = np.nan
    counted = np.ones(81, bool)
    counted[39] = False
    plateau = find_plateau(WIDE, WIDE_CELLS, values, counted)
    assert plateau is not None
    assert plateau.counts[40] == 7
    assert np.isnan(plateau.mean[[39, 41]]).all()
    assert not set(plateau.members.tolist()) & {39, 41}


def test_choices_are_no_neighbours() -> None:
    space = Space((Axis("a", ("x", "y")), Axis("b", (1.0, 2.0, 3.0))))
    plateau = find_plateau(space, np.arange(6), np.arange(6.0), np.ones(6, bool))
    assert plateau is not None
    assert plateau.counts.tolist() == [2, 3, 2, 2, 3, 2]


def test_a_random_search_has_the_nearest_trials_as_neighbours() -> None:
    space = Space((Axis("a", tuple(float(k) for k in range(100))), Axis("b", tuple(float(k) for k in range(100)))))
    cells = space.draw(300, 3)
    at = space.indices(cells)
    values = -((at[:, 0] - 70.0) ** 2 + (at[:, 1] - 30.0) ** 2)
    plateau = find_plateau(space, cells, values, np.ones(300, bool))
    assert plateau is not None
    assert set(plateau.counts.tolist()) == {9}
    centre = space.values(int(cells[plateau.centre]))
    assert abs(centre["a"] - 70.0) < 15.0
    assert abs(centre["b"] - 30.0) < 15.0


def test_without_any_value_there_is_no_plateau() -> None:
    assert find_plateau(WIDE, WIDE_CELLS, np.full(81, np.nan), np.ones(81, bool)) is None


@pytest.mark.parametrize("edge", [0, 8])
def test_a_centre_on_the_edge_is_told(edge: int) -> None:
    at = WIDE.indices(WIDE_CELLS)
    values = -10.0 * np.abs(at[:, 0] - edge) - np.abs(at[:, 1] - 4.0)
    values[at[:, 0] != edge] -= 1000.0
    plateau = find_plateau(WIDE, WIDE_CELLS, values, at[:, 0] == edge)
    assert plateau is not None
    assert plateau.edges(WIDE, WIDE_CELLS) == ["a"]
