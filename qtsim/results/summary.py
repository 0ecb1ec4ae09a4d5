"""The first screen: one result, in lines that say what happened, what it cost, and how far to trust it."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qtsim.core.enums import CAPPED_BY_TEXT, GATE_TEXT, RULE_TEXT, CappedBy, Gate, Mode, Regime, Rule, TrailStyle
from qtsim.core.exit_policies import trail_style_nb
from qtsim.core.records import NO_ACTION
from qtsim.core.rl_sizing import action_trail_nb
from qtsim.results.ambiguity import path_text, what_settles
from qtsim.results.reach import (
    SHUTDOWN,
    Reach,
    Span,
    debt_headline,
    denied_by_gate,
    reach_of,
    shutdown_headline,
    shutdown_text,
)
from qtsim.results.tables import times_ns

if TYPE_CHECKING:
    from qtsim.results.result import Result, RunInfo

LEGS = ("tp1", "tp2", "tp3", "tp4", "tp5")
PRE_CHAIN_RULES = (Rule.EXPIRED, Rule.NO_PRICE, Rule.END_OF_DATA, Rule.SIDE_HELD, Rule.OPPOSITE_IGNORED, Rule.COOLDOWN)
"""Rules that end a signal before any gate is asked, in the order in which Flow names them."""
CAPPED_SETTING = {
    CAPPED_BY_TEXT[CappedBy.SIZING_MARGIN]: ("margin cap", "sizing.math.max_margin"),
    CAPPED_BY_TEXT[CappedBy.LIMIT_MARGIN]: ("limits.per_trade.margin", "limits.per_trade.margin"),
}
NAMED_RULES = 3
"""Denying rules that Flow names, the largest first; the rest together are "other"."""
NAMED_SHUTDOWNS = 3
"""Shutdowns that head the screen or stand in its Governor line one by one."""
STYLE_TEXT = {int(style): style.name.lower() for style in TrailStyle}
AGENTS_STYLE = -1
"""Stands for the trailing style of the agent's action in a run of a version that did not record it."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True)
class Line:
    """One line of the first screen. A line without a label is part of the heading."""

    label: str
    text: str


