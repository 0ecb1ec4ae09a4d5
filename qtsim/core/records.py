"""Every record that kernels read or write, in one place.

Prices are quote currency per unit of base, quantities base currency, money quote currency, ratios decimals, times
int64 nanoseconds UTC. Create arrays from these dtype objects only: an equal but distinct dtype compiles again.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from qtsim.core.params import (
    LADDER_MAX,
    LEGS_MAX,
    LESSONS_MAX,
    RECENT_TRADES,
    RL_ACTIONS,
    RL_STATES,
    TARGETS,
    WINDOW_MAX,
)

Record: TypeAlias = Any
"""One row of a structured array: `numpy.void` interpreted, a numba record compiled."""
Records: TypeAlias = Any
"""A structured array."""

BRACKETS_MAX = 16
NEVER = -1
"""A time that is not set."""
NOT_YET = 2**62
"""A time that has not come and is not known, ns."""
UNBOUND = 2**62
"""Lots that a bar leaves to orders where no share of its volume binds them."""
NO_ACTION = -1
"""State and action where sizing model rl chose nothing."""
EVALUATIONS_MAX = 4096
"""Rows of the ring of equity evaluations: more than an hour of them a second apart, and the one before it."""

bar_dt = np.dtype(
    [
        ("ts_open", "i8"),
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
        ("mark_open", "f8"),  # equal to the last price where there is no mark history
        ("mark_high", "f8"),
        ("mark_low", "f8"),
        ("mark_close", "f8"),
        ("half_spread", "f8"),  # of a trade: half the quoted spread / mid price; NaN without quotes
        ("length", "i8"),  # ns; 0: the market's path_ns
    ],
    align=True,
)
"""One bar; known at its close, ts_open + length."""

signal_dt = np.dtype(
    [
        ("ts_close", "i8"),  # of its bar, ns: when it becomes known
        ("long", "i1"),
        ("short", "i1"),
        ("exit_long", "i1"),
        ("exit_short", "i1"),
        ("tag", "i4"),  # index into the run's table of tags; -1 none
        ("close", "f8"),  # of its bar
        ("confidence", "f8"),  # NaN: the strategy states none
        ("tp", "f8"),  # ratio; NaN: none
        ("sl", "f8"),
        ("trail", "f8"),
        ("divergence", "f8"),
        ("funding_delta", "f8"),
        # what the market looked like at the bar's close
        ("atr", "f8"),  # Wilder 14 of the last closed bar of regime.timeframe, quote; NaN before history
        ("atr_pct", "f8"),  # atr / that bar's close
        ("atr_ratio", "f8"),  # atr_pct / its 20-day mean; 1 before 20 days
        ("volatility_factor", "f8"),  # clamp(atr_ratio - 1, 0, 5)
        ("symbol_risk", "f8"),  # clamp(atr_pct / the leader's, 0.5, 1.5); 1 where unknown
        ("funding_rate", "f8"),  # last published; 0 where unknown
        ("regime", "i8"),  # Regime of the symbol
        ("leader_regime", "i8"),  # LeaderRegime
        ("leader_24h", "f8"),  # the leader's return over 24 h; NaN unknown
        ("thinness", "f8"),  # atr_pct / sqrt(traded value of the bar); NaN where nothing was traded
    ],
    align=True,
)
"""What is asked for and known at one bar's close."""

funding_dt = np.dtype([("ts", "i8"), ("rate", "f8"), ("mark", "f8")], align=True)
"""One funding event of one symbol; mark NaN: not recorded."""

instrument_dt = np.dtype(
    [
        ("tick_num", "f8"),  # tick = tick_num / tick_den, integers; tick_den 0: continuous prices
        ("tick_den", "f8"),
        ("lot_num", "f8"),  # lot = lot_num / lot_den, integers
        ("lot_den", "f8"),
        ("min_qty", "f8"),
        ("max_qty", "f8"),  # of one market order
        ("min_notional", "f8"),
        ("liquidation_fee", "f8"),  # ratio of the liquidated notional
        ("sector", "i8"),  # symbols of one sector have the same number
        ("n_brackets", "i8"),
        ("bracket_cap", "f8", (BRACKETS_MAX,)),  # highest notional, inclusive
        ("bracket_rate", "f8", (BRACKETS_MAX,)),  # maintenance margin rate
        ("bracket_amount", "f8", (BRACKETS_MAX,)),  # maintenance amount ("cum")
        ("bracket_leverage", "f8", (BRACKETS_MAX,)),  # highest initial leverage
    ],
    align=True,
)

