"""The reference table and the worked numbers of the level engine, leverage models, safety, sizing, costs, margin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import qtsim as qt
from qtsim.core.costs import estimate_cost_nb
from qtsim.core.entry import plan_entry_nb
from qtsim.core.enums import CappedBy, Gate, PlanFlag, Regime, Rule
from qtsim.core.floats import ceil_to_step_nb, floor_steps_nb, floor_to_step_nb, round_to_step_nb
from qtsim.core.levels import lsf_nb, set_levels_nb
from qtsim.core.leverage import ilf2_leverage_nb, kelly_leverage_nb, mean_of_last_nb, simple_leverage_nb
from qtsim.core.margin import liquidation_distance_nb, liquidation_price_nb
from qtsim.core.records import Records, account_dt, crowd_dt, plan_dt, point_dt
from qtsim.errors import UsageError
from qtsim.sim.market import new_governor, new_stats
from tests.generated import empty_signals, instrument, params_of, point_of

TABLE = [
    (1, 0.590616, 1.190616, 1.495308, 1.947654, 1.327507, (0.3, 0.3, 0.4)),
    (3, 0.419060, 1.019060, 1.409530, 1.904765, 1.464752, (0.3, 0.3, 0.4)),
    (5, 0.358197, 0.958197, 1.379099, 1.889549, 1.513442, (0.3, 0.3, 0.4)),
    (10, 0.294300, 0.894300, 1.347150, 1.873575, 1.564560, (0.3, 0.3, 0.4)),
    (15, 0.265070, 0.865070, 1.332535, 1.866267, 1.587944, (0.4, 0.4, 0.2)),
    (20, 0.247248, 0.847248, 1.323624, 1.861812, 1.602202, (0.4, 0.4, 0.2)),
    (30, 0.225531, 0.825531, 1.312765, 1.856383, 1.619575, (0.4, 0.4, 0.2)),
    (50, 0.202765, 0.802765, 1.301382, 1.850691, 1.637788, (0.5, 0.3, 0.2)),
    (100, 0.178091, 0.778091, 1.289045, 1.844523, 1.657528, (0.5, 0.3, 0.2)),
]
NO_SAFETY: dict[str, Any] = {
    "exit.levels.sl_safety.max_liquidation_share": 1.0,
    "exit.levels.sl_safety.max_hard_share": 1.0,
    "exit.stops.hard.distance": 0.3,
    "exit.levels.sl.min": 0.0001,
}


@pytest.mark.parametrize("row", TABLE, ids=[f"{row[0]}x" for row in TABLE])
def test_reference_table(row: tuple[Any, ...]) -> None:
    leverage, lsf, tp1, tp2, tp3, sl, harvest = row
    base_tp, base_sl = 0.01, 0.001
    found = qt.levels(leverage, base_tp, base_sl, maintenance_rate=0.0, settings=NO_SAFETY)
    assert round(found.lsf, 6) == lsf
    assert [round(x / base_tp, 6) for x in (found.tp1, found.tp2, found.tp3)] == [tp1, tp2, tp3]
    assert round(found.sl / base_sl, 6) == sl
    assert found.harvest == harvest


def test_worked_numbers_at_twenty_times() -> None:
    found = qt.levels(20, 0.01, 0.005, volatility_factor=0.3, funding_delta=0.0001, divergence=0.05)
    assert [round(100 * x, 6) for x in (found.tp1, found.tp2, found.tp3)] == [0.948994, 1.482577, 2.085396]
    assert round(100 * found.sl, 6) == 0.865189


def test_the_formula_stands_where_an_example_contradicts_it() -> None:
    assert round(lsf_nb(5.0, 1.0), 4) == 0.3582


@pytest.mark.parametrize(("leverage", "rate"), [(51, 0.004), (15, 0.015), (100, 0.004), (40, 0.015)])
def test_stop_hard_stop_and_liquidation_stand_in_order(leverage: float, rate: float) -> None:
    found = qt.levels(leverage, maintenance_rate=rate)
    assert found.sl <= 0.9 * found.hard_stop + 1e-12
    assert found.hard_stop <= 0.8 * found.liquidation_distance + 1e-12


def test_a_stop_behind_its_costs_is_denied() -> None:
    assert qt.levels(10, maintenance_rate=0.004).denied == ""
    assert "nearer than costs" in qt.levels(125, maintenance_rate=0.0055).denied
    assert "liquidation" in qt.levels(125, maintenance_rate=0.02).denied


def test_feedback_and_clamps() -> None:
    plain = qt.levels(3, 0.02, 0.004)
    assert qt.levels(3, 0.02, 0.004, avg_pnl_20=-0.01).tp1 == pytest.approx(0.9 * plain.tp1)
    assert qt.levels(3, 0.02, 0.004, avg_pnl_20=0.31).tp1 == pytest.approx(1.1 * plain.tp1)
    assert qt.levels(3, 0.02, 0.004, avg_pnl_20=0.30).tp1 == pytest.approx(plain.tp1), "strictly above"
    assert qt.levels(3, 0.02, 0.004, avg_pnl_20=-1, confidence=0.49).tp1 == pytest.approx(0.85 * plain.tp1)
    assert "TP_MIN" in qt.levels(3, 0.002, 0.004).flags
    assert qt.levels(3, 0.002, 0.004).tp1 == 0.003
    assert "SL_MAX" in qt.levels(3, 0.02, 0.05, settings={"exit.stops.hard.distance": 0.2}).flags


@pytest.mark.parametrize(
    ("regime", "reward", "stop"),
    [(Regime.TRENDING, 2.5, 1.0), (Regime.RANGING, 1.5, 1.25)],
    ids=["trending", "ranging"],
)
@pytest.mark.parametrize("avg_pnl", [0.0, -0.1, 0.4], ids=["no_feedback", "after_losses", "after_gains"])
def test_levels_by_regime_are_scaled_by_feedback_once(
    regime: Regime, reward: float, stop: float, avg_pnl: float
) -> None:
    """base_tp is a multiple of the stop: feedback moves both alike, and their ratio stays."""
    levels = params_of({"exit.levels.sl.max": 0.2})["levels"][0]
    plan = np.zeros(1, plan_dt)
    plan["leverage"], plan["confidence"], plan["regime"] = 3.0, 1.0, regime
    set_levels_nb(plan[0], 0.02, 0.01, 0.0, 0.0, 0.0, avg_pnl, True, levels)
    adjust = {0.0: 1.0, -0.1: 0.9, 0.4: 1.1}[avg_pnl]
    assert plan["sl"][0] == pytest.approx(0.01 * stop * 1.464752 * adjust, rel=1e-6)
    assert plan["tp"][0, 0] / plan["sl"][0] == pytest.approx(reward * 1.019060, rel=1e-6)


def test_levels_refuses_nonsense() -> None:
    with pytest.raises(UsageError, match=r"leverage 0\.5"):
        qt.levels(0.5)
    with pytest.raises(UsageError, match="side"):
        qt.levels(3, side="up")


# Leverage ------------------------------------------------------------------------------------------------------------

LEV = params_of({})["leverage"][0]


def ilf2(**inputs: float) -> float:
    plan = np.zeros(1, plan_dt)
    values = {
        "confidence": 1.0,
        "volatility": 0.0,
        "pnl_trend": 0.0,
        "symbol_risk": 1.0,
        "margin_utilisation": 0.0,
        "divergence": 0.0,
        "funding_rate": 0.0,
        **inputs,
    }
    return float(ilf2_leverage_nb(plan[0], *values.values(), LEV))


def test_ilf2_factors() -> None:
    assert ilf2() == pytest.approx(0.9 * 80 * 1.5)
    assert ilf2(confidence=0.0) == pytest.approx(0.9 * 5 * 1.5)
    assert ilf2(volatility=3.0) == pytest.approx(0.9 * 80 * 0.2)
    assert ilf2(pnl_trend=-5.0) == pytest.approx(ilf2() * 0.75), "clamped to -1"
    assert ilf2(symbol_risk=9.0) == pytest.approx(ilf2() / 1.5)
    assert ilf2(margin_utilisation=0.9) == pytest.approx(ilf2() * 0.3)
    assert ilf2(divergence=1.0) == pytest.approx(ilf2() * 0.5)
    assert ilf2(funding_rate=-0.01) == pytest.approx(ilf2() * 0.9)


def test_simple_leverage() -> None:
    assert simple_leverage_nb(0.8, 1.0, LEV) == 4.0
    assert simple_leverage_nb(1.0, 0.01, LEV) == 20.0
    assert simple_leverage_nb(1.0, 0.0, LEV) == 20.0, "no movement is the maximum, not a division by zero"


def account_with(returns: list[float]) -> Records:
    account = np.zeros(1, account_dt)
    account["closed_trades"] = len(returns)
    account["trade_ret"][0, : len(returns)] = returns
    account["trade_roe"][0, : len(returns)] = returns
    return account


def kelly(returns: list[float]) -> tuple[float, int]:
    plan = np.zeros(1, plan_dt)
    leverage = float(kelly_leverage_nb(account_with(returns)[0], LEV, plan[0]))
    return leverage, int(plan["flags"][0])


def test_kelly() -> None:
    assert kelly([])[0] == pytest.approx(3.0), "0.6 - 0.4 / 2 = 0.4; 7.5 × 0.4"
    assert kelly([-0.01] * 19)[0] == pytest.approx(3.0), "priors until 20 trades"
    assert kelly([-0.01] * 20) == (1.0, int(PlanFlag.KELLY_NEGATIVE))
    assert kelly([0.01] * 20)[0] == pytest.approx(7.5), "no loss: f* = w"
    w, r = 0.5, 2.0
    assert kelly([0.02, -0.01] * 10)[0] == pytest.approx(7.5 * (w - (1 - w) / r))


def test_mean_of_last_trades() -> None:
    account = account_with([1.0, 2.0, 3.0, 4.0])
    assert mean_of_last_nb(account[0], True, 2) == 3.5
    assert mean_of_last_nb(account[0], True, 20) == 2.5
    assert mean_of_last_nb(account_with([])[0], True, 20) == 0.0


# Sizing --------------------------------------------------------------------------------------------------------------


EQUITY = 10_000.0


def plan_of(
    overrides: dict[str, Any], *, equity: float = 10_000.0, atr_pct: float = 0.02, side: int = 1, **signal: float
) -> Any:
    rows = empty_signals(1)
    rows["atr_pct"], rows["atr"] = atr_pct, atr_pct * 100
    for name, value in signal.items():
        rows[name] = value
    plan = np.zeros(1, plan_dt)
    free = {"gates.enabled": False, "costs.slippage.bps": 0.0, "costs.fees.taker": 0.0, "costs.fees.maker": 0.0}
    params = params_of({**free, **overrides})
    account = np.zeros(1, account_dt)
    around = (0, np.zeros(1, crowd_dt)[0], new_governor()[0], new_stats(1)[0])
    plan_entry_nb(
        plan[0],
        account[0],
        1,
        rows[0],
        point_of(100.0, rows)[0],
        EQUITY,
        0.0,
        EQUITY,
        *around,
        instrument()[0],
        params[0],
    )
    return plan[0]


def test_math_sizing_worked_example() -> None:
    plan = plan_of({"leverage.model": "fixed", "leverage.fixed": 3.0})
    assert (plan["margin"], plan["notional"]) == (1_000.0, 3_000.0)
    assert plan["capped_by"] == CappedBy.SIZING_MARGIN
    assert (plan["expected_profit"], plan["expected_loss"]) == (pytest.approx(180.0), pytest.approx(90.0))


@pytest.mark.parametrize(
    ("overrides", "notional"),
    [
        ({"sizing.model": "notional", "sizing.notional": 200.0}, 100.0),
        ({"sizing.model": "fraction", "sizing.fraction": 0.1}, 3_000.0),
        ({"sizing.model": "fixed_qty", "sizing.fixed_qty": 7.0}, 700.0),
        ({"sizing.model": "fraction", "sizing.fraction": 0.9}, 4_500.0),
        ({"sizing.model": "fixed_qty", "sizing.fixed_qty": 7.0, "limits.per_trade.notional": 350.0}, 350.0),
    ],
    ids=["notional", "fraction", "fixed_qty", "limit_margin", "limit_notional"],
)
def test_sizing_models(overrides: dict[str, Any], notional: float) -> None:
    plan = plan_of({"leverage.model": "fixed", "leverage.fixed": 3.0, **overrides}, confidence=0.5)
    assert plan["gate"] == Gate.NONE
    assert plan["notional"] == pytest.approx(notional)


def test_fixed_risk_loses_its_share_at_the_final_stop() -> None:
    plan = plan_of({"leverage.model": "fixed", "leverage.fixed": 3.0, "sizing.model": "fixed_risk"})
    assert plan["notional"] * plan["sl"] == pytest.approx(0.005 * 10_000, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "signal", "rule"),
    [
        ({}, {"atr_pct": float("nan")}, Rule.NO_ATR),
        ({"sizing.model": "notional", "sizing.notional": 0.05}, {}, Rule.ZERO_LOTS),
        ({"sizing.model": "notional", "sizing.notional": 4.0}, {}, Rule.MIN_NOTIONAL),
        ({"exit.policy": "bracket"}, {"trail": 0.01}, Rule.BRACKET_TRAIL),
        ({"leverage.model": "ilf2"}, {"confidence": 0.0, "atr_ratio": 3.0, "divergence": 1.0}, Rule.LEVERAGE_BELOW_ONE),
        ({"exit.policy": "bracket", "exit.bracket.sl": "inf", "sizing.model": "fixed_risk"}, {}, Rule.NO_STOP),
    ],
    ids=["no_atr", "zero_lots", "min_notional", "bracket_trail", "ilf2_below_one", "no_stop"],
)
def test_denials_name_their_rule(overrides: dict[str, Any], signal: dict[str, float], rule: Rule) -> None:
    plan = plan_of(overrides, **signal)
    assert plan["gate"] != Gate.NONE
    assert plan["rule"] == rule


# Costs, floats, margin -----------------------------------------------------------------------------------------------


def test_cost_estimate_worked_example() -> None:
    costs = params_of({})["costs"][0]
    assert estimate_cost_nb(3_000.0, 12.0, 0.0001, np.zeros(1, point_dt)[0], costs) == pytest.approx(3.00 + 1.20 + 0.45)


def test_steps() -> None:
    assert floor_steps_nb(30000.1, 1.0, 10.0) == 300001
    assert floor_to_step_nb(0.29, 1.0, 100.0) == 0.29
    assert floor_to_step_nb(0.299, 1.0, 100.0) == 0.29
    assert ceil_to_step_nb(0.291, 1.0, 100.0) == 0.30
    assert round_to_step_nb(101694.496, 1.0, 100.0) == 101694.50
    assert floor_to_step_nb(1.2345, 1.0, 0.0) == 1.2345, "continuous"
    for round_nb in (floor_to_step_nb, ceil_to_step_nb, round_to_step_nb):
        assert math.isnan(round_nb(float("nan"), 1.0, 10.0)), "no price stays no price"


def test_liquidation_price_of_the_exchanges_own_example() -> None:
    assert round(qt.liquidation_price("long", 0.01, 60_000, 60, 0.004), 2) == 54_216.87
    assert qt.liquidation_price("long", 1, 100, 100, 0.004) == 0.0, "at 1x a long cannot be liquidated"


def test_liquidation_takes_the_bracket_of_the_notional_there() -> None:
    rules = instrument()  # brackets: 0.4 % to 20,000, then 1 % less 120
    small = liquidation_price_nb(1.0, 100.0, 100.0, 1_000.0, rules[0])
    assert small == pytest.approx((1_000 - 10_000) / (0.4 - 100))
    large = liquidation_price_nb(1.0, 1_000.0, 100.0, 10_000.0, rules[0])
    assert large == pytest.approx((10_000 + 120 - 100_000) / (10 - 1_000))


def test_liquidation_distance_agrees_with_the_price() -> None:
    d = liquidation_distance_nb(1.0, 10.0, 0.004, 0.0, 0.0)
    assert 60_000 * (1 - d) == pytest.approx(54_216.87, abs=0.01)
