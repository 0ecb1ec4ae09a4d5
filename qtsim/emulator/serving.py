"""How a request travels from a skin to the exchange and back: waiting, losing and delaying as the fault plan says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from qtsim.emulator.exchange import Exchange, Response, endpoint_name

SLOW_ENDPOINTS = ("order", "batchOrders", "algoOrder")
"""Endpoints to which latency applies: orders and their cancels."""


class Clock(Protocol):
    """A skin's time: the market's, the wall's, and how to wait."""

    def now_ms(self) -> int:
        """The market's clock."""

    def wall_ms(self) -> int:
        """The clock of signatures, limits and sessions."""

    async def sleep(self, ms: int) -> None:
        """Wait for so long on the wall."""

    async def latency(self, ms: int) -> None:
        """Wait for so long on the market's clock."""


class RequestLostError(Exception):
    """The connection closes without an answer. The request may have been executed."""


class Server:
    """Passes requests to an exchange.

    latency_ms: time of the market's clock that an order or a cancel takes to arrive, beside the fault plan's.
    """

    def __init__(self, exchange: Exchange, clock: Clock, *, latency_ms: int = 0) -> None:
        self.exchange = exchange
        self.clock = clock
        self.latency_ms = latency_ms
        self.arrived = 0  # requests since the start
        self.in_flight = 0  # of them those without an answer

    async def serve(self, method: str, path: str, params: str, headers: Mapping[str, str]) -> Response:
        """Answer a request. Raises RequestLostError where it gets none."""
        self.arrived += 1
        self.in_flight += 1
        try:
            return await self._serve(method, path, params, headers)
        finally:
            self.in_flight -= 1

    async def _serve(self, method: str, path: str, params: str, headers: Mapping[str, str]) -> Response:
        exchange, clock = self.exchange, self.clock
        if exchange.is_out(clock.wall_ms()):
            raise RequestLostError("the exchange does not answer")
        fault = exchange.fault_of(method, path)
        if fault is not None and fault.lost and not fault.executes:
            raise RequestLostError("the request was lost")
        latency_ms = self.latency_ms + exchange.faults.latency_ms()
        if latency_ms and method != "GET" and endpoint_name(path) in SLOW_ENDPOINTS:
            await clock.latency(latency_ms)
        if fault is not None and fault.hold_ms:
            await clock.sleep(fault.hold_ms)
        answer = exchange.request(method, path, params, headers, clock.now_ms(), wall_ms=clock.wall_ms(), fault=fault)
        if fault is not None and fault.answer_delay_ms:
            await clock.sleep(fault.answer_delay_ms)
        if fault is not None and fault.lost:
            raise RequestLostError("the answer was lost")
        return answer
