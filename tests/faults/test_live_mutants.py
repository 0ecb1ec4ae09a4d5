"""Deliberate breakages, one by one: each must be caught by what the other tests check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.app.live import JOURNAL, state_folder
from qtsim.emulator import FaultPlan, Scripted
from qtsim.emulator.oracle import REQUEST
from qtsim.live import dealer, reconcile
from qtsim.live.binance import exchange
from qtsim.live.dealer import Dealer
from qtsim.live.gateway import Gateway
from qtsim.live.ids import is_ours, session_tag
from qtsim.live.orders import QueryFailedError, Reply, Tracked
from qtsim.live.outcomes import Outcome, Remedy, classify
from qtsim.live.reconcile import MissedTrade, StopMissing
from qtsim.live.snapshot import Resting, Snapshot
from qtsim.live.weights import Budget
from tests.faults import test_live_limit_entries as limits
from tests.faults.test_live_faults import ENTRY, EXIT, STOP, adjustments, first_position, run, script, told
from tests.live_virtual import SYMBOLS, in_virtual_time, intents_in, make_stage, whole_session

Patch = Callable[[pytest.MonkeyPatch], None]
Scene = Callable[[Path], None]
TAG = session_tag("main")


# scenes: what a test checks ------------------------------------------------------------------------------------------


def checked(plan: FaultPlan | None, longest_ms: int = 10_000, **more: Any) -> Scene:
    """A whole session under a plan, and all invariants."""

    def scene(tmp_path: Path) -> None:
        stage, runner = run(tmp_path, plan, **more)
        stage.check(runner, longest_ms=longest_ms)
        assert adjustments(runner) == [], "the books were wrong for a while"

    return scene


def by_hand(action: Callable[[Any, Any], Any], longest_ms: int = 10_000) -> Scene:
    """Somebody at the exchange, once a position is open."""

    def scene(tmp_path: Path) -> None:
        stage = make_stage(tmp_path)

        async def story(opened: Any, running: Any) -> None:
            position = await first_position(stage)
            found = action(stage, position)
            if asyncio.iscoroutine(found):
                await found

        stage.check(told(stage, story), longest_ms=longest_ms)

    return scene


def on_the_disk_when_they_arrive(tmp_path: Path) -> None:
    """Another reader of the journal finds the intent of every order at the moment at which the exchange sees it."""
    stage = make_stage(tmp_path)
    journal = state_folder(stage.workspace, "main") / JOURNAL
    arrived: list[str] = []
    late: list[str] = []
    note = stage.exchange.state.note

    def noted(kind: str, **data: Any) -> None:
        if kind == REQUEST and is_ours(data["client_id"], TAG):
            arrived.append(data["client_id"])
            late.extend({data["client_id"]} - set(intents_in(journal)))
        note(kind, **data)

    stage.exchange.state.note = noted  # type: ignore[method-assign]
    in_virtual_time(stage, lambda: whole_session(stage))
    assert len(arrived) >= 4
    assert late == []


def cancels_the_stop_unheard(stage: Any, position: Any) -> None:
    """A hand cancels the stop while the account's stream is silent."""
    stage.control.silence(part="private")
    stage.control.cancel_algos(position.symbol)


def foreign_order_stays(tmp_path: Path) -> None:
    """An order of others is there after a reconcile."""
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
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
        await asyncio.sleep(70.0)
        assert int(reply["orderId"]) in stage.exchange.state.open_orders

    told(stage, story)


def newer_program_stops_this_one(tmp_path: Path) -> None:
    """A newer epoch on the account ends the session."""
    stage = make_stage(tmp_path)
    whys: list[str] = []

    async def story(opened: Any, running: Any) -> None:
        await opened.client.call(
            "fapiPrivatePostOrder",
            {
                "symbol": SYMBOLS[1],
                "side": "BUY",
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": "1",
                "price": "190",
                "newClientOrderId": f"q{opened.runner.dealer.tag}-0009-00000001-en-0",
            },
        )
        await asyncio.sleep(70.0)
        whys.append(opened.runner.gateway.why)

    told(stage, story)
    assert "newer program" in whys[0]


# breakages -----------------------------------------------------------------------------------------------------------


def sends_before_the_journal(patch: pytest.MonkeyPatch) -> None:
    def write(self: Dealer, order: Tracked) -> str:
        self.journal.skip_intent()
        return ""

    patch.setattr(Dealer, "_write", write)


def orders_leave_before_their_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dealer, "_commit_intents", lambda self: "")


