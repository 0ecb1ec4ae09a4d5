"""More of the fault matrix, in virtual time: lagging queries, changed rules, no disk, refused keys, old journals."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.live import JOURNAL, live_params, order_lines
from qtsim.app.warm import Rehearsal
from qtsim.emulator import FaultPlan, Scripted
from qtsim.emulator.inprocess import Transport
from qtsim.emulator.virtual import VirtualClock
from qtsim.errors import UsageError
from qtsim.live.gateway import State
from qtsim.live.journal import Journal
from qtsim.live.runner import Runner
from tests.faults.test_live_faults import STOP, entries, first_position, told
from tests.live_rehearsal import ENVIRON
from tests.live_virtual import SYMBOLS, Stage, in_virtual_time, intents_in, make_stage, play_through, whole_session

LAG_MS = 30_000


# queries that lag ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("lost", [False, True])
def test_a_stop_that_queries_do_not_know_yet_is_not_placed_again_and_again(
    tmp_path: Path, lost: bool, lists: bool
) -> None:
    faults = (Scripted(*STOP, "drop_after"),) if lost else ()
    stage = make_stage(tmp_path, plan=FaultPlan(query_lag_ms=LAG_MS, lists_lag=lists, script=faults))
    most: list[int] = [0]

    async def story(opened: Any, running: Any) -> None:
        while not running.done():
            resting = [algo.symbol for algo in stage.exchange.state.open_algos.values()]
            most.append(max((resting.count(symbol) for symbol in SYMBOLS), default=0))
            await asyncio.sleep(0.25)

    runner = watched(stage, story)
    assert max(most) in (1, 2)
    stage.check(runner)


def watched(stage: Stage, story: Callable[[Any, asyncio.Task[None]], Any]) -> Runner:
    """As `told`, with a story that goes on until the session ends."""

    async def both() -> Runner:
        opened, running = await stage.open()
        beside = asyncio.ensure_future(story(opened, running))
        await play_through(stage)
        await stage.close(opened, running)
        await beside
        return opened.runner

    found: Runner = in_virtual_time(stage, both)
    return found


# rules that change ---------------------------------------------------------------------------------------------------


def test_a_symbol_that_is_being_delisted_is_only_left(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    seen: list[int] = []

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        change_rules(stage, position.symbol, status="SETTLING")
        await opened.runner.learn_rules()
        await asyncio.sleep(0.1)
        assert not opened.runner.gateway.filters[position.symbol].is_trading
        seen.append(len(of_symbol(stage, position.symbol)))
        await asyncio.sleep(900.0)
        seen.append(len(of_symbol(stage, position.symbol)))

    stage.check(told(stage, story))
    assert seen[0] == seen[1] == 1


def test_prices_and_quantities_follow_filters_that_change(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    names: list[str] = []

    async def story(opened: Any, running: Any) -> None:
        position = await first_position(stage)
        rules = stage.exchange.state.rules[position.symbol]
        change_rules(stage, position.symbol, tick=rules.tick * 10, step=rules.step / 10)
        await opened.runner.learn_rules()
        names.append(position.symbol)
        assert stage.control.cancel_algos(position.symbol) == 1  # its stop goes again, to the new tick

    runner = told(stage, story)
    stage.check(runner)
    assert runner.gateway.filters[names[0]].tick == stage.exchange.state.rules[names[0]].tick
    assert not runner.gateway.symbols_closed


def test_an_order_that_the_exchange_does_not_understand_makes_the_program_read_the_rules_again(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    coarse = {symbol: stage.exchange.state.rules[symbol].tick * 10 for symbol in SYMBOLS}

    async def story(opened: Any, running: Any) -> None:
        for symbol, tick in coarse.items():
            change_rules(stage, symbol, tick=tick)

    runner = told(stage, story)
    stage.check(runner)
    refused = {symbol for symbol in SYMBOLS if runner.gateway.filters[symbol].tick == coarse[symbol]}
    assert refused
    assert not runner.gateway.symbols_closed
    assert any(len(of_symbol(stage, symbol)) >= 2 for symbol in refused)


def of_symbol(stage: Stage, symbol: str) -> list[str]:
    """Entries that the exchange has filled in a symbol."""
    fills = stage.exchange.log.of("fill")
    return [one.data["client_id"] for one in fills if one.data["symbol"] == symbol and "-en-" in one.data["client_id"]]


def change_rules(stage: Stage, symbol: str, **changes: Any) -> None:
    """The exchange changes a symbol's filters or status."""
    rules = stage.exchange.state.rules
    rules[symbol] = replace(rules[symbol], **changes)


