"""Latency: none where it is zero, never less than it is set to, and drawn by number alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import Action, FillKind, Reason
from qtsim.core.records import Records
from qtsim.sim.latency import uniform_nb
from tests.generated import HOUR, Case, cases

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
AT_OPENS = {"sim.fill_at": "next_open", "sizing.model": "notional"}
MINUTE = 60_000_000_000


def with_latency(case: Case, *, order: float, jitter: float = 0.0, seed: int = 0) -> Case:
    """order, jitter: ms"""
    params = case.params.copy()
    params["sim"]["latency_ms_order"], params["sim"]["latency_ms_jitter"] = order, jitter
    params["run"]["seed"] = seed
    return replace(case, params=params)


@RELAXED
@given(cases(transfers=True, outages=True, **AT_OPENS), st.integers(0, 2**31))
def test_zero_latency_equals_none(case: Case, seed: int) -> None:
    """Less than a nanosecond is none, byte for byte, whatever the seed."""
    none, tiny = case.compiled(), with_latency(case, order=1e-7, jitter=5e-7, seed=seed).compiled()
    for name in ("trades", "fills", "decisions", "denials", "funding", "equity", "governor"):
        rows: Records = getattr(none, name)
        for field in rows.dtype.names:
            assert rows[field].tobytes() == getattr(tiny, name)[field].tobytes(), f"{name}, {field}"


@RELAXED
@given(
    cases(**{**AT_OPENS, "sim.volume.max_share": "inf", "entry.order.type": "market"}),
    st.sampled_from([1, 7, 40]),
    st.sampled_from([0, 13]),
)
def test_no_order_fills_before_the_exchange_has_it(case: Case, order: int, jitter: int) -> None:
    run = with_latency(case, order=order * 60_000.0, jitter=jitter * 60_000.0).compiled()
    for fill in run.fills[run.fills["kind"] == FillKind.ENTRY]:
        item = case.inputs[int(fill["symbol"])]
        closes = item.bars["ts_open"] + HOUR
        asked = item.signals["long"] if fill["side"] > 0 else item.signals["short"]
        assert ((fill["ts"] - closes[asked == 1]) >= order * MINUTE).any()
    full = run.decisions[run.decisions["action"] == Action.FULL_EXIT_NOW]
    for decision in full[full["reason"] != Reason.END_OF_DATA]:
        fills = run.fills[(run.fills["trade_id"] == decision["trade_id"]) & (run.fills["reason"] == decision["reason"])]
        later = fills[fills["kind"] == FillKind.EXIT]["ts"]
        assert (later >= decision["ts"] + order * MINUTE).all()


def test_draws_are_uniform_and_depend_on_their_three_numbers_alone() -> None:
    draws = np.array([uniform_nb(3, 1, number) for number in range(20_000)])
    assert (draws >= 0.0).all()
    assert (draws < 1.0).all()
    counts, _ = np.histogram(draws, bins=20, range=(0.0, 1.0))
    assert ((counts - 1_000.0) ** 2 / 1_000.0).sum() < 43.8, "chi-square of 19 degrees of freedom at one in a thousand"
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.03
    for other in ((4, 1), (3, 2)):
        beside = np.array([uniform_nb(*other, number) for number in range(20_000)])
        assert abs(np.corrcoef(draws, beside)[0, 1]) < 0.03
    assert uniform_nb(3, 1, 7) == draws[7]
