"""REST: pages, retries, what ccxt's exceptions become. The tests of ccxt need the extra `live`."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.data.download import fetch
from qtsim.data.download.fetch import OfflineError
from qtsim.data.download.rest import Rest, RestError, TryAgainError
from qtsim.data.download.rest_ccxt import ExtraMissingError, open_rest
from qtsim.data.frames import times_of
from qtsim.data.timeframes import HOUR, parse_time
from tests.unit.data.exchange_server import Exchange, hourly, payments, serving, with_rest

NOW = parse_time("2023-06-01 00:30")


@pytest.fixture
def exchange() -> Any:
    made = Exchange(now=NOW)
    made.bars["BTCUSDT", "1h"] = hourly("2023-01-01", "2023-07-01")
    made.mark["BTCUSDT", "1h"] = hourly("2023-01-01", "2023-07-01", seed=2, volume=False)
    made.funding["BTCUSDT"] = payments("2022-01-01", "2023-06-01", 1)
    with serving(made):
        yield made


@pytest.fixture(params=["plain", "ccxt"])
def opened(request: pytest.FixtureRequest, exchange: Exchange) -> Callable[[], Any]:
    """The same questions by the tests' own client and by ccxt."""
    if request.param == "plain":
        return with_rest(exchange)
    pytest.importorskip("ccxt", reason="needs the extra live")
    return lambda: open_rest(exchange.url, tries=3, timeout_s=5)


def test_full_pages_follow_one_another(exchange: Exchange, opened: Callable[[], Any]) -> None:
    start, end = parse_time("2023-01-01"), NOW
    with opened() as rest:
        assert rest.now() == NOW
        bars = rest.bars("bars", "BTCUSDT", "1h", start, end, NOW)
        mark = rest.bars("mark", "BTCUSDT", "1h", start, end, NOW)
    whole = exchange.bars["BTCUSDT", "1h"]
    closed = times_of(whole) + HOUR <= NOW
    pd.testing.assert_frame_equal(bars, whole[closed])
    pd.testing.assert_frame_equal(mark, exchange.mark["BTCUSDT", "1h"][closed])
    pages = [query for name, query in exchange.queries if name == "klines"]
    assert [query["limit"] for query in pages] == ["1500"] * 3
    assert len({query["startTime"] for query in pages}) == 3


def test_payments_are_paged_by_their_own_times(exchange: Exchange, opened: Callable[[], Any]) -> None:
    with opened() as rest:
        found = rest.funding("BTCUSDT", parse_time("2022-01-01"), parse_time("2022-06-01"))
    paid = exchange.funding["BTCUSDT"]
    wanted = paid[times_of(paid) < parse_time("2022-06-01")]
    assert len(wanted) > 3000
    pd.testing.assert_frame_equal(found, wanted)
    assert exchange.asked["fundingRate"] == 4


def test_an_unknown_symbol_is_a_refusal(exchange: Exchange, opened: Callable[[], Any]) -> None:
    with opened() as rest, pytest.raises(RestError, match="Invalid symbol"):
        rest.bars("bars", "XUSDT", "1h", parse_time("2023-01-01"), NOW, NOW)
    assert exchange.asked["klines"] == 1


def test_a_busy_exchange_is_asked_again(exchange: Exchange, opened: Callable[[], Any]) -> None:
    exchange.faults["time"] = ["429 0.05", "503 0.05"]
    with opened() as rest:
        assert rest.now() == NOW
    assert exchange.asked["time"] == 3