# the disk ------------------------------------------------------------------------------------------------------------


def full(journal: Journal) -> None:
    """Not a page more."""
    journal.commit()
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")


def read_only(journal: Journal) -> None:
    """As a file system that was mounted read-only after an error."""
    journal.commit()
    journal._db.execute("PRAGMA query_only = ON")


class FailingDisk:
    """A connection whose commits fail, as fsync does with EIO."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def commit(self) -> None:
        """What SQLite says where fsync fails."""
        raise sqlite3.OperationalError("disk I/O error")


def failing(journal: Journal) -> None:
    """Writes go, and none of them reaches the disk."""
    journal.commit()
    journal._db = FailingDisk(journal._db)  # type: ignore[assignment]


@pytest.mark.parametrize("breaks", [full, read_only, failing])
def test_without_a_disk_nothing_is_opened_and_what_is_open_is_protected_and_closed(
    tmp_path: Path, breaks: Callable[[Journal], None]
) -> None:
    stage = make_stage(tmp_path)
    lost: list[str] = []
    alerts: list[str] = []
    entered: list[int] = []

    async def story(opened: Any, running: Any) -> None:
        runner = opened.runner
        runner.log.alert = lambda event, text: alerts.append(text)
        position = await first_position(stage)
        breaks(opened.journal)
        for _ in range(120):
            await asyncio.sleep(1.0)
            if runner.gateway.state == State.EXIT_ONLY:
                break
        assert runner.gateway.state == State.EXIT_ONLY
        entered.append(len(entries(stage)))
        assert stage.control.cancel_algos(position.symbol) == 1  # another stop goes without its intent on the disk
        await asyncio.sleep(900.0)

    runner = told(stage, story)
    known = intents_in(runner.folder / JOURNAL)
    lost = [
        entry.data["client_id"]
        for entry in stage.exchange.log.of("request", "order", "algo")
        if entry.data.get("client_id", "").startswith("q") and entry.data["client_id"] not in known
    ]
    assert lost
    assert not [client_id for client_id in lost if "-en-" in client_id]
    assert len(entries(stage)) == entered[0]
    assert sum("cannot be written" in text for text in alerts) == 1
    stage.check(runner, lost_intents=lost)


def test_an_error_that_nobody_expects_from_the_disk_is_told_and_stops_entries(tmp_path: Path) -> None:
    """Commits come from timers too, which no task waits for."""
    stage = make_stage(tmp_path)
    alerts: list[str] = []

    async def story(opened: Any, running: Any) -> None:
        runner = opened.runner
        runner.log.alert = lambda event, text: alerts.append(text)
        await first_position(stage)

        def broken() -> None:
            raise RuntimeError("no such commit")

        runner.recorder.commit = broken
        await asyncio.sleep(10.0)
        assert runner.gateway.state == State.EXIT_ONLY
        assert "RuntimeError: no such commit" in alerts
        del runner.recorder.commit

    told(stage, story)


# the key -------------------------------------------------------------------------------------------------------------


def test_a_revoked_key_halts_with_an_alert_and_hard_stops_stay(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    alerts: list[str] = []
    resting: list[int] = []

    async def story(opened: Any, running: Any) -> None:
        opened.runner.log.alert = lambda event, text: alerts.append(text)
        await first_position(stage)
        stage.control.set_key(revoked=True)
        await asyncio.sleep(40.0)
        assert opened.runner.gateway.state == State.HALT
        held = len(list(stage.exchange.state.account.open_positions()))
        resting.append(len(stage.exchange.state.open_algos) - held)
        stage.control.set_key(revoked=False)

    runner = told(stage, story)
    assert resting == [0]
    assert sum("hard stops stay on the exchange" in text for text in alerts) == 1
    stage.check(runner)


def test_a_key_that_may_suddenly_withdraw_halts(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    alerts: list[str] = []

    async def story(opened: Any, running: Any) -> None:
        opened.runner.log.alert = lambda event, text: alerts.append(text)
        await first_position(stage)
        stage.control.set_key(can_withdraw=True)
        await opened.runner.learn_rules()
        await asyncio.sleep(1.0)
        assert opened.runner.gateway.state == State.HALT

    told(stage, story)
    assert sum("may move money out" in text for text in alerts) == 1
    held = {position.symbol for position in stage.exchange.state.account.open_positions()}
    assert {algo.symbol for algo in stage.exchange.state.open_algos.values()} == held


@pytest.mark.parametrize("wrong", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
def test_a_key_that_the_exchange_refuses_ends_the_start(tmp_path: Path, wrong: str, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    whole = Stage.world
    environ = {**ENVIRON, wrong: "of-somebody-else"}
    monkeypatch.setattr(Stage, "world", lambda self, transport: replace(whole(self, transport), environ=environ))
    with pytest.raises(UsageError, match=r"the exchange refuses the key .*nothing was sent"):
        in_virtual_time(stage, lambda: whole_session(stage))
    assert not list(stage.exchange.log.of("order", "algo"))


# states at the start -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_ms", [-60_000, 60_000])
def test_a_clock_that_is_a_minute_off_opens_nothing(tmp_path: Path, skew_ms: int, monkeypatch: Any) -> None:
    stage = make_stage(tmp_path)
    monkeypatch.setattr("tests.live_virtual.Transport", lambda exchange: Transport(exchange, VirtualClock(skew_ms)))
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    assert runner.exchange.offset_ms == -skew_ms
    assert any(f"clock {-skew_ms:+,d} ms" in line for line in stage.told)
    assert entries(stage) == []
    stage.check(runner)


def test_an_older_journal_ends_in_the_exchanges_truth(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    events = iter(stage.events)

    async def story() -> Runner:
        first, running = await stage.open()
        await play_until(stage, events, lambda: bool(list(stage.exchange.state.account.open_positions())))
        await stage.close(first, running)
        path = first.runner.folder / JOURNAL
        backup = path.with_name("backup")
        shutil.copy(path, backup)

        second, running = await stage.open()
        await play_until(stage, events, lambda: len(entries(stage)) >= 2)
        await asyncio.sleep(5.0)
        await stage.close(second, running)
        lost.extend(intents_in(path))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.move(backup, path)  # somebody has put an old copy back

        third, running = await stage.open()
        await play_through(stage, events)
        await stage.close(third, running)
        return third.runner

    lost: list[str] = []
    runner: Runner = in_virtual_time(stage, story)
    assert len(entries(stage)) >= 2
    assert runner.recorder.journal.epoch == 3
    stage.check(runner, lost_intents=lost)


async def play_until(stage: Stage, events: Any, is_over: Callable[[], bool]) -> None:
    """Let the market move until something has happened."""
    for event in events:
        await play_through(stage, [event], rest_s=0.0)
        if is_over():
            return
    raise AssertionError("it has not happened")


def test_more_leverage_than_the_bracket_allows_is_not_asked_for(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    for symbol in SYMBOLS:
        rules = stage.exchange.state.rules[symbol]
        brackets = tuple(one._replace(leverage=2.0) for one in rules.brackets)
        change_rules(stage, symbol, brackets=brackets)
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    assert entries(stage) == []
    trader = runner.trader
    records = trader.session.instruments[:: trader.session.width]
    rehearsal = Rehearsal(records, live_params(stage.resolved.settings), trader.source, trader.timing)
    for line in order_lines(rehearsal, SYMBOLS, 10_000.0):
        assert "no order at this equity: leverage above the bracket (3, limit 2)" in line
    stage.check(runner)
