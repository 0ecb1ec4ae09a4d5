"""The optimism meter: each line is a run with those settings, and is there exactly where it could change anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import qtsim as qt
from qtsim.app import backtest as backtest_module
from qtsim.app.optimism import relaxed
from qtsim.config.layers import resolve
from qtsim.config.params import to_params
from qtsim.config.settings import Settings
from qtsim.core.enums import PathModel
from qtsim.sim.market import Market
from tests.generated import HOUR, case_of_seed

MONTHS = {"run.timerange": "20240801-20250101", "sim.diagnostics.range": False}
LIFTED: dict[str, dict[str, Any]] = {
    "no slippage": {"costs.slippage.bps": 0.0},
    "maker fees": {"costs.fees.taker": 0.0002},
    "no funding": {"costs.funding.source": "off"},
    "favourable path": {"sim.path": "favourable"},
}


def run_with(settings: dict[str, Any], **more: Any) -> qt.Result:
    bars = {"BTCUSDT": qt.load_bars("BTCUSDT", "1h", sample=True)}
    return qt.backtest("rsi_reversal", bars, settings=MONTHS | settings, check=False, **more)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"costs.slippage.model": "size", "costs.slippage.large_notional": 1_000.0},
        {"sim.path": "adverse", "exit.monitoring": "points"},
    ],
    ids=["default", "by_size", "adverse"],
)
def test_each_line_is_a_run_with_those_settings(settings: dict[str, Any]) -> None:
    result = run_with(settings)
    assert list(result.optimism) == list(LIFTED)
    assert len(result.trades) > 10
    for name, lifted in LIFTED.items():
        more = {"costs.slippage.model": "fixed"} if name == "no slippage" else {}
        alone = run_with(settings | more | lifted, fast=True)
        assert result.optimism[name] == alone.metrics["Total Return"], name
    assert result.optimism["no slippage"] != result.metrics["Total Return"]


def market_of(rates: float = 0.0001) -> Market:
    market = case_of_seed(3).market
    funding = market.funding.copy()
    funding["rate"] = rates
    return market._replace(funding=funding)


def lines(overrides: dict[str, Any], market: Market | None = None) -> list[str]:
    settings = resolve(environ={}, overrides=overrides).settings
    return [name for name, _, _ in relaxed(market or market_of(), to_params(settings, HOUR), settings)]


@pytest.mark.parametrize(
    ("overrides", "missing"),
    [
        ({"costs.slippage.bps": 0.0}, "no slippage"),
        ({"costs.fees.taker": 0.0002}, "maker fees"),
        ({"costs.fees.maker": 0.001}, "maker fees"),
        ({"sim.path": "favourable"}, "favourable path"),
    ],
)
def test_a_line_that_could_change_nothing_is_left_out(overrides: dict[str, Any], missing: str) -> None:
    assert lines(overrides) == [name for name in LIFTED if name != missing]


@pytest.mark.parametrize(
    ("slippage", "has_any"),
    [
        ({"bps": 0.0, "large_bps": 0.0, "volatile_bps": 0.0}, False),
        ({"bps": 0.0, "large_bps": 5.0, "volatile_bps": 0.0}, True),
        ({"bps": 0.0, "large_bps": 5.0, "large_notional": "inf", "volatile_bps": 0.0}, False),
        ({"bps": 0.0, "large_bps": 0.0, "volatile_bps": 2.0}, True),
    ],
)
def test_slippage_by_size_may_come_from_volatility_alone(slippage: dict[str, Any], has_any: bool) -> None:
    overrides = {"costs.slippage.model": "size"} | {f"costs.slippage.{name}": value for name, value in slippage.items()}
    assert ("no slippage" in lines(overrides)) == has_any


def test_funding_that_is_never_paid_has_no_line() -> None:
    assert "no funding" in lines({}, market_of(-0.0001))
    assert "no funding" not in lines({}, market_of(0.0))
    market = market_of()
    empty = market._replace(funding=market.funding[:0], funding_offsets=np.zeros_like(market.funding_offsets))
    assert "no funding" not in lines({}, empty)


@pytest.mark.parametrize("name", ["decision", "order", "jitter"])
def test_latency_has_a_line_wherever_it_is_set(name: str) -> None:
    settings = Settings.model_validate({"sim": {"latency_ms": {name: 20.0}}})
    params = to_params(settings, HOUR)
    found = {line: changed for line, _, changed in relaxed(market_of(), params, settings)}
    assert list(found) == [*LIFTED, "no latency"]
    fields = [field for field in params["sim"].dtype.names or () if field.startswith("latency_ms")]
    assert all(found["no latency"]["sim"][field][0] == 0.0 for field in fields)


def test_the_line_of_no_latency_is_the_run_without_it() -> None:
    """Orders that take a minute, on hours inside bars of four hours."""
    bars, hours = ({"BTCUSDT": qt.load_bars("BTCUSDT", timeframe, sample=True)} for timeframe in ("4h", "1h"))
    settings: dict[str, Any] = {
        "run.timerange": "20240801-20240901",
        "sim.diagnostics.range": False,
        "sim.mode": "detail",
        "data.detail_timeframe": "1h",
    }

    def run(order: float, *, fast: bool) -> qt.Result:
        changed = settings | {"sim.latency_ms.order": order}
        return qt.backtest("rsi_reversal", bars, detail=hours, settings=changed, check=False, fast=fast)

    late, prompt = run(60_000.0, fast=False), run(0.0, fast=True)
    assert late.totals.delayed > 0
    assert late.optimism["no latency"] == prompt.metrics["Total Return"] != late.metrics["Total Return"]
    assert "latency 60,000 ms on average" in late.summary()[1].text


def test_the_run_s_own_parameters_stay_as_they_are() -> None:
    settings = Settings()
    params = to_params(settings, HOUR)
    before = params.tobytes()
    relaxed(market_of(), params, settings)
    assert params.tobytes() == before
    assert params["sim"]["path"][0] == PathModel.NEAREST


def test_a_run_that_is_too_large_says_that_the_meter_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest_module, "OPTIMISM_LIMIT", 100)
    result = run_with({})
    assert not result.optimism
    assert any(text.startswith("without the optimism meter: 3,672 bars are more than 100") for text in result.warnings)
    assert run_with({"sim.diagnostics.optimism": "on"}).optimism
    for quiet in (run_with({}, fast=True), run_with({"sim.diagnostics.optimism": "off"})):
        assert not any("optimism" in text for text in quiet.warnings)
