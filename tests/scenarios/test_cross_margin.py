"""Cross margin: the whole account backs every position, and the exchange judges all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scenarios.candles import Story, play, symbol

FLAT = (100.0, 100.0, 100.0, 100.0)
UNTIL_LIQUIDATION: dict[str, Any] = {
    "account__mode__margin": "cross",
    "leverage__fixed": 10.0,
    "exit__policy": "bracket",
    "exit__bracket__sl": "inf",
    "exit__bracket__tp": "inf",
}
"""10x, maintenance 0.4 %, liquidation fee 1.25 %, one unit of 100 each, nothing that closes a position."""


def wallet(story: Story) -> float:
    return float(story.journals.account["wallet"][0])


def ratio(story: Story) -> float:
    return float(story.journals.account["min_margin_ratio"][0])


def test_a_profit_carries_a_loss() -> None:
    """Isolated, the long would be liquidated at 90.36; here the short's 15 keep the account whole."""
    falls = [FLAT, (100, 100, 85, 85), (85, 85, 85, 85)]
    pair = [symbol(falls, name="AAA", long=[0]), symbol(falls, name="BBB", short=[0])]
    story = play(*pair, balance=21.0, **UNTIL_LIQUIDATION)
    assert story.reasons == ["end_of_data", "end_of_data"]
    assert sorted(story.pnl) == [-15, 15]
    assert ratio(story) == pytest.approx(21 / (2 * 0.4) - 1), "21 back 0.4 % of 200; at 85 the same 21 back less"
    assert np.isnan(story.journals.trades["liq_price"]).all()
    isolated = play(*pair, balance=21.0, **{**UNTIL_LIQUIDATION, "account__mode__margin": "isolated"})
    assert isolated.reasons[0] == "liquidation"
    assert ratio(isolated) == np.inf


def test_all_positions_are_closed_at_the_point_at_which_the_balance_is_short() -> None:
    """25 - 2 · 12.5 = 0 at the low of the bar; the fees have nothing to take."""
    falls = [FLAT, (100, 100, 87.5, 95), (95, 95, 95, 95)]
    story = play(
        symbol(falls, name="AAA", long=[0]), symbol(falls, name="BBB", long=[0]), balance=25.0, **UNTIL_LIQUIDATION
    )
    assert story.fills[2:] == [("liquidation", 87.5, 1.0), ("liquidation", 87.5, 1.0)]
    assert story.who == [0, 1, 0, 1]
    assert story.hours[2:] == [pytest.approx(1 + 2 / 3, abs=1e-6)] * 2
    assert wallet(story) == 0.0


@pytest.mark.parametrize(("low", "closed"), [(87.51, False), (87.5, True), (87.49, True)])
def test_the_balance_at_the_maintenance_margins_and_beside_them(low: float, closed: bool) -> None:
    """One long: 12.85 + low - 100 against 0.004 · low; equal at 87.5."""
    falls = [FLAT, (100, 100, low, 95), (95, 95, 95, 95)]
    story = play(symbol(falls, long=[0]), balance=12.85, **UNTIL_LIQUIDATION)
    assert (story.reasons == ["liquidation"]) is closed
    assert ratio(story) == pytest.approx((12.85 + low - 100) / (0.004 * low) - 1, abs=1e-9)


def test_the_fee_is_charged_where_the_balance_allows_it() -> None:
    """11.09 - 10.73 = 0.36 is above 0.357; at 89.2 the balance is 0.29: the fee of 1.115 takes all of it."""
    falls = [FLAT, (100, 100, 89.2, 95), (95, 95, 95, 95)]
    story = play(symbol(falls, long=[0]), balance=11.09, **UNTIL_LIQUIDATION)
    trade = story.journals.trades[0]
    assert float(trade["liq_fee"]) == pytest.approx(0.29)
    assert wallet(story) == pytest.approx(0.0, abs=1e-12)


def test_fees_are_charged_in_symbol_order_until_nothing_is_left() -> None:
    """10.39 - 10 = 0.39 against 0.04 + 0.36. The small long pays its 1.25 % of 10, the large one what is left."""
    small, large = [(10.0, 10.0, 10.0, 10.0)] * 3, [FLAT, (100, 100, 90, 90), (90, 90, 90, 90)]
    story = play(
        symbol(small, name="AAA", long=[0]),
        symbol(large, name="BBB", long=[0]),
        balance=10.39,
        **{**UNTIL_LIQUIDATION, "leverage__fixed": 20.0},
    )
    assert story.journals.trades["liq_fee"].tolist() == [pytest.approx(0.125), pytest.approx(0.265)]
    assert wallet(story) == pytest.approx(0.0, abs=1e-12)


