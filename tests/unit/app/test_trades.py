"""Backtests on stored trades: day by day, with marks and quoted spreads, refused where they mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.app.command import gather_opened, open_run, result_as_dict
from qtsim.app.inputs import gather_store
from qtsim.app.stale import changed_since
from qtsim.app.trades import half_spreads, marks_at, traded_span
from qtsim.app.workspace import find_workspace, settings_of
from qtsim.core.records import bar_dt
from qtsim.data.importer import import_path
from qtsim.data.store import Store
from qtsim.data.ticks import Quotes, TickStore
from qtsim.data.ticks.passport import recorded_passport
from qtsim.errors import DataError, UsageError
from qtsim.report.content import report_content
from qtsim.results.run_folder import load_run

DAY = 86_400_000_000_000
SECOND = 1_000_000_000
START = 1_722_988_800_000_000_000  # 2024-08-07 00:00 UTC
TICKS = {"sim.mode": "ticks"}
QUIET = {"sim.diagnostics.range": False, "sim.diagnostics.optimism": "off", "gates.enabled": False}


class EachHour(qt.Strategy):
    """Long after every bar, so that a position is nearly always open."""

    def signals(self, bars: qt.Bars) -> qt.Signals:
        return qt.Signals(long=np.ones(len(bars.close), dtype=bool))


def made_trades(day: int, seed: int) -> pd.DataFrame:
    """A walk on the ticks of BTCUSDT, a trade every few seconds."""
    rng = np.random.default_rng(seed)
    n = 6_000
    time = START + day * DAY + np.sort(rng.integers(0, DAY, n))
    price = np.round(60_000.0 * np.exp(np.cumsum(rng.normal(0, 0.0006, n))), 1)
    return pd.DataFrame(
        {
            "time": time,
            "price": price,
            "qty": 0.01,
            "id": 10_000 * day + np.arange(n),
            "is_buyer_maker": rng.random(n) < 0.5,
        }
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A workspace with three days of trades of BTCUSDT, and quotes of the last two."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    store = Store(tmp_path / "data")
    ticks = TickStore.beside(store)
    for day in range(3):
        frame = made_trades(day, day)
        ticks.write_trades_day("BTCUSDT", START + day * DAY, frame, source="made for the test")
        if day:
            quotes = frame[["time", "id"]].assign(
                bid=frame["price"] - 0.5, bid_qty=1.0, ask=frame["price"] + 0.5, ask_qty=1.0
            )
            ticks.write_quotes_day("BTCUSDT", START + day * DAY, quotes, source="made for the test")
    return store


def run(**settings: Any) -> qt.Result:
    overrides = {**TICKS, **QUIET, **{name.replace("__", "."): value for name, value in settings.items()}}
    return qt.backtest(EachHour, symbols="BTCUSDT", timeframe="1h", settings=overrides, check=False, verify=True)


@pytest.mark.parametrize("monitoring", ["auto", "points", "continuous"])
def test_a_run_on_three_days_of_trades(store: Store, monitoring: str) -> None:
    result = run(exit__monitoring=monitoring)
    assert result.verified
    assert len(result.trades) > 10
    assert "path: trades from 2024-08-07" in str(result.summary())
    assert len(result.equity) == 73, "72 hours: equity is marked at the opens and closes of bars"
    trades = TickStore.beside(store).read_trades("BTCUSDT")
    known = set(zip(trades.time.tolist(), trades.price.tolist(), strict=True))
    entries = result.fills[result.fills["kind"] == "entry"]
    for time, price in zip(entries["time"].astype("int64"), entries["price"], strict=True):
        assert (int(time), round(price / 1.0002, 1)) in known
    assert not (entries["time"].dt.floor("h") == entries["time"]).any(), "no trade happened exactly at an hour"


def test_the_run_keeps_the_passport_of_its_trades_and_quotes_and_is_stale_once_they_change(store: Store) -> None:
    (store.folder / "trades" / "BTCUSDT" / "2024-08-08.parquet").unlink()
    quotes = made_trades(2, 2)[["time", "id"]].assign(bid=2.0, bid_qty=1.0, ask=3.0, ask_qty=1.0)
    quotes.loc[[1, 5], "ask"] = 1.0
    quotes = pd.concat([quotes, quotes.iloc[:3]])
    ticks = TickStore.beside(store)
    ticks.write_quotes_day("BTCUSDT", START + 2 * DAY, quotes, source="made again")
    settings = {**TICKS, **QUIET}
    result = qt.backtest(EachHour, symbols="BTCUSDT", timeframe="1h", settings=settings, check=False, save=True)
    kept = load_run(str(result.path)).info
    of_trades, of_quotes = kept.passport["BTCUSDT trades"], kept.passport["BTCUSDT quotes"]
    assert (of_trades["days"], of_trades["missing_days"]) == (2, ["2024-08-08"])
    assert (of_trades["source"], of_trades["rows"]) == ("made for the test", 12_000)
    assert of_trades["fingerprint"] == kept.fingerprints["trades BTCUSDT"]
    assert (of_quotes["days"], of_quotes["crossed"], of_quotes["duplicates"]) == (2, 3, 2)
    report = (Path(str(result.path)) / "report.html").read_text(encoding="utf-8")
    assert "missing days: 2024-08-08" in report
    assert "crossed quotes left out: 3" in report

    assert changed_since(kept, find_workspace()) == []
    ticks.write_quotes_day("BTCUSDT", START + 2 * DAY, quotes.iloc[:100], source="made again")
    assert changed_since(kept, find_workspace()) == ["quotes BTCUSDT"]
    ticks.write_trades_day("BTCUSDT", START, made_trades(0, 99), source="made again")
    assert changed_since(kept, find_workspace()) == ["bars BTCUSDT 1h", "trades BTCUSDT", "quotes BTCUSDT"]


def test_trades_have_one_order_and_so_no_range(store: Store) -> None:
    """The optimism meter and the ablation are made all the same; what is in doubt is when the program looks."""
    settings = {"sim.diagnostics.range": True, "sim.diagnostics.optimism": "on"}
    by_clock = run(**{name.replace(".", "__"): value for name, value in settings.items()})
    assert by_clock.ranges == {}
    assert "one order, so there is no range; in doubt is when the program looks: every 10 s at the last trade" in str(
        by_clock.summary()
    )
    assert {"no slippage", "maker fees"} <= set(by_clock.optimism)
    assert "favourable path" not in by_clock.optimism
    at_each = run(exit__monitoring="points")
    assert "here at every trade (exit.monitoring = points)" in str(at_each.summary())
    ablated = qt.backtest(
        EachHour, symbols="BTCUSDT", timeframe="1h", settings={**TICKS, **QUIET}, check=False, ablate=True
    )
    assert len(ablated.ablation) > 5
    content = report_content(by_clock)
    assert content["tiles"][0]["note"] == "no range: trades have one order"
    assert any(name == "Path" and "no range" in text for name, text in content["notes"])
    answer = result_as_dict(by_clock, find_workspace())
    assert (answer["range"], answer["ambiguous"]["bars"]) == ({}, [])
    assert "no range" in answer["path_text"]


def test_mark_bars_of_another_timeframe_are_named(store: Store) -> None:
    hours = TickStore.beside(store).bars("BTCUSDT", "1h").drop(columns="volume")
    store.write_bars("BTCUSDT", "1h", hours, kind="mark", source="made for the test")
    settings = {**TICKS, **QUIET, "run.timerange": "20240807T0000-20240807T0300"}
    result = qt.backtest(EachHour, symbols="BTCUSDT", timeframe="1m", settings=settings, check=False)
    assert "BTCUSDT: no mark history of this timeframe (of 1h there is); the last price stands in" in result.warnings


def test_zero_quantities_that_were_dropped_are_in_the_passport(store: Store) -> None:
    trades = made_trades(3, 3)
    trades.loc[[3, 4], "qty"] = 0.0
    file = store.folder.parent / "BTCUSDT-trades.csv"
    trades.to_csv(file, index=False)
    import_path(store, file, symbol="BTCUSDT", kind="trades", on_bad_rows="drop")
    passport = recorded_passport(TickStore.beside(store), "BTCUSDT", "trades", START + 3 * DAY, START + 4 * DAY)
    assert passport is not None
    assert (passport["dropped"], passport["dropped_because"]) == (2, {"qty not above 0": 2})


def test_the_spread_that_was_quoted_is_paid(store: Store) -> None:
    result = run(costs__slippage__model="spread")
    fills = result.fills[result.fills["reason"] != "liquidation"]
    ratio = fills["slippage"] / (fills["qty"] * fills["price"])
    # on the first day, which has no quotes, the first spread of the second stands in
    np.testing.assert_allclose(ratio, 0.5 / fills["price"], rtol=0.1)
    assert any("no quotes on 1 of its days" in text for text in result.warnings)
    assert "slippage half the quoted spread" in str(result.summary())


def test_quotes_of_a_day_without_trades_renew_the_spread(store: Store) -> None:
    """The second day has quotes alone, ten times as wide; the third day's first quote comes at noon."""
    ticks = TickStore.beside(store)
    (store.folder / "trades" / "BTCUSDT" / "2024-08-08.parquet").unlink()
    for day, half in ((0, 0.5), (1, 5.0), (2, 0.5)):
        times = made_trades(day, day)[["time", "id"]]
        times = times[times["time"] >= START + 2 * DAY + DAY // 2] if day == 2 else times
        quotes = times.assign(bid=60_000 - half, bid_qty=1.0, ask=60_000 + half, ask_qty=1.0)
        ticks.write_quotes_day("BTCUSDT", START + day * DAY, quotes, source="made for the test")
    fills = run(costs__slippage__model="spread").fills
    fills = fills[fills["reason"] != "liquidation"]
    ratio = (fills["slippage"] / (fills["qty"] * fills["price"])).to_numpy()
    at = fills["time"].astype("int64").to_numpy() - START
    third, noon = at >= 2 * DAY, at >= 2 * DAY + DAY // 2
    assert (third & ~noon).any()
    np.testing.assert_allclose(ratio[third & ~noon], 5.0 / 60_000, rtol=0.01)
    np.testing.assert_allclose(ratio[~third | (at >= 2 * DAY + DAY * 13 // 24)], 0.5 / 60_000, rtol=0.01)


def test_a_spread_without_quotes_is_an_error(store: Store) -> None:
    for file in (store.folder / "quotes").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(DataError, match="spread needs quotes"):
        run(costs__slippage__model="spread")


def test_a_spread_on_bars_is_an_error(store: Store) -> None:
    bars = TickStore.beside(store).bars("BTCUSDT", "1h")
    with pytest.raises(UsageError, match=r"spread needs quotes, and with sim\.mode = bars there are none"):
        qt.backtest(EachHour, {"BTCUSDT": bars}, settings={"costs.slippage.model": "spread"})


def test_days_without_trades_are_told(store: Store) -> None:
    (store.folder / "trades" / "BTCUSDT" / "2024-08-08.parquet").unlink()
    settings = settings_of(find_workspace(), overrides={**TICKS, "run.timeframe": "1h"}).settings
    assert any("no trades on 1 of the days" in text for text in gather_store(store, settings, ["BTCUSDT"]).warnings)


def test_every_symbol_without_bars_takes_part(store: Store) -> None:
    ticks = TickStore.beside(store)
    asked = {**TICKS, "run.timeframe": "1h", "run.symbols": "BTCUSDT,ETHUSDT", "run.strategy": "ema_cross"}

    def gathered() -> set[str]:
        opened = open_run(find_workspace(), profile=None, files=(), overrides=asked, sample=False)
        return set(gather_opened(opened).symbols)

    with pytest.raises(UsageError, match="no trades of ETHUSDT"):
        gathered()
    ticks.write_trades_day("ETHUSDT", START, made_trades(0, 7), source="made for the test")
    assert gathered() == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"sim__fill_at": "close"}, "sim.fill_at = close"),
        ({"sim__path": "adverse"}, "sim.path = adverse"),
        ({"sizing__model": "rl"}, "is trained on bars"),
    ],
)
def test_what_trades_have_no_use_for_is_refused(store: Store, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        run(**settings)


def test_without_trades_in_the_period(store: Store) -> None:
    with pytest.raises(DataError, match="BTCUSDT"):
        traded_span(TickStore.beside(store), "BTCUSDT", START + 9 * DAY, None)


def test_the_span_is_that_of_the_first_and_the_last_trade(store: Store) -> None:
    ticks = TickStore.beside(store)
    whole = ticks.read_trades("BTCUSDT")
    assert traded_span(ticks, "BTCUSDT", None, None) == (int(whole.time[0]), int(whole.time[-1]))
    noon = START + DAY // 2
    inside = whole.time[(whole.time >= noon) & (whole.time < noon + DAY)]
    assert traded_span(ticks, "BTCUSDT", noon, noon + DAY) == (int(inside[0]), int(inside[-1]))


def test_a_mark_between_trades_keeps_its_distance() -> None:
    bars = np.zeros(1, bar_dt)
    bars["ts_open"] = START
    for name, last, mark in (("open", 100, 101), ("high", 110, 110), ("low", 99, 100), ("close", 105, 105)):
        bars[name], bars[f"mark_{name}"] = last, mark
    times = START + np.array([-1, 0, DAY // 48, DAY // 24 - 1, DAY // 24])
    marks = marks_at(times, np.full(5, 104.0), bars, DAY // 24)
    np.testing.assert_allclose(marks, [104.0, 105.0, 104.5, 104.0, 104.0], atol=1e-6)
    assert marks_at(times, np.full(5, 120.0), bars, DAY // 24)[2] == 110.0, "no higher than the highest mark"


def test_the_spread_in_force_is_the_last_quoted() -> None:
    quotes = Quotes(
        *(np.array(column) for column in ([10, 20], [99.0, 98.0], [1.0, 1.0], [101.0, 102.0], [1.0, 1.0], [1, 2]))
    )
    times = np.array([5, 10, 19, 20, 99])
    np.testing.assert_allclose(half_spreads(times, quotes, np.nan), [0.01, 0.01, 0.01, 0.02, 0.02])
    np.testing.assert_allclose(half_spreads(times, quotes, 0.5), [0.5, 0.01, 0.01, 0.02, 0.02])
    empty = Quotes(*(column[:0] for column in quotes))
    np.testing.assert_allclose(half_spreads(times, empty, 0.3), 0.3)
