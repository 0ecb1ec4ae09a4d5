"""Sweeps end to end, from Python: each trial is the backtest of its cell, whatever makes it and however often."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.app import sweep as app_sweep
from qtsim.app import sweep_plan
from qtsim.errors import QtsimError, SettingError, UsageError
from qtsim.report.sweeps import sweep_html
from qtsim.research import engine
from qtsim.research import sweep as research_sweep
from qtsim.research.experiments import open_experiments
from qtsim.research.folder import list_sweeps
from qtsim.research.statistics import superior_ability
from qtsim.research.sweep import Sweep
from qtsim.research.trials import read_trials

BARS = 500


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def market(seed: int = 1, drift: float = 0.0) -> pd.DataFrame:
    """Hourly bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(drift, 0.008, BARS)))
    opened = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range("2024-01-01", periods=BARS, freq="h", tz="UTC", name="time")
    high = np.maximum(opened, close) * (1.0 + rng.random(BARS) * 0.004)
    low = np.minimum(opened, close) * (1.0 - rng.random(BARS) * 0.004)
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": 10.0}
    return pd.DataFrame(columns, index=index)


def swept(grid: dict[str, Any] | None = None, **more: Any) -> Sweep:
    return qt.sweep(
        "sma_cross",
        {"BTCUSDT": market()},
        grid=grid or {"exit.base_tp": [0.01, 0.02, 0.03], "exit.base_sl": [0.005, 0.01, 0.02, 0.03]},
        settings={"leverage.model": "fixed", "costs.funding.source": "off"} | more.pop("settings", {}),
        mark="off",
        **more,
    )


def test_each_trial_is_the_backtest_of_its_cell() -> None:
    sweep = swept()
    frame = sweep.to_frame()
    assert len(frame) == 12
    assert frame["Trades"].max() > 5
    for cell in (0, 5, 11):
        result = sweep.run(cell)
        assert result.info.settings["exit.base_sl"] == frame["exit.base_sl"][cell]
        for name in ("Total Return", "Sharpe", "Max Drawdown", "Trades", "Fees", "Turnover"):
            assert result.metrics[name] == pytest.approx(frame[name][cell], rel=1e-9, nan_ok=True)


def test_a_trial_is_run_by_number_by_row_or_by_values() -> None:
    sweep = swept()
    digest = sweep.run(7).digest
    assert sweep.run(sweep.to_frame().loc[7]).digest == digest
    assert sweep.run(sweep.space.values(7)).digest == digest
    with pytest.raises(UsageError, match="no trial 99"):
        sweep.run(99)
    with pytest.raises(UsageError, match=r"exit\.base_tp"):
        sweep.run({"exit.base_sl": 0.01})


def test_strategy_parameters_make_their_own_signals_and_those_that_do_not_fit_are_left_out() -> None:
    sweep = swept({"strategy.fast": [5, 10, 30], "strategy.slow": [20, 40], "exit.base_tp": [0.01, 0.02]})
    assert sum(sweep.info.left_out.values()) == 2
    frame = sweep.to_frame()
    assert len(frame) == 10
    assert not ((frame["strategy.fast"] == 30) & (frame["strategy.slow"] == 20)).any()
    for cell in frame.index[[0, 4, 9]]:
        assert sweep.run(int(cell)).metrics["Total Return"] == pytest.approx(frame["Total Return"][cell], rel=1e-9)


def test_signals_are_computed_once_per_set_of_strategy_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    prepare = sweep_plan.prepare

    def counting(inputs: Any, strategy: Any, *args: Any, **more: Any) -> Any:
        asked.append((strategy.fast, strategy.slow))
        return prepare(inputs, strategy, *args, **more)

    monkeypatch.setattr(sweep_plan, "prepare", counting)
    monkeypatch.setattr(research_sweep, "has_arch", lambda: False)  # its test makes some trials again
    swept({"strategy.fast": [5, 10], "exit.base_tp": [0.01, 0.02, 0.03]})
    assert [fast for fast, _ in asked] == [5, 10]


def test_settings_that_make_the_market_are_swept_too() -> None:
    sweep = swept(
        {"costs.funding.default_rate": [0.0, 0.01], "exit.base_tp": [0.01]},
        settings={"costs.funding.source": "default"},
    )
    first, second = sweep.to_frame()["Funding"]
    assert first == 0.0
    assert second != 0.0


