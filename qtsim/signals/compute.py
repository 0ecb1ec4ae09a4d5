"""From a strategy and frames to the rows that the simulator reads."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qtsim.core.records import Records, close_dt
from qtsim.data.symbols import normalize_symbol
from qtsim.data.timeframes import format_ts
from qtsim.errors import StrategyError
from qtsim.signals.bars import END_OF_TIME, START_OF_TIME, Bars, Market, Sources, column_remedy
from qtsim.signals.market_columns import fill_market_columns, regime_length
from qtsim.signals.regimes import LeaderRules, closes_of, fill_regime_columns
from qtsim.signals.strategy import Strategy, is_cross_sectional, require_valid
from qtsim.signals.table import RowError, SignalTable, TagTable, as_signals, empty_rows

if TYPE_CHECKING:
    import pandas as pd

_PACKAGE = str(Path(__file__).resolve().parents[1])


@dataclass
class SignalSet:
    """One symbol's signals.

    `rows`: `signal_dt` of shape (n_bars,), market columns filled in; `tags`: the run's table of tags, one list shared
    by all symbols; `both_sides`: bars that asked for both sides; `states_confidence`: whether any bar has a confidence;
    `closes`: close_dt of the regime's bars, which are `regime_ns` long.
    """

    rows: Records
    tags: list[str] = field(default_factory=list)
    both_sides: int = 0
    states_confidence: bool = False
    closes: Records = field(default_factory=lambda: np.zeros(0, close_dt))
    regime_ns: int = 0


def compute_signals(
    strategy: Strategy,
    frames: Mapping[str, pd.DataFrame],
    timeframe: str,
    *,
    regime_timeframe: str = "1h",
    leader: str | None = None,
    leader_rules: LeaderRules | None = None,
    mark_frames: Mapping[str, pd.DataFrame] | None = None,
    funding_frames: Mapping[str, pd.DataFrame] | None = None,
    column_frames: Mapping[str, Any] | None = None,
    other_frames: Mapping[Any, pd.DataFrame] | None = None,
) -> dict[str, SignalSet]:
    """Ask a strategy about every closed bar of every symbol, and fill in the market's own columns.

    Parameters
    ----------
    strategy : Strategy
    frames : mapping of symbol to DataFrame
        Bars to trade, of `timeframe`; a row of the result per row of the frame.
    regime_timeframe : str
        Bars of the ATR; the run's own where that is coarser.
    leader : str or None
        Symbol that `symbol_risk` compares with, and whose daily closes are the global regime.
    leader_rules : LeaderRules
    mark_frames, funding_frames, column_frames, other_frames
        As in `Sources`.

    Returns
    -------
    dict of symbol to SignalSet, in name order

    Raises
    ------
    StrategyError
        The strategy raises, answers in the wrong shape, or reads what it did not name or what is missing; strategy,
        symbol and the line of its file are named.
    UsageError
        Parameters that do not fit together.
    """
    sources = Sources(
        frames,
        timeframe,
        other_frames=other_frames,
        mark_frames=mark_frames,
        funding_frames=funding_frames,
        column_frames=column_frames,
    )
    return answer_sources(
        strategy, sources, regime_timeframe=regime_timeframe, leader=leader, leader_rules=leader_rules or LeaderRules()
    )


def answer_sources(
    strategy: Strategy,
    sources: Sources,
    *,
    regime_timeframe: str,
    leader: str | None,
    leader_rules: LeaderRules,
    newest: int | None = None,
) -> dict[str, SignalSet]:
    """As `compute_signals`, on data that are prepared. newest: rows of the last so many bars of each symbol only.

    The strategy sees everything either way, so the rows are those that it answers for these bars among all.
    """
    check_uses(strategy, sources)
    tags = TagTable()
    answers = answer_all(strategy, sources, tags, newest=newest)
    length = regime_length(sources, regime_timeframe)
    leading = None if leader is None else normalize_symbol(leader)
    for symbol, answer in answers.items():
        fill_market_columns(answer.rows, sources, symbol, length, leading)
        fill_regime_columns(answer.rows, sources, symbol, length, leading, leader_rules)
        answer.closes, answer.regime_ns = closes_of(sources, symbol, length), length
    return answers


def check_uses(strategy: Strategy, sources: Sources) -> None:
    """Raise where the parameters do not fit together, or something that the strategy names in `uses` is missing."""
    require_valid(strategy)
    for symbol in strategy.uses.symbols:
        if not sources.has_bars(symbol):
            raise StrategyError(
                f"{strategy.name} uses {symbol}, and there are no bars of it: get them (qtsim data download, or "
                "qtsim data import)"
            )
    for name in strategy.uses.columns:
        readers = [*sources.symbols, *strategy.uses.symbols]
        if all(sources.column(name, symbol) is None for symbol in readers):
            shown = ", ".join(sources.symbols)
            raise StrategyError(f"{strategy.name} uses {name}, and there is none of {shown}: {column_remedy(name)}")
    if isinstance(strategy, SignalTable) and strategy.symbols:
        missing = [symbol for symbol in sources.symbols if symbol not in strategy.symbols]
        if missing:
            raise StrategyError(
                f"signal table {strategy.name} has no rows of {', '.join(missing)}; "
                f"it has {', '.join(strategy.symbols)}"
            )


def answer_all(
    strategy: Strategy,
    sources: Sources,
    tags: TagTable,
    start_ns: int = START_OF_TIME,
    end_ns: int = END_OF_TIME,
    newest: int | None = None,
) -> dict[str, SignalSet]:
    """Ask about all symbols, seeing only bars that opened at or after `start_ns` and closed at or before `end_ns`.

    newest: rows of the last so many bars of each symbol only.
    """
    if is_cross_sectional(strategy):
        return _answer_market(strategy, sources, tags, start_ns, end_ns, newest)
    return {symbol: answer_one(strategy, sources, symbol, tags, start_ns, end_ns, newest) for symbol in sources.symbols}


def answer_one(
    strategy: Strategy,
    sources: Sources,
    symbol: str,
    tags: TagTable,
    start_ns: int = START_OF_TIME,
    end_ns: int = END_OF_TIME,
    newest: int | None = None,
) -> SignalSet:
    """Ask about one symbol; a cross-sectional strategy is asked about all of them."""
    if is_cross_sectional(strategy):
        return _answer_market(strategy, sources, tags, start_ns, end_ns, newest)[symbol]
    bars = Bars(sources, sources.series(symbol, sources.length), strategy.uses, start_ns, end_ns)
    result = _guarded(strategy, symbol, bars, lambda: strategy.signals(bars))
    return _to_set(strategy, symbol, bars, result, tags, newest)


def _answer_market(
    strategy: Strategy, sources: Sources, tags: TagTable, start_ns: int, end_ns: int, newest: int | None
) -> dict[str, SignalSet]:
    market = Market(sources, strategy.uses, start_ns, end_ns)
    results = _guarded(strategy, "all symbols", None, lambda: strategy.market_signals(market))
    if not isinstance(results, Mapping):
        raise StrategyError(
            f"{strategy.name}: market_signals must return a dict of symbol to qt.Signals, not {type(results).__name__}"
        )
    by_symbol = {normalize_symbol(symbol): result for symbol, result in results.items()}
    unknown = [symbol for symbol in by_symbol if symbol not in market.symbols]
    if unknown:
        raise StrategyError(
            f"{strategy.name}: market_signals answers for {unknown[0]}, which is not among the run's symbols: "
            f"{', '.join(market.symbols)}"
        )
    answers = {}
    for symbol in market.symbols:
        bars = market[symbol]
        if symbol in by_symbol:
            answers[symbol] = _to_set(strategy, symbol, bars, by_symbol[symbol], tags, newest)
        else:
            wanted = len(bars) if newest is None else min(newest, len(bars))
            answers[symbol] = SignalSet(empty_rows(wanted), tags.texts)
    return answers


def _to_set(strategy: Strategy, symbol: str, bars: Bars, result: Any, tags: TagTable, newest: int | None) -> SignalSet:
    try:
        signals = as_signals(result, bars)
        rows, both_sides = signals.to_rows(len(bars), tags, newest)
    except StrategyError as error:
        raise StrategyError(f"{strategy.name} on {symbol}: {error}{_time_of(error, bars)}") from None
    return SignalSet(rows, tags.texts, both_sides, signals.states_confidence)


def _guarded(strategy: Strategy, symbol: str, bars: Bars | None, ask: Callable[[], Any]) -> Any:
    """Call a strategy; turn whatever it raises into a StrategyError that names strategy, symbol, line and reason."""
    try:
        # Indicators are NaN before their history; comparing and dividing such values is no one's mistake.
        with np.errstate(divide="ignore", invalid="ignore"):
            return ask()
    except (Exception, SystemExit) as error:
        place = line_in_file(error, strategy)
        reason = str(error) if isinstance(error, StrategyError) else describe_error(error)
        where = f" ({place})" if place else ""
        raise StrategyError(f"{strategy.name} on {symbol}{where}: {reason}{_time_of(error, bars)}") from error


def describe_error(error: BaseException) -> str:
    """Return `ValueError: reason`; a write to read-only data and a missing implementation say what would be right."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, ValueError) and "read-only" in str(error):
        return f"{text}; bars may not be changed: work on a copy, bars.close.copy()"
    if isinstance(error, AttributeError) and "'Bars' object" in str(error):
        return f"{text}; bars have open high low close volume time symbol timeframe frame on of column, read-only"
    if isinstance(error, NotImplementedError):
        return f"{text}; override signals(self, bars) or market_signals(self, market)"
    if isinstance(error, SystemExit):
        return f"{text}; a strategy may not end the program: return signals that ask for nothing instead"
    return text


def line_in_file(error: BaseException, strategy: Strategy) -> str:
    """Return `file.py, line 12: code` of the deepest frame in the strategy's own file, else outside qtsim."""
    method = type(strategy).market_signals if is_cross_sectional(strategy) else type(strategy).signals
    own = getattr(getattr(method, "__code__", None), "co_filename", "")
    frames = traceback.extract_tb(error.__traceback__)
    found = next((frame for frame in reversed(frames) if frame.filename == own), None)
    if found is None:
        found = next((frame for frame in reversed(frames) if not frame.filename.startswith(_PACKAGE)), None)
    if found is None:
        return ""
    code = f": {found.line}" if found.line else ""
    return f"{found.filename}, line {found.lineno}{code}"


def _time_of(error: BaseException, bars: Bars | None) -> str:
    """Return the bar's time of an error that knows its row."""
    if not isinstance(error, RowError) or bars is None or not 0 <= error.row < len(bars):
        return ""
    return f" (bar {format_ts(int(bars.time.view(np.int64)[error.row]))})"
