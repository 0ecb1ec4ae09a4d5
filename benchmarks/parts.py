"""What each part of the engine is worth on recorded bars: `qtsim backtest --ablate` for several strategies in a row.

    python benchmarks/parts.py [--symbols BTCUSDT,ETHUSDT] [--strategies ema_cross] [--timerange 20230101-20250630]

Runs on bars of the workspace's store (`qtsim data import`). Which parts there are, and which settings switch each of
them off, is `qtsim.app.ablation.PARTS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import qtsim as qt
from qtsim.results.ablation import HOW_TO_READ, ablation_rows, left_out_text
from qtsim.results.reach import denied_by_gate


def lines_of(result: qt.Result) -> Iterator[str]:
    """The run itself, then the run without each part."""
    run = result.metrics
    denied = sum(one.count for one in denied_by_gate(result.denials))
    yield f"{'without':<38} {'return %':>9} {'pp':>7} {'max DD %':>9} {'pp':>7} {'trades':>7} {'denied':>8}"
    yield (
        f"{'(the run itself)':<38} {100 * run['Total Return']:9.2f} {'':>7} {100 * run['Max Drawdown']:9.2f}"
        f" {'':>7} {len(result.trades):7,} {denied:8,}"
    )
    for row in ablation_rows(result.ablation):
        yield (
            f"{row.part:<38} {100 * row.total_return:9.2f} {row.return_change_pp:+7.2f} {100 * row.max_drawdown:9.2f}"
            f" {row.drawdown_change_pp:+7.2f} {row.trades:7,} {row.denials:8,}"
        )
    yield f"left out: {left_out_text(result.ablation_left_out)}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="What each part of the engine is worth.")
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT,XRPUSDT,SOLUSDT,BNBUSDT,ATOMUSDT,FILUSDT,NEARUSDT")
    parser.add_argument("--strategies", default="rsi_reversal,ema_cross,trend_pullback")
    parser.add_argument("--timerange", default="20230101-20250630")
    given = parser.parse_args()
    for strategy in given.strategies.split(","):
        print(f"\n{strategy}, 1h, {given.timerange}, {given.symbols}", flush=True)
        result = qt.backtest(
            strategy,
            symbols=given.symbols.split(","),
            timeframe="1h",
            timerange=given.timerange,
            fast=True,
            ablate=True,
        )
        print("\n".join(lines_of(result)), flush=True)
    print(f"\n{HOW_TO_READ}")


if __name__ == "__main__":
    main()
