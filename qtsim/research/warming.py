"""The smallest trial there is: running it loads the compiled code, or compiles it."""

from __future__ import annotations

import numpy as np

from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.records import bar_dt, funding_dt, instrument_dt, signal_dt
from qtsim.sim.market import SymbolInput, build_market
from qtsim.sim.trials import TrialRunner, measure_dt

HOUR_NS = 3_600_000_000_000


def run_smallest_trial() -> None:
    """Run a trial of two bars without signals."""
    bars, signals, instrument = np.zeros(2, bar_dt), np.zeros(2, signal_dt), np.zeros(1, instrument_dt)
    bars["ts_open"] = np.arange(2) * HOUR_NS
    for name in ("open", "high", "low", "close", "mark_open", "mark_high", "mark_low", "mark_close"):
        bars[name] = 1.0
    bars["half_spread"] = np.nan
    instrument["tick_num"] = instrument["lot_num"] = instrument["tick_den"] = instrument["lot_den"] = 1.0
    instrument["max_qty"], instrument["n_brackets"] = np.inf, 1
    instrument["bracket_cap"][0, 0], instrument["bracket_leverage"][0, 0] = np.inf, 1.0
    market = build_market(
        [SymbolInput("WARM", bars, signals, np.zeros(0, funding_dt), instrument, has_mark=False)], HOUR_NS
    )
    params = to_params(resolve(environ={}).settings, HOUR_NS)
    TrialRunner(market).run(params, 10_000.0, np.zeros(1, measure_dt))
