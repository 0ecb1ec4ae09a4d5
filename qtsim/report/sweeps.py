"""Figures and HTML report of a sweep."""

from __future__ import annotations

import html
import importlib
import itertools
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.data.atomic import write_atomically
from qtsim.errors import UsageError
from qtsim.report.page import json_in_script
from qtsim.research.metrics import AS_PERCENT, NAMES, NO_AIM, read_metric, show_metric, sign_of
from qtsim.research.summary import is_map_row
from qtsim.research.sweep import Sweep
from qtsim.research.text_map import MapGrid, main_pair, map_grid
from qtsim.research.words import cell_text, copy_text, short_path, value_text
from qtsim.results.summary import Summary

PAIRS_MOST = 10
"""Heat maps in the report; of more pairs those of the longest axes."""
METRICS_IN_REPORT = (
    "Sharpe", "Total Return", "CAGR", "Max Drawdown", "Calmar", "Sortino", "Profit Factor", "Win Rate", "Expectancy",
    "SQN", "Trades", "Fees", "Exposure Time", "Liquidations",
)  # fmt: skip
LINES_MOST = 2_000
"""Trials drawn as lines or listed: the best ones of more."""
TABLE_MOST = 100
NAVIGATION = (
    '<a href="#overview">Overview</a><a href="#maps">Heat maps</a><a href="#slices-section">Along each axis</a>'
    '<a href="#parallel-section">Parallel coordinates</a><a href="#trials-section">Best trials</a>'
)
HATCHED_FINELY = 3_000
"""Copies up to which each cell gets three lines."""
GOOD_SCALE = [[0.0, "#b2182b"], [0.25, "#ef8a62"], [0.5, "#f7f7f7"], [0.75, "#67a9cf"], [1.0, "#2166ac"]]
AROUND_ZERO = ("Sharpe", "Total Return", "CAGR", "Sortino", "Calmar", "Net Profit", "Expectancy", "SQN")
COLOURED = 0.95
"""Share of a map's cells between the ends of the colours."""
RANK_COLOURS = ("#2166ac", "#67a9cf", "#b8b8b8", "#ef8a62", "#b2182b")
"""Of fifths of the trials, the best first."""
BESIDE = ("Total Return", "Max Drawdown", "Trades")
"""Metrics beside the one that trials are ranked by."""
PLATEAU_COLOUR, CENTRE_COLOUR, PEAK_COLOUR, HATCH_COLOUR = "#1a7f37", "#1a7f37", "#111111", "rgba(40,40,40,0.55)"


def heatmap_figure(
    sweep: Sweep, x: str | None = None, y: str | None = None, metric: str | None = None, *, how: str = "median"
) -> Any:
    """A metric over two axes: copies hatched, the plateau outlined, its centre and the peak marked.

    Other axes are at the recommended trial's values. how: with each symbol alone, the median or the worst of them.
    Errors: UsageError for an axis that the sweep does not have.
    """
    name = read_metric(metric or sweep.info.metric)
    grid = map_grid(sweep, *_pair(sweep, x, y), name, how=how)
    figure = _map_figure(sweep, grid, name, how)
    figure.data[0].customdata = _cell_texts(_map_cells(sweep, grid))
    return figure


def _map_figure(sweep: Sweep, grid: MapGrid, name: str, how: str) -> Any:
    """The map without the words of its cells, of which there may be many."""
    graph = importlib.import_module("plotly.graph_objects")
    figure = graph.Figure(_map_traces(graph, grid, name))
    x_axis, y_axis = (sweep.space.axes[k] for k in (grid.x, grid.y))
    figure.update_layout(
        title=_map_title(sweep, grid, name, how),
        width=900,
        height=640,
        legend={"orientation": "h", "y": -0.18},
        plot_bgcolor="#e9ecef",
    )
    for update, axis in ((figure.update_xaxes, x_axis), (figure.update_yaxes, y_axis)):
        _label(update, axis.path, axis.values)
        update(range=[-0.5, len(axis.values) - 0.5])
    return figure


