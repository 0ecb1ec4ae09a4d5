"""Who fills the orders in a backtest: paths, fills, the compiled loop, the reference driver."""
