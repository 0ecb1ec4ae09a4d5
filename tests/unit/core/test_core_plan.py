"""From a signal to an approved or denied entry: order of the steps, safety with the bracket of the size, clips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qtsim.core.accounting import apply_funding_nb, reduce_position_nb
from qtsim.core.costs import funding_amount_nb, round_trip_ratio_nb, slippage_ratio_nb, slipped_price_nb
from qtsim.core.entry import plan_entry_nb
from qtsim.core.enums import CappedBy, Gate, PlanFlag, Rule
from qtsim.core.leverage import set_leverage_nb
from qtsim.core.records import Records, account_dt, crowd_dt, fill_row_dt, plan_dt, point_dt, position_dt
from qtsim.sim.fills import exchange_event_nb, fill_liquidation_nb
from qtsim.sim.market import new_governor, new_stats
from tests.generated import empty_signals, instrument, params_of, point_of

FREE: dict[str, Any] = {"costs.slippage.bps": 0.0, "costs.fees.taker": 0.0, "costs.fees.maker": 0.0}
FIXED: dict[str, Any] = {"leverage.model": "fixed", "limits.per_trade.leverage": 125.0}
CONTINUOUS = instrument(tick=(0.0, 0.0))
"""Prices without ticks: a stop stands exactly at its ratio."""


def plan_of(
    overrides: dict[str, Any],
    *,
    side: int = 1,
    price: float = 100.0,
    equity: float = 10_000.0,
    margin_used: float = 0.0,
    account: Records | None = None,
    rules: Records | None = None,
    **signal: float,
) -> Any:
    """The plan of one request on a given account."""
    rows = empty_signals(1)
    rows["atr_pct"] = 0.02
    for name, value in signal.items():
        rows[name] = value
    plan = np.zeros(1, plan_dt)
    account = np.zeros(1, account_dt) if account is None else account
    rules = instrument() if rules is None else rules
    state = (equity, margin_used, equity - margin_used)
    around = (0, np.zeros(1, crowd_dt)[0], new_governor()[0], new_stats(1)[0])
    params = params_of({"gates.enabled": False, **overrides})
    plan_entry_nb(plan[0], account[0], side, rows[0], point_of(price, rows)[0], *state, *around, rules[0], params[0])
    return plan[0]


def flags_of(plan: Any) -> set[PlanFlag]:
    """What acted on a plan."""
    return {flag for flag in PlanFlag if flag and int(plan["flags"]) & flag}


# Leverage ------------------------------------------------------------------------------------------------------------


def leverage_of(overrides: dict[str, Any], **inputs: float) -> Any:
    plan, account = np.zeros(1, plan_dt), np.zeros(1, account_dt)
    values = {"confidence": 1.0, "atr_ratio": 1.0, "avg_pnl": 0.0, "symbol_risk": 1.0}
    values |= {"margin_utilisation": 0.0, "divergence": 0.0, "funding_rate": 0.0, **inputs}
    set_leverage_nb(plan[0], account[0], *values.values(), params_of(overrides)[0])
    return plan[0]


MODELS: list[tuple[str, dict[str, Any], dict[str, float], float]] = [
    ("kelly_starts_at_three", {}, {}, 3.0),
    ("fixed", {"leverage.model": "fixed", "leverage.fixed": 7.0}, {}, 7.0),
    ("floored", {"leverage.model": "fixed", "leverage.fixed": 7.9}, {}, 7.0),
    ("a_rounding_error_below_is_not_floored", {"leverage.model": "fixed", "leverage.fixed": 7 - 1e-12}, {}, 7.0),
    ("capped_by_the_limit", {"leverage.model": "fixed", "leverage.fixed": 40.0}, {}, 10.0),
    ("simple_divides_by_volatility", {"leverage.model": "simple"}, {"confidence": 0.8, "atr_ratio": 2.0}, 2.0),
    ("simple_at_least_one", {"leverage.model": "simple"}, {"confidence": 0.2, "atr_ratio": 3.0}, 1.0),
    ("simple_volatility_is_clamped_at_three", {"leverage.model": "simple"}, {"atr_ratio": 30.0}, 1.0),
    ("ilf2_lifts_a_raw_three_to_five", {"leverage.model": "ilf2"}, {"confidence": 0.0, "atr_ratio": 0.8}, 5.0),
]


@pytest.mark.parametrize(("overrides", "inputs", "leverage"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_leverage(overrides: dict[str, Any], inputs: dict[str, float], leverage: float) -> None:
    plan = leverage_of(overrides, **inputs)
    assert plan["gate"] == Gate.NONE
    assert plan["leverage"] == leverage


def test_leverage_says_what_clamped_it() -> None:
    assert leverage_of({"leverage.model": "fixed", "leverage.fixed": 40.0})["flags"] == PlanFlag.LEVERAGE_CAPPED
    clamped = leverage_of({"leverage.model": "ilf2", "limits.per_trade.leverage": 125.0}, atr_ratio=0.5)
    assert (clamped["leverage"], clamped["flags"]) == (72.0, 0), "0.9 · 80 · 1.0"
    clamped = leverage_of({"leverage.model": "ilf2", "limits.per_trade.leverage": 125.0}, atr_ratio=0.0)
    assert (clamped["leverage"], clamped["flags"]) == (80.0, PlanFlag.LEVERAGE_CLAMPED), "0.9 · 80 · 1.5 = 108"


def test_ilf2_denies_a_raw_product_below_one() -> None:
    """0.9 · 5 · 0.2 · 0.3 = 0.27 is denied, not lifted to 5; exactly one is not below."""
    plan = leverage_of({"leverage.model": "ilf2"}, confidence=0.0, atr_ratio=3.0, margin_utilisation=1.0)
    assert (plan["gate"], plan["rule"]) == (Gate.LEVERAGE, Rule.LEVERAGE_BELOW_ONE)
    assert (plan["value"], plan["limit"]) == (pytest.approx(0.27), 1.0)


def test_ilf2_carries_its_factors() -> None:
    plan = leverage_of(
        {"leverage.model": "ilf2"},
        confidence=0.5,
        atr_ratio=1.2,
        avg_pnl=0.15,
        symbol_risk=0.5,
        margin_utilisation=0.25,
        divergence=0.2,
        funding_rate=0.002,
    )
    assert list(plan["leverage_factors"]) == pytest.approx([42.5, 0.3, 1.125, 2.0, 0.75, 0.8, 0.98])
    assert plan["raw_leverage"] == pytest.approx(0.9 * 42.5 * 0.3 * 1.125 * 2 * 0.75 * 0.8 * 0.98)


def kelly_account(returns: list[float]) -> Records:
    account = np.zeros(1, account_dt)
    account["closed_trades"] = len(returns)
    account["trade_ret"][0, : len(returns)] = returns
    return account


@pytest.mark.parametrize(
    ("returns", "leverage", "negative"),
    [
        ([], 3.0, False),
        ([-0.01] * 19, 3.0, False),
        ([0.01, -0.02] * 10, 1.0, True),
        ([0.01, -0.01] * 10, 1.0, True),
        ([0.0] * 20, 1.0, True),
        ([0.01] * 20, 7.0, False),
        ([0.01] * 15 + [0.0] * 5, 5.0, False),
        ([-0.05] * 50 + [0.02, -0.01] * 25, 1.0, False),
        ([0.03] * 10 + [-0.01] * 10, 2.0, False),
    ],
    ids=[
        "priors",
        "priors_until_twenty",
        "negative",
        "zero_edge",
        "only_breakeven",
        "no_loss",
        "breakeven_trades_count_in_w",
        "only_the_window_of_fifty",
        "reward_of_three",
    ],
)
def test_kelly(returns: list[float], leverage: float, negative: bool) -> None:
    """7.5 · (w - (1 - w) / r), floored; a negative edge is flagged and never denies."""
    plan = plan_of(FREE, account=kelly_account(returns))
    assert plan["gate"] == Gate.NONE
    assert plan["leverage"] == leverage
    assert bool(plan["flags"] & PlanFlag.KELLY_NEGATIVE) == negative


# Levels and safety ---------------------------------------------------------------------------------------------------


def test_the_confidence_stop_model() -> None:
    """base_sl · (1 - confidence / 4)."""
    plan = plan_of({**FREE, **FIXED, "exit.levels.sl.model": "confidence"}, confidence=0.8)
    assert plan["sl"] == pytest.approx(0.012 * 0.8)


def test_levels_without_adaption_ignore_every_modifier() -> None:
    inputs = {"volatility_factor": 2.0, "divergence": 0.5, "funding_delta": 0.1, "confidence": 0.3}
    plan = plan_of({**FREE, **FIXED, "exit.levels.adaptive": False}, **inputs)
    assert list(plan["tp"][:3]) == pytest.approx([0.02, 0.04, 0.06])
    assert plan["sl"] == 0.012


@pytest.mark.parametrize(("side", "delta"), [(1, 0.001), (-1, -0.001)])
def test_funding_delta_is_the_side_times_the_last_rate(side: int, delta: float) -> None:
    plain = plan_of({**FREE, **FIXED}, side=side)
    moved = plan_of({**FREE, **FIXED}, side=side, funding_rate=0.001)
    assert moved["tp"][0] == pytest.approx(plain["tp"][0] * (1 + 0.8 * delta))
    stated = plan_of({**FREE, **FIXED}, side=side, funding_rate=0.001, funding_delta=5.0)
    assert stated["tp"][0] == pytest.approx(plain["tp"][0] * (1 + 0.8 * 0.1)), "a column wins, clamped to 0.1"


@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize(("leverage", "rate"), [(51, 0.004), (15, 0.015), (10, 0.004), (30, 0.01)])
def test_stop_hard_stop_and_liquidation_stand_in_this_order(side: int, leverage: float, rate: float) -> None:
    """hard = min(2 %, 0.8 · d), sl ≤ 0.9 · hard; 0.8 / leverage would stand behind liquidation in the first two."""
    overrides = {**FREE, **FIXED, "leverage.fixed": float(leverage), "exit.base_sl": 0.02}
    overrides |= {"sizing.model": "notional", "sizing.notional": 500.0}
    plan = plan_of(overrides, side=side, rules=instrument(rate=rate))
    assert plan["gate"] == Gate.NONE
    d = (1 / leverage - rate) / (1 - side * rate)
    assert plan["liq_distance"] == pytest.approx(d)
    assert plan["hard"] == pytest.approx(min(0.02, 0.8 * d))
    assert plan["sl"] == pytest.approx(0.9 * plan["hard"])
    assert plan["sl"] < plan["hard"] < plan["liq_distance"]
    if (leverage, rate) in ((51, 0.004), (15, 0.015)):
        assert 0.8 / leverage > d, "the rule this one replaces"
    assert (PlanFlag.HARD_LIQUIDATION_SHARE in flags_of(plan)) == (0.8 * d < 0.02)


def test_the_bracket_of_the_size_tightens_and_never_loosens() -> None:
    """Second bracket: 1 % less 120. At 30,000 notional and 25x: d = (0.04 - 0.01 + 0.004) / 0.99, below the first's."""
    overrides = {**FREE, **FIXED, "leverage.fixed": 25.0, "exit.stops.hard.distance": 0.05}
    overrides |= {"sizing.model": "notional", "sizing.notional": 30_000.0, "limits.per_trade.margin": "inf"}
    plan = plan_of(overrides)
    d = (1 / 25 - 0.01 + 120 / 30_000) / 0.99
    assert plan["liq_distance"] == pytest.approx(d)
    assert plan["hard"] == pytest.approx(0.8 * d)
    assert plan["notional"] == 30_000.0, "the size stays"
    assert PlanFlag.BRACKET_TIGHTENED in flags_of(plan)


