"""What a signal asks of a symbol: which side, whether it closes what is open, why a request ends early."""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.enums import LeaderRegime, OnOppositeSignal, Reason, Rule, Side
from qtsim.core.records import Record


@kernel
def requested_side_nb(signal: Record) -> int:
    """+1, -1, or 0 where nothing, or both sides, are asked for."""
    return signal["long"] - signal["short"]


@kernel
def signal_exit_reason_nb(position: Record, signal: Record, on_opposite: int) -> int:
    """Reason to close the open position on this signal: REVERSE, SIGNAL, or NONE."""
    side = position["side"]
    is_opposite = requested_side_nb(signal) == -side
    if is_opposite and on_opposite == OnOppositeSignal.REVERSE:
        return Reason.REVERSE.value
    if (side > 0 and signal["exit_long"] == 1) or (side < 0 and signal["exit_short"] == 1):
        return Reason.SIGNAL.value
    if is_opposite and on_opposite == OnOppositeSignal.CLOSE:
        return Reason.SIGNAL.value
    return Reason.NONE.value


@kernel
def request_rule_nb(request: int, held_side: int, side_now: int, bars_since_exit: int, params: Record) -> int:
    """Rule that ends a request before it is planned; NONE: it is a candidate.

    held_side: the position when the signal was decided; side_now: after signal exits. bars_since_exit counts from the
    bar of the symbol's last exit; negative where there was none.
    """
    if request == held_side:
        return Rule.SIDE_HELD.value
    if side_now != 0:
        return Rule.OPPOSITE_IGNORED.value
    if held_side == -request and params["exit"]["on_opposite_signal"] == OnOppositeSignal.CLOSE:
        return Rule.OPPOSITE_CLOSED.value
    cooldown = params["entry"]["cooldown_bars"]
    if cooldown > 0 and 0 <= bars_since_exit <= cooldown:
        return Rule.COOLDOWN.value
    return Rule.NONE.value


@kernel
def ranks_before_nb(plan: Record, other: Record) -> bool:
    """Is `plan` walked before `other`? Largest notional, then in a DOWNTREND shorts, then highest confidence.

    Symbol order decides the rest.
    """
    if plan["notional"] != other["notional"]:
        return plan["notional"] > other["notional"]
    if plan["leader_regime"] == LeaderRegime.DOWNTREND and plan["side"] != other["side"]:
        return plan["side"] == Side.SHORT
    return plan["confidence"] > other["confidence"]
