"""The words of the report: what a figure means, what an exit reason says, what acted on a plan."""

from __future__ import annotations

import math

METRIC_GROUPS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Return and risk, from equity": (
        ("Total Return", "percent", "what the account gained or lost, after all costs"),
        ("CAGR", "percent", "the same as a steady rate per 365 days"),
        ("Buy and Hold", "percent", "equal shares of the capital held from first open to last close, no costs"),
        ("Sharpe", "number", "mean daily return over its standard deviation, annualised with 365 days"),
        ("Sortino", "number", "the same over the negative daily returns only"),
        ("Calmar", "number", "CAGR over maximum drawdown"),
        ("Omega", "number", "sum of daily gains over sum of daily losses"),
        ("Volatility", "percent", "standard deviation of daily returns, annualised"),
        ("Max Drawdown", "percent", "deepest fall from a high, at any mark"),
        ("Max Drawdown Duration", "days", "longest time below a high"),
        ("Ulcer", "percent", "root mean square of the daily drawdowns"),
        ("VaR", "percent", "5 % of the days were worse than this"),
        ("CVaR", "percent", "mean of the worst 5 % of days"),
    ),
    "Trades": (
        ("Trades", "count", "closed round trips; the legs of one position are one trade"),
        ("Win Rate", "percent", "share of trades with a profit after costs"),
        ("Profit Factor", "number", "sum of wins over sum of losses"),
        ("Payoff", "number", "mean win over mean loss"),
        ("Expectancy", "money", "mean result of a trade after costs"),
        ("SQN", "number", "root of the number of trades x mean result / its standard deviation"),
        ("Avg R", "number", "mean result in units of the planned risk"),
        ("Avg Cost R", "number", "mean cost of a trade in units of the planned risk"),
        ("Avg Trade", "percent", "mean return on the position's value"),
        ("Best Trade", "percent", "highest return on the position's value"),
        ("Worst Trade", "percent", "lowest return on the position's value"),
        ("Avg Hold", "hours", "mean time from entry to the last exit"),
        ("Long Trades", "count", ""),
        ("Short Trades", "count", ""),
        ("Max Consecutive Wins", "count", ""),
        ("Max Consecutive Losses", "count", ""),
    ),
    "Costs and limits": (
        ("Net Profit", "money", "final equity less starting wallet, deposits and withdrawals"),
        ("Final Equity", "money", "wallet and open positions at mark"),
        ("Transfers", "money", "deposits less withdrawals during the run; they are in no return"),
        ("Fees", "money", "paid to the exchange, liquidation fees included"),
        ("Slippage", "money", "lost against the reference price; contained in the prices"),
        ("Funding", "money", "received positive, paid negative"),
        ("Liquidations", "count", "positions taken over by the exchange"),
        ("Turnover", "number", "traded value over the mean equity over time, whole period"),
        ("Exposure Time", "percent", "share of the period with a position open"),
        ("Max Margin Use", "percent", "highest share of equity bound as margin"),
        ("Min Distance to Liquidation", "percent", "nearest that the mark price came to a liquidation price"),
        ("Min Margin Ratio", "percent", "cross margin: least that the balance exceeded all maintenance margins by"),
    ),
    "From closed trades only": (
        ("Closed Return", "percent", "a trade counts when it has ended; open losses do not show in these"),
        ("Closed Sharpe", "number", ""),
        ("Closed Sortino", "number", ""),
        ("Closed Calmar", "number", ""),
        ("Closed Max Drawdown", "percent", ""),
    ),
}
"""Heading -> (metric, kind of figure, meaning)."""

