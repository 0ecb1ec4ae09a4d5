"""What the run would have been without each of its parts, as a picture and a table."""

from __future__ import annotations

from typing import Any

from qtsim.report.thinning import printed_one
from qtsim.results.ablation import HOW_TO_READ, AblationRow, ablation_rows, changed_parts, left_out_text, unchanged_text
from qtsim.results.reach import denied_by_gate
from qtsim.results.result import Result

HEAD = (
    "Without",
    "Part of",
    "Total Return",
    "change, pp",
    "Max Drawdown",
    "change, pp",
    "Trades",
    "Denied",
    "Stays on",
)
DIRECTION = (
    "A bar to the left means less return, or a deeper drawdown, without the part: on these data it helped. A bar to "
    "the right means that the run would have done better without it."
)


def ablation_content(result: Result) -> dict[str, Any]:
    """Bars of the parts that made a difference, the one the run would miss most first; a row for every part."""
    bars: list[list[Any]] = [
        [row.part, printed_one(row.return_change_pp, 2), printed_one(row.drawdown_change_pp, 2)]
        for row in changed_parts(result.ablation)
    ]
    lengths = [0.0, *(length for _, *lengths in bars for length in lengths if length is not None)]
    return {
        "asked": result.has_ablation,
        "lead": f"{DIRECTION} {_sentence(HOW_TO_READ)}",
        "bars": bars,
        "low": min(lengths),
        "high": max(lengths),
        "same": _after("Without these the run is the same", unchanged_text(result.ablation)),
        "left_out": _after("Left out", left_out_text(result.ablation_left_out)),
        "head": list(HEAD),
        "rows": [_run_row(result), *map(_row, ablation_rows(result.ablation))] if result.has_ablation else [],
    }


def _run_row(result: Result) -> list[Any]:
    """The run itself, with every part."""
    total, drawdown = (printed_one(100.0 * result.metrics[name], 2) for name in ("Total Return", "Max Drawdown"))
    denied = sum(one.count for one in denied_by_gate(result.denials))
    return ["nothing: the run itself", "", total, None, drawdown, None, len(result.trades), denied, ""]


def _row(row: AblationRow) -> list[Any]:
    return [
        row.part,
        row.group,
        printed_one(100.0 * row.total_return, 2),
        printed_one(row.return_change_pp, 2),
        printed_one(100.0 * row.max_drawdown, 2),
        printed_one(row.drawdown_change_pp, 2),
        row.trades,
        row.denials,
        row.stays,
    ]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _after(label: str, text: str) -> str:
    return f"{label}: {text}." if text else ""
