"""The live session, told a market point by point, decides what the backtest of that market decides, byte for byte."""

from __future__ import annotations

import pytest

from qtsim.core.enums import Reason, Rule
from qtsim.live.replay import Comparer, replay
from qtsim.live.tape import from_bytes, row_bytes, to_bytes
from qtsim.sim.run import run_reference
from tests.unit.live.lines import Kept, frames_of, lines, paper_trader, prepared_run, resolved

SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
LIMITS = {"entry.order.type": "limit", "entry.order.limit_offset_bps": 8.0, "entry.order.timeout_bars": 3}
COMPARED = ("decisions", "denials", "fills", "trades", "funding", "governor", "equity")


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"exit.policy": "profit_lock", "leverage.model": "fixed", "leverage.fixed": 10.0},
        {"exit.on_opposite_signal": "reverse", "exit.replan": "bar", "costs.slippage.bps": 0.0},
        {"account.mode.position": "hedge", "gates.enabled": False, "sizing.model": "fraction"},
        LIMITS,
        {**LIMITS, "entry.order.timeout_bars": 12, "exit.on_opposite_signal": "reverse", "gates.enabled": False},
        {**LIMITS, "account.mode.position": "hedge", "gates.enabled": False, "sizing.model": "fraction"},
    ],
)
def test_a_session_told_point_by_point_decides_what_the_backtest_decides(overrides: dict[str, object]) -> None:
    settings = resolved(SYMBOLS, **overrides)
    run = prepared_run(frames_of(SYMBOLS, 420), settings)
    wanted = run_reference(run.market, run.params, float(settings.settings.account.balance), SYMBOLS)
    tape = Kept()
    trader = paper_trader(run, settings, SYMBOLS, tape)
    for line in lines(run, SYMBOLS):
        line(trader)
    assert len(wanted.trades) > 5
    if overrides.get("entry.order.type") == "limit":
        rules = set(wanted.denials["rule"].tolist())
        assert rules & {Rule.ORDER_TIMED_OUT, Rule.ORDER_CANCELLED}
        assert wanted.fills["is_maker"][wanted.fills["reason"] == Reason.ENTRY].all()
    for kind in COMPARED:
        rows, told = getattr(wanted, kind), tape.table(kind)
        if kind == "equity":
            rows = rows[:-1] if len(rows) > len(told) else rows
        assert len(told) == len(rows), kind
        for k in range(len(rows)):
            assert row_bytes(told[k : k + 1]) == row_bytes(rows[k : k + 1]), f"{kind} {k}"


def recorded(count: int = 240) -> tuple[Kept, object, object]:
    settings = resolved(SYMBOLS)
    run = prepared_run(frames_of(SYMBOLS, count), settings)
    tape = Kept()
    trader = paper_trader(run, settings, SYMBOLS, tape)
    for line in lines(run, SYMBOLS):
        line(trader)
    return tape, run, settings


def again(tape: Kept, run: object, settings: object) -> tuple[int, object]:
    comparer = Comparer((at, kind, row_bytes(row)) for at, kind, row in tape.rows)
    inputs = [(at, kind, from_bytes(to_bytes(body))) for at, kind, body in tape.inputs]
    return replay(paper_trader(run, settings, SYMBOLS, comparer), inputs, comparer)


def test_a_replay_finds_the_same_decisions() -> None:
    tape, run, settings = recorded()
    count, difference = again(tape, run, settings)
    assert difference is None
    assert count == len(tape.inputs)
    assert sum(kind == "decisions" for _, kind, _ in tape.rows) > 20


def test_a_tampered_price_is_found_at_the_first_decision_that_it_changes() -> None:
    tape, run, settings = recorded()
    entry = next(at for at, kind, _ in tape.rows if kind == "fills")
    place = next(k for k, (at, kind, _) in enumerate(tape.inputs) if kind == "points" and at >= entry - 1)
    number, kind, body = tape.inputs[place]
    for price in body["prices"]:
        price[1] *= 1.0001
    tape.inputs[place] = (number, kind, body)
    _, difference = again(tape, run, settings)
    assert difference is not None
    assert difference.at <= entry
    assert "differ" in str(difference)
    assert "recorded:" in str(difference)


def test_a_tampered_bar_is_found_in_the_signal() -> None:
    tape, run, settings = recorded()
    place = next(k for k, (at, kind, _) in enumerate(tape.inputs) if kind == "bars" and at > 400)
    tape.inputs[place][2]["bars"]["ETHUSDT"] = [
        value * 1.01 if k == 4 else value for k, value in enumerate(tape.inputs[place][2]["bars"]["ETHUSDT"])
    ]
    _, difference = again(tape, run, settings)
    assert difference is not None
    assert difference.what == "signals differ"
    assert difference.at >= tape.inputs[place][0]
