"""Open the holdout of a sweep: one backtest of the recommended trial on data that no search has seen, on the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtsim.app.backtest import Stage
from qtsim.app.sweep import utc_now
from qtsim.app.sweep_plan import holdout_period
from qtsim.app.sweep_results import open_sweep, run_again
from qtsim.app.workspace import Workspace
from qtsim.errors import UsageError
from qtsim.research.experiments import open_experiments
from qtsim.research.metrics import show_metric
from qtsim.research.sweep import Sweep
from qtsim.research.words import cell_text
from qtsim.results.result import Result
from qtsim.results.summary import Line

SHOWN = ("Total Return", "Sharpe", "Max Drawdown", "Trades", "Profit Factor")


@dataclass(frozen=True)
class Opening:
    """A look at a holdout."""

    sweep: Sweep
    result: Result
    period: str
    times: int  # that it has been looked at, this one included


def open_holdout(workspace: Workspace, reference: str, *, stage: Stage | None = None) -> Opening:
    """Backtest a sweep's recommended trial on its holdout, and log that it was looked at.

    Errors: UsageError where the sweep has no holdout, is not finished, or recommends nothing.
    """
    tell = stage or (lambda what, done, total: None)
    sweep = open_sweep(workspace, reference)
    info, best = sweep.info, sweep.recommended
    if not info.holdout:
        raise UsageError(f"sweep {info.name} has no holdout; a sweep keeps one with --holdout 20250101-")
    if not sweep.is_complete:
        raise UsageError(
            f"sweep {info.name} has made {sweep.trials:,} of {info.planned:,} trials; finish it before its holdout"
        )
    if best is None:
        raise UsageError(f"sweep {info.name} recommends nothing that could be tried on its holdout")
    tell("opening the holdout", 0, 1)
    period = holdout_period("", info.holdout)
    result = run_again(workspace, info, best.values, period)
    with open_experiments(workspace.root) as experiments:
        times = experiments.log_opening(info.trial_source, utc_now(), period, cell_text(best.values), result.metrics)
    return Opening(sweep, result, period, times)


def print_opening(opening: Opening) -> Sequence[Line]:
    """The trial on the holdout beside itself in the search."""
    best = opening.sweep.recommended
    assert best is not None
    lines = [Line("", f"holdout {opening.period} of sweep {opening.sweep.info.name}: {cell_text(best.values)}")]
    for name in SHOWN:
        searched, held = best.metrics[name], opening.result.metrics[name]
        lines.append(Line(name, f"{show_metric(name, held):>12}   in the search {show_metric(name, searched)}"))
    word = "once" if opening.times == 1 else f"{opening.times} times"
    lines.append(
        Line(
            "Opened",
            f"{word}; each look makes it a little less of a holdout"
            if opening.times > 1
            else f"{word}, and logged; what is tried after it has seen it",
        )
    )
    return lines


def opened_as_dict(opening: Opening) -> dict[str, Any]:
    """What a program may read of a look at a holdout."""
    best = opening.sweep.recommended
    return {
        "sweep": opening.sweep.info.name,
        "period": opening.period,
        "opened": opening.times,
        "values": {} if best is None else best.values,
        "metrics": opening.result.metrics,
        "search_metrics": {} if best is None else best.metrics,
        "digest": opening.result.digest,
    }
