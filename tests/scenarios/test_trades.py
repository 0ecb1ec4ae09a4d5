"""Runs on trades, trade by trade: what is due between the trades of a symbol, at the time at which it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.core.enums import Health, Reason
from qtsim.core.records import bar_dt, funding_dt, outage_dt
from qtsim.sim.journals import Journals
from qtsim.sim.market import SymbolInput, build_market
from qtsim.sim.path_trades import PathTrades, path_trades
from qtsim.sim.run import first_difference, run_compiled, run_reference
from qtsim.sim.trades import join_chunk, signal_times
from tests.generated import HOUR, START, empty_signals, instrument, params_of

MINUTE = HOUR // 60
HOURS = 6
SETTINGS: dict[str, Any] = {
    "gates.enabled": False,
    "exit.stops.trail.mode": "off",
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 1.0,
    "exit.base_sl": 0.015,
    "costs.funding.inclusive": "open",
    "sim.end_of_data": "close",
}


def trades_at(prices: dict[float, float], also: tuple[float, ...] = ()) -> PathTrades:
    """Trades by minute from the start; those of `also` happen twice."""
    times = sorted([*prices, *also])
    price = np.array([prices[minute] for minute in times])
    time = START + (np.array(times) * MINUTE).astype(np.int64)
    return path_trades(time, price, np.ones(len(time)), price, np.full(len(time), np.nan))


def run(
    trades: dict[str, PathTrades],
    *,
    long_at: int = 0,
    funding: int | None = None,
    outage: int | None = None,
    **own: Any,
) -> Journals:
    """A run of both drivers, which must agree. long_at: bar at whose close AAA is to be bought."""
    inputs = []
    for name in trades:
        bars = np.zeros(HOURS, bar_dt)
        bars["ts_open"] = START + HOUR * np.arange(HOURS)
        signals = empty_signals(HOURS)
        signals["long"][long_at] = int(name == "AAA" and long_at >= 0)
        events = np.zeros(int(funding is not None), funding_dt)
        if funding is not None:
            events["ts"], events["rate"], events["mark"] = START + funding * MINUTE, 0.001, np.nan
        inputs.append(SymbolInput(name, bars, signals, events, instrument(), False))
    market = build_market(inputs, HOUR)
    if outage is not None:
        rows = np.zeros(1, outage_dt)
        rows["ts"], rows["health"] = START + outage * MINUTE, Health.CRITICAL
        market = market._replace(outages=rows)
    params = params_of({**SETTINGS, **{name.replace("__", "."): value for name, value in own.items()}})
    chunk = join_chunk(list(trades.values()), signal_times(market), [True] * len(trades), horizon=None)
    found = [driver(market, params, 10_000.0, list(trades), trades=[chunk]) for driver in (run_compiled, run_reference)]
    assert first_difference(*found) is None
    return found[0]


def test_a_position_grows_old_between_two_of_its_trades() -> None:
    """Another symbol's trade comes first after the age is reached; the position's own next trade ends it."""
    own = dict.fromkeys(range(0, 201, 10), 100.0) | {230: 99.7, 240: 99.7, 300: 99.7}
    result = run(
        {"AAA": trades_at(own), "BBB": trades_at({0: 50.0, 220: 50.0, 225: 50.0, 300: 50.0})},
        exit__guard__stale__hours=2.5,
        exit__guard__stale__stop_share=0.1,
    )
    assert list(result.trades["exit_reason"]) == [Reason.STALE]
    assert list(result.trades["exit_ts"]) == [START + 230 * MINUTE]


@pytest.mark.parametrize("at", [119.5, 118.0])
def test_a_cycle_by_the_clock_acts_at_its_own_time(at: float) -> None:
    """The cycle at 02:00 sees the last trade's price; what it closes is closed at 02:00."""
    result = run(
        {"AAA": trades_at({0: 100.0, 60: 100.0, at: 97.0, 190: 97.0, 300: 97.0})},
        exit__monitoring="interval",
        exit__check_interval_s=1200.0,
        exit__stops__hard__working_type="mark",
        exit__stops__hard__distance=0.05,
    )
    assert list(result.fills["ts"]) == [START + HOUR, START + 2 * HOUR]
    assert list(result.decisions["ts"]) == list(result.fills["ts"])


def test_the_governor_judges_a_flat_account_at_a_trade_at_the_instant_of_a_cycle() -> None:
    result = run(
        {"AAA": trades_at(dict.fromkeys((0, 60, 135, 140, 145, 200, 300), 100.0))},
        long_at=-1,
        outage=130,
        gates__enabled=True,
        exit__monitoring="interval",
        exit__check_interval_s=600.0,
    )
    assert list(result.governor["ts"]) == [START + 140 * MINUTE]


