"""What the page's script makes of its values, seen in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import Gate, GovernorDecision, Rule
from qtsim.report import report_html
from qtsim.results.result import Result
from tests.unit.results.made_run import START, made_ablation, made_result

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=20000",
)  # fmt: skip


def asked(result: Result, folder: Path, width: int, questions: str) -> dict[str, Any]:
    """The object that a script sees in the finished page; `$` is an element by id, `text` its text."""
    script = f"""<script>
    const $ = (id) => document.getElementById(id), text = (id) => $(id).textContent;
    const columns = (place) => getComputedStyle(document.querySelector(place)).gridTemplateColumns.split(" ").length;
    const ask = () => {{
      if (!document.body.dataset.ready) {{ setTimeout(ask, 50); return; }}
      document.body.dataset.answer = JSON.stringify((() => {{ {questions} }})());
    }};
    ask();
    </script>"""
    page = folder / "page.html"
    page.write_text(report_html(result) + script, encoding="utf-8")
    command = [
        str(BROWSER), *SWITCHES, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2000", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    answer = re.search(r'data-answer="([^"]*)"', shown)
    assert answer, shown[-2000:]
    values: dict[str, Any] = json.loads(unescape(answer[1]))
    return values


def test_the_inspector_says_what_it_shows(tmp_path: Path) -> None:
    result = made_result(n_bars=300)
    result.trades.loc[0, "r_multiple"] = np.nan  # a trade without a stop has no R
    seen = asked(
        result,
        tmp_path,
        1400,
        """
        $("pick").value = "worst"; $("pick").dispatchEvent(new Event("change"));
        const picked = $("pick").value;
        $("previous").click();
        const after = $("pick").value;
        document.querySelector("#trades tbody tr").click();
        const head = [...document.querySelectorAll("#trades th")].map((th) => th.textContent);
        return { picked, after, head, title: text("trade-title"), facts: text("trade-facts"), flow: text("flow"),
                 list: text("list-count") };
        """,
    )
    assert seen["picked"] == "worst"
    assert seen["after"] == "", "the next trade is no longer the largest loss"
    trade = result.trades.iloc[0]
    assert (
        seen["title"]
        == f"Trade 0 · BTCUSDT {trade['side']} · {trade['pnl']:+,.2f} USDT · ended by {trade['exit_reason']}"
    )
    assert trade["funding"] == 0.0
    assert "funding0.00 USDT" in seen["facts"]
    assert {"Fees + slippage", "Funding"} <= set(seen["head"])
    assert "legs filled: TP1 " in seen["flow"]
    assert f"together {result.metrics['Net Profit']:+,.2f} USDT" in seen["list"]


def test_one_trade_is_one_trade(tmp_path: Path) -> None:
    result = made_result(n_bars=300)
    result.trades = result.trades.iloc[:1]
    assert asked(result, tmp_path, 1400, 'return { list: text("list-count") };')["list"].startswith("1 of 1 trade,")


@pytest.mark.parametrize(("width", "columns", "is_stacked"), [(1400, 2, False), (500, 1, True)])
def test_the_page_fits_its_window(tmp_path: Path, width: int, columns: int, is_stacked: bool) -> None:
    """Months are readable, the data table becomes blocks where it is narrow, and no half of the grid is empty."""
    result = made_result(n_bars=900)
    result.optimism = {}  # as after --fast
    seen = asked(
        result,
        tmp_path,
        width,
        """
        const cards = [...document.querySelectorAll("#overview .columns > .card")], grid = cards[0].parentElement;
        const months = [...document.querySelectorAll("#months th")].filter((th) => th.textContent);
        return { columns: columns("#overview .columns"), cards: cards.length,
                 last: cards.at(-1).offsetWidth / grid.offsetWidth,
                 months: months.map((th) => th.textContent),
                 clipped: months.some((th) => th.scrollWidth > th.clientWidth),
                 row: getComputedStyle(document.querySelector("#data-table td")).display,
                 beyond: document.documentElement.scrollWidth - window.innerWidth };
        """,
    )
    assert seen["columns"] == columns
    assert seen["cards"] == 2
    assert is_stacked or 0.45 < seen["last"] < 0.55
    assert {"Jan", "Feb", "Dec", "Year", "2024"} <= set(seen["months"])
    assert not seen["clipped"]
    assert seen["row"] == ("block" if is_stacked else "table-cell")
    assert seen["beyond"] <= 0


@pytest.mark.parametrize("width", [1400, 500])
def test_the_flow_is_one_picture_whose_labels_fit_and_do_not_touch(tmp_path: Path, width: int) -> None:
    denied = {
        (Gate.ORCHESTRATOR, Rule.CHOPPY_CONFIDENCE): 120,
        (Gate.ORCHESTRATOR, Rule.UPTREND_SHORT): 3,
        (Gate.BALANCER, Rule.CORRELATION): 2,
        (Gate.GOVERNOR, Rule.EMERGENCY_SHUTDOWN): 30,
        (Gate.SIZING, Rule.TOO_MANY_LOTS): 1,
        (Gate.EXCHANGE, Rule.MIN_NOTIONAL): 1,
    }
    result = made_result(n_bars=905, denied=denied, keep_open=True)
    seen = asked(
        result,
        tmp_path,
        width,
        """
        const picture = document.querySelector("svg.flow"), frame = picture.getBoundingClientRect();
        const labels = [...picture.querySelectorAll("text")];
        const boxes = labels.map((label) => label.getBoundingClientRect());
        const touching = [];
        boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b, j) => {
          const apart = a.right <= b.left || b.right <= a.left || a.bottom - 2 <= b.top || b.bottom - 2 <= a.top;
          if (!apart) touching.push([labels[i].textContent, labels[i + 1 + j].textContent]);
        }));
        return { labels: labels.map((label) => label.textContent), touching,
                 outside: boxes.filter((box) => box.left < frame.left - 1 || box.right > frame.right + 1
                                             || box.bottom > frame.bottom + 1 || box.top < frame.top - 1).length };
        """,
    )
    assert seen["touching"] == []
    assert seen["outside"] == 0
    told = " | ".join(seen["labels"])
    for words in (
        "orchestrator 123",
        "CHOPPY 120",
        "governor 30",
        "EMERGENCY_SHUTDOWN 30",
        "still open 1",
        "before the",
    ):
        assert words in told
    assert f"{len(result.denials) + len(result.trades) + 1:,} signals" in told


def test_the_governor_has_lanes_under_the_equity_and_its_tables(tmp_path: Path) -> None:
    pause, shut = GovernorDecision.PAUSE_1H, GovernorDecision.EMERGENCY_SHUTDOWN
    result = made_result(("BTCUSDT", "ETHUSDT"), 600, governor=[(pause, 50.0, 51.0, 0.006), (shut, 80.0, 104.0, 0.051)])
    seen = asked(
        result,
        tmp_path,
        1400,
        """
        const lanes = $("chart-equity").data.filter((trace) => trace.yaxis === "y3" && trace.type === "bar");
        const cells = (row) => [...row.children].map((cell) => cell.textContent);
        const rows = (id) => [...document.querySelectorAll(`#${id} tr`)].map(cells);
        return { lanes: lanes.map((lane) => [lane.y[0], lane.base[0], lane.x[0]]), states: rows("states"),
                 banner: document.querySelector(".banner.bad").textContent, events: rows("events"),
                 symbols: rows("symbols"), costs: rows("costs"), regimes: rows("regimes"),
                 margin: text("margin-note"), text: text("governor-text") };
        """,
    )
    start = START // 1_000_000
    hour = 3_600_000
    assert sorted(seen["lanes"]) == [
        ["PAUSE_1H", start + 50 * hour, hour],
        ["SHUTDOWN", start + 80 * hour, 24 * hour],
    ]
    assert [row[0] for row in seen["states"]] == ["Decision", "EMERGENCY_SHUTDOWN", "PAUSE_1H", "ALLOW_NORMAL"]
    assert seen["banner"].startswith("EMERGENCY SHUTDOWN 2024-01-04 08:00 UTC: equity 5.10\u00a0% below")
    assert len(seen["events"]) == 5
    assert [row[0] for row in seen["symbols"]] == ["Symbol", "BTCUSDT", "ETHUSDT", "all"]
    assert [row[0] for row in seen["costs"]] == ["Symbol", "BTCUSDT", "ETHUSDT", "all"]
    assert [row[0] for row in seen["regimes"]] == ["", "TRENDING", "BREAKOUT", "RANGING", "CHOPPY", "all"]
    assert "no nearer to a liquidation price than 30.00 %" in seen["margin"]
    assert seen["text"].startswith("PAUSE_1H 1\u00a0×, shutdown 1\u00a0× (2024-01-04 08:00;")


def test_a_run_without_gates_has_no_governor_table_and_no_lanes(tmp_path: Path) -> None:
    result = made_result(n_bars=300, settings={"gates.enabled": False})
    seen = asked(
        result,
        tmp_path,
        1400,
        """
        const lanes = $("chart-equity").data.filter((trace) => trace.yaxis === "y3");
        return { card: !!$("governor-card"), lanes: lanes.length,
                 text: text("governor-text"), head: [...document.querySelectorAll("#symbols th")].length };
        """,
    )
    assert seen == {"card": False, "lanes": 0, "text": "Gates and governor off (gates.enabled = false).", "head": 8}


@pytest.mark.parametrize("width", [1400, 500])
def test_the_bars_of_an_ablation_begin_at_zero(tmp_path: Path, width: int) -> None:
    """Left of zero for less, right for more, as long as the figure beside them, and never beyond the window."""
    result = made_result(n_bars=300)
    result.ablation = made_ablation(
        ("trail", 0.4, -0.1), ("ratchet", -0.3, -1.2), ("pause of the trail in high volatility", 0.0, 0.2)
    )
    seen = asked(
        result,
        tmp_path,
        width,
        """
        const rows = [...document.querySelectorAll("#ablation-bars .row:not(.head)")];
        const box = (place) => place.getBoundingClientRect();
        const bars = rows.map((row) => [...row.querySelectorAll(".track")].map((track) => {
          const zero = box(track.querySelector("b")).left, bar = track.querySelector("i");
          const side = bar && (box(bar).left < zero - 1 ? -1 : 1);
          return bar ? side * Math.round(100 * box(bar).width / box(track).width) : 0;
        }));
        return { names: rows.map((row) => row.firstChild.textContent), bars,
                 figures: rows.map((row) => [...row.querySelectorAll(".amount")].map((one) => one.textContent)),
                 clipped: rows.some((row) => [...row.children].some((one) => one.scrollWidth > one.clientWidth + 1)),
                 table: document.querySelectorAll("#ablation-table tr").length,
                 beyond: document.documentElement.scrollWidth - window.innerWidth };
        """,
    )
    assert seen["names"] == ["ratchet", "pause of the trail in high volatility", "trail"]
    assert seen["figures"] == [["-0.30", "-1.20"], ["0.00", "+0.20"], ["+0.40", "-0.10"]]
    assert seen["bars"] == [[-19, -75], [0, 13], [25, -6]]  # per cent of the 1.6 points from -1.2 to 0.4
    assert not seen["clipped"]
    assert seen["table"] == 5
    assert seen["beyond"] <= 0


def test_a_run_without_an_ablation_has_no_such_section(tmp_path: Path) -> None:
    seen = asked(
        made_result(n_bars=300), tmp_path, 1400, 'return { left: !!$("ablation"), link: !!$("ablation-link") };'
    )
    assert seen == {"left": False, "link": False}
