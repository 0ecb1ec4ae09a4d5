from __future__ import annotations

import csv
import json
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.core.records import BRACKETS_MAX, instrument_dt
from qtsim.data.instruments import (
    Bracket,
    instrument_for,
    instrument_sources,
    load_instruments,
    override_instrument,
    parse_instrument,
    to_record,
)
from qtsim.errors import UsageError

INF = float("inf")


def test_the_table_has_the_major_symbols_with_date_and_source() -> None:
    table = load_instruments()
    assert len(table) == 26
    assert list(table) == sorted(table)
    btc = table["BTCUSDT"]
    assert (btc.tick, btc.lot, btc.min_qty, btc.max_qty) == (Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), 120.0)
    assert (btc.min_notional, btc.liquidation_fee, btc.max_leverage) == (50.0, 0.0125, 125.0)
    assert btc.brackets[0] == Bracket(50_000.0, 0.004, 0.0, 125.0)
    assert btc.brackets[-1] == Bracket(1_800_000_000.0, 0.5, 421_481_450.0, 1.0)
    assert btc.bracket_date == "2024-10-24"
    assert btc.assumed == ()
    assert "liquidation_fee" in table["SOLUSDT"].assumed
    assert table["ETHUSDT"].min_notional == 20.0
    assert load_instruments("synthetic") == table
    assert set(instrument_sources()) >= {"brackets", "min_notional", "liquidation_fee"}
    with pytest.raises(UsageError, match="there are binance-usdm"):
        load_instruments("nasdaq")


@pytest.mark.parametrize("symbol", load_instruments())
def test_brackets_are_continuous(symbol: str) -> None:
    """cum_n = cum_(n-1) + floor_n × (rate_n − rate_(n-1)): maintenance margin has no jumps."""
    brackets = load_instruments()[symbol].brackets
    assert brackets[0].amount == 0.0
    assert len(brackets) <= BRACKETS_MAX
    for lower, upper in pairwise(brackets):
        assert lower.cap < upper.cap
        assert lower.rate < upper.rate
        assert lower.leverage > upper.leverage
        assert upper.amount == pytest.approx(lower.amount + lower.cap * (upper.rate - lower.rate), rel=1e-12)


def test_the_table_says_what_the_recorded_facts_say(shared_data: Path) -> None:
    facts = shared_data / "exchange_facts"
    tiers = json.loads((facts / "binance_usdm_leverage_tiers_2024.json").read_text())
    with (facts / "binance_usdm_symbol_filters_lean.csv").open() as handle:
        steps = {row["symbol"]: row for row in csv.DictReader(handle)}
    table = load_instruments()
    assert table.keys() == tiers.keys()
    for symbol, instrument in table.items():
        assert instrument.tick == Decimal(steps[symbol]["minimum_price_variation"])
        assert instrument.lot == Decimal(steps[symbol]["lot_size"])
        assert list(instrument.brackets) == [
            (tier["maxNotional"], tier["maintenanceMarginRate"], tier["cum"], tier["maxLeverage"])
            for tier in tiers[symbol]
        ]


def test_overrides_change_what_they_name() -> None:
    btc = parse_instrument("BTC/USDT:USDT:tick=0.5,min_notional=100")
    assert (btc.symbol, btc.tick, btc.min_notional) == ("BTCUSDT", Decimal("0.5"), 100.0)
    assert (btc.lot, btc.brackets) == (Decimal("0.001"), load_instruments()["BTCUSDT"].brackets)
    assert btc.source == "shipped table, brackets of 2024-10-24; given: tick 0.5, min_notional 100"
    lots = parse_instrument("BTCUSDT:lot=0.01")
    assert (lots.lot, lots.min_qty) == (Decimal("0.01"), Decimal("0.01"))
    flat = override_instrument("BTCUSDT", {"maintenance_rate": 0.01, "max_leverage": 20, "max_qty": INF})
    assert flat.brackets == (Bracket(INF, 0.01, 0.0, 20.0),)
    assert (flat.bracket_date, flat.max_qty) == ("", INF)


