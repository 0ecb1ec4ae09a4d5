"""The experiment store: every trial counts, what people note stays, versions are told apart."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from qtsim.errors import DataError, QtsimError
from qtsim.research.experiments import (
    FILE,
    MIGRATIONS,
    RUN,
    SCHEMA,
    Entry,
    Experiments,
    TrialCount,
    count_of,
    data_set_of,
    open_experiments,
)

ENTRY = Entry(
    id="20260101-1200-ema_cross-abcd",
    kind=RUN,
    started_at="2026-01-01T12:00:00+00:00",
    strategy="ema_cross",
    symbols=("BTCUSDT",),
    timeframe="1h",
    profile="exitbrain-v35",
    data_set="BTCUSDT 1h",
    digest="ab",
    settings={"exit.base_tp": 0.02},
    passport={"BTCUSDT": {"bars": 3}},
    metrics={"Sharpe": 1.0, "Sortino": float("nan")},
)


def test_an_entry_comes_back_with_note_and_tags(tmp_path: Path) -> None:
    with open_experiments(tmp_path) as store:
        store.record(ENTRY)
        store.note(ENTRY.id, "the first one")
        store.tag(ENTRY.id, add=["good", "btc"])
        store.tag(ENTRY.id, remove=["btc"])
        store.record(dataclasses.replace(ENTRY, metrics={"Sharpe": 2.0}))
    with open_experiments(tmp_path) as store:
        (found,) = store.entries()
        assert store.remarks() == {ENTRY.id: ("the first one", ("good",))}
    assert found == dataclasses.replace(ENTRY, metrics={"Sharpe": 2.0}, note="the first one", tags=("good",))


def test_removed_entries_are_gone_and_their_trials_stay_counted(tmp_path: Path) -> None:
    with open_experiments(tmp_path) as store:
        store.record(ENTRY)
        store.count("run ab", "BTCUSDT 1h", "ema_cross", count_of(1, [1.0]))
        store.remove(ENTRY.id)
        assert store.entries() == []
        assert store.trials("BTCUSDT 1h", "ema_cross").made == 1


def test_trials_are_summed_by_family_and_data_set_and_a_source_counts_once(tmp_path: Path) -> None:
    with open_experiments(tmp_path) as store:
        store.count("run a", "BTCUSDT 1h", "ema_cross", count_of(1, [1.0]))
        store.count("run a", "BTCUSDT 1h", "ema_cross", count_of(1, [1.0]))
        store.count("sweep b", "BTCUSDT 1h", "ema_cross", count_of(40, [0.0, 2.0]))
        store.count("sweep c", "ETHUSDT 1h", "ema_cross", count_of(7, [5.0]))
        store.count("sweep d", "BTCUSDT 1h", "other", count_of(9, [5.0]))
        found = store.trials("BTCUSDT 1h", "ema_cross")
        own = store.trials("BTCUSDT 1h", "ema_cross", "sweep b")
    assert (found.made, found.different) == (41, 3)
    assert found.sharpe_variance == pytest.approx(1.0)
    assert found.without(own) == TrialCount(1, 1, 1.0, 1.0)


def test_a_sweep_that_goes_on_never_counts_fewer(tmp_path: Path) -> None:
    with open_experiments(tmp_path) as store:
        store.count("sweep b", "BTCUSDT 1h", "ema_cross", count_of(40, [0.0]))
        store.count("sweep b", "BTCUSDT 1h", "ema_cross", count_of(10, [0.0]))
        assert store.trials("BTCUSDT 1h", "ema_cross").made == 40


def test_openings_of_a_holdout_are_logged_and_counted(tmp_path: Path) -> None:
    with open_experiments(tmp_path) as store:
        assert store.log_opening("s", "2026-01-01", "20250101-", "base_tp 2 %", {"Sharpe": 1.0}) == 1
        assert store.log_opening("s", "2026-01-02", "20250101-", "base_tp 2 %", {"Sharpe": 1.0}) == 2
        assert [one["opened_at"] for one in store.openings("s")] == ["2026-01-01", "2026-01-02"]


def test_an_older_store_is_brought_to_this_schema_with_what_it_has(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript(MIGRATIONS[0])
    old.execute("INSERT INTO trials VALUES ('run a', 'BTCUSDT 1h', 'ema_cross', 3, 2, 1.0, 1.0)")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    with open_experiments(tmp_path) as store:
        store.note("x", "y")
        assert store.trials("BTCUSDT 1h", "ema_cross").made == 3
    again = sqlite3.connect(tmp_path / FILE)
    assert again.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    again.close()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / FILE)
    newer.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    newer.commit()
    newer.close()
    with pytest.raises(DataError, match=f"newer version \\(schema {SCHEMA + 1}"):
        Experiments(tmp_path / FILE)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="damaged"):
        Experiments(tmp_path / FILE)


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(QtsimError, match="file"):
        Experiments(tmp_path / "file" / FILE)


def test_a_data_set_is_symbols_and_timeframe_in_any_order() -> None:
    assert data_set_of(["ETHUSDT", "BTCUSDT"], "1h", synthetic=False) == "BTCUSDT,ETHUSDT 1h"
    assert data_set_of(["BTCUSDT"], "1h", synthetic=True) == "BTCUSDT 1h SYNTHETIC"
