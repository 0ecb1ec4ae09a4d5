from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qtsim.data import atomic
from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import make_frame
from qtsim.data.store import MergeReport, SeriesKey, Store, merge_rows
from qtsim.data.timeframes import HOUR
from qtsim.errors import DataError, UsageError
from tests.unit.data.made_bars import START, made_bars


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def funding_frame(n: int, mark: float = float("nan")) -> pd.DataFrame:
    times = START + np.arange(n, dtype=np.int64) * 8 * HOUR
    return make_frame(times, {"funding_rate": np.linspace(0.0, 0.001, n), "mark_price": np.full(n, mark)})


def test_what_is_written_is_read(store: Store) -> None:
    bars, mark, funding = made_bars(100), made_bars(100, mark=True), funding_frame(9)
    store.write_bars("BTC/USDT:USDT", "60m", bars, source="a.csv")
    store.write_bars("BTCUSDT", "1h", mark, kind="mark", source="b.csv")
    store.write_funding("BTCUSDT", funding, source="c.csv")
    store.write_column("mood", pd.Series([1.0, 2.0], index=bars.index[:2]), source="d.csv")
    store.write_column("mood", pd.Series([3.0], index=bars.index[:1]), symbol="BTCUSDT", source="e.csv")
    pd.testing.assert_frame_equal(store.read_bars("btcusdt", "1h"), bars)
    pd.testing.assert_frame_equal(store.read_bars("BTCUSDT", "1h", kind="mark"), mark)
    pd.testing.assert_frame_equal(store.read_funding("BTCUSDT"), funding)
    assert store.read_column("mood")["mood"].tolist() == [1.0, 2.0]
    assert store.read_column("mood", "BTCUSDT")["mood"].tolist() == [3.0]
    assert store.read_column("mood", "ETHUSDT")["mood"].tolist() == [1.0, 2.0]
    assert [str(entry.key) for entry in store.list()] == [
        "BTCUSDT 1h bars",
        "BTCUSDT 1h mark bars",
        "BTCUSDT funding",
        "column mood of BTCUSDT",
        "column mood",
    ]
    entry = store.list()[0]
    assert (entry.rows, entry.start, entry.end, entry.source) == (100, START, START + 99 * HOUR, "a.csv")
    assert entry.fingerprint == fingerprint(bars) == store.fingerprint("BTCUSDT", "1h")
    assert store.has("BTCUSDT", "1h")
    assert store.has("BTCUSDT", kind="funding")
    assert store.has(None, kind="column", name="mood")
    assert not store.has("BTCUSDT", "1m")
    assert not store.has("ETHUSDT", "1h")
    assert store.symbols() == ["BTCUSDT"]
    assert store.symbols("funding") == ["BTCUSDT"]
    for entry in store.list():
        store.verify(entry)


def test_an_empty_store_is_empty_and_makes_no_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.list() == []
    assert store.symbols() == []
    assert not store.has("BTCUSDT", "1h")
    with pytest.raises(
        UsageError,
        match=r"there are none of any symbol; get it with qtsim data download, or import files: qtsim data import",
    ):
        store.read_bars("BTCUSDT", "1h")
    assert not store.root.exists()


def test_ranges_end_exclusively(store: Store) -> None:
    bars = made_bars(100)
    store.write_bars("X", "1h", bars, source="a")
    part = store.read_bars("X", "1h", START + 10 * HOUR, START + 20 * HOUR)
    pd.testing.assert_frame_equal(part, bars.iloc[10:20])
    assert len(store.read_bars("X", "1h", None, START + 1)) == 1


def test_a_finer_timeframe_serves_and_says_so(store: Store) -> None:
    store.write_bars("X", "1m", made_bars(600, "1m"), source="minutes.csv")
    store.write_bars("X", "15m", made_bars(40, "15m"), source="quarters.csv")
    found = store.find("X", "1h")
    assert found is not None
    assert found.timeframe == "15m"
    hours = store.read_bars("X", "1h")
    assert len(hours) == 10
    assert hours.attrs == {"source": "quarters.csv", "resampled_from": "15m"}
    assert store.read_bars("X", "15m").attrs["resampled_from"] == ""
    assert store.read_bars("X", "10m").attrs["resampled_from"] == "1m"
    assert store.find("X", "30s") is None
    assert store.find("X", "1h", "mark") is None


