"""Settings whose part is not built in this version: one table, and what follows from it.

A setting that would silently do nothing is worse than an error: moving one of these away from its default is refused,
unless its value asks for exactly what this version does, such as a limit of inf.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from qtsim.config.kinds import show
from qtsim.config.settings import keys
from qtsim.errors import SettingError

RELEASE = "0.1"
"""The version that this table is about."""

INF = math.inf
OFF = (INF,)


@dataclass(frozen=True)
class Missing:
    """A part that is not built.

    `pattern`: the path, or a pattern of paths. `why`: a clause that says what is missing. `built`: the values that do
    work; None: the whole key is not in force. `harmless`: values that ask for what this version does anyway.
    """

    pattern: str
    why: str
    built: tuple[Any, ...] | None = None
    harmless: tuple[Any, ...] = ()

    @property
    def in_force(self) -> bool:
        """True where some values of the key work."""
        return self.built is not None


TABLE: tuple[Missing, ...] = (Missing("bus.url", "the event bus is not built yet", built=("",)),)


@cache
def missing(path: str) -> Missing | None:
    """What is not built of a setting; None where all of it is. The first entry that matches decides."""
    return next((entry for entry in TABLE if fnmatchcase(path, entry.pattern)), None)


def is_in_force(path: str) -> bool:
    """False for a setting that this version does not read."""
    entry = missing(path)
    return entry is None or entry.in_force


def refusal(path: str, value: object) -> Missing | None:
    """The entry that stands against `value`; None where this version can do what the value asks."""
    entry = missing(path)
    if entry is None or value == keys()[path].default or value in entry.harmless or value in (entry.built or ()):
        return None
    return entry


def sentence(path: str, value: object, entry: Missing) -> str:
    """Why a value is refused, and what would be right."""
    default = show(keys()[path].default)
    advice = f"leave it at {default}"
    if entry.built and len(entry.built) > 1:
        advice = "choose " + ", ".join(show(one) for one in entry.built[:-1]) + f" or {show(entry.built[-1])}"
    return f"{path} = {show(value)} is not available in qtsim {RELEASE}: {entry.why}; {advice}"


def refuse_unavailable(values: Mapping[str, Any], sources: Mapping[str, str], profile: str) -> None:
    """Check the values of a whole set-up against the table: SettingError for what this version cannot do."""
    from_profile = f"profile {profile}"
    errors: list[str] = []
    profile_lacks: list[str] = []
    for path, value in values.items():
        entry = refusal(path, value)
        if entry is None:
            continue
        source = sources.get(path, "default")
        if source == from_profile:
            profile_lacks.append(f"{path} = {show(value)}")
        else:
            errors.append(f"{sentence(path, value, entry)} ({source})")
    if profile_lacks:
        errors.insert(
            0,
            f'profile "{profile}" is not available in qtsim {RELEASE}: it needs {", ".join(profile_lacks)}',
        )
    if errors:
        raise SettingError("\n".join(errors))
