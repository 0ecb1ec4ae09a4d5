"""Sweeps over timeframes and symbols: other data for each value, read once, and counted where they belong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.app import sweep_plan, sweep_trades
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.errors import DataError, UsageError
from qtsim.report.sweeps import sweep_html
from qtsim.research import sweep as research_sweep
from qtsim.research.experiments import open_experiments
from qtsim.research.metrics import NAMES
from qtsim.research.sweep import Sweep
from tests.properties.test_trials import NOT_OF_A_RUN
from tests.unit.app.test_sweep import interrupt_after
from tests.unit.app.test_trades import DAY, QUIET, START, TICKS, made_trades

HOURS = 1_200
SETTINGS = {"leverage.model": "fixed", "costs.funding.source": "off", "data.mark_price": "off"}
TP = {"exit.base_tp": [0.01, 0.03]}


def walk(seed: int, hours: int = HOURS, start: str = "2024-01-01") -> pd.DataFrame:
    """Hourly bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.008, hours)))
    opened = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range(start, periods=hours, freq="h", tz="UTC", name="time").as_unit("ns")
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": 10.0}
    return pd.DataFrame(columns, index=index)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A workspace with hourly bars of three symbols, the last of which begins ten days later."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    store = Store(tmp_path / "data")
    store.write_bars("BTCUSDT", "1h", walk(1), source="made for the test")
    store.write_bars("ETHUSDT", "1h", walk(2), source="made for the test")
    store.write_bars("SOLUSDT", "1h", walk(3, HOURS - 240, "2024-01-11"), source="made for the test")
    return store


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the test for superior ability, which makes some trials again."""
    monkeypatch.setattr(research_sweep, "has_arch", lambda: False)


def swept(grid: dict[str, Any], **more: Any) -> Sweep:
    settings = SETTINGS | more.pop("settings", {})
    return qt.sweep("sma_cross", grid=grid | TP, settings=settings, check=False, **more)


def alone(sweep: Sweep, cell: int, **more: Any) -> qt.Result:
    """The backtest of a cell, asked for as a user would."""
    values = sweep.space.values(cell)
    symbols, timeframe = values.pop("run.symbols", ("BTCUSDT",)), values.pop("run.timeframe", "1h")
    settings = {**SETTINGS, **values}
    return qt.backtest(
        "sma_cross", symbols=list(symbols), timeframe=timeframe, settings=settings, check=False, fast=True, **more
    )


def assert_rows_are_backtests(sweep: Sweep) -> None:
    for cell in sweep.cells.tolist():
        (row,) = sweep.by_symbol(cell).to_dict("records")
        single, again = alone(sweep, cell), sweep.run(cell)
        assert single.digest == again.digest
        for name in NAMES.values():
            if name not in NOT_OF_A_RUN:
                assert row[name] == pytest.approx(single.metrics[name], rel=1e-9, abs=1e-12, nan_ok=True), name


def test_each_timeframe_is_the_backtest_in_it() -> None:
    sweep = swept({"run.timeframe": ["4h", "1h", "120m"]}, symbols="BTCUSDT")
    assert sweep.space.axes[0].values == ("1h", "2h", "4h"), "by length, each by its one name"
    assert sweep.info.timeframe == "1h, 2h, 4h"
    assert sweep.info.bars == {"BTCUSDT 1h": 1200, "BTCUSDT 2h": 600, "BTCUSDT 4h": 300}
    assert len(set(sweep.values_of("Final Equity"))) == 6
    assert [sweep.timeframe_of(cell) for cell in range(6)] == ["1h", "1h", "2h", "2h", "4h", "4h"]
    assert_rows_are_backtests(sweep)


def test_each_set_of_symbols_is_the_backtest_of_one_account() -> None:
    sweep = swept({"run.symbols": ["BTCUSDT", "eth-usdt+BTC/USDT", ["SOLUSDT"]]}, timeframe="1h")
    assert sweep.space.axes[0].values == (("BTCUSDT",), ("BTCUSDT", "ETHUSDT"), ("SOLUSDT",)), "in the order given"
    assert sweep.info.symbols == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert sweep.symbols_of(3) == ["BTCUSDT", "ETHUSDT"]
    assert_rows_are_backtests(sweep)
    assert "symbols BTCUSDT+ETHUSDT" in str(sweep.summary()) + sweep_html(sweep)


def test_both_at_once_and_beside_a_parameter_of_the_strategy(unjudged: None) -> None:
    grid = {"strategy.fast": [5, 10], "run.symbols": "BTCUSDT,ETHUSDT", "run.timeframe": "1h,4h"}
    sweep = swept(grid)
    assert len(sweep.cells) == 16
    assert len(sweep.info.subjects) == 4
    for cell in (1, 6, 15):
        result = alone(sweep, cell, **{})
        assert sweep.run(cell).digest == result.digest
        assert sweep.values_of("Final Equity")[cell] == result.metrics["Final Equity"]


def test_all_is_a_set_of_symbols(unjudged: None) -> None:
    sweep = swept({"run.symbols": ["all", "ETHUSDT"]}, timeframe="1h")
    assert sweep.symbols_of(0) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_data_are_read_once_and_signals_computed_once(monkeypatch: pytest.MonkeyPatch, unjudged: None) -> None:
    read: list[tuple[str, ...]] = []
    asked: list[tuple[str, int]] = []
    gather_store, prepare = qt.app.api.gather_store, sweep_plan.prepare

    def reading(store: Store, settings: Any, symbols: Any) -> Any:
        read.append((settings.run.timeframe, *symbols))
        return gather_store(store, settings, symbols)

    def asking(inputs: Any, strategy: Any, *args: Any, **more: Any) -> Any:
        asked.append((inputs.timeframe, strategy.fast))
        return prepare(inputs, strategy, *args, **more)

    monkeypatch.setattr("qtsim.app.api.gather_store", reading)
    monkeypatch.setattr(sweep_plan, "prepare", asking)
    swept({"run.timeframe": ["1h", "4h"], "strategy.fast": [5, 10]}, symbols="BTCUSDT")
    assert sorted(read) == [("1h", "BTCUSDT"), ("4h", "BTCUSDT")]
    assert sorted(asked) == [("1h", 5), ("1h", 10), ("4h", 5), ("4h", 10)]


def test_trials_are_counted_under_the_data_set_that_they_were_made_on(tmp_path: Path) -> None:
    alone_first = swept({"exit.base_sl": [0.01]}, symbols="BTCUSDT", timeframe="4h")
    sweep = swept({"run.timeframe": ["1h", "4h"]}, symbols="BTCUSDT", save=True)
    swept({"run.timeframe": ["1h", "4h"]}, symbols="BTCUSDT", save=True)
    assert sweep.info.data_sets == ["BTCUSDT 1h", "BTCUSDT 4h"]
    assert alone_first.verdict.evidence.ever == 2
    assert sweep.verdict.evidence.ever == 4 + 2, "all of both data sets, so of the one before too"
    with open_experiments(tmp_path) as experiments:
        assert experiments.trials("BTCUSDT 1h", "sma_cross").made == 2
        assert experiments.trials("BTCUSDT 4h", "sma_cross").made == 2 + 2
        (entry,) = experiments.entries("sweep")
    assert entry.data_set == "BTCUSDT 1h, BTCUSDT 4h"
    assert {"BTCUSDT", "BTCUSDT (BTCUSDT 4h)"} <= set(entry.passport)
    assert "on BTCUSDT 1h, BTCUSDT 4h so far" in str(sweep.summary())


def test_a_kept_sweep_is_opened_and_run_again() -> None:
    sweep = swept({"run.timeframe": ["1h", "4h"], "run.symbols": ["BTCUSDT", "ETHUSDT+SOLUSDT"]}, save=True)
    loaded = qt.load_sweep()
    assert loaded.info == sweep.info
    assert loaded.verdict == sweep.verdict
    assert loaded.recommended == sweep.recommended
    for cell in (0, 7):
        assert loaded.run(cell).digest == alone(sweep, cell).digest
    row = loaded.to_frame().loc[7]
    assert (row["run.timeframe"], row["run.symbols"]) == ("4h", ("ETHUSDT", "SOLUSDT"))
    assert loaded.run(row).digest == alone(sweep, 7).digest


def test_an_interrupted_sweep_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unjudged: None
) -> None:
    grid = {"run.timeframe": ["1h", "2h", "4h"], "exit.base_sl": [0.005, 0.01]}
    interrupt_after(monkeypatch, 5)
    partial = swept(grid, symbols="BTCUSDT", save=True, jobs=1)
    assert 5 <= partial.trials < 12
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    whole = swept(grid, symbols="BTCUSDT", save=True)
    assert whole.made_now == 12 - partial.trials
    pd.testing.assert_frame_equal(whole.to_frame(), swept(grid, symbols="BTCUSDT").to_frame())
    with open_experiments(tmp_path) as experiments:
        assert experiments.trials("BTCUSDT 2h", "sma_cross").made == 4


def test_the_holdout_is_never_looked_at(store: Store, unjudged: None) -> None:
    grid = {"run.timeframe": ["1h", "4h"]}
    before = swept(grid, symbols="BTCUSDT", timerange="20240101-20240220", holdout="20240205-")
    for subject in before.info.subjects:
        assert subject["end_ns"] < pd.Timestamp("2024-02-05", tz="UTC").value
    changed = walk(1)
    changed.loc["2024-02-05":, ["open", "high", "low", "close"]] *= 2.0
    store.write_bars("BTCUSDT", "1h", changed, source="made for the test")
    after = swept(grid, symbols="BTCUSDT", timerange="20240101-20240220", holdout="20240205-")
    pd.testing.assert_frame_equal(before.to_frame(), after.to_frame())


def test_random_and_guided_searches(unjudged: None) -> None:
    grid = {"run.timeframe": ["1h", "2h", "4h"], "run.symbols": ["BTCUSDT", "ETHUSDT"]}
    whole = swept(grid).to_frame()
    drawn = swept(grid, random=5)
    assert drawn.to_frame().equals(whole.loc[drawn.cells])
    pytest.importorskip("optuna")
    guided = swept(grid, optuna=6)
    assert guided.is_complete
    assert guided.to_frame().equals(whole.loc[guided.cells])


def test_each_symbol_alone_in_each_timeframe(unjudged: None) -> None:
    sweep = swept({"run.timeframe": ["1h", "4h"]}, symbols=["BTCUSDT", "ETHUSDT"], each=True)
    frame = sweep.to_frame()
    assert frame["symbol"].tolist() == ["BTCUSDT", "ETHUSDT"] * 4
    single = qt.backtest(
        "sma_cross", symbols="ETHUSDT", timeframe="4h", settings={**SETTINGS, "exit.base_tp": 0.03}, check=False
    )
    assert sweep.by_symbol(3).loc["ETHUSDT"]["Final Equity"] == single.metrics["Final Equity"]


def test_symbols_of_frames_are_swept(unjudged: None) -> None:
    frames = {"BTCUSDT": walk(1), "ETHUSDT": walk(2)}
    sweep = qt.sweep(
        "sma_cross",
        frames,
        grid={"run.symbols": ["ETHUSDT", "BTCUSDT+ETHUSDT"], **TP},
        settings=SETTINGS,
        instruments={"BTCUSDT": {"tick": 0.01}},
        check=False,
    )
    for cell in (1, 3):
        values = sweep.space.values(cell)
        own = {symbol: frames[symbol] for symbol in values.pop("run.symbols")}
        rules = {name: {"tick": 0.01} for name in own if name == "BTCUSDT"}
        single = qt.backtest("sma_cross", own, settings={**SETTINGS, **values}, instruments=rules, check=False)
        assert sweep.values_of("Final Equity")[cell] == single.metrics["Final Equity"]
        assert sweep.run(cell).digest == single.digest


def test_timeframes_have_an_order_and_symbols_have_none() -> None:
    sweep = swept({"run.timeframe": ["1h", "2h", "4h"], "run.symbols": ["SOLUSDT", "BTCUSDT"]})
    figure = sweep.heatmap("run.timeframe", "run.symbols", "Total Return")
    assert list(figure.layout.xaxis.ticktext) == ["1h", "2h", "4h"]
    assert list(figure.layout.yaxis.ticktext) == ["SOLUSDT", "BTCUSDT"]
    assert sweep.plateau is not None
    assert set(sweep.plateau.counts.tolist()) == {2 * 2, 3 * 2}, "timeframes and base_tp have neighbours"
    at = sweep.space.indices(sweep.cells[sweep.plateau.members])
    assert len(set(at[:, 1])) == 1, "a plateau does not go from one symbol to another"


def test_stretches_of_different_days_are_not_compared() -> None:
    """The third symbol begins ten days later."""
    same = swept({"run.symbols": ["BTCUSDT", "ETHUSDT"]}, timeframe="1h").verdict.evidence
    assert not math.isnan(same.overfitting)
    other = swept({"run.symbols": ["BTCUSDT", "SOLUSDT"]}, timeframe="1h").verdict.evidence
    assert math.isnan(other.overfitting)
    assert other.not_computed["probability of overfitting"] == "the trials cover different days"
    assert other.independent == other.different == 4
    assert not math.isnan(other.superiority), "an account that has not begun holds cash"


def test_values_that_one_timeframe_does_not_allow_are_left_out_there(unjudged: None) -> None:
    """A hundred looks a second are too many in four hours, and not in one."""
    sweep = swept(
        {"run.timeframe": ["1h", "4h"], "exit.check_interval_s": [0.01, 60.0]},
        symbols="BTCUSDT",
        timerange="20240101-20240108",
        settings={"exit.monitoring": "interval"},
    )
    frame = sweep.to_frame()
    assert not ((frame["run.timeframe"] == "4h") & (frame["exit.check_interval_s"] == 0.01)).any()
    assert len(frame) == 6
    assert sum(sweep.info.left_out.values()) == 2


def test_trades_are_joined_once_for_each_timeframe(
    store: Store, monkeypatch: pytest.MonkeyPatch, unjudged: None
) -> None:
    ticks = TickStore.beside(store)
    for symbol, seed in (("BTCUSDT", 1), ("ETHUSDT", 2)):
        for day in range(2):
            ticks.write_trades_day(symbol, START + day * DAY, made_trades(day, seed + day), source="made for the test")
    written: list[int] = []
    write = sweep_trades.write_trades

    def counting(*args: Any) -> Any:
        file = write(*args)
        written.append(file.trades)
        return file

    monkeypatch.setattr(sweep_trades, "write_trades", counting)
    grid = {"run.timeframe": ["15m", "30m"], "run.symbols": ["BTCUSDT", "BTCUSDT+ETHUSDT"]}
    settings = {**TICKS, **QUIET, "costs.funding.source": "off"}
    sweep = swept(grid, settings=settings)
    assert sorted(written) == [12_000, 12_000, 24_000, 24_000]
    for cell in (0, 7):
        values = sweep.space.values(cell)
        symbols, timeframe = values.pop("run.symbols"), values.pop("run.timeframe")
        single = qt.backtest(
            "sma_cross",
            symbols=list(symbols),
            timeframe=timeframe,
            settings={**SETTINGS, **settings, **values},
            check=False,
        )
        assert single.metrics["Trades"] > 0
        assert sweep.values_of("Final Equity")[cell] == single.metrics["Final Equity"]


def test_rows_of_a_cluster_are_those_of_this_machine(unjudged: None) -> None:
    pytest.importorskip("distributed")
    grid = {"run.timeframe": ["1h", "4h"], "run.symbols": ["BTCUSDT", "ETHUSDT"]}
    assert swept(grid, engine="dask", jobs=1)._table.tobytes() == swept(grid)._table.tobytes()


def test_a_walkforward_chooses_its_timeframe() -> None:
    found = qt.walkforward(
        "sma_cross",
        symbols="BTCUSDT",
        grid={"run.timeframe": ["1h", "4h"], **TP},
        settings=SETTINGS,
        train="20d",
        test="10d",
        check=False,
    )
    assert found.is_complete
    assert found.title == "sma_cross on BTCUSDT in the chosen timeframe"
    step = found.steps[0]
    assert step.chosen is not None
    values = dict(step.chosen)
    single = qt.backtest(
        "sma_cross",
        symbols="BTCUSDT",
        timeframe=values.pop("run.timeframe"),
        timerange="20240121-20240131",
        settings={**SETTINGS, **values},
        check=False,
    )
    assert step.tested["Total Return"] == single.metrics["Total Return"]


@pytest.mark.parametrize(
    ("grid", "more", "words"),
    [
        pytest.param({"run.timeframe": ["1h", "1x"]}, {}, ["run.timeframe", "1x", "15m"], id="no_timeframe"),
        pytest.param({"run.timeframe": ["1h", "60m"]}, {}, ["run.timeframe", "given twice"], id="one_twice"),
        pytest.param({"run.timeframe": ["5m", "1h"]}, {}, ["BTCUSDT", "5m"], id="finer_than_the_store"),
        pytest.param({"run.symbols": ["BTCUSDT", "XYZUSDT"]}, {}, ["XYZUSDT"], id="unknown_symbol"),
        pytest.param({"run.symbols": ["BTCUSDT", "BTC/USDT"]}, {}, ["run.symbols", "given twice"], id="symbol_twice"),
        pytest.param(
            {"run.symbols": ["BTCUSDT", "ETHUSDT"]}, {"each": True}, ["--each", "run.symbols"], id="each_and_symbols"
        ),
        pytest.param(
            {"run.symbols": ["BTCUSDT", "ETHUSDT"]},
            {"instruments": {"SOLUSDT": {"tick": 0.1}}},
            ["instrument SOLUSDT", "BTCUSDT, ETHUSDT"],
            id="instrument_of_none",
        ),
    ],
)
def test_a_bad_request_is_refused(grid: dict[str, Any], more: dict[str, Any], words: list[str]) -> None:
    with pytest.raises((UsageError, DataError)) as refused:
        swept(grid, **more)
    for word in words:
        assert word in str(refused.value)


def test_frames_without_a_symbol_are_named() -> None:
    with pytest.raises(UsageError, match="no frame of ETHUSDT; there are BTCUSDT"):
        qt.sweep("sma_cross", {"BTCUSDT": walk(1)}, grid={"run.symbols": ["BTCUSDT", "ETHUSDT"]})
