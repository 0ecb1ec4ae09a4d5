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

from qtsim.report import report_html
from qtsim.results.result import Result
from tests.unit.results.made_run import made_result

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
    assert re.search(r"ended by: .*\dlegs filled: ", seen["flow"]), "two paragraphs"
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
    assert seen["cards"] == 3
    assert seen["last"] > 0.99
    assert {"Jan", "Feb", "Dec", "Year", "2024"} <= set(seen["months"])
    assert not seen["clipped"]
    assert seen["row"] == ("block" if is_stacked else "table-cell")
    assert seen["beyond"] <= 0
