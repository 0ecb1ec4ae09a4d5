"""What each part of the engine is worth: one run with everything on, then each gate, rule and exit part off in turn.

    python benchmarks/parts.py [--symbols BTCUSDT,ETHUSDT] [--strategies ema_cross] [--timerange 20230101-20250630]

Runs on bars of the workspace's store (`qtsim data import`). Prints return, maximum
drawdown, trades and denials. A part that is worth something on one market may be worth nothing on the next.
"""

from __future__ import annotations

import argparse
from typing import Any

import qtsim as qt

INF = "inf"
PARTS: dict[str, dict[str, Any]] = {
    "everything on": {},
    "gates and governor off": {"gates.enabled": False},
    "no CHOPPY minimum": {"orchestrator.min_confidence.choppy": 0.0},
    "no RANGING minimum": {"orchestrator.min_confidence.ranging": 0.0},
    "no modes": {
        "orchestrator.defensive.daily_drawdown": 1.0,
        "orchestrator.critical.daily_drawdown": 1.0,
        "orchestrator.defensive.losing_streak": INF,
    },
    "no global regime": {
        "regime.effects.sideways_size": 1.0,
        "regime.effects.sideways_confidence": 0.0,
        "regime.effects.uptrend_size": 1.0,
        "regime.effects.uptrend_short_confidence": 0.0,
    },
    "no CHOPPY size": {"regime.effects.choppy_size": 1.0},
    "no symbol performance": {
        "orchestrator.symbol.min_trades": 256,
        "orchestrator.symbol.disable_losses": INF,
        "orchestrator.symbol.blacklist_losses": INF,
    },
    "no position limits": {f"limits.positions.{name}": INF for name in ("total", "long", "short")},
    "no sector limit": {"limits.sector_share": INF},
    "no correlation limit": {"limits.correlation.max": INF},
    "no exposure limit": {"limits.exposure.max": INF},
    "no NO_NEW_TRADES": {"governor.daily_drawdown": INF},
    "no PAUSE_1H": {"governor.hourly.loss": INF},
    "no DEFENSIVE_EXIT": {"governor.streak.losses": INF},
    "no shutdown": {"governor.shutdown.drawdown": INF},
    "levels not adaptive": {"exit.levels.adaptive": False},
    "no ratchet": {"exit.stops.ratchet.preset": "off"},
    "no trail": {"exit.stops.trail.mode": "off"},
    "no CHOPPY tightening": {"exit.stops.trail.choppy": INF},
    "no loss guard": {"exit.guard.loss.max": INF},
}


def row_of(strategy: str, symbols: list[str], timerange: str, settings: dict[str, Any]) -> str:
    """One run as a line of figures."""
    result = qt.backtest(strategy, symbols=symbols, timeframe="1h", timerange=timerange, settings=settings, fast=True)
    figures = result.metrics
    ours = result.denials[result.denials["gate"] != "signal"]
    return (
        f"{100 * figures['Total Return']:9.2f} {100 * figures['Max Drawdown']:9.2f} {figures['Trades']:7.0f}"
        f" {len(ours):8,} {len(result.governor[result.governor['event'] == 'fires']):9,}"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="What each part of the engine is worth.")
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT,XRPUSDT,SOLUSDT,BNBUSDT,ATOMUSDT,FILUSDT,NEARUSDT")
    parser.add_argument("--strategies", default="rsi_reversal,ema_cross,trend_pullback")
    parser.add_argument("--timerange", default="20230101-20250630")
    given = parser.parse_args()
    for strategy in given.strategies.split(","):
        print(f"\n{strategy}, 1h, {given.timerange}, {given.symbols}")
        print(f"{'':<26} {'return %':>9} {'max DD %':>9} {'trades':>7} {'denied':>8} {'governor':>9}")
        for name, settings in PARTS.items():
            print(f"{name:<26} {row_of(strategy, given.symbols.split(','), given.timerange, settings)}", flush=True)


if __name__ == "__main__":
    main()
