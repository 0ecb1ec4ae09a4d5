"""Import of files and folders into the store: what people have, found by looking at names and values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from qtsim.data.atomic import not_allowed
from qtsim.data.frames import Times, as_bars, as_column, as_funding, make_frame, plain_name, times_of
from qtsim.data.quality import QualityReport, check_bars, check_events, check_spacing, usual_spacing
from qtsim.data.store import ALL_SYMBOLS, KINDS, SeriesKey, Store, check_column_name, refuse_reserved_name
from qtsim.data.symbols import is_delivery_date, is_whole, normalize_symbol, symbol_among
from qtsim.data.tables import extension, read_table, stem
from qtsim.data.ticks.importing import import_ticks
from qtsim.data.ticks.reading import TickFile, look, tick_extension
from qtsim.data.ticks.store import KINDS as TICK_KINDS
from qtsim.data.ticks.store import TickStore
from qtsim.data.timeframes import format_ts, normalize_timeframe, timeframe_name, timeframe_ns
from qtsim.errors import DataError, UsageError

Progress: TypeAlias = Callable[[int, int, Path], None]
"""Called before each file with the number of files done, the number of all, and the file."""

NEW, MERGED, UNCHANGED, SKIPPED, FAILED = "new", "merged", "unchanged", "skipped", "failed"

_DATE_TOKEN = re.compile(r"^(\d{4}|\d{6}|\d{8}|20\d\d[01]\d)$")
_TIMEFRAME_TOKEN = re.compile(r"^\d{1,3}(s|m|min|h|d|w|H|D|W)$")
_MONTH_TOKEN = re.compile(r"^(1M|1mo)$")
_SYMBOL_WORD = re.compile(r"^[A-Z0-9]*[A-Z][A-Z0-9]*$")
_KIND_TOKENS = {
    "mark": "mark",
    "markpriceklines": "mark",
    "markprice": "mark",
    "funding": "funding",
    "fundingrate": "funding",
    "futures": "bars",
    "ohlcv": "bars",
    "ohlc": "bars",
    "klines": "bars",
    "candles": "bars",
    "bars": "bars",
}
_TICK_KINDS = {"trades": "trades", "aggtrades": "trades", "bookticker": "quotes", "quotes": "quotes"}
_OTHER_KINDS = {
    "bookdepth": "an order book",
    "depth": "an order book",
    "metrics": "statistics",
    "premiumindex": "the premium index",
    "premiumindexklines": "the premium index",
    "indexpriceklines": "an index price",
    "index": "an index price",
}
_NOISE = frozenset(
    (
        *("binance", "bybit", "okx", "usdm", "um", "spot", "perp", "perpetual", "swap", "crypto"),
        *("data", "price", "prices", "export", "download", "history", "historical"),
        *("daily", "monthly", "hourly", "minute"),
    )
)
"""Words in file names that say nothing about the symbol."""


@dataclass(frozen=True)
class ImportReport:
    """What became of one file."""

    path: Path
    status: str
    """`new`, `merged`, `unchanged`, `skipped` or `failed`."""
    kind: str = ""
    symbol: str = ""
    timeframe: str = ""
    added: int = 0
    changed: int = 0
    """Rows that replaced other values at the same time: the newer import wins."""
    change: str = ""
    """How far they are from what was there, and where the first one is."""
    unchanged: int = 0
    quality: QualityReport | None = None
    message: str = ""
    """Why it was skipped or failed, or what else is worth knowing."""

    def describe(self) -> str:
        """Say it in one line, without the path."""
        if self.status in (SKIPPED, FAILED):
            return f"{self.status}: {self.message}"
        what = " ".join(part for part in (self.symbol, self.timeframe, self.kind) if part)
        parts = [f"{_rows(self.added)} added"] if self.added else []
        parts += [f"{_rows(self.changed)} changed {self.change}".strip()] if self.changed else []
        text = f"{what}: {', '.join(parts) or f'nothing new, all {_rows(self.unchanged)} were there'}"
        if self.quality is not None:
            text += f", {format_ts(self.quality.start)} to {format_ts(self.quality.end)}"
            if self.kind in ("bars", "mark"):
                text += f", {self.quality.describe_gaps()}"
        return f"{text}; {self.message}" if self.message else text


class FolderImportError(DataError):
    """Some files of a folder could not be imported; the others were. `reports` has one entry per file."""

    def __init__(self, message: str, reports: Sequence[ImportReport]) -> None:
        """Keep the reports beside the message."""
        super().__init__(message)
        self.reports = list(reports)


class _NotMarketDataError(DataError):
    """A file that a folder may well hold and that is no series: skipped there, an error when named alone."""


@dataclass(frozen=True)
class _Guess:
    """What a file's name says about it; empty where it says nothing."""

    kind: str = ""
    symbol: str = ""
    timeframe: str = ""
    futures: bool = False
    delivery: str = ""
    """The contract where it is one that is delivered at a date: `BTCUSDT_240628`. It is no perpetual."""
    months: bool = False
    spot: bool = False


