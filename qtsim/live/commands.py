"""Commands of a person to a program that runs, or that will: small files in the state folder, obeyed once, in order."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from qtsim.data.atomic import write_atomically

FOLDER = "commands"


@dataclass(frozen=True)
class Command:
    """What a person wants. do: resume, kill, flatten."""

    do: str
    symbol: str = ""
    flatten: bool = False


def leave_command(folder: Path, command: Command, ts: int) -> Path:
    """Leave a command for the program of this state folder."""
    path = folder / FOLDER / f"{ts:020d}.json"
    text = json.dumps(asdict(command))
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
    return path


def take_commands(folder: Path) -> list[Command]:
    """The commands that wait, oldest first; they are gone afterwards."""
    place = folder / FOLDER
    if not place.is_dir():
        return []
    found = []
    for path in sorted(place.glob("[0-9]*.json")):
        with contextlib.suppress(ValueError, TypeError, OSError):
            found.append(Command(**json.loads(path.read_text(encoding="utf-8"))))
        path.unlink(missing_ok=True)
    return found
