"""The exchange's own witness: what it says of exits, decisions, intents and time without a stop."""

from __future__ import annotations

from qtsim.emulator import FaultPlan
from qtsim.emulator.oracle import (
    Log,
    exits_that_opened,
    repeated_entries,
    requests_without_intent,
    unprotected,
)
from tests.emulator_desk import START_MS, Desk


def is_exit(client_id: str) -> bool:
    return client_id.startswith("exit")


def test_an_exit_that_flips_is_found() -> None:
    desk = Desk()
    desk.order("BUY", "0.02", newClientOrderId="entry-1")
    desk.order("SELL", "0.01", newClientOrderId="exit-1")
    assert exits_that_opened(desk.exchange.log, is_exit) == []
    desk.order("SELL", "0.02", newClientOrderId="exit-2")
    assert [entry.data["opened"] for entry in exits_that_opened(desk.exchange.log, is_exit)] == ["0.01"]


def test_a_decision_filled_by_two_orders_is_found() -> None:
    desk = Desk()
    for name in ("d7-a1", "d8-a1", "d7-a2", "exit"):
        desk.order("BUY", "0.002", newClientOrderId=name)
    found = repeated_entries(desk.exchange.log, lambda name: name.split("-")[0] if name[0] == "d" else None)
    assert found == {"d7": ["d7-a1", "d7-a2"]}


def test_orders_that_nobody_wrote_down_are_found() -> None:
    desk = Desk()
    desk.order("BUY", "0.002", newClientOrderId="known")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="unknown")
    desk.send("GET", "openOrders")
    assert [e.data["client_id"] for e in requests_without_intent(desk.exchange.log, ["known"])] == ["unknown"]


def spans(desk: Desk) -> list[tuple[str, int, int]]:
    """(position side, start, end), seconds since the start."""
    return [
        (span.position_side, (span.start_ms - START_MS) // 1000, (span.end_ms - START_MS) // 1000)
        for span in unprotected(desk.exchange.log, desk.now_ms)
    ]


def test_time_unprotected_runs_from_the_fill_to_the_stop_and_from_its_end_on() -> None:
    desk = Desk()
    desk.order("BUY", "0.02")
    desk.wait(3_000)
    desk.algo("SELL", triggerPrice=49_000, closePosition="true", clientAlgoId="hard")
    desk.wait(10_000)
    desk.send("DELETE", "algoOrder", clientAlgoId="hard")
    desk.wait(4_000)
    assert spans(desk) == [("BOTH", 0, 3), ("BOTH", 13, 17)]
    desk.order("SELL", "0.02")
    desk.wait(5_000)
    assert spans(desk) == [("BOTH", 0, 3), ("BOTH", 13, 17)]


def test_a_stop_at_the_instant_of_the_fill_leaves_no_span() -> None:
    desk = Desk()
    desk.order("BUY", "0.02")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true")
    desk.wait(5_000)
    assert spans(desk) == []


def test_stops_of_a_quantity_must_add_up_and_targets_or_other_sides_cover_nothing() -> None:
    desk = Desk(hedge=True)
    desk.order("BUY", "0.02", positionSide="LONG")
    desk.algo("SELL", quantity="0.01", triggerPrice=49_000, positionSide="LONG")
    desk.algo("SELL", "TAKE_PROFIT_MARKET", closePosition="true", triggerPrice=51_000, positionSide="LONG")
    desk.wait(2_000)
    desk.order("SELL", "0.01", positionSide="SHORT")
    desk.algo("SELL", quantity="0.01", triggerPrice=48_000, positionSide="LONG")
    desk.wait(1_000)
    assert spans(desk) == [("LONG", 0, 2), ("SHORT", 2, 3)]


def test_a_stuck_trigger_protects_nobody() -> None:
    desk = Desk(FaultPlan(stuck_triggers=(1,)))
    desk.order("BUY", "0.02")
    desk.algo("SELL", triggerPrice=49_000, closePosition="true")
    desk.move(48_900)
    desk.wait(7_000)
    assert spans(desk) == [("BOTH", 20, 27)]


def test_a_log_may_be_short() -> None:
    log = Log(limit=2)
    for k in range(4):
        log.add("request", k, k, n=k)
    assert [entry.seq for entry in log.entries] == [3, 4]
    assert log.text() == "3 2 2 request n=2\n4 3 3 request n=3"
