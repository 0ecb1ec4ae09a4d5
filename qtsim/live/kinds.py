"""The kinds of orders, under the names that the predecessor's users search for, and which module may ask for which."""

from __future__ import annotations

from enum import StrEnum

from qtsim.core.enums import Reason


class OrderKind(StrEnum):
    """What an order is for."""

    ENTRY = "entry"
    TP_LEG_0 = "tp_market_leg_0"
    TP_LEG_1 = "tp_market_leg_1"
    TP_LEG_2 = "tp_market_leg_2"
    TP_LEG_3 = "tp_market_leg_3"
    TP_LEG_4 = "tp_market_leg_4"
    SL_MARKET = "sl_market"
    HARD_SL = "hard_sl"
    BACKUP_SL = "backup_sl"
    LOSS_GUARD = "loss_guard_emergency"
    FLATTEN = "flatten"

    @property
    def code(self) -> str:
        """Two characters for client ids."""
        return _CODES[self]

    @property
    def rests(self) -> bool:
        """Does it wait on the exchange for its trigger?"""
        return self in (OrderKind.HARD_SL, OrderKind.BACKUP_SL)

    @property
    def is_exit(self) -> bool:
        """May it only reduce?"""
        return self is not OrderKind.ENTRY

    @staticmethod
    def of_code(code: str) -> OrderKind | None:
        """The kind of a code; None for an unknown one."""
        return next((kind for kind, own in _CODES.items() if own == code), None)


_CODES = {
    OrderKind.ENTRY: "en",
    OrderKind.TP_LEG_0: "t0",
    OrderKind.TP_LEG_1: "t1",
    OrderKind.TP_LEG_2: "t2",
    OrderKind.TP_LEG_3: "t3",
    OrderKind.TP_LEG_4: "t4",
    OrderKind.SL_MARKET: "sl",
    OrderKind.HARD_SL: "hs",
    OrderKind.BACKUP_SL: "bs",
    OrderKind.LOSS_GUARD: "lg",
    OrderKind.FLATTEN: "fl",
}


class Module(StrEnum):
    """Who asks for an order."""

    ENTRIES = "entries"
    EXIT_ENGINE = "exit_engine"
    PROTECTION = "protection"  # stops on fills, emergency closes, recovery
    GUARDIAN = "guardian"
    OPERATOR = "operator"


_LEGS = frozenset((OrderKind.TP_LEG_0, OrderKind.TP_LEG_1, OrderKind.TP_LEG_2, OrderKind.TP_LEG_3, OrderKind.TP_LEG_4))
OWNED: dict[Module, frozenset[OrderKind]] = {
    Module.ENTRIES: frozenset((OrderKind.ENTRY,)),
    Module.EXIT_ENGINE: _LEGS | {OrderKind.SL_MARKET, OrderKind.LOSS_GUARD, OrderKind.FLATTEN},
    Module.PROTECTION: frozenset((OrderKind.HARD_SL, OrderKind.BACKUP_SL, OrderKind.LOSS_GUARD)),
    Module.GUARDIAN: frozenset((OrderKind.HARD_SL, OrderKind.LOSS_GUARD)),
    Module.OPERATOR: frozenset((OrderKind.FLATTEN,)),
}
"""The kinds that each module may send; a kind from a module that does not own it is refused."""

_EMERGENCIES = (Reason.LOSS_GUARD, Reason.MARGIN_EMERGENCY, Reason.CRASH)
_ASKED = (Reason.SIGNAL, Reason.REVERSE, Reason.STALE, Reason.GOVERNOR, Reason.END_OF_DATA)


def kind_of(reason: Reason) -> OrderKind:
    """The kind of an exit's market order."""
    if Reason.TP1 <= reason <= Reason.TP5:
        return OrderKind(f"tp_market_leg_{reason - Reason.TP1}")
    if reason in _EMERGENCIES:
        return OrderKind.LOSS_GUARD
    if reason in _ASKED:
        return OrderKind.FLATTEN
    return OrderKind.SL_MARKET
