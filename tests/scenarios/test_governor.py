"""Gates and Safety Governor in a run: what they do to open positions, when they end, and that exits pass no gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import GovernorDecision, Health, LeaderRegime, Reason, Regime
from qtsim.core.records import outage_dt
from qtsim.sim.market import build_market
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, Case, params_of
from tests.scenarios.candles import CLEAN, Row, Story, play, symbol

FLAT: Row = (100, 100, 100, 100)
GATED: dict[str, Any] = {
    "gates__enabled": True,
    "exit__policy": "bracket",
    "exit__bracket__tp": "inf",
    "exit__bracket__sl": 0.5,
    "limits__exposure__max": "inf",
    "limits__sector_share": "inf",
}
"""Gates and governor on; stops so wide that only the governor closes."""
NO_HOURLY: dict[str, Any] = {"governor__hourly__loss": "inf"}
LARGE: dict[str, Any] = {**GATED, "sizing__fixed_qty": 10.0, "leverage__fixed": 5.0}
"""Ten units of 100 at 5x, on an account of 1,000: each per cent of the price is one of the equity."""


def at(price: float) -> Row:
    return (price, price, price, price)


def events(story: Story) -> list[tuple[float, str, bool]]:
    """(hour, decision, whether it fires) of the governor's events."""
    return [
        ((int(row["ts"]) - START) / HOUR, GovernorDecision(int(row["decision"])).name, bool(row["begins"]))
        for row in story.journals.governor
    ]


# Shutdown ------------------------------------------------------------------------------------------------------------


def test_a_shutdown_closes_everything_at_the_next_point_and_the_operator_returns() -> None:
    """1,000 in a position of 1,000 that falls by 6 %: evaluated at the close of hour 2, closed at its open."""
    rows = [FLAT, (100, 100, 94, 94), *[at(94)] * 30]
    story = play(
        symbol(rows, long=[0, 5, 26]), balance=1_000.0, governor__daily_drawdown="inf", **{**LARGE, **NO_HOURLY}
    )
    assert [fill[:2] for fill in story.fills[:2]] == [("entry", 100), ("governor", 94)]
    assert story.hours[:2] == [1.0, 2.0]
    assert events(story) == [(2.0, "EMERGENCY_SHUTDOWN", True), (26.0, "EMERGENCY_SHUTDOWN", False)]
    assert story.denials == ["emergency_shutdown"]
    assert story.hours[2] == 27.0, "24 hours later trading resumes"


def test_a_second_shutdown_counts_from_the_new_base() -> None:
    rows = [FLAT, (100, 100, 94, 94), *[at(94)] * 25, (94, 94, 88, 88), *[at(88)] * 3]
    story = play(symbol(rows, long=[0, 26]), balance=1_000.0, governor__daily_drawdown="inf", **{**LARGE, **NO_HOURLY})
    assert [hour for hour, _, begins in events(story) if begins] == [2.0, 28.0]
    assert int(story.journals.trades["exit_reason"][1]) == int(story.journals.trades["exit_reason"][0])


def test_a_gap_takes_the_governors_exit_to_the_first_price_after_it() -> None:
    rows = [FLAT, (100, 100, 94, 94), at(90)]
    story = play(symbol(rows, at=[0, 1, 9], long=[0]), balance=1_000.0, **LARGE)
    assert story.fills[-1][:2] == ("governor", 90)


# Defensive exit ------------------------------------------------------------------------------------------------------


def losing_symbol(n: int) -> Any:
    """A symbol that is stopped once in each of its first n bars."""
    return symbol([FLAT, *[(100, 100, 98.5, 100)] * n, *[FLAT] * 8], name="BBB", long=list(range(n)))


def test_a_losing_streak_halves_the_other_position_and_its_stop() -> None:
    """Six stops of BBB within six hours; AAA stands at 104 with its stop at 90: half is sold, the stop goes to 97."""
    held = symbol([FLAT, (100, 104, 100, 104), *[at(104)] * 13], name="AAA", long=[0])
    held.signals["sl"][0] = 0.10
    settings = {**GATED, "exit__bracket__sl": 0.012, **NO_HOURLY}
    story = play(held, losing_symbol(6), **settings)
    mine = [row for row in story.journals.fills if row["symbol"] == 0]
    assert [float(row["qty"]) for row in mine[:2]] == [1.0, 0.5]
    reduced = [row for row in story.journals.decisions if row["symbol"] == 0][1]
    assert float(reduced["stop_price"]) == 97.0
    fired, ended = events(story)[:2]
    assert (fired[1:], ended[1:]) == (("DEFENSIVE_EXIT", True), ("DEFENSIVE_EXIT", False))
    assert 6.0 < fired[0] < 7.0
    assert (int(mine[1]["ts"]) - START) / HOUR > fired[0], "at its next point"


def test_entries_after_a_defensive_exit_have_half_their_size_until_the_next_win() -> None:
    rows = [FLAT, *[(100, 100, 98.5, 100)] * 6, *[FLAT] * 6, (100, 104, 100, 104), at(104), at(104), at(104)]
    story = play(
        symbol(rows, long=[*range(6), 8, 11, 13]),
        **{**GATED, "exit__bracket__sl": 0.012, "exit__bracket__tp": 0.03, **NO_HOURLY},
    )
    entries = [fill[2] for fill in story.fills if fill[0] == "entry"]
    # four losses in a row: DEFENSIVE mode halves; six: the governor halves as well; a win gives both back
    assert entries == [1.0] * 4 + [0.5, 0.5, 0.25, 1.0]
    assert "defensive_exit" in story.denials


# Pause ---------------------------------------------------------------------------------------------------------------