class Summary(tuple[Line, ...]):
    """The lines of the first screen; prints as text, and shows as text in a notebook."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(f" {line.label:<12} {line.text}" if line.label else line.text for line in self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.35'>{html.escape(str(self))}</pre>"


@dataclass(frozen=True)
class Money:
    """Where the money went, in printed figures: they add up to `net` exactly."""

    terms: tuple[tuple[str, float], ...]  # (name, signed amount), the first being "before costs"
    net: float
    decimals: int


def summarize(result: Result) -> Summary:
    """The first screen of a result."""
    info = result.info
    reach = reach_of(result)
    debt = debt_headline(result)
    lines = [
        *([Line("", debt)] if debt else []),
        *(Line("", text) for text in shutdown_warnings(result, reach.shutdowns)),
        Line("", heading(result)),
        Line("", assumptions_text(result)),
        *(Line("", text) for text in info.headlines),
        *_metric_lines(result),
        Line("Money", money_text(result)),
        Line("Verdict", verdict_text(result)),
    ]
    if path := path_text(result):
        lines.append(Line("Path", path))
    if result.optimism:
        lines.append(Line("Optimism", optimism_text(result)))
    lines.append(Line("Flow", flow_text(result)))
    if len(result.trades):
        lines.append(Line("Exits", exits_text(result)))
    lines.append(Line("Governor", governor_text(result, reach)))
    lines.extend(Line("Check", text) for text in info.findings)
    lines.extend(Line("Warning", text) for text in info.warnings)
    if result.verified is not None:
        lines.append(Line("Verified", verified_text(result)))
    lines.append(Line("", run_text(result)))
    return Summary(lines)


def heading(result: Result) -> str:
    """Who ran what on which data. A sign that depends on the path, or generated data, comes first."""
    info = result.info
    warnings = ["SYNTHETIC data"] if info.is_synthetic else []
    if sign_depends_on_path(result):
        warnings.append("PROFIT OR LOSS DEPENDS ON THE INTRABAR PATH")
    params = "".join(f" {name}={value}" for name, value in info.params.items())
    overrides = "1 override" if info.n_overrides == 1 else f"{info.n_overrides} overrides"
    parts = [
        f"qtsim {info.version}",
        f"{info.strategy}{params}",
        f"{_names(info.symbols)} {info.timeframe}, {period_text(info)}, {bars_text(info)}",
        f"profile {info.profile}, {overrides}",
        *warnings,
    ]
    return " · ".join(parts)


def period_text(info: RunInfo) -> str:
    """2023-01-01 to 2025-06-29 23:00 UTC: opens of the first and the last bar."""
    return f"{_moment(info.start_ns)} to {_moment(info.end_ns)} UTC"


def bars_text(info: RunInfo) -> str:
    """21,864 bars, no gaps"""
    missing = sum(info.gaps.values())
    count = sum(info.bars.values())
    bars = "1 bar" if count == 1 else f"{count:,} bars"
    if not missing:
        return f"{bars}, no gaps"
    with_gaps = [f"{symbol} {n:,}" for symbol, n in info.gaps.items() if n]
    return f"{bars}, {missing:,} missing" + (f" ({', '.join(with_gaps)})" if len(info.symbols) > 1 else "")


def assumptions_text(result: Result) -> str:
    """The assumptions that move a result most, in one line."""
    info = result.info
    settings = info.settings
    mark = info.mark if info.mark.startswith("history") else "last price stands in"
    by_agent = settings.get("sizing.model") == "rl"
    model = "rl" if by_agent else settings.get("leverage.model", "leverage")
    fill_at = "signal-close fills (as some engines do; not reachable live)"
    if settings.get("sim.fill_at", "next_open") == "next_open":
        fill_at = "next-open fills"
    parts = [
        f"look-ahead: {info.causality}",
        f"funding: {info.funding}",
        f"mark price: {mark}",
        *([f"path: {info.detail}"] if info.detail else []),
        f"wallet {result.totals.initial_balance:,.0f} {info.quote}{transfers_text(result)}",
        *outages_texts(info),
        f"{model} {leverage_text(result)} {mode_text(settings)}",
        fill_at,
        *fills_texts(result),
        f"taker {_rate(info.taker)}, slippage {slippage_text(settings)}",
    ]
    if settings.get("sim.path", "nearest") != "nearest":
        parts.append(f"{settings['sim.path']} path")
    return " · ".join(parts)


def outages_texts(info: RunInfo) -> list[str]:
    """program blind from 2025-06-01 on, critical 2025-03-01 to 2025-03-02: the outages that the caller injected."""
    parts = [f"{what} {start} to {end}" if end else f"{what} from {start} on" for start, end, what in info.outages]
    return [f"program {', '.join(parts)}"] if parts else []


def transfers_text(result: Result) -> str:
    """, +1,000 and -500 in 3 transfers (1 refused): what came and went beside trading; returns are free of it."""
    moved = result.transfers["moved"]
    if not len(moved):
        return ""
    sums = [f"{total:+,.0f}" for total in (moved[moved > 0.0].sum(), moved[moved < 0.0].sum()) if total]
    refused = int((moved == 0.0).sum())
    count = "1 transfer" if len(moved) == 1 else f"{len(moved):,} transfers"
    text = f", {' and '.join(sums) or 'nothing moved'} in {count}"
    return f"{text} ({refused:,} refused)" if refused else text


def transfer_word(amount: float, moved: float) -> str:
    """Deposit, withdrawal, or what the exchange refused."""
    if moved == 0.0:
        return "withdrawal, refused"
    return "deposit" if amount > 0.0 else "withdrawal"


def fills_texts(result: Result) -> list[str]:
    """at most 10 % of a bar's volume (bound 12 times, 9 parts; the rest waits): how orders are filled."""
    settings, totals = result.info.settings, result.totals
    texts = []
    if settings.get("entry.order.type", "market") == "limit":
        texts.append(
            f"limit entries {_plain(settings['entry.order.limit_offset_bps'])} bps from the signal's close "
            f"({totals.limits_placed:,} placed, {totals.limits_filled:,} filled, "
            f"{totals.limits_timed_out:,} timed out, {totals.limits_cancelled:,} cancelled)"
        )
    if any(settings.get(f"sim.latency_ms.{name}", 0.0) > 0.0 for name in ("decision", "order", "jitter")):
        mean = totals.delay_ns / 1e6 / totals.delayed if totals.delayed else 0.0
        orders = "1 order" if totals.delayed == 1 else f"{totals.delayed:,} orders"
        shown = f"{mean:.3g}" if mean < 1_000.0 else f"{mean:,.0f}"
        texts.append(f"latency {shown} ms on average ({orders})" if totals.delayed else "latency of no order")
    share = float(settings.get("sim.volume.max_share", np.inf))
    if share < np.inf:
        bound = "never bound" if not totals.share_bound else f"bound {_times(totals.share_bound)}"
        rest = "waits" if settings.get("sim.volume.unfilled", "wait") == "wait" else "is cancelled"
        texts.append(
            f"at most {100.0 * share:g} % of a bar's volume ({bound}, {totals.parts:,} parts; the rest {rest})"
        )
    return texts


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def mode_text(settings: Mapping[str, Any]) -> str:
    """Margin mode, and hedge mode where both sides of a symbol may stand."""
    margin = str(settings.get("account.mode.margin", "isolated"))
    return f"{margin}, hedge mode" if settings.get("account.mode.position") == "hedge" else margin


