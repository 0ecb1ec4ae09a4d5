"""A small heat map in text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qtsim.research.metrics import sign_of
from qtsim.research.words import short_path, value_text

if TYPE_CHECKING:
    from qtsim.research.sweep import Sweep

SHADES = " ░▒▓█"
COPY, MISSING, CENTRE, PEAK = "·", "?", "C", "P"
ROWS_MOST, COLUMNS_MOST = 16, 48


@dataclass(frozen=True)
class MapGrid:
    """A metric over two axes, the other axes at the recommended trial's values.

    values and the masks have shape (values of y, values of x); NaN where there is no trial.
    """

    x: int  # axes of the space
    y: int
    values: np.ndarray
    copies: np.ndarray
    plateau: np.ndarray
    peak: tuple[int, int] | None
    centre: tuple[int, int] | None


def map_grid(sweep: Sweep, x: int, y: int, metric: str, *, how: str = "median") -> MapGrid:
    """The trials of one pair of axes as a grid."""
    space, plateau = sweep.space, sweep.plateau_of(metric)
    at = space.indices(sweep.cells)
    own = sweep.plateau
    through = at[own.centre] if own is not None else np.zeros(len(space.axes), dtype=np.int64)
    others = [k for k in range(len(space.axes)) if k not in (x, y)]
    inside = (at[:, others] == through[others]).all(axis=1)
    shape = (space.shape[y], space.shape[x])
    values, copies, member = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
    rows, columns = at[:, y], at[:, x]
    found = sweep.values_of(metric, how=how)
    values[rows[inside], columns[inside]] = found[inside]
    copies[rows[inside], columns[inside]] = ~sweep.original[inside]
    peak = centre = None
    if plateau is not None:
        members = plateau.members[inside[plateau.members]]
        member[rows[members], columns[members]] = True
        peak = (int(rows[plateau.peak]), int(columns[plateau.peak])) if inside[plateau.peak] else None
        centre = (int(rows[plateau.centre]), int(columns[plateau.centre])) if inside[plateau.centre] else None
    return MapGrid(x, y, values, copies, member, peak, centre)


def main_pair(sweep: Sweep) -> tuple[int, int] | None:
    """The two axes with the most values, the longer one across; None with fewer than two of several values."""
    long = [k for k, axis in enumerate(sweep.space.axes) if len(axis.values) > 1]
    if len(long) < 2:
        return None
    first, second = sorted(long, key=lambda k: -len(sweep.space.axes[k].values))[:2]
    return first, second


def text_map(sweep: Sweep) -> tuple[str, list[str]] | None:
    """Legend and rows of the heat map of the two longest axes; None where there are not two."""
    pair = main_pair(sweep)
    if pair is None or not len(sweep.cells):
        return None
    grid = map_grid(sweep, *pair, sweep.info.metric)
    x, y = (sweep.space.axes[k] for k in pair)
    rows = _thinned(len(y.values), ROWS_MOST, None if grid.centre is None else grid.centre[0])
    columns = _thinned(len(x.values), COLUMNS_MOST, None if grid.centre is None else grid.centre[1])
    levels = _levels(sign_of(sweep.info.metric) * grid.values)
    labels = [value_text(y.path, y.values[k]) for k in rows]
    width = max(map(len, labels))
    lines = []
    for k, label in zip(rows, labels, strict=True):
        cells = "".join(_sign(grid, levels, k, j) for j in columns)
        lines.append(f"{label:>{width}} {cells}")
    ends = f"{value_text(x.path, x.values[columns[0]])} to {value_text(x.path, x.values[columns[-1]])}"
    lines.append(f"{'':>{width}} {short_path(x.path)} {ends}")
    others = len(sweep.space.axes) - 2
    through = ", other axes as recommended" if others else ""
    legend = (
        f"{sweep.info.metric}, {short_path(y.path)} down, {short_path(x.path)} across{through}; darker is better, "
        f"{COPY} copy, {CENTRE} recommended, {PEAK} peak"
    )
    return legend, lines


def _thinned(count: int, most: int, keep: int | None) -> list[int]:
    """At most `most` places, evenly spaced, one of them kept."""
    if count <= most:
        return list(range(count))
    places = np.linspace(0, count - 1, most).round().astype(int)
    if keep is not None:
        places[np.argmin(np.abs(places - keep))] = keep
    return sorted(set(places.tolist()))


def _levels(values: np.ndarray) -> np.ndarray:
    """Which fifth of all values each one is in, shape of `values`; -1 unknown."""
    known = np.isfinite(values)
    levels = np.full(values.shape, -1)
    if known.any():
        bounds = np.quantile(values[known], [0.2, 0.4, 0.6, 0.8])
        levels[known] = np.searchsorted(bounds, values[known], side="right")
        if np.ptp(values[known]) == 0.0:
            levels[known] = 2
    return levels


def _sign(grid: MapGrid, levels: np.ndarray, row: int, column: int) -> str:
    if grid.centre == (row, column):
        return CENTRE
    if grid.peak == (row, column):
        return PEAK
    if grid.copies[row, column]:
        return COPY
    level = int(levels[row, column])
    return MISSING if level < 0 else SHADES[level]
