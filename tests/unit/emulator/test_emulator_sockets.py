"""The emulator on a loopback address: the unmodified ccxt, lockstep, the control path, what a user can get wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from qtsim.emulator import BarsClosed, Exchange, FaultPlan, MarketEvent, Scripted, sockets
from qtsim.emulator.clocks import RunningClock, StepClock
from qtsim.emulator.lockstep import Lockstep
from qtsim.emulator.market import MS, Bar
from qtsim.emulator.serving import Server
from qtsim.emulator.sockets import SocketSkin, run_market
from qtsim.errors import QtsimError, UsageError
from tests.emulator_ccxt import BTC, Watching, opened_exchange, pointed
from tests.emulator_desk import START_MS, points_at

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra live")
ccxt = pytest.importorskip("ccxt", reason="needs the extra live")

KEYS = {"apiKey": "emulator-key", "secret": "emulator-secret", "enableRateLimit": False}
MARKET_SPEED = 400.0


@contextlib.asynccontextmanager
async def serving(plan: FaultPlan | None = None, **changes: Any) -> AsyncIterator[tuple[SocketSkin, str]]:
    """A skin in real time, and its address."""
    exchange = opened_exchange(plan, **changes)
    skin = SocketSkin(exchange, Server(exchange, RunningClock(START_MS, MARKET_SPEED)))
    port = await skin.start()
    try:
        yield skin, f"127.0.0.1:{port}"
    finally:
        await skin.stop()


@contextlib.asynccontextmanager
async def client_of(address: str, *, pro: bool = False) -> AsyncIterator[Any]:
    """An async or pro client."""
    module = __import__("ccxt.pro" if pro else "ccxt.async_support", fromlist=["binanceusdm"])
    client = pointed(module.binanceusdm(dict(KEYS)), address)
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run in a fresh loop, with a limit in case something waits for ever."""

    async def limited() -> Any:
        return await asyncio.wait_for(main(), 30)

    return asyncio.run(limited())


async def until(holds: Callable[[], Any]) -> None:
    """Wait for something that is under way."""
    while not holds():
        await asyncio.sleep(0.005)


def test_the_sync_client_trades_over_http() -> None:
    def trade(address: str) -> dict[str, Any]:
        client = pointed(ccxt.binanceusdm(dict(KEYS)), address)
        client.load_markets()  # with keys it asks for the spot wallet too
        return {
            "balance": client.fetch_balance()["USDT"]["total"],
            "order": client.create_order(BTC, "market", "buy", 0.01)["status"],
            "stop": client.create_order(
                *(BTC, "market", "sell", None, None), {"stopLossPrice": 49_000, "closePosition": True}
            )["status"],
            "limit": client.create_order(BTC, "limit", "sell", 0.01, 51_000, {"reduceOnly": True})["status"],
            "open": [
                len(client.fetch_open_orders(BTC)),
                len(client.fetch_open_orders(BTC, None, None, {"stop": True})),
            ],
            "positions": [position["contracts"] for position in client.fetch_positions([BTC])],
            "bars": client.fetch_ohlcv(BTC, "1m")[-1][4],
            "used": {name.lower(): value for name, value in client.last_response_headers.items()},
        }

    async def main() -> dict[str, Any]:
        async with serving() as (_, address):
            return await asyncio.get_running_loop().run_in_executor(None, trade, address)

    found = run(main)
    assert int(found.pop("used")["x-mbx-used-weight-1m"]) > 0
    assert found == {
        "balance": 10_000,
        "order": "closed",
        "stop": "open",
        "limit": "open",
        "open": [1, 1],
        "positions": [0.01],
        "bars": 50_000,
    }


