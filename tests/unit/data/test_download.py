"""A whole download against an exchange on the loopback: what is fetched, what is never fetched twice, what fails."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.data.download import fetch
from qtsim.data.download.fetch import OfflineError
from qtsim.data.download.report import DownloadError, DownloadReport
from qtsim.data.download.rest_ccxt import ExtraMissingError
from qtsim.data.download.run import FOLDER, DownloadInterruptedError, Request, Sources, download
from qtsim.data.frames import make_frame, times_of
from qtsim.data.resample import resample_bars
from qtsim.data.store import Store
from qtsim.data.timeframes import DAY, HOUR, WEEK, parse_time
from qtsim.errors import DataError, SettingError, UsageError
from tests.unit.data.exchange_server import Exchange, hourly, payments, serving, with_rest

BTC = "BTCUSDT"
ALL = ("bars", "mark", "funding")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAUSE_S", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """BTCUSDT from 5 January 2023; it is 10 April 2023, half past ten."""
    made = Exchange(now=parse_time("2023-04-10 10:30"))
    made.bars[BTC, "1h"] = hourly("2023-01-05", "2023-05-01")
    made.mark[BTC, "1h"] = hourly("2023-01-05", "2023-05-01", seed=2, volume=False)
    made.funding[BTC] = payments("2023-01-05", "2023-05-01")
    with serving(made):
        yield made


def get(
    exchange: Exchange,
    store: Store,
    start: str | None = "2023-01-01",
    end: str | None = None,
    *,
    symbols: tuple[str, ...] = (BTC,),
    kinds: tuple[str, ...] = ("bars",),
    rest: bool = True,
    on_bad_rows: str = "error",
    stage: Any = None,
    tries: int = 3,
    timeout_s: float = 5.0,
    **request: Any,
) -> DownloadReport:
    """Download; rules of symbols are not asked for unless a test does."""
    wanted = Request(
        symbols,
        ("1h",),
        kinds,
        start=None if start is None else parse_time(start),
        end=None if end is None else parse_time(end),
        **{"rules": False, **request},
    )
    sources = Sources(exchange.url, with_rest(exchange) if rest else None, threads=3, tries=tries, timeout_s=timeout_s)
    more = {} if stage is None else {"stage": stage}
    return download(store, wanted, sources, now=exchange.now, on_bad_rows=on_bad_rows, **more)


def closed(frame: pd.DataFrame, now: int) -> pd.DataFrame:
    return frame[times_of(frame) + HOUR <= now]


def zips(exchange: Exchange) -> list[str]:
    """Archives that were asked for themselves, not their checksums."""
    return sorted(name for name in exchange.asked if name.endswith(".zip"))


def cached(store: Store) -> list[str]:
    return sorted(path.name for path in (store.folder / FOLDER).rglob("*") if path.suffix in (".zip", ".part"))


# What there is afterwards ---------------------------------------------------------------------------------------------


def test_everything_is_there_up_to_the_last_closed_bar(exchange: Exchange, store: Store) -> None:
    report = get(exchange, store, kinds=ALL)
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h"), closed(exchange.bars[BTC, "1h"], exchange.now))
    pd.testing.assert_frame_equal(
        store.read_bars(BTC, "1h", kind="mark"), closed(exchange.mark[BTC, "1h"], exchange.now)
    )
    paid = exchange.funding[BTC]
    paid = paid[times_of(paid) <= exchange.now]
    stored = store.read_funding(BTC)
    pd.testing.assert_series_equal(stored["funding_rate"], paid["funding_rate"])
    over_rest = times_of(paid) >= parse_time("2023-04-01")  # archives have no mark price
    assert (stored["mark_price"].notna().to_numpy() == over_rest).all()
    bars, mark, funding = report.series
    assert (bars.archives, bars.rest_rows) == (3 + 9, 10)
    assert bars.describe() == (
        "BTCUSDT 1h bars: 2,290 rows added (12 archives, 10 rows over REST); "
        "2023-01-05 00:00 UTC to 2023-04-10 09:00 UTC, no gaps"
    )
    assert (mark.rows, funding.archives) == (bars.rows, 3)
    assert cached(store) == []


def test_some_spans_alone(exchange: Exchange, store: Store) -> None:
    """Their days' archives; of today, which has none, the closed bars of the span over REST."""
    day, today = parse_time("2023-02-03"), parse_time("2023-04-10")
    spans = [
        (day + 5 * HOUR, day + 6 * HOUR),
        (day + 20 * HOUR, day + 22 * HOUR),
        (today + 8 * HOUR, today + 12 * HOUR),
    ]
    report = get(exchange, store, None, spans={BTC: spans})
    assert zips(exchange) == ["BTCUSDT-1h-2023-02-03.zip"]
    times = times_of(store.read_bars(BTC, "1h"))
    assert list(times[times >= today]) == [today + 8 * HOUR, today + 9 * HOUR], "it is half past ten"
    assert (len(times), report.series[0].rest_rows, report.series[0].missing) == (24 + 2, 2, [])
    assert report.series[0].describe().endswith("5 of the 5 bars asked for, no gaps")
    exchange.asked.clear()
    get(exchange, store, None, spans={BTC: spans})
    assert not exchange.asked


