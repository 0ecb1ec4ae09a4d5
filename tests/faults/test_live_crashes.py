"""A program that is killed at every point at which it touches its journal or the exchange, and started again."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.live import JOURNAL, close_session
from qtsim.errors import QtsimError
from qtsim.live.journal import open_journal
from qtsim.live.runner import Runner
from tests.live_virtual import (
    Crash,
    CrashedError,
    Stage,
    in_virtual_time,
    intents_in,
    kill,
    make_stage,
    play_through,
    whole_session,
)

RESTART_S = 5.0
"""A supervisor's pause before it starts the program again."""
LONGEST_MS = 30_000
"""Without a stop after a crash, with a supervisor and no guardian."""


async def crash_and_restart(stage: Stage, crash: Crash) -> Runner:
    """One market; the program dies at its point, and another one goes on where it was."""
    market = asyncio.ensure_future(play_through(stage))
    died = asyncio.ensure_future(crash.happened.wait())
    try:
        opened, running = await stage.open(crash)
        await asyncio.wait({market, died}, return_when=asyncio.FIRST_COMPLETED)
        if crash.happened.is_set():
            await kill(opened, running)
    except (QtsimError, CrashedError):
        assert crash.happened.is_set()  # it died while it started
    if crash.happened.is_set():
        await asyncio.sleep(RESTART_S)
        opened, running = await stage.open()
    died.cancel()
    await market
    await stage.close(opened, running)
    return opened.runner


def points_of(tmp_path: Path) -> list[str]:
    """The crash points of a whole session."""
    crash = Crash()
    stage = make_stage(tmp_path)
    in_virtual_time(stage, lambda: crash_and_restart(stage, crash))
    return crash.names


def crash_at(tmp_path: Path, at: int) -> tuple[Stage, Runner]:
    """A session that dies at one point."""
    stage = make_stage(tmp_path)
    runner: Runner = in_virtual_time(stage, lambda: crash_and_restart(stage, Crash(at)))
    return stage, runner


