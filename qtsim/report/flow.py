"""What became of the signals, as one picture: signals -> what stopped them, by gate -> entries -> exits by reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qtsim.results.reach import denied_by_gate
from qtsim.results.result import Result
from qtsim.results.summary import flow

BEFORE = "before the gates"


def flow_picture(result: Result) -> dict[str, Any]:
    """The counts of the picture; signals = all that was stopped + entries, entries = all exits + still open."""
    (_, signals, _), *between, (_, entries, _) = flow(result)
    groups: dict[str, list[list[Any]]] = {}
    for name, count, _ in between:
        if name != "denied":
            groups.setdefault(BEFORE, []).append([name, count])
    for one in denied_by_gate(result.denials):
        groups.setdefault(one.gate.replace("_", " "), []).append([one.rule, one.count])
    return {
        "signals": signals,
        "stopped": [
            {"name": name, "count": sum(count for _, count in rows), "rows": rows} for name, rows in groups.items()
        ],
        "entries": entries,
        "exits": [[str(reason), count] for reason, count in Counter(result.trades["exit_reason"]).most_common()],
        "open": len(result.positions),
    }
