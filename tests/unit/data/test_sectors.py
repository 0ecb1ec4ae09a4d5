"""Sectors: the table, contracts on many units, and numbers that say what belongs together."""

from __future__ import annotations

import pytest

from qtsim.data.sectors import SECTORS, base_asset, sector_numbers, sector_of


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


def test_symbols_of_one_sector_have_one_number() -> None:
    numbers = sector_numbers(["BTCUSDT", "ETHUSDT", "APTUSDT", "OPUSDT"])
    assert numbers["BTCUSDT"] == numbers["ETHUSDT"]
    assert len({numbers["BTCUSDT"], numbers["APTUSDT"], numbers["OPUSDT"]}) == 3


def test_no_asset_is_in_two_sectors() -> None:
    assets = [asset for bases in SECTORS.values() for asset in bases]
    assert len(assets) == len(set(assets))
