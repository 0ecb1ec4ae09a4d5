"""Make a workspace, make a strategy file: what is there already is never touched."""

from __future__ import annotations

from pathlib import Path

from qtsim.app.workspace import SETTINGS_FILE, Workspace
from qtsim.config.template import settings_template
from qtsim.data.atomic import write_atomically
from qtsim.errors import QtsimError, UsageError
from qtsim.signals.loading import strategy_template
from qtsim.signals.strategy import snake_case


def create_workspace(folder: Path) -> Workspace:
    """Write qtsim.toml with every key commented out, and the folders strategies/ and data/.

    Errors: UsageError where there is a workspace already, QtsimError where it cannot be written.
    """
    root = folder.expanduser()
    file = root / SETTINGS_FILE
    _refuse_existing(file)
    for name in ("strategies", "data"):
        _make_folder(root / name)
    text = settings_template()
    write_atomically(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return Workspace(root.resolve())


def create_strategy(workspace: Workspace, name: str) -> tuple[Path, str]:
    """Write a strategy that runs as it is: into the workspace's strategies/, else into the current folder.

    Returns the file and what `--strategy` calls it. Errors: UsageError where the name is none or the file exists.
    """
    bare = name.strip().removesuffix(".py").replace("-", "_").replace(" ", "_")
    text = strategy_template(bare)
    stem = snake_case(bare)
    in_workspace = workspace.settings_file is not None
    folder = workspace.strategies if in_workspace else Path.cwd()
    file = folder / f"{stem}.py"
    _refuse_existing(file)
    _make_folder(folder)
    write_atomically(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return file, stem if in_workspace else file.name


def _refuse_existing(file: Path) -> None:
    try:
        there = file.exists()
    except PermissionError:
        raise QtsimError(f"{file}: permission denied; choose a folder that you may read and write") from None
    if there:
        raise UsageError(f"{file} exists already; nothing was changed")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QtsimError(
            f"cannot make the folder {folder}: {error.strerror or error}; choose a folder that can be written"
        ) from None
