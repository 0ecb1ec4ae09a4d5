"""qtsim emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, say, say_place


def emulator(
    symbols: options.Symbols = None,
    timeframe: options.Timeframe = None,
    timerange: options.Timerange = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Data folder; without it data.dir of the settings.")
    ] = None,
    trades: Annotated[bool, typer.Option("--trades", help="Play single trades instead of bars.")] = False,
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", help="Times real time; funding, bars and trades come so fast.")
    ] = 1.0,
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="The market moves when the client has handled its last event.")
    ] = False,
    latency: Annotated[
        int, typer.Option("--latency", metavar="MS", help="Market time that an order takes to arrive.")
    ] = 0,
    faults: Annotated[Path | None, typer.Option("--faults", metavar="FILE", help="Fault plan, TOML or JSON.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of the fault plan; replaces its own.")
    ] = None,
    tick_fills: Annotated[
        bool, typer.Option("--tick-fills", help="Round slipped prices to the tick, as an exchange would.")
    ] = False,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="0 takes a free one.")] = 8787,
    exit_at_end: Annotated[bool, typer.Option("--exit", help="End when the data end.")] = False,
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
    instruments: options.Instrument = None,
    sample: options.Sample = False,
    as_json: options.Json = False,
) -> None:
    """Serve Binance USDⓈ-M Futures on 127.0.0.1, driven by stored bars or trades: a rehearsal without an exchange.

    Orders fill as in a backtest: at the price of the moment, with fees and slippage of [costs], balance and modes of
    [account]. Ctrl-C ends it. docs/how-to/emulator.md has the fault plan, lockstep, and what differs from the exchange.

    Examples:

      qtsim emulator --sample -p BTCUSDT -i 1m --speed 60

      qtsim emulator -p BTCUSDT,ETHUSDT -i 1m --timerange 20240301-20240308 --lockstep
    """
    from qtsim.app.emulator import Wanted, prepare_emulator, serve_emulator
    from qtsim.app.workspace import find_workspace, settings_of
    from qtsim.data.store import Store
    from qtsim.emulator.sockets import require_aiohttp

    require_aiohttp()
    workspace = find_workspace()
    say_place(workspace.root)
    overrides = options.gather_overrides(symbols=symbols, timeframe=timeframe, timerange=timerange, sets=sets)
    if data is not None:
        overrides["data.dir"] = str(data.expanduser().resolve())
    if trades:
        overrides["sim.mode"] = "ticks"
    resolved = settings_of(workspace, profile=profile, files=config or (), overrides=overrides)
    settings = resolved.settings
    rules = options.read_instruments(instruments, Store(workspace.data(settings.data.dir), settings.data.venue))
    wanted = Wanted(
        host=host,
        port=port,
        speed=speed,
        lockstep=lockstep,
        latency_ms=latency,
        faults=faults,
        seed=seed,
        on_tick=tick_fills,
        exit_at_end=exit_at_end,
        instruments=rules,
    )
    rehearsal = prepare_emulator(workspace, resolved, wanted, sample=sample)
    serve_emulator(rehearsal, wanted, tell=note, report=print_json if as_json else _print_report)


def _print_report(found: dict[str, Any]) -> None:
    """What one needs to connect."""
    for text in found["warnings"]:
        note(text)
    kind = "SYNTHETIC " if found["synthetic"] else ""
    say(f"emulator   {found['rest']} · {found['pace']}")
    say(f"market     {kind}{', '.join(found['symbols'])} {found['timeframe']}, {found['start']} to {found['end']}")
    say(f"account    {found['wallet']:,.2f} USDT · key {found['key']} · secret {found['secret']}")
    say(f"streams    {' '.join(found['streams'])}")
    if found["lockstep"]:
        say(f"lockstep   {found['lockstep']}")
    say(f"control    {found['control']}")
    say(f"next       qtsim live --mode live --endpoint {found['rest']}, in another terminal")
