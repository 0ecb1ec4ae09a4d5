"""The settings: one typed, frozen, documented model.

A key is its path, `exit.levels.sl.max`; Python reads it as `settings.exit.levels.sl.max`. Every key carries its kind
(`qtsim.config.kinds`), which holds its description, unit, sane range and the predecessor's variable. Values are checked
wherever a model is built; `qtsim.config.layers.resolve` is how a run gets its settings.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from qtsim.config.kinds import (
    Choice,
    Count,
    Kind,
    Names,
    Number,
    Numbers,
    Ratio,
    Rows,
    Switch,
    Text,
    Timeframe,
    Whole,
    plain_number,
    show,
)
from qtsim.errors import SettingError

INF = math.inf
LEVERAGE_TOP = 150.0
"""The largest leverage that the venue offers for any symbol."""
WINDOW_TOP = 256
"""Longest look-back over closed trades; equals `qtsim.core.params.WINDOW_MAX`."""
TIERS_TOP = 8
"""Most rows of harvest tiers; equals `qtsim.core.params.HARVEST_TIERS_MAX`."""
LEGS_TOP = 5
"""Most legs of profit_lock; equals `qtsim.core.params.LEGS_MAX`."""
LADDER_TOP = 8
"""Most rungs of profit_lock's ladder; equals `qtsim.core.params.LADDER_MAX`."""
PROFILES = ("exitbrain-v35", "tight", "small-account", "profit-lock-30x", "plain")
FREE_SECTION = "strategy"
"""The section whose keys are the strategy's own parameters; the strategy checks them."""
NOT_IN_DIGEST = (
    *("data.dir", "data.archive_url", "data.rest_url", "data.download.*"),
    *("sim.diagnostics.*", "live.*", "bus.*"),
)
"""Keys that say where things are or how a run is shown, and cannot change what a backtest decides."""


class Section(BaseModel):
    """A table of settings. Frozen; unknown keys are refused; each value passes its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _through_its_kind(cls, value: object, info: ValidationInfo) -> object:
        """The stored form of a raw value."""
        kind = _kind_of(cls, info.field_name or "")
        return value if kind is None else kind.coerce(value)


def _kind_of(model: type[BaseModel], name: str) -> Kind | None:
    """The kind of one field; None for a sub-table and for the free section."""
    return next((entry for entry in model.model_fields[name].metadata if isinstance(entry, Kind)), None)


def _need_order(section: str, low: str, low_value: float, high: str, high_value: float) -> None:
    """Refuse a pair of bounds in the wrong order."""
    if low_value > high_value:
        raise ValueError(f"{section}.{low} = {show(low_value)} exceeds {section}.{high} = {show(high_value)}")


# --- [run], [account], [entry] ---------------------------------------------------------------------------------------


class RunSettings(Section):
    """What to run; also what `qtsim live` trades."""

    profile: Annotated[
        str,
        Choice(
            "The set of values that the run starts from",
            env="EXIT_BRAIN_PROFILE",
            options=PROFILES,
            aliases=(("DEFAULT", "exitbrain-v35"), ("default", "exitbrain-v35")),
        ),
    ] = "exitbrain-v35"
    strategy: Annotated[
        str, Text("The strategy: a name, file.py[:Class], or a signal table (.parquet, .csv)", needed=True)
    ] = "ema_cross"
    symbols: Annotated[
        tuple[str, ...],
        Names('Symbols to trade; BTC/USDT:USDT and BTC-USDT are understood, "all" means all in the store', needed=True),
    ] = ("BTCUSDT",)
    timeframe: Annotated[str, Timeframe("Length of the bars that the strategy sees", needed=True)] = "1h"
    timerange: Annotated[
        str, Text('Period of a backtest, such as "20230101-20250630"; UTC, end exclusive, ends may be open')
    ] = ""
    seed: Annotated[int, Whole("Seed of every random draw", high=2**32 - 1)] = 0


class AccountMode(Section):
    """How the account is set up at the exchange; must match it."""

    margin: Annotated[str, Choice("Margin mode", options=("isolated", "cross"))] = "isolated"
    position: Annotated[str, Choice("Position mode", options=("one_way", "hedge"))] = "one_way"


class AccountSettings(Section):
    """The account."""

    balance: Annotated[
        float, Number("Starting wallet of a backtest and of paper trading", unit="quote currency", above=True)
    ] = 10_000.0
    max_capital: Annotated[
        float,
        Number(
            "Live: the most of the account that counts as equity for sizing, limits and governor",
            unit="quote currency",
            above=True,
            infinite=True,
        ),
    ] = INF
    mode: AccountMode = Field(default_factory=AccountMode)


class EntryConfidence(Section):
    """Confidence of signals."""

    default: Annotated[float, Ratio("Confidence of signals whose strategy states none")] = 1.0
    min: Annotated[float, Ratio("The confidence filter: signals below it are denied")] = 0.20


class EntryOrder(Section):
    """The order that opens a position."""

    type: Annotated[
        str,
        Choice(
            "Order type; limit is placed from the signal's close and cancelled at its timeout",
            options=("market", "limit"),
        ),
    ] = "market"
    limit_offset_bps: Annotated[
        float, Number("Distance of a limit entry from the signal's close, on the better side", unit="bps", high=1000.0)
    ] = 0.0
    timeout_bars: Annotated[
        int, Whole("Bars after which an unfilled limit entry is cancelled", unit="bars", low=1, high=1000)
    ] = 1


class EntrySettings(Section):
    """From a signal to an entry."""

    confidence: EntryConfidence = Field(default_factory=EntryConfidence)
    on_same_side: Annotated[
        str, Choice("A signal while that side is open already: ignored and counted", options=("ignore",))
    ] = "ignore"
    cooldown_bars: Annotated[
        int, Whole("No entry in a symbol for this many bars after its exit", unit="bars", high=100_000)
    ] = 0
    order: EntryOrder = Field(default_factory=EntryOrder)


# --- [leverage] ------------------------------------------------------------------------------------------------------


class SimpleLeverage(Section):
    """Model simple: base × confidence / volatility, clamped."""

    base: Annotated[float, Number("Leverage at confidence 1 and usual volatility", above=True, high=LEVERAGE_TOP)] = 5.0
    min: Annotated[float, Number("Lowest leverage", low=1.0, high=LEVERAGE_TOP)] = 1.0
    max: Annotated[float, Number("Highest leverage", low=1.0, high=LEVERAGE_TOP)] = 20.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _need_order("leverage.simple", "min", self.min, "max", self.max)
        return self


class Ilf2Leverage(Section):
    """Model ilf2: the product of eight factors, clamped."""

    min: Annotated[
        float, Number("Lowest leverage; a raw product below 1 denies the entry", low=1.0, high=LEVERAGE_TOP)
    ] = 5.0
    max: Annotated[float, Number("Highest leverage", low=1.0, high=LEVERAGE_TOP)] = 80.0
    safety: Annotated[float, Number("Factor on the whole product", above=True, high=1.0)] = 0.9

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _need_order("leverage.ilf2", "min", self.min, "max", self.max)
        return self


class KellyLeverage(Section):
    """Model kelly: a multiple of the Kelly fraction of recent trades."""

    multiplier: Annotated[float, Number("Leverage per unit of the Kelly fraction", above=True, high=1000.0)] = 7.5
    max: Annotated[float, Number("Highest leverage", low=1.0, high=LEVERAGE_TOP)] = 10.0
    prior_win_rate: Annotated[float, Ratio("Win rate assumed until enough trades have closed")] = 0.60
    prior_reward_risk: Annotated[
        float, Number("Mean win over mean loss assumed until enough trades have closed", above=True, high=100.0)
    ] = 2.0
    prior_trades: Annotated[
        int, Whole("Closed trades of the account after which its own numbers are used", unit="trades", high=1_000_000)
    ] = 20
    window: Annotated[
        int, Whole("Closed trades that the account's own numbers look back on", unit="trades", low=1, high=WINDOW_TOP)
    ] = 50


class LeverageSettings(Section):
    """Leverage of a new position; of the sizing models only rl overrides it."""

    model: Annotated[
        str, Choice("How leverage is chosen; kelly starts at 3.0", options=("fixed", "simple", "ilf2", "kelly"))
    ] = "kelly"
    fixed: Annotated[
        float, Number("Leverage of model fixed", env="QT_DEFAULT_LEVERAGE", low=1.0, high=LEVERAGE_TOP)
    ] = 3.0
    simple: SimpleLeverage = Field(default_factory=SimpleLeverage)
    ilf2: Ilf2Leverage = Field(default_factory=Ilf2Leverage)
    kelly: KellyLeverage = Field(default_factory=KellyLeverage)


# --- [exit] ----------------------------------------------------------------------------------------------------------


class BracketExit(Section):
    """Policy bracket: one target, one stop."""

    tp: Annotated[float, Ratio("Target distance from entry; inf means none", above=True, infinite=True)] = 0.03
    sl: Annotated[float, Ratio("Stop distance from entry; inf means none", above=True, infinite=True)] = 0.015


class LegacyExit(Section):
    """Policy legacy: the predecessor's exit before ExitBrain."""

    tp: Annotated[float, Ratio("Target distance from entry", above=True)] = 0.06
    sl: Annotated[float, Ratio("Stop distance from entry", above=True)] = 0.03
    breakeven: Annotated[float, Ratio("Profit at which the stop goes to entry", above=True, infinite=True)] = 0.01
    half_close: Annotated[float, Ratio("Profit at which half is closed", above=True, infinite=True)] = 0.04
    trail_activate: Annotated[float, Ratio("Profit at which ATR trailing starts", above=True, infinite=True)] = 0.02
    stale_hours: Annotated[
        float, Number("Age at which a losing position is stale", unit="hours", above=True, infinite=True)
    ] = 48.0
    stale_loss: Annotated[float, Ratio("Loss at which a position of that age is closed")] = 0.02
    hard: Annotated[float, Ratio("Hard stop's distance from entry", above=True)] = 0.04
    levels: Annotated[
        str,
        Choice("Target and stop: the fixed ones above, or those of sizing model math", options=("fixed", "math")),
    ] = "fixed"