def import_path(
    store: Store,
    path: Path | str,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    kind: str | None = None,
    column: str | None = None,
    on_bad_rows: str = "error",
    progress: Progress | None = None,
) -> list[ImportReport]:
    """Import a file, or every market data file of a folder and its subfolders.

    Trades and quotes are read in parts, one file at a time; all else is bars, funding or a column.

    Format, kind, symbol and timeframe are found by looking: freqtrade's names (`BTC_USDT_USDT-1h-futures.feather`,
    `-mark`, `-funding_rate`), Binance's (`BTCUSDT-1h-2024-01.zip`), or a symbol alone (`BTCUSDT.parquet`), its
    timeframe from the spacing of the rows. Arguments override what is found. Importing the same again changes nothing.
    Rows at a time that the store already has replace the stored ones and are counted as changed.

    Parameters
    ----------
    store : Store
    path : Path or str
        A file (`.csv`, `.parquet`, `.feather`, `.json`, `.csv.gz`, `.json.gz`, `.zip` with one CSV; a recorded stream
        as `.gz` or `.jsonl`) or a folder.
    symbol, timeframe, kind : str, optional
        Say what the files are; `kind` is `bars`, `mark`, `funding`, `trades` or `quotes`.
    column : str, optional
        Import an external series under this name: time (at which the value became known) and one value. Without
        `symbol` it belongs to all symbols.
    on_bad_rows : str
        `error`: a bad row fails its file. `drop`: bad rows are dropped and counted.
    progress : callable, optional
        Called before each file: (done, all, file).

    Returns
    -------
    list of ImportReport
        One per file, in order of path; a recorded stream has one per kind and symbol.

    Raises
    ------
    DataError
        The one file cannot be imported. Nothing of it is stored.
    FolderImportError
        Some files of the folder could not be imported, each named; all others are imported. Its `reports` are complete.
    UsageError
        No such path, a folder without market data, or arguments that contradict each other.
    """
    path = Path(path).expanduser()
    if kind is not None and kind not in (*KINDS, *TICK_KINDS):
        raise UsageError(f"kind {kind!r} is not known; use bars, mark, funding, trades, quotes or column")
    if column is not None:
        if kind not in (None, "column"):
            raise UsageError(f"a column has no kind {kind!r}; leave one of the two out")
        check_column_name(column)
        refuse_reserved_name(column)
        kind = "column"
    elif kind == "column":
        raise UsageError("kind column needs the column's name: --column NAME")
    fixed = _Guess(
        kind=kind or "",
        symbol=normalize_symbol(symbol) if symbol else "",
        timeframe=normalize_timeframe(timeframe) if timeframe else "",
    )
    try:
        if not path.exists():
            raise UsageError(f"{path} does not exist; give a file or a folder with market data")
        whole_folder = path.is_dir()
        if whole_folder:
            next(path.iterdir(), None)
    except PermissionError as error:
        raise not_allowed(path) from error
    if whole_folder and kind == "column":
        raise UsageError(f"{path} is a folder; a column comes from one file")
    if whole_folder and symbol and not kind and not timeframe:
        # all files would become one symbol: meant for a folder of one symbol's files, which their names confirm
        others = {guess.symbol for guess in map(_from_name, _files(path)) if guess.symbol} - {fixed.symbol}
        if others:
            raise UsageError(f"{path} holds files of {', '.join(sorted(others))} too; leave -p out or name one file")
    files = _files(path) if whole_folder else [path]
    if not files:
        raise UsageError(f"{path} holds no files that can be read (CSV, Parquet, Feather, JSON, zip)")

    reports: dict[Path, ImportReport] = {}
    ticks: dict[Path, list[ImportReport]] = {}
    loaded: dict[SeriesKey, list[tuple[Path, pd.DataFrame, QualityReport, str]]] = {}
    # a column belongs to the symbol that was said, never to one read off a name such as fear_greed.csv
    guesses = {file: fixed if column else _override(_from_name(file), fixed, whole_folder) for file in files}
    spot = _spot_beside_futures(guesses) if whole_folder else set()
    for done, file in enumerate(files):
        if progress is not None:
            progress(done, len(files), file)
        if file in spot:
            reports[file] = ImportReport(
                file, SKIPPED, message="spot candles beside futures candles of the same symbol"
            )
            continue
        try:
            tick_file = None if column else _look_for_ticks(file, guesses[file])
            if tick_file is not None:
                ticks[file] = _import_ticks(store, tick_file, guesses[file], on_bad_rows)
                continue
            key, frame, quality, note = _load(file, guesses[file], column, on_bad_rows)
        except _NotMarketDataError as error:
            if not whole_folder:
                raise DataError(f"{file}: {error}") from error
            reports[file] = ImportReport(file, SKIPPED, message=str(error))
        except DataError as error:
            message = str(error)
            message = message if str(file) in message else f"{file}: {message}"
            if not whole_folder:
                raise DataError(message) from error
            reports[file] = ImportReport(file, FAILED, message=message)
        else:
            loaded.setdefault(key, []).append((file, frame, quality, note))
    for key, parts in loaded.items():
        _store(store, key, parts, reports)
    if progress is not None:
        progress(len(files), len(files), files[-1])

    result = [report for file in files for report in ticks.get(file) or [reports[file]]]
    failed = [report for report in result if report.status == FAILED]
    if failed:
        lines = "\n".join(f"  {report.message}" for report in failed)
        good = len({report.path for report in result if report.status in (NEW, MERGED, UNCHANGED)})
        raise FolderImportError(
            f"{len(failed)} of {len(files)} files failed, {good} are in the store:\n{lines}", result
        )
    if whole_folder and all(report.status == SKIPPED for report in result):
        reasons = sorted({report.message for report in result})
        raise UsageError(f"{path} holds no market data; {len(result)} files were skipped: {'; '.join(reasons[:3])}")
    return result


