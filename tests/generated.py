"""Generated markets and settings: small, nasty, and the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.accounting import show_signal_nb
from qtsim.core.enums import FillAt, SizingModel
from qtsim.core.records import (
    Records,
    bar_dt,
    close_dt,
    funding_dt,
    instrument_dt,
    outage_dt,
    point_dt,
    signal_dt,
    transfer_dt,
)
from qtsim.results.agents import training_draws
from qtsim.sim.journals import Journals
from qtsim.sim.market import Floats, Market, SymbolInput, build_market
from qtsim.sim.run import run_compiled, run_reference

HOUR = 3_600_000_000_000
COARSE = 4 * HOUR
START = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC
NAMES = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH")


@dataclass(frozen=True, repr=False)
class Case:
    """One generated run."""

    market: Market
    params: Records
    symbols: list[str]
    balance: float = 10_000.0
    inputs: list[SymbolInput] = field(default_factory=list)
    label: str = ""

    def __repr__(self) -> str:
        return f"Case({self.label}, {self.symbols}, {len(self.market.bars)} bars)"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def compiled(self, *, diagnose: bool = True) -> Journals:
        return run_compiled(self.market, self.params, self.balance, self.symbols, diagnose=diagnose, draws=self.draws)

    def reference(self, *, diagnose: bool = True) -> Journals:
        return run_reference(self.market, self.params, self.balance, self.symbols, diagnose=diagnose, draws=self.draws)

    def with_transfers(self, rng: np.random.Generator) -> Case:
        """The same run with deposits and withdrawals, some larger than the account, some between two boundaries."""
        first, last = int(self.market.boundaries[0]), int(self.market.boundaries[-1])
        rows = np.zeros(int(rng.integers(1, 7)), transfer_dt)
        rows["due"] = np.sort(first + rng.integers(0, (last - first) // (HOUR // 4) + 1, len(rows)) * (HOUR // 4))
        rows["amount"] = np.round(rng.normal(0.0, 0.5, len(rows)) * self.balance, 2)
        return replace(self, market=self.market._replace(transfers=rows))

    def with_outages(self, rng: np.random.Generator) -> Case:
        """The same run with times in which the program is degraded, critical or not running."""
        first, last = int(self.market.boundaries[0]), int(self.market.boundaries[-1])
        rows = np.zeros(2 * int(rng.integers(1, 4)), outage_dt)
        rows["ts"] = np.sort(first + rng.integers(0, (last - first) // (HOUR // 4) + 1, len(rows)) * (HOUR // 4))
        rows["health"][::2] = rng.integers(0, 3, len(rows[::2]))
        rows["blind"][::2] = rng.integers(0, 2, len(rows[::2]))
        return replace(self, market=self.market._replace(outages=rows))

    def with_latency(self, rng: np.random.Generator) -> Case:
        """The same run with orders that take time, far longer than real ones: from a minute to more than a bar.

        Not with fills at the signal's close or with sizing model rl, as settings refuse both.
        """
        params = self.params.copy()
        if params["sim"]["fill_at"][0] == FillAt.CLOSE or params["sizing"]["model"][0] == SizingModel.RL:
            return self
        params["run"]["seed"] = rng.integers(100)
        for name, minutes in (("decision", [0, 1]), ("order", [0, 7, 25, 90]), ("jitter", [0, 20])):
            params["sim"][f"latency_ms_{name}"] = 60_000.0 * rng.choice(minutes)
        return replace(self, params=params)

    @property
    def draws(self) -> Floats:
        """The agent's uniforms, more than it can use; those of a market's beginning are the same."""
        return training_draws(7, len(self.market.signals))


def instrument(
    *,
    tick: tuple[float, float] = (1, 10),
    lot: tuple[float, float] = (1, 1000),
    min_qty: float = 0.001,
    rate: float = 0.004,
    min_notional: float = 5.0,
) -> Records:
    """An exchange's rules: steps as ratios, two brackets."""
    record = np.zeros(1, instrument_dt)
    record["tick_num"], record["tick_den"] = tick
    record["lot_num"], record["lot_den"] = lot
    record["min_qty"], record["max_qty"], record["min_notional"] = min_qty, np.inf, min_notional
    record["liquidation_fee"] = 0.0125
    record["n_brackets"] = 2
    record["bracket_cap"][0, :2] = 20_000.0, np.inf
    record["bracket_rate"][0, :2] = rate, 2.5 * rate
    record["bracket_amount"][0, :2] = 0.0, 20_000.0 * 1.5 * rate
    record["bracket_leverage"][0, :2] = 125.0, 50.0
    return record