def test_what_is_not_there_says_what_is(store: Store) -> None:
    store.write_bars("BTCUSDT", "1h", made_bars(100), source="a")
    store.write_bars("ETHUSDT", "1d", made_bars(100, "1d"), source="a")
    with pytest.raises(UsageError, match=r"no BTCUSD 1h bars.*did you mean BTCUSDT\? there are BTCUSDT, ETHUSDT"):
        store.read_bars("BTCUSD", "1h")
    with pytest.raises(UsageError, match=r"ETHUSDT is there with 1d; finer ones do not divide 1h"):
        store.read_bars("ETHUSDT", "1h")
    with pytest.raises(
        UsageError, match=r"from 2024-02-01 .* to the end: they open from 2024-01-01 00:00 UTC to 2024-01-05"
    ):
        store.read_bars("BTCUSDT", "1h", START + 31 * 24 * HOUR)
    with pytest.raises(UsageError, match=r"no funding of BTCUSDT"):
        store.read_funding("BTCUSDT")
    with pytest.raises(UsageError, match=r"no column mood.*--column mood"):
        store.read_column("mood")
    with pytest.raises(UsageError, match=r"letters, digits and _"):
        store.read_column("../mood")


def test_bad_rows_are_not_stored(store: Store) -> None:
    bars = made_bars(10)
    bars.iloc[3, 3] = np.nan
    with pytest.raises(DataError, match=r"X 1h, row 4 .*close is NaN"):
        store.write_bars("X", "1h", bars, source="a")
    assert store.list() == []


def test_merging_again_changes_nothing_not_even_the_file(store: Store) -> None:
    bars = made_bars(50)
    assert store.merge_bars("X", "1h", bars, source="a.csv") == MergeReport(50, 0, 0, 50)
    path = store.list()[0].path
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert store.merge_bars("X", "1h", bars, source="a.csv") == MergeReport(0, 0, 50, 50)
    assert store.merge_bars("X", "1h", bars.iloc[10:20], source="other.csv") == MergeReport(0, 0, 10, 50)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_new_rows_are_added_and_the_newer_value_wins(store: Store) -> None:
    bars = made_bars(50)
    store.merge_bars("X", "1h", bars.iloc[:30], source="a.csv")
    newer = bars.iloc[25:].copy()
    newer.iloc[0, 4] = 999.0
    assert store.merge_bars("X", "1h", newer, source="b.csv") == MergeReport(added=20, changed=1, unchanged=4, rows=50)
    merged = store.read_bars("X", "1h")
    assert merged["volume"].iloc[25] == 999.0
    assert merged.index.equals(bars.index)
    assert store.list()[0].sources == ("a.csv", "b.csv")


def test_many_sources_are_named_briefly(store: Store) -> None:
    bars = made_bars(50)
    key = SeriesKey("bars", "X", "1h")
    store.merge_parts(key, [(bars.iloc[10 * i : 10 * i + 10], f"{i}.csv") for i in range(5)])
    assert store.list()[0].source == "0.csv, 1.csv, 2.csv and 2 more"


def test_an_unrecorded_mark_price_does_not_erase_a_recorded_one(store: Store) -> None:
    store.merge_funding("X", funding_frame(9, mark=100.0), source="with")
    assert store.merge_funding("X", funding_frame(9), source="without").changed == 0
    assert store.merge_funding("X", funding_frame(9, mark=101.0), source="other").changed == 9
    assert store.read_funding("X")["mark_price"].tolist() == [101.0] * 9


def merge_slowly(old: dict[int, float], new: dict[int, float]) -> dict[int, float]:
    return dict(sorted({**old, **new}.items()))


series = st.dictionaries(st.integers(0, 30), st.floats(-10, 10), max_size=15)


def value_frame(values: dict[int, float]) -> pd.DataFrame:
    ordered = dict(sorted(values.items()))
    return make_frame(
        np.array(list(ordered), dtype=np.int64), {"value": np.array(list(ordered.values()), dtype=np.float64)}
    )


