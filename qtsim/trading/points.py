"""Kernels as the session calls them at every price point: whole arrays and the number of a slot.

A record that Python hands to compiled code costs some five microseconds to unpack, an array a tenth of one. The rules
are the core's; here they are only called together.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import equity_nb, observe_nb, set_point_nb
from qtsim.core.enums import Action
from qtsim.core.exit_brain import apply_decision_nb, decide_exit_nb
from qtsim.core.records import Records
from qtsim.core.safety_governor import evaluate_governor_nb

FLAT = -1
"""There is no position to judge."""
UNPRICED = -2
"""There is a position, and a price or mark is missing."""


@kernel
def see_point_nb(points: Records, i: int, ts: int, price: float, mark: float) -> None:
    """A price point of slot `i`."""
    set_point_nb(points[i], ts, price, mark)


@kernel
def remember_extremes_nb(positions: Records, points: Records, i: int) -> None:
    """Best and worst price and distance to liquidation of slot `i`, at its point."""
    observe_nb(positions[i], points[i]["price"], points[i]["mark"])


@kernel
def judge_slot_nb(
    positions: Records, points: Records, instruments: Records, params: Records, decisions: Records, i: int
) -> int:
    """One exit cycle of slot `i`: the Action decided, FLAT or UNPRICED. HOLD_CURRENT is obeyed at once.

    params: params_dt[1]; decisions: exit_decision_dt[1], written.
    """
    position, point, decision = positions[i], points[i], decisions[0]
    if position["side"] == 0:
        return FLAT
    if point["price"] != point["price"] or point["mark"] != point["mark"]:
        return UNPRICED
    decide_exit_nb(position, point, instruments[i], params[0], decision)
    if decision["action"] == Action.HOLD_CURRENT:
        apply_decision_nb(position, decision)
    return int(decision["action"])


@kernel
def evaluate_account_nb(
    accounts: Records,
    positions: Records,
    points: Records,
    governors: Records,
    history: Records,
    events: Records,
    ts: int,
    at_boundary: bool,
    params: Records,
) -> bool:
    """The governor's evaluation of the account's equity; whether EMERGENCY_SHUTDOWN has just fired.

    accounts, governors, params: one row each.
    """
    equity = equity_nb(accounts[0], positions, points)
    return evaluate_governor_nb(governors[0], history, events, ts, equity, at_boundary, params[0])
