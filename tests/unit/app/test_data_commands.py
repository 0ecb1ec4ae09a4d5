"""What the data commands say about a store that is not all in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from qtsim.cli.root import app
from qtsim.data.store import Store
from tests.unit.data.made_bars import made_bars


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of a workspace in which two symbols are stored; the current folder is the workspace."""
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "data")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        store.write_bars(symbol, "1h", made_bars(300), source="made for the test")
    return store


def qtsim(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_a_damaged_file_is_listed_beside_the_others(store: Store) -> None:
    path = store.list()[0].path
    path.write_bytes(b"half")
    told = qtsim("data", "list")
    assert told.exit_code == 1
    assert "ETHUSDT" in told.output
    assert f"error: damaged store file {path}" in told.output
    listed = qtsim("data", "list", "--json")
    assert listed.exit_code == 1
    answer = json.loads(listed.stdout)
    assert [entry["symbol"] for entry in answer["series"]] == ["ETHUSDT"]
    assert answer["damaged"][0]["path"] == str(path)


def test_the_outliers_that_are_not_shown_are_counted(store: Store) -> None:
    bars = made_bars(900)
    wild = np.arange(30, 900, 30)
    bars.iloc[wild, bars.columns.get_loc("high")] *= 3.0
    store.write_bars("BTCUSDT", "1h", bars, source="made for the test")
    told = qtsim("data", "check", "-p", "BTCUSDT")
    assert told.exit_code == 0, told.output
    assert f"and {len(wild) - 10} more" in told.output


def test_a_damaged_file_does_not_hide_the_others_from_the_check(store: Store) -> None:
    path = store.list()[0].path
    path.write_bytes(b"half")
    told = qtsim("data", "check", "--json")
    assert told.exit_code == 1
    answer = json.loads(told.stdout)
    assert [passport["symbol"] for passport in answer["passports"]] == ["ETHUSDT"]
    assert len(answer["problems"]) == 1
    assert str(path) in answer["problems"][0]
    assert qtsim("data", "check", "-p", "ETHUSDT").exit_code == 0
