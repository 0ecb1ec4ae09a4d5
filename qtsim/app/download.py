"""What `qtsim data download` runs: from words and settings to a request, its sources, and the download."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from qtsim.app.api import open_store
from qtsim.app.backtest import Stage
from qtsim.app.credentials import Credentials, read_credentials
from qtsim.app.workspace import Workspace
from qtsim.config.layers import Resolved
from qtsim.data.download import archive, rest_ccxt
from qtsim.data.download.fetch import check_url
from qtsim.data.download.report import DownloadReport
from qtsim.data.download.rest import Rest
from qtsim.data.download.run import Request, Sources, download
from qtsim.data.symbols import is_delivery_date, normalize_symbol
from qtsim.data.timeframes import format_ts, parse_timerange
from qtsim.errors import UsageError

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
    rules: bool = True


def download_data(
    workspace: Workspace, resolved: Resolved, wanted: Wanted, stage: Stage, *, now: int | None = None
) -> DownloadReport:
    """Complete the workspace's store. Errors: those of `download`, and UsageError for what cannot be asked."""
    moment = time.time_ns() if now is None else now
    settings = resolved.settings.data
    store = open_store(workspace, resolved)
    start, end = _period(resolved, wanted, moment)
    request = Request(
        symbols=_symbols(wanted.symbols or resolved.settings.run.symbols, store.symbols()),
        timeframes=tuple(
            dict.fromkeys(archive.check_interval(one) for one in wanted.timeframes or [resolved.settings.run.timeframe])
        ),
        kinds=_kinds(wanted),
        start=start,
        end=end,
        recheck=wanted.recheck,
        rules=wanted.rules,
    )
    credentials = Credentials() if wanted.archives_only or not wanted.rules else read_credentials()
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