def test_the_pro_client_hears_fills_and_prices_over_web_sockets() -> None:
    bar = Bar(START_MS, 50_000.0, 50_100.0, 48_900.0, 48_900.0, 3.0)
    events: list[MarketEvent] = [
        points_at(START_MS + 20_000, {"BTCUSDT": 50_100}),
        points_at(START_MS + 40_000, {"BTCUSDT": 48_900}),
        BarsClosed((START_MS + 60_000) * MS, (("BTCUSDT", bar),)),
    ]

    async def main() -> dict[str, list[Any]]:
        async with serving() as (skin, address), client_of(address, pro=True) as client:
            seen = {
                name: Watching(client, name, *params)
                for name, params in {
                    "watch_orders": (),
                    "watch_my_trades": (),
                    "watch_mark_price": (BTC,),
                    "watch_ohlcv": (BTC, "1m"),
                    "watch_trades": (BTC,),
                }.items()
            }
            connections = skin.exchange.streams.connections
            await until(lambda: sum(bool(c.streams) for c in connections.values()) == 3 and len(connections) == 4)
            await client.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "entry"})
            stop = {"stopLossPrice": 49_000, "closePosition": True, "clientOrderId": "sl"}
            await client.create_order(BTC, "market", "sell", None, None, stop)
            await run_market(skin.exchange, events, skin.server.clock)  # type: ignore[arg-type]
            await until(lambda: len(seen["watch_my_trades"].found) == 2)
            await until(lambda: seen["watch_ohlcv"].found)
            for watching in seen.values():
                await watching.end()
            return {name: watching.found for name, watching in seen.items()}

    found = run(main)
    assert [trade["price"] for trade in found["watch_my_trades"]] == [50_000, 48_900]
    assert {order["clientOrderId"] for order in found["watch_orders"]} == {"entry", "sl"}
    assert found["watch_mark_price"][0]["markPrice"] == 50_100
    assert found["watch_trades"][0]["price"] == 50_100
    assert found["watch_ohlcv"][-1][:2] == [START_MS, 50_000.0]


def test_a_market_in_real_time_tells_its_marks_between_two_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MARKS_S", 0.01)
    told: list[int] = []

    async def main() -> None:
        exchange = opened_exchange()
        exchange.repeat_marks = lambda wall_ms, now_ms: told.append(now_ms)  # type: ignore[method-assign]
        later = points_at(START_MS + 40_000, {"BTCUSDT": 50_100})
        await run_market(exchange, [later], RunningClock(START_MS, MARKET_SPEED))

    run(main)
    assert told
    assert told == sorted(told)
    assert all(START_MS < now < START_MS + 40_000 for now in told)


def test_lost_answers_and_outages_are_network_errors() -> None:
    async def main() -> tuple[list[str], int]:
        plan = FaultPlan(script=(Scripted("POST order", 1, "drop_after"), Scripted("POST order", 2, "drop_before")))
        async with serving(plan) as (skin, address), client_of(address) as client:
            errors = []
            for _ in range(2):
                with pytest.raises(ccxt.NetworkError) as caught:
                    await client.create_order(BTC, "market", "buy", 0.01)
                errors.append(caught.type.__name__)
            skin.control.set_down()
            with pytest.raises(ccxt.NetworkError):
                await client.fetch_positions()
            skin.control.set_down(False)
            (position,) = await client.fetch_positions()
            assert position["contracts"] == 0.01
            return errors, len(skin.exchange.state.trades)

    errors, fills = run(main)
    assert errors == ["ExchangeNotAvailable", "ExchangeNotAvailable"]
    assert fills == 1


@pytest.mark.parametrize("how", ["cut", "restart"])
def test_a_cut_stream_is_a_network_error(how: str) -> None:
    async def main() -> BaseException | None:
        async with serving() as (skin, address), client_of(address, pro=True) as client:
            connections = skin.exchange.streams.connections
            watching = Watching(client, "watch_orders")
            await until(lambda: any(connection.base == "private" for connection in connections.values()))
            if how == "cut":
                skin.control.disconnect("/private")
            else:
                skin.control.restart()
            await until(lambda: watching.error)
            await until(lambda: not connections)
            return watching.error

    assert isinstance(run(main), ccxt.NetworkError)


def test_a_silent_connection_answers_no_ping() -> None:
    async def main() -> list[str]:
        async with serving() as (skin, address), aiohttp.ClientSession() as session:
            found = []
            url = f"ws://{address}/market/ws/btcusdt@markPrice"
            async with session.ws_connect(url, autoping=False) as socket:
                for silent in (False, True):
                    skin.control.silence(silent)
                    await socket.ping(b"x")
                    try:
                        found.append((await socket.receive(timeout=0.2)).type.name)
                    except TimeoutError:
                        found.append("nothing")
            return found

    assert run(main) == ["PONG", "nothing"]


# the control path -----------------------------------------------------------------------------------------------------


async def ask(address: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{address}{path}", **more) as answer,
    ):
        return answer.status, await answer.json()


