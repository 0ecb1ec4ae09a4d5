"""init, doctor, warmup, levels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_table, progress, say, say_place


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new workspace.")],
) -> None:
    """Make a workspace: qtsim.toml with every key commented out, strategies/ and data/.

    Example:  qtsim init ~/trading
    """
    from qtsim.app.create import create_workspace

    workspace = create_workspace(folder)
    say(f"workspace {workspace.root}: qtsim.toml, strategies/, data/")
    say(
        f"next: cd {folder}, then qtsim data download or qtsim data import PATH, or qtsim backtest on the sample market"
    )


def doctor(as_json: options.Json = False) -> None:
    """Check the installation: versions, compiled code, workspace, data.

    Example:  qtsim doctor
    """
    from qtsim.app.doctor import examine
    from qtsim.app.workspace import find_workspace

    say_place(find_workspace().root)
    findings = examine()
    if as_json:
        print_json({"checks": [finding.as_dict() for finding in findings]})
    else:
        print_table(("", "what", "finding"), [(f.state, f.what, f.text) for f in findings])
    if any(finding.state == "FAIL" for finding in findings):
        raise typer.Exit(1)


def warmup() -> None:
    """Compile everything now, so that the first backtest does not.

    Example:  qtsim warmup
    """
    from qtsim.app.doctor import compile_all
    from qtsim.core._jit import CACHE_FOLDER, is_warm

    if not is_warm():
        note("compiling: about a minute, once per version")
    with progress() as stage:
        stage("compiling", 0, 1)
        seconds = compile_all()
    say(f"ready in {seconds:.1f} s; compiled code is in {CACHE_FOLDER}")


def levels(
    leverage: Annotated[float, typer.Option("--leverage", "-l", metavar="X", help="Leverage of the trade.")] = 3.0,
    base_tp: Annotated[str | None, typer.Option(metavar="X", help="Base target, 0.02 or 2%.")] = None,
    base_sl: Annotated[str | None, typer.Option(metavar="X", help="Base stop.")] = None,
    volatility_factor: Annotated[float, typer.Option(metavar="X", help="0 calm, 1 twice the usual volatility.")] = 0.0,
    funding_delta: Annotated[float, typer.Option(metavar="X", help="Funding against the position; -0.1 to 0.1.")] = 0.0,
    divergence: Annotated[float, typer.Option(metavar="X", help="Divergence between exchanges; 0 to 1.")] = 0.0,
    confidence: Annotated[float, typer.Option(metavar="X", help="Of the signal; 0 to 1.")] = 1.0,
    avg_pnl_20: Annotated[float, typer.Option(metavar="X", help="Mean return on margin of the last 20 trades.")] = 0.0,
    maintenance_rate: Annotated[float, typer.Option(metavar="X", help="Of the first bracket.")] = 0.004,
    side: Annotated[str, typer.Option(metavar="SIDE", help="long or short.")] = "long",
    profile: options.Profile = None,
    sets: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Show what the level engine plans for a trade: targets, stop, hard stop, harvest.

    The same numbers as qt.levels in Python: defaults, --profile and what is given here; qtsim.toml is not read.

    Example:  qtsim levels --leverage 20 --base-tp 1% --base-sl 0.5%
    """
    from dataclasses import asdict

    from qtsim.app.api import levels as plan
    from qtsim.app.explain import not_read_by_levels
    from qtsim.app.workspace import find_workspace

    overrides = options.read_sets(sets)
    for key, value in (("exit.base_tp", base_tp), ("exit.base_sl", base_sl)):
        if value is not None:
            overrides[key] = value
    found = plan(
        leverage,
        volatility_factor=volatility_factor,
        funding_delta=funding_delta,
        divergence=divergence,
        confidence=confidence,
        avg_pnl_20=avg_pnl_20,
        maintenance_rate=maintenance_rate,
        side=side,
        profile=profile,
        settings=overrides,
    )
    if as_json:
        print_json(asdict(found))
        return
    unread = not_read_by_levels(find_workspace())
    if unread:
        note(f"not read here: {', '.join(unread)} of your settings; give them with --profile or --set")
    rows = [("leverage", f"{found.leverage:g}x"), ("LSF", f"{found.lsf:.6f}")]
    ratios = ("tp1", "tp2", "tp3", "sl", "hard_stop", "liquidation_distance")
    rows += [(name.replace("_", " "), f"{100 * getattr(found, name):.6f} %") for name in ratios]
    rows.append(("harvest", " / ".join(f"{share:g}" for share in found.harvest)))
    rows.append(("tp1 / sl", f"{found.tp1 / found.sl:.3f}"))
    rows.append(("flags", ", ".join(found.flags).lower() or "none"))
    print_table(("level", "value"), rows)
    if found.denied:
        say(f"an entry with this plan is denied: {found.denied}")