def test_disconnects_are_bounded(
    exchange: Exchange, opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PAUSE_S", 0.01)
    with opened() as rest:
        assert rest.now() == NOW
        exchange.faults["time"] = ["disconnect", "*"]
        with pytest.raises(RestError, match="in 3 tries"):
            rest.now()


# Without a server -----------------------------------------------------------------------------------------------------


def rest_of(answer: Callable[[str, Mapping[str, Any]], Any], slept: list[float]) -> Rest:
    return Rest(lambda endpoint, params: answer(endpoint, params), "host", tries=4, sleep=slept.append)


def test_pauses_grow_and_asked_ones_are_kept() -> None:
    slept: list[float] = []
    errors = [
        TryAgainError("a", is_refusal=True),
        TryAgainError("b", pause_s=7.0, is_refusal=True),
        TryAgainError("c", is_refusal=True),
    ]

    def answer(endpoint: str, params: Mapping[str, Any]) -> Any:
        if errors:
            raise errors.pop(0)
        return {"serverTime": 5}

    assert rest_of(answer, slept).now() == 5_000_000
    assert slept == [0.5, 7.0, 2.0]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(TryAgainError("down"), OfflineError), (TryAgainError("ban", pause_s=9000, is_refusal=True), RestError)],
)
def test_what_is_not_waited_for(error: Exception, kind: type[Exception]) -> None:
    slept: list[float] = []

    def answer(endpoint: str, params: Mapping[str, Any]) -> Any:
        raise error

    with pytest.raises(kind):
        rest_of(answer, slept).now()
    assert sum(slept) <= 0.5


def test_special_payments_are_no_rates() -> None:
    row = {"fundingTime": 1_700_002_800_000, "fundingRate": "0.0001", "markPrice": ""}
    rows = [row, {**row, "fundingRate": "0.5", "rateType": "Special"}, {**row, "fundingTime": row["fundingTime"] + 1}]
    rows[2] = {**rows[2], "fundingTime": 1_700_006_400_004, "rateType": "Regular"}
    found = rest_of(lambda endpoint, params: rows, []).funding("X", 0, parse_time("2030-01-01"))
    assert found["funding_rate"].tolist() == [0.0001, 0.0001]
    assert np.isnan(found["mark_price"]).all()
    assert (times_of(found) % HOUR == 0).all(), "rounded to the minute"


def test_without_ccxt_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ccxt":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with (
        pytest.raises(ExtraMissingError, match=r'pip install "qtsim\[live\]"'),
        open_rest("https://example.invalid", tries=1, timeout_s=1),
    ):
        pass


# ccxt -----------------------------------------------------------------------------------------------------------------


def test_a_ban_is_not_waited_for(exchange: Exchange) -> None:
    pytest.importorskip("ccxt", reason="needs the extra live")
    exchange.faults["time"] = ["418", "*"]
    with open_rest(exchange.url, tries=3, timeout_s=5) as rest, pytest.raises(RestError, match="banned"):
        rest.now()
    assert exchange.asked["time"] == 1


def test_a_place_that_is_not_served_is_said(exchange: Exchange) -> None:
    pytest.importorskip("ccxt", reason="needs the extra live")
    exchange.faults["time"] = ["451", "*"]
    with open_rest(exchange.url, tries=3, timeout_s=5) as rest, pytest.raises(RestError, match="may not serve"):
        rest.now()
    assert exchange.asked["time"] == 1


def test_a_host_that_is_not_there_is_offline() -> None:
    pytest.importorskip("ccxt", reason="needs the extra live")
    with open_rest("http://127.0.0.1:1", tries=3, timeout_s=5) as rest, pytest.raises(OfflineError, match="127"):
        rest.now()


def test_signed_requests_show_neither_key_nor_signature(exchange: Exchange) -> None:
    pytest.importorskip("ccxt", reason="needs the extra live")
    with open_rest(exchange.url, tries=2, timeout_s=5, key="the-key", secret="the-secret") as rest:
        assert rest.brackets()[0]["symbol"] == "BTCUSDT"
        (query,) = [query for name, query in exchange.queries if name == "leverageBracket"]
        assert "signature" in query
        exchange.faults["leverageBracket"] = ["504 0.01", "*"]
        with pytest.raises(RestError) as caught:
            rest.brackets()
    for hidden in ("the-key", "the-secret", "signature"):
        assert hidden not in str(caught.value)