def unknown_is_failed(patch: pytest.MonkeyPatch) -> None:
    def hasty(answer: Any) -> tuple[Outcome, Remedy]:
        outcome, remedy = classify(answer)
        return (Outcome.REJECTED, Remedy.NONE) if outcome is Outcome.UNKNOWN else (outcome, remedy)

    patch.setattr(exchange, "classify", hasty)
    patch.setattr(Dealer, "on_order", lambda self, update: None)
    patch.setattr(reconcile, "missed_trades", lambda local, snapshot, rules: [])


def entries_of_unknown_outcome_are_sent_again(patch: pytest.MonkeyPatch) -> None:
    place = Dealer._place

    async def again(self: Dealer, order: Tracked) -> Reply:
        reply = await place(self, order)
        if reply.outcome is Outcome.UNKNOWN and order.is_entry:
            order.request = replace(order.request, client_id=order.client_id[:-1] + "1")
            return await place(self, order)
        return reply

    patch.setattr(Dealer, "_place", again)


def exits_do_not_only_reduce(patch: pytest.MonkeyPatch) -> None:
    place = Dealer._place

    async def twice_as_much(self: Dealer, order: Tracked) -> Reply:
        if order.kind.is_exit and order.request.qty:
            qty = str(2 * float(order.request.qty))
            order.request = replace(order.request, reduce_only=False, qty=f"{float(qty):.3f}")
        return await place(self, order)

    patch.setattr(Dealer, "_place", twice_as_much)


def an_acknowledgement_is_taken_for_a_fill(patch: pytest.MonkeyPatch) -> None:
    see = Dealer._see

    def wishful(self: Dealer, order: Tracked, state: Any) -> None:
        see(self, order, replace(state, executed=order.request.qty or "0", status="FILLED"))

    def whole(self: Tracked) -> bool:
        return self.is_over and bool(self.executions)

    patch.setattr(Dealer, "_see", wishful)
    patch.setattr(Tracked, "is_whole", property(whole))
    patch.setattr(Dealer, "_fill_of", _filled_as_asked(Dealer._fill_of))


def _filled_as_asked(fill_of: Any) -> Any:
    def made(self: Dealer, order: Tracked) -> Any:
        fill = fill_of(self, order)
        fill.record["lots"] = order.lots
        return fill

    return made


def executions_are_booked_twice(patch: pytest.MonkeyPatch) -> None:
    execute = Dealer.execute

    def again(self: Dealer, execution: Any) -> None:
        known = (execution.symbol, execution.exchange_id) in self.trades
        execute(self, execution)
        if known:
            key = (execution.symbol, execution.position_side)
            self.book[key] += dealer.signed_lots(execution, self.lots[execution.symbol])
            self._foreign(execution)

    patch.setattr(Dealer, "execute", again)


def executions_are_known_by_their_order(patch: pytest.MonkeyPatch) -> None:
    execute = Dealer.execute

    def by_order(self: Dealer, execution: Any) -> None:
        execute(self, replace(execution, exchange_id=execution.order_id % 2))

    patch.setattr(Dealer, "execute", by_order)


def a_failed_question_means_flat(patch: pytest.MonkeyPatch) -> None:
    whole = exchange.BinanceExchange.snapshot

    async def hopeful(self: Any, symbols: list[str], since: dict[str, int], **more: Any) -> Snapshot:
        try:
            return await whole(self, symbols, since, **more)
        except QueryFailedError:
            return Snapshot(self.now_ms() * 1_000_000, {}, ())

    patch.setattr(exchange.BinanceExchange, "snapshot", hopeful)


def the_hard_stop_goes_before_the_position(patch: pytest.MonkeyPatch) -> None:
    exit_ = Dealer._exit

    def early(self: Dealer, intent: Any) -> None:
        order = self.orders.get(self.stops.pop(intent.slot, ""))
        if order is not None:
            order.status = "done"
            self._spawn(self._cancel_tracked(order))
        exit_(self, intent)

    patch.setattr(Dealer, "_exit", early)


def conditional_orders_are_not_listened_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dealer, "on_algo", lambda self, update: None)
    patch.setattr(reconcile, "missing_stops", lambda local, snapshot, rules: [])
    nobody_looks_between_comparisons(patch)


def missing_stops_are_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    apply = reconcile.diff
    patch.setattr(
        "qtsim.live.runner.diff",
        lambda local, snapshot, rules: [e for e in apply(local, snapshot, rules) if not isinstance(e, StopMissing)],
    )
    nobody_looks_between_comparisons(patch)


