"""Where a sweep is good over a wide place instead of at one lucky point.

A trial's neighbourhood is itself and the cells at most one step away on every axis that has an order; of a search that
drew only some cells, the nearest trials. Copies are left out: the mean counts a result once.

The plateau is the connected place around the trial with the best neighbourhood mean, as far as neighbourhood means stay
above the half between their median and that best one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from qtsim.research.space import CHOICE, Space

DENSE = 0.5
"""Share of the grid's cells from which on neighbours are the next cells."""
NEAREST = 8
"""Neighbours of a trial in a search that drew only some cells."""
DIAGONAL_AXES = 4
"""Up to so many axes, cells that differ by a step on several of them are neighbours too."""
DISTANCES_MOST = 4_000_000
"""Distances between trials that are looked at at a time."""


@dataclass(frozen=True)
class Plateau:
    """The plateau of a sweep, by rows of its trials."""

    peak: int  # the best single trial
    centre: int  # the member in its middle: what is recommended
    members: np.ndarray  # int64
    mean: np.ndarray  # neighbourhood mean of every trial; NaN for copies
    worst: np.ndarray  # and the worst of it
    counts: np.ndarray  # trials in the neighbourhood, itself included

    def range_of(self, space: Space, cells: np.ndarray) -> dict[str, tuple[object, object]]:
        """Path → first and last value that the plateau has."""
        at = space.indices(cells[self.members])
        return {
            axis.path: (axis.values[int(at[:, k].min())], axis.values[int(at[:, k].max())])
            for k, axis in enumerate(space.axes)
        }

    def edges(self, space: Space, cells: np.ndarray) -> list[str]:
        """Paths on whose first or last value the centre lies: the best may lie beyond."""
        at = space.indices(cells[[self.centre]])[0]
        return [
            axis.path
            for k, axis in enumerate(space.axes)
            if axis.scale != CHOICE and len(axis.values) > 2 and int(at[k]) in (0, len(axis.values) - 1)
        ]


def find_plateau(space: Space, cells: np.ndarray, values: np.ndarray, counted: np.ndarray) -> Plateau | None:
    """The plateau of a sweep; None where no trial has a value.

    cells: numbers, ascending; values: the larger the better, NaN unknown; counted: bool, False for copies.
    """
    usable = counted & np.isfinite(values)
    if not usable.any():
        return None
    rows = np.flatnonzero(usable)
    near = _neighbours(space, cells[rows])
    own = np.append(values[rows], np.nan)
    around = own[near]
    there = near >= 0
    mean, worst = np.full(len(cells), np.nan), np.full(len(cells), np.nan)
    counts = np.zeros(len(cells), dtype=np.int64)
    counts[rows] = there.sum(axis=1)
    mean[rows] = np.where(there, around, 0.0).sum(axis=1) / there.sum(axis=1)
    worst[rows] = np.where(there, around, np.inf).min(axis=1)
    scores = mean[rows]
    best = int(np.argmax(scores))
    level = 0.5 * (scores[best] + float(np.median(scores)))
    members = _connected(near, scores >= level, best)
    centre = _middle(space, cells[rows[members]], worst[rows[members]])
    return Plateau(
        peak=int(rows[np.argmax(values[rows])]),
        centre=int(rows[members[centre]]),
        members=rows[members],
        mean=mean,
        worst=worst,
        counts=counts,
    )


def _neighbours(space: Space, cells: np.ndarray) -> np.ndarray:
    """Rows of each cell's neighbourhood, itself first, shape (cells, most); -1 where there is none."""
    if len(cells) >= DENSE * space.size or len(cells) <= NEAREST:
        return _next_cells(space, cells)
    return _nearest(space, cells)


def _next_cells(space: Space, cells: np.ndarray) -> np.ndarray:
    ordered = [k for k, axis in enumerate(space.axes) if axis.scale != CHOICE and len(axis.values) > 1]
    if len(ordered) <= DIAGONAL_AXES:
        offsets = list(itertools.product((0, -1, 1), repeat=len(ordered)))
    else:
        offsets = [(0,) * len(ordered)]
        offsets += [tuple(s * (i == j) for i in range(len(ordered))) for j in range(len(ordered)) for s in (-1, 1)]
    at = space.indices(cells)
    shape = np.array(space.shape)
    found = np.full((len(cells), len(offsets)), -1, dtype=np.int64)
    for column, offset in enumerate(offsets):
        moved = at.copy()
        moved[:, ordered] += np.array(offset, dtype=np.int64)
        inside = ((moved >= 0) & (moved < shape)).all(axis=1)
        numbers = space.cells(np.clip(moved, 0, shape - 1))
        place = np.minimum(np.searchsorted(cells, numbers), len(cells) - 1)
        there = inside & (cells[place] == numbers)
        found[there, column] = place[there]
    return found


def _nearest(space: Space, cells: np.ndarray) -> np.ndarray:
    """The nearest trials in the unit cube of the axes' places; choices must be equal."""
    at = space.indices(cells)
    points = np.column_stack([axis.places()[at[:, k]] for k, axis in enumerate(space.axes)])
    for k, axis in enumerate(space.axes):
        if axis.scale == CHOICE:
            points[:, k] = 10.0 * at[:, k]
    found = np.empty((len(cells), NEAREST + 1), dtype=np.int64)
    squares = (points * points).sum(axis=1)
    chunk = max(1, DISTANCES_MOST // len(cells))
    for start in range(0, len(cells), chunk):
        part = points[start : start + chunk]
        distance = squares[None, :] - 2.0 * part @ points.T
        distance[np.arange(len(part)), start + np.arange(len(part))] = -np.inf
        nearest = np.argpartition(distance, NEAREST, axis=1)[:, : NEAREST + 1]
        inner = np.take_along_axis(distance, nearest, axis=1)
        found[start : start + chunk] = np.take_along_axis(nearest, np.argsort(inner, axis=1, kind="stable"), axis=1)
    return found


def _connected(near: np.ndarray, allowed: np.ndarray, start: int) -> np.ndarray:
    """Rows that can be reached from `start` over neighbours that are allowed, ascending."""
    reached = np.zeros(len(near), dtype=bool)
    reached[start] = True
    frontier = np.array([start])
    while len(frontier):
        following = np.unique(near[frontier])
        following = following[following >= 0]
        frontier = following[allowed[following] & ~reached[following]]
        reached[frontier] = True
    return np.flatnonzero(reached)


def _middle(space: Space, cells: np.ndarray, worst: np.ndarray) -> int:
    """The cell nearest to the middle of all of them; of several the one with the better worst neighbour."""
    at = space.indices(cells)
    points = np.column_stack([axis.places()[at[:, k]] for k, axis in enumerate(space.axes)])
    distance = np.round(((points - points.mean(axis=0)) ** 2).sum(axis=1), 12)
    return int(np.lexsort((cells, -worst, distance))[0])
