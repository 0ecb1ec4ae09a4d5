"""Paper and shadow, the bounds of capital and of others' orders, the guardian, and the commands beside a session."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.account import Access, access_of, cancel_orders, examine_account, kill, list_orders, read_status, resume
from qtsim.app.live import Wanted, close_session, plan_live, status_of
from qtsim.data.atomic import write_atomically
from qtsim.emulator.inprocess import InProcess, Transport
from qtsim.errors import UsageError
from qtsim.live.binance.client import open_client
from qtsim.live.binance.exchange import BinanceExchange
from qtsim.live.binance.hosts import hosts_of
from qtsim.live.commands import take_commands
from qtsim.live.gateway import Gateway
from qtsim.live.guardian import Guardian, read_triggers, write_triggers
from qtsim.live.ids import session_tag
from qtsim.live.journal import open_journal
from qtsim.live.precision import filters_of
from qtsim.live.redaction import Secret
from qtsim.live.runner import Runner
from qtsim.live.weights import Budget
from tests.live_rehearsal import ENVIRON, rows_of
from tests.live_virtual import ENDPOINT, SYMBOLS, Stage, in_virtual_time, make_stage, play_through, whole_session


def plan_in(stage: Stage, world: Any, mode: str, **more: Any) -> Any:
    """A plan of another mode."""
    return plan_live(stage.workspace, stage.resolved, Wanted(mode=mode, endpoint=ENDPOINT, **more), world)


@pytest.mark.parametrize("mode", ["paper", "shadow"])
def test_paper_and_shadow_send_nothing(tmp_path: Path, mode: str, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    monkeypatch.setattr(Stage, "plan", lambda self, world: plan_in(self, world, mode))
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    assert not list(stage.exchange.log.of("order", "algo", "fill"))
    rows = rows_of(runner.folder)
    if mode == "paper":
        assert len(rows["fills"]) >= 2
        assert len(stage.exchange.streams.connections) == 0
    else:
        assert runner.gateway.counts()["entries entry refused"] >= 1
        assert "fills" not in rows


def test_paper_loads_no_key(tmp_path: Path, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    whole = Stage.world
    monkeypatch.setattr(Stage, "world", lambda self, transport: replace(whole(self, transport), environ={}))
    monkeypatch.setattr(Stage, "plan", lambda self, world: plan_in(self, world, "paper"))
    in_virtual_time(stage, lambda: whole_session(stage))
    endpoints = {entry.data["endpoint"] for entry in stage.exchange.log.of("request")}
    assert not [name for name in endpoints if "listenKey" in name or "account" in name or "order" in name.lower()]


def test_live_without_a_key_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    whole = Stage.world
    monkeypatch.setattr(Stage, "world", lambda self, transport: replace(whole(self, transport), environ={}))
    with pytest.raises(UsageError, match="needs a key: set BINANCE_API_KEY"):
        in_virtual_time(stage, lambda: whole_session(stage))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, r"--mode live needs a confirmation: --confirm [0-9a-f]{12}"),
        ({"confirm": "0" * 12}, "look at them once more"),
    ],
)
def test_live_is_confirmed_by_the_hash_of_the_settings(tmp_path: Path, wanted: dict[str, Any], message: str) -> None:
    stage = make_stage(tmp_path)
    with pytest.raises(UsageError, match=message):
        plan_in(stage, stage.world(Transport(stage.exchange)), "live", no_alerts=True, **wanted)


def test_a_key_that_may_withdraw_is_refused(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    stage.control.set_key(can_withdraw=True)
    with pytest.raises(UsageError, match="may move money out"):
        in_virtual_time(stage, lambda: whole_session(stage))
    assert not list(stage.exchange.log.of("order"))


def test_a_symbol_that_is_not_traded_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    whole = Stage.plan

    def other(self: Stage, world: Any) -> Any:
        plan = whole(self, world)
        plan.symbols = ["BTCUSDT", "NOSUCHUSDT"]
        return plan

    monkeypatch.setattr(Stage, "plan", other)
    with pytest.raises(UsageError, match="NOSUCHUSDT is not traded"):
        in_virtual_time(stage, lambda: whole_session(stage))


def test_only_the_capital_that_is_allowed_is_used(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, **{"account.max_capital": 2_000.0})
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    session = runner.trader.session
    assert float(session.account["initial_balance"][0]) == 2_000.0
    fills = rows_of(runner.folder)["fills"]
    entries = fills[fills["kind"] == 0]
    assert len(entries) >= 1
    assert all(entries["qty"] * entries["price"] <= 2_000.0 * 0.15 * 3.0 * 1.01)
    assert runner.trader.equity <= 2_000.0 + 1e-9
    gap = float(stage.exchange.state.account.wallet) - float(session.account["wallet"][0]) - runner.account.unused
    assert abs(gap) < 1e-6


@pytest.mark.parametrize("cleanup", [False, True])
def test_orders_of_others_go_with_a_flat_symbol_only_where_the_settings_say_so(tmp_path: Path, cleanup: bool) -> None:
    stage = make_stage(tmp_path, **{"live.cleanup_foreign": cleanup})
    foreign: list[int] = []

    async def story() -> Runner:
        opened, running = await stage.open()
        market = asyncio.ensure_future(play_through(stage))
        await asyncio.sleep(5.0)
        reply = await opened.client.call(
            "fapiPrivatePostOrder",
            {
                "symbol": SYMBOLS[1],
                "side": "BUY",
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": "1",
                "price": "190",
                "newClientOrderId": "by-hand-1",
            },
        )
        foreign.append(int(reply["orderId"]))
        await asyncio.sleep(70.0)
        is_there = foreign[0] in stage.exchange.state.open_orders
        assert is_there is not cleanup
        await market
        await stage.close(opened, running)
        return opened.runner

    in_virtual_time(stage, story)


# the guardian --------------------------------------------------------------------------------------------------------


async def guardian_of(stage: Stage, folder: Path, triggers: dict[Any, float]) -> Guardian:
    """A guardian beside no program at all."""
    transport = Transport(stage.exchange)
    world = stage.world(transport)
    client = open_client(
        hosts_of(ENDPOINT, demo=False),
        Secret(ENVIRON["BINANCE_API_KEY"]),
        Secret(ENVIRON["BINANCE_API_SECRET"]),
        recv_window_ms=2_000,
        mixins=(InProcess,),
        **world.client_values,
    )
    exchange = BinanceExchange(client, Budget())
    info = await exchange.exchange_info()
    filters = {symbol: filters_of(info[symbol]) for symbol in SYMBOLS}
    exchange.lots = {symbol: one.step for symbol, one in filters.items()}
    return Guardian(
        exchange,
        Gateway(filters),
        open_journal(folder / "guardian.sqlite"),
        session_tag("main"),
        1,
        exchange.lots,
        lambda: triggers,
        0.02,
        lambda name, symbol, fields: stage.told.append(f"{name} {symbol} {fields}"),
    )


def test_the_guardian_protects_what_nobody_protects_and_only_that(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story() -> None:
        market = asyncio.ensure_future(play_through(stage, stage.events[:60], rest_s=1.0))
        await asyncio.sleep(3.0)
        guardian = await guardian_of(stage, tmp_path, {("BTCUSDT", "BOTH"): 97.03})
        assert await guardian.look() == []
        stage.control.trade("BTCUSDT", "1.5")
        stage.control.trade("ETHUSDT", "-2")
        assert await guardian.look() == []
        acted = await guardian.look()
        assert [held.symbol for held in acted] == ["BTCUSDT", "ETHUSDT"]
        algos = {algo.symbol: algo for algo in stage.exchange.state.open_algos.values()}
        assert str(algos["BTCUSDT"].trigger_price) in ("97.03", "97.1", "97.0")
        assert algos["BTCUSDT"].close_position
        assert float(algos["ETHUSDT"].trigger_price) > 0
        assert await guardian.look() == []
        assert await guardian.look() == []
        assert guardian.placed == 2
        await market

    in_virtual_time(stage, story)


def test_the_guardian_closes_where_no_stop_can_rest(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story() -> None:
        market = asyncio.ensure_future(play_through(stage, stage.events[:60], rest_s=1.0))
        await asyncio.sleep(3.0)
        guardian = await guardian_of(stage, tmp_path, {("BTCUSDT", "BOTH"): 500.0})
        stage.control.trade("BTCUSDT", "1.5")
        await guardian.look()
        await guardian.look()
        assert guardian.closed == 1
        assert not list(stage.exchange.state.account.open_positions())
        await market

    in_virtual_time(stage, story)


def test_a_guardian_that_is_told_nothing_does_nothing(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story() -> None:
        market = asyncio.ensure_future(play_through(stage, stage.events[:40], rest_s=1.0))
        await asyncio.sleep(3.0)
        guardian = await guardian_of(stage, tmp_path, {})
        stage.control.trade("BTCUSDT", "1.5")
        stage.control.set_down(True)
        for _ in range(3):
            assert await guardian.look() == []
        assert any("GUARDIAN_BLIND" in line for line in stage.told)
        stage.control.set_down(False)
        await market

    in_virtual_time(stage, story)


def test_triggers_are_told_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "protection.json"
    assert read_triggers(path) == {}
    write_triggers(path, {("BTCUSDT", "BOTH"): 97.5, ("ETHUSDT", "SHORT"): 3000.0})
    assert read_triggers(path) == {("BTCUSDT", "BOTH"): 97.5, ("ETHUSDT", "SHORT"): 3000.0}
    path.write_text("[torn")
    assert read_triggers(path) == {}


# commands ------------------------------------------------------------------------------------------------------------


def access_in(stage: Stage) -> Access:
    """How commands reach the account, in process."""
    found = access_of(stage.workspace, stage.resolved.settings, endpoint=ENDPOINT, environ=ENVIRON)
    return replace(found, mixins=(InProcess,), client_values={"transport": Transport(stage.exchange)})


def test_commands_beside_a_session(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story() -> None:
        opened, running = await stage.open()
        market = asyncio.ensure_future(play_through(stage))
        while not list(stage.exchange.state.account.open_positions()):
            await asyncio.sleep(1.0)
        await asyncio.sleep(2.0)
        plan = stage.plan(stage.world(Transport(stage.exchange)))
        text = json.dumps(status_of(plan, opened.runner))
        write_atomically(opened.runner.folder / "status.json", lambda path: path.write_text(text))
        access = access_in(stage)
        status = read_status(access, "BTCUSDT")
        assert status["running"]
        assert status["positions"][0]["side"] == "LONG"
        assert status["journal"][0]["kind"] == "entry"
        with pytest.raises(UsageError, match="no position XRPUSDT; open are BTCUSDT:LONG"):
            read_status(access, "XRPUSDT")
        (stop, *_) = await list_orders(access)
        assert (stop["ours"], stop["protects"], stop["kind"]) == (True, True, "conditional")
        done, left = await cancel_orders(access)
        assert done == []
        assert "--include-protection" in left[0]
        findings = dict((what, state) for state, what, _ in await examine_account(access))
        assert findings["clock"] == "ok"
        assert findings["position BTCUSDT LONG"] == "ok"
        assert resume(access, "BTCUSDT")
        lines = await kill(access, flatten=True)
        assert "closes every position and ends" in lines[0]
        await running
        await opened.runner.wind_down()
        await close_session(opened)
        assert not list(stage.exchange.state.account.open_positions())
        assert not stage.exchange.state.open_algos
        market.cancel()

    in_virtual_time(stage, story)


def test_kill_flatten_works_without_a_program(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story() -> None:
        market = asyncio.ensure_future(play_through(stage, stage.events[:60], rest_s=1.0))
        await asyncio.sleep(3.0)
        stage.control.trade("BTCUSDT", "1.5")
        access = access_in(stage)
        assert "does not run" in (await kill(access, flatten=False))[0]
        lines = await kill(access, flatten=True)
        assert lines[-1] == "flat"
        assert stage.exchange.state.account.position("BTCUSDT", "BOTH").qty == Decimal(0)
        await market

    in_virtual_time(stage, story)


def test_resume_waits_for_the_next_start_where_nothing_runs(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    access = access_in(stage)
    assert not resume(access, "btc-usdt")
    (command,) = take_commands(access.folder)
    assert (command.do, command.symbol) == ("resume", "BTCUSDT")
    with pytest.raises(UsageError, match="has not run in"):
        read_status(access)
