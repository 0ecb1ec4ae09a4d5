"""The emulator's market as an application sets it up: data, history, the settings' rules, trades, refusals."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.app.emulator import Rehearsal, Wanted, prepare_emulator
from qtsim.app.workspace import find_workspace, settings_of
from qtsim.data.frames import make_frame, times_of
from qtsim.data.store import Store
from qtsim.data.ticks import TickStore
from qtsim.data.timeframes import HOUR, parse_time
from qtsim.emulator import BarsClosed, FundingDue, Points
from qtsim.emulator.market import MS
from qtsim.errors import UsageError
from tests.unit.cli.made_workspace import made_bars

Prepare = Callable[..., Rehearsal]
START = parse_time("2024-01-01")


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """A workspace with 300 hourly bars, mark bars and funding of BTCUSDT."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    store = Store(tmp_path / "data")
    bars = made_bars()
    store.write_bars("BTCUSDT", "1h", bars, source="test")
    mark = bars[["open", "high", "low", "close"]] + 0.5
    store.write_bars("BTCUSDT", "1h", mark, kind="mark", source="test")
    times = START + 8 * HOUR * np.arange(38)
    columns = {"funding_rate": np.full(38, 0.0002), "mark_price": np.full(38, np.nan)}
    store.write_funding("BTCUSDT", make_frame(times, columns), source="test")

    def run(wanted: Wanted | None = None, **settings: Any) -> Rehearsal:
        overrides = {"run.symbols": ["BTCUSDT"], "run.timeframe": "1h"}
        overrides |= {name.replace("__", "."): value for name, value in settings.items()}
        workspace = find_workspace()
        return prepare_emulator(workspace, settings_of(workspace, overrides=overrides), wanted or Wanted())

    return run


def asked(rehearsal: Rehearsal, path: str, text: str) -> Any:
    return rehearsal.exchange.request("GET", f"/fapi/v1/{path}", text, {}).json()


def test_what_lies_before_the_period_is_history(prepare: Prepare) -> None:
    rehearsal = prepare(run__timerange="20240105-20240107")
    begin = parse_time("2024-01-05")
    assert (rehearsal.start_ns, rehearsal.end_ns) == (begin, parse_time("2024-01-07"))
    rows = asked(rehearsal, "klines", "symbol=BTCUSDT&interval=1h&limit=1500")
    assert len(rows) == 96
    assert rows[-1][0] * MS == begin - HOUR
    marks = asked(rehearsal, "markPriceKlines", "symbol=BTCUSDT&interval=1h&limit=1")
    assert float(marks[0][4]) == float(rows[-1][4]) + 0.5
    paid = asked(rehearsal, "fundingRate", "symbol=BTCUSDT")
    assert len(paid) == 12
    premium = asked(rehearsal, "premiumIndex", "symbol=BTCUSDT")
    assert premium["nextFundingTime"] * MS == begin
    events = list(rehearsal.events)
    assert sum(isinstance(event, Points) for event in events) == 4 * 48
    assert sum(isinstance(event, BarsClosed) for event in events) == 48
    assert [event.ts_ns for event in events if isinstance(event, FundingDue)] == [
        begin + 8 * HOUR * k for k in range(7)
    ]


def test_without_a_start_the_first_bars_are_history(prepare: Prepare) -> None:
    assert prepare().start_ns == START + 150 * HOUR


def test_klines_after_the_play_are_the_stored_bars(prepare: Prepare) -> None:
    rehearsal = prepare(run__timerange="20240105-20240107")
    for event in rehearsal.events:
        rehearsal.exchange.advance(event)
    rows = asked(rehearsal, "klines", "symbol=BTCUSDT&interval=1h&limit=1500")
    stored = made_bars().iloc[: len(rows)]
    assert [row[0] * MS for row in rows] == times_of(stored).tolist()
    for k, name in enumerate(("open", "high", "low", "close", "volume"), 1):
        assert [float(row[k]) for row in rows] == stored[name].tolist()
    two_days = asked(rehearsal, "klines", "symbol=BTCUSDT&interval=1d&limit=2")
    assert [float(row[2]) for row in two_days] == [stored["high"][a:b].max() for a, b in ((96, 120), (120, 144))]


