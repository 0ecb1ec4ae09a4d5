"""Gather what a run reads: bars, mark bars, funding, columns, instruments; checked and cut to the period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.path import DetailCover, detail_rows, refined_opens
from qtsim.app.trades import traded_span
from qtsim.config.settings import Settings
from qtsim.core.records import Records, bar_dt
from qtsim.data.detail import contradictions
from qtsim.data.fingerprint import fingerprint
from qtsim.data.frames import Times, as_bars, as_funding, times_of
from qtsim.data.funding import Hole, default_funding_events, funding_events, missing_funding_events
from qtsim.data.instruments import Bracket, Instrument, instrument_for, load_instruments, override_instrument
from qtsim.data.passport import bars_passport, funding_passport, source_of_bars
from qtsim.data.quality import QualityReport, check_bars, check_events, check_not_finer, check_spacing, usual_spacing
from qtsim.data.sectors import read_sectors, sectors_fingerprint
from qtsim.data.store import Store
from qtsim.data.symbols import normalize_symbol
from qtsim.data.ticks import TickStore
from qtsim.data.ticks.passport import recorded_passport
from qtsim.data.ticks.store import KINDS as TICK_KINDS
from qtsim.data.timeframes import format_ts, parse_timerange, timeframe_name, timeframe_ns
from qtsim.errors import DataError, UsageError
from qtsim.signals.strategy import Strategy

LEADER = "BTCUSDT"
BAR_FIELDS = ("open", "high", "low", "close", "volume")
MARK_FIELDS = ("open", "high", "low", "close")
SHOWN_HOLES = 3
"""Holes of a funding history that a warning names; the others are counted."""


@dataclass
class SymbolData:
    """One symbol: all history that strategies may see, and the part that is traded."""

    symbol: str
    history: pd.DataFrame  # canonical bars up to the end of the period, warm-up included
    first: int  # row of the first traded bar
    quality: QualityReport
    source: str
    detail: pd.DataFrame | None = None  # finer bars of the period, in detail mode
    detail_mark: pd.DataFrame | None = None
    detail_source: str = ""
    detail_mark_source: str = ""
    mark: pd.DataFrame | None = None
    mark_source: str = ""
    other_marks: Sequence[str] = ()  # timeframes of stored mark bars of which the run's cannot be made
    funding: pd.DataFrame | None = None
    funding_source: str = ""
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
    sectors: dict[str, str] = field(default_factory=dict)  # the user's own table
    sectors_print: str = ""
    detail_ns: int = 0  # length of the finer bars; 0: none
    ticks: TickStore | None = None  # where the trades are, with sim.mode = ticks
    trade_spans: dict[str, tuple[int, int]] = field(default_factory=dict)  # times of each symbol's first and last

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
    step = usual_spacing(times_of(frame))
    if not step:
        raise UsageError(f"{symbol}: one bar does not tell its timeframe; name it: timeframe='1h'")
    return timeframe_name(step)


def gather_frames(
    data: Mapping[str, pd.DataFrame],
    settings: Settings,
    *,
    timeframe: str | None,
    mark: Mapping[str, pd.DataFrame] | None = None,
    funding: Mapping[str, pd.DataFrame] | None = None,
) -> RunInputs:
    """Inputs from pandas frames by symbol. Any OHLCV table is understood; mark and funding by symbol where given."""
    if not data:
        raise UsageError("no data: give a frame, a dict of frames by symbol, or None for the store")
    for what, given in (("mark", mark or {}), ("funding", funding or {})):
        unused = sorted(set(given) - set(data))
        if unused:
            raise UsageError(f"{what} of {unused[0]}: not among the run's symbols ({', '.join(data)})")
    empty = next((symbol for symbol, frame in data.items() if not len(frame)), None)
    if empty is not None:
        raise UsageError(f"{empty}: the frame has no rows; give its bars, or leave the symbol out")
    shaped = {symbol: as_bars(frame, symbol) for symbol, frame in data.items()}
    name = timeframe or infer_timeframe(next(iter(shaped.values())), next(iter(shaped)))
    inputs = RunInputs(name, timeframe_ns(name), {})
    for symbol in sorted(shaped):
        check_spacing(times_of(shaped[symbol]), inputs.timeframe_ns, symbol)
        frame, quality = check_bars(
            shaped[symbol], inputs.timeframe_ns, symbol=symbol, on_bad_rows=settings.data.on_bad_rows
        )
        item = _cut(inputs, symbol, frame, quality, _source_of(data[symbol]), settings)
        if mark and symbol in mark:
            set_mark(inputs, item, mark[symbol], _source_of(mark[symbol]), settings)
        if funding and symbol in funding:
            set_funding(inputs, item, funding[symbol], _source_of(funding[symbol]), settings)
        inputs.symbols[symbol] = item
    return inputs


def set_mark(inputs: RunInputs, item: SymbolData, frame: pd.DataFrame, source: str, settings: Settings) -> None:
    """Give a symbol its mark bars, checked as bars are."""
    what = f"{item.symbol} mark"
    bars = as_bars(frame, what, kind="mark")
    check_not_finer(times_of(bars), inputs.timeframe_ns, what)
    item.mark, quality = check_bars(bars, inputs.timeframe_ns, symbol=what, on_bad_rows=settings.data.on_bad_rows)
    item.mark_source = source
    _tell_dropped(inputs, what, quality)


def set_funding(inputs: RunInputs, item: SymbolData, frame: pd.DataFrame, source: str, settings: Settings) -> None:
    """Give a symbol its funding history, checked; a history without events stays one."""
    what = f"{item.symbol} funding"
    events = as_funding(frame, what)
    item.funding, item.funding_source = events, source
    if not len(events):
        return
    item.funding, quality = check_events(
        events, what=what, on_bad_rows=settings.data.on_bad_rows, optional=("mark_price",)
    )
    _tell_dropped(inputs, what, quality)


def add_stored_history(inputs: RunInputs, store: Store, settings: Settings) -> None:
    """Mark bars and funding of every symbol that has none yet, as far as the store has them."""
    _, end = parse_timerange(settings.run.timerange)
    for symbol, item in inputs.symbols.items():
        if item.mark is None and store.find(symbol, inputs.timeframe, "mark") is not None:
            bars = store.read_bars(symbol, inputs.timeframe, kind="mark")
            set_mark(inputs, item, bars, source_of_bars(bars), settings)
        if item.mark is None:
            item.other_marks = store.timeframes(symbol, "mark")
        if item.funding is None and store.has(symbol, kind="funding"):
            # an event at the very end meets positions that are still open then
            events = store.read_funding(symbol, None, None if end is None else end + 1)
            set_funding(inputs, item, events, store.entry(symbol, kind="funding").source, settings)
    if settings.sim.mode == "detail":
        add_stored_detail(inputs, store, settings)


def set_detail(
    inputs: RunInputs, frames: Mapping[str, pd.DataFrame], settings: Settings, *, kind: str = "bars"
) -> None:
    """Give symbols finer bars, or finer mark bars, checked as bars are and cut to the period.

    Errors: UsageError where the run's bars do not consist of them.
    """
    name = settings.data.detail_timeframe
    length = timeframe_ns(name)
    if length >= inputs.timeframe_ns or inputs.timeframe_ns % length:
        finer = next((one for one in ("1m", "1s") if timeframe_ns(one) < inputs.timeframe_ns), "")
        right = f"name a shorter timeframe that divides them, such as {finer}" if finer else "leave --detail out"
        raise UsageError(
            f"data.detail_timeframe = {name}: {inputs.timeframe} bars do not consist of {name} bars; {right}"
        )
    inputs.detail_ns = length
    for symbol, frame in frames.items():
        what = f"{symbol} {name}" if kind == "bars" else f"{symbol} {name} mark"
        shaped = as_bars(frame, what, kind=kind)
        check_spacing(times_of(shaped), length, what)
        checked, quality = check_bars(shaped, length, symbol=what, on_bad_rows=settings.data.on_bad_rows)
        item = inputs.symbols[symbol]
        within = checked.loc[(times_of(checked) >= inputs.start_ns) & (times_of(checked) < inputs.end_ns)]
        if kind == "bars":
            item.detail, item.detail_source = within, _source_of(frame)
        else:
            item.detail_mark, item.detail_mark_source = within, _source_of(frame)
        _tell_dropped(inputs, what, quality)


def add_stored_detail(inputs: RunInputs, store: Store, settings: Settings) -> None:
    """Finer bars and mark bars of every symbol that has none yet, as far as the store has them.

    Errors: DataError where there are no finer bars of any symbol.
    """
    name = settings.data.detail_timeframe
    for kind in ("bars", "mark"):
        stored = [
            symbol
            for symbol, item in inputs.symbols.items()
            if (item.detail if kind == "bars" else item.detail_mark) is None
            and store.find(symbol, name, kind) is not None
        ]
        found = {symbol: _of_period(store.read_bars(symbol, name, kind=kind), inputs) for symbol in stored}
        # a symbol whose finer bars lie outside the period has none, as one of which none are stored
        set_detail(inputs, {symbol: frame for symbol, frame in found.items() if len(frame)}, settings, kind=kind)
    if all(item.detail is None or not len(item.detail) for item in inputs.symbols.values()):
        raise DataError(
            f"there are no {name} bars of {', '.join(inputs.symbols)} in the period; import them with "
            f"qtsim data import PATH, download them with qtsim data download -i {name} (after a run, with --ambiguous "
            "RUN, those of its ambiguous bars alone), or leave --detail out"
        )


def _of_period(frame: pd.DataFrame, inputs: RunInputs) -> pd.DataFrame:
    """The rows of the traded period, maybe none."""
    times = times_of(frame)
    return frame.iloc[np.searchsorted(times, inputs.start_ns) : np.searchsorted(times, inputs.end_ns)]


def refined_bars(inputs: RunInputs) -> Times:
    """Opens of the bars that any symbol has finer bars of, ns, ascending; none without detail mode."""
    items = [item for item in inputs.symbols.values() if item.detail is not None]
    opens = [times_of(item.traded) for item in items]
    return refined_opens(opens, inputs.timeframe_ns, [item.detail for item in items if item.detail is not None])


def path_rows(
    item: SymbolData, bars: Records, inputs: RunInputs, refined: Times, tick: float, lot: float
) -> tuple[Records, DetailCover | None]:
    """The path of a symbol's traded bars: themselves, or in detail mode finer ones where there are any.

    bars: bar_dt of the traded bars; refined: see `refined_bars`. What the finer bars lack or contradict is a warning.
    """
    if not inputs.detail_ns:
        return bars, None
    detail = item.detail if item.detail is not None else item.traded.iloc[:0]
    rows, cover = detail_rows(bars, inputs.timeframe_ns, detail, inputs.detail_ns, item.detail_mark, refined)
    name = timeframe_name(inputs.detail_ns)
    if cover.unfolded:
        inputs.warnings.append(
            f"{item.symbol}: {cover.unfolded:,} of {cover.bars:,} bars have no {name} bars; their own path stands in"
        )
    if cover.partly:
        inputs.warnings.append(
            f"{item.symbol}: {cover.partly:,} of {cover.bars:,} bars lack some of their {name} bars; those are gaps"
        )
    if len(detail):
        found = contradictions(
            item.traded, detail, coarse_ns=inputs.timeframe_ns, detail_ns=inputs.detail_ns, tick=tick, lot=lot
        )
        if len(found.differing):
            inputs.warnings.append(f"{item.symbol}: {found.describe().split('; ')[0]}; the finer bars count")
    return rows, cover


def _source_of(frame: pd.DataFrame) -> str:
    return str(frame.attrs.get("source") or "frame")


def _tell_dropped(inputs: RunInputs, what: str, quality: QualityReport) -> None:
    if quality.dropped or quality.unsorted:
        inputs.warnings.append(f"{what}: {quality.describe_dropped()}")


def gather_store(store: Store, settings: Settings, symbols: Sequence[str]) -> RunInputs:
    """Inputs from a store: bars, mark bars and funding of each symbol.

    Of `all` symbols, those without bars in the period are left out with a warning.
    """
    name = settings.run.timeframe
    left_out: dict[str, UsageError] = {}
    inputs = RunInputs(name, timeframe_ns(name), {}, from_store=True)
    for symbol in sorted({normalize_symbol(symbol) for symbol in symbols}):
        whole = _bars_of(store, symbol, settings)
        frame, quality = check_bars(whole, inputs.timeframe_ns, symbol=symbol, on_bad_rows=settings.data.on_bad_rows)
        try:
            inputs.symbols[symbol] = _cut(inputs, symbol, frame, quality, source_of_bars(whole), settings)
        except UsageError as error:
            if list(settings.run.symbols) != ["all"]:
                raise
            left_out[symbol] = error
            continue
        made_of = whole.attrs.get("resampled_from")
        if made_of:
            inputs.warnings.append(f"{symbol}: {name} bars are made of the stored {made_of} bars")
    if left_out and not inputs.symbols:
        raise next(iter(left_out.values()))
    if left_out:
        inputs.warnings.append(f"without bars in {settings.run.timerange} and left out: {', '.join(left_out)}")
    if settings.sim.mode == "ticks":
        keep_traded(inputs, store, settings)
    add_stored_history(inputs, store, settings)
    return inputs


def _bars_of(store: Store, symbol: str, settings: Settings) -> pd.DataFrame:
    """The bars that the strategy sees: the store's, or with trades as the path those that trades make."""
    name = settings.run.timeframe
    if settings.sim.mode == "ticks" and store.find(symbol, name) is None:
        made = TickStore.beside(store).bars(symbol, name, *parse_timerange(settings.run.timerange))
        made.attrs["source"] = "its own trades"
        return made
    return store.read_bars(symbol, name)


