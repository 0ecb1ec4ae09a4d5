"""Made-up runs for tests of results and report: consistent journals from a few plain rules, no simulator needed.

The rules are those of a simple harvesting exit: three targets, a stop that goes to entry after the first leg and
follows the best price from 2 % on, a hard stop on the exchange. Money adds up as in a real run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from qtsim.core.enums import (
    Action,
    CappedBy,
    FillKind,
    Gate,
    GovernorDecision,
    LeaderRegime,
    Mode,
    PlanFlag,
    Reason,
    Regime,
    Rule,
)
from qtsim.core.records import (
    NO_ACTION,
    account_dt,
    decision_row_dt,
    denial_row_dt,
    equity_row_dt,
    fill_row_dt,
    funding_row_dt,
    governor_row_dt,
    position_dt,
    trade_row_dt,
)
from qtsim.results.ablation import AblationRow, ablation_frame
from qtsim.results.result import Result, RunInfo
from qtsim.results.tables import utc_times
from qtsim.sim.curve import WholeCurve
from qtsim.sim.journals import Journals

HOUR = 3_600_000_000_000
START = int(np.datetime64("2024-01-01", "ns").astype(np.int64))
FRACTIONS = (0.3, 0.3, 0.4)
TARGETS = (0.015, 0.028, 0.042)
STOP, HARD, TRAIL_FROM = 0.013, 0.02, 0.02
FEE, SLIPPAGE, LOT = 0.0005, 0.0002, 0.001
TP_REASONS = (Reason.TP1, Reason.TP2, Reason.TP3)


@dataclass
class Open:
    """A position while it is open."""

    side: int
    trade_id: int
    bar: int
    ts: int
    entry: float
    lots: int
    init_lots: int
    stop: float
    init_stop: float
    hard: float
    targets: list[float]
    tag: int
    confidence: float
    stop_reason: Reason = Reason.STOP
    leg: int = 0
    trailing: bool = False
    peak: float = float("nan")
    best: float = 0.0
    worst: float = 0.0
    exit_value: float = 0.0
    pnl: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0


@dataclass
class Rows:
    """Lists of rows by journal."""

    trades: list[dict[str, Any]] = field(default_factory=list)
    fills: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    denials: list[dict[str, Any]] = field(default_factory=list)
    funding: list[dict[str, Any]] = field(default_factory=list)
    equity: list[dict[str, Any]] = field(default_factory=list)
    governor: list[dict[str, Any]] = field(default_factory=list)


def made_bars(n_bars: int, seed: int, start_price: float = 40_000.0, timeframe_ns: int = HOUR) -> pd.DataFrame:
    """A random market with `atr` and `volatility_factor` columns."""
    rng = np.random.default_rng(seed)
    volatility = 0.006 * np.exp(0.5 * np.sin(np.arange(n_bars) / 150.0 + seed))
    steps = rng.standard_t(4, n_bars) * volatility * 0.6
    close = start_price * np.exp(np.cumsum(steps))
    opens = np.concatenate([[start_price], close[:-1]]) * (1.0 + rng.normal(0.0, 0.0002, n_bars))
    high = np.maximum(opens, close) * (1.0 + np.abs(rng.normal(0.0, 0.5, n_bars)) * volatility)
    low = np.minimum(opens, close) * (1.0 - np.abs(rng.normal(0.0, 0.5, n_bars)) * volatility)
    frame = pd.DataFrame(
        {"open": opens, "high": high, "low": low, "close": close, "volume": rng.uniform(10, 100, n_bars)},
        index=utc_times(START + np.arange(n_bars, dtype=np.int64) * timeframe_ns),
    ).round({"open": 1, "high": 1, "low": 1, "close": 1})
    frame.index.name = "time"
    frame["atr"] = (frame["high"] - frame["low"]).ewm(alpha=1 / 14).mean()
    frame["volatility_factor"] = 0.0
    return frame


class MadeRun:
    """Trades every `every` bars per symbol, long and short in turn."""

    def __init__(
        self, symbols: tuple[str, ...], n_bars: int, *, seed: int, every: int, timeframe_ns: int, keep_open: bool
    ) -> None:
        self.symbols = sorted(symbols)
        self.every = every
        self.timeframe_ns = timeframe_ns
        self.keep_open = keep_open
        self.bars = {
            symbol: made_bars(n_bars, seed + i, 40_000.0 / (10**i), timeframe_ns)
            for i, symbol in enumerate(self.symbols)
        }
        self.rows = Rows()
        self.open: dict[int, Open] = {}
        self.wallet = 10_000.0
        self.sums = dict.fromkeys(("fees", "slippage", "funding", "price_pnl"), 0.0)
        self.next_id = 0

    def play(self) -> Journals:
        n_bars = len(next(iter(self.bars.values())))
        arrays = {s: self.bars[s][["open", "high", "low", "close", "atr"]].to_numpy() for s in self.symbols}
        for bar in range(n_bars):
            ts = START + bar * self.timeframe_ns
            self.mark(ts, {s: arrays[s][bar, 0] for s in self.symbols})
            for code, symbol in enumerate(self.symbols):
                atr = arrays[symbol][bar - 1, 4] if bar else float("nan")
                self.play_bar(code, bar, ts, arrays[symbol][bar, :4], atr)
        end = START + n_bars * self.timeframe_ns
        for code in list(self.open) if not self.keep_open else []:
            price = arrays[self.symbols[code]][-1, 3]
            self.exit(code, n_bars - 1, end, price, self.open[code].lots, Reason.END_OF_DATA)
        self.mark(end, {s: arrays[s][-1, 3] for s in self.symbols})
        return self.journals(n_bars, arrays)

    def play_bar(self, code: int, bar: int, ts: int, ohlc: np.ndarray, atr: float) -> None:
        if bar and bar % self.every == code and bar > 20:
            self.signal(code, bar, ts, float(ohlc[0]))
        o, h, low, c = (float(value) for value in ohlc)
        path = (o, h, low, c) if h - o < o - low else (o, low, h, c)
        for step in range(3):
            if code in self.open:
                self.segment(code, bar, ts + (step + 1) * self.timeframe_ns // 3 - 1, path[step], path[step + 1], atr)
        if code in self.open and (ts + self.timeframe_ns) % (8 * HOUR) == 0:
            self.fund(code, ts + self.timeframe_ns, c)

    def signal(self, code: int, bar: int, ts: int, price: float) -> None:
        side = 1 if (bar // self.every) % 3 else -1
        if code in self.open:
            same = self.open[code].side == side
            self.deny(code, side, bar, ts, Gate.SIGNAL, Rule.SIDE_HELD if same else Rule.OPPOSITE_IGNORED)
        elif (bar // self.every) % 7 == 6:
            self.deny(code, side, bar, ts, Gate.PLAN, Rule.STOP_TOO_NEAR, 0.0018, 0.002)
        else:
            self.enter(code, side, bar, ts, price)

    def deny(
        self,
        code: int,
        side: int,
        bar: int,
        ts: int,
        gate: Gate,
        rule: Rule,
        value: float = np.nan,
        limit: float = np.nan,
    ) -> None:
        self.rows.denials.append(
            {"ts": ts, "symbol": code, "side": side, "gate": gate, "rule": rule, "value": value, "limit": limit,
             "confidence": 1.0, "bar": bar - 1}
        )  # fmt: skip

    def enter(self, code: int, side: int, bar: int, ts: int, price: float) -> None:
        fill = price * (1.0 + side * SLIPPAGE)
        lots = max(int(3_000.0 / fill / LOT), 3)
        stop = fill * (1.0 - side * STOP)
        self.open[code] = Open(
            side, self.next_id, bar, ts, fill, lots, lots, stop, stop, fill * (1.0 - side * HARD),
            [fill * (1.0 + side * target) for target in TARGETS], self.next_id % 3 - 1,
            0.5 + 0.05 * (self.next_id % 10), best=fill, worst=fill,
        )  # fmt: skip
        self.next_id += 1
        self.fill(code, bar, ts, price, lots, FillKind.ENTRY, Reason.ENTRY)
        self.decide(code, ts, price, Action.INIT_NEW_POSITION, Reason.ENTRY, 0, lots)

    def segment(self, code: int, bar: int, ts: int, begin: float, end: float, atr: float) -> None:
        """Walk from one price point to the next."""
        position = self.open[code]
        side = position.side
        while code in self.open:
            favourable = side * (end - begin) > 0.0
            if favourable and position.leg < 3 and side * (end - position.targets[position.leg]) >= 0.0:
                self.harvest(code, bar, ts, position.targets[position.leg])
                continue
            if not favourable and side * (end - position.stop) <= 0.0:
                hard = side * (position.hard - position.stop) >= 0.0
                at = position.stop if side * (begin - position.stop) >= 0.0 else begin
                self.exit(code, bar, ts, at, position.lots, Reason.HARD_STOP if hard else position.stop_reason)
            break
        if code not in self.open:
            return
        position.best = max(side * position.best, side * end) * side
        position.worst = min(side * position.worst, side * end) * side
        self.trail(code, ts, end, atr)

    def harvest(self, code: int, bar: int, ts: int, price: float) -> None:
        position = self.open[code]
        leg = position.leg
        lots = max(int(position.lots * FRACTIONS[leg]), 1)
        position.leg += 1
        position.best = price
        moved = position.entry * (1.0 + position.side * 0.0012) if leg == 0 else position.targets[leg - 1]
        if position.side * (moved - position.stop) > 0.0:
            position.stop, position.stop_reason = moved, Reason.RATCHET
        self.decide(code, ts, price, Action.PARTIAL_CLOSE, TP_REASONS[leg], leg + 1, lots)
        if lots >= position.lots:
            self.exit(code, bar, ts, price, position.lots, TP_REASONS[leg])
        else:
            self.fill(code, bar, ts, price, lots, FillKind.EXIT, TP_REASONS[leg])

    def trail(self, code: int, ts: int, price: float, atr: float) -> None:
        position = self.open[code]
        side = position.side
        started = not position.trailing and side * (price / position.entry - 1.0) >= TRAIL_FROM
        if started:
            position.trailing, position.peak = True, price
        if not position.trailing:
            return
        position.peak = side * max(side * position.peak, side * price)
        moved = position.peak - side * atr
        if side * (moved - position.stop) > 0.0:
            position.stop, position.stop_reason = moved, Reason.TRAIL
        if started:
            self.decide(code, ts, price, Action.MOVE_SL, Reason.TRAIL, 0, 0)

    def fund(self, code: int, ts: int, mark: float) -> None:
        position = self.open[code]
        amount = -position.side * 0.0001 * mark * position.lots * LOT
        position.funding += amount
        self.wallet += amount
        self.sums["funding"] += amount
        self.rows.funding.append(
            {"ts": ts, "symbol": code, "side": position.side, "trade_id": position.trade_id, "rate": 0.0001,
             "mark": mark, "amount": amount}
        )  # fmt: skip

    def exit(self, code: int, bar: int, ts: int, price: float, lots: int, reason: Reason) -> None:
        position = self.open[code]
        if reason not in (Reason.HARD_STOP, Reason.END_OF_DATA) and reason not in TP_REASONS:
            self.decide(code, ts, price, Action.FULL_EXIT_NOW, reason, 0, lots)
        self.fill(code, bar, ts, price, lots, FillKind.EXIT, reason)
        del self.open[code]
        qty = position.init_lots * LOT
        notional = qty * position.entry
        net = position.pnl - position.fees + position.funding
        self.rows.trades.append(
            {
                "trade_id": position.trade_id, "symbol": code, "side": position.side, "entry_ts": position.ts,
                "exit_ts": ts, "entry_bar": position.bar, "exit_bar": bar, "entry_price": position.entry,
                "exit_price": position.exit_value / qty, "qty": qty, "lots": position.init_lots, "leverage": 3.0,
                "notional": notional, "margin": notional / 3.0, "pnl": net, "price_pnl": position.pnl,
                "ret": net / notional, "roe": 3.0 * net / notional, "fees": position.fees,
                "slippage": position.slippage, "funding": position.funding, "liq_fee": 0.0, "exit_reason": reason,
                "tag": position.tag, "r_multiple": net / (notional * STOP),
                "mae": min(position.side * (position.worst / position.entry - 1.0), 0.0),
                "mfe": max(position.side * (position.best / position.entry - 1.0), 0.0),
                "confidence": position.confidence, "planned_stop": STOP, "init_stop_price": position.init_stop,
                "hard_price": position.hard, "backup_price": np.nan,
                "liq_price": position.entry * (1.0 - position.side * 0.33),
                "tp_price": position.targets, "legs_hit": position.leg,
                "flags": PlanFlag.SL_HARD_SHARE if position.trade_id % 4 == 0 else 0,
                "capped_by": CappedBy.SIZING_MARGIN, "path_dependent": int(position.trade_id % 19 == 3),
                "min_liq_distance": 0.3, "lsf": 0.41906, "stop_price": position.stop, "peak": position.peak,
                "regime": Regime(1 + position.trade_id % 4), "leader_regime": LeaderRegime(1 + position.trade_id % 3),
                "mode": Mode.DEFENSIVE if position.trade_id % 5 == 0 else Mode.NORMAL,
                "rl_state": NO_ACTION, "rl_action": NO_ACTION,
            }
        )  # fmt: skip

    def fill(self, code: int, bar: int, ts: int, ref: float, lots: int, kind: FillKind, reason: Reason) -> None:
        position = self.open[code]
        entering = kind == FillKind.ENTRY
        direction = position.side if entering else -position.side
        price, qty = ref * (1.0 + direction * SLIPPAGE), lots * LOT
        fee, slippage = qty * price * FEE, qty * abs(price - ref)
        pnl = 0.0 if entering else position.side * qty * (price - position.entry)
        position.fees += fee
        position.slippage += slippage
        position.pnl += pnl
        if not entering:
            position.exit_value += qty * price
            position.lots -= lots
        self.wallet += pnl - fee
        for name, amount in (("fees", fee), ("slippage", slippage), ("price_pnl", pnl)):
            self.sums[name] += amount
        self.rows.fills.append(
            {
                "ts": ts, "symbol": code, "side": position.side, "trade_id": position.trade_id, "kind": kind,
                "reason": reason, "lots": lots, "qty": qty, "ref_price": ref, "price": price, "fee": fee,
                "slippage": slippage, "liq_fee": 0.0, "pnl": pnl, "stop_price": position.stop, "wallet": self.wallet,
                "path_dependent": int(not entering and position.trade_id % 19 == 3), "bar": bar, "is_maker": 0,
            }
        )  # fmt: skip

    def decide(self, code: int, ts: int, price: float, action: Action, reason: Reason, leg: int, lots: int) -> None:
        position = self.open[code]
        self.rows.decisions.append(
            {
                "ts": ts, "symbol": code, "side": position.side, "trade_id": position.trade_id, "action": action,
                "reason": reason, "leg": leg, "stop_reason": position.stop_reason, "lots": lots, "price": price,
                "mark": price, "stop_price": position.stop, "peak": position.peak,
            }
        )  # fmt: skip

    def govern(self, decision: GovernorDecision, begin_hour: float, end_hour: float | None, lost: float) -> None:
        """A decision that fires, and ends unless `end_hour` is None."""
        limit = {GovernorDecision.PAUSE_1H: 0.005, GovernorDecision.EMERGENCY_SHUTDOWN: 0.05}.get(decision, 0.03)
        for begins, hour in ((1, begin_hour), (0, end_hour)):
            if hour is not None:
                self.rows.governor.append(
                    {"ts": START + int(hour * HOUR), "decision": decision, "begins": begins,
                     "value": lost if begins else 0.0, "limit": limit if begins else 0.0, "equity": 9_900.0}
                )  # fmt: skip
        self.rows.governor.sort(key=lambda row: row["ts"])

    def mark(self, ts: int, prices: dict[str, float]) -> None:
        unrealized = notional = 0.0
        for code, position in self.open.items():
            price = prices[self.symbols[code]]
            unrealized += position.side * position.lots * LOT * (price - position.entry)
            notional += position.lots * LOT * price
        self.rows.equity.append(
            {"ts": ts, "equity": self.wallet + unrealized, "wallet": self.wallet, "unrealized_pnl": unrealized,
             "margin": notional / 3.0, "notional": notional, "positions": len(self.open)}
        )  # fmt: skip

    def journals(self, n_bars: int, arrays: dict[str, np.ndarray]) -> Journals:
        positions = np.zeros(len(self.symbols), position_dt)
        for code, position in self.open.items():
            row = positions[code]
            row["symbol"] = code
            row["side"], row["trade_id"], row["entry_ts"] = position.side, position.trade_id, position.ts
            row["entry_price"], row["leverage"], row["tag"] = position.entry, 3.0, position.tag
            row["qty"], row["init_qty"] = position.lots * LOT, position.init_lots * LOT
            row["notional"], row["stop_price"], row["hard_price"] = (
                row["init_qty"] * position.entry,
                position.stop,
                position.hard,
            )
            row["fees"], row["slippage"], row["funding"], row["price_pnl"] = (
                position.fees, position.slippage, position.funding, position.pnl,
            )  # fmt: skip
        account = np.zeros(1, account_dt)
        account["wallet"], account["initial_balance"] = self.wallet, 10_000.0
        account["min_margin_ratio"] = np.inf
        account["max_margin_use"] = max((row["margin"] / row["equity"] for row in self.rows.equity), default=0.0)
        for name, amount in self.sums.items():
            account[name] = amount
        return Journals(
            symbols=list(self.symbols),
            timeframe_ns=self.timeframe_ns,
            trades=records(self.rows.trades, trade_row_dt),
            fills=records(self.rows.fills, fill_row_dt),
            decisions=records(self.rows.decisions, decision_row_dt),
            denials=records(self.rows.denials, denial_row_dt),
            funding=records(self.rows.funding, funding_row_dt),
            curve=WholeCurve(records(self.rows.equity, equity_row_dt)),
            positions=positions,
            account=account,
            governor=records(self.rows.governor, governor_row_dt),
            counts={"holds": 123},
        )


def records(rows: list[dict[str, Any]], dtype: np.dtype[Any]) -> np.ndarray:
    """Rows as a structured array; a field that a row lacks is an error."""
    result = np.zeros(len(rows), dtype)
    for name in dtype.names or ():
        if rows:
            result[name] = [row[name] for row in rows]
    return result


def made_info(symbols: tuple[str, ...], n_bars: int, timeframe_ns: int = HOUR, **changes: Any) -> RunInfo:
    """What was run, filled in like a real one."""
    values: dict[str, Any] = {
        "version": "0.1.0",
        "strategy": "ema_cross",
        "params": {"fast": 12, "slow": 26},
        "symbols": sorted(symbols),
        "timeframe": "1h" if timeframe_ns == HOUR else "1m",
        "timeframe_ns": timeframe_ns,
        "start_ns": START,
        "end_ns": START + (n_bars - 1) * timeframe_ns,
        "bars": dict.fromkeys(sorted(symbols), n_bars),
        "settings": {
            "leverage.model": "kelly",
            "costs.slippage.bps": 2.0,
            "sim.fill_at": "next_open",
            "sim.path": "nearest",
            "sizing.math.max_margin": 0.10,
            "exit.policy": "exit_brain",
            "exit.base_tp": 0.02,
            "exit.base_sl": 0.012,
            "exit.stops.trail.mode": "atr",
            "exit.stops.trail.style": "balanced",
            "exit.stops.trail.balanced": 1.0,
            "exit.stops.trail.activate": 0.02,
            "limits.per_trade.notional": float("inf"),
            "gates.enabled": True,
        },
        "setting_sources": {"exit.base_tp": "default", "exit.policy": "profile exitbrain-v35"},
        "sources": dict.fromkeys(sorted(symbols), "SYNTHETIC sample market"),
        "fingerprints": {f"bars {symbol} 1h": "ab" * 32 for symbol in sorted(symbols)},
        "funding": "history",
        "mark": "history",
        "causality": "none at 5 cuts",
        "taker": 0.0005,
        "maker": 0.0002,
        "findings": ["cannot fire while the hard stop stands: exit.guard.loss.max (12.5 %), beyond its 2 %"],
        "tags": ["cross up", "<b onmouseover=alert(1)>bold & \"tag\"</b>"],
        "code_digest": "c0de" * 16,
        "core_digest": "c04e" * 16,
        "started_at": "2026-11-21T14:30:05+00:00",
        "elapsed_s": 1.93,
    }  # fmt: skip
    return RunInfo(**{**values, **changes})


def made_result(
    symbols: tuple[str, ...] = ("BTCUSDT",),
    n_bars: int = 1500,
    *,
    seed: int = 3,
    every: int = 12,
    timeframe_ns: int = HOUR,
    keep_open: bool = False,
    ranges: bool = True,
    governor: Sequence[tuple[GovernorDecision, float, float | None, float]] = (),
    denied: Mapping[tuple[Gate, Rule], int] | None = None,
    **info: Any,
) -> Result:
    """A result with trades of every kind.

    `governor`: decisions with the hour at which they fired and ended, and what was lost. `denied`: so many signals more
    that a gate's rule stopped.
    """
    run = MadeRun(symbols, n_bars, seed=seed, every=every, timeframe_ns=timeframe_ns, keep_open=keep_open)
    for decision in governor:
        run.govern(*decision)
    for (gate, rule), count in (denied or {}).items():
        for bar in range(count):
            run.deny(0, 1, bar, START + bar * timeframe_ns, gate, rule)
    journals = run.play()
    result = Result.from_journals(journals, made_info(symbols, n_bars, timeframe_ns, **info), run.bars)
    if ranges:
        total = result.metrics["Total Return"]
        for path, shift in (("adverse", -0.018), ("nearest", 0.0), ("favourable", 0.023)):
            changed = {"Total Return": total + shift, "Sharpe": result.metrics["Sharpe"] + 10.0 * shift}
            result.ranges[path] = {**result.metrics, **changed}
        result.optimism = {"no slippage": total + 0.0385, "maker fees": total + 0.0578, "no funding": total + 0.0061}
    return result


def made_ablation(*changes: tuple[str, float, float], same: Sequence[str] = ()) -> pd.DataFrame:
    """A table of parts: (name, change in return, change in drawdown in percentage points), and of some without any."""
    return ablation_frame(
        [
            AblationRow(name, "exit engine", gain / 100, gain, deeper / 100 - 0.05, deeper, 40, 3, name in same, "")
            for name, gain, deeper in [*changes, *((name, 0.0, 0.0) for name in same)]
        ]
    )


def empty_result(**info: Any) -> Result:
    """A result without a signal."""
    return made_result(n_bars=200, every=10_000, ranges=False, **info)