def test_fees_by_tier_and_the_starting_balance_are_swept() -> None:
    frame = swept({"costs.fees.tier": ["vip0", "vip9"], "account.balance": [1_000.0, 50_000.0]}).to_frame()
    cheap = frame[frame["costs.fees.tier"] == "vip9"]["Fees"].to_numpy()
    dear = frame[frame["costs.fees.tier"] == "vip0"]["Fees"].to_numpy()
    assert (cheap < dear).all()
    assert (frame["Final Equity"][frame["account.balance"] == 50_000.0] > 10_000.0).all()


def test_values_that_contradict_each_other_are_left_out() -> None:
    sweep = swept({"exit.levels.sl.min": [0.001, 0.02], "exit.levels.sl.max": [0.01, 0.03]})
    assert len(sweep.to_frame()) == 3
    (reason,) = sweep.info.left_out
    assert "exit.levels.sl" in reason


def test_equal_trials_are_recognised_and_the_clamp_is_named() -> None:
    no_feedback = {f"exit.levels.feedback.{name}": 0.0 for name in ("loss", "gain", "low_confidence")}
    sweep = swept({"exit.base_sl": [0.005, 0.01, 0.0125, 0.015, 0.02, 0.03]}, settings=no_feedback)
    assert sweep.copy_of.tolist() == [-1, -1, -1, 2, 2, 2]
    (copy,) = sweep.copies
    assert (copy.low, copy.high) == (0.0125, 0.03)
    assert copy.setting == "exit.levels.sl_safety.max_hard_share"
    said = str(sweep.summary())
    assert "3 of 6 decide and fill as another one does" in said
    assert "at 3x and feedback 1" in said
    assert "above 1.2289 % is the same" in said


def test_a_random_search_makes_cells_of_the_grid_once_each() -> None:
    sweep = swept({"exit.base_tp": qt.grid(0.005, 0.05, 50), "exit.base_sl": qt.grid(0.003, 0.012, 50)}, random=15)
    assert len(sweep.to_frame()) == 15
    assert sweep.to_frame().index.is_unique


def test_each_symbol_alone_is_the_median_over_symbols() -> None:
    data = {"BTCUSDT": market(1), "ETHUSDT": market(2), "SOLUSDT": market(3)}
    sweep = qt.sweep(
        "sma_cross",
        data,
        grid={"exit.base_tp": [0.01, 0.02]},
        settings={"costs.funding.source": "off", "regime.leader.symbol": "auto"},
        mark="off",
        each=True,
    )
    frame = sweep.to_frame()
    assert frame["symbol"].tolist() == ["BTCUSDT", "ETHUSDT", "SOLUSDT"] * 2
    assert sweep.values_of("Sharpe").tolist() == pytest.approx(frame.groupby(level=0)["Sharpe"].median().tolist())
    assert sweep.values_of("Sharpe", how="worst").tolist() == pytest.approx(
        frame.groupby(level=0)["Sharpe"].min().tolist()
    )
    assert list(sweep.by_symbol(0).index) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert "made money" in str(sweep.summary())


def test_superior_ability_of_each_symbol_alone_is_that_of_equal_stakes_in_all() -> None:
    """Day by day, over the symbols that have the day: the second begins three days later."""
    pytest.importorskip("arch")
    data = {"BTCUSDT": market(1), "ETHUSDT": market(2).iloc[72:]}
    settings = {"costs.funding.source": "off", "leverage.model": "fixed"}
    tps = [0.01, 0.02, 0.03]
    sweep = qt.sweep("sma_cross", data, grid={"exit.base_tp": tps}, settings=settings, mark="off", each=True)

    def returns(symbol: str, tp: float) -> pd.Series:
        own = {**settings, "exit.base_tp": tp}
        alone = qt.backtest("sma_cross", {symbol: data[symbol]}, settings=own, mark="off", fast=True)
        return alone.daily_returns

    means = [pd.concat([returns(symbol, tp) for symbol in data], axis=1).mean(axis=1) for tp in tps]
    stakes = pd.concat(means, axis=1).to_numpy()
    evidence = sweep.verdict.evidence
    assert len(stakes) == 21
    assert evidence.superiority_trials == 3
    assert evidence.superiority == superior_ability(stakes, sweep.info.seed).consistent
    assert "test for superior ability" not in evidence.not_computed
    assert "superior ability p = " in str(sweep.summary())


