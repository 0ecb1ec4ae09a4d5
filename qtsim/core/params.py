"""Parameter records: the settings that kernels read, one record per section, joined in `params_dt`.

A field's name is the setting's path below the record's section, joined by `_`: `exit.levels.sl.max` is
`params["levels"]["sl_max"]`. `SECTIONS` says which section each record stands for; a test holds names equal.
Choices are the integers of the IntEnum of the same name in `enums.py`; switches are 0 or 1.
"""

from __future__ import annotations

import numpy as np

HARVEST_TIERS_MAX = 8
LEGS_MAX = 5
"""Most legs of a position; exit_brain has three."""
TARGETS = 3
"""Targets of the level engine."""
LADDER_MAX = 8
"""Most rungs of exit.profit_lock.ladder."""
WINDOW_MAX = 256
"""Longest look-back over closed trades: leverage.kelly.window, exit.levels.feedback.trades."""
RL_STATES = 108
RL_ACTIONS = 48
LESSONS_MAX = 64
"""Decisions of a symbol whose outcomes under every action may wait to be learnt; the oldest are forgotten."""
RECENT_TRADES = 20
"""Closed trades of a symbol that its win rate looks at."""

account_params_dt = np.dtype([("mode_margin", "i8"), ("mode_position", "i8")], align=True)
leverage_params_dt = np.dtype(
    [
        ("model", "i8"),
        ("fixed", "f8"),
        ("simple_base", "f8"),
        ("simple_min", "f8"),
        ("simple_max", "f8"),
        ("ilf2_min", "f8"),
        ("ilf2_max", "f8"),
        ("ilf2_safety", "f8"),
        ("kelly_multiplier", "f8"),
        ("kelly_max", "f8"),
        ("kelly_prior_win_rate", "f8"),
        ("kelly_prior_reward_risk", "f8"),
        ("kelly_prior_trades", "i8"),
        ("kelly_window", "i8"),
    ],
    align=True,
)
exit_params_dt = np.dtype(
    [
        ("policy", "i8"),
        ("base_tp", "f8"),
        ("base_sl", "f8"),
        ("on_opposite_signal", "i8"),
        ("monitoring", "i8"),
        ("check_interval_s", "f8"),
        ("replan", "i8"),
        ("trigger_price", "i8"),
        ("bracket_tp", "f8"),
        ("bracket_sl", "f8"),
        ("legacy_tp", "f8"),
        ("legacy_sl", "f8"),
        ("legacy_breakeven", "f8"),
        ("legacy_half_close", "f8"),
        ("legacy_trail_activate", "f8"),
        ("legacy_stale_hours", "f8"),
        ("legacy_stale_loss", "f8"),
        ("legacy_hard", "f8"),
        ("legacy_levels", "i8"),
        ("profit_lock_breakeven", "f8"),
        ("profit_lock_legs", "f8", (LEGS_MAX, 2)),  # rows: ROE, share of what remains; unused rows at inf
        ("profit_lock_ladder", "f8", (LADDER_MAX, 2)),  # rows: peak ROE from which, share locked; unused rows at inf
    ],
    align=True,
)
levels_params_dt = np.dtype(
    [
        ("adaptive", "i8"),
        ("lsf_sensitivity", "f8"),
        ("tp_progression", "f8", (3,)),
        ("tp_lsf_weights", "f8", (3,)),
        ("tp_funding_scale", "f8"),
        ("tp_volatility_scale", "f8"),
        ("tp_min", "f8"),
        ("sl_model", "i8"),
        ("sl_leverage_factor", "f8"),
        ("sl_divergence_scale", "f8"),
        ("sl_volatility_scale", "f8"),
        ("sl_min", "f8"),
        ("sl_max", "f8"),
        ("sl_safety_max_liquidation_share", "f8"),
        ("sl_safety_max_hard_share", "f8"),
        ("sl_safety_max_margin_loss", "f8"),
        ("sl_safety_min_distance", "f8"),
        ("feedback_trades", "i8"),
        ("feedback_loss", "f8"),
        ("feedback_gain", "f8"),
        ("feedback_gain_above", "f8"),
        ("feedback_low_confidence", "f8"),
        ("feedback_low_confidence_below", "f8"),
        ("feedback_min", "f8"),
        ("feedback_max", "f8"),
    ],
    align=True,
)
harvest_params_dt = np.dtype(
    [
        ("scheme_by", "i8"),
        (
            "scheme_tiers",
            "f8",
            (HARVEST_TIERS_MAX, 4),
        ),  # rows: highest leverage, three fractions; unused rows repeat the last
        ("scheme_static", "f8", (3,)),
        ("basis", "i8"),
    ],
    align=True,
)
stops_params_dt = np.dtype(
    [
        ("ratchet_preset", "i8"),
        ("ratchet_fee_buffer", "i8"),
        ("breakeven_activate", "f8"),
        ("trail_mode", "i8"),
        ("trail_activate", "f8"),
        ("trail_style", "i8"),
        ("trail_aggressive", "f8"),
        ("trail_balanced", "f8"),
        ("trail_loose", "f8"),
        ("trail_distance", "f8"),
        ("trail_suspend_volatility", "f8"),
        ("trail_choppy", "f8"),
        ("hard_distance", "f8"),
        ("hard_working_type", "i8"),
        ("backup_enabled", "i8"),
        ("backup_limit_offset_bps", "f8"),
    ],
    align=True,
)
guard_params_dt = np.dtype(
    [
        ("loss_max", "f8"),
        ("loss_basis", "i8"),
        ("loss_emergency_margin", "f8"),
        ("stale_hours", "f8"),
        ("stale_stop_share", "f8"),
        ("stale_crash_volatility", "f8"),
        ("stale_crash_leader_24h", "f8"),
    ],
    align=True,
)
sizing_params_dt = np.dtype(
    [
        ("model", "i8"),
        ("math_risk", "f8"),
        ("math_stop_atr", "f8"),
        ("math_reward_risk", "f8"),
        ("math_max_margin", "f8"),
        ("notional", "f8"),
        ("fixed_risk", "f8"),
        ("fraction", "f8"),
        ("fixed_qty", "f8"),
        ("rl_alpha", "f8"),
        ("rl_gamma", "f8"),
        ("rl_epsilon", "f8"),
        ("rl_min_visits", "i8"),
    ],
    align=True,
)
limits_params_dt = np.dtype(
    [
        ("positions_total", "f8"),
        ("positions_long", "f8"),
        ("positions_short", "f8"),
        ("per_trade_leverage", "f8"),
        ("per_trade_margin", "f8"),
        ("per_trade_notional", "f8"),
        ("exposure_max", "f8"),
        ("exposure_basis", "i8"),
        ("exposure_gross", "f8"),
        ("balance_min", "f8"),
        ("balance_buffer", "f8"),
        ("sector_share", "f8"),
        ("correlation_max", "f8"),
        ("correlation_window_days", "f8"),
    ],
    align=True,
)
entry_params_dt = np.dtype(
    [
        ("confidence_default", "f8"),
        ("confidence_min", "f8"),
        ("cooldown_bars", "i8"),
        ("order_type", "i8"),
        ("order_limit_offset_bps", "f8"),
        ("order_timeout_bars", "i8"),
    ],
    align=True,
)
regime_params_dt = np.dtype(
    [
        ("effects_adjust_levels", "i8"),
        ("effects_sideways_size", "f8"),
        ("effects_sideways_confidence", "f8"),
        ("effects_uptrend_size", "f8"),
        ("effects_uptrend_short_confidence", "f8"),
        ("effects_choppy_size", "f8"),
    ],
    align=True,
)
gates_params_dt = np.dtype([("enabled", "i8")], align=True)
orchestrator_params_dt = np.dtype(
    [
        ("min_confidence_trending", "f8"),
        ("min_confidence_breakout", "f8"),
        ("min_confidence_ranging", "f8"),
        ("min_confidence_choppy", "f8"),
        ("min_confidence_max", "f8"),
        ("defensive_daily_drawdown", "f8"),
        ("defensive_losing_streak", "f8"),
        ("defensive_min_confidence", "f8"),
        ("defensive_size", "f8"),
        ("critical_daily_drawdown", "f8"),
        ("critical_min_confidence", "f8"),
        ("critical_size", "f8"),
        ("symbol_min_trades", "f8"),
        ("symbol_min_win_rate", "f8"),
        ("symbol_probation_trades", "f8"),
        ("symbol_disable_losses", "f8"),
        ("symbol_disable_hours", "f8"),
        ("symbol_blacklist_losses", "f8"),
    ],
    align=True,
)
governor_params_dt = np.dtype(
    [
        ("daily_drawdown", "f8"),
        ("hourly_loss", "f8"),
        ("hourly_pause_hours", "f8"),
        ("streak_losses", "f8"),
        ("streak_stop", "f8"),
        ("streak_reduce", "f8"),
        ("streak_size_after", "f8"),
        ("streak_hours", "f8"),
        ("shutdown_drawdown", "f8"),
        ("shutdown_operator_hours", "f8"),
    ],
    align=True,
)
costs_params_dt = np.dtype(
    [
        ("fees_maker", "f8"),
        ("fees_taker", "f8"),
        ("slippage_model", "i8"),
        ("slippage_bps", "f8"),
        ("slippage_large_notional", "f8"),
        ("slippage_large_bps", "f8"),
        ("slippage_volatile_bps", "f8"),
        ("slippage_impact", "f8"),
        ("funding_inclusive", "i8"),
    ],
    align=True,
)
sim_params_dt = np.dtype(
    [
        ("path", "i8"),
        ("fill_at", "i8"),
        ("end_of_data", "i8"),
        ("latency_ms_decision", "f8"),
        ("latency_ms_order", "f8"),
        ("latency_ms_jitter", "f8"),
        ("volume_max_share", "f8"),
        ("volume_unfilled", "i8"),
    ],
    align=True,
)

