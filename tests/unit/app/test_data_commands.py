"""What the data commands say about a store that is not all in order."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from qtsim.app.stale import changed_since
from qtsim.app.workspace import Workspace
from qtsim.cli.root import app
from qtsim.data.resample import resample_bars
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.timeframes import HOUR, MINUTE
from tests.unit.data.made_bars import made_bars
from tests.unit.data.made_ticks import DAY_TEXT, START, made_quotes, made_trades, single_trades


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of a workspace in which two symbols are stored; the current folder is the workspace."""
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "data")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        store.write_bars(symbol, "1h", made_bars(300), source="made for the test")
    return store


def qtsim(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_a_damaged_file_is_listed_beside_the_others(store: Store) -> None:
    path = store.list()[0].path
    path.write_bytes(b"half")
    told = qtsim("data", "list")
    assert told.exit_code == 1
    assert "ETHUSDT" in told.output
    assert f"error: damaged store file {path}" in told.output
    listed = qtsim("data", "list", "--json")
    assert listed.exit_code == 1
    answer = json.loads(listed.stdout)
    assert [entry["symbol"] for entry in answer["series"]] == ["ETHUSDT"]
    assert answer["damaged"][0]["path"] == str(path)


def test_the_outliers_that_are_not_shown_are_counted(store: Store) -> None:
    bars = made_bars(900)
    wild = np.arange(30, 900, 30)
    bars.iloc[wild, bars.columns.get_loc("high")] *= 3.0
    store.write_bars("BTCUSDT", "1h", bars, source="made for the test")
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == 0, told.output
    assert f"and {len(wild) - 10} more" in told.output


def test_a_damaged_file_does_not_hide_the_others_from_the_check(store: Store) -> None:
    path = store.list()[0].path
    path.write_bytes(b"half")
    told = qtsim("data", "check", "--json")
    assert told.exit_code == 1
    answer = json.loads(told.stdout)
    assert [passport["symbol"] for passport in answer["passports"]] == ["ETHUSDT"]
    assert len(answer["problems"]) == 1
    assert str(path) in answer["problems"][0]
    assert qtsim("data", "check", "-p", "ETHUSDT").exit_code == 0


@pytest.fixture
def ticks(store: Store) -> TickStore:
    """Two days of trades, two days apart, and a day of quotes beside the bars."""
    ticks = TickStore.beside(store)
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, made_trades(), source="made for the test")
    later = made_trades(start=START + 2 * 86_400_000_000_000, first_id=9000)
    ticks.write_trades_day("BTCUSDT", "2024-03-07", later, source="made for the test")
    ticks.write_quotes_day("XRPUSDT", DAY_TEXT, made_quotes(), source="made for the test")
    return ticks


def test_ticks_are_listed_by_symbol(ticks: TickStore) -> None:
    told = qtsim("data", "list")
    assert told.exit_code == 0
    assert "trades  BTCUSDT  2 days  1,000  2024-03-05 09:00" in told.output
    answer = json.loads(qtsim("data", "list", "--json").stdout)
    assert [(row["kind"], row["symbol"], row["days"]) for row in answer["ticks"]] == [
        ("trades", "BTCUSDT", 2),
        ("quotes", "XRPUSDT", 1),
    ]
    path = ticks.entry("BTCUSDT", DAY_TEXT).path
    path.write_bytes(b"half")
    damaged = qtsim("data", "list")
    assert damaged.exit_code == 1
    assert f"error: damaged store file {path}" in damaged.output
    assert "trades   BTCUSDT  1 day" in damaged.output


def test_the_check_describes_ticks_where_there_are_any(ticks: TickStore) -> None:
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == 0, told.output
    assert "BTCUSDT 1h bars" in told.output
    assert "BTCUSDT trades" in told.output
    assert "missing days             2024-03-06" in told.output
    answer = json.loads(qtsim("data", "check", "--ticks", "--json").stdout)
    assert [(p["symbol"], p["kind"]) for p in answer["passports"]] == [("BTCUSDT", "trades"), ("XRPUSDT", "quotes")]
    # a symbol of which there are only ticks needs no bars
    assert qtsim("data", "check", "-p", "XRPUSDT").exit_code == 0


def test_a_damaged_tick_day_fails_the_check_and_is_named(ticks: TickStore) -> None:
    path = ticks.entry("BTCUSDT", "2024-03-07").path
    path.write_bytes(path.read_bytes()[:-40])
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == 1
    assert f"error: damaged store file {path}" in told.output
    assert "BTCUSDT 1h bars" in told.output
    assert qtsim("data", "check", "-p", "BTCUSDT", "--ticks", "--timerange", "20240305-20240306").exit_code == 0


def test_a_check_of_ticks_that_are_not_there_is_a_wrong_usage(ticks: TickStore) -> None:
    told = qtsim("data", "check", "-p", "ETHUSDT", "--ticks")
    assert told.exit_code != 0
    assert "no trades or quotes of ETHUSDT in" in str(told.exception)
    assert "there are those of BTCUSDT, XRPUSDT" in str(told.exception)
    none = qtsim("data", "check", "--ticks", "--timerange", "20200101-20200102")
    assert "no trades or quotes from 2020-01-01 00:00 UTC to 2020-01-02 00:00 UTC in" in str(none.exception)


def test_ticks_are_imported_by_the_command(store: Store) -> None:
    single_trades(made_trades()).to_csv("ETHUSDT-trades-2024-03-05.csv", index=False)
    told = qtsim("data", "import", "ETHUSDT-trades-2024-03-05.csv")
    assert told.exit_code == 0, told.output
    assert "ETHUSDT-trades-2024-03-05.csv: ETHUSDT trades: 500 rows added, 2024-03-05 09:00" in told.output
    assert TickStore.beside(store).days("ETHUSDT")