class ProfitLockExit(Section):
    """Policy profit_lock: works on return on margin, for high leverage."""

    breakeven: Annotated[float, Ratio("Peak return on margin at which the stop goes to net breakeven", high=10.0)] = (
        0.05
    )
    legs: Annotated[
        tuple[tuple[float, float], ...],
        Rows(
            "Once-only legs: return on margin reached, share of what remains to close",
            bound=Ratio("", above=True, high=10.0),
            item=Ratio("", above=True),
            most=LEGS_TOP,
        ),
    ] = ((0.08, 0.25), (0.15, 0.25), (0.25, 0.30), (0.35, 0.30), (0.50, 0.20))
    ladder: Annotated[
        tuple[tuple[float, float], ...],
        Rows(
            "Locked profit: peak return on margin from which, share of the peak locked",
            bound=Ratio("", above=True, high=10.0),
            item=Ratio("", above=True),
            most=LADDER_TOP,
            steady=True,
        ),
    ] = ((0.10, 0.20), (0.20, 0.40), (0.35, 0.60), (0.60, 0.70))


class TargetLevels(Section):
    """Targets: tp_k = base_tp × (progression_k + lsf_weight_k × LSF), then funding, volatility and feedback."""

    progression: Annotated[
        tuple[float, float, float],
        Numbers("Multiples of base_tp, one per target", item=Number("", above=True, high=100.0), ascending=True),
    ] = (0.6, 1.2, 1.8)
    lsf_weights: Annotated[
        tuple[float, float, float],
        Numbers("Weight of the leverage sensitivity factor, one per target", item=Number("", high=10.0)),
    ] = (1.0, 0.5, 0.25)
    funding_scale: Annotated[float, Number("Change of the targets per unit of funding_delta", high=100.0)] = 0.8
    volatility_scale: Annotated[float, Number("Change of the targets per unit of volatility_factor", high=100.0)] = 0.4
    min: Annotated[float, Ratio("Smallest target distance", env="TP_MIN", high=0.2)] = 0.003


