"""Gates and Safety Governor in a run: what they do to open positions, when they end, and that exits pass no gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import GovernorDecision, Health, LeaderRegime, PlanFlag, Reason, Regime
from qtsim.core.records import outage_dt
from qtsim.sim.market import build_market
from qtsim.sim.run import first_difference
from tests.generated import HOUR, START, Case, instrument, params_of
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
STOPPED: dict[str, Any] = {**GATED, "exit__bracket__sl": 0.012}
"""Stopped at 98.8."""
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
    (denial,) = story.journals.denials
    assert (denial["value"], denial["limit"]) == (0.06, 0.05)
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


@pytest.mark.parametrize(("stopped", "other"), [("AAA", "BBB"), ("BBB", "AAA")])
@pytest.mark.parametrize("monitoring", ["continuous", "points"])
def test_the_next_point_is_a_later_one_whatever_the_names(stopped: str, other: str, monitoring: str) -> None:
    """One symbol's stop in the gap at hour 2 shuts down; the other closes 20 minutes later at its low, not at 100."""
    falls = symbol([FLAT, FLAT, *[at(94)] * 3], name=stopped, long=[0], sl=0.05)
    holds = symbol([FLAT, FLAT, (100, 103, 99, 101), *[at(101)] * 2], name=other, long=[0])
    story = play(
        *sorted([falls, holds], key=lambda item: item.symbol),
        balance=1_000.0,
        exit__monitoring=monitoring,
        **{**LARGE, **NO_HOURLY},
    )
    exits = [(*fill[:2], hour) for fill, hour in zip(story.fills, story.hours, strict=True) if fill[0] != "entry"]
    assert exits == [("stop", 94, 2.0), ("governor", 99, pytest.approx(2 + 1 / 3, abs=1e-6))]


def test_a_shutdown_at_a_bars_last_point_closes_at_the_open_at_the_same_time() -> None:
    """BBB's data end at hour 2 with a loss; AAA closes at its own open then, which is its next point."""
    rows = [FLAT, FLAT, (102, 103, 101, 102), at(102)]
    held, ends = symbol(rows, name="AAA", long=[0]), symbol([FLAT, (100, 100, 94, 94)], name="BBB", long=[0])
    story = play(held, ends, balance=1_000.0, **{**LARGE, **NO_HOURLY})
    exits = [(*fill[:2], hour) for fill, hour in zip(story.fills, story.hours, strict=True) if fill[0] != "entry"]
    assert exits == [("end_of_data", 94, 2.0), ("governor", 102, 2.0)]


@pytest.mark.parametrize("monitoring", ["points", "interval"])
@pytest.mark.parametrize("margin", ["isolated", "cross"])
def test_what_one_symbol_loses_while_another_gains_it_is_no_loss(margin: str, monitoring: str) -> None:
    """AAA falls by 8 % while BBB rises by 8 %: at every instant the account has what it had."""
    falls = symbol([FLAT, (100, 100, 92, 92), at(92), at(92)], name="AAA", long=[0])
    rises = symbol([FLAT, (100, 108, 100, 108), at(108), at(108)], name="BBB", long=[0])
    settings = {**LARGE, **NO_HOURLY, "exit__monitoring": monitoring, "exit__check_interval_s": 1200.0}
    story = play(falls, rises, balance=1_000.0, account__mode__margin=margin, **settings)
    assert events(story) == []
    assert story.reasons == ["end_of_data", "end_of_data"]


@pytest.mark.parametrize(("path", "price"), [("nearest", 97), ("adverse", 104), ("favourable", 97)])
def test_the_path_rule_chooses_where_the_governor_closes(path: str, price: float) -> None:
    """AAA's exit at the open of hour 3 shuts down; BBB, short at 100, closes at its bar's first extreme."""
    falls = symbol([FLAT, FLAT, FLAT, *[at(94)] * 3], name="AAA", long=[0], exit_long=[2])
    short = symbol([FLAT, FLAT, FLAT, (100, 104, 97, 100), *[FLAT] * 2], name="BBB", short=[0])
    story = play(falls, short, balance=1_000.0, sim__path=path, **{**LARGE, **NO_HOURLY})
    assert story.fills[-1][:2] == ("governor", price)
    if path != "nearest":
        assert list(story.journals.trades["path_dependent"]) == [0, 1]


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


