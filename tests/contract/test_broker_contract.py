"""What every broker keeps: the simulated one, the exchange's on the emulator, and demo trading where keys are set.

A broker is driven as a session drives it: an intent goes in, time passes until nothing is under way, and what came out
is compared with the account.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from qtsim.core.enums import Reason, Rule
from qtsim.core.orders import has_entry_order_nb
from qtsim.core.records import Records
from qtsim.trading.messages import Fill
from qtsim.trading.session import Session
from tests.generated import HOUR, empty_signals
from tests.unit.trading.test_trading_session import Recorder, new_session

LIMITS: dict[str, Any] = {
    "entry.order.type": "limit",
    "entry.order.limit_offset_bps": 100.0,
    "entry.order.timeout_bars": 10,
}


class Desk(Protocol):
    """A broker under the contract, and the session that it serves."""

    session: Session
    fills: list[Fill]

    async def enter(self, side: int) -> None:
        """Open a position of the first symbol; return when nothing is under way."""

    async def close(self, lots: int) -> None:
        """Close lots of it."""

    def stops(self) -> int:
        """Closing stops that rest."""

    def exchange_lots(self) -> int:
        """Signed lots that the account holds, by the broker's own book."""


class Simulated:
    """The simulated broker."""

    def __init__(self, **settings: object) -> None:
        self.session = new_session(**settings)
        self.broker = Recorder(self.session)
        self.broker.timeframe_ns = HOUR
        self.session.connect(self.broker)
        self.session.bar_index[0] = 0
        self.session.observe(0, 1, 100.0, 100.0)
        self.fills: list[Fill] = []
        drain = self.broker.fills

        def kept() -> list[Fill]:
            found = drain()
            self.fills += found
            return found

        self.broker.fills = kept  # type: ignore[method-assign]

    async def enter(self, side: int) -> None:
        """A signal of this side."""
        decide(self.session, side)

    async def close(self, lots: int) -> None:
        """A leg or a stop of so many lots."""
        self.session._submit_exit(0, int(Reason.STOP), lots, False)

    async def withdraw(self) -> None:
        """The session ends its limit entry."""
        self.session.drop_order(0, Rule.ORDER_CANCELLED, 1)

    async def cross(self) -> None:
        """The market trades through what stands."""
        price = float(self.session.positions[0]["order_price"])
        self.session.observe(0, 2, price - 1.0, price - 1.0)
        self.broker.meet_order(0)
        self.session.collect()

    def stops(self) -> int:
        """Stops that rest."""
        return int(np.isfinite(self.broker.stops).sum())

    def exchange_lots(self) -> int:
        """The session's book is the simulated exchange's."""
        return int(self.session.positions[0]["side"] * self.session.positions[0]["lots"])


class Emulated:
    """The exchange's broker, against the emulator or demo trading."""

    def __init__(
        self, opened: Any, lots: Callable[[], int], stops: Callable[[], int], fill: Callable[[], None] = lambda: None
    ) -> None:
        """fill: makes the exchange fill what stands."""
        self.opened = opened
        self.fill = fill
        self.session = opened.runner.trader.session
        self.fills: list[Fill] = []
        self._lots, self._stops = lots, stops
        trader = opened.runner.trader
        whole = trader.executed

        def kept(fill: Fill) -> None:
            self.fills.append(fill)
            whole(fill)

        trader.executed = kept

    async def enter(self, side: int) -> None:
        """A signal of this side."""
        decide(self.session, side)
        await self._rest()

    async def close(self, lots: int) -> None:
        """A stop of so many lots."""
        self.session._submit_exit(0, int(Reason.STOP), lots, False)
        await self._rest()

    async def withdraw(self) -> None:
        """The session ends its limit entry."""
        self.session.drop_order(0, Rule.ORDER_CANCELLED, int(self.session.points[0]["ts"]))
        await self._rest()

    async def cross(self) -> None:
        """The exchange fills what stands."""
        self.fill()
        await self._rest()

    async def _rest(self) -> None:
        runner = self.opened.runner
        for _ in range(400):
            await asyncio.sleep(0.05)
            runner.pump()
            if runner.is_quiet:
                return
        raise AssertionError("something stays under way")

    def stops(self) -> int:
        """Stops that rest on the exchange."""
        return self._stops()

    def exchange_lots(self) -> int:
        """What the exchange holds."""
        return self._lots()


def decide(session: Session, side: int) -> None:
    """One signal, decided now."""
    signal: Records = empty_signals(1)
    signal["long" if side > 0 else "short"] = 1
    signal["atr_pct"] = 0.01
    signal["close"] = session.points[0]["price"]
    ts = int(session.points[0]["ts"])
    session.decide_on_signals({0: (0, signal[0])}, [], [], ts)


async def contract(desk: Desk) -> None:
    """Entry, part of an exit, the rest, and the other side."""
    session = desk.session
    await desk.enter(1)
    (entry,) = desk.fills
    lots = int(entry.record["lots"][0])
    assert entry.is_entry
    assert entry.ends_order
    assert lots > 0
    assert int(session.positions[0]["lots"]) == lots == desk.exchange_lots()
    assert desk.stops() == 1, "a stop rests from the first execution on"
    assert not session.busy.any()

    part = lots // 2
    await desk.close(part)
    assert len(desk.fills) == 2
    assert int(session.positions[0]["lots"]) == lots - part == desk.exchange_lots()
    assert desk.stops() == 1, "the stop stays while anything is open"

    await desk.close(lots - part)
    assert len(desk.fills) == 3
    assert not session.is_open(0)
    assert desk.exchange_lots() == 0
    assert desk.stops() == 0, "the stop goes with the position"
    assert session.broker.fills() == []
    assert session.broker.ends() == []

    await desk.enter(-1)
    assert desk.exchange_lots() == -int(desk.fills[-1].record["lots"][0])
    assert desk.stops() == 1
    await desk.close(int(session.positions[0]["lots"]))
    assert desk.exchange_lots() == 0
    assert len({int(fill.record["trade_id"][0]) for fill in desk.fills}) == 2
    assert [fill.is_entry for fill in desk.fills] == [True, False, False, True, False]
    assert session.broker.available() == pytest.approx(float(session.account["wallet"][0]))