point_dt = np.dtype(
    [
        ("ts", "i8"),
        ("price", "f8"),  # last price
        ("mark", "f8"),
        # in force: known at the last bar's close
        ("known_ts", "i8"),  # that close
        ("atr", "f8"),
        ("volatility_factor", "f8"),
        ("regime", "i8"),
        ("leader_24h", "f8"),  # NaN unknown
        ("divergence", "f8"),  # NaN: none stated
        ("funding_delta", "f8"),  # NaN: none stated
        ("funding_rate", "f8"),
        ("thinness", "f8"),
        ("half_spread", "f8"),  # at this point; NaN without quotes
        ("room", "i8"),  # lots that the share of this bar's volume still leaves to orders; UNBOUND
    ],
    align=True,
)
"""One price observation, the only thing the core sees of the market while a position is open."""

position_dt = np.dtype(
    [
        ("side", "i8"),  # 0 flat
        ("symbol", "i8"),  # index of its symbol
        ("trade_id", "i8"),
        ("lots", "i8"),  # open
        ("init_lots", "i8"),
        ("qty", "f8"),  # lots in base currency
        ("init_qty", "f8"),
        ("entry_price", "f8"),
        ("entry_ref_price", "f8"),
        ("entry_ts", "i8"),
        ("entry_bar", "i8"),
        ("leverage", "f8"),
        ("notional", "f8"),  # at entry
        ("margin", "f8"),  # isolated: what still backs it, funding included; cross: initial margin of what is open
        ("init_margin", "f8"),
        ("is_cross", "i8"),  # 1: the whole account backs it, and it has no liquidation price
        ("confidence", "f8"),
        ("tag", "i4"),
        ("flags", "i4"),
        ("capped_by", "i8"),
        ("lsf", "f8"),
        ("planned_stop", "f8"),  # ratio of the entry price
        ("init_stop_price", "f8"),
        ("init_liq_price", "f8"),
        ("stop_price", "f8"),  # internal stop; NaN none
        ("stop_reason", "i8"),  # Reason of whatever last moved it
        ("stop_moved", "i8"),  # moved by a fill, not yet reported by a cycle
        ("hard_price", "f8"),  # exchange stop; NaN none
        ("backup_price", "f8"),  # limit of the backup stop, triggered with the exchange stop; NaN none
        ("liq_price", "f8"),  # NaN: cannot be liquidated
        ("loss_price", "f8"),  # the loss guard's; NaN none
        ("emergency_price", "f8"),  # the margin emergency's; NaN none
        ("stale_price", "f8"),  # acts from stale_ts on; NaN none
        ("crash_price", "f8"),  # acts during a crash; NaN none
        ("stale_ts", "i8"),  # ns
        ("tp_price", "f8", (LEGS_MAX,)),  # NaN none
        ("fractions", "f8", (LEGS_MAX,)),  # share that each leg closes
        ("tp_lots", "i8", (LEGS_MAX,)),  # lots closed once this leg has filled, cumulative
        ("n_legs", "i8"),
        ("next_leg", "i8"),  # 0-based; n_legs: all hit
        ("tp1_distance", "f8"),
        ("breakeven_price", "f8"),  # where the ratchet's breakeven puts the stop
        ("breakeven_activate_price", "f8"),  # NaN off
        ("breakeven_done", "i8"),
        ("net_price", "f8"),  # profit_lock: where its ROE is 0
        ("rung_price", "f8", (LADDER_MAX,)),  # profit_lock: where the ladder's rungs begin; NaN none
        ("base_tp", "f8"),  # what the levels were planned from
        ("base_sl", "f8"),
        ("avg_pnl", "f8"),
        ("plan_ts", "i8"),  # close of the bar whose row the levels follow, or the entry
        ("trail_mode", "i8"),
        ("trail_multiple", "f8"),  # × ATR
        ("trail_distance", "f8"),  # ratio
        ("trail_activate_price", "f8"),  # NaN off
        ("trail_active", "i8"),
        ("peak", "f8"),  # best price since activation
        ("best_price", "f8"),  # since entry, for mfe
        ("worst_price", "f8"),  # since entry, for mae
        ("min_liq_distance", "f8"),  # smallest |mark - liq| / mark seen at a point
        ("exit_value", "f8"),  # Σ exit price × qty
        ("price_pnl", "f8"),  # realized, at fill prices
        ("fees", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("liq_fee", "f8"),
        ("legs_hit", "i8"),
        ("entry_regime", "i8"),
        ("entry_leader_regime", "i8"),
        ("entry_mode", "i8"),  # the Orchestrator's
        ("rl_state", "i8"),  # of sizing model rl; -1 where it chose nothing
        ("rl_action", "i8"),
        ("seen_regime", "i8"),  # Regime at the last cycle
        ("regime_done", "i8"),  # 1: tightened on a change from TRENDING to CHOPPY
        ("reduce_after", "i8"),  # ns; DEFENSIVE_EXIT reduces it at the first point after it; NEVER: not ordered
        ("close_after", "i8"),  # ns; EMERGENCY_SHUTDOWN closes it at the first point after it; NEVER: not ordered
        ("defensive_done", "i8"),  # 1: DEFENSIVE_EXIT has reduced it
        ("path_doubt", "i8"),  # 1: another order of some bar's extremes would have left another state
        ("path_dependent", "i8"),  # exit fills made in doubt
        ("leg_waits", "i8"),  # 1: the next leg found too little volume; it is tried again at the next open
        # the entry order of the slot while it is not filled; `working` says whether there is one
        ("working", "i8"),  # bit mask of Working
        ("order_side", "i8"),
        ("order_id", "i8"),  # trade_id that its fills carry
        ("order_bar", "i8"),  # row of its signal
        ("order_lots", "i8"),  # still to be filled
        ("order_filled", "i8"),  # lots filled so far
        ("order_price", "f8"),  # limit; NaN: at market
        ("order_trigger", "f8"),  # price at which the path has traded through the limit
        ("order_travels", "i8"),  # 1: on its way to the exchange, which has it at order_at
        ("order_at", "i8"),  # ns
        ("order_rests", "i8"),  # 1: the limit order stands in the book
        ("order_takes", "i8"),  # 1: its limit was through when it was placed; what is left of it takes what is offered
        ("order_until", "i8"),  # ns; the order times out then
        ("order_notional", "f8"),  # reserved for what is still to be filled, quote
        ("order_margin", "f8"),
        # the hard stop until it is placed
        ("hard_due_price", "f8"),
        ("hard_at", "i8"),  # ns; when it reaches the exchange
        # an exit on its way to the exchange
        ("exit_lots", "i8"),
        ("exit_reason", "i8"),
        ("exit_is_leg", "i8"),
        ("exit_at", "i8"),  # ns; when it reaches the exchange
        ("sent", "i8"),  # orders that took time, of all the slot's positions
    ],
    align=True,
)
"""State of one position. It changes when a fill is confirmed, never when an order is merely accepted."""

account_dt = np.dtype(
    [
        ("wallet", "f8"),
        ("initial_balance", "f8"),
        ("next_trade_id", "i8"),
        ("closed_trades", "i8"),
        ("fees", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("liq_fees", "f8"),
        ("price_pnl", "f8"),
        ("transfers", "f8"),  # deposits less withdrawals during the run
        ("max_margin_use", "f8"),  # largest margin in use / equity, at boundaries and after entries
        ("min_margin_ratio", "f8"),  # cross: smallest margin balance / maintenance - 1 seen at a point; inf none
        ("share_bound", "i8"),  # times that the share of a bar's volume gave an order less than it asked for
        ("parts", "i8"),  # fills that it cut short
        ("delayed", "i8"),  # orders that took time
        ("delay_ns", "i8"),  # in all
        ("limits_placed", "i8"),  # limit entries
        ("limits_filled", "i8"),  # of those, at least in part
        ("limits_timed_out", "i8"),
        ("limits_cancelled", "i8"),  # by anything else, before any part was filled
        ("trade_ret", "f8", (WINDOW_MAX,)),  # ring: net return on entry notional of closed trades
        ("trade_roe", "f8", (WINDOW_MAX,)),  # ring: net return on initial margin
    ],
    align=True,
)

plan_dt = np.dtype(
    [
        ("side", "i8"),
        ("gate", "i8"),  # Gate.NONE: approved
        ("rule", "i8"),
        ("value", "f8"),
        ("limit", "f8"),
        ("confidence", "f8"),
        ("leverage", "f8"),
        ("raw_leverage", "f8"),  # before cap and floor
        ("leverage_factors", "f8", (7,)),  # ilf2: base vol pnl symbol margin divergence funding; kelly: w r f*
        ("lsf", "f8"),
        ("tp", "f8", (LEGS_MAX,)),  # ratios; inf none
        ("sl", "f8"),  # ratio; inf none
        ("hard", "f8"),  # ratio; inf none
        ("liq_distance", "f8"),
        ("fractions", "f8", (LEGS_MAX,)),
        ("n_legs", "i8"),
        ("trail_mode", "i8"),
        ("trail_multiple", "f8"),
        ("trail_distance", "f8"),
        ("limit_price", "f8"),  # of a limit entry; NaN: at market
        ("round_trip", "f8"),  # cost ratio used
        ("slippage", "f8"),  # ratio of one market fill of this notional
        ("base_tp", "f8"),  # what the levels were planned from; NaN where the policy has no such levels
        ("base_sl", "f8"),
        ("avg_pnl", "f8"),
        ("notional", "f8"),
        ("lots", "i8"),
        ("margin", "f8"),
        ("expected_profit", "f8"),
        ("expected_loss", "f8"),
        ("capped_by", "i8"),
        ("flags", "i8"),
        ("tag", "i8"),
        ("regime", "i8"),
        ("leader_regime", "i8"),
        ("mode", "i8"),
        ("size_factor", "f8"),  # product of the factors of regimes, symbol performance, mode and governor
        ("uncompared", "i8"),  # of the crowd when the correlation was asked for; 0: it was not
        ("unreduced_factor", "f8"),  # the same without what only closed trades end: poor symbol, probation, governor
        ("has_action", "i8"),  # 1: sizing model rl has chosen
        ("rl_state", "i8"),
        ("rl_action", "i8"),
    ],
    align=True,
)
"""What an entry would be: leverage, levels, legs, size; or why not."""

exit_decision_dt = np.dtype(
    [
        ("action", "i8"),
        ("reason", "i8"),
        ("leg", "i8"),  # 1-based; 0 none
        ("lots", "i8"),
        ("stop_price", "f8"),  # after the decision
        ("stop_reason", "i8"),
        ("trail_active", "i8"),
        ("peak", "f8"),
        ("breakeven_done", "i8"),
        ("regime_done", "i8"),
        ("seen_regime", "i8"),
        ("tp_price", "f8", (LEGS_MAX,)),
        ("plan_ts", "i8"),
        ("plan", plan_dt),  # room to plan again in
    ],
    align=True,
)

governor_dt = np.dtype(
    [
        ("started", "i8"),
        ("day", "i8"),  # UTC day, since 1970
        ("day_equity", "f8"),  # equity at its 00:00
        ("base_equity", "f8"),  # the session's base
        ("equity", "f8"),  # at the last evaluation
        ("losing_streak", "i8"),  # account-wide, reset at the UTC day
        ("streak_day", "i8"),  # the UTC day whose trades it counts
        ("paused_until", "i8"),  # ns; NEVER: not active
        ("paused_by", "f8"),  # share lost within the hour when it fired
        ("defensive_until", "i8"),
        ("defensive_by", "f8"),  # losing streak when it fired
        ("half_size", "i8"),  # 1: after DEFENSIVE_EXIT, until the next win
        ("halted", "i8"),  # 1: by the daily drawdown, until the next UTC day
        ("halted_by", "f8"),  # the drawdown when it fired
        ("no_new_trades", "i8"),  # 1: NO_NEW_TRADES has fired, by the drawdown or the health, and has not ended
        ("resume_at", "i8"),  # of a shutdown, ns; NEVER: not active
        ("shut_by", "f8"),  # share of the base lost when it fired
        ("shutdowns", "i8"),
        ("health", "i8"),
        ("blind", "i8"),  # 1: the program does not run, the exchange goes on
        ("history_first", "i8"),  # counts of rows ever written into the ring of evaluations
        ("history_end", "i8"),
        ("n_events", "i8"),  # waiting in `events`
    ],
    align=True,
)
"""State of the Safety Governor."""
evaluation_dt = np.dtype([("ts", "i8"), ("equity", "f8")], align=True)
"""One evaluation of the equity; a ring of them covers the last hour."""

symbol_stats_dt = np.dtype(
    [
        ("won", "i1", (RECENT_TRADES,)),  # ring of the last closed trades: 1 won
        ("closed", "i8"),
        ("wins", "i8"),  # all-time
        ("losing_streak", "i8"),
        ("is_poor", "i8"),  # 1: the win rate is below the minimum
        ("disabled_until", "i8"),  # ns; NEVER: not
        ("disabled_value", "f8"),  # what disabled it last: a win rate or a losing streak
        ("disabled_limit", "f8"),  # and the limit of that rule
        ("probation_left", "i8"),  # trades
        ("blacklisted_at", "i8"),  # ns; NEVER: not
    ],
    align=True,
)
"""How one symbol has been doing."""

agent_dt = np.dtype(
    [
        ("q", "f8", (RL_STATES, RL_ACTIONS)),
        ("visits", "i8", (RL_STATES, RL_ACTIONS)),
        ("learns", "i8"),  # 1: in training; 0: live and evaluation, the tables stay as they are
        ("decisions", "i8"),  # made so far; the number of the next one
        ("forgotten", "i8"),  # outcomes of other actions that were never known in time
    ],
    align=True,
)
"""The agent of sizing model rl."""

pupil_dt = np.dtype(
    [
        ("decisions", "i8"),
        # a ring of the last decisions: what every other action would have brought
        ("state", "i8", (LESSONS_MAX,)),
        ("exit_ts", "i8", (LESSONS_MAX, RL_ACTIONS)),  # known from then on; NEVER: nothing left to learn
        ("reward", "f8", (LESSONS_MAX, RL_ACTIONS)),
        # the action taken last
        ("own", "i8"),  # OwnTrade
        ("own_state", "i8"),
        ("own_action", "i8"),
        ("own_reward", "f8"),
        ("own_equity", "f8"),  # when it was taken
    ],
    align=True,
)
"""What waits to be learnt from one symbol's signals."""

crowd_dt = np.dtype(
    [
        ("positions", "i8"),
        ("longs", "i8"),
        ("shorts", "i8"),
        ("notional", "f8"),  # at mark
        ("initial_margin", "f8"),
        ("sector_notional", "f8"),  # of the candidate's sector
        ("correlation", "f8"),  # the largest with an open position of the same direction; -inf none
        ("uncompared", "i8"),  # open positions of the same direction about which the correlation says nothing
    ],
    align=True,
)
"""What is open beside a candidate."""

close_dt = np.dtype([("ts", "i8"), ("log_return", "f8")], align=True)
"""One closed bar of `regime.timeframe`: when it closed, and ln(close / previous close)."""

span_dt = np.dtype([("first", "i8"), ("known", "i8"), ("end", "i8")], align=True)
"""Where one symbol's rows lie among the closes: the first, one past the last that has closed, one past the last."""
outage_dt = np.dtype([("ts", "i8"), ("health", "i8"), ("blind", "i8")], align=True)
"""From `ts` on the program's health is this (Health), and blind = 1: it does not run. Injected into a backtest."""

transfer_dt = np.dtype(
    [
        ("due", "i8"),  # ns; asked for
        ("amount", "f8"),  # quote; a deposit is positive, a withdrawal negative
        ("ts", "i8"),  # ns; when it was decided: the first boundary at or after `due`
        ("moved", "f8"),  # the amount, or 0 where the exchange refused it
        ("withdrawable", "f8"),  # what could have been withdrawn then
        ("wallet", "f8"),  # after it
    ],
    align=True,
)
"""One deposit or withdrawal; the last four fields are written when it is due."""

# Journals: what a run writes down, in the order it happened. ---------------------------------------------------------

decision_row_dt = np.dtype(
    [
        ("ts", "i8"),
        ("symbol", "i4"),
        ("side", "i4"),
        ("trade_id", "i8"),
        ("action", "i4"),
        ("reason", "i4"),
        ("leg", "i4"),
        ("stop_reason", "i4"),
        ("lots", "i8"),
        ("price", "f8"),
        ("mark", "f8"),
        ("stop_price", "f8"),
        ("peak", "f8"),
    ],
    align=True,
)
fill_row_dt = np.dtype(
    [
        ("ts", "i8"),
        ("symbol", "i4"),
        ("side", "i4"),  # of the position
        ("trade_id", "i8"),
        ("kind", "i4"),
        ("reason", "i4"),
        ("lots", "i8"),
        ("qty", "f8"),
        ("ref_price", "f8"),  # on the path
        ("price", "f8"),  # with slippage
        ("fee", "f8"),
        ("slippage", "f8"),  # quote, already in the price
        ("liq_fee", "f8"),
        ("pnl", "f8"),  # price PnL realized by this fill, before fees
        ("stop_price", "f8"),  # internal stop in force
        ("wallet", "f8"),  # after the fill
        ("path_dependent", "i4"),  # an exit that another order of a bar's extremes could have changed
        ("bar", "i4"),  # row of the symbol's bars
        ("is_maker", "i8"),  # 1: of a limit order that stood in the book
    ],
    align=True,
)
denial_row_dt = np.dtype(
    [
        ("ts", "i8"),
        ("symbol", "i4"),
        ("side", "i4"),
        ("gate", "i4"),
        ("rule", "i4"),
        ("value", "f8"),
        ("limit", "f8"),
        ("confidence", "f8"),
        ("bar", "i8"),  # row of the signal
    ],
    align=True,
)
funding_row_dt = np.dtype(
    [
        ("ts", "i8"),
        ("symbol", "i4"),
        ("side", "i4"),
        ("trade_id", "i8"),
        ("rate", "f8"),
        ("mark", "f8"),
        ("amount", "f8"),  # received positive
    ],
    align=True,
)
doubt_row_dt = np.dtype(
    [
        ("ts", "i8"),  # its open
        ("length", "i8"),  # ns
        ("symbol", "i8"),
    ],
    align=True,
)
"""An ambiguous bar: the order of its extremes changes what exits have left of a position that was open in it."""

governor_row_dt = np.dtype(
    [
        ("ts", "i8"),
        ("decision", "i4"),  # GovernorDecision
        ("begins", "i4"),  # 1 fires, 0 ends
        ("value", "f8"),
        ("limit", "f8"),
        ("equity", "f8"),
    ],
    align=True,
)
trade_row_dt = np.dtype(
    [
        ("trade_id", "i8"),
        ("symbol", "i4"),
        ("side", "i4"),
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),  # volume-weighted
        ("qty", "f8"),
        ("lots", "i8"),
        ("leverage", "f8"),
        ("notional", "f8"),
        ("margin", "f8"),
        ("pnl", "f8"),  # net
        ("price_pnl", "f8"),
        ("ret", "f8"),
        ("roe", "f8"),
        ("fees", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("liq_fee", "f8"),
        ("exit_reason", "i4"),
        ("tag", "i4"),
        ("r_multiple", "f8"),  # NaN without a planned stop
        ("mae", "f8"),  # ratios of the entry price, <= 0 and >= 0
        ("mfe", "f8"),
        ("confidence", "f8"),
        ("planned_stop", "f8"),  # ratio; inf none
        ("init_stop_price", "f8"),
        ("hard_price", "f8"),
        ("backup_price", "f8"),  # limit of the backup stop; NaN none
        ("liq_price", "f8"),  # at entry
        ("tp_price", "f8", (TARGETS,)),  # of the first legs
        ("legs_hit", "i4"),
        ("flags", "i4"),
        ("capped_by", "i4"),
        ("path_dependent", "i4"),  # number of its exit fills that depend on the path
        ("min_liq_distance", "f8"),
        ("lsf", "f8"),
        ("stop_price", "f8"),  # internal stop when it ended
        ("peak", "f8"),
        ("regime", "i4"),  # at entry
        ("leader_regime", "i4"),
        ("mode", "i4"),
        ("rl_state", "i4"),  # -1: sizing model rl chose nothing
        ("rl_action", "i4"),
    ],
    align=True,
)
equity_row_dt = np.dtype(
    [
        ("ts", "i8"),
        ("equity", "f8"),
        ("wallet", "f8"),
        ("unrealized_pnl", "f8"),
        ("margin", "f8"),  # in use
        ("notional", "f8"),  # gross, at mark
        ("positions", "i8"),
    ],
    align=True,
)
"""Account at one boundary of the timeline (a bar's open or close), step 3 of the order of events."""
