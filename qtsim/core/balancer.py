"""The Portfolio Balancer: how many positions, how much of one sector, how alike the symbols are."""

from __future__ import annotations

import math

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import Gate, Rule, Side
from qtsim.core.orders import committed_side_nb
from qtsim.core.records import Record, Records
from qtsim.core.sizing import deny_nb

DAY_NS = 86_400_000_000_000.0
SECTOR_FROM_POSITIONS = 3
"""Open positions, the candidate left out, from which the sector's share is checked."""
LEAST_COMMON_SHARE = 0.5
"""Share of the window's bars that two symbols must have in common for their correlation to count."""
STILL = 1e-12
"""A variance below this share of the mean square is rounding: the returns do not vary."""


@kernel
def show_closes_nb(closes: Records, spans: Records, ts: int) -> None:
    """Closes of the regime's bars up to `ts` are known from now on."""
    for i in range(len(spans)):
        while spans[i]["known"] < spans[i]["end"] and closes[spans[i]["known"]]["ts"] <= ts:
            spans[i]["known"] += 1


@kernel
def measure_crowd_nb(crowd: Record, positions: Records, points: Records, instruments: Records, candidate: int) -> None:
    """What is open on the account, at mark, and what entry orders reserve, seen from the candidate's symbol.

    Summed in symbol order.
    """
    crowd["positions"] = 0
    crowd["longs"] = 0
    crowd["shorts"] = 0
    crowd["notional"] = 0.0
    crowd["initial_margin"] = 0.0
    crowd["sector_notional"] = 0.0
    crowd["correlation"] = -np.inf
    crowd["uncompared"] = 0
    for i in range(len(positions)):
        position = positions[i]
        side = committed_side_nb(position)
        if side == Side.NONE:
            continue
        notional = position["order_notional"]
        margin = position["order_margin"]
        if position["side"] != Side.NONE:
            notional += position["qty"] * points[i]["mark"]
            margin += position["init_margin"] * position["lots"] / position["init_lots"]
        crowd["positions"] += 1
        if side == Side.LONG:
            crowd["longs"] += 1
        else:
            crowd["shorts"] += 1
        crowd["notional"] += notional
        crowd["initial_margin"] += margin
        if instruments[i]["sector"] == instruments[candidate]["sector"]:
            crowd["sector_notional"] += notional


@kernel
def correlation_nb(closes: Records, a: int, a_first: int, b: int, b_first: int, since: int, least: float) -> float:
    """Pearson correlation of two symbols' log returns of the same closes after `since`; NaN where it says nothing.

    closes: close_dt, rows of one symbol contiguous and ascending. a, b: one past each symbol's last known row;
    a_first, b_first: its first. Fewer than `least` common rows, or returns that do not vary: NaN. Summed from the
    latest close backwards.
    """
    n = 0
    sum_a = 0.0
    sum_b = 0.0
    sum_aa = 0.0
    sum_bb = 0.0
    sum_ab = 0.0
    a -= 1
    b -= 1
    while a >= a_first and b >= b_first:
        ts_a = closes[a]["ts"]
        ts_b = closes[b]["ts"]
        if ts_a <= since or ts_b <= since:
            break
        if ts_a > ts_b:
            a -= 1
            continue
        if ts_b > ts_a:
            b -= 1
            continue
        x = closes[a]["log_return"]
        y = closes[b]["log_return"]
        if x == x and y == y:
            n += 1
            sum_a += x
            sum_b += y
            sum_aa += x * x
            sum_bb += y * y
            sum_ab += x * y
        a -= 1
        b -= 1
    if n < 2 or n < least:
        return np.nan
    var_a = n * sum_aa - sum_a * sum_a
    var_b = n * sum_bb - sum_b * sum_b
    if not (var_a > n * STILL * sum_aa and var_b > n * STILL * sum_bb):
        return np.nan
    return (n * sum_ab - sum_a * sum_b) / (math.sqrt(var_a) * math.sqrt(var_b))


@kernel
def measure_correlation_nb(
    crowd: Record,
    positions: Records,
    closes: Records,
    spans: Records,
    candidate: int,
    side: int,
    ts: int,
    regime_ns: int,
    limits: Record,
) -> None:
    """The largest correlation of the candidate with an open position of its direction, or one that an order will open,
    over the window before `ts`; and how many such positions it says nothing about.
    """
    crowd["correlation"] = -np.inf
    crowd["uncompared"] = 0
    if limits["correlation_max"] == np.inf:
        return
    window = limits["correlation_window_days"] * DAY_NS
    least = LEAST_COMMON_SHARE * window / regime_ns
    own = spans[candidate]
    for i in range(len(positions)):
        if i == candidate or committed_side_nb(positions[i]) != side:
            continue
        found = correlation_nb(
            closes, own["known"], own["first"], spans[i]["known"], spans[i]["first"], ts - int(window), least
        )
        if found != found:
            crowd["uncompared"] += 1
        else:
            crowd["correlation"] = max(crowd["correlation"], found)


@kernel
def deny_by_balancer_nb(plan: Record, crowd: Record, limits: Record) -> None:
    """Positions in all and on the candidate's side, correlation with what is open on that side."""
    gate = Gate.BALANCER.value
    if crowd["positions"] >= limits["positions_total"]:
        deny_nb(plan, gate, Rule.POSITIONS_TOTAL.value, float(crowd["positions"]), limits["positions_total"])
    elif plan["side"] == Side.LONG and crowd["longs"] >= limits["positions_long"]:
        deny_nb(plan, gate, Rule.POSITIONS_LONG.value, float(crowd["longs"]), limits["positions_long"])
    elif plan["side"] == Side.SHORT and crowd["shorts"] >= limits["positions_short"]:
        deny_nb(plan, gate, Rule.POSITIONS_SHORT.value, float(crowd["shorts"]), limits["positions_short"])
    else:
        deny_by_correlation_nb(plan, crowd, limits)


@kernel
def deny_by_correlation_nb(plan: Record, crowd: Record, limits: Record) -> None:
    """Correlation with what is open on the candidate's side. The plan keeps what could not be compared: only a signal
    that comes this far asks, and both passes ask for the same one."""
    plan["uncompared"] = crowd["uncompared"]
    if crowd["correlation"] > limits["correlation_max"]:
        gate = Gate.BALANCER.value
        deny_nb(plan, gate, Rule.CORRELATION.value, crowd["correlation"], limits["correlation_max"])


@kernel
def deny_by_sector_nb(plan: Record, crowd: Record, balance: float, limits: Record) -> None:
    """After sizing: the sector's notional with the candidate, once three positions are open; its first is allowed."""
    if crowd["positions"] < SECTOR_FROM_POSITIONS or crowd["sector_notional"] <= 0.0:
        return
    most = limits["sector_share"] * limits["exposure_max"] * balance
    wanted = crowd["sector_notional"] + plan["notional"]
    if wanted > most:
        deny_nb(plan, Gate.BALANCER.value, Rule.SECTOR_SHARE.value, wanted, most)
