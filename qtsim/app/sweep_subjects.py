"""What a sweep is about: one market, or one for each value of a varied timeframe and symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qtsim.app.inputs import RunInputs, add_instruments, add_strategy_needs, fingerprints, instrument_fields
from qtsim.config.layers import COMMAND_LINE, Resolved, read_value
from qtsim.data.frames import times_of
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import normalize_timeframe
from qtsim.errors import UsageError
from qtsim.research.experiments import data_set_of
from qtsim.research.parameters import with_values
from qtsim.research.space import SUBJECT_AXES, TIMEFRAME, Axis, Space, read_axis
from qtsim.signals.strategy import Strategy

Gather = Callable[[Resolved], RunInputs]
"""Reads the data that some settings ask for."""
Places = tuple[int, ...]
"""A place on each of the space's `SUBJECT_AXES`, in their order; empty where neither varies."""


@dataclass
class Subject:
    """The data of the trials that share timeframe and symbols."""

    places: Places
    values: Mapping[str, Any]  # path → value of the axes
    resolved: Resolved  # with these values
    inputs: RunInputs

    @property
    def data_set(self) -> str:
        """What its trials are counted under."""
        synthetic = any(item.source.startswith("SYNTHETIC") for item in self.inputs.symbols.values())
        return data_set_of(list(self.inputs.symbols), self.inputs.timeframe, synthetic=synthetic)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the sweep's folder."""
        return {
            "places": list(self.places),
            "data_set": self.data_set,
            "symbols": list(self.inputs.symbols),
            "timeframe": self.inputs.timeframe,
            "start_ns": self.inputs.start_ns,
            "end_ns": self.inputs.end_ns - self.inputs.timeframe_ns,
        }


def read_subject_axis(path: str, given: Any) -> Axis:
    """The axis of timeframes or of sets of symbols. Errors: UsageError."""
    return read_axis(path, given, _read_timeframe if path == TIMEFRAME else _read_symbols)


def _read_timeframe(path: str, value: Any) -> str:
    return normalize_timeframe(str(read_value(path, value, COMMAND_LINE, from_text=True)))


def _read_symbols(path: str, value: Any) -> tuple[str, ...]:
    """One set of symbols that are traded together: BTCUSDT, BTCUSDT+ETHUSDT, [BTCUSDT, ETHUSDT], all."""
    if isinstance(value, str):
        value = [part.strip(" \"'") for part in value.strip(" []").replace("+", ",").split(",")]
    names = read_value(path, value, COMMAND_LINE, from_text=True)
    return names if names == ("all",) else tuple(sorted({normalize_symbol(name) for name in names}))


def first_values(grids: Mapping[str, Any]) -> dict[str, Any]:
    """The first value of each varied timeframe and symbols: what a sweep's own settings then are."""
    return {path: read_subject_axis(path, given).values[0] for path, given in grids.items() if path in SUBJECT_AXES}


def subject_axes(space: Space) -> list[int]:
    """Which axes have other data at each value."""
    return [k for k, axis in enumerate(space.axes) if axis.path in SUBJECT_AXES]


def gather_subjects(
    resolved: Resolved,
    strategy: Strategy,
    gather: Gather,
    store: Store | None,
    space: Space,
    cells: np.ndarray,
    instruments: Mapping[str, Any],
    *,
    each: bool,
) -> dict[Places, Subject]:
    """The data of every subject that the cells have, each read once. Errors: UsageError, DataError."""
    axes = subject_axes(space)
    found: dict[Places, Subject] = {}
    for places in map(tuple, np.unique(space.indices(cells)[:, axes], axis=0).tolist()):
        values = {space.axes[k].path: space.axes[k].values[place] for k, place in zip(axes, places, strict=True)}
        own = with_values(resolved, values) if values else resolved
        subject = Subject(places, values, own, gather(own))
        settings = own.settings
        add_strategy_needs(subject.inputs, strategy, store, settings)
        rules = rules_of(instruments, subject.inputs) if axes else instruments
        add_instruments(subject.inputs, settings, rules, store, plain=resolved.profile == "plain")
        found[places] = subject
    _refuse_unused(instruments, list(found.values()))
    if each:
        _require_same_symbols(list(found.values()))
    return found


