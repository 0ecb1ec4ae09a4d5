"""From a coarse run to a settled one on the command line: finer bars for the ambiguous bars alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.data.download import fetch
from qtsim.data.frames import times_of
from qtsim.data.resample import resample_bars
from qtsim.data.store import Store
from qtsim.data.timeframes import DAY, HOUR, MINUTE, parse_time
from qtsim.results.run_folder import find_run, load_run
from tests.unit.cli.made_workspace import Run, assert_refused
from tests.unit.data.exchange_server import Exchange, serving, with_rest

FIRST, LAST = parse_time("2023-08-20"), parse_time("2023-08-30")
NOW = parse_time("2023-08-30 12:00")
STRATEGY = """
import qtsim as qt


class Alternate(qt.Strategy):
    def signals(self, bars):
        odd = bars.close_ns // 3_600_000_000_000 % 2 == 1
        return qt.Signals(long=odd, short=~odd)
"""


def made_minutes(seed: int) -> pd.DataFrame:
    n = (LAST - FIRST) // MINUTE
    rng = np.random.default_rng(seed)
    close = np.round(20_000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.0012, n))), 1)
    open_ = np.concatenate(([20_000.0], close[:-1]))
    index = pd.DatetimeIndex(FIRST + MINUTE * np.arange(n), name="time").tz_localize("UTC").as_unit("ns")
    columns = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    return pd.DataFrame({**columns, "volume": 1.0}, index=index)


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """Minutes of two symbols up to noon of the day before now."""
    monkeypatch.setattr(fetch, "PAUSE_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Exchange(now=NOW)
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        made.bars[symbol, "1m"] = made_minutes(seed)
    with serving(made):
        yield made


@pytest.fixture
def qtsim(exchange: Exchange, empty: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A workspace with the hours of both symbols and settings under which a bar often holds target and stop."""
    monkeypatch.setattr("qtsim.app.download.time.time_ns", lambda: NOW)
    text = f'[data]\narchive_url = "{exchange.url}"\nrest_url = "{exchange.url}"\n'
    text += '[exit]\npolicy = "bracket"\n[exit.bracket]\ntp = 0.008\nsl = 0.008\n'
    text += '[sizing]\nmodel = "fixed_qty"\nfixed_qty = 0.01\n[gates]\nenabled = false\n'
    (tmp_path / "qtsim.toml").write_text(text, encoding="utf-8")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        hours = resample_bars(exchange.bars[symbol, "1m"], MINUTE, HOUR)
        Store(tmp_path / "data").write_bars(symbol, "1h", hours, source="made for the test")
    (tmp_path / "strategies").mkdir(exist_ok=True)
    (tmp_path / "strategies" / "alternate.py").write_text(STRATEGY, encoding="utf-8")
    return empty


BACKTEST = ("backtest", "-s", "alternate", "-p", "BTCUSDT,ETHUSDT", "-i", "1h", "--set", "data.mark_price=off")
DOWNLOAD = ("data", "download", "-i", "1m", "--archives-only", "--ambiguous")


def last(tmp_path: Path) -> Any:
    return load_run(find_run(tmp_path / "runs", "last"))


def days_of(ambiguous: pd.DataFrame, symbol: str) -> set[str]:
    return {f"{time:%Y-%m-%d}" for time in ambiguous["time"][ambiguous["symbol"] == symbol]}


