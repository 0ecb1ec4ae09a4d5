"""Trades as a path: both drivers agree, chunks change nothing, and a path told in trades is the path of its bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtsim.core.enums import FillKind, Reason
from qtsim.core.records import EVALUATIONS_MAX
from qtsim.sim.journals import Journals
from qtsim.sim.market import COUNTERS, Book, SymbolInput
from qtsim.sim.path_trades import PathTrades, path_trades
from qtsim.sim.paths import SEGMENTS, is_high_nearer_nb, segment_time_nb, unfold_bar_nb
from qtsim.sim.run import CompiledRun, first_difference, run_compiled, run_reference
from qtsim.sim.trade_index import TRADE_BLOCK
from qtsim.sim.trades import TradeChunk, join_chunk, signal_times
from tests.generated import HOUR, Case, case_of, cases

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
NOT_BY_TRADES = {"sim.fill_at": "next_open", "sim.path": "nearest"}
"""What trades have no use for: they follow one another as they did."""


@dataclass
class StoppingRun(CompiledRun):
    """A run that stops every so many boundaries, and keeps what it knows there."""

    stride: int = 1
    states: list[dict[str, bytes]] = field(default_factory=list)

    def advance(self, stop_at: int) -> None:
        for stop in [*range(self.stride, stop_at, self.stride), stop_at]:
            super().advance(stop)
            self.states.append(state_of(self.book))


def state_of(book: Book) -> dict[str, bytes]:
    """All of a book that later boundaries read, by name."""
    governor = book.governor[0]
    kept = np.arange(governor["history_first"], governor["history_end"]) % EVALUATIONS_MAX
    tables = {
        "points": book.points,
        "positions": book.positions[book.positions["side"] != 0],
        "account": book.account,
        "governor": book.governor,
        "history": book.history[kept],
        "slots": book.slots[["next_bar", "next_signal", "next_funding", "pending", "looked"]],
    }
    state = {f"{name}.{column}": rows[column].tobytes() for name, rows in tables.items() for column in rows.dtype.names}
    return state | {"counters": book.counters[: len(COUNTERS)].tobytes()}


@dataclass(frozen=True, repr=False)
class TradeCase:
    """A case whose bars only carry the signals, and the trades that are its path."""

    case: Case
    parts: list[PathTrades]

    def __repr__(self) -> str:
        return f"{self.case!r} in {sum(part.rows for part in self.parts)} trades"

    def chunks(self, cuts: list[int]) -> Iterator[TradeChunk]:
        """The trades in stretches that begin at `cuts`, ascending."""
        grid = signal_times(self.case.market)
        edges = [-(2**62), *cuts, 2**62]
        for k in range(len(edges) - 1):
            start, end = edges[k], edges[k + 1]
            rows = [part.where((part.time >= start) & (part.time < end)) for part in self.parts]
            ends = [not (part.time >= end).any() for part in self.parts]
            within = grid[(grid >= start) & (grid < end)]
            yield join_chunk(rows, within, ends, horizon=None if k + 2 == len(edges) else end)

    def compiled(self, cuts: list[int] | None = None, *, skips: bool = True) -> Journals:
        case, trades = self.case, self.chunks(cuts or [])
        return run_compiled(case.market, case.params, case.balance, case.symbols, trades=trades, skips=skips)

    def states(self, cuts: list[int], stride: int, *, skips: bool) -> list[dict[str, bytes]]:
        """What a run that stops every `stride` boundaries of a chunk knows at each stop."""
        case = self.case
        run = StoppingRun.start(case.market, case.params, case.balance, skips=skips)
        run.stride = stride
        for chunk in self.chunks(cuts):
            run.feed(chunk)
        return run.states

    def reference(self, cuts: list[int] | None = None) -> Journals:
        case, trades = self.case, self.chunks(cuts or [])
        return run_reference(case.market, case.params, case.balance, case.symbols, trades=trades)


def random_trades(item: SymbolInput, rng: np.random.Generator) -> PathTrades:
    """A few trades in each bar, some at one instant, some on its edges, hours without any."""
    times, prices, marks = [], [], []
    for bar in item.bars:
        n = int(rng.integers(0, 9))
        at = np.sort(rng.choice([0, HOUR // 7, HOUR // 3, HOUR // 3, HOUR // 2, HOUR - 1], n))
        times.append(bar["ts_open"] + at)
        prices.append(np.maximum(np.round(rng.uniform(bar["low"], bar["high"], n), 1), 0.1))
        marks.append(prices[-1] * np.exp(rng.normal(0.0, 0.001, n) * item.has_mark))
    spread = np.where(rng.random(sum(map(len, times))) < 0.1, 0.001, 0.0002)
    price = np.concatenate(prices)
    return path_trades(np.concatenate(times), price, np.ones(len(price)), np.concatenate(marks), spread)


def dense_trades(item: SymbolInput, rng: np.random.Generator) -> PathTrades:
    """Up to a few hundred trades in each bar, which wander from its open between its extremes to its close.

    Some are at the instant of the one before, or at one of the clock's cycles, more of them at one than a block holds;
    some bars have few, some none. Some trades have next to no volume, some lack their mark.
    """
    times, prices, marks = [], [], []
    for bar in item.bars:
        n = int(rng.choice([0, 3, 40, 150, 400], p=[0.1, 0.1, 0.2, 0.3, 0.3]))
        at = np.sort(rng.integers(0, HOUR, n))
        at[rng.random(n) < 0.1] //= 10_000_000_000
        at[at < 3600] *= 10_000_000_000
        at = np.sort(at)
        same = np.flatnonzero(rng.random(n) < 0.15)
        at[same] = at[np.maximum(same - 1, 0)]
        if n >= 150 and rng.random() < 0.3:
            burst = int(rng.integers(0, n - TRADE_BLOCK))
            at[burst : burst + int(rng.integers(2, 2 * TRADE_BLOCK))] = int(rng.integers(0, 15)) * HOUR // 15
        times.append(bar["ts_open"] + np.sort(at))
        wander = np.linspace(bar["open"], bar["close"], n) + np.cumsum(rng.normal(0.0, 0.0003, n)) * bar["open"]
        prices.append(np.maximum(np.round(np.clip(wander, bar["low"], bar["high"]), 1), 0.1))
        marks.append(prices[-1] * np.exp(rng.normal(0.0, 0.0003, n) * item.has_mark))
    price, mark = np.concatenate(prices), np.concatenate(marks)
    mark[rng.random(len(mark)) < rng.choice([0.0, 0.002])] = np.nan
    qty = rng.choice([1.0, 0.01, 0.0], len(price), p=[0.7, 0.2, 0.1])
    spread = np.where(rng.random(len(price)) < 0.1, 0.001, 0.0002)
    return path_trades(np.concatenate(times), price, qty, mark, spread)


def told_in_trades(case: Case, seed: int, *, dense: bool = False) -> TradeCase:
    """A case with random trades inside its bars."""
    rng = np.random.default_rng([seed, 5])
    tell = dense_trades if dense else random_trades
    return TradeCase(case, [tell(item, rng) for item in case.inputs])


@st.composite
def trade_cases(
    draw: st.DrawFn, *, latency: bool = True, dense: bool = False, **fixed: object
) -> tuple[TradeCase, list[int]]:
    """A case in trades, and where to cut it into chunks."""
    models = st.sampled_from(["math", "notional", "fixed_risk", "fraction", "fixed_qty"])
    slippage = st.sampled_from(["fixed", "spread", "impact"])
    case = draw(
        cases(
            max_bars=25 if dense else 40,
            transfers=True,
            outages=True,
            latency=latency,
            calm=dense and draw(st.booleans()),
            **{
                **NOT_BY_TRADES,
                "sizing.model": draw(models),
                "costs.slippage.model": draw(slippage),
                **fixed,
            },
        )
    )
    cuts = draw(st.lists(st.sampled_from([int(ts) for ts in case.market.boundaries[1:]]), max_size=3, unique=True))
    return told_in_trades(case, draw(st.integers(0, 2**32 - 1)), dense=dense), sorted(cuts)


@RELAXED
@given(trade_cases())
def test_both_drivers_agree_on_trades(drawn: tuple[TradeCase, list[int]]) -> None:
    case, cuts = drawn
    assert first_difference(case.compiled(cuts), case.reference(cuts)) is None


@RELAXED
@given(trade_cases(dense=True))
def test_quiet_trades_may_be_passed_over(drawn: tuple[TradeCase, list[int]]) -> None:
    """Hundreds of trades in a bar, so that whole blocks of them are quiet: the same bytes as visiting each."""
    case, cuts = drawn
    assert first_difference(case.compiled(cuts), case.compiled(skips=False)) is None


@RELAXED
@given(trade_cases(dense=True), st.integers(1, 200))
def test_every_stop_finds_the_state_of_the_plain_steps(drawn: tuple[TradeCase, list[int]], stride: int) -> None:
    """Stops fall inside blocks and instants. What the journals do not tell yet has to be right too."""
    case, cuts = drawn
    assert case.states(cuts, stride, skips=True) == case.states(cuts, stride, skips=False)


@RELAXED
@given(trade_cases())
def test_chunks_change_nothing(drawn: tuple[TradeCase, list[int]]) -> None:
    case, cuts = drawn
    assert first_difference(case.compiled(cuts), case.compiled()) is None


@RELAXED
@given(trade_cases(latency=False, **{"entry.order.type": "market", "sim.volume.unfilled": "cancel"}))
def test_every_fill_is_at_a_trade_after_its_signal(drawn: tuple[TradeCase, list[int]]) -> None:
    case, cuts = drawn
    run = case.compiled(cuts)
    clock = case.case.params["exit"]["monitoring"][0] == 2
    for fill in run.fills[run.fills["kind"] != FillKind.LIQUIDATION]:
        rows = case.parts[int(fill["symbol"])]
        known = rows.where(rows.time <= fill["ts"])
        assert fill["ref_price"] in known.price[known.time == known.time[-1]]
        if fill["kind"] == FillKind.ENTRY or not clock:
            assert known.time[-1] == fill["ts"], "only the clock acts between trades"
        if fill["kind"] == FillKind.ENTRY:
            signals = case.case.market.signals
            first, end = case.case.market.signal_offsets[int(fill["symbol"]) : int(fill["symbol"]) + 2]
            acting = signals[first:end][fill["bar"] - 1]
            assert acting["ts_close"] <= fill["ts"] <= acting["ts_close"] + HOUR


# A path told in trades -----------------------------------------------------------------------------------------------

ON_TICKS = {
    **NOT_BY_TRADES,
    "exit.monitoring": "continuous",
    "exit.stops.trail.mode": "off",
    "exit.legacy.trail_activate": "inf",
    "exit.guard.loss.max": "inf",
    "exit.guard.stale.hours": "inf",
    "exit.guard.stale.crash_volatility": "inf",
    "exit.guard.stale.crash_leader_24h": -1.0,
    "exit.stops.hard.working_type": "last",
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 0.5,
    "costs.funding.source": "off",
    "costs.slippage.model": "fixed",
    "gates.enabled": False,
    "account.mode.margin": "isolated",
    "sim.end_of_data": "close",
}
"""Only triggers that lie on the price grid, so that trades at every tick of the path meet them exactly."""


def every_tick(item: SymbolInput, tick: float) -> PathTrades:
    """A trade at each tick that the bar's path passes, at the time at which it does."""
    times: list[np.ndarray] = []
    prices: list[np.ndarray] = []
    for bar in item.bars:
        points, marks = np.zeros(4), np.zeros(4)
        unfold_bar_nb(bar, bool(is_high_nearer_nb(bar)), False, points, marks)
        ticks = np.round(points / tick).astype(np.int64)
        for k in range(SEGMENTS):
            start = segment_time_nb(int(bar["ts_open"]), HOUR, k)
            end = segment_time_nb(int(bar["ts_open"]), HOUR, k + 1)
            step = 1 if ticks[k + 1] >= ticks[k] else -1
            passed = np.arange(ticks[k] if k == 0 else ticks[k] + step, ticks[k + 1] + step, step)
            if ticks[k] == ticks[k + 1]:
                passed = passed[:0] if k else np.array([ticks[k]])
            share = (passed - ticks[k]) / max(abs(ticks[k + 1] - ticks[k]), 1) * step
            times.append(start + np.floor((end - start) * share).astype(np.int64))
            prices.append(passed / round(1.0 / tick))
        # the close is a point of its bar: it comes before what its signal asks for
        times[-1] = np.minimum(times[-1], bar["ts_open"] + HOUR - 1)
    time, price = np.concatenate(times), np.concatenate(prices)
    return path_trades(time, price, np.ones(len(time)), price, np.full(len(time), np.nan))


