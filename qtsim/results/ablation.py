"""What a run would have been without each of its parts: the table of an ablation, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

COLUMNS: dict[str, str] = {
    "part": "str",
    "group": "str",  # exit engine, gates, limits, governor
    "total_return": "float64",  # without the part
    "return_change_pp": "float64",  # that less the run's own, percentage points: below 0 the part helped
    "max_drawdown": "float64",
    "drawdown_change_pp": "float64",  # below 0 the drawdown is deeper without the part
    "trades": "int64",
    "denials": "int64",  # signals that a gate denied
    "same": "bool",  # decisions, fills and equity are the run's, byte for byte
    "stays": "str",  # what of the part no setting switches off
}
"""Columns of `Result.ablation` and their types."""
EMPTY_ABLATION = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
"""A run without an ablation."""
INTERRUPTED = "interrupted"
"""Why the parts after a Ctrl-C are missing."""
HOW_TO_READ = (
    "one part is off at a time, all else as in the run: the changes do not add up, and a part that helped on these "
    "data need not help later"
)


@dataclass(frozen=True)
class AblationRow:
    """One run without one part; fields as in `COLUMNS`."""

    part: str
    group: str
    total_return: float
    return_change_pp: float
    max_drawdown: float
    drawdown_change_pp: float
    trades: int
    denials: int
    same: bool
    stays: str


def ablation_frame(rows: Sequence[AblationRow]) -> pd.DataFrame:
    """The rows, the part that the run would have missed most first; equal changes stay in the order given."""
    if not rows:
        return EMPTY_ABLATION.copy()
    ordered = sorted(rows, key=lambda row: row.return_change_pp)
    return pd.DataFrame([asdict(row) for row in ordered], columns=list(COLUMNS)).astype(COLUMNS)


def ablation_rows(ablation: pd.DataFrame) -> list[AblationRow]:
    """The rows of a table, in its order."""
    return [AblationRow(**{str(name): value for name, value in row.items()}) for row in ablation.to_dict("records")]


def changed_parts(ablation: pd.DataFrame) -> list[AblationRow]:
    """The parts that made a difference."""
    return [row for row in ablation_rows(ablation) if not row.same]


def unchanged_text(ablation: pd.DataFrame) -> str:
    """The parts without which decisions, fills and equity are the same; empty where there is none."""
    return ", ".join(row.part for row in ablation_rows(ablation) if row.same)


def left_out_text(left_out: Mapping[str, str]) -> str:
    """Parts that were not switched off, by the reason; empty where there is none."""
    by_reason: dict[str, list[str]] = {}
    for part, reason in left_out.items():
        by_reason.setdefault(reason, []).append(part)
    return "; ".join(f"{', '.join(parts)} ({reason})" for reason, parts in by_reason.items())


def stays_text(ablation: pd.DataFrame) -> str:
    """What of the parts that made a difference stayed on; empty where nothing did."""
    return "; ".join(f"{row.part}: {row.stays}" for row in changed_parts(ablation) if row.stays)


def is_interrupted(left_out: Mapping[str, str]) -> bool:
    """Whether a Ctrl-C ended the ablation early."""
    return INTERRUPTED in left_out.values()