def test_an_unknown_symbol_needs_its_steps() -> None:
    goog = parse_instrument("GOOG:tick=0,lot=1")
    assert goog.continuous
    assert (goog.lot, goog.min_qty, goog.min_notional, goog.liquidation_fee) == (Decimal(1), Decimal(1), 0.0, 0.015)
    assert goog.brackets == (Bracket(INF, 0.015, 0.0, 50.0),)
    with pytest.raises(UsageError, match="not in the table, so its lot is needed"):
        parse_instrument("GOOG:tick=0.01")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("BTCUSDT", "write it as BTCUSDT:tick=0.1"),
        ("BTCUSDT:", "write it as BTCUSDT:tick=0.1"),
        ("BTCUSDT:tick", "write it as BTCUSDT:tick=0.1"),
        ("BTCUSDT:tick=", "write NAME=VALUE"),
        ("BTCUSDT:tick=1,", "write NAME=VALUE"),
        ("BTCUSDT:tick=1,tick=2", "tick is given twice"),
        ("BTCUSDT:tik=1", "did you mean tick"),
        ("BTCUSDT:tick=x", "tick = 'x' is not a number"),
        ("BTCUSDT:tick=nan", "out of range"),
        ("BTCUSDT:tick=inf", "out of range"),
        ("BTCUSDT:lot=0", "above 0"),
        ("BTCUSDT:min_notional=-5", "0 or more"),
        ("BTCUSDT:maintenance_rate=2", "at most 0.5"),
        ("BTCUSDT:lot=0.00000000000000000001", "too many digits"),
    ],
)
def test_wrong_instruments_say_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_instrument(text)


def test_who_gives_the_rules() -> None:
    table = load_instruments()
    override = {"BTCUSDT": parse_instrument("BTCUSDT:tick=5")}
    assert instrument_for("BTC-USDT", table, override).tick == Decimal(5)
    assert instrument_for("ETHUSDT", table, override) is table["ETHUSDT"]
    assert instrument_for("BTCUSDT", table, override, plain=True).tick == Decimal(5)
    plain = instrument_for("ETHUSDT", table, override, plain=True)
    assert (plain.continuous, plain.lot, plain.min_qty, plain.min_notional) == (True, Decimal("1e-8"), Decimal(0), 0.0)
    assert plain.brackets == (Bracket(INF, 0.004, 0.0, 125.0),)
    with pytest.raises(
        UsageError, match=r"BTCUSD is not in the .* \(26 symbols\); did you mean BTCUSDT\? .*--instrument"
    ):
        instrument_for("BTCUSD", table, {})


def test_records_hold_steps_as_exact_ratios() -> None:
    for instrument in load_instruments().values():
        record = to_record(instrument)
        assert record.dtype is instrument_dt
        assert record.shape == (1,)
        row = record[0]
        assert Decimal(int(row["tick_num"])) / Decimal(int(row["tick_den"])) == instrument.tick
        assert Decimal(int(row["lot_num"])) / Decimal(int(row["lot_den"])) == instrument.lot
        n = int(row["n_brackets"])
        assert n == len(instrument.brackets)
        assert row["bracket_cap"][:n].tolist() == [bracket.cap for bracket in instrument.brackets]
        assert (row["bracket_cap"][n:] == instrument.brackets[-1].cap).all()
    plain = to_record(instrument_for("X", {}, {}, plain=True))[0]
    assert (plain["tick_num"], plain["tick_den"], plain["lot_num"], plain["lot_den"]) == (0.0, 0.0, 1.0, 1e8)


def test_more_brackets_than_a_record_holds_are_refused() -> None:
    btc = load_instruments()["BTCUSDT"]
    many = tuple(Bracket(float(i + 1), 0.01, 0.0, 10.0) for i in range(BRACKETS_MAX + 1))
    with pytest.raises(UsageError, match="17 brackets"):
        to_record(type(btc)(**{**btc.__dict__, "brackets": many}))


@given(st.integers(0, 12), st.integers(1, 10**6))
def test_any_step_survives_parsing_and_the_record(decimals: int, digits: int) -> None:
    step = Decimal(digits).scaleb(-decimals)
    instrument = parse_instrument(f"NEWUSDT:tick={step:f},lot={step:f}")
    assert instrument.tick == instrument.lot == step
    row = to_record(instrument)[0]
    assert row["tick_num"] / row["tick_den"] == float(step)
    assert (int(row["tick_num"]), int(row["tick_den"])) == step.as_integer_ratio()


@pytest.mark.parametrize(
    ("brackets", "text"),
    [
        ((), "has no brackets"),
        (((50_000, 0.004, 0, 125), (50_000, 0.005, 50, 100)), "bracket 2 has the cap 50,000, not above 50,000"),
        (((50_000, 0.005, 0, 125), (60_000, 0.004, -50, 100)), "rates must not fall"),
        (((50_000, 0.004, 0, 100), (60_000, 0.005, 50, 125)), "leverage must not rise"),
        (((50_000, 0.004, 0, 125), (60_000, 0.005, 70, 100)), "amount 70.00; 50.00 would continue"),
    ],
)
def test_brackets_out_of_order_or_with_a_hole_are_refused(brackets: tuple[tuple[float, ...], ...], text: str) -> None:
    known = load_instruments()["BTCUSDT"]
    with pytest.raises(UsageError, match=text):
        replace(known, brackets=tuple(Bracket(*row) for row in brackets))
