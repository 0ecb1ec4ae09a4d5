"""Findings about settings, each with its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from qtsim.config import check, resolve
from qtsim.config.check import ORDER, check_settings, leverage_span, plan_levels
from qtsim.config.params import to_params
from qtsim.core import levels as core_levels
from qtsim.core.levels import apply_safety_nb, set_levels_nb
from qtsim.core.records import plan_dt


def settings(profile: str | None = None, **overrides):
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve(profile=profile, environ={}, overrides=named).settings


def texts(*args, **overrides) -> list[str]:
    return [finding.text for finding in check_settings(settings(*args, **overrides))]


GUARD = "cannot fire while the hard stop stands: exit.guard.loss.max (12.5 %), beyond its 2 %"

AT_20X = {"leverage__model": "fixed", "leverage__fixed": 20, "limits__per_trade__leverage": 20}

CASES = {
    "guard_behind_hard_stop": ({}, "exit.guard.loss.max", GUARD),
    "guard_on_margin_behind_hard_stop": (
        {"exit__guard__loss__basis": "margin"},
        "exit.guard.loss.max",
        "cannot fire while the hard stop stands at 1x to 6x: exit.guard.loss.max (12.5 % of margin, 4.167 % "
        "of price at "
        "3x), beyond its 2 %",
    ),
    "hard_share_binds_before_base_sl": (
        {},
        "exit.levels.sl_safety.max_hard_share",
        "exit.levels.sl_safety.max_hard_share sets the stop at 5x to 10x with modifiers at rest, not exit.base_sl: "
        "1.2 % × 1.513 = 1.816 % at 5x, held to 0.9 × hard stop 2 % = 1.8 %; every base_sl from 1.189 % on is the same "
        "there",
    ),
    "hard_share_at_3x": (
        {"exit__base_sl": 0.02, "leverage__model": "fixed"},
        "exit.levels.sl_safety.max_hard_share",
        "exit.levels.sl_safety.max_hard_share sets the stop at 3x with modifiers at rest, not exit.base_sl: "
        "2 % × 1.465 = 2.93 % at 3x, held to 0.9 × hard stop 2 % = 1.8 %; every base_sl from 1.229 % on is the same "
        "there",
    ),
    "stop_maximum_binds": (
        {"exit__levels__sl__max": 0.01, "leverage__model": "fixed"},
        "exit.levels.sl.max",
        "exit.levels.sl.max sets the stop at 3x with modifiers at rest, not exit.base_sl: 1.2 % × 1.465 = 1.758 % at "
        "3x, "
        "held to 1 %; every base_sl from 0.6827 % on is the same there",
    ),
    "stop_minimum_binds": (
        {"exit__levels__sl__min": 0.019, "leverage__model": "fixed"},
        "exit.levels.sl.min",
        "exit.levels.sl.min sets the stop at 3x with modifiers at rest, not exit.base_sl: 1.2 % gives 1.758 % at 3x, "
        "lifted to 1.9 %",
    ),
    "margin_loss_binds": (
        {**AT_20X, "exit__levels__sl_safety__max_margin_loss": 0.2},
        "exit.levels.sl_safety.max_margin_loss",
        "exit.levels.sl_safety.max_margin_loss sets the stop at 20x with modifiers at rest, not exit.base_sl: "
        "1.2 % × 1.602 = 1.923 % at 20x, held to 20 % of margin / 20 = 1 %; every base_sl from 0.6241 % on is the same "
        "there",
    ),
    "stop_maximum_cannot_bind": (
        {"exit__levels__sl__max": 0.05},
        "exit.levels.sl.max",
        "cannot bind: exit.levels.sl.max (5 %), the stop is held to 0.9 × hard stop = 1.8 % at most",
    ),
    "hard_stop_pulled_in": (
        {"leverage__model": "fixed", "leverage__fixed": 50, "limits__per_trade__leverage": 50},
        "exit.levels.sl_safety.max_liquidation_share",
        "exit.levels.sl_safety.max_liquidation_share sets the hard stop at 50x, not exit.stops.hard.distance (2 %): "
        "0.8 × liquidation distance 1.606 % = "
        "1.285 % at 50x "
        "with a maintenance rate of 0.4 %",
    ),
    "denied_by_costs": (
        {"exit__base_sl": 0.001, "leverage__model": "fixed"},
        "exit.base_sl",
        "every entry with modifiers at rest is denied at 3x: the final stop is 0.15 % at 3x, not beyond 1.5 × "
        "round-trip costs 0.14 % = "
        "0.21 %",
    ),
    "denied_by_distance": (
        {"leverage__model": "fixed", "exit__levels__sl_safety__min_distance": 0.03},
        "exit.base_sl",
        "every entry is denied at 3x: the final stop is 1.758 % at 3x, not beyond "
        "exit.levels.sl_safety.min_distance 3 %",
    ),
    "target_minimum_binds": (
        {"exit__base_tp": 0.002, "leverage__model": "fixed"},
        "exit.levels.tp.min",
        "exit.levels.tp.min sets the first target at 3x with modifiers at rest, not exit.base_tp: 0.2038 % at 3x, "
        "lifted to 0.3 %",
    ),
    "targets_collapse": (
        {"exit__base_tp": 0.002, "leverage__model": "fixed"},
        "exit.levels.tp.progression",
        "targets collapse at 3x with modifiers at rest: 0.3 %, 0.3 %, 0.381 % at 3x; they are pushed one tick apart",
    ),
    "costs_of_tight_targets": (
        {"leverage__model": "fixed", "exit__base_tp": 0.01},
        "exit.base_tp",
        "costs are 13.74 % of the first target at 3x: 2 × (taker 0.05 % + slippage 2 bps) = 0.14 % of 1.019 % "
        "at 3x, 0.42 % "
        "of margin",
    ),
    "costs_of_a_bracket": (
        {"exit__policy": "bracket", "exit__bracket__tp": 0.005},
        "exit.bracket.tp",
        "costs are 28 % of the target: 2 × (taker 0.05 % + slippage 2 bps) = 0.14 % of 0.5 %",
    ),
    "trail_after_all_is_closed": (
        {"exit__harvest__basis": "initial", "exit__stops__trail__activate": 0.05, "leverage__model": "fixed"},
        "exit.stops.trail.activate",
        "the trail cannot start at 3x with modifiers at rest: exit.stops.trail.activate (5 %), beyond TP3 3.81 % at "
        "3x, which closes the rest",
    ),
    "trail_of_the_runner": (
        {"exit__stops__trail__activate": 0.05, "leverage__model": "fixed"},
        "exit.stops.trail.activate",
        "the trail follows the runner alone at 3x with modifiers at rest: exit.stops.trail.activate (5 %), beyond TP3 "
        "3.81 % at 3x",
    ),
    "trail_never": (
        {"exit__stops__trail__activate": "inf"},
        "exit.stops.trail.activate",
        'the trail cannot start: exit.stops.trail.activate is inf, while exit.stops.trail.mode is "atr"',
    ),
    "suspension_never": (
        {"exit__stops__trail__suspend_volatility": 6},
        "exit.stops.trail.suspend_volatility",
        "cannot act: exit.stops.trail.suspend_volatility (6), volatility_factor is never above 5",
    ),
    "breakeven_after_the_ratchet": (
        {"exit__stops__breakeven__activate": 0.03, "leverage__model": "fixed"},
        "exit.stops.breakeven.activate",
        "breakeven cannot move the stop at 3x with modifiers at rest: exit.stops.breakeven.activate (3 %), the ratchet "
        "has moved it at TP1 "
        "2.038 % at 3x",
    ),
    "breakeven_inside_costs": (
        {"exit__stops__breakeven__activate": 0.001},
        "exit.stops.breakeven.activate",
        "exit.stops.breakeven.activate (0.1 %) lies inside the round-trip costs of 0.14 %: the stop would "
        "stand beyond the "
        "price",
    ),
    "bracket_stop_behind_liquidation": (
        {**AT_20X, "exit__policy": "bracket", "exit__bracket__sl": 0.10},
        "exit.bracket.sl",
        "cannot fire before liquidation at 20x: exit.bracket.sl (10 %), beyond its 4.618 % at 20x with a "
        "maintenance rate of "
        "0.4 %",
    ),
    "leverage_capped": (
        {"leverage__model": "fixed", "leverage__fixed": 20},
        "limits.per_trade.leverage",
        "limits.per_trade.leverage caps leverage at 10x: leverage.fixed is 20",
    ),
    "leverage_rounded": (
        {"leverage__model": "fixed", "leverage__fixed": 2.5},
        "leverage.fixed",
        "leverage is rounded down: leverage.fixed = 2.5 gives 2x",
    ),
    "size_by_margin_cap": (
        {},
        "sizing.math.max_margin",
        "sizing.math.max_margin sets the size wherever ATR is below 4.444 % at 3x: 2 % / (1.5 × ATR) / 3 exceeds 10 % "
        "of balance",
    ),
    "margin_limit_cannot_bind": (
        {"limits__per_trade__margin": 0.2},
        "limits.per_trade.margin",
        "cannot bind: limits.per_trade.margin (20 %), sizing.math.max_margin 10 % comes first",
    ),
    "fraction_above_the_limit": (
        {"sizing__model": "fraction"},
        "limits.per_trade.margin",
        "limits.per_trade.margin sets the size: sizing.fraction 95 % exceeds its 15 %",
    ),
    "notional_above_the_limit": (
        {"sizing__model": "notional", "limits__per_trade__notional": 150},
        "limits.per_trade.notional",
        "limits.per_trade.notional sets the size: sizing.notional 200 exceeds its 150",
    ),
    "notional_above_the_margin_limit": (
        {"sizing__model": "notional", "account__balance": 100},
        "limits.per_trade.margin",
        "limits.per_trade.margin sets the size: sizing.notional 200 / 3 exceeds 15 % of 100",
    ),
    "fixed_risk_above_the_margin_limit": (
        {"sizing__model": "fixed_risk", "sizing__fixed_risk": 0.02},
        "limits.per_trade.margin",
        "limits.per_trade.margin sets the size at 3x: 2 % / (stop 1.758 % + costs 0.14 %) / 3 = 35.13 % exceeds 15 % "
        "of balance",
    ),
    "fixed_risk_without_a_stop": (
        {"sizing__model": "fixed_risk", "exit__policy": "bracket", "exit__bracket__sl": "inf"},
        "exit.bracket.sl",
        "no size can be found: sizing.model fixed_risk needs a stop, and exit.bracket.sl is inf",
    ),
    "setting_of_another_model": (
        {"leverage__fixed": 5},
        "leverage.fixed",
        'has no effect: leverage.fixed = 5.0, while leverage.model is "kelly"',
    ),
    "leverage_model_beside_rl": (
        {"sizing__model": "rl", "leverage__model": "ilf2"},
        "leverage.model",
        'has no effect: leverage.model = "ilf2", while sizing.model is "rl"',
    ),
    "style_beside_rl": (
        {"sizing__model": "rl", "exit__stops__trail__style": "loose"},
        "exit.stops.trail.style",
        'has no effect: exit.stops.trail.style = "loose", while sizing.model is "rl"',
    ),
    "rl_without_rl": (
        {"sizing__rl__epsilon": 0.2},
        "sizing.rl.epsilon",
        'has no effect: sizing.rl.epsilon = 0.2, while sizing.model is "math"',
    ),
    "cap_below_an_action_of_rl": (
        {"sizing__model": "rl", "limits__per_trade__leverage": 2},
        "limits.per_trade.leverage",
        "limits.per_trade.leverage caps leverage at 2x: the highest leverage of sizing.model rl is 5",
    ),
    "setting_of_another_policy": (
        {"exit__policy": "bracket", "exit__base_tp": 0.03},
        "exit.base_tp",
        'has no effect: exit.base_tp = 0.03, while exit.policy is "bracket"',
    ),
    "limit_offset_at_market": (
        {"entry__order__limit_offset_bps": 10},
        "entry.order.limit_offset_bps",
        'has no effect: entry.order.limit_offset_bps = 10.0, while entry.order.type is "market"',
    ),
    "rest_of_what_is_never_divided": (
        {"sim__volume__unfilled": "cancel"},
        "sim.volume.unfilled",
        'has no effect: sim.volume.unfilled = "cancel", while sim.volume.max_share is inf',
    ),
    "setting_of_another_style": (
        {"exit__stops__trail__loose": 2},
        "exit.stops.trail.loose",
        'has no effect: exit.stops.trail.loose = 2.0, while exit.stops.trail.mode, style is "atr", "balanced"',
    ),
}


@pytest.mark.parametrize(("overrides", "key", "text"), CASES.values(), ids=CASES)
def test_finding(overrides: dict, key: str, text: str):
    found = [(finding.key, finding.text) for finding in check_settings(settings(**overrides))]
    assert (key, text) in found


def test_defaults_have_no_grave_finding():
    kinds = [finding.kind for finding in check_settings(settings())]
    assert kinds == ["unreachable", "binds", "binds"]


def test_gravest_findings_come_first():
    found = check_settings(settings(exit__base_sl=0.001, exit__base_tp=0.002, leverage__fixed=5))
    places = [ORDER.index(finding.kind) for finding in found]
    assert places == sorted(places)
    assert set(places) == set(range(len(ORDER)))


def test_tight_profile_is_named_for_its_costs():
    assert any(text.startswith("costs are 13.74 % of the first target at 1x to 10x") for text in texts("tight"))
    assert not any("costs are" in text for text in texts())


def test_plain_profile_has_nothing_but_its_size():
    assert len(texts("plain")) == 1


def test_finite_guard_before_the_hard_stop_is_reachable():
    assert not any("exit.guard.loss.max" in text for text in texts(exit__guard__loss__max=0.015))
    assert not any("exit.guard.loss.max" in text for text in texts(exit__guard__loss__max="inf"))


def test_highest_maintenance_rate_counts():
    at_30x = settings(leverage__model="fixed", leverage__fixed=30, limits__per_trade__leverage=30)
    assert not any("liquidation" in finding.text for finding in check_settings(at_30x, {"BTCUSDT": 0.004}))
    found = check_settings(at_30x, {"BTCUSDT": 0.004, "PEPEUSDT": 0.015})
    assert any("0.8 × liquidation distance 1.861 %" in finding.text for finding in found)
    denied = check_settings(at_30x, {"PEPEUSDT": 0.04})
    assert denied[0].text == (
        "every entry is denied at 30x: a maintenance rate of 4 % leaves no room before liquidation at 30x"
    )


@pytest.mark.parametrize(
    ("overrides", "span"),
    [
        ({}, (1, 3, 10)),
        ({"limits__per_trade__leverage": "inf", "leverage__kelly__max": 20}, (1, 3, 20)),
        ({"leverage__model": "fixed", "leverage__fixed": 7.9}, (7, 7, 7)),
        ({"leverage__model": "simple"}, (1, 5, 10)),
        ({"leverage__model": "ilf2", "limits__per_trade__leverage": 100}, (5, 5, 80)),
    ],
)
def test_leverages_of_a_run(overrides: dict, span: tuple):
    assert leverage_span(settings(**overrides)) == span


def test_room_for_costs_equals_the_cores():
    assert check.COST_ROOM == core_levels.COST_ROOM


REFERENCE = [  # leverage, tp1, tp2, tp3, sl in multiples of the base values
    (1, 1.190616, 1.495308, 1.947654, 1.327507),
    (3, 1.019060, 1.409530, 1.904765, 1.464752),
    (5, 0.958197, 1.379099, 1.889549, 1.513442),
    (10, 0.894300, 1.347150, 1.873575, 1.564560),
    (15, 0.865070, 1.332535, 1.866267, 1.587944),
    (20, 0.847248, 1.323624, 1.861812, 1.602202),
    (30, 0.825531, 1.312765, 1.856383, 1.619575),
    (50, 0.802765, 1.301382, 1.850691, 1.637788),
    (100, 0.778091, 1.289045, 1.844523, 1.657528),
]


@pytest.mark.parametrize("row", REFERENCE, ids=[f"{row[0]}x" for row in REFERENCE])
def test_levels_equal_the_reference_table(row):
    plan = plan_levels(settings(exit__base_tp=0.1, exit__base_sl=0.1), row[0])
    assert [target * 10 for target in plan.targets] == pytest.approx(row[1:4], abs=5e-7)
    assert plan.raw_sl * 10 == pytest.approx(row[4], abs=5e-7)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"exit__levels__adaptive": False},
        {"exit__levels__sl__model": "confidence", "entry__confidence__default": 0.8},
        {
            "exit__levels__sl_safety__max_margin_loss": 0.1,
            "exit__stops__hard__distance": 0.05,
            "exit__levels__sl__max": 0.04,
        },
        {"exit__base_tp": 0.002, "exit__base_sl": 0.001},
    ],
)
def test_levels_equal_the_cores(overrides: dict):
    stated = settings(limits__per_trade__leverage="inf", **overrides)
    params = to_params(stated, 3_600_000_000_000)[0]
    for leverage in (1, 3, 10, 20, 50, 100):
        mine = plan_levels(stated, leverage, 0.004)
        plan = np.zeros(1, dtype=plan_dt)[0]
        plan["leverage"], plan["side"], plan["confidence"] = leverage, 1, stated.entry.confidence.default
        plan["hard"] = stated.exit.stops.hard.distance
        set_levels_nb(plan, stated.exit.base_tp, stated.exit.base_sl, 0.0, 0.0, 0.0, 0.0, False, params["levels"])
        apply_safety_nb(plan, 0.004, 0.0, 0.0, params)
        core = [*plan["tp"][:3], plan["sl"], plan["hard"], plan["liq_distance"]]
        assert [*mine.targets, mine.sl, mine.hard, mine.liquidation] == pytest.approx(core, rel=1e-12)


def test_only_leverages_of_the_entries_count_where_they_are_known():
    found = [finding.key for finding in check_settings(settings(), None, [1, 3])]
    assert "exit.levels.sl_safety.max_hard_share" not in found, "acts from 5x on"
    assert "exit.levels.sl_safety.max_hard_share" in [finding.key for finding in check_settings(settings(), None, [5])]


def test_a_denial_that_no_modifier_can_lift_is_of_every_entry():
    """0.1 % · 1.465 can be widened 2.4 and 1.2 times at most: to 0.42 % here, to 0.13 % from a base of 0.03 %."""
    narrow = {"leverage__model": "fixed", "exit__levels__sl__min": 0.0003}
    assert any(
        text.startswith("every entry with modifiers at rest is denied") for text in texts(exit__base_sl=0.001, **narrow)
    )
    assert any(text.startswith("every entry is denied") for text in texts(exit__base_sl=0.0003, **narrow))


def test_the_guard_is_not_behind_a_hard_stop_on_the_last_price():
    """It watches the mark, which can move where the last price does not."""
    assert GUARD in texts()
    assert not any("exit.guard.loss.max" in text for text in texts(exit__stops__hard__working_type="last"))


LOCK = "profit-lock-30x"


def found(key: str, *args, **overrides) -> list[str]:
    return [finding.text for finding in check_settings(settings(*args, **overrides)) if finding.key == key]


def test_an_emergency_inside_the_stop_and_the_costs_is_told():
    """20x: stop 1.8 % (0.9 of the hard stop) and a round trip of 0.14 % are 38.8 % of margin."""
    key = "exit.guard.loss.emergency_margin"
    inside = {"exit__guard__loss__emergency_margin": 0.38, **AT_20X}
    assert found(key, **inside) == [
        f"{key} (38 %) fires before the stop and inside the costs at 20x with modifiers at rest: 20 × (stop 1.8 % + "
        "round-trip costs 0.14 %) = 38.8 % of margin"
    ]
    assert found(key, **{**inside, "exit__guard__loss__emergency_margin": 0.389}) == []
    assert found(key, **AT_20X) == []
    (text,) = found(key, exit__policy="bracket", exit__guard__loss__emergency_margin=0.01)
    assert text.startswith("has no effect")


def test_an_emergency_behind_the_hard_stop_is_told():
    key = "exit.guard.loss.emergency_margin"
    assert found(key, LOCK) == [
        f"cannot fire while the hard stop stands at 30x: {key} (75 % of margin, 2.5 % of price at 30x), beyond its 2 %"
    ]
    legacy = {"exit__policy": "legacy", "leverage__model": "fixed", "leverage__fixed": 3}
    assert found(key, exit__guard__loss__emergency_margin=0.12, **legacy) == [
        f"cannot fire while the hard stop stands at 3x: {key} (12 % of margin, 4 % of price at 3x), beyond its 4 %"
    ]
    (text,) = found(key, exit__guard__loss__emergency_margin=0.09, **legacy)
    assert text.startswith(f"{key} (9 %) fires before the stop")
    assert found(key, exit__guard__loss__emergency_margin=0.10, **legacy) == []


def test_a_backup_stop_never_fires_in_a_backtest():
    (text,) = found("exit.stops.backup.enabled", LOCK)
    assert text.startswith("cannot fire in a backtest: ")


def test_costs_of_profit_lock_are_told():
    (text,) = found("exit.profit_lock.legs", LOCK)
    assert text == (
        "costs are 4.2 % of margin at 30x, beside the 8 % that the first leg earns after them: 30 × round trip 0.14 %"
    )


UNREAD = {
    "legacy_reads_no_base": ({"exit__policy": "legacy", "exit__base_sl": 0.01}, "exit.base_sl"),
    "legacy_reads_no_stale_share": (
        {"exit__policy": "legacy", "exit__guard__stale__stop_share": 0.4},
        "exit.guard.stale.stop_share",
    ),
    "legacy_reads_no_harvest": ({"exit__policy": "legacy", "exit__harvest__basis": "initial"}, "exit.harvest.basis"),
    "legacy_reads_one_style": ({"exit__policy": "legacy", "exit__stops__trail__loose": 2.0}, "exit.stops.trail.loose"),
    "profit_lock_reads_no_target": ({"exit__policy": "profit_lock", "exit__base_tp": 0.03}, "exit.base_tp"),
    "profit_lock_reads_no_ratchet": (
        {"exit__policy": "profit_lock", "exit__stops__ratchet__preset": "lock"},
        "exit.stops.ratchet.preset",
    ),
    "exit_brain_reads_no_legacy": ({"exit__legacy__tp": 0.05}, "exit.legacy.tp"),
    "exit_brain_reads_no_lock": ({"exit__profit_lock__breakeven": 0.04}, "exit.profit_lock.breakeven"),
    "a_bracket_is_not_planned_again": ({"exit__policy": "bracket", "exit__replan": "bar"}, "exit.replan"),
    "an_offset_without_a_backup": ({"exit__stops__backup__limit_offset_bps": 20}, "exit.stops.backup.limit_offset_bps"),
}


@pytest.mark.parametrize(("overrides", "key"), UNREAD.values(), ids=UNREAD)
def test_what_a_policy_does_not_read_is_told(overrides: dict, key: str):
    (text,) = found(key, **overrides)
    assert text.startswith(f"has no effect: {key} = ")


READ = {
    "profit_lock_reads_the_base_of_its_stop": {"exit__policy": "profit_lock", "exit__base_sl": 0.01},
    "profit_lock_reads_the_stale_guard": {"exit__policy": "profit_lock", "exit__guard__stale__hours": 24},
    "legacy_reads_the_sizes_levels": {
        "exit__policy": "legacy",
        "exit__legacy__levels": "math",
        "sizing__model": "notional",
        "sizing__math__stop_atr": 2.0,
    },
    "legacy_reads_the_loss_guard": {"exit__policy": "legacy", "exit__guard__loss__max": 0.1},
    "rl_reads_math_and_every_style": {
        "sizing__model": "rl",
        "sizing__math__risk": 0.01,
        "exit__stops__trail__loose": 2,
        "exit__stops__trail__aggressive": 0.4,
    },
    "legacy_reads_its_style": {"exit__policy": "legacy", "exit__stops__trail__balanced": 1.2},
}


@pytest.mark.parametrize("overrides", READ.values(), ids=READ)
def test_what_a_policy_reads_is_not_told(overrides: dict):
    assert not [text for text in texts(**overrides) if text.startswith("has no effect")]