class StopLevels(Section):
    """Internal stop: base_sl × (1 + leverage_factor × (1 − LSF)), then divergence, volatility and feedback, clamped."""

    model: Annotated[
        str, Choice("How base_sl is scaled: by leverage, or by confidence", options=("adaptive", "confidence"))
    ] = "adaptive"
    leverage_factor: Annotated[float, Number("How much the stop widens with leverage", high=10.0)] = 0.8
    divergence_scale: Annotated[float, Number("Change of the stop per unit of exchange divergence", high=100.0)] = 0.4
    volatility_scale: Annotated[float, Number("Change of the stop per unit of volatility_factor", high=100.0)] = 0.2
    min: Annotated[float, Ratio("Smallest stop distance", env="SL_CLAMP_MIN", high=0.2)] = 0.0015
    max: Annotated[float, Ratio("Largest stop distance", env="SL_CLAMP_MAX", above=True, high=0.9)] = 0.020

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _need_order("exit.levels.sl", "min", self.min, "max", self.max)
        return self


class StopSafety(Section):
    """Safety rules of every plan: internal stop, hard stop and liquidation stand in this order, with room between."""

    max_liquidation_share: Annotated[
        float, Ratio("Hard stop's distance as a share of the distance to liquidation, at most", above=True)
    ] = 0.8
    max_hard_share: Annotated[
        float, Ratio("Internal stop's distance as a share of the hard stop's, at most", above=True)
    ] = 0.9
    max_margin_loss: Annotated[
        float, Ratio("Internal stop's distance × leverage, at most; inf is no limit", above=True, infinite=True)
    ] = INF
    min_distance: Annotated[
        float, Ratio("An entry whose final stop is at this distance or nearer is denied", high=0.2)
    ] = 0.002


class LevelFeedback(Section):
    """Levels follow the account's recent trades: all distances × a factor."""

    trades: Annotated[
        int, Whole("Closed trades whose mean return on margin is looked at", unit="trades", low=1, high=WINDOW_TOP)
    ] = 20
    loss: Annotated[float, Number("Added to the factor where that mean is negative", low=-1.0, high=1.0)] = -0.10
    gain: Annotated[float, Number("Added to the factor where that mean is above gain_above", low=-1.0, high=1.0)] = 0.10
    gain_above: Annotated[float, Ratio("Mean return on margin above which gain is added", high=5.0)] = 0.30
    low_confidence: Annotated[
        float, Number("Added to the factor where the signal's confidence is low", low=-1.0, high=1.0)
    ] = -0.05
    low_confidence_below: Annotated[float, Ratio("Confidence below which it is low")] = 0.50
    min: Annotated[float, Number("Smallest factor", above=True, high=1.0)] = 0.80
    max: Annotated[float, Number("Largest factor", low=1.0, high=10.0)] = 1.20


class LevelSettings(Section):
    """Targets and stop of a plan."""

    adaptive: Annotated[
        bool,
        Switch(
            "true: by leverage, funding and volatility; false: k × base_tp and base_sl", env="ADAPTIVE_LEVERAGE_ENABLED"
        ),
    ] = True
    lsf_sensitivity: Annotated[
        float, Number("s of the leverage sensitivity factor LSF = 1 / (1 + s × ln(leverage + 1))", high=100.0)
    ] = 1.0
    tp: TargetLevels = Field(default_factory=TargetLevels)
    sl: StopLevels = Field(default_factory=StopLevels)
    sl_safety: StopSafety = Field(default_factory=StopSafety)
    feedback: LevelFeedback = Field(default_factory=LevelFeedback)


class HarvestScheme(Section):
    """Shares of the position that the three targets close."""

    by: Annotated[
        str,
        Choice(
            "Which fractions: by the position's leverage, or static",
            env="DYNAMIC_TP_PROFILE",
            options=("leverage", "static"),
        ),
    ] = "leverage"
    tiers: Annotated[
        tuple[tuple[float, float, float, float], ...],
        Rows(
            "Rows of highest leverage and three fractions; the last row is for the rest",
            bound=Number("", low=1.0, infinite=True),
            item=Ratio(""),
            width=4,
            most=TIERS_TOP,
            whole=True,
            to_inf=True,
        ),
    ] = ((10.0, 0.3, 0.3, 0.4), (30.0, 0.4, 0.4, 0.2), (INF, 0.5, 0.3, 0.2))
    static: Annotated[
        tuple[float, float, float], Numbers("The three fractions of scheme static", item=Ratio(""), whole=True)
    ] = (0.25, 0.25, 0.50)


class HarvestSettings(Section):
    """Partial take profits."""

    scheme: HarvestScheme = Field(default_factory=HarvestScheme)
    basis: Annotated[
        str,
        Choice(
            "What a fraction is of: what remains (a runner stays), or the initial quantity (leg 3 closes the rest)",
            options=("remaining", "initial"),
        ),
    ] = "remaining"


class Ratchet(Section):
    """The stop tightens when a target is hit."""

    preset: Annotated[
        str,
        Choice(
            "breakeven: entry, TP1, TP2 after the legs; lock: a quarter, three quarters of TP1, then TP2",
            env="RATCHET_SL_ENABLED",
            options=("off", "breakeven", "lock"),
        ),
    ] = "breakeven"
    fee_buffer: Annotated[bool, Switch("Breakeven includes the costs of the round trip")] = True


class Breakeven(Section):
    """The stop goes to entry at a profit."""

    activate: Annotated[
        float, Ratio("Profit at which the stop goes to entry; inf is never", above=True, infinite=True)
    ] = INF


class Trail(Section):
    """The stop follows the best price."""

    mode: Annotated[
        str,
        Choice("off, atr (a multiple of ATR behind the peak), percent (a distance)", options=("off", "atr", "percent")),
    ] = "atr"
    activate: Annotated[float, Ratio("Profit at which trailing starts", infinite=True)] = 0.02
    style: Annotated[
        str, Choice("Which multiple of ATR a new position gets", options=("aggressive", "balanced", "loose"))
    ] = "balanced"
    aggressive: Annotated[float, Number("Multiple of ATR of style aggressive", unit="ATR", above=True, high=100.0)] = (
        0.5
    )
    balanced: Annotated[float, Number("Multiple of ATR of style balanced", unit="ATR", above=True, high=100.0)] = 1.0
    loose: Annotated[float, Number("Multiple of ATR of style loose", unit="ATR", above=True, high=100.0)] = 1.5
    distance: Annotated[float, Ratio("Distance from the peak in mode percent", above=True, high=0.9)] = 0.02
    suspend_volatility: Annotated[
        float, Number("While volatility_factor is this or more the stop is held", above=True, infinite=True)
    ] = 3.0
    choppy: Annotated[
        float,
        Number(
            "Multiple of ATR to which a change from TRENDING to CHOPPY tightens", unit="ATR", above=True, infinite=True
        ),
    ] = 0.5


