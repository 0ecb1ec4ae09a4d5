"""Return on margin and price of profit_lock, and the legs and stops that policies plan."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qtsim.core.entry import plan_entry_nb
from qtsim.core.enums import Gate, PlanFlag, Rule, TrailMode
from qtsim.core.profit_lock import locked_price_nb, locked_share_nb, roe_ratio_nb
from qtsim.core.records import account_dt, crowd_dt, plan_dt, position_dt
from qtsim.sim.market import new_governor, new_stats
from tests.generated import empty_signals, instrument, params_of, point_of

NAN = np.nan


def roe_at(ratio: float, side: int, leverage: float, taker: float, slippage: float) -> float:
    """Net return on margin of a position of one unit entered at 1 and closed at the path's price 1 + side·ratio."""
    fill = (1 + side * ratio) * (1 - side * slippage)
    return (side * (fill - 1) - taker - taker * fill) * leverage


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("leverage", [1.0, 30.0])
@pytest.mark.parametrize(("taker", "slippage"), [(0.0, 0.0), (0.0005, 0.0002), (0.001, 0.0)])
@pytest.mark.parametrize("roe", [0.0, 0.05, 0.5])
def test_roe_and_price_are_inverse(side: int, leverage: float, taker: float, slippage: float, roe: float) -> None:
    ratio = roe_ratio_nb(roe, float(side), leverage, taker, slippage)
    assert roe_at(ratio, side, leverage, taker, slippage) == pytest.approx(roe, abs=1e-12)


def test_an_infinite_return_is_nowhere() -> None:
    assert roe_ratio_nb(math.inf, 1.0, 10.0, 0.0, 0.0) == math.inf


def test_at_thirty_times_breakeven_is_beyond_the_round_trip() -> None:
    """0.1201 % of price for net breakeven at vip0 and 2 bps (the entry's slippage is in its price); 5 % are 0.287 %."""
    assert roe_ratio_nb(0.0, 1.0, 30.0, 0.0005, 0.0002) == pytest.approx(0.0012007, abs=1e-7)
    assert roe_ratio_nb(0.05, 1.0, 30.0, 0.0005, 0.0002) == pytest.approx(0.0028685, abs=1e-7)