# (id, settings under which a stop at 95 stands and nothing on the exchange is nearer than 80)
WIDE_POLICIES: list[tuple[str, dict[str, Any]]] = [
    ("bracket", {}),
    ("legacy", {"exit__legacy__hard": 0.2}),
    ("exit_brain", {"exit__stops__hard__distance": 0.2, "exit__levels__sl__max": 0.1}),
    ("profit_lock", {"exit__stops__hard__distance": 0.2, "exit__levels__sl__max": 0.1}),
]


@pytest.mark.parametrize(("policy", "wide"), WIDE_POLICIES, ids=[policy for policy, _ in WIDE_POLICIES])
def test_what_is_through_its_stop_is_closed_whole_not_halved_first(policy: str, wide: dict[str, Any]) -> None:
    """A look per hour: BBB's sixth loss orders the half at hour 7; at hour 8 AAA stands at 90, its stop at 95."""
    falling = symbol(
        [*[at(round(100 * 0.98**k, 2)) for k in range(9)], *[at(85)] * 4], name="BBB", long=list(range(7)), sl=0.012
    )
    held = symbol([*[at(100)] * 8, at(90), *[at(85)] * 4], name="AAA", long=[0], sl=0.05)
    story = play(
        held,
        falling,
        exit__monitoring="interval",
        exit__check_interval_s=3600.0,
        limits__correlation__max="inf",
        **{**GATED, **NO_HOURLY, **wide, "exit__policy": policy},
    )
    assert "DEFENSIVE_EXIT" in [decision for _, decision, _ in events(story)]
    mine = [(*fill, hour) for who, fill, hour in zip(story.who, story.fills, story.hours, strict=True) if who == 0]
    assert mine == [("entry", 100.0, 1.0, 1.0), ("stop", 90.0, 1.0, 8.0)]


def test_a_pending_half_does_not_swallow_the_tightening_from_trending_to_choppy() -> None:
    """AAA's data end at 07:00 with its sixth loss: at that open BBB is halved, and there its regime turns CHOPPY too.

    ATR 1: the stop goes to 100 - 0.5, and with the half to the middle between that and the price.
    """
    losing = symbol([FLAT, *[(100, 100, 98.5, 100)] * 5, (100, 100, 99.5, 99.5)], name="AAA", long=list(range(6)))
    held = symbol([FLAT] * 10, name="BBB", long=[0], atr=1.0, sl=0.02)
    held.signals["regime"][:6] = Regime.TRENDING
    held.signals["regime"][6:] = Regime.CHOPPY
    settings = {**GATED, **NO_HOURLY, "exit__policy": "exit_brain", "sim__end_of_data": "close"}
    story = play(losing, held, **settings)
    mine = [
        (told, stop)
        for row, told, stop in zip(story.journals.decisions, story.decisions, story.stops, strict=True)
        if row["symbol"] == 1
    ]
    assert mine[1:] == [(("PARTIAL_CLOSE", "governor"), 99.75), (("FULL_EXIT_NOW", "end_of_data"), 99.75)]


# (id, the smallest order, what legs close after the half of 1.0; behind them the tenths they were planned to close)
HALVED_LEGS: list[tuple[str, float, list[tuple[str, float, float]]]] = [
    ("what_the_half_has_closed_no_leg_closes_again", 0.1, [("tp3", 106, 0.2)]),  # 3 2 2
    ("a_leg_below_the_minimum_is_of_zero_lots", 0.3, []),  # 3 0 4
    ("a_leg_that_closes_the_rest", 0.4, [("tp3", 106, 0.5)]),  # 0 5 5
]


