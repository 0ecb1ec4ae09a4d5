"""qtsim runs and qtsim report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_lines, print_table, say, say_place

app = typer.Typer(no_args_is_help=True, help="Saved runs: list, show, remove.")
METRICS = ("Total Return", "Sharpe", "Max Drawdown", "Trades")


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
    from qtsim.results.run_folder import list_runs

    entries = list_runs(_workspace().runs)[::-1]
    if as_json:
        print_json({"runs": [_entry_dict(entry) for entry in entries[:limit]]})
        return
    if not entries:
        say("no runs yet; qtsim backtest makes one")
        return
    rows = [
        (
            entry.run_id,
            entry.strategy,
            ",".join(entry.symbols),
            entry.timeframe,
            entry.profile,
            *(("damaged", "", "") if entry.damage else _figures(entry.metrics)),
        )
        for entry in entries[:limit]
    ]
    header = ("run", "strategy", "symbols", "bars", "profile", "return", "drawdown", "trades")
    print_table(header, rows, right=header[5:])
    for entry in entries[:limit]:
        if entry.damage:
            note(f"{entry.run_id}: {entry.damage}")
    if len(entries) > limit:
        say(f"{len(entries) - limit} more: --limit {len(entries)}")


@app.command()
def show(run: options.Run = "last", as_json: options.Json = False) -> None:
    """Print the first screen of a saved run.

    Example:  qtsim runs show last
    """
    from qtsim.app.stale import changed_since
    from qtsim.results.run_folder import find_run, load_run

    workspace = _workspace()
    result = load_run(find_run(workspace.runs, run))
    stale = changed_since(result, workspace)
    if as_json:
        print_json(
            {
                "run": result.run_id,
                "path": str(result.path),
                "digest": result.digest,
                "stale": list(stale),
                "info": result.info.to_dict(),
                "metrics": result.metrics,
                "range": result.ranges,
                "optimism": result.optimism,
            }
        )
        return
    print_lines(result.summary())
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
    from qtsim.results.run_folder import find_run, load_run

    path = find_run(_workspace().runs, run)
    target = output or path / "report.html"
    if output is not None or not target.exists():
        load_run(path).report(target)
    say(f"report {target}")
    if open_it and typer.launch(str(target.resolve())) != 0:
        note("no program to open it was found; open the file in a browser")


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
        "profile": entry.profile,
        "digest": entry.digest,
        "metrics": dict(entry.metrics),
        "damage": entry.damage,
    }