def test_what_a_chosen_day_lacks_is_named(exchange: Exchange, store: Store) -> None:
    day = parse_time("2023-02-03")
    exchange.holes["BTCUSDT-1h-2023-02-03.zip"] = (day + 5 * HOUR, day + 6 * HOUR)
    report = get(exchange, store, None, rest=False, spans={BTC: [(day + 5 * HOUR, day + 8 * HOUR)]})
    assert report.series[0].missing == [(day + 5 * HOUR, day + 6 * HOUR)]
    assert "2 of the 3 bars asked for, bars missing: 1 from 2023-02-03 05:00 UTC" in report.series[0].describe()


def test_an_interrupted_choice_goes_on(exchange: Exchange, store: Store) -> None:
    """A day that fails is named, and the next run fetches that one alone."""
    days = [parse_time(f"2023-02-0{k}") for k in (3, 5)]
    spans = {BTC: [(day, day + HOUR) for day in days]}
    exchange.faults["BTCUSDT-1h-2023-02-05.zip"] = ["500"] * 3
    with pytest.raises(DownloadError, match="2023-02-05"):
        get(exchange, store, None, rest=False, spans=spans)
    exchange.asked.clear()
    get(exchange, store, None, rest=False, spans=spans)
    assert zips(exchange) == ["BTCUSDT-1h-2023-02-05.zip"]


def test_nothing_is_fetched_twice(exchange: Exchange, store: Store) -> None:
    get(exchange, store, kinds=ALL)
    assert max(count for path, count in exchange.paths.items() if path.endswith(".zip")) == 1
    exchange.asked.clear()
    report = get(exchange, store, kinds=ALL)
    assert not exchange.asked
    assert [series.added for series in report.series] == [0, 0, 0]
    assert "nothing new" in report.series[0].describe()


def test_the_open_bar_is_left_out(exchange: Exchange, store: Store) -> None:
    get(exchange, store)
    asked = [query for name, query in exchange.queries if name == "klines"]
    assert int(asked[-1]["endTime"]) * 1_000_000 < exchange.now
    assert times_of(store.read_bars(BTC, "1h"))[-1] == parse_time("2023-04-10 09:00")


def test_later_only_what_is_new_is_fetched(exchange: Exchange, store: Store) -> None:
    get(exchange, store, kinds=ALL)
    exchange.asked.clear()
    exchange.now = parse_time("2023-04-12 02:00")
    get(exchange, store, start=None, kinds=ALL)
    assert zips(exchange) == [f"{BTC}-1h-2023-04-{day}.zip" for day in (10, 11)]
    assert exchange.asked[f"{BTC}-1h-2023-04-10.zip"] == 2  # bars and mark
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h"), closed(exchange.bars[BTC, "1h"], exchange.now))


def test_an_earlier_start_fills_in(exchange: Exchange, store: Store) -> None:
    get(exchange, store, "2023-03-01")
    exchange.asked.clear()
    report = get(exchange, store, "2023-01-01")
    assert zips(exchange) == [f"{BTC}-1h-2023-0{month}.zip" for month in (1, 2)]
    assert report.series[0].start == parse_time("2023-01-05")
    assert report.series[0].missing == []


