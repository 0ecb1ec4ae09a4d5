"""No kernel relies on division by zero: all are compiled to raise on one, and degenerate markets raise none."""

from __future__ import annotations

import importlib
import pkgutil

import numba
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qtsim.core
import qtsim.sim
from tests.properties.markets import RELAXED, Case, cases


def all_kernels() -> dict[str, object]:
    """Every compiled function of the packages that hold kernels."""
    found: dict[str, object] = {}
    for package in (qtsim.core, qtsim.sim):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if name.endswith("_nb"):
                    found[f"{module.name}.{name}"] = value
    return found


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="kernels are interpreted")
def test_every_kernel_raises_on_division_by_zero() -> None:
    kernels = all_kernels()
    assert len(kernels) > 80
    for name, kernel in kernels.items():
        options = kernel.targetoptions  # type: ignore[attr-defined]
        assert options["error_model"] == "python", name
        assert not options["fastmath"], name


@RELAXED
@given(
    cases(still=0.2, atr="holes", costs=("none", "default")),
    st.sampled_from([0.0, 1e-12, 1.0, 1e15]),
    st.booleans(),
)
def test_degenerate_markets_divide_by_nothing(case: Case, balance: float, is_silent: bool) -> None:
    """No volume, no range, no ATR, no balance, no volatility: everything that a formula divides by, at zero."""
    object.__setattr__(case, "balance", balance)
    for item in case.inputs:
        item.bars["volume"] = 0.0
        if is_silent:
            for name in ("atr", "atr_pct", "atr_ratio", "symbol_risk"):
                item.signals[name] = 0.0
    case.with_inputs(list(case.inputs)).compiled(diagnose=True)
