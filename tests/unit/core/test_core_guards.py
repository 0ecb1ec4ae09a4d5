"""The guards on a position made by hand: prices, time, order, and the price at which the next one fires."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import Reason
from qtsim.core.exit_brain import nearest_triggers_nb
from qtsim.core.guards import (
    clear_guard_prices_nb,
    guard_price_nb,
    guard_reason_nb,
    is_crash_nb,
    is_stale_nb,
    set_guard_prices_nb,
    stale_time_nb,
)
from qtsim.core.records import point_dt, position_dt
from tests.generated import HOUR, params_of

PRICES = ("loss_price", "emergency_price", "stale_price", "crash_price")


def guarded(side: int = 1, leverage: float = 10.0, planned_stop: float = 0.02, **settings: Any) -> Any:
    """(position, parameters): entered at 100 at time 0, with its guards."""
    params = params_of({key.replace("__", "."): value for key, value in settings.items()})
    position = np.zeros(1, position_dt)
    position["side"], position["entry_price"], position["leverage"] = side, 100.0, leverage
    position["planned_stop"] = planned_stop
    set_guard_prices_nb(position[0], params[0])
    return position[0], params[0]


def point_of(mark: float = 100.0, ts: int = 0, **fields: float) -> Any:
    point = np.zeros(1, point_dt)
    point["price"] = point["mark"] = mark
    point["ts"], point["leader_24h"] = ts, np.nan
    for name, value in fields.items():
        point[name] = value
    return point[0]


ALL = {"exit__guard__loss__emergency_margin": 0.8}


@pytest.mark.parametrize(("side", "prices"), [(1, [87.5, 92.0, 99.0, 99.0]), (-1, [112.5, 108.0, 101.0, 101.0])])
def test_prices(side: int, prices: list[float]) -> None:
    position, _ = guarded(side, **ALL)
    assert [float(position[name]) for name in PRICES] == prices
    assert position["stale_ts"] == 48 * HOUR


def test_guards_that_are_off_have_no_price() -> None:
    off = {"exit__guard__loss__max": "inf", "exit__guard__stale__hours": "inf"}
    position, params = guarded(**off)
    assert [bool(np.isnan(position[name])) for name in PRICES] == [True, True, True, False]
    assert not is_stale_nb(position, 2**62)
    assert guard_reason_nb(position, point_of(1.0, ts=2**62), params["guard"]) == Reason.NONE


def test_legacy_has_a_stale_guard_of_its_own_and_no_crash() -> None:
    own = {"exit__policy": "legacy", "exit__legacy__stale_hours": 5, "exit__legacy__stale_loss": 0.03}
    position, _ = guarded(**own, **ALL)
    assert [float(position[name]) for name in PRICES[:3]] == [87.5, 92.0, 97.0]
    assert np.isnan(position["crash_price"])
    assert position["stale_ts"] == 5 * HOUR


def test_a_cleared_position_has_no_guard() -> None:
    position, params = guarded(**ALL)
    clear_guard_prices_nb(position)
    assert guard_reason_nb(position, point_of(1.0, 2**62, volatility_factor=5.0), params["guard"]) == Reason.NONE


@pytest.mark.parametrize(("hours", "ts"), [(48.0, 7 + 48 * HOUR), (0.5, 7 + HOUR // 2), (float("inf"), 7), (1e300, 7)])
def test_stale_time(hours: float, ts: int) -> None:
    assert stale_time_nb(7, hours) == ts


def test_an_age_counts_from_its_time_on() -> None:
    position, _ = guarded()
    assert [is_stale_nb(position, 48 * HOUR + d) for d in (-1, 0, 1)] == [False, True, True]


@pytest.mark.parametrize(
    ("fields", "is_crash"),
    [
        ({}, False),
        ({"volatility_factor": 2.999999}, False),
        ({"volatility_factor": 3.0}, True),
        ({"volatility_factor": 3.000001}, True),
        ({"leader_24h": -0.0999999}, False),
        ({"leader_24h": -0.10}, True),
        ({"leader_24h": -0.11}, True),
        ({"leader_24h": np.nan}, False),
    ],
)
def test_what_a_crash_is(fields: dict[str, float], is_crash: bool) -> None:
    _, params = guarded()
    assert is_crash_nb(point_of(**fields), params["guard"]) == is_crash


def test_order_of_the_guards() -> None:
    """Each later one fires where the ones before it are not met."""
    position, params = guarded(**ALL)
    wild = {"volatility_factor": 4.0, "ts": 48 * HOUR}
    found = [guard_reason_nb(position, point_of(mark, **wild), params["guard"]) for mark in (87.5, 92, 99, 99.01)]
    assert found == [Reason.LOSS_GUARD, Reason.MARGIN_EMERGENCY, Reason.STALE, Reason.NONE]
    assert guard_reason_nb(position, point_of(99, volatility_factor=4.0), params["guard"]) == Reason.CRASH


@pytest.mark.parametrize("side", [1, -1])
def test_the_price_at_which_the_next_guard_fires(side: int) -> None:
    position, params = guarded(side, **ALL)

    def price(**fields: float) -> float:
        found = guard_price_nb(position, point_of(**fields), params["guard"])
        return float(found) if side > 0 else 200 - float(found)

    assert price() == 92.0
    assert price(volatility_factor=3.0) == 99.0
    assert price(ts=48 * HOUR) == 99.0
    assert price(ts=48 * HOUR - 1) == 92.0


def test_triggers_count_a_guard_only_while_it_can_act() -> None:
    position, params = guarded(planned_stop=0.02)
    for name in ("stop_price", "hard_price", "liq_price", "breakeven_activate_price", "trail_activate_price"):
        position[name] = np.nan
    position["tp_price"] = np.nan
    assert nearest_triggers_nb(position, point_of(), params) == (-np.inf, np.inf, 87.5, np.inf)
    assert nearest_triggers_nb(position, point_of(leader_24h=-0.2), params) == (-np.inf, np.inf, 99.0, np.inf)


def test_a_guard_at_every_loss_fires_at_the_entry_price() -> None:
    position, params = guarded(exit__guard__stale__stop_share=0.0)
    assert guard_reason_nb(position, point_of(100.0, 48 * HOUR), params["guard"]) == Reason.STALE
    assert guard_reason_nb(position, point_of(100.01, 48 * HOUR), params["guard"]) == Reason.NONE
