"""The page: complete, offline, safe, bounded, the same bytes every time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qtsim.errors import DataError, UsageError
from qtsim.report import content as content_module
from qtsim.report import overview_figure, report_html, write_report
from qtsim.report.content import STOP_REASONS, report_content
from qtsim.report.page import json_in_script
from qtsim.report.thinning import MAX_CURVE, thin
from qtsim.results.result import Result
from tests.unit.results import made_run
from tests.unit.results.made_run import empty_result, made_ablation, made_result

SCRIPT = "</script><script>alert(1)</script>{{plotly}}<img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def result() -> Result:
    return made_result(symbols=("BTCUSDT", "ETHUSDT"), n_bars=900)


def values_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="content" type="application/json">(.*?)</script>', page, re.S)
    assert found
    values: dict[str, Any] = json.loads(found.group(1))
    return values


def test_the_page_carries_what_it_shows_and_needs_no_network(result: Result) -> None:
    page = report_html(result)
    assert values_of(page) == json.loads(json.dumps(report_content(result)))
    own = page.replace(re.search(r"<script>\n(/\*\*.*?)</script>", page, re.S).group(1), "")  # type: ignore[union-attr]
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!#)", own)
    assert "default-src 'none'" in page
    assert "{{" not in own


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    pages = [write_report(made_result(n_bars=300), tmp_path / f"{n}.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_a_saved_run_gives_the_page_of_the_run(tmp_path: Path) -> None:
    from qtsim.results.run_folder import load_run

    result = made_result(n_bars=300)
    path = result.save(tmp_path)
    assert report_html(load_run(path)) == report_html(result)


def test_texts_of_the_run_are_never_markup() -> None:
    result = made_result(n_bars=300, strategy=SCRIPT, tags=[SCRIPT, "b"], warnings=[SCRIPT], params={"x": SCRIPT})
    page = report_html(result)
    plain = report_html(made_result(n_bars=300))
    assert page.count("<script") == plain.count("<script")
    assert page.count("<img") == plain.count("<img")
    values = values_of(page)
    assert SCRIPT in values["trades"]["texts"]["tag"]
    assert ["Warning", SCRIPT] in values["notes"]


def test_json_survives_its_escapes() -> None:
    value = {"text": "</script>&<b>\u2028\u2029“quoted”\\", "number": 1.5}
    text = json_in_script(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


def test_a_run_without_trades_has_a_page() -> None:
    values = values_of(report_html(empty_result()))
    assert values["verdict"]["text"].startswith("no trades")
    assert values["trades"]["id"] == []


def test_a_run_with_open_positions_has_a_page() -> None:
    values = report_content(made_result(n_bars=905, keep_open=True))
    assert values["open"][0][:2] == ["BTCUSDT", "short"]
    assert values["money"]["terms"][-1][0] == "open positions"


def test_the_money_on_the_page_adds_up(result: Result) -> None:
    money = report_content(result)["money"]
    assert round(sum(amount for _, amount in money["terms"]), 6) == money["net"]


def test_months_compound_to_the_total(result: Result) -> None:
    months = report_content(result)["months"]
    growth = np.prod([1.0 + value / 100.0 for row in months["rows"] for value in row if value is not None])
    assert growth - 1.0 == pytest.approx(result.metrics["Total Return"], abs=1e-5)


def test_inspections_show_fills_levels_and_the_stop(result: Result) -> None:
    values = report_content(result)
    assert len(values["inspect"]) == len(result.trades)
    for key, one in values["inspect"].items():
        trade = result.trades.iloc[int(key)]
        side = 1 if trade["side"] == "long" else -1
        assert one["fills"][0][3] == "entry"
        assert one["fills"][-1][3] == trade["exit_reason"]
        assert one["fills"][-1][1] == values["trades"]["last_price"][int(key)]
        stops = [side * stop for _, stop in one["stop"]]
        assert stops == sorted(stops)
        assert one["stop"][0][1] == pytest.approx(trade["init_stop_price"], abs=0.05)  # half a tick
        if trade["exit_reason"] in STOP_REASONS:
            assert one["stop"][-1][1] == pytest.approx(trade["stop_price"], abs=0.05)
        assert sum(hit for *_, hit in one["targets"]) == trade["legs_hit"]


def test_a_stop_does_not_jump_with_the_leg_that_ends_the_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last target would have moved the stop to protects nothing."""
    monkeypatch.setattr(made_run, "TRAIL_FROM", 9.0)  # no trail, and the third leg closes all
    monkeypatch.setattr(made_run, "FRACTIONS", (0.3, 0.3, 1.0))
    result = made_result(n_bars=900)
    inspections = report_content(result)["inspect"]
    seen = 0
    for row, trade in enumerate(result.trades.itertuples()):
        own = result.fills[result.fills["trade_id"] == trade.trade_id]
        before = own["stop_price"].iloc[-2]
        if trade.exit_reason != "tp3" or before == trade.stop_price:
            continue
        seen += 1
        end, stop = inspections[str(row)]["stop"][-1]
        assert stop == pytest.approx(before, abs=0.05)
        assert [time for time, _ in inspections[str(row)]["stop"]].count(end) == 1, "a vertical line at the end"
    assert seen >= 2


