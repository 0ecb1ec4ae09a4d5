"""How far gates and governor reached: how often each decision fired and how long it lasted, what each rule denied.

A decision fires and ends; one that fires again while it is in force ends with the last of its ends, and one that has
not ended lasts to the end of the period. The period is that of the run's bars.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qtsim.core.enums import GATE_TEXT, GOVERNOR_TEXT, REASON_TEXT, Gate, GovernorDecision, Reason
from qtsim.results.tables import FIRES, times_ns

if TYPE_CHECKING:
    from qtsim.results.result import Result

HOUR_NS = 3_600_000_000_000
DEBT_SHARE = 1e-9
"""An equity below 0 by no more than this share of the first is rounding."""
SHUTDOWN = GOVERNOR_TEXT[GovernorDecision.EMERGENCY_SHUTDOWN]
NORMAL = GOVERNOR_TEXT[GovernorDecision.ALLOW_NORMAL]
GRAVEST_FIRST = tuple(GOVERNOR_TEXT[decision] for decision in sorted(GovernorDecision, reverse=True) if decision.value)
"""Decisions that allow no entry."""
CHAIN = (
    Gate.CONFIDENCE, Gate.ORCHESTRATOR, Gate.BALANCER, Gate.GOVERNOR, Gate.LEVERAGE, Gate.PLAN, Gate.SIZING,
    Gate.RISK_GUARD, Gate.EXCHANGE,
)  # fmt: skip
"""Gates in the order in which a signal meets them."""


@dataclass(frozen=True)
class Span:
    """A decision in force: from when it fired until it ended, or to the end of the period."""

    decision: str
    begin_ns: int
    end_ns: int
    has_ended: bool
    fired: int  # times, the first included
    value: float  # what was compared when it fired
    limit: float
    equity: float

    @property
    def hours(self) -> float:
        """How long it was in force."""
        return (self.end_ns - self.begin_ns) / HOUR_NS


@dataclass(frozen=True)
class State:
    """One decision over the whole run."""

    decision: str
    fired: int
    hours: float
    longest_hours: float
    share: float  # of the period
    denied: int  # signals that it stopped


@dataclass(frozen=True)
class Reach:
    """What the Safety Governor did in one run."""

    states: tuple[State, ...]  # that occurred, the gravest first; the last is ALLOW_NORMAL, the rest of the period
    spans: tuple[Span, ...]  # in the order in which they began
    shut_share: float  # of the period in which some decision allowed no entry

    @property
    def shutdowns(self) -> tuple[Span, ...]:
        """Every EMERGENCY_SHUTDOWN."""
        return tuple(span for span in self.spans if span.decision == SHUTDOWN)


@dataclass(frozen=True)
class Denied:
    """How many signals one rule of one gate stopped."""

    gate: str
    rule: str
    count: int


def reach_of(result: Result) -> Reach:
    """How long each governor state lasted."""
    begin_ns, end_ns = period(result)
    length = max(end_ns - begin_ns, 1)
    spans = decision_spans(result.governor, end_ns)
    shut_ns = covered_ns(spans)
    denied = Counter(result.denials["rule"][result.denials["gate"] == GATE_TEXT[Gate.GOVERNOR]])
    states = []
    for decision in GRAVEST_FIRST:
        own = [span for span in spans if span.decision == decision]
        if own or denied[decision]:
            states.append(_state(decision, own, length, denied[decision]))
    free_ns = length - shut_ns
    states.append(
        State(NORMAL, 0, free_ns / HOUR_NS, longest_gap_ns(spans, begin_ns, end_ns) / HOUR_NS, free_ns / length, 0)
    )
    return Reach(tuple(states), tuple(spans), shut_ns / length)


def period(result: Result) -> tuple[int, int]:
    """From the open of the first bar to the close of the last, int64 ns."""
    return result.info.start_ns, result.info.end_ns + result.info.timeframe_ns


def decision_spans(governor: pd.DataFrame, end_ns: int) -> list[Span]:
    """When each decision was in force, in the order in which they began."""
    spans: list[Span] = []
    for decision, rows in governor.groupby("decision", sort=False):
        spans += _spans_of(str(decision), rows, end_ns)
    return sorted(spans, key=lambda span: span.begin_ns)


def covered_ns(spans: list[Span]) -> int:
    """Length of the union of the spans."""
    return sum(end - begin for begin, end in _union(spans))


def longest_gap_ns(spans: list[Span], begin_ns: int, end_ns: int) -> int:
    """The longest time between begin and end that no span covers."""
    edges = [begin_ns, *(edge for stretch in _union(spans) for edge in stretch), end_ns]
    return max(end - begin for begin, end in zip(edges[::2], edges[1::2], strict=True))


def denied_by_gate(denials: pd.DataFrame) -> list[Denied]:
    """What each rule stopped, by gate in the order of the chain, the largest first; signals that no gate saw are not
    among them."""
    counts = Counter(zip(denials["gate"], denials["rule"], strict=True))
    found = [Denied(str(gate), str(rule), n) for (gate, rule), n in counts.items() if gate != GATE_TEXT[Gate.SIGNAL]]
    place = {GATE_TEXT[gate]: at for at, gate in enumerate(CHAIN)}
    return sorted(found, key=lambda one: (place.get(one.gate, len(place)), -one.count, one.rule))


def shutdown_text(span: Span) -> str:
    """2024-08-05 06:00; operator resumed after 24 h"""
    return f"{moment(span.begin_ns)}; {_resumed_text(span)}"


def shutdown_headline(result: Result, span: Span) -> str:
    """What heads the report: when the governor fired, why, what became of the open positions, and for how long."""
    return (
        f"EMERGENCY SHUTDOWN {moment(span.begin_ns)} UTC: equity {100.0 * span.value:.2f} % below the session's base "
        f"(limit {100.0 * span.limit:g} %), {closed_text(result, span)}; {_resumed_text(span)}"
    )


def debt_headline(result: Result) -> str:
    """What heads the report where an exit has cost more than the account held; empty where none has."""
    owed = np.flatnonzero(result.equity["equity"].to_numpy() < -DEBT_SHARE * result.totals.initial_balance)
    if not owed.size:
        return ""
    first = owed[0]
    since = int(times_ns(pd.DatetimeIndex(result.equity.index))[first])
    return (
        f"ACCOUNT BELOW ZERO {moment(since)} UTC: equity {result.equity['equity'].iloc[first]:,.2f} "
        f"{result.info.quote}: an exit cost more than the account held; nothing is entered while it is below zero"
    )


def closed_text(result: Result, span: Span) -> str:
    """What became of the positions that were open when a shutdown fired.

    One in a gap is closed at its next price, and one without any further price not at all.
    """
    trades, begin_ns = result.trades, span.begin_ns
    exits = times_ns(trades["exit_time"])
    was_open = times_ns(trades["entry_time"]) <= begin_ns
    by_governor = np.asarray(trades["exit_reason"] == REASON_TEXT[Reason.GOVERNOR])
    closed = was_open & by_governor & (exits >= begin_ns)
    n_closed = int(closed.sum())
    n_ended = int((was_open & ~by_governor & (exits > begin_ns)).sum())
    n_open = int((times_ns(result.positions["entry_time"]) <= begin_ns).sum())
    if n_closed + n_ended + n_open == 0:
        return "no position was open"
    last_ns = int(exits[closed].max(initial=begin_ns))
    late = f", the last at {moment(last_ns)}" if last_ns > begin_ns + result.info.timeframe_ns else ""
    if n_ended + n_open == 0:
        return f"everything was closed{late}"
    parts = [(n_ended, "ended by another exit"), (n_open, "still open at the end")]
    others = [f"{count:,} {what}" for count, what in parts if count]
    return f"of the open positions {', '.join([f'{n_closed:,} closed by it{late}', *others])}"


def moment(ts_ns: int) -> str:
    """2024-08-05 06:00"""
    return f"{pd.Timestamp(ts_ns, unit='ns'):%Y-%m-%d %H:%M}"


def hours_text(hours: float) -> str:
    """24 h, 36.5 h, 12.3 days"""
    return f"{round(hours, 1):g} h" if hours < 100.0 else f"{hours / 24.0:,.1f} days"


def _resumed_text(span: Span) -> str:
    return f"operator resumed after {hours_text(span.hours)}" if span.has_ended else "not resumed by the end"


def _state(decision: str, spans: list[Span], length: int, denied: int) -> State:
    lasted = [span.end_ns - span.begin_ns for span in spans]
    return State(
        decision,
        sum(span.fired for span in spans),
        sum(lasted) / HOUR_NS,
        max(lasted, default=0) / HOUR_NS,
        sum(lasted) / length,
        denied,
    )


def _spans_of(decision: str, rows: pd.DataFrame, end_ns: int) -> list[Span]:
    """The spans of one decision from its events in order."""
    spans: list[Span] = []
    open_since: tuple[int, float, float, float] | None = None
    depth = fired = 0
    columns = (rows[name].to_numpy() for name in ("event", "value", "limit", "equity"))
    for ts, event, value, limit, equity in zip(times_ns(rows["time"]), *columns, strict=True):
        if event == FIRES:
            depth, fired = depth + 1, fired + 1
            open_since = open_since or (int(ts), float(value), float(limit), float(equity))
        elif open_since is not None:
            depth -= 1
            if depth == 0:
                begin, *numbers = open_since
                spans.append(Span(decision, begin, int(ts), True, fired, *numbers))
                open_since, fired = None, 0
    if open_since is not None:
        begin, *numbers = open_since
        spans.append(Span(decision, begin, max(end_ns, begin), False, fired, *numbers))
    return spans


def _union(spans: list[Span]) -> list[list[int]]:
    """[begin, end] of the stretches that the spans cover together, in order."""
    stretches: list[list[int]] = []
    for begin, end in sorted((span.begin_ns, span.end_ns) for span in spans if span.end_ns > span.begin_ns):
        if stretches and begin <= stretches[-1][1]:
            stretches[-1][1] = max(stretches[-1][1], end)
        else:
            stretches.append([begin, end])
    return stretches