@pytest.mark.parametrize(
    ("peak", "share", "price"),
    [
        (100.99, NAN, NAN),
        (101.0, 0.2, 100.2),
        (101.99, 0.2, 100.398),
        (102.0, 0.4, 100.8),
        (103.5, 0.6, 102.1),
        (106.0, 0.7, 104.2),
        (120.0, 0.7, 114.0),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_the_ladder(peak: float, share: float, price: float, side: int) -> None:
    exits = params_of({})[0]["exit"]
    position = np.zeros(1, position_dt)[0]
    position["side"], position["net_price"] = side, 100.0
    position["rung_price"] = NAN
    position["rung_price"][:4] = [100 + side * rung for rung in (1.0, 2.0, 3.5, 6.0)]
    at = peak if side > 0 else 200 - peak
    assert locked_share_nb(position, at, exits) == pytest.approx(share, nan_ok=True)
    found = locked_price_nb(position, at, exits)
    assert (found if side > 0 else 200 - found) == pytest.approx(price, nan_ok=True)


def plan_of(policy: str, side: int = 1, overrides: dict[str, Any] | None = None, **signal: float) -> Any:
    """The plan of one request at 100 with 10x."""
    rows = empty_signals(1)
    rows["atr_pct"] = 0.02
    for name, value in signal.items():
        rows[name] = value
    stated = {"leverage.model": "fixed", "leverage.fixed": 10.0, "gates.enabled": False, "exit.policy": policy}
    params = params_of({**stated, **(overrides or {})})[0]
    plan, account = np.zeros(1, plan_dt)[0], np.zeros(1, account_dt)[0]
    around = (0, np.zeros(1, crowd_dt)[0], new_governor()[0], new_stats(1)[0])
    plan_entry_nb(
        plan, account, side, rows[0], point_of(100.0, rows)[0], 1e4, 0.0, 1e4, *around, instrument()[0], params
    )
    return plan


@pytest.mark.parametrize("side", [1, -1])
def test_profit_lock_plans_five_legs_and_the_stop_of_the_engine(side: int) -> None:
    plan, brain = plan_of("profit_lock", side), plan_of("exit_brain", side)
    assert plan["gate"] == Gate.NONE
    assert (plan["sl"], plan["hard"]) == (brain["sl"], brain["hard"])
    assert plan["n_legs"] == 5
    assert list(plan["fractions"]) == [0.25, 0.25, 0.30, 0.30, 0.20]
    returns = [roe_at(ratio, side, 10.0, 0.0005, 0.0002) for ratio in plan["tp"]]
    assert returns == pytest.approx([0.08, 0.15, 0.25, 0.35, 0.50], abs=1e-12)
    assert plan["trail_mode"] == TrailMode.LADDER


def test_profit_lock_with_fewer_legs() -> None:
    plan = plan_of("profit_lock", overrides={"exit.profit_lock.legs": "[[0.1, 0.5], [0.3, 0.5]]"})
    assert plan["n_legs"] == 2
    assert list(np.isinf(plan["tp"])) == [False, False, True, True, True]


def test_what_a_signal_brings_to_profit_lock() -> None:
    plan = plan_of("profit_lock", tp=0.05, sl=0.005, trail=0.01)
    assert plan["flags"] & PlanFlag.SIGNAL_SL
    assert plan["flags"] & PlanFlag.SIGNAL_TRAIL
    assert not plan["flags"] & PlanFlag.SIGNAL_TP, "its legs have nothing that a target could replace"
    assert plan["trail_mode"] == TrailMode.PERCENT
    assert plan["tp"][0] == plan_of("profit_lock")["tp"][0]


def test_profit_lock_denies_like_the_engine() -> None:
    high = {"leverage.fixed": 125.0, "limits.per_trade.leverage": 125.0, "costs.fees.taker": 0.001}
    assert plan_of("profit_lock", overrides=high)["rule"] == Rule.STOP_TOO_NEAR


def test_legacy_plans_a_half_and_a_target() -> None:
    plan = plan_of("legacy")
    assert (plan["n_legs"], plan["sl"], plan["hard"]) == (2, 0.03, 0.04)
    assert list(plan["tp"][:2]) == [0.04, 0.06]
    assert list(plan["fractions"][:2]) == [0.5, 1.0]
    assert (plan["trail_mode"], plan["trail_multiple"]) == (TrailMode.ATR, 1.0)


def test_legacy_stop_is_not_clamped_but_safe() -> None:
    """3 % is beyond sl.max; at 30x the hard stop gives way to liquidation at 2.94 %, and the stop to it."""
    plan = plan_of("legacy", overrides={"leverage.fixed": 30.0, "limits.per_trade.leverage": 30.0})
    d = (1 / 30 - 0.004) / (1 - 0.004)
    assert plan["hard"] == pytest.approx(0.8 * d)
    assert plan["sl"] == pytest.approx(0.72 * d)
    assert plan["flags"] & PlanFlag.SL_HARD_SHARE


@pytest.mark.parametrize(("atr_pct", "legs"), [(0.01, [0.03]), (0.02, [0.04, 0.06])])
def test_legacy_math_levels(atr_pct: float, legs: list[float]) -> None:
    plan = plan_of("legacy", overrides={"exit.legacy.levels": "math"}, atr_pct=atr_pct)
    assert plan["sl"] == pytest.approx(1.5 * atr_pct)
    assert list(plan["tp"][: plan["n_legs"]]) == pytest.approx(legs)


@pytest.mark.parametrize("atr_pct", [0.0, NAN])
def test_legacy_math_levels_need_an_atr(atr_pct: float) -> None:
    plan = plan_of("legacy", overrides={"exit.legacy.levels": "math", "sizing.model": "notional"}, atr_pct=atr_pct)
    assert (plan["gate"], plan["rule"]) == (Gate.PLAN, Rule.NO_ATR)