@example({0: 5e-324}, {0: 1.0})
@given(series, series.filter(bool))
def test_merging_equals_its_slow_twin_and_is_idempotent(old: dict[int, float], new: dict[int, float]) -> None:
    merged, report = merge_rows(value_frame(old) if old else None, value_frame(new))
    pd.testing.assert_frame_equal(merged, value_frame(merge_slowly(old, new)))
    assert report.added == len(new.keys() - old.keys())
    assert report.changed == sum(old[key] != new[key] for key in new.keys() & old.keys())
    assert report.added + report.changed + report.unchanged == len(new)
    again, second = merge_rows(merged, value_frame(new))
    assert again is merged
    assert second == MergeReport(0, 0, len(new), len(merged))


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), min_size=1, max_size=4))
def test_pieces_in_any_order_make_the_same_series(pieces: list[tuple[int, int]]) -> None:
    bars = made_bars(50)
    merged: pd.DataFrame | None = None
    for first, count in pieces:
        merged, _ = merge_rows(merged, bars.iloc[first : first + count])
    backwards: pd.DataFrame | None = None
    for first, count in reversed(pieces):
        backwards, _ = merge_rows(backwards, bars.iloc[first : first + count])
    assert merged is not None
    assert backwards is not None
    pd.testing.assert_frame_equal(merged, backwards)


def test_the_fingerprint_knows_neither_time_nor_source(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    first.write_bars("X", "1h", made_bars(50), source="a")
    second.merge_bars("X", "1h", made_bars(50).iloc[25:], source="b")
    second.merge_bars("X", "1h", made_bars(50).iloc[:25], source="c")
    assert first.fingerprint("X", "1h") == second.fingerprint("X", "1h")


# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_cut_or_foreign_or_flipped_file_is_named_with_the_remedy(store: Store) -> None:
    store.write_bars("X", "1h", made_bars(5000), source="a")
    path = store.list()[0].path
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], b"", b"not parquet at all"):
        path.write_bytes(bad)
        for act in (
            store.list,
            lambda: store.read_bars("X", "1h"),
            lambda: store.merge_bars("X", "1h", made_bars(9), source="b"),
        ):
            with pytest.raises(
                DataError, match=rf"damaged store file {path}: .*; delete {path} and import its data again"
            ):
                act()
    flipped = bytearray(good)
    flipped[1000] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=f"damaged store file {path}"):
        store.read_bars("X", "1h")


def test_a_file_of_other_values_than_it_says_is_damaged(store: Store) -> None:
    store.write_bars("X", "1h", made_bars(50), source="a")
    entry = store.list()[0]
    table = pq.read_table(entry.path)
    changed = table.set_column(4, "close", table.column("open"))
    pq.write_table(changed, entry.path)
    with pytest.raises(DataError, match="its values are not those that were written"):
        store.verify(entry)
    pq.write_table(table.slice(10), entry.path)
    with pytest.raises(DataError, match="50 rows were written"):
        store.read_bars("X", "1h")


def test_files_that_the_store_did_not_write_are_not_read(store: Store) -> None:
    store.write_bars("X", "1h", made_bars(50), source="a")
    path = store.list()[0].path
    made_bars(50).to_parquet(path)
    with pytest.raises(DataError, match=r"was not written by qtsim; move it elsewhere and import it"):
        store.read_bars("X", "1h")
    store.write_bars("X", "1h", made_bars(50), source="a")
    other = path.parent.with_name("Y") / path.name
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="holds X 1h bars, which its name denies"):
        store.read_bars("Y", "1h")


def test_another_format_or_broken_metadata_is_refused(store: Store) -> None:
    store.write_bars("X", "1h", made_bars(50), source="a")
    path = store.list()[0].path
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"qtsim"])
    pq.write_table(table.replace_schema_metadata({b"qtsim": json.dumps(meta | {"format": 99}).encode()}), path)
    with pytest.raises(DataError, match=r"another version of qtsim \(format 99\)"):
        store.list()
    pq.write_table(table.replace_schema_metadata({b"qtsim": b"{"}), path)
    with pytest.raises(DataError, match="its metadata cannot be read"):
        store.list()