def test_a_pause_ends_inside_a_bar_and_the_next_entry_passes() -> None:
    """The stop of hour 1 at 98.8 costs 1.2 %; an hour later the pause is over, before the bar is."""
    rows = [FLAT, FLAT, (100, 100, 98, 98), at(98), at(98), at(98)]
    story = play(
        symbol(rows, long=[0, 2, 3]),
        balance=100.0,
        limits__balance__min=0.0,
        limits__balance__buffer=1.0,
        **{**GATED, "exit__bracket__sl": 0.012},
    )
    (paused, _, _), (ended, _, is_start) = [event for event in events(story) if event[1] == "PAUSE_1H"][:2]
    assert 2.0 < paused < 3.0
    assert (ended, is_start) == (4.0, False), "noted at the next evaluation"
    assert story.denials == ["pause_1h"]
    assert [hour for hour, fill in zip(story.hours, story.fills, strict=True) if fill[0] == "entry"] == [1.0, 4.0]


# Daily drawdown and days ---------------------------------------------------------------------------------------------


def test_no_new_trades_until_the_next_utc_day() -> None:
    rows = [FLAT, (100, 100, 96, 96), *[at(96)] * 25]
    story = play(symbol(rows, long=[0, 5, 24], exit_long=[2]), balance=1_000.0, **{**LARGE, **NO_HOURLY})
    assert events(story)[:2] == [(2.0, "NO_NEW_TRADES", True), (24.0, "NO_NEW_TRADES", False)]
    assert story.denials == ["daily_drawdown"]
    assert story.hours[-2] == 25.0


# Gates ---------------------------------------------------------------------------------------------------------------


def test_exits_pass_no_gate() -> None:
    """A signal without confidence closes what it could not open."""
    story = play(symbol([FLAT] * 5, long=[0], exit_long=[2], confidence=0.25), **GATED)
    assert story.reasons == ["signal"]
    low = symbol([FLAT] * 5, long=[0], exit_long=[2], confidence=0.25)
    low.signals["confidence"][2] = 0.0
    assert play(low, **GATED).reasons == ["signal"]


@pytest.mark.parametrize("confidence", [0.19, 0.2])
def test_the_confidence_filter(confidence: float) -> None:
    story = play(symbol([FLAT] * 4, long=[0], confidence=confidence), **GATED)
    assert story.denials == (["low_confidence"] if confidence < 0.2 else [])


def test_candidates_of_one_instant_are_checked_again_after_each_entry() -> None:
    """Two longs allowed, three asked: the largest two enter."""
    sizes = [symbol([FLAT] * 4, name=name, long=[0]) for name in ("AAA", "BBB", "CCC")]
    for item, rate in zip(sizes, (0.02, 0.01, 0.04), strict=True):
        item.signals["atr_pct"] = rate
    story = play(
        *sizes,
        **{**GATED, "limits__positions__long": 2, "sizing__model": "math", "sizing__math__risk": 0.002},
        limits__per_trade__margin=1.0,
    )
    assert [int(row["symbol"]) for row in story.journals.fills if row["reason"] == Reason.ENTRY] == [1, 0]
    assert story.denials == ["positions_long"]


def test_in_a_downtrend_shorts_come_first_among_equals() -> None:
    long, short = (symbol([FLAT] * 4, name=name, **{side: [0]}) for name, side in (("AAA", "long"), ("BBB", "short")))
    for item in (long, short):
        item.signals["leader_regime"] = LeaderRegime.DOWNTREND
    story = play(long, short, **{**GATED, "limits__positions__total": 1})
    assert story.who[0] == 1
    assert story.denials == ["positions_total"]


def test_a_change_from_trending_to_choppy_tightens_the_stop_once_at_the_next_open() -> None:
    """ATR 2: the stop of 98.8 goes to 101 - 0.5 · 2 = 100 at the open after the change, and no further."""
    rows = [FLAT, (100, 101, 100, 101), at(101), (101, 101.5, 101, 101.5), at(101.5), at(101.5)]
    item = symbol(rows, long=[0], atr=2.0)
    item.signals["regime"][:2] = Regime.TRENDING
    item.signals["regime"][2:] = Regime.CHOPPY
    item.signals["regime"][3] = Regime.TRENDING
    story = play(item, sim__end_of_data="open", exit__base_tp=0.1)
    assert story.decisions[1:] == [("MOVE_SL", "regime")]
    assert story.stops[1] == 100.0


def test_the_trail_style_follows_the_regime_at_entry() -> None:
    multiples = []
    for regime in (Regime.UNKNOWN, Regime.TRENDING, Regime.BREAKOUT):
        item = symbol([FLAT] * 3, long=[0], atr=1.0)
        item.signals["regime"] = regime
        story = play(item, sim__end_of_data="open", exit__stops__trail__mode="atr")
        multiples.append(float(story.journals.positions["trail_multiple"][0]))
    assert multiples == [1.0, 0.5, 1.5]


# Health --------------------------------------------------------------------------------------------------------------


def test_an_injected_outage_stops_entries_and_ends() -> None:
    outages = np.zeros(2, outage_dt)
    outages["ts"], outages["health"] = [START + 2 * HOUR, START + 4 * HOUR], [Health.CRITICAL, Health.HEALTHY]
    item = symbol([FLAT] * 8, long=[1, 2, 3, 5], exit_long=[4])
    params = params_of({**CLEAN, **{key.replace("__", "."): value for key, value in GATED.items()}})
    case = Case(build_market([item], HOUR, outages=outages), params, ["AAA"], 1_000_000.0, [item])
    compiled, reference = case.compiled(), case.reference()
    assert first_difference(compiled, reference) is None
    story = Story(compiled)
    assert story.denials == ["no_new_trades", "no_new_trades"]
    assert [hour for hour, fill in zip(story.hours, story.fills, strict=True) if fill[0] == "entry"] == [4.0, 6.0]
