"""The run taken apart: every part adds up to the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qtsim.core.enums import Gate, GovernorDecision, Rule
from qtsim.report import report_html
from qtsim.report.breakdown import (
    cost_table,
    longest_streak,
    margin_curve,
    performance_text,
    regime_table,
    symbol_table,
)
from qtsim.report.content import report_content
from qtsim.report.flow import flow_picture
from qtsim.report.timeline import MAX_BANNERS, drawn_spans, governor_timeline, shutdown_banners
from qtsim.results.reach import HOUR_NS, Span
from qtsim.results.result import Result
from tests.unit.results.made_run import START, empty_result, made_result

PAUSE, SHUT = GovernorDecision.PAUSE_1H, GovernorDecision.EMERGENCY_SHUTDOWN
DENIED = {
    (Gate.ORCHESTRATOR, Rule.SYMBOL_DISABLED): 7,
    (Gate.ORCHESTRATOR, Rule.SYMBOL_BLACKLISTED): 2,
    (Gate.GOVERNOR, Rule.PAUSE_1H): 3,
}


@pytest.fixture(scope="module")
def result() -> Result:
    return made_result(("BTCUSDT", "ETHUSDT"), 905, denied=DENIED, keep_open=True)


def test_the_flow_adds_up_from_signals_to_exits(result: Result) -> None:
    picture = flow_picture(result)
    assert picture["signals"] - sum(group["count"] for group in picture["stopped"]) == picture["entries"]
    assert sum(count for _, count in picture["exits"]) + picture["open"] == picture["entries"]
    assert picture["open"] > 0
    for group in picture["stopped"]:
        assert sum(count for _, count in group["rows"]) == group["count"]
    assert [group["name"] for group in picture["stopped"]] == ["before the gates", "orchestrator", "governor", "plan"]


def test_symbols_add_up_to_the_run(result: Result) -> None:
    *symbols, whole = symbol_table(result)["rows"]
    assert [row["symbol"] for row in symbols] == ["BTCUSDT", "ETHUSDT"]
    for name in ("signals", "trades", "wins", "disabled", "blacklisted"):
        assert sum(row[name] for row in symbols) == whole[name]
    assert sum(row["pnl"] for row in symbols) == pytest.approx(whole["pnl"], abs=0.011)
    assert whole["trades"] == len(result.trades)
    assert whole["signals"] == flow_picture(result)["signals"]
    assert (symbols[0]["disabled"], symbols[0]["blacklisted"], symbols[1]["disabled"]) == (7, 2, 0)
    assert whole["win_rate"] == pytest.approx(100.0 * result.metrics["Win Rate"], abs=0.051)


def test_one_symbol_needs_no_total() -> None:
    result = made_result(n_bars=300)
    assert [row["symbol"] for row in symbol_table(result)["rows"]] == ["BTCUSDT"]
    assert [row["symbol"] for row in cost_table(result)] == ["BTCUSDT"]


def test_costs_of_symbols_add_up_to_money(result: Result) -> None:
    *symbols, whole = cost_table(result)
    for name in ("fees", "slippage", "funding", "liquidation", "turnover"):
        assert sum(row[name] for row in symbols) == pytest.approx(
            whole[name], abs=1.01 if name == "turnover" else 0.011
        )
    for name, value in (("fees", result.totals.fees), ("slippage", result.totals.slippage)):
        assert whole[name] == pytest.approx(value, abs=0.006)
    for row in (*symbols, whole):
        assert row["cost"] == pytest.approx(row["fees"] + row["slippage"] - row["funding"] + row["liquidation"])


def test_liquidation_fees_are_told_apart_from_fees(result: Result) -> None:
    fills = result.fills.copy()
    last = fills.index[fills["symbol"] == "ETHUSDT"][-1]
    fills.loc[last, ["liquidation_fee", "kind"]] = [5.0, "liquidation"]
    fills.loc[last, "fee"] += 5.0
    changed = Result(**{**vars(result), "fills": fills})
    before, after = cost_table(result)[1], cost_table(changed)[1]
    assert (after["liquidation"], after["liquidations"], after["fees"]) == (5.0, 1, before["fees"])


def test_regimes_add_up_in_both_directions(result: Result) -> None:
    table = regime_table(result)
    assert table["rows"] == ["TRENDING", "BREAKOUT", "RANGING", "CHOPPY", "all"]
    assert table["columns"] == ["UPTREND", "DOWNTREND", "SIDEWAYS", "all"]
    trades = np.array([[cell["trades"] for cell in line] for line in table["cells"]])
    assert (trades[:-1].sum(axis=0) == trades[-1]).all()
    assert (trades[:, :-1].sum(axis=1) == trades[:, -1]).all()
    assert trades[-1, -1] == len(result.trades)
    own = result.trades[(result.trades["regime"] == "CHOPPY") & (result.trades["leader_regime"] == "UPTREND")]
    cell = table["cells"][3][0]
    assert cell["pnl"] == round(own["pnl"].sum(), 2)
    assert cell["r"] == round(own["r_multiple"].mean(), 2)
    assert cell["wins"] == (own["pnl"] > 0).sum()


def test_a_run_that_recorded_no_regimes_has_no_table_of_them() -> None:
    result = made_result(n_bars=300)
    result.trades[["regime", "leader_regime"]] = ""
    assert regime_table(result)["rows"] == []
    assert regime_table(empty_result())["rows"] == []


def test_margin_and_distance_are_those_of_account_and_trades(result: Result) -> None:
    margin = margin_curve(result)
    used = 100.0 * result.equity["margin"] / result.equity["equity"]
    assert max(margin["used"]) == pytest.approx(used.max(), abs=1e-3)
    assert margin["max"] == pytest.approx(100.0 * result.metrics["Max Margin Use"], abs=0.006)
    assert len(margin["rows"]) == len(result.trades)
    assert margin["nearest"] == 30.0


def test_trades_that_cannot_be_liquidated_have_no_distance() -> None:
    result = made_result(n_bars=300)
    result.trades["min_liq_distance"] = np.inf
    assert (margin_curve(result)["rows"], margin_curve(result)["nearest"]) == ([], None)


@pytest.mark.parametrize(
    ("won", "hours", "text"),
    [
        ("l" * 5, 1.0, "fewer than 20 trades: not judged"),
        ("w" * 12 + "l" * 8, 1.0, "size × 1.1: 60 % of the last 20 won"),
        ("w" * 11 + "l" * 9, 1.0, "size × 1: 55 % of the last 20 won"),
        ("l" * 5 + "w" * 8 + "l" * 7, 1.0, "size × 0.7: 40 % of the last 20 won"),
        ("wll" * 7, 1.0, "watch list, size × 0.5: 30 % of the last 20 won"),
        ("w" * 20 + "l" * 10, 8.0, "off after 10 losses in a row, for 40 h more"),
        ("w" * 20 + "l" * 10, 48.0, "size × 1: 50 % of the last 20 won"),
        ("w" * 20 + "l" * 9 + "e", 8.0, "size × 1: 50 % of the last 20 won"),
        ("l" * 20, 23.0, "blacklisted after 20 losses in a row"),
        ("l" * 20, 24.0, "off after 20 losses in a row, for 24 h more"),
    ],
)
def test_how_a_symbol_stood_at_the_end(won: str, hours: float, text: str) -> None:
    result = made_result(n_bars=100, every=10_000, ranges=False)
    end = pd.Timestamp(START + 100 * HOUR_NS, tz="UTC")
    exits = pd.to_datetime([end - pd.Timedelta(hours=hours)] * len(won)).as_unit("ns")
    trades = pd.DataFrame({"pnl": [{"w": 1.0, "l": -1.0, "e": 0.0}[letter] for letter in won], "exit_time": exits})
    assert performance_text(result, trades) == text


@pytest.mark.parametrize(("hits", "longest"), [("", 0), ("110111", 3), ("000", 0), ("1", 1)])
def test_streaks(hits: str, longest: int) -> None:
    assert longest_streak(np.array([letter == "1" for letter in hits], dtype=bool)) == longest


def test_the_timeline_has_a_bar_per_span_and_a_row_per_state() -> None:
    result = made_result(n_bars=900, denied=DENIED, governor=[(PAUSE, 50.0, 51.0, 0.006), (SHUT, 880.0, None, 0.051)])
    timeline = governor_timeline(result)
    start = START // 1_000_000_000
    assert timeline["bars"] == {
        "EMERGENCY_SHUTDOWN": [[start + 880 * 3600, start + 900 * 3600, 1, 0.051]],
        "PAUSE_1H": [[start + 50 * 3600, start + 51 * 3600, 1, 0.006]],
    }
    assert timeline["states"] == [
        ["EMERGENCY_SHUTDOWN", "1 ×", "20 h", "20 h", "2.22 %", "0"],
        ["PAUSE_1H", "1 ×", "1 h", "1 h", "0.11 %", "3"],
        ["ALLOW_NORMAL", "", "36.6 days", "34.5 days", "97.67 %", ""],
    ]
    assert timeline["events"][0] == ["2024-01-03 02:00", "PAUSE_1H", "fires", "0.60 %", "0.50 %", "9,900.00"]
    assert timeline["events"][1][2:] == ["ends", "", "", "9,900.00"]


def test_each_shutdown_heads_the_page_as_far_as_there_is_room() -> None:
    shutdowns = [(SHUT, 100.0 * n, 100.0 * n + 24.0, 0.05) for n in range(1, 8)]
    result = made_result(n_bars=900, governor=shutdowns)
    banners = shutdown_banners(result)
    assert banners == report_content(result)["head"]["shutdowns"]
    assert len(banners) == MAX_BANNERS + 1
    assert banners[-1] == "EMERGENCY SHUTDOWN 2 more ×: the Safety Governor's part names them"
    assert len(governor_timeline(result)["shutdowns"]) == 2
    assert shutdown_banners(made_result(n_bars=300)) == []
    assert "EMERGENCY SHUTDOWN 2024-01-05 04:00 UTC" in report_html(result)


def test_spans_that_nobody_could_tell_apart_are_joined() -> None:
    spans = [Span("PAUSE_1H", 10 * n, 10 * n + 5, True, 1, 0.01, 0.005, 1.0) for n in range(10)]
    assert drawn_spans(spans, 100, limit=10) == spans
    (joined,) = drawn_spans(spans, 100, limit=9)
    assert (joined.begin_ns, joined.end_ns, joined.fired) == (0, 95, 10)
    far = [Span("PAUSE_1H", 1000 * n, 1000 * n + 5, True, 1, 0.01, 0.005, 1.0) for n in range(10)]
    assert len(drawn_spans(far, 10_000, limit=9)) == 1
    assert len(drawn_spans(far, 5_000, limit=9)) == 10


def test_a_run_on_trades_has_no_other_order_to_speak_of() -> None:
    bars = made_result(n_bars=200)
    trades = replace(bars, info=replace(bars.info, settings={**bars.info.settings, "sim.mode": "ticks"}))
    assert "Path" in dict(report_content(bars)["notes"])
    (text,) = (text for name, text in report_content(trades)["notes"] if name == "Path")
    assert text.startswith("trades come in one order, so there is no range")


def test_pairs_that_could_not_be_compared_are_admitted() -> None:
    notes = report_content(made_result(n_bars=200, counts={"no_correlation": 12}))["notes"]
    assert [
        "Correlation",
        "did not apply to 12 pairs of a signal and an open position: too few bars in common",
    ] in notes