def test_the_control_path_obeys_programs_on_this_machine_only() -> None:
    async def main() -> list[tuple[int, Any]]:
        async with serving() as (skin, address):
            path = "/emulator/control"
            trade = {"do": "trade", "symbol": "BTCUSDT", "qty": "0.01"}
            found = [
                await ask(address, "POST", path, json=trade),
                await ask(address, "POST", path, json=trade, headers={"Host": "example.com"}),
                await ask(address, "POST", path, json=trade, headers={"Origin": "http://127.0.0.1"}),
                await ask(address, "POST", path, json={"do": "shout"}),
                await ask(address, "POST", path, json={"do": "ban"}),
                await ask(address, "POST", path, json=[1]),
                await ask(address, "POST", path, data="{"),
                await ask(address, "POST", path, json={**trade, "qty": "1e9"}),
                await ask(
                    address, "POST", path, json={"do": "add_fault", "endpoint": "*", "nth": 1, "kind": "http_429"}
                ),
                await ask(address, "GET", "/fapi/v1/ping"),
                await ask(address, "GET", "/emulator/summary"),
                await ask(address, "GET", "/emulator/nothing"),
            ]
            assert len(skin.exchange.state.trades) == 1
            return found

    found = run(main)
    assert [status for status, _ in found] == [200, 403, 403, 400, 400, 400, 400, 400, 200, 429, 200, 404]
    assert "there are trade, cancel_orders" in found[3][1]["error"]
    assert "Quantity greater than max" in found[7][1]["error"]
    assert found[10][1]["positions"] == [{"symbol": "BTCUSDT", "side": "BOTH", "qty": "0.01", "entry": "50000"}]


def test_it_listens_on_the_loopback_only_and_names_a_taken_port() -> None:
    async def main() -> None:
        async with serving() as (skin, address):
            other = SocketSkin(opened_exchange(), skin.server)
            with pytest.raises(UsageError, match="the loopback only"):
                await other.start("0.0.0.0")
            with pytest.raises(QtsimError, match="choose another with --port"):
                await other.start("127.0.0.1", int(address.split(":")[1]))

    run(main)


def test_without_aiohttp_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from qtsim.emulator.sockets import require_aiohttp

    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UsageError, match=r"pip install 'qtsim\[live\]'"):
        require_aiohttp()


# lockstep -------------------------------------------------------------------------------------------------------------


class LockstepClient:
    """Follows the handshake as documented: counts what each stream has brought, acts, and acknowledges."""

    def __init__(self, address: str, act: Callable[[int], Awaitable[None]], unanswered: Callable[[], int]) -> None:
        self.address, self.act, self.unanswered = address, act, unanswered
        self.counts: dict[str, int] = {}
        self.heard: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.acted: set[int] = set()

    async def follow(self, paths: Sequence[str]) -> None:
        async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(session.ws_connect(self.url(path))) for path in paths]
            readers = [
                asyncio.ensure_future(self.read(path.split("?")[0], socket))
                for path, socket in zip(paths, sockets, strict=True)
            ]
            steps = await stack.enter_async_context(session.ws_connect(self.url("/lockstep")))
            async for message in steps:
                step = json.loads(message.data)
                self.steps.append(step)
                if step["kind"] == "end":
                    break
                await until(lambda sent=step["sent"]: all(self.counts.get(path, 0) >= n for path, n in sent))
                if step["n"] not in self.acted:
                    self.acted.add(step["n"])
                    await self.act(step["n"])
                await steps.send_str(json.dumps({"ack": step["n"], "unanswered": self.unanswered()}))
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    def url(self, path: str) -> str:
        return f"ws://{self.address}{path}"

    async def read(self, path: str, socket: Any) -> None:
        async for message in socket:
            self.heard.append(json.loads(message.data))
            self.counts[path] = self.counts.get(path, 0) + 1


EVENTS = [points_at(START_MS + 20_000 * k, {"BTCUSDT": 50_000 + 10 * k}) for k in range(1, 13)]


def in_lockstep(
    act: Callable[[Any, int, list[asyncio.Task[Any]]], Awaitable[None]],
    *,
    latency_ms: int = 0,
    plan: FaultPlan | None = None,
) -> tuple[LockstepClient, Exchange]:
    """Play EVENTS in lockstep; `act(client, step, tasks)` may trade, or leave a trade under way in `tasks`."""

    async def main() -> tuple[LockstepClient, Exchange]:
        exchange = opened_exchange(plan)
        clock = StepClock(START_MS)
        server = Server(exchange, clock, latency_ms=latency_ms)
        lockstep = Lockstep(exchange, server, clock, EVENTS)
        skin = SocketSkin(exchange, server, lockstep)
        address = f"127.0.0.1:{await skin.start()}"
        market = asyncio.ensure_future(lockstep.run())
        tasks: list[asyncio.Task[Any]] = []
        try:
            async with client_of(address) as client:
                key = (await client.fapiPrivatePostListenKey())["listenKey"]
                follower = LockstepClient(
                    address, lambda step: act(client, step, tasks), lambda: sum(not task.done() for task in tasks)
                )
                await follower.follow([f"/private/ws?listenKey={key}", "/market/ws/btcusdt@markPrice"])
                await asyncio.gather(market, *tasks)
        finally:
            market.cancel()
            await skin.stop()
        return follower, exchange

    return run(main)


