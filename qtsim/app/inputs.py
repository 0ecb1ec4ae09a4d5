"""Gather what a run reads: bars, mark bars, funding, columns, instruments; checked and cut to the period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from qtsim.config.settings import Settings
from qtsim.core.records import Records, bar_dt
from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import as_bars, as_funding, times_of
from qtsim.data.funding import default_funding_events, funding_events
from qtsim.data.instruments import Bracket, Instrument, instrument_for, load_instruments, override_instrument
from qtsim.data.passport import bars_passport, funding_passport
from qtsim.data.quality import QualityReport, check_bars
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts, parse_timerange, timeframe_name, timeframe_ns
from qtsim.errors import DataError, UsageError
from qtsim.signals.strategy import Strategy

LEADER = "BTCUSDT"
BAR_FIELDS = ("open", "high", "low", "close", "volume")
MARK_FIELDS = ("open", "high", "low", "close")


@dataclass
class SymbolData:
    """One symbol: all history that strategies may see, and the part that is traded."""

    symbol: str
    history: pd.DataFrame  # canonical bars up to the end of the period, warm-up included
    first: int  # row of the first traded bar
    quality: QualityReport
    source: str
    mark: pd.DataFrame | None = None
    funding: pd.DataFrame | None = None
    instrument: Instrument | None = None

    @property
    def traded(self) -> pd.DataFrame:
        """The bars of the period."""
        return self.history.iloc[self.first :]


@dataclass
class RunInputs:
    """All of a run's data, in name order of the symbols."""

    timeframe: str
    timeframe_ns: int
    symbols: dict[str, SymbolData]
    others: dict[Any, pd.DataFrame] = field(default_factory=dict)  # read by the strategy, not traded
    columns: dict[str, dict[str | None, pd.DataFrame]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    from_store: bool = False

    @property
    def start_ns(self) -> int:
        """Open of the first traded bar."""
        return min(int(times_of(item.traded)[0]) for item in self.symbols.values())

    @property
    def end_ns(self) -> int:
        """Close of the last traded bar."""
        return max(int(times_of(item.traded)[-1]) for item in self.symbols.values()) + self.timeframe_ns

    def frames(self) -> dict[str, pd.DataFrame]:
        """History by symbol."""
        return {symbol: item.history for symbol, item in self.symbols.items()}

    def mark_frames(self) -> dict[str, pd.DataFrame]:
        """Mark bars by symbol, where there are any."""
        return {symbol: item.mark for symbol, item in self.symbols.items() if item.mark is not None}

    def funding_frames(self) -> dict[str, pd.DataFrame]:
        """Funding history by symbol, where there is any."""
        return {symbol: item.funding for symbol, item in self.symbols.items() if item.funding is not None}


def infer_timeframe(frame: pd.DataFrame, symbol: str) -> str:
    """The timeframe of canonical bars, from their most frequent spacing."""
    times = times_of(frame)
    if len(times) < 2:
        raise UsageError(f"{symbol}: one bar does not tell its timeframe; name it: timeframe='1h'")
    steps, counts = np.unique(np.diff(times), return_counts=True)
    return timeframe_name(int(steps[np.argmax(counts)]))


def gather_frames(
    data: Mapping[str, pd.DataFrame],
    settings: Settings,
    *,
    timeframe: str | None,
    mark: Mapping[str, pd.DataFrame] | None = None,
    funding: Mapping[str, pd.DataFrame] | None = None,
) -> RunInputs:
    """Inputs from pandas frames. Any OHLCV table is understood; mark and funding by symbol where given."""
    if not data:
        raise UsageError("no data: give a frame, a dict of frames by symbol, or None for the store")
    shaped = {normalize_symbol(symbol): as_bars(frame, symbol) for symbol, frame in data.items()}
    name = timeframe or infer_timeframe(next(iter(shaped.values())), next(iter(shaped)))
    inputs = RunInputs(name, timeframe_ns(name), {})
    for symbol in sorted(shaped):
        frame, quality = check_bars(
            shaped[symbol], inputs.timeframe_ns, symbol=symbol, on_bad_rows=settings.data.on_bad_rows
        )
        source = str(shaped[symbol].attrs.get("source") or data[symbol].attrs.get("source") or "frame")
        item = _cut(symbol, frame, quality, source, settings, inputs.warnings)
        if mark and symbol in mark:
            item.mark = as_bars(mark[symbol], symbol, kind="mark")
        if funding and symbol in funding:
            item.funding = as_funding(funding[symbol], symbol)
        inputs.symbols[symbol] = item
    return inputs


def gather_store(store: Store, settings: Settings, symbols: Sequence[str]) -> RunInputs:
    """Inputs from a store: bars, mark bars and funding of each symbol."""
    name = settings.run.timeframe
    inputs = RunInputs(name, timeframe_ns(name), {}, from_store=True)
    _, end = parse_timerange(settings.run.timerange)
    for symbol in sorted({normalize_symbol(symbol) for symbol in symbols}):
        whole = store.read_bars(symbol, name)
        frame, quality = check_bars(whole, inputs.timeframe_ns, symbol=symbol, on_bad_rows=settings.data.on_bad_rows)
        made_of = whole.attrs.get("resampled_from")
        if made_of:
            inputs.warnings.append(f"{symbol}: {name} bars are made of the stored {made_of} bars")
        item = _cut(symbol, frame, quality, str(whole.attrs.get("source", "")), settings, inputs.warnings)
        if store.find(symbol, name, "mark") is not None:
            item.mark = store.read_bars(symbol, name, kind="mark")
        if store.has(symbol, kind="funding"):
            item.funding = store.read_funding(symbol, None, end)
        inputs.symbols[symbol] = item
    return inputs


def add_strategy_needs(inputs: RunInputs, strategy: Strategy, store: Store | None, settings: Settings) -> None:
    """Load what the strategy names in `uses`, and the leader whose ATR the symbol risk compares with."""
    wanted = [normalize_symbol(symbol) for symbol in strategy.uses.symbols]
    leader = leader_symbol(settings)
    for symbol in dict.fromkeys([*wanted, leader]):
        if symbol in inputs.symbols or store is None:
            continue
        if store.find(symbol, inputs.timeframe) is not None:
            frame = store.read_bars(symbol, inputs.timeframe, None, inputs.end_ns)
            inputs.others[symbol] = check_bars(
                frame, inputs.timeframe_ns, symbol=symbol, on_bad_rows=settings.data.on_bad_rows
            )[0]
    for column in strategy.uses.columns:
        if column in ("funding_rate", "mark_close") or store is None:
            continue
        series: dict[str | None, pd.DataFrame] = {}
        for owner in (None, *inputs.symbols):
            if store.has(owner, kind="column", name=column):
                series[owner] = store.read_column(column, owner)
        if series:
            inputs.columns[column] = series


def leader_symbol(settings: Settings) -> str:
    """The symbol that `regime.leader.symbol` names; auto is BTCUSDT."""
    named = settings.regime.leader.symbol
    return LEADER if named == "auto" else normalize_symbol(named)


def add_instruments(inputs: RunInputs, settings: Settings, given: Mapping[str, Any], *, plain: bool) -> None:
    """The exchange's rules of every traded symbol. given: symbol → Instrument, or fields that replace the table's."""
    table = load_instruments(settings.data.venue)
    overrides: dict[str, Instrument] = {}
    for symbol, rules in given.items():
        name = normalize_symbol(symbol)
        overrides[name] = rules if isinstance(rules, Instrument) else override_instrument(name, rules, table)
    unused = sorted(set(overrides) - set(inputs.symbols))
    if unused:
        raise UsageError(f"instrument {unused[0]}: not among the run's symbols ({', '.join(inputs.symbols)})")
    for symbol, item in inputs.symbols.items():
        item.instrument = instrument_for(symbol, table, overrides, plain)


def instrument_fields(instrument: Instrument) -> dict[str, Any]:
    """An instrument as plain values, for JSON; `instrument_from_fields` is the inverse."""
    return {
        item.name: str(value) if isinstance(value := getattr(instrument, item.name), Decimal) else value
        for item in fields(instrument)
    } | {"brackets": [list(bracket) for bracket in instrument.brackets], "assumed": list(instrument.assumed)}


def instrument_from_fields(values: Mapping[str, Any]) -> Instrument:
    """The instrument whose plain values are given."""
    steps = {name: Decimal(values[name]) for name in ("lot", "min_qty")}
    tick = None if values["tick"] is None else Decimal(values["tick"])
    brackets = tuple(Bracket(*map(float, row)) for row in values["brackets"])
    return Instrument(**{**values, **steps, "tick": tick, "brackets": brackets, "assumed": tuple(values["assumed"])})


def bar_rows(item: SymbolData, settings: Settings, warnings: list[str]) -> tuple[Records, bool]:
    """The traded bars as records, and whether they carry mark history; last price where a mark bar is missing."""
    frame = item.traded
    rows = np.zeros(len(frame), bar_dt)
    rows["ts_open"] = times_of(frame)
    for name in BAR_FIELDS:
        rows[name] = frame[name].to_numpy()
    for name in MARK_FIELDS:
        rows[f"mark_{name}"] = rows[name]
    wanted = settings.data.mark_price
    if wanted == "off":
        return rows, False
    found = np.zeros(len(frame), dtype=bool)
    if item.mark is not None and len(item.mark):
        times = times_of(item.mark)
        at = np.minimum(np.searchsorted(times, rows["ts_open"]), len(times) - 1)
        found = times[at] == rows["ts_open"]
        for name in MARK_FIELDS:
            rows[f"mark_{name}"][found] = item.mark[name].to_numpy()[at[found]]
    if wanted == "required" and not found.all():
        raise DataError(
            f"{item.symbol}: data.mark_price = required, and {int((~found).sum()):,} of {len(rows):,} bars have no "
            f"mark price, the first at {format_ts(int(rows['ts_open'][~found][0]))}; import mark bars or set it to auto"
        )
    if not found.any():
        return rows, False
    if not found.all():
        warnings.append(
            f"{item.symbol}: {int((~found).sum()):,} of {len(rows):,} bars have no mark price; the last price stands in"
        )
    return rows, True


def funding_rows(item: SymbolData, settings: Settings, timeframe: int, warnings: list[str]) -> tuple[Records, str]:
    """Funding events of the period and where they come from: history, default, both, or off.

    Before the first and after the last event of the history the default rate is charged, with a warning.
    """
    source = settings.costs.funding.source
    start = int(times_of(item.traded)[0])
    end = int(times_of(item.traded)[-1]) + timeframe
    rate = settings.costs.funding.default_rate
    if source == "off":
        return default_funding_events(start, start, rate), "off"
    # an event at the very end meets positions that are still open then
    default = default_funding_events(start, end + 1, rate)
    if source == "default":
        return default, "default"
    if item.funding is None or not len(item.funding):
        warnings.append(
            f"{item.symbol}: no funding history; {rate:.4%} is charged every 8 h (costs.funding.default_rate)"
        )
        return default, "default"
    known = funding_events(item.funding, item.symbol, start, end + 1)
    times = times_of(item.funding)
    day = 24 * 3_600_000_000_000
    before = default[default["ts"] < times[0]]
    after = default[default["ts"] > times[-1] + day // 3]
    if not len(before) and not len(after):
        return known, "history"
    warnings.append(
        f"{item.symbol}: funding history covers {format_ts(int(times[0]))} to {format_ts(int(times[-1]))} only; "
        f"{len(before) + len(after):,} events outside it are charged at {rate:.4%}"
    )
    return np.concatenate([before, known, after]), "history" if len(known) else "default"


def passports(inputs: RunInputs) -> dict[str, dict[str, Any]]:
    """What a run keeps about its data, by symbol and kind."""
    found: dict[str, dict[str, Any]] = {}
    for symbol, item in inputs.symbols.items():
        bars = item.traded
        mark = None
        if item.mark is not None and len(item.mark):
            times = times_of(item.mark)
            mark = item.mark[(times >= times_of(bars)[0]) & (times <= times_of(bars)[-1])]
        found[symbol] = bars_passport(
            symbol, inputs.timeframe, bars, source=item.source, mark=mark, instrument=item.instrument
        )
        if item.funding is not None and len(item.funding):
            found[f"{symbol} funding"] = funding_passport(symbol, item.funding, source=item.source)
    return found


def fingerprints(inputs: RunInputs) -> dict[str, str]:
    """Content digests of everything the run reads up to its end, by what it is: `bars BTCUSDT 1h`."""
    end = inputs.end_ns
    prints: dict[str, str] = {}
    for symbol, item in inputs.symbols.items():
        prints[f"bars {symbol} {inputs.timeframe}"] = fingerprint(until(item.history, end))
        if item.mark is not None:
            prints[f"mark {symbol} {inputs.timeframe}"] = fingerprint(until(item.mark, end))
        if item.funding is not None:
            prints[f"funding {symbol}"] = fingerprint(until(item.funding, end + 1))
    for key, frame in inputs.others.items():
        prints[f"bars {key} {inputs.timeframe}"] = fingerprint(until(frame, end))
    for name, owners in inputs.columns.items():
        for owner, frame in owners.items():
            prints[f"column {name} {owner or 'all'}"] = fingerprint(until(frame, end))
    return prints


def until(frame: pd.DataFrame, end_ns: int) -> pd.DataFrame:
    """The rows before `end_ns`."""
    return frame.iloc[: int(np.searchsorted(times_of(frame), end_ns, side="left"))]


def _cut(
    symbol: str, frame: pd.DataFrame, quality: QualityReport, source: str, settings: Settings, warnings: list[str]
) -> SymbolData:
    start, end = parse_timerange(settings.run.timerange)
    times = times_of(frame)
    last = len(times) if end is None else int(np.searchsorted(times, end, side="left"))
    first = 0 if start is None else int(np.searchsorted(times, start, side="left"))
    if first >= last:
        raise UsageError(
            f"{symbol}: no bars in {settings.run.timerange}; there are {format_ts(int(times[0]))} to "
            f"{format_ts(int(times[-1]))}"
        )
    if start is not None and times[0] > start:
        warnings.append(f"{symbol}: asked for {format_ts(start)}, its bars begin {format_ts(int(times[0]))}")
    if quality.dropped or quality.unsorted:
        warnings.append(f"{symbol}: {quality.describe_dropped()}")
    history = frame.iloc[:last]
    return SymbolData(symbol, history, first, quality, source)
