"""qtsim sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_lines, progress_or_lines, say, say_place
from qtsim.errors import QtsimError, UsageError


def sweep(
    grids: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=GRID...", help="What varies: KEY=a,b,c, KEY=lo:hi:step, KEY=lo:hi:x20, :log20."),
    ] = None,
    more_grids: Annotated[
        list[str] | None, typer.Option("--grid", metavar="KEY=GRID", help="The same as an option. Repeatable.")
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", metavar="N", help="Draw N cells of the grid (run.seed says which).")
    ] = None,
    optuna: Annotated[
        int | None, typer.Option("--optuna", metavar="N", help="Let Optuna propose N cells of the grid, one by one.")
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Each symbol alone; metrics are the median over symbols.")
    ] = False,
    holdout: Annotated[
        str, typer.Option("--holdout", metavar="PERIOD", help="Keep a period from the search: 20250101-.")
    ] = "",
    open_holdout: Annotated[
        str | None,
        typer.Option(
            "--open-holdout",
            metavar="SWEEP",
            help="Backtest a sweep's recommended trial on its holdout; it is counted.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="What to look for.")] = "Sharpe",
    many: Annotated[bool, typer.Option("--yes", "-y", help="More than 20,000 trials are meant.")] = False,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="local, or dask for many machines.")
    ] = "local",
    scheduler: Annotated[
        str,
        typer.Option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, tcp://HOST:PORT; else a local cluster."),
    ] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Threads, or processes of the local cluster.")
    ] = None,
    strategy: options.Strategy = None,
    symbols: options.Symbols = None,
    timeframe: options.Timeframe = None,
    detail: options.Detail = None,
    timerange: options.Timerange = None,
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    instruments: options.Instrument = None,
    sample: options.Sample = False,
    no_check: Annotated[bool, typer.Option("--no-check", help="Skip the quick look-ahead check.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep no folder and no report.")] = False,
    as_json: options.Json = False,
) -> None:
    """Run many trials over a grid of settings and strategy parameters, and judge them together.

    Finished trials are kept: after Ctrl-C, a crash or a full disk the same command goes on where it was left. The exit
    code is 1 where the sweep was interrupted.

    Examples:

      qtsim sweep -s ema_cross -p BTCUSDT -i 1h exit.base_tp=0.5%:5%:x10 exit.base_sl=0.3%:1.2%:x10

      qtsim sweep -p BTCUSDT -i 1h strategy.fast=8:20:2 strategy.slow=20:60:x9 --holdout 20250101-

      qtsim sweep -s ema_cross run.timeframe=15m,1h,4h run.symbols=BTCUSDT,BTCUSDT+ETHUSDT exit.base_tp=1%:3%:x5

      qtsim sweep -p all -i 1h --each --random 200 exit.base_tp=0.5%:5%:x40 exit.base_sl=0.3%:1.2%:x40
    """
    from qtsim.app.command import gather_opened, open_run
    from qtsim.app.holdout import opened_as_dict, print_opening
    from qtsim.app.sweep import run_sweep
    from qtsim.app.sweep_plan import SweepOptions, search_period
    from qtsim.app.sweep_results import sweep_as_dict
    from qtsim.app.sweep_subjects import first_values
    from qtsim.app.workspace import find_workspace
    from qtsim.research.space import split_grid

    workspace = find_workspace()
    say_place(workspace.root)
    if open_holdout is not None:
        _open_holdout(workspace, open_holdout, as_json=as_json, write=(opened_as_dict, print_opening))
        return
    overrides = options.gather_overrides(
        strategy=strategy, symbols=symbols, timeframe=timeframe, timerange=timerange, detail=detail, sets=sets
    )
    varied: dict[str, Any] = {}
    for path, given in map(split_grid, [*(grids or ()), *(more_grids or ())]):
        if path in varied:
            raise UsageError(f"{path} is given twice")
        varied[path] = given
    overrides |= first_values(varied)
    with progress_or_lines() as stage:
        opened = open_run(workspace, profile=profile, files=config or (), overrides=overrides, sample=sample)
        if holdout:
            overrides["run.timerange"] = search_period(opened.resolved.settings.run.timerange, holdout)
            opened = open_run(workspace, profile=profile, files=config or (), overrides=overrides, sample=sample)
        note(f"data {opened.store.folder}")
        outcome = run_sweep(
            opened.resolved,
            opened.strategy,
            lambda resolved: gather_opened(opened.with_resolved(resolved)),
            workspace,
            store=opened.store,
            options=SweepOptions(
                grids=varied,
                random=random,
                optuna=optuna,
                each=each,
                holdout=holdout,
                metric=metric,
                many=many,
                jobs=jobs,
                engine=engine,
                scheduler=scheduler,
                check=not no_check,
                instruments=options.read_instruments(instruments, opened.store),
            ),
            save=not no_save,
            stage=stage,
        )
    found = outcome.sweep
    if as_json:
        print_json(sweep_as_dict(found, workspace) | {"interrupted": outcome.interrupted})
    else:
        print_lines(found.summary())
        for text in _next_steps(found, interrupted=outcome.interrupted):
            say(text)
    if outcome.interrupted:
        kept = f"; kept in {found.path}, the same command goes on from there" if found.path else ""
        raise QtsimError(f"interrupted after {found.trials:,} of {found.info.planned:,} trials{kept}")


def _next_steps(found: Any, *, interrupted: bool) -> list[str]:
    """Where it is kept, and what to do with it."""
    if found.path is None:
        return []
    lines = [f" Sweep {found.info.name} · report: {_shown(found.path / 'report.html')}"] if not interrupted else []
    best = found.recommended
    if best is not None and not interrupted:
        lines.append(f" next: {backtest_command(found)}")
        if found.info.holdout:
            lines.append(f"       qtsim sweep --open-holdout {found.info.name}")
    return lines


def backtest_command(found: Any) -> str:
    """The command that backtests what a sweep recommends."""
    from qtsim.config.kinds import show
    from qtsim.research.space import SUBJECT_AXES

    info = found.info
    best = found.recommended
    symbols, timeframe = found.symbols_of(best.cell), found.timeframe_of(best.cell)
    words = ["qtsim backtest", f"-s {info.strategy_file or info.strategy}", f"-p {','.join(symbols)}"]
    words[1] = f"-s {info.settings['run.strategy']}" if _is_named(info) else words[1]
    words.append(f"-i {timeframe}")
    if info.settings.get("run.timerange"):
        words.append(f"--timerange {info.settings['run.timerange']}")
    if info.setting_sources.get("run.profile") != "default":
        words.append(f"--profile {info.profile}")
    said = {
        path: value
        for path, value in info.settings.items()
        if info.setting_sources.get(path) == "command line" and not path.startswith("run.")
    }
    varied = {path: value for path, value in best.values.items() if path not in SUBJECT_AXES}
    for path, value in {**said, **varied}.items():
        text = f"{path}={value if isinstance(value, str) else show(value)}"
        words.append(f"--set '{text}'" if any(character in text for character in ' "[') else f"--set {text}")
    return " ".join(words)


def _is_named(info: Any) -> bool:
    """Whether the strategy was named by the settings, and not handed over."""
    named = info.setting_sources.get("run.strategy") != "default"
    return bool(named or info.strategy == info.settings.get("run.strategy"))


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _open_holdout(workspace: Any, name: str, *, as_json: bool, write: Any) -> None:
    from qtsim.app.holdout import open_holdout

    as_dict, print_text = write
    with progress_or_lines() as stage:
        opening = open_holdout(workspace, name, stage=stage)
    if as_json:
        print_json(as_dict(opening))
    else:
        print_lines(print_text(opening))
