"""The exchange's rules of symbols, and the user's own instrument table."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from qtsim.data.download.rules import changes, instrument_of, perpetuals, with_brackets
from qtsim.data.download.run import Request, Sources, download
from qtsim.data.instruments import (
    CAUTIOUS_BRACKET,
    USER_TABLE,
    Bracket,
    load_instruments,
    read_user_instruments,
    write_user_instruments,
)
from qtsim.data.store import Store
from qtsim.data.timeframes import parse_time
from qtsim.errors import DataError
from tests.unit.data.exchange_server import BRACKETS, RULES, Exchange, hourly, serving, with_rest

DAY = "2023-04-10"
NEW = {**RULES, "symbol": "NEWUSDT"}


def test_rules_are_read_and_brackets_are_those_that_are_known() -> None:
    known = load_instruments()["BTCUSDT"]
    made = instrument_of(RULES, known, DAY)
    assert (made.tick, made.lot, made.min_qty) == (Decimal("0.1"), Decimal("0.001"), Decimal("0.001"))
    assert (made.max_qty, made.min_notional, made.liquidation_fee) == (120.0, 55.0, 0.0125)
    assert (made.brackets, made.bracket_date) == (known.brackets, "2024-10-24")
    assert made.source == "exchangeInfo of 2023-04-10, brackets of 2024-10-24"
    assert made.assumed == ()
    assert changes(known, made) == "min_notional 50 → 55"
    assert changes(made, made) == ""


def test_brackets_that_nobody_knows_are_assumed_and_named() -> None:
    made = instrument_of(NEW, None, DAY)
    assert (made.brackets, made.bracket_date, made.assumed) == ((CAUTIOUS_BRACKET,), "", ("brackets",))
    assert changes(None, made) == "new"
    again = instrument_of(NEW, made, "2023-05-01")
    assert again.assumed == ("brackets",)


def test_brackets_of_the_exchange() -> None:
    made = with_brackets(instrument_of(NEW, None, DAY), BRACKETS, DAY)
    assert made.brackets == (Bracket(300_000, 0.004, 0, 125), Bracket(800_000, 0.005, 300, 100))
    assert (made.bracket_date, made.assumed) == (DAY, ())
    assert changes(load_instruments()["BTCUSDT"], made).endswith(f"brackets of 2024-10-24 → {DAY}")


@pytest.mark.parametrize(
    "rows", [[], [{"notionalCap": 1}], [{**BRACKETS[1]}, {**BRACKETS[0], "cum": 5000.0}], [{**BRACKETS[0], "cum": "x"}]]
)
def test_brackets_that_contradict_each_other_are_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="NEWUSDT"):
        with_brackets(instrument_of(NEW, None, DAY), rows, DAY)


@pytest.mark.parametrize("lacking", ["filters", "liquidationFee"])
def test_an_entry_without_a_rule_is_refused(lacking: str) -> None:
    with pytest.raises(DataError, match="BTCUSDT"):
        instrument_of({name: value for name, value in RULES.items() if name != lacking}, None, DAY)


def test_only_perpetuals_count() -> None:
    quarter = {**RULES, "symbol": "BTCUSDT_240628", "contractType": "CURRENT_QUARTER"}
    assert list(perpetuals([RULES, quarter])) == ["BTCUSDT"]


# The table ------------------------------------------------------------------------------------------------------------


def test_the_users_table_counts_before_the_shipped_one(tmp_path: Path) -> None:
    shipped = load_instruments()
    assert load_instruments(folder=tmp_path) is shipped
    btc, new = instrument_of(RULES, shipped["BTCUSDT"], DAY), instrument_of(NEW, None, DAY)
    write_user_instruments(tmp_path, "binance-usdm", {"BTCUSDT": btc})
    write_user_instruments(tmp_path, "binance-usdm", {"NEWUSDT": new})
    table = load_instruments(folder=tmp_path)
    assert (table["BTCUSDT"], table["NEWUSDT"], table["ETHUSDT"]) == (btc, new, shipped["ETHUSDT"])
    assert list(table) == sorted(table)
    assert read_user_instruments(tmp_path) == {"BTCUSDT": btc, "NEWUSDT": new}


def test_a_table_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"format": 2}', '{"format": 1, "instruments": {"BTCUSDT": {"tick": "0.1"}}}'):
        (tmp_path / USER_TABLE).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"instruments\.json cannot be used .*delete it"):
            load_instruments(folder=tmp_path)


# In a download --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_key", [False, True])
def test_a_download_refreshes_the_rules_of_its_symbols(tmp_path: Path, has_key: bool) -> None:
    exchange = Exchange(now=parse_time("2023-03-01"))
    exchange.bars["BTCUSDT", "1h"] = exchange.bars["NEWUSDT", "1h"] = hourly("2023-02-01", "2023-03-01")
    exchange.rules = [RULES, NEW, {**RULES, "symbol": "OTHERUSDT"}]
    store = Store(tmp_path)
    wanted = Request(("BTCUSDT", "NEWUSDT"), ("1h",), ("bars",), start=parse_time("2023-02-01"))
    with serving(exchange):
        report = download(store, wanted, Sources(exchange.url, with_rest(exchange), has_key=has_key), now=exchange.now)
    own = read_user_instruments(store.folder)
    assert list(own) == ["BTCUSDT", "NEWUSDT"]
    assert own["BTCUSDT"].source.startswith("exchangeInfo of 2023-03-01")
    assert own["BTCUSDT"].bracket_date == ("2023-03-01" if has_key else "2024-10-24")
    assert report.instruments[1] == "NEWUSDT: new"
    if has_key:
        assert report.notes == []
        assert own["BTCUSDT"].brackets[0].cap == 300_000
    else:
        (note,) = report.notes
        assert "leverage brackets of BTCUSDT stay those of 2024-10-24" in note
        assert "those of NEWUSDT are not known" in note
        assert "BINANCE_API_KEY" in note
    assert exchange.asked["leverageBracket"] == has_key
