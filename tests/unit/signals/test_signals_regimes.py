"""Regime columns: equal to a slow twin, known at closes only, UNKNOWN without history or leader."""

from __future__ import annotations

import numpy as np
import pandas as pd
import talib

from qtsim.core.enums import LeaderRegime, Regime
from qtsim.core.regime import classify_leader_nb, classify_symbol_nb
from qtsim.data.timeframes import DAY, HOUR
from qtsim.signals.bars import Sources
from qtsim.signals.regimes import LeaderRules, closes_of, fill_regime_columns
from qtsim.signals.table import empty_rows

MEAN = 480


def market(hours: int, seed: int = 1) -> pd.DataFrame:
    """Hourly bars with quiet, trending and wild stretches."""
    rng = np.random.default_rng(seed)
    scale = np.repeat(rng.choice([0.001, 0.004, 0.012], hours // 60 + 1), 60)[:hours]
    drift = np.repeat(rng.choice([-0.0015, 0.0, 0.0015], hours // 90 + 1), 90)[:hours]
    close = 100 * np.exp(np.cumsum(drift + scale * rng.standard_normal(hours)))
    opening = np.concatenate([[100.0], close[:-1]])
    reach = scale * np.abs(rng.standard_normal(hours))
    index = pd.date_range("2024-01-01", periods=hours, freq="h", tz="UTC")
    return pd.DataFrame(
        {
            "open": opening,
            "high": np.maximum(opening, close) * (1 + reach),
            "low": np.minimum(opening, close) * (1 - reach),
            "close": close,
            "volume": rng.lognormal(3, 0.6, hours),
        },
        index=index,
    )


def filled(sources: Sources, symbol: str, length: int, leader: str | None, rules: LeaderRules | None = None):  # type: ignore[no-untyped-def]
    rows = empty_rows(len(sources.series(symbol, sources.length).time))
    fill_regime_columns(rows, sources, symbol, length, leader, rules or LeaderRules())
    return rows


def test_columns_are_the_slow_twin() -> None:
    """Row by row from the bars up to it; the averages alone are taken over the whole series, which sees no future."""
    frame = market(1500)
    rows = filled(Sources({"AAAUSDT": frame}, "1h"), "AAAUSDT", HOUR, None)
    high, low, close, volume = (frame[name].to_numpy() for name in ("high", "low", "close", "volume"))
    atr = talib.ATR(high, low, close, 14)
    adx = talib.ADX(high, low, close, 14)
    averages = {bars: talib.EMA(close, bars) for bars in (20, 50, 200)}
    seen = set()
    for k in range(len(frame)):
        window = atr[k - MEAN + 1 : k + 1] if k >= MEAN - 1 else np.array([np.nan])
        pct = window / close[k - MEAN + 1 : k + 1] if k >= MEAN - 1 else np.array([np.nan])
        mean, mean_pct = window.mean(), pct.mean()
        expected = classify_symbol_nb(
            close[k],
            high[k - 20 : k].max() if k >= 20 else np.nan,
            low[k - 20 : k].min() if k >= 20 else np.nan,
            atr[k],
            mean,
            1.0 if np.isnan(mean_pct) else atr[k] / close[k] / mean_pct,
            volume[k],
            volume[k - 20 : k].mean() if k >= 20 else np.nan,
            adx[k],
            *(averages[bars][k] for bars in (20, 50, 200)),
            *(averages[bars][k] - averages[bars][k - 5] if k >= 5 else np.nan for bars in (20, 50, 200)),
        )
        assert rows["regime"][k] == expected, k
        seen.add(int(expected))
    assert seen == {int(regime) for regime in Regime}, "the market shows every regime"
    assert not rows["leader_regime"].any()


def test_the_leaders_regime_is_that_of_its_last_closed_day() -> None:
    frame = market(24 * 30)
    rules = LeaderRules(ema_bars=10, band=0.03)
    rows = filled(Sources({"BTCUSDT": frame, "AAAUSDT": market(24 * 30, 2)}, "1h"), "AAAUSDT", HOUR, "BTCUSDT", rules)
    daily = frame["close"].to_numpy()[23::24]
    ema = talib.EMA(daily, 10)
    codes = [classify_leader_nb(daily[d], ema[d], 0.03) for d in range(30)]
    assert len(set(codes)) > 2
    for k in range(24 * 30):
        closed_days = (k + 1) // 24  # a bar of hour 23 closes its day
        expected = codes[closed_days - 1] if closed_days else LeaderRegime.UNKNOWN
        assert rows["leader_regime"][k] == expected, k


def test_removing_the_future_changes_no_row() -> None:
    frame = market(1200, 5)
    rules = LeaderRules(ema_bars=10)
    whole = filled(Sources({"BTCUSDT": frame}, "1h"), "BTCUSDT", HOUR, "BTCUSDT", rules)
    for end in (601, 777, 1013):
        part = filled(Sources({"BTCUSDT": frame.iloc[:end]}, "1h"), "BTCUSDT", HOUR, "BTCUSDT", rules)
        for name in ("regime", "leader_regime"):
            assert (part[name] == whole[name][:end]).all()


def test_an_unfinished_hour_never_shows() -> None:
    """On quarters of an hour a row shows the regime of the last hour that has closed."""
    hourly = market(800, 3)
    index = pd.date_range("2024-01-01", periods=3200, freq="15min", tz="UTC")
    fine = hourly.loc[hourly.index.repeat(4)].set_axis(index)
    fine["volume"] /= 4
    coarse = filled(Sources({"AAAUSDT": hourly}, "1h"), "AAAUSDT", HOUR, None)
    quarter = filled(Sources({"AAAUSDT": fine}, "15m"), "AAAUSDT", HOUR, None)
    for k in range(3200):
        closed = (k + 1) // 4
        assert quarter["regime"][k] == (coarse["regime"][closed - 1] if closed else Regime.UNKNOWN)


def test_a_leader_whose_data_end_loses_its_regime_after_two_of_its_bars() -> None:
    """Its last day closes with hour 240: known with the bar that closes 47 hours later, not with the one after."""
    frames = {"BTCUSDT": market(240), "AAAUSDT": market(400, 2)}
    rows = filled(Sources(frames, "1h"), "AAAUSDT", HOUR, "BTCUSDT", LeaderRules(ema_bars=5))
    known = rows["leader_regime"] != LeaderRegime.UNKNOWN
    assert known[239 : 239 + 48].all()
    assert not known[239 + 48 :].any()
    assert np.isfinite(rows["leader_24h"][239 : 239 + 24]).all(), "its return over a day, from hours, for one day"
    assert np.isnan(rows["leader_24h"][239 + 24 :]).all()


def test_one_missing_day_of_the_leader_is_bridged() -> None:
    leader = market(480)
    gap = leader[(leader.index < "2024-01-11") | (leader.index >= "2024-01-12")]
    sources = Sources({"BTCUSDT": gap, "AAAUSDT": market(480, 2)}, "1h")
    rows = filled(sources, "AAAUSDT", HOUR, "BTCUSDT", LeaderRules(ema_bars=5))
    assert (rows["leader_regime"][239:] != LeaderRegime.UNKNOWN).all()


def test_the_leaders_own_daily_history_is_preferred() -> None:
    """A run on few hours still knows the leader's 200 days where they are given."""
    hours = market(47)
    days = market(300).set_axis(pd.date_range("2023-03-07", periods=300, freq="D", tz="UTC"))
    assert days.index[-1] < hours.index[0]
    sources = Sources({"AAAUSDT": hours}, "1h", other_frames={("BTCUSDT", "1d"): days})
    rows = filled(sources, "AAAUSDT", HOUR, "BTCUSDT")
    assert (rows["leader_regime"] != LeaderRegime.UNKNOWN).all()
    assert not filled(Sources({"AAAUSDT": hours}, "1h"), "AAAUSDT", HOUR, "BTCUSDT")["leader_regime"].any()


def test_a_return_over_a_gap_is_not_known() -> None:
    frame = market(50).drop(market(50).index[[10, 11]])
    closes = closes_of(Sources({"AAAUSDT": frame}, "1h"), "AAAUSDT", HOUR)
    assert np.isnan(closes["log_return"][[0, 10]]).all()
    assert np.isfinite(np.delete(closes["log_return"], [0, 10])).all()
    assert closes["ts"][0] == frame.index.as_unit("ns").asi8[0] + HOUR
    assert DAY == 24 * HOUR