def slices_figure(sweep: Sweep, metric: str | None = None) -> Any:
    """The metric along each axis through the recommended trial, with the range of all other trials behind it."""
    graph = importlib.import_module("plotly.graph_objects")
    subplots = importlib.import_module("plotly.subplots")
    name = read_metric(metric or sweep.info.metric)
    axes = [k for k, axis in enumerate(sweep.space.axes) if len(axis.values) > 1]
    titles = [short_path(sweep.space.axes[k].path) for k in axes]
    figure = subplots.make_subplots(rows=1, cols=max(1, len(axes)), shared_yaxes=True, subplot_titles=titles)
    for column, k in enumerate(axes, start=1):
        for trace in _slice_traces(graph, sweep, k, name, show=column == 1):
            figure.add_trace(trace, row=1, col=column)
        axis = sweep.space.axes[k]
        ticks, texts = _ticks(axis.path, axis.values)
        figure.update_xaxes(tickvals=ticks, ticktext=texts, row=1, col=column)
    figure.update_yaxes(title_text=_metric_title(name), row=1, col=1)
    figure.update_layout(width=max(600, 380 * len(axes)), height=420, title=f"{name} along each axis")
    return figure


def parallel_figure(sweep: Sweep, metric: str | None = None) -> Any:
    """Parallel coordinates: a line per trial that counts, over the axes and some metrics, coloured by the metric.

    Of many trials the best ones. Drawn as plain lines, which every browser can.
    """
    graph = importlib.import_module("plotly.graph_objects")
    name = read_metric(metric or sweep.info.metric)
    rows = _best_rows(sweep, name, LINES_MOST)
    rails = [*_axis_rails(sweep, rows), *_metric_rails(sweep, rows, name)]
    figure = graph.Figure(_parallel_lines(graph, rails, len(rows)))
    for x, rail in enumerate(rails):
        line = {"color": "#64707f", "width": 1}
        figure.add_shape(type="line", x0=x, x1=x, y0=0.0, y1=1.0, line=line, layer="above")
        figure.add_annotation(x=x, y=1.09, text=f"<b>{html.escape(rail.title)}</b>", showarrow=False)
        for place, text in rail.ticks:
            figure.add_annotation(
                x=x, y=place, text=html.escape(text), showarrow=False, xanchor="right", xshift=-4, font={"size": 10},
                bgcolor="rgba(255,255,255,0.75)", font_color="#1c2430",
            )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.45, len(rails) - 0.8])
    figure.update_yaxes(visible=False, range=[-0.06, 1.15])
    figure.update_layout(width=1000, height=480, title=f"Trials by {name}", hovermode=False, showlegend=True)
    return figure


@dataclass(frozen=True)
class Rail:
    """One vertical of the parallel coordinates: where each trial crosses it (0 to 1, NaN unknown), and its labels."""

    title: str
    heights: np.ndarray
    ticks: list[tuple[float, str]]


def _axis_rails(sweep: Sweep, rows: np.ndarray) -> list[Rail]:
    at = sweep.space.indices(sweep.cells[rows])
    rails = []
    for k, axis in enumerate(sweep.space.axes):
        last = max(len(axis.values) - 1, 1)
        ticks, texts = _ticks(axis.path, axis.values)
        labels = [(tick / last, text) for tick, text in zip(ticks, texts, strict=True)]
        rails.append(Rail(short_path(axis.path), at[:, k] / last, labels))
    return rails


def _metric_rails(sweep: Sweep, rows: np.ndarray, name: str) -> list[Rail]:
    """The metric, last, and a few beside it."""
    rails = []
    for one in dict.fromkeys((*(x for x in BESIDE if x != name), name)):
        values = sweep.values_of(one)[rows]
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        low, high = float(known.min()), float(known.max())
        heights = (values - low) / (high - low) if high > low else np.where(np.isfinite(values), 0.5, np.nan)
        ends = (
            [(0.0, show_metric(one, low)), (1.0, show_metric(one, high))]
            if high > low
            else [(0.5, show_metric(one, low))]
        )
        rails.append(Rail(one, heights, ends))
    return rails


