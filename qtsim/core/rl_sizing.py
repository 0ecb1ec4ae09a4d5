"""Sizing model rl: tabular Q-learning over size, leverage and style. Chance arrives as an array of uniforms.

The tables are the caller's: `q` float64[states, actions] and `visits` int64[states, actions], zero before training.
Every kernel that takes them works on tables of any size; this market's states and actions are numbered below.
"""

from __future__ import annotations

import math

from qtsim.core._jit import kernel
from qtsim.core.enums import ExposureBasis, OwnTrade, Regime, TrailStyle
from qtsim.core.params import RL_ACTIONS, RL_STATES, WINDOW_MAX
from qtsim.core.records import Record, Records

SIZES = (0.5, 0.75, 1.0, 1.25)
"""× the size of model math."""
LEVERAGES = (1.0, 2.0, 3.0, 5.0)
AGGRESSIVE, BALANCED, CONSERVATIVE = range(3)
TARGET_SCALES = (1.25, 1.0, 0.8)
"""× base_tp, by style."""
STOP_SCALES = (0.8, 1.0, 1.2)
"""× base_sl, by style."""
STYLES = len(TARGET_SCALES)
DEFAULT_ACTION = (2 * len(LEVERAGES) + 2) * STYLES + BALANCED
"""The size of model math at 3x, balanced."""

REGIME_GROUPS, CONFIDENCE_BANDS, EXPOSURE_QUARTERS, RECENT_KINDS = 3, 3, 4, 3
LOW_CONFIDENCE, HIGH_CONFIDENCE = 0.5, 0.7
NEUTRAL, ALL_WON, ALL_LOST = range(RECENT_KINDS)
RECENT = 3
"""Last closed trades of the account that the state looks at."""
LEAST_LEFT = 1e-9
"""Share of the equity that counts as left where a trade has lost all of it or more: a logarithm needs something."""


assert RL_STATES == REGIME_GROUPS * CONFIDENCE_BANDS * EXPOSURE_QUARTERS * RECENT_KINDS
assert len(SIZES) * len(LEVERAGES) * STYLES == RL_ACTIONS


# The state -----------------------------------------------------------------------------------------------------------


@kernel
def regime_group_nb(regime: int) -> int:
    """0 TRENDING with BREAKOUT, 1 RANGING, 2 CHOPPY; UNKNOWN counts as CHOPPY, which is what shows no other regime."""
    if regime == Regime.TRENDING or regime == Regime.BREAKOUT:
        return 0
    if regime == Regime.RANGING:
        return 1
    return 2


@kernel
def confidence_band_nb(confidence: float) -> int:
    """0 below 0.5, 1 below 0.7, 2 from 0.7 on."""
    if confidence < LOW_CONFIDENCE:
        return 0
    if confidence < HIGH_CONFIDENCE:
        return 1
    return 2


@kernel
def exposure_share_nb(crowd: Record, balance: float, limits: Record) -> float:
    """Share of the exposure limits that is used: of exposure.max or of exposure.gross, whichever is nearer to full.

    0 where there is no limit, 1 where a limit leaves no room at all.
    """
    used = crowd["notional"]
    if limits["exposure_basis"] == ExposureBasis.MARGIN:
        used = crowd["initial_margin"]
    most = limits["exposure_max"] * balance
    share = used / most if most > 0.0 else 1.0
    gross = limits["exposure_gross"]
    return max(share, crowd["notional"] / gross if gross > 0.0 else 1.0)


@kernel
def exposure_quarter_nb(share: float) -> int:
    """0 below a quarter of the limit, 1 below a half, 2 below three quarters, 3 from there on."""
    return int(min(max(math.floor(share * EXPOSURE_QUARTERS), 0), EXPOSURE_QUARTERS - 1))


@kernel
def recent_nb(account: Record) -> int:
    """ALL_WON or ALL_LOST where the account's last three trades did, net of costs; else, and before three, NEUTRAL."""
    closed = account["closed_trades"]
    if closed < RECENT:
        return NEUTRAL
    won, lost = 0, 0
    for k in range(closed - RECENT, closed):
        ret = account["trade_ret"][k % WINDOW_MAX]
        if ret > 0.0:
            won += 1
        elif ret < 0.0:
            lost += 1
    if won == RECENT:
        return ALL_WON
    return ALL_LOST if lost == RECENT else NEUTRAL


@kernel
def state_nb(regime: int, confidence: float, exposure_share: float, recent: int) -> int:
    """Row of the tables, 0 to RL_STATES - 1."""
    state = regime_group_nb(regime)
    state = state * CONFIDENCE_BANDS + confidence_band_nb(confidence)
    state = state * EXPOSURE_QUARTERS + exposure_quarter_nb(exposure_share)
    return state * RECENT_KINDS + recent


