"""Every code that kernels exchange, and the one table that turns codes into text. 0 is the harmless member."""

from __future__ import annotations

from enum import IntEnum


class Side(IntEnum):
    """Direction of a position or request."""

    NONE = 0
    LONG = 1
    SHORT = -1


class LeverageModel(IntEnum):
    """leverage.model"""

    FIXED = 0
    SIMPLE = 1
    ILF2 = 2
    KELLY = 3


class ExitPolicy(IntEnum):
    """exit.policy"""

    EXIT_BRAIN = 0
    BRACKET = 1
    LEGACY = 2
    PROFIT_LOCK = 3


class LegacyLevels(IntEnum):
    """exit.legacy.levels"""

    FIXED = 0
    MATH = 1


class Replan(IntEnum):
    """exit.replan"""

    ENTRY = 0
    BAR = 1


class OnOppositeSignal(IntEnum):
    """exit.on_opposite_signal"""

    IGNORE = 0
    CLOSE = 1
    REVERSE = 2


class Monitoring(IntEnum):
    """exit.monitoring; `auto` is resolved before it becomes a parameter."""

    CONTINUOUS = 0
    POINTS = 1
    INTERVAL = 2


class MarginMode(IntEnum):
    """account.mode.margin"""

    ISOLATED = 0
    CROSS = 1


class PositionMode(IntEnum):
    """account.mode.position"""

    ONE_WAY = 0
    HEDGE = 1


class PriceKind(IntEnum):
    """Which price triggers: exit.trigger_price, exit.stops.hard.working_type"""

    LAST = 0
    MARK = 1


class StopModel(IntEnum):
    """exit.levels.sl.model"""

    ADAPTIVE = 0
    CONFIDENCE = 1


class HarvestBy(IntEnum):
    """exit.harvest.scheme.by"""

    LEVERAGE = 0
    STATIC = 1


class HarvestBasis(IntEnum):
    """exit.harvest.basis"""

    REMAINING = 0
    INITIAL = 1


class RatchetPreset(IntEnum):
    """exit.stops.ratchet.preset"""

    OFF = 0
    BREAKEVEN = 1
    LOCK = 2


class TrailMode(IntEnum):
    """exit.stops.trail.mode"""

    OFF = 0
    ATR = 1
    PERCENT = 2
    LADDER = 3  # of policy profit_lock, no option of the setting


class TrailStyle(IntEnum):
    """exit.stops.trail.style"""

    BALANCED = 0
    AGGRESSIVE = 1
    LOOSE = 2


class LossBasis(IntEnum):
    """exit.guard.loss.basis"""

    NOTIONAL = 0
    MARGIN = 1


class SizingModel(IntEnum):
    """sizing.model"""

    MATH = 0
    NOTIONAL = 1
    FIXED_RISK = 2
    FRACTION = 3
    FIXED_QTY = 4
    RL = 5


class OwnTrade(IntEnum):
    """What has become of the action that sizing model rl chose last for a symbol."""

    NONE = 0  # nothing to learn
    OPEN = 1
    KNOWN = 2


class Regime(IntEnum):
    """What one symbol's market looks like."""

    UNKNOWN = 0
    TRENDING = 1
    BREAKOUT = 2
    RANGING = 3
    CHOPPY = 4


class LeaderRegime(IntEnum):
    """What the leader's market looks like, for all symbols: the global regime."""

    UNKNOWN = 0
    UPTREND = 1
    DOWNTREND = 2
    SIDEWAYS = 3


class Mode(IntEnum):
    """The Orchestrator's mode."""

    NORMAL = 0
    DEFENSIVE = 1
    CRITICAL = 2


class Health(IntEnum):
    """State of the program and its connections."""

    HEALTHY = 0
    DEGRADED = 1
    CRITICAL = 2


class GovernorDecision(IntEnum):
    """The Safety Governor's decisions, the gravest last; several can be active, the gravest is reported."""

    ALLOW_NORMAL = 0
    NO_NEW_TRADES = 1
    DEFENSIVE_EXIT = 2
    PAUSE_1H = 3
    EMERGENCY_SHUTDOWN = 4


class GovernorOrder(IntEnum):
    """What the Governor wants of an open position at its next point."""

    NONE = 0
    REDUCE = 1
    CLOSE = 2


class ExposureBasis(IntEnum):
    """limits.exposure.basis"""

    NOTIONAL = 0
    MARGIN = 1


class PathModel(IntEnum):
    """sim.path: the assumed order of a bar's extremes."""

    NEAREST = 0
    ADVERSE = 1
    FAVOURABLE = 2


class FillAt(IntEnum):
    """sim.fill_at"""

    NEXT_OPEN = 0
    CLOSE = 1


