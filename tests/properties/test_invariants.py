"""The simulator's invariants on generated markets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import Action, CappedBy, FillKind, Gate
from qtsim.core.records import Records
from qtsim.sim.journals import Journals
from qtsim.sim.market import SymbolInput, build_market
from qtsim.sim.run import CompiledRun, first_difference
from tests.generated import HOUR, Case, case_of, cases, make_inputs, params_of

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
MONEY = 1e-6
"""Sums of a few hundred amounts of up to 1e6, in floating point; far below a cent."""


@RELAXED
@given(cases(transfers=True))
def test_equity_is_wallet_and_unrealized_pnl(case: Case) -> None:
    run = case.compiled()
    np.testing.assert_allclose(
        run.equity["equity"], run.equity["wallet"] + run.equity["unrealized_pnl"], rtol=0, atol=MONEY
    )
    assert (run.equity["margin"] >= -MONEY).all()
    flat = run.equity["positions"] == 0
    assert (run.equity["unrealized_pnl"][flat] == 0).all()
    assert (run.equity["margin"][flat] == 0).all()


@RELAXED
@given(cases(transfers=True))
def test_wallet_is_the_sum_of_what_was_booked(case: Case) -> None:
    run = case.compiled()
    account = run.account[0]
    fills, funding = run.fills, run.funding
    moved = run.transfers["moved"].sum()
    booked = moved + fills["pnl"].sum() - fills["fee"].sum() - fills["liq_fee"].sum() + funding["amount"].sum()
    assert abs(account["wallet"] - case.balance - booked) < MONEY
    assert abs(account["transfers"] - moved) < MONEY
    assert abs(account["fees"] - fills["fee"].sum()) < MONEY
    assert abs(account["funding"] - funding["amount"].sum()) < MONEY
    assert abs(account["slippage"] - fills["slippage"].sum()) < MONEY
    closed = run.trades["pnl"].sum()
    if not (run.positions["side"] != 0).any():
        assert abs(account["wallet"] - case.balance - moved - closed) < MONEY


@RELAXED
@given(cases())
def test_the_sum_of_fills_is_the_position(case: Case) -> None:
    run = case.compiled()
    still_open = {int(p["trade_id"]): p for p in run.positions if p["side"] != 0}
    for trade_id in np.unique(run.fills["trade_id"]):
        fills = run.fills[run.fills["trade_id"] == trade_id]
        entries = fills[fills["kind"] == FillKind.ENTRY]
        exits = fills[fills["kind"] != FillKind.ENTRY]
        assert len(entries) == 1 or case.params["sim"]["volume_max_share"][0] < np.inf
        left = int(entries["lots"].sum() - exits["lots"].sum())
        assert left >= 0, "exits only reduce"
        expected = int(still_open[int(trade_id)]["lots"]) if int(trade_id) in still_open else 0
        assert left == expected
        assert (exits["lots"] > 0).all()
        assert (exits["ts"] >= entries["ts"][0]).all()


@RELAXED
@given(cases(**{"entry.order.type": "market"}))
def test_no_entry_exceeds_a_limit(case: Case) -> None:
    run = case.compiled()
    limits, sizing = case.params["limits"][0], case.params["sizing"][0]
    wallets = {float(row["ts"]): row for row in run.equity}
    for fill in run.fills[run.fills["kind"] == FillKind.ENTRY]:
        leverage = _leverage_of(run, int(fill["trade_id"]))
        notional = fill["qty"] * fill["price"]
        assert leverage <= limits["per_trade_leverage"]
        row = wallets[float(fill["ts"])]
        if run.equity["positions"][run.equity["ts"] == fill["ts"]][0] == 0 and _fills_at(run, int(fill["ts"])) == 1:
            equity = float(row["equity"])
            assert notional / leverage <= limits["per_trade_margin"] * equity * (1 + 1e-9)
            if sizing["model"] == 0:
                most = sizing["math_max_margin"] * case.params["regime"][0]["effects_uptrend_size"] * 1.1
                assert notional / leverage <= most * equity * (1 + 1e-9), "the model's cap times the largest factors"


def _leverage_of(run: Journals, trade_id: int) -> float:
    for rows in (run.trades, run.positions[run.positions["side"] != 0]):
        found = rows[rows["trade_id"] == trade_id]
        if len(found):
            return float(found["leverage"][0])
    raise AssertionError(trade_id)


def _fills_at(run: Journals, ts: int) -> int:
    return int((run.fills["ts"] == ts).sum())


@RELAXED
@given(cases(**{"sim.volume.unfilled": "cancel", "entry.order.type": "market"}))
def test_no_trade_before_its_signal(case: Case) -> None:
    run = case.compiled()
    for trade in run.trades:
        i = int(trade["symbol"])
        first = int(case.market.bar_offsets[i])
        signals = case.market.signals[first : case.market.bar_offsets[i + 1]]
        opens = case.market.bars["ts_open"][first : case.market.bar_offsets[i + 1]]
        asked = signals["long"] if trade["side"] > 0 else signals["short"]
        closes = opens[asked == 1] + HOUR
        age = trade["entry_ts"] - closes
        assert ((age >= 0) & (age <= HOUR)).any(), "an entry stands on a signal at most one bar old"
        assert trade["exit_ts"] >= trade["entry_ts"]


@RELAXED
@given(cases())
def test_stops_only_tighten(case: Case) -> None:
    run = case.compiled()
    for trade_id in np.unique(run.decisions["trade_id"]):
        rows = run.decisions[run.decisions["trade_id"] == trade_id]
        stops = rows["stop_price"][~np.isnan(rows["stop_price"])] * rows["side"][0]
        assert (np.diff(stops) >= 0).all()


@RELAXED
@given(cases(**{"account.mode.margin": "isolated"}))
def test_losses_stay_within_the_isolated_margin(case: Case) -> None:
    run = case.compiled()
    for trade in run.trades[run.trades["liq_fee"] > 0]:
        assert -trade["price_pnl"] + trade["liq_fee"] <= trade["margin"] + max(trade["funding"], 0) + MONEY


@RELAXED
@given(cases(transfers=True), st.floats(0.1, 0.9))
def test_a_run_split_in_two_equals_one_run(case: Case, where: float) -> None:
    whole = case.compiled()
    halves = CompiledRun.start(case.market, case.params, case.balance, diagnose=True, draws=case.draws)
    halves.advance(int(len(case.market.boundaries) * where))
    halves.advance(len(case.market.boundaries))
    halves.advance(len(case.market.boundaries) + 1)
    assert first_difference(whole, halves.journals(case.symbols)) is None


@RELAXED
@given(cases(**{"sim.end_of_data": "open"}), st.integers(5, 60))
def test_removing_future_bars_never_changes_the_past(case: Case, keep: int) -> None:
    cut = int(case.market.boundaries[0]) + keep * HOUR
    inputs = [_until(item, cut) for item in case.inputs]
    assume(all(len(item.bars) for item in inputs))
    short = Case(build_market(inputs, HOUR), case.params, case.symbols)
    whole, part = case.compiled(), short.compiled()
    end = int(short.market.boundaries[-1])
    for name in ("fills", "decisions", "denials"):
        full, rows = getattr(whole, name), getattr(part, name)
        assert full[full["ts"] < end].tobytes() == rows[rows["ts"] < end].tobytes(), name
    n = int((part.equity["ts"] < end).sum())
    assert whole.equity[:n].tobytes() == part.equity[:n].tobytes()


def _until(item: SymbolInput, ts: int) -> SymbolInput:
    rows = item.bars["ts_open"] < ts
    return replace(item, bars=item.bars[rows], signals=item.signals[rows], closes=item.closes[item.closes["ts"] <= ts])


ALONE = {
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 0.5,
    "leverage.model": "fixed",
    "leverage.fixed": 5.0,
    "gates.enabled": False,
    "account.mode.margin": "isolated",
}
"""Quantities that depend on nothing, and no limit that binds."""


@RELAXED
@given(
    cases(
        max_symbols=3,
        **{**ALONE, "sim.end_of_data": "close", "limits.per_trade.margin": 0.6, "exit.levels.adaptive": False},
    )
)
def test_the_shared_account_is_the_sum_of_its_parts(case: Case) -> None:
    together = case.compiled(diagnose=False)
    apart = 0.0
    for k, item in enumerate(case.inputs):
        alone = Case(build_market([item], HOUR), case.params, [item.symbol]).compiled(diagnose=False)
        apart += float(alone.account["wallet"][0]) - case.balance
        mine = together.trades[together.trades["symbol"] == k]
        assert len(mine) == len(alone.trades)
        np.testing.assert_array_equal(mine["pnl"], alone.trades["pnl"])
    assert abs(float(together.account["wallet"][0]) - case.balance - apart) < MONEY


POWER = 4.0


def scaled(item: SymbolInput, factor: float) -> SymbolInput:
    """The same market with all prices times a power of two."""
    bars, signals, funding, rules = (x.copy() for x in (item.bars, item.signals, item.funding, item.instrument))
    for name in ("open", "high", "low", "close", "mark_open", "mark_high", "mark_low", "mark_close"):
        bars[name] *= factor
    signals["atr"] *= factor
    signals["close"] *= factor
    signals["thinness"] /= np.sqrt(factor)  # of the traded value
    funding["mark"] *= factor
    rules["tick_num"] *= factor
    rules["bracket_cap"] *= factor
    rules["bracket_amount"] *= factor
    rules["min_notional"] *= factor
    return replace(item, bars=bars, signals=signals, funding=funding, instrument=rules)


@RELAXED
@given(cases())
def test_scaling_prices_and_money_scales_pnl(case: Case) -> None:
    inputs = [scaled(item, POWER) for item in case.inputs]
    params = case.params.copy()
    params["sizing"]["notional"] *= POWER
    params["limits"]["per_trade_notional"] *= POWER
    params["costs"]["slippage_large_notional"] *= POWER
    larger = Case(build_market(inputs, HOUR), params, case.symbols, case.balance * POWER).compiled()
    run = case.compiled()
    assert len(run.trades) == len(larger.trades)
    np.testing.assert_array_equal(run.trades["pnl"] * POWER, larger.trades["pnl"])
    np.testing.assert_array_equal(run.equity["equity"] * POWER, larger.equity["equity"])


BRACKET: dict[str, Any] = {
    "gates.enabled": False,
    "exit.policy": "bracket",
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 2.0,
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
    "costs.slippage.bps": 0.0,
    "costs.fees.taker": 0.0,
    "costs.fees.maker": 0.0,
    "limits.per_trade.margin": 0.6,
    "exit.stops.trail.mode": "off",
}


def one_trade(seed: int, side: int, tp: float, sl: float, mark: float = 0.0) -> list[SymbolInput]:
    """A generated symbol that asks for one entry, at its third bar."""
    knobs = {
        "volatility": 0.01,
        "mark": mark,
        "late": {},
        "signal_rate": 0.0,
        "own_levels": 0.0,
        "gaps": False,
        "funding_hours": 8,
        "tick": (1.0, 0.0),
        "lot": (1, 1000),
        "min_lots": 1,
        "rate": 0.004,
    }
    (item,) = make_inputs(seed, 1, 30, knobs)
    item.signals["exit_long"] = item.signals["exit_short"] = 0
    item.signals["long" if side > 0 else "short"][2] = 1
    item.signals["tp"][2], item.signals["sl"][2] = tp, sl
    return [replace(item, funding=item.funding[:0])]


DRAWS = (st.integers(0, 2**31), st.sampled_from([1, -1]), st.floats(0.002, 0.06), st.floats(0.002, 0.06))


@RELAXED
@given(*DRAWS, st.floats(0, 0.002))
def test_more_fee_never_helps_a_bracket_trade(seed: int, side: int, tp: float, sl: float, fee: float) -> None:
    inputs = one_trade(seed, side, tp, sl)
    free = case_of(inputs, BRACKET).compiled().trades
    charged = case_of(inputs, {**BRACKET, "costs.fees.taker": fee}).compiled().trades
    assert len(free) == len(charged) == 1
    assert charged["pnl"][0] <= free["pnl"][0] + 1e-9
    assert charged["price_pnl"][0] == free["price_pnl"][0], "fees move no price"


@RELAXED
@given(*DRAWS, st.floats(0, 30))
def test_more_slippage_never_helps_a_bracket_trade(seed: int, side: int, tp: float, sl: float, bps: float) -> None:
    """Target and stop absolute: the ratios are chosen so that both runs have the same trigger prices."""
    inputs = one_trade(seed, side, tp, sl)
    free = case_of(inputs, BRACKET).compiled().trades
    entry = float(free["entry_price"][0])
    slipped_entry = entry * (1 + side * bps * 1e-4)
    target, stop = entry * (1 + side * tp), entry * (1 - side * sl)
    own_tp, own_sl = side * (target / slipped_entry - 1), -side * (stop / slipped_entry - 1)
    assume(own_tp > 1e-6 and own_sl > 1e-6)
    moved = one_trade(seed, side, own_tp, own_sl)
    slipped = case_of(moved, {**BRACKET, "costs.slippage.bps": bps}).compiled().trades
    # the ratios give the same prices but for rounding; a path that turns within that is not compared
    assume(slipped["exit_reason"][0] == free["exit_reason"][0])
    assert slipped["pnl"][0] <= free["pnl"][0] + 1e-6


@RELAXED
@given(*DRAWS)
def test_adverse_nearest_favourable_are_ordered_for_a_bracket_trade(seed: int, side: int, tp: float, sl: float) -> None:
    inputs = one_trade(seed, side, tp, sl)
    pnl = {
        path: float(case_of(inputs, {**BRACKET, "sim.path": path}).compiled().trades["pnl"][0])
        for path in ("adverse", "nearest", "favourable")
    }
    assert pnl["adverse"] <= pnl["nearest"] + 1e-9
    assert pnl["nearest"] <= pnl["favourable"] + 1e-9


@RELAXED
@given(cases())
def test_every_signal_is_accounted_for(case: Case) -> None:
    """Signals = denials + entries + those that still wait at the end."""
    run = case.compiled()
    requested = int((case.market.signals["long"] != case.market.signals["short"]).sum())
    entries = len(np.unique(run.fills["trade_id"][run.fills["kind"] == FillKind.ENTRY]))
    assert requested == len(run.denials) + entries + run.counts["pending_at_end"]
    assert (run.denials["gate"] != Gate.NONE).all()
    assert set(run.trades["capped_by"]) <= {int(bound) for bound in CappedBy}


@RELAXED
@given(cases())
def test_at_most_one_leg_per_decision_and_legs_in_order(case: Case) -> None:
    run = case.compiled()
    for trade_id in np.unique(run.decisions["trade_id"]):
        rows = run.decisions[run.decisions["trade_id"] == trade_id]
        legs = rows["leg"][rows["leg"] > 0]
        # a leg that waits for volume is decided on again at each open
        waits = case.params["sim"]["volume_max_share"][0] < np.inf and case.params["sim"]["volume_unfilled"][0] == 0
        assert list(legs) == (sorted(legs.tolist()) if waits else sorted(set(legs.tolist())))
        assert rows["action"][0] == Action.INIT_NEW_POSITION
        assert (rows["ts"][1:] >= rows["ts"][:-1]).all()


def test_division_by_zero_is_an_error_in_kernels() -> None:
    """Kernels are compiled with Python's error model, so that relying on a division by zero would fail every test."""
    from qtsim.core._jit import OPTIONS

    assert OPTIONS["error_model"] == "python"
    assert OPTIONS["fastmath"] is False


def test_params_of_other_settings_differ() -> None:
    """The generator's settings reach the kernels."""
    base: Records = params_of({})
    other: Records = params_of({"exit.base_tp": 0.03})
    assert base["exit"]["base_tp"][0] != other["exit"]["base_tp"][0]