def missed_trades_are_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    apply = reconcile.diff

    async def nothing(self: Any, symbol: str, order_id: int) -> list[Any]:
        return []

    patch.setattr(exchange.BinanceExchange, "executions_of", nothing)
    patch.setattr(
        "qtsim.live.runner.diff",
        lambda local, snapshot, rules: [e for e in apply(local, snapshot, rules) if not isinstance(e, MissedTrade)],
    )


def a_ban_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Budget, "wait_s", lambda self, weight, now_ms, protective=False: 0.0)


def orders_of_others_are_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    strays = reconcile.strays
    patch.setattr(
        reconcile,
        "strays",
        lambda local, snapshot, rules: strays(local, snapshot, replace(rules, cleanup_foreign=True)),
    )


def a_newer_program_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "foreign_epochs", lambda snapshot, rules: [])


def a_refused_stop_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dealer, "_stop_refused", lambda self, order, reply: self._end(order, reply.text))
    patch.setattr(Dealer, "cover", lambda self, held: None)
    patch.setattr("qtsim.live.runner.Runner._protect", lambda self, event: None)


def nobody_looks_between_comparisons(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("qtsim.live.runner.LOOK_EVERY_S", 10_000.0)


def a_refusal_for_load_is_final(patch: pytest.MonkeyPatch) -> None:
    place = exchange.BinanceExchange.place

    async def resigned(self: Any, request: Any) -> Reply:
        reply = await place(self, request)
        return replace(reply, remedy=Remedy.NONE) if reply.remedy is Remedy.WAIT else reply

    patch.setattr(exchange.BinanceExchange, "place", resigned)
    patch.setattr(Dealer, "close_at_market", lambda self, *args, **more: None)
    patch.setattr(Dealer, "cover", lambda self, held: None)
    patch.setattr("qtsim.live.runner.Runner._protect", lambda self, event: None)


def the_gateway_lets_everything_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gateway, "_why_not", lambda self, module, request, price: "")


def shadow_sends_nothing(tmp_path: Path) -> None:
    """In shadow mode nothing leaves."""
    stage = make_stage(tmp_path)

    async def story(opened: Any, running: Any) -> None:
        opened.runner.gateway.sends = False

    told(stage, story)
    assert not list(stage.exchange.log.of("order", "algo"))


def adds_unheard(stage: Any, position: Any) -> None:
    """A hand opens the other symbol while the account's stream is silent."""
    stage.control.silence(part="private")
    other = next(symbol for symbol in SYMBOLS if symbol != position.symbol)
    stage.control.trade(other, "1")


async def go_down(stage: Any, position: Any) -> None:
    """Nobody answers for a while."""
    stage.control.set_down(True)
    await asyncio.sleep(90.0)
    stage.control.set_down(False)


def reverse(stage: Any, position: Any) -> None:
    """A hand turns the position round: the stop that rests is on the wrong side."""
    stage.control.trade(position.symbol, f"{-2 * position.qty}")


def a_standing_entry(test: Callable[..., None], **more: Any) -> Scene:
    """A test of limit entries as a scene."""
    return lambda tmp_path: test(tmp_path, **more)


def entries_are_not_called_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dealer, "recall", lambda self, slot: None)


def a_cancel_is_sent_once(patch: pytest.MonkeyPatch) -> None:
    async def once(self: Dealer, order: Tracked) -> None:
        await self.exchange.cancel(Resting(order.symbol, order.client_id, order.order_id, "", "", is_algo=False))

    patch.setattr(Dealer, "_call_back", once)


def parts_are_told_once_all_are_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dealer, "_give_part", lambda self, order, execution: None)


def entries_stand_until_somebody_cancels_them(patch: pytest.MonkeyPatch) -> None:
    place = exchange.BinanceExchange._change

    async def for_ever(self: Any, method: str, params: dict[str, Any], read: Any, **more: Any) -> Reply:
        kept = {name: value for name, value in params.items() if name != "goodTillDate"}
        if "goodTillDate" in params:
            kept["timeInForce"] = "GTC"
        return await place(self, method, kept, read, **more)

    patch.setattr(exchange.BinanceExchange, "_change", for_ever)


def parts_of_the_dead_program_are_taken_for_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dealer, "_tell_again", lambda self, order, told: None)
    patch.setattr(reconcile, "missed_trades", lambda local, snapshot, rules: [])


def entries_without_a_journal_are_left_standing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "strays", lambda local, snapshot, rules: [])


