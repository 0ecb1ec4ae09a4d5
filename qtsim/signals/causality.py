"""Proof that signals use nothing but the past: recompute where the future does not exist, and compare.

A view of the data that ends at a bar's close holds nothing that closed later, in any series; so a difference is
look-ahead, wherever it came from: `shift(-1)`, a centred window, a mean over the whole frame, an unfinished bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qtsim.core.records import Records
from qtsim.data.timeframes import format_ts
from qtsim.errors import StrategyError
from qtsim.signals.bars import START_OF_TIME, Sources
from qtsim.signals.compute import SignalSet, answer_all, answer_one, check_uses
from qtsim.signals.strategy import Strategy, is_cross_sectional
from qtsim.signals.table import FLAGS, NUMBERS, SignalTable, TagTable

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = npt.NDArray[np.int64]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

QUICK_CUTS = 5
CHECK_POINTS = 200
TOLERANCE = 1e-9
"""Two numbers are equal within this share of the larger, or of 1 where both are below 1."""

_SETTLE_ROUNDS = 6


@dataclass(frozen=True)
class Difference:
    """The first cell in which two answers differ."""

    symbol: str
    ts: int
    field: str
    first: Any
    second: Any


@dataclass(frozen=True)
class QuickVerdict:
    """Result of the quick check: `text` for the first screen, after `look-ahead: `."""

    text: str
    cuts: int


@dataclass(frozen=True)
class CheckReport:
    """Result of the full check.

    `points`: bars at which the past was recomputed without the future, `points_at_edges` of them where a request begins
    or ends; `warmup`: bars of the shortest trailing window
    that gives the whole history's last row, None where no window up to half of the history does (`warmup_limit` bars);
    `declared`: what the strategy states; `bar_by_bar`: consecutive bars whose window's last row was compared.
    """

    strategy: str
    symbols: tuple[str, ...]
    bars: int
    points: int
    points_at_edges: int
    warmup: int | None
    warmup_limit: int
    declared: int | None
    bar_by_bar: int
    requests: dict[str, int]
    both_sides: int

    def lines(self) -> list[str]:
        """The report in words, one finding per line."""
        asked = ", ".join(f"{name} {count:,}" for name, count in self.requests.items())
        both = f", both sides at once {self.both_sides:,} (neither is used)" if self.both_sides else ""
        text = [
            f"{self.strategy}: {self.bars:,} bars of {', '.join(self.symbols)}",
            f"requests: {asked}{both}",
            f"look-ahead: none; the past is the same without the future at {self.points} points, "
            f"{self.points_at_edges} of them where a request begins or ends",
        ]
        if self.points_at_edges == 0:
            text.append("nothing is asked for at any point checked, so this proves little: check it on other data")
        if self.warmup is None:
            text.append(
                f"warm-up: no window up to {self.warmup_limit:,} bars gives the whole history's last row; "
                "the signals depend on where the data starts, and a live run would not repeat the backtest"
            )
            return text
        declared = "not declared" if self.declared is None else f"declared {self.declared:,}"
        text.append(f"warm-up: {self.warmup:,} bars ({declared})")
        text.append(f"bar by bar: equal to vectorised at {self.bar_by_bar:,} consecutive bars")
        return text


@dataclass
class _Full:
    """The whole history's answer of one unit: one symbol, or all of a cross-sectional strategy."""

    symbols: list[str]
    answers: dict[str, SignalSet]
    known: Rows  # closes of the unit's bars, ascending, int64 ns
    opens: Rows
    edges: list[Rows]  # per flag that ever changes: rows at which it begins or ends, in any symbol


