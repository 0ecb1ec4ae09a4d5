"""The reference page of the settings, made from the model: `python -m qtsim.config.reference docs/settings.md`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from qtsim.config.check import COST_SHARE_TOP
from qtsim.config.kinds import percent, show
from qtsim.config.layers import predecessor_variables, profile_entries, variable_name
from qtsim.config.settings import PROFILES, Key, describe_range, keys, sections
from qtsim.config.unavailable import RELEASE, TABLE, missing

HEAD = f"""\
# Settings

This page is made from the settings model by `python -m qtsim.config.reference docs/settings.md`; a test fails when it
is not current.

One typed model, one file `qtsim.toml`, in layers: defaults < profile < file < environment < command line. A later layer
overrides single keys; a table in it keeps the keys that it does not name. `qtsim config show` names the source of every
value. A run's first lines name each profile value that a later layer overrides, and every value from the environment.
Unknown keys are errors with the nearest known name.

- Ratios are decimals; `"2%"` is accepted in the file, by `--set`, in the environment and in Python. A ratio outside its
  sane range is refused: `exit.base_tp = 2` says `200 %; did you mean 0.02 or "2%"?`
- Suffixes are units: `_s _ms _hours _days _bars _bps`. Money is in quote currency. `inf` is no limit.
- A key is its path. In the environment `exit.levels.sl.max` is `{variable_name("exit.levels.sl.max")}`.
- Keys marked **not in force** belong to parts that qtsim {RELEASE} does not have. Changing one is an error that says
  so. A value that asks for what this version does anyway, such as a limit of `inf`, is accepted.
- `qtsim config check`, which is part of every run, names rules that cannot fire, limits that bind first, settings that
  the chosen models do not read, and first targets of which the costs take more than {percent(COST_SHARE_TOP)}.
"""


def reference_page() -> str:
    """The page as Markdown."""
    parts = [HEAD, _profiles(), _predecessor(), "\n## Keys\n"]
    for section, text in sections().items():
        own = [key for key in keys().values() if key.section == section]
        if own or section == "strategy":
            parts.append(f"\n### `[{section}]`\n\n{text}\n")
        if own:
            parts.append("\n| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n")
            parts.extend(_row(key) for key in own)
    parts.append(_not_built())
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _row(key: Key) -> str:
    kind = key.kind
    about = kind.text + (f" ({kind.unit})" if kind.unit and kind.unit != "ratio" else "")
    about += f". Also `{kind.env}`" if kind.env else ""
    entry = missing(key.path)
    if entry is not None and not entry.in_force:
        about += ". **Not in force**"
    elif entry is not None:
        about += f". **Only {', '.join(f'`{show(one)}`' for one in entry.built or ())}**"
    name = key.path.rpartition(".")[2]
    allowed = describe_range(key) or "any text"
    return f"| `{name}` | `{show(key.default)}` | {_cell(allowed)} | {_cell(about)} |\n"


def _profiles() -> str:
    lines = ["\n## Profiles\n\n| profile | sets |\n| --- | --- |\n"]
    for name in PROFILES:
        values = ", ".join(f"`{entry.path} = {show(entry.value)}`" for entry in profile_entries(name))
        lines.append(f"| {name} | {values or 'nothing: the defaults of this page'} |\n")
    return "".join(lines)


def _predecessor() -> str:
    lines = [
        "\n## The predecessor's variables\n\nKept so that its users' set-ups work. qtsim's own variable wins where "
        "both are set. MAX_UNREALIZED_LOSS_PCT is in per cent, all others as the key.\n\n"
        "| variable | key |\n| --- | --- |\n"
    ]
    lines.extend(f"| `{name}` | `{variable.path}` |\n" for name, variable in predecessor_variables().items())
    return "".join(lines)


def _not_built() -> str:
    lines = [f"\n## What qtsim {RELEASE} does not have yet\n\n| key | what works | why |\n| --- | --- | --- |\n"]
    for entry in TABLE:
        works = [show(one) for one in (*(entry.built or ()), *entry.harmless)]
        shown = ", ".join(f"`{one}`" for one in dict.fromkeys(works)) or "the default"
        lines.append(f"| `{entry.pattern}` | {shown} | {entry.why} |\n")
    return "".join(lines)


def write_page(target: Path) -> None:
    """Write the page whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as file:
        file.write(reference_page())
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(target)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_page(Path(sys.argv[1]))
    else:
        sys.stdout.write(reference_page())
