"""Figures for notebooks."""

from __future__ import annotations

import importlib
from typing import Any

import pandas as pd

from qtsim.errors import UsageError
from qtsim.report.content import overview_candles
from qtsim.results.result import Result

LONG, SHORT = "#26a269", "#d64541"
REASON_COLOURS = {
    "tp1": "#5cb85c",
    "tp2": "#2e9e5b",
    "tp3": "#1c8f5e",
    "tp4": "#147a52",
    "tp5": "#0d6644",
    "trail": "#2f7ed8",
    "ratchet": "#e0a100",
    "breakeven": "#16a3a3",
    "stop": "#d9534f",
    "hard_stop": "#c2407a",
    "liquidation": "#8e44ad",
}
OTHER_COLOUR = "#7b8794"


def overview_figure(result: Result, symbol: str | None = None) -> Any:
    """A plotly Figure of one symbol (the first unless named): candles with entries and exits, equity with buy and hold,
    drawdown, all over the same time. Errors: UsageError for a symbol that the run did not have."""
    name = symbol or result.info.symbols[0]
    if name not in result.bars:
        raise UsageError(f"the run has no bars of {name}; it has {', '.join(result.bars)}")
    graph = importlib.import_module("plotly.graph_objects")
    subplots = importlib.import_module("plotly.subplots")
    figure = subplots.make_subplots(
        rows=3, cols=1, shared_xaxes=True, row_heights=[0.55, 0.27, 0.18], vertical_spacing=0.03
    )
    bars = overview_candles(result, name)
    figure.add_trace(
        graph.Candlestick(
            x=pd.to_datetime(bars["t"], unit="s", utc=True),
            open=bars["o"],
            high=bars["h"],
            low=bars["l"],
            close=bars["c"],
            name=f"{name} {bars['timeframe']}",
        ),
        row=1,
        col=1,
    )
    for trace in _trade_marks(graph, result, name):
        figure.add_trace(trace, row=1, col=1)
    equity, held = result.equity, result.buy_and_hold
    name_of_equity = "equity without deposits and withdrawals" if len(result.transfers) else "equity"
    figure.add_trace(graph.Scatter(x=equity.index, y=equity["growth"], name=name_of_equity), row=2, col=1)
    figure.add_trace(
        graph.Scatter(x=held.index, y=held, name="buy and hold", line={"dash": "dot", "color": OTHER_COLOUR}),
        row=2,
        col=1,
    )
    figure.add_trace(
        graph.Scatter(
            x=equity.index, y=100.0 * equity["drawdown"], name="drawdown, %", fill="tozeroy", line={"color": SHORT}
        ),
        row=3,
        col=1,
    )
    figure.update_layout(
        height=760,
        title=f"{result.info.strategy} on {name} {result.info.timeframe}",
        xaxis_rangeslider_visible=False,
        legend={"orientation": "h"},
    )
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_yaxes(title_text=result.info.quote, row=2, col=1)
    figure.update_yaxes(title_text="%", row=3, col=1)
    return figure


def _trade_marks(graph: Any, result: Result, symbol: str) -> list[Any]:
    """Triangles for entries, one kind of mark for the exits of each reason."""
    fills = result.fills[result.fills["symbol"] == symbol]
    entries = fills[fills["kind"] == "entry"]
    exits = fills[fills["kind"] != "entry"]
    marks = []
    for side, shape, colour in (("long", "triangle-up", LONG), ("short", "triangle-down", SHORT)):
        own = entries[entries["side"] == side]
        marks.append(_marks(graph, own, f"{side} entry", {"symbol": shape, "color": colour, "size": 10}))
    for reason, own in exits.groupby("reason"):
        shape = "diamond" if str(reason).startswith("tp") else "x"
        colour = REASON_COLOURS.get(str(reason), OTHER_COLOUR)
        marks.append(_marks(graph, own, str(reason), {"symbol": shape, "color": colour, "size": 7}))
    return marks


def _marks(graph: Any, fills: pd.DataFrame, name: str, marker: dict[str, Any]) -> Any:
    return graph.Scatter(x=fills["time"], y=fills["price"], mode="markers", name=name, marker=marker)
