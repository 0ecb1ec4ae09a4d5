"""The tick store: what is written is what is read, day by day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.store import Store
from qtsim.data.ticks import TickStore, Trades, bars_of_trades, merge_by_time
from qtsim.data.ticks.passport import survey_ticks, ticks_passport
from qtsim.data.timeframes import DAY, HOUR, parse_time
from qtsim.errors import DataError, UsageError
from tests.unit.data.made_ticks import DAY_TEXT, START, made_quotes, made_trades

MIDNIGHT = parse_time(DAY_TEXT)


@pytest.fixture
def ticks(tmp_path: Path) -> TickStore:
    return TickStore(tmp_path / "data")


def test_a_day_is_read_as_it_was_written(ticks: TickStore) -> None:
    trades, quotes = made_trades(), made_quotes()
    ticks.write_trades_day("BTC/USDT:USDT", DAY_TEXT, trades, source="made")
    ticks.write_quotes_day("BTCUSDT", DAY_TEXT, quotes, source="made")
    read = ticks.read_day("BTCUSDT", MIDNIGHT)
    for name in Trades._fields:
        np.testing.assert_array_equal(getattr(read.trades, name), trades[name].to_numpy(), strict=True)
    for name in ("time", "bid", "bid_qty", "ask", "ask_qty"):
        np.testing.assert_array_equal(getattr(read.quotes, name), quotes[name].to_numpy(), strict=True)
    np.testing.assert_array_equal(read.quotes.id, quotes["update_id"])
    assert ticks.days("btcusdt") == [MIDNIGHT]
    assert ticks.symbols() == ["BTCUSDT"]
    entry = ticks.entry("BTCUSDT", DAY_TEXT)
    assert (entry.rows, entry.sources, entry.numbering) == (500, ("made",), "single")
    assert entry.path.parts[-3:] == ("trades", "BTCUSDT", f"{DAY_TEXT}.parquet")
    ticks.verify(entry)


def test_a_store_of_bars_does_not_see_ticks(ticks: TickStore) -> None:
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, made_trades())
    store = Store(ticks.root)
    assert store.survey() == ([], {})
    assert TickStore.beside(store).days("BTCUSDT") == [MIDNIGHT]


@given(
    n=st.integers(1, 60),
    seed=st.integers(0, 1000),
    back=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 900)), max_size=5),
)
def test_any_trades_survive_the_round_trip_in_the_order_of_their_ids(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, back: list[tuple[int, int]]
) -> None:
    ticks = TickStore(tmp_path_factory.mktemp("round"))
    trades = made_trades(n, seed=seed, step_ms=2000)
    for row, ms in back:  # clocks that differ: stamped up to a second too early
        if row < n:
            trades.loc[row, "time"] = max(int(trades["time"][:row].max() if row else 0), START) - ms * 1_000_000
    shuffled = trades.sample(frac=1.0, random_state=seed)
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, shuffled)
    read = ticks.read_day("BTCUSDT", DAY_TEXT).trades
    np.testing.assert_array_equal(read.id, trades["id"])
    np.testing.assert_array_equal(read.price, trades["price"])
    np.testing.assert_array_equal(read.time, np.maximum.accumulate(trades["time"].to_numpy()))
    told = ticks.verify(ticks.entry("BTCUSDT", DAY_TEXT))
    np.testing.assert_array_equal(told["time"], trades["time"])


@given(seed=st.integers(0, 1000), cut=st.integers(1, 79), overlap=st.integers(0, 20), swap=st.booleans())
def test_a_day_in_two_parts_is_the_day_in_one(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int, overlap: int, swap: bool
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    trades = made_trades(80, seed=seed)
    parts = [trades[: cut + overlap], trades[cut:]]
    whole, merged = TickStore(folder / "whole"), TickStore(folder / "merged")
    whole.write_trades_day("BTCUSDT", DAY_TEXT, trades, source="one")
    for part in reversed(parts) if swap else parts:
        merged.merge_trades_day("BTCUSDT", DAY_TEXT, part, source="one")
    again = merged.merge_trades_day("BTCUSDT", DAY_TEXT, parts[0], source="two")
    assert (again.added, again.unchanged) == (0, len(parts[0]))
    paths = [store.entry("BTCUSDT", DAY_TEXT).path for store in (whole, merged)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_streaming_yields_days_of_several_symbols(ticks: TickStore) -> None:
    days = [MIDNIGHT + k * DAY for k in range(4)]
    for k, day in enumerate(days):
        if k != 2:
            ticks.write_trades_day("BTCUSDT", day, made_trades(50, day + HOUR, seed=k, first_id=1000 * (k + 1)))
        if k in (1, 3):
            ticks.write_trades_day("AAVEUSDT", day, made_trades(30, day + HOUR, seed=k, first_id=1000 * (k + 1)))
    ticks.write_quotes_day("BTCUSDT", days[1], made_quotes(40, days[1] + HOUR))
    seen = list(ticks.stream(["BTCUSDT", "AAVEUSDT"], quotes=True))
    assert [day.day for day in seen] == [days[0], days[1], days[3]]
    assert [list(day.ticks) for day in seen] == [["BTCUSDT"], ["AAVEUSDT", "BTCUSDT"], ["AAVEUSDT", "BTCUSDT"]]
    assert [day.ticks["BTCUSDT"].quotes.rows for day in seen] == [0, 40, 0]
    assert ticks.missing_days("BTCUSDT") == [days[2]]
    assert ticks.missing_days("AAVEUSDT", days[0], days[3]) == [days[0], days[2]]
    start, end = int(seen[0].ticks["BTCUSDT"].trades.time[10]), days[1]
    (only,) = ticks.stream(["BTCUSDT"], start, end)
    assert only.ticks["BTCUSDT"].trades.time[0] == start
    assert ticks.read_trades("BTCUSDT").rows == 150
    with pytest.raises(UsageError, match=r"no trades of AAVEUSDT from .* to 2024-03-06 00:00 UTC .* 2 days from"):
        ticks.stream(["AAVEUSDT"], None, days[1])
    with pytest.raises(UsageError, match=r"no trades of XRPUSDT in .* there are trades of AAVEUSDT, BTCUSDT"):
        ticks.stream(["XRPUSDT"])
    with pytest.raises(UsageError, match="on 2024-03-07"):
        ticks.read_day("BTCUSDT", "2024-03-07")


@given(st.lists(st.lists(st.integers(0, 8), max_size=8).map(sorted), min_size=1, max_size=3))
def test_merging_by_time_orders_by_time_then_name_then_row(times: list[list[int]]) -> None:
    by_name = {name: np.array(values, dtype=np.int64) for name, values in zip("cab", times, strict=False)}
    symbol, row = merge_by_time(by_name)
    names = sorted(by_name)
    told = [(int(by_name[names[s]][r]), names[s], int(r)) for s, r in zip(symbol, row, strict=True)]
    assert told == sorted((int(t), name, r) for name, values in by_name.items() for r, t in enumerate(values))


def slow_bars(trades: pd.DataFrame, length: int) -> pd.DataFrame:
    """The obvious twin of `bars_of_trades`."""
    bars: dict[int, list[float]] = {}
    for time, price, qty in zip(trades["time"], trades["price"], trades["qty"], strict=True):
        bar = bars.setdefault(time // length * length, [price, price, price, price, 0.0])
        bar[1], bar[2], bar[3], bar[4] = max(bar[1], price), min(bar[2], price), price, bar[4] + qty
    index = pd.to_datetime(list(bars), utc=True).as_unit("ns").rename("time")
    return pd.DataFrame(list(bars.values()), index=index, columns=["open", "high", "low", "close", "volume"])


@given(n=st.integers(1, 120), seed=st.integers(0, 1000), step=st.sampled_from([1, 300, 40_000]))
def test_bars_of_trades_are_those_of_the_slow_twin(n: int, seed: int, step: int) -> None:
    made = made_trades(n, seed=seed, step_ms=step)
    trades = Trades(**{name: made[name].to_numpy() for name in Trades._fields})
    for name, length in (("1s", 1_000_000_000), ("1m", 60_000_000_000), ("1h", HOUR)):
        pd.testing.assert_frame_equal(bars_of_trades(trades, name), slow_bars(made, length), rtol=1e-12)


def test_bars_of_no_trades_are_empty_and_canonical() -> None:
    none = Trades(*(np.zeros(0, dtype=dtype) for dtype in ("i8", "f8", "f8", "i8", "?")))
    bars = bars_of_trades(none, "1s")
    assert len(bars) == 0
    assert list(bars.columns) == ["open", "high", "low", "close", "volume"]


def test_bars_across_midnight_are_made_of_both_days(ticks: TickStore) -> None:
    trades = made_trades(400, MIDNIGHT + DAY - 100_000_000_000)
    late = trades["time"] >= MIDNIGHT + DAY
    ticks.write_trades_day("BTCUSDT", MIDNIGHT, trades[~late])
    ticks.write_trades_day("BTCUSDT", MIDNIGHT + DAY, trades[late])
    assert 0 < late.sum() < 400
    bars = ticks.bars("BTCUSDT", "7m")  # seven minutes do not divide a day
    pd.testing.assert_frame_equal(bars, slow_bars(trades, 7 * 60_000_000_000), rtol=1e-12)


# What is refused -----------------------------------------------------------------------------------------------------


def test_rows_of_another_day_are_refused(ticks: TickStore) -> None:
    with pytest.raises(DataError, match=r"BTCUSDT trades of 2024-03-06, row 1: 2024-03-05 09:00.* is of another day"):
        ticks.write_trades_day("BTCUSDT", "2024-03-06", made_trades())
    with pytest.raises(UsageError, match="is not a UTC day"):
        ticks.write_trades_day("BTCUSDT", START, made_trades())
    with pytest.raises(DataError, match="no rows"):
        ticks.write_trades_day("BTCUSDT", DAY_TEXT, made_trades(0))
    assert ticks.symbols() == []


def test_other_values_under_an_id_are_refused_and_the_store_stays(ticks: TickStore) -> None:
    trades = made_trades()
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, trades)
    before = ticks.fingerprint("BTCUSDT")
    wrong = trades[100:200].copy()
    wrong.loc[150, "price"] += 1.0
    with pytest.raises(DataError, match=r"row 51: id 1150 has price .*, and .* in .*2024-03-05.parquet; where the"):
        ticks.merge_trades_day("BTCUSDT", DAY_TEXT, wrong, source="other")
    assert ticks.fingerprint("BTCUSDT") == before


def test_single_and_aggregate_trades_of_a_day_do_not_mix(ticks: TickStore) -> None:
    trades = made_trades()
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, trades)
    told_again = trades.rename(columns={"id": "agg_trade_id"})
    with pytest.raises(DataError, match=r"stored with single ids, and these have aggregate ids: the same trades"):
        ticks.merge_trades_day("BTCUSDT", DAY_TEXT, told_again)


def test_ids_rise_from_day_to_day(ticks: TickStore) -> None:
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, made_trades(first_id=1000))
    with pytest.raises(DataError, match="id 1499 on 2024-03-05 and id 10 on 2024-03-06"):
        ticks.merge_trades_day("BTCUSDT", "2024-03-06", made_trades(start=START + DAY, first_id=10), source="x")
    assert ticks.days("BTCUSDT") == [MIDNIGHT]


def test_a_time_that_goes_back_further_than_clocks_differ(ticks: TickStore) -> None:
    trades = made_trades()
    trades.loc[250, "time"] -= 60_000_000_000
    with pytest.raises(DataError, match=r"row 251: id 1250 is of .*, but id 1249 is of .*comes before it \(row 250\)"):
        ticks.write_trades_day("BTCUSDT", DAY_TEXT, trades)


def test_a_damaged_day_is_named_and_the_others_are_described(ticks: TickStore) -> None:
    for k in range(3):
        ticks.write_trades_day("BTCUSDT", MIDNIGHT + k * DAY, made_trades(40, START + k * DAY, first_id=1000 * (k + 1)))
    path = ticks.entry("BTCUSDT", MIDNIGHT + DAY).path
    path.write_bytes(path.read_bytes()[:200])
    found, damaged = survey_ticks(ticks)
    assert [(series.days, series.rows) for series in found] == [(2, 80)]
    assert list(damaged) == [path]
    with pytest.raises(DataError, match=f"damaged store file {path}"):
        list(ticks.stream(["BTCUSDT"]))
    passport, problems = ticks_passport(ticks, "BTCUSDT")
    assert passport is not None
    assert passport["rows"] == 80
    assert len(problems) == 1


def test_a_flipped_bit_is_found(ticks: TickStore) -> None:
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, made_trades(2000))
    path = ticks.entry("BTCUSDT", DAY_TEXT).path
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 4
    path.write_bytes(raw)
    with pytest.raises(DataError, match="damaged store file"):
        ticks.read_day("BTCUSDT", DAY_TEXT)


def test_the_passport_counts_what_is_missing(ticks: TickStore) -> None:
    first = made_trades(100).drop(index=[10, 11, 12, 50])
    first.loc[20, "time"] = first.loc[19, "time"] - 3_000_000
    ticks.write_trades_day("BTCUSDT", DAY_TEXT, first)
    ticks.write_trades_day("BTCUSDT", "2024-03-06", made_trades(100, START + DAY, first_id=1103))
    ticks.write_trades_day("BTCUSDT", "2024-03-09", made_trades(100, START + 4 * DAY, first_id=9000))
    passport, problems = ticks_passport(ticks, "BTCUSDT")
    assert passport is not None
    assert not problems
    assert (passport["missing_ids"], passport["id_gaps"], passport["longest_id_gap"]) == (7, 3, 3)
    assert passport["missing_days"] == ["2024-03-07 to 2024-03-08 (2 days)"]
    assert (passport["times_back"], passport["furthest_back_ms"]) == (1, 3.0)
    none, problems = ticks_passport(ticks, "BTCUSDT", start_ns=parse_time("2025-01-01"))
    assert (none, problems) == (None, [])
