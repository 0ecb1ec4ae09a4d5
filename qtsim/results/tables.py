"""Journals -> the frames people read.

Times are timezone-aware UTC at nanosecond resolution, ratios decimals, money quote currency. Fees and slippage are
costs >= 0, funding is signed (received positive), and pnl = price_pnl - fees + funding holds in every row of trades:
`fees` contains the liquidation fee, which `liquidation_fee` names apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
import pandas as pd

from qtsim.core.enums import (
    CAPPED_BY_TEXT,
    GATE_TEXT,
    GOVERNOR_TEXT,
    REASON_TEXT,
    RULE_TEXT,
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
    Side,
)
from qtsim.core.records import Records
from qtsim.sim.journals import Journals

TRADE_COLUMNS = (
    "symbol", "side", "entry_time", "exit_time", "entry_price", "exit_price", "qty", "leverage", "notional", "pnl",
    "ret", "roe", "fees", "slippage", "funding", "exit_reason", "tag", "r_multiple", "mae", "mfe", "confidence",
    "bars_held",
)  # fmt: skip
"""The documented columns of `trades`, in order; what the report needs besides follows them."""
FILL_COLUMNS = ("time", "symbol", "side", "kind", "qty", "price", "fee", "pnl", "reason")
"""The documented columns of `fills`, in order."""
EQUITY_COLUMNS = ("equity", "wallet", "unrealized_pnl", "drawdown", "growth")
"""The documented columns of `equity`, in order; its index is the time."""
TRANSFER_COLUMNS = ("time", "due", "amount", "moved", "withdrawable", "wallet")
GOVERNOR_COLUMNS = ("time", "decision", "event", "value", "limit", "equity")
"""The documented columns of `governor`, in order."""
REGIME_COLUMNS = ("regime", "leader_regime", "mode")
"""Columns of `trades`: what the symbol's market, the leader's and the Orchestrator's mode were at entry."""
FIRES, ENDS = "fires", "ends"
"""The events of `governor`."""

Code = TypeVar("Code", bound=IntEnum)

_SIDE_TEXT = {Side.NONE: "", Side.LONG: "long", Side.SHORT: "short"}


@dataclass(frozen=True)
class Frames:
    """Every table of one run."""

    trades: pd.DataFrame
    fills: pd.DataFrame
    orders: pd.DataFrame
    decisions: pd.DataFrame
    denials: pd.DataFrame
    funding: pd.DataFrame
    equity: pd.DataFrame
    positions: pd.DataFrame
    governor: pd.DataFrame
    transfers: pd.DataFrame


def build_frames(journals: Journals, tags: Sequence[str]) -> Frames:
    """All frames of a run. `tags`: the run's table of tags, which `trades["tag"]` indexes."""
    trades = trades_frame(journals, tags)
    fills = fills_frame(journals)
    denials = denials_frame(journals)
    positions = positions_frame(journals, tags)
    return Frames(
        trades=trades,
        fills=fills,
        orders=orders_frame(trades, fills, denials, positions),
        decisions=decisions_frame(journals),
        denials=denials,
        funding=funding_frame(journals),
        equity=equity_frame(journals),
        positions=positions,
        governor=governor_frame(journals),
        transfers=transfers_frame(journals),
    )


def utc_times(ts_ns: Records) -> pd.DatetimeIndex:
    """int64 nanoseconds -> timezone-aware UTC times of nanosecond resolution."""
    stamps = np.ascontiguousarray(ts_ns, dtype=np.int64).view("datetime64[ns]")
    return pd.DatetimeIndex(stamps).tz_localize("UTC")


def times_ns(times: pd.Series[pd.Timestamp] | pd.DatetimeIndex) -> np.ndarray:
    """Timezone-aware times of any resolution -> int64 nanoseconds."""
    index = times if isinstance(times, pd.DatetimeIndex) else pd.DatetimeIndex(times)
    return np.asarray(index.as_unit("ns").asi8, dtype=np.int64)