async def limit_contract(desk: Simulated | Emulated) -> None:
    """A limit entry that is called back, and one that is filled."""
    session, position = desk.session, desk.session.positions[0]
    await desk.enter(1)
    assert has_entry_order_nb(position)
    assert not session.waits_for_orders, "what stands holds nothing up"
    assert desk.fills == []
    assert session.broker.available() < float(session.account["wallet"][0]), "its margin is reserved"

    await desk.withdraw()
    assert not has_entry_order_nb(position)
    assert not session.waits_for_orders
    assert session.broker.available() == pytest.approx(float(session.account["wallet"][0]))
    assert desk.exchange_lots() == 0

    await desk.enter(1)
    limit = float(position["order_price"])
    await desk.cross()
    (fill,) = desk.fills
    assert fill.is_entry
    assert (float(fill.record["price"][0]), int(fill.record["is_maker"][0])) == (limit, 1)
    assert int(position["lots"]) == int(fill.record["lots"][0]) == desk.exchange_lots()
    assert not has_entry_order_nb(position)
    assert desk.stops() == 1
    assert not session.waits_for_orders
    assert not session.broker.cancel_entry(0), "nothing stands any more"
    await desk.close(int(position["lots"]))
    assert desk.exchange_lots() == 0


def test_the_simulated_broker_keeps_the_contract() -> None:
    asyncio.run(contract(Simulated()))
    asyncio.run(limit_contract(Simulated(**LIMITS)))


@pytest.mark.parametrize("settings", [{}, LIMITS], ids=["market", "limit"])
def test_the_exchanges_broker_keeps_the_contract_on_the_emulator(tmp_path: Path, settings: dict[str, Any]) -> None:
    pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
    from qtsim.app.live import close_session
    from qtsim.emulator.virtual import play
    from tests.live_virtual import in_virtual_time, make_stage

    stage = make_stage(tmp_path, **{"gates.enabled": False, **settings})

    def held() -> int:
        return sum(int(p.qty * 1000) for p in stage.exchange.state.account.open_positions())

    def resting() -> int:
        return sum(algo.status == "NEW" for algo in stage.exchange.state.open_algos.values())

    def fill() -> None:
        (order,) = stage.exchange.state.open_orders.values()
        stage.control.fill_resting(order.id, str(order.rest))

    async def story() -> None:
        opened, running = await stage.open()
        await play(stage.exchange, stage.events[:8])
        await asyncio.sleep(0.1)
        await (limit_contract if settings else contract)(Emulated(opened, held, resting, fill))
        opened.runner.end("done")
        await running
        await opened.runner.wind_down()
        await close_session(opened)

    in_virtual_time(stage, story)


DEMO_KEYS = ("BINANCE_DEMO_API_KEY", "BINANCE_DEMO_API_SECRET")


@pytest.mark.demo
def test_the_exchanges_broker_keeps_the_contract_at_demo_trading(tmp_path: Path) -> None:
    """Reaches Binance's demo host, and only where demo keys are set and the marker is asked for."""
    if not all(os.environ.get(name) for name in DEMO_KEYS):
        pytest.skip(f"needs {' and '.join(DEMO_KEYS)}; make them at demo.binance.com")
    from qtsim.app.live import Wanted, World, close_session, open_session, plan_live
    from qtsim.app.workspace import Workspace, settings_of
    from qtsim.live.redaction import Redactor

    (tmp_path / "qtsim.toml").write_text("")
    workspace = Workspace(tmp_path)
    overrides = {"run.symbols": ["BTCUSDT"], "run.timeframe": "1m", "gates.enabled": False, "sizing.model": "notional"}
    resolved = settings_of(workspace, overrides=overrides)
    key, secret = (os.environ[name] for name in DEMO_KEYS)
    world = World(environ={"BINANCE_API_KEY": key, "BINANCE_API_SECRET": secret})
    plan = plan_live(workspace, resolved, Wanted(mode="testnet", guardian=False), world)

    async def story() -> None:
        opened = await open_session(plan, world, lambda line: None, Redactor())
        running = asyncio.ensure_future(opened.runner.run())
        runner = opened.runner
        while np.isnan(runner.trader.session.points[0]["price"]):
            await asyncio.sleep(0.1)
        place = ("BTCUSDT", "BOTH")
        desk = Emulated(opened, lambda: runner.dealer.book.get(place, 0), lambda: len(runner.dealer.stops))
        try:
            await contract(desk)
        finally:
            runner.end("done")
            await running
            runner.flatten("the contract has ended")
            await runner.wind_down()
            await close_session(opened)

    asyncio.run(story())


def test_the_contract_bites() -> None:
    """A broker that fills twice, or leaves its stop, does not pass."""

    class Twice(Simulated):
        async def close(self, lots: int) -> None:
            await super().close(lots)
            if self.session.is_open(0):
                await super().close(1)

    class Left(Simulated):
        def stops(self) -> int:
            return 1

    coroutines: list[Coroutine[Any, Any, None]] = [contract(Twice()), contract(Left())]
    for coroutine in coroutines:
        with pytest.raises(AssertionError):
            asyncio.run(coroutine)
