"""The program does not run for a while, or never again: the exchange goes on, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import Action, GovernorDecision, OrderType, Reason
from qtsim.core.records import Records, outage_dt
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, Case, case_of, cases
from tests.scenarios.candles import CLEAN, Row, Story, symbol

FLAT: Row = (100, 100, 100, 100)
EXCHANGE_SIDE = (Reason.HARD_STOP, Reason.LIQUIDATION)


def blind(begin: float, end: float | None = None) -> Records:
    """Hours after the start between which the program does not run; without an end a crash."""
    rows = np.zeros(1 if end is None else 2, outage_dt)
    rows["ts"] = [START + int(hour * HOUR) for hour in (begin, end) if hour is not None]
    rows["blind"][0] = 1
    return rows


def play(item: Any, outages: Records, **settings_: Any) -> Story:
    """Both drivers, with the outage."""
    case = case_of(
        [item], {**CLEAN, **{key.replace("__", "."): value for key, value in settings_.items()}}, 1_000_000.0
    )
    case = replace(case, market=case.market._replace(outages=outages))
    compiled = case.compiled()
    assert first_difference(compiled, case.reference()) is None
    return Story(compiled)


FALL = [FLAT, FLAT, (100, 100, 98.5, 98.5), (98.5, 98.5, 97.5, 97.5), (97.5, 97.5, 97.5, 97.5)]
"""An entry at 100 in the second bar; the internal stop is 98.8, the hard stop 98.0."""


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_a_crash_leaves_the_exchanges_stop(monitoring: str) -> None:
    story = play(symbol(FALL, long=[0]), blind(2.0), exit__monitoring=monitoring)
    assert story.reasons == ["hard_stop"]


def test_without_a_crash_the_internal_stop_acts() -> None:
    story = play(symbol(FALL, long=[0]), blind(4.0))
    assert [fill[:2] for fill in story.fills] == [("entry", 100.0), ("stop", 98.8)]


def test_after_an_outage_the_first_look_acts_at_the_price_of_then() -> None:
    """Blind while the price passes the stop; back at the open of the fourth bar, at 98.5."""
    story = play(symbol(FALL, long=[0]), blind(2.0, 3.0))
    assert [fill[:2] for fill in story.fills] == [("entry", 100.0), ("stop", 98.5)]
    assert story.hours[1] == 3.0


def test_an_outage_begins_at_the_next_boundary() -> None:
    story = play(symbol(FALL, long=[0]), blind(2.5, 3.5))
    assert story.reasons == ["stop"], "the third bar is watched to its end"


def test_signals_meanwhile_are_missed_and_counted() -> None:
    item = symbol([FLAT] * 8, long=[1, 4], exit_long=[2])
    story = play(item, blind(3.0, 4.0))
    assert story.denials == ["side_held"], "the exit of row 2 was missed, so the second entry meets a position"
    story = play(symbol([FLAT] * 8, long=[2, 5]), blind(3.0, 4.0))
    assert story.denials[0] == "not_running"
    assert story.hours[0] == 6.0


STREAK_OF_TWO: dict[str, Any] = {
    "gates__enabled": True,
    "governor__hourly__loss": "inf",
    "governor__streak__losses": 1,
    "limits__exposure__max": "inf",
    "limits__sector_share": "inf",
}
"""Gates on; DEFENSIVE_EXIT fires with the second loss of a UTC day in a row."""


@pytest.mark.parametrize(
    ("stopped_at", "fires"),
    [(29, True), (22, False)],
    ids=["on_the_day_of_the_return", "on_the_day_before"],
)
def test_what_the_exchange_closed_meanwhile_counts_on_its_own_day(stopped_at: int, fires: bool) -> None:
    """The hard stop acts at 98 while the program is away from 21:00 to 06:00; the next loss is at 10:00."""
    rows = [FLAT] * stopped_at + [(100, 100, 97, 97)] + [(97, 97, 97, 97)] * (33 - stopped_at) + [(97, 97, 90, 90)] * 3
    story = play(symbol(rows, long=[15, 31]), blind(21.0, 30.0), **STREAK_OF_TWO)
    assert story.reasons == ["hard_stop", "stop"]
    events = [GovernorDecision(int(row["decision"])) for row in story.journals.governor if row["begins"]]
    assert (GovernorDecision.DEFENSIVE_EXIT in events) is fires


@pytest.mark.parametrize(("end_of_data", "hour"), [("close", 6.0), ("last_open", 5.0)])
def test_the_end_of_data_closes_what_a_crash_left_open(end_of_data: str, hour: float) -> None:
    story = play(symbol([FLAT] * 6, long=[0], short=[4]), blind(2.0), sim__end_of_data=end_of_data)
    assert story.reasons == ["end_of_data"]
    assert story.hours == [1.0, hour]


RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@RELAXED
@given(cases(**{"sim.fill_at": "next_open"}), st.floats(0.1, 0.9), st.floats(0.05, 0.5))
def test_exits_during_an_outage_are_the_exchanges(case: Case, where: float, share: float) -> None:
    """And nothing is entered but by the one limit of a slot that stood at the exchange when the program stopped."""
    first, last = int(case.market.boundaries[0]), int(case.market.boundaries[-1])
    begin = first + int((last - first) * where) // HOUR * HOUR
    end = begin + max(int((last - first) * share) // HOUR, 1) * HOUR
    rows = np.zeros(2, outage_dt)
    rows["ts"], rows["blind"] = [begin, end], [1, 0]
    run = replace(case, market=case.market._replace(outages=rows)).compiled()
    during = run.fills[(run.fills["ts"] > begin) & (run.fills["ts"] < end)]
    entered = during[during["kind"] == 0]
    if case.params["entry"]["order_type"][0] == OrderType.MARKET:
        assert len(entered) == 0, "no entry"
    for number, side in {(int(one["symbol"]), int(one["side"])) for one in entered}:
        own = entered[(entered["symbol"] == number) & (entered["side"] == side)]
        assert len(set(own["trade_id"])) == 1, "no second order while nobody is there to send it"
    assert all(
        Reason(int(one)) in (*EXCHANGE_SIDE, Reason.END_OF_DATA) for one in during["reason"][during["kind"] != 0]
    )
    assert not (
        (run.decisions["ts"] > begin) & (run.decisions["ts"] < end) & (run.decisions["action"] == Action.PARTIAL_CLOSE)
    ).any()


CRASHED = {
    "exit.policy": "exit_brain",
    "sim.fill_at": "next_open",
    "sim.end_of_data": "close",
    "account.mode.margin": "isolated",
    "account.mode.position": "one_way",
    "leverage.model": "fixed",
    "leverage.fixed": 5.0,
    "gates.enabled": False,
    "costs.slippage.model": "fixed",
    "exit.stops.hard.working_type": "last",
    "exit.stops.hard.distance": 0.02,
}


@pytest.mark.parametrize("monitoring", ["continuous", "interval"])
@RELAXED
@given(data=st.data(), where=st.floats(0.0, 0.9))
def test_a_crash_loses_no_more_than_the_hard_stop_slippage_and_a_gap(
    monitoring: str, data: st.DataObject, where: float
) -> None:
    """What is open when the program dies ends at its hard stop at the latest, or beyond it where the price jumped.

    Not with `points`, where the exchange too acts at the next point only.
    """
    case = data.draw(cases(max_symbols=1, **CRASHED, **{"exit.monitoring": monitoring}))
    first, last = int(case.market.boundaries[0]), int(case.market.boundaries[-1])
    begin = first + int((last - first) * where) // HOUR * HOUR
    rows = np.zeros(1, outage_dt)
    rows["ts"], rows["blind"] = begin, 1
    run = replace(case, market=case.market._replace(outages=rows)).compiled()
    item = case.inputs[0]
    opens = {int(ts): float(price) for ts, price in zip(item.bars["ts_open"], item.bars["open"], strict=True)}
    for fill in run.fills[(run.fills["ts"] > begin) & (run.fills["reason"] == Reason.HARD_STOP)]:
        trade = run.trades[run.trades["trade_id"] == fill["trade_id"]][0]
        jumped_to = opens.get(int(fill["ts"]), trade["hard_price"])
        worst = min(trade["hard_price"], jumped_to) if fill["side"] > 0 else max(trade["hard_price"], jumped_to)
        slipped = worst * (1 - fill["side"] * case.params["costs"]["slippage_bps"][0] * 1e-4)
        assert fill["side"] * (fill["price"] - slipped) >= -1e-9 * slipped
