"""Everything one run produced, as a notebook and the command line see it."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qtsim.core.enums import FillKind
from qtsim.errors import QtsimError
from qtsim.results.ablation import EMPTY_ABLATION
from qtsim.results.agents import Agent
from qtsim.results.ambiguity import EMPTY_AMBIGUOUS, doubted_bars
from qtsim.results.metrics import Totals, buy_and_hold_equity, compute_metrics, daily_equity, daily_returns
from qtsim.results.signals import EMPTY_SIGNALS
from qtsim.results.summary import Summary, summarize
from qtsim.results.tables import Frames, build_frames, times_ns, utc_times
from qtsim.sim.journals import Journals

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
MARK_COLUMNS = ("mark_open", "mark_high", "mark_low", "mark_close")
MARKET_COLUMNS = ("atr", "volatility_factor")
"""Columns of `Result.bars` beyond the bar itself; pictures of trades use them where they are there."""


@dataclass(frozen=True)
class RunInfo:
    """What was run, on what, under which assumptions: the manifest of a run. Plain values only, so that it is JSON."""

    version: str  # of qtsim
    strategy: str
    symbols: list[str]
    timeframe: str
    timeframe_ns: int
    start_ns: int  # open of the first bar
    end_ns: int  # open of the last bar
    params: dict[str, Any] = field(default_factory=dict)  # of the strategy
    bars: dict[str, int] = field(default_factory=dict)  # per symbol
    gaps: dict[str, int] = field(default_factory=dict)  # missing bars per symbol; absent or 0: none
    profile: str = "exitbrain-v35"
    n_overrides: int = 0
    headlines: list[str] = field(default_factory=list)  # overridden profile values and values from the environment
    settings: dict[str, Any] = field(default_factory=dict)  # path -> value, all of them
    setting_sources: dict[str, str] = field(default_factory=dict)  # path -> where the value came from
    sources: dict[str, str] = field(default_factory=dict)  # symbol -> where its bars came from; "SYNTHETIC ..."
    fingerprints: dict[str, str] = field(default_factory=dict)  # "bars BTCUSDT 1h" -> content sha256
    from_store: bool = False  # the data can be looked up again by the names of `fingerprints`
    instruments: dict[str, dict[str, Any]] = field(default_factory=dict)  # symbol -> rules that the caller gave
    passport: dict[str, dict[str, Any]] = field(default_factory=dict)  # symbol -> quality of its data
    bracket_date: str = ""  # of the instrument table
    funding: str = "off"  # history, default, off
    mark: str = "off"  # history; off: the last price stands in
    detail: str = ""  # "1m for all bars" in detail mode
    settled: dict[str, Any] = field(default_factory=dict)  # run, its ambiguous bars, how many have detail here
    leader_known: bool = True  # False: no data of the leader, the global regime is UNKNOWN throughout
    causality: str = "not checked"  # verdict of the look-ahead check
    taker: float = float("nan")  # fee rates in force
    maker: float = float("nan")
    quote: str = "USDT"
    findings: list[str] = field(default_factory=list)  # of the check of the settings
    warnings: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # of the driver: signals, holds, nan_points, ...
    code_digest: str = ""
    core_digest: str = ""
    strategy_digest: str = ""
    data_digest: str = ""
    seed: int = 0
    agent: str = ""  # digest of the agent that sizing model rl evaluated; "" where it trained one, or had none
    outages: list[list[str]] = field(default_factory=list)  # (from, to, degraded or critical) that the caller injected
    transfers: list[list[Any]] = field(default_factory=list)  # (time, amount) that the caller asked for
    versions: dict[str, str] = field(default_factory=dict)  # python, numpy, numba, ...
    started_at: str = ""  # wall clock, ISO UTC; with elapsed_s the only fields that differ between equal runs
    elapsed_s: float = float("nan")

    @property
    def is_synthetic(self) -> bool:
        """Whether any of the data was generated."""
        return any(source.startswith("SYNTHETIC") for source in self.sources.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunInfo:
        """The inverse of `to_dict`; fields of a newer version are left out."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass
class Result:
    """One run. Frames are described in `qtsim.results.tables`, `qtsim.results.ablation` and `qtsim.results.ambiguity`,
    metrics in `qtsim.results.metrics`."""

    info: RunInfo
    totals: Totals
    metrics: dict[str, float]
    trades: pd.DataFrame
    fills: pd.DataFrame
    orders: pd.DataFrame
    decisions: pd.DataFrame
    denials: pd.DataFrame
    funding: pd.DataFrame
    equity: pd.DataFrame
    positions: pd.DataFrame  # still open at the end
    governor: pd.DataFrame  # decisions of the Safety Governor, each time one fires or ends
    transfers: pd.DataFrame  # deposits and withdrawals, also refused ones
    bars: dict[str, pd.DataFrame]  # what the report draws, per symbol: bars and market columns
    buy_and_hold: pd.Series[float]  # equity of holding, by day
    digest: str  # sha256 of decisions, fills, equity, governor and transfers
    ranges: dict[str, dict[str, float]] = field(default_factory=dict)  # path -> metrics: adverse, nearest, favourable
    optimism: dict[str, float] = field(default_factory=dict)  # assumption lifted -> Total Return without it
    ambiguous: pd.DataFrame = field(default_factory=EMPTY_AMBIGUOUS.copy)  # bars whose path decides exits
    signals: pd.DataFrame = field(default_factory=EMPTY_SIGNALS.copy)  # the newest, as `qtsim.results.signals` has them
    ablation: pd.DataFrame = field(default_factory=EMPTY_ABLATION.copy)  # the run without each part in turn
    ablation_left_out: dict[str, str] = field(default_factory=dict)  # part -> why the run was not made without it
    verified: bool | None = None  # both drivers gave the same bytes; None: not compared
    agent: Agent | None = None  # of sizing model rl: the one evaluated, or the one trained in this run
    has_governor: bool = True  # False: saved by a version without gates and governor
    run_id: str = ""
    path: Path | None = None  # of its run folder, once saved

    @classmethod
    def from_journals(
        cls,
        journals: Journals,
        info: RunInfo,
        bars: Mapping[str, pd.DataFrame],
        *,
        ranges: Mapping[str, Mapping[str, float]] | None = None,
        optimism: Mapping[str, float] | None = None,
        verified: bool | None = None,
        agent: Agent | None = None,
    ) -> Result:
        """Build frames and metrics from what a driver wrote down.

        `bars`: per symbol the canonical frame (index: open time), with mark_* columns where there is mark history and
        `atr`, `volatility_factor` as known at each bar's close, for the pictures.
        """
        frames = build_frames(journals, info.tags)
        totals = account_totals(journals)
        held = buy_and_hold_equity(bars, totals.initial_balance)
        return cls(
            info=info,
            totals=totals,
            metrics=_metrics(frames, totals, held),
            trades=frames.trades,
            fills=frames.fills,
            orders=frames.orders,
            decisions=frames.decisions,
            denials=frames.denials,
            funding=frames.funding,
            equity=frames.equity,
            positions=frames.positions,
            governor=frames.governor,
            transfers=frames.transfers,
            bars=dict(bars),
            buy_and_hold=held,
            digest=journals_digest(journals),
            ranges={path: dict(metrics) for path, metrics in (ranges or {}).items()},
            optimism=dict(optimism or {}),
            ambiguous=doubted_bars(journals),
            verified=verified,
            agent=agent,
        )

    @property
    def has_ablation(self) -> bool:
        """Whether the run was asked what each of its parts is worth."""
        return bool(len(self.ablation) or self.ablation_left_out)

    @property
    def warnings(self) -> list[str]:
        """What the run warned about."""
        return self.info.warnings

    @property
    def daily_returns(self) -> pd.Series[float]:
        """What Sharpe and the other annualised metrics are made of: one return per UTC day, by the day's end."""
        start = self.totals.initial_balance
        ts = times_ns(pd.DatetimeIndex(self.equity.index))
        ends, daily = daily_equity(ts, self.equity["growth"].to_numpy(dtype=np.float64), start)
        return pd.Series(daily_returns(daily, start), index=utc_times(ends), name="daily_return")

    def summary(self) -> Summary:
        """The first screen; prints as text."""
        return summarize(self)

    def report(self, path: str | Path) -> Path:
        """Write the report, one HTML file that works offline. Errors: QtsimError where it cannot be written."""
        written: Path = _report().write_report(self, Path(path))
        return written

    def plot(self, symbol: str | None = None) -> Any:
        """A plotly Figure: candles with entries and exits (of one symbol), equity, drawdown, sharing their time."""
        return _report().overview_figure(self, symbol)

    def save(self, runs_dir: str | Path) -> Path:
        """Write a run folder below `runs_dir` and return it; sets `run_id` and `path`."""
        from qtsim.results.run_folder import save_run  # it reads results, so it imports this module

        return save_run(self, Path(runs_dir))

    def to_vectorbt(self, **portfolio_args: Any) -> Any:
        """A vectorbt Portfolio with the same fills, all symbols on one cash account.

        vectorbt knows neither funding nor leverage: funding is left out, and where positions were larger than the
        account its cash starts at what they needed. `portfolio_args` go to `Portfolio.from_orders`.
        Errors: QtsimError where vectorbt is not installed.
        """
        try:
            vectorbt = importlib.import_module("vectorbt")
        except ImportError as error:
            raise QtsimError('to_vectorbt needs vectorbt: pip install "qtsim[vectorbt]"') from error
        table = orders_for_vectorbt(self)
        args: dict[str, Any] = {
            "close": table["close"],
            "size": table["size"],
            "price": table["price"],
            "fixed_fees": table["fee"],
            "size_type": "amount",
            "direction": "both",
            "init_cash": max(self.totals.initial_balance, cash_needed(table)),
            "group_by": True,
            "cash_sharing": True,
            "freq": pd.Timedelta(self.info.timeframe_ns, unit="ns"),
        }
        return vectorbt.Portfolio.from_orders(**{**args, **portfolio_args})

    def __repr__(self) -> str:
        name = self.run_id or "not saved"
        return f"<Result {self.info.strategy} {','.join(self.info.symbols)} {self.info.timeframe}, {name}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def account_totals(journals: Journals) -> Totals:
    """Money of the whole run, open positions at their last mark."""
    account = journals.account[0]
    wallet = float(account["wallet"])
    equity = float(journals.equity["equity"][-1]) if len(journals.equity) else wallet
    if not (journals.positions["side"] != 0).any():
        equity = wallet  # positions closed at the last point are closed after it was marked
    liquidations = journals.fills["kind"] == FillKind.LIQUIDATION
    return Totals(
        initial_balance=float(account["initial_balance"]),
        wallet=wallet,
        equity=equity,
        transfers=float(account["transfers"]),
        price_pnl=float(account["price_pnl"]),
        fees=float(account["fees"]),
        slippage=float(account["slippage"]),
        funding=float(account["funding"]),
        liquidation_fees=float(account["liq_fees"]),
        liquidations=int(liquidations.sum()),
        max_margin_use=float(account["max_margin_use"]),
        min_margin_ratio=float(account["min_margin_ratio"]),
        share_bound=int(account["share_bound"]),
        parts=int(account["parts"]),
        delayed=int(account["delayed"]),
        delay_ns=int(account["delay_ns"]),
        limits_placed=int(account["limits_placed"]),
        limits_filled=int(account["limits_filled"]),
        limits_timed_out=int(account["limits_timed_out"]),
        limits_cancelled=int(account["limits_cancelled"]),
    )