run_params_dt = np.dtype([("seed", "i8")], align=True)

SECTIONS: dict[str, str] = {
    "run": "run",
    "account": "account",
    "leverage": "leverage",
    "exit": "exit",
    "levels": "exit.levels",
    "harvest": "exit.harvest",
    "stops": "exit.stops",
    "guard": "exit.guard",
    "sizing": "sizing",
    "limits": "limits",
    "entry": "entry",
    "costs": "costs",
    "sim": "sim",
    "regime": "regime",
    "gates": "gates",
    "orchestrator": "orchestrator",
    "governor": "governor",
}
"""Record in `params_dt` → section of the settings."""

params_dt = np.dtype(
    [
        ("run", run_params_dt),
        ("account", account_params_dt),
        ("leverage", leverage_params_dt),
        ("exit", exit_params_dt),
        ("levels", levels_params_dt),
        ("harvest", harvest_params_dt),
        ("stops", stops_params_dt),
        ("guard", guard_params_dt),
        ("sizing", sizing_params_dt),
        ("limits", limits_params_dt),
        ("entry", entry_params_dt),
        ("costs", costs_params_dt),
        ("sim", sim_params_dt),
        ("regime", regime_params_dt),
        ("gates", gates_params_dt),
        ("orchestrator", orchestrator_params_dt),
        ("governor", governor_params_dt),
    ],
    align=True,
)
