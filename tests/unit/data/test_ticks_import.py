"""Import of trades and quotes: what people have, in any size of parts, gives the same store."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.importer import FolderImportError, import_path
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.ticks.importing import import_ticks
from qtsim.data.ticks.reading import look
from qtsim.data.timeframes import DAY, parse_time
from qtsim.errors import DataError
from tests.unit.data.made_bars import made_bars
from tests.unit.data.made_ticks import (
    DAY_TEXT,
    START,
    TRADE_FILES,
    agg_trades,
    book_ticker,
    made_quotes,
    made_trades,
    nautilus_trades,
    single_trades,
    taker_trades,
)

LATE = parse_time(DAY_TEXT) + DAY - 100_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def stored_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.parquet"))}


@pytest.mark.parametrize("name", TRADE_FILES)
def test_every_layout_of_trades_is_understood(store: Store, inbox: Path, name: str) -> None:
    trades = made_trades()
    TRADE_FILES[name](inbox / name, trades)
    (report,) = import_path(store, inbox / name)
    assert (report.status, report.kind, report.symbol, report.added) == ("new", "trades", "BTCUSDT", 500)
    read = TickStore.beside(store).read_day("BTCUSDT", DAY_TEXT).trades
    for column in trades:
        np.testing.assert_array_equal(getattr(read, str(column)), trades[column].to_numpy())
    (again,) = import_path(store, inbox)
    assert (again.status, again.added, again.unchanged) == ("unchanged", 0, 500)
    assert "nothing new, all 500 rows were there" in again.describe()


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", [1_000_000, 1_000, 1])
def test_best_quotes_are_understood(store: Store, inbox: Path, header: bool, unit: int) -> None:
    quotes = made_quotes()
    book_ticker(quotes, unit).to_csv(inbox / "BTCUSDT-bookTicker-2024-03-05.csv", index=False, header=header)
    (report,) = import_path(store, inbox)
    assert (report.kind, report.added) == ("quotes", 500)
    read = TickStore.beside(store).read_day("BTCUSDT", DAY_TEXT).quotes
    for column in ("time", "bid", "bid_qty", "ask", "ask_qty"):
        np.testing.assert_array_equal(getattr(read, column), quotes[column].to_numpy())


def test_quotes_without_ids_keep_the_order_of_their_instant(store: Store, inbox: Path) -> None:
    quotes = made_quotes(40)
    quotes["time"] = START + np.arange(40) // 4 * 1_000_000_000
    quotes.drop(columns="update_id").to_parquet(inbox / "btcusdt-quotes.parquet")
    import_path(store, inbox)
    (again,) = import_path(store, inbox)
    assert again.status == "unchanged"
    read = TickStore.beside(store).read_day("BTCUSDT", DAY_TEXT).quotes
    np.testing.assert_array_equal(read.bid, quotes["bid"])
    np.testing.assert_array_equal(read.id, np.arange(40) % 4)


@given(
    form=st.sampled_from(["a.csv", "a.parquet", "a.feather", "BTCUSDT.jsonl"]),
    chunk_rows=st.integers(1, 400),
    held_rows=st.integers(1, 400),
    seed=st.integers(0, 50),
    is_shuffled=st.booleans(),
)
def test_parts_of_any_size_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, form: str, chunk_rows: int, held_rows: int, seed: int, is_shuffled: bool
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    trades = made_trades(300, LATE, seed=seed)
    trades = pd.concat([trades, trades[40:60]])  # copies
    trades = trades.sample(frac=1.0, random_state=seed) if is_shuffled else trades
    write(folder / form, trades)
    for name, sizes in (("whole", (1 << 19, 1 << 22)), ("parts", (chunk_rows, held_rows))):
        file = look(folder / form)
        assert file is not None
        store = TickStore(folder / name)
        (done,) = import_ticks(store, file, symbol="BTCUSDT", source="x", chunk_rows=sizes[0], held_rows=sizes[1])
        assert (done.added, done.found["duplicate"], len(store.days("BTCUSDT"))) == (300, 20, 2)
    assert stored_bytes(folder / "whole") == stored_bytes(folder / "parts")
    assert not list((folder / "parts").rglob(".import-*"))


def write(path: Path, trades: pd.DataFrame) -> None:
    writers: dict[str, Callable[[], object]] = {
        ".csv": lambda: single_trades(trades).to_csv(path, index=False, header=False),
        ".parquet": lambda: taker_trades(trades).to_parquet(path, row_group_size=64),
        ".feather": lambda: nautilus_trades(trades).reset_index(drop=True).to_feather(path, chunksize=50),
        ".jsonl": lambda: path.write_text("\n".join(map(message, trades.to_dict("records")))),
    }
    writers[path.suffix]()


def message(trade: dict[str, object]) -> str:
    """A recorded trade, with the time of its receipt before it."""
    data = {"e": "trade", "s": "BTCUSDT", "t": trade["id"], "p": str(trade["price"]), "q": str(trade["qty"])}
    data |= {"T": int(str(trade["time"])) // 1_000_000, "m": trade["is_buyer_maker"]}
    return f"{trade['time']} " + json.dumps({"stream": "btcusdt@trade", "data": data})


def test_a_day_in_two_files_is_merged(store: Store, inbox: Path) -> None:
    trades = made_trades(400)
    agg_trades(trades[:250]).to_csv(inbox / "BTCUSDT-aggTrades-a.csv", index=False)
    agg_trades(trades[200:]).to_csv(inbox / "BTCUSDT-aggTrades-b.csv", index=False)
    reports = import_path(store, inbox)
    assert [(r.status, r.added, r.unchanged) for r in reports] == [("new", 250, 0), ("merged", 150, 50)]
    ticks = TickStore.beside(store)
    assert ticks.read_day("BTCUSDT", DAY_TEXT).trades.rows == 400
    assert ticks.entry("BTCUSDT", DAY_TEXT).sources == (
        "inbox/BTCUSDT-aggTrades-a.csv",
        "inbox/BTCUSDT-aggTrades-b.csv",
    )


def test_a_recording_gives_trades_and_quotes_and_leaves_the_rest_out(store: Store, inbox: Path) -> None:
    lines = [
        '1709629200000000001 {"stream":"btcusdt@depth","data":{"e":"depthUpdate","s":"BTCUSDT","b":[],"a":[]}}',
        *(message(trade) for trade in made_trades(5).to_dict("records")),
        '1709629200000000002 {"data":{"e":"trade","s":"BTCUSDT","t":9,"p":"0","q":"0","X":"NA","T":1,"m":true}}',
        '1709629200000000003 {"stream":"x@bookTicker","data":{"u":7,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}',
    ]
    (inbox / "btcusdt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    quotes, trades = import_path(store, inbox / "btcusdt.gz")
    assert (trades.kind, trades.added, quotes.kind, quotes.added) == ("trades", 5, "quotes", 1)
    assert "1 rows by the time of their receipt" in quotes.message
    assert "2 other messages left out" in quotes.message
    read = TickStore.beside(store).read_day("BTCUSDT", DAY_TEXT)
    assert read.quotes.time.tolist() == [1709629200000000003]


def test_a_symbol_can_be_said_and_must_agree(store: Store, inbox: Path) -> None:
    nautilus_trades(made_trades()).to_parquet(inbox / "mine.parquet")
    (report,) = import_path(store, inbox / "mine.parquet")
    assert report.symbol == "BTCUSDT"
    with pytest.raises(DataError, match="its rows are of BTCUSDT, not of ETHUSDT"):
        import_path(store, inbox / "mine.parquet", symbol="ETHUSDT")
    single_trades(made_trades()).to_csv(inbox / "mine.csv", index=False)
    with pytest.raises(DataError, match="cannot tell the symbol from the name; say it: -p BTCUSDT"):
        import_path(store, inbox / "mine.csv")


# What is wrong -------------------------------------------------------------------------------------------------------

BAD_ROWS = [
    ("price", 0.0, "price is 0; a price is a number above 0"),
    ("price", -2.5, r"price is -2\.5; a price is a number above 0"),
    ("price", np.nan, "price is nan; a price is a number above 0"),
    ("qty", 0.0, "qty is 0; a quantity is a number above 0"),
    ("qty", np.inf, "qty is inf; a quantity is a number above 0"),
]


@pytest.mark.parametrize(("column", "value", "text"), BAD_ROWS, ids=[f"{c} {v}" for c, v, _ in BAD_ROWS])
def test_a_bad_row_is_named_or_dropped(store: Store, inbox: Path, column: str, value: float, text: str) -> None:
    trades = made_trades(100)
    trades.loc[41, column] = value
    file = inbox / "BTCUSDT-trades.csv"
    single_trades(trades).to_csv(file, index=False)
    with pytest.raises(DataError, match=rf"{file}, row 42 \(2024-03-05 09:.*\): {text}; correct the row"):
        import_path(store, file)
    assert TickStore.beside(store).symbols() == []
    (report,) = import_path(store, file, on_bad_rows="drop")
    assert report.added == 99
    assert f"1 rows dropped: {column} not above 0" in report.describe()


BAD_CELLS = [
    (2, "abc", "column price, row 2: 'abc' is not a number"),
    (6, "maybe", "column is_buyer_maker, row 2: 'maybe' is neither true nor false"),
    (5, "soon", "column time, row 2: 'soon' is not a number"),
    (1, "x7", "column id, row 2: 'x7' is not a number"),
    (5, "12", "column time, row 2: 12 is no time"),
]


@pytest.mark.parametrize(("cell", "text", "told"), BAD_CELLS, ids=[told for _, _, told in BAD_CELLS])
@pytest.mark.parametrize("header", [True, False])
def test_a_bad_cell_is_named(store: Store, inbox: Path, cell: int, text: str, told: str, header: bool) -> None:
    file = inbox / "BTCUSDT-trades.csv"
    lines = single_trades(made_trades(5)).to_csv(index=False, header=header).splitlines()
    cells = lines[2 if header else 1].split(",")
    cells[cell - 1] = text
    lines[2 if header else 1] = ",".join(cells)
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"{file}.*{told}"):
        import_path(store, file)


def test_lines_before_the_header_and_other_line_ends_do_no_harm(store: Store, inbox: Path) -> None:
    lines = agg_trades(made_trades(50)).to_csv(index=False).splitlines()
    (inbox / "AUSDT-aggTrades.csv").write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    (inbox / "BUSDT-aggTrades.csv").write_text(
        "\n".join(["https://www.example.com/data", *lines[:20], "", *lines[20:]])
    )
    assert [report.added for report in import_path(store, inbox)] == [50, 50]
    cut_off = [*lines[:5], lines[5] + ",7", *lines[6:]]
    (inbox / "AUSDT-aggTrades.csv").write_text("\n".join(cut_off))
    with pytest.raises(DataError, match=r"AUSDT-aggTrades\.csv, row 5 cannot be read: Expected 7 columns, got 8"):
        import_path(store, inbox / "AUSDT-aggTrades.csv")


NO_ROWS = {"": "is empty", ",".join(agg_trades(made_trades(1)).columns) + "\n": "no rows"}


@pytest.mark.parametrize(("text", "told"), NO_ROWS.items(), ids=NO_ROWS.values())
def test_a_file_without_rows_is_an_error(store: Store, inbox: Path, text: str, told: str) -> None:
    (inbox / "BTCUSDT-aggTrades.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        import_path(store, inbox / "BTCUSDT-aggTrades.csv")


def test_a_time_that_is_not_given_is_named(store: Store, inbox: Path) -> None:
    table = single_trades(made_trades(5)).astype({"time": object})
    table.loc[2, "time"] = None
    table.to_csv(inbox / "BTCUSDT-trades.csv", index=False)
    with pytest.raises(DataError, match="column time, row 3: no time is given"):
        import_path(store, inbox / "BTCUSDT-trades.csv")


def test_files_of_another_tick_store_are_what_they_were(store: Store, inbox: Path) -> None:
    other = TickStore(inbox, "other")
    other.write_trades_day("BTCUSDT", DAY_TEXT, agg_trades(made_trades()))
    other.write_quotes_day("BTCUSDT", DAY_TEXT, made_quotes())
    import_path(store, inbox)
    ticks = TickStore.beside(store)
    for kind, numbering in (("trades", "aggregate"), ("quotes", "update")):
        entry = ticks.entry("BTCUSDT", DAY_TEXT, kind)
        assert (entry.numbering, entry.fingerprint) == (numbering, other.entry("BTCUSDT", DAY_TEXT, kind).fingerprint)


def test_a_recording_that_breaks_off_names_the_line(store: Store, inbox: Path) -> None:
    lines = [message(trade) for trade in made_trades(3).to_dict("records")]
    (inbox / "btcusdt.jsonl").write_text("\n".join([*lines, lines[0][:50]]))
    with pytest.raises(DataError, match="row 4: it is no whole message of a stream"):
        import_path(store, inbox / "btcusdt.jsonl")
    (inbox / "btcusdt.jsonl").write_text("\n".join([lines[0], lines[1].replace('"p": "', '"p": "x')]))
    with pytest.raises(DataError, match=r"row 2: p is 'x\d+.*', not a number"):
        import_path(store, inbox / "btcusdt.jsonl")


def test_copies_are_dropped_and_contradictions_are_named(store: Store, inbox: Path) -> None:
    trades = made_trades(50)
    file = inbox / "BTCUSDT-trades.csv"
    single_trades(pd.concat([trades, trades[10:15]])).to_csv(file, index=False)
    (report,) = import_path(store, file)
    assert report.added == 50
    assert "5 copies dropped" in report.describe()
    other = trades[20:21].assign(qty=9.0)
    single_trades(pd.concat([trades, other])).to_csv(file, index=False)
    with pytest.raises(DataError, match=rf"{file}, row 51: id 1020 has qty 9, and 0\.\d+ in row 21; remove the wrong"):
        import_path(Store(inbox / "other"), file)


def test_rows_out_of_order_are_put_in_the_order_of_their_ids(store: Store, inbox: Path) -> None:
    trades = made_trades(50)
    single_trades(trades[::-1]).to_csv(inbox / "BTCUSDT-trades.csv", index=False)
    (report,) = import_path(store, inbox)
    assert "49 rows out of order: put in the order of their ids" in report.describe()
    read = TickStore.beside(store).read_day("BTCUSDT", DAY_TEXT).trades
    np.testing.assert_array_equal(read.price, trades["price"])


def test_crossed_quotes_are_left_out_and_counted(store: Store, inbox: Path) -> None:
    quotes = made_quotes(100)
    quotes.loc[[3, 50], "bid"] = quotes.loc[[3, 50], "ask"] + [0.0, 1.0]
    file = inbox / "BTCUSDT-bookTicker.csv"
    book_ticker(quotes).to_csv(file, index=False)
    (report,) = import_path(store, file)
    assert report.added == 98
    assert "2 crossed quotes left out" in report.describe()
    swapped = made_quotes(100).rename(columns={"bid": "ask", "ask": "bid"})
    book_ticker(swapped).to_csv(file, index=False)
    with pytest.raises(DataError, match="in 100 of 100 quotes the bid is not below the ask; are the two swapped"):
        import_path(store, file)


def test_a_file_that_says_trades_and_has_none_is_named_beside_the_others(store: Store, inbox: Path) -> None:
    single_trades(made_trades()).drop(columns="id").to_csv(inbox / "BTCUSDT-trades.csv", index=False)
    single_trades(made_trades()).to_csv(inbox / "ETHUSDT-trades.csv", index=False)
    made_bars(48).to_csv(inbox / "BTCUSDT-1h.csv")
    with pytest.raises(FolderImportError, match=r"1 of 3 files failed, 2 are in the store:\n.*no column id"):
        import_path(store, inbox)
    assert store.symbols() == ["BTCUSDT"]
    assert TickStore.beside(store).symbols() == ["ETHUSDT"]


def test_a_file_of_several_days_is_stored_whole_or_not_at_all(store: Store, inbox: Path) -> None:
    trades = made_trades(300, LATE)
    agg_trades(trades).to_csv(inbox / "BTCUSDT-aggTrades.csv", index=False)
    later = trades[trades["time"] >= LATE + 100_000_000_000]
    ticks = TickStore.beside(store)
    wrong = later.assign(price=later["price"] + 1.0).rename(columns={"id": "agg_trade_id"})
    ticks.write_trades_day("BTCUSDT", "2024-03-06", wrong)
    before = stored_bytes(ticks.folder)
    with pytest.raises(DataError, match="where the stored one is wrong"):
        import_path(store, inbox / "BTCUSDT-aggTrades.csv")
    assert stored_bytes(ticks.folder) == before
    assert not [path for path in ticks.folder.rglob("*") if path.suffix == ".tmp"]


@pytest.mark.parametrize("name", ["BTCUSDT-trades.parquet", "BTCUSDT-trades.zip", "BTCUSDT-aggTrades.csv.gz", "a.gz"])
def test_a_damaged_file_is_an_error_in_words(store: Store, inbox: Path, name: str) -> None:
    (inbox / name).write_bytes(b"\x1f\x8bhalf")
    with pytest.raises(DataError, match=rf"{inbox / name}.*damaged"):
        import_path(store, inbox / name)


def test_recorded_data_tell_the_same_in_every_form(store: Store, shared_data: Path) -> None:
    reports = import_path(store, shared_data / "ticks")
    raw = [report for report in reports if report.path.suffix == ".gz"]
    assert [(r.symbol, r.kind, r.status) for r in raw] == [
        ("BTCUSDT", "quotes", "unchanged"),
        ("BTCUSDT", "trades", "unchanged"),
        ("ETHUSDT", "quotes", "unchanged"),
        ("ETHUSDT", "trades", "unchanged"),
    ]
    assert {report.status for report in reports if "depth" in report.path.name} == {"skipped"}
    ticks = TickStore.beside(store)
    assert sum(entry.rows for entry in ticks.entries("BTCUSDT")) == 21_313
    told = {report.kind: report.added for report in import_path(store, shared_data / "nautilus")}
    assert told == {"quotes": 451, "trades": 2001}
