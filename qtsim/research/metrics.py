"""The measures of a trial by the names that people search for, and which way each is better."""

from __future__ import annotations

import difflib

from qtsim.errors import UsageError
from qtsim.sim.measure import MEASURES

_SPELLED = {
    "cagr": "CAGR",
    "var": "VaR",
    "cvar": "CVaR",
    "sqn": "SQN",
    "avg_r": "Avg R",
    "min_liq_distance": "Min Distance to Liquidation",
}
NAMES: dict[str, str] = {field: _SPELLED.get(field, field.replace("_", " ").title()) for field in MEASURES}
"""Field of a row → name of the metric, that of a run where a run has it."""
FIELDS: dict[str, str] = {name: field for field, name in NAMES.items()}
LESS_IS_BETTER = frozenset(
    {"Volatility", "Max Drawdown Duration", "Ulcer", "Fees", "Slippage", "Liquidations", "Max Margin Use", "Turnover"}
)
"""Of these a search takes the smallest; Max Drawdown and the tails are below 0 and so not among them."""
NO_AIM = frozenset({"Days", "Denials", "Shutdowns", "Skew", "Kurtosis", "Long Trades", "Short Trades", "Trades"})
"""What a search cannot aim at."""
AS_PERCENT = frozenset(
    {
        "Total Return", "CAGR", "Max Drawdown", "Volatility", "VaR", "CVaR", "Ulcer", "Win Rate", "Best Trade",
        "Worst Trade", "Avg Trade", "Exposure Time", "Max Margin Use", "Min Distance to Liquidation",
    }
)  # fmt: skip
"""Ratios that are shown in per cent."""


def read_metric(text: str) -> str:
    """The name of a metric, however it is spelled. Errors: UsageError names the nearest."""
    bare = {_bare(name): name for name in FIELDS}
    found = bare.get(_bare(text))
    if found is None:
        near = difflib.get_close_matches(_bare(text), list(bare), n=1, cutoff=0.5)
        hint = f"did you mean {bare[near[0]]}?" if near else f"there are {', '.join(FIELDS)}"
        raise UsageError(f"unknown metric {text!r}: {hint}")
    return found


def read_aim(text: str) -> str:
    """The name of a metric that a search can aim at. Errors: UsageError."""
    name = read_metric(text)
    if name in NO_AIM:
        raise UsageError(
            f"{name} is neither better when larger nor when smaller; aim at Sharpe, Calmar or Total Return"
        )
    return name


def sign_of(name: str) -> float:
    """1 where larger is better, -1 where smaller is."""
    return -1.0 if name in LESS_IS_BETTER else 1.0


def show_metric(name: str, value: float) -> str:
    """A value as people read it: -14.2 %, 1.05, n/a."""
    if value != value:
        return "n/a"
    if name in AS_PERCENT:
        return f"{100.0 * value:.2f} %"
    if name == "Avg Hold":
        return f"{value:,.2f} h"
    return f"{value:,.0f}" if name in ("Trades", "Liquidations", "Days", "Denials") else f"{value:,.2f}"


def _bare(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
