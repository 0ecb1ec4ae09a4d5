"""Grids as people write them, and the cells that they span."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtsim.config.layers import COMMAND_LINE, read_value
from qtsim.errors import UsageError
from qtsim.research.space import CHOICE, STEPS, Axis, Space, grid, read_axis, split_grid

PATH = "exit.base_tp"


def read(path: str, value: Any) -> Any:
    return read_value(path, value, COMMAND_LINE, from_text=True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("0.01,0.02,0.04", (0.01, 0.02, 0.04), id="list"),
        pytest.param("4%,1%,2%", (0.01, 0.02, 0.04), id="list_in_per_cent_is_sorted"),
        pytest.param("0.01:0.03:0.01", (0.01, 0.02, 0.03), id="step"),
        pytest.param("0.01:0.035:0.01", (0.01, 0.02, 0.03), id="step_that_does_not_end_on_the_end"),
        pytest.param("1%:3%:1%", (0.01, 0.02, 0.03), id="step_in_per_cent"),
        pytest.param("0.01:0.05:x5", (0.01, 0.02, 0.03, 0.04, 0.05), id="count"),
        pytest.param("0.5%:5%:x4", (0.005, 0.02, 0.035, 0.05), id="count_in_per_cent"),
        pytest.param("0.01:0.04:log3", (0.01, 0.02, 0.04), id="log"),
        pytest.param("0.02", (0.02,), id="one_value"),
    ],
)
def test_a_grid_is_read(text: str, values: tuple[float, ...]) -> None:
    assert read_axis(PATH, text, read).values == pytest.approx(values, rel=1e-11)


def test_steps_are_exact_decimals() -> None:
    assert read_axis(PATH, "0.005:0.008:0.001", read).values == (0.005, 0.006, 0.007, 0.008)


def test_choices_keep_their_order() -> None:
    axis = read_axis("leverage.model", "kelly,fixed", read)
    assert axis.values == ("kelly", "fixed")
    assert axis.scale == "choice"


def test_lists_are_parted_outside_brackets() -> None:
    axis = read_axis("exit.harvest.scheme.static", "[0.5,0.3,0.2],[0.0,0.0,1.0]", read)
    assert axis.values == ((0.5, 0.3, 0.2), (0.0, 0.0, 1.0))


def test_whole_numbers_of_a_range_are_rounded_and_taken_once() -> None:
    assert read_axis("entry.cooldown_bars", "0:4:x9", read, whole=True).values == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("0.05:0.01:x5", ["reversed", "0.05", "0.01"], id="reversed"),
        pytest.param("0.01:0.01:x5", ["empty", "0.01"], id="empty"),
        pytest.param("0.01:0.02:0.5", ["wider than the range", "0.01:0.02:x10"], id="step_wider_than_range"),
        pytest.param("0.01:0.02:0", ["step", "above 0"], id="no_step"),
        pytest.param("0.01:0.02:x1", ["1 values", "two or more"], id="one_of_a_range"),
        pytest.param("0.01:0.02", ["how many", "0.01:0.02:x10"], id="range_without_step"),
        pytest.param("0:0.02:log5", ["above 0"], id="log_from_zero"),
        pytest.param("0.01:0.02:y5", ["y5", "x10"], id="unknown_form"),
        pytest.param("0.01,0.02,0.01", ["0.01", "twice"], id="twice"),
        pytest.param("2,3", ["200 %", "0.02"], id="ratio_as_per_cent"),
        pytest.param("0.01:0.02:0.000000001", ["at most", "1,000,000"], id="too_fine"),
        pytest.param(",", ["no values"], id="nothing"),
    ],
)
def test_a_bad_grid_is_refused(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        read_axis(PATH, text, read)
    for word in [PATH, *words]:
        assert word in str(refused.value)


def test_a_grid_needs_key_and_values() -> None:
    assert split_grid("exit.base_tp = 1%,2%") == ("exit.base_tp", "1%,2%")
    for text in ("exit.base_tp", "=1", "exit.base_tp="):
        with pytest.raises(UsageError, match="KEY=a,b,c"):
            split_grid(text)


def test_grid_in_python_is_the_same_as_on_the_command_line() -> None:
    assert tuple(grid(0.005, 0.05, 4)) == read_axis(PATH, "0.005:0.05:x4", read).values
    assert tuple(grid(0.01, 0.04, 3, log=True)) == read_axis(PATH, "0.01:0.04:log3", read).values
    with pytest.raises(UsageError, match="reversed"):
        grid(0.05, 0.01, 3)
    with pytest.raises(UsageError, match="whole number"):
        grid(0.01, 0.05, 2.5)  # type: ignore[arg-type]


def test_cells_are_counted_with_the_last_axis_fastest() -> None:
    space = Space((Axis("a", (1, 2)), Axis("b", (10, 20, 30))))
    assert space.size == 6
    assert space.values(4) == {"a": 2, "b": 20}
    cells = np.arange(6)
    assert space.cells(space.indices(cells)).tolist() == cells.tolist()


def test_scale_is_seen_in_the_spacing() -> None:
    assert Axis("a", (1.0, 2.0, 3.0)).scale == "linear"
    assert Axis("a", (1.0, 2.0, 4.0)).scale == "log"
    assert Axis("a", (True, False)).scale == "choice"
    assert Axis("a", (1.0, 2.0, 4.0)).places().tolist() == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize("count", [1, 7, 60])
def test_drawn_cells_are_different_and_the_same_for_a_seed(count: int) -> None:
    space = Space((Axis("a", tuple(range(8))), Axis("b", tuple(range(8)))))
    drawn = space.draw(count, 5)
    assert len(drawn) == len(set(drawn.tolist())) == count
    assert drawn.tolist() == space.draw(count, 5).tolist()
    assert drawn.min() >= 0
    assert drawn.max() < space.size


def test_more_than_all_cells_are_all_cells() -> None:
    space = Space((Axis("a", (1, 2, 3)),))
    assert space.draw(50, 1).tolist() == [0, 1, 2]


def test_cells_of_a_huge_grid_are_drawn_without_listing_it() -> None:
    space = Space(tuple(Axis(name, tuple(range(1000))) for name in "abc"))
    assert len(space.draw(100, 1)) == 100


def test_timeframes_are_steps_by_their_length() -> None:
    axis = read_axis("run.timeframe", "1d,15m,4h", lambda _, value: value)
    assert (axis.values, axis.scale) == (("15m", "4h", "1d"), STEPS)
    assert axis.places().tolist() == [0.0, 0.5, 1.0]
    assert Axis("run.symbols", (("BTCUSDT",), ("ETHUSDT",))).scale == CHOICE
    assert Axis("entry.order.type", ("limit", "1h")).scale == CHOICE
