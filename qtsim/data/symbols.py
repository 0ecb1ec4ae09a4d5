"""Symbols as people write them, to the exchange's own spelling."""

from __future__ import annotations

import re

from qtsim.errors import UsageError

QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD", "BTC", "ETH")

_DECORATION = re.compile(r"(\.BINANCE|\.P|[-_]PERP|[-_]SWAP|PERP)+$")
_PAIR = re.compile(r"^([^\W_]+)[/\-_]([^\W_]+)(?:[:_\-]\2)?$")
_PLAIN = re.compile(r"^[^\W_]+$")
_DELIVERY = re.compile(r"^[^\W_]+_\d{6}$")


def normalize_symbol(text: str) -> str:
    """Return the exchange's spelling of a symbol: `BTCUSDT`.

    Understood: `BTCUSDT`, `btcusdt`, `BTC/USDT:USDT`, `BTC/USDT`, `BTC-USDT`, `BTC_USDT_USDT`, `BTCUSDT-PERP.BINANCE`,
    `BTCUSDT.P`, `BINANCE:BTCUSDT`. Applying it twice changes nothing.

    Raises
    ------
    UsageError
        The text cannot be a symbol.
    """
    symbol = text.strip().upper().removeprefix("BINANCE:")
    bare = _DECORATION.sub("", symbol)
    symbol = bare or symbol
    if not _DELIVERY.match(symbol):
        pair = _PAIR.match(symbol)
        if pair:
            symbol = pair[1] + pair[2]
        elif not _PLAIN.match(symbol):
            symbol = ""
    if not 1 <= len(symbol) <= 40:
        raise UsageError(f"symbol {text!r} is not understood; write it as BTCUSDT, BTC/USDT:USDT or BTC-USDT")
    return symbol