def test_round_by_round_to_a_run_without_doubt(qtsim: Run, exchange: Exchange, tmp_path: Path) -> None:
    answer = qtsim(*BACKTEST)
    assert answer.code == 0, answer.said
    coarse = last(tmp_path)
    count = len(coarse.ambiguous)
    assert count > 1
    assert f"{count} bars are ambiguous; qtsim data download -i 1m --ambiguous {coarse.run_id}, then" in answer.out
    assert f"qtsim backtest --from {coarse.run_id} --detail 1m" in answer.out
    shown = qtsim("runs", "show")
    assert "ambiguous bars:\n  BTCUSDT 1h: 2023-08-" in shown.out
    listed = json.loads(qtsim("runs", "show", "--json").out)["ambiguous"]
    assert (listed["settled"], len(listed["bars"])) == (None, count)
    assert set(listed["bars"][0]) == {"time", "symbol", "timeframe", "why"}

    got = qtsim(*DOWNLOAD, "last")
    assert got.code == 0, got.said
    wanted = days_of(coarse.ambiguous, "BTCUSDT")
    assert {name[11:21] for name in exchange.asked if name.startswith("BTCUSDT-1m") and name.endswith(".zip")} == wanted
    assert not any("2023-08.zip" in name for name in exchange.asked), "no month for some of its hours"
    hours = int((coarse.ambiguous["symbol"] == "BTCUSDT").sum())
    assert f"{60 * hours:,} of the {60 * hours:,} bars asked for, no gaps" in got.out
    stored = Store(tmp_path / "data").read_bars("BTCUSDT", "1m")
    assert len(stored) == len(wanted) * 24 * 60
    exchange.asked.clear()
    again = qtsim(*DOWNLOAD, "last")
    assert "BTCUSDT 1m bars: nothing new" in again.out
    assert not exchange.asked

    for _ in range(6):
        before = last(tmp_path)
        answer = qtsim("backtest", "--from", "last", "--detail", "1m")
        assert answer.code == 0, answer.said
        result = last(tmp_path)
        left = result.ambiguous[result.ambiguous["timeframe"] == "1h"]
        asked = len(before.ambiguous)
        assert f"{asked} of the {asked} ambiguous bars of {before.run_id} are settled" in answer.out
        assert result.info.settled["run"] == before.run_id
        if not len(left):
            break
        assert f"repeat qtsim data download -i 1m --ambiguous {result.run_id}, then" in answer.out
        assert "until none is left" in answer.out
        assert qtsim(*DOWNLOAD, "last").code == 0
    assert "no ambiguous bar is left" in answer.out
    done = qtsim(*DOWNLOAD, "last")
    assert done.code == 0
    assert f"{result.run_id} has no ambiguous bars: there is nothing to download" in done.err

    whole = Store(tmp_path / "data")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        whole.write_bars(symbol, "1m", exchange.bars[symbol, "1m"], source="made for the test")
    assert qtsim("backtest", "--from", coarse.run_id, "--detail", "1m").code == 0
    columns = ["symbol", "side", "entry_time", "exit_price", "exit_reason"]
    settled, full = (
        one.trades.sort_values(["symbol", "entry_time"], ignore_index=True)[columns] for one in (result, last(tmp_path))
    )
    pd.testing.assert_frame_equal(settled, full)