def test_the_page_says_where_mark_prices_come_from() -> None:
    def said(**info: Any) -> str:
        answers = dict(map(tuple, report_content(made_result(n_bars=200, ranges=False, **info))["assumptions"]))
        return str(answers["Mark price (liquidation, hard stop, equity)"])

    assert said(mark="history") == "recorded mark bars"
    assert (
        said(mark="history for some") == "recorded mark bars for some symbols; for the others the last price stands in"
    )
    assert said(mark="off") == "no mark history: the last price stands in"
    assert "as asked" in said(mark="off", settings={"data.mark_price": "off"})
    mixed = made_result(("BTCUSDT", "ETHUSDT"), n_bars=200, ranges=False, mark="history for some")
    mixed.bars["ETHUSDT"]["mark_close"] = mixed.bars["ETHUSDT"]["close"]
    (answer,) = (text for question, text in report_content(mixed)["assumptions"] if question.startswith("Mark price"))
    assert answer == "recorded mark bars for ETHUSDT; for the others the last price stands in"


def test_the_data_table_has_a_row_for_mark_bars_and_leaves_out_what_is_not_known() -> None:
    known = {"kind": "bars", "timeframe": "1h", "source": "a.csv", "rows": 200, "start": "a", "end": "b", "missing": 0}
    marked = {**known, "mark_rows": 190, "mark_divergence": 0.02, "mark_divergence_time": "2024-01-02 03:00 UTC"}
    unmarked = {**known, "mark_rows": 0, "mark_divergence": None, "mark_divergence_time": ""}
    passport = {"BTCUSDT": marked, "ETHUSDT": unmarked, "SOLUSDT": known, "SOLUSDT mark": {**known, "kind": "mark"}}
    data = report_content(made_result(n_bars=200, ranges=False, passport=passport))["data"]
    rows = {row[0]: row[1:] for row in data["rows"]}
    assert rows["BTCUSDT 1h"] == ["a.csv", "a to b", "200", "missing: 0"]
    assert rows["BTCUSDT mark 1h"][2:] == [
        "190",
        "missing: 10; largest distance from the last price: 2.0000 % at 2024-01-02 03:00 UTC",
    ]
    assert rows["ETHUSDT mark 1h"][2:] == ["0", "the last price stands in"]
    assert list(rows).count("SOLUSDT mark 1h") == 1
    assert "None" not in json.dumps(data)


def test_prices_are_shown_on_the_tick_in_picture_table_and_story() -> None:
    result = made_result(("BTCUSDT", "ETHUSDT"), n_bars=900)
    values = report_content(result)
    assert values["price_decimals"] == {"BTCUSDT": 1, "ETHUSDT": 2}
    for key, one in values["inspect"].items():
        row = int(key)
        digits = values["price_decimals"][result.trades["symbol"].iloc[row]]
        told = " ".join(text for _, _, text in one["story"])
        for _, price, *_ in [*one["fills"], *one["targets"]]:
            assert price == round(price, digits)
            assert f"{price:,.{digits}f}" in told
        for name in ("mfe", "mae", "ret"):
            assert f"{values['trades'][name][row]:+,.2f} %" in told.replace("-0.00", "+0.00")


def test_a_symbol_without_a_tick_shows_six_digits_and_a_given_tick_its_own() -> None:
    assert content_module.price_decimals(made_result(("XYZUSDT",), n_bars=200), "XYZUSDT") == 1
    assert content_module.price_decimals(made_result(n_bars=200, profile="plain"), "BTCUSDT") == 1
    for tick, digits in (("0.001", 3), ("5", 0), (None, 1)):
        given = made_result(n_bars=200, instruments={"BTCUSDT": {"tick": tick}})
        assert content_module.price_decimals(given, "BTCUSDT") == digits


def test_costs_of_a_trade_are_told_apart_from_funding(result: Result) -> None:
    trades = report_content(result)["trades"]
    assert trades["costs"] == [round(value, 2) for value in result.trades["fees"] + result.trades["slippage"]]
    assert trades["funding"] == [round(value, 2) for value in result.trades["funding"]]


