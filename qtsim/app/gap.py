"""`qtsim diff`: what a live session earned beside its backtest, from its journal and a saved run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qtsim.app.live import JOURNAL, state_folder
from qtsim.app.workspace import Workspace
from qtsim.core.enums import REASON_TEXT, Reason
from qtsim.core.records import Records, account_dt, bar_dt, equity_row_dt, position_dt
from qtsim.data.frames import times_of
from qtsim.data.timeframes import timeframe_ns
from qtsim.errors import DataError, UsageError
from qtsim.live.history import Bar
from qtsim.live.journal import Journal, open_journal
from qtsim.live.tape import SIGNALS, from_bytes, row_of
from qtsim.research.attribution import Attribution, Book, Denied, Evidence, Trip, attribute
from qtsim.results.result import Result
from qtsim.results.run_folder import find_run, load_run
from qtsim.results.tables import decisions_frame, denials_frame, fills_frame, times_ns, trades_frame
from qtsim.sim.curve import WholeCurve
from qtsim.sim.journals import Journals
from qtsim.trading.journal import KINDS

Bars = dict[tuple[str, int], Bar]
"""(symbol, open, ns) → the bar."""
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Gap:
    """A session and a run, and what lies between them."""

    session: str
    run_id: str
    found: Attribution
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        found = self.found
        return {
            "session": self.session,
            "run": self.run_id,
            "live_pnl": found.live,
            "backtest_pnl": found.backtest,
            "gap": found.live - found.backtest,
            "parts": found.parts.to_dict(),
            "pairs": found.pairs,
            "trades": [line.to_dict() for line in found.lines],
            "remarks": list(self.remarks),
        }


def compare_with_run(workspace: Workspace, session: str, reference: str) -> Gap:
    """Pair a session's trades with a run's, and split the gap.

    Raises
    ------
    UsageError
        There is no such session or run, or they traded bars of different lengths.
    DataError
        The run's folder is damaged.
    """
    path = state_folder(workspace, session) / JOURNAL
    if not path.is_file():
        raise UsageError(f"session {session} has no journal {path}; qtsim live makes one")
    result = load_run(find_run(workspace.runs, reference))
    journal = open_journal(path, read_only=True)
    try:
        told = Told.of(journal)
        if told.timeframe != result.info.timeframe:
            raise UsageError(
                f"session {session} traded {told.timeframe} bars, the run {result.info.timeframe}: no pair"
            )
        rejected = list(rejected_entries(journal))
    finally:
        journal.close()
    evidence = Evidence(told.asked, first_revised(told.bars, result), told.strategy == result.info.strategy_digest)
    live = told.book(session, rejected)
    found = attribute(live, book_of(result), evidence, timeframe_ns(told.timeframe))
    return Gap(session, result.run_id or reference, found, tuple(remarks_on(told, result, evidence)))


# the session ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What a session's journal tells: its rows, its bars, what its strategy asked for, when it ran."""

    symbols: list[str]
    timeframe: str
    strategy: str
    engine: str
    rows: Mapping[str, Records]
    bars: Bars
    asked: Mapping[tuple[str, int], frozenset[str]]
    ran: list[tuple[int, int]]

    @classmethod
    def of(cls, journal: Journal) -> Told:
        """Everything of all epochs. Raises UsageError for a session that never started to trade."""
        start: dict[str, Any] = {}
        bars: Bars = {}
        parts: dict[str, list[Records]] = {kind: [] for kind in (*KINDS, SIGNALS)}
        ran: list[tuple[int, int]] = []
        for epoch, _, _ in journal.epochs():
            times: list[int] = []
            for _, kind, data in journal.inputs(epoch):
                body = from_bytes(data)
                if kind == "start":
                    start = body
                    bars |= _bars_of(body["bars"])
                elif kind == "bars":
                    bars |= {(symbol, Bar(*bar).ts_open): Bar(*bar) for symbol, bar in body["bars"].items()}
                times += [
                    int(body[name]) for name in ("ts", "now") if name in body and kind in ("begin", "clock", "points")
                ]
            if times:
                ran.append((min(times), max(times)))
            for _, kind, data in journal.decisions(epoch):
                parts[kind].append(row_of(kind, data))
        if not start:
            raise UsageError(f"{journal.path}: the session never came to trade")
        rows = {kind: np.concatenate(found) if found else np.zeros(0, KINDS.get(kind)) for kind, found in parts.items()}
        timeframe = str(start["settings"]["run.timeframe"])
        asked = asked_of(parts[SIGNALS], bars, timeframe_ns(timeframe))
        return cls(list(start["symbols"]), timeframe, start["strategy"], start["engine"], rows, bars, asked, ran)

    def book(self, name: str, rejected: list[Denied]) -> Book:
        """The session's side of a comparison."""
        journals = Journals(
            symbols=self.symbols,
            timeframe_ns=timeframe_ns(self.timeframe),
            trades=self.rows["trades"],
            fills=self.rows["fills"],
            decisions=self.rows["decisions"],
            denials=self.rows["denials"],
            funding=self.rows["funding"],
            curve=WholeCurve(np.zeros(0, equity_row_dt)),
            positions=np.zeros(0, position_dt),
            account=np.zeros(1, account_dt),
        )
        trades, fills = trades_frame(journals, ()), fills_frame(journals)
        trips = trips_of(trades, fills, decisions_frame(journals))
        denied = [*denied_of(denials_frame(journals)), *rejected]
        return Book(name, trips, denied, open_entries(trades, fills), self.ran)


