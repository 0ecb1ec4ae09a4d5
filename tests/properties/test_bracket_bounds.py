"""One bracket trade, target and stop absolute: costs never help, and the path models bound each other."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from qtsim.core.enums import Monitoring, PathModel, Reason
from qtsim.core.records import Record
from qtsim.sim.market import SymbolInput
from tests.properties.markets import RELAXED, Case, make_case

KNOBS = st.fixed_dictionaries(
    {
        "volatility": st.sampled_from([0.003, 0.01, 0.03]),
        "jumps": st.sampled_from([0.0, 0.2]),
        "gaps": st.sampled_from([0.0, 0.1]),
        "mark": st.sampled_from(["none", "near", "far"]),
        "monitoring": st.sampled_from([0, 1]),
        "on_mark": st.sampled_from([0, 1]),
        "end_of_data": st.sampled_from([0, 1]),
    }
)
SIDES = st.sampled_from([1, -1])
TICKS = st.integers(5, 12_000)


def bracket_case(
    seed: int, knobs: dict[str, object], side: int, up: int, down: int, *, bps: float, fee: float, leverage: float
) -> Case:
    """One request, whose target and stop stand `up` and `down` ticks from the bar's open whatever the entry costs."""
    case = make_case(seed, knobs, policy=1, sizing=4, limits="none", costs="none", funding="none")
    (item,) = case.inputs
    signals = item.signals.copy()
    for name in ("long", "short", "exit_long", "exit_short"):
        signals[name] = 0
    row = 2
    entry_open = float(item.bars["open"][row + 1])
    fill = entry_open * (1.0 + side * bps * 1e-4)
    target, stop = (round(entry_open * 10) + side * up) / 10, (round(entry_open * 10) - side * down) / 10
    assume(min(target, stop) > 0)
    signals["long" if side > 0 else "short"][row] = 1
    signals["tp"][row] = side * (target / fill - 1.0)
    signals["sl"][row] = -side * (stop / fill - 1.0)
    assume(signals["tp"][row] > 1e-6 and signals["sl"][row] > 1e-6)
    inputs = [SymbolInput(item.symbol, item.bars, signals, item.funding, item.instrument, item.has_mark)]
    quantity = 100 * float(item.instrument["lot_num"][0]) / float(item.instrument["lot_den"][0])
    case = case.with_inputs(inputs).with_params(
        sizing__fixed_qty=quantity,
        leverage__fixed=leverage,
        costs__slippage_bps=bps,
        costs__fees_taker=fee,
        entry__cooldown_bars=0,
        sim__fill_at=0,
    )
    object.__setattr__(case, "balance", 1e9)
    return case


def the_trade(case: Case) -> Record:
    """The only trade of a case, once it was entered."""
    trades = case.compiled().trades
    assume(len(trades) == 1)
    return trades[0]


@RELAXED
@given(
    st.integers(0, 2**31),
    KNOBS,
    SIDES,
    TICKS,
    TICKS,
    st.floats(0, 20),
    st.floats(0, 20),
    st.floats(0, 0.002),
    st.floats(0, 0.002),
    st.sampled_from([1.0, 10.0]),
)
def test_more_slippage_or_fee_never_helps(
    seed: int,
    knobs: dict[str, object],
    side: int,
    up: int,
    down: int,
    bps: float,
    more_bps: float,
    fee: float,
    more_fee: float,
    leverage: float,
) -> None:
    """Held where neither trade is liquidated: a higher entry price moves the liquidation price, and a liquidation pays
    neither fee nor slippage, so that a costlier entry can end nearer. Fees alone move no price at all."""
    cheap = the_trade(bracket_case(seed, knobs, side, up, down, bps=bps, fee=fee, leverage=leverage))
    dear = the_trade(
        bracket_case(seed, knobs, side, up, down, bps=bps + more_bps, fee=fee + more_fee, leverage=leverage)
    )
    assume(Reason.LIQUIDATION not in (cheap["exit_reason"], dear["exit_reason"]))
    assert cheap["tp_price"][0] == dear["tp_price"][0]
    assert cheap["init_stop_price"] == dear["init_stop_price"]
    assert dear["pnl"] <= cheap["pnl"] + 1e-9 * cheap["notional"]
    same_slippage = the_trade(bracket_case(seed, knobs, side, up, down, bps=bps, fee=fee + more_fee, leverage=leverage))
    assert same_slippage["price_pnl"] == cheap["price_pnl"]


@RELAXED
@given(st.integers(0, 2**31), KNOBS, SIDES, TICKS, TICKS, st.sampled_from([1.0, 10.0, 40.0]))
def test_adverse_is_not_above_nearest_nor_nearest_above_favourable(
    seed: int, knobs: dict[str, object], side: int, up: int, down: int, leverage: float
) -> None:
    """With `continuous` and `points` both orders of a bar reach the same levels, so what one order closes the other
    closes too, and choosing bar by bar is choosing for the trade. `interval` looks at fixed times: one order may show
    a level there that the other hides, and a choice good for the bar can be bad for the trade; the bound does not hold.
    """
    assert knobs["monitoring"] != Monitoring.INTERVAL
    case = bracket_case(seed, knobs, side, up, down, bps=2.0, fee=0.0005, leverage=leverage)
    adverse, nearest, favourable = (
        float(the_trade(case.with_params(sim__path=path))["pnl"])
        for path in (PathModel.ADVERSE, PathModel.NEAREST, PathModel.FAVOURABLE)
    )
    rounding = 1e-9 * (1.0 + np.abs(nearest))
    assert adverse <= nearest + rounding
    assert nearest <= favourable + rounding