def trades_frame(journals: Journals, tags: Sequence[str]) -> pd.DataFrame:
    """One row per closed trade: `TRADE_COLUMNS`, then plan, bookkeeping and what the picture of the trade needs."""
    rows = journals.trades
    frame = {
        "symbol": _symbols(journals, rows["symbol"]),
        "side": _texts(rows["side"], Side, _SIDE_TEXT),
        "entry_time": utc_times(rows["entry_ts"]),
        "exit_time": utc_times(rows["exit_ts"]),
        "entry_price": rows["entry_price"],
        "exit_price": rows["exit_price"],
        "qty": rows["qty"],
        "leverage": rows["leverage"],
        "notional": rows["notional"],
        "pnl": rows["pnl"],
        "ret": rows["ret"],
        "roe": rows["roe"],
        "fees": rows["fees"] + rows["liq_fee"],
        "slippage": rows["slippage"],
        "funding": rows["funding"],
        "exit_reason": _texts(rows["exit_reason"], Reason, REASON_TEXT),
        "tag": _tags(rows["tag"], tags),
        "r_multiple": rows["r_multiple"],
        "mae": rows["mae"],
        "mfe": rows["mfe"],
        "confidence": rows["confidence"],
        "bars_held": rows["exit_bar"] - rows["entry_bar"],
        "trade_id": rows["trade_id"],
        "price_pnl": rows["price_pnl"],
        "liquidation_fee": rows["liq_fee"],
        "margin": rows["margin"],
        "lots": rows["lots"],
        "planned_stop": rows["planned_stop"],
        "init_stop_price": rows["init_stop_price"],
        "stop_price": rows["stop_price"],
        "hard_price": rows["hard_price"],
        "backup_price": rows["backup_price"],
        "liq_price": rows["liq_price"],
        "tp1_price": rows["tp_price"][:, 0],
        "tp2_price": rows["tp_price"][:, 1],
        "tp3_price": rows["tp_price"][:, 2],
        "legs_hit": rows["legs_hit"],
        "lsf": rows["lsf"],
        "peak": rows["peak"],
        "flags": [flag_text(int(flag)) for flag in rows["flags"]],
        "capped_by": _texts(rows["capped_by"], CappedBy, CAPPED_BY_TEXT),
        "path_dependent": rows["path_dependent"],
        "min_liq_distance": rows["min_liq_distance"],
        "entry_bar": rows["entry_bar"],
        "exit_bar": rows["exit_bar"],
        "regime": _texts(rows["regime"], Regime, _names(Regime)),
        "leader_regime": _texts(rows["leader_regime"], LeaderRegime, _names(LeaderRegime)),
        "mode": _texts(rows["mode"], Mode, _names(Mode)),
        "rl_state": rows["rl_state"],
        "rl_action": rows["rl_action"],
    }
    return _frame(frame, ("symbol", "side", "exit_reason", "tag", "flags", "capped_by", *REGIME_COLUMNS))


def fills_frame(journals: Journals) -> pd.DataFrame:
    """One row per fill: `FILL_COLUMNS`, then reference price, costs and state. `side` is that of the position."""
    rows = journals.fills
    frame = {
        "time": utc_times(rows["ts"]),
        "symbol": _symbols(journals, rows["symbol"]),
        "side": _texts(rows["side"], Side, _SIDE_TEXT),
        "kind": _texts(rows["kind"], FillKind, {kind: kind.name.lower() for kind in FillKind}),
        "qty": rows["qty"],
        "price": rows["price"],
        "fee": rows["fee"] + rows["liq_fee"],
        "pnl": rows["pnl"],
        "reason": _texts(rows["reason"], Reason, REASON_TEXT),
        "trade_id": rows["trade_id"],
        "lots": rows["lots"],
        "ref_price": rows["ref_price"],
        "slippage": rows["slippage"],
        "liquidation_fee": rows["liq_fee"],
        "stop_price": rows["stop_price"],
        "wallet": rows["wallet"],
        "path_dependent": rows["path_dependent"] != 0,
        "bar": rows["bar"],
        "maker": rows["is_maker"] != 0,
    }
    return _frame(frame, ("symbol", "side", "kind", "reason"))


def decisions_frame(journals: Journals) -> pd.DataFrame:
    """One row per decision but HOLD_CURRENT. `qty` is what the decision closes, NaN where its trade is unknown."""
    rows = journals.decisions
    frame = {
        "time": utc_times(rows["ts"]),
        "symbol": _symbols(journals, rows["symbol"]),
        "side": _texts(rows["side"], Side, _SIDE_TEXT),
        "action": _texts(rows["action"], Action, _names(Action)),
        "reason": _texts(rows["reason"], Reason, REASON_TEXT),
        "leg": rows["leg"],
        "qty": rows["lots"] * _lot_sizes(journals, rows["trade_id"]),
        "price": rows["price"],
        "mark": rows["mark"],
        "stop_price": rows["stop_price"],
        "stop_reason": _texts(rows["stop_reason"], Reason, REASON_TEXT),
        "peak": rows["peak"],
        "trade_id": rows["trade_id"],
        "lots": rows["lots"],
    }
    return _frame(frame, ("symbol", "side", "action", "reason", "stop_reason"))


