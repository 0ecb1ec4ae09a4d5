"""Which symbols move together for a known reason: a table by base asset, which a file beside the data changes."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from qtsim.errors import DataError

SECTORS: dict[str, tuple[str, ...]] = {
    "Layer1": ("BTC", "ETH", "BNB", "SOL", "ADA", "AVAX", "DOT"),
    "DeFi": ("AAVE", "UNI", "SUSHI", "CAKE"),
    "Meme": ("DOGE", "SHIB", "PEPE"),
    "Gaming": ("AXS", "SAND", "MANA"),
    "Infrastructure": ("LINK", "GRT", "FIL"),
    "Payments": ("XRP", "LTC"),
}
QUOTES = ("USDT", "USDC", "BUSD")
MULTIPLES = ("1000000", "1000")
"""Prefixes of contracts on many units of a small coin: 1000PEPEUSDT."""


def base_asset(symbol: str) -> str:
    """Return the base asset of a symbol: `1000PEPEUSDT` is PEPE. The name of an asset is that asset: `USDC`."""
    quotes = [quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote]
    base = symbol.removesuffix(quotes[0]) if quotes else symbol
    return next((base.removeprefix(count) for count in MULTIPLES if base.startswith(count)), base)


def sector_of(symbol: str, own: Mapping[str, str] | None = None) -> str:
    """Return the sector of a symbol; one of none is its own. own: base asset → sector, before the shipped table."""
    base = base_asset(symbol)
    if own and base in own:
        return own[base]
    return next((sector for sector, bases in SECTORS.items() if base in bases), symbol)


def sector_numbers(symbols: Sequence[str], own: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return a number per symbol; symbols of one sector have the same. own: as in `sector_of`."""
    names = sorted({sector_of(symbol, own) for symbol in symbols})
    return {symbol: names.index(sector_of(symbol, own)) for symbol in symbols}


FILE = "sectors.csv"
"""Name of the user's own table, in the folder of the venue's data."""
COLUMNS = ["asset", "sector"]


def read_sectors(folder: Path, known: Collection[str]) -> dict[str, str]:
    """Read the user's own sector table: base asset → sector; empty where there is none.

    Parameters
    ----------
    folder : Path
        The venue's data; the table is its `sectors.csv`, with the columns asset and sector. An asset may be written as
        a symbol.
    known : collection of str
        Symbols that exist.

    Raises
    ------
    DataError
        A row names file, line and value: an unknown asset, no sector, or one asset in two sectors.
    """
    file = folder / FILE
    if not file.is_file():
        return {}
    assets = {base_asset(symbol) for symbol in known}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start + 1} is not UTF-8; save it as CSV in UTF-8") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    names = [name.strip() for name in rows.fieldnames or []]
    if names != COLUMNS:
        raise DataError(f"{file}, line 1: the columns are {', '.join(names) or 'none'}; asset,sector are needed")
    rows.fieldnames = names
    table: dict[str, str] = {}
    for row in rows:
        asset, sector = _sector_row(row, f"{file}, line {rows.line_num}", assets)
        if table.setdefault(asset, sector) != sector:
            raise DataError(
                f"{file}, line {rows.line_num}: {asset} is in {sector} and in {table[asset]}; one sector is needed"
            )
    return table


def _sector_row(row: Mapping[str, str | None], where: str, assets: Collection[str]) -> tuple[str, str]:
    asset, sector = (str(row.get(name) or "").strip() for name in COLUMNS)
    base = base_asset(asset.upper())
    if base not in assets:
        near = difflib.get_close_matches(base, sorted(assets), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; qtsim data instruments lists what there is"
        if base in QUOTES:
            hint = f": contracts are quoted in it, and of none that is known it is the base, as in {base}USDT"
        raise DataError(f"{where}: asset {asset!r} is unknown{hint}")
    if not sector:
        raise DataError(f"{where}: {asset} has no sector; write its name, or leave the row out")
    return base, sector


def sectors_fingerprint(folder: Path) -> str:
    """SHA-256, hex, of the user's own table; empty where there is none."""
    file = folder / FILE
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
