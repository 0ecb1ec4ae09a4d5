"""Settings → the parameter records that kernels read.

A field of a record is the setting's path below the record's section, joined by `_`. `field_paths` tells which setting
stands behind each field; `READ_ELSEWHERE` tells of the settings in those sections that no kernel reads.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np

from qtsim.config.settings import Settings, flatten, keys
from qtsim.config.unavailable import missing
from qtsim.core import enums
from qtsim.core.params import HARVEST_TIERS_MAX, LADDER_MAX, LEGS_MAX, SECTIONS, params_dt
from qtsim.errors import SettingError

ENUMS: dict[str, type[IntEnum]] = {
    "account.mode.margin": enums.MarginMode,
    "account.mode.position": enums.PositionMode,
    "leverage.model": enums.LeverageModel,
    "exit.policy": enums.ExitPolicy,
    "exit.legacy.levels": enums.LegacyLevels,
    "exit.replan": enums.Replan,
    "exit.on_opposite_signal": enums.OnOppositeSignal,
    "exit.monitoring": enums.Monitoring,
    "exit.trigger_price": enums.PriceKind,
    "exit.levels.sl.model": enums.StopModel,
    "exit.harvest.scheme.by": enums.HarvestBy,
    "exit.harvest.basis": enums.HarvestBasis,
    "exit.stops.ratchet.preset": enums.RatchetPreset,
    "exit.stops.trail.mode": enums.TrailMode,
    "exit.stops.trail.style": enums.TrailStyle,
    "exit.stops.hard.working_type": enums.PriceKind,
    "exit.guard.loss.basis": enums.LossBasis,
    "sizing.model": enums.SizingModel,
    "sim.path": enums.PathModel,
    "sim.fill_at": enums.FillAt,
    "sim.end_of_data": enums.EndOfData,
    "sim.volume.unfilled": enums.Unfilled,
    "entry.order.type": enums.OrderType,
    "costs.slippage.model": enums.SlippageModel,
    "costs.funding.inclusive": enums.FundingInclusive,
    "limits.exposure.basis": enums.ExposureBasis,
}
"""Choices that become codes: the member is the option's name in capitals."""

READ_ELSEWHERE: dict[str, str] = {
    "run.profile": "decides what the other settings are",
    "run.strategy": "gives the signals",
    "run.symbols": "decides which market a run gets",
    "run.timeframe": "decides which market a run gets",
    "run.timerange": "decides which market a run gets",
    "account.balance": "is the starting wallet of a run",
    "account.max_capital": "bounds the wallet that a live session may use",
    "entry.on_same_side": "has one value",
    "costs.fees.tier": "becomes costs.fees.maker and costs.fees.taker",
    "costs.fees.bnb_discount": "becomes costs.fees.maker and costs.fees.taker",
    "costs.funding.source": "decides which funding rows a run gets",
    "costs.funding.default_rate": "becomes funding rows",
    "sim.mode": "decides what the path is made of",
    "sim.diagnostics.range": "decides which further runs are made",
    "sim.diagnostics.optimism": "decides which further runs are made",
    "sim.volume.warn_share": "decides what the run warns of",
    "regime.leader.symbol": "decides the regime columns",
    "regime.leader.timeframe": "decides the regime columns",
    "regime.leader.ema_bars": "decides the regime columns",
    "regime.leader.band": "decides the regime columns",
    "regime.timeframe": "decides the regime columns",
}
"""Settings of the sections with records that no kernel reads, and why. The parts that are not built are not listed."""

CHECKS_PER_BAR_TOP = 1_000_000
"""Most cycles per bar with monitoring interval; beyond it a run would not end in reasonable time."""

_AUTO_MONITORING = {"bars": "continuous", "detail": "continuous", "ticks": "interval"}


@cache
def field_paths() -> dict[tuple[str, str], str]:
    """(record, field) of `params_dt` → path of the setting behind it."""
    found: dict[tuple[str, str], str] = {}
    for record, section in SECTIONS.items():
        names = set(params_dt[record].names or ())
        for path in keys():
            if path.startswith(f"{section}."):
                field = path[len(section) + 1 :].replace(".", "_")
                if field in names:
                    found[record, field] = path
    return found


def effective_monitoring(settings: Settings) -> str:
    """exit.monitoring with `auto` replaced by what the price source calls for."""
    stated = settings.exit.monitoring
    return _AUTO_MONITORING[settings.sim.mode] if stated == "auto" else stated


def to_params(settings: Settings, timeframe_ns: int) -> np.ndarray:
    """The parameter record of a run, shape (1,), dtype `params_dt`.

    `timeframe_ns`: length of the run's bars in nanoseconds, against which a monitoring interval is judged. Raises
    SettingError for such an interval that is far too short, and for a choice that has no kernel in this version.
    """
    if timeframe_ns <= 0:
        raise SettingError(f"the length of a bar must be above 0 ns, not {timeframe_ns}")
    values: dict[str, Any] = flatten(settings)
    values["exit.monitoring"] = effective_monitoring(settings)
    values["costs.fees.maker"], values["costs.fees.taker"] = settings.costs.fees.rates()
    tiers = list(values["exit.harvest.scheme.tiers"])
    values["exit.harvest.scheme.tiers"] = tiers + [tiers[-1]] * (HARVEST_TIERS_MAX - len(tiers))
    for name, most in (("legs", LEGS_MAX), ("ladder", LADDER_MAX)):
        rows = list(values[f"exit.profit_lock.{name}"])
        values[f"exit.profit_lock.{name}"] = rows + [(math.inf, 0.0)] * (most - len(rows))
    checks = timeframe_ns / 1e9 / settings.exit.check_interval_s
    if values["exit.monitoring"] == "interval" and checks > CHECKS_PER_BAR_TOP:
        raise SettingError(
            f"exit.check_interval_s = {settings.exit.check_interval_s:g} makes {checks:,.0f} checks in each bar; "
            f"at most {CHECKS_PER_BAR_TOP:,} are allowed: choose a longer interval or shorter bars"
        )
    params = np.zeros(1, dtype=params_dt)
    for (record, field), path in field_paths().items():
        params[record][field][0] = _code(path, values[path])
    return params


def _code(path: str, value: Any) -> Any:
    """The number that stands for a value."""
    choices = ENUMS.get(path)
    if choices is None:
        return value
    member = choices.__members__.get(str(value).upper())
    if member is None:
        entry = missing(path)
        raise SettingError(f'{path} = "{value}" is not available: {entry.why if entry else "no kernel knows it"}')
    return int(member)
