"""A share of each bar's volume: what entries and legs get of a bar, what waits, what is given up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qtsim.core.records import outage_dt
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, case_of, instrument
from tests.scenarios.candles import CLEAN, Row, play, symbol

FLAT: Row = (100.0, 100.5, 99.8, 100.0)
UP: Row = (100.0, 103.0, 100.0, 103.0)
OVER: Row = (103.0, 103.5, 102.5, 103.0)
WAIT = {"sim__volume__max_share": 0.1, "sim__volume__unfilled": "wait"}
CANCEL = {"sim__volume__max_share": 0.1, "sim__volume__unfilled": "cancel"}


def test_the_rest_of_an_entry_fills_at_the_following_opens() -> None:
    rows = [FLAT, FLAT, (100.4, 100.6, 100.0, 100.2), (100.2, 100.6, 100.0, 100.2), FLAT]
    story = play(symbol(rows, volumes=[1, 4, 3, 10, 10], long=[0]), **WAIT)
    assert story.fills[:3] == [("entry", 100.0, 0.4), ("entry", 100.4, 0.3), ("entry", 100.2, 0.3)]
    assert story.hours[:3] == [1.0, 2.0, 3.0]
    (trade,) = story.journals.trades
    assert trade["entry_price"] == pytest.approx(0.4 * 100.0 + 0.3 * 100.4 + 0.3 * 100.2)
    assert trade["qty"] == pytest.approx(1.0)
    assert story.decisions[0] == ("INIT_NEW_POSITION", "entry")
    assert story.journals.account["share_bound"][0] == 2


def test_the_rest_of_an_entry_is_given_up() -> None:
    story = play(symbol([FLAT] * 4, volumes=[1, 4, 100, 100], long=[0]), **CANCEL)
    assert story.fills == [("entry", 100.0, 0.4), ("end_of_data", 100.0, 0.4)]


def test_an_entry_below_the_minimum_does_not_happen() -> None:
    rules = instrument(tick=(1, 100), lot=(1, 1000), min_qty=0.5)
    story = play(symbol([FLAT] * 4, volumes=[1, 4, 100, 100], rules=rules, long=[0]), **CANCEL)
    assert story.fills == []
    assert story.denials == ["volume_share"]


def test_a_first_part_below_the_minimum_is_a_part_of_an_order_that_is_not() -> None:
    rules = instrument(tick=(1, 100), lot=(1, 1000), min_qty=0.5)
    story = play(symbol([FLAT] * 4, volumes=[1, 4, 100, 100], rules=rules, long=[0]), **WAIT)
    assert [qty for _, _, qty in story.fills] == [0.4, 0.6, 1.0]


def test_a_bar_without_volume_lets_the_whole_order_wait() -> None:
    story = play(symbol([FLAT] * 4, volumes=[1, 0, 100, 100], long=[0]), **WAIT)
    assert story.hours[0] == 2.0
    assert story.fills[0] == ("entry", 100.0, 1.0)


def test_levels_and_hard_stop_stand_from_the_first_part() -> None:
    rows = [FLAT, (100.0, 100.5, 99.8, 101.0), (101.0, 101.2, 100.6, 101.0), (101.0, 101.0, 97.0, 97.5)]
    story = play(symbol(rows, volumes=[1, 5, 100, 100], long=[0]), **WAIT)
    assert story.fills == [("entry", 100.0, 0.5), ("entry", 101.0, 0.5), ("stop", 98.8, 1.0)]
    assert story.stops[0] == 98.8


def test_a_stop_during_the_entry_ends_it_and_is_never_bound() -> None:
    rows = [FLAT, (100.0, 100.5, 98.0, 98.5), FLAT, FLAT]
    story = play(symbol(rows, volumes=[1, 5, 100, 100], long=[0]), **WAIT)
    assert story.fills == [("entry", 100.0, 0.5), ("stop", 98.8, 0.5)]


@pytest.mark.parametrize("ends", ["exit_long", "short"])
def test_a_signal_that_asks_otherwise_ends_the_entry(ends: str) -> None:
    story = play(symbol([FLAT] * 5, volumes=[1, 4, 4, 100, 100], long=[0], **{ends: [2]}), **WAIT)
    assert [qty for reason, _, qty in story.fills if reason == "entry"] == [0.4, 0.4]
    assert story.denials == (["opposite_ignored"] if ends == "short" else [])


def test_a_signal_that_asks_otherwise_before_the_first_part_denies_the_entry() -> None:
    story = play(symbol([FLAT] * 4, volumes=[1, 0, 100, 100], long=[0], exit_long=[1]), **WAIT)
    assert story.fills == []
    assert story.denials == ["order_cancelled"]


def test_one_order_at_a_time() -> None:
    story = play(symbol([FLAT] * 5, volumes=[1, 0, 0, 100, 100], long=[0, 1]), **WAIT)
    assert story.denials == ["order_stands"]
    assert story.hours[0] == 3.0


def test_the_end_of_the_data_ends_the_entry() -> None:
    story = play(symbol([FLAT] * 3, volumes=[1, 0, 0], long=[0]), **WAIT)
    assert story.fills == []
    assert story.denials == ["end_of_data"]


def test_an_order_that_still_waits_at_the_end_is_counted() -> None:
    story = play(symbol([FLAT] * 3, volumes=[1, 0, 0], long=[0]), sim__end_of_data="open", **WAIT)
    assert story.denials == []
    assert story.journals.counts["pending_at_end"] == 1


def test_the_rest_of_a_leg_goes_on_while_the_price_meets_its_target() -> None:
    rows = [FLAT, UP, OVER, OVER, OVER]
    story = play(symbol(rows, volumes=[1, 11, 1, 0.5, 100], long=[0]), **WAIT)
    assert story.fills[:4] == [("entry", 100.0, 1.0), ("tp1", 102.0, 0.1), ("tp1", 103.0, 0.1), ("tp1", 103.0, 0.05)]
    assert story.fills[4] == ("tp1", 103.0, 0.05)
    assert story.hours[2:5] == [2.0, 3.0, 4.0]
    assert ("MOVE_SL", "ratchet") in story.decisions, "the ratchet acts once the leg is whole"


def test_a_leg_waits_for_its_price_too() -> None:
    rows = [FLAT, UP, (101.0, 102.5, 100.5, 101.0), FLAT]
    story = play(symbol(rows, volumes=[1, 11, 100, 100], long=[0]), **WAIT)
    assert story.fills[1:3] == [("tp1", 102.0, 0.1), ("tp1", 102.0, 0.2)]
    assert 2.0 < story.hours[2] < 3.0


def test_the_rest_of_a_leg_is_given_up_and_comes_with_the_next() -> None:
    rows = [FLAT, UP, (103.0, 104.5, 102.5, 104.0), (104.0, 104.0, 104.0, 104.0)]
    story = play(symbol(rows, volumes=[1, 11, 100, 100], long=[0]), **CANCEL)
    assert story.fills[1:3] == [("tp1", 102.0, 0.1), ("tp2", 104.0, 0.41)]


def test_the_first_leg_ends_the_entry() -> None:
    story = play(symbol([FLAT, UP, OVER, OVER], volumes=[1, 7, 100, 100], long=[0]), **WAIT)
    assert story.fills[:2] == [("entry", 100.0, 0.7), ("tp1", 103.0, 0.21)]
    assert story.hours[1] == 2.0, "the entry took all of the bar in which the target was reached"


def test_what_one_order_takes_another_of_the_bar_does_not_get() -> None:
    """In hedge mode both sides of a symbol share its volume."""
    story = play(
        symbol([FLAT] * 5, volumes=[1, 12, 100, 100, 100], long=[0], short=[1]),
        account__mode__position="hedge",
        **WAIT,
    )
    assert story.fills[:2] == [("entry", 100.0, 1.0), ("entry", 100.0, 1.0)]
    both = play(
        symbol([FLAT, FLAT, UP, OVER], volumes=[1, 100, 12, 100], long=[0], short=[1]),
        account__mode__position="hedge",
        **WAIT,
    )
    assert [(reason, qty) for reason, _, qty in both.fills[:4]] == [
        ("entry", 1.0),
        ("entry", 1.0),
        ("stop", 1.0),
        ("tp1", 0.3),
    ], "the short's stop at 101.2 is never bound, and leaves the long's leg at 102 nothing of its bar"
    assert both.hours[3] == 3.0


def test_the_account_must_still_be_able_to_pay_for_the_rest() -> None:
    rows = [FLAT, FLAT, (130.0, 131.0, 129.0, 130.0), (130.0, 131.0, 129.0, 130.0)]
    story = play(
        symbol(rows, volumes=[1, 4, 100, 100], long=[0]),
        balance=105.0,
        exit__policy="bracket",
        exit__bracket__tp="inf",
        exit__bracket__sl="inf",
        **WAIT,
    )
    assert [qty for _, _, qty in story.fills] == [0.4, 0.4]


def test_what_an_order_reserves_other_entries_cannot_have() -> None:
    first = symbol([FLAT] * 4, volumes=[1, 0, 100, 100], name="AAA", long=[0])
    second = symbol([FLAT] * 4, volumes=[100] * 4, name="BBB", long=[1])
    story = play(first, second, balance=150.0, **WAIT)
    assert story.denials == ["insufficient_margin"]
    assert story.who == [0, 0]


def test_a_program_that_does_not_run_sends_no_further_part() -> None:
    settings = {**CLEAN, **{key.replace("__", "."): value for key, value in WAIT.items()}}
    case = case_of([symbol([FLAT] * 5, volumes=[1, 4, 4, 100, 100], long=[0])], settings)
    outage = np.zeros(1, outage_dt)
    outage["ts"], outage["blind"] = START + 2 * HOUR, 1
    blind = replace(case, market=case.market._replace(outages=outage))
    run = blind.compiled()
    assert first_difference(run, blind.reference()) is None
    assert [int(lots) for lots in run.fills["lots"][run.fills["kind"] == 0]] == [400]


def test_the_rest_ends_where_liquidation_would_come_before_the_hard_stop() -> None:
    """At 20x liquidation is 4.6 % below the average entry; the hard stop stands 2 % below the first part's."""
    rows = [FLAT, FLAT, (102.0, 102.0, 102.0, 102.0), (110.0, 110.0, 110.0, 110.0), (110.0, 110.0, 110.0, 110.0)]
    settings = {**WAIT, "leverage__fixed": 20.0, "exit__base_tp": 0.3, "exit__on_opposite_signal": "ignore"}
    story = play(symbol(rows, volumes=[1, 2, 1, 100, 100], long=[0]), **settings)
    assert [qty for reason, _, qty in story.fills if reason == "entry"] == [0.2, 0.1]
