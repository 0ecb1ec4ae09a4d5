"""The data passport of what is stored: what `qtsim data check` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtsim.app.backtest import Stage
from qtsim.config.settings import Settings
from qtsim.data.instruments import load_instruments
from qtsim.data.passport import data_passport
from qtsim.data.quality import check_bars
from qtsim.data.store import Store, StoredSeries
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts, normalize_timeframe, parse_timerange, timeframe_ns
from qtsim.errors import DataError, UsageError


@dataclass(frozen=True)
class DataCheck:
    """Passports of what is sound, and one message per damaged file or bad row."""

    passports: list[dict[str, Any]]
    problems: list[str]


def check_data(
    store: Store,
    settings: Settings,
    symbols: Sequence[str] | None,
    timeframe: str | None,
    timerange: str | None,
    stage: Stage,
) -> DataCheck:
    """Verify stored values against their fingerprints, check bars, and describe them.

    Without symbols: everything in the store, each series in its own timeframe. Errors: UsageError where there is
    nothing to check.
    """
    start, end = parse_timerange(timerange or settings.run.timerange)
    entries, damaged = store.survey()
    if not entries and not damaged:
        raise UsageError(
            f"nothing is stored in {store.folder}: import data with qtsim data import PATH, "
            "or check the generated market with --sample"
        )
    names = None if symbols is None or list(symbols) == ["all"] else [normalize_symbol(name) for name in symbols]
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
    passports: list[dict[str, Any]] = []
    wanted = [pair for pair in _wanted(chosen, names, length, settings.run.timeframe) if pair[0] not in unsound]
    if not wanted and problems:
        return DataCheck([], problems)
    if not wanted:
        raise UsageError(
            f"no {length or ''} bars in {store.folder}".replace("  ", " ") + "; qtsim data list shows what there is"
        )
    table = load_instruments(settings.data.venue)
    for done, (symbol, bars) in enumerate(wanted):
        stage(f"checking {symbol} {bars}", done, len(wanted))
        try:
            found = data_passport(store, [symbol], bars, start, end, table)
            for passport in found:
                if passport["kind"] in ("bars", "mark"):
                    passport["gap_list"] = _gaps(store, symbol, bars, passport["kind"], start, end)
            passports += found
        except DataError as error:
            problems.append(str(error))
    return DataCheck(passports, problems)


def _wanted(
    entries: Sequence[StoredSeries], names: Sequence[str] | None, timeframe: str | None, default: str
) -> list[tuple[str, str]]:
    """Symbol and timeframe of every series to describe; a name without bars is kept, so that it becomes an error."""
    stored = [(e.symbol, e.timeframe) for e in entries if e.kind == "bars"]
    if names is None:
        return [pair for pair in stored if timeframe in (None, pair[1])]
    if timeframe is not None:
        return [(name, timeframe) for name in names]
    have = {symbol for symbol, _ in stored}
    return [*(pair for pair in stored if pair[0] in names), *((name, default) for name in names if name not in have)]


def _gaps(
    store: Store, symbol: str, timeframe: str, kind: str, start: int | None, end: int | None
) -> list[dict[str, Any]]:
    """Each gap: first missing bar, next bar there is, bars missing."""
    frame = store.read_bars(symbol, timeframe, start, end, kind)
    report = check_bars(frame, timeframe_ns(timeframe), symbol=symbol)[1]
    return [{"from": format_ts(a), "to": format_ts(b), "missing": n} for a, b, n in report.gaps]
