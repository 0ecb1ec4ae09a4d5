"""The exchange's API key: from the environment, or from a file that only its owner may read. Never from settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qtsim.errors import UsageError

KEY, SECRET = "BINANCE_API_KEY", "BINANCE_API_SECRET"
OTHERS = 0o077
"""Rights of the file's group and of everybody else."""


@dataclass(frozen=True)
class Credentials:
    """Key and secret, empty where there are none. Neither appears in a representation."""

    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @property
    def are_there(self) -> bool:
        """Both are needed for a signed request."""
        return bool(self.key and self.secret)


def read_credentials(environ: Mapping[str, str] | None = None) -> Credentials:
    """Read BINANCE_API_KEY and BINANCE_API_SECRET, or the files that these names with `_FILE` give.

    Raises
    ------
    UsageError
        One without the other, or a file that is not there or that others may read. No value is ever shown.
    """
    variables = os.environ if environ is None else environ
    found = Credentials(_read(KEY, variables), _read(SECRET, variables))
    if bool(found.key) != bool(found.secret):
        there, absent = (KEY, SECRET) if found.key else (SECRET, KEY)
        raise UsageError(f"{there} is set and {absent} is not; set both or neither")
    return found


def _read(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "").strip()
    named = environ.get(f"{name}_FILE", "").strip()
    if value or not named:
        return value
    path = Path(named).expanduser()
    try:
        if os.name == "posix" and path.stat().st_mode & OTHERS:
            raise UsageError(f"{name}_FILE: others than you may read {path}; chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{name}_FILE: {path} cannot be read: {error.strerror or error}") from error