def test_a_jump_that_costs_more_than_the_wallet_leaves_nothing_and_no_debt() -> None:
    """Two longs of 100 on 30: at 70 they have lost 60. The first is settled at mark, the second where 0 is left."""
    falls = [FLAT, FLAT, (70, 70, 69, 70), FLAT]
    story = play(
        symbol(falls, name="AAA", long=[0]), symbol(falls, name="BBB", long=[0]), balance=45.0, **UNTIL_LIQUIDATION
    )
    assert story.fills[2:] == [("liquidation", 70, 1.0), ("liquidation", 85, 1.0)]
    assert story.hours[2:] == [2, 2], "at the open"
    assert story.pnl == [-30, -15]
    assert wallet(story) == 0.0
    assert story.equity[-1] == 0.0


@pytest.mark.parametrize("margin", ["cross", "isolated"])
@pytest.mark.parametrize(
    "sizing",
    [{}, {"sizing__model": "fraction"}, {"sizing__model": "notional"}],
    ids=["fixed_qty", "fraction", "notional"],
)
def test_an_exit_far_from_the_mark_can_leave_a_debt_and_nothing_is_entered_on_it(
    margin: str, sizing: dict[str, Any]
) -> None:
    """The mark stays at 100, so nothing is liquidated; the stop fills at the open at 40 and costs 60 of 21."""
    falls = [FLAT, FLAT, *[(40.0, 40.0, 40.0, 40.0)] * 4]
    settings = {**UNTIL_LIQUIDATION, "account__mode__margin": margin, "exit__bracket__sl": 0.02}
    item = symbol(falls, marks=[FLAT] * 6, long=[0, 3], exit_long=[2])
    story = play(item, balance=21.0, **{**settings, **sizing})
    assert story.reasons == ["stop"]
    assert story.equity[-1] < 0
    assert story.denials == ["zero_lots"]


def test_a_winner_pays_for_a_jump_before_a_settlement_price_moves() -> None:
    """30 in the wallet, the long loses 50, the short gains 15: 5 are missing, so the long is settled at 55."""
    up, down = [FLAT, FLAT, (85, 85, 85, 85)], [FLAT, FLAT, (50, 50, 50, 50)]
    story = play(
        symbol(down, name="AAA", long=[0]), symbol(up, name="BBB", short=[0]), balance=30.0, **UNTIL_LIQUIDATION
    )
    assert story.fills[2:] == [("liquidation", 55, 1.0), ("liquidation", 85, 1.0)]
    assert wallet(story) == 0.0


def test_the_account_is_judged_where_an_exit_would_fill_on_the_way() -> None:
    """A stop 50 % away lies beyond the account: at its trigger nothing is left to pay it, so it is a liquidation."""
    falls = [FLAT, (100, 100, 40, 45), (45, 45, 45, 45)]
    settings = {**UNTIL_LIQUIDATION, "exit__bracket__sl": 0.5}
    story = play(symbol(falls, long=[0]), balance=12.0, **settings)
    assert story.fills[-1] == ("liquidation", 88, 1.0), "12 lost"
    assert story.hours[-1] == pytest.approx(1 + 1 / 3 + 50 / 60 / 3, abs=1e-6)


def test_other_symbols_stand_at_the_share_of_the_way_at_which_one_meets_its_stop() -> None:
    """AAA's stop is half way down, where BBB has risen half way: its gain counts, and no account is liquidated."""
    down, up = [FLAT, (100, 100, 76, 76)], [FLAT, (100, 124, 100, 124)]
    settings = {**UNTIL_LIQUIDATION, "exit__bracket__sl": 0.12, "sim__end_of_data": "open"}
    story = play(
        symbol([*down, (76, 76, 76, 76)], name="AAA", long=[0]),
        symbol([*up, (124, 124, 124, 124)], name="BBB", long=[0]),
        balance=20.1,
        **settings,
    )
    assert story.reasons == ["stop"]
    assert story.pnl == [-12]


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_every_monitoring_judges_the_account_at_every_point(monitoring: str) -> None:
    falls = [FLAT, (100, 101, 80, 100), FLAT]
    story = play(
        symbol(falls, long=[0]),
        balance=15.0,
        exit__monitoring=monitoring,
        exit__check_interval_s=86_400.0,
        **UNTIL_LIQUIDATION,
    )
    assert story.fills[-1] == ("liquidation", 85, 1.0)
    assert story.hours[-1] == pytest.approx(1 + 2 / 3, abs=1e-6)


