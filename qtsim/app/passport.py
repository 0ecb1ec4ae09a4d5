"""The data passport of what is stored: what `qtsim data check` prints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from qtsim.app.backtest import Stage
from qtsim.config.settings import Settings
from qtsim.data.detail import contradictions
from qtsim.data.download.ledger import FILE, FOLDER, Ledger
from qtsim.data.download.plan import Span, without
from qtsim.data.frames import times_of
from qtsim.data.instruments import Instrument, load_instruments
from qtsim.data.passport import bars_passport, data_passport, funding_passport
from qtsim.data.quality import check_bars
from qtsim.data.resample import divides
from qtsim.data.store import ALL_SYMBOLS, SeriesKey, Store, StoredSeries
from qtsim.data.symbols import normalize_symbol
from qtsim.data.ticks.passport import ticks_passport
from qtsim.data.ticks.store import KINDS as TICK_KINDS
from qtsim.data.ticks.store import TickStore, range_text
from qtsim.data.timeframes import (
    format_ts,
    grid_anchor_ns,
    normalize_timeframe,
    parse_timerange,
    timeframe_ns,
)
from qtsim.errors import DataError, UsageError

SOME_ALONE = "only some were asked for (qtsim data download --ambiguous)"
OUTSIDE = "lie outside what was asked for (qtsim data download --ambiguous)"


@dataclass(frozen=True)
class Comparison:
    """What finer bars say about coarser ones of the same symbol, where both are stored."""

    kind: str
    symbol: str
    coarse: str
    detail: str
    compared: int
    """Coarse bars that have all their finer bars."""
    differing: int
    """Those of them that differ: a price by more than a tick, a volume by more than a lot."""
    incomplete: int
    """Coarse bars that lack finer bars."""
    text: str
    """All of it in one line."""

    @property
    def line(self) -> str:
        """Name the series and say what was found."""
        return f"{self.symbol} {self.kind}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "symbol": self.symbol,
            "kind": self.kind,
            "timeframe": self.coarse,
            "detail": self.detail,
            "compared": self.compared,
            "differing": self.differing,
            "incomplete": self.incomplete,
            "text": self.text,
        }


@dataclass(frozen=True)
class DataCheck:
    """Passports of what is sound, and one message per damaged file, bad row, or timeframes that contradict."""

    passports: list[dict[str, Any]]
    problems: list[str]
    comparisons: list[Comparison] = field(default_factory=list)


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

    Bars of several timeframes of a symbol are compared with one another.

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
    return DataCheck(
        [*bars.passports, *found.passports],
        [*bars.problems, *found.problems],
        bars.comparisons,
    )


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
    sound = [e for e in chosen if e.kind in ("bars", "mark") and e.symbol not in unsound]
    comparisons = _compare_timeframes(store, settings, sound, length, period, stage)
    contradicting = [one.line for one in comparisons if one.differing]
    return DataCheck(passports, [*problems, *found.problems, *contradicting], comparisons)


def _compare_timeframes(
    store: Store,
    settings: Settings,
    entries: Sequence[StoredSeries],
    timeframe: str | None,
    period: tuple[int | None, int | None],
    stage: Stage,
) -> list[Comparison]:
    """Compare every two stored timeframes of a symbol, of which one is `timeframe` where that is named."""
    table = load_instruments(settings.data.venue, store.folder)
    series: dict[tuple[str, str], list[StoredSeries]] = {}
    for entry in sorted(entries, key=lambda e: (e.symbol, e.kind, timeframe_ns(e.timeframe))):
        series.setdefault((entry.symbol, entry.kind), []).append(entry)
    pairs = [
        (coarse, detail)
        for stored in series.values()
        for detail, coarse in combinations(stored, 2)
        if timeframe in (None, detail.timeframe, coarse.timeframe)
    ]
    found = []
    ledger = Ledger(store.folder / FOLDER / FILE)
    for done, (coarse, detail) in enumerate(pairs):
        stage(f"comparing {coarse.key} with {detail.timeframe}", done, len(pairs))
        is_chosen = bool(ledger.chosen(str(detail.key)))
        one = _compare(store, coarse, detail, period, table.get(coarse.symbol), is_chosen=is_chosen)
        found += [one] if one else []
    return found


def _compare(
    store: Store,
    coarse: StoredSeries,
    detail: StoredSeries,
    period: tuple[int | None, int | None],
    instrument: Instrument | None,
    *,
    is_chosen: bool,
) -> Comparison | None:
    """Compare the coarse bars of the time in which there are finer ones; None where there is nothing to compare.

    Without known rules of the symbol every difference above rounding counts. is_chosen: single finer bars were asked
    for.
    """
    coarse_ns, detail_ns = timeframe_ns(coarse.timeframe), timeframe_ns(detail.timeframe)
    anchor = grid_anchor_ns(coarse_ns)
    start, end = max(coarse.start, detail.start), min(coarse.end + coarse_ns, detail.end + detail_ns)
    start = max(start, period[0]) if period[0] is not None else start
    end = min(end, period[1]) if period[1] is not None else end
    # coarse bars that lie in it whole
    first, last = start + (anchor - start) % coarse_ns, end - (end - anchor) % coarse_ns
    if not divides(detail_ns, coarse_ns) or first >= last:
        return None
    whole, fine = (store.verify(entry) for entry in (coarse, detail))
    whole = whole[(times_of(whole) >= first) & (times_of(whole) < last)]
    fine = fine[(times_of(fine) >= first) & (times_of(fine) < last)]
    # bars of several days may count from another day than the grid does
    if not len(whole) or not len(fine) or np.any((times_of(whole) - anchor) % coarse_ns):
        return None
    tick, lot = (float(instrument.tick or 0), float(instrument.lot)) if instrument else (0.0, 0.0)
    found = contradictions(whole, fine, coarse_ns=coarse_ns, detail_ns=detail_ns, tick=tick, lot=lot)
    return Comparison(
        kind=coarse.kind,
        symbol=coarse.symbol,
        coarse=coarse.timeframe,
        detail=detail.timeframe,
        compared=found.compared,
        differing=int(found.differing.index.nunique()),
        incomplete=len(found.incomplete),
        text=found.describe() + (f": {SOME_ALONE}" if is_chosen and len(found.incomplete) else ""),
    )


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
    ledger = Ledger(store.folder / FOLDER / FILE)
    for done, (symbol, bars) in enumerate(wanted):
        stage(f"checking {symbol} {bars}", done, len(wanted))
        try:
            found = data_passport(store, [symbol], bars, *period, table)
            for passport in found:
                if passport["kind"] in ("bars", "mark"):
                    gaps = _gaps(store, symbol, bars, passport["kind"], *period)
                    passport["gap_list"] = [
                        {"from": format_ts(start), "to": format_ts(end), "missing": missing}
                        for start, end, missing in gaps
                    ]
                    _add_chosen(passport, [(start, end) for start, end, _ in gaps], ledger)
            # funding is the same beside every timeframe of its symbol
            passports += [passport for passport in found if passport not in passports]
        except DataError as error:
            problems.append(str(error))
        except UsageError as error:
            if symbol in needed:
                raise
            absent.append(error)
    return _Described(passports, problems, absent)


def _add_chosen(passport: dict[str, Any], gaps: Sequence[Span], ledger: Ledger) -> None:
    """Say of a series of which single bars were asked for how much of what is missing nobody wanted."""
    key = SeriesKey(passport["kind"], passport["symbol"], passport["timeframe"])
    spans = ledger.chosen(str(key))
    if not spans or not gaps:
        return
    unwanted = sum(end - start for start, end in without(gaps, spans)) // timeframe_ns(key.timeframe)
    passport["missing_not_asked_for"] = unwanted
    passport["longest_gap"] += f"; {unwanted:,} of the missing {OUTSIDE}"


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
) -> Sequence[tuple[int, int, int]]:
    """Each gap: first missing bar, next bar there is, bars missing."""
    frame = store.read_bars(symbol, timeframe, start, end, kind)
    return check_bars(frame, timeframe_ns(timeframe), symbol=symbol)[1].gaps