@kernel
def entry_state_nb(plan: Record, account: Record, crowd: Record, balance: float, params: Record) -> int:
    """State in which a request has passed the gates before sizing."""
    share = exposure_share_nb(crowd, balance, params["limits"])
    return state_nb(plan["regime"], plan["confidence"], share, recent_nb(account))


# The action ----------------------------------------------------------------------------------------------------------


@kernel
def style_nb(action: int) -> int:
    """AGGRESSIVE, BALANCED or CONSERVATIVE."""
    return action % STYLES


@kernel
def action_leverage_nb(action: int) -> float:
    """Leverage that replaces the leverage model's, before cap and floor."""
    return LEVERAGES[action // STYLES % len(LEVERAGES)]


@kernel
def action_size_nb(action: int) -> float:
    """× the size of model math."""
    return SIZES[action // (STYLES * len(LEVERAGES))]


@kernel
def target_scale_nb(action: int) -> float:
    """× base_tp."""
    return TARGET_SCALES[style_nb(action)]


@kernel
def stop_scale_nb(action: int) -> float:
    """× base_sl."""
    return STOP_SCALES[style_nb(action)]


@kernel
def action_trail_nb(action: int) -> int:
    """Trailing style in the place of exit.stops.trail.style: a conservative trade has the loose trail."""
    style = style_nb(action)
    if style == AGGRESSIVE:
        return TrailStyle.AGGRESSIVE.value
    if style == CONSERVATIVE:
        return TrailStyle.LOOSE.value
    return TrailStyle.BALANCED.value


# Learning ------------------------------------------------------------------------------------------------------------


@kernel
def reward_nb(net: float, equity: float) -> float:
    """100 · ln(1 + net / equity), about the per cent of equity that a trade made."""
    if not equity > 0.0:
        return 0.0
    return 100.0 * math.log(max(1.0 + net / equity, LEAST_LEFT))


@kernel
def rate_nb(visits: int, alpha: float, gamma: float) -> float:
    """Learning rate after `visits` visits: 1 / (1 + (1 - γ) · visits), at most α.

    The plain 1 / (1 + visits) learns nothing in time where γ is near 1: its error falls with visits to the power of
    -(1 - γ). Scaled by 1 - γ the rates still sum to infinity and their squares do not, and the error does fall.
    """
    return min(alpha, 1.0 / (1.0 + (1.0 - gamma) * visits))


@kernel
def best_value_nb(q: Records, state: int) -> float:
    """The largest value of the state."""
    best = q[state, 0]
    for action in range(1, q.shape[1]):
        best = max(best, q[state, action])
    return best


@kernel
def greedy_nb(q: Records, visits: Records, state: int, default: int, min_visits: int) -> int:
    """The default action, unless it and a strictly better one have `min_visits` visits; of equals the first."""
    best = default
    if visits[state, default] < min_visits:
        return best
    for action in range(q.shape[1]):
        if visits[state, action] >= min_visits and q[state, action] > q[state, best]:
            best = action
    return best


@kernel
def choose_nb(
    q: Records,
    visits: Records,
    state: int,
    default: int,
    draws: Records,
    decision: int,
    epsilon: float,
    min_visits: int,
) -> int:
    """ε-greedy: any action with probability ε, by the uniforms of the decision's number; else the greedy one.

    draws: float64[decisions, 2]; a decision beyond its end does not explore.
    """
    if decision < draws.shape[0] and draws[decision, 0] < epsilon:
        n = q.shape[1]
        return int(min(math.floor(draws[decision, 1] * n), n - 1))
    return greedy_nb(q, visits, state, default, min_visits)


@kernel
def update_nb(
    q: Records,
    visits: Records,
    state: int,
    action: int,
    reward: float,
    next_value: float,
    alpha: float,
    gamma: float,
) -> None:
    """Q ← Q + α_n · (reward + γ · value of the next state - Q), and one more visit."""
    rate = rate_nb(visits[state, action], alpha, gamma)
    q[state, action] += rate * (reward + gamma * next_value - q[state, action])
    visits[state, action] += 1


@kernel
def note_entry_nb(pupil: Record, plan: Record) -> None:
    """The action taken last has become a trade: its reward is known when that ends."""
    if plan["has_action"] == 1 and pupil["own"] == OwnTrade.KNOWN:
        pupil["own"] = OwnTrade.OPEN.value


@kernel
def note_reward_nb(pupil: Record, net: float) -> None:
    """The trade of the action taken last has ended."""
    if pupil["own"] == OwnTrade.OPEN:
        pupil["own"] = OwnTrade.KNOWN.value
        pupil["own_reward"] = reward_nb(net, pupil["own_equity"])
