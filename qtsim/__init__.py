"""Backtest-first trading framework for Binance USDT-M futures.

Data flows one way, and the folder names are the stations: data → signals → core (decide) → trading (session) → sim
(execute) → results → research, report. `core` decides and never acts; `sim` acts and never decides; `app` composes.

The public names are loaded on first use, so that `import qtsim` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtsim.app.api import backtest, levels, liquidation_price, load_bars, load_run
    from qtsim.app.sweep_api import grid, load_sweep, sweep, walkforward
    from qtsim.signals.bars import Bars, Market
    from qtsim.signals.strategy import Strategy, param, uses
    from qtsim.signals.table import Signals, crossed_above, crossed_below

_HOMES = {
    "Bars": "qtsim.signals.bars",
    "Market": "qtsim.signals.bars",
    "Signals": "qtsim.signals.table",
    "Strategy": "qtsim.signals.strategy",
    "backtest": "qtsim.app.api",
    "crossed_above": "qtsim.signals.table",
    "crossed_below": "qtsim.signals.table",
    "grid": "qtsim.app.sweep_api",
    "levels": "qtsim.app.api",
    "liquidation_price": "qtsim.app.api",
    "load_bars": "qtsim.app.api",
    "load_run": "qtsim.app.api",
    "load_sweep": "qtsim.app.sweep_api",
    "param": "qtsim.signals.strategy",
    "sweep": "qtsim.app.sweep_api",
    "uses": "qtsim.signals.strategy",
    "walkforward": "qtsim.app.sweep_api",
}
"""Public name → module that defines it."""

__all__ = [
    "Bars",
    "Market",
    "Signals",
    "Strategy",
    "backtest",
    "crossed_above",
    "crossed_below",
    "grid",
    "levels",
    "liquidation_price",
    "load_bars",
    "load_run",
    "load_sweep",
    "param",
    "sweep",
    "uses",
    "walkforward",
]


def __getattr__(name: str) -> Any:
    """Import a public name's module on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