@pytest.mark.parametrize(("smallest", "legs"), [c[1:] for c in HALVED_LEGS], ids=[c[0] for c in HALVED_LEGS])
def test_after_a_half_no_leg_is_smaller_than_the_exchange_takes(
    smallest: float, legs: list[tuple[str, float, float]]
) -> None:
    rules = instrument(tick=(1, 100), lot=(1, 10), min_qty=smallest)
    held = symbol([*[FLAT] * 8, (100, 107, 100, 107), *[at(107)] * 2], long=[0], rules=rules, sl=0.1)
    settings = {**GATED, **NO_HOURLY, "exit__policy": "exit_brain", "exit__stops__ratchet__preset": "off"}
    story = play(held, losing_symbol(6), sim__end_of_data="open", **settings)
    mine = [fill for who, fill in zip(story.who, story.fills, strict=True) if who == 0]
    assert mine == [("entry", 100, 1.0), ("governor", 100, 0.5), *legs]


def test_profit_locks_legs_after_a_half_are_of_what_remains() -> None:
    """A quarter of 0.5, a quarter of the rest, and so on; of 1.0 the half has closed what the first two legs would."""
    held = symbol([*[FLAT] * 8, (100, 106, 100, 106), *[at(106)] * 2], long=[0])
    settings = {**GATED, **NO_HOURLY, "exit__policy": "profit_lock", "leverage__fixed": 10.0}
    story = play(held, losing_symbol(6), sim__end_of_data="open", **settings)
    mine = [fill for who, fill in zip(story.who, story.fills, strict=True) if who == 0]
    legs = [("tp1", 100.8, 0.125), ("tp2", 101.5, 0.093), ("tp3", 102.5, 0.085), ("tp4", 103.5, 0.059)]
    assert mine == [("entry", 100, 1.0), ("governor", 100, 0.5), *legs, ("tp5", 105, 0.027)]


# (id, rules of the exchange, quantity entered at half of 1.0, what denies it instead, lifted to the minimum)
SMALLEST: list[tuple[str, dict[str, Any], list[float], list[str], bool]] = [
    ("half_can_be_sent", {}, [0.5], [], False),
    ("one_lot", {"lot": (1, 1)}, [1.0], [], True),
    ("minimum_quantity", {"min_qty": 0.6}, [0.6], [], True),
    ("minimum_notional", {"min_notional": 80.04}, [0.801], [], True),
    ("too_small_at_full_size_too", {"min_notional": 150.0}, [], ["min_notional"], False),
]


@pytest.mark.parametrize(
    ("rules", "entered", "denials", "is_lifted"), [c[1:] for c in SMALLEST], ids=[c[0] for c in SMALLEST]
)
def test_the_half_size_after_a_defensive_exit_is_never_too_small_to_send(
    rules: dict[str, Any], entered: list[float], denials: list[str], is_lifted: bool
) -> None:
    """Else no trade could win, and half size would never end. The next day, so that the mode is NORMAL again."""
    losing = symbol([FLAT, *[(100, 100, 98.5, 100)] * 6, *[FLAT] * 30], name="AAA", long=list(range(6)))
    asks = symbol([FLAT] * 37, name="BBB", long=[30], rules=instrument(tick=(1, 100), **{"lot": (1, 1000), **rules}))
    story = play(losing, asks, **{**GATED, **NO_HOURLY, "exit__bracket__sl": 0.012})
    mine = [fill for who, fill in zip(story.who, story.fills, strict=True) if who == 1]
    assert [qty for reason, _, qty in mine if reason == "entry"] == entered
    assert story.denials == denials
    flags = story.journals.trades["flags"][story.journals.trades["symbol"] == 1]
    assert [bool(flag & PlanFlag.SIZE_MINIMUM) for flag in flags] == [is_lifted] * len(entered)


