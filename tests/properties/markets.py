"""Generated markets and settings: a seed and a few knobs give a small market in which everything can happen.

A knob says what kind of market or rule is wanted; the seed decides the rest. Hypothesis draws both, so that a failing
market shrinks to the plainest knobs that still fail; `case_of` draws them from a seed alone, for fixed sets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.core.enums import OrderType, SizingModel
from qtsim.core.records import BRACKETS_MAX, Records, bar_dt, funding_dt, instrument_dt, signal_dt
from qtsim.sim.journals import Journals
from qtsim.sim.market import Market, SymbolInput, build_market
from qtsim.sim.run import run_compiled, run_reference

MINUTE = 60_000_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC
NAMES = ("ADAUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
"""Every run of an example compiles nothing but takes some milliseconds."""

KNOBS: dict[str, tuple[Any, ...]] = {
    # the market; plainest first, so that examples shrink towards it
    "symbols": (1, 2, 3, 4),
    "timeframe": (HOUR, MINUTE, 15 * MINUTE, 4 * HOUR),
    "volatility": (0.01, 0.003, 0.03, 0.08),
    "jumps": (0.0, 0.05, 0.2),
    "gaps": (0.0, 0.05, 0.15),
    "still": (0.0, 0.2),
    "missing": ("no", "no", "no", "some"),
    "lives": ("whole", "parts"),
    "prices": ("plain", "coarse", "continuous", "tiny"),
    "lots": ("fine", "coarse", "huge"),
    "rules": ("none", "exchange"),
    "mark": ("none", "equal", "near", "far"),
    "funding": ("none", "8h", "4h", "1h", "odd"),
    "signals": (0.15, 0.04, 0.5),
    "columns": ("none", "confidence", "all"),
    "atr": ("plain", "holes"),
    # the settings
    "policy": (0, 0, 1, 2, 3),
    "monitoring": (0, 1, 2),
    "path": (0, 1, 2),
    "leverage": ("low", "high", "kelly", "ilf2", "simple"),
    "sizing": (0, 1, 2, 3, 4, 5),
    "levels": ("default", "tight", "wide", "plain"),
    "ratchet": (0, 1, 2),
    "trail": ("atr", "off", "percent", "late"),
    "harvest": ("leverage", "static", "initial"),
    "guards": ("default", "near", "margin"),
    "limits": ("default", "none", "narrow"),
    "costs": ("default", "none", "size", "high"),
    "opposite": (0, 1, 2),
    "cooldown": (0, 0, 3),
    "on_mark": (0, 1),
    "fill_at": (0, 0, 1),
    "end_of_data": (0, 1, 2),
    "both_ends": (0, 0, 1),
    "margin": (0, 0, 1),
    "hedge": (0, 0, 1),
    "share": ("none", "none", "wait", "cancel"),
    "order": ("market", "market", "limit"),
    "balance": (10_000.0, 300.0, 1_000_000.0),
}


@dataclass(frozen=True, repr=False)
class Case:
    """One generated run: where it came from, its market, its parameters, its starting wallet."""

    seed: int
    knobs: dict[str, Any]
    inputs: tuple[SymbolInput, ...]
    market: Market
    params: Records
    balance: float

    @property
    def symbols(self) -> list[str]:
        """Names, in name order."""
        return [item.symbol for item in self.inputs]

    def __repr__(self) -> str:
        """The call that makes this case again."""
        changed = {name: value for name, value in self.knobs.items() if value != KNOBS[name][0]}
        return f"make_case({self.seed}, {changed})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What Hypothesis prints."""
        printer.text(repr(self))

    def with_inputs(self, inputs: list[SymbolInput]) -> Case:
        """The same rules on another market."""
        return replace(self, inputs=tuple(inputs), market=build_market(inputs, self.market.timeframe_ns))

    def with_params(self, **changes: Any) -> Case:
        """The same market under changed parameters: exit__bracket_tp=0.01 sets params["exit"]["bracket_tp"]."""
        params = self.params.copy()
        for name, value in changes.items():
            record, field = name.split("__")
            params[record][field] = value
        return replace(self, params=params)

    def compiled(self, *, diagnose: bool = False) -> Journals:
        """Run the compiled loop."""
        return run_compiled(self.market, self.params, self.balance, self.symbols, diagnose=diagnose)

    def reference(self, *, diagnose: bool = False) -> Journals:
        """Run the reference session."""
        return run_reference(self.market, self.params, self.balance, self.symbols, diagnose=diagnose)


