"""qtsim runs and qtsim report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.ablation import print_ablation
from qtsim.cli.screen import note, print_first_screen, print_json, print_lines, print_table, say, say_place

app = typer.Typer(no_args_is_help=True, help="Saved runs and sweeps: list, show, compare, note, tag, remove.")
HEADER = ("run", "strategy", "symbols", "bars", "period", "profile", "return", "drawdown", "trades", "")
RIGHT = ("return", "drawdown", "trades")
SWEEP_HEADER = ("sweep", "strategy", "symbols", "bars", "period", "varied", "trials", "")
OPTIONAL = ("period", "strategy", "profile", "bars", "drawdown")
"""Columns that a narrow terminal does without, in this order; a run's id names its strategy."""


def _workspace() -> Any:
    from qtsim.app.workspace import find_workspace

    workspace = find_workspace()
    say_place(workspace.root)
    return workspace


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Latest runs to list.")] = 20,
    strategy: options.Strategy = None,
    symbol: Annotated[str | None, typer.Option("--symbol", "-p", metavar="NAME", help="Only with this symbol.")] = None,
    profile: options.Profile = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="NAME", help="Only with this tag.")] = None,
    timerange: Annotated[
        str | None, typer.Option("--timerange", metavar="PERIOD", help="Only those begun then: 20260101-.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List saved runs and sweeps, the latest first.

    Examples:

      qtsim runs list -n 5

      qtsim runs list -s ema_cross -p BTCUSDT --tag good --json
    """
    from qtsim.app.saved import Filter, saved_runs, saved_sweeps, workspace_remarks
    from qtsim.app.stale import StaleRuns

    workspace = _workspace()
    wanted = Filter.read(strategy=strategy, symbol=symbol, profile=profile, tag=tag, timerange=timerange)
    remarks = workspace_remarks(workspace)
    entries = [entry for entry in saved_runs(workspace) if wanted.takes_run(entry, remarks)][::-1]
    sweeps = [entry for entry in saved_sweeps(workspace) if wanted.takes_sweep(entry, remarks)][::-1]
    stale = StaleRuns(workspace)
    listed = [(entry, entry.info is not None and stale.is_stale(entry.info)) for entry in entries[:limit]]
    if as_json:
        print_json(
            {
                "runs": [
                    {**_entry_dict(entry), "stale": is_stale, **remarks.of(entry.run_id)} for entry, is_stale in listed
                ],
                "sweeps": [{**_sweep_dict(entry), **remarks.of(entry.name)} for entry in sweeps[:limit]],
            }
        )
        return
    if not entries and not sweeps:
        say("no runs yet; qtsim backtest makes one" if wanted.is_open else "no runs of that kind")
        return
    if listed:
        rows = [_row(entry, is_stale, remarks.tags(entry.run_id)) for entry, is_stale in listed]
        print_table(HEADER, rows, right=RIGHT, optional=OPTIONAL)
    for entry, is_stale in listed:
        if entry.damage:
            note(f"{entry.run_id}: {entry.damage}")
        if is_stale:
            note(f"{entry.run_id}: STALE, its data have changed since; qtsim runs show {entry.run_id} names them")
    if len(entries) > limit:
        say(f"{len(entries) - limit} more: --limit {len(entries)}")
    if sweeps:
        say()
        rows = [_sweep_row(entry, remarks.tags(entry.name)) for entry in sweeps[:limit]]
        print_table(SWEEP_HEADER, rows, right=("trials",), optional=("period", "varied"))
    for sweep in sweeps[:limit]:
        if sweep.damage:
            note(f"{sweep.name}: {sweep.damage}")


@app.command()
def show(
    run: options.Run = "last",
    bootstrap: Annotated[
        int | None, typer.Option("--bootstrap", metavar="N", help="Resample its days and trades N times (Monte-Carlo).")
    ] = None,
    block: Annotated[int, typer.Option("--block", metavar="N", help="Mean length of a resampled block.")] = 10,
    as_json: options.Json = False,
) -> None:
    """Print the first screen of a saved run, its ablation and its ambiguous bars, or that of a sweep; --json has all.

    Example:  qtsim runs show last --bootstrap 2000
    """
    from qtsim.app.command import result_as_dict
    from qtsim.app.experiments import tried_of
    from qtsim.app.saved import find_saved, workspace_remarks
    from qtsim.app.stale import changed_since
    from qtsim.research.resampling import resample_run
    from qtsim.results.ambiguity import listed_text
    from qtsim.results.run_folder import load_run

    workspace = _workspace()
    saved = find_saved(workspace, run)
    remarks = workspace_remarks(workspace)
    if saved.is_sweep:
        _show_sweep(workspace, saved.path.name, remarks, as_json=as_json)
        return
    result = load_run(saved.path)
    stale = changed_since(result.info, workspace)
    tried = tried_of(workspace, result)
    resampled = [] if bootstrap is None else resample_run(result, draws=bootstrap, block=block, seed=result.info.seed)
    if as_json:
        counted = {} if isinstance(tried, str) else {"tried": tried.to_dict()}
        more = {"stale": list(stale), "info": result.info.to_dict(), **remarks.of(result.run_id)}
        if resampled:
            more["resampled"] = [asdict(one) for one in resampled]
        print_json(result_as_dict(result, workspace) | counted | more)
        return
    print_first_screen(result.summary(), tried)
    print_ablation(result)
    if len(result.ambiguous):
        say("ambiguous bars:")
    for line in listed_text(result):
        say(f"  {line}")
    print_lines([one.line for one in resampled])
    _say_remarks(remarks, result.run_id)
    if stale:
        say(f"STALE: the data have changed since this run: {', '.join(stale)}; qtsim backtest --from {result.run_id}")


def _show_sweep(workspace: Any, name: str, remarks: Any, *, as_json: bool) -> None:
    from qtsim.app.sweep_results import open_sweep, sweep_as_dict

    found = open_sweep(workspace, name)
    if as_json:
        print_json(sweep_as_dict(found, workspace) | remarks.of(name))
        return
    print_lines(found.summary())
    _say_remarks(remarks, name)


def _say_remarks(remarks: Any, name: str) -> None:
    """What people have noted beside a run."""
    if remarks.tags(name):
        say(f" Tags         {', '.join(remarks.tags(name))}")
    if remarks.note(name):
        say(f" Note         {remarks.note(name)}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two or more runs.")],
    as_json: options.Json = False,
) -> None:
    """Compare saved runs: metrics side by side, and the settings that differ.

    Example:  qtsim runs compare last 20261121-1430-ema_cross-7f3a
    """
    from qtsim.app.saved import compare_runs

    workspace = _workspace()
    found = compare_runs(workspace, runs)
    if as_json:
        print_json(found.to_dict())
        return
    header = ("", *found.names)
    print_table(header, found.metric_rows(), right=found.names)
    say()
    if found.differing:
        print_table(("what differs", *found.names), found.difference_rows())
    else:
        say("the same settings, strategy and data")


@app.command("note")
def note_(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run or sweep: its id, a unique prefix, or last.")],
    text: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Nothing removes the note.")] = None,
) -> None:
    """Write a note beside a run or a sweep.

    Example:  qtsim runs note last wider stop, same trades
    """
    from qtsim.app.saved import find_saved
    from qtsim.research.experiments import open_experiments

    workspace = _workspace()
    name = find_saved(workspace, run).path.name
    words = " ".join(text or ()).strip()
    with open_experiments(workspace.root) as store:
        store.note(name, words)
    say(f"{name}: {words}" if words else f"{name}: no note")


@app.command("tag")
def tag_(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run or sweep: its id, a unique prefix, or last.")],
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words to find it by.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tags away.")] = False,
) -> None:
    """Tag a run or a sweep, so that runs list --tag finds it.

    Example:  qtsim runs tag last good
    """
    from qtsim.app.saved import find_saved, workspace_remarks
    from qtsim.research.experiments import open_experiments

    workspace = _workspace()
    name = find_saved(workspace, run).path.name
    with open_experiments(workspace.root) as store:
        store.tag(name, add=() if remove else tags, remove=tags if remove else ())
    say(f"{name}: {', '.join(workspace_remarks(workspace).tags(name)) or 'no tags'}")


@app.command("rm")
def remove(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run or sweep: its id, a unique prefix, or a path.")],
) -> None:
    """Delete a saved run or sweep. Its trials stay counted.

    Example:  qtsim runs rm 20261121-1430-ema_cross-7f3a
    """
    from qtsim.app.saved import remove_saved

    say(f"removed {remove_saved(_workspace(), run)}")


def report(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="A run or a sweep; several runs: side by side.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page here instead.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the HTML report of a saved run or sweep, or of runs side by side: one file that works offline.

    Examples:

      qtsim report last --open

      qtsim report 20261121-1430 20261122-0915 -o both.html
    """
    from qtsim.app.saved import write_report_of

    target = write_report_of(_workspace(), runs or ["last"], output)
    say(f"report {target}")
    if open_it and typer.launch(str(target.resolve())) != 0:
        note("no program to open it was found; open the file in a browser")


def _row(entry: Any, is_stale: bool, tags: Sequence[str]) -> tuple[str, ...]:
    """A run's cells of `HEADER`."""
    figures = ("damaged", "", "") if entry.damage else _figures(entry.metrics)
    period = _period(entry.info) if entry.info is not None else ""
    mark = " ".join([*(["STALE"] if is_stale else []), *tags])
    symbols = short_names(entry.symbols)
    return (entry.run_id, entry.strategy, symbols, entry.timeframe, period, entry.profile, *figures, mark)


def _sweep_row(entry: Any, tags: Sequence[str]) -> tuple[str, ...]:
    """A sweep's cells of `SWEEP_HEADER`."""
    info = entry.info
    if info is None:
        return (entry.name, "", "", "", "", "damaged", "", "")
    varied = ", ".join(axis["path"].rpartition(".")[2] for axis in info.axes)
    trials = f"{entry.made:,} of {info.planned:,}" if entry.made < info.planned else f"{entry.made:,}"
    period = _period(info)
    names = short_names(info.symbols)
    return (entry.name, info.strategy, names, info.timeframe, period, varied, trials, " ".join([entry.verdict, *tags]))


def _sweep_dict(entry: Any) -> dict[str, Any]:
    info = entry.info
    return {
        "sweep": entry.name,
        "path": str(entry.path),
        "started_at": entry.started_at,
        "strategy": "" if info is None else info.strategy,
        "symbols": [] if info is None else list(info.symbols),
        "timeframe": "" if info is None else info.timeframe,
        "profile": "" if info is None else info.profile,
        "axes": [] if info is None else info.axes,
        "planned": 0 if info is None else info.planned,
        "trials": entry.made,
        "verdict": entry.verdict or None,
        "damage": entry.damage,
    }


def short_names(symbols: Sequence[str]) -> str:
    """BTCUSDT +4: the first, and how many more."""
    return f"{symbols[0]} +{len(symbols) - 1}" if len(symbols) > 1 else "".join(symbols)


def _period(info: Any) -> str:
    """Days of the first and the last bar: 2020-01-01 to 2025-06-29."""
    first, last = (datetime.fromtimestamp(ts // 1_000_000_000, UTC) for ts in (info.start_ns, info.end_ns))
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _figures(metrics: Any) -> tuple[str, str, str]:
    def text(name: str, scale: float, decimals: int, unit: str) -> str:
        value = metrics.get(name)
        return "n/a" if value is None or value != value else f"{scale * value:.{decimals}f}{unit}"

    return text("Total Return", 100, 2, " %"), text("Max Drawdown", 100, 2, " %"), text("Trades", 1, 0, "")


def _entry_dict(entry: Any) -> dict[str, Any]:
    return {
        "run": entry.run_id,
        "path": str(entry.path),
        "started_at": entry.started_at,
        "strategy": entry.strategy,
        "symbols": list(entry.symbols),
        "timeframe": entry.timeframe,
        "period": None if entry.info is None else {"start_ns": entry.info.start_ns, "end_ns": entry.info.end_ns},
        "profile": entry.profile,
        "digest": entry.digest,
        "metrics": dict(entry.metrics),
        "damage": entry.damage,
    }
