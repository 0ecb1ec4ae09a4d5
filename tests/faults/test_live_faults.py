"""Faults of the exchange and of the way to it, in virtual time: what must hold after each, by the fault matrix."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.live import JOURNAL, close_session
from qtsim.emulator import FaultPlan, Point, Points, Scripted
from qtsim.emulator.faults import ForeignAction
from qtsim.emulator.inprocess import Transport
from qtsim.emulator.streams import Delivery
from qtsim.emulator.virtual import VirtualClock
from qtsim.live.gateway import State
from qtsim.live.journal import Intent, open_journal
from qtsim.live.runner import Runner
from tests.live_virtual import SYMBOLS, Stage, in_virtual_time, make_stage, play_through, whole_session

ENTRY, STOP, EXIT = ("POST order", 1), ("POST algoOrder", 1), ("POST order", 3)
UNKNOWN = ("drop_after", "unknown_503", "timeout_1007", "bus_1006", "http_408", "html", "garbled", "empty")
REFUSED = ("unavailable_503", "overloaded_503", "internal_503", "http_429")


def script(place: tuple[str, int], kind: str, **more: Any) -> FaultPlan:
    """One fault at one request."""
    return FaultPlan(script=(Scripted(*place, kind, **more),))


def run(tmp_path: Path, plan: FaultPlan | None = None, **more: Any) -> tuple[Stage, Runner]:
    """A whole session under a plan; the fault must have happened."""
    stage = make_stage(tmp_path, plan=plan, **more)
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    if plan is not None and plan.script:
        assert sum(stage.exchange.faults.injected.values()) > 0
    return stage, runner


def adjustments(runner: Runner) -> list[Any]:
    """Quantities that no execution explained and the exchange's count had to put right: none without a hand."""
    return _events(runner, "adjust")


def entries(stage: Stage) -> list[str]:
    """Client ids of the entries that the exchange has filled."""
    return [entry.data["client_id"] for entry in stage.exchange.log.of("fill") if "-en-" in entry.data["client_id"]]


def first_entry_was_filled(stage: Stage, runner: Runner) -> bool:
    """What has become of the first entry that was decided."""
    first = next(intent for intent in _intents(runner) if intent.kind == "entry")
    return first.client_id in entries(stage)


SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))]
"""Of random faults; all but the first two are left to `pytest -m slow`."""


def test_without_faults_everything_is_protected_at_once_and_the_books_agree(tmp_path: Path) -> None:
    stage, runner = run(tmp_path)
    assert len(entries(stage)) == 2
    assert stage.unprotected() == []
    assert runner.gateway.state == State.NO_ENTRY  # the test has ended it
    stage.check(runner)


@pytest.mark.parametrize("executes", [True, False])
@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_entry_of_unknown_outcome_is_found_or_abandoned_and_never_sent_again(
    tmp_path: Path, kind: str, executes: bool
) -> None:
    stage, runner = run(tmp_path, script(ENTRY, kind, executes=executes))
    stage.check(runner)
    executed = executes or kind in ("drop_after", "garbled", "empty")
    assert first_entry_was_filled(stage, runner) == executed


def test_a_lost_entry_is_declared_dead_only_after_the_fence(tmp_path: Path) -> None:
    stage, runner = run(tmp_path, script(ENTRY, "drop_before"))
    stage.check(runner)
    assert not first_entry_was_filled(stage, runner)
    (end,) = [body for _, _, _, body in _events(runner, "done") if body.get("why") == "it never arrived"]
    assert end


def test_a_late_entry_is_refused_by_the_window_and_nothing_is_sent_in_its_place(tmp_path: Path) -> None:
    stage, runner = run(tmp_path, script(ENTRY, "late", hold_ms=8_000))
    stage.check(runner)
    assert not first_entry_was_filled(stage, runner)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_entry_is_abandoned(tmp_path: Path, kind: str) -> None:
    stage, runner = run(tmp_path, script(ENTRY, kind))
    stage.check(runner)
    assert not first_entry_was_filled(stage, runner)


@pytest.mark.parametrize("kind", [*UNKNOWN, *REFUSED, "drop_before", "timestamp_1021"])
def test_a_stop_that_does_not_arrive_at_once_arrives_within_the_bound(tmp_path: Path, kind: str) -> None:
    stage, runner = run(tmp_path, script(STOP, kind))
    stage.check(runner)


@pytest.mark.parametrize("kind", [*UNKNOWN, *REFUSED, "drop_before", "timestamp_1021"])
def test_an_exit_that_fails_is_followed_to_its_end(tmp_path: Path, kind: str) -> None:
    stage, runner = run(tmp_path, script(EXIT, kind))
    stage.check(runner)