def _bars_of(texts: Mapping[str, str]) -> Bars:
    found: Bars = {}
    for symbol, text in texts.items():
        for row in np.frombuffer(bytes.fromhex(text), bar_dt)[list(Bar._fields)].tolist():
            bar = Bar(*row)
            found[symbol, bar.ts_open] = bar
    return found


def asked_of(signals: Iterable[Records], bars: Bars, step: int) -> dict[tuple[str, int], frozenset[str]]:
    """(symbol, close of the bar) → sides asked for. A signal's symbol is that whose bar has its close."""
    by_bar: dict[tuple[int, float], list[str]] = {}
    for (symbol, ts_open), bar in bars.items():
        by_bar.setdefault((ts_open + step, bar.close), []).append(symbol)
    found: dict[tuple[str, int], frozenset[str]] = {}
    for row in signals:
        ts = int(row["ts_close"][0])
        sides = frozenset(side for side in ("long", "short") if row[side][0])
        for symbol in by_bar.get((ts, float(row["close"][0])), []):
            found[symbol, ts] = found.get((symbol, ts), frozenset()) | sides
    return found


def rejected_entries(journal: Journal) -> Iterable[Denied]:
    """Entries that went out and were never filled, with the exchange's words."""
    ends = {ref: body for _, _, ref, body in journal.events("done")}
    for intent in journal.intents():
        why = ends.get(intent.client_id, {}).get("why")
        if intent.kind == "entry" and why:
            yield Denied(intent.symbol, "long" if int(intent.context["side"]) > 0 else "short", intent.ts, str(why))


# frames ---------------------------------------------------------------------------------------------------------------


