"""Hedge mode: one position per symbol and side, each with its own stops, both in every sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scenarios.candles import play, symbol

FLAT = (100.0, 100.0, 100.0, 100.0)
HEDGE: dict[str, Any] = {"account__mode__position": "hedge"}
HELD: dict[str, Any] = {**HEDGE, "exit__policy": "bracket", "exit__bracket__sl": "inf", "exit__bracket__tp": "inf"}
"""Nothing closes a position but signals and the end of data."""


def test_long_and_short_at_once_each_with_its_own_stop() -> None:
    rows = [FLAT, FLAT, (100, 100, 98.5, 98.5), (98.5, 101.5, 98.5, 101.5)]
    story = play(symbol(rows, long=[0], short=[1]), exit__base_tp=0.1, **HEDGE)
    assert story.fills == [("entry", 100, 1), ("entry", 100, 1), ("stop", 98.8, 1), ("stop", 101.2, 1)]
    assert story.journals.fills["side"].tolist() == [1, -1, 1, -1]
    assert story.who == [0, 0, 0, 0], "rows name the symbol"
    assert story.journals.trades["symbol"].tolist() == [0, 0]
    assert not story.denials


def test_in_one_way_mode_the_other_side_is_denied() -> None:
    assert play(symbol([FLAT] * 4, long=[0], short=[1]), **{**HELD, "account__mode__position": "one_way"}).denials == [
        "opposite_ignored"
    ]


@pytest.mark.parametrize(
    ("on_opposite", "reasons", "denials"),
    [
        ("ignore", ["end_of_data", "end_of_data"], []),
        ("close", ["signal"], ["opposite_closed"]),
        ("reverse", ["reverse", "end_of_data"], []),
    ],
)
def test_an_opposite_signal(on_opposite: str, reasons: list[str], denials: list[str]) -> None:
    story = play(symbol([FLAT] * 4, long=[0], short=[1]), exit__on_opposite_signal=on_opposite, **HELD)
    assert (story.reasons, story.denials) == (reasons, denials)


def test_a_reversal_closes_the_other_side_before_it_is_sized() -> None:
    """All of 100 at 1x: the long's 5 lost are booked, then the short of 95 fits."""
    rows = [FLAT, (100, 100, 95, 95), (95, 95, 95, 95), (95, 95, 95, 95)]
    story = play(
        symbol(rows, long=[0], short=[1]),
        balance=100.0,
        exit__on_opposite_signal="reverse",
        sizing__model="fraction",
        sizing__fraction=1.0,
        **HELD,
    )
    assert story.fills[:3] == [("entry", 100, 1), ("reverse", 95, 1), ("entry", 95, 1)]
    assert story.hours[1:3] == [2, 2]


def test_a_request_for_a_side_that_is_held_is_counted_while_both_stand() -> None:
    story = play(symbol([FLAT] * 5, long=[0, 2], short=[1, 3]), sim__end_of_data="open", **HELD)
    assert story.denials == ["side_held", "side_held"]
    assert story.journals.positions["side"].tolist() == [1, -1]


@pytest.mark.parametrize(
    ("asked", "closed"), [({"exit_long": [2]}, 1), ({"exit_short": [2]}, -1)], ids=["exit_long", "exit_short"]
)
def test_an_exit_signal_closes_its_side_only(asked: dict[str, Any], closed: int) -> None:
    story = play(symbol([FLAT] * 5, long=[0], short=[1], **asked), **HELD)
    assert [(int(t["side"]), r) for t, r in zip(story.journals.trades, story.reasons, strict=True)] == [
        (closed, "signal"),
        (-closed, "end_of_data"),
    ]


def test_funding_on_both_sides_cancels() -> None:
    story = play(
        symbol([FLAT] * 5, long=[0], short=[1], funding=[(3, 0.01)]), sim__end_of_data="open", balance=1000.0, **HELD
    )
    assert story.paid == [-1, 1]
    assert float(story.journals.account["wallet"][0]) == 1000
    held = story.journals.positions
    assert held["margin"].tolist() == [99, 101], "each isolated margin moves with its own payment"
    assert held["symbol"].tolist() == [0, 0]


def test_each_side_has_its_own_isolated_margin_and_liquidation_price() -> None:
    """10x: the long is liquidated at 90.36, the short gains and is not."""
    rows = [FLAT, FLAT, (100, 100, 85, 85), (85, 85, 85, 85)]
    story = play(symbol(rows, long=[0], short=[1]), leverage__fixed=10.0, **HELD)
    assert story.fills[2:] == [("liquidation", pytest.approx(90.361446), 1), ("end_of_data", 85, 1)]
    assert story.pnl == [-10, 15]
    long_price, short_price = (float(x) for x in story.journals.trades["liq_price"])
    assert long_price == pytest.approx((10 - 100) / (0.004 - 1))
    assert short_price == pytest.approx((10 + 100) / (0.004 + 1))


def test_with_cross_margin_both_sides_count() -> None:
    """A hedged account of 21 outlives any price; only the maintenance of 0.4 % of 200 and more is needed."""
    rows = [FLAT, FLAT, (100, 100, 40, 40), (40, 200, 40, 200), FLAT]
    story = play(
        symbol(rows, long=[0], short=[1]), leverage__fixed=10.0, balance=21.0, account__mode__margin="cross", **HELD
    )
    assert story.reasons == ["end_of_data", "end_of_data"]
    assert float(story.journals.account["min_margin_ratio"][0]) == pytest.approx(21 / (2 * 200 * 0.004) - 1)