class EndOfData(IntEnum):
    """sim.end_of_data"""

    CLOSE = 0
    LAST_OPEN = 1
    OPEN = 2


class SlippageModel(IntEnum):
    """costs.slippage.model"""

    FIXED = 0
    SIZE = 1
    SPREAD = 2
    IMPACT = 3


class OrderType(IntEnum):
    """entry.order.type"""

    MARKET = 0
    LIMIT = 1


class Unfilled(IntEnum):
    """sim.volume.unfilled: what becomes of the part of an order that a share of the volume leaves over."""

    WAIT = 0
    CANCEL = 1


class Working(IntEnum):
    """What of a slot is on its way to the exchange or stands there; a bit mask."""

    NONE = 0
    ENTRY = 1  # an entry order that is not filled yet, or not whole
    STOP = 2  # the hard stop is not placed yet
    EXIT = 4  # an exit is on its way


class FundingInclusive(IntEnum):
    """costs.funding.inclusive"""

    OPEN = 0
    BOTH = 1


class Action(IntEnum):
    """What one exit cycle decided."""

    HOLD_CURRENT = 0
    INIT_NEW_POSITION = 1
    MOVE_SL = 2
    UPDATE_TP_LIMITS = 3
    PARTIAL_CLOSE = 4
    FULL_EXIT_NOW = 5


class Reason(IntEnum):
    """Why a stop moved or a position (partly) closed."""

    NONE = 0
    LIQUIDATION = 1
    HARD_STOP = 2
    BACKUP_STOP = 3
    STOP = 4
    RATCHET = 5
    BREAKEVEN = 6
    TRAIL = 7
    REGIME = 8
    TP1 = 9
    TP2 = 10
    TP3 = 11
    TP4 = 12
    TP5 = 13
    LOSS_GUARD = 14
    MARGIN_EMERGENCY = 15
    STALE = 16
    CRASH = 17
    SIGNAL = 18
    REVERSE = 19
    GOVERNOR = 20
    END_OF_DATA = 21
    ENTRY = 22
    REPLAN = 23
    EXTERNAL = 24  # live: closed by hand, or by the exchange other than by a liquidation


class FillKind(IntEnum):
    """What a fill did."""

    ENTRY = 0
    EXIT = 1
    LIQUIDATION = 2


class Gate(IntEnum):
    """Where a signal ended that did not become an entry."""

    NONE = 0
    SIGNAL = 1
    LEVERAGE = 2
    PLAN = 3
    SIZING = 4
    EXCHANGE = 5
    CONFIDENCE = 6
    ORCHESTRATOR = 7
    BALANCER = 8
    GOVERNOR = 9
    RISK_GUARD = 10
    ORDER = 11


class Rule(IntEnum):
    """Which rule of the gate ended it."""

    NONE = 0
    EXPIRED = 1
    SIDE_HELD = 2
    OPPOSITE_IGNORED = 3
    COOLDOWN = 4
    LEVERAGE_BELOW_ONE = 5
    STOP_TOO_NEAR = 6
    NO_LIQUIDATION_ROOM = 7
    NO_ATR = 8
    ZERO_LOTS = 9
    MIN_QTY = 10
    MIN_NOTIONAL = 11
    MAX_QTY = 12
    BRACKET_LEVERAGE = 13
    INSUFFICIENT_MARGIN = 14
    BRACKET_TRAIL = 15
    NO_STOP = 16
    END_OF_DATA = 17
    OPPOSITE_CLOSED = 18
    NO_PRICE = 19
    TOO_MANY_LOTS = 20
    LOW_CONFIDENCE = 21
    DAILY_DRAWDOWN = 22
    CHOPPY_CONFIDENCE = 23
    POSITIONS_TOTAL = 24
    SYMBOL_DISABLED = 25
    SYMBOL_BLACKLISTED = 26
    UPTREND_SHORT = 27
    MIN_CONFIDENCE = 28
    POSITIONS_LONG = 29
    POSITIONS_SHORT = 30
    CORRELATION = 31
    SECTOR_SHARE = 32
    NO_NEW_TRADES = 33
    DEFENSIVE_EXIT = 34
    PAUSE_1H = 35
    EMERGENCY_SHUTDOWN = 36
    BALANCE_BUFFER = 37
    BALANCE_MIN = 38
    EXPOSURE_MAX = 39
    EXPOSURE_GROSS = 40
    NOT_RUNNING = 41
    ORDER_STANDS = 42
    ORDER_CANCELLED = 43
    VOLUME_SHARE = 44
    ORDER_TIMED_OUT = 45
    ORDER_ENDED = 46


class CappedBy(IntEnum):
    """Which bound set the size of an entry."""

    NONE = 0
    SIZING_MARGIN = 1
    LIMIT_MARGIN = 2
    LIMIT_NOTIONAL = 3
    MARKET_MAX = 4