class _Checker:
    """Recomputes a strategy on views of the data and compares with the whole history's answer."""

    def __init__(self, strategy: Strategy, sources: Sources, answers: dict[str, SignalSet], tags: TagTable) -> None:
        self.strategy = strategy
        self.sources = sources
        self.tags = tags
        self.times = {symbol: sources.series(symbol, sources.length) for symbol in sources.symbols}
        groups = [sources.symbols] if is_cross_sectional(strategy) else [[symbol] for symbol in sources.symbols]
        self.units = []
        for group in groups:
            opens = np.unique(np.concatenate([self.times[symbol].time for symbol in group]))
            own = {symbol: answers[symbol] for symbol in group}
            self.units.append(_Full(group, own, opens + sources.length, opens, self._edges(own, opens)))

    def _edges(self, answers: dict[str, SignalSet], opens: Rows) -> list[Rows]:
        edges = []
        for name in FLAGS:
            times = []
            for symbol, answer in answers.items():
                changes = np.flatnonzero(np.diff(answer.rows[name], prepend=np.int8(0)))
                times.append(self.times[symbol].time[changes])
            rows = np.unique(np.searchsorted(opens, np.concatenate(times)))
            if len(rows):
                edges.append(rows)
        return edges

    def ask(self, unit: _Full, start_ns: int, end_ns: int) -> dict[str, Records]:
        """Return the rows of a view."""
        if is_cross_sectional(self.strategy):
            answers = answer_all(self.strategy, self.sources, self.tags, start_ns, end_ns)
            return {symbol: answers[symbol].rows for symbol in unit.symbols}
        symbol = unit.symbols[0]
        return {symbol: answer_one(self.strategy, self.sources, symbol, self.tags, start_ns, end_ns).rows}

    def differs_in_past(self, unit: _Full, row: int) -> Difference | None:
        """Recompute without the bars after `row`; return the first difference in all rows up to it."""
        end = int(unit.known[row])
        found = None
        for symbol, rows in self.ask(unit, START_OF_TIME, end).items():
            _, stop = self.times[symbol].rows_between(START_OF_TIME, end)
            found = _earlier(found, self._compare(symbol, rows, unit.answers[symbol].rows[:stop], 0))
        return found

    def prove_past(self, unit: _Full, rows: Rows, after_each: Callable[[int], None] = lambda row: None) -> int:
        """Require the same past at every one of ascending `rows`; return how many were compared.

        A strategy may be unable to run on a short history; once it has run, it must run on every longer one.
        """
        compared = 0
        too_short: StrategyError | None = None
        for row in rows.tolist():
            try:
                found = self.differs_in_past(unit, row)
            except StrategyError as error:
                text = f"{error} (with nothing but the bars that close up to {format_ts(int(unit.known[row]))})"
                too_short = StrategyError(text)
                if compared:
                    raise too_short from error
                continue
            if found is not None:
                self.refuse(unit, row, found)
            compared += 1
            after_each(row)
        if too_short is not None and not compared:
            raise too_short
        return compared

    def differs_in_window(self, unit: _Full, row: int, n_bars: int) -> Difference | None:
        """Recompute on the `n_bars` bars up to `row`; return a difference in the last row."""
        start, end = int(unit.opens[max(row - n_bars + 1, 0)]), int(unit.known[row])
        found = None
        for symbol, rows in self.ask(unit, start, end).items():
            first, stop = self.times[symbol].rows_between(start, end)
            if stop > first and int(self.times[symbol].known[stop - 1]) == end:
                last = slice(stop - 1, stop)
                found = _earlier(found, self._compare(symbol, rows[-1:], unit.answers[symbol].rows[last], stop - 1))
        return found

    def _compare(self, symbol: str, part: Records, whole: Records, first_row: int) -> Difference | None:
        row, name = first_difference(part, whole)
        if row < 0:
            return None
        values = [_shown(name, side[name][row], self.tags) for side in (part, whole)]
        return Difference(symbol, int(self.times[symbol].time[first_row + row]), name, *values)

    def require_deterministic(self) -> None:
        """Raise where the same bars give other signals when asked again."""
        for unit in self.units:
            for symbol, rows in self.ask(unit, START_OF_TIME, int(unit.known[-1])).items():
                found = self._compare(symbol, rows, unit.answers[symbol].rows, 0)
                if found is not None:
                    raise StrategyError(
                        f"{self.strategy.name} gives other signals for the same bars of {symbol} when asked again: at "
                        f"{format_ts(found.ts)} {found.field} is {found.second}, then {found.first}. Signals may not "
                        "depend on unseeded random numbers, the clock, or state kept from call to call"
                    )

    def refuse(self, unit: _Full, row: int, found: Difference) -> None:
        """Raise for a difference in the past."""
        self.require_deterministic()
        raise StrategyError(
            f"{self.strategy.name} looks ahead on {found.symbol}: for the bar {format_ts(found.ts)} {found.field} is "
            f"{found.second} with the whole data, and {found.first} without the bars that close after "
            f"{format_ts(int(unit.known[row]))}. A signal may use only what was known at its bar's close: look for "
            "shift(-1), centred windows, and means or ranks over the whole frame"
        )


