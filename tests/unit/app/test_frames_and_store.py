"""What a run on frames accepts, and that a run on the store reads the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qtsim as qt
from qtsim.app.inputs import add_stored_history, gather_frames, gather_store, passports
from qtsim.app.stale import changed_since
from qtsim.app.workspace import Workspace
from qtsim.config.layers import resolve
from qtsim.config.settings import Settings
from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import make_frame, times_of
from qtsim.data.sample import sample_store
from qtsim.data.store import Store
from qtsim.data.timeframes import HOUR
from qtsim.errors import DataError, QtsimError, UsageError
from tests.unit.data.made_bars import START, made_bars

SETTINGS = {"strategy.adx_min": 0.0}
BARS = made_bars(400)
MARK = made_bars(400, mark=True)


def funding(n: int = 50, start: int = START) -> pd.DataFrame:
    times = start + np.arange(n, dtype=np.int64) * 8 * HOUR
    return make_frame(times, {"funding_rate": np.full(n, 2e-4), "mark_price": np.full(n, np.nan)})


def settings_with(**overrides: Any) -> Settings:
    return resolve(environ={}, overrides={path.replace("__", "."): value for path, value in overrides.items()}).settings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace; the current folder is in it."""
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


@pytest.fixture
def store(place: Workspace) -> Store:
    """The workspace's store with bars, mark bars and funding of BTCUSDT."""
    store = Store(place.data("data"))
    store.write_bars("BTCUSDT", "1h", BARS, source="bars.csv")
    store.write_bars("BTCUSDT", "1h", MARK, kind="mark", source="mark.csv")
    store.write_funding("BTCUSDT", funding(), source="funding.csv")
    return store


def run(data: Any = None, **more: Any) -> Any:
    return qt.backtest("ema_cross", data, settings=SETTINGS | more.pop("settings", {}), fast=True, **more)


def test_a_frame_without_a_symbol_is_not_traded_as_bitcoin(store: Store) -> None:
    with pytest.raises(UsageError, match="one frame is one symbol: name it"):
        run(BARS)
    assert run(BARS, symbols="ETHUSDT").info.symbols == ["ETHUSDT"]


def test_a_frame_is_the_symbol_that_the_settings_file_names(place: Workspace) -> None:
    (place.root / "qtsim.toml").write_text('[run]\nsymbols = ["SOLUSDT"]\n', encoding="utf-8")
    assert run(BARS).info.symbols == ["SOLUSDT"]


def changed(frame: pd.DataFrame, row: int, column: str, value: float) -> pd.DataFrame:
    frame = frame.copy()
    frame.loc[frame.index[row], column] = value
    return frame


WRONG_HISTORY: dict[str, tuple[dict[str, Any], str]] = {
    "mark nan": ({"mark": changed(MARK, 7, "low", np.nan)}, r"BTCUSDT mark 1h, row 8 .*low is NaN"),
    "mark negative": ({"mark": changed(MARK, 7, "low", -1.0)}, r"BTCUSDT mark 1h, row 8 .*low is -1"),
    "mark high": ({"mark": changed(MARK, 7, "high", 1.0)}, r"BTCUSDT mark 1h, row 8 .*high 1 is below"),
    "mark twice": ({"mark": pd.concat([MARK, MARK.iloc[[3]]])}, "BTCUSDT mark 1h, row 401 .*occurs twice"),
    "mark unsorted": ({"mark": MARK.iloc[::-1]}, "BTCUSDT mark 1h, row 2 .*earlier than"),
    "mark without open": ({"mark": MARK[["close"]]}, "BTCUSDT mark: no column open"),
    "mark minutes": (
        {"mark": made_bars(90, "1m", mark=True)},
        "BTCUSDT mark: said to be 1h, but its rows are 1m",
    ),
    "funding nan": ({"funding": changed(funding(), 4, "funding_rate", np.nan)}, "BTCUSDT funding, row 5 .*is nan"),
    "funding twice": ({"funding": pd.concat([funding(), funding(1)])}, "BTCUSDT funding, row 51 .*occurs twice"),
    "funding unsorted": ({"funding": funding().iloc[::-1]}, "BTCUSDT funding, row 2 .*earlier than"),
    "mark of another": ({"mark": {"ETHUSDT": MARK}}, r"mark of ETHUSDT: not among the run's symbols \(BTCUSDT\)"),
    "funding of another": ({"funding": {"ETHUSDT": funding()}}, "funding of ETHUSDT: not among the run's symbols"),
    "funding None": ({"funding": None}, "funding is None; give 'auto', 'off', a frame"),
    "mark None": ({"mark": None}, "mark is None"),
    "funding list": ({"funding": [funding()]}, "funding is a list; give a frame or a dict of frames by symbol"),
}


