"""What `qtsim data download` runs: from words and settings to a request, its sources, and the download."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qtsim.app.api import open_store
from qtsim.app.backtest import Stage
from qtsim.app.credentials import Credentials, read_credentials
from qtsim.app.workspace import Workspace
from qtsim.config.layers import Resolved
from qtsim.data.download import archive, rest_ccxt
from qtsim.data.download.fetch import check_url
from qtsim.data.download.plan import Span, union
from qtsim.data.download.report import DownloadReport
from qtsim.data.download.rest import Rest
from qtsim.data.download.run import Request, Sources, download
from qtsim.data.store import Store
from qtsim.data.symbols import is_delivery_date, normalize_symbol
from qtsim.data.timeframes import format_ts, parse_timerange, timeframe_ns
from qtsim.errors import UsageError
from qtsim.results.ambiguity import FINEST, coarser_than
from qtsim.results.result import RunInfo
from qtsim.results.run_folder import find_run, read_ambiguous, read_manifest
from qtsim.results.tables import times_ns

KINDS = ("bars", "mark", "funding", "trades")
DEFAULT_KINDS = ("bars", "mark", "funding")
ALIASES = {
    "klines": "bars",
    "candles": "bars",
    "ohlcv": "bars",
    "markpriceklines": "mark",
    "markprice": "mark",
    "fundingrate": "funding",
    "aggtrades": "trades",
    "ticks": "trades",
}
"""Other names of the kinds, the exchange's own among them, in lower case."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says; None where it says nothing."""

    symbols: Sequence[str] | None = None
    timeframes: Sequence[str] | None = None
    timerange: str | None = None
    kinds: Sequence[str] | None = None
    trades: bool = False
    recheck: bool = False
    archives_only: bool = False
    rules: bool | None = None
    """Refresh the rules of the symbols; None: yes, unless `ambiguous` is asked for, whose run had its own."""
    ambiguous: str | None = None
    """A run: finer bars for its ambiguous bars alone."""


def download_data(
    workspace: Workspace, resolved: Resolved, wanted: Wanted, stage: Stage, *, now: int | None = None
) -> DownloadReport:
    """Complete the workspace's store. Errors: those of `download`, and UsageError for what cannot be asked."""
    moment = time.time_ns() if now is None else now
    settings = resolved.settings.data
    store = open_store(workspace, resolved)
    request = (
        _request_for_ambiguous(workspace, wanted)
        if wanted.ambiguous is not None
        else _request(resolved, wanted, store, moment)
    )
    if isinstance(request, str):
        return DownloadReport(notes=[request])
    credentials = Credentials() if wanted.archives_only or not request.rules else read_credentials()
    rest_url = check_url("data.rest_url", settings.rest_url or rest_ccxt.VENUE_URL)

    def open_rest() -> AbstractContextManager[Rest]:
        return rest_ccxt.open_rest(
            rest_url,
            tries=settings.download.tries,
            timeout_s=settings.download.timeout_s,
            key=credentials.key,
            secret=credentials.secret,
        )

    sources = Sources(
        archive_url=settings.archive_url or archive.VENUE_URL,
        open_rest=None if wanted.archives_only else open_rest,
        has_key=credentials.are_there,
        threads=settings.download.threads,
        tries=settings.download.tries,
        timeout_s=settings.download.timeout_s,
    )
    return download(store, request, sources, now=moment, on_bad_rows=settings.on_bad_rows, stage=stage)


def _request(resolved: Resolved, wanted: Wanted, store: Store, now: int) -> Request:
    """All of a period."""
    start, end = _period(resolved, wanted, now)
    return Request(
        symbols=_symbols(wanted.symbols or resolved.settings.run.symbols, store.symbols()),
        timeframes=_timeframes(wanted.timeframes or [resolved.settings.run.timeframe]),
        kinds=_kinds(wanted),
        start=start,
        end=end,
        recheck=wanted.recheck,
        rules=wanted.rules is not False,
    )


