"""The story of a trade and the path of its stop."""

from __future__ import annotations

import re

import numpy as np
import pytest

from qtsim.core.enums import PlanFlag, Reason
from qtsim.report.content import report_content
from qtsim.report.stop_path import TradeBars, TrailRule, stop_path
from qtsim.report.words import EXIT_WORDS, FLAG_WORDS, METRIC_GROUPS, figure_text, price_text, qty_text
from tests.unit.results.made_run import made_result

HOUR = 3_600_000_000_000
ATR_TRAIL = TrailRule("atr", 1.0, 0.02, 3.0)


def bars_of(high: list[float], low: list[float], atr: float = 10.0, volatility: float = 0.0) -> TradeBars:
    n = len(high)
    return TradeBars(
        (np.arange(n, dtype=np.int64) + 1) * HOUR,
        np.array(high),
        np.array(low),
        np.full(n, atr),
        np.full(n, volatility),
    )


# The stop ------------------------------------------------------------------------------------------------------------


def test_a_stop_that_never_moved_is_one_level() -> None:
    path = stop_path(1, [(0, 90.0)], 3 * HOUR, 90.0, None, ATR_TRAIL, bars_of([110] * 3, [95] * 3))
    assert path == [(0, 90.0), (3 * HOUR, 90.0)]


