"""Profit and loss as it stands: per symbol realized and unrealized, and the account's equity."""

from __future__ import annotations

from dataclasses import dataclass

from qtsim.core.accounting import unrealized_pnl_nb
from qtsim.core.records import Records
from qtsim.trading.session import Session


@dataclass
class SymbolPnl:
    """One symbol's account. pct: of the margin of its open position, and of the closed trades' margins."""

    realized: float = 0.0
    trades: int = 0
    realized_pct: float = 0.0
    unrealized: float = 0.0
    unrealized_pct: float = 0.0

    @property
    def reward(self) -> float:
        """Unrealized and realized return, as the predecessor's agent was rewarded."""
        return self.unrealized_pct + self.realized_pct


class PnlTracker:
    """Adds up what a session closes, and values what is open."""

    def __init__(self, symbols: list[str]) -> None:
        self.symbols = symbols
        self.by_symbol = {symbol: SymbolPnl() for symbol in symbols}

    def close(self, trade: Records) -> None:
        """A trade has ended. trade: trade_row_dt[1]"""
        own = self.by_symbol[self.symbols[int(trade["symbol"][0])]]
        own.realized += float(trade["pnl"][0])
        own.realized_pct += float(trade["roe"][0])
        own.trades += 1

    def value(self, session: Session) -> None:
        """Value what is open at the marks."""
        for own in self.by_symbol.values():
            own.unrealized = own.unrealized_pct = 0.0
        for i, position in enumerate(session.positions):
            if position["side"] == 0:
                continue
            own = self.by_symbol[self.symbols[session.symbol_of(i)]]
            pnl = float(unrealized_pnl_nb(position, float(session.points[i]["mark"])))
            own.unrealized += pnl
            own.unrealized_pct += pnl / float(position["init_margin"]) if position["init_margin"] > 0 else 0.0