def test_max_margin_loss_tightens_the_stop() -> None:
    overrides = {**FREE, **FIXED, "leverage.fixed": 20.0, "exit.levels.sl_safety.max_margin_loss": 0.1}
    plan = plan_of(overrides)
    assert plan["sl"] == 0.005
    assert PlanFlag.SL_MARGIN_LOSS in flags_of(plan)


def test_a_final_stop_below_its_costs_is_denied() -> None:
    """1.5 round trips of 2 · (0.05 % + 2 bps) = 0.21 %; the distance of 0.2 % where costs are lower."""
    stop = {"exit.levels.adaptive": False, "exit.base_sl": 0.00209, **FIXED}
    plan = plan_of(stop, rules=CONTINUOUS)
    assert (plan["gate"], plan["rule"]) == (Gate.PLAN, Rule.STOP_TOO_NEAR)
    assert (plan["value"], plan["limit"]) == (0.00209, pytest.approx(0.0021))
    assert plan_of({**stop, "exit.base_sl": 0.00211}, rules=CONTINUOUS)["gate"] == Gate.NONE
    assert plan_of({**stop, **FREE}, rules=CONTINUOUS)["gate"] == Gate.NONE
    assert plan_of({**stop, **FREE, "exit.base_sl": 0.00199}, rules=CONTINUOUS)["limit"] == 0.002


