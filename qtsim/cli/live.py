"""live, status, orders, resume, kill, replay, diff."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_table, say, say_place
from qtsim.errors import QtsimError

if TYPE_CHECKING:
    from qtsim.research.attribution import Line

orders_app = typer.Typer(no_args_is_help=True, help="Open orders of the account, in both order worlds.")

Mode = Annotated[str | None, typer.Option("--mode", metavar="MODE", help="paper, shadow, testnet or live.")]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="URL", help="Another host, for instance the emulator.")
]
SessionName = Annotated[str | None, typer.Option("--session", metavar="NAME", help="Which session; main by default.")]
WATCH_S = 1.0
LARGEST = 10
"""Trades that `diff` shows without --all."""
CLEAR = "\x1b[2J\x1b[H"


def live(
    mode: Mode = None,
    endpoint: Endpoint = None,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="HASH", help="The settings' hash, in place of typing it.")
    ] = None,
    no_alerts: Annotated[bool, typer.Option("--no-alerts", help="Trade without anybody being told.")] = False,
    no_guardian: Annotated[bool, typer.Option("--no-guardian", help="Do not start the guardian process.")] = False,
    from_run: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN", help="Trade what a run tested, and name what differs."),
    ] = None,
    session: SessionName = None,
    strategy: options.Strategy = None,
    symbols: options.Symbols = None,
    timeframe: options.Timeframe = None,
    config: options.Config = None,
    profile: options.Profile = None,
    sets: options.Set = None,
) -> None:
    """Trade: the session that replays history, against the exchange. Paper unless told otherwise.

    The first Ctrl-C ends in order and names what stays open; the second ends at once; hard stops stay either way.
    docs/how-to/live.md goes through it.

    Examples:

      qtsim live -p BTCUSDT,ETHUSDT -i 15m

      qtsim live --from last --mode live --endpoint http://127.0.0.1:8787 --no-alerts
    """
    import asyncio

    from qtsim.app.live import Wanted, World, plan_live, run_live
    from qtsim.app.repeat import open_repeat
    from qtsim.app.workspace import find_workspace, settings_of

    workspace = find_workspace()
    say_place(workspace.root)
    repeated = open_repeat(workspace, from_run) if from_run is not None else None
    overrides = options.gather_overrides(
        base=repeated.overrides_for(strategy) if repeated else None,
        strategy=strategy,
        symbols=symbols,
        timeframe=timeframe,
        sets=sets,
    )
    for key, value in (("live.session", session), ("live.mode", mode), ("live.endpoint", endpoint)):
        if value is not None:
            overrides[key] = value
    resolved = settings_of(
        workspace, profile=profile or (repeated.profile if repeated else None), files=config or (), overrides=overrides
    )
    wanted = Wanted(
        mode=mode or "",
        endpoint=endpoint or "",
        confirm=confirm or "",
        no_alerts=no_alerts,
        repeated=repeated,
        guardian=not no_guardian,
    )
    world = World(ask=_ask_on_a_terminal())
    plan = plan_live(workspace, resolved, wanted, world)
    note(f"mode {plan.mode} at {plan.hosts.rest} · {', '.join(plan.symbols)} {resolved.settings.run.timeframe}")
    asyncio.run(run_live(plan, world, note))


def _ask_on_a_terminal() -> Any:
    import sys

    return typer.prompt if sys.stdin.isatty() else None


def _access(session: str | None, endpoint: str | None, mode: str | None) -> Any:
    from qtsim.app.account import access_of
    from qtsim.app.workspace import find_workspace, settings_of

    workspace = find_workspace()
    overrides = {"live.session": session} if session else {}
    resolved = settings_of(workspace, overrides=overrides)
    return access_of(workspace, resolved.settings, endpoint=endpoint or "", mode=mode or "")


def status(
    place: Annotated[str, typer.Argument(metavar="[SYMBOL[:SIDE]]", help="One position, with its journal.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second.")] = False,
    session: SessionName = None,
    as_json: options.Json = False,
) -> None:
    """Show a session: account, positions with their levels and stops, orders by kind.

    Example:  qtsim status BTCUSDT --watch
    """
    from qtsim.app.account import read_status

    access = _access(session, None, None)
    while True:
        found = read_status(access, place)
        if as_json:
            print_json(found)
        else:
            if watch:
                say(CLEAR)
            _print_status(found)
        if not watch:
            return
        time.sleep(WATCH_S)


def _print_status(found: dict[str, Any]) -> None:
    from qtsim.data.timeframes import format_ts

    runs = "running" if found["running"] else "NOT running"
    why = f" ({found['why']})" if found["why"] else ""
    say(f"session {found['session']} {runs} · {found['mode']} · {found['state']}{why} · health {found['health']}")
    say(f"equity {found['equity']:,.2f} · wallet {found['wallet']:,.2f} · base {found['base_equity']:,.2f}")
    for name, text in (
        ("latency_ms", "price to request"),
        ("disk_ms", "of it the disk"),
        ("unprotected_ms", "fill to stop"),
    ):
        if found.get(name, {}).get("count"):
            took = found[name]
            say(f"{text} p50 {took['p50']:,.1f} ms · p99 {took['p99']:,.1f} ms · max {took['max']:,.1f} ms")
    if found["positions"]:
        header = ("symbol", "side", "qty", "entry", "price", "stop", "hard stop", "targets", "legs", "pnl")
        rows = [
            (
                one["symbol"],
                one["side"],
                f"{one['qty']:g}",
                f"{one['entry_price']:g}",
                f"{one['price']:g}",
                f"{one['stop']:g}",
                f"{one['hard_stop']:g}",
                " ".join(f"{target:g}" for target in one["targets"]),
                one["legs_hit"],
                f"{one['unrealized']:+,.2f}",
            )
            for one in found["positions"]
        ]
        print_table(header, rows)
    else:
        say("no positions")
    for one in found.get("entries", []):
        say(
            f"entry standing: {one['symbol']} {one['side']} {one['lots']} lots at {one['limit']:g}, "
            f"{one['filled']} filled, until {format_ts(one['until'] * 1_000_000)}"
        )
    for line in found.get("journal", []):
        say(f"  {line['time']} {line['kind']} by {line['module']}, {line['lots']} lots, {line['id']}")


def guardian(session: SessionName = None) -> None:
    """Guard a session from a process of its own: every position keeps a stop on the exchange. For live --no-guardian.

    Guards whatever was started last under the session's name, and waits where nothing was. It may add protection or
    reduce, nothing else. docs/how-to/vps.md runs it beside the program.

    Example:  qtsim guardian
    """
    import asyncio

    from qtsim.app.guardian import guard_always

    access = _access(session, None, None)
    say_place(access.workspace.root)
    asyncio.run(guard_always(access.folder, note))


@orders_app.command("list")
def orders_list(
    session: SessionName = None, endpoint: Endpoint = None, mode: Mode = None, as_json: options.Json = False
) -> None:
    """List open orders: regular and conditional, whose they are, and which protect a position.

    Example:  qtsim orders list
    """
    from qtsim.app.account import list_orders, run

    rows = run(list_orders(_access(session, endpoint, mode)))
    if as_json:
        print_json({"orders": rows})
        return
    header = ("symbol", "side", "kind", "status", "trigger", "limit", "whose", "protects", "id")
    print_table(
        header,
        [
            (
                row["symbol"],
                row["side"],
                row["kind"],
                row["status"],
                f"{row['trigger']:g}",
                f"{row['price']:g}",
                "ours" if row["ours"] else "others",
                "yes" if row["protects"] else "",
                row["id"],
            )
            for row in rows
        ],
    )


@orders_app.command("cancel")
def orders_cancel(
    symbol: Annotated[str, typer.Argument(metavar="[SYMBOL]", help="Only this symbol's.")] = "",
    include_protection: Annotated[
        bool, typer.Option("--include-protection", help="Stops of open positions too.")
    ] = False,
    others: Annotated[bool, typer.Option("--others", help="Orders of others too.")] = False,
    session: SessionName = None,
    endpoint: Endpoint = None,
    mode: Mode = None,
) -> None:
    """Cancel this session's open orders, in both order worlds; stops of open positions stay unless asked for.

    Example:  qtsim orders cancel BTCUSDT
    """
    from qtsim.app.account import cancel_orders, run

    done, left = run(
        cancel_orders(_access(session, endpoint, mode), symbol, include_protection=include_protection, others=others)
    )
    for row in done:
        say(f"cancelled {row['symbol']} {row['kind']} {row['id']}")
    for text in left:
        note(f"left {text}")
    say(f"{len(done)} cancelled, {len(left)} left")


def resume(
    symbol: Annotated[str, typer.Argument(metavar="[SYMBOL]", help="A symbol that was blacklisted or disabled.")] = "",
    session: SessionName = None,
) -> None:
    """Let trading resume: clears a shutdown and a pause, or a symbol's blacklist.

    Example:  qtsim resume
    """
    from qtsim.app.account import resume as clear

    runs = clear(_access(session, None, None), symbol)
    say("the session resumes" if runs else "the session does not run; it resumes when it is started")


def kill(
    flatten: Annotated[bool, typer.Option("--flatten", help="Close every position at market too.")] = False,
    session: SessionName = None,
    endpoint: Endpoint = None,
    mode: Mode = None,
) -> None:
    """End a session from anywhere; with --flatten close everything, also where no program runs.

    Example:  qtsim kill --flatten
    """
    from qtsim.app.account import kill as end
    from qtsim.app.account import run

    lines = run(end(_access(session, endpoint, mode), flatten=flatten))
    for line in lines:
        say(line)
    if any("STILL OPEN" in line for line in lines):
        raise QtsimError("something is still open; look at the exchange")


def replay(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.")] = "main",
    epoch: Annotated[int | None, typer.Option("--epoch", metavar="N", help="One start of it; all by default.")] = None,
    as_json: options.Json = False,
) -> None:
    """Go through a recorded session again, and compare every decision byte for byte.

    Example:  qtsim replay main
    """
    from qtsim.app.replay import replay_session
    from qtsim.app.workspace import find_workspace

    workspace = find_workspace()
    say_place(workspace.root)
    found = replay_session(workspace, session, epoch)
    if as_json:
        rows = [
            {
                "epoch": one.epoch,
                "inputs": one.inputs,
                "rows": one.decisions,
                "same": one.difference is None,
                "difference": str(one.difference) if one.difference else None,
                "remarks": list(one.remarks),
            }
            for one in found
        ]
        print_json({"session": session, "epochs": rows})
    else:
        for one in found:
            for remark in one.remarks:
                note(f"epoch {one.epoch}: {remark}")
            same = "byte-identical" if one.difference is None else f"DIFFERS\n{one.difference}"
            say(f"epoch {one.epoch}: {one.inputs:,} inputs, {one.decisions:,} rows: {same}")
    if any(one.difference is not None for one in found):
        raise QtsimError("the replay is not what was recorded")


def diff(
    session: Annotated[str, typer.Argument(metavar="LIVE", help="The live session's name.")],
    run: Annotated[str, typer.Argument(metavar="BACKTEST", help="A saved run: its id, a unique prefix, or last.")],
    every: Annotated[bool, typer.Option("--all", help="Every trade, not only those that make up the most.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say why a live session earned another amount than a backtest: trades paired, the gap split into its causes.

    Example:  qtsim diff main last
    """
    from qtsim.app.gap import compare_with_run
    from qtsim.app.workspace import find_workspace

    workspace = find_workspace()
    say_place(workspace.root)
    gap = compare_with_run(workspace, session, run)
    if as_json:
        print_json(gap.to_dict())
        return
    for remark in gap.remarks:
        note(remark)
    found, parts = gap.found, gap.found.parts.to_dict()
    alone = len(found.lines) - found.pairs
    say(f"live {found.live:+,.2f}, backtest {found.backtest:+,.2f}: gap {found.live - found.backtest:+,.2f}")
    say(f"{found.pairs} trades on both sides, {alone} on one alone")
    say()
    print_table(
        ("part", "of the gap"),
        [(name.replace("_", " "), f"{round(part, 4) + 0.0:+,.4f}") for name, part in parts.items()],
        right=("of the gap",),
    )
    lines = sorted(found.lines, key=lambda line: -abs(line.gap))
    shown = lines if every else [line for line in lines if line.gap][:LARGEST]
    if not shown:
        return
    say()
    header = ("entry", "trade", "live", "backtest", "gap", "mostly")
    print_table(header, [_gap_row(line) for line in shown], right=("live", "backtest", "gap"))
    if len(shown) < len(lines):
        say(f"{len(lines) - len(shown)} more with --all")


def _gap_row(line: Line) -> tuple[str, ...]:
    """One trade of a comparison, with the part that its gap is mostly made of."""
    from qtsim.data.timeframes import format_ts

    trip = line.live or line.backtest
    assert trip is not None
    parts = line.parts.to_dict()
    largest = max(parts, key=lambda name: abs(parts[name]))
    mostly = line.why or (largest.replace("_", " ") if parts[largest] else "")
    sides = (f"{one.pnl:+,.2f}" if one else "none" for one in (line.live, line.backtest))
    return (format_ts(trip.entry_ts), f"{trip.symbol} {trip.side}", *sides, f"{line.gap:+,.4f}", mostly)
