"""How kernels are compiled: linked from what they call, handed tuples by their address."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba.core.config
import numba.core.errors
import numpy as np
import numpy.typing as npt
import pytest

from qtsim.core._by_reference import by_reference
from qtsim.core._jit import kernel

config: Any = numba.core.config
compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")


class Pair(NamedTuple):
    left: npt.NDArray[np.float64]
    right: npt.NDArray[np.int64]
    scale: float


@kernel
def double_nb(x: float) -> float:
    return 2.0 * x


@kernel
def floor_nb(x: float) -> float:
    return float(np.floor(double_nb(x)))


@kernel
def never_nb(x: float) -> float:
    return floor_nb(x) if x != x and x == x else 0.0


@kernel
def both_nb(x: float) -> float:
    """Needs `double_nb` itself, through `floor_nb`, and through a branch that is optimised away."""
    return never_nb(x) + floor_nb(x) + double_nb(x)


@kernel
def total_nb(pair: Pair) -> float:
    total = 0.0
    for k in range(len(pair.left)):
        pair.right[k] += 1
        total += both_nb(pair.left[k]) * pair.scale * pair.right[k]
    return total


@kernel
def total_by_reference_nb(pair: Pair) -> float:
    return total_nb(by_reference(pair))


@kernel
def missing_member_nb(pair: Pair) -> float:
    return total_missing_nb(by_reference(pair))


@kernel
def total_missing_nb(pair: Any) -> float:
    return float(pair.middle[0])


def test_a_kernel_calls_kernels_however_they_are_reached() -> None:
    assert both_nb(1.3) == np.floor(2.6) + 2.6
    assert floor_nb(1.3) == 2.0


def test_one_kernel_is_called_from_python_and_from_kernels() -> None:
    assert [double_nb(1.5), both_nb(1.5), double_nb(2.5)] == [3.0, 6.0, 5.0]


def test_a_tuple_behind_its_address_is_the_tuple() -> None:
    pairs = [Pair(np.array([1.3, 2.4]), np.array([4, 5]), 0.5) for _ in range(2)]
    assert total_by_reference_nb(pairs[0]) == total_nb(pairs[1])
    assert pairs[0].right.tolist() == pairs[1].right.tolist() == [5, 6]


@compiled_only
def test_a_member_that_the_tuple_lacks_does_not_compile() -> None:
    with pytest.raises(numba.core.errors.TypingError, match="middle"):
        missing_member_nb(Pair(np.zeros(1), np.zeros(1, np.int64), 1.0))
