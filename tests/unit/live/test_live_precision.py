"""Ticks, steps and the strings that leave."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.errors import DataError
from qtsim.live.precision import Filters, filters_of, plain

BTC = Filters(
    "BTCUSDT",
    tick=Decimal("0.1"),
    step=Decimal("0.001"),
    market_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(120),
    min_notional=Decimal(50),
    limit_max_qty=Decimal(1000),
)
LOT = Decimal("0.001")


@pytest.mark.parametrize(
    ("price", "nearest", "floor", "ceil"),
    [
        (55_000.06, "55000.1", "55000", "55000.1"),
        (0.1 + 0.2, "0.3", "0.3", "0.3"),
        (30_000.1, "30000.1", "30000.1", "30000.1"),
        (50_000.05, "50000.1", "50000", "50000.1"),
    ],
)
def test_prices_go_to_the_tick(price: float, nearest: str, floor: str, ceil: str) -> None:
    assert BTC.nearest_price(price) == nearest
    assert BTC.floor_price(price) == floor
    assert BTC.ceil_price(price) == ceil


@given(st.integers(1, 10**9), st.sampled_from(["0.1", "0.01", "0.00001", "1", "0.5"]))
def test_a_price_on_the_tick_stays(ticks: int, tick: str) -> None:
    filters = Filters("X", Decimal(tick), LOT, LOT, LOT, Decimal(1), Decimal(0))
    price = float(ticks * Decimal(tick))
    for rounded in (filters.nearest_price(price), filters.floor_price(price), filters.ceil_price(price)):
        assert Decimal(rounded) == ticks * Decimal(tick)
        assert "E" not in rounded


@given(st.integers(1, 10**9), st.sampled_from(["0.001", "0.1", "1", "10"]))
def test_quantities_are_floored_never_raised(lots: int, step: str) -> None:
    filters = Filters("X", Decimal("0.1"), Decimal(step), Decimal(step), Decimal(step), Decimal(1), Decimal(0))
    wanted = lots * LOT
    if wanted < Decimal(step):
        with pytest.raises(ValueError, match="less than one step"):
            filters.quantity(lots, LOT)
        return
    sent = Decimal(filters.quantity(lots, LOT))
    assert wanted - Decimal(step) < sent <= wanted
    assert sent % Decimal(step) == 0


def test_what_the_exchange_would_refuse_is_named() -> None:
    assert "below the minimum 50" in BTC.refusal(1, LOT, 100.0, reduces=False)
    assert "above the market maximum 120" in BTC.refusal(120_001, LOT, 60_000.0, reduces=False)
    assert "above the maximum 1000" in BTC.refusal(1_000_001, LOT, 60_000.0, reduces=False, at_market=False)
    assert BTC.refusal(120_001, LOT, 60_000.0, reduces=False, at_market=False) == ""
    assert BTC.refusal(1, LOT, 100.0, reduces=True) == ""
    assert BTC.refusal(10, LOT, 60_000.0, reduces=False) == ""
    settling = Filters("X", *(Decimal(1),) * 6, status="SETTLING")
    assert "SETTLING" in settling.refusal(1, Decimal(1), 100.0, reduces=False)
    assert settling.refusal(1, Decimal(1), 100.0, reduces=True) == ""


def test_filters_are_read_and_a_missing_one_is_named() -> None:
    entry = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "maxQty": "120"},
            {"filterType": "MIN_NOTIONAL", "notional": "50"},
        ],
    }
    assert filters_of(entry) == BTC
    del entry["filters"][1]
    with pytest.raises(DataError, match=r"BTCUSDT.*LOT_SIZE"):
        filters_of(entry)


@pytest.mark.parametrize(("text", "shown"), [("1E+1", "10"), ("0.10", "0.1"), ("0.000", "0"), ("120", "120")])
def test_plain_decimals(text: str, shown: str) -> None:
    assert plain(Decimal(text)) == shown
