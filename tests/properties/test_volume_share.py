"""A share of the volume: never exceeded, and no different from none where it never binds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings

from qtsim.core.enums import FillKind, Reason
from qtsim.sim.run import first_difference
from tests.generated import Case, cases

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LEGS = [int(reason) for reason in (Reason.TP1, Reason.TP2, Reason.TP3, Reason.TP4, Reason.TP5)]


def with_volume(case: Case, volume: float, share: float) -> Case:
    bars, params = case.market.bars.copy(), case.params.copy()
    bars["volume"] = volume
    params["sim"]["volume_max_share"] = share
    return replace(case, market=case.market._replace(bars=bars), params=params)


@RELAXED
@given(cases(transfers=True, outages=True))
def test_a_share_of_one_equals_none_where_orders_are_smaller_than_the_bar(case: Case) -> None:
    none, whole = with_volume(case, 1e9, np.inf).compiled(), with_volume(case, 1e9, 1.0).compiled()
    assert first_difference(none, whole) is None
    assert whole.account["share_bound"][0] == 0


@RELAXED
@given(cases(**{"sim.volume.max_share": 0.1, "gates.enabled": False, "sizing.model": "notional"}))
def test_entries_and_legs_of_a_bar_never_exceed_its_share(case: Case) -> None:
    run = case.compiled()
    filled: Counter[tuple[int, int]] = Counter()
    bound = (run.fills["kind"] == FillKind.ENTRY) | np.isin(run.fills["reason"], LEGS)
    for fill in run.fills[bound]:
        filled[int(fill["symbol"]), int(fill["bar"])] += int(fill["lots"])
    for (symbol, row), lots in filled.items():
        rules, first = case.market.instruments[symbol], int(case.market.bar_offsets[symbol])
        most = 0.1 * case.market.bars["volume"][first + row]
        assert lots * rules["lot_num"] / rules["lot_den"] <= most * (1 + 1e-9)


@RELAXED
@given(cases(**{"sim.volume.max_share": 0.1, "sim.volume.unfilled": "wait"}))
def test_the_entry_price_is_volume_weighted(case: Case) -> None:
    run = case.compiled()
    for trade in run.trades:
        parts = run.fills[(run.fills["trade_id"] == trade["trade_id"]) & (run.fills["kind"] == FillKind.ENTRY)]
        assert parts["lots"].sum() == trade["lots"]
        np.testing.assert_allclose((parts["price"] * parts["qty"]).sum() / parts["qty"].sum(), trade["entry_price"])
        assert parts["ts"][0] == trade["entry_ts"]