def trips_of(trades: pd.DataFrame, fills: pd.DataFrame, decisions: pd.DataFrame) -> list[Trip]:
    """Closed trades with the prices that their orders were decided at."""
    resting = {REASON_TEXT[reason] for reason in (Reason.HARD_STOP, Reason.BACKUP_STOP, Reason.LIQUIDATION)}
    by_trade = {int(rows["trade_id"].iloc[0]): rows for _, rows in fills.groupby("trade_id", sort=False)}
    exits = decisions[decisions["lots"] > 0]
    decided = {
        int(rows["trade_id"].iloc[0]): tuple(
            zip(times_ns(rows["time"]).tolist(), map(str, rows["reason"]), strict=True)
        )
        for _, rows in exits.groupby("trade_id", sort=False)
    }
    trips = []
    times = zip(times_ns(trades["entry_time"]).tolist(), times_ns(trades["exit_time"]).tolist(), strict=True)
    for trade, (entry_ts, exit_ts) in zip(trades.to_dict("records"), times, strict=True):
        number = int(trade["trade_id"])
        rows = by_trade.get(number)
        if rows is None:
            raise DataError(f"trade {number} of {trade['symbol']} has no fills; the run or journal is not whole")
        is_entry = rows["kind"] == "entry"
        entry_ref, exit_ref = _reference(rows[is_entry]), _reference(rows[~is_entry])
        ends = decided.get(number, ())
        if str(trade["exit_reason"]) in resting:
            ends = (*ends, (exit_ts, str(trade["exit_reason"])))
        trips.append(
            Trip(
                symbol=str(trade["symbol"]),
                side=str(trade["side"]),
                entry_ts=entry_ts,
                exit_ts=exit_ts,
                qty=float(trade["qty"]),
                entry_price=float(trade["entry_price"]),
                entry_ref=entry_ref,
                exit_price=float(trade["exit_price"]),
                exit_ref=exit_ref,
                price_pnl=float(trade["price_pnl"]),
                fees=float(trade["fees"]),
                funding=float(trade["funding"]),
                pnl=float(trade["pnl"]),
                exit_reason=str(trade["exit_reason"]),
                decided=ends,
            )
        )
    return trips


def _reference(rows: pd.DataFrame) -> float:
    return float((rows["ref_price"] * rows["qty"]).sum() / rows["qty"].sum())


def denied_of(denials: pd.DataFrame) -> list[Denied]:
    """Signals that became no position."""
    times = times_ns(denials["time"]).tolist()
    texts = zip(denials["symbol"], denials["side"], times, denials["rule"], denials["gate"], strict=True)
    return [Denied(str(symbol), str(side), ts, str(rule) or str(gate)) for symbol, side, ts, rule, gate in texts]


def open_entries(trades: pd.DataFrame, fills: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Entries whose trade has not ended."""
    rows = fills[(fills["kind"] == "entry") & ~fills["trade_id"].isin(trades["trade_id"])]
    return list(zip(rows["symbol"].map(str), rows["side"].map(str), times_ns(rows["time"]).tolist(), strict=True))


# the run --------------------------------------------------------------------------------------------------------------


def book_of(result: Result) -> Book:
    """The run's side of a comparison."""
    info = result.info
    return Book(
        result.run_id,
        trips_of(result.trades, result.fills, result.decisions),
        denied_of(result.denials),
        open_entries(result.trades, result.fills),
        [(info.start_ns, info.end_ns + 2 * info.timeframe_ns)],
    )


def first_revised(bars: Bars, result: Result) -> dict[str, int]:
    """Symbol → open of the first bar with other prices in the run, of those that both have."""
    found: dict[str, int] = {}
    for symbol, frame in result.bars.items():
        prices = frame[list(PRICES)].to_numpy(np.float64)
        for ts_open, row in zip(times_of(frame).tolist(), prices.tolist(), strict=True):
            known = bars.get((symbol, ts_open))
            if known is not None and [getattr(known, name) for name in PRICES] != row:
                found[symbol] = ts_open
                break
    return found


def remarks_on(told: Told, result: Result, evidence: Evidence) -> Iterable[str]:
    """What a person should know beside the figures."""
    if not evidence.same_strategy:
        yield "the strategy's source is another one than the run's"
    if told.engine != result.info.core_digest:
        yield "the engine is another one than the run's"
    for symbol in sorted(evidence.revised):
        yield f"{symbol}: bars of the session differ from the run's"


__all__ = ["Gap", "compare_with_run"]
