"""How much of a bar's volume the fills of a run took: orders that the market may not have filled at its price."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qtsim.core.records import Records
from qtsim.data.timeframes import format_ts


def shares_of_volume(fills: Records, bars: Mapping[str, Records]) -> np.ndarray:
    """Quantity of each fill over the volume of the strategy's bar it fell into; inf where nothing was traded.

    fills: fill_row_dt; bars: bar_dt by symbol, in name order. float64, one per fill.
    """
    shares = np.zeros(len(fills))
    for k, rows in enumerate(bars.values()):
        own = fills["symbol"] == k
        volume = rows["volume"][np.minimum(fills["bar"][own], len(rows) - 1)]
        shares[own] = np.where(volume > 0.0, fills["qty"][own] / np.where(volume > 0.0, volume, 1.0), np.inf)
    return shares


def share_texts(fills: Records, bars: Mapping[str, Records], limit: float) -> list[str]:
    """A sentence where fills took more than `limit` of their bar's volume: how many, and the largest."""
    shares = shares_of_volume(fills, bars)
    above = int((shares > limit).sum())
    if not above:
        return []
    most = int(np.argmax(shares))
    size = "all of a bar without any volume" if np.isinf(shares[most]) else f"{100.0 * shares[most]:,.3g} %"
    count = "1 fill" if above == 1 else f"{above:,} of {len(fills):,} fills"
    where = f"{list(bars)[fills['symbol'][most]]} at {format_ts(int(fills['ts'][most]))}"
    return [
        f"{count} took more than {100.0 * limit:g} % of their bar's volume (sim.volume.warn_share), the largest "
        f"{size}, {where}: in the market they would have moved the price"
    ]
