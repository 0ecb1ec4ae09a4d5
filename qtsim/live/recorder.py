"""Writes a session's inputs, decisions and state into its journal, so that a commit always holds all three."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qtsim.core.records import Records
from qtsim.live.journal import Journal, JournalDamagedError, JournalFullError
from qtsim.live.tape import Input, layout_of, packed, row_bytes
from qtsim.trading.session import Session

SMALL = ("account", "positions", "plans", "governor", "stats", "bar_index", "last_exit_bar")
"""Arrays of a session that are saved with every commit that may follow a change of them."""
LARGE = ("history",)
"""Saved when a bar has closed, with the first commit that no order waits for."""


QUIET = frozenset(("points", "settle", "clock"))
"""Inputs that come all the time; those on which nothing is decided are written together."""


class Recorder:
    """The tape of a live session."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.session: Session | None = None
        self.at = 0  # number of the last input
        self.inputs = 0
        self.decisions = 0
        self._pending: list[Input] = []  # inputs on which nothing has been decided
        self._is_dirty = False
        self._bar_closed = False
        self._saved: dict[str, bytes] = {}
        self.failure: JournalFullError | None = None  # of the first row that could not be written

    def input(self, kind: str, body: Mapping[str, Any]) -> None:
        """The session is about to be told this."""
        self.inputs += 1
        self._pending.append((kind, body))
        if kind not in QUIET:
            self._write_pending(refers=True)
        self._is_dirty = True
        self._bar_closed = self._bar_closed or kind == "bars"

    def decision(self, kind: str, row: Records) -> None:
        """The last input made it write this row."""
        self.decisions += 1
        if self._pending:
            self._write_pending(refers=True)
        try:
            self.journal.decision(self.at, kind, row_bytes(row))
        except JournalFullError as error:
            self.failure = self.failure or error

    def _write_pending(self, *, refers: bool) -> None:
        """Write the inputs that wait. refers: decisions refer to the last of them, so it gets a row of its own."""
        waiting, self._pending = self._pending, []
        parts = [waiting[:-1], waiting[-1:]] if refers else [waiting]
        try:
            for part in filter(None, parts):
                self.at = self.journal.input(*packed(part))
        except JournalFullError as error:
            self.failure = self.failure or error

    def save(self) -> None:
        """Write what waits, and the small state where anything may have changed, into the open transaction."""
        if self._pending:
            self._write_pending(refers=False)
        if not self._is_dirty or self.session is None:
            return
        self._save_states(SMALL)
        self._is_dirty = False

    def _save_states(self, names: tuple[str, ...]) -> None:
        """Write the arrays of these names that have changed since they were written last."""
        for name in names:
            rows = getattr(self.session, name)
            data = rows.tobytes()
            if self._saved.get(name) != data:
                self.journal.state(self.at, name, layout_of(rows), zlib.compress(data, 1))
                self._saved[name] = data

    def commit(self) -> None:
        """State and everything written so far, to the disk.

        Raises JournalFullError, also where an earlier row could not be written: what follows is then not whole.
        """
        self.save()
        if self._bar_closed and self.session is not None:
            self._save_states(LARGE)
            self._bar_closed = False
        self.journal.commit()
        self.journal.checkpoint()
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
