"""A network that fails below the exchange: names, handshakes, connections cut in the middle, answers that trickle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")

import aiohttp

from qtsim.live.binance import streams as streams_module
from qtsim.live.binance.client import open_client
from qtsim.live.binance.exchange import BinanceExchange
from qtsim.live.binance.hosts import Hosts
from qtsim.live.binance.streams import Streams, connect_aiohttp
from qtsim.live.kinds import OrderKind
from qtsim.live.orders import OrderRequest, QueryFailedError, Reply
from qtsim.live.outcomes import Outcome, Remedy
from qtsim.live.redaction import Secret
from qtsim.live.weights import Budget

ENTRY = OrderRequest("q000000-0001-00000001-en-0", OrderKind.ENTRY, "BTCUSDT", "BUY", "BOTH", qty="0.01")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 30.0


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A server on the loopback; its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def sent(port: int, scheme: str = "http", name: str = "127.0.0.1") -> Reply:
    """What becomes of an order that is sent there."""
    hosts = Hosts(f"{scheme}://{name}:{port}", f"ws://{name}:{port}", None)
    client = open_client(hosts, Secret("key"), Secret("secret"), recv_window_ms=2_000, timeout=500)
    exchange = BinanceExchange(client, Budget())
    try:
        reply = await asyncio.wait_for(exchange.place(ENTRY), PATIENCE_S)
        with pytest.raises(QueryFailedError):  # a question fails loudly, whatever the reason
            await asyncio.wait_for(exchange.find("BTCUSDT", ENTRY.client_id, is_algo=False), PATIENCE_S)
        return reply
    finally:
        await client.close()


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def closes_after_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def cuts_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"orderId": 1, ')
    await writer.drain()
    writer.transport.abort()


async def trickles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n")
    try:
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)
    except ConnectionError:
        return


async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the client gives up
    writer.close()


@pytest.mark.parametrize("serve", [closes_at_once, closes_after_the_request, cuts_the_body, trickles, never_answers])
def test_an_order_whose_answer_is_lost_on_the_way_may_have_been_executed(serve: Serve) -> None:
    async def main() -> Reply:
        async with serving(serve) as port:
            return await sent(port)

    assert asyncio.run(main()).outcome is Outcome.UNKNOWN


def test_a_handshake_that_fails_is_not_taken_for_a_refusal_of_the_order() -> None:
    async def main() -> Reply:
        async with serving(closes_after_the_request) as port:
            return await sent(port, "https")

    assert asyncio.run(main()).outcome is not Outcome.ACK


def test_a_connection_that_is_refused_has_sent_nothing() -> None:
    async def main() -> Reply:
        async with serving(closes_at_once) as port:
            pass
        return await sent(port)

    reply = asyncio.run(main())
    assert (reply.outcome, reply.remedy) == (Outcome.REJECTED, Remedy.WAIT)


def test_a_name_that_is_not_found_has_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_found(*args: Any, **named: Any) -> list[Any]:
        raise OSError("Name or service not known")

    monkeypatch.setattr(aiohttp.TCPConnector, "_resolve_host", not_found)
    reply = asyncio.run(sent(9, name="exchange.invalid"))
    assert (reply.outcome, reply.remedy) == (Outcome.REJECTED, Remedy.WAIT)


def test_a_stream_whose_handshake_is_not_answered_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "CONNECT_S", 0.1)
    tried: list[int] = []

    async def main() -> None:
        again = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tried.append(1)
            if len(tried) > 1:
                again.set()
            await never_answers(reader, writer)

        async with serving(silent) as port:
            nothing: Any = None
            streams = Streams(
                f"ws://127.0.0.1:{port}",
                nothing,
                connect_aiohttp,
                on_market=lambda event: None,
                on_user=lambda event: None,
                on_state=lambda name, up: None,
            )
            streams.start(["btcusdt@aggTrade"], account=False)
            await asyncio.wait_for(again.wait(), PATIENCE_S)
            assert not streams.market.is_up.is_set()
            await streams.stop()

    asyncio.run(main())
    assert len(tried) >= 2