def slippage_text(settings: Mapping[str, Any]) -> str:
    """2 bps; under model size from the least to the most that a fill can have; else what it is made of."""
    bps = float(settings.get("costs.slippage.bps", float("nan")))
    model = settings.get("costs.slippage.model", "fixed")
    if model == "spread":
        return "half the quoted spread"
    if model == "impact":
        return f"{_plain(bps)} bps and impact {_plain(float(settings['costs.slippage.impact']))}"
    if settings.get("costs.slippage.model", "fixed") != "size":
        return f"{_plain(bps)} bps"
    large = float(settings["costs.slippage.large_bps"])
    most = max(bps, large) + float(settings["costs.slippage.volatile_bps"])
    return f"by size {_plain(min(bps, large))} to {_plain(most)} bps"


def leverage_text(result: Result) -> str:
    """1x to 3x: the leverage that entries had."""
    used = np.concatenate([result.trades["leverage"].to_numpy(), result.positions["leverage"].to_numpy()])
    if used.size == 0:
        return "(no entry)"
    low, high = float(used.min()), float(used.max())
    return f"{_plain(low)}x" if low == high else f"{_plain(low)}x to {_plain(high)}x"


def money(result: Result) -> Money:
    """The amounts of the Money line, rounded so that the printed figures add up to the printed net."""
    totals = result.totals
    named = [
        ("fees", -totals.fees),
        ("slippage", -totals.slippage),
        ("funding", totals.funding),
        ("liquidation fees", -totals.liquidation_fees),
    ]
    if len(result.positions):
        named.append(("open positions", totals.unrealized_pnl))
    largest = max(abs(totals.net), *(abs(amount) for _, amount in named))
    decimals = 1 if largest >= 100.0 else 2 if largest >= 1.0 else 4
    unit = 10**decimals
    # whole units of the last printed digit: the parts as they round, the first term what is left of the net
    parts = [(name, round(amount * unit)) for name, amount in named]
    net = round(totals.net * unit)
    before = net - sum(amount for _, amount in parts)
    terms = (("before costs", before / unit), *((name, amount / unit) for name, amount in parts))
    return Money(terms, net / unit, decimals)


def money_text(result: Result) -> str:
    """before costs +1,089.0   fees -963.0   ...   = net -320.5 USDT"""
    amounts = money(result)
    terms = "   ".join(f"{name} {signed(amount, amounts.decimals)}" for name, amount in amounts.terms)
    return f"{terms}   = net {signed(amounts.net, amounts.decimals)} {result.info.quote}"


def flow(result: Result) -> list[tuple[str, int, str]]:
    """Where the signals went: (step, count, detail). The first is all signals, the last all entries; the steps between
    are what was lost on the way, so the first less those between is the last."""
    denials = result.denials
    entries = entered(result.fills)
    steps = [("signals", len(denials) + entries, "")]
    pre_chain = denials[denials["gate"] == GATE_TEXT[Gate.SIGNAL]]
    named = Counter(pre_chain["rule"])
    for rule in PRE_CHAIN_RULES:
        count = named.pop(RULE_TEXT[rule], 0)
        if count:
            steps.append((RULE_TEXT[rule], count, ""))
    steps.extend(sorted((str(rule), count, "") for rule, count in named.items()))
    denied = denials[denials["gate"] != GATE_TEXT[Gate.SIGNAL]]
    if len(denied):
        steps.append(("denied", len(denied), largest_rules_text(Counter(denied["rule"]))))
    steps.append(("entries", entries, ""))
    return steps


