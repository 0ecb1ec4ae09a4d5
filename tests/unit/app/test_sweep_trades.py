"""Sweeps on stored trades: each trial is the backtest of its cell, whatever makes it; trades are joined once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qtsim as qt
from qtsim.app import sweep_plan, sweep_trades
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.errors import DataError, UsageError
from qtsim.research import sweep as research_sweep
from qtsim.research.cluster import pack_market, unpack_market
from qtsim.research.metrics import NAMES
from qtsim.research.sweep import Sweep
from qtsim.research.trade_file import PREFIX, NotHere
from qtsim.sim.measure import measure_dt
from qtsim.sim.trials import TrialRunner
from tests.properties.test_trials import NOT_OF_A_RUN
from tests.unit.app.test_trades import DAY, QUIET, START, TICKS, EachHour, made_trades

GRID = {"exit.base_tp": [0.004, 0.01], "exit.base_sl": [0.003, 0.006]}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A workspace with three days of trades of BTCUSDT and two of ETHUSDT."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(research_sweep, "has_arch", lambda: False)  # its test makes trials again
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    store = Store(tmp_path / "data")
    ticks = TickStore.beside(store)
    for day in range(3):
        ticks.write_trades_day("BTCUSDT", START + day * DAY, made_trades(day, day), source="made for the test")
    for day in range(1, 3):
        ticks.write_trades_day("ETHUSDT", START + day * DAY, made_trades(day, 10 + day), source="made for the test")
    return store


def swept(grid: dict[str, Any] | None = None, **more: Any) -> Sweep:
    settings = {**TICKS, **QUIET, "leverage.model": "fixed", **more.pop("settings", {})}
    asked = {"symbols": "BTCUSDT", "timeframe": "1h", "check": False} | more
    return qt.sweep(EachHour, grid=grid or GRID, settings=settings, **asked)


def assert_row(sweep: Sweep, cell: int, result: qt.Result, symbol: str) -> None:
    row = sweep.by_symbol(cell).loc[symbol]
    for name in NAMES.values():
        if name not in NOT_OF_A_RUN:
            assert row[name] == pytest.approx(result.metrics[name], rel=1e-9, abs=1e-12, nan_ok=True), name
    for name in ("Trades", "Fees", "Slippage", "Final Equity", "Best Trade", "Worst Trade"):
        assert row[name] == result.metrics[name], name


@pytest.mark.parametrize("monitoring", ["points", "interval", "continuous"])
def test_each_trial_is_the_backtest_of_its_cell(monitoring: str) -> None:
    sweep = swept(settings={"exit.monitoring": monitoring})
    assert sweep.info.path == "trades"
    assert " · path: trades" in str(sweep.summary())
    assert (sweep.values_of("Trades") > 10).all()
    assert len(set(sweep.values_of("Final Equity"))) == 4
    for cell in range(4):
        assert_row(sweep, cell, sweep.run(cell), "BTCUSDT")


def test_monitoring_is_swept() -> None:
    sweep = swept({"exit.monitoring": ["points", "interval", "continuous"]})
    for cell in range(3):
        assert_row(sweep, cell, sweep.run(cell), "BTCUSDT")


def test_rows_are_those_of_the_stored_trades_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """As read day by day, and not from the file that trials share."""
    plans: list[sweep_plan.Plan] = []
    plan_sweep = sweep_plan.plan_sweep

    def kept(*args: Any) -> sweep_plan.Plan:
        plans.append(plan_sweep(*args))
        return plans[-1]

    monkeypatch.setattr("qtsim.app.sweep.plan_sweep", kept)
    sweep = swept()
    (plan,) = plans
    (group,) = plan.groups
    assert plan.base_trades is not None
    out = np.zeros(1, measure_dt)
    for k, cell in enumerate(group.cells):
        runner = TrialRunner(plan.base.market, trades=plan.base_trades.chunks())
        params, balance = plan.job.params[plan.base.market.timeframe_ns].of(plan.space.indices([cell])[0])
        runner.run(params, balance, out)
        assert out[0].tobytes() == sweep._table["measures"][k, 0].tobytes()


def test_each_symbol_alone_is_its_own_backtest() -> None:
    sweep = swept(symbols=["BTCUSDT", "ETHUSDT"], each=True)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        alone = qt.backtest(
            EachHour,
            symbols=symbol,
            timeframe="1h",
            settings={**TICKS, **QUIET, "leverage.model": "fixed", **sweep.space.values(3)},
            check=False,
        )
        assert_row(sweep, 3, alone, symbol)


def test_two_symbols_in_one_account() -> None:
    sweep = swept(symbols=["BTCUSDT", "ETHUSDT"])
    assert_row(sweep, 2, sweep.run(2), "BTCUSDT,ETHUSDT")


def test_a_random_search_makes_cells_of_the_grid() -> None:
    whole, drawn = swept().to_frame(), swept(random=2).to_frame()
    assert len(drawn) == 2
    assert drawn.equals(whole.loc[drawn.index])


class EveryNth(qt.Strategy):
    """Long after every nth bar."""

    n: int = qt.param(1, low=1, high=9)

    def signals(self, bars: qt.Bars) -> qt.Signals:
        return qt.Signals(long=np.arange(len(bars.close)) % self.n == 0)


def test_trades_are_joined_once_whatever_the_signals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[Any] = []
    write = sweep_trades.write_trades

    def counting(*args: Any) -> Any:
        written.append(write(*args))
        return written[-1]

    monkeypatch.setattr(sweep_trades, "write_trades", counting)
    sweep = qt.sweep(
        EveryNth,
        symbols="BTCUSDT",
        timeframe="1h",
        grid={"strategy.n": [1, 2, 3], "exit.base_tp": [0.004, 0.01]},
        settings={**TICKS, **QUIET},
        check=False,
    )
    assert len(written) == 1
    assert written[0].trades == 18_000
    for cell in (1, 4):
        assert_row(sweep, cell, sweep.run(cell), "BTCUSDT")
    written.clear()
    del sweep
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_the_holdout_is_never_looked_at(store: Store) -> None:
    whole = swept(holdout="20240809-", timerange="20240807-20240810").to_frame()
    TickStore.beside(store).write_trades_day("BTCUSDT", START + 2 * DAY, made_trades(2, 99), source="others")
    assert whole.equals(swept(holdout="20240809-", timerange="20240807-20240810").to_frame())
    assert whole.equals(swept(timerange="20240807-20240809").to_frame())


def test_a_walkforward_searches_and_tests_on_trades() -> None:
    settings = {**TICKS, **QUIET, "leverage.model": "fixed"}
    asked: dict[str, Any] = {"symbols": "BTCUSDT", "timeframe": "1h", "check": False}
    windows = {"train": "1d", "test": "1d", "metric": "Total Return"}
    found = qt.walkforward(EachHour, grid=GRID, settings=settings, **windows, **asked)
    assert found.is_complete
    step = found.steps[0]
    assert step.chosen is not None
    single = qt.backtest(EachHour, timerange="20240808-20240809", settings={**settings, **step.chosen}, **asked)
    assert step.tested["Trades"] > 5
    assert step.tested["Total Return"] == single.metrics["Total Return"]


def test_equal_trials_are_recognised() -> None:
    sweep = swept({"exit.base_tp": [0.004, 0.01], "exit.base_sl": [0.0125, 0.02, 0.03]}, settings=NO_FEEDBACK)
    assert sweep.copy_of.tolist() == [-1, 0, 0, -1, 3, 3]
    assert sweep.copies[0].setting == "exit.levels.sl_safety.max_hard_share"


NO_FEEDBACK = {f"exit.levels.feedback.{name}": 0.0 for name in ("loss", "gain", "low_confidence")}


@pytest.mark.parametrize(
    ("grid", "settings", "kind", "words"),
    [
        pytest.param(GRID, {"sim.fill_at": "close"}, UsageError, "sim.fill_at = close", id="fill_at"),
        pytest.param({"sim.path": ["nearest", "adverse"]}, {}, UsageError, "sim.path = adverse", id="path_as_axis"),
        pytest.param({"sizing.model": ["math", "rl"]}, {}, UsageError, "is trained on bars", id="rl_as_axis"),
        pytest.param(GRID, {"costs.slippage.model": "spread"}, DataError, "needs quotes", id="no_quotes"),
        pytest.param(
            {"costs.slippage.model": ["fixed", "spread"]}, {}, DataError, "BTCUSDT.*needs quotes", id="quotes_as_axis"
        ),
        pytest.param(
            {"costs.slippage.model": ["fixed", "spread"]},
            {"sim.mode": "bars"},
            UsageError,
            "with sim.mode = bars there are none",
            id="spread_on_bars",
        ),
    ],
)
def test_what_trades_have_no_use_for_is_refused(
    store: Store, grid: dict[str, Any], settings: dict[str, Any], kind: type[Exception], words: str
) -> None:
    bars = TickStore.beside(store).bars("BTCUSDT", "1h")
    store.write_bars("BTCUSDT", "1h", bars, source="made for the test")
    with pytest.raises(kind, match=words):
        swept(grid, settings=settings)


# On the workers of a cluster. ----------------------------------------------------------------------------------------


def first_market() -> Any:
    plan = None

    def kept(*args: Any) -> Any:
        nonlocal plan
        plan = sweep_plan.plan_sweep(*args)
        return plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qtsim.app.sweep.plan_sweep", kept)
        swept()
    assert plan is not None
    return plan.make_market(plan.groups[0])


def test_a_market_on_its_way_names_the_file_of_its_trades_or_brings_them() -> None:
    market: Any = first_market()
    seen = unpack_market(pack_market(market))
    assert seen.trades is not None
    assert seen.trades.path == market.trades.path
    packed = pack_market(market)
    packed["trades"] |= {"path": Path("/nowhere/trades.map"), "token": b"of another machine"}
    with pytest.raises(NotHere):
        unpack_market(packed)
    packed = pack_market(market, with_trades=True)
    packed["trades"] |= {"path": Path("/nowhere/trades.map"), "token": b"of another machine"}
    brought = unpack_market(packed)
    assert brought.trades is not None
    for mine, theirs in zip(market.trades, brought.trades, strict=True):
        assert [column.tobytes() for column in mine.trades] == [column.tobytes() for column in theirs.trades]
        assert mine.boundaries.tobytes() == theirs.boundaries.tobytes()
    again = pack_market(market)
    again["trades"] |= {"path": Path("/nowhere/trades.map"), "token": b"of another machine"}
    assert unpack_market(again).trades is brought.trades, "markets with other signals use the same file"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["this machine", "another machine"])
def test_rows_of_a_cluster_are_those_of_this_machine(monkeypatch: pytest.MonkeyPatch, elsewhere: bool) -> None:
    """Of two markets, whose signals differ."""
    pytest.importorskip("distributed")
    if elsewhere:

        def hidden(market: Any, **more: Any) -> Any:
            packed = pack_market(market, **more)
            packed["trades"]["path"] = Path("/nowhere/trades.map")
            return packed

        monkeypatch.setattr("qtsim.research.cluster.pack_market", hidden)

    def made(**more: Any) -> Sweep:
        return qt.sweep(
            "sma_cross",
            symbols="BTCUSDT",
            timeframe="15m",
            grid={"strategy.fast": [3, 5], "exit.base_tp": [0.004, 0.01]},
            settings={**TICKS, **QUIET},
            check=False,
            **more,
        )

    local = made()
    assert len(set(local.values_of("Final Equity"))) == 4
    assert made(engine="dask", jobs=1)._table.tobytes() == local._table.tobytes()