@pytest.mark.parametrize(("distance", "denied"), [(0.00199, True), (0.002, True), (0.00201, False)])
def test_a_final_stop_at_the_limit_is_denied(distance: float, denied: bool) -> None:
    """A limit stated in words acts when it is reached."""
    overrides = {**FREE, **FIXED, "exit.levels.adaptive": False, "exit.base_sl": distance}
    plan = plan_of(overrides, rules=CONTINUOUS)
    assert (plan["rule"] == Rule.STOP_TOO_NEAR) == denied


@pytest.mark.parametrize("side", [1, -1])
def test_a_coarse_tick_that_leaves_nothing_of_the_stop_denies(side: int) -> None:
    """0.9 % of 990 is 8.91; on ticks of 5 the tighter stop is 5 away, on ticks of 10 it stands at the entry."""
    stop = {**FREE, **FIXED, "exit.levels.adaptive": False, "exit.base_sl": 0.009}
    near = plan_of(stop, side=side, price=990.0, rules=instrument(tick=(5.0, 1.0)))
    assert near["gate"] == Gate.NONE
    none = plan_of(stop, side=side, price=990.0, rules=instrument(tick=(10.0, 1.0)))
    assert (none["rule"], none["value"], none["limit"]) == (Rule.STOP_TOO_NEAR, 0.0, 0.002)


