"""The approval chain: each gate's rules at, just below and just above their limits, and the order of the gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.balancer import (
    correlation_nb,
    deny_by_balancer_nb,
    deny_by_sector_nb,
    measure_correlation_nb,
    measure_crowd_nb,
)
from qtsim.core.enums import Gate, Health, LeaderRegime, Mode, Regime, Rule
from qtsim.core.gates import judge_again_nb, judge_signal_nb, judge_size_nb
from qtsim.core.orchestrator import daily_drawdown_nb, min_confidence_nb, mode_nb
from qtsim.core.records import (
    NEVER,
    close_dt,
    crowd_dt,
    governor_dt,
    instrument_dt,
    plan_dt,
    point_dt,
    position_dt,
    span_dt,
    symbol_stats_dt,
)
from qtsim.core.regime import regime_size_nb
from qtsim.core.risk_guard import deny_by_risk_guard_nb
from qtsim.core.safety_governor import reset_governor_nb
from qtsim.core.symbol_stats import reset_stats_nb
from tests.generated import HOUR, START, params_of

PARAMS = params_of({})[0]
EQUITY = 10_000.0


class Case:
    """One candidate on a quiet account; fields are set before it is judged."""

    def __init__(self, **settings: Any) -> None:
        self.params = params_of({key.replace("__", "."): value for key, value in settings.items()})[0]
        self.plan, self.crowd = np.zeros(1, plan_dt), np.zeros(1, crowd_dt)
        self.governor, self.stats = np.zeros(1, governor_dt), np.zeros(1, symbol_stats_dt)
        reset_governor_nb(self.governor[0])
        reset_stats_nb(self.stats[0])
        self.governor["day_equity"] = self.governor["base_equity"] = EQUITY
        self.plan["side"], self.plan["confidence"], self.plan["size_factor"] = 1, 1.0, 1.0
        self.plan["notional"], self.plan["margin"] = 3_000.0, 1_000.0
        self.crowd["correlation"] = -np.inf

    def judge(self, equity: float = EQUITY) -> tuple[str, str]:
        """(gate, rule) of the gates before sizing."""
        judge_signal_nb(self.plan[0], START, equity, self.crowd[0], self.governor[0], self.stats[0], self.params)
        return self.verdict()

    def judge_size(self, balance: float = EQUITY, available: float = EQUITY) -> tuple[str, str]:
        """(gate, rule) of the gates after sizing."""
        judge_size_nb(self.plan[0], self.crowd[0], balance, available, self.params)
        return self.verdict()

    def verdict(self) -> tuple[str, str]:
        plan = self.plan[0]
        return Gate(int(plan["gate"])).name, Rule(int(plan["rule"])).name

    def unreduced(self) -> float:
        return float(self.plan["unreduced_factor"][0])

    def factor(self) -> float:
        return float(self.plan["size_factor"][0])


PASSES = ("NONE", "NONE")


def test_a_quiet_account_passes_everything() -> None:
    case = Case()
    assert case.judge() == PASSES
    assert case.judge_size() == PASSES
    assert case.factor() == 1.0


def test_with_gates_off_nothing_is_judged() -> None:
    case = Case(gates__enabled=False)
    case.plan["confidence"], case.crowd["positions"] = 0.0, 99
    assert case.judge() == PASSES
    assert case.judge_size(balance=1.0, available=0.0) == PASSES


# Confidence filter ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("confidence", "passes"), [(0.19, False), (0.20, True), (0.21, True)])
def test_confidence_filter(confidence: float, passes: bool) -> None:
    case = Case()
    case.plan["confidence"] = confidence
    assert case.judge() == (PASSES if passes else ("CONFIDENCE", "LOW_CONFIDENCE"))
    if not passes:
        assert (case.plan["value"][0], case.plan["limit"][0]) == (confidence, 0.20)


# Orchestrator --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equity", "verdict"),
    [(9_700.0, PASSES), (9_699.0, ("ORCHESTRATOR", "DAILY_DRAWDOWN"))],
    ids=["at_three_per_cent", "above_three_per_cent"],
)
def test_daily_drawdown(equity: float, verdict: tuple[str, str]) -> None:
    assert Case(entry__confidence__min=0.0).judge(equity) == verdict


@pytest.mark.parametrize(("confidence", "passes"), [(0.59, False), (0.60, True), (0.61, True)])
def test_choppy_asks_for_confidence(confidence: float, passes: bool) -> None:
    case = Case()
    case.plan["regime"], case.plan["confidence"] = Regime.CHOPPY, confidence
    assert case.judge() == (PASSES if passes else ("ORCHESTRATOR", "CHOPPY_CONFIDENCE"))


@pytest.mark.parametrize(("open_", "passes"), [(14, True), (15, False), (16, False)])
def test_positions_in_all(open_: int, passes: bool) -> None:
    case = Case()
    case.crowd["positions"] = open_
    assert case.judge() == (PASSES if passes else ("ORCHESTRATOR", "POSITIONS_TOTAL"))


def test_disabled_until_and_blacklisted() -> None:
    case = Case()
    case.stats["disabled_until"], case.stats["disabled_value"], case.stats["disabled_limit"] = START + 1, 0.30, 0.35
    assert case.judge() == ("ORCHESTRATOR", "SYMBOL_DISABLED")
    assert (case.plan["value"][0], case.plan["limit"][0]) == (0.30, 0.35)
    ended = Case()
    ended.stats["disabled_until"] = START
    assert ended.judge() == PASSES, "48 hours are over at their end"
    black = Case()
    black.stats["blacklisted_at"] = START
    assert black.judge() == ("ORCHESTRATOR", "SYMBOL_BLACKLISTED")


@pytest.mark.parametrize(("confidence", "passes"), [(0.79, False), (0.80, False), (0.81, True)])
def test_shorts_in_an_uptrend_need_more_than_eighty_per_cent(confidence: float, passes: bool) -> None:
    case = Case()
    case.plan["leader_regime"], case.plan["side"], case.plan["confidence"] = LeaderRegime.UPTREND, -1, confidence
    assert case.judge() == (PASSES if passes else ("ORCHESTRATOR", "UPTREND_SHORT"))
    long = Case()
    long.plan["leader_regime"], long.plan["confidence"] = LeaderRegime.UPTREND, 0.2
    assert long.judge() == PASSES


# (id, daily drawdown, losing streak, health, mode)
MODES = [
    ("quiet", 0.0, 0, Health.HEALTHY, Mode.NORMAL),
    ("at_one_and_a_half", 0.015, 0, Health.HEALTHY, Mode.NORMAL),
    ("above_one_and_a_half", 0.0151, 0, Health.HEALTHY, Mode.DEFENSIVE),
    ("three_losses", 0.0, 3, Health.HEALTHY, Mode.NORMAL),
    ("four_losses", 0.0, 4, Health.HEALTHY, Mode.DEFENSIVE),
    ("degraded", 0.0, 0, Health.DEGRADED, Mode.DEFENSIVE),
    ("at_two_and_a_half", 0.025, 0, Health.HEALTHY, Mode.DEFENSIVE),
    ("above_two_and_a_half", 0.0251, 0, Health.HEALTHY, Mode.CRITICAL),
]


@pytest.mark.parametrize(("drawdown", "streak", "health", "mode"), [m[1:] for m in MODES], ids=[m[0] for m in MODES])
def test_modes(drawdown: float, streak: int, health: Health, mode: Mode) -> None:
    assert mode_nb(drawdown, streak, int(health), PARAMS["orchestrator"]) == mode


# (id, mode, regime, global regime, drawdown, streak, minimum)
MINIMA = [
    ("normal_unknown", Mode.NORMAL, Regime.UNKNOWN, LeaderRegime.UNKNOWN, 0.0, 0, 0.20),
    ("normal_trending", Mode.NORMAL, Regime.TRENDING, LeaderRegime.UPTREND, 0.0, 0, 0.20),
    ("normal_breakout", Mode.NORMAL, Regime.BREAKOUT, LeaderRegime.DOWNTREND, 0.0, 0, 0.20),
    ("normal_ranging", Mode.NORMAL, Regime.RANGING, LeaderRegime.UNKNOWN, 0.0, 0, 0.40),
    ("normal_choppy", Mode.NORMAL, Regime.CHOPPY, LeaderRegime.UNKNOWN, 0.0, 0, 0.60),
    ("defensive", Mode.DEFENSIVE, Regime.TRENDING, LeaderRegime.UNKNOWN, 0.016, 0, 0.45),
    ("defensive_in_choppy", Mode.DEFENSIVE, Regime.CHOPPY, LeaderRegime.UNKNOWN, 0.016, 0, 0.60),
    ("at_two_per_cent", Mode.DEFENSIVE, Regime.TRENDING, LeaderRegime.UNKNOWN, 0.020, 0, 0.45),
    ("above_two_per_cent", Mode.DEFENSIVE, Regime.TRENDING, LeaderRegime.UNKNOWN, 0.0201, 0, 0.65),
    ("streak", Mode.DEFENSIVE, Regime.TRENDING, LeaderRegime.UNKNOWN, 0.0, 4, 0.60),
    ("sideways", Mode.NORMAL, Regime.RANGING, LeaderRegime.SIDEWAYS, 0.0, 0, 0.50),
    ("capped", Mode.CRITICAL, Regime.CHOPPY, LeaderRegime.SIDEWAYS, 0.026, 5, 0.70),
]


@pytest.mark.parametrize(
    ("mode", "regime", "leader", "drawdown", "streak", "minimum"), [m[1:] for m in MINIMA], ids=[m[0] for m in MINIMA]
)
def test_minimum_confidence(
    mode: Mode, regime: Regime, leader: LeaderRegime, drawdown: float, streak: int, minimum: float
) -> None:
    found = min_confidence_nb(int(mode), int(regime), int(leader), drawdown, streak, PARAMS)
    assert found == pytest.approx(minimum, abs=1e-12)


# (id, settings, minimum in NORMAL and TRENDING)
LOWERED = [
    ("a_regimes_below_the_modes_does_not_bind", {"orchestrator.min_confidence.trending": 0.1}, 0.20),
    ("a_regimes_above_the_modes_binds", {"orchestrator.min_confidence.trending": 0.3}, 0.30),
]


@pytest.mark.parametrize(("settings", "minimum"), [c[1:] for c in LOWERED], ids=[c[0] for c in LOWERED])
def test_the_larger_of_normal_modes_and_the_regimes_minimum(settings: dict[str, Any], minimum: float) -> None:
    params = params_of(settings)[0]
    found = min_confidence_nb(int(Mode.NORMAL), int(Regime.TRENDING), int(LeaderRegime.UNKNOWN), 0.0, 0, params)
    assert found == minimum


@pytest.mark.parametrize(("confidence", "passes"), [(0.399, False), (0.40, True)])
def test_below_the_minimum_confidence(confidence: float, passes: bool) -> None:
    case = Case()
    case.plan["regime"], case.plan["confidence"] = Regime.RANGING, confidence
    assert case.judge() == (PASSES if passes else ("ORCHESTRATOR", "MIN_CONFIDENCE"))


def test_drawdown_is_never_negative_and_needs_a_base() -> None:
    governor = np.zeros(1, governor_dt)
    assert daily_drawdown_nb(governor[0], 9_000.0) == 0.0
    governor["day_equity"] = 10_000.0
    assert daily_drawdown_nb(governor[0], 11_000.0) == 0.0
    assert daily_drawdown_nb(governor[0], 9_000.0) == pytest.approx(0.1)


# Size factors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regime", "leader", "side", "factor"),
    [
        (Regime.UNKNOWN, LeaderRegime.UNKNOWN, 1, 1.0),
        (Regime.CHOPPY, LeaderRegime.UNKNOWN, 1, 0.5),
        (Regime.TRENDING, LeaderRegime.SIDEWAYS, -1, 0.8),
        (Regime.TRENDING, LeaderRegime.UPTREND, 1, 1.1),
        (Regime.TRENDING, LeaderRegime.UPTREND, -1, 1.0),
        (Regime.TRENDING, LeaderRegime.DOWNTREND, -1, 1.0),
        (Regime.CHOPPY, LeaderRegime.SIDEWAYS, 1, 0.4),
    ],
)
def test_size_factor_of_the_regimes(regime: Regime, leader: LeaderRegime, side: int, factor: float) -> None:
    assert regime_size_nb(int(regime), int(leader), side, PARAMS["regime"]) == pytest.approx(factor)


def test_factors_of_mode_and_governor_multiply() -> None:
    case = Case()
    case.governor["losing_streak"], case.governor["half_size"] = 4, 1
    case.plan["leader_regime"] = LeaderRegime.UPTREND
    assert case.judge() == PASSES
    assert case.factor() == pytest.approx(1.1 * 0.5 * 0.5)


# Portfolio Balancer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "longs", "shorts", "rule"),
    [
        (1, 5, 9, "NONE"),
        (1, 6, 0, "POSITIONS_LONG"),
        (-1, 9, 5, "NONE"),
        (-1, 0, 6, "POSITIONS_SHORT"),
    ],
)
def test_positions_of_a_side(side: int, longs: int, shorts: int, rule: str) -> None:
    case = Case(limits__positions__total=99)
    case.plan["side"] = side
    case.crowd["positions"], case.crowd["longs"], case.crowd["shorts"] = longs + shorts, longs, shorts
    assert case.judge()[1] == rule


@pytest.mark.parametrize(("correlation", "passes"), [(0.79, True), (0.80, True), (0.81, False), (-1.0, True)])
def test_correlation_limit(correlation: float, passes: bool) -> None:
    case = Case()
    case.crowd["correlation"] = correlation
    assert case.judge() == (PASSES if passes else ("BALANCER", "CORRELATION"))


@pytest.mark.parametrize(
    ("positions", "held", "candidate", "passes"),
    [
        (2, 9_000.0, 9_000.0, True),  # fewer than three open
        (3, 0.0, 9_000.0, True),  # the first of its sector
        (3, 1_500.0, 3_000.0, True),  # 4,500 is 30 % of 1.5 × 10,000
        (3, 1_501.0, 3_000.0, False),
    ],
)
def test_sector_share(positions: int, held: float, candidate: float, passes: bool) -> None:
    case = Case(limits__exposure__gross="inf")
    case.crowd["positions"], case.crowd["sector_notional"] = positions, held
    case.plan["notional"] = candidate
    deny_by_sector_nb(case.plan[0], case.crowd[0], EQUITY, case.params["limits"])
    assert case.verdict() == (PASSES if passes else ("BALANCER", "SECTOR_SHARE"))


def closes(*series: list[float]) -> tuple[Any, list[tuple[int, int]]]:
    """Hourly closes of several symbols in one array, and (first, end) of each."""
    table = np.zeros(sum(len(values) for values in series), close_dt)
    spans, at = [], 0
    for values in series:
        table["ts"][at : at + len(values)] = START + HOUR * (1 + np.arange(len(values)))
        table["log_return"][at : at + len(values)] = values
        spans.append((at, at + len(values)))
        at += len(values)
    return table, spans


def test_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=168), rng.normal(size=168)
    y = 0.7 * x + noise
    table, ((a, a_end), (b, b_end)) = closes(list(x), list(y))
    found = correlation_nb(table, a_end, a, b_end, b, START, 84.0)
    assert found == pytest.approx(float(np.corrcoef(x, y)[0, 1]), abs=1e-12)
    last_day = correlation_nb(table, a_end, a, b_end, b, START + 144 * HOUR, 12.0)
    assert last_day == pytest.approx(float(np.corrcoef(x[-24:], y[-24:])[0, 1]), abs=1e-12)


def test_correlation_says_nothing_about_few_or_still_returns() -> None:
    x = [0.01, -0.02, 0.03, 0.0, 0.01]
    table, ((a, a_end), (b, b_end)) = closes(x, [0.0] * 5)
    assert np.isnan(correlation_nb(table, a_end, a, b_end, b, START, 2.0)), "a symbol that does not move"
    table, ((a, a_end), (b, b_end)) = closes(x, x)
    assert np.isnan(correlation_nb(table, a_end, a, b_end, b, START, 6.0)), "fewer than half of the window's bars"
    assert correlation_nb(table, a_end, a, b_end, b, START, 5.0) == pytest.approx(1.0)


def test_correlation_takes_common_bars_only() -> None:
    table, ((a, a_end), (b, b_end)) = closes([0.01, 0.02, np.nan, 0.04, -0.05], [0.01, 0.02, 0.9, 0.04, -0.05])
    table["ts"][b_end - 2] += 1  # the fourth close of the second symbol is another instant
    found = correlation_nb(table, a_end, a, b_end, b, START, 2.0)
    assert found == pytest.approx(1.0), "rows 1, 2 and 5 are left, and they are equal"


def test_the_crowd_is_what_is_open_at_mark() -> None:
    positions, points = np.zeros(4, position_dt), np.zeros(4, point_dt)
    instruments = np.zeros(4, instrument_dt)
    instruments["sector"] = [0, 1, 0, 2]
    positions["side"] = [1, -1, 1, 0]
    positions["qty"] = [1.0, 2.0, 3.0, 9.0]
    positions["init_margin"] = [10.0, 20.0, 30.0, 90.0]
    positions["init_lots"], positions["lots"] = 4, [4, 2, 4, 4]
    points["mark"] = [100.0, 50.0, 10.0, 1.0]
    crowd = np.zeros(1, crowd_dt)
    measure_crowd_nb(crowd[0], positions, points, instruments, 2)
    row = crowd[0]
    assert (int(row["positions"]), int(row["longs"]), int(row["shorts"])) == (3, 2, 1)
    assert (row["notional"], row["initial_margin"], row["sector_notional"]) == (230.0, 50.0, 130.0)


def test_a_symbols_own_other_side_counts_in_its_sector_and_is_no_companion_of_its_direction() -> None:
    """Hedge mode: slots 0 and 1 are one symbol's long and short, slot 2 the next one's long. Slot 0 asks."""
    positions, points = np.zeros(4, position_dt), np.zeros(4, point_dt)
    positions["side"] = [0, -1, 1, 0]
    positions["qty"], positions["init_lots"], positions["lots"] = 1.0, 1, 1
    points["mark"] = 100.0
    instruments = np.zeros(4, instrument_dt)
    instruments["sector"] = [1, 1, 2, 2]
    returns = np.random.default_rng(0).normal(0, 0.01, 48)
    closes = np.zeros(96, close_dt)
    closes["ts"] = np.tile(np.arange(1, 49), 2) * HOUR
    closes["log_return"] = np.concatenate((returns, returns[::-1]))
    spans = np.zeros(4, span_dt)
    spans["first"] = [0, 0, 48, 48]
    spans["known"] = spans["end"] = [48, 48, 96, 96]
    crowd, limits = np.zeros(1, crowd_dt), params_of({"limits.correlation.window_days": 2.0})[0]["limits"]
    measure_crowd_nb(crowd[0], positions, points, instruments, 0)
    assert (int(crowd["longs"][0]), int(crowd["shorts"][0]), float(crowd["sector_notional"][0])) == (1, 1, 100.0)
    measure_correlation_nb(crowd[0], positions, closes, spans, 0, 1, 48 * HOUR, HOUR, limits)
    expected = float(np.corrcoef(returns[1:], returns[::-1][1:])[0, 1])
    assert float(crowd["correlation"][0]) == pytest.approx(expected, abs=0.1)


# Safety Governor as a gate, and the order of the gates ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "NONE"),
        ({"halted": 1}, "NO_NEW_TRADES"),
        ({"health": Health.CRITICAL}, "NO_NEW_TRADES"),
        ({"halted": 1, "defensive_until": START + 1}, "DEFENSIVE_EXIT"),
        ({"defensive_until": START + 1, "paused_until": START + 1}, "PAUSE_1H"),
        ({"paused_until": START + 1, "resume_at": START + 1}, "EMERGENCY_SHUTDOWN"),
        ({"paused_until": START, "defensive_until": START, "resume_at": START}, "NONE"),
    ],
)
def test_the_gravest_active_decision_denies(fields: dict[str, int], rule: str) -> None:
    case = Case()
    for name, value in fields.items():
        case.governor[name] = value
    assert case.judge() == (("NONE" if rule == "NONE" else "GOVERNOR"), rule)


def test_the_first_gate_that_denies_counts() -> None:
    case = Case()
    case.plan["confidence"], case.crowd["positions"] = 0.1, 20
    case.governor["halted"] = 1
    assert case.judge() == ("CONFIDENCE", "LOW_CONFIDENCE")
    case = Case(limits__positions__total=99)
    case.crowd["positions"], case.crowd["longs"], case.governor["halted"] = 6, 6, 1
    assert case.judge() == ("BALANCER", "POSITIONS_LONG")


# Risk Guard ----------------------------------------------------------------------------------------------------------

# (id, settings, crowd, balance, available, rule); the candidate: 3,000 notional, 1,000 margin
GUARDED: list[tuple[str, dict[str, Any], dict[str, float], float, float, str]] = [
    ("available_at_the_buffer", {}, {}, 10_000.0, 1_100.0, "NONE"),
    ("available_below_the_buffer", {}, {}, 10_000.0, 1_099.0, "BALANCE_BUFFER"),
    ("balance_at_the_minimum", {"limits__exposure__max": 99}, {}, 100.0, 1_100.0, "NONE"),
    ("balance_below_the_minimum", {"limits__exposure__max": 99}, {}, 99.0, 1_100.0, "BALANCE_MIN"),
    ("exposure_at_the_limit", {}, {"notional": 12_000.0}, 10_000.0, 9_000.0, "NONE"),
    ("exposure_above_the_limit", {}, {"notional": 12_001.0}, 10_000.0, 9_000.0, "EXPOSURE_MAX"),
    (
        "exposure_by_margin",
        {"limits__exposure__basis": "margin"},
        {"notional": 99_000.0, "initial_margin": 14_000.0},
        10_000.0,
        9_000.0,
        "NONE",
    ),
    (
        "exposure_by_margin_above",
        {"limits__exposure__basis": "margin"},
        {"initial_margin": 14_001.0},
        10_000.0,
        9_000.0,
        "EXPOSURE_MAX",
    ),
    ("gross_at_the_limit", {"limits__exposure__gross": 5_000}, {"notional": 2_000.0}, 10_000.0, 9_000.0, "NONE"),
    (
        "gross_above_the_limit",
        {"limits__exposure__gross": 5_000},
        {"notional": 2_001.0},
        10_000.0,
        9_000.0,
        "EXPOSURE_GROSS",
    ),
]


@pytest.mark.parametrize(
    ("settings", "crowd", "balance", "available", "rule"), [g[1:] for g in GUARDED], ids=[g[0] for g in GUARDED]
)
def test_risk_guard(
    settings: dict[str, Any], crowd: dict[str, float], balance: float, available: float, rule: str
) -> None:
    case = Case(**settings)
    for name, value in crowd.items():
        case.crowd[name] = value
    deny_by_risk_guard_nb(case.plan[0], case.crowd[0], balance, available, case.params["limits"])
    assert case.verdict() == (("NONE" if rule == "NONE" else "RISK_GUARD"), rule)


def test_the_second_pass_checks_what_accumulates() -> None:
    case = Case()
    case.crowd["positions"], case.crowd["longs"] = 6, 6
    judge_again_nb(case.plan[0], case.crowd[0], EQUITY, EQUITY, case.params)
    assert case.verdict() == ("BALANCER", "POSITIONS_LONG")
    case = Case()
    case.crowd["notional"] = 12_001.0
    judge_again_nb(case.plan[0], case.crowd[0], EQUITY, EQUITY, case.params)
    assert case.verdict() == ("RISK_GUARD", "EXPOSURE_MAX")


def test_balancer_alone_reads_the_same_limits() -> None:
    case = Case(limits__positions__total=3)
    case.crowd["positions"] = 3
    deny_by_balancer_nb(case.plan[0], case.crowd[0], case.params["limits"])
    assert case.verdict() == ("BALANCER", "POSITIONS_TOTAL")
    assert NEVER == -1


# (id, what is so, factor, factor without what only closed trades end)
REDUCTIONS: list[tuple[str, dict[str, Any], float, float]] = [
    ("half_size", {"half_size": 1}, 0.5, 1.0),
    ("probation", {"probation_left": 5}, 0.5, 1.0),
    ("probation_of_a_poor_symbol", {"probation_left": 5, "closed": 20}, 0.25, 1.0),
    ("a_good_symbol_at_half_size", {"half_size": 1, "closed": 20, "won": 1}, 0.55, 1.1),
    ("a_mode_ends_by_itself", {"losing_streak": 4}, 0.5, 0.5),
    ("a_regime_ends_by_itself", {"regime": Regime.CHOPPY}, 0.5, 0.5),
]


@pytest.mark.parametrize(("state", "factor", "unreduced"), [c[1:] for c in REDUCTIONS], ids=[c[0] for c in REDUCTIONS])
def test_size_factor_without_what_only_closed_trades_end(
    state: dict[str, Any], factor: float, unreduced: float
) -> None:
    case = Case()
    for name, value in state.items():
        record = case.plan if name == "regime" else case.governor if name in governor_dt.names else case.stats
        record[name] = value
    assert case.judge() == PASSES
    assert (case.factor(), case.unreduced()) == (pytest.approx(factor), pytest.approx(unreduced))
