"""One cycle of the exit brain on a position made by hand: its order, what is inclusive, what NaN does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import Action, Reason, Regime
from qtsim.core.exit_brain import apply_decision_nb, decide_exit_nb, nearest_triggers_nb
from qtsim.core.records import NEVER, exit_decision_dt, point_dt, position_dt
from tests.generated import instrument, params_of

NAN = np.nan
NONE_SET = (
    "stop_price",
    "hard_price",
    "liq_price",
    "loss_price",
    "emergency_price",
    "stale_price",
    "crash_price",
    "peak",
    "breakeven_price",
    "breakeven_activate_price",
    "trail_activate_price",
)
RULES = instrument(tick=(1, 100))


def position_of(side: int = 1, **fields: Any) -> Any:
    """A thousand lots entered at 100, without any level but those given."""
    position = np.zeros(1, position_dt)
    for name in NONE_SET:
        position[name] = NAN
    position["tp_price"] = NAN
    position["side"], position["entry_price"] = side, 100.0
    position["lots"] = position["init_lots"] = 1000
    position["qty"] = position["init_qty"] = 1.0
    position["stop_reason"] = Reason.STOP
    position["reduce_after"] = position["close_after"] = NEVER
    for name, value in fields.items():
        position[name] = value
    return position


def decide(
    position: Any,
    price: float,
    mark: float | None = None,
    *,
    atr: float = NAN,
    volatility_factor: float = 0.0,
    regime: int = 0,
    **settings: Any,
) -> Any:
    point = np.zeros(1, point_dt)
    point["ts"] = 1
    point["price"], point["mark"] = price, price if mark is None else mark
    point["atr"], point["volatility_factor"], point["regime"] = atr, volatility_factor, regime
    out = np.zeros(1, exit_decision_dt)
    params = params_of({key.replace("__", "."): value for key, value in settings.items()})
    decide_exit_nb(position[0], point[0], RULES[0], params[0], out[0])
    return out[0]


def told(decision: Any) -> tuple[Action, Reason]:
    return Action(int(decision["action"])), Reason(int(decision["reason"]))


LEGS: dict[str, Any] = {"tp_price": [102.0, 104.0, 106.0, NAN, NAN], "tp_lots": [250, 437, 718, 0, 0], "n_legs": 3}
HOLD = (Action.HOLD_CURRENT, Reason.NONE)


PRICES = {"stop_price", "loss_price", "breakeven_price", "breakeven_activate_price", "trail_activate_price", "peak"}


def mirrored(fields: dict[str, Any]) -> dict[str, Any]:
    """Levels on the other side of 100."""
    return {
        name: [200 - price for price in value] if name == "tp_price" else 200 - value if name in PRICES else value
        for name, value in fields.items()
    }


CLOSE, PART, MOVE = Action.FULL_EXIT_NOW, Action.PARTIAL_CLOSE, Action.MOVE_SL
GUARD: dict[str, Any] = {"loss_price": 95.0, "stop_price": 98.0, **LEGS}
RATCHETED: dict[str, Any] = {"stop_price": 99.0, "stop_moved": 1, "stop_reason": Reason.RATCHET}
EVEN: dict[str, Any] = {"breakeven_price": 100.0, "breakeven_activate_price": 101.0}
TRAIL: dict[str, Any] = {"trail_mode": 2, "trail_distance": 0.05, "trail_activate_price": 102.0}
SECOND: dict[str, Any] = {**LEGS, "next_leg": 1, "lots": 750}
THIRD: dict[str, Any] = {**LEGS, "next_leg": 2, "lots": 563}
ALL_HIT: dict[str, Any] = {**LEGS, "next_leg": 3, "lots": 282}
HALVE, SHUT = {"reduce_after": 0}, {"close_after": 0}
"""Orders given before the time of the point, which is 1."""
# (id, levels, price, action, reason, lots)
CYCLES: list[tuple[str, dict[str, Any], float, Action, Reason, int]] = [
    ("nothing_reached_holds", {"stop_price": 98.0, **LEGS}, 100.0, *HOLD, 0),
    ("guard_before_stop", GUARD, 95.0, CLOSE, Reason.LOSS_GUARD, 1000),
    ("a_tick_before_the_guard_is_the_stop", GUARD, 95.01, CLOSE, Reason.STOP, 1000),
    ("stop_is_inclusive", {"stop_price": 98.0}, 98.0, CLOSE, Reason.STOP, 1000),
    ("a_tick_above_the_stop_holds", {"stop_price": 98.0}, 98.01, *HOLD, 0),
    ("stop_before_leg", {"stop_price": 103.0, **LEGS}, 102.5, CLOSE, Reason.STOP, 1000),
    ("leg_is_inclusive", LEGS, 102.0, PART, Reason.TP1, 250),
    ("a_tick_below_the_leg_holds", LEGS, 101.99, *HOLD, 0),
    ("only_the_first_untriggered_leg", LEGS, 110.0, PART, Reason.TP1, 250),
    ("the_second_leg_closes_the_difference", SECOND, 110.0, PART, Reason.TP2, 187),
    ("the_third_leg_leaves_a_runner", THIRD, 110.0, PART, Reason.TP3, 281),
    ("after_the_last_leg_nothing", ALL_HIT, 110.0, *HOLD, 0),
    ("a_leg_of_no_lots_is_still_a_decision", {**LEGS, "tp_lots": [0, 437, 718, 0, 0]}, 102.0, PART, Reason.TP1, 0),
    ("a_leg_that_closes_all", {**LEGS, "tp_lots": [1000, 1000, 1000, 0, 0]}, 102.0, CLOSE, Reason.TP1, 1000),
    ("a_ratchet_is_reported", RATCHETED, 101.0, MOVE, Reason.RATCHET, 0),
    ("a_leg_carries_the_ratchet", {**LEGS, **RATCHETED}, 102.0, PART, Reason.TP1, 250),
    ("an_exit_has_the_reason_of_its_stop", RATCHETED, 99.0, CLOSE, Reason.RATCHET, 1000),
    ("breakeven_at_its_activation", EVEN, 101.0, MOVE, Reason.BREAKEVEN, 0),
    ("breakeven_once", {**EVEN, "breakeven_done": 1}, 101.0, *HOLD, 0),
    ("breakeven_behind_the_stop_moves_nothing", {**EVEN, "stop_price": 100.5}, 101.0, *HOLD, 0),
    ("trail_starts_at_its_activation", TRAIL, 102.0, MOVE, Reason.TRAIL, 0),
    ("trail_before_its_activation", TRAIL, 101.99, *HOLD, 0),
    ("the_shutdown_before_the_guard", {**GUARD, **SHUT}, 95.0, CLOSE, Reason.GOVERNOR, 1000),
    ("a_guard_before_the_governors_half", {**GUARD, **HALVE}, 95.0, CLOSE, Reason.LOSS_GUARD, 1000),
    ("the_stop_before_the_governors_half", {**GUARD, **HALVE}, 98.0, CLOSE, Reason.STOP, 1000),
    ("the_governors_half_before_a_leg", {**GUARD, **HALVE}, 102.0, PART, Reason.GOVERNOR, 500),
    ("trail_off", {**TRAIL, "trail_mode": 0}, 103.0, *HOLD, 0),
]


@pytest.mark.parametrize(
    ("levels", "price", "action", "reason", "lots"), [c[1:] for c in CYCLES], ids=[c[0] for c in CYCLES]
)
@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
def test_one_cycle(side: int, levels: dict[str, Any], price: float, action: Action, reason: Reason, lots: int) -> None:
    if side < 0:
        levels, price = mirrored(levels), 200 - price
    decision = decide(position_of(side, **levels), price)
    assert told(decision) == (action, reason)
    assert decision["lots"] == lots


def test_the_governors_half_carries_the_move_of_its_cycle() -> None:
    """Breakeven takes the stop to 100, the half then to the middle between that and the price."""
    decision = decide(position_of(stop_price=98.0, **HALVE, **EVEN), 101.0)
    assert (told(decision), decision["lots"]) == ((PART, Reason.GOVERNOR), 500)
    assert (decision["stop_price"], decision["breakeven_done"]) == (100.5, 1)


@pytest.mark.parametrize("fields", [{"loss_price": 105.0}, SHUT], ids=["guard", "shutdown"])
def test_a_cycle_that_ends_before_the_decision_update_has_seen_no_regime(fields: dict[str, Any]) -> None:
    """An exit that is not filled leaves the change from TRENDING to CHOPPY for the next cycle."""
    position = position_of(stop_price=98.0, seen_regime=Regime.TRENDING, **fields)
    assert decide(position, 100.0, regime=Regime.CHOPPY)["seen_regime"] == Regime.TRENDING
    assert decide(position_of(), 100.0, regime=Regime.CHOPPY)["seen_regime"] == Regime.CHOPPY


@pytest.mark.parametrize(("price", "mark"), [(NAN, 90.0), (90.0, NAN), (NAN, NAN)])
def test_a_missing_price_is_never_compared(price: float, mark: float) -> None:
    """A price of 90 is beyond every level here; without its counterpart nothing is decided."""
    position = position_of(**GUARD, trail_mode=2, trail_distance=0.01, trail_active=1, peak=101.0)
    decision = decide(position, price, mark)
    assert told(decision) == HOLD
    assert decision["stop_price"] == 98.0
    assert decision["peak"] == 101.0


def test_levels_that_do_not_exist_never_trigger() -> None:
    for price in (1e-9, 100.0, 1e9):
        assert told(decide(position_of(n_legs=3), price)) == HOLD


def test_the_guard_looks_at_the_mark_the_stop_at_the_last_price() -> None:
    assert told(decide(position_of(**GUARD), 100.0, 95.0)) == (Action.FULL_EXIT_NOW, Reason.LOSS_GUARD)
    assert told(decide(position_of(**GUARD), 97.0, 100.0)) == (Action.FULL_EXIT_NOW, Reason.STOP)
    assert told(decide(position_of(**GUARD), 100.0, 97.0)) == HOLD
    on_mark: dict[str, Any] = {"exit__trigger_price": "mark"}
    assert told(decide(position_of(**GUARD), 97.0, 100.0, **on_mark)) == HOLD
    assert told(decide(position_of(**GUARD), 100.0, 97.0, **on_mark)) == (Action.FULL_EXIT_NOW, Reason.STOP)


ACTIVE: dict[str, Any] = {"trail_mode": 1, "trail_multiple": 1.0, "trail_active": 1, "peak": 105.0, "stop_price": 98.0}


@pytest.mark.parametrize(
    ("price", "atr", "factor", "peak", "stop"),
    [
        (105.0, 1.0, 0.0, 105.0, 104.0),
        (107.0, 1.0, 0.0, 107.0, 106.0),
        (104.5, 1.0, 0.0, 105.0, 104.0),
        (107.0, 1.0, 3.0, 107.0, 98.0),
        (107.0, 1.0, 2.99, 107.0, 106.0),
        (107.0, 0.0, 0.0, 107.0, 98.0),
        (107.0, NAN, 0.0, 107.0, 98.0),
        (107.0, 20.0, 0.0, 107.0, 98.0),
        (107.0, 0.333, 0.0, 107.0, 106.67),
    ],
    ids=[
        "at_the_peak",
        "a_new_peak",
        "below_the_peak",
        "suspended_at_three",
        "not_below_three",
        "zero_atr",
        "nan_atr",
        "never_loosens",
        "tighter_tick",
    ],
)
def test_atr_trail(price: float, atr: float, factor: float, peak: float, stop: float) -> None:
    decision = decide(position_of(**ACTIVE), price, atr=atr, volatility_factor=factor)
    assert told(decision) == HOLD, "its moves are state, not decisions"
    assert (decision["peak"], decision["stop_price"]) == (peak, stop)
    short = decide(
        position_of(-1, **{**ACTIVE, "peak": 95.0, "stop_price": 102.0}), 200 - price, atr=atr, volatility_factor=factor
    )
    assert (short["peak"], short["stop_price"]) == (200 - peak, pytest.approx(200 - stop))


def test_deciding_changes_nothing_and_applying_moves_what_lives_in_the_program() -> None:
    position = position_of(**ACTIVE, **LEGS)
    before = position.copy()
    decision = decide(position, 102.0, atr=4.0)
    assert position.tobytes() == before.tobytes()
    apply_decision_nb(position[0], decision)
    assert position["stop_price"][0] == 101.0
    assert position["stop_reason"][0] == Reason.TRAIL
    assert position["lots"][0] == 1000, "quantity waits for the fill"
    assert position["next_leg"][0] == 0


def test_nearest_triggers() -> None:
    """(last below, last above, mark below, mark above): the program's on the last price, the exchange's on the mark."""
    levels: dict[str, Any] = {"stop_price": 98.8, "hard_price": 98.0, "liq_price": 90.0, "loss_price": 87.5, **LEGS}
    params, calm = params_of({}), np.zeros(1, point_dt)
    assert nearest_triggers_nb(position_of(**levels)[0], calm[0], params[0]) == (98.8, 102.0, 98.0, np.inf)
    levels |= {"trail_mode": 1, "trail_activate_price": 101.5, "breakeven_activate_price": 101.0}
    assert nearest_triggers_nb(position_of(**levels)[0], calm[0], params[0]) == (98.8, 101.0, 98.0, np.inf)
    levels |= {"breakeven_done": 1}
    assert nearest_triggers_nb(position_of(**levels)[0], calm[0], params[0]) == (98.8, 101.5, 98.0, np.inf)
    levels |= {"trail_active": 1, "next_leg": 3}
    assert nearest_triggers_nb(position_of(**levels)[0], calm[0], params[0]) == (98.8, np.inf, 98.0, np.inf)
    on_mark = params_of({"exit.trigger_price": "mark", "exit.stops.hard.working_type": "last"})
    assert nearest_triggers_nb(position_of(**levels)[0], calm[0], on_mark[0]) == (98.0, np.inf, 98.8, np.inf)
    short: dict[str, Any] = {"stop_price": 101.2, "hard_price": 102.0, "liq_price": 110.0, "loss_price": 112.5}
    short |= {"tp_price": [98.0, 96.0, 94.0, NAN, NAN], "n_legs": 3}
    assert nearest_triggers_nb(position_of(-1, **short)[0], calm[0], params[0]) == (98.0, 101.2, -np.inf, 102.0)
    assert nearest_triggers_nb(position_of()[0], calm[0], params[0]) == (-np.inf, np.inf, -np.inf, np.inf)