def test_the_holdout_is_never_looked_at() -> None:
    whole = market()
    sweep = swept(holdout="20240115-", timerange="20240101-20240122")
    assert sweep.info.end_ns < pd.Timestamp("2024-01-15", tz="UTC").value
    changed = whole.copy()
    late = changed.index >= pd.Timestamp("2024-01-15", tz="UTC")
    changed.loc[late, ["open", "high", "low", "close"]] *= 3.0
    other = qt.sweep(
        "sma_cross",
        {"BTCUSDT": changed},
        grid={"exit.base_tp": [0.01, 0.02, 0.03], "exit.base_sl": [0.005, 0.01, 0.02, 0.03]},
        settings={"leverage.model": "fixed", "costs.funding.source": "off"},
        mark="off",
        holdout="20240115-",
        timerange="20240101-20240122",
    )
    pd.testing.assert_frame_equal(sweep.to_frame(), other.to_frame())


def test_the_same_sweep_makes_nothing_twice(workspace: Path) -> None:
    first = swept(save=True)
    again = swept(save=True)
    assert first.made_now == 12
    assert again.made_now == 0
    assert again.path == first.path
    assert len(list_sweeps(workspace)) == 1
    pd.testing.assert_frame_equal(first.to_frame(), again.to_frame())
    assert again.verdict == first.verdict


def test_an_interrupted_sweep_goes_on_where_it_was(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 5)
    partial = swept(save=True, jobs=1)
    assert not partial.is_complete
    assert 5 <= partial.trials < 12
    assert len(partial.to_frame()) == partial.trials
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    whole = swept(save=True)
    assert whole.made_now == 12 - partial.trials
    assert whole.path is not None
    assert len(read_trials(whole.path / "trials.rows")) == 12
    pd.testing.assert_frame_equal(whole.to_frame(), swept().to_frame())


def interrupt_after(monkeypatch: pytest.MonkeyPatch, trials: int) -> None:
    """Ctrl-C once so many trials are in the sink; each is handed over on its own, and takes a moment."""
    progress = app_sweep._progress
    run = engine.TrialRunner.run

    def slow(*args: Any) -> None:
        time.sleep(0.02)
        run(*args)

    monkeypatch.setattr(engine.TrialRunner, "run", slow)
    monkeypatch.setattr(engine, "BATCH_SECONDS", 1e-9)

    def interrupting(*args: Any) -> Callable[[int], None]:
        told = progress(*args)

        def tell(done: int) -> None:
            told(done)
            if done >= trials:
                raise KeyboardInterrupt

        return tell

    monkeypatch.setattr(app_sweep, "_progress", interrupting)


@pytest.mark.parametrize("jobs", [1, 3])
def test_rows_do_not_depend_on_the_number_of_threads(workspace: Path, jobs: int) -> None:
    sweep = swept(save=True, jobs=jobs)
    assert sweep.path is not None
    rows = read_trials(sweep.path / "trials.rows")
    direct = swept(jobs=2)
    assert rows["measures"].tobytes() == direct._table["measures"][:, 0].tobytes()
    assert threading.active_count() < 10


def test_an_error_of_the_strategy_ends_the_sweep_and_keeps_what_was_made(workspace: Path) -> None:
    (workspace / "brittle.py").write_text(
        "import numpy as np\n"
        "import qtsim as qt\n\n\n"
        "class Brittle(qt.Strategy):\n"
        "    period: int = qt.param(5, low=2, high=50)\n\n"
        "    def signals(self, bars):\n"
        "        if self.period == 7:\n"
        "            raise ValueError('seven')\n"
        "        up = np.arange(len(bars.close)) % (10 * self.period) == 0\n"
        "        return qt.Signals(up, ~up & False)\n",
        encoding="utf-8",
    )
    with pytest.raises(QtsimError, match="seven"):
        qt.sweep(
            str(workspace / "brittle.py"),
            {"BTCUSDT": market()},
            grid={"strategy.period": [5, 6, 7], "exit.base_tp": [0.01, 0.02]},
            settings={"costs.funding.source": "off"},
            mark="off",
            save=True,
            jobs=1,
        )
    (entry,) = list_sweeps(workspace)
    assert entry.made == 4


def test_every_trial_is_counted_once(workspace: Path) -> None:
    swept()
    sweep = swept(save=True)
    swept({"exit.base_tp": [0.01, 0.02]})
    info = sweep.info
    with open_experiments(workspace) as store:
        found = store.trials(info.data_set, info.strategy)
    assert found.made == 12 + 2
    assert sweep.verdict.evidence.ever == 12


