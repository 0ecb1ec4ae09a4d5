"""Repeat an earlier run: take its settings, and say whether the result is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from qtsim.app.injections import Outage, Transfer
from qtsim.app.inputs import instrument_from_fields
from qtsim.app.workspace import Workspace
from qtsim.data.instruments import Instrument
from qtsim.data.symbols import normalize_symbol
from qtsim.errors import DataError
from qtsim.results.metrics import Totals
from qtsim.results.result import Result, RunInfo
from qtsim.results.run_folder import AGENT, find_run, read_ambiguous, read_manifest, read_signals

NOT_REPEATED = ("run.profile", "data.dir")
NOT_COMPARED = (*NOT_REPEATED, "run.strategy", "strategy.")
"""Settings that say nothing themselves: the strategy's name, code and parameters are compared instead."""


@dataclass(frozen=True)
class Repeated:
    """What an earlier run was asked: everything that was not a default or its profile's."""

    run_id: str
    digest: str
    info: RunInfo
    overrides: dict[str, Any]
    instruments: dict[str, Instrument]
    agent: Path | None = None  # the agent that it evaluated
    ambiguous: pd.DataFrame | None = None  # its ambiguous bars; None: of a version that did not list them
    signals: pd.DataFrame | None = None  # its newest signals; None: of a version that kept none
    totals: Totals | None = None  # what it came to

    @property
    def outages(self) -> tuple[Outage, ...]:
        """The outages that were injected."""
        return tuple((start, end, health) for start, end, health in self.info.outages)

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """The deposits and withdrawals that were asked for."""
        return tuple((when, amount) for when, amount in self.info.transfers)

    @property
    def profile(self) -> str:
        """Its profile."""
        return self.info.profile

    @property
    def is_sample(self) -> bool:
        """Whether it read the sample market."""
        return self.info.is_synthetic

    def overrides_for(self, strategy: str | None) -> dict[str, Any]:
        """What the new run starts from; with another strategy the old one's parameters mean nothing."""
        if strategy is None or strategy == self.info.settings.get("run.strategy"):
            return dict(self.overrides)
        return {path: value for path, value in self.overrides.items() if not path.startswith("strategy.")}

    def instruments_for(self, symbols: Sequence[str] | None) -> dict[str, Instrument]:
        """The rules that were given; with other symbols, those of the symbols that are still there."""
        named = set(map(normalize_symbol, symbols)) if symbols else set(self.instruments)
        return {symbol: rules for symbol, rules in self.instruments.items() if symbol in named}

    def compare(self, result: Result) -> Mapping[str, Any]:
        """`same`: equal decisions, fills and equity; `differs`: what was not the same when both ran."""
        differs: list[str] = []
        before, now = self.info, result.info
        differs += [
            f"setting {path}"
            for path, value in now.settings.items()
            if not path.startswith(NOT_COMPARED) and _as_lists(value) != _as_lists(before.settings.get(path))
        ]
        if before.profile != now.profile:
            differs.append(f"profile {before.profile} → {now.profile}")
        if before.strategy != now.strategy or before.strategy_digest != now.strategy_digest:
            differs.append(_strategy_change(before, now))
        elif before.params != now.params:
            differs.append("strategy parameters")
        if before.instruments != now.instruments:
            differs.append("instruments")
        names = sorted(set(before.fingerprints) | set(now.fingerprints))
        differs += [f"data {n}" for n in names if before.fingerprints.get(n) != now.fingerprints.get(n)]
        differs += [name for name in ("outages", "transfers") if _as_lists(getattr(before, name)) != getattr(now, name)]
        if before.agent != now.agent:
            differs.append("agent")
        if before.core_digest != now.core_digest:
            differs.append(f"engine (qtsim {before.version})")
        return {"run": self.run_id, "same": self.digest == result.digest, "differs": differs}


def open_repeat(workspace: Workspace, run: str) -> Repeated:
    """Read an earlier run's request. Errors: UsageError for an unknown run, DataError for a damaged one."""
    folder = find_run(workspace.runs, run)
    manifest = read_manifest(folder)
    try:
        info = RunInfo.from_dict(manifest["info"])
        changed = {
            path: value
            for path, value in info.settings.items()
            if path not in NOT_REPEATED
            and info.setting_sources.get(path, "default") not in ("default", f"profile {info.profile}")
        }
        instruments = {symbol: instrument_from_fields(values) for symbol, values in info.instruments.items()}
        totals = Totals(**manifest["totals"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"run folder {folder} is damaged: its manifest cannot be understood ({error})") from None
    changed["run.symbols"] = list(info.symbols)
    changed["run.timeframe"] = info.timeframe
    changed.update({f"strategy.{name}": value for name, value in info.params.items()})
    agent = folder / AGENT if info.agent else None
    ambiguous = read_ambiguous(folder, manifest)
    signals = read_signals(folder, manifest)
    return Repeated(folder.name, str(manifest["digest"]), info, changed, instruments, agent, ambiguous, signals, totals)


def _strategy_change(before: RunInfo, now: RunInfo) -> str:
    return "strategy code" if before.strategy == now.strategy else f"strategy {before.strategy} → {now.strategy}"


def _as_lists(value: Any) -> Any:
    """A value as it comes back from a file, in which tuples are lists."""
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def repeat_text(compared: Mapping[str, Any]) -> str:
    """One line about a repeated run."""
    causes = ", ".join(compared["differs"])
    if compared["same"]:
        return f"repeats {compared['run']}: the same decisions, fills and equity"
    return f"differs from {compared['run']}: {causes or 'all that was recorded is the same; please report this'}"