def test_what_ends_by_itself_may_make_a_size_too_small() -> None:
    """CHOPPY halves one lot to none, and is nobody's lock-out."""
    asks = symbol([FLAT] * 4, long=[0], rules=instrument(lot=(1, 1)))
    asks.signals["regime"] = Regime.CHOPPY
    assert play(asks, **GATED).denials == ["zero_lots"]


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
    assert (ended, is_start) == (pytest.approx(paused + 1.0, abs=1e-9), False), "when it does, not when it is noticed"
    assert story.denials == ["pause_1h"]
    assert [hour for hour, fill in zip(story.hours, story.fills, strict=True) if fill[0] == "entry"] == [1.0, 4.0]


# Daily drawdown and days ---------------------------------------------------------------------------------------------


def test_no_new_trades_until_the_next_utc_day() -> None:
    rows = [FLAT, (100, 100, 96, 96), *[at(96)] * 25]
    story = play(symbol(rows, long=[0, 5, 24], exit_long=[2]), balance=1_000.0, **{**LARGE, **NO_HOURLY})
    assert events(story)[:2] == [(2.0, "NO_NEW_TRADES", True), (24.0, "NO_NEW_TRADES", False)]
    assert story.denials == ["daily_drawdown"]
    assert story.hours[-2] == 25.0


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_funding_at_midnight_is_a_loss_of_the_old_day(monitoring: str) -> None:
    """3.5 % of the equity is paid at 00:00; the new day begins below it, so nothing is lost in it."""
    item = symbol([FLAT] * 30, long=[0, 26], exit_long=[24], funding=[(24, 0.035)])
    story = play(item, balance=1_000.0, exit__monitoring=monitoring, **{**LARGE, **NO_HOURLY})
    assert events(story) == []
    assert story.denials == []


def test_a_loss_at_midnight_is_the_old_days() -> None:
    """AAA's data end at 00:00 with a loss after BBB's five of that day: the sixth in a row, not the first."""
    ending = symbol([*[FLAT] * 23, (100, 100, 99, 99)], name="AAA", long=[0])
    rows = [*[FLAT] * 18, *[(100, 100, 98.5, 100)] * 5, *[FLAT] * 5]
    story = play(ending, symbol(rows, name="BBB", long=list(range(17, 22))), **{**STOPPED, **NO_HOURLY})
    assert events(story)[0] == (24.0, "DEFENSIVE_EXIT", True)


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


@pytest.mark.parametrize(
    ("fields", "settings", "counted"),
    [
        ({}, {}, 1),  # entered: both passes ask, one answer counts
        ({"confidence": 0.1}, {}, 0),  # another gate ended it before the correlation was asked for
        ({}, {"limits__positions__long": 1}, 0),  # so did another rule of the same gate
        ({}, {"limits__exposure__max": 0.00015}, 1),  # denied later: 150 in all
        ({}, {"limits__correlation__max": "inf"}, 0),
    ],
)
def test_a_pair_without_correlation_is_counted_once_where_it_was_asked_for(
    fields: dict[str, float], settings: dict[str, Any], counted: int
) -> None:
    held, late = symbol([FLAT] * 6, name="AAA", long=[0]), symbol([FLAT] * 6, name="BBB", long=[2], **fields)
    story = play(held, late, **{**GATED, **settings})
    assert story.journals.counts["no_correlation"] == counted


def test_a_trade_closed_at_an_instant_counts_for_the_entries_of_that_instant() -> None:
    """Three stops, and a fourth loss that a reversal closes: DEFENSIVE mode already halves the reversal's entry."""
    rows = [FLAT, *[(100, 100, 98.5, 100)] * 3, (100, 100, 99, 99), at(99), at(99)]
    story = play(
        symbol(rows, long=[0, 1, 2, 3], short=[4]),
        exit__on_opposite_signal="reverse",
        **{**STOPPED, **NO_HOURLY},
    )
    assert story.fills[-3:-1] == [("reverse", 99, 1.0), ("entry", 99, 0.5)]


