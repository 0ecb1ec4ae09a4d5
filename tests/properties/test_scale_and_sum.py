"""Units do not matter, other symbols do not matter where nothing is shared, and neither does the order of the input."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

import qtsim as qt
from qtsim.core.records import Records
from qtsim.sim.market import SymbolInput
from tests.properties.markets import HOUR, RELAXED, Case, cases, make_case

PRICES = ("entry_price", "exit_price", "init_stop_price", "hard_price", "liq_price", "tp_price", "stop_price", "peak")
MONEY = ("notional", "margin", "pnl", "price_pnl", "fees", "slippage", "funding", "liq_fee")


def scaled(item: SymbolInput, price: float, qty: float) -> SymbolInput:
    """The same market in other units of price and quantity."""
    bars, signals, funding, rules = (x.copy() for x in (item.bars, item.signals, item.funding, item.instrument))
    for name in ("open", "high", "low", "close"):
        bars[name] *= price
        bars[f"mark_{name}"] *= price
    bars["volume"] *= qty
    signals["atr"] *= price
    signals["close"] *= price
    funding["mark"] *= price
    rules["tick_num"] *= price
    for name in ("lot_num", "min_qty", "max_qty"):
        rules[name] *= qty
    for name in ("min_notional", "bracket_cap", "bracket_amount"):
        rules[name] *= price * qty
    return SymbolInput(item.symbol, bars, signals, funding, rules, item.has_mark)


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal bit for bit, NaN included."""
    return left.tobytes() == right.tobytes()


@RELAXED
@given(cases(), st.integers(-6, 6), st.integers(-6, 6))
def test_powers_of_two_scale_every_figure_exactly(case: Case, price_power: int, qty_power: int) -> None:
    price, qty = 2.0**price_power, 2.0**qty_power
    money = price * qty
    other = case.with_inputs([scaled(item, price, qty) for item in case.inputs]).with_params(
        sizing__notional=case.params["sizing"]["notional"][0] * money,
        sizing__fixed_qty=case.params["sizing"]["fixed_qty"][0] * qty,
        limits__per_trade_notional=case.params["limits"]["per_trade_notional"][0] * money,
        costs__slippage_large_notional=case.params["costs"]["slippage_large_notional"][0] * money,
    )
    object.__setattr__(other, "balance", case.balance * money)
    run, larger = case.compiled(), other.compiled()
    assert len(run.trades) == len(larger.trades)
    for name in run.trades.dtype.names:
        factor = price if name in PRICES else money if name in MONEY else qty if name == "qty" else None
        expected: Records = run.trades[name] if factor is None else run.trades[name] * factor
        assert same(np.ascontiguousarray(expected), np.ascontiguousarray(larger.trades[name])), name
    for name in ("equity", "wallet", "unrealized_pnl", "margin", "notional"):
        assert same(run.equity[name] * money, np.ascontiguousarray(larger.equity[name])), name


INDEPENDENT = {
    "missing": "no",
    "sizing": (1, 4),
    "leverage": ("low", "high", "simple"),
    "limits": "none",
    "balance": 10_000.0,
    "symbols": (2, 3, 4),
    "end_of_data": (0, 1),
    "margin": 0,
}
"""Quantities that depend on nothing that is shared: not on equity, not on the account's closed trades.

A position left open beyond its symbol's data is funded until the last symbol ends, so `end_of_data = open` is left out:
alone its timeline is shorter.
"""


@RELAXED
@given(cases(**INDEPENDENT))
def test_the_shared_account_is_the_sum_of_its_parts(case: Case) -> None:
    """No limit binds: the wallet is far beyond what all positions need. Feedback of closed trades is off."""
    case = case.with_params(levels__feedback_loss=0.0, levels__feedback_gain=0.0)
    object.__setattr__(case, "balance", 1e9)
    together, sum_of_parts = case.compiled(), 0.0
    for k, item in enumerate(case.inputs):
        alone = case.with_inputs([item]).compiled()
        sum_of_parts += float(alone.account["wallet"][0]) - case.balance
        mine = together.trades[together.trades["symbol"] == k]
        assert len(mine) == len(alone.trades)
        for name in mine.dtype.names:
            if name not in ("trade_id", "symbol"):
                assert same(np.ascontiguousarray(mine[name]), np.ascontiguousarray(alone.trades[name])), name
    made = float(together.account["wallet"][0]) - case.balance
    assert abs(made - sum_of_parts) <= 1e-6 * (1.0 + np.abs(together.fills["pnl"]).sum())


@settings(RELAXED, max_examples=8)
@given(st.integers(0, 2**31), st.permutations(range(3)))
def test_symbol_order_in_the_input_changes_nothing(seed: int, order: list[int]) -> None:
    """Through the public layer, which takes frames in any order."""
    case = make_case(seed, symbols=3, timeframe=HOUR, signals=0.5)
    frames, rules = {}, {}
    for item in case.inputs:
        index = pd.DatetimeIndex(item.bars["ts_open"].view("M8[ns]"), name="time").tz_localize("UTC")
        columns = {name: item.bars[name] for name in ("open", "high", "low", "close", "volume")}
        frames[item.symbol] = pd.DataFrame(columns, index=index)
        rules[item.symbol] = {"tick": 0.1, "lot": 0.001}
    names = list(frames)

    def run(keys: list[str]) -> str:
        result = qt.backtest(
            "ema_cross",
            {name: frames[name] for name in keys},
            timeframe="1h",
            funding="off",
            mark="off",
            instruments={name: rules[name] for name in keys},
            settings={"strategy.fast": 3, "strategy.slow": 7},
            fast=True,
            check=False,
        )
        return result.digest

    assert run(names) == run([names[k] for k in order])
