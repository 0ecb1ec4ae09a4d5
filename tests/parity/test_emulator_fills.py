"""The emulated exchange fills, charges and funds as the simulator does: its orders, replayed, give its very numbers."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from qtsim.core.enums import Reason, Side
from qtsim.core.records import Record
from qtsim.data.instruments import Bracket, Instrument
from qtsim.emulator import Exchange, FillRule, Points, Rules
from qtsim.emulator.auth import sign
from qtsim.emulator.decimals import exact, plain
from qtsim.emulator.feed import SymbolFeed, walk_bars
from qtsim.emulator.market import MS
from tests.generated import HOUR, KNOBS, Case, case_of, make_inputs

FIXED: dict[str, Any] = {
    "exit.monitoring": "points",
    "sim.path": "nearest",
    "leverage.model": "fixed",
    "leverage.fixed": 10.0,
    "exit.levels.adaptive": False,
    "exit.on_opposite_signal": "reverse",
    "costs.slippage.bps": 2.0,
    "gates.enabled": False,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 4.0,
    "limits.per_trade.margin": "inf",
}
VARIANTS = {
    "isolated": {},
    "cross": {"account.mode.margin": "cross"},
    "liquidated": {"exit.policy": "bracket"},
    "no slippage": {"costs.slippage.bps": 0.0, "sizing.fixed_qty": 1.0},
}


class Replay:
    """Sends a finished run's orders to an exchange at the points at which the run made them."""

    def __init__(self, case: Case, journals: Any, overrides: dict[str, Any]) -> None:
        self.case, self.names = case, [f"{item.symbol}USDT" for item in case.inputs]
        self.exchange = Exchange(
            Rules(
                instruments=tuple(
                    instrument_of(item, name) for item, name in zip(case.inputs, self.names, strict=True)
                ),
                balance=case.balance,
                fill=FillRule(0.0002, 0.0005, overrides["costs.slippage.bps"]),
                base_interval="1h",
                isolated=overrides.get("account.mode.margin") != "cross",
                leverage=10,
                weight_limit=0,
                orders_10s=0,
                orders_1m=0,
            ),
            now_ms=0,
        )
        self.fills = list(journals.fills)
        self.hard = {int(trade["trade_id"]): float(trade["hard_price"]) for trade in journals.trades}
        self.seen: Counter[str] = Counter()
        self.next = 0

    def run(self) -> Exchange:
        feeds = [
            SymbolFeed(name, item.bars, Decimal("0.001"), item.has_mark, item.funding)
            for item, name in zip(self.case.inputs, self.names, strict=True)
        ]
        for event in walk_bars(feeds, HOUR):
            self.exchange.advance(event)
            if isinstance(event, Points):
                bars = {point.symbol: self.seen[point.symbol] // 4 for point in event.points}
                self.seen.update(point.symbol for point in event.points)
                self.obey(event.ts_ns, bars)
        assert self.next == len(self.fills), f"fill {self.next} of {len(self.fills)} had no point"
        return self.exchange

    def obey(self, ts: int, bars: dict[str, int]) -> None:
        while self.next < len(self.fills):
            fill = self.fills[self.next]
            name = self.names[int(fill["symbol"])]
            if int(fill["ts"]) != ts or bars.get(name) != int(fill["bar"]):
                return
            self.next += 1
            if fill["reason"] in (Reason.HARD_STOP, Reason.LIQUIDATION):
                assert not self.exchange.state.account.position(name, "BOTH").qty, "the exchange has acted by itself"
                continue
            self.trade(name, fill)

    def trade(self, name: str, fill: Record) -> None:
        enters = fill["reason"] == Reason.ENTRY
        buys = (fill["side"] == Side.LONG) == enters
        order = {"symbol": name, "side": "BUY" if buys else "SELL", "type": "MARKET"}
        qty = plain(exact(float(fill["qty"])))
        self.send("order", **order, quantity=qty, **({} if enters else {"reduceOnly": "true"}))
        hard = self.hard.get(int(fill["trade_id"]), np.nan)
        if enters and np.isfinite(hard):
            stop = {**order, "side": "SELL" if buys else "BUY", "type": "STOP_MARKET", "workingType": "MARK_PRICE"}
            self.send(
                "algoOrder", **stop, algoType="CONDITIONAL", closePosition="true", triggerPrice=plain(exact(hard))
            )

    def send(self, endpoint: str, **params: str) -> None:
        text = urlencode({"timestamp": self.exchange.state.wall_ms, **params})
        signed = f"{text}&signature={sign('emulator-secret', text)}"
        answer = self.exchange.request("POST", f"/fapi/v1/{endpoint}", signed, {"X-MBX-APIKEY": "emulator-key"})
        assert answer.status == 200, (params, json.loads(answer.body))


def instrument_of(item: Any, name: str) -> Instrument:
    row = item.instrument[0]
    brackets = tuple(
        Bracket(*(float(row[f"bracket_{part}"][k]) for part in ("cap", "rate", "amount", "leverage")))
        for k in range(int(row["n_brackets"]))
    )
    return Instrument(
        symbol=name,
        tick=Decimal("0.1"),
        lot=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=float("inf"),
        min_notional=float(row["min_notional"]),
        liquidation_fee=float(row["liquidation_fee"]),
        brackets=brackets,
        bracket_date="",
        source="test",
    )


def made_case(seed: int, overrides: dict[str, Any]) -> Case:
    """Two symbols with mark prices and funding; wild ones and gaps by turns."""
    knobs = {**{knob: values[0] for knob, values in KNOBS.items()}, "mark": 0.001, "signal_rate": 0.3}
    knobs |= {"volatility": 0.03 if seed % 2 else 0.008, "gaps": seed > 1, "funding_hours": 4}
    return case_of(make_inputs(seed, 2, 60, knobs), overrides)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("seed", range(4))
def test_replayed_orders_give_the_runs_own_fills_fees_funding_and_wallet(name: str, seed: int) -> None:
    overrides = {**FIXED, **VARIANTS[name]}
    case = made_case(seed, overrides)
    journals = case.reference(diagnose=False)
    exchange = Replay(case, journals, overrides).run()

    assert len(journals.fills) > 4
    for k, symbol in enumerate(Replay(case, journals, overrides).names):
        mine = [fill for fill in journals.fills if fill["symbol"] == k]
        theirs = [trade for trade in exchange.state.trades if trade.order.symbol == symbol]
        assert len(mine) == len(theirs)
        for fill, trade in zip(mine, theirs, strict=True):
            if fill["reason"] == Reason.LIQUIDATION:
                assert float(trade.price) == pytest.approx(float(fill["price"]), rel=1e-12)
            else:
                assert float(trade.price) == float(fill["price"])
            assert float(trade.qty) == float(fill["qty"])
            assert float(trade.commission) == float(fill["fee"])
            assert float(trade.realized) == pytest.approx(float(fill["pnl"]), abs=1e-9)
        paid = sum(
            float(row.amount) for row in exchange.state.income if (row.symbol, row.kind) == (symbol, "FUNDING_FEE")
        )
        assert paid == pytest.approx(float(journals.funding["amount"][journals.funding["symbol"] == k].sum()), abs=1e-9)
    assert float(exchange.state.account.wallet) == pytest.approx(float(journals.equity["wallet"][-1]), abs=1e-8)


def test_the_replayed_runs_are_stopped_by_the_exchange_and_liquidated_too() -> None:
    """Otherwise the comparison above would show little."""
    journals = [case.reference(diagnose=False) for case in (made_case(seed, FIXED) for seed in range(4))]
    reasons = Counter(int(reason) for one in journals for reason in one.fills["reason"])
    assert reasons[Reason.HARD_STOP] > 20
    assert reasons[Reason.LIQUIDATION] > 2
    assert reasons[Reason.TP1] > 20


def test_points_are_the_simulators_at_its_times() -> None:
    knobs = {**{knob: values[0] for knob, values in KNOBS.items()}, "mark": 0.01}
    item = make_inputs(3, 1, 20, knobs)[0]
    feed = SymbolFeed("AAAUSDT", item.bars, Decimal("0.001"), item.has_mark, item.funding)
    points = [event for event in walk_bars([feed], HOUR) if isinstance(event, Points)]
    assert len(points) == 4 * len(item.bars)
    for k, bar in enumerate(item.bars):
        times = [event.ts_ns - int(bar["ts_open"]) for event in points[4 * k : 4 * k + 4]]
        assert times == [0, HOUR // 3, 2 * HOUR // 3, HOUR]
        shown = [float(event.points[0].price) for event in points[4 * k : 4 * k + 4]]
        high_first = bar["high"] - bar["open"] < bar["open"] - bar["low"]
        inner = ["high", "low"] if high_first else ["low", "high"]
        assert shown == [float(bar[part]) for part in ("open", *inner, "close")]
        volume = sum(event.points[0].qty for event in points[4 * k : 4 * k + 4])
        assert float(volume) == float(bar["volume"])


def test_events_of_one_instant_come_in_the_simulators_order() -> None:
    knobs = {**{knob: values[0] for knob, values in KNOBS.items()}, "funding_hours": 1}
    items = make_inputs(5, 2, 12, knobs)
    feeds = [SymbolFeed(f"{i.symbol}USDT", i.bars, Decimal("0.001"), i.has_mark, i.funding) for i in items]
    events = list(walk_bars(feeds, HOUR))
    assert [event.ts_ns for event in events] == sorted(event.ts_ns for event in events)
    second = int(items[0].bars["ts_open"][1])
    kinds = [type(event).__name__ for event in events if event.ts_ns == second]
    assert [kind for kind in kinds if kind != "FundingDue"] == ["Points", "BarsClosed", "Points"]
    if "FundingDue" in kinds:
        assert kinds[0] == "Points"
        assert kinds.index("FundingDue") < kinds.index("BarsClosed")
    assert all(event.ts_ns // MS * MS == event.ts_ns for event in events if isinstance(event, Points))
