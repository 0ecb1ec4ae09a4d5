"""The compiled loop equals the plain session, byte for byte: decisions, fills, equity and everything between."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from qtsim.core.enums import Action, MarginMode, Reason, Rule
from qtsim.sim.run import first_difference
from tests.generated import Case, case_of_seed, cases

ROOT = Path(__file__).resolve().parents[2]
RELAXED = settings(max_examples=170, deadline=None, suppress_health_check=list(HealthCheck))


LARGE_AND_LEVERED = {
    "leverage.model": "ilf2",
    "limits.per_trade.leverage": 60.0,
    "sizing.model": "fraction",
    "limits.per_trade.margin": 0.6,
    "gates.enabled": False,
}
"""Where the exchange's bracket refuses the leverage of the notional; seldom met by chance."""


def assert_equal(case: Case, seen: Counter[str] | None = None) -> None:
    compiled, reference = case.compiled(), case.reference()
    difference = first_difference(compiled, reference)
    assert difference is None, difference
    if seen is None:
        return
    seen.update(f"exit {Reason(int(code)).name}" for code in compiled.trades["exit_reason"])
    seen.update(f"fill {Reason(int(code)).name}" for code in compiled.fills["reason"])
    seen.update(f"deny {Rule(int(code)).name}" for code in compiled.denials["rule"])
    seen.update(f"decide {Action(int(code)).name}" for code in compiled.decisions["action"])
    seen["ambiguous"] += compiled.counts["ambiguous_bars"]
    seen["zero-lot legs"] += int(((compiled.decisions["leg"] > 0) & (compiled.decisions["lots"] == 0)).sum())
    seen["open at the end"] += int((compiled.positions["side"] != 0).sum())
    seen["funding"] += len(compiled.funding)
    seen["bound by the volume"] += int(compiled.account["share_bound"][0])
    seen["took time"] += int(compiled.account["delayed"][0])
    for name in ("limits_filled", "limits_timed_out", "limits_cancelled"):
        seen[name] += int(compiled.account[name][0])
    seen["cut short"] += int(compiled.account["parts"][0])
    liquidated = compiled.trades["exit_reason"] == Reason.LIQUIDATION
    if case.params["account"]["mode_margin"][0] == MarginMode.CROSS:
        seen["liquidated in a cross account"] += int(liquidated.sum())
    symbols, entries, exits = (compiled.trades[name] for name in ("symbol", "entry_ts", "exit_ts"))
    for long in np.flatnonzero(compiled.trades["side"] > 0):
        beside = (compiled.trades["side"] < 0) & (symbols == symbols[long])
        seen["both sides at once"] += int((beside & (entries < exits[long]) & (exits > entries[long])).sum())


# Three tests of 170 generated markets each: 510 in all.


@RELAXED
@given(cases(transfers=True, outages=True, latency=True, **{"exit.monitoring": "continuous"}))
def test_continuous_monitoring(case: Case) -> None:
    assert_equal(case)


@RELAXED
@given(cases(transfers=True, outages=True, latency=True, **{"exit.monitoring": "points"}))
def test_points_monitoring(case: Case) -> None:
    assert_equal(case)


@RELAXED
@given(cases(max_bars=40, transfers=True, outages=True, latency=True, **{"exit.monitoring": "interval"}))
def test_interval_monitoring(case: Case) -> None:
    assert_equal(case)


LARGE = {
    "account.mode.margin": "cross",
    "exit.policy": "bracket",
    "exit.bracket.sl": "inf",
    "exit.bracket.tp": "inf",
    "sizing.model": "fraction",
    "sizing.fraction": 0.3,
    "leverage.model": "fixed",
    "limits.per_trade.leverage": 60.0,
    "limits.per_trade.margin": "inf",
    "gates.enabled": False,
}
"""Positions as large as the brackets allow, and nothing that closes them before the exchange does."""


