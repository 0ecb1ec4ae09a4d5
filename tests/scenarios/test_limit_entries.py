"""Limit entries: where they stand, what fills them, what ends them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qtsim.core.records import outage_dt
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, case_of
from tests.scenarios.candles import CLEAN, Row, Story, play, symbol

LIMIT = {"entry__order__type": "limit", "entry__order__limit_offset_bps": 100.0, "entry__order__timeout_bars": 3}
"""One per cent below the signal's close."""
NO_EXITS = {"exit__policy": "bracket", "exit__bracket__tp": "inf", "exit__bracket__sl": "inf"}
FLAT: Row = (100.0, 100.5, 99.5, 100.0)


def to(low: float) -> Row:
    """A bar from 100 down to `low` and back."""
    return (100.0, 100.5, low, 100.0)


@pytest.mark.parametrize(
    ("rows", "side", "fills"),
    [
        pytest.param([FLAT, to(98.9), FLAT], "long", [("entry", 99.0, 1.0)], id="traded_through"),
        pytest.param([FLAT, to(99.0), FLAT], "long", [], id="touched_is_not_filled"),
        pytest.param([FLAT, to(98.99), FLAT], "long", [("entry", 99.0, 1.0)], id="one_tick_beyond"),
        pytest.param([FLAT, (98.0, 98.5, 97.5, 98.0), FLAT], "long", [("entry", 98.0, 1.0)], id="better_open"),
        pytest.param(
            [FLAT, FLAT, (98.0, 98.5, 97.5, 98.0)], "long", [("entry", 99.0, 1.0)], id="jumped_over_while_standing"
        ),
        pytest.param([FLAT, (100.0, 101.1, 99.5, 100.0), FLAT], "short", [("entry", 101.0, 1.0)], id="short"),
        pytest.param(
            [FLAT, (102.0, 102.5, 101.5, 102.0), FLAT], "short", [("entry", 102.0, 1.0)], id="short_better_open"
        ),
    ],
)
def test_what_fills_a_limit(rows: list[Row], side: str, fills: list[tuple[str, float, float]]) -> None:
    story = play(symbol(rows, **{side: [0]}), **LIMIT, **NO_EXITS)
    assert story.fills[:-1] == fills if fills else story.fills == []


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_a_limit_fills_under_every_monitoring(monitoring: str) -> None:
    story = play(symbol([FLAT, to(98.0), FLAT], long=[0]), exit__monitoring=monitoring, **LIMIT, **NO_EXITS)
    assert story.fills[0] == ("entry", 99.0, 1.0)


COSTS = {"costs__slippage__bps": 10.0, "costs__fees__taker": 0.001, "costs__fees__maker": 0.0002}


def test_a_standing_limit_pays_the_makers_fee_and_no_slippage() -> None:
    (entry, _) = play(symbol([FLAT, to(98.0), FLAT], long=[0]), **LIMIT, **NO_EXITS, **COSTS).journals.fills
    assert (entry["price"], entry["slippage"]) == (99.0, 0.0)
    assert entry["fee"] == pytest.approx(99.0 * 0.0002)


def test_a_limit_that_is_marketable_takes_and_never_pays_more_than_its_price() -> None:
    (entry, _) = play(
        symbol([FLAT, (98.0, 98.0, 98.0, 98.0), FLAT], long=[0]), **LIMIT, **NO_EXITS, **COSTS
    ).journals.fills
    assert entry["price"] == pytest.approx(98.0 * 1.001)
    assert entry["fee"] == pytest.approx(98.0 * 1.001 * 0.001)
    (near, _) = play(
        symbol([FLAT, (98.95, 99.0, 98.95, 98.95), FLAT], long=[0]), **LIMIT, **NO_EXITS, **COSTS
    ).journals.fills
    assert near["price"] == 99.0


def test_exits_are_judged_on_the_path_after_the_fill() -> None:
    rows = [FLAT, (100.0, 102.0, 98.0, 101.5), FLAT]
    story = play(
        symbol(rows, long=[0]), exit__policy="bracket", exit__bracket__tp=0.01, exit__bracket__sl="inf", **LIMIT
    )
    assert story.fills == [("entry", 99.0, 1.0), ("tp1", 99.99, 1.0)]
    assert story.hours[0] < story.hours[1] < 2.0