def interesting(names: list[str]) -> list[int]:
    """Every point around a request or an intent, and some of the commits between them."""
    found = [k for k, name in enumerate(names, 1) if "commit" not in name]
    return sorted({*found, *(k + 1 for k in found), *range(1, len(names), max(1, len(names) // 12))} - {len(names) + 1})


def test_there_are_enough_points_for_the_test_to_mean_something(tmp_path: Path) -> None:
    names = points_of(tmp_path)
    assert len(names) >= 40
    assert {"before write_intent", "after write_intent", "before POST", "after POST", "before commit"} <= set(names)
    assert len(interesting(names)) >= 40


PARTS = 24
USUAL = (0, 8, 16)
"""Parts that every run of the suite goes through; `pytest -m slow` goes through the others."""


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[] if part in USUAL else [pytest.mark.slow]) for part in range(PARTS)]
)
def test_killed_anywhere_it_converges_to_the_exchanges_truth(tmp_path: Path, part: int) -> None:
    names = points_of(tmp_path / "points")
    for at in interesting(names)[part::PARTS]:
        stage, runner = crash_at(tmp_path / f"at{at}", at)
        with_place = f"killed {names[at - 1]} (point {at})"
        try:
            stage.check(runner, longest_ms=LONGEST_MS)
        except AssertionError as error:
            raise AssertionError(f"{with_place}: {error}") from error


def test_a_restart_with_an_open_position_changes_nothing_however_often(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    counts: list[int] = []

    async def restart_often() -> Runner:
        market = asyncio.ensure_future(play_through(stage))
        opened, running = await stage.open()
        while not list(stage.exchange.state.account.open_positions()):
            await asyncio.sleep(1.0)
        await asyncio.sleep(2.0)
        for _ in range(10):
            await kill(opened, running)
            opened, running = await stage.open()
            counts.append(len(opened.journal.fills()) + len(opened.journal.ledger()))
            assert opened.runner.trader.session.is_open(0) or opened.runner.trader.session.is_open(1)
        await market
        await stage.close(opened, running)
        return opened.runner

    runner: Runner = in_virtual_time(stage, restart_often)
    assert len(set(counts)) == 1
    stage.check(runner)
    assert any(line.startswith("Recovered BTCUSDT: ") for line in stage.told)


def test_positions_are_recovered_with_the_exchanges_entry_price_where_the_journal_is_lost(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    entry_prices: list[tuple[float, float]] = []
    lost: list[str] = []

    async def lose_the_journal() -> Runner:
        market = asyncio.ensure_future(play_through(stage))
        opened, running = await stage.open()
        while not list(stage.exchange.state.account.open_positions()):
            await asyncio.sleep(1.0)
        await asyncio.sleep(30.0)
        folder = opened.runner.folder
        await kill(opened, running)
        for path in folder.glob("journal.sqlite*"):
            lost.extend(intents_in(path))
            path.write_bytes(b"torn" * 1000)
        opened, running = await stage.open()
        (held, *_) = list(stage.exchange.state.account.open_positions())
        slot = opened.runner.dealer.slot_of((held.symbol, "BOTH"))
        assert slot is not None
        position = opened.runner.trader.session.positions[slot]
        entry_prices.append((float(position["entry_price"]), float(held.entry_price)))
        await market
        await stage.close(opened, running)
        return opened.runner

    runner: Runner = in_virtual_time(stage, lose_the_journal)
    assert entry_prices[0][0] == entry_prices[0][1]
    assert any("put aside" in line for line in stage.told)
    assert any("rebuilt from the exchange" in line for line in stage.told)
    assert lost
    stage.check(runner, lost_intents=lost)
    journal = open_journal(runner.folder / JOURNAL, read_only=True)
    booked = [(row["symbol"], row["exchange_id"], row["qty"], row["price"]) for row in journal.fills()]
    journal.close()
    trades = [(one.order.symbol, one.id, one.qty, one.price) for one in stage.exchange.state.trades]
    found = sorted((symbol, number, Decimal(qty), Decimal(price)) for symbol, number, qty, price in booked)
    assert found == sorted(trades)


def test_the_governors_base_survives_a_crash(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    bases: list[float] = []

    async def twice() -> None:
        market = asyncio.ensure_future(play_through(stage))
        for _ in range(2):
            opened, running = await stage.open()
            await asyncio.sleep(400.0)
            bases.append(float(opened.runner.trader.session.governor[0]["base_equity"]))
            await kill(opened, running)
        market.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await market

    in_virtual_time(stage, twice)
    assert bases[0] == bases[1] == 10_000.0


def test_the_same_faults_give_the_same_commands(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        stage = make_stage(tmp_path / name)
        in_virtual_time(stage, lambda stage=stage: whole_session(stage))
        logs.append([(e.ts_ms, e.kind, dict(e.data)) for e in stage.exchange.log.of("order", "fill", "algo")])
    assert logs[0] == logs[1]


def test_a_second_program_is_refused(tmp_path: Path) -> None:
    from qtsim.errors import UsageError

    stage = make_stage(tmp_path)

    async def two() -> None:
        opened, running = await stage.open()
        with pytest.raises(UsageError, match="session main is running already"):
            await stage.open()
        await stage.close(opened, running)

    in_virtual_time(stage, two)


def test_a_program_that_finds_a_newer_one_on_the_account_stops(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)

    async def paused_and_overtaken() -> str:
        market = asyncio.ensure_future(play_through(stage))
        opened, running = await stage.open()
        await asyncio.sleep(300.0)
        await opened.client.call(
            "fapiPrivatePostOrder",
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": "1",
                "price": "96",
                "newClientOrderId": f"q{opened.runner.dealer.tag}-0009-00000001-en-0",
            },
        )
        await running
        why = opened.runner.why
        await opened.runner.wind_down()
        await close_session(opened)
        market.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await market
        return why

    assert "a newer program trades this account" in in_virtual_time(stage, paused_and_overtaken)


def test_after_a_crash_nothing_that_the_dead_program_does_arrives() -> None:
    crash = Crash(1)
    with pytest.raises(CrashedError):
        crash.step("one")
    with pytest.raises(CrashedError):
        crash.step("two")
    assert crash.points == 1