def test_a_hedged_cross_account_that_is_short_loses_both_sides() -> None:
    """1.7 against 0.004 · 450: both are closed at one price, and the first fee takes all that is left."""
    rows = [FLAT, FLAT, (100, 225, 100, 225), (225, 225, 225, 225)]
    cross = {"account__mode__margin": "cross", "leverage__fixed": 125.0}
    story = play(symbol(rows, long=[0], short=[1]), balance=1.7, **HELD, **cross)
    assert story.fills[2:] == [("liquidation", 225, 1), ("liquidation", 225, 1)]
    assert story.journals.trades["liq_fee"].tolist() == [pytest.approx(1.7), 0]
    assert float(story.journals.account["wallet"][0]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("path", ["adverse", "favourable"])
def test_both_sides_of_a_symbol_walk_one_path(path: str) -> None:
    """Alone the long would stop out low first and the short high first: no bar did both. Together both orders lose
    0.2, and equal is low first.
    """
    rows = [FLAT, FLAT, (100, 101.5, 98.5, 100), FLAT]
    settings: dict[str, Any] = {**HELD, "exit__bracket__sl": 0.012, "exit__bracket__tp": 0.01}
    story = play(symbol(rows, long=[0], short=[1]), sim__path=path, **settings)
    assert story.reasons == ["tp1", "stop"]
    assert story.journals.trades["side"].tolist() == [-1, 1], "99 comes before 98.8"
    assert story.pnl == [1, -1.2]


@pytest.mark.parametrize(("path", "reasons"), [("adverse", ["stop", "stop"]), ("favourable", ["tp1", "stop"])])
def test_the_order_of_a_bar_is_judged_by_what_both_sides_make_of_it(path: str, reasons: list[str]) -> None:
    """The short stops out in either order; the long's target decides."""
    rows = [FLAT, FLAT, (100, 101.5, 98.5, 100), FLAT]
    settings: dict[str, Any] = {**HELD, "exit__bracket__sl": 0.012}
    item = symbol(rows, long=[0], short=[1], tp=np.array([0.01, 0.5, np.nan, np.nan]))
    story = play(item, sim__path=path, **settings)
    assert story.reasons == reasons
    assert story.journals.trades["side"].tolist() == [1, -1]


def test_one_bar_of_two_sides_is_ambiguous_once() -> None:
    """The long may reach its target before its stop; the short stands. One bar, one doubt, on the long alone."""
    rows = [FLAT, FLAT, (100, 102.5, 98.5, 100), FLAT]
    settings: dict[str, Any] = {**HEDGE, "exit__policy": "bracket", "exit__bracket__sl": 0.012}
    story = play(symbol(rows, long=[0], short=[1], tp=0.02), exit__bracket__tp=0.02, sim__path="adverse", **settings)
    assert story.journals.counts["ambiguous_bars"] == 1


def test_cooldown_counts_from_the_last_exit_of_the_same_side() -> None:
    rows = [FLAT] * 6
    story = play(symbol(rows, long=[0, 2], short=[1], exit_long=[1]), entry__cooldown_bars=3, **HELD)
    assert story.denials == ["cooldown"]
    assert sorted(story.journals.fills["side"].tolist()[:3]) == [-1, 1, 1]


def test_gates_count_both_sides() -> None:
    """Two positions allowed: both sides of AAA fill them."""
    gates: dict[str, Any] = {
        "gates__enabled": True,
        "limits__positions__total": 2,
        "limits__exposure__max": "inf",
        "limits__correlation__max": "inf",
    }
    pair = [symbol([FLAT] * 5, name="AAA", long=[0], short=[1]), symbol([FLAT] * 5, name="BBB", long=[2])]
    story = play(*pair, **{**HELD, **gates})
    assert story.who[:2] == [0, 0]
    assert story.denials == ["positions_total"]


def test_both_sides_share_the_statistics_of_their_symbol() -> None:
    """A lost long and a lost short are two losses of the symbol: the third request is denied."""
    gates: dict[str, Any] = {
        "gates__enabled": True,
        "orchestrator__symbol__disable_losses": 2,
        "governor__hourly__loss": 0.9,
        "limits__exposure__max": "inf",
    }
    rows = [FLAT, FLAT, (100, 101.5, 98.5, 100), FLAT, FLAT, FLAT]
    story = play(symbol(rows, long=[0, 3], short=[1]), exit__base_tp=0.1, **{**HEDGE, **gates})
    assert story.reasons == ["stop", "stop"]
    assert story.denials == ["symbol_disabled"]


def test_requests_are_counted_once() -> None:
    """An expired request of a symbol with two slots is one denial, and so is one that waits at the end."""
    story = play(symbol([FLAT, FLAT, FLAT], at=[0, 1, 4], long=[1]), **HELD)
    assert story.denials == ["expired"]
    waiting = play(symbol([FLAT, FLAT], long=[1]), sim__end_of_data="open", **HELD)
    assert waiting.journals.counts["pending_at_end"] == 1
    ended = play(symbol([FLAT, FLAT], short=[1]), **HELD)
    assert ended.denials == ["end_of_data"]
    assert ended.journals.denials["side"].tolist() == [-1]


def test_two_symbols_with_both_sides_fill_in_name_order() -> None:
    both = {"long": [0], "short": [1]}
    story = play(symbol([FLAT] * 4, name="AAA", **both), symbol([FLAT] * 4, name="BBB", **both), **HELD)
    assert story.who == [0, 1, 0, 1, 0, 0, 1, 1]
    assert story.journals.fills["side"].tolist() == [1, 1, -1, -1, 1, -1, 1, -1]
