# %% [markdown]
# # A first backtest from Python
#
# On the generated sample market. Its prices are SYNTHETIC: they show how the program works and say nothing about
# markets.

# %%
import qtsim as qt

bars = qt.load_bars("BTCUSDT", "1h", sample=True)
bars.tail()

# %% [markdown]
# The same run as `qtsim backtest -s ema_cross`: the whole exit engine, default profile.

# %%
result = qt.backtest("ema_cross", {"BTCUSDT": bars}, profile="exitbrain-v35")
print(result.summary())

# %% [markdown]
# ## Where the money went
#
# `pnl` is net. Slippage is in the prices already, so the result before costs is
# net + fees + slippage − funding received.

# %%
trades = result.trades
before_costs = trades["pnl"] + trades["fees"] + trades["slippage"] - trades["funding"]
print(f"{len(trades)} trades, before costs {before_costs.sum():,.2f}, net {trades['pnl'].sum():,.2f}")
print(trades.groupby("exit_reason")["pnl"].agg(["count", "sum", "mean"]).round(2))

# %% [markdown]
# ## What the engine did to one trade
#
# The longest trade, with every decision and every fill in its time.

# %%
if len(trades):
    longest = trades.loc[trades["bars_held"].idxmax()]
    print(longest[["side", "entry_time", "exit_time", "entry_price", "exit_price", "pnl", "r_multiple", "exit_reason"]])
    inside = result.decisions["time"].between(longest["entry_time"], longest["exit_time"])
    print(result.decisions[inside])
    inside = result.fills["time"].between(longest["entry_time"], longest["exit_time"])
    print(result.fills[inside])

# %% [markdown]
# ## Leverage moves the levels
#
# The stop widens while the first target narrows.

# %%
for leverage in (1, 3, 5, 10, 20, 30):
    levels = qt.levels(leverage=leverage, base_tp=0.02, base_sl=0.012)
    print(f"{leverage:3d}x  tp1 {levels.tp1:.3%}  stop {levels.sl:.3%}  tp1/stop {levels.tp1 / levels.sl:.2f}")

# %% [markdown]
# ## One change at a time
#
# Wider targets, everything else equal. One comparison is an anecdote: the number of trials belongs to the result.

# %%
for base_tp in (0.01, 0.02, 0.03):
    changed = qt.backtest("ema_cross", {"BTCUSDT": bars}, settings={"exit.base_tp": base_tp})
    print(f"base_tp {base_tp:.0%}: {changed.metrics['Total Return']:+.2%}, {len(changed.trades)} trades")
