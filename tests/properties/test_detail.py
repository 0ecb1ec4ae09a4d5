"""Detail mode: signals on one timeline, the path on a finer one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.app.path import detail_rows
from qtsim.core.enums import ExitPolicy, FillKind, Rule
from qtsim.core.records import Records, bar_dt, close_dt, funding_dt, signal_dt
from qtsim.sim.market import SymbolInput, build_market
from qtsim.sim.run import first_difference
from tests.generated import (
    COARSE,
    HOUR,
    START,
    Case,
    case_of,
    cases,
    empty_signals,
    instrument,
    partly_refined,
    with_coarse_signals,
)
from tests.scenarios.candles import CLEAN, symbol

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@RELAXED
@given(cases(transfers=True, latency=True, max_bars=120))
def test_both_drivers_agree_on_a_finer_path(case: Case) -> None:
    finer = with_coarse_signals(case)
    assert first_difference(finer.compiled(), finer.reference()) is None


@RELAXED
@given(cases(transfers=True, max_bars=120), st.integers(0, 2**16 - 1))
def test_both_drivers_agree_where_some_bars_are_finer(case: Case, keeps: int) -> None:
    mixed = partly_refined(case, keeps)
    assert first_difference(mixed.compiled(), mixed.reference()) is None


@pytest.mark.parametrize(("missing", "denied"), [([3], ["expired"]), ([2], []), ([3, 4], ["expired"])])
def test_a_signal_whose_own_close_has_no_price_is_counted(missing: list[int], denied: list[str]) -> None:
    """fill_at = close: the first bar of four hours asks at 04:00; without its last hour there is no price then."""
    hours = np.setdiff1d(np.arange(12), missing)
    item = symbol([(100.0, 100.5, 99.5, 100.0)] * len(hours), at=[int(hour) for hour in hours])
    signals = empty_signals(3)
    signals["ts_close"] = START + COARSE * np.arange(1, 4)
    signals["long"][0] = 1
    case = case_of([item], {**CLEAN, "sim.fill_at": "close"}, 10_000.0)
    item = replace(item, signals=signals)
    case = replace(case, market=build_market([item], COARSE, path_ns=HOUR), inputs=[item])
    run = case.compiled()
    assert first_difference(run, case.reference()) is None
    assert [Rule(int(row["rule"])).name.lower() for row in run.denials] == denied
    assert len(run.denials) + int((run.fills["kind"] == FillKind.ENTRY).sum()) == 1


def test_a_bar_that_opens_inside_another_is_refused() -> None:
    bars = np.zeros(3, bar_dt)
    bars["ts_open"] = [0, HOUR, COARSE]
    bars["length"] = [COARSE, HOUR, COARSE]
    item = SymbolInput("AAA", bars, np.zeros(0, signal_dt), np.zeros(0, funding_dt), instrument(), False)
    with pytest.raises(ValueError, match="one grid"):
        build_market([item], COARSE, path_ns=HOUR)


@RELAXED
@given(cases(max_bars=120, **{"entry.order.type": "market", "sim.volume.unfilled": "cancel"}))
def test_no_trade_before_its_signal_and_bars_are_counted_in_the_signals_timeframe(case: Case) -> None:
    finer = with_coarse_signals(case)
    run = finer.compiled()
    for fill in run.fills[run.fills["kind"] == 0]:
        item = finer.inputs[int(fill["symbol"])]
        known = item.signals["ts_close"] <= fill["ts"]
        assert known.any()
        assert fill["bar"] == known.sum() - (case.params["sim"]["fill_at"][0] == 1), "bars closed before it"
        signal = item.signals[known][-1]
        assert signal["long"] if fill["side"] > 0 else signal["short"]
        assert fill["ts"] - signal["ts_close"] <= COARSE


def cut_into(case: Case, pieces: int) -> Case:
    """The same path, in detail: every bar cut out of its own nearest path."""
    empty = pd.DataFrame({name: np.empty(0) for name in ("open", "high", "low", "close", "volume")})
    inputs: list[SymbolInput] = []
    for item in case.inputs:
        rows, _ = detail_rows(item.bars, HOUR, empty, HOUR // pieces, None)
        signals: Records = item.signals.copy()
        signals["ts_close"] = item.bars["ts_open"] + HOUR
        inputs.append(replace(item, bars=rows, signals=signals, closes=np.zeros(0, close_dt)))
    return replace(case, market=build_market(inputs, HOUR, path_ns=HOUR // pieces), inputs=inputs)


@pytest.mark.parametrize("policy", ["bracket", "exit_brain"])
@RELAXED
@given(
    cases(
        **{
            "gates.enabled": False,
            "exit.stops.trail.mode": "off",
            "exit.monitoring": "continuous",
            "sim.path": "nearest",
            "sim.fill_at": "next_open",
            "sim.end_of_data": "close",
            "account.mode.margin": "isolated",
            "sizing.model": "fixed_qty",
            "sizing.fixed_qty": 0.5,
            "leverage.model": "fixed",
            "leverage.fixed": 5.0,
            "limits.per_trade.margin": "inf",
            "costs.funding.source": "off",
            "sim.volume.max_share": "inf",
        }
    ),
    st.sampled_from([3, 12]),
)
def test_detail_that_holds_the_bars_own_path_changes_no_fill(policy: str, case: Case, pieces: int) -> None:
    """Of fixed levels: what follows the peak moves at the end of each piece, and so more often."""
    case.params["exit"]["policy"] = ExitPolicy[policy.upper()]
    # without mark history: where last and mark move against each other a piece reaches its marks in the last's order;
    # without funding: it is paid on the price of its time, which a piece's own points move
    inputs = [
        replace(item, has_mark=False, closes=np.zeros(0, close_dt), funding=item.funding[:0]) for item in case.inputs
    ]
    case = replace(case, inputs=inputs)
    coarse = Case(build_market(inputs, HOUR), case.params, case.symbols)
    whole, cut = coarse.compiled(diagnose=False), cut_into(case, pieces).compiled(diagnose=False)
    for k in range(len(case.symbols)):
        before, after = (run.fills[run.fills["symbol"] == k] for run in (whole, cut))
        assert list(before["reason"]) == list(after["reason"])
        assert list(before["lots"]) == list(after["lots"])
        np.testing.assert_allclose(before["price"], after["price"], rtol=1e-9)
        assert (np.abs(before["ts"] - after["ts"]) <= HOUR // pieces).all(), "a piece has points of its own"
