"""qtsim runs and qtsim report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.ablation import print_ablation
from qtsim.cli.screen import note, print_json, print_lines, print_table, say, say_place

app = typer.Typer(no_args_is_help=True, help="Saved runs: list, show, remove.")
HEADER = ("run", "strategy", "symbols", "bars", "period", "profile", "return", "drawdown", "trades", "")
RIGHT = ("return", "drawdown", "trades")
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
    as_json: options.Json = False,
) -> None:
    """List saved runs, the latest first.

    Example:  qtsim runs list -n 5
    """
    from qtsim.app.stale import StaleRuns
    from qtsim.results.run_folder import list_runs

    workspace = _workspace()
    entries = list_runs(workspace.runs)[::-1]
    stale = StaleRuns(workspace)
    listed = [(entry, entry.info is not None and stale.is_stale(entry.info)) for entry in entries[:limit]]
    if as_json:
        print_json({"runs": [{**_entry_dict(entry), "stale": is_stale} for entry, is_stale in listed]})
        return
    if not entries:
        say("no runs yet; qtsim backtest makes one")
        return
    print_table(HEADER, [_row(entry, is_stale) for entry, is_stale in listed], right=RIGHT, optional=OPTIONAL)
    for entry, is_stale in listed:
        if entry.damage:
            note(f"{entry.run_id}: {entry.damage}")
        if is_stale:
            note(f"{entry.run_id}: STALE, its data have changed since; qtsim runs show {entry.run_id} names them")
    if len(entries) > limit:
        say(f"{len(entries) - limit} more: --limit {len(entries)}")


@app.command()
def show(run: options.Run = "last", as_json: options.Json = False) -> None:
    """Print the first screen of a saved run, its ablation where it has one, and its ambiguous bars; --json has all.

    Example:  qtsim runs show last
    """
    from qtsim.app.command import result_as_dict
    from qtsim.app.stale import changed_since
    from qtsim.results.ambiguity import listed_text
    from qtsim.results.run_folder import find_run, load_run

    workspace = _workspace()
    result = load_run(find_run(workspace.runs, run))
    stale = changed_since(result.info, workspace)
    if as_json:
        print_json(result_as_dict(result, workspace) | {"stale": list(stale), "info": result.info.to_dict()})
        return
    print_lines(result.summary())
    print_ablation(result)
    if len(result.ambiguous):
        say("ambiguous bars:")
    for line in listed_text(result):
        say(f"  {line}")
    if stale:
        say(f"STALE: the data have changed since this run: {', '.join(stale)}; qtsim backtest --from {result.run_id}")


@app.command("rm")
def remove(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run: its id, a unique prefix, or a path.")],
) -> None:
    """Delete a saved run.

    Example:  qtsim runs rm 20261121-1430-ema_cross-7f3a
    """
    from qtsim.results.run_folder import find_run, read_manifest, remove_run

    runs = _workspace().runs
    path = find_run(runs, run)
    if path.resolve().parent != runs.resolve():
        read_manifest(path)  # elsewhere, a manifest.json alone does not make a folder a run
    remove_run(path)
    say(f"removed {path.name}")


def report(
    run: options.Run = "last",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page here instead.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the HTML report of a saved run: one file that works offline.

    Example:  qtsim report last --open
    """
    from qtsim.results.run_folder import find_run, load_run, verify_run

    path = find_run(_workspace().runs, run)
    verify_run(path)
    target = output or path / "report.html"
    if output is not None or not target.exists():
        load_run(path).report(target)
    say(f"report {target}")
    if open_it and typer.launch(str(target.resolve())) != 0:
        note("no program to open it was found; open the file in a browser")


def _row(entry: Any, is_stale: bool) -> tuple[str, ...]:
    """A run's cells of `HEADER`."""
    figures = ("damaged", "", "") if entry.damage else _figures(entry.metrics)
    period = _period(entry.info) if entry.info is not None else ""
    mark = "STALE" if is_stale else ""
    symbols = short_names(entry.symbols)
    return (entry.run_id, entry.strategy, symbols, entry.timeframe, period, entry.profile, *figures, mark)


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