def test_an_entry_at_a_funding_time_is_charged_once_however_many_trades_that_instant_has() -> None:
    prices = dict.fromkeys((0, 60, 130, 200, 300), 100.0)
    result = run({"AAA": trades_at(prices, (60, 60, 60))}, funding=60, costs__funding__inclusive="both")
    assert list(result.funding["ts"]) == [START + HOUR]


def test_an_entry_is_sized_by_the_spread_that_it_pays() -> None:
    """20 bps each way at the trade: the margin with it is at its limit, not beyond."""
    trades = trades_at(dict.fromkeys(range(0, 301, 10), 100.0))
    trades.half_spread[:] = 0.002
    result = run(
        {"AAA": trades},
        costs__slippage__model="spread",
        sizing__model="fraction",
        sizing__fraction=0.5,
        limits__per_trade__margin=0.15,
    )
    entry = result.fills[0]
    assert entry["price"] == pytest.approx(100.2)
    assert 1_499.0 < entry["qty"] * entry["price"] <= 1_500.0


def test_a_stop_passed_between_two_cycles_acts_at_the_next_while_another_symbol_trades() -> None:
    """From 01:21 until 01:35 the last price is below the stop, and only the other symbol trades."""
    own = dict.fromkeys(range(0, 81), 100.0) | {81: 97.0, 95: 100.0, 300: 100.0}
    result = run(
        {"AAA": trades_at(own), "BBB": trades_at(dict.fromkeys(range(301), 50.0))},
        exit__monitoring="interval",
        exit__check_interval_s=600.0,
        exit__stops__hard__distance=0.05,
    )
    assert list(result.fills["ts"]) == [START + HOUR, START + 90 * MINUTE]


def test_a_loss_made_between_two_cycles_is_judged_at_the_next_while_another_symbol_trades() -> None:
    """From 01:21 until 01:35 the last mark makes the day's loss too large, and only the other symbol trades."""
    own = dict.fromkeys(range(0, 81), 100.0) | {81: 99.0, 95: 100.0, 300: 100.0}
    result = run(
        {"AAA": trades_at(own), "BBB": trades_at(dict.fromkeys(range(301), 50.0))},
        gates__enabled=True,
        governor__daily_drawdown=0.004,
        sizing__fixed_qty=50.0,
        limits__per_trade__margin=0.6,
        exit__monitoring="interval",
        exit__check_interval_s=600.0,
    )
    assert list(result.governor["ts"]) == [START + 90 * MINUTE]


def test_a_leg_that_finds_no_volume_moves_the_stop_at_the_next_cycle() -> None:
    """At 01:30 the first leg gets nothing of the trade and is given up; at 01:40 the cycle tells of its ratchet."""
    trades = trades_at(dict.fromkeys(range(0, 85), 100.0) | dict.fromkeys(range(85, 301), 104.0))
    trades.qty[:] = 100.0
    trades.qty[85:96] = 0.0
    result = run(
        {"AAA": trades},
        exit__monitoring="interval",
        exit__check_interval_s=600.0,
        exit__base_tp=0.03,
        exit__stops__ratchet__preset="breakeven",
        sim__volume__max_share=0.1,
        sim__volume__unfilled="cancel",
    )
    moved = result.decisions[result.decisions["reason"] == Reason.RATCHET]
    assert list(moved["ts"]) == [START + 100 * MINUTE]


def test_a_leg_takes_of_every_trade_what_its_volume_gives() -> None:
    trades = trades_at(dict.fromkeys(range(0, 85), 100.0) | dict.fromkeys(range(85, 301), 104.0))
    trades.qty[:85], trades.qty[85:] = 100.0, 1.0
    result = run(
        {"AAA": trades},
        exit__base_tp=0.03,
        sim__volume__max_share=0.05,
        sim__volume__unfilled="wait",
    )
    assert list(result.fills["ts"][1:4]) == [START + minute * MINUTE for minute in (85, 86, 87)]
    assert list(result.fills["qty"][1:4]) == [0.05, 0.05, 0.05]


def test_the_data_of_one_symbol_end_while_another_trades() -> None:
    result = run({"AAA": trades_at(dict.fromkeys(range(91), 100.0)), "BBB": trades_at(dict.fromkeys(range(301), 50.0))})
    assert list(result.trades["exit_reason"]) == [Reason.END_OF_DATA]
    assert list(result.trades["exit_ts"]) == [START + 90 * MINUTE]


def test_a_trade_without_a_price_among_quiet_ones_is_counted() -> None:
    """Nothing can be judged at it, and nothing is decided."""
    trades = trades_at(dict.fromkeys(range(0, 301), 100.0))
    trades.price[[100, 200]] = np.nan
    result = run({"AAA": trades})
    assert result.counts["nan_points"] > 0
    assert result.fills["ts"][0] == START + HOUR
