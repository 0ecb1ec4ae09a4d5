"""The data passport of what is stored: what `qtsim data check` prints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from qtsim.app.backtest import Stage
from qtsim.config.settings import Settings
from qtsim.data.instruments import load_instruments
from qtsim.data.passport import bars_passport, data_passport, funding_passport
from qtsim.data.quality import check_bars
from qtsim.data.store import ALL_SYMBOLS, Store, StoredSeries
from qtsim.data.symbols import normalize_symbol
from qtsim.data.ticks.passport import ticks_passport
from qtsim.data.ticks.store import KINDS as TICK_KINDS
from qtsim.data.ticks.store import TickStore, range_text
from qtsim.data.timeframes import format_ts, normalize_timeframe, parse_timerange, timeframe_ns
from qtsim.errors import DataError, UsageError


@dataclass(frozen=True)
class DataCheck:
    """Passports of what is sound, and one message per damaged file or bad row."""

    passports: list[dict[str, Any]]
    problems: list[str]


class _Described(NamedTuple):
    passports: list[dict[str, Any]]
    problems: list[str]
    absent: list[UsageError]
    """One per series without bars in the period."""


def check_data(
    store: Store,
    settings: Settings,
    symbols: Sequence[str] | None,
    timeframe: str | None,
    timerange: str | None,
    stage: Stage,
    *,
    ticks_only: bool = False,
) -> DataCheck:
    """Verify stored values against their fingerprints, check bars, trades and quotes, and describe them.

    Without symbols: everything in the store, each series in its own timeframe. Errors: UsageError where there is
    nothing to check; with `ticks_only` where there are no ticks.
    """
    start, end = parse_timerange(timerange or settings.run.timerange)
    names = None if symbols is None or list(symbols) == ["all"] else [normalize_symbol(name) for name in symbols]
    ticks = TickStore.beside(store)
    found = _check_ticks(ticks, names, start, end, stage, required=ticks_only)
    if ticks_only:
        return found
    with_ticks = {symbol for kind in TICK_KINDS for symbol in ticks.symbols(kind)}
    bars = _check_series(store, settings, names, timeframe, (start, end), stage, with_ticks)
    return DataCheck([*bars.passports, *found.passports], [*bars.problems, *found.problems])


def _check_ticks(
    ticks: TickStore, names: Sequence[str] | None, start: int | None, end: int | None, stage: Stage, *, required: bool
) -> DataCheck:
    """Check trades and quotes of the named symbols, of all where none is named."""
    passports: list[dict[str, Any]] = []
    problems: list[str] = []
    for kind in TICK_KINDS:
        for symbol in ticks.symbols(kind) if names is None else names:
            passport, wrong = ticks_passport(ticks, symbol, kind, start, end, stage)
            passports += [passport] if passport else []
            problems += wrong
    if required and not passports and not problems:
        have = sorted({symbol for kind in TICK_KINDS for symbol in ticks.symbols(kind)})
        of = f" of {', '.join(names)}" if names else ""
        raise UsageError(
            f"no trades or quotes{of}{range_text(start, end)} in {ticks.folder}: there are "
            f"{'those of ' + ', '.join(have) if have else 'none'}; qtsim data download --trades gets trades, "
            "qtsim data import PATH reads files of trades and quotes"
        )
    return DataCheck(passports, problems)


def _check_series(
    store: Store,
    settings: Settings,
    names: Sequence[str] | None,
    timeframe: str | None,
    period: tuple[int | None, int | None],
    stage: Stage,
    with_ticks: Collection[str],
) -> DataCheck:
    """Check everything that is one file per series. A symbol with ticks needs no bars."""
    entries, damaged = store.survey()
    if not entries and not damaged and not with_ticks:
        raise UsageError(
            f"nothing is stored in {store.folder}: qtsim data download gets data, qtsim data import PATH reads files, "
            "or check the generated market with --sample"
        )
    length = None if timeframe is None else normalize_timeframe(timeframe)
    problems = [text for path, text in damaged.items() if names is None or {path.stem, path.parent.name} & set(names)]
    chosen = [e for e in entries if names is None or e.symbol in names]
    unsound = {path.parent.name for path in damaged} | {path.stem for path in damaged if path.parent.name == "funding"}
    for done, entry in enumerate(chosen):
        stage(f"reading {entry.key}", done, len(chosen))
        try:
            store.verify(entry)
        except DataError as error:
            problems.append(str(error))
            unsound.add(entry.symbol)
    needless = {e.symbol for e in chosen} | set(with_ticks)
    wanted = [p for p in _wanted(chosen, names, length, settings.run.timeframe, needless) if p[0] not in unsound]
    described = {symbol for symbol, _ in wanted}
    alone = [
        e
        for e in chosen
        if length is None and e.symbol not in unsound and (e.kind == "column" or e.symbol not in described)
    ]
    if not wanted and not alone and not problems and not (with_ticks and length is None):
        raise UsageError(
            f"no {length or ''} bars in {store.folder}".replace("  ", " ") + "; qtsim data list shows what there is"
        )
    needed = set(names or ()) - set(with_ticks)
    found = _describe_bars(store, settings, wanted, period, stage, needed)
    if not found.passports and not found.problems and found.absent and not alone and not with_ticks:
        raise found.absent[0]
    passports = [*found.passports, *(_describe_alone(store, entry) for entry in alone)]
    return DataCheck(passports, [*problems, *found.problems])


def _describe_bars(
    store: Store,
    settings: Settings,
    wanted: Sequence[tuple[str, str]],
    period: tuple[int | None, int | None],
    stage: Stage,
    needed: Collection[str],
) -> _Described:
    """Describe bars with their mark bars and funding; that a needed symbol has none in the period is an error."""
    passports: list[dict[str, Any]] = []
    problems: list[str] = []
    absent: list[UsageError] = []
    table = load_instruments(settings.data.venue, store.folder)
    for done, (symbol, bars) in enumerate(wanted):
        stage(f"checking {symbol} {bars}", done, len(wanted))
        try:
            found = data_passport(store, [symbol], bars, *period, table)
            for passport in found:
                if passport["kind"] in ("bars", "mark"):
                    passport["gap_list"] = _gaps(store, symbol, bars, passport["kind"], *period)
            passports += found
        except DataError as error:
            problems.append(str(error))
        except UsageError as error:
            if symbol in needed:
                raise
            absent.append(error)
    return _Described(passports, problems, absent)


def _describe_alone(store: Store, entry: StoredSeries) -> dict[str, Any]:
    """Describe a whole series that belongs to no bars: mark bars, funding, a column."""
    frame = store.verify(entry)
    if entry.kind == "funding":
        return funding_passport(entry.symbol, frame, source=entry.source)
    if entry.kind == "mark":
        return bars_passport(entry.symbol, entry.timeframe, frame, kind="mark", source=entry.source)
    return {
        "symbol": "" if entry.symbol == ALL_SYMBOLS else entry.symbol,
        "kind": entry.kind,
        "timeframe": entry.name,
        "source": entry.source,
        "fingerprint": entry.fingerprint,
        "rows": entry.rows,
        "start": format_ts(entry.start),
        "end": format_ts(entry.end),
    }


def _wanted(
    entries: Sequence[StoredSeries],
    names: Sequence[str] | None,
    timeframe: str | None,
    default: str,
    needless: Collection[str],
) -> list[tuple[str, str]]:
    """Symbol and timeframe of every series to describe; a name of which nothing is stored is kept, to be an error."""
    stored = [(e.symbol, e.timeframe) for e in entries if e.kind == "bars"]
    if names is None:
        return [pair for pair in stored if timeframe in (None, pair[1])]
    if timeframe is not None:
        return [(name, timeframe) for name in names]
    return [*(p for p in stored if p[0] in names), *((name, default) for name in names if name not in needless)]


def _gaps(
    store: Store, symbol: str, timeframe: str, kind: str, start: int | None, end: int | None
) -> list[dict[str, Any]]:
    """Each gap: first missing bar, next bar there is, bars missing."""
    frame = store.read_bars(symbol, timeframe, start, end, kind)
    report = check_bars(frame, timeframe_ns(timeframe), symbol=symbol)[1]
    return [{"from": format_ts(a), "to": format_ts(b), "missing": n} for a, b, n in report.gaps]