@pytest.mark.parametrize("code", [-2021, -4120, -1111, -2019, -4509, -4130])
def test_a_refused_stop_leaves_no_position_without_one(tmp_path: Path, code: int) -> None:
    stage, runner = run(tmp_path, script(STOP, "reject", code=code))
    stage.check(runner, longest_ms=10_000)


def test_a_stop_through_the_price_closes_at_market_within_two_seconds(tmp_path: Path) -> None:
    stage, runner = run(tmp_path, script(STOP, "reject", code=-2021))
    assert all(span.ms <= 2_000 for span in stage.unprotected())
    assert runner.gateway.counts()["protection loss_guard_emergency"] == 1
    assert any("its stop was refused" in why for why in runner.gateway.symbols_closed.values())


def test_a_stop_refused_again_and_again_for_another_that_is_not_there_closes_at_market(tmp_path: Path) -> None:
    refused = Scripted("POST algoOrder", 1, "reject", code=-4130, times=0)
    stage, runner = run(tmp_path, FaultPlan(script=(refused,), latency_ms=(20, 100)))
    assert all(span.ms <= 2_000 for span in stage.unprotected())
    assert runner.gateway.counts()["protection loss_guard_emergency"] == len(entries(stage))
    assert stage.exchange.faults.injected["reject"] == 2 * len(entries(stage))
    assert any("none is there" in why for why in runner.gateway.symbols_closed.values())
    stage.check(runner)


def test_an_entry_with_a_wrong_clock_is_sent_once_more_with_a_new_timestamp(tmp_path: Path) -> None:
    stage, runner = run(tmp_path, script(ENTRY, "timestamp_1021"))
    stage.check(runner)
    assert first_entry_was_filled(stage, runner)


