"""What the engine did to one trade, in words and in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtsim.report.words import (
    EXIT_WORDS,
    FLAG_WORDS,
    MOVE_WORDS,
    money_text,
    percent_text,
    price_text,
    qty_text,
)

Event = tuple[int, str, str]
"""(time ns, kind: entry, plan, leg, move, funding, exit or result, text)"""


def trade_story(
    trade: Any, fills: Sequence[Any], decisions: Sequence[Any], funding: Sequence[Any], quote: str, decimals: int
) -> list[Event]:
    """The events of one closed trade. Rows are named tuples of the result's frames, `ts` added, in order of time.

    A distance with + is in the trade's favour, above the entry of a long and below that of a short. `decimals`: of the
    symbol's tick.
    """
    side = 1 if trade.side == "long" else -1
    events: list[Event] = []
    left = trade.qty
    is_first = True
    for fill in fills:
        if fill.kind == "entry" and not is_first:
            events.append((fill.ts, "entry", _part_text(trade, fill, decimals)))
            continue
        if fill.kind == "entry":
            is_first = False
            events.append((fill.ts, "entry", _entry_text(trade, fill, quote, decimals)))
            events.append((fill.ts, "plan", _plan_text(trade, side, quote, decimals)))
            continue
        left -= fill.qty
        closes_all = left <= 1e-9 * trade.qty
        kind = "exit" if closes_all else "leg"
        tell = _exit_text if closes_all else _leg_text
        text = tell(trade, fill, side, quote, decimals)
        events.append((fill.ts, kind, text))
    hit_with_fill = {fill.reason for fill in fills}
    for decision in decisions:
        if decision.action == "MOVE_SL":
            events.append((decision.ts, "move", _move_text(trade, decision, side, decimals)))
        elif decision.action == "PARTIAL_CLOSE" and decision.reason not in hit_with_fill:
            lacks = "the bar had no volume left for it" if decision.lots > 0 else "its share is less than one lot"
            text = f"{decision.reason.upper()} reached, but {lacks}: it comes with the next leg."
            events.append((decision.ts, "leg", text))
    if funding:
        total = sum(payment.amount for payment in funding)
        payments = "one payment" if len(funding) == 1 else f"{len(funding)} payments"
        word = "received" if total > 0.0 else "paid"
        text = f"Funding {word}: {money_text(total)} {quote} in {payments} while the position was open."
        events.append((funding[-1].ts, "funding", text))
    order = {"entry": 0, "plan": 1, "leg": 2, "move": 3, "funding": 4, "exit": 5}
    events.sort(key=lambda event: (event[0], order[event[1]]))
    events.append((trade.exit_ts, "result", _result_text(trade, quote)))
    return events


def _entry_text(trade: Any, fill: Any, quote: str, decimals: int) -> str:
    verb = "Bought" if trade.side == "long" else "Sold short"
    signal = f"Signal{f' “{trade.tag}”' if trade.tag else ''}, confidence {trade.confidence:.2f}. "
    return (
        f"{signal}{verb} {qty_text(fill.qty)} at {price_text(fill.price, decimals)} "
        f"(price {price_text(fill.ref_price, decimals)} and slippage {fill.slippage:,.2f} {quote}), "
        f"fee {fill.fee:,.2f} {quote}. "
        f"The position is worth {trade.notional:,.0f} {quote} at {trade.leverage:g}x, "
        f"margin {trade.margin:,.0f} {quote}; its size was set by {_with_article(trade.capped_by)}."
    )


def _part_text(trade: Any, fill: Any, decimals: int) -> str:
    """A further part of an entry that the market could not fill at once."""
    verb = "Bought" if trade.side == "long" else "Sold short"
    entry = price_text(trade.entry_price, decimals)
    return f"{verb} {qty_text(fill.qty)} more at {price_text(fill.price, decimals)}; all parts cost {entry} on average."


def _plan_text(trade: Any, side: int, quote: str, decimals: int) -> str:
    parts = []
    if math.isfinite(trade.init_stop_price):
        risk = trade.planned_stop * trade.notional
        away = _favour_text(trade, side, trade.init_stop_price)
        stop = price_text(trade.init_stop_price, decimals)
        parts.append(f"stop {stop} ({away}; {risk:,.2f} {quote} at risk are 1 R)")
    if math.isfinite(trade.hard_price):
        away = _favour_text(trade, side, trade.hard_price)
        parts.append(f"hard stop on the exchange {price_text(trade.hard_price, decimals)} ({away})")
    if math.isfinite(trade.liq_price) and trade.liq_price > 0.0:
        away = _favour_text(trade, side, trade.liq_price, 1)
        parts.append(f"liquidation {price_text(trade.liq_price, decimals)} ({away})")
    targets = [price for price in (trade.tp1_price, trade.tp2_price, trade.tp3_price) if math.isfinite(price)]
    if targets:
        texts = [f"{price_text(price, decimals)} ({_favour_text(trade, side, price)})" for price in targets]
        parts.append(f"target{'s' if len(texts) > 1 else ''} {', '.join(texts)}")
    text = f"The plan: {'; '.join(parts)}." if parts else "The plan: no stop and no target."
    notes = [FLAG_WORDS.get(flag, flag) for flag in trade.flags.split(", ") if flag]
    return f"{text} Noted: {', '.join(notes)}." if notes else text


def _leg_text(trade: Any, fill: Any, side: int, quote: str, decimals: int) -> str:
    share = 100.0 * fill.qty / trade.qty
    reached = f"{fill.reason.upper()} reached: " if fill.reason.startswith("tp") else f"{fill.reason}: "
    text = (
        f"{reached}{_closing_verb(side)} {qty_text(fill.qty)} ({share:.0f} % of the position) at "
        f"{price_text(fill.price, decimals)}, {money_text(fill.pnl)} {quote} before fees."
    )
    if math.isfinite(fill.stop_price):
        away = _favour_text(trade, side, fill.stop_price)
        text += f" The stop stood at {price_text(fill.stop_price, decimals)}, {away} from entry."
    return text


def _move_text(trade: Any, decision: Any, side: int, decimals: int) -> str:
    words = MOVE_WORDS.get(decision.reason, f"The stop moves ({decision.reason})")
    away = _favour_text(trade, side, decision.stop_price)
    price, stop = (price_text(at, decimals) for at in (decision.price, decision.stop_price))
    return f"{words}. Price {price}, stop {stop}, {away} from entry."


def _exit_text(trade: Any, fill: Any, side: int, quote: str, decimals: int) -> str:
    words = EXIT_WORDS.get(fill.reason, f"Closed ({fill.reason})")
    part = "all" if math.isclose(fill.qty, trade.qty) else "the last"
    text = (
        f"{words}. {_closing_verb(side).capitalize()} {part} {qty_text(fill.qty)} at "
        f"{price_text(fill.price, decimals)} (price {price_text(fill.ref_price, decimals)}), "
        f"{money_text(fill.pnl)} {quote} before fees."
    )
    if fill.liquidation_fee > 0.0:
        text += f" The liquidation fee was {fill.liquidation_fee:,.2f} {quote}."
    if fill.path_dependent:
        text += " Had a bar's high and low come in the other order, this could have ended differently."
    return text


def _result_text(trade: Any, quote: str) -> str:
    """Figures add up as printed: price before costs is what remains of the net."""
    net, fees, slippage, funding = (
        round(100.0 * amount) for amount in (trade.pnl, -trade.fees, -trade.slippage, trade.funding)
    )
    before = net - fees - slippage - funding
    terms = ", ".join(
        f"{name} {amount / 100.0:+,.2f}"
        for name, amount in (("price", before), ("fees", fees), ("slippage", slippage), ("funding", funding))
    )
    r_text = f", {trade.r_multiple:+.2f} R" if math.isfinite(trade.r_multiple) else ""
    return (
        f"Result {net / 100.0:+,.2f} {quote}: {terms}. That is {percent_text(trade.ret)} of the position's value, "
        f"{percent_text(trade.roe)} of its margin{r_text}. On the way it was at best {percent_text(trade.mfe)} and at "
        f"worst {percent_text(trade.mae)}."
    )


def _favour_text(trade: Any, side: int, price: float, digits: int = 2) -> str:
    """How far a price is from entry, + in the trade's favour."""
    return percent_text(side * (price / trade.entry_price - 1.0), digits)


def _closing_verb(side: int) -> str:
    return "sold" if side > 0 else "bought back"


def _with_article(bound: str) -> str:
    return bound if bound.startswith(("the ", "limits.")) else f"the {bound}"