class HardStop(Section):
    """The stop on the exchange that survives a crash."""

    distance: Annotated[float, Ratio("Distance from entry", env="MAX_LOSS_PCT_HARD_SL", above=True, high=0.9)] = 0.02
    working_type: Annotated[str, Choice("The price that triggers it", options=("mark", "last"))] = "mark"


class BackupStop(Section):
    """A second stop on the exchange, a limit order beyond the hard stop."""

    enabled: Annotated[bool, Switch("Place it; a simulated exchange never needs it")] = False
    limit_offset_bps: Annotated[
        float, Number("Distance of its limit price beyond the trigger", unit="bps", high=1000.0)
    ] = 50.0


class StopSettings(Section):
    """What moves the internal stop, and the stops on the exchange."""

    ratchet: Ratchet = Field(default_factory=Ratchet)
    breakeven: Breakeven = Field(default_factory=Breakeven)
    trail: Trail = Field(default_factory=Trail)
    hard: HardStop = Field(default_factory=HardStop)
    backup: BackupStop = Field(default_factory=BackupStop)


class LossGuard(Section):
    """Closes a position whose loss is too large, before anything else."""

    max: Annotated[
        float,
        Ratio("Loss at which the position is closed at once", env="MAX_UNREALIZED_LOSS_PCT", low=0.002, infinite=True),
    ] = 0.125
    basis: Annotated[str, Choice("What the loss is a share of", options=("notional", "margin"))] = "notional"
    emergency_margin: Annotated[
        float, Ratio("The same on initial margin, checked next; inf is off", above=True, infinite=True)
    ] = INF


class StaleGuard(Section):
    """Closes losing positions that are old, or caught in a crash."""

    hours: Annotated[float, Number("Age from which a position is stale", unit="hours", above=True, infinite=True)] = (
        48.0
    )
    stop_share: Annotated[float, Ratio("Loss as a share of the planned stop, at which it is closed")] = 0.5
    crash_volatility: Annotated[
        float, Number("volatility_factor that counts as a crash", above=True, infinite=True)
    ] = 3.0
    crash_leader_24h: Annotated[
        float, Ratio("The leader's 24 h return that counts as a crash", low=-1.0, high=0.0)
    ] = -0.10


class GuardSettings(Section):
    """Backstops of an open position."""

    loss: LossGuard = Field(default_factory=LossGuard)
    stale: StaleGuard = Field(default_factory=StaleGuard)


class ExitSettings(Section):
    """How positions end."""

    policy: Annotated[
        str,
        Choice(
            "The exit engine: exit_brain, bracket, legacy or profit_lock",
            env="EXIT_MODE",
            options=("exit_brain", "bracket", "legacy", "profit_lock"),
            aliases=(("exit_brain_v3", "exit_brain"),),
        ),
    ] = "exit_brain"
    base_tp: Annotated[float, Ratio("Base of the three targets", env="BASE_TP_PCT", low=0.0001, high=0.5)] = 0.020
    base_sl: Annotated[float, Ratio("Base of the internal stop", env="BASE_SL_PCT", low=0.0001, high=0.5)] = 0.012
    on_opposite_signal: Annotated[
        str, Choice("A signal against the open position", options=("ignore", "close", "reverse"))
    ] = "ignore"
    monitoring: Annotated[
        str,
        Choice(
            "When exit cycles happen; auto: bars and detail continuous, ticks interval, live points",
            options=("auto", "continuous", "points", "interval"),
        ),
    ] = "auto"
    check_interval_s: Annotated[
        float,
        Number(
            "Time between exit cycles with monitoring interval",
            unit="s",
            env="EXIT_BRAIN_CHECK_INTERVAL_SEC",
            low=0.001,
            high=86_400.0,
        ),
    ] = 10.0
    replan: Annotated[
        str, Choice("Levels are set once at entry, or untriggered targets anew at each bar", options=("entry", "bar"))
    ] = "entry"
    trigger_price: Annotated[str, Choice("The price that triggers the internal stop", options=("last", "mark"))] = (
        "last"
    )
    bracket: BracketExit = Field(default_factory=BracketExit)
    legacy: LegacyExit = Field(default_factory=LegacyExit)
    profit_lock: ProfitLockExit = Field(default_factory=ProfitLockExit)
    levels: LevelSettings = Field(default_factory=LevelSettings)
    harvest: HarvestSettings = Field(default_factory=HarvestSettings)
    stops: StopSettings = Field(default_factory=StopSettings)
    guard: GuardSettings = Field(default_factory=GuardSettings)


# --- [sizing], [regime], [gates], [orchestrator], [limits], [governor] -----------------------------------------------


class MathSizing(Section):
    """Model math: notional = risk × balance / (stop_atr × ATR %), margin capped."""

    risk: Annotated[float, Ratio("Share of balance at risk per trade", above=True)] = 0.02
    stop_atr: Annotated[float, Number("Stop that the size assumes, in ATR", unit="ATR", above=True, high=100.0)] = 1.5
    reward_risk: Annotated[float, Number("Target that the size assumes, in stops", above=True, high=100.0)] = 2.0
    max_margin: Annotated[float, Ratio("Margin of one trade as a share of balance, at most", above=True)] = 0.10


class RlSizing(Section):
    """Model rl: tabular Q-learning; its action replaces the leverage model."""

    alpha: Annotated[float, Ratio("Learning rate, at most; it falls with visits", above=True)] = 0.15
    gamma: Annotated[float, Ratio("Discount of what comes later")] = 0.95
    epsilon: Annotated[float, Ratio("Share of random actions in training; none with a saved agent")] = 0.10
    min_visits: Annotated[int, Whole("Visits below which the default action is taken", high=1_000_000)] = 30


