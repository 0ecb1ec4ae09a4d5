"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from qtsim.errors import DataError


def not_allowed(path: Path, deed: str = "read") -> DataError:
    """Return the error for a file or folder that this user may not read or write."""
    return DataError(f"{path}: permission denied; give yourself the right to {deed} it, or choose another place")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that readers see the old one or the whole new one, never a part.

    Parameters
    ----------
    path : Path
        The file; missing folders are made.
    write : callable
        Writes the content to the path it is given, a temporary file in the same folder with a name of its own, so that
        two runs at once do not meet. It is removed if anything fails, Ctrl-C included.

    Raises
    ------
    DataError
        The folder or file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            sync_file(temporary)
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path}: {reason}; make the folder writable or choose another") from error


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk; not every system offers it."""
    if os.name == "posix":
        sync_file(folder)
