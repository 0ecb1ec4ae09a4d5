"""Harvest legs in lots, the ratchet's presets, and prices on ticks, from a plan made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.accounting import hit_leg_nb
from qtsim.core.enums import HarvestBasis, PlanFlag, Reason
from qtsim.core.guards import set_guard_prices_nb
from qtsim.core.harvest import set_fractions_nb, set_leg_lots_nb, share_out_rest_nb
from qtsim.core.records import plan_dt, position_dt
from qtsim.core.sizing import min_lots_nb
from qtsim.core.stops import set_engine_prices_nb, set_stop_prices_nb, set_target_prices_nb
from tests.generated import instrument, params_of

STATIC = (0.25, 0.25, 0.5)


def plan_of(**fields: Any) -> Any:
    plan = np.zeros(1, plan_dt)
    plan["n_legs"] = 3
    plan["leverage"] = 1.0
    plan["hard"] = np.inf
    plan["sl"] = np.inf
    for name, value in fields.items():
        if name in ("tp", "fractions"):
            plan[name][0, :3] = value
        else:
            plan[name] = value
    return plan


@pytest.mark.parametrize(
    ("leverage", "fractions"),
    [
        (1, (0.3, 0.3, 0.4)),
        (10, (0.3, 0.3, 0.4)),
        (11, (0.4, 0.4, 0.2)),
        (30, (0.4, 0.4, 0.2)),
        (31, (0.5, 0.3, 0.2)),
        (125, (0.5, 0.3, 0.2)),
    ],
)
def test_fractions_by_leverage(leverage: float, fractions: tuple[float, ...]) -> None:
    plan = plan_of(leverage=leverage)
    set_fractions_nb(plan[0], params_of({})["harvest"][0])
    assert tuple(plan["fractions"][0, :3]) == fractions
    set_fractions_nb(plan[0], params_of({"exit.harvest.scheme.by": "static"})["harvest"][0])
    assert tuple(plan["fractions"][0, :3]) == STATIC


# (id, lots, fractions, basis, smallest order in lots, lots closed after each leg)
LOTS: list[tuple[str, int, tuple[float, ...], str, int, list[int]]] = [
    ("remaining_leaves_a_runner", 1000, STATIC, "remaining", 1, [250, 437, 718]),
    ("initial_closes_the_rest", 1000, STATIC, "initial", 1, [250, 500, 1000]),
    ("worked_example_of_0.1", 100, (0.4, 0.4, 0.2), "remaining", 1, [40, 64, 71]),
    ("a_tenth_in_exact_lots", 10, (0.3, 0.3, 0.4), "remaining", 1, [3, 5, 7]),
    ("one_lot_goes_with_the_last", 1, STATIC, "remaining", 1, [0, 0, 1]),
    ("two_lots", 2, STATIC, "remaining", 1, [0, 0, 1]),
    ("three_lots", 3, STATIC, "remaining", 1, [0, 1, 2]),
    ("four_lots_in_exact_quarters", 4, STATIC, "remaining", 1, [1, 1, 2]),
    ("initial_three_lots", 3, STATIC, "initial", 1, [0, 1, 3]),
    ("a_remainder_below_the_minimum_goes_too", 4, STATIC, "remaining", 4, [4, 4, 4]),
    ("a_leg_below_the_minimum_waits_for_the_next", 8, STATIC, "remaining", 6, [0, 8, 8]),
    ("a_leg_below_the_minimum_comes_with_the_next", 100, STATIC, "remaining", 30, [0, 43, 100]),
    ("a_remainder_at_the_minimum_stays", 12, (0.5, 0.0, 0.0), "remaining", 6, [6, 6, 6]),
    ("fractions_whose_product_is_not_exact", 1000, (0.3, 0.3, 0.4), "remaining", 1, [300, 510, 706]),
    ("initial_fractions_whose_sum_is_not_exact", 10, (0.1, 0.2, 0.7), "initial", 1, [1, 3, 10]),
]


@pytest.mark.parametrize(
    ("lots", "fractions", "basis", "smallest", "closed"), [case[1:] for case in LOTS], ids=[case[0] for case in LOTS]
)
def test_lots_closed_after_each_leg(
    lots: int, fractions: tuple[float, ...], basis: str, smallest: int, closed: list[int]
) -> None:
    position = np.zeros(1, position_dt)
    position["lots"] = position["init_lots"] = lots
    position["n_legs"], position["fractions"][0, :3] = 3, fractions
    code = int(params_of({"exit.harvest.basis": basis})["harvest"]["basis"][0])
    set_leg_lots_nb(position[0], 0, code, smallest)
    assert list(position["tp_lots"][0, :3]) == closed


# (id, lots, legs hit, lots open after a half, smallest order, what the other legs have closed in all)
HALVED: list[tuple[str, int, int, int, int, list[int]]] = [
    ("before_the_first_leg", 1000, 0, 500, 1, [625, 718, 859]),  # 125, 93.75, 140.6 of 500, 375, 281.25
    ("after_a_leg", 1000, 1, 375, 1, [718, 859]),  # of 375
    ("a_leg_of_zero_lots_comes_with_the_next", 3, 1, 2, 1, [1, 2]),  # 0.875 of two lots, then 1.4375
    ("what_would_stay_below_the_minimum_goes_too", 1000, 0, 500, 300, [500, 1000, 1000]),
]


@pytest.mark.parametrize(
    ("lots", "hit", "left", "smallest", "closed"), [case[1:] for case in HALVED], ids=[case[0] for case in HALVED]
)
def test_legs_of_what_remains_after_a_half(lots: int, hit: int, left: int, smallest: int, closed: list[int]) -> None:
    position = np.zeros(1, position_dt)
    position["lots"] = position["init_lots"] = lots
    position["n_legs"], position["fractions"][0, :3] = 3, STATIC
    set_leg_lots_nb(position[0], 0, HarvestBasis.REMAINING.value, smallest)
    position["lots"], position["next_leg"] = left, hit
    share_out_rest_nb(position[0], smallest)
    assert list(position["tp_lots"][0, hit:3]) == closed


@pytest.mark.parametrize(
    ("lot", "min_qty", "lots"), [((1, 1000), 0.001, 1), ((1, 1000), 0.003, 3), ((1, 1), 4, 4), ((1, 10), 0.25, 3)]
)
def test_smallest_order_in_lots(lot: tuple[float, float], min_qty: float, lots: int) -> None:
    assert min_lots_nb(instrument(lot=lot, min_qty=min_qty)[0]) == lots


# The ratchet ---------------------------------------------------------------------------------------------------------


def position_with_legs(
    side: int = 1, entry: float = 100.0, tick: tuple[float, float] = (1, 100), **overrides: Any
) -> Any:
    """A filled entry with targets of 2, 4, 6 % and a stop of 1.2 %."""
    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    params = params_of(settings)
    rules = instrument(tick=tick)
    position = np.zeros(1, position_dt)
    position["side"], position["entry_price"], position["leverage"] = side, entry, 10.0
    position["lots"] = 1000
    plan = plan_of(side=side, tp=(0.02, 0.04, 0.06), sl=0.012, hard=0.02, slippage=0.0002)
    set_stop_prices_nb(position[0], plan[0], rules[0], params[0])
    set_target_prices_nb(position[0], plan[0], rules[0])
    set_engine_prices_nb(position[0], plan[0], params[0])
    set_guard_prices_nb(position[0], params[0])
    return position, rules, params


PRESETS: list[tuple[str, dict[str, Any], list[float]]] = [
    ("breakeven", {"exit__stops__ratchet__fee_buffer": False}, [100.0, 102.0, 104.0]),
    ("breakeven_with_fee_buffer", {}, [100.12, 102.0, 104.0]),
    ("lock", {"exit__stops__ratchet__preset": "lock"}, [100.5, 101.5, 104.0]),
    ("off", {"exit__stops__ratchet__preset": "off"}, [98.8, 98.8, 98.8]),
]


@pytest.mark.parametrize(("overrides", "stops"), [case[1:] for case in PRESETS], ids=[case[0] for case in PRESETS])
@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
def test_ratchet_presets(side: int, overrides: dict[str, Any], stops: list[float]) -> None:
    position, rules, params = position_with_legs(side, **overrides)
    for leg, stop in enumerate(stops, start=1):
        hit_leg_nb(position[0], rules[0], params[0])
        assert position["stop_price"][0] == pytest.approx(stop if side > 0 else 200 - stop)
        assert position["legs_hit"][0] == position["next_leg"][0] == leg
    moved = "off" not in overrides.values()
    assert position["stop_reason"][0] == (Reason.RATCHET if moved else Reason.STOP)


def test_the_ratchet_never_loosens() -> None:
    position, rules, params = position_with_legs()
    position["stop_price"], position["stop_reason"] = 103.0, Reason.TRAIL
    hit_leg_nb(position[0], rules[0], params[0])
    hit_leg_nb(position[0], rules[0], params[0])
    assert (position["stop_price"][0], position["stop_reason"][0]) == (103.0, Reason.TRAIL)
    assert position["stop_moved"][0] == 0
    hit_leg_nb(position[0], rules[0], params[0])
    assert (position["stop_price"][0], position["stop_reason"][0]) == (104.0, Reason.RATCHET)
    assert position["stop_moved"][0] == 1


# Prices on ticks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "entry", "stop", "hard", "targets"),
    [
        (1, 100.03, 98.9, 98.1, [102.0, 104.0, 106.0]),  # 98.82964, 98.0294; 102.0306, 104.0312, 106.0318
        (-1, 100.03, 101.2, 102.0, [98.0, 96.0, 94.0]),  # 101.23036, 102.0306; 98.0294, 96.0288, 94.0282
        (1, 99.96, 98.8, 98.0, [102.0, 104.0, 106.0]),  # 98.76048, 97.9608; 101.9592, 103.9584, 105.9576
    ],
)
def test_stops_round_tighter_and_targets_nearer(
    side: int, entry: float, stop: float, hard: float, targets: list[float]
) -> None:
    position, _, _ = position_with_legs(side, entry, tick=(1, 10))
    assert position["stop_price"][0] == position["init_stop_price"][0] == stop
    assert position["hard_price"][0] == hard
    assert list(position["tp_price"][0, :3]) == targets


def test_continuous_prices_are_not_rounded() -> None:
    position, _, _ = position_with_legs(entry=100.03, tick=(1, 0))
    assert position["stop_price"][0] == 100.03 * (1 - 0.012)
    assert list(position["tp_price"][0, :3]) == [100.03 * 1.02, 100.03 * 1.04, 100.03 * 1.06]


@pytest.mark.parametrize(("basis", "price"), [("notional", 87.5), ("margin", 98.75)])
def test_the_loss_guards_price(basis: str, price: float) -> None:
    """12.5 % of the entry's notional, or of the margin at 10x."""
    position, _, _ = position_with_legs(exit__guard__loss__basis=basis)
    assert position["loss_price"][0] == price
    position, _, _ = position_with_legs(-1, exit__guard__loss__basis=basis)
    assert position["loss_price"][0] == 200 - price


def test_a_guard_of_more_than_the_whole_price_does_not_exist() -> None:
    position, _, _ = position_with_legs(exit__guard__loss__max="inf")
    assert np.isnan(position["loss_price"][0])


@pytest.mark.parametrize(("side", "targets"), [(1, [101.0, 102.0, 103.0]), (-1, [99.0, 98.0, 97.0])])
def test_collapsed_targets_are_pushed_outward(side: int, targets: list[float]) -> None:
    position = np.zeros(1, position_dt)
    position["side"], position["entry_price"] = side, 100.0
    set_target_prices_nb(position[0], plan_of(side=side, tp=(0.006, 0.007, 0.008))[0], instrument(tick=(1, 1))[0])
    assert list(position["tp_price"][0, :3]) == targets
    assert position["flags"][0] == PlanFlag.LEGS_PUSHED