class SizingSettings(Section):
    """Size of a new position."""

    model: Annotated[
        str,
        Choice("How size is chosen", options=("math", "notional", "fixed_risk", "fraction", "fixed_qty", "rl")),
    ] = "math"
    math: MathSizing = Field(default_factory=MathSizing)
    notional: Annotated[
        float, Number("Notional of model notional, × confidence × size factor", unit="quote currency", above=True)
    ] = 200.0
    fixed_risk: Annotated[
        float, Ratio("Share of equity that model fixed_risk loses at the final stop, costs included", above=True)
    ] = 0.005
    fraction: Annotated[float, Ratio("Share of balance that model fraction uses as margin", above=True)] = 0.95
    fixed_qty: Annotated[float, Number("Quantity of model fixed_qty", unit="base currency", above=True)] = 0.001
    rl: RlSizing = Field(default_factory=RlSizing)


class LeaderRegime(Section):
    """The market leader: reference of symbol risk, and the global regime."""

    symbol: Annotated[str, Text("Its symbol; auto: BTCUSDT, off without its data", needed=True)] = "auto"
    timeframe: Annotated[str, Timeframe("Bars of the global regime", needed=True)] = "1d"
    ema_bars: Annotated[int, Whole("Length of its average", unit="bars", low=1, high=10_000)] = 200
    band: Annotated[float, Ratio("Distance from the average that makes an UPTREND or DOWNTREND")] = 0.10


class RegimeEffects(Section):
    """What regimes change."""

    adjust_levels: Annotated[bool, Switch("Regimes change stops and targets")] = False
    sideways_size: Annotated[float, Number("Size factor in a SIDEWAYS market", high=10.0)] = 0.80
    sideways_confidence: Annotated[float, Ratio("Added to the minimum confidence in a SIDEWAYS market")] = 0.10
    uptrend_size: Annotated[float, Number("Size factor of longs in an UPTREND", high=10.0)] = 1.10
    uptrend_short_confidence: Annotated[float, Ratio("Confidence that shorts need in an UPTREND")] = 0.80
    choppy_size: Annotated[float, Number("Size factor of a CHOPPY symbol", high=10.0)] = 0.50


class RegimeSettings(Section):
    """Market and symbol regimes, and the bars that ATR is taken from."""

    leader: LeaderRegime = Field(default_factory=LeaderRegime)
    timeframe: Annotated[
        str, Timeframe("Bars of the symbol regime and of ATR; the run's own where that is coarser", needed=True)
    ] = "1h"
    effects: RegimeEffects = Field(default_factory=RegimeEffects)


class GateSettings(Section):
    """Entry gates."""

    enabled: Annotated[bool, Switch("false turns every gate and the governor off")] = True


class RegimeConfidence(Section):
    """Least confidence by the symbol's regime."""

    trending: Annotated[float, Ratio("In TRENDING")] = 0.20
    breakout: Annotated[float, Ratio("In BREAKOUT")] = 0.20
    ranging: Annotated[float, Ratio("In RANGING")] = 0.40
    choppy: Annotated[float, Ratio("In CHOPPY")] = 0.60
    max: Annotated[float, Ratio("The most that is ever asked for")] = 0.70


class DefensiveMode(Section):
    """Orchestrator mode DEFENSIVE."""

    daily_drawdown: Annotated[float, Ratio("Daily drawdown above which it starts", infinite=True)] = 0.015
    losing_streak: Annotated[int | float, Count("Lost trades in a row above which it starts", unit="trades")] = 3
    min_confidence: Annotated[float, Ratio("Least confidence")] = 0.45
    size: Annotated[float, Ratio("Size factor")] = 0.50


class CriticalMode(Section):
    """Orchestrator mode CRITICAL."""

    daily_drawdown: Annotated[float, Ratio("Daily drawdown above which it starts", infinite=True)] = 0.025
    min_confidence: Annotated[float, Ratio("Least confidence")] = 0.70
    size: Annotated[float, Ratio("Size factor")] = 0.25


class SymbolPerformance(Section):
    """Symbols that lose are switched off for a while."""

    min_trades: Annotated[
        int, Whole("Trades from which the win rate is judged", unit="trades", low=1, high=WINDOW_TOP)
    ] = 20
    min_win_rate: Annotated[float, Ratio("Win rate below which the symbol is disabled")] = 0.35
    probation_trades: Annotated[
        int, Whole("Trades at half size after it is enabled again", unit="trades", high=10_000)
    ] = 5
    disable_losses: Annotated[int | float, Count("Losses in a row that disable it", unit="trades", low=1)] = 10
    disable_hours: Annotated[float, Number("How long it stays disabled", unit="hours", infinite=True)] = 48.0
    blacklist_losses: Annotated[
        int | float, Count("Losses in a row that blacklist it until a person clears it", unit="trades", low=1)
    ] = 20

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _need_order(
            "orchestrator.symbol", "disable_losses", self.disable_losses, "blacklist_losses", self.blacklist_losses
        )
        return self


class OrchestratorSettings(Section):
    """The first gate: mode, regime, confidence, symbol performance."""

    min_confidence: RegimeConfidence = Field(default_factory=RegimeConfidence)
    defensive: DefensiveMode = Field(default_factory=DefensiveMode)
    critical: CriticalMode = Field(default_factory=CriticalMode)
    symbol: SymbolPerformance = Field(default_factory=SymbolPerformance)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("trending", "breakout", "ranging", "choppy"):
            value = getattr(self.min_confidence, name)
            _need_order("orchestrator.min_confidence", name, value, "max", self.min_confidence.max)
        _need_order(
            "orchestrator",
            "defensive.daily_drawdown",
            self.defensive.daily_drawdown,
            "critical.daily_drawdown",
            self.critical.daily_drawdown,
        )
        return self


class PositionLimits(Section):
    """Open positions at one time."""

    total: Annotated[int | float, Count("In all", env="QT_MAX_POSITIONS")] = 15
    long: Annotated[int | float, Count("Long")] = 6
    short: Annotated[int | float, Count("Short")] = 6


class TradeLimits(Section):
    """Limits of one trade."""

    leverage: Annotated[
        float, Number("Highest leverage, whatever the model says", low=1.0, high=LEVERAGE_TOP, infinite=True)
    ] = 10.0
    margin: Annotated[float, Ratio("Margin as a share of balance, at most", above=True, infinite=True)] = 0.15
    notional: Annotated[
        float,
        Number("Notional, at most", unit="quote currency", env="QT_MAX_NOTIONAL_PER_TRADE", above=True, infinite=True),
    ] = INF