def test_one_damaged_file_does_not_hide_the_others(store: Store) -> None:
    for symbol in ("X", "Y"):
        store.write_bars(symbol, "1h", made_bars(50), source="a")
    path = store.list()[0].path
    path.write_bytes(b"half")
    entries, damaged = store.survey()
    assert [str(entry.key) for entry in entries] == ["Y 1h bars"]
    assert list(damaged) == [path]
    assert "damaged store file" in damaged[path]


def test_a_stray_file_is_named_and_breaks_nothing(store: Store) -> None:
    store.write_bars("X", "1h", made_bars(50), source="a")
    strays = [store.folder / "bars" / "X" / "foo.parquet", store.folder / "bars" / "bar.parquet"]
    for stray in strays:
        made_bars(5).to_parquet(stray)
    assert store.symbols() == ["X"]
    assert len(store.read_bars("X", "2h")) == 25
    with pytest.raises(UsageError, match="X is there with 1h"):
        store.read_bars("X", "30m")
    entries, damaged = store.survey()
    assert [str(entry.key) for entry in entries] == ["X 1h bars"]
    assert sorted(damaged) == sorted(strays)
    assert all("was not written by qtsim; move it elsewhere" in text for text in damaged.values())


def test_a_file_that_may_not_be_read_is_not_called_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bars("X", "1h", made_bars(50), source="a")
    path = store.list()[0].path

    def deny(*args: object, **others: object) -> None:
        raise PermissionError(13, "Permission denied")

    for owner, name in ((pq, "read_table"), (pq, "read_schema"), (Path, "exists")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, deny)
            with pytest.raises(DataError, match=f"^{path}: permission denied; give yourself the right to read it"):
                store.read_bars("X", "1h")


# Nothing half written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    store.write_bars("X", "1h", made_bars(50), source="a")
    files = sorted(path for path in store.root.rglob("*") if path.is_file())

    def interrupt(path: Path) -> None:
        raise error

    monkeypatch.setattr(atomic, "sync_file", interrupt)
    with pytest.raises((KeyboardInterrupt, DataError)):
        store.merge_bars("X", "1h", made_bars(90), source="b")
    assert sorted(path for path in store.root.rglob("*") if path.is_file()) == files
    assert len(store.read_bars("X", "1h")) == 50


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    with pytest.raises(
        DataError, match=r"cannot write to .*file.binance-usdm: .*; make the folder writable or set data.dir"
    ):
        store.write_bars("X", "1h", made_bars(5), source="a")


def test_left_over_temporary_files_are_not_seen(store: Store) -> None:
    store.write_bars("X", "1h", made_bars(5), source="a")
    (store.list()[0].path.parent / f".4h.parquet.{os.getpid()}.tmp").write_bytes(b"half")
    (store.list()[0].path.parent / ".5m.parquet").write_bytes(b"half")
    assert len(store.list()) == 1


def _merge_piece(root: str, piece: int) -> None:
    bars = made_bars(60, "1m")
    store = Store(root)
    for row in range(piece, 60, 3):
        store.merge_bars("X", "1m", bars.iloc[[row]], source=f"{piece}")


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_merge_piece, args=(str(tmp_path), piece)) for piece in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    pd.testing.assert_frame_equal(Store(tmp_path).read_bars("X", "1m"), made_bars(60, "1m"))


def test_a_change_is_measured() -> None:
    index = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC", name="time").as_unit("ns")
    old = pd.DataFrame({"a": [1.0, 2.0, np.nan]}, index=index)
    _, report = merge_rows(old, pd.DataFrame({"a": [1.0, 2.5, 3.0]}, index=index))
    assert (report.changed, report.describe_change()) == (2, "by up to 25 %, the first at 2024-01-01 01:00 UTC")
    _, report = merge_rows(old.assign(a=0.0), old.assign(a=1.0))
    assert report.describe_change() == "from 0, the first at 2024-01-01 00:00 UTC"
    assert merge_rows(old, old)[1].describe_change() == ""
