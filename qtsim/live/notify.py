"""Alerts through apprise: one message per event that the settings name, sent beside the session, never in its way."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from qtsim.errors import UsageError
from qtsim.live.redaction import Redactor

EXTRA = 'pip install "qtsim[live]"'
WAITING_MAX = 200
Send = Callable[[str, str], Awaitable[Any]]


def open_apprise(urls_file: Path) -> Send:
    """A sender to the addresses of a file, one a line; they are secrets.

    Raises
    ------
    UsageError
        There is no such file, others may read it, it names nothing that apprise understands, or apprise is missing.
    """
    try:
        import apprise
    except ImportError:
        raise UsageError(f"live.notify.urls_file needs apprise: {EXTRA}") from None
    try:
        if os.name == "posix" and stat.S_IMODE(urls_file.stat().st_mode) & 0o077:
            raise UsageError(f"live.notify.urls_file: others than you may read {urls_file}; chmod 600 {urls_file}")
        lines = urls_file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"live.notify.urls_file: {urls_file} cannot be read: {error.strerror or error}") from error
    sender = apprise.Apprise()
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#") and not sender.add(line.strip()):
            raise UsageError(f"live.notify.urls_file: line {number} of {urls_file} is no address that apprise knows")
    if not len(sender):
        raise UsageError(f"live.notify.urls_file: {urls_file} names no address")

    async def send(title: str, body: str) -> Any:
        return await sender.async_notify(title=title, body=body)

    return send


class Notifier:
    """Queues messages and sends them one after the other; where nobody answers, the oldest are dropped and counted."""

    def __init__(self, session: str, events: Iterable[str], send: Send, redactor: Redactor) -> None:
        self.session = session
        self.events = frozenset(events)
        self.send = send
        self.redactor = redactor
        self.dropped = 0
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(WAITING_MAX)

    def alert(self, event: str, text: str) -> None:
        """Tell a person, where the settings want this event told."""
        if event not in self.events:
            return
        if self._waiting.full():
            self._waiting.get_nowait()
            self.dropped += 1
        self._waiting.put_nowait((f"qtsim {self.session}: {event}", self.redactor.clean(text)))

    async def run(self) -> None:
        """Send for ever. A failing sender loses its message, never the session."""
        while True:
            title, body = await self._waiting.get()
            try:
                await self.send(title, body)
            except Exception:
                self.dropped += 1
            finally:
                self._waiting.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait for what is queued, but not for ever."""
        try:
            await asyncio.wait_for(self._waiting.join(), seconds)
        except TimeoutError:
            self.dropped += self._waiting.qsize()