def test_a_period_in_the_past_needs_no_rest(exchange: Exchange, store: Store) -> None:
    get(exchange, store, "2023-02-01", "2023-03-01", kinds=ALL)
    assert exchange.queries == []
    assert zips(exchange) == [f"{BTC}-1h-2023-02.zip", f"{BTC}-fundingRate-2023-02.zip"]
    assert len(store.read_bars(BTC, "1h")) == 28 * 24
    assert len(store.read_funding(BTC)) == 28 * 3


def test_data_imported_from_files_are_completed(exchange: Exchange, store: Store) -> None:
    whole = exchange.bars[BTC, "1h"]
    store.write_bars(BTC, "1h", whole[times_of(whole) < parse_time("2023-03-31 12:00")], source="my.csv")
    get(exchange, store, start=None)
    assert zips(exchange)[0] == f"{BTC}-1h-2023-03.zip"
    assert f"{BTC}-1h-2023-02.zip" not in exchange.asked
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h"), closed(whole, exchange.now))


def test_a_deleted_series_is_fetched_again(exchange: Exchange, store: Store) -> None:
    get(exchange, store)
    store.entry(BTC, "1h").path.unlink()
    exchange.asked.clear()
    get(exchange, store)
    assert len(store.read_bars(BTC, "1h")) == 2290
    assert f"{BTC}-1h-2023-02.zip" in exchange.asked


def test_a_deleted_ledger_loses_nothing(exchange: Exchange, store: Store) -> None:
    get(exchange, store)
    (store.folder / FOLDER / "ledger.json").unlink()
    exchange.asked.clear()
    report = get(exchange, store)
    assert zips(exchange) == [f"{BTC}-1h-2023-01.zip"]  # the store alone does not know when the symbol was listed
    assert report.series[0].rows == 2290


def test_a_damaged_ledger_is_named(exchange: Exchange, store: Store) -> None:
    get(exchange, store)
    path = store.folder / FOLDER / "ledger.json"
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match=r"ledger\.json.*delete it"):
        get(exchange, store)


# Headers, units, real timestamps --------------------------------------------------------------------------------------


def test_headers_and_units_are_found_by_looking(exchange: Exchange, store: Store) -> None:
    exchange.now = parse_time("2022-08-01 00:00")
    exchange.bars[BTC, "1h"] = hourly("2022-05-01", "2022-08-01")  # May has no header, June has one
    exchange.microseconds = {f"{BTC}-1h-2022-05.zip", f"{BTC}-1h-2022-07.zip"}
    get(exchange, store, "2022-05-01")
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h"), exchange.bars[BTC, "1h"])


def test_payments_keep_their_times_when_the_interval_changes(exchange: Exchange, store: Store) -> None:
    parts = (
        payments("2023-01-05", "2023-02-10"),
        payments("2023-02-10", "2023-03-05", 4),
        payments("2023-03-05", "2023-05-01", 1),
    )
    exchange.funding[BTC] = pd.concat(parts)
    report = get(exchange, store, kinds=("funding",))
    paid = exchange.funding[BTC]
    assert times_of(store.read_funding(BTC)).tolist() == times_of(paid)[times_of(paid) <= exchange.now].tolist()
    assert report.series[0].missing == []


def test_recorded_data_survive_unchanged(shared_data: Path, store: Store) -> None:
    def recorded(folder: str) -> pd.DataFrame:
        frame = pd.read_parquet(shared_data / folder / f"{BTC}.parquet")
        return frame.set_index("timestamp") if "timestamp" in frame else frame

    def cut(frame: pd.DataFrame) -> pd.DataFrame:
        times = times_of(frame)
        chosen = (times >= parse_time("2023-03-01")) & (times < parse_time("2023-06-10"))
        return make_frame(times[chosen], {str(c): frame[c].to_numpy(np.float64)[chosen] for c in frame.columns})

    real = Exchange(now=parse_time("2023-06-10"))
    real.bars[BTC, "1h"] = cut(recorded("ohlcv_1h"))[["open", "high", "low", "close", "volume"]]
    real.mark[BTC, "1h"] = cut(recorded("mark_1h"))[["open", "high", "low", "close"]]
    funding = cut(recorded("funding"))
    real.funding[BTC] = funding.assign(mark_price=np.nan)[["funding_rate", "mark_price"]]
    with serving(real):
        report = get(real, store, "2023-03-01", kinds=ALL)
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h"), real.bars[BTC, "1h"])
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h", kind="mark"), real.mark[BTC, "1h"])
    pd.testing.assert_series_equal(store.read_funding(BTC)["funding_rate"], real.funding[BTC]["funding_rate"])
    assert [series.missing for series in report.series] == [[], [], []]


