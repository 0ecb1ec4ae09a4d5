"""Writes a session's inputs, decisions and state into its journal, so that a commit always holds all three."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qtsim.core.records import Records
from qtsim.live.journal import Journal, JournalDamagedError, JournalFullError
from qtsim.live.tape import layout_of, row_bytes, to_bytes
from qtsim.trading.session import Session

SMALL = ("account", "positions", "plans", "governor", "stats", "bar_index", "last_exit_bar")
"""Arrays of a session that are saved with every commit that may follow a change of them."""
LARGE = ("history",)
"""Saved when a bar closes."""


class Recorder:
    """The tape of a live session."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.session: Session | None = None
        self.at = 0  # number of the last input
        self.inputs = 0
        self.decisions = 0
        self._is_dirty = False
        self._bar_closed = False
        self._saved: dict[str, bytes] = {}
        self.failure: JournalFullError | None = None  # of the first row that could not be written

    def input(self, kind: str, body: Mapping[str, Any]) -> None:
        """The session is about to be told this."""
        self.inputs += 1
        try:
            self.at = self.journal.input(kind, to_bytes(body))
        except JournalFullError as error:
            self.failure = self.failure or error
        self._is_dirty = True
        self._bar_closed = self._bar_closed or kind == "bars"

    def decision(self, kind: str, row: Records) -> None:
        """The last input made it write this row."""
        self.decisions += 1
        try:
            self.journal.decision(self.at, kind, row_bytes(row))
        except JournalFullError as error:
            self.failure = self.failure or error

    def save(self) -> None:
        """Write the state into the open transaction, where anything may have changed."""
        if not self._is_dirty or self.session is None:
            return
        for name in (*SMALL, *(LARGE if self._bar_closed else ())):
            rows = getattr(self.session, name)
            data = rows.tobytes()
            if self._saved.get(name) != data:
                self.journal.state(self.at, name, layout_of(rows), zlib.compress(data, 1))
                self._saved[name] = data
        self._is_dirty = self._bar_closed = False

    def commit(self) -> None:
        """State and everything written so far, to the disk.

        Raises JournalFullError, also where an earlier row could not be written: what follows is then not whole.
        """
        self.save()
        self.journal.commit()
        failure = self.failure or self.journal.failure
        if failure is not None:
            raise failure


def restore(session: Session, states: Mapping[str, tuple[str, bytes]]) -> bool:
    """Put a session's arrays back as they were saved. False where nothing was saved.

    Raises
    ------
    JournalDamagedError
        The layout is another one: of another version, or for other symbols.
    """
    if not states:
        return False
    for name in (*SMALL, *LARGE):
        if name not in states:
            continue
        layout, data = states[name]
        rows = getattr(session, name)
        if layout != layout_of(rows):
            raise JournalDamagedError(
                f"the journal's state of {name} is of another version or for other symbols; name another session "
                "(live.session), or start with the symbols that it was begun with"
            )
        rows[:] = np.frombuffer(zlib.decompress(data), rows.dtype).reshape(rows.shape)
    return True
