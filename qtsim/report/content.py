"""What the page shows, as plain values: everything is computed here, the page only draws.

Times are seconds since 1970 UTC. What the page prints is rounded here, once, so that picture, table and story agree:
prices of trades to the symbol's tick, results to cents, ratios to hundredths of a per cent. Candles and curves have
eight significant digits. Sizes are bounded: equity and overview candles are thinned, and candles and stories are kept
for at most `MAX_INSPECTED` trades, the largest results first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from qtsim.data.instruments import load_instruments
from qtsim.report.ablation import ablation_content
from qtsim.report.breakdown import cost_table, margin_curve, regime_table, symbol_table
from qtsim.report.flow import flow_picture
from qtsim.report.stop_path import TradeBars, TrailRule, stop_path
from qtsim.report.story import trade_story
from qtsim.report.thinning import SECOND_NS, compact, printed, printed_one, short, thin
from qtsim.report.timeline import governor_timeline, shutdown_banners
from qtsim.report.words import METRIC_GROUPS, figure_text, price_text, significant_decimals
from qtsim.results.ambiguity import listed_text, path_text
from qtsim.results.reach import debt_headline, moment, reach_of
from qtsim.results.result import Result
from qtsim.results.summary import (
    assumptions_text,
    exits_text,
    governor_text,
    heading,
    money,
    optimism_gains,
    optimism_text,
    path_share,
    percent,
    sign_depends_on_path,
    size_text,
    slippage_text,
    transfer_word,
    verdict_text,
    verified_text,
)
from qtsim.results.tables import times_ns

SUMMED = 8
"""Digits after the point of figures that the page adds up or averages."""
MAX_OVERVIEW = 1_500
"""Candles of one symbol in the overview."""
MAX_INSPECTED = 2_000
MAX_LISTED = 20_000
MAX_CANDLES = 120_000
"""Candles around trades, all symbols together."""
BEFORE, AFTER = 24, 16
"""Candles shown before a trade's entry and after its exit."""
NICE_NS = [int(minutes * 60 * SECOND_NS) for minutes in (
    1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 2880, 4320, 10080, 20160, 43200,
)]  # fmt: skip
NICE_NAMES = (
    "1m", "2m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d", "2d", "3d", "1w",
    "2w", "30d",
)  # fmt: skip


def report_content(result: Result) -> dict[str, Any]:
    """Every value on the page, JSON-able."""
    inspected = inspected_trades(result)
    return {
        "head": _head(result),
        "tiles": _tiles(result),
        "verdict": {"text": verdict_text(result), "tone": _verdict_tone(result)},
        "money": _money(result),
        "optimism": _optimism(result),
        "flow": flow_picture(result),
        "governor": governor_timeline(result),
        "symbols": symbol_table(result),
        "costs": cost_table(result),
        "regimes": regime_table(result),
        "ablation": ablation_content(result),
        "margin": margin_curve(result),
        "size": size_text(result),
        "exits": {"legs": legs_text(result), "rows": _exit_rows(result)},
        "notes": _notes(result),
        "equity": _equity(result),
        "transfers": _transfers(result),
        "hold": _hold(result),
        "months": _months(result),
        "metrics": _metric_groups(result),
        "assumptions": _assumptions(result),
        "settings": _settings(result),
        "data": _data_passport(result),
        "screen": str(result.summary()),
        "overview": {symbol: overview_candles(result, symbol) for symbol in result.bars},
        "candles": _candles(result, inspected),
        "whole": is_whole(result),
        "price_decimals": {symbol: price_decimals(result, symbol) for symbol in result.info.symbols},
        "trades": _trades(result),
        "inspect": _inspections(result, inspected),
        "open": _open_positions(result),
    }


def inspected_trades(result: Result) -> list[int]:
    """Rows of the trades that get candles and a story: all, or those with the largest results, as far as there is room
    for their candles."""
    trades = result.trades
    rows = np.argsort(-np.abs(trades["pnl"].to_numpy()), kind="stable")[:MAX_INSPECTED]
    tf_ns = result.info.timeframe_ns
    spans = (times_ns(trades["exit_time"]) - times_ns(trades["entry_time"])) // tf_ns + 1 + BEFORE + AFTER
    room = rows if is_whole(result) else rows[np.cumsum(spans[rows]) <= MAX_CANDLES]
    return sorted(int(row) for row in room if str(trades["symbol"].iloc[row]) in result.bars)


