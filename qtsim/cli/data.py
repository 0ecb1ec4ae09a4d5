"""qtsim data: download, import, list, check, sample, instruments."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from qtsim.cli import options
from qtsim.cli.screen import note, print_json, print_table, progress, progress_or_lines, say, say_place

app = typer.Typer(
    no_args_is_help=True, help="Market data: download, import, list, check, the generated sample, instruments."
)
SHOWN_GAPS = 10


def _store(sets: Any = None, *, sample: bool = False) -> Any:
    from qtsim.app.api import open_store
    from qtsim.app.workspace import find_workspace, settings_of

    workspace = find_workspace()
    say_place(workspace.root)
    resolved = settings_of(workspace, overrides=options.read_sets(sets))
    store = open_store(workspace, resolved, sample=sample)
    note(f"data {store.folder}")
    return store, resolved


@app.command()
def download(
    symbols: options.Symbols = None,
    timeframe: Annotated[
        str | None,
        typer.Option("--timeframe", "-i", metavar="LIST", help="Lengths of the bars, comma-separated: 1h,1m."),
    ] = None,
    timerange: options.Timerange = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kinds", metavar="LIST", help="bars, mark, funding, trades; without it the first three."),
    ] = None,
    trades: Annotated[bool, typer.Option("--trades", help="Single trades too: much larger than all else.")] = False,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Look again for what was missing, and for archives that were replaced.")
    ] = False,
    archives_only: Annotated[
        bool, typer.Option("--archives-only", help="Archives alone: nothing over REST, up to about yesterday.")
    ] = False,
    rules: Annotated[
        bool | None, typer.Option("--instruments/--no-instruments", help="Refresh ticks, lots, minimums and brackets.")
    ] = None,
    ambiguous: Annotated[
        str | None,
        typer.Option("--ambiguous", metavar="RUN", help="Only what a run's ambiguous bars need, of shorter bars: 1m."),
    ] = None,
    config: options.Config = None,
    sets: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Download bars, mark prices and funding from the exchange: complete, verified, resumable. Needs no API key.

    What is stored already is not fetched again; gaps are filled, an earlier start is filled in, and the end is brought
    up to the last closed bar.

    With --ambiguous, finer bars of those hours alone whose path decides a run's exits; the run and its symbols stay as
    they are.

    Examples:

      qtsim data download -p BTCUSDT,ETHUSDT -i 1h --timerange 2023-

      qtsim data download -i 1m --ambiguous last
    """
    from qtsim.app.download import Wanted, download_data
    from qtsim.app.workspace import find_workspace, settings_of
    from qtsim.data.download.report import DownloadError

    workspace = find_workspace()
    say_place(workspace.root)
    resolved = settings_of(workspace, files=config or (), overrides=options.read_sets(sets))
    note(f"data {workspace.data(resolved.settings.data.dir) / resolved.settings.data.venue}")
    wanted = Wanted(
        symbols=options.split_symbols(symbols),
        timeframes=_words("--timeframe", [timeframe] if timeframe is not None else None),
        timerange=timerange,
        kinds=_words("--kinds", kinds),
        trades=trades,
        recheck=recheck,
        archives_only=archives_only,
        rules=rules,
        ambiguous=ambiguous,
    )
    failure: DownloadError | None = None
    with progress_or_lines() as stage:
        try:
            report = download_data(workspace, resolved, wanted, stage)
        except DownloadError as error:
            failure, report = error, error.report
    if as_json:
        print_json(report.as_dict())
    else:
        for series in report.series:
            say(series.describe())
        if report.trade_days:
            say(report.describe_trades())
        for change in report.instruments:
            say(f"instrument {change}")
        if report.series or report.files or ambiguous is None:
            say(f"{report.files:,} archives fetched, {report.bytes / 1e6:,.1f} MB")
    for text in report.notes:
        note(text)
    if failure is not None:
        raise failure


