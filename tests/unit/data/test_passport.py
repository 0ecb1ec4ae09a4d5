from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from qtsim.data.fingerprint import fingerprint
from qtsim.data.instruments import load_instruments
from qtsim.data.passport import bars_passport, data_passport
from qtsim.data.store import Store
from qtsim.data.timeframes import HOUR
from tests.unit.data.made_bars import START, made_bars


def test_a_passport_says_what_the_bars_are() -> None:
    bars = made_bars(100).drop(made_bars(100).index[[7, 8]])
    mark = made_bars(100, mark=True)
    mark.iloc[50, 3] *= 1.01
    mark.iloc[50, 1] = mark.iloc[50].max()
    passport = bars_passport(
        "BTCUSDT", "60m", bars, source="a.csv", mark=mark, instrument=load_instruments()["BTCUSDT"]
    )
    assert passport["timeframe"] == "1h"
    assert passport["fingerprint"] == fingerprint(bars)
    assert (passport["rows"], passport["gaps"], passport["missing"]) == (98, 1, 2)
    assert (passport["start"], passport["end"]) == ("2024-01-01 00:00 UTC", "2024-01-05 03:00 UTC")
    assert abs(passport["mark_divergence"] - 0.01) < 1e-9
    assert passport["mark_divergence_time"] == "2024-01-03 02:00 UTC"
    assert passport["mark_rows"] == 98
    assert passport["brackets_date"] == "2024-10-24"
    without = bars_passport("BTCUSDT", "1h", bars, source="a.csv")
    assert (without["mark_divergence"], without["brackets_date"]) == (None, "")


def test_the_passport_of_a_run_has_every_series_it_reads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_bars("BTCUSDT", "1h", made_bars(100), source="a.csv")
    store.write_bars("BTCUSDT", "30m", made_bars(200, "30m", mark=True), kind="mark", source="b.csv")
    store.write_bars("ETHUSDT", "1h", made_bars(100), source="c.csv")
    times = pd.DatetimeIndex(START + np.arange(13, dtype=np.int64) * 8 * HOUR)
    store.write_funding("BTCUSDT", pd.DataFrame({"funding_rate": 0.0001}, index=times), source="d.csv")
    passports = data_passport(
        store, ["ETHUSDT", "BTC/USDT"], "1h", START + 10 * HOUR, START + 60 * HOUR, load_instruments()
    )
    assert [(p["symbol"], p["kind"], p["rows"], p["source"]) for p in passports] == [
        ("BTCUSDT", "bars", 50, "a.csv"),
        ("BTCUSDT", "mark", 50, "b.csv, made of 30m bars"),
        ("BTCUSDT", "funding", 6, "d.csv"),
        ("ETHUSDT", "bars", 50, "c.csv"),
    ]
    assert passports[2]["intervals_hours"] == {"8": 5}
    assert json.loads(json.dumps(passports)) == passports