def journals_digest(journals: Journals) -> str:
    """sha256 over symbols, decisions, fills, equity, governor and transfers: equal runs have equal digests."""
    digest = hashlib.sha256(",".join(journals.symbols).encode())
    for rows in (journals.decisions, journals.fills, journals.equity, journals.governor, journals.transfers):
        for name in rows.dtype.names:  # by field: padding between fields is not part of a record
            digest.update(np.ascontiguousarray(rows[name]).tobytes())
    return digest.hexdigest()


def orders_for_vectorbt(result: Result) -> dict[str, pd.DataFrame]:
    """Frames time x symbol: close, signed size, price, fee; a row per bar's close and per fill.

    vectorbt takes one order per row and column, so fills of one symbol at one instant follow each other by a
    nanosecond.
    """
    fills = result.fills
    ts = times_ns(fills["time"])
    repeats = fills.groupby(["time", "symbol"]).cumcount().to_numpy() if len(fills) else np.empty(0, dtype=np.int64)
    at = ts + repeats
    opens = {symbol: times_ns(pd.DatetimeIndex(frame.index)) for symbol, frame in result.bars.items()}
    closes_at = {symbol: times + result.info.timeframe_ns for symbol, times in opens.items()}
    rows = np.unique(np.concatenate([at, *closes_at.values()]))
    index, symbols = utc_times(rows), list(result.info.symbols)
    close, size, price = (pd.DataFrame(np.nan, index=index, columns=symbols) for _ in range(3))
    fee = pd.DataFrame(0.0, index=index, columns=symbols)
    entering = fills["kind"].to_numpy() == "entry"
    signed = fills["qty"].to_numpy() * np.where((fills["side"].to_numpy() == "long") == entering, 1.0, -1.0)
    for symbol in symbols:
        if symbol in result.bars:
            places = np.searchsorted(rows, closes_at[symbol])
            close.iloc[places, symbols.index(symbol)] = result.bars[symbol]["close"].to_numpy()
        own = fills["symbol"].to_numpy() == symbol
        places = np.searchsorted(rows, at[own])
        column = symbols.index(symbol)
        close.iloc[places, column] = fills["price"].to_numpy()[own]
        size.iloc[places, column] = signed[own]
        price.iloc[places, column] = fills["price"].to_numpy()[own]
        fee.iloc[places, column] = fills["fee"].to_numpy()[own]
    return {"close": close.ffill().bfill(), "size": size, "price": price, "fee": fee}