def is_whole(result: Result) -> bool:
    """Whether the page carries every bar, or only those around the inspected trades."""
    return sum(map(len, result.bars.values())) <= MAX_CANDLES


def overview_candles(result: Result, symbol: str) -> dict[str, Any]:
    """A symbol's candles, in the finest usual timeframe of which at most `MAX_OVERVIEW` cover the run."""
    frame = result.bars[symbol]
    step_ns, name = overview_timeframe(result.info.timeframe_ns, result.info.timeframe, frame)
    opens = times_ns(pd.DatetimeIndex(frame.index))
    buckets = opens // step_ns
    starts = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1 if buckets.size else 0))
    if not starts.size:
        return {"timeframe": name, "seconds": step_ns // SECOND_NS, "t": [], "o": [], "h": [], "l": [], "c": []}
    ends = np.append(starts[1:], opens.size) - 1
    return {
        "timeframe": name,
        "seconds": step_ns // SECOND_NS,
        "t": (buckets[starts] * step_ns // SECOND_NS).tolist(),
        "o": compact(frame["open"].to_numpy()[starts]),
        "h": compact(np.maximum.reduceat(frame["high"].to_numpy(), starts)),
        "l": compact(np.minimum.reduceat(frame["low"].to_numpy(), starts)),
        "c": compact(frame["close"].to_numpy()[ends]),
    }


def overview_timeframe(timeframe_ns: int, timeframe: str, frame: pd.DataFrame) -> tuple[int, str]:
    """(step in ns, its name) of the overview's candles."""
    opens = times_ns(pd.DatetimeIndex(frame.index))
    if opens.size <= MAX_OVERVIEW:
        return timeframe_ns, timeframe
    for step_ns, name in zip(NICE_NS, NICE_NAMES, strict=True):
        if step_ns <= timeframe_ns or step_ns % timeframe_ns:
            continue
        if np.unique(opens // step_ns).size <= MAX_OVERVIEW:
            return step_ns, name
    return NICE_NS[-1], NICE_NAMES[-1]


def price_decimals(result: Result, symbol: str) -> int:
    """Digits after the point of the symbol's tick; where it has none, those of six significant digits."""
    info = result.info
    given = info.instruments.get(symbol)
    known = load_instruments(str(info.settings.get("data.venue", "binance-usdm"))).get(symbol)
    if given is not None:
        tick = given["tick"]
    else:
        tick = known.tick if known is not None and info.profile != "plain" else None
    if tick is not None:
        exponent = Decimal(tick).normalize().as_tuple().exponent
        return max(-int(exponent), 0)
    frame = result.bars.get(symbol)
    return significant_decimals(float(frame["close"].median()) if frame is not None and len(frame) else 0.0)


def _seconds(ts_ns: int) -> float:
    """Milliseconds are enough for a picture."""
    return round(ts_ns / SECOND_NS, 3)


def _head(result: Result) -> dict[str, Any]:
    info = result.info
    warnings = ["SYNTHETIC data: generated, not a market"] if info.is_synthetic else []
    if debt := debt_headline(result):
        warnings.append(debt)
    if sign_depends_on_path(result):
        warnings.append("profit or loss depends on the intrabar path")
    params = ", ".join(f"{name} = {value}" for name, value in info.params.items())
    return {
        "title": f"{info.strategy} on {', '.join(info.symbols[:5])}{' …' if len(info.symbols) > 5 else ''}",
        "params": params,
        "line": heading(result),
        "assumptions": assumptions_text(result),
        "headlines": list(info.headlines),
        "shutdowns": shutdown_banners(result),
        "warnings": warnings,
        "run_id": result.run_id,
        "started_at": info.started_at,
        "quote": info.quote,
        "timeframe": info.timeframe,
        "timeframe_s": info.timeframe_ns // SECOND_NS,
        "start": info.start_ns // SECOND_NS,
        "end": (info.end_ns + info.timeframe_ns) // SECOND_NS,
        "version": info.version,
    }


def _tiles(result: Result) -> list[dict[str, str]]:
    metrics, quote = result.metrics, result.info.quote
    trades = metrics["Trades"]
    tiles = [
        ("Total Return", percent(metrics["Total Return"]), _range_text(result, "Total Return", 100.0, " %")),
        ("Sharpe", figure_text(metrics["Sharpe"], "number", quote), _range_text(result, "Sharpe", 1.0, "")),
        ("Max Drawdown", percent(metrics["Max Drawdown"]), _range_text(result, "Max Drawdown", 100.0, " %")),
        ("Trades", f"{trades:,.0f}", f"mean hold {figure_text(metrics['Avg Hold'], 'hours', quote)}"),
        (
            "Win Rate",
            figure_text(metrics["Win Rate"], "percent", quote),
            f"payoff {figure_text(metrics['Payoff'], 'number', quote)}",
        ),
        (
            "Profit Factor",
            figure_text(metrics["Profit Factor"], "number", quote),
            f"mean {figure_text(metrics['Avg R'], 'number', quote)} R, cost "
            f"{figure_text(metrics['Avg Cost R'], 'number', quote)} R",
        ),
        ("Buy and Hold", percent(metrics["Buy and Hold"]), "1x, no costs"),
    ]
    tones = {"Total Return": metrics["Total Return"]}
    return [
        {"name": name, "value": value, "note": note, "tone": _tone(tones.get(name, 0.0))} for name, value, note in tiles
    ]


def _range_text(result: Result, name: str, scale: float, unit: str) -> str:
    values = [scale * metrics.get(name, float("nan")) for metrics in result.ranges.values()]
    values = [value for value in [*values, scale * result.metrics[name]] if np.isfinite(value)]
    if len(values) < 2 or not result.ranges:
        on_trades = result.info.settings.get("sim.mode") == "ticks"
        return "no range: trades have one order" if on_trades and name == "Total Return" else ""
    return f"{min(values):.2f} to {max(values):.2f}{unit} by path"


def _tone(value: float) -> str:
    return "good" if value > 0.0 else "bad" if value < 0.0 else "plain"


def _verdict_tone(result: Result) -> str:
    if sign_depends_on_path(result) or not len(result.fills):
        return "warn"
    return _tone(result.metrics["Total Return"])


def _money(result: Result) -> dict[str, Any]:
    amounts = money(result)
    return {
        "terms": [[name, amount] for name, amount in amounts.terms],
        "net": amounts.net,
        "decimals": amounts.decimals,
        "quote": result.info.quote,
    }


def _optimism(result: Result) -> dict[str, Any]:
    base = result.metrics["Total Return"]
    rows = [
        {"name": name, "points": round(100.0 * gain, 4), "total": round(100.0 * (base + gain), 4)}
        for name, gain in optimism_gains(result)
    ]
    return {"rows": rows, "text": optimism_text(result) if rows else "", "base": round(100.0 * base, 4)}


def legs_text(result: Result) -> str:
    """legs filled: TP1 149, TP2 71; nothing without trades."""
    return exits_text(result).rsplit("     ", 1)[1] if len(result.trades) else ""


def _exit_rows(result: Result) -> list[dict[str, Any]]:
    """Per exit reason of a trade: count, sum and mean result, mean R."""
    rows = []
    for reason, part in result.trades.groupby("exit_reason", sort=False):
        rows.append(
            {
                "reason": str(reason),
                "count": len(part),
                "pnl": round(float(part["pnl"].sum()), 2),
                "mean": round(float(part["pnl"].mean()), 2),
                "wins": int((part["pnl"] > 0).sum()),
            }
        )
    return sorted(rows, key=lambda row: (-row["count"], row["reason"]))


def _notes(result: Result) -> list[list[str]]:
    notes = [["Governor", governor_text(result, reach_of(result))]]
    notes.extend(["Check", text] for text in result.info.findings)
    notes.extend(["Warning", text] for text in result.info.warnings)
    if result.verified is not None:
        notes.append(["Verified", verified_text(result)])
    if uncompared := result.info.counts.get("no_correlation", 0):
        text = f"did not apply to {uncompared:,} pairs of a signal and an open position: too few bars in common"
        notes.append(["Correlation", text])
    share = path_share(result)
    if np.isfinite(share) and result.info.settings.get("sim.mode") != "ticks":
        exits = f"{100.0 * share:.1f} % of the exits" if share > 0.0 else "no exit"
        notes.append(["Path", f"{exits} could differ had a bar's high and low come in the other order"])
    if path := path_text(result):
        notes.append(["Path", path])
    notes.extend(["Ambiguous bars", text] for text in listed_text(result))
    return notes


def _equity(result: Result) -> dict[str, Any]:
    equity = result.equity
    ts = times_ns(pd.DatetimeIndex(equity.index))
    values = equity["growth"].to_numpy(dtype=np.float64)
    kept = thin(ts, values)
    return {
        "name": "equity without deposits and withdrawals" if len(result.transfers) else "equity",
        "t": (ts[kept] // SECOND_NS).tolist(),
        "equity": compact(values[kept], 9),
        "drawdown": compact(100.0 * equity["drawdown"].to_numpy()[kept], 5),
        "start": result.totals.initial_balance,
    }


def _transfers(result: Result) -> list[list[str]]:
    """Deposits and withdrawals: time, what, amount, wallet after it."""
    return [
        [moment(ts), transfer_word(amount, moved), f"{amount:+,.2f}", f"{wallet:,.2f}"]
        for ts, amount, moved, wallet in zip(
            times_ns(result.transfers["time"]),
            *(result.transfers[name].tolist() for name in ("amount", "moved", "wallet")),
            strict=True,
        )
    ]


def _hold(result: Result) -> dict[str, Any]:
    held = result.buy_and_hold
    ts = times_ns(pd.DatetimeIndex(held.index)) if len(held) else np.empty(0, dtype=np.int64)
    values = held.to_numpy(dtype=np.float64)
    kept = thin(ts, values)
    return {"t": (ts[kept] // SECOND_NS).tolist(), "equity": compact(values[kept], 9)}


def _months(result: Result) -> dict[str, Any]:
    """Returns in per cent by year (rows, the latest first) and month, from equity at the ends of UTC days."""
    daily = result.daily_returns
    if not len(daily):
        return {"years": [], "rows": [], "totals": []}
    day = pd.DatetimeIndex(daily.index) - pd.Timedelta(1, "ns")  # a day's end belongs to the day
    growth = pd.Series(1.0 + daily.to_numpy(), index=day)
    table = growth.groupby(day.year * 12 + day.month - 1).prod() - 1.0
    years = sorted({int(year) for year in day.year}, reverse=True)
    by_month = {int(month): 100.0 * float(value) for month, value in zip(table.index, table, strict=True)}
    rows = [[short(by_month.get(12 * year + month, float("nan")), 5) for month in range(12)] for year in years]
    by_year = growth.groupby(day.year).prod() - 1.0
    return {"years": years, "rows": rows, "totals": [short(100.0 * float(by_year[year]), 5) for year in years]}


def _metric_groups(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "name": group,
            "rows": [
                [name, figure_text(result.metrics.get(name, float("nan")), kind, result.info.quote), meaning]
                for name, kind, meaning in rows
            ],
        }
        for group, rows in METRIC_GROUPS.items()
    ]


FUNDING_WORDS = {
    "history": "recorded rates, at the recorded mark price where there is one",
    "history and default": "recorded rates for some symbols; for the others the default rate stands in",
    "default": "no recorded rates: the default rate stands in",
    "off": "left out, as asked",
}


MARGIN_WORDS = {
    "isolated": "isolated; each position can lose its own margin and no more",
    "cross": "cross; the whole account backs every position, judged at every point and exit of the path",
}


POSITION_WORDS = {
    "one_way": "one at a time, long or short",
    "hedge": "one on each side at the same time (hedge mode)",
}


def _mark_text(result: Result) -> str:
    """Where mark prices come from: history for all symbols, for some, or for none."""
    info = result.info
    if info.mark == "history":
        return "recorded mark bars"
    if info.mark == "history for some":
        marked = [symbol for symbol, frame in result.bars.items() if "mark_close" in frame]
        return f"recorded mark bars for {', '.join(marked) or 'some symbols'}; for the others the last price stands in"
    if info.settings.get("data.mark_price") == "off":
        return "mark bars left out, as asked: the last price stands in"
    return "no mark history: the last price stands in"


def _assumptions(result: Result) -> list[list[str]]:
    """What the run took for granted, in words: [question, answer]."""
    info = result.info
    settings = info.settings
    fill_at = settings.get("sim.fill_at", "next_open")
    end = {
        "close": "closed at the last close",
        "last_open": "closed at the last bar's open",
        "open": "left open",
    }.get(str(settings.get("sim.end_of_data", "close")), "")
    path = {
        "nearest": "the extreme nearer to the open comes first",
        "adverse": "the order that hurts the account more, bar by bar",
        "favourable": "the order that helps the account more, bar by bar",
    }.get(str(settings.get("sim.path", "nearest")), "")
    monitoring = settings.get("exit.monitoring", "auto")
    watch = {
        "auto": "continuously along the path",
        "continuous": "continuously along the path",
        "points": "at four points per bar",
        "interval": f"every {settings.get('exit.check_interval_s', 10)} s",
    }.get(str(monitoring), str(monitoring))
    next_open = "at the open that follows the signal's bar"
    at_close = "at the signal's own close, which no live order reaches (flagged)"
    return [
        ["When is an entry filled?", next_open if fill_at == "next_open" else at_close],
        ["In what order does a bar reach its high and low?", path],
        ["How often does the engine look at the price?", watch],
        ["What does a fill cost?", _cost_text(result)],
        ["Funding", FUNDING_WORDS.get(info.funding, info.funding)],
        ["Mark price (liquidation, hard stop, equity)", _mark_text(result)],
        ["Margin", MARGIN_WORDS[str(settings.get("account.mode.margin", "isolated"))]],
        ["Positions of one symbol", POSITION_WORDS[str(settings.get("account.mode.position", "one_way"))]],
        ["Positions at the end of the data", end],
        ["Gates and governor", governor_text(result, reach_of(result))],
        ["Look-ahead", info.causality],
    ]


def _cost_text(result: Result) -> str:
    info = result.info
    slippage = f"slippage of {slippage_text(info.settings)}"
    taker = f"{100.0 * info.taker:.4g} % taker fee" if np.isfinite(info.taker) else "taker fee as set"
    return f"{taker} and {slippage}, on every fill"


def _settings(result: Result) -> list[list[str]]:
    """[key, value, source, changed] of every setting; changed is 1 for what is not the default."""
    sources = result.info.setting_sources
    return [
        [
            key,
            _setting_text(value),
            sources.get(key, "default"),
            "" if sources.get(key, "default") == "default" else "1",
        ]
        for key, value in sorted(result.info.settings.items())
    ]


def _setting_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


PASSPORT_WORDS = {
    "covers": "covers",
    "days": "days",
    "missing": "missing",
    "missing_days": "missing days",
    "longest_gap": "longest gap",
    "duplicates": "duplicates",
    "unsorted": "rows put in order",
    "dropped": "rows dropped",
    "dropped_because": "because",
    "crossed": "crossed quotes left out",
    "times_of_receipt": "times of receipt",
    "outliers": "outliers",
    "zero_volume": "bars without volume",
    "intervals_hours": "hours between payments",
    "mean_rate": "mean rate",
    "mark_price_recorded": "payments with a recorded mark price",
}
"""What the passport of a series says about its quality, in the order it is told."""
DATA_HEAD = ("Data", "Source", "Period", "Rows", "Quality")


def _data_passport(result: Result) -> dict[str, Any]:
    """Rows of `DATA_HEAD`, and the digests that identify the run."""
    info = result.info
    rows = []
    for name, known in info.passport.items():
        rows.append(_series_row(name, known))
        if known.get("kind") == "bars" and f"{name} mark" not in info.passport:
            rows.append(_mark_row(name, known))
    for symbol in info.symbols:
        if symbol not in info.passport:
            gaps = f"missing: {info.gaps.get(symbol, 0):,}"
            rows.append([symbol, info.sources.get(symbol, ""), "", f"{info.bars.get(symbol, 0):,}", gaps])
    identity = [
        *([name, value] for name, value in info.fingerprints.items()),
        ["code", info.code_digest],
        ["core", info.core_digest],
        ["strategy", info.strategy_digest],
        ["result (decisions, fills, equity, governor)", result.digest],
        ["seed", str(info.seed)],
        ["date of the exchange's brackets", info.bracket_date],
        *([f"version of {name}", value] for name, value in info.versions.items()),
    ]
    return {
        "head": list(DATA_HEAD),
        "rows": rows,
        "identity": [[name, value] for name, value in identity if value],
    }


def _series_row(name: str, known: Mapping[str, Any]) -> list[str]:
    """One series of the passport: a fact that it does not have is left out."""
    facts = [
        f"{words}: {_passport_text(key, known[key])}"
        for key, words in PASSPORT_WORDS.items()
        if known.get(key) not in (None, "", {}, [])
    ]
    if known.get("kind") == "mark" and (distance := _divergence_text(known)):
        facts.append(distance)
    return [
        " ".join(filter(None, (name, known.get("timeframe")))),
        str(known.get("source", "")),
        " to ".join(filter(None, (known.get("start"), known.get("end")))),
        f"{known.get('rows', 0):,}",
        "; ".join(facts),
    ]


def _mark_row(symbol: str, known: Mapping[str, Any]) -> list[str]:
    """The mark bars of a symbol whose passport knows them by its bars only."""
    name = " ".join(filter(None, (f"{symbol} mark", known.get("timeframe"))))
    count = known.get("mark_rows") or 0
    if not count:
        return [name, "none", "", "0", "the last price stands in"]
    facts = [f"missing: {known.get('rows', count) - count:,}", _divergence_text(known)]
    return [name, "", "", f"{count:,}", "; ".join(filter(None, facts))]


def _divergence_text(known: Mapping[str, Any]) -> str:
    """How far mark and last price closed from one another at most."""
    if known.get("mark_divergence") is None:
        return ""
    at = f" at {known['mark_divergence_time']}" if known.get("mark_divergence_time") else ""
    return f"largest distance from the last price: {100.0 * known['mark_divergence']:.4f} %{at}"


def _passport_text(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({count:,} ×)" for name, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{100.0 * value:.4f} %" if key == "mean_rate" else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _trades(result: Result) -> dict[str, Any]:
    """The table of trades, by column; texts as indexes into lists of texts."""
    trades = result.trades.iloc[:MAX_LISTED]
    texts = {}
    codes = {}
    for name in ("symbol", "exit_reason", "tag"):
        found = sorted({str(text) for text in trades[name]})
        place = {text: i for i, text in enumerate(found)}
        texts[name] = found
        codes[name] = [place[str(text)] for text in trades[name]]
    closing = result.fills[result.fills["kind"] != "entry"].groupby("trade_id")["price"].last()
    entry, exit_ = times_ns(trades["entry_time"]), times_ns(trades["exit_time"])
    decimals = [price_decimals(result, symbol) for symbol in texts["symbol"]]

    def prices(column: pd.Series[float]) -> list[float | None]:
        return [printed_one(float(at), decimals[code]) for at, code in zip(column, codes["symbol"], strict=True)]

    return {
        "n_all": len(result.trades),
        "texts": texts,
        "id": trades["trade_id"].tolist(),
        "symbol": codes["symbol"],
        "side": np.where(trades["side"] == "long", 1, -1).tolist(),
        "entry": (entry // SECOND_NS).tolist(),
        "exit": (exit_ // SECOND_NS).tolist(),
        "entry_price": prices(trades["entry_price"]),
        "exit_price": prices(trades["exit_price"]),
        "last_price": prices(closing.reindex(trades["trade_id"])),  # of the fill that ended the trade
        "qty": compact(trades["qty"]),
        "notional": compact(trades["notional"], 7),
        "leverage": compact(trades["leverage"]),
        "pnl": printed(trades["pnl"], SUMMED),
        "ret": printed(100.0 * trades["ret"], 2),
        "r": printed(trades["r_multiple"], SUMMED),
        "costs": printed(trades["fees"] + trades["slippage"], 2),
        "funding": printed(trades["funding"], 2),
        "mae": printed(100.0 * trades["mae"], 2),
        "mfe": printed(100.0 * trades["mfe"], 2),
        "legs": trades["legs_hit"].tolist(),
        "reason": codes["exit_reason"],
        "tag": codes["tag"],
    }


def _candles(result: Result, inspected: Sequence[int]) -> dict[str, Any]:
    """Candles around the inspected trades, per symbol; `i` counts timeframes since `t0`."""
    tf_ns = result.info.timeframe_ns
    whole = is_whole(result)
    trades = result.trades.iloc[list(inspected)]
    candles = {}
    for symbol, frame in result.bars.items():
        opens = times_ns(pd.DatetimeIndex(frame.index))
        own = trades[trades["symbol"] == symbol]
        if not opens.size or own.empty:
            continue
        near = np.ones(opens.size, dtype=bool) if whole else _near(opens, own)
        rows = frame[near]
        candles[symbol] = {
            "t0": int(opens[0] // SECOND_NS),
            "i": np.diff((opens[near] - opens[0]) // tf_ns, prepend=0).tolist(),  # steps: mostly 1, which is short
            "o": compact(rows["open"]),
            "h": compact(rows["high"]),
            "l": compact(rows["low"]),
            "c": compact(rows["close"]),
        }
    return candles


def _near(opens: np.ndarray, trades: pd.DataFrame) -> np.ndarray:
    """Which bars lie around the given trades of their symbol."""
    first = np.searchsorted(opens, times_ns(trades["entry_time"]), side="right") - 1 - BEFORE
    last = np.searchsorted(opens, times_ns(trades["exit_time"]), side="right") + AFTER
    edges = np.zeros(opens.size + 1, dtype=np.int64)
    np.add.at(edges, np.clip(first, 0, opens.size), 1)
    np.add.at(edges, np.clip(last, 0, opens.size), -1)
    near: np.ndarray = np.cumsum(edges)[:-1] > 0
    return near


def _inspections(result: Result, inspected: Sequence[int]) -> dict[str, Any]:
    """Row of the table of trades -> what its picture and its story need."""
    rule = TrailRule.from_settings(result.info.settings)
    decimals = {symbol: price_decimals(result, symbol) for symbol in result.info.symbols}
    arrays = {symbol: _BarArrays(frame, result.info.timeframe_ns) for symbol, frame in result.bars.items()}
    rows = [row for row in inspected if row < MAX_LISTED]
    ids = set(result.trades["trade_id"].iloc[rows])
    fills, decisions, funding = (_by_trade(frame, ids) for frame in (result.fills, result.decisions, result.funding))
    inspections = {}
    for row, trade in zip(rows, _named_rows(result.trades.iloc[rows], "exit_time", "exit_ts"), strict=True):
        own_fills, own_decisions, payments = (part.get(trade.trade_id, []) for part in (fills, decisions, funding))
        entry_ts = int(own_fills[0].ts) if own_fills else trade.exit_ts
        digits = decimals[trade.symbol]
        story = trade_story(trade, own_fills, own_decisions, payments, result.info.quote, digits)
        inspections[str(row)] = {
            "fills": [
                [
                    _seconds(fill.ts),
                    printed_one(fill.price, digits),
                    short(fill.qty),
                    fill.reason,
                    printed_one(fill.pnl, 2),
                ]
                for fill in own_fills
            ],
            "stop": [
                [_seconds(ts), printed_one(stop, digits)]
                for ts, stop in _stop_steps(trade, entry_ts, own_fills, own_decisions, rule, arrays[trade.symbol])
            ],
            "targets": _targets(trade, own_decisions, digits),
            "hard": printed_one(trade.hard_price, digits),
            "liq": printed_one(trade.liq_price, digits),
            "story": [[_seconds(ts), kind, text] for ts, kind, text in story],
        }
    return inspections


class _BarArrays:
    """A symbol's bars as arrays, with ATR and volatility as known at each bar's open."""

    def __init__(self, frame: pd.DataFrame, timeframe_ns: int) -> None:
        self.opens = times_ns(pd.DatetimeIndex(frame.index))
        self.closes_at = self.opens + timeframe_ns
        self.high = frame["high"].to_numpy(dtype=np.float64)
        self.low = frame["low"].to_numpy(dtype=np.float64)
        self.atr = self._known(frame, "atr")
        self.volatility_factor = np.nan_to_num(self._known(frame, "volatility_factor"))

    def between(self, begin_ts: int, end_ts: int) -> TradeBars:
        """The bars that a trade lived through."""
        first = max(int(np.searchsorted(self.opens, begin_ts, side="right")) - 1, 0)
        last = int(np.searchsorted(self.opens, end_ts, side="left"))
        part = slice(first, last)
        return TradeBars(
            self.closes_at[part], self.high[part], self.low[part], self.atr[part], self.volatility_factor[part]
        )

    @staticmethod
    def _known(frame: pd.DataFrame, name: str) -> np.ndarray:
        if name not in frame:
            return np.full(len(frame), np.nan)
        values = frame[name].to_numpy(dtype=np.float64)
        return np.concatenate([[np.nan], values[:-1]]) if values.size else values


STOP_REASONS = ("stop", "ratchet", "breakeven", "trail", "regime")
"""Ends of a trade at its internal stop."""


def _stop_steps(
    trade: Any, entry_ts: int, fills: list[Any], decisions: list[Any], rule: TrailRule, bars: _BarArrays
) -> list[tuple[int, float]]:
    """The trade's stop as it moved: known from entry, decisions and fills, recomputed between them.

    What moved with the fill that ended the trade protected nothing any more, unless the stop itself was reached.
    """
    side = 1 if trade.side == "long" else -1
    reached = trade.exit_reason in STOP_REASONS
    known = [(entry_ts, trade.init_stop_price)]
    known.extend(
        (row.ts, row.stop_price)
        for row in sorted([*decisions, *fills], key=lambda row: row.ts)
        if reached or row.ts < trade.exit_ts
    )
    started = [(row.ts, row.peak) for row in decisions if np.isfinite(row.peak)]
    own_rule = rule
    if started and "signal_trail" in trade.flags:
        first = next(row for row in decisions if np.isfinite(row.peak))
        own_rule = TrailRule("percent", 0.0, abs(1.0 - first.stop_price / first.peak), rule.suspend_volatility)
    trade_bars = bars.between(entry_ts, trade.exit_ts)
    return stop_path(
        side,
        known,
        trade.exit_ts,
        trade.stop_price,
        started[0] if started else None,
        own_rule,
        trade_bars,
        reached=reached,
    )


def _targets(trade: Any, decisions: list[Any], decimals: int) -> list[list[Any]]:
    """[name, price, until, hit] of each target: drawn from entry until it was hit or the trade ended."""
    hit_at = {row.reason: row.ts for row in decisions if row.action in ("PARTIAL_CLOSE", "FULL_EXIT_NOW")}
    rows = []
    for name, price in (("tp1", trade.tp1_price), ("tp2", trade.tp2_price), ("tp3", trade.tp3_price)):
        if np.isfinite(price):
            until = _seconds(hit_at.get(name, trade.exit_ts))
            rows.append([name, printed_one(price, decimals), until, int(name in hit_at)])
    return rows


def _by_trade(frame: pd.DataFrame, ids: set[int]) -> dict[int, list[Any]]:
    """Rows of each wanted trade, in order, as named tuples with `ts`."""
    wanted = frame[frame["trade_id"].isin(ids)]
    rows: dict[int, list[Any]] = {}
    for row in _named_rows(wanted, "time", "ts"):
        rows.setdefault(row.trade_id, []).append(row)
    return rows


def _named_rows(frame: pd.DataFrame, time: str, name: str) -> list[Any]:
    """Named tuples with one time as int64 ns."""
    plain = frame.drop(columns=[column for column in ("time", "entry_time", "exit_time") if column in frame])
    plain[name] = times_ns(frame[time])
    return list(plain.itertuples(index=False, name="Row"))


def _open_positions(result: Result) -> list[list[str]]:
    """What is still open at the end, in words."""
    return [
        [
            str(row.symbol),
            str(row.side),
            f"{row.qty:g} of {row.init_qty:g}",
            f"entry {price_text(row.entry_price, price_decimals(result, row.symbol))}, "
            f"stop {price_text(row.stop_price, price_decimals(result, row.symbol))}",
        ]
        for row in _named_rows(result.positions, "entry_time", "entry_ts")
    ]
