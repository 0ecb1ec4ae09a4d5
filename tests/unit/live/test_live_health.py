"""Health from measurements; weights and bans; commands; the gateway."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from qtsim.core.enums import Action, Health, Reason
from qtsim.live.commands import Command, leave_command, take_commands
from qtsim.live.gateway import Gateway, State
from qtsim.live.health import Measured, examine, health_of
from qtsim.live.kinds import OWNED, Module, OrderKind
from qtsim.live.log import name_of
from qtsim.live.orders import OrderRequest
from qtsim.live.precision import Filters
from qtsim.live.weights import Budget

WELL = Measured(True, 50.0, 80.0, 0.0, 1_000.0, 10.0, 0.5, 15.0, True, 0.5, 2.0, 500.0)


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({}, Health.HEALTHY),
        ({"ping_ms": 600.0}, Health.DEGRADED),
        ({"latency_ms": 1_500.0}, Health.DEGRADED),
        ({"error_share": 0.06}, Health.DEGRADED),
        ({"cpu_share": 0.9}, Health.DEGRADED),
        ({"memory_share": 0.95}, Health.DEGRADED),
        ({"disk_free_share": 0.01}, Health.DEGRADED),
        ({"reachable": False}, Health.CRITICAL),
        ({"stream_up": False}, Health.CRITICAL),
        ({"data_age_s": 16.0}, Health.CRITICAL),
        ({"bar_age": 2.5}, Health.CRITICAL),
        ({"balance": 99.0}, Health.CRITICAL),
        ({"clock_offset_ms": -600.0}, Health.CRITICAL),
    ],
)
def test_health(changes: dict[str, object], health: Health) -> None:
    findings = examine(replace(WELL, **changes))
    assert health_of(findings) is health
    assert len(findings) == bool(changes)


def test_ordinary_requests_leave_a_fifth_of_the_weight_to_protection() -> None:
    budget = Budget(100)
    assert budget.wait_s(80, 0) == 0.0
    assert budget.wait_s(1, 1_000) == 59.0
    assert budget.wait_s(20, 1_000, protective=True) == 0.0
    assert budget.wait_s(1, 1_000, protective=True) == 59.0
    assert budget.wait_s(1, 60_000) == 0.0


def test_the_exchanges_own_count_counts() -> None:
    budget = Budget(100)
    assert budget.wait_s(1, 0) == 0.0
    budget.note({"x-mbx-used-weight-1m": "79"}, 0)
    assert budget.wait_s(1, 0) == 0.0
    assert budget.wait_s(1, 0) == 60.0


def test_nothing_is_sent_in_a_ban_and_only_protection_when_asked_to_slow_down() -> None:
    budget = Budget()
    budget.note_ban(418, "banned until 1700000000000", {}, 1_699_999_990_000)
    assert budget.is_banned(1_699_999_999_999)
    assert budget.wait_s(1, 1_699_999_995_000, protective=True) == 5.0
    assert not budget.is_banned(1_700_000_000_000)
    slow = Budget()
    slow.note_ban(429, "", {"retry-after": "7"}, 0)
    assert not slow.is_banned(1)
    assert slow.wait_s(1, 0) == 7.0
    assert slow.wait_s(1, 0, protective=True) == 0.0
    unsaid = Budget()
    unsaid.note_ban(418, "", {}, 0)
    assert unsaid.is_banned(119_999)


def test_commands_are_obeyed_once_and_in_order(tmp_path: Path) -> None:
    assert take_commands(tmp_path) == []
    leave_command(tmp_path, Command("resume", "BTCUSDT"), 2)
    leave_command(tmp_path, Command("kill", flatten=True), 1)
    (tmp_path / "commands" / "3.json").write_text("{torn")
    assert take_commands(tmp_path) == [Command("kill", flatten=True), Command("resume", "BTCUSDT")]
    assert take_commands(tmp_path) == []


FILTERS = Filters("BTCUSDT", *(Decimal("0.1"),) * 4, Decimal(100), Decimal(5))


def request(kind: OrderKind, **changes: object) -> OrderRequest:
    first = OrderRequest("id", kind, "BTCUSDT", "BUY", "BOTH", qty="1", reduce_only=kind.is_exit)
    return replace(first, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", OrderKind)
@pytest.mark.parametrize("module", Module)
def test_only_the_owner_of_a_kind_may_send_it(module: Module, kind: OrderKind) -> None:
    gateway = Gateway({"BTCUSDT": FILTERS})
    why = gateway.refusal(module, request(kind), 100.0)
    assert (why == "") == (kind in OWNED[module])
    assert sum(gateway.counts().values()) == 1


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request(OrderKind.SL_MARKET, reduce_only=False), "must reduce"),
        (request(OrderKind.SL_MARKET, position_side="SHORT"), "exclude each other"),
        (request(OrderKind.SL_MARKET, symbol="XUSDT"), "not traded here"),
    ],
)
def test_an_exit_that_could_open_is_refused(asked: OrderRequest, why: str) -> None:
    assert why in Gateway({"BTCUSDT": FILTERS}).refusal(Module.EXIT_ENGINE, asked, 100.0)


def test_entries_stop_while_anybody_has_a_reason_and_exits_go_on() -> None:
    gateway = Gateway({"BTCUSDT": FILTERS})
    assert gateway.hold("data", State.NO_ENTRY, "old prices")
    assert not gateway.hold("data", State.NO_ENTRY, "old prices")
    gateway.hold("dispute", State.NO_ENTRY, "quantities differ")
    assert "old prices; quantities differ" in gateway.refusal(Module.ENTRIES, request(OrderKind.ENTRY), 100.0)
    assert gateway.refusal(Module.EXIT_ENGINE, request(OrderKind.SL_MARKET), 100.0) == ""
    assert gateway.free("data")
    assert gateway.state is State.NO_ENTRY
    gateway.free("dispute")
    assert gateway.refusal(Module.ENTRIES, request(OrderKind.ENTRY), 100.0) == ""
    gateway.hold("key", State.HALT, "no key")
    assert "halted" in gateway.refusal(Module.EXIT_ENGINE, request(OrderKind.SL_MARKET), 100.0)


def test_shadow_sends_nothing() -> None:
    gateway = Gateway({"BTCUSDT": FILTERS}, sends=False)
    for module, kind in ((Module.ENTRIES, OrderKind.ENTRY), (Module.PROTECTION, OrderKind.HARD_SL)):
        assert gateway.refusal(module, request(kind), 100.0) == "shadow: nothing is sent"


@pytest.mark.parametrize(
    ("action", "reason", "name"),
    [
        (Action.INIT_NEW_POSITION, Reason.ENTRY, "ADAPTIVE_LEVELS"),
        (Action.PARTIAL_CLOSE, Reason.TP1, "EXIT_TP_ORDER"),
        (Action.FULL_EXIT_NOW, Reason.STOP, "EXIT_SL_ORDER"),
        (Action.FULL_EXIT_NOW, Reason.LOSS_GUARD, "EXIT_LOSS_GUARD"),
        (Action.MOVE_SL, Reason.RATCHET, "EXIT_RATCHET_SL"),
        (Action.MOVE_SL, Reason.TRAIL, "EXIT_MONITOR"),
    ],
)
def test_events_have_the_names_that_people_search_for(action: Action, reason: Reason, name: str) -> None:
    assert name_of(action, reason) == name
