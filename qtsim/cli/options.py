"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.errors import UsageError

Strategy = Annotated[
    str | None,
    typer.Option("--strategy", "-s", metavar="NAME", help="A name, file.py[:Class], or a signal table .parquet/.csv."),
]
Symbols = Annotated[
    list[str] | None,
    typer.Option(
        "--symbols",
        "--pairs",
        "-p",
        metavar="LIST",
        help="Symbols, comma-separated or repeated: BTCUSDT, BTC/USDT:USDT, all.",
    ),
]
Timeframe = Annotated[
    str | None, typer.Option("--timeframe", "-i", metavar="TF", help="Length of the bars: 1m, 15m, 1h, 1d.")
]
Detail = Annotated[
    str | None,
    typer.Option("--timeframe-detail", "--detail", metavar="TF", help="Finer bars for the path inside each bar: 1m."),
]
Timerange = Annotated[
    str | None,
    typer.Option(
        "--timerange", metavar="PERIOD", help="UTC, end exclusive, ends may be open: 20230101-20250630, 2024-01-01:."
    ),
]
Config = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings file; repeatable, later ones win."),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="exitbrain-v35, tight, small-account, profit-lock-30x or plain."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; strategy parameters are strategy.NAME. Repeatable."),
]
Instrument = Annotated[
    list[str] | None,
    typer.Option(
        "--instrument",
        metavar="RULES",
        help="A symbol's own rules: XYZUSDT:tick=0.001,lot=1,min_qty=1,min_notional=5. Repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Sample = Annotated[bool, typer.Option("--sample", help="Use the generated sample market (SYNTHETIC).")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run: its id, a unique prefix, a path, or last.")]


def split_symbols(symbols: Sequence[str] | None) -> list[str] | None:
    """Comma-separated or repeated symbols as one list."""
    if not symbols:
        return None
    names = [name.strip() for text in symbols for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--symbols names no symbol; write -p BTCUSDT,ETHUSDT")
    return names


def read_sets(assignments: Sequence[str] | None) -> dict[str, Any]:
    """`--set KEY=VALUE`, in order; the last one of a key counts."""
    from qtsim.config.layers import split_assignment

    return dict(split_assignment(text) for text in assignments or ())


def gather_overrides(
    *,
    base: Mapping[str, Any] | None = None,
    strategy: str | None = None,
    symbols: Sequence[str] | None = None,
    timeframe: str | None = None,
    timerange: str | None = None,
    detail: str | None = None,
    sets: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Everything that the command line says about settings, `base` first."""
    overrides = dict(base or {})
    overrides.update(read_sets(sets))
    named = split_symbols(symbols)
    if strategy is not None:
        overrides["run.strategy"] = strategy
    if named is not None:
        overrides["run.symbols"] = named
    if timeframe is not None:
        overrides["run.timeframe"] = timeframe
    if timerange is not None:
        overrides["run.timerange"] = timerange
    if detail is not None:
        mode = overrides.get("sim.mode", "detail")
        if mode not in ("bars", "detail"):
            raise UsageError(f"--detail {detail} and sim.mode = {mode} contradict each other: leave one of them out")
        overrides["sim.mode"] = "detail"
        overrides["data.detail_timeframe"] = detail
    return overrides


def read_instruments(texts: Sequence[str] | None, store: Any) -> dict[str, Any]:
    """`--instrument SYMBOL:field=value,…` by symbol; other fields are those of the store's table or the shipped."""
    from qtsim.data.instruments import load_instruments, parse_instrument

    if not texts:
        return {}
    table = load_instruments(folder=store.folder)
    parsed = [parse_instrument(text, table) for text in texts]
    return {instrument.symbol: instrument for instrument in parsed}
