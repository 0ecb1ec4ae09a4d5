"""Limit entries of a live session: they stand, fill in parts, are called back, and outlive a program."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.account import cancel_orders, kill, list_orders
from qtsim.app.live import JOURNAL, Opened, close_session, status_of
from qtsim.app.replay import replay_session
from qtsim.core.enums import Rule
from qtsim.core.orders import has_entry_order_nb
from qtsim.emulator import FaultPlan, Scripted
from qtsim.emulator.inprocess import Transport
from qtsim.emulator.orders import Order
from qtsim.live.dealer import Dealer
from qtsim.live.gateway import State
from qtsim.live.journal import open_journal
from qtsim.live.runner import Runner
from tests.faults.test_live_faults import UNKNOWN, adjustments, script, told
from tests.faults.test_live_modes_and_commands import access_in
from tests.live_rehearsal import rows_of
from tests.live_virtual import Stage, in_virtual_time, intents_in, make_stage, play_through
from tests.live_virtual import kill as crash

FAR: dict[str, Any] = {
    "entry.order.type": "limit",
    "entry.order.limit_offset_bps": 200.0,
    "entry.order.timeout_bars": 3,
}
"""So far away that nothing but a test fills them."""
MINUTE_MS = 60_000
ENTRY = ("POST order", 1)
CANCEL = ("DELETE order", 1)
Running = asyncio.Task[None]


def make(tmp_path: Path, plan: FaultPlan | None = None, **more: Any) -> Stage:
    """The usual market, and entries that wait."""
    return make_stage(tmp_path, plan=plan, **{"bars": 12, **FAR, **more})


async def until(is_so: Callable[[], object], seconds: float = 300.0) -> None:
    """Wait for something that has to happen."""
    for _ in range(int(seconds / 0.05)):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s")


async def standing(stage: Stage) -> Order:
    """Wait for the first entry that stands."""
    await until(lambda: stage.exchange.state.open_orders)
    await asyncio.sleep(0.5)
    return next(iter(stage.exchange.state.open_orders.values()))


def kept(opened: Opened) -> list[int]:
    """Slots for which the session keeps a limit entry."""
    return [k for k, one in enumerate(opened.runner.trader.session.positions) if has_entry_order_nb(one)]


def ends(runner: Runner, epoch: int = 1) -> list[int]:
    """Rules by which entries have ended unfilled, in their order."""
    found = rows_of(runner.folder, epoch).get("denials")
    return [] if found is None else [int(row["rule"]) for row in found if row["limit"] > 0]


def check(stage: Stage, runner: Runner, **more: Any) -> None:
    """All invariants, and no entry is left standing."""
    stage.check(runner, **more)
    assert not stage.exchange.state.open_orders
    assert adjustments(runner) == []


# standing, filling, ending -------------------------------------------------------------------------------------------


def test_an_entry_leaves_as_a_limit_order_that_ends_by_itself_and_holds_nothing_up(tmp_path: Path) -> None:
    stage = make(tmp_path)
    seen: list[Order] = []

    async def story(opened: Opened, running: Running) -> None:
        seen.append(await standing(stage))
        (slot, *_) = kept(opened)
        session = opened.runner.trader.session
        assert float(seen[0].price) == session.positions[slot]["order_price"]
        assert not session.waits_for_orders
        assert opened.runner.is_quiet
        plan = stage.plan(stage.world(Transport(stage.exchange)))
        (entry, *_) = json.loads(json.dumps(status_of(plan, opened.runner)))["entries"]
        assert (entry["symbol"], entry["limit"], entry["filled"]) == (seen[0].symbol, float(seen[0].price), 0)
        (row, *_) = await list_orders(access_in(stage))
        assert (row["ours"], row["protects"], row["price"]) == (True, False, float(seen[0].price))

    check(stage, told(stage, story))
    (order,) = seen
    assert (order.type, order.time_in_force) == ("LIMIT", "GTD")
    assert 10 * MINUTE_MS < order.good_till_ms - order.created_ms <= 11 * MINUTE_MS
    assert order.good_till_ms % 1000 == 0


def test_a_longer_order_is_ended_by_the_exchange_at_the_very_bar(tmp_path: Path) -> None:
    stage = make(tmp_path, bars=16, **{"entry.order.timeout_bars": 12})
    seen: list[Order] = []

    async def story(opened: Opened, running: Running) -> None:
        seen.append(await standing(stage))

    runner = told(stage, story)
    check(stage, runner)
    assert seen[0].good_till_ms == seen[0].created_ms // MINUTE_MS * MINUTE_MS + 12 * MINUTE_MS


def test_an_entry_times_out_with_its_bar_and_is_cancelled(tmp_path: Path) -> None:
    stage = make(tmp_path)
    seen: list[Order] = []

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        seen.append(order)
        await until(lambda: not order.is_open)
        await asyncio.sleep(1.0)
        assert not opened.runner.trader.session.recalled.any()

    runner = told(stage, story)
    check(stage, runner)
    assert seen[0].status == "CANCELED"
    opened_at = seen[0].created_ms // MINUTE_MS * MINUTE_MS
    assert opened_at + 3 * MINUTE_MS <= seen[0].updated_ms <= opened_at + 3 * MINUTE_MS + 5_000
    assert Rule.ORDER_TIMED_OUT in ends(runner)


def test_each_part_counts_at_once_and_the_first_brings_the_stop(tmp_path: Path) -> None:
    stage = make(tmp_path)
    sizes: list[tuple[int, int]] = []

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        session = opened.runner.trader.session
        slot = opened.runner.dealer.slot_of((order.symbol, "BOTH"))
        assert slot is not None
        for _ in range(2):
            stage.control.fill_resting(order.id, "1.5")
            await asyncio.sleep(1.0)
            sizes.append((int(session.positions[slot]["lots"]), int(session.positions[slot]["order_filled"])))
        assert kept(opened)[0] == slot

    runner = told(stage, story)
    check(stage, runner, longest_ms=0)
    assert sizes == [(1500, 1500), (3000, 3000)]
    assert len([fill for fill in rows_of(runner.folder)["fills"] if fill["is_maker"] == 1]) == 2


def test_the_rest_of_an_entry_goes_with_the_position(tmp_path: Path) -> None:
    stage = make(tmp_path)
    seen: list[Order] = []

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        stage.control.fill_resting(order.id, "1.5")
        await asyncio.sleep(1.0)
        stage.control.trade(order.symbol, "-1.5" if order.buys else "1.5")
        await asyncio.sleep(2.0)
        seen.append(order)
        assert not order.is_open

    check(stage, told(stage, story))
    assert seen[0].status == "CANCELED"


# cancels that meet something -----------------------------------------------------------------------------------------


def test_what_is_filled_while_the_cancel_is_on_its_way_is_a_position_with_its_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make(tmp_path)
    raced: list[int] = []
    recall = Dealer.recall

    def filled_first(self: Dealer, slot: int) -> None:
        order = self.entry_of(slot)
        if order is not None and not raced:
            raced.append(slot)
            resting = stage.exchange.state.orders[order.order_id]
            stage.control.fill_resting(resting.id, str(resting.rest))
        recall(self, slot)

    monkeypatch.setattr(Dealer, "recall", filled_first)

    async def story(opened: Opened, running: Running) -> None:
        await standing(stage)
        await until(lambda: raced)
        await asyncio.sleep(2.0)
        assert opened.runner.trader.session.is_open(raced[0])
        assert not opened.runner.trader.session.recalled.any()

    runner = told(stage, story)
    check(stage, runner, longest_ms=0)


@pytest.mark.parametrize("kind", [*UNKNOWN, "drop_before", "http_429", "late", "unavailable_503"])
def test_a_cancel_is_repeated_until_the_exchange_says_how_the_order_ended(tmp_path: Path, kind: str) -> None:
    stage = make(tmp_path, script(CANCEL, kind))
    seen: list[Order] = []

    async def story(opened: Opened, running: Running) -> None:
        seen.append(await standing(stage))

    runner = told(stage, story)
    check(stage, runner)
    assert seen[0].status == "CANCELED"
    assert sum(stage.exchange.faults.injected.values()) == 1


@pytest.mark.parametrize("executes", [True, False])
@pytest.mark.parametrize("kind", [*UNKNOWN, "drop_before"])
def test_an_entry_of_unknown_outcome_is_found_standing_or_given_up(tmp_path: Path, kind: str, executes: bool) -> None:
    stage = make(tmp_path, FaultPlan(script=(Scripted(*ENTRY, kind, executes=executes),)))
    stood: list[bool] = []

    async def story(opened: Opened, running: Running) -> None:
        await until(lambda: opened.runner.dealer.orders)
        await asyncio.sleep(20.0)
        order = next(iter(opened.runner.dealer.orders.values()))
        stood.append(order.stood)
        assert bool(kept(opened)) == order.stood
        assert not opened.runner.trader.session.busy.any()

    runner = told(stage, story)
    check(stage, runner)
    arrived = kind != "drop_before" and (executes or kind in ("drop_after", "garbled", "empty"))
    assert stood == [arrived]
    assert (Rule.ORDER_ENDED in ends(runner)[:1]) == (not arrived)


# what may not go on standing -----------------------------------------------------------------------------------------


def test_a_hand_that_cancels_an_entry_ends_it_here_too(tmp_path: Path) -> None:
    stage = make(tmp_path)

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        assert stage.control.cancel_orders(order.symbol) == 1
        await asyncio.sleep(1.0)
        assert opened.runner.dealer.slot_of((order.symbol, "BOTH")) not in kept(opened)

    runner = told(stage, story)
    check(stage, runner)
    assert Rule.ORDER_ENDED in ends(runner)


def test_a_cancel_by_hand_that_no_stream_tells_is_found_by_a_comparison(tmp_path: Path) -> None:
    stage = make(tmp_path, **{"entry.order.timeout_bars": 8})

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        stage.control.silence(part="private")
        stage.control.cancel_orders(order.symbol)
        await asyncio.sleep(40.0)
        assert opened.runner.dealer.slot_of((order.symbol, "BOTH")) not in kept(opened)
        stage.control.silence(False, part="private")

    check(stage, told(stage, story))


@pytest.mark.parametrize("share", ["1", "-1"])
def test_an_entry_is_withdrawn_where_somebody_else_trades(tmp_path: Path, share: str) -> None:
    stage = make(tmp_path)
    seen: list[Order] = []

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        seen.append(order)
        stage.control.trade(order.symbol, share)
        await asyncio.sleep(2.0)
        assert not order.is_open

    runner = told(stage, story)
    stage.check(runner)
    assert seen[0].status == "CANCELED"
    assert not stage.exchange.state.open_orders


def test_where_no_entry_may_be_made_none_goes_on_standing(tmp_path: Path) -> None:
    stage = make(tmp_path, **{"entry.order.timeout_bars": 8})
    ended: list[bool] = []

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        gateway = opened.runner.gateway
        gateway.hold("test", State.NO_ENTRY, "a moment")
        await asyncio.sleep(2.0)
        gateway.free("test")
        await asyncio.sleep(10.0)
        ended.append(not order.is_open)
        gateway.hold("test", State.NO_ENTRY, "for good")
        await asyncio.sleep(8.0)
        ended.append(not order.is_open)

    check(stage, told(stage, story))
    assert ended == [False, True]


def test_the_end_of_a_session_withdraws_what_stands(tmp_path: Path) -> None:
    stage = make(tmp_path)

    async def story() -> Runner:
        opened, running = await stage.open()
        market = asyncio.ensure_future(play_through(stage))
        order = await standing(stage)
        opened.runner.end("the test ends it")
        await running
        await opened.runner.wind_down()
        await close_session(opened)
        assert order.status == "CANCELED"
        market.cancel()
        return opened.runner

    runner: Runner = in_virtual_time(stage, story)
    check(stage, runner)
    assert ends(runner)[-1] == Rule.ORDER_ENDED


@pytest.mark.parametrize("by_command", [True, False])
def test_an_entry_that_is_filled_while_everything_is_closed_is_closed_too(
    tmp_path: Path, by_command: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make(tmp_path, **({} if by_command else {"live.on_stop": "flatten"}))
    call_back = Dealer._call_back

    async def filled_first(self: Dealer, order: Any) -> None:
        resting = stage.exchange.state.orders[order.order_id]
        stage.control.fill_resting(resting.id, str(resting.rest))
        await call_back(self, order)

    monkeypatch.setattr(Dealer, "_call_back", filled_first)

    async def story() -> Runner:
        opened, running = await stage.open()
        market = asyncio.ensure_future(play_through(stage))
        await standing(stage)
        if by_command:
            await kill(access_in(stage), flatten=True)
        else:
            opened.runner.end("the test ends it")
        await running
        await opened.runner.wind_down()
        await close_session(opened)
        assert not list(stage.exchange.state.account.open_positions())
        market.cancel()
        return opened.runner

    runner: Runner = in_virtual_time(stage, story)
    check(stage, runner)
    assert len(rows_of(runner.folder)["trades"]) >= 1


def test_orders_cancel_takes_an_entry_back(tmp_path: Path) -> None:
    stage = make(tmp_path)

    async def story(opened: Opened, running: Running) -> None:
        order = await standing(stage)
        done, _ = await cancel_orders(access_in(stage), order.symbol)
        assert [row["id"] for row in done] == [order.client_id]
        await asyncio.sleep(1.0)
        assert opened.runner.dealer.slot_of((order.symbol, "BOTH")) not in kept(opened)

    check(stage, told(stage, story))


# a program that dies -------------------------------------------------------------------------------------------------


async def killed(stage: Stage) -> tuple[Order, Runner, asyncio.Task[None]]:
    """A program that dies while an entry stands. (the order, what was its runner, the market)"""
    opened, running = await stage.open()
    market = asyncio.ensure_future(play_through(stage))
    order = await standing(stage)
    await asyncio.sleep(2.0)
    await crash(opened, running)
    return order, opened.runner, market


def test_an_entry_that_stands_is_taken_up_by_the_next_program(tmp_path: Path) -> None:
    stage = make(tmp_path, **{"entry.order.timeout_bars": 8})

    async def story() -> Runner:
        order, _, market = await killed(stage)
        stage.control.fill_resting(order.id, "1.5")
        await asyncio.sleep(3.0)
        opened, running = await stage.open()
        slot = opened.runner.dealer.slot_of((order.symbol, "BOTH"))
        assert slot is not None
        assert order.is_open
        assert kept(opened)[0] == slot
        assert int(opened.runner.trader.session.positions[slot]["lots"]) == 1500
        stage.control.fill_resting(order.id, "1.5")
        await asyncio.sleep(1.0)
        assert int(opened.runner.trader.session.positions[slot]["lots"]) == 3000
        await market
        await stage.close(opened, running)
        return opened.runner

    runner: Runner = in_virtual_time(stage, story)
    check(stage, runner, longest_ms=30_000)
    replayed = replay_session(stage.workspace, "main")
    assert [one.difference for one in replayed] == [None, None]


async def cancelled_at_the_start(stage: Stage, order: Order, market: asyncio.Future[Any]) -> Runner:
    """Start again while an order stands that may not: it is cancelled. The session, ended with the market."""
    assert order.is_open
    opened, running = await stage.open()
    await asyncio.sleep(2.0)
    assert order.status == "CANCELED"
    await market
    await stage.close(opened, running)
    return opened.runner


def test_an_entry_whose_time_was_over_meanwhile_is_cancelled_at_the_start(tmp_path: Path) -> None:
    stage = make(tmp_path)

    async def story() -> Runner:
        order, _, market = await killed(stage)
        await asyncio.sleep(200.0)
        return await cancelled_at_the_start(stage, order, market)

    runner: Runner = in_virtual_time(stage, story)
    check(stage, runner)
    assert ends(runner, 2)[0] == Rule.ORDER_TIMED_OUT


def test_an_entry_that_was_filled_meanwhile_is_recovered_with_its_own_plan(tmp_path: Path) -> None:
    stage = make(tmp_path, **{"entry.order.timeout_bars": 8})
    lots: list[int] = []

    async def story() -> Runner:
        order, before, market = await killed(stage)
        slot = before.dealer.slot_of((order.symbol, "BOTH"))
        assert slot is not None
        lots.append(int(before.trader.session.plans[slot]["lots"]))
        stage.control.fill_resting(order.id, str(order.rest))
        await asyncio.sleep(3.0)
        opened, running = await stage.open()
        await asyncio.sleep(1.0)
        position = opened.runner.trader.session.positions[slot]
        lots.append(int(position["lots"]))
        assert int(position["trade_id"]) == int(position["order_id"])
        assert kept(opened) == []
        await market
        await stage.close(opened, running)
        return opened.runner

    runner: Runner = in_virtual_time(stage, story)
    check(stage, runner, longest_ms=30_000)
    assert lots[0] == lots[1] > 0


def test_an_entry_of_which_no_journal_tells_is_cancelled(tmp_path: Path) -> None:
    stage = make(tmp_path, **{"entry.order.timeout_bars": 8})
    lost: list[str] = []

    async def story() -> Runner:
        order, before, market = await killed(stage)
        for path in before.folder.glob("journal.sqlite*"):
            lost.extend(intents_in(path))
            path.write_bytes(b"torn" * 1000)
        opened, running = await stage.open()
        await asyncio.sleep(2.0)
        assert order.status == "CANCELED"
        assert kept(opened) == []
        await market
        await stage.close(opened, running)
        return opened.runner

    runner: Runner = in_virtual_time(stage, story)
    stage.check(runner, lost_intents=lost)
    assert not stage.exchange.state.open_orders


def test_an_entry_that_was_called_back_before_the_crash_is_cancelled_after_it(tmp_path: Path) -> None:
    stage = make(tmp_path, script(CANCEL, "drop_before"))

    async def story() -> Runner:
        opened, running = await stage.open()
        market = asyncio.ensure_future(play_through(stage))
        order = await standing(stage)
        await until(opened.runner.trader.session.recalled.any)
        opened.runner.commit()
        await crash(opened, running)
        await asyncio.sleep(3.0)
        return await cancelled_at_the_start(stage, order, market)

    runner: Runner = in_virtual_time(stage, story)
    check(stage, runner)


def test_kill_without_a_program_takes_entries_back(tmp_path: Path) -> None:
    stage = make(tmp_path)

    async def story() -> None:
        order, _, market = await killed(stage)
        lines = await kill(access_in(stage), flatten=False)
        assert lines[-1] == "1 standing entries cancelled"
        assert order.status == "CANCELED"
        market.cancel()

    in_virtual_time(stage, story)


def test_every_entry_is_on_the_disk_with_its_limit(tmp_path: Path) -> None:
    stage = make(tmp_path)

    async def story(opened: Opened, running: Running) -> None:
        await standing(stage)

    runner = told(stage, story)
    journal = open_journal(runner.folder / JOURNAL, read_only=True)
    entries = {one.client_id: one for one in journal.intents() if one.kind == "entry"}
    journal.close()
    sent = {order.client_id: order for order in stage.exchange.state.orders.values() if order.type == "LIMIT"}
    assert sent
    for client_id, order in sent.items():
        assert Decimal(entries[client_id].request["limit"]) == order.price
        assert entries[client_id].request["good_till"] == order.good_till_ms