def test_no_room_before_liquidation_is_denied() -> None:
    plan = plan_of({**FREE, **FIXED, "leverage.fixed": 100.0}, rules=instrument(rate=0.01))
    assert (plan["gate"], plan["rule"]) == (Gate.PLAN, Rule.NO_LIQUIDATION_ROOM)


def test_a_bracket_has_no_safety_rule() -> None:
    overrides = {**FIXED, "leverage.fixed": 50.0, "exit.policy": "bracket", "exit.bracket.sl": 0.0001}
    plan = plan_of({**overrides, "exit.bracket.tp": 0.5})
    assert plan["gate"] == Gate.NONE
    assert (plan["sl"], plan["tp"][0], plan["hard"]) == (0.0001, 0.5, np.inf)


def test_a_signals_levels_are_flagged() -> None:
    plan = plan_of({**FREE, **FIXED}, tp=0.05, sl=0.01, trail=0.02, confidence=1.0)
    assert flags_of(plan) == {PlanFlag.SIGNAL_TP, PlanFlag.SIGNAL_SL, PlanFlag.SIGNAL_TRAIL}
    assert flags_of(plan_of({**FREE, **FIXED})) == {PlanFlag.DEFAULT_CONFIDENCE}


# Size ----------------------------------------------------------------------------------------------------------------


def test_math_sizing_before_its_margin_cap() -> None:
    """2 % of 10,000 over a stop of 1.5 · 4 % is 3,333.33; at 10x the margin of 333.33 is below the cap."""
    plan = plan_of({**FREE, **FIXED, "leverage.fixed": 10.0}, atr_pct=0.04)
    assert plan["notional"] == pytest.approx(3_333.3)
    assert plan["capped_by"] == CappedBy.NONE


def test_fixed_risk_counts_the_round_trip() -> None:
    """0.5 % of 10,000 over (1.2 % + 0.14 %)."""
    overrides: dict[str, Any] = {**FIXED, "leverage.fixed": 10.0, "exit.levels.adaptive": False}
    plan = plan_of({**overrides, "sizing.model": "fixed_risk"}, price=10.0, rules=instrument(lot=(1, 100_000_000)))
    assert plan["notional"] == pytest.approx(50 / (0.012 + 0.0014), rel=1e-6)


def test_notional_is_capped_by_the_market_order_maximum() -> None:
    rules = instrument()
    rules["max_qty"] = 2.0
    plan = plan_of({**FREE, **FIXED, "sizing.model": "notional", "sizing.notional": 500.0}, rules=rules)
    assert (plan["lots"], plan["capped_by"]) == (2_000, CappedBy.MARKET_MAX)