def _request_for_ambiguous(workspace: Workspace, wanted: Wanted) -> Request | str:
    """The finer bars of a run's ambiguous bars; why there is nothing to download where none of them need any.

    Errors: UsageError where finer bars are not what they need.
    """
    folder = find_run(workspace.runs, str(wanted.ambiguous))
    manifest = read_manifest(folder)
    ambiguous, info = read_ambiguous(folder, manifest), RunInfo.from_dict(manifest["info"])
    flag = f"--ambiguous {folder.name}"
    if ambiguous is None:
        raise UsageError(f"{flag}: this run is of a version that listed none; qtsim backtest --from {folder.name} does")
    if info.is_synthetic:
        raise UsageError(f"{flag}: it ran on the generated market, which no exchange has")
    kinds = _kinds(wanted) if wanted.kinds is not None else ()
    others = [*(["trades"] if wanted.trades else []), *(kind for kind in kinds if kind not in ("bars", "mark"))]
    if others:
        raise UsageError(f"{flag} gets finer bars (--kinds bars,mark), not {', '.join(dict.fromkeys(others))}")
    kept = _asked_for(ambiguous, wanted, info, flag)
    if not len(kept):
        within = " of these symbols in this period" if len(ambiguous) else ""
        return f"{folder.name} has no ambiguous bars{within}: there is nothing to download"
    if not len(coarser_than(kept, FINEST)):
        return f"{folder.name}: its ambiguous bars are {FINEST}, which only trades settle (sim.mode = ticks)"
    timeframes = _timeframes(wanted.timeframes or [FINEST])
    for timeframe in timeframes:
        if not len(coarser_than(kept, timeframe)):
            held = ", ".join(sorted(set(kept["timeframe"])))
            raise UsageError(
                f"{flag} -i {timeframe}: its ambiguous bars are {held} and do not consist of {timeframe} bars; give a "
                f"shorter timeframe: -i {FINEST}"
            )
    coarse = pd.concat([coarser_than(kept, timeframe) for timeframe in timeframes]).drop_duplicates()
    return Request(
        symbols=tuple(sorted(set(coarse["symbol"]))),
        timeframes=timeframes,
        kinds=kinds or ("bars", *(["mark"] if info.mark.startswith("history") else [])),
        recheck=wanted.recheck,
        rules=wanted.rules is True,
        spans={str(symbol): _spans_of(bars) for symbol, bars in coarse.groupby("symbol")},
    )


def _asked_for(ambiguous: pd.DataFrame, wanted: Wanted, info: RunInfo, flag: str) -> pd.DataFrame:
    """The ambiguous bars of the symbols and the period that the command line names."""
    if wanted.symbols and list(wanted.symbols) != ["all"]:
        named = [normalize_symbol(name) for name in wanted.symbols]
        unknown = next((name for name in named if name not in info.symbols), None)
        if unknown is not None:
            raise UsageError(
                f"{flag} --symbols {unknown}: it is not among the run's symbols ({', '.join(info.symbols)})"
            )
        ambiguous = ambiguous[ambiguous["symbol"].isin(named)]
    if not wanted.timerange:
        return ambiguous
    try:
        start, end = parse_timerange(wanted.timerange)
    except UsageError as error:
        raise UsageError(f"{flag} --timerange: {error}") from None
    opens = times_ns(ambiguous["time"])
    kept: pd.DataFrame = ambiguous[(opens >= (start or 0)) & (opens < (end or np.iinfo(np.int64).max))]
    return kept


def _spans_of(ambiguous: pd.DataFrame) -> list[Span]:
    """The time of each bar, neighbours as one."""
    opens = times_ns(ambiguous["time"])
    lengths = [timeframe_ns(name) for name in ambiguous["timeframe"]]
    return union((int(start), int(start) + length) for start, length in zip(opens, lengths, strict=True))


def _timeframes(names: Sequence[str]) -> tuple[str, ...]:
    """Lengths of bars that the archives have, each once."""
    return tuple(dict.fromkeys(archive.check_interval(one) for one in names))


def _period(resolved: Resolved, wanted: Wanted, now: int) -> tuple[int | None, int | None]:
    """Start and end of the request. Errors: UsageError for one that lies where there is nothing."""
    text = wanted.timerange or resolved.settings.run.timerange
    flag = "--timerange" if wanted.timerange else "run.timerange"
    try:
        start, end = parse_timerange(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from None
    if start is not None and start >= now:
        raise UsageError(f"{flag} {text}: it starts in the future; it is {format_ts(now // 10**9 * 10**9)} now")
    if end is not None and end <= archive.FIRST_NS:
        raise UsageError(f"{flag} {text}: the exchange's archives begin at {format_ts(archive.FIRST_NS)}")
    return start, end


def _symbols(named: Sequence[str], stored: Sequence[str]) -> tuple[str, ...]:
    """The symbols in the exchange's spelling, each once; `all` is all in the store."""
    if list(named) == ["all"]:
        if not stored:
            raise UsageError("--symbols all: nothing is stored yet, so name them: -p BTCUSDT,ETHUSDT")
        return tuple(stored)
    symbols = tuple(dict.fromkeys(normalize_symbol(name) for name in named))
    for symbol in symbols:
        base, _, date = symbol.partition("_")
        if is_delivery_date(date):
            raise UsageError(
                f"--symbols {symbol}: a contract with a delivery date, and qtsim trades perpetuals; write {base}"
            )
    return symbols


def _kinds(wanted: Wanted) -> tuple[str, ...]:
    """Kinds under their own names, in order."""
    chosen = set(DEFAULT_KINDS) if wanted.kinds is None else set()
    for word in wanted.kinds or ():
        low = word.strip().lower().replace("-", "").replace("_", "")
        name = ALIASES.get(low, low)
        if name not in KINDS:
            near = difflib.get_close_matches(low, [*KINDS, *ALIASES], n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"--kinds {word}: {hint}there are {', '.join(KINDS)}")
        chosen.add(name)
    if wanted.trades:
        chosen.add("trades")
    if not chosen:
        raise UsageError(f"--kinds names nothing; there are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in chosen)
