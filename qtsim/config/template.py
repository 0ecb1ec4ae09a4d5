"""The qtsim.toml that `init` writes: every key with its description, commented out at its default."""

from __future__ import annotations

from qtsim.config.kinds import Choice, show
from qtsim.config.settings import Key, keys, sections
from qtsim.config.unavailable import RELEASE, missing

HEAD = """\
# Settings of qtsim. A line that starts with `#` and a name is a setting at its default: take the `#` away to change it.
# Ratios are decimals, 0.02 or "2%"; inf is no limit. `qtsim config explain KEY` tells more, `qtsim config show` what is
# in force and where it comes from.
"""


def settings_template() -> str:
    """Text of the file. It parses as it is, and with every setting uncommented gives the defaults."""
    parts = [HEAD]
    for path, text in sections().items():
        if "." in path and not _is_header(path):
            continue
        parts.append(f"\n# {text}\n[{path}]\n")
        parts.extend(_lines(key, path) for key in keys().values() if _home(key) == path)
    return "".join(parts)


def uncomment(text: str) -> str:
    """The template with every setting uncommented."""
    lines = text.splitlines(keepends=True)
    return "".join(line[1:] if line[:1] == "#" and line[1:2].strip() else line for line in lines)


def _is_header(path: str) -> bool:
    """True for tables with a header of their own: the top ones and those of the exit engine."""
    return path in ("exit.levels", "exit.harvest", "exit.stops", "exit.guard")


def _home(key: Key) -> str:
    """The header under which a key stands."""
    parts = key.path.split(".")
    table = ".".join(parts[:2])
    return table if _is_header(table) else parts[0]


def _lines(key: Key, home: str) -> str:
    kind = key.kind
    name = key.path[len(home) + 1 :]
    about = kind.text
    if kind.unit and kind.unit != "ratio":
        about += f" [{kind.unit}]"
    if isinstance(kind, Choice) and len(kind.options) > 1:
        about += f": {', '.join(kind.options)}"
    lacking = missing(key.path)
    if lacking is not None and not lacking.in_force:
        about += f" (not in force in qtsim {RELEASE})"
    elif lacking is not None:
        about += f" (in qtsim {RELEASE} only {', '.join(show(one) for one in lacking.built or ())})"
    if key.default is None:
        return f"# {name}: {about}; unset\n"
    return f"# {about}\n#{name} = {show(key.default)}\n"