def keep_traded(inputs: RunInputs, store: Store, settings: Settings) -> None:
    """Cut every symbol to the bars in which it has trades; what lies before them warms the strategy up."""
    inputs.ticks = TickStore.beside(store)
    start, end = parse_timerange(settings.run.timerange)
    for symbol, item in inputs.symbols.items():
        first, last = traded_span(inputs.ticks, symbol, start, end)
        times = times_of(item.history)
        kept = int(np.searchsorted(times, last, side="right"))
        item.first = max(item.first, int(np.searchsorted(times, first, side="right")) - 1, 0)
        item.history = item.history.iloc[:kept]
        if item.first >= kept:
            raise DataError(
                f"{symbol}: its {inputs.timeframe} bars end {format_ts(int(times[-1]))} and its trades begin "
                f"{format_ts(first)}; a run on trades needs both"
            )
        inputs.trade_spans[symbol] = (first, last)
        lacking = len(inputs.ticks.missing_days(symbol, first, last + 1))
        if lacking:
            inputs.warnings.append(
                f"{symbol}: no trades on {lacking:,} of the days between its first trade and its last; nothing is "
                "filled on them, and a signal expires"
            )
    require_quotes(inputs, settings)


def require_quotes(inputs: RunInputs, settings: Settings) -> None:
    """Errors: DataError where slippage is the quoted spread of trades, and a symbol has no quotes."""
    if inputs.ticks is None or settings.costs.slippage.model != "spread":
        return
    for symbol, (first, last) in inputs.trade_spans.items():
        if not inputs.ticks.days_between(symbol, first, last + 1, "quotes"):
            raise DataError(
                f"{symbol}: costs.slippage.model = spread needs quotes, and there are none in the period; import "
                "bookTicker files or choose fixed, size or impact"
            )