def _parallel_lines(graph: Any, rails: list[Rail], count: int) -> list[Any]:
    """The trials as polylines in a few colours: rows are the best first, so a colour is a share of the ranks."""
    heights = np.column_stack([rail.heights for rail in rails])
    traces = []
    for part in range(len(RANK_COLOURS) - 1, -1, -1):  # the best are drawn last, above the others
        own = np.arange(count) * len(RANK_COLOURS) // max(count, 1) == part
        x: list[float | None] = []
        y: list[float | None] = []
        for line in heights[own].tolist():
            x += [*range(len(rails)), None]
            y += [*(None if value != value else value for value in line), None]
        label = f"rank {int(np.flatnonzero(own)[0]) + 1} to {int(np.flatnonzero(own)[-1]) + 1}" if own.any() else ""
        line_style = {"color": RANK_COLOURS[part], "width": 1.6 if part == 0 else 0.8}
        opacity = 0.9 if part == 0 else 0.35
        traces.append(
            graph.Scatter(x=x, y=y, mode="lines", line=line_style, opacity=opacity, name=label, hoverinfo="skip")
        )
    return [trace for trace in traces if trace.name]


def _pair(sweep: Sweep, x: str | None, y: str | None) -> tuple[int, int]:
    """The two axes that are asked for, or the two longest."""
    paths = list(sweep.space.paths)
    for path in (x, y):
        if path is not None and path not in paths:
            raise UsageError(f"the sweep did not vary {path}; it varied {', '.join(paths)}")
    if x is not None and y is not None:
        if x == y:
            raise UsageError(f"a heat map has two axes; {x} is named twice")
        return paths.index(x), paths.index(y)
    pair = main_pair(sweep)
    if pair is None:
        raise UsageError("a heat map needs two parameters with several values; see slices()")
    if x is None and y is None:
        return pair
    named = paths.index(x or y or "")
    other = next(k for k in (*pair, *range(len(paths))) if k != named)
    return (named, other) if x is not None else (other, named)


def _map_traces(graph: Any, grid: MapGrid, name: str) -> list[Any]:
    values = _scaled(name, grid.values)
    traces = [
        graph.Heatmap(
            z=values,
            colorscale=GOOD_SCALE,
            reversescale=sign_of(name) < 0,
            colorbar={"title": _metric_title(name)},
            hovertemplate=f"%{{customdata}}<br>{name} %{{z:.4~g}}{' %' if name in AS_PERCENT else ''}<extra></extra>",
            **_colour_range(values, name),
        )
    ]
    hatched = np.argwhere(grid.copies & np.isfinite(grid.values))
    if len(hatched):
        traces.append(
            graph.Scatter(
                **_hatches(hatched),
                mode="lines",
                line={"color": HATCH_COLOUR, "width": 1},
                name="copy of another trial",
                hoverinfo="skip",
            )
        )
    outline = _outline(grid.plateau)
    if outline["x"]:
        traces.append(
            graph.Scatter(
                **outline, mode="lines", line={"color": PLATEAU_COLOUR, "width": 3}, name="plateau", hoverinfo="skip"
            )
        )
    for place, label, symbol, colour in (
        (grid.peak, "peak", "x", PEAK_COLOUR),
        (grid.centre, "recommended", "star", CENTRE_COLOUR),
    ):
        if place is not None:
            marker = {"symbol": symbol, "size": 15, "color": colour, "line": {"color": "white", "width": 1.5}}
            traces.append(
                graph.Scatter(x=[place[1]], y=[place[0]], mode="markers", marker=marker, name=label, hoverinfo="skip")
            )
    return traces


