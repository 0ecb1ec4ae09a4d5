"""The modes of the account through the public layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qtsim as qt
from tests.unit.data.made_bars import made_bars

BARS = {"BTCUSDT": made_bars(400), "ETHUSDT": made_bars(400, mark=True)}
ASKS = 37


def table() -> pd.DataFrame:
    """A long at every 37th close and a short at the next."""
    index = BARS["BTCUSDT"].index
    rows = pd.DataFrame({"long": False, "short": False}, index=index)
    rows.iloc[::ASKS, 0] = True
    rows.iloc[1::ASKS, 1] = True
    return rows


def run(place: Path, **modes: str) -> Any:
    path = place / "signals.parquet"
    table().rename_axis("time").reset_index().to_parquet(path)
    return qt.backtest(
        str(path),
        {"BTCUSDT": BARS["BTCUSDT"]},
        settings={f"account.mode.{name}": value for name, value in modes.items()} | {"gates.enabled": False},
        verify=True,
        fast=True,
        check=False,
    )


@pytest.mark.parametrize("margin", ["isolated", "cross"])
@pytest.mark.parametrize("position", ["one_way", "hedge"])
def test_a_run_in_each_mode_agrees_with_the_reference_and_says_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, margin: str, position: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path, margin=margin, position=position)
    assert result.verified
    assert len(result.trades) > 5
    text = str(result.summary())
    assert f" {margin}{', hedge mode' if position == 'hedge' else ''} ·" in text
    assert result.trades["liq_price"].isna().all() == (margin == "cross")
    assert (result.metrics["Min Margin Ratio"] > 0) == (margin == "cross")
    overlapping = result.trades.sort_values("entry_time")
    begins, ends = overlapping["entry_time"].to_numpy()[1:], overlapping["exit_time"].cummax().to_numpy()[:-1]
    assert bool((begins < ends).any()) == (position == "hedge")