class PlanFlag(IntEnum):
    """What acted on a plan; a bit mask."""

    NONE = 0
    SL_MIN = 1
    SL_MAX = 2
    TP_MIN = 4
    SL_HARD_SHARE = 8
    HARD_LIQUIDATION_SHARE = 16
    SL_MARGIN_LOSS = 32
    LEGS_PUSHED = 64
    KELLY_NEGATIVE = 128
    LEVERAGE_CAPPED = 256
    SIGNAL_TP = 512
    SIGNAL_SL = 1024
    SIGNAL_TRAIL = 2048
    BRACKET_TIGHTENED = 4096
    DEFAULT_CONFIDENCE = 8192
    LEVERAGE_CLAMPED = 16384
    SIZE_MINIMUM = 32768


REASON_TEXT: dict[Reason, str] = {reason: reason.name.lower() for reason in Reason}
RULE_TEXT: dict[Rule, str] = {
    Rule.NONE: "",
    Rule.EXPIRED: "expired",
    Rule.SIDE_HELD: "side already held",
    Rule.OPPOSITE_IGNORED: "opposite ignored",
    Rule.COOLDOWN: "cooldown",
    Rule.LEVERAGE_BELOW_ONE: "leverage formula below 1",
    Rule.STOP_TOO_NEAR: "final stop nearer than costs allow",
    Rule.NO_LIQUIDATION_ROOM: "no room before liquidation",
    Rule.NO_ATR: "no ATR yet",
    Rule.ZERO_LOTS: "size below one lot",
    Rule.MIN_QTY: "below the minimum quantity",
    Rule.MIN_NOTIONAL: "below the minimum notional",
    Rule.MAX_QTY: "above the market order maximum",
    Rule.BRACKET_LEVERAGE: "leverage above the bracket",
    Rule.INSUFFICIENT_MARGIN: "insufficient margin",
    Rule.BRACKET_TRAIL: "trail with policy bracket",
    Rule.NO_STOP: "sizing by risk without a stop",
    Rule.END_OF_DATA: "no later bar to enter on",
    Rule.OPPOSITE_CLOSED: "opposite used to close",
    Rule.NO_PRICE: "no price to enter at",
    Rule.NOT_RUNNING: "program not running",
    Rule.TOO_MANY_LOTS: "more lots than can be counted exactly",
    Rule.LOW_CONFIDENCE: "confidence",
    Rule.DAILY_DRAWDOWN: "daily drawdown",
    Rule.CHOPPY_CONFIDENCE: "CHOPPY",
    Rule.POSITIONS_TOTAL: "open positions",
    Rule.SYMBOL_DISABLED: "symbol disabled",
    Rule.SYMBOL_BLACKLISTED: "symbol blacklisted",
    Rule.UPTREND_SHORT: "short in an UPTREND",
    Rule.MIN_CONFIDENCE: "minimum confidence",
    Rule.POSITIONS_LONG: "open longs",
    Rule.POSITIONS_SHORT: "open shorts",
    Rule.CORRELATION: "correlation",
    Rule.SECTOR_SHARE: "sector share",
    Rule.NO_NEW_TRADES: "NO_NEW_TRADES",
    Rule.DEFENSIVE_EXIT: "DEFENSIVE_EXIT",
    Rule.PAUSE_1H: "PAUSE_1H",
    Rule.EMERGENCY_SHUTDOWN: "EMERGENCY_SHUTDOWN",
    Rule.BALANCE_BUFFER: "available balance",
    Rule.BALANCE_MIN: "balance below the minimum",
    Rule.EXPOSURE_MAX: "total exposure",
    Rule.EXPOSURE_GROSS: "gross exposure",
    Rule.ORDER_STANDS: "entry order already standing",
    Rule.ORDER_CANCELLED: "order cancelled by a signal",
    Rule.VOLUME_SHARE: "share of the bar's volume",
    Rule.ORDER_TIMED_OUT: "limit order timed out",
    Rule.ORDER_ENDED: "order ended by the exchange or by hand",
}
GATE_TEXT: dict[Gate, str] = {gate: gate.name.lower() for gate in Gate}
GOVERNOR_TEXT: dict[GovernorDecision, str] = {decision: decision.name for decision in GovernorDecision}
CAPPED_BY_TEXT: dict[CappedBy, str] = {
    CappedBy.NONE: "the sizing model",
    CappedBy.SIZING_MARGIN: "sizing margin cap",
    CappedBy.LIMIT_MARGIN: "limits.per_trade.margin",
    CappedBy.LIMIT_NOTIONAL: "limits.per_trade.notional",
    CappedBy.MARKET_MAX: "market order maximum",
}