def make_case(seed: int, knobs: dict[str, Any] | None = None, **more: Any) -> Case:
    """A case from its seed; knobs that are not given stand at their plainest."""
    chosen = {name: values[0] for name, values in KNOBS.items()} | (knobs or {}) | more
    random = np.random.default_rng([seed, 7])
    inputs = tuple(made_symbol(random, name, chosen) for name in NAMES[: chosen["symbols"]])
    market = build_market(list(inputs), chosen["timeframe"])
    return Case(seed, chosen, inputs, market, made_params(random, chosen), chosen["balance"])


def case_of(seed: int, **fixed: Any) -> Case:
    """A case whose knobs come from the seed too, but for the fixed ones."""
    random = np.random.default_rng([seed, 11])
    drawn = {name: values[int(random.integers(len(values)))] for name, values in KNOBS.items()}
    return make_case(seed, drawn | fixed)


def cases(**fixed: Any) -> st.SearchStrategy[Case]:
    """Generated cases. A knob is fixed by a value, or narrowed by a tuple of values."""
    wanted = {name: fixed.get(name, values) for name, values in KNOBS.items()}
    drawn = {
        name: st.sampled_from(values) if isinstance(values, tuple) else st.just(values)
        for name, values in wanted.items()
    }
    return st.builds(make_case, st.integers(0, 2**32 - 1), st.fixed_dictionaries(drawn))


# the market ----------------------------------------------------------------------------------------------------------


def made_symbol(random: np.random.Generator, name: str, knobs: dict[str, Any]) -> SymbolInput:
    """Bars, signals, funding and rules of one symbol."""
    timeframe = knobs["timeframe"]
    n = int(random.integers(30, 151)) if knobs["symbols"] == 1 else int(random.integers(30, 91))
    instrument, price = made_instrument(random, knobs)
    grid = START + 21 * HOUR + timeframe * np.arange(n, dtype=np.int64)
    times = grid[kept_bars(random, n, knobs)]
    bars = made_bars(random, times, price, float(instrument["tick_num"][0]), float(instrument["tick_den"][0]), knobs)
    signals = made_signals(random, bars, knobs)
    has_mark = knobs["mark"] != "none"
    if has_mark:
        add_mark(random, bars, knobs["mark"])
    funding = made_funding(random, bars, timeframe, knobs["funding"])
    return SymbolInput(name, bars, signals, funding, instrument, has_mark)


