"""Binance USDⓈ-M Futures on the loopback: one pure exchange, in process in virtual time or behind sockets.

`Exchange` answers requests, moves with market events and fills the queues of stream connections. It performs no I/O and
reads no clock. `inprocess` puts it behind the ccxt client in virtual time, `sockets` behind HTTP and WebSocket on
127.0.0.1; both pass every request through `serving`, where the fault plan acts.
"""

from __future__ import annotations

from qtsim.emulator.auth import ApiKey
from qtsim.emulator.control import Control
from qtsim.emulator.exchange import Exchange, Response, Rules
from qtsim.emulator.faults import FaultPlan, RequestFault, Scripted
from qtsim.emulator.market import Bar, BarsClosed, FundingDue, MarketEvent, Point, Points
from qtsim.emulator.pricing import FillRule

__all__ = [
    "ApiKey",
    "Bar",
    "BarsClosed",
    "Control",
    "Exchange",
    "FaultPlan",
    "FillRule",
    "FundingDue",
    "MarketEvent",
    "Point",
    "Points",
    "RequestFault",
    "Response",
    "Rules",
    "Scripted",
]