async def trade_at(client: Any, step: int, tasks: list[asyncio.Task[Any]]) -> None:
    if step in (3, 7):
        await client.create_order(
            BTC, "market", "buy" if step == 3 else "sell", 0.01, None, {"clientOrderId": f"s{step}"}
        )


def test_in_lockstep_orders_fill_at_the_step_that_they_answer() -> None:
    follower, exchange = in_lockstep(trade_at)
    fills = [(trade.order.client_id, int(trade.price), trade.ts_ms) for trade in exchange.state.trades]
    assert fills == [("s3", 50_030, START_MS + 60_000), ("s7", 50_070, START_MS + 140_000)]
    # the start, twelve events, and an end; steps that caused something are announced once more
    numbers = [step["n"] for step in follower.steps]
    assert numbers == [0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12, 13]
    assert [step["kind"] for step in follower.steps][::15] == ["start", "end"]
    assert follower.steps[1]["points"] == [{"s": "BTCUSDT", "p": "50010", "m": "50010"}]
    assert sum(event["e"] == "markPriceUpdate" for event in follower.heard) == 12
    assert sum(event["e"] == "ORDER_TRADE_UPDATE" for event in follower.heard) == 4


def test_two_runs_in_lockstep_are_alike_whatever_the_wall_says() -> None:
    def seen() -> list[str]:
        _, exchange = in_lockstep(trade_at)
        return [
            f"{e.ts_ms} {e.kind} {dict(e.data)}" for e in exchange.log.entries if e.kind not in ("stream", "answer")
        ]

    assert seen() == seen()


async def buy_at_3(client: Any, step: int, tasks: list[asyncio.Task[Any]]) -> None:
    async def buy() -> None:
        await asyncio.sleep(0.05)  # it leaves long after the step was acknowledged
        await client.create_order(BTC, "market", "buy", 0.01)

    if step == 3:
        tasks.append(asyncio.ensure_future(buy()))


def test_an_order_with_latency_fills_at_the_step_that_passes_its_time() -> None:
    _, exchange = in_lockstep(buy_at_3, latency_ms=30_000)
    assert [(int(t.price), t.ts_ms - START_MS) for t in exchange.state.trades] == [(50_050, 100_000)]


def test_the_market_waits_for_an_order_that_is_said_to_be_unanswered_and_has_not_arrived() -> None:
    _, exchange = in_lockstep(buy_at_3)
    assert [(int(t.price), t.ts_ms - START_MS) for t in exchange.state.trades] == [(50_030, 60_000)]


def test_a_fill_is_announced_with_its_step_while_another_order_travels() -> None:
    async def act(client: Any, step: int, tasks: list[asyncio.Task[Any]]) -> None:
        if step in (3, 4):
            tasks.append(asyncio.ensure_future(client.create_order(BTC, "market", "buy", 0.01)))

    held = FaultPlan(script=(Scripted("POST order", 1, "late", hold_ms=20),))
    follower, exchange = in_lockstep(act, latency_ms=30_000, plan=held)
    assert [t.ts_ms - START_MS for t in exchange.state.trades] == [100_000, 120_000]
    told = {step["n"]: dict(step["sent"])["/private/ws"] for step in reversed(follower.steps)}  # by each step's first
    assert told[4] < told[5] < told[6] == told[7]


def test_without_a_client_the_market_stands() -> None:
    async def main() -> int:
        exchange = opened_exchange()
        clock = StepClock(START_MS)
        lockstep = Lockstep(exchange, Server(exchange, clock), clock, EVENTS)
        market = asyncio.ensure_future(lockstep.run())
        await asyncio.sleep(0.1)
        market.cancel()
        await asyncio.gather(market, return_exceptions=True)
        return exchange.now_ms

    assert run(main) == START_MS


def test_there_is_no_handshake_in_real_time() -> None:
    async def main() -> int:
        async with serving() as (_, address), aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"ws://{address}/lockstep")
            return int(caught.value.status)

    assert run(main) == 404
