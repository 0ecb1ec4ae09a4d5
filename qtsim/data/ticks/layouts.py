"""Layouts of trade and quote tables: which column means what, found by names or by the first row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qtsim.data.frames import plain_name
from qtsim.data.ticks.arrays import QUOTES, TRADES
from qtsim.errors import DataError

AGGREGATE, SINGLE, UPDATE, COUNTED = "aggregate", "single", "update", "counted"
"""What an id counts: aggregate trades, single trades, updates of the book, or nothing but the rows of an instant."""

AGG_TRADE_COLUMNS = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
)
TRADE_COLUMNS = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
BOOK_TICKER_COLUMNS = (
    "update_id",
    "best_bid_price",
    "best_bid_qty",
    "best_ask_price",
    "best_ask_qty",
    "transaction_time",
    "event_time",
)
_BEST_MATCH = "is_best_match"  # the spot market's last column, always true

_TRADE_TIMES = ("transact_time", "transaction_time", "trade_time", "trade_ms", "time", "timestamp", "datetime", "date")
_RECEIPT = ("recv_ns", "recv_time", "receive_time", "local_time", "local_timestamp")
_TIMES = (*_TRADE_TIMES, "event_time", "event_ms", *_RECEIPT)
"""Times, best first: the exchange's own, then when it told, then when it was received."""
_AGGREGATE_IDS = ("agg_trade_id", "aggtradeid", "aggregate_trade_id", "agg_id")
_TRADE_IDS = (*_AGGREGATE_IDS, "trade_id", "tradeid", "id")
_UPDATE_IDS = ("update_id", "updateid", "u")
_MAKER = ("is_buyer_maker", "isbuyermaker", "buyer_maker", "buyer_is_maker")
_TAKER = ("taker_side", "aggressor_side", "side")
_FIELDS = {
    TRADES: {"price": ("price",), "qty": ("qty", "quantity", "amount", "size")},
    QUOTES: {
        "bid": ("best_bid_price", "bid_price", "bidprice", "best_bid", "bid"),
        "bid_qty": ("best_bid_qty", "bid_qty", "bidqty", "bid_size", "bid_quantity", "bid_amount"),
        "ask": ("best_ask_price", "ask_price", "askprice", "best_ask", "ask"),
        "ask_qty": ("best_ask_qty", "ask_qty", "askqty", "ask_size", "ask_quantity", "ask_amount"),
    },
}
_BOOLEAN = re.compile(r"^(true|false)$", re.IGNORECASE)
_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")


@dataclass(frozen=True)
class Layout:
    """Which column of a table means what. Names are the table's own."""

    kind: str
    numbering: str
    times: tuple[str, ...]
    """The first of them that is not 0 counts, row by row."""
    fields: dict[str, str]
    """Prices and quantities: ours to theirs."""
    id: str = ""
    maker: str = ""
    """Whether the buyer was the maker."""
    taker: str = ""
    """The taker's side, where that is told instead."""
    symbol: str = ""
    receipt: str = ""
    """The one of `times` that is the recorder's clock, not the exchange's."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns to read."""
        every = (*self.times, *self.fields.values(), self.id, self.maker, self.taker, self.symbol)
        return tuple(dict.fromkeys(name for name in every if name))


def layout_of(names: Sequence[str]) -> Layout | None:
    """Recognise trades or quotes by their columns' names; None where it is neither."""
    plain = {plain_name(name): str(name) for name in reversed(names)}
    if {"open", "high", "low", "close"} <= plain.keys():
        return None
    times = tuple(plain[name] for name in _TIMES if name in plain)
    for kind in (QUOTES, TRADES):
        fields = {ours: _find(plain, theirs) for ours, theirs in _FIELDS[kind].items()}
        if not times or not all(fields.values()):
            continue
        receipt = _find(plain, _RECEIPT)
        symbol = _find(plain, ("symbol", "pair", "instrument"))
        if kind == QUOTES:
            update = _find(plain, _UPDATE_IDS)
            numbering = UPDATE if update else COUNTED
            return Layout(QUOTES, numbering, times, fields, id=update, symbol=symbol, receipt=receipt)
        number, maker, taker = _find(plain, _TRADE_IDS), _find(plain, _MAKER), _find(plain, _TAKER)
        if number and (maker or taker):
            numbering = AGGREGATE if plain_name(number) in _AGGREGATE_IDS else SINGLE
            return Layout(
                TRADES,
                numbering,
                times,
                fields,
                id=number,
                maker=maker,
                taker="" if maker else taker,
                symbol=symbol,
                receipt=receipt,
            )
    return None


def missing_of(kind: str, names: Sequence[str]) -> str:
    """Say which columns a table of this kind lacks."""
    plain = {plain_name(name): str(name) for name in names}
    lacks = [theirs[0] for theirs in _FIELDS[kind].values() if not _find(plain, theirs)]
    lacks += [] if _find(plain, _TIMES) else ["time"]
    if kind == TRADES:
        lacks += [] if _find(plain, _TRADE_IDS) else ["id (without it a repeated trade cannot be told from a copy)"]
        lacks += [] if _find(plain, (*_MAKER, *_TAKER)) else ["is_buyer_maker or taker_side"]
    return f"no column {', '.join(lacks)}; the table has {', '.join(map(str, names)) or 'no columns'}"


def names_without_header(row: Sequence[str]) -> tuple[str, ...]:
    """Column names of a table without a header, by its first row; empty where it is neither trades nor quotes."""
    texts = [text.strip().strip('"') for text in row]
    flags = [bool(_BOOLEAN.match(text)) for text in texts]
    if not all(flag or _NUMBER.match(text) for flag, text in zip(flags, texts, strict=True)):
        return ()
    width = len(texts)
    if width == 8 and flags[6:] == [True, True] and _is_time(texts[5]):
        return (*AGG_TRADE_COLUMNS, _BEST_MATCH)
    if width == 7 and flags[5:] == [True, True] and _is_time(texts[4]):
        return (*TRADE_COLUMNS, _BEST_MATCH)
    if width == 7 and flags[6] and _is_time(texts[5]):
        return AGG_TRADE_COLUMNS
    if width == 6 and flags[5] and _is_time(texts[4]):
        return TRADE_COLUMNS
    if width == 7 and not any(flags) and _is_time(texts[5]) and _is_time(texts[6]):
        return BOOK_TICKER_COLUMNS
    return ()


def _is_time(text: str) -> bool:
    """Whether a number is as large as Unix milliseconds or a finer unit; no price or volume of a trade is."""
    return bool(_NUMBER.match(text)) and float(text) >= 1e11


def require_layout(names: Sequence[str], kind: str) -> Layout:
    """Return the layout of a table that is said to be of a kind.

    Raises
    ------
    DataError
        It is not; what it lacks is named.
    """
    layout = layout_of(names)
    if layout is None or layout.kind != kind:
        found = f"these are {layout.kind}; " if layout else ""
        raise DataError(f"not {kind}: {found}{missing_of(kind, names)}")
    return layout


def _find(plain: dict[str, str], names: Sequence[str]) -> str:
    return next((plain[name] for name in names if name in plain), "")