def _colour_range(values: np.ndarray, name: str) -> dict[str, float]:
    """Where the colours of a map end: a few extreme cells do not make all others look alike.

    A metric whose sign matters has white at 0.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    if name in AROUND_ZERO:
        low, high = -float(np.quantile(np.abs(known), COLOURED)), float(np.quantile(np.abs(known), COLOURED))
    else:
        low, high = (float(np.quantile(known, share)) for share in (1.0 - COLOURED, COLOURED))
    return {"zmin": low, "zmax": high} if high > low else {}


def _hatches(cells: np.ndarray) -> dict[str, np.ndarray]:
    """Diagonals through cells, three in each where there are not too many, one polyline with gaps."""
    row, column = cells[:, :1].astype(np.float32), cells[:, 1:].astype(np.float32)
    shifts = np.array([-0.5, 0.0, 0.5] if len(cells) <= HATCHED_FINELY else [0.0], np.float32)
    up, down, gap = np.maximum(shifts, 0.0), np.minimum(shifts, 0.0), np.full((len(cells), len(shifts)), np.nan)
    x = np.stack([column - 0.5 + up, column + 0.5 + down, gap], axis=2)
    y = np.stack([row - 0.5 - down, row + 0.5 - up, gap], axis=2)
    return {"x": x.ravel().astype(np.float32), "y": y.ravel().astype(np.float32)}


def _outline(member: np.ndarray) -> dict[str, list[float | None]]:
    """The border between cells that belong and cells that do not, one polyline with gaps."""
    x: list[float | None] = []
    y: list[float | None] = []
    padded = np.pad(member, 1)
    for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]).tolist():
        x += [column - 0.5, column + 0.5, None]
        y += [row - 0.5, row - 0.5, None]
    for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]).tolist():
        x += [column - 0.5, column - 0.5, None]
        y += [row - 0.5, row + 0.5, None]
    return {"x": x, "y": y}


def _map_cells(sweep: Sweep, grid: MapGrid) -> dict[str, Any]:
    """What the cells of a map are: a text for each column and row, and (row, column) of those that are copies."""
    axes = {"columns": sweep.space.axes[grid.x], "rows": sweep.space.axes[grid.y]}
    texts = {
        side: [f"{short_path(axis.path)} {value_text(axis.path, value)}" for value in axis.values]
        for side, axis in axes.items()
    }
    return {**texts, "copies": np.argwhere(grid.copies).tolist()}


def _cell_texts(cells: dict[str, Any]) -> np.ndarray:
    """The place of every cell in words; the page puts the same together by itself."""
    texts = np.array([[f"{column}, {row}" for column in cells["columns"]] for row in cells["rows"]], dtype=object)
    for row, column in cells["copies"]:
        texts[row, column] += "<br>copy of another trial"
    return texts


def _map_title(sweep: Sweep, grid: MapGrid, name: str, how: str) -> str:
    title = f"{how if sweep.info.each else ''} {name}".strip().capitalize() if sweep.info.each else name
    best = sweep.recommended
    others = [k for k in range(len(sweep.space.axes)) if k not in (grid.x, grid.y)]
    if best is not None and others:
        fixed = {sweep.space.axes[k].path: best.values[sweep.space.axes[k].path] for k in others}
        title += f" at {cell_text(fixed)}"
    return title


def _slice_traces(graph: Any, sweep: Sweep, axis: int, name: str, *, show: bool) -> list[Any]:
    at, values = sweep.space.indices(sweep.cells), _scaled(name, sweep.values_of(name))
    count = sweep.space.shape[axis]
    low, middle, high = (np.full(count, np.nan) for _ in range(3))
    for place in range(count):
        own = values[at[:, axis] == place]
        own = own[np.isfinite(own)]
        if len(own):
            low[place], middle[place], high[place] = np.quantile(own, [0.0, 0.5, 1.0])
    places = np.arange(count)
    band = {"line": {"width": 0}, "mode": "lines", "hoverinfo": "skip", "connectgaps": True}
    traces = [
        graph.Scatter(x=places, y=low, showlegend=False, **band),
        graph.Scatter(
            x=places,
            y=high,
            fill="tonexty",
            fillcolor="rgba(100,110,125,0.18)",
            name="all trials",
            showlegend=show,
            **band,
        ),
        graph.Scatter(
            x=places, y=middle, name="median", showlegend=show, line={"dash": "dot", "color": "#64707f"}, mode="lines"
        ),
    ]
    if sweep.plateau is not None:
        through = at[sweep.plateau.centre]
        others = [k for k in range(len(sweep.space.axes)) if k != axis]
        inside = (at[:, others] == through[others]).all(axis=1)
        line = {"color": "#2166ac"}
        traces.append(
            graph.Scatter(
                x=at[inside, axis], y=values[inside], name="through the recommended", showlegend=show, line=line,
                mode="lines+markers",
            )
        )  # fmt: skip
        star = {"symbol": "star", "size": 14, "color": CENTRE_COLOUR}
        traces.append(
            graph.Scatter(
                x=[through[axis]], y=[values[sweep.plateau.centre]], marker=star, mode="markers", showlegend=False
            )
        )
    return traces


def _scaled(name: str, values: np.ndarray) -> np.ndarray:
    """Per cent for ratios; infinities as unknown, which no colour can show."""
    scaled: np.ndarray = np.where(np.isfinite(values), values * (100.0 if name in AS_PERCENT else 1.0), np.nan)
    return scaled


def _metric_title(name: str) -> str:
    return f"{name}, %" if name in AS_PERCENT else name


def _ticks(path: str, values: tuple[Any, ...]) -> tuple[list[int], list[str]]:
    """At most about a dozen labelled places."""
    step = max(1, -(-len(values) // 12))
    places = list(range(0, len(values), step))
    return places, [value_text(path, values[k]) for k in places]


def _label(update: Any, path: str, values: tuple[Any, ...]) -> None:
    ticks, texts = _ticks(path, values)
    update(title_text=path, tickvals=ticks, ticktext=texts, showgrid=False, zeroline=False)


def _best_rows(sweep: Sweep, name: str, most: int) -> np.ndarray:
    """Rows of the best trials that count, the best first."""
    values = sign_of(name) * sweep.values_of(name)
    rows = np.flatnonzero(sweep.original & np.isfinite(values))
    return rows[np.argsort(-values[rows], kind="stable")[:most]]


# --- the page --------------------------------------------------------------------------------------------------------


def write_sweep_report(sweep: Sweep, path: Path) -> Path:
    """Write the report of a sweep and return its path. Errors: DataError where it cannot be written."""
    page = sweep_html(sweep)
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def sweep_html(sweep: Sweep) -> str:
    """The whole page: markup, style, script, plotly.js and the figures' values."""
    content = {**_figures(sweep), "metrics": list(_metrics_shown(sweep))}
    parts = {
        "title": html.escape(f"Sweep of {sweep.info.strategy} on {sweep.info.data_set_text}"),
        "kind": "sweep",
        "nav": NAVIGATION,
        "css": _asset("report.css"),
        "js": _asset("figures.js"),
        "plotly": importlib.import_module("plotly.offline").get_plotlyjs(),
        "content": json_in_script(content),
        "body": _body(sweep),
    }
    pieces = re.split(r"\{\{(\w+)\}\}", _asset("figures.html"))
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _asset(name: str) -> str:
    return (files("qtsim.report") / name).read_text(encoding="utf-8")


