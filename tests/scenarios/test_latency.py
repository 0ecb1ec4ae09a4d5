"""Orders that take time: where they fill, and what happens while they are on their way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import GovernorDecision
from qtsim.core.records import outage_dt
from qtsim.sim.market import SymbolInput, build_market
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, case_of
from tests.scenarios.candles import CLEAN, Row, Story, symbol

FLAT: Row = (100.0, 100.5, 99.5, 100.0)
LEVEL: Row = (100.0, 100.0, 100.0, 100.0)
UP: Row = (100.0, 103.0, 100.0, 103.0)
DOWN: Row = (100.0, 100.0, 97.0, 97.0)
NO_EXITS = {"exit__policy": "bracket", "exit__bracket__tp": "inf", "exit__bracket__sl": "inf"}


def late(
    *symbols: SymbolInput,
    minutes: float,
    balance: float = 1_000_000.0,
    outages: list[tuple[float, int]] | None = None,
    **overrides: Any,
) -> Story:
    """A run in which every order takes `minutes`: on hours, so that a candle table shows where it fills."""
    settings = {**CLEAN, **{key.replace("__", "."): value for key, value in overrides.items()}}
    case = case_of(list(symbols), settings, balance)
    case.params["sim"]["latency_ms_order"] = minutes * 60_000.0
    rows = np.zeros(len(outages or []), outage_dt)
    for k, (hour, blind) in enumerate(outages or []):
        rows[k]["ts"], rows[k]["blind"] = START + int(hour * HOUR), blind
    case = replace(case, market=case.market._replace(outages=rows))
    run = case.compiled()
    assert first_difference(run, case.reference()) is None
    return Story(run)


def test_an_entry_fills_at_the_paths_price_when_the_exchange_has_it() -> None:
    story = late(symbol([FLAT, UP, LEVEL], long=[0]), minutes=30, **NO_EXITS)
    assert story.fills[0] == ("entry", 101.5, 1.0)
    assert story.hours[0] == 1.5


def test_an_entry_in_a_gap_fills_at_the_next_price() -> None:
    story = late(symbol([FLAT, FLAT, (104.0, 104.0, 104.0, 104.0)], at=[0, 1, 3], long=[0]), minutes=90, **NO_EXITS)
    assert story.fills[0] == ("entry", 104.0, 1.0)
    assert story.hours[0] == 3.0


def test_an_entry_that_arrives_after_the_data_is_no_entry() -> None:
    story = late(symbol([FLAT, FLAT], long=[0]), minutes=90)
    assert story.fills == []
    assert story.denials == ["end_of_data"]


def test_a_stop_fills_where_the_price_is_by_then() -> None:
    """The stop at 98.8 is met 28 minutes into the bar; four minutes later the price is lower."""
    story = late(symbol([FLAT, LEVEL, DOWN, LEVEL], long=[0]), minutes=4, exit__stops__hard__distance=0.2)
    assert story.decisions[-1] == ("FULL_EXIT_NOW", "stop")
    reason, price, _ = story.fills[1]
    assert reason == "stop"
    assert price == pytest.approx(98.8 - 3.0 * 4.0 / 20.0)


def test_the_price_may_come_back_in_the_meantime() -> None:
    story = late(symbol([FLAT, LEVEL, (100.0, 100.0, 98.5, 100.0), LEVEL], long=[0]), minutes=40)
    assert story.fills[1] == ("stop", 100.0, 1.0)


def test_the_exchanges_stop_acts_while_the_exit_is_on_its_way_which_then_finds_nothing() -> None:
    story = late(symbol([FLAT, LEVEL, DOWN, LEVEL], long=[0]), minutes=10, exit__stops__hard__distance=0.02)
    assert story.fills == [("entry", 100.0, 1.0), ("hard_stop", 98.0, 1.0)]
    assert story.decisions == [("INIT_NEW_POSITION", "entry"), ("FULL_EXIT_NOW", "stop")]
    assert story.reasons == ["hard_stop"]


def test_the_hard_stop_stands_when_the_exchange_has_it() -> None:
    """Sent at the entry's fill at 1:59, it stands at 2:58, long after its level has been passed, and acts at once."""
    story = late(symbol([FLAT, LEVEL, DOWN, LEVEL], long=[0]), minutes=59)
    assert story.fills == [("entry", 100.0, 1.0), ("hard_stop", 97.0, 1.0)]
    assert story.hours[1] == pytest.approx(2 + 58 / 60)


def test_nothing_is_decided_while_a_leg_is_on_its_way() -> None:
    """The target is met on the way up; the fall through the stop is seen once the leg has filled."""
    rows = [FLAT, LEVEL, (100.0, 102.5, 97.0, 97.0), (97.0, 97.0, 97.0, 97.0), LEVEL]
    story = late(symbol(rows, long=[0]), minutes=30, exit__stops__hard__distance=0.2)
    assert [reason for _, reason in story.decisions][:2] == ["entry", "tp1"]
    assert story.fills[1][0] == "tp1"
    assert story.fills[1][1] < 100.0, "half an hour after the target was met"
    assert story.fills[2][0] in ("stop", "ratchet")
    assert story.hours[2] > story.hours[1]