@pytest.mark.parametrize("case", WRONG_HISTORY)
def test_wrong_mark_bars_and_funding_are_refused(place: Workspace, case: str) -> None:
    given, says = WRONG_HISTORY[case]
    with pytest.raises(QtsimError, match=says):
        run({"BTCUSDT": BARS}, **given)


def test_one_history_for_two_symbols_is_refused(place: Workspace) -> None:
    with pytest.raises(UsageError, match="one mark frame is one symbol's"):
        run({"BTCUSDT": BARS, "ETHUSDT": BARS}, mark=MARK)
    with pytest.raises(UsageError, match="mark frames go with bars"):
        run(None, mark=MARK)


def test_bad_rows_of_mark_and_funding_are_dropped_and_counted_where_asked(place: Workspace) -> None:
    result = run(
        {"BTCUSDT": BARS},
        mark=changed(MARK, 7, "low", np.nan),
        funding=pd.concat([funding(), funding(1)]),
        settings={"data.on_bad_rows": "drop"},
    )
    assert np.isfinite(result.equity["equity"]).all()
    assert any(text.startswith("BTCUSDT mark: 1 row dropped (1 NaN)") for text in result.warnings)
    assert any(text.startswith("BTCUSDT funding: 1 row dropped (1 duplicate)") for text in result.warnings)


