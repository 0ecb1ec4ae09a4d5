"""The agent of sizing model rl through the API: trained, kept with its run, evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qtsim as qt
from qtsim.errors import DataError, UsageError
from qtsim.results.run_folder import load_run

RL: dict[str, Any] = {"sizing.model": "rl", "run.timeframe": "1h"}


def run(agent: Path | None = None, verify: bool = False, **settings: Any) -> qt.Result:
    bars = {"BTCUSDT": qt.load_bars("BTCUSDT", "1h", sample=True)}
    return qt.backtest(
        "ema_cross", bars, settings={**RL, **settings}, agent=agent, verify=verify, fast=True, check=False
    )


def test_a_run_trains_an_agent_and_keeps_it(tmp_path: Path) -> None:
    result = run(verify=True)
    assert result.verified
    assert result.agent is not None
    assert result.agent.record["visits"].sum() > 1_000
    assert any("sizing.model rl: an agent trained in this run" in text for text in result.warnings)
    folder = result.save(tmp_path)
    kept = load_run(folder).agent
    assert kept is not None
    assert (kept.digest, kept.seed, kept.settings) == (result.agent.digest, 0, result.info.settings)
    assert result.info.agent == ""
    (folder / "agent.npz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"agent\.npz is not what the run wrote"):
        load_run(folder)


def test_another_seed_explores_otherwise_and_the_same_seed_the_same() -> None:
    first, same, other = run(), run(), run(**{"run.seed": 1})
    assert first.digest == same.digest
    assert first.digest != other.digest


def test_a_saved_agent_is_evaluated_and_stays_as_it_is(tmp_path: Path) -> None:
    trained = run().agent
    assert trained is not None
    file = trained.save(tmp_path / "agent.npz")
    result = run(agent=file, verify=True, **{"run.seed": 5})
    assert result.digest == run(agent=file, **{"run.seed": 6}).digest, "no chance in an evaluation"
    assert result.info.agent == trained.digest
    assert any("evaluated, learning nothing" in text for text in result.warnings)
    kept = load_run(result.save(tmp_path / "runs")).agent
    assert kept is not None
    assert (kept.digest, kept.seed) == (trained.digest, 0), "with the seed of its training"


def test_an_agent_for_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'an agent is for sizing\.model = "rl", not for "math"'):
        run(agent=tmp_path / "agent.npz", **{"sizing.model": "math"})
    with pytest.raises(DataError, match="there is no agent"):
        run(agent=tmp_path / "agent.npz")
