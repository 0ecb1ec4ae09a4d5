"""Settings whose part is not built in this version: one table, and what follows from it.

A setting that would silently do nothing is worse than an error: moving one of these away from its default is refused.
Two things are let through. A value that asks for exactly what this version does, such as a limit of inf. And a limit
that comes with a profile or a variable of the predecessor, so that such a set-up runs; a headline says that it is not
in force yet.
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
    work; None: the whole key is not in force. `harmless`: values that ask for what this version does anyway. `limit`:
    may come with a profile or a variable of the predecessor, with a headline.
    """

    pattern: str
    why: str
    built: tuple[Any, ...] | None = None
    harmless: tuple[Any, ...] = ()
    limit: bool = False

    @property
    def in_force(self) -> bool:
        """True where some values of the key work."""
        return self.built is not None


_GATES = "entry gates are not built yet, every signal passes"
_GOVERNOR = "the Safety Governor is not built yet"
_GUARD = "the stale and crash guards are not built yet"
_REGIME = "regimes are not built yet, every regime is UNKNOWN"
_LIVE = "live trading is not built yet"

TABLE: tuple[Missing, ...] = (
    Missing("account.max_capital", _LIVE, harmless=OFF),
    Missing("account.mode.margin", "only isolated margin is built", built=("isolated",)),
    Missing("account.mode.position", "only one-way mode is built", built=("one_way",)),
    Missing("entry.confidence.min", "the confidence filter is not built yet", harmless=(0.0,)),
    Missing("entry.order.type", "only market entries are built", built=("market",)),
    Missing("entry.order.*", "only market entries are built"),
    Missing("exit.policy", "only exit_brain and bracket are built", built=("exit_brain", "bracket")),
    Missing("exit.legacy.*", "the policy legacy is not built yet"),
    Missing("exit.profit_lock.*", "the policy profit_lock is not built yet"),
    Missing("exit.replan", "levels are planned once, at entry", built=("entry",)),
    Missing("exit.stops.trail.choppy", _REGIME, harmless=OFF),
    Missing("exit.stops.backup.enabled", "the backup stop is not built yet", built=(False,)),
    Missing("exit.stops.backup.*", "the backup stop is not built yet"),
    Missing("exit.guard.loss.emergency_margin", "the margin emergency is not built yet", built=OFF),
    Missing("exit.guard.stale.hours", _GUARD, harmless=OFF),
    Missing("exit.guard.stale.crash_volatility", _GUARD, harmless=OFF),
    Missing("exit.guard.stale.*", _GUARD),
    Missing(
        "sizing.model",
        "the model rl is not built yet",
        built=("math", "notional", "fixed_risk", "fraction", "fixed_qty"),
    ),
    Missing("sizing.rl.*", "the model rl is not built yet"),
    Missing("regime.leader.timeframe", _REGIME),
    Missing("regime.leader.ema_bars", _REGIME),
    Missing("regime.leader.band", _REGIME),
    Missing("regime.effects.adjust_levels", _REGIME, harmless=(False,)),
    Missing("regime.effects.*_size", _REGIME, harmless=(1.0,)),
    Missing("regime.effects.*", _REGIME, harmless=(0.0,)),
    Missing("gates.enabled", _GATES, harmless=(True, False)),
    Missing("orchestrator.*", _GATES),
    Missing("limits.positions.*", _GATES, harmless=OFF, limit=True),
    Missing("limits.exposure.basis", _GATES, limit=True),
    Missing("limits.exposure.*", _GATES, harmless=OFF, limit=True),
    Missing("limits.balance.min", _GATES, harmless=(0.0,), limit=True),
    Missing("limits.balance.buffer", _GATES, harmless=(1.0,), limit=True),
    Missing("limits.sector_share", _GATES, harmless=OFF, limit=True),
    Missing("limits.correlation.max", _GATES, harmless=OFF, limit=True),
    Missing("limits.correlation.window_days", _GATES, limit=True),
    Missing("governor.daily_drawdown", _GOVERNOR, harmless=OFF),
    Missing("governor.hourly.loss", _GOVERNOR, harmless=OFF),
    Missing("governor.streak.losses", _GOVERNOR, harmless=OFF),
    Missing("governor.shutdown.drawdown", _GOVERNOR, harmless=OFF),
    Missing("governor.*", _GOVERNOR),
    Missing("costs.slippage.model", "only fixed and size are built", built=("fixed", "size")),
    Missing("costs.slippage.impact", "the model impact is not built yet"),
    Missing("data.detail_timeframe", "detail data are not built yet", built=("",)),
    Missing("data.archive_url", "downloading is not built yet"),
    Missing("data.rest_url", "downloading is not built yet"),
    Missing("sim.mode", "only bars are built", built=("bars",)),
    Missing("sim.latency_ms.*", "latency is not built yet", built=(0.0,)),
    Missing("sim.volume.max_share", "shares of volume are not built yet", built=OFF),
    Missing("sim.volume.unfilled", "shares of volume are not built yet"),
    Missing("live.*", _LIVE),
    Missing("bus.url", "the event bus is not built yet", built=("",)),
)


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


def refuse_unavailable(
    values: Mapping[str, Any], sources: Mapping[str, str], profile: str, lenient: frozenset[str]
) -> list[str]:
    """Check the values of a whole set-up against the table.

    `lenient` names the paths whose value comes from a variable of the predecessor. Returns headlines for limits that
    are not in force; raises SettingError for everything else that this version cannot do.
    """
    from_profile = f"profile {profile}"
    errors: list[str] = []
    profile_lacks: list[str] = []
    idle: dict[str, list[str]] = {}
    for path, value in values.items():
        entry = refusal(path, value)
        if entry is None:
            continue
        source = sources.get(path, "default")
        if entry.limit and (source == from_profile or path in lenient):
            idle.setdefault(source, []).append(f"{path} = {show(value)}")
        elif source == from_profile:
            profile_lacks.append(f"{path} = {show(value)}")
        else:
            errors.append(f"{sentence(path, value, entry)} ({source})")
    if profile_lacks:
        errors.insert(
            0,
            f'profile "{profile}" is not available in qtsim {RELEASE}: it needs {", ".join(profile_lacks)}; '
            f"choose {_loadable_profiles()}",
        )
    if errors:
        raise SettingError("\n".join(errors))
    return [f"not in force in qtsim {RELEASE}: {', '.join(lines)} ({source})" for source, lines in idle.items()]


def _loadable_profiles() -> str:
    return "exitbrain-v35, tight, small-account or plain"