# What archives lack ---------------------------------------------------------------------------------------------------


def test_days_stand_in_for_a_missing_month_and_rest_for_a_missing_day(exchange: Exchange, store: Store) -> None:
    exchange.absent = {f"{BTC}-1h-2023-02.zip", f"{BTC}-1h-2023-02-11.zip"}
    report = get(exchange, store)
    days = [name for name in zips(exchange) if "-2023-02-" in name]
    assert len(days) == 27
    assert report.series[0].missing == []
    assert report.series[0].rest_rows == 24 + 10
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1h"), closed(exchange.bars[BTC, "1h"], exchange.now))
    exchange.asked.clear()
    get(exchange, store)
    assert not exchange.asked


def test_a_hole_in_a_month_is_repaired_from_its_days(exchange: Exchange, store: Store) -> None:
    exchange.holes[f"{BTC}-1h-2023-03.zip"] = (parse_time("2023-03-07 05:00"), parse_time("2023-03-08 02:00"))
    report = get(exchange, store)
    assert [name for name in zips(exchange) if "-2023-03-" in name] == [
        f"{BTC}-1h-2023-03-07.zip",
        f"{BTC}-1h-2023-03-08.zip",
    ]
    assert report.series[0].missing == []


def test_what_exists_nowhere_is_named_and_not_asked_for_again(exchange: Exchange, store: Store) -> None:
    whole = exchange.bars[BTC, "1h"]
    times = times_of(whole)
    gap = (times >= parse_time("2023-02-11 01:00")) & (times < parse_time("2023-02-11 04:00"))
    exchange.bars[BTC, "1h"] = whole[~gap]
    first = get(exchange, store)
    assert first.series[0].missing == [(parse_time("2023-02-11 01:00"), parse_time("2023-02-11 04:00"))]
    assert "bars missing: 3 from 2023-02-11 01:00 UTC" in first.series[0].describe()
    exchange.asked.clear()
    again = get(exchange, store)
    assert not exchange.asked
    assert again.series[0].missing == first.series[0].missing


def test_without_rest_a_hole_is_looked_for_again(exchange: Exchange, store: Store) -> None:
    exchange.absent = {f"{BTC}-1h-2023-04-03.zip"}
    report = get(exchange, store, rest=False)
    assert "bars missing: 24 from 2023-04-03 00:00 UTC" in report.series[0].describe()
    exchange.absent.clear()
    assert get(exchange, store, rest=False).series[0].missing == []


def test_before_a_listing_little_is_asked(exchange: Exchange, store: Store) -> None:
    exchange.bars[BTC, "1h"] = hourly("2023-03-20 08:00", "2023-05-01")
    report = get(exchange, store, "2022-01-01")
    assert report.series[0].start == parse_time("2023-03-20 08:00")
    assert report.series[0].missing == []
    probes = [name for name in exchange.asked if name.endswith(".CHECKSUM") and len(name.split("-")) == 5]
    assert f"{BTC}-1h-2023-03-19.zip.CHECKSUM" in probes
    assert not [name for name in probes if "-2022-" in name or "-2023-02-" in name]
    exchange.asked.clear()
    get(exchange, store, "2022-01-01")
    assert not exchange.asked


def test_days_before_the_first_month_are_walked_back_to(exchange: Exchange, store: Store) -> None:
    exchange.absent = {f"{BTC}-1h-2023-01.zip", f"{BTC}-1h-2023-02.zip"}
    report = get(exchange, store, rest=False, end="2023-04-01")
    assert report.series[0].start == parse_time("2023-01-05")
    assert report.series[0].missing == []


def test_a_symbol_without_any_month_is_found_by_its_days(exchange: Exchange, store: Store) -> None:
    exchange.bars[BTC, "1h"] = hourly("2023-04-04", "2023-05-01")
    report = get(exchange, store, rest=False)
    assert (report.series[0].start, report.series[0].end) == (parse_time("2023-04-04"), parse_time("2023-04-09 23:00"))


