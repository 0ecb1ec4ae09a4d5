"""Live trading: the exchange behind the session's broker protocol, and everything that keeps it safe.

Nothing here decides. `ids`, `outcomes`, `precision`, `reconcile`, `feed` and `health` are plain functions of their
arguments; `journal`, `lock`, `binance` and `guardian` touch the world.
"""
