"""Settings as people ask for them: a table, one key with the nearest names, what follows from them together."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from qtsim.app.workspace import Workspace, settings_of
from qtsim.config.check import Finding, check_settings
from qtsim.config.explain import Explanation, explain_key
from qtsim.config.layers import Resolved
from qtsim.config.settings import flatten, keys, sections
from qtsim.data.instruments import load_instruments
from qtsim.errors import SettingError, UsageError

SUGGESTIONS = 4


def settings_table(resolved: Resolved, prefix: str = "") -> list[Explanation]:
    """Every setting whose path begins with `prefix`. Errors: UsageError where none does, with the nearest names."""
    found = [path for path in flatten(resolved.settings) if path.startswith(prefix)]
    if not found:
        raise UsageError(f"no setting begins with {prefix}: {_suggest(prefix)}")
    return [item for path in found for item in explain_key(resolved, path)]


def explain_or_suggest(resolved: Resolved, key: str) -> Sequence[Explanation]:
    """The setting, or all of a table. Errors: UsageError for an unknown key, with the nearest names."""
    if key in keys() or key in sections() or key in flatten(resolved.settings):
        return explain_key(resolved, key)
    raise UsageError(f"unknown setting {key}: {_suggest(key)}")


def check_with_instruments(resolved: Resolved, workspace: Workspace) -> list[Finding]:
    """The findings of a run with these settings: maintenance rates are those of its symbols, where they are known."""
    folder = workspace.data(resolved.settings.data.dir) / resolved.settings.data.venue
    table = load_instruments(resolved.settings.data.venue, folder)
    named = [symbol for symbol in resolved.settings.run.symbols if symbol in table]
    return check_settings(resolved.settings, {symbol: table[symbol].brackets[0].rate for symbol in named})


def not_read_by_levels(workspace: Workspace) -> list[str]:
    """Settings of the workspace or the environment that would move levels; `levels` reads what it is given alone."""
    try:
        resolved = settings_of(workspace)
    except SettingError:
        return []
    return [
        path
        for path, source in resolved.sources.items()
        if path.startswith(("exit.levels.", "exit.base_", "exit.harvest.", "run.profile"))
        and source.startswith(("file ", "environment "))
    ]


def nearest_settings(text: str) -> list[str]:
    """Settings and tables that `text` may have meant, the likeliest first."""
    known = [*keys(), *sections()]
    last = text.rpartition(".")[2]
    begins = [key for key in known if key.startswith(text)]
    same_name = [key for key in known if last in key.rpartition(".")[2].split("_") or key.rpartition(".")[2] == last]
    close = difflib.get_close_matches(text, known, n=SUGGESTIONS, cutoff=0.6)
    by_name = {key.rpartition(".")[2]: key for key in reversed(known)}
    alike = [by_name[name] for name in difflib.get_close_matches(last, list(by_name), n=SUGGESTIONS, cutoff=0.7)]
    return list(dict.fromkeys([*begins, *close, *same_name, *alike]))[:SUGGESTIONS]


def _suggest(text: str) -> str:
    near = nearest_settings(text)
    return f"did you mean {' or '.join(near)}?" if near else "qtsim config show lists them all"