def test_weeks_go_over_the_ends_of_months(exchange: Exchange, store: Store) -> None:
    daily_bars = resample_bars(exchange.bars[BTC, "1h"], HOUR, DAY)
    exchange.bars[BTC, "1w"] = resample_bars(daily_bars, DAY, WEEK)
    wanted = Request((BTC,), ("1w",), ("bars",), start=parse_time("2023-01-01"), rules=False)
    report = download(store, wanted, Sources(exchange.url, with_rest(exchange)), now=exchange.now)
    weeks = exchange.bars[BTC, "1w"]
    pd.testing.assert_frame_equal(store.read_bars(BTC, "1w"), weeks[times_of(weeks) + WEEK <= exchange.now])
    assert report.series[0].missing == []
    exchange.asked.clear()
    download(store, wanted, Sources(exchange.url, with_rest(exchange)), now=exchange.now)
    assert not exchange.asked


def test_a_payment_stamped_before_its_month_is_fetched_once(exchange: Exchange, store: Store) -> None:
    ms = parse_time("2023-02-01") // 1_000_000
    rows = [f"{ms - 4},8,0.0001"] + [f"{ms + 28_800_000 * i},8,0.0001" for i in range(1, 28 * 3)]
    exchange.replaced[f"{BTC}-fundingRate-2023-02.zip"] = one_csv("x.csv", "\n".join(rows) + "\n")
    get(exchange, store, "2023-02-01", "2023-03-01", kinds=("funding",))
    exchange.asked.clear()
    get(exchange, store, "2023-02-01", "2023-03-01", kinds=("funding",))
    assert not exchange.asked
    assert len(store.read_funding(BTC)) == 84


def test_holes_in_the_funding_history_are_asked_for(exchange: Exchange, store: Store) -> None:
    exchange.absent = {f"{BTC}-fundingRate-2023-02.zip"}
    report = get(exchange, store, kinds=("funding",))
    paid = exchange.funding[BTC]
    assert report.series[0].rows == int((times_of(paid) <= exchange.now).sum())
    assert report.series[0].missing == []


# Faults ---------------------------------------------------------------------------------------------------------------

FEBRUARY = f"{BTC}-1h-2023-02.zip"


@pytest.mark.parametrize(
    ("what", "faults"),
    [
        (FEBRUARY, ["truncated"]),
        (FEBRUARY, ["disconnect", "disconnect"]),
        (FEBRUARY, ["503", "500"]),
        (FEBRUARY, ["429 0.05"]),
        (FEBRUARY, ["silent 0.6"]),
        (f"{FEBRUARY}.CHECKSUM", ["wrong", "wrong"]),
        (f"{FEBRUARY}.CHECKSUM", ["429 0.05", "disconnect"]),
        ("klines", ["429 0.05", "503"]),
    ],
)
def test_what_passes_is_tried_again(exchange: Exchange, store: Store, what: str, faults: list[str]) -> None:
    exchange.faults[what] = list(faults)
    report = get(exchange, store, timeout_s=0.3)
    assert report.series[0].missing == []
    assert report.series[0].rows == 2290
    assert exchange.faults[what] == []
    assert cached(store) == []


@pytest.mark.parametrize(
    ("what", "fault", "says"),
    [
        (f"{FEBRUARY}.CHECKSUM", "wrong", "its checksum is wrong"),
        (FEBRUARY, "truncated", "the connection ended after"),
        (FEBRUARY, "503", "answers 503"),
        (FEBRUARY, "403", "answers 403"),
    ],
)
def test_what_does_not_pass_is_named(exchange: Exchange, store: Store, what: str, fault: str, says: str) -> None:
    exchange.faults[what] = [fault, "*"]
    with pytest.raises(DownloadError, match=rf"1 part of the download failed.*\n  {FEBRUARY}.*{says}") as caught:
        get(exchange, store)
    tries = 1 if fault == "403" else 3
    assert exchange.asked[what] == tries
    stored = times_of(store.read_bars(BTC, "1h"))
    inside = (stored >= parse_time("2023-02-01")) & (stored < parse_time("2023-03-01"))
    assert not inside.any(), "nothing of the file, and no other source hides the failure"
    assert len(stored) == 2290 - 28 * 24
    assert caught.value.report.series[0].rows == len(stored)
    assert cached(store) == []
    exchange.faults.clear()
    assert get(exchange, store).series[0].missing == []