def test_a_liquidation_comes_before_a_hard_stop_at_one_point() -> None:
    settings = {
        "account__mode__margin": "cross",
        "leverage__fixed": 10.0,
        "exit__stops__hard__distance": 0.02,
    }
    story = play(symbol([FLAT, FLAT, (85, 85, 85, 85)], long=[0]), balance=12.0, **settings)
    assert story.fills[-1] == ("liquidation", 88, 1.0)


def test_unrealized_profit_can_back_an_entry() -> None:
    """11 of wallet less 10 of margin leave 1; the 20 of profit make 21, enough for the second entry's 10."""
    rises = [FLAT, (100, 120, 100, 120), (120, 120, 120, 120), (120, 120, 120, 120)]
    pair = [symbol(rises, name="AAA", long=[0]), symbol([FLAT] * 4, name="BBB", long=[1])]
    story = play(*pair, balance=11.0, **UNTIL_LIQUIDATION)
    assert len(story.journals.trades) == 2
    assert not story.denials
    isolated = play(*pair, balance=11.0, **{**UNTIL_LIQUIDATION, "account__mode__margin": "isolated"})
    assert isolated.denials == ["insufficient_margin"]


def test_an_open_loss_cannot_back_an_entry() -> None:
    """21 of wallet, 10 in use, 5 lost at mark: 6 are left, and 10 are asked for."""
    falls = [FLAT, (100, 100, 95, 95), (95, 95, 95, 95), (95, 95, 95, 95)]
    pair = [symbol(falls, name="AAA", long=[0]), symbol([FLAT] * 4, name="BBB", long=[1])]
    assert play(*pair, balance=21.0, **UNTIL_LIQUIDATION).denials == ["insufficient_margin"]
    assert not play(*pair, balance=21.0, **{**UNTIL_LIQUIDATION, "account__mode__margin": "isolated"}).denials


def test_funding_moves_the_wallet_and_not_the_margin() -> None:
    story = play(
        symbol([FLAT] * 4, long=[0], funding=[(2, 0.02)]), balance=100.0, sim__end_of_data="open", **UNTIL_LIQUIDATION
    )
    assert story.paid == [-2]
    assert wallet(story) == 98
    position = story.journals.positions[0]
    assert float(position["margin"]) == float(position["init_margin"]) == 10
    assert np.isnan(position["liq_price"])


def test_funding_can_bring_the_account_to_liquidation_at_the_next_point() -> None:
    """10.5 - 0.02 · 100 - 8.2 = 0.3 is below 0.004 · 91.8: without the payment it would have lasted."""
    falls = [FLAT, (100, 100, 91.8, 91.8), (91.8, 91.8, 91.8, 91.8)]
    with_payment = symbol(falls, long=[0], funding=[(1.2, 0.02, 100)])
    assert play(with_payment, balance=10.5, **UNTIL_LIQUIDATION).reasons == ["liquidation"]
    assert play(symbol(falls, long=[0]), balance=10.5, **UNTIL_LIQUIDATION).reasons == ["end_of_data"]


def test_what_is_in_a_gap_counts_and_is_closed_at_its_first_price_if_the_account_is_still_short() -> None:
    """AAA pauses for two hours; BBB's fall liquidates BBB there, and AAA at the open after its gap."""
    story = play(
        symbol([FLAT, FLAT, (95, 95, 95, 95)], name="AAA", at=[0, 1, 4], long=[0]),
        symbol([FLAT, FLAT, (75, 75, 75, 75), FLAT, FLAT], name="BBB", long=[0]),
        balance=25.2,
        **UNTIL_LIQUIDATION,
    )
    assert story.who[2:] == [1, 0]
    assert story.hours[2:] == [2, 4]
    assert story.reasons == ["liquidation", "liquidation"]
    assert wallet(story) == 0.0


def test_the_adverse_path_is_chosen_with_the_account_as_at_the_open() -> None:
    """Low first the account is gone; high first the target is reached. The adverse order takes the liquidation."""
    swings = [FLAT, (100, 112, 85, 100), FLAT]
    settings = {**UNTIL_LIQUIDATION, "exit__bracket__tp": 0.1}
    adverse = play(symbol(swings, long=[0]), balance=12.0, sim__path="adverse", **settings)
    favourable = play(symbol(swings, long=[0]), balance=12.0, sim__path="favourable", **settings)
    assert adverse.reasons == ["liquidation"]
    assert favourable.reasons == ["tp1"]
    assert adverse.journals.counts["ambiguous_bars"] == favourable.journals.counts["ambiguous_bars"] == 1