def _metrics_shown(sweep: Sweep) -> tuple[str, ...]:
    chosen = (sweep.info.metric, *METRICS_IN_REPORT)
    return tuple(dict.fromkeys(name for name in chosen if name in NAMES.values() and name not in NO_AIM - {"Trades"}))


def _figures(sweep: Sweep) -> dict[str, Any]:
    """Every figure of the page as plotly JSON, the heat maps once per metric, and the cells of each map once."""
    found: list[dict[str, Any]] = []
    cells: dict[str, Any] = {}

    def add(place: str, key: str, figure: Any) -> None:
        figure.update_layout(
            title=None, width=None, template="none", paper_bgcolor="rgba(0,0,0,0)", margin={"t": 45, "b": 60}
        )
        found.append({"place": place, "key": key, "figure": json.loads(figure.to_json())})

    hows = ("median", "worst") if sweep.info.each else ("median",)
    for number, (x, y) in enumerate(report_pairs(sweep)):
        for name, how in itertools.product(_metrics_shown(sweep), hows):
            place, grid = f"map-{number}-{how}", map_grid(sweep, x, y, name, how=how)
            add(place, name, _map_figure(sweep, grid, name, how))
            if place not in cells:
                cells[place] = _map_cells(sweep, grid)
    for name in _metrics_shown(sweep):
        add("slices", name, slices_figure(sweep, name))
    add("parallel", sweep.info.metric, parallel_figure(sweep))
    return {"figures": found, "cells": cells}


def report_pairs(sweep: Sweep) -> list[tuple[int, int]]:
    """Pairs of axes that get a heat map, the longer axis across."""
    long = [k for k, axis in enumerate(sweep.space.axes) if len(axis.values) > 1]
    long.sort(key=lambda k: -len(sweep.space.axes[k].values))
    return list(itertools.combinations(long, 2))[:PAIRS_MOST]


