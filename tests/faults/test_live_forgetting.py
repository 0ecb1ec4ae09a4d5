"""What is long over is forgotten, and what the exchange tells of it after that changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.live import JOURNAL
from qtsim.live import runner as running
from qtsim.live.dealer import execution_of
from qtsim.live.journal import Journal, open_journal
from qtsim.live.orders import AlgoUpdate, OrderState, OrderUpdate
from qtsim.live.runner import Runner
from tests.fault_scenes import play_scene, scene_of
from tests.live_virtual import in_virtual_time, make_stage, whole_session

SECOND, MINUTE = 1_000_000_000, 60_000_000_000


def journal_of(runner: Runner) -> Journal:
    return open_journal(runner.folder / JOURNAL, read_only=True)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is long over after a few seconds."""
    monkeypatch.setattr(running, "REMEMBERED_NS", SECOND)
    monkeypatch.setattr(running, "SETTLED_NS", SECOND)


@pytest.mark.usefixtures("soon")
def test_orders_and_trades_that_are_over_are_dropped_and_told_again_they_change_nothing(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    stage.check(runner)
    dealer, journal = runner.dealer, journal_of(runner)
    assert len(journal.intents()) > 4
    assert list(dealer.orders.values()) == dealer.live_orders()
    assert set(dealer.by_order_id.values()) <= set(dealer.orders)
    fills = [execution_of(row) for row in journal.fills()]
    assert len(fills) > 4
    assert not dealer.trades
    book, number = dict(dealer.book), dealer.journal.next_intent
    for one in fills:  # the journal is closed: whatever were written now would fail
        state = OrderState(one.symbol, one.client_id, one.order_id, "FILLED", one.qty)
        dealer.on_order(OrderUpdate(state, one.ts, one))
        dealer.on_algo(AlgoUpdate(OrderState(one.symbol, one.client_id, one.order_id, "CANCELED"), one.ts))
    assert (dealer.book, dealer.out, dealer.journal.next_intent) == (book, [], number)


def test_within_the_hour_every_order_is_remembered_and_after_minutes_no_trade_is_asked_for_again(
    tmp_path: Path,
) -> None:
    stage = make_stage(tmp_path)
    runner: Runner = in_virtual_time(stage, lambda: whole_session(stage))
    journal = journal_of(runner)
    assert {intent.client_id for intent in journal.intents()} == set(runner.dealer.orders)
    fills = [execution_of(row) for row in journal.fills()]
    end = stage.exchange.now_ms * 1_000_000
    old = {(one.symbol, one.exchange_id) for one in fills if one.ts < end - 15 * MINUTE}
    new = {(one.symbol, one.exchange_id) for one in fills if one.ts > end - 10 * MINUTE}
    assert old
    assert new
    assert new <= runner.dealer.trades
    assert not old & runner.dealer.trades
    assert all(trade_id <= runner.cursors[symbol] for symbol, trade_id in old)
    assert all(trade_id > runner.cursors[symbol] for symbol, trade_id in new)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("seed", range(6))
def test_scenes_of_faults_end_as_they_should_where_everything_is_forgotten_soon(tmp_path: Path, seed: int) -> None:
    outcome = play_scene(scene_of(seed), tmp_path)
    assert not outcome.failure, f"{outcome.scene}: {outcome.failure}"
