"""The chain of fidelity: one strategy and its settings on coarse bars, on finer bars inside them, and on fine bars.

    python benchmarks/fidelity.py [--symbols BTCUSDT,ETHUSDT,SOLUSDT] [--strategy ema_cross] [--timerange 2025…]

Runs on bars of the workspace's store (`qtsim data import`). Prints the total return of the coarse run with its range
over the two orders of a bar, of the run with the finer path and whether it lies in that range, and of the run on fine
bars, whose signals are others. Then the same with an outage and with a crash of the program.
"""

from __future__ import annotations

import argparse
from typing import Any

import qtsim as qt


def returns(result: qt.Result) -> tuple[float, float, float]:
    """(total return, least and largest over the paths), per cent."""
    values = [100.0 * metrics["Total Return"] for metrics in result.ranges.values()]
    total = 100.0 * result.metrics["Total Return"]
    return total, min([*values, total]), max([*values, total])


def row(name: str, symbol: str, given: argparse.Namespace, **more: Any) -> tuple[str, tuple[float, float, float]]:
    """One run as a line of figures, and its returns."""
    timeframe = more.pop("timeframe", given.timeframe)
    result = qt.backtest(
        given.strategy,
        symbols=symbol,
        timeframe=timeframe,
        timerange=given.timerange,
        settings={"sim.diagnostics.optimism": "off"},
        check=False,
        **more,
    )
    total, low, high = returns(result)
    exits = result.fills[result.fills["kind"] != "entry"]
    share = 100.0 * float(exits["path_dependent"].mean()) if len(exits) else 0.0
    text = f"{name:<28} {total:8.3f}  [{low:7.3f}, {high:7.3f}] {result.metrics['Trades']:7.0f} {share:9.1f}"
    return text, (total, low, high)


def chain(symbol: str, given: argparse.Namespace, title: str, **more: Any) -> None:
    """Print the three runs of one symbol."""
    print(f"\n{symbol}, {given.strategy}, {given.timerange}{title}")
    print(f"{'':<28} {'return %':>8}  {'over the paths':^18} {'trades':>7} {'in doubt':>9}")
    text, (_, low, high) = row(f"{given.timeframe} bars", symbol, given, **more)
    print(text, flush=True)
    text, (total, _, _) = row(
        f"{given.timeframe} with {given.detail} inside", symbol, given, detail=given.detail, **more
    )
    place = (
        "inside"
        if low <= total <= high
        else f"{total - high:+.3f} above"
        if total > high
        else f"{total - low:+.3f} below"
    )
    print(f"{text}   {place} the range of the bars", flush=True)
    print(row(f"{given.detail} bars", symbol, given, timeframe=given.detail, **more)[0], flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description="One strategy on coarse bars, on finer ones inside them, and on fine ones."
    )
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT,SOLUSDT")
    parser.add_argument("--strategy", default="ema_cross")
    parser.add_argument("--timeframe", default="1h")
    parser.add_argument("--detail", default="1m")
    parser.add_argument("--timerange", default="20250505-20250624")
    parser.add_argument("--outage", default="2025-05-12,2025-05-16", help="from, to: the program does not run")
    parser.add_argument("--crash", default="2025-06-01", help="the program stops for good")
    given = parser.parse_args()
    start, end = given.outage.split(",")
    for symbol in given.symbols.split(","):
        chain(symbol, given, "")
        chain(symbol, given, f", not running {start} to {end}", outages=[(start, end, "blind")])
        chain(symbol, given, f", crash at {given.crash}", outages=[(given.crash, "", "blind")])


if __name__ == "__main__":
    main()