def denials_frame(journals: Journals) -> pd.DataFrame:
    """One row per signal that did not become an entry: where it ended, by which rule, with the numbers compared."""
    rows = journals.denials
    frame = {
        "time": utc_times(rows["ts"]),
        "symbol": _symbols(journals, rows["symbol"]),
        "side": _texts(rows["side"], Side, _SIDE_TEXT),
        "gate": _texts(rows["gate"], Gate, GATE_TEXT),
        "rule": _texts(rows["rule"], Rule, RULE_TEXT),
        "value": rows["value"],
        "limit": rows["limit"],
        "confidence": rows["confidence"],
        "bar": rows["bar"],
    }
    return _frame(frame, ("symbol", "side", "gate", "rule"))


def governor_frame(journals: Journals) -> pd.DataFrame:
    """One row each time a decision of the Safety Governor fires or ends: `GOVERNOR_COLUMNS`.

    `value` and `limit` are what was compared when it fired, NaN where it ends; `equity` is that of the evaluation.
    """
    rows = journals.governor
    fires = np.asarray(rows["begins"] != 0)
    frame = {
        "time": utc_times(rows["ts"]),
        "decision": _texts(rows["decision"], GovernorDecision, GOVERNOR_TEXT),
        "event": np.where(fires, FIRES, ENDS),
        "value": np.where(fires, rows["value"], np.nan),
        "limit": np.where(fires, rows["limit"], np.nan),
        "equity": rows["equity"],
    }
    return _frame(frame, ("decision", "event"))


def funding_frame(journals: Journals) -> pd.DataFrame:
    """One row per funding payment of an open position; `amount` is positive when received."""
    rows = journals.funding
    frame = {
        "time": utc_times(rows["ts"]),
        "symbol": _symbols(journals, rows["symbol"]),
        "side": _texts(rows["side"], Side, _SIDE_TEXT),
        "rate": rows["rate"],
        "mark": rows["mark"],
        "amount": rows["amount"],
        "trade_id": rows["trade_id"],
    }
    return _frame(frame, ("symbol", "side"))


def transfers_frame(journals: Journals) -> pd.DataFrame:
    """One row per deposit (amount above 0) and withdrawal that was due: `TRANSFER_COLUMNS`.

    `due` is when it was asked for, `time` when it was decided; `moved` is 0 where the exchange refused it, because
    only `withdrawable` backed no position.
    """
    rows = journals.transfers
    frame = {"time": utc_times(rows["ts"]), "due": utc_times(rows["due"])}
    return pd.DataFrame(frame | {name: rows[name] for name in TRANSFER_COLUMNS[2:]})


def equity_frame(journals: Journals) -> pd.DataFrame:
    """The account at every boundary: `EQUITY_COLUMNS`, margin in use, gross notional, open positions.

    `growth` is what the starting balance has grown to, deposits and withdrawals taken out; without them it is the
    equity. `drawdown` is growth / highest growth so far - 1, the starting balance counting as a high.
    """
    rows = journals.equity
    growth = grown_balance(rows["ts"], np.asarray(rows["equity"], dtype=np.float64), journals.transfers)
    start = float(journals.account["initial_balance"][0])
    frame = pd.DataFrame(
        {
            "equity": rows["equity"],
            "wallet": rows["wallet"],
            "unrealized_pnl": rows["unrealized_pnl"],
            "drawdown": drawdowns(growth, start),
            "growth": growth,
            "margin": rows["margin"],
            "notional": rows["notional"],
            "positions": rows["positions"],
        },
        index=utc_times(rows["ts"]),
    )
    frame.index.name = "time"
    return frame


def grown_balance(ts: np.ndarray, equity: np.ndarray, transfers: Records) -> np.ndarray:
    """The starting balance as it grew with the account's time-weighted return; shape of `equity`.

    Between two transfers it moves in proportion to equity; at one it stays where it is. ts: times of `equity`, each
    transfer's among them; equity: after the transfers of its time; transfers: transfer_dt.
    """
    if not (transfers["moved"] != 0.0).any():
        return equity
    moved = np.zeros_like(equity)
    np.add.at(moved, np.searchsorted(ts, transfers["ts"]), transfers["moved"])
    return time_weighted(equity, moved)