@pytest.fixture
def minutes(store: Store) -> Store:
    """Ten hours of BTCUSDT, and the minutes, of bars and of the mark price, that they are made of."""
    for kind in ("bars", "mark"):
        fine = made_bars(600, "1m", mark=kind == "mark")
        store.write_bars("BTCUSDT", "1m", fine, kind=kind, source="made for the test")
        store.write_bars("BTCUSDT", "1h", resample_bars(fine, MINUTE, HOUR), kind=kind, source="made for the test")
    return store


def change(store: Store, kind: str, column: str, by: float) -> None:
    """Change one value of the fourth hour."""
    bars = store.read_bars("BTCUSDT", "1h", kind=kind)
    bars.iloc[3, bars.columns.get_loc(column)] += by
    store.write_bars("BTCUSDT", "1h", bars, kind=kind, source="made for the test")


def test_timeframes_that_agree_are_told(minutes: Store) -> None:
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == 0, told.output
    assert "BTCUSDT bars: all 10 1h bars agree with their 1m bars" in told.output
    assert "BTCUSDT mark: all 10 1h bars agree with their 1m bars" in told.output
    assert "bars agree" not in qtsim("data", "check", "-p", "ETHUSDT").output
    assert "bars agree" in qtsim("data", "check", "-p", "BTCUSDT", "-i", "1m").output
    assert "all 2 1h bars" in qtsim("data", "check", "-p", "BTCUSDT", "--timerange", "20240101-20240101T0230").output


@pytest.mark.parametrize(
    ("kind", "column", "by", "exit_code"),
    [
        ("bars", "high", 0.1, 0),  # a tick
        ("bars", "high", 0.25, 1),
        ("bars", "volume", 0.001, 0),  # a lot
        ("bars", "volume", 0.5, 1),
        ("mark", "high", 0.1, 0),
        ("mark", "high", 0.25, 1),
    ],
)
def test_more_than_a_tick_between_timeframes_is_a_problem(
    minutes: Store, kind: str, column: str, by: float, exit_code: int
) -> None:
    change(minutes, kind, column, by)
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == exit_code, told.output
    line = f"BTCUSDT {kind}: 1 of 10 1h bars contradict their 1m bars, the first at 2024-01-01 03:00 UTC: {column}"
    assert (line in told.output) == bool(exit_code)
    answer = json.loads(qtsim("data", "check", "-p", "BTCUSDT", "--json").stdout)
    assert [(c["kind"], c["timeframe"], c["detail"], c["compared"]) for c in answer["comparisons"]] == [
        ("bars", "1h", "1m", 10),
        ("mark", "1h", "1m", 10),
    ]
    assert [c["differing"] for c in answer["comparisons"] if c["kind"] == kind] == [exit_code]
    assert len(answer["problems"]) == exit_code


def test_finer_bars_that_are_missing_are_told_and_no_problem(minutes: Store) -> None:
    whole = minutes.read_bars("BTCUSDT", "1m")
    minutes.write_bars("BTCUSDT", "1m", whole.drop(whole.index[[*range(130), 200]]), source="made for the test")
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == 0, told.output
    # the third hour begins before the first minute there is
    assert "BTCUSDT bars: 1 1h bars lack 1m bars, the first at 2024-01-01 03:00 UTC (1 of 60)" in told.output


def test_funding_is_described_once_beside_several_timeframes(store: Store) -> None:
    store.write_bars("BTCUSDT", "4h", resample_bars(store.read_bars("BTCUSDT", "1h"), HOUR, 4 * HOUR), source="made")
    events = pd.DataFrame(
        {"funding_rate": [1e-4, 2e-4]}, index=pd.date_range("2024-01-01", periods=2, freq="8h", tz="UTC")
    )
    store.write_funding("BTCUSDT", events, source="made for the test")
    answer = json.loads(qtsim("data", "check", "-p", "BTCUSDT", "--json").stdout)
    assert sorted(p["kind"] for p in answer["passports"]) == ["bars", "bars", "funding"]


def test_series_without_bars_are_checked_too(store: Store) -> None:
    store.write_bars("XRPUSDT", "1h", made_bars(50, mark=True), kind="mark", source="made for the test")
    store.write_column("mood", made_bars(50)["close"], source="made for the test")
    answer = json.loads(qtsim("data", "check", "--json").stdout)
    assert [(p["symbol"], p["kind"]) for p in answer["passports"]] == [
        ("BTCUSDT", "bars"),
        ("ETHUSDT", "bars"),
        ("XRPUSDT", "mark"),
        ("", "column"),
    ]
    assert qtsim("data", "check", "-p", "XRPUSDT").exit_code == 0
    assert qtsim("data", "check", "-p", "SOLUSDT").exit_code != 0


def test_a_run_on_ticks_is_stale_once_one_of_its_days_has_changed(ticks: TickStore) -> None:
    start, end = START // 86_400_000_000_000 * 86_400_000_000_000, START + 6 * HOUR
    read: Any = SimpleNamespace(
        from_store=True,
        is_synthetic=False,
        fingerprints={"trades BTCUSDT": ticks.fingerprint("BTCUSDT", start, end + HOUR)},
        start_ns=start,
        end_ns=end,
        timeframe_ns=HOUR,
        settings={},
    )
    workspace = Workspace(ticks.root.parent)
    assert changed_since(read, workspace) == []
    other = made_trades(start=START + 3 * 86_400_000_000_000, first_id=20_000)
    ticks.write_trades_day("BTCUSDT", "2024-03-08", other)
    assert changed_since(read, workspace) == []
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, made_trades(499))
    assert changed_since(read, workspace) == ["trades BTCUSDT"]
