"""An entry stands on a signal already given, exceeds no limit when it is made, and has its stops in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from qtsim.core.enums import FillAt, FillKind, Gate, SizingModel
from tests.properties.ledger import AT_OPEN, marks_before, replay, rows_of
from tests.properties.markets import RELAXED, Case, cases

NO_MISSING = cases(missing="no")
AT_ONCE = cases(missing="no", share=("none", "cancel"), order="market")
"""Nothing of an entry comes later than the bar after its signal."""
ROUNDING = 1.0 + 1e-9


@RELAXED
@given(AT_ONCE)
def test_no_entry_exceeds_a_limit_when_it_is_made(case: Case) -> None:
    """Equity and margin in use are those after step 6 of the instant, by the independent ledger."""
    run = case.compiled()
    limits, sizing, costs = (case.params[name][0] for name in ("limits", "sizing", "costs"))
    at_close = case.params["sim"]["fill_at"][0] == FillAt.CLOSE
    instant, equity = (-1, -1), 0.0
    for step in replay(case, run):
        fill = step.row
        if step.phase != AT_OPEN or fill["kind"] != FillKind.ENTRY:
            continue
        if instant != (step.ts, int(at_close)):
            marks = marks_before(case, step.ts, with_open=not at_close)
            instant, equity = (step.ts, int(at_close)), step.ledger.wallet + step.ledger.unrealized(marks)
        rules = case.market.instruments[int(fill["symbol"])]
        notional, qty = float(fill["qty"]) * float(fill["price"]), float(fill["qty"])
        leverage = step.ledger.leverage[int(fill["trade_id"])]
        margin = notional / leverage
        assert 1.0 <= leverage <= max(1.0, limits["per_trade_leverage"])
        assert leverage == np.floor(leverage)
        assert margin <= limits["per_trade_margin"] * equity * ROUNDING
        assert notional <= limits["per_trade_notional"] * ROUNDING
        assert rules["min_qty"] <= qty * ROUNDING
        assert qty <= rules["max_qty"] * ROUNDING
        cap = next(k for k in range(int(rules["n_brackets"])) if notional <= rules["bracket_cap"][k])
        assert leverage <= rules["bracket_leverage"][cap]
        # the size is planned at the highest price the fill can have
        assert notional >= rules["min_notional"] * (1.0 - 0.003)
        if sizing["model"] == SizingModel.MATH:
            assert margin <= sizing["math_max_margin"] * equity * ROUNDING
        elif sizing["model"] == SizingModel.RL:
            assert margin <= 1.25 * sizing["math_max_margin"] * equity * ROUNDING
        elif sizing["model"] == SizingModel.NOTIONAL:
            assert notional <= sizing["notional"] * ROUNDING
        elif sizing["model"] == SizingModel.FRACTION:
            assert margin <= sizing["fraction"] * equity * ROUNDING
        elif sizing["model"] == SizingModel.FIXED_QTY:
            assert qty <= sizing["fixed_qty"] * ROUNDING
        else:
            trade = _planned_stop(run, int(fill["trade_id"]))
            assert notional * (trade + 2 * costs["fees_taker"]) <= sizing["fixed_risk"] * equity * ROUNDING
        if not any(held.is_doubtful for held in step.ledger.open.values()):
            available = step.ledger.wallet - step.ledger.margin()
            assert margin + float(fill["fee"]) <= available * ROUNDING + 1e-9 * case.balance


def _planned_stop(run, trade: int) -> float:  # type: ignore[no-untyped-def]
    """The plan's final stop, a ratio."""
    for rows in (run.trades, run.positions[run.positions["side"] != 0]):
        found = rows_of(rows, trade)
        if len(found):
            return float(found["planned_stop"][0])
    raise AssertionError(trade)


@RELAXED
@given(AT_ONCE)
def test_no_trade_before_its_signal(case: Case) -> None:
    """An entry stands on the symbol's last closed bar, whose close is at most one bar old."""
    run = case.compiled()
    timeframe = case.market.timeframe_ns
    at_close = case.params["sim"]["fill_at"][0] == FillAt.CLOSE
    for fill in run.fills[run.fills["kind"] == FillKind.ENTRY]:
        item = case.inputs[int(fill["symbol"])]
        row = int(fill["bar"]) - (0 if at_close else 1)
        assert row >= 0
        signal, closed = item.signals[row], int(item.bars["ts_open"][row]) + timeframe
        assert int(signal["long"]) - int(signal["short"]) == fill["side"]
        assert 0 <= int(fill["ts"]) - closed <= timeframe
        assert fill["ref_price"] == (item.bars["close"] if at_close else item.bars["open"])[int(fill["bar"])]
    for trade in run.trades:
        assert trade["exit_ts"] >= trade["entry_ts"]


@RELAXED
@given(NO_MISSING)
def test_every_request_becomes_an_entry_or_a_denial(case: Case) -> None:
    run = case.compiled()
    requested = int((case.market.signals["long"] != case.market.signals["short"]).sum())
    entries = len(np.unique(run.fills["trade_id"][run.fills["kind"] == FillKind.ENTRY]))
    if case.params["sim"]["fill_at"][0] == FillAt.NEXT_OPEN:
        assert requested == len(run.denials) + entries + run.counts["pending_at_end"]
    assert (run.denials["gate"] != Gate.NONE).all()


@RELAXED
@given(cases(missing="no", policy=0, levels=("default", "tight", "plain"), leverage=("low", "high", "ilf2")))
def test_internal_stop_hard_stop_and_liquidation_stand_in_this_order(case: Case) -> None:
    run = case.compiled()
    for trade in run.trades:
        side = float(trade["side"])
        assert side * (trade["init_stop_price"] - trade["hard_price"]) >= 0.0
        if not np.isnan(trade["liq_price"]):
            assert side * (trade["hard_price"] - trade["liq_price"]) > 0.0
        targets = side * trade["tp_price"]
        assert (np.diff(targets[~np.isnan(targets)]) > 0.0).all()