def add_strategy_needs(inputs: RunInputs, strategy: Strategy, store: Store | None, settings: Settings) -> None:
    """Load what the strategy names in `uses`, and the leader whose ATR the symbol risk compares with.

    Errors: UsageError where the settings name a leader of which there are no bars; `auto` is off then.
    """
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
    own = settings.regime.leader.timeframe
    if store is not None and own != inputs.timeframe and store.find(leader, own) is not None:
        # the history of its own timeframe, which may be longer than that of the run's
        inputs.others[leader, own] = closed_by(store.read_bars(leader, own), timeframe_ns(own), inputs.end_ns)
    if settings.regime.leader.symbol != "auto" and leader not in (*inputs.symbols, *inputs.others):
        raise UsageError(
            f"regime.leader.symbol = {settings.regime.leader.symbol}: there are no {inputs.timeframe} bars of it; "
            "import them with qtsim data import PATH, or set it to auto"
        )
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


def add_instruments(
    inputs: RunInputs, settings: Settings, given: Mapping[str, Any], store: Store | None, *, plain: bool
) -> None:
    """The exchange's rules of every traded symbol: those given, else those of the store's own table, else the shipped;
    and the user's own sectors.

    given: symbol → Instrument, or fields that replace the table's.
    """
    table = load_instruments(settings.data.venue, store.folder if store else None)
    overrides: dict[str, Instrument] = {}
    for symbol, rules in given.items():
        name = normalize_symbol(symbol)
        if not isinstance(rules, Instrument | Mapping):
            raise UsageError(
                f"instrument {symbol}: {rules!r} is no set of rules; give an Instrument, or fields such as "
                '{"tick": 0.1, "lot": 0.001}'
            )
        overrides[name] = rules if isinstance(rules, Instrument) else override_instrument(name, rules, table)
    unused = sorted(set(overrides) - set(inputs.symbols))
    if unused:
        raise UsageError(f"instrument {unused[0]}: not among the run's symbols ({', '.join(inputs.symbols)})")
    if store is not None:
        inputs.sectors = read_sectors(store.folder, {*table, *inputs.symbols, *store.symbols()})
        inputs.sectors_print = sectors_fingerprint(store.folder)
    for symbol, item in inputs.symbols.items():
        item.instrument = instrument_for(symbol, table, overrides, plain)
        if symbol not in overrides and not plain and "brackets" in item.instrument.assumed:
            inputs.warnings.append(
                f"{symbol}: its maintenance brackets are not known; {100 * item.instrument.brackets[0].rate:g} % up to "
                f"{item.instrument.max_leverage:g}x is assumed, which liquidates early"
            )


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
    rows["half_spread"] = np.nan
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
        other = f" of this timeframe (of {', '.join(item.other_marks)} there is)" if item.other_marks else ""
        warnings.append(f"{item.symbol}: no mark history{other}; the last price stands in")
        return rows, False
    if not found.all():
        warnings.append(
            f"{item.symbol}: {int((~found).sum()):,} of {len(rows):,} bars have no mark price; the last price stands in"
        )
    return rows, True


