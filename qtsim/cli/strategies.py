"""qtsim strategies and qtsim check."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_table, progress, say, say_place

app = typer.Typer(no_args_is_help=True, help="Strategies: list, show, new.")


def _workspace() -> Any:
    from qtsim.app.workspace import find_workspace

    workspace = find_workspace()
    say_place(workspace.root)
    return workspace


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List every strategy that has a name.

    Example:  qtsim strategies list
    """
    from qtsim.signals.loading import list_strategies

    entries = list_strategies([_workspace().strategies])
    if as_json:
        print_json({"strategies": [{"name": e.name, "origin": e.origin, "path": e.path} for e in entries]})
        return
    print_table(("name", "from", "file"), [(e.name, e.origin, e.path or "") for e in entries])


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a file.")], as_json: options.Json = False
) -> None:
    """Describe a strategy: what it does, its parameters, what it uses; a parameter is set by --set strategy.NAME=VALUE.

    Example:  qtsim strategies show ema_cross
    """
    from qtsim.signals.loading import load_strategy

    strategy = load_strategy(name, {}, [_workspace().strategies])
    specs = strategy.parameter_specs()
    if as_json:
        print_json(
            {
                "name": strategy.name,
                "summary": strategy.summary(),
                "parameters": [
                    {
                        "name": s.name,
                        "kind": s.kind.__name__,
                        "default": s.default,
                        "low": s.low,
                        "high": s.high,
                        "choices": s.choices,
                        "help": s.help,
                    }
                    for s in specs
                ],
                "uses": {"symbols": list(strategy.uses.symbols), "columns": list(strategy.uses.columns)},
            }
        )
        return
    say(f"{strategy.name}: {strategy.summary()}")
    if specs:
        say()
        print_table(
            ("parameter", "default", "allowed", "meaning"), [(s.name, s.default, s.bounds(), s.help) for s in specs]
        )
    if strategy.uses.symbols or strategy.uses.columns:
        say(f"uses {', '.join([*strategy.uses.symbols, *strategy.uses.columns])}")


@app.command()
def new(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the file, such as my_idea.")]) -> None:
    """Write a strategy that runs as it is, to be changed.

    Example:  qtsim strategies new my_dip
    """
    from qtsim.app.create import create_strategy

    file, spec = create_strategy(_workspace(), name)
    say(f"wrote {file}")
    say(f"next: edit it, then qtsim check -s {spec} · qtsim backtest -s {spec}")


def check(
    strategy: options.Strategy = None,
    symbols: options.Symbols = None,
    timeframe: options.Timeframe = None,
    detail: options.Detail = None,
    timerange: options.Timerange = None,
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    sample: options.Sample = False,
    as_json: options.Json = False,
) -> None:
    """Prove that a strategy does not look ahead, and measure the history it needs.

    Example:  qtsim check -s my_dip.py -p BTCUSDT -i 1h
    """
    from qtsim.app.command import check_opened, open_run

    workspace = _workspace()
    overrides = options.gather_overrides(
        strategy=strategy, symbols=symbols, timeframe=timeframe, detail=detail, timerange=timerange, sets=sets
    )
    with progress() as stage:
        opened = open_run(workspace, profile=profile, files=config or (), overrides=overrides, sample=sample)
        note(f"data {opened.store.folder}")
        report = check_opened(opened, stage=stage)
    if as_json:
        print_json(vars(report))
        return
    for line in report.lines():
        say(line)
