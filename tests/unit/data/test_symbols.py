from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.data.symbols import normalize_symbol
from qtsim.errors import UsageError


@pytest.mark.parametrize(
    "text",
    [
        "BTCUSDT",
        "btcusdt",
        " BTCUSDT ",
        "BTC/USDT:USDT",
        "BTC/USDT",
        "BTC-USDT",
        "BTC_USDT",
        "BTC_USDT_USDT",
        "BTCUSDT-PERP.BINANCE",
        "BTCUSDT-PERP",
        "BTC-USDT-SWAP",
        "BTCUSDT.P",
        "BINANCE:BTCUSDT.P",
    ],
)
def test_people_spell_one_symbol_in_many_ways(text: str) -> None:
    assert normalize_symbol(text) == "BTCUSDT"


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("1000PEPE/USDT:USDT", "1000PEPEUSDT"),
        ("GOOG", "GOOG"),
        ("BTCUSDT_240628", "BTCUSDT_240628"),
        ("PERPUSDT", "PERPUSDT"),
    ],
)
def test_other_names_stay_what_they_are(text: str, symbol: str) -> None:
    assert normalize_symbol(text) == symbol


@pytest.mark.parametrize("text", ["", "   ", "BTC//USDT", "BTC USDT", "../etc", "a/b/c", "BTC,ETH", "X" * 41])
def test_hopeless_text_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(UsageError, match="BTC/USDT:USDT"):
        normalize_symbol(text)


@given(st.text(max_size=20))
def test_any_text_is_refused_or_becomes_a_fixed_point_that_is_safe_as_a_file_name(text: str) -> None:
    try:
        symbol = normalize_symbol(text)
    except UsageError:
        return
    assert normalize_symbol(symbol) == symbol
    assert not set(symbol) & set("/\\.:- \0")