def rules_of(instruments: Mapping[str, Any], inputs: RunInputs) -> dict[str, Any]:
    """The instruments that are given for the symbols of these data."""
    return {name: rules for name, rules in instruments.items() if normalize_symbol(name) in inputs.symbols}


def _refuse_unused(instruments: Mapping[str, Any], subjects: Sequence[Subject]) -> None:
    traded = {symbol for subject in subjects for symbol in subject.inputs.symbols}
    unused = sorted({normalize_symbol(name) for name in instruments} - traded)
    if unused:
        raise UsageError(f"instrument {unused[0]}: not among the sweep's symbols ({', '.join(sorted(traded))})")


def _require_same_symbols(subjects: Sequence[Subject]) -> None:
    """With each symbol alone every cell has the same symbols."""
    every = sorted({symbol for subject in subjects for symbol in subject.inputs.symbols})
    for subject in subjects:
        lacking = [symbol for symbol in every if symbol not in subject.inputs.symbols]
        if lacking:
            raise UsageError(
                f"--each with {TIMEFRAME}: there are no {subject.inputs.timeframe} bars of {lacking[0]}; name symbols "
                "that have every timeframe with -p"
            )


@dataclass(frozen=True)
class Described:
    """What a sweep keeps about the data of all its subjects."""

    symbols: list[str]
    timeframe: str
    start_ns: int
    end_ns: int
    bars: dict[str, int]
    gaps: dict[str, int]
    fingerprints: dict[str, str]
    instruments: dict[str, dict[str, Any]]
    data_set: str
    warnings: list[str]


def describe(subjects: Sequence[Subject]) -> Described:
    """One subject as it is; of several everything by symbol and timeframe."""
    several = len(subjects) > 1
    bars: dict[str, int] = {}
    gaps: dict[str, int] = {}
    rules: dict[str, dict[str, Any]] = {}
    for subject in subjects:
        for symbol, item in subject.inputs.symbols.items():
            name = f"{symbol} {subject.inputs.timeframe}" if several else symbol
            bars[name] = len(item.traded)
            gaps[name] = _gaps(times_of(item.traded), subject.inputs.timeframe_ns)
            if item.instrument is not None:
                rules[symbol] = instrument_fields(item.instrument)
    return Described(
        symbols=sorted({symbol for subject in subjects for symbol in subject.inputs.symbols}),
        timeframe=", ".join(dict.fromkeys(subject.inputs.timeframe for subject in subjects)),
        start_ns=min(subject.inputs.start_ns for subject in subjects),
        end_ns=max(subject.inputs.end_ns - subject.inputs.timeframe_ns for subject in subjects),
        bars=bars,
        gaps=gaps,
        fingerprints=merged([(subject, fingerprints(subject.inputs)) for subject in subjects]),
        instruments=rules,
        data_set=", ".join(dict.fromkeys(subject.data_set for subject in subjects)),
        warnings=_warnings(subjects),
    )


def _warnings(subjects: Sequence[Subject]) -> list[str]:
    """What is said of some timeframes only has theirs beside it."""
    said: dict[str, list[str]] = {}
    for subject in subjects:
        for text in subject.inputs.warnings:
            said.setdefault(text, []).append(subject.inputs.timeframe)
    timeframes = {subject.inputs.timeframe for subject in subjects}
    return [
        text if set(own) == timeframes or own[0] in text.split() else f"{text} ({', '.join(dict.fromkeys(own))})"
        for text, own in said.items()
    ]


def merged(parts: Sequence[tuple[Subject, Mapping[str, Any]]]) -> dict[str, Any]:
    """What is kept of each subject by name, in one; what differs under one name has its data set beside it."""
    found: dict[str, Any] = {}
    for subject, own in parts:
        for name, value in own.items():
            if found.setdefault(name, value) != value:
                found[f"{name} ({subject.data_set})"] = value
    return found


def _gaps(times: np.ndarray, timeframe: int) -> int:
    return int((times[-1] - times[0]) // timeframe + 1 - len(times))