def test_lots_are_floored() -> None:
    plan = plan_of({**FREE, **FIXED, "sizing.model": "fixed_qty", "sizing.fixed_qty": 0.0129999}, price=5_000.0)
    assert plan["lots"] == 12
    exact = {**FREE, **FIXED, "sizing.model": "fixed_qty", "sizing.fixed_qty": 0.29}
    assert plan_of(exact, rules=instrument(lot=(1, 100), min_qty=0.01))["lots"] == 29, (
        "0.29 · 100 is 28.999999999999996"
    )


@pytest.mark.parametrize(
    ("overrides", "state", "rule"),
    [
        ({"sizing.notional": 400.0}, {"rules": instrument(min_qty=5.0)}, Rule.MIN_QTY),
        ({"leverage.fixed": 60.0, "sizing.notional": 25_000.0}, {}, Rule.BRACKET_LEVERAGE),
        ({"sizing.notional": 400.0}, {"margin_used": 9_900.0}, Rule.INSUFFICIENT_MARGIN),
    ],
    ids=["min_qty", "bracket_leverage", "insufficient_margin"],
)
def test_what_the_exchange_would_refuse(overrides: dict[str, Any], state: dict[str, Any], rule: Rule) -> None:
    base = {**FREE, **FIXED, "leverage.fixed": 3.0, "sizing.model": "notional", "limits.per_trade.margin": "inf"}
    plan = plan_of({**base, **overrides}, **state)
    assert (plan["gate"], plan["rule"]) == (Gate.EXCHANGE, rule)


def test_a_margin_and_fee_that_just_fit_are_affordable() -> None:
    whole = {**FIXED, "leverage.fixed": 1.0, "sizing.model": "fixed_qty", "limits.per_trade.margin": "inf"}
    whole |= {"exit.policy": "bracket", "costs.slippage.bps": 0.0, "costs.fees.taker": 0.0005, "sizing.fixed_qty": 1.0}
    assert plan_of(whole, equity=100.05)["gate"] == Gate.NONE
    assert plan_of(whole, equity=100.04)["rule"] == Rule.INSUFFICIENT_MARGIN


# Costs, funding, liquidation -----------------------------------------------------------------------------------------


def seen(factor: float = 0.0, *, thinness: float = np.nan, half_spread: float = np.nan) -> Any:
    """What is known of a market."""
    row = np.zeros(1, point_dt)
    row["volatility_factor"], row["thinness"], row["half_spread"] = factor, thinness, half_spread
    return row[0]


@pytest.mark.parametrize(
    ("model", "notional", "market", "bps"),
    [
        ("fixed", 1e9, seen(5.0), 2.0),
        ("size", 10_000.0, seen(0.0), 2.0),
        ("size", 10_000.01, seen(0.0), 5.0),
        ("size", 100.0, seen(0.999), 2.0),
        ("size", 100.0, seen(1.0), 4.0),
        ("size", 20_000.0, seen(2.0), 7.0),
        ("spread", 20_000.0, seen(half_spread=0.00015), 1.5),
        # ATR 2 %, a bar worth 1 M: 10,000 is a hundredth of it, so a tenth of 2 % on top
        ("impact", 10_000.0, seen(thinness=0.02 / 1_000.0), 2.0 + 20.0),
        ("impact", 2_500.0, seen(thinness=0.02 / 1_000.0), 2.0 + 10.0),
        ("impact", 2_500.0, seen(), 2.0),
        ("impact", 1e12, seen(thinness=0.02 / 1_000.0), 5_000.0),
    ],
)
def test_slippage(model: str, notional: float, market: Any, bps: float) -> None:
    costs = params_of({"costs.slippage.model": model})["costs"][0]
    assert slippage_ratio_nb(notional, market, costs) == pytest.approx(bps * 1e-4)
    assert round_trip_ratio_nb(notional, market, costs) == pytest.approx(2 * 0.0005 + 2 * bps * 1e-4)


def test_a_buy_pays_more_and_a_sell_gets_less() -> None:
    assert slipped_price_nb(100.0, 1.0, 0.001) == pytest.approx(100.1)
    assert slipped_price_nb(100.0, -1.0, 0.001) == pytest.approx(99.9)


