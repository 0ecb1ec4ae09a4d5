"""Who may ask what: keys, signatures, time windows, weights, bans, unknown paths."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from qtsim.emulator import ApiKey, Response
from qtsim.emulator.auth import sign
from tests.emulator_desk import START_MS, Desk

KEY = "emulator-key"
SECRET = "emulator-secret"


def ask(desk: Desk, text: str, *, key: str | None = KEY, wall_ms: int = START_MS) -> Response:
    headers = {} if key is None else {"x-mbx-apikey": key}
    return desk.exchange.request("GET", "/fapi/v3/balance", text, headers, START_MS, wall_ms=wall_ms)


def signed(**params: object) -> str:
    text = urlencode(params)
    return f"{text}&signature={sign(SECRET, text)}"


CASES = {
    "no key": (signed(timestamp=START_MS), None, 401, -2014),
    "an unknown key": (signed(timestamp=START_MS), "other", 401, -2015),
    "no timestamp": (signed(symbol="BTCUSDT"), KEY, 400, -1102),
    "no signature": (urlencode({"timestamp": START_MS}), KEY, 400, -1102),
    "a wrong signature": (f"timestamp={START_MS}&signature={'0' * 64}", KEY, 400, -1022),
    "a second ahead": (signed(timestamp=START_MS + 1000), KEY, 400, -1021),
    "older than the window": (signed(timestamp=START_MS - 5001), KEY, 400, -1021),
    "older than its own window": (signed(timestamp=START_MS - 1001, recvWindow=1000), KEY, 400, -1021),
    "a window too wide": (signed(timestamp=START_MS, recvWindow=60001), KEY, 400, -1130),
    "just young enough": (signed(timestamp=START_MS - 5000), KEY, 200, 0),
    "just not ahead": (signed(timestamp=START_MS + 999), KEY, 200, 0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_signed_requests(case: tuple[str, str | None, int, int]) -> None:
    text, key, status, code = case
    answer = ask(Desk(), text, key=key)
    body = answer.json()
    assert (answer.status, body["code"] if isinstance(body, dict) else 0) == (status, code)


def test_a_signature_covers_the_parameters_in_the_order_sent() -> None:
    desk = Desk()
    text = signed(timestamp=START_MS, recvWindow=10_000)
    assert ask(desk, text).status == 200
    swapped = "&".join([*text.split("&")[1::-1], text.split("&")[2]])
    assert ask(desk, swapped).json()["code"] == -1022


def test_signatures_go_by_the_wall_and_events_by_the_market() -> None:
    desk = Desk()
    wall = START_MS + 10**10
    assert ask(desk, signed(timestamp=START_MS), wall_ms=wall).json()["code"] == -1021
    assert ask(desk, signed(timestamp=wall), wall_ms=wall).status == 200
    assert desk.exchange.request("GET", "/fapi/v1/time", "", {}).json() == {"serverTime": wall}
    assert desk.exchange.now_ms == START_MS


def test_a_key_that_may_only_read_cannot_trade_and_its_secret_is_not_in_its_text() -> None:
    key = ApiKey(KEY, SECRET, can_trade=False)
    desk = Desk(keys=(key,))
    assert SECRET not in repr(key)
    assert desk.send("GET", "openOrders").body == []
    assert desk.order("BUY", "0.01").code == -2015
    desk.control.set_key(revoked=True)
    assert desk.send("GET", "openOrders").code == -2015


def test_permissions_are_told() -> None:
    desk = Desk(keys=(ApiKey(KEY, SECRET, can_withdraw=True, restricts_ip=False),))
    found = desk.send("GET", "/sapi/v1/account/apiRestrictions").body  # of the key that asks
    assert (found["enableWithdrawals"], found["enableFutures"], found["ipRestrict"]) == (True, True, False)


def test_unknown_paths_and_methods() -> None:
    desk = Desk()
    for method, path in (("GET", "/fapi/v1/nothing"), ("POST", "/fapi/v1/klines"), ("GET", "/")):
        answer = desk.exchange.request(method, path, "", {})
        assert (answer.status, answer.json()["code"]) == (404, -5000)


def test_weights_add_up_and_end_in_429_then_a_ban_that_grows() -> None:
    desk = Desk(weight_limit=100)
    for used in (40, 80):
        answer = desk.exchange.request("GET", "/fapi/v1/ticker/24hr", "", {})
        assert (answer.status, answer.headers["x-mbx-used-weight-1m"]) == (200, str(used))
    for _ in range(5):
        answer = desk.exchange.request("GET", "/fapi/v1/ticker/24hr", "", {})
        assert (answer.status, answer.json()["code"]) == (429, -1003)
        assert int(answer.headers["retry-after"]) <= 60
    banned = desk.exchange.request("GET", "/fapi/v1/ticker/24hr", "", {})
    assert banned.status == 418
    until = START_MS + 120_000
    assert f"banned until {until}" in banned.json()["msg"]
    assert banned.headers["retry-after"] == "120"
    desk.wait(119_999)
    assert desk.exchange.request("GET", "/fapi/v1/ping", "", {}, desk.now_ms).status == 418
    desk.wait(1)
    assert desk.exchange.request("GET", "/fapi/v1/ping", "", {}, desk.now_ms).status == 200
    for _ in range(9):
        answer = desk.exchange.request("GET", "/fapi/v1/ticker/24hr", "", {}, desk.now_ms)
    assert f"banned until {desk.now_ms + 240_000}" in answer.json()["msg"]


def test_orders_have_counters_of_their_own() -> None:
    desk = Desk(orders_10s=3, orders_1m=5)
    assert [desk.order("BUY", "0.002").status for _ in range(3)] == [200, 200, 200]
    refused = desk.order("BUY", "0.002")
    assert (refused.status, refused.code) == (400, -1015)
    desk.wait(10_000)
    assert [desk.order("BUY", "0.002").code for _ in range(3)] == [0, 0, -1015]
    desk.wait(50_000)
    assert desk.order("BUY", "0.002").status == 200


@pytest.mark.parametrize(("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1500, 10)])
def test_klines_weigh_by_their_limit(limit: int, weight: int) -> None:
    desk = Desk(weight_limit=2400)
    text = f"symbol=BTCUSDT&interval=1m&limit={limit}"
    answer = desk.exchange.request("GET", "/fapi/v1/klines", text, {})
    assert answer.headers["x-mbx-used-weight-1m"] == str(weight)


PUBLIC_ERRORS = {
    "an interval that there is not": ("klines", "symbol=BTCUSDT&interval=1s", -1120),
    "an interval that the bars do not make": ("klines", "symbol=BTCUSDT&interval=7m", -1120),
    "too many bars": ("klines", "symbol=BTCUSDT&interval=1m&limit=1501", -1130),
    "an unknown symbol": ("klines", "symbol=XYZUSDT&interval=1m", -1121),
    "no symbol": ("klines", "interval=1m", -1102),
    "a depth that there is not": ("depth", "symbol=BTCUSDT&limit=3", -4021),
}


@pytest.mark.parametrize("case", PUBLIC_ERRORS.values(), ids=PUBLIC_ERRORS)
def test_public_errors(case: tuple[str, str, int]) -> None:
    path, text, code = case
    answer = Desk().exchange.request("GET", f"/fapi/v1/{path}", text, {})
    assert (answer.status, answer.json()["code"]) == (400, code)


def test_exchange_info_has_the_filters_of_the_table() -> None:
    symbols = Desk().exchange.request("GET", "/fapi/v1/exchangeInfo", "", {}).json()["symbols"]
    filters = {row["filterType"]: row for row in symbols[0]["filters"]}
    assert [row["symbol"] for row in symbols] == ["BTCUSDT", "ETHUSDT"]
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert filters["MARKET_LOT_SIZE"]["maxQty"] == "120"
    assert filters["MIN_NOTIONAL"]["notional"] == "50"


def test_leverage_brackets_are_those_of_the_table() -> None:
    rows = Desk().send("GET", "leverageBracket", symbol="BTCUSDT").body[0]["brackets"]
    assert rows[0] == {
        "bracket": 1,
        "initialLeverage": 125,
        "notionalCap": 50_000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.004,
        "cum": 0.0,
    }
    assert [row["notionalFloor"] for row in rows[1:]] == [row["notionalCap"] for row in rows[:-1]]


def test_weights_are_those_of_the_endpoint_in_every_version() -> None:
    desk = Desk(weight_limit=2400)
    desk.send("GET", "/fapi/v3/positionRisk")
    used = desk.exchange.limiter.headers(START_MS, orders=False)["x-mbx-used-weight-1m"]
    assert used == "5"
