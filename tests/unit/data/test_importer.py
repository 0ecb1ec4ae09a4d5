from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.data.frames import times_of
from qtsim.data.importer import FolderImportError, _from_name, import_path
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.timeframes import HOUR
from qtsim.errors import DataError, UsageError
from tests.unit.data.made_bars import START, made_bars

BARS = made_bars(48)
MS = (times_of(BARS) // 1_000_000).tolist()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def candles() -> list[list[float]]:
    return [[ms, *row] for ms, row in zip(MS, BARS.to_numpy().tolist(), strict=True)]


def kline_rows() -> list[list[Any]]:
    """Candles as the exchange gives them: 12 columns, prices as text."""
    rows = []
    for ms, *values in candles():
        rows.append([int(ms), *(str(value) for value in values), int(ms) + 3_599_999, "1.0", 5, "0.5", "0.5", "0"])
    return rows


KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def freqtrade_frame(frame: pd.DataFrame = BARS) -> pd.DataFrame:
    return frame.reset_index().rename(columns={"time": "date"})


def csv_lines(rows: list[list[Any]], header: str = "") -> str:
    return "\n".join([header] * bool(header) + [",".join(map(str, row)) for row in rows]) + "\n"


def zipped(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.stem + ".csv", text)


def newest_first() -> str:
    table = freqtrade_frame().iloc[::-1].rename(columns={"date": "unix"})
    table["unix"] = MS[::-1]
    return "https://www.example.com\n" + table.to_csv(index=False)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "BTC_USDT_USDT-1h-futures.feather": lambda path: freqtrade_frame().to_feather(path),
    "BTC_USDT_USDT-1h-futures.json": lambda path: path.write_text(json.dumps(candles())),
    "BTC_USDT_USDT-1h-futures.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(candles()).encode())),
    "BTC_USDT_USDT-1h-futures.parquet": lambda path: freqtrade_frame().to_parquet(path),
    "BTCUSDT-1h-2024-01.csv": lambda path: path.write_text(csv_lines(kline_rows(), KLINE_HEADER)),
    "BTCUSDT-1h-2024-01-31.csv": lambda path: path.write_text(csv_lines(kline_rows())),
    "BTCUSDT-1h-2024-02.zip": lambda path: zipped(path, csv_lines(kline_rows())),
    "BTCUSDT.csv": lambda path: path.write_text(BARS.rename(columns=str.capitalize).rename_axis("").to_csv()),
    "btcusdt.parquet": lambda path: BARS.to_parquet(path),
    "BTC-USDT.json": lambda path: path.write_text(json.dumps(kline_rows())),
    "BTCUSDT_1h.json": lambda path: freqtrade_frame().to_json(path, orient="records", date_format="iso"),
    "BTCUSDT_60m.json": lambda path: BARS.to_json(path, orient="split", date_format="iso"),
    "BTCUSDT 1h.json": lambda path: freqtrade_frame().to_json(path, orient="columns", date_format="iso"),
    "BTCUSDT_columns.json": lambda path: path.write_text(
        json.dumps({"t": MS, **{name[0]: BARS[name].tolist() for name in BARS}})
    ),
    "BTCUSDT-1h.csv.gz": lambda path: path.write_bytes(gzip.compress(freqtrade_frame().to_csv(index=False).encode())),
    "BTCUSDT;1h.csv": lambda path: freqtrade_frame().to_csv(path, index=False, sep=";"),
    "Binance_BTCUSDT_1h.csv": lambda path: path.write_text(newest_first()),
    "BTCUSDT-1H.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + freqtrade_frame().to_csv(index=False).encode()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_as_people_have_them(store: Store, inbox: Path, name: str) -> None:
    WRITERS[name](inbox / name)
    symbol = "BTCUSDT" if "columns" not in name and ";" not in name else None
    reports = import_path(store, inbox / name, symbol=None if symbol else "BTCUSDT")
    assert [(r.status, r.kind, r.symbol, r.timeframe, r.added) for r in reports] == [
        ("new", "bars", "BTCUSDT", "1h", 48)
    ]
    pd.testing.assert_frame_equal(store.read_bars("BTCUSDT", "1h"), BARS)
    assert store.list()[0].source == f"inbox/{name}"


def test_importing_again_changes_nothing_and_says_so(store: Store, inbox: Path) -> None:
    for name in list(WRITERS)[:3]:
        WRITERS[name](inbox / name)
    first = import_path(store, inbox)
    assert [report.status for report in first] == ["new", "new", "new"] or first[0].added == 48
    path = store.list()[0].path
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    second = import_path(store, inbox)
    assert {(report.status, report.added, report.changed, report.unchanged) for report in second} == {
        ("unchanged", 0, 0, 48)
    }
    assert "nothing new, all 48 rows were there" in second[0].describe()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def write_freqtrade_folder(folder: Path) -> None:
    """What freqtrade leaves behind, with things that are no series."""
    futures = folder / "futures"
    futures.mkdir(parents=True)
    freqtrade_frame().to_feather(futures / "BTC_USDT_USDT-1h-futures.feather")
    mark = freqtrade_frame(made_bars(48, seed=1))
    mark["volume"] = np.nan
    mark.to_feather(futures / "BTC_USDT_USDT-1h-mark.feather")
    funding = freqtrade_frame(made_bars(6, "8h"))
    funding["date"] += pd.Timedelta(milliseconds=7)
    funding["open"] = [0.0001, -0.0002, 0.0, 0.0003, 0.0001, 0.0001]
    funding[["high", "low", "close", "volume"]] = 0.0
    funding.to_feather(futures / "BTC_USDT_USDT-8h-funding_rate.feather")
    freqtrade_frame(made_bars(48, seed=2)).to_feather(folder / "BTC_USDT-1h.feather")
    freqtrade_frame(made_bars(48, seed=3)).to_feather(folder / "ETH_USDT-1h.feather")
    (futures / "leverage_tiers_USDT.json").write_text(json.dumps({"updated": "x", "data": {}}))
    trades = {"timestamp": [1704067200123, 1704067200124], "id": ["7", "8"], "type": [None, None]}
    trades |= {"side": ["buy", "sell"], "price": [100.0, 99.9], "amount": [0.5, 1.0], "cost": [50.0, 99.9]}
    pd.DataFrame(trades).to_feather(futures / "BTC_USDT_USDT-trades.feather")
    (futures / "BTC_USDT_USDT-1h-index.feather").write_bytes(b"index")
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden.csv").write_text("mine")


def test_a_freqtrade_folder_in_one_go(store: Store, inbox: Path) -> None:
    write_freqtrade_folder(inbox / "binance")
    seen: list[tuple[int, int, str]] = []
    reports = import_path(store, inbox, progress=lambda done, total, path: seen.append((done, total, path.name)))
    assert [str(entry.key) for entry in store.list()] == [
        "BTCUSDT 1h bars",
        "ETHUSDT 1h bars",
        "BTCUSDT 1h mark bars",
        "BTCUSDT funding",
    ]
    by_name = {report.path.name: report for report in reports}
    assert by_name["BTC_USDT-1h.feather"].message == "spot candles beside futures candles of the same symbol"
    assert by_name["leverage_tiers_USDT.json"].status == "skipped"
    assert by_name["BTC_USDT_USDT-1h-index.feather"].message == "an index price: not imported by this version"
    assert by_name["BTC_USDT_USDT-trades.feather"].describe().startswith("BTCUSDT trades: 2 rows added")
    assert TickStore.beside(store).read_day("BTCUSDT", "2024-01-01").trades.is_buyer_maker.tolist() == [False, True]
    pd.testing.assert_frame_equal(store.read_bars("BTCUSDT", "1h"), BARS)
    funding = store.read_funding("BTCUSDT")
    assert funding["funding_rate"].tolist() == [0.0001, -0.0002, 0.0, 0.0003, 0.0001, 0.0001]
    assert (times_of(funding) % (8 * HOUR) == 0).all()
    assert [done for done, _, _ in seen] == list(range(len(reports) + 1))
    assert {total for _, total, _ in seen} == {len(reports)}


def test_one_damaged_file_is_named_and_the_others_are_imported(store: Store, inbox: Path) -> None:
    write_freqtrade_folder(inbox)
    good = (inbox / "ETH_USDT-1h.feather").read_bytes()
    (inbox / "SOL_USDT-1h.feather").write_bytes(good[: len(good) // 2])
    bad = made_bars(5)
    bad.iloc[2, 1] = 0.5
    freqtrade_frame(bad).to_csv(inbox / "XRP_USDT-1h.csv", index=False)
    with pytest.raises(FolderImportError) as caught:
        import_path(store, inbox)
    message = str(caught.value)
    assert message.startswith("2 of 10 files failed, 5 are in the store")
    assert f"{inbox / 'SOL_USDT-1h.feather'} cannot be read" in message
    assert f"{inbox / 'XRP_USDT-1h.csv'}: XRPUSDT 1h, row 3 (2024-01-01 02:00 UTC): high 0.5 is below" in message
    assert len(caught.value.reports) == 10
    assert caught.value.exit_code == 1
    assert store.symbols() == ["BTCUSDT", "ETHUSDT"]


def test_bad_rows_can_be_dropped_and_are_counted(store: Store, inbox: Path) -> None:
    bad = BARS.copy()
    bad.iloc[2, 1] = 0.5
    bad.iloc[3, 3] = np.nan
    pd.concat([bad, bad.iloc[[9]]]).to_csv(inbox / "BTCUSDT.csv")
    with pytest.raises(DataError, match=r"BTCUSDT.csv: BTCUSDT 1h, row 3 .*high 0.5 is below"):
        import_path(store, inbox / "BTCUSDT.csv")
    assert store.list() == []
    (report,) = import_path(store, inbox / "BTCUSDT.csv", on_bad_rows="drop")
    assert report.quality is not None
    assert report.quality.dropped == 3
    assert report.added == 46
    assert "3 rows dropped (1 NaN, 1 high below, 1 duplicate)" in report.describe()
    assert "1 gap, 2 bars missing at 2024-01-01 02:00 UTC" in report.describe()


def test_monthly_files_become_one_series(store: Store, inbox: Path) -> None:
    rows = kline_rows()
    (inbox / "BTCUSDT-1h-2024-01.csv").write_text(csv_lines(rows[:20]))
    (inbox / "BTCUSDT-1h-2024-02.csv").write_text(csv_lines(rows[20:], KLINE_HEADER))
    reports = import_path(store, inbox)
    assert [report.added for report in reports] == [20, 28]
    pd.testing.assert_frame_equal(store.read_bars("BTCUSDT", "1h"), BARS)
    assert store.list()[0].sources == ("inbox/BTCUSDT-1h-2024-01.csv", "inbox/BTCUSDT-1h-2024-02.csv")


def test_the_newer_import_wins_and_is_counted(store: Store, inbox: Path) -> None:
    WRITERS["BTCUSDT.csv"](inbox / "BTCUSDT.csv")
    import_path(store, inbox / "BTCUSDT.csv")
    BARS.assign(volume=1.0).iloc[:7].to_csv(inbox / "BTCUSDT-1h.csv")
    (report,) = import_path(store, inbox / "BTCUSDT-1h.csv")
    assert (report.status, report.added, report.changed) == ("merged", 0, 7)
    assert store.read_bars("BTCUSDT", "1h")["volume"].iloc[:7].tolist() == [1.0] * 7
    size = 100 * float((abs(1.0 - BARS["volume"].iloc[:7]) / BARS["volume"].iloc[:7]).max())
    assert f"7 rows changed by up to {size:.3g} %, the first at 2024-01-01 00:00 UTC" in report.describe()
    BARS.assign(volume=1.0).iloc[9:10].assign(close=BARS["close"].iloc[9]).to_csv(inbox / "BTCUSDT-1h.csv")
    (report,) = import_path(store, inbox / "BTCUSDT-1h.csv")
    assert "1 row changed by up to" in report.describe()
    assert "the first at 2024-01-01 09:00 UTC" in report.describe()


def test_arguments_override_what_the_name_says(store: Store, inbox: Path) -> None:
    WRITERS["BTCUSDT.csv"](inbox / "prices.csv")
    with pytest.raises(DataError, match=r"prices.csv: cannot tell the symbol from the name; say it: -p BTCUSDT"):
        import_path(store, inbox / "prices.csv")
    import_path(store, inbox / "prices.csv", symbol="ETH/USDT:USDT", kind="mark")
    assert [str(entry.key) for entry in store.list()] == ["ETHUSDT 1h mark bars"]


def test_a_column_is_imported_under_its_name(store: Store, inbox: Path) -> None:
    (inbox / "fear_greed.csv").write_text("date,value\n2024-01-01,20\n2024-01-02,35\n2024-01-03,\n")
    with pytest.raises(DataError, match=r"fear, row 3 .*fear is nan"):
        import_path(store, inbox / "fear_greed.csv", column="fear")
    (report,) = import_path(store, inbox / "fear_greed.csv", column="fear", on_bad_rows="drop")
    assert (report.kind, report.symbol, report.added) == ("column", "", 2)
    assert store.read_column("fear")["fear"].tolist() == [20.0, 35.0]
    import_path(store, inbox / "fear_greed.csv", column="fear", symbol="BTCUSDT", on_bad_rows="drop")
    assert store.has("BTCUSDT", kind="column", name="fear")


def test_a_timeframe_that_the_rows_deny_is_refused(store: Store, inbox: Path) -> None:
    made_bars(20, "8h").to_csv(inbox / "BTCUSDT-1h.csv")
    with pytest.raises(DataError, match="said to be 1h, but no two rows are closer than 8h"):
        import_path(store, inbox / "BTCUSDT-1h.csv")
    made_bars(20, "5m").to_csv(inbox / "BTCUSDT-1h.csv")
    with pytest.raises(DataError, match="not the open of a 1h bar"):
        import_path(store, inbox / "BTCUSDT-1h.csv")
    made_bars(1).to_csv(inbox / "BTCUSDT.csv")
    with pytest.raises(DataError, match="1 row does not show the timeframe"):
        import_path(store, inbox / "BTCUSDT.csv")


DAMAGED: dict[str, tuple[bytes, str]] = {
    "BTCUSDT-1h.csv": (b"time,open\n1,2,3\n", "cannot be read"),
    "BTCUSDT-5m.csv": (b"\xff\xfe\x00", "cannot be read"),
    "BTCUSDT-15m.csv": (b"  \n", "is empty"),
    "BTCUSDT-30m.csv": (b"1,2,3,4\n", "has 4 columns and no header"),
    "BTCUSDT-2h.json": (b"{", "cannot be read"),
    "BTCUSDT-4h.json": (b"[]", "holds no table"),
    "BTCUSDT-6h.json.gz": (b"not gzip", "cannot be read"),
    "BTCUSDT-8h.parquet": (b"PAR1", "cannot be read"),
    "BTCUSDT-1d.feather": (b"", "cannot be read"),
    "BTCUSDT-1w.zip": (b"PK", "cannot be read"),
    "BTCUSDT-3h.csv": (b"time,note\n2024-01-01,x\n", "neither candles nor funding; its columns are time, note"),
    "BTCUSDT-1m.txt.bz2": (b"", "files like this are not read"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named(store: Store, inbox: Path, name: str) -> None:
    content, says = DAMAGED[name]
    (inbox / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        import_path(store, inbox / name)
    assert says in str(caught.value)
    assert str(inbox / name) in str(caught.value)
    assert store.list() == []


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    store: Store, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS["BTCUSDT.csv"](inbox / "BTCUSDT.csv")

    def deny(*args: object, **others: object) -> bool:
        raise PermissionError(13, "Permission denied")

    for name in ("read_bytes", "exists"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, deny)
            with pytest.raises(DataError) as caught:
                import_path(store, inbox / "BTCUSDT.csv")
        assert str(caught.value) == (
            f"{inbox / 'BTCUSDT.csv'}: permission denied; give yourself the right to read it, or choose another place"
        )


def test_wrong_usage(store: Store, inbox: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        import_path(store, inbox / "nothing.csv")
    with pytest.raises(UsageError, match="holds no files that can be read"):
        import_path(store, inbox)
    WRITERS["BTCUSDT.csv"](inbox / "BTCUSDT.csv")
    WRITERS["BTCUSDT.csv"](inbox / "ETHUSDT.csv")
    with pytest.raises(UsageError, match="kind 'ticks' is not known"):
        import_path(store, inbox, kind="ticks")
    with pytest.raises(UsageError, match="--column NAME"):
        import_path(store, inbox / "BTCUSDT.csv", kind="column")
    with pytest.raises(UsageError, match="leave one of the two out"):
        import_path(store, inbox / "BTCUSDT.csv", kind="bars", column="x")
    with pytest.raises(UsageError, match="a column comes from one file"):
        import_path(store, inbox, column="x")
    with pytest.raises(UsageError, match="holds files of ETHUSDT too"):
        import_path(store, inbox, symbol="BTCUSDT")
    with pytest.raises(UsageError, match="use error or drop"):
        import_path(store, inbox / "BTCUSDT.csv", on_bad_rows="keep")
    (inbox / "BTCUSDT.csv").unlink()
    (inbox / "ETHUSDT.csv").rename(inbox / "BTCUSDT-depth.csv")
    with pytest.raises(UsageError, match="holds no market data; 1 files were skipped: an order book"):
        import_path(store, inbox)


def test_a_delivery_contract_never_becomes_the_perpetual(store: Store, inbox: Path) -> None:
    (inbox / "BTCUSDT-1h-2024-06.csv").write_text(csv_lines(kline_rows()))
    shifted = [[row[0], *(str(float(value) + 50) for value in row[1:5]), *row[5:]] for row in kline_rows()]
    (inbox / "BTCUSDT_240628-1h-2024-06.csv").write_text(csv_lines(shifted))
    reports = {report.path.name: report for report in import_path(store, inbox)}
    skipped = reports["BTCUSDT_240628-1h-2024-06.csv"]
    assert skipped.status == "skipped"
    assert "BTCUSDT_240628 is a contract with a delivery date" in skipped.message
    pd.testing.assert_frame_equal(store.read_bars("BTCUSDT", "1h"), BARS)
    assert store.symbols() == ["BTCUSDT"]
    with pytest.raises(DataError, match="qtsim trades perpetuals"):
        import_path(store, inbox / "BTCUSDT_240628-1h-2024-06.csv")
    with pytest.raises(UsageError, match="holds files of BTCUSDT_240628 too"):
        import_path(store, inbox, symbol="BTCUSDT")
    (report,) = import_path(store, inbox / "BTCUSDT_240628-1h-2024-06.csv", symbol="XUSDT")
    assert (report.symbol, report.added) == ("XUSDT", 48)


def test_finer_rows_than_the_name_says_are_refused_under_drop_too(store: Store, inbox: Path) -> None:
    made_bars(240, "5m").to_csv(inbox / "BTCUSDT-1h.csv")
    for on_bad_rows in ("error", "drop"):
        with pytest.raises(DataError, match="said to be 1h, but its rows are 5m apart"):
            import_path(store, inbox / "BTCUSDT-1h.csv", on_bad_rows=on_bad_rows)
    assert store.list() == []


def test_bars_of_months_are_skipped_with_the_reason(store: Store, inbox: Path) -> None:
    freqtrade_frame(made_bars(5, "30d")).to_feather(inbox / "BTC_USDT_USDT-1M-futures.feather")
    freqtrade_frame().to_feather(inbox / "BTC_USDT_USDT-1h-futures.feather")
    months = next(report for report in import_path(store, inbox) if "1M" in report.path.name)
    assert (months.status, "a month has no fixed length" in months.message) == ("skipped", True)
    assert [str(entry.key) for entry in store.list()] == ["BTCUSDT 1h bars"]


@pytest.mark.parametrize(("name", "kind"), [("funding_rate", "funding"), ("mark_close", "mark")])
def test_a_column_cannot_take_the_name_of_another_series(store: Store, inbox: Path, name: str, kind: str) -> None:
    (inbox / "x.csv").write_text("date,value\n2024-01-01,20\n")
    with pytest.raises(UsageError, match=f"column {name} is made of the {kind} series: import that with --kind {kind}"):
        import_path(store, inbox / "x.csv", column=name)
    with pytest.raises(UsageError, match=f"--kind {kind}"):
        store.write_column(name, made_bars(3)["close"], source="x")


def test_a_file_of_several_symbols_is_refused(store: Store, inbox: Path) -> None:
    both = pd.concat([made_bars(3).assign(symbol="BTCUSDT"), made_bars(3, seed=1).assign(symbol="ETHUSDT")])
    both.to_csv(inbox / "BTCUSDT-1h.csv")
    with pytest.raises(DataError, match=r"column symbol names several symbols \(BTCUSDT, ETHUSDT\)"):
        import_path(store, inbox / "BTCUSDT-1h.csv", on_bad_rows="drop")
    made_bars(3).assign(symbol="BTCUSDT").to_csv(inbox / "BTCUSDT-1h.csv")
    assert import_path(store, inbox / "BTCUSDT-1h.csv")[0].added == 3


@pytest.mark.parametrize(
    ("path", "kind", "symbol", "timeframe"),
    [
        ("BTC_USDT_USDT-1h-futures.feather", "bars", "BTCUSDT", "1h"),
        ("BTC_USDT_USDT-8h-mark.feather", "mark", "BTCUSDT", "8h"),
        ("1000PEPE_USDT_USDT-1h-funding_rate.feather", "funding", "1000PEPEUSDT", "1h"),
        ("UNITTEST_BTC-5m.feather", "", "UNITTESTBTC", "5m"),
        ("BTC_USDT_USDT-1h-index.feather", "index", "BTCUSDT", "1h"),
        ("BTCUSDT-1h-2024-01.csv", "", "BTCUSDT", "1h"),
        ("BTCUSDT-1m-2024-01-31.zip", "", "BTCUSDT", "1m"),
        ("markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip", "mark", "BTCUSDT", "1h"),
        ("premiumIndexKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip", "premiumindexklines", "BTCUSDT", "1h"),
        ("BTCUSDT-fundingRate-2024-01.zip", "funding", "BTCUSDT", ""),
        ("BTCUSDT-aggTrades-2024-01.zip", "trades", "BTCUSDT", ""),
        ("BTCUSDT-bookTicker-2024-01-01.zip", "quotes", "BTCUSDT", ""),
        ("mark_1h/BTCUSDT.parquet", "mark", "BTCUSDT", ""),
        ("ohlcv_1h/BTCUSDT.parquet", "", "BTCUSDT", ""),
        ("1000PEPEUSDT_15m.parquet", "", "1000PEPEUSDT", "15m"),
        ("1000PEPEUSDT_mark_8h.parquet", "mark", "1000PEPEUSDT", "8h"),
        ("GOOG.csv", "", "GOOG", ""),
        ("bars/BTCUSDT/1h.parquet", "bars", "BTCUSDT", "1h"),
        ("INDEXUSDT-1h.csv", "", "INDEXUSDT", "1h"),
        ("BTCUSDT-1h-a.csv", "", "BTCUSDT", "1h"),
        ("BTCUSDT_1h_clean.csv", "", "BTCUSDT", "1h"),
        ("btcusdt_1h_v2.csv", "", "BTCUSDT", "1h"),
        ("my_BTC_USDT_1h.csv", "", "BTCUSDT", "1h"),
        ("WBTC_USDT-1h.csv", "", "WBTCUSDT", "1h"),
        ("TUSD_USDT-1h.csv", "", "TUSDUSDT", "1h"),
        ("kraken_XBTUSD_60.csv", "", "XBTUSD", ""),
        ("BTCUSDT_ETHUSDT_1h.csv", "", "", "1h"),
        ("my_data.csv", "", "", ""),
        ("ok.csv", "", "", ""),
        ("BTCUSDT_240628-1h-2024-06.csv", "", "BTCUSDT_240628", "1h"),
        ("BTC_USDT_USDT-240628-1h-futures.feather", "bars", "BTCUSDT_240628", "1h"),
        ("BTCUSDT-1h-240628.csv", "", "BTCUSDT", "1h"),
        ("BTCUSDT_202406.csv", "", "BTCUSDT", ""),
    ],
)
def test_names(path: str, kind: str, symbol: str, timeframe: str) -> None:
    guess = _from_name(Path(path))
    assert (guess.kind if path.split("/")[0] != "bars" else "bars", guess.symbol, guess.timeframe) == (
        kind,
        symbol,
        timeframe,
    )


def test_the_exchanges_monthly_funding(store: Store, inbox: Path) -> None:
    rows = [[START // 10**6 + 28_800_000 * i + 3, 8, 0.0001 * i] for i in range(5)]
    zipped(inbox / "BTCUSDT-fundingRate-2024-01.zip", csv_lines(rows))
    rows = [[START // 10**6 + 28_800_000 * i + 3, 8, 0.0001 * i] for i in range(5, 9)]
    zipped(
        inbox / "BTCUSDT-fundingRate-2024-02.zip", csv_lines(rows, "calc_time,funding_interval_hours,last_funding_rate")
    )
    import_path(store, inbox)
    funding = store.read_funding("BTCUSDT")
    assert len(funding) == 9
    assert (times_of(funding) % (8 * HOUR) == 0).all()


def test_a_store_moved_from_elsewhere_can_be_imported(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    other.write_bars("BTCUSDT", "1h", BARS, source="a")
    other.write_bars("BTCUSDT", "1h", made_bars(9, mark=True), kind="mark", source="a")
    other.write_funding(
        "BTCUSDT", pd.DataFrame({"funding_rate": [0.1]}, index=pd.DatetimeIndex(["2024-01-01"])), source="a"
    )
    import_path(store, other.root)
    assert [entry.fingerprint for entry in store.list()] == [entry.fingerprint for entry in other.list()]


# Recorded data --------------------------------------------------------------------------------------------------------


def test_recorded_futures_folder(store: Store, shared_data: Path) -> None:
    reports = import_path(store, shared_data / "freqtrade_testdata")
    assert not [report for report in reports if report.status in ("skipped", "failed")]
    funding = store.read_funding("XRPUSDT")
    assert len(funding) == 91
    assert (times_of(funding) % (8 * HOUR) == 0).all()
    assert {report.status for report in import_path(store, shared_data / "freqtrade_testdata")} == {"unchanged"}


def test_recorded_daily_shares(store: Store, shared_data: Path) -> None:
    (report,) = import_path(store, shared_data / "backtesting_py" / "GOOG.csv")
    assert (report.symbol, report.timeframe, report.added) == ("GOOG", "1d", 2148)


def test_recorded_hours_minutes_marks_and_funding_agree(store: Store, shared_data: Path) -> None:
    import_path(store, shared_data / "ohlcv_1h" / "SOLUSDT.parquet")
    import_path(store, shared_data / "ohlcv_1m" / "SOLUSDT.parquet")
    import_path(store, shared_data / "mark_1h" / "SOLUSDT.parquet")
    import_path(store, shared_data / "funding" / "SOLUSDT.parquet")
    assert [str(entry.key) for entry in store.list()] == [
        "SOLUSDT 1m bars",
        "SOLUSDT 1h bars",
        "SOLUSDT 1h mark bars",
        "SOLUSDT funding",
    ]
    hours = store.read_bars("SOLUSDT", "1h")
    (store.list()[1].path).unlink()
    made = store.read_bars("SOLUSDT", "1h")
    assert made.attrs["resampled_from"] == "1m"
    pd.testing.assert_frame_equal(made, hours.loc[made.index], rtol=1e-9)
