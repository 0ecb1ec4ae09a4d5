"""Which symbols move together for a known reason: a table that people change, by base asset."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Return the base asset of a symbol: `1000PEPEUSDT` is PEPE."""
    base = next((symbol.removesuffix(quote) for quote in QUOTES if symbol.endswith(quote)), symbol)
    return next((base.removeprefix(count) for count in MULTIPLES if base.startswith(count)), base)


def sector_of(symbol: str) -> str:
    """Return the sector of a symbol; a symbol of none is its own."""
    base = base_asset(symbol)
    return next((sector for sector, bases in SECTORS.items() if base in bases), symbol)


def sector_numbers(symbols: Sequence[str]) -> dict[str, int]:
    """Return a number per symbol; symbols of one sector have the same."""
    names = sorted({sector_of(symbol) for symbol in symbols})
    return {symbol: names.index(sector_of(symbol)) for symbol in symbols}
