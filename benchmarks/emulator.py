"""Does the emulator stay flat? Memory and open files of the socket skin under a steady client, and what a step costs.

    python benchmarks/emulator.py [--minutes 2] [--symbols 5] [--orders-per-second 2] [--seeds 200]

Plays random prices at real-time pace over sockets on the loopback, with a client that hears every stream and trades,
and prints memory and file descriptors every few seconds. Little history is kept, so that what grows is a leak. Exit
code 1 where memory has grown by more than 2 MB and at more than 5 MB an hour beyond the first minute, or where
descriptors have grown at all. Bounded lists, such as public trades, fill for the first half hour.
Then it counts seeded runs in virtual time per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

from qtsim.data.instruments import load_instruments
from qtsim.emulator import BarsClosed, Exchange, FaultPlan, MarketEvent, Point, Points, Rules
from qtsim.emulator.auth import sign
from qtsim.emulator.clocks import RunningClock
from qtsim.emulator.exchange import DEFAULT_KEY
from qtsim.emulator.market import MS, Bar
from qtsim.emulator.serving import RequestLostError, Server
from qtsim.emulator.sockets import SocketSkin, run_market
from qtsim.emulator.virtual import VirtualClock, play, run_virtual

EVERY_S = 5.0
WARM_S = 60.0
GROWTH_MB_PER_HOUR = 5.0
SLACK_MB = 2.0
HEADERS = {"X-MBX-APIKEY": DEFAULT_KEY.key}


def walk(symbols: list[str], start_ms: int, seed: int, step_ms: int = 1000) -> Iterator[MarketEvent]:
    """Random prices for ever, one point a step, with minute bars."""
    rng, ms = random.Random(seed), start_ms
    prices = dict.fromkeys(symbols, Decimal(100))
    while True:
        if ms % 60_000 == 0 and ms > start_ms:
            bars = tuple((symbol, Bar(ms - 60_000, *[float(price)] * 4, 60.0)) for symbol, price in prices.items())
            yield BarsClosed(ms * MS, bars)
        for symbol in symbols:
            prices[symbol] = max(Decimal(50), prices[symbol] + Decimal(rng.randint(-5, 5)) / 10)
        yield Points(ms * MS, tuple(Point(symbol, price, price, Decimal(1)) for symbol, price in prices.items()))
        ms += step_ms


def chosen(count: int) -> Rules:
    """Rules of some symbols of the table, and little history."""
    table = load_instruments()
    return Rules(tuple(list(table.values())[:count]), weight_limit=0, orders_10s=0, orders_1m=0, log_limit=100, kept=25)


def signed(ms: int, **params: object) -> str:
    """A signed query."""
    text = urlencode({"timestamp": ms, **params})
    return f"{text}&signature={sign(DEFAULT_KEY.secret, text)}"


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


async def soak(minutes: float, symbols: int, rate: float) -> bool:
    """Serve, trade, measure; whether it stayed flat."""
    import aiohttp

    start_ms = time.time_ns() // MS // 60_000 * 60_000
    exchange = Exchange(chosen(symbols), now_ms=start_ms)
    names = list(exchange.state.rules)
    clock = RunningClock(start_ms)
    skin = SocketSkin(exchange, Server(exchange, clock))
    address = f"127.0.0.1:{await skin.start()}"
    market = asyncio.ensure_future(run_market(exchange, walk(names, start_ms, 1), clock))
    await asyncio.sleep(1.5)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"http://{address}/fapi/v1/listenKey", headers=HEADERS) as answer:
            key = (await answer.json())["listenKey"]
        streams = "/".join(f"{n.lower()}@{s}" for n in names for s in ("markPrice@1s", "aggTrade", "kline_1m"))
        paths = (f"/private/ws?listenKey={key}", f"/market/stream?streams={streams}")
        heard = [0, 0]

        async def hear(k: int) -> None:
            async with session.ws_connect(f"ws://{address}{paths[k]}") as socket:
                async for _ in socket:
                    heard[k] += 1

        async def trade() -> None:
            for k in range(1 << 60):
                side = "BUY" if k // len(names) % 2 == 0 else "SELL"
                body = {"symbol": names[k % len(names)], "side": side, "type": "MARKET", "quantity": 1}
                data = signed(time.time_ns() // MS, **body)
                async with session.post(f"http://{address}/fapi/v1/order", data=data, headers=HEADERS) as answer:
                    await answer.read()
                await asyncio.sleep(1.0 / rate)

        tasks = [market, *(asyncio.ensure_future(hear(k)) for k in range(2)), asyncio.ensure_future(trade())]
        rows = await measure(minutes, heard, exchange)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await skin.stop()
    return is_flat(rows)


async def measure(minutes: float, heard: list[int], exchange: Exchange) -> list[tuple[float, float, int]]:
    """(seconds, MB, descriptors) while it lasts."""
    rows: list[tuple[float, float, int]] = []
    began, cpu = time.monotonic(), time.process_time()
    print(f"{'s':>6} {'MB':>8} {'files':>6} {'messages':>9} {'fills':>7} {'CPU %':>6}")
    while (passed := time.monotonic() - began) < minutes * 60.0:
        await asyncio.sleep(EVERY_S)
        rows.append((passed, memory_mb(), open_files()))
        share = 100.0 * (time.process_time() - cpu) / (time.monotonic() - began)
        row = f"{passed:6.0f} {rows[-1][1]:8.1f} {rows[-1][2]:6d} {sum(heard):9,}"
        print(f"{row} {len(exchange.state.trades):7,} {share:6.1f}", flush=True)
    return rows


def is_flat(rows: list[tuple[float, float, int]]) -> bool:
    """Judge what was measured after the first minute, or after the first third of a short run."""
    last = rows[-1][0]
    late = [row for row in rows if row[0] >= min(WARM_S, last / 3)]
    hours = max((late[-1][0] - late[0][0]) / 3600.0, 1e-9)
    grown, files = late[-1][1] - late[0][1], late[-1][2] - late[0][2]
    print(f"memory {grown:+.1f} MB, {grown / hours:+.1f} MB an hour, descriptors {files:+d}")
    return (grown <= SLACK_MB or grown / hours <= GROWTH_MB_PER_HOUR) and files <= 0


def seeded_runs(seeds: int) -> None:
    """How many runs of ten virtual minutes with a hundred faulty orders pass in a second."""
    rates = {"drop_after": 0.05, "late": 0.05, "unknown_503": 0.05}

    async def main(seed: int) -> int:
        exchange = Exchange(chosen(2), FaultPlan(seed=seed, rates=rates))
        names, clock = list(exchange.state.rules), VirtualClock()
        server = Server(exchange, clock)
        events = (event for event, _ in zip(walk(names, 0, seed, 6000), range(100), strict=False))
        market = asyncio.ensure_future(play(exchange, events))
        for k in range(100):
            await asyncio.sleep(6.0)
            body = {"symbol": names[k % 2], "side": "BUY" if k % 4 < 2 else "SELL", "type": "MARKET", "quantity": 1}
            try:
                await server.serve("POST", "/fapi/v1/order", signed(clock.now_ms(), **body), HEADERS)
            except RequestLostError:
                continue
        await market
        return len(exchange.state.trades)

    began = time.perf_counter()
    fills = sum(run_virtual(main(seed)) for seed in range(seeds))
    passed = time.perf_counter() - began
    print(json.dumps({"runs": seeds, "fills": fills, "runs per second": round(seeds / passed, 1)}))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Does the emulator stay flat?")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--symbols", type=int, default=5)
    parser.add_argument("--orders-per-second", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=200)
    given = parser.parse_args()
    seeded_runs(given.seeds)
    if given.minutes > 0 and not asyncio.run(soak(given.minutes, given.symbols, given.orders_per_second)):
        sys.exit(1)


if __name__ == "__main__":
    main()
