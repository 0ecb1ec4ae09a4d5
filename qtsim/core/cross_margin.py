"""Cross margin: one margin balance, wallet and unrealized PnL at mark, backs every position of the account."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import equity_nb, unrealized_pnl_nb
from qtsim.core.enums import Side
from qtsim.core.margin import maintenance_margin_nb
from qtsim.core.records import Record, Records


@kernel
def account_maintenance_nb(positions: Records, points: Records, instruments: Records) -> float:
    """Maintenance margins of all open positions at the points' marks, summed in symbol order; quote."""
    total = 0.0
    for i in range(len(positions)):
        if positions[i]["side"] != Side.NONE:
            total += maintenance_margin_nb(positions[i]["qty"] * points[i]["mark"], instruments[i])
    return total


@kernel
def count_positions_nb(positions: Records) -> int:
    """How many positions are open."""
    count = 0
    for i in range(len(positions)):
        if positions[i]["side"] != Side.NONE:
            count += 1
    return count


@kernel
def is_account_liquidated_nb(account: Record, positions: Records, points: Records, instruments: Records) -> bool:
    """Does the margin balance no longer exceed the maintenance margins of all that is open?"""
    if count_positions_nb(positions) == 0:
        return False
    return equity_nb(account, positions, points) <= account_maintenance_nb(positions, points, instruments)


@kernel
def note_margin_ratio_nb(account: Record, positions: Records, points: Records, instruments: Records) -> None:
    """Remember the smallest distance of the account to liquidation: margin balance / maintenance - 1."""
    maintenance = account_maintenance_nb(positions, points, instruments)
    if maintenance > 0.0:
        ratio = equity_nb(account, positions, points) / maintenance - 1.0
        account["min_margin_ratio"] = min(account["min_margin_ratio"], ratio)


@kernel
def least_pnl_nb(account: Record, positions: Records, points: Records, i: int) -> float:
    """The lowest PnL at which position `i` can be settled: more would have to come from beyond the account.

    What the wallet holds and what the other open positions have gained at mark can be lost; quote, usually negative.
    """
    room = account["wallet"]
    for j in range(len(positions)):
        if j != i and positions[j]["side"] != Side.NONE:
            room += max(0.0, unrealized_pnl_nb(positions[j], points[j]["mark"]))
    return -room
