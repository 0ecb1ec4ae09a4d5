"""Structured events under the names that the predecessor's users search for: one line of JSON each."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from qtsim.core.enums import GOVERNOR_TEXT, REASON_TEXT, Action, GovernorDecision, Reason
from qtsim.core.records import Records

LOGGER = logging.getLogger("qtsim.live")
ADAPTIVE_LEVELS = "ADAPTIVE_LEVELS"
EXIT_MONITOR = "EXIT_MONITOR"
EXIT_TP_ORDER = "EXIT_TP_ORDER"
EXIT_SL_ORDER = "EXIT_SL_ORDER"
EXIT_LOSS_GUARD = "EXIT_LOSS_GUARD"
EXIT_RATCHET_SL = "EXIT_RATCHET_SL"
GOVERNOR = "GOVERNOR"
RECOVERED = "RECOVERED"
GUARDS = (Reason.LOSS_GUARD, Reason.MARGIN_EMERGENCY, Reason.STALE, Reason.CRASH)

Alert = Callable[[str, str], None]
"""(event of live.notify.events, sentence)"""


class EventLog:
    """Writes events to the logger, and hands those that a person waits for to the alerts."""

    def __init__(self, symbols: list[str], alert: Alert | None = None) -> None:
        self.symbols = symbols
        self.alert = alert or (lambda event, text: None)
        self.now_ns: Callable[[], int] = lambda: 0

    def write(self, name: str, symbol: str = "", fields: Mapping[str, Any] | None = None) -> None:
        """One event."""
        body = {"event": name, "ts": self.now_ns() // 1_000_000, **({"symbol": symbol} if symbol else {})}
        body |= {key: _plain(value) for key, value in (fields or {}).items()}
        LOGGER.info("%s", json.dumps(body, separators=(",", ":"), default=str))

    def row(self, kind: str, row: Records) -> None:
        """An event of a row that the session wrote."""
        one = row[0]
        if kind == "decisions":
            self._decision(one)
        elif kind == "trades":
            symbol = self.symbols[int(one["symbol"])]
            reason = REASON_TEXT[Reason(int(one["exit_reason"]))]
            self.write("TRADE", symbol, {"pnl": float(one["pnl"]), "reason": reason, "ret": float(one["ret"])})
            self.alert("exit", f"{symbol} closed by {reason}: {float(one['pnl']):+,.2f}")
        elif kind == "governor":
            name = GOVERNOR_TEXT[GovernorDecision(int(one["decision"]))]
            begins = bool(one["begins"])
            fields = {"decision": name, "begins": begins, "value": float(one["value"]), "limit": float(one["limit"])}
            self.write(GOVERNOR, "", {**fields, "equity": float(one["equity"])})
            self.alert("governor", f"{name} {'fires' if begins else 'ends'}: {float(one['value']):g}")

    def _decision(self, one: Any) -> None:
        symbol = self.symbols[int(one["symbol"])]
        action, reason = Action(int(one["action"])), Reason(int(one["reason"]))
        fields = {
            "action": action.name,
            "reason": REASON_TEXT[reason],
            "side": "LONG" if one["side"] > 0 else "SHORT",
            "lots": int(one["lots"]),
            "price": float(one["price"]),
            "mark": float(one["mark"]),
            "stop": float(one["stop_price"]),
        }
        self.write(name_of(action, reason), symbol, fields)


def name_of(action: Action, reason: Reason) -> str:
    """The name that the predecessor's users search for."""
    if action == Action.INIT_NEW_POSITION:
        return ADAPTIVE_LEVELS
    if action == Action.MOVE_SL and reason in (Reason.RATCHET, Reason.BREAKEVEN):
        return EXIT_RATCHET_SL
    if reason in GUARDS:
        return EXIT_LOSS_GUARD
    if Reason.TP1 <= reason <= Reason.TP5:
        return EXIT_TP_ORDER
    if action in (Action.FULL_EXIT_NOW, Action.PARTIAL_CLOSE):
        return EXIT_SL_ORDER
    return EXIT_MONITOR


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