class ExposureLimits(Section):
    """Limits of all positions together."""

    max: Annotated[
        float, Number("Total exposure as a multiple of balance, at most", above=True, high=150.0, infinite=True)
    ] = 1.5
    basis: Annotated[str, Choice("What exposure counts", options=("notional", "margin"))] = "notional"
    gross: Annotated[
        float,
        Number(
            "Gross notional, at most", unit="quote currency", env="QT_MAX_GROSS_EXPOSURE", above=True, infinite=True
        ),
    ] = INF


class BalanceLimits(Section):
    """What the account must hold."""

    min: Annotated[float, Number("Balance below which nothing is opened", unit="quote currency")] = 100.0
    buffer: Annotated[
        float, Number("Available balance needed, as a multiple of the required margin", low=1.0, high=100.0)
    ] = 1.1


class CorrelationLimits(Section):
    """Correlation with open positions of the same direction."""

    max: Annotated[float, Number("Highest correlation; inf is off", high=1.0, infinite=True)] = 0.80
    window_days: Annotated[float, Number("Days of returns that are compared", unit="days", above=True, high=365.0)] = (
        7.0
    )


class LimitSettings(Section):
    """Limits, in one place; every gate reads the same numbers."""

    positions: PositionLimits = Field(default_factory=PositionLimits)
    per_trade: TradeLimits = Field(default_factory=TradeLimits)
    exposure: ExposureLimits = Field(default_factory=ExposureLimits)
    balance: BalanceLimits = Field(default_factory=BalanceLimits)
    sector_share: Annotated[
        float, Ratio("A sector's notional as a share of exposure.max × balance, at most", above=True, infinite=True)
    ] = 0.30
    correlation: CorrelationLimits = Field(default_factory=CorrelationLimits)


class HourlyPause(Section):
    """PAUSE_1H."""

    loss: Annotated[float, Ratio("Equity lost within an hour that pauses entries", above=True, infinite=True)] = 0.005
    pause_hours: Annotated[float, Number("How long", unit="hours", above=True, infinite=True)] = 1.0


class LosingStreak(Section):
    """DEFENSIVE_EXIT."""

    losses: Annotated[int | float, Count("Lost trades in a row above which it fires", unit="trades")] = 5
    stop: Annotated[float, Ratio("Internal stop's new distance as a share of its old one", above=True)] = 0.5
    reduce: Annotated[float, Ratio("Share of each position that is closed")] = 0.5
    size_after: Annotated[float, Ratio("Size factor afterwards, until the next win")] = 0.5
    hours: Annotated[float, Number("How long there are no entries, at most", unit="hours", infinite=True)] = 4.0


class Shutdown(Section):
    """EMERGENCY_SHUTDOWN."""

    drawdown: Annotated[
        float, Ratio("Equity below the session's base that closes everything", above=True, infinite=True)
    ] = 0.05
    operator_hours: Annotated[
        float, Number("A backtest's operator resumes after this; inf is never", unit="hours", infinite=True)
    ] = 24.0


class GovernorSettings(Section):
    """The Safety Governor: circuit breakers on the account."""

    daily_drawdown: Annotated[
        float, Ratio("Daily drawdown above which nothing is opened until the next UTC day", infinite=True)
    ] = 0.03
    hourly: HourlyPause = Field(default_factory=HourlyPause)
    streak: LosingStreak = Field(default_factory=LosingStreak)
    shutdown: Shutdown = Field(default_factory=Shutdown)


# --- [costs], [data], [sim] ------------------------------------------------------------------------------------------

FEE_TIERS: dict[str, tuple[float, float]] = {
    "vip0": (0.0002, 0.0005),
    "vip1": (0.00016, 0.0004),
    "vip2": (0.00014, 0.00035),
    "vip3": (0.00012, 0.00032),
    "vip4": (0.0001, 0.0003),
    "vip5": (0.00008, 0.00027),
    "vip6": (0.00006, 0.00025),
    "vip7": (0.00004, 0.00022),
    "vip8": (0.00002, 0.0002),
    "vip9": (0.0, 0.00017),
}
"""Maker and taker fee of Binance USDⓈ-M per tier, as shares of notional."""
BNB_FACTOR = 0.9
"""What remains of a fee that is paid in BNB."""


class FeeSettings(Section):
    """Trading fees."""

    tier: Annotated[str, Choice("The account's tier at the venue", options=tuple(FEE_TIERS))] = "vip0"
    bnb_discount: Annotated[bool, Switch("Fees are paid in BNB: the tier's fees less 10 %")] = False
    maker: Annotated[
        float | None, Ratio("Maker fee; overrides the tier's where set", low=-0.001, high=0.01, optional=True)
    ] = None
    taker: Annotated[float | None, Ratio("Taker fee; overrides the tier's where set", high=0.01, optional=True)] = None

    def rates(self) -> tuple[float, float]:
        """Maker and taker fee in force, as shares of notional. A stated fee is taken as it is, without discount."""
        factor = BNB_FACTOR if self.bnb_discount else 1.0
        maker, taker = FEE_TIERS[self.tier]
        return (
            maker * factor if self.maker is None else self.maker,
            taker * factor if self.taker is None else self.taker,
        )


class SlippageSettings(Section):
    """Slippage of market orders."""

    model: Annotated[str, Choice("How slippage is estimated", options=("fixed", "size", "spread", "impact"))] = "fixed"
    bps: Annotated[float, Number("Slippage of an ordinary order", unit="bps", high=500.0)] = 2.0
    large_notional: Annotated[
        float, Number("Model size: notional above which an order is large", unit="quote currency", infinite=True)
    ] = 10_000.0
    large_bps: Annotated[float, Number("Model size: slippage of a large order", unit="bps", high=500.0)] = 5.0
    volatile_bps: Annotated[
        float, Number("Model size: added while volatility_factor is 1 or more", unit="bps", high=500.0)
    ] = 2.0
    impact: Annotated[float, Number("Model impact: factor of ATR % × sqrt(quantity / bar volume)", high=100.0)] = 1.0

    @model_validator(mode="after")
    def _more_costs_more(self) -> Self:
        if self.model == "size":
            _need_order("costs.slippage", "bps", self.bps, "large_bps", self.large_bps)
        return self


