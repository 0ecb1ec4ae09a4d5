"""Wallet, margin, unrealised PnL, fees, funding and quantities add up, at every boundary of generated runs."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from qtsim.core.enums import FillKind
from tests.properties.ledger import MARKED, leverages, marks_before, replay, rows_of
from tests.properties.markets import RELAXED, Case, cases

NO_MISSING = cases(missing="no")


def close_to(value: float, expected: float, scale: float) -> bool:
    """Equal but for the rounding of some hundred sums of amounts up to `scale`."""
    return abs(value - expected) <= 1e-10 * (abs(scale) + 1.0)


@RELAXED
@given(NO_MISSING)
def test_the_account_at_every_boundary_follows_from_fills_funding_and_bars(case: Case) -> None:
    run = case.compiled()
    marked = 0
    for step in replay(case, run):
        if step.phase != MARKED:
            continue
        row, ledger = step.row, step.ledger
        marks = marks_before(case, step.ts)
        gross = sum(held.qty * marks[held.symbol] for held in ledger.open.values())
        scale = case.balance + abs(ledger.wallet) + gross
        assert close_to(row["wallet"], ledger.wallet, scale)
        assert close_to(row["unrealized_pnl"], ledger.unrealized(marks), scale)
        assert close_to(row["equity"], ledger.wallet + ledger.unrealized(marks), scale)
        assert close_to(row["notional"], gross, scale)
        assert row["positions"] == len(ledger.open)
        if not any(held.is_doubtful for held in ledger.open.values()):
            assert close_to(row["margin"], ledger.margin(), scale)
        marked += 1
    assert marked == len(case.market.boundaries) == len(run.equity)


@RELAXED
@given(NO_MISSING)
def test_every_fill_states_the_wallet_after_it(case: Case) -> None:
    run = case.compiled()
    at = 0
    for step in replay(case, run):
        if step.phase == MARKED or "wallet" not in step.row.dtype.names:
            continue
        costs = step.row["fee"] + step.row["liq_fee"]
        # a payment on the same nanosecond may be booked on either side of the fill
        near = np.abs(run.funding["amount"][run.funding["ts"] == step.ts]).sum()
        expected = step.ledger.wallet + step.row["pnl"] - costs
        assert abs(step.row["wallet"] - expected) <= near + 1e-10 * (case.balance + abs(expected))
        at += 1
    assert at == len(run.fills)


@RELAXED
@given(NO_MISSING)
def test_trades_are_the_sums_of_their_fills_and_payments(case: Case) -> None:
    run = case.compiled()
    for trade in run.trades:
        fills, paid = rows_of(run.fills, int(trade["trade_id"])), rows_of(run.funding, int(trade["trade_id"]))
        exits = fills[fills["kind"] != FillKind.ENTRY]
        scale = float(trade["notional"])
        entries = fills[fills["kind"] == FillKind.ENTRY]
        assert exits["lots"].sum() == trade["lots"] == entries["lots"].sum()
        assert close_to(trade["entry_price"] * trade["qty"], (entries["price"] * entries["qty"]).sum(), scale)
        assert close_to(trade["fees"], fills["fee"].sum(), scale)
        assert close_to(trade["slippage"], fills["slippage"].sum(), scale)
        assert close_to(trade["liq_fee"], fills["liq_fee"].sum(), scale)
        assert close_to(trade["price_pnl"], exits["pnl"].sum(), scale)
        assert close_to(trade["funding"], paid["amount"].sum(), scale)
        assert close_to(trade["pnl"], trade["price_pnl"] - trade["fees"] - trade["liq_fee"] + trade["funding"], scale)
        assert close_to(trade["exit_price"] * trade["qty"], (exits["price"] * exits["qty"]).sum(), scale)
        assert exits["reason"][-1] == trade["exit_reason"]
        assert trade["mae"] <= 0.0 <= trade["mfe"]


@RELAXED
@given(NO_MISSING)
def test_the_account_is_the_sum_of_everything_booked(case: Case) -> None:
    run = case.compiled()
    account, fills = run.account[0], run.fills
    scale = case.balance + np.abs(fills["pnl"]).sum()
    assert close_to(account["fees"], fills["fee"].sum(), scale)
    assert close_to(account["slippage"], fills["slippage"].sum(), scale)
    assert close_to(account["liq_fees"], fills["liq_fee"].sum(), scale)
    assert close_to(account["price_pnl"], fills["pnl"].sum(), scale)
    assert close_to(account["funding"], run.funding["amount"].sum(), scale)
    booked = account["price_pnl"] - account["fees"] - account["liq_fees"] + account["funding"]
    assert close_to(account["wallet"], case.balance + booked, scale)
    assert account["closed_trades"] == len(run.trades)


@RELAXED
@given(NO_MISSING)
def test_the_sum_of_fills_is_the_position(case: Case) -> None:
    run = case.compiled()
    held = {int(row["trade_id"]): int(row["lots"]) for row in run.positions if row["side"] != 0}
    left: dict[int, int] = {}
    for fill in run.fills:
        lots = int(fill["lots"]) if fill["kind"] == FillKind.ENTRY else -int(fill["lots"])
        left[int(fill["trade_id"])] = left.get(int(fill["trade_id"]), 0) + lots
        assert left[int(fill["trade_id"])] >= 0, "exits only reduce"
    assert {trade: lots for trade, lots in left.items() if lots} == held
    assert set(left) - set(held) == set(run.trades["trade_id"].tolist())


@RELAXED
@given(cases(missing="no", leverage="high", levels=("tight", "wide"), policy=(0, 1), margin=0))
def test_a_liquidation_costs_the_isolated_margin_at_most(case: Case) -> None:
    run = case.compiled()
    for fill in run.fills[run.fills["kind"] == FillKind.LIQUIDATION]:
        trade = rows_of(run.trades, int(fill["trade_id"]))[0]
        entry = float(trade["entry_price"])
        loss = -float(fill["side"]) * float(fill["qty"]) * (float(fill["price"]) - entry) + float(fill["liq_fee"])
        share = float(fill["qty"]) / float(trade["qty"])
        funded = rows_of(run.funding, int(fill["trade_id"]))["amount"]
        margin = share * float(trade["notional"]) / leverages(run)[int(fill["trade_id"])]
        # payments of any time raise or lower what is lost by no more than themselves
        assert loss <= margin + np.maximum(funded, 0.0).sum() + 1e-9 * float(trade["notional"])
        assert fill["fee"] == 0.0


@RELAXED
@given(cases(missing="no", leverage="high", levels=("tight", "wide"), policy=1, margin=1, limits="none", sizing=(1, 3)))
def test_liquidations_of_a_cross_account_leave_no_debt(case: Case) -> None:
    """Once all that was open at a point is taken over, the wallet holds what is left, and that is never below 0."""
    run = case.compiled()
    liquidations = run.fills[run.fills["kind"] == FillKind.LIQUIDATION]
    for ts in np.unique(liquidations["ts"]):
        rows = np.flatnonzero((run.fills["kind"] == FillKind.LIQUIDATION) & (run.fills["ts"] == ts))
        before = run.fills[: rows[-1] + 1]
        entered = before["trade_id"][before["kind"] == FillKind.ENTRY]
        lots = {int(trade): 0 for trade in entered}
        for fill in before:
            lots[int(fill["trade_id"])] += int(fill["lots"]) * (1 if fill["kind"] == FillKind.ENTRY else -1)
        if not any(lots.values()):
            assert before["wallet"][-1] >= -1e-9 * case.balance
    assert (liquidations["fee"] == 0.0).all()
    assert np.isnan(run.trades["liq_price"]).all()