def test_a_limit_times_out_and_is_counted() -> None:
    story = play(symbol([FLAT] * 4 + [to(98.0), FLAT], long=[0]), **LIMIT, **NO_EXITS)
    assert story.fills == []
    assert story.denials == ["order_timed_out"]
    assert int(story.journals.denials[0]["ts"]) == START + 4 * HOUR
    account = story.journals.account[0]
    assert (account["limits_placed"], account["limits_filled"], account["limits_timed_out"]) == (1, 0, 1)


def test_a_limit_stands_for_the_whole_of_its_last_bar() -> None:
    story = play(symbol([FLAT] * 3 + [to(98.0), FLAT], long=[0]), **LIMIT, **NO_EXITS)
    assert story.fills[0] == ("entry", 99.0, 1.0)


@pytest.mark.parametrize(
    ("asks", "denials"),
    [
        pytest.param({"exit_long": [1]}, ["order_cancelled"], id="close_signal"),
        pytest.param({"short": [1]}, ["order_cancelled", "order_timed_out"], id="opposite_signal"),
        pytest.param({"long": [0, 1]}, ["order_stands"], id="same_side"),
    ],
)
def test_a_signal_while_the_limit_stands(asks: dict[str, list[int]], denials: list[str]) -> None:
    rows = [FLAT, FLAT, to(99.2), to(99.2), to(99.2), to(99.2), to(99.2)]
    rows = rows if "long" not in asks else [FLAT, FLAT, to(98.0), FLAT]
    story = play(symbol(rows, **{"long": [0], **asks}), **LIMIT, **NO_EXITS)
    assert story.denials == denials


def test_the_end_of_the_data_ends_the_order() -> None:
    story = play(symbol([FLAT] * 3, long=[0]), **LIMIT)
    assert story.denials == ["end_of_data"]
    story = play(symbol([FLAT] * 3, long=[0]), sim__end_of_data="open", **LIMIT)
    assert (story.denials, story.journals.counts["pending_at_end"]) == ([], 1)


def test_a_shutdown_cancels_the_order() -> None:
    """BBB loses enough for the governor to stop trading while AAA's limit stands."""
    calm = symbol([FLAT] * 4 + [to(98.0), FLAT], name="AAA", long=[1])
    fallen: Row = (80.0, 80.0, 80.0, 80.0)
    falling = symbol([FLAT, to(98.0), (100.0, 100.0, 80.0, 80.0), fallen, fallen, fallen], name="BBB", long=[0])
    settings = {**LIMIT, **NO_EXITS, "gates__enabled": True}
    story = play(calm, falling, balance=300.0, limits__exposure__max=10.0, limits__correlation__max="inf", **settings)
    assert "emergency_shutdown" in story.denials
    assert story.who == [1, 1]


def test_a_standing_order_counts_as_a_position() -> None:
    first = symbol([FLAT] * 4, name="AAA", long=[0])
    second = symbol([to(98.0)] * 4, name="BBB", long=[1])
    settings = {**LIMIT, **NO_EXITS, "gates__enabled": True, "limits__positions__total": 1}
    story = play(first, second, limits__exposure__max=10.0, **settings)
    assert "positions_total" in story.denials


def test_exposure_counts_what_stands() -> None:
    first = symbol([FLAT] * 4, name="AAA", long=[0])
    second = symbol([FLAT] * 4, name="BBB", long=[1])
    settings = {**LIMIT, **NO_EXITS, "gates__enabled": True, "limits__exposure__max": 1.5}
    story = play(first, second, balance=130.0, limits__correlation__max="inf", leverage__fixed=3.0, **settings)
    assert "exposure_max" in story.denials