def test_sums_of_the_trade_list_are_those_of_the_run(result: Result) -> None:
    """Rounding every trade first would make another net and another mean."""
    trades = report_content(result)["trades"]
    assert sum(trades["pnl"]) == pytest.approx(result.metrics["Net Profit"], abs=1e-4)
    assert np.mean(trades["r"]) == pytest.approx(result.metrics["Avg R"], abs=1e-7)


def test_legs_that_were_filled_stand_beside_the_picture(result: Result) -> None:
    assert report_content(result)["exits"]["legs"].startswith("legs filled: TP1 ")
    assert report_content(empty_result())["exits"]["legs"] == ""


def test_candles_cover_every_inspected_trade(monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    for limit in (120_000, 900):
        monkeypatch.setattr(content_module, "MAX_CANDLES", limit)
        values = report_content(result)
        assert 0 < len(values["inspect"]) <= len(result.trades)
        assert values["whole"] == (limit > 1800)
        step = values["head"]["timeframe_s"]
        kept = sum(len(candles["o"]) for candles in values["candles"].values())
        assert kept <= max(limit, 1800)
        for key in values["inspect"]:
            trade = result.trades.iloc[int(key)]
            candles = values["candles"][trade["symbol"]]
            opens = candles["t0"] + step * np.cumsum(candles["i"])
            assert opens.min() <= trade["entry_time"].timestamp()
            assert opens.max() + step >= trade["exit_time"].timestamp()
            inside = (opens >= trade["entry_time"].timestamp()) & (opens < trade["exit_time"].timestamp())
            assert inside.sum() >= (trade["exit_time"] - trade["entry_time"]).total_seconds() // step


def test_long_runs_are_thinned() -> None:
    values = report_content(made_result(n_bars=6000))
    overview = values["overview"]["BTCUSDT"]
    assert (overview["timeframe"], overview["seconds"]) == ("4h", 14_400)
    assert len(overview["t"]) == 1500
    assert len(values["equity"]["t"]) <= MAX_CURVE + 10
    assert min(values["equity"]["drawdown"]) < -1.0


def test_thinning_keeps_ends_and_extremes() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=50_000).cumsum()
    kept = thin(np.arange(50_000), values, 1000)
    assert kept.size <= 1000
    assert {0, 49_999, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


def test_a_long_run_stays_below_twelve_megabytes() -> None:
    result = made_result(symbols=("BTCUSDT", "ETHUSDT"), n_bars=25_000, every=60)
    assert len(result.trades) > 700
    assert len(report_html(result).encode()) < 12_000_000


def test_writing_where_one_cannot_says_so(tmp_path: Path, result: Result) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_report(result, tmp_path / "file" / "report.html")


def test_the_figure_has_candles_trades_equity_and_drawdown(result: Result) -> None:
    figure = overview_figure(result, "ETHUSDT")
    names = [trace.name for trace in figure.data]
    assert names[0] == "ETHUSDT 1h"
    assert {"long entry", "short entry", "stop", "equity", "buy and hold", "drawdown, %"} <= set(names)
    assert result.plot().data[0].name == "BTCUSDT 1h"
    with pytest.raises(UsageError, match="no bars of XRPUSDT; it has BTCUSDT, ETHUSDT"):
        overview_figure(result, "XRPUSDT")


def test_an_ablation_is_told_as_the_table_has_it() -> None:
    result = made_result(n_bars=300)
    assert not report_content(result)["ablation"]["asked"]
    result.ablation = made_ablation(("trail", 0.4, -0.1), ("ratchet", -0.302, -1.2), same=["loss guard"])
    result.ablation_left_out = {"stop of bracket": 'exit.policy is "exit_brain"'}
    told = report_content(result)["ablation"]
    assert told["bars"] == [["ratchet", -0.3, -1.2], ["trail", 0.4, -0.1]]
    assert (told["low"], told["high"]) == (-1.2, 0.4)
    assert [row[0] for row in told["rows"]] == ["nothing: the run itself", "ratchet", "loss guard", "trail"]
    assert told["rows"][0][2] == round(100.0 * result.metrics["Total Return"], 2)
    assert told["rows"][0][6] == len(result.trades)
    assert told["same"] == "Without these the run is the same: loss guard."
    assert told["left_out"] == 'Left out: stop of bracket (exit.policy is "exit_brain").'
    assert "do not add up" in told["lead"]
    assert "need not help later" in told["lead"]
