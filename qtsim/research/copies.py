"""Trials that decided and filled the same: one trial, made several times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qtsim.core.enums import PlanFlag
from qtsim.research.space import Space

CLAMPS: Mapping[PlanFlag, tuple[str, str]] = {
    PlanFlag.SL_MARGIN_LOSS: ("exit.levels.sl_safety.max_margin_loss", "the largest loss of the margin"),
    PlanFlag.SL_HARD_SHARE: ("exit.levels.sl_safety.max_hard_share", "the stop's share of the hard stop"),
    PlanFlag.SL_MAX: ("exit.levels.sl.max", "the largest stop"),
    PlanFlag.SL_MIN: ("exit.levels.sl.min", "the smallest stop"),
    PlanFlag.HARD_LIQUIDATION_SHARE: (
        "exit.levels.sl_safety.max_liquidation_share",
        "the hard stop's share of the distance to liquidation",
    ),
    PlanFlag.TP_MIN: ("exit.levels.tp.min", "the smallest target"),
    PlanFlag.LEVERAGE_CAPPED: ("limits.per_trade.leverage", "the leverage cap"),
    PlanFlag.SIGNAL_TP: ("exit.base_tp", "the signal's own target"),
    PlanFlag.SIGNAL_SL: ("exit.base_sl", "the signal's own stop"),
    PlanFlag.SIGNAL_TRAIL: ("exit.stops.trail.mode", "the signal's own trail"),
}
"""Flags of a plan that take the place of what was asked for: (setting, in words). Those applied last come first."""


def groups_of(digests: np.ndarray) -> np.ndarray:
    """Number of each trial's group: trials of one group have one digest. digests: bytes, shape (trials,)."""
    group: np.ndarray = np.unique(digests, return_inverse=True)[1].astype(np.int64)
    return group


def digest_keys(digests: np.ndarray) -> np.ndarray:
    """Digests as one value each. digests: uint64, shape (trials, lanes)."""
    rows = np.ascontiguousarray(digests)
    keys: np.ndarray = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(len(rows))
    return keys


def originals(space: Space, cells: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Which trials stand for their group: bool, shape (trials,).

    The one with the most neighbours outside the group, the edge at which the copies begin; of several the first.
    """
    count = np.bincount(group)
    original: np.ndarray = count[group] == 1
    repeated = np.flatnonzero(~original)
    if len(repeated) == 0:
        return original
    outside = _neighbours_outside(space, cells, group, repeated)
    order = np.lexsort((repeated, -outside, group[repeated]))
    _, first = np.unique(group[repeated][order], return_index=True)
    original[repeated[order][first]] = True
    return original


def _neighbours_outside(space: Space, cells: np.ndarray, group: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How many of the next cells along each axis belong to another group."""
    order = np.argsort(cells)
    at = space.indices(cells[wanted])
    found = np.zeros(len(wanted), dtype=np.int64)
    for k, size in enumerate(space.shape):
        for step in (-1, 1):
            moved = at.copy()
            moved[:, k] += step
            inside = (moved[:, k] >= 0) & (moved[:, k] < size)
            numbers = space.cells(moved)
            place = np.minimum(np.searchsorted(cells[order], numbers), len(cells) - 1)
            there = order[place]
            found += inside & (cells[there] == numbers) & (group[there] != group[wanted])
    return found


@dataclass(frozen=True)
class CopyRange:
    """Values of one axis that make the same trials, and what makes them the same."""

    path: str
    low: object  # first and last of the values between which nothing changes
    high: object
    copies: int  # trials that are copies because of this axis
    setting: str  # of the clamp; empty: no clamp is to blame
    words: str


def explain_copies(
    space: Space, cells: np.ndarray, group: np.ndarray, flags_all: np.ndarray, traded: np.ndarray
) -> list[CopyRange]:
    """Why trials are equal, axis by axis, the axis with the most copies first.

    flags_all: PlanFlag of every closed trade of a trial; traded: bool, whether a trial has any. A run of equal trials
    along one axis, the others fixed, is put down to the clamp that acted on every one of their trades.
    """
    found: list[CopyRange] = []
    order = np.argsort(cells)
    for k, axis in enumerate(space.axes):
        pairs = _steps(space, cells, order, k)
        equal = group[pairs[:, 0]] == group[pairs[:, 1]]
        if not equal.any():
            continue
        places = space.indices(cells[pairs[:, 1]])[:, k]
        low, high = _widest_run(places, equal, len(axis.values))
        inside = equal & (places > low) & (places <= high)
        same = pairs[inside if inside.any() else equal]
        setting, words = _clamp_of(flags_all[same].ravel(), traded[same].ravel(), axis.path)
        if equal.all() and not setting and traded.any():
            words = "it changes nothing in this run"
        found.append(CopyRange(axis.path, axis.values[low], axis.values[high], int(equal.sum()), setting, words))
    return sorted(found, key=lambda one: -one.copies)


def _widest_run(places: np.ndarray, equal: np.ndarray, count: int) -> tuple[int, int]:
    """First and last place of the widest run of an axis along which most trials are equal; else of all that are."""
    steps = np.bincount(places, minlength=count)
    share = np.bincount(places[equal], minlength=count) / np.maximum(steps, 1)
    mostly = np.concatenate([[False], share[1:] >= 0.5, [False]]).astype(np.int8)
    if not mostly.any():
        met = places[equal]
        return int(met.min()) - 1, int(met.max())
    edges = np.diff(mostly)
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    widest = int(np.argmax(ends - begins))
    return int(begins[widest]), int(ends[widest])


def _steps(space: Space, cells: np.ndarray, order: np.ndarray, axis: int) -> np.ndarray:
    """Pairs of trials one step apart along an axis, shape (pairs, 2): the lower and the upper."""
    at = space.indices(cells)
    at[:, axis] -= 1
    inside = at[:, axis] >= 0
    numbers = space.cells(at)
    place = np.minimum(np.searchsorted(cells[order], numbers), len(cells) - 1)
    lower = order[place]
    there = inside & (cells[lower] == numbers)
    return np.column_stack([lower[there], np.flatnonzero(there)])


def _clamp_of(flags: np.ndarray, traded: np.ndarray, path: str) -> tuple[str, str]:
    """The clamp that acted on every trade of nearly all of these trials."""
    if not traded.any():
        return "", "nothing was traded"
    for flag, (setting, words) in CLAMPS.items():
        acts = (flags[traded] & int(flag)) != 0
        if acts.mean() >= 0.9 and _concerns(flag, path):
            return setting, words
    return "", "no trade reached what differs"


def _concerns(flag: PlanFlag, path: str) -> bool:
    """Whether a clamp can hide an axis: one of targets hides targets, one of stops stops."""
    last = path.rpartition(".")[2]
    target = flag in (PlanFlag.TP_MIN, PlanFlag.SIGNAL_TP)
    stop = flag in (
        PlanFlag.SL_MIN,
        PlanFlag.SL_MAX,
        PlanFlag.SL_HARD_SHARE,
        PlanFlag.SL_MARGIN_LOSS,
        PlanFlag.SIGNAL_SL,
    )
    if "tp" in last.split("_"):
        return target
    if "sl" in last.split("_") or ".sl." in path:
        return stop or flag is PlanFlag.HARD_LIQUIDATION_SHARE
    if path.startswith("leverage."):
        return flag is PlanFlag.LEVERAGE_CAPPED
    return not target