def entered(fills: pd.DataFrame) -> int:
    """How many entries there were; one that was filled in parts is one."""
    return int(fills.loc[fills["kind"] == "entry", "trade_id"].nunique())


def largest_rules_text(counts: Counter[str]) -> str:
    """CHOPPY 96, PAUSE_1H 88, other 30: the three largest, and the rest together."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named, rest = ordered[:NAMED_RULES], sum(n for _, n in ordered[NAMED_RULES:])
    return ", ".join(f"{rule} {n:,}" for rule, n in named) + (f", other {rest:,}" if rest else "")


def denied_text(result: Result) -> str:
    """orchestrator: CHOPPY 96, short in an UPTREND 12; governor: PAUSE_1H 88: every rule under its gate."""
    by_gate: dict[str, list[str]] = {}
    for one in denied_by_gate(result.denials):
        by_gate.setdefault(one.gate, []).append(f"{one.rule} {one.count:,}")
    return "; ".join(f"{gate.replace('_', ' ')}: {', '.join(rules)}" for gate, rules in by_gate.items())


def gates_are_on(result: Result) -> bool:
    """Whether the run had gates and a governor at all."""
    return result.has_governor and bool(result.info.settings.get("gates.enabled", True))


def governor_text(result: Result, reach: Reach) -> str:
    """PAUSE_1H 149 ×, shutdown 1 × (2024-08-05 06:00; operator resumed after 24 h): 0.8 % of the period without
    entries"""
    if not result.has_governor:
        return "gates and governor off (this run is of a version without them)"
    if not gates_are_on(result):
        return "gates and governor off (gates.enabled = false)"
    fired = [
        f"{state.decision} {state.fired:,} ×" for state in reach.states if state.fired and state.decision != SHUTDOWN
    ]
    if reach.shutdowns:
        fired.append(f"shutdown {len(reach.shutdowns):,} × ({_shutdowns_text(reach.shutdowns)})")
    text = "no decision in force at any time"
    if fired:
        text = f"{', '.join(fired)}: {_share(reach.shut_share)} of the period without entries"
    return text if result.info.leader_known else f"{text}; global gate off: no data of the leader, regime UNKNOWN"


def shutdown_warnings(result: Result, shutdowns: Sequence[Span]) -> list[str]:
    """The first lines of the screen: each shutdown, and from the fourth on how many more there were."""
    texts = [shutdown_headline(result, span) for span in shutdowns[:NAMED_SHUTDOWNS]]
    more = len(shutdowns) - len(texts)
    return [*texts, f"EMERGENCY SHUTDOWN {more:,} more ×: the report lists them"] if more else texts


def flow_text(result: Result) -> str:
    """706 signals → side already held 84 → denied 214 (...) → 321 entries; what set the size"""
    (_, signals, _), *between, (_, entries, _) = flow(result)
    lost = [f"{name} {count:,}" + (f" ({detail})" if detail else "") for name, count, detail in between]
    text = " → ".join([f"{signals:,} signals", *lost, f"{entries:,} entries"])
    bound = size_text(result)
    return f"{text}; {bound}" if bound else text


def size_text(result: Result) -> str:
    """size set by margin cap 10 % in 100 %: which bound set how many of the entries' sizes."""
    bounds = Counter([*result.trades["capped_by"], *result.positions["capped_by"]])
    if not bounds:
        return ""
    total = sum(bounds.values())
    return "size set by " + ", ".join(
        f"{_bound_name(result, bound)} in {_whole_share(n / total)}" for bound, n in bounds.most_common()
    )


def exits_text(result: Result) -> str:
    """stop 184 · ratchet 88 · ...     legs filled: TP1 149, TP2 71, TP3 30"""
    reasons = Counter(result.trades["exit_reason"])
    text = " · ".join(f"{str(reason).replace('_', ' ')} {count:,}" for reason, count in reasons.most_common())
    if len(result.positions):
        text += f" · still open {len(result.positions):,}"
    legs = Counter(result.fills["reason"])
    filled = ", ".join(f"{leg.upper()} {legs[leg]:,}" for leg in LEGS if legs[leg])
    return f"{text}     legs filled: {filled or 'none'}"


def path_share(result: Result) -> float:
    """Share of exit fills that another order of their bar's extremes would change; NaN without exits."""
    exits = result.fills[result.fills["kind"] != "entry"]
    return float(exits["path_dependent"].mean()) if len(exits) else float("nan")


