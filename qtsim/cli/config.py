"""qtsim config: show, check, explain, schema."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_table, say, say_place

app = typer.Typer(no_args_is_help=True, help="Settings: where each value comes from, what it means, what it does.")


def _resolve(config: Any, profile: str | None, sets: Any) -> Any:
    from qtsim.app.workspace import find_workspace, settings_of

    workspace = find_workspace()
    say_place(workspace.root)
    return settings_of(workspace, profile=profile, files=config or (), overrides=options.read_sets(sets))


@app.command()
def show(
    prefix: Annotated[str, typer.Argument(help="Only settings that begin with this.")] = "",
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Print every setting with its value and the source of the value.

    Example:  qtsim config show exit.stops --profile tight
    """
    from qtsim.app.explain import settings_table
    from qtsim.config.kinds import show as text_of

    resolved = _resolve(config, profile, sets)
    found = settings_table(resolved, prefix)
    if as_json:
        print_json({"profile": resolved.profile, "settings": {item.key: item.as_dict() for item in found}})
        return
    for line in resolved.headlines:
        note(line)
    rows = [
        (item.key, text_of(item.value), item.source, "" if item.in_force else "not in force in this version")
        for item in found
    ]
    print_table(("setting", "value", "source", ""), rows)


@app.command()
def check(
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Name rules that cannot fire, limits that bind first, and costs that exceed a threshold, with the arithmetic.

    Example:  qtsim config check --profile tight
    """
    from qtsim.app.explain import check_with_instruments
    from qtsim.app.workspace import find_workspace

    resolved = _resolve(config, profile, sets)
    findings = check_with_instruments(resolved, find_workspace())
    if as_json:
        print_json({"findings": [{"kind": f.kind, "key": f.key, "text": f.text} for f in findings]})
        return
    for line in resolved.headlines:
        note(line)
    for finding in findings:
        say(f"{finding.kind}: {finding.text}")
    if not findings:
        say("nothing to remark: every rule can fire, and no cost exceeds its threshold")


@app.command()
def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A setting, or a table of settings.")],
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Say what a setting means, its range, default, value and source.

    Example:  qtsim config explain exit.levels.sl.max
    """
    from qtsim.app.explain import explain_or_suggest

    resolved = _resolve(config, profile, sets)
    found = explain_or_suggest(resolved, key)
    if as_json:
        print_json({"settings": [item.as_dict() for item in found]})
        return
    say("\n\n".join(item.as_text() for item in found))


@app.command()
def schema() -> None:
    """Print the JSON schema of qtsim.toml, for editors.

    Example:  qtsim config schema > qtsim.schema.json
    """
    import json

    from qtsim.config.schema import settings_schema

    say(json.dumps(settings_schema(), indent=2, ensure_ascii=False))