def test_account_and_costs_are_those_of_the_settings(prepare: Prepare) -> None:
    rehearsal = prepare(
        account__balance=123.5,
        account__mode__margin="cross",
        account__mode__position="hedge",
        costs__fees__taker=0.0007,
        costs__slippage__bps=3.0,
    )
    account, rule = rehearsal.exchange.state.account, rehearsal.exchange.rules.fill
    assert (account.wallet, account.hedge) == (Decimal("123.5"), True)
    assert not account.settings_of("BTCUSDT").isolated
    assert (rule.taker, rule.slippage_bps) == (0.0007, 3.0)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "slippage of another model": ({"costs__slippage__model": "size"}, "costs.slippage.model = size"),
    "another path": ({"sim__path": "adverse"}, "sim.path = adverse"),
    "detail": ({"sim__mode": "detail", "data__detail_timeframe": "1m"}, "name the finer one"),
    "a symbol that is not there": ({"run__symbols": ["ETHUSDT"]}, "ETHUSDT"),
    "a timeframe without klines": ({"run__timeframe": "5h"}, "no klines of this length"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_play_is_refused(case: tuple[dict[str, Any], str], prepare: Prepare) -> None:
    settings, words = case
    with pytest.raises(UsageError, match=words):
        prepare(**settings)


WRONG = {
    "speed 0": ({"speed": 0.0}, "--speed 0 is out of range"),
    "both paces": ({"speed": 2.0, "lockstep": True}, "contradict each other"),
    "latency below 0": ({"latency_ms": -1}, "--latency -1"),
    "port": ({"port": 70_000}, "--port 70000"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_wrong_options_are_named(case: tuple[dict[str, Any], str]) -> None:
    options, words = case
    with pytest.raises(UsageError, match=words):
        Wanted(**options)


def test_single_trades_are_played_in_order_with_their_bars(prepare: Prepare, tmp_path: Path) -> None:
    day = parse_time("2024-01-03")
    seconds = np.array([10, 10, 3_599, 3_600, 7_300, 80_000])
    trades = pd.DataFrame(
        {
            "time": day + seconds * 1_000_000_000,
            "price": [100.0, 100.5, 101.0, 102.0, 99.0, 98.0],
            "qty": [1.0, 2.0, 0.5, 1.0, 1.0, 3.0],
            "id": np.arange(6) + 1,
            "is_buyer_maker": [False, True, False, True, False, True],
        }
    )
    TickStore.beside(Store(tmp_path / "data")).write_trades_day("BTCUSDT", day, trades, source="test")
    rehearsal = prepare(sim__mode="ticks", run__timerange="20240103-20240104")
    shown: list[tuple[int, str]] = []
    for event in rehearsal.events:
        rehearsal.exchange.advance(event)
        if isinstance(event, FundingDue):
            continue
        what = str(event.points[0].price) if isinstance(event, Points) else "closed"
        shown.append(((event.ts_ns - day) // 1_000_000_000, what))
    assert shown[:7] == [
        *((10, "100.0"), (10, "100.5"), (3_599, "101.0")),
        *((3_600, "closed"), (3_600, "102.0"), (7_200, "closed"), (7_300, "99.0")),
    ]
    found = asked(rehearsal, "aggTrades", "symbol=BTCUSDT")
    assert [(float(row["p"]), float(row["q"]), row["m"]) for row in found] == [
        *((100.0, 1.0, False), (100.5, 2.0, True), (101.0, 0.5, False)),
        *((102.0, 1.0, True), (99.0, 1.0, False), (98.0, 3.0, True)),
    ]