def quick_check(
    strategy: Strategy,
    frames: Mapping[str, pd.DataFrame],
    timeframe: str,
    *,
    signals: Mapping[str, SignalSet] | None = None,
    cuts: int = QUICK_CUTS,
    traded_from: Mapping[str, int] | None = None,
    mark_frames: Mapping[str, pd.DataFrame] | None = None,
    funding_frames: Mapping[str, pd.DataFrame] | None = None,
    column_frames: Mapping[str, Any] | None = None,
    other_frames: Mapping[Any, pd.DataFrame] | None = None,
) -> QuickVerdict:
    """Recompute at a few cut points per symbol without the bars after them; all rows before must stay the same.

    Cuts are spread over the traded period, each moved to the nearest bar at which a request begins or ends, of longs,
    shorts and exits in turn: there a glance at the next bar shows.

    Parameters
    ----------
    signals : mapping of symbol to SignalSet, optional
        What `compute_signals` returned for the same strategy and data; saves computing it again.
    cuts : int
        Number of cut points per symbol.
    traded_from : mapping of symbol to int, optional
        Open of the first bar that is traded, ns; the bars before it are warm-up. Without it all bars are traded.
    others
        As in `compute_signals`.

    Raises
    ------
    StrategyError
        A difference: the first time, field and both values are named.
    """
    if isinstance(strategy, SignalTable):
        return QuickVerdict("not checked, a ready table has no code to run again", 0)
    sources = Sources(
        frames,
        timeframe,
        other_frames=other_frames,
        mark_frames=mark_frames,
        funding_frames=funding_frames,
        column_frames=column_frames,
    )
    checker = _checker(strategy, sources, signals)
    done = 0
    for unit in checker.units:
        start = min((traded_from or {}).get(symbol, START_OF_TIME) for symbol in unit.symbols)
        done = max(done, checker.prove_past(unit, _quick_rows(unit, cuts, int(np.searchsorted(unit.opens, start)))))
    if done == 0:
        return QuickVerdict("not checked, too few bars", 0)
    return QuickVerdict(f"none at {done} cuts", done)