def test_a_failed_first_month_is_not_replaced_by_its_days(exchange: Exchange, store: Store) -> None:
    january = f"{BTC}-1h-2023-01.zip"
    exchange.faults[f"{january}.CHECKSUM"] = ["wrong", "*"]
    with pytest.raises(DownloadError, match=january):
        get(exchange, store)
    assert not [name for name in exchange.asked if "-2023-01-" in name]
    exchange.faults.clear()
    assert get(exchange, store).series[0].rows == 2290


def test_a_broken_archive_with_the_right_checksum_is_named(exchange: Exchange, store: Store) -> None:
    exchange.replaced[FEBRUARY] = b"PK no zip at all"
    with pytest.raises(DownloadError, match=FEBRUARY):
        get(exchange, store)
    assert cached(store) == []


def one_csv(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, text)
    return out.getvalue()


def test_rows_of_another_month_are_refused(exchange: Exchange, store: Store) -> None:
    stray = parse_time("2023-05-01") // 1_000_000
    exchange.replaced[FEBRUARY] = one_csv("x.csv", f"{stray},1,1,1,1,1,{stray + 3_599_999},1,1,1,1,0\n")
    with pytest.raises(DownloadError, match=r"row 1 is of 2023-05-01 00:00 UTC, which is not in 2023-02"):
        get(exchange, store)


def test_bad_rows_fail_their_archive_or_are_dropped(exchange: Exchange, store: Store) -> None:
    ms = parse_time("2023-02-01") // 1_000_000
    rows = [[ms + 3_600_000 * i, 10, 11, 9, 10, 5, ms + 3_600_000 * (i + 1) - 1, 1, 1, 1, 1, 0] for i in range(48)]
    rows[7][2] = 8
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    exchange.replaced[FEBRUARY] = one_csv("x.csv", text)
    with pytest.raises(DownloadError, match=rf"{FEBRUARY}.*row 8.*high 8 is below"):
        get(exchange, store, end="2023-02-03")
    exchange.absent = {f"{BTC}-1h-2023-02-01.zip"}
    report = get(exchange, store, end="2023-02-03", on_bad_rows="drop", rest=False)
    assert report.series[0].missing == [(parse_time("2023-02-01 07:00"), parse_time("2023-02-01 08:00"))]


def test_a_server_that_asks_to_wait_for_long_is_not_waited_for(exchange: Exchange, store: Store) -> None:
    exchange.faults[FEBRUARY] = ["418 3600", "*"]
    with pytest.raises(DownloadError, match=r"asks to wait 3,600 s"):
        get(exchange, store)
    assert exchange.asked[FEBRUARY] == 1


def test_a_rest_failure_keeps_what_archives_gave(exchange: Exchange, store: Store) -> None:
    exchange.rest = False
    with pytest.raises(DownloadError, match="time"):
        get(exchange, store)
    assert times_of(store.read_bars(BTC, "1h"))[-1] == parse_time("2023-04-09 23:00")


# No network, no extra -------------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(exchange: Exchange) -> Exchange:
    """An exchange that nobody can reach: port 1 of the loopback."""
    exchange.url = "http://127.0.0.1:1"
    return exchange


@pytest.mark.parametrize("rest", [True, False])
def test_offline_is_said_in_one_line(nowhere: Exchange, store: Store, rest: bool) -> None:
    with pytest.raises(OfflineError, match=r"offline.*qtsim data sample.*qtsim data import") as caught:
        get(nowhere, store, rest=rest)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert store.symbols() == []


def test_without_the_archives_rest_gives_everything(exchange: Exchange, store: Store) -> None:
    wanted = Request((BTC,), ("1h",), ALL, start=parse_time("2023-01-01"), rules=False)
    sources = Sources("http://127.0.0.1:1", with_rest(exchange), tries=2, timeout_s=2)
    report = download(store, wanted, sources, now=exchange.now)
    assert report.series[0].rest_rows == 2290
    assert any("everything came over REST" in note for note in report.notes)
    pages = [query for name, query in exchange.queries if name == "klines"]
    assert len(pages) == 2  # 1,500 and the rest