def test_generated_markets_reach_every_outcome() -> None:
    """Parity on markets where nothing happens would prove nothing: 780 fixed ones, and what they must contain."""
    seen: Counter[str] = Counter()
    for seed in range(700):
        assert_equal(case_of_seed(seed), seen)
    for seed in range(40):
        leverage = {"leverage.fixed": 60.0 if seed % 2 else 40.0}
        assert_equal(case_of_seed(seed, max_symbols=4, **LARGE, **leverage), seen)
        assert_equal(case_of_seed(seed, **LARGE_AND_LEVERED), seen)
    exits = (
        "LIQUIDATION HARD_STOP STOP RATCHET BREAKEVEN TRAIL REGIME TP1 TP2 TP3 LOSS_GUARD MARGIN_EMERGENCY STALE CRASH "
        "SIGNAL REVERSE GOVERNOR END_OF_DATA"
    )
    denials = (
        "EXPIRED SIDE_HELD OPPOSITE_IGNORED OPPOSITE_CLOSED COOLDOWN LEVERAGE_BELOW_ONE STOP_TOO_NEAR "
        "NO_LIQUIDATION_ROOM NO_ATR ZERO_LOTS MIN_QTY MIN_NOTIONAL BRACKET_LEVERAGE INSUFFICIENT_MARGIN BRACKET_TRAIL "
        "NO_STOP END_OF_DATA VOLUME_SHARE ORDER_CANCELLED ORDER_STANDS"
    )
    wanted = [f"exit {name}" for name in exits.split()] + [f"deny {rule}" for rule in denials.split()]
    wanted += ["liquidated in a cross account", "both sides at once", "bound by the volume", "cut short", "took time"]
    wanted += ["limits_filled", "limits_timed_out", "limits_cancelled", "deny ORDER_TIMED_OUT"]
    wanted += ["ambiguous", "zero-lot legs", "open at the end", "funding", *(f"fill TP{k}" for k in range(1, 6))]
    wanted += ["decide UPDATE_TP_LIMITS", "decide MOVE_SL"]
    missing = [name for name in wanted if not seen[name]]
    assert not missing, f"never happened: {missing}; seen {dict(seen)}"


def real_run(shared_data: Path, symbols: list[str], timeframe: str, timerange: str, **settings_: object) -> None:
    import pandas as pd

    import qtsim as qt

    folder = shared_data / f"ohlcv_{timeframe}"
    frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in symbols}
    mark = {
        name: pd.read_parquet(shared_data / "mark_1h" / f"{name}.parquet")
        for name in symbols
        if timeframe == "1h" and (shared_data / "mark_1h" / f"{name}.parquet").exists()
    }
    funding = {
        name: pd.read_parquet(shared_data / "funding" / f"{name}.parquet")
        for name in symbols
        if (shared_data / "funding" / f"{name}.parquet").exists()
    }
    result = qt.backtest(
        "ema_cross",
        frames,
        timeframe=timeframe,
        timerange=timerange,
        mark=mark,
        funding=funding,
        settings=dict(settings_),
        verify=True,
        fast=True,
        check=False,
    )
    assert result.verified
    assert len(result.trades) > 10


def test_real_hours(shared_data: Path) -> None:
    real_run(shared_data, ["BTCUSDT"], "1h", "20200101-20250630")


def test_real_minutes(shared_data: Path) -> None:
    real_run(shared_data, ["BTCUSDT"], "1m", "20250504-20250604", **{"exit.on_opposite_signal": "reverse"})


@pytest.mark.parametrize("monitoring", ["continuous", "points", "interval"])
def test_eight_real_symbols_on_one_account(shared_data: Path, monitoring: str) -> None:
    """Gates and governor on, and tight enough to act; real funding and mark where the folder has them."""
    real_run(
        shared_data,
        ["BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT", "BNBUSDT", "ATOMUSDT", "FILUSDT", "NEARUSDT"],
        "1h",
        "20240101-20240401",
        **{
            "exit.monitoring": monitoring,
            "exit.check_interval_s": 600.0,
            "sim.path": "adverse",
            "governor.hourly.loss": 0.002,
            "governor.daily_drawdown": 0.006,
            "governor.streak.losses": 3,
            "governor.shutdown.drawdown": 0.03,
        },
    )


DIGESTS = """
import hashlib
from qtsim.results.result import journals_digest
from tests.generated import case_of, make_inputs
knobs = {"volatility": 0.02, "mark": 0.001, "late": {}, "signal_rate": 0.3, "own_levels": 0.3, "gaps": True,
         "funding_hours": 1, "tick": (1, 10), "lot": (1, 1000), "min_lots": 1, "rate": 0.015}
for seed in range(4):
    inputs = make_inputs(seed, 2, 60, knobs)
    overrides = {"leverage.model": "fixed", "leverage.fixed": [1.0, 5.0, 20.0, 40.0][seed],
                 "limits.per_trade.leverage": 60.0, "sim.path": ["nearest", "adverse"][seed % 2]}
    print(journals_digest(case_of(inputs, overrides).compiled()))
"""


def test_interpreted_kernels_give_the_same_bytes() -> None:
    """The same kernels with numba switched off."""

    def run(**environ: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", DIGESTS],
            cwd=ROOT,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    compiled = run()
    assert len(compiled.split()) == 4
    assert run(NUMBA_DISABLE_JIT="1") == compiled
