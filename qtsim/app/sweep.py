"""Run a sweep: plan it, make its trials, keep them, and say what they prove."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.app.backtest import BacktestOptions, Stage, run_backtest
from qtsim.app.experiments import others_of
from qtsim.app.inputs import RunInputs
from qtsim.app.sweep_plan import Plan, SweepOptions, plan_sweep, settings_and_strategy
from qtsim.app.sweep_subjects import Gather, rules_of
from qtsim.app.workspace import Workspace
from qtsim.config.layers import Resolved
from qtsim.core._jit import is_warm
from qtsim.core.records import Records
from qtsim.data.store import Store
from qtsim.errors import UsageError
from qtsim.research.engine import Group, MakeMarket, cores, run_local
from qtsim.research.experiments import SWEEP, Entry, Experiments, TrialCount, open_experiments
from qtsim.research.folder import find_identical, new_folder, read_conclusion, save_conclusion, trials_file
from qtsim.research.guided import JOURNAL, CellStudy
from qtsim.research.metrics import FIELDS, sign_of
from qtsim.research.parameters import with_values
from qtsim.research.statistics import on_common_days
from qtsim.research.sweep import Sweep
from qtsim.research.trials import TrialSink, TrialsInMemory, done_of, open_trials
from qtsim.research.warming import run_smallest_trial
from qtsim.results.result import Result
from qtsim.results.run_folder import check_writable
from qtsim.signals.strategy import Strategy
from qtsim.sim.measure import DAY_NS, measure_dt

SEARCH_BATCH = 4
"""Proposals per thread that a guided search makes at a time."""
COUNT_SECONDS = 1.0
"""How often the experiment store is told of the trials made."""
ENGINES = ("local", "dask")


@dataclass
class Outcome:
    """A sweep, and whether it was interrupted."""

    sweep: Sweep
    interrupted: bool = False


def run_sweep(
    resolved: Resolved,
    strategy: Strategy,
    gather: Gather,
    workspace: Workspace,
    *,
    store: Store | None,
    options: SweepOptions,
    save: bool,
    stage: Stage | None = None,
    keep_in: Path | None = None,
    judged: bool = True,
) -> Outcome:
    """Make the trials of a sweep that have not been made, and judge them all. gather: reads the data of some settings.

    With `save` they are kept in the workspace (or in `keep_in`), and the same sweep goes on where it was left. judged:
    False leaves verdict and report out. After a KeyboardInterrupt
    the outcome has the trials so far. Errors: UsageError, SettingError, StrategyError, DataError, QtsimError.
    """
    tell = stage or (lambda what, done, total: None)
    if options.engine not in ENGINES:
        raise UsageError(f"--engine {options.engine}: choose {' or '.join(ENGINES)}")
    with _experiments(workspace) as experiments:
        tell("preparing the market", 0, 1)
        plan = plan_sweep(resolved, strategy, gather, store, options, workspace.root)
        with _sink(keep_in or workspace.root, plan, save=save) as (sink, folder):
            plan.info = replace(plan.info, name=folder.name if folder else "")
            done = sink.rows()
            counting = _Counting(sink, plan, experiments, done)
            warm(tell)
            began = time.perf_counter()
            interrupted = _make_trials(plan, counting, done_of(done), tell, folder)
            elapsed = time.perf_counter() - began
            rows = sink.rows()
        sweep = Sweep(
            plan.info,
            rows,
            others=TrialCount() if experiments is None else others_of(experiments, plan.info),
            run_cell=cell_runner(plan.resolved, plan.strategy, plan.inputs_of, store, options),
            daily_returns=_daily_returns(plan),
            path=folder,
            verdict=read_conclusion(folder) if folder and len(done) == len(rows) else None,
        )
        sweep.is_interrupted = interrupted
        sweep.made_now = len(rows) - len(done)
        sweep.elapsed_s = elapsed
        if not interrupted:
            tell("judging", 0, 1)
            counting.settle(sweep)
            if judged:
                _keep(sweep, experiments, folder)
    return Outcome(sweep, interrupted)


def _make_trials(plan: Plan, sink: _Counting, done: set[tuple[int, int]], tell: Stage, folder: Path | None) -> bool:
    """Make what is missing. Returns whether a person interrupted it."""
    if plan.options.optuna is not None:
        return _search(plan, sink, done, tell, folder)
    groups = _missing(plan.groups, done)
    total = sum(len(group.cells) for group in groups)
    if not total:
        return False
    engine = _engine(plan)
    try:
        _join_trades(plan, tell)
        told = _progress(tell, len(done), plan.info.planned)
        told(0)
        engine(groups, plan.make_market, told, sink)
    except KeyboardInterrupt:
        return True
    return False


def _join_trades(plan: Plan, tell: Stage) -> None:
    """Join the trades of the first market while nothing else runs, where that can be watched and interrupted."""
    if not plan.options.each:
        plan.trade_files.of(plan.base_trades, lambda done, days: tell("joining the trades", done, days))


def _search(plan: Plan, sink: _Counting, done: set[tuple[int, int]], tell: Stage, folder: Path | None) -> bool:
    """Let Optuna propose cells until it has had as many as were asked for. Returns whether a person interrupted it."""
    study = CellStudy(plan.space, plan.info.seed, None if folder is None else folder / JOURNAL)
    wanted = plan.options.optuna or 0
    engine, answered = _engine(plan), 0
    waiting = study.unanswered()
    try:
        if waiting or study.finished < wanted:
            _join_trades(plan, tell)
        told = _progress(tell, study.finished, wanted)
        while waiting or study.finished < wanted:
            asked = waiting or study.ask(min(SEARCH_BATCH * (plan.options.jobs or cores()), wanted - study.finished))
            waiting = []
            cells = np.unique(np.array([cell for _, cell in asked], dtype=np.int64))
            groups = _missing(plan.groups_of(cells), done)
            if groups:
                engine(groups, plan.make_market, partial(_tell_after, told, answered), sink)
                done |= {(int(cell), group.symbol) for group in groups for cell in group.cells}
            for number, cell in asked:
                study.tell(number, sink.value_of(cell))
            answered += len(asked)
            told(answered)
    except KeyboardInterrupt:
        return True
    finally:
        made = np.array(sorted({cell for cell, _ in done}), dtype=np.int64)
        plan.groups = plan.groups_of(made) if len(made) else plan.groups
    return False


def _tell_after(told: Callable[[int], None], before: int, made: int) -> None:
    told(before + made)


def warm(tell: Stage) -> None:
    """Load the compiled code, or compile it, before the clock of the trials runs."""
    tell("loading the simulator" if is_warm() else "compiling the simulator, about a minute, once per version", 0, 1)
    run_smallest_trial()


def _engine(plan: Plan) -> Callable[[list[Group], MakeMarket, Callable[[int], None], TrialSink], None]:
    options = plan.options

    def local(groups: list[Group], make: MakeMarket, told: Callable[[int], None], sink: TrialSink) -> None:
        run_local(groups, make, plan.job, sink, told, jobs=options.jobs)

    def dask(groups: list[Group], make: MakeMarket, told: Callable[[int], None], sink: TrialSink) -> None:
        from qtsim.research.cluster import run_dask  # needs the extra `sweep`

        run_dask(groups, make, plan.job, sink, told, scheduler=options.scheduler, workers=options.jobs)

    return dask if options.engine == "dask" else local


def _missing(groups: list[Group], done: set[tuple[int, int]]) -> list[Group]:
    """The groups without the trials that have been made."""
    left = []
    for group in groups:
        cells = np.array([cell for cell in group.cells.tolist() if (cell, group.symbol) not in done], dtype=np.int64)
        if len(cells):
            left.append(replace(group, cells=cells))
    return left


def _progress(tell: Stage, before: int, planned: int) -> Callable[[int], None]:
    """Tells of the trials made, their rate, and the time left."""
    began = time.monotonic()

    def told(done: int) -> None:
        seconds = max(time.monotonic() - began, 1e-9)
        rate = done / seconds
        words = "sweeping"
        if done and seconds > 0.5:
            left = (planned - before - done) / rate
            words = f"sweeping · {rate:,.1f} trials/s, {duration_text(left)} left"
        tell(words, before + done, planned)

    return told


def duration_text(seconds: float) -> str:
    """42 s, 3 min 20 s, 2 h 05 min"""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class _Counting:
    """A sink that tells the experiment store, now and then, how many trials have been made."""

    def __init__(self, sink: TrialSink, plan: Plan, experiments: Experiments | None, done: Records) -> None:
        self._sink, self._info, self._space, self._experiments = sink, plan.info, plan.space, experiments
        self._tallies = [_Tally() for _ in plan.info.data_sets]
        self._told = time.monotonic()
        self._values: dict[int, list[float]] = {}  # of a guided search: cell → the metric, for each symbol
        self._note(done)

    def append(self, rows: Records) -> None:
        """Take rows."""
        self._sink.append(rows)
        self._note(rows)
        if time.monotonic() - self._told > COUNT_SECONDS:
            self._tell()

    def flush(self) -> None:
        """Make what was appended durable, and counted."""
        self._sink.flush()
        self._tell()

    def rows(self) -> Records:
        """All rows so far."""
        return self._sink.rows()

    def settle(self, sweep: Sweep) -> None:
        """Count the finished sweep as it is judged."""
        for data_set, count in sweep.trial_counts.items():
            self._count(data_set, count)

    def value_of(self, cell: int) -> float | None:
        """How good a cell is, larger being better; over symbols the median; None where it has no trial or value."""
        values = [value for value in self._values.get(cell, ()) if value == value]
        return sign_of(self._info.metric) * float(np.median(values)) if values else None

    def _note(self, rows: Records) -> None:
        if self._info.search.startswith("optuna"):
            values = rows["measures"][FIELDS[self._info.metric]].tolist()
            for cell, value in zip(rows["cell"].tolist(), values, strict=True):
                self._values.setdefault(cell, []).append(value)
        owners = self._info.data_sets_of(rows["cell"], self._space).tolist()
        sharpes = rows["measures"]["sharpe"].tolist()
        for owner, digest, sharpe in zip(owners, rows["measures"]["digest"], sharpes, strict=True):
            self._tallies[owner].add(digest.tobytes(), sharpe)

    def _tell(self) -> None:
        self._told = time.monotonic()
        for data_set, tally in zip(self._info.data_sets, self._tallies, strict=True):
            self._count(data_set, tally.count)

    def _count(self, data_set: str, count: TrialCount) -> None:
        if self._experiments is not None and count.made:
            self._experiments.count(self._info.source_of(data_set), data_set, self._info.strategy, count)


class _Tally:
    """Trials on one data set, and how many of them differ."""

    def __init__(self) -> None:
        self.count = TrialCount()
        self._seen: set[bytes] = set()

    def add(self, digest: bytes, sharpe: float) -> None:
        """Count one more."""
        first = digest not in self._seen
        self._seen.add(digest)
        known = sharpe if first and sharpe == sharpe else 0.0
        self.count = self.count.beside(TrialCount(1, int(first), known, known * known))


@contextlib.contextmanager
def _experiments(workspace: Workspace) -> Iterator[Experiments | None]:
    check_writable(workspace.root)
    with open_experiments(workspace.root) as experiments:
        yield experiments


@contextlib.contextmanager
def _sink(root: Path, plan: Plan, *, save: bool) -> Iterator[tuple[TrialSink, Path | None]]:
    """Where the trials go: the folder of the same sweep where there is one, a new one, or memory."""
    if not save:
        yield TrialsInMemory(), None
        return
    folder = find_identical(root, plan.info.identity)
    if folder is None:
        folder = new_folder(root, plan.info)
    with open_trials(trials_file(folder), bytes.fromhex(plan.info.identity)) as trials:
        yield trials, folder


def _keep(sweep: Sweep, experiments: Experiments | None, folder: Path | None) -> None:
    """Judge, and write the conclusion, the report and the entry of the store."""
    verdict = sweep.verdict
    if folder is None:
        return
    save_conclusion(folder, verdict)
    sweep.report(folder / "report.html")
    if experiments is None:
        return
    info, best = sweep.info, sweep.recommended
    experiments.record(
        Entry(
            id=folder.name,
            kind=SWEEP,
            started_at=info.started_at,
            strategy=info.strategy,
            symbols=tuple(info.symbols),
            timeframe=info.timeframe,
            profile=info.profile,
            data_set=info.data_set,
            digest=info.identity,
            settings=info.settings,
            passport=info.passport,
            metrics={} if best is None else best.metrics,
        )
    )


def _daily_returns(plan: Plan) -> Callable[[np.ndarray], np.ndarray]:
    """Makes trials again for their daily returns; with each symbol alone, those of all symbols at equal stakes."""

    def of(cells: np.ndarray) -> np.ndarray:
        found: list[tuple[int, int, np.ndarray]] = []
        out = np.zeros(1, measure_dt)
        for group in plan.groups:
            own = np.flatnonzero(np.isin(cells, group.cells))
            if not len(own):
                continue
            market = plan.make_market(group)
            runner = market.runner()
            for k, at in zip(own, plan.space.indices(cells[own]), strict=True):
                params, balance = plan.job.params[market.market.timeframe_ns].of(at)
                runner.run(params, balance, out)
                first_day = int(market.market.boundaries[0] // DAY_NS)
                found.append((int(k), first_day, runner.returns.copy()))
        return on_common_days(found, len(cells))

    return of


def cell_runner(
    resolved: Resolved,
    strategy: Strategy,
    inputs_of: Callable[[Mapping[str, Any]], RunInputs],
    store: Store | None,
    options: SweepOptions,
) -> Callable[[Mapping[str, Any]], Result]:
    """Backtests one cell in full, on the search's data. inputs_of: these data, by the cell's values."""

    def run(values: Mapping[str, Any]) -> Result:
        _, own_strategy = settings_and_strategy(resolved, strategy, values)
        inputs = inputs_of(values)
        return run_backtest(
            with_values(resolved, values),
            own_strategy,
            inputs,
            store=store,
            options=BacktestOptions(check=False, instruments=rules_of(options.instruments, inputs)),
        )

    return run


def utc_now() -> str:
    """The time, ISO UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
