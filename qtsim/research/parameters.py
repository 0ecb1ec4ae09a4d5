"""Trials → parameter records, many at a time.

Building settings takes a millisecond, a short trial less. So each value of each axis is built once, on its own, and
what it changes in the record is noted; the record of a cell is the base with the changes of its values. That the
changes of several axes do not get in each other's way is tried at the corners of the grid, where each rule between two
settings (one not above the other) is at its tightest; where they do, the settings of every cell are built.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qtsim.config.contradictions import refuse_contradictions
from qtsim.config.layers import COMMAND_LINE, Resolved
from qtsim.config.params import field_paths, to_params
from qtsim.config.settings import Settings, build, flatten, keys, nest
from qtsim.config.unavailable import refuse_unavailable
from qtsim.core.params import params_dt
from qtsim.core.records import Records
from qtsim.errors import SettingError
from qtsim.research.space import CHOICE, Space

BALANCE = "account.balance"
BECOME_RATES = ("costs.fees.tier", "costs.fees.bnb_discount")
CORNERS_MOST = 256
"""Corners of the grid that are tried; of more of them the first of each axis' choices."""

Change = tuple[str, str, Any]
"""(record, field, value)."""


def is_parameter(path: str) -> bool:
    """Whether a setting is a parameter of the run alone: the market and the signals stay as they are."""
    return path == BALANCE or path in BECOME_RATES or path in set(field_paths().values())


def settings_of_trial(resolved: Resolved, values: Mapping[str, Any]) -> Settings:
    """The settings of one cell. Errors: SettingError where its values contradict each other or other settings."""
    flat = flatten(resolved.settings) | dict(values)
    settings = build(nest(flat))
    sources = resolved.sources | dict.fromkeys(values, COMMAND_LINE)
    known = {path: value for path, value in flat.items() if path in keys()}
    refuse_unavailable(known, sources, resolved.profile)
    refuse_contradictions(flat, sources)
    return settings


def with_values(resolved: Resolved, values: Mapping[str, Any]) -> Resolved:
    """The same settings with some values changed on the command line."""
    flat = flatten(resolved.settings) | dict(values)
    changed = sum(not path.startswith(("run.", "strategy.")) for path in values)
    return replace(
        resolved,
        settings=build(nest(flat)),
        sources=resolved.sources | dict.fromkeys(values, COMMAND_LINE),
        n_overrides=resolved.n_overrides + changed,
    )


@dataclass
class TrialParams:
    """The parameter records and starting wallets of the cells of a space. May be sent to another machine.

    Either `changes`, by axis and value, or, where the axes meet in one rule, `records` by combination of `axes`.
    """

    base: Records  # params_dt[1]
    balance: float
    axes: list[int]  # those that change parameters
    changes: list[list[list[Change]]] = field(default_factory=list)
    records: dict[tuple[int, ...], bytes] = field(default_factory=dict)
    balance_axis: int = -1
    balances: list[float] = field(default_factory=list)

    def of(self, at: Sequence[int] | np.ndarray) -> tuple[Records, float]:
        """Record (params_dt[1], of its own) and starting wallet of a cell, by the places of its values."""
        balance = self.balances[int(at[self.balance_axis])] if self.balance_axis >= 0 else self.balance
        if self.records:
            key = tuple(int(at[k]) for k in self.axes)
            return np.frombuffer(bytearray(self.records[key]), params_dt), balance
        params = self.base.copy()
        for k, by_value in zip(self.axes, self.changes, strict=True):
            for record, name, value in by_value[int(at[k])]:
                params[record][name][0] = value
        return params, balance

    def __getstate__(self) -> dict[str, Any]:
        """Plain bytes for the record: an array that comes back has another dtype object, which kernels do not know."""
        return {**self.__dict__, "base": self.base.tobytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.base = np.frombuffer(bytearray(state["base"]), params_dt)


@dataclass
class PlannedParams:
    """The records, and the combinations of values that the settings refuse, with the first reason."""

    params: TrialParams
    refused: dict[tuple[int, ...], str] = field(default_factory=dict)


def plan_params(resolved: Resolved, space: Space, timeframe_ns: int) -> PlannedParams:
    """The records of all cells of a space, for the axes that are parameters.

    Errors: SettingError where every combination is refused.
    """
    axes = [k for k, axis in enumerate(space.axes) if is_parameter(axis.path)]
    base = to_params(resolved.settings, timeframe_ns)
    params = TrialParams(base, float(resolved.settings.account.balance), axes)
    for k in axes:
        axis = space.axes[k]
        if axis.path == BALANCE:
            params.balance_axis, params.balances = k, [float(value) for value in axis.values]

    def record_of(at: Mapping[int, int]) -> Records:
        values = {space.axes[k].path: space.axes[k].values[place] for k, place in at.items()}
        return to_params(settings_of_trial(resolved, values), timeframe_ns)

    try:
        params.changes = [[_changes(base, record_of({k: n})) for n in range(space.shape[k])] for k in axes]
    except SettingError:
        if len(axes) == 1:
            raise
        # a value that contradicts the base may fit a value of another axis
        return _every_record(space, axes, params, record_of)
    if len(axes) < 2 or _corners_agree(space, axes, params, record_of):
        return PlannedParams(params)
    return _every_record(space, axes, params, record_of)


def _changes(base: Records, other: Records) -> list[Change]:
    """Fields in which two records differ."""
    found: list[Change] = []
    for record in base.dtype.names or ():
        inner = base.dtype[record]
        found += [
            (record, name, other[record][name][0].copy())
            for name in inner.names or ()
            if base[record][name].tobytes() != other[record][name].tobytes()
        ]
    return found


def _corners_agree(
    space: Space, axes: Sequence[int], params: TrialParams, record_of: Callable[[Mapping[int, int]], Records]
) -> bool:
    """Whether the joined changes give what the whole settings give, at the corners of the grid."""
    ends = [range(space.shape[k]) if space.axes[k].scale == CHOICE else sorted({0, space.shape[k] - 1}) for k in axes]
    for places in itertools.islice(itertools.product(*ends), CORNERS_MOST):
        at = np.zeros(len(space.axes), dtype=np.int64)
        at[list(axes)] = places
        try:
            whole = record_of(dict(zip(axes, places, strict=True)))
        except SettingError:
            return False
        if whole.tobytes() != params.of(at)[0].tobytes():
            return False
    return True


def _every_record(
    space: Space, axes: Sequence[int], params: TrialParams, record_of: Callable[[Mapping[int, int]], Records]
) -> PlannedParams:
    """Build the settings of every combination; what they refuse is left out of the sweep."""
    planned = PlannedParams(params)
    for places in itertools.product(*(range(space.shape[k]) for k in axes)):
        try:
            params.records[places] = record_of(dict(zip(axes, places, strict=True))).tobytes()
        except SettingError as error:
            planned.refused[places] = " ".join(str(error).split())
    if not params.records:
        raise SettingError(f"no combination is allowed: {next(iter(planned.refused.values()))}")
    return planned
