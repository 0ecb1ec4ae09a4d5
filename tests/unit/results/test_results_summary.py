"""The first screen: what it says, and that it adds up as printed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.core.enums import Gate, GovernorDecision, Rule
from qtsim.core.rl_sizing import AGGRESSIVE, BALANCED
from qtsim.results.metrics import Totals
from qtsim.results.result import Result
from qtsim.results.summary import (
    denied_text,
    flow,
    largest_rules_text,
    money,
    money_text,
    optimism_text,
    slippage_text,
    summarize,
    tight_trails,
    verdict_text,
)
from tests.unit.results.made_run import empty_result, made_result

PAUSE, SHUT = GovernorDecision.PAUSE_1H, GovernorDecision.EMERGENCY_SHUTDOWN


MULTIPLES = {
    "exit.stops.trail.style": "balanced",
    "exit.stops.trail.aggressive": 0.5,
    "exit.stops.trail.balanced": 1.0,
    "exit.stops.trail.loose": 1.5,
}


@pytest.fixture(scope="module")
def result() -> Result:
    return made_result()


def line_of(result: Result, label: str) -> str:
    texts = [line.text for line in summarize(result) if line.label == label]
    assert len(texts) == 1, f"{label}: {texts}"
    return texts[0]


def printed(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"(?<![\w.])[+-][\d,]+\.?\d*|(?<= )0(?= |$)", text)]


def test_the_heading_says_what_ran_and_under_which_assumptions(result: Result) -> None:
    heading, assumptions = (line.text for line in summarize(result)[:2])
    assert heading == (
        "qtsim 0.1.0 · ema_cross fast=12 slow=26 · BTCUSDT 1h, 2024-01-01 to 2024-03-03 11:00 UTC, 1,500 bars, no gaps"
        " · profile exitbrain-v35, 0 overrides · SYNTHETIC data"
    )
    assert assumptions == (
        "look-ahead: none at 5 cuts · funding: history · mark price: history · wallet 10,000 USDT · kelly 3x isolated"
        " · next-open fills · taker 0.05 %, slippage 2 bps"
    )


def test_gaps_overrides_and_fills_at_the_close_are_admitted() -> None:
    result = made_result(
        n_bars=300, gaps={"BTCUSDT": 7}, n_overrides=1, headlines=["exit.base_tp = 0.01 (command line)"],
        settings={"sim.fill_at": "close", "costs.slippage.bps": 2.0, "sim.path": "adverse"}, mark="off", sources={},
    )  # fmt: skip
    heading, assumptions, override, *_ = (line.text for line in summarize(result))
    assert "300 bars, 7 missing" in heading
    assert "SYNTHETIC" not in heading
    assert "1 override" in heading
    assert "signal-close fills" in assumptions
    assert "adverse path" in assumptions
    assert "mark price: last price stands in" in assumptions
    assert override == "exit.base_tp = 0.01 (command line)"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "isolated"),
        ({"account.mode.margin": "cross"}, "cross"),
        ({"account.mode.margin": "cross", "account.mode.position": "hedge"}, "cross, hedge mode"),
        ({"account.mode.margin": "isolated", "account.mode.position": "hedge"}, "isolated, hedge mode"),
    ],
)
def test_the_first_screen_names_the_modes_of_the_account(settings: dict[str, str], text: str) -> None:
    assert f"3x {text} ·" in summarize(made_result(n_bars=300, settings=settings))[1].text


def test_figures_carry_their_range(result: Result) -> None:
    total = 100.0 * result.metrics["Total Return"]
    text = line_of(result, "Total Return")
    assert f"{total:+.2f} % [{total - 1.8:.2f}, {total + 2.3:.2f}]   low/high path" in text
    assert re.search(r"Sharpe +-\d+\.\d\d \[-\d+\.\d\d, -\d+\.\d\d\]", text)


amount = st.floats(-20_000, 20_000)
cost = st.floats(0, 5_000)


@given(pnl=amount, fees=cost, slippage=cost, funding=amount, liquidation=st.just(0.0) | cost)
def test_the_money_line_adds_up_as_printed(
    pnl: float, fees: float, slippage: float, funding: float, liquidation: float
) -> None:
    wallet = 10_000.0 + pnl - fees + funding - liquidation
    totals = Totals(10_000.0, wallet, wallet, pnl, fees, slippage, funding, liquidation, 1)
    result = replace(EMPTY, totals=totals)
    *terms, net = printed(money_text(result))
    amounts = money(result)
    assert len(terms) == 5
    assert round(sum(terms), 6) == net
    assert abs(net - (wallet - 10_000.0)) <= 0.51 * 10.0**-amounts.decimals
    # the first term takes up what rounding leaves
    assert abs(terms[0] - (pnl + slippage)) <= 3.0 * 10.0**-amounts.decimals


EMPTY = empty_result()


def test_open_positions_are_a_term_of_their_own() -> None:
    result = made_result(n_bars=905, keep_open=True)
    text = line_of(result, "Money")
    assert "open positions" in text
    *terms, net = printed(text)
    assert round(sum(terms), 6) == net


def test_flow_adds_up_and_names_rules_and_gates(result: Result) -> None:
    (_, signals, _), *between, (_, entries, _) = flow(result)
    assert signals - sum(count for _, count, _ in between) == entries == len(result.trades)
    assert line_of(result, "Flow") == (
        "123 signals → side already held 17 → opposite ignored 21"
        " → denied 9 (final stop nearer than costs allow 9) → 76 entries; size set by margin cap 10 % in 100 %"
    )


def test_exits_add_up_to_the_trades(result: Result) -> None:
    reasons, legs = line_of(result, "Exits").split("     legs filled: ")
    assert sum(int(part.rsplit(" ", 1)[1]) for part in reasons.split(" · ")) == len(result.trades)
    assert re.fullmatch(r"TP1 \d+, TP2 \d+, TP3 \d+", legs)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"CHOPPY": 96}, "CHOPPY 96"),
        ({"CHOPPY": 96, "PAUSE_1H": 1088, "b": 3}, "PAUSE_1H 1,088, CHOPPY 96, b 3"),
        ({"b": 5, "a": 5, "CHOPPY": 96, "d": 2, "e": 1}, "CHOPPY 96, a 5, b 5, other 3"),
    ],
)
def test_flow_names_the_three_largest_rules(counts: dict[str, int], text: str) -> None:
    assert largest_rules_text(Counter(counts)) == text


def test_flow_names_rules_without_their_gate_and_adds_up() -> None:
    denied = {
        (Gate.ORCHESTRATOR, Rule.CHOPPY_CONFIDENCE): 20,
        (Gate.GOVERNOR, Rule.PAUSE_1H): 12,
        (Gate.BALANCER, Rule.CORRELATION): 3,
    }
    result = made_result(denied=denied)
    assert "→ denied 44 (CHOPPY 20, PAUSE_1H 12, final stop nearer than costs allow 9, other 3) → 76 entries" in (
        line_of(result, "Flow")
    )
    assert denied_text(result) == (
        "orchestrator: CHOPPY 20; balancer: correlation 3; governor: PAUSE_1H 12; "
        "plan: final stop nearer than costs allow 9"
    )
    (_, signals, _), *between, (_, entries, _) = flow(result)
    assert signals - sum(count for _, count, _ in between) == entries


def test_a_governor_that_never_acted_says_so(result: Result) -> None:
    assert line_of(result, "Governor") == "no decision in force at any time"
    assert "exit.guard.loss.max" in line_of(result, "Check")
    unknown = replace(result, info=replace(result.info, leader_known=False))
    assert line_of(unknown, "Governor") == (
        "no decision in force at any time; global gate off: no data of the leader, regime UNKNOWN"
    )


def test_gates_that_are_off_say_which_setting_did_it(result: Result) -> None:
    info = replace(result.info, settings={**result.info.settings, "gates.enabled": False}, leader_known=False)
    assert line_of(replace(result, info=info), "Governor") == "gates and governor off (gates.enabled = false)"
    older = replace(result, has_governor=False)
    assert line_of(older, "Governor") == "gates and governor off (this run is of a version without them)"


def test_the_governor_line_says_what_fired_and_how_long_nothing_was_entered() -> None:
    pauses = [(PAUSE, 100.0 + 10.0 * n, 101.0 + 10.0 * n, 0.006) for n in range(6)]
    result = made_result(governor=[*pauses, (SHUT, 101.0, 125.0, 0.0512)])
    # the shutdown covers the pauses of hours 110 and 120, and the first ends where it begins: 1 + 24 + 3 of 1,500 h
    assert line_of(result, "Governor") == (
        "PAUSE_1H 6 ×, shutdown 1 × (2024-01-05 05:00; operator resumed after 24 h): 1.9 % of the period without "
        "entries"
    )


def test_an_account_below_zero_is_the_first_line_of_the_screen() -> None:
    broke = made_result(n_bars=300, governor=[(SHUT, 280.0, None, 0.051)])
    broke.equity.loc[broke.equity.index[10] :, "equity"] -= 20_000.0
    line, *_ = str(summarize(broke)).splitlines()
    assert line.startswith("ACCOUNT BELOW ZERO 2024-01-01 10:00 UTC: equity -")


def test_a_shutdown_is_the_first_line_of_the_screen(result: Result) -> None:
    shut = made_result(governor=[(SHUT, 101.0, 125.5, 0.0512), (SHUT, 1490.0, None, 0.05)])
    first, second, heading, *_ = (line.text for line in summarize(shut))
    assert first == (
        "EMERGENCY SHUTDOWN 2024-01-05 05:00 UTC: equity 5.12 % below the session's base (limit 5 %), no position was "
        "open; operator resumed after 24.5 h"
    )
    assert second.endswith("not resumed by the end")
    assert heading.startswith("qtsim 0.1.0")
    assert (
        "shutdown 2 × (2024-01-05 05:00, operator resumed after 24.5 h; 2024-03-03 02:00, not resumed by the end)"
        in (line_of(shut, "Governor"))
    )
    assert summarize(result)[0].text.startswith("qtsim 0.1.0")
    many = made_result(governor=[(SHUT, 100.0 * n, 100.0 * n + 24.0, 0.05) for n in range(1, 7)])
    assert [line.text for line in summarize(many)][3] == "EMERGENCY SHUTDOWN 3 more ×: the report lists them"
    assert "; 3 more): 9.6 % of the period without entries" in line_of(many, "Governor")


def test_a_sign_that_depends_on_the_path_is_on_the_first_line(result: Result) -> None:
    torn = replace(result, ranges={"favourable": {**result.metrics, "Total Return": 0.02}})
    assert "PROFIT OR LOSS DEPENDS ON THE INTRABAR PATH" in summarize(torn)[0].text
    assert "not a result to rely on" in verdict_text(torn)
    assert "DEPENDS" not in summarize(result)[0].text
    assert verdict_text(result).startswith("loses after costs on every intrabar path")


def test_an_account_that_gained_while_returns_lost_is_explained(result: Result) -> None:
    assert "the account itself" not in verdict_text(result)
    moved = pd.DataFrame({"amount": [500.0], "moved": [500.0]})
    paid_in = replace(result, transfers=moved, metrics={**result.metrics, "Total Return": -0.01})
    before = result.totals.equity - result.totals.net
    gained = replace(paid_in, totals=replace(result.totals, equity=before + 5.0))
    assert "; the account itself gained, as transfers changed how much was at work" in verdict_text(gained)
    assert "the account itself" not in verdict_text(
        replace(paid_in, totals=replace(result.totals, equity=before - 5.0))
    )


def test_tight_trails_ask_for_finer_bars() -> None:
    """The style is that of each trade: DEFENSIVE and TRENDING are aggressive, BREAKOUT loose, whatever is set."""
    result = made_result(n_bars=1500, settings=MULTIPLES)
    trailed = result.trades[result.trades["exit_reason"] == "trail"]
    tight = int(((trailed["mode"] == "DEFENSIVE") | (trailed["regime"] == "TRENDING")).sum())
    assert 1 < tight < len(trailed)
    assert f"{tight} exits by a trail tighter than one ATR of a bar" in verdict_text(result)
    aggressive = made_result(n_bars=1500, settings={**MULTIPLES, "exit.stops.trail.style": "aggressive"})
    loose = int(((trailed["mode"] == "NORMAL") & (trailed["regime"] == "BREAKOUT")).sum())
    assert loose > 0
    assert tight_trails(aggressive) == len(trailed) - loose
    assert tight_trails(made_result(n_bars=1500, settings={**MULTIPLES, "exit.policy": "legacy"})) == 0
    assert "tighter than one ATR" not in verdict_text(made_result(n_bars=1500))


def test_a_trail_of_an_older_run_has_the_style_of_the_setting() -> None:
    result = made_result(n_bars=1500, settings={**MULTIPLES, "exit.stops.trail.style": "aggressive"})
    result.trades["mode"] = result.trades["regime"] = ""
    assert tight_trails(result) == (result.trades["exit_reason"] == "trail").sum()


def test_a_trail_of_the_agents_style_is_compared_with_the_atr() -> None:
    """Where no trade says which style the agent chose; regime and mode go before it."""
    result = made_result(n_bars=1500, settings={**MULTIPLES, "sizing.model": "rl"})
    trailed = result.trades[result.trades["exit_reason"] == "trail"]
    unknown = (trailed["mode"] == "NORMAL") & trailed["regime"].isin(["RANGING", "CHOPPY"])
    tight = int(((trailed["mode"] == "DEFENSIVE") | (trailed["regime"] == "TRENDING")).sum())
    for symbol, frame in result.bars.items():
        result.bars[symbol] = frame.assign(atr=1.0)
    result.trades["peak"] = result.trades["stop_price"] + 0.9
    assert tight_trails(result) == tight + int(unknown.sum())
    result.trades["rl_action"] = AGGRESSIVE
    assert tight_trails(result) == tight + int(unknown.sum()), "half an ATR"
    result.trades["rl_action"] = BALANCED
    assert tight_trails(result) == tight, "one ATR"
    older = made_result(n_bars=300, settings={**MULTIPLES, "sizing.model": "rl"})
    expected = tight_trails(older)
    older.trades = older.trades.drop(columns=["rl_state", "rl_action"])
    assert tight_trails(older) == expected


def test_a_trail_by_per_cent_is_compared_with_the_atr_known_at_the_exit() -> None:
    result = made_result(n_bars=1500, settings={"exit.stops.trail.mode": "percent"})
    trailed = result.trades["exit_reason"] == "trail"
    for symbol, frame in result.bars.items():
        result.bars[symbol] = frame.assign(atr=1.0)
    result.trades["peak"] = result.trades["stop_price"] + 0.9
    assert tight_trails(result) == trailed.sum()
    result.trades["peak"] = result.trades["stop_price"] + 1.1
    assert tight_trails(result) == 0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"costs.slippage.bps": 2.0}, "2 bps"),
        (
            {
                "costs.slippage.model": "size",
                "costs.slippage.bps": 2.0,
                "costs.slippage.large_bps": 5.0,
                "costs.slippage.volatile_bps": 2.0,
            },
            "by size 2 to 7 bps",
        ),
    ],
)
def test_slippage_is_told_as_the_model_has_it(settings: dict[str, object], text: str) -> None:
    assert slippage_text(settings) == text


def test_no_exit_depends_on_the_path_only_where_the_paths_agree(result: Result) -> None:
    result.fills["path_dependent"] = False
    same = replace(result, ranges={path: dict(result.metrics) for path in ("adverse", "nearest", "favourable")})
    assert "no exit depends on the path" in verdict_text(same)
    other = {**result.metrics, "Total Return": result.metrics["Total Return"] - 0.001}
    assert "no exit depends" not in verdict_text(replace(same, ranges={**same.ranges, "adverse": other}))


def test_few_trades_prove_little() -> None:
    assert verdict_text(made_result(n_bars=150)).endswith("trades prove little")


def test_the_optimism_meter_says_which_assumption_turns_the_loss(result: Result) -> None:
    base = result.metrics["Total Return"]
    moved = replace(result, optimism={"no slippage": 0.01, "maker fees": 0.02, "no funding": base + 0.001})
    assert optimism_text(moved).endswith("no funding +0.10 pp: the first or second alone would show a profit")
    assert optimism_text(result).endswith("none alone would show a profit")


@pytest.mark.parametrize(
    ("base", "gains", "ending"),
    [
        (-0.01, {"a": 0.02, "b": 0.0}, ": the first alone would show a profit"),
        (-0.01, {"a": 0.0, "b": 0.02, "c": 0.03}, ": the second or third alone would show a profit"),
        (-0.01, {"a": 0.02, "b": 0.0, "c": 0.03, "d": 0.04}, ": the first, third or fourth alone would show a profit"),
        (-0.01, {"a": 0.02, "b": 0.03}, ": each alone would show a profit"),
        (-0.01, {"a": 0.02}, ": it alone would show a profit"),
        (-0.01, {"a": 0.002}, ": it alone would not show a profit"),
        (-0.01, {"a": 0.01, "b": -0.02}, ": none alone would show a profit"),  # 0 is no profit
        (0.0, {"a": 0.01}, "a +1.00 pp"),
        (0.01, {"a": 0.01, "b": -0.02}, "a +1.00 pp · b -2.00 pp"),
        (0.01, {"a": -0.000_001}, "a +0.00 pp"),
    ],
)
def test_the_optimism_meter_in_words(result: Result, base: float, gains: dict[str, float], ending: str) -> None:
    metrics = {**result.metrics, "Total Return": base}
    text = optimism_text(replace(result, metrics=metrics, optimism={name: base + gain for name, gain in gains.items()}))
    assert text.endswith(ending)
    assert (":" in text) == (":" in ending)


def test_no_trades_says_why() -> None:
    text = str(summarize(EMPTY))
    assert "no trades: the strategy gave no entry signal in this period" in text
    assert "0 signals → 0 entries" in text
    refused = made_result(n_bars=300)
    only_denials = replace(refused, fills=refused.fills.iloc[:0], trades=refused.trades.iloc[:0])
    text = verdict_text(only_denials)
    assert re.search(r"no trades: none of \d+ signals became an entry, \d+ by “side already held”", text)


def test_verification_and_warnings_are_lines_of_their_own(result: Result) -> None:
    info = replace(result.info, warnings=["no funding history for BTCUSDT: the default rate stands in"])
    told = replace(result, verified=True, info=info, run_id="20261121-1430-ema_cross-7f3a")
    assert "byte for byte" in line_of(told, "Verified")
    assert line_of(told, "Warning").startswith("no funding history")
    assert summarize(told)[-1].text.startswith(
        "Run 20261121-1430-ema_cross-7f3a (1.9 s) · report: runs/20261121-1430-ema_cross-7f3a/report.html"
    )


def test_it_prints_as_text_and_shows_safely_in_a_notebook(result: Result) -> None:
    summary = summarize(replace(result, info=replace(result.info, strategy="<script>")))
    assert str(summary).splitlines()[2].startswith(" Total Return ")
    assert "<script>" not in summary._repr_html_()
