"""What comes first: steps over all symbols at one instant, exchange before program, exits before entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scenarios.candles import Row, play, symbol

FLAT: Row = (100, 100, 100, 100)
NO_LEVELS: dict[str, Any] = {"exit__policy": "bracket", "exit__bracket__tp": "inf", "exit__bracket__sl": "inf"}
ATR_TRAIL: dict[str, Any] = {"exit__stops__trail__mode": "atr", "exit__base_tp": 0.3}


LAST_POINT: Row = (100, 105, 99.9, 103.95)
"""The trail's stop, 1 % below the peak of 105, is reached at the very last point. A low is always seen earlier."""
TRAILED: dict[str, Any] = {
    "exit__base_tp": 0.1,
    "exit__stops__trail__mode": "percent",
    "exit__stops__trail__distance": 0.01,
    "exit__stops__trail__activate": 0.02,
}


def at(price: float) -> Row:
    return (price, price, price, price)


# Over all symbols before the next step -------------------------------------------------------------------------------


def test_liquidation_of_all_symbols_before_any_exchange_stop() -> None:
    a = symbol([FLAT, FLAT, at(97)], name="AAA", long=[0])
    b = symbol([FLAT, FLAT, at(60)], name="BBB", long=[0])
    story = play(a, b, leverage__fixed=10.0)
    assert [fill[0] for fill in story.fills[2:]] == ["liquidation", "hard_stop"]
    assert story.who[2:] == [1, 0]


def test_exchange_stops_of_all_symbols_before_any_internal_stop() -> None:
    a = symbol([FLAT, FLAT, at(98.5)], name="AAA", long=[0])
    b = symbol([FLAT, FLAT, at(97)], name="BBB", long=[0])
    story = play(a, b)
    assert [fill[0] for fill in story.fills[2:]] == ["hard_stop", "stop"]
    assert story.who[2:] == [1, 0]


def test_exit_cycles_of_all_symbols_before_any_signal_exit() -> None:
    a = symbol([FLAT, FLAT, FLAT, FLAT], name="AAA", long=[0], exit_long=[1])
    b = symbol([FLAT, FLAT, at(98.5), at(98.5)], name="BBB", long=[0])
    story = play(a, b)
    assert [fill[0] for fill in story.fills[2:]] == ["stop", "signal"]
    assert story.who[2:] == [1, 0]


def test_signal_exits_of_all_symbols_before_any_entry() -> None:
    """AAA comes first by name, but its entry is paid with what BBB's exit frees."""
    a = symbol([FLAT] * 4, name="AAA", long=[2])
    b = symbol([FLAT] * 4, name="BBB", long=[0], exit_long=[2])
    story = play(a, b, balance=1_000.0, sizing__model="notional", sizing__notional=700.0)
    assert [fill[0] for fill in story.fills] == ["entry", "signal", "entry", "end_of_data"]
    assert story.who == [1, 1, 0, 0]
    assert story.hours[:3] == [1.0, 3.0, 3.0]


@pytest.mark.parametrize("monitoring", ["continuous", "points"])
def test_last_points_of_all_symbols_before_funding(monitoring: str) -> None:
    """Both stop out at the close that is a funding time; neither pays."""
    rows = [FLAT, LAST_POINT, FLAT]
    a = symbol(rows, name="AAA", long=[0], funding=[(2, 0.01)])
    b = symbol(rows, name="BBB", long=[0], funding=[(2, 0.01)])
    story = play(a, b, **TRAILED, exit__monitoring=monitoring)
    assert story.reasons == ["trail", "trail"]
    assert story.hours[2:] == [2.0, 2.0]
    assert story.paid == []


def test_funding_comes_in_name_order_and_before_equity_is_marked() -> None:
    a = symbol([FLAT] * 3, name="AAA", long=[0], funding=[(2, 0.01)])
    b = symbol([FLAT] * 3, name="BBB", short=[0], funding=[(2, 0.02)])
    story = play(a, b)
    assert story.paid == [-1.0, 2.0]
    assert story.equity[:3] == [1_000_000.0, 1_000_000.0, 1_000_001.0]