def _store(
    store: Store,
    key: SeriesKey,
    parts: Sequence[tuple[Path, pd.DataFrame, QualityReport, str]],
    reports: dict[Path, ImportReport],
) -> None:
    """Merge all files of one series, in order of path, and write the series once."""
    fresh = not store.has(None if key.symbol == ALL_SYMBOLS else key.symbol, key.timeframe, key.kind, key.name)
    try:
        merges = store.merge_parts(key, [(frame, source_of(file)) for file, frame, _, _ in parts])
    except DataError as error:
        for file, _, _, _ in parts:
            reports[file] = ImportReport(file, FAILED, message=f"{file}: {error}")
        if len(reports) == len(parts) == 1:
            raise
        return
    for (file, _, quality, note), merge in zip(parts, merges, strict=True):
        status = UNCHANGED if not merge.added and not merge.changed else NEW if fresh else MERGED
        reports[file] = ImportReport(
            file,
            status,
            kind=key.kind,
            symbol="" if key.symbol == ALL_SYMBOLS else key.symbol,
            timeframe=key.timeframe,
            added=merge.added,
            changed=merge.changed,
            change=merge.describe_change(),
            unchanged=merge.unchanged,
            quality=quality,
            message=note,
        )


def source_of(file: Path) -> str:
    """Name a file for the record of where rows came from: its folder's name and its own, no private path."""
    return "/".join(file.resolve().parts[-2:])


def _look_for_ticks(file: Path, guess: _Guess) -> TickFile | None:
    """Recognise trades and quotes; not where the file's name, its timeframe or the user says that it is another."""
    if guess.kind in TICK_KINDS:
        _refuse_delivery(guess)
        return look(file, guess.kind)
    if guess.kind or guess.timeframe or guess.months:
        return None
    found = look(file)
    if found is not None:
        _refuse_delivery(guess)
    return found


def _import_ticks(store: Store, file: TickFile, guess: _Guess, on_bad_rows: str) -> list[ImportReport]:
    """Import one file of trades or quotes at once: it may be larger than the memory that a folder's bars share."""
    ticks = TickStore.beside(store)
    fresh = {kind: set(ticks.symbols(kind)) for kind in TICK_KINDS}
    source = source_of(file.path)
    imports = import_ticks(ticks, file, symbol=guess.symbol, source=source, on_bad_rows=on_bad_rows)
    spot = "the name says spot: these are not the perpetual's prices" if guess.spot else ""
    return [
        ImportReport(
            file.path,
            UNCHANGED if not found.added else MERGED if found.symbol in fresh[found.kind] else NEW,
            kind=found.kind,
            symbol=found.symbol,
            added=found.added,
            unchanged=found.unchanged,
            quality=QualityReport(
                rows=found.rows,
                start=found.start,
                end=found.end,
                unsorted=found.unsorted,
                dropped=sum(found.dropped.values()),
                bad=found.dropped,
            ),
            message="; ".join(part for part in (found.describe(), spot) if part),
        )
        for found in imports
    ]


