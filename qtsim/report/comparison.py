"""Runs side by side: one HTML file with their curves, their metrics, and what differs between them."""

from __future__ import annotations

import html
import importlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.data.atomic import write_atomically
from qtsim.report.page import json_in_script
from qtsim.results.result import Result

COLOURS = ("#2b6cb0", "#c2407a", "#18794e", "#9a6700", "#5d6d7e", "#8e44ad")
Row = tuple[str, ...]


def comparison_figure(results: Sequence[Result]) -> Any:
    """A plotly Figure: growth of 1 and drawdown of several runs by day, over the same time."""
    graph = importlib.import_module("plotly.graph_objects")
    subplots = importlib.import_module("plotly.subplots")
    figure = subplots.make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.05)
    for k, result in enumerate(results):
        daily = result.daily_returns
        growth = np.cumprod(1.0 + daily.to_numpy())
        drawdown = 100.0 * (growth / np.maximum.accumulate(np.maximum(growth, 1.0)) - 1.0)
        line = {"color": COLOURS[k % len(COLOURS)]}
        name = result.run_id or f"run {k + 1}"
        figure.add_trace(graph.Scatter(x=daily.index, y=growth, name=name, line=line), row=1, col=1)
        figure.add_trace(graph.Scatter(x=daily.index, y=drawdown, name=name, line=line, showlegend=False), row=2, col=1)
    figure.update_yaxes(title_text="growth of 1", row=1, col=1)
    figure.update_yaxes(title_text="drawdown, %", row=2, col=1)
    figure.update_layout(height=640, legend={"orientation": "h"})
    return figure


def write_comparison(results: Sequence[Result], metrics: Sequence[Row], differing: Sequence[Row], path: Path) -> Path:
    """Write the page and return its path. Rows: a name, then a text per run. Errors: DataError."""
    page = comparison_html(results, metrics, differing)
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def comparison_html(results: Sequence[Result], metrics: Sequence[Row], differing: Sequence[Row]) -> str:
    """The whole page."""
    names = [result.run_id or f"run {k + 1}" for k, result in enumerate(results)]
    figure = comparison_figure(results)
    figure.update_layout(template="none", paper_bgcolor="rgba(0,0,0,0)", margin={"t": 45, "b": 40})
    content = {"figures": [{"place": "curves", "key": "", "figure": json.loads(figure.to_json())}], "metrics": [""]}
    same = '<p class="muted">The same settings, strategy and data.</p>'
    heads = [f"{name}<br>{_what_ran(result)}" for name, result in zip(map(html.escape, names), results, strict=True)]
    difference = _table(heads, differing) if differing else same
    body = (
        '<section><h2>Growth and drawdown by day</h2><div class="card"><div class="chart map" id="curves"></div></div>'
        f'</section><section><h2>Metrics</h2><div class="card scroll whole">{_table(heads, metrics)}</div></section>'
        f'<section><h2>What differs</h2><div class="card scroll whole">{difference}</div>'
        "</section>"
    )
    parts = {
        "title": html.escape(f"{len(results)} runs side by side"),
        "kind": "comparison",
        "nav": "",
        "css": _asset("report.css"),
        "js": _asset("figures.js"),
        "plotly": importlib.import_module("plotly.offline").get_plotlyjs(),
        "content": json_in_script(content),
        "body": body,
    }
    pieces = re.split(r"\{\{(\w+)\}\}", _asset("figures.html"))
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _asset(name: str) -> str:
    return (files("qtsim.report") / name).read_text(encoding="utf-8")


def _what_ran(result: Result) -> str:
    symbols = result.info.symbols
    others = f" and {len(symbols) - 1} more" if len(symbols) > 1 else ""
    return html.escape(f"{result.info.strategy} · {symbols[0]}{others} {result.info.timeframe}")


def _table(heads: Sequence[str], rows: Sequence[Row]) -> str:
    """heads: markup, one per run."""
    head = "".join(f"<th>{text}</th>" for text in heads)
    lines = "".join(
        f'<tr><td class="text">{html.escape(row[0])}</td>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f'<table class="numbers"><tr><th class="text"></th>{head}</tr>{lines}</table>'