def test_without_the_extra_archives_alone_and_a_line_that_names_it(exchange: Exchange, store: Store) -> None:
    def missing() -> Any:
        raise ExtraMissingError("no ccxt")

    wanted = Request((BTC,), ("1h",), ("bars",), start=parse_time("2023-01-01"))
    report = download(store, wanted, Sources(exchange.url, missing), now=exchange.now)
    (note,) = report.notes
    assert 'pip install "qtsim[live]"' in note
    assert "archives alone reach 2023-04-09 23:00 UTC" in note
    assert report.series[0].missing == []


def test_a_connection_that_is_lost_ends_the_run_and_keeps_what_came(exchange: Exchange, store: Store) -> None:
    exchange.absent = {f"{BTC}-1h-2023-0{month}.zip" for month in (2, 3)}
    for day in pd.date_range("2023-02-01", "2023-04-09"):
        exchange.faults[f"{BTC}-1h-{day:%Y-%m-%d}.zip.CHECKSUM"] = ["disconnect", "*"]
    with pytest.raises(OfflineError, match="is lost"):
        get(exchange, store, rest=False)
    assert sum(exchange.asked[name] for name in exchange.faults) <= 3 * (3 + 3), "the other days were not tried"
    assert len(store.read_bars(BTC, "1h")) == 27 * 24
    exchange.faults.clear()
    assert get(exchange, store, rest=False).series[0].missing == []


def test_a_failed_month_between_two_holes_is_no_hole(exchange: Exchange, store: Store) -> None:
    whole = exchange.bars[BTC, "1h"]
    times = times_of(whole)
    holes = [parse_time("2023-01-31 22:00"), parse_time("2023-03-01 02:00")]
    exchange.bars[BTC, "1h"] = whole[~np.isin(times, holes)]
    exchange.faults[f"{FEBRUARY}.CHECKSUM"] = ["wrong", "*"]
    with pytest.raises(DownloadError, match=FEBRUARY):
        get(exchange, store)
    exchange.faults.clear()
    report = get(exchange, store)
    assert [start for start, _ in report.series[0].missing] == holes
    assert report.series[0].rows == 2290 - 2


def test_an_address_that_is_none_is_refused(exchange: Exchange, store: Store) -> None:
    exchange.url = "file:///data"
    with pytest.raises(SettingError, match=r'data\.archive_url = "file:///data"'):
        get(exchange, store)


# Wrong requests -------------------------------------------------------------------------------------------------------


def test_an_unknown_symbol_is_named_with_the_nearest(exchange: Exchange, store: Store) -> None:
    with pytest.raises(UsageError, match=r"--symbols BTCUDST.*did you mean BTCUSDT"):
        get(exchange, store, symbols=("BTCUDST",), rest=False)
    assert store.symbols() == []


def test_the_exchange_says_which_symbols_there_are(exchange: Exchange, store: Store) -> None:
    with pytest.raises(UsageError, match=r"the exchange has no such perpetual.*did you mean BTCUSDT"):
        get(exchange, store, symbols=("BTCUDST",), rules=True)


def test_a_period_before_the_listing_is_said(exchange: Exchange, store: Store) -> None:
    with pytest.raises(UsageError, match="listed later"):
        get(exchange, store, "2021-01-01", "2021-03-01", rules=True)


def test_a_symbol_that_is_listed_no_more_keeps_no_other_from_its_rest(exchange: Exchange, store: Store) -> None:
    exchange.bars["OLDUSDT", "1h"] = hourly("2023-02-01", "2023-03-10")
    exchange.delisted = {"OLDUSDT"}
    report = get(exchange, store, symbols=("OLDUSDT", BTC))
    assert [series.end for series in report.series] == [parse_time("2023-03-09 23:00"), parse_time("2023-04-10 09:00")]
    assert any("OLDUSDT 1h bars: REST does not have it" in note for note in report.notes)


