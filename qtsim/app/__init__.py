"""Use cases and composition: backtest, and the one place where drivers are chosen."""
