"""When the Safety Governor stood in the way: its decisions over time, how long each lasted, every shutdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtsim.report.thinning import SECOND_NS, short
from qtsim.results.reach import NORMAL, Span, State, hours_text, moment, period, reach_of, shutdown_headline
from qtsim.results.result import Result
from qtsim.results.summary import gates_are_on, governor_text
from qtsim.results.tables import times_ns

MAX_SPANS = 2_000
"""Bars of one decision in the picture; beyond it those that nobody could tell apart are joined."""
MAX_BANNERS = 5
"""Shutdowns that head the page one by one."""
MAX_EVENTS = 1_000
"""Events listed, the latest."""
STATE_HEAD = ("Decision", "Fired", "In force", "Longest", "Of the period", "Signals denied")
EVENT_HEAD = ("Time, UTC", "Decision", "", "Value", "Limit", "Equity")


def shutdown_banners(result: Result) -> list[str]:
    """One headline per shutdown, so far as there is room; the timeline lists all."""
    shutdowns = reach_of(result).shutdowns
    texts = [shutdown_headline(result, span) for span in shutdowns[:MAX_BANNERS]]
    more = len(shutdowns) - len(texts)
    return [*texts, f"EMERGENCY SHUTDOWN {more:,} more ×: the Safety Governor's part names them"] if more else texts


def governor_timeline(result: Result) -> dict[str, Any]:
    """Bars of the picture, rows of the tables, and words."""
    reach = reach_of(result)
    begin_ns, end_ns = period(result)
    decisions = [state.decision for state in reach.states if state.fired]
    bars = {}
    for decision in decisions:
        own = [span for span in reach.spans if span.decision == decision]
        bars[decision] = [
            [span.begin_ns // SECOND_NS, span.end_ns // SECOND_NS, span.fired, short(span.value, 4)]
            for span in drawn_spans(own, end_ns - begin_ns)
        ]
    return {
        "on": gates_are_on(result),
        "text": governor_text(result, reach),
        "bars": bars,
        "head": list(STATE_HEAD),
        "states": [_state_row(state) for state in reach.states],
        "shutdowns": [shutdown_headline(result, span) for span in reach.shutdowns[MAX_BANNERS:]],
        "event_head": list(EVENT_HEAD),
        "events": _event_rows(result),
        "n_events": len(result.governor),
    }


def drawn_spans(spans: Sequence[Span], length_ns: int, limit: int = MAX_SPANS) -> list[Span]:
    """The spans of one decision; where there are more than `limit`, those nearer than a `limit`-th of the period become
    one that has fired as often as they have."""
    if len(spans) <= limit:
        return list(spans)
    joined: list[Span] = []
    for span in spans:
        if joined and span.begin_ns - joined[-1].end_ns < length_ns // limit:
            last = joined[-1]
            joined[-1] = Span(
                last.decision,
                last.begin_ns,
                max(last.end_ns, span.end_ns),
                span.has_ended,
                last.fired + span.fired,
                max(last.value, span.value),
                last.limit,
                last.equity,
            )
        else:
            joined.append(span)
    return joined


def _state_row(state: State) -> list[str]:
    is_normal = state.decision == NORMAL
    return [
        state.decision,
        "" if is_normal else f"{state.fired:,} ×",
        hours_text(state.hours),
        hours_text(state.longest_hours),
        f"{100.0 * state.share:.2f} %",
        "" if is_normal else f"{state.denied:,}",
    ]


def _event_rows(result: Result) -> list[list[str]]:
    """The latest events in order."""
    governor = result.governor.iloc[-MAX_EVENTS:]
    columns = (governor[name].tolist() for name in ("decision", "event", "value", "limit", "equity"))
    return [
        [moment(int(ts)), decision, event, _figure(decision, value), _figure(decision, limit), f"{equity:,.2f}"]
        for ts, decision, event, value, limit, equity in zip(times_ns(governor["time"]), *columns, strict=True)
    ]


def _figure(decision: str, value: float) -> str:
    """DEFENSIVE_EXIT counts trades, every other decision compares a loss."""
    if value != value:  # what ends compares nothing
        return ""
    return f"{value:g} losses" if decision == "DEFENSIVE_EXIT" else f"{100.0 * value:.2f} %"
