"""Where positions are kept: one slot per symbol, or in hedge mode one per symbol and side.

Slots stand in symbol order; in hedge mode a symbol's long slot comes first and its short slot next.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.enums import PositionMode, Side
from qtsim.core.records import Record
from qtsim.core.signal_rules import requested_side_nb

BOTH = 0
"""Side of a slot that holds either."""
NO_SLOT = -1


@kernel
def slots_per_symbol_nb(params: Record) -> int:
    """1, or 2 in hedge mode."""
    return 2 if params["account"]["mode_position"] == PositionMode.HEDGE else 1


@kernel
def slot_side_nb(slot: int, width: int) -> int:
    """The side that a slot holds: LONG or SHORT, BOTH with one slot per symbol."""
    if width == 1:
        return BOTH
    return Side.LONG.value if slot % 2 == 0 else Side.SHORT.value


@kernel
def other_slot_nb(slot: int, width: int) -> int:
    """The slot of the same symbol's other side; NO_SLOT with one slot per symbol."""
    if width == 1:
        return NO_SLOT
    return slot + 1 if slot % 2 == 0 else slot - 1


@kernel
def own_request_nb(side: int, signal: Record) -> int:
    """The side that a signal asks of a slot of `side`; 0 where it asks nothing of it."""
    request = requested_side_nb(signal)
    return request if side in (BOTH, request) else 0


@kernel
def held_before_nb(held: int, other_held: int, other_now: int) -> int:
    """The side that a request of a slot meets: its own, or else one that has just been closed.

    held, other_held: sides of the slot and of the symbol's other one when the signal was decided; other_now: after
    signal exits. What stands on the other side and goes on standing is not met.
    """
    if held == 0 and other_now == 0:
        return other_held
    return held
