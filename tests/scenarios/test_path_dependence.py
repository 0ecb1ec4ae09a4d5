"""Which exits the order of a bar's extremes decides, and what the adverse and favourable order are chosen by."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.candles import HOUR, START, Row, play, symbol

FLAT: Row = (100, 100, 100, 100)
BRACKET: dict[str, Any] = {"exit__policy": "bracket", "exit__bracket__tp": 0.03, "exit__bracket__sl": 0.03}
PERCENT_TRAIL: dict[str, Any] = {
    "exit__base_tp": 0.2,
    "exit__stops__trail__mode": "percent",
    "exit__stops__trail__distance": 0.01,
    "exit__stops__trail__activate": 0.02,
}

# (id, rows after the first, settings, whether each exit fill depends on the path)
TABLES: list[tuple[str, list[Row], dict[str, Any], list[int]]] = [
    ("both_levels_in_one_bar", [(100, 104, 96, 100)], BRACKET, [1]),
    ("one_level_in_a_bar", [(100, 104, 99, 100)], BRACKET, [0]),
    ("levels_in_two_bars", [(100, 102, 99, 100), (100, 101, 96, 97)], BRACKET, [0]),
    ("no_level_at_all", [(100, 101, 99, 100), FLAT], BRACKET, [0]),
    # low first keeps the trade at 104.5; high first has the trail at 103.95, which the fall to 100 meets
    (
        "a_later_exit_of_a_trade_that_the_other_order_ends",
        [(100, 105, 100, 104.5), (104.5, 104.5, 103, 103)],
        PERCENT_TRAIL,
        [1],
    ),
]


@pytest.mark.parametrize(
    ("rows", "settings", "depends"), [table[1:] for table in TABLES], ids=[table[0] for table in TABLES]
)
def test_exits_that_depend_on_the_path(rows: list[Row], settings: dict[str, Any], depends: list[int]) -> None:
    story = play(symbol([FLAT, *rows], long=[0]), **settings)
    assert [int(fill["path_dependent"]) for fill in story.journals.fills[1:]] == depends


def test_ambiguous_bars_are_listed() -> None:
    """Both levels lie in the second bar of the second symbol; the first symbol meets one of them."""
    both = symbol([FLAT, (100, 104, 96, 100)], name="BBB", long=[0])
    story = play(symbol([FLAT, (100, 104, 99, 100)], long=[0]), both, **BRACKET)
    doubts = story.journals.doubts
    assert [(int(row["ts"]), int(row["length"]), int(row["symbol"])) for row in doubts] == [(START + HOUR, HOUR, 1)]
    assert story.journals.counts["ambiguous_bars"] == 1


def test_funding_inside_a_bar_makes_no_exit_depend_on_the_path() -> None:
    """At a third of the bar the path is at 99 or at 101: the payment differs with the order, the exits do not."""
    rows = [FLAT, (100, 101, 99, 100), (100, 104, 100, 104)]
    story = play(symbol(rows, long=[0], funding=[(1 + 1 / 3, 0.01)]), **BRACKET)
    assert story.reasons == ["tp1"]
    assert not story.journals.fills["path_dependent"].any()
    assert story.journals.counts["ambiguous_bars"] == len(story.journals.doubts) == 0


@pytest.mark.parametrize(("path", "paid"), [("nearest", -4.95), ("adverse", -5.05), ("favourable", -4.95)])
def test_funding_inside_a_bar_chooses_the_adverse_order(path: str, paid: float) -> None:
    """A long pays 5 % of the value a third into the bar: 99 where the low comes first, 101 where the high does."""
    rows = [FLAT, (100, 101, 99, 100), FLAT]
    story = play(symbol(rows, long=[0], funding=[(1 + 1 / 3, 0.05)]), **BRACKET, sim__path=path)
    assert story.paid == [paid]