def test_funding_is_paid_by_longs_where_the_rate_is_positive() -> None:
    assert funding_amount_nb(1.0, 2.0, 100.0, 0.001) == -0.2
    assert funding_amount_nb(-1.0, 2.0, 100.0, 0.001) == 0.2
    assert funding_amount_nb(1.0, 2.0, 100.0, -0.001) == 0.2


def open_position(side: int, *, margin: float = 10.0, stop: float = np.nan, hard: float = np.nan) -> Records:
    position = np.zeros(1, position_dt)
    position["side"], position["lots"], position["init_lots"] = side, 1000, 1000
    position["qty"], position["entry_price"], position["margin"] = 1.0, 100.0, margin
    position["stop_price"], position["hard_price"] = stop, hard
    position["liq_price"] = (margin - side * 100) / (0.004 - side)
    return position


@pytest.mark.parametrize(
    ("mark", "price", "fee"),
    [(95.0, 95.0, 0.0125 * 95.0), (90.5, 90.5, 0.5), (90.0, 90.0, 0.0), (50.0, 90.0, 0.0)],
    ids=["fee_fits", "fee_takes_the_rest", "margin_is_gone", "jump_past_the_margin"],
)
def test_a_liquidation_loses_the_margin_at_most(mark: float, price: float, fee: float) -> None:
    """Settled at mark; the smaller of margin and loss with fee. Mirrored for a short."""
    for side in (1, -1):
        point = np.zeros(1, point_dt)
        point["mark"] = mark if side > 0 else 200 - mark
        fill = np.zeros(1, fill_row_dt)
        fill_liquidation_nb(fill[0], open_position(side)[0], point[0], 0, 0, instrument()[0])
        expected = price if side > 0 else 200 - price
        assert fill["price"][0] == pytest.approx(expected)
        fits = 0.0125 * expected if fee == 0.0125 * price else fee
        assert fill["liq_fee"][0] == pytest.approx(min(fits, 10 - (100 - price)))


def test_the_exchange_acts_on_touch_liquidation_first() -> None:
    params = params_of({})
    on_last = params_of({"exit.stops.hard.working_type": "last"})

    def event(position: Records, price: float, mark: float, settings: Records = params) -> str:
        point = np.zeros(1, point_dt)
        point["price"], point["mark"] = price, mark
        code = exchange_event_nb(position[0], point[0], settings[0])
        return {0: "nothing", 1: "liquidation", 2: "hard_stop"}[int(code)]

    position = open_position(1, hard=98.0)
    assert event(position, 100.0, 98.01) == "nothing"
    assert event(position, 100.0, 98.0) == "hard_stop"
    assert event(position, 97.0, 98.01) == "nothing", "the mark decides"
    assert event(position, 97.0, 98.01, on_last) == "hard_stop"
    assert event(position, 100.0, float(position["liq_price"][0])) == "liquidation"
    assert event(position, 80.0, 99.0, on_last) == "hard_stop", "the last price never liquidates"
    assert event(position, 100.0, math.nan) == "nothing"
    assert event(open_position(-1, hard=102.0), 100.0, 102.0) == "hard_stop"
    assert event(open_position(-1, hard=102.0), 100.0, 111.0) == "liquidation"


def test_a_partial_close_releases_margin_and_keeps_the_liquidation_price() -> None:
    account, position, fill = np.zeros(1, account_dt), open_position(1), np.zeros(1, fill_row_dt)
    before = float(position["liq_price"][0])
    fill["lots"], fill["qty"], fill["price"], fill["fee"] = 250, 0.25, 104.0, 0.02
    reduce_position_nb(account[0], position[0], fill[0], instrument()[0], params_of({})[0])
    assert (position["lots"][0], position["qty"][0], position["margin"][0]) == (750, 0.75, 7.5)
    assert position["liq_price"][0] == pytest.approx(before)
    assert account["wallet"][0] == pytest.approx(0.25 * 4 - 0.02)
    assert fill["pnl"][0] == 1.0


def test_funding_moves_wallet_margin_and_liquidation_price_alike() -> None:
    account, position = np.zeros(1, account_dt), open_position(1)
    apply_funding_nb(account[0], position[0], -2.0, instrument()[0])
    assert (account["wallet"][0], position["margin"][0], position["funding"][0]) == (-2.0, 8.0, -2.0)
    assert position["liq_price"][0] == pytest.approx((8 - 100) / (0.004 - 1))
