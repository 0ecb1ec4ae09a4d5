"""Fills that took much of their bar's volume are counted."""

from __future__ import annotations

import numpy as np
import pytest

import qtsim as qt
from qtsim.app.volume_share import share_texts, shares_of_volume
from qtsim.core.records import Records, bar_dt, fill_row_dt


def made(volumes: list[float], quantities: list[float]) -> tuple[Records, dict[str, Records]]:
    """One fill in each bar of one symbol."""
    bars, fills = np.zeros(len(volumes), bar_dt), np.zeros(len(quantities), fill_row_dt)
    bars["volume"] = volumes
    fills["qty"], fills["bar"] = quantities, np.arange(len(quantities))
    return fills, {"BTCUSDT": bars}


def test_shares_are_of_the_bar_of_the_fill() -> None:
    fills, bars = made([10.0, 100.0, 0.0], [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(shares_of_volume(fills, bars), [0.1, 0.01, np.inf])


@pytest.mark.parametrize(
    ("quantities", "text"),
    [
        ([1.0, 1.0], ""),
        ([1.01, 1.0], "1 fill took more than 10 % of their bar's volume (sim.volume.warn_share), the largest 10.1 %"),
        ([2.0, 50.0], "2 of 2 fills took more than 10 %"),
    ],
)
def test_fills_at_just_above_and_far_above_the_share(quantities: list[float], text: str) -> None:
    fills, bars = made([10.0, 100.0], quantities)
    assert text in "".join(share_texts(fills, bars, 0.10))
    assert bool(text) == bool(share_texts(fills, bars, 0.10))


def test_a_run_tells_of_them() -> None:
    bars = qt.load_bars("BTCUSDT", "1h", sample=True).tail(2_000)
    bars["volume"] = bars["volume"] / 1e6
    run = qt.backtest("ema_cross", {"BTCUSDT": bars}, fast=True, check=False)
    assert any("of their bar's volume" in text for text in run.warnings)
    settings = {"sim.volume.warn_share": "inf"}
    quiet = qt.backtest("ema_cross", {"BTCUSDT": bars}, settings=settings, fast=True, check=False)
    assert not any("of their bar's volume" in text for text in quiet.warnings)
