"""Each part off in turn: its row is a run with those settings, and those settings do switch the part off."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qtsim as qt
from qtsim.app.ablation import (
    EXIT,
    EXPOSURE_TOP,
    PARTS,
    Part,
    changes_market,
    plan_ablation,
    settings_without,
)
from qtsim.app.api import finish_backtest, open_store
from qtsim.app.backtest import BacktestOptions
from qtsim.app.inputs import gather_frames
from qtsim.app.workspace import find_workspace, settings_of
from qtsim.config.layers import resolve
from qtsim.config.settings import INF, PROFILES, Settings, keys
from qtsim.results.ablation import INTERRUPTED, ablation_rows
from qtsim.results.reach import denied_by_gate
from qtsim.results.result import Result
from qtsim.results.run_folder import load_run
from qtsim.signals.loading import load_strategy

BUSY: dict[str, Any] = {
    "run.timerange": "20240801-20241201",
    "governor.hourly.loss": 0.0015,
    "governor.streak.losses": 2,
    "governor.shutdown.drawdown": 0.02,
    "governor.daily_drawdown": 0.012,
    "orchestrator.defensive.daily_drawdown": 0.002,
    "orchestrator.critical.daily_drawdown": 0.008,
    "orchestrator.symbol.disable_losses": 4,
    "limits.positions.long": 1,
    "limits.correlation.max": 0.3,
    "exit.stops.breakeven.activate": 0.004,
    "exit.replan": "bar",
    "entry.cooldown_bars": 6,
}
"""Settings under which most parts have something to do within four months."""
POLICIES: dict[str, dict[str, Any]] = {
    "bracket": {"exit.policy": "bracket", "exit.on_opposite_signal": "reverse"},
    "legacy": {"exit.policy": "legacy"},
    "profit_lock": {"exit.policy": "profit_lock", "leverage.model": "fixed", "leverage.fixed": 20.0,
                    "limits.per_trade.leverage": 20.0},
}  # fmt: skip
FIGURES = ("total_return", "max_drawdown", "trades", "denials")


@cache
def sample(symbol: str) -> pd.DataFrame:
    frame = qt.load_bars(symbol, "1h", sample=True)
    assert isinstance(frame, pd.DataFrame)
    return frame


def run_with(settings: Mapping[str, Any], symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT"), **more: Any) -> Result:
    frames = {symbol: sample(symbol) for symbol in symbols}
    return qt.backtest("rsi_reversal", frames, settings=settings, fast=True, check=False, **more)


@pytest.fixture(scope="module")
def busy() -> Result:
    return run_with(BUSY, ablate=True)


def settings_from(overrides: Mapping[str, Any], profile: str | None = None) -> Settings:
    return resolve(profile=profile, environ={}, overrides=overrides).settings


def part_of(name: str) -> Part:
    (part,) = (part for part in PARTS if part.name == name)
    return part


def figures_of(result: Result) -> tuple[float, float, int, int]:
    denied = sum(one.count for one in denied_by_gate(result.denials))
    return result.metrics["Total Return"], result.metrics["Max Drawdown"], len(result.trades), denied


# The table of parts --------------------------------------------------------------------------------------------------


def test_every_part_has_a_name_of_its_own_and_settings_that_exist() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    for part in PARTS:
        paths = {*part.off_for(Settings()), *(path for path, _ in part.needs)}
        assert paths, part.name
        assert paths <= set(keys()), part.name


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("policy", ["exit_brain", "bracket", "legacy", "profit_lock"])
def test_every_part_can_be_switched_off_and_named(profile: str, policy: str) -> None:
    """What is off may be written in a settings file too: the command line takes it, and the two are the same."""
    overrides = {"exit.policy": policy}
    settings = settings_from(overrides, profile)
    for part in PARTS:
        assert settings_without(part, settings) == settings_from(overrides | dict(part.off_for(settings)), profile)
    plan = plan_ablation(settings, slots=4, leader_known=True)
    assert {part.name for part, _ in plan.runs} | set(plan.left_out) == {part.name for part in PARTS}
    assert not {part.name for part, _ in plan.runs} & set(plan.left_out)


def test_a_part_that_does_not_act_is_left_out_by_its_reason() -> None:
    plain = plan_ablation(settings_from({}, "plain"), slots=4, leader_known=True).left_out
    assert plain["ratchet"] == 'exit.policy is "bracket"'
    assert plain["PAUSE_1H"] == "gates.enabled is false"
    assert plain["stop of bracket"] == plain["leverage cap"] == plain["all gates and the governor"] == "off in this run"
    alone = plan_ablation(Settings(), slots=1, leader_known=False).left_out
    assert alone["global regime"] == "no data of the leader"
    assert alone["correlation limit"] == "acts from 2 positions at one time, of which this run can have 1"
    assert alone["breakeven"] == "off in this run"
    still = plan_ablation(settings_from({"exit.levels.adaptive": False}), slots=4, leader_known=True).left_out
    assert still["feedback of recent trades"] == "exit.levels.adaptive is false"


def test_the_sector_keeps_its_amount_without_the_exposure_limit() -> None:
    part = part_of("exposure limit")
    limits = settings_without(part, settings_from({"limits.exposure.max": 2.0, "limits.sector_share": 0.25})).limits
    assert limits.exposure.max == EXPOSURE_TOP
    assert limits.sector_share * limits.exposure.max == pytest.approx(0.5, rel=1e-12)
    assert part.off_for(settings_from({"limits.exposure.max": INF})) == {}


def test_only_the_global_regime_asks_for_other_signals() -> None:
    settings = Settings()
    plan = plan_ablation(settings, slots=6, leader_known=True)
    assert [part.name for part, changed in plan.runs if changes_market(settings, changed)] == ["global regime"]


# Rows ----------------------------------------------------------------------------------------------------------------


def assert_rows_are_runs(result: Result, overrides: dict[str, Any], names: set[str], **more: Any) -> None:
    """Each named row is what a run of its own gives, to the last digit."""
    settings = settings_from(overrides)
    base = figures_of(result)
    rows = {row.part: row for row in ablation_rows(result.ablation)}
    assert names <= set(rows)
    for name in names:
        alone, row = run_with(overrides | dict(part_of(name).off_for(settings)), **more), rows[name]
        assert tuple(getattr(row, figure) for figure in FIGURES) == figures_of(alone), name
        assert row.return_change_pp == 100.0 * (row.total_return - base[0])
        assert row.drawdown_change_pp == 100.0 * (row.max_drawdown - base[1])
        assert row.same == (alone.digest == result.digest), name


def test_each_row_is_a_run_with_those_settings(busy: Result) -> None:
    assert len(busy.trades) > 30
    names = {str(name) for name in busy.ablation["part"]}
    assert len(names) > 40
    assert not busy.ablation["same"].all()
    assert busy.ablation["same"].any()
    assert_rows_are_runs(busy, BUSY, names)


@pytest.mark.parametrize("policy", POLICIES)
def test_rows_of_the_other_policies_are_runs_too(policy: str) -> None:
    overrides = {"run.timerange": "20240801-20241001", **POLICIES[policy]}
    result = run_with(overrides, ("BTCUSDT",), ablate=True)
    names = {row.part for row in ablation_rows(result.ablation) if row.group == EXIT}
    own = {part.name for part in PARTS if part.needs and part.needs[0] == ("exit.policy", (policy,))}
    assert own
    assert own <= names
    assert_rows_are_runs(result, overrides, names, symbols=("BTCUSDT",))


def test_the_part_that_would_be_missed_most_comes_first(busy: Result) -> None:
    assert list(busy.ablation["return_change_pp"]) == sorted(busy.ablation["return_change_pp"])


def test_the_run_itself_is_as_without_an_ablation(busy: Result) -> None:
    alone = run_with(BUSY)
    assert alone.digest == busy.digest
    assert alone.warnings == busy.warnings
    assert not alone.has_ablation


def reasons(result: Result) -> set[str]:
    """Everything that ended, moved or refused something."""
    governor = result.governor["decision"]
    return {*result.fills["reason"], *result.decisions["reason"], *result.denials["rule"], *governor}


MONTHS = {"run.timerange": "20240801-20241201"}
FREE = {**MONTHS, "gates.enabled": False}
NEAR = {**FREE, "exit.stops.trail.mode": "off", "exit.base_tp": 0.005}
GATED = {**MONTHS, "orchestrator.min_confidence.choppy": 0.0}
CROWDED = {**MONTHS, "limits.positions.long": 1}
OFF: dict[str, tuple[dict[str, Any], set[str]]] = {
    "trail": (FREE, {"trail"}),
    "ratchet": (NEAR, {"ratchet"}),
    "breakeven": ({**FREE, "exit.stops.breakeven.activate": 0.004}, {"breakeven"}),
    "replanning": ({**FREE, "exit.replan": "bar"}, {"replan"}),
    "tightening on CHOPPY": (FREE, {"regime"}),
    "crash guard": (FREE, {"crash"}),
    "half close of legacy": ({**FREE, "exit.policy": "legacy", "exit.legacy.half_close": 0.01}, {"tp1"}),
    "trail of legacy": ({**FREE, "exit.policy": "legacy"}, {"trail"}),
    "ladder of profit_lock": ({**FREE, **POLICIES["profit_lock"]}, {"trail"}),
    "breakeven of profit_lock": ({**FREE, **POLICIES["profit_lock"]}, {"breakeven"}),
    "legs of profit_lock": ({**FREE, **POLICIES["profit_lock"]}, {"tp1", "tp2"}),
    "stop of bracket": ({**FREE, "exit.policy": "bracket"}, {"stop"}),
    "target of bracket": ({**FREE, "exit.policy": "bracket"}, {"tp1"}),
    "loss guard": ({**FREE, "exit.guard.loss.max": 0.01}, {"loss_guard"}),
    "margin emergency": ({**FREE, "exit.guard.loss.emergency_margin": 0.03}, {"margin_emergency"}),
    "cooldown": ({**FREE, "entry.cooldown_bars": 24}, {"cooldown"}),
    "confidence filter": ({**MONTHS, "entry.confidence.min": 0.6}, {"confidence"}),
    "minimum in CHOPPY": (MONTHS, {"CHOPPY"}),
    "symbol performance": ({**GATED, "orchestrator.symbol.disable_losses": 2}, {"symbol disabled"}),
    "position limits": (CROWDED, {"open longs"}),
    "correlation limit": (GATED, {"correlation"}),
    "NO_NEW_TRADES": ({**GATED, "governor.daily_drawdown": 0.003}, {"NO_NEW_TRADES"}),
    "PAUSE_1H": ({**GATED, "governor.hourly.loss": 0.001}, {"PAUSE_1H"}),
    "DEFENSIVE_EXIT": ({**GATED, "governor.streak.losses": 1}, {"DEFENSIVE_EXIT"}),
    "EMERGENCY_SHUTDOWN": ({**MONTHS, "governor.shutdown.drawdown": 0.004}, {"EMERGENCY_SHUTDOWN"}),
}
"""Part -> (settings under which it acts, what only it causes)."""
CROWD = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@pytest.mark.parametrize("name", OFF)
def test_what_a_part_causes_does_not_happen_without_it(name: str) -> None:
    overrides, caused = OFF[name]
    off = dict(part_of(name).off_for(settings_from(overrides)))
    assert caused <= reasons(run_with(overrides, CROWD))
    assert not caused & reasons(run_with(overrides | off, CROWD))


def test_no_opposite_signal_closes_without_that_part() -> None:
    overrides = {**FREE, "exit.on_opposite_signal": "reverse"}
    runs = [
        qt.backtest("ema_cross", {"BTCUSDT": sample("BTCUSDT")}, settings=settings, fast=True, check=False)
        for settings in (overrides, overrides | dict(part_of("exits on opposite signals").off_for(Settings())))
    ]
    assert ["reverse" in reasons(run) for run in runs] == [True, False]


def test_without_harvesting_the_third_target_closes_all() -> None:
    off = dict(part_of("harvesting").off_for(settings_from(NEAR)))
    fills = run_with(NEAR | off | {"exit.stops.ratchet.preset": "off"}).fills
    exits = fills[fills["kind"] != "entry"]
    assert {"tp3"} == {reason for reason in exits["reason"] if str(reason).startswith("tp")}
    opened = fills[fills["kind"] == "entry"].set_index("trade_id")["qty"]
    legs = exits[exits["reason"] == "tp3"].set_index("trade_id")["qty"]
    assert len(legs) > 1
    assert (legs == opened[legs.index]).all()


# Kept, interrupted ---------------------------------------------------------------------------------------------------


def test_a_saved_run_keeps_its_ablation(busy: Result, tmp_path: Path) -> None:
    read = load_run(busy.save(tmp_path))
    pd.testing.assert_frame_equal(read.ablation, busy.ablation)
    assert read.ablation_left_out == busy.ablation_left_out
    assert read.has_ablation


def interrupted_at(place: str, tmp_path: Path) -> Result:
    """A saved run during whose ablation Ctrl-C was pressed."""

    def stage(what: str, done: int, total: int) -> None:
        if what.startswith("with") and place in what:
            raise KeyboardInterrupt

    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    workspace = find_workspace(tmp_path)
    resolved = settings_of(workspace, overrides={"run.timerange": "20240801-20240901"})
    return finish_backtest(
        resolved,
        load_strategy("rsi_reversal", {}, []),
        gather_frames({"BTCUSDT": sample("BTCUSDT")}, resolved.settings, timeframe="1h"),
        workspace,
        store=open_store(workspace, resolved),
        options=BacktestOptions(ablate=True, check=False),
        save=True,
        stage=stage,
    )


def test_ctrl_c_keeps_the_run_and_the_parts_so_far(tmp_path: Path) -> None:
    result = interrupted_at("(4 of", tmp_path)
    assert len(result.ablation) == 3
    missing = [part for part, reason in result.ablation_left_out.items() if reason == INTERRUPTED]
    assert len(missing) > 20
    assert not set(missing) & set(result.ablation["part"])
    assert result.optimism
    assert f"the ablation was interrupted after 3 of {3 + len(missing)} parts" in result.warnings
    assert result.path is not None
    read = load_run(result.path)
    assert read.digest == result.digest
    assert len(read.ablation) == 3
    assert (result.path / "report.html").exists()


def test_ctrl_c_before_the_first_part_keeps_the_run(tmp_path: Path) -> None:
    result = interrupted_at("every part", tmp_path)
    assert len(result.ablation) == 0
    assert INTERRUPTED in result.ablation_left_out.values()
    assert result.path is not None
