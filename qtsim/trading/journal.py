"""What a session writes down: every decision, denial, fill, payment, trade and equity mark, in order."""

from __future__ import annotations

import numpy as np

from qtsim.core.records import (
    Records,
    decision_row_dt,
    denial_row_dt,
    doubt_row_dt,
    equity_row_dt,
    fill_row_dt,
    funding_row_dt,
    governor_row_dt,
    trade_row_dt,
    transfer_dt,
)

KINDS: dict[str, np.dtype[np.void]] = {
    "trades": trade_row_dt,
    "fills": fill_row_dt,
    "decisions": decision_row_dt,
    "denials": denial_row_dt,
    "funding": funding_row_dt,
    "equity": equity_row_dt,
    "governor": governor_row_dt,
    "transfers": transfer_dt,
    "doubts": doubt_row_dt,
}


class SessionJournal:
    """Rows by kind. `new` gives an empty row to write into, `keep` files a copy of it."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Records]] = {kind: [] for kind in KINDS}

    def new(self, kind: str) -> Records:
        """An empty row, shape (1,)."""
        return np.zeros(1, KINDS[kind])

    def keep(self, kind: str, row: Records) -> None:
        """File a row; later changes to the array do not reach it."""
        self.rows[kind].append(row.copy())

    def drop_last(self, kind: str) -> None:
        """Take the last row of a kind back."""
        self.rows[kind].pop()

    def lengths(self) -> dict[str, int]:
        """Rows filed so far."""
        return {kind: len(rows) for kind, rows in self.rows.items()}

    def cut(self, lengths: dict[str, int]) -> None:
        """Forget everything filed after `lengths` was taken."""
        for kind, length in lengths.items():
            del self.rows[kind][length:]

    def table(self, kind: str) -> Records:
        """All rows of a kind as one array."""
        rows = self.rows[kind]
        if not rows:
            return np.zeros(0, KINDS[kind])
        return np.concatenate(rows)