def _load(
    file: Path, guess: _Guess, column: str | None, on_bad_rows: str
) -> tuple[SeriesKey, pd.DataFrame, QualityReport, str]:
    """Read and check one file. Returns its series, clean rows, their description, and a remark."""
    if column is not None:
        frame, report = check_events(as_column(read_table(file), column), what=column, on_bad_rows=on_bad_rows)
        key = SeriesKey("column", guess.symbol or ALL_SYMBOLS, name=column)
        return key, frame, report, report.describe_dropped()
    if not extension(file) and tick_extension(file):
        raise _NotMarketDataError("no recorded stream of trades or quotes, and files like this are not read")
    if guess.kind in _OTHER_KINDS:
        raise _NotMarketDataError(f"{_OTHER_KINDS[guess.kind]}: not imported by this version")
    _refuse_delivery(guess)
    if guess.months and guess.kind != "funding":
        raise _NotMarketDataError("a month has no fixed length: bars of months are not imported; import finer ones")
    try:
        table = read_table(file)
    except DataError as error:
        candles = guess.kind or guess.timeframe
        if extension(file).startswith(".json") and not candles and "holds no table" in str(error):
            raise _NotMarketDataError("no candles in it") from error
        raise
    kind = _kind_of(table, guess)
    if not guess.symbol:
        raise DataError(f"{file}: cannot tell the symbol from the name; say it: -p BTCUSDT")
    if kind == "funding":
        return _load_funding(table, guess, on_bad_rows)
    bars = as_bars(table, guess.symbol, kind=kind)
    if not len(bars):
        raise DataError(f"{file}: no rows")
    bars, turned = _oldest_first(bars)
    timeframe = guess.timeframe or _spacing(times_of(bars), guess.symbol)
    check_spacing(times_of(bars), timeframe_ns(timeframe), guess.symbol)
    bars, report = check_bars(bars, timeframe_ns(timeframe), symbol=guess.symbol, on_bad_rows=on_bad_rows)
    remarks = [turned, report.describe_dropped()]
    return SeriesKey(kind, guess.symbol, timeframe), bars, report, "; ".join(remark for remark in remarks if remark)


def _refuse_delivery(guess: _Guess) -> None:
    if guess.delivery:
        raise _NotMarketDataError(
            f"{guess.delivery} is a contract with a delivery date, and qtsim trades perpetuals; "
            "where the digits mean something else, import the file alone and say its symbol: -p BTCUSDT"
        )


def _load_funding(
    table: pd.DataFrame, guess: _Guess, on_bad_rows: str
) -> tuple[SeriesKey, pd.DataFrame, QualityReport, str]:
    key = SeriesKey("funding", guess.symbol)
    events = as_funding(table, guess.symbol, rate_in_open=True)
    events, turned = _oldest_first(events)
    events, report = check_events(events, what=str(key), on_bad_rows=on_bad_rows, optional=("mark_price",))
    remarks = [turned, report.describe_dropped()]
    return key, events, report, "; ".join(remark for remark in remarks if remark)


def _kind_of(table: pd.DataFrame, guess: _Guess) -> str:
    """Tell bars, mark bars and funding apart: by what the user said, by the file's name, by its columns."""
    names = {plain_name(name) for name in table.columns}
    rate = bool(names & {"funding_rate", "fundingrate", "last_funding_rate", "lastfundingrate"})
    prices = {"open", "high", "low", "close"} <= names or {"o", "h", "l", "c"} <= names
    if guess.kind:
        return guess.kind
    if rate and not prices:
        return "funding"
    if isinstance(table.columns, pd.MultiIndex) or prices:
        return "bars"
    have = ", ".join(str(name) for name in list(table.columns)[:8])
    raise _NotMarketDataError(f"neither candles nor funding; its columns are {have}")


