"""Single trades: fetched day by day, verified, read, and handed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.data.download.archive import Archive, daily
from qtsim.data.download.report import DownloadError, DownloadReport
from qtsim.data.download.run import FOLDER, Request, Sources, download
from qtsim.data.download.trades import StoreTrades, TradeImporter, keep_trades, read_trades
from qtsim.data.store import Store
from qtsim.data.timeframes import DAY, parse_time
from qtsim.errors import DataError, UsageError
from tests.unit.data.exchange_server import ARCHIVE, Exchange, serving, with_rest

START = parse_time("2022-05-30")


@pytest.fixture
def exchange() -> Exchange:
    """Three days of 500 trades; the first two have no header, the second counts in microseconds."""
    rng = np.random.default_rng(5)
    count = 1500
    times = START + np.sort(rng.integers(0, 3 * DAY // 1_000_000, count)) * 1_000_000
    made = Exchange(now=START + 3 * DAY)
    made.trades["BTCUSDT"] = pd.DataFrame(
        {
            "time": times,
            "price": np.round(rng.uniform(19_000, 21_000, count), 1),
            "qty": np.round(rng.uniform(0.001, 2, count), 3),
            "id": np.arange(9_000, 9_000 + count),
            "is_buyer_maker": rng.random(count) < 0.5,
        }
    )
    made.microseconds = {"BTCUSDT-aggTrades-2022-05-31.zip"}
    return made


def get(exchange: Exchange, store: Store, store_trades: StoreTrades, start: int | None = START) -> DownloadReport:
    wanted = Request(("BTCUSDT",), ("1h",), ("trades",), start=start, end=START + 3 * DAY, rules=False)
    sources = Sources(exchange.url, with_rest(exchange), store_trades=store_trades, tries=2)
    return download(store, wanted, sources, now=exchange.now)


def kept(store: Store) -> list[str]:
    return sorted(path.name for path in (store.folder / FOLDER).rglob("*.zip"))


def test_days_are_read_whole_and_handed_on_once(exchange: Exchange, tmp_path: Path) -> None:
    days: dict[tuple[str, int], pd.DataFrame] = {}

    def write_day(symbol: str, day: int, frame: pd.DataFrame) -> None:
        days[symbol, day] = frame

    store = Store(tmp_path)
    with serving(exchange):
        report = get(exchange, store, TradeImporter(write_day))
        assert report.trade_days == 3
        exchange.asked.clear()
        assert get(exchange, store, TradeImporter(write_day)).trade_days == 0
        assert not exchange.asked
    assert sorted(days) == [("BTCUSDT", START + k * DAY) for k in range(3)]
    together = pd.concat([days[key] for key in sorted(days)], ignore_index=True)
    pd.testing.assert_frame_equal(together, exchange.trades["BTCUSDT"])
    assert kept(store) == []


def test_without_a_store_of_trades_archives_are_kept_and_handed_on_later(exchange: Exchange, tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = [f"BTCUSDT-aggTrades-{day}.zip" for day in ("2022-05-30", "2022-05-31", "2022-06-01")]
    with serving(exchange):
        report = get(exchange, store, keep_trades)
        assert any("3 days are kept as verified archives" in note for note in report.notes)
        assert kept(store) == names
        exchange.asked.clear()
        get(exchange, store, keep_trades)
        rows: list[int] = []
        importer = TradeImporter(lambda symbol, day, frame: rows.append(len(frame)))
        get(exchange, store, importer)
        assert not exchange.asked
    assert sum(rows) == 1500
    assert kept(store) == []


def test_a_day_without_an_archive_is_named(exchange: Exchange, tmp_path: Path) -> None:
    exchange.absent = {"BTCUSDT-aggTrades-2022-05-31.zip"}
    with serving(exchange):
        report = get(exchange, Store(tmp_path), keep_trades)
    assert "no archives of trades: BTCUSDT-aggTrades-2022-05-31.zip" in report.notes


def test_a_day_that_cannot_be_read_is_named_and_fetched_again(exchange: Exchange, tmp_path: Path) -> None:
    exchange.replaced["BTCUSDT-aggTrades-2022-05-31.zip"] = b"no zip"
    importer = TradeImporter(lambda symbol, day, frame: None)
    with serving(exchange):
        with pytest.raises(DownloadError, match=r"BTCUSDT-aggTrades-2022-05-31\.zip cannot be read as trades"):
            get(exchange, Store(tmp_path), importer)
        exchange.replaced.clear()
        assert get(exchange, Store(tmp_path), importer).trade_days == 1


def test_trades_need_a_period(exchange: Exchange, tmp_path: Path) -> None:
    with serving(exchange), pytest.raises(UsageError, match="--timerange"):
        get(exchange, Store(tmp_path), keep_trades, start=None)


def test_trades_of_another_day_are_refused(exchange: Exchange, tmp_path: Path) -> None:
    right = daily("trades", "BTCUSDT", "", START)
    match = ARCHIVE.match(f"/{right.path}")
    assert match
    content = exchange.content(match)
    assert content
    path = tmp_path / right.name
    path.write_bytes(content)
    assert len(read_trades(right, path)) > 400
    wrong = Archive("trades", "BTCUSDT", "", START + DAY, START + 2 * DAY, is_monthly=False)
    with pytest.raises(DataError, match="which is not in 2022-05-31"):
        read_trades(wrong, path)