def what_was_called_back_is_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    async def nothing(runner: Any) -> None:
        return

    patch.setattr("qtsim.app.live._match_entries", nothing)


def entries_stand_on_while_none_may_be_made(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("qtsim.live.runner.Runner.withdraw_if_held", lambda self: None)


def entries_stand_where_others_trade(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("qtsim.live.runner.Runner.withdraw", lambda self, slot: None)


LOST_ANSWERS = FaultPlan(script=(Scripted(*ENTRY, "drop_after"),), rates={"event_drop": 1.0})
MUTANTS: list[tuple[Patch, Scene]] = [
    (sends_before_the_journal, checked(None)),
    (orders_leave_before_their_commit, on_the_disk_when_they_arrive),
    (unknown_is_failed, checked(script(ENTRY, "unknown_503", executes=True))),
    (entries_of_unknown_outcome_are_sent_again, checked(script(ENTRY, "unknown_503", executes=True))),
    (exits_do_not_only_reduce, checked(None)),
    (an_acknowledgement_is_taken_for_a_fill, checked(script(ENTRY, "partial", share=0.5))),
    (executions_are_booked_twice, checked(FaultPlan(seed=1, rates={"event_duplicate": 0.5}))),
    (executions_are_known_by_their_order, checked(None, seed=23)),
    (a_failed_question_means_flat, by_hand(go_down)),
    (the_hard_stop_goes_before_the_position, checked(None, longest_ms=1_000)),
    (
        conditional_orders_are_not_listened_to,
        by_hand(lambda stage, position: stage.control.cancel_algos(position.symbol)),
    ),
    (
        missing_stops_are_not_looked_for,
        by_hand(cancels_the_stop_unheard),
    ),
    (nobody_looks_between_comparisons, by_hand(adds_unheard)),
    (missed_trades_are_not_asked_for, checked(LOST_ANSWERS)),
    (a_ban_is_ignored, checked(script(EXIT, "http_418"))),
    (orders_of_others_are_taken_for_ours, foreign_order_stays),
    (a_newer_program_is_overlooked, newer_program_stops_this_one),
    (a_refused_stop_is_forgotten, checked(script(STOP, "reject", code=-1111))),
    (a_refusal_for_load_is_final, checked(script(STOP, "unavailable_503"))),
    (the_gateway_lets_everything_pass, shadow_sends_nothing),
    (entries_are_not_called_back, a_standing_entry(limits.test_an_entry_times_out_with_its_bar_and_is_cancelled)),
    (
        a_cancel_is_sent_once,
        a_standing_entry(
            limits.test_a_cancel_is_repeated_until_the_exchange_says_how_the_order_ended, kind="unavailable_503"
        ),
    ),
    (
        parts_are_told_once_all_are_there,
        a_standing_entry(limits.test_each_part_counts_at_once_and_the_first_brings_the_stop),
    ),
    (
        entries_stand_until_somebody_cancels_them,
        a_standing_entry(limits.test_an_entry_leaves_as_a_limit_order_that_ends_by_itself_and_holds_nothing_up),
    ),
    (
        parts_of_the_dead_program_are_taken_for_told,
        a_standing_entry(limits.test_an_entry_that_stands_is_taken_up_by_the_next_program),
    ),
    (
        entries_without_a_journal_are_left_standing,
        a_standing_entry(limits.test_an_entry_of_which_no_journal_tells_is_cancelled),
    ),
    (
        what_was_called_back_is_forgotten_by_a_restart,
        a_standing_entry(limits.test_an_entry_that_was_called_back_before_the_crash_is_cancelled_after_it),
    ),
    (
        entries_stand_on_while_none_may_be_made,
        a_standing_entry(limits.test_where_no_entry_may_be_made_none_goes_on_standing),
    ),
    (
        entries_stand_where_others_trade,
        a_standing_entry(limits.test_an_entry_is_withdrawn_where_somebody_else_trades, share="1"),
    ),
]


@pytest.mark.parametrize(("breakage", "scene"), MUTANTS, ids=[one.__name__ for one, _ in MUTANTS])
def test_a_breakage_is_caught(tmp_path: Path, breakage: Patch, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    breakage(monkeypatch)
    with pytest.raises((AssertionError, ValueError, ZeroDivisionError, KeyError)):
        scene(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scene", list({id(s): s for _, s in MUTANTS}.values()), ids=[one.__name__ for one, _ in MUTANTS]
)
def test_the_same_scene_passes_unbroken(tmp_path: Path, scene: Scene) -> None:
    scene(tmp_path)
