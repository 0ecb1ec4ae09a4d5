"""Backstops for a gap or a missing stop. Price PnL at mark, without fees."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.records import Record


@kernel
def loss_guard_fires_nb(position: Record, mark: float) -> bool:
    """Is the loss at mark at or beyond `exit.guard.loss.max`? Its price is computed once, on the first fill."""
    return position["side"] * (mark - position["loss_price"]) <= 0.0
