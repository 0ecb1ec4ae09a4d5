"""Symbols as people write them, to the exchange's own spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from qtsim.errors import UsageError

DOLLARS = ("USDT", "USDC", "FDUSD", "BUSD", "USD")
QUOTES = (*DOLLARS, "BTC", "ETH")

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


def is_delivery_date(text: str) -> bool:
    """Tell whether a text is the date of a delivery contract, six digits: `240628`."""
    if len(text) != 6 or not text.isdigit():
        return False
    try:
        datetime.strptime(text, "%y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


def symbol_among(words: Sequence[str]) -> str:
    """Return the one symbol that the words of a file's name spell; empty where they spell none or several.

    A word that ends in a quote is a whole symbol (`BTCUSDT`); a word before a quote is a base (`BTC`, `USDT`). Dollars
    count before coins: `MY BTC USDT` is BTCUSDT.
    """
    for quotes in (DOLLARS, QUOTES):
        found = {symbol for symbol in _pairs(words, quotes) if symbol}
        if found:
            return found.pop() if len(found) == 1 else ""
    return ""


def is_whole(word: str, quotes: Sequence[str] = QUOTES) -> bool:
    """Tell whether a word is a base with its quote: `BTCUSDT`, not `USDT`."""
    return word.endswith(tuple(quotes)) and word not in QUOTES


def _pairs(words: Sequence[str], quotes: Sequence[str]) -> list[str]:
    """Every symbol that one word, or a word with the quote after it, spells with one of `quotes`."""
    found = []
    position = 0
    while position < len(words):
        word = words[position]
        after = words[position + 1] if position + 1 < len(words) else ""
        if after in quotes and word != after and not word.endswith(after):
            found.append(word + after)
            position += 1
            while words[position + 1 : position + 2] == [after]:  # BTC_USDT_USDT: base, quote, settlement
                position += 1
        elif is_whole(word, quotes):
            found.append(word)
        position += 1
    return found
