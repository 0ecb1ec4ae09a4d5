"""The backup stop: it rests beside the hard stop among the orders, and a simulated exchange never needs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.results.tables import build_frames
from tests.generated import instrument
from tests.scenarios.candles import Row, Story, mirrored, play, symbol

FLAT: Row = (100, 100, 100, 100)
BACKUP: dict[str, Any] = {"exit__stops__backup__enabled": True}


def backups(story: Story) -> pd.DataFrame:
    orders = build_frames(story.journals, []).orders
    return orders[orders["type"] == "STOP"]


@pytest.mark.parametrize(
    ("rows", "settings", "status", "reason"),
    [
        ([FLAT, (95, 95, 95, 95)], {}, "CANCELED", "hard_stop"),
        ([FLAT, (100, 100, 98.5, 99)], {}, "CANCELED", "stop"),
        ([FLAT, (50, 50, 50, 50)], {"leverage__fixed": 10.0}, "EXPIRED", "liquidation"),
        ([FLAT, FLAT], {"sim__end_of_data": "open"}, "NEW", None),
    ],
    ids=["hard_stop", "internal_stop", "liquidation", "open"],
)
@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
def test_a_backup_rests_and_is_never_filled(
    rows: list[Row], settings: dict[str, Any], status: str, reason: str | None, side: int
) -> None:
    table = [FLAT, *rows] if side > 0 else mirrored([FLAT, *rows])
    entry = {"long": [0]} if side > 0 else {"short": [0]}
    story = play(symbol(table, **entry), **BACKUP, **settings)
    assert story.reasons == ([reason] if reason else [])
    (order,) = backups(story).to_dict("records")
    assert (order["status"], order["reason"], order["reduce_only"]) == (status, "backup_stop", True)
    assert (order["qty"], order["filled_qty"]) == (1.0, 0.0)
    assert order["stop_price"] == 100 - 2 * side, "the hard stop's trigger"
    assert order["order_side"] == ("SELL" if side > 0 else "BUY")


@pytest.mark.parametrize(("side", "limit"), [(1, 97.5), (-1, 102.6)])
def test_its_limit_lies_beyond_the_trigger_on_the_tick_that_fills_sooner(side: int, limit: float) -> None:
    """50 bps beyond 98 is 97.51, beyond 102 102.51; on ticks of 0.1: 97.5 and 102.6."""
    entry = {"long": [0]} if side > 0 else {"short": [0]}
    story = play(symbol([FLAT] * 3, rules=instrument(tick=(1, 10)), **entry), **BACKUP)
    assert float(story.journals.trades["backup_price"][0]) == pytest.approx(limit, abs=1e-9)


@pytest.mark.parametrize("settings", [{}, {**BACKUP, "exit__policy": "bracket"}], ids=["off", "bracket"])
def test_no_backup_without_the_setting_or_a_hard_stop(settings: dict[str, Any]) -> None:
    story = play(symbol([FLAT] * 3, long=[0]), **settings)
    assert np.isnan(story.journals.trades["backup_price"][0])
    assert backups(story).empty


def test_a_backup_changes_no_trade() -> None:
    rows = [FLAT, (100, 103, 97, 99), (99, 99, 90, 91)]
    with_, without = (play(symbol(rows, long=[0, 1]), **settings) for settings in (BACKUP, {}))
    assert with_.fills == without.fills
    assert with_.equity == without.equity
