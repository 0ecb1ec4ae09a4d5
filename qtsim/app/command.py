"""What the command line runs: open what a run needs, then backtest it or check its strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qtsim.app.api import chosen_symbols, finish_backtest, open_store, wants_sample
from qtsim.app.backtest import BacktestOptions, Stage
from qtsim.app.experiments import Tried
from qtsim.app.inputs import RunInputs, add_strategy_needs, gather_store
from qtsim.app.workspace import Workspace, settings_of
from qtsim.config.layers import Resolved
from qtsim.data.store import Store
from qtsim.errors import UsageError
from qtsim.results.ablation import HOW_TO_READ
from qtsim.results.ambiguity import ambiguous_as_dicts, path_text
from qtsim.results.reach import NORMAL, Span, denied_by_gate, reach_of
from qtsim.results.result import Result
from qtsim.results.summary import LEGS, flow, gates_are_on, governor_text, money, optimism_gains, verdict_text
from qtsim.results.tables import times_ns
from qtsim.signals.causality import CheckReport, check_strategy
from qtsim.signals.loading import load_strategy
from qtsim.signals.strategy import Strategy


@dataclass(frozen=True)
class Opened:
    """Settings, strategy and store of a run; nothing has been read or computed yet."""

    workspace: Workspace
    resolved: Resolved
    strategy: Strategy
    store: Store

    def with_resolved(self, resolved: Resolved) -> Opened:
        """The same under other settings, of another period for instance."""
        return replace(self, resolved=resolved)


def open_run(
    workspace: Workspace,
    *,
    profile: str | None,
    files: Sequence[Path],
    overrides: Mapping[str, Any],
    sample: bool,
) -> Opened:
    """Everything that can be wrong about a request before data are read. Errors: UsageError, StrategyError."""
    resolved = settings_of(workspace, profile=profile, files=files, overrides=overrides)
    strategy = load_strategy(resolved.settings.run.strategy, resolved.settings.strategy, [workspace.strategies])
    return Opened(workspace, resolved, strategy, _pick_store(workspace, resolved, sample=sample))


def backtest_opened(
    opened: Opened,
    *,
    options: BacktestOptions,
    save: bool,
    stage: Stage,
    on_tried: Callable[[Tried | str], None] | None = None,
) -> Result:
    """Backtest. Errors name what is wrong; nothing is half-written. on_tried: see `finish_backtest`."""
    return finish_backtest(
        opened.resolved,
        opened.strategy,
        gather_opened(opened),
        opened.workspace,
        store=opened.store,
        options=options,
        save=save,
        stage=stage,
        on_tried=on_tried,
    )


def check_opened(opened: Opened, *, stage: Stage) -> CheckReport:
    """The full causality check. Errors: StrategyError names the first difference."""
    settings = opened.resolved.settings
    inputs = gather_opened(opened)
    add_strategy_needs(inputs, opened.strategy, opened.store, settings)
    return check_strategy(
        opened.strategy,
        inputs.frames(),
        inputs.timeframe,
        seed=settings.run.seed,
        progress=stage,
        mark_frames=inputs.mark_frames(),
        funding_frames=inputs.funding_frames(),
        column_frames=inputs.columns,
        other_frames=inputs.others,
    )


UNITS = {
    "metrics": "ratios are decimals (0.01 is 1 %), durations days, holds hours, amounts the quote currency",
    "range": "as metrics, per intrabar path; empty on trades, which come in one order, and with --fast",
    "ambiguous": "opens of the bars whose path decides what exits leave, UTC",
    "optimism": "Total Return without the assumption, a decimal ratio",
    "optimism_gains_pp": "what lifting the assumption adds to Total Return, percentage points",
    "ablation": "as metrics, without one part; changes in percentage points, below 0 worse without the part",
    "period": "UTC; end is exclusive",
    "governor": "shares are decimals of the period; value, limit and equity are those of the evaluation; times UTC",
}
"""What the figures of the JSON answer are measured in."""


def result_as_dict(result: Result, workspace: Workspace) -> dict[str, Any]:
    """What a program may read of a run."""
    info = result.info
    return {
        "run": result.run_id or None,
        "path": str(result.path) if result.path else None,
        "workspace": str(workspace.root),
        "digest": result.digest,
        "synthetic": info.is_synthetic,
        "verified": result.verified,
        "strategy": info.strategy,
        "params": info.params,
        "symbols": info.symbols,
        "timeframe": info.timeframe,
        "period": {
            "start": _utc(info.start_ns),
            "end": _utc(info.end_ns + info.timeframe_ns),
            "bars": info.bars,
            "missing": info.gaps,
        },
        "profile": info.profile,
        "units": {"quote": info.quote, **UNITS},
        "metrics": result.metrics,
        "range": result.ranges,
        "optimism": result.optimism,
        "optimism_gains_pp": {name: 100.0 * gain for name, gain in optimism_gains(result)},
        "path_text": path_text(result) or None,
        "ambiguous": {"settled": info.settled or None, "bars": ambiguous_as_dicts(result)},
        "ablation": ablation_as_dict(result),
        "money": {**dict(money(result).terms), "net": money(result).net, "unit": info.quote},
        "verdict": verdict_text(result),
        "flow": [{"step": name, "count": count, "detail": detail} for name, count, detail in flow(result)],
        "denials": [{"gate": one.gate, "rule": one.rule, "count": one.count} for one in denied_by_gate(result.denials)],
        "governor": governor_as_dict(result),
        "exits": dict(Counter(map(str, result.trades["exit_reason"]))),
        "legs": {leg: int((result.fills["reason"] == leg).sum()) for leg in LEGS},
        "open": len(result.positions),
        "transfers": transfers_as_dicts(result),
        "causality": info.causality,
        "findings": info.findings,
        "warnings": result.warnings,
        "headlines": info.headlines,
    }


def ablation_as_dict(result: Result) -> dict[str, Any] | None:
    """What the run would have been without each part; null where it was not asked for."""
    if not result.has_ablation:
        return None
    parts = result.ablation.to_dict("records")
    return {"note": HOW_TO_READ, "parts": parts, "left_out": dict(result.ablation_left_out)}


def transfers_as_dicts(result: Result) -> list[dict[str, Any]]:
    """Deposits and withdrawals; `moved` is 0 where the exchange refused one."""
    columns = (result.transfers[name].tolist() for name in ("amount", "moved", "wallet"))
    return [
        {"time": _utc(int(ts)), "amount": amount, "moved": moved, "wallet": wallet}
        for ts, amount, moved, wallet in zip(times_ns(result.transfers["time"]), *columns, strict=True)
    ]


def governor_as_dict(result: Result) -> dict[str, Any]:
    """What the Safety Governor did: each state, each shutdown, and every event in order."""
    reach = reach_of(result)
    governor = result.governor
    columns = (governor[name].tolist() for name in ("decision", "event", "value", "limit", "equity"))
    return {
        "on": gates_are_on(result),
        "leader_known": result.info.leader_known,
        "text": governor_text(result, reach),
        "share_without_entries": reach.shut_share,
        "states": [
            {
                "decision": state.decision,
                "fired": None if state.decision == NORMAL else state.fired,
                "hours": state.hours,
                "longest_hours": state.longest_hours,
                "share": state.share,
                "denied": state.denied,
            }
            for state in reach.states
        ],
        "shutdowns": [_shutdown_as_dict(span) for span in reach.shutdowns],
        "events": [
            {
                "time": _utc(int(ts)),
                "decision": decision,
                "event": event,
                "value": value,
                "limit": limit,
                "equity": equity,
            }
            for ts, decision, event, value, limit, equity in zip(times_ns(governor["time"]), *columns, strict=True)
        ],
    }


def _shutdown_as_dict(span: Span) -> dict[str, Any]:
    """When it fired, on what loss, and when a person let trading resume; null where nobody did."""
    return {
        "time": _utc(span.begin_ns),
        "resumed": _utc(span.end_ns) if span.has_ended else None,
        "hours": span.hours,
        "value": span.value,
        "limit": span.limit,
        "equity": span.equity,
    }


def has_entry(result: Result) -> bool:
    """Whether anything was traded at all."""
    return bool((result.fills["kind"] == "entry").any())


def _utc(ts_ns: int) -> str:
    """2023-01-01T00:00:00Z"""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pick_store(workspace: Workspace, resolved: Resolved, *, sample: bool) -> Store:
    """The workspace's store; the sample market where it was asked for, or where nothing was and nothing is there."""
    if sample:
        return open_store(workspace, resolved, sample=True)
    store = open_store(workspace, resolved)
    return open_store(workspace, resolved, sample=True) if wants_sample(resolved, store) else store


def gather_opened(opened: Opened) -> RunInputs:
    """Read the data; where a symbol's bars are missing, say what a user can do about it."""
    store, settings = opened.store, opened.resolved.settings
    symbols = chosen_symbols(opened.resolved, store)
    missing = next((symbol for symbol in symbols if store.find(symbol, settings.run.timeframe) is None), None)
    if missing is None or store.is_synthetic:
        return gather_store(store, settings, symbols)
    try:
        return gather_store(store, settings, symbols)
    except UsageError as error:
        text = str(error)
        if "qtsim data import" not in text:
            text = f"{text}; get what is missing with qtsim data download or qtsim data import PATH"
        raise UsageError(f"{text}, or try the generated market: --sample (qtsim data sample makes it)") from None
