"""qtsim walkforward."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_lines, progress_or_lines, say_place
from qtsim.errors import QtsimError, UsageError


def walkforward(
    grids: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=GRID...", help="What varies: KEY=a,b,c, KEY=lo:hi:step, KEY=lo:hi:x20, :log20."),
    ] = None,
    train: Annotated[str, typer.Option("--train", metavar="LENGTH", help="Length of a search: 365d, 52w.")] = "365d",
    test: Annotated[str, typer.Option("--test", metavar="LENGTH", help="Length of a test: 90d, 13w.")] = "90d",
    anchored: Annotated[bool, typer.Option("--anchored", help="Every search begins at the start.")] = False,
    random: Annotated[
        int | None, typer.Option("--random", metavar="N", help="Draw N cells of the grid for each search.")
    ] = None,
    optuna: Annotated[
        int | None, typer.Option("--optuna", metavar="N", help="Let Optuna propose N cells for each search.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="What the searches look for.")] = "Sharpe",
    many: Annotated[bool, typer.Option("--yes", "-y", help="More than 20,000 trials per search are meant.")] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Threads.")] = None,
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
    as_json: options.Json = False,
) -> None:
    """Search on a window, test what it recommends on the next one, and chain the tests.

    Only the tests are reported. The recommended trial of a search is the middle of its plateau, as in qtsim sweep.
    After Ctrl-C the same command goes on where it was left.

    Example:

      qtsim walkforward -s ema_cross -p BTCUSDT -i 1h --train 365d --test 90d exit.base_tp=1%:4%:x7
    """
    from qtsim.app.command import gather_opened, open_run
    from qtsim.app.sweep_plan import SweepOptions
    from qtsim.app.sweep_subjects import first_values
    from qtsim.app.walkforward import run_walkforward
    from qtsim.app.workspace import find_workspace
    from qtsim.research.space import split_grid

    workspace = find_workspace()
    say_place(workspace.root)
    overrides = options.gather_overrides(
        strategy=strategy, symbols=symbols, timeframe=timeframe, timerange=timerange, detail=detail, sets=sets
    )
    varied: dict[str, Any] = {}
    for path, given in map(split_grid, grids or ()):
        if path in varied:
            raise UsageError(f"{path} is given twice")
        varied[path] = given
    overrides |= first_values(varied)
    with progress_or_lines() as stage:
        opened = open_run(workspace, profile=profile, files=config or (), overrides=overrides, sample=sample)
        note(f"data {opened.store.folder}")
        found = run_walkforward(
            opened.resolved,
            opened.strategy,
            lambda resolved: gather_opened(opened.with_resolved(resolved)),
            workspace,
            store=opened.store,
            options=SweepOptions(
                grids=varied,
                random=random,
                optuna=optuna,
                metric=metric,
                many=many,
                jobs=jobs,
                check=not no_check,
                instruments=options.read_instruments(instruments, opened.store),
            ),
            train=train,
            test=test,
            anchored=anchored,
            stage=stage,
        )
    if as_json:
        rows = found.to_frame().to_dict("records")
        print_json({"windows": rows, "metrics": found.metrics, "efficiency": found.efficiency, "trials": found.trials})
    else:
        print_lines(found.summary())
    if not found.is_complete:
        raise QtsimError(
            f"ended after {len(found.steps)} of {found.planned} windows; the same command goes on from there"
        )