def cash_needed(table: Mapping[str, pd.DataFrame]) -> float:
    """The most cash that the orders bind at any time: what was bought and paid in fees, less what was sold."""
    spent = (table["size"] * table["price"]).fillna(0.0) + table["fee"]
    held = table["size"].fillna(0.0).cumsum()
    short_value = (np.maximum(-held, 0.0) * table["close"]).sum(axis=1)  # vectorbt locks the value of shorts
    peak = float((spent.sum(axis=1).cumsum() + 2.0 * short_value).max()) if len(spent) else 0.0
    return max(peak, 0.0) * 1.01  # a margin for prices that move between the orders


def _metrics(frames: Frames, totals: Totals, held: pd.Series[float]) -> dict[str, float]:
    return compute_metrics(
        totals,
        frames.equity,
        frames.trades,
        frames.fills,
        frames.positions,
        frames.transfers,
        buy_and_hold=float(held.iloc[-1]) / totals.initial_balance - 1.0 if len(held) else float("nan"),
    )


def _report() -> Any:
    """The report package. It stands above results, so it is found by name, when it is asked for."""
    return importlib.import_module("qtsim.report")


def stale_data(result: Result, fingerprints: Mapping[str, str]) -> Sequence[str]:
    """Names of the data whose fingerprint is no longer the one that the run used."""
    return [
        name
        for name, fingerprint in result.info.fingerprints.items()
        if name in fingerprints and fingerprints[name] != fingerprint
    ]
