"""Sectors: the table, contracts on many units, and numbers that say what belongs together."""

from __future__ import annotations

from pathlib import Path

import pytest

import qtsim as qt
from qtsim.data.sectors import SECTORS, base_asset, read_sectors, sector_numbers, sector_of, sectors_fingerprint
from qtsim.data.store import Store
from qtsim.errors import DataError


@pytest.mark.parametrize(
    ("symbol", "base", "sector"),
    [
        ("BTCUSDT", "BTC", "Layer1"),
        ("ETHUSDC", "ETH", "Layer1"),
        ("1000PEPEUSDT", "PEPE", "Meme"),
        ("1000000SHIBUSDT", "SHIB", "Meme"),
        ("XRPUSDT", "XRP", "Payments"),
        ("APTUSDT", "APT", "APTUSDT"),
    ],
)
def test_sector_of_a_symbol(symbol: str, base: str, sector: str) -> None:
    assert (base_asset(symbol), sector_of(symbol)) == (base, sector)


def test_an_asset_that_others_are_quoted_in(tmp_path: Path) -> None:
    """It may have a sector where a contract on it is known; elsewhere the row would say nothing."""
    assert base_asset("USDC") == base_asset("USDCUSDT") == "USDC"
    folder = written(tmp_path, "asset,sector\nUSDC,Stable\n")
    assert read_sectors(folder, [*KNOWN, "USDCUSDT"]) == {"USDC": "Stable"}
    with pytest.raises(DataError, match="line 2: asset 'USDC' is unknown: contracts are quoted in it"):
        read_sectors(folder, KNOWN)


def test_symbols_of_one_sector_have_one_number() -> None:
    numbers = sector_numbers(["BTCUSDT", "ETHUSDT", "APTUSDT", "OPUSDT"])
    assert numbers["BTCUSDT"] == numbers["ETHUSDT"]
    assert len({numbers["BTCUSDT"], numbers["APTUSDT"], numbers["OPUSDT"]}) == 3


def test_no_asset_is_in_two_sectors() -> None:
    assets = [asset for bases in SECTORS.values() for asset in bases]
    assert len(assets) == len(set(assets))


KNOWN = ("BTCUSDT", "XRPUSDT", "APTUSDT", "1000PEPEUSDT")


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sectors.csv").write_text(text, encoding="utf-8")
    return folder


def test_an_own_table_counts_before_the_shipped_one(tmp_path: Path) -> None:
    table = read_sectors(written(tmp_path, "asset,sector\nAPT,Layer1\nxrpusdt,Layer1\nPEPE,Jokes\n"), KNOWN)
    assert table == {"APT": "Layer1", "XRP": "Layer1", "PEPE": "Jokes"}
    numbers = sector_numbers(KNOWN, table)
    assert numbers["BTCUSDT"] == numbers["APTUSDT"] == numbers["XRPUSDT"] != numbers["1000PEPEUSDT"]
    assert sector_of("1000PEPEUSDT", table) == "Jokes"
    assert read_sectors(tmp_path / "elsewhere", KNOWN) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asset,sector\nBTC,Layer1\nBTCC,Layer1\n", r"sectors.csv, line 3: asset 'BTCC' is unknown; did you mean BTC?"),
        ("asset,sector\nQQQ,Layer1\n", r"line 2: asset 'QQQ' is unknown; qtsim data instruments lists"),
        ("asset,sector\nBTC,\n", r"line 2: BTC has no sector"),
        ("asset,sector\nBTC,A\nBTCUSDT,B\n", r"line 3: BTC is in B and in A"),
        ("name,group\nBTC,A\n", r"line 1: the columns are name, group; asset,sector are needed"),
        ("", r"asset,sector are needed"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read_sectors(written(tmp_path, text), KNOWN)
    assert message in str(error.value)


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "sectors.csv").write_bytes("asset,sector\nBTC,a\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"sectors\.csv: byte 1 is not UTF-8; save it as CSV in UTF-8"):
        read_sectors(tmp_path, ["BTCUSDT"])


def test_blanks_around_the_columns_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "sectors.csv").write_text("asset, sector\nBTC, gold\n", encoding="utf-8")
    assert read_sectors(tmp_path, ["BTCUSDT"]) == {"BTC": "gold"}


def test_a_run_reads_it_and_remembers_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    store = Store(tmp_path / "data")
    store.write_bars("BTCUSDT", "1h", qt.load_bars("BTCUSDT", "1h", sample=True).tail(400), source="made for the test")
    written(store.folder, "asset,sector\nBTC,Gold\n")
    run = qt.backtest("ema_cross", symbols="BTCUSDT", timeframe="1h", fast=True, check=False)
    assert run.info.fingerprints["sectors"] == sectors_fingerprint(store.folder) != ""
    written(store.folder, "asset,sector\nBTCC,Gold\n")
    with pytest.raises(DataError, match="did you mean BTC"):
        qt.backtest("ema_cross", symbols="BTCUSDT", timeframe="1h", fast=True, check=False)
