"""The unmodified ccxt at the emulated exchange: in process in virtual time, and pointed at a loopback address."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qtsim.emulator import Exchange, FaultPlan
from qtsim.emulator.inprocess import InProcess, Transport
from qtsim.emulator.virtual import run_virtual
from tests.emulator_desk import START_MS, points_at, rules

BTC = "BTC/USDT:USDT"


def opened_exchange(plan: FaultPlan | None = None, **changes: Any) -> Exchange:
    """An exchange that has shown its first prices."""
    exchange = Exchange(rules(**changes), plan, now_ms=START_MS)
    exchange.advance(points_at(START_MS, {"BTCUSDT": "50000", "ETHUSDT": "2500"}))
    return exchange


def in_process(
    main: Callable[[Any, Exchange], Awaitable[Any]], plan: FaultPlan | None = None, **changes: Any
) -> tuple[Any, Exchange]:
    """Run `main(client, exchange)` in virtual time with a ccxt.pro client; its result and the exchange."""
    ccxt_pro = pytest.importorskip("ccxt.pro", reason="needs the extra live")

    class Client(InProcess, ccxt_pro.binanceusdm):  # type: ignore[misc, name-defined]
        pass

    async def run() -> tuple[Any, Exchange]:
        exchange = opened_exchange(plan, **changes)
        transport = Transport(exchange)
        client = Client(transport.config())
        client.transport = transport
        try:
            await client.load_markets()
            return await main(client, exchange), exchange
        finally:
            await client.close()

    return run_virtual(run(), start_ms=START_MS)


def pointed(client: Any, address: str) -> Any:
    """A ccxt client whose every URL leads to `address`, host and port."""

    def moved(url: Any) -> Any:
        if isinstance(url, dict):
            return {name: moved(one) for name, one in url.items()}
        scheme, rest = url.split("://", 1)
        return f"{'http' if scheme.startswith('http') else 'ws'}://{address}/{rest.partition('/')[2]}"

    client.urls["api"] = moved(client.urls["api"])
    return client


class Watching:
    """Everything that a `watch_*` method brings, until it ends."""

    def __init__(self, client: Any, method: str, *params: Any) -> None:
        self.found: list[Any] = []
        self.error: BaseException | None = None
        self.task = asyncio.ensure_future(self._watch(getattr(client, method), params))

    async def _watch(self, method: Any, params: tuple[Any, ...]) -> None:
        try:
            while True:
                update = await method(*params)
                self.found.extend(copy.deepcopy(list(update)) if isinstance(update, list) else [update])
        except Exception as error:
            self.error = error

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
