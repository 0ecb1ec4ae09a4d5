"""What the first screen and the tables say of orders that are not filled whole and at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qtsim.results.summary import entered, fills_texts
from qtsim.results.tables import build_frames
from tests.scenarios.candles import Row, play, symbol
from tests.unit.results.made_run import made_result

FLAT: Row = (100.0, 100.5, 99.5, 100.0)
LIMIT = {"entry__order__type": "limit", "entry__order__limit_offset_bps": 100.0}


def told(settings: dict[str, Any], **totals: int) -> list[str]:
    result = made_result(n_bars=60, ranges=False, settings=settings)
    return fills_texts(replace(result, totals=replace(result.totals, **totals)))


@pytest.mark.parametrize(
    ("settings", "totals", "text"),
    [
        ({"sim.volume.max_share": 0.05}, {}, "at most 5 % of a bar's volume (never bound, 0 parts; the rest waits)"),
        (
            {"sim.volume.max_share": 0.05, "sim.volume.unfilled": "cancel"},
            {"share_bound": 1_204, "parts": 900},
            "at most 5 % of a bar's volume (bound 1,204 times, 900 parts; the rest is cancelled)",
        ),
        (
            {"entry.order.type": "limit", "entry.order.limit_offset_bps": 10.0},
            {"limits_placed": 120, "limits_filled": 71, "limits_timed_out": 43, "limits_cancelled": 6},
            "limit entries 10 bps from the signal's close (120 placed, 71 filled, 43 timed out, 6 cancelled)",
        ),
        (
            {"sim.latency_ms.order": 20.0, "sim.latency_ms.jitter": 40.0},
            {"delayed": 312, "delay_ns": 312 * 41_000_000},
            "latency 41 ms on average (312 orders)",
        ),
        ({"sim.latency_ms.order": 20.0}, {}, "latency of no order"),
    ],
)
def test_the_first_screen_tells_each_fill_model(settings: dict[str, Any], totals: dict[str, int], text: str) -> None:
    assert told(settings, **totals) == [text]


def test_orders_filled_whole_and_at_once_need_no_words() -> None:
    assert told({"sim.volume.max_share": float("inf"), "sim.latency_ms.order": 0.0}) == []


def test_an_entry_in_parts_is_one_entry() -> None:
    story = play(
        symbol([FLAT] * 5, volumes=[1, 4, 4, 100, 100], long=[0]),
        sim__volume__max_share=0.1,
        sim__volume__unfilled="wait",
    )
    frames = build_frames(story.journals, [])
    assert (frames.fills["kind"] == "entry").sum() == 3
    assert entered(frames.fills) == 1
    market = frames.orders[(frames.orders["type"] == "MARKET") & ~frames.orders["reduce_only"]]
    assert list(market["filled_qty"].round(6)) == [0.4, 0.4, 0.2]


def test_the_table_of_orders_has_limit_entries() -> None:
    rows = [FLAT, (100.0, 100.5, 98.0, 100.0), FLAT, FLAT, FLAT]
    frames = build_frames(play(symbol(rows, long=[0]), exit__policy="bracket", **LIMIT).journals, [])
    entry = frames.orders.iloc[0]
    assert (entry["type"], entry["status"], entry["price"]) == ("LIMIT", "FILLED", 99.0)
    assert list(frames.fills["maker"]) == [True, False]
    frames = build_frames(play(symbol([FLAT] * 5, long=[0]), **LIMIT).journals, [])
    (order,) = frames.orders.itertuples()
    assert (order.type, order.status, order.price, order.reason) == ("LIMIT", "CANCELED", 99.0, "limit order timed out")