@pytest.mark.parametrize("skew_ms", [-3_000, 3_000])
def test_a_skewed_clock_is_measured_and_entries_wait(tmp_path: Path, skew_ms: int, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    monkeypatch.setattr("tests.live_virtual.Transport", lambda exchange: Transport(exchange, VirtualClock(skew_ms)))
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    assert runner.exchange.offset_ms == -skew_ms
    assert entries(stage) == []  # live.max_age.clock_skew_ms
    stage.check(runner)


@pytest.mark.parametrize("place", [ENTRY, EXIT])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_partial_fill_is_covered_and_what_is_left_is_managed(
    tmp_path: Path, place: tuple[str, int], share: float
) -> None:
    stage, runner = run(tmp_path, script(place, "partial", share=share))
    stage.check(runner)
    assert adjustments(runner) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_disorderly_stream_changes_nothing(tmp_path: Path, seed: int) -> None:
    rates = {"event_duplicate": 0.3, "event_delay": 0.3, "event_reorder": 0.3, "event_drop": 0.15}
    stage, runner = run(tmp_path, FaultPlan(seed=seed, rates=rates))
    assert stage.exchange.faults.injected["event_drop"] + stage.exchange.faults.injected["event_reorder"] > 0
    stage.check(runner)
    assert adjustments(runner) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_at_once_ends_in_the_exchanges_truth(tmp_path: Path, seed: int) -> None:
    rates = {"event_duplicate": 0.1, "event_delay": 0.2, "event_drop": 0.1, "disconnect": 0.002}
    rates |= dict.fromkeys(("drop_before", "drop_after", "unknown_503", "slow", "unavailable_503", "garbled"), 0.06)
    stage, runner = run(tmp_path, FaultPlan(seed=seed, rates=rates))
    stage.check(runner, longest_ms=15_000)


def told(stage: Stage, story: Callable[[Any, asyncio.Task[None]], Any]) -> Runner:
    """A session with somebody at the exchange while it trades: `story` runs beside the market."""

    async def both() -> Runner:
        opened, running = await stage.open()
        beside = asyncio.ensure_future(story(opened, running))
        try:
            await play_through(stage)
            await beside
        finally:
            if not running.done():
                await stage.close(opened, running)
        return opened.runner

    found: Runner = in_virtual_time(stage, both)
    return found


async def first_position(stage: Stage) -> Any:
    """Wait for the first position; the symbol's record at the exchange."""
    while not list(stage.exchange.state.account.open_positions()):
        await asyncio.sleep(1.0)
    await asyncio.sleep(3.0)
    return next(iter(stage.exchange.state.account.open_positions()))


@pytest.mark.parametrize("share", ["-1", "-0.5", "0.5", "-2"])
def test_a_hand_that_closes_halves_adds_or_reverses_is_believed(tmp_path: Path, share: str) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        step = opened.runner.dealer.lots[position.symbol]
        qty = (position.qty * Decimal(share) // step) * step
        stage.control.trade(position.symbol, str(qty))

    stage.check(told(stage, story))


def test_a_stop_that_closes_what_a_hand_has_just_added_is_booked_whole(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        step = opened.runner.dealer.lots[position.symbol]
        stage.control.trade(position.symbol, str((position.qty / 2 // step) * step))
        (stop,) = stage.exchange.state.open_algos.values()
        price = stop.trigger_price * (Decimal("0.999") if stop.side == "SELL" else Decimal("1.001"))
        price = price.quantize(Decimal("0.01"))
        now_ns = stage.exchange.now_ms * 1_000_000
        stage.exchange.advance(Points(now_ns, (Point(position.symbol, price, price, Decimal(1)),)))
        await asyncio.sleep(5.0)
        assert not list(stage.exchange.state.account.open_positions())

    runner = told(stage, story)
    stage.check(runner)
    journal = open_journal(runner.folder / JOURNAL, read_only=True)
    ledger = journal.ledger()
    journal.close()
    assert [row for row in ledger if row["kind"] == "ADJUST"] == []
    assert sum(row["kind"] == "REALIZED_PNL" for row in ledger) == 1


def test_a_stop_cancelled_by_hand_is_placed_again_within_two_seconds(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        assert stage.control.cancel_algos(position.symbol) == 1

    runner = told(stage, story)
    stage.check(runner)
    assert [span for span in stage.unprotected() if span.ms > 2_000] == []
    assert len(stage.unprotected()) == 1


def test_a_stop_cancelled_by_hand_is_noticed_without_the_stream(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        stage.control.silence(part="private")
        stage.control.cancel_algos(position.symbol)

    stage.check(told(stage, story))


async def flat_and_in_sight(stage: Stage, opened: Any) -> None:
    """Wait until the session trades and nothing is held or on its way."""
    await asyncio.sleep(2.0)
    while list(stage.exchange.state.account.open_positions()) or not opened.runner.is_quiet:
        await asyncio.sleep(0.5)


def test_what_a_hand_opens_or_turns_round_unheard_gets_its_stop_within_the_bound(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        await flat_and_in_sight(stage, opened)
        stage.control.silence(part="private")
        stage.control.trade(SYMBOLS[1], "1")
        await asyncio.sleep(20.0)
        stage.control.trade(SYMBOLS[1], "-2")
        await asyncio.sleep(20.0)
        stage.control.silence(False, part="private")

    stage.check(told(stage, story))


def test_the_accounts_update_alone_tells_that_a_trade_is_missing(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    names: list[str] = []

    async def story(opened: Any, running: Any) -> None:
        await flat_and_in_sight(stage, opened)
        note = opened.runner.dealer.note
        opened.runner.dealer.note = lambda name, symbol, fields: names.append(name) or note(name, symbol, fields)
        deliver = stage.exchange.streams.deliver

        def without_trades(base: str, kind: str) -> Delivery:
            delivery = deliver(base, kind)
            return delivery._replace(copies=0) if kind == "ORDER_TRADE_UPDATE" else delivery

        stage.exchange.streams.deliver = without_trades
        stage.control.trade(SYMBOLS[1], "1")
        await asyncio.sleep(1.0)
        stage.exchange.streams.deliver = deliver

    stage.check(told(stage, story), longest_ms=1_000)
    assert names.count("UNTOLD") == 1


def test_an_update_of_the_account_that_comes_late_changes_nothing(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, plan=FaultPlan(seed=5, rates={"event_delay": 0.5, "event_reorder": 0.3}))
    names: list[str] = []

    async def story(opened: Any, running: Any) -> None:
        note = opened.runner.dealer.note
        opened.runner.dealer.note = lambda name, symbol, fields: names.append(name) or note(name, symbol, fields)

    runner = told(stage, story)
    stage.check(runner)
    assert adjustments(runner) == []
    assert "EXTERNAL" not in names


def test_orders_of_others_are_left_alone(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    foreign: list[int] = []

    async def story(opened: Any, running: Any) -> None:
        await first_position(stage)
        reply = await opened.client.call(
            "fapiPrivatePostOrder",
            {
                "symbol": SYMBOLS[0],
                "side": "BUY",
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": "1",
                "price": "96",
                "newClientOrderId": "by-hand-1",
            },
        )
        foreign.append(int(reply["orderId"]))

    runner = told(stage, story)
    assert foreign[0] in stage.exchange.state.open_orders
    stage.control.cancel_orders(SYMBOLS[0])
    stage.check(runner)


def test_an_expired_listen_key_is_replaced_and_entries_wait_meanwhile(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    held: list[str] = []
    states: list[State] = []

    async def story(opened: Any, running: Any) -> None:
        gateway = opened.runner.gateway
        whole = gateway.hold
        gateway.hold = lambda who, state, why: held.append(who) or whole(who, state, why)
        await first_position(stage)
        stage.control.expire_listen_key()
        await asyncio.sleep(5.0)
        states.append(gateway.state)

    runner = told(stage, story)
    assert runner.streams is not None
    assert runner.streams.user.opened == 2
    assert held[0] == "stream"
    assert states == [State.RUN]
    stage.check(runner)


@pytest.mark.parametrize("part", ["private", "market"])
def test_a_lost_connection_is_opened_again(tmp_path: Path, part: str) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        await first_position(stage)
        assert stage.control.disconnect(part) == 1

    runner = told(stage, story)
    assert runner.streams is not None
    assert (runner.streams.user if part == "private" else runner.streams.market).opened >= 2
    stage.check(runner)


def test_a_market_stream_that_falls_silent_is_noticed_and_bars_are_asked_for(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        await asyncio.sleep(150.0)
        stage.control.silence(part="market")

    runner = told(stage, story)
    assert runner.streams is not None
    assert runner.streams.market.opened >= 2
    opens = [int(row["ts_open"]) for row in runner.trader.source.bars[SYMBOLS[0]].rows]
    assert all(b - a == 60_000_000_000 for a, b in itertools.pairwise(opens))
    stage.check(runner)


def test_an_exchange_that_is_down_at_the_start_is_waited_for(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    start = stage.events[0].ts_ns // 1_000_000
    stage.exchange.faults.plan = FaultPlan(outages=((start, start + 90_000),))

    async def late() -> Runner:
        market = asyncio.ensure_future(play_through(stage))
        opened, running = await stage.open()
        await market
        await stage.close(opened, running)
        return opened.runner

    runner: Runner = in_virtual_time(stage, late)
    assert any("does not answer" in line for line in stage.told)
    stage.check(runner)


def test_maintenance_while_a_position_is_open_keeps_its_stop_and_ends_in_agreement(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    start = stage.events[0].ts_ns // 1_000_000
    stage.exchange.faults.plan = FaultPlan(outages=((start + 300_000, start + 480_000),))
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    stage.check(runner)


def test_a_trigger_that_gets_stuck_is_closed_by_another_stop_or_at_market(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, **{"exit.base_sl": 0.018, "exit.levels.sl.min": 0.017, "exit.base_tp": 0.05})
    stage.control.stick_next_trigger()

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        slot = opened.runner.dealer.slot_of((position.symbol, "BOTH"))
        stop = float(opened.runner.trader.session.positions[slot]["hard_price"])
        crash_to(stage, position.symbol, stop * 0.999 if position.qty > 0 else stop * 1.001)

    runner = told(stage, story)
    assert stage.exchange.faults.injected["stuck_trigger"] == 1
    stage.check(runner, longest_ms=40_000)


def crash_to(stage: Stage, symbol: str, price: float) -> None:
    """The market jumps now."""
    text = Decimal(str(round(price, 2)))
    stage.exchange.advance(Points(stage.exchange.now_ms * 1_000_000, (Point(symbol, text, text, Decimal(1)),)))


@pytest.mark.parametrize(
    "after_s", [245, 600, *(pytest.param(later, marks=pytest.mark.slow) for later in (240, 400, 900))]
)
def test_a_stop_of_the_program_leaves_hard_stops_and_takes_no_longer_than_ten_seconds(
    tmp_path: Path, after_s: int
) -> None:
    stage = make_stage(tmp_path)
    took: list[float] = []

    async def story(opened: Any, running: Any) -> None:
        await asyncio.sleep(after_s)
        before = asyncio.get_running_loop().time()
        opened.runner.end("a person ended it")
        await running
        await opened.runner.wind_down()
        took.append(asyncio.get_running_loop().time() - before)
        held = {p.symbol for p in stage.exchange.state.account.open_positions()}
        assert {algo.symbol for algo in stage.exchange.state.open_algos.values()} == held
        await close_session(opened)

    told(stage, story)
    assert took[0] <= 10.0


def test_foreign_trades_of_a_plan_are_booked_once(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    start = stage.events[0].ts_ns // 1_000_000
    actions = (
        ForeignAction(start + 30_000, "trade", SYMBOLS[1], "2"),
        ForeignAction(start + 400_000, "trade", SYMBOLS[1], "-2"),
    )
    stage = make_stage(tmp_path / "again", plan=FaultPlan(foreign=actions))
    stage.exchange._foreign = [(action.at_ms, action) for action in actions]
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    stage.check(runner)


def _events(runner: Runner, kind: str) -> list[Any]:
    journal = open_journal(runner.folder / JOURNAL, read_only=True)
    found = journal.events(kind)
    journal.close()
    return found


def _intents(runner: Runner) -> list[Intent]:
    journal = open_journal(runner.folder / JOURNAL, read_only=True)
    found = journal.intents()
    journal.close()
    return found