def test_a_trade_that_nets_nothing_is_no_loss_of_the_streak() -> None:
    """Three stops and one exit at the entry's price: the mode stays NORMAL."""
    rows = [FLAT, *[(100, 100, 98.5, 100)] * 3, *[FLAT] * 6]
    story = play(symbol(rows, long=[0, 1, 2, 3, 6], exit_long=[4]), **{**STOPPED, **NO_HOURLY})
    assert story.pnl[3] == 0.0
    assert [fill[2] for fill in story.fills if fill[0] == "entry"] == [1.0] * 5


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


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_tightening_of_inf_is_none(side: str) -> None:
    rows = [FLAT, *[FLAT] * 5]
    item = symbol(rows, atr=2.0, **{side: [0]})
    item.signals["regime"][:2] = Regime.TRENDING
    item.signals["regime"][2:] = Regime.CHOPPY
    story = play(item, sim__end_of_data="open", exit__stops__trail__choppy="inf")
    assert story.decisions[1:] == []
    assert len(story.fills) == 1


def test_the_trail_style_follows_the_regime_at_entry() -> None:
    multiples = []
    for regime in (Regime.UNKNOWN, Regime.TRENDING, Regime.BREAKOUT):
        item = symbol([FLAT] * 3, long=[0], atr=1.0)
        item.signals["regime"] = regime
        story = play(item, sim__end_of_data="open", exit__stops__trail__mode="atr")
        multiples.append(float(story.journals.positions["trail_multiple"][0]))
    assert multiples == [1.0, 0.5, 1.5]


# Health --------------------------------------------------------------------------------------------------------------


def play_outage(item: Any, begin: int, end: int, *, balance: float = 1_000_000.0, **settings: Any) -> Story:
    """Both drivers with the health CRITICAL from one hour to another."""
    outages = np.zeros(2, outage_dt)
    outages["ts"], outages["health"] = [START + begin * HOUR, START + end * HOUR], [Health.CRITICAL, Health.HEALTHY]
    params = params_of({**CLEAN, **{key.replace("__", "."): value for key, value in settings.items()}})
    case = Case(build_market([item], HOUR, outages=outages), params, ["AAA"], balance, [item])
    compiled, reference = case.compiled(), case.reference()
    assert first_difference(compiled, reference) is None
    return Story(compiled)


def test_an_injected_outage_stops_entries_and_ends() -> None:
    story = play_outage(symbol([FLAT] * 8, long=[1, 2, 3, 5], exit_long=[4]), 2, 4, **GATED)
    assert story.denials == ["no_new_trades", "no_new_trades"]
    assert events(story) == [(2.0, "NO_NEW_TRADES", True), (4.0, "NO_NEW_TRADES", False)]
    assert [float(row["equity"]) for row in story.journals.governor] == [1_000_000.0] * 2
    assert np.isnan(story.journals.governor["value"][0]), "an outage compares nothing"
    assert [hour for hour, fill in zip(story.hours, story.fills, strict=True) if fill[0] == "entry"] == [4.0, 6.0]


@pytest.mark.parametrize(
    ("begin", "end", "fired", "ended"),
    [
        (2, 5, 2.0, 24.0),  # the outage first: the drawdown of hour 3 goes on after it
        (4, 5, 3.0, 24.0),  # within the drawdown
        (4, 26, 3.0, 26.0),  # beyond the drawdown's day
        (3, 24, 3.0, 24.0),  # at the same instants
    ],
)
def test_an_outage_and_a_drawdown_are_one_decision(begin: int, end: int, fired: float, ended: float) -> None:
    """The drawdown of 4 % stands from hour 3 to the next UTC day: fired once, ended where neither holds."""
    item = symbol([FLAT, FLAT, (100, 100, 96, 96), *[at(96)] * 27], long=[0], exit_long=[3])
    story = play_outage(item, begin, end, balance=1_000.0, **{**LARGE, **NO_HOURLY})
    assert events(story) == [(fired, "NO_NEW_TRADES", True), (ended, "NO_NEW_TRADES", False)]
