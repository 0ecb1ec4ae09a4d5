"""Deposits and withdrawals: money that comes and goes without being profit or loss."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.accounting import equity_nb, margin_used_nb
from qtsim.core.enums import MarginMode
from qtsim.core.orders import reserved_nb
from qtsim.core.records import Record, Records


@kernel
def withdrawable_nb(account: Record, positions: Records, points: Records, params: Record) -> float:
    """What the exchange lets go: the part of the wallet that backs no position and no order.

    With cross margin an unrealized loss needs its part of the wallet too; an unrealized profit cannot be withdrawn.
    """
    funds = account["wallet"]
    if params["account"]["mode_margin"] == MarginMode.CROSS:
        funds = min(funds, equity_nb(account, positions, points))
    return max(funds - margin_used_nb(positions) - reserved_nb(positions, params["costs"]), 0.0)


@kernel
def judge_transfer_nb(
    transfer: Record, account: Record, positions: Records, points: Records, ts: int, params: Record
) -> None:
    """Deposit or withdraw `amount` whole, or refuse it whole: `moved` is what the wallet changes by."""
    transfer["ts"] = ts
    transfer["withdrawable"] = withdrawable_nb(account, positions, points, params)
    transfer["moved"] = 0.0
    if transfer["amount"] >= -transfer["withdrawable"]:
        transfer["moved"] = transfer["amount"]


@kernel
def book_transfer_nb(
    transfer: Record, account: Record, positions: Records, points: Records, governor: Record, history: Records
) -> None:
    """Change the wallet, and with it every equity that a later one is compared with."""
    before = equity_nb(account, positions, points)
    account["wallet"] += transfer["moved"]
    account["transfers"] += transfer["moved"]
    transfer["wallet"] = account["wallet"]
    if transfer["moved"] != 0.0:
        shift_baselines_nb(governor, history, before, transfer["moved"])


@kernel
def shifted_nb(baseline: float, before: float, moved: float) -> float:
    """A baseline after a transfer, with the equity as far below it as before, in per cent.

    Shifted by the amount alone, a loss of 4 % would be one of 40 % once nine tenths of the account are withdrawn. Where
    there is no equity to compare with the amount is all that is known.
    """
    if before > 0.0 and before + moved > 0.0:
        return baseline + moved * (baseline / before)
    return baseline + moved


@kernel
def shift_baselines_nb(governor: Record, history: Records, before: float, moved: float) -> None:
    """Session base, day's base and the equities of the last hour, so that no rule takes a transfer for a loss."""
    if governor["started"] == 0:
        return
    governor["equity"] = shifted_nb(governor["equity"], before, moved)
    governor["base_equity"] = shifted_nb(governor["base_equity"], before, moved)
    governor["day_equity"] = shifted_nb(governor["day_equity"], before, moved)
    for k in range(len(history)):
        history[k]["equity"] = shifted_nb(history[k]["equity"], before, moved)