def sign_depends_on_path(result: Result) -> bool:
    """Whether one order of the bars' extremes earns and another loses."""
    returns = _range_of(result, "Total Return")
    return len(returns) > 1 and min(returns) < 0.0 < max(returns)


def verdict_text(result: Result) -> str:
    """What the figures amount to, in one sentence."""
    if not len(result.fills):
        return no_trades_text(result)
    total = result.metrics["Total Return"]
    sign = "earns" if total > 0.0 else "loses" if total < 0.0 else "breaks even"
    text = f"{sign} after costs"
    returns = _range_of(result, "Total Return")
    if sign_depends_on_path(result):
        text = "earns or loses after costs depending on the intrabar path: not a result to rely on"
    elif len(returns) > 1:
        text += " on every intrabar path"
    held = result.metrics["Buy and Hold"]
    if np.isfinite(held):
        text += f"; holding returned {percent(held)}"
    share = path_share(result)
    if share > 0.0:
        text += f"; {_share(share)} of exits depend on the path, which {what_settles(result)} would settle"
    elif len(returns) > 1 and min(returns) == max(returns) and not len(result.ambiguous):
        text += "; no exit depends on the path"
    if tight := tight_trails(result):
        text += f"; {tight:,} exit{'s' if tight > 1 else ''} by a trail tighter than one ATR of a bar: use finer bars"
    few = len(result.trades)
    if 0 < few < 30:
        text += "; 1 trade proves little" if few == 1 else f"; {few} trades prove little"
    net = result.totals.net
    if total * net < 0.0 and len(result.transfers):
        text += f"; the account itself {'gained' if net > 0.0 else 'lost'}, as transfers changed how much was at work"
    return text


def tight_trails(result: Result) -> int:
    """Trades ended by a trail that keeps less than one ATR of a bar, whose moves inside the bar nobody knows.

    A trail by ATR is as tight as the multiple that its trade got at entry; any other, and one whose multiple is not
    known, is compared with the ATR known at the exit.
    """
    trailed = result.trades[result.trades["exit_reason"] == "trail"]
    tight = 0
    for symbol, own in trailed.groupby("symbol"):
        multiples = trail_multiples(own, result.info.settings)
        tight += int((multiples < 1.0).sum())
        compared = own[np.isnan(multiples)]
        distance = (compared["peak"] - compared["stop_price"]).abs().to_numpy()
        tight += int((distance < atr_known_at(result, str(symbol), times_ns(compared["exit_time"]))).sum())
    return tight


def trail_multiples(trades: pd.DataFrame, settings: Mapping[str, Any]) -> np.ndarray:
    """× ATR of each trade's trail, by the style that the core chose at its entry; NaN where there is none."""
    multiples = np.full(len(trades), np.nan)
    if not trails_by_atr(settings):
        return multiples
    actions = trades["rl_action"] if "rl_action" in trades else np.full(len(trades), NO_ACTION)
    columns = (trades[name] for name in ("mode", "regime", "flags"))
    for at, (mode, regime, flags, action) in enumerate(zip(*columns, actions, strict=True)):
        if "signal_trail" not in flags:
            style = entry_trail_style(str(mode), str(regime), int(action), settings)
            name = STYLE_TEXT.get(style, "")
            multiples[at] = settings.get(f"exit.stops.trail.{name}", 1.0) if name else np.nan
    return multiples


def trails_by_atr(settings: Mapping[str, Any]) -> bool:
    """Whether the policy's trail keeps a multiple of ATR, unless a signal brings its own."""
    policy = settings.get("exit.policy", "exit_brain")
    by_setting = settings.get("exit.stops.trail.mode", "atr") == "atr"
    return bool(policy == "legacy" or (policy == "exit_brain" and by_setting))


def entry_trail_style(mode: str, regime: str, action: int, settings: Mapping[str, Any]) -> int:
    """TrailStyle of a trade; action: of sizing model rl. AGENTS_STYLE where that chose it and the action is not known.

    A run of a version that recorded neither mode nor regime had the setting's own.
    """
    own_style = int(TrailStyle[settings.get("exit.stops.trail.style", "balanced").upper()])
    if settings.get("sizing.model") == "rl":
        own_style = AGENTS_STYLE if action == NO_ACTION else action_trail_nb(action)
    if settings.get("exit.policy", "exit_brain") == "legacy" or not mode:
        return own_style
    return int(trail_style_nb(Mode[mode], Regime[regime], own_style))