def test_mark_bars_and_funding_of_the_store_are_checked_on_load(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bars, read_funding = Store.read_bars, Store.read_funding

    def bad_mark(self: Store, symbol: str, timeframe: str, *args: Any, **others: Any) -> pd.DataFrame:
        frame = read_bars(self, symbol, timeframe, *args, **others)
        return changed(frame, 7, "low", np.nan) if others.get("kind") == "mark" else frame

    def bad_funding(self: Store, symbol: str, *args: Any) -> pd.DataFrame:
        return changed(read_funding(self, symbol, *args), 4, "funding_rate", np.nan)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read_bars", bad_mark)
        with pytest.raises(DataError, match="BTCUSDT mark 1h, row 8"):
            run()
    monkeypatch.setattr(Store, "read_funding", bad_funding)
    with pytest.raises(DataError, match="BTCUSDT funding, row 5"):
        run()


WRONG_DATA: dict[str, tuple[Any, str]] = {
    "list": ([BARS], "data is a list; give a frame or a dict of frames by symbol"),
    "number as symbol": ({5: BARS}, "data: 5 is no symbol"),
    "array": ({"BTCUSDT": BARS.to_numpy()}, "data of BTCUSDT is a ndarray; a pandas DataFrame is needed"),
    "empty": ({"BTCUSDT": BARS.iloc[:0]}, "BTCUSDT: the frame has no rows"),
    "two spellings": (
        {"BTC/USDT:USDT": BARS, "BTCUSDT": BARS},
        "data has BTCUSDT twice: 'BTCUSDT' is another",
    ),
    "reversed": ({"BTCUSDT": BARS.iloc[::-1]}, r"BTCUSDT 1h, row 2 \(.*\): the time is earlier than"),
    "unsorted": ({"BTCUSDT": BARS.iloc[[0, 2, 1, 3, 4]]}, "BTCUSDT 1h, row 3"),
    "two timeframes": (
        {"BTCUSDT": BARS, "ETHUSDT": made_bars(300, "1m")},
        "ETHUSDT: said to be 1h, but its rows",
    ),
    "two timeframes, finer first": (
        {"ETHUSDT": made_bars(300, "1m"), "BTCUSDT": BARS},
        "BTCUSDT: said to be 1m, but no two rows are closer than 1h",
    ),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_is_refused_in_words(place: Workspace, case: str) -> None:
    data, says = WRONG_DATA[case]
    with pytest.raises(QtsimError, match=says):
        run(data)


WRONG_WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "symbols": ({"symbols": 5}, "symbols = 5: give a symbol"),
    "symbol in a list": ({"symbols": [5]}, r"symbols = \[5\]: give a symbol"),
    "settings": ({"settings": ["a"]}, "settings is a list; a dict is needed"),
    "instruments": ({"instruments": ["a"]}, "instruments is a list; a dict is needed"),
    "rules": ({"instruments": {"BTCUSDT": 5}}, "instrument BTCUSDT: 5 is no set of rules"),
}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_arguments_of_the_wrong_kind_are_refused_in_words(place: Workspace, case: str) -> None:
    given, says = WRONG_WORDS[case]
    with pytest.raises(UsageError, match=says):
        qt.backtest("ema_cross", {"BTCUSDT": BARS}, fast=True, **given)
    with pytest.raises(UsageError, match="symbols = 5"):
        qt.load_bars(5)  # type: ignore[arg-type]


def test_finer_bars_than_the_timeframe_are_refused_under_drop_too(place: Workspace) -> None:
    with pytest.raises(DataError, match="said to be 1h, but its rows are 5m apart"):
        run({"BTCUSDT": made_bars(400, "5m")}, timeframe="1h", settings={"data.on_bad_rows": "drop"})


@pytest.mark.parametrize("timerange", ["20240103-20240112", "20240103-", ""])
def test_a_fresh_run_is_not_stale_and_frames_give_the_same(store: Store, place: Workspace, timerange: str) -> None:
    from_store = run(symbols="BTCUSDT", timerange=timerange)
    assert not changed_since(from_store.info, place)
    from_frames = run({"BTCUSDT": store.read_bars("BTCUSDT", "1h")}, timerange=timerange)
    assert from_frames.digest == from_store.digest
    assert from_frames.info.fingerprints == from_store.info.fingerprints
    if timerange == "20240103-20240112":
        end = pd.Timestamp("2024-01-12", tz="UTC")
        inputs = gather_store(store, settings_with(run__timerange=timerange), ["BTCUSDT"])
        history = inputs.symbols["BTCUSDT"].funding
        assert history is not None
        assert history.index[-1] == end


def test_each_series_of_the_passport_has_its_own_source(store: Store) -> None:
    passport = run(symbols="BTCUSDT").info.passport
    assert {name: series["source"] for name, series in passport.items()} == {
        "BTCUSDT": "bars.csv",
        "BTCUSDT mark": "mark.csv",
        "BTCUSDT funding": "funding.csv",
    }
    assert passport["BTCUSDT mark"]["kind"] == "mark"
    inputs = gather_frames({"BTCUSDT": BARS}, settings_with(), timeframe=None)
    add_stored_history(inputs, store, settings_with())
    assert {name: series["source"] for name, series in passports(inputs, {}).items()} == {
        "BTCUSDT": "frame",
        "BTCUSDT mark": "mark.csv",
        "BTCUSDT funding": "funding.csv",
    }


def test_a_symbol_without_any_mark_bars_is_named(store: Store) -> None:
    store.write_bars("ETHUSDT", "1h", BARS, source="a")
    result = run(symbols=["BTCUSDT", "ETHUSDT"])
    assert "ETHUSDT: no mark history; the last price stands in" in result.warnings
    assert not [text for text in result.warnings if text.startswith("BTCUSDT: no mark history")]
    off = run(symbols=["ETHUSDT"], mark="off")
    assert not [text for text in off.warnings if "mark history" in text]


def test_an_end_beyond_the_data_is_told_as_a_start_before_it_is(store: Store) -> None:
    result = run(symbols="BTCUSDT", timerange="20231201-20300101")
    assert "BTCUSDT: asked for 2023-12-01 00:00 UTC, its bars begin 2024-01-01 00:00 UTC" in result.warnings
    assert "BTCUSDT: asked for bars to 2030-01-01 00:00 UTC, they end 2024-01-17 16:00 UTC" in result.warnings
    inside = run(symbols="BTCUSDT", timerange="20240103-20240112")
    assert not [text for text in inside.warnings if "asked for" in text]


def test_of_all_symbols_those_without_bars_in_the_period_are_left_out(store: Store) -> None:
    store.write_bars("ETHUSDT", "1h", made_bars(400, start=START + 1000 * HOUR), source="a")
    result = run(symbols="all", timerange="20240103-20240112")
    assert result.info.symbols == ["BTCUSDT"]
    assert run(symbols=["all"], timerange="20240103-20240112").digest == result.digest
    assert "without bars in 20240103-20240112 and left out: ETHUSDT" in result.warnings
    with pytest.raises(UsageError, match="ETHUSDT: no bars in 20240103-20240112"):
        run(symbols=["BTCUSDT", "ETHUSDT"], timerange="20240103-20240112")
    with pytest.raises(UsageError, match="BTCUSDT: no bars in 20200103-20200112"):
        run(symbols="all", timerange="20200103-20200112")


def test_a_column_of_a_signal_table_with_a_nearly_known_name_is_told(place: Workspace) -> None:
    table = pd.DataFrame({"enter_long": np.arange(400) % 50 == 0, "exit_lng": False, "rsi": 1.0}, index=BARS.index)
    result = qt.backtest(table, {"BTCUSDT": BARS}, fast=True)
    told = [text for text in result.warnings if "signal table" in text]
    assert told == ["signal table table: column exit_lng is not read; did you mean exit_long?"]


def test_a_leader_that_is_named_must_be_there(store: Store) -> None:
    with pytest.raises(UsageError, match=r"regime\.leader\.symbol = FOO: there are no 1h bars of it"):
        run(symbols="BTCUSDT", settings={"regime.leader.symbol": "FOO"})
    assert run({"SOLUSDT": BARS}).info.symbols == ["SOLUSDT"]


@pytest.fixture(scope="module")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the sample market has been made."""
    folder = tmp_path_factory.mktemp("sample")
    sample_store(folder)
    return folder


def test_generated_bars_meet_no_recorded_ones(store: Store, sample_folder: Path) -> None:
    (store.root / "sample").symlink_to(sample_folder / "sample")
    bars = qt.load_bars("ETHUSDT", "1h", end="2024-02-01", sample=True)
    result = qt.backtest("trend_pullback", {"ETHUSDT": bars}, fast=True)
    leader = sample_store(store.root).read_bars("BTCUSDT", "1h", None, result.info.end_ns + HOUR)
    read = {name: value for name, value in result.info.fingerprints.items() if name == "bars BTCUSDT 1h"}
    assert read == {"bars BTCUSDT 1h": fingerprint(leader)}
    assert (result.info.mark, result.info.funding) == ("history", "history")
    with pytest.raises(UsageError, match="ETHUSDT is SYNTHETIC and BTCUSDT is not: one run reads one market"):
        run({"ETHUSDT": bars, "BTCUSDT": BARS})


def without(frame: pd.DataFrame, hours: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    return frame[~hours((times_of(frame) - START) // HOUR)]


def test_a_hole_in_the_funding_history_is_charged_and_named(place: Workspace) -> None:
    history = without(funding(), lambda hour: (hour > 48) & (hour < 96))
    result = run({"BTCUSDT": BARS}, funding=history)
    assert (
        "BTCUSDT: funding history has nothing from 2024-01-03 00:00 UTC to 2024-01-05 00:00 UTC (5 events); "
        "5 events are charged at 0.0100%"
    ) in result.warnings


def test_the_end_of_the_funding_history_loses_no_event(place: Workspace) -> None:
    result = run({"BTCUSDT": BARS}, funding=funding(3))
    assert any("48 events outside it are charged at 0.0100%" in text for text in result.warnings)