def test_equity_is_marked_before_the_entry_of_that_instant() -> None:
    story = play(symbol([FLAT] * 3, long=[0]), **NO_LEVELS, costs__fees__taker=0.01)
    assert story.equity == [1_000_000.0, 1_000_000.0, 999_999.0, 999_998.0]


def test_a_bars_atr_is_not_known_at_its_own_last_point() -> None:
    """Peak 105; the bar that closes at 104.40 shows an ATR of 0.5: only the next open knows the stop of 104.50."""
    rows = [FLAT, (100, 105, 100, 105), (105, 105, 104.4, 104.4), at(104.4)]
    atr = np.array([3.0, 3.0, 0.5, 0.5])
    story = play(symbol(rows, long=[0], atr=atr), **ATR_TRAIL)
    assert story.fills[-1] == ("trail", 104.4, 1.0)
    assert story.hours[-1] == 3.0


def test_the_last_point_is_judged_before_the_data_ends() -> None:
    story = play(symbol([FLAT, LAST_POINT], long=[0]), **TRAILED)
    assert story.reasons == ["trail"]
    assert story.hours[-1] == 2.0


def test_end_of_data_comes_before_the_funding_of_that_instant() -> None:
    story = play(symbol([FLAT, FLAT], long=[0], funding=[(2, 0.01)]))
    assert story.reasons == ["end_of_data"]
    assert story.paid == []


# Ties ----------------------------------------------------------------------------------------------------------------

TEN_TIMES: dict[str, Any] = {"leverage__fixed": 10.0}
LANDINGS = [
    ("past_all_three_is_a_liquidation", 80.0, "liquidation"),
    ("past_both_stops_is_the_hard_stop", 97.0, "hard_stop"),
    ("past_the_internal_stop_alone", 98.5, "stop"),
    ("exactly_on_the_hard_stop", 98.0, "hard_stop"),
    ("exactly_on_the_internal_stop", 98.8, "stop"),
]


@pytest.mark.parametrize(("price", "reason"), [t[1:] for t in LANDINGS], ids=[t[0] for t in LANDINGS])
@pytest.mark.parametrize("monitoring", ["continuous", "points"])
def test_a_jump_lands(monitoring: str, price: float, reason: str) -> None:
    story = play(symbol([FLAT, FLAT, at(price)], long=[0]), **TEN_TIMES, exit__monitoring=monitoring)
    assert story.reasons == [reason]
    assert story.hours[-1] == 2.0
    mirror = play(symbol([FLAT, FLAT, at(200 - price)], short=[0]), **TEN_TIMES, exit__monitoring=monitoring)
    assert mirror.reasons == [reason]


def test_hard_stop_and_target_at_one_point_is_the_hard_stop() -> None:
    """The mark falls through the hard stop at the open at which the last price stands on the first target."""
    marks = [FLAT, FLAT, at(97)]
    story = play(symbol([FLAT, FLAT, at(102)], long=[0], marks=marks))
    assert story.fills[-1] == ("hard_stop", 102, 1.0)


def test_internal_stop_on_the_mark_and_target_at_one_point_is_the_stop() -> None:
    marks = [FLAT, FLAT, at(98.5)]
    story = play(symbol([FLAT, FLAT, at(102)], long=[0], marks=marks), exit__trigger_price="mark")
    assert story.fills[-1] == ("stop", 102, 1.0)


def test_loss_guard_before_everything_the_program_does() -> None:
    """Mark 3 % down, last on the target: the guard looks at the mark and closes all."""
    marks = [FLAT, FLAT, at(97)]
    settings: dict[str, Any] = {"exit__guard__loss__max": 0.03, "exit__stops__hard__distance": 0.05}
    story = play(symbol([FLAT, FLAT, at(102)], long=[0], marks=marks), **settings)
    assert story.fills[-1] == ("loss_guard", 102, 1.0)


def test_a_signal_exit_and_an_opposite_entry_are_close_then_entry() -> None:
    story = play(symbol([FLAT] * 4, long=[0], exit_long=[1], short=[1]), exit__on_opposite_signal="reverse")
    assert [fill[0] for fill in story.fills] == ["entry", "reverse", "entry", "end_of_data"]
    assert story.hours[1] == story.hours[2] == 2.0