def test_a_trail_follows_the_highs_and_never_loosens() -> None:
    bars = bars_of([120, 130, 125, 140], [110, 115, 118, 119])
    path = stop_path(1, [(0, 90.0), (HOUR // 2, 108.0)], 4 * HOUR, 130.0, (HOUR // 2, 118.0), ATR_TRAIL, bars)
    assert path == [
        (0, 90.0),
        (HOUR // 2, 108.0),
        (HOUR, 110.0),
        (2 * HOUR, 120.0),
        (4 * HOUR, 130.0),
        (4 * HOUR, 130.0),
    ]


def test_a_short_is_mirrored() -> None:
    bars = bars_of([95, 90], [80, 70])
    path = stop_path(-1, [(0, 110.0)], 2 * HOUR, 80.0, (HOUR // 2, 85.0), ATR_TRAIL, bars)
    assert path == [(0, 110.0), (HOUR, 90.0), (2 * HOUR, 80.0), (2 * HOUR, 80.0)]


def test_the_path_never_passes_the_stop_that_the_trade_ended_with() -> None:
    bars = bars_of([200, 300], [110, 120])
    path = stop_path(1, [(0, 90.0)], 2 * HOUR, 150.0, (0, 110.0), ATR_TRAIL, bars)
    assert [stop for _, stop in path] == [90.0, 150.0, 150.0]


def test_no_atr_and_high_volatility_hold_the_trail() -> None:
    for bars in (
        bars_of([200], [110], atr=float("nan")),
        bars_of([200], [110], atr=0.0),
        bars_of([200], [110], 10.0, 3.0),
    ):
        assert [stop for _, stop in stop_path(1, [(0, 90.0)], HOUR, 90.0, (0, 110.0), ATR_TRAIL, bars)] == [90.0, 90.0]


def test_a_percent_trail_keeps_a_share_of_the_peak() -> None:
    rule = TrailRule("percent", 0.0, 0.1, 3.0)
    path = stop_path(1, [(0, 90.0)], HOUR, 180.0, (0, 110.0), rule, bars_of([200], [110]))
    assert path[1] == (HOUR, pytest.approx(180.0))


def test_a_trade_without_a_stop_has_no_path() -> None:
    nan = float("nan")
    assert stop_path(1, [(0, nan)], HOUR, nan, None, TrailRule("off", 1.0, 0.0, 3.0), bars_of([1.0], [1.0])) == []


def test_the_trail_rule_comes_from_the_settings() -> None:
    path = "exit.stops.trail"
    settings = {f"{path}.mode": "atr", f"{path}.style": "loose", f"{path}.loose": 1.5, f"{path}.distance": 0.03}
    assert TrailRule.from_settings(settings) == TrailRule("atr", 1.5, 0.03, 3.0)
    assert TrailRule.from_settings({**settings, "exit.policy": "bracket"}).mode == "off"


# The story -----------------------------------------------------------------------------------------------------------


def test_a_story_tells_entry_plan_legs_moves_and_exit_in_order() -> None:
    result = made_result(n_bars=1500)
    content = report_content(result)
    row = int(result.trades["legs_hit"].argmax())
    story = content["inspect"][str(row)]["story"]
    kinds = [kind for _, kind, _ in story]
    assert kinds[:2] == ["entry", "plan"]
    assert kinds[-2:] == ["exit", "result"]
    assert kinds.count("leg") == 3
    assert "move" in kinds
    times = [time for time, _, _ in story]
    assert times == sorted(times)
    plan = story[1][2]
    trade = result.trades.iloc[row]
    for price in (trade["init_stop_price"], trade["hard_price"], trade["tp1_price"], trade["tp3_price"]):
        assert price_text(price) in plan


def test_plus_is_in_the_trade_s_favour_in_the_whole_story() -> None:
    """Stops and liquidation of the plan lie against a trade, its targets in its favour, short or long."""
    result = made_result(n_bars=900)
    inspections = report_content(result)["inspect"]
    sides = set()
    for row, trade in enumerate(result.trades.itertuples()):
        sides.add(trade.side)
        plan = inspections[str(row)]["story"][1][2]
        against, favour = plan.split("; targets ")
        assert re.findall(r"\(([+-])", against) == ["-"] * 3
        assert re.findall(r"\(([+-])", favour) == ["+"] * 3
        for _, kind, text in inspections[str(row)]["story"]:
            if kind in ("leg", "move") and (told := re.search(r"stop (?:stood at )?([\d,.]+), ([+-])", text)):
                stop = float(told[1].replace(",", ""))
                above = stop > trade.entry_price
                assert (told[2] == "+") == (above == (trade.side == "long"))
    assert sides == {"long", "short"}


def test_every_result_adds_up_as_printed() -> None:
    result = made_result(symbols=("BTCUSDT", "ETHUSDT"), n_bars=900)
    for inspection in report_content(result)["inspect"].values():
        text = inspection["story"][-1][2]
        net, *terms = (
            float(figure.replace(",", "")) for figure in re.findall(r"[+-][\d,]+\.\d\d", text.split(" That is ")[0])
        )
        assert len(terms) == 4
        assert round(sum(terms), 2) == net


def test_an_exit_of_the_whole_position_is_told_apart_from_one_of_its_rest() -> None:
    result = made_result(n_bars=900)
    inspections = report_content(result)["inspect"]
    told = {
        bool(trade.legs_hit): inspections[str(row)]["story"][-2][2]
        for row, trade in enumerate(result.trades.itertuples())
    }
    assert re.search(r"(Sold|Bought back) the last [\d.]+ at", told[True])
    assert re.search(r"(Sold|Bought back) all [\d.]+ at", told[False])


def test_an_exit_that_depends_on_the_path_says_so() -> None:
    result = made_result(n_bars=900)
    row = int(result.trades["path_dependent"].argmax())
    stories = report_content(result)["inspect"]
    assert any("in the other order" in text for _, _, text in stories[str(row)]["story"])
    assert not any("in the other order" in text for _, _, text in stories["0"]["story"])


# The words -----------------------------------------------------------------------------------------------------------


def test_every_code_has_words() -> None:
    assert set(EXIT_WORDS) >= {reason.name.lower() for reason in Reason} - {"none", "entry"}
    assert set(FLAG_WORDS) == {str(flag.name).lower() for flag in PlanFlag if flag}


def test_every_metric_is_explained_once() -> None:
    named = [name for rows in METRIC_GROUPS.values() for name, _, _ in rows]
    assert sorted(named) == sorted(made_result(n_bars=200).metrics)


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (41130.024, "41,130.0"),
        (123456.7, "123,457"),
        (0.0123456, "0.0123456"),
        (1.5, "1.50000"),
        (float("nan"), "none"),
    ],
)
def test_prices_show_six_digits(price: float, text: str) -> None:
    assert price_text(price) == text


def test_quantities_and_figures() -> None:
    assert [qty_text(qty) for qty in (0.071, 1200.0, 1e-8, 0.0)] == ["0.071", "1,200", "0.00000001", "0"]
    figures = [(float("nan"), "number"), (float("inf"), "number"), (0.5, "hours"), (-0.031, "percent"), (12.0, "money")]
    texts = [figure_text(value, kind, "USDT") for value, kind in figures]
    assert texts == ["n/a", "∞", "30 min", "-3.10 %", "12.00 USDT"]
