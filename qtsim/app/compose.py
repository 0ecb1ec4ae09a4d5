"""The one place where a run's driver is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from qtsim.core.records import Records
from qtsim.sim.journals import Journals
from qtsim.sim.market import Floats, Market
from qtsim.sim.run import Progress, run_compiled, run_reference
from qtsim.sim.trades import TradeChunk


class Driver(Protocol):
    """Runs a market to its end and returns what was written."""

    def __call__(
        self,
        market: Market,
        params: Records,
        balance: float,
        symbols: list[str],
        *,
        diagnose: bool = False,
        agent: Records | None = None,
        draws: Floats | None = None,
        progress: Progress | None = None,
        trades: Iterable[TradeChunk] | None = None,
    ) -> Journals: ...


compiled_driver: Driver = run_compiled
reference_driver: Driver = run_reference
