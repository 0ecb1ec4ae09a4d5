"""One writer per account: a lock of the operating system, and the epoch of the journal's lease.

The lock keeps a second program on this machine out. A program on another machine is seen on the account itself: its
orders carry the session's name and an epoch that is not ours (`reconcile.ForeignEpoch`).
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import IO

from qtsim.errors import UsageError

if sys.platform != "win32":
    import fcntl


class Lock:
    """Held from `take_lock` to `release`, or to the end of the process, however that comes."""

    def __init__(self, path: Path, handle: IO[str]) -> None:
        self.path = path
        self._handle = handle

    def release(self) -> None:
        """Let another program in."""
        self._handle.close()


def holder() -> str:
    """Who holds a lease: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def take_lock(folder: Path, session: str) -> Lock:
    """Take a session's lock, or refuse.

    Raises
    ------
    UsageError
        Another program runs this session; it is named.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "lock"
    handle = path.open("a+")
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            who = handle.read().strip() or "another program"
            handle.close()
            raise UsageError(
                f"session {session} is running already ({who}); stop it first, or name another: live.session"
            ) from None
    handle.seek(0)
    handle.truncate()
    handle.write(holder())
    handle.flush()
    return Lock(path, handle)


def is_locked(folder: Path) -> bool:
    """Does a program run this session?"""
    path = folder / "lock"
    if sys.platform == "win32" or not path.is_file():
        return False
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
