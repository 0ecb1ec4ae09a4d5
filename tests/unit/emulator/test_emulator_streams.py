"""Stream connections, routes, subscriptions, klines and the listen key of the emulated exchange."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qtsim.emulator.streams import Connection
from tests.emulator_desk import Desk, points_at


def connected(desk: Desk, path: str, *streams: str) -> Connection:
    connection = desk.exchange.connect(path)
    assert connection is not None
    if streams:
        desk.exchange.receive(connection, json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
        assert heard(desk, connection) == [{"result": None, "id": 1}]
    return connection


def heard(desk: Desk, connection: Connection) -> list[Any]:
    found = desk.exchange.streams.take(connection, desk.now_ms)
    return [json.loads(message.text) if message.text else message.close_code for message in found]


# (path, stream) → does it deliver?
ROUTES = {
    "kline on market": ("/market/ws/0", "btcusdt@kline_1m", True),
    "kline on public": ("/public/ws/0", "btcusdt@kline_1m", False),
    "mark price on market": ("/market/ws", "btcusdt@markPrice@1s", True),
    "aggregate trades on market": ("/market/ws", "btcusdt@aggTrade", True),
    "trades on public": ("/public/ws", "btcusdt@trade", True),
    "quotes on public": ("/public/ws/7", "btcusdt@bookTicker", True),
    "quotes on market": ("/market/ws", "btcusdt@bookTicker", False),
    "all marks": ("/market/ws", "!markPrice@arr", True),
    "another symbol": ("/market/ws", "ethusdt@aggTrade", False),
    "without a route": ("/ws/0", "btcusdt@aggTrade", True),
}


@pytest.mark.parametrize("case", ROUTES.values(), ids=ROUTES)
def test_streams_live_on_their_route(case: tuple[str, str, bool]) -> None:
    path, stream, delivers = case
    desk = Desk()
    connection = connected(desk, path, stream)
    desk.move(50_010)
    assert bool(heard(desk, connection)) == delivers


def test_unrouted_paths_can_be_as_silent_as_on_the_exchange() -> None:
    desk = Desk(unrouted_streams=False)
    connection = connected(desk, "/ws/0", "btcusdt@aggTrade")
    desk.move(50_010)
    assert heard(desk, connection) == []


def test_streams_can_be_named_in_the_path_and_come_wrapped_when_combined() -> None:
    desk = Desk()
    plain = connected(desk, "/market/ws/btcusdt@markPrice")
    both = connected(desk, "/market/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade")
    desk.move(50_010, 50_020)
    assert [event["p"] for event in heard(desk, plain)] == ["50020.00000000"]
    (wrapped,) = heard(desk, both)
    assert (wrapped["stream"], wrapped["data"]["p"]) == ("btcusdt@aggTrade", "50010")


def test_marks_are_told_again_while_nothing_is_traded() -> None:
    desk = Desk()
    connection = connected(desk, "/market/ws", "btcusdt@markPrice@1s", "btcusdt@aggTrade")
    desk.move(50_010, 50_020)
    heard(desk, connection)
    later = desk.now_ms + 1_000
    desk.exchange.repeat_marks(later, later)
    (message,) = desk.exchange.streams.take(connection, later)
    event = json.loads(message.text)
    assert (event["e"], event["p"], event["E"]) == ("markPriceUpdate", "50020.00000000", later)


def test_there_is_nothing_at_other_paths() -> None:
    desk = Desk()
    assert desk.exchange.connect("/ws-fapi/v1") is None
    assert desk.exchange.connect("/market") is None


def test_unsubscribing_lists_and_malformed_frames() -> None:
    desk = Desk()
    connection = connected(desk, "/market/ws", "btcusdt@aggTrade", "ethusdt@aggTrade")
    for frame in (
        {"method": "UNSUBSCRIBE", "params": ["ethusdt@aggTrade"], "id": 2},
        {"method": "LIST_SUBSCRIPTIONS", "id": 3},
        {"method": "SHOUT", "id": 4},
    ):
        desk.exchange.receive(connection, json.dumps(frame))
    desk.exchange.receive(connection, "{")
    answers = heard(desk, connection)
    assert answers[:2] == [{"result": None, "id": 2}, {"result": ["btcusdt@aggTrade"], "id": 3}]
    assert [answer["error"]["code"] for answer in answers[2:]] == [2, 2]


def test_klines_of_the_base_and_of_longer_intervals_close_on_time() -> None:
    desk = Desk()
    connection = connected(desk, "/market/ws", "btcusdt@kline_1m", "btcusdt@kline_3m", "btcusdt@kline_1s")
    while desk.now_ms % 180_000 != 120_000:  # to the last minute of three
        desk.now_ms += 60_000
    desk.move(50_100)
    desk.move(49_900)
    heard(desk, connection)
    desk.move(50_050)
    (minute, three) = heard(desk, connection)
    assert (minute["k"]["i"], minute["k"]["x"], three["k"]["i"], three["k"]["x"]) == ("1m", False, "3m", False)
    desk.close_bar(50_000, 50_110, 49_890, 50_050, 7.5)
    (minute, three) = (event["k"] for event in heard(desk, connection))
    assert (minute["x"], minute["o"], minute["h"], minute["l"], minute["c"], minute["v"]) == (
        *(True, "50000.0", "50110.0"),
        *("49890.0", "50050.0", "7.5"),
    )
    assert (three["x"], three["h"], three["T"]) == (True, "50110.0", minute["T"])
    assert minute["T"] == desk.now_ms - 1


def test_klines_over_rest_are_those_of_the_stream_and_end_with_the_open_bar() -> None:
    desk = Desk()
    for _ in range(3):
        desk.move(50_100)
    desk.close_bar(50_000, 50_110, 49_890, 50_050, 7.5)
    desk.move(50_060)
    rows = desk.exchange.request("GET", "/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=2", {}).json()
    assert [row[1:6] for row in rows] == [
        ["50000.0", "50110.0", "49890.0", "50050.0", "7.5"],
        ["50060.0", "50060.0", "50060.0", "50060.0", "1"],
    ]
    marks = desk.exchange.request("GET", "/fapi/v1/markPriceKlines", "symbol=BTCUSDT&interval=1m", {}).json()
    assert [row[5] for row in marks] == ["0", "0"]


def test_a_listen_key_is_made_extended_and_expires() -> None:
    desk = Desk()
    headers = {"X-MBX-APIKEY": desk.key.key}
    path = "/fapi/v1/listenKey"
    made = desk.exchange.request("POST", path, "", headers, desk.now_ms).json()["listenKey"]
    assert desk.exchange.request("POST", path, "", headers, desk.now_ms).json()["listenKey"] == made
    desk.wait(59 * 60_000)
    assert desk.exchange.request("PUT", path, "", headers, desk.now_ms).json() == {"listenKey": made}
    desk.wait(59 * 60_000)
    assert desk.events() == []
    desk.wait(60_000)
    assert [(event["e"], event["listenKey"]) for event in desk.events()] == [("listenKeyExpired", made)]
    assert desk.exchange.request("PUT", path, "", headers, desk.now_ms).json()["code"] == -1125
    desk.order("BUY", "0.01")
    assert desk.events() == []  # deaf until there is a new key and connection
    fresh = desk.exchange.request("POST", path, "", headers, desk.now_ms).json()["listenKey"]
    assert fresh != made
    desk.stream = desk.exchange.connect(f"/private/ws/{fresh}")
    desk.order("BUY", "0.01")
    assert desk.told() == ["ORDER NEW", "ORDER TRADE FILLED", "ACCOUNT ORDER"]


def test_user_events_can_be_chosen() -> None:
    desk = Desk()
    key = desk.exchange.streams.listen_key
    connection = connected(desk, f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE/ALGO_UPDATE")
    desk.order("BUY", "0.01")
    assert [event["e"] for event in heard(desk, connection)] == ["ACCOUNT_UPDATE"]


def test_a_deleted_or_unknown_key_hears_nothing() -> None:
    desk = Desk()
    stranger = connected(desk, "/private/ws?listenKey=other")
    desk.exchange.request("DELETE", "/fapi/v1/listenKey", "", {"X-MBX-APIKEY": desk.key.key})
    desk.order("BUY", "0.01")
    assert desk.events() == []
    assert heard(desk, stranger) == []


def test_all_marks_come_in_one_message() -> None:
    desk = Desk()
    connection = connected(desk, "/market/ws", "!markPrice@arr")
    desk.exchange.advance(points_at(desk.now_ms + 1000, {"BTCUSDT": 50_001, "ETHUSDT": 2_501}))
    desk.now_ms += 1000
    (rows,) = heard(desk, connection)
    assert [row["s"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
