"""Slots: where positions are kept in one-way and hedge mode, and what a request meets there."""

from __future__ import annotations

import numpy as np
import pytest

from qtsim.core.records import signal_dt
from qtsim.core.slots import (
    BOTH,
    NO_SLOT,
    held_before_nb,
    other_slot_nb,
    own_request_nb,
    slot_side_nb,
    slots_per_symbol_nb,
)
from tests.generated import params_of


@pytest.mark.parametrize(("mode", "width"), [("one_way", 1), ("hedge", 2)])
def test_slots_per_symbol(mode: str, width: int) -> None:
    assert slots_per_symbol_nb(params_of({"account.mode.position": mode})[0]) == width


def test_the_long_slot_of_a_symbol_comes_first() -> None:
    assert [slot_side_nb(i, 2) for i in range(4)] == [1, -1, 1, -1]
    assert [other_slot_nb(i, 2) for i in range(4)] == [1, 0, 3, 2]
    assert [slot_side_nb(i, 1) for i in range(3)] == [BOTH] * 3
    assert [other_slot_nb(i, 1) for i in range(3)] == [NO_SLOT] * 3


@pytest.mark.parametrize(
    ("side", "long", "short", "request_"),
    [
        (0, 1, 0, 1), (0, 0, 1, -1), (0, 1, 1, 0), (0, 0, 0, 0),
        (1, 1, 0, 1), (1, 0, 1, 0), (1, 1, 1, 0), (-1, 0, 1, -1), (-1, 1, 0, 0), (-1, 0, 0, 0),
    ],
)  # fmt: skip
def test_a_slot_takes_the_requests_of_its_side(side: int, long: int, short: int, request_: int) -> None:
    signal = np.zeros(1, signal_dt)
    signal["long"], signal["short"] = long, short
    assert own_request_nb(side, signal[0]) == request_


@pytest.mark.parametrize(
    ("held", "other_held", "other_now", "met"),
    [
        (0, 0, 0, 0),
        (1, -1, -1, 1),  # its own
        (1, -1, 0, 1),
        (0, -1, -1, 0),  # the other side stands on: nothing in the way
        (0, -1, 0, -1),  # it has been closed for this request
    ],
)
def test_what_a_request_meets(held: int, other_held: int, other_now: int, met: int) -> None:
    assert held_before_nb(held, other_held, other_now) == met
