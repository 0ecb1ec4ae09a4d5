"""`qtsim data download` as people and programs use it: what it prints, exit codes, and what an end leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from qtsim.data.download import fetch
from qtsim.data.frames import times_of
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.timeframes import parse_time
from tests.unit.cli.made_workspace import Run, assert_refused
from tests.unit.data.exchange_server import Exchange, hourly, payments, serving

PERIOD = ("--timerange", "2023-20230801")
BTC = ("-p", "BTCUSDT", "-i", "1h", *PERIOD)


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """BTCUSDT and ETHUSDT of seven months, named in the workspace's settings."""
    monkeypatch.setattr(fetch, "PAUSE_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Exchange(now=parse_time("2023-09-01"))
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        made.bars[symbol, "1h"] = hourly("2023-01-01", "2023-09-01", seed=seed)
        made.mark[symbol, "1h"] = hourly("2023-01-01", "2023-09-01", seed=seed + 5, volume=False)
        made.funding[symbol] = payments("2023-01-01", "2023-09-01")
    with serving(made):
        yield made


@pytest.fixture
def qtsim(exchange: Exchange, empty: Run, tmp_path: Path) -> Run:
    """The command line in a workspace that points to the exchange."""
    point_to(tmp_path, exchange.url)
    return empty


def point_to(workspace: Path, url: str, more: str = "") -> None:
    text = f'[data]\narchive_url = "{url}"\nrest_url = "{url}"\n{more}'
    (workspace / "qtsim.toml").write_text(text, encoding="utf-8")


def bars_of(workspace: Path, symbol: str = "BTCUSDT") -> pd.DataFrame:
    return Store(workspace / "data").read_bars(symbol, "1h")


# What it prints -------------------------------------------------------------------------------------------------------


def test_two_symbols_end_to_end(qtsim: Run, exchange: Exchange, tmp_path: Path) -> None:
    answer = qtsim("data", "download", "-p", "BTCUSDT,ETH/USDT:USDT", "-i", "1h", *PERIOD, "--archives-only")
    assert answer.code == 0, answer.said
    lines = answer.out.splitlines()
    assert lines[0] == (
        "BTCUSDT 1h bars: 5,088 rows added (7 archives); 2023-01-01 00:00 UTC to 2023-07-31 23:00 UTC, no gaps"
    )
    assert len(lines) == 6 + 1
    assert lines[-1].startswith("42 archives fetched, ")
    assert "archives: 20 of 42" not in answer.out
    assert "monthly archives: 42 of 42" in answer.err, "plain lines of progress where no terminal is"
    assert len(answer.err.splitlines()) < 20
    whole = exchange.bars["ETHUSDT", "1h"]
    pd.testing.assert_frame_equal(bars_of(tmp_path, "ETHUSDT"), whole[times_of(whole) < parse_time("2023-08-01")])
    again = qtsim("data", "download", "-p", "BTCUSDT,ETHUSDT", "-i", "1h", *PERIOD, "--archives-only")
    assert "BTCUSDT 1h bars: nothing new" in again.out
    assert "0 archives fetched, 0.0 MB" in again.out


def test_what_was_downloaded_is_listed_and_checked(qtsim: Run) -> None:
    assert qtsim("data", "download", *BTC, "--archives-only").code == 0
    listed = qtsim("data", "list")
    assert "archives of 127.0.0.1" in listed.out
    checked = qtsim("data", "check", "-p", "BTCUSDT")
    assert checked.code == 0
    assert "no gaps" in checked.out


def test_json_has_a_schema_and_the_same_facts(qtsim: Run) -> None:
    answer = qtsim("data", "download", *BTC, "--archives-only", "--json")
    values = json.loads(answer.out)
    assert values["schema"] == 1
    assert [one["kind"] for one in values["series"]] == ["bars", "mark", "funding"]
    assert values["series"][0]["added"] == 5088
    assert (values["files"], values["failures"]) == (21, [])


def test_kinds_and_their_other_names(qtsim: Run, exchange: Exchange, tmp_path: Path) -> None:
    assert qtsim("data", "download", *BTC, "--archives-only", "--kinds", "klines").code == 0
    assert Store(tmp_path / "data").symbols("mark") == []
    assert qtsim("data", "download", *BTC, "--archives-only", "--kinds", "markPriceKlines,fundingRate").code == 0
    assert Store(tmp_path / "data").symbols("mark") == ["BTCUSDT"]
    assert len(Store(tmp_path / "data").read_funding("BTCUSDT")) == 212 * 3


def test_trades_are_stored_listed_and_checked(qtsim: Run, exchange: Exchange, tmp_path: Path) -> None:
    made = pd.DataFrame(
        {
            "time": [parse_time("2023-03-01 12:00"), parse_time("2023-03-02 12:00")],
            "price": [1.5, 1.25],
            "qty": 2.0,
            "id": [7, 9],
            "is_buyer_maker": [True, False],
        }
    )
    exchange.trades["BTCUSDT"] = made
    days = ("download", "-p", "BTCUSDT", "--kinds", "aggTrades", "--timerange", "20230301-20230303", "--archives-only")
    answer = qtsim("data", *days)
    assert answer.code == 0, answer.said
    assert answer.out.splitlines() == ["trades: 2 days, 2 trades added", "2 archives fetched, 0.0 MB"]
    read = TickStore(tmp_path / "data").read_trades("BTCUSDT")
    pd.testing.assert_frame_equal(pd.DataFrame(read._asdict()), made)
    assert "0 archives fetched" in qtsim("data", *days).out
    values = json.loads(qtsim("data", *days, "--recheck", "--json").out)
    assert (values["trade_days"], values["trades_added"], values["files"]) == (0, 0, 0)

    listed = qtsim("data", "list")
    assert listed.code == 0
    assert "trades  BTCUSDT  2 days" in listed.out
    assert "archives of 127.0.0.1" in listed.out
    checked = qtsim("data", "check", "--ticks")
    assert checked.code == 0
    assert "ids                      aggregate" in checked.out
    assert "missing ids              1" in checked.out


def test_the_alias_of_habit(qtsim: Run) -> None:
    assert qtsim("download-data", *BTC, "--archives-only", "--kinds", "funding").code == 0
    assert "download-data" not in qtsim("--help").out


def test_all_symbols_are_those_in_the_store(qtsim: Run, exchange: Exchange) -> None:
    assert_refused(qtsim("data", "download", "-p", "all", *PERIOD), 2, "--symbols all", "nothing is stored yet")
    qtsim("data", "download", *BTC, "--archives-only", "--kinds", "bars")
    exchange.asked.clear()
    answer = qtsim("data", "download", "-p", "all", *PERIOD, "--archives-only", "--kinds", "bars")
    assert answer.code == 0
    assert "BTCUSDT 1h bars: nothing new" in answer.out
    assert not exchange.asked


def test_rest_and_rules_through_ccxt(
    qtsim: Run, exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ccxt", reason="needs the extra live")
    monkeypatch.setenv("BINANCE_API_KEY", "the-key")
    monkeypatch.setenv("BINANCE_API_SECRET", "the-secret")
    exchange.absent = {"BTCUSDT-1h-2023-07.zip", *(f"BTCUSDT-1h-2023-07-{day:02d}.zip" for day in range(1, 32))}
    answer = qtsim("data", "download", *BTC)
    assert answer.code == 0, answer.said
    assert "over REST" in answer.out
    assert "instrument BTCUSDT: min_notional 50 → 55, brackets of 2024-10-24 → 2023-09-01" in answer.out
    assert "the-key" not in answer.said
    assert "the-secret" not in answer.said
    assert len(bars_of(tmp_path)) == 5088
    shown = qtsim("data", "instruments", "BTCUSDT")
    assert "exchangeInfo of 2023-09-01, brackets of 2023-09-01" in shown.err
    assert "300,000" in shown.out


def test_without_the_extra_one_line_names_it(qtsim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    answer = qtsim("data", "download", *BTC)
    assert answer.code == 0, answer.said
    assert 'pip install "qtsim[live]"' in answer.err


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_offline_is_one_line(empty: Run, tmp_path: Path) -> None:
    point_to(tmp_path, "http://127.0.0.1:1")
    answer = empty("data", "download", *BTC, "--archives-only")
    assert_refused(answer, 1, "offline", "qtsim data sample", "qtsim data import")
    assert len([line for line in answer.err.splitlines() if "error" in line]) == 1


def test_trades_offline_are_one_line_too(empty: Run, tmp_path: Path) -> None:
    point_to(tmp_path, "http://127.0.0.1:1")
    answer = empty(
        "data", "download", "--kinds", "trades", "-p", "BTCUSDT", "--timerange", "20230301-20230302", "--archives-only"
    )
    assert_refused(answer, 1, "offline", "qtsim data import")


def test_a_bad_file_is_named_and_the_rest_is_kept(qtsim: Run, exchange: Exchange, tmp_path: Path) -> None:
    exchange.faults["BTCUSDT-1h-2023-02.zip.CHECKSUM"] = ["wrong", "*"]
    answer = qtsim("data", "download", *BTC, "--archives-only", "--kinds", "bars", "--set", "data.download.tries=2")
    assert_refused(answer, 1, "BTCUSDT-1h-2023-02.zip", "checksum is wrong", "in 2 tries", "the rest is stored")
    assert "bars missing: 672 from 2023-02-01 00:00 UTC" in answer.out
    assert len(bars_of(tmp_path)) == 5088 - 672


BAD_REQUESTS = [
    (
        "unknown_symbol",
        "-p BTCUDST -i 1h --timerange 2023-20230301 --archives-only",
        ["BTCUDST", "did you mean BTCUSDT"],
    ),
    ("no_symbol", "-p B!C -i 1h --timerange 2023-", ["B!C", "BTC/USDT:USDT"]),
    ("delivery_contract", "-p BTCUSDT_240628 --timerange 2023-", ["BTCUSDT_240628", "perpetuals", "BTCUSDT"]),
    ("reversed_period", "--timerange 20230301-20230101", ["--timerange", "20230301-20230101", "is not after"]),
    ("no_period", "--timerange soon", ["--timerange", "soon", "20230101-20250630"]),
    ("period_in_the_future", "--timerange 2199-", ["--timerange 2199-", "future"]),
    ("period_before_the_exchange", "--timerange 2015-2017", ["--timerange 2015-2017", "2019-12-31"]),
    ("unknown_kind", "--kinds bars,fundin --timerange 2023-", ["--kinds fundin", "funding", "trades"]),
    ("no_kind", "--kinds , --timerange 2023-", ["--kinds"]),
    ("unknown_timeframe", "-i 10m --timerange 2023-", ["--timeframe 10m", "15m", "--timeframe 5m"]),
    ("months", "-i 1M --timerange 2023-", ["1M", "a month has no fixed length"]),
    ("nothing_stored_and_no_start", "-p BTCUSDT -i 1h", ["BTCUSDT 1h bars", "--timerange 2023-"]),
    ("address", "--timerange 2023- --set data.archive_url=ftp://x", ["data.archive_url", "https://host"]),
    ("threads", "--timerange 2023- --set data.download.threads=0", ["data.download.threads", "1"]),
    ("unknown_flag", "--timerage 2023-", ["--timerage", "qtsim data download --help"]),
]


@pytest.mark.parametrize(("words", "expected"), [c[1:] for c in BAD_REQUESTS], ids=[c[0] for c in BAD_REQUESTS])
def test_wrong_usage_is_exit_code_two(qtsim: Run, words: str, expected: list[str], tmp_path: Path) -> None:
    assert_refused(qtsim("data", "download", *words.split(" ")), 2, *expected)
    assert Store(tmp_path / "data").symbols() == []


# Ends -----------------------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def fetched(exchange: Exchange) -> int:
    return sum(count for path, count in exchange.paths.items() if path.endswith(".zip"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_a_download_that_is_ended_goes_on(
    qtsim: Run,
    exchange: Exchange,
    spawn: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    first = qtsim("data", "download", "-p", "BTCUSDT", "--timerange", "2023-20230301", "--archives-only")
    assert first.code == 0
    exchange.paths.clear()
    exchange.delay_s = 0.15
    child = spawn("data", "download", *BTC, "--archives-only", "--set", "data.download.threads=2")
    wait_for(lambda: fetched(exchange) >= 4)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    if number == signal.SIGINT:
        assert child.returncode == 1, err
        assert "interrupted: " in err
        assert "Run the same command again to go on" in err
        assert "Traceback" not in err
    assert "BTCUSDT 1h bars" not in out
    store = Store(tmp_path / "data")
    for entry in store.list():
        store.verify(entry)
    assert len(bars_of(tmp_path)) >= (31 + 28) * 24

    before = fetched(exchange)
    exchange.delay_s = 0.0
    answer = qtsim("data", "download", *BTC, "--archives-only")
    assert answer.code == 0, answer.said
    assert len(bars_of(tmp_path)) == 5088
    assert answer.out.count("no gaps") == 2
    # five months of three kinds; at most what two threads were just fetching was fetched twice
    assert fetched(exchange) <= 15 + 2
    assert before >= 4
    left = [path.name for path in (store.folder / "download").rglob("*") if path.suffix in (".part", ".zip")]
    assert left == []