@pytest.mark.parametrize("policy", ["bracket", "exit_brain", "legacy"])
@RELAXED
@given(cases(max_symbols=1, max_bars=40, **ON_TICKS))
def test_a_path_told_in_trades_is_the_path_of_its_bars(policy: str, case: Case) -> None:
    """Continuous monitoring, no latency: the same fills at the same prices."""
    item = case.inputs[0]
    rules = item.instrument.copy()
    rules["tick_num"], rules["tick_den"] = 1, 10
    item = replace(item, instrument=rules, has_mark=False)
    plain = case_of([item], {**ON_TICKS, "exit.policy": policy, "exit.bracket.tp": 0.01, "exit.bracket.sl": 0.01})
    bars = plain.compiled(diagnose=False)
    trades = TradeCase(plain, [every_tick(item, 0.1)]).compiled()
    assert list(bars.fills["reason"]) == list(trades.fills["reason"])
    assert list(bars.fills["lots"]) == list(trades.fills["lots"])
    np.testing.assert_allclose(bars.fills["price"], trades.fills["price"], rtol=1e-9)
    on_the_way = bars.fills["reason"] != Reason.END_OF_DATA  # trades end with the last one, bars with their close
    assert (np.abs(bars.fills["ts"] - trades.fills["ts"])[on_the_way] <= 1_000_000_000).all()
