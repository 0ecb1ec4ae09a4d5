"""The market's own columns against a slow, obvious twin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qtsim as qt
from qtsim.data.timeframes import DAY, timeframe_ns
from qtsim.errors import UsageError
from qtsim.signals.compute import compute_signals
from tests.unit.signals.made_bars import HOUR, START, made_bars, made_funding, without

COLUMNS = ("atr", "atr_pct", "atr_ratio", "volatility_factor", "symbol_risk", "funding_rate")


class Nothing(qt.Strategy):
    def signals(self, bars):
        return qt.Signals(np.zeros(len(bars), bool))


def columns_of(frames: dict[str, pd.DataFrame], timeframe: str = "1h", **others: object) -> dict[str, np.ndarray]:
    return {symbol: answer.rows for symbol, answer in compute_signals(Nothing(), frames, timeframe, **others).items()}


def slow_bars(frame: pd.DataFrame, step: int, length: int) -> list[tuple[int, float, float, float]]:
    """Whole bars as (close time, high, low, close)."""
    groups: dict[int, list[int]] = {}
    opens = frame.index.as_unit("ns").asi8
    for row, opened in enumerate(opens):
        groups.setdefault(opened // length, []).append(row)
    made = []
    for group, rows in groups.items():
        if len(rows) == length // step:
            part = frame.iloc[rows]
            made.append(((group + 1) * length, part["high"].max(), part["low"].min(), part["close"].iloc[-1]))
    return made


def slow_atr(bars: list[tuple[int, float, float, float]]) -> list[float]:
    """Wilder: the mean of the first 14 true ranges, then (13 × before + range) / 14; the first bar has no range."""
    ranges = [
        max(high, bars[row][3]) - min(low, bars[row][3]) for row, (_, high, low, _) in enumerate(bars[1:], start=0)
    ]
    atr = [float("nan")] * len(bars)
    for row in range(14, len(bars)):
        atr[row] = sum(ranges[:14]) / 14 if row == 14 else (13 * atr[row - 1] + ranges[row - 1]) / 14
    return atr


def slow_columns(
    frames: dict[str, pd.DataFrame],
    symbol: str,
    step: int,
    length: int,
    leader: str | None,
    funding: pd.DataFrame | None,
) -> list[tuple[float, ...]]:
    made = {name: slow_bars(frame, step, length) for name, frame in frames.items()}
    atrs = {name: slow_atr(bars) for name, bars in made.items()}

    def at_close(name: str, close: int) -> tuple[float, float, float]:
        bars, atr = made[name], atrs[name]
        known = [row for row, bar in enumerate(bars) if bar[0] <= close]
        if not known:
            return np.nan, np.nan, 1.0
        shares = [value / bar[3] for value, bar in zip(atr, bars, strict=True)]
        n_mean = 20 * DAY // length
        recent = shares[max(known[-1] - n_mean + 1, 0) : known[-1] + 1]
        full = len(recent) == n_mean and not np.isnan(recent).any()
        ratio = shares[known[-1]] / (sum(recent) / n_mean) if full else 1.0
        return atr[known[-1]], shares[known[-1]], ratio

    result = []
    for opened in frames[symbol].index.as_unit("ns").asi8:
        close = int(opened) + step
        atr, share, ratio = at_close(symbol, close)
        risk = 1.0
        if leader is not None:
            leading = at_close(leader, close)[1]
            if not np.isnan(leading) and not np.isnan(share) and leading > 0:
                risk = min(max(share / leading, 0.5), 1.5)
        rate = 0.0
        if funding is not None:
            known = funding["funding_rate"].to_numpy()[funding.index.as_unit("ns").asi8 <= close]
            rate = known[-1] if len(known) else 0.0
        result.append((atr, share, ratio, min(max(ratio - 1, 0.0), 5.0), risk, rate))
    return result


@settings(max_examples=15)
@given(
    seed=st.integers(0, 50),
    steps=st.sampled_from([("1h", "1h"), ("1h", "4h"), ("12h", "1h"), ("1d", "1d"), ("30m", "1h")]),
    gaps=st.lists(st.integers(0, 79), max_size=5),
)
def test_columns_are_the_slow_twin(seed: int, steps: tuple[str, str], gaps: list[int]) -> None:
    timeframe, regime = steps
    step, length = timeframe_ns(timeframe), max(timeframe_ns(timeframe), timeframe_ns(regime))
    frames = {
        "ETHUSDT": without(made_bars(80, seed, step=step), gaps),
        "BTCUSDT": made_bars(70, seed + 1, start=START + 5 * step, step=step),
    }
    funding = made_funding(10, seed)
    rows = columns_of(frames, timeframe, regime_timeframe=regime, leader="BTCUSDT", funding_frames={"ETHUSDT": funding})
    for symbol, events in (("ETHUSDT", funding), ("BTCUSDT", None)):
        expected = np.array(slow_columns(frames, symbol, step, length, "BTCUSDT", events))
        for position, name in enumerate(COLUMNS):
            np.testing.assert_allclose(rows[symbol][name], expected[:, position], rtol=1e-9, atol=0, err_msg=name)


def test_twenty_days_of_hours_are_480_bars() -> None:
    rows = columns_of({"BTCUSDT": made_bars(600)})["BTCUSDT"]
    first = 14 + 480 - 1
    assert (rows["atr_ratio"][:first] == 1.0).all()
    assert rows["atr_ratio"][first] != 1.0
    assert rows["atr_ratio"][first] == pytest.approx(rows["atr_pct"][first] / rows["atr_pct"][14 : first + 1].mean())


def test_volatility_factor_and_symbol_risk_are_clamped() -> None:
    calm = made_bars(600)
    wild = calm.copy()
    middle = wild["close"].to_numpy()[520:]
    wild.iloc[520:, wild.columns.get_loc("high")] = middle * 3
    wild.iloc[520:, wild.columns.get_loc("low")] = middle / 3
    wild.iloc[520:, wild.columns.get_loc("open")] = middle
    rows = columns_of({"BTCUSDT": calm, "WILDUSDT": wild}, leader="BTCUSDT")
    assert rows["WILDUSDT"]["volatility_factor"].max() == 5.0
    assert rows["WILDUSDT"]["symbol_risk"][-1] == 1.5
    assert (rows["BTCUSDT"]["symbol_risk"] == 1.0).all()
    turned = columns_of({"BTCUSDT": calm, "WILDUSDT": wild}, leader="WILDUSDT")
    assert turned["BTCUSDT"]["symbol_risk"][-1] == 0.5
    alone = columns_of({"WILDUSDT": wild}, leader=None)
    assert (alone["WILDUSDT"]["symbol_risk"] == 1.0).all()
    absent = columns_of({"WILDUSDT": wild}, leader="BTCUSDT")
    assert (absent["WILDUSDT"]["symbol_risk"] == 1.0).all()


def test_a_leader_that_is_not_traded() -> None:
    rows = columns_of({"ETHUSDT": made_bars(60, 1)}, leader="BTC/USDT", other_frames={"BTCUSDT": made_bars(60)})
    assert (rows["ETHUSDT"]["symbol_risk"][14:] != 1.0).any()


def test_prices_that_never_move() -> None:
    flat = made_bars(600)
    flat.loc[:, ["open", "high", "low", "close"]] = 100.0
    rows = columns_of({"FLATUSDT": flat, "BTCUSDT": made_bars(600)}, leader="FLATUSDT")
    assert (rows["FLATUSDT"]["atr_ratio"] == 1.0).all()
    assert (rows["FLATUSDT"]["volatility_factor"] == 0.0).all()
    assert (rows["BTCUSDT"]["symbol_risk"] == 1.0).all()


def test_the_columns_past_does_not_change() -> None:
    frame = made_bars(620)
    whole = columns_of({"BTCUSDT": frame}, regime_timeframe="4h")["BTCUSDT"]
    for cut in (1, 30, 150, 601):
        part = columns_of({"BTCUSDT": frame.iloc[:cut]}, regime_timeframe="4h")["BTCUSDT"]
        assert part.tobytes() == whole[:cut].tobytes()


def test_a_longer_history_of_the_regimes_bars_is_used() -> None:
    minutes = made_bars(120, step=HOUR // 60)
    hours = made_bars(700, seed=4, start=START - 698 * HOUR)
    rows = columns_of({"BTCUSDT": minutes}, "1m", other_frames={("BTCUSDT", "1h"): hours})["BTCUSDT"]
    assert not np.isnan(rows["atr"]).any()
    assert rows["atr_ratio"][0] != 1.0
    assert len(np.unique(rows["atr"])) == 3


def test_a_regime_that_the_bars_cannot_make() -> None:
    with pytest.raises(UsageError, match=r"regime.timeframe 1h is no whole multiple of the run's 45m"):
        columns_of({"BTCUSDT": made_bars(20, step=45 * HOUR // 60)}, "45m")


def test_the_leaders_return_over_a_day() -> None:
    """From one close of the regime's bars to the one exactly 24 h before; a loss of a tenth is -0.1 exactly."""
    leader = made_bars(80)
    leader.iloc[30, leader.columns.get_loc("close")] = 100.0
    leader.iloc[54, leader.columns.get_loc("close")] = 90.0
    found = columns_of({"ETHUSDT": made_bars(80, 1)}, leader="BTCUSDT", other_frames={"BTCUSDT": leader})["ETHUSDT"]
    close = leader["close"].to_numpy()
    assert np.isnan(found["leader_24h"][:24]).all()
    assert found["leader_24h"][24:] == pytest.approx(close[24:] / close[:-24] - 1)
    assert found["leader_24h"][54] == -0.1


def test_the_leaders_return_is_unknown() -> None:
    """Without a leader; where a close of the two is missing; from a day after its last close on."""
    frame, leader = {"ETHUSDT": made_bars(120, 1)}, made_bars(120)
    assert np.isnan(columns_of(frame, leader=None)["ETHUSDT"]["leader_24h"]).all()
    gap = columns_of(frame, leader="BTCUSDT", other_frames={"BTCUSDT": without(leader, [40])})["ETHUSDT"]["leader_24h"]
    assert gap[40] == gap[39], "the last close stands"
    assert np.isnan(gap[64])
    assert not np.isnan(gap[[39, 63, 65]]).any()
    short = columns_of(frame, leader="BTCUSDT", other_frames={"BTCUSDT": leader.iloc[:60]})["ETHUSDT"]["leader_24h"]
    assert not np.isnan(short[82])
    assert np.isnan(short[83:]).all()


def test_the_leaders_return_with_daily_bars() -> None:
    daily = columns_of({"BTCUSDT": made_bars(30, step=24 * HOUR)}, "1d", leader="BTCUSDT")["BTCUSDT"]
    assert np.isnan(daily["leader_24h"][0])
    assert not np.isnan(daily["leader_24h"][1:]).any()