def test_a_single_run_is_counted_too(workspace: Path) -> None:
    for _ in range(2):
        qt.backtest("sma_cross", {"BTCUSDT": market()}, settings={"costs.funding.source": "off"}, mark="off", fast=True)
    with open_experiments(workspace) as store:
        assert store.trials("BTCUSDT 1h", "sma_cross").made == 1


def test_a_kept_sweep_is_opened_again_with_its_verdict(workspace: Path) -> None:
    sweep = swept(save=True)
    loaded = qt.load_sweep()
    assert loaded.info == sweep.info
    assert loaded.verdict == sweep.verdict
    assert loaded.recommended == sweep.recommended
    with pytest.raises(UsageError, match="frames of a notebook"):
        loaded.run(0)


def test_a_kept_sweep_of_the_store_is_run_again() -> None:
    sweep = qt.sweep("sma_cross", grid={"exit.base_tp": [0.01, 0.02]}, timerange="20240101-20240201", save=True)
    assert sweep.info.is_synthetic
    assert qt.load_sweep(sweep.info.name[:12]).run(1).digest == sweep.run(1).digest


@pytest.mark.parametrize(
    ("grid", "more", "words"),
    [
        pytest.param({}, {}, ["nothing to vary"], id="nothing"),
        pytest.param({"exit.base_tpp": [0.01]}, {}, ["exit.base_tpp", "exit.base_tp"], id="unknown_setting"),
        pytest.param({"strategy.fsat": [1]}, {}, ["fsat", "fast"], id="unknown_parameter"),
        pytest.param({"strategy.fast": [100_000]}, {}, ["fast = 100000"], id="parameter_out_of_bounds"),
        pytest.param({"exit.base_tp": [2]}, {}, ["exit.base_tp", "0.02"], id="value_out_of_range"),
        pytest.param({"run.timeframe": ["1h", "4h"]}, {}, ["run.timeframe", "leave data out"], id="bars_of_frames"),
        pytest.param(
            {"run.timerange": ["2023", "2024"]},
            {},
            ["run.timerange is no axis", "--holdout", "walkforward", "--set run.timerange=VALUE"],
            id="periods",
        ),
        pytest.param({"run.strategy": ["a", "b"]}, {}, ["run.strategy is no axis", "each one"], id="strategies"),
        pytest.param({"run.profile": ["plain"]}, {}, ["run.profile is no axis", "start from"], id="profiles"),
        pytest.param({"run.seed": [1, 2]}, {}, ["run.seed is no axis", "luck"], id="draws"),
        pytest.param({"sim.mode": ["bars", "ticks"]}, {}, ["sim.mode is no axis", "most flattering"], id="fidelity"),
        pytest.param({"data.dir": ["a", "b"]}, {}, ["data.dir is no axis", "all trials alike"], id="where_data_are"),
        pytest.param(
            {"live.session": ["a"]}, {}, ["live.session is no axis", "no backtest reads it"], id="of_a_live_session"
        ),
        pytest.param({"exit.base_tp": [0.01]}, {"metric": "Shrape"}, ["Shrape", "Sharpe"], id="unknown_metric"),
        pytest.param({"exit.base_tp": [0.01]}, {"metric": "trades"}, ["neither better"], id="metric_without_aim"),
        pytest.param({"exit.base_tp": [0.01]}, {"each": True}, ["--each", "several"], id="each_of_one"),
        pytest.param({"exit.base_tp": [0.01]}, {"random": 0}, ["--random 0"], id="random_none"),
        pytest.param({"exit.base_tp": [0.01]}, {"engine": "ray"}, ["ray", "dask"], id="unknown_engine"),
        pytest.param({"exit.base_tp": [0.01]}, {"holdout": "-20240110"}, ["begins"], id="holdout_without_start"),
        pytest.param(
            {"exit.base_tp": [0.01]},
            {"holdout": "20250101-", "timerange": "20240101-20240110"},
            ["outside the period"],
            id="holdout_outside",
        ),
        pytest.param(
            {"exit.base_tp": "0.001:0.2:x200", "exit.base_sl": "0.001:0.1:x200"},
            {},
            ["40,000 trials", "20,000", "--yes", "--random"],
            id="too_many",
        ),
        pytest.param(
            {"exit.levels.sl.min": [0.02], "exit.levels.sl.max": [0.01]}, {}, ["exit.levels.sl.min"], id="none_allowed"
        ),
    ],
)
def test_a_bad_request_is_refused(grid: dict[str, Any], more: dict[str, Any], words: list[str]) -> None:
    with pytest.raises((UsageError, SettingError)) as refused:
        qt.sweep("sma_cross", {"BTCUSDT": market()}, grid=grid, **more)
    for word in words:
        assert word in str(refused.value)


