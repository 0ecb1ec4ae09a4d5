"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from qtsim.errors import DataError

if sys.platform != "win32":
    import fcntl

Write: TypeAlias = Callable[[Path], object]
"""Writes a file's content to the path it is given."""


def not_allowed(path: Path, deed: str = "read") -> DataError:
    """Return the error for a file or folder that this user may not read or write."""
    return DataError(f"{path}: permission denied; give yourself the right to {deed} it, or choose another place")


def write_atomically(path: Path, write: Write, *, durable: bool = True) -> None:
    """Write a file so that readers see the old one or the whole new one, never a part.

    Parameters
    ----------
    path : Path
        The file; missing folders are made.
    write : callable
        Writes the content to the path it is given, a temporary file in the same folder with a name of its own, so that
        two runs at once do not meet. It is removed if anything fails, Ctrl-C included.
    durable : bool
        Wait until it is on the disk. Without, a loss of power may leave the file empty: for what is written again in a
        moment.

    Raises
    ------
    DataError
        The folder or file cannot be written.
    """
    write_together([(path, write)], durable=durable)


def write_together(files: Iterable[tuple[Path, Write]], *, durable: bool = True) -> None:
    """Write several files so that none of them appears before all of them are on the disk.

    Parameters
    ----------
    files : iterable of (Path, callable)
        As for `write_atomically`. It may make its content one file after the other: an error that it raises leaves
        every file as it was.
    durable : bool
        As for `write_atomically`.

    Raises
    ------
    DataError
        A folder or file cannot be written.
    """
    staged: list[tuple[Path, Path]] = []
    path = Path()
    try:
        try:
            for path, write in files:
                temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
                staged.append((temporary, path))
                path.parent.mkdir(parents=True, exist_ok=True)
                write(temporary)
                if durable:
                    sync_file(temporary)
            for temporary, path in staged:
                os.replace(temporary, path)
            for folder in {path.parent for _, path in staged} if durable else ():
                sync_folder(folder)
        finally:
            for temporary, _ in staged:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path}: {reason}; make the folder writable or choose another") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one writer at a time change a folder: who merges reads, changes and writes back.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"cannot write to {folder}: {reason}; make the folder writable or set data.dir to another"
        ) from error
    with handle:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