def _body(sweep: Sweep) -> str:
    """The page's markup."""
    escape = html.escape
    summary = Summary(line for line in sweep.summary() if line.label != "Heat map" and not is_map_row(line))
    verdict = sweep.verdict
    tone = {"ROBUST": "good", "FRAGILE": "warn"}.get(verdict.word, "bad")
    parts = [
        f'<section id="overview"><div class="verdict {tone}">{escape(verdict.sentence)}</div>',
        f'<div class="card"><pre>{escape(str(summary))}</pre></div></section>',
        '<section id="maps"><h2>Heat maps</h2><p class="lead">Hatched cells decide and fill as another trial does and '
        "are counted once. The green line is the plateau, the star its centre, which is recommended; the cross is the "
        "best single trial. Cells of other axes are at the recommended values.</p>"
        f'<div class="bar"><label>Metric <select id="metric">{_options(sweep)}</select></label></div>',
    ]
    hows = ("median", "worst") if sweep.info.each else ("median",)
    for number, (x, y) in enumerate(report_pairs(sweep)):
        for how in hows:
            of = f", {how} of the symbols" if sweep.info.each else ""
            title = f"{sweep.space.paths[y]} by {sweep.space.paths[x]}{of}"
            parts.append(
                f'<div class="card"><h3>{escape(title)}</h3><div class="chart map" id="map-{number}-{how}"></div></div>'
            )
    parts.append(
        '</section><section id="slices-section"><h2>Along each axis</h2><p class="lead">The line goes through the '
        'recommended trial; behind it are all trials.</p><div class="card"><div class="chart tall" id="slices"></div>'
        "</div></section>"
        '<section id="parallel-section"><h2>Parallel coordinates</h2><p class="lead">One line per trial that counts, '
        f"of more than {LINES_MOST:,} the best; coloured by rank, the best fifth above the others.</p>"
        '<div class="card"><div class="chart tall" id="parallel"></div></div></section>'
    )
    if sweep.copies:
        items = "".join(f"<li>{escape(copy_text(copy, sweep.info.settings))}</li>" for copy in sweep.copies)
        parts.append(f'<section id="copies"><h2>Copies</h2><div class="card"><ul>{items}</ul></div></section>')
    if sweep.info.each and sweep.recommended is not None:
        parts.append(_symbol_table(sweep))
    parts.append(_trial_table(sweep))
    return "".join(parts)


def _options(sweep: Sweep) -> str:
    return "".join(f"<option>{html.escape(name)}</option>" for name in _metrics_shown(sweep))


def _symbol_table(sweep: Sweep) -> str:
    best = sweep.recommended
    assert best is not None
    frame = sweep.by_symbol(best.cell)
    names = ("Total Return", "Sharpe", "Max Drawdown", "Profit Factor", "Win Rate", "Trades", "Liquidations")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f'<tr><td class="text">{html.escape(str(symbol))}</td>'
        + "".join(f"<td>{show_metric(name, float(frame[name][symbol]))}</td>" for name in names)
        + "</tr>"
        for symbol in frame.index
    )
    return (
        '<section id="symbols"><h2>The recommended trial by symbol</h2><div class="card scroll"><table class="numbers">'
        f'<tr><th class="text">Symbol</th>{head}</tr>{rows}</table></div></section>'
    )


def _trial_table(sweep: Sweep) -> str:
    name = sweep.info.metric
    rows = _best_rows(sweep, name, TABLE_MOST)
    names = tuple(dict.fromkeys((name, *METRICS_IN_REPORT)))
    columns = {one: sweep.values_of(one) for one in names}
    head = '<th class="text">Trial</th>' + "".join(f"<th>{html.escape(one)}</th>" for one in names)
    lines = []
    for row in rows:
        values = sweep.space.values(int(sweep.cells[row]))
        cells = "".join(f"<td>{show_metric(one, float(columns[one][row]))}</td>" for one in names)
        lines.append(f'<tr><td class="text">{html.escape(cell_text(values))}</td>{cells}</tr>')
    return (
        f'<section id="trials-section"><h2>The best {len(rows)} trials by {html.escape(name)}</h2><p class="lead">'
        'Equal trials are listed once.</p><div class="card scroll"><table class="numbers">'
        f"<tr>{head}</tr>{''.join(lines)}</table></div></section>"
    )