def test_a_walkforward_tests_what_its_searches_recommend_on_bars_they_have_not_seen() -> None:
    settings = {"leverage.model": "fixed", "costs.funding.source": "off"}
    grid = {"exit.base_tp": [0.01, 0.02], "exit.base_sl": [0.005, 0.01]}
    frame = {"BTCUSDT": market()}
    found = qt.walkforward("sma_cross", frame, grid=grid, train="8d", test="6d", settings=settings, mark="off")
    assert (found.is_complete, len(found.steps), found.trials) == (True, 2, 8)
    assert found.steps[0].window.train_end == pd.Timestamp("2024-01-09", tz="UTC").value
    searched = qt.sweep("sma_cross", frame, grid=grid, timerange="20240101-20240109", settings=settings, mark="off")
    assert found.steps[0].chosen == searched.recommended.values
    alone = qt.backtest(
        "sma_cross", frame, timerange="20240109-20240115", settings={**settings, **found.steps[0].chosen}, mark="off"
    )
    assert found.steps[0].tested["Total Return"] == alone.metrics["Total Return"]
    assert found.steps[0].tested["Trades"] > 0
    assert not (Path.cwd() / "walkforward").exists()


def test_a_report_says_the_cells_of_a_map_once_for_all_metrics() -> None:
    sweep = swept()
    content = json.loads(re.findall(r'type="application/json">(.*?)</script>', sweep_html(sweep), re.DOTALL)[0])
    maps = [one for one in content["figures"] if one["place"] == "map-0-median"]
    assert len(maps) == len(content["metrics"])
    assert all("customdata" not in one["figure"]["data"][0] for one in maps)
    cells = content["cells"]["map-0-median"]
    assert f"{len(cells['rows'])}, {len(cells['columns'])}" == maps[0]["figure"]["data"][0]["z"]["shape"]
    assert len(cells["copies"]) == int((~sweep.original).sum())


def test_figures_and_report_of_a_sweep(tmp_path: Path) -> None:
    sweep = swept()
    figure = sweep.heatmap("exit.base_tp", "exit.base_sl", "Total Return")
    names = [trace.name for trace in figure.data]
    assert {"copy of another trial", "recommended", "peak"} <= set(names)
    assert np.asarray(figure.data[0].z).shape == (4, 3)
    assert len(sweep.slices().data) > 0
    lines = sweep.parallel().data
    drawn = sum(np.asarray(line.x, dtype=object).tolist().count(None) for line in lines)
    assert drawn == int(sweep.original.sum())
    with pytest.raises(UsageError, match=r"did not vary exit\.base"):
        sweep.heatmap("exit.base", "exit.base_sl")
    assert figure.data[0].customdata[0][0] == "base_tp 1 %, base_sl 0.5 %"
    page = sweep.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert sweep.verdict.word in page
    assert "decide and fill as another one does" in page
    assert "http-equiv" in page


def test_a_guided_search_proposes_cells_and_goes_on_where_it_was(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    grid = {"exit.base_tp": qt.grid(0.005, 0.05, 30), "exit.base_sl": qt.grid(0.003, 0.012, 30)}
    interrupt_after(monkeypatch, 5)
    partial = swept(grid, optuna=24, save=True, jobs=1)
    assert not partial.is_complete
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    whole = swept(grid, optuna=24, save=True, jobs=1)
    assert whole.is_complete
    assert partial.trials <= whole.trials <= 24
    assert whole.made_now == whole.trials - partial.trials
    assert set(partial.cells) <= set(whole.cells)
    again = swept(grid, optuna=24, save=True, jobs=1)
    assert again.made_now == 0
    assert again.verdict == whole.verdict
    cell = int(whole.cells[0])
    assert whole.run(cell).metrics["Sharpe"] == pytest.approx(whole.to_frame()["Sharpe"][cell], rel=1e-9)


def test_a_guided_search_tells_optuna_what_is_not_allowed() -> None:
    pytest.importorskip("optuna")
    sweep = swept({"strategy.fast": [5, 10, 30], "strategy.slow": [20, 40]}, optuna=12)
    assert sweep.is_complete
    assert not ((sweep.to_frame()["strategy.fast"] == 30) & (sweep.to_frame()["strategy.slow"] == 20)).any()
    assert sweep.verdict.evidence.trials == sweep.trials <= 5
