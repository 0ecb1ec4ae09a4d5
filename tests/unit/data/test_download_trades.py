"""Single trades: fetched day by day, verified, and merged into the store of ticks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.data.download import trades
from qtsim.data.download.archive import Archive, daily, monthly
from qtsim.data.download.report import DownloadError, DownloadReport
from qtsim.data.download.run import FOLDER, Request, Sources, download
from qtsim.data.download.trades import store_trades
from qtsim.data.importer import import_path
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.ticks.importing import import_ticks
from qtsim.data.timeframes import DAY, parse_time
from qtsim.errors import DataError, UsageError
from tests.unit.data.exchange_server import ARCHIVE, Exchange, serving, with_rest
from tests.unit.data.made_ticks import agg_trades, single_trades, zipped

START = parse_time("2022-05-30")
SOURCE = "archives of {}"
SECOND_DAY = "BTCUSDT-aggTrades-2022-05-31.zip"


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
    made.microseconds = {SECOND_DAY}
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def get(exchange: Exchange, store: Store, start: int | None = START, *, recheck: bool = False) -> DownloadReport:
    wanted = Request(("BTCUSDT",), ("1h",), ("trades",), start=start, end=START + 3 * DAY, recheck=recheck, rules=False)
    return download(store, wanted, Sources(exchange.url, with_rest(exchange), tries=2), now=exchange.now)


def of_day(exchange: Exchange, number: int) -> pd.DataFrame:
    whole = exchange.trades["BTCUSDT"]
    return whole[(whole["time"] - START) // DAY == number]


def assert_stored(store: Store, exchange: Exchange) -> None:
    read = TickStore.beside(store).read_trades("BTCUSDT")
    pd.testing.assert_frame_equal(pd.DataFrame(read._asdict()), exchange.trades["BTCUSDT"])


def archive_file(exchange: Exchange, archive: Archive, folder: Path) -> Path:
    match = ARCHIVE.match(f"/{archive.path}")
    assert match
    content = exchange.content(match)
    assert content
    path = folder / archive.name
    path.write_bytes(content)
    return path


def test_days_are_stored_whole_and_fetched_once(exchange: Exchange, store: Store) -> None:
    with serving(exchange):
        report = get(exchange, store)
        assert report.describe_trades() == "trades: 3 days, 1,500 trades added"
        exchange.asked.clear()
        again = get(exchange, store)
        assert (again.trade_days, again.describe_trades()) == (0, "")
        assert not exchange.asked
    assert_stored(store, exchange)
    days = TickStore.beside(store).entries("BTCUSDT")
    assert [(day.numbering, day.sources) for day in days] == [("aggregate", (SOURCE.format(exchange.url[7:]),))] * 3
    assert list((store.folder / FOLDER).rglob("*.zip")) == []


def test_a_day_that_the_store_has_lost_is_fetched_again(exchange: Exchange, store: Store) -> None:
    ticks = TickStore.beside(store)
    with serving(exchange):
        get(exchange, store)
        ticks.entry("BTCUSDT", "2022-05-30").path.unlink()
        fewer = of_day(exchange, 2)[:100].rename(columns={"id": "agg_trade_id"})
        ticks.write_trades_day("BTCUSDT", "2022-06-01", fewer)
        exchange.asked.clear()
        assert get(exchange, store).trade_days == 2
    assert exchange.asked[SECOND_DAY] == 0
    assert_stored(store, exchange)


def test_trades_imported_by_hand_stay(exchange: Exchange, store: Store, tmp_path: Path) -> None:
    """The archive lacks some of them: a day is merged, not replaced."""
    path = tmp_path / "BTCUSDT-aggTrades-mine.csv"
    agg_trades(of_day(exchange, 1)[:200]).to_csv(path, index=False)
    import_path(store, path)
    hole = of_day(exchange, 1)["time"].to_numpy()[[20, 60]]
    exchange.holes[SECOND_DAY] = (int(hole[0]), int(hole[1]))
    with serving(exchange):
        assert get(exchange, store).trades_added == 1300
    assert_stored(store, exchange)
    sources = TickStore.beside(store).entry("BTCUSDT", "2022-05-31").sources
    assert len(sources) == 2
    assert "BTCUSDT-aggTrades-mine.csv" in sources[0]
    assert sources[1] == SOURCE.format(exchange.url[7:])


def test_an_archive_that_contradicts_the_store_is_named_and_changes_nothing(exchange: Exchange, store: Store) -> None:
    ticks = TickStore.beside(store)
    mine = of_day(exchange, 1).rename(columns={"id": "agg_trade_id"})
    mine.iloc[7, mine.columns.get_loc("price")] += 1.0
    ticks.write_trades_day("BTCUSDT", "2022-05-31", mine, source="mine")
    before = ticks.entry("BTCUSDT", "2022-05-31")
    with serving(exchange), pytest.raises(DownloadError) as caught:
        get(exchange, store)
    number = int(mine["agg_trade_id"].iloc[7])
    assert f"{SECOND_DAY}, row 8: id {number} has price" in str(caught.value)
    assert f"in {before.path}; where the stored one is wrong, delete that file" in str(caught.value)
    assert ticks.entry("BTCUSDT", "2022-05-31") == before
    assert caught.value.report.trade_days == 2


def test_single_trades_of_the_same_day_are_named(exchange: Exchange, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2022-05-31.csv"
    single_trades(of_day(exchange, 1)).to_csv(path, index=False)
    import_path(store, path)
    with serving(exchange), pytest.raises(DownloadError, match=r"aggTrades-2022-05-31\.zip: .* told twice"):
        get(exchange, store)


def test_a_day_without_an_archive_is_named(exchange: Exchange, store: Store) -> None:
    exchange.absent = {SECOND_DAY}
    with serving(exchange):
        report = get(exchange, store)
    assert f"no archives of trades: {SECOND_DAY}" in report.notes
    assert report.trade_days == 2


@pytest.mark.parametrize("fault", ["no_zip", "no_trades", "single_trades", "bad_row"])
def test_a_damaged_archive_is_named_and_fetched_again(
    exchange: Exchange, store: Store, tmp_path: Path, fault: str
) -> None:
    content, told = {
        "no_zip": ("", "it is damaged or not a .zip file"),
        "no_trades": ("a,b\n1,2\n", "not trades: no column price"),
        "single_trades": (single_trades(of_day(exchange, 1)).to_csv(index=False), "holds no aggregate trades"),
        "bad_row": (agg_trades(of_day(exchange, 1).assign(qty=0.0)).to_csv(index=False), "row 1 (2022-05-31"),
    }[fault]
    path = tmp_path / SECOND_DAY
    zipped(path, content)
    exchange.replaced[SECOND_DAY] = path.read_bytes() if content else b"no zip"
    with serving(exchange):
        with pytest.raises(DownloadError) as caught:
            get(exchange, store)
        (failure,) = caught.value.report.failures
        assert failure.startswith(SECOND_DAY)
        assert told in failure
        assert len(TickStore.beside(store).days("BTCUSDT")) == 2
        exchange.replaced.clear()
        assert get(exchange, store).trade_days == 1
    assert_stored(store, exchange)


def test_a_damaged_day_of_the_store_is_named(exchange: Exchange, store: Store) -> None:
    with serving(exchange):
        get(exchange, store)
        path = TickStore.beside(store).entry("BTCUSDT", "2022-05-31").path
        path.write_bytes(b"half")
        with pytest.raises(DownloadError, match="damaged store file") as caught:
            get(exchange, store)
        assert str(path) in str(caught.value)
        path.unlink()
        assert get(exchange, store).trade_days == 1
    assert_stored(store, exchange)


def test_an_archive_that_was_replaced_is_merged_again(exchange: Exchange, store: Store) -> None:
    whole = exchange.trades["BTCUSDT"]
    exchange.trades["BTCUSDT"] = whole.drop(index=range(600, 650))
    with serving(exchange):
        get(exchange, store)
        exchange.trades["BTCUSDT"] = whole
        assert get(exchange, store).trade_days == 0
        report = get(exchange, store, recheck=True)
        assert report.describe_trades() == "trades: 1 day, 50 trades added"
        assert f"replaced by the exchange since: {SECOND_DAY}" in report.notes
    assert_stored(store, exchange)


def test_trades_need_a_period(exchange: Exchange, store: Store) -> None:
    with serving(exchange), pytest.raises(UsageError, match="--timerange"):
        get(exchange, store, start=None)


def test_trades_of_another_day_are_refused(exchange: Exchange, store: Store, tmp_path: Path) -> None:
    path = archive_file(exchange, daily("trades", "BTCUSDT", "", START), tmp_path)
    wrong = daily("trades", "BTCUSDT", "", START + DAY)
    ticks = TickStore.beside(store)
    with pytest.raises(DataError, match=r"row 1 is of 2022-05-30 .*, which is not from 2022-05-31 00:00 UTC to"):
        store_trades(ticks, wrong, path, source="test")
    assert ticks.days("BTCUSDT") == []


def test_a_month_is_split_into_its_days_part_by_part(
    exchange: Exchange, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trades, "import_ticks", partial(import_ticks, chunk_rows=100, held_rows=200))
    month = monthly("trades", "BTCUSDT", "", START)
    exchange.now = month.end
    path = archive_file(exchange, month, tmp_path)
    ticks = TickStore.beside(store)
    done = store_trades(ticks, month, path, source="test")
    assert done.added == len(of_day(exchange, 0)) + len(of_day(exchange, 1))
    assert len(ticks.days("BTCUSDT")) == 2
