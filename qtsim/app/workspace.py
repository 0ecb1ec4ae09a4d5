"""The workspace: where settings, market data, strategies and runs of a user lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtsim.config.layers import Resolved, resolve

SETTINGS_FILE = "qtsim.toml"


@dataclass(frozen=True)
class Workspace:
    """A folder with a qtsim.toml, or the user's data folder."""

    root: Path

    @property
    def settings_file(self) -> Path | None:
        """Its qtsim.toml, if there is one."""
        file = self.root / SETTINGS_FILE
        return file if os.path.isfile(file) else None

    @property
    def runs(self) -> Path:
        """Where run folders go."""
        return self.root / "runs"

    @property
    def strategies(self) -> Path:
        """The user's own strategies."""
        return self.root / "strategies"

    def data(self, data_dir: str) -> Path:
        """The data folder of `data.dir`: absolute, or below the workspace."""
        return self.root / Path(data_dir).expanduser()


def user_data_folder() -> Path:
    """Folder for users without a workspace: QTSIM_HOME, else the platform's data folder."""
    named = os.environ.get("QTSIM_HOME")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "qtsim"


def find_workspace(start: Path | None = None) -> Workspace:
    """The nearest parent of `start` (the current folder) with a qtsim.toml, else the user's data folder."""
    folder = (start or Path.cwd()).resolve()
    for parent in (folder, *folder.parents):
        if os.path.isfile(parent / SETTINGS_FILE):  # False, where the folder may not be read
            return Workspace(parent)
    return Workspace(user_data_folder())


def settings_of(
    workspace: Workspace,
    *,
    profile: str | None = None,
    files: Sequence[Path | str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Resolved:
    """Resolve all layers: the workspace's qtsim.toml, more files, the environment, and what the caller says."""
    own = workspace.settings_file
    return resolve(profile=profile, files=[*([own] if own else []), *files], overrides=overrides)