EXIT_WORDS = {
    "liquidation": "The margin was used up at the mark price: the exchange took the position over",
    "hard_stop": "The mark price reached the hard stop on the exchange",
    "backup_stop": "The backup stop on the exchange acted",
    "stop": "The price reached the internal stop, still where it was planned",
    "ratchet": "The price came back to the stop that the ratchet had moved after a target",
    "breakeven": "The price came back to the stop that had been moved to entry",
    "trail": "The price came back to the trailing stop",
    "regime": "The price reached the stop that a change of regime had tightened",
    "tp1": "The first target closed all",
    "tp2": "The second target closed all",
    "tp3": "The third target closed all that was left",
    "tp4": "The fourth target closed all that was left",
    "tp5": "The fifth target closed all that was left",
    "replan": "The price reached the stop that the plan's last renewal had set",
    "loss_guard": "The loss guard closed the position",
    "margin_emergency": "The margin emergency rule closed the position",
    "stale": "The position had gone stale",
    "crash": "The crash guard closed the position",
    "signal": "The strategy asked for the exit",
    "reverse": "An opposite signal reversed the position",
    "governor": "The governor closed the position",
    "end_of_data": "The data ended",
    "external": "It was closed from outside the program: by hand, or by the exchange",
}
MOVE_WORDS = {
    "ratchet": "The target that was hit lets the stop move up behind the price (ratchet)",
    "breakeven": "The profit was large enough to move the stop to entry",
    "trail": "The trail starts: from here the stop follows the best price",
    "regime": "The market turned choppy: the stop was tightened",
    "governor": "The governor tightened the stop",
    "replan": "A bar closed: targets and stop were planned again on what it showed",
}
FLAG_WORDS = {
    "sl_min": "the stop was lifted to its minimum distance",
    "sl_max": "the stop was cut to its maximum distance",
    "tp_min": "a target was pushed out to the minimum distance",
    "sl_hard_share": "the stop was tightened to stand in front of the hard stop",
    "hard_liquidation_share": "the hard stop was tightened to stand in front of liquidation",
    "sl_margin_loss": "the stop was tightened to the allowed loss of margin",
    "legs_pushed": "targets that fell together were pushed apart",
    "kelly_negative": "the recent record says not to bet: leverage 1x",
    "leverage_capped": "leverage was cut to the limit per trade",
    "leverage_clamped": "leverage was clamped to its model's range",
    "signal_tp": "the signal gave the target",
    "signal_sl": "the signal gave the stop",
    "signal_trail": "the signal gave the trail",
    "bracket_tightened": "the exchange's bracket for this size tightened a stop",
    "size_minimum": "the size was lifted to the exchange's minimum, so that a trade can end the reduced size",
    "default_confidence": "the strategy stated no confidence, the default was used",
}


def price_text(price: float, decimals: int | None = None) -> str:
    """A price on its symbol's tick; without decimals six significant digits: 41130.02 -> 41,130.0."""
    if not math.isfinite(price):
        return "none"
    return f"{price:,.{significant_decimals(price) if decimals is None else decimals}f}"


def significant_decimals(price: float) -> int:
    """Digits after the point that show six significant ones."""
    magnitude = math.floor(math.log10(abs(price))) if price else 0
    return min(max(5 - magnitude, 0), 10)


def money_text(amount: float) -> str:
    """+40.03; small amounts with four digits."""
    return f"{amount:+,.{2 if abs(amount) >= 1.0 or amount == 0.0 else 4}f}"


def percent_text(ratio: float, decimals: int = 2) -> str:
    """0.0135 -> +1.35 %"""
    return f"{100.0 * ratio:+,.{decimals}f} %"


def qty_text(qty: float) -> str:
    """Up to eight digits after the point, no trailing zeros."""
    text = f"{qty:,.8f}".rstrip("0").rstrip(".")
    return text or "0"


def figure_text(value: float, kind: str, quote: str) -> str:
    """A metric as it is read: kind is percent, number, money, count, days or hours."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if kind == "percent":
        return f"{100.0 * value:,.2f} %"
    if kind == "money":
        return f"{value:,.2f} {quote}"
    if kind == "count":
        return f"{value:,.0f}"
    if kind == "days":
        return f"{value:,.1f} days"
    if kind == "hours":
        return f"{60.0 * value:,.0f} min" if value < 1.0 else f"{value:,.1f} h"
    return f"{value:,.2f}"
