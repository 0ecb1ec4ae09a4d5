"""Copies of records, made byte by byte: field by field they take several times as long."""

from __future__ import annotations

import numpy as np

from qtsim.core.records import Records


def copied(rows: Records) -> Records:
    """A copy."""
    return rows.view(np.uint8).copy().view(rows.dtype)


def doubled(rows: Records) -> Records:
    """A copy with room for as many rows again, which are zero."""
    larger = np.zeros(2 * len(rows), rows.dtype)
    larger.view(np.uint8)[: rows.nbytes] = rows.view(np.uint8)
    return larger
