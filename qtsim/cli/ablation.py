"""The table below the first screen: what the run would have been without each of its parts."""

from __future__ import annotations

from typing import Any

from qtsim.cli.screen import print_lines, print_table, say

HEADER = ("without", "Total Return", "change, pp", "Max DD", "its change, pp", "trades", "denied")
OPTIONAL = ("denied", "Max DD", "trades", "Total Return")
"""Columns that a narrow terminal does without, in this order."""


def print_ablation(result: Any) -> None:
    """The table and how to read it; nothing where no ablation was asked for."""
    from qtsim.results.ablation import HOW_TO_READ, changed_parts, left_out_text, stays_text, unchanged_text
    from qtsim.results.summary import Line

    if not result.has_ablation:
        return
    changed = changed_parts(result.ablation)
    say()
    print_table(HEADER, [_run_cells(result), *map(_cells, changed)], right=HEADER[1:], optional=OPTIONAL)
    notes = (
        Line("No change", unchanged_text(result.ablation)),
        Line("Stays on", stays_text(result.ablation)),
        Line("Left out", left_out_text(result.ablation_left_out)),
        Line("Ablation", HOW_TO_READ),
    )
    print_lines(line for line in notes if line.text)


def _run_cells(result: Any) -> tuple[str, ...]:
    """The run itself, with every part."""
    from qtsim.results.reach import denied_by_gate
    from qtsim.results.summary import percent

    total, drawdown = (percent(result.metrics[name]) for name in ("Total Return", "Max Drawdown"))
    denied = sum(one.count for one in denied_by_gate(result.denials))
    return ("(the run itself)", total, "", drawdown, "", f"{len(result.trades):,}", f"{denied:,}")


def _cells(row: Any) -> tuple[str, ...]:
    from qtsim.results.summary import percent, points

    return (
        row.part,
        percent(row.total_return),
        points(row.return_change_pp),
        percent(row.max_drawdown),
        points(row.drawdown_change_pp),
        f"{row.trades:,}",
        f"{row.denials:,}",
    )