def atr_known_at(result: Result, symbol: str, ts: np.ndarray) -> np.ndarray:
    """ATR of the last bar that had closed at each time (int64 ns); NaN where it is not known."""
    frame = result.bars.get(symbol)
    if frame is None or "atr" not in frame.columns or not len(frame):
        return np.full(len(ts), np.nan)
    at = np.searchsorted(times_ns(pd.DatetimeIndex(frame.index)), ts, side="right") - 2
    known: np.ndarray = np.where(at >= 0, frame["atr"].to_numpy(dtype=np.float64)[np.maximum(at, 0)], np.nan)
    return known


def no_trades_text(result: Result) -> str:
    """Why nothing was traded."""
    (_, signals, _), *between, _ = flow(result)
    if signals == 0:
        return "no trades: the strategy gave no entry signal in this period"
    name, count, detail = max(between, key=lambda step: step[1])
    lost = f"{count:,} denied ({detail})" if name == "denied" else f"{count:,} by “{name}”"
    return f"no trades: none of {signals:,} signals became an entry, {lost}"


def optimism_gains(result: Result) -> list[tuple[str, float]]:
    """What each assumption costs: (assumption lifted, Total Return gained by lifting it)."""
    base = result.metrics["Total Return"]
    return [(name, total - base) for name, total in result.optimism.items() if np.isfinite(total)]


def optimism_text(result: Result) -> str:
    """no slippage +3.85 pp · ...: which of them alone would turn a loss into a profit"""
    gains = optimism_gains(result)
    text = " · ".join(f"{name} {points(100.0 * gain)} pp" for name, gain in gains)
    base = result.metrics["Total Return"]
    if base >= 0.0 or not gains:
        return text
    return f"{text}: {_turning_text(gains, [base + gain > 0.0 for _, gain in gains])} show a profit"


def _turning_text(gains: Sequence[tuple[str, float]], turns: Sequence[bool]) -> str:
    """Which of the lifted assumptions are enough by themselves: the first or third alone would"""
    if len(gains) == 1:
        return "it alone would" if turns[0] else "it alone would not"
    if not any(turns):
        return "none alone would"
    if all(turns):
        return "each alone would"
    named = (ORDINALS[at] if at < len(ORDINALS) else name for at, (name, _) in enumerate(gains))
    return f"the {_either([name for name, turn in zip(named, turns, strict=True) if turn])} alone would"


def verified_text(result: Result) -> str:
    """Whether the reference driver gave the same bytes."""
    if result.verified:
        return f"the reference driver gives the same decisions, fills and equity, byte for byte ({result.digest[:12]})"
    return "DIFFERS: the reference driver gives other decisions, fills or equity"


def run_text(result: Result) -> str:
    """The last line: where the run is and what to do next."""
    elapsed = f" ({result.info.elapsed_s:.1f} s)" if np.isfinite(result.info.elapsed_s) else ""
    if not result.run_id:
        return f"Run not saved{elapsed}"
    return (
        f"Run {result.run_id}{elapsed} · report: runs/{result.run_id}/report.html"
        " · next: qtsim report last --open · qtsim runs show last"
    )


def percent(ratio: float, decimals: int = 2) -> str:
    """-0.0321 -> "-3.21 %"; without decimals from 100 % on."""
    if not np.isfinite(ratio):
        return "n/a" if np.isnan(ratio) else "inf"
    if ratio == 0.0:
        return f"{0.0:.{decimals}f} %"
    return f"{100.0 * ratio:+,.{0 if abs(ratio) >= 1.0 else decimals}f} %"


def signed(amount: float, decimals: int) -> str:
    """+1,089.0; 0 is written without sign and digits."""
    return "0" if amount == 0.0 else f"{amount:+,.{decimals}f}"


def points(value: float) -> str:
    """Percentage points: +3.85; what rounds to nothing has no minus."""
    return f"{round(value, 2) + 0.0:+.2f}"


def number(value: float, decimals: int = 2) -> str:
    """A figure without unit; n/a where it cannot be computed."""
    return "n/a" if np.isnan(value) else f"{value:,.{decimals}f}"