def params_of(overrides: dict[str, Any], profile: str | None = None) -> Records:
    """Parameter records of settings."""
    return to_params(resolve(profile=profile, environ={}, overrides=overrides).settings, HOUR)


def point_of(price: float, signal: Records) -> Records:
    """A point at `price`, in a market of which the signal is known. point_dt[1]"""
    point = np.zeros(1, point_dt)
    point["price"] = point["mark"] = price
    point["half_spread"] = np.nan
    show_signal_nb(point[0], signal[0], START)
    return point


def empty_signals(n: int) -> Records:
    """Rows that ask for nothing in a calm market."""
    rows = np.zeros(n, signal_dt)
    for name in ("confidence", "tp", "sl", "trail", "divergence", "funding_delta", "leader_24h"):
        rows[name] = np.nan
    rows["tag"] = -1
    rows["atr_ratio"] = 1.0
    rows["symbol_risk"] = 1.0
    return rows


def random_symbol(rng: np.random.Generator, name: str, n: int, knobs: dict[str, Any]) -> SymbolInput:
    """Bars with jumps, flat stretches and gaps; signals; funding at odd times."""
    sd = knobs["volatility"]
    steps = rng.standard_t(3, n) * sd
    steps[rng.random(n) < 0.03] *= 6.0
    close = 100.0 * np.exp(np.cumsum(steps))
    start = np.concatenate([[100.0], close[:-1]])
    jumps = np.where(rng.random(n) < 0.1, rng.normal(0, 3 * sd, n), 0.0)
    opening = start * np.exp(jumps)
    high = np.maximum(opening, close) * np.exp(np.abs(rng.normal(0, sd, n)) * (rng.random(n) < 0.8))
    low = np.minimum(opening, close) * np.exp(-np.abs(rng.normal(0, sd, n)) * (rng.random(n) < 0.8))
    bars = np.zeros(n, bar_dt)
    for field_name, values in (("open", opening), ("high", high), ("low", low), ("close", close)):
        bars[field_name] = np.maximum(np.round(values, 1), 0.1)
    flat = rng.random(n) < 0.05
    for field_name in ("high", "low", "close"):
        bars[field_name][flat] = bars["open"][flat]
    bars["volume"] = 1_000.0
    bars["ts_open"] = START + HOUR * (np.arange(n) + knobs["late"].get(name, 0))
    has_mark = bool(knobs["mark"])
    for field_name in ("open", "high", "low", "close"):
        bars[f"mark_{field_name}"] = bars[field_name]
    if has_mark:
        basis = np.exp(rng.normal(0, knobs["mark"], n))
        for field_name in ("open", "close"):
            bars[f"mark_{field_name}"] *= basis
        bars["mark_high"] = np.maximum(bars["mark_open"], bars["mark_close"]) * np.exp(np.abs(rng.normal(0, sd, n)))
        bars["mark_low"] = np.minimum(bars["mark_open"], bars["mark_close"]) * np.exp(-np.abs(rng.normal(0, sd, n)))
    signals = empty_signals(n)
    rate = knobs["signal_rate"]
    draws = rng.random((4, n))
    signals["close"] = bars["close"]
    signals["long"] = draws[0] < rate
    signals["short"] = (draws[1] < rate) & (signals["long"] == 0)
    signals["exit_long"] = draws[2] < rate / 3
    signals["exit_short"] = draws[3] < rate / 3
    signals["confidence"] = np.where(rng.random(n) < 0.5, np.nan, np.round(rng.uniform(0.2, 1, n), 2))
    for field_name in ("tp", "sl"):
        signals[field_name] = np.where(rng.random(n) < knobs["own_levels"], rng.uniform(0.004, 0.05, n), np.nan)
    signals["trail"] = np.where(rng.random(n) < knobs["own_levels"], rng.uniform(0.005, 0.03, n), np.nan)
    signals["divergence"] = np.where(rng.random(n) < 0.2, rng.random(n), np.nan)
    atr = np.maximum(high - low, 0.0) * rng.uniform(0.2, 1.5, n)
    signals["atr"] = np.where(rng.random(n) < 0.05, 0.0, atr)
    signals["atr"][:3] = np.nan
    signals["atr_pct"] = signals["atr"] / bars["close"]
    signals["atr_ratio"] = rng.uniform(0.5, 5.0, n)
    signals["volatility_factor"] = np.clip(signals["atr_ratio"] - 1.0, 0, 5)
    signals["symbol_risk"] = rng.uniform(0.5, 1.5, n)
    signals["funding_rate"] = rng.normal(0, 0.0005, n)
    signals["regime"] = np.repeat(rng.integers(0, 5, n // 5 + 1), 5)[:n]
    signals["leader_24h"] = np.where(rng.random(n) < 0.2, np.nan, np.round(rng.normal(-0.02, 0.06, n), 2))
    signals["leader_regime"] = np.repeat(rng.integers(0, 4, n // 20 + 1), 20)[:n]
    closes = np.zeros(n, close_dt)
    closes["ts"] = bars["ts_open"] + HOUR
    closes["log_return"] = np.concatenate([[np.nan], np.diff(np.log(bars["close"]))])
    keep = np.ones(n, dtype=bool)
    if knobs["gaps"]:
        keep = rng.random(n) > 0.08
        keep[0] = True
    signals["thinness"] = signals["atr_pct"] / np.sqrt(bars["volume"] * bars["close"])
    bars["half_spread"] = np.nan
    bars, signals = bars[keep], signals[keep]
    every = knobs["funding_hours"]
    span = int(n * 24 / every)
    events = np.zeros(span, funding_dt)
    offset = rng.choice([0, 0, 5_000_000, HOUR // 3, HOUR // 2])
    events["ts"] = START + offset + np.arange(span) * int(every * HOUR)
    events["rate"] = rng.normal(0.0001, 0.002, span)
    events["mark"] = np.where(rng.random(span) < 0.5, np.nan, 100.0)
    rules = instrument(
        tick=knobs["tick"],
        lot=knobs["lot"],
        min_qty=knobs["lot"][0] / knobs["lot"][1] * knobs["min_lots"],
        rate=knobs["rate"],
        min_notional=knobs.get("min_notional", 5.0),
    )
    rules["sector"] = int(rng.integers(2))
    return SymbolInput(name, bars, signals, events, rules, has_mark, closes)


def make_inputs(seed: int, n_symbols: int, n_bars: int, knobs: dict[str, Any]) -> list[SymbolInput]:
    """One market from a seed."""
    rng = np.random.default_rng(seed)
    return [random_symbol(rng, name, n_bars, knobs) for name in NAMES[:n_symbols]]


KNOBS: dict[str, list[Any]] = {
    "volatility": [0.002, 0.008, 0.03],
    "mark": [0, 0.001, 0.01],
    "late": [{}, {"AAA": 7}, {"BBB": 11}],
    "signal_rate": [0.05, 0.2, 0.5],
    "own_levels": [0.0, 0.3],
    "gaps": [False, True],
    "funding_hours": [0.4, 1, 4, 8],
    "tick": [(1, 10), (1, 100), (5, 10), (1, 0)],
    "lot": [(1, 1000), (1, 1), (5, 1), (1, 100_000_000)],
    "min_lots": [1, 3],
    "min_notional": [5.0, 100.0],
    "rate": [0.004, 0.015],
}

CALM: dict[str, list[Any]] = {
    "volatility": [0.0002, 0.001, 0.004],
    "mark": [0, 0.0001],
    "signal_rate": [0.1, 0.3],
    "funding_hours": [8, 24],
}

SETTINGS: dict[str, list[Any]] = {
    "exit.policy": ["exit_brain", "exit_brain", "bracket", "legacy", "profit_lock"],
    "exit.replan": ["entry", "bar"],
    "exit.legacy.tp": [0.06, 0.012],
    "exit.legacy.sl": [0.03, 0.008],
    "exit.legacy.breakeven": [0.01, 0.002],
    "exit.legacy.half_close": [0.04, 0.006],
    "exit.legacy.trail_activate": [0.02, 0.004],
    "exit.legacy.stale_hours": [48.0, 2.5],
    "exit.legacy.stale_loss": [0.02, 0.001],
    "exit.legacy.levels": ["fixed", "math"],
    "exit.profit_lock.breakeven": [0.05, 0.01],
    "exit.profit_lock.legs": [
        "[[0.08, 0.25], [0.15, 0.25], [0.25, 0.3], [0.35, 0.3], [0.5, 0.2]]",
        "[[0.01, 0.5], [0.02, 0.3], [0.03, 0.5], [0.05, 0.2], [0.08, 0.9]]",
    ],
    "exit.profit_lock.ladder": ["[[0.1, 0.2], [0.2, 0.4], [0.35, 0.6], [0.6, 0.7]]", "[[0.01, 0.5]]"],
    "exit.stops.backup.enabled": [False, True],
    "exit.monitoring": ["continuous", "points", "interval"],
    "exit.check_interval_s": [240.0, 700.0, 3600.0],
    "sim.path": ["nearest", "adverse", "favourable"],
    "sim.fill_at": ["next_open", "next_open", "close"],
    "sim.end_of_data": ["close", "last_open", "open"],
    "exit.on_opposite_signal": ["ignore", "close", "reverse"],
    "exit.trigger_price": ["last", "mark"],
    "exit.stops.hard.working_type": ["mark", "last"],
    "exit.stops.hard.distance": [0.01, 0.02, 0.05],
    "exit.base_tp": [0.006, 0.02],
    "exit.base_sl": [0.004, 0.012],
    "exit.bracket.tp": [0.004, 0.03, "inf"],
    "exit.bracket.sl": [0.003, 0.015, "inf"],
    "exit.stops.trail.mode": ["off", "atr", "percent"],
    "exit.stops.trail.activate": [0.003, 0.02],
    "exit.stops.trail.style": ["aggressive", "balanced", "loose"],
    "exit.stops.ratchet.preset": ["off", "breakeven", "lock"],
    "exit.stops.breakeven.activate": ["inf", 0.005],
    "exit.harvest.scheme.by": ["leverage", "static"],
    "exit.harvest.basis": ["remaining", "initial"],
    "exit.levels.adaptive": [False, True],
    "exit.levels.sl.model": ["adaptive", "confidence"],
    "exit.levels.sl.max": [0.02, 0.05],
    "exit.guard.loss.max": [0.02, 0.125],
    "exit.guard.loss.basis": ["notional", "margin"],
    "exit.guard.loss.emergency_margin": ["inf", 0.05, 0.3],
    "exit.guard.stale.hours": [48.0, 3.3, 9.0],
    "exit.guard.stale.stop_share": [0.5, 0.1],
    "exit.guard.stale.crash_volatility": [3.0, 1.5],
    "exit.guard.stale.crash_leader_24h": [-0.1, -0.04],
    "leverage.model": ["fixed", "simple", "ilf2", "kelly"],
    "leverage.fixed": [1.0, 5.0, 55.0],
    "leverage.ilf2.min": [5.0, 1.0],
    "leverage.ilf2.max": [80.0, 10.0],
    "leverage.kelly.prior_trades": [3, 20],
    "limits.per_trade.leverage": [10.0, 60.0],
    "sizing.model": ["math", "notional", "fixed_risk", "fraction", "fixed_qty", "rl"],
    "sizing.notional": [40.0, 900.0],
    "sizing.fixed_qty": [0.5, 12.0],
    "limits.per_trade.margin": [0.15, 0.6],
    "costs.slippage.model": ["fixed", "size", "impact"],
    "costs.slippage.large_notional": [300.0, 10_000.0],
    "costs.funding.inclusive": ["open", "both"],
    "entry.cooldown_bars": [0, 0, 2],
    "gates.enabled": [True, True, False],
    "entry.confidence.min": [0.2, 0.5],
    "orchestrator.symbol.min_trades": [4, 20],
    "orchestrator.symbol.disable_losses": [2, 3],
    "orchestrator.symbol.disable_hours": [5.0, 48.0],
    "orchestrator.symbol.blacklist_losses": [3, 20],
    "orchestrator.defensive.daily_drawdown": [0.002, 0.015],
    "limits.positions.total": [15, 2],
    "limits.positions.long": [2, 1],
    "limits.exposure.max": [1.5, 0.3, 90.0],
    "limits.sector_share": [0.3, 0.9],
    "limits.correlation.max": [0.8, 0.05],
    "limits.correlation.window_days": [7.0, 0.5],
    "governor.daily_drawdown": [0.03, 0.004],
    "governor.hourly.loss": [0.005, 0.0005],
    "governor.streak.losses": [5, 1],
    "governor.streak.hours": [4.0, 1.5],
    "governor.shutdown.drawdown": [0.05, 0.01],
    "governor.shutdown.operator_hours": [24.0, 3.0],
    "regime.effects.adjust_levels": [False, True],
    "sizing.rl.min_visits": [1, 30],
    "sizing.rl.epsilon": [0.1, 0.5],
}

MODES: dict[str, list[Any]] = {
    "account.mode.margin": ["isolated", "isolated", "cross"],
    "account.mode.position": ["one_way", "one_way", "hedge"],
}
"""Drawn apart from the other settings, so that a seed's market and settings stay what they are without them."""


FILLS: dict[str, list[Any]] = {
    "entry.order.type": ["market", "limit"],
    "entry.order.limit_offset_bps": [0.0, 20.0, 100.0],
    "entry.order.timeout_bars": [1, 3],
    "sim.volume.max_share": ["inf", "inf", 0.1, 1.0],
    "sim.volume.unfilled": ["wait", "cancel"],
}
"""How orders are filled; not with sizing model rl. Drawn apart as well."""


VOLUMES = {0.0: 0.05, 0.5: 0.2, 3.0: 0.25, 40.0: 0.25, 1_000.0: 0.15, 1e9: 0.1}
"""Volume of a bar, from none to more than any order: how often."""


def with_volumes(inputs: list[SymbolInput], rng: np.random.Generator) -> list[SymbolInput]:
    """The same symbols on bars of all volumes."""
    changed = []
    for item in inputs:
        bars = item.bars.copy()
        bars["volume"] = rng.choice(list(VOLUMES), len(bars), p=list(VOLUMES.values()))
        changed.append(replace(item, bars=bars))
    return changed


def drawn(rng: np.random.Generator, choices: dict[str, list[Any]]) -> dict[str, Any]:
    """One value of each key, by a generator: the same for the same seed."""
    return {name: values[int(rng.integers(len(values)))] for name, values in choices.items()}


def case_of_seed(seed: int, *, max_symbols: int = 3, max_bars: int = 70, **fixed: Any) -> Case:
    """A generated run without Hypothesis."""
    rng = np.random.default_rng([seed, 1])
    modes = drawn(np.random.default_rng([seed, 2]), MODES)
    knobs, overrides = drawn(rng, KNOBS), {**drawn(rng, SETTINGS), **modes, **fixed}
    inputs = make_inputs(seed, int(rng.integers(1, max_symbols + 1)), int(rng.integers(8, max_bars)), knobs)
    fills = np.random.default_rng([seed, 4])
    overrides |= {} if overrides["sizing.model"] == "rl" else {**drawn(fills, FILLS), **fixed}
    case, money = case_of(with_volumes(inputs, fills), overrides), np.random.default_rng([seed, 3])
    if fills.random() < 0.4:
        case = case.with_latency(fills)
    if money.random() < 0.5:
        case = case.with_transfers(money)
    return case.with_outages(money) if money.random() < 0.3 else case


def case_of(inputs: list[SymbolInput], overrides: dict[str, Any], balance: float = 10_000.0) -> Case:
    """A run of given inputs."""
    market = build_market(inputs, HOUR)
    return Case(market, params_of(overrides), [item.symbol for item in inputs], balance, inputs)


def with_coarse_signals(case: Case) -> Case:
    """The hours of a case as detail inside bars of four hours: every fourth row's signal, known at its hour's close."""
    inputs = []
    for item in case.inputs:
        closes = item.bars["ts_open"] + HOUR
        last = np.flatnonzero(closes % COARSE == 0)
        signals = item.signals[last].copy()
        signals["ts_close"] = closes[last]
        inputs.append(replace(item, signals=signals))
    market = build_market(inputs, COARSE, path_ns=HOUR)
    return replace(
        case, market=market._replace(transfers=case.market.transfers, outages=case.market.outages), inputs=inputs
    )


def partly_refined(case: Case, keeps: int) -> Case:
    """The case of `with_coarse_signals` with hours in some bars of four hours, and the whole bar elsewhere.

    keeps: bit k says whether bar k, k + 16, ... stays in hours. A bar that lacks hours of some symbol stays so too.
    """
    blocks = [item.bars["ts_open"] // COARSE for item in case.inputs]
    counts = [np.unique(own, return_counts=True) for own in blocks]
    torn = {int(block) for found, count in counts for block in found[count < 4]}
    fine = {int(block) for own in blocks for block in own if keeps >> int(block % 16) & 1} | torn
    inputs = []
    for item, own in zip(with_coarse_signals(case).inputs, blocks, strict=True):
        inside = np.isin(own, list(fine))
        hours, whole = item.bars[inside], item.bars[~inside].reshape(-1, 4)
        made = whole[:, 0].copy()
        made["length"] = COARSE
        for prefix in ("", "mark_"):
            made[f"{prefix}high"] = whole[f"{prefix}high"].max(axis=1)
            made[f"{prefix}low"] = whole[f"{prefix}low"].min(axis=1)
            made[f"{prefix}close"] = whole[f"{prefix}close"][:, -1]
        bars = np.concatenate([hours, made])
        inputs.append(replace(item, bars=bars[np.argsort(bars["ts_open"])]))
    market = build_market(inputs, COARSE, path_ns=HOUR)
    return replace(
        case, market=market._replace(transfers=case.market.transfers, outages=case.market.outages), inputs=inputs
    )


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    max_symbols: int = 3,
    max_bars: int = 70,
    transfers: bool = False,
    outages: bool = False,
    latency: bool = False,
    calm: bool = False,
    **fixed: Any,
) -> Case:
    """Generated runs; `fixed` settings are not drawn. transfers, outages, latency: some with them.

    calm: prices move so little that positions stay open for bars.
    """
    knobs = {name: draw(st.sampled_from(values)) for name, values in (KNOBS | (CALM if calm else {})).items()}
    settings = {name: draw(st.sampled_from(values)) for name, values in (SETTINGS | MODES).items()} | fixed
    if settings["sizing.model"] == "rl" and set(fixed) & set(FILLS):
        settings["sizing.model"] = "math"
    if settings["sizing.model"] != "rl":
        settings |= {name: draw(st.sampled_from(values)) for name, values in FILLS.items()} | fixed
    inputs = make_inputs(
        draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, max_symbols)), draw(st.integers(8, max_bars)), knobs
    )
    inputs = with_volumes(inputs, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    case = replace(case_of(inputs, settings), label=f"{knobs} {settings}")
    if transfers and draw(st.booleans()):
        case = case.with_transfers(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    if latency and draw(st.booleans()):
        case = case.with_latency(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    if outages and draw(st.integers(0, 3)) == 3:
        case = case.with_outages(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    return case
