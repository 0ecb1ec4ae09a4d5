"""What happened does not depend on what comes later, nor on where a run was paused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from qtsim.core.enums import Action, EndOfData
from qtsim.sim.market import SymbolInput
from qtsim.sim.run import CompiledRun, first_difference
from tests.properties.ledger import rows_of
from tests.properties.markets import RELAXED, Case, cases


@RELAXED
@given(cases(), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3))
def test_a_run_split_with_carried_state_equals_one_run(case: Case, cuts: list[float]) -> None:
    """Nothing but the book, the journals and the curve is carried over: all go through bytes at every cut."""
    whole = case.compiled(diagnose=True)
    run = CompiledRun.start(case.market, case.params, case.balance, diagnose=True)
    for cut in [*sorted(cuts), 1.0]:
        run.advance(round(cut * len(case.market.boundaries)))
        carried = [_through_bytes(rows) for rows in (run.book, run.journal, run.curve)]
        run = CompiledRun(case.market, case.params, *carried, diagnose=True)
    assert run.is_done
    assert first_difference(whole, run.journals(case.symbols)) is None


@RELAXED
@given(cases(), st.floats(0.1, 0.9))
def test_removing_future_bars_never_changes_the_past(case: Case, where: float) -> None:
    """Bars, signals and funding from a time on are taken away; everything before it stays byte for byte.

    With `close` and `last_open` a symbol whose data ends earlier closes there, so the comparison ends there too.
    """
    boundaries = case.market.boundaries
    cut = int(boundaries[int(where * len(boundaries))])
    inputs = [_until(item, cut) for item in case.inputs]
    assume(all(len(item.bars) for item in inputs))
    end_of_data, end = case.params["sim"]["end_of_data"][0], cut
    for short, full in zip(inputs, case.inputs, strict=True):
        if len(short.bars) == len(full.bars):
            continue
        last = int(short.bars["ts_open"][-1])
        if end_of_data == EndOfData.LAST_OPEN:
            end = min(end, last)
        elif end_of_data == EndOfData.CLOSE:
            end = min(end, last + case.market.timeframe_ns)
    shortened = case.with_inputs(inputs)
    end = min(end, int(shortened.market.boundaries[-1]))  # where a gap ends the timeline before the cut
    whole, part = case.compiled(), shortened.compiled()
    for name in ("fills", "decisions", "denials", "funding", "equity"):
        full_rows, rows = getattr(whole, name), getattr(part, name)
        full_rows, rows = full_rows[full_rows["ts"] < end], rows[rows["ts"] < end]
        assert len(full_rows) == len(rows), name
        for field in rows.dtype.names:
            assert full_rows[field].tobytes() == rows[field].tobytes(), (name, field)


def _through_bytes(rows: Any) -> Any:
    """The arrays of a named tuple, pickled and read again."""
    read = pickle.loads(pickle.dumps(tuple(rows)))
    return type(rows)(*(x.view(y.dtype) for x, y in zip(read, rows, strict=True)))


def _until(item: SymbolInput, ts: int) -> SymbolInput:
    rows = item.bars["ts_open"] < ts
    funding = item.funding[item.funding["ts"] < ts]
    return SymbolInput(item.symbol, item.bars[rows], item.signals[rows], funding, item.instrument, item.has_mark)


@RELAXED
@given(cases(missing="no"))
def test_journals_are_in_order_stops_only_tighten_and_legs_come_once(case: Case) -> None:
    run = case.compiled()
    for name in ("fills", "decisions", "denials", "equity"):
        assert (np.diff(getattr(run, name)["ts"]) >= 0).all(), name
    for trade in np.unique(run.decisions["trade_id"]):
        rows = rows_of(run.decisions, int(trade))
        assert rows["action"][0] == Action.INIT_NEW_POSITION
        stops = (rows["stop_price"] * rows["side"])[~np.isnan(rows["stop_price"])]
        assert (np.diff(stops) >= 0.0).all()
        legs = rows["leg"][rows["leg"] > 0].tolist()
        assert legs == sorted(legs)
        # one that waits for volume is tried again
        assert case.knobs["share"] == "wait" or len(legs) == len(set(legs))
