"""`qtsim diff`: a session at the emulator beside backtests that differ from it in one thing each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.api import finish_backtest, open_store
from qtsim.app.backtest import BacktestOptions
from qtsim.app.gap import Gap, compare_with_run
from qtsim.app.inputs import gather_store
from qtsim.app.workspace import Workspace
from qtsim.cli.root import app
from qtsim.errors import UsageError
from qtsim.signals.loading import load_strategy
from tests.live_rehearsal import make_workspace, play_in_lockstep, resolved_of
from tests.parity.test_live_on_the_emulator import SYMBOLS, hourly_funding
from tests.unit.live.lines import frames_of

WARM_UP, TRADED = 110, 60
PERIOD = f"2024-01-01T{WARM_UP // 60:02d}:{WARM_UP % 60:02d}:00:"
BUSY = {"strategy.fast": 2, "strategy.slow": 5, "strategy.adx_min": 0}
SLIPPAGE_BPS, LATENCY_MS = 5.0, 1_500


Place = tuple[Workspace, dict[str, pd.DataFrame]]


def rehearse(root: Path, latency_ms: int) -> Place:
    """A session whose orders slip, in a workspace that backtests can be made in."""
    frames = frames_of(SYMBOLS, WARM_UP + TRADED, seed=4)
    workspace = make_workspace(root, frames, {symbol: hourly_funding(4) for symbol in SYMBOLS})
    settings = {**BUSY, "costs.slippage.bps": SLIPPAGE_BPS}
    play_in_lockstep(workspace, resolved_of(workspace, SYMBOLS, PERIOD, **settings), latency_ms=latency_ms)
    return workspace, frames


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A session whose orders are filled at once."""
    return rehearse(tmp_path_factory.mktemp("prompt"), 0)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A session whose orders meet the next price."""
    return rehearse(tmp_path_factory.mktemp("late"), LATENCY_MS)


def run_of(workspace: Workspace, **settings: Any) -> str:
    """Save a backtest of the session's period; the settings are the session's but for these."""
    values = {**BUSY, "costs.slippage.bps": SLIPPAGE_BPS, **settings}
    resolved = resolved_of(workspace, SYMBOLS, PERIOD, **values)
    store = open_store(workspace, resolved)
    strategy = load_strategy(resolved.settings.run.strategy, resolved.settings.strategy, [])
    inputs = gather_store(store, resolved.settings, SYMBOLS)
    options = BacktestOptions(fast=True, check=False)
    return finish_backtest(resolved, strategy, inputs, workspace, store=store, options=options, save=True).run_id


def gap_of(workspace: Workspace, run_id: str) -> Gap:
    """The comparison; whatever differs, nothing is left over."""
    gap = compare_with_run(workspace, "main", run_id)
    found = gap.found
    assert found.parts.total == pytest.approx(found.live - found.backtest, abs=1e-9)
    assert abs(found.parts.remainder) < 1e-9
    return gap


def test_with_latency_and_slippage_only_fill_prices_differ_and_what_follows_from_them(late: Place) -> None:
    workspace, _ = late
    found = gap_of(workspace, run_of(workspace, **{"costs.slippage.bps": 0.0})).found
    parts = found.parts
    assert found.pairs >= 3
    assert parts.fill_price != 0.0
    assert parts.signal == parts.rejects == 0.0
    assert parts.data == pytest.approx(0.0, abs=1e-9)
    first = found.lines[0]  # before anything can follow
    assert first.live
    assert first.backtest
    assert first.parts.fill_price != 0.0
    alone = [line for line in found.lines if not (line.live and line.backtest)]
    assert all(line.why and line.parts.timing for line in alone)


def test_slippage_alone_costs_the_fill_price_of_each_pair(prompt: Place) -> None:
    workspace, _ = prompt
    found = gap_of(workspace, run_of(workspace, **{"costs.slippage.bps": 0.0})).found
    assert found.pairs >= 5
    assert all(line.parts.fill_price < 0.0 for line in found.lines if line.live and line.backtest)
    assert found.parts.data == pytest.approx(0.0, abs=1e-9)


def test_beside_the_backtest_of_its_own_settings_there_is_no_gap(prompt: Place) -> None:
    workspace, _ = prompt
    found = gap_of(workspace, run_of(workspace)).found
    assert found.pairs == len(found.lines) >= 8
    assert all(part == 0.0 for part in found.parts.to_dict().values())


def test_other_fees_are_fees(prompt: Place) -> None:
    workspace, _ = prompt
    found = gap_of(workspace, run_of(workspace, **{"costs.fees.taker": 0.00055})).found
    pairs = [line for line in found.lines if line.live and line.backtest]
    assert found.parts.fees == pytest.approx(sum(line.backtest.fees - line.live.fees for line in pairs))
    assert found.parts.fees > 0.1


def test_funding_that_the_backtest_did_not_pay_is_funding(
    prompt: Place,
) -> None:
    workspace, _ = prompt
    found = gap_of(workspace, run_of(workspace, **{"costs.funding.source": "off"})).found
    assert found.parts.funding == pytest.approx(sum(line.live.funding for line in found.lines if line.live))
    assert found.parts.funding != 0.0


def test_entries_that_one_side_denied_are_rejects(prompt: Place) -> None:
    workspace, _ = prompt
    found = gap_of(workspace, run_of(workspace, **{"limits.positions.total": 1})).found
    denied = [line for line in found.lines if line.parts.rejects]
    assert denied
    assert all(line.why.startswith("backtest: ") for line in denied)


def test_another_strategy_is_another_signal(prompt: Place) -> None:
    workspace, _ = prompt
    found = gap_of(workspace, run_of(workspace, **{"strategy.slow": 12})).found
    assert any("asked for no such entry" in line.why for line in found.lines)
    assert found.parts.signal != 0.0
    assert found.parts.data == pytest.approx(0.0, abs=1e-9)


def test_revised_bars_are_data(prompt: Place) -> None:
    workspace, frames = prompt
    store = open_store(workspace, resolved_of(workspace, SYMBOLS, PERIOD))
    revised = frames["BTCUSDT"].copy()
    rows = revised.index[WARM_UP + 2 : WARM_UP + 20]
    revised.loc[rows, ["open", "high", "low", "close"]] *= 1.01
    revised = revised.round(2)
    try:
        store.write_bars("BTCUSDT", "1m", revised, source="test")
        gap = gap_of(workspace, run_of(workspace))
    finally:
        store.write_bars("BTCUSDT", "1m", frames["BTCUSDT"], source="test")
    assert gap.remarks == ("BTCUSDT: bars of the session differ from the run's",)
    assert abs(gap.found.parts.data) > 1.0


def test_the_command_prints_the_parts_and_the_largest_trades(prompt: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = prompt
    run_id = run_of(workspace, **{"costs.slippage.bps": 0.0})
    monkeypatch.chdir(workspace.root)
    shown = CliRunner().invoke(app, ["diff", "main", run_id])
    assert shown.exit_code == 0
    for word in ("fill price", "remainder", "trades on both sides", "BTCUSDT"):
        assert word in shown.output
    answer = CliRunner().invoke(app, ["diff", "main", run_id, "--json"])
    told = json.loads(answer.stdout)
    assert told["gap"] == pytest.approx(sum(told["parts"].values()))
    assert len(told["trades"]) >= told["pairs"] >= 5


def test_what_is_not_there_is_named(prompt: Place) -> None:
    workspace, _ = prompt
    with pytest.raises(UsageError, match="session other has no journal"):
        compare_with_run(workspace, "other", "last")
    with pytest.raises(UsageError, match="no run 'nonesuch'"):
        compare_with_run(workspace, "main", "nonesuch")
