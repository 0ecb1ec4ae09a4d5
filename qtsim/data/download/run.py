"""A whole download: monthly archives, daily ones for what those lack, REST for the rest, rules of symbols, trades."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from qtsim.data.download import plan
from qtsim.data.download.archive import FIRST_NS, Archive, daily, month_start
from qtsim.data.download.fetch import Fetcher, OfflineError, remove_parts
from qtsim.data.download.ledger import FILE, FOLDER, Ledger
from qtsim.data.download.parse import parse_archive
from qtsim.data.download.plan import Span
from qtsim.data.download.report import DownloadError, DownloadReport, SeriesReport
from qtsim.data.download.rest import BARS_PER_PAGE, Rest, RestError, RestRefusedError
from qtsim.data.download.rest_ccxt import EXTRA, ExtraMissingError
from qtsim.data.download.rules import changes, instrument_of, perpetuals, with_brackets
from qtsim.data.download.trades import store_trades
from qtsim.data.download.workers import run_jobs
from qtsim.data.frames import Times, times_of
from qtsim.data.instruments import Instrument, load_instruments, write_user_instruments
from qtsim.data.quality import check_bars, check_events
from qtsim.data.store import SeriesKey, Store
from qtsim.data.ticks.store import TickStore
from qtsim.data.timeframes import DAY, SECOND, format_ts, timeframe_ns
from qtsim.errors import DataError, UsageError

if sys.platform != "win32":
    import fcntl

SERIES_KINDS = ("bars", "mark", "funding")
MERGE_EVERY = 24
"""Archives per write: a series is one file, and writing it again for every month would take longer than fetching."""
SURELY_ABSENT = 30 * DAY
"""An archive that does not exist so long after its period is taken never to appear."""
SETTLED = DAY
"""Where the exchange has nothing in a span that ended so long ago, there will be nothing."""
SHOWN_FAILURES = 10
DAYS_WITHOUT_A_MONTH = 62
"""How far back daily archives are tried for a symbol of which no month exists: it may be new."""

Stage: TypeAlias = Callable[[str, int, int], None]
OpenRest: TypeAlias = Callable[[], AbstractContextManager[Rest]]

OFFLINE = (
    "this machine seems to be offline ({reason}); a market without a network: qtsim data sample; "
    "files that you have: qtsim data import PATH"
)


class DownloadInterruptedError(DataError):
    """Ctrl-C; the message says what is kept."""


@dataclass(frozen=True)
class Request:
    """What is to be had. `start` None: from where the stored series begin; `end` None: to the last closed bar."""

    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    kinds: tuple[str, ...]
    start: int | None = None
    end: int | None = None
    recheck: bool = False
    """Ask again for what was not there, and fetch again archives that the exchange has replaced."""
    rules: bool = True
    """Refresh the rules of the symbols."""
    spans: Mapping[str, Sequence[Span]] | None = None
    """Of bars: by symbol, the spans that are wanted, ascending and apart; None: all from start to end."""


@dataclass(frozen=True)
class Sources:
    """Where it comes from. `open_rest` None: archives alone."""

    archive_url: str
    open_rest: OpenRest | None
    has_key: bool = False
    threads: int = 4
    tries: int = 5
    timeout_s: float = 30.0


@dataclass
class _Series:
    """A stored series on its way to being complete."""

    key: SeriesKey
    start: int
    end: int
    report: SeriesReport
    failed: list[Span] = field(default_factory=list)
    """Periods of archives that could not be had: no other source hides the failure."""
    chosen: Sequence[Span] | None = None
    """The spans that are wanted of it; None: all of it."""

    @property
    def step(self) -> int:
        """Length of a bar, ns; 0 for events."""
        return self.report.step

    def lacks(self, times: Times) -> list[Span]:
        """What is missing of the period."""
        if self.chosen is not None:
            return [gap for a, b in self.chosen for gap in plan.missing_bars(times, self.step, a, b)]
        if self.step:
            return plan.missing_bars(times, self.step, self.start, self.end)
        return plan.missing_events(times, self.start, self.end)


@dataclass(frozen=True)
class _Fetched:
    """A verified archive and its rows; None where the exchange has none."""

    path: Path
    sha256: str
    frame: pd.DataFrame


def download(
    store: Store,
    request: Request,
    sources: Sources,
    *,
    now: int,
    on_bad_rows: str = "error",
    stage: Stage = lambda what, done, total: None,
) -> DownloadReport:
    """Complete the stored series of a request.

    What is stored already is not fetched again, and nothing half-fetched is stored. An interrupted download goes on
    where it was when it is started again.

    Parameters
    ----------
    store : Store
    request : Request
    sources : Sources
    now : int
        The time, int64 ns UTC. The exchange's own clock replaces it for what comes over REST.
    on_bad_rows : str
        `error` or `drop`, as in `check_bars`.
    stage : callable
        Told what is being done, how many archives are done, and how many there are.

    Raises
    ------
    OfflineError
        Neither the archives nor REST can be reached.
    DownloadError
        Some archives or requests failed, each named; the rest is stored.
    DownloadInterruptedError
        Ctrl-C.
    UsageError
        A symbol that the exchange does not have, or a series that is to begin nowhere.
    """
    run = _Run(store, request, sources, now, on_bad_rows, stage)
    return run.run()


class _Run:
    def __init__(
        self, store: Store, request: Request, sources: Sources, now: int, on_bad_rows: str, stage: Stage
    ) -> None:
        self.store = store
        self.ticks = TickStore.beside(store)
        self.request = request
        self.sources = sources
        self.now = now
        self.on_bad_rows = on_bad_rows
        self.stage = stage
        self.folder = store.folder / FOLDER
        self.stop = threading.Event()
        self.fetcher = Fetcher(sources.archive_url, tries=sources.tries, timeout_s=sources.timeout_s, stop=self.stop)
        self.report = DownloadReport()
        self.absent: set[str] = set()
        self.known_symbols: dict[str, object] | None = None
        self.merged = 0
        self.offline: OfflineError | None = None

    def run(self) -> DownloadReport:
        if "trades" in self.request.kinds and self.request.start is None:
            raise UsageError("trades are many: say of which days, --timerange 20240101-20240108")
        series = self._series()
        with self._only_one():
            remove_parts(self.folder)
            self.ledger = Ledger(self.folder / FILE)
            try:
                self._note_chosen(series)
                self._archives(series)
                self._rest(series)
                self._trades()
                self._clear_cache(series)
            except KeyboardInterrupt as interruption:
                raise DownloadInterruptedError(self._what_is_kept()) from interruption
            finally:
                self.stop.set()
            self._describe(series)
        self.report.files, self.report.bytes = self.fetcher.files, self.fetcher.bytes
        self._raise_failures(series)
        return self.report

    # What is wanted ---------------------------------------------------------------------------------------------------

    def _series(self) -> list[_Series]:
        found = []
        for symbol in self.request.symbols:
            keys = [
                SeriesKey(kind, symbol, timeframe)
                for kind in self.request.kinds
                if kind in SERIES_KINDS
                for timeframe in (("",) if kind == "funding" else self.request.timeframes)
            ]
            starts = [self.store.entry(symbol, k.timeframe, k.kind).start for k in keys if self._has(k)]
            if not keys:
                continue
            if self.request.spans is not None:
                found += [self._chosen_bars(key, self.request.spans.get(symbol, ())) for key in keys]
                continue
            if not starts and self.request.start is None:
                raise UsageError(
                    f"{keys[0]} is not stored yet, so say from when on: --timerange 2023- (or {FIRST_DAY}-, "
                    "the first day of the exchange's archives)"
                )
            start = max(min(starts) if self.request.start is None else self.request.start, FIRST_NS)
            for key in keys:
                step = timeframe_ns(key.timeframe) if key.timeframe else 0
                # a bar is wanted as soon as it has closed
                end = self.now - step + 1 if self.request.end is None else min(self.request.end, self.now - step + 1)
                found.append(_Series(key, start, end, SeriesReport(key, step=step)))
        return found

    def _chosen_bars(self, key: SeriesKey, spans: Sequence[Span]) -> _Series:
        """A series of which some spans are wanted."""
        step = timeframe_ns(key.timeframe)
        # of a span that is not over, the bars that have closed
        ends = [min(end, start + (self.now - start) // step * step) for start, end in spans]
        closed = [(start, end) for (start, _), end in zip(spans, ends, strict=True) if start < end]
        start, end = (closed[0][0], closed[-1][1]) if closed else (0, 0)
        return _Series(key, start, end, SeriesReport(key, step=step), chosen=closed)

    def _note_chosen(self, series: Sequence[_Series]) -> None:
        """Note what of a series was asked for, so that its gaps can be told from what nobody wanted."""
        for one in series:
            if one.chosen:
                self.ledger.note_chosen(str(one.key), one.chosen)
        self.ledger.save()

    def _has(self, key: SeriesKey) -> bool:
        return self.store.has(key.symbol, key.timeframe, key.kind)

    def _times(self, key: SeriesKey) -> Times:
        if not self._has(key):
            return np.zeros(0, dtype=np.int64)
        if key.kind == "funding":
            return times_of(self.store.read_funding(key.symbol))
        return times_of(self.store.read_bars(key.symbol, key.timeframe, kind=key.kind))

    def _lacks(self, series: _Series, times: Times) -> list[Span]:
        """What is missing and might be had."""
        return plan.without(series.lacks(times), [*series.failed, *self.ledger.holes(str(series.key))])

    # Archives ---------------------------------------------------------------------------------------------------------

    def _archives(self, series: Sequence[_Series]) -> None:
        try:
            if self.request.recheck:
                self._recheck(series)
            self._fetch_series(series, self._monthly_jobs(series))
            self._fetch_series(series, self._daily_jobs(series))
            for one in series:
                self._walk_back(series, one)
        except OfflineError as error:
            # a mirror may be down where the exchange is not; whether it can be reached is for the next phase to find
            if self.sources.open_rest is None:
                raise OfflineError(OFFLINE.format(reason=error)) from error
            self.offline = error

    def _monthly_jobs(self, series: Sequence[_Series]) -> list[Archive]:
        jobs = []
        for one in series:
            if one.chosen is not None:
                continue  # a month for some of its bars: their days hold them too
            times = self._times(one.key)
            spans = self._lacks(one, times)
            months = plan.monthly_archives(one.key.kind, one.key.symbol, one.key.timeframe, spans, self.now)
            jobs += [archive for archive in months if not self._is_done(archive, times)]
        return jobs

    def _daily_jobs(self, series: Sequence[_Series]) -> list[Archive]:
        """Days that months lack: not published yet, or holes. Of what lies before all rows, `_walk_back` knows."""
        jobs = []
        for one in series:
            if not one.step:
                continue  # funding has no daily archives
            times = self._times(one.key)
            spans = self._lacks(one, times)
            if one.chosen is None:
                begin = int(times[0]) if len(times) else one.end - DAYS_WITHOUT_A_MONTH * DAY
                spans = plan.without(spans, [(0, begin)])
            days = plan.daily_archives(one.key.kind, one.key.symbol, one.key.timeframe, spans, self.now)
            jobs += [archive for archive in days if not self._is_done(archive, times)]
        return jobs

    def _walk_back(self, series: Sequence[_Series], one: _Series) -> None:
        """Fetch days before the first row as long as there are any: nobody says when a symbol was listed."""
        while one.step and one.chosen is None:
            times = self._times(one.key)
            if not len(times):
                return
            day = daily(one.key.kind, one.key.symbol, one.key.timeframe, int(times[0]) // DAY * DAY - 1)
            if day.end <= one.start or not self._lacks(one, times) or self._is_done(day, times):
                return
            if not plan.without([(day.start, day.end)], one.failed):
                return
            self._fetch_series(series, [day])
            if int(self._times(one.key)[0]) == int(times[0]):
                return
            begin = max(month_start(day.start), one.start)
            days = plan.daily_archives(one.key.kind, one.key.symbol, one.key.timeframe, [(begin, day.start)], self.now)
            self._fetch_series(series, [archive for archive in days if not self._is_done(archive, times)])

    def _is_done(self, archive: Archive, times: Times) -> bool:
        return archive.path in self.absent or self.ledger.is_done(archive, times)

    def _fetch_series(self, series: Sequence[_Series], jobs: Sequence[Archive]) -> None:
        """Fetch archives, check them, and merge them into their series in groups."""
        by_key = {one.key: one for one in series}
        waiting: dict[SeriesKey, list[tuple[Archive, _Fetched]]] = {}
        lost: OfflineError | None = None
        try:
            for done, (archive, result) in enumerate(self._fetched(jobs, self._fetch_and_parse)):
                one = by_key[SeriesKey(archive.kind, archive.symbol, archive.timeframe)]
                if isinstance(result, DataError):
                    self.report.failures.append(str(result))
                    one.failed.append((archive.start, archive.end))
                elif result is not None:
                    group = waiting.setdefault(one.key, [])
                    group.append((archive, result))
                    if len(group) >= MERGE_EVERY:
                        self._merge(one, waiting.pop(one.key))
                often = "monthly" if archive.is_monthly else "daily"
                self.stage(f"{often} archives: {archive.name}", done + 1, len(jobs))
        except OfflineError as error:
            lost = error
        for key, group in waiting.items():
            self._merge(by_key[key], group)
        if jobs:
            self.ledger.save()
        if lost is not None:
            raise lost

    def _fetched(
        self, jobs: Sequence[Archive], work: Callable[[Archive], _Fetched | None]
    ) -> Iterator[tuple[Archive, _Fetched | DataError | None]]:
        for archive, outcome in run_jobs(jobs, work, threads=self.sources.threads, stop=self.stop):
            if isinstance(outcome.error, OfflineError):
                self.stop.set()
                raise outcome.error
            if isinstance(outcome.error, DataError):
                yield archive, outcome.error
                continue
            if outcome.value is None:
                self.absent.add(archive.path)
                if archive.end <= self.now - SURELY_ABSENT:
                    self.ledger.absent(archive)
            yield archive, outcome.value

    def _fetch_and_parse(self, archive: Archive) -> _Fetched | None:
        path = self._cached(archive)
        sha256 = self._fetch(archive, path)
        if sha256 is None:
            return None
        try:
            return _Fetched(path, sha256, parse_archive(archive, path, self.on_bad_rows))
        except DataError as error:
            path.unlink(missing_ok=True)
            raise DataError(_in_archive(archive, path, error)) from error

    def _fetch(self, archive: Archive, path: Path) -> str | None:
        """A verified archive in the cache: the one that an earlier run left there, or a new one."""
        if path.is_file():
            return _sha256(path)
        return self.fetcher.fetch(archive, path)

    def _cached(self, archive: Archive) -> Path:
        return self.folder.joinpath(*archive.path.split("/")[3:])

    def _merge(self, one: _Series, group: Sequence[tuple[Archive, _Fetched]]) -> None:
        """Merge verified archives in order of time; only then are they done, and their files go."""
        ordered = sorted(group, key=lambda item: (item[0].start, item[0].end))
        source = f"archives of {self.fetcher.host}"
        self._store(one, [(fetched.frame, source) for _, fetched in ordered if len(fetched.frame)])
        for archive, fetched in ordered:
            # a payment stamped a moment before its month belongs to the month, and is not among the archive's own rows
            inside = _lie_in(times_of(fetched.frame), [(archive.start, archive.end)])
            self.ledger.merged(archive, fetched.sha256, int(inside.sum()))
        self.ledger.save()
        one.report.archives += len(ordered)
        self.merged += len(ordered)
        for _, fetched in ordered:
            fetched.path.unlink(missing_ok=True)
            _remove_empty(fetched.path.parent, self.folder)

    def _store(self, one: _Series, parts: Sequence[tuple[pd.DataFrame, str]]) -> None:
        if parts:
            merges = self.store.merge_parts(one.key, parts)
            one.report.added += sum(merge.added for merge in merges)
            one.report.changed += sum(merge.changed for merge in merges)

    def _recheck(self, series: Sequence[_Series]) -> None:
        """Forget what was absent, and what the exchange has replaced since."""
        self.ledger.forget(absent_only=True)
        merged = [archive for one in series for archive in self._archives_of(one) if self.ledger.sha256(archive)]
        self._fetch_series(series, self._replaced(merged))

    def _replaced(self, merged: Sequence[Archive]) -> list[Archive]:
        """Merged archives that have another checksum now; each is named."""
        replaced = []
        jobs = run_jobs(merged, self.fetcher.checksum, threads=self.sources.threads, stop=self.stop)
        for done, (archive, outcome) in enumerate(jobs):
            if isinstance(outcome.error, OfflineError):
                raise outcome.error
            if outcome.error is not None:
                self.report.failures.append(str(outcome.error))
            elif outcome.value is not None and outcome.value != self.ledger.sha256(archive):
                replaced.append(archive)
            self.stage(f"checking again: {archive.name}", done + 1, len(merged))
        if replaced:
            self.report.notes.append(f"replaced by the exchange since: {', '.join(sorted(a.name for a in replaced))}")
            for archive in replaced:
                self._cached(archive).unlink(missing_ok=True)
        return replaced

    def _archives_of(self, one: _Series) -> list[Archive]:
        """All archives that there could be of a series in the period."""
        what = (one.key.kind, one.key.symbol, one.key.timeframe, one.chosen or [(one.start, one.end)], self.now)
        if one.chosen is not None:
            return plan.daily_archives(*what)
        return plan.monthly_archives(*what) + (plan.daily_archives(*what) if one.step else [])

    def _clear_cache(self, series: Sequence[_Series]) -> None:
        """Remove archives that were merged just before an earlier run ended, and not noted: nothing asks for them."""
        for one in series:
            for archive in self._archives_of(one):
                path = self._cached(archive)
                if path.is_file():
                    path.unlink(missing_ok=True)
                    _remove_empty(path.parent, self.folder)

    # REST -------------------------------------------------------------------------------------------------------------

    def _rest(self, series: Sequence[_Series]) -> None:
        if self.sources.open_rest is None:
            return
        lacking = [one for one in series if self._lacks(one, self._times(one.key))]
        if not lacking and not self.request.rules:
            return
        try:
            with self.sources.open_rest() as rest:
                now = rest.now()
                for one in lacking:
                    self._try_to_top_up(one, rest, now)
                if self.request.rules:
                    self._refresh_rules(rest, now)
        except ExtraMissingError:
            if self.offline is not None:
                raise OfflineError(OFFLINE.format(reason=self.offline)) from None
            self.report.notes.append(self._without_extra(lacking))
        except OfflineError as error:
            if self.offline is not None:
                raise OfflineError(OFFLINE.format(reason=self.offline)) from error
            self.report.failures.append(f"{error}: no REST, so archives alone (--archives-only asks for no more)")
        except RestError as error:
            self.report.failures.append(str(error))
        if self.offline is not None:
            self.report.notes.append(f"{self.offline}: everything came over REST")
        self.ledger.save()

    def _try_to_top_up(self, one: _Series, rest: Rest, now: int) -> None:
        """Top one series up; what is wrong with it alone does not keep the others from theirs."""
        try:
            self._top_up(one, rest, now)
        except RestRefusedError as error:
            self.report.notes.append(f"{one.key}: REST does not have it ({error}); it may be listed no more")
        except (OfflineError, RestError):
            raise
        except DataError as error:
            self.report.failures.append(f"{one.key} over REST: {error}")

    def _top_up(self, one: _Series, rest: Rest, now: int) -> None:
        """Ask for each span that is still missing; what stays missing then does not exist."""
        spans = self._lacks(one, self._times(one.key))
        asked = plan.joined(spans, BARS_PER_PAGE * one.step) if one.step else spans
        source = f"REST of {rest.host}"
        for done, (start, end) in enumerate(asked):
            self.stage(f"REST: {one.key}", done, len(asked))
            if one.step:
                frame = rest.bars(one.key.kind, one.key.symbol, one.key.timeframe, start, end, now)
            else:
                frame = rest.funding(one.key.symbol, start, end)
            frame = frame[_lie_in(times_of(frame), spans)]
            if len(frame):
                self._store(one, [(self._checked(one, frame), source)])
                one.report.rest_rows += len(frame)
        left = [span for span in one.lacks(self._times(one.key)) if span[1] <= now - SETTLED]
        outside = plan.without([(FIRST_NS, now)], asked)
        self.ledger.note_holes(str(one.key), plan.without(left, [*outside, *one.failed]))

    def _checked(self, one: _Series, frame: pd.DataFrame) -> pd.DataFrame:
        if one.step:
            return check_bars(frame, one.step, symbol=one.key.symbol, on_bad_rows=self.on_bad_rows)[0]
        what = f"{one.key.symbol} funding"
        return check_events(frame, what=what, on_bad_rows=self.on_bad_rows, optional=("mark_price",))[0]

    def _without_extra(self, lacking: Sequence[_Series]) -> str:
        if not lacking:
            return f"the rules of symbols stay as they are: the REST interface, which has them, needs ccxt: {EXTRA}"
        ends = [int(self._times(one.key)[-1]) for one in lacking if len(self._times(one.key))]
        reached = f"archives alone reach {format_ts(min(ends))}; " if ends else ""
        return (
            f"{reached}the REST interface, which has the bars up to the last closed one and the symbols' rules, "
            f"needs ccxt: {EXTRA}"
        )

    # Rules of symbols -------------------------------------------------------------------------------------------------

    def _refresh_rules(self, rest: Rest, now: int) -> None:
        """Bring the user's instrument table up to date for the symbols of the request."""
        entries = perpetuals(rest.symbols())
        self.known_symbols = dict(entries)
        table = load_instruments(self.store.venue, self.store.folder)
        day = datetime.fromtimestamp(now // SECOND, UTC).date().isoformat()
        brackets = {}
        if self.sources.has_key:
            try:
                brackets = {str(one["symbol"]): one["brackets"] for one in rest.brackets()}
            except (RestError, KeyError, TypeError) as error:
                self.report.failures.append(f"leverage brackets: {error}")
        fresh: dict[str, Instrument] = {}
        for symbol in self.request.symbols:
            if symbol not in entries:
                continue
            known = table.get(symbol)
            try:
                instrument = instrument_of(entries[symbol], known, day)
                if symbol in brackets:
                    instrument = with_brackets(instrument, brackets[symbol], day)
            except DataError as error:
                self.report.failures.append(str(error))
                continue
            fresh[symbol] = instrument
            change = changes(known, instrument)
            if change:
                self.report.instruments.append(f"{symbol}: {change}")
        if fresh:
            write_user_instruments(self.store.folder, self.store.venue, fresh)
            if not self.sources.has_key:
                self.report.notes.append(_without_key(fresh))

    # Trades -----------------------------------------------------------------------------------------------------------

    def _trades(self) -> None:
        if "trades" not in self.request.kinds:
            return
        if self.offline is not None:
            self.report.failures.append(f"trades: {self.offline}")
            return
        try:
            self._fetch_and_store_trades()
        except OfflineError as error:
            raise OfflineError(OFFLINE.format(reason=error)) from error
        finally:
            self.ledger.save()

    def _fetch_and_store_trades(self) -> None:
        jobs = self._trade_jobs()
        missing: list[str] = []
        for done, (archive, result) in enumerate(self._fetched(jobs, self._fetch_trades)):
            if isinstance(result, DataError):
                self.report.failures.append(str(result))
            elif result is None:
                missing.append(archive.name)
            else:
                self._store_trades(archive, result)
            self.stage(f"trades: {archive.name}", done + 1, len(jobs))
        if missing:
            shown = ", ".join(sorted(missing)[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            self.report.notes.append(f"no archives of trades: {shown}")

    def _trade_jobs(self) -> list[Archive]:
        """Days that the store lacks, and with `recheck` those that the exchange has replaced."""
        assert self.request.start is not None
        end = self.now if self.request.end is None else min(self.request.end, self.now)
        nothing = np.zeros(0, dtype=np.int64)
        jobs: list[Archive] = []
        for symbol in self.request.symbols:
            period = (max(self.request.start, FIRST_NS), end)
            archives = plan.daily_archives("trades", symbol, "", [period], self.now)
            merged = [archive for archive in archives if self._has_trades(archive)]
            there = {archive.path for archive in merged}
            jobs += [a for a in archives if a.path not in there and not self._is_done(a, nothing)]
            jobs += self._replaced(merged) if self.request.recheck else []
        return jobs

    def _has_trades(self, archive: Archive) -> bool:
        """Whether the store has a merged archive's trades. A damaged day has none: merging it says what is wrong."""
        if not self.ledger.sha256(archive):
            return False
        try:
            return self.ticks.entry(archive.symbol, archive.start).rows >= self.ledger.rows(archive)
        except (DataError, UsageError):
            return False

    def _fetch_trades(self, archive: Archive) -> _Fetched | None:
        path = self._cached(archive)
        sha256 = self._fetch(archive, path)
        return None if sha256 is None else _Fetched(path, sha256, pd.DataFrame())

    def _store_trades(self, archive: Archive, fetched: _Fetched) -> None:
        """Merge one day into the store of ticks."""
        source = f"archives of {self.fetcher.host}"
        try:
            done = store_trades(self.ticks, archive, fetched.path, source=source, on_bad_rows=self.on_bad_rows)
        except DataError as error:
            self.report.failures.append(_in_archive(archive, fetched.path, error))
        else:
            self.report.trade_days += 1
            self.report.trades_added += done.added
            self.merged += 1
            self.ledger.merged(archive, fetched.sha256, done.added + done.unchanged)
            self.ledger.save()
        fetched.path.unlink(missing_ok=True)
        _remove_empty(fetched.path.parent, self.folder)

    # The end ----------------------------------------------------------------------------------------------------------

    def _describe(self, series: Sequence[_Series]) -> None:
        for one in series:
            times = self._times(one.key)
            report = one.report
            report.rows = len(times)
            if len(times):
                report.start, report.end = int(times[0]), int(times[-1])
                if one.chosen is not None:
                    report.missing, report.chosen = one.lacks(times), sum(b - a for a, b in one.chosen) // one.step
                    self.report.series.append(report)
                    continue
                begin = max(one.start, report.start)
                inside = times[times >= one.start]
                found = (
                    plan.missing_bars(times, one.step, begin, one.end)
                    if one.step
                    else plan.missing_events(inside, begin, one.end)
                )
                # what is not there yet at the end is no gap
                report.missing = [span for span in found if span[1] <= report.end]
            self.report.series.append(report)

    def _raise_failures(self, series: Sequence[_Series]) -> None:
        self._raise_unknown(series)
        if self.report.failures:
            count = len(self.report.failures)
            lines = "\n".join(f"  {text}" for text in self.report.failures[:SHOWN_FAILURES])
            if count > SHOWN_FAILURES:
                lines += f"\n  and {count - SHOWN_FAILURES:,} more; --json lists them all"
            what = "1 part of the download failed" if count == 1 else f"{count} parts of the download failed"
            raise DownloadError(
                f"{what}, the rest is stored; run the same command again to try what is missing:\n{lines}",
                self.report,
            )

    def _raise_unknown(self, series: Sequence[_Series]) -> None:
        """A symbol of which nothing was found is most likely misspelt."""
        asked = {one.key.symbol for one in series if not one.failed and one.start < one.end}
        unknown = [s for s in self.request.symbols if s in asked and not self._found(s, series)]
        if not unknown or self.offline is not None or (self.report.failures and self.known_symbols is None):
            return
        symbol = unknown[0]
        if self.known_symbols is not None and symbol in self.known_symbols:
            raise UsageError(
                f"--timerange: the exchange has nothing of {symbol} in this period; it may have been listed later"
            )
        names = list(self.known_symbols or load_instruments(self.store.venue, self.store.folder))
        near = difflib.get_close_matches(symbol, names, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}? " if near else ""
        where = "the exchange has no such perpetual and" if self.known_symbols is not None else "there are"
        raise UsageError(
            f"--symbols {symbol}: {where} no archives of it in this period; {hint}"
            "symbols are written as BTCUSDT, BTC/USDT:USDT or BTC-USDT"
        )

    @staticmethod
    def _found(symbol: str, series: Sequence[_Series]) -> bool:
        return any(one.report.rows for one in series if one.key.symbol == symbol)

    def _what_is_kept(self) -> str:
        waiting = sum(1 for _ in self.folder.rglob("*.zip"))
        kept = f"{self.merged:,} archives are in the store"
        if waiting:
            kept += f", {waiting:,} more wait verified in {self.folder}"
        return f"interrupted: {kept}; nothing is half-written. Run the same command again to go on"

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        """Let one download at a time work in this folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / ".lock").open("a")
        except OSError as error:
            raise DataError(
                f"cannot write to {self.folder}: {error.strerror or error}; make the folder writable or set data.dir "
                "to another"
            ) from error
        with handle:
            if sys.platform != "win32":
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise DataError(
                        f"another download is working in {self.folder}; wait for it, or stop it and run this again"
                    ) from None
            yield


FIRST_DAY = datetime.fromtimestamp(FIRST_NS // SECOND, UTC).strftime("%Y%m%d")


def _without_key(fresh: dict[str, Instrument]) -> str:
    """What the brackets are where the exchange was not asked for them."""
    assumed = sorted(symbol for symbol, one in fresh.items() if one.assumed)
    dated = sorted(symbol for symbol, one in fresh.items() if not one.assumed)
    parts = []
    if dated:
        dates = ", ".join(sorted({fresh[symbol].bracket_date for symbol in dated}))
        parts.append(f"leverage brackets of {', '.join(dated)} stay those of {dates}")
    if assumed:
        parts.append(f"those of {', '.join(assumed)} are not known, a cautious one (1.5 %, 50x) is assumed")
    return f"{'; '.join(parts)}: the exchange gives them with an API key only (BINANCE_API_KEY, BINANCE_API_SECRET)"


def _lie_in(times: Times, spans: Sequence[Span]) -> npt.NDArray[np.bool_]:
    """Which times lie in one of the spans: a question that joins several also brings what is between them."""
    inside = np.zeros(len(times), dtype=bool)
    for start, end in spans:
        inside |= (times >= start) & (times < end)
    return inside


def _in_archive(archive: Archive, path: Path, error: DataError) -> str:
    """What is wrong with an archive, under its own name: the file in the cache is removed."""
    text = str(error).replace(str(path), archive.name)
    return text if archive.name in text else f"{archive.name}: {text}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove folders of the cache that have become empty."""
    while folder != top and top in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