def _oldest_first(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Turn a file that is written newest first, without exception; any other disorder is left to the check."""
    times = times_of(frame)
    if len(times) > 1 and bool((np.diff(times) < 0).all()):
        columns = {str(name): np.ascontiguousarray(frame[name].to_numpy()[::-1]) for name in frame.columns}
        return make_frame(np.ascontiguousarray(times[::-1]), columns), "the file is newest first and was turned"
    return frame, ""


def _spacing(times: Times, symbol: str) -> str:
    """Timeframe of rows: the most frequent distance between neighbours."""
    step = usual_spacing(times)
    if not step:
        raise DataError(f"{symbol}: {len(times)} row does not show the timeframe; say it: --timeframe 1h")
    try:
        return timeframe_name(step)
    except UsageError:
        raise DataError(f"{symbol}: rows are {step / 1e9:g} s apart, which is no timeframe") from None


def _files(folder: Path) -> list[Path]:
    """Readable files of a folder and its subfolders in order of path; hidden ones are left alone."""
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(base) / name for name in names if not name.startswith(".") and tick_extension(Path(name))]
    return sorted(path for path in found if extension(path) != ".txt")


def _from_name(file: Path) -> _Guess:
    """Read kind, symbol and timeframe off a file's name, and the kind off its folders."""
    name = stem(file).removesuffix(".gz").replace("funding_rate", "fundingrate").replace("fundingRate", "fundingrate")
    kind = timeframe = ""
    futures = False
    rest: list[str] = []
    delivery = ""
    months = False
    words_before = 0  # words of the symbol when the token before was read
    for token in re.split(r"[-_ .,()]+", name):
        low = token.lower()
        follows, words_before = len(rest) > words_before, len(rest)
        if follows and is_delivery_date(token):
            of = _symbol_of(rest)
            delivery = f"{of}_{token}" if of else delivery
        if low in _TICK_KINDS and rest:
            kind = _TICK_KINDS[low]
        elif low in _OTHER_KINDS and rest:
            kind = low
        elif low in _KIND_TOKENS:
            kind = kind or _KIND_TOKENS[low]
            futures |= low == "futures"
        elif _TIMEFRAME_TOKEN.match(token) and not timeframe:
            timeframe = normalize_timeframe(token)
        elif _MONTH_TOKEN.match(token) and not timeframe:
            months = True
        elif token and low not in _NOISE and not (_DATE_TOKEN.match(token) or (token.isdigit() and len(token) <= 2)):
            rest.append(token)
    if kind in ("", "bars"):
        kind = _kind_of_folder(file) or kind
    if not rest and _looks_like_symbol(file.parent.name):
        rest = [file.parent.name]
    spot = "spot" in re.split(r"[-_ .,()]+", name.lower())
    return _Guess(kind, delivery or _symbol_of(rest), timeframe, futures, delivery, months, spot)


def _symbol_of(words: Sequence[str]) -> str:
    """The symbol that words of a file's name spell: a base with its quote, or one word alone in capitals (GOOG)."""
    symbol = symbol_among([_plain_word(word) for word in words])
    if not symbol and len(words) == 1 and _SYMBOL_WORD.match(words[0]):
        symbol = words[0]
    return symbol


def _plain_word(word: str) -> str:
    try:
        return normalize_symbol(word)
    except UsageError:
        return word.upper()


def _kind_of_folder(file: Path) -> str:
    """Kind that a file's nearest two folders name, such as `markPriceKlines/BTCUSDT/1h` and `mark_1h`."""
    for folder in [parent.name.lower() for parent in list(file.parents)[:4]]:
        if folder in _TICK_KINDS:
            return _TICK_KINDS[folder]
        if folder in _OTHER_KINDS:
            return folder
        if folder in ("markpriceklines", "fundingrate", "mark", "funding") or folder.startswith(("mark_", "mark-")):
            return "funding" if folder.startswith("funding") else "mark"
    return ""


def _looks_like_symbol(name: str) -> bool:
    return name.isalnum() and name.isupper() and is_whole(name)


def _override(guess: _Guess, fixed: _Guess, whole_folder: bool) -> _Guess:
    """What was said counts before what a name says; in a folder a delivery contract stays one."""
    return replace(
        guess,
        kind=fixed.kind or guess.kind,
        symbol=fixed.symbol or guess.symbol,
        timeframe=fixed.timeframe or guess.timeframe,
        delivery=guess.delivery if whole_folder or not fixed.symbol else "",
        months=guess.months and not fixed.timeframe,
    )


def _spot_beside_futures(guesses: dict[Path, _Guess]) -> set[Path]:
    """Files of freqtrade's spot candles whose symbol and timeframe the same import has as futures candles."""
    futures = {(guess.symbol, guess.timeframe) for guess in guesses.values() if guess.futures}
    return {
        file
        for file, guess in guesses.items()
        if not guess.futures and guess.kind == "" and guess.timeframe and (guess.symbol, guess.timeframe) in futures
    }


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