def test_what_archives_lack_comes_over_rest(
    qtsim: Run, exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qtsim.data.download.rest_ccxt.open_rest", lambda url, **others: with_rest(exchange)())
    assert qtsim(*BACKTEST).code == 0
    ambiguous = last(tmp_path).ambiguous
    day = min(days_of(ambiguous, "BTCUSDT"))
    exchange.absent.add(f"BTCUSDT-1m-{day}.zip")
    got = qtsim("data", "download", "-i", "1m", "--ambiguous", "last")
    assert got.code == 0, got.said
    assert "over REST" in got.out
    hours = ambiguous[(ambiguous["symbol"] == "BTCUSDT") & (ambiguous["time"].dt.strftime("%Y-%m-%d") == day)]
    times = times_of(Store(tmp_path / "data").read_bars("BTCUSDT", "1m"))
    assert int((times // DAY == parse_time(day) // DAY).sum()) == 60 * len(hours), "the hours alone"
    assert {name for name, _ in exchange.queries} <= {"time", "klines"}, "the rules of the run's symbols stay"
    exchange.queries.clear()
    assert qtsim("data", "download", "-i", "1m", "--ambiguous", "last").code == 0
    assert not exchange.queries


def test_a_partial_series_says_why_it_has_gaps(qtsim: Run, tmp_path: Path) -> None:
    assert qtsim(*BACKTEST).code == 0
    assert qtsim(*DOWNLOAD, "last", "-p", "BTCUSDT").code == 0
    assert Store(tmp_path / "data").symbols() == ["BTCUSDT", "ETHUSDT"]
    assert not Store(tmp_path / "data").has("ETHUSDT", "1m")
    checked = qtsim("data", "check", "-i", "1m", "-p", "BTCUSDT")
    assert checked.code == 0, checked.said
    assert "outside what was asked for" in checked.out
    passport = json.loads(qtsim("data", "check", "-i", "1m", "-p", "BTCUSDT", "--json").out)["passports"][0]
    assert passport["missing"] == passport["missing_not_asked_for"] > 0


def test_detail_outside_the_period_is_none_where_another_symbol_has_some(qtsim: Run, tmp_path: Path) -> None:
    minutes = made_minutes(0)
    store = Store(tmp_path / "data")
    store.write_bars("BTCUSDT", "1m", minutes, source="made for the test")
    later = minutes.set_axis(minutes.index + pd.Timedelta(days=30))
    store.write_bars("ETHUSDT", "1m", later, source="made for the test")
    answer = qtsim(*BACKTEST, "--detail", "1m")
    assert answer.code == 0, answer.said
    assert "ETHUSDT: 240 of 240 bars have no 1m bars; their own path stands in" in answer.out
    assert "were not tried, since another symbol has finer bars in their time: the range leaves them out" in answer.out
    assert "no exit depends on the path" not in answer.out
    alone = qtsim("backtest", "-s", "alternate", "-p", "ETHUSDT", "-i", "1h", "--detail", "1m")
    assert_refused(alone, 1, "no 1m bars of ETHUSDT in the period", "--ambiguous")


def test_the_run_keeps_the_passport_of_its_detail_and_is_stale_once_it_changes(
    qtsim: Run, exchange: Exchange, tmp_path: Path
) -> None:
    store = Store(tmp_path / "data")
    minutes = exchange.bars["BTCUSDT", "1m"]
    some = minutes.iloc[: 3 * 24 * 60].drop(minutes.index[[100, 101]])
    store.write_bars("BTCUSDT", "1m", some, source="made for the test")
    assert qtsim(*BACKTEST, "--detail", "1m").code == 0
    info = last(tmp_path).info
    passport = info.passport["BTCUSDT detail"]
    assert (passport["covers"], passport["missing"]) == ("72 of 240 1h bars", 2)
    assert (passport["source"], passport["timeframe"]) == ("made for the test", "1m")
    assert passport["fingerprint"] == info.fingerprints["bars BTCUSDT 1m"]
    assert "ETHUSDT detail" not in info.passport
    report = next((tmp_path / "runs").glob("*/report.html")).read_text(encoding="utf-8")
    assert "covers: 72 of 240 1h bars" in report
    assert "STALE" not in qtsim("runs", "list").said
    store.write_bars("BTCUSDT", "1m", minutes, source="made for the test")
    assert "STALE, its data have changed since" in qtsim("runs", "list").err
    assert "STALE: the data have changed since this run: bars BTCUSDT 1m" in qtsim("runs", "show").out


REFUSED = [
    ("--ambiguous last --trades", ["gets finer bars (--kinds bars,mark)", "not trades"]),
    ("--ambiguous last --kinds funding", ["not funding"]),
    ("--ambiguous last -i 1h", ["are 1h and do not consist of 1h bars"]),
    ("--ambiguous nothing", ["no run 'nothing'"]),
    ("--ambiguous last -p XRPUSDT", ["--symbols XRPUSDT", "not among the run's symbols (BTCUSDT, ETHUSDT)"]),
    ("--ambiguous last --timerange 2023-99", ["--timerange"]),
]


def test_what_cannot_be_asked_is_refused(qtsim: Run, exchange: Exchange) -> None:
    assert qtsim(*BACKTEST).code == 0
    for words, said in REFUSED:
        assert_refused(qtsim("data", "download", *words.split()), 2, *said)
    nothing = qtsim(*DOWNLOAD, "last", "--timerange", "2022-2023")
    assert nothing.code == 0
    assert "has no ambiguous bars of these symbols in this period" in nothing.err
    assert not exchange.asked


def test_offline_says_so(qtsim: Run, exchange: Exchange, tmp_path: Path) -> None:
    assert qtsim(*BACKTEST).code == 0
    text = (tmp_path / "qtsim.toml").read_text(encoding="utf-8")
    (tmp_path / "qtsim.toml").write_text(text.replace(exchange.url, "http://127.0.0.1:9"), encoding="utf-8")
    assert_refused(qtsim(*DOWNLOAD, "last"), 1, "seems to be offline", "qtsim data sample", "qtsim data import")


def test_a_run_on_the_generated_market_has_no_exchange(empty: Run) -> None:
    assert empty("backtest", "--fast", "--timerange", "20240101-20240201").code in (0, 1)
    assert_refused(empty(*DOWNLOAD, "last"), 2, "generated market")