def time_weighted(balance: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """A balance without what was moved in (above 0) or out at each of its rows; the first row's scale is kept.

    While all is withdrawn nothing is gained or lost; what has lost everything stays there, whatever is put in.
    """
    result: np.ndarray = balance.astype(np.float64)
    scale, held = 1.0, False
    for k in np.flatnonzero(moved):
        value = float(result[k] if held else (balance[k] - moved[k]) * scale)
        held = value <= 0.0 or balance[k] <= 0.0
        if held:
            result[k:] = value
        else:
            scale = value / float(balance[k])
            result[k:] = balance[k:] * scale
    return result


def drawdowns(equity: np.ndarray, start: float) -> np.ndarray:
    """Equity / highest equity so far - 1, `start` counting as a high; shape of `equity`, values <= 0."""
    high = np.maximum.accumulate(np.maximum(equity, start))
    result: np.ndarray = equity / high - 1.0
    return result


def positions_frame(journals: Journals, tags: Sequence[str]) -> pd.DataFrame:
    """What was still open at the end of the data (`sim.end_of_data = "open"`); one row per position."""
    rows = journals.positions
    rows = rows[rows["side"] != 0]
    frame = {
        "symbol": _symbols(journals, rows["symbol"]),
        "side": _texts(rows["side"], Side, _SIDE_TEXT),
        "entry_time": utc_times(rows["entry_ts"]),
        "entry_price": rows["entry_price"],
        "init_qty": rows["init_qty"],
        "qty": rows["qty"],
        "leverage": rows["leverage"],
        "notional": rows["notional"],
        "margin": rows["margin"],
        "price_pnl": rows["price_pnl"],
        "fees": rows["fees"],
        "slippage": rows["slippage"],
        "funding": rows["funding"],
        "stop_price": rows["stop_price"],
        "hard_price": rows["hard_price"],
        "backup_price": rows["backup_price"],
        "liq_price": rows["liq_price"],
        "tag": _tags(rows["tag"], tags),
        "capped_by": _texts(rows["capped_by"], CappedBy, CAPPED_BY_TEXT),
        "min_liq_distance": rows["min_liq_distance"],
        "trade_id": rows["trade_id"],
    }
    return _frame(frame, ("symbol", "side", "tag", "capped_by"))


def orders_frame(
    trades: pd.DataFrame, fills: pd.DataFrame, denials: pd.DataFrame, positions: pd.DataFrame
) -> pd.DataFrame:
    """Every order that was sent, by the time it was sent.

    MARKET orders are told by their fills; each part of one that the volume divided is a row of its own. So are LIMIT
    entries that filled as a maker; one that was through when it was placed is a MARKET order here. Entries that stood
    or waited and of which nothing was filled are CANCELED, at the time when they ended. Each trade with a hard stop has
    one STOP_MARKET order, which closes the position and so has no quantity of its own (`qty` NaN): sent with the entry,
    FILLED when it ended the trade, EXPIRED when a liquidation did, CANCELED when anything else did, NEW while the
    position is open. A backup stop is a STOP order of the trade's quantity with the same trigger, which nothing fills
    in a backtest. A liquidation is the exchange's own order. Entries that the exchange refuses are REJECTED.
    """
    columns = (
        "time", "symbol", "side", "order_side", "type", "reduce_only", "qty", "filled_qty", "price", "stop_price",
        "status", "done_time", "reason", "trade_id",
    )  # fmt: skip
    parts = []
    is_entry = fills["kind"] == "entry"
    is_hard = fills["reason"] == REASON_TEXT[Reason.HARD_STOP]
    sent = fills[~is_hard]
    if len(sent):
        parts.append(
            pd.DataFrame(
                {
                    "time": sent["time"],
                    "symbol": sent["symbol"],
                    "side": sent["side"],
                    "order_side": np.where((sent["side"] == "long") == is_entry[~is_hard], "BUY", "SELL"),
                    "type": _types(sent),
                    "reduce_only": ~is_entry[~is_hard],
                    "qty": sent["qty"],
                    "filled_qty": sent["qty"],
                    "price": sent["price"],
                    "stop_price": np.nan,
                    "status": "FILLED",
                    "done_time": sent["time"],
                    "reason": sent["reason"],
                    "trade_id": sent["trade_id"],
                }
            )
        )
    parts.extend(_hard_stop_orders(trades, fills[is_hard]))
    parts.extend(_backup_stop_orders(trades, positions))
    standing = positions[positions["hard_price"].notna()]
    if len(standing):
        parts.append(_stop_orders(standing, "NEW", pd.NaT, 0.0, np.nan))
    rejected = denials[denials["gate"] == GATE_TEXT[Gate.EXCHANGE]]
    if len(rejected):
        parts.append(
            pd.DataFrame(
                {
                    "time": rejected["time"],
                    "symbol": rejected["symbol"],
                    "side": rejected["side"],
                    "order_side": np.where(rejected["side"] == "long", "BUY", "SELL"),
                    "type": "MARKET",
                    "reduce_only": False,
                    "qty": np.nan,
                    "filled_qty": 0.0,
                    "price": np.nan,
                    "stop_price": np.nan,
                    "status": "REJECTED",
                    "done_time": rejected["time"],
                    "reason": rejected["rule"],
                    "trade_id": -1,
                }
            )
        )
    ended = denials[denials["gate"] == GATE_TEXT[Gate.ORDER]]
    if len(ended):
        parts.append(_ended_orders(ended))
    if not parts:
        texts = ("symbol", "side", "order_side", "type", "status", "reason")
        times = {name: utc_times(np.empty(0, np.int64)) for name in ("time", "done_time")}
        empty = {name: times.get(name, np.empty(0)) for name in columns}
        return _frame({**empty, "reduce_only": np.empty(0, bool), "trade_id": np.empty(0, np.int64)}, texts)
    frame = pd.concat(parts, ignore_index=True)[list(columns)]
    return frame.sort_values("time", kind="stable", ignore_index=True)


def flag_text(flags: int) -> str:
    """The names in a PlanFlag bit mask, comma separated: 9 -> "sl_min, sl_hard_share"."""
    return ", ".join(str(flag.name).lower() for flag in PlanFlag if flag and flags & flag)


def _types(sent: pd.DataFrame) -> np.ndarray:
    """Type of the order behind each fill."""
    taken = np.where(sent["kind"] == "liquidation", "LIQUIDATION", "MARKET")
    makes = sent["maker"].to_numpy() if "maker" in sent else np.zeros(len(sent), dtype=bool)
    types: np.ndarray = np.where(makes, "LIMIT", taken)
    return types


def _ended_orders(ended: pd.DataFrame) -> pd.DataFrame:
    """Entry orders that stood or waited and of which nothing was filled. Their `limit` is 0 at market."""
    has_limit = (ended["limit"] > 0.0).to_numpy()
    return pd.DataFrame(
        {
            "time": ended["time"],
            "symbol": ended["symbol"],
            "side": ended["side"],
            "order_side": np.where(ended["side"] == "long", "BUY", "SELL"),
            "type": np.where(has_limit, "LIMIT", "MARKET"),
            "reduce_only": False,
            "qty": np.nan,
            "filled_qty": 0.0,
            "price": np.where(has_limit, ended["limit"], np.nan),
            "stop_price": np.nan,
            "status": "CANCELED",
            "done_time": ended["time"],
            "reason": ended["rule"],
            "trade_id": -1,
        }
    )


def _hard_stop_orders(trades: pd.DataFrame, hard_fills: pd.DataFrame) -> list[pd.DataFrame]:
    """STOP_MARKET orders of closed trades, in up to three parts by how they ended."""
    parts = []
    guarded = trades[trades["hard_price"].notna()]
    filled = guarded[guarded["exit_reason"] == REASON_TEXT[Reason.HARD_STOP]]
    expired = guarded[guarded["exit_reason"] == REASON_TEXT[Reason.LIQUIDATION]]
    canceled = guarded.drop(filled.index).drop(expired.index)
    if len(filled):
        fill_of = hard_fills.set_index("trade_id")
        ids = filled["trade_id"]
        qty, price = (fill_of[name].reindex(ids).to_numpy() for name in ("qty", "price"))
        parts.append(_stop_orders(filled, "FILLED", filled["exit_time"], qty, price))
    if len(expired):
        parts.append(_stop_orders(expired, "EXPIRED", expired["exit_time"], 0.0, np.nan))
    if len(canceled):
        parts.append(_stop_orders(canceled, "CANCELED", canceled["exit_time"], 0.0, np.nan))
    return parts


def _stop_orders(rows: pd.DataFrame, status: str, done_time: object, filled_qty: object, price: object) -> pd.DataFrame:
    """STOP_MARKET orders of the trades or positions in `rows`, all ending in `status`."""
    frame = pd.DataFrame(
        {
            "time": rows["entry_time"],
            "symbol": rows["symbol"],
            "side": rows["side"],
            "order_side": np.where(rows["side"] == "long", "SELL", "BUY"),
            "type": "STOP_MARKET",
            "reduce_only": True,
            "qty": np.nan,
            "filled_qty": filled_qty,
            "price": price,
            "stop_price": rows["hard_price"],
            "status": status,
            "done_time": done_time,
            "reason": REASON_TEXT[Reason.HARD_STOP],
            "trade_id": rows["trade_id"],
        }
    )
    if done_time is pd.NaT:
        frame["done_time"] = pd.Series(pd.NaT, index=frame.index, dtype=rows["entry_time"].dtype)
    return frame


def _backup_stop_orders(trades: pd.DataFrame, positions: pd.DataFrame) -> list[pd.DataFrame]:
    """STOP orders, reduce-only, beside the hard stops: none is ever refused here, so that no backup is filled."""
    parts = []
    ended = trades[trades["backup_price"].notna()]
    is_liquidated = ended["exit_reason"] == REASON_TEXT[Reason.LIQUIDATION]
    for rows, status in ((ended[is_liquidated], "EXPIRED"), (ended[~is_liquidated], "CANCELED")):
        if len(rows):
            parts.append(_stop_orders(rows, status, rows["exit_time"], 0.0, np.nan))
    standing = positions[positions["backup_price"].notna()]
    if len(standing):
        parts.append(_stop_orders(standing, "NEW", pd.NaT, 0.0, np.nan))
    quantities = pd.concat([trades.set_index("trade_id")["qty"], positions.set_index("trade_id")["qty"]])
    for part in parts:
        part["type"] = "STOP"
        part["qty"] = part["trade_id"].map(quantities)
        part["reason"] = REASON_TEXT[Reason.BACKUP_STOP]
    return parts


def _lot_sizes(journals: Journals, trade_ids: Records) -> np.ndarray:
    """Base currency per lot of each trade id: every fill states both."""
    fills = journals.fills
    known = fills[fills["lots"] > 0]
    if len(known) == 0:
        return np.full(len(trade_ids), np.nan)
    ids, first = np.unique(known["trade_id"], return_index=True)
    sizes = known["qty"][first] / known["lots"][first]
    at = np.clip(np.searchsorted(ids, trade_ids), 0, len(ids) - 1)
    return np.where(ids[at] == trade_ids, sizes[at], np.nan)


def _texts(codes: Records, kind: type[Code], texts: Mapping[Code, str]) -> np.ndarray:
    """Enum codes -> their texts, by one lookup table (codes may be negative)."""
    low = min(kind)
    table = np.array([""] * (max(kind) - low + 1), dtype=object)
    for member, text in texts.items():
        table[int(member) - low] = text
    result: np.ndarray = table[np.asarray(codes, dtype=np.int64) - low]
    return result


def _names(kind: type[Code]) -> dict[Code, str]:
    """The members of an enum by their own names."""
    return {member: member.name for member in kind}


def _symbols(journals: Journals, codes: Records) -> np.ndarray:
    result: np.ndarray = np.array([*journals.symbols, ""], dtype=object)[np.asarray(codes, dtype=np.int64)]
    return result


def _tags(codes: Records, tags: Sequence[str]) -> np.ndarray:
    """Tag codes -> texts; -1 (no tag) is the last entry, the empty text."""
    result: np.ndarray = np.array([*tags, ""], dtype=object)[np.asarray(codes, dtype=np.int64)]
    return result


def _frame(columns: dict[str, object], texts: Sequence[str]) -> pd.DataFrame:
    """A frame whose text columns have one string type, also when it is empty."""
    frame = pd.DataFrame(columns)
    return frame.astype(dict.fromkeys(texts, "str"))


EMPTY_GOVERNOR = _frame(
    {name: utc_times(np.empty(0, np.int64)) if name == "time" else np.empty(0) for name in GOVERNOR_COLUMNS},
    ("decision", "event"),
)
"""A governor that wrote nothing down."""
EMPTY_TRANSFERS = pd.DataFrame(
    {name: utc_times(np.empty(0, np.int64)) if name in ("time", "due") else np.empty(0) for name in TRANSFER_COLUMNS}
)
"""A run without deposits and withdrawals."""