def blind_story(rows: list[Row], start: int, end: int | None, **overrides: Any) -> Story:
    """A run in which the program does not run from one hour to another."""
    settings = {**CLEAN, **{key.replace("__", "."): value for key, value in {**LIMIT, **overrides}.items()}}
    case = case_of([symbol(rows, long=[0])], settings)
    outages = np.zeros(1 if end is None else 2, outage_dt)
    outages["ts"][0], outages["blind"][0] = START + start * HOUR, 1
    if end is not None:
        outages["ts"][1] = START + end * HOUR
    case = replace(case, market=case.market._replace(outages=outages))
    run = case.compiled()
    assert first_difference(run, case.reference()) is None
    return Story(run)


def test_a_limit_fills_while_the_program_does_not_run_and_has_no_hard_stop_until_it_does() -> None:
    rows = [FLAT, FLAT, to(98.0), (100.0, 100.0, 90.0, 95.0), (95.0, 95.0, 95.0, 95.0)]
    story = blind_story(rows, 2, None)
    assert story.fills == [("entry", 99.0, 1.0), ("end_of_data", 95.0, 1.0)]
    assert np.isnan(story.journals.trades[0]["hard_price"])
    back = blind_story([*rows, (95.0, 95.0, 95.0, 95.0)], 2, 4)
    assert back.fills[1] == ("hard_stop", 95.0, 1.0), "placed when the program runs again, and already through"


def test_a_limit_does_not_time_out_while_the_program_does_not_run() -> None:
    rows = [FLAT] * 6 + [to(98.0), FLAT, FLAT]
    assert blind_story(rows, 2, 8).fills[0] == ("entry", 99.0, 1.0)
    assert blind_story(rows, 2, 5).denials == ["order_timed_out"]


def test_the_rest_of_a_limit_stands_for_another_bars_volume() -> None:
    rows = [FLAT, to(98.0), (98.5, 98.9, 98.2, 98.5), FLAT]
    story = play(
        symbol(rows, volumes=[1, 4, 3, 100], long=[0]),
        sim__volume__max_share=0.1,
        sim__volume__unfilled="wait",
        **LIMIT,
        **NO_EXITS,
    )
    assert story.fills == [("entry", 99.0, 0.4), ("entry", 99.0, 0.3), ("end_of_data", 100.0, 0.7)]


def test_the_rest_of_a_limit_is_given_up() -> None:
    story = play(
        symbol([FLAT, to(98.0), to(98.0), FLAT], volumes=[1, 4, 100, 100], long=[0]),
        sim__volume__max_share=0.1,
        sim__volume__unfilled="cancel",
        **LIMIT,
        **NO_EXITS,
    )
    assert story.fills == [("entry", 99.0, 0.4), ("end_of_data", 100.0, 0.4)]


@pytest.mark.parametrize(("path", "reasons"), [("adverse", ["stop"]), ("favourable", ["tp1"])])
def test_the_order_of_the_extremes_is_chosen_by_what_the_fill_makes(path: str, reasons: list[str]) -> None:
    """Low first fills the order before the price reaches its target; high first after."""
    rows = [FLAT, (100.0, 101.0, 98.0, 98.2), (98.2, 98.2, 97.0, 97.0)]
    exits = {"exit__policy": "bracket", "exit__bracket__tp": 0.01, "exit__bracket__sl": 0.005}
    story = play(symbol(rows, long=[0]), sim__path=path, **{**LIMIT, "entry__order__limit_offset_bps": 170.0}, **exits)
    assert story.reasons == reasons


def test_the_rest_of_a_limit_that_was_through_takes_the_better_price_too() -> None:
    """Not its limit: nobody pays 100 for what is offered at 97."""
    low: Row = (97.0, 97.1, 96.9, 97.0)
    share = {"sim__volume__max_share": 0.1, "sim__volume__unfilled": "wait", "entry__order__limit_offset_bps": 0.0}
    story = play(
        symbol([FLAT, low, low, low, low], volumes=[1.0, 2.0, 4.0, 4.0, 4.0], long=[0]),
        **{**LIMIT, **share, **NO_EXITS},
    )
    assert story.fills[:3] == [("entry", 97.0, 0.2), ("entry", 97.0, 0.4), ("entry", 97.0, 0.4)]
    assert story.hours[:3] == [1.0, 2.0, 3.0]