# Ranking -------------------------------------------------------------------------------------------------------------


def test_equal_notional_ranks_by_confidence() -> None:
    a = symbol([FLAT] * 3, name="AAA", long=[0], confidence=0.5)
    b = symbol([FLAT] * 3, name="BBB", long=[0], confidence=0.9)
    story = play(a, b, balance=1_000.0, sizing__fixed_qty=7.0)
    assert story.who == [1, 1]
    assert story.denials == ["insufficient_margin"]


def test_candidates_are_sized_on_one_state_and_walked_on_the_next() -> None:
    """Both are sized on the whole balance; the second no longer fits."""
    a = symbol([FLAT] * 3, name="AAA", long=[0])
    b = symbol([FLAT] * 3, name="BBB", long=[0])
    story = play(a, b, **NO_LEVELS, balance=1_000.0, sizing__model="fraction", sizing__fraction=0.6)
    assert story.fills[0] == ("entry", 100, 6.0)
    assert story.denials == ["insufficient_margin"]


def test_swapping_names_swaps_nothing_but_names() -> None:
    one: dict[str, Any] = {"rows": [FLAT, (100, 103, 99, 101), at(98)], "long": [0], "funding": [(1.5, 0.01)]}
    two: dict[str, Any] = {"rows": [FLAT, (100, 101, 97.5, 99), at(99)], "short": [0], "funding": [(1.5, 0.02)]}

    def told(first: dict[str, Any], second: dict[str, Any]) -> tuple[list[tuple[float, str, float]], float]:
        story = play(symbol(name="AAA", **first), symbol(name="BBB", **second))
        fills = sorted((hour, fill[0], fill[1]) for hour, fill in zip(story.hours, story.fills, strict=True))
        return fills, story.equity[-1]

    assert told(one, two) == told(two, one)


# Path ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "hour"), [("nearest", 1 + 1 / 3), ("adverse", 1 + 2 / 3), ("favourable", 1 + 2 / 3)])
def test_orders_that_leave_equal_equity_take_the_low_first(path: str, hour: float) -> None:
    """The target is the high; the stop is out of reach. The high is nearer, but the money is the same either way."""
    settings: dict[str, Any] = {
        "exit__harvest__scheme__by": "static",
        "exit__stops__ratchet__preset": "off",
        "exit__base_sl": 0.1,
        "exit__levels__sl__max": 0.5,
        "exit__stops__hard__distance": 0.3,
    }
    story = play(symbol([FLAT, (100, 102, 97, 100)], long=[0]), sim__path=path, **settings)
    assert story.fills[1] == ("tp1", 102, 0.25)
    assert story.hours[1] == pytest.approx(hour, abs=1e-6)


@pytest.mark.parametrize(("path", "reasons"), [("adverse", ["stop", "stop"]), ("favourable", ["tp1", "tp1"])])
def test_each_symbol_takes_its_own_worst_or_best_order(path: str, reasons: list[str]) -> None:
    """Long and short on the same candle: adverse is the low first for one and the high first for the other."""
    row: Row = (100, 103, 97, 100)
    settings: dict[str, Any] = {"exit__policy": "bracket", "exit__bracket__tp": 0.02, "exit__bracket__sl": 0.02}
    story = play(
        symbol([FLAT, row], name="AAA", long=[0]),
        symbol([FLAT, row], name="BBB", short=[0]),
        sim__path=path,
        **settings,
    )
    assert story.reasons == reasons


def test_mark_bars_unfold_in_the_order_of_the_last_price() -> None:
    """The last price takes its high first; the mark, whose low is nearer, follows: its low comes at 40 minutes."""
    rows = [FLAT, (100, 100.2, 99, 99.5)]
    marks = [FLAT, (100, 103, 98, 99.5)]
    story = play(symbol(rows, long=[0], marks=marks))
    assert story.reasons == ["hard_stop"]
    assert story.hours[-1] == pytest.approx(1 + 2 / 3, abs=1e-6)
    assert story.fills[-1][1] == pytest.approx(99.0)
