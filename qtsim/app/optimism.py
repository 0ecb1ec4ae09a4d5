"""The optimism meter: the runs that lift one assumption each. What each adds to the return is its price."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from qtsim.config.settings import Settings
from qtsim.core.enums import PathModel, SlippageModel
from qtsim.core.records import Record, Records, funding_dt
from qtsim.sim.market import Market

Lifted: TypeAlias = tuple[str, Market, Records]
"""(assumption lifted, market, parameters) of one run."""
LATENCY = "latency_ms_"
"""Beginning of the names of the fields that delay a fill."""


def relaxed(market: Market, params: Records, settings: Settings) -> list[Lifted]:
    """Each line of the meter that could change anything in this run."""
    lines: list[Lifted] = []
    if _has_slippage(params["costs"][0]):
        lines.append(("no slippage", market, _without_slippage(params)))
    if params["costs"]["fees_taker"][0] > params["costs"]["fees_maker"][0]:
        lines.append(("maker fees", market, _with_maker_fees(params)))
    if (market.funding["rate"] != 0.0).any():
        lines.append(("no funding", _without_funding(market), params))
    if settings.sim.mode != "ticks" and params["sim"]["path"][0] != PathModel.FAVOURABLE:
        lines.append(("favourable path", market, _on_favourable_path(params)))
    if any(delay > 0.0 for delay in settings.sim.latency_ms.model_dump().values()):
        lines.append(("no latency", market, _without_latency(params)))
    return lines


def _has_slippage(costs: Record) -> bool:
    """Whether any fill could have any. Under model fixed that is `bps`; under size what a size or volatility adds too;
    another model estimates it from the market."""
    if costs["slippage_model"] == SlippageModel.FIXED:
        return bool(costs["slippage_bps"] > 0.0)
    if costs["slippage_model"] == SlippageModel.SIZE:
        is_large = costs["slippage_large_notional"] < np.inf and costs["slippage_large_bps"] > 0.0
        return bool(costs["slippage_bps"] > 0.0 or is_large or costs["slippage_volatile_bps"] > 0.0)
    return True


def _without_slippage(params: Records) -> Records:
    """Model fixed with 0 bps has none, whatever the model was."""
    changed = params.copy()
    changed["costs"]["slippage_model"] = SlippageModel.FIXED
    changed["costs"]["slippage_bps"] = 0.0
    return changed


def _with_maker_fees(params: Records) -> Records:
    changed = params.copy()
    changed["costs"]["fees_taker"] = params["costs"]["fees_maker"]
    return changed


def _without_funding(market: Market) -> Market:
    """No payment is due. What the strategy and the levels know of the rates stays: they are the market's."""
    return market._replace(funding=np.zeros(0, funding_dt), funding_offsets=np.zeros_like(market.funding_offsets))


def _on_favourable_path(params: Records) -> Records:
    changed = params.copy()
    changed["sim"]["path"] = PathModel.FAVOURABLE
    return changed


def _without_latency(params: Records) -> Records:
    changed = params.copy()
    for name in changed["sim"].dtype.names or ():
        if name.startswith(LATENCY):
            changed["sim"][name] = 0.0
    return changed