def kept_bars(random: np.random.Generator, n: int, knobs: dict[str, Any]) -> np.ndarray:
    """Which bars of the grid exist: gaps of one to six bars, a late start, an early end."""
    kept = np.ones(n, dtype=bool)
    for start in np.flatnonzero(random.random(n) < knobs["gaps"]):
        kept[start : start + int(random.integers(1, 7))] = False
    if knobs["lives"] == "parts":
        kept[: int(random.integers(0, n // 3))] = False
        kept[n - int(random.integers(0, n // 3)) :] = False
    if kept.sum() < 4:
        kept[-8:] = True
    return kept


def made_instrument(random: np.random.Generator, knobs: dict[str, Any]) -> tuple[Records, float]:
    """Trading rules and a price that suits them."""
    record = np.zeros(1, instrument_dt)
    row = record[0]
    ticks = {"plain": (1.0, 10.0), "coarse": (5.0, 1.0), "continuous": (0.0, 0.0), "tiny": (1.0, 1e7)}
    row["tick_num"], row["tick_den"] = ticks[knobs["prices"]]
    price = {"plain": 30_000.0, "coarse": 1_000.0, "continuous": 100.0, "tiny": 0.004}[knobs["prices"]]
    price *= float(random.uniform(0.5, 2.0))
    money = {"fine": 0.01, "coarse": 200.0, "huge": 1_500.0}[knobs["lots"]]
    lot = money / price
    denominator = 10.0 ** max(0, int(np.ceil(-np.log10(lot))))
    row["lot_num"], row["lot_den"] = max(1.0, np.floor(lot * denominator)), denominator
    row["min_qty"] = row["lot_num"] / row["lot_den"]
    row["max_qty"] = np.inf
    row["liquidation_fee"] = float(random.choice([0.0, 0.005, 0.0125]))
    brackets = [(np.inf, 0.004, 0.0, 125.0)]
    if knobs["rules"] == "exchange":
        row["min_qty"] *= float(random.integers(1, 4))
        row["max_qty"] = np.floor(3_000.0 / price / row["min_qty"] + 1.0) * row["min_qty"]
        row["min_notional"] = float(random.choice([5.0, 100.0, 400.0]))
        brackets = [(2_000.0, 0.01, 0.0, 75.0), (20_000.0, 0.025, 30.0, 20.0), (np.inf, 0.05, 530.0, 5.0)]
    row["n_brackets"] = len(brackets)
    for k in range(BRACKETS_MAX):
        cap, rate, amount, leverage = brackets[min(k, len(brackets) - 1)]
        row["bracket_cap"][k], row["bracket_rate"][k] = cap, rate
        row["bracket_amount"][k], row["bracket_leverage"][k] = amount, leverage
    return record, price


def made_bars(
    random: np.random.Generator, times: np.ndarray, price: float, num: float, den: float, knobs: dict[str, Any]
) -> Records:
    """A random walk with regimes, fat tails, jumps between bars, and still bars in which nothing moves."""
    n = len(times)
    volatility = knobs["volatility"] * np.repeat(random.choice([0.4, 1.0, 2.0], n // 10 + 1), 10)[:n]
    drift = np.repeat(random.choice([-0.4, 0.0, 0.4], n // 15 + 1), 15)[:n] * volatility
    moves = np.clip(drift + volatility * random.standard_t(3, n), -0.6, 0.6)
    jumps = np.where(random.random(n) < knobs["jumps"], np.clip(4 * volatility * random.standard_t(3, n), -0.6, 0.6), 0)
    log_close = np.log(price) + np.cumsum(moves + jumps)
    log_close = np.log(price) + np.clip(log_close - np.log(price), -2.0, 2.0)
    close = np.exp(log_close)
    open_ = np.concatenate(([price], close[:-1])) * np.exp(jumps)
    reach = 0.7 * volatility * np.abs(random.standard_t(3, (2, n)))
    still = random.random(n) < knobs["still"]
    bars = np.zeros(n, bar_dt)
    bars["ts_open"] = times
    bars["open"] = on_ticks(open_, num, den)
    bars["close"] = np.where(still, bars["open"], on_ticks(close, num, den))
    top, bottom = np.maximum(bars["open"], bars["close"]), np.minimum(bars["open"], bars["close"])
    bars["high"] = np.where(still, top, np.maximum(top, on_ticks(top * np.exp(np.minimum(reach[0], 0.5)), num, den)))
    bars["low"] = np.where(
        still, bottom, np.minimum(bottom, on_ticks(bottom * np.exp(-np.minimum(reach[1], 0.5)), num, den))
    )
    # both extremes equally near to the open
    mirrored = 2 * bars["open"] - bars["high"]
    tied = (random.random(n) < 0.1) & (mirrored <= bottom) & (mirrored > 0)
    bars["low"] = np.where(tied, mirrored, bars["low"])
    bars["volume"] = np.where(still, 0.0, random.random(n) * 1_000)
    for name in ("open", "high", "low", "close"):
        if knobs["missing"] == "some":
            bars[name][random.random(n) < 0.02] = np.nan
        bars[f"mark_{name}"] = bars[name]
    return bars


def on_ticks(prices: np.ndarray, num: float, den: float) -> np.ndarray:
    """Prices on whole ticks, never below one."""
    if den == 0.0:
        return prices
    return np.maximum(np.round(prices * den / num), 1.0) * num / den


def add_mark(random: np.random.Generator, bars: Records, kind: str) -> None:
    """Mark bars beside the last price: the same, a little beside it, or far off now and then."""
    n = len(bars)
    if kind == "equal":
        return
    away = np.exp(0.002 * random.standard_normal(n))
    if kind == "far":
        away *= np.where(random.random(n) < 0.15, np.exp(0.05 * random.standard_normal(n)), 1.0)
    after = np.concatenate((away[1:], away[-1:]))
    bars["mark_open"] = bars["open"] * away
    bars["mark_close"] = bars["close"] * after
    top, bottom = np.maximum(bars["mark_open"], bars["mark_close"]), np.minimum(bars["mark_open"], bars["mark_close"])
    bars["mark_high"] = np.maximum(top, bars["high"] * away)
    bars["mark_low"] = np.minimum(bottom, bars["low"] * away)


def made_funding(random: np.random.Generator, bars: Records, timeframe: int, kind: str) -> Records:
    """Funding events from before the first bar until after the last: regular hours, or odd times inside bars."""
    if kind == "none":
        return np.zeros(0, funding_dt)
    start, end = int(bars["ts_open"][0]) - 3 * timeframe, int(bars["ts_open"][-1]) + 4 * timeframe
    if kind == "odd":
        times = np.unique(random.integers(start, end, 12))
        # thirds of a bar, where a path point and a funding meet
        thirds = bars["ts_open"][random.integers(len(bars), size=4)] + timeframe * random.integers(0, 4, 4) // 3
        times = np.unique(np.concatenate((times, thirds)))
    else:
        step = {"8h": 8, "4h": 4, "1h": 1}[kind] * HOUR
        times = np.arange(-(-start // step) * step, end, step, dtype=np.int64)
    rows = np.zeros(len(times), funding_dt)
    rows["ts"] = times
    rows["rate"] = 0.001 * random.standard_normal(len(times))
    at = np.clip(np.searchsorted(bars["ts_open"], times) - 1, 0, len(bars) - 1)
    rows["mark"] = np.where(random.random(len(times)) < 0.5, bars["mark_close"][at], np.nan)
    return rows


def made_signals(random: np.random.Generator, bars: Records, knobs: dict[str, Any]) -> Records:
    """What a strategy asks for, and what the market looked like at each close."""
    n = len(bars)
    rows = np.zeros(n, signal_dt)
    rows["close"] = bars["close"]
    rate = knobs["signals"]
    rows["long"] = random.random(n) < rate
    rows["short"] = random.random(n) < rate
    rows["exit_long"] = random.random(n) < rate / 4
    rows["exit_short"] = random.random(n) < rate / 4
    rows["tag"] = random.integers(-1, 3, n)
    for name in ("confidence", "tp", "sl", "trail", "divergence", "funding_delta", "leader_24h"):
        rows[name] = np.nan

    def some(values: np.ndarray, share: float) -> np.ndarray:
        return np.where(random.random(n) < share, values, np.nan)

    if knobs["columns"] != "none":
        rows["confidence"] = some(random.random(n), 0.8)
    if knobs["columns"] == "all":
        rows["tp"] = some(random.uniform(0.002, 0.05, n), 0.3)
        rows["sl"] = some(random.uniform(0.001, 0.04, n), 0.3)
        rows["trail"] = some(random.uniform(0.002, 0.03, n), 0.2)
        rows["divergence"] = some(random.random(n), 0.3)
        rows["funding_delta"] = some(random.uniform(-0.2, 0.2, n), 0.3)
    spread = bars["high"] - bars["low"]
    atr = np.cumsum(spread) / np.arange(1, n + 1)
    atr = np.where(np.arange(n) < 5, np.nan, atr)
    if knobs["atr"] == "holes":
        atr[random.random(n) < 0.2] = 0.0
        atr[random.random(n) < 0.1] = np.nan
    rows["atr"] = atr
    rows["atr_pct"] = atr / bars["close"]
    ratio = random.lognormal(0.0, 0.6, n) * np.where(random.random(n) < 0.1, 4.0, 1.0)
    rows["atr_ratio"] = np.where(random.random(n) < 0.1, 0.0, ratio)
    rows["volatility_factor"] = np.clip(rows["atr_ratio"] - 1.0, 0.0, 5.0)
    rows["symbol_risk"] = random.uniform(0.5, 1.5, n)
    rows["funding_rate"] = np.where(random.random(n) < 0.5, 0.0, 0.001 * random.standard_normal(n))
    return rows


# the settings --------------------------------------------------------------------------------------------------------


@cache
def default_params() -> Records:
    """The parameters of the default profile, gates and governor off."""
    return to_params(resolve(environ={}, overrides={"gates.enabled": False}).settings, HOUR)


def made_params(random: np.random.Generator, knobs: dict[str, Any]) -> Records:
    """Parameters as the knobs ask, with numbers from the seed."""
    params = default_params().copy()
    row = params[0]
    row["account"]["mode_margin"] = knobs["margin"]
    row["account"]["mode_position"] = knobs["hedge"]
    levels, stops, guard = row["levels"], row["stops"], row["guard"]
    set_leverage(random, row["leverage"], row["limits"], knobs["leverage"])

    exits = row["exit"]
    exits["policy"] = knobs["policy"]
    exits["monitoring"] = knobs["monitoring"]
    exits["on_opposite_signal"] = knobs["opposite"]
    exits["trigger_price"] = knobs["on_mark"]
    # from many cycles in a bar to one in several bars; dividing the bar, or not
    cycles = float(random.choice([0.4, 1.0, 3.0, 4.0, 7.3, 12.0]))
    exits["check_interval_s"] = knobs["timeframe"] / 1e9 / cycles
    reach = float(random.choice([0.5, 1.0, 3.0]))
    exits["bracket_tp"] = float(random.choice([np.inf, 0.01, 0.03, 0.03])) * reach
    exits["bracket_sl"] = float(random.choice([np.inf, 0.015, 0.015, 0.03])) * reach

    if knobs["levels"] == "tight":
        exits["base_tp"], exits["base_sl"] = 0.004, 0.004
        levels["sl_safety_min_distance"] = 0.0005
    elif knobs["levels"] == "wide":
        exits["base_tp"], exits["base_sl"] = 0.06, 0.08
        levels["sl_max"] = 0.2
        levels["sl_model"] = 1
        stops["hard_distance"] = 0.3
        levels["sl_safety_max_liquidation_share"] = float(random.choice([0.8, 1.0, 1.2]))
        levels["sl_safety_max_hard_share"] = float(random.choice([0.9, 1.0, 1.5]))
    elif knobs["levels"] == "plain":
        levels["adaptive"] = 0
        levels["sl_safety_max_margin_loss"] = 0.05

    harvest = row["harvest"]
    harvest["scheme_by"] = int(knobs["harvest"] != "leverage")
    harvest["basis"] = int(knobs["harvest"] == "initial")
    stops["ratchet_preset"] = knobs["ratchet"]
    stops["ratchet_fee_buffer"] = int(random.integers(2))
    stops["breakeven_activate"] = float(random.choice([np.inf, np.inf, 0.003, 0.01]))
    stops["trail_mode"] = {"off": 0, "percent": 2}.get(knobs["trail"], 1)
    stops["trail_style"] = int(random.integers(3))
    stops["trail_activate"] = 0.02 if knobs["trail"] == "late" else float(random.choice([0.001, 0.005, 0.01]))
    stops["trail_distance"] = float(random.choice([0.002, 0.01]))
    stops["hard_working_type"] = int(random.integers(2))
    if knobs["guards"] != "default":
        guard["loss_basis"] = int(knobs["guards"] == "margin")
        guard["loss_max"] = 0.006 if knobs["guards"] == "near" else 0.05
        guard["loss_emergency_margin"] = float(random.choice([np.inf, 0.05, 0.2]))
        guard["stale_hours"] = float(random.choice([2.5, 9.0, 48.0]))
        guard["stale_crash_volatility"] = float(random.choice([1.0, 3.0]))
    exits["replan"] = int(random.integers(2))

    set_sizing(random, row["sizing"], row["limits"], knobs)
    costs = row["costs"]
    if knobs["costs"] == "none":
        costs["fees_maker"] = costs["fees_taker"] = costs["slippage_bps"] = 0.0
    elif knobs["costs"] == "size":
        costs["slippage_model"] = 1
        costs["slippage_large_notional"] = 1_500.0
    elif knobs["costs"] == "high":
        costs["slippage_bps"], costs["fees_taker"] = 15.0, 0.001
    costs["funding_inclusive"] = knobs["both_ends"]
    row["entry"]["cooldown_bars"] = knobs["cooldown"]
    row["entry"]["confidence_default"] = float(random.choice([1.0, 0.4]))
    row["sim"]["path"] = knobs["path"]
    row["sim"]["fill_at"] = knobs["fill_at"]
    row["sim"]["end_of_data"] = knobs["end_of_data"]
    if knobs["order"] == "limit" and knobs["sizing"] != SizingModel.RL:
        row["entry"]["order_type"] = OrderType.LIMIT
        row["entry"]["order_limit_offset_bps"] = float(random.choice([0.0, 10.0, 50.0]))
        row["entry"]["order_timeout_bars"] = int(random.choice([1, 4]))
    if knobs["share"] != "none" and knobs["sizing"] != SizingModel.RL:
        row["sim"]["volume_unfilled"] = int(knobs["share"] == "cancel")
        price = {"plain": 30_000.0, "coarse": 1_000.0, "continuous": 100.0, "tiny": 0.004}[knobs["prices"]]
        # a share of bars of up to 1,000 that orders of the balance's size exceed now and then
        row["sim"]["volume_max_share"] = float(random.choice([0.01, 0.1, 1.0])) * knobs["balance"] / price / 1_000.0
    return params


def set_leverage(random: np.random.Generator, leverage: Any, limits: Any, kind: str) -> None:
    """The leverage model; `high` is where liquidation, hard stop and internal stop crowd together."""
    leverage["model"] = {"simple": 1, "ilf2": 2, "kelly": 3}.get(kind, 0)
    leverage["fixed"] = float(random.choice([20.0, 50.0, 100.0, 300.0] if kind == "high" else [1.0, 3.0, 7.5]))
    leverage["kelly_prior_trades"] = 3
    leverage["kelly_window"] = 5
    leverage["ilf2_min"] = float(random.choice([1.0, 5.0]))
    limits["per_trade_leverage"] = np.inf if kind == "high" else float(random.choice([5.0, 10.0, 40.0]))


def set_sizing(random: np.random.Generator, sizing: Any, limits: Any, knobs: dict[str, Any]) -> None:
    """The sizing model and its limits, small or large beside the balance."""
    balance = knobs["balance"]
    sizing["model"] = knobs["sizing"]
    sizing["notional"] = balance * float(random.choice([0.05, 0.3, 3.0]))
    sizing["fixed_risk"] = float(random.choice([0.005, 0.05]))
    sizing["fraction"] = float(random.choice([0.1, 0.5, 1.0]))
    price = {"plain": 30_000.0, "coarse": 1_000.0, "continuous": 100.0, "tiny": 0.004}[knobs["prices"]]
    sizing["fixed_qty"] = balance * float(random.choice([0.05, 0.3, 1.5])) / price
    if knobs["limits"] == "none":
        limits["per_trade_margin"] = np.inf
    elif knobs["limits"] == "narrow":
        limits["per_trade_margin"] = 0.02
        limits["per_trade_notional"] = 0.15 * balance