def test_an_exit_takes_no_more_than_is_open() -> None:
    story = late(symbol([FLAT, UP, LEVEL, DOWN, DOWN], long=[0], exit_long=[2]), minutes=20)
    assert sum(qty for reason, _, qty in story.fills if reason != "entry") == pytest.approx(1.0)


def test_a_reversal_enters_once_its_close_has_filled() -> None:
    """Signals every four hours, a path of hours: the close takes 20 minutes, the entry is decided at the next open."""
    item = symbol([LEVEL] * 16, long=[3], short=[7])
    signals = item.signals[3::4].copy()
    signals["ts_close"] = item.bars["ts_open"][3::4] + HOUR
    item = replace(item, signals=signals)
    case = case_of([symbol([LEVEL] * 16)], {**CLEAN, "exit.policy": "bracket", "exit.on_opposite_signal": "reverse"})
    case.params["sim"]["latency_ms_order"] = 20 * 60_000.0
    case = replace(case, market=build_market([item], 4 * HOUR, path_ns=HOUR))
    run = case.compiled()
    assert first_difference(run, case.reference()) is None
    story = Story(run)
    assert [reason for reason, _, _ in story.fills] == ["entry", "reverse", "entry", "end_of_data"]
    assert story.hours[:3] == [pytest.approx(4 + 1 / 3), pytest.approx(8 + 1 / 3), pytest.approx(9 + 1 / 3)]


def test_a_limit_is_placed_when_the_exchange_has_it() -> None:
    """Placed at once it is traded through at half past; placed five minutes before the hour it comes too late."""
    rows = [FLAT, (100.0, 100.5, 98.0, 100.0), LEVEL, LEVEL]
    settings = {"entry__order__type": "limit", "entry__order__limit_offset_bps": 100.0, "entry__order__timeout_bars": 1}
    assert late(symbol(rows, long=[0]), minutes=0, **settings, **NO_EXITS).fills[0] == ("entry", 99.0, 1.0)
    story = late(symbol(rows, long=[0]), minutes=55, **settings, **NO_EXITS)
    assert (story.fills, story.denials) == ([], ["order_timed_out"])


def test_what_is_on_its_way_arrives_though_the_program_does_not_run() -> None:
    story = late(symbol([FLAT, LEVEL, LEVEL, DOWN, DOWN], long=[0]), minutes=90, outages=[(2.0, 1)])
    assert story.fills[0] == ("entry", 100.0, 1.0)
    assert story.reasons == ["end_of_data"], "nobody was there to place a stop"
    back = late(symbol([FLAT, LEVEL, LEVEL, DOWN, DOWN, DOWN], long=[0]), minutes=90, outages=[(2.0, 1), (3.0, 0)])
    assert back.reasons == ["stop"] or back.reasons == ["hard_stop"]


def test_latency_is_counted() -> None:
    account = late(symbol([FLAT, LEVEL, LEVEL], long=[0]), minutes=15, **NO_EXITS).journals.account[0]
    assert (account["delayed"], account["delay_ns"]) == (1, 15 * 60 * 10**9)


def test_a_shutdown_closes_what_was_on_its_way() -> None:
    """AAA's entry, sent at 4:00, arrives half an hour after BBB's loss has shut the account down."""
    calm = symbol([LEVEL] * 9, name="AAA", long=[3])
    after: Row = (70.0, 70.0, 70.0, 70.0)
    falling = symbol([LEVEL] * 4 + [(100.0, 100.0, 70.0, 70.0)] + [after] * 4, name="BBB", long=[0])
    story = late(
        calm,
        falling,
        minutes=90,
        balance=450.0,
        gates__enabled=True,
        limits__exposure__max=10.0,
        limits__correlation__max="inf",
        **NO_EXITS,
    )
    shutdown = story.journals.governor[story.journals.governor["decision"] == GovernorDecision.EMERGENCY_SHUTDOWN]
    assert (int(shutdown["ts"][0]) - START) / HOUR == 5.0
    assert (story.who, story.hours[1]) == ([1, 0, 1, 0], 5.5)
    assert story.reasons == ["governor", "governor"]


def test_an_entry_that_the_account_cannot_pay_when_it_arrives_is_refused() -> None:
    run_away: Row = (100.0, 140.0, 100.0, 140.0)
    rows = [FLAT, run_away, (140.0, 140.0, 140.0, 140.0)]
    whole = {"sizing__model": "fraction", "sizing__fraction": 1.0, "limits__per_trade__margin": "inf", **NO_EXITS}
    story = late(symbol(rows, long=[0]), minutes=60, balance=1000.0, **whole)
    assert story.fills == []
    assert story.denials == ["insufficient_margin"]
    assert late(symbol(rows, long=[0]), minutes=1, balance=1000.0, **{**whole, "sizing__fraction": 0.5}).fills