def test_bad_rows_over_rest_fail_their_series_alone(exchange: Exchange, store: Store) -> None:
    frame = hourly("2023-04-01", "2023-05-01")
    frame.loc["2023-04-10 05:00", "low"] = 1e9
    exchange.bars["BADUSDT", "1h"] = frame
    with pytest.raises(DownloadError, match=r"BADUSDT 1h bars over REST: .*2023-04-10 05:00 UTC.*low"):
        get(exchange, store, "2023-04-01", symbols=("BADUSDT", BTC))
    assert times_of(store.read_bars(BTC, "1h"))[-1] == parse_time("2023-04-10 09:00")


def test_a_known_symbol_beside_an_unknown_one_is_kept(exchange: Exchange, store: Store) -> None:
    with pytest.raises(UsageError, match="XYZUSDT"):
        get(exchange, store, symbols=(BTC, "XYZUSDT"), rest=False)
    assert len(store.read_bars(BTC, "1h")) == 2280


def test_a_new_series_needs_a_start(exchange: Exchange, store: Store) -> None:
    with pytest.raises(UsageError, match=r"BTCUSDT 1h bars is not stored yet.*--timerange 2023-"):
        get(exchange, store, start=None)
    assert not exchange.asked


# Archives that the exchange replaces ----------------------------------------------------------------------------------


def test_recheck_fetches_what_was_replaced_or_has_appeared(exchange: Exchange, store: Store) -> None:
    exchange.absent = {f"{BTC}-1h-2023-03.zip", *(f"{BTC}-1h-2023-03-{day:02d}.zip" for day in range(1, 32))}
    get(exchange, store, rest=False, end="2023-04-01")
    changed = exchange.bars[BTC, "1h"].copy()
    changed.loc["2023-02-10 05:00", "volume"] = 77.0
    exchange.bars[BTC, "1h"] = changed
    exchange.absent.clear()
    exchange.asked.clear()
    get(exchange, store, rest=False, end="2023-04-01")
    assert exchange.asked[f"{FEBRUARY}.CHECKSUM"] == 0
    report = get(exchange, store, rest=False, end="2023-04-01", recheck=True)
    assert report.series[0].changed == 1
    assert any(FEBRUARY in note for note in report.notes)
    assert store.read_bars(BTC, "1h").loc["2023-02-10 05:00+00:00", "volume"] == 77.0
    assert report.series[0].end == parse_time("2023-03-31 23:00")


# Interruptions --------------------------------------------------------------------------------------------------------


def test_an_interrupted_download_says_what_is_kept_and_goes_on(exchange: Exchange, store: Store) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(DownloadInterruptedError, match=r"interrupted: .*verified.*Run the same command again"):
        get(exchange, store, stage=interrupt)
    fetched = {name for name in cached(store) if name.endswith(".zip") and not name.startswith(".")}
    assert len(fetched) >= 2
    exchange.asked.clear()
    report = get(exchange, store)
    assert not fetched & set(zips(exchange)), "what was verified is not fetched again"
    assert report.series[0].rows == 2290
    assert cached(store) == []


def test_an_archive_that_was_merged_and_not_noted_goes_away(exchange: Exchange, store: Store) -> None:
    get(exchange, store)
    left = store.folder / FOLDER / "monthly" / "klines" / BTC / "1h" / FEBRUARY
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a verified archive")
    get(exchange, store)
    assert cached(store) == []
    assert not left.parent.exists()


def test_two_downloads_do_not_meet(exchange: Exchange, store: Store) -> None:
    refused: list[str] = []

    def second(what: str, done: int, total: int) -> None:
        if not refused:
            with pytest.raises(DataError, match="another download is working") as caught:
                get(exchange, store)
            refused.append(str(caught.value))

    get(exchange, store, stage=second)
    assert refused


def test_a_folder_that_cannot_be_written_is_named(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.dir"):
        get(exchange, Store(tmp_path / "data"))


def test_equal_downloads_leave_equal_series(exchange: Exchange, tmp_path: Path) -> None:
    prints = []
    for name in ("a", "b"):
        store = Store(tmp_path / name)
        get(exchange, store, kinds=ALL)
        ledger = json.loads((store.folder / FOLDER / "ledger.json").read_text(encoding="utf-8"))
        prints.append(([(e.key, e.fingerprint, e.sources) for e in store.list()], ledger))
    assert prints[0] == prints[1]