def funding_rows(item: SymbolData, settings: Settings, timeframe: int, warnings: list[str]) -> tuple[Records, str]:
    """Funding events of the period and where they come from: history, default, both, or off.

    Before the first and after the last event of the history, and in its holes, the default rate is charged, with a
    warning.
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
    history = until(item.funding, end + 1)
    known = funding_events(history, item.symbol, start, end + 1)
    times = times_of(history) if len(history) else times_of(item.funding)
    missing, holes = missing_funding_events(times, start, end + 1, rate)
    outside = len(missing) - sum(hole.events for hole in holes)
    if outside:
        warnings.append(
            f"{item.symbol}: funding history covers {format_ts(int(times[0]))} to {format_ts(int(times[-1]))} only; "
            f"{_events(outside)} outside it {_are(outside)} charged at {rate:.4%}"
        )
    if holes:
        warnings.append(f"{item.symbol}: {_describe_holes(holes)} charged at {rate:.4%}")
    events = np.concatenate([known, missing])
    return events[np.argsort(events["ts"], kind="stable")], "history" if len(known) else "default"


def _describe_holes(holes: Sequence[Hole]) -> str:
    shown = ", ".join(
        f"{format_ts(hole.start)} to {format_ts(hole.end)} ({_events(hole.events)})" for hole in holes[:SHOWN_HOLES]
    )
    more = f" and {len(holes) - SHOWN_HOLES:,} more times" if len(holes) > SHOWN_HOLES else ""
    count = sum(hole.events for hole in holes)
    return f"funding history has nothing from {shown}{more}; {_events(count)} {_are(count)}"


def _events(count: int) -> str:
    return f"{count:,} event" if count == 1 else f"{count:,} events"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def passports(inputs: RunInputs, covers: Mapping[str, DetailCover]) -> dict[str, dict[str, Any]]:
    """What a run keeps about its data, by symbol and kind. covers: in detail mode, which bars have finer ones."""
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
        if mark is not None and len(mark):
            found[f"{symbol} mark"] = bars_passport(
                symbol, inputs.timeframe, mark, kind="mark", source=item.mark_source
            )
        if item.funding is not None and len(item.funding):
            found[f"{symbol} funding"] = funding_passport(symbol, item.funding, source=item.funding_source)
        if symbol in covers:
            found |= _detail_passports(inputs, item, covers[symbol])
        if inputs.ticks is not None:
            for kind in TICK_KINDS:
                recorded = recorded_passport(inputs.ticks, symbol, kind, inputs.start_ns, inputs.end_ns)
                if recorded is not None:
                    found[f"{symbol} {kind}"] = recorded
    return found


def _detail_passports(inputs: RunInputs, item: SymbolData, cover: DetailCover) -> dict[str, dict[str, Any]]:
    """Finer bars and mark bars: how many bars have them, and what is missing inside those; no gap lies between them."""
    found = {}
    name, pieces = timeframe_name(inputs.detail_ns), inputs.timeframe_ns // inputs.detail_ns
    for kind, frame, source in (
        ("detail", item.detail, item.detail_source),
        ("detail mark", item.detail_mark, item.detail_mark_source),
    ):
        if frame is None or not len(frame):
            continue
        passport = bars_passport(item.symbol, name, frame, kind=kind, source=source)
        if kind == "detail":
            passport["covers"] = f"{cover.covered:,} of {cover.bars:,} {inputs.timeframe} bars"
            passport["missing"] = cover.covered * pieces - cover.rows
        else:
            del passport["missing"]
        found[f"{item.symbol} {kind}"] = {k: v for k, v in passport.items() if k not in ("gaps", "longest_gap")}
    return found


def fingerprints(inputs: RunInputs) -> dict[str, str]:
    """Content digests of everything the run reads up to its end, by what it is: `bars BTCUSDT 1h`."""
    end = inputs.end_ns
    prints: dict[str, str] = {"sectors": inputs.sectors_print} if inputs.sectors_print else {}
    for symbol, item in inputs.symbols.items():
        prints[f"bars {symbol} {inputs.timeframe}"] = fingerprint(until(item.history, end))
        name = timeframe_name(inputs.detail_ns) if inputs.detail_ns else ""
        if item.detail is not None and len(item.detail):
            prints[f"bars {symbol} {name}"] = fingerprint(item.detail)
        if item.detail_mark is not None and len(item.detail_mark):
            prints[f"mark {symbol} {name}"] = fingerprint(item.detail_mark)
        if item.mark is not None:
            prints[f"mark {symbol} {inputs.timeframe}"] = fingerprint(until(item.mark, end))
        if item.funding is not None:
            prints[f"funding {symbol}"] = fingerprint(until(item.funding, end + 1))
    if inputs.ticks is not None:
        for symbol in inputs.symbols:
            for kind in TICK_KINDS:
                if inputs.ticks.days_between(symbol, inputs.start_ns, end, kind):
                    prints[f"{kind} {symbol}"] = inputs.ticks.fingerprint(symbol, inputs.start_ns, end, kind)
    for key, frame in inputs.others.items():
        symbol, timeframe = key if isinstance(key, tuple) else (key, inputs.timeframe)
        prints[f"bars {symbol} {timeframe}"] = fingerprint(closed_by(frame, timeframe_ns(timeframe), end))
    for name, owners in inputs.columns.items():
        for owner, frame in owners.items():
            prints[f"column {name} {owner or 'all'}"] = fingerprint(until(frame, end))
    return prints


def closed_by(frame: pd.DataFrame, length: int, end_ns: int) -> pd.DataFrame:
    """The bars of `length` ns that had closed by `end_ns`."""
    return until(frame, end_ns - length + 1)


def until(frame: pd.DataFrame, end_ns: int) -> pd.DataFrame:
    """The rows before `end_ns`."""
    return frame.iloc[: int(np.searchsorted(times_of(frame), end_ns, side="left"))]


def _cut(
    inputs: RunInputs, symbol: str, frame: pd.DataFrame, quality: QualityReport, source: str, settings: Settings
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
        inputs.warnings.append(f"{symbol}: asked for {format_ts(start)}, its bars begin {format_ts(int(times[0]))}")
    closed = int(times[-1]) + inputs.timeframe_ns
    if end is not None and closed < end:
        inputs.warnings.append(f"{symbol}: asked for bars to {format_ts(end)}, they end {format_ts(closed)}")
    _tell_dropped(inputs, symbol, quality)
    history = frame.iloc[:last]
    return SymbolData(symbol, history, first, quality, source)
