"""Walk-forward: search on a window, test what it recommends on the next, and chain the tests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from qtsim.app.backtest import BacktestOptions, Stage, run_backtest
from qtsim.app.sweep import run_sweep
from qtsim.app.sweep_plan import SweepOptions, settings_and_strategy
from qtsim.app.sweep_subjects import Gather, rules_of
from qtsim.app.workspace import Workspace
from qtsim.config.layers import Resolved
from qtsim.config.settings import NOT_IN_DIGEST, settings_digest
from qtsim.data.store import Store
from qtsim.data.timeframes import timeframe_ns
from qtsim.errors import UsageError
from qtsim.research.metrics import read_aim
from qtsim.research.parameters import with_values
from qtsim.research.space import SYMBOLS, TIMEFRAME
from qtsim.research.walkforward import Step, WalkForward, windows_of
from qtsim.signals.strategy import Strategy


def run_walkforward(
    resolved: Resolved,
    strategy: Strategy,
    gather: Gather,
    workspace: Workspace,
    *,
    store: Store | None,
    options: SweepOptions,
    train: str,
    test: str,
    anchored: bool = False,
    save: bool = True,
    stage: Stage | None = None,
) -> WalkForward:
    """Search, test, and go on by the length of a test, until the data end.

    train, test: lengths, such as 365d. Each test starts with the money that the one before left, and closes what is
    open at its end. With `save` the searches are kept in the workspace, and the same walk-forward goes on where it was
    left. After a KeyboardInterrupt the tests so far are returned. Errors: as of a sweep.
    """
    if options.holdout or options.each:
        raise UsageError("a walk-forward tests on data that no search has seen; leave --holdout and --each out")
    tell = stage or (lambda what, done, total: None)
    metric = read_aim(options.metric)
    whole = gather(resolved)
    windows = windows_of(whole.start_ns, whole.end_ns, timeframe_ns(train), timeframe_ns(test), anchored=anchored)
    folder = workspace.root / "walkforward" / _identity(resolved, strategy, options, train, test, anchored)
    steps: list[Step] = []
    balance, trials = float(resolved.settings.account.balance), 0
    for number, window in enumerate(windows, start=1):
        searching = with_values(resolved, {"run.timerange": _range(window.train_start, window.train_end)})
        outcome = run_sweep(
            searching,
            strategy,
            gather,
            workspace,
            store=store,
            options=replace(options, check=options.check and number == 1),
            save=save,
            stage=_numbered(tell, number, len(windows)),
            keep_in=folder,
            judged=False,
        )
        trials += outcome.sweep.trials
        if outcome.interrupted:
            break
        best = outcome.sweep.recommended
        if best is None:
            steps.append(Step(window, None, {}, {}, pd.Series(dtype="float64")))
            continue
        tell(f"window {number} of {len(windows)} · testing", number, len(windows))
        chosen = outcome.sweep.space.values(best.cell)
        period = {"run.timerange": _range(window.train_end, window.test_end), "account.balance": balance}
        testing = with_values(resolved, {**chosen, **period})
        _, own = settings_and_strategy(resolved, strategy, chosen)
        tested = gather(testing)
        result = run_backtest(
            testing,
            own,
            tested,
            store=store,
            options=BacktestOptions(check=False, fast=True, instruments=rules_of(options.instruments, tested)),
        )
        balance = result.totals.equity
        steps.append(Step(window, chosen, best.metrics, result.metrics, result.daily_returns))
        if balance <= 0.0:
            break
    symbols = "the chosen symbols" if SYMBOLS in options.grids else ", ".join(whole.symbols)
    timeframe = "in the chosen timeframe" if TIMEFRAME in options.grids else whole.timeframe
    title = f"{strategy.name} on {symbols} {timeframe}"
    return WalkForward(title, metric, steps, trials, planned=len(windows))


def _numbered(tell: Stage, number: int, windows: int) -> Stage:
    """What a sweep tells, with the number of its window."""

    def told(what: str, done: int, total: int) -> None:
        tell(f"window {number} of {windows} · {what}", done, total)

    return told


def _range(start: int, end: int) -> str:
    first, last = (datetime.fromtimestamp(ts // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M") for ts in (start, end))
    return f"{first}-{last}"


def _identity(
    resolved: Resolved, strategy: Strategy, options: SweepOptions, train: str, test: str, anchored: bool
) -> str:
    """Name of the folder of the searches: the strategy, and a digest of what was asked."""
    asked = {
        "settings": settings_digest(resolved.settings, leave_out=NOT_IN_DIGEST),
        "grids": {path: str(given) for path, given in options.grids.items()},
        "search": [options.random, options.optuna, options.metric],
        "windows": [train, test, anchored],
        "params": strategy.params(),
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    return f"{Path(strategy.name).stem[:40]}-{digest[:8]}"