class FundingSettings(Section):
    """Funding payments."""

    source: Annotated[
        str,
        Choice(
            "auto: history, else default_rate with a warning",
            options=("auto", "default", "off"),
            aliases=(("false", "off"),),
        ),
    ] = "auto"
    default_rate: Annotated[float, Ratio("Rate per 8 hours where there is no history", low=-0.01, high=0.01)] = 0.0001
    inclusive: Annotated[
        str,
        Choice(
            "Positions opened or closed at the funding time: open counts neither end twice, both counts both",
            options=("open", "both"),
        ),
    ] = "open"


class CostSettings(Section):
    """Fees, slippage, funding."""

    fees: FeeSettings = Field(default_factory=FeeSettings)
    slippage: SlippageSettings = Field(default_factory=SlippageSettings)
    funding: FundingSettings = Field(default_factory=FundingSettings)

    def round_trip(self) -> float:
        """Taker fee and ordinary slippage of an entry and an exit together, as a share of notional."""
        return 2.0 * (self.fees.rates()[1] + self.slippage.bps / 10_000.0)


class DownloadSettings(Section):
    """How market data are fetched; none of it changes what is fetched."""

    threads: Annotated[int, Whole("Archives fetched at the same time", low=1, high=32)] = 4
    tries: Annotated[
        int, Whole("Attempts per file or request; the pauses between them double, from half a second", low=1, high=20)
    ] = 5
    timeout_s: Annotated[float, Number("Longest silence of a server", unit="s", low=0.1, high=600.0)] = 30.0


class DataSettings(Section):
    """Market data."""

    dir: Annotated[str, Text("Folder of the store, from the workspace", needed=True)] = "data"
    venue: Annotated[str, Choice("Instruments: ticks, lots, minimums, brackets, fees", options=("binance-usdm",))] = (
        "binance-usdm"
    )
    detail_timeframe: Annotated[
        str, Timeframe('A finer path inside each bar, such as "1m"; goes with sim.mode = "detail"')
    ] = ""
    archive_url: Annotated[str, Text("Where archives are downloaded from; empty: the venue's own")] = ""
    rest_url: Annotated[str, Text("Where the REST interface is; empty: the venue's own")] = ""
    mark_price: Annotated[
        str,
        Choice(
            "Mark bars: used where present, needed, or never used",
            options=("auto", "required", "off"),
            aliases=(("false", "off"),),
        ),
    ] = "auto"
    on_bad_rows: Annotated[
        str, Choice("Bad rows: stop with an error, or drop and count", options=("error", "drop"))
    ] = "error"
    download: DownloadSettings = Field(default_factory=DownloadSettings)


class DiagnosticSettings(Section):
    """What a backtest finds out about itself."""

    range: Annotated[bool, Switch("Run the adverse and the favourable path too")] = True
    optimism: Annotated[
        str,
        Choice(
            "Price of each assumption by running again; auto: up to 2 million symbol-bars",
            options=("auto", "on", "off"),
            aliases=(("true", "on"), ("false", "off")),
        ),
    ] = "auto"


class LatencySettings(Section):
    """Delay between a decision and its fill."""

    decision: Annotated[float, Number("Until a decision is made", unit="ms", high=60_000.0)] = 0.0
    order: Annotated[float, Number("Until the order arrives", unit="ms", high=60_000.0)] = 0.0
    jitter: Annotated[float, Number("Random part", unit="ms", high=60_000.0)] = 0.0


class VolumeSettings(Section):
    """Size against a bar's volume."""

    max_share: Annotated[
        float,
        Ratio("Share of a bar's volume that entries and legs may take; inf is no limit", above=True, infinite=True),
    ] = INF
    warn_share: Annotated[
        float, Ratio("Fills above this share of their bar's volume are counted in the report", infinite=True)
    ] = 0.10
    unfilled: Annotated[str, Choice("What becomes of the rest", options=("wait", "cancel"))] = "wait"


class SimSettings(Section):
    """The simulator."""

    mode: Annotated[str, Choice("What prices are made of", options=("bars", "detail", "ticks"))] = "bars"
    path: Annotated[
        str,
        Choice(
            "Order of a bar's high and low: the nearer to the open first, the worse, the better",
            options=("nearest", "adverse", "favourable"),
        ),
    ] = "nearest"
    diagnostics: DiagnosticSettings = Field(default_factory=DiagnosticSettings)
    fill_at: Annotated[
        str, Choice("Where entries fill; close is flagged in the report", options=("next_open", "close"))
    ] = "next_open"
    latency_ms: LatencySettings = Field(default_factory=LatencySettings)
    volume: VolumeSettings = Field(default_factory=VolumeSettings)
    end_of_data: Annotated[
        str,
        Choice(
            "Positions at the end: closed at the last close, at the last open, or left open",
            options=("close", "last_open", "open"),
        ),
    ] = "close"


# --- [live], [bus] ---------------------------------------------------------------------------------------------------


class WaitSettings(Section):
    """Waiting times."""

    bars: Annotated[float, Number("For the closes of all symbols", unit="s", high=600.0)] = 3.0
    reconcile: Annotated[
        float, Number("Between two comparisons with the exchange", unit="s", above=True, high=3600.0)
    ] = 30.0
    guardian: Annotated[float, Number("Between two looks of the guardian", unit="s", above=True, high=600.0)] = 3.0


class MaxAge(Section):
    """When data is too old to trade on."""

    bar_intervals: Annotated[float, Number("Age of the last bar, in bars", unit="bars", above=True, high=100.0)] = 2.0
    clock_skew_ms: Annotated[
        float, Number("Difference from the exchange's clock", unit="ms", above=True, high=10_000.0)
    ] = 500.0


class NotifySettings(Section):
    """Alerts."""

    urls_file: Annotated[str, Text("File of apprise addresses; empty: no alerts")] = ""
    events: Annotated[tuple[str, ...], Names("What is sent")] = (
        "start",
        "stop",
        "exit",
        "governor",
        "unprotected",
        "health",
        "daily",
    )


