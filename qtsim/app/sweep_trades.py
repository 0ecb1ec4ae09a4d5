"""Sweeps on trades: what is refused, and the files in which the trades of their markets lie ready."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from qtsim.app.inputs import RunInputs, require_quotes
from qtsim.app.trades import DAY, StoredTrades, refuse_with_trades, refuse_without_quotes
from qtsim.config.layers import Resolved
from qtsim.errors import SettingError
from qtsim.research.parameters import settings_of_trial
from qtsim.research.space import Space
from qtsim.research.trade_file import TradeFile, write_trades
from qtsim.sim.trades import TradeChunk, signal_times

JUDGED = ("sim.fill_at", "sim.path", "sizing.model", "costs.slippage.model")
"""Settings of which some values have no meaning on trades, or only there."""


Told = Callable[[int, int], None]
"""Called with (days joined, days in all)."""


class TradeFiles:
    """The trades of a sweep's markets, each written once: markets that differ in their signals alone share them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TradeFile] = {}

    def of(self, trades: StoredTrades | None, told: Told | None = None) -> TradeFile | None:
        """The file of a market's trades; None where bars are its path. told: called with each day that is joined.

        Errors: QtsimError, DataError.
        """
        if trades is None:
            return None
        key = _key_of(trades)
        if key not in self._files:
            self._files[key] = write_trades(self._folder, _telling(trades, told))
        return self._files[key]


def _telling(trades: StoredTrades, told: Told | None) -> Iterator[TradeChunk]:
    days = (trades.end - 1) // DAY - trades.start // DAY + 1
    for done, chunk in enumerate(trades.chunks(), start=1):
        yield chunk
        if told is not None:
            told(min(done, days), days)


def _key_of(trades: StoredTrades) -> str:
    """sha256 of all that decides how stored trades become a path."""
    digest = hashlib.sha256(f"{trades.start} {trades.end} {sorted(trades.lasts.items())}".encode())
    digest.update(signal_times(trades.market).tobytes())
    for symbol in trades.symbols:
        digest.update(symbol.encode() + trades.bars[symbol].tobytes())
    return digest.hexdigest()


def refuse_values(resolved: Resolved, space: Space, inputs: RunInputs) -> None:
    """Errors: UsageError, DataError for what has no meaning on the sweep's kind of path, or needs quotes there."""
    judged = [axis for axis in space.axes if axis.path in JUDGED]
    for values in itertools.product(*(axis.values for axis in judged)):
        own = {axis.path: value for axis, value in zip(judged, values, strict=True)}
        try:
            settings = settings_of_trial(resolved, own)
        except SettingError:
            continue  # left out, or allowed beside a value of another axis
        refuse_without_quotes(settings)
        require_quotes(inputs, settings)
        if inputs.ticks is not None:
            refuse_with_trades(settings, trains=settings.sizing.model == "rl")
