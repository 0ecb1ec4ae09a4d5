"""One archive from its address to a file in the cache: verified against its checksum, whole or not there.

Retries are bounded and wait longer each time. When the server asks for a pause, all threads pause. A first contact that
fails means that the machine is offline, which is said at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from qtsim.data.atomic import sync_file, sync_folder
from qtsim.data.download.archive import Archive
from qtsim.errors import DataError, SettingError

PAUSE_S = 0.5
"""Before the second try; each later pause is twice as long."""
LONGEST_PAUSE_S = 30.0
LONGEST_ASKED_PAUSE_S = 120.0
"""A server that asks for more is an error: the user decides whether to wait."""
FIRST_CONTACT_TRIES = 2
LOST_AFTER = 3
"""Files in a row that fail for want of a connection: it is lost, and there is no use in trying the others."""
CHUNK = 1 << 16
PART = ".part"
"""Ending of files that are being written."""

_CHECKSUM = re.compile(r"^\s*([0-9a-fA-F]{64})\b")
_BUSY = (418, 429)
T = TypeVar("T")


class OfflineError(DataError):
    """A host cannot be reached at all."""


class StoppedError(Exception):
    """The run was interrupted; a worker thread gives up."""


class _TryAgainError(Exception):
    """Something that may pass.

    `pause_s`: how long the server asked to wait, 0 where it did not say. `is_connection`: there was no answer.
    """

    def __init__(self, reason: str, pause_s: float = 0.0, *, is_connection: bool = False) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        self.is_connection = is_connection


class Fetcher:
    """Fetches files below one address; safe for several threads.

    Parameters
    ----------
    url : str
        The archive's address, `http://` or `https://`.
    tries : int
        Attempts per file.
    timeout_s : float
        Longest silence of the server.
    stop : threading.Event
        Set from outside to make all threads give up.
    """

    def __init__(self, url: str, *, tries: int, timeout_s: float, stop: threading.Event) -> None:
        """Check the address; nothing is sent yet."""
        self.url = check_url("data.archive_url", url)
        self.bytes = 0
        self.files = 0
        self._tries = tries
        self._timeout_s = timeout_s
        self._stop = stop
        self._has_contact = False
        self._resume_at = 0.0
        self._lost = 0
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """The server's name, for messages."""
        return urlsplit(self.url).netloc

    def checksum(self, archive: Archive) -> str | None:
        """Return an archive's SHA-256 as the exchange states it, hex; None where there is no such archive.

        An archive without a checksum counts as absent: nothing could vouch for it.
        """
        return self._retry(archive.name, lambda: self._checksum(archive))

    def fetch(self, archive: Archive, target: Path) -> str | None:
        """Put an archive where `target` says, verified and whole, and return its SHA-256; None where there is none.

        Raises
        ------
        OfflineError
            The host cannot be reached.
        DataError
            The checksum is wrong in every try, or the server keeps failing; the file is named.
        StoppedError
            The run was interrupted.
        """
        return self._retry(archive.name, lambda: self._fetch(archive, target))

    def _fetch(self, archive: Archive, target: Path) -> str | None:
        wanted = self._checksum(archive)
        if wanted is None:
            return None
        part = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}{PART}")
        try:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                handle = part.open("wb")
            except OSError as error:
                raise _cannot_write(target, error) from error
            with handle:
                found = self._read(archive.path, handle.write, target)
            if found is None:
                raise _TryAgainError("its checksum is there and the file is not")
            if found != wanted:
                raise _TryAgainError(f"its checksum is wrong: {found[:12]}… instead of {wanted[:12]}…")
            try:
                # on the disk before it has its name: a file under this name is never read as verified by mistake
                sync_file(part)
                os.replace(part, target)
                sync_folder(target.parent)
            except OSError as error:
                raise _cannot_write(target, error) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        with self._lock:
            self.files += 1
        return wanted

    def _checksum(self, archive: Archive) -> str | None:
        text: list[bytes] = []
        if self._read(f"{archive.path}.CHECKSUM", text.append, None) is None:
            return None
        match = _CHECKSUM.match(b"".join(text).decode("ascii", errors="replace"))
        if match is None:
            raise _TryAgainError("its .CHECKSUM holds no SHA-256")
        return match[1].lower()

    def _read(self, path: str, write: Callable[[bytes], object], target: Path | None) -> str | None:
        """Read one file in pieces and return the SHA-256 of what came, hex; None where it does not exist."""
        digest = hashlib.sha256()
        received = 0
        request = urllib.request.Request(f"{self.url}/{path}", headers={"User-Agent": "qtsim"})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                self._has_contact = True
                while piece := answer.read(CHUNK):
                    if self._stop.is_set():
                        raise StoppedError
                    digest.update(piece)
                    received += len(piece)
                    try:
                        write(piece)
                    except OSError as error:
                        raise _cannot_write(target or Path(path), error) from error
                stated = answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            self._has_contact = True
            with error:
                self._refuse_unless_absent(error)
            return None
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgainError(_reason(error), is_connection=True) from error
        self._lost = 0
        if stated is not None and int(stated) != received:
            raise _TryAgainError(f"the connection ended after {received:,} of {int(stated):,} bytes")
        with self._lock:
            self.bytes += received
        return digest.hexdigest()

    def _refuse_unless_absent(self, error: urllib.error.HTTPError) -> None:
        """Return for a file that does not exist; raise for anything else that is no file."""
        if error.code == 404:
            return
        reason = f"{self.host} answers {error.code} {error.reason}"
        if error.code in _BUSY or error.code >= 500 or error.code == 408:
            raise _TryAgainError(reason, asked_pause_s(error.headers.get("Retry-After")))
        raise DataError(reason)

    def _retry(self, name: str, attempt: Callable[[], T]) -> T:
        for count in range(1, self._tries + 1):
            self._wait_for_turn()
            try:
                return attempt()
            except _TryAgainError as error:
                if not self._has_contact and count >= min(FIRST_CONTACT_TRIES, self._tries):
                    raise OfflineError(f"cannot reach {self.host}: {error}") from error
                if error.pause_s > LONGEST_ASKED_PAUSE_S:
                    raise DataError(
                        f"{name}: {error} and asks to wait {error.pause_s:,.0f} s; run the same command again then"
                    ) from error
                if count == self._tries:
                    self._lost += error.is_connection
                    if self._lost >= LOST_AFTER:
                        raise OfflineError(f"the connection to {self.host} is lost: {error}") from error
                    raise DataError(f"{name}: {error} (in {_times(count)})") from error
                self._pause(error.pause_s, count)
            except DataError as error:
                if name in str(error):
                    raise
                raise DataError(f"{name}: {error}") from error
        raise AssertionError("tries is at least 1")

    def _pause(self, asked_s: float, count: int) -> None:
        """Wait before the next try; where the server asked for it, every thread waits."""
        if asked_s:
            with self._lock:
                self._resume_at = max(self._resume_at, time.monotonic() + asked_s)
        elif self._stop.wait(backoff_s(count)):
            raise StoppedError

    def _wait_for_turn(self) -> None:
        while (left := self._resume_at - time.monotonic()) > 0:
            if self._stop.wait(left):
                break
        if self._stop.is_set():
            raise StoppedError


def backoff_s(count: int) -> float:
    """Return the pause after the attempt number `count`, counted from 1, seconds."""
    return float(min(PAUSE_S * 2.0 ** (count - 1), LONGEST_PAUSE_S))


def asked_pause_s(header: str | None) -> float:
    """Return the pause of a `Retry-After` header, seconds; 0 where there is none or it is a date."""
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 0.0


def check_url(key: str, url: str) -> str:
    """Return an address without a slash at its end.

    Raises
    ------
    SettingError
        Not an address of the web.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingError(f'{key} = "{url}" is no address; write it as https://host, or leave it empty')
    return url.strip().rstrip("/")


def remove_parts(folder: Path) -> None:
    """Remove what interrupted runs left half-written."""
    for part in folder.rglob(f".*{PART}"):
        with contextlib.suppress(OSError):
            part.unlink()


def _reason(error: BaseException) -> str:
    """The innermost reason of a failed connection, in one line."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(text.split()) or type(inner).__name__


def _times(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {path}: {error.strerror or error}; make room or set data.dir to another folder")
