"""The first screen of a sweep: what was tried, what is the same, what is recommended, and what it proves."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator

from qtsim.data.timeframes import format_ts
from qtsim.research.metrics import show_metric, sign_of
from qtsim.research.sweep import Recommended, Sweep
from qtsim.research.text_map import text_map
from qtsim.research.verdict import NOTHING
from qtsim.research.words import cell_text, copy_text, range_text, short_path
from qtsim.results.summary import Line, Summary

SHOWN = ("Total Return", "Sharpe", "Max Drawdown", "Trades")
"""Metrics that stand beside a trial."""
SHOWN_SYMBOLS = 12
SHOWN_REASONS = 3
INDENT = " " * 14


class MapRow(Line):
    """A row of the heat map in text."""


def is_map_row(line: Line) -> bool:
    """Whether a line draws the heat map, which a page does better."""
    return isinstance(line, MapRow)


def summarize_sweep(sweep: Sweep) -> Summary:
    """The first screen."""
    return Summary(tuple(_lines(sweep)))


def _lines(sweep: Sweep) -> Iterator[Line]:
    info = sweep.info
    yield Line("", heading(sweep))
    yield from (Line("", text) for text in info.headlines)
    yield Line("Trials", trials_text(sweep))
    if info.left_out:
        yield Line("Left out", left_out_text(sweep))
    if not sweep.original.all():
        yield Line("Copies", copies_text(sweep))
        yield from (Line("", f"{INDENT}{copy_text(copy, info.settings)}") for copy in sweep.copies)
    drawn = text_map(sweep)
    if drawn is not None:
        yield Line("Heat map", drawn[0])
        yield from (MapRow("", f"{INDENT}{row}") for row in drawn[1])
    best = sweep.recommended
    if best is not None and sweep.peak is not None:
        yield Line("Peak", f"{cell_text(sweep.space.values(sweep.peak))}: {shown_metrics(sweep, sweep.peak)}")
        yield Line("Recommended", recommended_text(sweep, best))
        yield Line("Range", range_line(best))
        if info.each:
            yield Line("Symbols", symbols_text(sweep, best.cell))
    if not sweep.is_complete:
        return
    evidence = sweep.verdict.evidence
    if sweep.verdict.word != NOTHING:
        yield Line("Tried", tried_text(sweep))
        yield Line("Evidence", evidence_text(sweep))
        yield from (Line("", f"{INDENT}no {name}: {why}") for name, why in evidence.not_computed.items())
    yield Line("Verdict", sweep.verdict.sentence)
    yield from (Line("Warning", text) for text in info.warnings)


def heading(sweep: Sweep) -> str:
    """Who was swept on which data."""
    info = sweep.info
    params = "".join(
        f" {name}={value}" for name, value in info.params.items() if f"strategy.{name}" not in sweep.space.paths
    )
    names = info.symbols[0] if len(info.symbols) == 1 else f"{info.symbols[0]} and {len(info.symbols) - 1} more"
    bars = sum(info.bars.values())
    parts = [
        f"qtsim {info.version}",
        f"sweep of {info.strategy}{params}",
        f"{names} {info.timeframe}{', each alone' if info.each else ''}, {format_ts(info.start_ns, short=True)} to "
        f"{format_ts(info.end_ns)}, {bars:,} bars",
        f"profile {info.profile}",
    ]
    if info.path:
        parts.append(f"path: {info.path}")
    if info.holdout:
        parts.append(f"holdout {info.holdout} not looked at")
    if info.is_synthetic:
        parts.append("SYNTHETIC data")
    return " · ".join(parts)


def trials_text(sweep: Sweep) -> str:
    """How many, over which values, how fast."""
    info = sweep.info
    axes = " × ".join(
        f"{len(axis.values)} {range_text(axis.path, axis.values[0], axis.values[-1])}" for axis in sweep.space.axes
    )
    text = f"{sweep.trials:,} of {info.planned:,} ({axes}"
    text += f", {info.search})" if info.search != "grid" else ")"
    before = sweep.trials - sweep.made_now
    if sweep.made_now and not math.isnan(sweep.elapsed_s):
        text += f" · {sweep.made_now:,} made in {sweep.elapsed_s:,.1f} s"
        text += f", {sweep.made_now / max(sweep.elapsed_s, 1e-9):,.0f}/s"
        text += f", {before:,} before" if before else ""
        text += f" · peak memory {peak_memory_mb():,.0f} MB"
    return text


def peak_memory_mb() -> float:
    """The most memory that this process has had, 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def left_out_text(sweep: Sweep) -> str:
    """Cells without a trial, and why."""
    reasons = sorted(sweep.info.left_out.items(), key=lambda one: -one[1])
    if len(reasons) > SHOWN_REASONS:
        total = sum(sweep.info.left_out.values())
        return f"{total:,} combinations do not fit together, for instance: {reasons[0][0]}"
    return "; ".join(f"{count:,}: {reason}" for reason, count in reasons)


