"""A session that comes from a run says whether the strategy answers as it did there, and where not, asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.api import finish_backtest, open_store
from qtsim.app.backtest import BacktestOptions
from qtsim.app.inputs import gather_store
from qtsim.app.live import Plan, Wanted, World, plan_live, settings_digest
from qtsim.app.repeat import Repeated, open_repeat
from qtsim.errors import UsageError
from qtsim.signals.loading import load_strategy
from tests.live_rehearsal import resolved_of
from tests.live_virtual import ENDPOINT, SYMBOLS, Stage, in_virtual_time, make_stage


def run_of(stage: Stage, **overrides: Any) -> Repeated:
    """A saved backtest of the hour before the session."""
    resolved = resolved_of(
        stage.workspace,
        SYMBOLS,
        "2024-01-01T01:00:00:2024-01-01T02:00:00",
        **{"costs.funding.source": "off", **overrides},
    )
    strategy = load_strategy(resolved.settings.run.strategy, resolved.settings.strategy, [])
    store = open_store(stage.workspace, resolved)
    finish_backtest(
        resolved,
        strategy,
        gather_store(store, resolved.settings, list(SYMBOLS)),
        stage.workspace,
        store=store,
        options=BacktestOptions(fast=True, check=False),
        save=True,
    )
    return open_repeat(stage.workspace, "last")


def opened(
    stage: Stage, repeated: Repeated, monkeypatch: pytest.MonkeyPatch, mode: str, confirm: str = ""
) -> list[str]:
    """What a start from a run tells."""
    strategy = load_strategy(stage.resolved.settings.run.strategy, stage.resolved.settings.strategy, [])
    digest = settings_digest(stage.resolved, strategy, SYMBOLS, ENDPOINT)

    def plan(self: Stage, world: Any) -> Plan:
        wanted = Wanted(mode, ENDPOINT, f"{digest}{confirm}", no_alerts=True, repeated=repeated, guardian=False)
        return plan_live(stage.workspace, stage.resolved, wanted, world)

    monkeypatch.setattr(Stage, "plan", plan)
    stage.exchange.advance(stage.events[0])

    async def start() -> None:
        session, running = await stage.open()
        await asyncio.sleep(1.0)
        await stage.close(session, running)

    stage.told.clear()
    in_virtual_time(stage, start)
    return stage.told


def test_the_same_strategy_on_the_same_bars_answers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage(tmp_path)
    repeated = run_of(stage)
    told = opened(stage, repeated, monkeypatch, "live")
    assert f"signals: the same as {repeated.run_id}'s on 120 bars" in told


def test_what_the_run_came_to_is_said_after_costs(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    repeated = run_of(stage)
    totals = repeated.totals
    assert totals is not None
    wanted = Wanted("paper", ENDPOINT, repeated=repeated)
    plan = plan_live(stage.workspace, stage.resolved, wanted, World(environ={}))
    (line,) = [line for line in plan.lines if "came to" in line]
    assert f"{totals.equity - totals.initial_balance:+,.2f} on {totals.initial_balance:,.2f}" in line
    assert f"fees {totals.fees:,.2f}" in line


def test_other_signals_are_traded_only_once_they_are_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage(tmp_path)
    repeated = run_of(stage, **{"strategy.fast": 4})
    with pytest.raises(UsageError, match=r"bars differ from .*; first .*--confirm [0-9a-f]{12}\+[0-9a-f]{6}") as caught:
        opened(stage, repeated, monkeypatch, "live")
    confirmed = str(caught.value).rpartition("+")[2]
    with pytest.raises(UsageError, match="to trade all the same"):
        opened(stage, repeated, monkeypatch, "live", "+000000")
    told = opened(stage, repeated, monkeypatch, "live", f"+{confirmed}")
    assert any("bars differ from" in line for line in told)


def test_a_mode_that_risks_nothing_only_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage(tmp_path)
    told = opened(stage, run_of(stage, **{"strategy.fast": 4}), monkeypatch, "paper")
    assert any("bars differ from" in line for line in told)


@pytest.mark.parametrize("kept", [True, False])
def test_what_cannot_be_compared_is_said(tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage(tmp_path)
    repeated = run_of(stage)
    assert repeated.signals is not None
    repeated = replace(repeated, signals=repeated.signals.iloc[:0] if kept else None)
    told = opened(stage, repeated, monkeypatch, "paper")
    assert any(("nothing to compare" if kept else "kept none") in line for line in told)