class LiveSettings(Section):
    """Live trading."""

    mode: Annotated[str, Choice("How far orders go", options=("paper", "shadow", "testnet", "live"))] = "paper"
    endpoint: Annotated[str, Text("Another host, for instance the emulator")] = ""
    session: Annotated[str, Text("Names state, lock and client ids; one per account", needed=True)] = "main"
    wait_s: WaitSettings = Field(default_factory=WaitSettings)
    max_age: MaxAge = Field(default_factory=MaxAge)
    on_stop: Annotated[
        str, Choice("Positions when the program ends; keep: hard stops stay", options=("keep", "flatten"))
    ] = "keep"
    cleanup_foreign: Annotated[bool, Switch("Cancel others' orders too when a symbol goes flat")] = False
    notify: NotifySettings = Field(default_factory=NotifySettings)


class BusSettings(Section):
    """The event bus."""

    url: Annotated[str, Text("redis://…; empty: in-process")] = ""


# --- the whole -------------------------------------------------------------------------------------------------------


class Settings(Section):
    """All settings of a run."""

    run: RunSettings = Field(default_factory=RunSettings)
    strategy: dict[str, Any] = {}
    account: AccountSettings = Field(default_factory=AccountSettings)
    entry: EntrySettings = Field(default_factory=EntrySettings)
    leverage: LeverageSettings = Field(default_factory=LeverageSettings)
    exit: ExitSettings = Field(default_factory=ExitSettings)
    sizing: SizingSettings = Field(default_factory=SizingSettings)
    regime: RegimeSettings = Field(default_factory=RegimeSettings)
    gates: GateSettings = Field(default_factory=GateSettings)
    orchestrator: OrchestratorSettings = Field(default_factory=OrchestratorSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    governor: GovernorSettings = Field(default_factory=GovernorSettings)
    costs: CostSettings = Field(default_factory=CostSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    sim: SimSettings = Field(default_factory=SimSettings)
    live: LiveSettings = Field(default_factory=LiveSettings)
    bus: BusSettings = Field(default_factory=BusSettings)

    @model_validator(mode="after")
    def _detail_is_both_or_neither(self) -> Self:
        if (self.sim.mode == "detail") != bool(self.data.detail_timeframe):
            raise ValueError(
                f"data.detail_timeframe = {show(self.data.detail_timeframe)} and sim.mode = {show(self.sim.mode)} "
                "contradict each other: detail needs both a finer timeframe and the mode"
            )
        return self

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        model, cap = self.leverage.model, self.limits.per_trade.leverage
        floor = {"simple": self.leverage.simple.min, "ilf2": self.leverage.ilf2.min}.get(model, 1.0)
        if floor > cap:
            raise ValueError(
                f"leverage.{model}.min = {show(floor)} exceeds limits.per_trade.leverage = {show(cap)}: "
                "no leverage satisfies both"
            )
        return self


@dataclass(frozen=True)
class Key:
    """One setting: its path, kind, default, and the section that holds it."""

    path: str
    kind: Kind
    default: Any
    section: str


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        kind = _kind_of(model, name)
        if kind is not None:
            yield Key(path, kind, field.default, prefix)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, path)


def _walk_sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield path, (field.annotation.__doc__ or "").strip()
            yield from _walk_sections(field.annotation, path)
        elif path == FREE_SECTION:
            yield path, "The strategy's own parameters by name: fast = 12."


@cache
def keys() -> dict[str, Key]:
    """Every setting by its path, in the order of the file; the strategy's parameters are not among them."""
    return {key.path: key for key in _walk(Settings, "")}


@cache
def sections() -> dict[str, str]:
    """Every table's path and its description, in the order of the file."""
    return dict(_walk_sections(Settings, ""))


def flatten(settings: Settings) -> dict[str, Any]:
    """Path → value of every setting, the strategy's parameters included as `strategy.NAME`."""
    flat: dict[str, Any] = {}
    for name in Settings.model_fields:
        _flatten_into(flat, name, getattr(settings, name))
    return flat


def _flatten_into(flat: dict[str, Any], path: str, value: object) -> None:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            _flatten_into(flat, f"{path}.{name}", getattr(value, name))
    elif path == FREE_SECTION and isinstance(value, Mapping):
        flat.update({f"{path}.{name}": item for name, item in value.items()})
    else:
        flat[path] = value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Tables within tables from paths."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *tables, name = path.split(".")
        place = tree
        for table in tables:
            place = place.setdefault(table, {})
        place[name] = value
    return tree


def build(tree: Mapping[str, Any]) -> Settings:
    """Settings from tables within tables; SettingError names each key that is wrong."""
    try:
        return Settings.model_validate(dict(tree))
    except ValidationError as error:
        raise SettingError("\n".join(_sentence(detail) for detail in error.errors())) from None


def _sentence(detail: Any) -> str:
    """One finding of pydantic in the words of the product."""
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"unknown setting {path}"
    if detail["type"] == "value_error":
        text = str(detail["ctx"]["error"])
        return f"{path} = {show(detail['input'])}: {text}" if path in keys() else text
    return f"{path} = {show(detail['input'])}: {detail['msg']}"


def to_dict(settings: Settings) -> dict[str, Any]:
    """Tables within tables of JSON values, for the manifest; inf becomes "inf", an unset key is left out."""
    return nest({path: _to_json(value) for path, value in flatten(settings).items() if value is not None})


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    return value.item() if hasattr(value, "item") else value


def from_dict(tree: Mapping[str, Any]) -> Settings:
    """The settings that `to_dict` wrote. SettingError where a key or value is not of this version."""
    return build(tree)


def settings_digest(settings: Settings, *, leave_out: tuple[str, ...] = NOT_IN_DIGEST) -> str:
    """SHA-256, hex, of all settings but those whose path matches a pattern of `leave_out`."""
    flat = {
        path: _to_json(value)
        for path, value in flatten(settings).items()
        if not any(fnmatchcase(path, pattern) for pattern in leave_out)
    }
    return hashlib.sha256(json.dumps(flat, sort_keys=True, default=str).encode()).hexdigest()


def describe_range(key: Key) -> str:
    """Sane values of a setting in words."""
    return key.kind.allowed().removeprefix("must be ")


__all__ = [
    "BNB_FACTOR",
    "FEE_TIERS",
    "FREE_SECTION",
    "PROFILES",
    "Key",
    "Section",
    "Settings",
    "build",
    "describe_range",
    "flatten",
    "from_dict",
    "keys",
    "nest",
    "plain_number",
    "sections",
    "settings_digest",
    "to_dict",
]