def _metric_lines(result: Result) -> Iterator[Line]:
    """The three lines of figures, in columns."""
    metrics = result.metrics
    win_rate = metrics["Win Rate"]
    cells = [
        [
            ("Total Return", percent(metrics["Total Return"]) + _bracket(result, "Total Return", 100.0)),
            ("Sharpe", number(metrics["Sharpe"]) + _bracket(result, "Sharpe", 1.0)),
            ("Trades", f"{metrics['Trades']:,.0f}"),
            ("Win Rate", "n/a" if np.isnan(win_rate) else f"{100.0 * win_rate:.1f} %"),
        ],
        [
            ("Buy and Hold", f"{percent(metrics['Buy and Hold'])} (1x, no costs)"),
            ("Max DD", percent(metrics["Max Drawdown"]) + _bracket(result, "Max Drawdown", 100.0)),
            ("Avg Hold", _hours(metrics["Avg Hold"])),
            ("Profit Factor", number(metrics["Profit Factor"])),
        ],
        [
            ("CAGR", percent(metrics["CAGR"])),
            ("Volatility", percent(metrics["Volatility"]).lstrip("+")),
            ("Exposure", percent(metrics["Exposure Time"], 1).lstrip("+")),
            ("Avg R, cost R", f"{number(metrics['Avg R'])}, {number(metrics['Avg Cost R'])}"),
        ],
    ]
    widths = [max(len(row[column][1]) for row in cells) for column in range(4)]
    names = [max(len(row[column][0]) for row in cells) for column in range(4)]
    suffix = "  low/high path" if len(_range_of(result, "Total Return")) > 1 else ""
    for at, row in enumerate(cells):
        texts = [
            f"{value:<{widths[0]}}" if i == 0 else f"{name:<{names[i]}} {value:<{widths[i]}}"
            for i, (name, value) in enumerate(row)
        ]
        texts[0] += suffix if at == 0 else " " * len(suffix)
        yield Line(row[0][0], "   ".join(texts).rstrip())


def _bracket(result: Result, name: str, scale: float) -> str:
    """[-5.02, -0.91]: lowest and highest over the intrabar paths."""
    values = [scale * value for value in _range_of(result, name)]
    if len(values) < 2:
        return ""
    decimals = 1 if scale == 100.0 and max(abs(value) for value in values) >= 100.0 else 2
    return f" [{min(values):.{decimals}f}, {max(values):.{decimals}f}]"


def _range_of(result: Result, name: str) -> list[float]:
    """A metric on every path that was run, this run's included."""
    if not result.ranges:
        return []
    values = [metrics.get(name, float("nan")) for metrics in result.ranges.values()]
    return [value for value in [*values, result.metrics[name]] if np.isfinite(value)]


def _shutdowns_text(shutdowns: Sequence[Span]) -> str:
    """The first few in words."""
    texts = [shutdown_text(span) for span in shutdowns[:NAMED_SHUTDOWNS]]
    if len(shutdowns) > 1:
        texts = [text.replace("; ", ", ") for text in texts]
    more = len(shutdowns) - len(texts)
    return "; ".join(texts) + (f"; {more:,} more" if more else "")


def _bound_name(result: Result, bound: str) -> str:
    if bound not in CAPPED_SETTING:
        return bound
    name, key = CAPPED_SETTING[bound]
    value = result.info.settings.get(key)
    return f"{name} {100.0 * float(value):g} %" if value is not None else name


def _either(names: Sequence[str]) -> str:
    """a, b or c"""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _names(symbols: Sequence[str]) -> str:
    return ", ".join(symbols) if len(symbols) <= 5 else f"{', '.join(symbols[:4])} and {len(symbols) - 4} more"


def _moment(ts_ns: int) -> str:
    stamp = pd.Timestamp(ts_ns, unit="ns", tz="UTC")
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"


def _rate(rate: float) -> str:
    return f"{100.0 * rate:.4g} %" if np.isfinite(rate) else "n/a"


def _plain(value: Any) -> str:
    return f"{float(value):g}"


def _share(share: float) -> str:
    return f"{100.0 * share:.1f} %" if share >= 0.001 else "under 0.1 %"


def _whole_share(share: float) -> str:
    """Whole per cent, but neither 0 nor 100 for what is not."""
    return f"{100.0 * share:.{0 if share == 1.0 or 0.01 <= share <= 0.99 else 1}f} %"


def _hours(hours: float) -> str:
    if np.isnan(hours):
        return "n/a"
    return f"{60.0 * hours:.0f} min" if hours < 1.0 else f"{hours:.1f} h" if hours < 100.0 else f"{hours / 24.0:.1f} d"