def _words(flag: str, texts: list[str] | None) -> list[str] | None:
    """Comma-separated or repeated words as one list; None where none were given."""
    from qtsim.errors import UsageError

    if texts is None:
        return None
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"{flag} is empty; qtsim data download --help shows what it takes")
    return words


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or a folder.")],
    symbol: Annotated[
        str | None, typer.Option("--symbols", "--pairs", "-p", metavar="SYMBOL", help="Symbol of the file.")
    ] = None,
    timeframe: options.Timeframe = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="bars, mark, funding, trades or quotes.")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", metavar="NAME", help="Import a series of your own under this name.")
    ] = None,
    sets: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Import bars, funding, trades and quotes: CSV, Parquet, Feather, JSON, recorded streams; a folder in one go.

    Importing the same again changes nothing.

    Examples:

      qtsim data import ~/freqtrade/user_data/data/binance/futures

      qtsim data import btc.csv -p BTCUSDT -i 1h

      qtsim data import BTCUSDT-aggTrades-2024-01-01.zip
    """
    from qtsim.data.importer import FolderImportError, import_path

    store, resolved = _store(sets)
    failure: FolderImportError | None = None
    with progress() as stage:
        try:
            reports = import_path(
                store,
                path.expanduser(),
                symbol=symbol,
                timeframe=timeframe,
                kind=kind,
                column=column,
                on_bad_rows=resolved.settings.data.on_bad_rows,
                progress=lambda done, total, file: stage(f"importing {file.name}", done, total),
            )
        except FolderImportError as error:
            failure, reports = error, error.reports
    if as_json:
        print_json(
            {
                "files": [
                    {
                        "path": r.path,
                        "status": r.status,
                        "symbol": r.symbol,
                        "timeframe": r.timeframe,
                        "kind": r.kind,
                        "added": r.added,
                        "changed": r.changed,
                        "change": r.change,
                        "unchanged": r.unchanged,
                        "message": r.message,
                    }
                    for r in reports
                ]
            }
        )
    else:
        for report in reports:
            say(f"{report.path.name}: {report.describe()}")
        counts = Counter(report.status for report in reports)
        files = len({report.path for report in reports})
        if files > 1:
            series = f", {len(reports)} series" if len(reports) > files else ""
            say(f"{files} files{series}: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    if failure is not None:
        raise failure


@app.command("list")
def list_(sample: options.Sample = False, as_json: options.Json = False) -> None:
    """List what is stored.

    Example:  qtsim data list
    """
    from qtsim.data.timeframes import format_ts

    store, _ = _store(sample=sample)
    entries, damaged = store.survey()
    ticks, damaged_days = _survey_ticks(store)
    damaged = {**damaged, **damaged_days}
    if as_json:
        print_json(
            {
                "damaged": [{"path": path, "problem": problem} for path, problem in damaged.items()],
                "series": [
                    {
                        "kind": e.kind,
                        "symbol": e.symbol,
                        "timeframe": e.timeframe,
                        "name": e.name,
                        "rows": e.rows,
                        "start": format_ts(e.start),
                        "end": format_ts(e.end),
                        "source": e.source,
                    }
                    for e in entries
                ],
                "ticks": [
                    {
                        "kind": row.kind,
                        "symbol": row.symbol,
                        "days": row.days,
                        "rows": row.rows,
                        "start": format_ts(row.start),
                        "end": format_ts(row.end),
                        "source": row.source,
                    }
                    for row in ticks
                ],
            }
        )
    else:
        _print_list(entries, ticks, damaged)
    for problem in damaged.values():
        note(f"error: {problem}")
    if damaged:
        raise typer.Exit(1)


def _survey_ticks(store: Any) -> Any:
    """Stored trades and quotes by symbol, and what is wrong with files of them that cannot be used."""
    from qtsim.data.ticks.passport import survey_ticks
    from qtsim.data.ticks.store import TickStore

    return survey_ticks(TickStore.beside(store))


def _print_list(entries: Any, ticks: Any, damaged: Any) -> None:
    """One line per series; a file that cannot be used is marked as damaged."""
    from qtsim.data.timeframes import format_ts

    if not entries and not ticks and not damaged:
        say(
            "nothing is stored; qtsim data download -p BTCUSDT --timerange 2023-, qtsim data import PATH, or "
            "qtsim data sample for a generated market"
        )
        return
    rows = [
        (e.kind, e.symbol, e.timeframe or e.name, f"{e.rows:,}", format_ts(e.start), format_ts(e.end), e.source)
        for e in entries
    ]
    rows += [
        (
            t.kind,
            t.symbol,
            f"{t.days:,} day" + "s" * (t.days > 1),
            f"{t.rows:,}",
            format_ts(t.start),
            format_ts(t.end),
            t.source,
        )
        for t in ticks
    ]
    rows += [("damaged", "", "", "", "", "", str(path)) for path in damaged]
    print_table(("kind", "symbol", "series", "rows", "first", "last", "source"), rows, right=("rows",))


def _days(count: int) -> str:
    return f"{count:,} day" if count == 1 else f"{count:,} days"


@app.command()
def check(
    symbols: options.Symbols = None,
    timeframe: options.Timeframe = None,
    timerange: options.Timerange = None,
    ticks: Annotated[bool, typer.Option("--ticks", help="Check trades and quotes only; there must be some.")] = False,
    sample: options.Sample = False,
    as_json: options.Json = False,
) -> None:
    """Check stored data and print its passport: gaps, zero volumes, outliers, fingerprints.

    Trades and quotes are checked with the bars where there are any. Stored timeframes of a symbol are compared with one
    another. Exit code 1 for damage, and for bars that their finer bars contradict by more than a tick or a lot.

    Examples:

      qtsim data check -p BTCUSDT

      qtsim data check -p BTCUSDT --ticks --timerange 20240801-20240901
    """
    from qtsim.app.passport import check_data

    store, resolved = _store(sample=sample)
    names = options.split_symbols(symbols)
    with progress() as stage:
        found = check_data(store, resolved.settings, names, timeframe, timerange, stage, ticks_only=ticks)
    if as_json:
        comparisons = [comparison.as_dict() for comparison in found.comparisons]
        print_json({"passports": found.passports, "comparisons": comparisons, "problems": found.problems})
    else:
        for passport in found.passports:
            _print_passport(passport)
        for comparison in found.comparisons:
            if not comparison.differing:
                say(comparison.line)
    for problem in found.problems:
        note(f"error: {problem}")
    if found.problems:
        raise typer.Exit(1)


@app.command("sample")
def make_sample(as_json: options.Json = False) -> None:
    """Make the generated sample market (SYNTHETIC), if it is not there yet.

    Example:  qtsim data sample
    """
    from qtsim.data.ticks.sample import sample_ticks

    store, _ = _store(sample=True)
    entries = store.list()
    day = sample_ticks(store)
    if as_json:
        print_json(
            {
                "folder": store.folder,
                "series": [str(entry.key) for entry in entries],
                "ticks": {"symbol": day.symbol, "day": day.day, "trades": day.trades, "quotes": day.quotes},
            }
        )
        return
    say(f"SYNTHETIC sample market in {store.folder}: {len(entries)} series of {', '.join(store.symbols())}")
    say(f"SYNTHETIC ticks: {day.trades:,} trades and {day.quotes:,} quotes of {day.symbol} on {day.day}")
    say("next: qtsim backtest --sample")


@app.command()
def instruments(
    symbol: Annotated[str | None, typer.Argument(metavar="[SYMBOL]", help="One symbol, with its brackets.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show ticks, lots, minimums and maintenance brackets, with their date.

    Example:  qtsim data instruments BTCUSDT
    """
    from qtsim.app.api import open_store
    from qtsim.app.workspace import find_workspace, settings_of
    from qtsim.data.instruments import instrument_for, instrument_sources, load_instruments, read_user_instruments

    workspace = find_workspace()
    folder = open_store(workspace, settings_of(workspace)).folder
    table = load_instruments(folder=folder)
    chosen = [instrument_for(symbol, table, {})] if symbol else list(table.values())
    if as_json:
        print_json({"instruments": [_instrument_dict(item) for item in chosen]})
        return
    rows = [
        (
            i.symbol,
            _step(i.tick),
            _step(i.lot),
            _step(i.min_qty),
            f"{i.min_notional:g}",
            f"{i.max_leverage:g}x",
            i.bracket_date,
        )
        for i in chosen
    ]
    print_table(("symbol", "tick", "lot", "min qty", "min notional", "leverage", "brackets of"), rows)
    if symbol:
        say()
        brackets = [
            (f"{b.cap:,.0f}", f"{b.rate:.2%}", f"{b.amount:,.0f}", f"{b.leverage:g}x") for b in chosen[0].brackets
        ]
        print_table(("notional up to", "maintenance", "amount", "leverage"), brackets)
        if chosen[0].assumed:
            say(f"assumed, not stated by a source: {', '.join(chosen[0].assumed)}")
    own = read_user_instruments(folder)
    for item in chosen:
        if item.symbol in own:
            note(f"{item.symbol}: {item.source}")
    for field, source in instrument_sources().items():
        note(f"{field}: {source}" + (" (shipped table)" if own else ""))