def check_strategy(
    strategy: Strategy,
    frames: Mapping[str, pd.DataFrame],
    timeframe: str,
    *,
    points: int = CHECK_POINTS,
    seed: int = 0,
    progress: Progress | None = None,
    mark_frames: Mapping[str, pd.DataFrame] | None = None,
    funding_frames: Mapping[str, pd.DataFrame] | None = None,
    column_frames: Mapping[str, Any] | None = None,
    other_frames: Mapping[Any, pd.DataFrame] | None = None,
) -> CheckReport:
    """Prove that the past does not change, measure the warm-up, and compare bar by bar with vectorised.

    1. At `points` bars over all symbols (half of them where a request begins or ends) the data ends: every row up to
       there must stay the same.
    2. The shortest trailing window is searched whose last row equals the whole history's at as many points of the
       later half: flags equal, numbers to 1e-9. Windows one and a half and two times as long must agree too.
    3. On consecutive bars, as a live run would see them, windows of that length must give the same rows; a bar where
       they do not becomes a point of the search.

    Parameters
    ----------
    points : int
        Points in all.
    seed : int
        Chooses the points.
    progress : callable, optional
        Called with (stage, done, total).
    others
        As in `compute_signals`.

    Raises
    ------
    StrategyError
        Look-ahead; signals that are not the same when asked again; a declared `warmup` that is too short.
    """
    if isinstance(strategy, SignalTable):
        raise StrategyError(f"{strategy.name} is a ready table: there is no code to check")
    sources = Sources(
        frames,
        timeframe,
        other_frames=other_frames,
        mark_frames=mark_frames,
        funding_frames=funding_frames,
        column_frames=column_frames,
    )
    declared = _declared_warmup(strategy)
    checker = _checker(strategy, sources, None)
    checker.require_deterministic()
    report = progress or (lambda stage, done, total: None)
    random = np.random.default_rng(seed)
    share = max(points // len(checker.units), 1)

    proved: list[bool] = []  # of each point: whether it is an edge
    total = sum(min(share, len(unit.known)) for unit in checker.units)
    for unit in checker.units:
        edges = set(np.concatenate([np.zeros(0, np.int64), *unit.edges]).tolist())

        def after_each(row: int, edges: set[int] = edges) -> None:
            proved.append(row in edges)
            report("past without the future", len(proved), total)

        checker.prove_past(unit, _spread_rows(unit, share, 0, random), after_each)

    search = _WarmupSearch(checker, share, random, report)
    warmup = search.measure()
    if declared is not None:
        _require_declared(strategy, declared, warmup, search)
    fields = {s: answer.rows for unit in checker.units for s, answer in unit.answers.items()}
    return CheckReport(
        strategy=strategy.name,
        symbols=tuple(sources.symbols),
        bars=sum(len(rows) for rows in fields.values()),
        points=len(proved),
        points_at_edges=sum(proved),
        warmup=warmup,
        warmup_limit=search.limit,
        declared=declared,
        bar_by_bar=search.consecutive if warmup is not None else 0,
        requests={name: sum(int(np.count_nonzero(rows[name])) for rows in fields.values()) for name in FLAGS},
        both_sides=sum(answer.both_sides for unit in checker.units for answer in unit.answers.values()),
    )


class _WarmupSearch:
    """Finds the shortest trailing window that is enough at all points."""

    def __init__(self, checker: _Checker, share: int, random: np.random.Generator, report: Progress) -> None:
        self.checker = checker
        self.report = report
        self.share = share
        self.limit = max(len(unit.known) for unit in checker.units) // 2
        self.points = [
            (unit, int(row))
            for unit in checker.units
            for row in _spread_rows(unit, share, len(unit.known) // 2, random)
        ]
        self.consecutive = 0
        self.failed: Difference | None = None
        self._enough: dict[int, bool] = {}
        self._asked = 0

    def measure(self) -> int | None:
        """Return the shortest window, None where none up to `limit` is enough."""
        for _ in range(_SETTLE_ROUNDS):
            window = self._shortest()
            if window is None:
                return None
            lost = self._lost_bars(window)
            if not lost:
                return window
            self.points = lost + self.points
            self._enough.clear()
        return None

    def is_enough(self, n_bars: int) -> bool:
        """Tell whether a window gives the whole history's last row at every point."""
        if n_bars not in self._enough:
            self._enough[n_bars] = self._try(n_bars)
        return self._enough[n_bars]

    def _try(self, n_bars: int) -> bool:
        self._asked += 1
        self.report("warm-up", self._asked, 0)
        for position, (unit, row) in enumerate(self.points):
            found = self._differs(unit, row, n_bars)
            if found is not None:
                self.failed = found
                # The next window is most likely to fail here as well.
                self.points.insert(0, self.points.pop(position))
                return False
        return True

    def _differs(self, unit: _Full, row: int, n_bars: int) -> Difference | None:
        try:
            return self.checker.differs_in_window(unit, row, n_bars)
        except StrategyError:  # too short a window for the strategy to run at all
            return Difference(unit.symbols[0], int(unit.opens[row]), "answer", "an error", "given")

    def _settled(self, n_bars: int) -> bool:
        """Enough, and not by luck: longer windows are enough too."""
        longer = (n_bars, n_bars + n_bars // 2, 2 * n_bars)
        return all(self.is_enough(min(n, self.limit)) for n in dict.fromkeys(longer))

    def _shortest(self) -> int | None:
        if self.limit < 1:
            return None
        low, high = 0, 1  # low is not enough, high is tried
        while not self._settled(high):
            if high >= self.limit:
                return None
            low, high = high, min(2 * high, self.limit)
        while high - low > 1:
            middle = (low + high) // 2
            if self._settled(middle):
                high = middle
            else:
                low = middle
        return high

    def _lost_bars(self, window: int) -> list[tuple[_Full, int]]:
        """Consecutive bars up to the end of the data at which a window is not enough."""
        lost = []
        self.consecutive = 0
        for unit in self.checker.units:
            n = len(unit.known)
            for row in range(max(n - self.share, n // 2), n):
                self.consecutive += 1
                self.report("bar by bar", self.consecutive, 0)
                if self._differs(unit, row, window) is not None:
                    lost.append((unit, row))
        return lost


def first_difference(first: Records, second: Records) -> tuple[int, str]:
    """Return (row, field) of the first row in which two answers differ, the flags before the numbers; (-1, "") if none.

    Flags and tags must be equal, numbers within 1e-9; NaN equals NaN. The market's columns are not compared.
    """
    row, field = -1, ""
    for name in (*FLAGS, *NUMBERS, "tag"):
        a, b = first[name], second[name]
        if name in NUMBERS:
            close = np.abs(a - b) <= TOLERANCE * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
            differs = ~(close | (np.isnan(a) & np.isnan(b)))
        else:
            differs = a != b
        if differs.any():
            at = int(np.argmax(differs))
            if row < 0 or at < row:
                row, field = at, name
    return row, field


def _checker(strategy: Strategy, sources: Sources, signals: Mapping[str, SignalSet] | None) -> _Checker:
    check_uses(strategy, sources)
    tags = TagTable()
    if signals is None:
        return _Checker(strategy, sources, answer_all(strategy, sources, tags), tags)
    for text in next((answer.tags for answer in signals.values()), []):
        tags.index(text)
    return _Checker(strategy, sources, dict(signals), tags)


def _quick_rows(unit: _Full, cuts: int, first: int) -> Rows:
    """Rows to cut after, spread from row `first` on, each at the nearest edge of one flag; the last row is no cut."""
    n = len(unit.known)
    if n - first < 2:
        return np.zeros(0, np.int64)
    rows = np.unique(np.linspace(first, n - 1, cuts + 2)[1:-1].astype(np.int64))
    inside = [edges[(edges >= first) & (edges < n - 1)] for edges in unit.edges]
    inside = [edges for edges in inside if len(edges)]
    taken: set[int] = set()
    for position, even in enumerate(rows.tolist()):
        if inside:
            edges = inside[position % len(inside)]
            nearest = int(edges[np.argmin(np.abs(edges - even))])
            # Two cuts at one row prove no more than one: the second stays where it was.
            rows[position] = even if nearest in taken else nearest
        taken.add(int(rows[position]))
    return np.unique(rows)


def _spread_rows(unit: _Full, count: int, first: int, random: np.random.Generator) -> Rows:
    """`count` rows from `first` on: half at edges, each flag in equal parts, and bars before them; others anywhere."""
    n = len(unit.known)
    if n - first <= count:
        return np.arange(first, n)
    chosen = np.zeros(0, np.int64)
    for edges in unit.edges:
        later = edges[edges >= first]
        some = random.choice(later, min(len(later), count // 2 // len(unit.edges)), replace=False)
        before = some[::4] - 1
        chosen = np.concatenate((chosen, some, before[before >= first]))
    chosen = np.unique(chosen)
    others = np.setdiff1d(np.arange(first, n), chosen)
    rest = random.choice(others, max(min(count - len(chosen), len(others)), 0), replace=False)
    rows: Rows = np.sort(np.concatenate((chosen, rest)))
    return rows


def _declared_warmup(strategy: Strategy) -> int | None:
    declared: Any = strategy.warmup
    if declared is None:
        return None
    if isinstance(declared, bool) or not isinstance(declared, int | np.integer) or declared < 1:
        raise StrategyError(f"{strategy.name}: warmup = {declared!r} is not a number of bars; state 1 or more, or None")
    return int(declared)


def _require_declared(strategy: Strategy, declared: int, warmup: int | None, search: _WarmupSearch) -> None:
    """Raise where the declared warm-up is shorter than the measured one."""
    if warmup is not None and declared >= warmup:
        return
    needed = (
        f"the shortest window that is enough has {warmup} bars"
        if warmup is not None
        else f"no window up to {search.limit} bars is enough"
    )
    shown = ""
    if not search.is_enough(min(declared, search.limit)) and search.failed is not None:
        found = search.failed
        shown = (
            f": for the bar {format_ts(found.ts)} of {found.symbol} {found.field} is {found.second} with the whole "
            f"history and {found.first} with {declared} bars"
        )
    raise StrategyError(f"{strategy.name} declares warmup = {declared}, and {needed}{shown}")


def _earlier(first: Difference | None, second: Difference | None) -> Difference | None:
    if first is None or second is None:
        return first or second
    return second if second.ts < first.ts else first


def _shown(name: str, value: Any, tags: TagTable) -> Any:
    if name in FLAGS:
        return bool(value)
    if name == "tag":
        return repr(tags.texts[value]) if value >= 0 else "none"
    return f"{value:.12g}"