def copies_text(sweep: Sweep) -> str:
    """How many trials repeat others."""
    copies = int((~sweep.original).sum())
    return f"{copies:,} of {len(sweep.cells):,} decide and fill as another one does; each result is counted once"


def shown_metrics(sweep: Sweep, cell: int) -> str:
    """The sweep's metric and the usual ones of one trial."""
    metrics = sweep.metrics_of(cell)
    names = dict.fromkeys((sweep.info.metric, *SHOWN))
    return " · ".join(f"{name} {show_metric(name, metrics[name])}" for name in names)


def recommended_text(sweep: Sweep, best: Recommended) -> str:
    """The plateau's centre and its neighbourhood."""
    name = sweep.info.metric
    return (
        f"{cell_text(best.values)}: {shown_metrics(sweep, best.cell)}; neighbourhood mean "
        f"{show_metric(name, best.neighbourhood_mean)}, worst {show_metric(name, best.worst_neighbour)}"
    )


def range_line(best: Recommended) -> str:
    """How far the plateau reaches, and where it may go on."""
    text = " · ".join(range_text(path, low, high) for path, (low, high) in best.ranges.items())
    if best.edges:
        edges = " and ".join(short_path(path) for path in best.edges)
        text += f"; the centre lies on the edge of {edges}: the best may lie beyond"
    return text


def symbols_text(sweep: Sweep, cell: int) -> str:
    """The recommended trial, symbol by symbol."""
    name = sweep.info.metric
    values = sweep.by_symbol(cell)[name] * sign_of(name)
    returns = sweep.by_symbol(cell)["Total Return"]
    good = int((returns > 0.0).sum())
    order = values.sort_values(ascending=False, na_position="last").index[:SHOWN_SYMBOLS]
    listed = ", ".join(f"{symbol} {show_metric(name, sign_of(name) * float(values[symbol]))}" for symbol in order)
    more = f" and {len(values) - len(order)} more" if len(values) > len(order) else ""
    return f"{good} of {len(returns)} made money; {name}: {listed}{more}"


def tried_text(sweep: Sweep) -> str:
    """How often this has been tried, which is what the Sharpe ratio is deflated by."""
    evidence = sweep.verdict.evidence
    return (
        f"{evidence.trials:,} trials here, {evidence.different:,} different, as many as {evidence.independent:,.1f} "
        f"independent ones; {evidence.ever:,} of {sweep.info.strategy} on {sweep.info.data_set_text} so far"
    )


def evidence_text(sweep: Sweep) -> str:
    """The measures behind the verdict."""
    evidence = sweep.verdict.evidence
    parts = [f"deflated Sharpe {evidence.deflated_sharpe:.2f} (peak {evidence.peak_deflated_sharpe:.2f})"]
    if not math.isnan(evidence.overfitting):
        parts.append(f"probability of overfitting {100.0 * evidence.overfitting:.0f} %")
    if not math.isnan(evidence.superiority):
        parts.append(f"superior ability p = {evidence.superiority:.2f} ({evidence.superiority_trials} trials)")
    parts.append(f"gains in {evidence.folds_won} of {len(evidence.folds)} stretches")
    return " · ".join(parts)