def _print_passport(passport: dict[str, Any]) -> None:
    """One series: a line that names it, a line per fact, and its gaps."""
    say(" ".join(str(passport[name]) for name in ("symbol", "timeframe", "kind") if passport[name]))
    for name, value in passport.items():
        if name in ("symbol", "kind", "timeframe", "gap_list", "longest_gap"):
            continue
        if name == "gaps":
            say(f"  {name:<24} {passport['longest_gap']}")
            continue
        if isinstance(value, list):
            # the passport lists the first outliers and counts all of them
            count = passport["outliers"] if name == "outlier_times" else len(value)
            more = f" and {count - SHOWN_GAPS} more" if count > SHOWN_GAPS else ""
            value = ", ".join(map(str, value[:SHOWN_GAPS])) + more or "none"
        elif isinstance(value, dict):
            value = ", ".join(f"{key}: {count:,}" for key, count in value.items())
        elif isinstance(value, int):
            value = f"{value:,}"
        elif isinstance(value, float):
            value = f"{value:.6g}"
        say(f"  {name.replace('_', ' '):<24} {'n/a' if value is None else value}")
    gaps = passport.get("gap_list", [])
    for gap in gaps[:SHOWN_GAPS]:
        say(f"  {'gap':<24} {gap['missing']:,} missing from {gap['from']}, next bar {gap['to']}")
    if len(gaps) > SHOWN_GAPS:
        say(f"  {'':<24} {len(gaps) - SHOWN_GAPS} more gaps; --json lists them all")


def _instrument_dict(item: Any) -> dict[str, Any]:
    return {
        "symbol": item.symbol,
        "tick": _step(item.tick) or None,
        "lot": _step(item.lot),
        "min_qty": _step(item.min_qty),
        "max_qty": item.max_qty,
        "min_notional": item.min_notional,
        "liquidation_fee": item.liquidation_fee,
        "bracket_date": item.bracket_date,
        "assumed": list(item.assumed),
        "brackets": [b._asdict() for b in item.brackets],
    }


def _step(value: Any) -> str:
    """A step as people write it, without exponent; empty where there is none."""
    return "" if value is None else f"{value:f}"
