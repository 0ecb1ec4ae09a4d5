"""Backstops for a gap or a missing stop: what closes a position before anything else is decided.

Price PnL at mark, without fees. Each guard's price is computed once, on the first fill, and compared inclusively.
"""

from __future__ import annotations

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import ExitPolicy, LossBasis, Reason
from qtsim.core.records import Record
from qtsim.core.stops import is_tighter_nb, ratio_price_nb

HOUR_NS = 3.6e12
HOURS_TOP = 1e6
"""No position becomes this old; its time would no longer be a time."""


@kernel
def stale_time_nb(entry_ts: int, hours: float) -> int:
    """When a position opened at `entry_ts` is `hours` old, ns; entry_ts where that is never."""
    if hours >= HOURS_TOP:
        return entry_ts
    return entry_ts + int(hours * HOUR_NS)


@kernel
def set_guard_prices_nb(position: Record, params: Record) -> None:
    """Prices and time of the guards, from the real entry price. `legacy` has a stale guard of its own, and no crash.

    Loss guard: a share of the entry notional or of the initial margin; margin emergency: of the initial margin; stale
    and crash: a share of the planned stop.
    """
    side = float(position["side"])
    entry = position["entry_price"]
    guard = params["guard"]
    share = guard["loss_max"]
    if guard["loss_basis"] == LossBasis.MARGIN:
        share = share / position["leverage"]
    position["loss_price"] = ratio_price_nb(entry, side, -share)
    position["emergency_price"] = ratio_price_nb(entry, side, -guard["loss_emergency_margin"] / position["leverage"])
    hours = guard["stale_hours"]
    stale = guard["stale_stop_share"] * position["planned_stop"]
    crash = stale
    if params["exit"]["policy"] == ExitPolicy.LEGACY:
        hours = params["exit"]["legacy_stale_hours"]
        stale = params["exit"]["legacy_stale_loss"]
        crash = np.inf
    position["stale_ts"] = stale_time_nb(position["entry_ts"], hours)
    position["stale_price"] = ratio_price_nb(entry, side, -stale) if hours < HOURS_TOP else np.nan
    position["crash_price"] = ratio_price_nb(entry, side, -crash)


@kernel
def clear_guard_prices_nb(position: Record) -> None:
    """No guard watches the position."""
    position["loss_price"] = np.nan
    position["emergency_price"] = np.nan
    position["stale_ts"] = position["entry_ts"]
    position["stale_price"] = np.nan
    position["crash_price"] = np.nan


@kernel
def is_stale_nb(position: Record, ts: int) -> bool:
    """Is the position, at `ts`, as old as `exit.guard.stale.hours` or older? Never where there is no such guard."""
    return position["stale_price"] == position["stale_price"] and ts >= position["stale_ts"]


@kernel
def is_crash_nb(point: Record, guard: Record) -> bool:
    """Volatility at or above `crash_volatility`, or the leader's 24 h return at or below `crash_leader_24h`."""
    return (
        point["volatility_factor"] >= guard["stale_crash_volatility"]
        or point["leader_24h"] <= guard["stale_crash_leader_24h"]
    )


@kernel
def is_lost_nb(position: Record, mark: float, level: float) -> bool:
    """Has the mark reached a level against the position? A level of NaN is never reached."""
    return position["side"] * (mark - level) <= 0.0


@kernel
def guard_reason_nb(position: Record, point: Record, guard: Record) -> int:
    """The guard that fires at this point, in this order: loss guard, margin emergency, stale, crash; or NONE."""
    mark = point["mark"]
    if is_lost_nb(position, mark, position["loss_price"]):
        return Reason.LOSS_GUARD.value
    if is_lost_nb(position, mark, position["emergency_price"]):
        return Reason.MARGIN_EMERGENCY.value
    if is_stale_nb(position, point["ts"]) and is_lost_nb(position, mark, position["stale_price"]):
        return Reason.STALE.value
    if is_crash_nb(point, guard) and is_lost_nb(position, mark, position["crash_price"]):
        return Reason.CRASH.value
    return Reason.NONE.value


@kernel
def nearer_level_nb(level: float, best: float, side: float) -> float:
    """Of two levels against the position the one it loses less to; NaN is none."""
    return level if is_tighter_nb(level, best, side) else best


@kernel
def guard_price_nb(position: Record, point: Record, guard: Record) -> float:
    """Mark at which the next guard fires with what is known at this point; NaN none.

    An age counts from the point at which it is reached: one reached on the way acts at the next point.
    """
    side = float(position["side"])
    nearest = nearer_level_nb(position["emergency_price"], position["loss_price"], side)
    if is_stale_nb(position, point["ts"]):
        nearest = nearer_level_nb(position["stale_price"], nearest, side)
    if is_crash_nb(point, guard):
        nearest = nearer_level_nb(position["crash_price"], nearest, side)
    return nearest
